use std::sync::{PoisonError, RwLock};

use alloy_consensus::Transaction as _;
use alloy_eips::{BlockId, BlockNumberOrTag};
use revm::primitives::{B256, Bytes, U256};
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    DevnetError,
    block::{Block, Mined, Tx, quantity},
    call::Call,
    chain::{Chain, Draft},
    evm::BLOCK_GAS,
    file::ChainFile,
    logs::Filter,
};

/// Requests in one batch.
const BATCH_MAX: usize = 256;
/// Gas that the calls and estimates of one exchange use together.
const EXCHANGE_GAS_MAX: u64 = 320_000_000;
/// Bytes of one exchange's answers together; the one that passes it is the last.
const EXCHANGE_BYTES_MAX: usize = 16 << 20;
/// Blocks that one `evm_mine` or `anvil_mine` makes.
const MINE_MAX: u64 = 10_000;
/// Blocks that `eth_feeHistory` looks back, as in geth.
const FEE_HISTORY_MAX: u64 = 1024;
/// Percentiles that `eth_feeHistory` takes, as in geth.
const PERCENTILES_MAX: usize = 100;
/// What a client is told to add to the base fee, in wei: what Anvil says.
const TIP: u128 = 1_000_000_000;
/// Snapshots that are kept at a time.
const SNAPSHOTS_MAX: usize = 64;

/// The chain and what only its JSON-RPC knows of it.
#[derive(Debug)]
pub(crate) struct Node {
    chain: Chain,
    file: Option<ChainFile>,
    /// Why the chain ended: what is not kept must not be told.
    ended: Option<DevnetError>,
    snapshots: Vec<(u64, Chain)>,
    snapshots_taken: u64,
}

/// What the answers of one exchange may still cost.
pub(crate) struct Budget {
    gas: u64,
    bytes: usize,
}

/// Why a request has no result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RpcError {
    pub(crate) code: i64,
    pub(crate) message: String,
    data: Option<Bytes>,
}

/// A number that must fit 64 bits, in hex as the protocol has it, or in decimal as people write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quantity(pub(crate) u64);

type Answer = Result<Value, RpcError>;

/// Answers the body of one HTTP request: one request or a batch. `None` if it asks for no answer.
pub(crate) fn exchange(node: &RwLock<Node>, body: &[u8], wall: u64) -> Option<Vec<u8>> {
    let mut budget = Budget { gas: EXCHANGE_GAS_MAX, bytes: EXCHANGE_BYTES_MAX };
    match serde_json::from_slice(body) {
        Err(error) => Some(line(&Value::Null, Err(RpcError::parse(&error)), &mut budget)),
        Ok(Value::Array(requests)) if requests.is_empty() || requests.len() > BATCH_MAX => {
            let error = RpcError::request(format!("a batch has 1 to {BATCH_MAX} requests"));
            Some(line(&Value::Null, Err(error), &mut budget))
        }
        Ok(Value::Array(requests)) => {
            let answers = requests.into_iter();
            let answers: Vec<_> =
                answers.filter_map(|one| respond(node, one, wall, &mut budget)).collect();
            (!answers.is_empty()).then(|| [b"[", answers.join(&b","[..]).as_slice(), b"]"].concat())
        }
        Ok(request) => respond(node, request, wall, &mut budget),
    }
}

fn respond(node: &RwLock<Node>, request: Value, wall: u64, budget: &mut Budget) -> Option<Vec<u8>> {
    let Value::Object(mut request) = request else {
        let error = RpcError::request("a request is an object".to_owned());
        return Some(line(&Value::Null, Err(error), budget));
    };
    // Without an id it is a notification: done, and not answered.
    let id = request.remove("id");
    let answer = match (request.remove("method"), request.remove("params")) {
        (Some(Value::String(method)), None | Some(Value::Null)) => {
            dispatch(node, &method, &Params(Vec::new()), wall, budget)
        }
        (Some(Value::String(method)), Some(Value::Array(params))) => {
            dispatch(node, &method, &Params(params), wall, budget)
        }
        (Some(Value::String(_)), Some(_)) => Err(RpcError::params("params are an array")),
        _ => Err(RpcError::request("a request names its method".to_owned())),
    };
    match id {
        Some(id @ (Value::Null | Value::String(_) | Value::Number(_))) => {
            Some(line(&id, answer, budget))
        }
        Some(_) => {
            let error = RpcError::request("an id is a text or a number".to_owned());
            Some(line(&Value::Null, Err(error), budget))
        }
        None => None,
    }
}

