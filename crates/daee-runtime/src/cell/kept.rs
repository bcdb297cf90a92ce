use daee_state::{PAGE_BYTES, Page};

use super::unexpected;
use crate::protocol::LinkError;

/// A reactor as it stood after the last turn that was kept.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) exists: bool,
    pub(super) memory: Vec<u8>,
    pub(super) globals: Vec<u8>,
}

impl Kept {
    pub(super) fn take(&mut self, pages: &[(u32, Page)]) -> Result<(), LinkError> {
        for (at, page) in pages {
            let place = self.memory.get_mut(*at as usize * PAGE_BYTES..);
            let place = place.and_then(|rest| rest.get_mut(..PAGE_BYTES));
            place.ok_or_else(unexpected)?.copy_from_slice(&page[..]);
        }
        Ok(())
    }

    /// Makes `memory` the kept one, and gives the pages that differ to `changed`, in order.
    pub(super) fn follow(
        &mut self,
        memory: &[u8],
        mut changed: impl FnMut(u32, &[u8; PAGE_BYTES]) -> Result<(), LinkError>,
    ) -> Result<(), LinkError> {
        self.memory.reserve_exact(memory.len().saturating_sub(self.memory.len()));
        self.memory.resize(memory.len(), 0);
        let (now, _) = memory.as_chunks::<PAGE_BYTES>();
        let (before, _) = self.memory.as_chunks_mut::<PAGE_BYTES>();
        for (at, (before, now)) in before.iter_mut().zip(now).enumerate() {
            if before != now {
                changed(at as u32, now)?;
                *before = *now;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn only_pages_that_changed_are_told_of() {
        let mut kept = Kept::default();
        let mut memory = vec![0; 4 * PAGE_BYTES];
        let changed = |kept: &mut Kept, memory: &[u8]| {
            let mut pages = Vec::new();
            kept.follow(memory, |at, page| {
                pages.push((at, page[0]));
                Ok(())
            })
            .unwrap();
            pages
        };
        assert_eq!(changed(&mut kept, &memory), []);
        memory[2 * PAGE_BYTES] = 7;
        assert_eq!(changed(&mut kept, &memory), [(2, 7)]);
        assert_eq!(changed(&mut kept, &memory), []);
        memory[2 * PAGE_BYTES] = 0;
        memory.resize(5 * PAGE_BYTES, 1);
        assert_eq!(changed(&mut kept, &memory), [(2, 0), (4, 1)]);
    }

    #[test]
    fn an_image_with_a_page_outside_of_the_memory_is_refused() {
        let mut kept = Kept { memory: vec![0; PAGE_BYTES], ..Kept::default() };
        assert!(kept.take(&[(1, Arc::new([1; PAGE_BYTES]))]).is_err());
        assert!(kept.take(&[(0, Arc::new([1; PAGE_BYTES]))]).is_ok());
    }
}
