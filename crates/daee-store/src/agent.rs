use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use daee_transcript::LogLine;
use daee_types::{ByteSize, Word};

use crate::{
    LogReader, StoreError,
    base::{self, Base},
    error::at,
    files::{self, Lock},
    index::{self, Index, Older, Segment, Start},
    record::{self, Place, Record, Stream},
};

/// Size from which a file of older records is left and the next one begun, in bytes.
const HISTORY_BYTES: u64 = 32 << 20;
/// The same for what is kept for recordings, as a part of its bound: what is dropped is dropped by the file.
const RECORD_PARTS: u64 = 8;
/// Bound of what is kept for recordings, unless the caller has another.
const RECORD_BYTES: ByteSize = ByteSize::mib(128);
/// How much is moved with one write, in bytes.
const MOVE_BYTES: usize = 1 << 20;

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
    /// What the transcript names by its SHA-256, which the caller has taken. One that was written since the last
    /// base is not written again.
    pub bodies: &'a [(Word, Vec<u8>)],
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
///
/// For recordings it keeps places to begin at with the transcript since and what that names, within a bound: the
/// oldest place is dropped first, and with it what no other needs. The newest and what follows it stay.
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
    /// The files of older records, in the order of [`Older::BOTH`].
    tails: [Tail; 2],
    /// Bodies in the file.
    bodies: HashSet<Word>,
    /// Bytes of transcript and bodies since the newest start.
    unstarted: u64,
    record_bytes_max: u64,
    /// A sync failed: nobody knows what the disk holds.
    broken: bool,
    index: Arc<Mutex<Index>>,
    buffer: Vec<u8>,
    _lock: Lock,
}

/// The last file of older records of one kind.
#[derive(Debug, Default)]
struct Tail {
    /// Number of the last record that is there too.
    moved: u64,
    /// Whether it is whole, so that it can be gone on with.
    open: bool,
    /// Bodies in it.
    bodies: HashSet<Word>,
}

impl AgentStore {
    /// Starts a lease, in place of whatever was kept in `dir`; a recording may begin with it. On disk on return.
    pub fn create(dir: &Path, snapshot: &[u8]) -> Result<(Self, LogReader), StoreError> {
        files::create_dir(dir)?;
        let lock = files::lock(dir)?;
        // The old base first: without it the rest is nothing.
        Base::remove(dir)?;
        for name in files::names(dir)? {
            if ["turns-", "history-", "record-", "start-"].iter().any(|p| name.starts_with(p)) {
                files::remove(&dir.join(name))?;
            }
        }
        let base = Base::new()?;
        let path = index::turns_path(dir, 0);
        let file = fresh(&path)?;
        let start = base.write_start(dir, snapshot)?;
        files::sync_dir(dir)?;
        let index = Index {
            key: base.key,
            history: Vec::new(),
            record: Vec::new(),
            starts: vec![start],
            turns: Segment::new(path, Some(file.clone())),
        };
        Ok(Self::with(dir, base, file, index, base.place, lock))
    }

    /// Goes on with what is kept in `dir`; `None` if nothing is.
    pub fn open(dir: &Path) -> Result<Option<Opened>, StoreError> {
        if !dir.is_dir() {
            return Ok(None);
        }
        let lock = files::lock(dir)?;
        let Some((base, snapshot)) = Base::read(&dir.join(base::NAME))? else { return Ok(None) };
        let path = index::turns_path(dir, base.place.number);
        tidy(dir, &path, base.place.number)?;

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

        let (history, history_tail) = older(dir, &base, Older::History)?;
        let (record, record_tail) = older(dir, &base, Older::Record)?;
        let starts = index::starts(dir, base.place.number)?;
        let mut turns = Segment::new(path, Some(file.clone()));
        for record in &scan.records {
            turns.push(record.place, record.size());
        }
        let last = scan.records.last().map_or(base.place, Record::after);
        let index = Index { key: base.key, history, record, starts, turns };
        let (mut store, reader) = Self::with(dir, base, file, index, last, lock);
        store.tails = [history_tail, record_tail];
        let names = scan.records.iter().flat_map(Record::bodies).map(|(word, _)| *word);
        store.bodies = names.collect();
        store.unstarted = store.measured();
        store.shed();
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
        let mut bodies = Vec::new();
        let mut fresh = HashSet::new();
        for (word, body) in written.bodies {
            if !self.bodies.contains(word) && fresh.insert(*word) {
                record::put_body(&mut bodies, word, body).ok_or(TOO_LONG)?;
            }
        }
        let record = Record {
            place,
            synced: self.synced,
            logs: &logs,
            transcript: written.transcript,
            bodies: &bodies,
            progress: written.progress,
            delta: written.delta,
        };
        self.buffer.clear();
        record.write(&self.base.key, &mut self.buffer).ok_or(TOO_LONG)?;
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
        self.bodies.extend(fresh);
        self.unstarted += (written.transcript.len() + bodies.len()) as u64;
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
        self.rebase_with(snapshot, Base::write_base)
    }

