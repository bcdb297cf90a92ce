//! Runs the program as a CI pipeline does: arguments and files in, exit code and output back.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use daee_artifact::package;
use daee_manifest::Manifest;
use daee_signer::{Key, publisher::SignatureFile};
use daee_types::{ArtifactHash, Domain, PackageStatement, Sign as _};
use serde_json::Value;
use tempfile::TempDir;

const MANIFEST: &str = r#"agent_id: "talos.oracle.price-eth@v1.2.0"
resources:
  cpu: "0.25"
  memory: "256MiB"
  gpu: "false"
entry_point: "oracle.wasm"
artifact_hash: "HASH"
"#;

const REACTOR: &str = r#"(module
    (import "daee" "call" (func (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (i32.const 0)))"#;

const COMMAND: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

#[expect(clippy::disallowed_methods, reason = "the subject of these tests is the program itself")]
fn program() -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_daee-verify"));
    program.env_remove("NO_COLOR").stdin(Stdio::null());
    program
}

/// A program that runs another on a terminal.
#[expect(clippy::disallowed_methods, reason = "only a terminal gets colour")]
fn terminal() -> Command {
    Command::new("script")
}

fn run(args: &[&str]) -> Output {
    program().args(args).output().unwrap()
}

fn run_with_stdin(args: &[&str], stdin: &[u8]) -> Output {
    let mut child = program()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that has read enough closes its end.
    _ = child.stdin.take().unwrap().write_all(stdin);
    child.wait_with_output().unwrap()
}

/// Exit code, verdict and `line:column rule` of each finding, from both formats.
fn check(args: &[&str], exit: i32, findings: &[&str]) {
    let text = run(args);
    let json = run(&[args, &["--format", "json"]].concat());
    assert_eq!(text.status.code(), Some(exit), "{args:?}: {}", shown(&text));
    assert_eq!(json.status.code(), Some(exit), "{args:?}");
    let judged: Value = serde_json::from_slice(&json.stdout).unwrap();
    let verdict = ["verified", "findings", "error"][exit as usize];
    assert_eq!(judged["verdict"], verdict, "{args:?}");
    let found: Vec<String> = judged["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|finding| {
            let rule = finding["rule"].as_str().unwrap();
            assert!(shown(&text).contains(&format!("[{rule}]")), "{args:?}: {}", shown(&text));
            match finding["line"].as_u64() {
                Some(line) => format!("{line}:{} {rule}", finding["column"]),
                None => rule.to_owned(),
            }
        })
        .collect();
    assert_eq!(found, findings, "{args:?}: {}", shown(&text));
}

fn shown(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A folder with a good artifact, its manifest and their package.
struct Good {
    folder: TempDir,
    wasm: Vec<u8>,
    yaml: String,
}

impl Good {
    fn new() -> Self {
        let wasm = wat::parse_str(REACTOR).unwrap();
        let yaml = MANIFEST.replace("HASH", &ArtifactHash::of(&wasm).to_string());
        let good = Self { folder: tempfile::tempdir().unwrap(), wasm, yaml };
        good.write("oracle.wasm", &good.wasm);
        good.write("agent.yaml", good.yaml.as_bytes());
        good.write("oracle.car", &good.package(&good.yaml));
        good
    }

    fn package(&self, yaml: &str) -> Vec<u8> {
        let body = Manifest::read(self.yaml.as_bytes()).unwrap().canonical_body().to_owned();
        package::write(&self.wasm, body.as_bytes(), yaml.as_bytes()).unwrap()
    }

    fn write(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.folder.path().join(name), bytes).unwrap();
        self.path(name)
    }

    fn path(&self, name: &str) -> String {
        Path::display(&self.folder.path().join(name)).to_string()
    }

    fn hash(&self) -> String {
        ArtifactHash::of(&self.wasm).to_string()
    }
}

#[test]
fn what_is_good_is_verified() {
    let good = Good::new();
    let (wasm, yaml) = (good.path("oracle.wasm"), good.path("agent.yaml"));
    check(&["manifest", &yaml], 0, &[]);
    check(&["artifact", &wasm, "--manifest", &yaml], 0, &[]);
    check(&["artifact", &wasm, "--hash", &good.hash()], 0, &[]);
    let cid = daee_artifact::Cid::of(&good.wasm).to_string();
    check(&["artifact", &wasm, "--cid", &cid], 0, &[]);
    let all = ["artifact", &wasm, "--hash", &good.hash(), "--cid", &cid, "--manifest", &yaml];
    check(&all, 0, &[]);
    check(&["artifact", &good.path("oracle.car"), "--cid", &cid], 1, &["DAEE-A030"]);
    check(&["artifact", &wasm], 0, &["DAEE-V010"]);
    check(&["package", &good.path("oracle.car")], 0, &[]);
    check(&["diff", &yaml, &good.path("oracle.car")], 0, &["DAEE-W003"]);
}

