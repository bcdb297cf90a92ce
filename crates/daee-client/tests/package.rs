//! What can be wrong with a folder before anything is published or paid for.

use std::{fs, path::PathBuf};

use daee_artifact::{ArtifactCid, Cid, files_of, read_files};
use daee_client::{Package, PackageError, Parcel, bring, check};
use daee_types::{ArtifactHash, Coded as _};
use daee_verdict::{Finding, Level, Policy, Verdict};
use tempfile::TempDir;

const MANIFEST: &str = r#"# an oracle
agent_id: "talos.oracle.price-eth@v1.2.0"
resources:
  cpu: "0.25"      # a quarter
  memory: "256MiB"
entry_point: "oracle.wasm"
artifact_hash: "HASH"  # of the release build
permissions:
  - "read_ipfs"
"#;

const REACTOR: &str = r#"(module
    (import "daee" "call" (func (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (func (export "daee_turn") (result i32) (i32.const 0)))"#;

/// A folder with a module and a manifest, whose `HASH` is the module's.
struct Folder(TempDir);

impl Folder {
    fn new(yaml: &str, module: &[u8]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        let yaml = yaml.replace("HASH", &ArtifactHash::of(module).to_string());
        fs::write(folder.path("agent.yaml"), yaml).unwrap();
        fs::write(folder.path("oracle.wasm"), module).unwrap();
        folder
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn yaml(&self) -> String {
        fs::read_to_string(self.path("agent.yaml")).unwrap()
    }

    fn findings(&self) -> Vec<Finding> {
        let report = check(self.0.path(), &Policy::default());
        let verified = report.verdict() == Verdict::Verified;
        assert_eq!(Package::read(self.0.path()).is_ok(), verified);
        report.findings.into_iter().filter(|finding| finding.level == Level::Error).collect()
    }

    /// `line rule` of every finding.
    fn check(&self, expected: &[&str]) {
        let shown = |finding: &Finding| match finding.place {
            Some(place) => format!("{} {}", place.line, finding.rule),
            None => finding.rule.to_owned(),
        };
        let found = self.findings();
        let rules: Vec<String> = found.iter().map(shown).collect();
        assert_eq!(rules, expected, "{found:#?}");
    }
}

fn reactor() -> Vec<u8> {
    wat::parse_str(REACTOR).unwrap()
}

#[test]
fn a_whole_package_is_read_from_its_folder_its_manifest_or_its_file() {
    let folder = Folder::new(MANIFEST, &reactor());
    let packed = Package::pack(folder.0.path(), None).unwrap();
    assert!(packed.filled, "its CID was not there");
    assert_eq!(packed.file, folder.path("oracle.car"));
    assert!(!Package::pack(folder.0.path(), None).unwrap().filled, "once is enough");
    for path in [folder.0.path().to_owned(), folder.path("agent.yaml"), packed.file] {
        let package = Package::read(&path).unwrap();
        assert_eq!(package.artifact().bytes(), reactor());
        assert_eq!(package.cids()[0], Cid::of(&reactor()));
        assert_eq!(package.car(), packed.package.car());
        assert_eq!(package.artifact_bytes() as usize, reactor().len());
    }
}

#[test]
fn another_module_than_the_manifest_names_is_named_with_its_hash() {
    let folder = Folder::new(MANIFEST, &reactor());
    let other = wat::parse_str(REACTOR.replace("i32.const 0", "i32.const 1")).unwrap();
    fs::write(folder.path("oracle.wasm"), &other).unwrap();
    folder.check(&["7 DAEE-A001"]);
    let message = &folder.findings()[0].message;
    assert!(message.contains(&ArtifactHash::of(&other).to_string()), "{message}");
}

#[test]
fn packing_writes_hash_and_cid_and_nothing_else() {
    let module = reactor();
    let hash = ArtifactHash::of(&module).to_string();
    for before in ["...", "", &"0".repeat(64)] {
        let folder = Folder::new(&MANIFEST.replace("HASH", before), &module);
        let packed = Package::pack(folder.0.path(), None).unwrap();
        assert!(packed.filled, "{before}");
        let expected = MANIFEST.replace(
            "HASH\"  # of the release build",
            &format!("{hash}\"  # of the release build\n# cid: {}", Cid::of(&module)),
        );
        assert_eq!(folder.yaml(), expected, "{before}");
        assert_eq!(packed.package.yaml(), folder.yaml().as_bytes());
        assert!(!Package::pack(folder.0.path(), None).unwrap().filled, "once is enough");
    }
}

#[test]
fn packing_writes_nothing_while_something_is_wrong() {
    let yaml = MANIFEST.replace("HASH", "").replace("0.25", "a lot");
    let folder = Folder::new(&yaml, &reactor());
    let error = Package::pack(folder.0.path(), None).unwrap_err();
    assert!(error.to_string().contains("agent.yaml:4:8: "), "{error}");
    assert_eq!(folder.yaml(), yaml);
    assert!(!folder.path("oracle.car").exists());

    let component = Folder::new(MANIFEST, b"\0asm\x0d\0\x01\0");
    assert!(Package::pack(component.0.path(), None).is_err());
    assert!(!component.path("oracle.car").exists());
}

#[test]
fn a_hash_that_cannot_be_written_in_place_is_left_to_the_author() {
    let yaml = MANIFEST.replace("\"HASH\"", ">-\n  abc");
    let folder = Folder::new(&yaml, &reactor());
    let error = Package::pack(folder.0.path(), None).unwrap_err();
    assert!(matches!(error, PackageError::NoPlace(_) | PackageError::Wrong { .. }), "{error}");
    assert_eq!(folder.yaml(), yaml);
}

#[test]
fn everything_that_is_wrong_is_said_at_once() {
    let hungry = REACTOR.replace("\"memory\") 1", "\"memory\") 4097");
    let hungry = wat::parse_str(hungry).unwrap();
    let folder = Folder::new(&MANIFEST.replace("HASH", "a1b2c3..."), &hungry);
    folder.check(&["5 DAEE-V003", "7 DAEE-M018"]);
    assert!(folder.findings()[1].message.contains("`daee-deploy pack`"));

    // The line that is put in for the judgement is not counted.
    let without = MANIFEST.replace("artifact_hash: \"HASH\"  # of the release build\n", "");
    let moved =
        without.replace("resources:\n  cpu: \"0.25\"      # a quarter\n  memory: \"256MiB\"\n", "");
    let resources = "resources:\n  cpu: \"0.25\"\n  memory: \"256MiB\"\n";
    let folder = Folder::new(&(moved + resources), &hungry);
    let found = folder.findings();
    let memory = found.iter().find(|finding| finding.rule == "DAEE-V003").unwrap();
    assert_eq!(memory.place.unwrap().line, 8);
}

#[test]
fn what_is_no_core_module_is_refused_with_the_fix() {
    let component = Folder::new(MANIFEST, b"\0asm\x0d\0\x01\0");
    component.check(&["DAEE-A021"]);
    assert!(component.findings()[0].message.contains("wasm32-wasip1"));
    Folder::new(MANIFEST, b"#!/bin/sh").check(&["DAEE-A020"]);
    let command =
        wat::parse_str("(module (memory (export \"memory\") 1) (func (export \"_start\")))");
    Folder::new(MANIFEST, &command.unwrap()).check(&["DAEE-A026"]);
}

/// A module of 2 MiB and some, most of it a custom section.
fn large() -> Vec<u8> {
    let filler = "x".repeat(2 << 20);
    let large = REACTOR.replace("(memory", &format!("(@custom \"filler\" \"{filler}\") (memory"));
    wat::parse_str(large).unwrap()
}

#[test]
fn a_module_of_several_blocks_is_packed_and_not_deployed() {
    let folder = Folder::new(&MANIFEST.replace("HASH", ""), &large());
    let packed = Parcel::pack(folder.0.path(), None).unwrap();
    let cid = ArtifactCid::of(&large()).unwrap();
    assert_eq!(packed.package.cid(), cid);
    assert_eq!(packed.package.artifact_bytes(), large().len() as u64);
    assert!(folder.yaml().contains(&format!("  # of the release build\n# cid: {cid}\n")));

    for path in [folder.0.path().to_owned(), folder.path("agent.yaml"), packed.file.clone()] {
        assert_eq!(
            check(&path, &Policy::default()).verdict(),
            Verdict::Verified,
            "{}",
            path.display()
        );
        let parcel = Parcel::read(&path).unwrap();
        assert_eq!(parcel.car().roots(), packed.package.car().roots());
        let size = fs::metadata(&packed.file).unwrap().len();
        assert_eq!(parcel.car().bytes(), size, "as large as it was written");
        let error = Package::read(&path).unwrap_err();
        assert_eq!(error.code(), "DAEE-U007");
        assert!(error.to_string().contains("wasm-opt"), "{error}");
    }
    let mut car = fs::read(&packed.file).unwrap();
    *car.last_mut().unwrap() ^= 1;
    fs::write(&packed.file, car).unwrap();
    assert_eq!(check(&packed.file, &Policy::default()).findings[0].rule, "DAEE-A011");
    assert!(Parcel::read(&packed.file).is_err());
}

#[test]
fn a_policy_decides_what_fails_and_whose_signature_is_asked_for() {
    let folder = Folder::new(&MANIFEST.replace("0.25", "0.5"), &reactor());
    let verdict = |policy: &str, rule: Option<&str>| {
        let policy = Policy::read(policy.as_bytes()).unwrap();
        let report = check(folder.0.path(), &policy);
        assert_eq!(report.verdict() == Verdict::Verified, rule.is_none(), "{report:#?}");
        let found = report.findings.iter().any(|finding| Some(finding.rule) == rule);
        assert_eq!(found, rule.is_some(), "{report:#?}");
    };
    verdict("", None);
    verdict("[bounds]\ncpu = \"250m\"\n", Some("DAEE-V021"));
    let signed =
        "[signatures]\nthreshold = 1\nsigners = [\"0x0000000000000000000000000000000000000001\"]\n";
    verdict(signed, Some("DAEE-V015"));
    fs::write(folder.path("agent.sig.json"), "{}").unwrap();
    verdict(signed, Some("DAEE-S021"));
}

#[test]
fn a_missing_module_is_named() {
    let folder = Folder::new(MANIFEST, &reactor());
    fs::remove_file(folder.path("oracle.wasm")).unwrap();
    folder.check(&["6 DAEE-U001"]);
    let error = Package::read(&folder.path("nothing.yaml")).unwrap_err();
    assert!(matches!(error, PackageError::Unreadable { .. }), "{error}");
    assert!(error.to_string().contains("nothing.yaml cannot be read"), "{error}");
}

#[test]
fn a_package_file_is_not_believed() {
    let folder = Folder::new(MANIFEST, &reactor());
    let file = Package::pack(folder.0.path(), None).unwrap().file;
    let good = fs::read(&file).unwrap();
    let check = |bytes: &[u8], rule: &str| {
        let error = Package::from_car(&file, bytes).unwrap_err();
        let PackageError::Wrong(report) = &error else { panic!("{error}") };
        assert_eq!(report.findings[0].rule, rule, "{error}");
    };
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    check(&flipped, "DAEE-A011");
    check(&good[..good.len() - 1], "DAEE-A017");

    // Blocks that are whole, and do not belong together.
    let yaml = folder.yaml();
    let package = Package::read(folder.0.path()).unwrap();
    let body = package.manifest().canonical_body();
    let write = |module: &[u8], body: &str, yaml: &str| {
        daee_artifact::package::write(module, body.as_bytes(), yaml.as_bytes()).unwrap()
    };
    check(&write(b"another module", body, &yaml), "DAEE-A001");
    check(&write(&reactor(), "{}", &yaml), "DAEE-V002");
    check(&write(&reactor(), body, "agent_id: x"), "DAEE-M005");
}

#[test]
fn the_files_of_a_folder_come_along_in_the_module() {
    let folder = Folder::new(MANIFEST, &reactor());
    let files = tempfile::tempdir().unwrap();
    fs::create_dir(files.path().join("lib")).unwrap();
    fs::write(files.path().join("lib/b.py"), "b").unwrap();
    fs::write(files.path().join("a.py"), "a").unwrap();
    let brought = bring(folder.0.path(), files.path()).unwrap();
    assert_eq!((brought.files, brought.bytes.0), (2, 2));
    let module = fs::read(folder.path("oracle.wasm")).unwrap();
    let contents = files_of(&module);
    let paths: Vec<_> = read_files(contents).unwrap().iter().map(|file| file.path).collect();
    assert_eq!(paths, ["a.py", "lib/b.py"]);
    assert!(Package::pack(folder.0.path(), None).unwrap().filled, "the hash is another");

    fs::remove_file(files.path().join("a.py")).unwrap();
    bring(folder.0.path(), files.path()).unwrap();
    let less = fs::read(folder.path("oracle.wasm")).unwrap();
    assert_eq!(
        read_files(files_of(&less)).unwrap().len(),
        1,
        "they take the place of those before"
    );
}

#[test]
fn what_is_no_plain_file_does_not_come_along() {
    let folder = Folder::new(MANIFEST, &reactor());
    let refused = |make: &dyn Fn(&std::path::Path)| {
        let files = tempfile::tempdir().unwrap();
        make(files.path());
        let error = bring(folder.0.path(), files.path()).unwrap_err();
        assert_eq!(error.code(), "DAEE-U008", "{error}");
        assert_eq!(fs::read(folder.path("oracle.wasm")).unwrap(), reactor(), "it is as it was");
    };
    refused(&|files| std::os::unix::fs::symlink("/etc/passwd", files.join("link")).unwrap());
    refused(&|files| std::os::unix::fs::symlink("/", files.join("link")).unwrap());
    refused(&|files| fs::write(files.join("a\nb"), "").unwrap());
    refused(&|files| fs::write(files.join("a\\b"), "").unwrap());
    refused(&|files| fs::remove_dir(files).unwrap());
}
