//! Frames: `u32 little-endian length of the head || head, a JSON object || body`. What goes in and out
//! at the door (`docs/spec/door.md`).

use serde_json::{Map, Value};

/// Builds a frame. The names of the head are in the order of their bytes and nothing stands between them, so that
/// every node makes the same bytes.
pub fn encode(head: &Value, body: &[u8]) -> Vec<u8> {
    let head = spelled(head);
    let mut out = Vec::with_capacity(4 + head.len() + body.len());
    out.extend((head.len() as u32).to_le_bytes());
    out.extend(head.as_bytes());
    out.extend(body);
    out
}

/// A head as every node spells it.
pub(crate) fn spelled(head: &Value) -> String {
    ordered(head).to_string()
}

/// Takes a frame apart; nothing at all is an empty head without a body. `None` if it is no frame.
pub fn decode(frame: &[u8]) -> Option<(Map<String, Value>, &[u8])> {
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

/// A JSON map keeps names in order or as they came, by a feature that any crate of a program may switch on.
fn ordered(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            fields.into_iter().map(|(name, value)| (name.clone(), ordered(value))).collect()
        }
        Value::Array(items) => items.iter().map(ordered).collect(),
        other => other.clone(),
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS[usize::from(nibble)] as char;
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// 64 lower-case digits as bytes.
pub(crate) fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    (hex(&out) == text).then_some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn frames_read_back_as_they_were_written() {
        let frame = encode(&json!({"key": "a"}), b"\0body");
        let (head, body) = decode(&frame).unwrap();
        assert_eq!((head["key"].as_str(), body), (Some("a"), &b"\0body"[..]));
        assert_eq!(decode(b""), Some((Map::new(), &[][..])));
    }

    #[test]
    fn a_head_has_one_spelling() {
        let head = json!({"b": [{"z": 1, "a": null}], "a": "\u{1}é"});
        let text = String::from_utf8(encode(&head, b"")[4..].to_vec()).unwrap();
        assert_eq!(text, "{\"a\":\"\\u0001é\",\"b\":[{\"a\":null,\"z\":1}]}");
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        let deep = |levels: usize| {
            let json = format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
            [&(json.len() as u32).to_le_bytes(), json.as_bytes()].concat()
        };
        assert!(decode(&deep(127)).is_some());
        assert_eq!(decode(&deep(128)), None);
        let lies = [&[0xff; 3][..], &[5, 0, 0, 0, b'{'], &[2, 0, 0, 0, b'[', b']'], &[0; 4]];
        for bad in lies {
            assert_eq!(decode(bad), None, "{bad:?}");
        }
    }
}
