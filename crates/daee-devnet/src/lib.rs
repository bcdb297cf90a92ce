#![doc = include_str!("../README.md")]

mod block;
mod call;
mod chain;
mod clock;
mod error;
mod evm;
mod file;
mod logs;
mod rpc;
mod server;
mod state;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use daee_http::{Server, ServerLimits, bind};
use daee_types::{Address, ByteSize, TokenAmount};
use tokio::task::JoinHandle;

use crate::{
    chain::Chain,
    clock::wall_seconds,
    file::{Began, ChainFile},
    rpc::Node,
};

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
    /// Where the chain is kept, and goes on from when it is started again. `None` keeps it in memory.
    pub file: Option<PathBuf>,
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
        Self {
            chain_id: 31_337,
            accounts: Vec::new(),
            block_time: BlockTime::default(),
            file: None,
        }
    }
}

/// A running chain. Dropping it ends it at once.
#[derive(Debug)]
pub struct Devnet {
    server: Server,
    miner: Option<Miner>,
    node: Arc<RwLock<Node>>,
}

impl Devnet {
    /// Starts a chain on the running tokio runtime, behind JSON-RPC on this address.
    pub async fn start(listen: SocketAddr, config: DevnetConfig) -> Result<Self, DevnetError> {
        let listener = bind(listen).await?;
        let accounts = config.accounts.iter().map(|(account, wei)| (account.0.into(), *wei));
        let began =
            Began { chain_id: config.chain_id, accounts: accounts.collect(), time: wall_seconds() };
        let node = match config.file {
            None => Node::new(Chain::new(&began), None),
            Some(path) => {
                // Mining a long chain again takes its time, and a thread that may block.
                let opened = tokio::task::spawn_blocking(move || ChainFile::open(&path, began));
                let (file, chain) = opened.await.expect("opening a file does not panic")?;
                Node::new(chain, Some(file))
            }
        };
        let node = Arc::new(RwLock::new(node));
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
        let server = Server::start(listener, server::routes(node.clone()), limits);
        Ok(Self { server, miner, node })
    }

    /// Where its JSON-RPC is.
    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Mines no more, answers what is under way, and lets go of the file.
    pub async fn stop(self) {
        drop(self.miner);
        self.server.stop().await;
        self.node.write().unwrap_or_else(PoisonError::into_inner).end();
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
            node.write().unwrap_or_else(PoisonError::into_inner).tick(wall_seconds())
        });
        match mined.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return tracing::error!(%error, "the chain ends here"),
            Err(error) => tracing::error!(%error, "no block was mined"),
        }
    }
}
