use super::{Example, Group, Rule, fixed};

/// What is wrong with who signed. They speak up only where somebody asks for signatures.
pub(super) const RULES: &[Rule] = &[
    rule(
        "DAEE-S020",
        "signatures-too-large",
        "the signature file is larger than 64 KiB",
        "name the `.sig.json` file of the package",
        "`daee-verify signature oracle.car oracle.wasm`, with a large module",
    ),
    rule(
        "DAEE-S021",
        "not-a-signature-file",
        "not JSON, or not of the shape that the format has",
        "sign again into a new file: `daee-deploy sign`",
        "`daee-verify signature oracle.car agent.yaml`",
    ),
    rule(
        "DAEE-S022",
        "signature-format",
        "another format, or a later version of it",
        "verify with the version that wrote it, or sign again",
        "a signature file with `\"format\": \"daee-signatures/2\"`",
    ),
    rule(
        "DAEE-S023",
        "too-many-signatures",
        "more signatures or rotations than anybody looks at",
        "keep those that are needed",
        "a signature file with 33 signatures",
    ),
    rule(
        "DAEE-S030",
        "signed-another-package",
        "the signatures are for another package",
        "name the package's own signature file, or have this one signed",
        "the signature file of version 1.1.0 beside the package of 1.2.0",
    ),
    rule(
        "DAEE-S031",
        "signed-for-another-market",
        "the signatures are for another chain or another contract",
        "have the package signed for this one",
        "`chain_id = 1` in the policy, and signatures for 31337",
    ),
    rule(
        "DAEE-S032",
        "bad-signature",
        "a signature is not that of the key it stands under",
        "have the key sign again: the file was changed",
        "the address of another key in a signature file",
    ),
    rule(
        "DAEE-S033",
        "unknown-signer",
        "somebody signed whom the policy does not name, and too few others did",
        "add it to the signers of the policy if it should be there",
        "a package that one key signed, and a policy that names another",
    ),
    rule(
        "DAEE-S034",
        "too-few-signers",
        "fewer of the named signers signed than have to",
        "have more of them sign: `daee-deploy sign`",
        "`threshold = 2` in the policy, and one signature",
    ),
    rule(
        "DAEE-S035",
        "signed-twice",
        "one signer stands in the signature file twice",
        "take one of its signatures out",
        "the same signature twice in a signature file",
    ),
    rule(
        "DAEE-S036",
        "retired-key",
        "a key signed that was given up",
        "have the key sign that took its place, and ask who still uses the old one",
        "a signature of the old key behind the rotation to a new one",
    ),
    rule(
        "DAEE-S037",
        "forked-rotation",
        "two rotations that cannot both be: one of them may be a thief's",
        "ask the publisher which is right, and name that key in the policy",
        "two rotations of the same sequence to different keys",
    ),
    rule(
        "DAEE-S038",
        "unsigned-rotation",
        "a rotation is not signed by both its keys for this market",
        "have both keys sign it",
        "a rotation with the signature of another one",
    ),
    rule(
        "DAEE-S039",
        "missing-rotation",
        "a rotation is missing before another",
        "add it from an earlier signature file of the agent",
        "rotation 2 without rotation 1",
    ),
    rule(
        "DAEE-S040",
        "rotation-of-another-agent",
        "a rotation of another agent",
        "take it out of the file",
        "a signature file with a rotation of `talos.oracle.price-btc`",
    ),
    rule(
        "DAEE-S041",
        "rotation-back",
        "a rotation to itself, or to a key that was given up",
        "rotate to a new key: one that is gone never comes back",
        "rotation 1 from one key to another, and rotation 2 from that one back",
    ),
];

const fn rule(
    id: &'static str,
    name: &'static str,
    says: &'static str,
    fix: &'static str,
    how: &'static str,
) -> Rule {
    fixed(Group::Signature, id, name, says, fix, Example::Told(how))
}
