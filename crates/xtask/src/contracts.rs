use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::tools;

/// What the contracts' npm packages bring for other tests.
pub struct Foundry {
    pub anvil: PathBuf,
    /// What forge said when its tests were done.
    pub closing: String,
}

/// Installs forge and solc, compiles, writes or compares the committed artifacts, and runs forge's tests.
pub fn run(repo: &Path, check: bool) -> Result<Foundry, Failure> {
    let folder = repo.join("crates/daee-chain/contracts");
    let npm = |args: &[&str]| tools::npm(&folder).map(|npm| npm.args(args));
    // `ci` takes what the lock file says or nothing; scripts of packages have no business here.
    npm(&["ci", "--no-audit", "--no-fund", "--ignore-scripts"])?.done().map_err(|failure| {
        failure.fixed_by("check that npm reaches its registry, then run it again")
    })?;
    npm(&["run", "--silent", if check { "check-artifacts" } else { "artifacts" }])?
        .done()
        .map_err(|failure| {
            failure.fixed_by("`cargo xtask contracts`, then commit the artifacts")
        })?;
    let mut closing = String::new();
    npm(&["test", "--silent"])?.watched(|line| {
        if line.starts_with("Ran ") && line.contains("test suite") {
            closing = line.to_owned();
        }
    })??;
    if closing.is_empty() {
        // Forge calls a project without tests a success.
        return Err(Failure::new("forge found no tests", "look for contracts/test/*.t.sol"));
    }
    Ok(Foundry { anvil: folder.join("node_modules/.bin/anvil"), closing })
}
