use std::sync::Arc;

use daee_chain::{Account, Chain, Contracts, NetworkParams, deploy_contracts};
use daee_devnet::{Devnet, DevnetConfig};
use daee_http::{Client, Limits, Roots};
use daee_signer::Key;
use daee_types::{Address, Sign as _, TokenAmount, keccak256};
use serde_json::{Value, json};

/// Keys that have ether and TALOS from the start.
const KEYS: usize = 8;
/// What each of them has, of either.
const FUNDS_TALOS: u64 = 1_000_000;

/// A chain of its own for a test: a real EVM in the process, the contracts with their development
/// parameters, and eight funded keys.
#[derive(Debug)]
pub struct TestChain {
    devnet: Devnet,
    contracts: Contracts,
    keys: Vec<Arc<Key>>,
}

impl TestChain {
    /// Starts one on a port of this machine that is free.
    pub async fn start() -> Self {
        Self::with(&NetworkParams::dev()).await
    }

    /// The same with other parameters.
    pub async fn with(params: &NetworkParams) -> Self {
        let keys: Vec<Arc<Key>> = (0..KEYS).map(|number| Arc::new(key(number))).collect();
        let funds = TokenAmount::talos(FUNDS_TALOS);
        let accounts = keys.iter().map(|key| (key.address(), funds)).collect();
        let config = DevnetConfig { accounts, ..DevnetConfig::default() };
        let listen = "127.0.0.1:0".parse().expect("an address");
        let devnet = Devnet::start(listen, config).await.expect("a free port");
        // The deployer of the contracts is none of the keys that tests use, so that no test pauses them.
        let founder = Arc::new(key(KEYS));
        let this = Self { devnet, contracts: nowhere(), keys };
        this.ask("anvil_setBalance", json!([founder.address(), "0xde0b6b3a7640000"])).await;
        let contracts = deploy_contracts(&this.url(), founder.clone(), params).await;
        let this = Self { contracts: contracts.expect("the contracts deploy"), ..this };
        let founder = this.chain().await.account(founder);
        for key in &this.keys {
            founder.transfer(key.address(), funds).await.expect("the founder has all of it");
        }
        this
    }

    /// Where its JSON-RPC is.
    pub fn url(&self) -> String {
        self.devnet.url()
    }

    /// Where its contracts are.
    pub fn contracts(&self) -> Contracts {
        self.contracts
    }

    /// A client of it.
    pub async fn chain(&self) -> Chain {
        Chain::connect(&[self.url()], self.contracts).await.expect("the chain answers")
    }

    /// One of the funded keys, from 0 to 7. They are the same for every chain.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn key(&self, number: usize) -> Arc<Key> {
        self.keys[number].clone()
    }

    /// The account of such a key.
    pub async fn account(&self, number: usize) -> Account {
        self.chain().await.account(self.key(number))
    }

    /// Lets time pass and mines a block in the new time.
    pub async fn pass_seconds(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds])).await;
        self.ask("evm_mine", json!([])).await;
    }

    /// Any call of JSON-RPC, the controls of the devnet included.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let client = Client::new(&Roots::none()).expect("no roots are needed");
        let body = body.to_string().into();
        let answer = client.post(&self.url(), "application/json", body, &Limits::default()).await;
        let answer: Value =
            serde_json::from_slice(&answer.expect("it answers").body).expect("JSON");
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }
}

/// Reproducible and known to everybody: worth nothing anywhere else.
fn key(number: usize) -> Key {
    let secret = keccak256(format!("daee-testkit key {number}"));
    Key::from_hex(&hex::encode(secret)).expect("a hash is a key but once in 2^128")
}

/// Before anything is deployed.
fn nowhere() -> Contracts {
    let zero = Address::ZERO;
    Contracts { token: zero, registry: zero, manager: zero, outbox: zero, first_block: 0 }
}
