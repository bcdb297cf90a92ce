//! `vectors/permissions.json` says what is a permission and where a connection may lead, for this crate, for
//! the reader of manifests, for the broker that dials, and for the specification.

use std::{collections::BTreeMap, fs, net::IpAddr, path::Path};

use daee_policy::{FORMS, Permission, Policy};
use daee_types::Coded as _;
use serde_json::Value;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn vectors(what: &str) -> Vec<Value> {
    let vectors: Value = serde_json::from_str(&read("vectors/permissions.json")).unwrap();
    vectors[what].as_array().unwrap().clone()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("{value} has no {key}"))
}

fn texts(value: &Value, key: &str) -> Vec<String> {
    let all = value[key].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

#[test]
fn what_is_a_permission_is_written_in_its_normal_form_and_anything_else_is_refused_with_the_reason()
{
    let vectors = vectors("permissions");
    let (mut taken, mut refused) = (0, 0);
    for vector in &vectors {
        let written = text(vector, "text");
        match written.parse::<Permission>() {
            Ok(permission) => {
                assert_eq!(permission.to_string(), text(vector, "normal"), "{written}");
                assert_eq!(text(vector, "normal").parse(), Ok(permission), "{written}");
                taken += 1;
            }
            Err(error) => {
                assert_eq!(error.to_string(), text(vector, "refused"), "{written}");
                refused += 1;
            }
        }
    }
    assert!(taken > 25 && refused > 80, "{taken} taken, {refused} refused");
}

#[test]
fn each_form_has_an_example_and_vectors_on_both_sides() {
    let vectors = vectors("permissions");
    for form in FORMS {
        assert_eq!(form.example.parse::<Permission>().unwrap().to_string(), form.example);
        let of = |key: &str| {
            let name = |text: &str| text.split(':').next() == Some(form.name);
            vectors.iter().any(|v| v.get(key).is_some() && name(text(v, "text")))
        };
        assert!(of("normal") && of("refused"), "{} has vectors", form.name);
    }
}

#[test]
fn a_connection_leads_to_judged_addresses_of_listed_names_and_nowhere_else() {
    let vectors = vectors("connections");
    let (mut allowed, mut denied) = (0, 0);
    for vector in &vectors {
        let permissions = texts(vector, "permissions");
        let lines = permissions.iter().zip(1..).map(|(line, at)| (line.parse().unwrap(), at));
        let ips = |key: &str| -> Vec<IpAddr> {
            texts(vector, key).iter().map(|ip| ip.parse().unwrap()).collect()
        };
        let permit = Policy::new(lines.collect()).url(text(vector, "url"));
        match permit.and_then(|permit| permit.judge(&ips("resolved"), &ips("own"))) {
            Ok(grant) => {
                let dialled: Vec<String> =
                    grant.addresses().iter().map(|a| a.to_string()).collect();
                assert_eq!(dialled, texts(vector, "allowed"), "{vector}");
                allowed += 1;
            }
            Err(denial) => {
                assert_eq!(denial.code(), text(vector, "denied"), "{vector}: {denial}");
                assert_eq!(denial.needs(), vector["needs"].as_str(), "{vector}");
                denied += 1;
            }
        }
    }
    assert!(allowed >= 8 && denied > 60, "{allowed} allowed, {denied} denied");
}

#[test]
fn the_specification_tells_the_same() {
    let specification = read("../../docs/spec/manifest.md");
    let (_, section) = specification.split_once("\n## Permissions\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    for form in FORMS {
        let value = form.value.map_or(String::new(), |value| format!(":{value}"));
        let row = format!("| `{}{value}` | {} |", form.name, form.allows);
        assert!(section.contains(&row), "docs/spec/manifest.md lacks {row}");
    }
    let vectors = vectors("permissions");
    let vectors: BTreeMap<&str, &Value> = vectors.iter().map(|v| (text(v, "text"), v)).collect();
    let (_, examples) = section.split_once("| Written | Read as |\n| --- | --- |\n").unwrap();
    let rows: Vec<&str> = examples.lines().take_while(|line| line.starts_with('|')).collect();
    assert!(rows.len() >= 15, "{rows:?}");
    for row in rows {
        let (written, told) = row.trim_matches(['|', ' ']).split_once(" | ").unwrap();
        let written = written.trim_matches('`');
        let vector = vectors.get(written).unwrap_or_else(|| panic!("no vector for {written}"));
        match told.strip_prefix("refused: ") {
            Some(why) => assert!(text(vector, "refused").ends_with(why), "{vector}: {why}"),
            None => assert_eq!(told.trim_matches('`'), text(vector, "normal")),
        }
    }
}
