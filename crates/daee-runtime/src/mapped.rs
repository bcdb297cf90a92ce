//! What a cell runs, mapped: machine code and the files that the module brings, in one sealed file.
//!
//! Unsafe because a file is mapped.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use memmap2::{Mmap, MmapOptions};

use crate::spawn;

/// Bytes at the end: how long the code is, and whether the module imports the door.
const TRAILER_BYTES: usize = 9;

/// The whole of it, for as long as anybody looks at it.
#[derive(Clone, Debug)]
pub(crate) struct Mapped {
    map: Arc<Mmap>,
    code_bytes: usize,
    door: bool,
}

impl Mapped {
    /// Maps what [`sealed`] made.
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        // A cell may not ask in any other way.
        let bytes = (&*file).seek(SeekFrom::End(0))?;
        // SAFETY: the supervisor sealed the file before it gave it away, so it never changes.
        let map = unsafe { MmapOptions::new().len(bytes as usize).map(file) }?;
        let wrong = || io::Error::from(io::ErrorKind::InvalidData);
        let trailer = map.last_chunk::<TRAILER_BYTES>().ok_or_else(wrong)?;
        let (length, door) = trailer.split_first_chunk::<8>().ok_or_else(wrong)?;
        let code_bytes = usize::try_from(u64::from_le_bytes(*length)).ok();
        let code_bytes = code_bytes.filter(|length| *length <= map.len() - TRAILER_BYTES);
        let (code_bytes, door) = (code_bytes.ok_or_else(wrong)?, door == [1]);
        Ok(Self { map: Arc::new(map), code_bytes, door })
    }

    pub(crate) fn code(&self) -> &[u8] {
        &self.map[..self.code_bytes]
    }

    /// The contents of the module's `daee.files`.
    pub(crate) fn files(&self) -> &[u8] {
        &self.map[self.code_bytes..self.map.len() - TRAILER_BYTES]
    }

    /// Whether the module imports the door.
    pub(crate) fn door(&self) -> bool {
        self.door
    }
}

/// Puts code and files into one file that cannot be changed any more.
pub(crate) fn sealed(mut code: impl io::Read, files: &[u8], door: bool) -> io::Result<File> {
    let mut file = spawn::memory_file(c"daee-code")?;
    let code_bytes = io::copy(&mut code, &mut file)?;
    file.write_all(files)?;
    file.write_all(&code_bytes.to_le_bytes())?;
    file.write_all(&[door.into()])?;
    spawn::seal(&file)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_and_files_are_found_again() {
        for (code, files) in [(&b"code"[..], &b"files"[..]), (b"code", b""), (b"", b"")] {
            for door in [false, true] {
                let mapped = Mapped::open(&sealed(code, files, door).unwrap()).unwrap();
                assert_eq!((mapped.code(), mapped.files(), mapped.door()), (code, files, door));
            }
        }
    }

    #[test]
    fn what_is_not_of_that_form_is_refused() {
        for bytes in [&[0xff; 9][..], &[0, 2, 0, 0, 0, 0, 0, 0, 0, 0], &[0; 8]] {
            let mut file = spawn::memory_file(c"daee-test").unwrap();
            file.write_all(bytes).unwrap();
            assert!(Mapped::open(&file).is_err(), "{bytes:?}");
        }
    }
}
