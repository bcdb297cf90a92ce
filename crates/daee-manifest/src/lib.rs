#![doc = include_str!("../README.md")]

mod fields;
mod manifest;
mod problem;
mod raw;
mod scan;

pub use fields::{AgentId, Durability, Endpoint, Run, Schedule};
pub use manifest::{Listed, MANIFEST_BYTES_MAX, Manifest};
pub use problem::{Place, Problem};
