use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use daee_types::{Checkpoint, DeploymentId, Domain, EpochId, LeafHash, Sign, SignError, Signature};

use crate::marks::{Mark, Marks};

/// Signs checkpoints with the operator key, each place `(deployment, epoch, seq)` for one leaf only.
pub struct CheckpointSigner {
    key: Arc<dyn Sign>,
    domain: Domain,
    marks: Mutex<Marks>,
}

impl CheckpointSigner {
    /// Opens the marks in `path`, or starts new ones. Refuses a file of another key or contract, a damaged
    /// one, and one that another process has open.
    pub fn open(key: Arc<dyn Sign>, path: &Path, domain: Domain) -> Result<Self, SignError> {
        let marks = Mutex::new(Marks::open(path, key.address(), &domain)?);
        Ok(Self { key, domain, marks })
    }

    /// Signs a leaf whose `seq` is above everything signed in its lease, or the last one signed again.
    /// Blocking: one sync of the disk for a new place, none for an old one.
    pub fn sign(&self, leaf: &Checkpoint) -> Result<Signature, SignError> {
        self.sign_all(std::slice::from_ref(leaf)).remove(0)
    }

    /// The same for the leaves of many leases, with one sync for all. Answers are in the order of `leaves`;
    /// one that is refused holds up no other.
    pub fn sign_all(&self, leaves: &[Checkpoint]) -> Vec<Result<Signature, SignError>> {
        let hashes: Vec<_> = leaves.iter().map(Checkpoint::leaf_hash).collect();
        let mut allowed = Vec::with_capacity(leaves.len());
        // Held while the disk is written: no other thread sees a place as free that is being taken. A
        // panic elsewhere cannot leave the marks half raised.
        let mut marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let mut raised = BTreeMap::new();
        for (leaf, hash) in leaves.iter().zip(&hashes) {
            let lease = (leaf.deployment, leaf.epoch);
            let mark = Mark { seq: leaf.seq, leaf: *hash };
            allowed.push(match raised.get(&lease).or(marks.get(&lease)) {
                Some(held) if *held == mark => Ok(()),
                Some(held) if held.seq >= leaf.seq => Err(refused(leaf, hash, held)),
                _ => {
                    raised.insert(lease, mark);
                    Ok(())
                }
            });
        }
        let kept = marks.raise(&raised);
        drop(marks);
        let signed = allowed.into_iter().zip(&hashes).map(|(allowed, hash)| {
            allowed?;
            kept.clone()?;
            self.key.sign(&self.domain.digest(hash.as_bytes()))
        });
        signed.collect()
    }

    /// The last place given away in a lease and its leaf: where a node goes on that lost its own record.
    pub fn mark(&self, deployment: DeploymentId, epoch: EpochId) -> Option<(u64, LeafHash)> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(&(deployment, epoch)).map(|mark| (mark.seq, mark.leaf))
    }
}

impl std::fmt::Debug for CheckpointSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CheckpointSigner({})", self.key.address())
    }
}

fn refused(leaf: &Checkpoint, hash: &LeafHash, held: &Mark) -> SignError {
    let Checkpoint { deployment, epoch, seq, .. } = leaf;
    SignError::AlreadySigned {
        what: format!("checkpoint {seq} of deployment {deployment} in epoch {epoch} (leaf {hash})"),
        mark: format!("checkpoint {} (leaf {})", held.seq, held.leaf),
    }
}
