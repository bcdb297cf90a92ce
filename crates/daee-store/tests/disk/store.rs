//! What a node keeps beside its leases.

use std::{fs, path::Path};

use daee_store::{AgentStore, Durable, Options, Store, StoreError, Written};
use daee_types::{ByteSize, Coded as _, DeploymentId, EpochId, StateRoot, sha256};

const ID: DeploymentId = DeploymentId(7);

fn root(n: u8) -> StateRoot {
    StateRoot::new([n; 32])
}

/// Which of the roots 0 to 9 are there.
fn roots(store: &Store) -> Vec<u8> {
    let there = |n: &u8| store.checkpoint(ID, &root(*n)).unwrap().is_some();
    (0..10).filter(there).collect()
}

#[test]
fn cursor_and_deployments_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("some/new/dir");
    let store = Store::open(&node).unwrap();
    assert_eq!(store.cursor().unwrap(), None);
    assert!(store.known().unwrap().is_empty() && store.records().unwrap().is_empty());
    let ids = [3, 1, 2].map(DeploymentId);
    store.advance(b"one", &ids, &[]).unwrap();
    // In one step both: it is closed.
    store.advance(b"two", &[DeploymentId(4)], &[DeploymentId(1), DeploymentId(4)]).unwrap();
    store.put_record(ID, b"old").unwrap();
    store.put_record(ID, b"new").unwrap();
    store.put_record(DeploymentId(9), b"gone").unwrap();
    store.forget_record(DeploymentId(9)).unwrap();
    store.forget_record(DeploymentId(9)).unwrap();
    drop(store);
    let store = Store::open(&node).unwrap();
    assert_eq!(store.cursor().unwrap().unwrap(), b"two");
    assert_eq!(store.known().unwrap(), [2, 3].map(DeploymentId));
    assert_eq!(store.records().unwrap(), [(ID, b"new".to_vec())]);
}

#[test]
fn a_second_store_on_one_directory_is_refused_with_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let copy = store.clone();
    drop(store);
    let error = Store::open(dir.path()).unwrap_err();
    assert_eq!(error, StoreError::Busy { dir: dir.path().to_owned() });
    assert_eq!(error.code(), "DAEE-D002");
    assert!(error.to_string().contains("stop that one"), "{error}");
    drop(copy);
    Store::open(dir.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), b"").unwrap();
    let error = Store::open(&dir.path().join("file/below")).unwrap_err();
    assert_eq!(error.code(), "DAEE-D004");
    assert!(error.to_string().contains("file"), "{error}");
}

#[test]
fn a_damaged_index_is_said_and_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).unwrap().advance(b"cursor", &[ID], &[]).unwrap();
    let index = dir.path().join("index.redb");
    let bytes = fs::read(&index).unwrap();
    fs::write(&index, vec![0xaa; bytes.len()]).unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error.code(), "DAEE-D003" | "DAEE-D004"), "{error}");
    assert!(error.to_string().contains("index.redb"), "{error}");
    assert_eq!(fs::read(&index).unwrap(), vec![0xaa; bytes.len()]);
}

#[test]
fn a_damaged_block_is_as_good_as_none_and_is_put_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let digest = sha256(b"block");
    assert_eq!(store.block(&digest).unwrap(), None);
    store.put_block(&digest, b"block").unwrap();
    store.put_block(&digest, b"block").unwrap();
    let path = dir.path().join("blocks").join(hex::encode(digest));
    fs::write(&path, b"blocK").unwrap();
    assert_eq!(store.block(&digest).unwrap(), None);
    store.put_block(&digest, b"block").unwrap();
    assert_eq!(store.block(&digest).unwrap(), Some(b"block".to_vec()));
}

#[test]
fn a_block_that_many_put_at_once_is_put() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for round in 0..20_u8 {
        let block = vec![round; 100_000];
        std::thread::scope(|threads| {
            for _ in 0..8 {
                threads.spawn(|| store.put_block(&sha256(&block), &block).unwrap());
            }
        });
        assert_eq!(store.block(&sha256(&block)).unwrap(), Some(block));
    }
}

