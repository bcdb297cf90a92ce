//! Holds the documents against the program.

use std::{fs, path::PathBuf};

use daee_manifest::Manifest;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
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
