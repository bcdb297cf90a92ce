//! The descriptors of one program. They are part of its memory: a reactor's end with its turn, a resident's
//! with its cell.

use super::errno::{BADF, MFILE, NOTCAPABLE, NOTDIR};

/// Most descriptors open at once.
pub(super) const FDS_MAX: usize = 1024;

/// Most names that are kept of directories that are read.
const LISTED_MAX: usize = 40_000;

pub(super) const DATASYNC: u64 = 1 << 0;
pub(super) const READ: u64 = 1 << 1;
pub(super) const SEEK: u64 = 1 << 2;
pub(super) const SET_FLAGS: u64 = 1 << 3;
pub(super) const SYNC: u64 = 1 << 4;
pub(super) const TELL: u64 = 1 << 5;
pub(super) const WRITE: u64 = 1 << 6;
pub(super) const ADVISE: u64 = 1 << 7;
pub(super) const ALLOCATE: u64 = 1 << 8;
pub(super) const CREATE_DIRECTORY: u64 = 1 << 9;
pub(super) const CREATE_FILE: u64 = 1 << 10;
pub(super) const LINK_SOURCE: u64 = 1 << 11;
pub(super) const LINK_TARGET: u64 = 1 << 12;
pub(super) const OPEN: u64 = 1 << 13;
pub(super) const READDIR: u64 = 1 << 14;
pub(super) const READLINK: u64 = 1 << 15;
pub(super) const RENAME_SOURCE: u64 = 1 << 16;
pub(super) const RENAME_TARGET: u64 = 1 << 17;
pub(super) const PATH_STAT: u64 = 1 << 18;
pub(super) const PATH_SET_SIZE: u64 = 1 << 19;
pub(super) const PATH_SET_TIMES: u64 = 1 << 20;
pub(super) const STAT: u64 = 1 << 21;
pub(super) const SET_SIZE: u64 = 1 << 22;
pub(super) const SET_TIMES: u64 = 1 << 23;
pub(super) const SYMLINK: u64 = 1 << 24;
pub(super) const REMOVE_DIRECTORY: u64 = 1 << 25;
pub(super) const UNLINK: u64 = 1 << 26;
pub(super) const POLL: u64 = 1 << 27;

/// What can be done with a file, and with a directory.
pub(super) const OF_FILES: u64 = DATASYNC
    | READ
    | SEEK
    | SET_FLAGS
    | SYNC
    | TELL
    | WRITE
    | ADVISE
    | ALLOCATE
    | STAT
    | SET_SIZE
    | SET_TIMES
    | POLL;
pub(super) const OF_DIRECTORIES: u64 = DATASYNC
    | SET_FLAGS
    | SYNC
    | CREATE_DIRECTORY
    | CREATE_FILE
    | LINK_SOURCE
    | LINK_TARGET
    | OPEN
    | READDIR
    | READLINK
    | RENAME_SOURCE
    | RENAME_TARGET
    | PATH_STAT
    | PATH_SET_SIZE
    | PATH_SET_TIMES
    | STAT
    | SET_TIMES
    | SYMLINK
    | REMOVE_DIRECTORY
    | UNLINK;

/// Where a file or directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Root {
    /// In the agent's state, where it is known at the door by this number.
    State,
    /// In what the module brings.
    App,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Input,
    Output,
    Errors,
    File(Root, u64),
    Directory(Root, u64),
}

#[derive(Debug)]
pub(super) struct Open {
    pub(super) what: What,
    /// Its name, if it was there from the start.
    pub(super) preopen: Option<&'static str>,
    pub(super) rights: u64,
    /// What may be asked for of what is opened from here.
    pub(super) inheriting: u64,
    pub(super) flags: u16,
    /// Where the next read or write begins.
    pub(super) offset: u64,
    /// Where the last read ended.
    pub(super) read_to: u64,
    /// A directory's entries, as they were when they were asked for from the start.
    pub(super) listing: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) inode: u64,
    pub(super) directory: bool,
}

