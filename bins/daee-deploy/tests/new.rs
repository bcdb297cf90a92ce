//! Agents to begin with: written as a user does it, and built and run where their compilers are.

use std::{
    collections::BTreeSet,
    env,
    ffi::OsString,
    fs,
    io::{Write as _, stderr},
    path::{Path, PathBuf},
    time::Duration,
};

use daee_artifact::Artifact;
use daee_manifest::{Manifest, Run};
use daee_runtime::{
    Agent, Event, Launch, Limits, Nothing, Outcome, RunStyle, Runtime, RuntimeConfig, Snapshot,
    Turned,
};
use daee_testkit::{Ended, Program, TempDir, folder};
use daee_types::Timestamp;
use serde_json::Value;

const LANGUAGES: &[&str] = &["c"];
const NAME: &str = "talos.example.hello";
/// The most bytes that can be deployed.
const ARTIFACT_BYTES_MAX: u64 = 1 << 20;
/// Both ways to be entered, and nothing else.
const MODULE: &str = r#"(module (memory (export "memory") 1) (func (export "_start"))
    (func (export "daee_turn") (result i32) (i32.const 0)))"#;

#[test]
fn every_agent_is_a_manifest_once_packed() {
    for language in LANGUAGES {
        let new = New::write(language);
        fs::write(new.path("agent.wasm"), wat::parse_str(MODULE).unwrap()).unwrap();
        let packed = new.json(&["pack", "agent"]);
        assert_eq!(packed["agent_id"], format!("{NAME}@v0.1.0"), "{language}");
        assert_eq!(new.json(&["check", "agent"])["verdict"], "verified", "{language}");
        // As it comes, nothing is allowed.
        assert_eq!(new.manifest().permissions().len(), 0, "{language}");
    }
}

#[test]
fn files_are_listed_and_no_others_are_there() {
    for language in LANGUAGES {
        let new = New::write(language);
        let listed = new.told["files"].as_array().unwrap().iter();
        let listed: BTreeSet<_> = listed.map(|file| file.as_str().unwrap().to_owned()).collect();
        let mut found = BTreeSet::new();
        files_below(&new.path(""), "", &mut found);
        assert_eq!(listed, found, "{language}");
        for file in found {
            let runs = is_executable(&new.path(&file));
            assert_eq!(runs, file.ends_with(".sh"), "{language}: {file}");
        }
    }
}

