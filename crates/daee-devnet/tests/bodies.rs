//! What bodies do that no honest client sends.

mod kit;

use kit::Net;
use serde_json::{Value, json};

#[tokio::test]
async fn what_is_no_request_gets_an_error_and_harms_nothing() {
    let net = Net::start().await;
    let deep = "[".repeat(100_000);
    let cases = [
        ("", -32700),
        ("{", -32700),
        ("\u{0}", -32700),
        (deep.as_str(), -32700),
        ("1", -32600),
        ("[]", -32600),
        (r#"{"id":1}"#, -32600),
        (r#"{"id":1,"method":7}"#, -32600),
        (r#"{"id":[1],"method":"eth_chainId"}"#, -32600),
        (r#"{"id":1,"method":"eth_chainId","params":{}}"#, -32602),
        (r#"{"id":1,"method":"eth_getBalance"}"#, -32602),
        (r#"{"id":1,"method":"eth_getBalance","params":["0x1"]}"#, -32602),
        (r#"{"id":1,"method":"eth_getBlockByNumber","params":["0xffffffffffffffffff"]}"#, -32602),
        (r#"{"id":1,"method":"eth_call","params":[{"gass":"0x1"}]}"#, -32602),
        (r#"{"id":1,"method":"eth_call","params":[{},"latest",{"0x00":{}}]}"#, -32602),
        (r#"{"id":1,"method":"evm_mine","params":[{"blocks":1000000}]}"#, -32005),
        (r#"{"id":1,"method":"eth_newFilter","params":[]}"#, -32601),
        (r#"{"id":1,"method":"anvil_impersonateAccount","params":[]}"#, -32601),
        (r#"{"id":1,"method":"eth_sendTransaction","params":[{}]}"#, -32601),
    ];
    for (body, code) in cases {
        let answer = net.raw(body).await;
        assert_eq!(answer["error"]["code"], code, "{answer} for {:.80}", body);
    }
    assert_eq!(net.get("eth_chainId", json!([])).await, "0x7a69");
}

#[tokio::test]
async fn a_batch_is_answered_in_order_and_a_notification_not_at_all() {
    let net = Net::start().await;
    let batch = json!([
        {"id": "a", "method": "eth_chainId"},
        {"method": "evm_mine"},
        {"id": null, "method": "nothing"},
        {"id": 2, "method": "eth_blockNumber", "params": []},
        5,
    ]);
    let answer = net.raw(batch.to_string()).await;
    assert_eq!(answer.as_array().unwrap().len(), 4);
    assert_eq!(answer[0], json!({"jsonrpc": "2.0", "id": "a", "result": "0x7a69"}));
    assert_eq!(answer[1]["error"]["code"], -32601);
    assert_eq!(answer[2]["result"], "0x1");
    assert_eq!(answer[3]["error"]["code"], -32600);
    assert_eq!(net.post(r#"{"method":"evm_mine"}"#).await, (200, Vec::new()));
}

#[tokio::test]
async fn what_is_too_much_is_refused() {
    let net = Net::start().await;
    let one = json!({"id": 1, "method": "eth_chainId"});
    let answer = net.raw(Value::from(vec![one; 257]).to_string()).await;
    assert_eq!(answer["error"]["code"], -32600);
    let (status, _) = net.post(vec![b' '; (4 << 20) + 1]).await;
    assert_eq!(status, 413);

    // A loop that never ends uses the gas of its call, and a batch of them that of the exchange.
    let endless = json!({"id": 1, "method": "eth_call", "params": [{"input": "0x5b5f56"}]});
    let answer = net.raw(Value::from(vec![endless; 100]).to_string()).await;
    let answer = answer.as_array().unwrap();
    assert!(answer[0]["error"]["message"].as_str().unwrap().starts_with("out of gas"));
    assert_eq!(answer[99]["error"]["code"], -32005);
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_send_without_asking() {
    let net = Net::start().await;
    let client = daee_http::Client::new(&daee_http::Roots::none()).unwrap();
    let mine = r#"{"id":1,"method":"evm_mine"}"#;
    let limits = daee_http::Limits::default();
    let answer = client.post(&net.devnet.url(), "text/plain", mine.into(), &limits).await.unwrap();
    assert_eq!(answer.status, 415);
    assert_eq!(net.get("eth_blockNumber", json!([])).await, "0x0");
}
