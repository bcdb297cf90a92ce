//! What a node decides. [`Node::step`] takes what happened and returns what to do about it; it never
//! waits, reads no clock and opens no socket, so that a simulation can run many from a seed.
//!
//! It is level-triggered: each [`View`] of a deployment is the chain's whole word on it, and the node
//! moves from where it stands to where that word says it should. A lost, repeated or rewound event
//! therefore changes nothing but the time of the next step.

use std::collections::{BTreeMap, BTreeSet};

use daee_types::{
    Address, ArtifactHash, BodyHash, Checkpoint, DeploymentId, EpochId, LeafHash, LogRoot,
    ManifestHash, Rate, Resources, StateRoot, Timestamp, TranscriptRoot, Word,
};

/// How often a refused or failed call is tried again.
const RETRY_MILLIS: u64 = 1_000;
/// How long a node lets the best bidder assign, or the winner finish, before it does so itself.
const COURTESY_MILLIS: u64 = 3_000;
/// How long a round waits for the slowest agent to seal.
const ROUND_MILLIS: u64 = 10_000;

/// What an operator decides once.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The operator account.
    pub account: Address,
    /// What the machine offers.
    pub capacity: Resources,
    /// What it asks for.
    pub price: Price,
    /// How long to wait before bidding once everything that is needed to run is in hand.
    pub bid_wait_millis: u64,
    /// The anchor interval declared at registration.
    pub anchor_interval_millis: u64,
    /// How often a leaf is opened although nothing demands it: what a successor may lose.
    pub open_every_millis: u64,
    /// How often pay is settled.
    pub settle_every_millis: u64,
    /// Runtime that checkpoints are made with.
    pub runtime_version: u32,
}

/// The default bidding strategy: a list price, never below it.
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// For a whole vCPU.
    pub cpu: Rate,
    /// For a GiB of memory.
    pub memory_gib: Rate,
}

impl Price {
    /// The rate for some resources, rounded up.
    pub fn quote(&self, wanted: &Resources) -> Rate {
        let cpu = self.cpu.0.saturating_mul(wanted.cpu.0.into()).div_ceil(1000);
        let memory =
            self.memory_gib.0.saturating_mul(wanted.memory.mib_ceil().into()).div_ceil(1024);
        Rate(cpu.saturating_add(memory).max(1))
    }
}

/// Where a deployment stands on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainPhase {
    /// Open for bids.
    Bidding,
    /// Somebody holds the lease.
    Leased,
    /// An exit fixed the end; the final leaf may still be opened.
    Closing,
    /// Refunded, over.
    Closed,
}

/// One version of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Version {
    /// 1, 2, ...
    pub number: u32,
    /// The module.
    pub artifact: ArtifactHash,
    /// The manifest's body.
    pub body: BodyHash,
}

/// The lease, or the best bid while bids are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// Best bidder or lessee; zero for nobody.
    pub node: Address,
    /// The fencing token; zero while bids are taken.
    pub epoch: EpochId,
    /// Wei a second.
    pub rate: Rate,
    /// When it was assigned.
    pub assigned_at: Timestamp,
    /// When its first leaf was opened.
    pub started_at: Option<Timestamp>,
    /// When an exit ended it.
    pub end_time: Option<Timestamp>,
    /// Last opened leaf.
    pub seq: u64,
    /// Lessee's last anchor.
    pub last_anchor: Timestamp,
    /// Seconds credited to this lease so far.
    pub covered: u64,
}

/// The chain's whole word on one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Which.
    pub id: DeploymentId,
    /// Where it stands.
    pub phase: ChainPhase,
    /// What it asks for.
    pub resources: Resources,
    /// The most the tenant pays.
    pub rate_max: Rate,
    /// The longest anchor interval the tenant takes.
    pub interval_millis: u64,
    /// Silence beyond the interval that ends a lease.
    pub grace_millis: u64,
    /// From assignment to the first opened leaf.
    pub start_window_millis: u64,
    /// After an exit, for the final leaf.
    pub open_window_millis: u64,
    /// When bids close.
    pub bids_close: Timestamp,
    /// What runs.
    pub version: Version,
    /// What the tenant asked to move to.
    pub pending: Option<Version>,
    /// Last opened root; zero before the first.
    pub state_root: StateRoot,
    /// The lease or best bid.
    pub lease: LeaseView,
    /// The block's time when this was read.
    pub at: Timestamp,
}