#[test]
fn the_hashes_of_what_was_judged_are_told() {
    let good = Good::new();
    let manifest = Manifest::read(good.yaml.as_bytes()).unwrap();
    let output = run(&["package", &good.path("oracle.car"), "--format", "json"]);
    let facts = serde_json::from_slice::<Value>(&output.stdout).unwrap()["facts"].clone();
    assert_eq!(facts["manifest_hash"], manifest.manifest_hash().to_string());
    assert_eq!(facts["body_hash"], manifest.body_hash().to_string());
    assert_eq!(facts["cid"], daee_artifact::Cid::of(&good.wasm).to_string());
    assert_eq!(facts["artifact_hash"], good.hash());
}

#[test]
fn every_problem_of_a_manifest_is_shown_under_its_line() {
    let good = Good::new();
    let yaml = good.yaml.replace("cpu: \"0.25\"", "cpu: 0.25") + "permisions: []\n";
    let file = good.write("agent.yaml", yaml.as_bytes());
    check(&["manifest", &file], 1, &["3:8 DAEE-M006", "8:1 DAEE-M003"]);
    let expected = format!(
        "error[DAEE-M006]: some readers take 0.25 for something else than text: write\n  \
         \"0.25\"\n  \
         --> {file}:3:8\n  |\n3 |   cpu: 0.25\n  |        ^^^^\n\n\
         error[DAEE-M003]: unknown key permisions, did you mean permissions?\n  \
         --> {file}:8:1\n  |\n8 | permisions: []\n  | ^^^^^^^^^^\n\n\
         2 findings\n"
    );
    assert_eq!(shown(&run(&["manifest", &file])), expected);
}

#[test]
fn a_gpu_is_pointed_out_and_changes_no_verdict() {
    let good = Good::new();
    let yaml = good.yaml.replace("gpu: \"false\"", "gpu: \"1\"");
    let file = good.write("agent.yaml", yaml.as_bytes());
    check(&["manifest", &file], 0, &["5:8 DAEE-V011"]);
}

#[test]
fn an_artifact_that_is_not_the_one_named_is_found() {
    let good = Good::new();
    let swapped = good.write("other.wasm", &wat::parse_str(COMMAND).unwrap());
    let zeros = "0".repeat(64);
    check(&["artifact", &swapped, "--hash", &good.hash()], 1, &["DAEE-A001"]);
    let cid = daee_artifact::Cid::of(b"else").to_string();
    check(&["artifact", &good.path("oracle.wasm"), "--cid", &cid], 1, &["DAEE-A001"]);
    let yaml = MANIFEST.replace("HASH", &zeros) + "run: resident\n";
    let yaml = good.write("agent.yaml", yaml.as_bytes());
    check(&["artifact", &swapped, "--manifest", &yaml], 1, &["7:16 DAEE-A001"]);
}

#[test]
fn a_module_that_no_node_can_run_is_found() {
    let good = Good::new();
    let wasm = |wat: &str| good.write("bad.wasm", &wat::parse_str(wat).unwrap());
    check(&["artifact", &wasm("(component)")], 1, &["DAEE-V010", "DAEE-A021"]);
    let file = good.write("bad.wasm", b"#!/bin/sh\n");
    check(&["artifact", &file], 1, &["DAEE-V010", "DAEE-A020"]);
    check(&["artifact", &good.write("bad.wasm", b"")], 1, &["DAEE-V010", "DAEE-A020"]);
    let file = wasm("(module (import \"env\" \"open\" (func)))");
    check(&["artifact", &file], 1, &["DAEE-V010", "DAEE-A024", "DAEE-A026", "DAEE-A026"]);
    // Without a manifest either style will do; with one, only the one it names.
    let command = wat::parse_str(COMMAND).unwrap();
    let file = good.write("command.wasm", &command);
    check(&["artifact", &file], 0, &["DAEE-V010"]);
    let yaml = MANIFEST.replace("HASH", &ArtifactHash::of(&command).to_string());
    let yaml = good.write("command.yaml", yaml.as_bytes());
    check(&["artifact", &file, "--manifest", &yaml], 1, &["DAEE-A026"]);
}

