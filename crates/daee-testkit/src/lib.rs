#![doc = include_str!("../README.md")]

mod chain;
mod gateway;
mod price;
mod process;
mod toolchain;

pub use chain::TestChain;
pub use gateway::{BadGateway, Badness, closed_port};
pub use price::{Behaviour, PriceServer};
pub use process::{Ended, Process, Program, binary, is_alive, kill};
pub use tempfile::TempDir;
pub use toolchain::Toolchain;

/// A folder that is gone with its value.
pub fn folder() -> TempDir {
    tempfile::tempdir().expect("this machine has a folder for temporary files")
}
