//! The committed example agents in cells, with a scripted world outside: two languages and two ways to run, one
//! contract. This program is started again for each cell, so it has a `main` of its own.

mod cells;
#[allow(dead_code, reason = "the other test asks for more")]
mod oracle;

use std::path::{Path, PathBuf};

use cells::{logged, run};
use daee_artifact::{Artifact, RunStyle};
use daee_manifest::{Manifest, Run};
use daee_policy::{Permission, Policy};
use daee_runtime::{Event, Outcome, OutsideError, Snapshot};
use daee_types::Timestamp;
use oracle::{Answered, NOW, Oracle, SOURCE, word};
use serde_json::json;

const RUST: &str = "oracle/agent.yaml";
const RUST_NEXT: &str = "oracle/agent-v1.3.0.yaml";
const C: &str = "oracle-c/agent.yaml";
const ALL: [&str; 3] = [RUST, RUST_NEXT, C];

fn main() {
    daee_runtime::child_main();
    run(&[
        ("a_price_is_published_and_answered", a_price_is_published_and_answered),
        ("a_bad_source_leaves_the_old_price", a_bad_source_leaves_the_old_price),
        ("before_the_first_price_there_is_none", before_the_first_price_there_is_none),
        ("the_history_is_bounded", the_history_is_bounded),
        ("a_chain_that_takes_nothing_costs_no_price", a_chain_that_takes_nothing),
        ("another_cell_goes_on_from_the_snapshot", another_cell_goes_on_from_the_snapshot),
        ("the_next_version_goes_on_from_the_old_state", the_next_version_goes_on),
        ("without_its_permissions_an_agent_does_nothing", without_its_permissions),
        ("the_same_world_makes_the_same_bytes", the_same_world_makes_the_same_bytes),
        ("other_requests_are_refused", other_requests_are_refused),
        ("events_of_no_interest_change_nothing", events_of_no_interest_change_nothing),
    ]);
}

