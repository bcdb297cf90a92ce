//! Calls between the host and compiled code, both ways, without what an embedder of the engine pays for being
//! able to do more: a call looks nothing up, locks nothing, and never meets another store.
//!
//! Unsafe because functions are called, and are reached, by address.
#![allow(unsafe_code)]

use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::error::Error;
use std::panic::{self, AssertUnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;

use wasmer::sys::vm::{
    self, InternalStoreHandle, MaybeInstanceOwned, StoreObject as _, Trap, VMCallerCheckedAnyfunc,
    VMConfig, VMExtern, VMFunction, VMFunctionBody, VMFunctionContext, VMFunctionKind, VMInstance,
    VMSignatureHash, VMTrampoline,
};
use wasmer::{AsStoreMut as _, Extern, FunctionType, Module, Store, Type, VMExternToExtern as _};

use super::memory::Parts;
use super::{Guest, Host, HostStop, Import, SharedHost};

/// Fuel of a call to the host.
pub(crate) const HOST_CALL_FUEL: u64 = 200;
const WASI: &str = "wasi_snapshot_preview1";

/// What the imports of one instance reach.
pub(super) struct Door {
    host: SharedHost,
    parts: UnsafeCell<Parts>,
    /// The host, locked for as long as a call runs.
    lent: Cell<Option<NonNull<dyn Host>>>,
}

impl Door {
    pub(super) fn new(host: SharedHost) -> Arc<Self> {
        let parts = UnsafeCell::new(Parts::default());
        #[expect(clippy::arc_with_non_send_sync, reason = "it moves with its store, as a whole")]
        Arc::new(Self { host, parts, lent: Cell::new(None) })
    }

    /// The instance is made, and these are its parts.
    pub(super) fn born(&self, parts: Parts) {
        // SAFETY: no call runs, and only calls look at them.
        unsafe { *self.parts.get() = parts }
    }

    /// Calls into the guest; what it imports finds the host meanwhile.
    pub(super) fn enter(&self, callee: &Callee, config: &VMConfig) -> Result<i32, Trap> {
        struct Returned<'a>(&'a Door);
        impl Drop for Returned<'_> {
            fn drop(&mut self) {
                self.0.lent.set(None);
            }
        }
        let mut host = self.host.lock().expect("no thread panics while it holds this");
        self.lent.set(Some(NonNull::from(&mut *host)));
        // Before the lock is given back, in this order.
        let _returned = Returned(self);
        callee.call(config)
    }

    fn import(&self, import: Import, args: &[i64]) -> Result<i32, HostStop> {
        // SAFETY: the guest that called is the only one that does, and waits; nobody else looks during a call.
        let parts = unsafe { &mut *self.parts.get() };
        parts.take_fuel(HOST_CALL_FUEL)?;
        match self.lent.get() {
            // SAFETY: `enter` holds the lock on this thread, and uses the host in no other way until it takes this back.
            Some(mut host) => unsafe { host.as_mut() }.import(import, args, parts),
            // While the instance is made.
            None => {
                let mut host = self.host.lock().expect("no thread panics while it holds this");
                host.import(import, args, parts)
            }
        }
    }

    /// Called on the guest's stack, of which little may be left and nothing is unwound: what has a destructor lives
    /// and dies on the host's.
    fn called(&self, import: Import, args: &[i64]) -> i32 {
        type Stopped = Box<dyn Error + Send + Sync>;
        let result = vm::on_host_stack(|| {
            panic::catch_unwind(AssertUnwindSafe(|| {
                self.import(import, args).map_err(|stop| Box::new(stop) as Stopped)
            }))
        });
        match result {
            Ok(Ok(code)) => code,
            // SAFETY: `enter`, or the engine where it makes an instance, catches it; nothing here is to be dropped.
            Ok(Err(stop)) => unsafe { vm::raise_user_trap(stop) },
            // SAFETY: as above.
            Err(panic) => unsafe { vm::resume_panic(panic) },
        }
    }
}

/// One function that modules may import.
pub(super) struct Offer {
    module: &'static str,
    name: &'static str,
    import: Import,
    params: &'static [Type],
    code: *const VMFunctionBody,
    trampoline: VMTrampoline,
}

// SAFETY: addresses of functions.
unsafe impl Send for Offer {}
// SAFETY: as above.
unsafe impl Sync for Offer {}

