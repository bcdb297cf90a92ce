//! The byte format of everything the workspace keeps or sends between its own parts: integers little
//! endian, byte strings behind a 32-bit length, nothing self-describing. A reader checks every
//! length against what is really there, so hostile bytes cost no more than their own size.

/// Appends values to a byte string.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }
    /// One that goes on behind these bytes.
    pub fn onto(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
    /// One byte.
    pub fn byte(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }
    /// 32 bits, little endian.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    /// 64 bits, little endian.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }
    /// 32 bytes as they are.
    pub fn word(&mut self, value: &[u8; 32]) -> &mut Self {
        self.0.extend(value);
        self
    }
    /// Bytes as they are, without a length.
    pub fn raw(&mut self, value: &[u8]) -> &mut Self {
        self.0.extend(value);
        self
    }
    /// A byte string of less than 4 GiB behind its length.
    ///
    /// # Panics
    /// If it is longer: no bound of the workspace lets one grow that large.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        let len = u32::try_from(value.len()).expect("byte strings are bounded far below 4 GiB");
        self.u32(len).raw(value)
    }
    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// The bytes are not what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed bytes at offset {offset}: {what}")]
pub struct WireError {
    /// Where, in bytes from the start.
    pub offset: usize,
    /// What was wrong.
    pub what: &'static str,
}

/// Takes values off a byte string.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the start.
    pub fn new(all: &'a [u8]) -> Self {
        Self { all, at: 0 }
    }
    /// Bytes not yet read.
    pub fn left(&self) -> usize {
        self.all.len() - self.at
    }
    /// An error at this place.
    pub fn wrong(&self, what: &'static str) -> WireError {
        WireError { offset: self.at, what }
    }
    /// So many bytes.
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8], WireError> {
        let end = self.at.checked_add(len).filter(|end| *end <= self.all.len());
        let end = end.ok_or_else(|| self.wrong("the bytes end too early"))?;
        let taken = &self.all[self.at..end];
        self.at = end;
        Ok(taken)
    }
    /// One byte.
    pub fn byte(&mut self) -> Result<u8, WireError> {
        Ok(self.raw(1)?[0])
    }
    /// 32 bits.
    pub fn u32(&mut self) -> Result<u32, WireError> {
        Ok(u32::from_le_bytes(self.array()?))
    }
    /// 64 bits.
    pub fn u64(&mut self) -> Result<u64, WireError> {
        Ok(u64::from_le_bytes(self.array()?))
    }
    /// 32 bytes.
    pub fn word(&mut self) -> Result<[u8; 32], WireError> {
        self.array()
    }
    /// A fixed number of bytes.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut out = [0; N];
        out.copy_from_slice(self.raw(N)?);
        Ok(out)
    }
    /// A byte string behind its length.
    pub fn bytes(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.u32()? as usize;
        self.raw(len)
    }
    /// The same, as UTF-8 text.
    pub fn text(&mut self) -> Result<&'a str, WireError> {
        let at = self.at;
        std::str::from_utf8(self.bytes()?)
            .map_err(|_| WireError { offset: at, what: "the text is not UTF-8" })
    }
    /// A number of items that each take at least `least` bytes, so that a count cannot promise more
    /// than the bytes can hold.
    pub fn count(&mut self, least: usize) -> Result<usize, WireError> {
        let count = self.u32()? as usize;
        if count.saturating_mul(least.max(1)) > self.left() {
            return Err(self.wrong("a count is larger than the bytes behind it"));
        }
        Ok(count)
    }
    /// Nothing may be left.
    pub fn finish(self) -> Result<(), WireError> {
        if self.left() == 0 { Ok(()) } else { Err(self.wrong("bytes are left over")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_counts_cannot_promise_more_than_there_is() {
        let mut huge = Writer::new();
        huge.u32(u32::MAX);
        let huge = huge.finish();
        assert!(Reader::new(&huge).bytes().is_err());
        assert!(Reader::new(&huge).count(0).is_err());
        assert!(Reader::new(&[1, 2, 3]).u32().is_err());
    }

    #[test]
    fn bytes_left_over_are_an_error() {
        let mut reader = Reader::new(&[1, 2]);
        assert_eq!(reader.byte(), Ok(1));
        assert_eq!(reader.finish().unwrap_err().what, "bytes are left over");
    }
}
