//! A call is done once or not at all, whatever becomes of connections, processes and rivals.

mod kit;

use std::sync::Arc;

use daee_chain::{Account, Chain, ChainError};
use daee_types::{Address, Coded as _, Fault, Sign as _, TokenAmount};
use futures_util::future::join_all;
use kit::{
    Net,
    proxy::{Fate, Proxy},
};
use tokio::sync::Notify;

const SEND: &str = "eth_sendRawTransaction";
const NOBODY: Address = Address([0xbb; 20]);

#[tokio::test]
async fn calls_at_the_same_time_take_a_place_each() {
    let net = Net::start().await;
    let (one, other) = (net.account().await, net.account().await);
    let sends = (0..10).flat_map(|n| {
        let amount = TokenAmount(1 << n);
        [&one, &other].map(|account| account.transfer(NOBODY, amount))
    });
    let mined = join_all(sends).await;
    let mut hashes: Vec<_> = mined.into_iter().map(|mined| mined.unwrap().tx).collect();
    hashes.sort();
    hashes.dedup();
    assert_eq!(hashes.len(), 20);
    assert_eq!(balance(&net).await, 2 * 1023);
    assert_eq!(net.mined(one.address()).await, 10);
}

#[tokio::test]
async fn accounts_of_one_key_never_take_the_same_place() {
    let net = Net::start().await;
    let (chain, key) = (net.chain().await, net.key().await);
    let accounts: Vec<Account> = (0..6).map(|_| chain.account(key.clone())).collect();
    let sends = accounts.iter().map(|account| account.transfer(NOBODY, TokenAmount(1)));
    for mined in join_all(sends).await {
        mined.unwrap();
    }
    assert_eq!(balance(&net).await, 6);
}

#[tokio::test]
async fn two_payments_never_share_an_approval() {
    let net = Net::start().await;
    let tenant = net.account().await;
    let ids = join_all((0..4).map(|_| kit::deploy(&tenant))).await;
    assert_eq!(ids.len(), 4);
    let left = net.chain().await.balance(tenant.address()).await.unwrap();
    assert_eq!(left, TokenAmount::talos(100_000 - 400));
}

#[tokio::test]
async fn an_answer_that_is_lost_is_asked_for_again() {
    let net = Net::start().await;
    let (proxy, account) = through_proxy(&net).await;
    proxy.next(SEND, [Fate::LoseAnswer]);
    account.transfer(NOBODY, TokenAmount(1)).await.unwrap();
    proxy.next(SEND, [Fate::LoseRequest, Fate::LoseRequest, Fate::LoseAnswer]);
    account.transfer(NOBODY, TokenAmount(2)).await.unwrap();
    proxy.next("eth_getTransactionReceipt", [Fate::LoseAnswer, Fate::LoseRequest]);
    account.transfer(NOBODY, TokenAmount(4)).await.unwrap();
    assert_eq!(balance(&net).await, 7);
    assert_eq!(net.mined(account.address()).await, 3);
}

#[tokio::test]
async fn an_endpoint_that_forgets_a_transaction_gets_it_again() {
    let net = Net::start().await;
    let (proxy, account) = through_proxy(&net).await;
    proxy.next(SEND, [Fate::Pretend]);
    account.transfer(NOBODY, TokenAmount(1)).await.unwrap();
    assert_eq!(balance(&net).await, 1);
}

#[tokio::test]
async fn a_call_lost_after_it_was_mined_is_answered_by_itself() {
    let net = Net::start().await;
    let (proxy, account) = through_proxy(&net).await;
    proxy.down_from(SEND, Fate::LoseAnswer);
    let lost = lost(account.transfer(NOBODY, TokenAmount(1)).await);
    assert_eq!(balance(&net).await, 1);
    proxy.up();
    let again = account.transfer(NOBODY, TokenAmount(1)).await.unwrap();
    assert_eq!(again.tx, lost);
    assert_eq!(balance(&net).await, 1);
    // It was answered once; the same call after that is another one.
    account.transfer(NOBODY, TokenAmount(1)).await.unwrap();
    assert_eq!(balance(&net).await, 2);
}

