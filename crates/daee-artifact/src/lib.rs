#![doc = include_str!("../README.md")]

mod artifact;
mod content;
mod module;
pub mod package;

pub use artifact::{Artifact, ArtifactError, Fetched, Hasher, Verified};
pub use content::{BLOCK_BYTES_MAX, Cid, CidError};
pub use module::{MODULE_BYTES_MAX, ModuleFacts, ModuleProblem, RunStyle, check_module};
