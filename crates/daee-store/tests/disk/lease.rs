//! What a lease holds after anything that a crash can leave on disk.

use std::{
    fs,
    path::{Path, PathBuf},
};

use daee_store::{AgentStore, Durable, LogReader, StoreError, Written};
use daee_transcript::LogLine;
use daee_types::Coded as _;
use proptest::prelude::*;

use crate::turns::{append, check, check_record, lease_of, line, open, transcript};

fn file(dir: &Path, prefix: &str) -> PathBuf {
    let mut paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found = paths.find(|p| p.file_name().unwrap().to_str().unwrap().starts_with(prefix));
    found.unwrap_or_else(|| panic!("no {prefix} in {}", dir.display()))
}

/// A copy of a lease, to be spoiled.
fn copy(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[test]
fn a_lease_goes_on_where_it_stood() {
    let dir = tempfile::tempdir().unwrap();
    let lease = dir.path().join("agents/1/lease");
    assert!(AgentStore::open(&lease).unwrap().is_none());
    drop(lease_of(&lease, 3));
    let mut opened = open(&lease);
    check(&opened, "base 0", 0, 3);
    assert!(!opened.cut);
    append(&mut opened.store, 3, Durable::Later).unwrap();
    check_record(&opened.reader, 4);
    drop(opened);
    check(&open(&lease), "base 0", 0, 4);
}

#[test]
fn a_new_base_drops_the_deltas_and_keeps_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 5);
    store.rebase(b"base 5").unwrap();
    assert_eq!(store.deltas(), 0);
    drop(store);
    let mut opened = open(dir.path());
    check(&opened, "base 5", 5, 5);
    opened.store.rebase(b"base 5 again").unwrap();
    for n in 5..8 {
        append(&mut opened.store, n, Durable::Later).unwrap();
    }
    check_record(&opened.reader, 8);
    opened.store.rebase(b"base 8").unwrap();
    append(&mut opened.store, 8, Durable::Now).unwrap();
    check_record(&opened.reader, 9);
    check_record(&LogReader::open(dir.path()).unwrap(), 9);
    drop(opened);
    check(&open(dir.path()), "base 8", 8, 9);
}

#[test]
fn old_deltas_take_no_space() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, reader) = AgentStore::create(dir.path(), b"base").unwrap();
    let delta = vec![7; 100_000];
    for n in 0..20 {
        let turn = Written { delta: &delta, logs: &[line(n)], ..Written::default() };
        store.append(turn, Durable::Later).unwrap();
    }
    store.rebase(b"base").unwrap();
    let bytes: u64 = fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(bytes < 10_000, "{bytes}");
    assert_eq!(reader.lines(None, 100).unwrap().len(), 20);
}

#[test]
fn a_lease_that_begins_anew_knows_nothing_of_the_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 5);
    store.rebase(b"base 5").unwrap();
    append(&mut store, 5, Durable::Now).unwrap();
    drop(store);
    drop(lease_of(dir.path(), 0));
    check(&open(dir.path()), "base 0", 0, 0);
}

#[test]
fn a_turn_that_was_cut_off_at_any_byte_is_gone_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, spoiled) = (dir.path().join("whole"), dir.path().join("spoiled"));
    let mut store = lease_of(&whole, 2);
    let before = fs::metadata(file(&whole, "turns-")).unwrap().len();
    append(&mut store, 2, Durable::Later).unwrap();
    drop(store);
    let after = fs::metadata(file(&whole, "turns-")).unwrap().len();
    for end in before..after {
        for zeros in [false, true] {
            copy(&whole, &spoiled);
            let turns = fs::File::options().write(true).open(file(&spoiled, "turns-")).unwrap();
            turns.set_len(end).unwrap();
            if zeros {
                // The length reached the disk and the data did not.
                turns.set_len(after).unwrap();
            }
            let mut opened = open(&spoiled);
            assert_eq!(opened.cut, zeros || end > before);
            check(&opened, "base 0", 0, 2);
            append(&mut opened.store, 2, Durable::Now).unwrap();
            drop(opened);
            let opened = open(&spoiled);
            assert!(!opened.cut);
            check(&opened, "base 0", 0, 3);
        }
    }
}

