#![doc = include_str!("../README.md")]

mod blocks;
mod car;
mod fetch;
mod gateway;
mod kubo;
mod pinning;
mod place;

pub use blocks::{Blocks, BlocksError};
pub use car::{Car, Sent, Source};
pub use fetch::{FetchError, FetchSettings, GatewayUrlError, Gateways, Outcome, Tried};
pub use gateway::gateway_routes;
pub use kubo::{Imported, Kubo, KuboError};
pub use pinning::{Pin, PinError, PinState, PinStatus, Pinning};
pub use place::{Authorization, PlaceError};
