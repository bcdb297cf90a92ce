use daee_artifact::{BLOCK_BYTES_MAX, FileLayout};

pub fn run(input: &[u8]) -> bool {
    let Ok(layout) = FileLayout::read(input) else { return false };
    assert_eq!(layout.root().as_deref(), Some(input), "another root than was read");
    let leaves: Vec<_> = layout.leaves().collect();
    assert_eq!(leaves.len(), layout.leaf_count());
    assert_eq!(leaves.iter().map(|(_, size)| *size as u64).sum::<u64>(), layout.size());
    let (last, full) = leaves.split_last().expect("a file of more than one block has leaves");
    assert!(full.iter().all(|(_, size)| *size == BLOCK_BYTES_MAX), "a hole in the file");
    assert!((1..=BLOCK_BYTES_MAX).contains(&last.1), "a last leaf of {} bytes", last.1);
    true
}

pub fn seeds() -> Vec<Vec<u8>> {
    let layout = |size: usize| {
        let mut hasher = daee_artifact::FileHasher::new();
        hasher.update(&vec![7; size]);
        hasher.finish().expect("it is smaller than an artifact may be")
    };
    let sizes = [BLOCK_BYTES_MAX + 1, 2 * BLOCK_BYTES_MAX, 9 * BLOCK_BYTES_MAX + 300];
    sizes.iter().filter_map(|size| layout(*size).root()).collect()
}
