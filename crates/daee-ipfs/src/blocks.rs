use daee_artifact::Cid;
use daee_types::{Coded, Fault};

/// A store of raw blocks. Calls block; whoever serves requests makes them off its own threads.
pub trait Blocks: Send + Sync + 'static {
    /// The block, where it is kept.
    fn get(&self, cid: &Cid) -> Result<Option<Vec<u8>>, BlocksError>;

    /// Keeps a block. The caller has verified that it is what the CID names.
    fn put(&self, cid: &Cid, block: &[u8]) -> Result<(), BlocksError>;

    /// Whether it is kept.
    fn has(&self, cid: &Cid) -> Result<bool, BlocksError> {
        Ok(self.get(cid)?.is_some())
    }
}

/// The store failed; what it says is for the node's operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store of blocks failed: {0}")]
pub struct BlocksError(pub String);

impl Coded for BlocksError {
    fn code(&self) -> &'static str {
        "DAEE-I001"
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}
