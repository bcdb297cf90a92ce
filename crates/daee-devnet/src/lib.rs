#![doc = include_str!("../README.md")]

mod block;
mod call;
mod chain;
mod clock;
mod error;
mod evm;
mod logs;
mod rpc;
mod server;
mod state;

use std::{
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use daee_http::{Server, ServerLimits, bind};
use daee_types::{Address, ByteSize, TokenAmount};
use tokio::task::JoinHandle;

use crate::{chain::Chain, clock::wall_seconds, rpc::Node};

pub use error::DevnetError;

/// How a chain begins and goes on.
#[derive(Clone, Debug)]
pub struct DevnetConfig {
    /// What transactions are signed for (EIP-155).
    pub chain_id: u64,
    /// Who has ether from the first block on, in wei.
    pub accounts: Vec<(Address, TokenAmount)>,
    /// When blocks are mined.
    pub block_time: BlockTime,
}

/// When blocks are mined besides the one for each transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockTime {
    /// Each second that had none, so that a client that waits for a time sees it come.
    #[default]
    EachSecond,
    /// Never: a test mines with `evm_mine` when it wants to.
    OnDemand,
}

impl Default for DevnetConfig {
    fn default() -> Self {
        Self { chain_id: 31_337, accounts: Vec::new(), block_time: BlockTime::default() }
    }
}

/// A running chain. Dropping it ends it at once.
#[derive(Debug)]
pub struct Devnet {
    server: Server,
    miner: Option<Miner>,
}

impl Devnet {
    /// Starts a chain on the running tokio runtime, behind JSON-RPC on this address.
    pub async fn start(listen: SocketAddr, config: DevnetConfig) -> Result<Self, DevnetError> {
        let accounts: Vec<_> =
            config.accounts.iter().map(|(account, wei)| (account.0.into(), *wei)).collect();
        let listener = bind(listen).await?;
        let chain = Chain::new(config.chain_id, &accounts, wall_seconds());
        let node = Arc::new(RwLock::new(Node::new(chain)));
        let miner = match config.block_time {
            BlockTime::EachSecond => Some(Miner(tokio::spawn(mine(node.clone())))),
            BlockTime::OnDemand => None,
        };
        let limits = ServerLimits {
            body_bytes_max: ByteSize::mib(4),
            connections_max: 256,
            streams_max: 32,
            drain_time: Duration::from_secs(1),
            ..ServerLimits::default()
        };
        Ok(Self { server: Server::start(listener, server::routes(node), limits), miner })
    }

    /// Where its JSON-RPC is.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Mines no more, and answers what is under way.
    pub async fn stop(mut self) {
        drop(self.miner.take());
        self.server.stop().await;
    }
}

#[derive(Debug)]
struct Miner(JoinHandle<()>);

impl Drop for Miner {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Mines an empty block for each second that had none.
async fn mine(node: Arc<RwLock<Node>>) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        seconds.tick().await;
        let node = node.clone();
        let mined = tokio::task::spawn_blocking(move || {
            node.write().unwrap_or_else(PoisonError::into_inner).tick(wall_seconds());
        });
        if let Err(error) = mined.await {
            tracing::error!(%error, "no block was mined");
        }
    }
}
