#![doc = include_str!("../README.md")]

mod abi;
mod error;
mod words;

pub use error::ChainError;
pub use words::*;
