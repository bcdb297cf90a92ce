use daee_types::{
    ArtifactHash, StateRoot, Timestamp, TranscriptRoot, Word, keccak256,
    wire::{Reader, WireError, Writer},
};

/// One thing that went through the door, or framed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A cell came to be. A resident's replay starts at its last birth (DESIGN 5).
    Birth {
        /// The state it started on.
        state_root: StateRoot,
        /// Turns handled before.
        turn: u64,
        /// The runtime.
        runtime_version: u32,
        /// The module.
        artifact_hash: ArtifactHash,
    },
    /// A turn began.
    Event {
        /// Its number, from 1.
        turn: u64,
        /// The event's time.
        at: Timestamp,
        /// The event as the guest saw it: head and body.
        frame: Vec<u8>,
    },
    /// An operation with an outside effect is about to act; written durably before it does.
    Intent {
        /// The turn.
        turn: u64,
        /// The call's place in it, from 0.
        call: u32,
        /// The operation's name.
        op: String,
        /// SHA-256 of its input frame.
        input: Word,
    },
    /// An operation was answered.
    Call {
        /// The turn.
        turn: u64,
        /// The call's place in it, from 0.
        call: u32,
        /// The operation's name.
        op: String,
        /// SHA-256 of its input frame.
        input: Word,
        /// What `call` returned: a length, or a negative code.
        code: i32,
        /// The answer frame, where it came from outside and a replay could not make it again.
        answer: Option<Vec<u8>>,
    },
    /// A turn ended.
    End {
        /// The turn.
        turn: u64,
        /// How, as the runtime numbers outcomes; 0 is kept.
        outcome: u8,
        /// Fuel it used.
        fuel: u64,
    },
}

impl Entry {
    /// The bytes that are chained and kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        match self {
            Entry::Birth { state_root, turn, runtime_version, artifact_hash } => out
                .byte(1)
                .word(state_root.as_bytes())
                .u64(*turn)
                .u32(*runtime_version)
                .word(artifact_hash.as_bytes()),
            Entry::Event { turn, at, frame } => out.byte(2).u64(*turn).u64(at.0).bytes(frame),
            Entry::Intent { turn, call, op, input } => {
                out.byte(3).u64(*turn).u32(*call).bytes(op.as_bytes()).word(input)
            }
            Entry::Call { turn, call, op, input, code, answer } => {
                out.byte(4).u64(*turn).u32(*call).bytes(op.as_bytes()).word(input);
                out.u32(code.cast_unsigned());
                match answer {
                    Some(answer) => out.byte(1).bytes(answer),
                    None => out.byte(0),
                }
            }
            Entry::End { turn, outcome, fuel } => out.byte(5).u64(*turn).byte(*outcome).u64(*fuel),
        };
        out.finish()
    }

    /// Reads what [`Entry::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        let entry = match from.byte()? {
            1 => Entry::Birth {
                state_root: StateRoot::new(from.word()?),
                turn: from.u64()?,
                runtime_version: from.u32()?,
                artifact_hash: ArtifactHash::new(from.word()?),
            },
            2 => Entry::Event {
                turn: from.u64()?,
                at: Timestamp(from.u64()?),
                frame: from.bytes()?.to_vec(),
            },
            3 => Entry::Intent {
                turn: from.u64()?,
                call: from.u32()?,
                op: from.text()?.to_owned(),
                input: from.word()?,
            },
            4 => Entry::Call {
                turn: from.u64()?,
                call: from.u32()?,
                op: from.text()?.to_owned(),
                input: from.word()?,
                code: from.u32()?.cast_signed(),
                answer: match from.byte()? {
                    0 => None,
                    1 => Some(from.bytes()?.to_vec()),
                    _ => return Err(from.wrong("a flag is neither 0 nor 1")),
                },
            },
            5 => Entry::End { turn: from.u64()?, outcome: from.byte()?, fuel: from.u64()? },
            _ => return Err(from.wrong("unknown kind of entry")),
        };
        from.finish()?;
        Ok(entry)
    }
}

/// The head of a chain of entries: `root' = keccak(root, keccak(entry))`, from the zero word.
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

    /// Adds an entry; returns its bytes, length first, as a transcript file holds them.
    pub fn append(&mut self, entry: &Entry) -> Vec<u8> {
        let bytes = entry.encode();
        self.link(&bytes);
        let mut out = Writer::new();
        out.bytes(&bytes);
        out.finish()
    }

    /// The head.
    pub fn root(&self) -> TranscriptRoot {
        self.root
    }

    /// Entries so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True before the first entry.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads entries behind this head, moving it along; an error names the first that is malformed.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Vec<Entry>, WireError> {
        let mut from = Reader::new(bytes);
        let mut entries = Vec::new();
        while from.left() > 0 {
            let bytes = from.bytes()?;
            entries.push(Entry::decode(bytes)?);
            self.link(bytes);
        }
        Ok(entries)
    }

    fn link(&mut self, entry: &[u8]) {
        let mut input = [0; 64];
        input[..32].copy_from_slice(self.root.as_bytes());
        input[32..].copy_from_slice(&keccak256(entry));
        self.root = TranscriptRoot::new(keccak256(input));
        self.len += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entries() -> Vec<Entry> {
        vec![
            Entry::Birth {
                state_root: StateRoot::new([1; 32]),
                turn: 0,
                runtime_version: 1,
                artifact_hash: ArtifactHash::new([2; 32]),
            },
            Entry::Event { turn: 1, at: Timestamp(5), frame: b"frame".to_vec() },
            Entry::Intent { turn: 1, call: 0, op: "http.fetch".into(), input: [3; 32] },
            Entry::Call {
                turn: 1,
                call: 0,
                op: "http.fetch".into(),
                input: [3; 32],
                code: -6,
                answer: Some(b"{}".to_vec()),
            },
            Entry::End { turn: 1, outcome: 0, fuel: 99 },
        ]
    }

    #[test]
    fn a_chain_follows_to_the_same_head() {
        let mut written = Transcript::default();
        let bytes: Vec<u8> = entries().iter().flat_map(|entry| written.append(entry)).collect();
        let mut read = Transcript::default();
        assert_eq!(read.follow(&bytes).unwrap(), entries());
        assert_eq!(read, written);
    }

    #[test]
    fn a_changed_moved_or_missing_entry_changes_the_head() {
        let head = |entries: &[Entry]| {
            let mut transcript = Transcript::default();
            entries.iter().for_each(|entry| {
                transcript.append(entry);
            });
            transcript.root()
        };
        let good = head(&entries());
        let mut changed = entries();
        changed[4] = Entry::End { turn: 1, outcome: 0, fuel: 100 };
        let mut moved = entries();
        moved.swap(1, 2);
        for bad in [changed, moved, entries()[..4].to_vec(), entries()[1..].to_vec()] {
            assert_ne!(head(&bad), good);
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_are_an_error_or_an_entry(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(entry) = Entry::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes);
            }
        }
    }
}
