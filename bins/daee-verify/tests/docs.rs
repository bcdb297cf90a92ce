//! Holds `docs/spec` against the program: every rule is explained, and the example is a manifest.

use std::{collections::BTreeSet, fs, path::PathBuf};

use daee_manifest::Manifest;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The rules that a text names.
fn rules(text: &str) -> BTreeSet<String> {
    let rule = |(at, _): (usize, &str)| text.get(at..at + "DAEE-M000".len());
    text.match_indices("DAEE-")
        .filter_map(rule)
        .filter(|rule| "MAV".contains(&rule[5..6]))
        .map(str::to_owned)
        .collect()
}

/// The rules that the sources of a crate name, tests left out.
fn rules_in(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(repository().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(path).unwrap();
            let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
            found.extend(rules(shipped));
        }
    }
    found
}

#[test]
fn every_rule_is_explained_and_no_other() {
    let written = fs::read_to_string(repository().join("docs/spec/verify.md")).unwrap();
    let mut known = rules_in("crates/daee-manifest/src");
    known.extend(rules_in("crates/daee-artifact/src"));
    known.extend(rules_in("crates/daee-verdict/src"));
    assert!(known.len() > 40, "the sources were found");
    assert_eq!(rules(&written), known);
}

#[test]
fn the_example_of_the_specification_is_a_manifest_with_the_body_it_shows() {
    let written = fs::read_to_string(repository().join("docs/spec/manifest.md")).unwrap();
    let block = |kind: &str, at: usize| {
        let opening = format!("```{kind}\n");
        let text = written.split(&opening).nth(at).unwrap();
        text.split("```").next().unwrap().to_owned()
    };
    let manifest = Manifest::read(block("yaml", 1).as_bytes()).unwrap();
    assert!(manifest.canonical_body().starts_with(block("text", 1).trim_end()));
}
