//! What an operator writes down once: where things are and what this machine asks for.

use std::{net::SocketAddr, path::PathBuf};

use daee_chain::Contracts;
use daee_runtime::SandboxReport;
use daee_types::{ByteSize, Resources};
use serde::{Deserialize, Serialize};

use crate::node::Price;

/// Everything a node needs to know before it starts; the file that `daee-node run --config` reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostSettings {
    /// Where state, blocks, checkpoints and the cache of compiled modules live.
    pub dir: PathBuf,
    /// Where the API and the agents' endpoints are served.
    pub listen: SocketAddr,
    /// Port that clients see in an agent's endpoint, where it is not the one of `listen`.
    #[serde(default)]
    pub public_port: Option<u16>,
    /// The zone below which agents have their names: `talos.network`, or `localhost`.
    pub zone: String,
    /// JSON-RPC endpoints; the next is used when one fails.
    pub rpc: Vec<String>,
    /// Deployed contracts.
    pub contracts: Contracts,
    /// Trustless gateways to read content from, besides other nodes.
    #[serde(default)]
    pub gateways: Vec<String>,
    /// What the machine offers; never more than the registry says.
    pub capacity: Resources,
    /// What it asks for.
    pub price: Price,
    /// How long to wait before bidding once everything that is needed to run is in hand, in milliseconds.
    #[serde(default)]
    pub bid_wait_millis: u64,
    /// How often a checkpoint is opened although nothing demands it, in milliseconds: what a successor may lose.
    #[serde(default = "open_every_default")]
    pub open_every_millis: u64,
    /// How often pay is settled, in milliseconds.
    #[serde(default = "settle_every_default")]
    pub settle_every_millis: u64,
    /// How many other nodes are asked to keep each opened checkpoint.
    #[serde(default = "copies_default")]
    pub checkpoint_copies: usize,
    /// The least sandbox level on which agents are run here. Below it the node starts, answers, and takes none.
    #[serde(default = "sandbox_level_default")]
    pub sandbox_level_min: u8,
    /// Names that an operator of a development network sends to addresses of this machine, as `NAME=IP:PORT`.
    #[serde(default)]
    pub map_hosts: Vec<String>,
    /// PEM files of further certificate authorities that agents' requests trust.
    #[serde(default)]
    pub extra_roots: Vec<PathBuf>,
    /// Turns after which a program that stays in memory (`run: resident`) is started anew from its state, so that a
    /// replay, which begins where it was started, stays short.
    #[serde(default = "rebirth_turns_default")]
    pub rebirth_turns: u64,
    /// How long an agent may be without an event until its cell is ended, in milliseconds; its next event starts
    /// another. A program that stays in memory (`run: resident`) keeps its cell.
    #[serde(default = "hibernate_after_default")]
    pub hibernate_after_millis: u64,
    /// What is kept of each agent's past turns so that they can be replayed. The oldest is dropped first.
    #[serde(default = "record_max_default")]
    pub record_max: ByteSize,
    /// Bytes of content that anyone may leave here before a deployment names it.
    #[serde(default = "content_max_default")]
    pub content_max: ByteSize,
}

fn open_every_default() -> u64 {
    10 * 60 * 1000
}
fn settle_every_default() -> u64 {
    60 * 60 * 1000
}
fn copies_default() -> usize {
    2
}
fn sandbox_level_default() -> u8 {
    SandboxReport::LEVEL_MAX
}
fn rebirth_turns_default() -> u64 {
    1_000
}
fn hibernate_after_default() -> u64 {
    5 * 60 * 1000
}
fn record_max_default() -> ByteSize {
    ByteSize::mib(128)
}
fn content_max_default() -> ByteSize {
    ByteSize::gib(4)
}
