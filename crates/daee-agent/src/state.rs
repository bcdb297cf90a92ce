//! What lasts: keys and values. It outlives the memory, the node and the version, within the manifest's
//! `resources.storage`.

use std::marker::PhantomData;

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

/// A key and what is kept there, as JSON.
///
/// ```
/// # daee_agent::testing::Door::new().turn(daee_agent::What::Start, |_| {
/// use daee_agent::state::Key;
///
/// const VISITS: Key<u64> = Key::new("visits");
/// assert_eq!(VISITS.get()?, None);
/// assert_eq!(VISITS.update(|visits| *visits += 1)?, 1);
/// # Ok::<_, daee_agent::Error>(())
/// # }).result.unwrap();
/// ```
#[derive(Debug)]
pub struct Key<T> {
    name: &'static str,
    kept: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Key<T> {
    /// The key of this name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, kept: PhantomData }
    }

    /// Its value, if there is one.
    pub fn get(&self) -> Result<Option<T>, Error> {
        get_json(self.name)
    }

    /// Sets it.
    pub fn set(&self, value: &T) -> Result<(), Error> {
        set_json(self.name, value)
    }

    /// Deletes it, and says whether it was there.
    pub fn delete(&self) -> Result<bool, Error> {
        delete(self.name)
    }

    /// Changes its value, or the default one where there is none, and gives the new one.
    pub fn update(&self, change: impl FnOnce(&mut T)) -> Result<T, Error>
    where
        T: Default,
    {
        let mut value = self.get()?.unwrap_or_default();
        change(&mut value);
        self.set(&value)?;
        Ok(value)
    }
}

/// Keys that begin alike and what is kept there, as JSON.
///
/// ```
/// # daee_agent::testing::Door::new().turn(daee_agent::What::Start, |_| {
/// use daee_agent::state::Map;
///
/// const BALANCES: Map<u64> = Map::new("balance/");
/// BALANCES.set("ada", &7)?;
/// assert_eq!(BALANCES.get("ada")?, Some(7));
/// assert_eq!(BALANCES.names(None, 10)?, ["ada"]);
/// # Ok::<_, daee_agent::Error>(())
/// # }).result.unwrap();
/// ```
#[derive(Debug)]
pub struct Map<T> {
    prefix: &'static str,
    kept: PhantomData<fn() -> T>,
}

impl<T: Serialize + DeserializeOwned> Map<T> {
    /// The keys that begin with this.
    pub const fn new(prefix: &'static str) -> Self {
        Self { prefix, kept: PhantomData }
    }

    /// The value of a name, if there is one.
    pub fn get(&self, name: &str) -> Result<Option<T>, Error> {
        get_json(&self.key(name))
    }

    /// Sets the value of a name.
    pub fn set(&self, name: &str, value: &T) -> Result<(), Error> {
        set_json(&self.key(name), value)
    }

    /// Deletes a name, and says whether it was there.
    pub fn delete(&self, name: &str) -> Result<bool, Error> {
        delete(&self.key(name))
    }

    /// Names in order, behind `after` if that is given; at most `limit`, which is at most 1000.
    pub fn names(&self, after: Option<&str>, limit: usize) -> Result<Vec<String>, Error> {
        let after = after.map(|after| self.key(after));
        let keys = list(self.prefix, after.as_deref(), limit)?;
        Ok(keys.iter().filter_map(|key| key.strip_prefix(self.prefix)).map(str::to_owned).collect())
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
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
