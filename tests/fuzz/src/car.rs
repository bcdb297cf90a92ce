use daee_artifact::package::{self, ArtifactReader, PackageError, Parts, Reader, Writer};
use daee_artifact::{ArtifactCid, Cid, FileHasher, FileLayout};
use daee_types::ArtifactHash;

const CID_BYTES: usize = 36;
/// CIDv1, sha2-256, raw or dag-pb.
const CIDS: [[u8; 4]; 2] = [[0x01, 0x55, 0x12, 0x20], [0x01, 0x70, 0x12, 0x20]];

/// The input as it is and, since no fuzzer guesses a SHA-256, with the true hash before each block.
pub fn run(input: &[u8]) -> bool {
    let piece = 1 + input.len() % 61;
    let accepted = judge(input, piece);
    judge(&with_true_hashes(input), piece) || accepted
}

pub fn seeds() -> Vec<Vec<u8>> {
    let package = |artifact: &[u8], body: &[u8], yaml: &[u8]| {
        package::write(artifact, body, yaml).expect("small parts are a package")
    };
    let small = package(b"\0asm\x01\0\0\0", b"{}", b"a: b\n");
    // A file's root in the place of the artifact, and none of its leaves.
    let root = layout(&vec![7; 3 << 20]).root().expect("it has three leaves");
    let cid = Cid::of(&root).to_bytes();
    let mut rootless = package(&root, b"{}", b"a: b\n");
    let found = rootless.windows(CID_BYTES).enumerate().filter(|(_, window)| *window == cid);
    for at in found.map(|(at, _)| at).collect::<Vec<_>>() {
        rootless[at..at + 4].copy_from_slice(&CIDS[1]);
    }
    vec![package(b"", b"", b""), small[..small.len() - 1].to_vec(), small, rootless]
}

/// Judges a package, and an artifact alone, whole and in pieces of so many bytes; whether it is either.
pub fn judge(bytes: &[u8], piece: usize) -> bool {
    let whole = as_package(bytes, bytes.len().max(1));
    assert!(as_package(bytes, piece) == whole, "pieces are judged another way than the whole");
    let (artifact, parts) = &whole;
    if let Ok(parts) = parts {
        are_of(artifact, &parts.artifact, parts.artifact_bytes);
        assert!(written(artifact, parts) == bytes, "another package than was read");
    }
    let one_block =
        parts.as_ref().is_ok_and(|parts| matches!(parts.artifact, ArtifactCid::Block(_)));
    assert_eq!(package::read(bytes).is_ok(), one_block, "two readers disagree");
    assert!(parts.as_ref().err().is_none_or(|problems| !problems.is_empty()), "no reason");

    let alone = as_artifact(bytes, bytes.len().max(1));
    assert!(as_artifact(bytes, piece) == alone, "pieces are judged another way than the whole");
    let (artifact, found) = &alone;
    if let Ok((cid, size)) = found {
        are_of(artifact, cid, *size);
    }
    parts.is_ok() || found.is_ok()
}

pub fn layout(artifact: &[u8]) -> FileLayout {
    let mut hasher = FileHasher::new();
    hasher.update(artifact);
    hasher.finish().expect("it is smaller than an artifact may be")
}

/// What went to the sink, and the end.
type Outcome<T> = (Vec<u8>, Result<T, Vec<PackageError>>);

fn as_package(bytes: &[u8], piece: usize) -> Outcome<Parts> {
    let (mut reader, mut artifact) = (Reader::new(), Vec::new());
    bytes.chunks(piece).for_each(|piece| reader.update(piece, |leaf| artifact.extend(leaf)));
    (artifact, reader.finish())
}

fn as_artifact(bytes: &[u8], piece: usize) -> Outcome<(ArtifactCid, u64)> {
    let (mut reader, mut artifact) = (ArtifactReader::new(), Vec::new());
    bytes.chunks(piece).for_each(|piece| reader.update(piece, |leaf| artifact.extend(leaf)));
    (artifact, reader.finish())
}

/// What went to the sink is the artifact that the CID names.
fn are_of(artifact: &[u8], cid: &ArtifactCid, size: u64) {
    assert_eq!(artifact.len() as u64, size, "another size");
    assert_eq!(layout(artifact).cid(), *cid, "another artifact than its CID names");
}

fn written(artifact: &[u8], parts: &Parts) -> Vec<u8> {
    let writer = Writer::new(layout(artifact), &parts.body, &parts.yaml);
    let mut writer = writer.expect("what was read can be written");
    let (size, mut out) = (writer.size(), Vec::new());
    writer.update(artifact, |bytes| out.extend(bytes));
    writer.finish(|bytes| out.extend(bytes)).expect("the artifact has not changed");
    assert_eq!(out.len() as u64, size);
    out
}

/// The same with each block's hash written over where its CID stands, from the last block to the first,
/// for a root's bytes hold the CIDs of what follows.
fn with_true_hashes(car: &[u8]) -> Vec<u8> {
    let mut car = car.to_vec();
    let mut blocks = Vec::new();
    let mut at = 0;
    while let Some((len, start)) = varint(&car, at) {
        at = start.saturating_add(len).min(car.len());
        if at - start >= CID_BYTES && CIDS.iter().any(|cid| car[start..].starts_with(cid)) {
            blocks.push((start, at));
        }
    }
    for (start, end) in blocks.into_iter().rev() {
        let digest: [u8; 32] = car[start + 4..start + CID_BYTES].try_into().expect("32 bytes");
        let hash = ArtifactHash::of(&car[start + CID_BYTES..end]);
        let places = car[..start + CID_BYTES].windows(32).enumerate();
        let places: Vec<_> = places.filter(|(_, w)| *w == digest).map(|(at, _)| at).collect();
        for at in places {
            car[at..at + 32].copy_from_slice(hash.as_bytes());
        }
    }
    car
}

/// A length, and where what is so long starts.
pub fn varint(bytes: &[u8], mut at: usize) -> Option<(usize, usize)> {
    let mut value = 0;
    for shift in [0, 7, 14, 21] {
        let byte = *bytes.get(at)?;
        at += 1;
        value |= usize::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some((value, at));
        }
    }
    None
}
