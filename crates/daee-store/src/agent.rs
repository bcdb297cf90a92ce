use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use daee_transcript::LogLine;

use crate::{
    LogReader, StoreError,
    base::Base,
    error::at,
    files::{self, Lock},
    index::{self, Index, Segment},
    record::{self, Place, Record, Stream},
};

/// Size from which a file of older records is left and the next one begun, in bytes.
const HISTORY_BYTES: u64 = 32 << 20;

/// When something is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durable {
    /// On return.
    Now,
    /// With the next [`Durable::Now`] or [`AgentStore::sync`]. Until then it survives this process, but not
    /// a power cut.
    Later,
}

/// What is kept of one turn, all of it or nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Written<'a> {
    /// An encoded change of the state.
    pub delta: &'a [u8],
    /// Transcript entries, each behind its length.
    pub transcript: &'a [u8],
    /// Lines of the log, in order.
    pub logs: &'a [LogLine],
    /// How far the agent has come with it.
    pub progress: &'a [u8],
}

/// What a lease goes on from.
#[derive(Debug)]
pub struct Opened {
    /// To go on writing.
    pub store: AgentStore,
    /// To read log and transcript.
    pub reader: LogReader,
    /// The last base.
    pub snapshot: Vec<u8>,
    /// Delta and progress of every turn since, in order.
    pub deltas: Vec<(Vec<u8>, Vec<u8>)>,
    /// A turn that had not been acknowledged was half written and is gone.
    pub cut: bool,
}

/// The turns of one lease on disk: a snapshot, what changed since, transcript and log. One writer at a time.
#[derive(Debug)]
pub struct AgentStore {
    dir: PathBuf,
    base: Base,
    file: Arc<File>,
    /// Bytes of the file that hold whole records.
    len: u64,
    /// The last record written, and what comes after it.
    last: Place,
    /// Number of the last record that is on disk for certain.
    synced: u64,
    /// Number of the last record that is in the history too.
    moved: u64,
    /// Whether the last file of the history is whole, so that it can be gone on with.
    history_open: bool,
    /// A sync failed: nobody knows what the disk holds.
    broken: bool,
    index: Arc<Mutex<Index>>,
    buffer: Vec<u8>,
    _lock: Lock,
}

impl AgentStore {
    /// Starts a lease, in place of whatever was kept in `dir`. On disk on return.
    pub fn create(dir: &Path, snapshot: &[u8]) -> Result<(Self, LogReader), StoreError> {
        files::create_dir(dir)?;
        let lock = files::lock(dir)?;
        // The old base first: without it the rest is nothing.
        Base::remove(dir)?;
        for name in files::names(dir)? {
            if name.starts_with("turns-") || name.starts_with("history-") {
                files::remove(&dir.join(name))?;
            }
        }
        let base = Base::new()?;
        let path = index::turns_path(dir, 0);
        let file = fresh(&path)?;
        base.write(dir, snapshot)?;
        files::sync_dir(dir)?;
        let turns = Segment::new(path, Some(file.clone()));
        let index = Index { key: base.key, history: Vec::new(), turns };
        Ok(Self::with(dir, base, file, index, base.place, lock))
    }

