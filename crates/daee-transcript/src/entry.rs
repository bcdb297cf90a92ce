use std::borrow::Cow;

use daee_types::{
    ArtifactHash, ByteSize, StateRoot, Timestamp, Word,
    wire::{Reader, WireError, Writer},
};

use crate::{Bodies, Frame};

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
        /// The manifest hash of the package; zeros if whoever started it named none.
        manifest: Word,
        /// What it is held to.
        bounds: Bounds,
    },
    /// A turn began.
    Event {
        /// Its number, from 1.
        turn: u64,
        /// The event's time.
        at: Timestamp,
        /// The event as the guest saw it.
        frame: Frame,
    },
    /// An operation with an outside effect is about to act; written durably before it does.
    Intent {
        /// The turn.
        turn: u64,
        /// The call's place in it, from 0.
        call: u32,
        /// The operation's name.
        op: Cow<'static, str>,
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
        op: Cow<'static, str>,
        /// SHA-256 of its input frame.
        input: Word,
        /// What `call` returned: a length, or a negative code.
        code: i32,
        /// The answer, where it came from outside and a replay could not make it again.
        answer: Option<Frame>,
    },
    /// A turn ended.
    End {
        /// The turn.
        turn: u64,
        /// How, as the runtime numbers outcomes; 0 is kept.
        outcome: u8,
        /// Fuel it used.
        fuel: u64,
        /// What is known of an outcome that a replay does not come to, at most [`WHY_BYTES_MAX`] bytes; else
        /// empty.
        why: String,
    },
    /// Between two turns: the effects of turns up to this one have been done and left the state.
    Released {
        /// The last turn whose effects are done.
        upto_turn: u64,
    },
}

/// Longest [`Entry::End::why`], in bytes.
pub const WHY_BYTES_MAX: usize = 1024;

/// The bounds of an agent that decide how its turns end on every machine. How long a turn may take by the clock is
/// not one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Fuel of one turn.
    pub fuel_turn: u64,
    /// Linear memory.
    pub memory_max: ByteSize,
    /// Elements of each table.
    pub table_elements_max: u32,
    /// Bytes of log text in one turn.
    pub log_turn_max: ByteSize,
    /// Bytes of an input or an answer at the door.
    pub door_frame_max: ByteSize,
    /// Operations at the door in one turn.
    pub door_calls_max: u32,
    /// Keys and values of the state together.
    pub quota: ByteSize,
}

impl Bounds {
    /// Writes them in 48 bytes.
    pub fn write(&self, out: &mut Writer) {
        out.u64(self.fuel_turn).u64(self.memory_max.0).u32(self.table_elements_max);
        out.u64(self.log_turn_max.0).u64(self.door_frame_max.0).u32(self.door_calls_max);
        out.u64(self.quota.0);
    }

    /// Reads what [`Bounds::write`] wrote.
    pub fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            fuel_turn: from.u64()?,
            memory_max: ByteSize(from.u64()?),
            table_elements_max: from.u32()?,
            log_turn_max: ByteSize(from.u64()?),
            door_frame_max: ByteSize(from.u64()?),
            door_calls_max: from.u32()?,
            quota: ByteSize(from.u64()?),
        })
    }
}

