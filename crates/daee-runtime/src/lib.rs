#![doc = include_str!("../README.md")]

mod agent;
mod ahead;
#[cfg(test)]
mod calls;
mod cell;
mod check;
mod child;
mod compile;
mod door;
mod engine;
mod event;
#[cfg(test)]
mod evil;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
mod ground;
mod jail;
mod limits;
mod mapped;
mod outcome;
mod outside;
mod protocol;
mod recording;
mod replay;
mod runtime;
mod snapshot;
mod spawn;
mod warden;
mod warm;
mod wasi;

pub use agent::{Agent, Commit, Launch, Marks, StartError, Turned};
pub use child::child_main;
pub use compile::CompileLimits;
pub use daee_artifact::RunStyle;
#[doc(hidden)]
pub use engine::bench;
pub use event::{Answer, Event};
pub use limits::Limits;
pub use outcome::Outcome;
pub use outside::{CallKey, FetchAnswer, FetchRequest, Nothing, Outside, OutsideError};
pub use recording::Recording;
pub use replay::{CannotRun, Difference, ReplayError, Replayed, Replaying, What, replay};
pub use runtime::{
    Isolation, Module, PrepareError, Runtime, RuntimeConfig, RuntimeError, SandboxReport, Wall,
};
pub use snapshot::Snapshot;

/// Stands in every checkpoint. Two nodes with the same number end the same reproducible turn the same way.
pub const RUNTIME_VERSION: u32 = 2;
