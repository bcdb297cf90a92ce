//! The custom section `daee.files`: what a module brings along, read-only.

use std::collections::BTreeSet;
use std::ops::Range;

use daee_types::{Coded, Fault};

/// Name of the custom section.
pub const FILES_SECTION: &str = "daee.files";
/// Most files of one module.
pub const PACKED_FILES_MAX: usize = 20_000;
/// Longest path of one, in bytes.
pub const PACKED_PATH_BYTES_MAX: usize = 512;
/// Most names in one path.
const DEPTH_MAX: usize = 32;
/// Longest name in one, in bytes.
const NAME_BYTES_MAX: usize = 255;
const VERSION: u8 = 1;

/// A file that a module brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedFile<'a> {
    /// Names parted by slashes, without one in front.
    pub path: &'a str,
    /// Where its bytes are in the section's contents.
    pub place: Range<usize>,
}

/// Why files cannot be brought along, or are none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilesError {
    /// The contents are not what they should be.
    #[error("the section {FILES_SECTION} is malformed: {0}")]
    Malformed(&'static str),
    /// A name that not every system takes.
    #[error("{path:?} cannot be brought along: {why}")]
    Path {
        /// Which.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Too many.
    #[error("a module brings at most {PACKED_FILES_MAX} files")]
    TooMany,
    /// Larger than a section may be.
    #[error("the files of a module are at most 4 GiB together")]
    TooLarge,
    /// There are two sections.
    #[error("there is more than one section {FILES_SECTION}")]
    Twice,
}

impl Coded for FilesError {
    fn code(&self) -> &'static str {
        "DAEE-A029"
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

/// Reads the contents of the section, all of them or nothing. No contents at all are no files.
pub fn read_files(contents: &[u8]) -> Result<Vec<PackedFile<'_>>, FilesError> {
    let mut files = Vec::new();
    if contents.is_empty() {
        return Ok(files);
    }
    let mut check = FilesReader::new();
    check.update(contents)?;
    check.finish()?;
    let mut at = HEADER_BYTES;
    while at < contents.len() {
        let path = stretch(contents, at);
        let place = stretch(contents, path.end);
        at = place.end;
        let path = std::str::from_utf8(&contents[path]).expect("it was checked");
        files.push(PackedFile { path, place });
    }
    Ok(files)
}

/// What stands behind its length.
fn stretch(contents: &[u8], at: usize) -> Range<usize> {
    let length = contents[at..].first_chunk::<4>().expect("it was checked");
    at + 4..at + 4 + u32::from_le_bytes(*length) as usize
}

/// A module with these files, paths with their bytes, in place of those that it brings.
pub fn with_files(module: &[u8], files: &[(String, Vec<u8>)]) -> Result<Vec<u8>, FilesError> {
    let mut sorted: Vec<&(String, Vec<u8>)> = files.iter().collect();
    sorted.sort();
    let mut contents = vec![VERSION];
    contents.extend(u32::try_from(files.len()).map_err(|_| FilesError::TooMany)?.to_le_bytes());
    for (path, bytes) in sorted {
        for part in [path.as_bytes(), bytes] {
            let len = u32::try_from(part.len()).map_err(|_| FilesError::TooLarge)?;
            contents.extend(len.to_le_bytes());
            contents.extend(part);
        }
    }
    let mut check = FilesReader::new();
    check.update(&contents)?;
    check.finish()?;

    let mut out = Vec::with_capacity(module.len() + contents.len() + 32);
    let mut end = 0;
    for (whole, _) in sections(module) {
        out.extend(&module[end..whole.start]);
        end = whole.end;
    }
    out.extend(&module[end..]);
    if !files.is_empty() {
        let name = FILES_SECTION.as_bytes();
        let len = u32::try_from(1 + name.len() + contents.len());
        out.push(0);
        leb(len.map_err(|_| FilesError::TooLarge)?, &mut out);
        out.push(name.len() as u8);
        out.extend(name);
        out.extend(contents);
    }
    Ok(out)
}

/// The contents of the section in a module that was checked; nothing where there is none.
pub fn files_of(module: &[u8]) -> &[u8] {
    sections(module).pop().map_or(&[], |(_, contents)| &module[contents])
}

/// Where the sections of that name are, whole and their contents.
fn sections(module: &[u8]) -> Vec<(Range<usize>, Range<usize>)> {
    let mut found = Vec::new();
    let mut at = 8;
    while let Some(id) = module.get(at) {
        let Some((len, digits)) = module.get(at + 1..).and_then(read_leb) else { break };
        let start = at + 1 + digits;
        let Some(end) = start.checked_add(len).filter(|end| *end <= module.len()) else { break };
        let mut name = vec![FILES_SECTION.len() as u8];
        name.extend(FILES_SECTION.as_bytes());
        if *id == 0 && module[start..end].starts_with(&name) {
            found.push((at..end, start + name.len()..end));
        }
        at = end;
    }
    found
}

fn leb(mut value: u32, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn read_leb(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0_u64;
    for (n, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, n + 1));
        }
    }
    None
}

