#![doc = include_str!("../README.md")]

pub mod formats;
mod judge;
mod name;
mod report;
mod rules;

pub use judge::{Expected, artifact, manifest, package};
pub use name::Name;
pub use report::{Finding, Level, Report, Source, Span, Verdict};
