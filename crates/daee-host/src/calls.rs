//! What the state machine wants on chain, done there.

use std::sync::Arc;

use daee_chain::{Account, ChainError, Mined};
use daee_market::{anchor_proof, anchor_root};
use daee_types::{DeploymentId, LeafHash};

use crate::{
    host::Shared,
    node::{Call, CallOutcome, Leaf},
    worker::blocking,
};

/// Does a call and says how it ended. A revert is the contract's no; everything else may be tried again.
pub(crate) async fn perform(shared: &Arc<Shared>, call: &Call) -> CallOutcome {
    let done = attempt(shared, call).await;
    match done {
        Ok(mined) => CallOutcome::Done { block: mined.block, at: mined.time },
        Err(Problem::Chain(error)) if error.is_revert() => {
            tracing::info!(call = name(call), %error, "the contract refused");
            CallOutcome::Refused
        }
        Err(Problem::Chain(error)) => {
            tracing::warn!(call = name(call), %error, "a call did not get through");
            CallOutcome::Failed
        }
        Err(Problem::Node(why)) => {
            tracing::warn!(call = name(call), why, "a call was not made");
            CallOutcome::Failed
        }
    }
}

enum Problem {
    Chain(ChainError),
    Node(String),
}

impl From<ChainError> for Problem {
    fn from(error: ChainError) -> Self {
        Self::Chain(error)
    }
}

async fn attempt(shared: &Arc<Shared>, call: &Call) -> Result<Mined, Problem> {
    let account: &Account = &shared.account;
    Ok(match call {
        Call::Bid { id, rate, manifest } => account.bid(*id, *rate, manifest).await?,
        Call::Assign { id } => account.assign(*id).await?,
        Call::Anchor { leaves } => {
            // Each place in a lease's sequence is signed once, whatever happens after (MARKET rule 7).
            let signer = shared.clone();
            let to_sign: Vec<_> = leaves.iter().map(|leaf| leaf.0).collect();
            blocking(move || signer.signer.sign_all(&to_sign).into_iter().collect())
                .await
                .and_then(|signed: Result<Vec<_>, _>| signed.map_err(|error| error.to_string()))
                .map_err(Problem::Node)?;
            account.anchor(anchor_root(&tree(leaves))).await?
        }
        Call::Open { leaf, among } => {
            shared.keep_before_opening(leaf).await.map_err(Problem::Node)?;
            let index = among
                .iter()
                .position(|other| other.0.deployment == leaf.0.deployment)
                .ok_or_else(|| Problem::Node("the leaf is not in its tree".into()))?;
            account.open(&leaf.0, &anchor_proof(&tree(among), index)).await?
        }
        Call::Settle { ids } => account.settle(ids).await?,
        Call::Expire { id } => account.expire(*id).await?,
        Call::Finish { id } => account.finish(*id).await?,
    })
}

fn tree(leaves: &[Leaf]) -> Vec<(DeploymentId, LeafHash)> {
    leaves.iter().map(|leaf| (leaf.0.deployment, leaf.0.leaf_hash())).collect()
}

fn name(call: &Call) -> &'static str {
    match call {
        Call::Bid { .. } => "bid",
        Call::Assign { .. } => "assign",
        Call::Anchor { .. } => "anchor",
        Call::Open { .. } => "open",
        Call::Settle { .. } => "settle",
        Call::Expire { .. } => "expire",
        Call::Finish { .. } => "finish",
    }
}