impl Open {
    pub(super) fn new(what: What, rights: u64, inheriting: u64) -> Self {
        Self {
            what,
            preopen: None,
            rights,
            inheriting,
            flags: 0,
            offset: 0,
            read_to: 0,
            listing: Vec::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct Table(Vec<Option<Open>>);

impl Table {
    /// Standard streams and directories.
    pub(super) fn new() -> Self {
        let stream = |what, rights| Some(Open::new(what, rights | STAT | SET_FLAGS | POLL, 0));
        let directory = |root, name| {
            let mut open =
                Open::new(What::Directory(root, 0), OF_DIRECTORIES, OF_FILES | OF_DIRECTORIES);
            open.preopen = Some(name);
            Some(open)
        };
        Self(vec![
            stream(What::Input, READ),
            stream(What::Output, WRITE),
            stream(What::Errors, WRITE),
            directory(Root::State, "/state"),
            directory(Root::App, "/app"),
        ])
    }

    pub(super) fn get(&self, fd: u32) -> Result<&Open, i32> {
        self.0.get(fd as usize).and_then(Option::as_ref).ok_or(BADF)
    }

    pub(super) fn get_mut(&mut self, fd: u32) -> Result<&mut Open, i32> {
        self.0.get_mut(fd as usize).and_then(Option::as_mut).ok_or(BADF)
    }

    /// One that may do that.
    pub(super) fn with(&mut self, fd: u32, right: u64) -> Result<&mut Open, i32> {
        let open = self.get_mut(fd)?;
        if open.rights & right == right { Ok(open) } else { Err(NOTCAPABLE) }
    }

    /// A directory that may do that.
    pub(super) fn directory(&mut self, fd: u32, right: u64) -> Result<(Root, u64), i32> {
        match self.get(fd)?.what {
            What::Directory(root, number) => self.with(fd, right).map(|_| (root, number)),
            _ => Err(NOTDIR),
        }
    }

    /// Keeps what is in a directory. Others are listed anew if all together are too many.
    pub(super) fn list(&mut self, fd: u32, listing: Vec<Entry>) -> Result<(), i32> {
        let all: usize = self.0.iter().flatten().map(|open| open.listing.len()).sum();
        if all + listing.len() > LISTED_MAX {
            self.0.iter_mut().flatten().for_each(|open| open.listing = Vec::new());
        }
        self.get_mut(fd)?.listing = listing;
        Ok(())
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= FDS_MAX && self.0.iter().all(Option::is_some)
    }

    /// The lowest number that is free.
    pub(super) fn add(&mut self, open: Open) -> Result<u32, i32> {
        let free = self.0.iter().position(Option::is_none).unwrap_or(self.0.len());
        if free >= FDS_MAX {
            return Err(MFILE);
        }
        if free == self.0.len() {
            self.0.push(None);
        }
        self.0[free] = Some(open);
        Ok(free as u32)
    }

    pub(super) fn close(&mut self, fd: u32) -> Result<(), i32> {
        self.get(fd)?;
        self.0[fd as usize] = None;
        Ok(())
    }

    pub(super) fn renumber(&mut self, from: u32, to: u32) -> Result<(), i32> {
        self.get(from)?;
        self.get(to)?;
        if from != to {
            self.0[to as usize] = self.0[from as usize].take();
        }
        Ok(())
    }

    /// Whether a file of the state is open; with a number, whether that one is.
    pub(super) fn holds(&self, number: Option<u64>) -> bool {
        self.0.iter().flatten().any(|open| match open.what {
            What::File(Root::State, found) => number.is_none_or(|number| number == found),
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_many_directories_are_not_all_kept() {
        let entry = || Entry { name: "name".into(), inode: 1, directory: false };
        let listing = || std::iter::repeat_with(entry).take(10_000).collect::<Vec<_>>();
        let mut table = Table::new();
        for _ in 0..100 {
            let open = Open::new(What::Directory(Root::State, 0), READDIR, 0);
            let fd = table.add(open).unwrap();
            table.list(fd, listing()).unwrap();
            assert_eq!(table.get(fd).unwrap().listing.len(), 10_000);
            let all: usize = table.0.iter().flatten().map(|open| open.listing.len()).sum();
            assert!(all <= LISTED_MAX, "{all}");
        }
    }
}
