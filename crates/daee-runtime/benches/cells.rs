//! What cells cost: `cargo bench -p daee-runtime --bench cells`, with `-- --json` for one object of microseconds.
//! Medians, for a start is a process and the machine has others.

use daee_artifact::Artifact;
use daee_runtime::{Agent, Event, Isolation, Launch, Nothing, Outcome, Runtime, RuntimeConfig};
use daee_types::{ArtifactHash, Timestamp};

const STARTS: usize = 51;
const TURNS: usize = 2_001;

fn main() {
    daee_runtime::child_main();
    let mut figures = Vec::new();
    for (isolation, name) in [(Isolation::Process, "process"), (Isolation::InProcess, "thread")] {
        let dir = tempfile::tempdir().unwrap();
        let config = RuntimeConfig::new(dir.path(), [7; 32]).isolated(isolation);
        let runtime = Runtime::new(RuntimeConfig { warm_cells: 0, ..config.clone() }).unwrap();
        let wasm = wat::parse_str(include_str!("../tests/guests/script.wat")).unwrap();
        let hash = ArtifactHash::of(&wasm);
        let artifact = Artifact::fetched(wasm).verify(&hash).unwrap();
        let module = runtime.prepare(&artifact, None).unwrap();
        let turn = |agent: &mut Agent| {
            let turned = agent.turn(Event::Start, Timestamp(0));
            assert_eq!(turned.outcome, Outcome::Done);
        };
        let fresh = || Runtime::new(RuntimeConfig { warm_cells: 0, ..config.clone() }).unwrap();
        figures.push((
            format!("prepare cached, {name}"),
            median(STARTS, fresh, |runtime| {
                runtime.prepare(&artifact, None).unwrap();
            }),
        ));
        for (warm_cells, warmth) in [(0, "cold"), (2, "warm")] {
            if isolation == Isolation::InProcess && warm_cells > 0 {
                continue;
            }
            let runtime = Runtime::new(RuntimeConfig { warm_cells, ..config.clone() }).unwrap();
            let start = || {
                let launch = Launch::new(module.clone());
                Agent::start(&runtime, launch, Box::new(Nothing::default())).unwrap()
            };
            // Nothing of the last start goes on beside this one.
            let settled =
                || until(|| isolation == Isolation::InProcess || children() == warm_cells);
            figures.push((
                format!("start to ready, {warmth}, {name}"),
                median(STARTS, settled, |()| start()),
            ));
            figures.push((
                format!("start and first turn, {warmth}, {name}"),
                median(STARTS, settled, |()| {
                    let mut agent = start();
                    turn(&mut agent);
                    agent
                }),
            ));
        }
        let start = || {
            let launch = Launch::new(module.clone());
            Agent::start(&runtime, launch, Box::new(Nothing::default())).unwrap()
        };
        let mut agent = start();
        figures.push((format!("warm turn, {name}"), median(TURNS, || (), |()| turn(&mut agent))));
        let tiny = wat::parse_str(include_str!("tiny.wat")).unwrap();
        let hash = ArtifactHash::of(&tiny);
        let tiny = Artifact::fetched(tiny).verify(&hash).unwrap();
        let launch = Launch::new(runtime.prepare(&tiny, None).unwrap());
        let mut tiny = Agent::start(&runtime, launch, Box::new(Nothing::default())).unwrap();
        figures.push((
            format!("warm turn of a tiny agent, {name}"),
            median(TURNS, || (), |()| turn(&mut tiny)),
        ));
    }
    if std::env::args().any(|argument| argument == "--json") {
        let figures: serde_json::Map<_, _> = figures
            .into_iter()
            .map(|(name, micros)| (name.replace(", ", "_").replace(' ', "_"), micros.into()))
            .collect();
        println!("{}", serde_json::Value::from(figures));
    } else {
        figures.iter().for_each(|(name, micros)| println!("{name:<32} {micros:>12.1} us"));
    }
}

#[expect(clippy::disallowed_methods, reason = "a bench is there to read the clock")]
fn median<T, R>(runs: usize, mut before: impl FnMut() -> T, mut work: impl FnMut(T) -> R) -> f64 {
    drop(work(before()));
    let mut times: Vec<_> = (0..runs)
        .map(|_| {
            let ready = before();
            let from = std::time::Instant::now();
            let done = work(ready);
            let took = from.elapsed();
            // Its end is not part of it.
            drop(done);
            took
        })
        .collect();
    times.sort();
    times[runs / 2].as_nanos() as f64 / 1000.0
}

fn until(holds: impl Fn() -> bool) {
    while !holds() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    // A process is there before it is ready.
    std::thread::sleep(std::time::Duration::from_millis(20));
}

fn children() -> usize {
    let own = std::process::id().to_string();
    let stats = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read_to_string(entry.ok()?.path().join("stat")).ok());
    let parent =
        |stat: &String| stat.rsplit(')').next()?.split_whitespace().nth(1).map(str::to_owned);
    stats.filter(|stat| parent(stat).as_ref() == Some(&own)).count()
}
