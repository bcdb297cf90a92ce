//! Every rule is one that something breaks, is explained, and can be put right.

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{self, Read},
    path::PathBuf,
};

use daee_artifact::{ARTIFACT_BYTES_MAX, ArtifactCid, BLOCK_BYTES_MAX, Cid, FileCid, FileHasher};
use daee_manifest::Manifest;
use daee_signer::{
    Key,
    publisher::{SignatureFile, SignedRotation, Trust},
};
use daee_types::{
    ArtifactHash, Coded as _, DeploymentId, Domain, EpochId, LogRoot, ManifestHash, Sign as _,
    StateRoot, TranscriptRoot,
};
use daee_verdict::{
    Difference, Differing, Example, Expected, Finding, Group, Level, Mark, Name, Policy, Ran,
    Report, Rule, Run, RunEnd, Signers, Verdict, rules,
};
use serde_json::Value;

use support::{car, car_of, manifest, package, rules_of, wasm, yaml, yaml_for};

const DOMAIN: Domain = Domain { chain_id: 31337, manager: daee_types::Address([7; 20]) };

#[test]
fn every_example_breaks_its_rule_and_every_fix_keeps_it() {
    for rule in rules() {
        match &rule.example {
            Example::Manifest { wrong, right } => {
                breaks(rule, &manifest(&yaml(wrong)));
                whole(rule, &manifest(&yaml(right)));
            }
            Example::Module { wrong, right } => {
                breaks(rule, &module(wrong));
                whole(rule, &module(right));
            }
            Example::Upgrade { old, new } => {
                breaks(rule, &upgrade(old, new));
                // To go back is no upgrade that widens anything.
                assert_eq!(manifest(&yaml(old)).verdict(), Verdict::Verified, "{}", rule.id);
            }
            Example::Told(_) => breaks(rule, &told(rule.id)),
        }
    }
}

#[test]
fn ids_and_names_are_each_of_one_rule() {
    let mut seen = BTreeSet::new();
    for rule in rules() {
        assert!(seen.insert(rule.id) && seen.insert(rule.name), "{} {}", rule.id, rule.name);
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        assert!(rule.name.chars().all(kebab), "{}", rule.name);
        for text in [rule.says, rule.fix] {
            assert!(!text.is_empty() && !text.ends_with('.'), "{}: {text}", rule.id);
        }
        assert!(!rule.fixed || rule.level == Level::Error, "{}: fixed, and no error", rule.id);
    }
}

/// What packing and signing alone can say, and what a policy says of its own signers.
const ELSEWHERE: [&str; 7] =
    ["DAEE-A033", "DAEE-S024", "DAEE-S025", "DAEE-S026", "DAEE-S027", "DAEE-S028", "DAEE-S029"];

#[test]
fn whatever_can_be_found_is_a_rule() {
    let mut said = codes_in("crates/daee-manifest/src");
    said.extend(codes_in("crates/daee-artifact/src"));
    said.extend(codes_in("crates/daee-signer/src/publisher"));
    said.extend(codes_in("crates/daee-verdict/src"));
    ELSEWHERE.iter().for_each(|code| assert!(said.remove(*code), "{code} is said nowhere"));
    let known: BTreeSet<String> = rules().map(|rule| rule.id.to_owned()).collect();
    assert_eq!(said, known);
}

#[test]
fn the_specification_shows_every_rule() {
    const BEGIN: &str =
        "<!-- The rules, written by the test of this crate with UPDATE_SNAPSHOTS=1. -->\n";
    let file = repository().join("docs/spec/verify.md");
    let written = fs::read_to_string(&file).unwrap();
    let (before, _) = written.split_once(BEGIN).expect("the rules have their place");
    let expected = format!("{before}{BEGIN}{}", markdown());
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, &expected).unwrap();
    }
    let written = fs::read_to_string(&file).unwrap();
    assert!(written == expected, "run this test with UPDATE_SNAPSHOTS=1 and look at the change");
}

