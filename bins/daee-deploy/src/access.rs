use std::{
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use daee_client::{Deployer, Market, NetworkFile};
use daee_signer::Key;
use daee_types::Sign;

use crate::failure::Failure;

/// Which network, and who pays.
#[derive(Args, Debug)]
pub struct Access {
    /// A development network's folder: its network.json and keys/deployer.key
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The wallet's key: a file with 64 hex digits that only its owner can read [env: DAEE_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The network's file: chain endpoints, contracts, nodes [env: DAEE_NETWORK]
    #[arg(long, global = true, value_name = "FILE")]
    network: Option<PathBuf>,
}

impl Access {
    /// The network, to look at.
    pub async fn market(&self) -> Result<Market, Failure> {
        let path = self.find(&self.network, "network.json", "DAEE_NETWORK");
        let path = path.ok_or_else(|| {
            Failure::usage(
                "which network? give `--network FILE`, `--dir DIR` of a `daee-node dev`, or set \
                 DAEE_NETWORK to a network file",
            )
        })?;
        let file = NetworkFile::load(&path).map_err(Failure::could_not)?;
        Ok(Market::connect(file).await?)
    }

    /// The network and the wallet.
    pub async fn deployer(&self) -> Result<Deployer, Failure> {
        // The key first: what is missing there is said without asking anybody.
        let wallet = self.wallet()?.ok_or_else(|| {
            Failure::usage(
                "which wallet? give `--key FILE`, `--dir DIR` of a `daee-node dev`, or set DAEE_KEY \
                 to a key file",
            )
        })?;
        Ok(self.market().await?.deployer(wallet))
    }

    /// The wallet, if one is named.
    pub fn wallet(&self) -> Result<Option<Arc<dyn Sign>>, Failure> {
        let Some(path) = self.find(&self.key, "keys/deployer.key", "DAEE_KEY") else {
            return Ok(None);
        };
        // The key itself, where its file's path belongs: no error may show it.
        if is_key(&path) {
            return Err(Failure::usage(
                "that is a key, not the path of a key file: write it to a file of mode 0600 and name \
                 the file (and take it out of the shell's history)",
            ));
        }
        let key = Key::load(&path).map_err(Failure::could_not)?;
        Ok(Some(Arc::new(key)))
    }

    /// An option counts more than the folder, the folder more than the environment.
    fn find(&self, option: &Option<PathBuf>, inside: &str, variable: &str) -> Option<PathBuf> {
        let in_dir = || self.dir.as_deref().map(|dir: &Path| dir.join(inside));
        let in_environment = || env::var_os(variable).filter(|v| !v.is_empty()).map(PathBuf::from);
        option.clone().or_else(in_dir).or_else(in_environment)
    }
}

fn is_key(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}
