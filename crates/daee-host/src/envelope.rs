//! A state and the version that made it, as they lie on disk and travel between nodes.
//!
//! On disk a head stands before it, which says what is claimed of the turns before, also where the state is that which a
//! new version begins with.
//!
//! The state's root says whether the state is the right one. The version is the sender's word: a wrong
//! one costs a failed start, for a reactor's memory fits no other module.

use daee_runtime::Snapshot;
use daee_state::Delta;
use daee_transcript::{Bounds, Progress};
use daee_types::{
    ArtifactHash, BodyHash, LogRoot, StateRoot, TranscriptRoot,
    wire::{Reader, WireError, Writer},
};

use crate::node::{Marks, Version};

const FORMAT: u8 = 1;
/// Bytes of a base before the snapshot: marks, bounds and version.
pub(crate) const BASE_HEAD: usize = (8 + 3 * 32 + 8 + 32) + 48 + (1 + 8 + 2 * 32);

/// What stands before a state on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Where the agent had come to.
    pub marks: Marks,
    /// What it was held to from here on.
    pub bounds: Bounds,
    /// What ran from here on.
    pub version: Version,
}

/// Wraps an encoded [`Snapshot`].
pub(crate) fn write(version: &Version, snapshot: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    put(&mut out, version, snapshot);
    out.finish()
}

/// The same behind its head, for this node alone.
pub(crate) fn write_base(head: &Head, snapshot: &[u8]) -> Vec<u8> {
    let Head { marks, bounds, version } = head;
    let mut out = Writer::new();
    out.u64(marks.turn)
        .word(marks.state_root.as_bytes())
        .word(marks.log_root.as_bytes())
        .word(marks.transcript_root.as_bytes())
        .u64(marks.fuel)
        .word(marks.artifact.as_bytes());
    bounds.write(&mut out);
    put(&mut out, version, snapshot);
    out.finish()
}

fn put(out: &mut Writer, version: &Version, snapshot: &[u8]) {
    out.byte(FORMAT)
        .u64(version.number.into())
        .word(version.artifact.as_bytes())
        .word(version.body.as_bytes())
        .bytes(snapshot);
}

/// Reads what [`write`] wrote.
pub(crate) fn read(bytes: &[u8]) -> Result<(Version, Snapshot), WireError> {
    let mut from = Reader::new(bytes);
    let version = version(&mut from)?;
    let snapshot = Snapshot::decode(from.bytes()?)?;
    from.finish()?;
    Ok((version, snapshot))
}

/// Reads the first [`BASE_HEAD`] bytes of what [`write_base`] wrote.
pub(crate) fn read_base_head(bytes: &[u8]) -> Result<Head, WireError> {
    let mut from = Reader::new(bytes);
    let (marks, bounds) = (marks(&mut from)?, Bounds::read(&mut from)?);
    Ok(Head { marks, bounds, version: version(&mut from)? })
}

/// The encoded snapshot of a base.
pub(crate) fn snapshot_of_base(base: &[u8]) -> Result<&[u8], WireError> {
    let mut from = Reader::new(base.get(BASE_HEAD..).unwrap_or_default());
    let snapshot = from.bytes()?;
    from.finish()?;
    Ok(snapshot)
}

fn marks(from: &mut Reader<'_>) -> Result<Marks, WireError> {
    Ok(Marks {
        turn: from.u64()?,
        state_root: StateRoot::new(from.word()?),
        log_root: LogRoot::new(from.word()?),
        transcript_root: TranscriptRoot::new(from.word()?),
        fuel: from.u64()?,
        artifact: ArtifactHash::new(from.word()?),
    })
}

fn version(from: &mut Reader<'_>) -> Result<Version, WireError> {
    if from.byte()? != FORMAT {
        return Err(from.wrong("unknown format of a checkpoint"));
    }
    let number = u32::try_from(from.u64()?).map_err(|_| from.wrong("no such version"))?;
    let artifact = ArtifactHash::new(from.word()?);
    let body = BodyHash::new(from.word()?);
    Ok(Version { number, artifact, body })
}

/// What a snapshot says of itself.
pub(crate) fn marks_of(snapshot: &Snapshot, artifact: ArtifactHash) -> Marks {
    let progress = &snapshot.progress;
    Marks {
        turn: progress.turn,
        state_root: snapshot.state.root(),
        log_root: progress.log.root(),
        transcript_root: progress.transcript.root(),
        fuel: progress.fuel,
        artifact,
    }
}

/// Reads a base and applies every delta that was written after it. The head is of the base.
pub(crate) fn rebuild(
    base: &[u8],
    deltas: &[(Vec<u8>, Vec<u8>)],
) -> Result<(Head, Snapshot), WireError> {
    let head = read_base_head(base)?;
    let mut snapshot = Snapshot::decode(snapshot_of_base(base)?)?;
    for (delta, progress) in deltas {
        snapshot.state.apply(Delta::decode(delta)?);
        snapshot.progress = Progress::decode(progress)?;
    }
    Ok((head, snapshot))
}

#[cfg(test)]
mod tests {
    use daee_types::ByteSize;

    use super::*;

    #[test]
    fn a_checkpoint_reads_back_and_a_cut_one_does_not() {
        let version = Version {
            number: 3,
            artifact: ArtifactHash::new([1; 32]),
            body: BodyHash::new([2; 32]),
        };
        let snapshot = Snapshot::new(ByteSize::mib(1));
        let bytes = write(&version, &snapshot.encode());
        assert_eq!(read(&bytes), Ok((version, snapshot.clone())));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
        let marks = marks_of(&snapshot, version.artifact);
        let bounds = Bounds { fuel_turn: 7, quota: ByteSize(9), ..Bounds::default() };
        let head = Head { marks, bounds, version };
        let base = write_base(&head, &snapshot.encode());
        assert_eq!(read_base_head(&base[..BASE_HEAD]), Ok(head));
        assert_eq!(rebuild(&base, &[]), Ok((head, snapshot)));
        for end in 0..base.len() {
            assert!(rebuild(&base[..end], &[]).is_err(), "{end}");
        }
    }
}
