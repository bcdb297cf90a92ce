#![doc = include_str!("../README.md")]

mod fields;
mod manifest;
mod problem;
mod raw;
mod scan;
mod schedule;
mod schema;
mod table;

pub use fields::{AgentId, Durability, Endpoint, Run};
pub use manifest::{Listed, MANIFEST_BYTES_MAX, Manifest};
pub use problem::{Place, Problem, Span};
pub use schedule::Schedule;
pub use schema::json_schema;
