use std::{fmt, sync::Mutex, time::Duration};

use daee_artifact::{Cid, Hasher};
use daee_http::{Bytes, Client, HttpError, Limits, http};
use daee_types::{ByteSize, Coded, Fault};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::time::{Instant, sleep};

use crate::place::base_url;

/// Bytes read at most to prove that a block is larger than the caller takes: twice the largest block
/// that IPFS peers exchange.
const PROOF_BYTES_MAX: u64 = 4 << 20;

/// How patient to be with gateways.
#[derive(Clone, Copy, Debug)]
pub struct FetchSettings {
    /// Time for one gateway to deliver a block.
    pub gateway_time: Duration,
    /// Time after which the next one is asked too, while the first still may deliver.
    pub hedge_after: Duration,
    /// How long one that was down or slow is asked last.
    pub rest_after_failure: Duration,
    /// How long one that sent something else is asked last.
    pub rest_after_lie: Duration,
}

impl Default for FetchSettings {
    fn default() -> Self {
        Self {
            gateway_time: Duration::from_secs(15),
            hedge_after: Duration::from_millis(500),
            rest_after_failure: Duration::from_secs(30),
            rest_after_lie: Duration::from_secs(600),
        }
    }
}

/// A gateway's address is not one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a gateway: give a base URL as in https://trustless-gateway.link")]
pub struct GatewayUrlError(pub String);

impl Coded for GatewayUrlError {
    fn code(&self) -> &'static str {
        "DAEE-I020"
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

/// Why there is no block.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The block is there and is what the CID names, but it is too large.
    #[error("content of {cid} is {size}, more than {limit}")]
    TooLarge {
        /// The CID.
        cid: Cid,
        /// Its proven size.
        size: ByteSize,
        /// What the caller takes.
        limit: ByteSize,
    },
    /// No gateway delivered it.
    #[error("content of {cid} was not found: {}", shown(.tried))]
    NotFound {
        /// The CID.
        cid: Cid,
        /// What each gateway did, in the order in which they ended.
        tried: Vec<Tried>,
    },
}

impl Coded for FetchError {
    fn code(&self) -> &'static str {
        match self {
            FetchError::TooLarge { .. } => "DAEE-I021",
            FetchError::NotFound { .. } => "DAEE-I022",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            FetchError::TooLarge { .. } => Fault::Developer,
            FetchError::NotFound { .. } => Fault::Network,
        }
    }
}

/// What one gateway did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its base URL.
    pub gateway: String,
    /// What it did.
    pub outcome: Outcome,
}

/// How a gateway failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It does not have the content.
    Absent,
    /// It answered with this status.
    Status(u16),
    /// It sent something else than the CID names.
    Lied,
    /// It sent more than a block may have.
    Oversized,
    /// It did not deliver in time.
    Stalled,
    /// It could not be reached, or broke off.
    Down(String),
}

impl fmt::Display for Tried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.gateway)?;
        match &self.outcome {
            Outcome::Absent => write!(f, "does not have it"),
            Outcome::Status(status) => write!(f, "answered with status {status}"),
            Outcome::Lied => write!(f, "sent other content than the CID names"),
            Outcome::Oversized => write!(f, "sent more than a block may have"),
            Outcome::Stalled => write!(f, "did not deliver in time"),
            Outcome::Down(why) => write!(f, "failed: {why}"),
        }
    }
}

/// Gateways to fetch from. None of them is trusted.
#[derive(Debug)]
pub struct Gateways {
    gateways: Vec<Gateway>,
    client: Client,
    settings: FetchSettings,
}

#[derive(Debug)]
struct Gateway {
    base: String,
    rests_until: Mutex<Option<Instant>>,
}

impl Gateways {
    /// From base URLs, the preferred first.
    pub fn new(
        urls: Vec<String>,
        client: Client,
        settings: FetchSettings,
    ) -> Result<Self, GatewayUrlError> {
        let gateways = urls.into_iter().map(|url| {
            let base = base_url(&url).ok_or(GatewayUrlError(url))?;
            Ok(Gateway { base, rests_until: Mutex::new(None) })
        });
        Ok(Self { gateways: gateways.collect::<Result<_, _>>()?, client, settings })
    }

