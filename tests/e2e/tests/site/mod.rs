//! Nodes of one's own on a chain of one's own, for faults that a development network has no place for; and the
//! agents that run there.

#![allow(dead_code, reason = "each test file uses its part")]

#[path = "../../../../crates/daee-chain/tests/kit/proxy.rs"]
pub mod proxy;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use daee_chain::{Registration, Terms, register_consent_digest};
use daee_client::{Call, Market, NetworkFile, Offer, Package, Windows};
use daee_testkit::{Ended, Process, Program, TempDir, TestChain, folder};
use daee_types::{
    Address, ByteSize, DeploymentId, MilliCpu, Rate, Resources, Sign as _, TokenAmount,
};
use serde_json::{Value, json};

use crate::kit::{free_ports, until};

/// Far above what anything here takes.
pub const SOON: Duration = Duration::from_secs(60);
/// Does the evil that the first byte of a request's body names; 0 is a good turn, which answers with how many there were.
const HOSTILE: &str = include_str!("../../../../crates/daee-runtime/tests/guests/hostile.wat");

/// What may be asked of the hostile agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Evil {
    None = 0,
    Loop = 1,
    Trap = 2,
    Recursion = 3,
    MemoryBomb = 5,
}

/// An agent as its developer has it: a folder, and what is in it.
pub struct Agent {
    folder: TempDir,
    pub package: Package,
}

impl Agent {
    /// One that counts its good turns, and does evil where it is asked to. `more` is appended to its manifest.
    pub fn new(name: &str, more: &str) -> Self {
        let folder = Self::folder(name, more, &wat::parse_str(HOSTILE).expect("it is WAT"));
        let packed = Package::pack(folder.path(), None).expect("it is fit to be deployed");
        Self { folder, package: packed.package }
    }

    /// A folder with a module of any kind and a manifest that names its hash.
    pub fn folder(name: &str, more: &str, module: &[u8]) -> TempDir {
        let folder = folder();
        let hash = daee_types::ArtifactHash::of(module);
        let manifest = format!(
            "agent_id: \"{name}@v1.0.0\"\nresources:\n  cpu: \"100m\"\n  memory: \"16MiB\"\n\
             entry_point: \"agent.wasm\"\nartifact_hash: \"{hash}\"\n{more}"
        );
        fs::write(folder.path().join("agent.wasm"), module).expect("the folder is there");
        fs::write(folder.path().join("agent.yaml"), manifest).expect("the folder is there");
        folder
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// What a deployer offers here: windows that a loaded machine keeps, and a price above every node's.
pub fn offer() -> Offer {
    Offer {
        rate_max: per_hour(50),
        payment: TokenAmount::talos(100),
        windows: Windows { bid: 3, ..Windows::DEV },
    }
}

pub fn per_hour(talos: u64) -> Rate {
    Rate::per_hour(TokenAmount::talos(talos)).expect("it fits")
}

/// The terms that go with bytes which no honest client would pack.
pub fn terms(offer: &Offer, artifact: &[u8]) -> Terms {
    Terms {
        resources: Resources { cpu: MilliCpu(100), memory: ByteSize::mib(16), gpu: 0 },
        policy: 0,
        tier: 0,
        artifact_bytes: u32::try_from(artifact.len()).expect("it is small"),
        bid_window: offer.windows.bid,
        start_window: offer.windows.start,
        interval: offer.windows.interval,
        grace: offer.windows.grace,
        open_window: offer.windows.open,
        rate_max: offer.rate_max,
    }
}

/// Asks the hostile agent for an evil, at its endpoint: status, and code, message and fault where there is an
/// error; the count of good turns where there is none.
pub async fn ask(market: &Market, endpoint: &str, evil: Evil) -> (u16, Value) {
    let call = Call {
        method: "POST".parse().expect("a method"),
        path: "/".to_owned(),
        headers: Vec::new(),
        body: vec![evil as u8].into(),
    };
    match market.node("http://127.0.0.1:1").call(endpoint, &call).await {
        Ok(answer) => match (answer.status.as_u16(), answer.body.first_chunk::<4>()) {
            (200, Some(count)) => (200, json!(u32::from_le_bytes(*count))),
            (status, _) => (status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null)),
        },
        Err(error) => (0, Value::String(error.to_string())),
    }
}

/// Runs a program of ours beside what else this test does.
pub async fn run(program: &Program) -> Ended {
    let program = program.clone();
    let ended = tokio::task::spawn_blocking(move || program.run(Duration::from_secs(180)));
    ended.await.expect("it ends")
}

/// A chain in this process, and a folder for the nodes.
pub struct Site {
    pub chain: TestChain,
    dir: TempDir,
}

/// A node in a process of its own; killed with the value.
pub struct Node {
    pub process: Process,
    pub api: String,
    pub account: Address,
    pub dir: PathBuf,
    program: Program,
}

impl Node {
    /// How its operator starts it.
    pub fn program(&self) -> Program {
        self.program.clone()
    }

