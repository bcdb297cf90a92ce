//! The adapter to wasmer with its Cranelift compiler.
//!
//! Unsafe because compiled code is loaded as it is; it comes out of our own authenticated cache only.
#![allow(unsafe_code)]

use std::num::NonZero;
use std::sync::{Arc, Mutex};

use daee_state::PAGE_BYTES;
use wasmer::sys::vm::{StoreId, TrapCode, interrupt_registry};
use wasmer::sys::{CraneliftOptLevel, EngineBuilder, Features, NativeEngineExt};
use wasmer::{
    Function, FunctionEnv, FunctionEnvMut, Imports, InstantiationError, Module, RuntimeError,
    Store, Value,
};

use super::memory::{Bounded, Globals, Parts};
use super::meter::{self, DEPTH_MAX, Metered, REFUSED_MEMORY, REFUSED_TABLE};
use super::{
    Bounds, Code, Compiled, Engine, Guest, HostStop, Import, Instance, Kept, SharedHost,
    SharedSlot, Stop, image, written,
};

/// Fuel of a call to the host.
pub(crate) const HOST_CALL_FUEL: u64 = 200;

/// wasmer 7.4 with Cranelift.
pub(crate) struct Cranelift;

/// Lets the engine read what it wants to know of the machine, and take the signals that it needs: it cannot any
/// more behind the walls of a cell.
pub(crate) fn warm_up() {
    // Installs the handlers of traps.
    let engine: wasmer::Engine = EngineBuilder::headless().engine().into();
    drop(Store::new(engine));
    // Sizes a table by the number of processors, for which the control groups are read.
    interrupt_registry::is_interrupted(StoreId::default());
    written::open();
    image::make_spare();
}

impl Cranelift {
    /// Compiles a module without metering: what it runs as has no bound.
    pub(super) fn compile_as_it_is(&self, wasm: &[u8]) -> Result<Compiled, String> {
        let engine: wasmer::Engine =
            EngineBuilder::new(compiler()).set_features(Some(features())).engine().into();
        let module = Module::new(&engine, wasm).map_err(|error| first_line(&error))?;
        let code = module.serialize().map_err(|error| first_line(&error))?.to_vec();
        Ok(Compiled { code, unkeepable: None })
    }
}

impl Engine for Cranelift {
    fn compile(&self, module: &[u8]) -> Result<Compiled, String> {
        let Metered { wasm, unkeepable } = meter::instrument(module)?;
        Ok(Compiled { unkeepable, ..self.compile_as_it_is(&wasm)? })
    }

    unsafe fn load(&self, code: &[u8], bounds: Bounds) -> Result<Box<dyn Code>, String> {
        let bounded = Bounded::new(bounds);
        let mut engine: wasmer::Engine = EngineBuilder::headless().engine().into();
        engine.set_tunables(bounded.clone());
        // SAFETY: the caller's promise.
        let module = unsafe { Module::deserialize(&engine, code) };
        let module = module.map_err(|error| first_line(&error))?;
        Ok(Box::new(Loaded { engine, module, bounded }))
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
        let door = Door { host, parts: Arc::default() };
        let parts = door.parts.clone();
        let env = FunctionEnv::new(&mut store, door);
        let imports = imports(&mut store, &env);
        self.bounded.expect(kept.map(Kept::restore).transpose()?);
        let instance = wasmer::Instance::new(&mut store, &self.module, &imports);
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
        *parts.lock().expect("no thread panics while it holds this") = made;
        Ok(Box::new(Running { instance, store, made, globals, slot }))
    }
}

