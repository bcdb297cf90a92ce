//! A file of more than one block as `unixfs-v1-2025` cuts it: raw leaves of 1 MiB under one dag-pb root.
//! Of each file there is one root and no other, so it is written and compared, never interpreted.

use daee_types::{Coded, Fault, Word};
use sha2::Digest as _;

use crate::{ArtifactCid, BLOCK_BYTES_MAX, Cid, FileCid};

/// Largest artifact: as many full leaves as one root has links.
pub const ARTIFACT_BYTES_MAX: u64 = (LINKS_MAX * BLOCK_BYTES_MAX) as u64;

/// Largest root in bytes.
pub const ROOT_BYTES_MAX: usize = LINKS_MAX * (LINK_BYTES_MAX + SIZE_BYTES_MAX) + 16;

const LINKS_MAX: usize = 1024;
/// A link with the tag before it, and a leaf's size with the tag before it.
const LINK_BYTES_MAX: usize = 48;
const SIZE_BYTES_MAX: usize = 4;

const LINK: u8 = 0x12;
const LINK_CID: u8 = 0x0a;
/// What goes into a link behind its CID: an empty name, and the size's tag.
const LINK_SIZE: [u8; 3] = [0x12, 0x00, 0x18];
/// CIDv1, raw, sha2-256.
const RAW_CID: [u8; 4] = [0x01, 0x55, 0x12, 0x20];
const DATA: u8 = 0x0a;
/// UnixFS: of type file, and the size's tag.
const FILE_SIZE: [u8; 3] = [0x08, 0x02, 0x18];
const LEAF_SIZE: u8 = 0x20;

/// A file as it is cut into blocks. Only what the profile makes exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLayout {
    size: u64,
    leaves: Vec<Word>,
}

/// Larger than [`ARTIFACT_BYTES_MAX`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the artifact is {size} bytes, at most {ARTIFACT_BYTES_MAX} are allowed")]
pub struct ArtifactTooLarge {
    /// Its size in bytes.
    pub size: u64,
}

