use std::collections::HashMap;

use daee_types::sha256;

use super::{
    ARTIFACT, BODY, CID_BYTES, PROBLEMS_MAX, PackageError, YAML,
    header::{self, HEADER_BYTES_MAX},
};
use crate::{ArtifactCid, BLOCK_BYTES_MAX, FileLayout, ROOT_BYTES_MAX};

/// Blocks that are kept because the file of an [`ArtifactReader`] has them again.
const KEPT_MAX: usize = 8;

/// What a package holds beside its artifact, whose bytes went elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// CID of the artifact.
    pub artifact: ArtifactCid,
    /// Its size in bytes.
    pub artifact_bytes: u64,
    /// Canonical body of the manifest (RFC 8785 JSON).
    pub body: Vec<u8>,
    /// `agent.yaml` as its author wrote it.
    pub yaml: Vec<u8>,
}

/// Reads a package that comes in pieces and may be too large to hold. Every block is checked against its
/// CID, and of the artifact's none is kept longer than that takes.
#[derive(Clone, Debug)]
pub struct Reader(Blocks);

/// Reads a CARv1 with an artifact alone, as `ipfs dag export` writes it, in pieces.
#[derive(Clone, Debug)]
pub struct ArtifactReader(Blocks);

impl Reader {
    /// Before the first piece.
    pub fn new() -> Self {
        Self(Blocks::new(&[ARTIFACT, BODY, YAML], "artifact, body and yaml", 0))
    }

    /// The next piece. The artifact's bytes go to `sink` in order and once they are verified, up to the
    /// first that are not there or wrong.
    pub fn update(&mut self, piece: &[u8], sink: impl FnMut(&[u8])) {
        self.0.update(piece, sink);
    }

    /// The canonical body, as soon as it was read and verified.
    pub fn body(&self) -> Option<&[u8]> {
        self.0.body.as_deref()
    }

    /// The YAML, as soon as it was read and verified: what is wrong with the artifact need not keep anybody
    /// from judging the manifest.
    pub fn yaml(&self) -> Option<&[u8]> {
        self.0.yaml.as_deref()
    }

    /// The artifact's CID, as soon as the header was read.
    pub fn artifact(&self) -> Option<ArtifactCid> {
        self.0.artifact
    }

    /// The parts, if nothing is wrong with the package; otherwise all that is wrong, in the order of the
    /// file, and at most [`PROBLEMS_MAX`].
    pub fn finish(self) -> Result<Parts, Vec<PackageError>> {
        let Blocks { artifact, delivered, body, yaml, .. } = self.0.finish()?;
        let parts = || Some((artifact?, body?, yaml?));
        let (artifact, body, yaml) = parts().expect("without problems every part was read");
        Ok(Parts { artifact, artifact_bytes: delivered, body, yaml })
    }
}

impl ArtifactReader {
    /// Before the first piece.
    pub fn new() -> Self {
        Self(Blocks::new(&[ARTIFACT], "an artifact alone", KEPT_MAX))
    }

    /// The next piece. The artifact's bytes go to `sink` in order and once they are verified.
    pub fn update(&mut self, piece: &[u8], sink: impl FnMut(&[u8])) {
        self.0.update(piece, sink);
    }

    /// The artifact's CID, as soon as the header was read.
    pub fn artifact(&self) -> Option<ArtifactCid> {
        self.0.artifact
    }

    /// CID and size in bytes, or all that is wrong as [`Reader::finish`] says it.
    pub fn finish(self) -> Result<(ArtifactCid, u64), Vec<PackageError>> {
        let Blocks { artifact, delivered, .. } = self.0.finish()?;
        Ok((artifact.expect("without problems the header was read"), delivered))
    }
}

impl Default for Reader {
    fn default() -> Self {
        Self::new()
    }
}

impl Default for ArtifactReader {
    fn default() -> Self {
        Self::new()
    }
}

type Key = [u8; CID_BYTES];

