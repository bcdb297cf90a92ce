use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use crate::tree::Tree;
use daee_types::{
    Word, keccak256,
    wire::{Reader, WireError, Writer},
};

/// Bytes of one page of linear memory; WebAssembly's own pages are 16 of these.
pub const PAGE_BYTES: usize = 4096;

/// One page. Shared, so that copying a state to try a new version costs no copy of its memory.
pub type Page = Arc<[u8; PAGE_BYTES]>;

/// The memory and globals of a reactor between two turns. Pages of zeros are not stored.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    pub(crate) page_count: u32,
    pub(crate) pages: BTreeMap<u32, Hashed>,
    pub(crate) globals: Vec<u8>,
    pub(crate) table_digest: Word,
    pub(crate) tree: Tree,
}

impl PartialEq for Machine {
    fn eq(&self, other: &Self) -> bool {
        self.page_count == other.page_count
            && self.pages == other.pages
            && self.globals == other.globals
            && self.table_digest == other.table_digest
    }
}

impl Eq for Machine {}

/// A page, and its hash once a root was asked for: hashing costs more than the turn that wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Hashed {
    page: Page,
    hash: OnceLock<Word>,
}

impl Hashed {
    pub(crate) fn hash(&self) -> &Word {
        self.hash.get_or_init(|| page_hash(&self.page))
    }
}

impl PartialEq for Hashed {
    fn eq(&self, other: &Self) -> bool {
        self.page == other.page
    }
}

impl Eq for Hashed {}

/// What a turn changed in a [`Machine`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineDelta {
    /// Size of the memory after the turn, in pages of [`PAGE_BYTES`].
    pub page_count: u32,
    /// Every page that differs from before, whole.
    pub pages: Vec<(u32, Page)>,
    /// All globals, as the engine lays them out.
    pub globals: Vec<u8>,
    /// Digest of the function tables.
    pub table_digest: Word,
}

impl Machine {
    /// Size of the memory, in pages of [`PAGE_BYTES`].
    pub fn page_count(&self) -> u32 {
        self.page_count
    }
    /// The pages that are not all zeros.
    pub fn pages(&self) -> impl Iterator<Item = (u32, &Page)> {
        self.pages.iter().map(|(at, hashed)| (*at, &hashed.page))
    }
    /// All globals, as the engine lays them out.
    pub fn globals(&self) -> &[u8] {
        &self.globals
    }
    /// Digest of the function tables.
    pub fn table_digest(&self) -> &Word {
        &self.table_digest
    }

    pub(crate) fn apply(&mut self, delta: MachineDelta) {
        self.page_count = delta.page_count;
        for (at, page) in delta.pages {
            if *page == [0; PAGE_BYTES] {
                if self.pages.remove(&at).is_some() {
                    self.tree.moved();
                }
            } else if self.pages.insert(at, Hashed { page, hash: OnceLock::new() }).is_some() {
                self.tree.changed(at);
            } else {
                self.tree.moved();
            }
        }
        if !self.pages.split_off(&delta.page_count).is_empty() {
            self.tree.moved();
        }
        self.globals = delta.globals;
        self.table_digest = delta.table_digest;
    }

    pub(crate) fn to_delta(&self) -> MachineDelta {
        MachineDelta {
            page_count: self.page_count,
            pages: self.pages().map(|(at, page)| (at, page.clone())).collect(),
            globals: self.globals.clone(),
            table_digest: self.table_digest,
        }
    }
}

impl MachineDelta {
    pub(crate) fn write(&self, out: &mut Writer) {
        out.u32(self.page_count).u32(self.pages.len() as u32);
        for (at, page) in &self.pages {
            out.u32(*at).raw(&page[..]);
        }
        out.bytes(&self.globals).word(&self.table_digest);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self, WireError> {
        let page_count = from.u32()?;
        let count = from.count(4 + PAGE_BYTES)?;
        let mut pages = Vec::with_capacity(count);
        let mut last = None;
        for _ in 0..count {
            let at = from.u32()?;
            if at >= page_count || last.is_some_and(|last| at <= last) {
                return Err(from.wrong("a page is out of order or outside the memory"));
            }
            last = Some(at);
            pages.push((at, Arc::new(from.array()?)));
        }
        Ok(Self { page_count, pages, globals: from.bytes()?.to_vec(), table_digest: from.word()? })
    }
}

pub(crate) fn page_hash(page: &[u8; PAGE_BYTES]) -> Word {
    let mut input = Vec::with_capacity(1 + PAGE_BYTES);
    input.push(0x00);
    input.extend(page);
    keccak256(input)
}
