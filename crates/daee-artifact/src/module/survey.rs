use wasmparser::{
    BinaryReader, BinaryReaderError, Chunk, ConstExpr, DataKind, Element, ElementItems,
    ElementKind, ExternalKind, FuncToValidate, FuncValidatorAllocations, FunctionBody, Import,
    Parser, Payload, TableInit, TypeRef, TypeSectionReader, ValType, ValidPayload, Validator,
    ValidatorResources, WasmFeatures,
};

use crate::files::{FILES_SECTION, FilesError, FilesReader};

use super::{
    FUNCTION_BYTES_MAX, MODULE_BYTES_MAX, ModuleFacts, ModuleProblem, RunStyle,
    offered::{self, START, TURN},
    operations::Named,
    sections::{Sections, Unit},
};

const TYPES_MAX: u64 = 10_000;
const PARAMS_MAX: u64 = 128;
const RESULTS_MAX: u64 = 128;
const IMPORTS: &str = "imports";
const IMPORTS_MAX: u64 = 256;
const FUNCTIONS_MAX: u64 = 100_000;
/// What a node's meter takes.
const TABLES_MAX: u64 = 8;
const TABLE_ELEMENTS_MAX: u64 = 100_000;
const GLOBALS_MAX: u64 = 10_000;
const EXPORTS_MAX: u64 = 10_000;
const ELEMENT_SEGMENTS_MAX: u64 = 10_000;
const DATA_SEGMENTS_MAX: u64 = 100_000;
/// More of them have one purpose: to cost time.
const CUSTOM_SECTIONS_MAX: u64 = 4096;
/// Of an import or an export.
const NAME_BYTES_MAX: u64 = 1024;
/// Without the extended ones, a constant is one instruction.
const CONSTANT_BYTES_MAX: u64 = 64;
/// Values on the operand stack of one function, and blocks in each other.
const DEPTH_MAX: u64 = 50_000;

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

/// Whether bytes are a module under the features that nodes run, or why not. What else a module has to keep, so
/// that it can run as an agent, is [`check_module`](crate::check_module)'s to say.
pub fn validate(module: &[u8]) -> Result<(), String> {
    let valid = Validator::new_with_features(features()).validate_all(module);
    valid.map(drop).map_err(|error| error.to_string())
}

/// A module that was read to its end, to be judged for any way to run it.
#[derive(Clone, Debug)]
pub struct ModuleSurvey {
    problems: Vec<ModuleProblem>,
    /// What only a reactor must not do.
    unkeepable: Vec<ModuleProblem>,
    /// Whether all of its sections were understood, so that what is not there is missing.
    understood: bool,
    turn: bool,
    start: bool,
    /// Whether `_initialize`, if it is there, can be called.
    initialize: bool,
    memory: bool,
    memory_pages: u64,
    memory_pages_max: Option<u64>,
    door: bool,
    operations: Vec<&'static str>,
}

impl ModuleSurvey {
    /// Whether the module can run like that. `wanted` is the manifest's `run`: nothing there means a
    /// reactor.
    pub fn judge(&self, wanted: Option<RunStyle>) -> Result<ModuleFacts, Vec<ModuleProblem>> {
        let style = wanted.unwrap_or(RunStyle::Reactor);
        let mut problems = self.problems.clone();
        if style == RunStyle::Reactor {
            problems.extend(self.unkeepable.iter().cloned());
        }
        if self.understood {
            problems.extend(self.missing(style).into_iter().map(ModuleProblem::Export));
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(ModuleFacts {
            style,
            memory_pages: self.memory_pages,
            memory_pages_max: self.memory_pages_max,
            door: self.door,
            operations: self.operations.clone(),
        })
    }

    fn missing(&self, style: RunStyle) -> Vec<&'static str> {
        let mut missing = Vec::new();
        match style {
            RunStyle::Reactor if !self.turn && self.start => {
                missing.push("daee_turn() -> i32; a command with _start needs `run: resident`");
            }
            RunStyle::Reactor if !self.turn => missing.push("daee_turn() -> i32"),
            RunStyle::Resident | RunStyle::PerEvent if !self.start => missing.push("_start()"),
            _ => {}
        }
        if !self.initialize {
            missing.push("_initialize() without parameters and results");
        }
        if !self.memory {
            missing.push("its memory as \"memory\"");
        }
        missing
    }
}

