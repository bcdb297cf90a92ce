//! A node dies with a lease: it earns no more, another goes on from the last opened checkpoint, and the first, back
//! again, can neither open, advance nor earn.

mod kit;

use std::time::Duration;

use daee_chain::{EventKind, Phase};
use daee_types::{Checkpoint, LeafHash, LogRoot, StateRoot, TokenAmount, TranscriptRoot};

use kit::{Network, NodeReady, until};

const SOON: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_agent_goes_on_elsewhere_and_the_dead_one_earns_nothing_more() {
    let mut network = Network::start(&[]).await;
    let id = network.oracle();
    let endpoint = network.ready.endpoint.clone().expect("dev prints the endpoint");
    let first = network.node(network.deployment(id).await.lease.node).clone();

    // A state worth keeping is open on chain.
    until("an opened checkpoint with some history", SOON, async || {
        let (status, price) = network.get(&endpoint, "/price").await;
        let long = status == 200 && price["history"].as_u64()? >= 2;
        (long && network.deployment(id).await.lease.seq >= 2).then_some(())
    })
    .await;
    let seq = network.deployment(id).await.lease.seq;
    until("another checkpoint after that", SOON, async || {
        (network.deployment(id).await.lease.seq > seq).then_some(())
    })
    .await;

    network.kill(&first);
    let dead = network.deployment(id).await;
    let covered = dead.lease.covered_seconds;
    let (rate, epoch) = (dead.lease.rate, dead.lease.epoch);

    // Anybody may end a silent lease; the others do, and one of them takes it.
    let taken = until("another node holds the lease", SOON, async || {
        let now = network.deployment(id).await;
        (now.phase == Phase::Leased && now.lease.node != first.account).then_some(now)
    })
    .await;
    let events = network.events_of(id).await;
    let expired = events.iter().position(
        |event| matches!(event, EventKind::Expired { node, .. } if *node == first.account),
    );
    let expired = expired.expect("the lease was ended by `expire`");
    let (root, from) = last_opened(&events[..expired]);
    assert_eq!(from, epoch);
    assert!(
        events[expired..]
            .iter()
            .any(|e| matches!(e, EventKind::Relisted { state_root, .. } if *state_root == root)),
        "it is listed again with the last opened root: {events:?}"
    );

    // No pay past the last anchor: all that the first node ever got is its covered time.
    let earned: u128 = events
        .iter()
        .map(|event| match event {
            EventKind::Settled { node, amount, .. } if *node == first.account => amount.0,
            _ => 0,
        })
        .sum();
    assert_eq!(earned, rate.0 * u128::from(covered), "paid for anchored time and for nothing else");

    // The successor goes on from that very state.
    until("the agent answers again", SOON, async || {
        let (status, price) = through(&network, &endpoint, "/price").await?;
        (status == 200 && price["history"].as_u64()? >= 2).then_some(())
    })
    .await;
    let after = until("the successor's first opened leaf", SOON, async || {
        let now = network.deployment(id).await;
        now.lease.started_at.is_some().then_some(now)
    })
    .await;
    assert_ne!(after.lease.epoch, epoch);
    assert_eq!(after.lease.node, taken.lease.node);

    // The first comes back: it holds nothing, and nothing that it signs counts.
    let before = network.chain.claimable(first.owner).await.expect("an answer");
    network.restart(&first).await;
    until("the first node knows that its lease is gone", SOON, async || {
        let node = network.market.node(&first.api);
        node.info().await.ok().filter(|info| info.leases == 0)
    })
    .await;
    let account = network.chain.account(network.key(&first.name));
    for claimed in [epoch, after.lease.epoch] {
        let leaf = forged(id, claimed, &after, &dead);
        let tree = [(id, leaf.leaf_hash())];
        account.anchor(daee_market::anchor_root(&tree)).await.expect("it may anchor what it likes");
        let opened = account.open(&leaf, &daee_market::anchor_proof(&tree, 0)).await;
        let error = opened.expect_err("a lost lease cannot be advanced");
        let name = error.revert_name().unwrap_or_default().to_owned();
        assert!(["StaleEpoch", "NotAnchored"].contains(&name.as_str()), "{error}");
    }
    let published = account.publish(id, epoch, u64::MAX, [1; 32], b"stale").await;
    assert_eq!(published.expect_err("its word is stale").revert_name(), Some("StaleLease"));
    account.settle(&[id]).await.expect("anybody may settle");
    let now = network.deployment(id).await;
    assert_eq!(now.lease.epoch, after.lease.epoch, "the lease is where it was");
    let kept = network.chain.claimable(first.owner).await.expect("an answer");
    assert_eq!(kept, before, "nothing was earned");
    assert!(now.paid > TokenAmount::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_back_within_its_grace_keeps_its_lease_and_its_state() {
    let mut network = Network::start(&[]).await;
    let id = network.oracle();
    let endpoint = network.ready.endpoint.clone().expect("dev prints the endpoint");
    let before = network.deployment(id).await;
    let holder = network.node(before.lease.node).clone();
    let turns = async |network: &Network| {
        let node = network.market.node(&holder.api);
        node.status(id).await.ok().map(|status| status.turn)
    };
    let turn =
        until("some turns", SOON, async || turns(&network).await.filter(|turn| *turn >= 3)).await;
    network.kill(&holder);
    network.restart(&holder).await;
    let (_, price) = until("the agent answers again", SOON, async || {
        let (status, price) = network.get(&endpoint, "/price").await;
        (status == 200).then_some((status, price))
    })
    .await;
    assert!(price["history"].as_u64().is_some_and(|count| count >= 1), "{price}");
    let later = turns(&network).await.expect("the node answers");
    assert!(later >= turn, "turn {later} after turn {turn}: what was durable is still there");
    let seq = network.deployment(id).await.lease.seq;
    let now = until("the same lease goes on", SOON, async || {
        let now = network.deployment(id).await;
        (now.lease.seq > seq).then_some(now)
    })
    .await;
    assert_eq!(now.lease.epoch, before.lease.epoch);
    let events = network.events_of(id).await;
    assert!(!events.iter().any(|event| matches!(event, EventKind::Expired { .. })), "{events:?}");
}

/// Asks through a node that is alive.
async fn through(
    network: &Network,
    endpoint: &str,
    path: &str,
) -> Option<(u16, serde_json::Value)> {
    for NodeReady { api, .. } in &network.ready.nodes {
        let url = endpoint.rsplit_once(':').map(|(host, _)| host.to_owned())?;
        let port = api.rsplit_once(':')?.1;
        let (status, value) = network.get(&format!("{url}:{port}/"), path).await;
        if status == 200 {
            return Some((status, value));
        }
    }
    None
}

fn last_opened(events: &[EventKind]) -> (StateRoot, daee_types::EpochId) {
    let opened = events.iter().rev().find_map(|event| match event {
        EventKind::Opened { state_root, epoch, .. } => Some((*state_root, *epoch)),
        _ => None,
    });
    opened.expect("a leaf was opened before")
}

/// A leaf that would advance the deployment if its maker still held the lease.
fn forged(
    id: daee_types::DeploymentId,
    epoch: daee_types::EpochId,
    now: &daee_chain::Deployment,
    dead: &daee_chain::Deployment,
) -> Checkpoint {
    Checkpoint {
        deployment: id,
        epoch,
        seq: now.lease.seq.max(dead.lease.seq) + 1_000,
        prev_leaf_hash: LeafHash::ZERO,
        turn: u64::from(u32::MAX),
        pre_root: now.state_root,
        state_root: StateRoot::new([7; 32]),
        log_root: LogRoot::new([7; 32]),
        transcript_root: TranscriptRoot::new([7; 32]),
        artifact_hash: now.version.artifact_hash,
        runtime_version: 1,
        fuel: 1,
        covered_seconds: 0,
    }
}
