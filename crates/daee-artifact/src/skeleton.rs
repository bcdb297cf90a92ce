//! What of a module must be looked into, cut out of a stream of any length.

/// Names of custom sections are kept, for engines refuse a module over a malformed one.
const NAME_BYTES_MAX: usize = 100_000;
/// A section's length in LEB128 takes at most five bytes.
const LENGTH_BYTES_MAX: usize = 5;

/// More of them have one purpose: to cost memory.
pub(crate) const CUSTOM_SECTIONS_MAX: usize = 4096;

const HEADER_BYTES: usize = 8;
const CUSTOM: u8 = 0;

/// A module without the contents of its custom sections: they hold names, debug data and mounted
/// files, no engine reads them as code, and they are what makes a module large.
#[derive(Clone, Debug, Default)]
pub(crate) struct Skeleton {
    kept: Vec<u8>,
    limit: usize,
    at: At,
    /// Start of the part that is not yet understood, in `kept`.
    pending: usize,
    /// Where in `kept` something is missing, and how much is missing up to there.
    gaps: Vec<(usize, u64)>,
    missing: u64,
    over: Option<Over>,
}

/// Why a module is not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// More bytes than the limit beside the contents of custom sections.
    Bytes,
    /// More than [`CUSTOM_SECTIONS_MAX`] custom sections.
    CustomSections,
}

#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Header,
    /// Before a section, or in its id and length.
    Section,
    /// In a section that is kept, with so many bytes to come.
    Keep(u64),
    /// In the name of a custom section that holds so many bytes.
    Name(u64),
    /// In the contents of a custom section, with so many bytes to come.
    Skip(u64),
    /// Not understood: all is kept, so that the validator says what is wrong with it.
    Rest,
}

impl Skeleton {
    /// One that keeps at most `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    pub(crate) fn update(&mut self, mut piece: &[u8]) {
        // What is over a limit is not looked at: the stream only goes on to its end for the hash.
        while !piece.is_empty() && self.over.is_none() {
            let taken = match self.at {
                At::Header => self.header(piece),
                At::Section => self.section(piece),
                At::Name(len) => self.name(piece, len),
                At::Keep(left) => self.keep(piece, left),
                At::Skip(left) => self.skip(piece, left),
                At::Rest => self.push(piece),
            };
            piece = &piece[taken..];
        }
    }

    /// What was kept.
    pub(crate) fn finish(mut self) -> Result<Kept, Over> {
        // A file that ends within what was to be skipped must not look whole: the promised length
        // stands, and the validator finds the bytes missing.
        if let At::Skip(1..) = self.at {
            let length = section_length_at(&self.kept[self.pending + 1..]);
            if let Some((_, bytes)) = length {
                self.kept.truncate(self.pending + 1 + bytes);
            }
        }
        match self.over {
            Some(over) => Err(over),
            None => Ok(Kept { bytes: self.kept, gaps: self.gaps }),
        }
    }

    fn header(&mut self, piece: &[u8]) -> usize {
        let taken = self.push(&piece[..piece.len().min(HEADER_BYTES - self.kept.len())]);
        if self.kept.len() == HEADER_BYTES {
            let module = self.kept == *b"\0asm\x01\0\0\0";
            self.at = if module { At::Section } else { At::Rest };
            self.pending = HEADER_BYTES;
        }
        taken
    }

    /// One byte of a section's id and length.
    fn section(&mut self, piece: &[u8]) -> usize {
        let taken = self.push(&piece[..1]);
        let head = &self.kept[self.pending..];
        self.at = match section_length_at(head.get(1..).unwrap_or_default()) {
            Some((len, _)) if head[0] == CUSTOM => self.enter(At::Name(len), len),
            Some((len, _)) => self.enter(At::Keep(len), len),
            None if head.len() > LENGTH_BYTES_MAX => At::Rest,
            None => At::Section,
        };
        taken
    }

    fn enter(&mut self, at: At, len: u64) -> At {
        if len == 0 {
            self.pending = self.kept.len();
            return At::Section;
        }
        at
    }

    /// One byte of a custom section's name. Once the name is whole, the section is rewritten as one
    /// that holds the name alone.
    fn name(&mut self, piece: &[u8], len: u64) -> usize {
        let taken = self.push(&piece[..1]);
        let head = &self.kept[self.pending..];
        let Some((_, length_bytes)) = section_length_at(&head[1..]) else {
            self.at = At::Rest;
            return taken;
        };
        let body = &head[1 + length_bytes..];
        let name_bytes = section_length_at(body)
            .and_then(|(name, bytes)| usize::try_from(name).ok()?.checked_add(bytes));
        let left = len - body.len() as u64;
        let whole = name_bytes.is_some_and(|name| body.len() == name);
        if whole && left > 0 {
            self.at = At::Skip(left);
        } else if left == 0 {
            self.at = At::Section;
            self.pending = self.kept.len();
        } else if body.len() > NAME_BYTES_MAX + LENGTH_BYTES_MAX {
            self.at = At::Rest;
        }
        taken
    }

    fn keep(&mut self, piece: &[u8], left: u64) -> usize {
        let taken = self.push(&piece[..piece.len().min(left.try_into().unwrap_or(usize::MAX))]);
        let left = left - taken as u64;
        self.at = At::Keep(left);
        if left == 0 {
            self.pending = self.kept.len();
            self.at = At::Section;
        }
        taken
    }

    fn skip(&mut self, piece: &[u8], left: u64) -> usize {
        let taken = piece.len().min(left.try_into().unwrap_or(usize::MAX));
        let left = left - taken as u64;
        self.missing += taken as u64;
        self.at = At::Skip(left);
        if left == 0 {
            self.close_skipped();
            self.at = At::Section;
        }
        taken
    }

    /// Writes the length of what was kept of a custom section in place of its length in the file.
    fn close_skipped(&mut self) {
        let head = &self.kept[self.pending..];
        let Some((_, length_bytes)) = section_length_at(&head[1..]) else { return };
        let body = head[1 + length_bytes..].to_vec();
        self.kept.truncate(self.pending + 1);
        // As many bytes as before, so that only the contents are missing.
        for n in 0..length_bytes {
            let more = if n + 1 < length_bytes { 0x80 } else { 0 };
            self.kept.push((body.len() >> (7 * n)) as u8 & 0x7f | more);
        }
        self.kept.extend(body);
        self.pending = self.kept.len();
        self.gaps.push((self.pending, self.missing));
        if self.gaps.len() > CUSTOM_SECTIONS_MAX {
            self.over = Some(Over::CustomSections);
        }
    }

    fn push(&mut self, bytes: &[u8]) -> usize {
        if self.kept.len() + bytes.len() > self.limit {
            self.over = Some(Over::Bytes);
        } else {
            self.kept.extend(bytes);
        }
        bytes.len()
    }
}

