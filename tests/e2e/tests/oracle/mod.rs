//! A price oracle in a cell, with a scripted world outside.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use daee_artifact::{Artifact, RunStyle, Verified};
use daee_policy::{Permit, Policy};
use daee_runtime::{
    Agent, CallKey, Event, FetchAnswer, FetchRequest, Launch, Limits, Outside, OutsideError,
    Snapshot, Turned,
};
use daee_transcript::Bodies;
use daee_types::{ByteSize, Timestamp};
use serde_json::Value;

use crate::cells::runtime;

/// When the first turn is.
pub const NOW: u64 = 1_700_000_000_000;
/// What all of them fetch.
pub const SOURCE: &str =
    "https://api.coingecko.com/api/v3/simple/price?ids=ethereum&vs_currencies=usd";

/// An example agent in a cell.
pub struct Oracle {
    pub agent: Agent,
    pub launch: Launch,
    pub world: World,
    at: u64,
}

impl Oracle {
    /// Starts one from a state. Its memory may take this much.
    pub fn start(
        artifact: &Artifact<Verified>,
        run: Option<RunStyle>,
        memory_max: ByteSize,
        policy: Policy,
        snapshot: Snapshot,
    ) -> Self {
        let runtime = runtime();
        let module = runtime.prepare(artifact, run).expect("it runs here");
        let limits = Limits { memory_max, ..Limits::default() };
        let launch = Launch { limits, policy, snapshot, ..Launch::new(module) };
        let world = World::default();
        let started = Agent::start(&runtime, launch.clone(), Box::new(world.clone()));
        Self { agent: started.expect("it starts"), launch, world, at: NOW }
    }

    pub fn turn(&mut self, event: Event) -> Turned {
        let at = Timestamp(self.at);
        self.at += 1_000;
        self.world.0.lock().unwrap().now = at.0;
        self.agent.turn(event, at)
    }

    pub fn timer(&mut self) -> Turned {
        self.turn(Event::Timer { name: "schedule".into() })
    }

    pub fn get(&mut self, path: &str) -> (u16, Value) {
        let turned = self.turn(Event::Http {
            method: "GET".into(),
            path: path.into(),
            query: String::new(),
            headers: vec![("host".into(), "agent.example".into())],
            body: Vec::new(),
        });
        let answer = turned.answer.unwrap_or_else(|| panic!("{path}: {:?}", turned.outcome));
        let kind = ("content-type".to_owned(), "application/json".to_owned());
        assert_eq!(answer.headers, [kind]);
        (answer.status, serde_json::from_slice(&answer.body).expect("JSON"))
    }
}

pub type Answered = Result<(u16, String), OutsideError>;

/// The world outside, as a test scripts it: each fetch takes 7 milliseconds.
#[derive(Clone, Default)]
pub struct World(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    answers: VecDeque<Answered>,
    fetched: Vec<String>,
    now: u64,
}

impl World {
    pub fn says(&self, body: &str) {
        self.answers(Ok((200, body.into())));
    }

    pub fn answers(&self, answer: Answered) {
        self.0.lock().unwrap().answers.push_back(answer);
    }

    pub fn fetched(&self) -> Vec<String> {
        self.0.lock().unwrap().fetched.clone()
    }
}

impl Outside for World {
    fn fetch(
        &mut self,
        permit: Permit,
        request: FetchRequest,
        _: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        assert_eq!((request.method.as_str(), request.body.len()), ("GET", 0));
        let mut script = self.0.lock().unwrap();
        script.now += 7;
        script.fetched.push(format!("https://{}{}", permit.host(), permit.target()));
        let (status, body) = script.answers.pop_front().expect("a test scripts every fetch")?;
        Ok(FetchAnswer { status, headers: Vec::new(), body: body.into_bytes() })
    }
    fn ipfs(&mut self, _: &str, _: u64) -> Result<Vec<u8>, OutsideError> {
        unreachable!("no oracle reads content")
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x2a);
    }
    fn now(&mut self) -> Timestamp {
        Timestamp(self.0.lock().unwrap().now)
    }
    fn before_outside(&mut self, _: &[u8], _: &Bodies) {}
}

/// What is published of a price.
pub fn word(units: u64) -> [u8; 32] {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&units.to_be_bytes());
    word
}
