//! Memory in files: an image that many instances start from, and what one agent has changed since.
//!
//! Unsafe because files are mapped, and read and written by address.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use daee_state::{PAGE_BYTES, Page};
use wasmer::{Pages, WASM_PAGE_SIZE};

use super::Instance;
use super::pool::{Ground, Slot};
use super::written::written;
use crate::spawn;

const ZEROS: [u8; PAGE_BYTES] = [0; PAGE_BYTES];

/// A reactor as it stood once: memory in a sealed file, and globals. Instances that start from it share its
/// pages until they write to them. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Image(Arc<Sealed>);

#[derive(Debug)]
struct Sealed {
    file: File,
    page_count: u32,
    globals: Vec<u8>,
    /// Where the file holds anything, in pages; the rest is zeros that take no memory.
    held: Vec<Range<usize>>,
}

impl Image {
    /// Puts pages into a file. Those that are missing or hold zeros only cost nothing.
    pub(crate) fn build<'a>(
        page_count: u32,
        pages: impl IntoIterator<Item = (u32, &'a Page)>,
        globals: Vec<u8>,
    ) -> io::Result<Self> {
        let file = spawn::memory_file(c"daee-image")?;
        file.set_len(u64::from(page_count) * PAGE_BYTES as u64)?;
        for (at, page) in pages {
            if at >= page_count {
                return Err(io::Error::other("a page lies outside of the memory"));
            }
            if **page != ZEROS {
                file.write_all_at(&page[..], u64::from(at) * PAGE_BYTES as u64)?;
            }
        }
        spawn::seal(&file)?;
        Self::from_file(file, page_count, globals)
    }

    /// Takes a file that [`Image::build`] made, in this process or in the one that is trusted with it: a file that
    /// shrinks under its mapping would end this process.
    pub(crate) fn from_file(file: File, page_count: u32, globals: Vec<u8>) -> io::Result<Self> {
        let bytes = page_count as usize * PAGE_BYTES;
        let seek = |from: usize, whence| {
            // SAFETY: numbers.
            let at = unsafe { libc::lseek(file.as_raw_fd(), from as libc::off_t, whence) };
            usize::try_from(at).ok()
        };
        if !bytes.is_multiple_of(WASM_PAGE_SIZE) || seek(0, libc::SEEK_END) != Some(bytes) {
            return Err(io::Error::other("the image has another size than its memory"));
        }
        let mut held = Vec::new();
        let mut from = 0;
        while let Some(start) = seek(from, libc::SEEK_DATA) {
            from = seek(start, libc::SEEK_HOLE).unwrap_or(bytes);
            held.push(start / PAGE_BYTES..from.div_ceil(PAGE_BYTES));
        }
        Ok(Self(Arc::new(Sealed { file, page_count, globals, held })))
    }
}

impl Image {
    /// To be handed to another process.
    pub(crate) fn file(&self) -> &File {
        &self.0.file
    }

    /// Size of the memory, in pages of 4 KiB.
    pub(crate) fn page_count(&self) -> u32 {
        self.0.page_count
    }

    pub(crate) fn globals(&self) -> &[u8] {
        &self.0.globals
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// How much of it has to be mapped: zeros at its end come from elsewhere.
    pub(super) fn ground_bytes(&self) -> usize {
        let pages = self.0.held.last().map_or(0, |last| last.end);
        (pages * PAGE_BYTES).next_multiple_of(WASM_PAGE_SIZE)
    }

    fn holds(&self, page: usize) -> bool {
        let held = &self.0.held;
        let next = held.partition_point(|range| range.end <= page);
        held.get(next).is_some_and(|range| range.contains(&page))
    }
}

/// A reactor as it stood after the last turn that was kept: an image, and the pages that changed since. A turn
/// costs by the pages it wrote, and taking one back costs nothing that it did not write.
///
/// The changed pages are in a file of this agent's own. When they are many the rest of the image is put there too
/// and the file becomes the memory's ground; a page that a turn did not change then gives up its copy.
#[derive(Debug)]
pub(crate) struct Kept {
    exists: bool,
    memory_bytes_max: usize,
    page_count: u32,
    globals: Vec<u8>,
    image: Option<(Image, Mapping)>,
    own: Option<Own>,
}

impl Kept {
    /// Nothing yet, or an image. No more memory than this will be kept, in bytes.
    ///
    /// In a cell it is made before the last wall goes up.
    pub(crate) fn new(memory_bytes_max: u64, image: Option<Image>) -> io::Result<Self> {
        let memory_bytes_max =
            memory_bytes_max.min(1 << 32) as usize / WASM_PAGE_SIZE * WASM_PAGE_SIZE;
        let own = spare().lock().expect("no thread panics while it holds this").take();
        let own = own.map(|file| Own::map(file, memory_bytes_max)).transpose()?;
        let mut kept = Self {
            exists: image.is_some(),
            memory_bytes_max,
            page_count: 0,
            globals: Vec::new(),
            image: None,
            own,
        };
        if let Some(image) = image {
            kept.page_count = image.page_count();
            kept.globals = image.globals().to_vec();
            let mapping = Mapping::new(image.file(), image.ground_bytes(), libc::PROT_READ)?;
            kept.image = Some((image, mapping));
        }
        Ok(kept)
    }

