//! The whole life of a deployment, and what the contracts refuse on the way.

mod kit;

use std::sync::Arc;

use daee_chain::{Account, Chain, ChainError, NetworkParams, Phase, deploy_contracts};
use daee_market::AnchorTree;
use daee_signer::Key;
use daee_types::{
    Address, ArtifactHash, Checkpoint, Coded as _, DeploymentId, Fault, LeafHash, LogRoot,
    ManifestHash, Rate, Sign as _, StateRoot, TokenAmount, TranscriptRoot,
};
use kit::{
    Net, artifact, body, cid, deploy, manifest,
    proxy::{Fate, Proxy},
    terms,
};
use tokio::sync::Notify;

#[tokio::test]
async fn a_deployment_lives_from_the_deploy_to_the_refund() {
    let net = Net::start().await;
    let chain = net.chain().await;
    let tenant = net.account().await;
    let (node, _) = net.node().await;
    let record = chain.node(node.address()).await.unwrap().unwrap();
    assert_eq!((record.owner, record.anchor_interval_seconds), (node.address(), 10));
    assert_eq!(chain.nodes().await.unwrap(), std::slice::from_ref(&record));

    // Deployed.
    let id = deploy(&tenant).await;
    let fee = TokenAmount(1000 * 1_000_000_000_000);
    let found = chain.deployment(id).await.unwrap().unwrap();
    assert_eq!((found.owner, found.phase), (tenant.address(), Phase::Bidding));
    assert_eq!((found.agent_id.as_str(), found.terms), (kit::AGENT, terms()));
    assert_eq!(found.version.manifest_hash, manifest());
    assert_eq!(found.balance, TokenAmount::talos(100).checked_sub(fee).unwrap());
    assert_eq!(found.lease.node, Address::ZERO);
    assert_eq!(chain.deployment_count().await.unwrap(), 1);

    // Bid for and assigned.
    let rate = Rate(500_000_000_000_000);
    node.bid(id, rate, &manifest()).await.unwrap();
    net.pass(20).await;
    let assigned = tenant.assign(id).await.unwrap();
    let found = chain.deployment(id).await.unwrap().unwrap();
    let lease = found.lease;
    assert_eq!((found.phase, lease.node, lease.rate), (Phase::Leased, node.address(), rate));
    assert_eq!((lease.assigned_at, lease.started_at), (assigned.time, None));
    assert!(found.block >= assigned.number && found.at >= assigned.time);
    let used = chain.node(node.address()).await.unwrap().unwrap();
    assert_eq!((used.locked, used.used), (lease.bond, terms().resources));

    // Anchored and opened; nothing is credited for what was before the first leaf.
    let first = leaf(id, &found, 1);
    let anchored = anchor(&node, &first).await;
    node.open(&first.0, &first.1).await.unwrap();
    let found = chain.deployment(id).await.unwrap().unwrap();
    assert_eq!((found.lease.seq, found.lease.covered_seconds), (1, 0));
    assert_eq!((found.state_root, found.last_anchor), (first.0.state_root, anchored));
    assert!(found.lease.started_at.is_some());

    // Time is credited up to the interval, and paid.
    net.pass(8).await;
    let second = leaf(id, &found, 2);
    anchor(&node, &second).await;
    let found = chain.deployment(id).await.unwrap().unwrap();
    let covered = found.lease.covered_seconds;
    assert!((7..=10).contains(&covered), "{covered}");
    let due = rate.over_seconds(covered).unwrap();
    assert_eq!(chain.due(id).await.unwrap(), due);
    node.settle(&[id]).await.unwrap();
    assert_eq!(chain.claimable(node.address()).await.unwrap(), due);
    let before = chain.balance(node.address()).await.unwrap();
    node.withdraw(node.address()).await.unwrap();
    let after = chain.balance(node.address()).await.unwrap();
    assert_eq!(after, before.checked_add(due).unwrap());

    // What an agent publishes.
    let (epoch, topic) = (found.lease.epoch, [9; 32]);
    assert_eq!(chain.latest(id, topic).await.unwrap(), None);
    node.publish(id, epoch, 3, topic, b"42").await.unwrap();
    let value = chain.latest(id, topic).await.unwrap().unwrap();
    assert_eq!((value.turn, value.data.as_slice()), (3, &b"42"[..]));

    // More money, then the end.
    tenant.top_up(id, TokenAmount::talos(1)).await.unwrap();
    tenant.stop(id).await.unwrap();
    let found = chain.deployment(id).await.unwrap().unwrap();
    assert_eq!((found.phase, found.lease.exit), (Phase::Closing, 1));
    refused(node.finish(id).await, "TooEarly");
    let last = leaf(id, &found, 3);
    anchor(&node, &last).await;
    node.open(&last.0, &last.1).await.unwrap();
    node.finish(id).await.unwrap();
    let found = chain.deployment(id).await.unwrap().unwrap();
    assert_eq!((found.phase, found.balance), (Phase::Closed, TokenAmount::ZERO));
    assert!(chain.claimable(tenant.address()).await.unwrap() > TokenAmount::talos(99));
    tenant.withdraw(tenant.address()).await.unwrap();
}

