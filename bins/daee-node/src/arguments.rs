use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use daee_types::{Address, TokenAmount};

/// Run a node of the network, or a whole network for development.
///
/// Exit codes: 0 done, 1 the answer is no, 2 could not be done.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// A whole network on this machine: chain, content, three nodes, and the oracle agent
    Dev(Dev),
    /// Run a node that is registered with a stake
    Run(Run),
    /// Register a node with a stake, or add to it
    Stake(Stake),
    /// Take stake out: begin unbonding, or withdraw what is unbonded
    Unstake(Unstake),
    /// What stands between agents and this machine, and how to get what is missing
    Doctor(Doctor),
}

impl Command {
    /// Whether its output is for a person at a terminal, who reads no log.
    pub fn quiet(&self) -> bool {
        !matches!(self, Self::Run(_))
    }
}

#[derive(Args, Debug)]
pub struct Dev {
    /// Keep keys, chain and nodes' data here; without it all of it goes when the network ends
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// The chain's port; the nodes have the three after it, the price source the next
    #[arg(long, default_value_t = 8545)]
    pub port: u16,
    /// Use the development chain behind this URL, such as Anvil, instead of one in the process
    #[arg(long, value_name = "URL")]
    pub rpc: Option<String>,
    /// Print one line of JSON when everything runs
    #[arg(long)]
    pub json: bool,
    /// Start chain and nodes, and deploy nothing
    #[arg(long)]
    pub empty: bool,
}

#[derive(Args, Debug)]
pub struct Run {
    /// The node's settings, a JSON file: see the README
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// The operator's key file: a keystore, or 64 hex digits that only their owner can read
    #[arg(long, value_name = "FILE", env = "DAEE_OPERATOR_KEY")]
    pub key: PathBuf,
    /// The keystore's password; asked for at the terminal if left out
    #[arg(long, value_name = "FILE", env = "DAEE_PASSWORD_FILE")]
    pub password_file: Option<PathBuf>,
    /// The least sandbox level on which agents are run, in place of the one in the settings
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(u8).range(0..=3))]
    pub sandbox_min: Option<u8>,
    /// Print one line of JSON when the node is up
    #[arg(long)]
    pub json: bool,
    /// End when standard input does, as it does when whoever started the node is gone
    #[arg(long)]
    pub until_stdin_closes: bool,
}

#[derive(Args, Debug)]
pub struct Doctor {
    /// The level that is wanted: exit with 1 where this machine has less
    #[arg(
        long,
        value_name = "LEVEL",
        default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(0..=3)
    )]
    pub sandbox_min: u8,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Stake {
    /// The network's file
    #[arg(long, value_name = "FILE", env = "DAEE_NETWORK")]
    pub network: PathBuf,
    /// Key file of the account whose the stake is (the cold key)
    #[arg(long, value_name = "FILE")]
    pub owner_key: PathBuf,
    /// The password, where that is a keystore; asked for at the terminal if left out
    #[arg(long, value_name = "FILE")]
    pub owner_password_file: Option<PathBuf>,
    /// The operator's key file (the hot key); its consent is part of a registration
    #[arg(long, value_name = "FILE")]
    pub operator_key: PathBuf,
    /// The password, where that is a keystore; asked for at the terminal if left out
    #[arg(long, value_name = "FILE")]
    pub operator_password_file: Option<PathBuf>,
    /// How much to stake, in TALOS
    #[arg(long, value_name = "TALOS")]
    pub amount: TokenAmount,
    /// Thousandths of a vCPU that the node offers
    #[arg(long, value_name = "MILLI")]
    pub cpu_milli: u32,
    /// MiB of memory that the node offers
    #[arg(long, value_name = "MIB")]
    pub memory_mib: u64,
    /// Seconds between two anchors, at most
    #[arg(long, value_name = "SECONDS", default_value_t = 3600)]
    pub interval: u32,
    /// Base URL under which others reach the node
    #[arg(long, value_name = "URL")]
    pub endpoint: String,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Unstake {
    /// The network's file
    #[arg(long, value_name = "FILE", env = "DAEE_NETWORK")]
    pub network: PathBuf,
    /// Key file of the account whose the stake is
    #[arg(long, value_name = "FILE")]
    pub owner_key: PathBuf,
    /// The password, where that is a keystore; asked for at the terminal if left out
    #[arg(long, value_name = "FILE")]
    pub owner_password_file: Option<PathBuf>,
    /// The node's operator account
    #[arg(long, value_name = "ADDRESS")]
    pub operator: Address,
    /// How much begins unbonding, in TALOS; without it what has unbonded is withdrawn
    #[arg(long, value_name = "TALOS")]
    pub amount: Option<TokenAmount>,
    /// One JSON object instead of text
    #[arg(long)]
    pub json: bool,
}
