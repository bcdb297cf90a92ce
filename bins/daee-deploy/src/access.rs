use std::{
    env, fs,
    io::Read as _,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;
use daee_client::{Deployer, Market, NetworkFile};
use daee_signer::Key;
use daee_types::Sign;

use crate::failure::Failure;

/// Bytes of a file with a secret.
const SECRET_MAX: u64 = 16 << 10;

/// Which network, and who pays.
#[derive(Args, Debug)]
pub struct Access {
    /// A development network's folder: its network.json and keys/deployer.key
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// The wallet's key: a keystore, or 64 hex digits that only their owner can read [env: DAEE_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The keystore's password; asked for at the terminal if left out [env: DAEE_PASSWORD_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    password_file: Option<PathBuf>,
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
        let wallet = self.signer()?;
        Ok(self.market().await?.deployer(wallet))
    }

    /// The wallet, which there must be.
    pub fn signer(&self) -> Result<Arc<dyn Sign>, Failure> {
        self.wallet()?.ok_or_else(|| {
            Failure::usage(
                "which wallet? give `--key FILE`, `--dir DIR` of a `daee-node dev`, or set DAEE_KEY \
                 to a key file",
            )
        })
    }

    /// The wallet, if one is named.
    pub fn wallet(&self) -> Result<Option<Arc<dyn Sign>>, Failure> {
        let Some(path) = self.find(&self.key, "keys/deployer.key", "DAEE_KEY") else {
            return Ok(None);
        };
        Ok(Some(Arc::new(unlock(&path, self.password_file().as_deref())?)))
    }

    /// Whether a network is named.
    pub fn has_network(&self) -> bool {
        self.find(&self.network, "network.json", "DAEE_NETWORK").is_some()
    }

    /// Where the password is.
    pub fn password_file(&self) -> Option<PathBuf> {
        self.password_file.clone().or_else(|| in_environment("DAEE_PASSWORD_FILE"))
    }

    /// An option counts more than the folder, the folder more than the environment.
    fn find(&self, option: &Option<PathBuf>, inside: &str, variable: &str) -> Option<PathBuf> {
        let in_dir = || self.dir.as_deref().map(|dir: &Path| dir.join(inside));
        option.clone().or_else(in_dir).or_else(|| in_environment(variable))
    }
}

/// The key in a file of either kind.
pub fn unlock(path: &Path, password_file: Option<&Path>) -> Result<Key, Failure> {
    // The key itself, where its file's path belongs: no error may show it.
    if is_key(path) {
        return Err(Failure::usage(
            "that is a key, not the path of a key file: write it to a file of mode 0600 and name \
             the file (and take it out of the shell's history)",
        ));
    }
    Key::unlock(path, password_file).map_err(Failure::could_not)
}

/// A secret from a file that only its owner can read, or from a variable; the file counts more.
pub fn secret(file: Option<&Path>, variable: &str) -> Result<Option<String>, Failure> {
    let Some(path) = file else {
        let text = env::var(variable).ok();
        return Ok(text.filter(|text| !text.trim().is_empty()));
    };
    let failed = |why: String| Failure::usage(&format!("the file {}: {why}", path.display()));
    let open = fs::File::open(path).map_err(|error| failed(error.to_string()))?;
    let mode = open.metadata().map_err(|error| failed(error.to_string()))?.mode();
    if mode & 0o077 != 0 {
        return Err(failed("others can read it; `chmod 600` keeps it yours".to_owned()));
    }
    let mut text = String::new();
    open.take(SECRET_MAX).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
    Ok(Some(text))
}

fn in_environment(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn is_key(path: &Path) -> bool {
    let text = path.to_string_lossy();
    let digits = text.strip_prefix("0x").unwrap_or(&text);
    digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit())
}
