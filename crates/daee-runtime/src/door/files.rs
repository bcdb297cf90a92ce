//! Files at the door: the one way to those under `/state`, for `daee.call` and for WASI.

use daee_state::{FileError, FileKind, FileStat};
use serde_json::{Value, json};

use super::{Done, Door, Head, LIST_MAX, Refusal, done};

/// Most bytes of one read.
pub(crate) const READ_BYTES_MAX: u64 = 4 << 20;

impl Door<'_> {
    pub(super) fn file(&mut self, op: &str, head: &Head, body: &[u8]) -> Done {
        let now = self.now().0.saturating_mul(1_000_000);
        let at = head.maybe_number("at")?.unwrap_or(0);
        let path = head.text_or("path", "")?;
        match op {
            "file.stat" => Ok((stat(&self.draft.stat(at, path)?), vec![])),
            "file.read" => {
                let bytes = head.maybe_number("bytes")?.unwrap_or(READ_BYTES_MAX);
                if bytes > READ_BYTES_MAX {
                    let message = format!("at most {READ_BYTES_MAX} bytes of a file a call");
                    return Err(Refusal::Limit(message));
                }
                let offset = head.maybe_number("offset")?.unwrap_or(0);
                let read = self.draft.read_file(at, path, offset, bytes)?;
                Ok((json!({"size": self.draft.stat(at, path)?.size}), read))
            }
            "file.write" => {
                let offset = match head.0.get("offset") {
                    Some(Value::String(word)) if word == "end" => match self.draft.stat(at, path) {
                        Ok(stat) => Some(stat.size),
                        Err(FileError::NotFound) => Some(0),
                        Err(error) => return Err(error.into()),
                    },
                    _ => head.maybe_number("offset")?,
                };
                self.draft.write_file(at, path, offset, body, now)?;
                Ok((json!({"size": self.draft.stat(at, path)?.size}), vec![]))
            }
            "file.truncate" => {
                self.draft.truncate_file(at, path, head.number("size")?, now)?;
                Ok(done(()))
            }
            "file.create" => {
                let new = head.flag("new")?;
                Ok((stat(&self.draft.create_file(at, path, new, now)?), vec![]))
            }
            "file.list" => {
                let limit = head.maybe_number("limit")?.unwrap_or(LIST_MAX);
                if limit > LIST_MAX {
                    return Err(Refusal::Limit(format!("at most {LIST_MAX} names a call")));
                }
                let after = head.maybe_text("after")?;
                let listed = self.draft.list_files(at, path, after, limit as usize)?;
                let entry = |(name, stat): &(String, FileStat)| json!({"name": name, "kind": kind(stat.kind), "file": stat.number});
                let entries: Vec<_> = listed.iter().map(entry).collect();
                Ok((json!({"entries": entries}), vec![]))
            }
            "file.mkdir" => Ok((stat(&self.draft.make_directory(at, path, now)?), vec![])),
            "file.remove" => {
                let wanted = match head.maybe_text("kind")? {
                    None => None,
                    Some("file") => Some(FileKind::File),
                    Some("directory") => Some(FileKind::Directory),
                    Some(other) => {
                        return Err(Refusal::Malformed(format!("there is no kind {other:?}")));
                    }
                };
                self.draft.remove_file(at, path, wanted, head.flag("hold")?, now)?;
                Ok(done(()))
            }
            "file.rename" => {
                let to_at = head.maybe_number("to_at")?.unwrap_or(0);
                let to = (to_at, head.text("to")?);
                self.draft.rename_file((at, path), to, head.flag("hold")?, now)?;
                Ok(done(()))
            }
            "file.touch" => {
                let modified = head.maybe_number("modified_ns")?.unwrap_or(now);
                self.draft.touch_file(at, path, modified)?;
                Ok(done(()))
            }
            _ => Err(Refusal::Unknown(format!("there is no operation {op:?}"))),
        }
    }
}

fn stat(stat: &FileStat) -> Value {
    json!({
        "file": stat.number,
        "kind": kind(stat.kind),
        "modified_ns": stat.modified_nanos,
        "size": stat.size,
    })
}

fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
    }
}

impl From<FileError> for Refusal {
    fn from(error: FileError) -> Self {
        use FileError::*;
        let (code, name) = match &error {
            NotFound => (-5, "not_found"),
            Exists | NotDirectory | IsDirectory | NotEmpty => (-8, "conflict"),
            Outside | Path | Invalid => (-3, "malformed"),
            TooLong | TooDeep | TooMany | TooLarge | Quota { .. } => (-4, "limit"),
        };
        Refusal::File { code, name, errno: error.errno(), message: error.to_string() }
    }
}
