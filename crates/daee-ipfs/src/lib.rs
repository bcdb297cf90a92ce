#![doc = include_str!("../README.md")]

mod blocks;
mod fetch;
mod gateway;

pub use blocks::{Blocks, BlocksError};
pub use fetch::{FetchError, FetchSettings, GatewayUrlError, Gateways, Outcome, Tried};
pub use gateway::gateway_routes;
