//! What the tests of cells share.

use daee_artifact::Artifact;
use daee_policy::Policy;
use daee_runtime::{
    Agent, Event, Isolation, Launch, Limits, Module, Nothing, PrepareError, RunStyle, Runtime,
    RuntimeConfig, Turned, frame,
};
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

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend((bytes.len() as u32).to_le_bytes());
    out.extend(bytes);
}
