//! Handing a package to those who keep it: each place by its own protocol, all at once, and none of them
//! twice.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use daee_artifact::ArtifactCid;
use daee_http::Client;
use daee_ipfs::{
    Authorization, Kubo, KuboError, Pin, PinError, PinState, PinStatus, Pinning, PlaceError, Sent,
};
use daee_types::{ByteSize, Coded, Fault};
use futures_util::future::join_all;
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::{NodeClient, NodeError, Parcel};

/// What the three roots of a package are, in their order.
const PARTS: [&str; 3] = ["artifact", "body", "yaml"];
/// Addresses of a service that one's own node is connected to.
const DELEGATES_MAX: usize = 8;

/// Who is to keep a package.
#[derive(Clone, Debug)]
pub enum Place {
    /// A node of ours, by the base URL of its API.
    Node(String),
    /// A Kubo-style RPC.
    Kubo {
        /// Its base URL.
        url: String,
        /// What opens it, if it is locked.
        authorization: Option<Authorization>,
    },
    /// A service of the pinning service API, which fetches what it pins from others.
    Pinning {
        /// Its base URL.
        url: String,
        /// Its token.
        token: Authorization,
    },
}

/// How patient to be with a place.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// How often it is tried while it is the network that is in the way. At least once.
    pub attempts_max: u32,
    /// Time to the second try; each later one waits twice as long.
    pub pause: Duration,
    /// Longest time between two tries.
    pub pause_max: Duration,
    /// Time between two questions to a service that is not done.
    pub poll_every: Duration,
    /// Time that a service has to fetch all of it.
    pub pin_time: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            pause: Duration::from_secs(1),
            pause_max: Duration::from_secs(15),
            poll_every: Duration::from_secs(5),
            pin_time: Duration::from_secs(600),
        }
    }
}

/// How far a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// It is asked what it has.
    Asking,
    /// It is sent what it lacks.
    Sending {
        /// What it was sent in this try.
        sent: Sent,
        /// Bytes of what it lacks.
        bytes: u64,
        /// Blocks of what it lacks.
        blocks: usize,
    },
    /// It is at work.
    Waiting(String),
    /// It is tried again after a pause.
    Again {
        /// What came in between.
        why: String,
        /// How long that is.
        pause: Duration,
    },
}

/// What came of one place.
#[derive(Clone, Debug)]
pub struct Handed {
    /// What kind it is: `node`, `kubo` or `pin`.
    pub kind: &'static str,
    /// Its URL.
    pub url: String,
    /// What it keeps now, or why it does not.
    pub outcome: Result<Kept, PublishError>,
}

/// What it took until a place kept all of a package.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// Bytes that were sent to it, those of tries that broke off included. None if it had everything.
    pub bytes_sent: u64,
    /// How often it was tried.
    pub attempts: u32,
}

/// Why a place does not keep a package.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It cannot be spoken to.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// A node did not take it.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A Kubo-style RPC did not take it.
    #[error(transparent)]
    Kubo(#[from] KuboError),
    /// A service did not take it.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// Nodes take less.
    #[error(
        "{node} takes artifacts of one block, up to 1 MiB, and this one has {size}: publish it to a \
         Kubo (`--kubo`) or to a pinning service (`--pin`)"
    )]
    TooLarge {
        /// Base URL.
        node: String,
        /// Size of the artifact.
        size: ByteSize,
    },
    /// The service gave up.
    #[error("{service} could not pin {cid}: {why}")]
    NotPinned {
        /// Base URL.
        service: String,
        /// Which.
        cid: String,
        /// What it says.
        why: String,
    },
    /// The service is still at work.
    #[error(
        "{service} is not done after {seconds} s: its request goes on, and the same command looks \
         after it; it fetches from whom it can reach, so name a node that has the package with `--kubo` \
         or `--origin`"
    )]
    NotDone {
        /// Base URL.
        service: String,
        /// How long was waited.
        seconds: u64,
    },
}

impl Coded for PublishError {
    fn code(&self) -> &'static str {
        match self {
            PublishError::Place(error) => error.code(),
            PublishError::Node(error) => error.code(),
            PublishError::Kubo(error) => error.code(),
            PublishError::Pin(error) => error.code(),
            PublishError::TooLarge { .. } => "DAEE-U060",
            PublishError::NotPinned { .. } => "DAEE-U061",
            PublishError::NotDone { .. } => "DAEE-U062",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            PublishError::Place(error) => error.fault(),
            PublishError::Node(error) => error.fault(),
            PublishError::Kubo(error) => error.fault(),
            PublishError::Pin(error) => error.fault(),
            PublishError::TooLarge { .. } => Fault::Developer,
            PublishError::NotPinned { .. } => Fault::Node,
            PublishError::NotDone { .. } => Fault::Network,
        }
    }
}

