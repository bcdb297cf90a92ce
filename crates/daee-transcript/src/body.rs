use daee_types::{
    Word, sha256,
    wire::{Reader, WireError, Writer},
};

/// What entries hold by its hash only: SHA-256 and bytes, no hash twice.
pub type Bodies = Vec<(Word, Vec<u8>)>;

/// Most bytes that stand in an entry itself.
pub const BODY_HERE_MAX: usize = 1024;

/// Bytes that stand in an entry, or beside it if they are many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// At most [`BODY_HERE_MAX`] bytes, as they are.
    Here(Vec<u8>),
    /// More, which travel on their own.
    Beside {
        /// Their SHA-256.
        sha256: Word,
        /// How many.
        len: u32,
    },
}

impl Body {
    /// Takes bytes in; if they are many, into `beside`.
    pub fn of(bytes: &[u8], beside: &mut Bodies) -> Self {
        if bytes.len() <= BODY_HERE_MAX {
            return Body::Here(bytes.to_vec());
        }
        let sha256 = sha256(bytes);
        if !beside.iter().any(|(known, _)| *known == sha256) {
            beside.push((sha256, bytes.to_vec()));
        }
        let len = u32::try_from(bytes.len()).expect("frames are bounded far below 4 GiB");
        Body::Beside { sha256, len }
    }

    fn write(&self, out: &mut Writer) {
        match self {
            Body::Here(bytes) => out.bytes(bytes),
            Body::Beside { sha256, len } => out.u32(*len).word(sha256),
        };
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let len = from.u32()?;
        Ok(match len as usize <= BODY_HERE_MAX {
            true => Body::Here(from.raw(len as usize)?.to_vec()),
            false => Body::Beside { sha256: from.word()?, len },
        })
    }
}

/// A frame of the door, its head and its body apart: the head of an event or an answer always differs, the body often
/// does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The head, with its length before it.
    pub head: Body,
    /// The rest.
    pub body: Body,
}

impl Frame {
    /// Takes a frame in; what is large goes into `beside`.
    pub fn of(frame: &[u8], beside: &mut Bodies) -> Self {
        let len = frame.first_chunk::<4>().map_or(0, |len| u32::from_le_bytes(*len) as usize);
        let (head, body) = frame.split_at(frame.len().min(len.saturating_add(4)));
        Self { head: Body::of(head, beside), body: Body::of(body, beside) }
    }

    /// The frame again. `find` gives bytes by their SHA-256; an error is the hash of those that are not there,
    /// or not as many as was said.
    pub fn join<'a>(
        &'a self,
        mut find: impl FnMut(&Word) -> Option<&'a [u8]>,
    ) -> Result<Vec<u8>, Word> {
        let mut part = |body: &'a Body| match body {
            Body::Here(bytes) => Ok(bytes.as_slice()),
            Body::Beside { sha256, len } => {
                find(sha256).filter(|bytes| bytes.len() == *len as usize).ok_or(*sha256)
            }
        };
        Ok([part(&self.head)?, part(&self.body)?].concat())
    }

    /// Looks for what [`Frame::join`] needs.
    pub fn check<'a>(&self, find: impl Fn(&Word) -> Option<&'a [u8]>) -> Result<(), Word> {
        for part in [&self.head, &self.body] {
            if let Body::Beside { sha256, len } = part
                && find(sha256).is_none_or(|bytes| bytes.len() != *len as usize)
            {
                return Err(*sha256);
            }
        }
        Ok(())
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.head.write(out);
        self.body.write(out);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        Ok(Self { head: Body::read(from)?, body: Body::read(from)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(frame: &[u8], beside: usize) {
        let mut bodies = Vec::new();
        let parts = Frame::of(frame, &mut bodies);
        assert_eq!(bodies.len(), beside);
        let find = |wanted: &Word| {
            bodies.iter().find(|(hash, _)| hash == wanted).map(|(_, bytes)| bytes.as_slice())
        };
        assert_eq!(parts.join(find).unwrap(), frame);
        let mut out = Writer::new();
        parts.write(&mut out);
        let bytes = out.finish();
        assert_eq!(Frame::read(&mut Reader::new(&bytes)), Ok(parts.clone()));
        if beside > 0 {
            assert!(parts.join(|_| None).is_err());
            assert!(parts.join(|_| Some(&b"other"[..])).is_err());
        }
    }

    #[test]
    fn a_frame_comes_back_from_its_parts_and_from_no_others() {
        check(b"", 0);
        check(b"\xff", 0);
        check(b"\xff\xff\xff\xff{}", 0);
        check(b"\x02\0\0\0{}body", 0);
        check(&[b"\x02\0\0\0{}", &[7; BODY_HERE_MAX][..]].concat(), 0);
        check(&[b"\x02\0\0\0{}", &[7; BODY_HERE_MAX + 1][..]].concat(), 1);
        check(&[&2000u32.to_le_bytes()[..], &[b'x'; 5000]].concat(), 2);
    }

    #[test]
    fn the_same_bytes_stand_beside_a_turn_once() {
        let mut bodies = Vec::new();
        for head in [b"{}", b"[]"] {
            Frame::of(&[b"\x02\0\0\0", &head[..], &[7; 9000]].concat(), &mut bodies);
        }
        assert_eq!(bodies.len(), 1);
    }
}
