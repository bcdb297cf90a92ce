use daee_types::{
    LogRoot, Timestamp, Word, keccak256,
    wire::{Reader, WireError, Writer},
};

/// How much a line matters.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For the author.
    Debug,
    /// For the operator.
    Info,
    /// Something is off.
    Warn,
    /// Something failed.
    Error,
}

/// One line of an agent's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its number, from 0, over the deployment's whole life.
    pub seq: u64,
    /// The event's time when it was written.
    pub at: Timestamp,
    /// The turn that wrote it.
    pub turn: u64,
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
}

impl LogLine {
    /// The leaf of the log's tree: `keccak(0x00, encoding)`.
    pub fn hash(&self) -> Word {
        let mut input = vec![0x00];
        input.extend(self.encode());
        keccak256(input)
    }

    /// The bytes that are kept and hashed.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new();
        out.u64(self.seq).u64(self.at.0).u64(self.turn).byte(self.level as u8);
        out.bytes(self.text.as_bytes());
        out.finish()
    }

    /// Reads what [`LogLine::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut from = Reader::new(bytes);
        let line = Self {
            seq: from.u64()?,
            at: Timestamp(from.u64()?),
            turn: from.u64()?,
            level: match from.byte()? {
                0 => Level::Debug,
                1 => Level::Info,
                2 => Level::Warn,
                3 => Level::Error,
                _ => return Err(from.wrong("unknown level")),
            },
            text: from.text()?.to_owned(),
        };
        from.finish()?;
        Ok(line)
    }
}

/// The peaks of a Merkle mountain range over log lines: enough to append and to know the root.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    len: u64,
    peaks: Vec<Word>,
}

impl Log {
    /// Adds a line.
    pub fn append(&mut self, at: Timestamp, turn: u64, level: Level, text: &str) -> LogLine {
        let line = LogLine { seq: self.len, at, turn, level, text: text.to_owned() };
        self.push(line.hash());
        line
    }

    /// The root: the peaks bagged from the right under the number of lines.
    pub fn root(&self) -> LogRoot {
        LogRoot::new(bag(self.len, &self.peaks))
    }

    /// Lines so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// True before the first line.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u64(self.len).u32(self.peaks.len() as u32);
        for peak in &self.peaks {
            out.word(peak);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let len = from.u64()?;
        let count = from.count(32)?;
        if count != len.count_ones() as usize {
            return Err(from.wrong("the number of peaks does not fit the number of lines"));
        }
        let peaks = (0..count).map(|_| from.word()).collect::<Result<_, _>>()?;
        Ok(Self { len, peaks })
    }

    /// One peak stands for each bit of the length; adding a line carries like adding one.
    fn push(&mut self, leaf: Word) {
        let mut top = leaf;
        for _ in 0..self.len.trailing_ones() {
            let left = self.peaks.pop().expect("a peak stands for every set bit of the length");
            top = pair(&left, &top);
        }
        self.peaks.push(top);
        self.len += 1;
    }
}

/// Shows that one line is in the log with some root.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Proof {
    /// Lines in the log.
    pub len: u64,
    /// Siblings from the line up to its peak.
    pub siblings: Vec<Word>,
    /// The other peaks, left to right.
    pub peaks: Vec<Word>,
}

/// Proves the line `seq` of the log whose lines hash to `leaves`; `None` if there is no such line.
pub fn prove(leaves: &[Word], seq: u64) -> Option<Proof> {
    let len = leaves.len() as u64;
    let (start, size) = mountain(len, seq)?;
    let mut level = leaves[start as usize..(start + size) as usize].to_vec();
    let mut at = (seq - start) as usize;
    let mut siblings = Vec::new();
    while level.len() > 1 {
        siblings.push(level[at ^ 1]);
        level = level.chunks(2).map(|two| pair(&two[0], &two[1])).collect();
        at /= 2;
    }
    let mut all = Log::default();
    leaves.iter().for_each(|leaf| all.push(*leaf));
    let peaks = all.peaks.into_iter().filter(|peak| *peak != level[0]).collect();
    Some(Proof { len, siblings, peaks })
}

/// Whether `line` is in the log with this root.
pub fn verify(root: &LogRoot, line: &LogLine, proof: &Proof) -> bool {
    let Some((start, size)) = mountain(proof.len, line.seq) else { return false };
    if 1u64.checked_shl(proof.siblings.len() as u32) != Some(size)
        || proof.peaks.len() + 1 != proof.len.count_ones() as usize
    {
        return false;
    }
    let mut top = line.hash();
    for (height, sibling) in proof.siblings.iter().enumerate() {
        let right = (line.seq - start) >> height & 1 == 1;
        top = if right { pair(sibling, &top) } else { pair(&top, sibling) };
    }
    // Mountains stand from the largest to the smallest, one a bit.
    let place = (proof.len & !(size - 1) & !size).count_ones() as usize;
    let mut peaks = proof.peaks.clone();
    peaks.insert(place, top);
    bag(proof.len, &peaks) == *root.as_bytes()
}

/// Where the mountain over line `seq` starts, and how many lines it covers.
fn mountain(len: u64, seq: u64) -> Option<(u64, u64)> {
    let mut start = 0;
    for bit in (0..64).rev() {
        let size = 1u64 << bit;
        if len & size == 0 {
            continue;
        }
        if seq < start + size {
            return Some((start, size));
        }
        start += size;
    }
    None
}

fn pair(left: &Word, right: &Word) -> Word {
    let mut input = [0x01; 65];
    input[1..33].copy_from_slice(left);
    input[33..].copy_from_slice(right);
    keccak256(input)
}

fn bag(len: u64, peaks: &[Word]) -> Word {
    let top = peaks.iter().rev().copied().reduce(|right, left| pair(&left, &right));
    let mut input = [0; 41];
    input[0] = 0x02;
    input[1..9].copy_from_slice(&len.to_be_bytes());
    input[9..].copy_from_slice(&top.unwrap_or_default());
    keccak256(input)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log_of(len: u64) -> (Log, Vec<LogLine>) {
        let mut log = Log::default();
        let lines =
            (0..len).map(|n| log.append(Timestamp(n), n, Level::Info, &format!("{n}"))).collect();
        (log, lines)
    }

    #[test]
    fn every_line_is_proven_and_no_other_passes_for_it() {
        for len in 1..40 {
            let (log, lines) = log_of(len);
            let leaves: Vec<_> = lines.iter().map(LogLine::hash).collect();
            for line in &lines {
                let proof = prove(&leaves, line.seq).unwrap();
                assert!(verify(&log.root(), line, &proof), "line {} of {len}", line.seq);
                let mut forged = line.clone();
                forged.text.push('!');
                assert!(!verify(&log.root(), &forged, &proof));
                for other in lines.iter().filter(|other| other.seq != line.seq) {
                    let mut moved = line.clone();
                    moved.seq = other.seq;
                    assert!(!verify(&log.root(), &moved, &proof));
                }
                let longer = Proof { len: len + 1, ..proof };
                assert!(!verify(&log.root(), line, &longer));
            }
            assert_eq!(prove(&leaves, len), None);
        }
    }

    #[test]
    fn lines_read_back_as_they_were_written() {
        let (_, lines) = log_of(3);
        for line in lines {
            assert_eq!(LogLine::decode(&line.encode()), Ok(line));
        }
    }
}
