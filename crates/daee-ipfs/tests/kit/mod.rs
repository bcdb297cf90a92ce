//! A shelf of blocks, and a node that serves it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use daee_artifact::Cid;
use daee_http::{Server, ServerLimits, bind};
use daee_ipfs::{Blocks, BlocksError, gateway_routes};

#[derive(Default)]
pub struct Shelf {
    pub kept: Mutex<BTreeMap<Cid, Vec<u8>>>,
    pub broken: bool,
}

impl Blocks for Shelf {
    fn get(&self, cid: &Cid) -> Result<Option<Vec<u8>>, BlocksError> {
        match self.broken {
            true => Err(BlocksError("the disk is gone".to_owned())),
            false => Ok(self.kept.lock().unwrap().get(cid).cloned()),
        }
    }
    fn put(&self, cid: &Cid, block: &[u8]) -> Result<(), BlocksError> {
        self.kept.lock().unwrap().insert(*cid, block.to_vec());
        Ok(())
    }
}

/// A gateway that has these blocks.
pub async fn gateway(blocks: &[&[u8]]) -> Server {
    let shelf = Shelf::default();
    for block in blocks {
        shelf.put(&Cid::of(block), block).unwrap();
    }
    serve(shelf).await
}

pub async fn serve(shelf: Shelf) -> Server {
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    Server::start(listener, gateway_routes(Arc::new(shelf)), ServerLimits::default())
}
