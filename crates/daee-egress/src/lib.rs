#![doc = include_str!("../README.md")]

mod broker;
mod caps;
mod egress;
mod request;
mod resolve;

pub use broker::{Broker, Decision, EgressError, Exchanged, Verdict};
pub use caps::{Caps, Limited};
pub use egress::{Egress, EgressSettings, MapHost, SettingsError, route_addresses};
pub use request::{EgressRequest, EgressResponse};
pub use resolve::{Resolve, ResolveError, Resolver};
