//! Packages signed by their publishers, and who is believed: `docs/spec/signatures.md`.
//!
//! A [`SignatureFile`] says who signed what; a [`Trust`] says whose signatures count. Judging one by the
//! other asks nobody else.

mod file;
mod judge;
mod trust;

pub use file::{
    FORMAT, ROTATIONS_MAX, SIGNATURE_FILE_BYTES_MAX, SIGNATURES_MAX, SignFileError, SignatureFile,
    SignatureFileError, signature_path,
};
pub use judge::{SignatureProblem, Signed};
pub use trust::{SignedRotation, TRUSTED_MAX, Trust, TrustError};
