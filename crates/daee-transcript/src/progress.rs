use daee_types::{
    TranscriptRoot,
    wire::{Reader, WireError, Writer},
};

use crate::{Log, Transcript};

/// How far a deployment has come, beside its state: what moves with the agent so that turns, log and
/// transcript go on where they stood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Turns handled, rolled-back ones included.
    pub turn: u64,
    /// Fuel used in the deployment's life.
    pub fuel: u64,
    /// Head of the transcript.
    pub transcript: Transcript,
    /// Peaks of the log.
    pub log: Log,
}

impl Progress {
    /// The bytes that [`Progress::decode`] reads.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.byte(1).u64(self.turn).u64(self.fuel);
        out.word(self.transcript.root().as_bytes()).u64(self.transcript.len());
        self.log.write(&mut out);
        out.finish()
    }

    /// Reads what [`Progress::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        if from.byte()? != 1 {
            return Err(from.wrong("unknown version of a progress"));
        }
        let (turn, fuel) = (from.u64()?, from.u64()?);
        let root = TranscriptRoot::new(from.word()?);
        let transcript = Transcript::resume(root, from.u64()?);
        let log = Log::read(&mut from)?;
        // Nobody comes so far, and whoever counts on must not come to the end of the numbers.
        if [turn, transcript.len(), log.len()].iter().any(|count| *count > u64::MAX / 2) {
            return Err(from.wrong("more turns or lines than there can be"));
        }
        from.finish()?;
        Ok(Self { turn, fuel, transcript, log })
    }
}

#[cfg(test)]
mod tests {
    use daee_types::Timestamp;

    use super::*;
    use crate::Level;

    #[test]
    fn a_progress_goes_on_where_it_stood() {
        let mut here = Progress { turn: 3, fuel: 7, ..Progress::default() };
        for n in 0..5 {
            here.log.append(Timestamp(n), n, Level::Warn, "line");
            here.transcript.link(&[n as u8]);
        }
        let mut there = Progress::decode(&here.encode()).unwrap();
        assert_eq!(there, here);
        here.log.append(Timestamp(9), 9, Level::Info, "next");
        there.log.append(Timestamp(9), 9, Level::Info, "next");
        assert_eq!(here.log.root(), there.log.root());
    }

    #[test]
    fn peaks_that_do_not_fit_the_length_are_refused() {
        let mut progress = Progress::default();
        progress.log.append(Timestamp(0), 0, Level::Info, "");
        let mut bytes = progress.encode();
        bytes[57] = 3; // the length of the log, which then wants two peaks
        assert!(Progress::decode(&bytes).is_err());
    }

    #[test]
    fn counts_that_cannot_be_counted_on_are_refused() {
        let endless = Progress { turn: u64::MAX, ..Progress::default() };
        assert!(Progress::decode(&endless.encode()).is_err());
        let root = TranscriptRoot::ZERO;
        let transcript = Transcript::resume(root, u64::MAX);
        assert!(
            Progress::decode(&Progress { transcript, ..Progress::default() }.encode()).is_err()
        );
        let far = Progress { turn: u64::MAX / 2, fuel: u64::MAX, ..Progress::default() };
        assert_eq!(Progress::decode(&far.encode()), Ok(far));
    }
}