#[tokio::test]
async fn what_comes_after_a_call_lost_before_the_chain_takes_its_place() {
    let net = Net::start().await;
    let (proxy, account) = through_proxy(&net).await;
    account.transfer(NOBODY, TokenAmount(1)).await.unwrap();
    proxy.down_from(SEND, Fate::LoseRequest);
    lost(account.transfer(NOBODY, TokenAmount(2)).await);
    proxy.up();
    account.transfer(NOBODY, TokenAmount(4)).await.unwrap();
    account.transfer(NOBODY, TokenAmount(8)).await.unwrap();
    assert_eq!(balance(&net).await, 13);
    assert_eq!(net.mined(account.address()).await, 3);
}

#[tokio::test]
async fn another_call_after_one_that_was_mined_unseen_goes_behind_it() {
    let net = Net::start().await;
    let (proxy, account) = through_proxy(&net).await;
    proxy.down_from(SEND, Fate::LoseAnswer);
    lost(account.transfer(NOBODY, TokenAmount(1)).await);
    proxy.up();
    account.transfer(NOBODY, TokenAmount(2)).await.unwrap();
    assert_eq!(balance(&net).await, 3);
}

#[tokio::test]
async fn calls_lost_together_are_each_answered_by_themselves() {
    let net = Net::start().await;
    let (proxy, account) = through_proxy(&net).await;
    let mut first = Vec::new();
    for n in 0..3 {
        proxy.down_from(SEND, Fate::LoseAnswer);
        first.push(lost(account.transfer(NOBODY, TokenAmount(1 << n)).await));
        proxy.up();
        // Finds the one before mined, and leaves it to whoever asks for it.
        account.transfer(NOBODY, TokenAmount(100)).await.unwrap();
    }
    let again = (0..3).rev().map(|n| account.transfer(NOBODY, TokenAmount(1 << n)));
    let again: Vec<_> = join_all(again).await.into_iter().map(|mined| mined.unwrap().tx).collect();
    first.reverse();
    assert_eq!(again, first);
    assert_eq!(balance(&net).await, 307);
}

#[tokio::test]
async fn of_two_calls_lost_at_one_place_only_the_one_that_was_mined_is_answered() {
    let net = Net::start().await;
    let (proxy, account) = through_proxy(&net).await;
    proxy.down_from(SEND, Fate::LoseRequest);
    lost(account.transfer(NOBODY, TokenAmount(1)).await);
    proxy.down_from(SEND, Fate::LoseAnswer);
    let second = lost(account.transfer(NOBODY, TokenAmount(2)).await);
    proxy.up();
    account.transfer(NOBODY, TokenAmount(1)).await.unwrap();
    assert_eq!(account.transfer(NOBODY, TokenAmount(2)).await.unwrap().tx, second);
    assert_eq!(balance(&net).await, 3);
}

#[tokio::test]
async fn the_same_call_much_later_is_another_one() {
    let net = Net::start().await;
    let (proxy, account) = through_proxy(&net).await;
    proxy.down_from(SEND, Fate::LoseAnswer);
    lost(account.transfer(NOBODY, TokenAmount(1)).await);
    proxy.up();
    net.pass(1000).await;
    account.transfer(NOBODY, TokenAmount(1)).await.unwrap();
    assert_eq!(balance(&net).await, 2);
}

#[tokio::test]
async fn a_process_that_starts_again_goes_on_behind_the_last_call() {
    let net = Net::start().await;
    let key = net.key().await;
    let proxy = Proxy::before(&net.url()).await;
    let account = net.chain_through(&[proxy.url()]).await.account(key.clone());
    account.transfer(NOBODY, TokenAmount(1)).await.unwrap();
    proxy.down_from(SEND, Fate::LoseAnswer);
    lost(account.transfer(NOBODY, TokenAmount(2)).await);
    drop(account);

    let account = net.chain().await.account(key);
    account.transfer(NOBODY, TokenAmount(4)).await.unwrap();
    assert_eq!(balance(&net).await, 7);
}

