use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use alloy::{
    primitives::{B256, Bytes, U64, U256},
    sol_types::SolCall,
};
use daee_types::{Address, DeploymentId, Domain, Sign, Timestamp, TokenAmount, Word};
use futures_util::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use crate::{
    Account, ChainError, ChainEvent, Contracts, Cursor, Deployment, Follower, Head, NodeRecord,
    Published, Terms,
    abi::{
        manager::{DaeeManager, IDaeeManager},
        outbox::DaeeOutbox,
        registry::NodeRegistry,
        token::TalosToken,
    },
    convert,
    queue::Queue,
    revert,
    rpc::{Block, Log, Rpc, RpcError},
};

/// Operators that one call asks for.
const PAGE: u64 = 200;
/// Records that are read at the same time.
const READERS: usize = 8;

/// The contracts of one network, through one or more endpoints. Cheap to clone.
#[derive(Clone)]
pub struct Chain(Arc<Inner>);

struct Inner {
    rpc: Rpc,
    contracts: Contracts,
    /// One queue for each key, however many accounts are made of it.
    queues: Mutex<HashMap<Address, Arc<Queue>>>,
}

impl Chain {
    /// Checks that an endpoint answers, that all that answer serve one chain, and that the contracts are
    /// there. Endpoints are used in order, the next one when one fails.
    pub async fn connect(rpc: &[String], contracts: Contracts) -> Result<Self, ChainError> {
        let rpc = Rpc::connect(rpc).await?;
        for (what, address) in [
            ("token", contracts.token),
            ("registry", contracts.registry),
            ("manager", contracts.manager),
            ("outbox", contracts.outbox),
        ] {
            let at = convert::to_address(address);
            let code: Bytes = rpc
                .ask("eth_getCode", json!([at, "latest"]))
                .await
                .map_err(|error| error.reading("the contracts"))?;
            if code.is_empty() {
                return Err(ChainError::NoContract { what, address, chain_id: rpc.chain_id() });
            }
        }
        Ok(Self(Arc::new(Inner { rpc, contracts, queues: Mutex::default() })))
    }

    /// What checkpoints are signed for.
    pub fn domain(&self) -> Domain {
        Domain { chain_id: self.0.rpc.chain_id(), manager: self.0.contracts.manager }
    }

    /// Where the contracts are.
    pub fn contracts(&self) -> &Contracts {
        &self.0.contracts
    }

    /// The newest block.
    pub async fn head(&self) -> Result<Head, ChainError> {
        let found = self.block(json!("latest")).await?;
        found.ok_or_else(|| ChainError::Malformed {
            what: "the newest block",
            why: "there is none".to_owned(),
        })
    }

