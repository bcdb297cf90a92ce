//! Files: those under `/state` by the operations of the door, those under `/app` out of the module.

use daee_state::{FileError, FileKind};
use serde_json::{Map, Value, json};

use super::errno::{
    self, BADF, EXIST, FAULT, FBIG, INVAL, IO, ISDIR, NAMETOOLONG, NOENT, NOTDIR, PERM, ROFS,
    SPIPE, XDEV,
};
use super::table::{self, Entry, Open, Root, What};
use super::{Call, Done};

const CREATE: u32 = 1 << 0;
const DIRECTORY: u32 = 1 << 1;
const EXCLUSIVE: u32 = 1 << 2;
const TRUNCATE: u32 = 1 << 3;
const APPEND: u16 = 1 << 0;
const FLAGS: u32 = 0x1f;

const CHARACTERS: u8 = 2;
const DIRECTORY_TYPE: u8 = 3;
const FILE_TYPE: u8 = 4;

/// How much is read of a file that is read from front to back.
const AHEAD_BYTES: u32 = 32 << 10;
/// Bytes of an entry of a directory before its name.
const ENTRY_BYTES: usize = 24;
/// Names of one listing at the door.
const LIST_NAMES: usize = 1000;

/// A stretch of a file under `/state`.
pub(super) struct Ahead {
    number: u64,
    offset: u64,
    bytes: Vec<u8>,
    /// The file's.
    size: u64,
}

impl Ahead {
    /// What it has from there on.
    fn at(&self, number: u64, offset: u64) -> Option<&[u8]> {
        let within = usize::try_from(offset.checked_sub(self.offset)?).ok()?;
        let known = within < self.bytes.len() || offset >= self.size;
        (self.number == number && known).then(|| self.bytes.get(within..).unwrap_or_default())
    }
}

/// What is known of a file without reading it.
struct Stat {
    root: Root,
    number: u64,
    directory: bool,
    size: u64,
    modified_nanos: u64,
}

impl Stat {
    fn read(head: &Map<String, Value>) -> Done<Self> {
        let number = |name: &str| head.get(name).and_then(Value::as_u64).ok_or(IO);
        Ok(Self {
            root: Root::State,
            number: number("file")?,
            directory: head.get("kind").and_then(Value::as_str) == Some("directory"),
            size: number("size")?,
            modified_nanos: number("modified_ns")?,
        })
    }

    fn encode(&self) -> [u8; 64] {
        let mut out = [0; 64];
        // Two file systems, in which no file has the number zero.
        out[0] = device(self.root);
        out[8..16].copy_from_slice(&inode(self.number).to_le_bytes());
        out[16] = if self.directory { DIRECTORY_TYPE } else { FILE_TYPE };
        out[24] = 1;
        out[32..40].copy_from_slice(&self.size.to_le_bytes());
        // When it was read last is not kept.
        for at in [48, 56] {
            out[at..at + 8].copy_from_slice(&self.modified_nanos.to_le_bytes());
        }
        out
    }
}

fn device(root: Root) -> u8 {
    match root {
        Root::State => 1,
        Root::App => 2,
    }
}

fn inode(number: u64) -> u64 {
    number.saturating_add(1)
}

fn named(error: &FileError) -> i32 {
    errno::named(error.errno()).unwrap_or(IO)
}

