//! What the cells of an agent start from: a file of its memory, made once, and the pages that changed since. A
//! cell that has to be replaced costs no copy of the rest.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

use daee_state::{Machine, PAGE_BYTES, Page};

use crate::engine::Image;

/// The file, and what is not in it.
#[derive(Debug, Default)]
pub(crate) struct Ground {
    file: Option<File>,
    page_count: u32,
    changed: BTreeSet<u32>,
}

/// Where a cell starts.
pub(crate) struct Laid<'a> {
    pub(crate) file: &'a File,
    pub(crate) page_count: u32,
    pub(crate) globals: &'a [u8],
    /// Pages that are otherwise than in the file.
    pub(crate) pages: Vec<(u32, Page)>,
}

impl Laid<'_> {
    pub(crate) fn image(&self) -> io::Result<Image> {
        Image::from_file(self.file.try_clone()?, self.page_count, self.globals.to_vec())
    }
}

impl Ground {
    /// Notes what a turn changed.
    pub(crate) fn changed(&mut self, pages: &[(u32, Page)]) {
        if self.file.is_some() {
            self.changed.extend(pages.iter().map(|(at, _)| at));
        }
    }

    /// The file with what is beside it; a new file if that is much.
    pub(crate) fn lay<'a>(&'a mut self, machine: &'a Machine) -> io::Result<Laid<'a>> {
        let page_count = machine.page_count();
        let many = self.changed.len() > (page_count as usize / 8).max(64);
        if self.file.is_none() || self.page_count != page_count || many {
            let image = Image::build(page_count, machine.pages(), Vec::new())?;
            *self = Self {
                file: Some(image.file().try_clone()?),
                page_count,
                changed: BTreeSet::new(),
            };
        }
        let mut pages = Vec::new();
        if !self.changed.is_empty() {
            // Those that are not there are zeros.
            let zeros = Arc::new([0; PAGE_BYTES]);
            pages.extend(self.changed.iter().map(|at| (*at, zeros.clone())));
            for (at, page) in machine.pages() {
                if let Ok(place) = pages.binary_search_by_key(&at, |(at, _)| *at) {
                    pages[place].1 = page.clone();
                }
            }
        }
        let file = self.file.as_ref().expect("it was made above if it was not there");
        Ok(Laid { file, page_count, globals: machine.globals(), pages })
    }
}