/// Blocks behind a header, each held against what the roots lead to.
#[derive(Clone, Debug)]
struct Blocks {
    parts: &'static [&'static str],
    /// What the roots are to be, in words.
    of: &'static str,
    kept_max: usize,
    /// Bytes that came.
    at: u64,
    state: State,
    /// Bytes of what is not yet whole.
    buffer: Vec<u8>,
    artifact: Option<ArtifactCid>,
    /// Whether it is known which leaves to expect.
    leaves: Leaves,
    expected: Vec<Expected>,
    /// The first block that nothing has come for or behind.
    next: usize,
    /// How often each block is still to come.
    due: HashMap<Key, u32>,
    /// Leaves that are in the file again, for an artifact alone.
    kept: HashMap<Key, Vec<u8>>,
    /// How often a block may come that was taken from `kept` already.
    spare: HashMap<Key, u32>,
    /// Bytes of the artifact that went to the sink.
    delivered: u64,
    /// Whether a byte of the artifact was missing before.
    broken: bool,
    body: Option<Vec<u8>>,
    yaml: Option<Vec<u8>>,
    problems: Vec<PackageError>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    HeaderLength,
    Header(usize),
    /// Between blocks, or in the length of one that starts here.
    Length(u64),
    /// In the CID of a block of so many bytes, CID included, that starts there.
    Cid(u64, u64),
    /// In a block of so many bytes that is wanted.
    Block(Wanted, usize),
    /// In a block that is not, with so many bytes to come.
    Skip(u64),
    /// Behind the last block, from there on.
    Trailing(u64),
    /// What comes cannot be read.
    Lost,
}

#[derive(Clone, Copy, Debug)]
enum Wanted {
    /// The one that is expected there.
    Expected(usize),
    /// One that was taken from those kept.
    Spare(Key),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    Known,
    /// Nothing has come for them yet.
    BehindRoot,
    /// Blocks came that only a root in its place could have told apart.
    Unknown,
}

#[derive(Clone, Debug)]
struct Expected {
    key: Key,
    role: Role,
    taken: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Root,
    Leaf,
    Body,
    Yaml,
}

impl Role {
    fn part(self) -> &'static str {
        match self {
            Self::Root | Self::Leaf => ARTIFACT,
            Self::Body => BODY,
            Self::Yaml => YAML,
        }
    }
}

