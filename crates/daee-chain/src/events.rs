use alloy::sol_types::SolEventInterface as _;
use daee_types::{
    Address, ArtifactHash, BodyHash, DeploymentId, EpochId, LeafHash, LogRoot, ManifestHash, Rate,
    Resources, StateRoot, Timestamp, TokenAmount, TranscriptRoot, TxHash, Word,
};
use serde::{Deserialize, Serialize};

use crate::{
    ChainError, Contracts,
    abi::{
        manager::DaeeManager::{self, DaeeManagerEvents as Manager},
        outbox::DaeeOutbox::DaeeOutboxEvents as Outbox,
        registry::NodeRegistry::NodeRegistryEvents as Registry,
    },
    convert::{address, amount, id, word},
    rpc::Log,
    words::resources,
};

/// What a contract announced, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChainEvent {
    /// The height of its block.
    pub block: u64,
    /// The transaction that caused it.
    pub tx: TxHash,
    /// Its place among all events of the block.
    pub index: u64,
    /// What happened.
    pub kind: EventKind,
}

/// What happened. Fields are the contracts' own, in our words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(
    missing_docs,
    reason = "the fields are documented where the values are: in the words of `Deployment`"
)]
pub enum EventKind {
    /// A deployment is open for bids.
    Deployed {
        id: DeploymentId,
        owner: Address,
        agent_id: String,
        artifact_cid: Vec<u8>,
        artifact_hash: ArtifactHash,
        body_hash: BodyHash,
        manifest_hash: ManifestHash,
        payment: TokenAmount,
    },
    /// A better bid than the ones before it.
    BidPlaced { id: DeploymentId, node: Address, rate: Rate, bids_close: Timestamp },
    /// A lease begins.
    Assigned { id: DeploymentId, node: Address, epoch: EpochId, rate: Rate, bond: TokenAmount },
    /// A node proved its time; `covered_seconds` is its total.
    Anchored { node: Address, root: Word, covered_seconds: u64 },
    /// A leaf of a lease is open: its state is the deployment's.
    Opened {
        id: DeploymentId,
        epoch: EpochId,
        seq: u64,
        leaf_hash: LeafHash,
        state_root: StateRoot,
        log_root: LogRoot,
        transcript_root: TranscriptRoot,
    },
    /// Credited seconds were paid.
    Settled { id: DeploymentId, node: Address, amount: TokenAmount, seconds: u64 },
    /// The owner asks for another version.
    UpdateProposed {
        id: DeploymentId,
        number: u32,
        artifact_cid: Vec<u8>,
        artifact_hash: ArtifactHash,
        body_hash: BodyHash,
    },
    /// That version is the deployment's now.
    Updated { id: DeploymentId, number: u32, artifact_hash: ArtifactHash },
    /// More money for a deployment.
    ToppedUp { id: DeploymentId, from: Address, amount: TokenAmount },
    /// An exit fixed a lease's end: 1 stopped, 2 refused, 3 the money was spent.
    Ending { id: DeploymentId, node: Address, end_time: Timestamp, exit: u8 },
    /// A silent lease was ended by whoever noticed.
    Expired { id: DeploymentId, node: Address, cut: TokenAmount, bounty: TokenAmount, by: Address },
    /// A deployment is open for bids again, to go on from its last opened state.
    Relisted { id: DeploymentId, bids_close: Timestamp, state_root: StateRoot },
    /// A deployment is over.
    Closed { id: DeploymentId, refund: TokenAmount },
    /// Somebody will prove something later.
    EvidenceCommitted { reporter: Address, commitment: Word },
    /// A node signed two leaves for one place.
    Equivocated {
        id: DeploymentId,
        epoch: EpochId,
        node: Address,
        seq: u64,
        slashed: TokenAmount,
        reporter: Address,
    },
    /// A claim was paid out.
    Withdrawn { account: Address, to: Address, amount: TokenAmount },
    /// An agent published a value.
    Published { id: DeploymentId, topic: Word, epoch: EpochId, turn: u64, data: Vec<u8> },
    /// A node joined.
    Registered {
        operator: Address,
        owner: Address,
        capacity: Resources,
        anchor_interval_seconds: u32,
        endpoint: String,
    },
    /// A node's API moved.
    EndpointSet { operator: Address, endpoint: String },
    /// More stake.
    Staked { operator: Address, amount: TokenAmount },
    /// Stake is on its way out.
    Unbonding { operator: Address, amount: TokenAmount, ready_at: Timestamp },
    /// Stake was taken out.
    Unstaked { operator: Address, amount: TokenAmount },
    /// Stake was taken away.
    Slashed { operator: Address, epoch: EpochId, amount: TokenAmount, burned: TokenAmount },
}