#[test]
fn a_bent_byte_in_the_last_turn_is_never_shown() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, spoiled) = (dir.path().join("whole"), dir.path().join("spoiled"));
    let mut store = lease_of(&whole, 2);
    let before = fs::metadata(file(&whole, "turns-")).unwrap().len() as usize;
    append(&mut store, 2, Durable::Later).unwrap();
    drop(store);
    let bytes = fs::read(file(&whole, "turns-")).unwrap();
    for at in before..bytes.len() {
        for bit in [0x01, 0x80] {
            copy(&whole, &spoiled);
            let mut bent = bytes.clone();
            bent[at] ^= bit;
            fs::write(file(&spoiled, "turns-"), bent).unwrap();
            let opened = open(&spoiled);
            assert!(opened.cut);
            check(&opened, "base 0", 0, 2);
        }
    }
}

#[test]
fn a_bent_byte_in_a_turn_that_was_on_disk_is_damage_and_not_a_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, spoiled) = (dir.path().join("whole"), dir.path().join("spoiled"));
    drop(lease_of(&whole, 2));
    let two = fs::metadata(file(&whole, "turns-")).unwrap().len() as usize;
    let mut store = open(&whole).store;
    append(&mut store, 2, Durable::Now).unwrap();
    drop(store);
    let bytes = fs::read(file(&whole, "turns-")).unwrap();
    for at in 0..two {
        copy(&whole, &spoiled);
        let mut bent = bytes.clone();
        bent[at] ^= 0x04;
        fs::write(file(&spoiled, "turns-"), bent).unwrap();
        let error = AgentStore::open(&spoiled).unwrap_err();
        assert_eq!(error.code(), "DAEE-D003", "byte {at}");
        assert!(error.to_string().contains("turns-"), "{error}");
    }
}

#[test]
fn a_hole_among_turns_that_were_never_synced_is_a_torn_end() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 2);
    let hole = fs::metadata(file(dir.path(), "turns-")).unwrap().len() as usize;
    for n in 2..6 {
        append(&mut store, n, Durable::Later).unwrap();
    }
    drop(store);
    // A disk may write the later page and lose the one before.
    let path = file(dir.path(), "turns-");
    let mut bytes = fs::read(&path).unwrap();
    bytes[hole..hole + 60].fill(0);
    fs::write(&path, bytes).unwrap();
    let opened = open(dir.path());
    assert!(opened.cut);
    check(&opened, "base 0", 0, 2);
}

#[test]
fn a_record_forged_inside_a_value_is_no_witness() {
    let dir = tempfile::tempdir().unwrap();
    let (own, other) = (dir.path().join("own"), dir.path().join("other"));
    // What another lease wrote has the right shape and the right numbers.
    drop(lease_of(&other, 6));
    let forged = fs::read(file(&other, "turns-")).unwrap();
    let mut store = lease_of(&own, 2);
    let torn = fs::metadata(file(&own, "turns-")).unwrap().len() as usize;
    let turn = Written { delta: &forged, ..Written::default() };
    store.append(turn, Durable::Later).unwrap();
    drop(store);
    let path = file(&own, "turns-");
    let mut bytes = fs::read(&path).unwrap();
    bytes[torn + 4] ^= 1;
    fs::write(&path, bytes).unwrap();
    let opened = open(&own);
    assert!(opened.cut);
    check(&opened, "base 0", 0, 2);
}

#[test]
fn a_spoiled_base_is_said_and_not_guessed_at() {
    let dir = tempfile::tempdir().unwrap();
    let (whole, spoiled) = (dir.path().join("whole"), dir.path().join("spoiled"));
    drop(lease_of(&whole, 1));
    let bytes = fs::read(whole.join("base")).unwrap();
    for at in 0..bytes.len() {
        copy(&whole, &spoiled);
        let mut bent = bytes.clone();
        bent[at] ^= 0x40;
        fs::write(spoiled.join("base"), bent).unwrap();
        assert_eq!(AgentStore::open(&spoiled).unwrap_err().code(), "DAEE-D003", "byte {at}");
        copy(&whole, &spoiled);
        fs::write(spoiled.join("base"), &bytes[..at]).unwrap();
        assert_eq!(AgentStore::open(&spoiled).unwrap_err().code(), "DAEE-D003", "cut at {at}");
    }
    copy(&whole, &spoiled);
    fs::remove_file(file(&spoiled, "turns-")).unwrap();
    assert_eq!(AgentStore::open(&spoiled).unwrap_err().code(), "DAEE-D003");
}