#[test]
fn old_checkpoints_go_and_the_opened_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    for n in 0..6 {
        store.put_checkpoint(ID, &root(n), &[n; 100]).unwrap();
        store.put_checkpoint(DeploymentId(8), &root(n), &[n; 100]).unwrap();
    }
    // Put again, it is the newest.
    store.put_checkpoint(ID, &root(1), &[1; 100]).unwrap();
    store.keep_checkpoints(ID, 2, &root(3)).unwrap();
    assert_eq!(roots(&store), [1, 3, 5]);
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(roots(&store), [1, 3, 5]);
    store.put_checkpoint(ID, &root(9), &[9; 100]).unwrap();
    store.keep_checkpoints(ID, 2, &StateRoot::ZERO).unwrap();
    assert_eq!(roots(&store), [1, 9]);
    store.keep_checkpoints(ID, 0, &root(1)).unwrap();
    assert_eq!(roots(&store), [1]);
    store.keep_checkpoints(DeploymentId(99), 0, &root(1)).unwrap();
    for n in 0..6 {
        assert!(store.checkpoint(DeploymentId(8), &root(n)).unwrap().is_some());
    }
}

#[test]
fn checkpoints_take_no_more_than_they_may_and_own_ones_have_room_left() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { checkpoint_bytes_max: ByteSize(1000) };
    let open = || Store::open_with(dir.path(), options).unwrap();
    let store = open();
    let other = DeploymentId(8);
    store.put_record(ID, b"a lease of this node").unwrap();
    store.put_checkpoint(other, &root(1), &[1; 700]).unwrap();
    let check = |store: &Store, id, n, len: usize, want: Result<(), &str>| {
        let put = store.put_checkpoint(id, &root(n), &vec![n; len]);
        assert_eq!(put.map_err(|error| error.code()), want, "{id} {n} {len}");
    };
    check(&store, other, 2, 100, Err("DAEE-D005"));
    check(&store, ID, 2, 200, Ok(()));
    check(&store, ID, 3, 101, Err("DAEE-D005"));
    drop(store);
    // Counted again from what is there.
    let store = open();
    check(&store, ID, 3, 101, Err("DAEE-D005"));
    check(&store, ID, 3, 100, Ok(()));
    // In place of itself it takes what is more.
    check(&store, ID, 3, 100, Ok(()));
    check(&store, ID, 3, 101, Err("DAEE-D005"));
    store.keep_checkpoints(ID, 1, &StateRoot::ZERO).unwrap();
    check(&store, ID, 4, 200, Ok(()));
    assert_eq!(store.checkpoint(other, &root(1)).unwrap(), Some(vec![1; 700]));
}

#[test]
fn what_a_crash_left_half_written_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    Store::open(dir.path()).unwrap().put_checkpoint(ID, &root(1), b"whole").unwrap();
    let half = dir.path().join("checkpoints/7/0000000000000001-half.new");
    fs::write(&half, b"half").unwrap();
    let block = dir.path().join("blocks/half.new");
    fs::write(&block, b"half").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert!(!half.exists() && !block.exists());
    assert_eq!(roots(&store), [1]);
}

#[test]
fn an_index_that_was_never_finished_is_begun_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("index.new"), b"half").unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.cursor().unwrap(), None);
    assert!(!dir.path().join("index.new").exists());
}

#[test]
fn nobody_else_on_the_machine_can_look_inside() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let node = dir.path().join("node");
    let store = Store::open(&node).unwrap();
    let lease = store.agent_dir(ID, &EpochId::ZERO);
    AgentStore::create(&lease, b"base").unwrap();
    for dir in [node, lease] {
        assert_eq!(fs::metadata(dir).unwrap().permissions().mode() & 0o077, 0);
    }
}

#[test]
fn the_newest_lease_is_the_one_that_was_written_last() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(store.newest_agent_dir(ID).unwrap(), None);
    let lease = |n: u8| store.agent_dir(ID, &EpochId::new([n; 32]));
    let written = |dir: &Path, seconds: u64| {
        for entry in fs::read_dir(dir).unwrap() {
            let file = fs::File::options().write(true).open(entry.unwrap().path()).unwrap();
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
            file.set_modified(time).unwrap();
        }
    };
    for (n, seconds) in [(1, 200), (2, 100)] {
        let (mut agent, _) = AgentStore::create(&lease(n), b"base").unwrap();
        agent.append(Written::default(), Durable::Now).unwrap();
        written(&lease(n), seconds);
    }
    assert_eq!(store.newest_agent_dir(ID).unwrap(), Some(lease(1)));
    written(&lease(2), 300);
    assert_eq!(store.newest_agent_dir(ID).unwrap(), Some(lease(2)));
    assert_eq!(store.newest_agent_dir(DeploymentId(8)).unwrap(), None);
}
