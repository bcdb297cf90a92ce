use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use alloy_consensus::{
    EMPTY_OMMER_ROOT_HASH, Eip658Value, Header, Receipt, ReceiptEnvelope, Transaction as _,
    constants::EMPTY_WITHDRAWALS,
    proofs::{calculate_receipt_root, calculate_transaction_root},
};
use alloy_eips::{
    eip1559::{BaseFeeParams, INITIAL_BASE_FEE, calc_next_block_base_fee},
    eip7685::EMPTY_REQUESTS_HASH,
};
use revm::{
    context::result::InvalidTransaction,
    primitives::{Address, B256, Bytes, U256, alloy_primitives::Bloom, keccak256},
};

use crate::{
    block::{Block, Mined, Tx},
    evm::{self, BLOCK_GAS, TX_GAS},
    file::Began,
    rpc::RpcError,
    state::{State, Undo, View},
};

/// How far ahead of its account's nonce a transaction may wait for those before it.
const NONCES_AHEAD_MAX: u64 = 64;
/// Transactions that wait, of all accounts.
const WAITING_MAX: usize = 1024;
/// Seconds that the chain's clock may be moved ahead in all: a hundred years.
const AHEAD_MAX: u64 = 100 * 365 * 24 * 60 * 60;

/// The chain as plain state: it is told the time, and nothing in it waits. A clone is cheap enough to be
/// a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    chain_id: u64,
    state: State,
    blocks: Vec<Arc<Block>>,
    by_hash: HashMap<B256, u64>,
    txs: HashMap<B256, (u64, usize)>,
    waiting: BTreeMap<Address, BTreeMap<u64, Tx>>,
    /// Seconds that the chain's clock is ahead of the wall's.
    ahead: i64,
    /// The time that was asked for the next block.
    next_time: Option<u64>,
    /// Counts the reorganisations, and stands in every header: a block that is mined again is another.
    branch: u64,
}

/// What becomes a block.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) credits: Vec<(Address, U256)>,
    pub(crate) txs: Vec<Tx>,
}

impl Chain {
    pub(crate) fn new(began: &Began) -> Self {
        let mut chain = Self {
            chain_id: began.chain_id,
            state: State::default(),
            blocks: Vec::new(),
            by_hash: HashMap::new(),
            txs: HashMap::new(),
            waiting: BTreeMap::new(),
            ahead: 0,
            next_time: None,
            branch: 0,
        };
        for (address, balance) in &began.accounts {
            chain.state.set_balance(*address, U256::from(balance.0), &mut Undo::default());
        }
        chain.seal(began.time, Vec::new(), Vec::new(), Undo::default());
        chain
    }

    pub(crate) fn chain_id(&self) -> u64 {
        self.chain_id
    }

    pub(crate) fn head(&self) -> &Arc<Block> {
        self.blocks.last().expect("the first block is never dropped")
    }

    pub(crate) fn blocks(&self) -> &[Arc<Block>] {
        &self.blocks
    }

    pub(crate) fn block(&self, number: u64) -> Option<&Arc<Block>> {
        usize::try_from(number).ok().and_then(|number| self.blocks.get(number))
    }

    pub(crate) fn block_by_hash(&self, hash: &B256) -> Option<&Arc<Block>> {
        self.by_hash.get(hash).and_then(|number| self.block(*number))
    }

    pub(crate) fn mined(&self, hash: &B256) -> Option<(&Arc<Block>, usize)> {
        let (number, index) = self.txs.get(hash)?;
        Some((self.block(*number)?, *index))
    }