    /// Goes on with what is kept in `dir`; `None` if nothing is.
    pub fn open(dir: &Path) -> Result<Option<Opened>, StoreError> {
        if !dir.is_dir() {
            return Ok(None);
        }
        let lock = files::lock(dir)?;
        let Some((base, snapshot)) = Base::read(dir)? else { return Ok(None) };
        let path = index::turns_path(dir, base.place.number);
        tidy(dir, &path)?;

        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = Arc::new(file.map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::corrupt(&path, "it is not there"),
            _ => at(&path)(error),
        })?);
        let bytes = fs::read(&path).map_err(at(&path))?;
        let scan = record::scan(&base.key, &bytes, base.place.number + 1);
        if scan.damaged {
            return Err(StoreError::corrupt(
                &path,
                format!("a turn that was on disk is not whole, at byte {}", scan.whole),
            ));
        }
        let cut = scan.whole < bytes.len();
        if cut {
            file.set_len(scan.whole as u64).map_err(at(&path))?;
        }
        // What a killed process had written may not be on disk, and from here on it counts.
        file.sync_data().map_err(at(&path))?;

        let (history, history_open) = history(dir, &base)?;
        let mut turns = Segment::new(path, Some(file.clone()));
        for record in &scan.records {
            turns.push(record.place, record.size());
        }
        let last = scan.records.last().map_or(base.place, Record::after);
        let index = Index { key: base.key, history, turns };
        let (mut store, reader) = Self::with(dir, base, file, index, last, lock);
        store.history_open = history_open;
        let kept = |record: &Record<'_>| (record.delta.to_vec(), record.progress.to_vec());
        let deltas = scan.records.iter().map(kept).collect();
        Ok(Some(Opened { store, reader, snapshot, deltas, cut }))
    }

    /// Adds a turn: one write, and with [`Durable::Now`] one sync. If this fails the turns before it are as
    /// they were, and it can be tried again.
    pub fn append(&mut self, written: Written<'_>, durable: Durable) -> Result<(), StoreError> {
        self.usable()?;
        let entries = record::count(written.transcript)
            .ok_or(StoreError::Malformed("a transcript entry is not behind its length"))?;
        let mut logs = Vec::new();
        for line in written.logs {
            let line = line.encode();
            logs.extend((line.len() as u32).to_le_bytes());
            logs.extend(line);
        }
        let place = Place {
            number: self.last.number + 1,
            line_next: written.logs.first().map_or(self.last.line_next, |line| line.seq),
            entry_next: self.last.entry_next,
        };
        let record = Record {
            place,
            synced: self.synced,
            logs: &logs,
            transcript: written.transcript,
            progress: written.progress,
            delta: written.delta,
        };
        self.buffer.clear();
        record
            .write(&self.base.key, &mut self.buffer)
            .ok_or(StoreError::Malformed("a turn of more than 4 GiB"))?;
        if let Err(error) = self.file.write_all_at(&self.buffer, self.len) {
            // Gives back what the half of it took. If this fails the next one is written over it.
            let _ = self.file.set_len(self.len);
            return Err(at(&index::turns_path(&self.dir, self.base.place.number))(error));
        }
        self.len += self.buffer.len() as u64;
        self.last = Place {
            number: place.number,
            line_next: written
                .logs
                .last()
                .map_or(place.line_next, |line| line.seq.saturating_add(1)),
            entry_next: place.entry_next + entries,
        };
        lock(&self.index).turns.push(place, self.buffer.len());
        match durable {
            Durable::Now => self.sync(),
            Durable::Later => Ok(()),
        }
    }

    /// Puts on disk what is not yet.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.usable()?;
        if self.synced == self.last.number {
            return Ok(());
        }
        if let Err(error) = self.file.sync_data() {
            // The kernel may have dropped the pages, and would call the next sync a success.
            self.broken = true;
            return Err(at(&index::turns_path(&self.dir, self.base.place.number))(error));
        }
        self.synced = self.last.number;
        Ok(())
    }

    /// Makes `snapshot` what the lease goes on from. The deltas before it are dropped; transcript and log
    /// stay. On disk on return; if this fails, what was before still holds.
    pub fn rebase(&mut self, snapshot: &[u8]) -> Result<(), StoreError> {
        self.usable()?;
        let base = Base { place: self.last, ..self.base };
        // No turn since the last one: the same file goes on.
        let path = index::turns_path(&self.dir, base.place.number);
        let begun = base.place.number > self.base.place.number;
        let file = match begun {
            true => {
                self.move_to_history()?;
                fresh(&path)?
            }
            false => self.file.clone(),
        };
        base.write(&self.dir, snapshot).inspect_err(|_| {
            if begun {
                let _ = fs::remove_file(&path);
            }
        })?;
        // The new base may be on disk from here on, or the old one.
        files::sync_dir(&self.dir).inspect_err(|_| self.broken = true)?;
        self.base = base;
        if !begun {
            return Ok(());
        }
        self.synced = base.place.number;
        (self.file, self.len) = (file.clone(), 0);
        let turns = Segment::new(path, Some(file));
        let before = std::mem::replace(&mut lock(&self.index).turns, turns);
        // Whoever reads it has it open. If it stays it is removed when the lease is opened.
        let _ = fs::remove_file(before.path);
        Ok(())
    }

    /// Turns since the last base.
    pub fn deltas(&self) -> u32 {
        u32::try_from(self.last.number - self.base.place.number).unwrap_or(u32::MAX)
    }

    fn with(
        dir: &Path,
        base: Base,
        file: Arc<File>,
        index: Index,
        last: Place,
        lock: Lock,
    ) -> (Self, LogReader) {
        let len = index.turns.len;
        let index = Arc::new(Mutex::new(index));
        let store = Self {
            dir: dir.to_owned(),
            base,
            file,
            len,
            last,
            synced: last.number,
            moved: base.place.number,
            history_open: false,
            broken: false,
            index: index.clone(),
            buffer: Vec::new(),
            _lock: lock,
        };
        (store, LogReader::new(index))
    }

    fn usable(&self) -> Result<(), StoreError> {
        match self.broken {
            false => Ok(()),
            true => Err(StoreError::Io {
                path: self.dir.clone(),
                why: "a sync failed, and only opening it again tells what is on disk".to_owned(),
            }),
        }
    }

    /// Copies transcript and log of the turns since the last base to the end of the history.
    fn move_to_history(&mut self) -> Result<(), StoreError> {
        let old = lock(&self.index).history.last().cloned();
        let old = old.filter(|segment| self.history_open && segment.len < HISTORY_BYTES);
        let new = || Segment::new(index::history_path(&self.dir, self.moved + 1), None);
        let begun = old.is_none();
        let mut segment = old.unwrap_or_else(new);
        let (path, start) = (segment.path.clone(), segment.len);

        let mut bytes = Vec::new();
        let mut stream = Stream::new(self.base.key, self.file.clone(), 0, self.len);
        let turns = index::turns_path(&self.dir, self.base.place.number);
        while let Some(record) = stream.next().map_err(at(&turns))? {
            if record.place.number > self.moved {
                let kept = record.stripped();
                kept.write(&self.base.key, &mut bytes).expect("it is shorter than it was");
                segment.push(kept.place, kept.size());
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        let options = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
        let file = options.map_err(at(&path))?;
        let written = file.write_all_at(&bytes, start).and_then(|()| file.sync_data());
        written.map_err(|error| {
            // What is left of it is cut off when the lease is opened, or written over.
            let _ = file.set_len(start);
            at(&path)(error)
        })?;
        let mut index = lock(&self.index);
        if !begun {
            index.history.pop();
        }
        index.history.push(segment);
        self.moved = self.last.number;
        self.history_open = true;
        Ok(())
    }
}

pub(crate) fn lock(index: &Mutex<Index>) -> std::sync::MutexGuard<'_, Index> {
    // Nothing that is done under the lock can panic half way.
    index.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An empty file to read and write.
fn fresh(path: &Path) -> Result<Arc<File>, StoreError> {
    let options = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path);
    options.map(Arc::new).map_err(at(path))
}