/// A skeleton with the way back to places in the file.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) bytes: Vec<u8>,
    gaps: Vec<(usize, u64)>,
}

impl Kept {
    /// Where in the file stands what is at `offset` of the skeleton.
    pub(crate) fn in_file(&self, offset: u64) -> u64 {
        let before = self.gaps.iter().rev().find(|(at, _)| *at as u64 <= offset);
        offset + before.map_or(0, |(_, missing)| *missing)
    }
}

/// An unsigned LEB128 of at most 32 bits at the start of `bytes`, and how many bytes it takes.
fn section_length_at(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(LENGTH_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return u32::try_from(value).is_ok().then_some((value, n + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn custom(name: &str, contents: usize) -> Vec<u8> {
        let mut body = vec![name.len() as u8];
        body.extend(name.as_bytes());
        body.extend(vec![0xee; contents]);
        let mut section = vec![CUSTOM];
        let mut len = body.len();
        while len >= 0x80 {
            section.push(len as u8 & 0x7f | 0x80);
            len >>= 7;
        }
        section.push(len as u8);
        section.extend(body);
        section
    }

    fn kept(bytes: &[u8], piece: usize) -> Kept {
        let mut skeleton = Skeleton::new(1 << 20);
        bytes.chunks(piece).for_each(|piece| skeleton.update(piece));
        skeleton.finish().unwrap()
    }

    /// Whatever the pieces, the skeleton is valid exactly if the whole is.
    fn check(bytes: &[u8], valid: bool) {
        let judge = |bytes: &[u8]| wasmparser::Validator::new().validate_all(bytes).is_ok();
        assert_eq!(judge(bytes), valid);
        for piece in [1, 2, 3, 7, 1000, bytes.len().max(1)] {
            assert_eq!(judge(&kept(bytes, piece).bytes), valid, "in pieces of {piece}");
        }
    }

    fn module() -> Vec<u8> {
        wat::parse_str("(module (func (export \"f\") (result i32) i32.const 7))").unwrap()
    }

    #[test]
    fn the_contents_of_custom_sections_are_passed_over() {
        let large = [module(), custom("files", 100_000), custom("empty", 0)].concat();
        check(&large, true);
        assert!(kept(&large, 999).bytes.len() < 200);
        assert_eq!(kept(&module(), 3).bytes, module());
    }

    #[test]
    fn what_is_broken_stays_broken() {
        check(&[module(), custom("files", 300)[..200].to_vec()].concat(), false);
        check(&[module(), vec![CUSTOM, 3, 200, b'a', b'b']].concat(), false);
        check(&[module(), vec![CUSTOM, 3, 2, 0xff, 0xff]].concat(), false);
        check(&[module(), vec![CUSTOM, 0]].concat(), false);
        check(&[module(), vec![CUSTOM]].concat(), false);
        check(&[module(), vec![CUSTOM, 0xff, 0xff, 0xff, 0xff, 0xff, 1]].concat(), false);
        check(&[module(), vec![99, 1, 0]].concat(), false);
        check(&module()[..module().len() - 1], false);
        check(b"\0asm", false);
        check(b"\0asm\x02\0\0\0", false);
        let after = [custom("a", 500), vec![10, 1, 7]].concat();
        check(&[b"\0asm\x01\0\0\0".to_vec(), after].concat(), false);
    }

    #[test]
    fn places_are_those_of_the_file() {
        let file = [&module()[..8], &custom("files", 5_000), &[99, 1, 0]].concat();
        let kept = kept(&file, 64);
        let place =
            |bytes: &[u8]| wasmparser::Validator::new().validate_all(bytes).err().unwrap().offset();
        assert!(place(&kept.bytes) < 100);
        assert_eq!(kept.in_file(place(&kept.bytes)), place(&file));
    }

    #[test]
    fn more_than_the_limit_is_not_kept() {
        let mut skeleton = Skeleton::new(64);
        for _ in 0..1000 {
            skeleton.update(&[0x33; 50]);
        }
        assert!(skeleton.kept.len() <= 64);
        assert_eq!(skeleton.finish().unwrap_err(), Over::Bytes);

        let mut skeleton = Skeleton::new(1 << 20);
        skeleton.update(&module());
        for _ in 0..=CUSTOM_SECTIONS_MAX {
            skeleton.update(&custom("", 1));
        }
        assert_eq!(skeleton.finish().unwrap_err(), Over::CustomSections);
    }
}
