use std::sync::Arc;

use daee_types::ByteSize;
use proptest::prelude::*;

use super::*;

fn state() -> State {
    State::new(ByteSize::kib(1))
}

fn with(pairs: &[(&str, &str)]) -> State {
    let mut state = state();
    let mut draft = Draft::new(&state);
    for (key, value) in pairs {
        draft.set(key, value.as_bytes().to_vec()).unwrap();
    }
    let delta = draft.finish();
    state.apply(delta);
    state
}

#[test]
fn a_dropped_draft_leaves_nothing_behind() {
    let state = with(&[("a", "1")]);
    let before = state.root();
    let mut draft = Draft::new(&state);
    draft.set("a", b"2".to_vec()).unwrap();
    draft.delete("a");
    drop(draft);
    assert_eq!(state.root(), before);
}

#[test]
fn the_root_forgets_how_the_state_came_about() {
    let one = with(&[("a", "1"), ("b", "2")]);
    let mut other = with(&[("b", "x"), ("c", "3")]);
    let mut draft = Draft::new(&other);
    draft.set("b", b"2".to_vec()).unwrap();
    draft.set("a", b"1".to_vec()).unwrap();
    draft.delete("c");
    let delta = draft.finish();
    other.apply(delta);
    assert_eq!(one.root(), other.root());
    assert_eq!(one.used(), other.used());
}

#[test]
fn every_part_moves_the_root() {
    let base = with(&[("a", "1")]);
    let change = |edit: &dyn Fn(&mut Draft<'_>)| {
        let mut changed = base.clone();
        let mut draft = Draft::new(&base);
        edit(&mut draft);
        changed.apply(draft.finish());
        changed.root()
    };
    let machine = |byte: u8, page_count: u32, global: u8| MachineDelta {
        page_count,
        pages: vec![(0, Arc::new([byte; 4096]))],
        globals: vec![global],
        table_digest: [0; 32],
    };
    let effect = |data: u8| Effect { turn: 1, call: 0, topic: "t".into(), data: vec![data] };
    let roots = [
        base.root(),
        change(&|d| d.set("a", b"2".to_vec()).unwrap()),
        change(&|d| d.set("b", b"1".to_vec()).unwrap()),
        change(&|d| d.set_timer("t", Timestamp(1)).unwrap()),
        change(&|d| d.set_timer("t", Timestamp(2)).unwrap()),
        change(&|d| d.add_effect(effect(1)).unwrap()),
        change(&|d| d.add_effect(effect(2)).unwrap()),
        change(&|d| d.set_machine(machine(1, 1, 1))),
        change(&|d| d.set_machine(machine(2, 1, 1))),
        change(&|d| d.set_machine(machine(1, 2, 1))),
        change(&|d| d.set_machine(machine(1, 1, 2))),
    ];
    for (i, one) in roots.iter().enumerate() {
        assert!(roots[i + 1..].iter().all(|other| other != one), "{i}");
    }
}

#[test]
fn a_page_of_zeros_is_no_page() {
    let mut state = state();
    let delta = |byte| {
        let mut draft = Draft::new(&State::new(ByteSize(0))).finish();
        draft.machine = Some(MachineDelta {
            page_count: 1,
            pages: vec![(0, Arc::new([byte; 4096]))],
            globals: vec![],
            table_digest: [0; 32],
        });
        draft
    };
    state.apply(delta(0));
    let zeros = state.root();
    state.apply(delta(1));
    assert_ne!(state.root(), zeros);
    state.apply(delta(0));
    assert_eq!(state.root(), zeros);
}

#[test]
fn the_quota_is_never_exceeded_and_what_is_freed_counts() {
    let state = state();
    let mut draft = Draft::new(&state);
    draft.set("k", vec![0; 1023]).unwrap();
    assert_eq!(
        draft.set("l", vec![]).unwrap_err(),
        StateError::Quota { wanted: 1025, quota: 1024 }
    );
    assert!(draft.delete("k"));
    draft.set("l", vec![0; 1023]).unwrap();
}

