//! What breaks around a network, one fault at a time: gateways, the chain's endpoint, ports, disks, agents, and the
//! machine itself. Each is named to whoever can mend it, costs nobody money, and ends with the fault.

mod kit;
mod site;

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use daee_chain::{EventKind, NetworkParams, Phase};
use daee_client::{Deployer, Market, NetworkFile, Offer, Package, Windows};
use daee_testkit::{BadGateway, Badness, Process, Program, binary, closed_port, folder, is_alive};
use daee_types::{ByteSize, DeploymentId, MilliCpu, Resources, TokenAmount};
use serde_json::{Value, json};

use kit::{Network, until};
use site::{
    Agent, Evil, SOON, Site, ask, descendants, offer, processes_of,
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
async fn a_node_that_is_away_for_less_than_its_grace_keeps_its_lease_and_its_agents_state() {
    let site = Site::start().await;
    let proxy = Proxy::before(&site.chain.url()).await;
    let mut node = site.node(1, json!({ "rpc": [proxy.url()] })).await;
    // Would take the lease, and the bounty for ending it.
    let dearer = json!({ "cpu": site::per_hour(200), "memory_gib": site::per_hour(20) });
    let rival = site.node(2, json!({ "price": dearer, "bid_wait_millis": 1_000 })).await;
    let waiting = rival.warm().await;
    let market = site.market().await;
    let (id, endpoint) = deploy(&market.deployer(site.chain.key(0)), "acme.kept", 3).await;
    let lease = market.deployment(id).await.unwrap().lease;
    assert_eq!(lease.node, node.account);
    let count = async || {
        let (status, count) = ask(&market, &endpoint, Evil::None).await;
        (status == 200).then(|| count.as_u64()).flatten()
    };
    let opens_another = async || {
        let seq = market.deployment(id).await.unwrap().lease.seq;
        until("another checkpoint on chain", SOON, async || {
            let now = market.deployment(id).await.ok()?.lease;
            assert_eq!((now.node, now.epoch), (lease.node, lease.epoch), "the lease goes on");
            (now.seq > seq).then_some(())
        })
        .await;
    };

    // The chain is away, and whoever asks the agent does not notice.
    proxy.judge(|_| Fate::LoseRequest);
    let mut last = 0;
    for _ in 0..20 {
        let now = count().await.expect("it answers on");
        assert!(now > last, "{now} after {last}");
        last = now;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    proxy.up();
    opens_another().await;

    // Its cell is gone, which is the node's to mend and costs no more than what was in it.
    let now = count().await.expect("it answers");
    for cell in node.cells() {
        daee_testkit::kill(cell);
    }
    let after = until("the agent in another cell", SOON, count).await;
    assert!(after > now, "{after} after {now}");

    // The node itself is gone, as in a power cut, and back.
    node.process.kill();
    node.process = node.program().start();
    node.process.ready(SOON);
    let last = after;
    let after = until("the agent again", SOON, count).await;
    assert!(after > last, "{after} after {last}: what was acknowledged is kept");
    opens_another().await;
    let step = market.chain().follow(None).next().await.expect("events can be read");
    for event in step.events.iter().filter(|event| event.deployment() == Some(id)) {
        assert!(!matches!(event.kind, EventKind::Expired { .. }), "{event:?}");
    }
    assert_eq!(rival.warm().await, waiting, "nobody else ran it");
}

#[tokio::test(flavor = "multi_thread")]
async fn registered_nodes_that_stall_cost_no_other_node_its_lease() {
    let site = Site::start().await;
    let market = site.market().await;
    // They have a stake, and take whatever is brought to them without a word.
    let staller = BadGateway::start(Badness::Stalls).await;
    let register = async |number| {
        site.registered(number, json!({})).await;
        let account = site.chain.account(number).await;
        account.set_endpoint(&staller.url()).await.expect("the registry takes it");
    };
    tokio::join!(register(3), register(4), register(5));
    let node = site.node(1, json!({ "open_every_millis": 1_000 })).await;
    let dearer = json!({ "cpu": site::per_hour(200), "memory_gib": site::per_hour(20) });
    let rival = site.node(2, json!({ "price": dearer, "bid_wait_millis": 2_000 })).await;
    let waiting = rival.warm().await;
    let agent = Agent::new("acme.watched", "");
    let nodes = [node.api.clone()];
    market.publish(&agent.package, &nodes).await.expect("it is kept");
    let deployer = market.deployer(site.chain.key(0));
    let id = deployer.deploy(&agent.package, &offer()).await.expect("it is deployed").id;
    running(&market, id).await;
    let lease = market.deployment(id).await.unwrap().lease;
    assert_eq!(lease.node, node.account);
    for _ in 0..3 {
        let before = market.deployment(id).await.unwrap().lease.seq;
        until("another checkpoint on chain", SOON, async || {
            let now = market.deployment(id).await.ok()?.lease;
            assert_eq!((now.node, now.epoch), (lease.node, lease.epoch), "the lease goes on");
            (now.seq > before).then_some(())
        })
        .await;
    }
    assert_eq!(rival.warm().await, waiting, "nobody else ran it");
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
    let mut node = site.node(1, json!({ "listen": "127.0.0.1:0" })).await;
    // The same node again, which takes any port: its folder is what is in use.
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

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_costs_the_turns_it_cannot_keep_and_nothing_else() {
    let site = Site::start().await;
    let Some(disk) = SmallDisk::mount(&site.path("node-1")) else {
        println!("skipped: only root can mount a small disk");
        return;
    };
    // Room for one agent, so that the next lands elsewhere.
    let one = Resources { cpu: MilliCpu(100), memory: ByteSize::mib(16), gpu: 0 };
    let mut node = site.node(1, json!({ "capacity": one })).await;
    let market = site.market().await;
    let deployer = market.deployer(site.chain.key(0));
    let (here, endpoint) = deploy(&deployer, "acme.here", 3).await;
    let other = site.node(2, json!({})).await;
    let (there, other_endpoint) = deploy(&deployer, "acme.there", 3).await;
    assert_eq!(market.deployment(here).await.unwrap().lease.node, node.account);
    assert_eq!(market.deployment(there).await.unwrap().lease.node, other.account);
    let (status, kept) = ask(&market, &endpoint, Evil::None).await;
    assert_eq!(status, 200, "{kept}");
    let lease = market.deployment(here).await.unwrap().lease;

    disk.fill();
    // A record may still fit into what the file system gave before.
    let (mut kept, why) = (kept, std::cell::Cell::new(Value::Null));
    let last = std::cell::Cell::new(Value::Null);
    until("a turn that is not kept", SOON, async || {
        match ask(&market, &endpoint, Evil::None).await {
            (200, count) => last.set(count),
            (503, error) if error["code"] == "DAEE-N016" => {
                why.set(error);
                return Some(());
            }
            // It is being started again, on the disk that is still full.
            (503, error) if error["code"] == "DAEE-N011" => {}
            (status, error) => panic!("{status} {error}\n{}", node.process.stderr()),
        }
        None
    })
    .await;
    if let count @ Value::Number(_) = last.take() {
        kept = count;
    }
    let why = why.take();
    assert_eq!(why["fault"], "node");
    let message = why["message"].as_str().unwrap_or_default();
    let dir = node.dir.display().to_string();
    assert!(message.contains("the disk is full below") && message.contains(&dir), "{message}");
    assert!(message.contains("free some space"), "{message}");
    for _ in 0..3 {
        assert_eq!(ask(&market, &other_endpoint, Evil::None).await.0, 200, "the other goes on");
    }
    assert!(market.node(&node.api).info().await.is_ok(), "the node goes on");
    assert!(node.process.runs());

    disk.free();
    let again = until("the agent again", SOON, async || {
        let (status, count) = ask(&market, &endpoint, Evil::None).await;
        (status == 200).then_some(count)
    })
    .await;
    assert!(again.as_u64() > kept.as_u64(), "{kept} were acknowledged, and now it says {again}");
    until("its next checkpoint on chain", SOON, async || {
        let now = market.deployment(here).await.ok()?.lease;
        assert_eq!((now.node, now.epoch), (lease.node, lease.epoch), "the lease goes on");
        (now.seq > lease.seq).then_some(())
    })
    .await;
    node.process.terminate();
    assert_eq!(node.process.wait(SOON).and_then(|status| status.code()), Some(0));
}

/// An agent of this name, running: its deployment and endpoint.
async fn deploy(deployer: &Deployer, name: &str, bid_seconds: u32) -> (DeploymentId, String) {
    let market = deployer.market();
    let agent = Agent::new(name, "");
    let nodes = market.gateways().await.expect("the registry answers");
    market.publish(&agent.package, &nodes).await.expect("a node takes it");
    // Longer than any fault here lasts.
    let windows = Windows { bid: bid_seconds, interval: 30, grace: 60, ..offer().windows };
    let offer = Offer { windows, ..offer() };
    let id = deployer.deploy(&agent.package, &offer).await.expect("it is deployed").id;
    (id, running(market, id).await)
}

/// The agent has used more than its share of the CPU.
const OWING: &str = "DAEE-N018";

/// Asks as soon as the agent has paid for what it computed before.
async fn ask_in_credit(market: &Market, endpoint: &str, evil: Evil) -> (u16, Value) {
    until("the agent is asked", SOON, async || {
        let (status, said) = ask(market, endpoint, evil).await;
        (status != 503 || said["code"] != OWING).then_some((status, said))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_agents_end_as_their_tenants_fault_and_their_neighbour_answers_on() {
    let network = Network::start(&[]).await;
    let market = &network.market;
    let oracle = network.ready.endpoint.clone().expect("dev prints the endpoint");
    let deployer = network.deployer();
    let holder = network.deployment(network.oracle()).await.lease.node;
    let holder = network.node(holder).clone();

    let answers = std::cell::Cell::new(0);
    let asked = async {
        loop {
            let (status, body) = network.get(&oracle, "/price").await;
            assert_eq!(status, 200, "the oracle answers on: {body}");
            answers.set(answers.get() + 1);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let hostile = async {
        // Long enough for the cheapest node to bid last, however busy the machine is.
        let (id, endpoint) = deploy(&deployer, "acme.hostile", 12).await;
        assert_eq!(network.deployment(id).await.lease.node, holder.account, "the same node");
        let (status, count) = ask(market, &endpoint, Evil::None).await;
        assert_eq!(status, 200, "{count}");
        for (evil, named) in [
            (Evil::Loop, "fuel"),
            (Evil::Trap, "unreachable"),
            (Evil::Recursion, "stack"),
            (Evil::MemoryBomb, "memory"),
        ] {
            let (status, error) = ask_in_credit(market, &endpoint, evil).await;
            assert_eq!(status, 500, "{evil:?}: {error}");
            assert_eq!(
                (&error["code"], &error["fault"]),
                (&json!("DAEE-N014"), &json!("developer"))
            );
            let message = error["message"].as_str().unwrap_or_default();
            assert!(message.contains("the turn was undone"), "{evil:?}: {message}");
            assert!(message.contains(named), "{evil:?}: {message}");
        }
        // A fifth failure in a row, and it rests: what it does costs its tenant, not the node.
        ask_in_credit(market, &endpoint, Evil::Trap).await;
        let (status, error) = ask_in_credit(market, &endpoint, Evil::None).await;
        if status != 200 {
            assert_eq!((status, &error["code"]), (503, &json!("DAEE-N013")), "{error}");
            assert_eq!(error["fault"], "developer");
        }
        let after = until("it is asked again", SOON, async || {
            let (status, count) = ask(market, &endpoint, Evil::None).await;
            (status == 200).then_some(count)
        })
        .await;
        assert!(after.as_u64() > count.as_u64(), "good turns are all that is left of it");
        let status = market.node(&holder.api).status(id).await.expect("its node knows it");
        assert_eq!(status.phase, daee_lifecycle::Phase::Running);

        // It asked for a tenth of a core, and gets no more however it goes about it.
        let owing = until("its share of the CPU is used up", SOON, async || {
            for evil in [Evil::Loop, Evil::None] {
                let (status, error) = ask(market, &endpoint, evil).await;
                if status == 503 && error["code"] == OWING {
                    return Some(error);
                }
            }
            None
        })
        .await;
        assert_eq!(owing["fault"], "developer");
        let (status, count) = ask_in_credit(market, &endpoint, Evil::None).await;
        assert_eq!(status, 200, "{count}");
        stubborn_from_its_first_turn_to_its_last(&network, &deployer).await;
    };
    tokio::select! {
        () = asked => {}
        () = hostile => {}
    }
    assert!(answers.get() > 10, "the oracle was asked {} times", answers.get());
    assert!(is_alive(holder.pid), "the node goes on");
    let now = network.deployment(network.oracle()).await;
    assert_eq!(now.lease.node, holder.account, "and so does the oracle's lease");
}

/// It never comes to the end of a turn, whatever the turn is for: its tenant pays for the time, and has back the
/// rest.
async fn stubborn_from_its_first_turn_to_its_last(network: &Network, deployer: &Deployer) {
    const LOOP: &str = r#"(module (memory (export "memory") 1)
        (func (export "daee_turn") (result i32) (loop (br 0)) (i32.const 0)))"#;
    let (market, chain) = (&network.market, &network.chain);
    let module = wat::parse_str(LOOP).expect("it is WAT");
    let folder = Agent::folder("acme.stubborn", "", &module);
    let package = Package::read(folder.path()).expect("it is fit to be deployed");
    let nodes = market.gateways().await.expect("the network names its nodes");
    market.publish(&package, &nodes).await.expect("the nodes take it");
    let owed = chain.claimable(deployer.address()).await.expect("the chain answers");
    let offer = offer();
    let id = deployer.deploy(&package, &offer).await.expect("it is deployed").id;
    let endpoint = running(market, id).await;
    let (status, error) = ask_in_credit(market, &endpoint, Evil::None).await;
    let code = error["code"].as_str().unwrap_or_default();
    assert!(matches!((status, code), (500, "DAEE-N014") | (503, "DAEE-N013")), "{status} {error}");
    assert_eq!(error["fault"], "developer", "{error}");
    let status = market.standing(id).await.expect("its node answers").status;
    let reason = status.reason.unwrap_or_default();
    assert!(reason.contains("fuel"), "{reason}");

    let (code, out, err) = network.deploy(&["stop", &id.to_string(), "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let over = network.deployment(id).await;
    assert_eq!((over.phase, over.balance), (Phase::Closed, TokenAmount::ZERO));
    let refund = chain.claimable(deployer.address()).await.expect("the chain answers").0 - owed.0;
    let burned = module.len() as u128 * NetworkParams::dev().fee_per_byte.0;
    assert_eq!(over.paid.0 + refund + burned, offer.payment.0, "to the wei");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_ends_whole_and_goes_on_from_its_folder() {
    let dir = folder();
    let program = dev_at(dir.path(), kit::free_ports(5));
    let mut dev = program.start();
    let first = dev.ready(2 * SOON);
    let market = Market::connect(NetworkFile::load(&dir.path().join("network.json")).unwrap());
    let market = market.await.expect("the chain answers");
    let id = DeploymentId(first["deployment"].as_u64().expect("the oracle is deployed"));
    let endpoint = first["endpoint"].as_str().expect("it has an endpoint").to_owned();
    let prices = async || {
        let call = daee_client::Call::get("/history");
        let answer = market.node(&endpoint).call(&endpoint, &call).await.ok()?;
        let history: Value = serde_json::from_slice(&answer.body).ok()?;
        history["prices"].as_array().cloned().filter(|prices| !prices.is_empty())
    };
    until("a first checkpoint on chain", SOON, async || {
        (market.deployment(id).await.ok()?.lease.seq > 0).then_some(())
    })
    .await;
    let before = until("a price", SOON, prices).await;
    let nodes: Vec<u32> = pids(&first);
    let all = descendants(dev.id());
    assert!(nodes.iter().all(|node| all.contains(node)), "{nodes:?} are of {all:?}");
    assert!(all.len() > nodes.len(), "and the oracle's cell");

    // A second one in the same folder would undo the first.
    let ended = run(&dev_at(dir.path(), kit::free_ports(5))).await;
    assert_eq!(ended.code, Some(2), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains(&dir.path().display().to_string()), "{}", ended.stderr);
    assert!(ended.stderr.contains("stop it"), "{}", ended.stderr);

    ctrl_c(&dev);
    assert_eq!(dev.wait(SOON).and_then(|status| status.code()), Some(0), "{}", dev.stderr());
    until("every process has ended", SOON, async || {
        (!all.iter().any(|pid| is_alive(*pid))).then_some(())
    })
    .await;
    assert_eq!(processes_of(dir.path()), [0; 0]);

    // The next start goes on: the chain, the deployment, its state.
    let mut dev = program.start();
    let second = dev.ready(2 * SOON);
    for same in ["deployment", "agent_id", "endpoint", "manager", "rpc"] {
        assert_eq!(first[same], second[same], "{same}");
    }
    let after = until("the prices of before", SOON, prices).await;
    assert_eq!(after[0], before[0], "the state goes on");
    assert_eq!(market.chain().deployment_count().await.unwrap(), 1);

    // A power cut for the one process that everybody waits for.
    let all = descendants(dev.id());
    assert!(all.len() > 3, "{all:?}");
    dev.kill();
    until("every process has ended", SOON, async || {
        (!all.iter().any(|pid| is_alive(*pid))).then_some(())
    })
    .await;
    let mut dev = program.start();
    let third = dev.ready(2 * SOON);
    assert_eq!(first["deployment"], third["deployment"]);
    let after = until("the prices of before", SOON, prices).await;
    assert_eq!(after[0], before[0], "the state goes on");
    ctrl_c(&dev);
    assert_eq!(dev.wait(SOON).and_then(|status| status.code()), Some(0), "{}", dev.stderr());
    assert_eq!(processes_of(dir.path()), [0; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_is_ended_while_it_starts_leaves_no_process() {
    let dir = folder();
    let program = dev_at(dir.path(), kit::free_ports(5));
    // With a chain and no node yet, with the first, and with all of them but nothing deployed.
    for nodes in [0, 1, 3] {
        let mut dev = program.start();
        until("its chain and nodes", SOON, async || {
            let chain = dir.path().join("chain").exists();
            (chain && descendants(dev.id()).len() >= nodes).then_some(())
        })
        .await;
        let all = descendants(dev.id());
        ctrl_c(&dev);
        assert_eq!(dev.wait(SOON).and_then(|status| status.code()), Some(0), "{}", dev.stderr());
        until("every process has ended", SOON, async || {
            (!all.iter().any(|pid| is_alive(*pid))).then_some(())
        })
        .await;
        assert_eq!(processes_of(dir.path()), [0; 0]);
        fs::remove_dir_all(dir.path()).expect("nobody holds it");
    }
    let mut dev = program.start();
    assert!(dev.ready(2 * SOON)["deployment"].is_u64(), "and the next start works");
}

/// `daee-node dev` as a shell starts it: in a process group of its own.
fn dev_at(dir: &Path, port: u16) -> Program {
    let dev = [binary("daee-node"), "dev".into(), "--json".into(), "--port".into()];
    Program::new("setsid").args(dev).args([&port.to_string(), "--dir"]).args([dir])
}

/// What a terminal does on Ctrl-C: every process of the group is told, not only the first.
fn ctrl_c(dev: &Process) {
    let kill = Program::new("/bin/sh").args(["-c", &format!("kill -s INT -- -{}", dev.id())]);
    assert_eq!(kill.run(SOON).code, Some(0), "the group is there");
}

fn pids(ready: &Value) -> Vec<u32> {
    let nodes = ready["nodes"].as_array().expect("it lists its nodes").iter();
    let pids = nodes.map(|node| node["pid"].as_u64().expect("each has a process"));
    pids.map(|pid| u32::try_from(pid).expect("process ids are small")).collect()
}

/// A disk with room for one node and little else, in memory. Only root can mount one.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).expect("the folder is there");
        let mount = Program::new("/bin/sh")
            .args(["-c", "mount -t tmpfs -o size=32m,mode=0700 none \"$0\""])
            .args([at]);
        (mount.run(SOON).code == Some(0)).then(|| Self(at.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    fn fill(&self) {
        let mut ballast = fs::File::create(self.ballast()).expect("there is room for a name");
        // Down to the last byte, in smaller and smaller pieces.
        for size in [1 << 20, 4 << 10, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
    }

    fn free(&self) {
        fs::remove_file(self.ballast()).expect("it is there");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that still runs keeps what it has open.
        let unmount = Program::new("/bin/sh").args(["-c", "umount -l \"$0\""]).args([&self.0]);
        unmount.run(SOON);
    }
}
