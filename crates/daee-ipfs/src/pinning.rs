//! The pinning service API: <https://ipfs.github.io/pinning-services-api-spec/>.

use std::{collections::BTreeMap, time::Duration};

use daee_artifact::ArtifactCid;
use daee_http::{
    Bytes, Client, HttpError, Limits,
    http::{self, Method, header},
};
use daee_types::{ByteSize, Coded, Fault};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Authorization, PlaceError,
    kubo::{escaped, is_passing, said},
    place::guarded_url,
};

/// Bytes of an answer: ten pins with what a service may say of each.
const ANSWER_MAX: ByteSize = ByteSize::mib(1);
const ASK_TIME: Duration = Duration::from_secs(30);
/// Bytes of a name, as the API bounds it.
const NAME_MAX: usize = 255;
/// Addresses of a kind, as the API bounds them.
const ADDRESSES_MAX: usize = 20;
/// Bytes of what a service calls a request.
const REQUEST_MAX: usize = 512;

/// A service that pins what others have. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Pinning {
    client: Client,
    base: String,
    token: Authorization,
}

/// What is to be pinned.
#[derive(Clone, Debug, Serialize)]
pub struct Pin {
    #[serde(serialize_with = "as_text")]
    cid: ArtifactCid,
    name: String,
    origins: Vec<String>,
    meta: BTreeMap<String, String>,
}

impl Pin {
    /// All that is below a CID. Name and metadata are for people; origins are addresses of peers that have
    /// it, of which the first twenty count.
    pub fn new(
        cid: ArtifactCid,
        name: &str,
        origins: &[String],
        meta: BTreeMap<String, String>,
    ) -> Self {
        let mut name = name.to_owned();
        while name.len() > NAME_MAX {
            name.pop();
        }
        let origins = origins.iter().take(ADDRESSES_MAX).cloned().collect();
        Self { cid, name, origins, meta }
    }

    /// What it is of.
    pub fn cid(&self) -> &ArtifactCid {
        &self.cid
    }
}

/// A request as the service has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinStatus {
    /// What the service calls it.
    pub request: String,
    /// How far it is.
    pub state: PinState,
    /// Peers of the service to which whoever has the content connects.
    pub delegates: Vec<String>,
    /// What the service adds.
    pub details: Option<String>,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PinState {
    /// It could not be done.
    Failed,
    /// It waits.
    Queued,
    /// The content is being fetched.
    Pinning,
    /// It is kept.
    Pinned,
}

/// Why a pinning service did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PinError {
    /// No answer.
    #[error("{service} does not answer: {error}")]
    Unreachable {
        /// Base URL.
        service: String,
        /// What happened.
        error: HttpError,
    },
    /// It says no.
    #[error("{service} refuses with status {status}: {reason}{}", unlocked(*.status))]
    Refused {
        /// Base URL.
        service: String,
        /// The HTTP status.
        status: u16,
        /// Its reason.
        reason: String,
    },
    /// It answers, but not as the API does.
    #[error(
        "{service} does not answer as the pinning service API does ({why}): give the URL that `/pins` \
         stands behind"
    )]
    Garbled {
        /// Base URL.
        service: String,
        /// What is strange.
        why: String,
    },
    /// It answers with another CID than it was given.
    #[error("{service} was given {expected} and answers with {found}: do not count on it")]
    OtherCid {
        /// Base URL.
        service: String,
        /// What it was given.
        expected: String,
        /// What it answered with.
        found: String,
    },
}

impl Coded for PinError {
    fn code(&self) -> &'static str {
        match self {
            PinError::Unreachable { .. } => "DAEE-I040",
            PinError::Refused { .. } => "DAEE-I041",
            PinError::Garbled { .. } => "DAEE-I042",
            PinError::OtherCid { .. } => "DAEE-I043",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            PinError::Unreachable { error, .. } => error.fault(),
            // The API has 500 for what may pass, too.
            PinError::Refused { status, .. } if *status == 500 || is_passing(*status) => {
                Fault::Network
            }
            PinError::Refused { .. } | PinError::Garbled { .. } => Fault::Developer,
            PinError::OtherCid { .. } => Fault::Node,
        }
    }
}

impl Pinning {
    /// At this base URL, with or without `/pins` behind it.
    pub fn new(client: Client, url: &str, token: Authorization) -> Result<Self, PlaceError> {
        let base = guarded_url(url, Some(&token))?;
        let base = base.strip_suffix("/pins").unwrap_or(&base).to_owned();
        Ok(Self { client, base, token })
    }

