//! What supervisor and cell say to each other: messages of `u32 length || u8 kind || payload` on one
//! stream socket. The supervisor takes every byte of a cell for an attack: lengths are capped
//! before anything is allocated, and what does not parse ends the cell.

use std::io::{self, Read as _, Write as _};
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use daee_artifact::RunStyle;
use daee_state::{PAGE_BYTES, Page};
use daee_types::{
    ByteSize,
    wire::{Reader, WireError, Writer},
};

use crate::ahead::{Early, Standing, TOLD_BYTES_MAX, TOLD_MAX, Told};
use crate::{Limits, spawn};

/// Pages that travel in one message: 1 MiB.
pub(crate) const PAGES_BATCH: usize = 256;
/// What a message holds beside a frame or a batch of pages.
const MESSAGE_EXTRA_BYTES: usize = (64 << 10) + GLOBALS_BYTES_MAX + 2 * TOLD_BYTES_MAX;
/// Longest operation name. The longest there is has 14 bytes.
pub(crate) const OP_BYTES_MAX: usize = 64;
/// How long a cell may take to read one message.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// Longest words for a trap.
const WHAT_BYTES_MAX: usize = 1024;
/// Most globals of a module, 16 bytes each.
pub(crate) const GLOBALS_BYTES_MAX: usize = 16 * 10_000;
/// What a link reads in one go, and keeps between messages.
const BUFFER_BYTES: usize = 64 << 10;
/// A frame up to here is copied to its head, so that both go out in one call.
const JOINED_BYTES_MAX: usize = 16 << 10;

/// What a cell has to know before it can load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Birth {
    pub(crate) style: RunStyle,
    pub(crate) limits: Limits,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) args: Vec<String>,
    /// Size of a reactor's memory in pages, and its globals. The descriptor of the memory comes with this, behind
    /// that of the code; pages that changed since it was made follow.
    pub(crate) image: Option<(u32, Vec<u8>)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ToCell<'a> {
    Birth(Box<Birth>),
    /// Part of the memory.
    Pages(Vec<(u32, Page)>),
    /// The memory is complete: load the code and get ready.
    Load,
    /// Begin a turn with this event, unless it is larger than a frame may be.
    Turn {
        standing: Standing,
        event: Option<&'a [u8]>,
    },
    /// To a call.
    Answer {
        standing: Standing,
        code: i32,
        frame: &'a [u8],
    },
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FromCell<'a> {
    /// Jailed, as far as these bits say.
    Jailed(u32),
    /// Loaded.
    Ready,
    /// It will not load; the words say why.
    Refused { developer: bool, why: String },
    /// An operation at the door, after those that were answered in the cell.
    Call { told: Vec<Told>, fuel: u64, op: &'a str, input: &'a [u8] },
    /// Pages that the turn changed, where they are too many for its end.
    Pages(Vec<(u32, Page)>),
    /// The turn is over. A reactor that returned zero tells of its memory and globals.
    Ended { told: Vec<Told>, fuel: u64, how: Ended, machine: Option<Machine> },
}

/// A reactor at the end of a turn, with the last of the pages that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    pub(crate) page_count: u32,
    pub(crate) globals: Vec<u8>,
    pub(crate) pages: Vec<(u32, Page)>,
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

impl<'a> ToCell<'a> {
    /// The message, but for the length in front and the frame behind it.
    pub(crate) fn encode(&self) -> (Writer, &'a [u8]) {
        let mut out = start();
        let mut frame: &[u8] = &[];
        match self {
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
                match &birth.image {
                    Some((page_count, globals)) => out.byte(1).u32(*page_count).bytes(globals),
                    None => out.byte(0),
                };
            }
            ToCell::Pages(pages) => write_pages(pages, out.byte(2)),
            ToCell::Load => {
                out.byte(3);
            }
            ToCell::Turn { standing, event } => {
                write_standing(standing, out.byte(4));
                out.byte(u8::from(event.is_some()));
                frame = event.unwrap_or_default();
            }
            ToCell::Answer { standing, code, frame: answer } => {
                write_standing(standing, out.byte(5));
                out.u32(code.cast_unsigned());
                frame = answer;
            }
        }
        (out, frame)
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
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
                let image = match flag(&mut from)? {
                    false => None,
                    true => Some((from.u32()?, read_globals(&mut from)?)),
                };
                ToCell::Birth(Box::new(Birth { style, limits, env, args, image }))
            }
            2 => ToCell::Pages(read_pages(&mut from)?),
            3 => ToCell::Load,
            4 => {
                let standing = read_standing(&mut from)?;
                let event = match flag(&mut from)? {
                    false => None,
                    true => Some(rest(&mut from)?),
                };
                ToCell::Turn { standing, event }
            }
            5 => {
                let standing = read_standing(&mut from)?;
                let code = from.u32()?.cast_signed();
                ToCell::Answer { standing, code, frame: rest(&mut from)? }
            }
            _ => return Err(from.wrong("unknown message")),
        };
        from.finish()?;
        Ok(told)
    }
}

