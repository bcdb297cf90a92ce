use std::path::Path;

use crate::failure::Failure;
use crate::{surface, tools};

pub fn run(repo: &Path) -> Result<(), Failure> {
    let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    tools::cargo(repo).args(args).done().map_err(|failure| {
        failure.fixed_by("read the lints above; `cargo xtask lint` shows them again")
    })?;
    // Broken links in documentation are warnings that only rustdoc sees.
    tools::cargo(repo)
        .args(["doc", "--workspace", "--no-deps", "--locked", "--quiet"])
        .env("RUSTDOCFLAGS", "--deny warnings")
        .done()
        .map_err(|failure| failure.fixed_by("read what rustdoc says above"))?;
    surface::run(repo)
}
