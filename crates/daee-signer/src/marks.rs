//! The file of high-water marks: one record for each place that was ever given away, newest last.
//!
//! A record is 128 bytes and never crosses a sector, so that a power cut leaves it whole, short or zero.
//! Anything else at the end is damage, and then nothing is signed: a lost mark is a second signature.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use daee_types::{
    Address, DeploymentId, Domain, EpochId, LeafHash, SignError, Word, keccak256,
    wire::{Reader, Writer},
};

use crate::key::folder;

const RECORD: usize = 128;
const MAGIC: &[u8; 16] = b"daee marks v1\0\0\0";
/// Size from which the file is rewritten with one record a lease, if that makes it a quarter.
const REWRITE_BYTES: u64 = 1 << 20;

/// One lease of one deployment.
pub(crate) type Lease = (DeploymentId, EpochId);

/// The highest place that was given away in a lease, and to which leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub seq: u64,
    pub leaf: LeafHash,
}

pub(crate) struct Marks {
    path: PathBuf,
    header: [u8; RECORD],
    marks: BTreeMap<Lease, Mark>,
    file: File,
    /// Length in bytes of what is on disk for certain.
    len: u64,
    /// A write failed in a way that leaves unknown what the disk holds.
    broken: bool,
    _lock: Lock,
}

impl Marks {
    /// Opens or creates the file, which belongs to one key and one domain. Locked until it is dropped.
    pub fn open(path: &Path, key: Address, domain: &Domain) -> Result<Self, SignError> {
        let failed = |error: io::Error| unavailable(path, &error);
        let lock = lock(path)?;
        let header = header(key, domain);
        let mut bytes = Vec::new();
        match File::open(path) {
            Ok(mut file) => drop(file.read_to_end(&mut bytes).map_err(failed)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        let marks = if bytes.is_empty() {
            BTreeMap::new()
        } else {
            read(&bytes, &header).map_err(|why| unavailable(path, &why))?
        };
        // Written anew each time: what was read may never have reached the disk.
        let (file, len) = rewrite(path, &header, &marks).map_err(failed)?;
        Ok(Self { path: path.to_owned(), header, marks, file, len, broken: false, _lock: lock })
    }

    pub fn get(&self, lease: &Lease) -> Option<&Mark> {
        self.marks.get(lease)
    }

    /// Raises marks; all of them are on disk on return, and none is where this fails.
    pub fn raise(&mut self, raised: &BTreeMap<Lease, Mark>) -> Result<(), SignError> {
        if raised.is_empty() {
            return Ok(());
        }
        if self.broken {
            return Err(unavailable(&self.path, &"an earlier write failed: restart the signer"));
        }
        let mut bytes = Vec::with_capacity(raised.len() * RECORD);
        for (lease, mark) in raised {
            bytes.extend(record(lease, mark));
        }
        if let Err(error) = self.file.write_all(&bytes) {
            // Half a record must not stand before the next one.
            self.broken = self.file.set_len(self.len).is_err();
            return Err(unavailable(&self.path, &error));
        }
        if let Err(error) = self.file.sync_data() {
            // The kernel may have dropped the pages and will call the next sync a success.
            self.broken = true;
            return Err(unavailable(&self.path, &error));
        }
        self.len += bytes.len() as u64;
        self.marks.extend(raised);
        let live = (self.marks.len() as u64 + 1) * RECORD as u64;
        if self.len > REWRITE_BYTES && self.len / 4 > live {
            // The marks are safe where they are; if this fails it is tried again at the next one.
            if let Ok((file, len)) = rewrite(&self.path, &self.header, &self.marks) {
                (self.file, self.len) = (file, len);
            }
        }
        Ok(())
    }
}

/// A second signer on the same marks would sign every place a second time.
struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a process that is just being started has a copy of the descriptor until
        // its program begins, and the lock with it.
        let _ = self.0.unlock();
    }
}

