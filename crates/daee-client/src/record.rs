use std::time::Duration;

use daee_artifact::Hasher;
use daee_http::Bytes;
use daee_lifecycle::RecordingInfo;
use daee_types::{Coded as _, Fault};
use tokio::time::sleep;

use crate::{NodeClient, NodeError};

/// How often a part is asked for while the network is in the way.
const TRIES: u32 = 6;
/// Time to the second try; each later one waits twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// A recording on its way from a node, part by part: one that is cut off is gone on with.
pub struct Recording {
    node: NodeClient,
    info: RecordingInfo,
    read: u64,
    hasher: Hasher,
}

impl Recording {
    pub(crate) fn new(node: NodeClient, info: RecordingInfo) -> Self {
        Self { node, info, read: 0, hasher: Hasher::new() }
    }

    /// What the node says that it is.
    pub fn info(&self) -> &RecordingInfo {
        &self.info
    }

    /// Bytes that have come.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// The next part. `None` once all have come and are together what the node said; before that, what came may be
    /// anything.
    pub async fn next(&mut self) -> Result<Option<Bytes>, NodeError> {
        if self.read == self.info.bytes {
            return match *self.hasher.clone().finish().as_bytes() == self.info.sha256 {
                true => Ok(None),
                false => Err(self.node.garbled("the recording is not the one it named".to_owned())),
            };
        }
        let part = self.part().await?;
        let left = self.info.bytes - self.read;
        if part.is_empty() || part.len() as u64 > left {
            let why = format!("{} bytes of a recording where {left} are left", part.len());
            return Err(self.node.garbled(why));
        }
        self.read += part.len() as u64;
        self.hasher.update(&part);
        Ok(Some(part))
    }

    async fn part(&self) -> Result<Bytes, NodeError> {
        let RecordingInfo { deployment, sha256, .. } = &self.info;
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match self.node.recording_part(*deployment, sha256, self.read).await {
                Err(error) if error.fault() == Fault::Network => {}
                done => return done,
            }
            sleep(pause).await;
            pause *= 2;
        }
        self.node.recording_part(*deployment, sha256, self.read).await
    }
}
