use std::{sync::Arc, time::Duration};

use daee_http::{
    BodyReader, Bytes, Client, HttpError, Limits, Lines, Response,
    http::{self, Method, StatusCode},
};
use daee_ipfs::Sent;
use daee_lifecycle::{
    ContentAnswer, ErrorBody, LOG_LINES_MAX, LifecycleError, LogLine, LogQuery, NodeInfo,
    RECORDING_PART_MAX, REQUEST_HEADER, RecordingInfo, RecordingQuery, SESSION_HEADER, Status,
    StopAnswer, UpdateAnswer,
};
use daee_types::{Address, ByteSize, Coded, DeploymentId, Domain, Fault, Sign, SignError, Word};
use serde::de::DeserializeOwned;

use crate::{Package, Parcel, Recording, sign_in::SignIn};

/// Longest line of a log in bytes, as JSON.
const LINE_MAX: ByteSize = ByteSize::mib(1);
/// Bytes of one answer with log lines that are there.
const LOGS_MAX: ByteSize = ByteSize::mib(64);
/// Bytes of one answer that is followed: after that one asks again.
const FOLLOWED_MAX: ByteSize = ByteSize::gib(1);
/// Time that a follower waits for a line before it asks again: dead connections look like quiet agents.
const FOLLOW_IDLE: Duration = Duration::from_secs(300);
/// Time a node has to start a new version, which includes fetching and compiling it.
const UPDATE_TIME: Duration = Duration::from_secs(180);

/// Time a node has to put a recording together.
const RECORD_TIME: Duration = Duration::from_secs(180);
/// Time that one part of it may take.
const PART_TIME: Duration = Duration::from_secs(120);

/// Calls one node's API. Cheap to clone.
#[derive(Clone)]
pub struct NodeClient {
    http: Client,
    base: String,
    sign_in: Option<Arc<SignIn>>,
}

/// One request to an agent.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// Its headers, beside `Host` and the length.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Bytes,
}

impl Call {
    /// A GET of a path.
    pub fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }
}

/// Why a node did not do what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// No answer.
    #[error("{node} does not answer: {error}")]
    Unreachable {
        /// Base URL.
        node: String,
        /// What happened.
        error: HttpError,
    },
    /// It says no, and why.
    #[error("{} [{}, says {node}]", .body.message, .body.code)]
    Refused {
        /// Base URL.
        node: String,
        /// The HTTP status.
        status: u16,
        /// Its reason.
        body: ErrorBody,
    },
    /// It answers, but not as a node does.
    #[error("{node} does not answer as a node does ({why}): give the base URL of a node's API")]
    Garbled {
        /// Base URL.
        node: String,
        /// What is strange.
        why: String,
    },
    /// It says that it is another than the chain says.
    #[error(
        "{node} says that it is {found}, and the registry has that URL for {expected}: do not trust it"
    )]
    Impostor {
        /// Base URL.
        node: String,
        /// Who it says it is.
        found: Address,
        /// Whose URL it is.
        expected: Address,
    },
    /// It works for another network.
    #[error(
        "{node} works on chain {} for the manager {}, not on {} for {}: check the network file",
        .found.chain_id, .found.manager, .expected.chain_id, .expected.manager
    )]
    OtherMarket {
        /// Base URL.
        node: String,
        /// Where it works.
        found: Domain,
        /// Where the caller does.
        expected: Domain,
    },
    /// It says that it keeps something else than it was given.
    #[error("{node} was given {expected} and says that it keeps {found}: publish to another node")]
    OtherContent {
        /// Base URL.
        node: String,
        /// CIDs of what it was given.
        expected: String,
        /// CIDs of what it keeps.
        found: String,
    },
    /// The wallet did not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl Coded for NodeError {
    fn code(&self) -> &'static str {
        match self {
            NodeError::Unreachable { .. } => "DAEE-U020",
            NodeError::Refused { .. } => "DAEE-U021",
            NodeError::Garbled { .. } => "DAEE-U022",
            NodeError::Impostor { .. } => "DAEE-U023",
            NodeError::OtherMarket { .. } => "DAEE-U024",
            NodeError::OtherContent { .. } => "DAEE-U025",
            NodeError::Sign(error) => error.code(),
        }
    }
    fn fault(&self) -> Fault {
        match self {
            NodeError::Unreachable { .. } => Fault::Network,
            NodeError::Refused { body, .. } => body.fault,
            NodeError::OtherMarket { .. } => Fault::Developer,
            NodeError::Sign(error) => error.fault(),
            _ => Fault::Node,
        }
    }
}

