use std::path::PathBuf;

use daee_http::BindError;
use daee_types::{Coded, Fault};

/// Why the development chain does not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DevnetError {
    /// It cannot listen there.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// Another process has the file open.
    #[error("{} belongs to a chain that is running: stop it, or name another file", .0.display())]
    Busy(PathBuf),
    /// The file begins with another chain id or other accounts.
    #[error("{} holds a chain that began otherwise: name another file, or remove it", .0.display())]
    OtherChain(PathBuf),
    /// The file does not lead to the chain it says.
    #[error("{}, line {line}: {why}; remove the file to begin anew", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        why: String,
    },
    /// The file cannot be read or written.
    #[error("cannot keep the chain in {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: String,
    },
    /// It was stopped.
    #[error("the chain was stopped")]
    Stopped,
}

impl Coded for DevnetError {
    fn code(&self) -> &'static str {
        match self {
            DevnetError::Listen(error) => error.code(),
            DevnetError::Busy(_) => "DAEE-B001",
            DevnetError::OtherChain(_) => "DAEE-B002",
            DevnetError::Corrupt { .. } => "DAEE-B003",
            DevnetError::File { .. } => "DAEE-B004",
            DevnetError::Stopped => "DAEE-B005",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}
