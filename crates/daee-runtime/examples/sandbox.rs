//! `sandbox agents|engine IMAGE.wat BIG.wat WORK.wat SCRIPTS.wasm`: what agents cost on this machine, or the engine alone, as
//! one object of numbers. `cargo xtask bench sandbox` runs it beside wasmtime and shows both.

use std::time::{Duration, Instant};

use daee_artifact::Artifact;
use daee_runtime::bench::Bare;
use daee_runtime::{
    Agent, Event, Isolation, Launch, Limits, Module, Nothing, Outcome, Runtime, RuntimeConfig,
    Snapshot,
};
use daee_types::{ArtifactHash, ByteSize, Timestamp};

const STARTS: usize = 101;
const ENGINE_STARTS: usize = 2_001;
const CALLS: usize = 200_000;
const RUNS: usize = 7;
const TURNS: usize = 10_001;
const CYCLES: usize = 100_000;
/// Agents alive at once, and agents of which only the state is kept.
const IDLE: usize = 1_000;
const HIBERNATED: usize = 10_000;

/// Takes its event and answers it.
const TINY: &str = r#"(module
  (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "event.nextevent.answer\02\00\00\00{}ok")
  (func (export "daee_turn") (result i32)
    (drop (call $call (i32.const 0) (i32.const 10) (i32.const 0) (i32.const 0)))
    (drop (call $call (i32.const 10) (i32.const 12) (i32.const 22) (i32.const 8)))
    (i32.const 0)))"#;
const LOOP: &str = r#"(module (memory (export "memory") 1)
  (func (export "daee_turn") (result i32) (loop $again (br $again)) (unreachable)))"#;

fn main() {
    daee_runtime::child_main();
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [part, image, big, work, scripts] = &args[..] else {
        panic!("sandbox agents|engine IMAGE.wat BIG.wat WORK.wat SCRIPTS.wasm")
    };
    let mut out = Figures::default();
    match part.as_str() {
        "agents" => agents(&read(big), &mut out),
        _ => engine(&read(image), &read(big), &read(work), &read(scripts), &mut out),
    }
    println!("{}", serde_json::Value::Object(out.0));
}

fn read(path: &String) -> Vec<u8> {
    let module = std::fs::read(path).expect("the module can be read");
    wat::parse_bytes(&module).expect("it is WebAssembly").into_owned()
}

/// Agents as a node runs them.
fn agents(big: &[u8], out: &mut Figures) {
    let dir = tempfile::tempdir().expect("a folder for what was compiled");
    let config = RuntimeConfig::new(dir.path(), [7; 32]);
    let runtime = |warm_cells, isolation| {
        let config = RuntimeConfig { warm_cells, ..config.clone() };
        Runtime::new(config.isolated(isolation)).expect("a runtime")
    };
    let cells = runtime(4, Isolation::Process);
    let cold = runtime(0, Isolation::Process);
    let here = runtime(0, Isolation::InProcess);
    out.put("sandbox level", f64::from(cells.sandbox().level));

    turns(&here, "turn in process us", out);
    turns(&cells, "turn us", out);
    starts(&cold, "start in a cold cell ms", out);
    starts(&cells, "start in a warm cell ms", out);
    restore(&cells, big, out);
    endless(&cells, out);
    neighbours(&cells, out);
    idle(&cold, out);
}

/// The engine without anything around it, as the peer's program measures its own.
fn engine(image: &[u8], big: &[u8], work: &[u8], scripts: &[u8], out: &mut Figures) {
    let kept = |module: &[u8]| {
        let mut bare = Bare::new(module, true, vec![]);
        let mut first = bare.start();
        bare.keep(&mut first);
        bare
    };
    let image = kept(image);
    let start = |bare: &Bare| {
        let mut alive = bare.start();
        alive.call("touch");
        alive
    };
    out.put("start us", micros(median(ENGINE_STARTS, || drop(start(&image)))));
    let mut alive = start(&image);
    out.put("call ns", each(|| _ = alive.call("nothing")));
    out.put("touch ns", each(|| _ = alive.call("touch")));
    // A million calls.
    out.put("host call ns", micros(median(11, || _ = alive.call("chatter"))) / 1000.0);
    drop(alive);

    let before = private_kib(std::process::id()).expect("the kernel says it");
    let alive: Vec<_> = (0..IDLE).map(|_| start(&image)).collect();
    let after = private_kib(std::process::id()).expect("the kernel says it");
    out.put("idle KiB", (after - before) / IDLE as f64);
    drop(alive);

    cycles(&image, out);

    let big = kept(big);
    out.put("big start us", micros(median(ENGINE_STARTS, || drop(start(&big)))));

    let script = format!("{}\0", include_str!("../../../tests/bench/script.js"));
    let args = vec!["qjs\0".to_owned(), "-e\0".to_owned(), script];
    for (name, metered) in [("", false), (", metered", true)] {
        let work = Bare::new(work, metered, vec![]);
        for export in ["sha256", "fib", "loop"] {
            let mut alive = work.start();
            let took = median(RUNS, || _ = alive.call(export));
            out.put(&format!("{export}{name} us"), micros(took));
        }
        let scripts = Bare::new(scripts, metered, args.clone());
        let mut said = 0;
        let took = median(RUNS, || said = scripts.run());
        out.put(&format!("scripts{name} us"), micros(took));
        out.put("scripts said bytes", said as f64);
    }
}

