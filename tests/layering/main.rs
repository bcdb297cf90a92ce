//! The layers of `docs/architecture.md`, checked against what cargo resolved and what the sources say.

mod rules;
mod workspace;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use workspace::{Member, Workspace};

#[test]
fn dependencies_point_down_and_the_heavy_ones_have_one_home() {
    let workspace = Workspace::read(&daee_tests::metadata());
    assert!(workspace.members.len() > 20, "the workspace has more members than this");
    nothing_in(rules::graph(&workspace));
}

#[test]
fn every_crate_has_its_front_page() {
    let workspace = Workspace::read(&daee_tests::metadata());
    let findings = |member: &Member| {
        let read = |file: &str| fs::read_to_string(member.folder.join(file));
        let readme = read("README.md").unwrap_or_default();
        let library = member.library.then(|| read("src/lib.rs").unwrap_or_default());
        rules::front_page(member, &readme, library.as_deref(), &read("Cargo.toml").unwrap())
    };
    nothing_in(workspace.members.iter().flat_map(findings).collect());
}

#[test]
fn sources_keep_to_the_place_of_their_crate() {
    let workspace = Workspace::read(&daee_tests::metadata());
    let findings = |member: &Member| {
        let files = shipped_sources(&member.folder.join("src"));
        assert!(!files.is_empty(), "{} has no sources", member.name);
        let files: Vec<_> =
            files.iter().map(|(path, text)| (path.as_path(), rules::shipped(text))).collect();
        rules::sources(&member.name, &files)
    };
    nothing_in(workspace.members.iter().flat_map(findings).collect());
}

mod a_wrong_workspace_is_found {
    use super::*;

    #[test]
    fn when_a_dependency_points_up() {
        check(
            &[("daee-types", &["daee-policy"]), ("daee-policy", &[])],
            &["daee-types: must not depend on daee-policy"],
        );
    }

    #[test]
    fn when_neighbours_know_each_other() {
        check(
            &[("daee-state", &["daee-transcript"]), ("daee-transcript", &[])],
            &["daee-state: must not depend on daee-transcript"],
        );
        check(
            &[("daee-http", &["daee-ipfs"]), ("daee-ipfs", &["daee-http"])],
            &["daee-http: must not depend on daee-ipfs"],
        );
    }

    #[test]
    fn but_not_where_the_exception_is_named() {
        check(&[("daee-manifest", &["daee-policy"]), ("daee-policy", &[])], &[]);
        check(&[("daee-host", &["daee-types"]), ("daee-types", &[])], &[]);
    }

    #[test]
    fn when_the_guests_sdk_knows_a_crate_of_the_host() {
        check(
            &[("daee-agent", &["daee-types"]), ("daee-types", &[])],
            &["daee-agent: must not depend on daee-types"],
        );
    }

    #[test]
    fn when_a_heavy_dependency_moves_in_with_another() {
        check(&[("daee-host", &["wasmer"])], &["daee-host: wasmer lives in daee-runtime alone"]);
        check(
            &[("daee-ipfs", &["hyper-util"])],
            &["daee-ipfs: hyper-util lives in daee-http alone"],
        );
        check(
            &[("daee-verify", &["cid"])],
            &["daee-verify: cid lives in daee-artifact and daee-ipfs alone"],
        );
        check(
            &[("daee-devnet", &["alloy-consensus", "alloy-eips", "alloy-provider"])],
            &["daee-devnet: alloy-provider lives in daee-chain alone"],
        );
    }

    #[test]
    fn when_logic_is_linked_with_a_runtime_through_a_third_crate() {
        check(
            &[("daee-policy", &["resolver"]), ("resolver", &["tokio"])],
            &["daee-policy: is linked with tokio"],
        );
    }

    #[test]
    fn when_what_others_embed_brings_a_network_along() {
        check(
            &[("daee-runtime", &["client"]), ("client", &["tokio"])],
            &["daee-runtime: is linked with tokio"],
        );
    }

    #[test]
    fn when_a_member_has_no_place() {
        check(
            &[("daee-new", &[])],
            &["daee-new: has no place; give it one in tests/layering/rules.rs"],
        );
    }

    fn check(crates: &[(&str, &[&str])], expected: &[&str]) {
        assert_eq!(rules::graph(&Workspace::read(&metadata(crates))), expected);
    }
}

mod a_wrong_front_page_is_found {
    use super::*;

    const README: &str = "# daee-policy\n\nDecide.\n\n```rust\nassert!(true);\n```\n";
    const LIBRARY: &str = "#![doc = include_str!(\"../README.md\")]\n";
    const MANIFEST: &str = "[lints]\nworkspace = true\n";

