//! What supervisor and cell say to each other: messages of `u32 length || u8 kind || payload` on one
//! stream socket. The supervisor takes every byte of a cell for an attack: lengths are capped
//! before anything is allocated, and what does not parse ends the cell.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use daee_artifact::RunStyle;
use daee_state::{PAGE_BYTES, Page};
use daee_types::{
    ByteSize,
    wire::{Reader, WireError, Writer},
};

use crate::Limits;

/// Pages that travel in one message: 1 MiB.
pub(crate) const PAGES_BATCH: usize = 256;
/// What a message holds beside a frame or a batch of pages.
const MESSAGE_EXTRA_BYTES: usize = 64 << 10;
/// Longest operation name. The longest there is has 14 bytes.
pub(crate) const OP_BYTES_MAX: usize = 64;
/// How long a cell may take to read one message.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Longest words for a trap.
const WHAT_BYTES_MAX: usize = 1024;
/// Most globals of a module, 16 bytes each.
pub(crate) const GLOBALS_BYTES_MAX: usize = 16 * 10_000;

/// What a cell has to know before it can load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) style: RunStyle,
    pub(crate) limits: Limits,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) args: Vec<String>,
    /// A reactor's memory and globals follow, in `Pages` and this many pages in all.
    pub(crate) image: Option<(u32, Vec<u8>)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToCell {
    Birth(Box<Birth>),
    /// Part of the image.
    Pages(Vec<(u32, Page)>),
    /// The image is complete: load the code and get ready.
    Load,
    /// Begin a turn.
    Turn,
    /// To a call.
    Answer {
        code: i32,
        frame: Vec<u8>,
    },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FromCell {
    /// Jailed, as far as these bits say.
    Jailed(u32),
    /// Loaded.
    Ready,
    /// It will not load; the words say why.
    Refused { developer: bool, why: String },
    /// An operation at the door.
    Call { fuel: u64, op: String, input: Vec<u8> },
    /// Pages that the turn changed.
    Pages(Vec<(u32, Page)>),
    /// The turn is over. Memory and globals are told of by a reactor that returned zero.
    Ended { fuel: u64, how: Ended, machine: Option<(u32, Vec<u8>)> },
}

/// How a turn ended, as the cell saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Returned(i32),
    Trap(String),
    Fuel,
    Memory,
    Table,
    Stack,
    Exited(i32),
}