#[derive(Default)]
struct Figures(serde_json::Map<String, serde_json::Value>);

impl Figures {
    fn put(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value.into());
    }
}

fn prepared(runtime: &Runtime, module: impl AsRef<[u8]>) -> Module {
    let wasm = wat::parse_bytes(module.as_ref()).expect("it is WebAssembly").into_owned();
    let hash = ArtifactHash::of(&wasm);
    let artifact = Artifact::fetched(wasm).verify(&hash).expect("it is its own hash");
    runtime.prepare(&artifact, None).expect("it compiles")
}

fn start(runtime: &Runtime, launch: Launch) -> Agent {
    Agent::start(runtime, launch, Box::new(Nothing::default())).expect("a cell")
}

fn turn(agent: &mut Agent) {
    assert_eq!(agent.turn(Event::Start, Timestamp(0)).outcome, Outcome::Done);
}

/// A warm turn with one event and one answer: what a node does for a request, without its network and disk.
fn turns(runtime: &Runtime, name: &str, out: &mut Figures) {
    let mut agent = start(runtime, Launch::new(prepared(runtime, TINY)));
    out.put(name, micros(median(TURNS, || turn(&mut agent))));
}

/// From a prepared module to the end of the first turn.
fn starts(runtime: &Runtime, name: &str, out: &mut Figures) {
    let module = prepared(runtime, TINY);
    let mut times = Vec::new();
    for _ in 0..STARTS {
        // The pool fills up again meanwhile, as between two leases.
        std::thread::sleep(Duration::from_millis(20));
        let from = now();
        let mut agent = start(runtime, Launch::new(module.clone()));
        turn(&mut agent);
        times.push(from.elapsed());
    }
    out.put(name, micros(middle(times)) / 1000.0);
}

/// A reactor with 64 MiB of memory in use, from where its cell is gone to its next answer: hibernated here, and out of a
/// checkpoint whose root was judged.
fn restore(runtime: &Runtime, module: &[u8], out: &mut Figures) {
    let module = prepared(runtime, module);
    let limits = Limits { memory_max: ByteSize::mib(64), ..Limits::default() };
    let launch = Launch { limits, ..Launch::new(module) };
    let mut agent = start(runtime, launch.clone());
    turn(&mut agent);
    agent.marks();
    let mut times = Vec::new();
    for _ in 0..STARTS / 5 {
        agent.rebirth();
        std::thread::sleep(Duration::from_millis(50));
        let from = now();
        turn(&mut agent);
        times.push(from.elapsed());
    }
    // The first has to write the file that the others map.
    times.remove(0);
    out.put("hibernated with 64 MiB, to its next answer ms", micros(middle(times)) / 1000.0);

    let launch = Launch { snapshot: agent.stop(), ..launch };
    let mut times = Vec::new();
    for _ in 0..STARTS / 10 {
        let launch = launch.clone();
        std::thread::sleep(Duration::from_millis(50));
        let from = now();
        let mut agent = start(runtime, launch);
        turn(&mut agent);
        times.push(from.elapsed());
    }
    out.put("a checkpoint of 64 MiB, to its first answer ms", micros(middle(times)) / 1000.0);
}

/// How much later than its wall time an endless turn ends.
fn endless(runtime: &Runtime, out: &mut Figures) {
    const WALL_MILLIS: u64 = 100;
    let limits = Limits { wall_turn_millis: WALL_MILLIS, fuel_turn: u64::MAX, ..Limits::default() };
    let launch = Launch { limits, ..Launch::new(prepared(runtime, LOOP)) };
    let mut times = Vec::new();
    for _ in 0..11 {
        let mut agent = start(runtime, launch.clone());
        let from = now();
        assert_eq!(agent.turn(Event::Start, Timestamp(0)).outcome, Outcome::Wall);
        times.push(from.elapsed());
    }
    let over = micros(middle(times)) / 1000.0 - WALL_MILLIS as f64;
    out.put("an endless turn over its wall time ms", over);
}

