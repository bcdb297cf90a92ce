//! A node's API with the real gate before it, which says what a test wants it to say.

#![allow(dead_code, reason = "each test file uses its part of the kit")]

pub mod kubo;

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use daee_artifact::{Cid, package};
use daee_client::{NetworkFile, Package, Windows};
use daee_http::{
    Bytes, Client, Limits, Roots, Server, ServerLimits,
    axum::{
        Router,
        extract::{Path, Request, State},
        response::{IntoResponse as _, Response},
        routing::{get, post},
    },
    bind, error_answer, forward, json_answer, ndjson_answer,
};
use daee_lifecycle::{
    ContentAnswer, Gate, Level, LifecycleError, LogLine, NodeInfo, Phase, REQUEST_HEADER,
    RecordingInfo, SESSION_HEADER, Sandbox, Spend, Status, UpdateAnswer,
};
use daee_signer::recover;
use daee_testkit::TestChain;
use daee_types::{
    Address, ArtifactHash, ByteSize, DeploymentId, Domain, EpochId, ManifestHash, MilliCpu,
    Resources, StateRoot, Timestamp, sha256,
};
use futures_util::stream;

pub const CAPACITY: Resources = Resources { cpu: MilliCpu(1000), memory: ByteSize::gib(1), gpu: 0 };

/// How a node takes a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Honestly,
    /// Says that it keeps something else.
    Other,
    /// Answers with a status and no reason.
    Fails,
}

/// A recording as the node gives it.
pub struct Recorded {
    /// What it says that it has.
    pub info: RecordingInfo,
    /// What it has.
    pub bytes: Vec<u8>,
    /// So many questions for a part it does not answer well.
    pub fails: u32,
    /// Each part that was asked for.
    pub asked: Vec<u64>,
}

impl Recorded {
    /// Bytes of one part.
    pub const PART: usize = 100;

    fn new() -> Self {
        let bytes: Vec<u8> = (0..250).collect();
        let info = RecordingInfo {
            deployment: DeploymentId(1),
            epoch: EpochId::new([3; 32]),
            version: 1,
            artifact_hash: ArtifactHash::ZERO,
            manifest_hash: ManifestHash::ZERO,
            runtime_version: 1,
            from: 1,
            to: 9,
            state_root: StateRoot::ZERO,
            bytes: bytes.len() as u64,
            sha256: sha256(&bytes),
        };
        Self { info, bytes, fails: 0, asked: Vec::new() }
    }
}

/// What the node says.
pub struct Words {
    pub info: NodeInfo,
    pub status: Result<Status, LifecycleError>,
    pub update: Result<UpdateAnswer, LifecycleError>,
    pub takes: Takes,
    pub lines: Vec<LogLine>,
    pub recording: Recorded,
    /// CIDs of blocks that it serves.
    pub kept: Vec<String>,
    /// Wallets that signed, in order.
    pub callers: Vec<Address>,
    gate: Gate,
}

pub struct TestNode {
    server: Server,
    words: Arc<Mutex<Words>>,
}

