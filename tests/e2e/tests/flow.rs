//! TIP-0042's flow step by step, as whoever is outside sees it: on the chain in the process, and on Anvil.

mod kit;

use std::{collections::BTreeSet, time::Duration};

use daee_chain::{EventKind, Phase, PriceReader};
use daee_types::{TokenAmount, sha256};

use kit::{Network, until};

const SOON: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn the_oracle_is_deployed_bid_on_run_paid_updated_and_stopped() {
    let network = Network::start(&[]).await;
    the_flow(&network).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_flow_runs_on_anvil() {
    if let Some(network) = Network::start_on_anvil(&[]).await {
        the_flow(&network).await;
    }
}

async fn the_flow(network: &Network) {
    let id = network.oracle();
    let endpoint = network.ready.endpoint.clone().expect("dev prints the endpoint");
    let payment = TokenAmount::talos(1_000);

    // Steps 1 to 4: paid for, bid on by all three, assigned to the cheapest.
    let events = network.events_of(id).await;
    let Some(EventKind::Deployed { payment: paid_in, artifact_hash, .. }) = events.first() else {
        panic!("the first event is not the deployment: {events:?}");
    };
    assert_eq!(*paid_in, payment);
    let bids: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            EventKind::BidPlaced { node, rate, .. } => Some((*node, *rate)),
            _ => None,
        })
        .collect();
    let bidders: BTreeSet<_> = bids.iter().map(|(node, _)| *node).collect();
    assert_eq!(bidders.len(), 3, "all three nodes bid: {bids:?}");
    assert!(bids.windows(2).all(|pair| pair[1].1 < pair[0].1), "each bid is lower: {bids:?}");
    let cheapest = network.ready.nodes.iter().min_by_key(|node| node.rate).expect("three nodes");
    let winner = network.node(network.deployment(id).await.lease.node).clone();
    assert_eq!(winner.account, cheapest.account);
    assert_eq!(network.deployment(id).await.lease.rate, cheapest.rate);

    // Step 5: the very bytes, by their CID, and on the winner's disk.
    let wasm = std::fs::read(network.dir().join("oracle/oracle.wasm")).expect("the artifact");
    assert_eq!(sha256(&wasm), *artifact_hash.as_bytes());
    let served = raw_block(network, &winner.api, &wasm).await;
    assert_eq!(served, wasm, "the node serves what it runs");
    let disk = network.dir().join(&winner.name);
    assert!(holds(&disk, &wasm), "the artifact lies whole on the winner's disk");

    // It runs: answers, and what it publishes is on chain.
    let (status, price) = network.get(&endpoint, "/price").await;
    assert_eq!(status, 200, "{price}");
    let topic = word(b"price-eth-usd");
    let published = until("a price on chain", SOON, async || {
        network.chain.latest(id, topic).await.ok().flatten().filter(|value| value.turn > 0)
    })
    .await;
    let cents = u128::from_be_bytes(published.data[16..].try_into().expect("one word")) / 1_000_000;
    assert!((312_741..313_241).contains(&cents), "published {cents} cents");
    // Another contract reads the same word.
    let (rpc, outbox) = (&network.ready.rpc, network.ready.contracts.outbox);
    let wallet = network.key("deployer");
    let reader = PriceReader::deploy(rpc, wallet, outbox, id, topic, 600).await;
    let read = reader.expect("it is deployed").price(&network.chain).await;
    let read = u128::from_be_bytes(read.expect("a fresh price")[16..].try_into().expect("a word"));
    assert!((312_741..313_241).contains(&(read / 1_000_000)), "another contract reads {read}");

    // Pay follows proven time, to the wei.
    until("pay", SOON, async || {
        (network.deployment(id).await.paid > TokenAmount::ZERO).then_some(())
    })
    .await;
    books_balance(network, winner.owner).await;

    // Status, logs, update, stop through the program that people use.
    let number = id.to_string();
    let (code, out, err) = network.deploy(&["status", &number, "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("\"running\""), "{out}");
    let (code, out, err) = network.deploy(&["logs", &number, "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.lines().count() > 0 && out.contains("\"seq\":0"), "{out}");
    let next = network.dir().join("oracle-next");
    let (code, out, err) =
        network.deploy(&["update", &number, &next.display().to_string(), "--json"]);
    assert_eq!(code, 0, "{out}{err}\n{}", network.logs());
    let after = network.deployment(id).await;
    let (status, version) = network.get(&endpoint, "/version").await;
    assert_eq!(status, 200, "the new version answers: {version}");
    let (status, history) = network.get(&endpoint, "/history").await;
    assert_eq!(status, 200, "{history}");
    until("the new version is opened on chain", SOON, async || {
        (network.deployment(id).await.version.number == 2).then_some(())
    })
    .await;
    assert_eq!(after.lease.epoch, network.deployment(id).await.lease.epoch, "the lease goes on");

    let deployer = network.deployer();
    let owed = network.chain.claimable(deployer.address()).await.expect("an answer");
    let (code, out, err) = network.deploy(&["stop", &number, "--json"]);
    assert_eq!(code, 0, "{out}{err}\n{}", network.logs());
    let over = network.deployment(id).await;
    assert_eq!(over.phase, Phase::Closed);
    assert_eq!(over.balance, TokenAmount::ZERO);
    let refund = network.chain.claimable(deployer.address()).await.expect("an answer");
    let fees = burned(network).await;
    // What was paid in is what nodes got, what came back, and what was burned by size.
    assert_eq!(
        over.paid.0 + (refund.0 - owed.0) + fees.0,
        payment.0,
        "paid {}, refunded {refund}, burned {fees}",
        over.paid
    );
    books_balance(network, winner.owner).await;
    let (status, _) = network.get(&endpoint, "/price").await;
    assert_eq!(status, 503, "a stopped agent does not answer");
    let (code, out, err) = network.deploy(&["withdraw", "--json"]);
    assert_eq!(code, 0, "{out}{err}");
    let left = network.chain.claimable(deployer.address()).await.expect("an answer");
    assert_eq!(left, TokenAmount::ZERO);
}

