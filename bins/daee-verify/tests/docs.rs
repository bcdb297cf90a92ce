//! Holds the documents against the program.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use daee_artifact::package;
use daee_manifest::Manifest;
use daee_verdict::Policy;
use serde_yaml::Value;

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn document(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap()
}

/// The blocks of a document in this language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let block = |rest: &str| rest.split("```").next().unwrap().to_owned();
    text.split(&opening).skip(1).map(block).collect()
}

/// A folder with the oracle, as its repository would be.
fn oracle() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let examples = repository().join("docs/examples/oracle");
    let yaml = fs::read(examples.join("agent-v1.3.0.yaml")).unwrap();
    let manifest = Manifest::read(&yaml).unwrap();
    let wasm = fs::read(examples.join(manifest.entry_point())).unwrap();
    put("agent.yaml", &yaml);
    put("base.yaml", &fs::read(examples.join("agent.yaml")).unwrap());
    put("oracle.wasm", &wasm);
    put("release.toml", document("docs/ci/release.toml").as_bytes());
    let car = package::write(&wasm, manifest.canonical_body().as_bytes(), &yaml).unwrap();
    put("agent.car", &car);
    put("oracle.car", &car);
    folder
}

#[expect(clippy::disallowed_methods, reason = "the subject of these tests is the program itself")]
fn run(folder: &Path, command: &str) {
    let mut words = command.split_whitespace();
    assert_eq!(words.next(), Some("daee-verify"), "{command}");
    let args: Vec<&str> = words.take_while(|word| !matches!(*word, ">" | "||")).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_daee-verify"))
        .current_dir(folder)
        .args(&args)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{command}: {said}{:?}", output.stderr);
}

/// The texts under this key, wherever it is.
fn under(key: &str, value: &Value) -> Vec<String> {
    match value {
        Value::Mapping(map) => map
            .iter()
            .flat_map(|(name, value)| match value {
                Value::String(text) if name == key => vec![text.clone()],
                other => under(key, other),
            })
            .collect(),
        Value::Sequence(all) => all.iter().flat_map(|value| under(key, value)).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_examples_for_pipelines_run_as_they_are_written() {
    let folder = oracle();
    for (file, key, least) in
        [("docs/ci/github.yml", "run", 5), ("docs/ci/pre-commit-config.yaml", "entry", 2)]
    {
        let read: Value = serde_yaml::from_str(&document(file)).unwrap();
        let commands: Vec<String> = under(key, &read)
            .iter()
            .flat_map(|script| script.lines().map(|line| line.trim().to_owned()))
            .filter(|line| line.starts_with("daee-verify "))
            .collect();
        assert!(commands.len() >= least, "{file}: {commands:?}");
        commands.iter().for_each(|command| run(folder.path(), command));
    }
    let readme = document("docs/ci/README.md");
    for block in blocks(&readme, "yaml") {
        let read: Value = serde_yaml::from_str(&block).unwrap();
        let script = read["agent"]["script"].as_sequence().unwrap();
        script.iter().for_each(|line| run(folder.path(), line.as_str().unwrap()));
    }
}

#[test]
fn every_policy_that_is_shown_is_one() {
    for file in ["docs/ci/README.md", "docs/spec/verify.md"] {
        let shown = blocks(&document(file), "toml");
        assert!(!shown.is_empty(), "{file}");
        for policy in shown {
            Policy::read(policy.as_bytes()).unwrap_or_else(|error| panic!("{file}: {error}"));
        }
    }
}

#[test]
fn the_commands_of_the_front_page_run() {
    let folder = oracle();
    let readme = document("bins/daee-verify/README.md");
    let [commands] = &blocks(&readme, "sh")[..] else { panic!("one block of commands") };
    for command in commands.lines().filter(|line| !line.is_empty() && !line.contains(" | ")) {
        run(folder.path(), command);
    }
}

#[test]
fn the_example_of_the_specification_is_a_manifest_with_the_body_it_shows() {
    let written = document("docs/spec/manifest.md");
    let manifest = Manifest::read(blocks(&written, "yaml")[0].as_bytes()).unwrap();
    let body = &blocks(&written, "text")[0];
    assert!(manifest.canonical_body().starts_with(body.trim_end()));
}
