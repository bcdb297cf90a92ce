//! What is verified, what is found, and what nobody can hide.

mod support;

use std::io::{self, Read};

use daee_artifact::{ArtifactCid, BLOCK_BYTES_MAX, FileHasher, package::Writer};
use daee_manifest::Manifest;
use daee_types::ArtifactHash;
use daee_verdict::{
    Expected, Level, Name, POLICY_BYTES_MAX, Policy, Report, Verdict, artifact, upgrade,
};

use support::{REACTOR, car, car_of, manifest, package, rules_of, wasm, yaml, yaml_for};

/// `lines` come in the next version.
fn diff(old: &str, new: &str, expected: &[&str]) {
    let new_yaml = yaml(new).replace("@v1.2.0", "@v1.3.0");
    let report = upgrade(&manifest(&yaml(old)), manifest(&new_yaml));
    assert_eq!(rules_of(&report), expected, "{old} {new}: {:?}", report.findings);
}

#[test]
fn an_upgrade_that_asks_for_no_more_is_verified() {
    diff("", "", &[]);
    diff(
        "permissions:\n  - \"network_outbound:*.example.org\"",
        "permissions:\n  - \"network_outbound:*.example.org\"\n  - \"network_outbound:a.example.org\"",
        &[],
    );
    diff("durability: local", "durability: turn", &[]);
    diff("endpoint: public", "endpoint: private", &[]);
    diff("", "sla:\n  heartbeat: 600s", &[]);
    diff("sla:\n  heartbeat: 600s", "sla:\n  heartbeat: 60s", &[]);
    diff("schedule: \"* * * * *\"", "schedule: \"*/5 * * * *\"", &[]);
    diff("schedule: \"0 9 * * MON\"", "", &[]);
    diff("resources:\n  cpu: \"0.25\"\n  memory: \"256MiB\"\n  storage: \"64MiB\"", "", &[]);
    diff("deploy", "deploy", &["DAEE-M002"; 2]);
}

#[test]
fn each_thing_that_is_widened_is_named() {
    let hosts = |all: &[&str]| {
        let lines: Vec<String> = all.iter().map(|host| format!("  - \"{host}\"")).collect();
        format!("permissions:\n{}", lines.join("\n"))
    };
    let a = "network_outbound:a.example.org";
    diff("", &hosts(&[a]), &["DAEE-W010"]);
    diff(
        &hosts(&[a]),
        &hosts(&["network_outbound:a.example.org:8443"]),
        &["DAEE-W011", "DAEE-W040"],
    );
    diff(&hosts(&[a]), &hosts(&["network_outbound:*.example.org"]), &["DAEE-W012"]);
    diff(
        &hosts(&["network_outbound:*.a.example.org"]),
        &hosts(&["network_outbound:*.example.org"]),
        &["DAEE-W012"],
    );
    diff(&hosts(&["network_outbound:*.example.org"]), &hosts(&[a]), &["DAEE-W040"]);
    diff(&hosts(&["deploy:50"]), &hosts(&["deploy:5"]), &["DAEE-W040"]);
    diff("", "schedule: \"0 0 1 1 *\"", &["DAEE-W027"]);
    diff("schedule: \"* * * * *\"", "schedule: \"*/30 * * * * *\"", &["DAEE-W027"]);
    diff("sla:\n  grace: 60s", "", &["DAEE-W031"]);
    diff("", "run: resident", &["DAEE-W026"]);
    diff("", "secrets:\n  - \"a\"\n  - \"b\"", &["DAEE-W028", "DAEE-W028"]);
}

#[test]
fn a_change_without_a_higher_version_is_found() {
    let with = |version: &str, lines: &str| manifest(&yaml(lines).replace("@v1.2.0", version));
    let check = |old: &str, new: &str, expected: &[&str]| {
        let report = upgrade(&with(old, ""), with(new, "env:\n  A: \"1\""));
        let found: Vec<_> = rules_of(&report).into_iter().filter(|id| *id != "DAEE-W029").collect();
        assert_eq!(found, expected, "{old} {new}");
    };
    check("@v1.2.0", "@v1.2.0", &["DAEE-W002"]);
    check("@v1.2.0", "@v1.1.9", &["DAEE-W002"]);
    check("@v1.10.0", "@v1.9.0", &["DAEE-W002"]);
    check("@v1.2.0", "@v1.2.0+build", &["DAEE-W002"]);
    check("@v1.2.0", "@v1.2.0-rc.1", &["DAEE-W002"]);
    check("@v1.2.0-rc.1", "@v1.2.0", &[]);
    check("@v1.9.0", "@v1.10.0", &[]);
}

