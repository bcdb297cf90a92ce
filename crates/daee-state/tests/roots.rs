//! `stateRoot` as `docs/spec/roots.md` composes it. The expected roots were computed by another program.

use std::sync::Arc;

use daee_state::{Draft, Effect, MachineDelta, PAGE_BYTES, State};
use daee_types::{ByteSize, Timestamp};
use serde_json::Value;

fn state(case: &Value) -> State {
    let mut state = State::new(ByteSize::mib(1));
    let mut draft = Draft::new(&state);
    for key in list(&case["keys"]) {
        draft.set(text(&key[0]), bytes(&key[1])).unwrap();
    }
    let mut files = Vec::new();
    flatten(&case["files"]["entries"], "", &mut files);
    // Numbers are given in the order in which files are made, and not again after one is removed.
    files.sort_by_key(|(_, file)| file["number"].as_u64());
    let made = case["files"]["made"].as_u64().unwrap_or_default();
    let numbers: Vec<_> = files.iter().map(|(_, file)| file["number"].as_u64().unwrap()).collect();
    for number in 1..=made {
        let Some(at) = numbers.iter().position(|found| *found == number) else {
            draft.create_file(0, "unlinked", true, 0).unwrap();
            draft.remove_file(0, "unlinked", None, false, 0).unwrap();
            continue;
        };
        let (path, file) = &files[at];
        if file["entries"].is_array() {
            draft.make_directory(0, path, 0).unwrap();
        } else {
            draft.create_file(0, path, true, 0).unwrap();
        }
    }
    for (path, file) in &files {
        let modified = file["modified_nanos"].as_u64().unwrap();
        for page in file["pages"].as_array().into_iter().flatten() {
            let offset = page[0].as_u64().unwrap() * PAGE_BYTES as u64;
            draft.write_file(0, path, Some(offset), &bytes(&page[1]), 0).unwrap();
        }
        if let Some(size) = file["size"].as_u64() {
            draft.truncate_file(0, path, size, 0).unwrap();
        }
        draft.touch_file(0, path, modified).unwrap();
    }
    for timer in list(&case["timers"]) {
        draft.set_timer(text(&timer[0]), Timestamp(timer[1].as_u64().unwrap())).unwrap();
    }
    for effect in list(&case["effects"]) {
        draft
            .add_effect(Effect {
                turn: effect["turn"].as_u64().unwrap(),
                call: effect["call"].as_u64().unwrap() as u32,
                topic: text(&effect["topic"]).to_owned(),
                data: bytes(&effect["data"]),
            })
            .unwrap();
    }
    let machine = &case["machine"];
    if machine.is_object() {
        let pages = list(&machine["pages"]).iter().map(|page| {
            let mut whole = [0; PAGE_BYTES];
            let start = bytes(&page[1]);
            whole[..start.len()].copy_from_slice(&start);
            (page[0].as_u64().unwrap() as u32, Arc::new(whole))
        });
        draft.set_machine(MachineDelta {
            page_count: machine["page_count"].as_u64().unwrap() as u32,
            pages: pages.collect(),
            globals: bytes(&machine["globals"]),
            table_digest: [0; 32],
        });
    }
    let delta = draft.finish();
    state.apply(delta);
    state
}

/// Files and directories with their paths.
fn flatten<'a>(entries: &'a Value, before: &str, out: &mut Vec<(String, &'a Value)>) {
    for entry in entries.as_array().into_iter().flatten() {
        let path = format!("{before}{}", text(&entry["name"]));
        flatten(&entry["entries"], &format!("{path}/"), out);
        out.push((path, entry));
    }
}

#[test]
fn every_state_has_the_root_of_its_vector() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/roots.json")).unwrap();
    for case in list(&vectors["states"]) {
        let found = hex::encode(state(case).root().as_bytes());
        assert_eq!(found, text(&case["root"]), "{}", case["name"]);
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(text(value)).unwrap()
}