fn breaks(rule: &Rule, report: &Report) {
    let found = report.findings.iter().find(|finding| finding.rule == rule.id);
    let found = found.unwrap_or_else(|| panic!("{}: {:?}", rule.id, report.findings));
    assert_eq!(found.level, rule.level, "{}", rule.id);
    assert!(report.verdict() != Verdict::Verified || rule.level < Level::Error, "{}", rule.id);
}

fn whole(rule: &Rule, report: &Report) {
    assert!(!rules_of(report).contains(&rule.id), "{}: {:?}", rule.id, report.findings);
    assert_eq!(report.verdict(), Verdict::Verified, "{}: {:?}", rule.id, report.findings);
}

fn module(wat: &str) -> Report {
    artifact(&wat::parse_str(wat).unwrap(), &Expected::default())
}

fn artifact(bytes: &[u8], expected: &Expected) -> Report {
    daee_verdict::artifact(Name::from("oracle.wasm"), bytes, expected)
}

/// An upgrade to the next version, unless the lines name one.
fn upgrade(old: &str, new: &str) -> Report {
    let next = |lines: &str| {
        let text = yaml(lines);
        let unchanged = old == new || lines.contains("agent_id");
        if unchanged { text } else { text.replace("@v1.2.0", "@v1.3.0") }
    };
    daee_verdict::upgrade(&manifest(&yaml(old)), manifest(&next(new)))
}

