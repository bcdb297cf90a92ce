//! The bindings of `crates/daee-agent/bindings` and `daee-agent`, each built with its own compiler and run in cells: by the
//! same vectors of the door, and by the same story of the price oracle. This program is started again for each cell,
//! so it has a `main` of its own.

mod cells;
#[allow(dead_code, reason = "the other test asks for more")]
mod oracle;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cells::{logged, run, runtime};
use daee_artifact::{Artifact, RunStyle, Verified};
use daee_policy::{Permission, Permit, Policy};
use daee_runtime::{
    Agent, CallKey, Event, FetchAnswer, FetchRequest, Launch, Limits, Outcome, Outside,
    OutsideError, Recording, Runtime, RuntimeConfig, Snapshot, Turned, replay,
};
use daee_state::Delta;
use daee_testkit::{Program, Toolchain};
use daee_transcript::Bodies;
use daee_types::{ArtifactHash, ByteSize, DeploymentId, EpochId, Timestamp};
use oracle::{NOW, Oracle};
use serde_json::{Map, Value, json};

const MEMORY: ByteSize = ByteSize::mib(16);
const STORAGE: ByteSize = ByteSize::mib(1);

/// A language of `daee-deploy new`, and what of it is tested.
struct Language {
    name: &'static str,
    /// The agent, in the folder that was written.
    agent: &'static str,
    relay: &'static str,
    /// The oracle, for which `docs/examples` has those of Rust and C.
    oracle: Option<&'static str>,
    /// Whether its scaffold makes residents too, when the manifest says so.
    residents: bool,
}

const LANGUAGES: &[Language] = &[
    Language {
        name: "rust",
        agent: "src/lib.rs",
        relay: "tests/e2e/guests/relay.rs",
        oracle: None,
        residents: false,
    },
    Language {
        name: "c",
        agent: "agent.c",
        relay: "crates/daee-agent/bindings/c/tests/relay.c",
        oracle: None,
        residents: false,
    },
    Language {
        name: "assemblyscript",
        agent: "assembly/index.ts",
        relay: "crates/daee-agent/bindings/assemblyscript/tests/relay.ts",
        oracle: Some("crates/daee-agent/bindings/assemblyscript/examples/oracle.ts"),
        residents: false,
    },
    Language {
        name: "go",
        agent: "agent.go",
        relay: "crates/daee-agent/bindings/go/tests/relay.go",
        oracle: Some("crates/daee-agent/bindings/go/examples/oracle.go"),
        residents: true,
    },
    Language {
        name: "javascript",
        agent: "agent.js",
        relay: "crates/daee-agent/bindings/javascript/tests/relay.js",
        oracle: Some("crates/daee-agent/bindings/javascript/examples/oracle.js"),
        residents: true,
    },
    Language {
        name: "python",
        agent: "agent.py",
        relay: "crates/daee-agent/bindings/python/tests/relay.py",
        oracle: Some("crates/daee-agent/bindings/python/examples/oracle.py"),
        residents: true,
    },
];

fn main() {
    daee_runtime::child_main();
    run(&[
        ("rust_answers_as_the_vectors_say", || answers_as_the_vectors_say("rust")),
        ("c_answers_as_the_vectors_say", || answers_as_the_vectors_say("c")),
        ("assemblyscript_answers_as_the_vectors_say", || {
            answers_as_the_vectors_say("assemblyscript")
        }),
        ("go_answers_as_the_vectors_say", || answers_as_the_vectors_say("go")),
        ("javascript_answers_as_the_vectors_say", || answers_as_the_vectors_say("javascript")),
        ("python_answers_as_the_vectors_say", || answers_as_the_vectors_say("python")),
        ("the_oracle_in_c_lives_as_in_rust", c_lives_as_rust),
        ("the_oracle_in_assemblyscript_lives_as_in_rust", || lives_as_rust("assemblyscript")),
        ("the_oracle_in_go_lives_as_in_rust", || lives_as_rust("go")),
        ("the_oracle_in_javascript_lives_as_in_rust", || lives_as_rust("javascript")),
        ("the_oracle_in_python_lives_as_in_rust", || lives_as_rust("python")),
    ]);
}

// The vectors of the door.

fn answers_as_the_vectors_say(language: &str) {
    let language = language_of(language);
    let Some(tools) = Toolchain::find(language.name) else { return };
    let relay = build(language, &tools, language.relay, None);
    let by_name = walk(language.name, &relay, false);
    let by_function = walk(language.name, &relay, true);
    assert_eq!(by_name.len(), 0, "nothing is called by function");
    let vectors = vectors();
    let known: BTreeSet<_> = operations(&vectors).collect();
    assert_eq!(by_function, known, "{}: each operation has a function", language.name);
}

