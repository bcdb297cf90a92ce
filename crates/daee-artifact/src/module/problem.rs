use daee_types::{Coded, Fault};

use crate::FilesError;

/// One reason why a module cannot run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleProblem {
    /// Not WebAssembly.
    #[error("not a WebAssembly module: {0}")]
    NotWasm(&'static str),
    /// A component.
    #[error("this is a component, and nodes run core modules: build for wasm32-wasip1")]
    Component,
    /// Not valid, or not within the allowed features.
    #[error("not a valid module: {what} at byte {at}")]
    Invalid {
        /// What was wrong.
        what: String,
        /// Where, in bytes.
        at: u64,
    },
    /// Over a published limit.
    #[error("{found} {what}, at most {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many may be.
        limit: u64,
    },
    /// So far over a limit that it was not looked into.
    #[error("more than {limit} {what}")]
    Over {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// An import that no node has.
    #[error("imports {module}.{name}, which nodes do not offer")]
    Import {
        /// Its module.
        module: String,
        /// Its name.
        name: String,
    },
    /// An import with another type than the one offered.
    #[error("imports {module}.{name} with a type other than {expected}")]
    ImportType {
        /// Its module.
        module: String,
        /// Its name.
        name: String,
        /// The type nodes offer.
        expected: &'static str,
    },
    /// An export is missing or has another type.
    #[error("must export {0}")]
    Export(&'static str),
    /// Code that would run outside any turn.
    #[error("has a start function, which would run outside any turn: export _initialize instead")]
    Start,
    /// A reactor whose memory and globals do not say where it stands.
    #[error(
        "{0}, which a checkpoint of a reactor does not keep: build without it, or set `run: resident`"
    )]
    Unkeepable(&'static str),
    /// What it brings along is not what a node can show it.
    #[error(transparent)]
    Files(#[from] FilesError),
}

impl Coded for ModuleProblem {
    fn code(&self) -> &'static str {
        match self {
            Self::NotWasm(_) => "DAEE-A020",
            Self::Component => "DAEE-A021",
            Self::Invalid { .. } => "DAEE-A022",
            Self::TooMany { .. } | Self::Over { .. } => "DAEE-A023",
            Self::Import { .. } => "DAEE-A024",
            Self::ImportType { .. } => "DAEE-A025",
            Self::Export(_) => "DAEE-A026",
            Self::Start => "DAEE-A027",
            Self::Unkeepable(_) => "DAEE-A028",
            Self::Files(error) => error.code(),
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}
