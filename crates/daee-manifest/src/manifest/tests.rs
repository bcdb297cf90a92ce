use daee_types::{ByteSize, MilliCpu, Timestamp};
use proptest::prelude::*;

use super::*;

const HASH: &str = "93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476";

/// The example of TIP-0042 section 3.1, word for word.
const TIP: &str = r#"# agent.yaml
agent_id: "talos.oracle.price-eth@v1.2.0"
description: "Fetches the current price of ETH from a trusted API and provides it on-chain."
compliance:
  - "TIP-3" # Decentralized Oracle Network
  - "TIP-7" # Agent-to-Agent Communication
resources:
  cpu: "0.25"      # 0.25 vCPU core
  memory: "256MiB" # 256 Mebibytes of RAM
  gpu: "false"
entry_point: "oracle.wasm"
artifact_hash: "a1b2c3d4e5f6... (SHA-256 hash of oracle.wasm)"
permissions:
  - "network_outbound:api.coingecko.com"
  - "read_ipfs"
  - "publish_to_chain"
"#;

fn tip() -> String {
    TIP.replace("a1b2c3d4e5f6... (SHA-256 hash of oracle.wasm)", HASH)
}

/// The problems of a manifest as `line:column rule`.
fn check(yaml: &str, expected: &[&str]) {
    let found = match Manifest::read(yaml.as_bytes()) {
        Ok(_) => Vec::new(),
        Err(problems) => {
            problems.iter().map(|p| format!("{}:{} {}", p.line, p.column, p.rule)).collect()
        }
    };
    assert_eq!(found, expected, "{yaml}");
}

fn with(line: &str) -> String {
    format!("{}{line}\n", tip())
}

#[test]
fn the_manifest_of_tip_0042_is_a_manifest_once_its_ellipsis_is_a_hash() {
    let manifest = Manifest::read(tip().as_bytes()).unwrap();
    assert_eq!(manifest.agent_id().to_string(), "talos.oracle.price-eth@v1.2.0");
    assert_eq!(manifest.resources().cpu, MilliCpu(250));
    assert_eq!(manifest.resources().memory, ByteSize::mib(256));
    assert_eq!(manifest.resources().gpu, 0);
    assert_eq!(manifest.artifact_hash().to_string(), HASH);
    assert_eq!(manifest.compliance(), ["TIP-3", "TIP-7"]);
    assert_eq!(manifest.permissions().len(), 3);
    assert_eq!(manifest.permissions()[0].line, 14);
}

#[test]
fn the_ellipsis_of_tip_0042_is_refused_with_what_to_write() {
    check(TIP, &["12:16 DAEE-M018"]);
    let said = Manifest::read(TIP.as_bytes()).unwrap_err().remove(0).message;
    assert!(said.starts_with("an abbreviated hash: write the 64 lower-case hex digits"), "{said}");
}

#[test]
fn a_manifest_may_explain_itself_at_length() {
    let comments = "# why\n".repeat(500);
    let yaml = tip()
        .replace("resources:\n", &format!("resources:\n{comments}"))
        .replace("permissions:\n", &format!("permissions:\n{comments}"));
    check(&format!("{comments}---\n{comments}{yaml}{comments}"), &[]);
    check(&yaml.replace('\n', "\r\n"), &[]);
}

#[test]
fn a_refusal_is_told_in_the_words_of_the_rule() {
    for (line, words) in [
        ("env: &a {}", "anchors and aliases are not allowed: write the value again"),
        ("env: *a", "anchors and aliases are not allowed: write the value again"),
        ("env: {<<: {}}", "merge keys are not allowed"),
        ("args: [[[[[[[[[]]]]]]]]]", "nested more than 8 deep"),
        (&format!("args: [{}]", "a,".repeat(2_000)), "more than 2000 keys and values"),
    ] {
        let problems = Manifest::read(with(line).as_bytes()).unwrap_err();
        assert_eq!((problems[0].line, problems[0].message.as_str()), (17, words), "{line}");
    }
}

