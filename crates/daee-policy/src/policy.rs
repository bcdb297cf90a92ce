use std::{fmt, net::IpAddr};

use daee_types::{Coded, Fault};

use crate::Permission;

/// What one agent may do.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    pub(crate) permissions: Vec<(Permission, u32)>,
}

/// A permission and where the manifest lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// As the manifest writes it.
    pub permission: String,
    /// Counted from 1; 0 where it is not known, as for who reads the canonical body.
    pub number: u32,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.permission)?;
        match self.number {
            0 => Ok(()),
            number => write!(f, " (line {number} of agent.yaml)"),
        }
    }
}

/// Why an agent may not do something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// No line of the manifest allows it.
    #[error("not permitted: add {needs:?} to permissions in agent.yaml")]
    NotListed {
        /// The line that would allow it.
        needs: String,
    },
    /// A permission allows the name, but it leads where no agent may go.
    #[error(
        "{host} is permitted by {by}, but resolves to {address}, which is not a public address"
    )]
    NotPublic {
        /// The name.
        host: String,
        /// Where it led.
        address: IpAddr,
        /// The permission that names it.
        by: Line,
    },
    /// A permission allows the name, but it leads to this node.
    #[error("{host} is permitted by {by}, but resolves to this node ({address})")]
    OwnAddress {
        /// The name.
        host: String,
        /// Where it led.
        address: IpAddr,
        /// The permission that names it.
        by: Line,
    },
    /// The name resolved to nothing.
    #[error("{0} does not resolve to any address")]
    NoAddress(String),
    /// Not an https URL of a plain kind.
    #[error("{url:?} cannot be fetched: {why}")]
    Url {
        /// As given, cut to 120 characters.
        url: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

impl Denial {
    /// The manifest line that would allow it, if a line can.
    pub fn needs(&self) -> Option<&str> {
        match self {
            Denial::NotListed { needs } => Some(needs),
            _ => None,
        }
    }
}

impl Coded for Denial {
    fn code(&self) -> &'static str {
        match self {
            Denial::NotListed { .. } => "DAEE-P001",
            Denial::NotPublic { .. } => "DAEE-P002",
            Denial::OwnAddress { .. } => "DAEE-P003",
            Denial::NoAddress(_) => "DAEE-P004",
            Denial::Url { .. } => "DAEE-P005",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Denial::NoAddress(_) => Fault::Network,
            _ => Fault::Developer,
        }
    }
}

impl Policy {
    /// From permissions and the lines they stand on (0 where unknown).
    pub fn new(permissions: Vec<(Permission, u32)>) -> Self {
        Self { permissions }
    }

    /// Whether `ipfs.read` is permitted.
    pub fn read_ipfs(&self) -> Result<(), Denial> {
        self.listed(&Permission::ReadIpfs)
    }

    /// Whether `chain.publish` is permitted.
    pub fn publish(&self) -> Result<(), Denial> {
        self.listed(&Permission::PublishToChain)
    }

    fn listed(&self, wanted: &Permission) -> Result<(), Denial> {
        match self.permissions.iter().any(|(permission, _)| permission == wanted) {
            true => Ok(()),
            false => Err(Denial::NotListed { needs: wanted.to_string() }),
        }
    }
}