impl ChainEvent {
    /// Which deployment it is about, if it is about one.
    pub fn deployment(&self) -> Option<DeploymentId> {
        use EventKind::*;
        match &self.kind {
            Deployed { id, .. }
            | BidPlaced { id, .. }
            | Assigned { id, .. }
            | Opened { id, .. }
            | Settled { id, .. }
            | UpdateProposed { id, .. }
            | Updated { id, .. }
            | ToppedUp { id, .. }
            | Ending { id, .. }
            | Expired { id, .. }
            | Relisted { id, .. }
            | Closed { id, .. }
            | Equivocated { id, .. }
            | Published { id, .. } => Some(*id),
            Anchored { .. }
            | EvidenceCommitted { .. }
            | Withdrawn { .. }
            | Registered { .. }
            | EndpointSet { .. }
            | Staked { .. }
            | Unbonding { .. }
            | Unstaked { .. }
            | Slashed { .. } => None,
        }
    }

    /// `None` for what is none of ours, or tells nobody anything.
    pub(crate) fn read(contracts: &Contracts, log: &Log) -> Result<Option<Self>, ChainError> {
        let kind = match address(log.address) {
            from if from == contracts.manager => manager(log)?,
            from if from == contracts.registry => registry(log)?,
            from if from == contracts.outbox => outbox(log)?,
            _ => None,
        };
        Ok(kind.map(|kind| Self {
            block: log.block_number.to(),
            tx: TxHash::new(word(log.transaction_hash)),
            index: log.log_index.to(),
            kind,
        }))
    }
}

fn manager(log: &Log) -> Result<Option<EventKind>, ChainError> {
    let Ok(event) = Manager::decode_raw_log(&log.topics, &log.data) else { return Ok(None) };
    Ok(Some(match event {
        Manager::Deployed(e) => EventKind::Deployed {
            id: id(e.id)?,
            owner: address(e.owner),
            agent_id: e.agentId,
            artifact_cid: e.artifactCid.to_vec(),
            artifact_hash: ArtifactHash::new(e.artifactHash.0),
            body_hash: BodyHash::new(e.bodyHash.0),
            manifest_hash: ManifestHash::new(e.manifestHash.0),
            payment: TokenAmount(e.payment),
        },
        Manager::BidPlaced(e) => EventKind::BidPlaced {
            id: id(e.id)?,
            node: address(e.node),
            rate: Rate(e.rate),
            bids_close: Timestamp::from_seconds(e.bidsClose),
        },
        Manager::Assigned(e) => EventKind::Assigned {
            id: id(e.id)?,
            node: address(e.node),
            epoch: EpochId::new(e.epoch.0),
            rate: Rate(e.rate),
            bond: TokenAmount(e.bond),
        },
        Manager::Anchored(e) => EventKind::Anchored {
            node: address(e.node),
            root: word(e.root),
            covered_seconds: e.covered,
        },
        Manager::Opened(e) => EventKind::Opened {
            id: id(e.id)?,
            epoch: EpochId::new(e.epoch.0),
            seq: e.seq,
            leaf_hash: LeafHash::new(e.leafHash.0),
            state_root: StateRoot::new(e.stateRoot.0),
            log_root: LogRoot::new(e.logRoot.0),
            transcript_root: TranscriptRoot::new(e.transcriptRoot.0),
        },
        Manager::Settled(e) => EventKind::Settled {
            id: id(e.id)?,
            node: address(e.node),
            amount: amount(e.amount)?,
            seconds: e.seconds_,
        },
        Manager::UpdateProposed(e) => EventKind::UpdateProposed {
            id: id(e.id)?,
            number: e.number,
            artifact_cid: e.artifactCid.to_vec(),
            artifact_hash: ArtifactHash::new(e.artifactHash.0),
            body_hash: BodyHash::new(e.bodyHash.0),
        },
        Manager::Updated(e) => EventKind::Updated {
            id: id(e.id)?,
            number: e.number,
            artifact_hash: ArtifactHash::new(e.artifactHash.0),
        },
        Manager::ToppedUp(e) => {
            EventKind::ToppedUp { id: id(e.id)?, from: address(e.from), amount: amount(e.amount)? }
        }
        Manager::Ending(e) => EventKind::Ending {
            id: id(e.id)?,
            node: address(e.node),
            end_time: Timestamp::from_seconds(e.endTime),
            exit: e.reason,
        },
        Manager::Expired(e) => EventKind::Expired {
            id: id(e.id)?,
            node: address(e.node),
            cut: amount(e.cut)?,
            bounty: amount(e.bounty)?,
            by: address(e.by),
        },
        Manager::Relisted(e) => EventKind::Relisted {
            id: id(e.id)?,
            bids_close: Timestamp::from_seconds(e.bidsClose),
            state_root: StateRoot::new(e.stateRoot.0),
        },
        Manager::Closed(e) => EventKind::Closed { id: id(e.id)?, refund: amount(e.refund)? },
        Manager::EvidenceCommitted(e) => EventKind::EvidenceCommitted {
            reporter: address(e.reporter),
            commitment: word(e.commitment),
        },
        Manager::Equivocated(e) => EventKind::Equivocated {
            id: id(e.id)?,
            epoch: EpochId::new(e.epoch.0),
            node: address(e.node),
            seq: e.seq,
            slashed: amount(e.slashed)?,
            reporter: address(e.reporter),
        },
        Manager::Withdrawn(e) => EventKind::Withdrawn {
            account: address(e.account),
            to: address(e.to),
            amount: amount(e.amount)?,
        },
        _ => return Ok(None),
    }))
}

