//! Hostile guests, one file an attack, with its end beside it: in jailed processes and in threads, where every end
//! that does not depend on a clock is the same to the byte. This program is started again for each cell.
//!
//! A file opens with what it does and how that ends:
//!
//! ```text
//! ;; Computes nothing, for ever.
//! ;; style: resident               or per-event; a reactor if nothing is said
//! ;; expect: fuel
//! ;; many: 1000 (nop)              $$many is so many times this, and # in it the number; more is another
//! ;; text: 1000 [                  $$text is the same without spaces between
//! ```

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::{Bench, Counted, NOW, poke, policy};
use daee_artifact::Artifact;
use daee_runtime::{
    Agent, Event, Isolation, Launch, Limits, Nothing, Outcome, RunStyle, Snapshot, Turned,
};
use daee_types::{ArtifactHash, ByteSize, Coded as _, Fault};

/// What lives beside each attack, and must not notice.
const NEIGHBOUR: &str = include_str!("guests/hostile.wat");
const QUOTA: ByteSize = ByteSize::kib(64);
/// What one turn under these limits may leave in the transcript.
const TRANSCRIPT_BYTES_MAX: usize = 16 << 20;

fn main() {
    daee_runtime::child_main();
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut sites = [Isolation::Process, Isolation::InProcess].map(Site::new);
    let (mut passed, mut failed) = (0, Vec::new());
    for attack in attacks() {
        if !wanted.is_empty() && !wanted.iter().any(|part| attack.name.contains(part)) {
            continue;
        }
        match check(&attack, &mut sites) {
            Ok(()) => passed += 1,
            Err(why) => {
                println!("test {} ... FAILED\n  {why}", attack.name);
                failed.push(attack.name);
            }
        }
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {} failed: {failed:?}", failed.len());
    if !failed.is_empty() {
        std::process::exit(1);
    }
}

struct Attack {
    name: String,
    style: Option<RunStyle>,
    expect: String,
    wasm: Vec<u8>,
}

fn attacks() -> Vec<Attack> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hostile");
    let files = fs::read_dir(folder).expect("the attacks are here");
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 100, "{} attacks", paths.len());
    paths.iter().map(|path| read(path)).collect()
}

fn read(path: &Path) -> Attack {
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let mut module = fs::read_to_string(path).unwrap();
    let head: Vec<String> =
        module.lines().map_while(|line| line.strip_prefix(";; ").map(str::to_owned)).collect();
    let said: BTreeMap<&str, &str> = head.iter().filter_map(|line| line.split_once(": ")).collect();
    for (key, between) in [("many", " "), ("more", " "), ("text", "")] {
        let Some((count, piece)) = said.get(key).and_then(|said| said.split_once(' ')) else {
            continue;
        };
        let count: u32 = count.parse().unwrap_or_else(|_| panic!("{name}: {count}"));
        let pieces: Vec<_> = (0..count).map(|n| piece.replace('#', &n.to_string())).collect();
        module = module.replace(&format!("$${key}"), &pieces.join(between));
    }
    Attack {
        style: match said.get("style") {
            None => None,
            Some(&"resident") => Some(RunStyle::Resident),
            Some(&"per-event") => Some(RunStyle::PerEvent),
            Some(other) => panic!("{name}: there is no style {other}"),
        },
        expect: said.get("expect").unwrap_or_else(|| panic!("{name}: no end")).to_string(),
        wasm: wat::parse_str(&module).unwrap_or_else(|error| panic!("{name}: {error}")),
        name,
    }
}

fn limits() -> Limits {
    Limits {
        fuel_turn: 20_000_000,
        memory_max: ByteSize::mib(8),
        table_elements_max: 1_000,
        door_calls_max: 2_000,
        log_turn_max: ByteSize::kib(4),
        ..Limits::default()
    }
}

/// A runtime of one isolation, with one good agent in it.
struct Site {
    bench: Bench,
    neighbour: Agent,
    turns: u32,
}

impl Site {
    fn new(isolation: Isolation) -> Self {
        let bench = Bench::new(isolation);
        let neighbour = bench.start_with(NEIGHBOUR, None, limits());
        Self { bench, neighbour, turns: 0 }
    }

