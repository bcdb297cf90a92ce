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
