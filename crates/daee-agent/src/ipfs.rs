//! Content by its CID. The manifest permits it with `read_ipfs`.

use serde_json::json;

use crate::{Error, call};

/// Reads content that the node has verified against its CID; more than `bytes_max` of it is refused.
pub fn read(cid: &str, bytes_max: usize) -> Result<Vec<u8>, Error> {
    Ok(call("ipfs.read", json!({"cid": cid, "max_bytes": bytes_max}), b"")?.body)
}
