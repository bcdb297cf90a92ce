//! What there is to say, and what it means.

/// The SHA-256 or the CID is not the one that was named.
pub(crate) const ANOTHER_ARTIFACT: &str = "DAEE-A001";
/// Bytes that belong to no block of a package.
pub(crate) const TRAILING: &str = "DAEE-A014";
