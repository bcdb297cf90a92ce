#![doc = include_str!("../README.md")]

mod address;
mod judge;
mod permission;

pub use address::is_public;
pub use judge::{Denial, Grant, Line, Permit, Policy};
pub use permission::{Cidr, HostPattern, Permission, PermissionError, is_agent_name};
