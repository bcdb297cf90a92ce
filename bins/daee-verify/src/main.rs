//! Judge manifests, artifacts and packages with one exit code.

fn main() {}