#[test]
fn memory_beyond_what_the_manifest_asks_for_is_found() {
    let good = Good::new();
    let wasm = wat::parse_str(REACTOR.replace("\"memory\") 1", "\"memory\") 4097")).unwrap();
    let file = good.write("large.wasm", &wasm);
    let yaml = MANIFEST.replace("HASH", &ArtifactHash::of(&wasm).to_string());
    let yaml = good.write("agent.yaml", yaml.as_bytes());
    check(&["artifact", &file, "--manifest", &yaml], 1, &["4:11 DAEE-V003"]);
}

#[test]
fn a_large_artifact_is_read_to_its_end() {
    let good = Good::new();
    // A custom section of 3 MiB behind the code.
    let mut wasm = good.wasm.clone();
    wasm.extend([0, 0x82, 0x80, 0xc0, 0x01, 1, b'f']);
    wasm.resize(wasm.len() + (3 << 20), 0x55);
    let hash = ArtifactHash::of(&wasm).to_string();
    let file = good.write("large.wasm", &wasm);
    check(&["artifact", &file, "--hash", &hash], 0, &[]);
    *wasm.last_mut().unwrap() ^= 1;
    let file = good.write("large.wasm", &wasm);
    check(&["artifact", &file, "--hash", &hash], 1, &["DAEE-A001"]);
    wasm.pop();
    let hash = ArtifactHash::of(&wasm).to_string();
    let file = good.write("large.wasm", &wasm);
    check(&["artifact", &file, "--hash", &hash], 1, &["DAEE-A022"]);
}

#[test]
fn parts_of_a_package_that_do_not_belong_together_are_found() {
    let good = Good::new();
    let package = |yaml: &str| good.write("bad.car", &good.package(yaml));
    let other_hash = good.yaml.replace(&good.hash(), &"0".repeat(64));
    check(&["package", &package(&other_hash)], 1, &["7:16 DAEE-A001"]);
    let other_memory = good.yaml.replace("256MiB", "512MiB");
    check(&["package", &package(&other_memory)], 1, &["DAEE-V002"]);
    check(
        &["package", &package("agent_id: x")],
        1,
        &["1:1 DAEE-M005", "1:1 DAEE-M005", "1:1 DAEE-M005", "1:11 DAEE-M010"],
    );
}

#[test]
fn a_package_that_is_damaged_is_found() {
    let good = Good::new();
    let whole = good.package(&good.yaml);
    let car = |bytes: &[u8]| good.write("bad.car", bytes);
    check(&["package", &car(&whole[..whole.len() - 1])], 1, &["DAEE-A017"]);
    check(&["package", &car(&[&whole[..], b"x"].concat())], 1, &["DAEE-A014"]);
    check(&["package", &car(&[])], 1, &["DAEE-A017"]);
    let mut bent = whole.clone();
    *bent.last_mut().unwrap() ^= 1;
    check(&["package", &car(&bent)], 1, &["DAEE-A011"]);
    check(&["package", &good.path("agent.yaml")], 1, &["DAEE-A010"]);
}

#[test]
fn what_cannot_be_read_is_no_verdict() {
    let good = Good::new();
    let folder = Path::display(good.folder.path()).to_string();
    let missing = good.path("missing");
    for subject in ["manifest", "artifact", "package"] {
        check(&[subject, &missing], 2, &["DAEE-V001"]);
        check(&[subject, &folder], 2, &["DAEE-V001"]);
    }
    let wasm = good.path("oracle.wasm");
    check(&["artifact", &wasm, "--manifest", &missing], 2, &["DAEE-V001"]);
}