impl View {
    /// When the lease may be ended for silence, or for a start that never came.
    pub fn expires(&self) -> Timestamp {
        match self.lease.started_at {
            Some(started) => self
                .lease
                .last_anchor
                .max(started)
                .plus_millis(self.interval_millis + self.grace_millis),
            None => self.lease.assigned_at.plus_millis(self.start_window_millis),
        }
    }
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// Time passed.
    Clock,
    /// The chain was read; its newest block has this time and hash.
    Contact {
        /// Block time.
        chain: Timestamp,
    },
    /// The chain's newest word on a deployment.
    Seen(View),
    /// The package (and the state, where there is one) is here and verified, or is not to be had.
    Read {
        /// The deployment.
        id: DeploymentId,
        /// What was read.
        version: Version,
        /// True if everything that is needed to run is in hand.
        ready: bool,
    },
    /// The agent stands, or could not be started.
    Started {
        /// The deployment.
        id: DeploymentId,
        /// The lease it was started for.
        epoch: EpochId,
        /// The version that runs, if it does.
        running: Option<Version>,
    },
    /// An update was tried; `running` is what runs now.
    Upgraded {
        /// The deployment.
        id: DeploymentId,
        /// The lease.
        epoch: EpochId,
        /// The version that was tried.
        tried: Version,
        /// Whether the agent moved to it.
        switched: bool,
    },
    /// The state was sealed for a checkpoint, or could not be.
    Sealed {
        /// The deployment.
        id: DeploymentId,
        /// The lease.
        epoch: EpochId,
        /// What the checkpoint says.
        marks: Option<Marks>,
    },
    /// A call to the chain ended.
    Called {
        /// The call.
        call: Call,
        /// How.
        outcome: CallOutcome,
    },
}

/// What a sealed state says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Turns handled.
    pub turn: u64,
    /// State.
    pub state_root: StateRoot,
    /// Log.
    pub log_root: LogRoot,
    /// Transcript.
    pub transcript_root: TranscriptRoot,
    /// Fuel used.
    pub fuel: u64,
    /// The artifact that ran.
    pub artifact: ArtifactHash,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// In a block; its hash.
    Done {
        /// Hash of the block that holds it.
        block: Word,
        /// Time of that block.
        at: Timestamp,
    },
    /// The contract said no; the view is stale.
    Refused,
    /// Nobody answered; try again.
    Failed,
}

/// A transaction to send.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::large_enum_variant, reason = "calls are few, and gone when they are sent")]
pub enum Call {
    /// Offer to run it.
    Bid {
        /// The deployment.
        id: DeploymentId,
        /// Wei a second.
        rate: Rate,
        /// What was verified: a bid never binds to bytes that the node has not seen.
        manifest: ManifestHash,
    },
    /// Close the auction.
    Assign {
        /// The deployment.
        id: DeploymentId,
    },
    /// Sign these leaves and anchor their tree.
    Anchor {
        /// One a lease, by deployment.
        leaves: Vec<Leaf>,
    },
    /// Open one leaf of an anchored tree.
    Open {
        /// The leaf.
        leaf: Leaf,
        /// The tree's leaves, from which the proof follows.
        among: Vec<Leaf>,
    },
    /// Collect pay.
    Settle {
        /// Whose.
        ids: Vec<DeploymentId>,
    },
    /// End a silent lease.
    Expire {
        /// The deployment.
        id: DeploymentId,
    },
    /// Close what has ended.
    Finish {
        /// The deployment.
        id: DeploymentId,
    },
}

/// A checkpoint with an order by deployment, as the anchor tree has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leaf(pub Checkpoint);

impl PartialOrd for Leaf {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Leaf {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.0.deployment, self.0.leaf_hash()).cmp(&(other.0.deployment, other.0.leaf_hash()))
    }
}

/// Where the state of a starting agent comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum From {
    /// Nowhere: the deployment never had a checkpoint.
    Nothing,
    /// This node's own store: it holds the same lease and was away.
    Kept,
    /// The checkpoint with this root, which another lease opened.
    Root(StateRoot),
}