impl Coded for ArtifactTooLarge {
    fn code(&self) -> &'static str {
        "DAEE-A003"
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

/// A block is not the root that the profile gives any file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the root of a unixfs-v1-2025 file: {0}; import the file again with `ipfs add \
     --cid-version=1 --raw-leaves --chunker=size-1048576 --max-file-links=1024`"
)]
pub struct RootError(pub(crate) &'static str);

impl Coded for RootError {
    fn code(&self) -> &'static str {
        "DAEE-A004"
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

impl FileLayout {
    /// Reads a root. It is written again and compared, so nothing but the one root of a file is taken.
    pub fn read(root: &[u8]) -> Result<Self, RootError> {
        if root.len() > ROOT_BYTES_MAX {
            return Err(RootError("it is longer than one of 1,024 links"));
        }
        let mut rest = root;
        let mut leaves = Vec::new();
        while let Some((link, behind)) = field(LINK, rest) {
            let cid = field(LINK_CID, link).and_then(|(cid, _)| cid.strip_prefix(&RAW_CID));
            let digest = cid.and_then(|digest| <&Word>::try_from(digest).ok());
            leaves.push(*digest.ok_or(RootError("a link is not to a raw sha2-256 leaf"))?);
            rest = behind;
        }
        let data = field(DATA, rest).map(|(data, _)| data);
        let size = data.and_then(|data| varint(data.strip_prefix(&FILE_SIZE)?));
        let (size, _) = size.ok_or(RootError("it holds no UnixFS file"))?;
        if leaves.len() < 2 {
            return Err(RootError("a file of one leaf is that leaf, without a root"));
        }
        let layout = Self::new(size, leaves);
        let layout = layout.ok_or(RootError("its leaves are not full ones of 1 MiB"))?;
        if layout.root().as_deref() != Some(root) {
            return Err(RootError("it is written in another way"));
        }
        Ok(layout)
    }

    fn new(size: u64, leaves: Vec<Word>) -> Option<Self> {
        let needed = size.div_ceil(BLOCK_BYTES_MAX as u64).max(1);
        let fits = size <= ARTIFACT_BYTES_MAX && needed == leaves.len() as u64;
        fits.then_some(Self { size, leaves })
    }

    /// The file's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many leaves there are, at least one.
    pub fn leaf_count(&self) -> usize {
        self.leaves.len()
    }

    /// CID and bytes of each leaf, in the order of the file.
    pub fn leaves(&self) -> impl ExactSizeIterator<Item = (Cid, usize)> {
        self.leaves.iter().enumerate().map(|(n, leaf)| (Cid::raw(leaf), self.leaf_bytes(n)))
    }

    /// The root's bytes; a file of one leaf has none.
    pub fn root(&self) -> Option<Vec<u8>> {
        if self.leaves.len() < 2 {
            return None;
        }
        let cids: Vec<[u8; 36]> = self.leaves.iter().map(raw_cid).collect();
        let children = cids.iter().enumerate().map(|(n, cid)| {
            let bytes = self.leaf_bytes(n) as u64;
            Child { cid, tree_bytes: bytes, file_bytes: bytes }
        });
        Some(node(children))
    }

    /// The file's CID.
    pub fn cid(&self) -> ArtifactCid {
        match self.root() {
            Some(root) => FileCid::of_root(&root).into(),
            None => Cid::raw(&self.leaves[0]).into(),
        }
    }

    fn leaf_bytes(&self, n: usize) -> usize {
        let left = self.size - (n * BLOCK_BYTES_MAX) as u64;
        usize::try_from(left).map_or(BLOCK_BYTES_MAX, |left| left.min(BLOCK_BYTES_MAX))
    }
}

/// Hashes the leaves of a file that comes in pieces, from where they lie. It keeps 32 bytes of each leaf.
#[derive(Clone, Debug, Default)]
pub struct FileHasher {
    size: u64,
    leaf: sha2::Sha256,
    leaf_bytes: usize,
    leaves: Vec<Word>,
}

impl FileHasher {
    /// Before the first piece.
    pub fn new() -> Self {
        Self::default()
    }

    /// The next piece.
    pub fn update(&mut self, mut piece: &[u8]) {
        self.size = self.size.saturating_add(piece.len() as u64);
        // Behind the last leaf a root can name, nothing is worth hashing.
        while !piece.is_empty() && self.leaves.len() < LINKS_MAX {
            let taken = piece.len().min(BLOCK_BYTES_MAX - self.leaf_bytes);
            self.leaf.update(&piece[..taken]);
            self.leaf_bytes += taken;
            piece = &piece[taken..];
            if self.leaf_bytes == BLOCK_BYTES_MAX {
                self.close_leaf();
            }
        }
    }

    /// The layout of all pieces.
    pub fn finish(mut self) -> Result<FileLayout, ArtifactTooLarge> {
        if self.leaf_bytes > 0 || self.leaves.is_empty() {
            self.close_leaf();
        }
        FileLayout::new(self.size, self.leaves).ok_or(ArtifactTooLarge { size: self.size })
    }

    fn close_leaf(&mut self) {
        self.leaves.push(self.leaf.finalize_reset().into());
        self.leaf_bytes = 0;
    }
}

/// What a node links to.
struct Child<'a> {
    cid: &'a [u8],
    /// Bytes of all blocks below.
    tree_bytes: u64,
    /// Bytes of the file below.
    file_bytes: u64,
}

/// The dag-pb node of a file with these children: links first, then the UnixFS data, as dag-pb has it.
fn node<'a>(children: impl ExactSizeIterator<Item = Child<'a>>) -> Vec<u8> {
    let mut node = Vec::with_capacity(children.len() * (LINK_BYTES_MAX + SIZE_BYTES_MAX) + 16);
    let mut sizes = Vec::with_capacity(children.len() * SIZE_BYTES_MAX);
    let mut size = 0;
    for Child { cid, tree_bytes, file_bytes } in children {
        let link_bytes = 2 + cid.len() + LINK_SIZE.len() + varint_bytes(tree_bytes);
        node.push(LINK);
        write_varint(link_bytes as u64, &mut node);
        node.extend([LINK_CID, cid.len() as u8]);
        node.extend(cid);
        node.extend(LINK_SIZE);
        write_varint(tree_bytes, &mut node);
        sizes.push(LEAF_SIZE);
        write_varint(file_bytes, &mut sizes);
        size += file_bytes;
    }
    node.push(DATA);
    let data_bytes = FILE_SIZE.len() + varint_bytes(size) + sizes.len();
    write_varint(data_bytes as u64, &mut node);
    node.extend(FILE_SIZE);
    write_varint(size, &mut node);
    node.extend(sizes);
    node
}

fn raw_cid(digest: &Word) -> [u8; 36] {
    let mut cid = [0; 36];
    cid[..4].copy_from_slice(&RAW_CID);
    cid[4..].copy_from_slice(digest);
    cid
}

/// The bytes of a field with this tag at the start, and what stands behind it.
fn field(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = varint(bytes.strip_prefix(&[tag])?)?;
    rest.split_at_checked(usize::try_from(len).ok()?)
}

/// An unsigned varint of at most 35 bits.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (n, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[n + 1..]));
        }
    }
    None
}

/// An unsigned varint in its shortest form.
pub(crate) fn write_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// How many bytes `write_varint` writes.
pub(crate) fn varint_bytes(value: u64) -> usize {
    (u64::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use daee_types::sha256;
    use proptest::prelude::*;
    use rand_chacha::{
        ChaCha20Rng,
        rand_core::{RngCore as _, SeedableRng as _},
    };

    use super::*;

    const MIB: u64 = 1 << 20;
    const OLD_LEAF: u64 = 256 << 10;

    /// The ten published vectors of IPIP-499 for files, from ipfs/kubo and ipfs/js-ipfs-unixfs (both MIT OR
    /// Apache-2.0): CID, seed, size. Contents are the ChaCha20 key stream under SHA-256 of the seed, and
    /// "hello world" without one.
    const V1_2025: [(&str, &str, u64); 5] = [
        ("bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e", "", 11),
        ("bafkreiacndfy443ter6qr2tmbbdhadvxxheowwf75s6zehscklu6ezxmta", "chunk-v1-seed", MIB),
        ("bafybeigmix7t42i6jacydtquhet7srwvgpizfg7gjbq7627d35mjomtu64", "chunk-v1-seed", MIB + 1),
        ("bafybeihmf37wcuvtx4hpu7he5zl5qaf2ineo2lqlfrapokkm5zzw7zyhvm", "v1-2025-seed", 1024 * MIB),
        (
            "bafybeibdsi225ugbkmpbdohnxioyab6jsqrmkts3twhpvfnzp77xtzpyhe",
            "v1-2025-seed",
            1024 * MIB + 1,
        ),
    ];
    const V0_2015: [(&str, &str, u64); 5] = [
        ("Qmf412jQZiuVUtdgnB36FXFX7xg5V6KEbSJ4dpQuhkLyfD", "", 11),
        ("QmWmRj3dFDZdb6ABvbmKhEL6TmPbAfBZ1t5BxsEyJrcZhE", "chunk-v0-seed", OLD_LEAF),
        ("QmYyLxtzZyW22zpoVAtKANLRHpDjZtNeDjQdJrcQNWoRkJ", "chunk-v0-seed", OLD_LEAF + 1),
        ("QmUbBALi174SnogsUzLpYbD4xPiBSFANF4iztWCsHbMKh2", "v0-seed", 174 * OLD_LEAF),
        ("QmV81WL765sC8DXsRhE5fJv2rwhS4icHRaf3J9Zk5FdRnW", "v0-seed", 174 * OLD_LEAF + 1),
    ];

    fn stream(seed: &str, size: u64, leaf_bytes: u64, mut sink: impl FnMut(&[u8])) {
        let mut random = ChaCha20Rng::from_seed(sha256(seed));
        let mut left = size;
        while left > 0 {
            let mut piece = vec![0; left.min(leaf_bytes) as usize];
            random.fill_bytes(&mut piece);
            sink(if seed.is_empty() { b"hello world" } else { &piece });
            left -= piece.len() as u64;
        }
    }

    /// Binary CID, bytes of its tree, bytes of its file.
    type Owned = (Vec<u8>, u64, u64);

    /// The root of any number of leaves: levels of nodes until one is left.
    fn tree(mut level: Vec<Owned>, links_max: usize, cid: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
        while level.len() > 1 {
            let parent = |children: &[Owned]| {
                let node = node(children.iter().map(|(cid, tree, file)| Child {
                    cid,
                    tree_bytes: *tree,
                    file_bytes: *file,
                }));
                let tree: u64 = children.iter().map(|(_, bytes, _)| bytes).sum();
                let file = children.iter().map(|(_, _, bytes)| bytes).sum();
                (cid(&node), tree + node.len() as u64, file)
            };
            level = level.chunks(links_max).map(parent).collect();
        }
        level.remove(0).0
    }

    /// CIDv0: the bare hash of a dag-pb node.
    fn v0(node: &[u8]) -> Vec<u8> {
        [&[0x12, 0x20], &sha256(node)[..]].concat()
    }

    /// A leaf of the old profile: contents within dag-pb.
    fn old_leaf(contents: &[u8]) -> Owned {
        let len = |value: usize| {
            let mut out = Vec::new();
            write_varint(value as u64, &mut out);
            out
        };
        let size = len(contents.len());
        let file = [&[0x08, 0x02, 0x12], &size[..], contents, &[0x18], &size[..]].concat();
        let leaf = [&[DATA], &len(file.len())[..], &file[..]].concat();
        (v0(&leaf), leaf.len() as u64, contents.len() as u64)
    }

    fn layout(bytes: &[u8], piece: usize) -> FileLayout {
        let mut hasher = FileHasher::new();
        bytes.chunks(piece).for_each(|piece| hasher.update(piece));
        hasher.finish().unwrap()
    }

    fn root_of(size: usize) -> Vec<u8> {
        layout(&vec![7; size], 1 << 20).root().unwrap()
    }

    fn check(root: &[u8], why: &str) {
        let error = FileLayout::read(root).unwrap_err();
        assert_eq!(error.code(), "DAEE-A004");
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn files_have_the_published_cids() {
        for (expected, seed, size) in V1_2025 {
            let (mut hasher, mut leaves) = (FileHasher::new(), Vec::new());
            stream(seed, size, MIB, |leaf| {
                hasher.update(leaf);
                let digest = hasher.leaves.last().filter(|_| leaf.len() as u64 == MIB);
                let digest = digest.copied().unwrap_or_else(|| sha256(leaf));
                leaves.push((raw_cid(&digest).to_vec(), leaf.len() as u64, leaf.len() as u64));
            });
            match hasher.finish() {
                Ok(layout) => assert_eq!(layout.cid().to_string(), expected),
                // The one that needs two levels of nodes, and so is larger than an artifact may be.
                Err(error) => {
                    assert_eq!((error.code(), error.size), ("DAEE-A003", ARTIFACT_BYTES_MAX + 1));
                    let last = leaves.last_mut().unwrap();
                    assert_eq!(last.1, 1);
                    let cid = tree(leaves, LINKS_MAX, |node| FileCid::of_root(node).to_bytes());
                    assert_eq!(cid::Cid::try_from(cid).unwrap().to_string(), expected);
                }
            }
        }
    }

    /// Nothing of the old profile is taken; its vectors hold the writer of nodes to five more files.
    #[test]
    fn nodes_are_those_of_the_old_profile_too() {
        for (expected, seed, size) in V0_2015 {
            let mut leaves = Vec::new();
            stream(seed, size, OLD_LEAF, |leaf| leaves.push(old_leaf(leaf)));
            let cid = tree(leaves, 174, v0);
            assert_eq!(cid::Cid::try_from(cid).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn the_same_file_has_one_layout_however_it_comes() {
        let bytes: Vec<u8> = (0..2_500_000_u32).map(|n| (n / 7) as u8).collect();
        let whole = layout(&bytes, bytes.len());
        for piece in [4_099, 1 << 20, (1 << 20) + 1] {
            assert_eq!(layout(&bytes, piece), whole);
        }
        assert_eq!(FileLayout::read(&whole.root().unwrap()), Ok(whole.clone()));
        let leaves: Vec<_> = whole.leaves().collect();
        let expected: Vec<_> =
            bytes.chunks(1 << 20).map(|leaf| (Cid::of(leaf), leaf.len())).collect();
        assert_eq!(leaves, expected);
    }

    #[test]
    fn the_largest_file_has_one_root_within_its_bound() {
        let leaves = vec![[0xff; 32]; LINKS_MAX];
        let largest = FileLayout::new(ARTIFACT_BYTES_MAX, leaves.clone()).unwrap();
        let root = largest.root().unwrap();
        assert!(root.len() <= ROOT_BYTES_MAX);
        assert_eq!(FileLayout::read(&root), Ok(largest));
        assert_eq!(FileLayout::new(ARTIFACT_BYTES_MAX + 1, leaves), None);
        check(&[&root[..], &[0; 4_000]].concat(), "longer than");
    }

    #[test]
    fn no_other_root_is_taken() {
        let good = root_of(2_000_000);
        assert!(FileLayout::read(&good).is_ok());
        check(b"", "no UnixFS file");
        check(&good[..good.len() - 1], "no UnixFS file");
        check(&[&good[..], b"\x08\x01"].concat(), "another way");
        // A directory: type 1.
        let directory = good.len() - 14;
        assert_eq!(good[directory..directory + 2], [0x08, 0x02]);
        check(&[&good[..directory], &[0x08, 0x01], &good[directory + 2..]].concat(), "no UnixFS");
        // A leaf that is dag-pb itself, as without --raw-leaves.
        check(&[&good[..5], &[0x70], &good[6..]].concat(), "raw sha2-256 leaf");
        // One link only.
        let link = 2 + usize::from(good[1]);
        check(&good[link..], "without a root");
        // Leaves of 256 KiB: more of them than the size has full ones.
        check(&[&good[..link], &good[..]].concat(), "1 MiB");
    }

    proptest! {
        #[test]
        fn no_byte_of_a_root_can_change_to_another_root_of_the_same_leaves(
            at in any::<prop::sample::Index>(),
            to in any::<u8>(),
        ) {
            let good = root_of(2_000_000);
            let mut bad = good.clone();
            let at = at.index(bad.len());
            bad[at] = to;
            if let Ok(read) = FileLayout::read(&bad) {
                prop_assert_eq!(read.root().unwrap(), bad);
            }
        }

        #[test]
        fn whatever_the_bytes_reading_ends(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = FileLayout::read(&bytes);
        }

        #[test]
        fn varints_have_the_length_that_is_said(value in any::<u64>()) {
            let mut out = Vec::new();
            write_varint(value, &mut out);
            prop_assert_eq!(out.len(), varint_bytes(value));
        }
    }
}
