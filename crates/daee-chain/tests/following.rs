//! Each event of the chain as it is comes once, over restarts, broken connections and reorganisations.

mod kit;

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use daee_chain::{Account, ChainError, ChainEvent, Cursor, EventKind, Follower, Step};
use daee_types::{DeploymentId, TokenAmount, TxHash};
use kit::{
    Net, deploy, manifest,
    proxy::{Fate, Proxy},
};
use serde_json::json;

#[tokio::test]
async fn every_event_comes_once_and_in_order() {
    let net = Net::start().await;
    let (tenant, (node, _)) = (net.account().await, net.node().await);
    let id = deploy(&tenant).await;
    node.bid(id, daee_types::Rate(1000), &manifest()).await.unwrap();
    tenant.top_up(id, TokenAmount(5)).await.unwrap();

    let mut seen = Seen::new(&net, None).await;
    seen.catch_up(&net).await;
    let kinds: Vec<_> = seen.events.iter().map(|event| name(&event.kind)).collect();
    assert_eq!(kinds, ["Registered", "Staked", "Deployed", "BidPlaced", "ToppedUp"]);
    let about: Vec<_> = seen.events.iter().map(ChainEvent::deployment).collect();
    assert_eq!(about, [None, None, Some(id), Some(id), Some(id)]);
    let EventKind::Deployed { owner, agent_id, artifact_cid, payment, .. } = &seen.events[2].kind
    else {
        panic!("{:?}", seen.events[2]);
    };
    assert_eq!((*owner, agent_id.as_str()), (tenant.address(), kit::AGENT));
    assert_eq!(*artifact_cid, kit::cid(&kit::artifact()));
    assert_eq!(*payment, TokenAmount::talos(100));
}

#[tokio::test]
async fn a_follower_that_starts_again_goes_on_where_its_cursor_stands() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let id = deploy(&tenant).await;
    let mut all = Vec::new();
    let mut stored: Option<Vec<u8>> = None;
    for round in 1..6_u32 {
        // A process that lives for one or two steps, then dies.
        let cursor = stored.as_deref().map(|bytes| Cursor::from_bytes(bytes).unwrap());
        let mut follower = follower(&net.chain().await, cursor);
        for _ in 0..round % 2 + 1 {
            top_up(&tenant, id, round.into()).await;
            let step = follower.next().await.unwrap();
            stored = Some(step.cursor.to_bytes());
            all.extend(step.events);
        }
        // Died before it stored this one, so that it comes again.
        top_up(&tenant, id, (10 * round).into()).await;
        follower.next().await.unwrap();
    }
    let mut seen = Seen::new(&net, stored.map(|bytes| Cursor::from_bytes(&bytes).unwrap())).await;
    seen.catch_up(&net).await;
    all.extend(seen.events);
    once(&all);
    let amounts = amounts(&all);
    assert_eq!(amounts, [1, 1, 10, 2, 20, 3, 3, 30, 4, 40, 5, 5, 50]);
}

#[tokio::test]
async fn a_cursor_at_the_head_sees_only_what_comes_after() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let id = deploy(&tenant).await;
    let head = net.chain().await.head().await.unwrap();
    let mut seen = Seen::new(&net, Some(Cursor::at(&head))).await;
    top_up(&tenant, id, 3).await;
    seen.catch_up(&net).await;
    assert_eq!(amounts(&seen.events), [3]);
}

#[tokio::test]
async fn connections_that_break_lose_and_repeat_nothing() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let id = deploy(&tenant).await;
    let proxy = Proxy::before(&net.url()).await;
    let chain = net.chain_through(&[proxy.url()]).await;
    let mut seen = Seen { follower: follower(&chain, None), cursor: None, events: Vec::new() };
    // Each third request breaks off, before or after the chain had its say.
    let asked = AtomicU64::new(0);
    proxy.judge(move |_| match asked.fetch_add(1, Relaxed) % 6 {
        2 => Fate::LoseRequest,
        5 => Fate::LoseAnswer,
        _ => Fate::Pass,
    });
    for n in 1..=10 {
        top_up(&tenant, id, n).await;
        seen.catch_up(&net).await;
    }
    // And an outage that outlasts every second try.
    proxy.judge(|_| Fate::LoseRequest);
    top_up(&tenant, id, 11).await;
    let error = seen.follower.next().await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable(_)), "{error:?}");
    proxy.up();
    seen.catch_up(&net).await;
    assert_eq!(amounts(&seen.events), (1..=11).collect::<Vec<_>>());
}

