//! The place of each transaction of one account. A nonce is used by one transaction at a time: whatever is
//! sent in place of a lost one competes with it, so that at most one of them is ever mined.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use alloy::{
    consensus::{SignableTransaction as _, TxEip1559},
    eips::eip2718::Encodable2718 as _,
    primitives::{self, B256, Bytes, Signature, TxKind, U64, U128},
};
use daee_types::{Sign, Timestamp, TxHash};
use serde_json::{Value, json};

use crate::{
    ChainError, Mined, convert, revert,
    rpc::{Block, Log, Receipt, Rpc, RpcError},
};

/// How long a transaction is waited for.
const MINED_SECONDS: u64 = 90;
/// Looks for a receipt between two times of sending the same bytes again, in case the first were dropped.
const LOOKS_PER_SENDING: u32 = 10;
/// Places tried before an endpoint's answers about nonces are called nonsense.
const PLACES_TRIED: u32 = 16;

/// For how long, in the chain's time, a call that was found mined answers the same call made again. After
/// that, the same words mean another call.
const CLAIM_SECONDS: u64 = 600;
const UNCLAIMED_MAX: usize = 256;

#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    /// Held from the choice of a nonce until an endpoint has the transaction.
    sending: tokio::sync::Mutex<()>,
    /// Held from an approval until what was approved is spent.
    pub(crate) spending: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// Nonces below are taken by transactions that we know nothing of, as far as endpoints say.
    floor: Option<u64>,
    /// Sent, and waited for.
    flying: BTreeSet<u64>,
    /// Sent, and nobody waits: lost, given up, or left behind by a caller that went away. Of those at one
    /// nonce, at most one is ever mined.
    doubt: BTreeMap<u64, Vec<Sent>>,
    /// Found mined after all, and not asked for again yet; the newest last.
    unclaimed: VecDeque<(Sent, Landed)>,
}

#[derive(Clone, Debug)]
struct Sent {
    hash: B256,
    to: TxKind,
    input: Bytes,
    fee: Fee,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Fee {
    max: u128,
    tip: u128,
}

/// A transaction that was mined and did not revert.
#[derive(Clone, Debug)]
pub(crate) struct Landed {
    pub(crate) mined: Mined,
    pub(crate) logs: Vec<Log>,
    pub(crate) created: Option<primitives::Address>,
}

impl Queue {
    /// Sends one call and waits until it is mined. A call that reverts costs nothing: it is tried out first.
    pub(crate) async fn submit(
        &self,
        rpc: &Rpc,
        key: &dyn Sign,
        to: TxKind,
        input: Bytes,
    ) -> Result<Landed, ChainError> {
        if let Some(landed) = self.claim(rpc, to, &input, 0).await? {
            return Ok(landed);
        }
        let from = convert::to_address(key.address());
        let mut request = json!({ "from": from, "data": input });
        if let TxKind::Call(to) = to {
            request["to"] = json!(to);
        }
        let gas: U64 = match rpc.ask("eth_estimateGas", json!([request])).await {
            Ok(gas) => gas,
            Err(error) => {
                // Perhaps it is refused now because it was mined a moment ago.
                return match self.claim(rpc, to, &input, 0).await? {
                    Some(landed) => Ok(landed),
                    None => Err(refusal(key, "what it would cost", error)),
                };
            }
        };
        // What a call needs moves with what others do between now and its block.
        let gas_limit = gas.to::<u64>() / 4 * 5 + 10_000;

        let (flight, raw) = match self.send(rpc, key, to, input, gas_limit).await? {
            Sending::Flying(flight, raw) => (flight, raw),
            Sending::Claimed(landed) => return Ok(landed),
        };
        let Some((receipt, time)) = flight.wait(rpc, &raw).await? else {
            let tx = TxHash::new(convert::word(flight.sent.hash));
            return Err(ChainError::NotMined { tx, seconds: MINED_SECONDS });
        };
        flight.landed();
        if receipt.status.to::<u64>() == 0 {
            return Err(why_reverted(rpc, &request, &receipt, gas_limit).await);
        }
        Ok(landing(receipt, time))
    }

    /// The result of the same call, if its fate was not known and it is mined after all.
    pub(crate) async fn landed(
        &self,
        rpc: &Rpc,
        to: TxKind,
        input: &Bytes,
    ) -> Result<Option<Landed>, ChainError> {
        self.claim(rpc, to, input, 0).await
    }

