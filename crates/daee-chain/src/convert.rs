//! Between the contracts' words and ours.

use alloy::primitives::{self, B256, U256};
use daee_market::credited_seconds;
use daee_types::{
    Address, ArtifactHash, BodyHash, Checkpoint, DeploymentId, EpochId, LeafHash, ManifestHash,
    Rate, Resources, StateRoot, Timestamp, TokenAmount, Word,
};

use crate::{
    ChainError, Deployment, Head, Lease, NodeRecord, Phase, Terms, Version,
    abi::{manager::IDaeeManager, registry::INodeRegistry},
    words::resources,
};

pub(crate) fn address(from: primitives::Address) -> Address {
    Address(from.0.0)
}

pub(crate) fn to_address(from: Address) -> primitives::Address {
    primitives::Address::from(from.0)
}

pub(crate) fn word(from: B256) -> Word {
    from.0
}

pub(crate) fn id(from: U256) -> Result<DeploymentId, ChainError> {
    let why = || "its number is larger than any deployment's".to_owned();
    u64::try_from(from)
        .map(DeploymentId)
        .map_err(|_| ChainError::Malformed { what: "a deployment", why: why() })
}

pub(crate) fn to_id(from: DeploymentId) -> U256 {
    U256::from(from.0)
}

pub(crate) fn amount(from: U256) -> Result<TokenAmount, ChainError> {
    let why = || "it is more than 2^128 wei".to_owned();
    u128::try_from(from)
        .map(TokenAmount)
        .map_err(|_| ChainError::Malformed { what: "an amount", why: why() })
}

/// A time of a contract, where 0 stands for none.
fn time(seconds: u64) -> Option<Timestamp> {
    (seconds != 0).then(|| Timestamp::from_seconds(seconds))
}

pub(crate) fn terms(from: &IDaeeManager::Terms) -> Terms {
    Terms {
        resources: resources(from.cpuMilli, from.memMiB, from.gpu),
        policy: from.policy,
        tier: from.tier,
        artifact_bytes: from.artifactBytes,
        bid_window: from.bidWindow,
        start_window: from.startWindow,
        interval: from.interval,
        grace: from.grace,
        open_window: from.openWindow,
        rate_max: Rate(from.rateMax),
    }
}

pub(crate) fn to_terms(from: &Terms) -> Result<IDaeeManager::Terms, ChainError> {
    Ok(IDaeeManager::Terms {
        cpuMilli: from.resources.cpu.0,
        memMiB: mem_mib(&from.resources)?,
        gpu: from.resources.gpu,
        policy: from.policy,
        tier: from.tier,
        artifactBytes: from.artifact_bytes,
        bidWindow: from.bid_window,
        startWindow: from.start_window,
        interval: from.interval,
        grace: from.grace,
        openWindow: from.open_window,
        rateMax: from.rate_max.0,
    })
}

/// Whole MiB, rounded up: a node sets aside no less than what was asked for.
pub(crate) fn mem_mib(from: &Resources) -> Result<u32, ChainError> {
    from.memory.mib_ceil().try_into().map_err(|_| ChainError::TooLarge { what: "the memory" })
}

pub(crate) fn to_checkpoint(from: &Checkpoint) -> IDaeeManager::Checkpoint {
    IDaeeManager::Checkpoint {
        deployment: to_id(from.deployment),
        epoch: B256::from(*from.epoch.as_bytes()),
        seq: from.seq,
        prevLeafHash: B256::from(*from.prev_leaf_hash.as_bytes()),
        turn: from.turn,
        preRoot: B256::from(*from.pre_root.as_bytes()),
        stateRoot: B256::from(*from.state_root.as_bytes()),
        logRoot: B256::from(*from.log_root.as_bytes()),
        transcriptRoot: B256::from(*from.transcript_root.as_bytes()),
        artifactHash: B256::from(*from.artifact_hash.as_bytes()),
        runtimeVersion: from.runtime_version,
        fuel: from.fuel,
        coveredSeconds: from.covered_seconds,
    }
}

fn version(from: &IDaeeManager::Version) -> Version {
    Version {
        artifact_hash: ArtifactHash::new(from.artifactHash.0),
        body_hash: BodyHash::new(from.bodyHash.0),
        manifest_hash: ManifestHash::new(from.manifestHash.0),
        number: from.number,
    }
}

/// `None` for a number that was never given out.
pub(crate) fn deployment(
    id: DeploymentId,
    from: &IDaeeManager::Deployment,
    coverage: &IDaeeManager::Coverage,
    at: &Head,
) -> Result<Option<Deployment>, ChainError> {
    let phase = match from.phase {
        0 => return Ok(None),
        1 => Phase::Bidding,
        2 => Phase::Leased,
        3 => Phase::Closing,
        4 => Phase::Closed,
        other => {
            let why = format!("it is in phase {other}");
            return Err(ChainError::Malformed { what: "a deployment", why });
        }
    };
    let lease = &from.lease;
    let counted = if lease.endTime == 0 { coverage.covered } else { lease.coveredLimit };
    Ok(Some(Deployment {
        id,
        owner: address(from.owner),
        phase,
        bids_close: Timestamp::from_seconds(from.bidsClose),
        balance: TokenAmount(from.balance),
        paid: TokenAmount(from.paid),
        state_root: StateRoot::new(from.stateRoot.0),
        agent_id: from.agentId.clone(),
        terms: terms(&from.terms),
        version: version(&from.version),
        pending: (from.pending.number != 0).then(|| version(&from.pending)),
        pending_until: Timestamp::from_seconds(from.pendingUntil),
        lease: Lease {
            node: address(lease.node),
            epoch: EpochId::new(lease.epoch.0),
            rate: Rate(lease.rate),
            bond: TokenAmount(lease.bond),
            assigned_at: Timestamp::from_seconds(lease.assignedAt),
            started_at: time(lease.startedAt),
            end_time: time(lease.endTime),
            seq: lease.seq,
            leaf_hash: LeafHash::new(lease.leafHash.0),
            covered_seconds: credited_seconds(lease.startedAt != 0, counted, lease.coveredBase),
            count: lease.count,
            exit: lease.exit,
            final_open: lease.finalOpen,
        },
        last_anchor: Timestamp::from_seconds(coverage.lastAnchor),
        at: at.time,
        block: at.number,
    }))
}

/// `None` for an account that never registered.
pub(crate) fn node(operator: Address, from: &INodeRegistry::Node) -> Option<NodeRecord> {
    (!from.owner.is_zero()).then(|| NodeRecord {
        operator,
        owner: address(from.owner),
        stake: TokenAmount(from.stake),
        locked: TokenAmount(from.locked),
        unbonding: TokenAmount(from.unbonding),
        unbond_at: Timestamp::from_seconds(from.unbondAt),
        capacity: resources(from.cpuMilli, from.memMiB, from.gpu),
        used: resources(from.cpuUsed, from.memUsed, from.gpuUsed),
        anchor_interval_seconds: from.anchorInterval,
        endpoint: from.endpoint.clone(),
    })
}
