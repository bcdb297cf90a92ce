//! The snapshot that a lease's records go on from.

use std::{fs::File, io::Read as _, path::Path};

use daee_types::wire::{Reader, Writer};

use crate::{
    StoreError,
    error::at,
    files,
    record::{Key, Place},
};

const NAME: &str = "base";
const MAGIC: &[u8; 16] = b"daee lease v1\0\0\0";
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

    /// Puts it in place of the one before, which stays if this fails. On disk once the directory is synced.
    pub fn write(&self, dir: &Path, snapshot: &[u8]) -> Result<(), StoreError> {
        let mut head = Writer::new();
        let Place { number, line_next, entry_next } = self.place;
        head.raw(MAGIC).u64(number).u64(line_next).u64(entry_next).word(&self.key);
        head.u64(snapshot.len() as u64).word(blake3::hash(snapshot).as_bytes());
        let head = head.finish();
        let check = blake3::hash(&head);
        files::replace_unsynced(&dir.join(NAME), &[&head, &check.as_bytes()[..16], snapshot])
    }

    /// Reads it with its snapshot; `None` if there is none.
    pub fn read(dir: &Path) -> Result<Option<(Self, Vec<u8>)>, StoreError> {
        let path = dir.join(NAME);
        let Some(mut bytes) = files::read(&path)? else { return Ok(None) };
        let corrupt = |why| StoreError::corrupt(&path, why);
        let (base, len, hash) = parse(&bytes).ok_or_else(|| corrupt("its head is not whole"))?;
        bytes.drain(..HEAD);
        if bytes.len() as u64 != len || *blake3::hash(&bytes).as_bytes() != hash {
            return Err(corrupt("it is not what was written"));
        }
        Ok(Some((base, bytes)))
    }

    /// Reads it without its snapshot.
    pub fn read_head(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join(NAME);
        let mut head = Vec::new();
        match File::open(&path) {
            Ok(file) => drop(file.take(HEAD as u64).read_to_end(&mut head).map_err(at(&path))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(at(&path)(error)),
        }
        let parsed =
            parse(&head).ok_or_else(|| StoreError::corrupt(&path, "its head is not whole"));
        parsed.map(|(base, _, _)| Some(base))
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
