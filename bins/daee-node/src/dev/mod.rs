//! `daee-node dev`: a whole network on this machine, made of the parts that a real one is made of.

mod children;
mod layout;
mod show;
mod source;

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use daee_chain::{
    Account, Chain, NetworkParams, Phase, Registration, deploy_contracts, register_consent_digest,
};
use daee_client::{Market, NetworkFile, Offer, Package, Windows};
use daee_devnet::{Devnet, DevnetConfig};
use daee_host::{HostSettings, node::Price};
use daee_http::{Bytes, Client, Limits, Roots};
use daee_signer::Key;
use daee_types::{ByteSize, DeploymentId, MilliCpu, Rate, Resources, Sign as _, TokenAmount};
use tokio::time::timeout;

use crate::{
    arguments::Dev,
    dev::{children::NodeProcess, layout::Layout, show::Ready, source::Source},
    failure::Failure,
    run::told_to_end,
};

/// What each of the three nodes asks for, in TALOS an hour for a vCPU and for a GiB, and how long it lets the
/// dearer ones bid first: only a lower bid is taken after a first one.
const NODES: [(u64, u64, u64); 3] = [(160, 40, 1_800 * SLOW), (180, 45, 900 * SLOW), (200, 50, 0)];
/// Nodes compile the module before they bid, and a compiler that is not optimised itself takes its time.
const SLOW: u64 = if cfg!(debug_assertions) { 3 } else { 1 };
const CAPACITY: Resources = Resources { cpu: MilliCpu(4_000), memory: ByteSize::gib(8), gpu: 0 };
/// As in TIP-0042's example.
const STAKE: TokenAmount = TokenAmount::talos(10_000);
const PAYMENT: TokenAmount = TokenAmount::talos(1_000);
/// The most the oracle's owner pays, in TALOS an hour.
const RATE_MAX_TALOS: u64 = 80;
/// Seconds between two anchors of a node.
const ANCHOR_SECONDS: u32 = 5;
/// Of the chain's own coin, for gas.
const ETHER: TokenAmount = TokenAmount::talos(1_000);
const CHAIN_ID: u64 = 31_337;
/// How long the agent may take from the deployment to its first answer.
const RUNNING_WITHIN: Duration = Duration::from_secs(60);

/// One node as it was set up.
pub struct NodeShown {
    pub name: String,
    pub account: daee_types::Address,
    pub owner: daee_types::Address,
    pub api: String,
    pub rate: Rate,
    pub pid: u32,
    pub config: std::path::PathBuf,
    pub key: std::path::PathBuf,
}

pub async fn dev(arguments: Dev) -> Result<ExitCode, Failure> {
    // Heard from the first moment: what was started until then is ended in its order.
    let ended = told_to_end(false);
    tokio::pin!(ended);
    let mut network = Network::default();
    let started = tokio::select! {
        told = &mut ended => told.map(|()| false),
        started = network.start(&arguments) => match started {
            Ok(()) => Ok(true),
            // Ctrl-C may end a node that has just begun before it is heard here.
            Err(failure) => match timeout(Duration::from_millis(200), &mut ended).await {
                Ok(told) => told.map(|()| false),
                Err(_) => Err(failure),
            },
        },
    };
    if let Ok(true) = started {
        tokio::select! {
            told = &mut ended => told?,
            () = network.watch(arguments.json) => {}
        }
        if !arguments.json {
            println!("\nending the network");
        }
    }
    network.end().await;
    started.map(|_| ExitCode::SUCCESS)
}

/// Everything that has to end again.
#[derive(Default)]
struct Network {
    layout: Option<Layout>,
    devnet: Option<Devnet>,
    source: Option<Source>,
    nodes: Vec<NodeProcess>,
}

