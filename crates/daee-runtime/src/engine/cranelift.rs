//! The adapter to wasmer with its Cranelift compiler.
//!
//! Unsafe because compiled code is loaded as it is; it comes out of our own authenticated cache only.
#![allow(unsafe_code)]

use std::num::NonZero;
use std::sync::Arc;

use daee_state::PAGE_BYTES;
use wasmer::sys::vm::{StoreId, TrapCode, VMConfig, interrupt_registry};
use wasmer::sys::{CraneliftOptLevel, EngineBuilder, Features, NativeEngineExt};
use wasmer::{InstantiationError, Module, RuntimeError, Store};

use super::calls::{self, Callee, Door, Taken};
use super::data;
use super::memory::{Bounded, Globals, Parts, STACK_BYTES};
use super::meter::{self, DEPTH_MAX, Metered, REFUSED_MEMORY, REFUSED_TABLE};
use super::{
    Bounds, Code, Compiled, Engine, HostStop, Instance, Kept, SharedHost, SharedSlot, Stop, image,
    written,
};

/// wasmer 7.4 with Cranelift.
pub(crate) struct Cranelift;

/// Lets the engine read what it wants to know of the machine, and take the signals that it needs: it cannot any
/// more behind the walls of a cell.
pub(crate) fn warm_up() -> std::io::Result<()> {
    // Installs the handlers of traps.
    let engine: wasmer::Engine = EngineBuilder::headless().engine().into();
    drop(Store::new(engine));
    // Sizes a table by the number of processors, for which the control groups are read.
    interrupt_registry::is_interrupted(StoreId::default());
    written::open();
    image::make_spare()
}

impl Cranelift {
    /// Compiles a module without metering: what it runs as has no bound.
    pub(super) fn compile_as_it_is(&self, wasm: &[u8]) -> Result<Compiled, String> {
        let engine: wasmer::Engine =
            EngineBuilder::new(compiler()).set_features(Some(features())).engine().into();
        let (wasm, segments) = data::split(wasm).unwrap_or_else(|| (wasm.to_vec(), Vec::new()));
        let module = Module::new(&engine, wasm).map_err(|error| first_line(&error))?;
        let code = module.serialize().map_err(|error| first_line(&error))?;
        Ok(Compiled { code: data::join(&segments, &code), unkeepable: None })
    }
}

impl Engine for Cranelift {
    fn compile(&self, module: &[u8]) -> Result<Compiled, String> {
        let Metered { wasm, unkeepable } = meter::instrument(module)?;
        Ok(Compiled { unkeepable, ..self.compile_as_it_is(&wasm)? })
    }

    unsafe fn load(&self, code: &[u8], bounds: Bounds) -> Result<Box<dyn Code>, String> {
        let (segments, code) = data::part(code).map_err(|error| error.to_string())?;
        let bounded = Bounded::new(bounds, segments);
        let mut engine: wasmer::Engine = EngineBuilder::headless().engine().into();
        engine.set_tunables(bounded.clone());
        // SAFETY: the caller's promise.
        let module = unsafe { Module::deserialize(&engine, code) };
        let module = module.map_err(|error| first_line(&error))?;
        let imports = calls::taken(&module, &engine)?;
        Ok(Box::new(Loaded { imports, module, engine, bounded }))
    }
}

/// What makes code.
pub(super) fn compiler() -> wasmer::sys::Cranelift {
    let mut compiler = wasmer::sys::Cranelift::default();
    compiler.opt_level(CraneliftOptLevel::Speed).canonicalize_nans(true);
    compiler.num_threads(NonZero::<usize>::MIN);
    compiler
}

/// The same on every node of a runtime version; `daee-artifact` checks modules against the same set.
pub(super) fn features() -> Features {
    Features {
        threads: false,
        reference_types: true,
        simd: true,
        bulk_memory: true,
        multi_value: true,
        tail_call: false,
        module_linking: false,
        multi_memory: false,
        memory64: false,
        exceptions: false,
        relaxed_simd: false,
        extended_const: false,
        wide_arithmetic: false,
    }
}

