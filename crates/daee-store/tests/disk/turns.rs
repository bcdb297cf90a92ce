//! Turns whose content follows from their number.

use std::path::Path;

use daee_store::{AgentStore, Durable, LogReader, Opened, StoreError, Written};
use daee_transcript::{Level, LogLine};
use daee_types::{Timestamp, Word, sha256, wire::Writer};

/// Turn `n` writes line `n` and two transcript entries.
pub fn line(n: u64) -> LogLine {
    let text = format!("line {n}");
    LogLine { seq: n, at: Timestamp(n), turn: n, level: Level::Info, text }
}

pub fn transcript(n: u64) -> Vec<u8> {
    let mut out = Writer::new();
    out.bytes(&n.to_le_bytes()).bytes(b"end");
    out.finish()
}

/// Turn `n` names a body that some others name, too.
pub fn body(n: u64) -> (Word, Vec<u8>) {
    let body = format!("body {}", n % 5).into_bytes();
    (sha256(&body), body)
}

pub fn append(store: &mut AgentStore, n: u64, durable: Durable) -> Result<(), StoreError> {
    let delta = format!("delta {n}");
    let written = Written {
        delta: delta.as_bytes(),
        transcript: &transcript(n),
        logs: &[line(n)],
        progress: &n.to_le_bytes(),
        bodies: &[body(n)],
    };
    store.append(written, durable)
}

/// A lease of base 0 and these turns, each on disk.
pub fn lease_of(dir: &Path, turns: u64) -> AgentStore {
    let (mut store, _) = AgentStore::create(dir, b"base 0").unwrap();
    (0..turns).for_each(|n| append(&mut store, n, Durable::Now).unwrap());
    store
}

pub fn open(dir: &Path) -> Opened {
    AgentStore::open(dir).unwrap().expect("there is a lease")
}

/// That the lease holds a base and the turns `from..upto` behind it, and every line and entry since 0.
pub fn check(opened: &Opened, base: &str, from: u64, upto: u64) {
    assert_eq!(opened.snapshot, base.as_bytes());
    let deltas: Vec<_> = (from..upto)
        .map(|n| (format!("delta {n}").into_bytes(), n.to_le_bytes().to_vec()))
        .collect();
    assert_eq!(opened.deltas, deltas);
    assert_eq!(u64::from(opened.store.deltas()), upto - from);
    check_record(&opened.reader, upto);
}

pub fn check_record(reader: &LogReader, upto: u64) {
    let lines: Vec<_> = (0..upto).map(line).collect();
    assert_eq!(reader.lines(None, usize::MAX).unwrap(), lines);
    assert_eq!(reader.hashes().unwrap(), lines.iter().map(LogLine::hash).collect::<Vec<_>>());
    let entries: Vec<u8> = (0..upto).flat_map(transcript).collect();
    assert_eq!(reader.transcript(0, usize::MAX).unwrap(), entries);
    assert_eq!(reader.starts()[0], 0);
    check_recorded(reader, 0, upto);
}

/// That the turns `from..upto` can be replayed: their entries, and all that these name.
pub fn check_recorded(reader: &LogReader, from: u64, upto: u64) {
    assert!(reader.start(from, None).unwrap().is_some());
    let recorded = reader.recorded(from, upto).unwrap();
    assert_eq!(recorded.transcript, (from..upto).flat_map(transcript).collect::<Vec<u8>>());
    for (word, bytes) in (from..upto).map(body) {
        assert_eq!(recorded.bodies.get(&word), Some(&bytes), "{from}..{upto}");
    }
}
