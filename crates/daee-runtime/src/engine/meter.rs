//! Metering: fuel, call depth and refused growth, counted by the code itself. Every count
//! depends on the module alone, so it is the same on every machine.
//!
//! Fuel is taken once for each stretch of code without branches, at its end, and looked at where code can
//! come again: at the head of a function and of a loop. Between two looks a guest runs at most the length of
//! one function. What works on a range pays for the range before it does.

use std::sync::Mutex;

use wasmer::sys::{FunctionMiddleware, MiddlewareError, MiddlewareReaderState, ModuleMiddleware};
use wasmer::wasmparser::{BlockType, Operator};
use wasmer::{GlobalInit, GlobalType, LocalFunctionIndex, ModuleInfo, Mutability, Type};

/// Globals that metering adds behind the module's own.
pub(super) const GLOBALS_ADDED: usize = 4;
/// Nested calls that are allowed.
pub(super) const DEPTH_MAX: i32 = 10_000;
/// Value of the global `refused` after `memory.grow`, and after `table.grow`, said no.
pub(super) const REFUSED_MEMORY: i32 = 1;
pub(super) const REFUSED_TABLE: i32 = 2;

/// Tables of one module: each may grow to its bound, and their memory is no part of the agent's.
const TABLES_MAX: usize = 8;

/// One fuel buys this many bytes of a bulk operation, as a power of two.
const BYTES_SHIFT: i64 = 4;
/// What a page of 64 KiB costs when memory grows: it has to be cleared.
const PAGE_FUEL: i64 = 4096;

/// The globals by their index: fuel (i64), depth, refused and scratch (i32), in this order.
#[derive(Clone, Copy, Debug, Default)]
struct Places {
    fuel: u32,
    depth: u32,
    refused: u32,
    scratch: u32,
    functions_imported: u32,
}

/// Instruments one module. Serves one compilation only.
#[derive(Debug, Default)]
pub(super) struct Meter {
    places: Mutex<Places>,
    unkeepable: std::sync::Arc<Mutex<Option<String>>>,
}

impl Meter {
    /// Where the meter writes why a module could not be kept as a reactor.
    pub(super) fn unkeepable(&self) -> std::sync::Arc<Mutex<Option<String>>> {
        self.unkeepable.clone()
    }
}

impl ModuleMiddleware for Meter {
    fn transform_module_info(&self, info: &mut ModuleInfo) -> Result<(), MiddlewareError> {
        if info.tables.len() > TABLES_MAX {
            let found = info.tables.len();
            let why = format!("it has {found} tables, at most {TABLES_MAX} are allowed");
            return Err(MiddlewareError::new("meter", why));
        }
        let references = info.globals.values().any(|global| {
            global.mutability == Mutability::Var
                && !matches!(global.ty, Type::I32 | Type::I64 | Type::F32 | Type::F64 | Type::V128)
        });
        if references {
            note(&self.unkeepable, "has a mutable global that holds a reference");
        }
        let mut add = |ty, init| {
            info.global_initializers.push(init);
            info.globals.push(GlobalType::new(ty, Mutability::Var)).as_u32()
        };
        let fuel = add(Type::I64, GlobalInit::I64Const(0));
        let depth = add(Type::I32, GlobalInit::I32Const(0));
        let refused = add(Type::I32, GlobalInit::I32Const(0));
        let scratch = add(Type::I32, GlobalInit::I32Const(0));
        let functions_imported = info.num_imported_functions as u32;
        *self.places.lock().expect("no thread panics while it holds this") =
            Places { fuel, depth, refused, scratch, functions_imported };
        Ok(())
    }

    fn generate_function_middleware<'a>(
        &self,
        _: LocalFunctionIndex,
    ) -> Box<dyn FunctionMiddleware<'a> + 'a> {
        Box::new(MeterFunction {
            places: *self.places.lock().expect("no thread panics while it holds this"),
            unkeepable: self.unkeepable.clone(),
            owed: 1,
            entered: false,
        })
    }
}

fn note(unkeepable: &Mutex<Option<String>>, why: &str) {
    let mut place = unkeepable.lock().expect("no thread panics while it holds this");
    place.get_or_insert_with(|| why.to_owned());
}

#[derive(Debug)]
struct MeterFunction {
    places: Places,
    unkeepable: std::sync::Arc<Mutex<Option<String>>>,
    /// Fuel of the present stretch, not yet taken.
    owed: i64,
    entered: bool,
}

