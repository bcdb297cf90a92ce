//! A client that speaks JSON-RPC over HTTP and signs with keys of its own.
#![allow(dead_code, reason = "each test file uses its part")]

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use daee_devnet::{BlockTime, Devnet, DevnetConfig};
use daee_http::{Client, Limits, Roots};
use daee_signer::Key;
use daee_types::{Address, Sign as _, TokenAmount};
use revm::primitives::{Bytes, TxKind, U256, alloy_primitives::Signature, hex};
use serde_json::{Value, json};

pub const CHAIN_ID: u64 = 31_337;
pub const NOBODY: Address = Address([0xbb; 20]);

pub struct Net {
    pub devnet: Devnet,
    pub alice: Key,
    client: Client,
}

/// What of a transaction a test has a word on.
#[derive(Clone, Default)]
pub struct Ask {
    pub nonce: u64,
    pub to: Option<Address>,
    pub value: u64,
    pub input: Vec<u8>,
    pub gas: Option<u64>,
    pub max_fee: Option<u128>,
    pub chain_id: Option<u64>,
}

impl Net {
    pub async fn start() -> Self {
        let alice = Key::generate();
        let config = config(&alice);
        Self::with(alice, config).await
    }

    pub async fn with(alice: Key, config: DevnetConfig) -> Self {
        let devnet = Devnet::start("127.0.0.1:0".parse().unwrap(), config).await.unwrap();
        Self { devnet, alice, client: Client::new(&Roots::none()).unwrap() }
    }

    pub async fn post(&self, body: impl Into<Vec<u8>>) -> (u16, Vec<u8>) {
        let body: Vec<u8> = body.into();
        let (url, limits) = (self.devnet.url(), Limits::default());
        let answer = self.client.post(&url, "application/json", body.into(), &limits);
        let answer = answer.await.unwrap();
        (answer.status.as_u16(), answer.body.to_vec())
    }

    pub async fn raw(&self, body: impl Into<Vec<u8>>) -> Value {
        let (status, body) = self.post(body).await;
        assert_eq!(status, 200);
        serde_json::from_slice(&body).unwrap()
    }

    /// The result, or the error.
    pub async fn ask(&self, method: &str, params: Value) -> Result<Value, Value> {
        let body = json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params});
        let mut answer = self.raw(body.to_string()).await;
        assert_eq!(answer["id"], 7);
        match answer.get("error") {
            Some(error) => Err(error.clone()),
            None => Ok(answer["result"].take()),
        }
    }

    pub async fn get(&self, method: &str, params: Value) -> Value {
        self.ask(method, params).await.unwrap()
    }

    pub async fn number(&self, method: &str, params: Value) -> u64 {
        number(&self.get(method, params).await)
    }

    pub async fn head(&self) -> Value {
        self.get("eth_getBlockByNumber", json!(["latest", false])).await
    }

    pub async fn send(&self, ask: Ask) -> Result<Value, Value> {
        self.ask("eth_sendRawTransaction", json!([sign(&self.alice, ask)])).await
    }

    /// Sends what must be mined at once.
    pub async fn mined(&self, ask: Ask) -> Value {
        let hash = self.send(ask).await.unwrap();
        self.get("eth_getTransactionReceipt", json!([hash])).await
    }

    pub async fn mine(&self, blocks: u64) {
        for _ in 0..blocks {
            self.get("evm_mine", json!([])).await;
        }
    }
}

pub fn config(alice: &Key) -> DevnetConfig {
    DevnetConfig {
        chain_id: CHAIN_ID,
        accounts: vec![(alice.address(), TokenAmount::talos(10_000))],
        block_time: BlockTime::OnDemand,
        file: None,
    }
}

pub fn sign(key: &Key, ask: Ask) -> Bytes {
    let tx = TxEip1559 {
        chain_id: ask.chain_id.unwrap_or(CHAIN_ID),
        nonce: ask.nonce,
        gas_limit: ask.gas.unwrap_or(3_000_000),
        max_fee_per_gas: ask.max_fee.unwrap_or(3_000_000_000),
        max_priority_fee_per_gas: 0,
        to: ask.to.map_or(TxKind::Create, |to| TxKind::Call(to.0.into())),
        value: U256::from(ask.value),
        input: ask.input.into(),
        ..TxEip1559::default()
    };
    let signature = key.sign(&tx.signature_hash().0).unwrap();
    let signature = Signature::from_raw(&signature.0).unwrap();
    TxEnvelope::from(tx.into_signed(signature)).encoded_2718().into()
}

/// The development token, all of which its deployer holds.
pub fn token(holder: Address, supply: u64) -> Vec<u8> {
    const ARTIFACT: &str = include_str!("../../../daee-chain/contracts/artifacts/TalosToken.json");
    let artifact: Value = serde_json::from_str(ARTIFACT).unwrap();
    let code = artifact["bytecode"].as_str().unwrap();
    let mut input = hex::decode(code).unwrap();
    input.extend(holder.to_word());
    input.extend(word(supply));
    input
}

/// A call of a function of two words, or one.
pub fn call(selector: [u8; 4], words: &[[u8; 32]]) -> Vec<u8> {
    [&selector[..], words.concat().as_slice()].concat()
}

pub fn word(number: u64) -> [u8; 32] {
    U256::from(number).to_be_bytes()
}

pub fn number(value: &Value) -> u64 {
    let text = value.as_str().unwrap_or_else(|| panic!("{value} is a quantity"));
    u64::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap()
}

pub fn message(answer: Result<Value, Value>) -> String {
    answer.unwrap_err()["message"].as_str().unwrap().to_owned()
}
