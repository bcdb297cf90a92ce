//! No proof leads to a root but that of its own leaf, at its own place, in its own tree.

use daee_market::{AnchorTree, anchor_proof, anchor_root, root_of_proof};
use daee_types::{DeploymentId, LeafHash, Word};
use proptest::{collection::btree_map, prelude::*};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_leaf_is_proven(tree in trees()) {
        for &(deployment, leaf) in tree.leaves() {
            let proof = tree.proof(deployment).unwrap();
            prop_assert_eq!(root_of_proof(deployment, leaf, &proof), Some(tree.root()));
        }
    }

    #[test]
    fn another_leaf_or_deployment_is_never_proven(tree in trees(), at: prop::sample::Index, other: [u8; 32]) {
        let (deployment, leaf) = tree.leaves()[at.index(tree.leaves().len())];
        let proof = tree.proof(deployment).unwrap();
        prop_assume!(other != *leaf.as_bytes());
        let forged = root_of_proof(deployment, LeafHash::new(other), &proof);
        prop_assert_ne!(forged, Some(tree.root()));
        let beside = DeploymentId(deployment.0 ^ 1);
        prop_assert_ne!(root_of_proof(beside, leaf, &proof), Some(tree.root()));
    }

    #[test]
    fn a_changed_proof_proves_nothing(tree in trees(), at: prop::sample::Index, word: prop::sample::Index, bit in 0_usize..256) {
        let (deployment, leaf) = tree.leaves()[at.index(tree.leaves().len())];
        let mut proof = tree.proof(deployment).unwrap();
        // Index, count and siblings alike: each bit of each word counts.
        let word = word.index(proof.len());
        proof[word][bit / 8] ^= 1 << (bit % 8);
        prop_assert_ne!(root_of_proof(deployment, leaf, &proof), Some(tree.root()));
    }

    #[test]
    fn a_longer_or_shorter_proof_proves_nothing(tree in trees(), at: prop::sample::Index, extra: Word) {
        let (deployment, leaf) = tree.leaves()[at.index(tree.leaves().len())];
        let proof = tree.proof(deployment).unwrap();
        let longer: Vec<_> = proof.iter().copied().chain([extra]).collect();
        prop_assert_eq!(root_of_proof(deployment, leaf, &longer), None);
        for len in 0..proof.len() {
            prop_assert_eq!(root_of_proof(deployment, leaf, &proof[..len]), None);
        }
    }

    #[test]
    fn an_inner_node_never_passes_for_a_leaf(tree in trees()) {
        // The tree over all but the last leaf is another tree, whatever is claimed about its size.
        let leaves = tree.leaves();
        if leaves.len() > 1 {
            prop_assert_ne!(anchor_root(&leaves[..leaves.len() - 1]), tree.root());
        }
    }

    #[test]
    fn the_order_in_which_leaves_are_given_does_not_count(tree in trees()) {
        let turned = AnchorTree::new(tree.leaves().iter().rev().copied()).unwrap();
        prop_assert_eq!(turned.root(), tree.root());
    }
}

#[test]
fn no_proof_leads_into_a_tree_without_leaves() {
    let empty = AnchorTree::new([]).unwrap();
    let (deployment, leaf) = (DeploymentId(1), LeafHash::ZERO);
    assert_eq!(empty.proof(deployment), None);
    assert_eq!(root_of_proof(deployment, leaf, &[[0; 32], [0; 32]]), None);
    let alone = [(deployment, leaf)];
    assert_ne!(root_of_proof(deployment, leaf, &anchor_proof(&alone, 0)), Some(empty.root()));
}

fn trees() -> impl Strategy<Value = AnchorTree> {
    btree_map(any::<u64>(), any::<[u8; 32]>(), 1..20).prop_map(|leaves| {
        let leaf = |(id, hash)| (DeploymentId(id), LeafHash::new(hash));
        AnchorTree::new(leaves.into_iter().map(leaf)).unwrap()
    })
}
