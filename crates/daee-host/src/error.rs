use daee_chain::ChainError;
use daee_http::BindError;
use daee_lifecycle::{LifecycleError, SessionError};
use daee_types::{Address, Coded, Fault};

/// Why a node does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The operator has no stake, so the market does not know this node.
    #[error("{operator} is not registered: `daee-node stake` registers it with a stake")]
    NotRegistered {
        /// The operator account.
        operator: Address,
    },
    /// The API's port is not to be had.
    #[error("{0} (`listen` in the settings)")]
    Bind(#[from] BindError),
    /// The chain cannot be used.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// A part of the node cannot be used as it is set up.
    #[error("{what} cannot be used: {why}")]
    Setup {
        /// Which part.
        what: &'static str,
        /// Why, and what to do.
        why: String,
    },
}

impl HostError {
    pub(crate) fn setup(what: &'static str, why: impl ToString) -> Self {
        Self::Setup { what, why: why.to_string() }
    }
}

impl Coded for HostError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotRegistered { .. } => "DAEE-N001",
            Self::Bind(error) => error.code(),
            Self::Chain(error) => error.code(),
            Self::Setup { .. } => "DAEE-N003",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Chain(error) => error.fault(),
            _ => Fault::Node,
        }
    }
}

/// Why a node runs no agents: the sandbox of its machine is weaker than its operator asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "this node runs no agents and bids for none: the sandbox reaches level {level} of the {wanted} that are wanted; \
     missing: {missing}: mend that, or set `sandbox_level_min` to {level} and accept the difference"
)]
pub struct Refusal {
    /// What this machine reaches.
    pub level: u8,
    /// What the settings ask for.
    pub wanted: u8,
    /// Walls that do not stand, and how to get each.
    pub missing: String,
}

impl Coded for Refusal {
    fn code(&self) -> &'static str {
        "DAEE-N002"
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

/// Why a request at an agent's endpoint got no answer of the agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EndpointError {
    #[error("no agent has the name {0}: `daee-deploy list` shows the endpoints of yours")]
    NoSuchAgent(String),
    #[error("no node runs this agent now ({0}): try again in a moment")]
    NotRunning(String),
    #[error("the agent has more requests waiting than it can take: try again in a moment")]
    Busy,
    #[error("the agent rests for {0} ms after failing too often: its log says why")]
    Resting(u64),
    #[error(
        "the agent has used more than the CPU it asked for and has it again in {0} ms: a version with more in \
         `resources.cpu` answers sooner"
    )]
    Owing(u64),
    #[error("the agent failed and the turn was undone: {0}")]
    Failed(String),
    #[error("the node's cell for the agent died and the turn was undone ({0}): try again")]
    Killed(String),
    #[error("the node could not keep what the agent did ({0})")]
    NotKept(String),
    #[error("the body is larger than 4 MiB")]
    TooLarge,
    /// A private endpoint: who asks is to sign as for the API.
    #[error(transparent)]
    SignIn(#[from] LifecycleError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl EndpointError {
    pub(crate) fn http_status(&self) -> u16 {
        match self {
            Self::NoSuchAgent(_) => 404,
            Self::TooLarge => 413,
            Self::SignIn(error) => error.http_status(),
            Self::Session(error) => error.http_status(),
            Self::Failed(_) => 500,
            Self::Killed(_) => 502,
            Self::NotRunning(_)
            | Self::Busy
            | Self::Resting(_)
            | Self::Owing(_)
            | Self::NotKept(_) => 503,
        }
    }
}

impl Coded for EndpointError {
    fn code(&self) -> &'static str {
        match self {
            Self::NoSuchAgent(_) => "DAEE-N010",
            Self::NotRunning(_) => "DAEE-N011",
            Self::Busy => "DAEE-N012",
            Self::Resting(_) => "DAEE-N013",
            Self::Failed(_) => "DAEE-N014",
            Self::Killed(_) => "DAEE-N015",
            Self::NotKept(_) => "DAEE-N016",
            Self::TooLarge => "DAEE-N017",
            Self::Owing(_) => "DAEE-N018",
            Self::SignIn(error) => error.code(),
            Self::Session(error) => error.code(),
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::NotRunning(_) => Fault::Network,
            Self::SignIn(error) => error.fault(),
            Self::Session(error) => error.fault(),
            Self::Busy | Self::Killed(_) | Self::NotKept(_) => Fault::Node,
            _ => Fault::Developer,
        }
    }
}
