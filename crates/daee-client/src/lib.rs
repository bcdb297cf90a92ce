#![doc = include_str!("../README.md")]

mod clock;
mod deployer;
mod error;
mod fill;
mod market;
mod network;
mod node;
mod package;
mod sign_in;
mod stage;
mod watch;

pub use deployer::{Deployed, Deployer, Follow, Proposed, Stopping};
pub use error::ClientError;
pub use market::{Market, Standing, Taken, publish};
pub use network::{NetworkFile, NetworkFileError, Offer, Windows};
pub use node::{Call, LogStream, NodeClient, NodeError};
pub use package::{Finding, MANIFEST_FILE, Package, PackageError, Packed};
pub use stage::{Bid, Stage, Stopped, Updated, WaitError, talos_per_hour};