fn registry(log: &Log) -> Result<Option<EventKind>, ChainError> {
    let Ok(event) = Registry::decode_raw_log(&log.topics, &log.data) else { return Ok(None) };
    Ok(Some(match event {
        Registry::Registered(e) => EventKind::Registered {
            operator: address(e.operator),
            owner: address(e.owner),
            capacity: resources(e.cpuMilli, e.memMiB, e.gpu),
            anchor_interval_seconds: e.anchorInterval,
            endpoint: e.endpoint,
        },
        Registry::EndpointSet(e) => {
            EventKind::EndpointSet { operator: address(e.operator), endpoint: e.endpoint }
        }
        Registry::Staked(e) => {
            EventKind::Staked { operator: address(e.operator), amount: amount(e.amount)? }
        }
        Registry::Unbonding(e) => EventKind::Unbonding {
            operator: address(e.operator),
            amount: amount(e.amount)?,
            ready_at: Timestamp::from_seconds(e.readyAt),
        },
        Registry::Unstaked(e) => {
            EventKind::Unstaked { operator: address(e.operator), amount: amount(e.amount)? }
        }
        Registry::Slashed(e) => EventKind::Slashed {
            operator: address(e.operator),
            epoch: EpochId::new(e.epoch.0),
            amount: amount(e.amount)?,
            burned: amount(e.burned)?,
        },
        _ => return Ok(None),
    }))
}

fn outbox(log: &Log) -> Result<Option<EventKind>, ChainError> {
    let Ok(Outbox::Published(e)) = Outbox::decode_raw_log(&log.topics, &log.data) else {
        return Ok(None);
    };
    Ok(Some(EventKind::Published {
        id: id(e.id)?,
        topic: word(e.topic),
        epoch: EpochId::new(e.epoch.0),
        turn: e.turn,
        data: e.data.to_vec(),
    }))
}

/// The number that `deploy` gave out, from the events of its transaction.
pub(crate) fn deployed_id(contracts: &Contracts, logs: &[Log]) -> Result<DeploymentId, ChainError> {
    for log in logs.iter().filter(|log| address(log.address) == contracts.manager) {
        if let Ok(Manager::Deployed(DaeeManager::Deployed { id: given, .. })) =
            Manager::decode_raw_log(&log.topics, &log.data)
        {
            return id(given);
        }
    }
    let why = "its transaction announces none".to_owned();
    Err(ChainError::Malformed { what: "the new deployment", why })
}
