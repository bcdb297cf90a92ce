use daee_types::Coded as _;
use proptest::prelude::*;

use super::{header, *};
use crate::{FileCid, FileLayout};

/// A block behind its binary CID, true to it or not.
type Block<'a> = (Vec<u8>, &'a [u8]);
/// What went to the sink, and the end.
type Outcome<T> = (Vec<u8>, Result<T, Vec<PackageError>>);

const BODY_BYTES: &[u8] = br#"{"a":1}"#;
const YAML_BYTES: &[u8] = b"a: 1\n";

fn good() -> Vec<u8> {
    write(b"\0asm\x01\0\0\0", BODY_BYTES, YAML_BYTES).unwrap()
}

/// Leaves that differ, but for the third, which is the first again.
fn large() -> Vec<u8> {
    let leaf = |byte: u8, len: usize| (0..len).map(move |n| byte ^ (n / 251) as u8);
    let leaves = [(1, BLOCK_BYTES_MAX), (2, BLOCK_BYTES_MAX), (1, BLOCK_BYTES_MAX), (3, 5)];
    leaves.into_iter().flat_map(|(byte, len)| leaf(byte, len)).collect()
}

fn layout(artifact: &[u8]) -> FileLayout {
    let mut hasher = FileHasher::new();
    hasher.update(artifact);
    hasher.finish().unwrap()
}

fn written(artifact: &[u8], piece: usize) -> Vec<u8> {
    let mut writer = Writer::new(layout(artifact), BODY_BYTES, YAML_BYTES).unwrap();
    let (size, mut out) = (writer.size(), Vec::new());
    artifact.chunks(piece).for_each(|piece| writer.update(piece, |bytes| out.extend(bytes)));
    writer.finish(|bytes| out.extend(bytes)).unwrap();
    assert_eq!(out.len() as u64, size);
    out
}

fn read_in(bytes: &[u8], piece: usize) -> Outcome<Parts> {
    let (mut reader, mut artifact) = (Reader::new(), Vec::new());
    bytes.chunks(piece).for_each(|piece| reader.update(piece, |leaf| artifact.extend(leaf)));
    (artifact, reader.finish())
}

fn artifact_in(bytes: &[u8], piece: usize) -> Outcome<(ArtifactCid, u64)> {
    let (mut reader, mut artifact) = (ArtifactReader::new(), Vec::new());
    bytes.chunks(piece).for_each(|piece| reader.update(piece, |leaf| artifact.extend(leaf)));
    (artifact, reader.finish())
}

/// The same problems whatever the pieces.
fn check(bytes: &[u8], expected: &[&str]) {
    let problems = |piece| read_in(bytes, piece).1.err().unwrap_or_default();
    let whole = problems(bytes.len().max(1));
    assert_eq!(whole.iter().map(|p| p.code()).collect::<Vec<_>>(), expected, "{whole:?}");
    for piece in [1000, 70_001].into_iter().chain((bytes.len() < 2000).then_some(1)) {
        assert_eq!(problems(piece), whole, "in pieces of {piece}");
    }
}

/// A CAR of roots and blocks as they are given, right or not.
fn car(roots: &[Vec<u8>], blocks: &[Block<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    header::write(roots, &mut out);
    for (cid, block) in blocks {
        header::write_prefix(cid, block.len(), &mut out);
        out.extend(*block);
    }
    out
}

fn raw(block: &[u8]) -> Block<'_> {
    (Cid::of(block).to_bytes(), block)
}

/// Roots and blocks of a package of three small parts.
fn small() -> (Vec<Vec<u8>>, Vec<Block<'static>>) {
    let blocks = vec![raw(b"artifact"), raw(BODY_BYTES), raw(YAML_BYTES)];
    (blocks.iter().map(|(cid, _)| cid.clone()).collect(), blocks)
}

/// The same of the large one: root, leaves, body, yaml.
fn parts_of<'a>(artifact: &'a [u8], root: &'a [u8]) -> (Vec<Vec<u8>>, Vec<Block<'a>>) {
    let root = (FileCid::of_root(root).to_bytes(), root);
    let roots = vec![root.0.clone(), raw(BODY_BYTES).0, raw(YAML_BYTES).0];
    let leaves = artifact.chunks(BLOCK_BYTES_MAX).map(raw);
    let blocks = std::iter::once(root).chain(leaves).chain([raw(BODY_BYTES), raw(YAML_BYTES)]);
    (roots, blocks.collect())
}

