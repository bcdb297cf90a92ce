//! The snapshots that a lease's records go on from.

use std::{fs::File, io::Read as _, path::Path};

use daee_types::wire::{Reader, Writer};

use crate::{
    StoreError,
    error::at,
    files,
    record::{Key, Place},
};

/// The one that the lease itself goes on from.
pub(crate) const NAME: &str = "base";
const MAGIC: &[u8; 16] = b"daee lease v2\0\0\0";
const HEAD: usize = 16 + 8 + 8 + 8 + 32 + 8 + 32 + 16;

/// All but the snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Base {
    /// The last record that the snapshot includes, and what comes after it.
    pub place: Place,
    /// Makes the checks of all records of the lease.
    pub key: Key,
}

impl Base {
    /// Of a new lease.
    pub fn new() -> Result<Self, StoreError> {
        let source = Path::new("/dev/urandom");
        let mut key = [0; 32];
        File::open(source).and_then(|mut file| file.read_exact(&mut key)).map_err(at(source))?;
        Ok(Self { place: Place::default(), key })
    }

    /// Puts it in place of what is there, which stays if this fails. On disk once the directory is synced.
    pub fn write(&self, path: &Path, snapshot: &[u8]) -> Result<(), StoreError> {
        let mut head = Writer::new();
        let Place { number, line_next, entry_next } = self.place;
        head.raw(MAGIC).u64(number).u64(line_next).u64(entry_next).word(&self.key);
        head.u64(snapshot.len() as u64).word(blake3::hash(snapshot).as_bytes());
        let head = head.finish();
        let check = blake3::hash(&head);
        files::replace_unsynced(path, &[&head, &check.as_bytes()[..16], snapshot])
    }

    /// Reads it with its snapshot; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<(Self, Vec<u8>)>, StoreError> {
        let Some(mut bytes) = files::read(path)? else { return Ok(None) };
        let corrupt = |why| StoreError::corrupt(path, why);
        let (base, len, hash) = parse(&bytes).ok_or_else(|| corrupt("its head is not whole"))?;
        bytes.drain(..HEAD);
        if bytes.len() as u64 != len || *blake3::hash(&bytes).as_bytes() != hash {
            return Err(corrupt("it is not what was written"));
        }
        Ok(Some((base, bytes)))
    }

    /// Reads it with so many bytes of its snapshot, whose hash is then not compared.
    pub fn read_head(path: &Path, bytes: usize) -> Result<Option<(Self, Vec<u8>)>, StoreError> {
        let mut head = Vec::new();
        let upto = (HEAD + bytes) as u64;
        match File::open(path) {
            Ok(file) => drop(file.take(upto).read_to_end(&mut head).map_err(at(path))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(path)(error)),
        }
        let (base, _, _) =
            parse(&head).ok_or_else(|| StoreError::corrupt(path, "its head is not whole"))?;
        head.drain(..HEAD);
        Ok(Some((base, head)))
    }

    /// Takes it away, and the lease with it; gone from the disk on return.
    pub fn remove(dir: &Path) -> Result<(), StoreError> {
        files::remove(&dir.join(NAME))?;
        files::sync_dir(dir)
    }
}

/// Head, length of the snapshot in bytes, and its hash.
fn parse(bytes: &[u8]) -> Option<(Base, u64, [u8; 32])> {
    let (covered, check) = bytes.get(..HEAD)?.split_at(HEAD - 16);
    if blake3::hash(covered).as_bytes()[..16] != *check || !covered.starts_with(MAGIC) {
        return None;
    }
    let mut from = Reader::new(&covered[MAGIC.len()..]);
    let mut next = || from.u64().ok();
    let place = Place { number: next()?, line_next: next()?, entry_next: next()? };
    let key = from.word().ok()?;
    Some((Base { place, key }, from.u64().ok()?, from.word().ok()?))
}
