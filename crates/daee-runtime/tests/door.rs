//! The door against its vectors, which every binding can run, and against the agents that we publish.

mod common;

use common::{Bench, NOW, answers, policy, raw, request};
use daee_policy::Permit;
use daee_runtime::{
    Agent, CallKey, Event, FetchAnswer, FetchRequest, Isolation, Launch, Outcome, Outside,
    OutsideError, frame,
};
use daee_state::Effect;
use daee_transcript::Entry;
use daee_types::Timestamp;
use serde_json::{Map, Value, json};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/door.json")).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().unwrap_or_else(|| panic!("{name} of {value}"))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}")).to_owned()
}

/// Text under `name`, or bytes under `name_hex`, or nothing.
fn bytes(value: &Value, name: &str) -> Vec<u8> {
    match &value[format!("{name}_hex")] {
        Value::String(digits) => hex::decode(digits).unwrap(),
        _ => value[name].as_str().unwrap_or_default().as_bytes().to_vec(),
    }
}

/// The outside that the vectors describe.
struct Told {
    outside: Value,
    now: Timestamp,
}

impl Told {
    fn boxed() -> Box<Self> {
        Box::new(Self { outside: vectors()["outside"].clone(), now: NOW })
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
        let fetch = list(&self.outside, "fetches").iter().find(|fetch| fetch["url"] == url);
        let fetch = fetch.unwrap_or_else(|| panic!("nobody told of {url}")).clone();
        self.now = self.now.plus_millis(fetch["waits_ms"].as_u64().unwrap());
        let error = [
            ("denied", OutsideError::Denied as fn(String) -> OutsideError),
            ("too_large", OutsideError::TooLarge),
            ("failed", OutsideError::Failed),
        ];
        for (name, error) in error {
            if let Some(why) = fetch[name].as_str() {
                return Err(error(why.into()));
            }
        }
        Ok(FetchAnswer {
            status: fetch["status"].as_u64().unwrap() as u16,
            headers: serde_json::from_value(fetch["headers"].clone()).unwrap(),
            body: bytes(&fetch, "body"),
        })
    }
    fn ipfs(&mut self, cid: &str, max: u64) -> Result<Vec<u8>, OutsideError> {
        let content = list(&self.outside, "contents").iter().find(|content| content["cid"] == cid);
        let content =
            content.ok_or_else(|| OutsideError::NotFound(format!("there is no {cid}")))?;
        let bytes = bytes(content, "body");
        if bytes.len() as u64 > max {
            return Err(OutsideError::TooLarge(format!("{cid} is larger than {max} bytes")));
        }
        Ok(bytes)
    }
    fn random(&mut self, out: &mut [u8]) {
        out.fill(0x2a);
    }
    fn now(&mut self) -> Timestamp {
        self.now
    }
    fn before_outside(&mut self, _: &[u8], _: &daee_transcript::Bodies) {}
}

fn script_agent(bench: &Bench) -> Agent {
    let module = bench.prepare(include_str!("guests/script.wat"), None).unwrap();
    let launch = Launch { policy: policy(), ..Launch::new(module) };
    Agent::start(&bench.runtime, launch, Told::boxed()).unwrap()
}

fn input(call: &Value) -> Vec<u8> {
    match (&call["head"], bytes(call, "body")) {
        (Value::Null, body) if body.is_empty() => body,
        (Value::Null, body) => frame::encode(&json!({}), &body),
        (head, body) => frame::encode(head, &body),
    }
}

#[test]
fn every_turn_goes_as_the_vectors_say() {
    let vectors = vectors();
    assert_eq!(vectors["now_ms"], NOW.0);
    let bench = Bench::new(Isolation::InProcess);
    let mut agent = script_agent(&bench);
    for turn in list(&vectors, "turns").iter().chain(list(&vectors, "files")) {
        let name = text(turn, "name");
        let calls = list(turn, "calls");
        let inputs: Vec<_> = calls.iter().map(|call| (text(call, "op"), input(call))).collect();
        let inputs: Vec<_> =
            inputs.iter().map(|(op, input)| (op.as_bytes(), input.as_slice())).collect();
        let turned = agent.turn(request(raw(&inputs)), NOW);
        assert_eq!(turned.outcome, Outcome::Done, "{name}");
        let found = answers(&turned.answer.unwrap().body);
        assert_eq!(found.len(), calls.len(), "{name}");
        for (call, (returned, mut head, body)) in calls.iter().zip(found) {
            let len = frame::encode(&head, &body).len() as i64;
            assert_eq!(i64::from(returned), call["returns"].as_i64().unwrap_or(len), "{call}");
            if returned < 0 {
                let message = head.as_object_mut().unwrap().remove("message");
                assert!(message.is_some_and(|message| message.is_string()), "{call}");
            }
            assert_eq!(
                (head, body),
                (call["answer"].clone(), bytes(call, "answer_body")),
                "{call}"
            );
        }
        if let Some(logs) = turn["logs"].as_array() {
            let found: Vec<_> =
                turned.commit.logs.iter().map(|line| json!([line.level, line.text])).collect();
            assert_eq!(&found, logs, "{name}");
        }
        if turn["timers"].is_object() {
            let timers = agent.state().timers().iter();
            let found: Map<_, _> = timers.map(|(name, at)| (name.clone(), json!(at.0))).collect();
            assert_eq!(Value::Object(found), turn["timers"], "{name}");
        }
        let effects = turn["effects"].as_array().cloned().unwrap_or_default();
        let expected: Vec<_> = effects
            .iter()
            .map(|effect| Effect {
                turn: turn_of(&turned.commit.transcript),
                call: effect["call"].as_u64().unwrap() as u32,
                topic: text(effect, "topic"),
                data: bytes(effect, "data"),
            })
            .collect();
        assert_eq!(turned.effects, expected, "{name}");
    }
}