impl<'a> FromCell<'a> {
    /// The message, but for the length in front and the frame behind it.
    pub(crate) fn encode(&self) -> (Writer, &'a [u8]) {
        let mut out = start();
        let mut frame: &[u8] = &[];
        match self {
            FromCell::Jailed(bits) => {
                out.byte(1).u32(*bits);
            }
            FromCell::Ready => {
                out.byte(2);
            }
            FromCell::Refused { developer, why } => {
                out.byte(3).byte(u8::from(*developer)).bytes(cut(why).as_bytes());
            }
            FromCell::Call { told, fuel, op, input } => {
                write_told(told, out.byte(4));
                out.u64(*fuel).bytes(op.as_bytes());
                frame = input;
            }
            FromCell::Pages(pages) => write_pages(pages, out.byte(5)),
            FromCell::Ended { told, fuel, how, machine } => {
                let (number, code, what) = match how {
                    Ended::Returned(code) => (0, *code, ""),
                    Ended::Trap(what) => (1, 0, cut(what)),
                    Ended::Fuel => (2, 0, ""),
                    Ended::Memory => (3, 0, ""),
                    Ended::Table => (4, 0, ""),
                    Ended::Stack => (5, 0, ""),
                    Ended::Exited(code) => (6, *code, ""),
                };
                write_told(told, out.byte(6));
                out.u64(*fuel).byte(number).u32(code.cast_unsigned());
                out.bytes(what.as_bytes());
                match machine {
                    Some(machine) => {
                        out.byte(1).u32(machine.page_count).bytes(&machine.globals);
                        write_pages(&machine.pages, &mut out);
                    }
                    None => {
                        out.byte(0);
                    }
                }
            }
        }
        (out, frame)
    }

    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        let told = match from.byte()? {
            1 => FromCell::Jailed(from.u32()?),
            2 => FromCell::Ready,
            3 => FromCell::Refused { developer: from.byte()? != 0, why: words(&mut from)? },
            4 => {
                let (told, fuel, op) = (read_told(&mut from)?, from.u64()?, from.text()?);
                if op.len() > OP_BYTES_MAX {
                    return Err(from.wrong("the name of an operation is too long"));
                }
                FromCell::Call { told, fuel, op, input: rest(&mut from)? }
            }
            5 => FromCell::Pages(read_pages(&mut from)?),
            6 => {
                let (told, fuel) = (read_told(&mut from)?, from.u64()?);
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
                let machine = match flag(&mut from)? {
                    false => None,
                    true => Some(Machine {
                        page_count: from.u32()?,
                        globals: read_globals(&mut from)?,
                        pages: read_pages(&mut from)?,
                    }),
                };
                FromCell::Ended { told, fuel, how, machine }
            }
            _ => return Err(from.wrong("unknown message")),
        };
        from.finish()?;
        Ok(told)
    }
}

/// A message whose length is not known yet.
fn start() -> Writer {
    let mut out = Writer::new();
    out.u32(0);
    out
}

fn rest<'a>(from: &mut Reader<'a>) -> Result<&'a [u8], WireError> {
    from.raw(from.left())
}

fn flag(from: &mut Reader<'_>) -> Result<bool, WireError> {
    match from.byte()? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(from.wrong("a flag is neither 0 nor 1")),
    }
}

fn write_standing(standing: &Standing, out: &mut Writer) {
    out.u64(standing.now.0).u64(standing.log_left).byte(u8::from(standing.event_waits));
}

fn read_standing(from: &mut Reader<'_>) -> Result<Standing, WireError> {
    let (now, log_left) = (daee_types::Timestamp(from.u64()?), from.u64()?);
    Ok(Standing { now, log_left, event_waits: flag(from)? })
}