#[tokio::test]
async fn an_update_waits_for_the_lessee_which_may_refuse_it() {
    let net = Net::start().await;
    let chain = net.chain().await;
    let tenant = net.account().await;
    let (node, _) = net.node().await;
    let id = leased(&net, &tenant, &node).await;

    let hash = ArtifactHash::of(b"the next one");
    refused(node.refuse_update(id).await, "NothingToDo");
    tenant.update(id, &cid(&hash), hash, body(), 12).await.unwrap();
    let found = chain.deployment(id).await.unwrap().unwrap();
    let pending = found.pending.unwrap();
    assert_eq!((pending.artifact_hash, pending.number), (hash, 2));
    assert_eq!(pending.manifest_hash, ManifestHash::of(&hash, &body()));
    assert_eq!((found.version.number, found.version.artifact_hash), (1, artifact()));
    assert!(found.pending_until > found.at);

    refused(tenant.refuse_update(id).await, "NotLessee");
    node.refuse_update(id).await.unwrap();
    let found = chain.deployment(id).await.unwrap().unwrap();
    assert_eq!((found.phase, found.lease.exit), (Phase::Closing, 2));
    assert!(found.lease.end_time.is_some());
    tenant.finish(id).await.unwrap();
    let found = chain.deployment(id).await.unwrap().unwrap();
    assert_eq!((found.phase, found.version.number, found.pending), (Phase::Bidding, 2, None));
}

#[tokio::test]
async fn a_lease_that_never_starts_is_expired_by_anyone_at_its_nodes_cost() {
    let net = Net::start().await;
    let chain = net.chain().await;
    let (tenant, stranger) = (net.account().await, net.account().await);
    let (node, _) = net.node().await;
    let id = leased(&net, &tenant, &node).await;
    let lease = chain.deployment(id).await.unwrap().unwrap().lease;
    refused(stranger.expire(id).await, "NotExpired");
    net.pass(101).await;
    stranger.expire(id).await.unwrap();
    let found = chain.deployment(id).await.unwrap().unwrap();
    assert_eq!((found.phase, found.lease.node), (Phase::Bidding, Address::ZERO));
    let record = chain.node(node.address()).await.unwrap().unwrap();
    let cut = daee_market::expiry_penalty(lease.bond, false).cut;
    assert_eq!(record.stake, TokenAmount::talos(50_000).checked_sub(cut).unwrap());
    // The rest of the bond stays locked for a while, then it is free.
    assert_eq!(record.locked, lease.bond.checked_sub(cut).unwrap());
    net.pass(31).await;
    stranger.release_tails(node.address()).await.unwrap();
    assert_eq!(chain.node(node.address()).await.unwrap().unwrap().locked, TokenAmount::ZERO);
}

#[tokio::test]
async fn two_leaves_for_one_place_cost_the_bond() {
    let net = Net::start().await;
    let chain = net.chain().await;
    let (tenant, reporter) = (net.account().await, net.account().await);
    let (node, key) = net.node().await;
    let id = leased(&net, &tenant, &node).await;
    let found = chain.deployment(id).await.unwrap().unwrap();
    let (one, _) = leaf(id, &found, 1);
    let other = Checkpoint { fuel: 7, ..one };
    let sign = |leaf: &Checkpoint, key: &Key| {
        key.sign(&chain.domain().digest(leaf.leaf_hash().as_bytes())).unwrap()
    };
    let salt = [5; 32];
    reporter.commit_evidence(&one, &other, salt).await.unwrap();
    net.mine().await;
    let foreign = sign(&other, &Key::generate());
    let mine = sign(&one, &key);
    let said = reporter.report_equivocation((&one, &mine), (&other, &foreign), salt).await;
    assert!(refused(said, "NotEvidence").contains("not the lessee's"), "{id}");
    let both = sign(&other, &key);
    reporter.report_equivocation((&one, &mine), (&other, &both), salt).await.unwrap();
    let stake = chain.node(node.address()).await.unwrap().unwrap().stake;
    let left = TokenAmount::talos(50_000).checked_sub(found.lease.bond).unwrap();
    assert_eq!(stake, left);
    let reward = daee_market::equivocation_reward(found.lease.bond);
    let has = chain.balance(reporter.address()).await.unwrap();
    assert_eq!(has, TokenAmount::talos(100_000).checked_add(reward).unwrap());
}

