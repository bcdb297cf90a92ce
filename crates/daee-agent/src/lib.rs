#![doc = include_str!("../README.md")]

mod answer;
pub mod chain;
mod door;
mod entry;
mod error;
mod event;
pub mod file;
mod frame;
pub mod http;
pub mod ipfs;
pub mod log;
mod sha256;
pub mod state;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod timer;
#[cfg(not(target_family = "wasm"))]
mod tree;

use serde_json::json;

pub use answer::Answer;
pub use door::{Reply, call};
#[doc(hidden)]
pub use entry::reactor_turn;
pub use entry::{IntoAnswer, per_event, resident};
pub use error::{Code, Error};
pub use event::{Event, Request, What};
/// What heads of [`call`] are made of.
pub use serde_json;

/// The time of the turn in milliseconds since 1970: the event's, and what fetches took since. It stands
/// still between them.
pub fn now_ms() -> Result<u64, Error> {
    call("now", json!({}), b"")?.number("ms")
}

/// Randomness, at most 4096 bytes a call.
pub fn random(bytes: usize) -> Result<Vec<u8>, Error> {
    Ok(call("random", json!({"bytes": bytes}), b"")?.body)
}
