//! The few ways in which this crate touches a disk.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::{StoreError, error::at};

/// End of the name of a file that is being written; whoever opens a directory removes what is left of them.
pub(crate) const FRESH: &str = ".new";

/// Puts a whole file in place, or leaves what was there. On disk on return, its name included.
pub(crate) fn replace(path: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
    replace_unsynced(path, parts)?;
    sync_dir(folder(path))
}

/// The same, but its name is on disk only once the folder has been synced.
pub(crate) fn replace_unsynced(path: &Path, parts: &[&[u8]]) -> Result<(), StoreError> {
    static WRITTEN: AtomicU64 = AtomicU64::new(0);
    // Two may put the same file at once, and neither may write into the other's.
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let fresh = suffixed(path, &format!(".{number}{FRESH}"));
    let write = || -> io::Result<()> {
        let mut file = File::create(&fresh)?;
        parts.iter().try_for_each(|part| file.write_all(part))?;
        file.sync_all()?;
        fs::rename(&fresh, path)
    };
    write().map_err(|error| {
        // It takes the space that is missing.
        let _ = fs::remove_file(&fresh);
        StoreError::io(path, &error)
    })
}

/// Gives a file a second name in place of what has it. On disk once the directory is synced.
pub(crate) fn link_unsynced(path: &Path, to: &Path) -> io::Result<()> {
    let fresh = suffixed(to, FRESH);
    let _ = fs::remove_file(&fresh);
    fs::hard_link(path, &fresh)?;
    fs::rename(&fresh, to)
}

/// A file's whole content; `None` if there is no such file.
pub(crate) fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

/// The names in a directory; none if it is not there.
pub(crate) fn names(dir: &Path) -> Result<Vec<String>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(dir)(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        // No file of ours has a name that is not UTF-8.
        names.extend(entry.map_err(at(dir))?.file_name().into_string());
    }
    Ok(names)
}

/// Makes a directory and what is missing above it; all of their names are on disk on return. Nobody else on
/// the machine can look into them: what agents know lies there as it is.
pub(crate) fn create_dir(dir: &Path) -> Result<(), StoreError> {
    if dir.is_dir() {
        return Ok(());
    }
    let above = folder(dir);
    create_dir(above)?;
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(at(dir)(error)),
        _ => {}
    }
    sync_dir(above)
}

/// Puts the names in a directory on disk.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(at(dir))
}

/// The right to write below a directory.
#[derive(Debug)]
pub(crate) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started has a copy of the descriptor until
        // its program begins, and the lock with it.
        let _ = self.0.unlock();
    }
}

/// Makes this process the only writer of a directory.
pub(crate) fn lock(dir: &Path) -> Result<Lock, StoreError> {
    let path = dir.join("lock");
    let options = OpenOptions::new().append(true).create(true).open(&path);
    let file = options.map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Busy { dir: dir.to_owned() }),
        Err(TryLockError::Error(error)) => Err(at(&path)(error)),
    }
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