    /// Whether there was such a turn.
    pub(crate) fn exists(&self) -> bool {
        self.exists
    }

    /// Size of the memory, in pages of 4 KiB.
    pub(crate) fn page_count(&self) -> u32 {
        self.page_count
    }

    pub(crate) fn globals(&self) -> &[u8] {
        &self.globals
    }

    pub(crate) fn page(&self, at: u32) -> &[u8; PAGE_BYTES] {
        let at = at as usize;
        if let Some(own) = self.own.as_ref().filter(|own| own.has(at)) {
            return own.mapping.page(at);
        }
        match &self.image {
            Some((image, mapping)) if image.holds(at) => mapping.page(at),
            _ => &ZEROS,
        }
    }

    /// Makes where this instance stands the place that is kept. Says which pages differ from before, in order.
    pub(crate) fn follow(&mut self, instance: &mut dyn Instance) -> io::Result<Vec<u32>> {
        let page_count = (instance.memory().len() / PAGE_BYTES) as u32;
        let mut changed = Vec::new();
        if let Some(slot) = instance.slot() {
            let mut slot = slot.lock().expect("no thread panics while it holds this");
            let grounded = self.own.as_ref().map_or(0, |own| own.grounded);
            let all = page_count as usize;
            let (ranges, grounded) = match written(slot.base(), all * PAGE_BYTES) {
                Some(ranges) => (ranges, grounded),
                None => (std::iter::once(0..all).collect(), 0),
            };
            for range in ranges {
                let mut same = range.start..range.start;
                for at in range {
                    if self.page(at as u32) == slot.page(at) {
                        // What is the ground's anyway needs no copy, and is not looked at again.
                        if at < grounded {
                            if same.end != at {
                                slot.drop_pages(same)?;
                                same = at..at;
                            }
                            same.end += 1;
                        }
                        continue;
                    }
                    self.own()?.put(at, slot.page(at))?;
                    changed.push(at as u32);
                }
                slot.drop_pages(same)?;
            }
            if self.is_overgrown(page_count) {
                self.complete(page_count)?;
                slot.lay(self.ground())?;
            }
        }
        self.page_count = page_count;
        self.globals = instance.globals();
        self.exists = true;
        Ok(changed)
    }

    /// Takes pages from elsewhere: the memory is this large, and where none is given it is as it was.
    pub(crate) fn take(&mut self, pages: &[(u32, Page)]) -> io::Result<()> {
        for (at, page) in pages {
            if *at >= self.page_count {
                return Err(io::Error::other("a page lies outside of the memory"));
            }
            self.own()?.put(*at as usize, page)?;
        }
        Ok(())
    }

    /// A memory as it is kept.
    pub(super) fn restore(&self) -> Result<(Slot, Pages), String> {
        let bytes = self.page_count as usize * PAGE_BYTES;
        let mut slot = Slot::take(self.ground(), bytes).map_err(|error| error.to_string())?;
        if let Some(own) = &self.own {
            for at in own.pages().filter(|at| *at >= own.grounded) {
                slot.write_page(at, own.mapping.page(at));
            }
        }
        Ok((slot, Pages((bytes / WASM_PAGE_SIZE) as u32)))
    }

    fn ground(&self) -> Ground<'_> {
        match (&self.own, &self.image) {
            (Some(own), _) if own.grounded > 0 => {
                Ground::File(&own.file, own.grounded * PAGE_BYTES)
            }
            (_, Some((image, _))) => Ground::Image(image),
            _ => Ground::Nothing,
        }
    }