#[test]
fn a_package_reads_back_as_it_was_written() {
    let package = read(&good()).unwrap();
    assert_eq!(package.body, BODY_BYTES);
    assert_eq!(package.yaml, YAML_BYTES);
    assert_eq!(package.artifact_cid, Cid::of(b"\0asm\x01\0\0\0"));
    assert_eq!(good(), good(), "the same parts give the same bytes");
    let (roots, blocks) = small();
    assert_eq!(car(&roots, &blocks), write(b"artifact", BODY_BYTES, YAML_BYTES).unwrap());
}

#[test]
fn a_large_package_is_the_same_whatever_the_pieces() {
    for artifact in
        [vec![], vec![7], vec![7; BLOCK_BYTES_MAX], vec![7; BLOCK_BYTES_MAX + 1], large()]
    {
        let whole = written(&artifact, artifact.len().max(1));
        assert_eq!(written(&artifact, 300_001), whole);
        for piece in [1 << 20, 65_537, whole.len()] {
            let (bytes, parts) = read_in(&whole, piece);
            let parts = parts.unwrap();
            assert!(bytes == artifact, "in pieces of {piece}");
            assert_eq!(parts.artifact, ArtifactCid::of(&artifact).unwrap());
            assert_eq!(parts.artifact_bytes, artifact.len() as u64);
            assert_eq!((&parts.body[..], &parts.yaml[..]), (BODY_BYTES, YAML_BYTES));
        }
    }
    let (artifact, root) = (large(), layout(&large()).root().unwrap());
    let (roots, blocks) = parts_of(&artifact, &root);
    assert!(
        car(&roots, &blocks) == written(&artifact, 1 << 20),
        "every leaf as often as it is there"
    );
    assert_eq!(read(&written(&artifact, 1 << 20)).unwrap_err().code(), "DAEE-A013");
}

#[test]
fn an_artifact_that_changes_between_the_passes_makes_no_package() {
    let good = large();
    for bad in [&good[1..], &good[..good.len() - 1], &[&good[..], b"x"].concat(), &[], &[0; 3]] {
        let mut writer = Writer::new(layout(&good), b"", b"").unwrap();
        writer.update(bad, |_| {});
        assert_eq!(writer.finish(|_| {}).unwrap_err().code(), "DAEE-A033");
    }
    let mut writer = Writer::new(layout(b""), b"", b"").unwrap();
    writer.update(b"x", |_| {});
    assert_eq!(writer.finish(|_| {}).unwrap_err().code(), "DAEE-A033");
}

#[test]
fn missing_extra_duplicated_and_misplaced_blocks_are_told_apart() {
    let (roots, blocks) = small();
    let [artifact, body, yaml] = [0, 1, 2].map(|n| blocks[n].clone());
    let extra = raw(b"extra");
    let check = |blocks: &[_], expected: &[&str]| check(&car(&roots, blocks), expected);
    check(&[artifact.clone(), body.clone()], &["DAEE-A012"]);
    check(&[], &["DAEE-A012", "DAEE-A012", "DAEE-A012"]);
    check(&[artifact.clone(), yaml.clone(), body.clone()], &["DAEE-A012"]);
    check(&[artifact.clone(), extra.clone(), body.clone(), yaml.clone()], &["DAEE-A015"]);
    check(&[artifact.clone(), body.clone(), yaml.clone(), extra], &["DAEE-A015"]);
    check(&[artifact.clone(), body.clone(), yaml.clone(), body.clone()], &["DAEE-A016"]);
    check(&[artifact.clone(), artifact.clone(), body.clone(), yaml.clone()], &["DAEE-A016"]);
    check(&[raw(b"another"), body.clone(), yaml.clone()], &["DAEE-A015", "DAEE-A012"]);
    let wrong = |(cid, _): &(Vec<u8>, _)| (cid.clone(), &b"wrong"[..]);
    check(&[wrong(&artifact), body.clone(), wrong(&yaml)], &["DAEE-A011", "DAEE-A011"]);
}

