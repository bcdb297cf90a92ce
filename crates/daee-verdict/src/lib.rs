#![doc = include_str!("../README.md")]

pub mod formats;
mod judge;
mod name;
mod permission;
mod policy;
mod report;
mod rules;
mod run;
mod signatures;
mod upgrade;
mod whole;

pub use daee_manifest::Span;

pub use judge::{Expected, artifact, manifest, manifest_or_package, package};
pub use name::Name;
pub use policy::{POLICY_BYTES_MAX, Policy, PolicyError};
pub use report::{Finding, Level, Report, Source, Verdict};
pub use rules::{Example, Group, Rule, rule, rule_like, rules};
pub use run::{Difference, Differing, Mark, Ran, Run, RunEnd};
pub use signatures::Signers;
pub use upgrade::upgrade;