#[tokio::test]
async fn a_place_that_another_program_took_is_not_waited_for() {
    let net = Net::start().await;
    let key = net.key().await;
    // Two processes of one key, which do not know of each other.
    let (one, other) = (net.chain().await.account(key.clone()), net.chain().await.account(key));
    for n in 0..3 {
        one.transfer(NOBODY, TokenAmount(1 << n)).await.unwrap();
        other.transfer(NOBODY, TokenAmount(8 << n)).await.unwrap();
    }
    assert_eq!(balance(&net).await, 63);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_no_gap() {
    let net = Net::start().await;
    let (proxy, account) = through_proxy(&net).await;
    let (waiting, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    proxy.next(SEND, [Fate::Hold(waiting.clone(), go.clone())]);
    let gone = account.clone();
    let task = tokio::spawn(async move { gone.transfer(NOBODY, TokenAmount(1)).await });
    waiting.notified().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    // What was left behind never reaches the chain: the proxy still holds it.
    account.transfer(NOBODY, TokenAmount(2)).await.unwrap();
    account.transfer(NOBODY, TokenAmount(4)).await.unwrap();
    assert_eq!(balance(&net).await, 6);
    go.notify_one();
    account.transfer(NOBODY, TokenAmount(8)).await.unwrap();
    assert_eq!(balance(&net).await, 14);
    assert_eq!(net.mined(account.address()).await, 3);
}

#[tokio::test]
async fn an_endpoint_that_fails_is_left_for_the_next() {
    let net = Net::start().await;
    let key = net.key().await;
    let proxy = Proxy::before(&net.url()).await;
    let dead = "http://127.0.0.1:1";
    let chain = net.chain_through(&[dead, proxy.url(), &net.url()]).await;
    let account = chain.account(key);
    account.transfer(NOBODY, TokenAmount(1)).await.unwrap();
    // In the middle of a call: the chain has it from one endpoint, and the other is asked about it.
    proxy.down_from(SEND, Fate::LoseAnswer);
    account.transfer(NOBODY, TokenAmount(2)).await.unwrap();
    assert_eq!(balance(&net).await, 3);
    assert_eq!(net.mined(account.address()).await, 2);
}

#[tokio::test]
async fn endpoints_of_two_chains_are_refused() {
    let (net, other) = (Net::start().await, Net::bare(7).await);
    let error = Chain::connect(&[net.url(), other.url()], net.contracts).await.err().unwrap();
    assert!(
        matches!(error, ChainError::WrongChain { expected: 31_337, found: 7, .. }),
        "{error:?}"
    );
    assert_eq!((error.code(), error.fault()), ("DAEE-C005", Fault::Node));

    // One that was silent at first is asked before it is used.
    let proxy = Proxy::before(&other.url()).await;
    proxy.judge(|_| Fate::LoseRequest);
    let first = Proxy::before(&net.url()).await;
    let chain = net.chain_through(&[first.url(), proxy.url()]).await;
    proxy.up();
    first.judge(|_| Fate::LoseRequest);
    let error = chain.head().await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable(_)), "{error:?}");
}

#[tokio::test]
async fn a_chain_that_nobody_serves_is_a_network_fault() {
    for urls in [&["http://127.0.0.1:1".to_owned()][..], &[]] {
        let contracts = Net::bare(1).await.contracts;
        let error = Chain::connect(urls, contracts).await.err().unwrap();
        assert_eq!((error.code(), error.fault()), ("DAEE-C002", Fault::Network), "{error:?}");
    }
    for url in ["", "localhost:8545", "ws://127.0.0.1:1", "file:///etc/passwd"] {
        let contracts = Net::bare(1).await.contracts;
        let error = Chain::connect(&[url.to_owned()], contracts).await.err().unwrap();
        assert_eq!(error.code(), "DAEE-C010", "{url}: {error:?}");
    }
}

async fn through_proxy(net: &Net) -> (Proxy, Account) {
    let key = net.key().await;
    assert_eq!(net.mined(key.address()).await, 0);
    let proxy = Proxy::before(&net.url()).await;
    let account = net.chain_through(&[proxy.url()]).await.account(key);
    (proxy, account)
}

fn lost<T: std::fmt::Debug>(result: Result<T, ChainError>) -> daee_types::TxHash {
    match result {
        Err(ChainError::Lost { tx, .. }) => tx,
        other => panic!("{other:?}"),
    }
}

async fn balance(net: &Net) -> u128 {
    net.chain().await.balance(NOBODY).await.unwrap().0
}
