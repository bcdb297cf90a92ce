//! No space is left.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
};

use daee_store::{AgentStore, Durable, LogReader, Store, StoreError};
use daee_types::{Coded as _, DeploymentId, Fault, StateRoot, sha256};

use crate::{
    process::{job, on_small_disk},
    turns::{append, check, check_record, lease_of, open},
};

#[test]
fn a_lease_waits_for_space_and_goes_on() {
    let Some(dir) = small_disk("full::a_lease_waits_for_space_and_goes_on") else { return };
    let lease = dir.join("lease");
    let mut store = lease_of(&lease, 10);
    store.rebase(b"base 10").unwrap();
    append(&mut store, 10, Durable::Now).unwrap();
    let filler = fill(&dir);

    let mut upto = 11;
    let error = loop {
        // The last page of the file has some room left.
        match append(&mut store, upto, Durable::Now) {
            Ok(()) => upto += 1,
            Err(error) => break error,
        }
    };
    full(&error, &lease);
    full(&append(&mut store, upto, Durable::Later).unwrap_err(), &lease);
    full(&store.rebase(&vec![1; 100_000]).unwrap_err(), &lease);
    full(&store.rebase(&vec![1; 100_000]).unwrap_err(), &lease);
    check_record(&LogReader::open(&lease).unwrap(), upto);
    store.sync().unwrap();
    drop(store);
    let mut opened = open(&lease);
    check(&opened, "base 10", 10, upto);
    full(&append(&mut opened.store, upto, Durable::Now).unwrap_err(), &lease);

    fs::remove_file(&filler).unwrap();
    append(&mut opened.store, upto, Durable::Now).unwrap();
    upto += 1;
    let base = format!("base {upto}");
    opened.store.rebase(base.as_bytes()).unwrap();
    append(&mut opened.store, upto, Durable::Now).unwrap();
    check_record(&opened.reader, upto + 1);
    drop(opened);
    check(&open(&lease), &base, upto, upto + 1);
}

#[test]
fn a_base_that_found_no_space_leaves_the_writer_where_it_was() {
    let this = "full::a_base_that_found_no_space_leaves_the_writer_where_it_was";
    let Some(dir) = small_disk(this) else { return };
    let lease = dir.join("lease");
    let mut store = lease_of(&lease, 10);
    let filler = fill(&dir);
    // Room for the history, and not for the snapshot.
    File::options().write(true).open(&filler).unwrap().set_len(size(&filler) - 64_000).unwrap();
    full(&store.rebase(&vec![1; 100_000]).unwrap_err(), &lease);
    append(&mut store, 10, Durable::Now).unwrap();
    full(&store.rebase(&vec![1; 100_000]).unwrap_err(), &lease);
    append(&mut store, 11, Durable::Now).unwrap();
    check_record(&LogReader::open(&lease).unwrap(), 12);
    store.rebase(b"base 12").unwrap();
    append(&mut store, 12, Durable::Now).unwrap();
    drop(store);
    check(&open(&lease), "base 12", 12, 13);
}

#[test]
fn a_lease_is_not_begun_without_space() {
    let Some(dir) = small_disk("full::a_lease_is_not_begun_without_space") else { return };
    fill(&dir);
    let lease = dir.join("lease");
    let error = AgentStore::create(&lease, &vec![1; 100_000]).unwrap_err();
    assert_eq!(error.code(), "DAEE-D001", "{error}");
    assert!(AgentStore::open(&lease).unwrap().is_none());
}

#[test]
fn a_store_waits_for_space_and_goes_on() {
    let Some(dir) = small_disk("full::a_store_waits_for_space_and_goes_on") else { return };
    let node = dir.join("node");
    let store = Store::open(&node).unwrap();
    let (id, root) = (DeploymentId(1), StateRoot::new([1; 32]));
    store.put_block(&sha256(b"block"), b"block").unwrap();
    store.put_checkpoint(id, &root, b"snapshot").unwrap();
    store.advance(b"cursor", &[id], &[]).unwrap();
    let filler = fill(&dir);

    let large = vec![7; 100_000];
    let error = store.put_block(&sha256(&large), &large).unwrap_err();
    full(&error, &node.join("blocks"));
    full(&store.put_checkpoint(id, &root, &large).unwrap_err(), &node.join("checkpoints"));
    full(&store.put_checkpoint(id, &StateRoot::ZERO, &large).unwrap_err(), &node);
    let (mut cursor, mut last) = (b"cursor".to_vec(), id);
    let error = loop {
        // The index has some room of its own.
        let longer = [&cursor[..], &large[..]].concat();
        let next = DeploymentId(last.0 + 1);
        match store.advance(&longer, &[next], &[]) {
            Ok(()) => (cursor, last) = (longer, next),
            Err(error) => break error,
        }
    };
    full(&error, &node);
    let known = store.known().unwrap();
    assert_eq!(store.cursor().unwrap(), Some(cursor.clone()));
    assert_eq!(known.last(), Some(&last));
    assert_eq!(store.block(&sha256(b"block")).unwrap(), Some(b"block".to_vec()));
    assert_eq!(store.checkpoint(id, &root).unwrap(), Some(b"snapshot".to_vec()));
    assert_eq!(store.block(&sha256(&large)).unwrap(), None);

    fs::remove_file(&filler).unwrap();
    store.advance(b"on", &[], &known).unwrap();
    store.put_block(&sha256(&large), &large).unwrap();
    store.put_checkpoint(id, &root, &large).unwrap();
    drop(store);
    let store = Store::open(&node).unwrap();
    assert_eq!(store.cursor().unwrap(), Some(b"on".to_vec()));
    assert!(store.known().unwrap().is_empty());
    assert_eq!(store.block(&sha256(&large)).unwrap(), Some(large.clone()));
    assert_eq!(store.checkpoint(id, &root).unwrap(), Some(large));
}

fn full(error: &StoreError, dir: &Path) {
    assert_eq!(error.code(), "DAEE-D001", "{error}");
    assert_eq!(error.fault(), Fault::Node);
    assert!(error.to_string().contains(dir.to_str().unwrap()), "{error}");
}

/// In a child: its disk of 8 MiB. Otherwise runs the child, and gives nothing.
fn small_disk(test: &str) -> Option<PathBuf> {
    if let Some(dir) = job() {
        return Some(dir.into());
    }
    let dir = tempfile::tempdir().unwrap();
    let output = on_small_disk(test, dir.path().to_str().unwrap(), dir.path(), 8);
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said);
    if output.status.code() == Some(99) || said.starts_with("unshare:") {
        eprintln!("skipped: this machine lets nobody mount a disk of their own ({})", said.trim());
    } else {
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
    None
}

/// Takes all the space that is left.
fn fill(dir: &Path) -> PathBuf {
    let path = dir.join("filler");
    let mut file = File::create(&path).unwrap();
    for size in [1 << 20, 1 << 12, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
    path
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}