/// An offer that a module takes.
pub(super) struct Taken {
    offer: &'static Offer,
    ty: FunctionType,
    signature: VMSignatureHash,
}

/// What a module imports, in its order.
pub(super) fn taken(module: &Module, engine: &wasmer::Engine) -> Result<Vec<Taken>, String> {
    let find = |import: wasmer::ImportType| {
        let offer = OFFERS
            .iter()
            .find(|offer| (offer.module, offer.name) == (import.module(), import.name()));
        let none = || format!("there is no import {}.{}", import.module(), import.name());
        let offer = offer.ok_or_else(none)?;
        let results: &[Type] = if offer.import == Import::proc_exit { &[] } else { &[Type::I32] };
        let ty = FunctionType::new(offer.params, results);
        let signature = engine.as_sys().register_signature(&ty);
        Ok(Taken { offer, ty, signature })
    };
    module.imports().map(find).collect()
}

impl Taken {
    /// The function, for one instance: its first argument is the door.
    pub(super) fn to_extern(&self, door: &Arc<Door>, store: &mut Store) -> Extern {
        let anyfunc = VMCallerCheckedAnyfunc {
            func_ptr: self.offer.code,
            type_signature_hash: self.signature,
            vmctx: VMFunctionContext { host_env: Arc::as_ptr(door).cast_mut().cast() },
            call_trampoline: self.offer.trampoline,
        };
        let function = VMFunction {
            anyfunc: MaybeInstanceOwned::Host(Box::new(UnsafeCell::new(anyfunc))),
            signature: self.ty.clone(),
            kind: VMFunctionKind::Static,
            // Keeps the door where it is for as long as the store lives.
            host_data: Box::new(door.clone()) as Box<dyn Any>,
        };
        let handle = InternalStoreHandle::new(store.objects_mut().as_sys_mut(), function);
        VMExtern::Function(handle).to_extern(store)
    }
}

/// An exported function without parameters, found once.
#[derive(Clone, Copy)]
pub(super) struct Callee(VMCallerCheckedAnyfunc);

impl Callee {
    /// Of the instance that was made last.
    pub(super) fn find(store: &mut Store, name: &str) -> Option<Self> {
        let objects = store.objects_mut().as_sys_mut();
        let found = VMInstance::list_mut(objects).last_mut()?.lookup(name)?;
        let VMExtern::Function(handle) = found else { return None };
        let function = handle.get(objects);
        if !function.signature.params().is_empty() || function.signature.results().len() > 1 {
            return None;
        }
        // SAFETY: it lives as long as the store, as part of the instance or of an imported function.
        Some(Self(unsafe { *function.anyfunc.as_ptr().as_ref() }))
    }

    fn call(&self, config: &VMConfig) -> Result<i32, Trap> {
        let mut values = Values([0; 2]);
        let at = (&raw mut values).cast();
        // SAFETY: the function is one of this store's, takes nothing, and its trampoline writes no more than one value.
        unsafe {
            let Self(callee) = self;
            vm::wasmer_call_trampoline(
                None,
                config,
                callee.vmctx,
                callee.call_trampoline,
                callee.func_ptr,
                at,
            )?;
        }
        Ok(values.0[0] as i32)
    }
}

/// As large as any value.
#[repr(C, align(16))]
struct Values([u64; 2]);

macro_rules! ty {
    (i32) => {
        Type::I32
    };
    (i64) => {
        Type::I64
    };
}

