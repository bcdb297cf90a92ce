//! Linear memory of our own: a slot of address space, grown in place, bounded by the agent's limit,
//! and what was kept lies in it before the module's data segments could touch it.
//!
//! Unsafe because memory is shared with compiled code by address.
#![allow(unsafe_code)]

use std::ptr::NonNull;
use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, Ordering},
};

use wasmer::sys::vm::{
    LinearMemory, MemoryError, MemoryStyle, TableStyle, Trap, TrapCode, VMConfig, VMGlobal,
    VMGlobalDefinition, VMMemory, VMMemoryDefinition, VMTable, VMTableDefinition,
};
use wasmer::sys::{BaseTunables, Tunables};
use wasmer::{GlobalType, MemoryType, Mutability, Pages, TableType, Type, WASM_PAGE_SIZE};

use super::data::Segments;
use super::pool::{Ground, Slot};
use super::{Bounds, SharedSlot, meter};

/// The guest's stack. Address space; only what is used takes memory.
pub(super) const STACK_BYTES: usize = 32 << 20;

/// Where one instance keeps what the runtime reads and writes between calls.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts {
    memory: Option<NonNull<VMMemoryDefinition>>,
    fuel: Option<NonNull<VMGlobalDefinition>>,
    depth: Option<NonNull<VMGlobalDefinition>>,
    refused: Option<NonNull<VMGlobalDefinition>>,
}

// SAFETY: the addresses belong to one store, which moves between threads only together with this.
unsafe impl Send for Parts {}

impl Parts {
    pub(super) fn memory(&self) -> &[u8] {
        // SAFETY: the definition lives as long as the store that `Parts` is kept beside, its base and
        // length always describe readable memory, and no guest code runs while the slice is used.
        match self.memory {
            Some(at) => unsafe {
                let memory = at.as_ref();
                std::slice::from_raw_parts(memory.base, memory.current_length)
            },
            None => &[],
        }
    }