#[test]
fn what_stands_behind_the_last_block_is_told() {
    let good = good();
    for behind in [&b"x"[..], b"\0\0\0\0", &[0xff; 200], &[b'x'; 200], &[5, 1, 0x55]] {
        check(&[&good[..], behind].concat(), &["DAEE-A014"]);
    }
    let problems = read_in(&[&good[..], b"\0\0\0"].concat(), 7).1.unwrap_err();
    assert_eq!(problems, [PackageError::Trailing(3)]);
}

#[test]
fn a_file_cut_short_is_told_from_one_with_blocks_missing() {
    let good = good();
    let ends: Vec<usize> = [8, 7, 5]
        .iter()
        .scan(good.len() - 20 - 3 * 37, |at, block| {
            *at += 37 + block;
            Some(*at)
        })
        .collect();
    assert_eq!(ends.last(), Some(&good.len()));
    for len in 0..good.len() {
        let expected = match ends.iter().position(|end| *end == len) {
            Some(blocks) => vec!["DAEE-A012"; 2 - blocks],
            None if len == good.len() - 20 - 3 * 37 => vec!["DAEE-A012"; 3],
            None => vec!["DAEE-A017"],
        };
        check(&good[..len], &expected);
    }
}

#[test]
fn what_is_no_package_is_refused_at_once() {
    check(b"", &["DAEE-A017"]);
    for bytes in [&b"agent_id: a\n"[..], b"\0asm\x01\0\0\0", &[0xff; 64], &[0; 64], b"no package"] {
        check(bytes, &["DAEE-A010"]);
    }
    // CARv2.
    check(b"\x0a\xa1\x67version\x02rest", &["DAEE-A010"]);
    // A block shorter than its CID.
    let (roots, _) = small();
    check(&[&car(&roots, &[])[..], &[3, 1, 0x55, 0x12]].concat(), &["DAEE-A010"]);
    check(&[&car(&roots, &[])[..], &[8, 9, 9, 9, 9, 9, 9, 9, 9]].concat(), &["DAEE-A010"]);
}

#[test]
fn identity_cids_and_other_kinds_are_each_named() {
    let identity = (vec![0x01, 0x55, 0x00, 0x03], &b"abc"[..]);
    let v0 = ([&[0x12, 0x20], &daee_types::sha256("x")[..]].concat(), &b"xxxx"[..]);
    let cbor = ([&[0x01, 0x71, 0x12, 0x20], &daee_types::sha256("x")[..]].concat(), &b"x"[..]);
    let blake3 = ([&[0x01, 0x55, 0x1e, 0x20], &daee_types::sha256("x")[..]].concat(), &b"x"[..]);
    let (roots, blocks) = small();
    for (bad, code) in
        [(identity, "DAEE-A018"), (v0, "DAEE-A019"), (cbor, "DAEE-A019"), (blake3, "DAEE-A019")]
    {
        let mut behind = blocks.clone();
        behind.insert(1, bad.clone());
        check(&car(&roots, &behind), &[code]);
        let mut instead = blocks.clone();
        instead[2] = bad.clone();
        check(&car(&roots, &instead), &[code, "DAEE-A012"]);
        let mut as_root = roots.clone();
        as_root[1] = bad.0;
        check(&car(&as_root, &blocks), &[code]);
    }
}

#[test]
fn wrong_roots_are_named() {
    let (roots, blocks) = small();
    check(&car(&roots[..1], &blocks), &["DAEE-A030"]);
    check(&car(&[], &blocks), &["DAEE-A030"]);
    check(&car(&[&roots[..], &roots[..1]].concat(), &blocks), &["DAEE-A030"]);
    let file = FileCid::of_root(&layout(&large()).root().unwrap()).to_bytes();
    check(&car(&[roots[0].clone(), file, roots[2].clone()], &blocks), &["DAEE-A030"]);
    // The blocks in the right order under roots in another.
    let turned = [roots[2].clone(), roots[0].clone(), roots[1].clone()];
    check(&car(&turned, &blocks), &["DAEE-A012"]);
}

