//! Which pages of a private mapping were written, as the kernel knows it: a page that was written is
//! anonymous; one that was not is the file's, the page of zeros, or not there.
//!
//! Unsafe because the kernel is asked by address.
#![allow(unsafe_code)]

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::ptr::NonNull;
use std::sync::OnceLock;

use daee_state::PAGE_BYTES;

/// `PAGEMAP_SCAN`: `_IOWR('f', 16, struct pm_scan_arg)`. Linux 6.7 or newer.
pub(crate) const PAGEMAP_SCAN: u32 = 0xc060_6610;

const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const ZERO: u64 = 1 << 5;

/// `struct pm_scan_arg`.
#[repr(C)]
#[derive(Default)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    found: u64,
    found_max: u64,
    pages_max: u64,
    inverted: u64,
    all_of: u64,
    any_of: u64,
    returned: u64,
}

/// `struct page_region`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

struct Pagemap {
    file: File,
    way: Way,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// One call for many pages, whose cost follows the pages there are.
    Scan,
    /// Eight bytes for each page. Linux older than 6.7.
    Entries,
}

/// This process's own map of pages, opened while it still can be; none where `/proc` is not there.
fn pagemap() -> Option<&'static Pagemap> {
    static PAGEMAP: OnceLock<Option<Pagemap>> = OnceLock::new();
    PAGEMAP
        .get_or_init(|| {
            // SAFETY: a number.
            if unsafe { libc::sysconf(libc::_SC_PAGESIZE) } != PAGE_BYTES as i64 {
                return None;
            }
            let file = File::open("/proc/self/pagemap").ok()?;
            let place = 0u8;
            let at = NonNull::from(&place).as_ptr() as usize / PAGE_BYTES * PAGE_BYTES;
            let way = [Way::Scan, Way::Entries]
                .into_iter()
                .find(|way| ask(&file, *way, at, PAGE_BYTES).is_some())?;
            Some(Pagemap { file, way })
        })
        .as_ref()
}

/// Opens the map, after which it needs no file system.
pub(super) fn open() {
    pagemap();
}

/// Whether the map is read by `pread64` here, rather than asked.
pub(crate) fn reads_pagemap() -> bool {
    pagemap().is_some_and(|pagemap| pagemap.way == Way::Entries)
}

/// The pages of this range that were written, counted from its start. None where the kernel does not say.
pub(super) fn written(at: NonNull<u8>, bytes: usize) -> Option<Vec<Range<usize>>> {
    let pagemap = pagemap()?;
    ask(&pagemap.file, pagemap.way, at.as_ptr() as usize, bytes)
}

fn ask(pagemap: &File, way: Way, at: usize, bytes: usize) -> Option<Vec<Range<usize>>> {
    match way {
        Way::Scan => scan(pagemap, at, bytes),
        Way::Entries => entries(pagemap, at, bytes),
    }
}

fn scan(pagemap: &File, at: usize, bytes: usize) -> Option<Vec<Range<usize>>> {
    let mut pages = Vec::new();
    let mut regions = [Region::default(); 256];
    let (mut start, end) = (at as u64, (at + bytes) as u64);
    while start < end {
        let mut scan = Scan {
            size: size_of::<Scan>() as u64,
            start,
            end,
            found: regions.as_mut_ptr() as u64,
            found_max: regions.len() as u64,
            inverted: FILE | ZERO,
            all_of: FILE | ZERO,
            any_of: PRESENT | SWAPPED,
            returned: PRESENT,
            ..Scan::default()
        };
        // SAFETY: the argument has the call's layout, and names a place of ours with its length.
        let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as _, &mut scan) };
        let found = regions.get(..usize::try_from(found).ok()?)?;
        for region in found {
            push(&mut pages, page(at, region.start)..page(at, region.end));
        }
        if scan.walk_end <= start {
            return None;
        }
        start = scan.walk_end;
    }
    Some(pages)
}

