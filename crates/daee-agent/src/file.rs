//! Files that last, in folders: what WASI shows under `/state`, for who wants it without an operating system. They count
//! against the manifest's `resources.storage`. Names in a path are parted by `/`, and no path leaves the agent's files.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Error, call};

/// Whether it is a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bytes.
    File,
    /// Names.
    Directory,
}

/// What is known of a file or a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stat {
    /// Which of both.
    pub kind: Kind,
    /// In bytes; 0 of a folder.
    pub size: u64,
    /// When it was last written, in nanoseconds since 1970.
    pub modified_ns: u64,
}

/// A name in a folder.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// What it is the name of.
    pub kind: Kind,
}

/// All of a file, up to 4 MiB.
pub fn read(path: &str) -> Result<Vec<u8>, Error> {
    Ok(call("file.read", json!({"path": path}), b"")?.body)
}

/// At most so many bytes of a file, from `offset` on.
pub fn read_at(path: &str, offset: u64, bytes: usize) -> Result<Vec<u8>, Error> {
    Ok(call("file.read", json!({"path": path, "offset": offset, "bytes": bytes}), b"")?.body)
}

/// Writes a whole file; one that is not there is made, in a folder that is.
pub fn write(path: &str, content: &[u8]) -> Result<(), Error> {
    call("file.write", json!({"path": path}), content).map(drop)
}

/// Writes over what is in a file from `offset` on. Between its end and there it gets zeros.
pub fn write_at(path: &str, offset: u64, content: &[u8]) -> Result<(), Error> {
    call("file.write", json!({"path": path, "offset": offset}), content).map(drop)
}

/// Writes behind the end of a file, which is made if it is not there.
pub fn append(path: &str, content: &[u8]) -> Result<(), Error> {
    call("file.write", json!({"path": path, "offset": "end"}), content).map(drop)
}

/// Cuts a file to this size, or fills it up with zeros.
pub fn truncate(path: &str, size: u64) -> Result<(), Error> {
    call("file.truncate", json!({"path": path, "size": size}), b"").map(drop)
}

/// Makes an empty file. One that is there is left alone, or refused if it must be new.
pub fn create(path: &str, new: bool) -> Result<Stat, Error> {
    stat_of("file.create", json!({"path": path, "new": new}))
}

/// Makes a folder, in one that is there.
pub fn create_dir(path: &str) -> Result<Stat, Error> {
    stat_of("file.mkdir", json!({"path": path}))
}

/// What is known of a file or a folder.
pub fn stat(path: &str) -> Result<Stat, Error> {
    stat_of("file.stat", json!({"path": path}))
}

/// What is in a folder, in the order of the names' bytes, behind `after` if that is given; at most `limit`, which is at
/// most 1000.
pub fn list(path: &str, after: Option<&str>, limit: usize) -> Result<Vec<Entry>, Error> {
    let head = json!({"path": path, "after": after, "limit": limit});
    call("file.list", head, b"")?.field("entries")
}

/// Removes a file or an empty folder.
pub fn remove(path: &str) -> Result<(), Error> {
    call("file.remove", json!({"path": path}), b"").map(drop)
}

/// Moves a file or a folder. It takes the place of a file, or of an empty folder.
pub fn rename(path: &str, to: &str) -> Result<(), Error> {
    call("file.rename", json!({"path": path, "to": to}), b"").map(drop)
}

/// Sets when it was last written, in nanoseconds since 1970: now, if nothing is given.
pub fn touch(path: &str, modified_ns: Option<u64>) -> Result<(), Error> {
    call("file.touch", json!({"path": path, "modified_ns": modified_ns}), b"").map(drop)
}

fn stat_of(op: &str, head: Value) -> Result<Stat, Error> {
    let reply = call(op, head, b"")?;
    Ok(Stat {
        kind: reply.field("kind")?,
        size: reply.number("size")?,
        modified_ns: reply.number("modified_ns")?,
    })
}
