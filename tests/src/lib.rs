#![doc = include_str!("../README.md")]

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this package lies in a folder of the root")
}

/// Every file that git tracks or would track, relative to [`root`]: what a clean clone holds.
///
/// # Panics
/// Without git or outside of a clone.
pub fn tracked_files() -> Vec<PathBuf> {
    let list = output("git", &["ls-files", "--cached", "--others", "--exclude-standard"]);
    // A file that was deleted but not yet committed is listed all the same.
    list.lines().map(PathBuf::from).filter(|file| root().join(file).is_file()).collect()
}

/// What `cargo metadata` says of this workspace on the platform that it runs on.
///
/// # Panics
/// When the lock file does not fit the manifests.
pub fn metadata() -> serde_json::Value {
    // Without a filter cargo would download crates of platforms that nobody here builds for.
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let args = ["metadata", "--locked", "--format-version", "1", "--filter-platform", &platform];
    serde_json::from_str(&output(&cargo, &args)).expect("cargo metadata speaks JSON")
}

#[expect(clippy::disallowed_methods, reason = "the one place of this crate that starts a process")]
fn output(program: &str, args: &[&str]) -> String {
    let out = std::process::Command::new(program)
        .args(args)
        .current_dir(root())
        .output()
        .unwrap_or_else(|error| panic!("{program} does not start: {error}"));
    let errors = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {}: {errors}", args.join(" "));
    String::from_utf8(out.stdout).expect("paths and JSON are UTF-8")
}
