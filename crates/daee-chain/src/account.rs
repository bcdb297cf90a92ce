use std::sync::Arc;

use alloy::{
    primitives::{B256, Bytes, TxKind, U256},
    sol_types::SolCall,
};
use daee_types::{
    Address, ArtifactHash, BodyHash, Checkpoint, DeploymentId, Domain, EpochId, ManifestHash, Rate,
    Sign, Signature, TokenAmount, Word, keccak256,
};

use crate::{
    Chain, ChainError, Mined, Registration, Terms,
    abi::{manager::DaeeManager, outbox::DaeeOutbox, registry::NodeRegistry, token::TalosToken},
    convert,
    events::deployed_id,
    queue::{Landed, Queue},
};

/// What an operator signs to let `owner` register it as a node: the EIP-712 digest of
/// `Register(operator, owner)` under the registry's domain.
pub fn register_consent_digest(
    registry: Address,
    chain_id: u64,
    operator: Address,
    owner: Address,
) -> Word {
    let mut input = Vec::with_capacity(96);
    input.extend(keccak256("Register(address operator,address owner)"));
    input.extend(operator.to_word());
    input.extend(owner.to_word());
    Domain { chain_id, manager: registry }.digest(&keccak256(input))
}

/// A key that sends transactions. Each call waits until its transaction is mined and did not revert; calls
/// may run at the same time. A call that would revert is refused before it is sent, and costs nothing.
///
/// A call that ended in [`ChainError::Lost`] or [`ChainError::NotMined`] may be made again: it never comes
/// to both. The same call again, within ten minutes, is answered by the first one if that was mined after
/// all. A process that ends forgets what it was in doubt about.
#[derive(Clone)]
pub struct Account {
    chain: Chain,
    key: Arc<dyn Sign>,
    queue: Arc<Queue>,
}

impl Account {
    pub(crate) fn new(chain: Chain, key: Arc<dyn Sign>, queue: Arc<Queue>) -> Self {
        Self { chain, key, queue }
    }

    /// The account's address.
    pub fn address(&self) -> Address {
        self.key.address()
    }

    // ---- token ---------------------------------------------------------------------------------

    /// Sends TALOS to another account.
    pub async fn transfer(&self, to: Address, amount: TokenAmount) -> Result<Mined, ChainError> {
        let (to, value) = (convert::to_address(to), U256::from(amount.0));
        self.transact(self.contracts().token, TalosToken::transferCall { to, value }).await
    }

    /// Lets a contract take this much, whatever it was allowed before. The calls below that pay see to it
    /// themselves.
    pub async fn approve(
        &self,
        spender: Address,
        amount: TokenAmount,
    ) -> Result<Mined, ChainError> {
        let (spender, value) = (convert::to_address(spender), U256::from(amount.0));
        self.transact(self.contracts().token, TalosToken::approveCall { spender, value }).await
    }

    // ---- tenants -------------------------------------------------------------------------------

    /// Opens a deployment for bids, and returns its number.
    pub async fn deploy(
        &self,
        agent_id: &str,
        artifact_cid: &[u8],
        artifact_hash: ArtifactHash,
        body_hash: BodyHash,
        terms: &Terms,
        payment: TokenAmount,
    ) -> Result<(DeploymentId, Mined), ChainError> {
        let call = DaeeManager::deployCall {
            agentId: agent_id.to_owned(),
            artifactCid: Bytes::copy_from_slice(artifact_cid),
            artifactHash: B256::from(*artifact_hash.as_bytes()),
            bodyHash: B256::from(*body_hash.as_bytes()),
            terms: convert::to_terms(terms)?,
            payment: payment.0,
        };
        let landed = self.pay(self.contracts().manager, payment, call).await?;
        Ok((deployed_id(self.contracts(), &landed.logs)?, landed.mined))
    }

