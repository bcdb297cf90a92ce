//! A chain that is kept in a file and goes on from there.

mod kit;

use std::{fs, io::Write as _, path::Path, time::Duration};

use daee_devnet::{BlockTime, Devnet, DevnetConfig};
use daee_signer::Key;
use daee_types::{Coded as _, Sign as _};
use kit::{Ask, NOBODY, Net, config, number, token};
use serde_json::{Value, json};

fn kept(alice: &Key, path: &Path) -> DevnetConfig {
    DevnetConfig { file: Some(path.to_owned()), ..config(alice) }
}

fn payment(nonce: u64) -> Ask {
    Ask { nonce, to: Some(NOBODY), value: 5, ..Ask::default() }
}

async fn again(net: Net, path: &Path) -> Net {
    let Net { devnet, alice, .. } = net;
    devnet.stop().await;
    let config = kept(&alice, path);
    Net::with(alice, config).await
}

/// All that a client can see of the chain.
async fn seen(net: &Net) -> Vec<Value> {
    let mut seen = Vec::new();
    for at in 0..=net.number("eth_blockNumber", json!([])).await {
        let tag = format!("{at:#x}");
        seen.push(net.get("eth_getBlockByNumber", json!([tag, true])).await);
        seen.push(net.get("eth_getBlockReceipts", json!([tag])).await);
        seen.push(net.get("eth_getBalance", json!([NOBODY, tag])).await);
    }
    seen
}

async fn refused(path: &Path, alice: &Key, code: &str) {
    let error = Devnet::start("127.0.0.1:0".parse().unwrap(), kept(alice, path)).await.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
}

#[tokio::test]
async fn a_chain_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain");
    let alice = Key::generate();
    let config = kept(&alice, &path);
    let net = Net::with(alice, config).await;
    let input = token(net.alice.address(), 1000);
    net.mined(Ask { input, ..Ask::default() }).await;
    let snapshot = net.get("evm_snapshot", json!([])).await;
    net.mined(payment(1)).await;
    net.get("evm_revert", json!([snapshot])).await;
    net.mined(payment(1)).await;
    net.get("anvil_setBalance", json!([NOBODY, "0x99"])).await;
    net.get("evm_increaseTime", json!([100_000])).await;
    net.mine(2).await;
    net.get("anvil_reorg", json!([1, []])).await;
    let before = seen(&net).await;

    let net = again(net, &path).await;
    assert_eq!(seen(&net).await, before);
    assert_eq!(net.mined(payment(2)).await["status"], "0x1");
    let head = number(&net.head().await["timestamp"]);
    assert!(head >= number(&before[0]["timestamp"]) + 100_000, "the clock stays ahead");

    let before = seen(&net).await;
    let net = again(net, &path).await;
    assert_eq!(seen(&net).await, before);
}

#[tokio::test]
async fn a_chain_that_mines_by_itself_lets_go_of_its_file_when_it_stops() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain");
    let alice = Key::generate();
    let config = DevnetConfig { block_time: BlockTime::EachSecond, ..kept(&alice, &path) };
    let net = Net::with(alice, config).await;
    while net.number("eth_blockNumber", json!([])).await == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let net = again(net, &path).await;
    assert_ne!(net.number("eth_blockNumber", json!([])).await, 0);
}

#[tokio::test]
async fn a_line_that_was_being_written_is_cut_off() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain");
    let alice = Key::generate();
    let config = kept(&alice, &path);
    let mut net = Net::with(alice, config).await;
    net.mined(payment(0)).await;
    for torn in ["{\"block\":{\"time\":12", "{", "\0\0\0\0"] {
        let before = seen(&net).await;
        fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap()
            .write_all(torn.as_bytes())
            .unwrap();
        net = again(net, &path).await;
        assert_eq!(seen(&net).await, before);
        net.mine(1).await;
    }
    let whole = fs::read_to_string(&path).unwrap();
    assert!(whole.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
    assert_eq!(whole.lines().count(), 1 + 1 + 3);
}

#[tokio::test]
async fn a_file_that_does_not_hold_this_chain_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chain");
    let alice = Key::generate();
    let config = kept(&alice, &path);
    let net = Net::with(alice, config).await;
    net.mined(payment(0)).await;
    refused(&path, &net.alice, "DAEE-B001").await;
    let Net { devnet, alice, .. } = net;
    devnet.stop().await;
    refused(&path, &Key::generate(), "DAEE-B002").await;

    let whole = fs::read_to_string(&path).unwrap();
    let hash = whole.find("\"hash\":\"0x").unwrap() + "\"hash\":\"0x".len();
    let digit = if whole[hash..].starts_with('0') { "1" } else { "0" };
    let mut other = whole.clone();
    other.replace_range(hash..=hash, digit);
    let lines: Vec<_> = whole.lines().collect();
    let damaged = [
        other,
        format!("{}\n", lines[1]),
        format!("{whole}{}\n", lines[0]),
        format!("{whole}{}\n", lines[1]),
        format!("{whole}\n"),
        "hello\n".to_owned(),
    ];
    for text in damaged {
        fs::write(&path, &text).unwrap();
        refused(&path, &alice, "DAEE-B003").await;
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "what is refused is not touched");
    }
    refused(dir.path(), &alice, "DAEE-B004").await;
    fs::write(&path, whole).unwrap();
    let config = kept(&alice, &path);
    Net::with(alice, config).await;
}
