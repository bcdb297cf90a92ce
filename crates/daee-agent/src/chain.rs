//! Values on chain. The manifest permits them with `publish_to_chain`.

use serde_json::json;

use crate::{Error, call};

/// Publishes a value under a topic in the outbox contract, once the turn is kept.
pub fn publish(topic: &str, data: &[u8]) -> Result<(), Error> {
    call("chain.publish", json!({"topic": topic}), data).map(drop)
}