/// Removes what a crash left between two bases.
fn tidy(dir: &Path, turns: &Path) -> Result<(), StoreError> {
    for name in files::names(dir)? {
        let path = dir.join(&name);
        if name.ends_with(files::FRESH) || name.starts_with("turns-") && path != turns {
            files::remove(&path)?;
        }
    }
    Ok(())
}

/// The files of older records, and whether the last of them can be gone on with.
fn history(dir: &Path, base: &Base) -> Result<(Vec<Segment>, bool), StoreError> {
    let mut paths = index::history_paths(dir)?;
    while let Some(path) = paths.pop() {
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(at(&path))?;
        let file = Arc::new(file);
        let upto = base.place.number;
        let (segment, last) = index::measure(&base.key, &path, file.clone(), upto)?;
        if path >= index::history_path(dir, upto + 1) {
            // Begun for a base that never came.
            files::remove(&path)?;
            continue;
        }
        let mut all = Vec::new();
        for path in &paths {
            all.push(index::glance(&base.key, path)?);
        }
        let whole = last.is_some_and(|place| place.number == upto);
        if whole {
            // Records behind it were copied for a base that never came.
            file.set_len(segment.len).map_err(at(&path))?;
            all.push(segment);
        } else {
            // Damage. The agent goes on; whoever reads the log there is told.
            all.push(index::glance(&base.key, &path)?);
        }
        return Ok((all, whole));
    }
    Ok((Vec::new(), false))
}
