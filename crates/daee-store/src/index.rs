//! Where the records of a lease are: in `turns-N`, which follows the base, and before that in files of two kinds
//! without what the base made superfluous. `history-N` holds log lines and stays. `record-N` holds transcript
//! and bodies, as long as they can be replayed: from a `start-N`, which is a base of before, or one that another
//! version began with. N is a number of 16 hex digits: the base's for `turns` and `start`, the first record's
//! for the others.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    StoreError,
    error::at,
    files,
    record::{Key, Place, Record, Stream},
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

    /// Number of its first record, as its name has it.
    pub fn first(&self) -> u64 {
        numbered(&self.path)
    }
}

/// Files of older records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Older {
    /// Log lines.
    History,
    /// Transcript and bodies.
    Record,
}

impl Older {
    pub const BOTH: [Self; 2] = [Self::History, Self::Record];

    /// What their names begin with.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::History => "history-",
            Self::Record => "record-",
        }
    }

    /// Path of the file whose first record is this.
    pub fn path(self, dir: &Path, first: u64) -> PathBuf {
        dir.join(format!("{}{first:016x}", self.prefix()))
    }
}

/// Where a recording may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// The last record before it.
    pub number: u64,
    /// Bytes of its file.
    pub size: u64,
}

/// All files of a lease, oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub key: Key,
    pub history: Vec<Segment>,
    pub record: Vec<Segment>,
    pub starts: Vec<Start>,
    /// The file that is written.
    pub turns: Segment,
}

impl Index {
    pub fn older(&self, which: Older) -> &Vec<Segment> {
        match which {
            Older::History => &self.history,
            Older::Record => &self.record,
        }
    }

    pub fn older_mut(&mut self, which: Older) -> &mut Vec<Segment> {
        match which {
            Older::History => &mut self.history,
            Older::Record => &mut self.record,
        }
    }

    /// What is left to read from the last place that `before` holds for: paths and byte ranges.
    pub fn since_last(&self, older: Older, before: impl Fn(&Place) -> bool) -> Vec<(Segment, u64)> {
        let all = || self.older(older).iter().chain([&self.turns]);
        let marks = all().enumerate().flat_map(|(n, s)| s.marks.iter().map(move |mark| (n, mark)));
        let last = marks.filter(|(_, mark)| before(&mark.place)).last();
        let (skip, start) = last.map_or((0, 0), |(n, mark)| (n, mark.at));
        let bare = |segment: &Segment| Segment { marks: Vec::new(), ..segment.clone() };
        let rest = all().skip(skip).map(bare);
        rest.enumerate().map(|(n, segment)| (segment, if n == 0 { start } else { 0 })).collect()
    }

    /// The files that the records behind `number` and what they name lie in.
    pub fn behind(&self, number: u64) -> Vec<Segment> {
        let needed = self.needed(number);
        self.record[needed..].iter().chain([&self.turns]).cloned().collect()
    }

    /// Takes out what goes so that the rest is within `bytes_max`: the oldest starts, and what no start needs.
    /// The newest start and what follows it stay.
    pub fn shed(&mut self, bytes_max: u64) -> (Vec<Start>, Vec<Segment>) {
        let (mut starts, mut first) = (0, 0);
        while let Some(oldest) = self.starts.get(starts) {
            first = self.needed(oldest.number);
            let left = self.record[first..].iter().map(|segment| segment.len);
            let bytes: u64 = left.chain(self.starts[starts..].iter().map(|s| s.size)).sum();
            if bytes <= bytes_max || starts + 1 == self.starts.len() {
                break;
            }
            starts += 1;
        }
        (self.starts.drain(..starts).collect(), self.record.drain(..first).collect())
    }

    /// The first file of older records with one behind `number`.
    fn needed(&self, number: u64) -> usize {
        // The last record of a file is the one before the next file.
        let next = self.record.iter().skip(1).map(Segment::first).chain([u64::MAX]);
        next.take_while(|next| *next <= number + 1).count().min(self.record.len())
    }
}

/// Path of the file of records that follow a base.
pub(crate) fn turns_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("turns-{number:016x}"))
}

/// Path of a place where a recording may begin.
pub(crate) fn start_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("start-{number:016x}"))
}

/// Paths of all files of older records of a kind, oldest first.
pub(crate) fn older_paths(dir: &Path, which: Older) -> Result<Vec<PathBuf>, StoreError> {
    paths(dir, which.prefix())
}

/// Where recordings may begin, oldest first. What came of a base that never was is not among them.
pub(crate) fn starts(dir: &Path, base: u64) -> Result<Vec<Start>, StoreError> {
    let mut starts = Vec::new();
    for path in paths(dir, "start-")? {
        let number = numbered(&path);
        match fs::metadata(&path) {
            Ok(meta) if number <= base => starts.push(Start { number, size: meta.len() }),
            Ok(_) => {}
            // The writer has just dropped it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at(&path)(error)),
        }
    }
    Ok(starts)
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

/// The whole records of a file up to a number, each shown to `each`, and where the last of them leaves off.
pub(crate) fn measure(
    key: &Key,
    path: &Path,
    file: Arc<File>,
    upto: u64,
    mut each: impl FnMut(&Record<'_>),
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
                each(&record);
            }
            Ok(_) => return Ok((segment, last)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok((segment, last)),
            Err(error) => return Err(at(path)(error)),
        }
    }
}

fn paths(dir: &Path, prefix: &str) -> Result<Vec<PathBuf>, StoreError> {
    let mut names = files::names(dir)?;
    names.retain(|name| {
        name.strip_prefix(prefix).is_some_and(|rest| u64::from_str_radix(rest, 16).is_ok())
    });
    names.sort();
    Ok(names.into_iter().map(|name| dir.join(name)).collect())
}

/// The number in a name that [`paths`] gave.
fn numbered(path: &Path) -> u64 {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let digits = name.rsplit('-').next().unwrap_or_default();
    u64::from_str_radix(digits, 16).unwrap_or_default()
}
