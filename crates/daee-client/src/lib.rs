#![doc = include_str!("../README.md")]

mod bring;
mod clock;
mod deployer;
mod error;
mod fill;
mod market;
mod network;
mod node;
mod package;
mod publish;
mod record;
mod sign_in;
mod stage;
mod watch;

// Who publishes names what opens a place, and hears how far it is.
pub use daee_ipfs::{Authorization, Sent};

pub use bring::{Brought, bring};
pub use deployer::{Deployed, Deployer, Follow, Proposed, Stopping};
pub use error::ClientError;
pub use market::{Market, Standing, Taken, publish};
pub use network::{NetworkFile, NetworkFileError, Offer, Windows};
pub use node::{Call, LogStream, NodeClient, NodeError};
pub use package::{MANIFEST_FILE, Package, PackageError, Packed, Parcel, check};
pub use publish::{Handed, Kept, Patience, Place, Progress, PublishError, hand_out};
pub use record::Recording;
pub use stage::{Bid, Stage, Stopped, Updated, WaitError, talos_per_hour};
