//! Agents from outside, in jailed processes and, where walls are not the point, in threads too. This program is
//! started again for each cell, so it has a `main` of its own that calls `child_main` first.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::{Bench, Counted, NOW, answers, check_script, entries, poke, policy, request, script};
use daee_artifact::Artifact;
use daee_runtime::{
    Agent, CallKey, CompileLimits, Event, FetchAnswer, FetchRequest, Isolation, Launch, Limits,
    Nothing, Outcome, Outside, OutsideError, RunStyle, Runtime, RuntimeConfig, Snapshot,
};
use daee_state::{Delta, State};
use daee_transcript::Entry;
use daee_types::{ArtifactHash, ByteSize, Coded as _, Fault, Timestamp};

const SCRIPT: &str = include_str!("guests/script.wat");
const HOSTILE: &str = include_str!("guests/hostile.wat");
const RESIDENT: &str = include_str!("guests/resident.wat");
const EACH: &str = include_str!("guests/each.wat");
const BOTH: [Isolation; 2] = [Isolation::Process, Isolation::InProcess];

fn main() {
    daee_runtime::child_main();
    common::supervise_a_loop_if_asked(HOSTILE);
    common::run(&[
        ("every_wall_stands_here", every_wall_stands_here),
        ("a_reactor_keeps_what_it_was_told", a_reactor_keeps_what_it_was_told),
        ("a_loop_ends_of_fuel", || check_evil(1, Outcome::Fuel)),
        ("a_trap_ends_the_turn", || check_evil(2, trap("unreachable"))),
        ("deep_recursion_ends_the_turn", || check_evil(3, Outcome::Stack)),
        ("deep_recursion_of_wide_frames_does_too", deep_recursion_of_wide_frames_does_too),
        ("a_memory_bomb_is_bounded", || check_evil(5, Outcome::Memory)),
        ("filling_memory_costs_by_its_length", || check_evil(6, Outcome::Fuel)),
        ("a_flood_of_log_lines_is_cut", a_flood_of_log_lines_is_cut),
        ("a_flood_of_calls_is_cut", a_flood_of_calls_is_cut),
        ("an_agent_can_roll_its_turn_back", || check_evil(9, Outcome::RolledBack { code: 9 })),
        ("a_division_by_zero_ends_the_turn", || check_evil(10, trap("integer divide by zero"))),
        ("an_address_outside_ends_the_turn", || check_evil(11, trap("out of bounds"))),
        ("the_largest_address_and_offset_end_the_turn", || check_evil(12, trap("out of bounds"))),
        ("reading_answers_costs_fuel", || check_evil(13, Outcome::Fuel)),
        ("a_loop_ends_of_wall_time_and_its_process_with_it", a_loop_ends_of_wall_time),
        ("what_a_turn_computes_is_charged", what_a_turn_computes_is_charged),
        ("a_turn_without_an_answer_is_a_turn", a_turn_without_an_answer_is_a_turn),
        ("what_is_no_input_is_refused_and_the_turn_goes_on", what_is_no_input_is_refused),
        ("too_large_is_refused_on_both_sides_of_the_door", too_large_is_refused),
        ("a_denial_names_the_line_that_would_allow_it", a_denial_names_the_line),
        ("a_cell_killed_in_a_turn_costs_that_turn_only", a_cell_killed_in_a_turn),
        ("a_cell_killed_between_turns_costs_nothing", a_cell_killed_between_turns),
        ("cells_die_with_their_supervisor", cells_die_with_their_supervisor),
        ("both_isolations_come_to_the_same_bytes", both_isolations_come_to_the_same_bytes),
        ("an_agent_goes_on_elsewhere_from_its_snapshot", an_agent_goes_on_elsewhere),
        ("deltas_alone_come_to_the_same_state", deltas_alone_come_to_the_same_state),
        ("kept_memory_of_another_module_is_refused", kept_memory_of_another_module_is_refused),
        ("a_rolled_back_timer_has_fired_all_the_same", a_rolled_back_timer_has_fired),
        ("effects_wait_until_they_are_released", effects_wait_until_they_are_released),
        ("a_resident_keeps_its_memory_between_events", a_resident_keeps_its_memory),
        ("a_residents_births_are_in_the_transcript", a_residents_births),
        ("a_resident_that_fails_is_born_again", a_resident_that_fails_is_born_again),
        ("asking_wrongly_for_events_gives_no_fuel", asking_wrongly_for_events_gives_no_fuel),
        ("tables_are_bounded", tables_are_bounded),
        ("a_program_per_event_starts_afresh", a_program_per_event_starts_afresh),
        ("files_of_a_module_are_in_its_cell", files_of_a_module_are_in_its_cell),
        ("the_oracles_that_are_published_run_in_cells", || {
            common::run_oracles(Isolation::Process);
        }),
        ("a_component_is_refused_with_its_fix", a_component_is_refused_with_its_fix),
        ("a_reactor_that_cannot_be_kept_is_refused", a_reactor_that_cannot_be_kept_is_refused),
        ("a_module_larger_than_its_limits_does_not_start", a_module_larger_than_its_limits),
        ("modules_that_pass_the_check_load", modules_that_pass_the_check_load),
        ("compiling_is_bounded", compiling_is_bounded),
        ("a_cell_killed_at_any_moment_leaves_nothing", a_cell_killed_at_any_moment),
        ("a_warm_cell_that_died_is_not_given_out", a_warm_cell_that_died_is_not_given_out),
        ("a_warm_cell_becomes_the_agents", a_warm_cell_becomes_the_agents),
        ("a_cache_that_another_hand_wrote_is_not_run", a_cache_that_another_hand_wrote_is_not_run),
    ]);
}