fn page(at: usize, address: u64) -> usize {
    (address as usize - at) / PAGE_BYTES
}

fn entries(pagemap: &File, at: usize, bytes: usize) -> Option<Vec<Range<usize>>> {
    const PRESENT: u64 = 1 << 63;
    const SWAPPED: u64 = 1 << 62;
    const FILE: u64 = 1 << 61;
    let mut pages = Vec::new();
    let mut piece = [0; 8 * 512];
    let count = bytes / PAGE_BYTES;
    for first in (0..count).step_by(512) {
        let some = &mut piece[..8 * (count - first).min(512)];
        pagemap.read_exact_at(some, ((at / PAGE_BYTES + first) * 8) as u64).ok()?;
        let (entries, _) = some.as_chunks::<8>();
        for (n, entry) in entries.iter().enumerate() {
            let entry = u64::from_ne_bytes(*entry);
            if entry & (PRESENT | SWAPPED) != 0 && entry & FILE == 0 {
                push(&mut pages, first + n..first + n + 1);
            }
        }
    }
    Some(pages)
}

fn push(pages: &mut Vec<Range<usize>>, more: Range<usize>) {
    match pages.last_mut() {
        Some(last) if last.end == more.start => last.end = more.end,
        _ => pages.push(more),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(file: Option<&File>, pages: usize) -> NonNull<u8> {
        let (flags, fd) = match file {
            Some(file) => (libc::MAP_PRIVATE, file.as_raw_fd()),
            None => (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1),
        };
        // SAFETY: a fresh mapping, which the test's process keeps to its end.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                pages * PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                flags,
                fd,
                0,
            )
        };
        assert_ne!(at, libc::MAP_FAILED);
        NonNull::new(at.cast()).unwrap()
    }

    fn check(way: Way, file: Option<&File>) {
        const PAGES: usize = 2000;
        let pagemap = File::open("/proc/self/pagemap").unwrap();
        let at = map(file, PAGES);
        let found = || ask(&pagemap, way, at.as_ptr() as usize, PAGES * PAGE_BYTES).unwrap();
        // SAFETY: inside of the mapping.
        let read = |page: usize| unsafe { at.add(page * PAGE_BYTES).read_volatile() };
        assert!(found().is_empty());
        (0..PAGES).for_each(|page| assert_eq!(read(page), 0));
        let of_zeros: usize = found().iter().map(|pages| pages.len()).sum();
        assert!(way == Way::Entries && file.is_none() || of_zeros == 0, "{of_zeros}");
        let at = map(file, PAGES);
        // SAFETY: inside of the mapping.
        let write = |page: usize| unsafe { at.add(page * PAGE_BYTES + 7).write_volatile(1) };
        for page in [0, 1, 2, 7, PAGES - 1] {
            write(page);
        }
        let found = ask(&pagemap, way, at.as_ptr() as usize, PAGES * PAGE_BYTES).unwrap();
        assert_eq!(found, [0..3, 7..8, PAGES - 1..PAGES], "{way:?}");
        // More pieces than fit into one answer.
        for page in (0..PAGES).step_by(2) {
            write(page);
        }
        let found = ask(&pagemap, way, at.as_ptr() as usize, PAGES * PAGE_BYTES).unwrap();
        let count: usize = found.iter().map(|pages| pages.len()).sum();
        assert_eq!(count, PAGES / 2 + 3, "{way:?}");
    }

    #[test]
    fn what_was_written_is_found_and_what_was_read_is_not() {
        let file = crate::spawn::memory_file(c"daee-test").unwrap();
        file.set_len(2000 * PAGE_BYTES as u64).unwrap();
        check(Way::Entries, None);
        check(Way::Entries, Some(&file));
        if pagemap().is_some_and(|pagemap| pagemap.way == Way::Scan) {
            check(Way::Scan, None);
            check(Way::Scan, Some(&file));
        }
    }
}