    /// Its base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The request for this CID that is furthest, if there is one.
    pub async fn find(&self, cid: &ArtifactCid) -> Result<Option<PinStatus>, PinError> {
        #[derive(Deserialize)]
        struct Answer {
            results: Vec<Status>,
        }
        let target = format!("/pins?cid={cid}&status=queued,pinning,pinned,failed&limit=10");
        let answer: Answer = self.ask(Method::GET, &target, Bytes::new()).await?;
        // Some services filter by nothing.
        let mine = answer.results.into_iter().filter(|status| status.is_of(cid));
        let known: Vec<_> = mine.map(|status| self.read(status, cid)).collect::<Result<_, _>>()?;
        Ok(known.into_iter().max_by_key(|status| status.state))
    }

    /// Asks for a pin.
    pub async fn add(&self, pin: &Pin) -> Result<PinStatus, PinError> {
        let body = serde_json::to_vec(pin).expect("plain values have a JSON form");
        let answer = self.ask(Method::POST, "/pins", body.into()).await?;
        self.read(answer, &pin.cid)
    }

    /// How far a request for this CID is.
    pub async fn status(&self, request: &str, cid: &ArtifactCid) -> Result<PinStatus, PinError> {
        let request: String = request.bytes().map(escaped).collect();
        let answer = self.ask(Method::GET, &format!("/pins/{request}"), Bytes::new()).await?;
        self.read(answer, cid)
    }

    fn read(&self, status: Status, cid: &ArtifactCid) -> Result<PinStatus, PinError> {
        if !status.is_of(cid) {
            let (service, found) = (self.base.clone(), said(&status.pin.cid));
            return Err(PinError::OtherCid { service, expected: cid.to_string(), found });
        }
        if status.requestid.is_empty() || status.requestid.len() > REQUEST_MAX {
            return Err(self.garbled("a request has no name that can be asked for".to_owned()));
        }
        let details = status.info.as_ref().and_then(|info| info.get("status_details")?.as_str());
        Ok(PinStatus {
            details: details.map(said),
            request: status.requestid,
            state: status.status,
            delegates: status.delegates.into_iter().take(ADDRESSES_MAX).collect(),
        })
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        target: &str,
        body: Bytes,
    ) -> Result<T, PinError> {
        let mut request = http::Request::builder()
            .method(method)
            .header(header::AUTHORIZATION, self.token.value())
            .header(header::ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let request = request.body(body).expect("the headers were checked");
        let limits = Limits {
            total_time: ASK_TIME,
            idle_time: ASK_TIME,
            body_bytes_max: ANSWER_MAX,
            ..Limits::default()
        };
        let url = format!("{}{target}", self.base);
        let answer = self.client.exchange(&url, request, &limits).await;
        let answer = answer.map_err(|error| match error {
            HttpError::TooLarge(max) => self.garbled(format!("its answer is larger than {max}")),
            error => PinError::Unreachable { service: self.base.clone(), error },
        })?;
        match answer.status.as_u16() {
            200 | 202 => serde_json::from_slice(&answer.body)
                .map_err(|error| self.garbled(error.to_string())),
            status @ 300..=399 => {
                let to = answer.headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
                let to = said(to.unwrap_or("nowhere"));
                Err(self.garbled(format!("status {status} leads to {to}, which is not followed")))
            }
            status => Err(self.refusal(status, &answer.body)),
        }
    }

    fn refusal(&self, status: u16, body: &[u8]) -> PinError {
        #[derive(Deserialize)]
        struct Refusal {
            error: Reason,
        }
        #[derive(Deserialize)]
        struct Reason {
            reason: String,
            details: Option<String>,
        }
        let reason = match serde_json::from_slice::<Refusal>(body) {
            Ok(Refusal { error: Reason { reason, details: Some(details) } }) => {
                said(&format!("{reason}: {details}"))
            }
            Ok(Refusal { error: Reason { reason, details: None } }) => said(&reason),
            Err(_) => "it does not say why".to_owned(),
        };
        PinError::Refused { service: self.base.clone(), status, reason }
    }

    fn garbled(&self, why: String) -> PinError {
        PinError::Garbled { service: self.base.clone(), why }
    }
}

#[derive(Deserialize)]
struct Status {
    requestid: String,
    status: PinState,
    pin: Pinned,
    #[serde(default)]
    delegates: Vec<String>,
    info: Option<serde_json::Map<String, serde_json::Value>>,
}

#[derive(Deserialize)]
struct Pinned {
    cid: String,
}

impl Status {
    /// Whether it is about this CID, in whatever base it is written.
    fn is_of(&self, cid: &ArtifactCid) -> bool {
        self.pin.cid.parse::<ArtifactCid>().is_ok_and(|found| found == *cid)
    }
}

fn as_text<S: serde::Serializer>(cid: &ArtifactCid, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(cid)
}

fn unlocked(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "; its token is read from DAEE_PIN_TOKEN, or from the file of `--pin-token-file`"
        }
        _ => "",
    }
}
