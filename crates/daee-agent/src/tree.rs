//! The files of the door in memory: what `file.*` does with paths. Numbers of files, which only a libc goes by, are told
//! and not taken.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::Code;
use crate::testing::{Done, Head, LIST_MAX, Refusal, done, malformed, refuse};

const READ_BYTES_MAX: u64 = 4 << 20;
const NAME_BYTES_MAX: usize = 255;
const SIZE_MAX: u64 = 1 << 30;

/// Files and folders by their path, whose names are parted by one slash; the first folder is the empty path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
    /// The number of what was made last.
    made: u64,
}

#[derive(Clone, Debug)]
struct Node {
    number: u64,
    modified_ns: u64,
    /// A folder has none.
    content: Option<Vec<u8>>,
}

/// Where a path leads.
struct Place {
    path: String,
    /// What is there.
    is: Option<Is>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Is {
    File,
    Folder,
}

impl Tree {
    /// The content of a file.
    pub(crate) fn content(&self, path: &str) -> Option<&[u8]> {
        self.nodes.get(path)?.content.as_deref()
    }

    pub(crate) fn operate(&mut self, op: &str, head: &Head, body: &[u8], now_ns: u64) -> Done {
        if ["at", "to_at", "hold"].iter().any(|name| head.field(name).is_some()) {
            return refuse(Code::Unknown, "this door takes no numbers of files");
        }
        let place = self.place(head.maybe_text("path")?.unwrap_or_default())?;
        match op {
            "file.stat" => done(self.stat(&place.there()?.path)),
            "file.read" => {
                let bytes = head.maybe_number("bytes")?.unwrap_or(READ_BYTES_MAX);
                if bytes > READ_BYTES_MAX {
                    return refuse(Code::Limit, "so many bytes are not read at once");
                }
                let from = head.maybe_number("offset")?.unwrap_or(0) as usize;
                let content = self.file(&place)?;
                let rest = content.get(from..).unwrap_or_default();
                let part = &rest[..rest.len().min(bytes as usize)];
                Ok((json!({"size": content.len()}), part.to_vec()))
            }
            "file.write" => {
                let offset = head.field("offset").map(|offset| match offset {
                    Value::String(end) if end == "end" => Ok(None),
                    offset => offset.as_u64().map(Some).ok_or_else(|| malformed("offset")),
                });
                let offset = offset.transpose()?;
                self.make(&place, Some(Vec::new()), now_ns)?;
                let content = self.file(&place)?;
                let from = match offset {
                    None => 0,
                    Some(None) => content.len() as u64,
                    Some(Some(from)) => from,
                };
                let whole = offset.is_none();
                let end = from.saturating_add(body.len() as u64);
                if end > SIZE_MAX {
                    return refuse(Code::Limit, "the file would be too large");
                }
                let size = if whole { body.len() } else { content.len().max(end as usize) };
                content.resize(size, 0);
                content[from as usize..end as usize].copy_from_slice(body);
                self.touch(&place, now_ns);
                done(json!({"size": size}))
            }
            "file.truncate" => {
                let size = head.number("size")?;
                let content = self.file(&place)?;
                if size > SIZE_MAX {
                    return refuse(Code::Limit, "the file would be too large");
                }
                content.resize(size as usize, 0);
                self.touch(&place, now_ns);
                done(json!({}))
            }
            "file.create" => {
                let new = match head.field("new") {
                    None => false,
                    Some(new) => new.as_bool().ok_or_else(|| malformed("new"))?,
                };
                if new && place.is.is_some() {
                    return refuse(Code::Conflict, "it is there");
                }
                self.make(&place, Some(Vec::new()), now_ns)?;
                self.file(&place)?;
                done(self.stat(&place.path))
            }
            "file.mkdir" if place.is.is_some() => refuse(Code::Conflict, "it is there"),
            "file.mkdir" => {
                self.make(&place, None, now_ns)?;
                done(self.stat(&place.path))
            }
            "file.list" => {
                let after = head.maybe_text("after")?;
                let limit = head.maybe_number("limit")?.unwrap_or(LIST_MAX);
                if limit > LIST_MAX {
                    return refuse(Code::Limit, "too many names");
                }
                if place.there()?.is != Some(Is::Folder) {
                    return refuse(Code::Conflict, "it is no folder");
                }
                let inside = self.nodes.iter().filter_map(|(path, node)| {
                    Some((name_in(&place.path, path).filter(|name| !name.contains('/'))?, node))
                });
                let behind = inside.filter(|(name, _)| after.is_none_or(|after| *name > after));
                let entry = |(name, node): (&str, &Node)| json!({"file": node.number, "kind": node.kind(), "name": name});
                let mut entries: Vec<_> = behind.collect();
                entries.sort_by_key(|(name, _)| *name);
                let entries = entries.into_iter().take(limit as usize).map(entry);
                done(json!({"entries": entries.collect::<Vec<_>>()}))
            }
            "file.remove" => {
                let kind = head.maybe_text("kind")?;
                let is = place.there()?.is;
                match (kind, is) {
                    (None, _)
                    | (Some("file"), Some(Is::File))
                    | (Some("directory"), Some(Is::Folder)) => {}
                    (Some("file" | "directory"), _) => {
                        return refuse(Code::Conflict, "it is of the other kind");
                    }
                    _ => return Err(malformed("kind")),
                }
                if self.is_full(&place.path) {
                    return refuse(Code::Conflict, "it is not empty");
                }
                self.nodes.remove(&place.path);
                done(json!({}))
            }
            "file.rename" => {
                let to = self.place(head.text("to")?)?;
                let is = place.there()?.is;
                if name_in(&place.path, &to.path).is_some() {
                    return refuse(Code::Malformed, "a folder cannot be in itself");
                }
                if to.is.is_some_and(|other| Some(other) != is) || self.is_full(&to.path) {
                    return refuse(Code::Conflict, "what is there does not give its place");
                }
                let moved = self.nodes.iter().filter_map(|(path, node)| {
                    let inside = name_in(&place.path, path).map(|name| format!("/{name}"));
                    let inside = inside.or_else(|| (*path == place.path).then(String::new))?;
                    Some((path.clone(), format!("{}{inside}", to.path), node.clone()))
                });
                for (from, to, node) in moved.collect::<Vec<_>>() {
                    self.nodes.remove(&from);
                    self.nodes.insert(to, node);
                }
                done(json!({}))
            }
            "file.touch" => {
                let modified_ns = head.maybe_number("modified_ns")?.unwrap_or(now_ns);
                self.touch(place.there()?, modified_ns);
                done(json!({}))
            }
            _ => refuse(Code::Unknown, format!("there is no operation {op:?}")),
        }
    }