/// How far the files that a module brings were looked at.
enum Files {
    None,
    Open(FilesReader),
    Seen,
}

/// Looks at the parts of a module as they come.
pub(super) struct Survey {
    parser: Parser,
    /// Nothing where it would be fed with more than the limits allow.
    validator: Option<Validator>,
    allocations: FuncValidatorAllocations,
    /// Of each type, what it is if it is of use.
    types: Vec<Option<&'static str>>,
    /// Of each function, its type.
    functions: Vec<u32>,
    exports: Vec<(&'static str, ExternalKind, u32)>,
    custom_sections: u64,
    files: Files,
    door: bool,
    memory_pages: u64,
    memory_pages_max: Option<u64>,
    named: Named,
    unkeepable: Vec<ModuleProblem>,
    problems: Vec<ModuleProblem>,
    understood: bool,
}

impl Survey {
    pub(super) fn new() -> Self {
        Self {
            parser: Parser::new(0),
            validator: Some(Validator::new_with_features(features())),
            allocations: FuncValidatorAllocations::default(),
            types: Vec::new(),
            functions: Vec::new(),
            exports: Vec::new(),
            custom_sections: 0,
            files: Files::None,
            door: false,
            memory_pages: 0,
            memory_pages_max: None,
            named: Named::default(),
            unkeepable: Vec::new(),
            problems: Vec::new(),
            understood: true,
        }
    }

    /// The next part, and how many bytes were passed over before it. Says whether to go on.
    pub(super) fn see(&mut self, unit: Unit, bytes: &[u8], skipped: u64) -> bool {
        if unit == Unit::Contents {
            if let Files::Open(files) = &mut self.files
                && let Err(error) = files.update(bytes)
            {
                self.files = Files::Seen;
                self.problems.push(error.into());
            }
            return true;
        }
        self.close_files();
        let seen = match unit {
            Unit::Name => {
                if bytes[1..] == *FILES_SECTION.as_bytes() {
                    self.open_files();
                }
                self.custom_sections += 1;
                if self.custom_sections > CUSTOM_SECTIONS_MAX {
                    let limit = CUSTOM_SECTIONS_MAX;
                    self.give_up(ModuleProblem::Over { what: "custom sections", limit });
                    return false;
                }
                BinaryReader::new(bytes, 0).read_string().map(|_| ())
            }
            Unit::Header => {
                if let Some(problem) = no_module(bytes) {
                    self.give_up(problem);
                    return false;
                }
                self.parse(bytes)
            }
            Unit::Part => self.parse(bytes),
            Unit::Contents => Ok(()),
        };
        match seen {
            Ok(()) => self.understood,
            Err(error) => {
                self.invalid(&error, skipped);
                false
            }
        }
    }

    fn open_files(&mut self) {
        match self.files {
            Files::None => self.files = Files::Open(FilesReader::new()),
            _ => self.problems.push(FilesError::Twice.into()),
        }
    }

    /// What comes next is no more of them.
    fn close_files(&mut self) {
        if let Files::Open(files) = &self.files {
            self.problems.extend(files.finish().err().map(ModuleProblem::from));
            self.files = Files::Seen;
        }
    }

    pub(super) fn over(&mut self) {
        let limit = MODULE_BYTES_MAX as u64;
        self.give_up(ModuleProblem::Over { what: "bytes beside custom sections", limit });
    }

    pub(super) fn large_function(&mut self, found: u64) {
        let limit = FUNCTION_BYTES_MAX as u64;
        self.give_up(ModuleProblem::TooMany { what: "bytes in one function", found, limit });
    }

    pub(super) fn malformed(&mut self, what: &str, at: u64) {
        self.give_up(ModuleProblem::Invalid { what: what.to_owned(), at });
    }