fn every_wall_stands_here() {
    let report = Bench::new(Isolation::Process).runtime.sandbox();
    // Level 1 is what every kernel gives that we run on; what is missing above it is named.
    assert!(report.level >= 1, "{report:?}");
    println!("sandbox level {}", report.level);
    assert_eq!(Bench::new(Isolation::InProcess).runtime.sandbox().level, 0);
}

fn a_reactor_keeps_what_it_was_told() {
    let bench = Bench::new(Isolation::Process);
    let mut agent = bench.start(SCRIPT);
    assert!(agent.cell_pid().is_some());
    check_script(&mut agent, &[("state.set", r#"{"key":"a"}"#, b"1")], &[(6, "{}", b"")]);
    check_script(&mut agent, &[("state.get", r#"{"key":"a"}"#, b"")], &[(7, "{}", b"1")]);
    assert_eq!(agent.state().key("a"), Some(&b"1"[..]));
}

/// By the cell's own clock, or by the turn's time where the cell has none or is gone.
fn what_a_turn_computes_is_charged() {
    for isolation in BOTH {
        let bench = Bench::new(isolation);
        let mut agent = bench.start_with(HOSTILE, None, Limits::default());
        // The start of the cell is in its first turn.
        agent.turn(request(vec![0]), NOW);
        // The least of some: a turn of a cell without a clock of its own waits for a core as well.
        let turns = (0..5).map(|_| {
            agent.turn(request(vec![0]), NOW);
            agent.cpu_turn()
        });
        let idle = turns.min().expect("there are five");
        assert_eq!(agent.turn(request(vec![1]), NOW).outcome, Outcome::Fuel);
        let busy = agent.cpu_turn();
        assert!(busy > 10 * idle, "{isolation:?}: {busy:?} beside {idle:?}");
    }
    let wall = Limits { wall_turn_millis: 300, fuel_turn: u64::MAX, ..Limits::default() };
    let bench = Bench::new(Isolation::Process);
    let mut agent = bench.start_with(HOSTILE, None, wall);
    assert_eq!(agent.turn(request(vec![1]), NOW).outcome, Outcome::Wall);
    assert!(!agent.cpu_turn().is_zero(), "a cell that had to be killed is charged too");
}

fn trap(what: &str) -> Outcome {
    Outcome::Trap { what: what.into() }
}

fn small() -> Limits {
    Limits {
        fuel_turn: 100_000_000,
        memory_max: ByteSize::mib(8),
        door_calls_max: 2_000,
        log_turn_max: ByteSize::kib(4),
        ..Limits::default()
    }
}

/// A bad turn between two good ones: it ends as said and leaves nothing, the next goes on where the first stood,
/// and a neighbour notices nothing.
fn check_evil(evil: u8, expected: Outcome) {
    for isolation in BOTH {
        let bench = Bench::new(isolation);
        let mut agent = bench.start_with(HOSTILE, None, small());
        let mut neighbour = bench.start_with(HOSTILE, None, small());
        assert_eq!(poke(&mut agent, 0), Some(Counted { memory: 1, global: 1 }));
        assert_eq!(poke(&mut neighbour, 0), Some(Counted { memory: 1, global: 1 }));
        let (state, before) = (agent.state().clone(), agent.marks());

        let turned = agent.turn(request(vec![evil]), NOW);
        match (&turned.outcome, &expected) {
            (Outcome::Trap { what: found }, Outcome::Trap { what }) => {
                assert!(found.contains(what.as_str()), "{found}");
            }
            _ => assert_eq!(turned.outcome, expected),
        }
        assert_eq!(turned.outcome.fault(), Some(Fault::Developer));
        assert!(turned.outcome.reproducible());
        assert_eq!((turned.answer, turned.effects), (None, vec![]));
        assert_eq!(agent.state(), &state);
        let after = agent.marks();
        assert_eq!(after.state_root, before.state_root);
        assert_eq!(after.turn, before.turn + 1);
        assert_ne!(after.transcript_root, before.transcript_root, "it is recorded");
        let last = turned.commit.logs.last().expect("it is in the log");
        assert!(last.text.contains("not kept"), "{}", last.text);

        assert_eq!(poke(&mut agent, 0), Some(Counted { memory: 2, global: 2 }));
        assert_eq!(poke(&mut neighbour, 0), Some(Counted { memory: 2, global: 2 }));
    }
}

fn deep_recursion_of_wide_frames_does_too() {
    // Each call keeps 1,000 values that are needed behind the call, so that the stack ends before the count does.
    let values = 0..1000;
    let locals: String = values.clone().map(|n| format!("(local $v{n} i64)")).collect();
    let before: String = values
        .clone()
        .map(|n| format!("(local.set $v{n} (i64.rotl (local.get 0) (i64.const {n})))"))
        .collect();
    let behind: String = values
        .map(|n| format!("(local.set $sum (i64.xor (local.get $sum) (local.get $v{n})))"))
        .collect();
    let wat = format!(
        r#"(module (memory (export "memory") 1)
        (func $deep (param i64) (result i64) (local $sum i64) {locals} {before}
            (local.set $sum (call $deep (i64.mul (local.get 0) (i64.const 3)))) {behind} (local.get $sum))
        (func (export "daee_turn") (result i32) (drop (call $deep (i64.const 7))) (i32.const 0)))"#
    );
    for isolation in BOTH {
        let mut agent = Bench::new(isolation).start(&wat);
        for _ in 0..2 {
            assert_eq!(agent.turn(Event::Start, NOW).outcome, Outcome::Stack);
        }
    }
}

fn a_flood_of_log_lines_is_cut() {
    for isolation in BOTH {
        let mut agent = Bench::new(isolation).start_with(HOSTILE, None, small());
        let turned = agent.turn(request(vec![7]), NOW);
        assert_eq!(turned.outcome, Outcome::Fuel);
        let lines = turned.commit.logs;
        assert_eq!(lines.iter().filter(|line| line.text.contains("cut here")).count(), 1);
        assert!(lines.len() < 100, "{}", lines.len());
        assert!(turned.commit.transcript.len() < 1 << 20, "{}", turned.commit.transcript.len());
    }
}

fn a_flood_of_calls_is_cut() {
    for isolation in BOTH {
        let mut agent = Bench::new(isolation).start_with(HOSTILE, None, small());
        let turned = agent.turn(request(vec![8]), NOW);
        assert_eq!(turned.outcome, Outcome::Fuel);
        let entries = entries(&turned.commit.transcript);
        let calls = entries.iter().filter(|entry| matches!(entry, Entry::Call { .. })).count();
        assert_eq!(calls, 2_000, "what is over the limit is not even recorded");
    }
}

fn a_loop_ends_of_wall_time() {
    let bench = Bench::new(Isolation::Process);
    let limits = Limits { wall_turn_millis: 100, fuel_turn: u64::MAX, ..small() };
    let mut agent = bench.start_with(HOSTILE, None, limits);
    assert_eq!(poke(&mut agent, 0), Some(Counted { memory: 1, global: 1 }));
    let (root, pid) = (agent.marks().state_root, agent.cell_pid().unwrap());
    let turned = agent.turn(request(vec![1]), NOW);
    assert_eq!(turned.outcome, Outcome::Wall);
    assert_eq!(turned.outcome.fault(), Some(Fault::Developer));
    assert!(!turned.outcome.reproducible());
    assert_eq!(agent.marks().state_root, root);
    assert!(!common::lives(pid), "nothing computes on");
    assert_eq!(poke(&mut agent, 0), Some(Counted { memory: 2, global: 2 }));
    assert_ne!(agent.cell_pid(), Some(pid));
}

fn a_turn_without_an_answer_is_a_turn() {
    for isolation in BOTH {
        let mut agent = Bench::new(isolation).start(
            r#"(module (memory (export "memory") 1)
                (func (export "daee_turn") (result i32) (i32.const 0)))"#,
        );
        let turned = agent.turn(request(vec![]), NOW);
        assert_eq!((turned.outcome, turned.answer), (Outcome::Done, None));
    }
}

fn what_is_no_input_is_refused() {
    let deep = "[".repeat(10_000);
    let inputs: [&[u8]; 7] = [
        &[1],
        &[0xff, 0xff, 0, 0, b'{'],
        &[2, 0, 0, 0, b'[', b']'],
        &[4, 0, 0, 0, b'n', b'u', b'l', b'l'],
        &[3, 0, 0, 0, b'{', 0xff, b'}'],
        &[0, 0, 0, 0],
        &[&10_000u32.to_le_bytes(), deep.as_bytes()].concat(),
    ];
    for isolation in BOTH {
        let mut agent = Bench::new(isolation).start(SCRIPT);
        for input in inputs {
            let calls = common::raw(&[(b"now", input), (b"no.such", b""), (b"\xff", b"")]);
            let turned = agent.turn(request(calls), NOW);
            assert_eq!(turned.outcome, Outcome::Done);
            let answers = answers(&turned.answer.unwrap().body);
            let found: Vec<_> = answers
                .iter()
                .map(|(code, head, _)| (*code, head["code"].as_str().unwrap()))
                .collect();
            assert_eq!(
                found,
                [(-3, "malformed"), (-2, "unknown"), (-3, "malformed")],
                "{input:02x?}"
            );
        }
    }
}

fn too_large_is_refused() {
    let frame = |head: serde_json::Value| daee_runtime::frame::encode(&head, b"");
    let limits = Limits { door_frame_max: ByteSize::kib(128), ..Limits::default() };
    for isolation in BOTH {
        let mut agent = Bench::new(isolation).start_with(SCRIPT, None, limits);
        // An input over the frame's limit is refused in the cell, what is behind it by the supervisor.
        let mut calls = common::raw(&[
            (b"log", &frame(serde_json::json!({"text": "x".repeat(66_000)}))),
            (b"random", &frame(serde_json::json!({"bytes": 4097}))),
            (b"state.list", &frame(serde_json::json!({"limit": 1001}))),
            (b"state.set", b""),
        ]);
        let at = calls.len() - 4;
        calls[at..].copy_from_slice(&(129u32 << 10).to_le_bytes());
        let turned = agent.turn(request(calls), NOW);
        let answers = answers(&turned.answer.unwrap().body);
        let codes: Vec<_> =
            answers.iter().map(|(code, head, _)| (*code, head["code"].as_str().unwrap())).collect();
        assert_eq!(codes, [(-4, "limit"); 4]);

        // An event over the limit is not given.
        let turned = agent.turn(request(vec![0; 129 << 10]), NOW);
        assert_eq!(turned.outcome, Outcome::Done);
        assert_eq!(turned.answer.unwrap().body, b"");
    }
}

fn a_denial_names_the_line() {
    let bench = Bench::new(Isolation::Process);
    let module = bench.prepare(SCRIPT, None).unwrap();
    let mut agent =
        Agent::start(&bench.runtime, Launch::new(module), Box::new(Nothing(NOW))).unwrap();
    let turned = script(
        &mut agent,
        &[
            ("http.fetch", r#"{"url":"https://api.coingecko.com/x"}"#, b""),
            ("ipfs.read", r#"{"cid":"bafkqaaa"}"#, b""),
            ("chain.publish", r#"{"topic":"price"}"#, b"1"),
        ],
    );
    let answers = answers(&turned.answer.unwrap().body);
    let needs: Vec<_> =
        answers.iter().map(|(code, head, _)| (*code, head["needs"].as_str().unwrap())).collect();
    let lines = ["network_outbound:api.coingecko.com", "read_ipfs", "publish_to_chain"];
    assert_eq!(needs, lines.map(|line| (-1, line)));
    assert_eq!(turned.effects, []);
}

/// Kills a cell while it waits for the outside.
struct Killer(Arc<AtomicU32>);

impl Outside for Killer {
    fn fetch(
        &mut self,
        _: daee_policy::Permit,
        _: FetchRequest,
        _: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        Ok(FetchAnswer { status: 200, headers: vec![], body: vec![] })
    }
    fn ipfs(&mut self, _: &str, _: u64) -> Result<Vec<u8>, OutsideError> {
        common::kill(self.0.load(Ordering::Relaxed));
        Ok(b"content".to_vec())
    }
    fn random(&mut self, _: &mut [u8]) {}
    fn now(&mut self) -> Timestamp {
        NOW
    }
    fn before_outside(&mut self, transcript: &[u8], _: &daee_transcript::Bodies) {
        assert!(matches!(entries(transcript).last(), Some(Entry::Intent { .. })));
    }
}

fn a_cell_killed_in_a_turn() {
    let bench = Bench::new(Isolation::Process);
    let pid = Arc::new(AtomicU32::new(0));
    let module = bench.prepare(SCRIPT, None).unwrap();
    let launch = Launch { policy: policy(), ..Launch::new(module) };
    let mut agent = Agent::start(&bench.runtime, launch, Box::new(Killer(pid.clone()))).unwrap();
    pid.store(agent.cell_pid().unwrap(), Ordering::Relaxed);
    let root = agent.marks().state_root;
    let turned = script(
        &mut agent,
        &[("state.set", r#"{"key":"a"}"#, b"1"), ("ipfs.read", r#"{"cid":"bafkqaaa"}"#, b"")],
    );
    assert!(matches!(turned.outcome, Outcome::Killed { .. }), "{:?}", turned.outcome);
    assert_eq!(turned.outcome.fault(), Some(Fault::Node));
    assert!(!turned.outcome.reproducible());
    assert_eq!(agent.marks().state_root, root);
    check_script(
        &mut agent,
        &[("state.delete", r#"{"key":"a"}"#, b"")],
        &[(21, r#"{"existed":false}"#, b"")],
    );
}

fn a_cell_killed_between_turns() {
    let mut agent = Bench::new(Isolation::Process).start(HOSTILE);
    assert_eq!(poke(&mut agent, 0), Some(Counted { memory: 1, global: 1 }));
    let pid = agent.cell_pid().unwrap();
    common::kill(pid);
    common::until(|| !common::lives(pid));
    assert_eq!(poke(&mut agent, 0), Some(Counted { memory: 2, global: 2 }));
}

fn cells_die_with_their_supervisor() {
    let (mut supervisor, cell) = common::supervisor_with_a_looping_cell();
    assert!(common::lives(cell));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    common::until(|| !common::lives(cell));
}

fn both_isolations_come_to_the_same_bytes() {
    let [here, there] = BOTH.map(|isolation| {
        let bench = Bench::new(isolation);
        let mut agent = bench.start(SCRIPT);
        let mut turns = vec![agent.turn(Event::Start, NOW)];
        for n in 0..3u8 {
            turns.push(script(
                &mut agent,
                &[
                    ("log", r#"{"text":"hello","level":"warn"}"#, b""),
                    ("random", r#"{"bytes":4}"#, b""),
                    ("now", "{}", b""),
                    ("state.set", r#"{"key":"large"}"#, &[n; 1 << 20]),
                    ("state.get", r#"{"key":"large"}"#, b""),
                    ("state.set", &format!(r#"{{"key":"k{n}"}}"#), &[n; 100]),
                    ("timer.set", &format!(r#"{{"name":"t{n}","after_ms":{n}}}"#), b""),
                    ("chain.publish", r#"{"topic":"price"}"#, &[n]),
                    ("http.fetch", r#"{"url":"https://api.coingecko.com/"}"#, b""),
                ],
            ));
            turns.push(agent.turn(Event::Tick { block_hash: [n; 32] }, NOW));
            turns.push(agent.turn(Event::Timer { name: format!("t{n}") }, NOW));
        }
        turns.push(agent.turn(Event::Stop { deadline: NOW }, NOW));
        (turns, agent.marks(), agent.snapshot())
    });
    assert_eq!(here.0.len(), there.0.len());
    for (here, there) in here.0.iter().zip(&there.0) {
        assert_eq!(here, there);
    }
    assert_eq!((here.1, here.2), (there.1, there.2));
}

fn an_agent_goes_on_elsewhere() {
    let mut here = Bench::new(Isolation::Process).start(HOSTILE);
    let mut uninterrupted = Bench::new(Isolation::InProcess).start(HOSTILE);
    for agent in [&mut here, &mut uninterrupted] {
        assert_eq!(poke(agent, 0), Some(Counted { memory: 1, global: 1 }));
    }
    let (bytes, marks) = (here.snapshot(), here.marks());
    drop(here);

    let bench = Bench::new(Isolation::Process);
    let snapshot = Snapshot::decode(&bytes).unwrap();
    let launch = Launch { snapshot, ..Launch::new(bench.prepare(HOSTILE, None).unwrap()) };
    let mut there = Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW))).unwrap();
    assert_eq!(there.marks(), marks);
    for agent in [&mut there, &mut uninterrupted] {
        assert_eq!(poke(agent, 0), Some(Counted { memory: 2, global: 2 }));
    }
    assert_eq!(there.marks().state_root, uninterrupted.marks().state_root);
    assert_eq!(there.marks().turn, 2);
}

fn deltas_alone_come_to_the_same_state() {
    let mut agent = Bench::new(Isolation::Process).start_with(HOSTILE, None, small());
    let mut replayed = State::new(agent.state().quota());
    for evil in [0, 1, 0, 5, 0, 2] {
        let turned = agent.turn(request(vec![evil]), NOW);
        replayed.apply(Delta::decode(&turned.commit.delta).unwrap());
        assert_eq!(&replayed, agent.state());
    }
    let released = agent.released(6);
    replayed.apply(Delta::decode(&released.delta).unwrap());
    assert_eq!(replayed.root(), agent.marks().state_root);
}

fn kept_memory_of_another_module_is_refused() {
    let bench = Bench::new(Isolation::Process);
    let mut agent = bench.start(HOSTILE);
    agent.turn(request(vec![0]), NOW);
    let snapshot = agent.stop();
    let start = |wat: &str, snapshot: Snapshot, limits: Limits| {
        let module = bench.prepare(wat, None).unwrap();
        let launch = Launch { snapshot, limits, ..Launch::new(module) };
        Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW)))
    };
    // More globals, a larger memory, and less memory than is kept.
    for (wat, limits) in [
        (
            r#"(module (memory (export "memory") 1) (global (mut i32) (i32.const 0))
            (global (mut i32) (i32.const 0)) (func (export "daee_turn") (result i32) (i32.const 0)))"#,
            Limits::default(),
        ),
        (SCRIPT, Limits::default()),
        (HOSTILE, Limits { memory_max: ByteSize::kib(64), ..Limits::default() }),
    ] {
        let error = start(wat, snapshot.clone(), limits).err().expect(wat);
        assert_eq!((error.code(), error.fault()), ("DAEE-R020", Fault::Developer), "{error}");
    }
    let keys_only = snapshot.without_machine();
    let mut agent = start(SCRIPT, keys_only, Limits::default()).unwrap();
    assert_eq!(
        agent.turn(Event::Upgraded { from_version: "1".into() }, NOW).outcome,
        Outcome::Done
    );
}

fn a_rolled_back_timer_has_fired() {
    let mut agent = Bench::new(Isolation::Process).start(SCRIPT);
    let set = [("timer.set", r#"{"name":"t","at_ms":5}"#, &b""[..])];
    check_script(&mut agent, &set, &[(6, "{}", b"")]);
    assert_eq!(agent.state().timers().len(), 1);
    let snapshot = agent.stop();

    // A module that traps goes on with the keys and timers.
    let bench = Bench::new(Isolation::Process);
    let module = bench
        .prepare(
            r#"(module (memory (export "memory") 1)
                (func (export "daee_turn") (result i32) (unreachable)))"#,
            None,
        )
        .unwrap();
    let launch = Launch { snapshot: snapshot.without_machine(), ..Launch::new(module) };
    let mut agent = Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW))).unwrap();
    assert!(!agent.turn(request(vec![]), NOW).outcome.is_kept());
    assert_eq!(agent.state().timers().len(), 1, "another event leaves it");
    assert!(!agent.turn(Event::Timer { name: "t".into() }, NOW).outcome.is_kept());
    assert_eq!(agent.state().timers().len(), 0);
}

fn effects_wait_until_they_are_released() {
    let mut agent = Bench::new(Isolation::Process).start(SCRIPT);
    let turned = script(&mut agent, &[("chain.publish", r#"{"topic":"price"}"#, b"1")]);
    assert_eq!(turned.effects, agent.state().effects());
    assert_eq!(turned.effects[0].topic, "price");
    let root = agent.marks().state_root;
    agent.released(0);
    assert_eq!(agent.marks().state_root, root);
    agent.released(1);
    assert_eq!(agent.state().effects(), []);
    assert_ne!(agent.marks().state_root, root);
}

fn counted(agent: &mut Agent, byte: u8) -> Option<u8> {
    agent.turn(request(vec![byte]), NOW).answer.map(|answer| answer.body[0])
}

fn resident(isolation: Isolation) -> (Bench, Agent) {
    let bench = Bench::new(isolation);
    let limits = Limits { table_elements_max: 1000, ..small() };
    let agent = bench.start_with(RESIDENT, Some(RunStyle::Resident), limits);
    (bench, agent)
}

fn a_resident_keeps_its_memory() {
    for isolation in BOTH {
        let (_bench, mut agent) = resident(isolation);
        for count in 1..=4 {
            assert_eq!(counted(&mut agent, 0), Some(count));
            assert_eq!(agent.state().key("k"), Some(&u32::from(count).to_le_bytes()[..]));
        }
        assert!(agent.state().machine().is_none(), "its memory is no part of its state");
    }
}

fn a_residents_births() {
    let (_bench, mut agent) = resident(Isolation::Process);
    let mut births = Vec::new();
    for byte in [0, 0, 1, 0] {
        let root = agent.marks().state_root;
        let turned = agent.turn(request(vec![byte]), NOW);
        let first = entries(&turned.commit.transcript).remove(0);
        if let Entry::Birth { state_root, turn, .. } = first {
            assert_eq!(state_root, root);
            births.push(turn);
        }
    }
    assert_eq!(births, [0, 3]);
}

fn a_resident_that_fails_is_born_again() {
    for (byte, expected) in [
        (1, trap("unreachable")),
        (2, Outcome::Exited { code: 0 }),
        (3, Outcome::Exited { code: 3 }),
        (4, Outcome::Fuel),
        (5, Outcome::Table),
    ] {
        for isolation in BOTH {
            let (_bench, mut agent) = resident(isolation);
            assert_eq!(counted(&mut agent, 0), Some(1));
            let root = agent.marks().state_root;
            let turned = agent.turn(request(vec![byte]), NOW);
            match turned.outcome {
                Outcome::Trap { ref what } => assert!(what.contains("unreachable"), "{what}"),
                ref outcome => assert_eq!(*outcome, expected),
            }
            assert_eq!(turned.answer.is_some(), turned.outcome.is_kept());
            assert_eq!(agent.marks().state_root != root, turned.outcome.is_kept());
            assert_eq!(counted(&mut agent, 0), Some(1), "it starts with an empty memory");
        }
    }
}

fn asking_wrongly_for_events_gives_no_fuel() {
    for isolation in BOTH {
        let (_bench, mut agent) = resident(isolation);
        // The first such question ends the turn, for it is one for the next event; then it is in its second turn.
        assert_eq!(counted(&mut agent, 6), Some(1));
        let turned = agent.turn(request(vec![0]), NOW);
        assert_eq!(turned.outcome, Outcome::Fuel);
        assert_eq!(turned.fuel, small().fuel_turn);
        assert_eq!(counted(&mut agent, 0), Some(1));
    }
}

fn tables_are_bounded() {
    let bench = Bench::new(Isolation::Process);
    let module = bench
        .prepare(
            r#"(module (memory (export "memory") 1) (table 2000 funcref)
                (func (export "daee_turn") (result i32) (i32.const 0)))"#,
            None,
        )
        .unwrap();
    let limits = Limits { table_elements_max: 1000, ..Limits::default() };
    let launch = Launch { limits, ..Launch::new(module) };
    let error = Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW))).err().unwrap();
    assert_eq!(error.code(), "DAEE-R020", "{error}");

    let many = "(table 1 funcref)".repeat(9);
    let error = bench
        .prepare(
            &format!(
                r#"(module (memory (export "memory") 1) {many}
                    (func (export "daee_turn") (result i32) (i32.const 0)))"#
            ),
            None,
        )
        .unwrap_err();
    assert_eq!(error.code(), "DAEE-A023", "{error}");
    assert!(error.to_string().contains("at most 8"), "{error}");
}

fn a_program_per_event_starts_afresh() {
    for isolation in BOTH {
        let bench = Bench::new(isolation);
        let launch = Launch {
            args: vec!["argument".into()],
            env: vec![("NAME".into(), "value".into())],
            ..Launch::new(bench.prepare(EACH, Some(RunStyle::PerEvent)).unwrap())
        };
        let mut agent = Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW))).unwrap();
        for _ in 0..2 {
            let turned = agent.turn(request(vec![0]), NOW);
            assert_eq!(turned.outcome, Outcome::Done);
            let mut expected = 1u32.to_le_bytes().to_vec();
            expected.extend((NOW.0 * 1_000_000).to_le_bytes());
            expected.extend([0x2a, 0x2a]);
            expected.extend(63u32.to_le_bytes()); // no path begins at another root
            assert_eq!(turned.answer.unwrap().body, expected);
            let lines: Vec<_> = turned.commit.logs.iter().map(|line| line.text.as_str()).collect();
            assert_eq!(lines, ["argument", "NAME=value"]);
        }
        let turned = agent.turn(request(vec![7]), NOW);
        assert_eq!(turned.outcome, Outcome::RolledBack { code: 7 });
        assert_eq!(turned.answer, None);
    }
}

fn files_of_a_module_are_in_its_cell() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (@custom "daee.files" "\01\01\00\00\00\03\00\00\00d/f\05\00\00\00hello")
        (memory (export "memory") 1) (data (i32.const 32) "d/f")
        (func (export "_start")
            (if (call $open (i32.const 4) (i32.const 0) (i32.const 32) (i32.const 3)
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 16)) (then unreachable))
            (i32.store (i32.const 0) (i32.const 64)) (i32.store (i32.const 4) (i32.const 9))
            (if (call $read (i32.load (i32.const 16)) (i32.const 0) (i32.const 1) (i32.const 4))
                (then unreachable))
            (if (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)) (then unreachable))))"#;
    for isolation in BOTH {
        let bench = Bench::new(isolation);
        let mut agent = bench.start_with(wat, Some(RunStyle::PerEvent), Limits::default());
        for _ in 0..2 {
            let turned = agent.turn(request(vec![]), NOW);
            assert_eq!(turned.outcome, Outcome::Done);
            assert_eq!(turned.answer.unwrap().body, b"hello");
        }
    }
}

fn a_component_is_refused_with_its_fix() {
    let bytes = b"\0asm\x0d\0\x01\0".to_vec();
    let artifact = Artifact::fetched(bytes.clone()).verify(&ArtifactHash::of(&bytes)).unwrap();
    let error = Bench::new(Isolation::Process).runtime.prepare(&artifact, None).unwrap_err();
    assert_eq!((error.code(), error.fault()), ("DAEE-A021", Fault::Developer));
    assert!(error.to_string().contains("wasm32-wasip1"), "{error}");
}

fn a_reactor_that_cannot_be_kept_is_refused() {
    let bench = Bench::new(Isolation::Process);
    let check = |body: &str| {
        let wat = format!(
            r#"(module (memory (export "memory") 1) (table $t 4 funcref) (global $g (mut funcref) (ref.null func))
                (data $d "x") (elem declare func $f) (func $f)
                (func (export "daee_turn") (result i32) {body} (i32.const 0)))"#
        );
        let wat = if body.is_empty() {
            wat
        } else {
            wat.replace("(global $g (mut funcref) (ref.null func))", "")
        };
        let error = bench.prepare(&wat, None).unwrap_err();
        assert_eq!(error.code(), "DAEE-A028", "{body}");
    };
    check("");
    check("(table.set $t (i32.const 0) (ref.func $f))");
    check("(drop (table.grow $t (ref.null func) (i32.const 1)))");
    check("(table.fill $t (i32.const 0) (ref.null func) (i32.const 1))");
    check("(data.drop $d)");
}

/// The check and the engine know the same features and limits.
fn modules_that_pass_the_check_load() {
    let bench = Bench::new(Isolation::InProcess);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../daee-artifact/vectors/modules/good");
    let mut loaded = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let wat = std::fs::read_to_string(&path).unwrap();
        let style = match wat.lines().find_map(|line| line.strip_prefix(";; run: ")) {
            Some("resident") => Some(RunStyle::Resident),
            Some("per-event") => Some(RunStyle::PerEvent),
            _ => None,
        };
        let name = path.display();
        let module = bench.prepare(&wat, style).unwrap_or_else(|error| panic!("{name}: {error}"));
        let started = Agent::start(&bench.runtime, Launch::new(module), Box::new(Nothing(NOW)));
        assert!(started.is_ok(), "{name}: {:?}", started.err());
        loaded += 1;
    }
    assert!(loaded >= 50);
}

fn a_module_larger_than_its_limits() {
    let bench = Bench::new(Isolation::Process);
    let module = bench.prepare(SCRIPT, None).unwrap();
    let limits = Limits { memory_max: ByteSize::mib(1), ..Limits::default() };
    let launch = Launch { limits, ..Launch::new(module) };
    let error = Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW))).err().unwrap();
    assert_eq!((error.code(), error.fault()), ("DAEE-R020", Fault::Developer), "{error}");
}

