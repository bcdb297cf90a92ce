//! Signs packages and keeps keys as a shell or a script does: arguments and files in, exit code and output back.

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, time::Duration};

use daee_signer::{
    Key,
    publisher::{SignatureFile, Trust},
};
use daee_testkit::{Ended, Program, TempDir, folder};
use daee_types::Sign as _;
use serde_json::Value;

const MODULE: &str = r#"(module (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (i32.const 0)))"#;
const MARKET: [&str; 4] =
    ["--chain-id", "31337", "--contract", "0xB0ca2B787F214E79086c9E3763348f6Ff360116D"];

/// A folder with a packed agent, the keys `a` and `b` (plain), and a password.
struct Here(TempDir);

impl Here {
    fn new() -> Self {
        let here = Self(folder());
        fs::create_dir_all(here.path("agent")).unwrap();
        fs::write(here.path("agent/a.wasm"), wat::parse_str(MODULE).unwrap()).unwrap();
        here.version("v1.0.0");
        for name in ["a", "b"] {
            Key::generate().save(here.path(name)).unwrap();
        }
        here.private("password", "correct horse\n");
        here
    }

    /// Writes the manifest anew and packs it.
    fn version(&self, version: &str) {
        let manifest = format!(
            "agent_id: \"acme.agent@{version}\"\nresources:\n  cpu: \"100m\"\n  memory: \"64MiB\"\n\
             entry_point: \"a.wasm\"\nartifact_hash: \"\"\n"
        );
        fs::write(self.path("agent/agent.yaml"), manifest).unwrap();
        self.json(&["pack", "agent"], 0);
    }

