#![doc = include_str!("../README.md")]

mod checkpoint;
mod key;
mod marks;
pub mod publisher;

pub use checkpoint::CheckpointSigner;
pub use key::{Key, KeyError, recover};
