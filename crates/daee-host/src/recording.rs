//! Recordings of agents that this node runs or ran: put together when they are asked for, kept in files for a while,
//! and given out part by part, so that one that is cut off can be gone on with.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use daee_lifecycle::{LifecycleError, RECORDING_PART_MAX, RecordingInfo, RecordingQuery};
use daee_runtime::{RUNTIME_VERSION, Recording};
use daee_store::{AgentStore, LogReader, StoreError};
use daee_transcript::{Bodies, Body, entries};
use daee_types::{DeploymentId, EpochId, ManifestHash, Word, sha256};
use tokio::sync::Semaphore;

use crate::{
    agents::Standing,
    envelope::{self, Head},
    host::Shared,
    node::Marks,
    worker::{blocking, blocking_in_turn},
};

/// What recordings may take on this disk. The oldest is dropped first.
const KEPT_BYTES_MAX: u64 = 2 << 30;
const EXTENSION: &str = "run";

/// The files, and whose turn it is to make one: each is held in memory until it is on disk.
pub(crate) struct Recordings {
    dir: PathBuf,
    making: Arc<Semaphore>,
}

/// A place in an agent's past.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The last record before it.
    record: u64,
    head: Head,
}

impl Recordings {
    /// Below this directory; those of before are gone.
    pub fn open(dir: PathBuf) -> io::Result<Self> {
        match fs::remove_dir_all(&dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&dir)?,
        }
        Ok(Self { dir, making: Arc::new(Semaphore::new(1)) })
    }

    /// Puts one together.
    pub async fn make(
        &self,
        shared: &Arc<Shared>,
        id: DeploymentId,
        query: RecordingQuery,
    ) -> Result<RecordingInfo, LifecycleError> {
        let running = match shared.agent(id) {
            Some(agent) => {
                let standing = agent.look_soon().await;
                let busy = || LifecycleError::Outside("the agent has too much to do now".into());
                Some((agent.epoch, agent.logs.clone(), standing.ok_or_else(busy)?))
            }
            None => None,
        };
        let turn = self.making.clone().acquire_owned().await;
        let turn = turn.map_err(|error| LifecycleError::Node(error.to_string()))?;
        let (store, dir) = (shared.store.clone(), self.dir.clone());
        let made = blocking_in_turn(turn, move || {
            let (epoch, reader, now) = match running {
                Some(running) => running,
                None => {
                    let lease = store.newest_agent_dir(id)?;
                    lease
                        .map(|dir| of_the_past(&dir))
                        .transpose()?
                        .flatten()
                        .ok_or(LifecycleError::Elsewhere { deployment: id, node: None })?
                }
            };
            let info = make(&dir, id, epoch, &reader, now, query)?;
            tidy(&dir, &info.sha256);
            Ok::<_, Failed>(info)
        });
        made.await.map_err(LifecycleError::Node)?.map_err(|Failed(error)| error)
    }

    /// Bytes of one from an offset on.
    pub async fn part(
        &self,
        id: DeploymentId,
        sha256: &Word,
        offset: u64,
    ) -> Result<Vec<u8>, LifecycleError> {
        let path = path(&self.dir, id, sha256);
        let read = blocking(move || {
            let mut file = fs::File::open(path)?;
            file.seek(SeekFrom::Start(offset))?;
            let mut part = Vec::new();
            file.take(RECORDING_PART_MAX.into()).read_to_end(&mut part)?;
            Ok(part)
        });
        read.await.map_err(LifecycleError::Node)?.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => LifecycleError::NotNow(
                "that recording is not kept any more: ask for another".to_owned(),
            ),
            _ => LifecycleError::Node(error.to_string()),
        })
    }
}

/// Where a lease stood that nobody writes any more.
pub(crate) fn of_the_past(dir: &Path) -> Result<Option<(EpochId, LogReader, Standing)>, Failed> {
    let name = dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let epoch: Option<EpochId> = name.parse().ok();
    let (Some(epoch), Some(opened)) = (epoch, AgentStore::open(dir)?) else { return Ok(None) };
    let rebuilt = envelope::rebuild(&opened.snapshot, &opened.deltas);
    let (head, snapshot) = rebuilt.map_err(|error| unreadable(&error))?;
    let standing = Standing {
        head: Head { marks: envelope::marks_of(&snapshot, head.version.artifact), ..head },
        record: opened.store.last(),
    };
    Ok(Some((epoch, opened.reader, standing)))
}

