//! A node whose kernel does not give what its operator asks for says so, and takes no agent.

mod kit;
mod site;

use std::path::Path;

use daee_testkit::Program;
use serde_json::{Value, json};
use site::{Agent, Evil, SOON, Site, ask, offer, reason, running};

/// On a kernel that has no user namespaces to give; where this one has none, as it is.
fn without_namespaces(program: Program) -> Program {
    let unshare = ["--user", "--map-root-user"];
    let can = Program::new("unshare").args(unshare).args(["true"]).run(SOON).code == Some(0);
    if !can {
        return program;
    }
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
    program.under(Path::new("unshare"), unshare.iter().chain(&["sh", "-c", script, "sh"]))
}

fn doctor(program: Program) -> (Option<i32>, String, Value) {
    let shown = program.clone().run(SOON);
    let json = program.args(["--json"]).run(SOON);
    (shown.code, shown.stdout, serde_json::from_str(&json.stdout).expect("it says JSON"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_fewer_walls_than_it_wants_starts_and_takes_nothing() {
    let site = Site::start().await;
    let market = site.market().await;
    let deployer = market.deployer(site.chain.key(0));

    // It asks for less, so it would win.
    let cheap = json!({ "cpu": site::per_hour(1), "memory_gib": site::per_hour(1) });
    let settings = json!({ "sandbox_level_min": 1, "price": cheap });
    let weak = without_namespaces(site.registered(1, settings).await).args(["--sandbox-min", "2"]);
    let mut process = weak.start();
    let ready = process.ready(SOON);
    assert_eq!((&ready["sandbox_level"], &ready["runs_agents"]), (&json!(1), &json!(false)));
    let api = ready["api"].as_str().expect("it says where it is").to_owned();
    site.chain.account(1).await.set_endpoint(&api).await.expect("the registry takes it");
    assert!(process.stderr().contains("bids for none"), "{}", process.stderr());

    let strong = site.node(2, json!({})).await;
    let agent = Agent::new("acme.careful", "");
    let nodes = [api.clone(), strong.api.clone()];
    market.publish(&agent.package, &nodes).await.expect("both keep what is published");
    let id = deployer.deploy(&agent.package, &offer()).await.expect("it is deployed").id;

    let why = reason(&market, &api, id).await;
    for part in ["DAEE-N002", "level 1 of the 2", "namespaces (", "`sandbox_level_min` to 1"] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let endpoint = running(&market, id).await;
    assert_eq!(ask(&market, &endpoint, Evil::None).await.0, 200);
    let lease = market.deployment(id).await.expect("the chain answers").lease;
    assert_eq!(lease.node, strong.account, "the node with fewer walls bid");

    let sandbox = market.node(&api).info().await.expect("it answers").sandbox;
    assert_eq!((sandbox.level, sandbox.level_min), (1, 2));
    assert!(sandbox.missing.contains(&"namespaces".to_owned()), "{sandbox:?}");
    assert!(sandbox.system_calls > 0);
}

#[test]
fn the_doctor_names_what_is_missing_and_fits_a_terminal() {
    let ours = || Program::ours("daee-node").args(["doctor"]);
    let (code, shown, report) = doctor(without_namespaces(ours()));
    assert_eq!((code, &report["level"]), (Some(1), &json!(1)));
    assert!(shown.contains("namespaces        MISSING  allow user namespaces"), "{shown}");
    assert!(shown.contains("takes NO agents here"), "{shown}");
    let (code, _, _) = doctor(without_namespaces(ours().args(["--sandbox-min", "1"])));
    assert_eq!(code, Some(0));

    let (_, shown, report) = doctor(ours());
    assert!(shown.lines().all(|line| line.len() <= 80), "{shown}");
    let calls = report["system_calls"].as_array().expect("they are listed").len();
    assert!(shown.contains(&format!("a cell may make {calls} system calls")), "{shown}");
}