/// What does not fit on a line, as its rule tells it.
fn told(id: &'static str) -> Report {
    let good = car();
    let damaged = |change: fn(&mut Vec<u8>)| {
        let mut bytes = car();
        change(&mut bytes);
        package(&bytes)
    };
    let long = |len: usize| "x".repeat(len);
    let policy = |text: &str, mut report: Report| {
        Policy::read(text.as_bytes()).unwrap().apply(&mut report);
        report
    };
    match id {
        "DAEE-M000" => manifest(&yaml(&format!("# {}", long(64 << 10)))),
        "DAEE-M001" => manifest(&yaml("description: \"a\u{200b}b\"")),
        "DAEE-M011" => manifest(&yaml(&format!("description: \"{}\"", long(1025)))),
        "DAEE-M024" => manifest(&yaml(&format!("args:\n  - \"{}\"", long(4097)))),
        "DAEE-M030" => {
            let body = Manifest::read(yaml("").as_bytes()).unwrap().canonical_body().to_owned();
            let problems = Manifest::from_body(
                body.replacen(',', ", ", 1).as_bytes(),
                &ArtifactHash::of(&wasm()),
            );
            let mut report = Report::new(Group::Manifest, Name::from("body"));
            report.findings.extend(problems.unwrap_err().into_iter().map(Finding::from));
            report
        }
        "DAEE-A001" => {
            let expected = Expected {
                manifest: Some((Name::from("agent.yaml"), yaml("").into_bytes())),
                ..Expected::default()
            };
            artifact(&wat::parse_str(support::REACTOR.replace("1)", "2)")).unwrap(), &expected)
        }
        "DAEE-A003" => {
            let endless = io::repeat(0).take(ARTIFACT_BYTES_MAX * 2);
            daee_verdict::artifact(Name::stdin(), endless, &Expected::default())
        }
        "DAEE-A020" => artifact(b"#!/bin/sh\n", &Expected::default()),
        "DAEE-A004" => package(&wrong_root()),
        "DAEE-A010" => package(yaml("").as_bytes()),
        "DAEE-A011" => damaged(|bytes| *bytes.last_mut().unwrap() ^= 1),
        "DAEE-A012" => package(&good[..good.len() - block(yaml("").as_bytes()).len()]),
        "DAEE-A013" => {
            let mut bytes = header(&[cid_of(&wasm()), cid_of(b""), cid_of(b"")]);
            bytes.extend(block(&wasm()));
            bytes.extend(varint(36 + (2 << 20)));
            bytes.extend(cid_of(b""));
            package(&bytes)
        }
        "DAEE-A014" => damaged(|bytes| bytes.push(b'\n')),
        "DAEE-A015" => package(&[&good[..], &block(b"another file")].concat()),
        "DAEE-A016" => package(&[&good[..], &block(yaml("").as_bytes())].concat()),
        "DAEE-A017" => package(&good[..good.len() - 1]),
        "DAEE-A018" => package(&[&good[..], &with_cid(&[1, 0x55, 0, 1, b'x'], b"x")].concat()),
        "DAEE-A019" => {
            let mut cid = cid_of(b"x");
            cid[1] = 0x71;
            package(&[&good[..], &with_cid(&cid, b"x")].concat())
        }
        "DAEE-A030" => package(&[header(&[cid_of(&wasm())]), block(&wasm())].concat()),
        "DAEE-A031" => {
            let at = good.len() - block(yaml("").as_bytes()).len();
            let mut bytes = good[..at].to_vec();
            let last = block(yaml("").as_bytes());
            let length = last.iter().position(|byte| byte & 0x80 == 0).unwrap();
            bytes.extend(&last[..length]);
            bytes.extend([last[length] | 0x80, 0]);
            bytes.extend(&last[length + 1..]);
            package(&bytes)
        }
        "DAEE-A032" => artifact(&repeated_leaves(), &Expected::default()),
        id if id.starts_with("DAEE-J") => run(id),
        "DAEE-V001" => daee_verdict::manifest(Name::from("agent.yaml"), Broken),
        "DAEE-V002" => {
            let body = Manifest::read(yaml("").as_bytes()).unwrap().canonical_body().to_owned();
            let changed = yaml("durability: turn");
            let bytes = daee_artifact::package::write(&wasm(), body.as_bytes(), changed.as_bytes());
            package(&bytes.unwrap())
        }
        "DAEE-V003" => {
            let large = support::REACTOR.replace("\"memory\") 1", "\"memory\") 4097");
            let large = wat::parse_str(large).unwrap();
            package(&car_of(&large, &yaml_for(&large, "")))
        }
        "DAEE-V013" => {
            let module = naming("http.fetch");
            package(&car_of(&module, &yaml_for(&module, "")))
        }
        "DAEE-V014" => {
            let module = naming("state.get");
            package(&car_of(&module, &yaml_for(&module, "permissions:\n  - \"read_ipfs\"")))
        }
        "DAEE-V010" => artifact(&wasm(), &Expected::default()),
        "DAEE-V015" => {
            let mut report = package(&good);
            report.judge_signatures(None, Some(&Signed::new().asks(1)));
            report
        }
        "DAEE-V016" => {
            let mut report = package(&good);
            report.judge_signatures(Some(Signed::new().file.to_json().as_bytes()), None);
            report
        }
        "DAEE-V020" => policy(
            "[bounds]\npermissions = [\"read_ipfs\"]",
            manifest(&yaml("permissions:\n  - \"publish_to_chain\"")),
        ),
        "DAEE-V021" => policy("[bounds]\nmemory = \"128MiB\"", manifest(&yaml(""))),
        "DAEE-V030" => {
            let error = Policy::read(b"[levels]\ngpu-without-use = \"of\"").unwrap_err();
            let mut report = Report::new(Group::Program, Name::from("release.toml"));
            report.refuse_policy(&Name::from("release.toml"), &error);
            assert_eq!(error.code(), "DAEE-V030");
            report
        }
        _ => signature(id),
    }
}

/// A package, who signed it, and who else could.
struct Signed {
    keys: [Key; 3],
    file: SignatureFile,
}

