//! The agent's log: each line is kept with the turn and can be proven.
//!
//! A line that is over the turn's limit is lost, and the log itself says so; no agent should fail for it.

use serde_json::json;

use crate::call;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For whoever looks for a fault.
    Debug,
    /// What happened.
    Info,
    /// What should not happen too often.
    Warn,
    /// What needs somebody.
    Error,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Debug, Self::Info, Self::Warn, Self::Error]
            .into_iter()
            .find(|level| level.name() == name)
    }
}

/// Logs a line.
pub fn line(level: Level, text: &str) {
    let _ = call("log", json!({"level": level.name(), "text": text}), b"");
}

/// Logs for whoever looks for a fault.
pub fn debug(text: impl AsRef<str>) {
    line(Level::Debug, text.as_ref());
}

/// Logs what happened.
pub fn info(text: impl AsRef<str>) {
    line(Level::Info, text.as_ref());
}

/// Logs what should not happen too often.
pub fn warn(text: impl AsRef<str>) {
    line(Level::Warn, text.as_ref());
}

/// Logs what needs somebody.
pub fn error(text: impl AsRef<str>) {
    line(Level::Error, text.as_ref());
}
