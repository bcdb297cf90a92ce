#![doc = include_str!("../README.md")]

mod address;
#[cfg(feature = "url")]
mod judge;
mod permission;
mod policy;

pub use address::is_public;
#[cfg(feature = "url")]
pub use judge::{Grant, Permit};
pub use permission::{Cidr, FORMS, Form, HostPattern, Permission, PermissionError, is_agent_name};
pub use policy::{Denial, Line, Policy};