/// What must survive the process for a lease to be taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Record {
    /// The deployment.
    pub id: DeploymentId,
    /// The lease.
    pub epoch: EpochId,
    /// Last leaf made.
    pub seq: u64,
    /// Its hash.
    pub leaf: LeafHash,
    /// The version that runs.
    pub version: Version,
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Read the chain's word on a deployment again.
    Look(DeploymentId),
    /// Bring the package, and the state with this root unless it is zero, and verify both.
    Read {
        /// The deployment.
        id: DeploymentId,
        /// What to read.
        version: Version,
        /// Last opened root.
        state_root: StateRoot,
    },
    /// Send a transaction.
    Call(Call),
    /// Start the agent.
    Start {
        /// The deployment.
        id: DeploymentId,
        /// The lease.
        epoch: EpochId,
        /// What to run.
        version: Version,
        /// On what state.
        from: From,
    },
    /// Move a running agent to a new version, on a copy of its state.
    Upgrade {
        /// The deployment.
        id: DeploymentId,
        /// The lease.
        epoch: EpochId,
        /// The version to move to.
        version: Version,
    },
    /// Run the tick turn, seal the state, keep it, and have other nodes keep it.
    Seal {
        /// The deployment.
        id: DeploymentId,
        /// The lease.
        epoch: EpochId,
        /// Hash of the block of the previous anchor (MARKET rule 2).
        tick: Word,
        /// Set when the lease has ended: run the stop turn instead, and no other after it.
        last: bool,
    },
    /// End the agent's process and stop answering for it; its last checkpoint stays.
    Release(DeploymentId),
    /// Write the record so that a restart finds it.
    Save(Record),
    /// Drop the record.
    Forget(DeploymentId),
}

/// The state machine of one node.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    free: Resources,
    jobs: BTreeMap<DeploymentId, Job>,
    round: Option<Round>,
    calls: BTreeMap<CallKey, CallState>,
    anchored_at: Timestamp,
    anchored_block: Word,
    settled_at: Timestamp,
    contact: Timestamp,
    chain: Timestamp,
}

#[derive(Debug)]
struct Job {
    view: View,
    stage: Stage,
    seen_at: Timestamp,
    looked_at: Timestamp,
    reserved: bool,
    hold: Option<Hold>,
}

/// How far this node is with a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Not interested, or not yet.
    Idle,
    /// Waiting for the package.
    Reading(Version, StateRoot),
    /// Verified bytes in hand since then: may bid (MARKET rule 10).
    Ready(Version, StateRoot, Timestamp),
    /// Could not be read; tried again when the version or the root changes.
    Unreadable(Version, StateRoot, Timestamp),
}

/// The lease that this node serves.
#[derive(Clone, Debug)]
struct Hold {
    record: Record,
    pre_root: StateRoot,
    serving: Serving,
    opened_at: Timestamp,
    tried: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Serving {
    /// The agent is being started.
    Starting,
    /// It could not be started; again at this time.
    Failed(Timestamp),
    /// It answers.
    Running,
    /// It is being moved to another version.
    Upgrading,
    /// The lease ended and the stop turn was sealed in the leaf with this number.
    Sealed(u64),
}

#[derive(Debug)]
struct Round {
    began: Timestamp,
    waiting: BTreeSet<DeploymentId>,
    leaves: Vec<Leaf>,
    anchoring: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum CallKey {
    Bid(DeploymentId),
    Assign(DeploymentId),
    Anchor,
    Open(DeploymentId),
    Settle,
    Expire(DeploymentId),
    Finish(DeploymentId),
}

#[derive(Debug)]
enum CallState {
    Out,
    RestUntil(Timestamp),
}

impl Node {
    /// A node that holds the leases of `records` if the chain still says so.
    pub fn new(settings: Settings, records: Vec<Record>, now: Timestamp) -> (Self, Vec<Effect>) {
        let free = settings.capacity;
        let effects = records.iter().map(|record| Effect::Look(record.id)).collect();
        let mut node = Self {
            settings,
            free,
            jobs: BTreeMap::new(),
            round: None,
            calls: BTreeMap::new(),
            anchored_at: Timestamp(0),
            anchored_block: [0; 32],
            settled_at: now,
            contact: now,
            chain: Timestamp(0),
        };
        node.remember(records);
        (node, effects)
    }

    /// Takes what happened, returns what to do.
    pub fn step(&mut self, now: Timestamp, event: Event) -> Vec<Effect> {
        let mut out = Vec::new();
        match event {
            Event::Clock => self.clock(now, &mut out),
            Event::Contact { chain } => self.contacted(now, chain),
            Event::Seen(view) => self.seen(now, view, &mut out),
            Event::Read { id, version, ready } => self.read(now, id, version, ready),
            Event::Started { id, epoch, running } => {
                self.started(now, id, epoch, running, &mut out)
            }
            Event::Upgraded { id, epoch, tried, switched } => {
                self.upgraded(id, epoch, tried, switched, &mut out);
            }
            Event::Sealed { id, epoch, marks } => self.sealed(now, id, epoch, marks),
            Event::Called { call, outcome } => self.called(now, call, outcome, &mut out),
        }
        let ids: Vec<_> = self.jobs.keys().copied().collect();
        for id in ids {
            self.pursue(now, id, &mut out);
        }
        self.drive_round(now, &mut out);
        out
    }