const HEADER_BYTES: usize = 5;

/// Checks contents that come in pieces, and keeps their paths alone.
#[derive(Clone, Debug)]
pub(crate) struct FilesReader {
    at: At,
    /// What is not yet whole of a number or path.
    buffer: Vec<u8>,
    left: u32,
    last: Option<String>,
    files: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Header,
    PathLength,
    Path(usize),
    Length,
    Bytes(u32),
}

impl FilesReader {
    pub(crate) fn new() -> Self {
        let files = BTreeSet::new();
        Self { at: At::Header, buffer: Vec::new(), left: 0, last: None, files }
    }

    pub(crate) fn update(&mut self, mut piece: &[u8]) -> Result<(), FilesError> {
        while !piece.is_empty() {
            if let At::Bytes(left) = self.at {
                let taken = piece.len().min(left as usize);
                piece = &piece[taken..];
                self.skip(left - taken as u32);
                continue;
            }
            let whole = match self.at {
                At::Header => HEADER_BYTES,
                At::PathLength if self.left == 0 => return Err(MORE),
                At::PathLength | At::Length => 4,
                At::Path(len) => len,
                At::Bytes(_) => 0,
            };
            let taken = piece.len().min(whole - self.buffer.len());
            self.buffer.extend(&piece[..taken]);
            piece = &piece[taken..];
            if self.buffer.len() == whole {
                self.step()?;
                self.buffer.clear();
            }
        }
        Ok(())
    }

    pub(crate) fn finish(&self) -> Result<(), FilesError> {
        match self.at {
            At::PathLength if self.left == 0 && self.buffer.is_empty() => Ok(()),
            _ => Err(FilesError::Malformed("it ends too early")),
        }
    }

    fn step(&mut self) -> Result<(), FilesError> {
        let number = |bytes: &[u8]| {
            u32::from_le_bytes(*bytes.first_chunk().expect("as many bytes were waited for"))
        };
        match self.at {
            At::Header => {
                if self.buffer[0] != VERSION {
                    return Err(FilesError::Malformed("it is of an unknown version"));
                }
                self.left = number(&self.buffer[1..]);
                if self.left as usize > PACKED_FILES_MAX {
                    return Err(FilesError::TooMany);
                }
                self.at = At::PathLength;
            }
            At::PathLength => {
                let len = number(&self.buffer) as usize;
                if len == 0 || len > PACKED_PATH_BYTES_MAX {
                    return Err(FilesError::Malformed("a path is empty or too long"));
                }
                self.at = At::Path(len);
            }
            At::Path(_) => {
                let path = String::from_utf8(std::mem::take(&mut self.buffer));
                self.path(path.map_err(|_| FilesError::Malformed("a path is not UTF-8"))?)?;
                self.at = At::Length;
            }
            At::Length => self.skip(number(&self.buffer)),
            At::Bytes(_) => {}
        }
        Ok(())
    }

    fn skip(&mut self, left: u32) {
        self.at = At::Bytes(left);
        if left == 0 {
            self.left -= 1;
            self.at = At::PathLength;
        }
    }

