#![doc = include_str!("../README.md")]

mod fill;
mod package;

pub use package::{Finding, MANIFEST_FILE, Package, PackageError, Packed};
