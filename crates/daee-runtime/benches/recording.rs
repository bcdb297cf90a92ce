//! What recording costs of a turn with one host call: `cargo bench -p daee-runtime --bench recording`, with `-- --json`
//! for one object of microseconds and shares.
//!
//! The turn is timed whole, as a host runs it. Then everything that is done in it for the transcript alone, and nothing
//! else, is done on its own with the same bytes: the hash of each input, the entries with what stands beside them, and
//! their link in the chain. Medians.

use std::hint::black_box;

use daee_artifact::Artifact;
use daee_policy::{Permit, Policy};
use daee_runtime::{
    Agent, CallKey, Event, FetchAnswer, FetchRequest, Isolation, Launch, Outcome, Outside,
    OutsideError, Runtime, RuntimeConfig, frame,
};
use daee_transcript::{Bodies, Entry, Frame, Segment, Transcript, entries};
use daee_types::{ArtifactHash, Timestamp, sha256};
use serde_json::json;

const TURNS: usize = 3_001;

fn main() {
    daee_runtime::child_main();
    let wasm = wat::parse_str(include_str!("../tests/guests/script.wat")).unwrap();
    let hash = ArtifactHash::of(&wasm);
    let artifact = Artifact::fetched(wasm).verify(&hash).unwrap();
    let url = json!({"url": "https://api.coingecko.com/price"});
    let calls = [
        ("state.set of 64 bytes", "state.set", frame::encode(&json!({"key": "a"}), &[1; 64])),
        ("http.fetch answered at once, 4 KiB", "http.fetch", frame::encode(&url, b"")),
    ];
    let mut rows = Vec::new();
    for (isolation, name) in [(Isolation::Process, "process"), (Isolation::InProcess, "in process")]
    {
        let dir = tempfile::tempdir().unwrap();
        let runtime =
            Runtime::new(RuntimeConfig::new(dir.path(), [7; 32]).isolated(isolation)).unwrap();
        let module = runtime.prepare(&artifact, None).unwrap();
        for (call, op, input) in &calls {
            let policy = vec![("network_outbound:api.coingecko.com".parse().unwrap(), 0)];
            let launch = Launch { policy: Policy::new(policy), ..Launch::new(module.clone()) };
            let mut agent = Agent::start(&runtime, launch, Box::new(Prompt)).unwrap();
            let body = script(op, input);
            let event = Event::Message { from: "a".into(), body };
            let mut last = None;
            let turn = median(TURNS, || {
                let turned = agent.turn(event.clone(), Timestamp(0));
                assert_eq!(turned.outcome, Outcome::Done);
                last = Some(turned);
            });
            let last = last.unwrap();
            let work = Work::of(&last.commit.transcript, &last.commit.bodies, input);
            let alone = median(TURNS, || {
                black_box(work.again());
            });
            rows.push((format!("{call}, {name}"), turn, alone));
        }
    }
    if std::env::args().any(|argument| argument == "--json") {
        let rows: serde_json::Map<_, _> = rows
            .into_iter()
            .map(|(name, turn, alone)| {
                (name, json!({"turn": turn, "recording": alone, "share": alone / turn}))
            })
            .collect();
        println!("{}", serde_json::Value::from(rows));
    } else {
        for (name, turn, alone) in rows {
            let share = 100.0 * alone / turn;
            println!("{name:<48} turn {turn:>8.1} us, recording {alone:>6.2} us, {share:>5.1} %");
        }
    }
}

/// One call, as `script.wat` takes it.
fn script(op: &str, input: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    for bytes in [op.as_bytes(), input] {
        body.extend((bytes.len() as u32).to_le_bytes());
        body.extend(bytes);
    }
    body
}

/// What the transcript of a turn is made of.
struct Work {
    entries: Vec<Entry>,
    /// The frames that came from outside, whole.
    given: Vec<Option<Vec<u8>>>,
    /// Inputs of the calls.
    inputs: Vec<Vec<u8>>,
}

impl Work {
    fn of(transcript: &[u8], bodies: &Bodies, input: &[u8]) -> Self {
        let entries: Vec<Entry> = entries(transcript).map(|entry| entry.unwrap().0).collect();
        let find = |wanted: &[u8; 32]| {
            bodies.iter().find(|(hash, _)| hash == wanted).map(|(_, bytes)| bytes.as_slice())
        };
        let given = entries.iter().map(|entry| Some(entry.given()?.join(find).unwrap())).collect();
        // The event is asked for with nothing; the answer has the results of the call.
        let inputs = vec![Vec::new(), input.to_vec(), vec![0; 120]];
        Self { entries, given, inputs }
    }

    fn again(&self) -> Transcript {
        let mut segment = Segment::default();
        for input in &self.inputs {
            black_box(sha256(input));
        }
        for (entry, given) in self.entries.iter().zip(&self.given) {
            if let Some(given) = given {
                black_box(Frame::of(given, &mut segment.bodies));
            }
            segment.push(entry);
        }
        let mut chain = Transcript::default();
        chain.link(segment.bytes());
        chain
    }
}

/// An outside that takes no time.
struct Prompt;

impl Outside for Prompt {
    fn fetch(
        &mut self,
        _: Permit,
        _: FetchRequest,
        _: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        Ok(FetchAnswer { status: 200, headers: Vec::new(), body: vec![7; 4096] })
    }
    fn ipfs(&mut self, cid: &str, _: u64) -> Result<Vec<u8>, OutsideError> {
        Err(OutsideError::NotFound(cid.into()))
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(1);
    }
    fn now(&mut self) -> Timestamp {
        Timestamp(0)
    }
    fn before_outside(&mut self, _: &[u8], _: &Bodies) {}
}

#[expect(clippy::disallowed_methods, reason = "a bench is there to read the clock")]
fn median(runs: usize, mut work: impl FnMut()) -> f64 {
    work();
    let mut times: Vec<_> = (0..runs)
        .map(|_| {
            let from = std::time::Instant::now();
            work();
            from.elapsed()
        })
        .collect();
    times.sort();
    times[runs / 2].as_nanos() as f64 / 1000.0
}
