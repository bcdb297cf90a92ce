use std::path::Path;

use crate::failure::Failure;
use crate::{surface, tools};

pub fn run(repo: &Path) -> Result<(), Failure> {
    let args = ["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"];
    tools::cargo(repo).args(args).done().map_err(|failure| {
        failure.fixed_by("read the lints above; `cargo xtask lint` shows them again")
    })?;
    surface::run(repo)
}
