//! Processes end in the middle of anything.

use std::{path::Path, time::Duration};

use crate::{
    process::{Worker, job},
    work,
};

const ROUNDS: u32 = 20;

#[test]
fn turns_that_were_acknowledged_survive_kills_at_any_moment() {
    if let Some(dir) = job() {
        work::write_turns(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let lease = dir.path().join("lease");
    let mut there = 0;
    for round in 0..ROUNDS {
        let worker = Worker::start(
            "kill::turns_that_were_acknowledged_survive_kills_at_any_moment",
            lease.to_str().unwrap(),
        );
        wait(round);
        there = work::check_turns(&lease, worker.kill().unwrap_or(0).max(there));
    }
    assert!(there > 100, "only {there} turns were written");
}

#[test]
fn what_moves_together_survives_kills_together() {
    if let Some(dir) = job() {
        work::keep_all(Path::new(&dir));
    }
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let mut there = None;
    for round in 0..ROUNDS {
        let worker = Worker::start(
            "kill::what_moves_together_survives_kills_together",
            store.to_str().unwrap(),
        );
        wait(round);
        there = worker.kill().max(there);
        work::check_all(&store, there);
    }
    assert!(there > Some(10), "only {there:?} steps were made");
}

/// Another time each round, from before the child has started to long after.
fn wait(round: u32) {
    std::thread::sleep(Duration::from_micros(u64::from(2000 + round * 7919 % 100_000)));
}
