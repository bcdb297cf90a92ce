use daee_http::BindError;
use daee_types::{Coded, Fault};

/// Why the development chain did not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DevnetError {
    /// It cannot listen there.
    #[error(transparent)]
    Listen(#[from] BindError),
}

impl Coded for DevnetError {
    fn code(&self) -> &'static str {
        match self {
            DevnetError::Listen(error) => error.code(),
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}