fn dispatch(
    node: &RwLock<Node>,
    method: &str,
    params: &Params,
    wall: u64,
    budget: &mut Budget,
) -> Answer {
    if budget.bytes == 0 {
        return Err(RpcError::limit("the answers before are as much as one exchange may have"));
    }
    // A panic leaves the chain whole: nothing is changed before what may fail has passed.
    if ["eth_sendRawTransaction", "evm_", "anvil_"].iter().any(|own| method.starts_with(own)) {
        let mut node = node.write().unwrap_or_else(PoisonError::into_inner);
        node.runs().map_err(RpcError::ended)?;
        let answer = node.write(method, params, wall);
        node.keep().map_err(RpcError::ended)?;
        answer
    } else {
        let node = node.read().unwrap_or_else(PoisonError::into_inner);
        node.read(method, params, wall, budget)
    }
}

fn line(id: &Value, answer: Answer, budget: &mut Budget) -> Vec<u8> {
    let line = match answer {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error}),
    };
    let line = line.to_string().into_bytes();
    budget.bytes = budget.bytes.saturating_sub(line.len());
    line
}

impl Node {
    pub(crate) fn new(chain: Chain, file: Option<ChainFile>) -> Self {
        Self { chain, file, ended: None, snapshots: Vec::new(), snapshots_taken: 0 }
    }

    /// Mines an empty block if this second had none.
    pub(crate) fn tick(&mut self, wall: u64) -> Result<(), DevnetError> {
        self.runs()?;
        if self.chain.time(wall) > self.chain.head().time()
            && let Err(error) = self.chain.mine(wall, Draft::default())
        {
            tracing::error!(error = error.message, "no block was mined");
        }
        self.keep()
    }

    /// Lets go of the file, so that another chain may have it.
    pub(crate) fn end(&mut self) {
        self.file = None;
        self.ended = Some(DevnetError::Stopped);
    }

    fn runs(&self) -> Result<(), DevnetError> {
        self.ended.clone().map_or(Ok(()), Err)
    }