#[test]
fn a_folder_that_is_not_empty_is_left_as_it_is() {
    let here = folder();
    fs::create_dir(here.path().join("agent")).unwrap();
    fs::write(here.path().join("agent/notes"), "mine").unwrap();
    let check = |path: &str, name: &str, exit: i32, says: &str| {
        let ended = deploy(here.path(), &["new", path, "--language", "c", "--name", name]);
        assert_eq!(ended.code, Some(exit), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{says} is not in {}", ended.stderr);
    };
    check("agent", NAME, 1, "DAEE-Y002");
    check("agent/notes", NAME, 2, "DAEE-Y004");
    for name in ["hello", "talos.Hello", "talos.hello@v1.0.0", "", "a..b", "a.-b"] {
        check("other", name, 2, "DAEE-Y003");
    }
    assert_eq!(fs::read_dir(here.path().join("agent")).unwrap().count(), 1);
    assert!(!here.path().join("other").exists());
}

#[test]
fn without_a_name_the_folder_gives_it() {
    let here = folder();
    let ended = deploy(here.path(), &["new", "deep/My_Agent", "--language", "c"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let yaml = fs::read_to_string(here.path().join("deep/My_Agent/agent.yaml")).unwrap();
    assert!(yaml.contains("\"talos.example.my-agent@v0.1.0\""), "{yaml}");
    for says in ["written        deep/My_Agent/agent.c", "  ./build.sh", "  cd deep/My_Agent"] {
        assert!(ended.stdout.lines().any(|line| line.starts_with(says)), "{}", ended.stdout);
    }
}

#[test]
fn c_is_built_and_runs() {
    let libc = Path::new("/usr/include/wasm32-wasi").is_dir();
    let here = libc && on_path("clang-19") && on_path("wasm-ld-19");
    check("c", here.then(Vec::new).ok_or("clang-19, lld-19 and wasi-libc are not all here"));
}

/// Builds the agent and holds it to what `scaffold/README.md` says of all. `tools` is what the environment
/// needs to have the compiler in it.
fn check(language: &str, tools: Result<Vec<(&str, OsString)>, &str>) {
    let tools = match tools {
        Ok(tools) => tools,
        // Past what the test runner keeps to itself.
        Err(why) => return writeln!(stderr(), "{language} not built: {why}").unwrap(),
    };
    let new = New::write(language);
    let build = new.told["build"].as_str().unwrap();
    let mut shell = Program::new("/bin/sh").args(["-c", build]).folder(&new.path(""));
    for (name, value) in tools {
        shell = shell.env(name, value);
    }
    let built = shell.run(Duration::from_secs(600));
    assert_eq!(built.code, Some(0), "{language}: {}{}", built.stdout, built.stderr);
    let packed = new.json(&["pack", "agent"]);
    assert_eq!(new.json(&["check", "agent"])["verdict"], "verified", "{language}");
    let bytes = packed["bytes"].as_u64().unwrap();
    writeln!(stderr(), "{language}: {bytes} bytes").unwrap();
    let deployable = bytes <= ARTIFACT_BYTES_MAX;
    assert!(deployable || new.told["note"].is_string(), "{language}: {bytes} bytes and no word");
    run(language, &new);
}

fn run(language: &str, new: &New) {
    let manifest = new.manifest();
    let artifact = Artifact::fetched(fs::read(new.path("agent.wasm")).unwrap());
    let artifact = artifact.verify(manifest.artifact_hash()).unwrap();
    let runtime = Runtime::new(RuntimeConfig::in_process()).unwrap();
    let style = match manifest.run() {
        Run::Reactor => None,
        Run::Resident => Some(RunStyle::Resident),
        Run::PerEvent => Some(RunStyle::PerEvent),
    };
    let module = runtime.prepare(&artifact, style).unwrap();
    let launch = |snapshot| Launch {
        limits: Limits { memory_max: manifest.resources().memory, ..Limits::default() },
        policy: manifest.policy(),
        env: manifest.env().to_vec(),
        args: manifest.args().to_vec(),
        snapshot,
        quota: manifest.storage(),
        ..Launch::new(module.clone())
    };
    let start =
        |snapshot| Agent::start(&runtime, launch(snapshot), Box::new(Nothing::default())).unwrap();

    let mut agent = start(Snapshot::new(manifest.storage()));
    let turn = |agent: &mut Agent, event: Event| {
        let turned = agent.turn(event, Timestamp(1_700_000_000_000));
        assert_eq!(turned.outcome, Outcome::Done, "{language}: {:?}", logged(&turned));
        turned
    };
    let visit = |agent: &mut Agent, count: u64| {
        let turned = turn(agent, get("/"));
        let line = format!("hello from {NAME}, visit {count}");
        assert_eq!(logged(&turned), [line.as_str()], "{language}");
        let answer = turned.answer.unwrap();
        assert_eq!(String::from_utf8(answer.body).unwrap(), format!("{line}\n"), "{language}");
        assert_eq!(answer.status, 200, "{language}");
        assert!(
            answer.headers.iter().any(|(name, value)| name.eq_ignore_ascii_case("content-type")
                && value.starts_with("text/plain")),
            "{language}: {:?}",
            answer.headers
        );
        writeln!(stderr(), "{language}: visit {count} took {} fuel", turned.fuel).unwrap();
    };
    turn(&mut agent, Event::Start);
    visit(&mut agent, 1);
    visit(&mut agent, 2);
    for path in ["/none", "//", "/?", "/\"\\\u{e9}"] {
        let turned = turn(&mut agent, get(path));
        assert_eq!(turned.answer.unwrap().status, 404, "{language} {path}");
    }
    let timer = Event::Timer { name: "schedule".into() };
    assert_eq!(logged(&turn(&mut agent, timer)), ["on schedule"], "{language}");
    let tick = turn(&mut agent, Event::Tick { block_hash: [7; 32] });
    assert!(tick.answer.is_none() && logged(&tick).is_empty(), "{language}");

    // Another node goes on from the checkpoint; another version has the state alone.
    let kept = agent.snapshot();
    let kept = || Snapshot::decode(&kept).unwrap();
    visit(&mut start(kept()), 3);
    visit(&mut start(kept().without_machine()), 3);
}

/// An agent that was just written, in a folder of its own.
struct New {
    here: TempDir,
    /// What the program said of it.
    told: Value,
}

impl New {
    fn write(language: &str) -> Self {
        let mut new = Self { here: folder(), told: Value::Null };
        new.told = new.json(&["new", "agent", "--language", language, "--name", NAME]);
        new
    }

    fn path(&self, name: &str) -> PathBuf {
        self.here.path().join("agent").join(name)
    }

    fn json(&self, args: &[&str]) -> Value {
        let ended = deploy(self.here.path(), &[args, &["--json"]].concat());
        assert_eq!(ended.code, Some(0), "{args:?}: {}{}", ended.stdout, ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    fn manifest(&self) -> Manifest {
        Manifest::read(&fs::read(self.path("agent.yaml")).unwrap()).unwrap()
    }
}

fn deploy(folder: &Path, args: &[&str]) -> Ended {
    let program = Program::new(env!("CARGO_BIN_EXE_daee-deploy")).args(args).folder(folder);
    program.run(Duration::from_secs(60))
}

fn get(path: &str) -> Event {
    Event::Http {
        method: "GET".into(),
        path: path.into(),
        query: String::new(),
        headers: Vec::new(),
        body: Vec::new(),
    }
}

fn logged(turned: &Turned) -> Vec<&str> {
    turned.commit.logs.iter().map(|line| line.text.as_str()).collect()
}

fn files_below(folder: &Path, below: &str, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => files_below(&entry.path(), &format!("{name}/"), found),
            false => assert!(found.insert(name)),
        }
    }
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).unwrap().permissions().mode() & 0o111 != 0
}

fn on_path(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
