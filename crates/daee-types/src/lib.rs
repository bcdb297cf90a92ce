#![doc = include_str!("../README.md")]

mod amount;
mod checkpoint;
mod fault;
mod hash;
mod id;
mod publisher;
mod sign;
mod size;
mod time;
pub mod wire;

pub use amount::{AmountError, Rate, TokenAmount};
pub use checkpoint::{Checkpoint, Domain};
pub use fault::{Coded, Fault};
pub use hash::{
    ArtifactHash, BodyHash, EpochId, HashError, LeafHash, LogRoot, ManifestHash, StateRoot,
    TranscriptRoot, TxHash, Word, keccak256, sha256,
};
pub use id::{Address, AddressError, DeploymentId};
pub use publisher::{PackageStatement, Rotation};
pub use sign::{Sign, SignError, Signature};
pub use size::{ByteSize, MilliCpu, Resources, SizeError};
pub use time::Timestamp;
