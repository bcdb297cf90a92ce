//! What breaks around a network, one fault at a time: gateways, the chain's endpoint, ports, disks, agents, and the
//! machine itself. Each is named to whoever can mend it, costs nobody money, and ends with the fault.

mod kit;
mod site;

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use daee_chain::{EventKind, Phase};
use daee_testkit::{BadGateway, Badness, Program, closed_port, folder, is_alive};
use daee_types::{DeploymentId, TokenAmount};
use serde_json::{Value, json};

use kit::until;
use site::{
    Agent, Evil, SOON, Site, ask, offer, processes_of,
    proxy::{Fate, Proxy},
    reason, run, running,
};

#[tokio::test(flavor = "multi_thread")]
async fn gateways_that_lie_stall_or_are_down_cost_time_and_nothing_else() {
    let site = Site::start().await;
    let (liar, staller) =
        (BadGateway::start(Badness::Lies).await, BadGateway::start(Badness::Stalls).await);
    let down = format!("http://{}", closed_port().await);
    // Keeps content and asks too much to run anything.
    let dear = site::per_hour(1_000_000);
    let keeper = site.node(1, json!({ "price": { "cpu": dear, "memory_gib": dear } })).await;
    let gateways = json!([liar.url(), down, staller.url(), keeper.api]);
    let worker = site.node(2, json!({ "gateways": gateways })).await;
    // Or the registry would lead the worker to the keeper.
    site.chain.account(1).await.set_endpoint("").await.expect("the registry takes it");
    let market = site.market().await;
    let deployer = market.deployer(site.chain.key(0));

    let (kept, lost) = (Agent::new("acme.kept", ""), Agent::new("acme.lost", ""));
    market.publish(&kept.package, std::slice::from_ref(&keeper.api)).await.expect("it is kept");
    let lost = deployer.deploy(&lost.package, &offer()).await.expect("it is deployed").id;
    let kept = deployer.deploy(&kept.package, &offer()).await.expect("it is deployed").id;

    let endpoint = running(&market, kept).await;
    assert_eq!(ask(&market, &endpoint, Evil::None).await.0, 200);
    assert_eq!(market.deployment(kept).await.unwrap().lease.node, worker.account);

    // What nobody has is not bid on, and each gateway is named with what it did.
    let why = reason(&market, &worker.api, lost).await;
    for (gateway, did) in [
        (&liar.url(), "sent other content than the CID names"),
        (&down, "failed: "),
        (&staller.url(), "did not deliver in time"),
        (&keeper.api, "does not have it"),
    ] {
        assert!(why.contains(&format!("{gateway} {did}")), "{gateway} {did}: {why}");
    }
    let untouched = market.deployment(lost).await.unwrap();
    assert_eq!((untouched.phase, untouched.lease.node.is_zero()), (Phase::Bidding, true));
    assert_eq!(untouched.paid, TokenAmount::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_drops_in_the_middle_of_a_deployment_gets_one_deployment_and_one_payment() {
    let site = Site::start().await;
    let before_deployer = Proxy::before(&site.chain.url()).await;
    let before_node = Proxy::before(&site.chain.url()).await;
    let node = site.node(1, json!({ "rpc": [before_node.url()] })).await;
    let market = site.market().await;
    let (chain, wallet) = (market.chain(), site.chain.account(0).await.address());
    let network = site.path("network.json");
    let file = site.file(before_deployer.url(), vec![node.api.clone()]);
    file.save(&network).expect("the folder is there");
    let key = site.path("deployer.key");
    site.chain.key(0).save(&key).expect("the folder is there");
    let up = |agent: &Path| {
        Program::ours("daee-deploy")
            .args(["up", "--json", "--max-rate", "50", "--pay", "100", "--network"])
            .args([network.as_path(), Path::new("--key"), &key, agent])
    };

    // Transactions of `up`: the approval, then the deployment. Whichever breaks off, wherever it does.
    let fates = [
        [Fate::LoseRequest, Fate::Pass, Fate::LoseRequest],
        [Fate::LoseAnswer, Fate::Pass, Fate::Pass],
        [Fate::Pass, Fate::LoseAnswer, Fate::Pass],
    ];
    for (deployments, fates) in (1..).zip(fates) {
        let agent = Agent::new(&format!("acme.cut-{deployments}"), "");
        let held = chain.balance(wallet).await.expect("the chain answers");
        before_deployer.next("eth_sendRawTransaction", fates);
        let ended = run(&up(agent.path())).await;
        assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
        assert_eq!(chain.deployment_count().await.unwrap(), deployments);
        let left = chain.balance(wallet).await.expect("the chain answers");
        assert_eq!(held.0 - left.0, TokenAmount::talos(100).0, "one payment");
        let said: Value = serde_json::from_str(&ended.stdout).expect("one line of JSON");
        assert_eq!(said["deployment"], json!(deployments));
    }

    // The whole endpoint goes away when the deployment was sent, for longer than a request is repeated; the
    // node's goes away with it.
    let agent = Agent::new("acme.cut-off", "");
    let held = chain.balance(wallet).await.expect("the chain answers");
    let seen = chain.deployment_count().await.unwrap();
    let begun = AtomicBool::new(false);
    before_deployer.judge(move |request| {
        // The approval before it is shorter.
        let raw = request["params"][0].as_str().unwrap_or_default();
        let deploys = request["method"] == "eth_sendRawTransaction" && raw.len() > 800;
        match begun.fetch_or(deploys, Ordering::SeqCst) {
            true => Fate::LoseRequest,
            false if deploys => Fate::LoseAnswer,
            false => Fate::Pass,
        }
    });
    let program = up(agent.path());
    let ended = tokio::task::spawn_blocking(move || program.run(Duration::from_secs(180)));
    until("the deployment on chain", SOON, async || {
        (chain.deployment_count().await.ok()? > seen).then_some(())
    })
    .await;
    before_node.judge(|_| Fate::LoseRequest);
    tokio::time::sleep(Duration::from_secs(4)).await;
    before_node.up();
    before_deployer.up();
    let ended = ended.await.expect("it ends");
    assert_eq!(ended.code, Some(0), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(chain.deployment_count().await.unwrap(), seen + 1, "one deployment");
    let left = chain.balance(wallet).await.expect("the chain answers");
    assert_eq!(held.0 - left.0, TokenAmount::talos(100).0, "one payment");

    let id = DeploymentId(seen + 1);
    let endpoint = running(&market, id).await;
    assert_eq!(ask(&market, &endpoint, Evil::None).await.0, 200);
    let step = chain.follow(None).next().await.expect("events can be read");
    let assigned = step.events.iter().filter(|event| {
        matches!(event.kind, EventKind::Assigned { .. }) && event.deployment() == Some(id)
    });
    assert_eq!(assigned.count(), 1, "one lease");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named_with_its_fix_and_leaves_no_process() {
    let dir = folder();
    let first = kit::free_ports(5);
    for offset in 0..5 {
        let taken = std::net::TcpListener::bind(("127.0.0.1", first + offset)).expect("it is free");
        let port = taken.local_addr().expect("it is bound").port();
        let dev = Program::ours("daee-node")
            .args(["dev", "--json", "--port", &first.to_string(), "--dir"])
            .args([dir.path()]);
        let ended = run(&dev).await;
        assert_eq!(ended.code, Some(2), "{}{}", ended.stdout, ended.stderr);
        let said = format!("port {port} of 127.0.0.1 is in use: stop what listens there, or");
        for said in [&said, "choose another port (`--port` names the first of five)", "DAEE-H001"] {
            assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
        }
        assert_eq!(ended.stdout, "", "nothing is said to be ready");
        assert_eq!(processes_of(dir.path()), [0; 0]);
    }

    let site = Site::start().await;
    let mut node = site.node(1, json!({})).await;
    // The same node again: its port is its own choice here, so its folder is what is in use.
    let ended = run(&node.program()).await;
    assert_eq!(ended.code, Some(2), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("in use by another process"), "{}", ended.stderr);
    assert!(ended.stderr.contains(&node.dir.display().to_string()), "{}", ended.stderr);
    let taken = node.api.strip_prefix("http://").expect("it speaks HTTP").to_owned();
    let other = site.registered(2, json!({ "listen": taken })).await;
    let ended = run(&other).await;
    assert_eq!(ended.code, Some(2), "{}{}", ended.stdout, ended.stderr);
    let (_, port) = taken.split_once(':').expect("an address has a port");
    for said in [&format!("port {port} of 127.0.0.1 is in use"), "`listen`", "DAEE-H001"] {
        assert!(ended.stderr.contains(said), "{said}: {}", ended.stderr);
    }
    assert!(node.process.runs() && is_alive(node.process.id()), "who was there first goes on");
    assert_eq!(processes_of(&site.path("node-2.json")), [0; 0]);
}