struct Running {
    instance: wasmer::Instance,
    store: Store,
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
        let function = self.instance.exports.get_function(export);
        let function = function.map_err(|error| Stop::Trap(error.to_string()))?.clone();
        self.made.clear_refused();
        match function.call(&mut self.store, &[]) {
            Ok(returned) => match returned.first() {
                Some(Value::I32(code)) => Ok(*code),
                _ => Ok(0),
            },
            Err(error) => Err(self.stop(error)),
        }
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

/// What the imports reach.
struct Door {
    host: SharedHost,
    parts: Arc<Mutex<Parts>>,
}

impl Door {
    fn import(&self, import: Import, args: &[i64]) -> Result<i32, HostStop> {
        let mut parts = *self.parts.lock().expect("no thread panics while it holds this");
        parts.take_fuel(HOST_CALL_FUEL)?;
        let mut host = self.host.lock().expect("no thread panics while it holds this");
        host.import(import, args, &mut parts)
    }
}

impl Guest for Parts {
    fn bytes(&self, at: u32, len: u32) -> Option<&[u8]> {
        self.memory().get(at as usize..)?.get(..len as usize)
    }

    fn write(&mut self, at: u32, bytes: &[u8]) -> bool {
        let place = self.memory_mut().get_mut(at as usize..).and_then(|m| m.get_mut(..bytes.len()));
        place.map(|place| place.copy_from_slice(bytes)).is_some()
    }

    fn fuel(&self) -> u64 {
        Parts::fuel(self).max(0).cast_unsigned()
    }

    fn set_fuel(&mut self, fuel: u64) {
        Parts::set_fuel(self, i64::try_from(fuel).unwrap_or(i64::MAX));
    }

    fn take_fuel(&mut self, fuel: u64) -> Result<(), HostStop> {
        let left = Parts::fuel(self).saturating_sub(i64::try_from(fuel).unwrap_or(i64::MAX));
        Parts::set_fuel(self, left);
        if left < 0 { Err(HostStop::Fuel) } else { Ok(()) }
    }
}

macro_rules! offer {
    ($imports:ident $store:ident $env:ident;
     $($module:literal $name:literal $import:ident ($($arg:ident: $ty:ty),*);)*) => {$(
        let function = Function::new_typed_with_env(
            $store,
            $env,
            |env: FunctionEnvMut<'_, Door>, $($arg: $ty),*| -> Result<i32, HostStop> {
                env.data().import(Import::$import, &[$(i64::from($arg)),*])
            },
        );
        $imports.define($module, $name, function);
    )*};
}