impl ToCell {
    pub(crate) fn encode(&self) -> Vec<u8> {
        message(|out| match self {
            ToCell::Birth(birth) => {
                out.byte(1).byte(match birth.style {
                    RunStyle::Reactor => 0,
                    RunStyle::Resident => 1,
                    RunStyle::PerEvent => 2,
                });
                let limits = &birth.limits;
                out.u64(limits.fuel_turn).u64(limits.wall_turn_millis).u64(limits.memory_max.0);
                out.u32(limits.table_elements_max).u64(limits.log_turn_max.0);
                out.u64(limits.door_frame_max.0).u32(limits.door_calls_max);
                out.u32(birth.env.len() as u32);
                for (key, value) in &birth.env {
                    out.bytes(key.as_bytes()).bytes(value.as_bytes());
                }
                out.u32(birth.args.len() as u32);
                for arg in &birth.args {
                    out.bytes(arg.as_bytes());
                }
                write_machine(birth.image.as_ref(), out);
            }
            ToCell::Pages(pages) => write_pages(pages, out.byte(2)),
            ToCell::Load => {
                out.byte(3);
            }
            ToCell::Turn => {
                out.byte(4);
            }
            ToCell::Answer { code, frame } => {
                out.byte(5).u32(code.cast_unsigned()).raw(frame);
            }
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        let told = match from.byte()? {
            1 => {
                let style = match from.byte()? {
                    0 => RunStyle::Reactor,
                    1 => RunStyle::Resident,
                    2 => RunStyle::PerEvent,
                    _ => return Err(from.wrong("unknown style")),
                };
                let limits = Limits {
                    fuel_turn: from.u64()?,
                    wall_turn_millis: from.u64()?,
                    memory_max: ByteSize(from.u64()?),
                    table_elements_max: from.u32()?,
                    log_turn_max: ByteSize(from.u64()?),
                    door_frame_max: ByteSize(from.u64()?),
                    door_calls_max: from.u32()?,
                };
                let mut env = Vec::new();
                for _ in 0..from.count(8)? {
                    env.push((from.text()?.to_owned(), from.text()?.to_owned()));
                }
                let mut args = Vec::new();
                for _ in 0..from.count(4)? {
                    args.push(from.text()?.to_owned());
                }
                let image = read_machine(&mut from)?;
                ToCell::Birth(Box::new(Birth { style, limits, env, args, image }))
            }
            2 => ToCell::Pages(read_pages(&mut from)?),
            3 => ToCell::Load,
            4 => ToCell::Turn,
            5 => {
                let code = from.u32()?.cast_signed();
                let left = from.left();
                ToCell::Answer { code, frame: from.raw(left)?.to_vec() }
            }
            _ => return Err(from.wrong("unknown message")),
        };
        from.finish()?;
        Ok(told)
    }
}

impl FromCell {
    pub(crate) fn encode(&self) -> Vec<u8> {
        message(|out| match self {
            FromCell::Jailed(bits) => {
                out.byte(1).u32(*bits);
            }
            FromCell::Ready => {
                out.byte(2);
            }
            FromCell::Refused { developer, why } => {
                out.byte(3).byte(u8::from(*developer)).bytes(cut(why).as_bytes());
            }
            FromCell::Call { fuel, op, input } => {
                out.byte(4).u64(*fuel).bytes(op.as_bytes()).raw(input);
            }
            FromCell::Pages(pages) => write_pages(pages, out.byte(5)),
            FromCell::Ended { fuel, how, machine } => {
                let (number, code, what) = match how {
                    Ended::Returned(code) => (0, *code, ""),
                    Ended::Trap(what) => (1, 0, cut(what)),
                    Ended::Fuel => (2, 0, ""),
                    Ended::Memory => (3, 0, ""),
                    Ended::Table => (4, 0, ""),
                    Ended::Stack => (5, 0, ""),
                    Ended::Exited(code) => (6, *code, ""),
                };
                out.byte(6).u64(*fuel).byte(number).u32(code.cast_unsigned());
                out.bytes(what.as_bytes());
                write_machine(machine.as_ref(), out);
            }
        })
    }

    fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        let told = match from.byte()? {
            1 => FromCell::Jailed(from.u32()?),
            2 => FromCell::Ready,
            3 => FromCell::Refused { developer: from.byte()? != 0, why: words(&mut from)? },
            4 => {
                let fuel = from.u64()?;
                let op = from.text()?.to_owned();
                if op.len() > OP_BYTES_MAX {
                    return Err(from.wrong("the name of an operation is too long"));
                }
                let left = from.left();
                FromCell::Call { fuel, op, input: from.raw(left)?.to_vec() }
            }
            5 => FromCell::Pages(read_pages(&mut from)?),
            6 => {
                let fuel = from.u64()?;
                let (number, code) = (from.byte()?, from.u32()?.cast_signed());
                let what = words(&mut from)?;
                let how = match number {
                    0 => Ended::Returned(code),
                    1 => Ended::Trap(what),
                    2 => Ended::Fuel,
                    3 => Ended::Memory,
                    4 => Ended::Table,
                    5 => Ended::Stack,
                    6 => Ended::Exited(code),
                    _ => return Err(from.wrong("unknown end of a turn")),
                };
                FromCell::Ended { fuel, how, machine: read_machine(&mut from)? }
            }
            _ => return Err(from.wrong("unknown message")),
        };
        from.finish()?;
        Ok(told)
    }
}

fn message(write: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut out = Writer::new();
    out.u32(0);
    write(&mut out);
    let mut bytes = out.finish();
    let len = (bytes.len() - 4) as u32;
    bytes[..4].copy_from_slice(&len.to_le_bytes());
    bytes
}

fn write_pages(pages: &[(u32, Page)], out: &mut Writer) {
    out.u32(pages.len() as u32);
    for (at, page) in pages {
        out.u32(*at).raw(&page[..]);
    }
}

fn read_pages(from: &mut Reader<'_>) -> Result<Vec<(u32, Page)>, WireError> {
    let mut pages = Vec::new();
    for _ in 0..from.count(4 + PAGE_BYTES)? {
        pages.push((from.u32()?, Arc::new(from.array()?)));
    }
    Ok(pages)
}

fn write_machine(machine: Option<&(u32, Vec<u8>)>, out: &mut Writer) {
    match machine {
        Some((page_count, globals)) => out.byte(1).u32(*page_count).bytes(globals),
        None => out.byte(0),
    };
}

fn read_machine(from: &mut Reader<'_>) -> Result<Option<(u32, Vec<u8>)>, WireError> {
    match from.byte()? {
        0 => Ok(None),
        1 => {
            let page_count = from.u32()?;
            let globals = from.bytes()?.to_vec();
            if globals.len() > GLOBALS_BYTES_MAX {
                return Err(from.wrong("more globals than a module may have"));
            }
            Ok(Some((page_count, globals)))
        }
        _ => Err(from.wrong("a flag is neither 0 nor 1")),
    }
}

/// Text that ends up in a log: bounded, and without control characters.
fn words(from: &mut Reader<'_>) -> Result<String, WireError> {
    let text = from.text()?;
    Ok(cut(text).chars().map(|c| if c.is_control() { ' ' } else { c }).collect())
}

fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(WHAT_BYTES_MAX)]
}