#[test]
fn wrong_arguments_are_no_verdict() {
    let good = Good::new();
    let wasm = good.path("oracle.wasm");
    for args in [
        &[] as &[&str],
        &["judge", &wasm],
        &["artifact", &wasm, "--hash", "abc"],
        &["artifact", &wasm, "--cid", "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG"],
        &["artifact", "-", "--manifest", "-"],
        &["package", "-", "--signatures", "-"],
        &["diff", "-", "-"],
        &["diff", &wasm],
        &["manifest", "-", "--policy", "-"],
        &["manifest", &wasm, "--format", "xml"],
        &["rules", "--format", "sarif"],
        &["explain", "unknown-kex"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn standard_input_is_read_like_a_file() {
    let good = Good::new();
    let output = run_with_stdin(&["manifest", "-"], good.yaml.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let output = run_with_stdin(&["package", "-"], &good.package(&good.yaml));
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let yaml = good.path("agent.yaml");
    let output = run_with_stdin(&["artifact", "-", "--manifest", &yaml], &good.wasm);
    assert_eq!(output.status.code(), Some(0), "{}", shown(&output));
    let output = run_with_stdin(&["manifest", "-"], b"agent_id: x\n");
    assert_eq!(output.status.code(), Some(1));
    assert!(shown(&output).contains("--> <stdin>:1:11"), "{}", shown(&output));
}

#[test]
fn a_pipe_gets_no_colour_and_no_command_to_the_terminal() {
    let yaml = "agent_id: \"\x1b[31mred\x1b[0m\"\ndescription: \"\u{202e}\"\n";
    let output = run_with_stdin(&["manifest", "-"], yaml.as_bytes());
    assert_eq!(output.status.code(), Some(1));
    let shown = shown(&output);
    assert!(!shown.contains(['\x1b', '\u{202e}']), "{shown:?}");
}

#[test]
fn a_terminal_gets_colour_unless_it_wants_none() {
    let good = Good::new();
    let on_a_terminal = |no_color: &str| {
        let command = format!("{} manifest agent.yaml", env!("CARGO_BIN_EXE_daee-verify"));
        let mut script = terminal();
        script.current_dir(good.folder.path()).env("NO_COLOR", no_color);
        script.args(["-qec", &command, "/dev/null"]).stdin(Stdio::null()).output()
    };
    let Ok(coloured) = on_a_terminal("") else {
        println!("skipped: there is no script(1), which makes terminals");
        return;
    };
    assert!(shown(&coloured).contains("\x1b[1;32mverified\x1b[0m"), "{}", shown(&coloured));
    assert!(!shown(&on_a_terminal("1").unwrap()).contains('\x1b'));
}

#[test]
fn a_verdict_that_cannot_be_written_is_none() {
    let good = Good::new();
    let yaml = good.path("agent.yaml");
    for args in [&["manifest", &yaml][..], &["rules"], &["explain", "unknown-key"], &["schema"]] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = program().args(args).stdout(writer).status();
        assert_eq!(status.unwrap().code(), Some(2), "{args:?}");
    }
    let Ok(full) = fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let status = program().args(["manifest", &yaml]).stdout(full).status();
    assert_eq!(status.unwrap().code(), Some(2));
}

#[test]
fn a_pipe_that_ends_early_or_never_is_not_verified() {
    let good = Good::new();
    let car = good.package(&good.yaml);
    for cut in [0, 1, 100, car.len() / 2, car.len() - 1] {
        let output = run_with_stdin(&["package", "-"], &car[..cut]);
        assert_eq!(output.status.code(), Some(1), "{cut}: {}", shown(&output));
    }
    for args in [&["artifact", "-"], &["package", "-"], &["manifest", "-"]] {
        let Ok(endless) = fs::File::open("/dev/zero") else { return };
        let output = program().args(args).stdin(endless).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", shown(&output));
    }
}

#[cfg(unix)]
#[test]
fn a_path_need_not_be_text() {
    use std::os::unix::ffi::OsStrExt as _;
    let good = Good::new();
    let path = good.folder.path().join(std::ffi::OsStr::from_bytes(b"\xff\n::error::.yaml"));
    fs::write(&path, "a: b\n").unwrap();
    for (format, named) in
        [("text", "\u{fffd}\u{fffd}::error::.yaml:1:1"), ("sarif", "%FF%0A%3A%3Aerror%3A%3A.yaml")]
    {
        let output = program().arg("manifest").arg(&path).args(["--format", format]).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(shown(&output).contains(named), "{}", shown(&output));
    }
}

#[test]
fn a_policy_that_is_none_is_no_verdict() {
    let good = Good::new();
    let yaml = good.path("agent.yaml");
    let policy = good.write("release.toml", b"[levels]\nanother-artifact = \"off\"\n");
    check(&["manifest", &yaml, "--policy", &policy], 2, &["DAEE-V030"]);
    check(&["manifest", &yaml, "--policy", &good.path("missing.toml")], 2, &["DAEE-V001"]);
    let policy = good.write("release.toml", b"[levels]\nversion-not-raised = \"off\"\n");
    check(&["manifest", &yaml, "--policy", &policy], 0, &[]);
    let output = run_with_stdin(&["manifest", &yaml, "--policy", "-"], b"fail_on = \"note\"");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn who_signed_is_judged_beside_what_they_signed() {
    let good = Good::new();
    let (car, yaml) = (good.path("oracle.car"), good.path("agent.yaml"));
    let key = Key::from_hex(&"1".repeat(64)).unwrap();
    let manifest = Manifest::read(good.yaml.as_bytes()).unwrap();
    let cid = daee_artifact::Cid::of(&good.wasm);
    let statement = PackageStatement {
        agent_id: manifest.agent_id().to_string(),
        manifest_hash: manifest.manifest_hash(),
        cid: cid.to_bytes(),
    };
    let domain = Domain { chain_id: 31337, manager: key.address() };
    let mut file = SignatureFile::new(statement, domain);
    file.sign(&key).unwrap();

    let asks = |signer: String| {
        let policy = format!("[signatures]\nsigners = [\"{signer}\"]\n");
        good.write("release.toml", policy.as_bytes())
    };
    let policy = asks(key.address().to_string());
    let asked = ["--policy", &policy];
    check(&[&["package", &car], &asked[..]].concat(), 1, &["DAEE-V015"]);
    check(&["signature", &car], 2, &["DAEE-V001"]);
    // Beside the package it is found; elsewhere it is named.
    let beside = good.write("oracle.sig.json", file.to_json().as_bytes());
    check(&[&["package", &car], &asked[..]].concat(), 0, &[]);
    check(&[&["package", &car, "--signatures", &beside], &asked[..]].concat(), 0, &[]);
    check(&[&["signature", &car], &asked[..]].concat(), 0, &[]);
    check(&[&["signature", &car, &beside], &asked[..]].concat(), 0, &[]);
    let by_cid = ["signature", &yaml, &beside, "--cid", &cid.to_string()];
    check(&[&by_cid[..], &asked[..]].concat(), 0, &[]);
    // Nobody says whose signatures count, and that is no verdict on them.
    check(&["signature", &car], 1, &["DAEE-V016"]);
    check(&["package", &car], 0, &[]);
    let other = daee_artifact::Cid::of(b"else").to_string();
    let by_cid = ["signature", &yaml, &beside, "--cid", &other];
    check(&[&by_cid[..], &asked[..]].concat(), 1, &["DAEE-S030"]);
    let policy = asks("0x0707070707070707070707070707070707070707".to_owned());
    let found = ["DAEE-S033", "DAEE-S034"];
    check(&["package", &car, "--policy", &policy], 1, &found);
    check(&["package", &car, "--signatures", &yaml, "--policy", &policy], 1, &["DAEE-S021"]);
}

#[test]
fn an_upgrade_that_asks_for_more_is_found() {
    let good = Good::new();
    let (old, car) = (good.path("agent.yaml"), good.path("oracle.car"));
    let wider = good.yaml.replace("@v1.2.0", "@v1.3.0") + "permissions:\n  - \"read_ipfs\"\n";
    let new = good.write("new.yaml", wider.as_bytes());
    check(&["diff", &old, &new], 1, &["9:5 DAEE-W014"]);
    check(&["diff", &car, &new], 1, &["9:5 DAEE-W014"]);
    check(&["diff", &new, &old], 1, &["1:11 DAEE-W002", "DAEE-W040"]);
    let policy = good.write("release.toml", b"[levels]\nnew-ipfs-read = \"note\"\n");
    check(&["diff", &old, &new, "--policy", &policy], 0, &["9:5 DAEE-W014"]);
    check(&["diff", &good.path("missing"), &new], 2, &["DAEE-V001"]);
    let output = run_with_stdin(&["diff", "-", &new], good.yaml.as_bytes());
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn the_rules_are_told_to_people_and_scripts() {
    let text = shown(&run(&["rules"]));
    let json: Value = serde_json::from_str(&shown(&run(&["rules", "--format", "json"]))).unwrap();
    let all = json.as_array().unwrap();
    assert_eq!(text.lines().count(), all.len());
    for rule in all {
        let (id, name) = (rule["id"].as_str().unwrap(), rule["name"].as_str().unwrap());
        assert!(text.contains(&format!("{id}  ")) && text.contains(name), "{id}");
    }
    for asked in ["DAEE-M003", "daee-m003", "unknown-key", "Unknown-Key"] {
        let text = shown(&run(&["explain", asked]));
        assert!(text.starts_with("DAEE-M003 unknown-key\n"), "{asked}: {text}");
    }
    let slip = String::from_utf8(run(&["explain", "unknown-kex"]).stderr).unwrap();
    assert!(slip.contains("did you mean DAEE-M003 unknown-key?"), "{slip}");
    let schema: Value = serde_json::from_str(&shown(&run(&["schema"]))).unwrap();
    assert_eq!(schema, daee_manifest::json_schema());
}
