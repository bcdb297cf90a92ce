#![doc = include_str!("../README.md")]

mod abi;
mod account;
mod chain;
mod convert;
mod error;
mod events;
mod follower;
mod network;
mod price_reader;
mod queue;
mod revert;
mod rpc;
mod words;

pub use account::{Account, register_consent_digest};
pub use chain::Chain;
pub use error::ChainError;
pub use events::{ChainEvent, EventKind};
pub use follower::{Cursor, Follower, Step};
pub use network::{NetworkParams, deploy_contracts};
pub use price_reader::PriceReader;
pub use words::{
    Contracts, Deployment, Head, Lease, Mined, NodeRecord, Phase, Published, Registration, Terms,
    Version,
};