    /// The processes of its agents, and the two that wait for one.
    pub fn cells(&self) -> Vec<u32> {
        descendants(self.process.id())
    }

    /// Those that wait, on a node that runs nothing: once they are all there is.
    pub async fn warm(&self) -> Vec<u32> {
        let all = async || Some(self.cells()).filter(|cells| cells.len() == 2);
        until("its cells wait", SOON, all).await
    }
}

impl Site {
    pub async fn start() -> Self {
        Self { chain: TestChain::start().await, dir: folder() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The network's file, whose chain is behind `rpc`.
    pub fn file(&self, rpc: &str, gateways: Vec<String>) -> NetworkFile {
        NetworkFile {
            rpc: vec![rpc.to_owned()],
            contracts: self.chain.contracts(),
            gateways,
            zone: "localhost".to_owned(),
            gateway_port: None,
            windows: offer().windows,
        }
    }

    pub async fn market(&self) -> Market {
        let file = self.file(&self.chain.url(), Vec::new());
        Market::connect(file).await.expect("the chain answers")
    }

    /// Registers a node with the stake and key of this number; how its operator starts it, with `settings` over
    /// the usual ones.
    pub async fn registered(&self, number: usize, settings: Value) -> Program {
        let name = format!("node-{number}");
        let (account, key) = (self.chain.account(number).await, self.chain.key(number));
        let contracts = self.chain.contracts();
        let operator = account.address();
        let chain_id = self.chain.chain().await.domain().chain_id;
        let digest = register_consent_digest(contracts.registry, chain_id, operator, operator);
        let registration = Registration {
            operator,
            capacity: Resources { cpu: MilliCpu(1000), memory: ByteSize::gib(1), gpu: 0 },
            anchor_interval_seconds: 5,
            endpoint: String::new(),
            stake: TokenAmount::talos(10_000),
            consent: key.sign(&digest).expect("it signs"),
        };
        account.register(&registration).await.expect("the registry takes it");

        let mut all = json!({
            "dir": self.path(&name),
            "listen": format!("127.0.0.1:{}", free_ports(1)),
            "zone": "localhost",
            "rpc": [self.chain.url()],
            "contracts": contracts,
            "capacity": registration.capacity,
            "price": { "cpu": per_hour(100), "memory_gib": per_hour(10) },
            "sandbox_level_min": 1,
            "open_every_millis": 5_000,
        });
        for (field, value) in settings.as_object().expect("settings are an object") {
            all[field] = value.clone();
        }
        let (config, key_file) =
            (self.path(&format!("{name}.json")), self.path(&format!("{name}.key")));
        fs::write(&config, all.to_string()).expect("the folder is there");
        key.save(&key_file).expect("the folder is there");
        Program::ours("daee-node")
            .args(["run", "--json", "--config"])
            .args([config.as_path(), Path::new("--key"), &key_file])
            .env("RUST_LOG", "info")
    }

    /// The same, started, and known to the registry by its URL.
    pub async fn node(&self, number: usize, settings: Value) -> Node {
        let program = self.registered(number, settings).await;
        let mut process = program.start();
        let api = process.ready(SOON)["api"].as_str().expect("it says where it is").to_owned();
        let account = self.chain.account(number).await;
        account.set_endpoint(&api).await.expect("the registry takes it");
        let dir = self.path(&format!("node-{number}"));
        Node { process, api, account: account.address(), dir, program }
    }
}

/// Waits until the agent of a deployment runs; its endpoint.
pub async fn running(market: &Market, id: DeploymentId) -> String {
    let mut stages = Vec::new();
    let status = market
        .wait_running(id, 2 * SOON, &mut |stage| stages.push(stage.to_string()))
        .await
        .unwrap_or_else(|error| panic!("{id} does not run: {error}\n{stages:#?}"));
    status.endpoint.expect("a running agent has an endpoint")
}

/// Why a node does not take a deployment, once it says so.
pub async fn reason(market: &Market, api: &str, id: DeploymentId) -> String {
    until("a node's reason", SOON, async || market.node(api).status(id).await.ok()?.reason).await
}

/// Every process below this one, as the kernel has them now.
pub fn descendants(of: u32) -> Vec<u32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux has it").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let stat = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        // `pid (name) state parent ...`, and the name may hold anything.
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
        if let Some(parent) = parent.and_then(|parent| parent.parse::<u32>().ok()) {
            parents.push((pid, parent));
        }
    }
    let mut found = vec![of];
    let mut at = 0;
    while let Some(&parent) = found.get(at) {
        found.extend(parents.iter().filter(|(_, p)| *p == parent).map(|(pid, _)| *pid));
        at += 1;
    }
    found.split_off(1)
}

/// Processes whose command line names this folder.
pub fn processes_of(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().expect("its name is text");
    let entries = fs::read_dir("/proc").expect("Linux has it").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(dir)
    })
    .collect()
}