#[test]
fn the_canonical_body_is_pinned() {
    let manifest = Manifest::read(tip().as_bytes()).unwrap();
    assert_eq!(
        manifest.canonical_body(),
        concat!(
            r#"{"agent_id":"talos.oracle.price-eth@v1.2.0","compliance":["TIP-3","TIP-7"],"#,
            r#""description":"Fetches the current price of ETH from a trusted API and provides it on-chain.","#,
            r#""entry_point":"oracle.wasm","permissions":["network_outbound:api.coingecko.com","#,
            r#""read_ipfs","publish_to_chain"],"resources":{"cpu":"0.25","gpu":"false","memory":"256MiB"}}"#
        )
    );
    let body = manifest.canonical_body().as_bytes();
    let node = Manifest::from_body(body, manifest.artifact_hash()).unwrap();
    assert_eq!(node.manifest_hash(), manifest.manifest_hash());
    assert_eq!(node.permissions()[0].line, 0, "nobody has written this line");
    let other = ArtifactHash::of(b"other");
    assert_ne!(
        Manifest::from_body(body, &other).unwrap().manifest_hash(),
        manifest.manifest_hash()
    );
}

#[test]
fn comments_and_layout_do_not_change_the_body_but_words_do() {
    let hash = |yaml: &str| Manifest::read(yaml.as_bytes()).unwrap().body_hash();
    let plain = tip().replace("\"oracle.wasm\"", "oracle.wasm").replace("# 0.25 vCPU core", "");
    assert_eq!(hash(&tip()), hash(&plain));
    assert_ne!(hash(&tip()), hash(&tip().replace("256MiB", "255MiB")));
}