pub(crate) fn make(
    dir: &Path,
    id: DeploymentId,
    epoch: EpochId,
    reader: &LogReader,
    now: Standing,
    query: RecordingQuery,
) -> Result<RecordingInfo, Failed> {
    let mut starts = Vec::new();
    for record in reader.starts() {
        // One that was dropped meanwhile is none.
        if let Some(head) = reader.start(record, Some(envelope::BASE_HEAD))? {
            let head = envelope::read_base_head(&head).map_err(|error| unreadable(&error))?;
            starts.push(Place { record, head });
        }
    }
    let now = Place { record: now.record, head: now.head };
    let (begin, end) = choose(&starts, now, query).map_err(LifecycleError::NotNow)?;
    let gone = || StoreError::Dropped { dir: PathBuf::new() };
    let base = reader.start(begin.record, None)?.ok_or_else(gone)?;
    let snapshot = envelope::snapshot_of_base(&base).map_err(|error| unreadable(&error))?;
    let recorded = reader.recorded(begin.record, end.record)?;
    let version = begin.head.version;
    let manifest = ManifestHash::of(&version.artifact, &version.body);
    let recording = Recording {
        deployment: id,
        epoch,
        manifest: *manifest.as_bytes(),
        runtime_version: RUNTIME_VERSION,
        limits: begin.head.bounds,
        snapshot: snapshot.to_vec(),
        bodies: needed(&recorded.transcript, recorded.bodies)?,
        transcript: recorded.transcript,
        claim: claim(&end.head.marks),
    };
    drop(base);
    let bytes = recording.encode();
    let sha256 = sha256(&bytes);
    let io = |error: io::Error| LifecycleError::Node(format!("the recording is not kept: {error}"));
    keep(dir, &path(dir, id, &sha256), &bytes).map_err(io)?;
    Ok(RecordingInfo {
        deployment: id,
        epoch,
        version: version.number,
        artifact_hash: version.artifact,
        manifest_hash: manifest,
        runtime_version: RUNTIME_VERSION,
        from: begin.head.marks.turn + 1,
        to: end.head.marks.turn,
        state_root: end.head.marks.state_root,
        bytes: bytes.len() as u64,
        sha256,
    })
}

/// Where a recording begins and ends. `starts` are in order, and `now` is behind them; from one to the next the
/// version of the first ran.
fn choose(starts: &[Place], now: Place, query: RecordingQuery) -> Result<(Place, Place), String> {
    if let (Some(from), Some(to)) = (query.from, query.to)
        && from > to
    {
        return Err(format!("there is no turn from {from} to {to}"));
    }
    let turn = |place: &Place| place.head.marks.turn;
    let number = |place: &Place| place.head.version.number;
    let reached = |place: &&Place| query.to.is_some_and(|to| turn(place) >= to);
    let mut end = starts.iter().chain([&now]).find(reached).copied().unwrap_or(now);
    let before = |place: &&Place| place.record < end.record;
    let known: Vec<Place> = starts.iter().take_while(before).copied().collect();
    let (Some(first), Some(last)) = (known.first(), known.last()) else {
        return Err(match starts.first() {
            Some(first) if query.to.is_some() => {
                format!("the record begins behind turn {} now", turn(first))
            }
            _ => "nothing ran since the record begins".to_owned(),
        });
    };
    let begin = match query.from {
        Some(from) => {
            let covers = |place: &&Place| turn(place) < from.max(1);
            *known.iter().rfind(covers).ok_or_else(|| {
                format!("the record begins behind turn {} now: ask from there", turn(first))
            })?
        }
        None => {
            let same = known.iter().rev().take_while(|place| number(place) == number(last));
            *same.last().unwrap_or(last)
        }
    };
    // It is replayed with one package.
    let another = |place: &&Place| place.record > begin.record && number(place) != number(&begin);
    if let Some(next) = known.iter().find(another) {
        end = *next;
    }
    Ok((begin, end))
}

/// Those bodies that the transcript names.
fn needed(
    transcript: &[u8],
    bodies: impl IntoIterator<Item = (Word, Vec<u8>)>,
) -> Result<Bodies, Failed> {
    let mut named = HashSet::new();
    let mut all: HashMap<Word, Vec<u8>> = bodies.into_iter().collect();
    for entry in entries(transcript) {
        let (entry, _) = entry.map_err(|error| unreadable(&error))?;
        let parts = entry.given().into_iter().flat_map(|frame| [&frame.head, &frame.body]);
        named.extend(parts.filter_map(|part| match part {
            Body::Beside { sha256, .. } => Some(*sha256),
            Body::Here(_) => None,
        }));
    }
    // What is missing is found by whoever replays it, who must not take our word anyway.
    let mut found: Bodies =
        named.into_iter().filter_map(|word| Some((word, all.remove(&word)?))).collect();
    found.sort_unstable_by_key(|(word, _)| *word);
    Ok(found)
}

pub(crate) fn path(dir: &Path, id: DeploymentId, sha256: &Word) -> PathBuf {
    dir.join(format!("{id}-{}.{EXTENSION}", hex(sha256)))
}

/// Puts a file there whole or not at all, through one that nobody else writes.
fn keep(dir: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let fresh = dir.join(format!("fresh-{}-{count}", process::id()));
    let kept = fs::write(&fresh, bytes).and_then(|()| fs::rename(&fresh, path));
    if kept.is_err() {
        // One that stays goes when room is made, or when the node starts.
        let _ = fs::remove_file(&fresh);
    }
    kept
}