    /// Leases that are served now.
    pub fn held(&self) -> impl Iterator<Item = (DeploymentId, &View)> {
        self.jobs.iter().filter(|(_, job)| job.hold.is_some()).map(|(id, job)| (*id, &job.view))
    }

    /// What is not reserved.
    pub fn free(&self) -> Resources {
        self.free
    }

    fn remember(&mut self, records: Vec<Record>) {
        for record in records {
            let view = placeholder(&record);
            let hold = Hold {
                record,
                pre_root: StateRoot::ZERO,
                serving: Serving::Failed(Timestamp(0)),
                opened_at: Timestamp(0),
                tried: None,
            };
            let job = Job {
                view,
                stage: Stage::Idle,
                seen_at: Timestamp(0),
                looked_at: Timestamp(0),
                reserved: false,
                hold: Some(hold),
            };
            self.jobs.insert(record.id, job);
        }
    }

    fn contacted(&mut self, now: Timestamp, chain: Timestamp) {
        self.contact = now;
        self.chain = self.chain.max(chain);
    }

    fn clock(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        self.calls.retain(|_, state| !matches!(state, CallState::RestUntil(at) if *at <= now));
        // A node that cannot see the chain cannot know whether it still holds a lease, so it stops
        // answering before somebody else may have started (DESIGN 8, fencing).
        let unseen = now.millis_since(self.contact);
        for (id, job) in &mut self.jobs {
            let Some(hold) = &mut job.hold else { continue };
            let patience = job.view.interval_millis + job.view.grace_millis;
            let answering = matches!(hold.serving, Serving::Running | Serving::Upgrading);
            if answering && patience > 0 && unseen > patience {
                hold.serving = Serving::Failed(now.plus_millis(RETRY_MILLIS));
                out.push(Effect::Release(*id));
            }
        }
    }

    fn seen(&mut self, now: Timestamp, view: View, out: &mut Vec<Effect>) {
        self.contact = now;
        self.chain = self.chain.max(view.at);
        let id = view.id;
        let job = self.jobs.entry(id).or_insert_with(|| Job {
            view: view.clone(),
            stage: Stage::Idle,
            seen_at: now,
            looked_at: now,
            reserved: false,
            hold: None,
        });
        if job.view.phase != view.phase || job.seen_at == Timestamp(0) {
            job.seen_at = now;
        }
        job.looked_at = now;
        job.view = view;
        if let Some(hold) = &mut job.hold
            && hold.record.epoch == job.view.lease.epoch
        {
            hold.pre_root = job.view.state_root;
        }
        if job.view.phase == ChainPhase::Closed {
            self.let_go(id, out);
            self.jobs.remove(&id);
        }
    }

    fn read(&mut self, now: Timestamp, id: DeploymentId, version: Version, ready: bool) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let Stage::Reading(asked, root) = job.stage else {
            return;
        };
        if asked != version {
            return;
        }
        job.stage = if ready {
            Stage::Ready(version, root, now)
        } else {
            Stage::Unreadable(version, root, now)
        };
    }

    fn started(
        &mut self,
        now: Timestamp,
        id: DeploymentId,
        epoch: EpochId,
        running: Option<Version>,
        out: &mut Vec<Effect>,
    ) {
        let Some(hold) = self.hold_of(id, epoch) else {
            // The lease was lost while the agent was starting.
            out.push(Effect::Release(id));
            return;
        };
        match running {
            Some(version) => {
                hold.record.version = version;
                hold.serving = Serving::Running;
                out.push(Effect::Save(hold.record));
            }
            None => hold.serving = Serving::Failed(now.plus_millis(RETRY_MILLIS)),
        }
    }

    fn upgraded(
        &mut self,
        id: DeploymentId,
        epoch: EpochId,
        tried: Version,
        switched: bool,
        out: &mut Vec<Effect>,
    ) {
        let Some(hold) = self.hold_of(id, epoch) else {
            return;
        };
        hold.tried = Some(tried.number);
        // Its thread may have ended over it, and that be known already.
        if hold.serving == Serving::Upgrading {
            hold.serving = Serving::Running;
        }
        if switched {
            hold.record.version = tried;
            // The new version is accepted by the first opened leaf that names it.
            hold.opened_at = Timestamp(0);
            out.push(Effect::Save(hold.record));
        }
    }

