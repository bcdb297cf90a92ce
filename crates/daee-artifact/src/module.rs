use daee_types::{Coded, Fault};
use wasmparser::{
    Encoding, ExternalKind, FuncType, Parser, Payload, TypeRef, Validator, WasmFeatures,
};

use crate::skeleton::{CUSTOM_SECTIONS_MAX, Over, Skeleton};

/// Most bytes of a module beside the contents of its custom sections: what an engine has to read.
pub const MODULE_BYTES_MAX: usize = 64 << 20;

const IMPORTS_MAX: u32 = 256;
const FUNCTIONS_MAX: u32 = 100_000;
const GLOBALS_MAX: u32 = 10_000;
const TABLE_ELEMENTS_MAX: u64 = 100_000;

/// The door (DESIGN 6): its two imports, with their types.
const DOOR: [(&str, &str); 2] =
    [("call", "(i32, i32, i32, i32) -> i32"), ("read", "(i32, i32) -> i32")];

/// WASI preview 1 as it is served: enough for a libc, nothing that reaches out.
const WASI: [(&str, &str); 20] = [
    ("args_get", "(i32, i32) -> i32"),
    ("args_sizes_get", "(i32, i32) -> i32"),
    ("clock_res_get", "(i32, i32) -> i32"),
    ("clock_time_get", "(i32, i64, i32) -> i32"),
    ("environ_get", "(i32, i32) -> i32"),
    ("environ_sizes_get", "(i32, i32) -> i32"),
    ("fd_close", "(i32) -> i32"),
    ("fd_fdstat_get", "(i32, i32) -> i32"),
    ("fd_fdstat_set_flags", "(i32, i32) -> i32"),
    ("fd_filestat_get", "(i32, i32) -> i32"),
    ("fd_prestat_dir_name", "(i32, i32, i32) -> i32"),
    ("fd_prestat_get", "(i32, i32) -> i32"),
    ("fd_read", "(i32, i32, i32, i32) -> i32"),
    ("fd_seek", "(i32, i64, i32, i32) -> i32"),
    ("fd_write", "(i32, i32, i32, i32) -> i32"),
    ("path_open", "(i32, i32, i32, i32, i32, i64, i64, i32, i32) -> i32"),
    ("poll_oneoff", "(i32, i32, i32, i32) -> i32"),
    ("proc_exit", "(i32) -> ()"),
    ("random_get", "(i32, i32) -> i32"),
    ("sched_yield", "() -> i32"),
];

/// How an agent is entered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunStyle {
    /// Exports `daee_turn`, which handles one event and returns.
    Reactor,
    /// A WASI command whose `_start` loops on the next event.
    Resident,
    /// A WASI command started afresh for each event.
    PerEvent,
}

/// What a module that passed is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModuleFacts {
    /// How it is entered.
    pub style: RunStyle,
    /// Pages of 64 KiB its memory starts with.
    pub memory_pages: u64,
}

/// One reason why a module cannot run here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ModuleProblem {
    /// Not WebAssembly.
    #[error("not a WebAssembly module: {0}")]
    NotWasm(&'static str),
    /// A component.
    #[error("this is a component, and nodes run core modules: build for wasm32-wasip1")]
    Component,
    /// Not valid, or not within the allowed features.
    #[error("not a valid module: {what} at byte {at}")]
    Invalid {
        /// What was wrong.
        what: String,
        /// Where, in bytes.
        at: u64,
    },
    /// Over a published limit.
    #[error("{found} {what}, at most {limit} are allowed")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        found: u64,
        /// How many may be.
        limit: u64,
    },
    /// So far over a limit that it was not looked into.
    #[error("more than {limit} {what}")]
    Over {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        limit: u64,
    },
    /// An import that no node has.
    #[error("imports {module}.{name}, which nodes do not offer")]
    Import {
        /// Its module.
        module: String,
        /// Its name.
        name: String,
    },
    /// An import with another type than the one offered.
    #[error("imports {module}.{name} with a type other than {expected}")]
    ImportType {
        /// Its module.
        module: String,
        /// Its name.
        name: String,
        /// The type nodes offer.
        expected: &'static str,
    },
    /// An export is missing or has another type.
    #[error("must export {0}")]
    Export(&'static str),
    /// Code that would run outside any turn.
    #[error("has a start function, which would run outside any turn: export _initialize instead")]
    Start,
}

