//! One turn as it lies in a file.
//!
//! ```text
//! length u32 of all that follows the check | check: first 16 bytes of its BLAKE3 under the lease's key
//! number u64 | synced u64 | line_next u64 | entry_next u64 | five lengths u32 | logs, transcript, bodies, progress, delta
//! ```
//! Integers are little endian. `synced` is the number up to which everything was on disk when this was
//! written: what is missing at or below it is damage, and no torn tail. The key is there because an agent
//! chooses much of what is written: without it, a record forged inside a value would pass for one of ours.

use std::{fs::File, io, os::unix::fs::FileExt as _, sync::Arc};

use daee_types::{Word, wire::Reader};

const CHECK: usize = 16;
/// Bytes before what the check covers.
pub(crate) const PREFIX: usize = 4 + CHECK;
/// Bytes of numbers and lengths behind the check.
const FIXED: usize = 4 * 8 + 5 * 4;
/// Bytes of the hash before a body.
const WORD: usize = 32;
/// Longest record; no bound of the workspace lets a turn grow that large.
const RECORD_MAX: usize = u32::MAX as usize;
/// How much is read at once.
const READ_BYTES: usize = 256 << 10;
/// How much is hashed in search of a record behind a hole. An agent can write what looks like many.
const SEARCH_BYTES_MAX: usize = 256 << 20;

/// What checks are made with; made at random for each lease and kept in its base.
pub(crate) type Key = [u8; 32];

/// Where a record stands among all of its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// Counts the records of a lease from 1.
    pub number: u64,
    /// `seq` of its first log line, or of the first one after it.
    pub line_next: u64,
    /// Transcript entries of the lease before it.
    pub entry_next: u64,
}

/// A record whose check is right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    pub place: Place,
    pub synced: u64,
    /// Encoded log lines, each behind its length.
    pub logs: &'a [u8],
    pub transcript: &'a [u8],
    /// What the transcript names by its hash: each hash with its bytes, behind their length.
    pub bodies: &'a [u8],
    pub progress: &'a [u8],
    pub delta: &'a [u8],
}

impl<'a> Record<'a> {
    /// Bytes that the file takes for it.
    pub fn size(&self) -> usize {
        PREFIX + FIXED + self.parts().map(<[u8]>::len).iter().sum::<usize>()
    }

    /// Appends it to `out`; `None` if it is too long.
    pub fn write(&self, key: &Key, out: &mut Vec<u8>) -> Option<()> {
        let size = self.size();
        if size > RECORD_MAX {
            return None;
        }
        let start = out.len();
        out.reserve(size);
        out.extend(((size - PREFIX) as u32).to_le_bytes());
        out.extend([0; CHECK]);
        let Place { number, line_next, entry_next } = self.place;
        for value in [number, self.synced, line_next, entry_next] {
            out.extend_from_slice(&value.to_le_bytes());
        }
        let parts = self.parts();
        for part in parts {
            out.extend((part.len() as u32).to_le_bytes());
        }
        for part in parts {
            out.extend_from_slice(part);
        }
        let check = check(key, &out[start + PREFIX..]);
        out[start + 4..start + PREFIX].copy_from_slice(&check);
        Some(())
    }

    /// The record at the start of `bytes`; `None` if it is not whole.
    pub fn read(key: &Key, bytes: &'a [u8]) -> Option<Self> {
        let record = Self::unchecked(bytes)?;
        (check(key, &bytes[PREFIX..record.size()]) == bytes[4..PREFIX]).then_some(record)
    }

    /// What looks like one.
    fn unchecked(bytes: &'a [u8]) -> Option<Self> {
        let size = PREFIX.checked_add(length(bytes)?)?;
        let mut from = Reader::new(bytes.get(PREFIX..size)?);
        let mut next = || from.u64().ok();
        let (number, synced, line_next, entry_next) = (next()?, next()?, next()?, next()?);
        let mut lengths = [0; 5];
        for length in &mut lengths {
            *length = from.u32().ok()? as usize;
        }
        let mut part = |len| from.raw(len).ok();
        let [logs, transcript, bodies, progress, delta] = lengths;
        let record = Self {
            place: Place { number, line_next, entry_next },
            synced,
            logs: part(logs)?,
            transcript: part(transcript)?,
            bodies: part(bodies)?,
            progress: part(progress)?,
            delta: part(delta)?,
        };
        from.finish().ok()?;
        Some(record)
    }

