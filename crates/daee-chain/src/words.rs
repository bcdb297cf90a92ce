use daee_types::{
    Address, ArtifactHash, BodyHash, ByteSize, DeploymentId, EpochId, LeafHash, ManifestHash,
    MilliCpu, Rate, Resources, Signature, StateRoot, Timestamp, TokenAmount, TxHash, Word,
};
use serde::{Deserialize, Serialize};

/// Where the contracts of one network are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contracts {
    /// TALOS, or what stands in for it.
    pub token: Address,
    /// Stake and capacity of nodes.
    pub registry: Address,
    /// Deployments, leases and pay.
    pub manager: Address,
    /// What agents publish.
    pub outbox: Address,
    /// The block that the first of them was deployed in: nothing of theirs is older. 0 is always right, and
    /// slow on a long chain.
    #[serde(default)]
    pub first_block: u64,
}

/// A block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Its height.
    pub number: u64,
    /// Its hash.
    pub hash: Word,
    /// What it gives as its time, in whole seconds.
    pub time: Timestamp,
}

/// What a tenant asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// What one node has to set aside.
    pub resources: Resources,
    /// 0: the lowest price wins.
    pub policy: u8,
    /// Reserved, 0.
    pub tier: u8,
    /// Size of the artifact in bytes; the deploy fee grows with it.
    pub artifact_bytes: u32,
    /// Seconds that bids are taken; late bids extend it up to twice.
    pub bid_window: u32,
    /// Seconds from the assignment to the first opened leaf.
    pub start_window: u32,
    /// Seconds between anchors, at most.
    pub interval: u32,
    /// Seconds of silence beyond the interval before the lease can be expired.
    pub grace: u32,
    /// Seconds after an exit in which the final leaf may be anchored and opened.
    pub open_window: u32,
    /// The most that a node may ask for.
    pub rate_max: Rate,
}

/// Where a deployment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Open for bids.
    Bidding,
    /// A node has it; it earns from the first opened leaf on.
    Leased,
    /// The end is fixed; the final leaf may still be opened.
    Closing,
    /// Refunded, over.
    Closed,
}

/// One version of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The WebAssembly file.
    pub artifact_hash: ArtifactHash,
    /// The manifest's canonical body.
    pub body_hash: BodyHash,
    /// Both together.
    pub manifest_hash: ManifestHash,
    /// Counts from 1.
    pub number: u32,
}

/// The best bid while bids are taken, the lease after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The operator of the best bid, later of the lease; zero where there is none.
    pub node: Address,
    /// Names the lease; zero before the first.
    pub epoch: EpochId,
    /// What it is paid.
    pub rate: Rate,
    /// What of its stake is locked.
    pub bond: TokenAmount,
    /// When it was assigned.
    pub assigned_at: Timestamp,
    /// When its first leaf was opened.
    pub started_at: Option<Timestamp>,
    /// When an exit ended it.
    pub end_time: Option<Timestamp>,
    /// The last opened leaf, 0 before the first.
    pub seq: u64,
    /// That leaf's hash.
    pub leaf_hash: LeafHash,
    /// Seconds credited to this lease so far: the most that a leaf may claim now.
    pub covered_seconds: u64,
    /// Leases of the deployment so far, this one included.
    pub count: u32,
    /// Why it is ending: 0 it is not, 1 stopped, 2 refused an update, 3 the money was spent.
    pub exit: u8,
    /// The final leaf is open.
    pub final_open: bool,
}

/// What the manager knows of a deployment, read at one block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// Which.
    pub id: DeploymentId,
    /// Who deployed it and may stop and update it.
    pub owner: Address,
    /// Where it stands.
    pub phase: Phase,
    /// No bid is taken from then on.
    pub bids_close: Timestamp,
    /// What is left in escrow.
    pub balance: TokenAmount,
    /// What was paid out of it.
    pub paid: TokenAmount,
    /// The last opened root; zero before the first. Survives leases.
    pub state_root: StateRoot,
    /// `name@vSEMVER`.
    pub agent_id: String,
    /// What was asked for.
    pub terms: Terms,
    /// What runs.
    pub version: Version,
    /// What shall run, until the lessee opens a leaf of it.
    pub pending: Option<Version>,
    /// The lessee may open a leaf of the pending version until then.
    pub pending_until: Timestamp,
    /// The best bid or the lease.
    pub lease: Lease,
    /// When `lease.node` last anchored; zero if it never did.
    pub last_anchor: Timestamp,
    /// The time of the block all this was read at.
    pub at: Timestamp,
    /// Its number.
    pub block: u64,
}

/// What the registry knows of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The hot key: bids and anchors. The node is known by it.
    pub operator: Address,
    /// The cold key: whose the stake is, and who is paid.
    pub owner: Address,
    /// Free and locked.
    pub stake: TokenAmount,
    /// Bonds of standing bids, of leases and of leases that ended lately.
    pub locked: TokenAmount,
    /// On its way out.
    pub unbonding: TokenAmount,
    /// When that may be taken out.
    pub unbond_at: Timestamp,
    /// What was declared.
    pub capacity: Resources,
    /// What of it standing bids and leases have taken.
    pub used: Resources,
    /// Seconds that one anchor credits at most.
    pub anchor_interval_seconds: u32,
    /// Base URL of the node's API.
    pub endpoint: String,
}

/// What a node declares when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The hot key.
    pub operator: Address,
    /// What the machine offers.
    pub capacity: Resources,
    /// Seconds that one anchor credits at most.
    pub anchor_interval_seconds: u32,
    /// Base URL of the node's API.
    pub endpoint: String,
    /// What the caller, who becomes the owner, stakes.
    pub stake: TokenAmount,
    /// The operator's signature of [`register_consent_digest`](crate::register_consent_digest).
    pub consent: Signature,
}

/// What an agent published under a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// When.
    pub time: Timestamp,
    /// In which turn.
    pub turn: u64,
    /// What.
    pub data: Vec<u8>,
}

/// A transaction that is on the chain and did what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mined {
    /// Its hash.
    pub tx: TxHash,
    /// The block it is in.
    pub block: Word,
    /// That block's height.
    pub number: u64,
    /// That block's time.
    pub time: Timestamp,
    /// What it used.
    pub gas_used: u64,
}

/// Milli-CPUs, MiB and GPUs, as contracts count them.
pub(crate) fn resources(cpu_milli: u32, mem_mib: u32, gpu: u16) -> Resources {
    Resources { cpu: MilliCpu(cpu_milli), memory: ByteSize::mib(mem_mib.into()), gpu }
}