#[test]
fn numbers_have_one_form() {
    let good = good();
    let header_bytes = usize::from(good[0] & 0x7f) + 128;
    assert_eq!(good[1], 1, "the header's length takes two bytes");
    // Lengths with a byte more than they need.
    let long = [&[good[0], good[1] | 0x80, 0], &good[2..]].concat();
    check(&long, &["DAEE-A031"]);
    let at = 2 + header_bytes;
    let long = [&good[..at], &[good[at] | 0x80, 0], &good[at + 1..]].concat();
    check(&long, &["DAEE-A031"]);
    // The header's map, turned round, and with the version in two bytes.
    let (roots, version) = good[3..2 + header_bytes].split_at(header_bytes - 1 - 9);
    let turned = [&good[..3], version, roots, &good[at..]].concat();
    check(&turned, &["DAEE-A031"]);
    let mut long = [&good[..at - 1], &[0x18, 0x01], &good[at..]].concat();
    long[0] += 1;
    check(&long, &["DAEE-A031"]);
}

#[test]
fn every_wrong_leaf_is_named_and_nothing_behind_the_first_is_handed_on() {
    let (artifact, root) = (large(), layout(&large()).root().unwrap());
    let (roots, mut blocks) = parts_of(&artifact, &root);
    let wrong = vec![9; BLOCK_BYTES_MAX];
    blocks[2].1 = &wrong;
    blocks[4].1 = b"short";
    let bytes = car(&roots, &blocks);
    check(&bytes, &["DAEE-A011", "DAEE-A011"]);
    let (handed_on, _) = read_in(&bytes, 1 << 20);
    assert!(handed_on == artifact[..BLOCK_BYTES_MAX]);
}

#[test]
fn leaves_that_are_missing_or_in_another_order_are_named() {
    let (artifact, root) = (large(), layout(&large()).root().unwrap());
    let (roots, blocks) = parts_of(&artifact, &root);
    let bent = |bend: fn(&mut Vec<Block<'_>>), expected: &[&str]| {
        let mut blocks = blocks.clone();
        bend(&mut blocks);
        check(&car(&roots, &blocks), expected);
    };
    bent(|blocks| drop(blocks.remove(2)), &["DAEE-A012"]);
    // Once only, as a CAR without duplicates has it.
    bent(|blocks| drop(blocks.remove(3)), &["DAEE-A012"]);
    bent(|blocks| blocks.swap(2, 4), &["DAEE-A012", "DAEE-A012"]);
    bent(|blocks| blocks.push(blocks[2].clone()), &["DAEE-A016"]);
    bent(|blocks| blocks[1..5].rotate_left(3), &["DAEE-A012"; 3]);
    // The root behind its leaves, and no root at all.
    bent(|blocks| blocks[..5].rotate_left(1), &["DAEE-A012"]);
    bent(|blocks| drop(blocks.remove(0)), &["DAEE-A012"]);
}

#[test]
fn no_other_root_of_a_file_is_taken() {
    let (artifact, root) = (large(), layout(&large()).root().unwrap());
    let other = [&root[..], b"\x08\x01"].concat();
    let (roots, blocks) = parts_of(&artifact, &other);
    check(&car(&roots, &blocks), &["DAEE-A004"]);
    let (roots, mut blocks) = parts_of(&artifact, &root);
    blocks[0].1 = &other;
    check(&car(&roots, &blocks), &["DAEE-A011"]);
}

#[test]
fn the_largest_parts_fit_and_a_byte_more_is_refused() {
    let full = vec![7; BLOCK_BYTES_MAX];
    let largest = write(&full, &full, &full).unwrap();
    assert!(largest.len() <= PACKAGE_BYTES_MAX);
    assert_eq!(read(&largest).unwrap().yaml, full);
    let over = vec![0; BLOCK_BYTES_MAX + 1];
    for parts in [[&over, &full, &full], [&full, &over, &full], [&full, &full, &over]] {
        let [artifact, body, yaml] = parts;
        assert_eq!(write(artifact, body, yaml).unwrap_err().code(), "DAEE-A013");
        let blocks = parts.map(|part| raw(part));
        let roots = blocks.clone().map(|(cid, _)| cid);
        check(&car(&roots, &blocks), &["DAEE-A013"]);
    }
}