/// Every state in which a crash can leave a directory between two bases, by name of what is new in it.
#[test]
fn a_new_base_is_there_wholly_or_not_at_all() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    let crashed = dir.path().join("crashed");
    let mut store = lease_of(&before, 3);
    store.rebase(b"base 3").unwrap();
    for n in 3..6 {
        append(&mut store, n, Durable::Now).unwrap();
    }
    drop(store);
    copy(&before, &after);
    let mut store = open(&after).store;
    store.rebase(b"base 6").unwrap();
    drop(store);
    let (old_turns, new_turns) = (file(&before, "turns-"), file(&after, "turns-"));
    let history = file(&after, "history-");
    let put = |path: &Path| fs::copy(path, crashed.join(path.file_name().unwrap())).unwrap();

    // The history has been copied, in part or wholly; the new file may be there; the base is half written.
    let whole = fs::read(&history).unwrap();
    for end in fs::metadata(file(&before, "history-")).unwrap().len()..=whole.len() as u64 {
        if end % 3 == 1 {
            continue;
        }
        copy(&before, &crashed);
        fs::write(crashed.join(history.file_name().unwrap()), &whole[..end as usize]).unwrap();
        if end % 2 == 0 {
            put(&new_turns);
            fs::write(crashed.join("base.new"), b"half").unwrap();
        }
        check_record(&LogReader::open(&crashed).unwrap(), 6);
        let mut opened = open(&crashed);
        check(&opened, "base 3", 3, 6);
        opened.store.rebase(b"base 6").unwrap();
        append(&mut opened.store, 6, Durable::Now).unwrap();
        drop(opened);
        check(&open(&crashed), "base 6", 6, 7);
    }
    // The new base is there, and the old turns too.
    copy(&after, &crashed);
    put(&old_turns);
    check_record(&LogReader::open(&crashed).unwrap(), 6);
    check(&open(&crashed), "base 6", 6, 6);
    assert!(!crashed.join(old_turns.file_name().unwrap()).exists());
}

#[test]
fn the_first_history_may_be_half_written_too() {
    let dir = tempfile::tempdir().unwrap();
    let (before, after) = (dir.path().join("before"), dir.path().join("after"));
    let crashed = dir.path().join("crashed");
    drop(lease_of(&before, 3));
    copy(&before, &after);
    open(&after).store.rebase(b"base 3").unwrap();
    let history = file(&after, "history-");
    let whole = fs::read(&history).unwrap();
    for end in (0..whole.len()).step_by(11).chain([whole.len()]) {
        copy(&before, &crashed);
        fs::write(crashed.join(history.file_name().unwrap()), &whole[..end]).unwrap();
        check_record(&LogReader::open(&crashed).unwrap(), 3);
        let mut opened = open(&crashed);
        check(&opened, "base 0", 0, 3);
        opened.store.rebase(b"base 3").unwrap();
        check_record(&opened.reader, 3);
    }
}

#[test]
fn an_agent_goes_on_where_its_history_is_damaged_and_the_reader_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 4);
    store.rebase(b"base 4").unwrap();
    drop(store);
    let path = file(dir.path(), "history-");
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();

    let mut opened = open(dir.path());
    assert_eq!(opened.snapshot, b"base 4");
    append(&mut opened.store, 4, Durable::Now).unwrap();
    opened.store.rebase(b"base 5").unwrap();
    append(&mut opened.store, 5, Durable::Now).unwrap();
    let error = opened.reader.lines(None, 100).unwrap_err();
    assert_eq!(error.code(), "DAEE-D003");
    assert_eq!(opened.reader.lines(Some(3), 100).unwrap(), [line(4), line(5)]);
}

#[test]
fn lines_are_found_by_number_however_many_there_are() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, reader) = AgentStore::create(dir.path(), b"base").unwrap();
    // A lease goes on with the numbers of the one before.
    let text = "x".repeat(200);
    let long = |n| LogLine { text: text.clone(), ..line(n) };
    let (first, last) = (1000, 4000);
    for n in first..last {
        let entries = transcript(n);
        let turn = Written { logs: &[long(n)], transcript: &entries, ..Written::default() };
        store.append(turn, Durable::Later).unwrap();
        // Turns without a line lie between.
        store.append(Written::default(), Durable::Later).unwrap();
        if n % 700 == 0 {
            store.rebase(b"base").unwrap();
        }
    }
    let check = |after: Option<u64>, limit: usize, from: u64, upto: u64| {
        for reader in [&reader, &LogReader::open(dir.path()).unwrap()] {
            let got = reader.lines(after, limit).unwrap();
            assert_eq!(got, (from..upto).map(long).collect::<Vec<_>>(), "{after:?} {limit}");
        }
    };
    check(None, 5, 1000, 1005);
    check(Some(3), 5, 1000, 1005);
    check(Some(999), 1, 1000, 1001);
    check(Some(1000), 2, 1001, 1003);
    check(Some(2099), 3, 2100, 2103);
    check(Some(2100), 3, 2101, 2104);
    check(Some(3997), 100, 3998, 4000);
    check(Some(3999), 100, 4000, 4000);
    check(Some(u64::MAX), 100, 4000, 4000);
    check(None, 0, 4000, 4000);
    let entry = |n: u64| {
        transcript(n / 2 + 1000)[if n.is_multiple_of(2) { 0..12 } else { 12..19 }].to_vec()
    };
    for n in [0, 1, 777, 5998, 5999] {
        assert_eq!(reader.transcript(n, 1).unwrap(), entry(n), "entry {n}");
    }
    assert_eq!(reader.transcript(4, 38).unwrap(), [transcript(1002), transcript(1003)].concat());
    assert!(reader.transcript(6000, 100).unwrap().is_empty());
}