macro_rules! offers {
    ($($module:tt $name:literal $import:ident ($($arg:ident: $ty:ident),*);)*) => {
        const OFFERS: &[Offer] = &[$({
            extern "C-unwind" fn code(door: &Door, $($arg: $ty),*) -> i32 {
                door.called(Import::$import, &[$(i64::from($arg)),*])
            }
            /// For a module that exports what it imports.
            unsafe extern "C-unwind" fn trampoline(door: &Door, _: *const VMFunctionBody, values: *mut Values) {
                let mut _next = values;
                $(
                    // SAFETY: whoever calls has put as many values there as there are parameters.
                    let $arg = unsafe { _next.cast::<$ty>().read() };
                    // SAFETY: as above.
                    _next = unsafe { _next.add(1) };
                )*
                let code = code(door, $($arg),*);
                // SAFETY: there is room for one value at least.
                unsafe { values.cast::<i32>().write(code) };
            }
            Offer {
                module: $module,
                name: $name,
                import: Import::$import,
                params: &[$(ty!($ty)),*],
                code: code as *const VMFunctionBody,
                // SAFETY: the same arguments under the names that the engine has for them.
                trampoline: unsafe {
                    std::mem::transmute::<
                        unsafe extern "C-unwind" fn(&'static Door, *const VMFunctionBody, *mut Values),
                        VMTrampoline,
                    >(trampoline)
                },
            }
        }),*];
    };
}
offers! {
    "daee" "call" daee_call(a: i32, b: i32, c: i32, d: i32);
    "daee" "read" daee_read(a: i32, b: i32);
    WASI "args_get" args_get(a: i32, b: i32);
    WASI "args_sizes_get" args_sizes_get(a: i32, b: i32);
    WASI "clock_res_get" clock_res_get(a: i32, b: i32);
    WASI "clock_time_get" clock_time_get(a: i32, b: i64, c: i32);
    WASI "environ_get" environ_get(a: i32, b: i32);
    WASI "environ_sizes_get" environ_sizes_get(a: i32, b: i32);
    WASI "fd_advise" fd_advise(a: i32, b: i64, c: i64, d: i32);
    WASI "fd_allocate" fd_allocate(a: i32, b: i64, c: i64);
    WASI "fd_close" fd_close(a: i32);
    WASI "fd_datasync" fd_datasync(a: i32);
    WASI "fd_fdstat_get" fd_fdstat_get(a: i32, b: i32);
    WASI "fd_fdstat_set_flags" fd_fdstat_set_flags(a: i32, b: i32);
    WASI "fd_fdstat_set_rights" fd_fdstat_set_rights(a: i32, b: i64, c: i64);
    WASI "fd_filestat_get" fd_filestat_get(a: i32, b: i32);
    WASI "fd_filestat_set_size" fd_filestat_set_size(a: i32, b: i64);
    WASI "fd_filestat_set_times" fd_filestat_set_times(a: i32, b: i64, c: i64, d: i32);
    WASI "fd_pread" fd_pread(a: i32, b: i32, c: i32, d: i64, e: i32);
    WASI "fd_prestat_dir_name" fd_prestat_dir_name(a: i32, b: i32, c: i32);
    WASI "fd_prestat_get" fd_prestat_get(a: i32, b: i32);
    WASI "fd_pwrite" fd_pwrite(a: i32, b: i32, c: i32, d: i64, e: i32);
    WASI "fd_read" fd_read(a: i32, b: i32, c: i32, d: i32);
    WASI "fd_readdir" fd_readdir(a: i32, b: i32, c: i32, d: i64, e: i32);
    WASI "fd_renumber" fd_renumber(a: i32, b: i32);
    WASI "fd_seek" fd_seek(a: i32, b: i64, c: i32, d: i32);
    WASI "fd_sync" fd_sync(a: i32);
    WASI "fd_tell" fd_tell(a: i32, b: i32);
    WASI "fd_write" fd_write(a: i32, b: i32, c: i32, d: i32);
    WASI "path_create_directory" path_create_directory(a: i32, b: i32, c: i32);
    WASI "path_filestat_get" path_filestat_get(a: i32, b: i32, c: i32, d: i32, e: i32);
    WASI "path_filestat_set_times" path_filestat_set_times(a: i32, b: i32, c: i32, d: i32, e: i64, f: i64, g: i32);
    WASI "path_link" path_link(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32, g: i32);
    WASI "path_open" path_open(a: i32, b: i32, c: i32, d: i32, e: i32, f: i64, g: i64, h: i32, i: i32);
    WASI "path_readlink" path_readlink(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32);
    WASI "path_remove_directory" path_remove_directory(a: i32, b: i32, c: i32);
    WASI "path_rename" path_rename(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32);
    WASI "path_symlink" path_symlink(a: i32, b: i32, c: i32, d: i32, e: i32);
    WASI "path_unlink_file" path_unlink_file(a: i32, b: i32, c: i32);
    WASI "poll_oneoff" poll_oneoff(a: i32, b: i32, c: i32, d: i32);
    WASI "proc_exit" proc_exit(a: i32);
    WASI "proc_raise" proc_raise(a: i32);
    WASI "random_get" random_get(a: i32, b: i32);
    WASI "sched_yield" sched_yield();
    WASI "sock_accept" sock_accept(a: i32, b: i32, c: i32);
    WASI "sock_recv" sock_recv(a: i32, b: i32, c: i32, d: i32, e: i32, f: i32);
    WASI "sock_send" sock_send(a: i32, b: i32, c: i32, d: i32, e: i32);
    WASI "sock_shutdown" sock_shutdown(a: i32, b: i32);
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::testing::load;
    use super::super::{Instance, Stop};
    use super::*;

    /// Remembers what it was called with.
    #[derive(Default)]
    struct Told {
        calls: Vec<(Import, Vec<i64>)>,
    }

    impl Host for Told {
        fn import(
            &mut self,
            import: Import,
            args: &[i64],
            guest: &mut dyn Guest,
        ) -> Result<i32, HostStop> {
            self.calls.push((import, args.to_vec()));
            match import {
                Import::proc_exit => Err(HostStop::Exit(args[0] as i32)),
                Import::fd_close => panic!("the host fails"),
                Import::random_get => Ok(i32::from(guest.write(args[0] as u32, b"host"))),
                _ => Ok(-7),
            }
        }
    }

    fn instance(items: &str) -> (Box<dyn Instance>, Arc<Mutex<Told>>) {
        let host = Arc::new(Mutex::new(Told::default()));
        let code = load(&format!("(module {items})"));
        let mut instance = code.instantiate(host.clone(), None).unwrap();
        instance.set_fuel(1 << 20);
        // Its store keeps what it needs of its code.
        drop(code);
        (instance, host)
    }

    #[test]
    fn arguments_arrive_in_their_places_and_with_their_sign() {
        let (mut instance, host) = instance(
            r#"(import "wasi_snapshot_preview1" "path_open"
                (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
            (func (export "run") (result i32)
                (call $open (i32.const -1) (i32.const 2) (i32.const 3) (i32.const 4) (i32.const 5)
                    (i64.const -6) (i64.const 0x7000000000000000) (i32.const 8) (i32.const 9)))"#,
        );
        assert_eq!(instance.call("run").unwrap(), -7);
        let args = vec![-1, 2, 3, 4, 5, -6, 0x7000_0000_0000_0000, 8, 9];
        assert_eq!(host.lock().unwrap().calls, [(Import::path_open, args)]);
        assert_eq!((1 << 20) - instance.fuel(), 1 + 9 + 4 + HOST_CALL_FUEL);
    }

    #[test]
    fn an_export_that_is_an_import_is_called_as_any() {
        let (mut instance, host) = instance(
            r#"(import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
            (export "run" (func $yield))"#,
        );
        for _ in 0..3 {
            assert_eq!(instance.call("run").unwrap(), -7);
        }
        assert_eq!(host.lock().unwrap().calls.len(), 3);
    }

    #[test]
    fn the_host_writes_to_the_guests_memory_and_to_nothing_else() {
        let (mut instance, _) = instance(
            r#"(import "wasi_snapshot_preview1" "random_get" (func $get (param i32 i32) (result i32)))
            (memory 1)
            (func (export "inside") (result i32) (call $get (i32.const 65532) (i32.const 4)))
            (func (export "outside") (result i32) (call $get (i32.const 65533) (i32.const 4)))"#,
        );
        assert_eq!(instance.call("inside").unwrap(), 1);
        assert_eq!(&instance.memory()[65532..], b"host");
        assert_eq!(instance.call("outside").unwrap(), 0);
    }

    #[test]
    fn what_cannot_be_called_is_no_export() {
        let (mut instance, _) = instance(
            r#"(memory (export "memory") 1)
            (func (export "takes") (param i32) (result i32) (local.get 0))
            (func (export "gives") (result i32 i32) (i32.const 1) (i32.const 2))"#,
        );
        for export in ["memory", "takes", "gives", "nothing"] {
            assert!(matches!(instance.call(export), Err(Stop::Trap(_))), "{export}");
        }
    }

    #[test]
    fn the_host_ends_a_call_as_it_likes() {
        let (mut instance, host) = instance(
            r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
            (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
            (func (export "exit") (call $exit (i32.const 5)))
            (func (export "panic") (result i32) (call $close (i32.const 0)))"#,
        );
        assert!(matches!(instance.call("exit"), Err(Stop::Host(HostStop::Exit(5)))));
        let panics = panic::catch_unwind(AssertUnwindSafe(|| instance.call("panic")));
        assert_eq!(*panics.unwrap_err().downcast::<&str>().unwrap(), "the host fails");
        assert!(host.is_poisoned(), "and is not called again");
    }
}
