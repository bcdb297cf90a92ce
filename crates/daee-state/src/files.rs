use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use daee_types::{
    Coded, Fault, Word,
    wire::{Reader, WireError, Writer},
};

use crate::{PAGE_BYTES, Page, machine::page_hash};

/// Longest name of a file or directory, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Longest path that is followed, in bytes.
pub const PATH_BYTES_MAX: usize = 4096;
/// Most directories in each other.
pub const DEPTH_MAX: usize = 64;
/// Most files and directories of one agent.
pub const FILES_MAX: usize = 10_000;

/// Where numbers of pages end, in bytes.
pub(crate) const FILE_BYTES_MAX: u64 = u32::MAX as u64 * PAGE_BYTES as u64;

/// The number of the directory that all others are in.
pub(crate) const ROOT: u64 = 0;

/// Why something was not done with files. Always the agent's own doing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// Nothing has that name or number.
    #[error("there is no such file or directory")]
    NotFound,
    /// Something has that name.
    #[error("there is something with that name")]
    Exists,
    /// A file where a directory is needed.
    #[error("this is not a directory")]
    NotDirectory,
    /// A directory where a file is needed.
    #[error("this is a directory")]
    IsDirectory,
    /// A directory that something is in.
    #[error("the directory is not empty")]
    NotEmpty,
    /// A path that leaves where it starts.
    #[error("the path leaves the directory it starts in")]
    Outside,
    /// A path that is none.
    #[error("a path is text without NUL")]
    Path,
    /// A path or name that is too long.
    #[error("a name is at most {NAME_BYTES_MAX} bytes and a path {PATH_BYTES_MAX}")]
    TooLong,
    /// Directories too deep.
    #[error("at most {DEPTH_MAX} directories may be in each other")]
    TooDeep,
    /// Too many.
    #[error("at most {FILES_MAX} files and directories may be kept")]
    TooMany,
    /// What cannot be: a directory in itself, or the directory a path starts in.
    #[error("this cannot be done with this name")]
    Invalid,
    /// Larger than numbers of a file go.
    #[error("a file cannot be so large")]
    TooLarge,
    /// The quota is used up.
    #[error(
        "the state would take {wanted} bytes of {quota}: raise resources.storage or remove files"
    )]
    Quota {
        /// Bytes it would take.
        wanted: u64,
        /// Bytes allowed.
        quota: u64,
    },
}

impl FileError {
    /// What POSIX calls it.
    pub fn errno(&self) -> &'static str {
        match self {
            Self::NotFound => "ENOENT",
            Self::Exists => "EEXIST",
            Self::NotDirectory => "ENOTDIR",
            Self::IsDirectory => "EISDIR",
            Self::NotEmpty => "ENOTEMPTY",
            Self::Outside => "EPERM",
            Self::Path => "EILSEQ",
            Self::TooLong | Self::TooDeep => "ENAMETOOLONG",
            Self::Invalid => "EINVAL",
            Self::TooLarge => "EFBIG",
            Self::TooMany | Self::Quota { .. } => "ENOSPC",
        }
    }
}

impl Coded for FileError {
    fn code(&self) -> &'static str {
        match self {
            Self::NotFound => "DAEE-T010",
            Self::Exists => "DAEE-T011",
            Self::NotDirectory => "DAEE-T012",
            Self::IsDirectory => "DAEE-T013",
            Self::NotEmpty => "DAEE-T014",
            Self::Outside => "DAEE-T015",
            Self::Path => "DAEE-T016",
            Self::TooLong => "DAEE-T017",
            Self::TooDeep => "DAEE-T018",
            Self::TooMany => "DAEE-T019",
            Self::Invalid => "DAEE-T020",
            Self::TooLarge => "DAEE-T021",
            Self::Quota { .. } => "DAEE-T022",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

/// What stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Bytes.
    File,
    /// Names.
    Directory,
}

/// What is known of a file or directory without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// No other has or will ever have it; zero is the directory that all others are in.
    pub number: u64,
    /// What it is.
    pub kind: FileKind,
    /// Bytes of a file; zero for a directory.
    pub size: u64,
    /// When it was changed last, in nanoseconds since 1970; zero for the first directory.
    pub modified_nanos: u64,
}

/// Where a path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'p> {
    /// The directory that it is in.
    pub parent: u64,
    /// Its name there; none if the path is empty or ends in dots.
    pub name: Option<&'p str>,
    /// What is there.
    pub number: Option<u64>,
    /// Whether the path ends in a slash, as only a directory's may.
    pub slash: bool,
}