impl Coded for ModuleProblem {
    fn code(&self) -> &'static str {
        match self {
            Self::NotWasm(_) => "DAEE-A020",
            Self::Component => "DAEE-A021",
            Self::Invalid { .. } => "DAEE-A022",
            Self::TooMany { .. } | Self::Over { .. } => "DAEE-A023",
            Self::Import { .. } => "DAEE-A024",
            Self::ImportType { .. } => "DAEE-A025",
            Self::Export(_) => "DAEE-A026",
            Self::Start => "DAEE-A027",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Developer
    }
}

/// Checks whether a module can run, and how. `wanted` is the manifest's `run`: nothing there means a
/// reactor. All problems at once, as far as the bytes can be understood.
pub fn check_module(
    bytes: &[u8],
    wanted: Option<RunStyle>,
) -> Result<ModuleFacts, Vec<ModuleProblem>> {
    let mut reader = ModuleReader::new();
    reader.update(bytes);
    reader.finish(wanted)
}

/// Checks a module that comes in pieces and may be too large to hold: the contents of custom
/// sections are passed over, and memory is bounded by [`MODULE_BYTES_MAX`].
#[derive(Clone, Debug)]
pub struct ModuleReader(Skeleton);

impl ModuleReader {
    /// Before the first piece.
    pub fn new() -> Self {
        Self(Skeleton::new(MODULE_BYTES_MAX))
    }

    /// The next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// What [`check_module`] says of all pieces together.
    pub fn finish(self, wanted: Option<RunStyle>) -> Result<ModuleFacts, Vec<ModuleProblem>> {
        let kept = self.0.finish().map_err(|over| {
            let (what, limit) = match over {
                Over::Bytes => ("bytes beside custom sections", MODULE_BYTES_MAX),
                Over::CustomSections => ("custom sections", CUSTOM_SECTIONS_MAX),
            };
            vec![ModuleProblem::Over { what, limit: limit as u64 }]
        })?;
        judge(&kept.bytes, wanted).map_err(|mut problems| {
            for problem in &mut problems {
                if let ModuleProblem::Invalid { at, .. } = problem {
                    *at = kept.in_file(*at);
                }
            }
            problems
        })
    }
}

impl Default for ModuleReader {
    fn default() -> Self {
        Self::new()
    }
}

fn judge(bytes: &[u8], wanted: Option<RunStyle>) -> Result<ModuleFacts, Vec<ModuleProblem>> {
    if bytes.len() < 8 || !bytes.starts_with(b"\0asm") {
        let shown = if bytes.is_empty() { "it is empty" } else { "it does not start with \\0asm" };
        return Err(vec![ModuleProblem::NotWasm(shown)]);
    }
    if bytes[4..8] == [0x0d, 0x00, 0x01, 0x00] {
        return Err(vec![ModuleProblem::Component]);
    }
    let invalid = |error: wasmparser::BinaryReaderError| {
        let what = error.message().to_owned();
        vec![ModuleProblem::Invalid { what, at: error.offset() }]
    };
    Validator::new_with_features(features()).validate_all(bytes).map_err(invalid)?;
    let mut survey = Survey::default();
    for payload in Parser::new(0).parse_all(bytes) {
        payload.and_then(|payload| survey.see(payload)).map_err(invalid)?;
    }
    survey.judge(wanted)
}

/// What nodes run: the 2.0 core with tail calls left out, and nothing whose result may differ between
/// machines.
fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::SIMD
        | WasmFeatures::FLOATS
        | WasmFeatures::GC_TYPES
}