    /// A deployment with its lease and what is credited to it, all read at one block. `None` for a number
    /// that was never given out.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Option<Deployment>, ChainError> {
        let mut tries = 3;
        loop {
            let head = self.head().await?;
            match self.deployment_at(id, &head).await {
                // An endpoint that is a block behind does not know the state there yet.
                Err(ChainError::Refused { .. }) if tries > 1 => tries -= 1,
                read => return read,
            }
        }
    }

    async fn deployment_at(
        &self,
        id: DeploymentId,
        at: &Head,
    ) -> Result<Option<Deployment>, ChainError> {
        let block = json!(U64::from(at.number));
        let manager = self.0.contracts.manager;
        let call = DaeeManager::deploymentCall { id: convert::to_id(id) };
        let found = self.call_at(manager, &call, "a deployment", &block).await?;
        let coverage = if found.lease.node.is_zero() {
            IDaeeManager::Coverage { lastAnchor: 0, covered: 0, anchors: 0, interval: 0 }
        } else {
            let call = DaeeManager::coverageCall { node: found.lease.node };
            self.call_at(manager, &call, "a node's coverage", &block).await?
        };
        convert::deployment(id, &found, &coverage, at)
    }

    /// How many deployments there ever were; they are numbered from 1.
    pub async fn deployment_count(&self) -> Result<u64, ChainError> {
        let call = DaeeManager::deploymentCountCall {};
        let count = self.call(self.0.contracts.manager, &call, "the deployments").await?;
        Ok(convert::id(count)?.0)
    }

    /// What the registry knows of a node.
    pub async fn node(&self, operator: Address) -> Result<Option<NodeRecord>, ChainError> {
        let call = NodeRegistry::nodeCall { operator: convert::to_address(operator) };
        let found = self.call(self.0.contracts.registry, &call, "a node").await?;
        Ok(convert::node(operator, &found))
    }

    /// Every node that ever registered, oldest first.
    pub async fn operators(&self) -> Result<Vec<Address>, ChainError> {
        let mut all = Vec::new();
        loop {
            let call = NodeRegistry::operatorsCall {
                from: U256::from(all.len()),
                count: U256::from(PAGE),
            };
            let page = self.call(self.0.contracts.registry, &call, "the nodes").await?;
            all.extend(page.iter().copied().map(convert::address));
            if (page.len() as u64) < PAGE {
                return Ok(all);
            }
        }
    }

    /// The records of all of them.
    pub async fn nodes(&self) -> Result<Vec<NodeRecord>, ChainError> {
        let operators = self.operators().await?;
        let records = futures_util::stream::iter(operators).map(|operator| self.node(operator));
        let found: Vec<_> = records.buffered(READERS).try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    /// How many TALOS an account holds.
    pub async fn balance(&self, account: Address) -> Result<TokenAmount, ChainError> {
        let call = TalosToken::balanceOfCall { account: convert::to_address(account) };
        convert::amount(self.call(self.0.contracts.token, &call, "a balance").await?)
    }

    /// How many TALOS of an owner's a contract may take.
    pub async fn allowance(
        &self,
        owner: Address,
        spender: Address,
    ) -> Result<TokenAmount, ChainError> {
        let (owner, spender) = (convert::to_address(owner), convert::to_address(spender));
        let call = TalosToken::allowanceCall { owner, spender };
        // An unlimited one does not fit, and is as good as what does.
        let found = self.call(self.0.contracts.token, &call, "an allowance").await?;
        Ok(TokenAmount(u128::try_from(found).unwrap_or(u128::MAX)))
    }

    /// What an account can withdraw from the manager.
    pub async fn claimable(&self, account: Address) -> Result<TokenAmount, ChainError> {
        let call = DaeeManager::claimableCall { account: convert::to_address(account) };
        convert::amount(self.call(self.0.contracts.manager, &call, "a claim").await?)
    }

    /// The least that a deployment with these terms brings.
    pub async fn minimum_payment(&self, terms: &Terms) -> Result<TokenAmount, ChainError> {
        let call = DaeeManager::minimumPaymentCall { terms: convert::to_terms(terms)? };
        convert::amount(self.call(self.0.contracts.manager, &call, "the least payment").await?)
    }

    /// What a settlement would pay now.
    pub async fn due(&self, id: DeploymentId) -> Result<TokenAmount, ChainError> {
        let call = DaeeManager::dueCall { id: convert::to_id(id) };
        convert::amount(self.call(self.0.contracts.manager, &call, "what is due").await?)
    }

    /// What a deployment's agent published last under a topic.
    pub async fn latest(
        &self,
        id: DeploymentId,
        topic: Word,
    ) -> Result<Option<Published>, ChainError> {
        let call = DaeeOutbox::latestCall { id: convert::to_id(id), topic: B256::from(topic) };
        let found = self.call(self.0.contracts.outbox, &call, "a published value").await?;
        Ok((found.time != 0).then(|| Published {
            time: Timestamp::from_seconds(found.time),
            turn: found.turn,
            data: found.data.to_vec(),
        }))
    }

    /// An account that sends transactions. Accounts of one key share one queue.
    pub fn account(&self, key: Arc<dyn Sign>) -> Account {
        let mut queues = self.0.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let queue = Arc::clone(queues.entry(key.address()).or_default());
        Account::new(self.clone(), key, queue)
    }

    /// Follows events from where a cursor stands, or from the contracts' first block.
    pub fn follow(&self, cursor: Option<Cursor>) -> Follower {
        Follower::new(self.clone(), cursor)
    }

    pub(crate) fn rpc(&self) -> &Rpc {
        &self.0.rpc
    }

    /// `None` for a block that is not there (any more, or yet).
    pub(crate) async fn block(&self, which: Value) -> Result<Option<Head>, ChainError> {
        let asked = self.0.rpc.ask("eth_getBlockByNumber", json!([which, false])).await;
        let found: Option<Block> = asked.map_err(|error| error.reading("a block"))?;
        Ok(found.map(|block| Head {
            number: block.number.to(),
            hash: convert::word(block.hash),
            time: Timestamp::from_seconds(block.timestamp.to()),
        }))
    }

    /// Events of blocks `from..=to` in their order.
    pub(crate) async fn events(
        &self,
        from: u64,
        to: u64,
    ) -> Result<Vec<(Word, ChainEvent)>, RpcError> {
        let contracts = &self.0.contracts;
        let of = [contracts.manager, contracts.registry, contracts.outbox].map(convert::to_address);
        let filter =
            json!([{ "fromBlock": U64::from(from), "toBlock": U64::from(to), "address": of }]);
        let mut logs: Vec<Log> = self.0.rpc.ask("eth_getLogs", filter).await?;
        logs.sort_by_key(|log| (log.block_number, log.log_index));
        let mut events = Vec::with_capacity(logs.len());
        for log in &logs {
            let read = ChainEvent::read(contracts, log);
            let read = read.map_err(|error| RpcError::Malformed(error.to_string()))?;
            events.extend(read.map(|event| (convert::word(log.block_hash), event)));
        }
        Ok(events)
    }

    pub(crate) async fn call<C: SolCall>(
        &self,
        to: Address,
        call: &C,
        what: &'static str,
    ) -> Result<C::Return, ChainError> {
        self.call_at(to, call, what, &json!("latest")).await
    }

    async fn call_at<C: SolCall>(
        &self,
        to: Address,
        call: &C,
        what: &'static str,
        block: &Value,
    ) -> Result<C::Return, ChainError> {
        let request =
            json!({ "to": convert::to_address(to), "data": Bytes::from(call.abi_encode()) });
        let answer: Bytes = match self.0.rpc.ask("eth_call", json!([request, block])).await {
            Ok(answer) => answer,
            Err(RpcError::Answered { message, data: Some(data), .. }) => {
                return Err(revert::explain(Some(&data), &message));
            }
            Err(error) => return Err(error.reading(what)),
        };
        C::abi_decode_returns(&answer)
            .map_err(|error| ChainError::Malformed { what, why: error.to_string() })
    }
}
