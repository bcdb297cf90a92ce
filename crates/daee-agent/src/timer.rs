//! Timers: each wakes the agent once, with an event that has its name.

use serde_json::json;

use crate::{Error, call};

/// Sets a timer to a time in milliseconds since 1970. One of the same name is set anew.
pub fn set_at(name: &str, at_ms: u64) -> Result<(), Error> {
    call("timer.set", json!({"name": name, "at_ms": at_ms}), b"").map(drop)
}

/// Sets a timer to so many milliseconds from now. One of the same name is set anew.
pub fn set_after(name: &str, after_ms: u64) -> Result<(), Error> {
    call("timer.set", json!({"name": name, "after_ms": after_ms}), b"").map(drop)
}

/// Cancels a timer, and says whether it was set.
pub fn cancel(name: &str) -> Result<bool, Error> {
    call("timer.cancel", json!({"name": name}), b"")?.flag("existed")
}
