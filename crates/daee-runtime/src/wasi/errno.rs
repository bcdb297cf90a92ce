//! Error numbers of WASI preview 1.

macro_rules! errnos {
    ($($name:ident $number:literal $posix:literal)*) => {
        $(
            #[allow(dead_code, reason = "some are only named at the door")]
            pub(super) const $name: i32 = $number;
        )*

        /// The number of what POSIX calls so.
        pub(super) fn named(posix: &str) -> Option<i32> {
            match posix {
                $($posix => Some($number),)*
                _ => None,
            }
        }
    };
}
errnos! {
    BADF 8 "EBADF"
    EXIST 20 "EEXIST"
    FAULT 21 "EFAULT"
    FBIG 22 "EFBIG"
    ILSEQ 25 "EILSEQ"
    INVAL 28 "EINVAL"
    IO 29 "EIO"
    ISDIR 31 "EISDIR"
    MFILE 33 "EMFILE"
    NAMETOOLONG 37 "ENAMETOOLONG"
    NOENT 44 "ENOENT"
    NOSPC 51 "ENOSPC"
    NOSYS 52 "ENOSYS"
    NOTDIR 54 "ENOTDIR"
    NOTEMPTY 55 "ENOTEMPTY"
    NOTSOCK 57 "ENOTSOCK"
    NOTSUP 58 "ENOTSUP"
    PERM 63 "EPERM"
    ROFS 69 "EROFS"
    SPIPE 70 "ESPIPE"
    XDEV 75 "EXDEV"
    NOTCAPABLE 76 "ENOTCAPABLE"
}
pub(super) const SUCCESS: i32 = 0;
