//! `transcriptRoot` and `logRoot` as `docs/spec/roots.md` composes them. The expected roots were computed by another
//! program.

use daee_transcript::{Entry, Level, Log, Transcript};
use daee_types::{ArtifactHash, StateRoot, Timestamp, Word};
use serde_json::Value;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../vectors/roots.json")).unwrap()
}

fn entry(case: &Value) -> Entry {
    let turn = case["turn"].as_u64().unwrap();
    let call = || case["call"].as_u64().unwrap() as u32;
    let op = || text(&case["op"]).to_owned();
    match text(&case["kind"]) {
        "birth" => Entry::Birth {
            state_root: StateRoot::new(word(&case["state_root"])),
            turn,
            runtime_version: case["runtime_version"].as_u64().unwrap() as u32,
            artifact_hash: ArtifactHash::new(word(&case["artifact_hash"])),
        },
        "event" => Entry::Event {
            turn,
            at: Timestamp(case["at_ms"].as_u64().unwrap()),
            frame: bytes(&case["frame"]),
        },
        "intent" => Entry::Intent { turn, call: call(), op: op(), input: word(&case["input"]) },
        "call" => Entry::Call {
            turn,
            call: call(),
            op: op(),
            input: word(&case["input"]),
            code: case["code"].as_i64().unwrap() as i32,
            answer: (!case["answer"].is_null()).then(|| bytes(&case["answer"])),
        },
        "end" => Entry::End {
            turn,
            outcome: case["outcome"].as_u64().unwrap() as u8,
            fuel: case["fuel"].as_u64().unwrap(),
        },
        other => panic!("there is no entry {other}"),
    }
}

#[test]
fn every_entry_moves_the_transcript_as_its_vector_says() {
    let mut transcript = Transcript::default();
    for case in vectors()["entries"].as_array().unwrap() {
        let entry = entry(case);
        assert_eq!(entry.encode(), bytes(&case["bytes"]), "{case}");
        transcript.append(&entry);
        assert_eq!(transcript.root().as_bytes(), &word(&case["root"]), "{case}");
    }
}

#[test]
fn every_line_moves_the_log_as_its_vector_says() {
    let vectors = vectors();
    let mut log = Log::default();
    assert_eq!(log.root().as_bytes(), &word(&vectors["empty_log_root"]));
    for case in vectors["lines"].as_array().unwrap() {
        let level: Level = serde_json::from_value(case["level"].clone()).unwrap();
        let at = Timestamp(case["at_ms"].as_u64().unwrap());
        let line = log.append(at, case["turn"].as_u64().unwrap(), level, text(&case["text"]));
        assert_eq!(line.seq, case["seq"].as_u64().unwrap());
        assert_eq!(line.hash(), word(&case["hash"]), "{case}");
        assert_eq!(log.root().as_bytes(), &word(&case["root"]), "{case}");
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}

fn word(value: &Value) -> Word {
    bytes(value).try_into().unwrap()
}
