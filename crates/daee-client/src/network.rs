use std::{
    fs,
    path::{Path, PathBuf},
};

use daee_chain::{Contracts, Terms};
use daee_lifecycle::endpoint_label;
use daee_types::{Coded, DeploymentId, Fault, Rate, TokenAmount};
use serde::{Deserialize, Serialize};

use crate::Package;

/// A network, as its file describes it: `network.json` of a development network, or one that an
/// operator hands out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkFile {
    /// JSON-RPC endpoints, the preferred first.
    pub rpc: Vec<String>,
    /// Where its contracts are.
    pub contracts: Contracts,
    /// Base URLs of nodes that take and serve content; none means all that are registered.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// The zone below which agents have their names.
    #[serde(default = "localhost")]
    pub zone: String,
    /// The port of the agents' endpoints, where it is not the one of the scheme.
    #[serde(default)]
    pub gateway_port: Option<u16>,
    /// The windows of a deployment that names none.
    #[serde(default)]
    pub windows: Windows,
}

/// The times of a deployment, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Windows {
    /// For bids; late ones extend it up to twice.
    pub bid: u32,
    /// From the award to the first opened checkpoint, and for a node to accept an update.
    pub start: u32,
    /// Between two anchors, at most.
    pub interval: u32,
    /// Of silence beyond the interval before the lease may be ended.
    pub grace: u32,
    /// After an exit, for the final checkpoint.
    pub open: u32,
}

impl Windows {
    /// For a development network: nobody waits, nothing is far away.
    pub const DEV: Self = Self { bid: 2, start: 60, interval: 10, grace: 10, open: 20 };
}

impl Default for Windows {
    /// For a public chain, whose sequencer may be away for minutes.
    fn default() -> Self {
        Self { bid: 120, start: 600, interval: 3600, grace: 1800, open: 3600 }
    }
}

/// What a deployment may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// The highest rate that a bid may have.
    pub rate_max: Rate,
    /// What is paid in.
    pub payment: TokenAmount,
    /// Its times.
    pub windows: Windows,
}

impl Offer {
    /// What goes on chain for this package.
    pub fn terms(&self, package: &Package) -> Terms {
        Terms {
            resources: package.manifest().resources(),
            policy: 0,
            tier: 0,
            artifact_bytes: package.artifact_bytes(),
            bid_window: self.windows.bid,
            start_window: self.windows.start,
            interval: self.windows.interval,
            grace: self.windows.grace,
            open_window: self.windows.open,
            rate_max: self.rate_max,
        }
    }
}

/// Why a network file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkFileError {
    /// Not there, or may not be read or written.
    #[error("the network file {}: {why}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// Not the JSON that it should be.
    #[error(
        "{} is not a network file: {why}; `daee-node dev --dir DIR` writes one as DIR/network.json",
        .path.display()
    )]
    Shape {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Coded for NetworkFileError {
    fn code(&self) -> &'static str {
        match self {
            NetworkFileError::File { .. } => "DAEE-U010",
            NetworkFileError::Shape { .. } => "DAEE-U011",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

impl NetworkFile {
    /// Reads it.
    pub fn load(path: &Path) -> Result<Self, NetworkFileError> {
        let text = fs::read(path).map_err(|error| NetworkFileError::File {
            path: path.to_owned(),
            why: error.to_string(),
        })?;
        let shape = |why: String| NetworkFileError::Shape { path: path.to_owned(), why };
        let file: Self = serde_json::from_slice(&text).map_err(|error| shape(error.to_string()))?;
        if file.rpc.is_empty() {
            return Err(shape("rpc lists no endpoint".to_owned()));
        }
        Ok(file)
    }

    /// Writes it, whole or not at all.
    pub fn save(&self, path: &Path) -> Result<(), NetworkFileError> {
        let failed = |error: std::io::Error| NetworkFileError::File {
            path: path.to_owned(),
            why: error.to_string(),
        };
        let text = serde_json::to_string_pretty(self).expect("plain values have a JSON form");
        let new = path.with_extension("new");
        fs::write(&new, text + "\n").map_err(failed)?;
        fs::rename(&new, path).map_err(failed)
    }

    /// Where an agent answers on this network, e.g. `http://acme-oracle-7.localhost:8080/`.
    pub fn endpoint(&self, agent_id: &str, deployment: DeploymentId) -> String {
        let name = agent_id.split_once('@').map_or(agent_id, |(name, _)| name);
        let label = endpoint_label(name, deployment);
        let scheme = if self.is_local() { "http" } else { "https" };
        match self.gateway_port {
            Some(port) => format!("{scheme}://{label}.{}:{port}/", self.zone),
            None => format!("{scheme}://{label}.{}/", self.zone),
        }
    }

    /// Whether its agents answer on this machine alone (RFC 6761), which takes no TLS.
    pub(crate) fn is_local(&self) -> bool {
        self.zone == "localhost" || self.zone.ends_with(".localhost")
    }
}

fn localhost() -> String {
    "localhost".to_owned()
}
