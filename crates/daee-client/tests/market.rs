//! The way of a deployment on a real chain, with a node that says what each test wants.

mod kit;

use std::time::Duration;

use daee_chain::{Chain, Registration, register_consent_digest};
use daee_client::{
    ClientError, Deployer, Market, Offer, Package, Stage, Stopping, Updated, WaitError,
};
use daee_lifecycle::{LifecycleError, LogQuery, Phase, UpdateAnswer};
use daee_testkit::{TestChain, closed_port};
use daee_types::{Coded as _, DeploymentId, Fault, Rate, Sign as _, TokenAmount};

use kit::{CAPACITY, Line, TestNode, network, package, standing};

const SOON: Duration = Duration::from_secs(60);
/// Long enough for a look or two on a busy machine.
const SHORT: Duration = Duration::from_secs(2);

/// A chain, a deployer with key 0, and a staked node with key 1.
struct Net {
    chain: TestChain,
    node: TestNode,
    market: Market,
    deployer: Deployer,
}

impl Net {
    async fn start() -> Self {
        let chain = TestChain::start().await;
        let market = Market::connect(network(&chain, Vec::new())).await.unwrap();
        let operator = chain.key(1);
        let node = TestNode::start(operator.address(), market.chain().domain()).await;
        register(&chain, market.chain(), &node.url()).await;
        let deployer = market.deployer(chain.key(0));
        Self { chain, node, market, deployer }
    }

    async fn deploy(&self, package: &Package) -> DeploymentId {
        self.deployer.deploy(package, &self.offer()).await.unwrap().id
    }

    fn offer(&self) -> Offer {
        Offer {
            rate_max: rate("1"),
            payment: TokenAmount::talos(30),
            windows: self.market.file().windows,
        }
    }

    async fn bid(&self, id: DeploymentId, package: &Package) {
        let manifest = package.manifest().manifest_hash();
        self.chain.account(1).await.bid(id, rate("0.5"), &manifest).await.unwrap();
    }

    /// The node gets the lease and says this of it.
    async fn lease(&self, id: DeploymentId, package: &Package, phase: Phase, why: Option<&str>) {
        self.bid(id, package).await;
        self.chain.pass_seconds(200).await;
        self.chain.account(1).await.assign(id).await.unwrap();
        self.node.say(|words| words.status = Ok(standing(id, phase, why)));
    }

    async fn wait(&self, id: DeploymentId, bound: Duration) -> Result<(), WaitError> {
        self.market.wait_running(id, bound, &mut |_| {}).await.map(|_| ())
    }

    async fn update(&self, id: DeploymentId, package: &Package) -> Result<Updated, WaitError> {
        let version = self.deployer.update(id, package).await?.version;
        self.deployer.wait_updated(id, version, SOON, &mut |_| {}).await
    }
}

async fn register(net: &TestChain, chain: &Chain, endpoint: &str) {
    let (operator, domain) = (net.key(1), chain.domain());
    let owner = net.account(2).await;
    let registry = chain.contracts().registry;
    let digest =
        register_consent_digest(registry, domain.chain_id, operator.address(), owner.address());
    let registration = Registration {
        operator: operator.address(),
        capacity: CAPACITY,
        anchor_interval_seconds: 5,
        endpoint: endpoint.to_owned(),
        stake: TokenAmount::talos(10_000),
        consent: operator.sign(&digest).unwrap(),
    };
    owner.register(&registration).await.unwrap();
}

fn rate(talos: &str) -> Rate {
    Rate::per_hour(talos.parse().unwrap()).unwrap()
}

