//! A state and the version that made it, as they lie on disk and travel between nodes.
//!
//! The state's root says whether the state is the right one. The version is the sender's word: a wrong
//! one costs a failed start, for a reactor's memory fits no other module.

use daee_runtime::Snapshot;
use daee_state::Delta;
use daee_transcript::Progress;
use daee_types::{
    ArtifactHash, BodyHash,
    wire::{Reader, WireError, Writer},
};

use crate::node::Version;

const FORMAT: u8 = 1;

/// Wraps an encoded [`Snapshot`].
pub(crate) fn write(version: &Version, snapshot: &[u8]) -> Vec<u8> {
    let mut out = Writer::new();
    out.byte(FORMAT)
        .u64(version.number.into())
        .word(version.artifact.as_bytes())
        .word(version.body.as_bytes())
        .bytes(snapshot);
    out.finish()
}

/// Reads what [`write`] wrote.
pub(crate) fn read(bytes: &[u8]) -> Result<(Version, Snapshot), WireError> {
    let mut from = Reader::new(bytes);
    if from.byte()? != FORMAT {
        return Err(from.wrong("unknown format of a checkpoint"));
    }
    let number = u32::try_from(from.u64()?).map_err(|_| from.wrong("no such version"))?;
    let artifact = ArtifactHash::new(from.word()?);
    let body = BodyHash::new(from.word()?);
    let snapshot = Snapshot::decode(from.bytes()?)?;
    from.finish()?;
    Ok((Version { number, artifact, body }, snapshot))
}

/// Reads a base and applies every delta that was written after it.
pub(crate) fn rebuild(
    base: &[u8],
    deltas: &[(Vec<u8>, Vec<u8>)],
) -> Result<(Version, Snapshot), WireError> {
    let (version, mut snapshot) = read(base)?;
    for (delta, progress) in deltas {
        snapshot.state.apply(Delta::decode(delta)?);
        snapshot.progress = Progress::decode(progress)?;
    }
    Ok((version, snapshot))
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
        assert_eq!(read(&bytes), Ok((version, snapshot)));
        for end in 0..bytes.len() {
            assert!(read(&bytes[..end]).is_err(), "{end}");
        }
    }
}