fn imports(store: &mut Store, env: &FunctionEnv<Door>) -> Imports {
    const WASI: &str = "wasi_snapshot_preview1";
    let mut imports = Imports::new();
    offer! { imports store env;
        "daee" "call" daee_call(a: i32, b: i32, c: i32, d: i32);
        "daee" "read" daee_read(a: i32, b: i32);
        "wasi_snapshot_preview1" "args_get" args_get(a: i32, b: i32);
        "wasi_snapshot_preview1" "args_sizes_get" args_sizes_get(a: i32, b: i32);
        "wasi_snapshot_preview1" "clock_res_get" clock_res_get(a: i32, b: i32);
        "wasi_snapshot_preview1" "clock_time_get" clock_time_get(a: i32, b: i64, c: i32);
        "wasi_snapshot_preview1" "environ_get" environ_get(a: i32, b: i32);
        "wasi_snapshot_preview1" "environ_sizes_get" environ_sizes_get(a: i32, b: i32);
        "wasi_snapshot_preview1" "fd_advise" fd_advise(a: i32, b: i64, c: i64, d: i32);
        "wasi_snapshot_preview1" "fd_allocate" fd_allocate(a: i32, b: i64, c: i64);
        "wasi_snapshot_preview1" "fd_close" fd_close(a: i32);
        "wasi_snapshot_preview1" "fd_datasync" fd_datasync(a: i32);
        "wasi_snapshot_preview1" "fd_fdstat_get" fd_fdstat_get(a: i32, b: i32);
        "wasi_snapshot_preview1" "fd_fdstat_set_flags" fd_fdstat_set_flags(a: i32, b: i32);
        "wasi_snapshot_preview1" "fd_fdstat_set_rights"
            fd_fdstat_set_rights(a: i32, b: i64, c: i64);
        "wasi_snapshot_preview1" "fd_filestat_get" fd_filestat_get(a: i32, b: i32);
        "wasi_snapshot_preview1" "fd_filestat_set_size" fd_filestat_set_size(a: i32, b: i64);
        "wasi_snapshot_preview1" "fd_filestat_set_times"
            fd_filestat_set_times(a: i32, b: i64, c: i64, d: i32);
        "wasi_snapshot_preview1" "fd_pread" fd_pread(a: i32, b: i32, c: i32, d: i64, e: i32);
        "wasi_snapshot_preview1" "fd_prestat_dir_name" fd_prestat_dir_name(a: i32, b: i32, c: i32);
        "wasi_snapshot_preview1" "fd_prestat_get" fd_prestat_get(a: i32, b: i32);
        "wasi_snapshot_preview1" "fd_pwrite" fd_pwrite(a: i32, b: i32, c: i32, d: i64, e: i32);
        "wasi_snapshot_preview1" "fd_read" fd_read(a: i32, b: i32, c: i32, d: i32);
        "wasi_snapshot_preview1" "fd_readdir" fd_readdir(a: i32, b: i32, c: i32, d: i64, e: i32);
        "wasi_snapshot_preview1" "fd_renumber" fd_renumber(a: i32, b: i32);
        "wasi_snapshot_preview1" "fd_seek" fd_seek(a: i32, b: i64, c: i32, d: i32);
        "wasi_snapshot_preview1" "fd_sync" fd_sync(a: i32);
        "wasi_snapshot_preview1" "fd_tell" fd_tell(a: i32, b: i32);
        "wasi_snapshot_preview1" "fd_write" fd_write(a: i32, b: i32, c: i32, d: i32);
        "wasi_snapshot_preview1" "path_create_directory"
            path_create_directory(a: i32, b: i32, c: i32);
        "wasi_snapshot_preview1" "path_filestat_get"
            path_filestat_get(a: i32, b: i32, c: i32, d: i32, e: i32);
        "wasi_snapshot_preview1" "path_filestat_set_times"
            path_filestat_set_times(a: i32, b: i32, c: i32, d: i32, e: i64, f: i64, g: i32);
        "wasi_snapshot_preview1" "path_link"
            path_link(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32);
        "wasi_snapshot_preview1" "path_open"
            path_open(a: i32, b: i32, c: i32, d: i32, e: i32, f: i64, g: i64, h: i32, i: i32);
        "wasi_snapshot_preview1" "path_readlink"
            path_readlink(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32);
        "wasi_snapshot_preview1" "path_remove_directory"
            path_remove_directory(a: i32, b: i32, c: i32);
        "wasi_snapshot_preview1" "path_rename"
            path_rename(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32);
        "wasi_snapshot_preview1" "path_symlink"
            path_symlink(a: i32, b: i32, c: i32, d: i32, e: i32);
        "wasi_snapshot_preview1" "path_unlink_file" path_unlink_file(a: i32, b: i32, c: i32);
        "wasi_snapshot_preview1" "poll_oneoff" poll_oneoff(a: i32, b: i32, c: i32, d: i32);
        "wasi_snapshot_preview1" "proc_raise" proc_raise(a: i32);
        "wasi_snapshot_preview1" "random_get" random_get(a: i32, b: i32);
        "wasi_snapshot_preview1" "sched_yield" sched_yield();
        "wasi_snapshot_preview1" "sock_accept" sock_accept(a: i32, b: i32, c: i32);
        "wasi_snapshot_preview1" "sock_recv"
            sock_recv(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32);
        "wasi_snapshot_preview1" "sock_send" sock_send(a: i32, b: i32, c: i32, d: i32, e: i32);
        "wasi_snapshot_preview1" "sock_shutdown" sock_shutdown(a: i32, b: i32);
    }
    let exit = Function::new_typed_with_env(
        store,
        env,
        |env: FunctionEnvMut<'_, Door>, code: i32| -> Result<(), HostStop> {
            env.data().import(Import::proc_exit, &[code.into()]).map(|_| ())
        },
    );
    imports.define(WASI, "proc_exit", exit);
    imports
}