    /// The end of the stream.
    pub(super) fn end(&mut self, sections: &Sections) {
        let whole = sections.is_whole();
        if let Some(ModuleProblem::Over { .. }) = self.problems.last()
            && !whole
        {
            // What was promised to be too large did not come.
            self.problems.pop();
            self.malformed("unexpected end of the file", sections.came());
        }
        if !self.understood {
            return;
        }
        if whole {
            self.close_files();
        }
        match self.parse(&[]) {
            _ if sections.came() < 8 => self.give_up(NO_WASM),
            _ if !whole => self.malformed("unexpected end of the file", sections.came()),
            Ok(()) => {}
            Err(error) => self.invalid(&error, sections.skipped()),
        }
    }

    fn invalid(&mut self, error: &BinaryReaderError, skipped: u64) {
        self.malformed(error.message(), error.offset() + skipped);
    }

    /// One problem more, behind which nothing is understood.
    fn give_up(&mut self, problem: ModuleProblem) {
        self.problems.push(problem);
        self.understood = false;
        self.validator = None;
    }

    /// A part as the parser takes it; no bytes at all are the end.
    fn parse(&mut self, bytes: &[u8]) -> Result<(), BinaryReaderError> {
        let payload = match self.parser.parse(bytes, bytes.is_empty())? {
            Chunk::Parsed { payload, .. } => payload,
            // Parts are whole, so this is one that says it is longer than it is.
            Chunk::NeedMoreData(_) => return self.parser.parse(bytes, true).map(|_| ()),
        };
        // Before the validator, whose memory is bounded by what this lets through.
        self.look(&payload, bytes)?;
        let Some(validator) = &mut self.validator else { return Ok(()) };
        match validator.payload(&payload)? {
            ValidPayload::Func(function, body) => self.function(function, &body),
            _ => Ok(()),
        }
    }

