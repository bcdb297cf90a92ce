use daee_types::{Coded, Fault};
use wasmparser::{
    Encoding, ExternalKind, FuncType, Parser, Payload, TypeRef, Validator, WasmFeatures,
};

/// Largest module that is looked into, in bytes; a module that loads is one block or less.
pub const MODULE_BYTES_MAX: usize = 64 << 20;

const IMPORTS_MAX: u32 = 256;
const FUNCTIONS_MAX: u32 = 100_000;
const GLOBALS_MAX: u32 = 10_000;
const TABLE_ELEMENTS_MAX: u64 = 100_000;

/// WASI preview 1 as it is served: enough for a libc, nothing that reaches out.
const WASI: [&str; 20] = [
    "args_get",
    "args_sizes_get",
    "clock_res_get",
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_close",
    "fd_fdstat_get",
    "fd_fdstat_set_flags",
    "fd_filestat_get",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_read",
    "fd_seek",
    "fd_write",
    "path_open",
    "poll_oneoff",
    "proc_exit",
    "random_get",
    "sched_yield",
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
    NotWasm(String),
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
            Self::TooMany { .. } => "DAEE-A023",
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
    if bytes.len() < 8 || !bytes.starts_with(b"\0asm") {
        let shown = if bytes.is_empty() { "it is empty" } else { "it does not start with \\0asm" };
        return Err(vec![ModuleProblem::NotWasm(shown.to_owned())]);
    }
    if bytes[4..8] == [0x0d, 0x00, 0x01, 0x00] {
        return Err(vec![ModuleProblem::Component]);
    }
    let mut validator = Validator::new_with_features(features());
    if let Err(error) = validator.validate_all(bytes) {
        let what = error.message().to_owned();
        return Err(vec![ModuleProblem::Invalid { what, at: error.offset() }]);
    }
    let mut survey = Survey::default();
    for payload in Parser::new(0).parse_all(bytes) {
        let seen = payload.and_then(|payload| survey.see(payload));
        if let Err(error) = seen {
            let what = error.message().to_owned();
            return Err(vec![ModuleProblem::Invalid { what, at: error.offset() }]);
        }
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
                for table in tables {
                    let elements = table?.ty.initial;
                    self.limit("table elements", elements, TABLE_ELEMENTS_MAX);
                }
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
        let shape = self.types.get(index as usize).map(shape_of).unwrap_or_default();
        let expected = match (module.as_str(), name.as_str()) {
            ("daee", "call") => "iiii>i",
            ("daee", "read") => "ii>i",
            ("wasi_snapshot_preview1", name) if WASI.contains(&name) => return,
            _ => {
                self.problems.push(ModuleProblem::Import { module, name });
                return;
            }
        };
        if shape != expected {
            let expected = if expected == "ii>i" {
                "(i32, i32) -> i32"
            } else {
                "(i32, i32, i32, i32) -> i32"
            };
            self.problems.push(ModuleProblem::ImportType { module, name, expected });
        }
    }

    fn judge(mut self, wanted: Option<RunStyle>) -> Result<ModuleFacts, Vec<ModuleProblem>> {
        let style = wanted.unwrap_or(RunStyle::Reactor);
        match style {
            RunStyle::Reactor if !self.exports_function("daee_turn", ">i") => {
                let hint = if self.exports_function("_start", ">") {
                    "daee_turn() -> i32; a command with _start needs `run: resident`"
                } else {
                    "daee_turn() -> i32"
                };
                self.problems.push(ModuleProblem::Export(hint));
            }
            RunStyle::Resident | RunStyle::PerEvent if !self.exports_function("_start", ">") => {
                self.problems.push(ModuleProblem::Export("_start()"));
            }
            _ => {}
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

/// A function type in a few letters: `ii>i` takes two i32 and gives one.
fn shape_of(ty: &FuncType) -> String {
    let letter = |v: &wasmparser::ValType| match v {
        wasmparser::ValType::I32 => 'i',
        _ => '?',
    };
    let params: String = ty.params().iter().map(letter).collect();
    let results: String = ty.results().iter().map(letter).collect();
    format!("{params}>{results}")
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
            (func $f) (start $f))"#;
        let codes = ["DAEE-A024", "DAEE-A024", "DAEE-A025", "DAEE-A027", "DAEE-A026", "DAEE-A026"];
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
    fn limits_are_published_numbers() {
        check(
            "(module (table 100001 funcref))",
            None,
            Err(&["DAEE-A023", "DAEE-A026", "DAEE-A026"]),
        );
    }
}
