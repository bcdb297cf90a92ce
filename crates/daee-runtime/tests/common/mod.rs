//! What the tests of cells share.
#![allow(dead_code)] // each test program uses a part of it

use daee_artifact::Artifact;
use daee_policy::{Permit, Policy};
use daee_runtime::{
    Agent, CallKey, Event, FetchAnswer, FetchRequest, Isolation, Launch, Limits, Module, Nothing,
    Outcome, Outside, OutsideError, PrepareError, RunStyle, Runtime, RuntimeConfig, Turned, frame,
};
use daee_transcript::Entry;
use daee_types::{ArtifactHash, Timestamp};
use serde_json::Value;

/// Runs tests one after another. An argument selects those whose name it is part of.
pub fn run(tests: &[(&str, fn())]) {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let mut failed = Vec::new();
    let mut passed = 0;
    for (name, test) in tests {
        if !wanted.is_empty() && !wanted.iter().any(|part| name.contains(part)) {
            continue;
        }
        match std::panic::catch_unwind(test) {
            Ok(()) => {
                println!("test {name} ... ok");
                passed += 1;
            }
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(*name);
            }
        }
    }
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {} failed: {failed:?}", failed.len());
    if !failed.is_empty() {
        std::process::exit(1);
    }
}

/// A runtime with a cache of its own.
pub struct Bench {
    pub runtime: Runtime,
    _dir: tempfile::TempDir,
}

impl Bench {
    pub fn new(isolation: Isolation) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = RuntimeConfig::new(dir.path(), [7; 32]).isolated(isolation);
        Self { runtime: Runtime::new(config).unwrap(), _dir: dir }
    }

    pub fn prepare(&self, wat: &str, style: Option<RunStyle>) -> Result<Module, PrepareError> {
        let bytes = wat::parse_str(wat).unwrap();
        let hash = ArtifactHash::of(&bytes);
        self.runtime.prepare(&Artifact::fetched(bytes).verify(&hash).unwrap(), style)
    }

    /// A reactor that may do what the example of TIP-0042 may.
    pub fn start(&self, wat: &str) -> Agent {
        self.start_with(wat, None, Limits::default())
    }

    pub fn start_with(&self, wat: &str, style: Option<RunStyle>, limits: Limits) -> Agent {
        let module = self.prepare(wat, style).unwrap();
        let launch = Launch { limits, policy: policy(), ..Launch::new(module) };
        Agent::start(&self.runtime, launch, Box::new(Nothing(NOW))).unwrap()
    }
}

pub const NOW: Timestamp = Timestamp(1_700_000_000_000);

pub fn policy() -> Policy {
    let lines = ["network_outbound:api.coingecko.com", "read_ipfs", "publish_to_chain"];
    Policy::new(lines.iter().map(|line| (line.parse().unwrap(), 0)).collect())
}

pub type Call<'a> = (&'a str, &'a str, &'a [u8]);

/// Lets `script.wat` make these calls in one turn.
pub fn script(agent: &mut Agent, calls: &[Call<'_>]) -> Turned {
    let mut body = Vec::new();
    for (op, head, input) in calls {
        let head: Value = serde_json::from_str(head).unwrap();
        put(&mut body, op.as_bytes());
        put(&mut body, &frame::encode(&head, input));
    }
    agent.turn(request(body), NOW)
}

pub fn request(body: Vec<u8>) -> Event {
    Event::Http {
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: Vec::new(),
        body,
    }
}

/// What the calls came to: the number returned, head and body of the answer.
pub fn check_script(agent: &mut Agent, calls: &[Call<'_>], expected: &[(i32, &str, &[u8])]) {
    let turned = script(agent, calls);
    let answer = turned.answer.unwrap_or_else(|| panic!("{:?}", turned.outcome));
    let found = answers(&answer.body);
    let expected: Vec<_> = expected
        .iter()
        .map(|(code, head, body)| (*code, serde_json::from_str(head).unwrap(), body.to_vec()))
        .collect();
    assert_eq!(found, expected, "{calls:?}");
}

pub fn answers(mut rest: &[u8]) -> Vec<(i32, Value, Vec<u8>)> {
    let mut found = Vec::new();
    while let Some((code, after)) = rest.split_first_chunk::<4>() {
        let (len, after) = after.split_first_chunk::<4>().unwrap();
        let (answer, after) = after.split_at(u32::from_le_bytes(*len) as usize);
        let (head, body) = frame::decode(answer).unwrap();
        found.push((i32::from_le_bytes(*code), Value::Object(head), body.to_vec()));
        rest = after;
    }
    found
}

/// What `hostile.wat` answers to a good turn: how many it has kept.
#[derive(Debug, PartialEq, Eq)]
pub struct Counted {
    pub memory: u32,
    pub global: u64,
}

pub fn poke(agent: &mut Agent, evil: u8) -> Option<Counted> {
    let turned = agent.turn(request(vec![evil]), NOW);
    let body = turned.answer?.body;
    let (memory, global) = body.split_first_chunk::<4>()?;
    Some(Counted {
        memory: u32::from_le_bytes(*memory),
        global: u64::from_le_bytes(global.try_into().ok()?),
    })
}

/// A script of inputs that need not be frames.
pub fn raw(calls: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (op, input) in calls {
        put(&mut body, op);
        put(&mut body, input);
    }
    body
}

/// Ends a process the hard way.
#[allow(unsafe_code)] // as the kernel would
pub fn kill(pid: u32) {
    // SAFETY: numbers only, and the process is a child of ours.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
}

/// Whether a process is there and not a zombie.
pub fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start().chars().next();
    !matches!(state, None | Some('Z' | 'X'))
}

/// Process ids of the children of this process, those that have ended but for their parent's word included.
pub fn children() -> Vec<u32> {
    let own = std::process::id().to_string();
    let processes = std::fs::read_dir("/proc").unwrap();
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let behind = stat.rsplit(')').next().unwrap_or_default();
        behind.split_whitespace().nth(1) == Some(&own)
    })
    .collect()
}

