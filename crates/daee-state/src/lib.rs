#![doc = include_str!("../README.md")]

mod delta;
mod draft;
mod machine;
mod root;
mod state;

pub use delta::{Delta, Effect};
pub use draft::{Draft, Expected, StateError};
pub use machine::{Machine, MachineDelta, PAGE_BYTES, Page};
pub use state::State;