    async fn send(
        &self,
        rpc: &Rpc,
        key: &dyn Sign,
        to: TxKind,
        input: Bytes,
        gas_limit: u64,
    ) -> Result<Sending<'_>, ChainError> {
        let _one_at_a_time = self.sending.lock().await;
        let mut outbid = None;
        for _ in 0..PLACES_TRIED {
            let (nonce, mined) = self.place(rpc, key).await?;
            // After the count: what was mined before it has a receipt now, what comes later makes the nonce taken.
            if let Some(landed) = self.claim(rpc, to, &input, mined).await? {
                return Ok(Sending::Claimed(landed));
            }
            let rival = self.dearest(nonce).max(outbid);
            let fee = fee(rpc, rival).await?;
            let (hash, raw) = sign(rpc, key, nonce, to, input.clone(), gas_limit, fee)?;
            let flight = Flight::start(self, nonce, Sent { hash, to, input: input.clone(), fee });
            match rpc.ask::<Value>("eth_sendRawTransaction", json!([raw])).await {
                // An endpoint that answers with something else than the hash has it all the same.
                Ok(_) | Err(RpcError::Malformed(_)) => return Ok(Sending::Flying(flight, raw)),
                Err(RpcError::Silent { sent: true, why }) => {
                    let tx = TxHash::new(convert::word(hash));
                    return Err(ChainError::Lost { tx, why });
                }
                Err(RpcError::Silent { sent: false, why }) => {
                    flight.never_left();
                    return Err(ChainError::Unreachable(why));
                }
                Err(RpcError::Answered { message, code, data }) => match objection(&message) {
                    Objection::Known => return Ok(Sending::Flying(flight, raw)),
                    Objection::NonceTaken => {
                        // Perhaps by this very transaction, sent a moment ago through a connection that broke.
                        if is_known(rpc, hash).await? {
                            return Ok(Sending::Flying(flight, raw));
                        }
                        flight.never_left();
                        self.state().floor = Some(nonce + 1);
                    }
                    Objection::Underpriced if rival.is_some() => {
                        flight.never_left();
                        outbid = Some(fee);
                    }
                    Objection::Underpriced => {
                        // Of another program with the same key, which shall have its place.
                        flight.never_left();
                        self.state().floor = Some(nonce + 1);
                    }
                    Objection::Other => {
                        flight.never_left();
                        let error = RpcError::Answered { code, message, data };
                        return Err(refusal(key, "a transaction", error));
                    }
                },
            }
        }
        let why = format!("{PLACES_TRIED} nonces are taken, and it names none that is free");
        Err(ChainError::Malformed { what: "the account's nonce", why })
    }

    /// The lowest nonce that nothing of ours is waiting at, and how many are mined.
    async fn place(&self, rpc: &Rpc, key: &dyn Sign) -> Result<(u64, u64), ChainError> {
        let mined = count(rpc, key, "latest").await?;
        let floor = self.state().floor;
        let floor = match floor {
            Some(floor) => floor,
            // After a restart: what an earlier process sent may still be on its way.
            None => count(rpc, key, "pending").await?,
        };
        let mut state = self.state();
        state.floor = Some(floor);
        let first = mined.max(floor);
        let free = (first..).find(|nonce| !state.flying.contains(nonce)).unwrap_or(first);
        Ok((free, mined))
    }

    /// The result of the same call, if it was in doubt and is mined. Nonces below `mined` are decided:
    /// what has no receipt there never will have one.
    async fn claim(
        &self,
        rpc: &Rpc,
        to: TxKind,
        input: &Bytes,
        mined: u64,
    ) -> Result<Option<Landed>, ChainError> {
        self.resolve(rpc, mined).await?;
        if self.state().unclaimed.is_empty() {
            return Ok(None);
        }
        let now = newest(rpc).await?.timestamp.to::<u64>();
        let mut state = self.state();
        state
            .unclaimed
            .retain(|(_, landed)| now.saturating_sub(landed.mined.time.seconds()) <= CLAIM_SECONDS);
        let same = |(sent, _): &(Sent, Landed)| sent.to == to && sent.input == *input;
        let at = state.unclaimed.iter().position(same);
        Ok(at.and_then(|at| state.unclaimed.remove(at)).map(|(_, landed)| landed))
    }