#[test]
fn a_reader_beside_its_writer_sees_every_line_once() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, reader) = AgentStore::create(dir.path(), b"base").unwrap();
    let lease = dir.path();
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for n in 0..2000 {
                append(&mut store, n, Durable::Later).unwrap();
                if n % 50 == 0 {
                    store.rebase(format!("base {n}").as_bytes()).unwrap();
                }
            }
        });
        let follow = |again: &dyn Fn() -> LogReader| {
            let mut seen = 0_u64;
            while seen < 2000 {
                let over = writer.is_finished();
                let after = seen.checked_sub(1);
                for found in again().lines(after, 64).unwrap() {
                    assert_eq!(found, line(seen));
                    seen += 1;
                }
                assert!(!over || seen > 0);
            }
        };
        follow(&|| reader.clone());
        follow(&|| LogReader::open(lease).unwrap());
    });
    let later = LogReader::open(lease).unwrap();
    check_record(&later, 2000);
}

#[test]
fn two_writers_on_one_lease_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = lease_of(dir.path(), 1);
    for error in [
        AgentStore::open(dir.path()).unwrap_err(),
        AgentStore::create(dir.path(), b"mine").unwrap_err(),
    ] {
        assert_eq!(error, StoreError::Busy { dir: dir.path().to_owned() });
    }
    drop(store);
    check(&open(dir.path()), "base 0", 0, 1);
}

#[test]
fn what_is_malformed_is_refused_and_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = lease_of(dir.path(), 1);
    for transcript in [&b"x"[..], b"\xff\xff\xff\xffx", b"\x01\0\0\0ab"] {
        let turn = Written { transcript, ..Written::default() };
        assert_eq!(store.append(turn, Durable::Now).unwrap_err().code(), "DAEE-D007");
    }
    drop(store);
    check(&open(dir.path()), "base 0", 0, 1);
}

#[test]
fn there_is_nothing_to_read_where_nothing_was_kept() {
    let dir = tempfile::tempdir().unwrap();
    for path in [dir.path().to_owned(), dir.path().join("not there")] {
        assert_eq!(LogReader::open(&path).unwrap_err(), StoreError::Missing { dir: path.clone() });
        assert!(AgentStore::open(&path).unwrap().is_none());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// 0..6 append, 6 sync, 7 rebase, 8 open again, 9 cut some bytes off what is not synced and open again.
    #[test]
    fn whatever_the_order_the_lease_is_what_was_written(steps in prop::collection::vec(0..10_u8, 1..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = lease_of(dir.path(), 0);
        let (mut base, mut from, mut upto, mut synced) = ("base 0".to_owned(), 0, 0, 0);
        for step in steps {
            match step {
                0..6 => {
                    let durable = if step == 0 { Durable::Now } else { Durable::Later };
                    append(&mut store, upto, durable).unwrap();
                    upto += 1;
                    if step == 0 {
                        synced = upto;
                    }
                }
                6 => {
                    store.sync().unwrap();
                    synced = upto;
                }
                7 => {
                    base = format!("base {upto}");
                    store.rebase(base.as_bytes()).unwrap();
                    (from, synced) = (upto, upto);
                }
                8 => {
                    drop(store);
                    let opened = open(dir.path());
                    check(&opened, &base, from, upto);
                    (store, synced) = (opened.store, upto);
                }
                _ => {
                    drop(store);
                    if upto > synced {
                        let turns = file(dir.path(), "turns-");
                        let turns = fs::File::options().write(true).open(turns).unwrap();
                        turns.set_len(turns.metadata().unwrap().len() - 1).unwrap();
                        upto -= 1;
                    }
                    let opened = open(dir.path());
                    check(&opened, &base, from, upto);
                    (store, synced) = (opened.store, upto);
                }
            }
        }
    }
}