/// What the slowest in a hundred of an agent's turns take, alone and beside an agent that loops all the time.
fn neighbours(runtime: &Runtime, out: &mut Figures) {
    let mut agent = start(runtime, Launch::new(prepared(runtime, TINY)));
    let mut slow = |out: &mut Figures, name: &str| {
        let mut times: Vec<_> = (0..4 * TURNS)
            .map(|_| {
                let from = now();
                turn(&mut agent);
                from.elapsed()
            })
            .collect();
        times.sort();
        out.put(name, micros(times[times.len() * 99 / 100]));
    };
    slow(out, "99 of 100 turns within us");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let looping = {
        let (runtime, module) = (runtime.clone(), prepared(runtime, LOOP));
        let limits = Limits { wall_turn_millis: 50, fuel_turn: u64::MAX, ..Limits::default() };
        std::thread::spawn(move || {
            let mut agent = start(&runtime, Launch { limits, ..Launch::new(module) });
            while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                agent.turn(Event::Start, Timestamp(0));
            }
        })
    };
    slow(out, "beside an agent that loops us");
    drop(stop);
    looping.join().expect("it ends when it is told");
}

/// Memory and address space of this process before and after many instances came and went.
fn cycles(image: &Bare, out: &mut Figures) {
    let cycle = || _ = image.start().call("touch");
    (0..CYCLES / 100).for_each(|_| cycle());
    let before = sizes();
    (0..CYCLES).for_each(|_| cycle());
    let after = sizes();
    out.put("100,000 cycles, resident KiB more", (after.1 - before.1) / 1024.0);
    out.put("100,000 cycles, address space KiB more", (after.0 - before.0) / 1024.0);
}

/// Agents that wait for an event, a process each, and agents that are hibernated.
fn idle(runtime: &Runtime, out: &mut Figures) {
    let module = prepared(runtime, TINY);
    let from = now();
    let mut agents: Vec<_> = (0..IDLE)
        .map(|_| {
            let mut agent = start(runtime, Launch::new(module.clone()));
            turn(&mut agent);
            agent
        })
        .collect();
    out.put("1,000 agents alive after s", from.elapsed().as_secs_f64());
    let mut private: Vec<_> =
        agents.iter().filter_map(|agent| private_kib(agent.cell_pid()?)).collect();
    private.sort_by(f64::total_cmp);
    out.put("private memory of an idle cell KiB", private[private.len() / 2]);
    agents.iter_mut().for_each(turn);

    let before = sizes().1;
    let mut kept: Vec<Snapshot> = agents.into_iter().map(Agent::stop).collect();
    let one = kept.swap_remove(0);
    let kept: Vec<_> = (0..HIBERNATED).map(|_| one.encode()).collect();
    out.put(
        "10,000 hibernated, KiB each",
        (sizes().1 - before).max(0.0) / 1024.0 / HIBERNATED as f64,
    );
    let woken = Launch {
        snapshot: Snapshot::decode(&kept[HIBERNATED / 2]).expect("it was encoded here"),
        ..Launch::new(module)
    };
    turn(&mut start(runtime, woken));
}

/// Address space and resident memory of this process, in bytes.
fn sizes() -> (f64, f64) {
    let said = std::fs::read_to_string("/proc/self/statm").expect("the kernel says it");
    let mut pages = said.split(' ').map(|pages| pages.trim().parse::<f64>().unwrap_or_default());
    let mut bytes = || pages.next().unwrap_or_default() * 4096.0;
    (bytes(), bytes())
}

/// What a process alone holds in memory.
fn private_kib(pid: u32) -> Option<f64> {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let lines = rollup.lines().filter(|line| line.starts_with("Private_"));
    Some(lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum())
}

fn micros(time: Duration) -> f64 {
    time.as_nanos() as f64 / 1000.0
}

fn middle(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn median(runs: usize, mut work: impl FnMut()) -> Duration {
    work();
    middle(
        (0..runs)
            .map(|_| {
                let from = now();
                work();
                from.elapsed()
            })
            .collect(),
    )
}

/// What one of many takes, in nanoseconds: the median of batches, for the clock takes as long as a call.
fn each(mut work: impl FnMut()) -> f64 {
    const BATCH: usize = 1000;
    let batch = || (0..BATCH).for_each(|_| work());
    micros(median(CALLS / BATCH, batch)) * 1000.0 / BATCH as f64
}

#[expect(clippy::disallowed_methods, reason = "a bench is there to read the clock")]
fn now() -> Instant {
    Instant::now()
}