impl Network {
    async fn start(&mut self, arguments: &Dev) -> Result<(), Failure> {
        let progress = Progress { quiet: arguments.json };
        let layout = Layout::make(arguments.dir.as_deref())?;
        let layout = self.layout.insert(layout);
        let port = |offset: u16| -> Result<SocketAddr, Failure> {
            let port = arguments.port.checked_add(offset).filter(|_| arguments.port != 0);
            let port = port
                .ok_or_else(|| Failure::new("ports", "choose one from 1 to 65531 with `--port`"))?;
            Ok(SocketAddr::from(([127, 0, 0, 1], port)))
        };
        // All ports before anything is started: what is in the way is named at once.
        for offset in u16::from(arguments.rpc.is_some())..5 {
            let bound = daee_http::bind(port(offset)?).await;
            bound.map_err(|error| Failure::with(&error, "(`--port` names the first of five)"))?;
        }

        progress.say("chain");
        let deployer = layout.key("deployer")?;
        let mut keys = Vec::new();
        for number in 1..=NODES.len() {
            keys.push((
                Arc::new(layout.key(&format!("node-{number}-owner"))?),
                Arc::new(layout.key(&format!("node-{number}"))?),
            ));
        }
        let accounts: Vec<_> = keys
            .iter()
            .flat_map(|(owner, operator)| [owner.address(), operator.address()])
            .chain([deployer.address()])
            .collect();
        let rpc = match &arguments.rpc {
            Some(url) => {
                fund(url, &accounts).await?;
                vec![url.clone()]
            }
            None => {
                let accounts = accounts.into_iter().map(|account| (account, ETHER)).collect();
                let file = Some(layout.path("chain"));
                let config =
                    DevnetConfig { chain_id: CHAIN_ID, accounts, file, ..DevnetConfig::default() };
                vec![self.devnet.insert(Devnet::start(port(0)?, config).await?).url()]
            }
        };

        progress.say("contracts");
        let deployer = Arc::new(deployer);
        let network = layout.path("network.json");
        let chain = match again(&rpc, &network).await {
            Some(chain) => chain,
            None => {
                let params = NetworkParams::dev();
                let contracts = deploy_contracts(&rpc[0], deployer.clone(), &params).await?;
                layout.forget_nodes(NODES.len())?;
                Chain::connect(&rpc, contracts).await?
            }
        };
        let contracts = *chain.contracts();
        let bank = chain.account(deployer.clone());

        progress.say("price source");
        let source = self.source.insert(Source::start(port(4)?).await?);
        let authority = layout.write("price-source-ca.pem", source.authority_pem.as_bytes())?;
        let mapped = format!("{}={}", source::HOST, source.address());

        progress.say("nodes");
        // All are registered before one starts, so that each knows the others from its first moment.
        for (number, (owner, operator)) in (1..).zip(&keys) {
            let api = format!("http://{}", port(number)?);
            register(&chain, &bank, owner.clone(), operator, &api).await?;
        }
        let mut shown = Vec::new();
        for (number, ((_, operator), listed)) in (1..).zip(keys.into_iter().zip(NODES)) {
            let (cpu, memory, bid_wait_millis) = listed;
            let name = format!("node-{number}");
            let listen = port(number)?;
            let api = format!("http://{listen}");
            let price = Price { cpu: per_hour(cpu), memory_gib: per_hour(memory) };
            let settings = HostSettings {
                dir: layout.folder(&name)?,
                listen,
                public_port: None,
                zone: "localhost".to_owned(),
                rpc: rpc.clone(),
                contracts,
                gateways: Vec::new(),
                capacity: CAPACITY,
                price,
                bid_wait_millis,
                open_every_millis: 15_000,
                settle_every_millis: 30_000,
                checkpoint_copies: 2,
                // A machine for development may be a container without user namespaces.
                sandbox_level_min: 1,
                map_hosts: vec![mapped.clone()],
                extra_roots: vec![authority.clone()],
                rebirth_turns: 1_000,
                hibernate_after_millis: 5 * 60 * 1000,
                record_max: ByteSize::mib(128),
                content_max: ByteSize::gib(1),
            };
            let config = layout.write_json(&format!("{name}.json"), &settings)?;
            let key = layout.key_file(&name);
            let log = layout.path(&format!("{name}.log"));
            let node = NodeProcess::start(&name, &config, &key, &log).await?;
            shown.push(NodeShown {
                account: operator.address(),
                owner: chain_owner(&chain, operator.address()).await?,
                rate: price.quote(&oracle_resources()),
                pid: node.pid(),
                name,
                api,
                config,
                key,
            });
            self.nodes.push(node);
        }

        let file = NetworkFile {
            rpc: rpc.clone(),
            contracts,
            gateways: shown.iter().map(|node| node.api.clone()).collect(),
            zone: "localhost".to_owned(),
            gateway_port: Some(port(1)?.port()),
            windows: windows(),
        };
        file.save(&network)?;
        let (agent, next) = layout.agents()?;
        let deployed = match arguments.empty {
            true => None,
            false => Some(deploy(file, deployer, &agent, &progress).await?),
        };
        let ready = Ready {
            rpc: rpc[0].clone(),
            contracts,
            nodes: &shown,
            deployed,
            dir: layout.dir(),
            network: &network,
            next: &next,
            source: format!("https://{} at {}", source::HOST, source.address()),
        };
        ready.print(arguments.json);
        Ok(())
    }