    fn look(&mut self, payload: &Payload<'_>, bytes: &[u8]) -> Result<(), BinaryReaderError> {
        if let Some((what, found, limit)) = count(payload)
            && !self.within(what, found.into(), limit)
        {
            // Without types, nothing can be said of imports and exports.
            self.understood &= !matches!(payload, Payload::TypeSection(_));
            return Ok(());
        }
        match payload {
            Payload::TypeSection(types) => self.types(types, bytes)?,
            Payload::ImportSection(imports) => {
                for (n, import) in imports.clone().into_imports().enumerate() {
                    // What counts as one may be a group of them.
                    if !self.within(IMPORTS, n as u64 + 1, IMPORTS_MAX) {
                        break;
                    }
                    self.import(&import?);
                }
            }
            Payload::FunctionSection(functions) => {
                for index in functions.clone() {
                    self.functions.push(index?);
                }
            }
            Payload::TableSection(tables) => {
                let mut elements = 0_u64;
                for table in tables.clone() {
                    let table = table?;
                    if let TableInit::Expr(expression) = &table.init {
                        self.constant(expression);
                    }
                    elements = elements.saturating_add(table.ty.initial);
                }
                self.within("table elements", elements, TABLE_ELEMENTS_MAX);
            }
            Payload::MemorySection(memories) => {
                if let Some(memory) = memories.clone().into_iter().next() {
                    let memory = memory?;
                    self.memory_pages = memory.initial;
                    self.memory_pages_max = memory.maximum;
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    let global = global?;
                    self.constant(&global.init_expr);
                    let ty = global.ty;
                    if ty.mutable && ty.content_type.is_reference_type() {
                        self.unkeepable("has a mutable global that holds a reference");
                    }
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports.clone() {
                    let export = export?;
                    self.name(export.name);
                    let wanted = ["daee_turn", "_start", "_initialize", "memory"];
                    if let Some(name) = wanted.into_iter().find(|name| *name == export.name) {
                        self.exports.push((name, export.kind, export.index));
                    }
                }
            }
            Payload::ElementSection(segments) => {
                for segment in segments.clone() {
                    self.elements(segment?)?;
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments.clone() {
                    let segment = segment?;
                    if let DataKind::Active { offset_expr, .. } = &segment.kind {
                        self.constant(offset_expr);
                    }
                    self.named.see(segment.data);
                }
            }
            Payload::StartSection { .. } => self.problems.push(ModuleProblem::Start),
            _ => {}
        }
        Ok(())
    }

    /// Types by hand: a reader of them makes room for as many as a group says it has.
    fn types(
        &mut self,
        types: &TypeSectionReader<'_>,
        section: &[u8],
    ) -> Result<(), BinaryReaderError> {
        const FUNCTION: u8 = 0x60;
        let start = types.original_position();
        let len = usize::try_from(types.range().end - start).unwrap_or_default();
        let mut reader = BinaryReader::new(&section[section.len() - len..], start);
        let mut lists: [Vec<ValType>; 2] = Default::default();
        for _ in 0..types.count() {
            let at = reader.original_position();
            if reader.read_u8()? != FUNCTION {
                let what = "a type that is no function's".to_owned();
                self.give_up(ModuleProblem::Invalid { what, at });
                return Ok(());
            }
            for (list, (what, limit)) in lists
                .iter_mut()
                .zip([("parameters in one type", PARAMS_MAX), ("results in one type", RESULTS_MAX)])
            {
                let count = reader.read_var_u32()?;
                self.within(what, count.into(), limit);
                list.clear();
                for n in 0..count {
                    let ty = reader.read()?;
                    // More than that many are of no use.
                    if u64::from(n) < limit {
                        list.push(ty);
                    }
                }
            }
            self.types.push(offered::shape(&lists[0], &lists[1]));
        }
        Ok(())
    }

    fn import(&mut self, import: &Import<'_>) {
        let ty = match import.ty {
            TypeRef::Func(ty) => Some(ty),
            _ => None,
        };
        self.functions.extend(ty);
        self.door |= import.module == "daee";
        if !self.name(import.module) || !self.name(import.name) {
            return;
        }
        let (module, name) = (import.module.to_owned(), import.name.to_owned());
        let Some(ty) = ty else {
            self.problems.push(ModuleProblem::Import { module, name });
            return;
        };
        match offered::import(import.module, import.name) {
            None => self.problems.push(ModuleProblem::Import { module, name }),
            Some(expected) if self.shape(ty) != Some(expected) => {
                self.problems.push(ModuleProblem::ImportType { module, name, expected });
            }
            Some(_) => {}
        }
    }

    fn elements(&mut self, segment: Element<'_>) -> Result<(), BinaryReaderError> {
        if let ElementKind::Active { offset_expr, .. } = &segment.kind {
            self.constant(offset_expr);
        }
        if let ElementItems::Expressions(_, items) = segment.items {
            for item in items {
                self.constant(&item?);
            }
        }
        Ok(())
    }

    fn constant(&mut self, expression: &ConstExpr<'_>) {
        let bytes = expression.get_binary_reader().bytes_remaining() as u64;
        self.within("bytes in one constant", bytes, CONSTANT_BYTES_MAX);
    }

    fn function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'_>,
    ) -> Result<(), BinaryReaderError> {
        let mut validator = function.into_validator(std::mem::take(&mut self.allocations));
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        reader.set_features(*validator.features());
        while !reader.eof() {
            self.operator(reader.clone())?;
            reader.visit_operator(&mut validator.visitor(reader.original_position()))??;
            let values = validator.operand_stack_height().into();
            let blocks = validator.control_stack_height().into();
            if !self.within("values on the stack of one function", values, DEPTH_MAX)
                || !self.within("blocks in each other", blocks, DEPTH_MAX)
            {
                return Ok(());
            }
        }
        reader.finish_expression(&validator.visitor(reader.original_position()))?;
        self.allocations = validator.into_allocations();
        Ok(())
    }

    /// Looks for what leaves a mark that neither memory nor globals have.
    fn operator(&mut self, mut reader: BinaryReader<'_>) -> Result<(), BinaryReaderError> {
        match reader.read_u8()? {
            // table.set
            0x26 => self.unkeepable("changes its tables while it runs"),
            0xfc => match reader.read_var_u32()? {
                // data.drop, elem.drop
                9 | 13 => self.unkeepable("drops segments while it runs"),
                // table.init, table.copy, table.grow, table.fill
                12 | 14 | 15 | 17 => self.unkeepable("changes its tables while it runs"),
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }

    fn unkeepable(&mut self, why: &'static str) {
        let problem = ModuleProblem::Unkeepable(why);
        if !self.unkeepable.contains(&problem) {
            self.unkeepable.push(problem);
        }
    }

    fn name(&mut self, name: &str) -> bool {
        self.within("bytes in the name of an import or export", name.len() as u64, NAME_BYTES_MAX)
    }

    /// Whether that many are allowed. Where they are not, the validator gets no more.
    fn within(&mut self, what: &'static str, found: u64, limit: u64) -> bool {
        if found <= limit {
            return true;
        }
        let told = |problem: &ModuleProblem| match problem {
            ModuleProblem::TooMany { what: told, .. } => *told == what,
            _ => false,
        };
        if !self.problems.iter().any(told) {
            self.problems.push(ModuleProblem::TooMany { what, found, limit });
        }
        self.validator = None;
        false
    }

    fn shape(&self, ty: u32) -> Option<&'static str> {
        self.types.get(ty as usize).copied().flatten()
    }

    fn exports(&self, wanted: &str) -> bool {
        self.exports.iter().any(|(name, ..)| *name == wanted)
    }

    fn exports_function(&self, wanted: &str, shape: &str) -> bool {
        let is = |(name, kind, index): &(&str, ExternalKind, u32)| {
            let ty = self.functions.get(*index as usize).and_then(|ty| self.shape(*ty));
            *name == wanted && *kind == ExternalKind::Func && ty == Some(shape)
        };
        self.exports.iter().any(is)
    }
}

impl From<Survey> for ModuleSurvey {
    fn from(survey: Survey) -> Self {
        let memory = |(name, kind, _): &(&str, ExternalKind, u32)| {
            *name == "memory" && *kind == ExternalKind::Memory
        };
        Self {
            understood: survey.understood,
            turn: survey.exports_function("daee_turn", TURN),
            start: survey.exports_function("_start", START),
            initialize: !survey.exports("_initialize")
                || survey.exports_function("_initialize", START),
            memory: survey.exports.iter().any(memory),
            memory_pages: survey.memory_pages,
            memory_pages_max: survey.memory_pages_max,
            door: survey.door,
            operations: survey.named.names(),
            problems: survey.problems,
            unkeepable: survey.unkeepable,
        }
    }
}

/// How many things a section has, and how many it may have.
fn count(payload: &Payload<'_>) -> Option<(&'static str, u32, u64)> {
    Some(match payload {
        Payload::TypeSection(types) => ("types", types.count(), TYPES_MAX),
        Payload::ImportSection(imports) => (IMPORTS, imports.count(), IMPORTS_MAX),
        Payload::FunctionSection(functions) => ("functions", functions.count(), FUNCTIONS_MAX),
        Payload::TableSection(tables) => ("tables", tables.count(), TABLES_MAX),
        Payload::GlobalSection(globals) => ("globals", globals.count(), GLOBALS_MAX),
        Payload::ExportSection(exports) => ("exports", exports.count(), EXPORTS_MAX),
        Payload::ElementSection(segments) => {
            ("element segments", segments.count(), ELEMENT_SEGMENTS_MAX)
        }
        Payload::DataSection(segments) => ("data segments", segments.count(), DATA_SEGMENTS_MAX),
        _ => return None,
    })
}

const NO_WASM: ModuleProblem = ModuleProblem::NotWasm("it does not start with \\0asm");

/// What the first bytes are, if not those of a core module.
fn no_module(header: &[u8]) -> Option<ModuleProblem> {
    if !header.starts_with(b"\0asm") {
        return Some(NO_WASM);
    }
    (header[4..] == [0x0d, 0x00, 0x01, 0x00]).then_some(ModuleProblem::Component)
}
