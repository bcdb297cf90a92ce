//! Frames: `u32 little-endian length of the head || head, a JSON object || body`.

use serde_json::{Map, Value};

pub(crate) fn encode(head: &Value, body: &[u8]) -> Vec<u8> {
    let head = head.to_string();
    let mut out = Vec::with_capacity(4 + head.len() + body.len());
    out.extend((head.len() as u32).to_le_bytes());
    out.extend(head.as_bytes());
    out.extend(body);
    out
}

/// Nothing at all is an empty head without a body.
pub(crate) fn decode(frame: &[u8]) -> Option<(Map<String, Value>, &[u8])> {
    if frame.is_empty() {
        return Some((Map::new(), frame));
    }
    let (len, rest) = frame.split_first_chunk::<4>()?;
    let (head, body) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    match serde_json::from_slice(head) {
        Ok(Value::Object(head)) => Some((head, body)),
        _ => None,
    }
}
