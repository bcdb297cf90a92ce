//! What the runtime asks of a WebAssembly engine. One adapter exists (`cranelift`); nothing outside of
//! it names the engine behind.

pub mod bench;
mod calls;
mod cranelift;
mod data;
mod image;
#[cfg(test)]
mod judge;
mod memory;
mod meter;
mod pool;
mod written;

use std::sync::{Arc, Mutex};

pub(crate) use calls::HOST_CALL_FUEL;
pub(crate) use cranelift::{Cranelift, warm_up};
pub(crate) use image::{Image, Kept};
pub(crate) use meter::{DEPTH_MAX, REFUSED_MEMORY, REFUSED_TABLE, instrument_with};
pub(crate) use written::{PAGEMAP_SCAN, reads_pagemap};

/// Names engine, version and everything that changes the code it makes; part of the cache's key.
pub(crate) const ENGINE: &str = "wasmer-7.4.2/cranelift/speed/canonical-nan/meter-3";

/// A module in machine code.
pub(crate) struct Compiled {
    /// For [`Engine::load`] of the same build on the same CPU, and for nothing else.
    pub(crate) code: Vec<u8>,
    /// Why the module's memory and globals alone do not say where it stands, so that a
    /// reactor of it could not be kept.
    pub(crate) unkeepable: Option<String>,
}

/// What the compiled code is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) memory_bytes_max: u64,
    pub(crate) table_elements_max: u32,
}

pub(crate) trait Engine {
    /// Compiles a module, which takes as long as its author wants: call it in a bounded process.
    fn compile(&self, module: &[u8]) -> Result<Compiled, String>;
    /// Maps compiled code.
    ///
    /// # Safety
    /// The code is trusted to be what [`Engine::compile`] made: it is run as it is.
    #[allow(unsafe_code)] // only the declaration; whoever calls it says why the code is trusted
    unsafe fn load(&self, code: &[u8], bounds: Bounds) -> Result<Box<dyn Code>, String>;
}

pub(crate) trait Code: Send {
    /// Makes an instance, from nothing or from where one stood, whose pages it shares until it writes to them.
    fn instantiate(
        &self,
        host: SharedHost,
        kept: Option<&Kept>,
    ) -> Result<Box<dyn Instance>, String>;
}

/// One instance. After any stop but a return it must be dropped: its stack is not unwound.
pub(crate) trait Instance: Send {
    fn exports(&self, name: &str) -> bool;
    /// Calls an export without parameters; its `i32`, or zero if it returns nothing.
    fn call(&mut self, export: &str) -> Result<i32, Stop>;
    fn memory(&self) -> &[u8];
    /// Where its memory lies, if it has one.
    fn slot(&self) -> Option<SharedSlot>;
    /// The mutable globals, 16 bytes each, little endian, zero-extended.
    fn globals(&self) -> Vec<u8>;
    fn fuel(&self) -> u64;
    fn set_fuel(&mut self, fuel: u64);
}

/// Why a call did not return.
#[derive(Debug)]
pub(crate) enum Stop {
    Trap(String),
    Fuel,
    Memory,
    Table,
    Stack,
    Host(HostStop),
}

/// Why the host does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HostStop {
    #[error("the program ended with code {0}")]
    Exit(i32),
    #[error("the supervisor is gone")]
    Gone,
    #[error("the fuel is used up")]
    Fuel,
}

/// What an instance imports, called with its arguments widened to 64 bits.
pub(crate) trait Host: Send {
    fn import(
        &mut self,
        import: Import,
        args: &[i64],
        guest: &mut dyn Guest,
    ) -> Result<i32, HostStop>;
}

/// The address space of a memory, looked at between calls only.
pub(crate) type SharedSlot = Arc<Mutex<pool::Slot>>;

pub(crate) type SharedHost = Arc<Mutex<dyn Host>>;

/// The instance as the host sees it during a call. Every address is the guest's word: `None` and
/// `false` say that it lies outside the memory.
pub(crate) trait Guest {
    fn bytes(&self, at: u32, len: u32) -> Option<&[u8]>;
    fn write(&mut self, at: u32, bytes: &[u8]) -> bool;
    fn fuel(&self) -> u64;
    fn set_fuel(&mut self, fuel: u64);
    /// Takes fuel for what the host is about to do.
    fn take_fuel(&mut self, fuel: u64) -> Result<(), HostStop>;
}

/// Instances for the tests beside.
#[cfg(test)]
mod testing {
    use super::*;

    pub(super) struct Nobody;

    impl Host for Nobody {
        fn import(&mut self, _: Import, _: &[i64], _: &mut dyn Guest) -> Result<i32, HostStop> {
            Err(HostStop::Gone)
        }
    }

    pub(super) fn load(wat: &str) -> Box<dyn Code> {
        let module = wat::parse_str(wat).unwrap();
        let compiled = Cranelift.compile(&module).unwrap();
        let bounds = Bounds { memory_bytes_max: 64 << 20, table_elements_max: 100 };
        // SAFETY: made a moment ago.
        #[allow(unsafe_code, reason = "machine code is run as it is")]
        unsafe { Cranelift.load(&compiled.code, bounds) }.unwrap()
    }

    pub(super) fn born(code: &dyn Code, kept: Option<&Kept>) -> Box<dyn Instance> {
        let mut instance = code.instantiate(Arc::new(Mutex::new(Nobody)), kept).unwrap();
        instance.set_fuel(1 << 40);
        instance
    }
}

macro_rules! imports {
    ($($name:ident)*) => {
        #[allow(non_camel_case_types)] // the names are those of the specification
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Import { daee_call, daee_read, $($name),* }
    };
}
imports! {
    args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get fd_advise
    fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights
    fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_dir_name
    fd_prestat_get fd_pwrite fd_read fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write
    path_create_directory path_filestat_get path_filestat_set_times path_link path_open
    path_readlink path_remove_directory path_rename path_symlink path_unlink_file poll_oneoff
    proc_exit proc_raise random_get sched_yield sock_accept sock_recv sock_send sock_shutdown
}

/// The processor features that the code depends on.
pub(crate) fn cpu() -> String {
    let mut names: Vec<String> =
        wasmer::sys::CpuFeature::for_host().iter().map(|feature| feature.to_string()).collect();
    names.sort();
    names.join(",")
}
