use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::Draft;
use crate::files::{
    DEPTH_MAX, Directory, DirectoryDelta, FILE_BYTES_MAX, FILES_MAX, File, FileDelta, FileError,
    FileKind, FileStat, Node, NodeDelta, Place, ROOT, follow,
};
use crate::{PAGE_BYTES, State, files};

/// What a draft knows of files beside what it changes.
#[derive(Debug)]
pub(super) struct Counts {
    /// Files and directories beside the first.
    nodes: usize,
    /// Files without a name, which end with the turn.
    held: Vec<u64>,
}

impl Counts {
    pub(super) fn of(base: &State) -> Self {
        Self { nodes: base.files.nodes.len().saturating_sub(1), held: Vec::new() }
    }
}

/// Files. Each is named by a directory's number, zero for the first, and a path from there, which may be
/// empty: then it is what has that number. A path may hold `.` and `..` and cannot leave where it starts.
impl Draft<'_> {
    /// What is there.
    pub fn stat(&self, at: u64, path: &str) -> Result<FileStat, FileError> {
        self.stat_of(self.existing(at, path)?)
    }

    /// Bytes of a file from an offset on, as many as there are of those wanted.
    pub fn read_file(
        &self,
        at: u64,
        path: &str,
        offset: u64,
        bytes: u64,
    ) -> Result<Vec<u8>, FileError> {
        let number = self.existing_file(at, path)?;
        let end = self.size(number).min(offset.saturating_add(bytes));
        let mut out = vec![0; usize::try_from(end.saturating_sub(offset)).unwrap_or_default()];
        for (page, within, place) in pieces(offset, out.len()) {
            if let Some(page) = self.page(number, page) {
                // What is missing at its end are zeros.
                let there = page.get(within.start..within.end.min(page.len())).unwrap_or_default();
                out[place][..there.len()].copy_from_slice(there);
            }
        }
        Ok(out)
    }

    /// Names in a directory behind `after`, in the order of their bytes, at most `limit`.
    pub fn list_files(
        &self,
        at: u64,
        path: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, FileStat)>, FileError> {
        let number = self.existing(at, path)?;
        self.directory(number)?;
        let mut found = Vec::new();
        for (name, number) in self.entries(number, after) {
            if found.len() == limit {
                break;
            }
            found.push((name.to_owned(), self.stat_of(number)?));
        }
        Ok(found)
    }

    /// Makes an empty file where there is nothing; with `new`, something that is there is an error.
    pub fn create_file(
        &mut self,
        at: u64,
        path: &str,
        new: bool,
        now_nanos: u64,
    ) -> Result<FileStat, FileError> {
        let place = self.walk(at, path)?;
        let number = match place.number {
            Some(_) if new => return Err(FileError::Exists),
            Some(number) if self.kind(number) == Some(FileKind::Directory) => {
                return Err(FileError::IsDirectory);
            }
            Some(number) => number,
            None if place.slash => return Err(FileError::IsDirectory),
            None => {
                let file = FileDelta { modified_nanos: now_nanos, ..FileDelta::default() };
                self.add(&place, NodeDelta::File(file), now_nanos)?
            }
        };
        self.stat_of(number)
    }

    /// Writes at an offset; the file grows as far as that needs, and is made if it is not there. Without an
    /// offset the bytes are all that is in it.
    pub fn write_file(
        &mut self,
        at: u64,
        path: &str,
        offset: Option<u64>,
        bytes: &[u8],
        now_nanos: u64,
    ) -> Result<(), FileError> {
        let place = self.walk(at, path)?;
        let before = match place.number {
            Some(number) => self.existing_file(number, "").map(|number| self.size(number))?,
            None if place.slash => return Err(FileError::IsDirectory),
            None => 0,
        };
        let end = offset.unwrap_or(0).checked_add(bytes.len() as u64);
        let end = end.filter(|end| *end <= FILE_BYTES_MAX);
        let end = end.ok_or(FileError::TooLarge)?;
        let after = if offset.is_some() && bytes.is_empty() {
            before
        } else if offset.is_some() {
            before.max(end)
        } else {
            end
        };
        let name = if place.number.is_none() { place.name.map_or(0, str::len) as u64 } else { 0 };
        self.afford(before, after.saturating_add(name))?;
        let number = match place.number {
            Some(number) => number,
            None => {
                let file = FileDelta::default();
                self.add(&place, NodeDelta::File(file), now_nanos)?
            }
        };
        if offset.is_none() {
            self.cut(number, 0);
        }
        self.put(number, offset.unwrap_or(0), bytes);
        self.used = self.used - before + after;
        let file = self.edit_file(number);
        file.size = after;
        file.modified_nanos = now_nanos;
        Ok(())
    }

    /// Cuts a file, or lengthens it with zeros.
    pub fn truncate_file(
        &mut self,
        at: u64,
        path: &str,
        size: u64,
        now_nanos: u64,
    ) -> Result<(), FileError> {
        let number = self.existing_file(at, path)?;
        if size > FILE_BYTES_MAX {
            return Err(FileError::TooLarge);
        }
        let before = self.size(number);
        self.afford(before, size)?;
        if size < before {
            self.cut(number, size);
        }
        self.used = self.used - before + size;
        let file = self.edit_file(number);
        file.size = size;
        file.modified_nanos = now_nanos;
        Ok(())
    }

    /// Says when a file or directory was changed last.
    pub fn touch_file(
        &mut self,
        at: u64,
        path: &str,
        modified_nanos: u64,
    ) -> Result<(), FileError> {
        let number = self.existing(at, path)?;
        match self.kind(number) {
            Some(FileKind::File) => self.edit_file(number).modified_nanos = modified_nanos,
            // The first directory is there before anything was done, and has no time.
            _ if number == ROOT => {}
            _ => self.edit_directory(number).modified_nanos = modified_nanos,
        }
        Ok(())
    }

    /// Makes a directory.
    pub fn make_directory(
        &mut self,
        at: u64,
        path: &str,
        now_nanos: u64,
    ) -> Result<FileStat, FileError> {
        let place = self.walk(at, path)?;
        if place.number.is_some() {
            return Err(FileError::Exists);
        }
        if self.depth(place.parent) >= DEPTH_MAX {
            return Err(FileError::TooDeep);
        }
        let parent = place.parent;
        let directory =
            DirectoryDelta { parent, modified_nanos: now_nanos, ..DirectoryDelta::default() };
        let number = self.add(&place, NodeDelta::Directory(directory), now_nanos)?;
        self.stat_of(number)
    }

    /// Removes a file or an empty directory. `kind` is what it must be. With `hold`, a file can be used by its
    /// number until the turn ends, and costs as long.
    pub fn remove_file(
        &mut self,
        at: u64,
        path: &str,
        kind: Option<FileKind>,
        hold: bool,
        now_nanos: u64,
    ) -> Result<(), FileError> {
        let place = self.walk(at, path)?;
        let number = place.number.ok_or(FileError::NotFound)?;
        match (self.kind(number), kind) {
            (Some(FileKind::File), Some(FileKind::Directory)) => {
                return Err(FileError::NotDirectory);
            }
            (Some(FileKind::Directory), Some(FileKind::File)) => {
                return Err(FileError::IsDirectory);
            }
            (Some(FileKind::Directory), _) if self.entries(number, None).next().is_some() => {
                return Err(FileError::NotEmpty);
            }
            _ => {}
        }
        let name = place.name.ok_or(FileError::Invalid)?;
        self.unlink(place.parent, name, now_nanos);
        self.used -= name.len() as u64;
        self.drop_node(number, hold);
        Ok(())
    }

    /// Gives another name, in the place of what has that name: a file in that of a file, a directory in that of
    /// an empty one. `hold` is as for removing what was there.
    pub fn rename_file(
        &mut self,
        (at, path): (u64, &str),
        (to_at, to_path): (u64, &str),
        hold: bool,
        now_nanos: u64,
    ) -> Result<(), FileError> {
        let from = self.walk(at, path)?;
        let number = from.number.ok_or(FileError::NotFound)?;
        let to = self.walk(to_at, to_path)?;
        let (Some(name), Some(new_name)) = (from.name, to.name) else {
            return Err(FileError::Invalid);
        };
        let directory = self.kind(number) == Some(FileKind::Directory);
        if to.number == Some(number) {
            return Ok(());
        }
        if to.slash && !directory {
            return Err(FileError::NotDirectory);
        }
        if directory {
            self.fits(number, from.parent, to.parent)?;
        }
        if let Some(there) = to.number {
            match (self.kind(there), directory) {
                (Some(FileKind::Directory), false) => return Err(FileError::IsDirectory),
                (Some(FileKind::File), true) => return Err(FileError::NotDirectory),
                (Some(FileKind::Directory), true) if self.entries(there, None).next().is_some() => {
                    return Err(FileError::NotEmpty);
                }
                _ => {}
            }
        } else {
            self.afford(name.len() as u64, new_name.len() as u64)?;
            self.used += new_name.len() as u64;
        }
        self.used -= name.len() as u64;
        self.unlink(from.parent, name, now_nanos);
        if let Some(there) = to.number {
            self.drop_node(there, hold);
        }
        self.link(to.parent, new_name, number, now_nanos);
        if directory {
            self.edit_directory(number).parent = to.parent;
        }
        Ok(())
    }

    /// Lets go of files without a name.
    pub(super) fn release_held(&mut self) {
        for number in std::mem::take(&mut self.counts.held) {
            self.drop_node(number, false);
        }
    }

    fn walk<'p>(&self, at: u64, path: &'p str) -> Result<Place<'p>, FileError> {
        follow(at, path, |number| self.kind(number), |number, name| self.lookup(number, name))
    }

    fn existing(&self, at: u64, path: &str) -> Result<u64, FileError> {
        self.walk(at, path)?.number.ok_or(FileError::NotFound)
    }

    fn existing_file(&self, at: u64, path: &str) -> Result<u64, FileError> {
        let number = self.existing(at, path)?;
        match self.kind(number) {
            Some(FileKind::File) => Ok(number),
            Some(FileKind::Directory) => Err(FileError::IsDirectory),
            None => Err(FileError::NotFound),
        }
    }

    fn kind(&self, number: u64) -> Option<FileKind> {
        match self.delta.files.get(&number) {
            Some(NodeDelta::Gone) => None,
            Some(NodeDelta::File(_)) => Some(FileKind::File),
            Some(NodeDelta::Directory(_)) => Some(FileKind::Directory),
            None => Some(match self.base.files.nodes.get(&number)? {
                Node::File(_) => FileKind::File,
                Node::Directory(_) => FileKind::Directory,
            }),
        }
    }

    fn directory(&self, number: u64) -> Result<(), FileError> {
        match self.kind(number) {
            Some(FileKind::Directory) => Ok(()),
            Some(FileKind::File) => Err(FileError::NotDirectory),
            None => Err(FileError::NotFound),
        }
    }

    fn stat_of(&self, number: u64) -> Result<FileStat, FileError> {
        let (kind, size, modified_nanos) = match self.delta.files.get(&number) {
            Some(NodeDelta::File(file)) => (FileKind::File, file.size, file.modified_nanos),
            Some(NodeDelta::Directory(found)) => (FileKind::Directory, 0, found.modified_nanos),
            Some(NodeDelta::Gone) => return Err(FileError::NotFound),
            None => match self.base.files.nodes.get(&number).ok_or(FileError::NotFound)? {
                Node::File(file) => (FileKind::File, file.size, file.modified_nanos),
                Node::Directory(found) => (FileKind::Directory, 0, found.modified_nanos),
            },
        };
        Ok(FileStat { number, kind, size, modified_nanos })
    }

    fn base_file(&self, number: u64) -> Option<&File> {
        match self.base.files.nodes.get(&number)? {
            Node::File(file) => Some(file),
            Node::Directory(_) => None,
        }
    }

    fn base_directory(&self, number: u64) -> Option<&Directory> {
        match self.base.files.nodes.get(&number)? {
            Node::Directory(directory) => Some(directory),
            Node::File(_) => None,
        }
    }

    fn lookup(&self, directory: u64, name: &str) -> Option<u64> {
        if let Some(NodeDelta::Directory(edit)) = self.delta.files.get(&directory)
            && let Some(entry) = edit.entries.get(name)
        {
            return *entry;
        }
        self.base_directory(directory)?.entries.get(name).copied()
    }

    /// Names and numbers behind `after`.
    fn entries(&self, directory: u64, after: Option<&str>) -> impl Iterator<Item = (&str, u64)> {
        static NONE: BTreeMap<String, u64> = BTreeMap::new();
        static UNCHANGED: BTreeMap<String, Option<u64>> = BTreeMap::new();
        let base = self.base_directory(directory).map_or(&NONE, |found| &found.entries);
        let edit = match self.delta.files.get(&directory) {
            Some(NodeDelta::Directory(edit)) => &edit.entries,
            _ => &UNCHANGED,
        };
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (from, Bound::Unbounded);
        let mut base = base.range::<str, _>(range).peekable();
        let mut edit = edit.range::<str, _>(range).peekable();
        std::iter::from_fn(move || {
            loop {
                let changed_first = match (base.peek(), edit.peek()) {
                    (None, None) => return None,
                    (Some((name, _)), Some((changed, _))) => changed <= name,
                    (None, Some(_)) => true,
                    (Some(_), None) => false,
                };
                if !changed_first {
                    return base.next().map(|(name, number)| (name.as_str(), *number));
                }
                let (name, number) = edit.next()?;
                base.next_if(|(old, _)| *old == name);
                if let Some(number) = number {
                    return Some((name.as_str(), *number));
                }
            }
        })
    }

    fn size(&self, number: u64) -> u64 {
        match self.delta.files.get(&number) {
            Some(NodeDelta::File(file)) => file.size,
            Some(_) => 0,
            None => self.base_file(number).map_or(0, |file| file.size),
        }
    }

    /// A page, of which the zeros at its end may be missing.
    fn page(&self, number: u64, at: u32) -> Option<&[u8]> {
        if let Some(NodeDelta::File(file)) = self.delta.files.get(&number) {
            if let Some(page) = file.pages.get(&at) {
                return Some(&page[..]);
            }
            if at >= file.kept_pages {
                return None;
            }
        }
        self.base_file(number)?.pages.get(&at).map(|page| &page.bytes[..])
    }

    fn put(&mut self, number: u64, offset: u64, bytes: &[u8]) {
        for (at, within, place) in pieces(offset, bytes.len()) {
            let before = match within.len() {
                PAGE_BYTES => None,
                _ => self.page(number, at).map(files::whole),
            };
            let file = self.edit_file(number);
            let page = file.pages.entry(at);
            let page = page.or_insert_with(|| Arc::new(before.unwrap_or([0; PAGE_BYTES])));
            Arc::make_mut(page)[within].copy_from_slice(&bytes[place]);
        }
    }

    /// Forgets what is behind the first bytes of a file.
    fn cut(&mut self, number: u64, size: u64) {
        let whole = size / PAGE_BYTES as u64;
        let within = (size % PAGE_BYTES as u64) as usize;
        let last = whole as u32;
        let tail = if within == 0 { None } else { self.page(number, last).map(files::whole) };
        let file = self.edit_file(number);
        file.pages.split_off(&last);
        file.kept_pages = file.kept_pages.min(last);
        if let Some(mut page) = tail {
            page[within..].fill(0);
            file.pages.insert(last, Arc::new(page));
        }
    }

    fn edit_file(&mut self, number: u64) -> &mut FileDelta {
        if !matches!(self.delta.files.get(&number), Some(NodeDelta::File(_))) {
            let file = self.base_file(number).map_or_else(FileDelta::default, |file| FileDelta {
                size: file.size,
                modified_nanos: file.modified_nanos,
                kept_pages: u32::MAX,
                pages: BTreeMap::new(),
            });
            self.delta.files.insert(number, NodeDelta::File(file));
        }
        match self.delta.files.get_mut(&number) {
            Some(NodeDelta::File(file)) => file,
            _ => unreachable!("it was just put there"),
        }
    }

    fn edit_directory(&mut self, number: u64) -> &mut DirectoryDelta {
        if !matches!(self.delta.files.get(&number), Some(NodeDelta::Directory(_))) {
            let base = self.base_directory(number);
            let (parent, modified_nanos) =
                base.map_or((ROOT, 0), |base| (base.parent, base.modified_nanos));
            let edit = DirectoryDelta { parent, modified_nanos, entries: BTreeMap::new() };
            self.delta.files.insert(number, NodeDelta::Directory(edit));
        }
        match self.delta.files.get_mut(&number) {
            Some(NodeDelta::Directory(directory)) => directory,
            _ => unreachable!("it was just put there"),
        }
    }

    fn add(
        &mut self,
        place: &Place<'_>,
        node: NodeDelta,
        now_nanos: u64,
    ) -> Result<u64, FileError> {
        let name = place.name.ok_or(FileError::Exists)?;
        if self.counts.nodes >= FILES_MAX {
            return Err(FileError::TooMany);
        }
        self.afford(0, name.len() as u64)?;
        self.used += name.len() as u64;
        self.counts.nodes += 1;
        let number = self.delta.files_made.unwrap_or(self.base.files.made).saturating_add(1);
        self.delta.files_made = Some(number);
        self.delta.files.insert(number, node);
        self.link(place.parent, name, number, now_nanos);
        Ok(number)
    }

    fn link(&mut self, parent: u64, name: &str, number: u64, now_nanos: u64) {
        let directory = self.edit_directory(parent);
        directory.entries.insert(name.to_owned(), Some(number));
        if parent != ROOT {
            directory.modified_nanos = now_nanos;
        }
    }

    fn unlink(&mut self, parent: u64, name: &str, now_nanos: u64) {
        let known = self.base_directory(parent).is_some_and(|base| base.entries.contains_key(name));
        let directory = self.edit_directory(parent);
        if known {
            directory.entries.insert(name.to_owned(), None);
        } else {
            directory.entries.remove(name);
        }
        if parent != ROOT {
            directory.modified_nanos = now_nanos;
        }
    }

    /// Lets go of what has no name any more.
    fn drop_node(&mut self, number: u64, hold: bool) {
        if hold && self.kind(number) == Some(FileKind::File) {
            self.counts.held.push(number);
            return;
        }
        self.used -= self.size(number);
        self.counts.nodes -= 1;
        if self.base.files.nodes.contains_key(&number) {
            self.delta.files.insert(number, NodeDelta::Gone);
        } else {
            self.delta.files.remove(&number);
        }
    }

    /// Whether the quota allows it. What makes the state smaller is always allowed.
    fn afford(&self, before: u64, after: u64) -> Result<(), FileError> {
        let wanted = (self.used - before).saturating_add(after);
        let quota = self.base.quota.0;
        if wanted > quota && after > before {
            return Err(FileError::Quota { wanted, quota });
        }
        Ok(())
    }

    fn parent(&self, directory: u64) -> u64 {
        match self.delta.files.get(&directory) {
            Some(NodeDelta::Directory(edit)) => edit.parent,
            _ => self.base_directory(directory).map_or(ROOT, |found| found.parent),
        }
    }

    /// Directories that one is in.
    fn depth(&self, directory: u64) -> usize {
        let up = |number: &u64| (*number != ROOT).then(|| self.parent(*number));
        std::iter::successors(Some(directory), up).skip(1).take(DEPTH_MAX + 1).count()
    }

    /// Whether a directory may go into another one.
    fn fits(&self, number: u64, from: u64, to: u64) -> Result<(), FileError> {
        let up = |number: &u64| (*number != ROOT).then(|| self.parent(*number));
        let mut above = std::iter::successors(Some(to), up).take(DEPTH_MAX + 1);
        if above.any(|above| above == number) {
            return Err(FileError::Invalid);
        }
        let depth = self.depth(to);
        if depth <= self.depth(from) {
            return Ok(());
        }
        let mut level = vec![number];
        let mut height = 0;
        while !level.is_empty() {
            height += 1;
            if depth + height > DEPTH_MAX {
                return Err(FileError::TooDeep);
            }
            let inner = level.iter().flat_map(|number| self.entries(*number, None));
            let inner = inner.map(|(_, number)| number);
            level = inner.filter(|n| self.kind(*n) == Some(FileKind::Directory)).collect();
        }
        Ok(())
    }
}

/// Cuts a stretch of a file into its pages: each with the part of it that is meant, and the part of the stretch.
fn pieces(
    offset: u64,
    len: usize,
) -> impl Iterator<Item = (u32, std::ops::Range<usize>, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        if done == len {
            return None;
        }
        let at = offset + done as u64;
        let within = (at % PAGE_BYTES as u64) as usize;
        let bytes = (PAGE_BYTES - within).min(len - done);
        let place = done..done + bytes;
        done += bytes;
        Some(((at / PAGE_BYTES as u64) as u32, within..within + bytes, place))
    })
}