    fn path(&mut self, path: String) -> Result<(), FilesError> {
        let refuse = |why| Err(FilesError::Path { path: path.clone(), why });
        if let Some(why) = odd(&path) {
            return refuse(why);
        }
        match &self.last {
            Some(last) if *last == path => return refuse("it is there twice"),
            Some(last) if *last > path => {
                return Err(FilesError::Malformed("paths are not in the order of their bytes"));
            }
            _ => {}
        }
        for (slash, _) in path.match_indices('/') {
            let directory = &path[..slash];
            if self.files.contains(directory) {
                return refuse("what it is in is a file");
            }
        }
        self.files.insert(path.clone());
        self.last = Some(path);
        Ok(())
    }
}

const MORE: FilesError = FilesError::Malformed("more comes behind the last file");

/// What is wrong with a path.
fn odd(path: &str) -> Option<&'static str> {
    if path.len() > PACKED_PATH_BYTES_MAX {
        return Some("a path is at most 512 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return Some("a path has no control characters and no backslash");
    }
    let names: Vec<&str> = path.split('/').collect();
    if names.len() > DEPTH_MAX {
        return Some("at most 32 names may be in one path");
    }
    if names.iter().any(|name| name.is_empty() || *name == "." || *name == "..") {
        return Some("a name in it is empty or made of dots");
    }
    if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        return Some("a name is at most 255 bytes");
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0\0\x04\x01xyz";

    fn files(list: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        list.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn files_come_back_in_the_order_of_their_paths() {
        let module =
            with_files(MODULE, &files(&[("b.py", "2"), ("a/c", ""), ("a.b", "1")])).unwrap();
        let contents = files_of(&module);
        let read = read_files(contents).unwrap();
        let read: Vec<_> =
            read.iter().map(|file| (file.path, &contents[file.place.clone()])).collect();
        assert_eq!(read, [("a.b", &b"1"[..]), ("a/c", b""), ("b.py", b"2")]);
        assert!(module.starts_with(MODULE));
    }

    #[test]
    fn files_take_the_place_of_those_before_and_none_leave_the_module_as_it_was() {
        let once = with_files(MODULE, &files(&[("a", "1")])).unwrap();
        let twice = with_files(&once, &files(&[("b", "2")])).unwrap();
        assert_eq!(twice, with_files(MODULE, &files(&[("b", "2")])).unwrap());
        assert_eq!(with_files(&twice, &[]).unwrap(), MODULE);
        assert!(files_of(MODULE).is_empty());
        assert_eq!(read_files(b""), Ok(vec![]));
    }

    #[test]
    fn odd_paths_are_refused() {
        let long = "n".repeat(256);
        let deep = "d/".repeat(32) + "f";
        for path in ["", "/a", "a/", "a//b", ".", "a/../b", "./a", "a\\b", "a\nb", &long, &deep] {
            assert!(with_files(MODULE, &files(&[(path, "")])).is_err(), "{path:?}");
        }
        assert!(with_files(MODULE, &files(&[("a", ""), ("a", "")])).is_err());
        assert!(with_files(MODULE, &files(&[("a", ""), ("a-b", ""), ("a/b", "")])).is_err());
    }

    proptest! {
        /// Contents are judged and not trusted, and alike in pieces and whole.
        #[test]
        fn bent_contents_are_judged_alike_in_pieces_and_whole(
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
            cut in any::<prop::sample::Index>(),
            piece in 1usize..9,
        ) {
            let module = with_files(MODULE, &files(&[("a/b", "hello"), ("c", "")])).unwrap();
            let mut contents = files_of(&module).to_vec();
            let at = at.index(contents.len());
            contents[at] = to;
            contents.truncate(1 + cut.index(contents.len()));
            let whole = read_files(&contents);
            let mut reader = FilesReader::new();
            let pieces = contents.chunks(piece).try_for_each(|piece| reader.update(piece));
            prop_assert_eq!(pieces.and_then(|()| reader.finish()), whole.map(|_| ()));
        }
    }
}
