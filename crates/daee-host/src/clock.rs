//! The node's one clock. Everything that decides takes the time as a value.

use std::time::SystemTime;

use daee_types::Timestamp;

#[expect(clippy::disallowed_methods, reason = "the driver is where the clock is read")]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_millis().try_into().unwrap_or(u64::MAX))
}
