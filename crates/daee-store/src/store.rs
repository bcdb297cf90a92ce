use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use daee_types::{ByteSize, DeploymentId, EpochId, StateRoot, Word, sha256};
use redb::{Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};

use crate::{
    StoreError,
    checkpoints::{self, Checkpoints},
    error::at,
    files::{self, Lock},
};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const KNOWN: TableDefinition<'_, u64, ()> = TableDefinition::new("known");
const RECORDS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("records");

const CURSOR: &str = "cursor";
const FORMAT: &str = "format";
/// What is in this directory, so that a later version knows what it finds.
const FORMAT_NOW: &[u8] = b"1";
/// Memory that redb may use for pages; what is in there is small.
const CACHE_BYTES: usize = 8 << 20;

/// How much may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// All checkpoints together. A quarter is for deployments that this node has a record of.
    pub checkpoint_bytes_max: ByteSize,
}

impl Default for Options {
    fn default() -> Self {
        Self { checkpoint_bytes_max: ByteSize::gib(16) }
    }
}

/// What one node keeps, below one directory. Blocking; cheap to clone; every write is on disk on return.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dir: PathBuf,
    index: Index,
    checkpoints: Checkpoints,
    _lock: Lock,
}

impl Store {
    /// Opens or creates it. Refused while another process has it open.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        Self::open_with(dir, Options::default())
    }

    /// The same, with bounds of one's own.
    pub fn open_with(dir: &Path, options: Options) -> Result<Self, StoreError> {
        files::create_dir(dir)?;
        let lock = files::lock(dir)?;
        let index = Index::open(dir.join("index.redb"))?;
        let checkpoints = Checkpoints::open(checkpoints::dir(dir), options.checkpoint_bytes_max)?;
        let blocks = dir.join("blocks");
        files::create_dir(&blocks)?;
        for name in files::names(&blocks)?.iter().filter(|name| name.ends_with(files::FRESH)) {
            files::remove(&blocks.join(name))?;
        }
        Ok(Self(Arc::new(Inner { dir: dir.to_owned(), index, checkpoints, _lock: lock })))
    }

    /// The block with this SHA-256; `None` also where it is there and damaged, so that it is fetched again.
    pub fn block(&self, digest: &Word) -> Result<Option<Vec<u8>>, StoreError> {
        let bytes = files::read(&self.block_path(digest))?;
        Ok(bytes.filter(|bytes| sha256(bytes) == *digest))
    }

    /// Keeps a block. The caller has verified that it has this digest.
    pub fn put_block(&self, digest: &Word, bytes: &[u8]) -> Result<(), StoreError> {
        if self.block(digest)?.is_some() {
            // Whoever wrote it may not have come to this.
            return files::sync_dir(&self.0.dir.join("blocks"));
        }
        files::replace(&self.block_path(digest), &[bytes])
    }

    /// Where the follower of the chain stood after what it last passed on.
    pub fn cursor(&self) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.index.read(|from| {
            let table = from.open_table(META)?;
            Ok(table.get(CURSOR)?.map(|bytes| bytes.value().to_vec()))
        })
    }

    /// Deployments that are not closed, as last noted, by number.
    pub fn known(&self) -> Result<Vec<DeploymentId>, StoreError> {
        self.0.index.read(|from| {
            let table = from.open_table(KNOWN)?;
            let ids = table.iter()?.map(|entry| Ok(DeploymentId(entry?.0.value())));
            ids.collect()
        })
    }

    /// Moves the cursor, together with what changed up to there: all of it or nothing.
    pub fn advance(
        &self,
        cursor: &[u8],
        opened: &[DeploymentId],
        closed: &[DeploymentId],
    ) -> Result<(), StoreError> {
        self.0.index.write(|to| {
            to.open_table(META)?.insert(CURSOR, cursor)?;
            let mut known = to.open_table(KNOWN)?;
            for id in opened {
                known.insert(id.0, ())?;
            }
            for id in closed {
                known.remove(id.0)?;
            }
            Ok(())
        })
    }

    /// What the node noted of each of its leases, by deployment.
    pub fn records(&self) -> Result<Vec<(DeploymentId, Vec<u8>)>, StoreError> {
        self.0.index.read(|from| {
            let table = from.open_table(RECORDS)?;
            let records = table.iter()?.map(|entry| {
                let (id, bytes) = entry?;
                Ok((DeploymentId(id.value()), bytes.value().to_vec()))
            });
            records.collect()
        })
    }

    /// Notes a lease.
    pub fn put_record(&self, id: DeploymentId, record: &[u8]) -> Result<(), StoreError> {
        self.0.index.write(|to| {
            to.open_table(RECORDS)?.insert(id.0, record)?;
            Ok(())
        })
    }

    /// Forgets a lease.
    pub fn forget_record(&self, id: DeploymentId) -> Result<(), StoreError> {
        self.0.index.write(|to| {
            to.open_table(RECORDS)?.remove(id.0)?;
            Ok(())
        })
    }

    /// An encoded snapshot. Whoever reads it verifies the root.
    pub fn checkpoint(
        &self,
        id: DeploymentId,
        root: &StateRoot,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.checkpoints.get(id, root)
    }

    /// Keeps an encoded snapshot as the newest one of its deployment, within the bounds of [`Options`].
    pub fn put_checkpoint(
        &self,
        id: DeploymentId,
        root: &StateRoot,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        let own = self.0.index.read(|from| Ok(from.open_table(RECORDS)?.get(id.0)?.is_some()))?;
        self.0.checkpoints.put(id, root, bytes, own)
    }

    /// Removes old snapshots of a deployment: neither one of its `newest` last, nor the one with the root
    /// that is opened on chain.
    pub fn keep_checkpoints(
        &self,
        id: DeploymentId,
        newest: usize,
        opened: &StateRoot,
    ) -> Result<(), StoreError> {
        self.0.checkpoints.keep(id, newest, opened)
    }

    /// Where the [`AgentStore`](crate::AgentStore) of a lease lives.
    pub fn agent_dir(&self, id: DeploymentId, epoch: &EpochId) -> PathBuf {
        self.agent_dirs(id).join(hex::encode(epoch.as_bytes()))
    }

    /// The directory of the lease of a deployment that was written last.
    pub fn newest_agent_dir(&self, id: DeploymentId) -> Result<Option<PathBuf>, StoreError> {
        let dirs = self.agent_dirs(id);
        let mut newest = None;
        for name in files::names(&dirs)? {
            let dir = dirs.join(name);
            for name in files::names(&dir)? {
                let file = dir.join(name);
                // One that a writer is just removing is not the newest.
                let Ok(time) = fs::metadata(&file).and_then(|meta| meta.modified()) else {
                    continue;
                };
                newest = newest.max(Some((time, dir.clone())));
            }
        }
        Ok(newest.map(|(_, dir)| dir))
    }

    fn agent_dirs(&self, id: DeploymentId) -> PathBuf {
        self.0.dir.join("agents").join(id.to_string())
    }

    fn block_path(&self, digest: &Word) -> PathBuf {
        self.0.dir.join("blocks").join(hex::encode(digest))
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store({})", self.0.dir.display())
    }
}