#[derive(Default)]
struct Survey {
    types: Vec<FuncType>,
    functions: Vec<u32>,
    exports: Vec<(String, ExternalKind, u32)>,
    memory_pages: u64,
    problems: Vec<ModuleProblem>,
}

impl Survey {
    fn see(&mut self, payload: Payload<'_>) -> Result<(), wasmparser::BinaryReaderError> {
        match payload {
            Payload::Version { encoding: Encoding::Component, .. } => {
                self.problems.push(ModuleProblem::Component);
            }
            Payload::TypeSection(types) => {
                for group in types {
                    for sub in group?.into_types() {
                        if let wasmparser::CompositeInnerType::Func(f) = sub.composite_type.inner {
                            self.types.push(f);
                        }
                    }
                }
            }
            Payload::ImportSection(imports) => {
                self.limit("imports", imports.count().into(), IMPORTS_MAX.into());
                for import in imports.into_imports() {
                    self.import(&import?);
                }
            }
            Payload::FunctionSection(functions) => {
                self.limit("functions", functions.count().into(), FUNCTIONS_MAX.into());
                for index in functions {
                    self.functions.push(index?);
                }
            }
            Payload::TableSection(tables) => {
                let mut elements = 0_u64;
                for table in tables {
                    elements = elements.saturating_add(table?.ty.initial);
                }
                self.limit("table elements", elements, TABLE_ELEMENTS_MAX);
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.memory_pages = memory?.initial;
                }
            }
            Payload::GlobalSection(globals) => {
                self.limit("globals", globals.count().into(), GLOBALS_MAX.into());
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    self.exports.push((export.name.to_owned(), export.kind, export.index));
                }
            }
            Payload::StartSection { .. } => self.problems.push(ModuleProblem::Start),
            _ => {}
        }
        Ok(())
    }

    fn limit(&mut self, what: &'static str, found: u64, limit: u64) {
        if found > limit {
            self.problems.push(ModuleProblem::TooMany { what, found, limit });
        }
    }

    fn import(&mut self, import: &wasmparser::Import<'_>) {
        let (module, name) = (import.module.to_owned(), import.name.to_owned());
        let TypeRef::Func(index) = import.ty else {
            self.problems.push(ModuleProblem::Import { module, name });
            return;
        };
        self.functions.push(index);
        let offered: &[(&str, &'static str)] = match import.module {
            "daee" => &DOOR,
            "wasi_snapshot_preview1" => &WASI,
            _ => &[],
        };
        let Some((_, expected)) = offered.iter().find(|(known, _)| *known == import.name) else {
            self.problems.push(ModuleProblem::Import { module, name });
            return;
        };
        if self.types.get(index as usize).map(shape_of).as_deref() != Some(expected) {
            self.problems.push(ModuleProblem::ImportType { module, name, expected });
        }
    }

    fn judge(mut self, wanted: Option<RunStyle>) -> Result<ModuleFacts, Vec<ModuleProblem>> {
        let style = wanted.unwrap_or(RunStyle::Reactor);
        match style {
            RunStyle::Reactor if !self.exports_function("daee_turn", "() -> i32") => {
                let hint = if self.exports_function("_start", "() -> ()") {
                    "daee_turn() -> i32; a command with _start needs `run: resident`"
                } else {
                    "daee_turn() -> i32"
                };
                self.problems.push(ModuleProblem::Export(hint));
            }
            RunStyle::Resident | RunStyle::PerEvent
                if !self.exports_function("_start", "() -> ()") =>
            {
                self.problems.push(ModuleProblem::Export("_start()"));
            }
            _ => {}
        }
        let exports = |wanted| self.exports.iter().any(|(name, ..)| name == wanted);
        if exports("_initialize") && !self.exports_function("_initialize", "() -> ()") {
            self.problems
                .push(ModuleProblem::Export("_initialize() without parameters and results"));
        }
        let memory = |(name, kind, _): &(String, ExternalKind, u32)| {
            name == "memory" && *kind == ExternalKind::Memory
        };
        if !self.exports.iter().any(memory) {
            self.problems.push(ModuleProblem::Export("its memory as \"memory\""));
        }
        if self.problems.is_empty() {
            Ok(ModuleFacts { style, memory_pages: self.memory_pages })
        } else {
            Err(self.problems)
        }
    }

    fn exports_function(&self, wanted: &str, shape: &str) -> bool {
        self.exports.iter().any(|(name, kind, index)| {
            let ty =
                self.functions.get(*index as usize).and_then(|ty| self.types.get(*ty as usize));
            name == wanted
                && *kind == ExternalKind::Func
                && ty.map(shape_of).as_deref() == Some(shape)
        })
    }
}