/// The children that were started as this.
pub fn children_named(role: &str) -> Vec<u32> {
    let named = |pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.starts_with(format!("daee:{role}").as_bytes())
    };
    children().into_iter().filter(named).collect()
}

/// Waits until it holds; a test that waits for ever is ended by whoever runs it.
#[track_caller]
pub fn until(holds: impl Fn() -> bool) {
    const TRIES: usize = 24_000;
    for _ in 0..TRIES {
        if holds() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("it never came to be");
}

const LOOPING: &str = "supervise-a-loop";

/// Another supervisor, with a cell that will not stop. Says the cell's process id.
#[expect(
    clippy::disallowed_methods,
    reason = "the supervisor has to be killed, so it is a process"
)]
pub fn supervisor_with_a_looping_cell() -> (std::process::Child, u32) {
    use std::io::BufRead as _;
    let mut supervisor = std::process::Command::new(std::env::current_exe().unwrap())
        .arg(LOOPING)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufReader::new(supervisor.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (supervisor, line.trim().parse().unwrap())
}

/// The other side of it.
pub fn supervise_a_loop_if_asked(wat: &str) {
    if std::env::args().nth(1).is_some_and(|argument| argument == LOOPING) {
        let limits =
            Limits { fuel_turn: u64::MAX, wall_turn_millis: u64::MAX / 2, ..Limits::default() };
        let mut agent = Bench::new(Isolation::Process).start_with(wat, None, limits);
        println!("{}", agent.cell_pid().unwrap());
        agent.turn(request(vec![1]), NOW);
    }
}

pub fn entries(transcript: &[u8]) -> Vec<Entry> {
    daee_transcript::entries(transcript).map(|entry| entry.unwrap().0).collect()
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}

/// The committed example agents fetch, keep, publish and answer.
pub fn run_oracles(isolation: Isolation) {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");
    for (file, style) in
        [("oracle/oracle.wasm", None), ("oracle-c/oracle-c.wasm", Some(RunStyle::Resident))]
    {
        let bench = Bench::new(isolation);
        let bytes = std::fs::read(format!("{examples}/{file}")).unwrap();
        let hash = ArtifactHash::of(&bytes);
        let artifact = Artifact::fetched(bytes).verify(&hash).unwrap();
        let module = bench.runtime.prepare(&artifact, style).unwrap();
        let launch = Launch { policy: policy(), ..Launch::new(module) };
        let mut agent = Agent::start(&bench.runtime, launch, Box::new(Source(0))).unwrap();
        let mut published = Vec::new();
        for event in [Event::Start, Event::Timer { name: "schedule".into() }] {
            let turned = agent.turn(event, NOW);
            assert_eq!(turned.outcome, Outcome::Done, "{file}: {:?}", turned.commit.logs);
            published.extend(turned.effects);
        }
        assert_eq!(published.len(), 2, "{file}");
        assert!(published.iter().all(|effect| effect.topic == "price-eth-usd"));
        let turned = agent.turn(
            Event::Http {
                method: "GET".into(),
                path: "/price".into(),
                query: String::new(),
                headers: vec![],
                body: vec![],
            },
            NOW,
        );
        let answer = turned.answer.unwrap_or_else(|| panic!("{file}: {:?}", turned.outcome));
        assert_eq!(answer.status, 200);
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        assert!(body["price"].as_str().unwrap().starts_with("2002.5"), "{file}: {body}");
    }
}

/// A price that rises with each look.
struct Source(u32);

impl Outside for Source {
    fn fetch(
        &mut self,
        permit: Permit,
        _: FetchRequest,
        _: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        assert_eq!(permit.host(), "api.coingecko.com");
        self.0 += 1;
        let body = format!("{{\"ethereum\":{{\"usd\":{}.5}}}}", 2000 + self.0);
        let headers = vec![("content-type".into(), "application/json".into())];
        Ok(FetchAnswer { status: 200, headers, body: body.into_bytes() })
    }
    fn ipfs(&mut self, cid: &str, _: u64) -> Result<Vec<u8>, OutsideError> {
        Err(OutsideError::NotFound(cid.into()))
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(1);
    }
    fn now(&mut self) -> Timestamp {
        NOW
    }
    fn before_outside(&mut self, _: &[u8], _: &daee_transcript::Bodies) {}
}
