use daee_types::{Address, Coded, DeploymentId, Fault};

/// Why a node did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LifecycleError {
    /// The chain knows no such deployment.
    #[error("deployment {0} does not exist: `daee-deploy list` shows yours")]
    Unknown(DeploymentId),
    /// Another node holds the lease, or none does.
    #[error("deployment {deployment} does not run on this node: {}", elsewhere(.node))]
    Elsewhere {
        /// The deployment.
        deployment: DeploymentId,
        /// Base URL of the node that holds its lease, where it is known.
        node: Option<String>,
    },
    /// The call needs a signature.
    #[error("only the deployer may do this: sign in with the wallet that deployed")]
    SignIn,
    /// Somebody else's deployment.
    #[error("{wallet} did not deploy {deployment}: use the wallet that did")]
    NotOwner {
        /// Who signed.
        wallet: Address,
        /// What they asked about.
        deployment: DeploymentId,
    },
    /// Not in this phase: nothing is pending, or it is already stopping.
    #[error("not now: {0}")]
    NotNow(String),
    /// The request could not be read.
    #[error("the request is malformed: {0}")]
    Malformed(String),
    /// The node failed at it.
    #[error("the node could not do it: {0}")]
    Node(String),
    /// Something the node depends on failed; asking again may help.
    #[error("the node could not reach what it needed: {0}")]
    Outside(String),
}

impl Coded for LifecycleError {
    fn code(&self) -> &'static str {
        match self {
            LifecycleError::Unknown(_) => "DAEE-L001",
            LifecycleError::Elsewhere { .. } => "DAEE-L002",
            LifecycleError::SignIn => "DAEE-L003",
            LifecycleError::NotOwner { .. } => "DAEE-L004",
            LifecycleError::NotNow(_) => "DAEE-L005",
            LifecycleError::Malformed(_) => "DAEE-L006",
            LifecycleError::Node(_) => "DAEE-L007",
            LifecycleError::Outside(_) => "DAEE-L008",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            LifecycleError::Node(_) => Fault::Node,
            LifecycleError::Elsewhere { .. } | LifecycleError::Outside(_) => Fault::Network,
            _ => Fault::Developer,
        }
    }
}

impl LifecycleError {
    /// The HTTP status it travels with.
    pub fn http_status(&self) -> u16 {
        match self {
            LifecycleError::Unknown(_) => 404,
            // The server that was asked is not the one that can answer.
            LifecycleError::Elsewhere { .. } => 421,
            LifecycleError::SignIn => 401,
            LifecycleError::NotOwner { .. } => 403,
            LifecycleError::NotNow(_) => 409,
            LifecycleError::Malformed(_) => 400,
            LifecycleError::Node(_) => 500,
            LifecycleError::Outside(_) => 503,
        }
    }
}

/// How every error of the API looks on the wire.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ErrorBody {
    /// `DAEE-X000`: stable, scripts may match on it.
    pub code: String,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// Whose fault it is.
    pub fault: Fault,
}

impl ErrorBody {
    /// Of any error of ours.
    pub fn of(error: &(impl Coded + ?Sized)) -> Self {
        Self { code: error.code().to_owned(), message: error.to_string(), fault: error.fault() }
    }
}

fn elsewhere(node: &Option<String>) -> String {
    match node {
        Some(node) => format!("ask {node}"),
        None => "no node holds its lease now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_reads_the_same_on_both_ends() {
        let error = LifecycleError::Elsewhere { deployment: DeploymentId(7), node: None };
        let body = ErrorBody::of(&error);
        let json = serde_json::to_string(&body).unwrap();
        assert_eq!(
            json,
            r#"{"code":"DAEE-L002","message":"deployment 7 does not run on this node: no node holds its lease now","fault":"network"}"#
        );
        assert_eq!(serde_json::from_str::<ErrorBody>(&json).unwrap(), body);
    }
}