/// One agent's life through all turns. Gives the operations that were done by a function.
fn walk(language: &str, relay: &Artifact<Verified>, typed: bool) -> BTreeSet<String> {
    let vectors = vectors();
    let permissions: Vec<_> = list(&vectors, "permissions").iter().map(text_of).collect();
    let mut agent = start(relay, &permissions, Box::new(Told::new(&vectors)));
    let mut functions = BTreeSet::new();
    for turn in list(&vectors, "turns").iter().chain(list(&vectors, "files")) {
        let name = text(turn, "name");
        let calls = list(turn, "calls");
        let typed: Vec<_> = calls.iter().map(|call| typed && is_expressible(call)).collect();
        let body: Vec<u8> =
            calls.iter().zip(&typed).flat_map(|(call, typed)| input(call, *typed)).collect();
        let turned = agent.turn(request(body), Timestamp(NOW));
        assert_eq!(turned.outcome, Outcome::Done, "{language} {name}: {:?}", logged(&turned));
        let answer = turned.answer.as_ref().expect("the relay answers");
        let found = answers(&answer.body);
        assert_eq!(found.len(), calls.len(), "{language} {name}");
        for ((call, typed), found) in calls.iter().zip(typed).zip(found) {
            compare(language, call, typed, found);
            if typed {
                functions.insert(text(call, "op"));
            }
        }
        left_behind(language, turn, &agent, &turned);
    }
    for case in list(&vectors, "answers") {
        let call = json!({"op": "event.answer", "head": case["head"], "body": case["body"],
            "returns": case["returns"]});
        let typed = typed && is_expressible(&call);
        let turned = agent.turn(request(input(&call, typed)), Timestamp(NOW));
        assert_eq!(turned.outcome, Outcome::Done, "{language} {case}: {:?}", logged(&turned));
        let answer = turned.answer.expect("one or the other");
        if case["returns"].is_null() {
            assert_eq!(json!(answer.status), case["status"], "{language} {case}");
            assert_eq!(json!(answer.headers), case["headers"], "{language} {case}");
            assert_eq!(answer.body, bytes(case, "body"), "{language} {case}");
            if typed {
                functions.insert("event.answer".into());
            }
        } else {
            let (code, ..) = &answers(&answer.body)[0];
            assert_eq!(json!(code), case["returns"], "{language} {case}");
        }
    }
    functions
}

/// Logs, timers and effects of a turn, where the vectors tell them.
fn left_behind(language: &str, turn: &Value, agent: &Agent, turned: &Turned) {
    let name = text(turn, "name");
    if let Some(logs) = turn["logs"].as_array() {
        let found: Vec<_> =
            turned.commit.logs.iter().map(|line| json!([line.level, line.text])).collect();
        assert_eq!(&found, logs, "{language} {name}");
    }
    if turn["timers"].is_object() {
        let timers = agent.state().timers().iter();
        let found: Map<_, _> = timers.map(|(name, at)| (name.clone(), json!(at.0))).collect();
        assert_eq!(Value::Object(found), turn["timers"], "{language} {name}");
    }
    let effects = turn["effects"].as_array().map(Vec::as_slice).unwrap_or_default();
    let expected: Vec<_> =
        effects.iter().map(|effect| (text(effect, "topic"), bytes(effect, "data"))).collect();
    let found: Vec<_> =
        turned.effects.iter().map(|effect| (effect.topic.clone(), effect.data.clone())).collect();
    assert_eq!(found, expected, "{language} {name}");
}

/// What a function of a binding can say: nothing malformed, and of files what has a path.
fn is_expressible(call: &Value) -> bool {
    let says = |name: &str| !call["head"][name].is_null();
    let by_number = ["at", "to_at", "hold", "kind"].iter().any(|name| says(name));
    !matches!(call["returns"].as_i64(), Some(-3 | -2)) && !by_number
}

fn compare(language: &str, call: &Value, typed: bool, found: (i32, Value, Vec<u8>)) {
    let (code, mut head, body) = found;
    let code = i64::from(code.min(0));
    assert_eq!(code, call["returns"].as_i64().unwrap_or(0), "{language} {call}: {head}");
    let mut expected = call["answer"].clone();
    if typed {
        tell_as_functions_do(call, &mut expected);
        if code < 0 {
            let needs = |head: &Value| head["needs"].clone();
            assert_eq!(needs(&head), needs(&expected), "{language} {call}");
            return;
        }
        tell_as_functions_do(call, &mut head);
    }
    let told = head.as_object_mut().expect("a head is an object");
    told.retain(|_, value| !value.is_null());
    if code < 0 {
        // Rust's error has no head.
        if language == "rust" {
            return;
        }
        let message = told.remove("message");
        assert!(message.is_some_and(|message| message.is_string()), "{language} {call}");
    }
    assert_eq!(head, expected, "{language} {call}");
    assert_eq!(body, bytes(call, "answer_body"), "{language} {call}");
}

