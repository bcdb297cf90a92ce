use daee_types::{
    TranscriptRoot, Word, keccak256, sha256,
    wire::{Reader, WireError},
};

use crate::{Entry, entries};

/// The head of a chain of turns: `root' = keccak(root, SHA-256(entries))`, from the zero word. The entries of one turn, or
/// what happens between two, are one link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transcript {
    root: TranscriptRoot,
    len: u64,
}

impl Transcript {
    /// A chain that stands at this head.
    pub fn resume(root: TranscriptRoot, len: u64) -> Self {
        Self { root, len }
    }

    /// Adds the entries of one turn, each behind its length.
    pub fn link(&mut self, segment: &[u8]) {
        let mut input = [0; 64];
        input[..32].copy_from_slice(self.root.as_bytes());
        input[32..].copy_from_slice(&sha256(segment));
        let root: Word = keccak256(input);
        self.root = TranscriptRoot::new(root);
        self.len += 1;
    }

    /// The head.
    pub fn root(&self) -> TranscriptRoot {
        self.root
    }

    /// Links so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True before the first link.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads whole turns behind this head, moving it along.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Vec<Entry>, WireError> {
        let mut read = Vec::new();
        let (mut begun, mut at) = (0, 0);
        for entry in entries(bytes) {
            let (entry, raw) = entry?;
            at += 4 + raw.len();
            if entry.closes() {
                self.link(&bytes[begun..at]);
                begun = at;
            }
            read.push(entry);
        }
        match begun == at {
            true => Ok(read),
            false => Err(Reader::new(bytes).wrong("the last turn has no end")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use daee_types::{ArtifactHash, StateRoot, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::{Bounds, Frame, Segment};

    const FETCH: Cow<'static, str> = Cow::Borrowed("http.fetch");

    fn turn() -> Vec<Entry> {
        vec![
            Entry::Birth {
                state_root: StateRoot::new([1; 32]),
                turn: 0,
                runtime_version: 1,
                artifact_hash: ArtifactHash::new([2; 32]),
                manifest: [4; 32],
                bounds: Bounds { fuel_turn: 7, ..Bounds::default() },
            },
            Entry::Event {
                turn: 1,
                at: Timestamp(5),
                frame: Frame::of(b"\x02\0\0\0{}frame", &mut Vec::new()),
            },
            Entry::Intent { turn: 1, call: 0, op: FETCH, input: [3; 32] },
            Entry::Call {
                turn: 1,
                call: 0,
                op: FETCH,
                input: [3; 32],
                code: -6,
                answer: Some(Frame::of(&[9; 3000], &mut Vec::new())),
            },
            Entry::End { turn: 1, outcome: 8, fuel: 99, why: "it was shot".into() },
            Entry::Released { upto_turn: 1 },
        ]
    }

    fn written(entries: &[Entry]) -> Vec<u8> {
        let mut segment = Segment::default();
        for entry in entries {
            assert_eq!(segment.push(entry), entry.encode());
        }
        segment.finish().0
    }

    #[test]
    fn a_chain_follows_to_the_same_head() {
        let bytes = written(&turn());
        let mut read = Transcript::default();
        assert_eq!(read.follow(&bytes).unwrap(), turn());
        let mut linked = Transcript::default();
        linked.link(&written(&turn()[..5]));
        linked.link(&written(&turn()[5..]));
        assert_eq!((read, read.len()), (linked, 2));
    }

    #[test]
    fn a_changed_moved_or_missing_entry_changes_the_head() {
        let head = |entries: &[Entry]| {
            let mut transcript = Transcript::default();
            transcript.follow(&written(entries)).map(|_| transcript.root())
        };
        let good = head(&turn()).unwrap();
        let mut changed = turn();
        changed[4] = Entry::End { turn: 1, outcome: 8, fuel: 100, why: "it was shot".into() };
        let mut moved = turn();
        moved.swap(1, 2);
        for bad in [changed, moved, turn()[..5].to_vec(), turn()[1..].to_vec()] {
            assert_ne!(head(&bad).unwrap(), good);
        }
        assert!(head(&turn()[..4]).is_err());
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_an_entry(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes);
            }
        }

        #[test]
        fn a_bent_entry_is_an_error_or_another_entry(
            which in 0..6_usize, at in any::<prop::sample::Index>(), bend in 1..=255_u8,
        ) {
            let entry = &turn()[which];
            let mut bytes = entry.encode();
            let at = at.index(bytes.len());
            bytes[at] ^= bend;
            if let Ok(other) = Entry::decode(&bytes) {
                prop_assert_ne!(&other, entry);
                prop_assert_eq!(other.encode(), bytes);
            }
        }
    }
}