fn first_line(error: &dyn std::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

struct Loaded {
    imports: Vec<Taken>,
    // Dropped in this order: code goes before the engine that registered it.
    module: Module,
    engine: wasmer::Engine,
    bounded: Bounded,
}

impl Code for Loaded {
    fn instantiate(
        &self,
        host: SharedHost,
        kept: Option<&Kept>,
    ) -> Result<Box<dyn Instance>, String> {
        let mut store = Store::new(self.engine.clone());
        let door = Door::new(host);
        let imports: Vec<_> =
            self.imports.iter().map(|taken| taken.to_extern(&door, &mut store)).collect();
        self.bounded.expect(kept.map(Kept::restore).transpose()?);
        let instance = wasmer::Instance::new_by_index(&mut store, &self.module, &imports);
        let (made, mut globals, slot) = self.bounded.born();
        let instance = instance.map_err(|error| match error {
            InstantiationError::Link(error) => error.to_string(),
            other => first_line(&other),
        })?;
        if let Some(kept) = kept {
            let bytes = kept.page_count() as usize * PAGE_BYTES;
            if made.memory().len() != bytes || !globals.restore(kept.globals()) {
                return Err("the kept memory is not of this module".into());
            }
        }
        door.born(made);
        let callees = Vec::new();
        let config = VMConfig { wasm_stack_size: Some(STACK_BYTES) };
        Ok(Box::new(Running { instance, callees, config, store, door, made, globals, slot }))
    }
}

struct Running {
    instance: wasmer::Instance,
    /// Exports that were called.
    callees: Vec<(String, Callee)>,
    config: VMConfig,
    store: Store,
    door: Arc<Door>,
    made: Parts,
    globals: Globals,
    slot: Option<SharedSlot>,
}

// SAFETY: nothing outside of it holds a handle of its store, what the engine keeps by thread is set up anew for each
// call, and everything the store was given (`Door`, the memory) moves between threads as well.
unsafe impl Send for Running {}

impl Instance for Running {
    fn exports(&self, name: &str) -> bool {
        self.instance.exports.get_function(name).is_ok()
    }

    fn call(&mut self, export: &str) -> Result<i32, Stop> {
        let callee = match self.callees.iter().find(|(name, _)| name == export) {
            Some((_, callee)) => *callee,
            None => {
                let none =
                    || Stop::Trap(format!("there is no function {export} without parameters"));
                let callee = Callee::find(&mut self.store, export).ok_or_else(none)?;
                self.callees.push((export.to_owned(), callee));
                callee
            }
        };
        self.made.clear_refused();
        self.door.enter(&callee, &self.config).map_err(|trap| self.stop(trap.into()))
    }

    fn memory(&self) -> &[u8] {
        self.made.memory()
    }

    fn slot(&self) -> Option<SharedSlot> {
        self.slot.clone()
    }

    fn globals(&self) -> Vec<u8> {
        self.globals.save()
    }

    fn fuel(&self) -> u64 {
        self.made.fuel().max(0).cast_unsigned()
    }

    fn set_fuel(&mut self, fuel: u64) {
        self.made.set_fuel(i64::try_from(fuel).unwrap_or(i64::MAX));
    }
}

impl Running {
    fn stop(&mut self, error: RuntimeError) -> Stop {
        match error.downcast_ref::<HostStop>() {
            Some(HostStop::Fuel) => return Stop::Fuel,
            Some(stop) => return Stop::Host(*stop),
            None if self.made.fuel() < 0 => return Stop::Fuel,
            None => {}
        }
        if self.made.depth() > DEPTH_MAX {
            return Stop::Stack;
        }
        let what = error.message();
        let trap = error.to_trap();
        // What it used in the function where it stopped is not known, and nobody shall gain by that.
        if trap != Some(TrapCode::UnreachableCodeReached) {
            self.made.set_fuel(0);
        }
        // Frames larger than the guard page show as an access outside of memory while calls are deep.
        let deep = self.made.depth() > DEPTH_MAX / 20;
        match trap {
            Some(TrapCode::StackOverflow) => return Stop::Stack,
            Some(TrapCode::HeapAccessOutOfBounds) if deep => return Stop::Stack,
            _ => {}
        }
        match self.made.refused() {
            REFUSED_MEMORY => Stop::Memory,
            REFUSED_TABLE => Stop::Table,
            _ => Stop::Trap(what.lines().next().unwrap_or_default().to_owned()),
        }
    }
}