impl Call<'_> {
    pub(super) fn prestat(&mut self, fd: u32, at: u32) -> Done {
        let name = self.host.wasi.table.get(fd)?.preopen.ok_or(BADF)?;
        let mut stat = [0; 8];
        stat[4] = name.len() as u8;
        self.put(at, &stat)
    }

    pub(super) fn prestat_name(&mut self, fd: u32, at: u32, len: u32) -> Done {
        let name = self.host.wasi.table.get(fd)?.preopen.ok_or(BADF)?;
        if (len as usize) < name.len() {
            return Err(NAMETOOLONG.into());
        }
        self.put(at, name.as_bytes())
    }

    pub(super) fn close(&mut self, fd: u32) -> Done {
        Ok(self.host.wasi.table.close(fd)?)
    }

    pub(super) fn fdstat(&mut self, fd: u32, at: u32) -> Done {
        let open = self.host.wasi.table.get(fd)?;
        let mut stat = [0; 24];
        stat[0] = match open.what {
            What::Directory(..) => DIRECTORY_TYPE,
            What::File(..) => FILE_TYPE,
            // So that libc takes it for a terminal and buffers by lines.
            What::Input | What::Output | What::Errors => CHARACTERS,
        };
        stat[2..4].copy_from_slice(&open.flags.to_le_bytes());
        stat[8..16].copy_from_slice(&open.rights.to_le_bytes());
        stat[16..24].copy_from_slice(&open.inheriting.to_le_bytes());
        self.put(at, &stat)
    }

    pub(super) fn set_flags(&mut self, fd: u32, flags: u32) -> Done {
        if flags & !FLAGS != 0 {
            return Err(INVAL.into());
        }
        self.host.wasi.table.with(fd, table::SET_FLAGS)?.flags = flags as u16;
        Ok(())
    }

    /// Rights can be given up, never gained.
    pub(super) fn set_rights(&mut self, fd: u32, rights: u64, inheriting: u64) -> Done {
        let open = self.host.wasi.table.get_mut(fd)?;
        if rights & !open.rights != 0 || inheriting & !open.inheriting != 0 {
            return Err(errno::NOTCAPABLE.into());
        }
        (open.rights, open.inheriting) = (rights, inheriting);
        Ok(())
    }

    pub(super) fn filestat(&mut self, fd: u32, at: u32) -> Done {
        let stat = match self.host.wasi.table.with(fd, table::STAT)?.what {
            What::Input | What::Output | What::Errors => {
                let mut stat = [0; 64];
                stat[16] = CHARACTERS;
                stat
            }
            What::File(root, number) | What::Directory(root, number) => {
                self.stat(root, number, "")?.encode()
            }
        };
        self.put(at, &stat)
    }

    pub(super) fn set_size(&mut self, fd: u32, size: u64) -> Done {
        let number = self.writable(fd, table::SET_SIZE)?;
        self.truncate(number, size)
    }

    pub(super) fn set_times(&mut self, fd: u32, modified: u64, flags: u32) -> Done {
        match self.host.wasi.table.with(fd, table::SET_TIMES)?.what {
            What::File(root, number) | What::Directory(root, number) => {
                self.touch(root, number, "", modified, flags)
            }
            _ => Err(INVAL.into()),
        }
    }

    pub(super) fn advise(&mut self, fd: u32, advice: u32) -> Done {
        let open = self.host.wasi.table.get(fd)?;
        match open.what {
            What::File(..) if advice > 5 => Err(INVAL.into()),
            What::File(..) => Ok(self.host.wasi.table.with(fd, table::ADVISE).map(|_| ())?),
            What::Directory(..) => Err(BADF.into()),
            _ => Err(SPIPE.into()),
        }
    }

    pub(super) fn allocate(&mut self, fd: u32, offset: u64, bytes: u64) -> Done {
        let number = self.writable(fd, table::ALLOCATE)?;
        if bytes == 0 {
            return Err(INVAL.into());
        }
        let end = offset.checked_add(bytes).ok_or(FBIG)?;
        let size = self.stat(Root::State, number, "")?.size;
        if end > size { self.truncate(number, end) } else { Ok(()) }
    }

    pub(super) fn read_file(
        &mut self,
        fd: u32,
        root: Root,
        number: u64,
        offset: Option<u64>,
        wanted: u32,
    ) -> Done<Vec<u8>> {
        let open = self.host.wasi.table.get(fd)?;
        if open.rights & table::READ == 0 {
            return Err(BADF.into());
        }
        let from = offset.unwrap_or(open.offset);
        let on = open.read_to == from && from > 0;
        let bytes = match root {
            Root::App => {
                let bytes = self.host.wasi.app.read(number, from, wanted).to_vec();
                self.guest.take_fuel(bytes.len() as u64 / 16)?;
                bytes
            }
            Root::State => self.read_state(number, from, wanted, on)?,
        };
        let to = from.saturating_add(bytes.len() as u64);
        let open = self.host.wasi.table.get_mut(fd)?;
        open.read_to = to;
        if offset.is_none() {
            open.offset = to;
        }
        Ok(bytes)
    }

    /// Small reads one behind another are done in larger ones.
    fn read_state(&mut self, number: u64, from: u64, wanted: u32, on: bool) -> Done<Vec<u8>> {
        let ahead = self.host.wasi.ahead.as_ref().and_then(|ahead| ahead.at(number, from));
        if let Some(ahead) = ahead {
            let bytes = ahead[..ahead.len().min(wanted as usize)].to_vec();
            self.guest.take_fuel(bytes.len() as u64 / 16)?;
            return Ok(bytes);
        }
        let ahead = u64::from(AHEAD_BYTES).min(self.host.frame_max() / 2) as u32;
        let most = if on { wanted.max(ahead) } else { wanted };
        let head = json!({"at": number, "bytes": most, "offset": from});
        let (head, mut bytes) = self.ask("file.read", &head, b"")?;
        let size = head.get("size").and_then(Value::as_u64).ok_or(IO)?;
        let read = bytes[..bytes.len().min(wanted as usize)].to_vec();
        if on {
            bytes.shrink_to_fit();
            self.host.wasi.ahead = Some(Ahead { number, offset: from, bytes, size });
        }
        Ok(read)
    }

    pub(super) fn write_file(
        &mut self,
        fd: u32,
        number: u64,
        offset: Option<u64>,
        bytes: &[u8],
    ) -> Done {
        let open = self.host.wasi.table.get(fd)?;
        if open.rights & table::WRITE == 0 {
            return Err(BADF.into());
        }
        let append = open.flags & APPEND != 0 && offset.is_none();
        let from = offset.unwrap_or(open.offset);
        if bytes.is_empty() {
            return Ok(());
        }
        let place = if append { json!("end") } else { json!(from) };
        self.forget(number);
        let (head, _) = self.ask("file.write", &json!({"at": number, "offset": place}), bytes)?;
        if offset.is_none() {
            let size = head.get("size").and_then(Value::as_u64).ok_or(IO)?;
            let to = if append { size } else { from.saturating_add(bytes.len() as u64) };
            self.host.wasi.table.get_mut(fd)?.offset = to;
        }
        Ok(())
    }

    pub(super) fn seek(&mut self, fd: u32, by: i64, whence: u32, at: u32) -> Done {
        let open = self.host.wasi.table.get(fd)?;
        let (root, number) = match open.what {
            What::File(root, number) => (root, number),
            What::Directory(..) => return Err(BADF.into()),
            _ => return Err(SPIPE.into()),
        };
        let right = if whence == 1 && by == 0 { table::TELL } else { table::SEEK };
        let offset = self.host.wasi.table.with(fd, right)?.offset;
        let from = match whence {
            0 => 0,
            1 => offset,
            2 => self.stat(root, number, "")?.size,
            _ => return Err(INVAL.into()),
        };
        let to = from.checked_add_signed(by).filter(|to| i64::try_from(*to).is_ok());
        let to = to.ok_or(INVAL)?;
        self.host.wasi.table.get_mut(fd)?.offset = to;
        self.put(at, &to.to_le_bytes())
    }

    pub(super) fn tell(&mut self, fd: u32, at: u32) -> Done {
        match self.host.wasi.table.get(fd)?.what {
            What::File(..) => {}
            What::Directory(..) => return Err(BADF.into()),
            _ => return Err(SPIPE.into()),
        }
        let offset = self.host.wasi.table.with(fd, table::TELL)?.offset;
        self.put(at, &offset.to_le_bytes())
    }

    pub(super) fn readdir(
        &mut self,
        fd: u32,
        at: u32,
        len: u32,
        cookie: u64,
        used_at: u32,
    ) -> Done {
        let (root, number) = self.host.wasi.table.directory(fd, table::READDIR)?;
        if cookie == 0 || self.host.wasi.table.get(fd)?.listing.is_empty() {
            let listing = self.listing(root, number)?;
            self.host.wasi.table.list(fd, listing)?;
        }
        // Room that is not there is not written to, even where little of it is needed.
        self.guest.bytes(at, len).ok_or(FAULT)?;
        let listing = &self.host.wasi.table.get(fd)?.listing;
        let from = usize::try_from(cookie).unwrap_or(usize::MAX).min(listing.len());
        let mut out = Vec::new();
        for (n, entry) in listing[from..].iter().enumerate() {
            if out.len() >= len as usize {
                break;
            }
            let mut head = [0; ENTRY_BYTES];
            head[..8].copy_from_slice(&((from + n + 1) as u64).to_le_bytes());
            head[8..16].copy_from_slice(&entry.inode.to_le_bytes());
            head[16..20].copy_from_slice(&(entry.name.len() as u32).to_le_bytes());
            head[20] = if entry.directory { DIRECTORY_TYPE } else { FILE_TYPE };
            out.extend(head);
            out.extend(entry.name.as_bytes());
        }
        out.truncate(len as usize);
        self.guest.take_fuel(out.len() as u64 / 16)?;
        self.put(at, &out)?;
        self.put(used_at, &(out.len() as u32).to_le_bytes())
    }

    fn listing(&mut self, root: Root, number: u64) -> Done<Vec<Entry>> {
        let own = |name: &str| Entry { name: name.into(), inode: inode(number), directory: true };
        let mut listing = vec![own("."), own("..")];
        match root {
            Root::App => {
                let listed = self.host.wasi.app.list(number);
                self.guest.take_fuel(listed.len() as u64 * 16)?;
                listing.extend(listed.into_iter().map(|(name, number, directory)| Entry {
                    name,
                    inode: inode(number),
                    directory,
                }));
            }
            Root::State => loop {
                let mut head = json!({"at": number, "limit": LIST_NAMES});
                if listing.len() > 2 {
                    head["after"] = json!(listing[listing.len() - 1].name);
                }
                let (head, _) = self.ask("file.list", &head, b"")?;
                let entries = head.get("entries").and_then(Value::as_array).ok_or(IO)?;
                for entry in entries {
                    let number = entry["file"].as_u64().ok_or(IO)?;
                    listing.push(Entry {
                        name: entry["name"].as_str().ok_or(IO)?.to_owned(),
                        inode: inode(number),
                        directory: entry["kind"] == "directory",
                    });
                }
                if entries.len() < LIST_NAMES {
                    break;
                }
            },
        }
        Ok(listing)
    }

    pub(super) fn open(&mut self, args: &[i64]) -> Done {
        let arg = |n: usize| args[n] as u32;
        let (fd, how, flags) = (arg(0), arg(4), arg(7));
        let (rights, inheriting) = (args[5].cast_unsigned(), args[6].cast_unsigned());
        let (root, at) = self.host.wasi.table.directory(fd, table::OPEN)?;
        let path = self.path(arg(2), arg(3))?;
        if how & !(CREATE | DIRECTORY | EXCLUSIVE | TRUNCATE) != 0 || flags & !FLAGS != 0 {
            return Err(INVAL.into());
        }
        let may = self.host.wasi.table.get(fd)?.inheriting;
        let all = table::OF_FILES | table::OF_DIRECTORIES;
        if (rights | inheriting) & all & !may != 0 {
            return Err(errno::NOTCAPABLE.into());
        }
        if how & CREATE != 0 {
            self.host.wasi.table.with(fd, table::CREATE_FILE)?;
            if how & DIRECTORY != 0 {
                return Err(INVAL.into());
            }
        }
        if how & TRUNCATE != 0 {
            self.host.wasi.table.with(fd, table::PATH_SET_SIZE)?;
        }
        if self.host.wasi.table.is_full() {
            return Err(errno::MFILE.into());
        }
        let writes = how & TRUNCATE != 0 || rights & table::WRITE != 0;
        let stat = match root {
            Root::State if how & CREATE != 0 => {
                let new = how & EXCLUSIVE != 0;
                let head = json!({"at": at, "new": new, "path": path});
                Stat::read(&self.ask("file.create", &head, b"")?.0)?
            }
            Root::State => self.stat(root, at, &path)?,
            Root::App => match self.stat(root, at, &path) {
                Ok(_) if how & CREATE != 0 && how & EXCLUSIVE != 0 => return Err(EXIST.into()),
                Ok(stat) if writes && !stat.directory => return Err(ROFS.into()),
                Err(super::Fail::Errno(NOENT)) if how & CREATE != 0 => return Err(ROFS.into()),
                other => other?,
            },
        };
        if !stat.directory && how & DIRECTORY != 0 {
            return Err(NOTDIR.into());
        }
        if stat.directory && writes {
            return Err(ISDIR.into());
        }
        if how & TRUNCATE != 0 && stat.size > 0 {
            self.truncate(stat.number, 0)?;
        }
        let mut open = if stat.directory {
            let what = What::Directory(root, stat.number);
            Open::new(what, rights & table::OF_DIRECTORIES, inheriting & all)
        } else {
            let of = match root {
                Root::State => table::OF_FILES,
                Root::App => table::OF_FILES & !READ_ONLY,
            };
            Open::new(What::File(root, stat.number), rights & of, inheriting & of)
        };
        open.flags = flags as u16;
        let fd = self.host.wasi.table.add(open)?;
        self.put(arg(8), &fd.to_le_bytes())
    }

    pub(super) fn create_directory(&mut self, fd: u32, at: u32, len: u32) -> Done {
        let (root, number) = self.host.wasi.table.directory(fd, table::CREATE_DIRECTORY)?;
        let path = self.path(at, len)?;
        match root {
            Root::App => match self.stat(root, number, &path) {
                Ok(_) => Err(EXIST.into()),
                Err(super::Fail::Errno(NOENT)) => Err(ROFS.into()),
                Err(error) => Err(error),
            },
            Root::State => {
                self.ask("file.mkdir", &json!({"at": number, "path": path}), b"").map(|_| ())
            }
        }
    }

    pub(super) fn path_filestat(&mut self, fd: u32, at: u32, len: u32, out: u32) -> Done {
        let (root, number) = self.host.wasi.table.directory(fd, table::PATH_STAT)?;
        let path = self.path(at, len)?;
        let stat = self.stat(root, number, &path)?;
        self.put(out, &stat.encode())
    }

    pub(super) fn path_set_times(
        &mut self,
        fd: u32,
        at: u32,
        len: u32,
        modified: u64,
        flags: u32,
    ) -> Done {
        let (root, number) = self.host.wasi.table.directory(fd, table::PATH_SET_TIMES)?;
        let path = self.path(at, len)?;
        self.touch(root, number, &path, modified, flags)
    }

    pub(super) fn remove(&mut self, fd: u32, at: u32, len: u32, directory: bool) -> Done {
        let right = if directory { table::REMOVE_DIRECTORY } else { table::UNLINK };
        let (root, number) = self.host.wasi.table.directory(fd, right)?;
        let path = self.path(at, len)?;
        if root == Root::App {
            self.stat(root, number, &path)?;
            return Err(ROFS.into());
        }
        let hold = !directory && self.is_open(number, &path)?;
        let kind = if directory { "directory" } else { "file" };
        let head = json!({"at": number, "hold": hold, "kind": kind, "path": path});
        self.ask("file.remove", &head, b"").map(|_| ())
    }

    pub(super) fn rename(
        &mut self,
        fd: u32,
        at: u32,
        len: u32,
        to_fd: u32,
        to_at: u32,
        to_len: u32,
    ) -> Done {
        let (root, number) = self.host.wasi.table.directory(fd, table::RENAME_SOURCE)?;
        let (to_root, to_number) = self.host.wasi.table.directory(to_fd, table::RENAME_TARGET)?;
        let (path, to) = (self.path(at, len)?, self.path(to_at, to_len)?);
        if root != to_root {
            return Err(XDEV.into());
        }
        if root == Root::App {
            self.stat(root, number, &path)?;
            return Err(ROFS.into());
        }
        let hold = self.is_open(to_number, &to)?;
        let head = json!({"at": number, "hold": hold, "path": path, "to": to, "to_at": to_number});
        self.ask("file.rename", &head, b"").map(|_| ())
    }

    /// There are no links, as on a file system that has none.
    pub(super) fn link(
        &mut self,
        fd: u32,
        at: u32,
        len: u32,
        to_fd: u32,
        to_at: u32,
        to_len: u32,
    ) -> Done {
        let (root, number) = self.host.wasi.table.directory(fd, table::LINK_SOURCE)?;
        self.host.wasi.table.directory(to_fd, table::LINK_TARGET)?;
        let path = self.path(at, len)?;
        self.path(to_at, to_len)?;
        self.stat(root, number, &path)?;
        Err(PERM.into())
    }

    pub(super) fn symlink(&mut self, at: u32, len: u32, fd: u32, to_at: u32, to_len: u32) -> Done {
        self.host.wasi.table.directory(fd, table::SYMLINK)?;
        self.path(at, len)?;
        self.path(to_at, to_len)?;
        Err(PERM.into())
    }

    pub(super) fn readlink(&mut self, fd: u32, at: u32, len: u32) -> Done {
        let (root, number) = self.host.wasi.table.directory(fd, table::READLINK)?;
        let path = self.path(at, len)?;
        self.stat(root, number, &path)?;
        Err(INVAL.into())
    }

    fn stat(&mut self, root: Root, at: u64, path: &str) -> Done<Stat> {
        match root {
            Root::State => {
                Stat::read(&self.ask("file.stat", &json!({"at": at, "path": path}), b"")?.0)
            }
            Root::App => {
                let app = &mut self.host.wasi.app;
                let place = app.follow(at, path).map_err(|error| named(&error))?;
                let number = place.number.ok_or(NOENT)?;
                let directory = app.kind(number) == FileKind::Directory;
                let size = app.size(number);
                Ok(Stat { root, number, directory, size, modified_nanos: 0 })
            }
        }
    }

    /// A file of the state that may be changed by this descriptor.
    fn writable(&mut self, fd: u32, right: u64) -> Done<u64> {
        let open = self.host.wasi.table.get(fd)?;
        match open.what {
            What::File(Root::State, number) if open.rights & table::WRITE != 0 => {
                self.host.wasi.table.with(fd, right)?;
                Ok(number)
            }
            What::Directory(..) => Err(ISDIR.into()),
            What::File(Root::State, _) => Err(BADF.into()),
            What::File(Root::App, _) => Err(ROFS.into()),
            _ => Err(INVAL.into()),
        }
    }

    fn truncate(&mut self, number: u64, size: u64) -> Done {
        self.forget(number);
        self.ask("file.truncate", &json!({"at": number, "size": size}), b"").map(|_| ())
    }

    /// Files have one time, that of their last change. When one was read last is not kept.
    fn touch(&mut self, root: Root, at: u64, path: &str, modified: u64, flags: u32) -> Done {
        const READ_GIVEN: u32 = 1;
        const READ_NOW: u32 = 2;
        const CHANGED_GIVEN: u32 = 4;
        const CHANGED_NOW: u32 = 8;
        let both = |one: u32, other: u32| flags & one != 0 && flags & other != 0;
        if flags > 15 || both(READ_GIVEN, READ_NOW) || both(CHANGED_GIVEN, CHANGED_NOW) {
            return Err(INVAL.into());
        }
        if root == Root::App {
            self.stat(root, at, path)?;
            return Err(ROFS.into());
        }
        let mut head = json!({"at": at, "path": path});
        if flags & CHANGED_GIVEN != 0 {
            head["modified_ns"] = json!(modified);
        } else if flags & CHANGED_NOW == 0 {
            return self.stat(root, at, path).map(|_| ());
        }
        self.ask("file.touch", &head, b"").map(|_| ())
    }

    /// Whether what has that name is open, so that it must outlive its name.
    fn is_open(&mut self, at: u64, path: &str) -> Done<bool> {
        if !self.host.wasi.table.holds(None) {
            return Ok(false);
        }
        match self.stat(Root::State, at, path) {
            Ok(stat) => Ok(self.host.wasi.table.holds(Some(stat.number))),
            Err(super::Fail::Errno(_)) => Ok(false),
            Err(stop) => Err(stop),
        }
    }

    /// What was read ahead of a file that changes.
    fn forget(&mut self, number: u64) {
        self.host.wasi.ahead.take_if(|ahead| ahead.number == number);
    }
}

/// What a file that cannot be changed does not have.
const READ_ONLY: u64 = table::WRITE | table::ALLOCATE | table::SET_SIZE | table::SET_TIMES;