impl<'a> FunctionMiddleware<'a> for MeterFunction {
    fn feed(
        &mut self,
        operator: Operator<'a>,
        state: &mut MiddlewareReaderState<'a>,
    ) -> Result<(), MiddlewareError> {
        use Operator::*;
        if !self.entered {
            self.entered = true;
            self.look(state);
        }
        self.owed += cost(&operator);
        match operator {
            Loop { .. } => {
                self.pay(state);
                state.push_operator(operator);
                self.look(state);
            }
            If { .. }
            | Else
            | End
            | Br { .. }
            | BrIf { .. }
            | BrTable { .. }
            | Return
            | Unreachable => {
                self.pay(state);
                state.push_operator(operator);
            }
            Call { function_index } if function_index < self.places.functions_imported => {
                self.pay(state);
                state.push_operator(operator);
            }
            Call { .. } | CallIndirect { .. } => {
                self.pay(state);
                self.descend(state);
                state.push_operator(operator);
                self.ascend(state);
            }
            MemoryFill { .. } | MemoryCopy { .. } | MemoryInit { .. } => {
                self.pay_by_top(state, &[I64Const { value: BYTES_SHIFT }, I64ShrU]);
                state.push_operator(operator);
            }
            TableFill { .. } | TableCopy { .. } | TableInit { .. } => {
                note(&self.unkeepable, "changes its tables while it runs");
                self.pay_by_top(state, &[]);
                state.push_operator(operator);
            }
            MemoryGrow { .. } => {
                self.pay_by_top(state, &[I64Const { value: PAGE_FUEL }, I64Mul]);
                state.push_operator(operator);
                self.note_refused(state, REFUSED_MEMORY);
            }
            TableGrow { .. } => {
                note(&self.unkeepable, "changes its tables while it runs");
                self.pay_by_top(state, &[]);
                state.push_operator(operator);
                self.note_refused(state, REFUSED_TABLE);
            }
            TableSet { .. } => {
                note(&self.unkeepable, "changes its tables while it runs");
                state.push_operator(operator);
            }
            ElemDrop { .. } | DataDrop { .. } => {
                note(&self.unkeepable, "drops segments while it runs");
                state.push_operator(operator);
            }
            _ => state.push_operator(operator),
        }
        Ok(())
    }
}

impl<'a> MeterFunction {
    /// Takes what the stretch up to here costs.
    fn pay(&mut self, state: &mut MiddlewareReaderState<'a>) {
        use Operator::*;
        let fuel = self.places.fuel;
        let owed = std::mem::take(&mut self.owed);
        if owed > 0 {
            state.extend([
                GlobalGet { global_index: fuel },
                I64Const { value: owed },
                I64Sub,
                GlobalSet { global_index: fuel },
            ]);
        }
    }

    /// Stops the guest if no fuel is left.
    fn look(&self, state: &mut MiddlewareReaderState<'a>) {
        use Operator::*;
        state.extend([
            GlobalGet { global_index: self.places.fuel },
            I64Const { value: 0 },
            I64LtS,
            If { blockty: BlockType::Empty },
            Unreachable,
            End,
        ]);
    }

    /// Takes fuel by the unsigned number on top of the stack, scaled, and leaves the number there.
    fn pay_by_top(&mut self, state: &mut MiddlewareReaderState<'a>, scale: &[Operator<'static>]) {
        use Operator::*;
        let Places { fuel, scratch, .. } = self.places;
        self.pay(state);
        state.extend([
            GlobalSet { global_index: scratch },
            GlobalGet { global_index: fuel },
            GlobalGet { global_index: scratch },
            I64ExtendI32U,
        ]);
        scale.iter().for_each(|operator| state.push_operator(operator.clone()));
        state.extend([I64Sub, GlobalSet { global_index: fuel }]);
        self.look(state);
        state.push_operator(GlobalGet { global_index: scratch });
    }

    /// Remembers if the growth whose result is on top of the stack was refused.
    fn note_refused(&self, state: &mut MiddlewareReaderState<'a>, what: i32) {
        use Operator::*;
        let Places { refused, scratch, .. } = self.places;
        state.extend([
            GlobalSet { global_index: scratch },
            GlobalGet { global_index: scratch },
            I32Const { value: -1 },
            I32Eq,
            If { blockty: BlockType::Empty },
            I32Const { value: what },
            GlobalSet { global_index: refused },
            End,
            GlobalGet { global_index: scratch },
        ]);
    }

    /// Counts a call in. The caller counts, so that no way out of the callee is missed.
    fn descend(&self, state: &mut MiddlewareReaderState<'a>) {
        use Operator::*;
        let depth = self.places.depth;
        state.extend([
            GlobalGet { global_index: depth },
            I32Const { value: 1 },
            I32Add,
            GlobalSet { global_index: depth },
            GlobalGet { global_index: depth },
            I32Const { value: DEPTH_MAX },
            I32GtS,
            If { blockty: BlockType::Empty },
            Unreachable,
            End,
        ]);
    }

    fn ascend(&self, state: &mut MiddlewareReaderState<'a>) {
        use Operator::*;
        let depth = self.places.depth;
        state.extend([
            GlobalGet { global_index: depth },
            I32Const { value: 1 },
            I32Sub,
            GlobalSet { global_index: depth },
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