#[test]
fn problems_are_bounded() {
    let (roots, mut blocks) = small();
    blocks.extend(vec![raw(b"x"); 2 * PROBLEMS_MAX]);
    let problems = read_in(&car(&roots, &blocks), 4096).1.unwrap_err();
    assert_eq!(problems.len(), PROBLEMS_MAX);
}

#[test]
fn an_artifact_alone_is_read_with_its_repeated_leaves_once_or_as_often_as_it_has_them() {
    for artifact in [vec![7; 5], vec![7; 4 * BLOCK_BYTES_MAX + 1], large()] {
        let root = layout(&artifact).root();
        let cid = ArtifactCid::of(&artifact).unwrap();
        let leaves: Vec<_> = artifact.chunks(BLOCK_BYTES_MAX).map(raw).collect();
        let front: Vec<_> =
            root.iter().map(|root| (FileCid::of_root(root).to_bytes(), &root[..])).collect();
        let mut once = Vec::new();
        leaves.iter().for_each(|leaf| {
            if !once.contains(leaf) {
                once.push(leaf.clone())
            }
        });
        for leaves in [leaves, once] {
            let bytes = car(&[cid.to_bytes()], &[front.clone(), leaves].concat());
            for piece in [bytes.len(), 100_003] {
                let (read, found) = artifact_in(&bytes, piece);
                assert_eq!(found, Ok((cid, artifact.len() as u64)));
                assert!(read == artifact);
            }
            let (_, found) = artifact_in(&[&bytes[..], &bytes[bytes.len() - 42..]].concat(), 9_999);
            assert!(found.is_err());
            assert_eq!(artifact_in(&bytes[..bytes.len() - 1], 9_999).1.unwrap_err().len(), 1);
        }
    }
    assert_eq!(artifact_in(&good(), 10).1.unwrap_err()[0].code(), "DAEE-A030");
}

#[test]
fn more_repeated_leaves_than_are_kept_are_named() {
    let leaves: Vec<Vec<u8>> = (0..9).map(|n| vec![n; BLOCK_BYTES_MAX]).collect();
    let artifact = [&leaves[..], &leaves[..]].concat().concat();
    let root = layout(&artifact).root().unwrap();
    let root = (FileCid::of_root(&root).to_bytes(), &root[..]);
    let once: Vec<_> = leaves.iter().map(|leaf| raw(leaf)).collect();
    let dups = [&once[..], &once[..]].concat();
    let front = std::slice::from_ref(&root);
    let bytes = |leaves: &[_]| car(std::slice::from_ref(&root.0), &[front, leaves].concat());
    assert!(artifact_in(&bytes(&dups), 1 << 20).1.is_ok());
    let codes = artifact_in(&bytes(&once), 1 << 20).1.unwrap_err();
    assert_eq!(codes.iter().map(|p| p.code()).collect::<Vec<_>>(), ["DAEE-A032"]);
}

proptest! {
    #[test]
    fn no_byte_can_change_unnoticed(at in any::<prop::sample::Index>(), to in any::<u8>()) {
        let good = good();
        let mut bad = good.clone();
        let at = at.index(bad.len());
        bad[at] = to;
        prop_assert_eq!(read(&bad).is_ok(), bad == good);
    }

    /// Whatever comes, in whatever pieces, there is one judgement.
    #[test]
    fn bent_packages_are_judged_alike_in_pieces_and_whole(
        bends in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
        cut in any::<prop::sample::Index>(),
        piece in 1usize..60,
    ) {
        let mut bytes = good();
        for (at, to) in bends {
            let at = at.index(bytes.len());
            bytes[at] = to;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        let whole = read_in(&bytes, bytes.len().max(1));
        prop_assert_eq!(read_in(&bytes, piece), whole);
        let whole = artifact_in(&bytes, bytes.len().max(1));
        prop_assert_eq!(artifact_in(&bytes, piece), whole);
    }
}
