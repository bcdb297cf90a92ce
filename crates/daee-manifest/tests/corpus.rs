//! `vectors/good` holds manifests as people write them, `vectors/bad` ones that are refused for one thing
//! each, and `vectors/bad.json` for what and where.

use std::{collections::BTreeMap, fs, path::Path};

use daee_manifest::{Manifest, Problem, json_schema};
use serde_json::Value;

fn read(folder: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(folder);
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (named(&path), fs::read(&path).unwrap())).collect()
}

fn shown(problem: &Problem) -> String {
    let Problem { line, column, end_line, end_column, rule, .. } = problem;
    format!("{line}:{column}-{end_line}:{end_column} {rule}")
}

#[test]
fn good_manifests_pass_and_mean_the_same_to_nodes() {
    let good = read("good");
    assert!(good.len() >= 100, "{} manifests", good.len());
    let mut written_again = 0;
    for (name, yaml) in good {
        let manifest =
            Manifest::read(&yaml).unwrap_or_else(|problems| panic!("{name}: {problems:?}"));
        let body = manifest.canonical_body().as_bytes();
        let node = Manifest::from_body(body, manifest.artifact_hash()).unwrap();
        assert_eq!(node.manifest_hash(), manifest.manifest_hash(), "{name}");
        let mut other: Value = serde_yaml::from_slice(&yaml).unwrap();
        other.as_object_mut().unwrap().remove("artifact_hash");
        assert_eq!(serde_json::from_slice::<Value>(body).unwrap(), other, "{name}");
        // It leaves `yes` without quotes, which is refused then.
        let written = serde_yaml::to_string(&with_hash(other, &manifest)).unwrap();
        if let Ok(again) = Manifest::read(written.as_bytes()) {
            assert_eq!(again.canonical_body(), manifest.canonical_body(), "{name}: {written}");
            written_again += 1;
        }
    }
    assert!(written_again >= 100, "{written_again} were read again");
}

fn with_hash(mut body: Value, manifest: &Manifest) -> Value {
    body["artifact_hash"] = manifest.artifact_hash().to_string().into();
    body
}

#[test]
fn bad_manifests_are_refused_for_what_is_wrong_with_them_and_where_it_is() {
    let index = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/bad.json");
    let index: BTreeMap<String, Vec<String>> =
        serde_json::from_str(&fs::read_to_string(index).unwrap()).unwrap();
    let bad = read("bad");
    assert!(bad.len() >= 100, "{} manifests", bad.len());
    assert!(bad.keys().eq(index.keys()), "each manifest has its line in bad.json");
    for (name, yaml) in bad {
        let problems = Manifest::read(&yaml).err().unwrap_or_default();
        let found: Vec<String> = problems.iter().map(shown).collect();
        assert_eq!(found, index[&name], "{name}: {problems:?}");
        let lines = yaml.split(|b| *b == b'\n').count() as u32;
        for problem in problems {
            let (from, to) =
                ((problem.line, problem.column), (problem.end_line, problem.end_column));
            assert!(from <= to && problem.end_line <= lines, "{name}: {problem:?}");
        }
    }
}

/// Rules about how a manifest is written, of which nothing is left in the JSON that a schema sees.
const WRITTEN: [&str; 5] = ["DAEE-M000", "DAEE-M001", "DAEE-M002", "DAEE-M004", "DAEE-M006"];

/// Bad manifests that the schema takes, because it has no words for what is wrong with them.
const LEFT_TO_THE_READER: [&str; 15] = [
    "agent-id-too-long",
    "agent-id-version-overflow",
    "memory-overflow",
    "memory-too-much",
    "permission-network-not-first",
    "permission-port-large",
    "permission-spelt-twice",
    "permission-star-suffix",
    "schedule-backwards",
    "schedule-day-and-weekday",
    "schedule-minute",
    "schedule-never",
    "schedule-step-alone",
    "schedule-step-zero",
    "schedule-weekday-number",
];