/// Small things that change together.
struct Index {
    path: PathBuf,
    /// `None` after a failure of the disk, until it can be opened again.
    database: Mutex<Option<Arc<Database>>>,
}

impl Index {
    fn open(path: PathBuf) -> Result<Self, StoreError> {
        let index = Self { path, database: Mutex::new(None) };
        index.database()?;
        Ok(index)
    }

    fn read<T>(
        &self,
        query: impl FnOnce(&redb::ReadTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = self.database()?;
        let done = (|| query(&database.begin_read()?))();
        done.map_err(|error| self.failed(error))
    }

    fn write<T>(
        &self,
        change: impl FnOnce(&redb::WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = self.database()?;
        let done = (|| {
            let transaction = database.begin_write()?;
            let done = change(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })();
        done.map_err(|error| self.failed(error))
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let mut held = self.database.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = &*held {
            return Ok(database.clone());
        }
        let opened = |path: &Path| {
            let database = Database::builder().set_cache_size(CACHE_BYTES).create(path);
            database.map_err(|error| self.error(error.into()))
        };
        if !self.path.exists() {
            // One that a crash left half made would never open again.
            let fresh = self.path.with_extension(&files::FRESH[1..]);
            files::remove(&fresh)?;
            self.prepare(&opened(&fresh)?).map_err(|error| self.error(error))??;
            fs::rename(&fresh, &self.path).map_err(at(&self.path))?;
            files::sync_dir(self.path.parent().unwrap_or(Path::new(".")))?;
        }
        let database = opened(&self.path)?;
        self.prepare(&database).map_err(|error| self.error(error))??;
        Ok(held.insert(Arc::new(database)).clone())
    }

    /// Makes the tables, so that readers find them, and looks who made what is there.
    fn prepare(&self, database: &Database) -> Result<Result<(), StoreError>, redb::Error> {
        let transaction = database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            let found = meta.get(FORMAT)?.map(|found| found.value().to_vec());
            match found.as_deref() {
                Some(FORMAT_NOW) => return Ok(Ok(())),
                Some(_) => {
                    let why = "a later version of this program made it";
                    return Ok(Err(StoreError::corrupt(&self.path, why)));
                }
                None => meta.insert(FORMAT, FORMAT_NOW)?,
            };
            transaction.open_table(KNOWN)?;
            transaction.open_table(RECORDS)?;
        }
        transaction.commit()?;
        Ok(Ok(()))
    }

    /// After a failed write redb refuses everything: the next call opens it again from what is on disk.
    fn failed(&self, error: redb::Error) -> StoreError {
        if matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo) {
            *self.database.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.error(error)
    }

    fn error(&self, error: redb::Error) -> StoreError {
        match error {
            redb::Error::Io(error) => at(&self.path)(error),
            // No other process has it, for this one holds the lock.
            redb::Error::DatabaseAlreadyOpen => StoreError::Io {
                path: self.path.clone(),
                why: "the disk failed, and somebody still reads what was there: try again"
                    .to_owned(),
            },
            redb::Error::Corrupted(why) => StoreError::corrupt(&self.path, why),
            other => StoreError::Io { path: self.path.clone(), why: other.to_string() },
        }
    }
}
