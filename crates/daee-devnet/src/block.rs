use alloy_consensus::{
    BlockBody, Header, ReceiptEnvelope, Transaction as _, TxEnvelope,
    transaction::SignerRecoverable as _,
};
use alloy_eips::{
    eip2718::{Decodable2718 as _, Encodable2718 as _},
    eip4895::Withdrawals,
};
use revm::primitives::{Address, B256, Bytes, Log, U256};
use serde_json::{Value, json};

use crate::{rpc::RpcError, state::Undo};

/// Bytes of a signed transaction, as geth's pool has it.
const TX_BYTES_MAX: usize = 128 << 10;

/// A block of the chain, and the way back over it.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: Header,
    pub(crate) hash: B256,
    pub(crate) txs: Vec<Mined>,
    pub(crate) undo: Undo,
    /// Balances that were set by hand, before the transactions.
    pub(crate) credits: Vec<(Address, U256)>,
    /// Seconds that the chain's clock was ahead of the wall's from here on.
    pub(crate) ahead: i64,
    /// Reorganisations before it.
    pub(crate) branch: u64,
}

/// A transaction that is signed by whom it says.
#[derive(Clone, Debug)]
pub(crate) struct Tx {
    pub(crate) envelope: TxEnvelope,
    pub(crate) from: Address,
    pub(crate) hash: B256,
}

/// A transaction in its block.
#[derive(Debug)]
pub(crate) struct Mined {
    pub(crate) tx: Tx,
    pub(crate) receipt: ReceiptEnvelope,
    pub(crate) created: Option<Address>,
    pub(crate) gas_used: u64,
    /// Place of its first log among those of the block.
    pub(crate) first_log: usize,
}

impl Tx {
    pub(crate) fn read(raw: &[u8]) -> Result<Self, RpcError> {
        if raw.len() > TX_BYTES_MAX {
            return Err(RpcError::server(format!(
                "oversized data: transaction size {}, limit {TX_BYTES_MAX}",
                raw.len()
            )));
        }
        let mut rest = raw;
        let envelope = TxEnvelope::decode_2718(&mut rest).map_err(|error| {
            RpcError::server(format!("typed transaction too short or malformed: {error}"))
        })?;
        if !rest.is_empty() {
            return Err(RpcError::server("rlp: input contains more than one value".to_owned()));
        }
        if envelope.is_eip4844() {
            return Err(RpcError::server("transaction type not supported".to_owned()));
        }
        let from = envelope
            .recover_signer()
            .map_err(|error| RpcError::server(format!("invalid sender: {error}")))?;
        let hash = *envelope.tx_hash();
        Ok(Self { envelope, from, hash })
    }

    pub(crate) fn raw(&self) -> Bytes {
        self.envelope.encoded_2718().into()
    }

    /// The JSON of a transaction; of one in a block with its place.
    pub(crate) fn json(&self, place: Option<(&Block, usize)>) -> Value {
        let mut value = serde_json::to_value(&self.envelope).unwrap_or_default();
        value["from"] = json!(self.from);
        value["hash"] = json!(self.hash);
        let base_fee = place.and_then(|(block, _)| block.header.base_fee_per_gas);
        value["gasPrice"] = quantity(self.envelope.effective_gas_price(base_fee));
        value["blockHash"] = json!(place.map(|(block, _)| block.hash));
        value["blockNumber"] = json!(place.map(|(block, _)| quantity(block.header.number)));
        value["transactionIndex"] = json!(place.map(|(_, index)| quantity(index)));
        value
    }
}

impl Block {
    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    pub(crate) fn time(&self) -> u64 {
        self.header.timestamp
    }

    pub(crate) fn base_fee(&self) -> u64 {
        self.header.base_fee_per_gas.unwrap_or_default()
    }

    pub(crate) fn json(&self, full: bool) -> Value {
        let mut value = serde_json::to_value(&self.header).unwrap_or_default();
        let tx = |(index, mined): (usize, &Mined)| match full {
            true => mined.tx.json(Some((self, index))),
            false => json!(mined.tx.hash),
        };
        value["hash"] = json!(self.hash);
        value["transactions"] = self.txs.iter().enumerate().map(tx).collect();
        value["size"] = quantity(self.size());
        value["uncles"] = json!([]);
        value["withdrawals"] = json!([]);
        value
    }

    pub(crate) fn receipt_json(&self, index: usize) -> Value {
        let Some(mined) = self.txs.get(index) else { return Value::Null };
        let signed = &mined.tx.envelope;
        let logs = mined.receipt.logs().iter().enumerate();
        let logs: Vec<_> = logs.map(|(at, log)| self.log_json(index, at, log)).collect();
        json!({
            "type": quantity(signed.tx_type() as u8),
            "status": quantity(u8::from(mined.receipt.is_success())),
            "cumulativeGasUsed": quantity(mined.receipt.cumulative_gas_used()),
            "logs": logs,
            "logsBloom": mined.receipt.logs_bloom(),
            "transactionHash": mined.tx.hash,
            "transactionIndex": quantity(index),
            "blockHash": self.hash,
            "blockNumber": quantity(self.number()),
            "gasUsed": quantity(mined.gas_used),
            "effectiveGasPrice": quantity(signed.effective_gas_price(self.header.base_fee_per_gas)),
            "from": mined.tx.from,
            "to": signed.to(),
            "contractAddress": mined.created,
        })
    }

    /// The JSON of log `at` of transaction `index`.
    pub(crate) fn log_json(&self, index: usize, at: usize, log: &Log) -> Value {
        let mined = &self.txs[index];
        json!({
            "address": log.address,
            "topics": log.topics(),
            "data": log.data.data,
            "blockHash": self.hash,
            "blockNumber": quantity(self.number()),
            "blockTimestamp": quantity(self.time()),
            "transactionHash": mined.tx.hash,
            "transactionIndex": quantity(index),
            "logIndex": quantity(mined.first_log + at),
            "removed": false,
        })
    }

    fn size(&self) -> usize {
        let body = BlockBody {
            transactions: self.txs.iter().map(|mined| mined.tx.envelope.clone()).collect(),
            ommers: Vec::new(),
            withdrawals: Some(Withdrawals::default()),
        };
        alloy_consensus::Block::rlp_length_for(&self.header, &body)
    }
}

/// A number as JSON-RPC writes it.
pub(crate) fn quantity(number: impl TryInto<u128>) -> Value {
    // Everything that is counted here is unsigned and fits.
    json!(format!("{:#x}", number.try_into().unwrap_or(u128::MAX)))
}
