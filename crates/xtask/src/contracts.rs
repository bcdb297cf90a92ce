use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::run::Run;
use crate::tools;

/// What the contracts' npm packages bring.
pub struct Foundry {
    /// Where the contracts are.
    folder: PathBuf,
    pub anvil: PathBuf,
}

/// Installs what the lock file names, or nothing; scripts of packages have no business here.
pub fn install(repo: &Path) -> Result<Foundry, Failure> {
    let folder = repo.join("crates/daee-chain/contracts");
    tools::npm(&folder)?
        .args(["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"])
        .done()
        .map_err(|failure| {
            failure.fixed_by("check that npm reaches its registry, then run it again")
        })?;
    Ok(Foundry { anvil: folder.join("node_modules/.bin/anvil"), folder })
}

impl Foundry {
    /// Compiles, and writes or compares the committed artifacts.
    pub fn artifacts(&self, check: bool) -> Result<(), Failure> {
        self.script(if check { "check-artifacts" } else { "artifacts" })?.done().map_err(
            |failure| failure.fixed_by("`cargo xtask contracts`, then commit the artifacts"),
        )
    }

    /// Runs forge's tests and returns its closing line.
    pub fn test(&self) -> Result<String, Failure> {
        let mut closing = String::new();
        self.script("test")?.watched(|line| {
            if line.starts_with("Ran ") && line.contains("test suite") {
                closing = line.to_owned();
            }
        })??;
        if closing.is_empty() {
            // Forge calls a project without tests a success.
            return Err(Failure::new("forge found no tests", "look for contracts/test/*.t.sol"));
        }
        Ok(closing)
    }

    fn script(&self, name: &str) -> Result<Run, Failure> {
        Ok(tools::npm(&self.folder)?.args(["run", "--silent", name]))
    }
}