/// A function type as people write it: `(i32, i32) -> i32`.
fn shape_of(ty: &FuncType) -> String {
    let list = |types: &[wasmparser::ValType]| {
        types.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    match ty.results() {
        [one] => format!("({}) -> {one}", list(ty.params())),
        results => format!("({}) -> ({})", list(ty.params()), list(results)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REACTOR: &str = r#"(module
        (import "daee" "call" (func (param i32 i32 i32 i32) (result i32)))
        (import "daee" "read" (func (param i32 i32) (result i32)))
        (memory (export "memory") 1)
        (func (export "daee_turn") (result i32) (i32.const 0)))"#;
    const COMMAND: &str = r#"(module
        (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
        (memory (export "memory") 1) (func (export "_start")))"#;

    fn check(wat: &str, wanted: Option<RunStyle>, expected: Result<RunStyle, &[&str]>) {
        let bytes = wat::parse_str(wat).unwrap();
        let found = check_module(&bytes, wanted).map(|facts| facts.style);
        let codes = found.map_err(|all| all.iter().map(|p| p.code()).collect::<Vec<_>>());
        assert_eq!(codes, expected.map_err(<[_]>::to_vec), "{wat}");
    }

    #[test]
    fn reactors_and_commands_pass() {
        check(REACTOR, None, Ok(RunStyle::Reactor));
        check(COMMAND, Some(RunStyle::Resident), Ok(RunStyle::Resident));
        check(COMMAND, Some(RunStyle::PerEvent), Ok(RunStyle::PerEvent));
    }

    #[test]
    fn the_export_the_run_style_needs_is_named() {
        check(COMMAND, None, Err(&["DAEE-A026"]));
        check(REACTOR, Some(RunStyle::Resident), Err(&["DAEE-A026"]));
        check("(module (func (export \"daee_turn\")))", None, Err(&["DAEE-A026", "DAEE-A026"]));
    }

    #[test]
    fn all_problems_are_named_at_once() {
        let wat = r#"(module
            (import "env" "open" (func))
            (import "wasi_snapshot_preview1" "sock_accept" (func))
            (import "daee" "call" (func (param i64)))
            (import "wasi_snapshot_preview1" "clock_time_get" (func (param i32 i32 i32) (result i32)))
            (func $f) (start $f) (export "_initialize" (func 0)))"#;
        let codes = [
            "DAEE-A024", // env.open
            "DAEE-A024", // sock_accept
            "DAEE-A025", // daee.call
            "DAEE-A025", // clock_time_get
            "DAEE-A027", // start
            "DAEE-A026", // daee_turn
            "DAEE-A026", // memory
        ];
        check(wat, None, Err(&codes));
    }

    #[test]
    fn features_that_differ_between_machines_are_refused() {
        for wat in [
            "(module (memory 1 1 shared))",
            "(module (memory i64 1))",
            "(module (memory 1) (memory 1))",
            "(module (func (param v128 v128) (result v128)
                (i8x16.relaxed_swizzle (local.get 0) (local.get 1))))",
            "(module (tag))",
            "(module (func $f (return_call $f)))",
        ] {
            check(wat, None, Err(&["DAEE-A022"]));
        }
    }

    #[test]
    fn what_is_no_core_module_is_told_apart() {
        let code = |bytes: &[u8]| check_module(bytes, None).unwrap_err()[0].code();
        assert_eq!(code(b""), "DAEE-A020");
        assert_eq!(code(b"#!/bin/sh\n"), "DAEE-A020");
        assert_eq!(code(&wat::parse_str("(component)").unwrap()), "DAEE-A021");
        assert_eq!(code(b"\0asm\x01\0\0\0\xff"), "DAEE-A022");
    }

    #[test]
    fn everything_that_is_served_may_be_imported() {
        let served = |module: &str, all: &[(&str, &str)]| -> String {
            let types = |text: &str| text.trim_matches(['(', ')']).replace(',', "");
            let import = |(name, shape): &(&str, &str)| {
                let (params, results) = shape.split_once(" -> ").unwrap();
                let (params, results) = (types(params), types(results));
                format!("(import {module:?} {name:?} (func (param {params}) (result {results})))")
            };
            all.iter().map(import).collect()
        };
        let imports = served("daee", &DOOR) + &served("wasi_snapshot_preview1", &WASI);
        let wat =
            format!("(module {imports} (memory (export \"memory\") 1) (func (export \"_start\")))");
        check(&wat, Some(RunStyle::Resident), Ok(RunStyle::Resident));
    }

    #[test]
    fn an_initialize_that_cannot_be_called_is_refused() {
        let with = |ty: &str| {
            REACTOR.replace(
                "(memory",
                &format!("(func (export \"_initialize\") {ty} unreachable) (memory"),
            )
        };
        check(&with(""), None, Ok(RunStyle::Reactor));
        check(&with("(param i32)"), None, Err(&["DAEE-A026"]));
    }

    #[test]
    fn limits_are_published_numbers() {
        let over = Err(&["DAEE-A023", "DAEE-A026", "DAEE-A026"][..]);
        check("(module (table 100001 funcref))", None, over);
        check("(module (table 50001 funcref) (table 50000 funcref))", None, over);
        check(&format!("(module {})", "(global i32 (i32.const 0))".repeat(10_001)), None, over);
        let nops = "(func)".repeat(100_001);
        check(&format!("(module {nops})"), None, over);
    }

    #[test]
    fn large_custom_sections_cost_no_memory_and_change_nothing() {
        let module = wat::parse_str(REACTOR).unwrap();
        let mut reader = ModuleReader::new();
        reader.update(&module);
        // Id 0, 2^28 + 2 bytes, a name of one letter.
        reader.update(&[0, 0x82, 0x80, 0x80, 0x80, 0x01, 1, b'f']);
        let block = vec![0xee; 1 << 20];
        (0..256).for_each(|_| reader.update(&block));
        assert_eq!(reader.finish(None).unwrap().style, RunStyle::Reactor);
    }

    proptest::proptest! {
        /// Bent modules are judged and not trusted: no panic, and one judgement however they come.
        #[test]
        fn bent_modules_are_judged_alike_in_pieces_and_whole(
            bends in proptest::collection::vec(
                (proptest::prelude::any::<proptest::sample::Index>(), proptest::prelude::any::<u8>()),
                0..4,
            ),
            custom in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..40),
            piece in 1usize..50,
        ) {
            let mut bytes = wat::parse_str(REACTOR).unwrap();
            bytes.extend([0, custom.len() as u8]);
            bytes.extend(custom);
            for (at, to) in bends {
                let at = at.index(bytes.len());
                bytes[at] = to;
            }
            let mut reader = ModuleReader::new();
            bytes.chunks(piece).for_each(|piece| reader.update(piece));
            let whole = judge(&bytes, None).map_err(|all| all[0].code());
            proptest::prop_assert_eq!(reader.finish(None).map_err(|all| all[0].code()), whole);
        }
    }
}
