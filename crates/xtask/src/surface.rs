//! No foreign type in a public signature: what rustdoc says a crate shows, searched for the dependencies that it
//! is there to hide.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::Failure;
use crate::tools;

/// Who hides what. A name covers its family: `alloy` is `alloy_primitives` too.
const HIDDEN: &[(&str, &[&str])] = &[
    ("daee-chain", &["alloy"]),
    ("daee-devnet", &["alloy", "revm"]),
    ("daee-manifest", &["serde_saphyr", "serde_yaml"]),
    ("daee-runtime", &["wasmer"]),
];

pub fn run(repo: &Path) -> Result<(), Failure> {
    // The wrapper, not the environment, unlocks the format: build scripts watch that variable, and every
    // dependency would be built again. So it would be for each crate documented on its own, with features of its own.
    tools::cargo(repo)
        .args(["doc", "--workspace", "--lib", "--no-deps", "--quiet", "--locked"])
        .env("RUSTDOC", unstable_rustdoc(repo)?)
        .env("RUSTDOCFLAGS", "-Z unstable-options --output-format json")
        .done()?;
    let mut shown = Vec::new();
    for (name, hidden) in HIDDEN {
        let file = tools::target(repo).join(format!("doc/{}.json", name.replace('-', "_")));
        let surface = read(&file)?;
        shown.extend(
            foreign(&surface, hidden).into_iter().map(|item| format!("{name} shows {item}")),
        );
    }
    if shown.is_empty() {
        println!("{} crates show nothing of what they hide", HIDDEN.len());
        return Ok(());
    }
    Err(Failure::new(shown.join("\n"), "wrap the type, or make what shows it pub(crate)"))
}

/// Types of `hidden` crates that anything public refers to.
fn foreign(surface: &Value, hidden: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for id in reachable(surface) {
        let item = &surface["index"][id.to_string()];
        // Derives and blanket implementations show what others wrote.
        let inner = &item["inner"];
        if inner["impl"]["blanket_impl"].is_object() || inner["impl"]["is_synthetic"] == true {
            continue;
        }
        let mut ids = Vec::new();
        referred(inner, &mut ids);
        for id in ids {
            let path = &surface["paths"][id.to_string()]["path"];
            let path: Vec<&str> =
                path.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let family = |name: &&&str| path.first().is_some_and(|krate| krate.starts_with(**name));
            if hidden.iter().any(|name| family(&name)) {
                found.insert(path.join("::"));
            }
        }
    }
    found
}

/// Ids of everything of this crate that a user of it can name: rustdoc also lists what lies in private modules
/// if something public is implemented for it.
fn reachable(surface: &Value) -> BTreeSet<u64> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<u64> = surface["root"].as_u64().into_iter().collect();
    while let Some(id) = next.pop() {
        let item = &surface["index"][id.to_string()];
        if item["crate_id"] != 0 || !seen.insert(id) {
            continue;
        }
        let inner = item["inner"].as_object().into_iter().flatten();
        for (kind, inner) in inner {
            let children: &[&Value] = match kind.as_str() {
                "module" if inner["is_stripped"] == true => &[],
                "module" | "impl" | "trait" => &[&inner["items"]],
                "use" => &[&inner["id"]],
                "struct" => {
                    &[&inner["kind"]["plain"]["fields"], &inner["kind"]["tuple"], &inner["impls"]]
                }
                "union" => &[&inner["fields"], &inner["impls"]],
                "enum" => &[&inner["variants"], &inner["impls"]],
                "variant" => &[&inner["kind"]["struct"]["fields"], &inner["kind"]["tuple"]],
                _ => &[],
            };
            for child in children {
                let listed = child.as_array().into_iter().flatten().filter_map(Value::as_u64);
                next.extend(listed.chain(child.as_u64()));
            }
        }
    }
    seen
}

/// The ids of every type, trait and re-export in a signature.
fn referred(value: &Value, ids: &mut Vec<u64>) {
    match value {
        Value::Object(fields) => {
            let path = fields.contains_key("path") || fields.contains_key("source");
            if path && let Some(id) = fields.get("id").and_then(Value::as_u64) {
                ids.push(id);
            }
            fields.values().for_each(|field| referred(field, ids));
        }
        Value::Array(items) => items.iter().for_each(|item| referred(item, ids)),
        _ => {}
    }
}

fn unstable_rustdoc(repo: &Path) -> Result<PathBuf, Failure> {
    let path = tools::target(repo).join("tools/rustdoc-json");
    let script = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n";
    fs::create_dir_all(path.parent().expect("it lies in tools"))
        .and_then(|()| fs::write(&path, script))
        .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
        .map_err(|error| Failure::new(error.to_string(), "make the target folder writable"))?;
    Ok(path)
}

fn read(file: &Path) -> Result<Value, Failure> {
    let text = fs::read(file).unwrap_or_default();
    serde_json::from_slice(&text).map_err(|error| {
        let what = format!("rustdoc left no JSON in {}: {error}", file.display());
        Failure::new(what, "use the toolchain of rust-toolchain.toml")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_foreign_type_in_an_argument_is_found() {
        let sig = json!({"inputs": [["module", {"resolved_path": {"path": "Module", "id": 7}}]]});
        check(json!({"function": {"sig": sig}}), &["wasmer::module::Module"]);
    }

    #[test]
    fn a_foreign_error_in_a_conversion_is_found() {
        let of = json!({"path": "From", "id": 9, "args": {"angle_bracketed": {"args": [
            {"type": {"resolved_path": {"path": "Error", "id": 8}}}
        ]}}});
        check(json!({"impl": {"trait": of, "blanket_impl": null}}), &["wasmer_types::Error"]);
    }

    #[test]
    fn a_reexport_is_found() {
        check(
            json!({"use": {"source": "wasmer::Module", "name": "Module", "id": 7}}),
            &["wasmer::module::Module"],
        );
    }

    #[test]
    fn our_own_and_the_standard_library_are_not() {
        check(json!({"struct_field": {"resolved_path": {"path": "Vec", "id": 9}}}), &[]);
    }

    #[test]
    fn what_nobody_can_name_is_not() {
        let field = json!({"struct_field": {"resolved_path": {"path": "Module", "id": 7}}});
        let surface = |stripped: bool| {
            json!({
                "root": 0,
                "index": {
                    "0": {"crate_id": 0, "inner": {"module": {"items": [2]}}},
                    "2": {"crate_id": 0, "inner": {"module": {"items": [1], "is_stripped": stripped}}},
                    "1": {"crate_id": 0, "inner": field},
                },
                "paths": {"7": {"path": ["wasmer", "module", "Module"]}},
            })
        };
        assert!(foreign(&surface(true), &["wasmer"]).is_empty());
        assert_eq!(foreign(&surface(false), &["wasmer"]).len(), 1);
    }

    fn check(inner: Value, expected: &[&str]) {
        let surface = json!({
            "root": 0,
            "index": {
                "0": {"crate_id": 0, "inner": {"module": {"items": [1]}}},
                "1": {"crate_id": 0, "inner": inner},
            },
            "paths": {
                "7": {"path": ["wasmer", "module", "Module"]},
                "8": {"path": ["wasmer_types", "Error"]},
                "9": {"path": ["core", "convert", "From"]},
            },
        });
        assert_eq!(foreign(&surface, &["wasmer"]).into_iter().collect::<Vec<_>>(), expected);
    }
}
