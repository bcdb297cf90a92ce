//! Recordings run again: what is as it is recorded, and everything that is not. This program is started again for each
//! cell and as another node, so it has a `main` of its own.

mod common;

use std::ops::ControlFlow;

use common::{Bench, Call, NOW, poke, raw, request};
use daee_policy::{Permit, Policy};
use daee_runtime::{
    Agent, CallKey, CannotRun, Difference, Event, FetchAnswer, FetchRequest, Isolation, Launch,
    Limits, Outcome, Outside, OutsideError, Recording, ReplayError, Replayed, RunStyle, Snapshot,
    Turned, What, frame, replay,
};
use daee_transcript::{Bodies, Entry, Frame, Segment, Transcript, entries};
use daee_types::{
    ByteSize, Coded as _, DeploymentId, EpochId, LogRoot, StateRoot, Timestamp, TranscriptRoot,
};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

const SCRIPT: &str = include_str!("guests/script.wat");
const HOSTILE: &str = include_str!("guests/hostile.wat");
const RESIDENT: &str = include_str!("guests/resident.wat");
const EACH: &str = include_str!("guests/each.wat");
const NOTES: &str = include_str!("guests/notes.wat");
const BOTH: [Isolation; 2] = [Isolation::Process, Isolation::InProcess];
const RECORD: &str = "record-elsewhere";

fn main() {
    daee_runtime::child_main();
    record_if_asked();
    common::run(&[
        ("every_operation_runs_again_to_the_same", every_operation_runs_again),
        ("every_end_of_a_turn_runs_again_to_the_same", every_end_of_a_turn_runs_again),
        ("a_resident_runs_again_over_its_births", a_resident_runs_again_over_its_births),
        ("a_resident_cannot_begin_where_its_memory_is_not_known", a_resident_cannot_begin_anywhere),
        ("a_program_per_event_runs_again_to_the_same", a_program_per_event_runs_again),
        ("a_program_that_knows_no_door_runs_again", a_program_that_knows_no_door_runs_again),
        ("a_reactor_runs_again_from_any_turn", a_reactor_runs_again_from_any_turn),
        ("what_another_process_recorded_runs_again_here", what_another_process_recorded),
        ("a_turn_that_was_shot_runs_to_its_last_call_and_is_dropped", a_turn_that_was_shot),
        ("a_turn_that_took_too_long_is_dropped", a_turn_that_took_too_long),
        (
            "a_machine_that_cannot_run_a_turn_says_nothing_against_it",
            a_machine_that_cannot_run_a_turn_says_nothing_against_it,
        ),
        ("a_turn_that_the_node_did_not_live_to_end_is_dropped", a_turn_that_was_lost),
        ("a_trap_rolls_state_back_and_a_replay_shows_it", a_trap_rolls_state_back),
        ("new_bounds_begin_at_a_birth", new_bounds_begin_at_a_birth),
        ("another_version_ends_a_recording", another_version_ends_a_recording),
        ("the_first_entry_that_was_changed_is_named", the_first_entry_that_was_changed),
        ("an_entry_removed_added_or_moved_is_named", an_entry_removed_added_or_moved),
        ("a_call_that_was_let_through_or_refused_wrongly_is_named", a_call_judged_wrongly),
        ("a_claim_that_does_not_hold_is_named", a_claim_that_does_not_hold),
        ("what_cannot_be_run_is_no_verdict", what_cannot_be_run_is_no_verdict),
        ("what_is_no_recording_is_refused", what_is_no_recording_is_refused),
        ("whoever_watches_may_stop_it", whoever_watches_may_stop_it),
        ("whatever_an_agent_asks_runs_again_to_the_same", whatever_an_agent_asks_runs_again),
        ("no_byte_of_a_recording_can_be_another", no_byte_of_a_recording_can_be_another),
    ]);
}

/// An outside that answers by what is asked: `/ok` and `/big` with a status, `/late` after a quarter of a second, `/head` with
/// more headers than a frame holds, and others not. Its bytes and times are never the same twice.
struct World {
    asked: u64,
    now: Timestamp,
}

impl World {
    fn boxed() -> Box<Self> {
        Box::new(Self { asked: 0, now: NOW })
    }
}

impl Outside for World {
    fn fetch(
        &mut self,
        permit: Permit,
        _: FetchRequest,
        _: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        self.asked += 1;
        self.now = self.now.plus_millis(self.asked);
        let answer = |headers: &[(String, String)], body: Vec<u8>| {
            Ok(FetchAnswer { status: 200, headers: headers.to_vec(), body })
        };
        match permit.target().as_str() {
            "/ok" => answer(&[("a".into(), "b".into())], format!("{}", self.asked).into_bytes()),
            "/big" => answer(&[], vec![7; 5000]),
            "/late" => {
                self.now = self.now.plus_millis(250);
                answer(&[], b"late".to_vec())
            }
            "/head" => answer(&[("a".into(), "b".repeat(200_000))], b"x".to_vec()),
            "/inside" => Err(OutsideError::Denied("127.0.0.1 is not public".into())),
            "/large" => Err(OutsideError::TooLarge("more than was to be brought back".into())),
            _ => Err(OutsideError::Failed("connection refused".into())),
        }
    }
    fn ipfs(&mut self, cid: &str, _: u64) -> Result<Vec<u8>, OutsideError> {
        self.now = self.now.plus_millis(3);
        match cid {
            "there" => Ok(vec![9; 2000]),
            _ => Err(OutsideError::NotFound(format!("there is no {cid}"))),
        }
    }
    fn random(&mut self, out: &mut [u8]) {
        self.asked += 1;
        out.fill(self.asked as u8);
    }
    fn now(&mut self) -> Timestamp {
        self.now
    }
    fn before_outside(&mut self, _: &[u8], _: &Bodies) {}
}