    fn sealed(&mut self, now: Timestamp, id: DeploymentId, epoch: EpochId, marks: Option<Marks>) {
        if let Some(round) = &mut self.round {
            round.waiting.remove(&id);
        }
        let runtime_version = self.settings.runtime_version;
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let covered_seconds =
            if job.view.lease.started_at.is_some() { job.view.lease.covered } else { 0 };
        let Some(hold) = job.hold.as_mut().filter(|hold| hold.record.epoch == epoch) else {
            return;
        };
        let Some(marks) = marks else {
            if matches!(hold.serving, Serving::Running | Serving::Upgrading) {
                hold.serving = Serving::Failed(now.plus_millis(RETRY_MILLIS));
            }
            return;
        };
        if job.view.phase == ChainPhase::Closing {
            hold.serving = Serving::Sealed(hold.record.seq + 1);
        }
        let leaf = Checkpoint {
            deployment: id,
            epoch,
            seq: hold.record.seq + 1,
            prev_leaf_hash: hold.record.leaf,
            turn: marks.turn,
            pre_root: hold.pre_root,
            state_root: marks.state_root,
            log_root: marks.log_root,
            transcript_root: marks.transcript_root,
            artifact_hash: marks.artifact,
            runtime_version,
            fuel: marks.fuel,
            covered_seconds,
        };
        if let Some(round) = &mut self.round {
            round.leaves.push(Leaf(leaf));
        }
    }

    fn called(&mut self, now: Timestamp, call: Call, outcome: CallOutcome, out: &mut Vec<Effect>) {
        let key = key_of(&call);
        let done = match outcome {
            CallOutcome::Done { block, at } => {
                self.contact = now;
                // What these changed is in no view yet; until one is read the call would be made again.
                if matches!(
                    key,
                    CallKey::Bid(_) | CallKey::Assign(_) | CallKey::Expire(_) | CallKey::Finish(_)
                ) {
                    self.calls.insert(key, CallState::RestUntil(now.plus_millis(RETRY_MILLIS)));
                } else {
                    self.calls.remove(&key);
                }
                Some((block, at))
            }
            CallOutcome::Refused | CallOutcome::Failed => {
                self.calls.insert(key, CallState::RestUntil(now.plus_millis(RETRY_MILLIS)));
                None
            }
        };
        match (call, done) {
            (Call::Anchor { leaves }, Some((block, _))) => {
                self.anchored_at = now;
                self.anchored_block = block;
                self.round = None;
                self.open_what_matters(now, &leaves, out);
            }
            (Call::Anchor { .. }, None) => {
                // The leaves were signed, so their numbers are spent; the next round makes new ones.
                self.round = None;
            }
            (Call::Open { leaf, .. }, Some((_, at))) => self.opened(now, at, &leaf.0, out),
            (Call::Settle { .. }, Some(_)) => self.settled_at = now,
            (Call::Settle { ids }, None) => {
                self.settled_at = now;
                out.extend(ids.into_iter().map(Effect::Look));
            }
            (
                Call::Bid { id, .. }
                | Call::Assign { id }
                | Call::Expire { id }
                | Call::Finish { id },
                _,
            ) => out.push(Effect::Look(id)),
            (Call::Open { leaf, .. }, None) => out.push(Effect::Look(leaf.0.deployment)),
        }
    }

    /// Takes what the opened leaf changed on chain into the view, so that no second round starts for
    /// the same reason while the view is read anew.
    fn opened(&mut self, now: Timestamp, at: Timestamp, leaf: &Checkpoint, out: &mut Vec<Effect>) {
        out.push(Effect::Look(leaf.deployment));
        let Some(job) = self.jobs.get_mut(&leaf.deployment) else {
            return;
        };
        let Some(hold) = job.hold.as_mut().filter(|h| h.record.epoch == leaf.epoch) else {
            return;
        };
        hold.pre_root = leaf.state_root;
        hold.opened_at = now;
        let view = &mut job.view;
        view.state_root = leaf.state_root;
        view.lease.seq = leaf.seq;
        view.lease.started_at = view.lease.started_at.or(Some(at));
        view.lease.last_anchor = view.lease.last_anchor.max(at);
        if let Some(pending) = view.pending.take_if(|p| p.artifact == leaf.artifact_hash) {
            view.version = pending;
        }
    }

