//! Cuts a stream of any length into what of a module must be looked into, one section or function body at a
//! time.

/// What engines refuse a longer name of.
const NAME_BYTES_MAX: u64 = 100_000;
/// An unsigned LEB128 of 32 bits takes at most five bytes.
const LEB_BYTES_MAX: usize = 5;

const HEADER_BYTES: usize = 8;
const CUSTOM: u8 = 0;
const CODE: u8 = 10;
/// The highest section id there is.
const ID_MAX: u8 = 13;

/// A part of a module that came whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// The first eight bytes.
    Header,
    /// A section with its id and length, of the code section up to the number of its bodies; or a body
    /// behind its length.
    Part,
    /// A custom section's name behind its length.
    Name,
    /// A piece of the contents of the custom section that was named last.
    Contents,
}

/// Why the rest of a module is not cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// Not understood: here is what there is of it.
    Malformed(&'static str),
    /// More bytes than the limit beside the contents of custom sections.
    Over,
    /// A function body of so many bytes.
    Body(u64),
}

/// Where the stream is, and what of it is not yet whole.
#[derive(Clone, Debug)]
pub(super) struct Sections {
    module_bytes_max: u64,
    body_bytes_max: u64,
    at: At,
    buffer: Vec<u8>,
    /// Bytes that came.
    came: u64,
    /// How many had come when the last was looked at.
    stopped_at: u64,
    /// Bytes of contents of custom sections among them.
    skipped: u64,
    /// Where what is not yet whole will end, where that is known.
    end: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Header,
    /// Before a section, or in its id and length.
    Section,
    /// In a section that is whole with so many bytes.
    Whole(usize),
    /// In the code section, before the number of bodies, with so many bytes to come behind its length.
    Bodies(u64),
    /// Before a body, or in its length: so many bodies and bytes are to come.
    BodyLength(u32, u64),
    /// In a body that is whole with so many bytes; so many bodies and bytes are to come behind it.
    Body(usize, u32, u64),
    /// In the name of a custom section, with so many bytes to come behind its length.
    Name(u64),
    /// In the contents of a custom section.
    Skip(u64),
    Stopped,
}

impl Sections {
    pub(super) fn new(module_bytes_max: u64, body_bytes_max: u64) -> Self {
        Self {
            module_bytes_max,
            body_bytes_max,
            at: At::Header,
            buffer: Vec::new(),
            came: 0,
            stopped_at: 0,
            skipped: 0,
            end: None,
        }
    }

    /// The next piece. `see` gets each unit as it becomes whole, and says whether to go on.
    pub(super) fn update(
        &mut self,
        mut piece: &[u8],
        mut see: impl FnMut(Unit, &[u8], u64) -> bool,
    ) -> Result<(), Stop> {
        while !piece.is_empty() {
            if self.at == At::Stopped {
                self.came += piece.len() as u64;
                break;
            }
            let taken = match self.step(piece, &mut see) {
                Ok(taken) => taken,
                Err(stop) => {
                    self.stop();
                    self.came += piece.len() as u64;
                    return Err(stop);
                }
            };
            self.came += taken as u64;
            piece = &piece[taken..];
            if self.is_over() {
                self.stop();
                return Err(Stop::Over);
            }
        }
        Ok(())
    }

    /// Looks at nothing more; what comes is counted only.
    fn stop(&mut self) {
        self.at = At::Stopped;
        self.stopped_at = self.came;
        self.buffer = Vec::new();
    }

    /// Whether what was promised last came whole.
    pub(super) fn is_whole(&self) -> bool {
        match self.at {
            At::Section => self.buffer.is_empty(),
            // A section that was promised to be too large may end before it is.
            At::Stopped => self.end.is_none_or(|end| end <= self.came || self.is_over()),
            _ => false,
        }
    }

    fn is_over(&self) -> bool {
        self.came - self.skipped > self.module_bytes_max
    }