/// Why nothing was heard or said.
#[derive(Debug)]
pub(crate) enum LinkError {
    /// The other side is gone.
    Gone,
    /// The time was up.
    Late,
    /// It said what cannot be.
    Malformed(String),
    /// The door gives no more answers.
    Ended,
}

impl From<io::Error> for LinkError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => LinkError::Late,
            _ => LinkError::Gone,
        }
    }
}

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    message_max: usize,
}

impl Link {
    /// `frame_max` bounds frames, in bytes; batches of pages have a bound of their own.
    pub(crate) fn new(stream: UnixStream, frame_max: ByteSize) -> Self {
        let frame_max = usize::try_from(frame_max.0).unwrap_or(usize::MAX);
        let message_max =
            frame_max.max(PAGES_BATCH * (PAGE_BYTES + 4)).saturating_add(MESSAGE_EXTRA_BYTES);
        Self { stream, message_max }
    }

    /// Tells a cell, which has a bounded time to take it.
    pub(crate) fn tell_cell(&mut self, what: &ToCell) -> Result<(), LinkError> {
        let bytes = what.encode();
        let mut rest = &bytes[..];
        let mut left = READ_WITHIN;
        while !rest.is_empty() {
            if left.is_zero() {
                return Err(LinkError::Late);
            }
            self.stream.set_write_timeout(Some(left))?;
            let (wrote, took) = timed(|| self.stream.write(rest));
            left = left.saturating_sub(took);
            match wrote {
                Ok(0) => return Err(LinkError::Gone),
                Ok(wrote) => rest = &rest[wrote..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(crate) fn tell_supervisor(&mut self, what: &FromCell) -> Result<(), LinkError> {
        Ok(self.stream.write_all(&what.encode())?)
    }

    /// Waits for the supervisor as long as it takes.
    pub(crate) fn hear_supervisor(&mut self) -> Result<ToCell, LinkError> {
        let bytes = self.hear(None)?;
        ToCell::decode(&bytes).map_err(|error| LinkError::Malformed(error.to_string()))
    }

    /// Waits for the cell until `left` is used up, and takes off it what the wait took.
    pub(crate) fn hear_cell(&mut self, left: &mut Duration) -> Result<FromCell, LinkError> {
        let bytes = self.hear(Some(left))?;
        FromCell::decode(&bytes).map_err(|error| LinkError::Malformed(error.to_string()))
    }

    fn hear(&mut self, mut left: Option<&mut Duration>) -> Result<Vec<u8>, LinkError> {
        let mut len = [0; 4];
        self.fill(&mut len, left.as_deref_mut())?;
        let len = u32::from_le_bytes(len) as usize;
        if len > self.message_max {
            return Err(LinkError::Malformed(format!("a message of {len} bytes")));
        }
        let mut bytes = vec![0; len];
        self.fill(&mut bytes, left)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut out: &mut [u8], left: Option<&mut Duration>) -> Result<(), LinkError> {
        let Some(left) = left else { return Ok(self.stream.read_exact(out)?) };
        while !out.is_empty() {
            if left.is_zero() {
                return Err(LinkError::Late);
            }
            self.stream.set_read_timeout(Some(*left))?;
            let (read, took) = timed(|| self.stream.read(out));
            *left = left.saturating_sub(took);
            match read {
                Ok(0) => return Err(LinkError::Gone),
                Ok(read) => out = &mut out[read..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[expect(clippy::disallowed_methods, reason = "a wall limit is about the wall clock")]
fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let from = std::time::Instant::now();
    let done = act();
    (done, from.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_to_cell(message: ToCell) {
        let bytes = message.encode();
        assert_eq!(ToCell::decode(&bytes[4..]), Ok(message));
    }

    fn check_from_cell(message: FromCell) {
        let bytes = message.encode();
        assert_eq!(FromCell::decode(&bytes[4..]), Ok(message));
    }

    #[test]
    fn messages_read_back_as_they_were_written() {
        check_to_cell(ToCell::Birth(Box::new(Birth {
            style: RunStyle::Resident,
            limits: Limits::default(),
            env: vec![("A".into(), "b".into())],
            args: vec!["x".into()],
            image: Some((17, vec![1; 16])),
        })));
        check_to_cell(ToCell::Pages(vec![(3, Arc::new([7; PAGE_BYTES]))]));
        check_to_cell(ToCell::Answer { code: -5, frame: b"frame".to_vec() });
        check_from_cell(FromCell::Call { fuel: 9, op: "log".into(), input: vec![1, 2] });
        for how in [Ended::Returned(-3), Ended::Trap("x".into()), Ended::Fuel, Ended::Exited(1)] {
            check_from_cell(FromCell::Ended { fuel: 1, how, machine: Some((1, vec![0; 16])) });
        }
    }

    #[test]
    fn a_cell_cannot_promise_more_than_it_sends_or_name_what_does_not_exist() {
        for bad in [
            &[9][..],
            &[],
            &[4, 0, 0, 0],
            &[5, 0xff, 0xff, 0xff, 0xff],
            &[6, 0, 0, 0, 0, 0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0],
        ] {
            assert!(FromCell::decode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_silent_cell_is_late_and_a_gone_one_is_gone() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut link = Link::new(here, ByteSize::kib(1));
        let mut left = Duration::from_millis(5);
        assert!(matches!(link.hear_cell(&mut left), Err(LinkError::Late)));
        drop(there);
        let mut left = Duration::from_secs(60);
        assert!(matches!(link.hear_cell(&mut left), Err(LinkError::Gone)));
    }

    #[test]
    fn a_message_over_the_cap_is_refused_before_it_is_read() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut link = Link::new(here, ByteSize::kib(1));
        there.write_all(&u32::MAX.to_le_bytes()).unwrap();
        let mut left = Duration::from_secs(60);
        assert!(matches!(link.hear_cell(&mut left), Err(LinkError::Malformed(_))));
    }
}
