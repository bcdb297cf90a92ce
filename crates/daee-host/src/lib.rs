#![doc = include_str!("../README.md")]

mod agents;
mod api;
mod calls;
mod clock;
mod content;
mod driver;
mod endpoint;
mod envelope;
mod error;
mod host;
mod intent;
mod mailbox;
pub mod node;
mod outside;
mod peers;
mod publish;
mod recording;
mod settings;
mod share;
mod worker;

pub use error::{HostError, Refusal};
pub use host::Host;
pub use settings::HostSettings;
