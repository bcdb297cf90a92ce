//! Where the records of a lease are: in `turns-N`, which follows the base, and before that in files named
//! `history-N` that hold the records of older bases without what those made superfluous. N is a number of
//! 16 hex digits: the base's for `turns`, the first record's for `history`.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    StoreError,
    error::at,
    files,
    record::{Key, Place, Stream},
};

/// Bytes between two marks.
const MARK_BYTES: u64 = 64 << 10;

/// A record whose offset is known, so that a search need not start at the front.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub at: u64,
    pub place: Place,
}

/// One file of records.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub path: PathBuf,
    /// Open where the file may be removed while somebody reads.
    pub file: Option<Arc<File>>,
    /// Bytes that hold whole records.
    pub len: u64,
    /// Never far apart, where the file was read or written by this process.
    pub marks: Vec<Mark>,
}

impl Segment {
    /// An empty one.
    pub fn new(path: PathBuf, file: Option<Arc<File>>) -> Self {
        Self { path, file, len: 0, marks: Vec::new() }
    }

    /// Notes a record of so many bytes at its end.
    pub fn push(&mut self, place: Place, size: usize) {
        if self.marks.last().is_none_or(|mark| self.len - mark.at >= MARK_BYTES) {
            self.marks.push(Mark { at: self.len, place });
        }
        self.len += size as u64;
    }

    /// The file, opened for reading if it is not.
    pub fn open(&self) -> Result<Arc<File>, StoreError> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => File::open(&self.path).map(Arc::new).map_err(at(&self.path)),
        }
    }
}

/// All files of a lease, oldest first; the last is the one that is written.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub key: Key,
    pub history: Vec<Segment>,
    pub turns: Segment,
}

impl Index {
    /// What is left to read from the last place that `before` holds for: paths and byte ranges.
    pub fn since_last(&self, before: impl Fn(&Place) -> bool) -> Vec<(Segment, u64)> {
        let all = || self.history.iter().chain([&self.turns]);
        let marks = all().enumerate().flat_map(|(n, s)| s.marks.iter().map(move |mark| (n, mark)));
        let last = marks.filter(|(_, mark)| before(&mark.place)).last();
        let (skip, start) = last.map_or((0, 0), |(n, mark)| (n, mark.at));
        let bare = |segment: &Segment| Segment { marks: Vec::new(), ..segment.clone() };
        let rest = all().skip(skip).map(bare);
        rest.enumerate().map(|(n, segment)| (segment, if n == 0 { start } else { 0 })).collect()
    }
}

/// Path of the file of records that follow a base.
pub(crate) fn turns_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("turns-{number:016x}"))
}

/// Path of a file of older records.
pub(crate) fn history_path(dir: &Path, first: u64) -> PathBuf {
    dir.join(format!("history-{first:016x}"))
}

/// Paths of all files of older records, oldest first.
pub(crate) fn history_paths(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let mut names = files::names(dir)?;
    names.retain(|name| name.starts_with("history-"));
    names.sort();
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// A file of older records of which only the first is looked at.
pub(crate) fn glance(key: &Key, path: &Path) -> Result<Segment, StoreError> {
    let mut segment = Segment::new(path.to_owned(), None);
    let file = File::open(path).map_err(at(path))?;
    segment.len = file.metadata().map_err(at(path))?.len();
    // What is wrong with it is said to whoever wants to read it.
    if let Ok(Some(record)) = Stream::new(*key, Arc::new(file), 0, segment.len).next() {
        segment.marks.push(Mark { at: 0, place: record.place });
    }
    Ok(segment)
}

/// The whole records of a file up to a number, and where the last of them leaves off.
pub(crate) fn measure(
    key: &Key,
    path: &Path,
    file: Arc<File>,
    upto: u64,
) -> Result<(Segment, Option<Place>), StoreError> {
    let mut segment = Segment::new(path.to_owned(), None);
    let len = file.metadata().map_err(at(path))?.len();
    let mut stream = Stream::new(*key, file, 0, len);
    let mut last = None;
    loop {
        match stream.next() {
            Ok(Some(record)) if record.place.number <= upto => {
                segment.push(record.place, record.size());
                last = Some(record.after());
            }
            Ok(_) => return Ok((segment, last)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok((segment, last)),
            Err(error) => return Err(at(path)(error)),
        }
    }
}
