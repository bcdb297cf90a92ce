//! What a node is believed, and what it is not.

mod kit;

use std::{sync::Arc, time::Duration};

use daee_client::{Call, ClientError, Market, NodeClient, NodeError};
use daee_http::{Client, Roots};
use daee_lifecycle::{LifecycleError, LogQuery, RecordingQuery};
use daee_signer::Key;
use daee_testkit::{BadGateway, Badness, TestChain, closed_port};
use daee_types::{Address, Coded as _, DeploymentId, Domain, Fault, Sign};

use kit::{Recorded, Takes, TestNode, line, network, package};

const ID: DeploymentId = DeploymentId(1);
const NODE: Address = Address([7; 20]);
const DOMAIN: Domain = Domain { chain_id: 31337, manager: Address([9; 20]) };

async fn node() -> TestNode {
    TestNode::start(NODE, DOMAIN).await
}

fn client(node: &TestNode) -> NodeClient {
    NodeClient::new(Client::new(&Roots::none()).unwrap(), &format!("{}/", node.url()))
}

fn signed_in(node: &TestNode, key: &Arc<Key>) -> NodeClient {
    client(node).signed_in(key.clone(), DOMAIN, NODE)
}

#[tokio::test]
async fn a_wallet_signs_in_once_and_each_request_passes_the_gate() {
    let (node, wallet) = (node().await, Arc::new(Key::generate()));
    let client = signed_in(&node, &wallet);
    for _ in 0..3 {
        let lines = client.logs(ID, LogQuery::default()).await.unwrap();
        assert_eq!(lines.len(), 5);
    }
    assert_eq!(node.say(|words| words.callers.clone()), vec![wallet.address(); 3]);
}

#[tokio::test]
async fn a_cursor_continues_behind_the_last_line() {
    let (node, wallet) = (node().await, Arc::new(Key::generate()));
    let client = signed_in(&node, &wallet);
    let query = LogQuery { after: Some(1), limit: 2, follow: true };
    assert_eq!(client.logs(ID, query).await.unwrap(), [line(2), line(3)]);
    let mut followed = client.follow(ID, Some(3)).await.unwrap();
    assert_eq!(followed.next().await.unwrap(), Some(line(4)));
    assert_eq!(followed.next().await.unwrap(), None);
}

#[tokio::test]
async fn a_recording_comes_in_parts_and_one_that_fails_is_asked_for_again() {
    let (node, wallet) = (node().await, Arc::new(Key::generate()));
    let bytes = node.say(|words| {
        words.recording.fails = 1;
        words.recording.bytes.clone()
    });
    let query = RecordingQuery { from: Some(1), to: Some(9) };
    let mut recording = signed_in(&node, &wallet).record(ID, query).await.unwrap();
    assert_eq!(recording.info().to, 9);
    let mut read = Vec::new();
    while let Some(part) = recording.next().await.unwrap() {
        read.extend(part);
        assert_eq!(recording.read(), read.len() as u64);
    }
    assert_eq!(read, bytes);
    assert_eq!(node.say(|words| words.recording.asked.clone()), [0, 0, 100, 200]);
    let error = client(&node).record(ID, query).await.err().unwrap();
    assert!(error.is(&LifecycleError::SignIn), "{error}");
}

#[tokio::test]
async fn a_recording_that_is_not_what_the_node_said_is_none() {
    let check = async |change: fn(&mut Recorded), says: &str| {
        let (node, wallet) = (node().await, Arc::new(Key::generate()));
        node.say(|words| change(&mut words.recording));
        let query = RecordingQuery::default();
        let mut recording = signed_in(&node, &wallet).record(ID, query).await.unwrap();
        let error = loop {
            match recording.next().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("it was believed"),
                Err(error) => break error,
            }
        };
        assert_eq!(error.code(), "DAEE-U022", "{error}");
        assert!(error.to_string().contains(says), "{error}");
    };
    check(|recording| recording.bytes[249] ^= 1, "not the one it named").await;
    check(|recording| recording.info.sha256 = [9; 32], "not the one it named").await;
    check(|recording| recording.info.bytes = 120, "20 are left").await;
    check(|recording| recording.info.bytes = 500, "0 bytes").await;
}

#[tokio::test]
async fn without_a_wallet_the_node_says_what_is_missing() {
    let node = node().await;
    let error = client(&node).logs(ID, LogQuery::default()).await.unwrap_err();
    assert!(error.is(&LifecycleError::SignIn), "{error}");
    assert!(error.to_string().contains("sign in with the wallet that deployed"), "{error}");
    assert_eq!(error.fault(), Fault::Developer);
}

