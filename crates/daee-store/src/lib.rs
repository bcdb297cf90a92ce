#![doc = include_str!("../README.md")]

mod agent;
mod base;
mod checkpoints;
mod error;
mod files;
mod index;
mod reader;
mod record;
mod store;

pub use agent::{AgentStore, Durable, Opened, Written};
pub use error::StoreError;
pub use reader::{LogReader, Recorded};
pub use store::{Options, Store};