    /// Opens the leaves somebody waits for: the first of a lease (pay starts there), the first of a
    /// new version (it accepts the update), the last, and now and then one so that a successor
    /// loses little.
    fn open_what_matters(&mut self, now: Timestamp, leaves: &[Leaf], out: &mut Vec<Effect>) {
        for leaf in leaves {
            let id = leaf.0.deployment;
            let open_every = self.settings.open_every_millis;
            let Some(job) = self.jobs.get_mut(&id) else {
                continue;
            };
            let Some(hold) = job.hold.as_mut().filter(|h| h.record.epoch == leaf.0.epoch) else {
                continue;
            };
            let due = job.view.lease.started_at.is_none()
                || job.view.phase == ChainPhase::Closing
                || now.millis_since(hold.opened_at) >= open_every;
            if due {
                self.call(Call::Open { leaf: *leaf, among: leaves.to_vec() }, out);
            }
        }
    }

    /// Moves one deployment on from where this node stands to where the chain says it should.
    fn pursue(&mut self, now: Timestamp, id: DeploymentId, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        if job.looked_at == Timestamp(0) {
            return; // Remembered from before a restart; the chain has not spoken yet.
        }
        let mine = job.view.lease.node == self.settings.account;
        let same_epoch =
            job.hold.as_ref().is_some_and(|hold| hold.record.epoch == job.view.lease.epoch);
        match job.view.phase {
            ChainPhase::Bidding => {
                if job.hold.is_some() {
                    self.let_go(id, out);
                }
                self.pursue_bid(now, id, out);
            }
            ChainPhase::Leased if mine => {
                if job.hold.is_some() && !same_epoch {
                    self.let_go(id, out);
                }
                self.pursue_run(now, id, out);
            }
            ChainPhase::Leased => {
                if job.hold.is_some() || job.reserved {
                    self.let_go(id, out);
                }
                self.pursue_expiry(now, id, out);
            }
            ChainPhase::Closing => {
                if job.hold.is_some() && !(mine && same_epoch) {
                    self.let_go(id, out);
                }
                self.pursue_end(now, id, mine, out);
            }
            ChainPhase::Closed => self.let_go(id, out),
        }
    }

    fn pursue_bid(&mut self, now: Timestamp, id: DeploymentId, out: &mut Vec<Effect>) {
        let settings = &self.settings;
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let view = job.view.clone();
        let rate = settings.price.quote(&view.resources);
        let key = (view.version, view.state_root);
        let best_is_mine = view.lease.node == settings.account;
        let closed = self.chain >= view.bids_close;

        let worth_it =
            rate <= view.rate_max && settings.anchor_interval_millis <= view.interval_millis;
        if !worth_it {
            return;
        }
        let ready_at = match job.stage {
            Stage::Reading(v, r) if (v, r) == key => return,
            Stage::Ready(v, r, at) if (v, r) == key => at,
            Stage::Unreadable(v, r, at)
                if (v, r) == key && now.millis_since(at) < 10 * RETRY_MILLIS =>
            {
                return;
            }
            _ => {
                let (version, state_root) = key;
                job.stage = Stage::Reading(version, state_root);
                out.push(Effect::Read { id, version, state_root });
                return;
            }
        };
        if closed {
            let patient = now.millis_since(job.seen_at)
                > COURTESY_MILLIS + (view.bids_close.0.saturating_sub(job.seen_at.0));
            if best_is_mine || patient {
                self.call(Call::Assign { id }, out);
            }
            return;
        }
        let waited = now.millis_since(ready_at.max(job.seen_at)) >= settings.bid_wait_millis;
        let beats = view.lease.node.is_zero()
            || rate.0.saturating_mul(100) <= view.lease.rate.0.saturating_mul(99);
        if !best_is_mine && !beats && job.reserved {
            job.reserved = false;
            self.free.put(&job.view.resources);
        }
        if best_is_mine || !waited || !beats {
            return;
        }
        if !job.reserved {
            // The job takes its place now, not when it is won: winning more than it can run would
            // cost the node its bond.
            let wanted = job.view.resources;
            if self.free.take(&wanted).is_err() {
                return;
            }
            job.reserved = true;
        }
        let manifest = ManifestHash::of(&view.version.artifact, &view.version.body);
        self.call(Call::Bid { id, rate, manifest }, out);
    }

