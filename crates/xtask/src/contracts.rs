use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::tools;

/// What the contracts' npm packages bring for other tests.
pub struct Foundry {
    pub anvil: PathBuf,
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
    npm(&["test"])?.done()?;
    Ok(Foundry { anvil: folder.join("node_modules/.bin/anvil") })
}