    #[test]
    fn when_any_part_of_it_is_missing() {
        check("Decide", README, LIBRARY, MANIFEST, 0);
        check("", README, LIBRARY, MANIFEST, 3);
        check("Decide.", README, LIBRARY, MANIFEST, 2);
        check("A decision", README, LIBRARY, MANIFEST, 2);
        check("Decide", "", LIBRARY, MANIFEST, 2);
        check("Decide", "# daee-policy\n\nDecide.\n\n```text\n```", LIBRARY, MANIFEST, 0);
        check("Decide", "# daee-policy\n\nDecide.\n\n```rust,ignore\n", LIBRARY, MANIFEST, 1);
        check("Decide", README, "//! Policy.\n", MANIFEST, 1);
        check("Decide", README, LIBRARY, "", 1);
    }

    fn check(description: &str, readme: &str, library: &str, manifest: &str, expected: usize) {
        let mut workspace = Workspace::read(&metadata(&[("daee-policy", &[])]));
        let mut member = workspace.members.remove(0);
        member.description = description.to_owned();
        let found = rules::front_page(&member, readme, Some(library), manifest);
        assert_eq!(found.len(), expected, "{found:#?}");
    }
}

mod a_wrong_source_is_found {
    use super::*;

    #[test]
    fn when_logic_reads_a_clock_or_a_file() {
        check("daee-policy", &["let now = SystemTime::now();"], 1);
        check("daee-market", &["use std::fs;"], 1);
        check("daee-store", &["use std::fs;"], 0);
        check(
            "daee-policy",
            &["// An Instant is nothing that logic knows.", "struct Instants;"],
            0,
        );
    }

    #[test]
    fn when_unsafe_code_is_let_in_anywhere_else() {
        check("daee-host", &["#![allow(unsafe_code, reason = \"quick\")]"], 1);
        check("daee-runtime", &["#![allow(unsafe_code, reason = \"the cell\")]"], 0);
    }

    #[test]
    fn when_processes_start_in_two_modules() {
        check("xtask", &["Command::new(\"a\")"], 0);
        check("xtask", &["Command::new(\"a\")", "Command::new(\"b\")"], 1);
    }

    #[test]
    fn but_not_in_its_tests() {
        let text = "fn decide() {}\n#[cfg(test)]\nmod tests { use std::fs; }";
        assert_eq!(rules::shipped(text), "fn decide() {}\n");
    }

    fn check(name: &str, sources: &[&str], expected: usize) {
        let files: Vec<_> = sources.iter().map(|text| (Path::new("src/lib.rs"), *text)).collect();
        let found = rules::sources(name, &files);
        assert_eq!(found.len(), expected, "{found:#?}");
    }
}

/// What cargo would say of a workspace of these crates, each with its normal dependencies. Names that are
/// not ours are crates of the registry.
fn metadata(crates: &[(&str, &[&str])]) -> Value {
    let mut names: Vec<&str> = crates.iter().map(|(name, _)| *name).collect();
    names.extend(crates.iter().flat_map(|(_, dependencies)| dependencies.iter()));
    names.sort_unstable();
    names.dedup();
    let of = |name: &str| crates.iter().find(|(own, _)| *own == name).map_or(&[][..], |(_, d)| d);
    let package = |name: &&str| {
        json!({
            "id": name, "name": name, "description": "Decide", "manifest_path": "/crate/Cargo.toml",
            "targets": [{"kind": ["lib"]}],
            "dependencies": of(name).iter().map(|d| json!({"name": d, "kind": null})).collect::<Vec<_>>(),
        })
    };
    let node = |name: &&str| {
        let deps = of(name).iter().map(|d| json!({"pkg": d, "dep_kinds": [{"kind": null}]}));
        json!({"id": name, "deps": deps.collect::<Vec<_>>()})
    };
    let own = |name: &&&str| name.starts_with("daee-") || **name == "xtask";
    json!({
        "packages": names.iter().map(package).collect::<Vec<_>>(),
        "workspace_members": names.iter().filter(own).collect::<Vec<_>>(),
        "resolve": {"nodes": names.iter().map(node).collect::<Vec<_>>()},
    })
}

fn shipped_sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("a folder that was listed can be read").path();
        let tests = path.file_stem().is_some_and(|stem| stem == "tests");
        if path.is_dir() && !tests {
            found.extend(shipped_sources(&path));
        } else if path.extension().is_some_and(|ext| ext == "rs") && !tests {
            let text = fs::read_to_string(&path).expect("a source file is text");
            found.push((path.strip_prefix(daee_tests::root()).unwrap().to_owned(), text));
        }
    }
    found
}

fn nothing_in(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