fn compiling_is_bounded() {
    // A chain of choices: some hundred kilobytes that keep a compiler busy for long.
    let choices = |count: usize| {
        format!(
            r#"(module (memory (export "memory") 1)
            (func (param i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 0) (select) {})
            (func (export "daee_turn") (result i32) (i32.const 0)))"#,
            "(local.get 1) (local.get 0) (select)".repeat(count)
        )
    };
    // Many ways that meet, each with values of its own.
    let meets = |count: usize| {
        let locals = "(local i32)".repeat(200);
        let meet = |n: usize| {
            let (to, from) = (2 + n % 200, 2 + (n * 7 + 3) % 200);
            format!(
                "(if (local.get 0) (then (local.set {to} (i32.add (local.get {from}) (i32.const {n})))) (else (br_if 0 (local.get {from}))))"
            )
        };
        format!(
            r#"(module (memory (export "memory") 1)
            (func (param i32 i32) {locals} (loop $again {} (br_if $again (local.get 1))))
            (func (export "daee_turn") (result i32) (i32.const 0)))"#,
            (0..count).map(meet).collect::<String>()
        )
    };
    let check = |wat: &str, compile: CompileLimits, words: &str| {
        let config =
            RuntimeConfig { compile, ..RuntimeConfig::in_process().isolated(Isolation::Process) };
        let runtime = Runtime::new(config).unwrap();
        let prepare = |wat: &str| {
            let bytes = wat::parse_str(wat).unwrap();
            let artifact =
                Artifact::fetched(bytes.clone()).verify(&ArtifactHash::of(&bytes)).unwrap();
            runtime.prepare(&artifact, None)
        };
        let error = prepare(wat).unwrap_err();
        assert_eq!((error.code(), error.fault()), ("DAEE-R010", Fault::Developer), "{error}");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(common::children_named("compile"), [0u32; 0], "no compiler is left");
    };
    let most = CompileLimits::default();
    let few = choices(60_000);
    check(&few, CompileLimits { wall_millis: 1, ..most }, "more than 1 ms");
    check(&few, CompileLimits { memory_max: ByteSize::mib(4), ..most }, "of memory");
    check(
        &few,
        CompileLimits { code_max: ByteSize::kib(1), ..most },
        "compiles to more than 1 KiB",
    );
    check(&meets(20_000), CompileLimits { cpu_seconds: 1, ..most }, "more than 1 s of a processor");
}