    /// Finds out what became of transactions in doubt.
    async fn resolve(&self, rpc: &Rpc, mined: u64) -> Result<(), ChainError> {
        let doubt = self.state().doubt.clone();
        for (nonce, rivals) in doubt {
            let mut decided = nonce < mined;
            let mut winner = None;
            for sent in rivals {
                if let Some((receipt, time)) = find(rpc, sent.hash).await? {
                    decided = true;
                    winner =
                        (receipt.status.to::<u64>() == 1).then(|| (sent, landing(receipt, time)));
                    break;
                }
            }
            let mut state = self.state();
            // Another call may have found out first, and claimed it.
            if decided && state.doubt.remove(&nonce).is_some() {
                state.unclaimed.extend(winner);
                while state.unclaimed.len() > UNCLAIMED_MAX {
                    state.unclaimed.pop_front();
                }
            }
        }
        Ok(())
    }

    /// The highest fee that was offered for a nonce.
    fn dearest(&self, nonce: u64) -> Option<Fee> {
        self.state().doubt.get(&nonce)?.iter().map(|sent| sent.fee).max()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Sending<'a> {
    Flying(Flight<'a>, Bytes),
    Claimed(Landed),
}

/// A transaction on its way. Unless it landed or never left, its nonce is in doubt when nobody looks any more.
struct Flight<'a> {
    queue: &'a Queue,
    nonce: u64,
    sent: Sent,
    over: bool,
}

impl<'a> Flight<'a> {
    fn start(queue: &'a Queue, nonce: u64, sent: Sent) -> Self {
        queue.state().flying.insert(nonce);
        Self { queue, nonce, sent, over: false }
    }

    fn landed(mut self) {
        self.over = true;
        self.queue.state().doubt.remove(&self.nonce);
    }

    fn never_left(mut self) {
        self.over = true;
    }

