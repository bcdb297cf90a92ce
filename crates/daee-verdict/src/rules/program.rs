use super::{Example, Group, Rule, fixed, rule_of};
use crate::Level;

/// How the parts fit together, what a policy asks for, and what kept the program from judging.
pub(super) const RULES: &[Rule] = &[
    fixed(
        Group::Program,
        "DAEE-V001",
        "unreadable",
        "an input could not be read to its end; the exit code is 2",
        "the message has the reason of the system",
        Example::Told("`daee-verify manifest no-such-file`"),
    ),
    fixed(
        Group::Program,
        "DAEE-V002",
        "another-body",
        "the canonical body in a package is not that of the YAML beside it",
        "pack again",
        Example::Told("a package whose `agent.yaml` was changed after packing"),
    ),
    rule(
        Level::Error,
        "DAEE-V003",
        "memory-too-small",
        "the module starts with more memory than `resources.memory` asks for",
        "ask for more, or link with less",
        "a module that starts with 4,097 pages, and `memory: \"256MiB\"`",
    ),
    rule(
        Level::Note,
        "DAEE-V010",
        "compared-with-nothing",
        "an artifact was judged alone, so its hash was compared with nothing",
        "`--manifest`, `--hash` or `--cid`",
        "`daee-verify artifact oracle.wasm`",
    ),
    rule_of(
        Group::Program,
        Level::Note,
        "DAEE-V011",
        "gpu-without-use",
        "a GPU is asked for: it is matched and paid for, but no operation uses one yet",
        "`gpu: \"false\"`",
        Example::Manifest {
            wrong: "resources:\n  cpu: \"0.25\"\n  memory: \"256MiB\"\n  gpu: \"1\"",
            right: "resources:\n  cpu: \"0.25\"\n  memory: \"256MiB\"\n  gpu: \"false\"",
        },
    ),
    rule(
        Level::Warning,
        "DAEE-V013",
        "used-without-permission",
        "the module names an operation that no permission grants, so that a call of it is denied",
        "list the permission that the message names",
        "a module that calls `http.fetch`, and a manifest without `network_outbound`",
    ),
    rule(
        Level::Note,
        "DAEE-V014",
        "granted-without-use",
        "a permission is listed, and the module names no operation that needs it",
        "take it out of `permissions`",
        "`read_ipfs` in the manifest, and a module that never calls `ipfs.read`",
    ),
    fixed(
        Group::Program,
        "DAEE-V015",
        "unsigned",
        "the policy asks for signatures, and there are none",
        "`daee-deploy sign`, and `--signatures` where the file has another name",
        Example::Told(
            "`daee-verify package oracle.car --policy release.toml` without a signature file",
        ),
    ),
    rule(
        Level::Error,
        "DAEE-V016",
        "signed-by-anyone",
        "the signatures are right, and nobody said whose count",
        "name the signers: `[signatures]` in the policy",
        "`daee-verify signature oracle.car oracle.sig.json` without a policy",
    ),
    rule(
        Level::Error,
        "DAEE-V020",
        "permission-out-of-bounds",
        "a permission is outside of what the policy allows any agent",
        "take it out, or widen `[bounds]` in the policy",
        "`publish_to_chain`, with `permissions = [\"read_ipfs\"]` in `[bounds]`",
    ),
    rule(
        Level::Error,
        "DAEE-V021",
        "resource-out-of-bounds",
        "a resource is more than the policy allows any agent",
        "ask for less, or widen `[bounds]` in the policy",
        "`memory: \"256MiB\"`, with `memory = \"128MiB\"` in `[bounds]`",
    ),
    fixed(
        Group::Program,
        "DAEE-V030",
        "not-a-policy",
        "the policy is not TOML, names a key or a rule that there is not, or lowers what may not be lowered; \
         the exit code is 2",
        "the message says where, and what was meant",
        Example::Told("`gpu-without-use = \"of\"` under `[levels]`"),
    ),
];

const fn rule(
    level: Level,
    id: &'static str,
    name: &'static str,
    says: &'static str,
    fix: &'static str,
    how: &'static str,
) -> Rule {
    rule_of(Group::Program, level, id, name, says, fix, Example::Told(how))
}
