#![doc = include_str!("../README.md")]

mod delta;
mod draft;
mod files;
mod machine;
mod root;
mod state;
mod tree;

pub use delta::{Delta, Effect};
pub use draft::{Draft, Expected, StateError};
pub use files::{
    DEPTH_MAX, FILES_MAX, FileError, FileKind, FileStat, NAME_BYTES_MAX, PATH_BYTES_MAX, Place,
    follow,
};
pub use machine::{Machine, MachineDelta, PAGE_BYTES, Page};
pub use state::State;