#[tokio::test]
async fn a_network_can_stand_on_a_token_that_is_there_already() {
    let net = Net::start().await;
    let params = NetworkParams { token: Some(net.contracts.token), ..NetworkParams::dev() };
    let second = deploy_contracts(&net.url(), net.founder.clone(), &params).await.unwrap();
    assert_eq!(second.token, net.contracts.token);
    assert_ne!(second.manager, net.contracts.manager);
    assert!(second.first_block > net.contracts.first_block);
    let tenant = net.key().await;
    let tenant = Chain::connect(&[net.url()], second).await.unwrap().account(tenant);
    assert_eq!(deploy(&tenant).await, DeploymentId(1));
}

#[tokio::test]
async fn a_node_is_registered_only_with_its_operators_word() {
    let net = Net::start().await;
    let owner = net.account().await;
    let operator = net.key().await;
    let mut registration = net.registration(&operator, owner.address()).await;
    registration.consent = Key::generate().sign(&[1; 32]).unwrap();
    let error = refused(owner.register(&registration).await, "ConsentMissing");
    assert!(error.contains(&operator.address().to_string()), "{error}");

    let registration = net.registration(&operator, owner.address()).await;
    owner.register(&registration).await.unwrap();
    refused(owner.register(&registration).await, "AlreadyRegistered");
    let chain = net.chain().await;
    let record = chain.node(operator.address()).await.unwrap().unwrap();
    assert_eq!((record.owner, record.stake), (owner.address(), registration.stake));
    assert_eq!(chain.node(owner.address()).await.unwrap(), None);

    owner.stake(operator.address(), TokenAmount::talos(5)).await.unwrap();
    owner.unstake(operator.address(), TokenAmount::talos(7)).await.unwrap();
    let record = chain.node(operator.address()).await.unwrap().unwrap();
    assert_eq!(record.stake, TokenAmount::talos(49_998));
    assert_eq!(record.unbonding, TokenAmount::talos(7));
    refused(owner.withdraw_stake(operator.address()).await, "NotReady");
    net.pass(60).await;
    owner.withdraw_stake(operator.address()).await.unwrap();
    let operator = chain.account(operator);
    operator.set_endpoint("http://elsewhere.example").await.unwrap();
    let record = chain.node(operator.address()).await.unwrap().unwrap();
    assert_eq!(record.endpoint, "http://elsewhere.example");
}

#[tokio::test]
async fn a_refusal_has_a_name_and_a_reason_and_costs_nothing() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let (node, _) = net.node().await;
    let hash = artifact();
    let pay = |talos| TokenAmount::talos(talos);

    // The first approves, so that it is the deployment itself that is refused.
    tenant.approve(net.contracts.manager, pay(1000)).await.unwrap();
    let before = net.mined(tenant.address()).await;
    let low = tenant.deploy(kit::AGENT, &cid(&hash), hash, body(), &terms(), TokenAmount(5)).await;
    let said = refused(low, "PaymentBelowMinimum");
    let minimum = net.chain().await.minimum_payment(&terms()).await.unwrap();
    assert!(said.contains(&minimum.to_string()), "{said}");
    let other = ArtifactHash::of(b"other");
    let wrong = tenant.deploy(kit::AGENT, &cid(&other), hash, body(), &terms(), pay(100)).await;
    refused(wrong, "CidIsNotTheHash");
    let mut bad = terms();
    bad.policy = 1;
    let bad = tenant.deploy(kit::AGENT, &cid(&hash), hash, body(), &bad, pay(100)).await;
    assert!(refused(bad, "BadTerms").contains("policy"));
    refused(tenant.stop(DeploymentId(77)).await, "UnknownDeployment");
    assert_eq!(net.mined(tenant.address()).await, before);

    let id = deploy(&tenant).await;
    refused(tenant.bid(id, Rate(1), &manifest()).await, "NotRegistered");
    refused(node.bid(id, Rate(0), &manifest()).await, "RateAboveMaximum");
    let other = ManifestHash::of(&other, &body());
    refused(node.bid(id, Rate(1000), &other).await, "WrongManifest");
    node.bid(id, Rate(1000), &manifest()).await.unwrap();
    let (rival, _) = net.node().await;
    refused(rival.bid(id, Rate(991), &manifest()).await, "NotBetter");
    refused(node.stop(id).await, "NotOwner");
    refused(node.assign(id).await, "BidsAreOpen");

    // The token's own.
    let poor = net.account().await;
    let rich = poor.transfer(tenant.address(), TokenAmount::talos(2_000_000)).await;
    assert!(refused(rich, "ERC20InsufficientBalance").contains("2000000 TALOS"));
}