impl Signed {
    fn new() -> Self {
        let key = |digit: char| Key::from_hex(&digit.to_string().repeat(64)).unwrap();
        let keys = ['1', '2', '3'].map(key);
        let statement = package(&car()).statement().unwrap();
        let mut file = SignatureFile::new(statement, DOMAIN);
        file.sign(&keys[0]).unwrap();
        Self { keys, file }
    }

    fn asks(&self, threshold: u32) -> Signers {
        let signers = self.keys[..2].iter().map(|key| key.address()).collect();
        Signers { trust: Trust::new(signers, threshold, vec![]).unwrap(), domain: Some(DOMAIN) }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.file.to_json()).unwrap()
    }

    fn rotation(&self, agent: &str, sequence: u64, from: usize, to: usize) -> Value {
        let (from, to) = (&self.keys[from], &self.keys[to]);
        let signed = SignedRotation::sign(agent, sequence, &DOMAIN, from, to).unwrap();
        serde_json::to_value(signed).unwrap()
    }
}

fn signature(id: &'static str) -> Report {
    const AGENT: &str = "talos.oracle.price-eth";
    let signed = Signed::new();
    let (mut json, mut asked) = (signed.json(), signed.asks(1));
    let rotations = |all: &[(u64, usize, usize)]| -> Value {
        all.iter().map(|(n, from, to)| signed.rotation(AGENT, *n, *from, *to)).collect()
    };
    match id {
        "DAEE-S020" => return signed_by(&vec![b' '; (64 << 10) + 1], &asked),
        "DAEE-S021" => return signed_by(yaml("").as_bytes(), &asked),
        "DAEE-S022" => json["format"] = "daee-signatures/2".into(),
        "DAEE-S023" => json["signatures"] = vec![json["signatures"][0].clone(); 33].into(),
        "DAEE-S030" => json["package"]["agent_id"] = format!("{AGENT}@v1.1.0").into(),
        "DAEE-S031" => asked.domain = Some(Domain { chain_id: 1, ..DOMAIN }),
        "DAEE-S032" => {
            json["signatures"][0]["signer"] = signed.keys[2].address().to_string().into();
        }
        "DAEE-S033" => {
            let other = vec![signed.keys[2].address()];
            asked.trust = Trust::new(other, 1, vec![]).unwrap();
        }
        "DAEE-S034" => asked = signed.asks(2),
        "DAEE-S035" => json["signatures"] = vec![json["signatures"][0].clone(); 2].into(),
        "DAEE-S036" => json["rotations"] = rotations(&[(1, 0, 2)]),
        "DAEE-S037" => json["rotations"] = rotations(&[(1, 0, 1), (1, 0, 2)]),
        "DAEE-S038" => {
            json["rotations"] = rotations(&[(1, 0, 2)]);
            let other = signed.rotation(AGENT, 1, 1, 2);
            json["rotations"][0]["to_signature"] = other["to_signature"].clone();
        }
        "DAEE-S039" => json["rotations"] = rotations(&[(2, 0, 2)]),
        "DAEE-S040" => {
            json["rotations"] = vec![signed.rotation("talos.oracle.price-btc", 1, 0, 2)].into();
        }
        "DAEE-S041" => json["rotations"] = rotations(&[(1, 0, 2), (2, 2, 0)]),
        _ => panic!("{id}: nothing here makes what its rule tells"),
    }
    signed_by(json.to_string().as_bytes(), &asked)
}