fn turn_of(transcript: &[u8]) -> u64 {
    match common::entries(transcript).last() {
        Some(Entry::End { turn, .. }) => *turn,
        other => panic!("a turn ends with its end, not with {other:?}"),
    }
}

#[test]
fn answers_are_taken_as_the_vectors_say() {
    let vectors = vectors();
    let bench = Bench::new(Isolation::InProcess);
    let mut agent = script_agent(&bench);
    for case in list(&vectors, "answers") {
        let turned = agent.turn(request(raw(&[(b"event.answer", &input(case))])), NOW);
        let answer = turned.answer.unwrap();
        match case["returns"].as_i64() {
            Some(code) => {
                // It was not taken, so the script's own is.
                assert_eq!(i64::from(answers(&answer.body)[0].0), code, "{case}");
            }
            None => {
                let headers = json!(answer.headers);
                assert_eq!(
                    (json!(answer.status), headers),
                    (case["status"].clone(), case["headers"].clone())
                );
                assert_eq!(answer.body, bytes(case, "body"), "{case}");
                // The script's own came second.
                let entries = common::entries(&turned.commit.transcript);
                let last = entries.iter().rev().find_map(|entry| match entry {
                    Entry::Call { op, code, .. } => Some((&**op, *code)),
                    _ => None,
                });
                assert_eq!(last, Some(("event.answer", -7)));
            }
        }
    }
}

#[test]
fn events_are_framed_as_the_vectors_say() {
    for case in list(&vectors(), "events") {
        let event = &case["event"];
        let headers = || serde_json::from_value(event["headers"].clone()).unwrap();
        let built = match text(event, "kind").as_str() {
            "start" => Event::Start,
            "http" => Event::Http {
                method: text(event, "method"),
                path: text(event, "path"),
                query: text(event, "query"),
                headers: headers(),
                body: bytes(event, "body"),
            },
            "message" => Event::Message { from: text(event, "from"), body: bytes(event, "body") },
            "timer" => Event::Timer { name: text(event, "name") },
            "tick" => Event::Tick { block_hash: bytes(event, "block_hash").try_into().unwrap() },
            "stop" => Event::Stop { deadline: Timestamp(event["deadline_ms"].as_u64().unwrap()) },
            "upgraded" => Event::Upgraded { from_version: text(event, "from_version") },
            other => panic!("there is no event {other}"),
        };
        let frame = built.frame(1, NOW);
        assert_eq!(frame, frame::encode(&case["head"], &bytes(case, "body")), "{case}");
    }
}

#[test]
fn frames_read_as_the_vectors_say() {
    for case in list(&vectors(), "frames") {
        let frame = bytes(case, "frame");
        let found = frame::decode(&frame).map(|(head, body)| (Value::Object(head), body.to_vec()));
        let expected =
            case["malformed"].is_null().then(|| (case["head"].clone(), bytes(case, "body")));
        assert_eq!(found, expected, "{case}");
    }
}

#[test]
fn the_oracles_that_are_published_run_here() {
    common::run_oracles(Isolation::InProcess);
}

/// A runtime whose collector looks at the clock does so wherever it allocates.
#[test]
fn an_answer_waits_while_wasi_asks_for_something_else() {
    let bench = Bench::new(Isolation::InProcess);
    let mut agent = bench.start(
        r#"(module
            (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
            (import "daee" "read" (func $read (param i32 i32) (result i32)))
            (import "wasi_snapshot_preview1" "clock_time_get"
                (func $clock (param i32 i64 i32) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 0) "event.next")
            (func (export "daee_turn") (result i32)
                (local $len i32)
                (local.set $len (call $call
                    (i32.const 0) (i32.const 10) (i32.const 0) (i32.const 0)))
                (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 64)))
                (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 64)))
                (i32.ne (local.get $len) (call $read (i32.const 128) (i32.const 4096)))))"#,
    );
    assert_eq!(agent.turn(request(Vec::new()), NOW).outcome, Outcome::Done);
}
