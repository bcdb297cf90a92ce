use super::{Example, Group, Rule, fixed};

/// Nodes refuse a module with any of these, and what it says is not looked at any further.
pub(super) const RULES: &[Rule] = &[
    told(
        "DAEE-A001",
        "another-artifact",
        "the SHA-256 or the CID is not the one that was named",
        "build again, or have `daee-deploy pack` write the new hash into `agent.yaml`",
        "`daee-verify artifact oracle.wasm --manifest agent.yaml` after the module was built anew",
    ),
    told(
        "DAEE-A003",
        "artifact-too-large",
        "larger than 1 GiB, the most that one file of `unixfs-v1-2025` holds",
        "make it smaller",
        "a module with 1 GiB and one byte of files in it",
    ),
    told(
        "DAEE-A020",
        "not-wasm",
        "not WebAssembly",
        "name the `.wasm` file",
        "`daee-verify artifact oracle.sh`",
    ),
    rule(
        "DAEE-A021",
        "component",
        "a component; nodes run core modules",
        "build for `wasm32-wasip1`",
        "(component)",
        REACTOR,
    ),
    rule(
        "DAEE-A022",
        "invalid-module",
        "not a valid module, or one that uses threads, 64-bit memory, several memories, relaxed SIMD, \
         exceptions or tail calls",
        "the message says what, and at which byte: build without that feature",
        "(module (memory (export \"memory\") 1 1 shared)\n  (func (export \"daee_turn\") (result i32) \
         (i32.const 0)))",
        REACTOR,
    ),
    rule(
        "DAEE-A023",
        "module-limit",
        "over a published limit: bytes beside the contents of custom sections, custom sections, imports, \
         functions, globals or table elements",
        "make it smaller: the message has the limit",
        "(module (table 100001 funcref) (memory (export \"memory\") 1)\n  (func (export \"daee_turn\") \
         (result i32) (i32.const 0)))",
        "(module (table 10 funcref) (memory (export \"memory\") 1)\n  (func (export \"daee_turn\") \
         (result i32) (i32.const 0)))",
    ),
    rule(
        "DAEE-A024",
        "unknown-import",
        "an import that nodes do not offer; they offer `daee.call`, `daee.read` and WASI preview 1",
        "leave out what needs it",
        "(module (import \"env\" \"open\" (func)) (memory (export \"memory\") 1)\n  (func (export \
         \"daee_turn\") (result i32) (i32.const 0)))",
        REACTOR,
    ),
    rule(
        "DAEE-A025",
        "import-type",
        "an import with another type than the one offered",
        "declare it as the message has it",
        "(module (import \"daee\" \"read\" (func (param i64))) (memory (export \"memory\") 1)\n  (func \
         (export \"daee_turn\") (result i32) (i32.const 0)))",
        "(module (import \"daee\" \"read\" (func (param i32 i32) (result i32)))\n  (memory (export \
         \"memory\") 1) (func (export \"daee_turn\") (result i32) (i32.const 0)))",
    ),
    rule(
        "DAEE-A026",
        "missing-export",
        "an export is missing or has another type: `memory`, and `daee_turn() -> i32` for a reactor or \
         `_start()` for the others",
        "export it, or set `run`",
        "(module (func (export \"daee_turn\") (result i32) (i32.const 0)))",
        REACTOR,
    ),
    rule(
        "DAEE-A027",
        "start-function",
        "a start function, which would run outside of any turn",
        "export `_initialize` instead",
        "(module (memory (export \"memory\") 1) (func $begin) (start $begin)\n  (func (export \
         \"daee_turn\") (result i32) (i32.const 0)))",
        "(module (memory (export \"memory\") 1) (func (export \"_initialize\"))\n  (func (export \
         \"daee_turn\") (result i32) (i32.const 0)))",
    ),
    rule(
        "DAEE-A028",
        "unkeepable-reactor",
        "a reactor with what a checkpoint does not keep, so that a restored one would not be the same",
        "build without it, or set `run: resident`",
        "(module (memory (export \"memory\") 1) (data $d \"x\")\n  (func (export \"daee_turn\") (result \
         i32) (data.drop $d) (i32.const 0)))",
        "(module (memory (export \"memory\") 1) (data $d \"x\")\n  (func (export \"daee_turn\") (result \
         i32) (i32.const 0)))",
    ),
    rule(
        "DAEE-A029",
        "files-section",
        "the section `daee.files`, which holds what the module brings along, is not in its form, has an odd \
         path, or is there twice",
        "let `daee-deploy pack --files DIR` write it",
        "(module (@custom \"daee.files\" \"main.py\") (memory (export \"memory\") 1)\n  (func (export \
         \"daee_turn\") (result i32) (i32.const 0)))",
        "(module (@custom \"daee.files\" \"\\01\\00\\00\\00\\00\") (memory (export \"memory\") 1)\n  (func \
         (export \"daee_turn\") (result i32) (i32.const 0)))",
    ),
];

const REACTOR: &str = "(module (memory (export \"memory\") 1)\n  (func (export \"daee_turn\") (result i32) \
                       (i32.const 0)))";

const fn rule(
    id: &'static str,
    name: &'static str,
    says: &'static str,
    fix: &'static str,
    wrong: &'static str,
    right: &'static str,
) -> Rule {
    fixed(Group::Artifact, id, name, says, fix, Example::Module { wrong, right })
}

const fn told(
    id: &'static str,
    name: &'static str,
    says: &'static str,
    fix: &'static str,
    how: &'static str,
) -> Rule {
    fixed(Group::Artifact, id, name, says, fix, Example::Told(how))
}
