use std::{
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
    base::Base,
    error::at,
    index::{self, Index},
    record::{Place, Record, Stream},
};

/// How often a lease may get a new base while it is being opened for reading.
const TRIES: u32 = 16;

/// Reads log and transcript of a lease, beside its writer or after it; what was written is seen at once, also
/// where it is not on disk yet. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LogReader(Arc<Mutex<Index>>);

impl LogReader {
    /// Reads what is kept in `dir` at this moment, without a right to write. What another thread or process
    /// adds later is not seen; the reader that [`AgentStore`](crate::AgentStore) comes with sees it.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        for _ in 0..TRIES {
            let Some(base) = Base::read_head(dir)? else { break };
            let upto = base.place.number;
            let path = index::turns_path(dir, upto);
            let file = match File::open(&path) {
                Ok(file) => Arc::new(file),
                // Another base took its place meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(at(&path)(error)),
            };
            let (mut turns, _) = index::measure(&base.key, &path, file.clone(), u64::MAX)?;
            turns.file = Some(file);
            let mut history = Vec::new();
            for path in index::history_paths(dir)? {
                history.push(index::glance(&base.key, &path)?);
            }
            if let Some(last) = history.last_mut() {
                // A writer may be adding to it.
                let (whole, place) = index::measure(&base.key, &last.path, last.open()?, upto)?;
                if place.is_none_or(|place| place.number == upto) {
                    *last = whole;
                }
            }
            return Ok(Self::new(Arc::new(Mutex::new(Index { key: base.key, history, turns }))));
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
    /// many whole ones as fit into `bytes_max`, and one at least if there is one.
    pub fn transcript(&self, first: u64, bytes_max: usize) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.read(
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

    pub(crate) fn new(index: Arc<Mutex<Index>>) -> Self {
        Self(index)
    }

    /// Shows each record once, from the last known one that `before` holds for, until `each` has enough.
    fn read(
        &self,
        before: impl Fn(&Place) -> bool,
        mut each: impl FnMut(&Record<'_>) -> Result<bool, String>,
    ) -> Result<(), StoreError> {
        let (key, parts) = {
            let index = lock(&self.0);
            (index.key, index.since_last(before))
        };
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
