//! What comes along with the crate.

use std::{collections::BTreeSet, process::Command};

#[test]
fn who_wants_the_manifest_alone_gets_fewer_than_forty_crates() {
    #[expect(clippy::disallowed_methods, reason = "a test asks cargo, as a user would")]
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "--package", "daee-manifest", "--edges", "normal", "--prefix", "none"]);
    cargo.args(["--format", "{p}", "--offline", "--manifest-path"]);
    let output = cargo.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let name_and_version = |line: &str| {
        let words: Vec<&str> = line.split(' ').take(2).collect();
        words.join(" ")
    };
    let crates: BTreeSet<String> = tree.lines().map(name_and_version).collect();
    assert!(crates.iter().any(|one| one.starts_with("granit-parser ")), "{crates:?}");
    assert!(crates.len() < 40, "{} crates: {crates:#?}", crates.len());
}
