use std::time::{SystemTime, UNIX_EPOCH};

/// Whole seconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "a chain's clock follows the wall's")]
pub(crate) fn wall_seconds() -> u64 {
    // A clock that stands before 1970 is treated as 1970: blocks never go back anyway.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