    fn pursue_run(&mut self, now: Timestamp, id: DeploymentId, out: &mut Vec<Effect>) {
        let patience = RETRY_MILLIS;
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let view = &job.view;
        if !job.reserved {
            // A lease is an obligation even when the operator declared less capacity since.
            let wanted = view.resources;
            if self.free.take(&wanted).is_ok() {
                job.reserved = true;
            }
        }
        let epoch = view.lease.epoch;
        let Some(hold) = &mut job.hold else {
            let record = Record { id, epoch, seq: 0, leaf: LeafHash::ZERO, version: view.version };
            let from =
                if view.state_root.is_zero() { From::Nothing } else { From::Root(view.state_root) };
            job.hold = Some(Hold {
                record,
                pre_root: view.state_root,
                serving: Serving::Starting,
                opened_at: Timestamp(0),
                tried: None,
            });
            out.push(Effect::Save(record));
            out.push(Effect::Start { id, epoch, version: view.version, from });
            return;
        };
        hold.pre_root = view.state_root;
        let known = |version: Version| {
            version == view.version || view.pending.is_some_and(|pending| pending == version)
        };
        match hold.serving {
            Serving::Running if !known(hold.record.version) => {
                // The update lapsed or was replaced after the switch: only the version on chain may
                // be checkpointed, so the agent goes back to the last root that was opened.
                hold.serving = Serving::Starting;
                hold.record.version = view.version;
                out.push(Effect::Release(id));
                let from = if view.state_root.is_zero() {
                    From::Nothing
                } else {
                    From::Root(view.state_root)
                };
                out.push(Effect::Start { id, epoch, version: view.version, from });
            }
            Serving::Running => {
                let next = view.pending.filter(|pending| {
                    *pending != hold.record.version && hold.tried != Some(pending.number)
                });
                // A round in flight seals the old version; the switch waits for its end.
                if let Some(version) = next
                    && self.round.is_none()
                {
                    hold.serving = Serving::Upgrading;
                    out.push(Effect::Upgrade { id, epoch, version });
                }
            }
            Serving::Failed(at) if now >= at && now.millis_since(self.contact) <= patience => {
                hold.serving = Serving::Starting;
                out.push(Effect::Start {
                    id,
                    epoch,
                    version: hold.record.version,
                    from: From::Kept,
                });
            }
            Serving::Failed(_) | Serving::Starting | Serving::Upgrading | Serving::Sealed(_) => {}
        }
    }

    fn pursue_expiry(&mut self, now: Timestamp, id: DeploymentId, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if self.chain <= job.view.expires() {
            return;
        }
        // Anchors of a node say nothing of single deployments, so the view may be old: look before
        // paying gas for a refusal.
        if now.millis_since(job.looked_at) > RETRY_MILLIS {
            job.looked_at = now;
            out.push(Effect::Look(id));
            return;
        }
        if job.view.at > job.view.expires() {
            self.call(Call::Expire { id }, out);
        }
    }

    fn pursue_end(&mut self, now: Timestamp, id: DeploymentId, mine: bool, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(&id) else {
            return;
        };
        let view = &job.view;
        let over = view.lease.end_time.map(|end| end.plus_millis(view.open_window_millis));
        let window_over = over.is_some_and(|over| self.chain > over);
        let final_open = job.hold.as_ref().is_some_and(
            |hold| matches!(hold.serving, Serving::Sealed(seq) if view.lease.seq >= seq),
        );
        let patient =
            mine || over.is_some_and(|over| self.chain > over.plus_millis(COURTESY_MILLIS));
        if (mine && final_open) || (window_over && patient) {
            self.call(Call::Finish { id }, out);
            return;
        }
        let stopped_before_start = job
            .hold
            .as_ref()
            .is_some_and(|hold| matches!(hold.serving, Serving::Failed(at) if now >= at));
        if stopped_before_start && !window_over {
            self.pursue_run(now, id, out);
        }
    }

    /// One round: every served agent ticks and seals, the leaves are anchored together.
    fn drive_round(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        if self.round.is_none() {
            self.begin_round(now, out);
        }
        let Some(round) = &mut self.round else { return };
        if round.anchoring {
            return;
        }
        let late = now.millis_since(round.began) > ROUND_MILLIS;
        if !round.waiting.is_empty() && !late {
            return;
        }
        round.leaves.sort();
        if round.leaves.is_empty() {
            self.round = None;
            return;
        }
        round.anchoring = true;
        let leaves = round.leaves.clone();
        for leaf in &leaves {
            if let Some(hold) = self.hold_of(leaf.0.deployment, leaf.0.epoch) {
                hold.record.seq = leaf.0.seq;
                hold.record.leaf = leaf.0.leaf_hash();
                out.push(Effect::Save(hold.record));
            }
        }
        self.call(Call::Anchor { leaves }, out);
    }