    /// The same with a snapshot at which a recording may begin.
    pub fn rebase_start(&mut self, snapshot: &[u8]) -> Result<(), StoreError> {
        self.rebase_with(snapshot, |base, dir, snapshot| base.write_start(dir, snapshot).map(Some))
    }

    /// Keeps a snapshot of behind record `number` at which a recording may begin, beside what the lease goes
    /// on from. Gone after a crash that comes before the next base.
    pub fn start(&mut self, number: u64, snapshot: &[u8]) -> Result<(), StoreError> {
        self.usable()?;
        if number > self.last.number {
            return Err(StoreError::Malformed("no such record yet"));
        }
        let path = index::start_path(&self.dir, number);
        self.base.write(&path, snapshot)?;
        self.started(start_of(&path, number)?);
        Ok(())
    }

    /// Number of the last record, counted from 1 in this lease; 0 before it.
    pub fn last(&self) -> u64 {
        self.last.number
    }

    /// Sets the bound of what is kept for recordings.
    pub fn set_record_bytes_max(&mut self, max: ByteSize) {
        self.record_bytes_max = max.0;
        self.shed();
    }

    /// Bytes of transcript and bodies since the newest place at which a recording may begin.
    pub fn bytes_since_start(&self) -> u64 {
        self.unstarted
    }

    /// Bytes that the turns since the last base take.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    fn rebase_with(
        &mut self,
        snapshot: &[u8],
        write: impl Fn(&Base, &Path, &[u8]) -> Result<Option<Start>, StoreError>,
    ) -> Result<(), StoreError> {
        self.usable()?;
        let base = Base { place: self.last, ..self.base };
        // No turn since the last one: the same file goes on.
        let path = index::turns_path(&self.dir, base.place.number);
        let begun = base.place.number > self.base.place.number;
        let file = match begun {
            true => {
                Older::BOTH.into_iter().try_for_each(|which| self.move_older(which))?;
                fresh(&path)?
            }
            false => self.file.clone(),
        };
        let start = write(&base, &self.dir, snapshot).inspect_err(|_| {
            if begun {
                let _ = fs::remove_file(&path);
            }
        })?;
        // The new base may be on disk from here on, or the old one.
        files::sync_dir(&self.dir).inspect_err(|_| self.broken = true)?;
        self.base = base;
        if begun {
            self.synced = base.place.number;
            (self.file, self.len) = (file.clone(), 0);
            self.bodies.clear();
            let turns = Segment::new(path, Some(file));
            let before = std::mem::replace(&mut lock(&self.index).turns, turns);
            // Whoever reads it has it open. If it stays it is removed when the lease is opened.
            let _ = fs::remove_file(before.path);
        }
        if let Some(start) = start {
            self.started(start);
        }
        self.shed();
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
            tails: Older::BOTH.map(|_| Tail { moved: base.place.number, ..Tail::default() }),
            bodies: HashSet::new(),
            unstarted: 0,
            record_bytes_max: RECORD_BYTES.0,
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

    fn started(&mut self, start: Start) {
        self.unstarted = 0;
        let starts = &mut lock(&self.index).starts;
        starts.retain(|other| other.number < start.number);
        starts.push(start);
    }

    /// Drops what is over the bound of what is kept for recordings.
    fn shed(&mut self) {
        let (starts, segments) = lock(&self.index).shed(self.record_bytes_max);
        let starts = starts.iter().map(|start| index::start_path(&self.dir, start.number));
        for path in starts.chain(segments.into_iter().map(|segment| segment.path)) {
            // If it stays it is removed when the lease is opened.
            let _ = fs::remove_file(path);
        }
    }

    /// What there is since the newest start, or a little more.
    fn measured(&self) -> u64 {
        let index = lock(&self.index);
        let newest = index.starts.last().map_or(0, |start| start.number);
        index.behind(newest).iter().map(|segment| segment.len).sum()
    }

    /// Copies what stays of the turns since the last base to the end of the older records.
    fn move_older(&mut self, which: Older) -> Result<(), StoreError> {
        let bytes_max = match which {
            Older::History => HISTORY_BYTES,
            Older::Record => HISTORY_BYTES.min(self.record_bytes_max / RECORD_PARTS),
        };
        let tail = &mut self.tails[which as usize];
        let old = lock(&self.index).older(which).last().cloned();
        // After a base that failed, what is there already may be named by what is not.
        let old = old.filter(|segment| {
            tail.open && (segment.len < bytes_max || tail.moved > self.base.place.number)
        });
        let begun = old.is_none();
        if begun {
            tail.bodies.clear();
        }
        let mut segment =
            old.unwrap_or_else(|| Segment::new(which.path(&self.dir, tail.moved + 1), None));
        let (path, start) = (segment.path.clone(), segment.len);
        let turns = index::turns_path(&self.dir, self.base.place.number);

        let mut file = None;
        let mut added = Vec::new();
        let mut stream = Stream::new(self.base.key, self.file.clone(), 0, self.len);
        let mut moved = || {
            let mut bytes = Vec::new();
            let mut flush = |bytes: &mut Vec<u8>, upto: u64| {
                let open =
                    || OpenOptions::new().write(true).create(true).truncate(false).open(&path);
                let file = match &mut file {
                    Some(file) => file,
                    None => file.insert(open().map_err(at(&path))?),
                };
                file.write_all_at(bytes, upto - bytes.len() as u64).map_err(at(&path))?;
                bytes.clear();
                Ok::<_, StoreError>(())
            };
            while let Some(record) = stream.next().map_err(at(&turns))? {
                if record.place.number <= tail.moved {
                    continue;
                }
                let mut bodies = Vec::new();
                for (word, body) in record.bodies().filter(|_| which == Older::Record) {
                    if tail.bodies.insert(*word) {
                        added.push(*word);
                        record::put_body(&mut bodies, word, body).ok_or(TOO_LONG)?;
                    }
                }
                let kept = match which {
                    Older::History => record.lines_alone(),
                    Older::Record => record.record_alone(&bodies),
                };
                kept.write(&self.base.key, &mut bytes).ok_or(TOO_LONG)?;
                segment.push(kept.place, kept.size());
                if bytes.len() >= MOVE_BYTES {
                    flush(&mut bytes, segment.len)?;
                }
            }
            if !bytes.is_empty() {
                flush(&mut bytes, segment.len)?;
            }
            file.as_ref().map_or(Ok(()), File::sync_data).map_err(at(&path))
        };
        moved().inspect_err(|_| {
            for word in &added {
                tail.bodies.remove(word);
            }
            // What is left of it is cut off when the lease is opened, or written over.
            if let Some(file) = &file {
                let _ = file.set_len(start);
            }
        })?;
        if segment.len == start {
            return Ok(());
        }
        let mut index = lock(&self.index);
        if !begun {
            index.older_mut(which).pop();
        }
        index.older_mut(which).push(segment);
        tail.moved = self.last.number;
        tail.open = true;
        Ok(())
    }
}

