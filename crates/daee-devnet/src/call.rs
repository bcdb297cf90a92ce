use alloy_eips::{BlockId, BlockNumberOrTag, eip2930::AccessList};
use revm::{
    context::{
        TxEnv,
        result::{ExecutionResult, HaltReason, InvalidTransaction},
    },
    primitives::{Address, Bytes, TxKind, U256},
};
use serde::Deserialize;

use crate::{
    block::Block,
    chain::Chain,
    evm::{self, TX_GAS},
    rpc::{Budget, Quantity, RpcError},
    state::{State, View},
};

/// The transaction object of `eth_call` and `eth_estimateGas`. What it does not know is refused, for an
/// answer that left it out would be the answer to another question.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Call {
    from: Option<Address>,
    to: Option<Address>,
    gas: Option<Quantity>,
    gas_price: Option<U256>,
    max_fee_per_gas: Option<U256>,
    max_priority_fee_per_gas: Option<U256>,
    value: Option<U256>,
    data: Option<Bytes>,
    input: Option<Bytes>,
    nonce: Option<Quantity>,
    chain_id: Option<Quantity>,
    access_list: Option<AccessList>,
    #[serde(rename = "type")]
    kind: Option<Quantity>,
}

/// The place at which something is read or called.
pub(crate) struct Place<'a> {
    state: Where<'a>,
    block: &'a Block,
    pending: bool,
}

enum Where<'a> {
    Head(&'a State),
    Past(State),
}

impl Chain {
    /// Finds the block that a client names. `latest` and `pending` are executed at the time of the call.
    pub(crate) fn place(&self, id: BlockId) -> Result<Place<'_>, RpcError> {
        let head = self.head();
        let (block, pending) = match id {
            BlockId::Number(BlockNumberOrTag::Pending) => (head, true),
            BlockId::Number(tag) => (self.tagged(tag)?, false),
            BlockId::Hash(hash) => {
                let block = self.block_by_hash(&hash.block_hash);
                (block.ok_or_else(|| RpcError::server("header for hash not found"))?, false)
            }
        };
        let state = match block.number() == head.number() {
            true => Where::Head(self.state()),
            false => Where::Past(self.state_after(block.number())),
        };
        Ok(Place { state, block, pending })
    }

    /// The block that a number or a tag stands for.
    pub(crate) fn tagged(&self, tag: BlockNumberOrTag) -> Result<&std::sync::Arc<Block>, RpcError> {
        let head = self.head().number();
        let number = match tag {
            BlockNumberOrTag::Number(number) => number,
            BlockNumberOrTag::Earliest => 0,
            BlockNumberOrTag::Latest | BlockNumberOrTag::Pending => head,
            // As far behind as Anvil has them: one epoch and two.
            BlockNumberOrTag::Safe => head.saturating_sub(32),
            BlockNumberOrTag::Finalized => head.saturating_sub(64),
        };
        self.block(number).ok_or_else(|| {
            RpcError::params(format!(
                "BlockOutOfRangeError: block height is {head} but requested was {number}"
            ))
        })
    }

    /// Calls, and says what came back.
    pub(crate) fn call(
        &self,
        call: &Call,
        place: &Place<'_>,
        wall: u64,
        budget: &mut Budget,
    ) -> Result<Bytes, RpcError> {
        let gas = call.gas.map_or(TX_GAS, |gas| gas.0.min(TX_GAS));
        match self.simulate(call, gas, place, wall, budget)? {
            ExecutionResult::Success { output, .. } => Ok(output.into_data()),
            failed => Err(failure(failed, gas)),
        }
    }

    /// The least gas with which it succeeds, up to 1.5 % more.
    pub(crate) fn estimate(
        &self,
        call: &Call,
        place: &Place<'_>,
        wall: u64,
        budget: &mut Budget,
    ) -> Result<u64, RpcError> {
        let most = self.affordable(call, place)?;
        let result = self.simulate(call, most, place, wall, budget)?;
        let ExecutionResult::Success { .. } = result else { return Err(failure(result, most)) };
        let used = result.tx_gas_used();
        let (mut too_little, mut enough) = (used.saturating_sub(1), most);
        // Most often what it used is enough; else what is refunded must be there first, and each call
        // keeps a 64th back.
        let mut guesses = vec![(used + result.gas().inner_refunded() + 2300) * 64 / 63, used];
        while enough > too_little + 1 && (enough - too_little) * 1000 / enough >= 15 {
            let middle = too_little + (enough - too_little) / 2;
            let guess = guesses.pop().unwrap_or(middle).clamp(too_little + 1, enough - 1);
            match self.simulate(call, guess, place, wall, budget) {
                Ok(ExecutionResult::Success { .. }) => enough = guess,
                Err(error) if error.is_limit() => return Err(error),
                Ok(_) | Err(_) => too_little = guess,
            }
        }
        Ok(enough)
    }

    fn affordable(&self, call: &Call, place: &Place<'_>) -> Result<u64, RpcError> {
        let most = call.gas.map_or(TX_GAS, |gas| gas.0.min(TX_GAS));
        let price = call.max_fee_per_gas.or(call.gas_price).unwrap_or_default();
        if price.is_zero() {
            return Ok(most);
        }
        let balance = place.state().balance(call.from.unwrap_or_default());
        let left = balance
            .checked_sub(call.value.unwrap_or_default())
            .ok_or_else(|| RpcError::server("insufficient funds for transfer"))?;
        Ok(u64::try_from(left / price).unwrap_or(u64::MAX).min(most))
    }

    fn simulate(
        &self,
        call: &Call,
        gas: u64,
        place: &Place<'_>,
        wall: u64,
        budget: &mut Budget,
    ) -> Result<ExecutionResult, RpcError> {
        budget.room_for_gas()?;
        let block = place.block;
        let head = block.number() == self.head().number();
        let priced = call.gas_price.or(call.max_fee_per_gas).is_some_and(|price| !price.is_zero());
        let time = if head { self.time(wall) } else { block.time() };
        let (number, random, base_fee) = match place.pending {
            true => (block.number() + 1, Chain::random_above(block.hash), self.next_base_fee()),
            false => (block.number(), block.header.mix_hash, block.base_fee()),
        };
        // Who names no price pays none, as in geth.
        let env = evm::block_env(number, time, if priced { base_fee } else { 0 }, random);
        let below = usize::try_from(number).unwrap_or(usize::MAX).min(self.blocks().len());
        let view = View { state: place.state(), blocks: &self.blocks()[..below] };
        let tx = self.unsigned(call, gas, place)?;
        let result = evm::simulate(view, self.chain_id(), env, tx).map_err(|e| refused(e, gas))?;
        budget.take_gas(result.tx_gas_used());
        Ok(result)
    }

    fn unsigned(&self, call: &Call, gas: u64, place: &Place<'_>) -> Result<TxEnv, RpcError> {
        let caller = call.from.unwrap_or_default();
        if call.chain_id.is_some_and(|id| id.0 != self.chain_id()) {
            return Err(RpcError::params(format!(
                "chainId does not match, want {}",
                self.chain_id()
            )));
        }
        if call.gas_price.is_some() && call.max_fee_per_gas.is_some() {
            return Err(RpcError::params(
                "both gasPrice and (maxFeePerGas or maxPriorityFeePerGas) specified",
            ));
        }
        if call.kind.is_some_and(|kind| kind.0 > 2) {
            return Err(RpcError::params("only calls of type 0, 1 and 2 are supported"));
        }
        if let (Some(data), Some(input)) = (&call.data, &call.input)
            && data != input
        {
            return Err(RpcError::params(
                "both \"data\" and \"input\" are set and not equal. Please use \"input\" to pass transaction call data",
            ));
        }
        let price = |price: Option<U256>| {
            let price = price.unwrap_or_default();
            u128::try_from(price).map_err(|_| RpcError::params("a price of gas is out of range"))
        };
        let dynamic = call.max_fee_per_gas.is_some();
        let kind = match (dynamic, &call.access_list) {
            (true, _) => 2,
            (false, Some(_)) => 1,
            (false, None) => 0,
        };
        Ok(TxEnv {
            tx_type: kind,
            caller,
            gas_limit: gas,
            gas_price: price(call.max_fee_per_gas.or(call.gas_price))?,
            gas_priority_fee: match dynamic {
                true => Some(price(call.max_priority_fee_per_gas)?),
                false => None,
            },
            kind: call.to.map_or(TxKind::Create, TxKind::Call),
            value: call.value.unwrap_or_default(),
            data: call.input.clone().or_else(|| call.data.clone()).unwrap_or_default(),
            nonce: call.nonce.map_or_else(|| place.state().nonce(caller), |nonce| nonce.0),
            chain_id: Some(self.chain_id()),
            access_list: call.access_list.clone().unwrap_or_default(),
            ..TxEnv::default()
        })
    }
}