#[tokio::test]
async fn after_a_reorganisation_the_events_of_the_new_branch_come() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let id = deploy(&tenant).await;
    let mut seen = Seen::new(&net, None).await;
    top_up(&tenant, id, 1).await;
    seen.catch_up(&net).await;
    let kept = net.ask("evm_snapshot", json!([])).await;
    let fork = net.chain().await.head().await.unwrap();
    for n in [2, 3, 4] {
        top_up(&tenant, id, n).await;
    }
    seen.catch_up(&net).await;
    assert_eq!(amounts(&seen.events), [1, 2, 3, 4]);

    // Three blocks are gone, and others are there.
    net.ask("evm_revert", json!([kept])).await;
    for n in [7, 8, 9, 10] {
        top_up(&tenant, id, n).await;
    }
    let step = seen.step().await;
    assert!(step.reorged);
    assert_eq!((step.cursor.number, step.head), (fork.number, fork));
    assert!(!seen.catch_up(&net).await, "one reorganisation is told of once");
    once(&seen.events);
    assert_eq!(amounts(&seen.events), [1, 2, 3, 4, 7, 8, 9, 10]);
}

#[tokio::test]
async fn a_branch_that_is_still_shorter_is_noticed_as_soon_as_it_differs() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let id = deploy(&tenant).await;
    let mut seen = Seen::new(&net, None).await;
    let kept = net.ask("evm_snapshot", json!([])).await;
    for n in [1, 2, 3] {
        top_up(&tenant, id, n).await;
        seen.catch_up(&net).await;
    }
    net.ask("evm_revert", json!([kept])).await;
    top_up(&tenant, id, 9).await;
    assert!(seen.step().await.reorged);
    seen.catch_up(&net).await;
    assert_eq!(amounts(&seen.events), [1, 2, 3, 9]);
}