    pub(crate) fn waits(&self, hash: &B256) -> Option<&Tx> {
        self.waiting.values().flat_map(BTreeMap::values).find(|tx| tx.hash == *hash)
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The state after block `number`.
    pub(crate) fn state_after(&self, number: u64) -> State {
        let mut state = self.state.clone();
        for block in self.blocks.iter().rev().take_while(|block| block.number() > number) {
            state.undo(&block.undo);
        }
        state
    }

    /// The nonce after everything of this account that waits in an unbroken row.
    pub(crate) fn pending_nonce(&self, address: Address) -> u64 {
        let mut nonce = self.state.nonce(address);
        if let Some(waiting) = self.waiting.get(&address) {
            while waiting.contains_key(&nonce) {
                nonce += 1;
            }
        }
        nonce
    }

    /// The time that a block would have if it were mined now.
    pub(crate) fn time(&self, wall: u64) -> u64 {
        let clock = wall.saturating_add_signed(self.ahead);
        self.next_time.unwrap_or(clock).max(self.head().time())
    }

    /// The price of gas in the next block.
    pub(crate) fn next_base_fee(&self) -> u64 {
        let Some(head) = self.blocks.last() else { return INITIAL_BASE_FEE };
        let params = BaseFeeParams::ethereum();
        calc_next_block_base_fee(head.header.gas_used, BLOCK_GAS, head.base_fee(), params)
    }

    /// What `prevrandao` says in the block above this one.
    pub(crate) fn random_above(parent: B256) -> B256 {
        keccak256(parent)
    }

    pub(crate) fn increase_time(&mut self, seconds: u64) -> Result<i64, RpcError> {
        let ahead = self.ahead.checked_add_unsigned(seconds);
        let ahead = ahead.filter(|ahead| *ahead <= AHEAD_MAX as i64);
        self.ahead = ahead.ok_or_else(|| RpcError::params("more than a hundred years ahead"))?;
        Ok(self.ahead)
    }

    pub(crate) fn set_next_time(&mut self, time: u64, wall: u64) -> Result<(), RpcError> {
        if time < self.head().time() {
            return Err(RpcError::params(format!(
                "Timestamp error: {time} is lower than previous block's timestamp"
            )));
        }
        if time > wall.saturating_add(AHEAD_MAX) {
            return Err(RpcError::params("more than a hundred years ahead"));
        }
        self.next_time = Some(time);
        Ok(())
    }

    /// Takes a transaction: mines it, or lets it wait for those before it.
    pub(crate) fn send(&mut self, tx: Tx, wall: u64) -> Result<B256, RpcError> {
        let hash = tx.hash;
        let (sender, nonce) = (tx.from, tx.envelope.nonce());
        if self.waits(&hash).is_some() {
            return Err(RpcError::server("already known"));
        }
        let next = self.state.nonce(sender);
        if nonce > next {
            self.wait(tx, next)?;
            return Ok(hash);
        }
        self.mine(wall, Draft { txs: vec![tx], ..Draft::default() })?;
        self.mine_waiting(wall);
        Ok(hash)
    }

    /// Mines one block, whole or not at all.
    pub(crate) fn mine(&mut self, wall: u64, draft: Draft) -> Result<(), RpcError> {
        let time = self.time(wall);
        let before = (self.ahead, self.next_time);
        if self.next_time.take().is_some() {
            // The clock goes on from there.
            self.ahead = time as i64 - wall as i64;
        }
        self.mine_at(time, draft).inspect_err(|_| (self.ahead, self.next_time) = before)
    }

    /// Mines a block as it was mined before.
    pub(crate) fn mine_again(
        &mut self,
        time: u64,
        ahead: i64,
        branch: u64,
        draft: Draft,
    ) -> Result<(), RpcError> {
        if time < self.head().time() {
            return Err(RpcError::params("its time goes back"));
        }
        (self.ahead, self.branch) = (ahead, branch);
        self.mine_at(time, draft)
    }

    /// Mines everything that waits and has become due.
    pub(crate) fn mine_waiting(&mut self, wall: u64) {
        loop {
            let due = self.waiting.iter().find_map(|(sender, waiting)| {
                let (nonce, _) = waiting.first_key_value()?;
                (*nonce <= self.state.nonce(*sender)).then_some(*sender)
            });
            let Some(sender) = due else { return };
            let Some(waiting) = self.waiting.get_mut(&sender) else { return };
            let tx = waiting.pop_first();
            if waiting.is_empty() {
                self.waiting.remove(&sender);
            }
            let Some((_, tx)) = tx else { return };
            let hash = tx.hash;
            if let Err(error) = self.mine(wall, Draft { txs: vec![tx], ..Draft::default() }) {
                tracing::warn!(%hash, error = error.message, "a transaction that waited is dropped");
            }
        }
    }

    /// Drops the newest `depth` blocks and mines as many again, with these transactions by their place.
    /// Times stay as they were, hashes do not.
    pub(crate) fn reorganise(&mut self, depth: u64, txs: Vec<(Tx, u64)>) -> Result<(), RpcError> {
        let head = self.head().number();
        if depth > head {
            return Err(RpcError::params(format!(
                "Reorg depth must not exceed current chain height: current height {head}, depth {depth}"
            )));
        }
        if txs.iter().any(|(_, place)| *place >= depth) {
            return Err(RpcError::params("a transaction is placed above the new head"));
        }
        let before = self.clone();
        let times: Vec<u64> =
            self.blocks[(head - depth + 1) as usize..].iter().map(|block| block.time()).collect();
        self.truncate(head - depth);
        self.branch += 1;
        let mut drafts: Vec<Draft> = times.iter().map(|_| Draft::default()).collect();
        for (tx, place) in txs {
            drafts[place as usize].txs.push(tx);
        }
        for (time, draft) in times.into_iter().zip(drafts) {
            if let Err(error) = self.mine_at(time, draft) {
                *self = before;
                return Err(error);
            }
        }
        Ok(())
    }

    fn wait(&mut self, tx: Tx, next: u64) -> Result<(), RpcError> {
        let nonce = tx.envelope.nonce();
        if nonce - next > NONCES_AHEAD_MAX {
            return Err(RpcError::server(format!(
                "nonce too high: next nonce {next}, tx nonce {nonce}"
            )));
        }
        if self.waiting.values().map(BTreeMap::len).sum::<usize>() >= WAITING_MAX {
            return Err(RpcError::server("txpool is full"));
        }
        // What cannot be mined at any time does not wait either.
        if tx.envelope.gas_limit() > TX_GAS {
            return Err(RpcError::server(gas_limit_too_high(tx.envelope.gas_limit())));
        }
        if tx.envelope.chain_id().is_some_and(|id| id != self.chain_id) {
            return Err(RpcError::server(invalid_chain_id(&tx, self.chain_id)));
        }
        let waiting = self.waiting.entry(tx.from).or_default();
        if let Some(other) = waiting.get(&nonce)
            && other.envelope.max_fee_per_gas() >= tx.envelope.max_fee_per_gas()
        {
            return Err(RpcError::server("replacement transaction underpriced"));
        }
        waiting.insert(nonce, tx);
        Ok(())
    }

    fn mine_at(&mut self, time: u64, draft: Draft) -> Result<(), RpcError> {
        let mut undo = Undo::default();
        for (address, balance) in &draft.credits {
            self.state.set_balance(*address, *balance, &mut undo);
        }
        match self.execute(time, draft.txs, &mut undo) {
            Ok(txs) => {
                self.seal(time, draft.credits, txs, undo);
                Ok(())
            }
            Err(error) => {
                self.state.undo(&undo);
                Err(error)
            }
        }
    }

    fn execute(
        &mut self,
        time: u64,
        txs: Vec<Tx>,
        undo: &mut Undo,
    ) -> Result<Vec<Mined>, RpcError> {
        let parent = self.head();
        let random = Self::random_above(parent.hash);
        let env = evm::block_env(parent.number() + 1, time, self.next_base_fee(), random);
        let mut mined: Vec<Mined> = Vec::with_capacity(txs.len());
        let (mut cumulative, mut first_log) = (0, 0);
        for tx in txs {
            if tx.envelope.gas_limit() > BLOCK_GAS - cumulative {
                return Err(RpcError::server("exceeds block gas limit"));
            }
            let view = View { state: &self.state, blocks: &self.blocks };
            let executed = evm::transact(view, self.chain_id, env.clone(), evm::tx_env(&tx))
                .map_err(|error| self.refusal(&tx, error))?;
            self.state.apply(executed.state, undo);
            let result = executed.result;
            let gas_used = result.tx_gas_used();
            cumulative += gas_used;
            let created = result.created_address();
            let receipt = Receipt {
                status: Eip658Value::Eip658(result.is_success()),
                cumulative_gas_used: cumulative,
                logs: result.into_logs(),
            };
            let logs = receipt.logs.len();
            let receipt = ReceiptEnvelope::from_typed(tx.envelope.tx_type(), receipt.with_bloom());
            mined.push(Mined { tx, receipt, created, gas_used, first_log });
            first_log += logs;
        }
        Ok(mined)
    }

    fn seal(&mut self, time: u64, credits: Vec<(Address, U256)>, txs: Vec<Mined>, undo: Undo) {
        // Most blocks are empty, and the root costs as much as there is state.
        let state_root = match self.blocks.last() {
            Some(parent) if undo.is_empty() => parent.header.state_root,
            _ => self.state.root(),
        };
        let parent_hash = self.blocks.last().map_or(B256::ZERO, |parent| parent.hash);
        let signed: Vec<_> = txs.iter().map(|mined| &mined.tx.envelope).collect();
        let receipts: Vec<_> = txs.iter().map(|mined| &mined.receipt).collect();
        let mut bloom = Bloom::ZERO;
        receipts.iter().for_each(|receipt| bloom.accrue_bloom(receipt.logs_bloom()));
        let extra_data = match self.branch {
            0 => Bytes::new(),
            branch => Bytes::copy_from_slice(&branch.to_be_bytes()),
        };
        let header = Header {
            parent_hash,
            ommers_hash: EMPTY_OMMER_ROOT_HASH,
            state_root,
            transactions_root: calculate_transaction_root(&signed),
            receipts_root: calculate_receipt_root(&receipts),
            logs_bloom: bloom,
            number: self.blocks.len() as u64,
            gas_limit: BLOCK_GAS,
            gas_used: txs.iter().map(|mined| mined.gas_used).sum(),
            timestamp: time,
            extra_data,
            mix_hash: Self::random_above(parent_hash),
            base_fee_per_gas: Some(self.next_base_fee()),
            withdrawals_root: Some(EMPTY_WITHDRAWALS),
            blob_gas_used: Some(0),
            excess_blob_gas: Some(0),
            parent_beacon_block_root: Some(B256::ZERO),
            requests_hash: Some(EMPTY_REQUESTS_HASH),
            ..Header::default()
        };
        let hash = header.hash_slow();
        for (index, mined) in txs.iter().enumerate() {
            self.txs.insert(mined.tx.hash, (header.number, index));
        }
        self.by_hash.insert(hash, header.number);
        let block =
            Block { header, hash, txs, undo, credits, ahead: self.ahead, branch: self.branch };
        self.blocks.push(Arc::new(block));
    }

    /// Drops the blocks above this one.
    pub(crate) fn truncate(&mut self, number: u64) {
        while self.head().number() > number {
            let Some(block) = self.blocks.pop() else { return };
            self.state.undo(&block.undo);
            self.by_hash.remove(&block.hash);
            for mined in &block.txs {
                self.txs.remove(&mined.tx.hash);
            }
        }
    }

    /// Why a transaction is refused, in the words that clients know from geth.
    fn refusal(&self, tx: &Tx, error: InvalidTransaction) -> RpcError {
        let signed = &tx.envelope;
        RpcError::server(match error {
            InvalidTransaction::NonceTooLow { tx, state } => {
                format!("nonce too low: next nonce {state}, tx nonce {tx}")
            }
            InvalidTransaction::NonceTooHigh { tx, state } => {
                format!("nonce too high: next nonce {state}, tx nonce {tx}")
            }
            InvalidTransaction::NonceOverflowInTransaction => "nonce has max value".to_owned(),
            InvalidTransaction::LackOfFundForMaxFee { fee, balance } => format!(
                "insufficient funds for gas * price + value: balance {balance}, tx cost {fee}, overshot {}",
                fee.saturating_sub(*balance)
            ),
            InvalidTransaction::OverflowPaymentInTransaction => {
                "insufficient funds for gas * price + value".to_owned()
            }
            InvalidTransaction::GasPriceLessThanBasefee => format!(
                "max fee per gas less than block base fee: address {}, maxFeePerGas: {}, baseFee: {}",
                tx.from,
                signed.max_fee_per_gas(),
                self.next_base_fee()
            ),
            InvalidTransaction::PriorityFeeGreaterThanMaxFee => format!(
                "max priority fee per gas higher than max fee per gas: address {}, maxPriorityFeePerGas: {}, maxFeePerGas: {}",
                tx.from,
                signed.max_priority_fee_per_gas().unwrap_or_default(),
                signed.max_fee_per_gas()
            ),
            InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, gas_limit } => {
                format!("intrinsic gas too low: gas {gas_limit}, minimum needed {initial_gas}")
            }
            InvalidTransaction::GasFloorMoreThanGasLimit { gas_floor, gas_limit } => format!(
                "insufficient gas for floor data gas cost: gas {gas_limit}, minimum needed {gas_floor}"
            ),
            InvalidTransaction::TxGasLimitGreaterThanCap { gas_limit, .. } => {
                gas_limit_too_high(gas_limit)
            }
            InvalidTransaction::CallerGasLimitMoreThanBlock => "exceeds block gas limit".to_owned(),
            InvalidTransaction::InvalidChainId => invalid_chain_id(tx, self.chain_id),
            InvalidTransaction::RejectCallerWithCode => {
                format!("sender not an eoa: address {}", tx.from)
            }
            InvalidTransaction::CreateInitCodeSizeLimit => "max initcode size exceeded".to_owned(),
            other => other.to_string(),
        })
    }
}

fn gas_limit_too_high(gas_limit: u64) -> String {
    format!("transaction gas limit too high (cap: {TX_GAS}, tx: {gas_limit})")
}

fn invalid_chain_id(tx: &Tx, chain_id: u64) -> String {
    let have = tx.envelope.chain_id().unwrap_or_default();
    format!("invalid chain id for signer: have {have} want {chain_id}")
}