    /// The block that this CID names, of at most `limit` bytes. The next gateway is asked as soon as one
    /// fails, or is slow; the first whose bytes have the right hash is believed, because of the hash.
    pub async fn fetch_raw(&self, cid: &Cid, limit: ByteSize) -> Result<Vec<u8>, FetchError> {
        let mut waiting = self.in_order().into_iter();
        let mut asked = FuturesUnordered::new();
        let mut tried = Vec::new();
        loop {
            if let Some(gateway) = waiting.next() {
                asked.push(async move { (gateway, self.ask(gateway, cid, limit).await) });
            }
            if asked.is_empty() {
                return Err(FetchError::NotFound { cid: *cid, tried });
            }
            let ended = tokio::select! {
                ended = asked.next() => ended,
                () = sleep(self.settings.hedge_after), if waiting.len() > 0 => None,
            };
            let Some((gateway, answer)) = ended else { continue };
            match answer {
                Ok(Block::Fits(bytes)) => return Ok(bytes),
                Ok(Block::Larger(size)) => {
                    return Err(FetchError::TooLarge { cid: *cid, size, limit });
                }
                Err(outcome) => {
                    tracing::debug!(gateway = gateway.base, %cid, ?outcome, "no block");
                    self.remember(gateway, &outcome);
                    tried.push(Tried { gateway: gateway.base.clone(), outcome });
                }
            }
        }
    }

    /// As listed, but those that failed lately last: they are better than none.
    fn in_order(&self) -> Vec<&Gateway> {
        let now = now();
        let mut all: Vec<_> = self.gateways.iter().collect();
        all.sort_by_key(|gateway| gateway.rests_until(now).is_some());
        all
    }

    fn remember(&self, gateway: &Gateway, outcome: &Outcome) {
        let rest = match outcome {
            Outcome::Absent => return,
            Outcome::Lied | Outcome::Oversized => self.settings.rest_after_lie,
            Outcome::Status(_) | Outcome::Stalled | Outcome::Down(_) => {
                self.settings.rest_after_failure
            }
        };
        let until = now() + rest;
        let mut rests = gateway.rests_until.lock().expect("nobody panics with it");
        *rests = Some(rests.map_or(until, |earlier| earlier.max(until)));
    }

    async fn ask(&self, gateway: &Gateway, cid: &Cid, limit: ByteSize) -> Result<Block, Outcome> {
        let time = self.settings.gateway_time;
        match tokio::time::timeout(time, self.read(gateway, cid, limit)).await {
            Ok(answer) => answer,
            Err(_) => Err(Outcome::Stalled),
        }
    }

    async fn read(&self, gateway: &Gateway, cid: &Cid, limit: ByteSize) -> Result<Block, Outcome> {
        let url = format!("{}/ipfs/{cid}?format=raw", gateway.base);
        let request = http::Request::get("/")
            .header("accept", "application/vnd.ipld.raw")
            .body(Bytes::new())
            .expect("the headers are constants");
        let time = self.settings.gateway_time;
        let limits = Limits {
            connect_time: time,
            total_time: time,
            idle_time: time,
            body_bytes_max: ByteSize(limit.0.max(PROOF_BYTES_MAX)),
            ..Limits::default()
        };
        let (head, mut body) = self.client.open(&url, request, &limits).await.map_err(failed)?;
        match head.status.as_u16() {
            200 => {}
            404 | 410 => return Err(Outcome::Absent),
            status => return Err(Outcome::Status(status)),
        }
        let mut hasher = Hasher::new();
        let (mut kept, mut size) = (Vec::new(), 0);
        while let Some(piece) = body.piece().await.map_err(failed)? {
            hasher.update(&piece);
            size += piece.len() as u64;
            // Beyond the limit only the hash still matters: it proves the size.
            if size <= limit.0 {
                kept.extend_from_slice(&piece);
            } else {
                kept = Vec::new();
            }
        }
        if hasher.finish().as_bytes() != &cid.digest() {
            return Err(Outcome::Lied);
        }
        Ok(if size <= limit.0 { Block::Fits(kept) } else { Block::Larger(ByteSize(size)) })
    }
}

impl Gateway {
    fn rests_until(&self, now: Instant) -> Option<Instant> {
        let rests = *self.rests_until.lock().expect("nobody panics with it");
        rests.filter(|until| *until > now)
    }
}

/// What has the right hash.
enum Block {
    Fits(Vec<u8>),
    Larger(ByteSize),
}

fn failed(error: HttpError) -> Outcome {
    match error {
        HttpError::Timeout { .. } => Outcome::Stalled,
        HttpError::TooLarge(_) => Outcome::Oversized,
        other => Outcome::Down(other.to_string()),
    }
}

fn shown(tried: &[Tried]) -> String {
    if tried.is_empty() {
        return "no gateway is configured; add one with `--gateway`".to_owned();
    }
    tried.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[expect(clippy::disallowed_methods, reason = "this adapter waits, so it has a clock")]
fn now() -> Instant {
    Instant::now()
}