fn a_price_is_published_and_answered() {
    for manifest in ALL {
        let mut oracle = start(manifest);
        oracle.world.says(r#"{"ethereum":{"usd":3021.55}}"#);
        let turned = oracle.turn(Event::Start);
        let [effect] = &turned.effects[..] else { panic!("{manifest}: {turned:?}") };
        assert_eq!(
            (effect.topic.as_str(), &effect.data[..]),
            ("price-eth-usd", &word(302_155_000_000)[..])
        );
        let fetched = format!("http.fetch {SOURCE}: 200, 28 bytes");
        assert_eq!(logged(&turned), [fetched.as_str(), "ETH/USD 3021.55000000"], "{manifest}");
        assert_eq!(oracle.world.fetched(), [SOURCE], "{manifest}");
        let expected = json!({
            "pair": "ETH/USD", "price": "3021.55000000", "decimals": 8, "at_ms": NOW + 7,
            "source": SOURCE, "history": 1,
        });
        assert_eq!(oracle.get("/price"), (200, expected), "{manifest}");
    }
}

fn a_bad_source_leaves_the_old_price() {
    for manifest in ALL {
        let mut oracle = start(manifest);
        oracle.world.says(r#"{ "ethereum" : { "eur": 1, "usd" : 3000 } }"#);
        oracle.turn(Event::Start);
        let before = oracle.get("/price");
        assert_eq!((before.0, &before.1["price"]), (200, &json!("3000.00000000")), "{manifest}");
        let mut check = |answer: Answered| {
            oracle.world.answers(answer.clone());
            let turned = oracle.timer();
            assert_eq!(turned.outcome, Outcome::Done, "{manifest}: {answer:?}");
            assert!(turned.effects.is_empty(), "{manifest}: {answer:?}");
            let logs = logged(&turned);
            assert!(logs.iter().any(|line| line.starts_with("no new price: ")), "{logs:?}");
            assert_eq!(oracle.get("/price"), before, "{manifest}: {answer:?}");
        };
        check(Err(OutsideError::Failed("nobody \"answers\"\nat all \u{1f6ab}".into())));
        check(Err(OutsideError::Denied("the name leads into the node's own network".into())));
        check(Err(OutsideError::TooLarge("more than 8 MiB".into())));
        check(Ok((429, "slow down".into())));
        check(Ok((500, r#"{"ethereum":{"usd":1}}"#.into())));
        for body in [
            "",
            "<html>busy</html>",
            "[]",
            "{}",
            "{\"ethereum\":{\"usd\":3021.55",
            r#"{"ethereum":3000}"#,
            r#"{"ethereum":{"usd":"3000"}}"#,
            r#"{"ethereum":{"usd":null}}"#,
            r#"{"ethereum":{"usd":{"now":1}}}"#,
            r#"{"ethereum":{"usd":-3000}}"#,
            r#"{"ethereum":{"usd":3e3}}"#,
            r#"{"ethereum":{"usd":0}}"#,
            r#"{"ethereum":{"usd":0.000000001}}"#,
            r#"{"ethereum":{"usd":1000000000000000000000}}"#,
            r#"{"bitcoin":{"usd":90000}}"#,
        ] {
            check(Ok((200, body.into())));
        }
        check(Ok((200, "[".repeat(100_000))));
    }
}

fn before_the_first_price_there_is_none() {
    for manifest in ALL {
        let mut oracle = start(manifest);
        oracle.world.answers(Err(OutsideError::Failed("nobody is there".into())));
        assert!(oracle.turn(Event::Start).effects.is_empty());
        assert_eq!(oracle.get("/price"), (503, json!({"error": "there is no price yet"})));
        let (status, body) = oracle.get("/history");
        assert_eq!((status, &body["prices"]), (200, &json!([])), "{manifest}");
    }
}

fn the_history_is_bounded() {
    for manifest in ALL {
        let mut oracle = start(manifest);
        for price in 1..=70 {
            oracle.world.says(&format!(r#"{{"ethereum":{{"usd":{price}.5}}}}"#));
            let turned = oracle.timer();
            assert_eq!((turned.outcome, turned.effects.len()), (Outcome::Done, 1), "{manifest}");
            oracle.agent.released(u64::MAX);
        }
        let (_, history) = oracle.get("/history");
        let prices = history["prices"].as_array().expect("a list");
        assert_eq!(prices.len(), 60, "{manifest}");
        assert_eq!(
            (&prices[0]["price"], &prices[59]["price"]),
            (&json!("11.50000000"), &json!("70.50000000"))
        );
        let times: Vec<_> = prices.iter().map(|price| price["at_ms"].as_u64()).collect();
        assert!(times.is_sorted(), "{times:?}");
        assert_eq!(oracle.get("/price").1["history"], 60);
    }
}

fn a_chain_that_takes_nothing() {
    for manifest in ALL {
        let mut oracle = start(manifest);
        let mut waiting = 0;
        for price in 1..=100 {
            oracle.world.says(&format!(r#"{{"ethereum":{{"usd":{price}}}}}"#));
            let turned = oracle.timer();
            assert_eq!(turned.outcome, Outcome::Done, "{manifest}");
            waiting += turned.effects.len();
            assert!(turned.effects.len() == 1 || logged(&turned).len() == 3, "{manifest}");
        }
        assert!(waiting < 100, "{manifest}: as many may wait as the state holds");
        assert_eq!(oracle.get("/price").1["price"], "100.00000000", "{manifest}");
        oracle.agent.released(u64::MAX);
        oracle.world.says(r#"{"ethereum":{"usd":101}}"#);
        assert_eq!(oracle.timer().effects.len(), 1, "{manifest}: the chain is back");
    }
}

fn another_cell_goes_on_from_the_snapshot() {
    for manifest in ALL {
        let mut oracle = start(manifest);
        oracle.world.says(r#"{"ethereum":{"usd":3000}}"#);
        oracle.turn(Event::Start);
        let before = oracle.get("/price");
        let snapshot = Snapshot::decode(&oracle.agent.snapshot()).expect("it was just made");
        let mut next = start_from(manifest, snapshot, Policy::default());
        assert_eq!(next.get("/price"), before, "{manifest}");
    }
}

fn the_next_version_goes_on() {
    let mut oracle = start(RUST);
    oracle.world.says(r#"{"ethereum":{"usd":3000}}"#);
    oracle.turn(Event::Start);
    let before = oracle.get("/price");
    assert_eq!(oracle.get("/version").0, 404);
    let mut next = start_from(RUST_NEXT, oracle.agent.stop().without_machine(), policy(RUST_NEXT));
    let turned = next.turn(Event::Upgraded { from_version: "1.2.0".into() });
    assert_eq!(turned.outcome, Outcome::Done);
    assert_eq!(next.get("/version"), (200, json!({"version": "1.3.0"})));
    assert_eq!(next.get("/price"), before);
}

fn without_its_permissions() {
    for manifest in ALL {
        let snapshot = Snapshot::new(Manifest::storage(&read(manifest)));
        let mut oracle = start_from(manifest, snapshot.clone(), Policy::default());
        let turned = oracle.turn(Event::Start);
        assert!(logged(&turned).join("\n").contains("network_outbound:api.coingecko.com"));
        assert_eq!(oracle.world.fetched(), Vec::<String>::new(), "{manifest}");

        let outbound: Permission =
            "network_outbound:api.coingecko.com".parse().expect("a permission");
        let mut oracle = start_from(manifest, snapshot, Policy::new(vec![(outbound, 1)]));
        oracle.world.says(r#"{"ethereum":{"usd":3000}}"#);
        let turned = oracle.turn(Event::Start);
        assert!(!turned.outcome.is_kept() && turned.effects.is_empty(), "{manifest}: {turned:?}");
        assert!(logged(&turned).join("\n").contains("publish_to_chain"), "{manifest}");
        assert_eq!(oracle.get("/price").0, 503, "{manifest}: what was not published is not kept");
    }
}

fn the_same_world_makes_the_same_bytes() {
    for manifest in ALL {
        let life = || {
            let mut oracle = start(manifest);
            for price in ["3000", "3000.5", "2999.99"] {
                oracle.world.says(&format!(r#"{{"ethereum":{{"usd":{price}}}}}"#));
                oracle.timer();
                oracle.get("/history");
            }
            oracle.agent.marks()
        };
        assert_eq!(life(), life(), "{manifest}");
    }
}

fn other_requests_are_refused() {
    for manifest in ALL {
        let mut oracle = start(manifest);
        for path in ["/", "/price/", "/Price", "/..", "/price\"", "/\u{1f6ab}"] {
            assert_eq!(oracle.get(path).0, 404, "{manifest} {path}");
        }
        let post = Event::Http {
            method: "POST".into(),
            path: "/price".into(),
            query: "a=b".into(),
            headers: vec![("x-quoted".into(), "\"\\\u{1}".into())],
            body: vec![0; 100_000],
        };
        let answer = oracle.turn(post).answer.expect("an answer");
        assert_eq!(answer.status, 405, "{manifest}");
        assert_eq!(answer.headers, [("allow".into(), "GET".into())], "{manifest}");
    }
}

fn events_of_no_interest_change_nothing() {
    for manifest in ALL {
        let mut oracle = start(manifest);
        for event in [
            Event::Tick { block_hash: [7; 32] },
            Event::Message { from: "a.b".into(), body: b"hello".to_vec() },
            Event::Stop { deadline: Timestamp(NOW + 5_000) },
        ] {
            let turned = oracle.turn(event);
            assert_eq!((turned.outcome, turned.answer), (Outcome::Done, None), "{manifest}");
            assert!(turned.effects.is_empty() && turned.commit.logs.is_empty(), "{manifest}");
        }
    }
}

fn start(manifest: &str) -> Oracle {
    let snapshot = Snapshot::new(read(manifest).storage());
    start_from(manifest, snapshot, policy(manifest))
}

fn start_from(file: &str, snapshot: Snapshot, policy: Policy) -> Oracle {
    let manifest = read(file);
    let wasm = examples().join(file).with_file_name(manifest.entry_point());
    let wasm = std::fs::read(wasm).expect("the module is committed");
    let hash = manifest.artifact_hash();
    let artifact = Artifact::fetched(wasm).verify(hash).expect("the manifest names the module");
    let run = match manifest.run() {
        Run::Reactor => None,
        Run::Resident => Some(RunStyle::Resident),
        Run::PerEvent => Some(RunStyle::PerEvent),
    };
    Oracle::start(&artifact, run, manifest.resources().memory, policy, snapshot)
}

fn read(manifest: &str) -> Manifest {
    let yaml = std::fs::read(examples().join(manifest)).expect("the manifest is committed");
    Manifest::read(&yaml).expect("a manifest")
}

fn policy(manifest: &str) -> Policy {
    read(manifest).policy()
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/examples")
}
