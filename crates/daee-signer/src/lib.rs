#![doc = include_str!("../README.md")]

mod checkpoint;
mod key;
pub mod keystore;
mod marks;
mod password;
pub mod publisher;
mod scrypt;

pub use checkpoint::CheckpointSigner;
pub use key::{Key, KeyError, recover};
pub use password::{Password, PasswordError};
