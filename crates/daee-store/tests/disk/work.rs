//! What a child does until it is ended, and what must be there afterwards.

use std::path::Path;

use daee_store::{AgentStore, Durable, LogReader, Store};
use daee_types::{DeploymentId, StateRoot, sha256};

use crate::{
    process::acknowledge,
    turns::{append, check, check_record, check_recorded, lease_of, open},
};

/// Turns between two bases.
const TURNS: u64 = 37;
/// Turns between two acknowledgements.
const GROUP: u64 = 3;

/// Writes turns on a lease from where it stands.
pub fn write_turns(dir: &Path) -> ! {
    let (mut store, mut next) = match AgentStore::open(dir).unwrap() {
        Some(opened) => {
            let next = base_of(&opened.snapshot) + opened.deltas.len() as u64;
            (opened.store, next)
        }
        None => (lease_of(dir, 0), 0),
    };
    loop {
        let last = next.is_multiple_of(GROUP);
        append(&mut store, next, if last { Durable::Now } else { Durable::Later }).unwrap();
        next += 1;
        if next.is_multiple_of(TURNS) {
            let base = format!("base {next}");
            // As where a program lives on, and where it is born anew.
            match (next / TURNS).is_multiple_of(2) {
                true => store.rebase_start(base.as_bytes()).unwrap(),
                false => store.rebase(base.as_bytes()).unwrap(),
            }
            acknowledge(next);
        } else if last {
            acknowledge(next);
        }
    }
}

/// Looks at the lease: all of `acknowledged` turns and perhaps some more, each whole. How many there are.
pub fn check_turns(dir: &Path, acknowledged: u64) -> u64 {
    let Some(opened) = AgentStore::open(dir).unwrap() else {
        assert_eq!(acknowledged, 0);
        return 0;
    };
    let base = base_of(&opened.snapshot);
    let upto = base + opened.deltas.len() as u64;
    assert!(upto >= acknowledged, "{acknowledged} turns were on disk, {upto} are there");
    check(&opened, &format!("base {base}"), base, upto);
    for start in opened.reader.starts() {
        let snapshot = opened.reader.start(start, None).unwrap().unwrap();
        assert_eq!(base_of(&snapshot), start);
        check_recorded(&opened.reader, start, upto);
    }
    drop(opened);
    check_record(&LogReader::open(dir).unwrap(), upto);
    assert_eq!(open(dir).deltas.len() as u64, upto - base);
    upto
}

/// Moves a cursor and keeps one of everything at each step, from where it stands.
pub fn keep_all(dir: &Path) -> ! {
    let store = Store::open(dir).unwrap();
    let mut next = cursor(&store).map_or(0, |at| at + 1);
    loop {
        store.put_block(&sha256(next.to_le_bytes()), &next.to_le_bytes()).unwrap();
        store.put_checkpoint(DeploymentId(1), &root(next), &snapshot(next)).unwrap();
        store.keep_checkpoints(DeploymentId(1), 3, &root(0)).unwrap();
        let closed: Vec<_> = next.checked_sub(5).map(DeploymentId).into_iter().collect();
        store.put_record(DeploymentId(next % 7), &next.to_le_bytes()).unwrap();
        store.advance(&next.to_le_bytes(), &[DeploymentId(next)], &closed).unwrap();
        acknowledge(next);
        next += 1;
    }
}

/// Looks at the store: the cursor and what moved with it agree, and what was put before it is there.
pub fn check_all(dir: &Path, acknowledged: Option<u64>) {
    let store = Store::open(dir).unwrap();
    let at = cursor(&store);
    assert!(at >= acknowledged, "{acknowledged:?} was on disk, {at:?} is there");
    let Some(at) = at else {
        assert!(store.known().unwrap().is_empty());
        return;
    };
    let known: Vec<_> = (at.saturating_sub(4)..=at).map(DeploymentId).collect();
    assert_eq!(store.known().unwrap(), known);
    for n in at.saturating_sub(2)..=at {
        let bytes = n.to_le_bytes().to_vec();
        assert_eq!(store.block(&sha256(&bytes)).unwrap(), Some(bytes));
        // A step that was cut short may have put one more and let the oldest go.
        if n + 1 >= at {
            assert_eq!(store.checkpoint(DeploymentId(1), &root(n)).unwrap(), Some(snapshot(n)));
        }
    }
    assert_eq!(store.checkpoint(DeploymentId(1), &root(0)).unwrap(), Some(snapshot(0)));
    for (id, record) in store.records().unwrap() {
        let n = u64::from_le_bytes(record.try_into().unwrap());
        assert!(n % 7 == id.0 && n <= at + 1 && n + 7 > at, "record {n} of {id} at {at}");
    }
}

fn base_of(snapshot: &[u8]) -> u64 {
    let text = std::str::from_utf8(snapshot).unwrap();
    text.strip_prefix("base ").unwrap().parse().unwrap()
}

fn cursor(store: &Store) -> Option<u64> {
    let bytes = store.cursor().unwrap()?;
    Some(u64::from_le_bytes(bytes.try_into().unwrap()))
}

fn root(n: u64) -> StateRoot {
    StateRoot::new(sha256(n.to_le_bytes()))
}

fn snapshot(n: u64) -> Vec<u8> {
    n.to_le_bytes().repeat(1000)
}