/// Without what only the head of an answer says.
fn tell_as_functions_do(call: &Value, head: &mut Value) {
    let Some(head) = head.as_object_mut() else { return };
    match text(call, "op").as_str() {
        "http.fetch" | "ipfs.read" => drop(head.remove("ms")),
        "file.read" | "file.write" => drop(head.remove("size")),
        "file.stat" | "file.create" | "file.mkdir" => drop(head.remove("file")),
        "file.list" => {
            for entry in head.get_mut("entries").and_then(Value::as_array_mut).into_iter().flatten()
            {
                entry.as_object_mut().expect("an entry").remove("file");
            }
        }
        _ => {}
    }
}

fn operations(vectors: &Value) -> impl Iterator<Item = String> {
    let turns = list(vectors, "turns").iter().chain(list(vectors, "files"));
    let calls = turns.flat_map(|turn| list(turn, "calls"));
    let known = calls.filter(|call| call["returns"].as_i64() != Some(-2));
    known.map(|call| text(call, "op")).chain(["event.answer".to_owned()])
}

fn input(call: &Value, typed: bool) -> Vec<u8> {
    let head = match &call["head"] {
        Value::Null => "{}".to_owned(),
        head => head.to_string(),
    };
    let mut out = vec![u8::from(typed)];
    for part in [text(call, "op").as_bytes(), head.as_bytes(), &bytes(call, "body")] {
        out.extend((part.len() as u32).to_le_bytes());
        out.extend(part);
    }
    out
}

fn answers(mut body: &[u8]) -> Vec<(i32, Value, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((code, rest)) = body.split_first_chunk::<4>() {
        body = rest;
        let mut part = || {
            let (len, rest) = body.split_first_chunk::<4>().expect("a length");
            let (part, rest) = rest.split_at(u32::from_le_bytes(*len) as usize);
            body = rest;
            part.to_vec()
        };
        let head = part();
        let parsed = serde_json::from_slice(&head);
        let parsed =
            parsed.unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&head)));
        found.push((i32::from_le_bytes(*code), parsed, part()));
    }
    found
}