/// Kills some child of this process now and then, cells and what becomes cells, until it is told to stop.
fn kill_at_random(stop: &AtomicU32, mut seed: u64) {
    let mut random = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    while stop.load(Ordering::Relaxed) == 0 {
        std::thread::sleep(std::time::Duration::from_micros(random(4000)));
        let children = common::children();
        if !children.is_empty() {
            common::kill(children[random(children.len() as u64) as usize]);
        }
    }
}

fn a_cell_killed_at_any_moment() {
    const ROUNDS: usize = 60;
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    common::until(|| common::children().is_empty());
    let before = descriptors();
    {
        let bench = Bench::new(Isolation::Process);
        for (wat, style) in [(HOSTILE, None), (RESIDENT, Some(RunStyle::Resident))] {
            let module = bench.prepare(wat, style).unwrap();
            let start = |snapshot| {
                let launch = Launch { snapshot, ..Launch::new(module.clone()) };
                Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW)))
            };
            let mut snapshot = Snapshot::new(ByteSize::mib(1));
            let (stop, mut done) = (AtomicU32::new(0), 0);
            std::thread::scope(|scope| {
                scope.spawn(|| kill_at_random(&stop, 7));
                for _ in 0..ROUNDS {
                    let mut agent = match start(snapshot.clone()) {
                        Ok(agent) => agent,
                        Err(error) => {
                            assert_eq!(error.fault(), Fault::Node, "{error}");
                            continue;
                        }
                    };
                    for _ in 0..4 {
                        let root = agent.marks().state_root;
                        let turned = agent.turn(request(vec![0]), NOW);
                        match turned.outcome {
                            Outcome::Done => done += 1,
                            Outcome::Killed { .. } => assert_eq!(agent.marks().state_root, root),
                            other => panic!("{other:?}"),
                        }
                    }
                    snapshot = agent.stop();
                }
                stop.store(1, Ordering::Relaxed);
            });
            println!("  {done} of {} turns were kept", 4 * ROUNDS);
            // Whatever was killed, what was kept is there.
            let mut agent = start(snapshot).unwrap();
            let turned = agent.turn(request(vec![0]), NOW);
            assert_eq!(turned.outcome, Outcome::Done);
            if style.is_none() {
                let body = turned.answer.unwrap().body;
                assert_eq!(body[..4], (done + 1u32).to_le_bytes());
            }
        }
    }
    common::until(|| common::children().is_empty());
    common::until(|| descriptors() == before);
}