/// Drops the oldest files over the bound, but for this one.
fn tidy(dir: &Path, keep: &Word) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut files: Vec<_> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let meta = entry.metadata().ok()?;
            Some((meta.modified().ok()?, meta.len(), entry.path()))
        })
        .collect();
    files.sort();
    let mut bytes: u64 = files.iter().map(|(_, len, _)| len).sum();
    let keep = hex(keep);
    for (_, len, path) in files {
        if bytes <= KEPT_BYTES_MAX || path.to_string_lossy().contains(&keep) {
            continue;
        }
        // One that stays is dropped the next time, or when the node starts.
        let _ = fs::remove_file(path);
        bytes -= len;
    }
}

fn claim(marks: &Marks) -> daee_runtime::Marks {
    daee_runtime::Marks {
        turn: marks.turn,
        state_root: marks.state_root,
        log_root: marks.log_root,
        transcript_root: marks.transcript_root,
        fuel: marks.fuel,
    }
}

fn hex(word: &Word) -> String {
    word.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[derive(Debug)]
pub(crate) struct Failed(pub LifecycleError);

impl From<LifecycleError> for Failed {
    fn from(error: LifecycleError) -> Self {
        Self(error)
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self(match error {
            StoreError::Dropped { .. } => LifecycleError::NotNow(
                "the beginning was dropped meanwhile to make room: ask again, from later"
                    .to_owned(),
            ),
            error => LifecycleError::Node(error.to_string()),
        })
    }
}

fn unreadable(error: &dyn std::fmt::Display) -> Failed {
    Failed(LifecycleError::Node(format!("what was kept cannot be read: {error}")))
}

#[cfg(test)]
mod tests {
    use daee_transcript::Bounds;
    use daee_types::{ArtifactHash, BodyHash, LogRoot, StateRoot, TranscriptRoot};

    use super::*;
    use crate::node::Version;

    /// Behind so many records and turns, from where on a version ran.
    fn place(at: u64, number: u32) -> Place {
        let marks = Marks {
            turn: at,
            state_root: StateRoot::ZERO,
            log_root: LogRoot::ZERO,
            transcript_root: TranscriptRoot::ZERO,
            fuel: 0,
            artifact: ArtifactHash::ZERO,
        };
        let version = Version { number, artifact: ArtifactHash::ZERO, body: BodyHash::ZERO };
        Place { record: at, head: Head { marks, bounds: Bounds::default(), version } }
    }

    fn check(
        from: impl Into<Option<u64>>,
        to: impl Into<Option<u64>>,
        expected: Option<(u64, u64)>,
    ) {
        // Version 1 from turn 11 to 30, version 2 to 45; it goes on to 50.
        let starts = [place(10, 1), place(20, 1), place(30, 2), place(31, 2), place(40, 2)];
        let query = RecordingQuery { from: from.into(), to: to.into() };
        let found = choose(&starts, place(50, 2), query);
        let found = found.map(|(begin, end)| (begin.record, end.record));
        assert_eq!(found.clone().ok(), expected, "{query:?}: {found:?}");
    }

    #[test]
    fn a_recording_has_the_turns_that_were_asked_for_and_one_version() {
        check(None, None, Some((30, 50)));
        check(41, None, Some((40, 50)));
        check(40, None, Some((31, 50)));
        check(50, None, Some((40, 50)));
        check(99, None, Some((40, 50)));
        check(31, None, Some((30, 50)));
        check(31, 31, Some((30, 31)));
        check(32, 40, Some((31, 40)));
        check(32, 41, Some((31, 50)));
        check(None, 35, Some((30, 40)));
        // The version before ends where the next begins.
        check(30, None, Some((20, 30)));
        check(11, 50, Some((10, 30)));
        check(None, 25, Some((10, 30)));
        check(None, 20, Some((10, 20)));
        check(None, 12, Some((10, 20)));
    }

    #[test]
    fn what_is_not_kept_is_not_made_up() {
        check(10, None, None);
        check(0, None, None);
        check(None, 10, None);
        check(None, 3, None);
        check(41, 20, None);
        let nothing = choose(&[place(5, 1)], place(5, 1), RecordingQuery::default());
        assert!(nothing.unwrap_err().contains("nothing ran"));
    }

    #[test]
    fn a_recording_is_kept_under_its_own_name_however_many_are_made_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::thread::scope(|scope| {
            for own in 0..8_u8 {
                scope.spawn(move || {
                    for _ in 0..20 {
                        keep(dir, &dir.join(own.to_string()), &[own; 10_000]).unwrap();
                    }
                });
            }
        });
        for own in 0..8_u8 {
            assert_eq!(fs::read(dir.join(own.to_string())).unwrap(), [own; 10_000]);
        }
        fs::create_dir(dir.join("taken")).unwrap();
        assert!(keep(dir, &dir.join("taken"), b"x").is_err());
        assert_eq!(fs::read_dir(dir).unwrap().count(), 9, "what failed is gone");
        drop(Recordings::open(dir.to_owned()).unwrap());
        assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "and so is what was there before");
    }
}
