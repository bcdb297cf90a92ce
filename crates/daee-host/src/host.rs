//! A node, put together: everything it has, and how it is started and stopped.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use daee_chain::{Account, Chain, Cursor, Deployment, Phase};
use daee_egress::{Egress, EgressSettings, MapHost, Resolver, route_addresses};
use daee_http::{Client, Roots, Server, ServerLimits, bind};
use daee_lifecycle::Gate;
use daee_runtime::{RUNTIME_VERSION, Runtime, RuntimeConfig, SandboxReport};
use daee_signer::CheckpointSigner;
use daee_store::Store;
use daee_types::{
    Address, ByteSize, Coded as _, DeploymentId, EpochId, Resources, Sign, keccak256,
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

use crate::{
    HostError, HostSettings, Refusal,
    agents::{AgentHandle, Sealed},
    api, clock,
    content::Content,
    driver,
    node::{self, Event, Leaf},
    peers::{CHECKPOINT_MAX, Peers},
    recording::Recordings,
    worker::blocking,
};

/// What all parts of a running node share.
pub(crate) struct Shared {
    pub settings: HostSettings,
    pub operator: Address,
    pub chain: Chain,
    pub account: Account,
    pub signer: CheckpointSigner,
    pub store: Store,
    pub runtime: Runtime,
    pub egress: Arc<Egress<Resolver>>,
    pub content: Arc<Content>,
    pub peers: Peers,
    pub recordings: Recordings,
    pub client: Client,
    pub gate: Mutex<Gate>,
    /// What was declared in the registry, or less where the operator says so.
    pub capacity: Resources,
    pub port: u16,
    events: mpsc::UnboundedSender<Event>,
    boards: Mutex<Boards>,
    /// Changes with every event of a deployment: whoever waits for one looks again.
    pub changed: watch::Sender<u64>,
}

/// What is known of each deployment, for those who ask.
#[derive(Default)]
struct Boards {
    deployments: BTreeMap<DeploymentId, Deployment>,
    agents: BTreeMap<DeploymentId, AgentHandle>,
    sealed: BTreeMap<DeploymentId, Sealed>,
    reasons: BTreeMap<DeploymentId, String>,
    upgrades: BTreeMap<DeploymentId, (u32, Result<(), String>)>,
    free: Resources,
    contact: bool,
}

impl Shared {
    /// Hands an event to the state machine. When the node is going down nobody takes it any more.
    pub fn tell(&self, event: Event) {
        let _ = self.events.send(event);
        self.changed.send_modify(|count| *count += 1);
    }

    pub fn put_deployment(&self, deployment: Deployment) {
        self.boards().deployments.insert(deployment.id, deployment);
    }

    /// What the chain said last, or says now.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Deployment, String> {
        if let Some(known) = self.known(id) {
            return Ok(known);
        }
        let read = self.chain.deployment(id).await.map_err(|error| error.to_string())?;
        read.ok_or_else(|| format!("the chain knows no deployment {id}"))
    }

    pub fn known(&self, id: DeploymentId) -> Option<Deployment> {
        self.boards().deployments.get(&id).cloned()
    }

    /// Deployments whose lease this node holds, as the chain said last.
    pub fn held(&self) -> Vec<Deployment> {
        let boards = self.boards();
        let held = boards.deployments.values().filter(|deployment| {
            deployment.lease.node == self.operator
                && matches!(deployment.phase, Phase::Leased | Phase::Closing)
        });
        held.cloned().collect()
    }

    pub fn agent(&self, id: DeploymentId) -> Option<AgentHandle> {
        self.boards().agents.get(&id).cloned()
    }

    pub fn put_agent(&self, id: DeploymentId, agent: AgentHandle) {
        self.boards().agents.insert(id, agent);
    }

    /// Stops answering for an agent; with an epoch only if it is that lease's.
    pub fn drop_agent(&self, id: DeploymentId, epoch: Option<EpochId>) {
        let mut boards = self.boards();
        let same = |agent: &AgentHandle| epoch.is_none_or(|epoch| agent.epoch == epoch);
        if boards.agents.get(&id).is_some_and(same) {
            boards.agents.remove(&id);
        }
    }

    pub fn put_sealed(&self, id: DeploymentId, sealed: Sealed) {
        self.boards().sealed.insert(id, sealed);
    }

    pub fn sealed(&self, id: DeploymentId) -> Option<Sealed> {
        self.boards().sealed.get(&id).cloned()
    }

    pub fn note_reason(&self, id: DeploymentId, reason: Option<String>) {
        let mut boards = self.boards();
        match reason {
            Some(reason) => boards.reasons.insert(id, reason),
            None => boards.reasons.remove(&id),
        };
    }

    pub fn reason(&self, id: DeploymentId) -> Option<String> {
        self.boards().reasons.get(&id).cloned()
    }

    pub fn note_upgrade(&self, id: DeploymentId, number: u32, result: Result<(), String>) {
        self.boards().upgrades.insert(id, (number, result));
    }

    pub fn upgrade(&self, id: DeploymentId) -> Option<(u32, Result<(), String>)> {
        self.boards().upgrades.get(&id).cloned()
    }

    pub fn note_free(&self, free: Resources) {
        self.boards().free = free;
    }

    pub fn free(&self) -> Resources {
        self.boards().free
    }

    pub fn note_contact(&self, contact: bool) {
        self.boards().contact = contact;
    }

    pub fn contact(&self) -> bool {
        self.boards().contact
    }

    /// A root may be opened on chain only when somebody else could continue from it: this node's disk has
    /// the state, and at least one other node has it where there is another.
    pub async fn keep_before_opening(&self, leaf: &Leaf) -> Result<(), String> {
        let (id, root) = (leaf.0.deployment, leaf.0.state_root);
        let sealed = self.sealed(id).filter(|sealed| sealed.marks.state_root == root);
        let sealed = sealed.ok_or("the sealed state was replaced meanwhile")?;
        let opened = self.deployment(id).await?.state_root;
        let (store, bytes) = (self.store.clone(), sealed.checkpoint.clone());
        blocking(move || {
            let kept = store.put_checkpoint(id, &root, &bytes);
            kept.map(|()| api::prune(&store, id, &opened))
        })
        .await?
        .map_err(|error| error.to_string())?;
        let wanted = self.settings.checkpoint_copies;
        if self.peers.others().len() < wanted {
            // Nodes may have joined since the registry was read; "nobody else is there" must be true.
            let read = self.peers.refresh(&self.chain).await;
            read.map_err(|error| format!("the registry cannot be read: {error}"))?;
        }
        let others = self.peers.others().len();
        let copies = wanted.min(others);
        if copies > 0 && self.peers.give(id, &root, sealed.checkpoint, copies).await == 0 {
            return Err(format!("none of {others} other nodes keeps the checkpoint"));
        }
        Ok(())
    }

    fn boards(&self) -> MutexGuard<'_, Boards> {
        self.boards.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A running node. Dropping it without [`Host::stop`] leaves what is under way where it is, as a crash
/// would; nothing that was acknowledged is lost.
pub struct Host {
    shared: Arc<Shared>,
    server: Server,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Host {
    /// Starts a node on the running multi-threaded tokio runtime. The program must have called
    /// [`daee_runtime::child_main`] first in `main`.
    pub async fn start(settings: HostSettings, operator: Arc<dyn Sign>) -> Result<Self, HostError> {
        let listener = bind(settings.listen).await?;
        let chain = Chain::connect(&settings.rpc, settings.contracts).await?;
        let account = operator.address();
        let record = chain.node(account).await?;
        let record = record.ok_or(HostError::NotRegistered { operator: account })?;

        let store =
            Store::open(&settings.dir).map_err(|e| HostError::setup("the data directory", e))?;
        let marks = settings.dir.join("signed");
        let signer = CheckpointSigner::open(operator.clone(), &marks, chain.domain())
            .map_err(|e| HostError::setup("the signer", e))?;
        let runtime = runtime(&settings, operator.as_ref())?;
        let egress = egress(&settings)?;
        let client =
            Client::new(&Roots::system()).map_err(|e| HostError::setup("the HTTP client", e))?;
        let content = Content::new(store.clone(), client.clone(), settings.content_max);
        let peers = Peers::new(chain.domain(), operator.clone(), client.clone());
        peers.refresh(&chain).await?;
        let recordings = Recordings::open(settings.dir.join("recordings"))
            .map_err(|e| HostError::setup("the data directory", e))?;

        let records = store.records().map_err(|e| HostError::setup("the data directory", e))?;
        let records = records
            .into_iter()
            .map(|(id, bytes)| {
                serde_json::from_slice(&bytes).map_err(|error| {
                    HostError::setup("the data directory", format!("lease {id}: {error}"))
                })
            })
            .collect::<Result<Vec<_>, _>>()?;

        let capacity = least(settings.capacity, record.capacity);
        let node_settings = node::Settings {
            account,
            capacity,
            price: settings.price,
            bid_wait_millis: settings.bid_wait_millis,
            anchor_interval_millis: u64::from(record.anchor_interval_seconds) * 1000,
            open_every_millis: settings.open_every_millis,
            settle_every_millis: settings.settle_every_millis,
            runtime_version: RUNTIME_VERSION,
        };
        let (events, inbox) = mpsc::unbounded_channel();
        let port = settings.public_port.unwrap_or(listener.local_addr().map_or(0, |a| a.port()));
        let gate = Gate::new(chain.domain(), account, daee_signer::recover);
        let shared = Arc::new(Shared {
            operator: account,
            account: chain.account(operator),
            chain,
            signer,
            store,
            runtime,
            egress: Arc::new(egress),
            content: Arc::new(content),
            peers,
            recordings,
            client,
            gate: Mutex::new(gate),
            capacity,
            port,
            events,
            boards: Mutex::new(Boards { free: capacity, ..Boards::default() }),
            changed: watch::channel(0).0,
            settings,
        });
        shared.use_sources();

        let (node, begin) = node::Node::new(node_settings, records, clock::now());
        let (stop, stopped) = watch::channel(false);
        let limits = ServerLimits { body_bytes_max: CHECKPOINT_MAX, ..ServerLimits::default() };
        let server = Server::start(listener, api::routes(shared.clone()), limits);
        let cursor = cursor(&shared)?;
        let tasks = vec![
            tokio::spawn(driver::drive(shared.clone(), node, begin, inbox, stopped.clone())),
            tokio::spawn(driver::follow(shared.clone(), cursor, stopped.clone())),
            tokio::spawn(driver::keep_contact(shared.clone(), stopped)),
        ];
        if let Some(refusal) = shared.refusal() {
            tracing::error!(code = refusal.code(), "{refusal}");
        }
        tracing::info!(%account, address = %server.address(), "the node is up");
        Ok(Self { shared, server, stop, tasks })
    }

    /// Base URL of the API on this machine.
    pub fn api_url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The operator account.
    pub fn operator(&self) -> Address {
        self.shared.operator
    }

    /// What stands between agents and this machine.
    pub fn sandbox(&self) -> SandboxReport {
        self.shared.runtime.sandbox()
    }

    /// Why this node runs no agents and bids for none, if it does not.
    pub fn refusal(&self) -> Option<Refusal> {
        self.shared.refusal()
    }

    /// Ends every agent between two turns and lets the disk have all of it. Leases are kept: the next
    /// start takes them up again if the chain still says so.
    pub async fn stop(self) {
        // No receiver means that its task is gone already.
        let _ = self.stop.send(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a task of the node ended badly");
            }
        }
        self.server.stop().await;
    }
}

impl Shared {
    /// Why no agent is run here.
    pub fn refusal(&self) -> Option<Refusal> {
        let (report, wanted) = (self.runtime.sandbox(), self.settings.sandbox_level_min);
        let missing = || report.missing().map(|wall| format!("{} ({})", wall.name, wall.how));
        (report.level < wanted).then(|| Refusal {
            level: report.level,
            wanted,
            missing: missing().collect::<Vec<_>>().join(", "),
        })
    }

    /// Content is looked for with other nodes first, then at the operator's gateways.
    pub fn use_sources(&self) {
        let nodes = self.peers.others().into_iter().map(|node| node.endpoint);
        self.content.set_sources(nodes.chain(self.settings.gateways.iter().cloned()).collect());
    }
}

fn runtime(settings: &HostSettings, operator: &dyn Sign) -> Result<Runtime, HostError> {
    // Only this node can make it again, and it is never written down.
    let seed = operator
        .sign(&keccak256("daee: key of the cache of compiled modules"))
        .map_err(|error| HostError::setup("the signer", error))?;
    let config = RuntimeConfig::new(settings.dir.join("compiled"), keccak256(seed.0));
    let runtime = Runtime::new(config).map_err(|error| HostError::setup("the runtime", error))?;
    let highest = SandboxReport::LEVEL_MAX;
    if settings.sandbox_level_min > highest {
        return Err(HostError::setup("`sandbox_level_min`", format!("the highest is {highest}")));
    }
    Ok(runtime)
}

fn egress(settings: &HostSettings) -> Result<Egress<Resolver>, HostError> {
    let wrong = |error: &dyn std::fmt::Display| HostError::setup("the egress broker", error);
    let mut own_addresses = route_addresses();
    own_addresses.push(settings.listen.ip());
    let map_hosts = settings
        .map_hosts
        .iter()
        .map(|text| text.parse::<MapHost>())
        .collect::<Result<_, _>>()
        .map_err(|error| wrong(&error))?;
    let extra_roots_pem = settings
        .extra_roots
        .iter()
        .map(|path| {
            std::fs::read(path).map_err(|error| wrong(&format!("{}: {error}", path.display())))
        })
        .collect::<Result<_, _>>()?;
    let settings =
        EgressSettings { own_addresses, map_hosts, extra_roots_pem, ..EgressSettings::default() };
    let resolver = Resolver::system().map_err(|error| wrong(&error))?;
    Egress::new(settings, resolver).map_err(|error| wrong(&error))
}

fn cursor(shared: &Shared) -> Result<Option<Cursor>, HostError> {
    let kept = shared.store.cursor().map_err(|e| HostError::setup("the data directory", e))?;
    // One that cannot be read costs reading the chain again, and nothing else.
    Ok(kept.and_then(|bytes| Cursor::from_bytes(&bytes)))
}

fn least(a: Resources, b: Resources) -> Resources {
    Resources {
        cpu: a.cpu.min(b.cpu),
        memory: ByteSize(a.memory.0.min(b.memory.0)),
        gpu: a.gpu.min(b.gpu),
    }
}

/// How long the driver waits before it asks the chain again after it did not answer.
pub(crate) const CHAIN_RETRY: Duration = Duration::from_secs(1);