    /// Says when a node ends although nobody asked it to; the others go on, as in any network.
    async fn watch(&mut self, json: bool) {
        let mut waiting: Vec<_> =
            self.nodes.iter_mut().map(|node| Box::pin(node.ended())).collect();
        while !waiting.is_empty() {
            let said = first(&mut waiting).await;
            if !json {
                println!("{said}");
            }
            tracing::warn!("{said}");
        }
        std::future::pending().await
    }

    async fn end(self) {
        // The nodes first: they have something to write down.
        let mut ending = Vec::new();
        for node in self.nodes {
            ending.push(tokio::spawn(node.end()));
        }
        for end in ending {
            if let Err(error) = end.await {
                tracing::error!(%error, "a node was not ended");
            }
        }
        if let Some(source) = self.source {
            source.stop().await;
        }
        if let Some(devnet) = self.devnet {
            devnet.stop().await;
        }
    }
}

/// Waits for the first of some futures, and takes it out.
async fn first<F: Future<Output = String> + Unpin>(waiting: &mut Vec<F>) -> String {
    let (at, said) = std::future::poll_fn(|context| {
        for (at, one) in waiting.iter_mut().enumerate() {
            if let std::task::Poll::Ready(said) = std::pin::Pin::new(one).poll(context) {
                return std::task::Poll::Ready((at, said));
            }
        }
        std::task::Poll::Pending
    })
    .await;
    drop(waiting.swap_remove(at));
    said
}

/// The network that this folder kept, if its chain still has the contracts.
async fn again(rpc: &[String], network: &std::path::Path) -> Option<Chain> {
    let file = NetworkFile::load(network).ok()?;
    Chain::connect(rpc, file.contracts).await.ok()
}

/// Gives accounts of a development chain something to pay gas with.
async fn fund(url: &str, accounts: &[daee_types::Address]) -> Result<(), Failure> {
    let what = "the development chain gives no coin";
    let client = Client::new(&Roots::none())?;
    for account in accounts {
        let wei = format!("0x{:x}", ETHER.0);
        let call = serde_json::json!({
            "jsonrpc": "2.0", "id": 1, "method": "anvil_setBalance", "params": [account, wei],
        });
        let body = Bytes::from(call.to_string());
        let answer = client.post(url, "application/json", body, &Limits::default()).await?;
        let said: serde_json::Value =
            serde_json::from_slice(&answer.body).map_err(|error| Failure::new(what, error))?;
        if said.get("error").is_some() {
            return Err(Failure::new(what, format!("{said} (use Anvil, or leave out `--rpc`)")));
        }
    }
    Ok(())
}