#[test]
fn an_old_version_that_cannot_be_read_is_no_base_to_compare_with() {
    let report = upgrade(&manifest("a: b\n"), manifest(&yaml("")));
    assert_eq!(report.verdict(), Verdict::Findings);
    assert!(report.findings[0].message.starts_with("agent.yaml:1:1: "), "{:?}", report.findings);
    let unread = daee_verdict::manifest(Name::from("gone.yaml"), Broken);
    assert_eq!(upgrade(&unread, manifest(&yaml(""))).verdict(), Verdict::Error);
    assert_eq!(upgrade(&manifest(&yaml("")), unread).verdict(), Verdict::Error);
}

#[test]
fn packages_are_compared_like_manifests() {
    let new = yaml("permissions:\n  - \"read_ipfs\"").replace("@v1.2.0", "@v1.3.0");
    let both = |bytes: &[u8]| daee_verdict::manifest_or_package(Name::from("x"), bytes);
    let report = upgrade(&both(&car()), both(&car_of(&wasm(), &new)));
    assert_eq!(rules_of(&report), ["DAEE-W014"]);
    let report = upgrade(&both(yaml("").as_bytes()), both(&car_of(&wasm(), &new)));
    assert_eq!(rules_of(&report), ["DAEE-W014"]);
}

struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("gone"))
    }
}

#[test]
fn a_stream_that_breaks_off_is_no_verdict_whatever_came_before() {
    let breaks = |bytes: &[u8], at: usize| -> Box<dyn Read> {
        Box::new(io::Cursor::new(bytes[..at].to_vec()).chain(Broken))
    };
    for at in [0, 8, wasm().len()] {
        let report = artifact(Name::stdin(), breaks(&wasm(), at), &Expected::default());
        assert_eq!(report.verdict(), Verdict::Error, "artifact at {at}");
    }
    for at in [0, 8, car().len()] {
        let report = daee_verdict::package(Name::stdin(), breaks(&car(), at));
        assert_eq!(report.verdict(), Verdict::Error, "package at {at}");
        let report = daee_verdict::manifest_or_package(Name::stdin(), breaks(&car(), at));
        assert_eq!(report.verdict(), Verdict::Error, "either at {at}");
    }
    let report = daee_verdict::manifest(Name::stdin(), breaks(yaml("").as_bytes(), 9));
    assert_eq!(report.verdict(), Verdict::Error);
}

/// A module with so many bytes in a custom section.
fn large(bytes: usize) -> Vec<u8> {
    let mut module = wasm();
    let mut len = bytes + 2;
    module.push(0);
    for _ in 0..4 {
        module.push(len as u8 & 0x7f | 0x80);
        len >>= 7;
    }
    module.push(len as u8);
    module.extend([1, b'f']);
    module.resize(module.len() + bytes, 0x55);
    module
}

fn large_car(module: &[u8], yaml: &str) -> Vec<u8> {
    let mut hasher = FileHasher::new();
    hasher.update(module);
    let body = Manifest::read(yaml.as_bytes()).unwrap().canonical_body().to_owned();
    let layout = hasher.finish().unwrap();
    let mut writer = Writer::new(layout, body.as_bytes(), yaml.as_bytes()).unwrap();
    let mut car = Vec::new();
    writer.update(module, |bytes| car.extend_from_slice(bytes));
    writer.finish(|bytes| car.extend_from_slice(bytes)).unwrap();
    car
}

