//! Metering: fuel, call depth and refused growth, counted by the code itself. Every count depends on the
//! module alone, so it is the same on every machine, and in every engine: what comes out is an ordinary module.
//!
//! Fuel is taken once for each stretch of code without branches, at its end, and looked at where code can
//! come again: at the head of a function and of a loop. Between two looks a guest runs at most the length of
//! one function. What works on a range pays for the range before it does.
//!
//! Within a function the fuel is in a local, where it costs next to nothing. It is written back before whoever
//! else may look at it does: at calls, at the end of the function, at `unreachable`. What other traps leave
//! behind is older, and for the adapter to charge as it likes: writing back in loops costs as much as all the rest.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use wasm_encoder::{BlockType, ConstExpr, Encode as _, Instruction, RawSection, SectionId};
use wasmparser::{
    BinaryReaderError, FunctionBody, Operator, Parser, Payload, SectionLimited, TypeRef, ValType,
};

/// Globals that metering adds behind the module's own: fuel (i64), depth and refused (i32), in this order.
pub(super) const GLOBALS_ADDED: usize = 3;
/// Calls that may be open in a function that calls.
pub(crate) const DEPTH_MAX: i32 = 10_000;
/// Value of the global `refused` after `memory.grow`, and after `table.grow`, said no.
pub(crate) const REFUSED_MEMORY: i32 = 1;
pub(crate) const REFUSED_TABLE: i32 = 2;

/// Tables of one module: each may grow to its bound, and their memory is no part of the agent's.
const TABLES_MAX: usize = 8;

/// Targets of one `br_table`. Cranelift before 0.135.7 jumps wrongly on arm64 where a table of targets is longer
/// than a conditional branch reaches, 1 MiB (GHSA-mghf-wjfp-p5xm); four bytes each, these are a quarter of it.
const TARGETS_MAX: u32 = 1 << 16;

/// One fuel buys this many bytes of a bulk operation, as a power of two.
const BYTES_SHIFT: i64 = 4;
/// What a page of 64 KiB costs when memory grows: it has to be cleared.
const PAGE_FUEL: i64 = 4096;

/// A module that counts.
pub(crate) struct Metered {
    /// It has three more globals than before, and no custom sections.
    pub(crate) wasm: Vec<u8>,
    /// Why the module's memory and globals alone do not say where it stands.
    pub(crate) unkeepable: Option<String>,
}

/// Checks a module and makes it count.
pub(crate) fn instrument(module: &[u8]) -> Result<Metered, String> {
    instrument_with(module, 0, &[])
}

/// With this much fuel to begin with, and the first of the added globals exported under these names: for
/// whoever runs it on another engine.
pub(crate) fn instrument_with(module: &[u8], fuel: i64, shown: &[&str]) -> Result<Metered, String> {
    // Before anything is added: what a module cannot name it cannot change.
    daee_artifact::validate(module)?;
    rewrite(module, fuel, shown).map_err(|error| error.to_string())?
}

