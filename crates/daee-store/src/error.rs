use std::{
    io,
    path::{Path, PathBuf},
};

use daee_types::{ByteSize, Coded, Fault};

/// Why something was not kept, or not found again. What was kept before is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// No space, or no quota. The same call works once there is some.
    #[error("the disk is full below {}: free some space, or move the directory", .dir.display())]
    Full {
        /// Where there is none.
        dir: PathBuf,
    },
    /// Two writers would undo each other.
    #[error(
        "{} is in use by another process: stop that one, or give this one a directory of its own",
        .dir.display()
    )]
    Busy {
        /// The directory.
        dir: PathBuf,
    },
    /// What was on disk for certain is not there any more, or is not what was written.
    #[error("{} is damaged: {why}; restore it, or remove it and lose what it held", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What was found.
        why: String,
    },
    /// The system refused something else.
    #[error("cannot use {}: {why}", .path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The checkpoints would take more than they may.
    #[error(
        "checkpoints below {} may take {cap} and would take {wanted}: allow more, or keep fewer",
        .dir.display()
    )]
    Capped {
        /// Where they are.
        dir: PathBuf,
        /// What they may take.
        cap: ByteSize,
        /// What they would take.
        wanted: ByteSize,
    },
    /// Nothing was ever kept there.
    #[error("nothing is kept in {}", .dir.display())]
    Missing {
        /// The directory.
        dir: PathBuf,
    },
    /// It was dropped to make room for what came later.
    #[error("that part of the record in {} is not kept any more: begin later", .dir.display())]
    Dropped {
        /// The directory.
        dir: PathBuf,
    },
    /// The caller's bytes are not what they should be.
    #[error("cannot keep this: {0}")]
    Malformed(&'static str),
}

impl Coded for StoreError {
    fn code(&self) -> &'static str {
        match self {
            StoreError::Full { .. } => "DAEE-D001",
            StoreError::Busy { .. } => "DAEE-D002",
            StoreError::Corrupt { .. } => "DAEE-D003",
            StoreError::Io { .. } => "DAEE-D004",
            StoreError::Capped { .. } => "DAEE-D005",
            StoreError::Missing { .. } => "DAEE-D006",
            StoreError::Malformed(_) => "DAEE-D007",
            StoreError::Dropped { .. } => "DAEE-D008",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

impl StoreError {
    pub(crate) fn io(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => {
                Self::Full { dir: path.parent().unwrap_or(path).to_owned() }
            }
            _ => Self::Io { path: path.to_owned(), why: error.to_string() },
        }
    }

    pub(crate) fn corrupt(path: &Path, why: impl ToString) -> Self {
        Self::Corrupt { path: path.to_owned(), why: why.to_string() }
    }
}

/// Says which file it was that an operation failed on.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::io(path, &error)
}