#[test]
fn artifacts_and_packages_of_more_than_a_block_are_verified_and_bent_ones_found() {
    for size in [BLOCK_BYTES_MAX - 200, BLOCK_BYTES_MAX + 1, 9 << 20] {
        let module = large(size);
        let yaml = yaml_for(&module, "");
        let cid = ArtifactCid::of(&module).unwrap();
        let expected = Expected {
            hash: Some(ArtifactHash::of(&module)),
            cid: Some(cid),
            manifest: Some((Name::from("agent.yaml"), yaml.clone().into_bytes())),
            blake3: true,
        };
        let judged = |bytes: &[u8]| artifact(Name::from("x.wasm"), bytes, &expected);
        let report = judged(&module);
        assert_eq!(rules_of(&report), [""; 0], "{:?}", report.findings);
        assert_eq!(report.artifact, Some(cid));
        assert!(report.facts.iter().any(|(name, _)| *name == "blake3"));
        let mut bent = module.clone();
        *bent.last_mut().unwrap() ^= 1;
        assert_eq!(rules_of(&judged(&bent)), ["DAEE-A001"; 3]);

        if size > BLOCK_BYTES_MAX {
            let mut car = large_car(&module, &yaml);
            let report = package(&car);
            assert_eq!(rules_of(&report), [""; 0], "{:?}", report.findings);
            assert_eq!(report.statement().unwrap().cid, cid.to_bytes());
            let middle = car.len() / 2;
            car[middle] ^= 1;
            assert_eq!(rules_of(&package(&car)), ["DAEE-A011"]);
        }
    }
}

fn policy(text: &str) -> Result<Policy, String> {
    Policy::read(text.as_bytes()).map_err(|error| error.to_string())
}

fn under(text: &str, mut report: Report) -> Report {
    policy(text).unwrap().apply(&mut report);
    report
}

#[test]
fn a_policy_says_how_much_a_rule_matters() {
    let alone = || artifact(Name::stdin(), &wasm()[..], &Expected::default());
    let verdict = |text: &str| under(text, alone()).verdict();
    assert_eq!(verdict(""), Verdict::Verified);
    assert_eq!(verdict("fail_on = \"note\""), Verdict::Findings);
    assert_eq!(verdict("fail_on = \"warning\""), Verdict::Verified);
    assert_eq!(verdict("[levels]\nDAEE-V010 = \"error\""), Verdict::Findings);
    assert_eq!(
        verdict("fail_on = \"note\"\n[levels]\ncompared-with-nothing = \"off\""),
        Verdict::Verified
    );
    let upgraded = upgrade(
        &manifest(&yaml("")),
        manifest(&yaml("durability: checkpoint").replace("1.2.0", "2.0.0")),
    );
    let report = under("[levels]\ndurability-lowered = \"note\"", upgraded);
    assert_eq!(report.verdict(), Verdict::Verified);
    assert_eq!(report.findings[0].level, Level::Note);
}

#[test]
fn no_policy_hides_what_was_not_read_or_not_verified() {
    for rule in daee_verdict::rules().filter(|rule| rule.fixed) {
        for level in ["off", "note", "warning"] {
            for name in [rule.id, rule.name] {
                let error = policy(&format!("[levels]\n{name} = \"{level}\"")).unwrap_err();
                assert!(error.contains(rule.id) && error.contains("cannot be lowered"), "{error}");
            }
        }
        assert!(policy(&format!("[levels]\n{} = \"error\"", rule.id)).is_ok());
    }
    let mut report = daee_verdict::manifest(Name::stdin(), Broken);
    Policy::default().apply(&mut report);
    report.findings.clear();
    assert_eq!(report.verdict(), Verdict::Error);
}

