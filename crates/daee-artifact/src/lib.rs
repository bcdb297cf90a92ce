#![doc = include_str!("../README.md")]

mod artifact;
mod content;
mod module;
pub mod package;
mod skeleton;

pub use artifact::{Artifact, ArtifactError, Fetched, Hasher, Verified};
pub use content::{BLOCK_BYTES_MAX, Cid, CidError};
pub use module::{
    MODULE_BYTES_MAX, ModuleFacts, ModuleProblem, ModuleReader, RunStyle, check_module,
};
