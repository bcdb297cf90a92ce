//! `transcriptRoot` and `logRoot` as `docs/spec/roots.md` composes them. The expected bytes and roots were computed by
//! another program.

use daee_transcript::{Bounds, Entry, Frame, Level, Log, Segment, Transcript};
use daee_types::{ArtifactHash, ByteSize, StateRoot, Timestamp, Word};
use serde_json::Value;

fn vectors(json: &str) -> Value {
    serde_json::from_str(json).unwrap()
}

fn entry(case: &Value) -> Entry {
    let turn = || number(&case["turn"]);
    let call = || number(&case["call"]) as u32;
    let op = || text(&case["op"]).to_owned().into();
    let frame = |name: &str| Frame::of(&bytes(&case[name]), &mut Vec::new());
    match text(&case["kind"]) {
        "birth" => Entry::Birth {
            state_root: StateRoot::new(word(&case["state_root"])),
            turn: turn(),
            runtime_version: number(&case["runtime_version"]) as u32,
            artifact_hash: ArtifactHash::new(word(&case["artifact_hash"])),
            manifest: word(&case["manifest"]),
            bounds: bounds(&case["bounds"]),
        },
        "event" => Entry::Event {
            turn: turn(),
            at: Timestamp(number(&case["at_ms"])),
            frame: frame("frame"),
        },
        "intent" => {
            Entry::Intent { turn: turn(), call: call(), op: op(), input: word(&case["input"]) }
        }
        "call" => Entry::Call {
            turn: turn(),
            call: call(),
            op: op(),
            input: word(&case["input"]),
            code: case["code"].as_i64().unwrap() as i32,
            answer: (!case["answer"].is_null()).then(|| frame("answer")),
        },
        "end" => Entry::End {
            turn: turn(),
            outcome: number(&case["outcome"]) as u8,
            fuel: number(&case["fuel"]),
            why: text(&case["why"]).to_owned(),
        },
        "released" => Entry::Released { upto_turn: number(&case["upto_turn"]) },
        other => panic!("there is no entry {other}"),
    }
}

fn bounds(case: &Value) -> Bounds {
    let size = |name: &str| ByteSize(number(&case[name]));
    Bounds {
        fuel_turn: number(&case["fuel_turn"]),
        memory_max: size("memory_max"),
        table_elements_max: number(&case["table_elements_max"]) as u32,
        log_turn_max: size("log_turn_max"),
        door_frame_max: size("door_frame_max"),
        door_calls_max: number(&case["door_calls_max"]) as u32,
        quota: size("quota"),
    }
}

#[test]
fn every_entry_moves_the_transcript_as_its_vector_says() {
    let vectors = vectors(include_str!("../vectors/run.json"));
    let mut transcript = Transcript::default();
    let mut all = Vec::new();
    for link in vectors["links"].as_array().unwrap() {
        let mut segment = Segment::default();
        for case in link["entries"].as_array().unwrap() {
            let entry = entry(case);
            assert_eq!(segment.push(&entry), bytes(&case["bytes"]), "{case}");
            assert_eq!(Entry::decode(&bytes(&case["bytes"])), Ok(entry), "{case}");
        }
        transcript.link(segment.bytes());
        assert_eq!(transcript.root().as_bytes(), &word(&link["root"]), "{link}");
        all.extend(segment.finish().0);
    }
    let mut followed = Transcript::default();
    followed.follow(&all).unwrap();
    assert_eq!(followed, transcript);
    for case in vectors["malformed"].as_array().unwrap() {
        assert!(Entry::decode(&bytes(&case["bytes"])).is_err(), "{case}");
    }
}

#[test]
fn every_line_moves_the_log_as_its_vector_says() {
    let vectors = vectors(include_str!("../vectors/roots.json"));
    let mut log = Log::default();
    assert_eq!(log.root().as_bytes(), &word(&vectors["empty_log_root"]));
    for case in vectors["lines"].as_array().unwrap() {
        let level: Level = serde_json::from_value(case["level"].clone()).unwrap();
        let at = Timestamp(number(&case["at_ms"]));
        let line = log.append(at, number(&case["turn"]), level, text(&case["text"]));
        assert_eq!(line.seq, number(&case["seq"]));
        assert_eq!(line.hash(), word(&case["hash"]), "{case}");
        assert_eq!(log.root().as_bytes(), &word(&case["root"]), "{case}");
    }
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
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