impl NodeError {
    /// Whether this node refused for this reason.
    pub fn is(&self, reason: &LifecycleError) -> bool {
        matches!(self, NodeError::Refused { body, .. } if body.code == reason.code())
    }
}

impl NodeClient {
    /// For the node at this base URL; what needs no signature can be asked.
    pub fn new(http: Client, base: &str) -> Self {
        Self { http, base: base.trim_end_matches('/').to_owned(), sign_in: None }
    }

    /// The same, speaking for a wallet. `account` is the node's operator as the chain has it: what is
    /// signed for it is of use to no other node.
    pub fn signed_in(self, wallet: Arc<dyn Sign>, domain: Domain, account: Address) -> Self {
        Self { sign_in: Some(Arc::new(SignIn::new(wallet, domain, account))), ..self }
    }

    /// Its base URL, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The node itself. After [`NodeClient::signed_in`] it must be who and where the chain says.
    pub async fn info(&self) -> Result<NodeInfo, NodeError> {
        let info: NodeInfo = self.ask("/v1/node").await?;
        if let Some(sign_in) = &self.sign_in {
            let node = self.base.clone();
            let (found, expected) = (info.domain, *sign_in.domain());
            if found != expected {
                return Err(NodeError::OtherMarket { node, found, expected });
            }
            let (found, expected) = (info.account, sign_in.node());
            if found != expected {
                return Err(NodeError::Impostor { node, found, expected });
            }
        }
        Ok(info)
    }

    /// What it holds.
    pub async fn deployments(&self) -> Result<Vec<Status>, NodeError> {
        self.ask("/v1/deployments").await
    }

    /// What it says of one deployment.
    pub async fn status(&self, id: DeploymentId) -> Result<Status, NodeError> {
        self.ask(&format!("/v1/deployments/{id}")).await
    }

    /// Lines that are there, at most [`LogQuery::lines_max`]; `follow` does not count here.
    pub async fn logs(&self, id: DeploymentId, query: LogQuery) -> Result<Vec<LogLine>, NodeError> {
        let mut stream = self.open_logs(id, LogQuery { follow: false, ..query }).await?;
        let mut lines = Vec::new();
        while let Some(line) = stream.next().await? {
            lines.push(line);
        }
        Ok(lines)
    }

    /// Lines after this one as they are written, until the node or the connection ends.
    pub async fn follow(
        &self,
        id: DeploymentId,
        after: Option<u64>,
    ) -> Result<LogStream, NodeError> {
        self.open_logs(id, LogQuery { after, limit: LOG_LINES_MAX, follow: true }).await
    }

    /// Has it put a recording together, which may take a while, and fetches that.
    pub async fn record(
        &self,
        id: DeploymentId,
        query: RecordingQuery,
    ) -> Result<Recording, NodeError> {
        let mut target = format!("/v1/deployments/{id}/recordings");
        let bounds = [("from", query.from), ("to", query.to)];
        let given = bounds.into_iter().filter_map(|(name, turn)| Some((name, turn?)));
        for (nth, (name, turn)) in given.enumerate() {
            target.push_str(&format!("{}{name}={turn}", if nth == 0 { '?' } else { '&' }));
        }
        let limits =
            Limits { total_time: RECORD_TIME, idle_time: RECORD_TIME, ..Limits::default() };
        let info: RecordingInfo = self.tell(&target, limits).await?;
        Ok(Recording::new(self.clone(), info))
    }

    /// Bytes of a recording from an offset on, as many as it gives at once.
    pub(crate) async fn recording_part(
        &self,
        id: DeploymentId,
        sha256: &Word,
        offset: u64,
    ) -> Result<Bytes, NodeError> {
        let name = hex::encode(sha256);
        let target = format!("/v1/deployments/{id}/recordings/{name}?offset={offset}");
        let request = self.signed(Method::GET, &target)?;
        let limits = Limits {
            body_bytes_max: ByteSize(RECORDING_PART_MAX.into()),
            total_time: PART_TIME,
            ..Limits::default()
        };
        Ok(self.exchange(&target, request, &limits).await?.body)
    }

