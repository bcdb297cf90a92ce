#![doc = include_str!("../README.md")]

mod address;
mod judge;
mod permission;

pub use address::is_public;
pub use judge::{Denial, Grant, Permit, Policy};
pub use permission::{HostPattern, Permission, PermissionError};
