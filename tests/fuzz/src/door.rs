use daee_artifact::{OPERATIONS, RunStyle};
use daee_runtime::frame;
use serde_json::json;

use crate::lived::Guest;

/// Makes the calls that its event's body says.
const SCRIPT: &str = include_str!("../../../crates/daee-runtime/tests/guests/script.wat");

thread_local! {
    static GUEST: Guest = Guest::new(SCRIPT, RunStyle::Reactor);
}

/// Two turns of calls: `u8 operation, u8 length, head, u8 length, body` for each.
pub fn run(input: &[u8]) -> bool {
    let (first, second) = input.split_at(input.len() / 2);
    let bodies = [first, second].map(script);
    GUEST.with(|guest| guest.lives(&[&bodies[0], &bodies[1]]))
}

pub fn seeds() -> Vec<Vec<u8>> {
    let call = |name: &str, head: serde_json::Value, body: &[u8]| {
        let op = names().position(|known| known == name).expect("there is such an operation");
        let head = head.to_string();
        [&[op as u8, head.len() as u8], head.as_bytes(), &[body.len() as u8], body].concat()
    };
    let calls = [
        call("state.set", json!({"key": "a"}), b"value"),
        call("state.get", json!({"key": "a"}), b""),
        call("state.cas", json!({"key": "b", "expect": "absent"}), b"1"),
        call("state.list", json!({"prefix": "a", "limit": 3}), b""),
        call("timer.set", json!({"name": "t", "after_ms": 5}), b""),
        call("chain.publish", json!({"topic": "t"}), b"1"),
        call("http.fetch", json!({"url": "https://api.example.org/"}), b""),
        call("ipfs.read", json!({"cid": "bafkqaaa"}), b""),
        call("event.answer", json!({"status": 201, "headers": [["a", "b"]]}), b"made"),
        call("log", json!({"text": "hello", "level": "warn"}), b""),
        call("random", json!({"bytes": 8}), b""),
        call("now", json!({}), b""),
    ];
    let mut seeds: Vec<_> = calls.iter().map(|call| [&call[..], call].concat()).collect();
    seeds.push(calls.concat().repeat(2));
    seeds
}

/// A recording of two turns, and its transcript.
pub fn recorded() -> (Vec<u8>, Vec<u8>) {
    let seed = seeds().pop().expect("there are seeds");
    let (first, second) = seed.split_at(seed.len() / 2);
    let bodies = [first, second].map(script);
    let recording = GUEST.with(|guest| guest.recorded(&[&bodies[0], &bodies[1]]).1);
    (recording.encode(), recording.transcript)
}

fn names() -> impl Iterator<Item = &'static str> {
    let bare = ["log", "now", "random", "no.such"];
    OPERATIONS.iter().map(|operation| operation.name).chain(bare)
}

fn script(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let some = |rest: &mut &[u8]| {
        let (len, behind) = rest.split_first()?;
        let (some, behind) = behind.split_at(behind.len().min(usize::from(*len)));
        *rest = behind;
        Some(some.to_vec())
    };
    let mut put = |bytes: &[u8]| {
        out.extend((bytes.len() as u32).to_le_bytes());
        out.extend(bytes);
    };
    while let Some((op, behind)) = rest.split_first() {
        rest = behind;
        let head = some(&mut rest).unwrap_or_default();
        let body = some(&mut rest).unwrap_or_default();
        let count = names().count();
        put(names().nth(usize::from(*op) % count).expect("it is below the count").as_bytes());
        // A head that is JSON comes as a frame, any other as it is.
        match serde_json::from_slice(&head) {
            Ok(head) => put(&frame::encode(&head, &body)),
            Err(_) => put(&[head, body].concat()),
        }
    }
    out
}