fn a_warm_cell_that_died_is_not_given_out() {
    common::until(|| common::children().is_empty());
    let bench = Bench::new(Isolation::Process);
    let module = bench.prepare(HOSTILE, None).unwrap();
    for _ in 0..3 {
        common::until(|| common::children().len() == 2);
        let warm = common::children();
        warm.iter().for_each(|pid| common::kill(*pid));
        let mut agent =
            Agent::start(&bench.runtime, Launch::new(module.clone()), Box::new(Nothing(NOW)))
                .unwrap();
        assert!(!warm.contains(&agent.cell_pid().unwrap()));
        assert_eq!(poke(&mut agent, 0), Some(Counted { memory: 1, global: 1 }));
        assert!(warm.iter().all(|pid| !common::lives(*pid)));
    }
}

fn a_warm_cell_becomes_the_agents() {
    common::until(|| common::children().is_empty());
    let bench = Bench::new(Isolation::Process);
    let module = bench.prepare(HOSTILE, None).unwrap();
    common::until(|| common::children().len() == 2);
    let warm = common::children();
    let agent = Agent::start(&bench.runtime, Launch::new(module), Box::new(Nothing(NOW))).unwrap();
    assert!(warm.contains(&agent.cell_pid().unwrap()));
    common::until(|| common::children().len() == 3);
    drop(agent);
    drop(bench);
    common::until(|| common::children().is_empty());
}

fn a_cache_that_another_hand_wrote_is_not_run() {
    let dir = tempfile::tempdir().unwrap();
    let config = RuntimeConfig::new(dir.path(), [7; 32]);
    let files = || std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
    let turn = || {
        let bytes = wat::parse_str(HOSTILE).unwrap();
        let artifact = Artifact::fetched(bytes.clone()).verify(&ArtifactHash::of(&bytes)).unwrap();
        let runtime = Runtime::new(config.clone()).unwrap();
        let module = runtime.prepare(&artifact, None).unwrap();
        let mut agent =
            Agent::start(&runtime, Launch::new(module), Box::new(Nothing(NOW))).unwrap();
        assert_eq!(poke(&mut agent, 0), Some(Counted { memory: 1, global: 1 }));
    };
    turn();
    let file = files().next().expect("what was compiled is kept");
    let mut bytes = std::fs::read(&file).unwrap();
    let good = bytes.clone();
    bytes[200..].fill(0xcc);
    std::fs::write(&file, &bytes).unwrap();
    turn();
    assert_eq!(std::fs::read(&file).unwrap(), good, "it was compiled again");
}