    /// How it ended, and two turns of it if it had any.
    fn run(&mut self, attack: &Attack) -> Result<(String, Vec<Turned>), String> {
        let hash = ArtifactHash::of(&attack.wasm);
        let artifact = Artifact::fetched(attack.wasm.clone()).verify(&hash).unwrap();
        let module = match self.bench.runtime.prepare(&artifact, attack.style) {
            Ok(module) => module,
            Err(error) => {
                is(error.fault() == Fault::Developer, || error.to_string())?;
                return Ok((format!("refused {}", error.code()), Vec::new()));
            }
        };
        let launch = Launch {
            limits: limits(),
            policy: policy(),
            snapshot: Snapshot::new(QUOTA),
            quota: QUOTA,
            ..Launch::new(module)
        };
        let mut agent = match Agent::start(&self.bench.runtime, launch, Box::new(Nothing(NOW))) {
            Ok(agent) => agent,
            Err(error) => {
                is(error.fault() == Fault::Developer, || error.to_string())?;
                return Ok((format!("not started {}", error.code()), Vec::new()));
            }
        };
        let mut turns = Vec::new();
        for _ in 0..2 {
            let (state, root) = (agent.state().clone(), agent.marks().state_root);
            let turned = agent.turn(Event::Start, NOW);
            let is_kept = turned.outcome.is_kept();
            is(turned.outcome.reproducible(), || turned.outcome.to_string())?;
            is(turned.fuel <= limits().fuel_turn, || format!("fuel {}", turned.fuel))?;
            is(agent.state().used() <= QUOTA, || format!("{} of state", agent.state().used()))?;
            let transcript = turned.commit.transcript.len();
            is(transcript <= TRANSCRIPT_BYTES_MAX, || format!("{transcript} of transcript"))?;
            let logged: u64 = turned.commit.logs.iter().map(|line| line.text.len() as u64).sum();
            // Two lines are the node's own: that the log was cut, and that the turn is not kept.
            is(logged <= limits().log_turn_max.0 + 300, || format!("{logged} bytes of log"))?;
            if !is_kept {
                is(turned.answer.is_none(), || "an answer of a turn that is not kept".into())?;
                is(turned.effects.is_empty(), || "effects of a turn that is not kept".into())?;
                is(*agent.state() == state, || "state of a turn that is not kept".into())?;
                is(agent.marks().state_root == root, || "another root, and nothing kept".into())?;
            }
            turns.push(turned);
        }
        Ok((ended(&turns[0].outcome), turns))
    }

    fn neighbour_goes_on(&mut self) -> Result<(), String> {
        self.turns += 1;
        let expected = Counted { memory: self.turns, global: self.turns.into() };
        let found = poke(&mut self.neighbour, 0);
        is(found == Some(expected), || format!("a neighbour noticed: {found:?}"))
    }
}

fn ended(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".into(),
        Outcome::RolledBack { code } => format!("rolled back {code}"),
        Outcome::Trap { what } => format!("trap {what}"),
        Outcome::Fuel => "fuel".into(),
        Outcome::Wall => "wall".into(),
        Outcome::Memory => "memory".into(),
        Outcome::Table => "table".into(),
        Outcome::Stack => "stack".into(),
        Outcome::Exited { code } => format!("exited {code}"),
        Outcome::Killed { why } => format!("killed {why}"),
        Outcome::Lost => "lost".into(),
    }
}

fn check(attack: &Attack, sites: &mut [Site; 2]) -> Result<(), String> {
    let mut told = Vec::new();
    for site in sites {
        let (end, turns) = site.run(attack)?;
        // Of a trap the words that matter are enough.
        let fits = match attack.expect.strip_prefix("trap ") {
            Some(what) => end.strip_prefix("trap ").is_some_and(|found| found.contains(what)),
            None => end == attack.expect,
        };
        is(fits, || format!("{end}, and not {}", attack.expect))?;
        site.neighbour_goes_on()?;
        told.push((end, turns));
    }
    is(told[0] == told[1], || "it ends in another way, or leaves other bytes, in a cell".into())
}

fn is(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise()) }
}
