//! A package file: one CARv1 that any IPFS tool imports. Its roots are the artifact, the manifest's
//! canonical body and the author's YAML, and its blocks are the artifact's, the body and the YAML, in that
//! order. An artifact of more than one block is the dag-pb root of a `unixfs-v1-2025` file and then its
//! leaves as they stand in the file, so that a reader keeps no block for later. Writing is deterministic;
//! reading takes exactly what writing makes. `docs/spec/package.md` has the format.

mod header;
mod problem;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use problem::PackageError;
pub use reader::{ArtifactReader, Parts, Reader};
pub use writer::Writer;

use crate::{Artifact, ArtifactCid, BLOCK_BYTES_MAX, Cid, Fetched, FileHasher};

/// Most problems that are reported of one file: a wrong block in the place of each of the largest
/// artifact's, and some.
pub const PROBLEMS_MAX: usize = 2048;

/// Largest package in bytes that [`read`] takes: header, and three blocks behind their lengths and CIDs.
pub const PACKAGE_BYTES_MAX: usize = 3 * (BLOCK_BYTES_MAX + CID_BYTES + 4) + 256;

const CID_BYTES: usize = 36;
const ARTIFACT: &str = "artifact";
const BODY: &str = "body";
const YAML: &str = "yaml";

/// What a package of one-block parts holds. The artifact is still unverified: the manifest says what it
/// must be.
#[derive(Clone, Debug)]
pub struct Package {
    /// The module.
    pub artifact: Artifact<Fetched>,
    /// CID of the module.
    pub artifact_cid: Cid,
    /// Canonical body of the manifest (RFC 8785 JSON).
    pub body: Vec<u8>,
    /// `agent.yaml` as its author wrote it.
    pub yaml: Vec<u8>,
}

/// Writes a package whose artifact is one block. [`Writer`] does the same for larger ones.
pub fn write(artifact: &[u8], body: &[u8], yaml: &[u8]) -> Result<Vec<u8>, PackageError> {
    fits(ARTIFACT, artifact.len())?;
    let mut hasher = FileHasher::new();
    hasher.update(artifact);
    let layout = hasher.finish().expect("a block is within what an artifact may be");
    let mut writer = Writer::new(layout, body, yaml)?;
    let mut out = Vec::with_capacity(artifact.len() + body.len() + yaml.len() + 512);
    writer.update(artifact, |bytes| out.extend(bytes));
    writer.finish(|bytes| out.extend(bytes))?;
    Ok(out)
}

/// Reads a package whose artifact is one block, and says what is wrong first. [`Reader`] does the same for
/// larger ones, in pieces, and says all that is wrong.
pub fn read(bytes: &[u8]) -> Result<Package, PackageError> {
    let (mut reader, mut artifact) = (Reader::new(), Vec::new());
    reader.update(bytes, |leaf| {
        if artifact.len() + leaf.len() <= BLOCK_BYTES_MAX {
            artifact.extend(leaf);
        }
    });
    let parts = reader.finish().map_err(|mut problems| problems.swap_remove(0))?;
    let ArtifactCid::Block(artifact_cid) = parts.artifact else {
        return Err(PackageError::TooLarge { part: ARTIFACT, size: parts.artifact_bytes });
    };
    let artifact = Artifact::fetched(artifact);
    Ok(Package { artifact, artifact_cid, body: parts.body, yaml: parts.yaml })
}

/// A CARv1 of one block, as a gateway answers `format=car`.
pub fn single_block_car(cid: &Cid, block: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(block.len() + 128);
    header::write(&[cid.to_bytes()], &mut out);
    header::write_prefix(&cid.to_bytes(), block.len(), &mut out);
    out.extend(block);
    out
}

fn fits(part: &'static str, size: usize) -> Result<(), PackageError> {
    if size <= BLOCK_BYTES_MAX {
        return Ok(());
    }
    Err(PackageError::TooLarge { part, size: size as u64 })
}
