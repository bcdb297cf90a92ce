use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::Manifest;

/// Input and output of one of RFC 8785's published vectors.
macro_rules! vector {
    ($name:literal) => {
        (
            include_str!(concat!("../../vectors/rfc8785/input/", $name, ".json")),
            include_str!(concat!("../../vectors/rfc8785/output/", $name, ".json")),
        )
    };
}

fn check(input: &str, expected: &str) {
    let read = read_json(input.as_bytes()).unwrap_or_else(|| panic!("{input} is a map of texts"));
    assert_eq!(canonical(read.iter()), expected.trim_end_matches('\n'), "{input}");
}

#[test]
fn the_vectors_of_rfc_8785_are_met_where_a_manifest_can_express_them() {
    for (input, expected) in [vector!("french"), vector!("unicode"), vector!("weird")] {
        check(input, expected);
    }
    // A manifest holds no numbers: those in here become texts on both sides.
    let (input, expected) = vector!("structures");
    let input = input.replace("56.0", "\"56\"").replace(": 5}", ":\"5\"}");
    check(&input, &expected.replace(":56,", ":\"56\",").replace(":5,", ":\"5\","));
    // Nor literals: of this one, the text with all kinds of escapes remains.
    let (input, expected) = vector!("values");
    let line = input.lines().find(|line| line.contains("\"string\"")).unwrap();
    let (_, text) = expected.split_once("\"string\":").unwrap();
    check(&format!("{{{}}}", line.trim_end_matches(',')), &format!("{{\"string\":{text}"));
}

#[test]
fn what_is_no_text_has_no_canonical_form_here() {
    for (input, _) in [vector!("arrays"), vector!("values"), vector!("structures")] {
        assert!(read_json(input.as_bytes()).is_none(), "{input}");
    }
}

/// Maps and lists of texts; keys lie on both sides of where UTF-8 and UTF-16 sort differently.
fn trees() -> impl Strategy<Value = Value> {
    let text = || "([ -~]|[\u{0}-\u{1f}]|[\u{7f}-\u{ff}]|[\u{e000}-\u{ffff}]|\u{1f600}){0,6}";
    let leaf = text().prop_map(Value::from);
    leaf.prop_recursive(4, 64, 8, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            proptest::collection::btree_map(text(), inner, 0..6)
                .prop_map(|map| map.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
    .prop_map(|tree| serde_json::json!({ "": tree }))
}

proptest! {
    #[test]
    fn another_writer_of_rfc_8785_writes_the_same(tree in trees()) {
        let ours = canonical(read_json(tree.to_string().as_bytes()).unwrap().iter());
        prop_assert_eq!(ours, serde_json_canonicalizer::to_string(&tree).unwrap());
    }
}

#[test]
fn the_yaml_test_suite_is_refused_where_it_must_be_and_understood_where_it_is_not() {
    let suite: Vec<Value> =
        serde_json::from_str(include_str!("../../vectors/yaml-test-suite.json")).unwrap();
    let (mut failing, mut by_parser, mut understood, mut compared) = (0, 0, 0, 0);
    for case in &suite {
        let (id, yaml) = (case["id"].as_str().unwrap(), case["yaml"].as_str().unwrap());
        assert!(Manifest::read(yaml.as_bytes()).is_err(), "{id} is no manifest");
        let scanned = scan::scan(yaml.as_bytes(), crate::MANIFEST_BYTES_MAX);
        let mut problems = Vec::new();
        let read = read_node(yaml, &mut problems);
        let refused = scanned.is_err() || read.is_none() || !problems.is_empty();
        if case["fail"] == true {
            assert!(refused, "{id} must be refused: {yaml}");
            failing += 1;
            by_parser += usize::from(read.is_none());
        } else if !refused && let Some(read) = read {
            understood += 1;
            let expected = case["json"].as_str().map(serde_json::from_str::<Value>);
            if let Some(Ok(expected)) = expected {
                let mut ours = String::new();
                write(&read.value, &mut ours);
                assert_eq!(serde_json::from_str::<Value>(&ours).unwrap(), expected, "{id}: {yaml}");
                compared += 1;
            }
        }
    }
    println!(
        "{} documents: {failing} must fail, {by_parser} of them in the parser; {understood} understood, \
         {compared} of them compared",
        suite.len()
    );
    assert!(suite.len() > 400 && failing > 90 && by_parser > 80, "the suite was read");
    assert!(compared > 60, "{compared} documents mean what the suite says");
}