/// Follows a path from a directory on, in any tree of numbered files and directories. It may hold `.` and
/// `..`, and does not leave where it starts.
pub fn follow<'p>(
    at: u64,
    path: &'p str,
    kind: impl Fn(u64) -> Option<FileKind>,
    lookup: impl Fn(u64, &str) -> Option<u64>,
) -> Result<Place<'p>, FileError> {
    if path.len() > PATH_BYTES_MAX {
        return Err(FileError::TooLong);
    }
    if path.contains('\0') {
        return Err(FileError::Path);
    }
    if path.starts_with('/') {
        return Err(FileError::Outside);
    }
    let directory = |number| match kind(number) {
        Some(FileKind::Directory) => Ok(()),
        Some(FileKind::File) => Err(FileError::NotDirectory),
        None => Err(FileError::NotFound),
    };
    kind(at).ok_or(FileError::NotFound)?;
    let mut way = vec![at];
    let slash = path.ends_with('/');
    let mut place = Place { parent: at, name: None, number: Some(at), slash };
    for part in path.split('/').filter(|part| !part.is_empty()) {
        let here = place.number.ok_or(FileError::NotFound)?;
        directory(here)?;
        match part {
            "." => place.name = None,
            ".." => {
                way.pop();
                place.number = Some(*way.last().ok_or(FileError::Outside)?);
                place.name = None;
            }
            name if name.len() > NAME_BYTES_MAX => return Err(FileError::TooLong),
            name => {
                let number = lookup(here, name);
                way.extend(number);
                place = Place { parent: here, name: Some(name), number, slash };
            }
        }
    }
    if let Some(number) = place.number
        && slash
    {
        directory(number)?;
    }
    Ok(place)
}

/// All files of an agent. Numbers are those of [`FileStat`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    /// How many were ever made: the highest number that was given.
    pub(crate) made: u64,
    pub(crate) nodes: BTreeMap<u64, Node>,
    /// Bytes of files and names.
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    File(File),
    Directory(Directory),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) size: u64,
    pub(crate) modified_nanos: u64,
    /// Those that are not all zeros. Behind the file's end are zeros.
    pub(crate) pages: BTreeMap<u32, Content>,
}

/// A page without the zeros at its end, so that it takes no more memory than its bytes do on the wire, and its hash
/// once a root was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    pub(crate) bytes: Arc<[u8]>,
    hash: OnceLock<Word>,
}

impl Content {
    fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), hash: OnceLock::new() }
    }

    pub(crate) fn hash(&self) -> &Word {
        self.hash.get_or_init(|| page_hash(&whole(&self.bytes)))
    }
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl Eq for Content {}