    fn keep(&mut self) -> Result<(), DevnetError> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.follow(&self.chain).inspect_err(|error| self.ended = Some(error.clone()))
    }

    fn read(&self, method: &str, params: &Params, wall: u64, budget: &mut Budget) -> Answer {
        let chain = &self.chain;
        let head = chain.head();
        Ok(match method {
            "web3_clientVersion" => json!(concat!("daee-devnet/", env!("CARGO_PKG_VERSION"))),
            "net_version" => json!(chain.chain_id().to_string()),
            "net_listening" => json!(true),
            "eth_chainId" => quantity(chain.chain_id()),
            "eth_blockNumber" => quantity(head.number()),
            "eth_syncing" => json!(false),
            "eth_accounts" => json!([]),
            "eth_gasPrice" => quantity(u128::from(chain.next_base_fee()) + TIP),
            "eth_maxPriorityFeePerGas" => quantity(TIP),
            "eth_feeHistory" => fee_history(chain, params)?,
            "eth_getBlockByNumber" => {
                let tag: BlockNumberOrTag = params.get(0)?;
                match chain.tagged(tag) {
                    Ok(block) => block.json(params.or_default(1)?),
                    Err(_) => Value::Null,
                }
            }
            "eth_getBlockByHash" => {
                let block = chain.block_by_hash(&params.get(0)?);
                let full = params.or_default(1)?;
                block.map_or(Value::Null, |block| block.json(full))
            }
            "eth_getBlockReceipts" => match chain.place(params.get(0)?) {
                Ok(place) => {
                    let block = place.block();
                    (0..block.txs.len()).map(|index| block.receipt_json(index)).collect()
                }
                Err(_) => Value::Null,
            },
            "eth_getTransactionByHash" => {
                let hash = params.get(0)?;
                match chain.mined(&hash) {
                    Some((block, index)) => block.txs[index].tx.json(Some((block, index))),
                    None => chain.waits(&hash).map_or(Value::Null, |tx| tx.json(None)),
                }
            }
            "eth_getTransactionReceipt" => {
                let mined = chain.mined(&params.get(0)?);
                mined.map_or(Value::Null, |(block, index)| block.receipt_json(index))
            }
            "eth_getLogs" => chain.logs(&params.get::<Filter>(0)?)?,
            "eth_getBalance" => {
                json!(chain.place(params.block(1)?)?.state().balance(params.get(0)?))
            }
            "eth_getTransactionCount" => {
                let account = params.get(0)?;
                let place = chain.place(params.block(1)?)?;
                quantity(match place.pending() {
                    true => chain.pending_nonce(account),
                    false => place.state().nonce(account),
                })
            }
            "eth_getCode" => {
                let code = chain.place(params.block(1)?)?.state().code(params.get(0)?);
                json!(code.original_bytes())
            }
            "eth_getStorageAt" => {
                let place = chain.place(params.block(2)?)?;
                json!(B256::from(place.state().slot(params.get(0)?, params.get(1)?)))
            }
            "eth_call" => {
                let place = chain.place(params.block(1)?)?;
                params.no_overrides(2)?;
                json!(chain.call(&params.get::<Call>(0)?, &place, wall, budget)?)
            }
            "eth_estimateGas" => {
                let place = chain.place(params.block_or(1, BlockId::pending())?)?;
                params.no_overrides(2)?;
                quantity(chain.estimate(&params.get::<Call>(0)?, &place, wall, budget)?)
            }
            _ => return Err(RpcError::unknown(method)),
        })
    }

    fn write(&mut self, method: &str, params: &Params, wall: u64) -> Answer {
        let chain = &mut self.chain;
        Ok(match method {
            "eth_sendRawTransaction" => {
                let tx = Tx::read(&params.get::<Bytes>(0)?)?;
                json!(chain.send(tx, wall)?)
            }
            "evm_increaseTime" => {
                let seconds: Quantity = params.get(0)?;
                json!(chain.increase_time(seconds.0)?)
            }
            "evm_setNextBlockTimestamp" | "anvil_setNextBlockTimestamp" => {
                let time: Quantity = params.get(0)?;
                chain.set_next_time(time.0, wall)?;
                Value::Null
            }
            "evm_mine" => {
                let Mine { timestamp, blocks } = params.or_default::<MineParam>(0)?.into();
                let blocks = mine_count(blocks)?;
                if let Some(time) = timestamp {
                    chain.set_next_time(time.0, wall)?;
                }
                for _ in 0..blocks {
                    chain.mine(wall, Draft::default())?;
                }
                json!("0x0")
            }
            "anvil_mine" => {
                let blocks = mine_count(params.or_default(0)?)?;
                let interval = params.or_default::<Option<Quantity>>(1)?.map_or(0, |gap| gap.0);
                for _ in 0..blocks {
                    chain.increase_time(interval)?;
                    chain.mine(wall, Draft::default())?;
                }
                Value::Null
            }
            "evm_snapshot" | "anvil_snapshot" => {
                if self.snapshots.len() >= SNAPSHOTS_MAX {
                    return Err(RpcError::limit("too many snapshots: revert to one first"));
                }
                let id = self.snapshots_taken;
                self.snapshots_taken += 1;
                self.snapshots.push((id, chain.clone()));
                quantity(id)
            }
            "evm_revert" | "anvil_revert" => {
                let id: Quantity = params.get(0)?;
                let Some(at) = self.snapshots.iter().position(|(taken, _)| *taken == id.0) else {
                    return Ok(json!(false));
                };
                // Those that were taken later are of a chain that is no more.
                self.snapshots.truncate(at + 1);
                if let Some((_, snapshot)) = self.snapshots.pop() {
                    self.chain = snapshot;
                }
                json!(true)
            }
            "anvil_setBalance" => {
                let credits = vec![(params.get(0)?, params.get(1)?)];
                chain.mine(wall, Draft { credits, ..Draft::default() })?;
                Value::Null
            }
            "anvil_reorg" => {
                let Reorg { depth, tx_block_pairs } = params.reorg()?;
                let pairs = tx_block_pairs.into_iter();
                let txs = pairs.map(|(raw, place)| Ok((Tx::read(&raw)?, place.0)));
                chain.reorganise(depth.0, txs.collect::<Result<_, _>>()?)?;
                Value::Null
            }
            _ => return Err(RpcError::unknown(method)),
        })
    }
}

struct Params(Vec<Value>);

impl Params {
    fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, RpcError> {
        let value = self.0.get(index).ok_or_else(|| RpcError::missing(index))?;
        T::deserialize(value).map_err(|error| RpcError::argument(index, &error))
    }