    /// Has it stop the agent.
    pub async fn stop(&self, id: DeploymentId) -> Result<StopAnswer, NodeError> {
        self.tell(&format!("/v1/deployments/{id}/stop"), Limits::default()).await
    }

    /// Has it act on the version that is pending on chain, and waits for what came of it.
    pub async fn update(&self, id: DeploymentId) -> Result<UpdateAnswer, NodeError> {
        let limits =
            Limits { total_time: UPDATE_TIME, idle_time: UPDATE_TIME, ..Limits::default() };
        self.tell(&format!("/v1/deployments/{id}/update"), limits).await
    }

    /// Hands it a package, and looks at what it says it keeps now.
    pub async fn publish(&self, package: &Package) -> Result<ContentAnswer, NodeError> {
        self.hand(package.parcel(), |_| {}).await
    }

    /// The same for a package that is read while it is sent; `on` is told of each piece as it goes.
    pub async fn hand(
        &self,
        parcel: &Parcel,
        on: impl Fn(Sent) + Send + 'static,
    ) -> Result<ContentAnswer, NodeError> {
        let request = http::Request::post("/")
            .header("content-type", "application/vnd.ipld.car")
            .body(parcel.car().upload(0, [Bytes::new(), Bytes::new()], on))
            .expect("the headers are constants");
        let limits = Limits { total_time: Duration::from_secs(60), ..Limits::default() };
        let exchanged = async {
            let (head, body) = self.http.upload(&self.url("/v1/content"), request, &limits).await?;
            Ok((head.status, body.whole().await?))
        };
        let (status, body) = exchanged.await.map_err(|error| self.unreachable(error))?;
        if status != StatusCode::OK {
            return Err(self.refusal(status, &body));
        }
        let answer: ContentAnswer = self.read(&body)?;
        let expected = parcel.car().roots().map(|cid| cid.to_string());
        if answer.roots != expected {
            return Err(self.other(&expected.join(", "), &answer.roots.join(", ")));
        }
        Ok(answer)
    }