    /// Bytes of contents of custom sections up to here.
    pub(super) fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Where the first byte stands that was not understood.
    pub(super) fn stopped_at(&self) -> u64 {
        self.stopped_at
    }

    /// Bytes that came.
    pub(super) fn came(&self) -> u64 {
        self.came
    }

    fn step(
        &mut self,
        piece: &[u8],
        see: &mut impl FnMut(Unit, &[u8], u64) -> bool,
    ) -> Result<usize, Stop> {
        match self.at {
            At::Header => Ok(self.whole(piece, HEADER_BYTES, At::Section, Unit::Header, see)),
            At::Section => self.section(piece),
            At::Whole(len) => Ok(self.whole(piece, len, At::Section, Unit::Part, see)),
            At::Bodies(left) => self.bodies(piece, left, see),
            At::BodyLength(bodies, left) => self.body_length(piece, bodies, left),
            At::Body(len, bodies, left) => {
                let next = if bodies == 0 { At::Section } else { At::BodyLength(bodies, left) };
                Ok(self.whole(piece, len, next, Unit::Part, see))
            }
            At::Name(left) => self.name(piece, left, see),
            At::Skip(left) => {
                let taken = piece.len().min(left.try_into().unwrap_or(usize::MAX));
                if !see(Unit::Contents, &piece[..taken], self.skipped) {
                    self.stop();
                    return Ok(taken);
                }
                self.skipped += taken as u64;
                let left = left - taken as u64;
                self.at = if left == 0 { At::Section } else { At::Skip(left) };
                Ok(taken)
            }
            At::Stopped => Ok(piece.len()),
        }
    }

    /// A unit of so many bytes.
    fn whole(
        &mut self,
        piece: &[u8],
        len: usize,
        next: At,
        unit: Unit,
        see: &mut impl FnMut(Unit, &[u8], u64) -> bool,
    ) -> usize {
        let taken = piece.len().min(len - self.buffer.len());
        // Growing by doubling would need half as much room again as the largest section.
        self.buffer.reserve_exact(len - self.buffer.len());
        self.buffer.extend(&piece[..taken]);
        if self.buffer.len() < len {
            return taken;
        }
        self.at = next;
        let go_on = see(unit, &self.buffer, self.skipped);
        // The room of a large section is given back, that of a function is used again.
        self.buffer.clear();
        self.buffer.shrink_to(usize::try_from(self.body_bytes_max).unwrap_or_default());
        if !go_on {
            self.stop();
        }
        taken
    }

    /// One byte of a section's id and length.
    fn section(&mut self, piece: &[u8]) -> Result<usize, Stop> {
        self.buffer.push(piece[0]);
        let id = self.buffer[0];
        if id > ID_MAX {
            return Err(Stop::Malformed("malformed section id"));
        }
        let Some(len) = self.leb(1, "invalid section length")? else { return Ok(1) };
        if id == CUSTOM {
            self.buffer.clear();
            self.at = At::Name(len);
            if len == 0 {
                return Err(Stop::Malformed("a custom section without a name"));
            }
            return Ok(1);
        }
        self.promise(len)?;
        if id == CODE {
            self.at = At::Bodies(len);
            if len == 0 {
                return Err(Stop::Malformed("a code section without a count"));
            }
            return Ok(1);
        }
        let whole = self.buffer.len() as u64 + len;
        // An empty section is whole before the next piece; every section's reader wants a count first.
        if len == 0 {
            return Err(Stop::Malformed("unexpected end of a section"));
        }
        self.at = At::Whole(usize::try_from(whole).map_err(|_| Stop::Over)?);
        Ok(1)
    }

    /// One byte of the number of bodies.
    fn bodies(
        &mut self,
        piece: &[u8],
        left: u64,
        see: &mut impl FnMut(Unit, &[u8], u64) -> bool,
    ) -> Result<usize, Stop> {
        self.buffer.push(piece[0]);
        let left = left - 1;
        self.at = At::Bodies(left);
        // Behind the id, the length, then the count.
        let (_, length_bytes) = leb_at(&self.buffer[1..]).expect("it was read before");
        let Some(count) = self.leb(1 + length_bytes, "invalid number of functions")? else {
            return self.more(left);
        };
        let go_on = see(Unit::Part, &self.buffer, self.skipped);
        self.buffer.clear();
        if !go_on {
            self.stop();
            return Ok(1);
        }
        let count = u32::try_from(count).expect("it has 32 bits");
        self.at = self.before_body(count, left)?;
        Ok(1)
    }

