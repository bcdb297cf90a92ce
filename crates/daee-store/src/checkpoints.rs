//! Encoded snapshots by deployment and state root: `checkpoints/ID/ORDER-ROOT`, where ORDER is 16 hex
//! digits that rise with every one that is put.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use daee_types::{ByteSize, DeploymentId, StateRoot};

use crate::{StoreError, error::at, files};

pub(crate) struct Checkpoints {
    dir: PathBuf,
    bytes_max: u64,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// Oldest first.
    of: BTreeMap<DeploymentId, Vec<Entry>>,
    bytes: u64,
    /// Order of the next one.
    next: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    order: u64,
    root: StateRoot,
    bytes: u64,
}

impl Checkpoints {
    pub fn open(dir: PathBuf, bytes_max: ByteSize) -> Result<Self, StoreError> {
        files::create_dir(&dir)?;
        let mut kept = Kept::default();
        for name in files::names(&dir)? {
            let Ok(id) = name.parse() else { continue };
            let of = dir.join(&name);
            let mut entries = Vec::new();
            for name in files::names(&of)? {
                let path = of.join(&name);
                if name.ends_with(files::FRESH) {
                    files::remove(&path)?;
                } else if let Some((order, root)) = parse(&name) {
                    let bytes = fs::metadata(&path).map_err(at(&path))?.len();
                    entries.push(Entry { order, root, bytes });
                }
            }
            entries.sort_by_key(|entry| entry.order);
            kept.bytes += entries.iter().map(|entry| entry.bytes).sum::<u64>();
            kept.next = kept.next.max(entries.last().map_or(0, |entry| entry.order + 1));
            kept.of.insert(id, entries);
        }
        Ok(Self { dir, bytes_max: bytes_max.0, kept: Mutex::new(kept) })
    }

    pub fn get(&self, id: DeploymentId, root: &StateRoot) -> Result<Option<Vec<u8>>, StoreError> {
        // Between looking it up and reading it, it may get another name, or go.
        while let Some(entry) = self.lock().find(id, root) {
            if let Some(bytes) = files::read(&self.path(id, &entry))? {
                return Ok(Some(bytes));
            }
            if self.lock().find(id, root).is_some_and(|now| now.order == entry.order) {
                return Err(StoreError::corrupt(&self.path(id, &entry), "it is not there"));
            }
        }
        Ok(None)
    }

    /// `own`: of a lease that this node holds.
    pub fn put(
        &self,
        id: DeploymentId,
        root: &StateRoot,
        bytes: &[u8],
        own: bool,
    ) -> Result<(), StoreError> {
        let len = bytes.len() as u64;
        // One at a time: they are large, and the disk is one.
        let mut kept = self.lock();
        let before = kept.find(id, root);
        let wanted = kept.bytes - before.map_or(0, |entry| entry.bytes) + len;
        // What others bring never takes the place that this node's own agents need to go on.
        let cap = if own { self.bytes_max } else { self.bytes_max / 4 * 3 };
        if wanted > cap {
            let (cap, wanted) = (ByteSize(cap), ByteSize(wanted));
            return Err(StoreError::Capped { dir: self.dir.clone(), cap, wanted });
        }
        let of = self.dir.join(id.to_string());
        files::create_dir(&of)?;
        let entry = Entry { order: kept.next, root: *root, bytes: len };
        files::replace(&self.path(id, &entry), &[bytes])?;
        kept.next += 1;
        kept.bytes = wanted;
        let entries = kept.of.entry(id).or_default();
        entries.retain(|entry| entry.root != *root);
        entries.push(entry);
        match before {
            Some(before) => files::remove(&self.path(id, &before)),
            None => Ok(()),
        }
    }

    /// Removes all but the `newest` last ones of a deployment and the one of `opened`.
    pub fn keep(
        &self,
        id: DeploymentId,
        newest: usize,
        opened: &StateRoot,
    ) -> Result<(), StoreError> {
        let mut kept = self.lock();
        let Some(entries) = kept.of.get(&id) else { return Ok(()) };
        let old = &entries[..entries.len().saturating_sub(newest)];
        for entry in old.iter().filter(|entry| entry.root != *opened).copied().collect::<Vec<_>>() {
            files::remove(&self.path(id, &entry))?;
            kept.bytes -= entry.bytes;
            let entries = kept.of.entry(id).or_default();
            entries.retain(|other| other.order != entry.order);
        }
        Ok(())
    }

    fn path(&self, id: DeploymentId, entry: &Entry) -> PathBuf {
        let name = format!("{:016x}-{}", entry.order, hex::encode(entry.root.as_bytes()));
        self.dir.join(id.to_string()).join(name)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        // Nothing that is done under the lock can panic half way.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn find(&self, id: DeploymentId, root: &StateRoot) -> Option<Entry> {
        self.of.get(&id)?.iter().rev().find(|entry| entry.root == *root).copied()
    }
}

fn parse(name: &str) -> Option<(u64, StateRoot)> {
    let (order, root) = name.split_once('-')?;
    Some((u64::from_str_radix(order, 16).ok()?, root.parse().ok()?))
}

/// Directory of all checkpoints below that of a store.
pub(crate) fn dir(store: &Path) -> PathBuf {
    store.join("checkpoints")
}