    /// Each encoded line.
    pub fn lines(&self) -> impl Iterator<Item = &'a [u8]> {
        behind_lengths(self.logs)
    }

    /// Each transcript entry.
    pub fn entries(&self) -> impl Iterator<Item = &'a [u8]> {
        behind_lengths(self.transcript)
    }

    /// Each body behind its hash.
    pub fn bodies(&self) -> impl Iterator<Item = (&'a Word, &'a [u8])> {
        behind_lengths(self.bodies).filter_map(|both| both.split_first_chunk::<WORD>())
    }

    /// Where the next record stands, but for its number, which is this one's until it is written.
    pub fn after(&self) -> Place {
        let last = self.lines().last().and_then(|line| line.first_chunk());
        Place {
            number: self.place.number,
            line_next: last
                .map_or(self.place.line_next, |seq| u64::from_le_bytes(*seq).saturating_add(1)),
            entry_next: self.place.entry_next + self.entries().count() as u64,
        }
    }

    /// What is kept of it for good once its delta is in a base.
    pub fn lines_alone(&self) -> Self {
        Self { transcript: &[], bodies: &[], progress: &[], delta: &[], ..*self }
    }

    /// What is kept of it for recordings, with those bodies that its file has not yet.
    pub fn record_alone<'b>(&self, bodies: &'b [u8]) -> Record<'b>
    where
        'a: 'b,
    {
        Record { logs: &[], bodies, progress: &[], delta: &[], ..*self }
    }

    fn parts(&self) -> [&'a [u8]; 5] {
        [self.logs, self.transcript, self.bodies, self.progress, self.delta]
    }
}

/// Appends a body as [`Record::bodies`] reads it; `None` if it is too long.
pub(crate) fn put_body(out: &mut Vec<u8>, word: &Word, body: &[u8]) -> Option<()> {
    let len = u32::try_from(WORD.checked_add(body.len())?).ok()?;
    out.extend(len.to_le_bytes());
    out.extend(word);
    out.extend(body);
    Some(())
}

/// The byte strings in `bytes`, each behind its length, up to the first that is not whole.
pub(crate) fn behind_lengths(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut from = Reader::new(bytes);
    std::iter::from_fn(move || from.bytes().ok())
}

/// How many there are; `None` if something is left over.
pub(crate) fn count(bytes: &[u8]) -> Option<u64> {
    let (count, size) = behind_lengths(bytes)
        .fold((0, 0), |(count, size), entry| (count + 1, size + 4 + entry.len()));
    (size == bytes.len()).then_some(count)
}

/// What was read of a file of records.
pub(crate) struct Scan<'a> {
    /// The records, in order.
    pub records: Vec<Record<'a>>,
    /// Length in bytes of what they take.
    pub whole: usize,
    /// A record behind a hole was written when the hole was on disk for certain.
    pub damaged: bool,
}

/// Reads the records from number `first` on, until one is not whole or not the next.
pub(crate) fn scan<'a>(key: &Key, bytes: &'a [u8], first: u64) -> Scan<'a> {
    let mut records = Vec::new();
    let (mut whole, mut number) = (0, first);
    let next = |whole, number| {
        Record::read(key, &bytes[whole..]).filter(|record| record.place.number == number)
    };
    while let Some(record) = next(whole, number) {
        whole += record.size();
        number += 1;
        records.push(record);
    }
    let damaged = witnessed(key, &bytes[whole..], number);
    Scan { records, whole, damaged }
}

/// Whether anything in `tail` says that record `number` had been on disk for certain.
fn witnessed(key: &Key, tail: &[u8], number: u64) -> bool {
    let mut left = SEARCH_BYTES_MAX;
    // A record can start anywhere behind a bent length. Most offsets fail on the length alone.
    for at in 1..tail.len() {
        let later = Record::unchecked(&tail[at..])
            .filter(|record| record.place.number > number && record.synced >= number);
        let Some(later) = later else { continue };
        let Some(rest) = left.checked_sub(later.size()) else { return false };
        left = rest;
        if Record::read(key, &tail[at..]).is_some() {
            return true;
        }
    }
    false
}

/// Reads the records of a file one by one, without holding more than one and a buffer.
pub(crate) struct Stream {
    key: Key,
    file: Arc<File>,
    at: u64,
    end: u64,
    buffer: Vec<u8>,
    /// What of the buffer has been handed out.
    used: usize,
}

impl Stream {
    /// From one offset to another, in bytes.
    pub fn new(key: Key, file: Arc<File>, at: u64, end: u64) -> Self {
        Self { key, file, at, end, buffer: Vec::new(), used: 0 }
    }

