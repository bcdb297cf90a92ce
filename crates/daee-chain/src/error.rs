use daee_types::{Address, Coded, Fault, SignError, TxHash};

/// Why the chain did not say or do what it was asked to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// A contract refused. Nothing was changed.
    #[error("{message} ({name})")]
    Reverted {
        /// The contract's own error, as in `PaymentBelowMinimum`; `Error` or `Panic` for the language's,
        /// `Unknown` for one that no contract of ours has.
        name: String,
        /// What it means here, and what to do where there is something to do.
        message: String,
    },
    /// No endpoint answers, and nothing was sent.
    #[error("no endpoint of the chain answers: {0}")]
    Unreachable(String),
    /// A transaction was sent, and no endpoint says what became of it. The same account never sends it
    /// again beside the first one: the next call takes its place in the queue, or finds it mined.
    #[error("transaction {tx} was sent and its fate is not known: {why}")]
    Lost {
        /// The transaction.
        tx: TxHash,
        /// What came instead of an answer.
        why: String,
    },
    /// A transaction was accepted and not mined for so long that nobody waits for it any more. What
    /// [`ChainError::Lost`] says of the next call holds here too.
    #[error("transaction {tx} was accepted and not mined within {seconds} s")]
    NotMined {
        /// The transaction.
        tx: TxHash,
        /// How long was waited.
        seconds: u64,
    },
    /// Endpoints of different chains.
    #[error("{endpoint} serves chain {found}, the others chain {expected}: remove one of them")]
    WrongChain {
        /// Who is different.
        endpoint: String,
        /// The chain of the others.
        expected: u64,
        /// Its chain.
        found: u64,
    },
    /// There is no contract where one should be.
    #[error(
        "there is no {what} contract at {address} on chain {chain_id}: check the address, and that \
        the endpoint serves the right network"
    )]
    NoContract {
        /// token, registry, manager or outbox.
        what: &'static str,
        /// Where it was looked for.
        address: Address,
        /// On which chain.
        chain_id: u64,
    },
    /// The account cannot pay for gas.
    #[error("{account} cannot pay for gas: send it some of the chain's own coin ({message})")]
    NoGasMoney {
        /// Which account.
        account: Address,
        /// What the endpoint says.
        message: String,
    },
    /// The endpoint refuses for a reason of its own.
    #[error("the endpoint refuses {what}: {message}")]
    Refused {
        /// What was asked, in words.
        what: &'static str,
        /// What it says.
        message: String,
    },
    /// The answer is not what the protocol has there.
    #[error("the chain's answer about {what} makes no sense: {why}")]
    Malformed {
        /// What was asked.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// An endpoint that is none.
    #[error("{0:?} is no endpoint: give an http or https URL")]
    Endpoint(String),
    /// A value that contracts have no room for.
    #[error("{what} is larger than contracts can hold")]
    TooLarge {
        /// Which value.
        what: &'static str,
    },
    /// The key did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl ChainError {
    /// Whether a contract refused; [`ChainError::revert_name`] says with what.
    pub fn is_revert(&self) -> bool {
        matches!(self, ChainError::Reverted { .. })
    }

    /// The contract's own name for why it refused.
    pub fn revert_name(&self) -> Option<&str> {
        match self {
            ChainError::Reverted { name, .. } => Some(name),
            _ => None,
        }
    }
}

impl Coded for ChainError {
    fn code(&self) -> &'static str {
        match self {
            ChainError::Reverted { .. } => "DAEE-C001",
            ChainError::Unreachable(_) => "DAEE-C002",
            ChainError::Lost { .. } => "DAEE-C003",
            ChainError::NotMined { .. } => "DAEE-C004",
            ChainError::WrongChain { .. } => "DAEE-C005",
            ChainError::NoContract { .. } => "DAEE-C006",
            ChainError::NoGasMoney { .. } => "DAEE-C007",
            ChainError::Refused { .. } => "DAEE-C008",
            ChainError::Malformed { .. } => "DAEE-C009",
            ChainError::Endpoint(_) => "DAEE-C010",
            ChainError::TooLarge { .. } => "DAEE-C011",
            ChainError::Sign(error) => error.code(),
        }
    }
    fn fault(&self) -> Fault {
        match self {
            ChainError::Reverted { .. } | ChainError::TooLarge { .. } => Fault::Developer,
            ChainError::Unreachable(_)
            | ChainError::Lost { .. }
            | ChainError::NotMined { .. }
            | ChainError::Refused { .. }
            | ChainError::Malformed { .. } => Fault::Network,
            ChainError::WrongChain { .. }
            | ChainError::NoContract { .. }
            | ChainError::NoGasMoney { .. }
            | ChainError::Endpoint(_) => Fault::Node,
            ChainError::Sign(error) => error.fault(),
        }
    }
}
