use std::sync::Arc;

use alloy::{
    primitives::{Bytes, TxKind, U256},
    sol_types::{SolCall as _, SolConstructor as _},
};
use daee_types::{Address, Sign, TokenAmount};
use serde::{Deserialize, Serialize};

use crate::{
    ChainError, Contracts,
    abi::{
        manager::{self, DaeeManager},
        outbox::{self, DaeeOutbox},
        registry::{self, NodeRegistry},
        token::{self, TalosToken},
    },
    convert,
    queue::{Landed, Queue},
    rpc::Rpc,
};

/// What development and production differ in. Fixed for good once the contracts are deployed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkParams {
    /// The TALOS that is there already; without one, a stand-in is deployed.
    pub token: Option<Address>,
    /// What there is of the stand-in, all of it the deployer's.
    pub supply: TokenAmount,
    /// Who may pause `register`, `deploy` and `bid`; the deployer unless told.
    pub pauser: Option<Address>,
    /// The least stake that bids.
    pub stake_min: TokenAmount,
    /// Seconds until unstaked tokens leave. More than `tail_seconds`.
    pub unbond_seconds: u32,
    /// Seconds that a bond stays locked after its lease, for evidence.
    pub tail_seconds: u32,
    /// The shortest anchor interval that a node may register, in seconds.
    pub anchor_interval_min_seconds: u32,
    /// The least bond of a lease.
    pub bond_min: TokenAmount,
    /// Burned for each byte of an artifact.
    pub fee_per_byte: TokenAmount,
    /// Seconds at its highest rate that a deployment brings at least.
    pub runway_seconds: u32,
    /// The shortest time that bids are taken, in seconds.
    pub bid_window_min_seconds: u32,
    /// The shortest interval that a tenant may ask for, in seconds.
    pub interval_min_seconds: u32,
}

impl NetworkParams {
    /// For one machine: everything that can take a second takes a second, and little is at stake. Too short
    /// for any chain that others use.
    pub fn dev() -> Self {
        Self {
            token: None,
            supply: TokenAmount::talos(1_000_000_000),
            pauser: None,
            stake_min: TokenAmount::talos(1_000),
            unbond_seconds: 60,
            tail_seconds: 30,
            anchor_interval_min_seconds: 1,
            bond_min: TokenAmount::talos(10),
            // A megabyte burns about one TALOS.
            fee_per_byte: TokenAmount(1_000_000_000_000),
            runway_seconds: 60,
            bid_window_min_seconds: 1,
            interval_min_seconds: 1,
        }
    }

    /// For a public chain: windows of a minute or more, a tail that leaves evidence two days.
    pub fn production(token: Address, pauser: Address) -> Self {
        Self {
            token: Some(token),
            supply: TokenAmount::ZERO,
            pauser: Some(pauser),
            stake_min: TokenAmount::talos(10_000),
            unbond_seconds: 7 * 24 * 60 * 60,
            tail_seconds: 2 * 24 * 60 * 60,
            anchor_interval_min_seconds: 60,
            bond_min: TokenAmount::talos(100),
            fee_per_byte: TokenAmount(1_000_000_000_000),
            runway_seconds: 60 * 60,
            bid_window_min_seconds: 60,
            interval_min_seconds: 60,
        }
    }
}

/// Deploys the contracts of a network from the committed artifacts and ties them together. The deployer
/// gets all of the stand-in token, where one is deployed.
pub async fn deploy_contracts(
    rpc: &str,
    deployer: Arc<dyn Sign>,
    params: &NetworkParams,
) -> Result<Contracts, ChainError> {
    let pauser = convert::to_address(params.pauser.unwrap_or(deployer.address()));
    let me = convert::to_address(deployer.address());
    let work = Deployer::new(rpc, deployer).await?;

    let mut first_block = None;
    let token = match params.token {
        Some(token) => convert::to_address(token),
        None => {
            let with = TalosToken::constructorCall { to: me, supply: U256::from(params.supply.0) };
            let landed = work.create("token", token::ARTIFACT, with.abi_encode()).await?;
            first_block = Some(landed.1);
            landed.0
        }
    };
    let with = NodeRegistry::constructorCall {
        token_: token,
        pauser_: pauser,
        minStake_: params.stake_min.0,
        unbondTime_: params.unbond_seconds,
        tail_: params.tail_seconds,
        anchorIntervalMin_: params.anchor_interval_min_seconds,
    };
    let (registry, block) = work.create("registry", registry::ARTIFACT, with.abi_encode()).await?;
    let first_block = first_block.unwrap_or(block);
    let with = DaeeManager::constructorCall {
        token_: token,
        registry_: registry,
        p: DaeeManager::Params {
            pauser,
            minBond: params.bond_min.0,
            feePerByte: params.fee_per_byte.0,
            minRunway: params.runway_seconds,
            bidWindowMin: params.bid_window_min_seconds,
            intervalMin: params.interval_min_seconds,
        },
    };
    let (manager, _) = work.create("manager", manager::ARTIFACT, with.abi_encode()).await?;
    let set = NodeRegistry::setManagerCall { manager_: manager };
    work.submit(TxKind::Call(registry), set.abi_encode()).await?;
    let with = DaeeOutbox::constructorCall { manager_: manager };
    let (outbox, _) = work.create("outbox", outbox::ARTIFACT, with.abi_encode()).await?;

    Ok(Contracts {
        token: convert::address(token),
        registry: convert::address(registry),
        manager: convert::address(manager),
        outbox: convert::address(outbox),
        first_block,
    })
}

pub(crate) struct Deployer {
    rpc: Rpc,
    key: Arc<dyn Sign>,
    queue: Queue,
}

impl Deployer {
    pub(crate) async fn new(rpc: &str, key: Arc<dyn Sign>) -> Result<Self, ChainError> {
        let rpc = Rpc::connect(&[rpc.to_owned()]).await?;
        Ok(Self { rpc, key, queue: Queue::default() })
    }

    /// The contract's address, and the block it is in.
    pub(crate) async fn create(
        &self,
        what: &'static str,
        artifact: &str,
        arguments: Vec<u8>,
    ) -> Result<(alloy::primitives::Address, u64), ChainError> {
        #[derive(Deserialize)]
        struct Artifact {
            bytecode: Bytes,
        }
        let read: Artifact = serde_json::from_str(artifact).expect("the committed artifact is one");
        let mut code = read.bytecode.to_vec();
        code.extend(arguments);
        let landed = self.submit(TxKind::Create, code).await?;
        let why = || "its receipt names no contract".to_owned();
        let created = landed.created.ok_or_else(|| ChainError::Malformed { what, why: why() })?;
        Ok((created, landed.mined.number))
    }

    async fn submit(&self, to: TxKind, input: Vec<u8>) -> Result<Landed, ChainError> {
        self.queue.submit(&self.rpc, &*self.key, to, input.into()).await
    }
}
