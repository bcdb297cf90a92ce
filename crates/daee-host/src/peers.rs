//! Other nodes of the network: who they are, and checkpoints given to them and asked of them.
//!
//! A node signs in to another with its operator account, as a deployer does (`docs/spec/api.md`). What is signed
//! in place of a checkpoint's bytes is their SHA-256, so that the other node knows who sends before it reads.

use std::{
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use daee_chain::{Chain, ChainError, NodeRecord};
use daee_http::{
    Bytes, Client, Limits,
    http::{Method, Request, header},
};
use daee_lifecycle::{ErrorBody, REQUEST_HEADER, SESSION_HEADER, Session};
use daee_types::{Address, ByteSize, DeploymentId, Domain, Sign, StateRoot, sha256};

use crate::{clock, envelope};

/// Names the SHA-256 of a checkpoint's bytes, which is what the request's signature covers.
pub(crate) const DIGEST_HEADER: &str = "daee-content-sha256";
/// Largest checkpoint that is taken or given.
pub(crate) const CHECKPOINT_MAX: ByteSize = ByteSize::mib(640);
/// How long a session with another node lives.
const SESSION_MILLIS: u64 = 10 * 60 * 1000;
/// How long one node may take for one checkpoint.
const PEER_TIME: Duration = Duration::from_secs(30);

/// The other nodes, as the registry has them.
pub(crate) struct Peers {
    domain: Domain,
    operator: Arc<dyn Sign>,
    client: Client,
    others: RwLock<Vec<NodeRecord>>,
    nonce: Mutex<u64>,
}

impl Peers {
    pub fn new(domain: Domain, operator: Arc<dyn Sign>, client: Client) -> Self {
        let nonce = Mutex::new(clock::now().0);
        Self { domain, operator, client, others: RwLock::default(), nonce }
    }

    /// Reads the registry again.
    pub async fn refresh(&self, chain: &Chain) -> Result<(), ChainError> {
        let mut nodes = chain.nodes().await?;
        nodes.retain(|node| node.operator != self.operator.address() && !node.endpoint.is_empty());
        *self.others.write().unwrap_or_else(|e| e.into_inner()) = nodes;
        Ok(())
    }

    pub fn others(&self) -> Vec<NodeRecord> {
        self.others.read().unwrap_or_else(|e| e.into_inner()).clone()
    }

    pub fn endpoint_of(&self, operator: Address) -> Option<String> {
        let others = self.others.read().unwrap_or_else(|e| e.into_inner());
        others.iter().find(|node| node.operator == operator).map(|node| node.endpoint.clone())
    }

    /// Has up to `copies` other nodes keep a checkpoint; how many do. Which ones differs from deployment to
    /// deployment, so that no node keeps all.
    pub async fn give(
        &self,
        id: DeploymentId,
        root: &StateRoot,
        checkpoint: Arc<Vec<u8>>,
        copies: usize,
    ) -> usize {
        let mut others = self.others();
        if others.is_empty() {
            return 0;
        }
        let first = usize::try_from(id.0).unwrap_or_default() % others.len();
        others.rotate_left(first);
        let body = Bytes::from(checkpoint.as_ref().clone());
        let mut kept = 0;
        for peer in others {
            if kept >= copies {
                break;
            }
            match self.ask(&peer, Method::PUT, id, root, body.clone()).await {
                Ok(_) => kept += 1,
                Err(why) => {
                    tracing::warn!(deployment = %id, peer = peer.endpoint, why, "checkpoint not kept");
                }
            }
        }
        kept
    }

    /// Asks the others for a checkpoint until one has the state that was opened on chain.
    pub async fn get(&self, id: DeploymentId, root: &StateRoot) -> Result<Vec<u8>, String> {
        let mut tried = Vec::new();
        for peer in self.others() {
            match self.ask(&peer, Method::GET, id, root, Bytes::new()).await {
                Ok(bytes) => match envelope::read(&bytes) {
                    Ok((_, snapshot)) if snapshot.state.root() == *root => return Ok(bytes.into()),
                    Ok(_) => tried.push(format!("{} sent another state", peer.endpoint)),
                    Err(error) => {
                        tried.push(format!("{} sent no checkpoint: {error}", peer.endpoint))
                    }
                },
                Err(why) => tried.push(format!("{}: {why}", peer.endpoint)),
            }
        }
        if tried.is_empty() {
            tried.push("no other node is registered".to_owned());
        }
        Err(format!("no node gives the state {root}: {}", tried.join("; ")))
    }

    async fn ask(
        &self,
        peer: &NodeRecord,
        method: Method,
        id: DeploymentId,
        root: &StateRoot,
        body: Bytes,
    ) -> Result<Bytes, String> {
        let target = format!("/v1/checkpoints/{id}/{root}");
        let digest = sha256(&body);
        let now = clock::now();
        let own = self.operator.address();
        let session = Session::new(own, own, peer.operator, now.plus_millis(SESSION_MILLIS));
        let sign = |error: daee_types::SignError| error.to_string();
        let signed = session.sign(&self.domain, self.operator.as_ref()).map_err(sign)?;
        let nonce = {
            let mut nonce = self.nonce.lock().unwrap_or_else(|e| e.into_inner());
            *nonce += 1;
            nonce.to_string()
        };
        let [session, request] = signed
            .headers(
                &self.domain,
                self.operator.as_ref(),
                method.as_str(),
                &target,
                &digest,
                now,
                &nonce,
            )
            .map_err(sign)?;
        let mut hex = String::with_capacity(64);
        digest.iter().for_each(|byte| hex.push_str(&format!("{byte:02x}")));
        let url = format!("{}{target}", peer.endpoint.trim_end_matches('/'));
        let request = Request::builder()
            .method(method)
            .uri(&target)
            .header(SESSION_HEADER, session)
            .header(REQUEST_HEADER, request)
            .header(DIGEST_HEADER, hex)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .body(body)
            .map_err(|error| error.to_string())?;
        let limits = Limits {
            connect_time: Duration::from_secs(3),
            total_time: PEER_TIME,
            body_bytes_max: CHECKPOINT_MAX,
            ..Limits::default()
        };
        let answer =
            self.client.exchange(&url, request, &limits).await.map_err(|e| e.to_string())?;
        if answer.status.is_success() {
            return Ok(answer.body);
        }
        Err(match serde_json::from_slice::<ErrorBody>(&answer.body) {
            Ok(error) => format!("{} {}", error.code, error.message),
            Err(_) => format!("it answered {}", answer.status),
        })
    }
}