impl Entry {
    /// The bytes that are chained and kept.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        self.write(&mut out);
        out.finish()
    }

    /// Reads what [`Entry::encode`] wrote, and nothing that is spelled in another way.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        let entry = match from.byte()? {
            1 => Entry::Birth {
                state_root: StateRoot::new(from.word()?),
                turn: from.u64()?,
                runtime_version: from.u32()?,
                artifact_hash: ArtifactHash::new(from.word()?),
                manifest: from.word()?,
                bounds: Bounds::read(&mut from)?,
            },
            2 => Entry::Event {
                turn: from.u64()?,
                at: Timestamp(from.u64()?),
                frame: Frame::read(&mut from)?,
            },
            3 => Entry::Intent {
                turn: from.u64()?,
                call: from.u32()?,
                op: from.text()?.to_owned().into(),
                input: from.word()?,
            },
            4 => Entry::Call {
                turn: from.u64()?,
                call: from.u32()?,
                op: from.text()?.to_owned().into(),
                input: from.word()?,
                code: from.u32()?.cast_signed(),
                answer: match from.byte()? {
                    0 => None,
                    1 => Some(Frame::read(&mut from)?),
                    _ => return Err(from.wrong("a flag is neither 0 nor 1")),
                },
            },
            5 => {
                let (turn, outcome, fuel) = (from.u64()?, from.byte()?, from.u64()?);
                let why = from.text()?.to_owned();
                if why.len() > WHY_BYTES_MAX {
                    return Err(from.wrong("too many words about the end of a turn"));
                }
                Entry::End { turn, outcome, fuel, why }
            }
            6 => Entry::Released { upto_turn: from.u64()? },
            _ => return Err(from.wrong("unknown kind of entry")),
        };
        from.finish()?;
        Ok(entry)
    }

    /// The frame that came from outside with it.
    pub fn given(&self) -> Option<&Frame> {
        match self {
            Entry::Event { frame, .. } => Some(frame),
            Entry::Call { answer, .. } => answer.as_ref(),
            _ => None,
        }
    }

    /// Whether a link of the chain ends with it: a turn's end, or what happens between turns.
    pub fn closes(&self) -> bool {
        matches!(self, Entry::End { .. } | Entry::Released { .. })
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Entry::Birth { state_root, turn, runtime_version, artifact_hash, manifest, bounds } => {
                out.byte(1).word(state_root.as_bytes()).u64(*turn).u32(*runtime_version);
                out.word(artifact_hash.as_bytes()).word(manifest);
                bounds.write(out);
            }
            Entry::Event { turn, at, frame } => frame.write(out.byte(2).u64(*turn).u64(at.0)),
            Entry::Intent { turn, call, op, input } => {
                out.byte(3).u64(*turn).u32(*call).bytes(op.as_bytes()).word(input);
            }
            Entry::Call { turn, call, op, input, code, answer } => {
                out.byte(4).u64(*turn).u32(*call).bytes(op.as_bytes()).word(input);
                out.u32(code.cast_unsigned());
                match answer {
                    Some(answer) => answer.write(out.byte(1)),
                    None => {
                        out.byte(0);
                    }
                }
            }
            Entry::End { turn, outcome, fuel, why } => {
                out.byte(5).u64(*turn).byte(*outcome).u64(*fuel).bytes(why.as_bytes());
            }
            Entry::Released { upto_turn } => {
                out.byte(6).u64(*upto_turn);
            }
        }
    }
}

/// The entries of one turn as they are written, each behind its length, and the bytes that stand beside them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    bytes: Vec<u8>,
    /// What entries hold by hash only.
    pub bodies: Bodies,
}

impl Segment {
    /// Adds an entry; returns its bytes, without their length.
    pub fn push(&mut self, entry: &Entry) -> &[u8] {
        let at = self.bytes.len();
        let mut out = Writer::onto(std::mem::take(&mut self.bytes));
        entry.write(out.u32(0));
        self.bytes = out.finish();
        let len = (self.bytes.len() - at - 4) as u32;
        self.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
        &self.bytes[at + 4..]
    }

    /// The entries so far, each behind its length.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The entries, each behind its length, and what stands beside them.
    pub fn finish(self) -> (Vec<u8>, Bodies) {
        (self.bytes, self.bodies)
    }
}

/// The entries of a transcript one after another: each with its bytes, without their length. Ends behind the first
/// that is malformed.
pub fn entries(transcript: &[u8]) -> Entries<'_> {
    Entries { from: Some(Reader::new(transcript)) }
}

/// What [`entries`] gives.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    from: Option<Reader<'a>>,
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(Entry, &'a [u8]), WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        let from = self.from.as_mut().filter(|from| from.left() > 0)?;
        let read = from.bytes().and_then(|bytes| Ok((Entry::decode(bytes)?, bytes)));
        if read.is_err() {
            self.from = None;
        }
        Some(read)
    }
}
