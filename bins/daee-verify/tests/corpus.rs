//! The manifests and modules of the crates that own the formats, through the program: a verifier that
//! refuses everything is worth as little as one that refuses nothing.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use daee_types::ArtifactHash;
use serde_json::Value;

const FORMATS: [&str; 5] = ["json", "text", "sarif", "junit", "github"];

const MANIFESTS: &str = "crates/daee-manifest/vectors";
const MODULES: &str = "crates/daee-artifact/vectors/modules";

#[test]
fn good_manifests_are_verified() {
    let good = files(&format!("{MANIFESTS}/good"));
    assert!(good.len() >= 100, "only {}", good.len());
    for file in &good {
        check(&["manifest", path(file)], 0, &[]);
    }
}

#[test]
fn bad_manifests_are_findings_with_the_rules_that_they_break() {
    let listed = fs::read(root().join(MANIFESTS).join("bad.json")).unwrap();
    let listed: Value = serde_json::from_slice(&listed).unwrap();
    let bad = files(&format!("{MANIFESTS}/bad"));
    assert!(bad.len() >= 100, "only {}", bad.len());
    for file in &bad {
        let problems = listed[file.file_stem().unwrap().to_str().unwrap()].as_array().unwrap();
        let rules: Vec<&str> = problems
            .iter()
            .map(|at| at.as_str().unwrap().split(' ').next_back().unwrap())
            .collect();
        check(&["manifest", path(file)], 1, &rules);
    }
}

#[test]
fn good_modules_are_verified() {
    let good = files(&format!("{MODULES}/good"));
    assert!(good.len() >= 50, "only {}", good.len());
    for file in &good {
        Module::of(file).check(0);
    }
}

#[test]
fn bad_modules_are_findings_with_the_rules_that_they_break() {
    let bad = files(&format!("{MODULES}/bad"));
    assert!(bad.len() >= 50, "only {}", bad.len());
    for file in &bad {
        Module::of(file).check(1);
    }
}

/// A module beside a manifest that names it.
struct Module {
    folder: tempfile::TempDir,
    rules: Vec<String>,
}

impl Module {
    fn of(file: &Path) -> Self {
        let text = fs::read_to_string(file).unwrap();
        let line =
            |key: &str| text.lines().find_map(|line| line.strip_prefix(&format!(";; {key}: ")));
        let wasm = wat::parse_str(&text).unwrap();
        let run = match line("run").unwrap() {
            "reactor" => String::new(),
            style => format!("run: {style}\n"),
        };
        let manifest = format!(
            "agent_id: corpus.{}@v1.0.0\nresources: {{cpu: 1000m, memory: 4GiB}}\n\
             entry_point: module.wasm\nartifact_hash: \"{}\"\n{run}",
            file.file_stem().unwrap().display(),
            ArtifactHash::of(&wasm),
        );
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("module.wasm"), wasm).unwrap();
        fs::write(folder.path().join("agent.yaml"), manifest).unwrap();
        let rules =
            line("codes").unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        Self { folder, rules }
    }

    fn check(&self, exit: i32) {
        let [module, manifest] =
            ["module.wasm", "agent.yaml"].map(|name| self.folder.path().join(name));
        let rules: Vec<&str> = self.rules.iter().map(String::as_str).collect();
        check(&["artifact", path(&module), "--manifest", path(&manifest)], exit, &rules);
    }
}

/// The exit code, and that each of the rules is named, in every format.
fn check(args: &[&str], exit: i32, rules: &[&str]) {
    for format in FORMATS {
        let output = verify(&[args, &["--format", format]].concat());
        let shown = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(exit), "{args:?} as {format}: {shown}");
        for rule in rules {
            assert!(shown.contains(rule), "{args:?} as {format}: no {rule} in {shown}");
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is about the program")]
fn verify(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_daee-verify")).args(args).output().unwrap()
}

fn files(folder: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap()
}

fn path(file: &Path) -> &str {
    file.to_str().unwrap()
}
