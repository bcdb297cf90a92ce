//! A good agent, and what it is easily bent into.

#![allow(dead_code, reason = "each test takes what it needs")]

use daee_artifact::{ArtifactCid, package};
use daee_manifest::Manifest;
use daee_types::ArtifactHash;
use daee_verdict::{Name, Report};

pub const REACTOR: &str = r#"(module
    (import "daee" "call" (func (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (i32.const 0)))"#;

const BASE: [(&str, &str); 4] = [
    ("agent_id", "agent_id: \"talos.oracle.price-eth@v1.2.0\"\n"),
    ("resources", "resources:\n  cpu: \"0.25\"\n  memory: \"256MiB\"\n"),
    ("entry_point", "entry_point: \"oracle.wasm\"\n"),
    ("artifact_hash", "artifact_hash: \"HASH\"\n"),
];

pub fn wasm() -> Vec<u8> {
    wat::parse_str(REACTOR).unwrap()
}

/// A manifest with these lines, and what is required where they do not say it.
pub fn yaml(lines: &str) -> String {
    yaml_for(&wasm(), lines)
}

pub fn yaml_for(wasm: &[u8], lines: &str) -> String {
    let said = |key: &str| lines.lines().any(|line| line.starts_with(&format!("{key}:")));
    let base: String = BASE.iter().filter(|(key, _)| !said(key)).map(|(_, text)| *text).collect();
    let base = base.replace("HASH", &ArtifactHash::of(wasm).to_string());
    if lines.is_empty() { base } else { format!("{base}{lines}\n") }
}

pub fn car() -> Vec<u8> {
    car_of(&wasm(), &yaml(""))
}

pub fn car_of(wasm: &[u8], yaml: &str) -> Vec<u8> {
    let manifest = Manifest::read(yaml.as_bytes()).unwrap();
    package::write(wasm, manifest.canonical_body().as_bytes(), yaml.as_bytes()).unwrap()
}

pub fn cid() -> ArtifactCid {
    ArtifactCid::of(&wasm()).unwrap()
}

pub fn manifest(yaml: &str) -> Report {
    daee_verdict::manifest(Name::from("agent.yaml"), yaml.as_bytes())
}

pub fn package(car: &[u8]) -> Report {
    daee_verdict::package(Name::from("oracle.car"), car)
}

pub fn rules_of(report: &Report) -> Vec<&'static str> {
    report.findings.iter().map(|finding| finding.rule).collect()
}
