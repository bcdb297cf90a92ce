//! What lasts: keys and values. It outlives the memory, the node and the version, within the manifest's
//! `resources.storage`.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::json;

use crate::{Code, Error, call, sha256::sha256};

/// The value of a key.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    match call("state.get", json!({"key": key}), b"") {
        Ok(reply) => Ok(Some(reply.body)),
        Err(error) if error.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Sets a key.
pub fn set(key: &str, value: &[u8]) -> Result<(), Error> {
    call("state.set", json!({"key": key}), value).map(drop)
}

/// Deletes a key, and says whether it was there.
pub fn delete(key: &str) -> Result<bool, Error> {
    call("state.delete", json!({"key": key}), b"")?.flag("existed")
}

/// Keys that begin with `prefix`, in order, behind `after` if that is given; at most `limit`, which is at most 1000.
pub fn list(prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
    let head = json!({"prefix": prefix, "after": after, "limit": limit});
    call("state.list", head, b"")?.field("keys")
}

/// Sets a key if its value is still `old` (none: if there is no such key), and says whether it did.
pub fn swap(key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, Error> {
    let expect = match old {
        None => json!("absent"),
        Some(old) => json!({"sha256": hex(&sha256(old))}),
    };
    call("state.cas", json!({"key": key, "expect": expect}), new)?.flag("swapped")
}

/// The value of a key, kept by [`set_json`].
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    let Some(value) = get(key)? else { return Ok(None) };
    let read = serde_json::from_slice(&value);
    read.map(Some).map_err(|error| Error::new(Code::Unreadable, format!("{key}: {error}")))
}

/// Sets a key to a value as JSON.
pub fn set_json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<(), Error> {
    let json = serde_json::to_vec(value);
    set(key, &json.map_err(|error| Error::new(Code::Unreadable, format!("{key}: {error}")))?)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("a nibble is a digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
