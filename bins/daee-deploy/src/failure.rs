use daee_chain::ChainError;
use daee_client::{ClientError, NodeError, PackageError, WaitError};
use daee_types::{Coded, DeploymentId, Fault};
use daee_verdict::Report;
use serde::Serialize;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub struct Failure {
    /// 1: the answer is no. 2: it could not be found out, or not be done.
    pub exit: u8,
    pub error: ErrorShown,
    /// What is paid for all the same.
    pub deployment: Option<DeploymentId>,
    /// What is wrong with the package, one by one.
    pub report: Option<Box<Report>>,
}

#[derive(Debug, Serialize)]
pub struct ErrorShown {
    pub code: &'static str,
    pub message: String,
    pub fault: Fault,
}

impl Failure {
    /// What was asked is not what there is: yes or no, and the answer is no.
    pub fn no(error: impl Coded) -> Self {
        Self::of(1, &error)
    }

    /// Nobody can say.
    pub fn could_not(error: impl Coded) -> Self {
        Self::of(2, &error)
    }

    /// Something has to be said on the command line.
    pub fn usage(message: &str) -> Self {
        let message = message.to_owned();
        let error = ErrorShown { code: "DAEE-Y001", message, fault: Fault::Developer };
        Self { exit: 2, error, deployment: None, report: None }
    }

    /// The same, with the deployment that is there all the same.
    pub fn about(self, deployment: DeploymentId) -> Self {
        Self { deployment: Some(deployment), ..self }
    }

    fn of(exit: u8, error: &impl Coded) -> Self {
        let error =
            ErrorShown { code: error.code(), message: error.to_string(), fault: error.fault() };
        Self { exit, error, deployment: None, report: None }
    }
}

impl From<PackageError> for Failure {
    fn from(error: PackageError) -> Self {
        let shown = Self::of(1, &error);
        match error {
            PackageError::Wrong(report) => {
                let exit = report.verdict().exit_code();
                Self { exit, report: Some(report), ..shown }
            }
            PackageError::NoPlace(_) | PackageError::TooLarge(_) | PackageError::Files { .. } => {
                Self::no(error)
            }
            PackageError::Unreadable { .. } | PackageError::Unwritable { .. } => {
                Self::could_not(error)
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let no = match &error {
            ClientError::Chain(error) => error.is_revert(),
            ClientError::Node(NodeError::Refused { body, .. }) => body.fault == Fault::Developer,
            ClientError::Node(_) | ClientError::Tls(_) => false,
            ClientError::NoEndpoint(_) | ClientError::NoNodes | ClientError::NotPublished(_) => {
                false
            }
            _ => true,
        };
        let unsure = matches!(
            error,
            ClientError::Chain(ChainError::Lost { .. } | ChainError::NotMined { .. })
        );
        let mut failure = if no { Self::no(error) } else { Self::could_not(error) };
        if unsure {
            let advice = "; it may be mined yet: see with `daee-deploy list` before doing it again";
            failure.error.message.push_str(advice);
        }
        failure
    }
}

impl From<NodeError> for Failure {
    fn from(error: NodeError) -> Self {
        ClientError::from(error).into()
    }
}

impl From<WaitError> for Failure {
    fn from(error: WaitError) -> Self {
        match error {
            WaitError::Client(error) => error.into(),
            WaitError::Stuck { .. } | WaitError::Failed { .. } => Self::no(error),
        }
    }
}
