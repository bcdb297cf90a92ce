//! What a client sees of the chain, over HTTP.

mod kit;

use daee_types::{Address, Sign as _};
use kit::{Ask, NOBODY, Net, call, message, number, sign, token, word};
use serde_json::{Value, json};

const TRANSFER: [u8; 4] = [0xa9, 0x05, 0x9c, 0xbb];
const BALANCE_OF: [u8; 4] = [0x70, 0xa0, 0x82, 0x31];
const TRANSFERRED: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";
/// Returns block number, hash of the block before, and time.
const WHERE_AM_I: &str = "0x435f5260014303406020524260405260605ff3";

fn payment(nonce: u64) -> Ask {
    Ask { nonce, to: Some(NOBODY), value: 5, gas: Some(21_000), ..Ask::default() }
}

async fn deployed(net: &Net) -> Address {
    let alice = net.alice.address();
    let receipt = net.mined(Ask { input: token(alice, 1000), ..Ask::default() }).await;
    assert_eq!(receipt["status"], "0x1");
    receipt["contractAddress"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_payment_is_mined_at_once_and_seen_everywhere() {
    let net = Net::start().await;
    let hash = net.send(payment(0)).await.unwrap();
    assert_eq!(net.number("eth_blockNumber", json!([])).await, 1);
    assert_eq!(net.number("eth_getBalance", json!([NOBODY, "latest"])).await, 5);
    assert_eq!(net.number("eth_getTransactionCount", json!([net.alice.address()])).await, 1);

    let block = net.head().await;
    let receipt = net.get("eth_getTransactionReceipt", json!([hash])).await;
    assert_eq!(receipt["blockHash"], block["hash"]);
    assert_eq!(receipt["gasUsed"], "0x5208");
    assert_eq!(receipt["effectiveGasPrice"], block["baseFeePerGas"]);
    assert_eq!(block["transactions"], json!([hash]));
    let tx = net.get("eth_getTransactionByHash", json!([hash])).await;
    assert_eq!(tx["from"], json!(net.alice.address().to_string().to_lowercase()));
    assert_eq!(tx["blockHash"], block["hash"]);
    let full = net.get("eth_getBlockByHash", json!([block["hash"], true])).await;
    assert_eq!(full["transactions"], json!([tx]));
    assert_eq!(net.get("eth_getBlockReceipts", json!(["latest"])).await, json!([receipt]));
}

#[tokio::test]
async fn blocks_hold_on_to_each_other_by_the_hash_of_their_header() {
    let net = Net::start().await;
    net.mined(payment(0)).await;
    net.mine(2).await;
    let mut parent = Value::String(format!("0x{}", "00".repeat(32)));
    for at in 0..4 {
        let block = net.get("eth_getBlockByNumber", json!([format!("{at:#x}"), false])).await;
        assert_eq!(block["parentHash"], parent);
        let header: alloy_consensus::Header = serde_json::from_value(block.clone()).unwrap();
        assert_eq!(json!(header.hash_slow()), block["hash"]);
        parent = block["hash"].clone();
    }
}

#[tokio::test]
async fn our_token_is_deployed_and_moves_and_says_so() {
    let net = Net::start().await;
    let token = deployed(&net).await;
    let input = call(TRANSFER, &[NOBODY.to_word(), word(30)]);
    let receipt = net.mined(Ask { nonce: 1, to: Some(token), input, ..Ask::default() }).await;
    assert_eq!(receipt["status"], "0x1");
    assert_eq!(receipt["logs"][0]["topics"][0], TRANSFERRED);

    let input = format!("0x{}", hex(&call(BALANCE_OF, &[NOBODY.to_word()])));
    let asked = json!({"to": token, "input": input});
    assert_eq!(
        net.get("eth_call", json!([asked, "latest"])).await,
        json!(format!("0x{}", hex(&word(30))))
    );
    // Before the transfer the same question had another answer, and still has.
    assert_eq!(
        net.get("eth_call", json!([asked, "0x1"])).await,
        json!(format!("0x{}", hex(&word(0))))
    );
    let by_hash = net.get("eth_getBlockByNumber", json!(["0x1", false])).await["hash"].clone();
    assert_eq!(
        net.get("eth_call", json!([asked, {"blockHash": by_hash}])).await,
        json!(format!("0x{}", hex(&word(0))))
    );
    assert_eq!(net.get("eth_getCode", json!([token, "0x0"])).await, "0x");
    assert_ne!(net.get("eth_getCode", json!([token, "0x1"])).await, "0x");
}

#[tokio::test]
async fn logs_are_found_by_place_address_and_topics() {
    let net = Net::start().await;
    let token = deployed(&net).await;
    for nonce in 1..4 {
        let input = call(TRANSFER, &[NOBODY.to_word(), word(nonce)]);
        net.mined(Ask { nonce, to: Some(token), input, ..Ask::default() }).await;
    }
    let nobody = format!("0x{}", hex(&NOBODY.to_word()));
    let other = format!("0x{}", "11".repeat(32));
    let hash = net.head().await["hash"].clone();
    let all = json!({"fromBlock": "0x0"});
    let cases = [
        (all, 4),
        (json!({}), 1),
        (json!({"fromBlock": "earliest", "toBlock": "0x1"}), 1),
        (json!({"fromBlock": "0x0", "address": token}), 4),
        (json!({"fromBlock": "0x0", "address": [NOBODY, token]}), 4),
        (json!({"fromBlock": "0x0", "address": NOBODY}), 0),
        (json!({"fromBlock": "0x0", "topics": [TRANSFERRED]}), 4),
        (json!({"fromBlock": "0x0", "topics": [null, null, nobody]}), 3),
        (json!({"fromBlock": "0x0", "topics": [[other, TRANSFERRED], [], [other, nobody]]}), 3),
        (json!({"fromBlock": "0x0", "topics": [null, null, other]}), 0),
        (json!({"fromBlock": "0x0", "topics": [null, null, null, null]}), 0),
        (json!({"blockHash": hash}), 1),
        (json!({"fromBlock": "0x64", "toBlock": "0x65"}), 0),
    ];
    for (filter, found) in cases {
        let logs = net.get("eth_getLogs", json!([filter])).await;
        assert_eq!(logs.as_array().unwrap().len(), found, "{filter}");
    }
    let wrong = [
        json!({"fromBlock": "0x2", "toBlock": "0x1"}),
        json!({"blockHash": hash, "fromBlock": "0x1"}),
        json!({"blockHash": other}),
        json!({"topics": [null, null, null, null, null]}),
        json!({"fromBlock": "0x0", "adress": token}),
    ];
    for filter in wrong {
        assert!(net.ask("eth_getLogs", json!([filter])).await.is_err(), "{filter}");
    }
}

#[tokio::test]
async fn a_revert_comes_back_with_its_data() {
    let net = Net::start().await;
    let token = deployed(&net).await;
    let input = call(TRANSFER, &[NOBODY.to_word(), word(1001)]);
    let asked =
        json!({"from": net.alice.address(), "to": token, "input": format!("0x{}", hex(&input))});
    for method in ["eth_call", "eth_estimateGas"] {
        let error = net.ask(method, json!([asked])).await.unwrap_err();
        assert_eq!(error["code"], 3, "{method}");
        assert_eq!(error["message"], "execution reverted");
        // ERC20InsufficientBalance(address,uint256,uint256)
        assert!(error["data"].as_str().unwrap().starts_with("0xe450d38c"), "{error}");
    }
    let receipt = net.mined(Ask { nonce: 1, to: Some(token), input, ..Ask::default() }).await;
    assert_eq!(receipt["status"], "0x0");
    assert_eq!(receipt["logs"], json!([]));
    assert_eq!(net.number("eth_getTransactionCount", json!([net.alice.address()])).await, 2);
}

#[tokio::test]
async fn a_text_is_part_of_the_message_of_a_revert() {
    let net = Net::start().await;
    // Four stores into memory and a REVERT with Error("no").
    let initcode = "0x6308c379a060e01b5f5260206004526002602452616e6f60f01b60445260645ffd";
    let error = net.ask("eth_call", json!([{"input": initcode}])).await.unwrap_err();
    assert_eq!(error["message"], "execution reverted: no");
}

#[tokio::test]
async fn an_estimate_is_enough_and_not_much_more() {
    let net = Net::start().await;
    let alice = net.alice.address();
    let plain = json!({"from": alice, "to": NOBODY, "value": "0x1"});
    assert_eq!(net.get("eth_estimateGas", json!([plain])).await, "0x5208");

    let input = token(alice, 1000);
    let create = json!({"from": alice, "input": format!("0x{}", hex(&input))});
    let gas = net.number("eth_estimateGas", json!([create])).await;
    let receipt = net.mined(Ask { input, gas: Some(gas), ..Ask::default() }).await;
    assert_eq!(receipt["status"], "0x1");
    assert!(gas <= number(&receipt["gasUsed"]) * 102 / 100, "{gas} for {}", receipt["gasUsed"]);
}

#[tokio::test]
async fn a_transaction_that_cannot_be_mined_is_refused_in_the_words_of_geth() {
    let net = Net::start().await;
    net.mined(payment(0)).await;
    let cases = [
        (payment(0), "nonce too low: next nonce 1, tx nonce 0"),
        (payment(100), "nonce too high: next nonce 1, tx nonce 100"),
        (
            Ask { value: u64::MAX, max_fee: Some(u128::MAX >> 40), ..payment(1) },
            "insufficient funds for gas * price + value: ",
        ),
        (
            Ask { gas: Some(20_999), ..payment(1) },
            "intrinsic gas too low: gas 20999, minimum needed 21000",
        ),
        (Ask { gas: Some(16_777_217), ..payment(1) }, "transaction gas limit too high"),
        (Ask { max_fee: Some(1), ..payment(1) }, "max fee per gas less than block base fee: "),
        (Ask { chain_id: Some(1), ..payment(1) }, "invalid chain id for signer: have 1 want 31337"),
        (Ask { chain_id: Some(1), ..payment(2) }, "invalid chain id for signer: have 1 want 31337"),
    ];
    let before = net.head().await;
    for (ask, starts) in cases {
        let message = message(net.send(ask).await);
        assert!(message.starts_with(starts), "{message:?} is not {starts:?}");
    }
    for raw in ["0x", "0x00", "0xc0", "0x02", "0x02c0", "0x03f8", "0x7f"] {
        assert!(net.ask("eth_sendRawTransaction", json!([raw])).await.is_err(), "{raw}");
    }
    assert_eq!(net.head().await, before, "what was refused left nothing behind");
}

#[tokio::test]
async fn a_transaction_waits_for_those_before_it() {
    let net = Net::start().await;
    let alice = net.alice.address();
    let last = net.send(payment(2)).await.unwrap();
    let middle = net.send(payment(1)).await.unwrap();
    assert_eq!(message(net.send(payment(1)).await), "already known");
    assert_eq!(net.get("eth_getTransactionReceipt", json!([last])).await, Value::Null);
    let waiting = net.get("eth_getTransactionByHash", json!([middle])).await;
    assert_eq!(waiting["blockHash"], Value::Null);
    assert_eq!(net.number("eth_getTransactionCount", json!([alice, "pending"])).await, 0);

    net.mined(payment(0)).await;
    assert_eq!(net.number("eth_blockNumber", json!([])).await, 3);
    assert_eq!(net.number("eth_getTransactionCount", json!([alice, "latest"])).await, 3);
    assert_ne!(net.get("eth_getTransactionReceipt", json!([last])).await, Value::Null);
}

#[tokio::test]
async fn the_hash_of_the_block_before_is_known_to_contracts() {
    let net = Net::start().await;
    net.mine(300).await;
    for (tag, at) in [("latest", 300), ("pending", 301), ("0x80", 128)] {
        let answer = net.get("eth_call", json!([{"input": WHERE_AM_I}, tag])).await;
        let words = answer.as_str().unwrap().to_owned();
        let before = format!("{:#x}", at - 1);
        let before = net.get("eth_getBlockByNumber", json!([before, false])).await;
        assert_eq!(words[2..66], hex(&word(at)), "{tag}");
        assert_eq!(format!("0x{}", &words[66..130]), before["hash"], "{tag}");
    }
}

#[tokio::test]
async fn time_goes_where_it_is_told_and_never_back() {
    let net = Net::start().await;
    let start = number(&net.head().await["timestamp"]);
    assert_eq!(net.get("evm_increaseTime", json!([1000])).await, 1000);
    let answer = net.get("eth_call", json!([{"input": WHERE_AM_I}, "latest"])).await;
    let now = u64::from_str_radix(&answer.as_str().unwrap()[130..], 16).unwrap();
    assert!(now >= start + 1000, "a call sees the time that the next block would have");
    net.mine(1).await;
    assert!(number(&net.head().await["timestamp"]) >= start + 1000);

    let far = start + 100_000;
    net.get("evm_setNextBlockTimestamp", json!([far])).await;
    net.mine(1).await;
    assert_eq!(number(&net.head().await["timestamp"]), far);
    net.mine(1).await;
    assert!(number(&net.head().await["timestamp"]) >= far);
    assert!(net.ask("evm_setNextBlockTimestamp", json!([far - 1])).await.is_err());
    assert!(net.ask("evm_increaseTime", json!(["0xffffffffffffffff"])).await.is_err());
    assert!(net.ask("evm_increaseTime", json!([-1])).await.is_err());

    net.get("evm_mine", json!([far + 5000])).await;
    assert_eq!(number(&net.head().await["timestamp"]), far + 5000);
}

#[tokio::test]
async fn a_reorganisation_leaves_nothing_of_what_it_dropped() {
    let net = Net::start().await;
    let kept = net.mined(payment(0)).await;
    let dropped = net.send(payment(1)).await.unwrap();
    net.mine(1).await;
    let old = net.head().await;
    assert!(net.ask("anvil_reorg", json!([4, []])).await.is_err());
    assert_eq!(net.head().await, old);

    net.get("anvil_reorg", json!([2, []])).await;
    let new = net.head().await;
    assert_eq!(new["number"], old["number"]);
    assert_ne!(new["hash"], old["hash"]);
    assert_eq!(new["timestamp"], old["timestamp"]);
    assert_eq!(net.get("eth_getBlockByHash", json!([old["hash"], false])).await, Value::Null);
    assert_eq!(net.get("eth_getTransactionReceipt", json!([dropped])).await, Value::Null);
    assert_eq!(net.get("eth_getTransactionByHash", json!([dropped])).await, Value::Null);
    assert_eq!(net.get("eth_getTransactionReceipt", json!([kept["transactionHash"]])).await, kept);
    assert_eq!(net.number("eth_getBalance", json!([NOBODY, "latest"])).await, 5);
    assert_eq!(net.number("eth_getTransactionCount", json!([net.alice.address()])).await, 1);

    // The same transaction may come back, here or in another place.
    let raw = sign(&net.alice, payment(1));
    net.get("anvil_reorg", json!([{"depth": 2, "txBlockPairs": [[raw, 1]]}])).await;
    let receipt = net.get("eth_getTransactionReceipt", json!([dropped])).await;
    assert_eq!(receipt["blockNumber"], "0x3");
    assert_eq!(net.number("eth_getBalance", json!([NOBODY, "latest"])).await, 10);

    // One that cannot be mined leaves everything as it was.
    let before = net.head().await;
    let wrong = sign(&net.alice, payment(9));
    assert!(net.ask("anvil_reorg", json!([1, [[wrong, 0]]])).await.is_err());
    assert_eq!(net.head().await, before);
    assert_eq!(net.number("eth_getBalance", json!([NOBODY, "latest"])).await, 10);
}

#[tokio::test]
async fn a_snapshot_is_gone_back_to_once() {
    let net = Net::start().await;
    net.mined(payment(0)).await;
    let before = net.head().await;
    let id = net.get("evm_snapshot", json!([])).await;
    net.mined(payment(1)).await;
    let later = net.get("evm_snapshot", json!([])).await;
    net.get("anvil_reorg", json!([2, []])).await;

    assert_eq!(net.get("evm_revert", json!([id])).await, true);
    assert_eq!(net.head().await, before);
    assert_eq!(net.number("eth_getBalance", json!([NOBODY, "latest"])).await, 5);
    assert_eq!(net.get("evm_revert", json!([id])).await, false);
    assert_eq!(net.get("evm_revert", json!([later])).await, false);
    assert_eq!(net.mined(payment(1)).await["status"], "0x1");
}

#[tokio::test]
async fn a_balance_that_is_set_does_not_change_the_past() {
    let net = Net::start().await;
    net.get("anvil_setBalance", json!([NOBODY, "0x7"])).await;
    assert_eq!(net.number("eth_getBalance", json!([NOBODY, "latest"])).await, 7);
    assert_eq!(net.number("eth_getBalance", json!([NOBODY, "0x0"])).await, 0);
    net.get("anvil_reorg", json!([1, []])).await;
    assert_eq!(net.number("eth_getBalance", json!([NOBODY, "latest"])).await, 0);
}

#[tokio::test]
async fn state_is_told_as_it_was_at_the_block_that_is_asked_for() {
    let net = Net::start().await;
    for nonce in 0..5 {
        net.mined(payment(nonce)).await;
    }
    for at in 0..=5 {
        let tag = format!("{at:#x}");
        assert_eq!(net.number("eth_getBalance", json!([NOBODY, tag])).await, at * 5);
        let alice = net.alice.address();
        assert_eq!(net.number("eth_getTransactionCount", json!([alice, tag])).await, at);
    }
    for method in ["eth_getBalance", "eth_getCode", "eth_getTransactionCount"] {
        assert!(net.ask(method, json!([NOBODY, "0x6"])).await.is_err(), "{method}");
        let unknown = json!({"blockHash": format!("0x{}", "22".repeat(32))});
        assert!(net.ask(method, json!([NOBODY, unknown])).await.is_err(), "{method}");
    }
}

#[tokio::test]
async fn prices_are_told_and_enough() {
    let net = Net::start().await;
    net.mined(payment(0)).await;
    net.mine(3).await;
    let history = net.get("eth_feeHistory", json!(["0xa", "latest", [20.0, 80.0]])).await;
    assert_eq!(history["oldestBlock"], "0x0");
    assert_eq!(history["baseFeePerGas"].as_array().unwrap().len(), 6);
    assert_eq!(history["gasUsedRatio"].as_array().unwrap().len(), 5);
    assert_eq!(history["reward"].as_array().unwrap().len(), 5);
    let price = net.number("eth_gasPrice", json!([])).await;
    let receipt = net.mined(Ask { max_fee: Some(price.into()), ..payment(1) }).await;
    assert_eq!(receipt["effectiveGasPrice"], history["baseFeePerGas"][5]);
    for wrong in [json!([1, "latest", [101]]), json!([1, "latest", [2, 1]]), json!([1, "0x99", []])]
    {
        assert!(net.ask("eth_feeHistory", wrong.clone()).await.is_err(), "{wrong}");
    }
}

fn hex(bytes: &[u8]) -> String {
    revm::primitives::hex::encode(bytes)
}
