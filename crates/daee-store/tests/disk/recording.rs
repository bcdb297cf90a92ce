//! What is kept for recordings, and what is dropped.

use std::{fs, path::Path};

use daee_store::{AgentStore, Durable, LogReader, StoreError, Written};
use daee_types::{ByteSize, Coded as _, sha256};

use crate::turns::{append, check, check_record, check_recorded, lease_of, line, open, transcript};

/// Bytes of the files with these names.
fn bytes_of(dir: &Path, prefixes: &[&str]) -> u64 {
    let files = fs::read_dir(dir).unwrap().map(Result::unwrap).filter(|entry| {
        let name = entry.file_name().into_string().unwrap();
        prefixes.iter().any(|prefix| name.starts_with(prefix))
    });
    files.map(|entry| entry.metadata().unwrap().len()).sum()
}

/// Turns `from..upto`, with a place to begin at after every tenth.
fn run(store: &mut AgentStore, from: u64, upto: u64) {
    for n in from..upto {
        append(store, n, Durable::Later).unwrap();
        if n % 10 == 9 {
            store.rebase_start(format!("base {}", n + 1).as_bytes()).unwrap();
        }
    }
}

#[test]
fn a_recording_begins_at_any_start_and_at_no_other_base() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 4);
    store.rebase_start(b"base 4").unwrap();
    append(&mut store, 4, Durable::Now).unwrap();
    store.rebase(b"base 5").unwrap();
    append(&mut store, 5, Durable::Now).unwrap();
    append(&mut store, 6, Durable::Now).unwrap();
    store.start(6, b"a version").unwrap();
    assert_eq!(store.start(8, b"later").unwrap_err().code(), "DAEE-D007");
    store.rebase(b"base 7").unwrap();
    append(&mut store, 7, Durable::Later).unwrap();
    let here = |reader: &LogReader| {
        assert_eq!(reader.starts(), [0, 4, 6]);
        assert_eq!(reader.last().unwrap(), 8);
        for (start, snapshot) in [(0, "base 0"), (4, "base 4"), (6, "a version")] {
            assert_eq!(reader.start(start, None).unwrap().unwrap(), snapshot.as_bytes());
            assert_eq!(reader.start(start, Some(3)).unwrap().unwrap(), snapshot.as_bytes()[..3]);
            check_recorded(reader, start, 8);
        }
        assert_eq!(reader.start(5, None).unwrap(), None);
        assert_eq!(
            reader.recorded(4, 6).unwrap().transcript,
            [transcript(4), transcript(5)].concat()
        );
    };
    here(&LogReader::open(dir.path()).unwrap());
    drop(store);
    here(&open(dir.path()).reader);
}

#[test]
fn a_body_that_many_turns_name_is_written_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, reader) = AgentStore::create(dir.path(), b"base").unwrap();
    let body = vec![7; 100_000];
    let word = sha256(&body);
    let bodies = [(word, body.clone()), (word, body.clone())];
    let turns = |store: &mut AgentStore, upto: u64| {
        for n in 0..upto {
            let turn = Written { bodies: &bodies, logs: &[line(n)], ..Written::default() };
            store.append(turn, Durable::Later).unwrap();
        }
    };
    turns(&mut store, 20);
    assert!(bytes_of(dir.path(), &["turns-"]) < 110_000);
    store.rebase_start(b"base").unwrap();
    turns(&mut store, 20);
    store.rebase_start(b"base").unwrap();
    drop(store);
    let mut opened = open(dir.path());
    turns(&mut opened.store, 20);
    opened.store.rebase_start(b"base").unwrap();
    assert!(bytes_of(dir.path(), &["record-", "turns-"]) < 120_000);
    assert!(bytes_of(dir.path(), &["history-"]) < 10_000);
    for reader in [&reader, &opened.reader] {
        assert_eq!(reader.recorded(0, 20).unwrap().bodies.get(&word), Some(&body));
    }
    assert_eq!(opened.reader.recorded(40, 60).unwrap().bodies.get(&word), Some(&body));
}

#[test]
fn what_is_over_the_bound_goes_and_the_oldest_goes_first() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 0);
    let max = 10_000;
    store.set_record_bytes_max(ByteSize(max));
    let mut upto = 0;
    for round in 0..20 {
        run(&mut store, upto, upto + 20);
        upto += 20;
        let reader = LogReader::open(dir.path()).unwrap();
        let starts = reader.starts();
        assert_eq!(starts.last(), Some(&upto));
        assert!(starts.len() > 1 || round == 0, "{starts:?}");
        starts.iter().for_each(|start| check_recorded(&reader, *start, upto));
        // Files are dropped whole.
        let bytes = bytes_of(dir.path(), &["record-", "start-"]);
        assert!(bytes <= max + max / 8 + 5_000, "{bytes} in round {round}");
        if round % 3 == 0 {
            drop(store);
            store = open(dir.path()).store;
            store.set_record_bytes_max(ByteSize(max));
        }
    }
    drop(store);
    let opened = open(dir.path());
    let starts = opened.reader.starts();
    assert!(starts[0] > 200, "{starts:?}");
    let error = opened.reader.recorded(0, upto).unwrap_err();
    assert_eq!(error, StoreError::Dropped { dir: dir.path().to_owned() });
    assert_eq!(error.code(), "DAEE-D008");
    assert_eq!(opened.reader.start(0, None).unwrap(), None);
    // The log stays.
    assert_eq!(opened.reader.lines(None, usize::MAX).unwrap().len() as u64, upto);
}

#[test]
fn the_newest_start_and_what_follows_stay_however_small_the_bound_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 0);
    store.set_record_bytes_max(ByteSize(0));
    run(&mut store, 0, 55);
    assert!(store.bytes_since_start() > 0);
    store.rebase(b"base 55").unwrap();
    append(&mut store, 55, Durable::Now).unwrap();
    let before = store.bytes_since_start();
    drop(store);
    let opened = open(dir.path());
    assert!(opened.store.bytes_since_start() >= before);
    assert_eq!(opened.reader.starts(), [50]);
    check_recorded(&opened.reader, 50, 56);
    assert!(opened.reader.recorded(40, 56).is_err());
}

#[test]
fn a_start_of_a_base_that_never_came_is_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 3);
    store.start(3, b"base 3").unwrap();
    drop(store);
    let mut opened = open(dir.path());
    check(&opened, "base 0", 0, 3);
    assert_eq!(opened.reader.starts(), [0]);
    append(&mut opened.store, 3, Durable::Now).unwrap();
    check_record(&opened.reader, 4);
}

#[test]
fn whoever_reads_what_is_being_dropped_is_told_and_reads_nothing_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 0);
    store.set_record_bytes_max(ByteSize(8_000));
    let lease = dir.path();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || run(&mut store, 0, 1000));
        while !writer.is_finished() {
            let reader = LogReader::open(lease).unwrap();
            let upto = reader.last().unwrap();
            for start in reader.starts() {
                match reader.recorded(start, upto) {
                    Ok(recorded) => {
                        let expected: Vec<u8> = (start..upto).flat_map(transcript).collect();
                        assert_eq!(recorded.transcript, expected);
                    }
                    Err(error) => assert!(matches!(error, StoreError::Dropped { .. }), "{error}"),
                }
            }
        }
    });
}