    pub(super) fn memory_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` is the only handle through which the host writes.
        match self.memory {
            Some(at) => unsafe {
                let memory = at.as_ref();
                std::slice::from_raw_parts_mut(memory.base, memory.current_length)
            },
            None => &mut [],
        }
    }

    pub(super) fn fuel(&self) -> i64 {
        // SAFETY: the global lives as long as the store, and was made as an i64.
        self.fuel.map_or(0, |at| unsafe { at.as_ref().val.i64 })
    }

    pub(super) fn set_fuel(&mut self, fuel: i64) {
        if let Some(mut at) = self.fuel {
            // SAFETY: as above.
            unsafe { at.as_mut().val.i64 = fuel }
        }
    }

    pub(super) fn depth(&self) -> i32 {
        // SAFETY: the global lives as long as the store, and was made as an i32.
        self.depth.map_or(0, |at| unsafe { at.as_ref().val.i32 })
    }

    pub(super) fn refused(&self) -> i32 {
        // SAFETY: as above.
        self.refused.map_or(0, |at| unsafe { at.as_ref().val.i32 })
    }

    /// Before a turn: nothing was refused yet.
    pub(super) fn clear_refused(&mut self) {
        if let Some(mut at) = self.refused {
            // SAFETY: as above.
            unsafe { at.as_mut().val.i32 = 0 }
        }
    }
}

/// The globals of one instance, those that metering added last.
#[derive(Debug, Default)]
pub(super) struct Globals(Vec<(NonNull<VMGlobalDefinition>, GlobalType)>);

// SAFETY: as for `Parts`.
unsafe impl Send for Globals {}

impl Globals {
    fn own(&self) -> impl Iterator<Item = &(NonNull<VMGlobalDefinition>, GlobalType)> {
        let own = self.0.len().saturating_sub(meter::GLOBALS_ADDED);
        self.0[..own].iter().filter(|(_, ty)| ty.mutability == Mutability::Var)
    }

    pub(super) fn save(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (at, ty) in self.own() {
            // SAFETY: the global lives as long as the store, and all of its 16 bytes were written
            // when it was made.
            let mut bytes = unsafe { at.as_ref().val.bytes };
            bytes[width(ty.ty)..].fill(0);
            out.extend(bytes);
        }
        out
    }

    /// `false` if these are not the globals of this module.
    pub(super) fn restore(&mut self, saved: &[u8]) -> bool {
        let (saved, rest) = saved.as_chunks::<16>();
        if !rest.is_empty() || saved.len() != self.own().count() {
            return false;
        }
        for ((at, _), bytes) in self.own().zip(saved) {
            // SAFETY: as above; only numbers are kept, so any bits are a value.
            unsafe { (*at.as_ptr()).val.bytes = *bytes }
        }
        true
    }
}

fn width(ty: Type) -> usize {
    match ty {
        Type::I32 | Type::F32 => 4,
        Type::I64 | Type::F64 => 8,
        Type::V128 => 16,
        // A module with such a mutable global is never kept.
        _ => 0,
    }
}

/// What the next instance is made from, and where it left its parts.
#[derive(Debug, Default)]
struct Nursery {
    /// What was kept of the memory, already in its place.
    kept: Option<(Slot, Pages)>,
    parts: Parts,
    globals: Globals,
    slot: Option<SharedSlot>,
    /// Raised while the image stands in for the module's data segments.
    restored: Arc<AtomicBool>,
}

/// Makes memories, tables and globals within the bounds.
#[derive(Clone)]
pub(super) struct Bounded {
    bounds: Bounds,
    /// What a new memory holds.
    segments: Arc<Segments>,
    base: BaseTunables,
    nursery: Arc<Mutex<Nursery>>,
}

impl Bounded {
    pub(super) fn new(bounds: Bounds, segments: Segments) -> Self {
        Self {
            bounds,
            segments: Arc::new(segments),
            base: BaseTunables::new(),
            nursery: Arc::default(),
        }
    }

    /// Call it right before an instance is made.
    pub(super) fn expect(&self, kept: Option<(Slot, Pages)>) {
        let restored = Arc::new(AtomicBool::new(kept.is_some()));
        *self.nursery.lock().expect("no thread panics while it holds this") =
            Nursery { kept, restored, ..Nursery::default() };
    }

    /// Call it right after: hands over the parts, and lets `memory.init` work from here on.
    pub(super) fn born(&self) -> (Parts, Globals, Option<SharedSlot>) {
        let mut nursery = self.nursery.lock().expect("no thread panics while it holds this");
        nursery.restored.store(false, Ordering::Relaxed);
        let globals = std::mem::take(&mut nursery.globals);
        let mut parts = std::mem::take(&mut nursery.parts);
        if let Some(added) = globals.0.last_chunk::<{ meter::GLOBALS_ADDED }>() {
            parts.fuel = Some(added[0].0);
            parts.depth = Some(added[1].0);
            parts.refused = Some(added[2].0);
        }
        nursery.kept = None;
        (parts, globals, nursery.slot.take())
    }

    fn pages_max(&self) -> Pages {
        let pages = self.bounds.memory_bytes_max / WASM_PAGE_SIZE as u64;
        Pages(u32::try_from(pages).unwrap_or(u32::MAX).min(65_536))
    }

    fn bounded(&self, ty: &TableType) -> Result<TableType, String> {
        let max = self.bounds.table_elements_max;
        if ty.minimum > max {
            return Err(format!("a table starts with {} elements, at most {max}", ty.minimum));
        }
        let mut ty = *ty;
        ty.maximum = Some(ty.maximum.unwrap_or(max).min(max));
        Ok(ty)
    }
}

impl Tunables for Bounded {
    fn memory_style(&self, _: &MemoryType) -> MemoryStyle {
        MemoryStyle::Static
    }

    fn table_style(&self, table: &TableType) -> TableStyle {
        self.base.table_style(table)
    }

    fn create_host_memory(&self, _: &MemoryType, _: &MemoryStyle) -> Result<VMMemory, MemoryError> {
        Err(MemoryError::Generic("memories are not imported".into()))
    }

    unsafe fn create_vm_memory(
        &self,
        ty: &MemoryType,
        _: &MemoryStyle,
        at: NonNull<VMMemoryDefinition>,
    ) -> Result<VMMemory, MemoryError> {
        let max_allowed = self.pages_max();
        if ty.minimum > max_allowed {
            return Err(MemoryError::MinimumMemoryTooLarge {
                min_requested: ty.minimum,
                max_allowed,
            });
        }
        let max = ty.maximum.map_or(max_allowed, |max| max.min(max_allowed));
        let mut nursery = self.nursery.lock().expect("no thread panics while it holds this");
        let kept = nursery.kept.take();
        let segments = if kept.is_none() { &self.segments[..] } else { &[] };
        let (mut slot, size) = match kept {
            Some(kept) => kept,
            None => {
                (Slot::take(Ground::Nothing, ty.minimum.bytes().0).map_err(region)?, ty.minimum)
            }
        };
        for (at, bytes) in segments {
            slot.write(*at as usize, bytes);
        }
        if size > max || size < ty.minimum {
            return Err(MemoryError::CouldNotGrow { current: ty.minimum, attempted_delta: size });
        }
        let slot = Arc::new(Mutex::new(slot));
        let restored = nursery.restored.clone();
        let memory = Memory::new(slot.clone(), *ty, size, max, at, restored)?;
        nursery.parts.memory = Some(at);
        nursery.slot = Some(slot);
        Ok(VMMemory(Box::new(memory)))
    }

    fn create_host_table(&self, ty: &TableType, style: &TableStyle) -> Result<VMTable, String> {
        self.base.create_host_table(&self.bounded(ty)?, style)
    }

    unsafe fn create_vm_table(
        &self,
        ty: &TableType,
        style: &TableStyle,
        at: NonNull<VMTableDefinition>,
    ) -> Result<VMTable, String> {
        // SAFETY: passed on as it came.
        unsafe { self.base.create_vm_table(&self.bounded(ty)?, style, at) }
    }

    unsafe fn create_vm_global(
        &self,
        ty: GlobalType,
        at: NonNull<VMGlobalDefinition>,
    ) -> Result<VMGlobal, String> {
        let mut nursery = self.nursery.lock().expect("no thread panics while it holds this");
        nursery.globals.0.push((at, ty));
        // SAFETY: passed on as it came.
        Ok(unsafe { VMGlobal::new_instance(ty, at) })
    }

    fn vmconfig(&self) -> &VMConfig {
        &VMConfig { wasm_stack_size: Some(STACK_BYTES) }
    }
}

fn region(error: std::io::Error) -> MemoryError {
    MemoryError::Region(error.to_string())
}

#[derive(Debug)]
struct Memory {
    slot: SharedSlot,
    ty: MemoryType,
    size: Pages,
    max: Pages,
    at: NonNull<VMMemoryDefinition>,
    restored: Arc<AtomicBool>,
}

// SAFETY: the definition belongs to the store that this lives in; wasm threads are not among the features, so no
// two threads run in one store.
unsafe impl Send for Memory {}
// SAFETY: as above; through a shared reference nothing is written but by `initialize_with_data`,
// which the engine calls while it makes the instance.
unsafe impl Sync for Memory {}

impl Memory {
    fn new(
        slot: SharedSlot,
        ty: MemoryType,
        size: Pages,
        max: Pages,
        mut at: NonNull<VMMemoryDefinition>,
        restored: Arc<AtomicBool>,
    ) -> Result<Self, MemoryError> {
        // SAFETY: the engine gave the definition's place; it is written before any code runs.
        unsafe { at.as_mut().base = memory_base(&slot).as_ptr() };
        let mut memory = Self { slot, ty, size, max, at, restored };
        memory.open(size)?;
        Ok(memory)
    }

    fn open(&mut self, size: Pages) -> Result<(), MemoryError> {
        let mut slot = self.slot.lock().expect("no thread panics while it holds this");
        slot.open(size.bytes().0).map_err(region)?;
        self.size = size;
        // SAFETY: the definition's place lives as long as the store that owns this memory.
        unsafe { self.at.as_mut().current_length = size.bytes().0 };
        Ok(())
    }
}

fn memory_base(slot: &SharedSlot) -> NonNull<u8> {
    slot.lock().expect("no thread panics while it holds this").base()
}

impl LinearMemory for Memory {
    fn ty(&self) -> MemoryType {
        let mut ty = self.ty;
        ty.minimum = self.size;
        ty
    }

    fn size(&self) -> Pages {
        self.size
    }

    fn style(&self) -> MemoryStyle {
        MemoryStyle::Static
    }

    fn grow(&mut self, delta: Pages) -> Result<Pages, MemoryError> {
        let old = self.size;
        let size = old.checked_add(delta).filter(|size| *size <= self.max);
        let refused = MemoryError::CouldNotGrow { current: old, attempted_delta: delta };
        self.open(size.ok_or(refused)?)?;
        Ok(old)
    }

    fn vmmemory(&self) -> NonNull<VMMemoryDefinition> {
        self.at
    }

    fn try_clone(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        Err(MemoryError::Generic("memories are not shared".into()))
    }

    fn copy(&self) -> Result<Box<dyn LinearMemory + Send + Sync>, MemoryError> {
        Err(MemoryError::Generic("memories are not shared".into()))
    }

    unsafe fn initialize_with_data(&self, start: usize, data: &[u8]) -> Result<(), Trap> {
        if self.restored.load(Ordering::Relaxed) {
            return Ok(()); // the image holds what became of the segments
        }
        let end = start.checked_add(data.len()).filter(|end| *end <= self.size.bytes().0);
        if end.is_none() {
            return Err(Trap::lib(TrapCode::HeapAccessOutOfBounds));
        }
        // SAFETY: checked to lie inside the open part, and no guest code runs yet.
        unsafe {
            let to = memory_base(&self.slot).as_ptr().add(start);
            std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len());
        };
        Ok(())
    }
}