    /// Follows a path. All but its last name have to be folders that are there.
    fn place(&self, path: &str) -> Result<Place, Refusal> {
        if path.starts_with('/') || path.contains('\0') {
            return refuse(Code::Malformed, "a path begins with a name, and has no zeros");
        }
        let mut place = Place { path: String::new(), is: Some(Is::Folder) };
        for name in path.split('/') {
            match place.is {
                Some(Is::Folder) => {}
                Some(Is::File) => return refuse(Code::Conflict, "a file has nothing in it"),
                None if name.is_empty() => continue,
                None => return refuse(Code::NotFound, "there is no such folder"),
            }
            match name {
                "" | "." => continue,
                ".." if place.path.is_empty() => {
                    return refuse(Code::Malformed, "a path does not leave where it starts");
                }
                ".." => place.path.truncate(place.path.rfind('/').unwrap_or(0)),
                name if name.len() > NAME_BYTES_MAX => {
                    return refuse(Code::Limit, "a name is too long");
                }
                name => {
                    let slash = if place.path.is_empty() { "" } else { "/" };
                    place.path.push_str(slash);
                    place.path.push_str(name);
                }
            }
            place.is = match self.nodes.get(&place.path) {
                Some(node) if node.content.is_some() => Some(Is::File),
                Some(_) => Some(Is::Folder),
                None => place.path.is_empty().then_some(Is::Folder),
            };
        }
        Ok(place)
    }

    fn make(
        &mut self,
        place: &Place,
        content: Option<Vec<u8>>,
        modified_ns: u64,
    ) -> Result<(), Refusal> {
        if place.is.is_none() {
            self.made += 1;
            self.nodes.insert(place.path.clone(), Node { number: self.made, modified_ns, content });
        }
        Ok(())
    }

    fn file(&mut self, place: &Place) -> Result<&mut Vec<u8>, Refusal> {
        match self.nodes.get_mut(&place.path) {
            Some(Node { content: Some(content), .. }) => Ok(content),
            None if !place.path.is_empty() => refuse(Code::NotFound, "there is no such file"),
            _ => refuse(Code::Conflict, "it is a folder"),
        }
    }

    fn touch(&mut self, place: &Place, modified_ns: u64) {
        if let Some(node) = self.nodes.get_mut(&place.path) {
            node.modified_ns = modified_ns;
        }
    }

    fn is_full(&self, path: &str) -> bool {
        self.nodes.keys().any(|other| name_in(path, other).is_some())
    }

    fn stat(&self, path: &str) -> Value {
        let Some(node) = self.nodes.get(path) else {
            return json!({"file": 0, "kind": "directory", "modified_ns": 0, "size": 0});
        };
        let size = node.content.as_ref().map_or(0, Vec::len);
        let (file, modified_ns) = (node.number, node.modified_ns);
        json!({"file": file, "kind": node.kind(), "modified_ns": modified_ns, "size": size})
    }
}

impl Place {
    fn there(&self) -> Result<&Self, Refusal> {
        match self.is {
            Some(_) => Ok(self),
            None => refuse(Code::NotFound, "there is no such file"),
        }
    }
}

impl Node {
    fn kind(&self) -> &'static str {
        if self.content.is_some() { "file" } else { "directory" }
    }
}

/// What a path is called below a folder.
fn name_in<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    match folder {
        "" => Some(path).filter(|path| !path.is_empty()),
        folder => path.strip_prefix(folder)?.strip_prefix('/'),
    }
}
