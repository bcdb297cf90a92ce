//! The tree over a memory's pages, kept between two roots: a root costs by what changed, as a turn does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use daee_types::Word;

use crate::root::{self, pair};

/// Every level, the leaves first. Empty until a root was asked for.
#[derive(Debug, Default)]
pub(crate) struct Tree(Mutex<Levels>);

#[derive(Clone, Debug, Default)]
struct Levels {
    /// The number of each leaf's page, in order; none if the levels are of other pages.
    pages: Option<Vec<u32>>,
    levels: Vec<Vec<Word>>,
    /// Places of leaves that are not what they were.
    stale: BTreeSet<usize>,
}

impl Tree {
    /// A page that was there has other content.
    pub(crate) fn changed(&mut self, page: u32) {
        let kept = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        match kept.pages.as_ref().map(|pages| pages.binary_search(&page)) {
            Some(Ok(place)) => {
                kept.stale.insert(place);
            }
            Some(Err(_)) => self.moved(),
            None => {}
        }
    }

    /// A page came or went, so that others have moved.
    pub(crate) fn moved(&mut self) {
        *self.0.get_mut().unwrap_or_else(PoisonError::into_inner) = Levels::default();
    }

    /// The root over these pages. `leaf` is asked only for those that are not known.
    pub(crate) fn root<T>(&self, pages: &BTreeMap<u32, T>, leaf: impl Fn(u32, &T) -> Word) -> Word {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Levels { pages: places, levels, stale } = &mut *kept;
        let Some(places) = places else {
            let leaves = pages.iter().map(|(at, page)| leaf(*at, page)).collect();
            (*places, *levels) = (Some(pages.keys().copied().collect()), raised(leaves));
            return top(levels);
        };
        let mut stale = std::mem::take(stale);
        for place in &stale {
            let at = places[*place];
            levels[0][*place] = leaf(at, &pages[&at]);
        }
        for level in 1..levels.len() {
            stale = stale.into_iter().map(|place| place / 2).collect();
            let (below, above) = levels.split_at_mut(level);
            for place in &stale {
                let two = below[level - 1][*place * 2..].chunks(2).next();
                above[0][*place] = pair(two.unwrap_or_default());
            }
        }
        top(levels)
    }
}

/// Of the last level nothing is left to pair.
fn top(levels: &[Vec<Word>]) -> Word {
    let count = levels.first().map_or(0, Vec::len);
    root::counted(count, levels.last().and_then(|level| level.first()))
}

fn raised(leaves: Vec<Word>) -> Vec<Vec<Word>> {
    let mut levels = vec![leaves];
    while let Some(below) = levels.last().filter(|below| below.len() > 1) {
        levels.push(below.chunks(2).map(pair).collect());
    }
    levels
}

impl Clone for Tree {
    fn clone(&self) -> Self {
        Self(Mutex::new(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use daee_types::ByteSize;
    use proptest::prelude::*;

    use crate::{Delta, Draft, MachineDelta, PAGE_BYTES, State};

    /// A turn that leaves so many pages, and these with these bytes.
    fn turn(state: &State, page_count: u32, written: &[(u32, u8)]) -> Delta {
        let mut pages: Vec<_> = written.to_vec();
        pages.retain(|(at, _)| *at < page_count);
        pages.sort_unstable();
        pages.dedup_by_key(|(at, _)| *at);
        let pages = pages.into_iter().map(|(at, byte)| (at, Arc::new([byte; PAGE_BYTES])));
        let mut draft = Draft::new(state);
        draft.set_machine(MachineDelta {
            page_count,
            pages: pages.collect(),
            ..Default::default()
        });
        draft.finish()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_root_does_not_depend_on_which_roots_were_asked_for_before(
            turns in proptest::collection::vec(
                (16..40u32, proptest::collection::vec((0..40u32, 0..3u8), 0..12), any::<bool>()),
                1..12,
            )
        ) {
            let mut state = State::new(ByteSize::kib(1));
            for (page_count, written, asked) in turns {
                state.apply(turn(&state, page_count, &written));
                if asked {
                    let fresh = State::decode(&state.encode()).unwrap();
                    prop_assert_eq!(state.root(), fresh.root());
                    prop_assert_eq!(state.clone().root(), fresh.root());
                }
            }
        }
    }
}
