use daee_state::{Delta, State};
use daee_transcript::Progress;
use daee_types::{
    ByteSize,
    wire::{Reader, WireError, Writer},
};

/// An agent between two turns: all that another node needs to continue it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is.
    pub state: State,
    /// How far it has come.
    pub progress: Progress,
}

const VERSION: u8 = 1;

impl Snapshot {
    /// An agent that has not run yet, with a quota for its keys, values and files.
    pub fn new(quota: ByteSize) -> Self {
        Self { state: State::new(quota), progress: Progress::default() }
    }

    /// Without memory and globals: for another module to go on with keys and timers.
    pub fn without_machine(mut self) -> Self {
        self.state.apply(Delta::forget_machine());
        self
    }

    /// The bytes that [`Snapshot::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        encode(&self.state, &self.progress)
    }

    /// Reads what [`Snapshot::encode`] wrote. Safe for bytes from a peer: the caller compares
    /// the state's root with the one it trusts.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        if from.byte()? != VERSION {
            return Err(from.wrong("unknown version of a snapshot"));
        }
        let state = State::decode(from.bytes()?)?;
        let progress = Progress::decode(from.bytes()?)?;
        from.finish()?;
        Ok(Self { state, progress })
    }
}

pub(crate) fn encode(state: &State, progress: &Progress) -> Vec<u8> {
    let mut out = Writer::new();
    out.byte(VERSION).bytes(&state.encode()).bytes(&progress.encode());
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_reads_back_and_a_cut_one_does_not() {
        let snapshot = Snapshot::new(ByteSize::mib(1));
        let bytes = snapshot.encode();
        assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
        for end in 0..bytes.len() {
            assert!(Snapshot::decode(&bytes[..end]).is_err(), "{end}");
        }
    }
}