#[test]
fn what_a_policy_does_not_mean_is_refused_where_it_stands() {
    let check = |text: &str, place: &str, said: &str| {
        let error = policy(text).unwrap_err();
        assert!(error.starts_with(place) && error.contains(said), "{text}: {error}");
    };
    check("failon = \"note\"", "1:1: ", "did you mean fail_on?");
    check("fail_on = \"off\"", "1:11: ", "off would fail on nothing");
    check("fail_on = \"eror\"", "1:11: ", "did you mean error?");
    check("fail_on = 1", "1:11: ", "a text in quotes");
    check("[levels]\nnew-hots = \"off\"", "2:1: ", "did you mean new-host?");
    check("[levels]\nDAEE-W10 = \"off\"", "2:1: ", "did you mean DAEE-W");
    check("[levels]\nnew-host = \"off\"\nDAEE-W010 = \"off\"", "3:1: ", "has a level already");
    check("levels = 3", "1:10: ", "a table");
    check("\u{e4} = [", "1:", "");
    check("[signatures]\nsigners = []", "", "threshold");
    check("[signatures]\nsigner = []", "2:1: ", "did you mean signers?");
    check("[signatures]\nsigners = [\"0x12\"]", "2:12: ", "");
    let one = "signers = [\"0x0707070707070707070707070707070707070707\"]";
    check(&format!("[signatures]\n{one}\nthreshold = 2"), "", "threshold is 2");
    check(&format!("[signatures]\n{one}\nthreshold = -1"), "3:13: ", "whole number");
    check(&format!("[signatures]\n{one}\nchain_id = 1"), "", "belong together");
    check(&format!("[signatures]\n{one}\nrotations = [{{}}]"), "3:14: ", "missing field");
    check("[bounds]\ncpus = \"1\"", "2:1: ", "did you mean cpu?");
    check("[bounds]\ncpu = \"lots\"", "", "not a number of vCPUs");
    check("[bounds]\npermissions = [\"read_ipf\"]", "", "did you mean read_ipfs?");
    check(&"#".repeat(POLICY_BYTES_MAX + 1), "1:1: ", "64 KiB");
    assert!(Policy::read(b"\xff").is_err());
}

#[test]
fn bounds_hold_what_any_agent_may_ask_for() {
    let check = |bounds: &str, lines: &str, expected: &[&str]| {
        let report = under(&format!("[bounds]\n{bounds}"), manifest(&yaml(lines)));
        assert_eq!(rules_of(&report), expected, "{bounds} {lines}");
    };
    let asks = |permission: &str| format!("permissions:\n  - \"{permission}\"");
    check("", &asks("read_ipfs"), &[]);
    check("permissions = []", &asks("read_ipfs"), &["DAEE-V020"]);
    check(
        "permissions = [\"network_outbound:*.example.org\"]",
        &asks("network_outbound:a.example.org"),
        &[],
    );
    check(
        "permissions = [\"network_outbound:*.example.org\"]",
        &asks("network_outbound:a.example.org:8443"),
        &["DAEE-V020"],
    );
    check("permissions = [\"deploy:5\"]", &asks("deploy:6"), &["DAEE-V020"]);
    check("cpu = \"0.25\"\nmemory = \"256MiB\"", "", &[]);
    check("cpu = \"0.2\"", "", &["DAEE-V021"]);
    check("storage = \"1MiB\"", "", &["DAEE-V021"]);
    check(
        "gpu = \"false\"",
        "resources:\n  cpu: \"1\"\n  memory: \"1GiB\"\n  gpu: \"1\"",
        &["DAEE-V011", "DAEE-V021"],
    );
}

#[test]
fn a_car_of_the_artifact_alone_is_the_artifact() {
    let module = wat::parse_str(REACTOR).unwrap();
    let car = daee_artifact::package::single_block_car(&daee_artifact::Cid::of(&module), &module);
    let expected = Expected { hash: Some(ArtifactHash::of(&module)), ..Expected::default() };
    let report = artifact(Name::from("x.car"), &car[..], &expected);
    assert_eq!(rules_of(&report), [""; 0]);
    let report = artifact(Name::from("x.car"), &car[..car.len() - 1], &expected);
    assert_eq!(rules_of(&report), ["DAEE-A017"]);
}

#[test]
fn signatures_over_what_is_not_known_verify_nothing() {
    use daee_signer::publisher::SignatureFile;
    let statement = package(&car()).statement().unwrap();
    let domain = daee_types::Domain { chain_id: 1, manager: daee_types::Address([7; 20]) };
    let unsigned = SignatureFile::new(statement, domain).to_json();
    let judged = |mut report: Report| {
        report.judge_signatures(Some(unsigned.as_bytes()), None);
        (report.verdict(), rules_of(&report))
    };
    // A manifest alone, whose artifact nobody gave.
    assert_eq!(judged(manifest(&yaml(""))), (Verdict::Error, vec!["DAEE-V001"]));
    let broken = package(&daee_artifact::package::write(&wasm(), b"{}", b"- a\n").unwrap());
    assert_eq!(judged(broken), (Verdict::Findings, vec!["DAEE-M002"]));
    assert_eq!(judged(package(&car())), (Verdict::Findings, vec!["DAEE-V016", "DAEE-V015"]));
}