#[test]
fn writes_outside_the_bounds_are_refused() {
    let state = State::new(ByteSize::gib(1));
    let mut draft = Draft::new(&state);
    assert_eq!(draft.set("", vec![]).unwrap_err().code(), "DAEE-T001");
    assert_eq!(draft.set(&"k".repeat(513), vec![]).unwrap_err().code(), "DAEE-T001");
    assert_eq!(draft.set("k", vec![0; (1 << 20) + 1]).unwrap_err().code(), "DAEE-T002");
    for n in 0..TIMERS_MAX {
        draft.set_timer(&n.to_string(), Timestamp(1)).unwrap();
    }
    assert_eq!(draft.set_timer("one more", Timestamp(1)).unwrap_err().code(), "DAEE-T005");
    draft.set_timer("0", Timestamp(2)).unwrap();
    let effect = |topic: &str, data| Effect { turn: 1, call: 1, topic: topic.into(), data };
    assert_eq!(draft.add_effect(effect("", vec![])).unwrap_err().code(), "DAEE-T006");
    assert_eq!(draft.add_effect(effect("t", vec![0; 4097])).unwrap_err().code(), "DAEE-T007");
    for _ in 0..EFFECTS_MAX {
        draft.add_effect(effect("t", vec![])).unwrap();
    }
    assert_eq!(draft.add_effect(effect("t", vec![])).unwrap_err().code(), "DAEE-T008");
}

#[test]
fn compare_and_set_writes_only_over_what_was_expected() {
    let state = with(&[("a", "1")]);
    let mut draft = Draft::new(&state);
    assert!(!draft.cas("a", Expected::Absent, b"2".to_vec()).unwrap());
    assert!(!draft.cas("a", Expected::Sha256(sha256("0")), b"2".to_vec()).unwrap());
    assert!(draft.cas("a", Expected::Sha256(sha256("1")), b"2".to_vec()).unwrap());
    assert!(draft.cas("b", Expected::Absent, b"3".to_vec()).unwrap());
    assert_eq!((draft.get("a"), draft.get("b")), (Some(&b"2"[..]), Some(&b"3"[..])));
}

#[test]
fn released_effects_are_gone_and_younger_ones_stay() {
    let mut state = state();
    let mut draft = Draft::new(&state);
    for turn in 1..=3 {
        draft.add_effect(Effect { turn, call: 0, topic: "t".into(), data: vec![] }).unwrap();
    }
    let delta = draft.finish();
    state.apply(delta);
    state.apply(Delta::release_to(2));
    assert_eq!(state.effects().iter().map(|e| e.turn).collect::<Vec<_>>(), [3]);
}

fn writes() -> impl Strategy<Value = Vec<(String, Option<Vec<u8>>)>> {
    let key = "[abc]{1,3}";
    proptest::collection::vec(
        (key, proptest::option::of(proptest::collection::vec(any::<u8>(), 0..8))),
        0..24,
    )
}

proptest! {
    #[test]
    fn what_a_draft_shows_is_what_applying_it_gives(first in writes(), second in writes(), prefix in "[abc]{0,2}", after in "[abc]{0,3}", limit in 0usize..9) {
        let mut state = state();
        let mut draft = Draft::new(&state);
        for (key, value) in first {
            match value { Some(value) => draft.set(&key, value).unwrap(), None => { draft.delete(&key); } }
        }
        let delta = draft.finish();
        state.apply(delta);
        let base = state.clone();
        let mut draft = Draft::new(&base);
        for (key, value) in second {
            match value { Some(value) => draft.set(&key, value).unwrap(), None => { draft.delete(&key); } }
        }
        let shown: Vec<String> = draft.list(&prefix, Some(&after), limit).into_iter().map(str::to_owned).collect();
        let used = draft.used;
        let delta = Delta::decode(&draft.finish().encode()).unwrap();
        state.apply(delta);
        prop_assert_eq!(state.used().0, used);
        let kept: Vec<String> = state.keys.keys().filter(|k| k.starts_with(&prefix) && k.as_str() > after.as_str()).take(limit).cloned().collect();
        let kept = if after.as_str() < prefix.as_str() { state.keys.keys().filter(|k| k.starts_with(&prefix)).take(limit).cloned().collect() } else { kept };
        prop_assert_eq!(shown, kept);
        let copy = State::decode(&state.encode()).unwrap();
        prop_assert_eq!(copy.root(), state.root());
    }

    #[test]
    fn hostile_bytes_are_an_error_or_a_state(mut bytes in proptest::collection::vec(any::<u8>(), 0..64), flip in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = with(&[("a", "1"), ("b", "2")]).encode();
        let mut mutated = good.clone();
        let at = flip.index(mutated.len());
        mutated[at] = to;
        bytes.insert(0, 1);
        for bytes in [mutated, bytes] {
            if let Ok(state) = State::decode(&bytes) {
                prop_assert_eq!(&state.encode(), &bytes);
            }
            let _ = Delta::decode(&bytes);
        }
    }
}