#[tokio::test]
async fn what_was_signed_for_another_node_is_of_no_use_here() {
    let (node, wallet) = (node().await, Arc::new(Key::generate()));
    let elsewhere = client(&node).signed_in(wallet.clone(), DOMAIN, Address([8; 20]));
    let error = elsewhere.logs(ID, LogQuery::default()).await.unwrap_err();
    let NodeError::Refused { status: 401, body, .. } = error else { panic!("{error}") };
    assert_eq!(body.code, "DAEE-L021");
    assert!(node.say(|words| words.callers.is_empty()));
}

#[tokio::test]
async fn a_node_must_be_who_and_where_the_chain_says() {
    let (node, wallet) = (node().await, Arc::new(Key::generate()));
    assert_eq!(signed_in(&node, &wallet).info().await.unwrap().account, NODE);
    let check = async |domain, account, code: &str| {
        let client = client(&node).signed_in(wallet.clone(), domain, account);
        assert_eq!(client.info().await.unwrap_err().code(), code);
    };
    check(DOMAIN, Address([8; 20]), "DAEE-U023").await;
    check(Domain { chain_id: 1, ..DOMAIN }, NODE, "DAEE-U024").await;
    check(Domain { manager: NODE, ..DOMAIN }, NODE, "DAEE-U024").await;
}

#[tokio::test]
async fn an_answer_that_is_none_of_a_node_is_said_to_be_that() {
    let liar = BadGateway::start(Badness::Lies).await;
    let http = Client::new(&Roots::none()).unwrap();
    let check = async |url: &str, code: &str| {
        let error = NodeClient::new(http.clone(), url).status(ID).await.unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.to_string().contains(url), "{error}");
    };
    check(&liar.url(), "DAEE-U022").await;
    check(&format!("http://{}", closed_port().await), "DAEE-U020").await;
    check("ftp://x", "DAEE-U020").await;
}

#[tokio::test]
async fn an_agents_name_leads_to_this_machine_without_a_resolver() {
    let node = node().await;
    let endpoint = format!("http://acme-agent-7.localhost:{}/", node.port());
    let answer = client(&node).call(&endpoint, &Call::get("host")).await.unwrap();
    assert_eq!(answer.body, format!("acme-agent-7.localhost:{}", node.port()));
    let missing = client(&node).call(&endpoint, &Call::get("/nothing")).await.unwrap();
    assert_eq!(missing.status, 404, "what an agent answers is an answer");
}

#[tokio::test]
async fn a_private_agent_is_called_again_with_the_wallets_word() {
    let (node, wallet) = (node().await, Arc::new(Key::generate()));
    let endpoint = format!("http://acme-agent-7.localhost:{}/", node.port());
    let call = Call::get("/private?a=b");
    let without = client(&node).call(&endpoint, &call).await.unwrap();
    assert_eq!(without.status, 401);
    let with = signed_in(&node, &wallet).call(&endpoint, &call).await.unwrap();
    assert_eq!(with.body, wallet.address().to_string());
}

#[tokio::test]
async fn a_package_is_taken_where_the_cids_that_come_back_are_its_own() {
    let chain = TestChain::start().await;
    let package = package(1);
    let (good, liar, broken) = (node().await, node().await, node().await);
    liar.say(|words| words.takes = Takes::Other);
    broken.say(|words| words.takes = Takes::Fails);
    let down = format!("http://{}", closed_port().await);
    let market = Market::connect(network(&chain, Vec::new())).await.unwrap();

    let bad = [liar.url(), broken.url(), down];
    let all = [&[good.url()], &bad[..]].concat();
    let taken = market.publish(&package, &all).await.unwrap();
    assert_eq!(taken.nodes, [good.url()]);
    let codes: Vec<_> = taken.refused.iter().map(NodeError::code).collect();
    assert_eq!(codes, ["DAEE-U025", "DAEE-U022", "DAEE-U020"]);

    let error = market.publish(&package, &bad).await.unwrap_err();
    assert_eq!(error.code(), "DAEE-U035");
    let said = error.to_string();
    assert!(bad.iter().all(|url| said.contains(url)), "each is named with what it did: {said}");
    assert!(matches!(market.publish(&package, &[]).await, Err(ClientError::NoNodes)));
}

#[tokio::test]
async fn a_node_that_never_answers_costs_no_more_than_its_time() {
    let stalls = BadGateway::start(Badness::Stalls).await;
    let client = NodeClient::new(Client::new(&Roots::none()).unwrap(), &stalls.url());
    let asked = tokio::time::timeout(Duration::from_millis(200), client.info()).await;
    assert!(asked.is_err(), "it is still being waited for, and can be given up");
}
