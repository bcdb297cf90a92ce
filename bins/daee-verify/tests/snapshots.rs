//! What is printed, as files: for each subject and format what a person or a pipeline sees. After a change
//! that is meant, run with UPDATE_SNAPSHOTS=1 and look at the difference.

use std::{fs, path::Path, process::Command};

use daee_artifact::package;
use daee_manifest::Manifest;
use daee_types::ArtifactHash;
use serde_json::Value;

const MODULE: &str = r#"(module (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (i32.const 0)))"#;

const MANIFEST: &str = r#"agent_id: "talos.oracle.price-eth@v1.2.0"
description: "Says the price of ETH"
resources:
  cpu: "0.25"
  memory: "256MiB"
entry_point: "oracle.wasm"
artifact_hash: "HASH"
permissions:
  - "network_outbound:api.coingecko.com"
"#;

const HIDDEN: &str = "description: \"\u{202e}</failure>::error::\u{1b}[31m\"\n";

const WRONG: &str = "agent_id: talos.oracle.price-eth@1.2\n\
description: \"</failure>::error::%0A\"\n\
run: \"::error::%0A]]><x/>\"\n\
resources:\n  cpu: 0.25\n  memory: 256M\n\
entry_point: \"oracle.wasm\"\n\
artifact_hash: 93a44bbb96c7...\n\
permisions: []\n";

/// Name of the snapshot, exit code, arguments.
const SUBJECTS: [(&str, i32, &[&str]); 9] = [
    ("manifest", 0, &["manifest", "agent.yaml"]),
    ("wrong-manifest", 1, &["manifest", "wrong.yaml"]),
    ("hidden-characters", 1, &["manifest", "hidden.yaml"]),
    ("artifact", 1, &["artifact", "other.wasm", "--manifest", "agent.yaml", "--blake3"]),
    ("package", 0, &["package", "oracle.car"]),
    ("wrong-package", 1, &["package", "wrong.car"]),
    ("unsigned", 1, &["package", "oracle.car", "--policy", "release.toml"]),
    ("diff", 1, &["diff", "agent.yaml", "new.yaml"]),
    ("unreadable", 2, &["package", "missing.car"]),
];

#[test]
fn what_is_printed_is_what_was_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path());
    let update = std::env::var_os("UPDATE_SNAPSHOTS").is_some();
    let snapshots = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots");
    let mut differ = Vec::new();
    let mut compare = |name: String, printed: String| {
        let file = snapshots.join(&name);
        if update {
            fs::write(&file, &printed).unwrap();
        } else if fs::read_to_string(&file).unwrap_or_default() != printed {
            differ.push(format!("{name}:\n{printed}"));
        }
    };
    for (name, exit, args) in SUBJECTS {
        for format in ["text", "json", "sarif", "junit", "github"] {
            compare(format!("{name}.{format}"), printed(folder.path(), args, format, exit));
        }
    }
    for (name, args) in [("rules", &["rules"][..]), ("explain", &["explain", "new-star"])] {
        compare(format!("{name}.text"), printed(folder.path(), args, "text", 0));
    }
    assert!(differ.is_empty(), "not as in tests/snapshots:\n{}", differ.join("\n"));
}

fn fill(folder: &Path) {
    let write = |name: &str, bytes: &[u8]| fs::write(folder.join(name), bytes).unwrap();
    let wasm = wat::parse_str(MODULE).unwrap();
    let yaml = MANIFEST.replace("HASH", &ArtifactHash::of(&wasm).to_string());
    let body = Manifest::read(yaml.as_bytes()).unwrap().canonical_body().to_owned();
    let car = package::write(&wasm, body.as_bytes(), yaml.as_bytes()).unwrap();
    let wider = yaml
        .replace("@v1.2.0", "@v1.2.1")
        .replace("api.coingecko.com\"", "*.coingecko.com\"\n  - \"publish_to_chain\"")
        .replace("256MiB", "512MiB");
    write("agent.yaml", yaml.as_bytes());
    write("wrong.yaml", WRONG.as_bytes());
    write("hidden.yaml", HIDDEN.as_bytes());
    write("new.yaml", (wider + "durability: checkpoint\nenv:\n  PAIR: \"ETH/USD\"\n").as_bytes());
    write("other.wasm", b"\0asm\x01\0\0\0");
    write("oracle.car", &car);
    write("wrong.car", &[&car[..car.len() - 1], b"x\n"].concat());
    write(
        "release.toml",
        b"fail_on = \"warning\"\n[signatures]\n\
          signers = [\"0x0707070707070707070707070707070707070707\"]\n",
    );
}

#[expect(clippy::disallowed_methods, reason = "the subject of these tests is the program itself")]
fn printed(folder: &Path, args: &[&str], format: &str, exit: i32) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_daee-verify"))
        .current_dir(folder)
        .args(args)
        .args(["--format", format])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(exit), "{args:?}");
    assert!(output.stderr.is_empty(), "{args:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let text = text.replace(env!("CARGO_PKG_VERSION"), "VERSION");
    if format == "sarif" { without_rules(&text) } else { text }
}

/// The rules are the same in all, and have a test of their own.
fn without_rules(text: &str) -> String {
    let mut log: Value = serde_json::from_str(text).unwrap();
    let rules = &mut log["runs"][0]["tool"]["driver"]["rules"];
    assert!(rules.as_array().unwrap().len() > 80);
    *rules = "all rules".into();
    format!("{log:#}\n")
}