fn lock(path: &Path) -> Result<Lock, SignError> {
    // Not the file itself, which a rewrite replaces.
    let beside = suffixed(path, ".lock");
    let file = private(false).open(&beside).map_err(|error| unavailable(&beside, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(unavailable(
            path,
            &"another process signs with it: stop the other node, or give this one a directory of its own",
        )),
        Err(TryLockError::Error(error)) => Err(unavailable(path, &error)),
    }
}

fn read(bytes: &[u8], header: &[u8; RECORD]) -> Result<BTreeMap<Lease, Mark>, &'static str> {
    let mut records = bytes.chunks(RECORD);
    let first = records.next().unwrap_or_default();
    if !first.starts_with(MAGIC) {
        return Err("it is not a file of marks: give another path");
    }
    if first != header {
        return Err("it belongs to another key or another contract: give each its own file");
    }
    let mut marks = BTreeMap::new();
    let mut torn = false;
    for bytes in records {
        if bytes.len() < RECORD || bytes.iter().all(|byte| *byte == 0) {
            torn = true;
            continue;
        }
        match parse(bytes) {
            Some((lease, mark)) if !torn => drop(marks.insert(lease, mark)),
            _ => {
                return Err("it is damaged, and what was signed can no longer be known: \
                            register a new operator key");
            }
        }
    }
    Ok(marks)
}

fn rewrite(
    path: &Path,
    header: &[u8; RECORD],
    marks: &BTreeMap<Lease, Mark>,
) -> io::Result<(File, u64)> {
    let mut bytes = header.to_vec();
    for (lease, mark) in marks {
        bytes.extend(record(lease, mark));
    }
    let fresh = suffixed(path, ".new");
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = private(true).open(&fresh)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    File::open(folder(path))?.sync_all()?;
    Ok((file, bytes.len() as u64))
}

fn header(key: Address, domain: &Domain) -> [u8; RECORD] {
    let mut out = Writer::new();
    out.raw(MAGIC).word(&key.to_word()).word(&domain.separator()).raw(&[0; 16]);
    sealed(out)
}

fn record((deployment, epoch): &Lease, mark: &Mark) -> [u8; RECORD] {
    let mut out = Writer::new();
    out.u64(deployment.0).word(epoch.as_bytes()).u64(mark.seq).word(mark.leaf.as_bytes());
    out.raw(&[0; 16]);
    sealed(out)
}

fn parse(bytes: &[u8]) -> Option<(Lease, Mark)> {
    let (body, seal) = bytes.split_at_checked(RECORD - 32)?;
    if seal != keccak256(body) {
        return None;
    }
    let mut from = Reader::new(body);
    let lease = (DeploymentId(from.u64().ok()?), EpochId::new(from.word().ok()?));
    let mark = Mark { seq: from.u64().ok()?, leaf: LeafHash::new(from.word().ok()?) };
    Some((lease, mark))
}

fn sealed(body: Writer) -> [u8; RECORD] {
    let body = body.finish();
    let seal: Word = keccak256(&body);
    let mut out = [0; RECORD];
    out[..RECORD - 32].copy_from_slice(&body);
    out[RECORD - 32..].copy_from_slice(&seal);
    out
}

