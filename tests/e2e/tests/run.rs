//! What agents did on a network is fetched from the node that ran them and run again, with a jail and without: all three
//! ways to run, and the agents in Python and JavaScript that `daee-deploy new` writes.

mod kit;

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use daee_runtime::Recording;
use daee_testkit::{Ended, Program};
use daee_transcript::{Entry, Frame, Segment, Transcript, entries};
use daee_types::{ArtifactHash, DeploymentId, LogRoot, StateRoot, sha256};
use serde_json::Value;

use kit::{Network, program, until};

const RESIDENT: &str = include_str!("../../../crates/daee-runtime/tests/guests/resident.wat");
const EACH: &str = include_str!("../../../crates/daee-runtime/tests/guests/each.wat");
/// Far above what anything here takes, on a machine that has much else to do.
const LONG: Duration = Duration::from_secs(300);

#[tokio::test(flavor = "multi_thread")]
async fn what_agents_did_on_a_network_runs_again() {
    let network = Network::start(&[]).await;
    let work = tempfile::tempdir().expect("a folder");

    // A reactor, which fetches from outside and publishes.
    let oracle = Subject::of_the_network(&network, work.path());
    oracle.ask(&network, "/price", 3).await;
    let recording = oracle.record(&network, &[]);
    oracle.runs_again(&recording);
    oracle.what_was_changed_is_found(&recording);
    oracle.another_package_is_refused(&recording);

    // Programs that stay, and programs that start afresh for each event.
    for (name, wat, run) in [("resident", RESIDENT, "resident"), ("each", EACH, "per-event")] {
        let subject = Subject::packed(work.path(), name, &wat_of(wat), run);
        let subject = subject.up(&network);
        subject.ask(&network, "/", 5).await;
        let recording = subject.record(&network, &[]);
        subject.runs_again(&recording);
        // What one turn is about can be had for itself, as far as it can begin there.
        let part = subject.record(&network, &["--from", "2", "--to", "2"]);
        subject.runs_again(&part);
    }

    // Interpreters.
    for language in ["python", "javascript"] {
        let Some(subject) = Subject::scaffold(work.path(), language) else {
            println!(
                "skipped: {language} is not built, `cargo xtask guests` installs what it needs"
            );
            continue;
        };
        let subject = subject.up(&network);
        subject.ask(&network, "/", 3).await;
        let recording = subject.record(&network, &[]);
        subject.runs_again(&recording);
    }

    // It is kept when the agent is no more.
    let number = oracle.id.to_string();
    let (code, out, err) = network.deploy(&["stop", &number, "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let recording = oracle.record(&network, &[]);
    oracle.runs_again(&recording);
    // Whoever did not deploy it gets none.
    let file = work.path().join("stolen.run");
    let key = network.ready.nodes[0].key.clone();
    let stranger = ["--key", text(&key), "record", &number, "--out", text(&file)];
    let (code, out, err) = network.deploy(&stranger);
    assert_eq!(code, 1, "{out}{err}");
    assert!(err.contains("did not deploy"), "{out}{err}");
    assert!(!file.exists());
}

/// An agent, its package, and where its recordings go.
struct Subject {
    name: String,
    id: DeploymentId,
    endpoint: String,
    car: PathBuf,
    folder: PathBuf,
}

impl Subject {
    /// The oracle that the network began with.
    fn of_the_network(network: &Network, work: &Path) -> Self {
        let folder = work.join("oracle");
        fs::create_dir(&folder).expect("a folder");
        for file in ["agent.yaml", "oracle.wasm"] {
            fs::copy(network.dir().join("oracle").join(file), folder.join(file)).expect("a copy");
        }
        let endpoint = network.ready.endpoint.clone().expect("dev prints the endpoint");
        let packed = Self::pack("oracle", folder);
        Self { id: network.oracle(), endpoint, ..packed }
    }

    fn packed(work: &Path, name: &str, module: &[u8], run: &str) -> Self {
        let folder = work.join(name);
        fs::create_dir(&folder).expect("a folder");
        let manifest = format!(
            "agent_id: \"talos.test.{name}@v1.0.0\"\nresources:\n  cpu: \"100m\"\n  memory: \"16MiB\"\n\
             run: {run}\nentry_point: \"agent.wasm\"\nartifact_hash: \"{}\"\n",
            ArtifactHash::of(module)
        );
        fs::write(folder.join("agent.yaml"), manifest).expect("it is written");
        fs::write(folder.join("agent.wasm"), module).expect("it is written");
        Self::pack(name, folder)
    }

    /// As `daee-deploy new` writes it; none where there is nothing to build it with.
    fn scaffold(work: &Path, language: &str) -> Option<Self> {
        let (source, programs) = match language {
            "python" => ("drone-micropython-raw@0.1.1", &["make", "python3", "npm"][..]),
            _ => ("libquickjs-ng-sys@0.14.0", &[][..]),
        };
        // Where the tests of `daee-deploy new` have it, too.
        let made = Path::new(env!("CARGO_TARGET_TMPDIR")).join("interpreters").join(language);
        let fetched = || {
            let cargo = Program::new("cargo").args(["info", "--quiet", source]);
            cargo.run(LONG).code == Some(0)
        };
        let here = Path::new("/usr/include/wasm32-wasi").is_dir()
            && ["clang-19", "wasm-ld-19", "cargo"].iter().chain(programs).all(|name| on_path(name))
            && (made.is_dir() || fetched());
        if !here {
            return None;
        }
        let folder = work.join(language);
        let name = format!("talos.test.{language}");
        let deploy = program("daee-deploy");
        let new = ["new", text(&folder), "--language", language, "--name", &name, "--json"];
        let told = ended(&deploy, &new);
        let told: Value = serde_json::from_str(&told.stdout).expect("one object");
        let build = told["build"].as_str().expect("how it is built");
        let shell = Program::new("/bin/sh").args(["-c", build]).folder(&folder);
        let built = shell.env("BUILD", made).run(Duration::from_secs(900));
        assert_eq!(built.code, Some(0), "{}{}", built.stdout, built.stderr);
        Some(Self::pack(language, folder))
    }

    fn pack(name: &str, folder: PathBuf) -> Self {
        let car = folder.with_extension("car");
        ended(&program("daee-deploy"), &["pack", text(&folder), "--out", text(&car)]);
        let (id, endpoint) = (DeploymentId(0), String::new());
        Self { name: name.to_owned(), id, endpoint, car, folder }
    }

    /// Runs it on the network.
    fn up(self, network: &Network) -> Self {
        let up = ["up", text(&self.folder), "--max-rate", "50", "--pay", "100", "--json"];
        let (code, out, err) = network.deploy(&[&up[..], &["--wait", "300"]].concat());
        assert_eq!(code, 0, "{}: {out}{err}", self.name);
        let told: Value = serde_json::from_str(&out).expect("one object");
        let id = told["deployment"].as_u64().expect("its number");
        let endpoint = told["endpoint"].as_str().expect("where it answers").to_owned();
        Self { id: DeploymentId(id), endpoint, ..self }
    }

    async fn ask(&self, network: &Network, path: &str, times: u32) {
        for _ in 0..times {
            until(&format!("{} answers", self.name), LONG, async || {
                let (status, _) = network.get(&self.endpoint, path).await;
                (200..300).contains(&status).then_some(())
            })
            .await;
        }
    }

    fn record(&self, network: &Network, more: &[&str]) -> Recorded {
        let file = self.folder.with_extension("run");
        let number = self.id.to_string();
        let record = ["record", &number, "--out", text(&file), "--json"];
        let (code, out, err) = network.deploy(&[&record[..], more].concat());
        assert_eq!(code, 0, "{}: {out}{err}", self.name);
        let told: Value = serde_json::from_str(&out).expect("one object");
        let bytes = fs::read(&file).expect("the recording");
        assert_eq!(told["bytes"], bytes.len(), "{}", self.name);
        assert_eq!(told["sha256"], format!("0x{}", hex(&sha256(&bytes))), "{}", self.name);
        assert!(!file.with_added_extension("part").exists());
        Recorded { file, told }
    }

    /// With a jail and without, and to the root that the node claims.
    fn runs_again(&self, recorded: &Recorded) {
        let told = &recorded.told;
        let root = told["state_root"].as_str().expect("a root");
        for isolation in ["process", "thread"] {
            let more = ["--isolation", isolation, "--expect-state-root", root];
            let (code, judged) = self.verify(&self.car, &recorded.file, &more);
            assert_eq!(code, 0, "{} {isolation}: {judged:#}", self.name);
            assert_eq!(judged["verdict"], "verified", "{} {isolation}", self.name);
            let turns = told["to"].as_u64().unwrap() - told["from"].as_u64().unwrap() + 1;
            assert_eq!(judged["facts"]["turns"], turns.to_string(), "{} {judged:#}", self.name);
        }
    }

    fn what_was_changed_is_found(&self, recorded: &Recorded) {
        let bytes = fs::read(&recorded.file).expect("the recording");
        let whole = Recording::decode(&bytes).expect("it can be read");
        let file = self.folder.with_extension("changed.run");
        let check = |change: &dyn Fn(&mut Recording), rule: &str, says: &str| {
            let mut recording = whole.clone();
            change(&mut recording);
            fs::write(&file, recording.encode()).expect("it is written");
            let (code, judged) = self.verify(&self.car, &file, &["--isolation", "thread"]);
            assert_eq!(code, 1, "{rule}: {judged:#}");
            let message = said_of(rule, &judged);
            assert!(message.contains(says), "{says}: {message}");
        };
        let other =
            |recording: &mut Recording| recording.claim.state_root = StateRoot::new([9; 32]);
        check(&other, "DAEE-J009", "state root");
        let other = |recording: &mut Recording| recording.claim.log_root = LogRoot::new([9; 32]);
        check(&other, "DAEE-J010", "log root");

        // A price that the source never gave, under a chain that fits it: the oracle would have gone on otherwise.
        let mut recording = whole.clone();
        let (turn, call) = lie(&mut recording);
        fs::write(&file, recording.encode()).expect("it is written");
        let (code, judged) = self.verify(&self.car, &file, &["--isolation", "process"]);
        assert_eq!(code, 1, "{judged:#}");
        let facts = &judged["facts"];
        assert_eq!(facts["differs_turn"], turn.to_string(), "{judged:#}");
        let found: u32 = facts["differs_call"].as_str().expect("a call").parse().expect("a number");
        assert!(found > call, "a later call differs: {judged:#}");
    }

    fn another_package_is_refused(&self, recorded: &Recorded) {
        let folder = self.folder.with_file_name("another");
        fs::create_dir(&folder).expect("a folder");
        let yaml = fs::read_to_string(self.folder.join("agent.yaml")).expect("the manifest");
        let other = yaml.replacen("resources:", "sla:\n  grace: 77s\nresources:", 1);
        assert_ne!(yaml, other);
        fs::write(folder.join("agent.yaml"), other).expect("it is written");
        fs::copy(self.folder.join("oracle.wasm"), folder.join("oracle.wasm")).expect("a copy");
        let other = Self::pack("other", folder);
        let (code, judged) = self.verify(&other.car, &recorded.file, &[]);
        assert_eq!(code, 1, "{judged:#}");
        said_of("DAEE-J012", &judged);
    }

    fn verify(&self, car: &Path, file: &Path, more: &[&str]) -> (i32, Value) {
        let run = ["run", text(car), text(file), "--format", "json"];
        let ended = Program::new(program("daee-verify")).args([&run[..], more].concat()).run(LONG);
        let judged = serde_json::from_str(&ended.stdout);
        let judged = judged.unwrap_or_else(|_| panic!("{}{}", ended.stdout, ended.stderr));
        (ended.code.unwrap_or(-1), judged)
    }
}

/// A recording, and what `daee-deploy record` said of it.
struct Recorded {
    file: PathBuf,
    told: Value,
}

/// Changes the first answer of `http.fetch` that has a price, and what the chain of entries comes to. Which turn and
/// call it was.
fn lie(recording: &mut Recording) -> (u64, u32) {
    let (mut segment, mut link) = (Segment::default(), Segment::default());
    let snapshot = daee_runtime::Snapshot::decode(&recording.snapshot).expect("its beginning");
    let mut chain: Transcript = snapshot.progress.transcript;
    let mut place = None;
    for entry in entries(&recording.transcript) {
        let (mut entry, _) = entry.expect("whole entries");
        if let Entry::Call { turn, call, op, answer: Some(answer), .. } = &mut entry
            && op == "http.fetch"
            && place.is_none()
        {
            let given = answer.clone();
            let frame = given.join(|word| {
                let found = recording.bodies.iter().find(|(hash, _)| hash == word);
                found.map(|(_, bytes)| bytes.as_slice())
            });
            let mut frame = frame.expect("its bytes are there");
            // The first digit of the price.
            let at = frame.windows(7).position(|bytes| bytes == b"\"usd\":3").map(|at| at + 6);
            if let Some(at) = at {
                frame[at] = b'4';
                *answer = Frame::of(&frame, &mut segment.bodies);
                place = Some((*turn, *call));
            }
        }
        segment.push(&entry);
        link.push(&entry);
        if entry.closes() {
            chain.link(std::mem::take(&mut link).bytes());
        }
    }
    let (transcript, bodies) = segment.finish();
    recording.transcript = transcript;
    recording.bodies.extend(bodies);
    recording.claim.transcript_root = chain.root();
    place.expect("the oracle fetched a price")
}

/// The finding of this rule among those on the package.
fn said_of<'a>(rule: &str, judged: &'a Value) -> &'a str {
    let findings = judged["findings"].as_array().expect("a list");
    let found = findings.iter().find(|finding| finding["rule"] == rule);
    let found = found.unwrap_or_else(|| panic!("{rule} is not found: {judged:#}"));
    found["message"].as_str().expect("words")
}

fn wat_of(text: &str) -> Vec<u8> {
    wat::parse_str(text).expect("it is WAT")
}

fn ended(program: &Path, arguments: &[&str]) -> Ended {
    let ended = Program::new(program).args(arguments).run(LONG);
    assert_eq!(ended.code, Some(0), "{arguments:?}: {}{}", ended.stdout, ended.stderr);
    ended
}

fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn on_path(program: &str) -> bool {
    let path: OsString = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
