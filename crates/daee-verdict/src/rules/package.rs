use super::{Example, Group, Rule, fixed};

/// What is wrong with the container: a part of it was not read, or is not what it says.
pub(super) const RULES: &[Rule] = &[
    rule(
        "DAEE-A004",
        "not-a-file-root",
        "a block is not the root that `unixfs-v1-2025` gives any file",
        "pack again",
        "an artifact's root that says another size than its leaves have",
    ),
    rule(
        "DAEE-A010",
        "not-a-package",
        "not a CARv1 as a package is one",
        "name the `.car` file, or pack again",
        "`daee-verify package agent.yaml`",
    ),
    rule(
        "DAEE-A011",
        "wrong-block",
        "a block is not what its CID names",
        "fetch again",
        "the last byte of a package changed",
    ),
    rule(
        "DAEE-A012",
        "missing-block",
        "a block is missing, or stands in another's place",
        "fetch again, or pack again",
        "a package without its last block",
    ),
    rule(
        "DAEE-A013",
        "part-too-large",
        "a part is larger than the 1 MiB of a block",
        "make it smaller",
        "a package whose second block says that it is 2 MiB long",
    ),
    rule(
        "DAEE-A014",
        "trailing-bytes",
        "bytes behind the last block",
        "fetch again, or pack again",
        "a package with a line break at its end",
    ),
    rule(
        "DAEE-A015",
        "extra-block",
        "a block that no root leads to",
        "pack again",
        "a package with the block of another file behind its own",
    ),
    rule(
        "DAEE-A016",
        "repeated-block",
        "a block more often than it is needed",
        "pack again",
        "a package with its last block twice",
    ),
    rule(
        "DAEE-A017",
        "cut-short",
        "the file ends before its end",
        "fetch again",
        "a package without its last byte",
    ),
    rule(
        "DAEE-A018",
        "identity-cid",
        "a CID that is its own content",
        "pack again: only sha2-256 is taken",
        "a block under a CID with the identity hash",
    ),
    rule(
        "DAEE-A019",
        "other-cid",
        "a CID of another version, codec or hash function",
        "pack again: CIDv1 with sha2-256, raw, or dag-pb for an artifact of more than 1 MiB",
        "a block under a CID with the codec dag-cbor",
    ),
    rule(
        "DAEE-A030",
        "wrong-roots",
        "the header names other roots than artifact, body and `agent.yaml`",
        "pack again",
        "a CAR of one file, as `ipfs dag export` writes it",
    ),
    rule(
        "DAEE-A031",
        "not-the-only-form",
        "a number that is written longer than it has to be, or a map in another order",
        "pack again",
        "a block whose length is written with a zero byte behind it",
    ),
    rule(
        "DAEE-A032",
        "leaf-not-kept",
        "a CAR with an artifact alone leaves out a block that the file has again, and more of them than are kept",
        "pack it: a package may leave them out",
        "a CAR with a file of nine blocks twice, each written once",
    ),
];

const fn rule(
    id: &'static str,
    name: &'static str,
    says: &'static str,
    fix: &'static str,
    how: &'static str,
) -> Rule {
    fixed(Group::Package, id, name, says, fix, Example::Told(how))
}
