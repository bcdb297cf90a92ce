//! What is written for machines, held against their own schema and readers that are not ours.

mod support;

use std::{fs, path::PathBuf, process::Command};

use daee_verdict::{Expected, Group, Name, Policy, Report, formats, rules};
use serde_json::Value;

use support::{car, manifest, package, wasm, yaml};

/// One of each kind: good and bad, with places and without, and some that did not run.
fn reports() -> Vec<Report> {
    let mut unread = Report::new(Group::Manifest, Name::from("missing.yaml"));
    unread.fail("missing.yaml cannot be read: no such file");
    let stdin = daee_verdict::manifest(Name::stdin(), &b"a: \"\x1b]0;x\x07\"\n"[..]);
    let evil = yaml("description: \"</failure>]]>&amp;<!--\"\nrun: \"\\\"'><x/>\"");
    let expected = Expected {
        manifest: Some((Name::from("a b/agent.yaml"), yaml("").into_bytes())),
        ..Expected::default()
    };
    let artifact = daee_verdict::artifact(Name::from("/there/x.wasm"), &b"\0asm"[..], &expected);
    let mut strict = manifest(&yaml("endpoint: private"));
    let policy = b"fail_on = \"note\"\n[bounds]\ncpu = \"100m\"\n[levels]\nV = \"off\"";
    assert!(Policy::read(policy).is_err());
    let policy = b"fail_on = \"note\"\n[bounds]\ncpu = \"100m\"\n";
    Policy::read(policy).unwrap().apply(&mut strict);
    vec![
        manifest(&yaml("")),
        manifest(&evil),
        stdin,
        unread,
        artifact,
        strict,
        package(&car()),
        package(&wasm()),
        package(&daee_artifact::package::write(&wasm(), b"{}", b"agent_id: x\n").unwrap()),
        daee_verdict::upgrade(
            &manifest(&yaml("")),
            manifest(&yaml("permissions:\n  - \"read_ipfs\"\ndurability: checkpoint")),
        ),
    ]
}

fn written(report: &Report, format: fn(&Report, &mut Vec<u8>) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    format(report, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn sarif_is_valid_against_the_schema_of_its_version() {
    // Of the schema's patterns one, that of `language`, is no regular expression: it has a bracket too many.
    let schema = sarif_schema().replace("{2}]?$", "{2}$");
    let schema: Value = serde_json::from_str(&schema).unwrap();
    assert!(schema["title"].as_str().unwrap().contains("2.1.0"));
    let validator = jsonschema::validator_for(&schema).unwrap();
    for report in reports() {
        let log: Value = serde_json::from_str(&written(&report, formats::sarif)).unwrap();
        let errors: Vec<String> =
            validator.iter_errors(&log).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", report.subject);
    }
    assert!(!validator.is_valid(&serde_json::json!({ "version": "2.0.0", "runs": [] })));
}

#[test]
fn another_reader_of_sarif_finds_what_was_found() {
    for report in reports() {
        let log: serde_sarif::sarif::Sarif =
            serde_json::from_str(&written(&report, formats::sarif)).unwrap();
        let [run] = &log.runs[..] else { panic!("one run") };
        let driver = &run.tool.driver;
        assert_eq!(driver.rules.as_ref().unwrap().len(), rules().count());
        let invocation = &run.invocations.as_ref().unwrap()[0];
        assert_eq!(invocation.exit_code, Some(report.verdict().exit_code().into()));
        let told = invocation.tool_execution_notifications.as_ref().unwrap().len();
        let results = run.results.as_ref().unwrap();
        assert_eq!(results.len() + told, report.findings.len(), "{}", report.subject);
        for result in results {
            let index = usize::try_from(result.rule_index.unwrap()).unwrap();
            let rule = &driver.rules.as_ref().unwrap()[index];
            assert_eq!(Some(&rule.id), result.rule_id.as_ref());
            assert!(rule.help_uri.as_ref().unwrap().contains("docs/spec/verify.md#daee-"));
            let locations = result.locations.as_ref().unwrap();
            let place = locations[0].physical_location.as_ref().unwrap();
            let artifact = place.artifact_location.as_ref().unwrap().index.unwrap();
            let artifacts = run.artifacts.as_ref().unwrap();
            assert!(usize::try_from(artifact).unwrap() < artifacts.len());
        }
    }
}

#[test]
fn another_reader_of_junit_counts_what_was_found() {
    for report in reports() {
        let xml = written(&report, formats::junit);
        let suites = junit_parser::from_reader(xml.as_bytes()).unwrap();
        let [suite] = &suites.suites[..] else { panic!("one suite") };
        let failed = suite.cases.iter().filter(|case| case.status.is_failure()).count();
        let errors = suite.cases.iter().filter(|case| case.status.is_error()).count();
        let skipped = suite.cases.iter().filter(|case| case.status.is_skipped()).count();
        assert_eq!(suite.failures, failed as u64);
        assert_eq!(suite.errors, errors as u64);
        assert_eq!(suite.tests, suite.cases.len() as u64);
        let bad = failed + errors > 0;
        assert_eq!(bad, report.verdict().exit_code() != 0, "{}: {xml}", report.subject);
        // What was not judged has not passed.
        if report.verdict().exit_code() == 2 {
            assert_eq!(failed + errors + skipped, suite.cases.len());
        }
    }
}

#[test]
fn nothing_a_stranger_writes_is_a_command_to_the_runner() {
    for report in reports() {
        let text = written(&report, formats::github);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), report.findings.len() + 1, "{text}");
        for line in &lines[..report.findings.len()] {
            let command = ["::error ", "::warning ", "::notice "];
            assert!(command.iter().any(|command| line.starts_with(command)), "{line}");
        }
        assert!(!text.contains('\x1b'));
    }
}

#[test]
fn text_fits_a_terminal_of_eighty_columns() {
    for report in reports() {
        let mut out = Vec::new();
        formats::text(&report, false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        for line in text.lines() {
            let long = line.chars().count() > 80;
            // A hash is one word, and is to be copied.
            let unbroken = line.split(' ').any(|word| word.chars().count() > 60);
            assert!(!long || unbroken, "{line}");
        }
    }
}

/// The schema of SARIF 2.1.0 (OASIS), as the package of `serde-sarif` brings it.
#[expect(clippy::disallowed_methods, reason = "cargo knows where the package of a dependency lies")]
fn sarif_schema() -> String {
    let metadata = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))
        .output()
        .unwrap();
    let metadata: Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let package = packages.iter().find(|package| package["name"] == "serde-sarif").unwrap();
    let manifest = PathBuf::from(package["manifest_path"].as_str().unwrap());
    fs::read_to_string(manifest.with_file_name("src").join("schema.json")).unwrap()
}