    fn own(&mut self) -> io::Result<&mut Own> {
        if self.own.is_none() {
            self.own = Some(Own::map(spawn::memory_file(c"daee-kept")?, self.memory_bytes_max)?);
        }
        Ok(self.own.as_mut().expect("it is there by now"))
    }

    /// Whether so many pages lie above the ground that each turn's looking at them costs more than laying
    /// a new one.
    fn is_overgrown(&self, page_count: u32) -> bool {
        self.own.as_ref().is_some_and(|own| own.above > (page_count as usize / 8).max(64))
    }

    /// Completes the agent's own file up to here, so that it can be the ground.
    fn complete(&mut self, page_count: u32) -> io::Result<()> {
        self.own()?;
        let own = self.own.as_mut().expect("it is there by now");
        if let Some((image, mapping)) = self.image.take() {
            for at in image.0.held.iter().cloned().flatten() {
                if !own.has(at) && mapping.page(at) != &ZEROS {
                    own.put(at, mapping.page(at))?;
                }
            }
        }
        own.grounded = page_count as usize;
        own.above = 0;
        Ok(())
    }
}

/// A file of pages that changed since the image was made.
#[derive(Debug)]
struct Own {
    file: File,
    mapping: Mapping,
    /// Which pages are in it, a bit each.
    has: Vec<u64>,
    /// It is complete up to here, and mapped under the memory; in pages.
    grounded: usize,
    /// Pages in it from there on.
    above: usize,
}

impl Own {
    fn map(file: File, bytes: usize) -> io::Result<Self> {
        // SAFETY: numbers. In a cell the file is as large as a memory can be, and only ever made smaller.
        if unsafe { libc::ftruncate(file.as_raw_fd(), bytes as libc::off_t) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mapping = Mapping::new(&file, bytes, libc::PROT_READ | libc::PROT_WRITE)?;
        let has = vec![0; (bytes / PAGE_BYTES).div_ceil(64)];
        Ok(Self { file, mapping, has, grounded: 0, above: 0 })
    }

    fn has(&self, page: usize) -> bool {
        self.has.get(page / 64).is_some_and(|word| word >> (page % 64) & 1 == 1)
    }

    fn pages(&self) -> impl Iterator<Item = usize> {
        let words = self.has.iter().enumerate().filter(|(_, word)| **word != 0);
        words.flat_map(|(n, word)| {
            (0..64).filter(move |bit| word >> bit & 1 == 1).map(move |bit| n * 64 + bit)
        })
    }

    fn put(&mut self, at: usize, page: &[u8; PAGE_BYTES]) -> io::Result<()> {
        if (at + 1) * PAGE_BYTES > self.mapping.bytes {
            return Err(io::Error::other("a page lies outside of the memory"));
        }
        if !self.has(at) && at >= self.grounded {
            self.above += 1;
        }
        self.has[at / 64] |= 1 << (at % 64);
        // SAFETY: inside of the mapping, which can be written, and whose pages are lent only while `self` is.
        unsafe { *self.mapping.at.add(at * PAGE_BYTES).cast().as_ptr() = *page };
        Ok(())
    }
}

/// A view of a file: shared if it can be written.
#[derive(Debug)]
struct Mapping {
    at: NonNull<u8>,
    bytes: usize,
}

// SAFETY: it is written only through `&mut Own`.
unsafe impl Send for Mapping {}

impl Mapping {
    fn new(file: &File, bytes: usize, access: i32) -> io::Result<Self> {
        if bytes == 0 {
            return Ok(Self { at: NonNull::dangling(), bytes });
        }
        let flags =
            if access & libc::PROT_WRITE == 0 { libc::MAP_PRIVATE } else { libc::MAP_SHARED };
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let at =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, flags, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).expect("the kernel maps nothing at address zero");
        Ok(Self { at, bytes })
    }

    fn page(&self, at: usize) -> &[u8; PAGE_BYTES] {
        assert!((at + 1) * PAGE_BYTES <= self.bytes, "inside of the file");
        // SAFETY: inside of the mapping, which lives as long as `self`; the file is as long as its mapping, and
        // written only through `&mut Own`, which holds this.
        unsafe { &*self.at.add(at * PAGE_BYTES).cast().as_ptr() }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.bytes > 0 {
            // SAFETY: the mapping is this value's own, and nothing of it is lent any more.
            unsafe { libc::munmap(self.at.as_ptr().cast(), self.bytes) };
        }
    }
}

/// A file for a cell's changed pages, made while the cell still can make one.
fn spare() -> &'static Mutex<Option<File>> {
    static SPARE: Mutex<Option<File>> = Mutex::new(None);
    &SPARE
}