impl Base {
    /// Makes it what the lease goes on from.
    fn write_base(&self, dir: &Path, snapshot: &[u8]) -> Result<Option<Start>, StoreError> {
        self.write(&dir.join(base::NAME), snapshot).map(|()| None)
    }

    /// Makes it that, and a place at which a recording may begin.
    fn write_start(&self, dir: &Path, snapshot: &[u8]) -> Result<Start, StoreError> {
        let path = index::start_path(dir, self.place.number);
        self.write(&path, snapshot)?;
        let base = dir.join(base::NAME);
        // Where a file has one name only, it is written twice.
        let linked = files::link_unsynced(&path, &base).or_else(|_| self.write(&base, snapshot));
        linked.inspect_err(|_| {
            let _ = fs::remove_file(&path);
        })?;
        start_of(&path, self.place.number)
    }
}

const TOO_LONG: StoreError = StoreError::Malformed("a turn of more than 4 GiB");

fn start_of(path: &Path, number: u64) -> Result<Start, StoreError> {
    let size = fs::metadata(path).map_err(at(path))?.len();
    Ok(Start { number, size })
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
fn tidy(dir: &Path, turns: &Path, base: u64) -> Result<(), StoreError> {
    for name in files::names(dir)? {
        let path = dir.join(&name);
        let early = name.starts_with("start-") && path > index::start_path(dir, base);
        if name.ends_with(files::FRESH) || name.starts_with("turns-") && path != turns || early {
            files::remove(&path)?;
        }
    }
    Ok(())
}

/// The files of older records of a kind, and how the last of them is gone on with.
fn older(dir: &Path, base: &Base, which: Older) -> Result<(Vec<Segment>, Tail), StoreError> {
    let upto = base.place.number;
    let mut tail = Tail { moved: upto, ..Tail::default() };
    let mut paths = index::older_paths(dir, which)?;
    while let Some(path) = paths.pop() {
        let file = OpenOptions::new().read(true).write(true).open(&path).map_err(at(&path))?;
        let file = Arc::new(file);
        let (segment, last) = index::measure(&base.key, &path, file.clone(), upto, |record| {
            tail.bodies.extend(record.bodies().map(|(word, _)| *word));
        })?;
        if path >= which.path(dir, upto + 1) {
            // Begun for a base that never came.
            files::remove(&path)?;
            continue;
        }
        let mut all = Vec::new();
        for path in &paths {
            all.push(index::glance(&base.key, path)?);
        }
        tail.open = last.is_some_and(|place| place.number == upto);
        if tail.open {
            // Records behind it were copied for a base that never came.
            file.set_len(segment.len).map_err(at(&path))?;
            all.push(segment);
        } else {
            // Damage. The agent goes on; whoever reads there is told.
            all.push(index::glance(&base.key, &path)?);
        }
        return Ok((all, tail));
    }
    Ok((Vec::new(), tail))
}