fn private(fresh: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.append(true).create(true).create_new(fresh).mode(0o600);
    options
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn unavailable(path: &Path, why: &dyn std::fmt::Display) -> SignError {
    SignError::Unavailable(format!("{}: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOMAIN: Domain = Domain { chain_id: 1, manager: Address([1; 20]) };
    const KEY: Address = Address([2; 20]);

    /// Marks of lease 1 at place 1 and of lease 2 at places 1 and 2, as bytes.
    fn three_records() -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marks");
        let mut marks = Marks::open(&path, KEY, &DOMAIN).unwrap();
        for (deployment, seq) in [(1, 1), (2, 1), (2, 2)] {
            marks.raise(&BTreeMap::from([(lease(deployment), mark(seq))])).unwrap();
        }
        std::fs::read(path).unwrap()
    }

    fn lease(deployment: u64) -> Lease {
        (DeploymentId(deployment), EpochId::new([deployment as u8; 32]))
    }

    fn mark(seq: u64) -> Mark {
        Mark { seq, leaf: LeafHash::new([seq as u8; 32]) }
    }

    /// What a file of these bytes says about lease 2, or why it is refused.
    fn check(bytes: &[u8], want: Result<u64, &str>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marks");
        std::fs::write(&path, bytes).unwrap();
        match (Marks::open(&path, KEY, &DOMAIN), want) {
            (Ok(marks), Ok(seq)) => {
                assert_eq!(marks.get(&lease(2)).map_or(0, |mark| mark.seq), seq);
                assert_eq!(marks.get(&lease(1)), Some(&mark(1)));
                drop(marks);
                let again = Marks::open(&path, KEY, &DOMAIN).unwrap();
                assert_eq!(again.get(&lease(2)).map_or(0, |mark| mark.seq), seq);
            }
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{error}");
                assert_eq!(std::fs::read(&path).unwrap(), bytes, "a refused file was changed");
            }
            (got, want) => panic!("{:?} is not {want:?}", got.err()),
        }
    }

    #[test]
    fn a_record_that_was_cut_off_at_any_byte_was_never_signed() {
        let whole = three_records();
        for cut in whole.len() - RECORD..whole.len() {
            check(&whole[..cut], Ok(1));
            let mut zeroed = whole[..whole.len() - RECORD].to_vec();
            zeroed.resize(cut, 0);
            check(&zeroed, Ok(1));
        }
        check(&whole, Ok(2));
    }

    #[test]
    fn a_bent_byte_is_never_taken_for_a_cut() {
        let whole = three_records();
        for at in 0..whole.len() {
            let mut bent = whole.clone();
            bent[at] ^= 0x10;
            let want = if at < MAGIC.len() {
                "not a file of marks"
            } else if at < RECORD {
                "belongs to another key"
            } else {
                "is damaged"
            };
            check(&bent, Err(want));
        }
    }

    #[test]
    fn records_behind_a_hole_are_damage() {
        let mut bytes = three_records();
        bytes[2 * RECORD..3 * RECORD].fill(0);
        check(&bytes, Err("is damaged"));
    }

    #[test]
    fn a_mark_that_finds_no_space_is_not_raised() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marks");
        let mut marks = Marks::open(&path, KEY, &DOMAIN).unwrap();
        marks.raise(&BTreeMap::from([(lease(1), mark(1))])).unwrap();
        // The device on which every write finds the disk full; it cannot be cut to a length either.
        let whole = std::mem::replace(&mut marks.file, private(false).open("/dev/full").unwrap());
        let error = marks.raise(&BTreeMap::from([(lease(1), mark(2))])).unwrap_err();
        assert!(error.to_string().contains("No space left"), "{error}");
        assert_eq!(marks.get(&lease(1)), Some(&mark(1)));
        marks.file = whole;
        let error = marks.raise(&BTreeMap::from([(lease(1), mark(2))])).unwrap_err();
        assert!(error.to_string().contains("restart"), "{error}");
        drop(marks);
        let mut marks = Marks::open(&path, KEY, &DOMAIN).unwrap();
        assert_eq!(marks.get(&lease(1)), Some(&mark(1)));
        marks.raise(&BTreeMap::from([(lease(1), mark(2))])).unwrap();
    }

    #[test]
    fn the_file_stays_small_however_long_a_lease_lives() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("marks");
        let mut marks = Marks::open(&path, KEY, &DOMAIN).unwrap();
        let batch: BTreeMap<_, _> = (0..1000).map(|n| (lease(n), mark(1))).collect();
        for _ in 0..20 {
            marks.raise(&batch).unwrap();
        }
        assert!(marks.len < 2 * REWRITE_BYTES, "{}", marks.len);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), marks.len);
        drop(marks);
        assert_eq!(Marks::open(&path, KEY, &DOMAIN).unwrap().marks, batch);
    }
}
