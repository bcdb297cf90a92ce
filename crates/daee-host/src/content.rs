//! Packages and blocks: found by CID in the own store, with other nodes and with gateways, and verified
//! before anything looks inside.

use std::sync::{Arc, Mutex, RwLock};

use daee_artifact::{Artifact, Cid, RunStyle, Verified};
use daee_http::Client;
use daee_ipfs::{Blocks, BlocksError, FetchError, FetchSettings, Gateways};
use daee_manifest::{Manifest, Run};
use daee_store::Store;
use daee_types::{ByteSize, Resources};

use crate::node::Version;

/// Largest artifact or body: one raw block.
const BLOCK_MAX: ByteSize = ByteSize::mib(1);

/// Why there is no block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ContentError {
    /// Nobody delivered it; what each one did.
    NotFound(String),
    /// It is what was asked for and too large.
    TooLarge(String),
    /// This node's own disk failed.
    Store(String),
}

impl std::fmt::Display for ContentError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotFound(text) | Self::TooLarge(text) | Self::Store(text) => f.write_str(text),
        }
    }
}

/// One version of an agent, verified.
#[derive(Clone)]
pub(crate) struct Package {
    pub artifact: Artifact<Verified>,
    pub manifest: Arc<Manifest>,
}

impl Package {
    /// How the manifest says the module is entered; nothing for a reactor.
    pub fn run(&self) -> Option<RunStyle> {
        match self.manifest.run() {
            Run::Reactor => None,
            Run::Resident => Some(RunStyle::Resident),
            Run::PerEvent => Some(RunStyle::PerEvent),
        }
    }
}

/// The node's blocks, as gateway and as client.
pub(crate) struct Content {
    blocks: StoredBlocks,
    client: Client,
    sources: RwLock<(Vec<String>, Option<Arc<Gateways>>)>,
}

impl Content {
    pub fn new(store: Store, client: Client, content_max: ByteSize) -> Self {
        let blocks = StoredBlocks { store, left: Arc::new(Mutex::new(content_max.0)) };
        Self { blocks, client, sources: RwLock::new((Vec::new(), None)) }
    }

    pub fn blocks(&self) -> &StoredBlocks {
        &self.blocks
    }

    /// Where content is looked for that is not here: other nodes first, then the operator's gateways.
    pub fn set_sources(&self, urls: Vec<String>) {
        let mut sources = self.sources.write().unwrap_or_else(|e| e.into_inner());
        if sources.0 == urls {
            return;
        }
        let made = Gateways::new(urls.clone(), self.client.clone(), FetchSettings::default());
        match made {
            Ok(gateways) => *sources = (urls, Some(Arc::new(gateways))),
            Err(error) => tracing::warn!(%error, "gateways are not used"),
        }
    }

    /// A block, from here or from wherever it is found. What was fetched is kept.
    pub async fn block(&self, cid: &Cid, max: ByteSize) -> Result<Vec<u8>, ContentError> {
        let store = |error: BlocksError| ContentError::Store(error.to_string());
        if let Some(block) = self.blocks.get(cid).map_err(store)? {
            return match block.len() as u64 > max.0 {
                true => Err(ContentError::TooLarge(format!("{cid} is larger than {max}"))),
                false => Ok(block),
            };
        }
        let gateways = self.sources.read().unwrap_or_else(|e| e.into_inner()).1.clone();
        let Some(gateways) = gateways else {
            let text = format!("{cid} is not here, and no gateway is known");
            return Err(ContentError::NotFound(text));
        };
        let fetched = gateways.fetch_raw(cid, max).await.map_err(|error| match error {
            FetchError::TooLarge { .. } => ContentError::TooLarge(error.to_string()),
            _ => ContentError::NotFound(error.to_string()),
        })?;
        self.blocks.put(cid, &fetched).map_err(store)?;
        Ok(fetched)
    }

    /// Reads and verifies what a deployment names. The texts are for its owner.
    pub async fn package(
        &self,
        version: &Version,
        agent_id: &str,
        resources: &Resources,
    ) -> Result<Package, String> {
        let body_cid = Cid::raw(version.body.as_bytes());
        let body = self.block(&body_cid, BLOCK_MAX).await;
        let body = body.map_err(|error| format!("the manifest cannot be read: {error}"))?;
        let manifest = Manifest::from_body(&body, &version.artifact).map_err(|problems| {
            let all: Vec<_> = problems.iter().map(|problem| problem.message.as_str()).collect();
            format!("the manifest is not valid: {}", all.join("; "))
        })?;
        // The name is the deployment's for good; the version behind it moves with updates.
        let name = agent_id.split('@').next().unwrap_or_default();
        if manifest.agent_id().name() != name {
            return Err(format!(
                "the manifest is of {}, the deployment of {name}",
                manifest.agent_id().name()
            ));
        }
        if manifest.resources() != *resources {
            return Err("the manifest asks for other resources than the deployment's terms".into());
        }
        if manifest.durability() == daee_manifest::Durability::Turn {
            return Err("`durability: turn` is not offered by this version of the node".into());
        }
        if !manifest.secrets().is_empty() {
            return Err("`secrets` are not served by this version of the node".into());
        }
        let cid = Cid::raw(version.artifact.as_bytes());
        let bytes = self.block(&cid, BLOCK_MAX).await;
        let bytes = bytes.map_err(|error| format!("the artifact cannot be read: {error}"))?;
        let artifact =
            Artifact::fetched(bytes).verify(&version.artifact).map_err(|e| e.to_string())?;
        Ok(Package { artifact, manifest: Arc::new(manifest) })
    }
}

/// The store behind the trait that the gateway serves.
#[derive(Clone)]
pub(crate) struct StoredBlocks {
    store: Store,
    /// Bytes that strangers may still leave here.
    left: Arc<Mutex<u64>>,
}

impl StoredBlocks {
    /// Takes room for what a stranger brings, or says that there is none.
    pub fn admit(&self, bytes: u64) -> bool {
        let mut left = self.left.lock().unwrap_or_else(|e| e.into_inner());
        match left.checked_sub(bytes) {
            Some(rest) => {
                *left = rest;
                true
            }
            None => false,
        }
    }
}

impl Blocks for StoredBlocks {
    fn get(&self, cid: &Cid) -> Result<Option<Vec<u8>>, BlocksError> {
        self.store.block(&cid.digest()).map_err(|error| BlocksError(error.to_string()))
    }

    fn put(&self, cid: &Cid, block: &[u8]) -> Result<(), BlocksError> {
        self.store.put_block(&cid.digest(), block).map_err(|error| BlocksError(error.to_string()))
    }
}
