use std::fmt;

use daee_chain::ChainError;
use daee_types::{Address, Coded, DeploymentId, Fault, Rate, StateRoot, Timestamp, TokenAmount};
use serde::Serialize;

use crate::ClientError;

/// How far something is on its way, for whoever waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "kebab-case")]
pub enum Stage {
    /// Nodes may bid.
    Bidding {
        /// The best bid so far.
        best: Option<Bid>,
        /// No bid is taken from then on.
        closes: Timestamp,
    },
    /// Nobody may bid any more, and the winner was not assigned yet.
    Awarding {
        /// The bid that won.
        best: Bid,
    },
    /// A node holds the lease, and the agent does not run yet.
    Starting {
        /// What it asked for.
        bid: Bid,
        /// Base URL of its API.
        url: Option<String>,
        /// What it says, or why it says nothing.
        note: String,
    },
    /// It handles events.
    Running {
        /// Who runs it.
        bid: Bid,
        /// Where it answers.
        endpoint: String,
    },
    /// An exit fixed the end; the final checkpoint may still be opened.
    Closing {
        /// Whether it is open.
        final_open: bool,
        /// Nothing is waited for from then on.
        until: Timestamp,
    },
    /// A new version is on chain and its node has to take it.
    Updating {
        /// Its number.
        version: u32,
        /// What the node says.
        note: String,
    },
}

/// What a node asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bid {
    /// Its operator account.
    pub node: Address,
    /// Its price.
    pub rate: Rate,
}

/// What came of stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Stopped {
    /// The deployment.
    pub deployment: DeploymentId,
    /// What nodes got for it in all.
    pub paid: TokenAmount,
    /// What the owner may withdraw of it now.
    pub refunded: TokenAmount,
    /// The last opened state.
    pub state_root: StateRoot,
    /// Whether that holds everything up to the end, as far as was seen.
    pub final_checkpoint: bool,
}

/// What came of an update.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Updated {
    /// The new version runs on the kept state.
    Switched {
        /// Its number.
        version: u32,
    },
    /// The old one runs on.
    Left {
        /// Its number.
        version: u32,
        /// Why.
        reason: String,
    },
    /// No node runs it: the new version is out for bids.
    Relisted {
        /// Its number.
        version: u32,
    },
}

/// Why waiting ended without what was waited for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitError {
    /// It cannot be found out.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// It is still on its way.
    #[error("deployment {id} is not there after {seconds} s: {}", advice(.stage.as_deref()))]
    Stuck {
        /// Which.
        id: DeploymentId,
        /// How long was waited.
        seconds: u64,
        /// How far it got.
        stage: Option<Box<Stage>>,
    },
    /// It will not get there.
    #[error("deployment {id} failed: {reason}")]
    Failed {
        /// Which.
        id: DeploymentId,
        /// Why.
        reason: String,
    },
}

impl From<ChainError> for WaitError {
    fn from(error: ChainError) -> Self {
        WaitError::Client(error.into())
    }
}

impl Coded for WaitError {
    fn code(&self) -> &'static str {
        match self {
            WaitError::Client(error) => error.code(),
            WaitError::Stuck { .. } => "DAEE-U050",
            WaitError::Failed { .. } => "DAEE-U051",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            WaitError::Client(error) => error.fault(),
            WaitError::Stuck { .. } => Fault::Network,
            WaitError::Failed { .. } => Fault::Developer,
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stage::Bidding { best: None, .. } => write!(f, "bidding: no bid yet"),
            Stage::Bidding { best: Some(best), .. } => write!(f, "bidding: best {best}"),
            Stage::Awarding { best } => write!(f, "bids are closed: best {best}"),
            Stage::Starting { bid, note, .. } => write!(f, "assigned to {}: {note}", bid.node),
            Stage::Running { bid, .. } => write!(f, "running: {bid}"),
            Stage::Closing { final_open: false, .. } => {
                write!(f, "stopping: waiting for the final checkpoint")
            }
            Stage::Closing { final_open: true, .. } => {
                write!(f, "stopping: the final checkpoint is open")
            }
            Stage::Updating { version, note } => write!(f, "updating to version {version}: {note}"),
        }
    }
}

impl fmt::Display for Bid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", talos_per_hour(self.rate), self.node)
    }
}

/// A rate as people name it, `0.5 TALOS/h`: to a billionth, since rates per second are rounded in wei.
pub fn talos_per_hour(rate: Rate) -> String {
    const SHOWN_WEI: u128 = 1_000_000_000;
    let hour = rate.0.saturating_mul(3600);
    let rounded = hour.saturating_add(SHOWN_WEI / 2) / SHOWN_WEI * SHOWN_WEI;
    // What is smaller is shown exactly, and not as nothing.
    let shown = if rounded == 0 { hour } else { rounded };
    format!("{}/h", TokenAmount(shown))
}

/// Where it is stuck, and what to do.
fn advice(stage: Option<&Stage>) -> String {
    let Some(stage) = stage else { return "the chain was not heard".to_owned() };
    let advice = match stage {
        Stage::Bidding { best: None, .. } => {
            "nodes bid if its resources fit, if the rate covers their price and if they can fetch the \
             package; raise `--max-rate`, ask for less, or publish to more nodes"
        }
        Stage::Bidding { .. } => "bids are still taken; wait longer with `--wait`",
        Stage::Awarding { .. } => {
            "the winner does not claim it, and may be down; anybody may call `assign`"
        }
        Stage::Starting { .. } => {
            "the node may still start it; if it does not within the start window, anybody may call \
             `expire` and nodes bid again"
        }
        Stage::Running { .. } => "it runs",
        Stage::Closing { .. } => {
            "the node opens the final checkpoint within the window of the terms; `daee-deploy stop` \
             again waits on"
        }
        Stage::Updating { .. } => {
            "the old version runs on until the node opens a checkpoint of the new one"
        }
    };
    format!("{stage}; {advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_shown_as_it_was_named() {
        let check = |talos: &str| {
            let rate = Rate::per_hour(talos.parse().unwrap()).unwrap();
            assert_eq!(talos_per_hour(rate), format!("{talos} TALOS/h"));
        };
        check("0.5");
        check("50");
        check("0.000000001");
        check("1000000");
        check("0");
        assert_eq!(talos_per_hour(Rate(1)), "0.0000000000000036 TALOS/h");
    }
}