#[test]
fn the_schema_takes_what_the_reader_takes_and_refuses_what_it_has_words_for() {
    let schema = json_schema();
    jsonschema::meta::validate(&schema).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for (name, yaml) in read("good") {
        let manifest: Value = serde_yaml::from_slice(&yaml).unwrap();
        let wrong: Vec<String> = schema.iter_errors(&manifest).map(|e| e.to_string()).collect();
        assert!(wrong.is_empty(), "{name}: {wrong:?}");
    }
    let (mut refused, mut taken) = (0, Vec::new());
    for (name, yaml) in read("bad") {
        let problems = Manifest::read(&yaml).unwrap_err();
        let Ok(manifest) = serde_yaml::from_slice::<Value>(&yaml) else { continue };
        if problems.iter().all(|problem| WRITTEN.contains(&problem.rule)) {
            continue;
        }
        match schema.is_valid(&manifest) {
            true => taken.push(name),
            false => refused += 1,
        }
    }
    assert_eq!(taken, LEFT_TO_THE_READER, "{refused} are refused");
    assert!(refused > 90, "{refused} are refused");
}

#[test]
fn permissions_are_read_as_their_vectors_say() {
    let vectors: Value =
        serde_json::from_str(include_str!("../../daee-policy/vectors/permissions.json")).unwrap();
    let smallest = &read("good")["smallest"];
    let smallest = std::str::from_utf8(smallest).unwrap();
    let schema = jsonschema::validator_for(&json_schema()).unwrap();
    for vector in vectors["permissions"].as_array().unwrap() {
        // A text is written in JSON as it is in YAML.
        let yaml = format!("{smallest}permissions: [{}]\n", vector["text"]);
        match Manifest::read(yaml.as_bytes()) {
            Ok(manifest) => {
                let [listed] = manifest.permissions() else { panic!("{vector} is one permission") };
                assert_eq!(Some(listed.permission.to_string().as_str()), vector["normal"].as_str());
                let value: Value = serde_yaml::from_str(&yaml).unwrap();
                assert!(schema.is_valid(&value), "{vector}");
            }
            Err(problems) => {
                let [problem] = &problems[..] else { panic!("{vector}: {problems:?}") };
                assert_eq!(problem.rule, "DAEE-M019", "{vector}");
                assert_eq!(Some(problem.message.as_str()), vector["refused"].as_str());
            }
        }
    }
}

#[test]
fn the_published_schema_is_the_one_that_is_made_from_the_table() {
    let published =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/manifest.schema.json");
    let published: Value = serde_json::from_str(&fs::read_to_string(published).unwrap()).unwrap();
    let made = json_schema();
    assert_eq!(published, made, "write this: {made:#}");
}

#[test]
fn the_specification_says_of_each_field_what_the_schema_says() {
    let specification = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/spec/manifest.md");
    let specification = fs::read_to_string(specification).unwrap();
    let mut fields = Vec::new();
    each_field(&json_schema(), "", &mut fields);
    assert!(fields.len() >= 18, "{fields:?}");
    for (path, says) in fields {
        let (rule, left_out) = match says.strip_suffix(". Required.") {
            Some(rule) => (rule, "refused"),
            None => says.strip_suffix('.').unwrap().split_once(". If left out: ").unwrap(),
        };
        let row = format!("| `{path}` | {rule} | {left_out} |");
        assert!(specification.contains(&row), "docs/spec/manifest.md lacks {row}");
    }
}

/// Names and descriptions of the fields that hold texts.
fn each_field(schema: &Value, above: &str, fields: &mut Vec<(String, String)>) {
    for (name, field) in schema["properties"].as_object().unwrap() {
        let path = format!("{above}{name}");
        match field.get("properties") {
            Some(_) => each_field(field, &format!("{path}."), fields),
            None => fields.push((path, field["description"].as_str().unwrap().to_owned())),
        }
    }
}
