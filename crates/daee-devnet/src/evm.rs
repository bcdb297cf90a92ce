use std::{convert::Infallible, marker::PhantomData};

use alloy_consensus::Transaction as _;
use revm::{
    Context, ExecuteEvm as _, MainBuilder as _, MainContext as _,
    context::{
        BlockEnv, CfgEnv, ContextSetters as _, TxEnv,
        result::{EVMError, ExecResultAndState, ExecutionResult, HaltReason, InvalidTransaction},
    },
    context_interface::{
        ContextTr, JournalTr, block::BlobExcessGasAndPrice, cfg::gas::InitialAndFloorGas,
        either::Either, journaled_state::account::JournaledAccountTr as _,
        transaction::Transaction as _,
    },
    handler::{
        EvmTr, EvmTrError, FrameResult, FrameTr, Handler, pre_execution::calculate_caller_fee,
    },
    interpreter::interpreter_action::FrameInit,
    primitives::{B256, U256, eip4844::BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE, hardfork::SpecId},
    state::EvmState,
};

use crate::{block::Tx, state::View};

/// The rules of the chain: what Anvil runs by default, so that both charge the same gas.
pub(crate) const SPEC: SpecId = SpecId::OSAKA;

/// Gas of one block.
pub(crate) const BLOCK_GAS: u64 = 30_000_000;

/// Gas of one transaction (EIP-7825).
pub(crate) const TX_GAS: u64 = 1 << 24;

/// What one execution led to, and what it would change.
pub(crate) type Executed = ExecResultAndState<ExecutionResult, EvmState>;

/// The place in the chain at which something is executed.
pub(crate) fn block_env(number: u64, time: u64, base_fee: u64, random: B256) -> BlockEnv {
    BlockEnv {
        number: U256::from(number),
        timestamp: U256::from(time),
        gas_limit: BLOCK_GAS,
        basefee: base_fee,
        prevrandao: Some(random),
        blob_excess_gas_and_price: Some(BlobExcessGasAndPrice::new(
            0,
            BLOB_BASE_FEE_UPDATE_FRACTION_PRAGUE,
        )),
        ..BlockEnv::default()
    }
}

/// A signed transaction as the EVM takes it.
pub(crate) fn tx_env(tx: &Tx) -> TxEnv {
    let signed = &tx.envelope;
    let authorizations = signed.authorization_list().unwrap_or_default();
    TxEnv {
        tx_type: signed.tx_type() as u8,
        caller: tx.from,
        gas_limit: signed.gas_limit(),
        gas_price: signed.max_fee_per_gas(),
        gas_priority_fee: signed.max_priority_fee_per_gas(),
        kind: signed.kind(),
        value: signed.value(),
        data: signed.input().clone(),
        nonce: signed.nonce(),
        chain_id: signed.chain_id(),
        access_list: signed.access_list().cloned().unwrap_or_default(),
        authorization_list: authorizations.iter().cloned().map(Either::Left).collect(),
        ..TxEnv::default()
    }
}

/// Executes a signed transaction under every rule.
pub(crate) fn transact(
    view: View<'_>,
    chain_id: u64,
    block: BlockEnv,
    tx: TxEnv,
) -> Result<Executed, InvalidTransaction> {
    let context = Context::mainnet().with_ref_db(view).with_block(block);
    let mut evm = context.modify_cfg_chained(|cfg| configure(cfg, chain_id)).build_mainnet();
    evm.transact(tx).map_err(invalid)
}

/// Executes what nobody signed: any caller will do, a contract too.
pub(crate) fn simulate(
    view: View<'_>,
    chain_id: u64,
    block: BlockEnv,
    tx: TxEnv,
) -> Result<ExecutionResult, InvalidTransaction> {
    let context = Context::mainnet().with_ref_db(view).with_block(block);
    let mut evm = context.modify_cfg_chained(|cfg| configure(cfg, chain_id)).build_mainnet();
    evm.ctx.set_tx(tx);
    Unsigned(PhantomData).run(&mut evm).map_err(invalid)
}

fn configure(cfg: &mut CfgEnv, chain_id: u64) {
    cfg.chain_id = chain_id;
    cfg.set_spec_and_mainnet_gas_params(SPEC);
}

fn invalid(error: EVMError<Infallible, InvalidTransaction>) -> InvalidTransaction {
    match error {
        EVMError::Transaction(invalid) => invalid,
        EVMError::Database(never) => match never {},
        other => InvalidTransaction::Str(other.to_string().into()),
    }
}

/// The rules without those that only the sender of a signature could break (EIP-3607, the nonce).
struct Unsigned<E, F>(PhantomData<(E, F)>);

impl<E, F> Handler for Unsigned<E, F>
where
    E: EvmTr<Context: ContextTr<Journal: JournalTr<State = EvmState>>, Frame = F>,
    F: FrameTr<FrameResult = FrameResult, FrameInit = FrameInit>,
    EVMError<Infallible, InvalidTransaction>: EvmTrError<E>,
{
    type Evm = E;
    type Error = EVMError<Infallible, InvalidTransaction>;
    type HaltReason = HaltReason;

    fn validate_against_state_and_deduct_caller(
        &self,
        evm: &mut E,
        _: &mut InitialAndFloorGas,
    ) -> Result<(), Self::Error> {
        let (block, tx, cfg, journal, _, _) = evm.ctx().all_mut();
        let mut caller = journal.load_account_with_code_mut(tx.caller())?.data;
        let balance = calculate_caller_fee(*caller.balance(), tx, block, cfg)?;
        caller.set_balance(balance);
        if tx.kind().is_call() {
            caller.bump_nonce();
        }
        Ok(())
    }
}