/// A page of which the zeros at its end may be missing.
pub(crate) fn whole(bytes: &[u8]) -> [u8; PAGE_BYTES] {
    let mut page = [0; PAGE_BYTES];
    page[..bytes.len()].copy_from_slice(bytes);
    page
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directory {
    pub(crate) parent: u64,
    pub(crate) modified_nanos: u64,
    pub(crate) entries: BTreeMap<String, u64>,
}

/// What a turn made of a file or directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NodeDelta {
    Gone,
    File(FileDelta),
    Directory(DirectoryDelta),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileDelta {
    pub(crate) size: u64,
    pub(crate) modified_nanos: u64,
    /// Pages of before that still count: those below this one.
    pub(crate) kept_pages: u32,
    pub(crate) pages: BTreeMap<u32, Page>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DirectoryDelta {
    pub(crate) parent: u64,
    pub(crate) modified_nanos: u64,
    pub(crate) entries: BTreeMap<String, Option<u64>>,
}

impl Default for Files {
    fn default() -> Self {
        Self { made: ROOT, nodes: [(ROOT, Node::Directory(Directory::default()))].into(), bytes: 0 }
    }
}

impl Files {
    pub(crate) fn apply(&mut self, delta: BTreeMap<u64, NodeDelta>) {
        for (number, change) in delta {
            let before = self.nodes.remove(&number);
            self.bytes = self.bytes.saturating_sub(before.as_ref().map_or(0, Node::cost));
            let after = match (change, before) {
                (NodeDelta::Gone, _) => continue,
                (NodeDelta::File(change), Some(Node::File(mut file))) => {
                    file.apply(change);
                    Node::File(file)
                }
                (NodeDelta::File(change), _) => {
                    let mut file = File::default();
                    file.apply(change);
                    Node::File(file)
                }
                (NodeDelta::Directory(change), before) => {
                    let mut directory = match before {
                        Some(Node::Directory(directory)) => directory,
                        _ => Directory::default(),
                    };
                    directory.apply(change);
                    Node::Directory(directory)
                }
            };
            self.bytes = self.bytes.saturating_add(after.cost());
            self.nodes.insert(number, after);
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u64(self.made).u32(self.nodes.len() as u32);
        for (number, node) in &self.nodes {
            out.u64(*number);
            match node {
                Node::File(file) => {
                    out.byte(1).u64(file.size).u64(file.modified_nanos);
                    out.u32(file.pages.len() as u32);
                    for (at, page) in &file.pages {
                        out.u32(*at).bytes(&page.bytes);
                    }
                }
                Node::Directory(directory) => {
                    out.byte(2).u64(directory.parent).u64(directory.modified_nanos);
                    out.u32(directory.entries.len() as u32);
                    for (name, number) in &directory.entries {
                        out.bytes(name.as_bytes()).u64(*number);
                    }
                }
            }
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let mut files = Self { made: from.u64()?, nodes: BTreeMap::new(), bytes: 0 };
        let count = from.count(29)?;
        if count > FILES_MAX + 1 {
            return Err(from.wrong("more files than there may be"));
        }
        for _ in 0..count {
            let number = from.u64()?;
            if files.nodes.last_key_value().is_some_and(|(last, _)| *last >= number) {
                return Err(from.wrong("files are out of order"));
            }
            let node = match from.byte()? {
                1 => Node::File(read_file(from)?),
                2 => Node::Directory(read_directory(from)?),
                _ => return Err(from.wrong("neither a file nor a directory")),
            };
            files.bytes += node.cost();
            files.nodes.insert(number, node);
        }
        if files.is_tree() { Ok(files) } else { Err(from.wrong("files that are no tree")) }
    }

    /// Whether all is reached from the first directory, and once.
    fn is_tree(&self) -> bool {
        if self.nodes.last_key_value().is_none_or(|(highest, _)| *highest > self.made) {
            return false;
        }
        let mut reached = 1;
        let mut left = vec![(ROOT, 0)];
        while let Some((number, depth)) = left.pop() {
            let Some(Node::Directory(directory)) = self.nodes.get(&number) else { return false };
            if number == ROOT && (directory.parent, directory.modified_nanos) != (ROOT, 0) {
                return false;
            }
            for entry in directory.entries.values() {
                reached += 1;
                // Two names for one directory would be followed twice, and so would all below it.
                if reached > self.nodes.len() {
                    return false;
                }
                match self.nodes.get(entry) {
                    Some(Node::File(_)) => {}
                    Some(Node::Directory(inner))
                        if inner.parent == number && depth < DEPTH_MAX && *entry != ROOT =>
                    {
                        left.push((*entry, depth + 1));
                    }
                    _ => return false,
                }
            }
        }
        // What is named twice stands for another that is not named.
        let named: std::collections::BTreeSet<u64> = self.entries().collect();
        reached == self.nodes.len() && named.len() + 1 == reached
    }

    fn entries(&self) -> impl Iterator<Item = u64> {
        self.nodes.values().flat_map(|node| match node {
            Node::Directory(directory) => directory.entries.values().copied().collect(),
            Node::File(_) => Vec::new(),
        })
    }
}

impl Node {
    /// What it costs of the quota.
    fn cost(&self) -> u64 {
        match self {
            Node::File(file) => file.size,
            Node::Directory(directory) => {
                directory.entries.keys().map(|name| name.len() as u64).sum()
            }
        }
    }
}

impl File {
    fn apply(&mut self, delta: FileDelta) {
        self.pages.split_off(&delta.kept_pages);
        for (at, page) in delta.pages {
            if is_zero(&page) {
                self.pages.remove(&at);
            } else {
                self.pages.insert(at, Content::new(trimmed(&page)));
            }
        }
        self.size = delta.size;
        self.modified_nanos = delta.modified_nanos;
    }
}

impl Directory {
    fn apply(&mut self, delta: DirectoryDelta) {
        self.parent = delta.parent;
        self.modified_nanos = delta.modified_nanos;
        for (name, number) in delta.entries {
            match number {
                Some(number) => self.entries.insert(name, number),
                None => self.entries.remove(&name),
            };
        }
    }
}

impl NodeDelta {
    pub(crate) fn write(&self, out: &mut Writer) {
        match self {
            NodeDelta::Gone => {
                out.byte(0);
            }
            NodeDelta::File(file) => {
                out.byte(1).u64(file.size).u64(file.modified_nanos).u32(file.kept_pages);
                out.u32(file.pages.len() as u32);
                for (at, page) in &file.pages {
                    out.u32(*at).bytes(trimmed(page));
                }
            }
            NodeDelta::Directory(directory) => {
                out.byte(2).u64(directory.parent).u64(directory.modified_nanos);
                out.u32(directory.entries.len() as u32);
                for (name, number) in &directory.entries {
                    out.bytes(name.as_bytes());
                    match number {
                        Some(number) => out.byte(1).u64(*number),
                        None => out.byte(0),
                    };
                }
            }
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(match from.byte()? {
            0 => NodeDelta::Gone,
            1 => {
                let (size, modified_nanos) = (read_size(from)?, from.u64()?);
                let kept_pages = from.u32()?;
                let mut pages = BTreeMap::new();
                for _ in 0..from.count(8)? {
                    pages.insert(from.u32()?, read_page(from)?);
                }
                NodeDelta::File(FileDelta { size, modified_nanos, kept_pages, pages })
            }
            2 => {
                let (parent, modified_nanos) = (from.u64()?, from.u64()?);
                let mut entries = BTreeMap::new();
                for _ in 0..from.count(5)? {
                    let name = from.text()?.to_owned();
                    let number = if crate::delta::flag(from)? { Some(from.u64()?) } else { None };
                    entries.insert(name, number);
                }
                NodeDelta::Directory(DirectoryDelta { parent, modified_nanos, entries })
            }
            _ => return Err(from.wrong("neither a file nor a directory")),
        })
    }
}

fn read_file(from: &mut Reader<'_>) -> Result<File, WireError> {
    let (size, modified_nanos) = (read_size(from)?, from.u64()?);
    let mut pages = BTreeMap::new();
    for _ in 0..from.count(8)? {
        let at = from.u32()?;
        let page = Content::new(read_trimmed(from)?);
        let end = page.bytes.len() as u64 + u64::from(at) * PAGE_BYTES as u64;
        if end > size || page.bytes.is_empty() {
            return Err(from.wrong("a page of zeros or behind the end of its file"));
        }
        if pages.last_key_value().is_some_and(|(last, _)| *last >= at) {
            return Err(from.wrong("pages are out of order"));
        }
        pages.insert(at, page);
    }
    Ok(File { size, modified_nanos, pages })
}

fn read_size(from: &mut Reader<'_>) -> Result<u64, WireError> {
    let size = from.u64()?;
    if size > FILE_BYTES_MAX { Err(from.wrong("a file that is too large")) } else { Ok(size) }
}

fn read_directory(from: &mut Reader<'_>) -> Result<Directory, WireError> {
    let (parent, modified_nanos) = (from.u64()?, from.u64()?);
    let mut entries: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..from.count(12)? {
        let name = from.text()?.to_owned();
        if name.len() > NAME_BYTES_MAX || matches!(&*name, "" | "." | "..") {
            return Err(from.wrong("this is no name"));
        }
        if name.contains(['/', '\0']) {
            return Err(from.wrong("this is no name"));
        }
        if entries.last_key_value().is_some_and(|(last, _)| *last >= name) {
            return Err(from.wrong("names are out of order"));
        }
        entries.insert(name, from.u64()?);
    }
    Ok(Directory { parent, modified_nanos, entries })
}

fn read_page(from: &mut Reader<'_>) -> Result<Page, WireError> {
    Ok(Arc::new(whole(read_trimmed(from)?)))
}

fn read_trimmed<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    let bytes = from.bytes()?;
    if bytes.len() > PAGE_BYTES || bytes.last() == Some(&0) {
        return Err(from.wrong("this is no page"));
    }
    Ok(bytes)
}

/// A page without the zeros at its end.
fn trimmed(page: &[u8; PAGE_BYTES]) -> &[u8] {
    let end = page.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    &page[..end]
}

fn is_zero(page: &[u8; PAGE_BYTES]) -> bool {
    page.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(files: &Files) -> Result<Files, WireError> {
        let mut out = Writer::new();
        files.write(&mut out);
        let bytes = out.finish();
        Files::read(&mut Reader::new(&bytes))
    }

    #[test]
    fn directories_named_twice_are_refused_before_they_are_followed_twice() {
        let mut files = Files { made: ROOT + 60, ..Files::default() };
        files.nodes.clear();
        for number in ROOT..ROOT + 60 {
            let entries = ["a", "b"].map(|name| (name.to_owned(), number + 1)).into();
            let parent = number.saturating_sub(1);
            files
                .nodes
                .insert(number, Node::Directory(Directory { parent, modified_nanos: 0, entries }));
        }
        let last = Directory { parent: ROOT + 59, ..Directory::default() };
        files.nodes.insert(ROOT + 60, Node::Directory(last));
        assert!(read(&files).is_err(), "following them all would never end");
    }

    #[test]
    fn a_page_takes_the_memory_of_its_bytes() {
        let page = Content::new(&[7]);
        let file = File { size: 1 << 20, modified_nanos: 0, pages: [(3, page)].into() };
        let entries = [("a".to_owned(), ROOT + 1)].into();
        let root = Directory { parent: ROOT, modified_nanos: 0, entries };
        let nodes = [(ROOT, Node::Directory(root)), (ROOT + 1, Node::File(file))];
        let files = Files { made: ROOT + 1, nodes: nodes.into(), bytes: 0 };
        let again = read(&files).unwrap();
        let Some(Node::File(file)) = again.nodes.get(&(ROOT + 1)) else { panic!("it is there") };
        assert_eq!(file.pages[&3].bytes.len(), 1);
        assert_eq!(file.pages[&3].hash(), &page_hash(&whole(&[7])));
    }
}
