//! The composition of `stateRoot` (DESIGN 8), written out in `docs/spec/roots.md`. Every part is
//! there from the first day, so that filling one in later does not change what the others mean.

use daee_types::{StateRoot, Word, keccak256};

use crate::{
    DEPTH_MAX, Machine, State,
    files::{Directory, Files, Node, ROOT},
};

const TAG: &[u8; 32] = b"daee.state.v1\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

pub(crate) fn of(state: &State) -> StateRoot {
    let keys = state.keys.iter().map(|(key, value)| {
        let key_hash = keccak256(key);
        leaf(&[&key_hash, &keccak256(value)])
    });
    let timers = state.timers.iter().map(|(name, at)| leaf(&[&keccak256(name), &word_of(at.0)]));
    let effects = state.effects.iter().map(|effect| {
        leaf(&[
            &word_of(effect.turn),
            &word_of(effect.call.into()),
            &keccak256(&effect.topic),
            &keccak256(&effect.data),
        ])
    });
    let empty = Machine::default();
    let machine = state.machine.as_ref().unwrap_or(&empty);

    let mut input = Vec::with_capacity(8 * 32);
    input.extend(TAG);
    input.extend(tree(keys.collect()));
    input.extend(files(&state.files));
    input.extend(tree(timers.collect()));
    input.extend(tree(effects.collect()));
    input.extend(memory(machine));
    input.extend(keccak256(&machine.globals));
    input.extend(machine.table_digest);
    StateRoot::new(keccak256(input))
}

fn files(files: &Files) -> Word {
    let first = match files.nodes.get(&ROOT) {
        Some(Node::Directory(root)) => directory(files, root, 0),
        _ => Word::default(),
    };
    leaf(&[&word_of(files.made), &first])
}

fn directory(files: &Files, found: &Directory, depth: usize) -> Word {
    // A delta that a draft did not make could put directories into each other without an end.
    if depth > DEPTH_MAX {
        return Word::default();
    }
    let entry = |(name, number): (&String, &u64)| {
        let (modified_nanos, content) = match files.nodes.get(number) {
            Some(Node::File(file)) => {
                let pages = file.pages.iter();
                let pages = pages.map(|(at, page)| leaf(&[&word_of((*at).into()), page.hash()]));
                let pages = tree(pages.collect());
                (file.modified_nanos, leaf(&[&word_of(file.size), &pages]))
            }
            Some(Node::Directory(inner)) => {
                (inner.modified_nanos, directory(files, inner, depth + 1))
            }
            None => (0, Word::default()),
        };
        leaf(&[&keccak256(name), &word_of(*number), &word_of(modified_nanos), &content])
    };
    tree(found.entries.iter().map(entry).collect())
}

/// Pages under their numbers; pages of zeros are left out, the size of the memory is not.
fn memory(machine: &Machine) -> Word {
    let pages =
        machine.tree.root(&machine.pages, |at, page| leaf(&[&word_of(at.into()), page.hash()]));
    let mut input = [0; 64];
    input[..32].copy_from_slice(&word_of(machine.page_count.into()));
    input[32..].copy_from_slice(&pages);
    keccak256(input)
}

fn leaf(words: &[&Word]) -> Word {
    let mut input = Vec::with_capacity(1 + words.len() * 32);
    input.push(0x00);
    for word in words {
        input.extend(*word);
    }
    keccak256(input)
}

/// `keccak(0x02, count, top)`; pairs are `keccak(0x01, left, right)`, an odd one moves up as it is.
fn tree(mut level: Vec<Word>) -> Word {
    let count = level.len();
    while level.len() > 1 {
        level = level.chunks(2).map(pair).collect();
    }
    counted(count, level.first())
}

pub(crate) fn pair(two: &[Word]) -> Word {
    match two {
        [left, right] => {
            let mut input = [0x01; 65];
            input[1..33].copy_from_slice(left);
            input[33..].copy_from_slice(right);
            keccak256(input)
        }
        [single] => *single,
        _ => unreachable!("chunks of two have one or two items"),
    }
}

pub(crate) fn counted(count: usize, top: Option<&Word>) -> Word {
    let mut input = [0x02; 65];
    input[1..33].copy_from_slice(&word_of(count as u64));
    input[33..].copy_from_slice(&top.copied().unwrap_or_default());
    keccak256(input)
}

fn word_of(n: u64) -> Word {
    let mut word = [0; 32];
    word[24..].copy_from_slice(&n.to_be_bytes());
    word
}