impl Place {
    /// What kind it is, and its URL.
    pub fn name(&self) -> (&'static str, &str) {
        match self {
            Place::Node(url) => ("node", url),
            Place::Kubo { url, .. } => ("kubo", url),
            Place::Pinning { url, .. } => ("pin", url),
        }
    }
}

/// Hands a package to all of these places, each for itself, and says what came of each in the same order.
/// Services come last: they are told of `origins`, which are addresses of peers that have it, and of the
/// Kubos that took it. `on` is told how far the place of this number is.
pub async fn hand_out(
    http: &Client,
    parcel: &Parcel,
    places: &[Place],
    origins: &[String],
    patience: &Patience,
    on: impl Fn(usize, Progress) + Send + Sync + 'static,
) -> Vec<Handed> {
    let on: Arc<Told> = Arc::new(on);
    let work = |number: usize| Work {
        http,
        parcel,
        patience,
        number,
        on: on.clone(),
        bytes_sent: Arc::default(),
    };
    let first = places.iter().enumerate().map(|(number, place)| {
        let work = work(number);
        async move {
            match place {
                Place::Node(url) => Some((work.node(url).await, None)),
                Place::Kubo { url, authorization } => match work.kubo(url, authorization).await {
                    Ok((kept, kubo)) => Some((Ok(kept), Some(kubo))),
                    Err(error) => Some((Err(error), None)),
                },
                Place::Pinning { .. } => None,
            }
        }
    });
    let mut kubos = Vec::new();
    let mut outcomes: Vec<_> = join_all(first)
        .await
        .into_iter()
        .map(|done| {
            let (outcome, kubo) = done?;
            kubos.extend(kubo);
            Some(outcome)
        })
        .collect();

    let mut origins = origins.to_vec();
    for kubo in &kubos {
        // What it does not say, the service finds out by itself, or does not.
        origins.extend(kubo.addresses().await.unwrap_or_default());
    }
    let (origins, kubos) = (&origins, &kubos);
    let second = places.iter().enumerate().map(|(number, place)| {
        let work = work(number);
        async move {
            let Place::Pinning { url, token } = place else { return None };
            Some(work.pinning(url, token, origins, kubos).await)
        }
    });
    let second = join_all(second).await;
    let handed = places.iter().zip(outcomes.drain(..).zip(second));
    handed
        .map(|(place, (first, second))| {
            let (kind, url) = place.name();
            let outcome = first.or(second).expect("each is of one of the two kinds");
            Handed { kind, url: url.to_owned(), outcome }
        })
        .collect()
}

type Told = dyn Fn(usize, Progress) + Send + Sync;

/// What is done at one place.
struct Work<'a> {
    http: &'a Client,
    parcel: &'a Parcel,
    patience: &'a Patience,
    number: usize,
    on: Arc<Told>,
    bytes_sent: Arc<AtomicU64>,
}

