use std::path::Path;

use crate::failure::Failure;
use crate::run::Run;
use crate::tools;

const FIX: &str = "change the dependency, or say in deny.toml why it may stay";

/// Judges the lock file by `deny.toml`.
pub fn run(repo: &Path) -> Result<(), Failure> {
    let deny = tools::deny(repo)?;
    let check = |what: &[&str]| {
        let args = ["--workspace", "--locked", "check"];
        Run::new(&deny).dir(repo).args(args).args(what)
    };
    check(&["bans", "licenses", "sources"]).done().map_err(|failure| failure.fixed_by(FIX))?;
    match check(&["advisories"]).text() {
        // The other checks need nothing but the lock file. This one needs the world's list of today, and
        // without it says nothing about us.
        Err(failure) if failure.to_string().contains("failed to fetch advisory database") => {
            println!("advisories not checked: the advisory database cannot be reached from here");
            Ok(())
        }
        Err(failure) => Err(failure.fixed_by(FIX)),
        Ok(_) => {
            println!("advisories ok");
            Ok(())
        }
    }
}