#[tokio::test]
async fn a_reorganisation_while_nobody_looked_is_found_at_the_next_start() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let id = deploy(&tenant).await;
    let kept = net.ask("evm_snapshot", json!([])).await;
    let mut seen = Seen::new(&net, None).await;
    seen.catch_up(&net).await;
    let mut cursor = None;
    for n in 1..=40 {
        top_up(&tenant, id, n).await;
        cursor = Some(seen.step().await.cursor);
    }
    net.ask("evm_revert", json!([kept])).await;
    for n in 101..=150 {
        top_up(&tenant, id, n).await;
    }
    let mut seen = Seen::new(&net, cursor).await;
    assert!(seen.step().await.reorged);
    seen.catch_up(&net).await;
    assert_eq!(amounts(&seen.events), (101..=150).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_chain_that_began_anew_is_followed_from_its_start() {
    let (net, other) = (Net::start().await, Net::start().await);
    let mut seen = Seen::new(&other, None).await;
    seen.catch_up(&other).await;
    let cursor = Cursor::at(&other.chain().await.head().await.unwrap());
    let tenant = net.account().await;
    let id = deploy(&tenant).await;
    top_up(&tenant, id, 6).await;
    let mut seen = Seen::new(&net, Some(cursor)).await;
    assert!(seen.step().await.reorged);
    seen.catch_up(&net).await;
    once(&seen.events);
    assert_eq!(amounts(&seen.events), [6]);
}

#[tokio::test]
async fn an_endpoint_that_wants_shorter_spans_gets_them() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let id = deploy(&tenant).await;
    let proxy = Proxy::before(&net.url()).await;
    proxy.judge(|request| {
        let number = |name: &str| {
            let text = request["params"][0][name].as_str().unwrap_or("0x0");
            u64::from_str_radix(&text[2..], 16).unwrap()
        };
        let spans =
            request["method"] == "eth_getLogs" && number("toBlock") - number("fromBlock") > 4;
        let error = r#"{"code":-32602,"message":"query exceeds max block range 5"}"#;
        if spans { Fate::Refuse(error) } else { Fate::Pass }
    });
    for n in 1..=30 {
        top_up(&tenant, id, n).await;
    }
    let chain = net.chain_through(&[proxy.url()]).await;
    let mut seen = Seen { follower: follower(&chain, None), cursor: None, events: Vec::new() };
    seen.catch_up(&net).await;
    assert_eq!(amounts(&seen.events), (1..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_endpoint_that_is_behind_is_not_taken_for_a_reorganisation() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let id = deploy(&tenant).await;
    let mut seen = Seen::new(&net, None).await;
    seen.catch_up(&net).await;
    for n in [1, 2, 3] {
        top_up(&tenant, id, n).await;
        seen.catch_up(&net).await;
    }
    let cursor = Cursor::at(&net.chain().await.head().await.unwrap());
    // Another endpoint of the same chain, which has not heard of the last two blocks.
    let head = cursor.number;
    let proxy = Proxy::before(&net.url()).await;
    proxy.judge(move |request| match request["method"] == "eth_getBlockByNumber" {
        true if request["params"][0] == "latest" => Fate::AskInstead(head - 2),
        true if request["params"][0] == json!(format!("0x{head:x}")) => Fate::AskInstead(head + 99),
        _ => Fate::Pass,
    });
    let chain = net.chain_through(&[proxy.url()]).await;
    let mut follower = follower(&chain, seen.cursor.clone());
    for _ in 0..3 {
        let looked = tokio::time::timeout(Duration::from_millis(50), follower.next()).await;
        assert!(looked.is_err(), "{looked:?}");
    }
    // Once it has, nothing was missed and nothing comes twice.
    proxy.up();
    top_up(&tenant, id, 4).await;
    let step = follower.next().await.unwrap();
    assert_eq!((step.reorged, amounts(&step.events)), (false, vec![4]));
}

struct Seen {
    follower: Follower,
    cursor: Option<Cursor>,
    events: Vec<ChainEvent>,
}

impl Seen {
    async fn new(net: &Net, cursor: Option<Cursor>) -> Self {
        Self { follower: follower(&net.chain().await, cursor), cursor: None, events: Vec::new() }
    }

    async fn step(&mut self) -> Step {
        let step = self.follower.next().await.unwrap();
        self.events.extend(step.events.iter().cloned());
        self.cursor = Some(step.cursor.clone());
        step
    }

    /// Steps until everything there is was seen; whether a reorganisation was told of on the way.
    async fn catch_up(&mut self, net: &Net) -> bool {
        let head = net.chain().await.head().await.unwrap();
        let mut reorged = false;
        loop {
            let step = self.step().await;
            reorged |= step.reorged;
            if step.cursor.number == head.number {
                assert_eq!(step.cursor.hash, head.hash);
                return reorged;
            }
        }
    }
}

fn follower(chain: &daee_chain::Chain, cursor: Option<Cursor>) -> Follower {
    chain.follow(cursor).poll_every(Duration::from_millis(5))
}

async fn top_up(tenant: &Account, id: DeploymentId, wei: u128) {
    tenant.top_up(id, TokenAmount(wei)).await.unwrap();
}

fn amounts(events: &[ChainEvent]) -> Vec<u128> {
    let amount = |event: &ChainEvent| match event.kind {
        EventKind::ToppedUp { amount, .. } => Some(amount.0),
        _ => None,
    };
    events.iter().filter_map(amount).collect()
}

fn once(events: &[ChainEvent]) {
    let places: BTreeSet<(u64, u64, TxHash)> =
        events.iter().map(|event| (event.block, event.index, event.tx)).collect();
    assert_eq!(places.len(), events.len(), "an event came twice: {events:#?}");
}

fn name(kind: &EventKind) -> String {
    let shown = format!("{kind:?}");
    shown.split(' ').next().unwrap_or_default().to_owned()
}