async fn register(
    chain: &Chain,
    bank: &Account,
    owner: Arc<Key>,
    operator: &Arc<Key>,
    endpoint: &str,
) -> Result<(), Failure> {
    if let Some(node) = chain.node(operator.address()).await? {
        if node.endpoint != endpoint {
            chain.account(operator.clone()).set_endpoint(endpoint).await?;
        }
        return Ok(());
    }
    bank.transfer(owner.address(), STAKE).await?;
    let digest = register_consent_digest(
        chain.contracts().registry,
        CHAIN_ID,
        operator.address(),
        owner.address(),
    );
    let registration = Registration {
        operator: operator.address(),
        capacity: CAPACITY,
        anchor_interval_seconds: ANCHOR_SECONDS,
        endpoint: endpoint.to_owned(),
        stake: STAKE,
        consent: operator.sign(&digest)?,
    };
    chain.account(owner).register(&registration).await?;
    Ok(())
}

async fn chain_owner(
    chain: &Chain,
    operator: daee_types::Address,
) -> Result<daee_types::Address, Failure> {
    let node = chain.node(operator).await?;
    Ok(node.map_or(daee_types::Address::ZERO, |node| node.owner))
}

/// TIP-0042's flow: published, paid for, bid on, assigned, run.
async fn deploy(
    file: NetworkFile,
    deployer: Arc<Key>,
    agent: &std::path::Path,
    progress: &Progress,
) -> Result<Deployed, Failure> {
    progress.say("oracle agent: packing and publishing");
    let package = Package::read(agent)?;
    let market = Market::connect(file).await?;
    let gateways = market.gateways().await?;
    market.publish(&package, &gateways).await?;
    // A network that goes on has its oracle already.
    let name = package.manifest().agent_id().name().to_owned();
    let mine = market.deployments(Some(deployer.address())).await?;
    let running = mine.iter().find(|deployment| {
        let over = matches!(deployment.phase, Phase::Closing | Phase::Closed);
        !over && deployment.agent_id.split('@').next() == Some(name.as_str())
    });
    let id = match running {
        Some(deployment) => deployment.id,
        None => {
            progress.say("oracle agent: deploying");
            let rate_max = per_hour(RATE_MAX_TALOS);
            let offer = Offer { rate_max, payment: PAYMENT, windows: windows() };
            market.deployer(deployer).deploy(&package, &offer).await?.id
        }
    };
    let status = market
        .wait_running(id, RUNNING_WITHIN, &mut |stage| {
            progress.say(&format!("oracle agent: {stage}"));
        })
        .await?;
    Ok(Deployed {
        id,
        agent_id: status.agent_id,
        endpoint: status.endpoint.unwrap_or_default(),
        node: status.node,
        rate: status.spend.rate,
    })
}

/// What became of the oracle.
pub struct Deployed {
    pub id: DeploymentId,
    pub agent_id: String,
    pub endpoint: String,
    pub node: Option<daee_types::Address>,
    pub rate: Rate,
}

/// Short, so that a person sees what happens, and longer than a loaded machine needs.
fn windows() -> Windows {
    Windows { bid: 6 * SLOW as u32, start: 60, interval: 10, grace: 10, open: 20 }
}

/// What the oracle's manifest asks for.
fn oracle_resources() -> Resources {
    Resources { cpu: MilliCpu(250), memory: ByteSize::mib(256), gpu: 0 }
}

fn per_hour(talos: u64) -> Rate {
    Rate::per_hour(TokenAmount::talos(talos)).expect("a list price fits")
}

struct Progress {
    quiet: bool,
}

impl Progress {
    fn say(&self, what: &str) {
        if !self.quiet {
            eprintln!("  {what}");
        }
    }
}
