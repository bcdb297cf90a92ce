//! Recordings of agents that ran in this process, run again by the program as a deployer runs it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

use daee_artifact::{Artifact, RunStyle, package};
use daee_manifest::Manifest;
use daee_runtime::{
    Agent, Event, Launch, Limits, Nothing, Outcome, Recording, Runtime, RuntimeConfig,
};
use daee_types::{
    ArtifactHash, DeploymentId, EpochId, LogRoot, StateRoot, Timestamp, wire::Writer,
};
use serde_json::Value;
use tempfile::TempDir;

/// Takes random bytes, keeps them, and logs.
const DICE: &str = r#"(module
    (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
    (import "daee" "read" (func $read (param i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "random")
    (data (i32.const 32) "state.set")
    (data (i32.const 48) "log")
    (data (i32.const 0x100) "\0c\00\00\00{\"bytes\":16}")
    (data (i32.const 0x200) "\0b\00\00\00{\"key\":\"k\"}")
    (data (i32.const 0x300) "\10\00\00\00{\"level\":\"info\"}thrown")
    (func (export "daee_turn") (result i32)
        (drop (call $call (i32.const 16) (i32.const 6) (i32.const 0x100) (i32.const 16)))
        (drop (call $read (i32.const 0x1000) (i32.const 100)))
        (memory.copy (i32.const 0x20f) (i32.const 0x1006) (i32.const 16))
        (drop (call $call (i32.const 32) (i32.const 9) (i32.const 0x200) (i32.const 31)))
        (drop (call $call (i32.const 48) (i32.const 3) (i32.const 0x300) (i32.const 26)))
        (i32.const 0)))"#;

/// Waits for one event after another.
const RESIDENT: &str = r#"(module
    (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "event.next")
    (func (export "_start") (loop $on
        (drop (call $call (i32.const 0) (i32.const 10) (i32.const 0) (i32.const 0)))
        (br $on))))"#;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Runtime::new(RuntimeConfig::in_process()).unwrap());

/// An agent that ran, and a folder for what is judged.
struct Ran {
    dir: TempDir,
    recording: Recording,
}

impl Ran {
    /// Three turns with bodies that stand beside the transcript, of which the first `skipped` are not recorded.
    fn new(wat: &str, more: &str, skipped: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let wasm = wat::parse_str(wat).unwrap();
        let hash = ArtifactHash::of(&wasm);
        let yaml = format!(
            "agent_id: \"talos.test.dice@v1.0.0\"\nresources:\n  cpu: \"0.1\"\n  memory: \"16MiB\"\n\
             entry_point: \"dice.wasm\"\nartifact_hash: \"{hash}\"\n{more}"
        );
        let manifest = Manifest::read(yaml.as_bytes()).unwrap();
        let body = manifest.canonical_body().as_bytes().to_vec();
        let car = package::write(&wasm, &body, yaml.as_bytes()).unwrap();
        fs::write(dir.path().join("dice.car"), car).unwrap();

        let artifact = Artifact::fetched(wasm).verify(&hash).unwrap();
        let style = more.contains("run: resident").then_some(RunStyle::Resident);
        let launch = Launch {
            limits: Limits { memory_max: manifest.resources().memory, ..Limits::default() },
            quota: manifest.storage(),
            manifest: *manifest.manifest_hash().as_bytes(),
            ..Launch::new(RUNTIME.prepare(&artifact, style).unwrap())
        };
        let mut agent = Agent::start(&RUNTIME, launch, Box::new(Nothing::default())).unwrap();
        let begin =
            |agent: &mut Agent| Recording::begin(agent, DeploymentId(7), EpochId::new([3; 32]));
        let mut recording = begin(&mut agent);
        for n in 0..3 {
            if n == skipped {
                recording = begin(&mut agent);
            }
            let event = Event::Http {
                method: "POST".into(),
                path: "/".into(),
                query: String::new(),
                headers: Vec::new(),
                body: vec![7; 5_000],
            };
            let turned = agent.turn(event, Timestamp(1_000 + n as u64));
            assert_eq!(turned.outcome, Outcome::Done);
            recording.extend([&turned.commit], agent.marks());
        }
        if skipped == 3 {
            recording = begin(&mut agent);
        }
        Self { dir, recording }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The same with something changed in what is recorded, as a node would that changes it.
    fn but(&self, change: impl FnOnce(&mut Recording)) -> PathBuf {
        let mut recording = self.recording.clone();
        change(&mut recording);
        self.file(&recording.encode())
    }

    fn file(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("dice.run");
        fs::write(&path, bytes).unwrap();
        path
    }

    fn whole(&self) -> PathBuf {
        self.but(|_| {})
    }
}

#[expect(clippy::disallowed_methods, reason = "the subject of these tests is the program itself")]
fn run(car: &Path, recording: &Path, more: &[&str]) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_daee-verify"));
    program.arg("run").arg(car).arg(recording).args(more).stdin(Stdio::null());
    program.output().unwrap()
}

/// Exit code, verdict and rules, in this process, and what is said of the first rule.
fn check(
    car: &Path,
    recording: &Path,
    more: &[&str],
    exit: i32,
    rules: &[&str],
) -> (Value, String) {
    let more = [&["--isolation", "thread", "--format", "json"], more].concat();
    let output = run(car, recording, &more);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(
        output.status.code(),
        Some(exit),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let judged: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(judged["verdict"], ["verified", "findings", "error"][exit as usize]);
    let findings = judged["findings"].as_array().unwrap();
    let found: Vec<&str> = findings.iter().map(|one| one["rule"].as_str().unwrap()).collect();
    assert_eq!(found, rules, "{said}");
    let message = findings.first().and_then(|one| one["message"].as_str()).unwrap_or_default();
    (judged["facts"].clone(), message.to_owned())
}

#[test]
fn what_ran_runs_again_to_the_same_with_a_jail_and_without() {
    let ran = Ran::new(DICE, "", 0);
    let (facts, _) = check(&ran.path("dice.car"), &ran.whole(), &[], 0, &["DAEE-J015"]);
    assert_eq!((facts["turns"].as_str(), facts["calls"].as_str()), (Some("3"), Some("9")));
    assert_eq!(facts["deployment"], "7");
    let root = ran.recording.claim.state_root.to_string();
    assert_eq!(facts["state_root"], root.as_str());
    for isolation in ["process", "thread"] {
        let more = ["--isolation", isolation, "--expect-state-root", &root];
        let output = run(&ran.path("dice.car"), &ran.whole(), &more);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{isolation}: {said}");
        assert!(!said.contains("DAEE-"), "{said}");
    }
}

#[test]
fn the_first_thing_that_differs_is_named() {
    let ran = Ran::new(DICE, "", 0);
    let car = ran.path("dice.car");
    let check = |change: fn(&mut Recording), rule: &str, says: &str| {
        let (_, message) = check(&car, &ran.but(change), &[], 1, &[rule]);
        assert!(message.contains(says), "{rule}: {message}");
    };
    // What came from outside, so that the agent would have kept something else.
    let dice = |recording: &mut Recording| {
        let answer = b"\x02\0\0\0{}";
        let places = recording.transcript.windows(answer.len());
        let at = places.enumerate().filter(|(_, bytes)| *bytes == answer).map(|(at, _)| at);
        let last = at.max().unwrap();
        // Behind the head and the length of the body.
        recording.transcript[last + answer.len() + 4] ^= 1;
    };
    check(dice, "DAEE-J002", "turn 3, call 1");
    check(|it| it.claim.state_root = StateRoot::new([9; 32]), "DAEE-J009", "turn 3");
    check(|it| it.claim.log_root = LogRoot::new([9; 32]), "DAEE-J010", "turn 3");
    check(|it| it.claim.fuel += 1, "DAEE-J007", "turn 3");
    check(|it| it.claim.transcript_root = Default::default(), "DAEE-J011", "turn 3");
}

#[test]
fn every_format_says_what_differs_and_a_note_fails_nobody() {
    let ran = Ran::new(DICE, "", 0);
    let wrong = ran.but(|it| it.claim.state_root = StateRoot::new([9; 32]));
    for format in ["text", "json", "sarif", "junit", "github"] {
        let output =
            run(&ran.path("dice.car"), &wrong, &["--isolation", "thread", "--format", format]);
        assert_eq!(output.status.code(), Some(1), "{format}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("DAEE-J009") && said.contains("turn 3"), "{format}: {said}");
    }
}

#[test]
fn the_state_that_was_expected_is_the_last_and_of_two_the_first_is_the_first() {
    let ran = Ran::new(DICE, "", 0);
    let (car, file) = (ran.path("dice.car"), ran.whole());
    let (facts, _) = check(&car, &file, &[], 0, &["DAEE-J015"]);
    let root = |name: &str| facts[name].as_str().unwrap().to_owned();
    let (first, last) = (root("from_state_root"), root("state_root"));
    assert_ne!(first, last);
    let both = ["--expect-state-root", &first, "--expect-state-root", &last];
    check(&car, &file, &both, 0, &[]);
    check(&car, &file, &both[2..], 0, &[]);
    let (_, message) = check(&car, &file, &both[..2], 1, &["DAEE-J013"]);
    assert!(message.contains("leads to"), "{message}");
    let turned = ["--expect-state-root", &last, "--expect-state-root", &first];
    check(&car, &file, &turned, 1, &["DAEE-J013", "DAEE-J013"]);
    assert_eq!(run(&car, &file, &[&both[..], &both[..2]].concat()).status.code(), Some(2));
    let other = "11".repeat(32);
    check(&car, &file, &[&both[..2], &["--expect-state-root", &other]].concat(), 1, &["DAEE-J013"]);
}

#[test]
fn where_it_begins_and_ends_is_told_as_a_checkpoint_says_it() {
    let ran = Ran::new(DICE, "", 1);
    let (facts, _) = check(&ran.path("dice.car"), &ran.whole(), &[], 0, &["DAEE-J015"]);
    let claim = &ran.recording.claim;
    assert_eq!((&facts["from_turn"], &facts["turn"]), (&"1".into(), &"3".into()));
    assert_eq!(facts["log_root"], claim.log_root.to_string());
    assert_eq!(facts["transcript_root"], claim.transcript_root.to_string());
    assert_eq!(facts["fuel"], claim.fuel.to_string());
    assert!(facts["from_log_root"].is_string(), "{facts}");
    for name in ["from_transcript_root", "from_fuel"] {
        assert!(facts[name].is_string() && facts[name] != facts[&name[5..]], "{name}: {facts}");
    }
}

#[test]
fn a_recording_without_a_turn_is_not_verified_by_the_state_that_it_stands_at() {
    let ran = Ran::new(DICE, "", 3);
    let root = ran.recording.claim.state_root.to_string();
    let more = ["--expect-state-root", &root];
    let (_, message) = check(&ran.path("dice.car"), &ran.whole(), &more, 2, &["DAEE-J020"]);
    assert!(message.contains("no turn"), "{message}");
}

#[test]
fn a_node_that_held_its_agent_to_less_is_found() {
    let ran = Ran::new(DICE, "", 0);
    let check = |ran: &Ran, change: fn(&mut Recording), says: &str| {
        let file = ran.but(change);
        let (_, message) = check(&ran.path("dice.car"), &file, &[], 1, &["DAEE-J008"]);
        assert!(message.contains(says), "{says}: {message}");
    };
    let later = Ran::new(DICE, "", 1);
    for ran in [&ran, &later] {
        check(ran, |it| it.limits.fuel_turn = 1, "fuel of a turn is recorded as 1");
        check(ran, |it| it.limits.table_elements_max -= 1, "elements of a table");
        check(ran, |it| it.limits.log_turn_max.0 -= 1, "log of a turn");
        check(ran, |it| it.limits.door_frame_max.0 -= 1, "input or answer");
        check(ran, |it| it.limits.door_calls_max = 0, "operations of a turn");
        check(ran, |it| it.limits.memory_max.0 -= 1, "memory");
    }
    // Of a birth alone.
    let birth = |it: &mut Recording| {
        let written = |limits: &dyn Fn(&mut Writer)| {
            let mut out = Writer::new();
            limits(&mut out);
            out.finish()
        };
        let own = written(&|out| it.limits.write(out));
        let mut less = it.limits;
        less.door_calls_max = 0;
        let less = written(&|out| less.write(out));
        let places = it.transcript.windows(own.len());
        let at =
            places.enumerate().find(|(_, bytes)| *bytes == own).map(|(at, _)| at).expect("a birth");
        it.transcript[at..at + less.len()].copy_from_slice(&less);
    };
    check(&ran, birth, "turn 1: operations of a turn is recorded as 0");
}

#[test]
fn another_package_is_refused() {
    let ran = Ran::new(DICE, "", 0);
    let other = Ran::new(DICE, "description: \"the same module\"\n", 0);
    let (_, message) = check(&other.path("dice.car"), &ran.whole(), &[], 1, &["DAEE-J012"]);
    assert!(message.contains("manifest hash"), "{message}");
    let module = Ran::new(&DICE.replace("thrown", "rolled"), "", 0);
    check(&module.path("dice.car"), &ran.whole(), &[], 1, &["DAEE-J012"]);
    // A package that is wrong itself is not run.
    let mut car = fs::read(ran.path("dice.car")).unwrap();
    *car.last_mut().unwrap() ^= 1;
    fs::write(ran.path("bent.car"), car).unwrap();
    check(&ran.path("bent.car"), &ran.whole(), &[], 1, &["DAEE-A011"]);
}

#[test]
fn what_is_no_recording_is_none() {
    let ran = Ran::new(DICE, "", 0);
    let car = ran.path("dice.car");
    let bytes = ran.recording.encode();
    for file in [&bytes[..bytes.len() - 1], &bytes[..100], b"", b"daee.run"] {
        check(&car, &ran.file(file), &[], 1, &["DAEE-J014"]);
    }
    let mut bent = bytes.clone();
    bent[bytes.len() / 2] ^= 1;
    check(&car, &ran.file(&bent), &[], 1, &["DAEE-J014"]);
}

#[test]
fn what_cannot_be_run_is_neither_right_nor_wrong_and_says_what_to_do() {
    let ran = Ran::new(DICE, "", 0);
    let car = ran.path("dice.car");
    let check = |car: &Path, file: &Path, says: &[&str]| {
        let (_, message) = check(car, file, &[], 2, &["DAEE-J020"]);
        says.iter().for_each(|says| assert!(message.contains(says), "{says}: {message}"));
    };
    check(&car, &ran.but(|it| it.runtime_version += 1), &["runtime version", "release"]);
    check(&car, &ran.but(|it| it.bodies.clear()), &["SHA-256", "daee-deploy record"]);
    let resident = Ran::new(RESIDENT, "run: resident\n", 1);
    check(&resident.path("dice.car"), &resident.whole(), &["birth", "daee-deploy record"]);
    let secret = Ran::new(DICE, "secrets:\n  - \"api-key\"\n", 0);
    check(&secret.path("dice.car"), &secret.whole(), &["api-key", "owner"]);
    let missing = run(&car, &ran.path("none.run"), &[]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn a_resident_that_begins_at_its_birth_runs_again() {
    let ran = Ran::new(RESIDENT, "run: resident\n", 0);
    check(&ran.path("dice.car"), &ran.whole(), &[], 0, &["DAEE-J015"]);
    let output = run(&ran.path("dice.car"), &ran.whole(), &[]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
}