impl TestNode {
    /// One with this account, on this market.
    pub async fn start(account: Address, domain: Domain) -> Self {
        let words = Words {
            info: NodeInfo {
                account,
                domain,
                software: "0.1.0".to_owned(),
                runtime_version: 1,
                zone: "localhost".to_owned(),
                capacity: CAPACITY,
                free: CAPACITY,
                leases: 0,
                sandbox: Sandbox { level: 3, level_min: 3, missing: Vec::new(), system_calls: 16 },
            },
            status: Err(LifecycleError::Unknown(DeploymentId(1))),
            update: Err(LifecycleError::NotNow("nothing is pending".to_owned())),
            takes: Takes::Honestly,
            lines: (0..5).map(line).collect(),
            recording: Recorded::new(),
            kept: Vec::new(),
            callers: Vec::new(),
            gate: Gate::new(domain, account, recover),
        };
        let words = Arc::new(Mutex::new(words));
        let routes = Router::new()
            .route("/v1/node", get(node))
            .route("/v1/content", post(content))
            .route("/ipfs/{cid}", get(block))
            .route("/v1/deployments/{id}", get(status))
            .route("/v1/deployments/{id}/logs", get(logs))
            .route("/v1/deployments/{id}/update", post(update))
            .route("/v1/deployments/{id}/recordings", post(record))
            .route("/v1/deployments/{id}/recordings/{sha256}", get(recording))
            .route("/private", get(private))
            .route("/host", get(host))
            .with_state(words.clone());
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { server: Server::start(listener, routes, ServerLimits::default()), words }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    pub fn port(&self) -> u16 {
        self.server.address().port()
    }

    pub fn say<T>(&self, change: impl FnOnce(&mut Words) -> T) -> T {
        change(&mut self.words.lock().unwrap())
    }

    pub async fn stop(self) {
        self.server.stop().await;
    }
}

/// A way to a chain that can be cut.
pub struct Line {
    server: Server,
    cut: Arc<AtomicBool>,
}

impl Line {
    pub async fn to(chain: &TestChain) -> Self {
        let cut = Arc::new(AtomicBool::new(false));
        let (client, base) = (Client::new(&Roots::none()).unwrap(), chain.url());
        let is_cut = cut.clone();
        let routes = Router::new().fallback(move |request: Request| async move {
            if is_cut.load(Ordering::SeqCst) {
                return json_answer(503, &"cut");
            }
            forward(&client, &base, request, ByteSize::mib(4), &Limits::default()).await
        });
        let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        Self { server: Server::start(listener, routes, ServerLimits::default()), cut }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    pub fn cut(&self, cut: bool) {
        self.cut.store(cut, Ordering::SeqCst);
    }
}

/// A network's file for a chain and nodes that take content.
pub fn network(chain: &TestChain, gateways: Vec<String>) -> NetworkFile {
    NetworkFile {
        rpc: vec![chain.url()],
        contracts: chain.contracts(),
        gateways,
        zone: "localhost".to_owned(),
        gateway_port: Some(8080),
        windows: Windows { bid: 60, start: 600, interval: 10, grace: 10, open: 20 },
    }
}

/// A package whose module differs by a number.
pub fn package(version: u8) -> Package {
    let folder = daee_testkit::folder();
    let module = format!(
        r#"(module (memory (export "memory") 1)
            (func (export "daee_turn") (result i32) (i32.const {version})))"#
    );
    fs::write(folder.path().join("a.wasm"), wat::parse_str(module).unwrap()).unwrap();
    let yaml = format!(
        "agent_id: \"acme.agent@v1.0.{version}\"\nresources:\n  cpu: \"100m\"\n  memory: \
         \"64MiB\"\nentry_point: \"a.wasm\"\nartifact_hash: \"\"\n"
    );
    fs::write(folder.path().join("agent.yaml"), yaml).unwrap();
    Package::pack(folder.path(), None).unwrap().package
}

/// What a node says of a deployment in some phase.
pub fn standing(id: DeploymentId, phase: Phase, reason: Option<&str>) -> Status {
    Status {
        deployment: id,
        agent_id: "acme.agent@v1.0.1".to_owned(),
        phase,
        reason: reason.map(str::to_owned),
        version: 1,
        artifact_hash: *package(1).artifact().hash(),
        epoch: None,
        node: None,
        endpoint: None,
        turn: 3,
        state_root: StateRoot::ZERO,
        last_checkpoint: None,
        resources: CAPACITY,
        fuel: 0,
        spend: Spend::default(),
        restarts: 0,
    }
}

pub fn line(seq: u64) -> LogLine {
    let text = format!("line {seq}");
    LogLine { seq, ms: Timestamp(seq), turn: seq, level: Level::Info, text, hash: [0; 32] }
}

type Shared = State<Arc<Mutex<Words>>>;

async fn node(State(words): Shared) -> Response {
    json_answer(200, &words.lock().unwrap().info)
}

async fn content(State(words): Shared, body: Bytes) -> Response {
    let mut words = words.lock().unwrap();
    let takes = words.takes;
    let Ok(read) = package::read(&body) else { return json_answer(400, &"no package") };
    let mut roots = vec![
        read.artifact_cid.to_string(),
        Cid::of(&read.body).to_string(),
        Cid::of(&read.yaml).to_string(),
    ];
    match takes {
        Takes::Honestly => words.kept.extend(roots.iter().cloned()),
        Takes::Other => roots[0] = Cid::of(b"something else").to_string(),
        Takes::Fails => return json_answer(502, &"no reason"),
    }
    json_answer(200, &ContentAnswer { roots, blocks: 3 })
}

async fn block(State(words): Shared, Path(cid): Path<String>) -> Response {
    match words.lock().unwrap().kept.contains(&cid) {
        true => ([("etag", format!("\"{cid}.raw\""))], "the block").into_response(),
        false => json_answer(404, &"not here"),
    }
}

async fn status(State(words): Shared, Path(_): Path<u64>) -> Response {
    match &words.lock().unwrap().status {
        Ok(status) => json_answer(200, status),
        Err(error) => error_answer(error.http_status(), error),
    }
}

async fn update(State(words): Shared, request: Request) -> Response {
    let mut words = words.lock().unwrap();
    if let Err(refusal) = admit(&mut words, &request) {
        return *refusal;
    }
    match &words.update {
        Ok(answer) => json_answer(200, answer),
        Err(error) => error_answer(error.http_status(), error),
    }
}

async fn record(State(words): Shared, request: Request) -> Response {
    let mut words = words.lock().unwrap();
    match admit(&mut words, &request) {
        Ok(_) => json_answer(200, &words.recording.info),
        Err(refusal) => *refusal,
    }
}

async fn recording(State(words): Shared, request: Request) -> Response {
    let mut words = words.lock().unwrap();
    if let Err(refusal) = admit(&mut words, &request) {
        return *refusal;
    }
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let recording = &mut words.recording;
    let name: String = recording.info.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    assert!(path.ends_with(&name), "{path}");
    let offset: u64 = query.strip_prefix("offset=").unwrap().parse().unwrap();
    recording.asked.push(offset);
    if recording.fails > 0 {
        recording.fails -= 1;
        let error = LifecycleError::Outside("the disk is busy".to_owned());
        return error_answer(error.http_status(), &error);
    }
    let left = recording.bytes.get(offset as usize..).unwrap_or_default();
    left[..left.len().min(Recorded::PART)].to_vec().into_response()
}

async fn logs(State(words): Shared, request: Request) -> Response {
    let mut words = words.lock().unwrap();
    if let Err(refusal) = admit(&mut words, &request) {
        return *refusal;
    }
    let query = request.uri().query().unwrap_or_default().to_owned();
    let number = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse::<u64>().ok())
    };
    let after = number("after");
    let limit = number("limit").unwrap_or(100) as usize;
    let lines = words.lines.iter().filter(|line| after.is_none_or(|after| line.seq > after));
    ndjson_answer(stream::iter(lines.take(limit).cloned().collect::<Vec<_>>()))
}

/// An agent that only its deployer may call.
async fn private(State(words): Shared, request: Request) -> Response {
    match admit(&mut words.lock().unwrap(), &request) {
        Ok(caller) => caller.to_string().into_response(),
        Err(refusal) => *refusal,
    }
}

/// Which host was asked for.
async fn host(request: Request) -> Response {
    let host = request.headers().get("host").map(|host| host.as_bytes().to_vec());
    host.unwrap_or_default().into_response()
}

/// The gate of the real thing.
fn admit(words: &mut Words, request: &Request) -> Result<Address, Box<Response>> {
    let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
    let (Some(session), Some(proof)) = (header(SESSION_HEADER), header(REQUEST_HEADER)) else {
        let error = LifecycleError::SignIn;
        return Err(Box::new(error_answer(error.http_status(), &error)));
    };
    let target = request.uri().path_and_query().unwrap().as_str();
    let method = request.method().as_str();
    let caller = words.gate.admit(now(), session, proof, method, target, b"");
    let caller = caller.map_err(|error| Box::new(error_answer(error.http_status(), &error)))?;
    words.callers.push(caller);
    Ok(caller)
}

#[expect(clippy::disallowed_methods, reason = "the other side of a signed request has a clock")]
fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(since.as_millis() as u64)
}
