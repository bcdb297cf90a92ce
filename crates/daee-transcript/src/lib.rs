#![doc = include_str!("../README.md")]

mod entry;
mod log;
mod progress;

pub use entry::{Entry, Transcript};
pub use log::{Level, Log, LogLine, Proof, prove, verify};
pub use progress::Progress;
