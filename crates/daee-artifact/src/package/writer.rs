use daee_types::Word;
use sha2::Digest as _;

use super::{BODY, PackageError, YAML, fits, header};
use crate::{ArtifactCid, BLOCK_BYTES_MAX, Cid, FileLayout};

/// Writes a package in a second pass over its artifact, which may be too large to hold. What is to be
/// written comes out in pieces; nothing is kept but the artifact's layout, the body and the YAML.
#[derive(Clone, Debug)]
pub struct Writer {
    artifact: Vec<(Cid, usize)>,
    /// Header and, for an artifact of more than one block, its root: what stands before the first leaf.
    front: Vec<u8>,
    /// What stands behind the last leaf.
    back: Vec<u8>,
    size: u64,
    leaf: usize,
    leaf_bytes: usize,
    hasher: sha2::Sha256,
    changed: bool,
}

impl Writer {
    /// For an artifact of which a first pass found the layout.
    pub fn new(artifact: FileLayout, body: &[u8], yaml: &[u8]) -> Result<Self, PackageError> {
        fits(BODY, body.len())?;
        fits(YAML, yaml.len())?;
        let (cid, root) = (artifact.cid(), artifact.root());
        let (body_cid, yaml_cid) = (Cid::of(body).to_bytes(), Cid::of(yaml).to_bytes());
        let mut front = Vec::new();
        header::write(&[cid.to_bytes(), body_cid.clone(), yaml_cid.clone()], &mut front);
        if let (ArtifactCid::File(cid), Some(root)) = (cid, root) {
            header::write_prefix(&cid.to_bytes(), root.len(), &mut front);
            front.extend(root);
        }
        let mut back = Vec::with_capacity(body.len() + yaml.len() + 128);
        for (cid, block) in [(body_cid, body), (yaml_cid, yaml)] {
            header::write_prefix(&cid, block.len(), &mut back);
            back.extend(block);
        }
        let leaves: Vec<(Cid, usize)> = artifact.leaves().collect();
        let leaf_bytes = |(cid, bytes): &(Cid, usize)| prefix(cid, *bytes).len() + bytes;
        let size = front.len() + leaves.iter().map(leaf_bytes).sum::<usize>() + back.len();
        Ok(Self {
            artifact: leaves,
            front,
            back,
            size: size as u64,
            leaf: 0,
            leaf_bytes: 0,
            hasher: sha2::Sha256::default(),
            changed: false,
        })
    }

    /// Bytes of the whole package.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The next piece of the artifact. `out` gets what is to be written, in order.
    pub fn update(&mut self, mut piece: &[u8], mut out: impl FnMut(&[u8])) {
        while !piece.is_empty() && !self.changed {
            let Some((_, bytes)) = self.artifact.get(self.leaf).copied() else {
                self.changed = true;
                return;
            };
            self.open_leaf(&mut out);
            let taken = piece.len().min(bytes - self.leaf_bytes);
            self.hasher.update(&piece[..taken]);
            out(&piece[..taken]);
            self.leaf_bytes += taken;
            piece = &piece[taken..];
            if self.leaf_bytes == bytes {
                self.close_leaf();
            }
        }
    }

    /// Writes the end. What came out is a package only if this says so: the artifact of the second pass
    /// may have been another.
    pub fn finish(mut self, mut out: impl FnMut(&[u8])) -> Result<(), PackageError> {
        // Of an empty artifact, no piece came.
        if self.leaf == 0 && self.artifact[0].1 == 0 {
            self.open_leaf(&mut out);
            self.close_leaf();
        }
        if self.changed || self.leaf < self.artifact.len() {
            return Err(PackageError::Changed);
        }
        out(&self.back);
        Ok(())
    }

    /// At a leaf's first byte, writes what stands before it.
    fn open_leaf(&mut self, out: &mut impl FnMut(&[u8])) {
        if self.leaf_bytes > 0 {
            return;
        }
        if self.leaf == 0 {
            out(&self.front);
        }
        let (cid, bytes) = &self.artifact[self.leaf];
        out(&prefix(cid, *bytes));
    }

    fn close_leaf(&mut self) {
        let digest: Word = self.hasher.finalize_reset().into();
        self.changed |= self.artifact[self.leaf].0.digest() != digest;
        self.leaf += 1;
        self.leaf_bytes = 0;
    }
}

fn prefix(cid: &Cid, bytes: usize) -> Vec<u8> {
    debug_assert!(bytes <= BLOCK_BYTES_MAX);
    let mut out = Vec::with_capacity(40);
    header::write_prefix(&cid.to_bytes(), bytes, &mut out);
    out
}
