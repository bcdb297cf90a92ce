//! Other nodes of the network: who they are, and checkpoints given to them and asked of them.
//!
//! A node signs in to another with its operator account, as a deployer does (`docs/spec/api.md`). What is signed
//! in place of a checkpoint's bytes is their SHA-256, so that the other node knows who sends before it reads.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use daee_chain::{Chain, ChainError, NodeRecord};
use daee_http::{
    Bytes, Client, Limits,
    http::{Method, Request, header},
};
use daee_lifecycle::{ErrorBody, REQUEST_HEADER, SESSION_HEADER, Session};
use daee_types::{Address, ByteSize, DeploymentId, Domain, Sign, StateRoot, Timestamp, sha256};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::sleep;

use crate::{clock, envelope};

/// Names the SHA-256 of a checkpoint's bytes, which is what the request's signature covers.
pub(crate) const DIGEST_HEADER: &str = "daee-content-sha256";
/// Largest checkpoint that is taken or given.
pub(crate) const CHECKPOINT_MAX: ByteSize = ByteSize::mib(640);
/// How long a session with another node lives.
const SESSION_MILLIS: u64 = 10 * 60 * 1000;
/// How long one node may take for one checkpoint.
const PEER_TIME: Duration = Duration::from_secs(30);
/// Silence after which another node is asked beside one that may answer yet: registered ones need not be honest.
const SILENCE: Duration = Duration::from_secs(2);
/// How long one that was silent is asked last.
const REST_MILLIS: u64 = 60_000;
/// Bytes a second that a node takes at least before its silence counts.
const SLOWEST_BYTES: u64 = 4 << 20;

/// The other nodes, as the registry has them.
pub(crate) struct Peers {
    domain: Domain,
    operator: Arc<dyn Sign>,
    client: Client,
    others: RwLock<Vec<NodeRecord>>,
    nonce: Mutex<u64>,
    /// Those that kept no checkpoint when they were last asked to, and when that was.
    silent: Mutex<BTreeMap<Address, Timestamp>>,
}

impl Peers {
    pub fn new(domain: Domain, operator: Arc<dyn Sign>, client: Client) -> Self {
        let nonce = Mutex::new(clock::now().0);
        let (others, silent) = (RwLock::default(), Mutex::default());
        Self { domain, operator, client, others, nonce, silent }
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
        if others.is_empty() || copies == 0 {
            return 0;
        }
        let first = usize::try_from(id.0).unwrap_or_default() % others.len();
        others.rotate_left(first);
        // Those that were silent lately come last, and nobody waits for them once one has it.
        let (awake, resting): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|peer| !self.rests(peer.operator));
        let (last_awake, mut lively) = (awake.len(), awake.len());

        let body = Bytes::from(checkpoint.as_ref().clone());
        let patience = SILENCE + Duration::from_secs(body.len() as u64 / SLOWEST_BYTES);
        let put = |(place, peer)| self.put(place, peer, id, root, body.clone());
        let mut waiting = awake.into_iter().chain(resting).enumerate();
        let mut asked: FuturesUnordered<_> = waiting.by_ref().take(copies).map(&put).collect();
        let mut kept = 0;
        while kept < copies && (kept == 0 || lively > 0) {
            let answer = tokio::select! {
                answer = asked.next() => match answer {
                    Some(answer) => Some(answer),
                    None => break,
                },
                () = sleep(patience) => None,
            };
            if let Some((place, done)) = answer {
                kept += usize::from(done);
                lively -= usize::from(place < last_awake);
                if done {
                    continue;
                }
            }
            match waiting.next() {
                Some(next) => asked.push(put(next)),
                None if answer.is_none() && kept > 0 => break,
                None => {}
            }
        }
        kept
    }

    /// Asks the others for a checkpoint until one has the state that was opened on chain; the next one, too, as
    /// soon as one fails or says nothing for a while.
    pub async fn get(&self, id: DeploymentId, root: &StateRoot) -> Result<Vec<u8>, String> {
        let get = |peer: NodeRecord| self.get_from(peer, id, root);
        let mut waiting = self.others().into_iter();
        let mut asked: FuturesUnordered<_> = waiting.by_ref().take(1).map(get).collect();
        let mut tried = Vec::new();
        loop {
            let answer = tokio::select! {
                answer = asked.next() => answer.map(|answer| answer.map_err(Some)),
                () = sleep(SILENCE), if waiting.len() > 0 => Some(Err(None)),
            };
            match answer {
                Some(Ok(bytes)) => return Ok(bytes),
                Some(Err(why)) => {
                    tried.extend(why);
                    asked.extend(waiting.next().map(get));
                }
                None => break,
            }
        }
        if tried.is_empty() {
            tried.push("no other node is registered".to_owned());
        }
        Err(format!("no node gives the state {root}: {}", tried.join("; ")))
    }

    /// Whether a peer keeps it; with the place it has among those that are asked.
    async fn put(
        &self,
        place: usize,
        peer: NodeRecord,
        id: DeploymentId,
        root: &StateRoot,
        body: Bytes,
    ) -> (usize, bool) {
        let mut asking = Asking { peers: self, operator: peer.operator, answered: false };
        let answer = self.ask(&peer, Method::PUT, id, root, body).await;
        asking.answered = answer.is_ok();
        if let Err(why) = &answer {
            tracing::warn!(deployment = %id, peer = peer.endpoint, why, "checkpoint not kept");
        }
        (place, answer.is_ok())
    }

    fn rests(&self, operator: Address) -> bool {
        let silent = self.silent.lock().unwrap_or_else(|e| e.into_inner());
        silent.get(&operator).is_some_and(|since| clock::now().millis_since(*since) < REST_MILLIS)
    }

    /// The checkpoint, if it has this root.
    async fn get_from(
        &self,
        peer: NodeRecord,
        id: DeploymentId,
        root: &StateRoot,
    ) -> Result<Vec<u8>, String> {
        let url = &peer.endpoint;
        let bytes = self.ask(&peer, Method::GET, id, root, Bytes::new()).await;
        let bytes = bytes.map_err(|why| format!("{url}: {why}"))?;
        match envelope::read(&bytes) {
            Ok((_, snapshot)) if snapshot.state.root() == *root => Ok(bytes.into()),
            Ok(_) => Err(format!("{url} sent another state")),
            Err(error) => Err(format!("{url} sent no checkpoint: {error}")),
        }
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

/// Remembers a peer that failed, or was not waited for any more.
struct Asking<'a> {
    peers: &'a Peers,
    operator: Address,
    answered: bool,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut silent = self.peers.silent.lock().unwrap_or_else(|e| e.into_inner());
        match self.answered {
            true => silent.remove(&self.operator),
            false => silent.insert(self.operator, clock::now()),
        };
    }
}