/// An agent, and what is recorded of it.
struct Recorded {
    bench: Bench,
    launch: Launch,
    agent: Agent,
    recording: Recording,
    at: Timestamp,
}

impl Recorded {
    fn new(isolation: Isolation, wat: &str, style: Option<RunStyle>, limits: Limits) -> Self {
        Self::on(Bench::new(isolation), wat, style, limits)
    }

    fn on(bench: Bench, wat: &str, style: Option<RunStyle>, limits: Limits) -> Self {
        let module = bench.prepare(wat, style).unwrap();
        let lines = ["network_outbound:api.coingecko.com", "read_ipfs", "publish_to_chain"];
        let policy = Policy::new(lines.iter().map(|line| (line.parse().unwrap(), 0)).collect());
        let launch = Launch {
            limits,
            policy,
            env: vec![("A".into(), "b".into())],
            args: vec!["x".into()],
            manifest: [5; 32],
            quota: ByteSize::kib(64),
            ..Launch::new(module)
        };
        let mut agent = Agent::start(&bench.runtime, launch.clone(), World::boxed()).unwrap();
        let recording = Recording::begin(&mut agent, DeploymentId(7), EpochId::new([3; 32]));
        Self { bench, launch, agent, recording, at: NOW }
    }

    fn turn(&mut self, event: Event) -> Turned {
        self.at = self.at.plus_millis(1000);
        let turned = self.agent.turn(event, self.at);
        self.recording.extend([&turned.commit], self.agent.marks());
        turned
    }