/// Makes a file as large as a memory can be, which holds nothing yet.
pub(super) fn make_spare() -> io::Result<()> {
    let file = spawn::memory_file(c"daee-kept")?;
    file.set_len(1 << 32)?;
    *spare().lock().expect("no thread panics while it holds this") = Some(file);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::super::testing::{born, load};
    use super::*;

    const GUEST: &str = r#"(module
        (memory (export "memory") 4)
        (global $n (mut i32) (i32.const 5))
        (data (i32.const 16) "segment")
        (data $passive "later")
        (func (export "count") (result i32)
            (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n))
        (func (export "grow") (result i32) (memory.grow (i32.const 1)))
        (func (export "clear") (result i32) (memory.fill (i32.const 16) (i32.const 0) (i32.const 7)) (i32.const 0))
        (func (export "init") (result i32)
            (memory.init $passive (i32.const 4096) (i32.const 0) (i32.const 5)) (i32.const 0)))"#;

    fn page(byte: u8) -> [u8; PAGE_BYTES] {
        let mut page = [0; PAGE_BYTES];
        page[7] = byte;
        page
    }

    fn write(instance: &dyn Instance, at: usize, byte: u8) {
        let slot = instance.slot().unwrap();
        slot.lock().unwrap().write_page(at, &page(byte));
    }

    fn image(pages: &[(u32, u8)]) -> Image {
        let pages: Vec<_> = pages.iter().map(|(at, byte)| (*at, Arc::new(page(*byte)))).collect();
        let globals = [&7u32.to_le_bytes()[..], &[0; 12]].concat();
        Image::build(64, pages.iter().map(|(at, page)| (*at, page)), globals).unwrap()
    }

    #[test]
    fn pages_that_changed_are_told_of_and_others_are_not() {
        let code = load(GUEST);
        let mut instance = born(&*code, None);
        let mut kept = Kept::new(64 << 20, None).unwrap();
        assert_eq!(kept.follow(&mut *instance).unwrap(), [0], "the segment");
        assert_eq!(kept.follow(&mut *instance).unwrap(), [0u32; 0]);
        write(&*instance, 2, 7);
        write(&*instance, 60, 0);
        assert_eq!(
            kept.follow(&mut *instance).unwrap(),
            [2],
            "what is written as it was is no change"
        );
        write(&*instance, 2, 0);
        assert_eq!(instance.call("grow").unwrap(), 4);
        write(&*instance, 79, 1);
        assert_eq!(kept.follow(&mut *instance).unwrap(), [2, 79]);
        assert_eq!((kept.page_count(), kept.page(2), kept.page(79)), (80, &ZEROS, &page(1)));
    }

    #[test]
    fn what_was_kept_is_there_again_and_nothing_else() {
        let code = load(GUEST);
        let mut instance = born(&*code, None);
        let mut kept = Kept::new(64 << 20, None).unwrap();
        assert_eq!(instance.call("clear").unwrap(), 0);
        assert_eq!(instance.call("count").unwrap(), 6);
        write(&*instance, 9, 9);
        kept.follow(&mut *instance).unwrap();
        write(&*instance, 9, 1);
        write(&*instance, 10, 1);
        instance.call("grow").unwrap();
        drop(instance);
        let mut instance = born(&*code, Some(&kept));
        assert_eq!(instance.memory().len(), 4 * WASM_PAGE_SIZE);
        assert_eq!(&instance.memory()[16..23], &[0; 7], "segments are not written again");
        assert_eq!(instance.memory()[9 * PAGE_BYTES..11 * PAGE_BYTES], [page(9), ZEROS].concat());
        assert_eq!(instance.call("count").unwrap(), 7);
        assert_eq!(instance.call("init").unwrap(), 0);
        assert_eq!(&instance.memory()[4096..4101], b"later", "but the guest may do so");
    }

    #[test]
    fn instances_of_one_image_do_not_see_each_other() {
        let code = load(GUEST);
        let kept = Kept::new(64 << 20, Some(image(&[(1, 1), (9, 9)]))).unwrap();
        for round in 0..3 {
            let (one, other) = (born(&*code, Some(&kept)), born(&*code, Some(&kept)));
            write(&*one, 1, 7);
            write(&*one, 40, 7);
            for instance in [other, born(&*code, Some(&kept))] {
                let memory = instance.memory();
                assert_eq!(memory[..2 * PAGE_BYTES], [ZEROS, page(1)].concat(), "{round}");
                assert_eq!(memory[40 * PAGE_BYTES..41 * PAGE_BYTES], ZEROS, "{round}");
            }
        }
    }

    #[test]
    fn an_image_that_does_not_fit_is_refused() {
        let code = load(GUEST);
        let refused = |kept: Kept| {
            let host = Arc::new(Mutex::new(super::super::testing::Nobody));
            code.instantiate(host, Some(&kept)).err().unwrap()
        };
        let pages = |count| Image::build(count, [], vec![0; 16]).unwrap();
        let kept = |image| Kept::new(64 << 20, Some(image)).unwrap();
        refused(kept(pages(48)));
        refused(kept(pages(17 << 10)));
        refused(kept(Image::build(64, [], vec![]).unwrap()));
        assert!(Image::build(63, [], vec![]).is_err());
        assert!(Image::build(64, [(64, &Arc::new(page(1)))], vec![]).is_err());
        let file = image(&[]).file().try_clone().unwrap();
        assert!(Image::from_file(file, 80, vec![]).is_err(), "shorter than the memory");
        let mut kept = Kept::new(1 << 20, Some(pages(256))).unwrap();
        assert!(kept.take(&[(256, Arc::new(page(1)))]).is_err());
        kept.take(&[(255, Arc::new(page(1)))]).unwrap();
    }

    /// Does what a long life does, beside a copy of the memory that is compared whole.
    fn check_life(code: &dyn Code, mut kept: Kept, mut seed: u64) {
        let mut random = move |below: usize| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) as usize % below
        };
        let mut instance = born(code, kept.exists().then_some(&kept));
        let mut before = if kept.exists() { instance.memory().to_vec() } else { vec![] };
        for turn in 0..40 {
            let pages = instance.memory().len() / PAGE_BYTES;
            for _ in 0..random([3, 30, 300][turn % 3]) {
                write(&*instance, random(pages), random(3) as u8);
            }
            if random(4) == 0 {
                instance.call("grow").unwrap();
            }
            if random(3) > 0 {
                let changed = kept.follow(&mut *instance).unwrap();
                before.resize(instance.memory().len(), 0);
                let (was, now) = (before.chunks(PAGE_BYTES), instance.memory().chunks(PAGE_BYTES));
                let differs = was.zip(now).enumerate().filter(|(_, (was, now))| was != now);
                let differs: Vec<u32> = differs.map(|(at, _)| at as u32).collect();
                assert_eq!(changed, differs, "turn {turn}");
                before = instance.memory().to_vec();
            } else if kept.exists() {
                drop(instance);
                instance = born(code, Some(&kept));
            }
            if kept.exists() {
                let whole: Vec<u8> = (0..kept.page_count()).flat_map(|at| *kept.page(at)).collect();
                assert!(whole == before, "turn {turn}");
            }
        }
    }

    #[test]
    fn a_long_life_is_followed_page_by_page() {
        let code = load(GUEST);
        for seed in 0..3 {
            check_life(&*code, Kept::new(64 << 20, None).unwrap(), seed);
            let image = image(&[(0, 1), (3, 2), (50, 3)]);
            check_life(&*code, Kept::new(64 << 20, Some(image)).unwrap(), seed);
        }
    }

    #[test]
    fn lives_that_come_and_go_leave_nothing_behind() {
        const CYCLES: usize = 3000;
        let code = load(GUEST);
        let kept = Kept::new(64 << 20, Some(image(&[(1, 1), (9, 9)]))).unwrap();
        let cycle = |kept: Option<&Kept>| {
            let instance = born(&*code, kept);
            (0..64).for_each(|at| write(&*instance, at, 1));
        };
        let sizes = || {
            let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
            let pages: Vec<u64> = statm.split(' ').map(|n| n.trim().parse().unwrap()).collect();
            [pages[0] * 4096, pages[1] * 4096]
        };
        (0..10).for_each(|n| cycle((n % 2 == 0).then_some(&kept)));
        let [space, resident] = sizes();
        (0..CYCLES).for_each(|n| cycle((n % 2 == 0).then_some(&kept)));
        let [space_after, resident_after] = sizes();
        // Each cycle had 8 GiB of address space and wrote to 256 KiB. Tests beside this one may hold some.
        assert!(space_after < space + (1 << 40), "{space} {space_after}");
        assert!(resident_after < resident + (200 << 20), "{resident} {resident_after}");
    }
}