    /// Whether it serves every block of a package already. Anything but a clear yes is a no.
    pub async fn keeps(&self, parcel: &Parcel) -> Result<bool, NodeError> {
        for cid in parcel.car().roots() {
            let url = self.url(&format!("/ipfs/{cid}?format=raw"));
            let limits = Limits::default();
            let asked = self.http.send(Method::HEAD, &url, &[], Bytes::new(), &limits).await;
            let answer = asked.map_err(|error| self.unreachable(error))?;
            if answer.status != StatusCode::OK {
                return Ok(false);
            }
            let tag = answer.headers.get("etag").and_then(|tag| tag.to_str().ok());
            let found = tag.map(|tag| tag.trim_matches('"').trim_end_matches(".raw"));
            match found {
                Some(found) if found == cid.to_string() => {}
                Some(found) => return Err(self.other(&cid.to_string(), found)),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Sends a request to an agent at its endpoint; redirects are answers. An agent that only its
    /// deployer may call is called again with the wallet's word, if there is one. Names under `localhost`
    /// lead to this machine whether or not its resolver knows them.
    pub async fn call(&self, endpoint: &str, call: &Call) -> Result<Response, NodeError> {
        let base = endpoint.trim_end_matches('/');
        let target = format!("/{}", call.path.trim_start_matches('/'));
        let url = format!("{base}{target}");
        let failed = |error| NodeError::Unreachable { node: base.to_owned(), error };
        let mut headers: Vec<(&str, &str)> =
            call.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let limits = Limits { total_time: Duration::from_secs(70), ..Limits::default() };
        let send = async |headers: &[(&str, &str)]| {
            let (method, body) = (call.method.clone(), call.body.clone());
            self.http.send(method, &url, headers, body, &limits).await.map_err(failed)
        };
        let answer = send(&headers).await?;
        let Some(sign_in) = &self.sign_in else { return Ok(answer) };
        let private = serde_json::from_slice::<ErrorBody>(&answer.body)
            .is_ok_and(|body| body.code == LifecycleError::SignIn.code());
        if answer.status != StatusCode::UNAUTHORIZED || !private {
            return Ok(answer);
        }
        let [session, request] = sign_in.headers(call.method.as_str(), &target, &call.body)?;
        headers.extend([(SESSION_HEADER, session.as_str()), (REQUEST_HEADER, request.as_str())]);
        send(&headers).await
    }

    async fn open_logs(&self, id: DeploymentId, query: LogQuery) -> Result<LogStream, NodeError> {
        let mut target = format!("/v1/deployments/{id}/logs?limit={}", query.lines_max());
        if let Some(after) = query.after {
            target.push_str(&format!("&after={after}"));
        }
        if query.follow {
            target.push_str("&follow=true");
        }
        let request = self.signed(Method::GET, &target)?;
        let limits = match query.follow {
            true => {
                Limits { idle_time: FOLLOW_IDLE, body_bytes_max: FOLLOWED_MAX, ..Limits::default() }
            }
            false => Limits { body_bytes_max: LOGS_MAX, ..Limits::default() },
        };
        let opened = self.http.open(&self.url(&target), request, &limits).await;
        let (head, body) = opened.map_err(|error| self.unreachable(error))?;
        if head.status != StatusCode::OK {
            let body = whole(body).await.map_err(|error| self.unreachable(error))?;
            return Err(self.refusal(head.status, &body));
        }
        Ok(LogStream { node: self.base.clone(), lines: body.lines(LINE_MAX) })
    }

    async fn ask<T: DeserializeOwned>(&self, target: &str) -> Result<T, NodeError> {
        let request = http::Request::new(Bytes::new());
        let answer = self.exchange(target, request, &Limits::default()).await?;
        self.read(&answer.body)
    }

    async fn tell<T: DeserializeOwned>(
        &self,
        target: &str,
        limits: Limits,
    ) -> Result<T, NodeError> {
        let request = self.signed(Method::POST, target)?;
        let answer = self.exchange(target, request, &limits).await?;
        self.read(&answer.body)
    }

    /// A request without body, with the headers of the session where there is one: without them the
    /// node says what is missing.
    fn signed(&self, method: Method, target: &str) -> Result<http::Request<Bytes>, NodeError> {
        let mut request = http::Request::builder().method(&method);
        if let Some(sign_in) = &self.sign_in {
            let [session, proof] = sign_in.headers(method.as_str(), target, b"")?;
            request = request.header(SESSION_HEADER, session).header(REQUEST_HEADER, proof);
        }
        Ok(request.body(Bytes::new()).expect("JSON of hex and digits is a header's value"))
    }

    async fn exchange(
        &self,
        target: &str,
        request: http::Request<Bytes>,
        limits: &Limits,
    ) -> Result<Response, NodeError> {
        let answer = self.http.exchange(&self.url(target), request, limits).await;
        let answer = answer.map_err(|error| self.unreachable(error))?;
        if answer.status == StatusCode::OK {
            return Ok(answer);
        }
        Err(self.refusal(answer.status, &answer.body))
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, NodeError> {
        serde_json::from_slice(body).map_err(|error| self.garbled(error.to_string()))
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> NodeError {
        match serde_json::from_slice(body) {
            Ok(body) => {
                NodeError::Refused { node: self.base.clone(), status: status.as_u16(), body }
            }
            Err(_) => self.garbled(format!("status {}", status.as_u16())),
        }
    }

    fn other(&self, expected: &str, found: &str) -> NodeError {
        NodeError::OtherContent {
            node: self.base.clone(),
            expected: expected.to_owned(),
            found: found.chars().take(400).collect(),
        }
    }

    fn unreachable(&self, error: HttpError) -> NodeError {
        NodeError::Unreachable { node: self.base.clone(), error }
    }

    pub(crate) fn garbled(&self, why: String) -> NodeError {
        NodeError::Garbled { node: self.base.clone(), why }
    }

    fn url(&self, target: &str) -> String {
        format!("{}{target}", self.base)
    }
}

/// Log lines as they come.
#[derive(Debug)]
pub struct LogStream {
    node: String,
    lines: Lines,
}

impl LogStream {
    /// The next line, or `None` where the node has no more.
    pub async fn next(&mut self) -> Result<Option<LogLine>, NodeError> {
        let next = self.lines.next().await;
        next.map_err(|error| NodeError::Unreachable { node: self.node.clone(), error })
    }
}

/// An error's body, which is small.
async fn whole(mut body: BodyReader) -> Result<Bytes, HttpError> {
    let mut all = Vec::new();
    while all.len() < 64 << 10
        && let Some(piece) = body.piece().await?
    {
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}