/// What is said of a recording that was run again.
fn run(id: &'static str) -> Report {
    let mut report = Report::of_recording(package(&car()), Name::from("oracle.run"));
    assert_eq!(report.verdict(), Verdict::Verified);
    let own = report.manifest.as_ref().unwrap().manifest_hash();
    let root = |n: u8| StateRoot::new([n; 32]);
    let mark = |turn, n: u8| Mark {
        turn,
        state: root(n),
        log: LogRoot::new([n; 32]),
        transcript: TranscriptRoot::new([n; 32]),
        fuel: turn,
    };
    let ran = Ran {
        from: mark(0, 1),
        to: mark(9, 2),
        turns: 9,
        calls: 30,
        observed: u64::from(id == "DAEE-J016"),
    };
    let differing = [
        ("DAEE-J001", Differing::Operation),
        ("DAEE-J002", Differing::Input),
        ("DAEE-J003", Differing::Result),
        ("DAEE-J004", Differing::Answer),
        ("DAEE-J005", Differing::Event),
        ("DAEE-J006", Differing::Outcome),
        ("DAEE-J007", Differing::Fuel),
        ("DAEE-J008", Differing::Limits),
        ("DAEE-J009", Differing::State),
        ("DAEE-J010", Differing::Log),
        ("DAEE-J011", Differing::Transcript),
    ];
    let (mut end, mut expected) = (RunEnd::Same(ran), vec![root(1), root(2)]);
    match id {
        "DAEE-J012" => {
            assert!(report.is_of_package(&own));
            assert!(!report.is_of_package(&ManifestHash::new([9; 32])));
            return report;
        }
        "DAEE-J013" => expected.push(root(3)),
        "DAEE-J014" => {
            report.no_recording("the bytes end too early");
            return report;
        }
        "DAEE-J015" => expected.clear(),
        "DAEE-J016" => {}
        "DAEE-J020" => {
            let why = "it was made by runtime version 1".to_owned();
            end = RunEnd::CannotRun { why, fix: "take the release with that one" };
        }
        _ => {
            let what = differing.iter().find(|(rule, _)| *rule == id).unwrap().1;
            let words = "turn 3, call 1: it differs".to_owned();
            end = RunEnd::Differs(Difference { what, turn: 3, call: Some(1), words });
        }
    }
    let run = Run { deployment: DeploymentId(7), epoch: EpochId::new([3; 32]), end };
    report.judge_run(&run, &expected);
    report
}

#[test]
fn a_recording_that_came_to_the_same_is_verified_and_what_could_not_be_run_is_not_said_to_be_wrong()
{
    for (id, verdict) in [
        ("DAEE-J015", Verdict::Verified),
        ("DAEE-J016", Verdict::Verified),
        ("DAEE-J003", Verdict::Findings),
        ("DAEE-J012", Verdict::Findings),
        ("DAEE-J020", Verdict::Error),
    ] {
        assert_eq!(run(id).verdict(), verdict, "{id}");
    }
}

fn signed_by(file: &[u8], asked: &Signers) -> Report {
    let mut report = package(&car());
    report.judge_signatures(Some(file), Some(asked));
    report
}

/// A module with the name of an operation in its data.
fn naming(operation: &str) -> Vec<u8> {
    let data = format!("1) (data (i32.const 0) \"{operation}\")");
    wat::parse_str(support::REACTOR.replacen("1)", &data, 1)).unwrap()
}

/// A file that cannot be read.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the disk is gone"))
    }
}

fn cid_of(bytes: &[u8]) -> Vec<u8> {
    Cid::of(bytes).to_bytes()
}

fn block(bytes: &[u8]) -> Vec<u8> {
    with_cid(&cid_of(bytes), bytes)
}