impl Work<'_> {
    async fn node(&self, url: &str) -> Result<Kept, PublishError> {
        let node = NodeClient::new(self.http.clone(), url);
        if let ArtifactCid::File(_) = self.parcel.cid() {
            let size = ByteSize(self.parcel.artifact_bytes());
            return Err(PublishError::TooLarge { node: node.base().to_owned(), size });
        }
        let attempts = self.patiently(async || {
            self.tell(Progress::Asking);
            if !node.keeps(self.parcel).await? {
                node.hand(self.parcel, self.sending(0)).await?;
            }
            Ok(())
        });
        let (attempts, ()) = attempts.await?;
        Ok(self.kept(attempts))
    }

    async fn kubo(
        &self,
        url: &str,
        authorization: &Option<Authorization>,
    ) -> Result<(Kept, Kubo), PublishError> {
        let kubo = Kubo::new(self.http.clone(), url, authorization.clone())?;
        let car = self.parcel.car();
        let attempts = self.patiently(async || {
            self.tell(Progress::Asking);
            // Who is no Kubo says so here, before a package is sent.
            kubo.version().await?;
            let mut whole = true;
            for root in car.roots() {
                whole = whole && kubo.pins(root).await?;
            }
            if whole {
                return Ok(());
            }
            let first = kubo.first_missing(car).await?;
            match kubo.import(car, first, self.sending(first)).await {
                // Of the blocks that were left out it has lost some.
                Err(KuboError::NotPinned { .. }) if first > 0 => {
                    kubo.import(car, 0, self.sending(0)).await?;
                }
                imported => {
                    imported?;
                }
            }
            Ok(())
        });
        let (attempts, ()) = attempts.await?;
        Ok((self.kept(attempts), kubo))
    }

    async fn pinning(
        &self,
        url: &str,
        token: &Authorization,
        origins: &[String],
        kubos: &[Kubo],
    ) -> Result<Kept, PublishError> {
        let service = Pinning::new(self.http.clone(), url, token.clone())?;
        let (mut attempts, mut asked) = (0, Vec::new());
        for (part, cid) in PARTS.into_iter().zip(self.parcel.car().roots()) {
            let (tries, status) = self
                .patiently(async || {
                    self.tell(Progress::Asking);
                    // A request that is under way is gone on with; one that failed is made again.
                    match service.find(cid).await? {
                        Some(known) if known.state != PinState::Failed => Ok(known),
                        _ => Ok(service.add(&self.pin(part, *cid, origins)).await?),
                    }
                })
                .await?;
            attempts = attempts.max(tries);
            asked.push((part, *cid, status));
        }
        let new = asked.iter().filter(|(.., status)| status.state != PinState::Pinned);
        connect(kubos, new.map(|(.., status)| status)).await;

        let all = async {
            for (part, cid, status) in asked {
                self.pinned(&service, part, &cid, status).await?;
            }
            Ok(())
        };
        let within = self.patience.pin_time;
        let done = timeout(within, all).await;
        let (service, seconds) = (service.base().to_owned(), within.as_secs());
        done.unwrap_or(Err(PublishError::NotDone { service, seconds }))?;
        Ok(self.kept(attempts))
    }

    fn pin(&self, part: &str, cid: ArtifactCid, origins: &[String]) -> Pin {
        let manifest = self.parcel.manifest();
        let agent_id = manifest.agent_id().to_string();
        let name = format!("{agent_id} {part}");
        let meta = BTreeMap::from([
            ("agent_id".to_owned(), agent_id),
            ("manifest_hash".to_owned(), manifest.manifest_hash().to_string()),
            ("part".to_owned(), part.to_owned()),
        ]);
        Pin::new(cid, &name, origins, meta)
    }

    /// Waits until a request is done.
    async fn pinned(
        &self,
        service: &Pinning,
        part: &str,
        cid: &ArtifactCid,
        mut status: PinStatus,
    ) -> Result<(), PublishError> {
        loop {
            let details = status.details.as_deref().map(|text| format!(", {text}"));
            let details = details.unwrap_or_default();
            match status.state {
                PinState::Pinned => return Ok(()),
                PinState::Failed => {
                    let why = status.details.unwrap_or_else(|| "it does not say why".to_owned());
                    let service = service.base().to_owned();
                    return Err(PublishError::NotPinned { service, cid: cid.to_string(), why });
                }
                PinState::Queued => {
                    self.tell(Progress::Waiting(format!("{part}: queued{details}")))
                }
                PinState::Pinning => {
                    self.tell(Progress::Waiting(format!("{part}: being fetched{details}")));
                }
            }
            sleep(self.patience.poll_every).await;
            let look = async || Ok(service.status(&status.request, cid).await?);
            (_, status) = self.patiently(look).await?;
        }
    }

    /// Does something again while it is the network that is in the way, and says how often it took.
    async fn patiently<T>(
        &self,
        mut attempt: impl AsyncFnMut() -> Result<T, PublishError>,
    ) -> Result<(u32, T), PublishError> {
        let (mut tries, mut pause) = (1, self.patience.pause);
        loop {
            match attempt().await {
                Ok(done) => return Ok((tries, done)),
                Err(error)
                    if error.fault() == Fault::Network && tries < self.patience.attempts_max =>
                {
                    self.tell(Progress::Again { why: error.to_string(), pause });
                    sleep(pause).await;
                    tries += 1;
                    pause = (pause * 2).min(self.patience.pause_max);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Counts what is sent of the package without the blocks before `first`, and tells of it.
    fn sending(&self, first: usize) -> impl Fn(Sent) + Send + 'static {
        let car = self.parcel.car();
        let (bytes, blocks) = (car.bytes_from(first), car.block_count() - first);
        let (on, number, all) = (self.on.clone(), self.number, self.bytes_sent.clone());
        let before = all.load(Ordering::Relaxed);
        move |sent| {
            all.store(before + sent.bytes, Ordering::Relaxed);
            on(number, Progress::Sending { sent, bytes, blocks });
        }
    }

    fn kept(&self, attempts: u32) -> Kept {
        Kept { bytes_sent: self.bytes_sent.load(Ordering::Relaxed), attempts }
    }

    fn tell(&self, progress: Progress) {
        (self.on)(self.number, progress);
    }
}

/// Has one's own nodes connect to a service's, so that it need not look for who has what it shall fetch.
async fn connect(kubos: &[Kubo], asked: impl Iterator<Item = &PinStatus>) {
    let mut delegates: Vec<&String> = asked.flat_map(|status| &status.delegates).collect();
    delegates.sort();
    delegates.dedup();
    delegates.truncate(DELEGATES_MAX);
    let each = kubos.iter().flat_map(|kubo| delegates.iter().map(move |to| (kubo, to)));
    let connected = each.map(|(kubo, to)| async move {
        if let Err(error) = kubo.connect(to).await {
            tracing::debug!(%error, "the service has to find it by itself");
        }
    });
    join_all(connected).await;
}