impl Place<'_> {
    pub(crate) fn state(&self) -> &State {
        match &self.state {
            Where::Head(state) => state,
            Where::Past(state) => state,
        }
    }

    pub(crate) fn block(&self) -> &Block {
        self.block
    }

    pub(crate) fn pending(&self) -> bool {
        self.pending
    }
}

fn refused(error: InvalidTransaction, gas: u64) -> RpcError {
    RpcError::server(match error {
        InvalidTransaction::LackOfFundForMaxFee { fee, balance } => {
            format!("insufficient funds for gas * price + value: balance {balance}, tx cost {fee}")
        }
        InvalidTransaction::CallGasCostMoreThanGasLimit { initial_gas, .. } => {
            format!("intrinsic gas too low: gas {gas}, minimum needed {initial_gas}")
        }
        InvalidTransaction::GasPriceLessThanBasefee => {
            "max fee per gas less than block base fee".to_owned()
        }
        other => other.to_string(),
    })
}

fn failure(result: ExecutionResult, gas: u64) -> RpcError {
    match result {
        ExecutionResult::Revert { output, .. } => RpcError::revert(output),
        ExecutionResult::Halt { reason: HaltReason::OutOfGas(_), .. } => {
            RpcError::server(format!("out of gas: gas required exceeds allowance ({gas})"))
        }
        ExecutionResult::Halt { reason, .. } => RpcError::server(reason.to_string()),
        ExecutionResult::Success { .. } => RpcError::server("no failure"),
    }
}