    fn script(&mut self, calls: &[Call<'_>]) -> Turned {
        let inputs: Vec<_> = calls
            .iter()
            .map(|(op, head, body)| {
                let head: Value = serde_json::from_str(head).unwrap();
                (op.as_bytes(), frame::encode(&head, body))
            })
            .collect();
        let inputs: Vec<_> = inputs.iter().map(|(op, input)| (*op, &input[..])).collect();
        self.turn(request(raw(&inputs)))
    }

    fn released(&mut self, upto_turn: u64) {
        let commit = self.agent.released(upto_turn);
        self.recording.extend([&commit], self.agent.marks());
    }

    /// The node goes away and comes back.
    fn restart(&mut self, launch: impl FnOnce(Launch) -> Launch) {
        let snapshot = Snapshot::decode(&self.agent.snapshot()).unwrap();
        self.launch = launch(self.launch.clone());
        let launch = Launch { snapshot, ..self.launch.clone() };
        self.agent = Agent::start(&self.bench.runtime, launch, World::boxed()).unwrap();
    }

    fn replay(&self, recording: &Recording) -> Result<Replayed, ReplayError> {
        let recording = Recording::decode(&recording.encode()).unwrap();
        replay(&self.bench.runtime, self.launch.clone(), &recording, |_| ControlFlow::Continue(()))
    }

    fn check(&self) -> Replayed {
        let replayed = self.replay(&self.recording);
        let replayed = replayed.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(replayed.to, self.recording.claim);
        // The way a cell is kept apart makes no difference.
        for isolation in BOTH {
            let bench = Bench::new(isolation);
            let mut turns = 0;
            let again = replay(&bench.runtime, self.launch.clone(), &self.recording, |_| {
                turns += 1;
                ControlFlow::Continue(())
            });
            assert_eq!(again, Ok(replayed.clone()), "{isolation:?}");
            assert_eq!(turns, replayed.turns);
        }
        replayed
    }

    /// Changes the entries as a node could that lies all through: the chain is made anew.
    fn forged(&self, change: impl FnOnce(&mut Vec<Entry>, &mut Bodies)) -> Recording {
        let mut forged = self.recording.clone();
        let mut all: Vec<Entry> =
            entries(&forged.transcript).map(|entry| entry.unwrap().0).collect();
        change(&mut all, &mut forged.bodies);
        let mut segment = Segment::default();
        for entry in &all {
            segment.push(entry);
        }
        forged.transcript = segment.finish().0;
        let start = Snapshot::decode(&forged.snapshot).unwrap().progress.transcript;
        let mut chain = Transcript::resume(start.root(), start.len());
        if chain.follow(&forged.transcript).is_ok() {
            forged.claim.transcript_root = chain.root();
        }
        forged
    }

    #[track_caller]
    fn check_differs(
        &self,
        forged: &Recording,
        turn: u64,
        call: Option<u32>,
        what: What,
    ) -> Difference {
        match self.replay(forged) {
            Err(ReplayError::Differs(found)) => {
                assert_eq!((found.turn, found.call, found.what), (turn, call, what), "{found}");
                assert_ne!(found.recorded, found.found, "{found}");
                *found
            }
            other => panic!("{other:?}"),
        }
    }
}

fn small() -> Limits {
    Limits {
        fuel_turn: 20_000_000,
        memory_max: ByteSize::mib(8),
        door_calls_max: 2_000,
        log_turn_max: ByteSize::kib(4),
        door_frame_max: ByteSize::kib(128),
        ..Limits::default()
    }
}

const OK: &str = r#"{"url":"https://api.coingecko.com/ok"}"#;
const EVERYTHING: &[Call<'_>] = &[
    ("log", r#"{"text":"hello","level":"warn"}"#, b""),
    ("now", "{}", b""),
    ("random", r#"{"bytes":8}"#, b""),
    ("random", r#"{"bytes":4096}"#, b""),
    ("event.next", "{}", b""),
    ("state.set", r#"{"key":"a"}"#, b"1"),
    ("state.set", r#"{"key":"p/1"}"#, &[1; 3000]),
    ("state.set", r#"{"key":"too"}"#, &[1; 70_000]),
    ("state.get", r#"{"key":"p/1"}"#, b""),
    ("state.get", r#"{"key":"none"}"#, b""),
    ("state.list", r#"{"prefix":"p/"}"#, b""),
    ("state.cas", r#"{"key":"c","expect":"absent"}"#, b"1"),
    ("state.delete", r#"{"key":"a"}"#, b""),
    ("file.write", r#"{"path":"d"}"#, b"file"),
    ("file.read", r#"{"path":"d"}"#, b""),
    ("timer.set", r#"{"name":"t","after_ms":10}"#, b""),
    ("http.fetch", OK, b""),
    ("http.fetch", r#"{"url":"https://api.coingecko.com/big"}"#, b""),
    ("http.fetch", r#"{"url":"https://api.coingecko.com/big"}"#, b"again"),
    ("http.fetch", r#"{"url":"https://api.coingecko.com/late"}"#, b""),
    ("http.fetch", r#"{"url":"https://api.coingecko.com/head"}"#, b""),
    ("http.fetch", r#"{"url":"https://api.coingecko.com/inside"}"#, b""),
    ("http.fetch", r#"{"url":"https://api.coingecko.com/large"}"#, b""),
    ("http.fetch", r#"{"url":"https://api.coingecko.com/gone"}"#, b""),
    ("http.fetch", r#"{"url":"https://example.com/ok"}"#, b""),
    ("http.fetch", r#"{"url":"http://api.coingecko.com/ok"}"#, b""),
    ("ipfs.read", r#"{"cid":"there"}"#, b""),
    ("ipfs.read", r#"{"cid":"nowhere"}"#, b""),
    ("now", "{}", b""),
    ("timer.set", r#"{"name":"u","after_ms":10}"#, b""),
    ("chain.publish", r#"{"topic":"price"}"#, b"1"),
    ("no.such", "{}", b""),
    ("log", r#"{"text":7}"#, b""),
];

/// Turns with all there is, and what the host does between them.
fn everything(isolation: Isolation) -> Recorded {
    let mut run = Recorded::new(isolation, SCRIPT, None, small());
    run.turn(Event::Start);
    run.script(EVERYTHING);
    run.turn(Event::Timer { name: "t".into() });
    run.script(&[("state.get", r#"{"key":"p/1"}"#, b"")]);
    run.released(2);
    run.turn(Event::Tick { block_hash: [8; 32] });
    let long = frame::encode(&json!({"text": "long".repeat(700)}), b"");
    run.turn(Event::Message { from: "agent".into(), body: raw(&[(b"log", &long)]) });
    run.script(&[("chain.publish", r#"{"topic":"price"}"#, b"2"), ("http.fetch", OK, b"")]);
    run.turn(Event::Stop { deadline: NOW });
    run
}

fn every_operation_runs_again() {
    for isolation in BOTH {
        let run = everything(isolation);
        let replayed = run.check();
        assert_eq!((replayed.turns, replayed.observed), (8, 0));
        assert!(replayed.calls > EVERYTHING.len() as u64);
        // The same bytes stand beside it once.
        let big = run.recording.bodies.iter().filter(|(_, body)| *body == [7; 5000]).count();
        assert_eq!(big, 1);
        assert!(run.recording.bodies.iter().any(|(_, body)| *body == [9; 2000]));
    }
}

fn every_end_of_a_turn_runs_again() {
    let mut run = Recorded::new(Isolation::InProcess, HOSTILE, None, small());
    for evil in (0..=13).flat_map(|evil| [evil, 0]) {
        let outcome = run.turn(request(vec![evil])).outcome;
        assert!(outcome.reproducible(), "{evil}: {outcome}");
    }
    let replayed = run.check();
    assert_eq!((replayed.turns, replayed.observed), (28, 0));
}

fn a_resident_runs_again_over_its_births() {
    let limits = Limits { table_elements_max: 1000, ..small() };
    let style = Some(RunStyle::Resident);
    for isolation in BOTH {
        let mut run = Recorded::new(isolation, RESIDENT, style, limits);
        for byte in [0, 0, 1, 0, 2, 0, 3, 0, 5, 0, 6, 0] {
            run.turn(request(vec![byte]));
        }
        run.agent.rebirth();
        run.turn(request(vec![0]));
        run.restart(|launch| launch);
        run.turn(request(vec![0]));
        if let Some(pid) = run.agent.cell_pid() {
            common::kill(pid);
            common::until(|| !common::lives(pid));
        }
        run.turn(request(vec![0]));
        run.turn(request(vec![4]));
        assert_eq!(run.check().turns, 16);
    }
}

fn a_resident_cannot_begin_anywhere() {
    let mut run = Recorded::new(Isolation::InProcess, RESIDENT, Some(RunStyle::Resident), small());
    run.turn(request(vec![0]));
    run.recording = Recording::begin(&mut run.agent, DeploymentId(7), EpochId::new([3; 32]));
    run.turn(request(vec![0]));
    let cannot = run.replay(&run.recording).unwrap_err();
    assert_eq!(cannot, ReplayError::CannotRun(CannotRun::NotAtBirth));
    run.agent.rebirth();
    run.recording = Recording::begin(&mut run.agent, DeploymentId(7), EpochId::new([3; 32]));
    run.turn(request(vec![0]));
    run.check();
}

fn a_program_per_event_runs_again() {
    for isolation in BOTH {
        let mut run = Recorded::new(isolation, EACH, Some(RunStyle::PerEvent), small());
        for code in [0, 3, 0] {
            run.turn(request(vec![code]));
        }
        assert_eq!(run.check().turns, 3);
    }
}

fn a_program_that_knows_no_door_runs_again() {
    for isolation in BOTH {
        for style in [RunStyle::PerEvent, RunStyle::Resident] {
            let mut run = Recorded::new(isolation, NOTES, Some(style), small());
            for text in ["one\n", "two\n"] {
                run.turn(request(text.into()));
            }
            assert_eq!(run.check().turns, 2);
        }
        let mut run = Recorded::new(isolation, NOTES, Some(RunStyle::PerEvent), small());
        run.turn(request(b"one\n".to_vec()));
        let answer = run.turn(request(b"two\n".to_vec())).answer.unwrap();
        assert_eq!(answer.body, b"one\ntwo\n");
    }
}

fn a_reactor_runs_again_from_any_turn() {
    let mut run = Recorded::new(Isolation::InProcess, HOSTILE, None, small());
    for evil in [0, 2, 0] {
        run.turn(request(vec![evil]));
    }
    run.recording = Recording::begin(&mut run.agent, DeploymentId(7), EpochId::new([3; 32]));
    run.check();
    for evil in [2, 0, 0] {
        run.turn(request(vec![evil]));
    }
    let replayed = run.check();
    assert_eq!((replayed.from.turn, replayed.to.turn), (3, 6));
}

fn record_if_asked() {
    let mut arguments = std::env::args().skip(1);
    if arguments.next().as_deref() == Some(RECORD) {
        let run = everything(Isolation::Process);
        std::fs::write(arguments.next().unwrap(), run.recording.encode()).unwrap();
        std::process::exit(0);
    }
}

#[expect(clippy::disallowed_methods, reason = "another node is another process")]
fn what_another_process_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("recorded.run");
    let recorder = std::process::Command::new(std::env::current_exe().unwrap())
        .arg(RECORD)
        .arg(&path)
        .status();
    assert!(recorder.unwrap().success());
    let mut here = everything(Isolation::InProcess);
    here.recording = Recording::decode(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(here.check().turns, 8);
}

/// Shoots its own cell when it is asked for something.
struct Shooter {
    pid: std::sync::Arc<std::sync::atomic::AtomicU32>,
    world: Box<World>,
}

impl Outside for Shooter {
    fn fetch(
        &mut self,
        permit: Permit,
        request: FetchRequest,
        call: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        let pid = self.pid.load(std::sync::atomic::Ordering::SeqCst);
        if pid != 0 {
            common::kill(pid);
            common::until(|| !common::lives(pid));
        }
        self.world.fetch(permit, request, call)
    }
    fn ipfs(&mut self, cid: &str, max: u64) -> Result<Vec<u8>, OutsideError> {
        self.world.ipfs(cid, max)
    }
    fn random(&mut self, out: &mut [u8]) {
        self.world.random(out);
    }
    fn now(&mut self) -> Timestamp {
        self.world.now()
    }
    fn before_outside(&mut self, _: &[u8], _: &Bodies) {}
}

fn a_turn_that_was_shot() {
    let mut run = Recorded::new(Isolation::Process, SCRIPT, None, small());
    let pid = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    let outside = Shooter { pid: pid.clone(), world: World::boxed() };
    run.agent = Agent::start(&run.bench.runtime, run.launch.clone(), Box::new(outside)).unwrap();
    run.turn(Event::Start);
    let shoot = |run: &mut Recorded| {
        pid.store(run.agent.cell_pid().unwrap(), std::sync::atomic::Ordering::SeqCst);
        let turned = run.script(&[
            ("log", r#"{"text":"before"}"#, b""),
            ("state.set", r#"{"key":"a"}"#, b"1"),
            ("http.fetch", OK, b""),
            ("log", r#"{"text":"never"}"#, b""),
        ]);
        assert!(matches!(turned.outcome, Outcome::Killed { .. }), "{:?}", turned.outcome);
        let lines: Vec<_> = turned.commit.logs.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines[0], "before");
        assert!(lines.len() == 3 && lines[2].contains("not kept"), "{lines:?}");
        pid.store(0, std::sync::atomic::Ordering::SeqCst);
    };
    shoot(&mut run);
    run.script(&[("state.get", r#"{"key":"a"}"#, b"")]);
    shoot(&mut run);
    run.turn(Event::Start);
    let replayed = run.check();
    assert_eq!((replayed.turns, replayed.observed), (5, 2));

    // What is said of it is in the log, and what it did before is compared.
    let end = |all: &mut Vec<Entry>, change: &dyn Fn(&mut u8, &mut String)| {
        let end = all.iter_mut().find_map(|entry| match entry {
            Entry::End { turn: 2, outcome, why, .. } => Some((outcome, why)),
            _ => None,
        });
        let (outcome, why) = end.unwrap();
        change(outcome, why);
    };
    let forged = run.forged(|all, _| end(all, &|_, why| why.push('!')));
    run.check_differs(&forged, 5, None, What::LogRoot);
    let forged =
        run.forged(|all, _| end(all, &|outcome, why| (*outcome, *why) = (4, String::new())));
    run.check_differs(&forged, 5, None, What::LogRoot);
    let forged = run.forged(|all, _| {
        change_call(all, 2, 2, |entry| match entry {
            Entry::Call { input, .. } => input[0] ^= 1,
            other => panic!("{other:?}"),
        })
    });
    run.check_differs(&forged, 2, Some(2), What::Input);
}

fn a_turn_that_took_too_long() {
    let limits = Limits { wall_turn_millis: 400, fuel_turn: 1 << 40, ..small() };
    let mut run = Recorded::new(Isolation::Process, HOSTILE, None, limits);
    run.turn(request(vec![0]));
    assert_eq!(run.turn(request(vec![1])).outcome, Outcome::Wall);
    run.turn(request(vec![0]));
    // It loops for ever behind its last call, and a replay does not go there.
    let replayed = run.check();
    assert_eq!((replayed.turns, replayed.observed), (3, 1));
}

fn a_machine_that_cannot_run_a_turn_says_nothing_against_it() {
    let limits = Limits { wall_turn_millis: 40, fuel_turn: 1 << 40, ..small() };
    let mut run = Recorded::new(Isolation::Process, HOSTILE, None, limits);
    run.turn(request(vec![0]));
    assert_eq!(run.turn(request(vec![1])).outcome, Outcome::Wall);
    // A node that says that the endless turn ended well is not believed, but this machine cannot show it.
    let forged = run.forged(|all, _| {
        for entry in all {
            if let Entry::End { turn: 2, outcome, why, .. } = entry {
                (*outcome, *why) = (0, String::new());
            }
        }
    });
    let refused = run.replay(&forged);
    let here = matches!(refused, Err(ReplayError::CannotRun(CannotRun::Here { turn: 2, .. })));
    assert!(here, "{refused:?}");
}

/// Keeps what it was told before anything was done outside.
struct Witness {
    told: std::sync::Arc<std::sync::Mutex<(Vec<u8>, Bodies)>>,
    world: Box<World>,
}

impl Outside for Witness {
    fn fetch(
        &mut self,
        permit: Permit,
        request: FetchRequest,
        call: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        self.world.fetch(permit, request, call)
    }
    fn ipfs(&mut self, cid: &str, max: u64) -> Result<Vec<u8>, OutsideError> {
        self.world.ipfs(cid, max)
    }
    fn random(&mut self, out: &mut [u8]) {
        self.world.random(out);
    }
    fn now(&mut self) -> Timestamp {
        self.world.now()
    }
    fn before_outside(&mut self, transcript: &[u8], bodies: &Bodies) {
        *self.told.lock().unwrap() = (transcript.to_vec(), bodies.clone());
    }
}

fn a_turn_that_was_lost() {
    for isolation in BOTH {
        let mut run = Recorded::new(isolation, SCRIPT, None, small());
        run.script(&[("timer.set", r#"{"name":"t","after_ms":10}"#, b"")]);
        let kept = run.agent.snapshot();
        // A node that dies in the second fetch of a turn has told of it.
        let told = std::sync::Arc::<std::sync::Mutex<(Vec<u8>, Bodies)>>::default();
        let outside = Box::new(Witness { told: told.clone(), world: World::boxed() });
        let snapshot = Snapshot::decode(&kept).unwrap();
        let launch = Launch { snapshot, ..run.launch.clone() };
        let mut dying = Agent::start(&run.bench.runtime, launch, outside).unwrap();
        let big = r#"{"url":"https://api.coingecko.com/big"}"#;
        let calls = raw(&[
            (b"log", &frame::encode(&json!({"text": "lost"}), b"")),
            (b"http.fetch", &frame::encode(&serde_json::from_str(big).unwrap(), b"")),
            (b"http.fetch", &frame::encode(&serde_json::from_str(OK).unwrap(), b"")),
        ]);
        dying.turn(request(calls), run.at.plus_millis(500));
        let (transcript, bodies) = told.lock().unwrap().clone();

        run.restart(|launch| launch);
        let commit = run.agent.interrupted(&transcript, &bodies).unwrap().unwrap();
        let lines: Vec<_> = commit.logs.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(lines, ["turn 2 is not kept: the node stopped while it ran"]);
        run.recording.extend([&commit], run.agent.marks());
        assert_eq!(run.agent.interrupted(&transcript, &bodies), Ok(None), "it has its end");
        run.turn(Event::Timer { name: "t".into() });
        let replayed = run.check();
        assert_eq!((replayed.turns, replayed.observed), (3, 1));
        for cut in [1, transcript.len() / 2, transcript.len() - 1] {
            run.restart(|launch| launch);
            let _ = run.agent.interrupted(&transcript[..cut], &bodies);
        }
    }
}

fn a_trap_rolls_state_back() {
    let mut run = Recorded::new(Isolation::InProcess, HOSTILE, None, small());
    run.turn(request(vec![0]));
    let before = run.agent.marks().state_root;
    assert!(matches!(run.turn(request(vec![2])).outcome, Outcome::Trap { .. }));
    assert_eq!(run.agent.marks().state_root, before);
    assert_eq!(run.agent.state().key("k"), None);
    run.check();
    let mut forged = run.recording.clone();
    forged.claim.state_root = StateRoot::new([1; 32]);
    let found = run.check_differs(&forged, 2, None, What::StateRoot);
    assert_eq!(found.found, before.to_string());
}

fn new_bounds_begin_at_a_birth() {
    let mut run = Recorded::new(Isolation::InProcess, HOSTILE, None, small());
    assert_eq!(run.turn(request(vec![1])).outcome, Outcome::Fuel);
    run.restart(|launch| Launch {
        limits: Limits { fuel_turn: 10_000_000, ..launch.limits },
        ..launch
    });
    assert_eq!(run.turn(request(vec![1])).outcome, Outcome::Fuel);
    poke(&mut run.agent, 0);
    run.recording.claim = run.agent.marks();
    // That last turn is not in it.
    run.check_differs(&run.recording, 3, None, What::Turn);
    let mut run = Recorded::new(Isolation::InProcess, SCRIPT, None, small());
    let value = [1; 40_000];
    run.script(&[("state.set", r#"{"key":"a"}"#, &value), ("state.set", r#"{"key":"b"}"#, &value)]);
    assert_eq!(run.agent.state().key("b"), None);
    // A snapshot made under another quota.
    run.restart(|launch| Launch { quota: ByteSize::kib(128), ..launch });
    run.recording = Recording::begin(&mut run.agent, DeploymentId(7), EpochId::new([3; 32]));
    run.script(&[("state.set", r#"{"key":"b"}"#, &value)]);
    assert!(run.agent.state().key("b").is_some());
    run.check();
    // What the package says is what counts.
    run.launch.quota = ByteSize::kib(64);
    run.check_differs(&run.recording, 0, None, What::Limits);
}

fn another_version_ends_a_recording() {
    let mut run = Recorded::new(Isolation::InProcess, SCRIPT, None, small());
    run.turn(Event::Start);
    let first = run.launch.clone();
    let snapshot = Snapshot::decode(&run.agent.snapshot()).unwrap().without_machine();
    let module = run.bench.prepare(HOSTILE, None).unwrap();
    let launch = Launch { module, snapshot, manifest: [6; 32], ..run.launch.clone() };
    let before = run.recording.clone();
    run.agent = Agent::start(&run.bench.runtime, launch.clone(), World::boxed()).unwrap();
    let begun = Recording::begin(&mut run.agent, DeploymentId(7), EpochId::new([3; 32]));
    let turned = run.turn(Event::Upgraded { from_version: "1.0.0".into() });
    assert_eq!(
        run.replay(&run.recording),
        Err(ReplayError::CannotRun(CannotRun::Upgraded { turn: 1 }))
    );
    run.replay(&before).unwrap();
    run.recording = begun;
    run.recording.extend([&turned.commit], run.agent.marks());
    assert_eq!(run.replay(&run.recording), Err(ReplayError::CannotRun(CannotRun::Package)));
    run.launch = Launch { module: launch.module, manifest: [6; 32], ..first };
    run.check();
}

fn change_call(all: &mut [Entry], of_turn: u64, of_call: u32, change: impl FnOnce(&mut Entry)) {
    let entry = all.iter_mut().find(
        |entry| matches!(entry, Entry::Call { turn, call, .. } if (*turn, *call) == (of_turn, of_call)),
    );
    change(entry.unwrap());
}

fn the_first_entry_that_was_changed() {
    let run = everything(Isolation::InProcess);
    run.check();
    // The script's first call is event.next, so the place of one of EVERYTHING is one more.
    let check = |call: u32, change: &dyn Fn(&mut Entry), what: What| {
        let forged = run.forged(|all, _| change_call(all, 2, call, change));
        run.check_differs(&forged, 2, Some(call), what);
    };
    let of =
        |wanted: &str| EVERYTHING.iter().position(|(op, ..)| *op == wanted).unwrap() as u32 + 1;
    check(of("log"), &|entry| set_op(entry, "now"), What::Operation);
    check(of("state.get"), &|entry| set_code(entry, 1), What::Code);
    check(of("no.such"), &|entry| set_code(entry, 6), What::Code);
    check(of("state.set"), &|entry| set_input(entry), What::Input);
    check(of("chain.publish"), &|entry| set_input(entry), What::Input);
    check(of("random"), &|entry| set_code(entry, 15), What::Code);
    // An answer from outside may be anything that a node could have written, and nothing else.
    let answer = |bytes: &'static [u8]| {
        move |entry: &mut Entry| match entry {
            Entry::Call { answer, code, .. } => {
                *answer = Some(Frame::of(bytes, &mut Vec::new()));
                if *code > 0 {
                    *code = bytes.len() as i32;
                }
            }
            other => panic!("{other:?}"),
        }
    };
    check(of("http.fetch"), &answer(b"\x02\0\0\0{}"), What::Code);
    check(of("http.fetch"), &answer(b"nothing"), What::Code);
    check(of("random"), &answer(b"\x03\0\0\0{ }12345678"), What::Code);
    // Fuel and ends.
    let ended = |change: &dyn Fn(&mut u8, &mut u64)| {
        run.forged(|all, _| {
            for entry in all {
                if let Entry::End { turn: 4, outcome, fuel, .. } = entry {
                    change(outcome, fuel);
                }
            }
        })
    };
    run.check_differs(&ended(&|_, fuel| *fuel += 1), 4, None, What::Fuel);
    run.check_differs(&ended(&|outcome, _| *outcome = 1), 4, None, What::Outcome);
    // The event's time decides what a turn sees.
    let forged = run.forged(|all, _| {
        for entry in all {
            if let Entry::Event { turn: 4, at, .. } = entry {
                *at = at.plus_millis(1);
            }
        }
    });
    run.check_differs(&forged, 4, None, What::Event);
    let forged = run.forged(|all, _| match &mut all[0] {
        Entry::Birth { state_root, .. } => *state_root = StateRoot::new([1; 32]),
        other => panic!("{other:?}"),
    });
    run.check_differs(&forged, 1, None, What::StateRoot);
    // An answer that an outside could have given is found where the agent makes something of it.
    let forged = run.forged(|all, _| {
        change_call(all, 2, of("http.fetch"), |entry| match entry {
            Entry::Call { answer: Some(answer), .. } => {
                let mut whole = answer.join(|_| None).unwrap();
                *whole.last_mut().unwrap() ^= 1;
                *answer = Frame::of(&whole, &mut Vec::new());
            }
            other => panic!("{other:?}"),
        })
    });
    let last = EVERYTHING.len() as u32 + 1;
    let found = run.check_differs(&forged, 2, Some(last), What::Input);
    assert_eq!(found.recorded.len(), 64);
}

fn set_op(entry: &mut Entry, to: &'static str) {
    let (Entry::Call { op, .. } | Entry::Intent { op, .. }) = entry else { panic!("{entry:?}") };
    *op = to.into();
}

fn set_code(entry: &mut Entry, to: i32) {
    let Entry::Call { code, .. } = entry else { panic!("{entry:?}") };
    *code = to;
}

fn set_input(entry: &mut Entry) {
    let Entry::Call { input, .. } = entry else { panic!("{entry:?}") };
    input[31] ^= 1;
}

fn an_entry_removed_added_or_moved() {
    let run = everything(Isolation::InProcess);
    let length = entries(&run.recording.transcript).count();
    for place in 0..length {
        for change in 0..3 {
            if change == 2 && place + 1 == length {
                continue;
            }
            let forged = run.forged(|all, _| match change {
                0 => drop(all.remove(place)),
                1 => all.insert(place, all[place].clone()),
                _ => all.swap(place, place + 1),
            });
            let original: Vec<Entry> =
                entries(&run.recording.transcript).map(|entry| entry.unwrap().0).collect();
            if forged.transcript == run.recording.transcript {
                continue;
            }
            let turn_of = |entry: &Entry| match entry {
                Entry::Birth { turn, .. } => turn + 1,
                Entry::Event { turn, .. }
                | Entry::Intent { turn, .. }
                | Entry::Call { turn, .. }
                | Entry::End { turn, .. } => *turn,
                Entry::Released { .. } => u64::MAX,
            };
            match run.replay(&forged) {
                Err(ReplayError::Differs(found)) => {
                    let turn = turn_of(&original[place]);
                    let named = turn == u64::MAX || found.turn.abs_diff(turn) <= 1;
                    assert!(named, "{change} at {place}, turn {turn}: {found}");
                }
                Err(ReplayError::Malformed(_)) => {}
                // What is done twice between turns is done.
                Ok(_) if change == 1 && turn_of(&original[place]) == u64::MAX => {}
                other => panic!("{change} at {place}: {other:?}"),
            }
            // A change that is no lie all through is found whatever it is.
            let claim = run.recording.claim;
            assert!(run.replay(&Recording { claim, ..forged }).is_err(), "{change} at {place}");
        }
    }
}

fn a_call_judged_wrongly() {
    let mut run = Recorded::new(Isolation::InProcess, SCRIPT, None, small());
    run.script(&[("http.fetch", r#"{"url":"https://example.com/ok"}"#, b"")]);
    run.script(&[("http.fetch", OK, b"")]);
    run.check();
    // The node allowed what the manifest does not.
    let strict = run.launch.policy.clone();
    run.launch.policy = Policy::default();
    run.check_differs(&run.recording, 2, Some(1), What::Operation);
    // The node refused what the manifest allows.
    let open = ["network_outbound:api.coingecko.com", "network_outbound:example.com"];
    run.launch.policy = Policy::new(open.iter().map(|line| (line.parse().unwrap(), 0)).collect());
    run.check_differs(&run.recording, 1, Some(1), What::Operation);
    run.launch.policy = strict;
    // It hides that it asked.
    let forged = run.forged(|all, _| {
        let intent = all.iter().position(|entry| matches!(entry, Entry::Intent { .. }));
        all.remove(intent.unwrap());
    });
    run.check_differs(&forged, 2, Some(1), What::Operation);
}

fn a_claim_that_does_not_hold() {
    let run = everything(Isolation::InProcess);
    let check = |change: &dyn Fn(&mut Recording), what| {
        let mut forged = run.recording.clone();
        change(&mut forged);
        run.check_differs(&forged, forged.claim.turn, None, what);
    };
    let zeros = [0; 32];
    check(&|forged| forged.claim.turn += 1, What::Turn);
    check(&|forged| forged.claim.state_root = StateRoot::new(zeros), What::StateRoot);
    check(&|forged| forged.claim.log_root = LogRoot::new(zeros), What::LogRoot);
    check(
        &|forged| forged.claim.transcript_root = TranscriptRoot::new(zeros),
        What::TranscriptRoot,
    );
    check(&|forged| forged.claim.fuel -= 1, What::Fuel);
}

fn what_cannot_be_run_is_no_verdict() {
    let run = everything(Isolation::InProcess);
    let check = |change: &dyn Fn(&mut Recording), expected: CannotRun| {
        let mut other = run.recording.clone();
        change(&mut other);
        let error = run.replay(&other).unwrap_err();
        assert_eq!(error.code(), "DAEE-R031", "{error}");
        assert_eq!(error, ReplayError::CannotRun(expected));
    };
    check(&|other| other.runtime_version = 77, CannotRun::RuntimeVersion { recorded: 77 });
    check(&|other| other.manifest = [0; 32], CannotRun::Package);
    let first = run.recording.bodies[0].0;
    check(&|other| drop(other.bodies.remove(0)), CannotRun::Missing(first));
    check(&|other| other.bodies[0].1.push(0), CannotRun::Missing(first));
    check(
        &|other| other.limits.door_frame_max = ByteSize(u64::MAX),
        CannotRun::Limits("size of an input or answer"),
    );
    check(&|other| other.limits.fuel_turn = u64::MAX, CannotRun::Limits("fuel of a turn"));
}

fn what_is_no_recording_is_refused() {
    let run = everything(Isolation::InProcess);
    let good = run.recording.encode();
    assert_eq!(Recording::decode(&good).unwrap(), run.recording);
    for cut in (0..good.len()).step_by(97).chain([good.len() - 1]) {
        assert!(Recording::decode(&good[..cut]).is_err(), "{cut}");
    }
    for at in (0..good.len()).step_by(89) {
        let mut bent = good.clone();
        bent[at] ^= 1;
        assert!(Recording::decode(&bent).is_err(), "{at}");
    }
    let check = |change: &dyn Fn(&mut Recording)| {
        let mut bad = run.recording.clone();
        change(&mut bad);
        let error = run.replay(&bad).unwrap_err();
        assert_eq!(error.code(), "DAEE-R032", "{error}");
    };
    check(&|bad| bad.transcript.truncate(bad.transcript.len() - 1));
    check(&|bad| bad.snapshot.truncate(bad.snapshot.len() - 1));
    check(&|bad| bad.transcript[4] = 99);
    check(&|bad| bad.transcript.extend([0; 4]));
    check(&|bad| bad.transcript.extend(u32::MAX.to_le_bytes()));
}

fn whoever_watches_may_stop_it() {
    let run = everything(Isolation::InProcess);
    let mut seen = Vec::new();
    let stopped = replay(&run.bench.runtime, run.launch.clone(), &run.recording, |step| {
        seen.push((step.turn, step.last, step.turned.outcome.clone()));
        if step.turn == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(stopped, Err(ReplayError::CannotRun(CannotRun::Stopped { turn: 2 })));
    assert_eq!(seen, [(1, 8, Outcome::Done), (2, 8, Outcome::Done)]);
}

#[derive(Clone, Debug)]
enum Step {
    /// Calls of [`EVERYTHING`], some with a byte of their input bent.
    Script(Vec<(prop::sample::Index, Option<(prop::sample::Index, u8)>)>),
    Timer,
    Released,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    let bend = proptest::option::weighted(0.2, (any::<prop::sample::Index>(), 1..=255_u8));
    let calls = proptest::collection::vec((any::<prop::sample::Index>(), bend), 0..12);
    prop_oneof![
        4 => calls.prop_map(Step::Script),
        1 => Just(Step::Timer),
        1 => Just(Step::Released),
        1 => Just(Step::Restart),
    ]
}

fn cases(cases: u32) -> TestRunner {
    let config = ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() };
    TestRunner::new(config)
}

fn whatever_an_agent_asks_runs_again() {
    cases(40)
        .run(&proptest::collection::vec(step(), 1..8), |steps| {
            let mut run = Recorded::new(Isolation::InProcess, SCRIPT, None, small());
            for step in steps {
                match step {
                    Step::Script(calls) => {
                        let calls: Vec<_> = calls
                            .iter()
                            .map(|(which, bend)| {
                                let (op, head, body) = which.get(EVERYTHING);
                                let head: Value = serde_json::from_str(head).unwrap();
                                let mut input = frame::encode(&head, body);
                                if let Some((at, bend)) = bend {
                                    *at.get_mut(&mut input) ^= bend;
                                }
                                (op.as_bytes(), input)
                            })
                            .collect();
                        let calls: Vec<_> =
                            calls.iter().map(|(op, input)| (*op, &input[..])).collect();
                        run.turn(request(raw(&calls)));
                    }
                    Step::Timer => drop(run.turn(Event::Timer { name: "t".into() })),
                    Step::Released => run.released(run.recording.claim.turn),
                    Step::Restart => run.restart(|launch| launch),
                }
            }
            let replayed = run.replay(&run.recording);
            prop_assert!(replayed.is_ok(), "{replayed:?}");
            Ok(())
        })
        .unwrap();
}

fn no_byte_of_a_recording_can_be_another() {
    let run = everything(Isolation::InProcess);
    let from = run.replay(&run.recording).unwrap().from;
    // What no root covers and no replay uses: the quota, which comes with the limits, and a count.
    let plain = |bytes: &[u8]| {
        let mut snapshot = Snapshot::decode(bytes).ok()?;
        snapshot.state.set_quota(ByteSize(0));
        let chain = &mut snapshot.progress.transcript;
        *chain = Transcript::resume(chain.root(), 0);
        Some(snapshot)
    };
    let flips = (0..10_u8, any::<prop::sample::Index>(), 0..8_u8);
    cases(150)
        .run(&flips, |(part, at, bit)| {
            let mut bent = run.recording.clone();
            let flip = |bytes: &mut [u8]| *at.get_mut(bytes) ^= 1 << bit;
            match part {
                0..4 => flip(&mut bent.transcript),
                4..6 => {
                    let which = at.index(bent.bodies.len());
                    flip(&mut bent.bodies[which].1);
                }
                6..8 => flip(&mut bent.snapshot),
                _ => {
                    let mut roots = [
                        *bent.claim.state_root.as_bytes(),
                        *bent.claim.log_root.as_bytes(),
                        *bent.claim.transcript_root.as_bytes(),
                    ];
                    flip(roots.as_flattened_mut());
                    let [state, log, transcript] = roots;
                    bent.claim.state_root = StateRoot::new(state);
                    bent.claim.log_root = LogRoot::new(log);
                    bent.claim.transcript_root = TranscriptRoot::new(transcript);
                }
            }
            let replayed = run.replay(&bent);
            let found = replayed.as_ref().map_or(true, |replayed| replayed.from != from);
            prop_assert!(
                found || plain(&bent.snapshot) == plain(&run.recording.snapshot),
                "{replayed:?}"
            );
            if !(6..8).contains(&part) {
                prop_assert!(replayed.is_err(), "{replayed:?}");
            }
            Ok(())
        })
        .unwrap();
}