fn write_told(told: &[Told], out: &mut Writer) {
    out.byte(told.len() as u8);
    for Told { op, input, answer } in told {
        out.byte(*op as u8).bytes(input).bytes(answer);
    }
}

fn read_told(from: &mut Reader<'_>) -> Result<Vec<Told>, WireError> {
    let count = usize::from(from.byte()?);
    if count > TOLD_MAX {
        return Err(from.wrong("more is told of at once than may be"));
    }
    let mut told = Vec::with_capacity(count);
    for _ in 0..count {
        let op = from.byte()?;
        let op = Early::ALL.into_iter().find(|early| *early as u8 == op);
        let op = op.ok_or_else(|| from.wrong("no cell answers such an operation"))?;
        told.push(Told { op, input: from.bytes()?.to_vec(), answer: from.bytes()?.to_vec() });
    }
    Ok(told)
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

fn read_globals(from: &mut Reader<'_>) -> Result<Vec<u8>, WireError> {
    let globals = from.bytes()?.to_vec();
    if globals.len() > GLOBALS_BYTES_MAX {
        return Err(from.wrong("more globals than a module may have"));
    }
    Ok(globals)
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

impl From<WireError> for LinkError {
    fn from(error: WireError) -> Self {
        LinkError::Malformed(error.to_string())
    }
}

/// One end of the socket.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    message_max: usize,
    /// What was read and not yet heard of.
    buffer: Vec<u8>,
    unheard: Range<usize>,
    /// What came with the bytes that were read, if it is wanted.
    descriptors: Option<Vec<OwnedFd>>,
    /// As the socket knows them.
    read_timeout: Option<Duration>,
    write_timeout: Option<Duration>,
    /// How long the other side may take to read one message.
    pub(crate) patience: Duration,
}

impl Link {
    /// `frame_max` bounds frames, in bytes; batches of pages have a bound of their own.
    pub(crate) fn new(stream: UnixStream, frame_max: ByteSize) -> Self {
        Self {
            stream,
            message_max: message_max(frame_max),
            buffer: Vec::new(),
            unheard: 0..0,
            descriptors: None,
            read_timeout: None,
            write_timeout: None,
            patience: READ_WITHIN,
        }
    }

    #[cfg(test)]
    pub(crate) fn into_stream(self) -> UnixStream {
        self.stream
    }

    /// With another bound of frames.
    pub(crate) fn bound(&mut self, frame_max: ByteSize) {
        self.message_max = message_max(frame_max);
    }

    /// Takes descriptors that come with messages from now on.
    pub(crate) fn take_descriptors(&mut self) {
        self.descriptors = Some(Vec::new());
    }

    /// What came; what comes from now on is not taken.
    pub(crate) fn descriptors(&mut self) -> Vec<OwnedFd> {
        self.descriptors.take().unwrap_or_default()
    }

    /// Tells a cell, which has a bounded time to take it.
    pub(crate) fn tell_cell(&mut self, what: &ToCell<'_>) -> Result<(), LinkError> {
        self.tell_cell_with(what, &[])
    }

    /// The same, with descriptors.
    pub(crate) fn tell_cell_with(
        &mut self,
        what: &ToCell<'_>,
        mut descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), LinkError> {
        let (head, frame) = what.encode();
        let mut left = self.patience;
        send(head, frame, |mut rest| {
            while !rest.is_empty() {
                if left.is_zero() {
                    return Err(LinkError::Late);
                }
                if self.write_timeout != Some(left) {
                    self.stream.set_write_timeout(Some(left))?;
                    self.write_timeout = Some(left);
                }
                let (wrote, took) = timed(|| match descriptors {
                    [] => self.stream.write(rest),
                    some => spawn::send_with(&self.stream, rest, some),
                });
                match wrote {
                    Ok(0) => return Err(LinkError::Gone),
                    Ok(wrote) => (rest, descriptors) = (&rest[wrote..], &[]),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error.into()),
                }
                if !rest.is_empty() {
                    left = left.saturating_sub(took);
                }
            }
            Ok(())
        })
    }

    pub(crate) fn tell_supervisor(&mut self, what: &FromCell<'_>) -> Result<(), LinkError> {
        let (head, frame) = what.encode();
        send(head, frame, |bytes| Ok(self.stream.write_all(bytes)?))
    }

    /// Waits for the supervisor as long as it takes.
    pub(crate) fn hear_supervisor(&mut self) -> Result<ToCell<'_>, LinkError> {
        let message = self.hear(None)?;
        Ok(ToCell::decode(&self.buffer[message])?)
    }

    /// Waits for the cell until `left` is used up, and takes off it what the wait took.
    pub(crate) fn hear_cell(&mut self, left: &mut Duration) -> Result<FromCell<'_>, LinkError> {
        let message = self.hear(Some(left))?;
        Ok(FromCell::decode(&self.buffer[message])?)
    }

    /// The bytes that the last message ends with, until the next is heard.
    pub(crate) fn last(&self, bytes: usize) -> &[u8] {
        let end = self.unheard.start;
        &self.buffer[end - bytes..end]
    }

    /// Where in the buffer the next message is.
    fn hear(&mut self, mut left: Option<&mut Duration>) -> Result<Range<usize>, LinkError> {
        loop {
            let some = &self.buffer[self.unheard.clone()];
            let mut need = BUFFER_BYTES;
            if let Some(len) = some.first_chunk::<4>() {
                let len = u32::from_le_bytes(*len) as usize;
                if len > self.message_max {
                    return Err(LinkError::Malformed(format!("a message of {len} bytes")));
                }
                if let Some(end) = Some(4 + len).filter(|end| *end <= some.len()) {
                    let message = self.unheard.start + 4..self.unheard.start + end;
                    self.unheard.start = message.end;
                    return Ok(message);
                }
                need = need.max(4 + len);
            }
            self.make_room(need);
            self.read(left.as_deref_mut())?;
        }
    }

    /// Moves what is unheard to the front of a buffer for a message of so many bytes, and of no more than
    /// it takes.
    fn make_room(&mut self, bytes: usize) {
        let kept = self.unheard.len();
        if self.buffer.len() == bytes {
            self.buffer.copy_within(self.unheard.clone(), 0);
        } else {
            // Comes from the kernel as zeros where it is large, so that none are written.
            let mut room = vec![0; bytes.max(kept)];
            room[..kept].copy_from_slice(&self.buffer[self.unheard.clone()]);
            self.buffer = room;
        }
        self.unheard = 0..kept;
    }

    fn read(&mut self, left: Option<&mut Duration>) -> Result<(), LinkError> {
        let room = &mut self.buffer[self.unheard.end..];
        let read = match left {
            None => match &mut self.descriptors {
                None => self.stream.read(room),
                Some(descriptors) => spawn::receive_with(&self.stream, room, descriptors),
            },
            Some(left) => {
                if left.is_zero() {
                    return Err(LinkError::Late);
                }
                if self.read_timeout != Some(*left) {
                    self.stream.set_read_timeout(Some(*left))?;
                    self.read_timeout = Some(*left);
                }
                let (read, took) = timed(|| self.stream.read(room));
                *left = left.saturating_sub(took);
                read
            }
        };
        match read {
            Ok(0) => Err(LinkError::Gone),
            Ok(read) => {
                self.unheard.end += read;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

fn message_max(frame_max: ByteSize) -> usize {
    let frame_max = usize::try_from(frame_max.0).unwrap_or(usize::MAX);
    frame_max.max(PAGES_BATCH * (PAGE_BYTES + 4)).saturating_add(MESSAGE_EXTRA_BYTES)
}

/// Completes a message and sends it: small ones in one piece, large frames without a copy.
fn send(
    head: Writer,
    frame: &[u8],
    mut write: impl FnMut(&[u8]) -> Result<(), LinkError>,
) -> Result<(), LinkError> {
    let mut head = head.finish();
    let len = (head.len() - 4 + frame.len()) as u32;
    head[..4].copy_from_slice(&len.to_le_bytes());
    if frame.len() <= JOINED_BYTES_MAX {
        head.extend(frame);
        return write(&head);
    }
    write(&head)?;
    write(frame)
}

#[expect(clippy::disallowed_methods, reason = "a wall limit is about the wall clock")]
pub(crate) fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let from = std::time::Instant::now();
    let done = act();
    (done, from.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole((head, frame): (Writer, &[u8])) -> Vec<u8> {
        let mut bytes = head.finish();
        bytes.extend(frame);
        bytes.split_off(4)
    }

    fn check_to_cell(message: ToCell<'_>) {
        assert_eq!(ToCell::decode(&whole(message.encode())), Ok(message));
    }

    fn check_from_cell(message: FromCell<'_>) {
        let bytes = whole(message.encode());
        assert_eq!(FromCell::decode(&bytes), Ok(message));
        for end in 0..bytes.len() {
            // A shorter frame is a frame; nothing else that is cut is anything.
            let cut = FromCell::decode(&bytes[..end]);
            assert!(matches!(cut, Err(_) | Ok(FromCell::Call { .. })), "{end}: {cut:?}");
        }
    }

    fn told(input: usize) -> Told {
        Told { op: Early::Log, input: vec![7; input], answer: vec![1] }
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
        let standing =
            Standing { now: daee_types::Timestamp(u64::MAX), log_left: 7, event_waits: true };
        check_to_cell(ToCell::Pages(vec![(3, Arc::new([7; PAGE_BYTES]))]));
        check_to_cell(ToCell::Turn { standing, event: None });
        check_to_cell(ToCell::Turn { standing, event: Some(b"") });
        check_to_cell(ToCell::Turn { standing, event: Some(b"event") });
        check_to_cell(ToCell::Answer { standing, code: -5, frame: b"frame" });
        let told = vec![told(0), told(9)];
        check_from_cell(FromCell::Call { told, fuel: 9, op: "log", input: &[1, 2] });
        let machine =
            Machine { page_count: 1, globals: vec![0; 16], pages: vec![(0, Arc::new([1; 4096]))] };
        for how in [Ended::Returned(-3), Ended::Trap("x".into()), Ended::Fuel, Ended::Exited(1)] {
            let (told, machine) = (vec![], Some(machine.clone()));
            check_from_cell(FromCell::Ended { told, fuel: 1, how, machine });
        }
    }

    #[test]
    fn a_cell_cannot_promise_more_than_it_sends_or_name_what_does_not_exist() {
        for bad in [
            &[9][..],
            &[],
            &[4, 0, 0, 0],
            &[4, 1, 9, 0, 0, 0, 0, 0, 0, 0, 0],
            &[4, 1, 0, 0xff, 0xff, 0xff, 0xff],
            &[5, 0xff, 0xff, 0xff, 0xff],
            &[6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 77, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[2, 0],
        ] {
            assert!(FromCell::decode(bad).is_err(), "{bad:?}");
        }
        let many = |count| {
            let told = std::iter::repeat_with(|| told(0)).take(count).collect();
            whole(FromCell::Call { told, fuel: 0, op: "now", input: b"" }.encode())
        };
        assert!(FromCell::decode(&many(TOLD_MAX)).is_ok());
        assert!(FromCell::decode(&many(TOLD_MAX + 1)).is_err());
    }

    #[test]
    fn messages_are_told_apart_however_they_come() {
        let (here, mut there) = UnixStream::pair().unwrap();
        let mut link = Link::new(here, ByteSize::mib(8));
        let sizes = [0, 1, 100, JOINED_BYTES_MAX, JOINED_BYTES_MAX + 1, BUFFER_BYTES, 3 << 20, 5];
        let mut bytes = Vec::new();
        for (n, size) in sizes.into_iter().enumerate() {
            let input = vec![n as u8; size];
            let call = FromCell::Call { told: vec![], fuel: n as u64, op: "log", input: &input };
            let (head, frame) = call.encode();
            send(head, frame, |piece| {
                bytes.extend(piece);
                Ok(())
            })
            .unwrap();
        }
        let writer = std::thread::spawn(move || {
            let mut rest = &bytes[..];
            for piece in [1, 2, 5, 40, 1000, 100_000].into_iter().cycle() {
                let (some, after) = rest.split_at(piece.min(rest.len()));
                there.write_all(some).unwrap();
                rest = after;
                if rest.is_empty() {
                    return;
                }
            }
        });
        for (n, size) in sizes.into_iter().enumerate() {
            let heard = link.hear_cell(&mut Duration::from_secs(60)).unwrap();
            let FromCell::Call { fuel, input, .. } = heard else { panic!("{heard:?}") };
            assert_eq!((fuel, input.len()), (n as u64, size));
            assert!(input.iter().all(|byte| *byte == n as u8));
            assert_eq!(link.last(size).len(), size);
            assert!(link.last(size).iter().all(|byte| *byte == n as u8));
        }
        writer.join().unwrap();
        assert!(matches!(link.hear_cell(&mut Duration::from_secs(60)), Err(LinkError::Gone)));
        assert_eq!(link.buffer.len(), BUFFER_BYTES, "a large message leaves nothing behind");
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