#[test]
fn only_the_exact_canonical_bytes_are_a_body() {
    let manifest = Manifest::read(tip().as_bytes()).unwrap();
    let body = manifest.canonical_body().to_owned();
    for bad in [
        format!("{body}\n"),
        body.replace(":[", ": ["),
        body.replace("{\"agent_id\"", "{\"artifact_hash\":\"x\",\"agent_id\""),
        body.replace("\"TIP-3\"", "3"),
        body.replace("Fetches", "Fetch\\u0000es"),
        body.replace("Fetches", "Fetch\u{202e}es"),
        body.replace("{\"agent_id\"", "{\"agent_id\":\"a.b@v1.0.0\",\"agent_id\""),
        body.replace("\"gpu\":\"false\",", "\"gpu\":null,"),
        body.replace("oracle.wasm", "oracle\\u002ewasm"),
        format!(
            "{{{}\"z\":\"\"}}",
            (0..9_000).map(|n| format!("\"{n}\":\"\",")).collect::<String>()
        ),
        "{}".to_owned(),
        String::new(),
    ] {
        assert!(Manifest::from_body(bad.as_bytes(), manifest.artifact_hash()).is_err(), "{bad}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let yaml = "agent_id: \"noversion\"\npermisions:\n  - \"x\"\nresources:\n  cpu: \"0\"\n  \
                memroy: \"1MiB\"\nentry_point: \"../a.wasm\"\n";
    check(
        yaml,
        &[
            "1:1 DAEE-M005", // artifact_hash
            "1:11 DAEE-M010",
            "2:1 DAEE-M003",
            "4:1 DAEE-M005", // memory
            "5:8 DAEE-M013",
            "6:3 DAEE-M003",
            "7:14 DAEE-M017",
        ],
    );
}

#[test]
fn a_slip_of_the_pen_is_named() {
    let check = |yaml: String, meant: Option<&str>| {
        let problems = Manifest::read(yaml.as_bytes()).unwrap_err();
        let said: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
        let hint =
            said[0].split_once(", did you mean ").map(|(_, hint)| hint.trim_end_matches('?'));
        assert_eq!((said.len(), hint), (1, meant), "{yaml}: {said:?}");
    };
    check(with("descripton: x"), Some("description"));
    check(with("Run: resident"), Some("run"));
    check(with("volumes: x"), None);
    check(with("run: residnet"), Some("resident"));
    check(with("run: per_event"), Some("per-event"));
    check(with("run: always"), None);
    check(with("durability: Local"), Some("local"));
    check(with("endpoint: privat"), Some("private"));
    check(with("sla: {hearbeat: 60s}"), Some("heartbeat"));
    check(with("sla: {interval: 60s}"), None);
    check(tip().replace("  gpu", "  gpus"), Some("gpu"));
    check(tip().replace("\"false\"", "\"False\""), Some("false"));
    check(tip().replace("256MiB", "256Mib"), Some("MiB"));
    check(tip().replace("256MiB", "256Mi"), Some("MiB"));
    check(tip().replace("256MiB", "256 MiB"), Some("MiB"));
    check(tip().replace("256MiB", "256M"), Some("MB"));
    check(tip().replace("256MiB", "256KB"), Some("kB"));
    check(tip().replace("256MiB", "256TiB"), None);
    check(tip().replace("\"read_ipfs\"", "\"ipfs_read\""), None);
    check(tip().replace("\"read_ipfs\"", "\"read_ipsf\""), Some("read_ipfs"));
    check(tip().replace("network_outbound", "network-outbound"), Some("network_outbound"));
}

#[test]
fn what_is_there_twice_is_refused() {
    check(&with("entry_point: \"b.wasm\""), &["17:1 DAEE-M004"]);
    let twice = tip().replace("  - \"read_ipfs\"", "  - \"read_ipfs\"\n  - \"read_ipfs\"");
    check(&twice, &["16:5 DAEE-M029"]);
    let twice = tip().replace("  gpu: \"false\"", "  gpu: \"false\"\n  gpu: \"1\"");
    check(&twice, &["11:3 DAEE-M004"]);
    check(&with("env: {A: a, A: b}"), &["17:13 DAEE-M004"]);
    let twice =
        tip().replace("  - \"read_ipfs\"", "  - \"network_outbound:api.coingecko.com:443\"");
    check(&twice, &["15:5 DAEE-M029"]);
}

#[test]
fn text_that_some_readers_take_for_something_else_must_be_quoted() {
    let described = |value: &str| {
        let line = tip().lines().nth(2).unwrap().to_owned();
        tip().replace(&line, &format!("description: {value}"))
    };
    for value in
        ["no", "Off", "~", "null", "true", "0e12", "1_000", "0x1f", "12:30:45", ".5", "2026-11-24"]
    {
        check(&described(value), &["3:14 DAEE-M006"]);
        check(&described(&format!("'{value}'")), &[]);
    }
    check(&described(""), &["3:12 DAEE-M006"]);
    check(&described("''"), &[]);
    check(&tip().replace("cpu: \"0.25\"", "cpu: 0.25"), &["8:8 DAEE-M006"]);
    check(&with("env: {on: \"1\"}"), &["17:7 DAEE-M006"]);
    // Readers differ on whether such a block ends in a line break.
    check(with("env:\n  A: |\n    x").trim_end(), &["19:5 DAEE-M006"]);
    check(&with("env:\n  A: |\n    x"), &[]);
    check(tip().trim_end(), &[]);
}

#[test]
fn a_value_of_the_wrong_kind_is_named_with_its_place() {
    check(&with("run: [resident]"), &["17:6 DAEE-M007"]);
    check(&with("secrets: api-key"), &["17:10 DAEE-M007"]);
    check(&with("args: [a, [b], {c: d}]"), &["17:11 DAEE-M007", "17:16 DAEE-M007"]);
    check(&with("env: {A: {B: \"c\"}}"), &["17:10 DAEE-M007"]);
    check(&tip().replace("resources:\n", "resources: none\nenv:\n"), &["7:12 DAEE-M007"]);
}

#[test]
fn what_only_some_readers_understand_is_refused() {
    let refused = |yaml: &str, rule: &str| {
        let problems = Manifest::read(yaml.as_bytes()).err().unwrap_or_default();
        assert!(problems.iter().any(|p| p.rule == rule), "{yaml:?}: {problems:?}");
    };
    refused(&format!("\u{feff}{}", tip()), "DAEE-M001");
    refused(&tip().replace("Fetches", "Fetch\u{202e}es"), "DAEE-M001");
    refused(&tip().replace("Fetches", "Fetch\u{200b}es"), "DAEE-M001");
    refused(&tip().replace("Fetches", "Fetch\u{85}es"), "DAEE-M001");
    refused(&tip().replace("Fetches", "Fetch\u{0}es"), "DAEE-M001");
    refused(&format!("%YAML 1.2\n---\n{}", tip()), "DAEE-M002");
    refused(&format!("{}---\na: b\n", tip()), "DAEE-M002");
    refused(&with("env: &a\n  A: \"1\""), "DAEE-M002");
    refused(&with("env: *a"), "DAEE-M002");
    refused(&with("env:\n  <<: {A: \"1\"}"), "DAEE-M002");
    refused(&with("run: !!str resident"), "DAEE-M006");
    refused(&with("run: !x resident"), "DAEE-M006");
    refused(&with("run: !!binary cmVzaWRlbnQ="), "DAEE-M006");
    refused(&with("!!str run: resident"), "DAEE-M006");
    refused(&with("args: !!seq [a,!!str b]"), "DAEE-M006");
    refused(&with("env: !!map {A: b}"), "DAEE-M006");
    refused(&with("env: {[a]: b}"), "DAEE-M002");
    refused(&with("description2: \"\\u202e\""), "DAEE-M001");
    refused(&with("args: [\"\\0\"]"), "DAEE-M001");
    refused(&format!("{}...\n", tip()), "DAEE-M002");
    refused("", "DAEE-M002");
    refused("- a\n", "DAEE-M002");
}

#[test]
fn values_outside_the_grammar_are_refused() {
    let cases = [
        (
            "cpu: \"0.25\"",
            "DAEE-M013",
            vec!["0", "0.0", "-1", "0.0001", "1e3", "m", "a", "1000000000", ""],
        ),
        (
            "memory: \"256MiB\"",
            "DAEE-M014",
            vec!["256", "256 MiB", "MiB", "-1MiB", "0MiB", "1TiB", "99999999999GiB"],
        ),
        ("gpu: \"false\"", "DAEE-M015", vec!["no", "-1", "1.5", "99999"]),
        (
            "entry_point: \"oracle.wasm\"",
            "DAEE-M017",
            vec!["oracle", "/oracle.wasm", "../o.wasm", "a//b.wasm", "a\\\\b.wasm", ".wasm"],
        ),
        (
            "agent_id: \"talos.oracle.price-eth@v1.2.0\"",
            "DAEE-M010",
            vec!["a@v1.0.0", "A.b@v1.0.0", "a.b@1.0.0", "a.b@v1", "a..b@v1.0.0", "a.-b@v1.0.0"],
        ),
    ];
    for (line, rule, values) in cases {
        let key = line.split(':').next().unwrap();
        for value in values {
            let yaml = tip().replace(line, &format!("{key}: \"{value}\""));
            let problems = Manifest::read(yaml.as_bytes()).err().unwrap_or_default();
            assert!(problems.iter().any(|p| p.rule == rule), "{key}: {value:?} gives {problems:?}");
        }
    }
}

#[test]
fn optional_fields_are_read() {
    let yaml = with(
        "run: resident\nschedule: \"*/15 * * * * *\"\nenv:\n  PAIR: \"ETH/USD\"\nargs: [\"-v\"]\ndurability: checkpoint\nendpoint: private\nsecrets: [api-key]\nsla: {heartbeat: 60s, grace: 30s}",
    );
    let manifest = Manifest::read(yaml.as_bytes()).unwrap();
    assert_eq!(manifest.run(), Run::Resident);
    assert_eq!(manifest.durability(), Durability::Checkpoint);
    assert_eq!(manifest.endpoint(), Endpoint::Private);
    assert_eq!(manifest.env(), [("PAIR".to_owned(), "ETH/USD".to_owned())]);
    let next = manifest.schedule().unwrap().next_after(Timestamp(1_000)).unwrap();
    assert_eq!(next, Timestamp(15_000));
    for bad in [
        "run: forever",
        "durability: none",
        "endpoint: open",
        "env: {1A: \"x\"}",
        "sla: {heartbeat: soon}",
    ] {
        assert!(Manifest::read(with(bad).as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn schedules_mean_the_same_to_every_cron() {
    let next = |schedule: &str, after: u64| {
        let manifest = Manifest::read(with(&format!("schedule: {schedule:?}")).as_bytes()).unwrap();
        manifest.schedule().unwrap().next_after(Timestamp::from_seconds(after)).unwrap().seconds()
    };
    // The epoch was a Thursday.
    const DAY: u64 = 24 * 60 * 60;
    assert_eq!(next("*/5 * * * *", 1), 300);
    assert_eq!(next("*/15 * * * * *", 15), 30);
    assert_eq!(next("0 9 * * MON", 0), 4 * DAY + 9 * 3600);
    assert_eq!(next("30 0 1 * *", 0), 1800);
    for bad in [
        "often",
        "@hourly",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "0 9 * * 1",
        "0 9 1 * MON",
        "0 0 30 2 *",
        "",
    ] {
        check(&with(&format!("schedule: {bad:?}")), &["17:11 DAEE-M021"]);
    }
}

#[test]
fn places_lead_back_to_the_text() {
    let manifest = Manifest::read(tip().as_bytes()).unwrap();
    assert_eq!(manifest.place("artifact_hash"), Place { line: 12, column: 16 });
    assert_eq!(manifest.place("resources.gpu"), Place { line: 10, column: 8 });
    assert_eq!(manifest.place("schedule"), Place::START);
    let yaml = with("args: [ -v , \"a b\" ]\nenv:\n  A: |\n    two\n    lines\n\n# end");
    let manifest = Manifest::read(yaml.as_bytes()).unwrap();
    let check = |field: &str, expected: &str| {
        let found = manifest.span(field).map(shown);
        assert_eq!(found.as_deref().unwrap_or("nowhere"), expected, "{field}");
    };
    check("agent_id", "2:11-2:42");
    check("resources", "8:3-10:15");
    check("resources.cpu", "8:8-8:14");
    check("permissions[2]", "16:5-16:23");
    check("permissions[3]", "nowhere");
    check("args", "17:7-17:21");
    check("args[0]", "17:9-17:11");
    check("args[1]", "17:14-17:19");
    check("env", "19:3-21:10");
    check("env.A", "20:5-21:10");
    check("schedule", "nowhere");
    let body = manifest.canonical_body().as_bytes();
    let node = Manifest::from_body(body, manifest.artifact_hash()).unwrap();
    assert_eq!(node.span("agent_id"), None, "nobody has written this");
}

fn shown(Span { line, column, end_line, end_column }: Span) -> String {
    format!("{line}:{column}-{end_line}:{end_column}")
}

#[test]
fn what_is_wrong_is_meant_from_its_first_character_to_its_last() {
    let check = |line: &str, expected: &[&str]| {
        let problems = Manifest::read(with(line).as_bytes()).unwrap_err();
        let found: Vec<String> =
            problems.iter().map(|p| format!("{} {}", shown(p.span()), p.rule)).collect();
        assert_eq!(found, expected, "{line}");
    };
    check("run: forever # and ever", &["17:6-17:13 DAEE-M020"]);
    check("run: 'for ever'", &["17:6-17:16 DAEE-M020"]);
    check("run: for\n  ever", &["17:6-18:7 DAEE-M020"]);
    check("run: \"f\u{fc}r immer\"", &["17:6-17:17 DAEE-M020"]);
    check("runn: resident", &["17:1-17:5 DAEE-M003"]);
    check("run: !!str resident", &["17:6-17:11 DAEE-M006"]);
    check("run: &always resident", &["17:6-17:13 DAEE-M002"]);
    check("run: *always", &["17:6-17:13 DAEE-M002"]);
    check("run: no", &["17:6-17:8 DAEE-M006"]);
    check("run: [ resident ]\nargs: a", &["17:6-17:18 DAEE-M007", "18:7-18:8 DAEE-M007"]);
    check("env: {<<: {}}", &["17:7-17:9 DAEE-M002"]);
    check("env: {[a]: b}", &["17:7-17:10 DAEE-M002"]);
    check("args: [a, b", &["17:7-17:8 DAEE-M002"]);
    check("args: [a, \u{200b}b]", &["17:11-17:12 DAEE-M001"]);
    check("%TAG", &["17:1-17:5 DAEE-M002"]);
    check(
        "args:\n  - a\n  -\n\n# why\n  - |\n    b\nrun: |\n  c\n",
        &["19:4-19:4 DAEE-M006", "25:3-25:4 DAEE-M020"],
    );
    // Of several things at once, each is named.
    check(
        "env: {A: &a !!str no, B: *b, <<: *a}",
        &[
            "17:10-17:12 DAEE-M002",
            "17:13-17:18 DAEE-M006",
            "17:19-17:21 DAEE-M006",
            "17:26-17:28 DAEE-M002",
            "17:30-17:32 DAEE-M002",
            "17:34-17:36 DAEE-M002",
        ],
    );
}

#[test]
fn hostile_input_is_refused_and_costs_little() {
    let deep = "[".repeat(60_000);
    let wide = format!("permissions: [{}]", "a,".repeat(30_000));
    let large = "#".repeat(MANIFEST_BYTES_MAX + 1);
    let keys: String = (0..8_000).map(|n| format!("k{n}: v\n")).collect();
    let long_keys: String = (0..64).map(|n| format!("{}{n}: v\n", "k".repeat(900))).collect();
    let aliases = format!("a: &a [x]\nb: [{}]", "*a,".repeat(20_000));
    let control = "\u{1}".repeat(60_000);
    let lines = "\n".repeat(65_000);
    for yaml in [deep, wide, large, keys, long_keys, aliases, control, lines, "a: ".repeat(20_000)]
    {
        let problems = Manifest::read(yaml.as_bytes()).unwrap_err();
        let said: usize = problems.iter().map(|p| p.message.len()).sum();
        assert!(said < 4 * MANIFEST_BYTES_MAX, "{said} bytes of messages");
    }
    assert!(Manifest::read(&[0xff, 0xfe]).is_err());
}

proptest! {
    #[test]
    fn any_bytes_are_a_manifest_or_problems_with_a_place(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let problems = Manifest::read(&bytes).expect_err("random bytes are no manifest");
        prop_assert!(problems.iter().all(|p| p.line > 0 && p.column > 0));
    }

    /// Writing a manifest's body as YAML, as a packer does, and reading it changes nothing.
    #[test]
    fn what_is_written_as_yaml_reads_back_the_same(description in "\\PC{0,80}", arg in "\\PC{1,20}") {
        let hash = ArtifactHash::of(b"");
        let mut body: serde_json::Value =
            serde_json::from_str(Manifest::read(tip().as_bytes()).unwrap().canonical_body()).unwrap();
        body["description"] = description.into();
        body["args"] = vec![arg].into();
        let text = body.to_string();
        let Ok(manifest) = Manifest::from_body(text.as_bytes(), &hash) else { return Ok(()) };
        body["artifact_hash"] = hash.to_string().into();
        let yaml = serde_yaml::to_string(&body).unwrap();
        if let Ok(read) = Manifest::read(yaml.as_bytes()) {
            prop_assert_eq!(read.canonical_body(), manifest.canonical_body(), "{}", yaml);
        }
    }
}