/// The manager holds every escrow and every claim and nothing else.
async fn books_balance(network: &Network, owner: daee_types::Address) {
    // Two reads of a moving chain: the same twice means that nothing moved in between.
    let books = async || {
        let chain = &network.chain;
        let mut owed = 0;
        for account in network.ready.nodes.iter().map(|node| node.owner) {
            owed += chain.claimable(account).await.expect("an answer").0;
        }
        owed += chain.claimable(network.deployer().address()).await.expect("an answer").0;
        for id in 1..=chain.deployment_count().await.expect("an answer") {
            owed += network.deployment(daee_types::DeploymentId(id)).await.balance.0;
        }
        let held = chain.balance(network.ready.contracts.manager).await.expect("an answer").0;
        (owed, held)
    };
    let (owed, held) = until("books that stand still", SOON, async || {
        let (first, second) = (books().await, books().await);
        (first == second).then_some(first)
    })
    .await;
    assert_eq!(owed, held, "escrows and claims are what the manager holds (pay of {owner})");
}

/// What `deploy` and `update` burned: a fee for each byte of both artifacts.
async fn burned(network: &Network) -> TokenAmount {
    let bytes: usize = ["oracle/oracle.wasm", "oracle-next/oracle-v1.3.0.wasm"]
        .iter()
        .map(|file| std::fs::read(network.dir().join(file)).expect("an artifact").len())
        .sum();
    TokenAmount(bytes as u128 * daee_chain::NetworkParams::dev().fee_per_byte.0)
}

async fn raw_block(network: &Network, api: &str, bytes: &[u8]) -> Vec<u8> {
    let cid = daee_artifact::Cid::of(bytes);
    let call = daee_client::Call::get(&format!("/ipfs/{cid}?format=raw"));
    let answer = network.market.node(api).call(api, &call).await.expect("the gateway answers");
    assert_eq!(answer.status.as_u16(), 200);
    answer.body.to_vec()
}

/// Whether a file below a folder is exactly these bytes.
fn holds(folder: &std::path::Path, bytes: &[u8]) -> bool {
    std::fs::read_dir(folder).into_iter().flatten().flatten().any(|entry| {
        let path = entry.path();
        let same = || std::fs::read(&path).is_ok_and(|found| found == bytes);
        if path.is_dir() { holds(&path, bytes) } else { same() }
    })
}

fn word(text: &[u8]) -> [u8; 32] {
    let mut word = [0; 32];
    word[..text.len()].copy_from_slice(text);
    word
}
