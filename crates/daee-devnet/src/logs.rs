use alloy_eips::BlockNumberOrTag;
use revm::primitives::{Address, B256, Log, alloy_primitives::BloomInput};
use serde::Deserialize;
use serde_json::Value;

use crate::{block::Block, chain::Chain, rpc::RpcError};

/// Blocks that one question spans.
const RANGE_MAX: u64 = 100_000;
/// Logs in one answer.
const LOGS_MAX: usize = 10_000;
/// Bytes of data in one answer's logs.
const DATA_BYTES_MAX: usize = 4 << 20;
/// Addresses, or alternatives of one topic, in one question.
const ALTERNATIVES_MAX: usize = 1000;

/// What `eth_getLogs` is asked for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Filter {
    from_block: Option<BlockNumberOrTag>,
    to_block: Option<BlockNumberOrTag>,
    block_hash: Option<B256>,
    #[serde(default)]
    address: Alternatives<Address>,
    #[serde(default)]
    topics: Option<Vec<Alternatives<B256>>>,
}

/// Null stands for anything, a list for any of its members; an empty list is as good as null.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Alternatives<T> {
    #[default]
    Any,
    One(T),
    List(Vec<Option<T>>),
}

impl Chain {
    pub(crate) fn logs(&self, filter: &Filter) -> Result<Value, RpcError> {
        filter.check()?;
        let (from, to) = self.range(filter)?;
        let mut found = Vec::new();
        let mut bytes = 0;
        for block in (from..=to).filter_map(|number| self.block(number)) {
            if !filter.may_be_in(block) {
                continue;
            }
            for (index, mined) in block.txs.iter().enumerate() {
                for (at, log) in mined.receipt.logs().iter().enumerate() {
                    if !filter.fits(log) {
                        continue;
                    }
                    bytes += log.data.data.len();
                    if found.len() == LOGS_MAX || bytes > DATA_BYTES_MAX {
                        return Err(RpcError::limit(format!(
                            "query returned more than {LOGS_MAX} results or {DATA_BYTES_MAX} bytes: ask for fewer blocks"
                        )));
                    }
                    found.push(block.log_json(index, at, log));
                }
            }
        }
        Ok(found.into())
    }

    /// The first and the last block of the question; what is not there yet is empty, not an error.
    fn range(&self, filter: &Filter) -> Result<(u64, u64), RpcError> {
        if let Some(hash) = &filter.block_hash {
            if filter.from_block.is_some() || filter.to_block.is_some() {
                return Err(RpcError::params(
                    "cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other",
                ));
            }
            let block = self.block_by_hash(hash);
            let number = block.ok_or_else(|| RpcError::server("unknown block"))?.number();
            return Ok((number, number));
        }
        let number = |tag: Option<BlockNumberOrTag>| match tag.unwrap_or_default() {
            BlockNumberOrTag::Number(number) => Ok(number),
            tag => self.tagged(tag).map(|block| block.number()),
        };
        let (from, to) = (number(filter.from_block)?, number(filter.to_block)?);
        if from > to {
            return Err(RpcError::server("invalid block range params"));
        }
        let to = to.min(self.head().number());
        if to.saturating_sub(from) >= RANGE_MAX {
            return Err(RpcError::limit(format!("more than {RANGE_MAX} blocks")));
        }
        Ok((from, to))
    }
}

impl Filter {
    fn check(&self) -> Result<(), RpcError> {
        let topics = self.topics.as_deref().unwrap_or_default();
        if topics.len() > 4 {
            return Err(RpcError::params("exceed max topics"));
        }
        let most = topics.iter().map(Alternatives::len).chain([self.address.len()]).max();
        match most.unwrap_or_default() > ALTERNATIVES_MAX {
            true => Err(RpcError::params("exceed max addresses or topics per search position")),
            false => Ok(()),
        }
    }

    fn may_be_in(&self, block: &Block) -> bool {
        let bloom = &block.header.logs_bloom;
        let has = |bytes: &[u8]| bloom.contains_input(BloomInput::Raw(bytes));
        let topics = self.topics.as_deref().unwrap_or_default();
        self.address.any(|address| has(address.as_slice()))
            && topics.iter().all(|topic| topic.any(|topic| has(topic.as_slice())))
    }

    fn fits(&self, log: &Log) -> bool {
        let topics = self.topics.as_deref().unwrap_or_default();
        // A place that takes anything must still be there.
        topics.len() <= log.topics().len()
            && self.address.any(|address| *address == log.address)
            && topics.iter().zip(log.topics()).all(|(want, have)| want.any(|topic| topic == have))
    }
}

impl<T> Alternatives<T> {
    fn any(&self, fits: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::Any => true,
            Self::One(one) => fits(one),
            Self::List(list) => {
                list.is_empty() || list.iter().any(|one| one.as_ref().is_none_or(&fits))
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Any => 0,
            Self::One(_) => 1,
            Self::List(list) => list.len(),
        }
    }
}
