use daee_chain::{ChainError, Phase};
use daee_http::TlsError;
use daee_types::{Address, Coded, DeploymentId, Fault, TokenAmount};

use crate::NodeError;

/// Why something was not done, or not found out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The chain did not say or do it.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A node did not say or do it.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No such number.
    #[error("deployment {0} does not exist: `daee-deploy list` shows yours")]
    Unknown(DeploymentId),
    /// Somebody else's.
    #[error("deployment {id} belongs to {owner}, not to {wallet}: use the key that deployed it")]
    NotOwner {
        /// Which.
        id: DeploymentId,
        /// Whose it is.
        owner: Address,
        /// Who asks.
        wallet: Address,
    },
    /// Nobody holds its lease.
    #[error("no node runs deployment {id}: {}", without_lease(*.phase))]
    NoLease {
        /// Which.
        id: DeploymentId,
        /// Where it stands.
        phase: Phase,
    },
    /// A node's registration has no URL.
    #[error("node {0} is not registered with a URL: its operator has to set one")]
    NoEndpoint(Address),
    /// No node to publish to.
    #[error("there is no node to publish to: name one with `--node URL`, or in the network file")]
    NoNodes,
    /// No node took the package.
    #[error("no node took the package: {}", listed(.0))]
    NotPublished(Vec<NodeError>),
    /// The payment is too small for the terms.
    #[error(
        "{payment} is below the minimum of {minimum} for these terms: pay more with `--pay`, or \
         offer less with `--max-rate`"
    )]
    PaymentBelowMinimum {
        /// What was to be paid.
        payment: TokenAmount,
        /// What the contract asks for.
        minimum: TokenAmount,
    },
    /// The wallet has too little.
    #[error("{wallet} holds {balance} and {needed} are needed: send it TALOS, or pay less")]
    Funds {
        /// Which wallet.
        wallet: Address,
        /// What it has.
        balance: TokenAmount,
        /// What it would take.
        needed: TokenAmount,
    },
    /// Nothing to withdraw.
    #[error("nothing is owed to {0}: money comes free when a deployment is closed, or pay settled")]
    NothingOwed(Address),
    /// An update to another agent.
    #[error("deployment {id} runs {runs}, and the package is of {package}: deploy it with `up`")]
    OtherAgent {
        /// Which.
        id: DeploymentId,
        /// The name of what runs.
        runs: String,
        /// The name in the package.
        package: String,
    },
    /// An update to what runs already.
    #[error("deployment {0} is at this artifact already: there is nothing to update")]
    SameArtifact(DeploymentId),
}

impl Coded for ClientError {
    fn code(&self) -> &'static str {
        match self {
            ClientError::Chain(error) => error.code(),
            ClientError::Node(error) => error.code(),
            ClientError::Tls(error) => error.code(),
            ClientError::Unknown(_) => "DAEE-U030",
            ClientError::NotOwner { .. } => "DAEE-U031",
            ClientError::NoLease { .. } => "DAEE-U032",
            ClientError::NoEndpoint(_) => "DAEE-U033",
            ClientError::NoNodes => "DAEE-U034",
            ClientError::NotPublished(_) => "DAEE-U035",
            ClientError::PaymentBelowMinimum { .. } => "DAEE-U036",
            ClientError::Funds { .. } => "DAEE-U037",
            ClientError::NothingOwed(_) => "DAEE-U038",
            ClientError::OtherAgent { .. } => "DAEE-U039",
            ClientError::SameArtifact(_) => "DAEE-U040",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            ClientError::Chain(error) => error.fault(),
            ClientError::Node(error) => error.fault(),
            ClientError::Tls(error) => error.fault(),
            ClientError::NoEndpoint(_) => Fault::Node,
            ClientError::NotPublished(_) => Fault::Network,
            _ => Fault::Developer,
        }
    }
}

fn without_lease(phase: Phase) -> &'static str {
    match phase {
        Phase::Bidding => "nodes may bid for it, and none has won yet",
        Phase::Leased => "its lease is changing hands",
        Phase::Closing => "it is ending",
        Phase::Closed => "it is over; deploy it again with `daee-deploy up`",
    }
}

fn listed(errors: &[NodeError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