#[tokio::test]
async fn what_is_refused_only_in_its_block_is_named_too() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let (node, _) = net.node().await;
    let id = deploy(&tenant).await;
    node.bid(id, Rate(1000), &manifest()).await.unwrap();
    net.pass(20).await;

    // One is held back after it was tried out; another comes first.
    let proxy = Proxy::before(&net.url()).await;
    let late = net.chain_through(&[proxy.url()]).await.account(net.key().await);
    let (waiting, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    proxy.next("eth_sendRawTransaction", [Fate::Hold(waiting.clone(), go.clone())]);
    let late = tokio::spawn(async move { late.assign(id).await });
    waiting.notified().await;
    tenant.assign(id).await.unwrap();
    go.notify_one();
    let said = refused(late.await.unwrap(), "WrongPhase");
    assert!(said.contains("leased"), "{said}");
}

#[tokio::test]
async fn an_account_without_coin_for_gas_is_told_so() {
    let net = Net::start().await;
    let poor = net.chain().await.account(Arc::new(Key::generate()));
    let error = poor.approve(net.contracts.manager, TokenAmount(1)).await.unwrap_err();
    assert!(matches!(error, ChainError::NoGasMoney { .. }), "{error:?}");
    assert_eq!((error.code(), error.fault()), ("DAEE-C007", Fault::Node));
    assert!(error.to_string().contains(&poor.address().to_string()), "{error}");
}

#[tokio::test]
async fn a_network_without_the_contracts_is_refused() {
    let net = Net::start().await;
    let mut contracts = net.contracts;
    contracts.outbox = Address([7; 20]);
    let error = Chain::connect(&[net.url()], contracts).await.err().unwrap();
    assert!(matches!(error, ChainError::NoContract { what: "outbox", .. }), "{error:?}");
}

/// A deployment that the node has the lease of, and has not started.
async fn leased(net: &Net, tenant: &Account, node: &Account) -> DeploymentId {
    let id = deploy(tenant).await;
    node.bid(id, Rate(1_000_000_000), &manifest()).await.unwrap();
    net.pass(20).await;
    tenant.assign(id).await.unwrap();
    id
}

/// A checkpoint that follows what is open, and its proof in a tree of its own.
fn leaf(
    id: DeploymentId,
    found: &daee_chain::Deployment,
    seq: u64,
) -> (Checkpoint, Vec<daee_types::Word>) {
    let leaf = Checkpoint {
        deployment: id,
        epoch: found.lease.epoch,
        seq,
        prev_leaf_hash: found.lease.leaf_hash,
        turn: seq,
        pre_root: found.state_root,
        state_root: StateRoot::new([seq as u8; 32]),
        log_root: LogRoot::ZERO,
        transcript_root: TranscriptRoot::ZERO,
        artifact_hash: artifact(),
        runtime_version: 1,
        fuel: 10 * seq,
        covered_seconds: found.lease.covered_seconds,
    };
    // A stranger's leaf beside it, so that there is something to prove.
    let other = (DeploymentId(id.0 + 1), LeafHash::ZERO);
    let tree = AnchorTree::new([(id, leaf.leaf_hash()), other]).unwrap();
    (leaf, tree.proof(id).unwrap())
}

async fn anchor(
    node: &Account,
    (leaf, proof): &(Checkpoint, Vec<daee_types::Word>),
) -> daee_types::Timestamp {
    let root = daee_market::root_of_proof(leaf.deployment, leaf.leaf_hash(), proof).unwrap();
    node.anchor(root).await.unwrap().time
}

fn refused<T: std::fmt::Debug>(result: Result<T, ChainError>, name: &str) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.revert_name(), Some(name), "{error:?}");
    assert_eq!((error.code(), error.is_revert()), ("DAEE-C001", true));
    error.to_string()
}
