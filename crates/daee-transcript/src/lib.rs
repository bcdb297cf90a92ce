#![doc = include_str!("../README.md")]

mod body;
mod entry;
mod log;
mod progress;
mod transcript;

pub use body::{BODY_HERE_MAX, Bodies, Body, Frame};
pub use entry::{Bounds, Entries, Entry, Segment, WHY_BYTES_MAX, entries};
pub use log::{Level, Log, LogLine, Proof, prove, verify};
pub use progress::Progress;
pub use transcript::Transcript;