    /// The same, but what is absent or null has its default.
    fn or_default<T: DeserializeOwned + Default>(&self, index: usize) -> Result<T, RpcError> {
        match self.0.get(index) {
            None | Some(Value::Null) => Ok(T::default()),
            Some(_) => self.get(index),
        }
    }

    fn block(&self, index: usize) -> Result<BlockId, RpcError> {
        self.block_or(index, BlockId::latest())
    }

    fn block_or(&self, index: usize, default: BlockId) -> Result<BlockId, RpcError> {
        Ok(self.or_default::<Option<BlockId>>(index)?.unwrap_or(default))
    }

    /// Overrides change the question; who sends them must not get the answer to the plain one.
    fn no_overrides(&self, from: usize) -> Result<(), RpcError> {
        let none = |value: &Value| {
            value.is_null() || value.as_object().is_some_and(serde_json::Map::is_empty)
        };
        match self.0.iter().skip(from).all(none) {
            true => Ok(()),
            false => Err(RpcError::params("state and block overrides are not supported")),
        }
    }

    /// As an object, or as its fields in order.
    fn reorg(&self) -> Result<Reorg, RpcError> {
        match self.0.first() {
            Some(Value::Object(_)) => self.get(0),
            _ => Ok(Reorg { depth: self.get(0)?, tx_block_pairs: self.or_default(1)? }),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reorg {
    depth: Quantity,
    #[serde(default)]
    tx_block_pairs: Vec<(Bytes, Quantity)>,
}

#[derive(Default, Deserialize)]
#[serde(untagged)]
enum MineParam {
    #[default]
    Nothing,
    Time(Quantity),
    Options(Mine),
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mine {
    timestamp: Option<Quantity>,
    blocks: Option<Quantity>,
}

impl From<MineParam> for Mine {
    fn from(param: MineParam) -> Self {
        match param {
            MineParam::Nothing => Self::default(),
            MineParam::Time(time) => Self { timestamp: Some(time), blocks: None },
            MineParam::Options(mine) => mine,
        }
    }
}

fn mine_count(blocks: Option<Quantity>) -> Result<u64, RpcError> {
    match blocks.map_or(1, |blocks| blocks.0) {
        blocks @ 0..=MINE_MAX => Ok(blocks),
        _ => Err(RpcError::limit("more blocks than are mined at once")),
    }
}

fn fee_history(chain: &Chain, params: &Params) -> Answer {
    let count: Quantity = params.get(0)?;
    let newest = chain.tagged(params.get(1)?)?.number();
    let percentiles: Vec<f64> = params.or_default(2)?;
    if percentiles.len() > PERCENTILES_MAX {
        return Err(RpcError::params(format!("more than {PERCENTILES_MAX} percentiles")));
    }
    let mut last = 0.0;
    for percentile in &percentiles {
        if !(last..=100.0).contains(percentile) {
            return Err(RpcError::params("percentiles are from 0 to 100, each at least the last"));
        }
        last = *percentile;
    }
    let count = count.0.clamp(1, FEE_HISTORY_MAX).min(newest + 1);
    let oldest = newest + 1 - count;
    let blocks: Vec<_> = (oldest..=newest).filter_map(|number| chain.block(number)).collect();
    let above = chain.block(newest + 1).map_or(chain.next_base_fee(), |block| block.base_fee());
    let fees = blocks.iter().map(|block| block.base_fee()).chain([above]);
    let full = |gas: u64| gas as f64 / BLOCK_GAS as f64;
    let mut history = json!({
        "oldestBlock": quantity(oldest),
        "baseFeePerGas": fees.map(quantity).collect::<Value>(),
        "gasUsedRatio": blocks.iter().map(|b| json!(full(b.header.gas_used))).collect::<Value>(),
        "baseFeePerBlobGas": (0..=blocks.len()).map(|_| quantity(1u64)).collect::<Value>(),
        "blobGasUsedRatio": blocks.iter().map(|_| json!(0.0)).collect::<Value>(),
    });
    if !percentiles.is_empty() {
        history["reward"] = blocks.iter().map(|block| rewards(block, &percentiles)).collect();
    }
    Ok(history)
}

/// The tip at each percentile of the block's gas, lowest tips first.
fn rewards(block: &Block, percentiles: &[f64]) -> Value {
    let tip = |mined: &Mined| {
        let tip = mined.tx.envelope.effective_tip_per_gas(block.base_fee());
        (tip.unwrap_or_default(), mined.gas_used)
    };
    let mut tips: Vec<_> = block.txs.iter().map(tip).collect();
    tips.sort_unstable();
    let at = |percentile: &f64| {
        let threshold = block.header.gas_used as f64 * percentile / 100.0;
        let mut gas = 0;
        let reached = tips.iter().find(|(_, used)| {
            gas += used;
            gas as f64 >= threshold
        });
        quantity(reached.or(tips.last()).map_or(0, |(tip, _)| *tip))
    };
    percentiles.iter().map(at).collect()
}

impl Budget {
    pub(crate) fn room_for_gas(&self) -> Result<(), RpcError> {
        match self.gas {
            0 => Err(RpcError::limit("the calls before used the gas of one exchange")),
            _ => Ok(()),
        }
    }

    pub(crate) fn take_gas(&mut self, gas: u64) {
        self.gas = self.gas.saturating_sub(gas);
    }
}

impl RpcError {
    const LIMIT: i64 = -32005;

    fn of(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    /// What geth answers with its own words.
    pub(crate) fn server(message: impl Into<String>) -> Self {
        Self::of(-32000, message)
    }

    pub(crate) fn params(message: impl Into<String>) -> Self {
        Self::of(-32602, message)
    }

    pub(crate) fn limit(message: impl Into<String>) -> Self {
        Self::of(Self::LIMIT, message)
    }

    pub(crate) fn is_limit(&self) -> bool {
        self.code == Self::LIMIT
    }

    /// A revert and its data; the text of `Error(string)` is part of the message.
    pub(crate) fn revert(data: Bytes) -> Self {
        let message = match reason(&data) {
            Some(reason) => format!("execution reverted: {reason}"),
            None => "execution reverted".to_owned(),
        };
        Self { code: 3, message, data: Some(data) }
    }

    fn ended(error: DevnetError) -> Self {
        Self::of(-32603, error.to_string())
    }

    fn request(message: String) -> Self {
        Self::of(-32600, message)
    }

    fn unknown(method: &str) -> Self {
        let method: String = method.chars().take(80).collect();
        Self::of(-32601, format!("the method {method} does not exist/is not available"))
    }

    fn parse(error: &serde_json::Error) -> Self {
        Self::of(-32700, format!("parse error: {error}"))
    }

    fn missing(index: usize) -> Self {
        Self::params(format!("missing value for required argument {index}"))
    }

    fn argument(index: usize, error: &serde_json::Error) -> Self {
        Self::params(format!("invalid argument {index}: {error}"))
    }
}

impl Serialize for RpcError {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = to.serialize_struct("error", 3)?;
        fields.serialize_field("code", &self.code)?;
        fields.serialize_field("message", &self.message)?;
        match &self.data {
            Some(data) => fields.serialize_field("data", data)?,
            None => fields.skip_field("data")?,
        }
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let number = U256::deserialize(from)?;
        let number = u64::try_from(number);
        number.map(Self).map_err(|_| serde::de::Error::custom("a number of more than 64 bits"))
    }
}

/// The text of a revert by `Error(string)`.
fn reason(data: &[u8]) -> Option<String> {
    const ERROR: [u8; 4] = [0x08, 0xc3, 0x79, 0xa0];
    let arguments = data.strip_prefix(&ERROR)?;
    let word = |at: usize| {
        let word = U256::try_from_be_slice(arguments.get(at..at.checked_add(32)?)?)?;
        usize::try_from(word).ok()
    };
    let start = word(0)?;
    let length = word(start)?;
    let start = start.checked_add(32)?;
    let text = arguments.get(start..start.checked_add(length)?)?;
    String::from_utf8(text.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use revm::primitives::Address;

    use super::*;
    use crate::file::Began;

    const METHODS: &[&str] = &[
        "eth_feeHistory",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
        "eth_getBlockReceipts",
        "eth_getTransactionByHash",
        "eth_getLogs",
        "eth_getBalance",
        "eth_getTransactionCount",
        "eth_getStorageAt",
        "eth_call",
        "eth_estimateGas",
        "eth_sendRawTransaction",
        "evm_increaseTime",
        "evm_setNextBlockTimestamp",
        "evm_mine",
        "anvil_mine",
        "evm_snapshot",
        "evm_revert",
        "anvil_setBalance",
        "anvil_reorg",
    ];

    fn node() -> RwLock<Node> {
        let accounts = vec![(Address::ZERO, daee_types::TokenAmount(u128::MAX))];
        let began = Began { chain_id: 1, accounts, time: 1 };
        RwLock::new(Node::new(Chain::new(&began), None))
    }

    fn ask(node: &RwLock<Node>, method: &str, params: Value) -> Value {
        let body = json!({"id": 1, "method": method, "params": params}).to_string();
        let answer = exchange(node, body.as_bytes(), 10).expect("an id asks for an answer");
        serde_json::from_slice(&answer).expect("an answer is JSON")
    }

    fn parameter() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            Just("0x0"),
            Just("0x1"),
            Just("0x7fffffffffffffff"),
            Just("0xffffffffffffffff"),
            Just("0xffffffffffffffffffffffffffffffff"),
            Just("0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"),
            Just("latest"),
            Just("pending"),
            Just("0x0000000000000000000000000000000000000000"),
            Just("0x5b5f56"),
            Just("nothing"),
        ];
        let leaf = prop_oneof![
            number.prop_map(|text| json!(text)),
            any::<i64>().prop_map(|number| json!(number)),
            Just(Value::Null),
            Just(json!(true)),
            Just(json!([])),
            Just(json!(0.5)),
        ];
        let key = prop_oneof![
            Just("from"),
            Just("to"),
            Just("gas"),
            Just("gasPrice"),
            Just("maxFeePerGas"),
            Just("maxPriorityFeePerGas"),
            Just("value"),
            Just("input"),
            Just("nonce"),
            Just("fromBlock"),
            Just("toBlock"),
            Just("topics"),
            Just("address"),
            Just("depth"),
            Just("timestamp"),
            Just("blocks"),
        ];
        leaf.prop_recursive(2, 8, 4, move |inner| {
            let object = prop::collection::btree_map(key.clone(), inner.clone(), 0..5);
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(Value::from),
                object.prop_map(|fields| json!(fields)),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn whatever_is_asked_the_chain_stays_whole(
            asked in prop::collection::vec(
                (prop::sample::select(METHODS), prop::collection::vec(parameter(), 0..4)),
                1..12,
            ),
        ) {
            let node = node();
            for (method, params) in asked {
                let head = node.read().unwrap().chain.head().time();
                let reverts = method == "evm_revert";
                ask(&node, method, json!(params));
                let node = node.read().unwrap();
                let chain = &node.chain;
                prop_assert!(reverts || chain.head().time() >= head, "time went back");
                prop_assert_eq!(chain.head().number() as usize + 1, chain.blocks().len());
                let root = chain.state_after(chain.head().number()).root();
                prop_assert_eq!(root, chain.head().header.state_root);
            }
        }

        #[test]
        fn whatever_the_bytes_there_is_an_answer(
            mut body in Just(br#"[{"id":1,"method":"eth_call","params":[{"to":"0x0"},"latest"]},{"id":2}]"#.to_vec()),
            places in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            for (place, byte) in places {
                let place = place.index(body.len());
                body[place] = byte;
            }
            if let Some(answer) = exchange(&node(), &body, 10) {
                prop_assert!(serde_json::from_slice::<Value>(&answer).is_ok());
            }
        }
    }

    #[test]
    fn who_has_all_the_ether_there_can_be_breaks_nothing() {
        let node = node();
        let (rich, most) = (json!(Address::repeat_byte(1)), json!(U256::MAX));
        let price = json!(U256::from(u128::MAX));
        for account in [1, 2] {
            let account = json!(Address::repeat_byte(account));
            assert_eq!(
                ask(&node, "anvil_setBalance", json!([account, most]))["result"],
                Value::Null
            );
        }
        let to = json!(Address::repeat_byte(2));
        for call in [
            json!({"from": rich, "to": to, "value": most}),
            json!({"from": rich, "to": rich, "value": most}),
            json!({"from": rich, "to": to, "value": "0x1"}),
            json!({"from": rich, "to": to, "gasPrice": price}),
            json!({"from": rich, "to": to, "maxFeePerGas": price, "maxPriorityFeePerGas": price}),
        ] {
            for tag in ["latest", "pending"] {
                ask(&node, "eth_call", json!([call, tag]));
                ask(&node, "eth_estimateGas", json!([call, tag]));
            }
        }
        assert_eq!(ask(&node, "eth_chainId", json!([]))["result"], "0x1");
    }
}
