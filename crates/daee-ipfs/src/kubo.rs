//! The RPC of Kubo, and of whoever speaks like it: <https://docs.ipfs.tech/reference/kubo/rpc/>.

use std::{collections::BTreeMap, time::Duration};

use daee_artifact::ArtifactCid;
use daee_http::{
    Bytes, Client, HttpError, Limits,
    http::{self, HeaderMap, header},
};
use daee_types::{ByteSize, Coded, Fault, sha256};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{Authorization, Car, PlaceError, Sent, place::guarded_url};

/// Bytes of any answer: those that are asked for here are short.
const ANSWER_MAX: ByteSize = ByteSize::kib(256);
/// Bytes of an answer's text that are repeated.
const SAID_MAX: usize = 400;
/// Time for a question.
const ASK_TIME: Duration = Duration::from_secs(20);
/// Time that the place itself gives a question that it could also put to its network.
const LOCAL_SECONDS: u32 = 5;
/// Time to write and pin what came, beside the time to send it.
const IMPORT_TIME: Duration = Duration::from_secs(600);
/// Slowest connection that is waited for.
const BYTES_PER_SECOND_MIN: u64 = 32 << 10;

/// A Kubo node that the caller may command, or another with its RPC. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Kubo {
    client: Client,
    base: String,
    authorization: Option<Authorization>,
}

/// What was taken in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Blocks that it counted, where it says.
    pub blocks: Option<u64>,
    /// Bytes that it counted.
    pub bytes: Option<u64>,
}

/// Why a Kubo-style RPC did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KuboError {
    /// No answer.
    #[error("{kubo} does not answer: {error}")]
    Unreachable {
        /// Base URL.
        kubo: String,
        /// What happened.
        error: HttpError,
    },
    /// It says no.
    #[error("{kubo} refuses with status {status}: {message}{}", unlocked(*.status))]
    Refused {
        /// Base URL.
        kubo: String,
        /// The HTTP status.
        status: u16,
        /// Its reason.
        message: String,
    },
    /// It answers, but not as the RPC does.
    #[error(
        "{kubo} does not answer as Kubo's RPC does ({why}): give the address under `Addresses.API`, as \
         in http://127.0.0.1:5001"
    )]
    Garbled {
        /// Base URL.
        kubo: String,
        /// What is strange.
        why: String,
    },
    /// It answers with other CIDs than it was given.
    #[error("{kubo} was given {expected} and answers with {found}: do not count on it")]
    OtherRoots {
        /// Base URL.
        kubo: String,
        /// What it was given.
        expected: String,
        /// What it answered with.
        found: String,
    },
    /// It has the blocks, or some of them, and did not pin them.
    #[error("{kubo} did not pin {cid}: {why}")]
    NotPinned {
        /// Base URL.
        kubo: String,
        /// Which.
        cid: String,
        /// What it says.
        why: String,
    },
}

impl Coded for KuboError {
    fn code(&self) -> &'static str {
        match self {
            KuboError::Unreachable { .. } => "DAEE-I033",
            KuboError::Refused { .. } => "DAEE-I034",
            KuboError::Garbled { .. } => "DAEE-I035",
            KuboError::OtherRoots { .. } => "DAEE-I036",
            KuboError::NotPinned { .. } => "DAEE-I037",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            KuboError::Unreachable { error, .. } => error.fault(),
            KuboError::Refused { status, .. } if is_passing(*status) => Fault::Network,
            KuboError::Refused { .. } | KuboError::Garbled { .. } => Fault::Developer,
            KuboError::OtherRoots { .. } | KuboError::NotPinned { .. } => Fault::Node,
        }
    }
}

impl Kubo {
    /// At this base URL, with or without `/api/v0` behind it.
    pub fn new(
        client: Client,
        url: &str,
        authorization: Option<Authorization>,
    ) -> Result<Self, PlaceError> {
        let base = guarded_url(url, authorization.as_ref())?;
        let base = base.strip_suffix("/api/v0").unwrap_or(&base).to_owned();
        Ok(Self { client, base, authorization })
    }