    /// The receipt and the time of its block; `None` if neither came in time.
    async fn wait(
        &self,
        rpc: &Rpc,
        raw: &Bytes,
    ) -> Result<Option<(Receipt, Timestamp)>, ChainError> {
        let mut silence = None;
        let looking = async {
            let mut pause = Duration::from_millis(25);
            for look in 1.. {
                match find(rpc, self.sent.hash).await {
                    Ok(Some(found)) => return Some(found),
                    Ok(None) => silence = None,
                    Err(error) => silence = Some(error),
                }
                if look % LOOKS_PER_SENDING == 0 {
                    let _ = rpc.ask::<Value>("eth_sendRawTransaction", json!([raw])).await;
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 3 / 2).min(Duration::from_millis(500));
            }
            None
        };
        let found = tokio::time::timeout(Duration::from_secs(MINED_SECONDS), looking).await;
        match (found, silence) {
            (Ok(found), _) => Ok(found),
            (Err(_), None) => Ok(None),
            (Err(_), Some(error)) => {
                let tx = TxHash::new(convert::word(self.sent.hash));
                Err(ChainError::Lost { tx, why: error.to_string() })
            }
        }
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.flying.remove(&self.nonce);
        if !self.over {
            state.doubt.entry(self.nonce).or_default().push(self.sent.clone());
            // The next one competes for this place instead of queueing behind it.
            state.floor = Some(state.floor.map_or(self.nonce, |floor| floor.min(self.nonce)));
        }
    }
}

enum Objection {
    Known,
    NonceTaken,
    Underpriced,
    Other,
}

/// Endpoints have no codes for these, only words; these are geth's, reth's, Anvil's and revm's.
fn objection(message: &str) -> Objection {
    let said = message.to_lowercase();
    let says = |words: &str| said.contains(words);
    if says("already known") || says("already imported") || says("known transaction") {
        Objection::Known
    } else if says("nonce") && says("low") {
        Objection::NonceTaken
    } else if says("underpriced") {
        Objection::Underpriced
    } else {
        Objection::Other
    }
}

fn refusal(key: &dyn Sign, what: &'static str, error: RpcError) -> ChainError {
    let RpcError::Answered { code, message, data } = error else { return error.reading(what) };
    let said = message.to_lowercase();
    if data.is_some() || code == 3 || said.contains("revert") {
        return revert::explain(data.as_ref().map(|data| &data[..]), &message);
    }
    if said.contains("insufficient funds") || said.contains("lack of funds") {
        return ChainError::NoGasMoney { account: key.address(), message };
    }
    ChainError::Refused { what, message }
}

/// The call is tried again on the state before its block: where that says nothing, others of the same block
/// came first.
async fn why_reverted(rpc: &Rpc, request: &Value, receipt: &Receipt, gas_limit: u64) -> ChainError {
    let named = |name: &str, message: &str| ChainError::Reverted {
        name: name.to_owned(),
        message: message.to_owned(),
    };
    if receipt.gas_used.to::<u64>() >= gas_limit {
        return named("OutOfGas", "the call needed more gas than it seemed to: try again");
    }
    let before = U64::from(receipt.block_number.to::<u64>().saturating_sub(1));
    match rpc.ask::<Bytes>("eth_call", json!([request, before])).await {
        Err(RpcError::Answered { message, data, .. }) if data.is_some() => {
            revert::explain(data.as_ref().map(|data| &data[..]), &message)
        }
        _ => named(
            "Unknown",
            "another transaction of the same block changed what it rests on: try again",
        ),
    }
}

fn sign(
    rpc: &Rpc,
    key: &dyn Sign,
    nonce: u64,
    to: TxKind,
    input: Bytes,
    gas_limit: u64,
    fee: Fee,
) -> Result<(B256, Bytes), ChainError> {
    let tx = TxEip1559 {
        chain_id: rpc.chain_id(),
        nonce,
        gas_limit,
        max_fee_per_gas: fee.max,
        max_priority_fee_per_gas: fee.tip,
        to,
        input,
        ..TxEip1559::default()
    };
    let signature = key.sign(&tx.signature_hash().0)?;
    let signature = Signature::from_raw_array(&signature.0).map_err(|error| {
        ChainError::Malformed { what: "the signer's signature", why: error.to_string() }
    })?;
    let signed = tx.into_signed(signature);
    Ok((*signed.hash(), signed.encoded_2718().into()))
}

/// Twice the base fee, so that it may rise for six blocks; above the rival's by the quarter that pools ask for.
async fn fee(rpc: &Rpc, rival: Option<Fee>) -> Result<Fee, ChainError> {
    let block = newest(rpc).await?;
    let tip: U128 = match rpc.ask("eth_maxPriorityFeePerGas", json!([])).await {
        Ok(tip) => tip,
        // Some chains know no tip.
        Err(RpcError::Answered { .. }) => U128::ZERO,
        Err(error) => return Err(error.reading("the fee")),
    };
    let base: u128 = block.base_fee_per_gas.unwrap_or_default().to();
    let tip: u128 = tip.to();
    let above = |old: u128, new: u128| new.max(old.saturating_add(old / 4).saturating_add(1));
    let fee = Fee { max: base.saturating_mul(2).saturating_add(tip), tip };
    Ok(match rival {
        Some(rival) => {
            let tip = above(rival.tip, fee.tip);
            Fee { max: above(rival.max, fee.max).max(tip), tip }
        }
        None => fee,
    })
}

async fn newest(rpc: &Rpc) -> Result<Block, ChainError> {
    let asked = rpc.ask("eth_getBlockByNumber", json!(["latest", false])).await;
    asked.map_err(|error| error.reading("the newest block"))
}

async fn count(rpc: &Rpc, key: &dyn Sign, when: &str) -> Result<u64, ChainError> {
    let from = convert::to_address(key.address());
    let count: U64 = rpc
        .ask("eth_getTransactionCount", json!([from, when]))
        .await
        .map_err(|error| error.reading("the account's nonce"))?;
    Ok(count.to())
}

/// The receipt and the time of its block, once both are there.
async fn find(rpc: &Rpc, hash: B256) -> Result<Option<(Receipt, Timestamp)>, ChainError> {
    let what = "a transaction";
    let asked = rpc.ask("eth_getTransactionReceipt", json!([hash])).await;
    let receipt: Option<Receipt> = asked.map_err(|error| error.reading(what))?;
    let Some(receipt) = receipt else { return Ok(None) };
    let asked = rpc.ask("eth_getBlockByNumber", json!([receipt.block_number, false])).await;
    let block: Option<Block> = asked.map_err(|error| error.reading(what))?;
    let block = block.filter(|block| block.hash == receipt.block_hash);
    Ok(block.map(|block| (receipt, Timestamp::from_seconds(block.timestamp.to()))))
}

async fn is_known(rpc: &Rpc, hash: B256) -> Result<bool, ChainError> {
    let asked = rpc.ask::<Value>("eth_getTransactionByHash", json!([hash])).await;
    Ok(!asked.map_err(|error| error.reading("a transaction"))?.is_null())
}

fn landing(receipt: Receipt, time: Timestamp) -> Landed {
    Landed {
        mined: Mined {
            tx: TxHash::new(convert::word(receipt.transaction_hash)),
            block: convert::word(receipt.block_hash),
            number: receipt.block_number.to(),
            time,
            gas_used: receipt.gas_used.to(),
        },
        created: receipt.contract_address,
        logs: receipt.logs,
    }
}
