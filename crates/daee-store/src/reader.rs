use std::{
    collections::BTreeMap,
    fs::File,
    io,
    path::Path,
    sync::{Arc, Mutex},
};

use daee_transcript::LogLine;
use daee_types::Word;

use crate::{
    StoreError,
    agent::lock,
    base::{self, Base},
    error::at,
    index::{self, Index, Older, Segment},
    record::{Key, Place, Record, Stream},
};

/// How often a lease may get a new base while it is being opened for reading.
const TRIES: u32 = 16;

/// What went through the door in some turns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Transcript entries in order, each behind its length.
    pub transcript: Vec<u8>,
    /// What they name by its SHA-256, and perhaps more. The bytes are as they were written: whoever uses them
    /// hashes them.
    pub bodies: BTreeMap<Word, Vec<u8>>,
}

/// Reads log and transcript of a lease, beside its writer or after it; what was written is seen at once, also
/// where it is not on disk yet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogReader(Arc<Mutex<Index>>);

impl LogReader {
    /// Reads what is kept in `dir` at this moment, without a right to write. What another thread or process
    /// adds later is not seen; the reader that [`AgentStore`](crate::AgentStore) comes with sees it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        for _ in 0..TRIES {
            let Some((base, _)) = Base::read_head(&dir.join(base::NAME), 0)? else { break };
            let upto = base.place.number;
            let path = index::turns_path(dir, upto);
            let file = match File::open(&path) {
                Ok(file) => Arc::new(file),
                // Another base took its place meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at(&path)(error)),
            };
            let (mut turns, _) = index::measure(&base.key, &path, file.clone(), u64::MAX, |_| {})?;
            turns.file = Some(file);
            let mut index = Index {
                key: base.key,
                history: Vec::new(),
                record: Vec::new(),
                starts: index::starts(dir, upto)?,
                turns,
            };
            for which in Older::BOTH {
                let segments = index.older_mut(which);
                for path in index::older_paths(dir, which)? {
                    match index::glance(&base.key, &path) {
                        // Dropped meanwhile.
                        Err(_) if !path.exists() => {}
                        segment => segments.push(segment?),
                    }
                }
                if let Some(last) = segments.last_mut() {
                    // A writer may be adding to it.
                    let (whole, place) =
                        index::measure(&base.key, &last.path, last.open()?, upto, |_| {})?;
                    if place.is_none_or(|place| place.number == upto) {
                        *last = whole;
                    }
                }
            }
            return Ok(Self::new(Arc::new(Mutex::new(index))));
        }
        Err(StoreError::Missing { dir: dir.to_owned() })
    }

    /// Lines in order, at most `limit`: those after line `after`, or from the first one of the lease.
    pub fn lines(&self, after: Option<u64>, limit: usize) -> Result<Vec<LogLine>, StoreError> {
        let mut lines = Vec::new();
        let Some(first) = after.map_or(Some(0), |seq| seq.checked_add(1)) else { return Ok(lines) };
        if limit == 0 {
            return Ok(lines);
        }
        self.read(
            Older::History,
            |place| place.line_next <= first,
            |record| {
                for line in record.lines() {
                    let line = LogLine::decode(line).map_err(|error| error.to_string())?;
                    if line.seq >= first {
                        lines.push(line);
                    }
                    if lines.len() == limit {
                        return Ok(false);
                    }
                }
                Ok(true)
            },
        )?;
        Ok(lines)
    }

    /// The hash of every line of the lease, in order.
    pub fn hashes(&self) -> Result<Vec<Word>, StoreError> {
        let mut hashes = Vec::new();
        self.read(
            Older::History,
            |_| false,
            |record| {
                for line in record.lines() {
                    hashes.push(LogLine::decode(line).map_err(|error| error.to_string())?.hash());
                }
                Ok(true)
            },
        )?;
        Ok(hashes)
    }

    /// Transcript entries from number `first` on, counted from 0 in this lease, each behind its length: as
    /// many whole ones as fit into `bytes_max`, and one at least if there is one. They begin with the first
    /// that is kept.
    pub fn transcript(&self, first: u64, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.read(
            Older::Record,
            |place| place.entry_next <= first,
            |record| {
                for (number, entry) in (record.place.entry_next..).zip(record.entries()) {
                    if number < first {
                        continue;
                    }
                    if !bytes.is_empty() && bytes.len() + 4 + entry.len() > bytes_max {
                        return Ok(false);
                    }
                    bytes.extend((entry.len() as u32).to_le_bytes());
                    bytes.extend(entry);
                }
                Ok(true)
            },
        )?;
        Ok(bytes)
    }

    /// Where recordings may begin, oldest first: each is the number of the last turn record before it.
    pub fn starts(&self) -> Vec<u64> {
        lock(&self.0).starts.iter().map(|start| start.number).collect()
    }

    /// Number of the last record.
    pub fn last(&self) -> Result<u64, StoreError> {
        let mut last = lock(&self.0).turns.first();
        self.read(
            Older::Record,
            |_| true,
            |record| {
                last = record.place.number;
                Ok(true)
            },
        )?;
        Ok(last)
    }

    /// The snapshot of a place at which a recording may begin; of its bytes the first `bytes_max`, or all. Nothing
    /// if it was dropped.
    pub fn start(
        &self,
        number: u64,
        bytes_max: Option<usize>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let dir = lock(&self.0).turns.path.parent().map(Path::to_owned).unwrap_or_default();
        let path = index::start_path(&dir, number);
        let read = match bytes_max {
            Some(bytes) => Base::read_head(&path, bytes)?,
            None => Base::read(&path)?,
        };
        Ok(read.map(|(_, snapshot)| snapshot))
    }

    /// What was recorded behind record `from` up to record `upto`. [`StoreError::Dropped`] if some of it was.
    pub fn recorded(&self, from: u64, upto: u64) -> Result<Recorded, StoreError> {
        let (key, parts) = {
            let index = lock(&self.0);
            (index.key, index.behind(from))
        };
        let parts = parts.into_iter().map(|segment| (segment, 0)).collect();
        let mut recorded = Recorded::default();
        let mut next = from + 1;
        let read = Self::read_parts(key, parts, |record| {
            let number = record.place.number;
            if number > upto {
                return Ok(false);
            }
            for (word, body) in record.bodies() {
                recorded.bodies.entry(*word).or_insert_with(|| body.to_vec());
            }
            if number == next {
                recorded.transcript.extend(record.transcript);
                next += 1;
            }
            Ok(true)
        });
        let dir = || lock(&self.0).turns.path.parent().map(Path::to_owned).unwrap_or_default();
        match read {
            Err(StoreError::Io { path, .. }) if !path.exists() => {
                Err(StoreError::Dropped { dir: dir() })
            }
            Ok(()) if next <= upto => Err(StoreError::Dropped { dir: dir() }),
            read => read.map(|()| recorded),
        }
    }

    pub(crate) fn new(index: Arc<Mutex<Index>>) -> Self {
        Self(index)
    }

    /// Shows each record once, from the last known one that `before` holds for, until `each` has enough.
    fn read(
        &self,
        older: Older,
        before: impl Fn(&Place) -> bool,
        each: impl FnMut(&Record<'_>) -> Result<bool, String>,
    ) -> Result<(), StoreError> {
        let (key, parts) = {
            let index = lock(&self.0);
            (index.key, index.since_last(older, before))
        };
        Self::read_parts(key, parts, each)
    }

    fn read_parts(
        key: Key,
        parts: Vec<(Segment, u64)>,
        mut each: impl FnMut(&Record<'_>) -> Result<bool, String>,
    ) -> Result<(), StoreError> {
        let mut seen = 0;
        for (segment, start) in parts {
            let path = &segment.path;
            let mut stream = Stream::new(key, segment.open()?, start, segment.len);
            loop {
                let record = match stream.next() {
                    Ok(Some(record)) => record,
                    Ok(None) => break,
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                        return Err(StoreError::corrupt(path, error));
                    }
                    Err(error) => return Err(at(path)(error)),
                };
                // After a new base that failed, the history holds what is still in the turns.
                if record.place.number <= seen {
                    continue;
                }
                seen = record.place.number;
                if !each(&record).map_err(|why| StoreError::corrupt(path, why))? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