    fn before_body(&self, bodies: u32, left: u64) -> Result<At, Stop> {
        match (bodies, left) {
            (0, 0) => Ok(At::Section),
            (0, _) => Err(Stop::Malformed("trailing bytes at end of section")),
            (_, 0) => Err(Stop::Malformed("unexpected end of the code section")),
            _ => Ok(At::BodyLength(bodies, left)),
        }
    }

    /// One byte of a body's length.
    fn body_length(&mut self, piece: &[u8], bodies: u32, left: u64) -> Result<usize, Stop> {
        self.buffer.push(piece[0]);
        let left = left - 1;
        self.at = At::BodyLength(bodies, left);
        let Some(len) = self.leb(0, "invalid function body length")? else {
            return self.more(left);
        };
        if len > left {
            return Err(Stop::Malformed("a function body is longer than the code section"));
        }
        if len > self.body_bytes_max {
            return Err(Stop::Body(len));
        }
        if len == 0 {
            return Err(Stop::Malformed("an empty function body"));
        }
        let left = left - len;
        // What follows the last body must be another section.
        self.before_body(bodies - 1, left)?;
        self.at = At::Body(self.buffer.len() + len as usize, bodies - 1, left);
        Ok(1)
    }

    fn more(&self, left: u64) -> Result<usize, Stop> {
        if left == 0 { Err(Stop::Malformed("unexpected end of the code section")) } else { Ok(1) }
    }

    /// One byte of a custom section's name.
    fn name(
        &mut self,
        piece: &[u8],
        left: u64,
        see: &mut impl FnMut(Unit, &[u8], u64) -> bool,
    ) -> Result<usize, Stop> {
        const SHORT: &str = "a custom section is shorter than its name";
        self.buffer.push(piece[0]);
        let left = left - 1;
        self.at = At::Name(left);
        let Some((len, bytes)) = leb_at(&self.buffer) else {
            let long = self.buffer.len() >= LEB_BYTES_MAX || left == 0;
            return if long { Err(Stop::Malformed(SHORT)) } else { Ok(1) };
        };
        let whole = bytes as u64 + len;
        if whole - self.buffer.len() as u64 > left || len > NAME_BYTES_MAX {
            return Err(Stop::Malformed(SHORT));
        }
        if (self.buffer.len() as u64) < whole {
            return Ok(1);
        }
        let go_on = see(Unit::Name, &self.buffer, self.skipped);
        self.buffer.clear();
        self.at = if left == 0 { At::Section } else { At::Skip(left) };
        if !go_on {
            self.stop();
        }
        Ok(1)
    }

    /// The number at `from` of the buffer, once it is whole.
    fn leb(&self, from: usize, what: &'static str) -> Result<Option<u64>, Stop> {
        match leb_at(&self.buffer[from..]) {
            Some((value, _)) => Ok(Some(value)),
            None if self.buffer.len() - from >= LEB_BYTES_MAX => Err(Stop::Malformed(what)),
            None => Ok(None),
        }
    }

    /// Whether a section of so many bytes is within the limit.
    fn promise(&mut self, len: u64) -> Result<(), Stop> {
        let end = self.came + 1 + len;
        if end - self.skipped > self.module_bytes_max {
            self.end = Some(end);
            return Err(Stop::Over);
        }
        Ok(())
    }
}

/// An unsigned LEB128 of at most 32 bits at the start of `bytes`, and how many bytes it takes.
fn leb_at(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(LEB_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return u32::try_from(value).is_ok().then_some((value, n + 1));
        }
    }
    None
}