    /// Asks for another version: at once while bids are taken, else as soon as the lessee runs it.
    pub async fn update(
        &self,
        id: DeploymentId,
        artifact_cid: &[u8],
        artifact_hash: ArtifactHash,
        body_hash: BodyHash,
        artifact_bytes: u32,
    ) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::updateCall {
            id: convert::to_id(id),
            artifactCid: Bytes::copy_from_slice(artifact_cid),
            artifactHash: B256::from(*artifact_hash.as_bytes()),
            bodyHash: B256::from(*body_hash.as_bytes()),
            artifactBytes: artifact_bytes,
        })
        .await
    }

    /// Ends the deployment: a lease gets its closing window, what is left in escrow can be withdrawn after.
    pub async fn stop(&self, id: DeploymentId) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::stopCall { id: convert::to_id(id) }).await
    }

    /// Adds to any deployment's escrow.
    pub async fn top_up(&self, id: DeploymentId, amount: TokenAmount) -> Result<Mined, ChainError> {
        let call = DaeeManager::topUpCall { id: convert::to_id(id), amount: amount.0 };
        Ok(self.pay(self.contracts().manager, amount, call).await?.mined)
    }

    /// Takes out everything that is claimable.
    pub async fn withdraw(&self, to: Address) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::withdrawCall { to: convert::to_address(to) }).await
    }

    // ---- nodes ---------------------------------------------------------------------------------

    /// Registers a node that this account owns, and stakes for it.
    pub async fn register(&self, node: &Registration) -> Result<Mined, ChainError> {
        let call = NodeRegistry::registerCall {
            operator: convert::to_address(node.operator),
            cpuMilli: node.capacity.cpu.0,
            memMiB: convert::mem_mib(&node.capacity)?,
            gpu: node.capacity.gpu,
            anchorInterval: node.anchor_interval_seconds,
            endpoint: node.endpoint.clone(),
            amount: node.stake.0,
            operatorConsent: Bytes::copy_from_slice(&node.consent.0),
        };
        Ok(self.pay(self.contracts().registry, node.stake, call).await?.mined)
    }

    /// Says where the node's API is. By the operator.
    pub async fn set_endpoint(&self, endpoint: &str) -> Result<Mined, ChainError> {
        let call = NodeRegistry::setEndpointCall { endpoint: endpoint.to_owned() };
        self.transact(self.contracts().registry, call).await
    }

    /// Adds to a node's stake.
    pub async fn stake(&self, operator: Address, amount: TokenAmount) -> Result<Mined, ChainError> {
        let operator = convert::to_address(operator);
        let call = NodeRegistry::stakeCall { operator, amount: amount.0 };
        Ok(self.pay(self.contracts().registry, amount, call).await?.mined)
    }

    /// Begins to take out stake that no lease has locked. By the owner.
    pub async fn unstake(
        &self,
        operator: Address,
        amount: TokenAmount,
    ) -> Result<Mined, ChainError> {
        let operator = convert::to_address(operator);
        let call = NodeRegistry::unstakeCall { operator, amount: amount.0 };
        self.transact(self.contracts().registry, call).await
    }

    /// Takes out what was unstaked, once its time is over. By the owner.
    pub async fn withdraw_stake(&self, operator: Address) -> Result<Mined, ChainError> {
        let call = NodeRegistry::withdrawStakeCall { operator: convert::to_address(operator) };
        self.transact(self.contracts().registry, call).await
    }

    /// Frees bonds of leases that are long over. By anyone.
    pub async fn release_tails(&self, operator: Address) -> Result<Mined, ChainError> {
        let call = NodeRegistry::releaseTailsCall { operator: convert::to_address(operator) };
        self.transact(self.contracts().registry, call).await
    }

    /// Bids for a deployment of the version whose bytes were verified. By an operator. An update that got in
    /// before it makes it refused, as `WrongManifest`.
    pub async fn bid(
        &self,
        id: DeploymentId,
        rate: Rate,
        manifest_hash: &ManifestHash,
    ) -> Result<Mined, ChainError> {
        let manifest_hash = B256::from(*manifest_hash.as_bytes());
        let id = convert::to_id(id);
        self.manage(DaeeManager::bidCall { id, rate: rate.0, manifestHash: manifest_hash }).await
    }

    /// Proves the time since the last anchor. By an operator; each root counts once.
    pub async fn anchor(&self, root: Word) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::anchorCall { root: B256::from(root) }).await
    }

    /// Opens a leaf under a root that was anchored. By anyone.
    pub async fn open(&self, leaf: &Checkpoint, proof: &[Word]) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::openCall {
            id: convert::to_id(leaf.deployment),
            leaf: convert::to_checkpoint(leaf),
            proof: proof.iter().copied().map(B256::from).collect(),
        })
        .await
    }

    /// Takes the free exit while an update is pending. By the lessee, or by the owner once the lessee's time for
    /// it is over.
    pub async fn refuse_update(&self, id: DeploymentId) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::refuseUpdateCall { id: convert::to_id(id) }).await
    }

    /// Publishes a value of an agent. By the lessee, in its own epoch.
    pub async fn publish(
        &self,
        id: DeploymentId,
        epoch: EpochId,
        turn: u64,
        topic: Word,
        data: &[u8],
    ) -> Result<Mined, ChainError> {
        let call = DaeeOutbox::publishCall {
            id: convert::to_id(id),
            epoch: B256::from(*epoch.as_bytes()),
            turn,
            topic: B256::from(topic),
            data: Bytes::copy_from_slice(data),
        };
        self.transact(self.contracts().outbox, call).await
    }

    // ---- anyone --------------------------------------------------------------------------------

    /// Gives the lease to the best bidder, or opens bids again where nobody bid.
    pub async fn assign(&self, id: DeploymentId) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::assignCall { id: convert::to_id(id) }).await
    }

    /// Pays what is due on some deployments.
    pub async fn settle(&self, ids: &[DeploymentId]) -> Result<Mined, ChainError> {
        let ids = ids.iter().copied().map(convert::to_id).collect();
        self.manage(DaeeManager::settleCall { ids }).await
    }

    /// Ends a lease whose node is silent, for a bounty.
    pub async fn expire(&self, id: DeploymentId) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::expireCall { id: convert::to_id(id) }).await
    }

    /// Ends a lease whose closing window is over, or whose final leaf is open.
    pub async fn finish(&self, id: DeploymentId) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::finishCall { id: convert::to_id(id) }).await
    }

    /// Says that two signed leaves for one place will be shown in a later block. The order of the two and
    /// the salt are part of it.
    pub async fn commit_evidence(
        &self,
        first: &Checkpoint,
        second: &Checkpoint,
        salt: Word,
    ) -> Result<Mined, ChainError> {
        let mut input = Vec::with_capacity(128);
        input.extend(self.address().to_word());
        input.extend(first.leaf_hash().as_bytes());
        input.extend(second.leaf_hash().as_bytes());
        input.extend(salt);
        let commitment = B256::from(keccak256(input));
        self.manage(DaeeManager::commitEvidenceCall { commitment }).await
    }

    /// Shows them.
    pub async fn report_equivocation(
        &self,
        first: (&Checkpoint, &Signature),
        second: (&Checkpoint, &Signature),
        salt: Word,
    ) -> Result<Mined, ChainError> {
        self.manage(DaeeManager::reportEquivocationCall {
            a: convert::to_checkpoint(first.0),
            signatureA: Bytes::copy_from_slice(&first.1.0),
            b: convert::to_checkpoint(second.0),
            signatureB: Bytes::copy_from_slice(&second.1.0),
            salt: B256::from(salt),
        })
        .await
    }

    // ---- helpers -------------------------------------------------------------------------------

    fn contracts(&self) -> &crate::Contracts {
        self.chain.contracts()
    }

    async fn manage<C: SolCall>(&self, call: C) -> Result<Mined, ChainError> {
        self.transact(self.contracts().manager, call).await
    }

    async fn transact<C: SolCall>(&self, to: Address, call: C) -> Result<Mined, ChainError> {
        Ok(self.submit(to, call).await?.mined)
    }

    /// A call whose contract takes `amount` from this account. One at a time: two would spend one approval.
    async fn pay<C: SolCall>(
        &self,
        to: Address,
        amount: TokenAmount,
        call: C,
    ) -> Result<Landed, ChainError> {
        let _one_at_a_time = self.queue.spending.lock().await;
        let (address, input) = (TxKind::Call(convert::to_address(to)), call.abi_encode().into());
        if let Some(landed) = self.queue.landed(self.chain.rpc(), address, &input).await? {
            // The first one spent its approval; another would stay behind.
            return Ok(landed);
        }
        if self.chain.allowance(self.address(), to).await? < amount {
            self.approve(to, amount).await?;
        }
        self.submit(to, call).await
    }

    async fn submit<C: SolCall>(&self, to: Address, call: C) -> Result<Landed, ChainError> {
        let (to, input) = (TxKind::Call(convert::to_address(to)), Bytes::from(call.abi_encode()));
        self.queue.submit(self.chain.rpc(), &*self.key, to, input).await
    }
}