/// Puts sections together again: all as they were, but for globals, code, and exports if any are to be shown.
fn rewrite(
    module: &[u8],
    fuel: i64,
    shown: &[&str],
) -> Result<Result<Metered, String>, BinaryReaderError> {
    let mut shape = Shape::default();
    let mut sections = BTreeMap::new();
    let mut code = Vec::new();
    let mut globals = (0, &[][..]);
    let mut exports = (0, &[][..]);
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::CodeSectionStart { count, .. } => count.encode(&mut code),
            Payload::CodeSectionEntry(body) => {
                Function::metered(module, &mut shape, &body)?.encode(&mut code);
            }
            Payload::CustomSection(_) => {}
            payload => {
                match &payload {
                    Payload::GlobalSection(own) => globals = (own.count(), items(module, own)),
                    Payload::ExportSection(own) => exports = (own.count(), items(module, own)),
                    _ => {}
                }
                shape.read(&payload)?;
                if let Some((id, range)) = payload.as_section() {
                    sections.insert(place(id), (id, Cow::Borrowed(slice(module, range))));
                }
            }
        }
    }
    if shape.tables > TABLES_MAX {
        let found = shape.tables;
        return Ok(Err(format!("it has {found} tables, at most {TABLES_MAX} are allowed")));
    }
    if shape.targets > TARGETS_MAX {
        let found = shape.targets;
        return Ok(Err(format!(
            "a br_table of it has {found} targets, at most {TARGETS_MAX} are allowed"
        )));
    }
    let mut put = |id: SectionId, data: Vec<u8>| {
        let id = id as u8;
        sections.insert(place(id), (id, Cow::Owned(data)));
    };
    put(SectionId::Global, with_globals(globals, fuel));
    if !shown.is_empty() {
        put(SectionId::Export, with_exports(exports, &shape, shown));
    }
    if !code.is_empty() {
        put(SectionId::Code, code);
    }
    let mut out = wasm_encoder::Module::new();
    for (id, data) in sections.values() {
        out.section(&RawSection { id: *id, data });
    }
    Ok(Ok(Metered { wasm: out.finish(), unkeepable: shape.unkeepable }))
}

/// Sections stand in the order of their numbers, but for the one that counts the segments of data.
fn place(id: u8) -> u8 {
    if id == SectionId::DataCount as u8 { SectionId::Code as u8 * 2 - 1 } else { id * 2 }
}

fn slice(module: &[u8], range: Range<u64>) -> &[u8] {
    &module[range.start as usize..range.end as usize]
}

/// What a section lists, without how many there are.
fn items<'a, T>(module: &'a [u8], section: &SectionLimited<'a, T>) -> &'a [u8] {
    slice(module, section.original_position()..section.range().end)
}

fn with_globals((count, own): (u32, &[u8]), fuel: i64) -> Vec<u8> {
    use wasm_encoder::{GlobalType, ValType};
    let mut out = Vec::new();
    (count + GLOBALS_ADDED as u32).encode(&mut out);
    out.extend(own);
    let zero = ConstExpr::i32_const(0);
    let inits = [
        (ValType::I64, ConstExpr::i64_const(fuel)),
        (ValType::I32, zero.clone()),
        (ValType::I32, zero),
    ];
    for (val_type, init) in inits {
        GlobalType { val_type, mutable: true, shared: false }.encode(&mut out);
        init.encode(&mut out);
    }
    out
}

fn with_exports((count, own): (u32, &[u8]), shape: &Shape, shown: &[&str]) -> Vec<u8> {
    let mut out = Vec::new();
    (count + shown.len() as u32).encode(&mut out);
    out.extend(own);
    for (name, global) in shown.iter().zip(shape.globals..) {
        name.encode(&mut out);
        wasm_encoder::ExportKind::Global.encode(&mut out);
        global.encode(&mut out);
    }
    out
}

/// What has to be known of a module before its code is read.
#[derive(Default)]
struct Shape {
    /// How many each type of function has.
    params: Vec<u32>,
    /// The type of each function of its own that was not read yet, the last first.
    functions: Vec<u32>,
    functions_imported: u32,
    globals: u32,
    tables: usize,
    /// Of its longest `br_table`.
    targets: u32,
    unkeepable: Option<String>,
}

