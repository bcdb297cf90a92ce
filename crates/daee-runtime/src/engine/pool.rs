//! Address space for linear memories. A slot is as much of it as compiled code relies on; slots are
//! reserved in chunks, used again, and never given back.
//!
//! Unsafe because mappings are laid over each other at addresses that are computed here.
#![allow(unsafe_code)]

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::ptr::NonNull;
use std::sync::Mutex;

use daee_state::PAGE_BYTES;
use wasmer::WASM_PAGE_SIZE;

use super::image::Image;

/// Any 32-bit address with any 32-bit offset lands inside, or on guarded space.
const SLOT_BYTES: usize = (8 << 30) + WASM_PAGE_SIZE;
/// Memories that one process has at once: three quarters of its address space.
const SLOTS_MAX: usize = 12_000;
/// Slots that are reserved at once, at most. The first are reserved one by one: a cell needs no second.
const CHUNK_SLOTS_MAX: usize = 64;
/// Unused slots in which an image stays mapped, for the next that starts from the same. Each may hold on to the
/// memory of an image that nothing else needs.
const WARM_SLOTS_MAX: usize = 4;

/// What lies at the bottom of a memory.
#[derive(Clone, Copy)]
pub(super) enum Ground<'a> {
    /// Zeros.
    Nothing,
    Image(&'a Image),
    /// The first bytes of a file, which may change under pages that were not written.
    File(&'a File, usize),
}

/// The address space of one memory: from its base on `open` bytes can be read and written.
#[derive(Debug)]
pub(crate) struct Slot {
    base: NonNull<u8>,
    open: usize,
    /// Of these, what is mapped from a file.
    mapped: usize,
    /// The file, if it is an image.
    image: Option<Image>,
}

// SAFETY: the address space is this value's alone.
unsafe impl Send for Slot {}

#[derive(Debug)]
struct Pool {
    /// Nothing in them but guarded space.
    blank: Vec<Slot>,
    /// An image as it is, nothing written.
    warm: VecDeque<Slot>,
    reserved: usize,
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { blank: Vec::new(), warm: VecDeque::new(), reserved: 0 });

impl Slot {
    /// A slot with this much memory open, as the ground has it and zeros above.
    pub(super) fn take(ground: Ground<'_>, bytes: usize) -> io::Result<Self> {
        let mut slot = find(&ground)?;
        if slot.image.is_none() {
            slot.lay(ground)?;
        }
        slot.open(bytes)?;
        Ok(slot)
    }

    pub(super) fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Opens memory up to here.
    pub(super) fn open(&mut self, bytes: usize) -> io::Result<()> {
        assert!(bytes <= SLOT_BYTES / 2, "no more than 32 bits of memory");
        if bytes > self.open {
            // SAFETY: within the slot, above everything that is mapped.
            let at = unsafe { self.base.add(self.open) };
            protect(at, bytes - self.open, libc::PROT_READ | libc::PROT_WRITE)?;
            self.open = bytes;
        }
        Ok(())
    }

    /// Lays a ground under the memory, in place of everything that its range held. Nobody may look meanwhile.
    pub(super) fn lay(&mut self, ground: Ground<'_>) -> io::Result<()> {
        let (file, bytes) = match ground {
            Ground::Nothing => return Ok(()),
            Ground::Image(image) => (image.file(), image.ground_bytes()),
            Ground::File(file, bytes) => (file, bytes),
        };
        assert!(
            (self.mapped..=SLOT_BYTES / 2).contains(&bytes),
            "all of the ground before, and no more than 32 bits"
        );
        if bytes > 0 {
            let access = libc::PROT_READ | libc::PROT_WRITE;
            map(self.base, bytes, access, Some(file))?;
        }
        self.mapped = bytes;
        self.open = self.open.max(bytes);
        self.image = match ground {
            Ground::Image(image) => Some(image.clone()),
            _ => None,
        };
        Ok(())
    }

    pub(super) fn page(&self, at: usize) -> &[u8; PAGE_BYTES] {
        assert!((at + 1) * PAGE_BYTES <= self.open, "inside of the memory");
        // SAFETY: within what is open; no guest code runs while somebody else than its instance holds the slot.
        unsafe { &*self.base.add(at * PAGE_BYTES).cast().as_ptr() }
    }

    pub(super) fn write(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.open, "inside of the memory");
        // SAFETY: as above.
        unsafe {
            self.base.add(at).as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        }
    }

    pub(super) fn write_page(&mut self, at: usize, page: &[u8; PAGE_BYTES]) {
        assert!((at + 1) * PAGE_BYTES <= self.open, "inside of the memory");
        // SAFETY: as above.
        unsafe { *self.base.add(at * PAGE_BYTES).cast().as_ptr() = *page };
    }

    /// Forgets what was written to these pages: they are as their ground has them.
    pub(super) fn drop_pages(&mut self, pages: Range<usize>) -> io::Result<()> {
        self.drop_written(pages.start * PAGE_BYTES, pages.len() * PAGE_BYTES)
    }

    fn drop_written(&mut self, from: usize, bytes: usize) -> io::Result<()> {
        assert!(from + bytes <= self.open, "inside of the memory");
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: within what is open, and the slot is ours alone.
        match unsafe {
            libc::madvise(self.base.add(from).as_ptr().cast(), bytes, libc::MADV_DONTNEED)
        } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    /// Guarded space and nothing else, or the image as it was.
    fn reset(&mut self) -> io::Result<()> {
        let keep = if self.image.is_some() { self.mapped } else { 0 };
        if self.mapped > keep {
            map(self.base, self.mapped, libc::PROT_NONE, None)?;
        }
        // What was laid over with guarded space above has nothing to be dropped.
        let rest = if self.mapped > keep { self.mapped } else { 0 };
        self.drop_written(rest, self.open - rest)?;
        let closed = keep.max(rest);
        // SAFETY: within what is open.
        protect(unsafe { self.base.add(closed) }, self.open - closed, libc::PROT_NONE)?;
        self.mapped = keep;
        self.open = keep;
        Ok(())
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut slot = Self {
            base: self.base,
            open: self.open,
            mapped: self.mapped,
            image: self.image.take(),
        };
        if slot.reset().is_err() {
            // What could not be cleared is not used again: its address space is lost.
            std::mem::forget(slot);
            return;
        }
        let mut pool = POOL.lock().expect("no thread panics while it holds this");
        if slot.image.is_none() {
            pool.blank.push(slot);
            return;
        }
        pool.warm.push_back(slot);
        let oldest = (pool.warm.len() > WARM_SLOTS_MAX).then(|| pool.warm.pop_front()).flatten();
        drop(pool);
        if let Some(mut oldest) = oldest {
            oldest.image = None;
            drop(oldest);
        }
    }
}

fn find(ground: &Ground<'_>) -> io::Result<Slot> {
    let mut pool = POOL.lock().expect("no thread panics while it holds this");
    if let Ground::Image(image) = ground {
        let same = |slot: &Slot| slot.image.as_ref().is_some_and(|there| there.is(image));
        if let Some(at) = pool.warm.iter().rposition(same) {
            return Ok(pool.warm.remove(at).expect("found a moment ago"));
        }
    }
    if let Some(slot) = pool.blank.pop() {
        return Ok(slot);
    }
    let count = pool.reserved.clamp(1, CHUNK_SLOTS_MAX);
    if pool.reserved + count > SLOTS_MAX {
        return Err(io::Error::other("this process has no address space for one more memory"));
    }
    let base = reserve(count * SLOT_BYTES)?;
    pool.reserved += count;
    for n in (1..count).rev() {
        // SAFETY: within the reservation of `count` slots.
        let base = unsafe { base.add(n * SLOT_BYTES) };
        pool.blank.push(Slot { base, open: 0, mapped: 0, image: None });
    }
    Ok(Slot { base, open: 0, mapped: 0, image: None })
}

fn reserve(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh private reservation at an address of the kernel's choice.
    let base = unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(NonNull::new(base.cast()).expect("the kernel maps nothing at address zero"))
}

/// Maps over what is there: the start of a file, or zeros.
fn map(at: NonNull<u8>, bytes: usize, access: i32, file: Option<&File>) -> io::Result<()> {
    let flags = libc::MAP_PRIVATE | libc::MAP_FIXED | libc::MAP_NORESERVE;
    let (flags, fd) = match file {
        Some(file) => (flags, file.as_raw_fd()),
        None => (flags | libc::MAP_ANONYMOUS, -1),
    };
    // SAFETY: only called with ranges inside of a slot, which is the caller's alone.
    match unsafe { libc::mmap(at.as_ptr().cast(), bytes, access, flags, fd, 0) } {
        libc::MAP_FAILED => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

fn protect(at: NonNull<u8>, bytes: usize, access: i32) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    // SAFETY: only called with ranges inside of a slot, which is the caller's alone.
    match unsafe { libc::mprotect(at.as_ptr().cast(), bytes, access) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
