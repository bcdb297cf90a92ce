//! A chain of its own for each test: the devnet, or Anvil where `DAEE_ANVIL` names its executable. Time moves
//! with the wall clock and when a test says so; blocks come with transactions and when a test says so.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod proxy;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use daee_chain::{
    Account, Chain, Contracts, NetworkParams, Registration, Terms, deploy_contracts,
    register_consent_digest,
};
use daee_devnet::{BlockTime, Devnet, DevnetConfig};
use daee_http::{Client, Limits, Roots};
use daee_signer::Key;
use daee_types::{
    Address, ArtifactHash, BodyHash, ByteSize, DeploymentId, ManifestHash, MilliCpu, Rate,
    Resources, Sign as _, TokenAmount,
};
use serde_json::{Value, json};

pub const AGENT: &str = "talos.oracle.price-eth@v1.2.0";

pub struct Net {
    pub contracts: Contracts,
    pub founder: Arc<Key>,
    url: String,
    client: Client,
    _server: Server,
}

enum Server {
    Devnet { _it: Devnet },
    Anvil(Child),
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Server::Anvil(child) = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Net {
    pub async fn start() -> Self {
        let mut net = Self::bare(31_337).await;
        net.fund(net.founder.address()).await;
        let deployed = deploy_contracts(&net.url, net.founder.clone(), &NetworkParams::dev()).await;
        net.contracts = deployed.unwrap();
        net
    }

    /// Without contracts.
    pub async fn bare(chain_id: u64) -> Self {
        let (server, url) = match std::env::var("DAEE_ANVIL") {
            Ok(path) => anvil(&path, chain_id),
            Err(_) => {
                let config = DevnetConfig {
                    chain_id,
                    block_time: BlockTime::OnDemand,
                    ..DevnetConfig::default()
                };
                let devnet = Devnet::start("127.0.0.1:0".parse().unwrap(), config).await.unwrap();
                let url = devnet.url();
                (Server::Devnet { _it: devnet }, url)
            }
        };
        let nowhere = Address::ZERO;
        let contracts = Contracts {
            token: nowhere,
            registry: nowhere,
            manager: nowhere,
            outbox: nowhere,
            first_block: 0,
        };
        let client = Client::new(&Roots::none()).unwrap();
        Self { contracts, founder: Arc::new(Key::generate()), url, client, _server: server }
    }

    pub fn url(&self) -> String {
        self.url.clone()
    }

    pub async fn chain(&self) -> Chain {
        self.chain_through(&[&self.url]).await
    }

    pub async fn chain_through(&self, urls: &[&str]) -> Chain {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        Chain::connect(&urls, self.contracts).await.unwrap()
    }

    /// A new key with ether and 100,000 TALOS.
    pub async fn key(&self) -> Arc<Key> {
        let key = Arc::new(Key::generate());
        self.fund(key.address()).await;
        let founder = self.chain().await.account(self.founder.clone());
        founder.transfer(key.address(), TokenAmount::talos(100_000)).await.unwrap();
        key
    }

    pub async fn account(&self) -> Account {
        let key = self.key().await;
        self.chain().await.account(key)
    }

    /// A node with a key of its own that stakes for itself.
    pub async fn node(&self) -> (Account, Arc<Key>) {
        let key = self.key().await;
        let account = self.chain().await.account(key.clone());
        account.register(&self.registration(&key, account.address()).await).await.unwrap();
        (account, key)
    }

    pub async fn registration(&self, operator: &Key, owner: Address) -> Registration {
        let chain_id = self.chain().await.domain().chain_id;
        let registry = self.contracts.registry;
        let digest = register_consent_digest(registry, chain_id, operator.address(), owner);
        Registration {
            operator: operator.address(),
            capacity: Resources { cpu: MilliCpu(4000), memory: ByteSize::gib(8), gpu: 0 },
            anchor_interval_seconds: 10,
            endpoint: "http://node.example:8043".into(),
            stake: TokenAmount::talos(50_000),
            consent: operator.sign(&digest).unwrap(),
        }
    }

    pub async fn fund(&self, account: Address) {
        self.ask("anvil_setBalance", json!([account, "0x3635c9adc5dea00000"])).await;
    }

    pub async fn pass(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds])).await;
        self.mine().await;
    }

    pub async fn mine(&self) {
        self.ask("evm_mine", json!([])).await;
    }

    pub async fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let body = body.to_string().into();
        let limits = Limits::default();
        let answer = self.client.post(&self.url, "application/json", body, &limits);
        let answer: Value = serde_json::from_slice(&answer.await.unwrap().body).unwrap();
        assert!(answer.get("error").is_none(), "{method}: {}", answer["error"]);
        answer["result"].clone()
    }

    /// How many transactions of an account are mined.
    pub async fn mined(&self, account: Address) -> u64 {
        let count = self.ask("eth_getTransactionCount", json!([account, "latest"])).await;
        u64::from_str_radix(&count.as_str().unwrap()[2..], 16).unwrap()
    }
}

pub fn artifact() -> ArtifactHash {
    ArtifactHash::of(b"\0asm\x01\0\0\0")
}

pub fn body() -> BodyHash {
    BodyHash::of(b"{}")
}

pub fn manifest() -> ManifestHash {
    ManifestHash::of(&artifact(), &body())
}

/// The CID of one raw block.
pub fn cid(hash: &ArtifactHash) -> Vec<u8> {
    [&[0x01, 0x55, 0x12, 0x20], &hash.as_bytes()[..]].concat()
}

pub fn terms() -> Terms {
    Terms {
        resources: Resources { cpu: MilliCpu(250), memory: ByteSize::mib(256), gpu: 0 },
        policy: 0,
        tier: 0,
        artifact_bytes: 1000,
        bid_window: 20,
        start_window: 100,
        interval: 10,
        grace: 20,
        open_window: 30,
        rate_max: Rate(1_000_000_000_000_000),
    }
}

pub async fn deploy(tenant: &Account) -> DeploymentId {
    let hash = artifact();
    let payment = TokenAmount::talos(100);
    let deployed = tenant.deploy(AGENT, &cid(&hash), hash, body(), &terms(), payment).await;
    deployed.unwrap().0
}

#[expect(clippy::disallowed_methods, reason = "the one place where tests start the judge")]
fn anvil(path: &str, chain_id: u64) -> (Server, String) {
    let mut child = Command::new(path)
        .args(["--port", "0", "--host", "127.0.0.1", "--chain-id", &chain_id.to_string()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(address) = line.strip_prefix("Listening on ") {
            break address.to_owned();
        }
    };
    // Read on, so that it never waits for a reader.
    std::thread::spawn(move || lines.for_each(drop));
    (Server::Anvil(child), format!("http://{address}"))
}