fn vectors() -> Value {
    let file = repository().join("crates/daee-runtime/vectors/door.json");
    serde_json::from_slice(&fs::read(file).expect("the vectors are there")).expect("JSON")
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn text(value: &Value, name: &str) -> String {
    text_of(&value[name])
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// Text under `name`, or bytes under `name_hex`, or nothing.
fn bytes(value: &Value, name: &str) -> Vec<u8> {
    let Some(digits) = value[format!("{name}_hex")].as_str() else {
        return value[name].as_str().unwrap_or_default().as_bytes().to_vec();
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect()
}

fn request(body: Vec<u8>) -> Event {
    Event::Http {
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: Vec::new(),
        body,
    }
}

fn start(relay: &Artifact<Verified>, permissions: &[String], outside: Box<Told>) -> Agent {
    let runtime = runtime();
    let module = runtime.prepare(relay, None).expect("it runs here");
    let launch = Launch {
        limits: Limits { memory_max: MEMORY, ..Limits::default() },
        policy: policy(permissions),
        snapshot: Snapshot::new(STORAGE),
        quota: STORAGE,
        ..Launch::new(module)
    };
    Agent::start(&runtime, launch, outside).expect("it starts")
}

fn policy(permissions: &[impl AsRef<str>]) -> Policy {
    let lines = permissions.iter().map(|line| line.as_ref().parse::<Permission>());
    Policy::new(lines.map(|line| (line.expect("a permission"), 1)).collect())
}

/// The outside that the vectors describe.
struct Told {
    fetches: BTreeMap<String, Value>,
    contents: BTreeMap<String, Vec<u8>>,
    now: Timestamp,
}

impl Told {
    fn new(vectors: &Value) -> Self {
        let outside = &vectors["outside"];
        let fetches = list(outside, "fetches").iter();
        let contents = list(outside, "contents").iter();
        Self {
            fetches: fetches.map(|fetch| (text(fetch, "url"), fetch.clone())).collect(),
            contents: contents.map(|one| (text(one, "cid"), bytes(one, "body"))).collect(),
            now: Timestamp(NOW),
        }
    }
}

impl Outside for Told {
    fn fetch(
        &mut self,
        permit: Permit,
        _: FetchRequest,
        _: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        let url = format!("https://{}{}", permit.host(), permit.target());
        let fetch = self.fetches.get(&url).unwrap_or_else(|| panic!("nobody told of {url}"));
        self.now = self.now.plus_millis(fetch["waits_ms"].as_u64().expect("a number"));
        let why = |name: &str| fetch[name].as_str().map(str::to_owned);
        if let Some(why) = why("denied") {
            return Err(OutsideError::Denied(why));
        }
        if let Some(why) = why("too_large") {
            return Err(OutsideError::TooLarge(why));
        }
        if let Some(why) = why("failed") {
            return Err(OutsideError::Failed(why));
        }
        Ok(FetchAnswer {
            status: fetch["status"].as_u64().expect("a number") as u16,
            headers: serde_json::from_value(fetch["headers"].clone()).expect("pairs"),
            body: bytes(fetch, "body"),
        })
    }
    fn ipfs(&mut self, cid: &str, max: u64) -> Result<Vec<u8>, OutsideError> {
        match self.contents.get(cid) {
            None => Err(OutsideError::NotFound(format!("there is no {cid}"))),
            Some(bytes) if bytes.len() as u64 > max => {
                Err(OutsideError::TooLarge(format!("{cid} is larger than {max} bytes")))
            }
            Some(bytes) => Ok(bytes.clone()),
        }
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x2a);
    }
    fn now(&mut self) -> Timestamp {
        self.now
    }
    fn before_outside(&mut self, _: &[u8], _: &Bodies) {}
}

// The story of the oracle.

fn c_lives_as_rust() {
    same_life("c", &committed("oracle-c/oracle-c.wasm"), Some(RunStyle::Resident));
}

fn lives_as_rust(language: &str) {
    let language = language_of(language);
    let Some(tools) = Toolchain::find(language.name) else { return };
    let source = language.oracle.expect("it has one");
    same_life(language.name, &build(language, &tools, source, None), None);
    if language.residents {
        let resident = build(language, &tools, source, Some("resident"));
        same_life(language.name, &resident, Some(RunStyle::Resident));
    }
}

/// What the outside sees of a life, and what is left of it.
#[derive(PartialEq)]
struct Life {
    turns: Vec<Value>,
    /// Keys, files, timers and effects, without a memory.
    state: Vec<u8>,
}

/// Lives as the oracle in Rust does, again in another cell to the same bytes, and runs again from its recording.
fn same_life(language: &str, oracle: &Artifact<Verified>, style: Option<RunStyle>) {
    let (expected, ..) = live(&committed("oracle/oracle.wasm"), None);
    let (life, recording, launch) = live(oracle, style);
    for (found, expected) in life.turns.iter().zip(&expected.turns) {
        assert_eq!(found, expected, "{language} {style:?}");
    }
    assert!(life == expected, "{language} {style:?}: the state differs");
    let (again, other, _) = live(oracle, style);
    assert!(again == life, "{language} {style:?}: another cell sees another world");
    assert_eq!(other.claim, recording.claim, "{language} {style:?}: another cell");
    let here = Runtime::new(RuntimeConfig::in_process()).expect("a runtime");
    for runtime in [runtime(), here] {
        let replayed = replay(&runtime, launch.clone(), &recording, |_| ControlFlow::Continue(()));
        let replayed = replayed.unwrap_or_else(|error| panic!("{language} {style:?}: {error}"));
        assert_eq!(replayed.turns, life.turns.len() as u64, "{language} {style:?}");
        assert_eq!((replayed.to, replayed.observed), (recording.claim, 0), "{language} {style:?}");
    }
}

fn live(oracle: &Artifact<Verified>, style: Option<RunStyle>) -> (Life, Recording, Launch) {
    let permissions = ["network_outbound:api.coingecko.com", "publish_to_chain"];
    let snapshot = Snapshot::new(STORAGE);
    let mut oracle = Oracle::start(oracle, style, MEMORY, policy(&permissions), snapshot);
    let mut turns = Vec::new();
    let mut recording = Recording::begin(&mut oracle.agent, DeploymentId(1), EpochId::new([1; 32]));
    let mut turn = |oracle: &mut Oracle, event: Event| {
        let turned = oracle.turn(event);
        let released = oracle.agent.released(u64::MAX);
        recording.extend([&turned.commit, &released], oracle.agent.marks());
        turns.push(seen(&turned));
    };
    let get = |method: &str, path: &str| Event::Http {
        method: method.into(),
        path: path.into(),
        query: "a=\"b\"".into(),
        headers: vec![("x".into(), "\\\"".into())],
        body: vec![0, 255],
    };
    let timer = || Event::Timer { name: "schedule".into() };
    turn(&mut oracle, get("GET", "/price"));
    oracle.world.says(r#"{"ethereum":{"usd":3021.55}}"#);
    turn(&mut oracle, Event::Start);
    turn(&mut oracle, Event::Tick { block_hash: [7; 32] });
    turn(&mut oracle, Event::Message { from: "talos.agent".into(), body: b"hello".to_vec() });
    turn(&mut oracle, get("GET", "/price"));
    oracle
        .world
        .says(r#"{ "bitcoin" : {"usd":1}, "ethereum" : { "eur": 1, "usd" : 2999.123456789 } }"#);
    turn(&mut oracle, timer());
    for (status, body) in [
        (429, ""),
        (200, "<html>"),
        (200, r#"{"ethereum":{"usd":"3000"}}"#),
        (200, r#"{"ethereum":{"usd":3e3}}"#),
        (200, r#"{"ethereum":{"usd":0.000000001}}"#),
        (200, r#"{"ethereum":{"usd":3000}"#),
        (200, r#"{"ethereum":{"usd":10000000000000000000}}"#),
    ] {
        oracle.world.answers(Ok((status, body.into())));
        turn(&mut oracle, timer());
    }
    oracle.world.answers(Ok((200, "[".repeat(100_000))));
    turn(&mut oracle, timer());
    oracle.world.answers(Err(OutsideError::Failed("nobody \"answers\"".into())));
    turn(&mut oracle, timer());
    for event in
        [get("GET", "/price"), get("GET", "/history"), get("GET", "/"), get("POST", "/price")]
    {
        turn(&mut oracle, event);
    }
    for price in 0..60 {
        oracle.world.says(&format!(r#"{{"ethereum":{{"usd":{price}.00000001}}}}"#));
        turn(&mut oracle, timer());
    }
    turn(&mut oracle, get("GET", "/history"));
    turn(&mut oracle, Event::Stop { deadline: Timestamp(NOW + 1_000_000) });
    let mut state = oracle.agent.state().clone();
    state.apply(Delta::forget_machine());
    (Life { turns, state: state.encode() }, recording, oracle.launch)
}

/// What one turn shows. Why there is no price is said by each language in its words.
fn seen(turned: &Turned) -> Value {
    let logs = turned.commit.logs.iter().map(|line| {
        let text = line.text.as_str();
        let known = if text.starts_with("no new price: ") { "no new price" } else { text };
        json!([line.level, known])
    });
    let logs: Vec<_> = logs.collect();
    let answer = turned.answer.as_ref().map(|answer| {
        json!([answer.status, answer.headers, String::from_utf8_lossy(&answer.body)])
    });
    let effects: Vec<_> =
        turned.effects.iter().map(|effect| json!([effect.topic, effect.data])).collect();
    json!({"outcome": format!("{:?}", turned.outcome), "logs": logs, "answer": answer, "effects": effects})
}

fn committed(module: &str) -> Artifact<Verified> {
    verified(fs::read(repository().join("docs/examples").join(module)).expect("it is committed"))
}

// Building.

fn language_of(name: &str) -> &'static Language {
    LANGUAGES.iter().find(|language| language.name == name).expect("it is in the table")
}

/// Writes an agent as a user does, puts this source in the place of its own, and builds it.
fn build(
    language: &Language,
    tools: &Toolchain,
    source: &str,
    run: Option<&str>,
) -> Artifact<Verified> {
    // Where it lay the last time, so that compilers know it again.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bindings").join(language.name);
    let _ = fs::remove_dir_all(&folder);
    let new = ["new", folder.to_str().expect("a path is text"), "--language", language.name];
    let new = Program::ours("daee-deploy").args(new).args(["--name", "talos.example.agent"]);
    let ended = new.run(Duration::from_secs(60));
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    fs::copy(repository().join(source), folder.join(language.agent)).expect("it is there");
    if let Some(run) = run {
        let manifest = folder.join("agent.yaml");
        let text = fs::read_to_string(&manifest).expect("it was written");
        fs::write(manifest, format!("{text}run: {run}\n")).expect("it is ours");
    }
    verified(tools.build(&folder))
}

fn verified(wasm: Vec<u8>) -> Artifact<Verified> {
    let hash = ArtifactHash::of(&wasm);
    Artifact::fetched(wasm).verify(&hash).expect("its own hash")
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}
