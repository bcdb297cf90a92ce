//! Agents to begin with: written as a user does it, and built and run where their compilers are.

use std::{
    collections::BTreeSet,
    fs,
    io::{Write as _, stderr},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use daee_artifact::Artifact;
use daee_manifest::{Manifest, Run};
use daee_runtime::{
    Agent, Event, Launch, Limits, Nothing, Outcome, RunStyle, Runtime, RuntimeConfig, Snapshot,
    Turned,
};
use daee_testkit::{Ended, Program, TempDir, Toolchain, folder};
use daee_types::{ArtifactHash, Timestamp};
use serde_json::Value;

const LANGUAGES: &[&str] = &["rust", "c", "assemblyscript", "go", "javascript", "python"];
const NAME: &str = "talos.example.hello";
/// The most bytes that can be deployed.
const ARTIFACT_BYTES_MAX: usize = 1 << 20;
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
        let schema = fs::read(new.path("agent.schema.json")).unwrap();
        let schema: Value = serde_json::from_slice(&schema).unwrap();
        assert_eq!(schema, daee_manifest::json_schema(), "{language}");
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
fn rust_is_built_and_runs() {
    check("rust");
}

#[test]
fn c_is_built_and_runs() {
    check("c");
}

#[test]
fn assemblyscript_is_built_and_runs() {
    check("assemblyscript");
}

#[test]
fn go_is_built_and_runs() {
    check("go");
}

#[test]
fn javascript_is_built_and_runs_and_what_it_throws_undoes_the_turn() {
    check("javascript");
    let script = r#"
        import { ask, state } from "daee";
        import { left } from "./left.js";
        const seen = [];
        export async function http({ path }) {
            const visits = (state.get("visits") ?? 0) + 1;
            state.set("visits", visits);
            seen.push(path);
            switch (path) {
                case "/throw": throw new RangeError('out of "range"');
                case "/reject": await Promise.reject("a word");
                case "/forget": Promise.reject(new Error("nobody looks")); break;
                case "/wait": await new Promise(() => {});
                case "/refused": await fetch("https://example.com/");
                case "/unknown": ask("make.tea");
                case "/none": state.set("none", undefined);
                case "/deep": (function deep() { deep(); deep(); })();
                case "/answer": return { toJSON() { throw "seven"; } };
                case "/caught": await left().catch(() => {});
            }
            return { visits, seen: seen.length };
        }"#;
    let left = "export async function left() { throw new Error('left alone'); }";
    check_failing(
        "javascript",
        &[("agent.js", script), ("left.js", left)],
        &[
            ("/throw", "RangeError: out of \"range\"\n    at http (agent.js:"),
            ("/reject", "a word"),
            ("/forget", "Error: nobody looks\n"),
            ("/wait", "the turn waits for a promise that nothing will settle"),
            ("/refused", "Refused: http.fetch: "),
            ("/unknown", "Refused: make.tea: "),
            ("/none", "TypeError: none: "),
            ("/deep", "RangeError: Maximum call stack size exceeded\n    at deep (agent.js:"),
            ("/answer", "seven"),
        ],
        r#"{"visits":N,"seen":N}"#,
    );
    for (script, says) in
        [("export function http() {", "SyntaxError: "), ("import './none.js';", "ReferenceError: ")]
    {
        check_failing("javascript", &[("agent.js", script)], &[("/", says)], "");
    }
}

#[test]
fn python_is_built_and_runs_and_what_it_raises_undoes_the_turn() {
    check("python");
    let script = r#"
from daee import ask, fetch, state
from left import left
import gc
seen = []
def deep():
    return [deep(), deep()]
def http(request):
    visits = state.get("visits", 0) + 1
    state.set("visits", visits)
    path = request.path
    seen.append(path)
    if path == "/raise":
        raise ValueError('out of "range"')
    if path == "/left":
        left()
    if path == "/refused":
        fetch("https://example.com/")
    if path == "/unknown":
        ask("make.tea")
    if path == "/deep":
        deep()
    if path == "/memory":
        held = []
        while True:
            held.append(bytes(1000))
    if path == "/exit":
        raise SystemExit("bye")
    # What is not held is collected: this is twice of what there is.
    for n in range(8000):
        bytes(1000)
    try:
        left()
    except ValueError:
        pass
    try:
        deep()
    except RuntimeError:
        gc.collect()
    return {"kept": [visits, len(seen), 2**70 // -7, "{:.2f}".format(2 / 3)]}
"#;
    let left = "def left():\n    raise ValueError('left alone')\n";
    check_failing(
        "python",
        &[("agent.py", script), ("left.py", left)],
        &[
            ("/raise", "line 14, in http\nValueError: out of \"range\""),
            ("/left", "\n  File \"left.py\", line 2, in left\nValueError: left alone"),
            ("/refused", "Refused: http.fetch: "),
            ("/unknown", "Refused: make.tea: "),
            ("/deep", "RuntimeError: maximum recursion depth exceeded"),
            ("/memory", "MemoryError: "),
            ("/exit", "SystemExit: bye"),
        ],
        r#"{"kept":[N,N,-168655945816773043347,"0.67"]}"#,
    );
    for (script, says) in
        [("def http(:", "SyntaxError: "), ("import none", "ImportError: no module named 'none'")]
    {
        check_failing("python", &[("agent.py", script)], &[("/", says)], "");
    }
}

/// Builds an agent with these files. Each path undoes its turn and says why in the log; `/caught` is answered with
/// `kept`, where `N` stands for how many turns were kept.
fn check_failing(language: &str, files: &[(&str, &str)], fails: &[(&str, &str)], kept: &str) {
    let Some(tools) = Toolchain::find(language) else { return };
    let new = New::write(language);
    for (name, text) in files {
        fs::write(new.path(name), text).unwrap();
    }
    new.build(&tools);
    let (runtime, launch) = new.launch();
    let mut agent = Agent::start(&runtime, launch, Box::new(Nothing::default())).unwrap();
    let mut turn = |path: &str| agent.turn(get(path), Timestamp(1_700_000_000_000));
    let mut count = 0;
    for (path, says) in fails {
        let turned = turn(path);
        let lines = logged(&turned);
        assert_eq!(turned.outcome, Outcome::RolledBack { code: 1 }, "{language} {path}: {lines:?}");
        let said = lines.iter().any(|line| line.contains(says));
        assert!(said, "{language} {path}: {says:?} is not among {lines:?}");
        if kept.is_empty() {
            continue;
        }
        count += 1;
        let turned = turn("/caught");
        assert_eq!(turned.outcome, Outcome::Done, "{language} {path}: {:?}", logged(&turned));
        let body = String::from_utf8(turned.answer.unwrap().body).unwrap();
        assert_eq!(body, kept.replace('N', &count.to_string()), "{language} after {path}");
    }
}

/// Builds the agent and holds it to what `scaffold/README.md` says of all.
fn check(language: &str) {
    let Some(tools) = Toolchain::find(language) else { return };
    // Where it lay the last time, so that compilers know it again.
    let place = tmp().join("new").join(language);
    let _ = fs::remove_dir_all(&place);
    fs::create_dir_all(&place).unwrap();
    let new = New::write_to(&place, language);
    let bytes = new.build(&tools);
    say(&format!("{language}: {bytes} bytes"));
    if bytes <= ARTIFACT_BYTES_MAX {
        assert_eq!(new.json(&["check", "agent"])["verdict"], "verified", "{language}");
    } else {
        assert!(new.told["note"].as_str().unwrap().contains("1 MiB"), "{language}");
    }
    run(language, &new);
}

fn run(language: &str, new: &New) {
    let (runtime, launch) = new.launch();
    let start = |snapshot| {
        let launch = Launch { snapshot, ..launch.clone() };
        Agent::start(&runtime, launch, Box::new(Nothing::default())).unwrap()
    };

    let mut agent = start(launch.snapshot.clone());
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
        say(&format!("{language}: visit {count} took {} fuel", turned.fuel));
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
    folder: PathBuf,
    /// What the program said of it.
    told: Value,
    _gone: Option<TempDir>,
}

impl New {
    fn write(language: &str) -> Self {
        let gone = folder();
        let new = Self::write_to(gone.path(), language);
        Self { _gone: Some(gone), ..new }
    }

    /// In a folder that stays.
    fn write_to(folder: &Path, language: &str) -> Self {
        let mut new = Self { folder: folder.to_owned(), told: Value::Null, _gone: None };
        new.told = new.json(&["new", "agent", "--language", language, "--name", NAME]);
        new
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join("agent").join(name)
    }

    /// Builds the module and writes its hash into the manifest; says how many bytes it has.
    fn build(&self, tools: &Toolchain) -> usize {
        assert_eq!(self.told["build"], "./build.sh");
        let module = tools.build(&self.path(""));
        if module.len() <= ARTIFACT_BYTES_MAX {
            self.json(&["pack", "agent"]);
        } else {
            // It may be run all the same.
            let hash = format!("artifact_hash: \"{}\"", ArtifactHash::of(&module));
            let yaml = fs::read_to_string(self.path("agent.yaml")).unwrap();
            fs::write(self.path("agent.yaml"), yaml.replace("artifact_hash: \"\"", &hash)).unwrap();
        }
        module.len()
    }

    /// What starts it in this process, as a node would.
    fn launch(&self) -> (Runtime, Launch) {
        let manifest = self.manifest();
        let artifact = Artifact::fetched(fs::read(self.path("agent.wasm")).unwrap());
        let artifact = artifact.verify(manifest.artifact_hash()).unwrap();
        let runtime = Runtime::new(RuntimeConfig::in_process()).unwrap();
        let style = match manifest.run() {
            Run::Reactor => None,
            Run::Resident => Some(RunStyle::Resident),
            Run::PerEvent => Some(RunStyle::PerEvent),
        };
        let module = runtime.prepare(&artifact, style).unwrap();
        let launch = Launch {
            limits: Limits { memory_max: manifest.resources().memory, ..Limits::default() },
            policy: manifest.policy(),
            env: manifest.env().to_vec(),
            args: manifest.args().to_vec(),
            snapshot: Snapshot::new(manifest.storage()),
            quota: manifest.storage(),
            ..Launch::new(module)
        };
        (runtime, launch)
    }

    fn json(&self, args: &[&str]) -> Value {
        let ended = deploy(&self.folder, &[args, &["--json"]].concat());
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

/// With what looks like the rest of a head in it.
fn get(path: &str) -> Event {
    Event::Http {
        method: "GET".into(),
        path: path.into(),
        query: "\",\"path\":\"/q\"}".into(),
        headers: vec![("path".into(), "kind".into()), ("x".into(), "{\"path\":\"/h\"".into())],
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
    fs::metadata(file).unwrap().permissions().mode() & 0o111 != 0
}

/// Past what the test runner keeps to itself.
fn say(text: &str) {
    stderr().write_all(format!("{text}\n").as_bytes()).unwrap();
}

/// Where tests may leave what they need again.
fn tmp() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}