fn names(stages: &[Stage]) -> Vec<String> {
    let name = |stage| serde_json::to_value(stage).unwrap()["stage"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = stages.iter().map(name).collect();
    names.dedup();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_is_told_until_the_agent_runs() {
    let net = Net::start().await;
    let package = package(1);
    let id = net.deploy(&package).await;
    assert_eq!(net.market.deployments(None).await.unwrap().len(), 1);
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let mut on = |stage: &Stage| tell.send(stage.clone()).unwrap();
    let mut stages = Vec::new();
    // Each stage is what makes the next one come.
    let acts = async {
        while let Some(stage) = told.recv().await {
            stages.push(stage.clone());
            match stage {
                Stage::Bidding { best: None, .. } => net.bid(id, &package).await,
                Stage::Bidding { best: Some(_), .. } => net.chain.pass_seconds(200).await,
                Stage::Awarding { .. } => {
                    net.chain.account(1).await.assign(id).await.unwrap();
                }
                Stage::Starting { .. } => {
                    let status = standing(id, Phase::Running, None);
                    net.node.say(|words| words.status = Ok(status));
                }
                _ => break,
            }
        }
    };
    let (waited, ()) = tokio::join!(net.market.wait_running(id, SOON, &mut on), acts);
    waited.unwrap();
    assert_eq!(names(&stages), ["bidding", "awarding", "starting", "running"]);
    let Some(Stage::Running { bid, endpoint }) = stages.last() else { panic!("{stages:?}") };
    assert_eq!(*endpoint, format!("http://acme-agent-{id}.localhost:8080/"));
    assert_eq!((bid.node, bid.rate), (net.chain.key(1).address(), rate("0.5")));
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_with_where_it_is_stuck_and_what_to_do() {
    let net = Net::start().await;
    let package = package(1);
    let id = net.deploy(&package).await;
    let check = async |expected: &[&str]| {
        let error = net.wait(id, SHORT).await.unwrap_err();
        assert_eq!(error.code(), "DAEE-U050");
        let said = error.to_string();
        assert!(expected.iter().all(|part| said.contains(part)), "{said}");
    };
    check(&["no bid yet", "raise `--max-rate`"]).await;
    net.bid(id, &package).await;
    check(&["best 0.5 TALOS/h by 0x"]).await;
    net.chain.pass_seconds(200).await;
    check(&["bids are closed", "`assign`"]).await;
    net.chain.account(1).await.assign(id).await.unwrap();
    check(&["assigned to 0x", "starting", "`expire`"]).await;
    // A node that is gone is named with what its URL does.
    let url = format!("http://{}", closed_port().await);
    net.chain.account(1).await.set_endpoint(&url).await.unwrap();
    check(&["does not answer", &url]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_cannot_run_fails_with_its_nodes_reason() {
    let net = Net::start().await;
    let package = package(1);
    let id = net.deploy(&package).await;
    net.lease(id, &package, Phase::Error, Some("the start turn trapped")).await;
    let error = net.wait(id, SOON).await.unwrap_err();
    assert_eq!(error.code(), "DAEE-U051");
    assert!(error.to_string().contains("the start turn trapped"), "{error}");

    let other = net.deploy(&package).await;
    net.deployer.stop(other).await.unwrap();
    let error = net.wait(other, SOON).await.unwrap_err();
    assert!(error.to_string().contains("it is over"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_paid_for_costs_no_gas() {
    let net = Net::start().await;
    let package = package(1);
    let gas = async || net.chain.ask("eth_getBalance", ether_of(&net.chain, 0)).await;
    let before = gas().await;
    let little = Offer { payment: TokenAmount(1), ..net.offer() };
    let error = net.deployer.deploy(&package, &little).await.unwrap_err();
    assert!(matches!(error, ClientError::PaymentBelowMinimum { .. }), "{error}");
    assert!(error.to_string().contains("`--pay`"), "{error}");
    let much = Offer { payment: TokenAmount::talos(1 << 40), ..net.offer() };
    let error = net.deployer.deploy(&package, &much).await.unwrap_err();
    assert!(matches!(error, ClientError::Funds { .. }), "{error}");
    assert!(matches!(net.deployer.withdraw(None).await, Err(ClientError::NothingOwed(_))));
    assert_eq!(gas().await, before);
    // What only the contract knows comes back with its own name.
    let mut offer = net.offer();
    offer.windows.grace = 0;
    let error = net.deployer.deploy(&package, &offer).await.unwrap_err();
    let ClientError::Chain(error) = error else { panic!("{error}") };
    assert_eq!(error.revert_name(), Some("BadTerms"), "{error}");
    assert_eq!(net.market.chain().deployment_count().await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_and_unknown_numbers_are_turned_away_before_a_transaction() {
    let net = Net::start().await;
    let id = net.deploy(&package(1)).await;
    let stranger = net.market.deployer(net.chain.key(3));
    let code = |error: ClientError| error.code();
    assert_eq!(stranger.stop(id).await.map(|_| ()).map_err(code), Err("DAEE-U031"));
    let updated = stranger.update(id, &package(2)).await.map(|_| ()).map_err(code);
    assert_eq!(updated, Err("DAEE-U031"));
    let nowhere = DeploymentId(99);
    let stopped = net.deployer.stop(nowhere).await.map(|_| ()).map_err(code);
    assert_eq!(stopped, Err("DAEE-U030"));
    let paid = net.deployer.top_up(nowhere, TokenAmount::talos(1)).await;
    assert_eq!(paid.map(|_| ()).map_err(code), Err("DAEE-U030"));
    let standing = net.market.standing(nowhere).await.map(|_| ()).map_err(code);
    assert_eq!(standing, Err("DAEE-U030"));
    let deployment = net.market.deployment(id).await.unwrap();
    let holder = net.market.holder(&deployment).await.map(|_| ()).map_err(code);
    assert_eq!(holder, Err("DAEE-U032"), "nobody has won it yet");
    // Anybody may pay.
    stranger.top_up(id, TokenAmount::talos(1)).await.unwrap();
    let mine = net.market.deployments(Some(stranger.address())).await.unwrap();
    assert!(mine.is_empty(), "and does not own it for that");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_before_any_lease_refunds_to_the_wei() {
    let net = Net::start().await;
    let chain = net.market.chain();
    let package = package(1);
    let id = net.deploy(&package).await;
    let held = net.market.deployment(id).await.unwrap().balance;
    let stopped = stop(&net, id).await;
    assert_eq!((stopped.refunded, stopped.paid), (held, TokenAmount::ZERO));
    assert_eq!(chain.claimable(net.deployer.address()).await.unwrap(), held);
    let before = chain.balance(net.deployer.address()).await.unwrap();
    assert_eq!(net.deployer.withdraw(None).await.unwrap().0, held);
    let after = chain.balance(net.deployer.address()).await.unwrap();
    assert_eq!(after.0 - before.0, held.0);
    // Again is no error: it says how it ended.
    assert!(net.deployer.stop(id).await.unwrap().mined.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_no_node_finishes_is_finished_by_its_owner() {
    let net = Net::start().await;
    let package = package(1);
    let id = net.deploy(&package).await;
    net.lease(id, &package, Phase::Starting, None).await;
    let held = net.market.deployment(id).await.unwrap().balance;
    let stopped = stop(&net, id).await;
    assert_eq!(stopped.refunded, held, "a lease that never started is owed nothing");
    assert!(!stopped.final_checkpoint);
}

async fn stop(net: &Net, id: DeploymentId) -> daee_client::Stopped {
    let stopping: Stopping = net.deployer.stop(id).await.unwrap();
    assert!(stopping.mined.is_some());
    net.deployer.wait_stopped(&stopping, SOON, &mut |_| {}).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_ends_switched_or_left_or_out_for_bids() {
    let net = Net::start().await;
    let (first, second, third) = (package(1), package(2), package(3));
    let id = net.deploy(&first).await;
    let same = net.deployer.update(id, &first).await.map(|_| ());
    assert!(matches!(same, Err(ClientError::SameArtifact(_))), "{same:?}");
    // Nobody runs it: the new version is bid on at once.
    assert_eq!(net.update(id, &second).await.unwrap(), Updated::Relisted { version: 2 });

    net.lease(id, &second, Phase::Running, None).await;
    let reason = "the new version's start turn trapped".to_owned();
    let answer = UpdateAnswer { switched: false, version: 2, reason: Some(reason.clone()) };
    net.node.say(|words| words.update = Ok(answer));
    let left = Updated::Left { version: 2, reason };
    assert_eq!(net.update(id, &third).await.unwrap(), left);

    // A node that has not read the chain yet is asked again.
    net.node.say(|words| words.update = Err(LifecycleError::NotNow("not yet".to_owned())));
    let version = net.deployer.update(id, &first).await.unwrap().version;
    let mut stages = Vec::new();
    let mut on = |stage: &Stage| {
        stages.push(stage.clone());
        let answer = UpdateAnswer { switched: true, version, reason: None };
        net.node.say(|words| words.update = Ok(answer));
    };
    let updated = net.deployer.wait_updated(id, version, SOON, &mut on).await.unwrap();
    assert_eq!(updated, Updated::Switched { version });
    assert_eq!(names(&stages), ["updating"]);
    let caller = net.node.say(|words| words.callers.last().copied());
    assert_eq!(caller, Some(net.deployer.address()), "the node knows who asks");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_to_another_agent_is_refused() {
    let net = Net::start().await;
    let id = net.deploy(&package(1)).await;
    let folder = daee_testkit::folder();
    let write = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    write("a.wasm", package(1).artifact().bytes());
    let yaml = String::from_utf8(package(1).yaml().to_vec()).unwrap();
    write("agent.yaml", yaml.replace("acme.agent@", "acme.other@").as_bytes());
    let other = Package::read(folder.path()).unwrap();
    let error = net.deployer.update(id, &other).await.unwrap_err();
    assert_eq!(error.code(), "DAEE-U039");
    assert!(error.to_string().contains("acme.other"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chains_word_counts_more_than_the_nodes() {
    let net = Net::start().await;
    let package = package(1);
    let id = net.deploy(&package).await;
    net.lease(id, &package, Phase::Running, None).await;
    net.node.say(|words| {
        let mut said = standing(id, Phase::Running, None);
        said.spend.paid = TokenAmount::talos(1_000);
        said.endpoint = Some("http://169.254.169.254/latest".to_owned());
        words.status = Ok(said);
    });
    let standing = net.market.standing(id).await.unwrap();
    assert_eq!(standing.status.phase, Phase::Running);
    assert_eq!(standing.status.spend.paid, TokenAmount::ZERO);
    assert_eq!(standing.status.spend.rate, rate("0.5"));
    assert_eq!(standing.status.node, Some(net.chain.key(1).address()));
    assert_eq!(standing.status.turn, 3);
    // Nobody's requests go where a node likes, but to another port of the agent's name they may.
    let own = format!("http://acme-agent-{id}.localhost:8080/");
    assert_eq!(standing.status.endpoint, Some(own));
    let other = format!("http://acme-agent-{id}.localhost:9090/");
    net.node.say(|words| words.status.as_mut().unwrap().endpoint = Some(other.clone()));
    let again = net.market.standing(id).await.unwrap();
    assert_eq!(again.status.endpoint, Some(other));
    assert_eq!((standing.silent, standing.owner), (None, net.deployer.address()));

    // A silent node leaves what the chain knows.
    net.node.stop().await;
    let standing = net.market.standing(id).await.unwrap();
    assert_eq!(standing.status.phase, Phase::Starting, "no checkpoint was opened yet");
    assert!(standing.status.reason.unwrap().contains("not heard"));
    assert!(standing.silent.unwrap().contains("does not answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_over_broken_streams_to_the_end_of_the_deployment() {
    let net = Net::start().await;
    let package = package(1);
    let id = net.deploy(&package).await;
    net.lease(id, &package, Phase::Running, None).await;
    let mut log = net.deployer.follow(id, Some(1));
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(log.next().await.unwrap().unwrap().seq);
    }
    // The node ends each stream; what it adds comes with the next, and nothing comes twice.
    net.node.say(|words| words.lines.push(kit::line(5)));
    seen.push(log.next().await.unwrap().unwrap().seq);
    assert_eq!(seen, [2, 3, 4, 5]);
    // What was written at the very end is read from whoever kept it.
    stop(&net, id).await;
    net.node.say(|words| words.lines.push(kit::line(6)));
    assert_eq!(log.next().await.unwrap(), Some(kit::line(6)));
    assert_eq!(log.next().await.unwrap(), None);
    let query = LogQuery { after: Some(4), ..LogQuery::default() };
    let kept = net.deployer.logs(id, query).await.unwrap();
    assert_eq!(kept, [kit::line(5), kit::line(6)]);

    // Without anybody who kept it there is none.
    net.node.stop().await;
    let error = net.deployer.logs(id, query).await.unwrap_err();
    assert!(matches!(error, ClientError::NoLease { .. }), "{error}");
    assert_eq!(net.deployer.follow(id, None).next().await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_away_for_a_while_is_waited_for() {
    let net = Net::start().await;
    let package = package(1);
    let id = net.deploy(&package).await;
    let line = Line::to(&net.chain).await;
    let mut file = network(&net.chain, Vec::new());
    file.rpc = vec![line.url()];
    let market = Market::connect(file).await.unwrap();
    line.cut(true);
    // Nothing is known, so nothing is said of the deployment: the chain is what is missing.
    let error = market.wait_running(id, SHORT, &mut |_| {}).await.unwrap_err();
    assert!(matches!(error, WaitError::Client(ClientError::Chain(_))), "{error}");
    assert_eq!(error.fault(), Fault::Network);

    let mut on = |_: &Stage| {};
    let (waited, ()) = tokio::join!(market.wait_running(id, SOON, &mut on), async {
        net.lease(id, &package, Phase::Running, None).await;
        line.cut(false);
    });
    assert_eq!(waited.unwrap().phase, Phase::Running);
    // A log goes on, too.
    let mut log = market.deployer(net.chain.key(0)).follow(id, Some(3));
    line.cut(true);
    let (read, ()) = tokio::join!(log.next(), async {
        tokio::time::sleep(SHORT).await;
        line.cut(false);
    });
    assert_eq!(read.unwrap().unwrap().seq, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_is_not_there_or_not_ours_is_said_to_be_that() {
    let chain = TestChain::start().await;
    let mut file = network(&chain, Vec::new());
    file.rpc = vec![format!("http://{}", closed_port().await)];
    let code = async |file| Market::connect(file).await.map(|_| ()).map_err(|error| error.code());
    assert_eq!(code(file).await, Err("DAEE-C002"));
    let mut file = network(&chain, Vec::new());
    file.contracts.manager = chain.key(0).address();
    assert_eq!(code(file).await, Err("DAEE-C006"));
}

fn ether_of(chain: &TestChain, key: usize) -> serde_json::Value {
    serde_json::json!([chain.key(key).address(), "latest"])
}

#[test]
fn waiting_can_be_left_to_a_task() {
    fn check<F: Send>(_: impl FnOnce(Market, Deployer) -> F) {}
    check(|market, _| async move {
        market.wait_running(DeploymentId(1), SOON, &mut |_| {}).await.map(|_| ())
    });
    check(|_, deployer| async move {
        let stopping = deployer.stop(DeploymentId(1)).await?;
        deployer.wait_stopped(&stopping, SOON, &mut |_| {}).await.map(|_| ())
    });
    check(|_, deployer| async move {
        deployer.wait_updated(DeploymentId(1), 2, SOON, &mut |_| {}).await.map(|_| ())
    });
    check(|_, deployer| async move { deployer.follow(DeploymentId(1), None).next().await });
}