    fn begin_round(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let opening =
            self.calls.keys().any(|key| matches!(key, CallKey::Open(_) | CallKey::Anchor));
        if opening {
            return;
        }
        let since = now.millis_since(self.anchored_at);
        // An anchor credits no more than the interval, so it comes a little before its end.
        let due =
            since.saturating_mul(10) >= self.settings.anchor_interval_millis.saturating_mul(8);
        let mut waiting = BTreeSet::new();
        let mut urgent = false;
        for (id, job) in &self.jobs {
            let Some(hold) = &job.hold else { continue };
            let ending = job.view.phase == ChainPhase::Closing;
            let due_to_seal = match hold.serving {
                Serving::Running => true,
                // The final leaf is made once; if its opening failed, another anchor carries it.
                Serving::Sealed(seq) => ending && job.view.lease.seq < seq,
                Serving::Starting | Serving::Failed(_) | Serving::Upgrading => false,
            };
            if !due_to_seal {
                continue;
            }
            let accepts = job.view.pending.is_some_and(|pending| pending == hold.record.version);
            urgent |= job.view.lease.started_at.is_none() || ending || accepts;
            waiting.insert(*id);
        }
        if waiting.is_empty() || !(due || urgent) {
            return;
        }
        for id in &waiting {
            let Some(job) = self.jobs.get(id) else {
                continue;
            };
            let Some(hold) = &job.hold else { continue };
            out.push(Effect::Seal {
                id: *id,
                epoch: hold.record.epoch,
                tick: self.anchored_block,
                last: job.view.phase == ChainPhase::Closing,
            });
        }
        if now.millis_since(self.settled_at) >= self.settings.settle_every_millis {
            let ids: Vec<_> = waiting
                .iter()
                .filter(|id| {
                    self.jobs.get(id).is_some_and(|job| {
                        job.view.phase == ChainPhase::Leased && job.view.lease.started_at.is_some()
                    })
                })
                .copied()
                .collect();
            if !ids.is_empty() {
                self.call(Call::Settle { ids }, out);
            }
        }
        self.round = Some(Round { began: now, waiting, leaves: Vec::new(), anchoring: false });
    }

    /// Gives up what is held for a deployment; what is on disk stays.
    fn let_go(&mut self, id: DeploymentId, out: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        if job.hold.take().is_some() {
            out.push(Effect::Release(id));
            out.push(Effect::Forget(id));
        }
        if job.reserved {
            job.reserved = false;
            self.free.put(&job.view.resources);
        }
        if let Some(round) = &mut self.round {
            round.waiting.remove(&id);
            round.leaves.retain(|leaf| leaf.0.deployment != id);
        }
    }

    fn call(&mut self, call: Call, out: &mut Vec<Effect>) {
        let key = key_of(&call);
        if self.calls.contains_key(&key) {
            return;
        }
        self.calls.insert(key, CallState::Out);
        out.push(Effect::Call(call));
    }

    fn hold_of(&mut self, id: DeploymentId, epoch: EpochId) -> Option<&mut Hold> {
        self.jobs.get_mut(&id)?.hold.as_mut().filter(|hold| hold.record.epoch == epoch)
    }
}

fn key_of(call: &Call) -> CallKey {
    match call {
        Call::Bid { id, .. } => CallKey::Bid(*id),
        Call::Assign { id } => CallKey::Assign(*id),
        Call::Anchor { .. } => CallKey::Anchor,
        Call::Open { leaf, .. } => CallKey::Open(leaf.0.deployment),
        Call::Settle { .. } => CallKey::Settle,
        Call::Expire { id } => CallKey::Expire(*id),
        Call::Finish { id } => CallKey::Finish(*id),
    }
}

/// What stands in for a view until the chain has been read after a restart.
fn placeholder(record: &Record) -> View {
    View {
        id: record.id,
        phase: ChainPhase::Leased,
        resources: Resources::default(),
        rate_max: Rate(0),
        interval_millis: 0,
        grace_millis: 0,
        start_window_millis: 0,
        open_window_millis: 0,
        bids_close: Timestamp(0),
        version: record.version,
        pending: None,
        state_root: StateRoot::ZERO,
        lease: LeaseView {
            node: Address::ZERO,
            epoch: record.epoch,
            rate: Rate(0),
            assigned_at: Timestamp(0),
            started_at: None,
            end_time: None,
            seq: 0,
            last_anchor: Timestamp(0),
            covered: 0,
        },
        at: Timestamp(0),
    }
}

#[cfg(test)]
mod tests;
