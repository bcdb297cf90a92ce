use std::{fmt, future::Future, net::IpAddr};

use daee_policy::{Denial, Permit};
use daee_types::{ByteSize, Coded, DeploymentId, Fault};
use serde::{Deserialize, Serialize};

use crate::{EgressRequest, EgressResponse, Limited, ResolveError};

/// Dials for agents. A task today; behind this trait it may become a process of its own.
pub trait Broker: Send + Sync {
    /// Exchanges one request of an agent for one answer from the permitted host.
    fn exchange(
        &self,
        agent: DeploymentId,
        permit: Permit,
        request: EgressRequest,
    ) -> impl Future<Output = Exchanged> + Send;
}

/// What became of a request, and what was decided on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchanged {
    /// The answer, redirects included.
    pub answer: Result<EgressResponse, EgressError>,
    /// For the agent's log.
    pub decision: Decision,
}

/// What was decided for one request, for its tenant to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The name that was asked for.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Every address the name resolved to.
    pub addresses: Vec<IpAddr>,
    /// What was decided.
    pub verdict: Verdict,
    /// Why, where it was not simply allowed: the error's code and text.
    pub reason: Option<String>,
    /// Bytes of the request's body.
    pub sent: u64,
    /// Bytes of the answer's body.
    pub received: u64,
    /// Milliseconds from the request to the end of its answer.
    pub millis: u64,
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Judged and dialled.
    Allowed,
    /// Dialled where the operator's development mapping says.
    Mapped,
    /// Nothing was dialled.
    Denied,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Allowed => "allowed",
            Verdict::Mapped => "mapped",
            Verdict::Denied => "denied",
        };
        write!(f, "egress {verdict} {}:{}", self.host, self.port)?;
        for (i, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if i == 0 { " [" } else { " " })?;
        }
        if !self.addresses.is_empty() {
            f.write_str("]")?;
        }
        write!(f, " sent {} received {} in {} ms", self.sent, self.received, self.millis)?;
        match &self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

/// Why a request got no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// The name leads where no agent may go.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The name could not be resolved.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// Too much at once, or too often.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// The request cannot be sent.
    #[error("the request cannot be sent: {0}")]
    Request(String),
    /// The answer is larger than was asked for or than the node takes.
    #[error("the answer is larger than {0}")]
    TooLarge(ByteSize),
    /// It took too long.
    #[error("no whole answer within {0} ms")]
    Timeout(u64),
    /// Nobody there, no trusted certificate, or the exchange broke.
    #[error("{0}")]
    Failed(String),
}

impl Coded for EgressError {
    fn code(&self) -> &'static str {
        match self {
            EgressError::Denied(_) => "DAEE-E001",
            EgressError::Resolve(_) => "DAEE-E002",
            EgressError::Limited(_) => "DAEE-E003",
            EgressError::Request(_) => "DAEE-E004",
            EgressError::TooLarge(_) => "DAEE-E005",
            EgressError::Timeout(_) => "DAEE-E006",
            EgressError::Failed(_) => "DAEE-E007",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            EgressError::Denied(denial) => denial.fault(),
            EgressError::Limited(_) | EgressError::Request(_) | EgressError::TooLarge(_) => {
                Fault::Developer
            }
            EgressError::Resolve(_) | EgressError::Timeout(_) | EgressError::Failed(_) => {
                Fault::Network
            }
        }
    }
}