impl Shape {
    fn read(&mut self, payload: &Payload<'_>) -> Result<(), BinaryReaderError> {
        match payload {
            Payload::TypeSection(types) => {
                for ty in types.clone().into_iter_err_on_gc_types() {
                    self.params.push(ty?.params().len() as u32);
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    match import?.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => self.functions_imported += 1,
                        TypeRef::Table(_) => self.tables += 1,
                        TypeRef::Global(ty) => self.global(ty),
                        TypeRef::Memory(_) | TypeRef::Tag(_) => {}
                    }
                }
            }
            Payload::FunctionSection(functions) => {
                self.functions = functions.clone().into_iter().collect::<Result<_, _>>()?;
                self.functions.reverse();
            }
            Payload::TableSection(tables) => self.tables += tables.count() as usize,
            Payload::GlobalSection(globals) => {
                for global in globals.clone() {
                    self.global(global?.ty);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn global(&mut self, ty: wasmparser::GlobalType) {
        self.globals += 1;
        if ty.mutable && matches!(ty.content_type, ValType::Ref(_)) {
            self.note("has a mutable global that holds a reference");
        }
    }

    fn note(&mut self, why: &str) {
        self.unkeepable.get_or_insert_with(|| why.to_owned());
    }
}

/// One function on its way.
struct Function<'a> {
    module: &'a [u8],
    /// What it does, behind what is done when it is entered.
    code: Vec<u8>,
    /// Up to here the code was copied, as an offset in the module.
    copied: usize,
    /// Fuel of the present stretch, not yet taken.
    owed: i64,
    /// Blocks that are open, the function's own among them.
    depth: u32,
    /// It calls others of the module.
    calls: bool,
    /// The globals of metering.
    fuel: u32,
    deep: u32,
    refused: u32,
    /// Its locals: the fuel, the calls that are open, and one for what lies on the stack.
    left: u32,
    open: u32,
    scratch: u32,
}

impl<'a> Function<'a> {
    /// The body, with its length.
    fn metered(
        module: &'a [u8],
        shape: &mut Shape,
        body: &FunctionBody<'a>,
    ) -> Result<Vec<u8>, BinaryReaderError> {
        let ty = shape.functions.pop().expect("there are as many bodies as functions");
        let mut locals = body.get_locals_reader()?;
        let first = locals.original_position();
        let mut left = shape.params[ty as usize];
        for _ in 0..locals.get_count() {
            left += locals.read()?.0;
        }
        let mut operators = body.get_operators_reader()?;
        let start = operators.original_position();
        let mut function = Self {
            module,
            code: Vec::new(),
            copied: start as usize,
            owed: 1,
            depth: 1,
            calls: false,
            fuel: shape.globals,
            deep: shape.globals + 1,
            refused: shape.globals + 2,
            left,
            open: left + 1,
            scratch: left + 2,
        };
        while !operators.eof() {
            let at = operators.original_position() as usize;
            let operator = operators.read()?;
            if let Operator::BrTable { targets } = &operator {
                shape.targets = shape.targets.max(targets.len());
            }
            function.feed(&operator, at, operators.original_position() as usize, shape);
        }
        function.copy(body.range().end as usize);

        let mut out = Vec::new();
        (locals.get_count() + 2).encode(&mut out);
        out.extend(slice(module, first..start));
        for (count, ty) in [(1u32, wasm_encoder::ValType::I64), (2, wasm_encoder::ValType::I32)] {
            count.encode(&mut out);
            ty.encode(&mut out);
        }
        let code = std::mem::take(&mut function.code);
        function.enter();
        out.extend(function.code);
        out.extend(code);
        Ok(out)
    }

    /// Copies an operator that stands here, with what counts before and behind it.
    fn feed(&mut self, operator: &Operator<'_>, at: usize, end: usize, shape: &mut Shape) {
        use Operator::*;
        self.owed += cost(operator);
        match operator {
            Loop { .. } => {
                self.depth += 1;
                self.pay(at);
                self.copy(end);
                self.look();
            }
            Block { .. } => self.depth += 1,
            If { .. } => {
                self.pay(at);
                self.depth += 1;
            }
            Else => self.pay(at),
            End => {
                self.pay(at);
                self.depth -= 1;
                if self.depth == 0 {
                    self.flush(at);
                }
            }
            Br { relative_depth } | BrIf { relative_depth } => {
                self.pay(at);
                if relative_depth + 1 == self.depth {
                    self.flush(at);
                }
            }
            BrTable { targets } => {
                self.pay(at);
                let mut all = targets.targets().chain([Ok(targets.default())]);
                if all.any(|target| target.is_ok_and(|target| target + 1 == self.depth)) {
                    self.flush(at);
                }
            }
            Return | Unreachable => {
                self.pay(at);
                self.flush(at);
            }
            Call { function_index } if *function_index < shape.functions_imported => {
                self.pay(at);
                self.flush(at);
                self.copy(end);
                self.load();
            }
            Call { .. } | CallIndirect { .. } => {
                self.calls = true;
                self.pay(at);
                self.flush(at);
                self.put(&[
                    Instruction::LocalGet(self.open),
                    Instruction::I32Const(1),
                    Instruction::I32Add,
                    Instruction::GlobalSet(self.deep),
                ]);
                self.copy(end);
                self.put(&[Instruction::LocalGet(self.open), Instruction::GlobalSet(self.deep)]);
                self.load();
            }
            MemoryFill { .. } | MemoryCopy { .. } | MemoryInit { .. } => {
                self.pay_by_top(at, &[Instruction::I64Const(BYTES_SHIFT), Instruction::I64ShrU]);
            }
            TableFill { .. } | TableCopy { .. } | TableInit { .. } => {
                shape.note("changes its tables while it runs");
                self.pay_by_top(at, &[]);
            }
            MemoryGrow { .. } => {
                self.pay_by_top(at, &[Instruction::I64Const(PAGE_FUEL), Instruction::I64Mul]);
                self.copy(end);
                self.note_refused(REFUSED_MEMORY);
            }
            TableGrow { .. } => {
                shape.note("changes its tables while it runs");
                self.pay_by_top(at, &[]);
                self.copy(end);
                self.note_refused(REFUSED_TABLE);
            }
            TableSet { .. } => shape.note("changes its tables while it runs"),
            ElemDrop { .. } | DataDrop { .. } => shape.note("drops segments while it runs"),
            _ => {}
        }
    }

    /// Copies the module's own code up to here.
    fn copy(&mut self, upto: usize) {
        self.code.extend(&self.module[self.copied..upto]);
        self.copied = upto;
    }

    fn put(&mut self, instructions: &[Instruction<'_>]) {
        for instruction in instructions {
            instruction.encode(&mut self.code);
        }
    }

    /// What a function begins with. One that calls others counts itself as open.
    fn enter(&mut self) {
        self.load();
        self.look();
        if self.calls {
            self.put(&[
                Instruction::GlobalGet(self.deep),
                Instruction::LocalTee(self.open),
                Instruction::I32Const(DEPTH_MAX),
                Instruction::I32GeS,
                Instruction::If(BlockType::Empty),
                Instruction::I32Const(DEPTH_MAX + 1),
                Instruction::GlobalSet(self.deep),
                Instruction::Unreachable,
                Instruction::End,
            ]);
        }
    }

    fn load(&mut self) {
        self.put(&[Instruction::GlobalGet(self.fuel), Instruction::LocalSet(self.left)]);
    }

    /// Before the operator here: writes the fuel back.
    fn flush(&mut self, at: usize) {
        self.copy(at);
        self.put(&[Instruction::LocalGet(self.left), Instruction::GlobalSet(self.fuel)]);
    }

    /// Before the operator here: takes what the stretch with it costs.
    fn pay(&mut self, at: usize) {
        self.copy(at);
        let owed = std::mem::take(&mut self.owed);
        if owed > 0 {
            self.put(&[
                Instruction::LocalGet(self.left),
                Instruction::I64Const(owed),
                Instruction::I64Sub,
                Instruction::LocalSet(self.left),
            ]);
        }
    }

    /// Stops the guest if no fuel is left.
    fn look(&mut self) {
        self.put(&[
            Instruction::LocalGet(self.left),
            Instruction::I64Const(0),
            Instruction::I64LtS,
            Instruction::If(BlockType::Empty),
            Instruction::LocalGet(self.left),
            Instruction::GlobalSet(self.fuel),
            Instruction::Unreachable,
            Instruction::End,
        ]);
    }

    /// Takes fuel by the unsigned number on top of the stack, scaled, and leaves the number there.
    fn pay_by_top(&mut self, at: usize, scale: &[Instruction<'_>]) {
        self.pay(at);
        self.put(&[
            Instruction::LocalSet(self.scratch),
            Instruction::LocalGet(self.left),
            Instruction::LocalGet(self.scratch),
            Instruction::I64ExtendI32U,
        ]);
        self.put(scale);
        self.put(&[Instruction::I64Sub, Instruction::LocalSet(self.left)]);
        self.look();
        self.put(&[Instruction::LocalGet(self.scratch)]);
    }

    /// Remembers if the growth whose result is on top of the stack was refused.
    fn note_refused(&mut self, what: i32) {
        self.put(&[
            Instruction::LocalTee(self.scratch),
            Instruction::I32Const(-1),
            Instruction::I32Eq,
            Instruction::If(BlockType::Empty),
            Instruction::I32Const(what),
            Instruction::GlobalSet(self.refused),
            Instruction::End,
            Instruction::LocalGet(self.scratch),
        ]);
    }
}

/// What one operator costs. Structure is free; calls, divisions and roots cost about what they take.
fn cost(operator: &Operator<'_>) -> i64 {
    use Operator::*;
    match operator {
        Nop | Block { .. } | Loop { .. } | Else | End | Unreachable => 0,
        Call { .. } => 4,
        CallIndirect { .. } => 8,
        I32DivS | I32DivU | I32RemS | I32RemU | I64DivS | I64DivU | I64RemS | I64RemU | F32Div
        | F64Div | F32Sqrt | F64Sqrt => 8,
        MemoryGrow { .. } | TableGrow { .. } => 64,
        MemoryFill { .. }
        | MemoryCopy { .. }
        | MemoryInit { .. }
        | TableFill { .. }
        | TableCopy { .. }
        | TableInit { .. } => 16,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Stop;
    use super::super::testing::{born, load};
    use super::*;

    const FUEL: u64 = 1 << 40;

    /// What a call of `run` costs, and how it ended.
    fn run(fuel: u64, items: &str) -> (u64, Result<i32, Stop>) {
        let code = load(&format!("(module (memory 1 3) (table $t 4 funcref) {items})"));
        let mut instance = born(&*code, None);
        instance.set_fuel(fuel);
        let result = instance.call("run");
        (fuel - instance.fuel(), result)
    }

    fn check_module(fuel: u64, items: &str) {
        let (found, result) = run(FUEL, items);
        assert!(result.is_ok(), "{items}: {result:?}");
        assert_eq!(found, fuel, "{items}");
    }

    fn check(fuel: u64, body: &str) {
        check_module(fuel, &function(body));
    }

    fn function(body: &str) -> String {
        format!(r#"(func (export "run") (result i32) (local i32 i64) {body})"#)
    }

    #[test]
    fn every_operator_that_runs_is_charged_once() {
        check(2, "i32.const 0");
        check(2, "nop block end i32.const 0");
        check(3, "i32.const 0 return i32.const 1 i32.const 2 drop");
        check(11, "(i32.div_u (i32.const 1) (i32.const 1))");
        check(4, "(if (i32.const 0) (then (local.set 0 (i32.const 1)))) i32.const 0");
        check(6, "(if (i32.const 1) (then (local.set 0 (i32.const 1)))) i32.const 0");
        check(4, "(if (result i32) (i32.const 1) (then i32.const 1) (else i32.const 3 i32.eqz))");
        check(5, "(if (result i32) (i32.const 0) (then i32.const 1) (else i32.const 3 i32.eqz))");
        check(3, "block br 0 i32.const 1 drop end i32.const 0");
        check(4, "block i32.const 1 br_if 0 i32.const 1 drop end i32.const 0");
        check(6, "block i32.const 0 br_if 0 i32.const 1 drop end i32.const 0");
        check(
            54,
            "i32.const 10 local.set 0 loop local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end i32.const 0",
        );
    }

    #[test]
    fn no_way_out_of_a_function_is_missed() {
        check(4, "i32.const 0 i32.const 1 br_if 0 drop i32.const 5");
        check(6, "i32.const 0 i32.const 0 br_if 0 drop i32.const 5");
        check(4, "block i32.const 0 i32.const 1 br_if 1 drop end i32.const 5");
        check(4, "loop i32.const 9 i32.eqz br 1 end i32.const 0");
        check(4, "i32.const 9 i32.const 1 br_table 0 0");
        check(5, "block (result i32) i32.const 9 i32.const 0 br_table 0 1 end i32.eqz");
        check(4, "block (result i32) i32.const 9 i32.const 1 br_table 0 1 end i32.eqz");
        check(4, "block (result i32) i32.const 9 i32.const 7 br_table 0 1 end i32.eqz");
    }

    #[test]
    fn calls_are_charged_with_what_they_lead_to() {
        let leaf = "(func $f (result i32) i32.const 1)";
        check_module(7, &format!("{leaf} {}", function("call $f")));
        check_module(14, &format!("{leaf} {}", function("call $f call $f i32.or")));
        let indirect = function("i32.const 2 call_indirect (result i32)");
        check_module(12, &format!("{leaf} (elem (i32.const 2) $f) {indirect}"));
    }

    #[test]
    fn what_works_on_a_range_is_charged_by_its_length() {
        let on = |op: &str, count: u32| {
            let last = if op.starts_with("table.fill") { "ref.null func" } else { "i32.const 0" };
            format!("i32.const 0 {last} i32.const {count} {op} i32.const 0")
        };
        check(21, &on("memory.fill", 15));
        check(31, &on("memory.fill", 160));
        check(31, &on("memory.copy", 160));
        check(24, &on("table.fill $t", 3));
        check(24, &on("table.copy $t $t", 3));
        check(2 + 64 + 2 * 4096, "i32.const 2 memory.grow");
        check(2 + 64 + 9 * 4096, "i32.const 9 memory.grow");
        check(3 + 64 + 7, "ref.null func i32.const 7 table.grow $t");
        check(3 + 64 + 777, "ref.null func i32.const 777 table.grow $t");
        // Not a byte is written that was not paid for.
        let fill = function("i32.const 0 i32.const 1 i32.const 65536 memory.fill i32.const 0");
        let (used, result) = run(4000, &fill);
        assert!(matches!(result, Err(Stop::Fuel)), "{result:?}");
        assert_eq!(used, 4000);
    }

    #[test]
    fn a_trap_is_no_way_to_run_for_less() {
        let trap = |fuel: u64, items: &str| {
            let (used, result) = run(FUEL, items);
            assert!(matches!(result, Err(Stop::Trap(_))), "{items}: {result:?}");
            assert_eq!(used, fuel, "{items}");
        };
        trap(3, &function("i32.const 1 drop unreachable"));
        trap(
            5,
            &function("loop i32.const 1 drop i32.const 1 if unreachable end br 0 end unreachable"),
        );
        let callee = function("call $f").replace("(local i32 i64)", "");
        trap(8, &format!("(func $f (result i32) i32.const 1 drop unreachable) {callee}"));
        trap(FUEL, &function("i32.const 1 i32.const 0 i32.div_u"));
        trap(FUEL, &function("i32.const -1 i32.load"));
        trap(FUEL, &function("i32.const 0 call_indirect i32.const 0"));
        trap(FUEL, &function("f32.const nan i32.trunc_f32_s"));
    }

    #[test]
    fn without_fuel_nothing_goes_on() {
        let out = |items: &str| {
            let (used, result) = run(10_000, items);
            assert!(matches!(result, Err(Stop::Fuel)), "{items}: {result:?}");
            assert_eq!(used, 10_000, "{items}");
        };
        out(&function("loop br 0 end unreachable"));
        out(r#"(func $f (export "run") (result i32) call $f)"#);
        out(
            r#"(func $f (export "run") (result i32) i32.const 0 call_indirect (result i32)) (elem (i32.const 0) $f)"#,
        );
        let (_, result) = run(0, &function("i32.const 1"));
        assert!(result.is_ok(), "it is looked at before it is used");
    }

    #[test]
    fn calls_are_counted_and_what_returned_is_not() {
        let (used, result) = run(FUEL, r#"(func $f (export "run") (result i32) call $f)"#);
        assert!(matches!(result, Err(Stop::Stack)), "{result:?}");
        assert_eq!(used, 5 * DEPTH_MAX as u64, "the same number of calls everywhere");
        let nested = |calls: i32| {
            let down = "(func $f (param i32) (if (local.get 0)
                (then (call $f (i32.sub (local.get 0) (i32.const 1))))))";
            run(
                FUEL,
                &format!(
                    "{down} {}",
                    function(&format!("(call $f (i32.const {calls})) i32.const 7"))
                ),
            )
            .1
        };
        assert_eq!(nested(DEPTH_MAX - 2).unwrap(), 7);
        assert!(matches!(nested(DEPTH_MAX), Err(Stop::Stack)));
        let many = "i32.const 30000 local.set 0
            loop call $f local.get 0 i32.const 1 i32.sub local.tee 0 br_if 0 end i32.const 0";
        let leaf = "(func $g) (func $f call $g)";
        assert!(run(FUEL, &format!("{leaf} {}", function(many))).1.is_ok());
    }

    #[test]
    fn a_module_cannot_name_what_is_added() {
        let refused = |wat: &str| instrument(&wat::parse_str(wat).unwrap()).err().unwrap();
        refused("(module (func (global.set 0 (i64.const 9))))");
        refused("(module (global (mut i32) (i32.const 0)) (func (global.set 2 (i32.const 0))))");
        refused("(module (func (param i32) (drop (local.get 1))))");
        refused(r#"(module (export "fuel" (global 0)))"#);
        refused(&format!("(module {})", "(table 1 funcref)".repeat(TABLES_MAX + 1)));
        refused("(module (func return_call 0))");
    }

    #[test]
    fn a_table_of_targets_is_no_longer_than_a_branch_reaches() {
        let with = |targets: u32| {
            let targets = "0 ".repeat(targets as usize + 1);
            let wat = format!("(module (func (br_table {targets} (i32.const 0))))");
            instrument(&wat::parse_str(wat).unwrap()).map(|_| ())
        };
        assert_eq!(with(TARGETS_MAX), Ok(()));
        assert!(with(TARGETS_MAX + 1).unwrap_err().contains("at most 65536"));
    }

    #[test]
    fn what_memory_and_globals_do_not_say_is_named() {
        let why = |wat: &str| {
            let wasm = wat::parse_str(format!("(module (table $t 1 funcref) (memory 1) {wat})"));
            instrument(&wasm.unwrap()).unwrap().unkeepable
        };
        assert_eq!(why("(global (mut i32) (i32.const 0))"), None);
        assert!(why("(global (mut funcref) (ref.null func))").is_some());
        assert!(why("(func (table.set $t (i32.const 0) (ref.null func)))").is_some());
        assert!(why(r#"(data $d "x") (func (data.drop $d))"#).is_some());
        assert_eq!(
            why(
                r#"(data $d "x") (func (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0)))"#
            ),
            None
        );
    }
}