fn with_cid(cid: &[u8], bytes: &[u8]) -> Vec<u8> {
    [varint((cid.len() + bytes.len()) as u64), cid.to_vec(), bytes.to_vec()].concat()
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A CARv1 header with these roots.
fn header(roots: &[Vec<u8>]) -> Vec<u8> {
    let mut cbor = vec![0xa2, 0x65];
    cbor.extend(b"roots");
    cbor.push(0x80 | roots.len() as u8);
    for root in roots {
        cbor.extend([0xd8, 0x2a, 0x58, 0x25, 0x00]);
        cbor.extend(root);
    }
    cbor.push(0x67);
    cbor.extend(b"version");
    cbor.push(1);
    [varint(cbor.len() as u64), cbor].concat()
}

/// A package whose artifact's root says that its last leaf is a byte shorter.
fn wrong_root() -> Vec<u8> {
    let leaves = [vec![1; BLOCK_BYTES_MAX], vec![2; 5]];
    let mut hasher = FileHasher::new();
    leaves.iter().for_each(|leaf| hasher.update(leaf));
    let mut root = hasher.finish().unwrap().root().unwrap();
    *root.last_mut().unwrap() -= 1;
    let artifact = FileCid::of_root(&root).to_bytes();
    let yaml = yaml("");
    let body = Manifest::read(yaml.as_bytes()).unwrap().canonical_body().to_owned();
    let roots = [artifact.clone(), cid_of(body.as_bytes()), cid_of(yaml.as_bytes())];
    let mut car = header(&roots);
    car.extend(with_cid(&artifact, &root));
    leaves.iter().for_each(|leaf| car.extend(block(leaf)));
    car.extend(block(body.as_bytes()));
    car.extend(block(yaml.as_bytes()));
    car
}

/// A CAR with a file of nine different leaves twice, each written once.
fn repeated_leaves() -> Vec<u8> {
    let leaves: Vec<Vec<u8>> = (0..9).map(|n| vec![n; BLOCK_BYTES_MAX]).collect();
    let mut hasher = FileHasher::new();
    leaves.iter().chain(&leaves).for_each(|leaf| hasher.update(leaf));
    let layout = hasher.finish().unwrap();
    let ArtifactCid::File(root_cid) = layout.cid() else { panic!("more than one leaf") };
    let mut car = header(&[root_cid.to_bytes()]);
    car.extend(with_cid(&root_cid.to_bytes(), &layout.root().unwrap()));
    leaves.iter().for_each(|leaf| car.extend(block(leaf)));
    car
}

fn markdown() -> String {
    let mut out = String::new();
    for group in Group::ALL {
        let title = match group {
            Group::Manifest => "The manifest",
            Group::Artifact => "The artifact",
            Group::Package => "The package",
            Group::Signature => "Signatures",
            Group::Upgrade => "Upgrades",
            Group::Run => "Recordings",
            Group::Program => "The parts together, and daee-verify itself",
        };
        out.push_str(&format!("\n## {title}\n"));
        for rule in rules().filter(|rule| rule.group == group) {
            out.push_str(&section(rule));
        }
    }
    out
}

fn section(rule: &Rule) -> String {
    let Rule { id, name, says, fix, fixed, .. } = rule;
    let level = format!("{:?}", rule.level).to_lowercase();
    let fixed = if *fixed { ", fixed" } else { "" };
    let example = match &rule.example {
        Example::Manifest { wrong, right } => {
            format!("```yaml\n# wrong\n{wrong}\n# right\n{right}\n```")
        }
        Example::Module { wrong, right } => {
            format!("```wat\n;; wrong\n{wrong}\n;; right\n{right}\n```")
        }
        Example::Upgrade { old, new } => format!("```yaml\n# from\n{old}\n# to\n{new}\n```"),
        Example::Told(how) => format!("Example: {how}."),
    };
    format!("\n### {id} {name}\n\n{level}{fixed}: {says}.\n\nFix: {fix}.\n\n{example}\n")
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The codes that the sources of a folder say, tests and the catalogue left out.
fn codes_in(folder: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![repository().join(folder)];
    let mut files: BTreeMap<PathBuf, String> = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "rules" {
                folders.push(path);
            } else if name.ends_with(".rs") && name != "tests.rs" {
                files.insert(path.clone(), fs::read_to_string(&path).unwrap());
            }
        }
    }
    for text in files.values() {
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, _) in shipped.match_indices("\"DAEE-") {
            let code = &shipped[at + 1..at + 10];
            if code.bytes().filter(u8::is_ascii_digit).count() == 3 {
                found.insert(code.to_owned());
            }
        }
    }
    found
}
