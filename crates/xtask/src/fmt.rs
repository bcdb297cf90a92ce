use std::path::Path;

use crate::failure::Failure;
use crate::tools;

pub fn write(repo: &Path) -> Result<(), Failure> {
    tools::cargo(repo).args(["fmt", "--all"]).done()
}

pub fn check(repo: &Path) -> Result<(), Failure> {
    let check = tools::cargo(repo).args(["fmt", "--all", "--check"]).done();
    check.map_err(|failure| failure.fixed_by("cargo xtask fmt"))
}