    /// Its base URL.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Which version it is, as it says itself.
    pub async fn version(&self) -> Result<String, KuboError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "Version")]
            version: String,
        }
        let answer: Answer = self.ask("version").await?;
        Ok(answer.version.chars().filter(|c| !c.is_control()).take(40).collect())
    }

    /// Whether it pins all that is below this CID, so that it has every block of it.
    pub async fn pins(&self, cid: &ArtifactCid) -> Result<bool, KuboError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "Keys")]
            keys: BTreeMap<String, Kind>,
        }
        #[derive(Deserialize)]
        struct Kind {
            #[serde(rename = "Type")]
            kind: String,
        }
        let target = format!("pin/ls?arg={cid}&type=recursive&offline=true");
        let answer: Answer = match self.ask(&target).await {
            // It answers with the status of a failure where the answer is no.
            Err(KuboError::Refused { status: 500, .. }) => return Ok(false),
            answer => answer?,
        };
        // Others write the same CID in another base.
        let kept = answer.keys.iter().any(|(key, kind)| {
            kind.kind == "recursive" && key.parse::<ArtifactCid>().is_ok_and(|key| key == *cid)
        });
        Ok(kept)
    }

    /// Whether it has this block, without looking for it elsewhere.
    pub async fn has(&self, cid: &ArtifactCid) -> Result<bool, KuboError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "Key")]
            key: String,
        }
        let target = format!("block/stat?arg={cid}&offline=true&timeout={LOCAL_SECONDS}s");
        match self.ask::<Answer>(&target).await {
            Err(KuboError::Refused { status: 500, .. }) => Ok(false),
            Err(error) => Err(error),
            Ok(answer) => Ok(answer.key.parse::<ArtifactCid>().is_ok_and(|key| key == *cid)),
        }
    }

    /// How many of the first blocks of a file it has. Blocks are written in their order, so that few
    /// questions find where an import broke off; one that was lost since shows when the roots are pinned.
    pub async fn first_missing(&self, car: &Car) -> Result<usize, KuboError> {
        let (mut has, mut lacks) = (0, car.blocks().len());
        while has < lacks {
            let middle = has + (lacks - has) / 2;
            match self.has(&car.blocks()[middle].cid).await? {
                true => has = middle + 1,
                false => lacks = middle,
            }
        }
        Ok(has)
    }

    /// Hands it the file without the blocks before `first`, has it pin the roots, and compares what it
    /// answers with. `on` is told of each piece as it goes.
    pub async fn import(
        &self,
        car: &Car,
        first: usize,
        on: impl Fn(Sent) + Send + 'static,
    ) -> Result<Imported, KuboError> {
        let (kind, around) = multipart(car.roots());
        let body = car.upload(first, around, on);
        let sending = car.bytes_from(first) / BYTES_PER_SECOND_MIN;
        let limits = Limits {
            total_time: IMPORT_TIME + Duration::from_secs(sending),
            idle_time: IMPORT_TIME,
            body_bytes_max: ANSWER_MAX,
            ..Limits::default()
        };
        let url = self.url("dag/import?pin-roots=true&stats=true");
        let mut request = http::Request::post("/").body(body).expect("a constant target");
        *request.headers_mut() = self.headers();
        request.headers_mut().insert(header::CONTENT_TYPE, kind);
        let opened = self.client.upload(&url, request, &limits).await;
        let (head, body) = opened.map_err(|error| self.unheard(error))?;
        let body = body.whole().await.map_err(|error| self.unheard(error))?;
        let body = self.accepted(head.status.as_u16(), &head.headers, body)?;
        self.imported(car.roots(), &body)
    }

    /// Where others reach it to fetch from it.
    pub async fn addresses(&self) -> Result<Vec<String>, KuboError> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(rename = "Addresses")]
            addresses: Option<Vec<String>>,
        }
        let answer: Answer = self.ask("id").await?;
        Ok(answer.addresses.unwrap_or_default())
    }

    /// Has it connect to a peer.
    pub async fn connect(&self, address: &str) -> Result<(), KuboError> {
        let address: String = address.bytes().map(escaped).collect();
        let target = format!("swarm/connect?arg={address}&timeout={LOCAL_SECONDS}s");
        self.ask::<serde_json::Value>(&target).await.map(|_| ())
    }

    /// The answer to `dag/import`: a line of JSON for each root, then the counts.
    fn imported(&self, roots: &[ArtifactCid], body: &[u8]) -> Result<Imported, KuboError> {
        #[derive(Deserialize)]
        struct Line {
            #[serde(rename = "Root")]
            root: Option<Root>,
            #[serde(rename = "Stats")]
            stats: Option<Stats>,
            #[serde(rename = "Message")]
            message: Option<String>,
        }
        #[derive(Deserialize)]
        struct Root {
            #[serde(rename = "Cid")]
            cid: BTreeMap<String, String>,
            #[serde(rename = "PinErrorMsg", default)]
            problem: String,
        }
        #[derive(Deserialize)]
        struct Stats {
            #[serde(rename = "BlockCount")]
            blocks: u64,
            #[serde(rename = "BlockBytesCount")]
            bytes: u64,
        }
        let (mut found, mut imported) = (Vec::new(), Imported::default());
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: Line =
                serde_json::from_slice(line).map_err(|error| self.garbled(error.to_string()))?;
            if let Some(message) = line.message {
                let kubo = self.base.clone();
                return Err(KuboError::Refused { kubo, status: 200, message: said(&message) });
            }
            if let Some(Stats { blocks, bytes }) = line.stats {
                imported = Imported { blocks: Some(blocks), bytes: Some(bytes) };
            }
            let Some(root) = line.root else { continue };
            let cid = root.cid.get("/").map(String::as_str).unwrap_or_default();
            if !root.problem.is_empty() {
                let (kubo, cid, why) = (self.base.clone(), said(cid), said(&root.problem));
                return Err(KuboError::NotPinned { kubo, cid, why });
            }
            found.push(cid.to_owned());
        }
        let read: Vec<_> = found.iter().map(|cid| cid.parse::<ArtifactCid>().ok()).collect();
        let whole = read.len() == roots.len() && roots.iter().all(|r| read.contains(&Some(*r)));
        if !whole {
            let expected: Vec<_> = roots.iter().map(ToString::to_string).collect();
            let found = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            return Err(KuboError::OtherRoots {
                kubo: self.base.clone(),
                expected: expected.join(", "),
                found: said(&found),
            });
        }
        Ok(imported)
    }

    async fn ask<T: DeserializeOwned>(&self, target: &str) -> Result<T, KuboError> {
        let mut request = http::Request::post("/").body(Bytes::new()).expect("a constant target");
        *request.headers_mut() = self.headers();
        let limits = Limits {
            total_time: ASK_TIME,
            idle_time: ASK_TIME,
            body_bytes_max: ANSWER_MAX,
            ..Limits::default()
        };
        let answer = self.client.exchange(&self.url(target), request, &limits).await;
        let answer = answer.map_err(|error| self.unheard(error))?;
        let body = self.accepted(answer.status.as_u16(), &answer.headers, answer.body)?;
        serde_json::from_slice(&body).map_err(|error| self.garbled(error.to_string()))
    }

    /// The body, if the answer is a yes.
    fn accepted(&self, status: u16, headers: &HeaderMap, body: Bytes) -> Result<Bytes, KuboError> {
        #[derive(Deserialize)]
        struct Refusal {
            #[serde(rename = "Message")]
            message: String,
        }
        match status {
            200 => return Ok(body),
            300..=399 => {
                let to = headers.get(header::LOCATION).and_then(|to| to.to_str().ok());
                let to = said(to.unwrap_or("nowhere"));
                return Err(self.garbled(format!("it leads to {to}, which is not followed")));
            }
            404 | 405 => return Err(self.garbled(format!("status {status}"))),
            _ => {}
        }
        let message = match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => said(&refusal.message),
            Err(_) if status == 500 => {
                return Err(self.garbled("status 500 without a reason".into()));
            }
            Err(_) => said(String::from_utf8_lossy(&body).trim()),
        };
        Err(KuboError::Refused { kubo: self.base.clone(), status, message })
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = &self.authorization {
            headers.insert(header::AUTHORIZATION, authorization.value());
        }
        headers
    }

    fn unheard(&self, error: HttpError) -> KuboError {
        match error {
            HttpError::TooLarge(max) => self.garbled(format!("its answer is larger than {max}")),
            error => KuboError::Unreachable { kubo: self.base.clone(), error },
        }
    }

    fn garbled(&self, why: String) -> KuboError {
        KuboError::Garbled { kubo: self.base.clone(), why }
    }

    fn url(&self, target: &str) -> String {
        format!("{}/api/v0/{target}", self.base)
    }
}

/// Whether a status says that another try may be answered otherwise.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 502 | 503 | 504)
}

/// What a stranger said, short and on one line.
pub(crate) fn said(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(SAID_MAX).collect()
}

/// A byte as it stands in a URL.
pub(crate) fn escaped(byte: u8) -> String {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    }
}

fn unlocked(status: u16) -> &'static str {
    match status {
        401 | 403 => {
            "; what opens it is read from DAEE_KUBO_AUTH, or from the file of `--kubo-auth-file`"
        }
        _ => "",
    }
}

/// A form with one file, as browsers send them: its type, and what stands around the file.
fn multipart(roots: &[ArtifactCid]) -> (http::HeaderValue, [Bytes; 2]) {
    // A hash over what the file holds cannot stand in the file.
    let all: Vec<u8> = roots.iter().flat_map(ArtifactCid::to_bytes).collect();
    let boundary: String = sha256(all).iter().map(|byte| format!("{byte:02x}")).collect();
    let before = format!(
        "--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"package.car\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    let after = format!("\r\n--{boundary}--\r\n");
    let kind = format!("multipart/form-data; boundary={boundary}");
    let kind = http::HeaderValue::from_str(&kind).expect("hex is a header's value");
    (kind, [before.into(), after.into()])
}