    fn private(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn address(&self, name: &str) -> String {
        Key::load(self.path(name)).unwrap().address().to_string()
    }

    fn signatures(&self, name: &str) -> SignatureFile {
        SignatureFile::read(&fs::read(self.path(name)).unwrap()).unwrap()
    }

    fn run(&self, args: &[&str]) -> Ended {
        let program = Program::new(env!("CARGO_BIN_EXE_daee-deploy"));
        program.args(args).folder(self.0.path()).run(Duration::from_secs(120))
    }

    /// The one object of `--json`.
    fn json(&self, args: &[&str], exit: i32) -> Value {
        let ended = self.run(&[args, &["--json"]].concat());
        assert_eq!(ended.code, Some(exit), "{args:?}: {}{}", ended.stdout, ended.stderr);
        serde_json::from_str(&ended.stdout).unwrap()
    }

    /// Exit code, and what standard error must say.
    fn check(&self, args: &[&str], exit: i32, says: &[&str]) {
        let ended = self.run(args);
        assert_eq!(ended.code, Some(exit), "{args:?}: {}{}", ended.stdout, ended.stderr);
        for part in says {
            assert!(ended.stderr.contains(part), "{args:?}: {part} is not in {}", ended.stderr);
        }
    }
}

#[test]
fn several_sign_one_package_and_each_once() {
    let here = Here::new();
    let market = [&["sign", "agent", "--key", "a"], &MARKET[..]].concat();
    let first = here.json(&market, 0);
    assert_eq!(first["signers"], serde_json::json!([here.address("a")]));
    assert_eq!(first["agent_id"], "acme.agent@v1.0.0");
    assert_eq!(first["chain_id"], 31337);
    assert!(first["file"].as_str().unwrap().ends_with("agent/agent.sig.json"));
    // The market is that of the file.
    let second = here.json(&["sign", "agent", "--key", "b"], 0);
    assert_eq!(second["added"], true);
    let again = here.json(&["sign", "agent", "--key", "b"], 0);
    assert_eq!(again["added"], false);

    let file = here.signatures("agent/agent.sig.json");
    let keys = ["a", "b"].map(|name| Key::load(here.path(name)).unwrap().address());
    let trust = Trust::new(keys.to_vec(), 2, Vec::new()).unwrap();
    let signed = file.judge(file.statement(), None, &trust).unwrap();
    assert_eq!(signed.by, keys);
    assert_eq!(first["manifest_hash"], file.statement().manifest_hash.to_string());
    // The same package in one file has the same signatures.
    here.json(&[&["sign", "agent/a.car", "--key", "a"], &MARKET[..]].concat(), 0);
    assert_eq!(here.signatures("agent/a.sig.json").signatures()[0], file.signatures()[0]);
}

#[test]
fn a_key_gives_its_place_to_another_and_signs_no_more() {
    let here = Here::new();
    here.json(&[&["sign", "agent", "--key", "a"], &MARKET[..]].concat(), 0);
    let rotated = here.json(&["sign", "agent", "--key", "a", "--rotate-to", "b"], 0);
    assert_eq!(rotated["rotation"]["sequence"], 1);
    assert_eq!(rotated["signers"], serde_json::json!([here.address("b")]));
    here.check(&["sign", "agent", "--key", "a"], 1, &["DAEE-S029", &here.address("b")]);
    here.check(&["sign", "agent", "--key", "b", "--rotate-to", "a"], 1, &["DAEE-S028"]);
    // The next version: nothing is signed of it yet, and the rotation still holds.
    here.version("v1.1.0");
    here.check(&["sign", "agent", "--key", "b"], 0, &["1 signature of acme.agent@v1.0.0"]);
    let file = here.signatures("agent/agent.sig.json");
    let old = Key::load(here.path("a")).unwrap().address();
    let trust = Trust::new(vec![old], 1, Vec::new()).unwrap();
    assert_eq!(file.judge(file.statement(), None, &trust).unwrap().rotation, 1);
}

#[test]
fn what_cannot_be_signed_says_what_to_do_and_changes_nothing() {
    let here = Here::new();
    here.check(&["sign", "agent", "--key", "a"], 2, &["for which market?", "--chain-id N"]);
    here.check(&["sign", "agent", "--key", "a", "--chain-id", "1"], 2, &["--contract"]);
    let sign = [&["sign", "agent"], &MARKET[..]].concat();
    here.check(&sign, 2, &["which wallet?", "--key FILE"]);
    let digits = "11".repeat(32);
    let ended = here.run(&[&sign[..], &["--key", &digits]].concat());
    assert!(ended.stderr.contains("not the path of a key file") && !ended.stderr.contains(&digits));
    assert!(!here.path("agent/agent.sig.json").exists());

    here.json(&[&sign[..], &["--key", "a"]].concat(), 0);
    let before = fs::read(here.path("agent/agent.sig.json")).unwrap();
    let other = ["sign", "agent", "--key", "b", "--chain-id", "1", "--contract", MARKET[3]];
    here.check(&other, 2, &["signatures for chain 31337", "--out FILE"]);
    here.check(&["sign", "agent", "--key", "a", "--rotate-to", "a"], 1, &["DAEE-S028"]);
    let another = fs::read_to_string(here.path("agent/agent.yaml")).unwrap();
    let another = another.replace("acme.agent", "acme.other");
    fs::write(here.path("agent/agent.yaml"), another).unwrap();
    here.check(&["sign", "agent", "--key", "b"], 2, &["acme.agent@v1.0.0, another agent"]);
    assert_eq!(fs::read(here.path("agent/agent.sig.json")).unwrap(), before);

    // What is wrong with the package comes first, and a file that is none is left alone.
    fs::write(here.path("agent/a.wasm"), "no module").unwrap();
    here.check(&[&sign[..], &["--key", "a"]].concat(), 1, &["DAEE-"]);
    fs::write(here.path("agent/a.wasm"), wat::parse_str(MODULE).unwrap()).unwrap();
    here.version("v1.0.0");
    fs::write(here.path("agent/agent.sig.json"), "{}").unwrap();
    here.check(&["sign", "agent", "--key", "a"], 2, &["DAEE-S021", "into a new file"]);
    assert_eq!(fs::read(here.path("agent/agent.sig.json")).unwrap(), b"{}");
}

#[test]
fn a_keystore_is_made_named_and_signed_with() {
    let here = Here::new();
    let new = here.json(&["key", "new", "k.json", "--password-file", "password"], 0);
    let kept = fs::read(here.path("k.json")).unwrap();
    assert_eq!(fs::metadata(here.path("k.json")).unwrap().permissions().mode() & 0o777, 0o600);
    let opened = ["--key", "k.json", "--password-file", "password"];
    let named = here.json(&[&["key", "address"], &opened[..]].concat(), 0);
    assert_eq!(named["address"], new["address"]);
    let signed = here.json(&[&["sign", "agent"], &opened[..], &MARKET[..]].concat(), 0);
    assert_eq!(signed["signers"], serde_json::json!([new["address"]]));

    // A plain key goes under a password; what is there is never written over.
    let taken = ["key", "new", "a.json", "--from", "a", "--password-file", "password"];
    assert_eq!(here.json(&taken, 0)["address"], here.address("a"));
    here.check(&["key", "new", "k.json", "--password-file", "password"], 2, &["DAEE-S013"]);
    assert_eq!(fs::read(here.path("k.json")).unwrap(), kept);
    // Nobody is there to be asked, and no password is guessed.
    here.check(&["key", "address", "--key", "k.json"], 2, &["DAEE-S060", "DAEE_PASSWORD_FILE"]);
    here.private("wrong", "correct horses");
    let wrong = ["key", "address", "--key", "k.json", "--password-file", "wrong"];
    here.check(&wrong, 2, &["DAEE-S052", "k.json"]);
    here.private("short", "horse");
    here.check(&["key", "new", "x.json", "--password-file", "short"], 2, &["DAEE-S064"]);
    assert!(!here.path("x.json").exists());
}