impl Blocks {
    fn new(parts: &'static [&'static str], of: &'static str, kept_max: usize) -> Self {
        Self {
            parts,
            of,
            kept_max,
            at: 0,
            state: State::HeaderLength,
            buffer: Vec::new(),
            artifact: None,
            leaves: Leaves::Known,
            expected: Vec::new(),
            next: 0,
            due: HashMap::new(),
            kept: HashMap::new(),
            spare: HashMap::new(),
            delivered: 0,
            broken: false,
            body: None,
            yaml: None,
            problems: Vec::new(),
        }
    }

    fn update(&mut self, mut piece: &[u8], mut sink: impl FnMut(&[u8])) {
        while !piece.is_empty() {
            let taken = match self.state {
                State::HeaderLength => self.header_length(piece),
                State::Header(len) => self.header(piece, len),
                State::Length(start) => self.length(piece, start),
                State::Cid(len, start) => self.cid(piece, len, start),
                State::Block(wanted, len) => self.block(piece, wanted, len, &mut sink),
                State::Skip(left) => self.skip(piece, left),
                State::Trailing(_) | State::Lost => piece.len(),
            };
            self.at += taken as u64;
            piece = &piece[taken..];
            self.close_empty(&mut sink);
        }
    }

    fn finish(mut self) -> Result<Self, Vec<PackageError>> {
        match self.state {
            // Where a block would start, the file may end.
            State::Length(start) if start == self.at => self.find_missing(),
            State::Length(start) | State::Cid(_, start) | State::Trailing(start)
                if self.is_done() =>
            {
                self.find(PackageError::Trailing(self.at - start));
            }
            State::Lost => {}
            _ => self.find(PackageError::Truncated { at: self.at }),
        }
        if self.problems.is_empty() { Ok(self) } else { Err(self.problems) }
    }

    /// Every block that was expected and did not come.
    fn find_missing(&mut self) {
        let expected = std::mem::take(&mut self.expected);
        let mut seen: HashMap<Key, bool> = HashMap::new();
        for Expected { key, role, taken } in expected {
            let again = seen.insert(key, taken || seen.get(&key) == Some(&true)) == Some(true);
            if taken {
                continue;
            }
            let cid = shown(&key);
            if again && self.kept_max > 0 {
                self.find(PackageError::Repeated { cid, kept: self.kept_max });
            } else {
                self.find(PackageError::Missing { part: role.part(), cid });
            }
        }
    }

    /// Whether everything came that is expected.
    fn is_done(&self) -> bool {
        self.leaves == Leaves::Known && self.expected.iter().all(|expected| expected.taken)
    }

    fn find(&mut self, problem: PackageError) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(problem);
        }
    }

    fn lose(&mut self, what: &'static str, at: u64) {
        self.find(PackageError::Malformed { what, at });
        self.state = State::Lost;
    }

    fn header_length(&mut self, piece: &[u8]) -> usize {
        self.buffer.push(piece[0]);
        let Some((len, shortest, _)) = header::varint(&self.buffer) else {
            if self.buffer.len() > 4 {
                self.lose("the header's length is too large", 0);
            }
            return 1;
        };
        self.buffer.clear();
        match usize::try_from(len) {
            Ok(len @ 1..=HEADER_BYTES_MAX) => self.state = State::Header(len),
            _ => self.lose("the header's length is none of a CARv1 with a few roots", 0),
        }
        if !shortest {
            self.find(PackageError::NotCanonical { what: "header's length", at: 0 });
        }
        1
    }

    fn header(&mut self, piece: &[u8], len: usize) -> usize {
        if self.buffer.is_empty() && !header::may_start(piece[0]) {
            self.lose("the header is not that of a CARv1", self.at);
            return 1;
        }
        let taken = piece.len().min(len - self.buffer.len());
        self.buffer.extend(&piece[..taken]);
        if self.buffer.len() < len {
            return taken;
        }
        let start = self.at + taken as u64 - len as u64;
        let header = std::mem::take(&mut self.buffer);
        match header::read(&header) {
            Ok((roots, canonical)) => {
                if !canonical {
                    self.find(PackageError::NotCanonical { what: "header", at: start });
                }
                self.state = State::Length(start + len as u64);
                self.roots(&roots, start);
            }
            Err(what) => self.lose(what, start),
        }
        taken
    }

    fn roots(&mut self, roots: &[Vec<u8>], at: u64) {
        let mut keys = Vec::new();
        for root in roots {
            match header::kind(root).accept(at) {
                Ok(key) if root.len() == CID_BYTES => keys.push(key),
                Err(Some(problem)) => self.find(problem),
                Ok(_) | Err(None) => {
                    self.find(PackageError::Malformed { what: "a root is no CID", at })
                }
            }
        }
        if roots.len() != self.parts.len() {
            let few = roots.len() < self.parts.len();
            let what = if few { "too few roots" } else { "too many roots" };
            self.find(PackageError::Roots { what, of: self.of });
        }
        let others = keys.get(1..).unwrap_or_default();
        if others.iter().any(|key| matches!(ArtifactCid::from_bytes(key), Ok(ArtifactCid::File(_))))
        {
            let what = "body or yaml is a file of several blocks";
            self.find(PackageError::Roots { what, of: self.of });
        }
        if !self.problems.iter().all(|p| matches!(p, PackageError::NotCanonical { .. })) {
            // Without its roots, nothing says what any block is for.
            self.state = State::Lost;
            return;
        }
        let artifact = ArtifactCid::from_bytes(&keys[0]).expect("its kind was looked at");
        let first = match artifact {
            ArtifactCid::Block(_) => Role::Leaf,
            ArtifactCid::File(_) => {
                self.leaves = Leaves::BehindRoot;
                Role::Root
            }
        };
        self.artifact = Some(artifact);
        for (key, role) in keys.into_iter().zip([first, Role::Body, Role::Yaml]) {
            self.expect(self.expected.len(), key, role);
        }
    }

    fn expect(&mut self, place: usize, key: Key, role: Role) {
        self.expected.insert(place, Expected { key, role, taken: false });
        *self.due.entry(key).or_default() += 1;
    }

    /// One byte of a block's length.
    fn length(&mut self, piece: &[u8], start: u64) -> usize {
        self.buffer.push(piece[0]);
        let read = header::varint(&self.buffer).map(|(len, shortest, _)| (len, shortest));
        if read.is_none() && self.buffer.len() < 5 {
            return 1;
        }
        self.buffer.clear();
        match read {
            Some((len @ 4.., shortest)) => {
                if !shortest {
                    self.find(PackageError::NotCanonical { what: "length", at: start });
                }
                self.state = State::Cid(len, start);
            }
            _ if self.is_done() => self.state = State::Trailing(start),
            Some(_) => self.lose("a block is shorter than its CID", start),
            None => self.lose("a length is too large", start),
        }
        1
    }

    fn cid(&mut self, piece: &[u8], len: u64, start: u64) -> usize {
        let needed = usize::try_from(len).map_or(CID_BYTES, |len| len.min(CID_BYTES));
        let taken = piece.len().min(needed - self.buffer.len());
        self.buffer.extend(&piece[..taken]);
        if self.buffer.len() < needed {
            return taken;
        }
        let at = self.at + taken as u64 - needed as u64;
        let found = header::kind(&self.buffer);
        self.buffer.clear();
        let left = len - needed as u64;
        match found.accept(at) {
            Ok(key) => self.state = self.place(key, left),
            Err(Some(problem)) => {
                self.find(problem);
                self.state = State::Skip(left);
            }
            Err(None) if self.is_done() => self.state = State::Trailing(start),
            Err(None) => self.lose("a block has no CID", at),
        }
        taken
    }

    /// What a block with this CID is for.
    fn place(&mut self, key: Key, bytes: u64) -> State {
        let due = self.due.get(&key).copied();
        if due == Some(0) && self.spare.get(&key).is_some_and(|spare| *spare > 0) {
            return match usize::try_from(bytes) {
                Ok(len @ ..=BLOCK_BYTES_MAX) => State::Block(Wanted::Spare(key), len),
                _ => self.too_large("block", bytes),
            };
        }
        match due {
            Some(1..) => {}
            Some(_) => {
                self.find(PackageError::Duplicated { cid: shown(&key) });
                return State::Skip(bytes);
            }
            None if self.leaves == Leaves::Known => {
                self.find(PackageError::Extra { cid: shown(&key) });
                return State::Skip(bytes);
            }
            // It may be a leaf: who knows without the root.
            None => {
                self.leaves = Leaves::Unknown;
                return State::Skip(bytes);
            }
        }
        let is_due = |expected: &Expected| !expected.taken && expected.key == key;
        let ahead = self.expected[self.next..].iter().position(is_due).map(|n| self.next + n);
        let found = ahead.or_else(|| self.expected.iter().position(is_due));
        let found = found.expect("what is due is expected somewhere");
        let role = self.expected[found].role;
        self.expected[found].taken = true;
        *self.due.get_mut(&key).expect("it is due") -= 1;
        if found < self.next {
            self.find(PackageError::Misplaced { part: role.part(), cid: shown(&key) });
        }
        // What was passed over is behind now, and so is what of the artifact would follow it.
        let passed = self.expected.get(self.next..found).unwrap_or_default();
        if role == Role::Leaf {
            self.broken |= found < self.next || passed.iter().any(|e| e.role == Role::Leaf);
        }
        self.next = self.next.max(found + 1);
        let limit = if role == Role::Root { ROOT_BYTES_MAX } else { BLOCK_BYTES_MAX };
        match usize::try_from(bytes) {
            Ok(len) if len <= limit => State::Block(Wanted::Expected(found), len),
            _ => {
                self.broken |= role == Role::Leaf;
                self.too_large(role.part(), bytes)
            }
        }
    }

    fn too_large(&mut self, part: &'static str, bytes: u64) -> State {
        self.find(PackageError::TooLarge { part, size: bytes });
        State::Skip(bytes)
    }

    /// A block that is whole in one piece is looked at where it lies.
    fn block(
        &mut self,
        piece: &[u8],
        wanted: Wanted,
        len: usize,
        sink: &mut impl FnMut(&[u8]),
    ) -> usize {
        let taken = piece.len().min(len - self.buffer.len());
        let end = self.at + taken as u64;
        if taken == len {
            self.whole(&piece[..len], wanted, end, sink);
            return taken;
        }
        if self.buffer.is_empty() {
            self.buffer.reserve_exact(len);
        }
        self.buffer.extend(&piece[..taken]);
        if self.buffer.len() == len {
            let mut block = std::mem::take(&mut self.buffer);
            self.whole(&block, wanted, end, sink);
            block.clear();
            self.buffer = block;
        }
        taken
    }

    fn skip(&mut self, piece: &[u8], left: u64) -> usize {
        let taken = piece.len().min(left.try_into().unwrap_or(usize::MAX));
        self.state = State::Skip(left - taken as u64);
        taken
    }

    /// Goes on behind what has no bytes left to come: an empty block needs no piece.
    fn close_empty(&mut self, sink: &mut impl FnMut(&[u8])) {
        match self.state {
            State::Block(wanted, 0) => self.whole(&[], wanted, self.at, sink),
            State::Skip(0) => self.state = State::Length(self.at),
            _ => {}
        }
    }

    fn whole(&mut self, block: &[u8], wanted: Wanted, end: u64, sink: &mut impl FnMut(&[u8])) {
        self.state = State::Length(end);
        let (key, role) = match wanted {
            Wanted::Spare(key) => (key, Role::Leaf),
            Wanted::Expected(n) => (self.expected[n].key, self.expected[n].role),
        };
        if sha256(block) != key[4..] {
            self.find(PackageError::WrongBlock { part: role.part(), cid: shown(&key) });
            self.broken |= role == Role::Leaf && matches!(wanted, Wanted::Expected(_));
            return;
        }
        match (wanted, role) {
            (Wanted::Spare(_), _) => *self.spare.entry(key).or_default() -= 1,
            (Wanted::Expected(n), Role::Root) => self.root(block, n),
            (_, Role::Leaf) => {
                self.deliver(block, sink);
                self.repeat(key, block, sink);
            }
            (_, Role::Body) => self.body = Some(block.to_vec()),
            (_, Role::Yaml) => self.yaml = Some(block.to_vec()),
        }
    }

    /// Expects what a file's root links to.
    fn root(&mut self, root: &[u8], place: usize) {
        let layout = match FileLayout::read(root) {
            Ok(layout) => layout,
            Err(error) => return self.find(error.into()),
        };
        if self.leaves == Leaves::Unknown {
            // Its leaves came before it.
            let cid = self.artifact.map(|cid| cid.to_string()).unwrap_or_default();
            return self.find(PackageError::Misplaced { part: ARTIFACT, cid });
        }
        self.leaves = Leaves::Known;
        let behind = self.expected.split_off(place + 1);
        for (cid, _) in layout.leaves() {
            let key = cid.to_bytes().try_into().expect("a raw CID has 36 bytes");
            self.expect(self.expected.len(), key, Role::Leaf);
        }
        // Where body or yaml came first, the leaves are behind them too.
        if self.next > place + 1 {
            self.next += layout.leaf_count();
        }
        self.expected.extend(behind);
    }

    fn deliver(&mut self, leaf: &[u8], sink: &mut impl FnMut(&[u8])) {
        if !self.broken {
            sink(leaf);
            self.delivered += leaf.len() as u64;
        }
    }

    /// Keeps a leaf that is in the file again, where the CAR need not have it again, and goes on with those
    /// that are kept.
    fn repeat(&mut self, key: Key, leaf: &[u8], sink: &mut impl FnMut(&[u8])) {
        if self.kept_max == 0 {
            return;
        }
        if self.due[&key] > 0 && self.kept.len() < self.kept_max {
            self.kept.insert(key, leaf.to_vec());
        }
        while let Some(Expected { key, taken: false, .. }) = self.expected.get(self.next) {
            let key = *key;
            let Some(leaf) = self.kept.remove(&key) else { return };
            self.deliver(&leaf, sink);
            self.expected[self.next].taken = true;
            self.next += 1;
            *self.spare.entry(key).or_default() += 1;
            let due = self.due.get_mut(&key).expect("it is due");
            *due -= 1;
            if *due > 0 {
                self.kept.insert(key, leaf);
            }
        }
    }
}

fn shown(key: &Key) -> String {
    ArtifactCid::from_bytes(key).map_or_else(|_| String::new(), |cid| cid.to_string())
}
