//! What the start of an agent costs, from a verified artifact whose compiled module is kept to the end of its first
//! turn: `start MODULE.wasm`, as one object of milliseconds. Beside it the same without a process, and what the
//! system takes for a process that does nothing. `cargo xtask bench start` shows it as a table.
//!
//! All take turns, so that what else the machine does is shared by all; medians, because it is not.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use daee_artifact::{Artifact, Verified};
use daee_runtime::{Agent, Event, Isolation, Launch, Nothing, Outcome, Runtime, RuntimeConfig};
use daee_types::{ArtifactHash, Timestamp};

const STARTS: usize = 301;

fn main() {
    daee_runtime::child_main();
    let path = PathBuf::from(std::env::args_os().nth(1).expect("start MODULE.wasm"));
    let wasm = std::fs::read(&path).expect("the module can be read");
    let hash = ArtifactHash::of(&wasm);
    let artifact = Artifact::fetched(wasm).verify(&hash).expect("it is its own hash");
    let dir = tempfile::tempdir().expect("a folder for what was compiled");
    let [process, thread] = [Isolation::Process, Isolation::InProcess].map(|isolation| {
        let config = whole_starts(dir.path()).isolated(isolation);
        Runtime::new(config).expect("a runtime")
    });

    // Compiles, and brings what is read again and again into memory.
    let mut times = Times::default();
    start(&process, &artifact, &mut times, "");
    start(&thread, &artifact, &mut times, "");
    nothing(&mut times);

    let mut times = Times::default();
    for _ in 0..STARTS {
        start(&process, &artifact, &mut times, "process");
        start(&thread, &artifact, &mut times, "thread");
        jail(dir.path(), &mut times);
        nothing(&mut times);
    }
    let figures = times.medians();
    let level = process.sandbox().level;
    println!("{}", serde_json::json!({ "millis": figures, "level": level, "starts": STARTS }));
}

/// Without cells that wait for agents: each start is a whole one.
fn whole_starts(dir: &Path) -> RuntimeConfig {
    RuntimeConfig { warm_cells: 0, ..RuntimeConfig::new(dir, [7; 32]) }
}

/// From the artifact to the end of the first turn.
fn start(runtime: &Runtime, artifact: &Artifact<Verified>, times: &mut Times, way: &str) {
    let began = now();
    let module = runtime.prepare(artifact, None).expect("it was compiled");
    let prepared = now();
    let launch = Launch::new(module);
    let outside = Box::new(Nothing::default());
    let mut agent = Agent::start(runtime, launch, outside).expect("a cell");
    let ready = now();
    let turned = agent.turn(Event::Start, Timestamp(0));
    let done = now();
    assert_eq!(turned.outcome, Outcome::Done);
    times.add(format!("{way} module"), began, prepared);
    times.add(format!("{way} cell"), prepared, ready);
    times.add(format!("{way} turn"), ready, done);
    times.add(format!("{way} whole"), began, done);
}

/// A cell's process and all its walls, with nothing in it: what a runtime begins with.
fn jail(dir: &Path, times: &mut Times) {
    let config = whole_starts(dir);
    let began = now();
    drop(Runtime::new(config).expect("a runtime"));
    times.add("jail".to_owned(), began, now());
}

/// A process that ends at once, made as cheaply as the system can.
#[expect(clippy::disallowed_methods, reason = "the floor of what is measured")]
fn nothing(times: &mut Times) {
    let began = now();
    let status = Command::new("/bin/true").env_clear().status().expect("every system has it");
    times.add("true".to_owned(), began, now());
    assert!(status.success());
}

#[expect(clippy::disallowed_methods, reason = "a bench is there to read the clock")]
fn now() -> Instant {
    Instant::now()
}

#[derive(Default)]
struct Times(BTreeMap<String, Vec<f64>>);

impl Times {
    fn add(&mut self, name: String, from: Instant, to: Instant) {
        self.0.entry(name).or_default().push(to.duration_since(from).as_secs_f64() * 1e3);
    }

    fn medians(self) -> BTreeMap<String, f64> {
        let median = |mut times: Vec<f64>| {
            times.sort_by(f64::total_cmp);
            times[times.len() / 2]
        };
        self.0.into_iter().map(|(name, times)| (name, median(times))).collect()
    }
}
