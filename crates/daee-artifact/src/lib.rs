#![doc = include_str!("../README.md")]

mod artifact;
mod content;
mod file;
mod files;
mod module;
pub mod package;

pub use artifact::{Artifact, ArtifactError, Blake3Hasher, Fetched, Hasher, Verified};
pub use content::{ArtifactCid, BLOCK_BYTES_MAX, Cid, CidError, FileCid};
pub use file::{
    ARTIFACT_BYTES_MAX, ArtifactTooLarge, FileHasher, FileLayout, ROOT_BYTES_MAX, RootError,
};
pub use files::{
    FILES_SECTION, FilesError, PACKED_FILES_MAX, PACKED_PATH_BYTES_MAX, PackedFile, files_of,
    read_files, with_files,
};
pub use module::{
    FUNCTION_BYTES_MAX, MODULE_BYTES_MAX, ModuleFacts, ModuleProblem, ModuleReader, ModuleSurvey,
    OPERATIONS, Operation, RunStyle, WASI, check_module, validate,
};