    /// The next record; `None` at the end. An error of kind `InvalidData` if what stands there is none.
    pub fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        if self.used == self.buffer.len() && self.at == self.end {
            return Ok(None);
        }
        let broken = || io::Error::new(io::ErrorKind::InvalidData, "a record is not whole");
        self.fill(PREFIX)?;
        let size = PREFIX + length(&self.buffer[self.used..]).ok_or_else(broken)?;
        self.fill(size)?;
        let record = Record::read(&self.key, &self.buffer[self.used..]).ok_or_else(broken)?;
        self.used += record.size();
        Ok(Some(record))
    }

    /// Has so many bytes in the buffer, if the file has them.
    fn fill(&mut self, want: usize) -> io::Result<()> {
        let have = self.buffer.len() - self.used;
        if have >= want {
            return Ok(());
        }
        self.buffer.drain(..self.used);
        self.used = 0;
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let more = (want - have).max(READ_BYTES).min(left);
        self.buffer.resize(have + more, 0);
        self.file.read_exact_at(&mut self.buffer[have..], self.at)?;
        self.at += more as u64;
        Ok(())
    }
}

fn length(bytes: &[u8]) -> Option<usize> {
    let length = u32::from_le_bytes(*bytes.first_chunk()?) as usize;
    (length >= FIXED).then_some(length)
}

fn check(key: &Key, covered: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check.copy_from_slice(&blake3::keyed_hash(key, covered).as_bytes()[..CHECK]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [9; 32];

    fn bytes_of(number: u64, synced: u64) -> Vec<u8> {
        let mut bodies = Vec::new();
        put_body(&mut bodies, &[0xbb; 32], b"B").unwrap();
        let record = Record {
            place: Place { number, line_next: 2, entry_next: 3 },
            synced,
            logs: b"\x01\0\0\0L",
            transcript: b"\x02\0\0\0TT\0\0\0\0",
            bodies: &bodies,
            progress: b"PP",
            delta: b"DDD",
        };
        let mut bytes = Vec::new();
        record.write(&KEY, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_record_lies_in_a_file_as_it_always_did() {
        let expected = concat!(
            "6d000000",
            "c305142250fbcafcbffd884f0c9ec2d3",
            "0500000000000000",
            "0400000000000000",
            "0200000000000000",
            "0300000000000000",
            "050000000a000000250000000200000003000000",
            "010000004c",
            "02000000545400000000",
            "21000000bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb42",
            "5050",
            "444444",
        );
        assert_eq!(hex::encode(bytes_of(5, 4)), expected);
    }

    #[test]
    fn a_record_comes_back_and_under_no_other_key() {
        let bytes = bytes_of(5, 4);
        let record = Record::read(&KEY, &bytes).unwrap();
        assert_eq!(record.size(), bytes.len());
        assert_eq!(record.place, Place { number: 5, line_next: 2, entry_next: 3 });
        assert_eq!(record.entries().collect::<Vec<_>>(), [&b"TT"[..], b""]);
        assert_eq!(record.bodies().collect::<Vec<_>>(), [(&[0xbb; 32], &b"B"[..])]);
        assert_eq!(
            (record.lines().count(), record.progress, record.delta),
            (1, &b"PP"[..], &b"DDD"[..])
        );
        assert!(Record::read(&[8; 32], &bytes).is_none());
        for cut in 0..bytes.len() {
            assert!(Record::read(&KEY, &bytes[..cut]).is_none());
        }
    }

    #[test]
    fn only_a_later_record_that_knew_of_the_hole_makes_it_damage() {
        let check = |tail: &[&[u8]], damaged: bool| {
            let bytes = [&bytes_of(1, 0)[..], &tail.concat()].concat();
            let scan = scan(&KEY, &bytes, 1);
            assert_eq!((scan.records.len(), scan.damaged), (1, damaged));
        };
        check(&[], false);
        check(&[b"half"], false);
        check(&[&[0; 500]], false);
        // Record 2 is missing.
        check(&[&bytes_of(3, 1)], false);
        check(&[b"half", &bytes_of(3, 1)], false);
        check(&[b"half", &bytes_of(3, 2)], true);
        check(&[b"half", &bytes_of(9, 8), b"half"], true);
        // An older one is left over from before.
        check(&[b"half", &bytes_of(1, 0)], false);
    }

    #[test]
    fn what_only_looks_like_records_costs_a_bounded_search() {
        // Each of them promises all that follows.
        let tail_len = 40_000;
        let mut tail = Vec::new();
        while tail.len() < tail_len {
            let left = (tail_len - tail.len()) as u32;
            let mut fake = Vec::new();
            fake.extend((left.saturating_sub(PREFIX as u32)).to_le_bytes());
            fake.extend([0; CHECK]);
            for value in [9_u64, 8, 0, 0] {
                fake.extend(value.to_le_bytes());
            }
            for value in [0, 0, 0, 0, left.saturating_sub((PREFIX + FIXED) as u32)] {
                fake.extend(value.to_le_bytes());
            }
            tail.extend(fake);
        }
        tail.truncate(tail_len);
        assert!(!scan(&KEY, &tail, 1).damaged);
    }
}
