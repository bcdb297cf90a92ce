//! The node's HTTP face: `docs/spec/api.md`.

use std::{sync::Arc, time::Duration};

use daee_artifact::{BLOCK_BYTES_MAX, Cid, package};
use daee_chain::{Deployment, Phase as ChainPhase};
use daee_http::{
    Bytes,
    axum::{
        Router,
        body::{Body, to_bytes},
        extract::{DefaultBodyLimit, Path, Query, Request, State},
        middleware::{self, Next},
        response::Response,
        routing::{get, post, put},
    },
    error_answer,
    http::{HeaderMap, header, request::Parts},
    json_answer, ndjson_answer,
};
use daee_ipfs::{Blocks as _, gateway_routes};
use daee_lifecycle::{
    BODY_SIGNED_MAX, Caller, CheckpointInfo, ContentAnswer, Level, Lifecycle, LifecycleError,
    LogLine, LogQuery, NodeInfo, PartQuery, Phase, REQUEST_HEADER, RecordingInfo, RecordingQuery,
    SESSION_HEADER, Sandbox, SessionError, Spend, Status, StopAnswer, UpdateAnswer,
    deployment_of_host, endpoint_label,
};
use daee_runtime::RUNTIME_VERSION;
use daee_types::{ByteSize, Coded, DeploymentId, StateRoot, Word, sha256};
use tokio::time::timeout;

use crate::{
    clock, endpoint, envelope,
    host::Shared,
    peers::{CHECKPOINT_MAX, DIGEST_HEADER},
    worker::{blocking, blocking_in_turn},
};

/// How long a call that waits for the chain or the agent is held open.
const WAIT: Duration = Duration::from_secs(40);
/// How long `logs` with `follow` waits for a line before it says that there is none.
const FOLLOW_WAIT: Duration = Duration::from_secs(20);
/// Checkpoints that are taken in at a time: each is held in memory until it is on disk.
const CHECKPOINTS_AT_ONCE: usize = 2;
/// Checkpoints of one deployment that are kept; the one that is open on chain is among them.
pub(crate) const CHECKPOINTS_KEPT: usize = 4;

#[derive(Clone)]
struct Api {
    shared: Arc<Shared>,
    taking: Arc<tokio::sync::Semaphore>,
}

/// All routes: the API and the gateway for the node's own names, agents for theirs.
pub(crate) fn routes(shared: Arc<Shared>) -> Router {
    let taking = Arc::new(tokio::sync::Semaphore::new(CHECKPOINTS_AT_ONCE));
    let api = Api { shared: shared.clone(), taking };
    let checkpoint_max = usize::try_from(CHECKPOINT_MAX.0).unwrap_or(usize::MAX);
    Router::new()
        .route("/-/healthy", get(|| async { "healthy\n" }))
        .route("/-/ready", get(ready))
        .route("/v1/node", get(node))
        .route("/v1/deployments", get(deployments))
        .route("/v1/deployments/{id}", get(status))
        .route("/v1/deployments/{id}/logs", get(logs))
        .route("/v1/deployments/{id}/recordings", post(record))
        .route("/v1/deployments/{id}/recordings/{sha256}", get(recording))
        .route("/v1/deployments/{id}/stop", post(stop))
        .route("/v1/deployments/{id}/update", post(update))
        .route(
            "/v1/checkpoints/{id}/{root}",
            put(take_checkpoint).get(give_checkpoint).layer(DefaultBodyLimit::max(checkpoint_max)),
        )
        .route("/v1/content", post(take_content))
        .with_state(api)
        .merge(gateway_routes(Arc::new(shared.content.blocks().clone())))
        .layer(middleware::from_fn_with_state(shared, by_host))
}

/// An agent's name in the Host header leads to the agent, whatever the path.
async fn by_host(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let host = request
        .headers()
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .or(request.uri().authority().map(|authority| authority.as_str()));
    match host.and_then(|host| deployment_of_host(host, &shared.settings.zone)) {
        Some(id) => {
            let label = host.and_then(|host| host.split('.').next()).unwrap_or_default();
            let label = label.to_ascii_lowercase();
            endpoint::answer(&shared, id, &label, request).await
        }
        None => next.run(request).await,
    }
}

async fn ready(State(api): State<Api>) -> Response {
    if api.shared.contact() {
        return json_answer(200, &"ready");
    }
    let error = LifecycleError::Outside("the chain does not answer".to_owned());
    error_answer(503, &error)
}

async fn node(State(api): State<Api>) -> Response {
    answered(Lifecycle::node(&api).await)
}

async fn deployments(State(api): State<Api>) -> Response {
    answered(Lifecycle::deployments(&api, Caller::Anyone).await)
}

async fn status(State(api): State<Api>, Path(id): Path<u64>) -> Response {
    answered(Lifecycle::status(&api, Caller::Anyone, DeploymentId(id)).await)
}

async fn logs(
    State(api): State<Api>,
    Path(id): Path<u64>,
    Query(query): Query<LogQuery>,
    parts: Parts,
) -> Response {
    let id = DeploymentId(id);
    let caller = match caller(&api.shared, &parts, &[]) {
        Ok(caller) => caller,
        Err(error) => return error_answer(error.http_status(), &error),
    };
    let first = match Lifecycle::logs(&api, caller, id, LogQuery { follow: false, ..query }).await {
        Ok(first) => first,
        Err(error) => return error_answer(error.http_status(), &error),
    };
    if !query.follow {
        return ndjson_answer(futures_util::stream::iter(first));
    }
    // The signature was checked once, for as long as the connection stands.
    let start = Following { api, caller, id, query, after: query.after, batch: first.into_iter() };
    ndjson_answer(futures_util::stream::unfold(start, Following::next))
}

struct Following {
    api: Api,
    caller: Caller,
    id: DeploymentId,
    query: LogQuery,
    after: Option<u64>,
    batch: std::vec::IntoIter<LogLine>,
}

impl Following {
    async fn next(mut self) -> Option<(LogLine, Self)> {
        loop {
            if let Some(line) = self.batch.next() {
                self.after = Some(line.seq);
                return Some((line, self));
            }
            let query = LogQuery { after: self.after, ..self.query };
            // The stream ends when the lease does: nothing more is written here.
            let more = Lifecycle::logs(&self.api, self.caller, self.id, query).await.ok()?;
            if more.is_empty() && self.api.shared.agent(self.id).is_none() {
                return None;
            }
            self.batch = more.into_iter();
        }
    }
}

async fn record(
    State(api): State<Api>,
    Path(id): Path<u64>,
    Query(query): Query<RecordingQuery>,
    request: Request,
) -> Response {
    match signed(&api.shared, request).await {
        Ok(caller) => answered(Lifecycle::record(&api, caller, DeploymentId(id), query).await),
        Err(answer) => answer,
    }
}

async fn recording(
    State(api): State<Api>,
    Path((id, sha256)): Path<(u64, String)>,
    Query(part): Query<PartQuery>,
    parts: Parts,
) -> Response {
    let read = async {
        let caller = caller(&api.shared, &parts, &[]);
        let caller = caller.map_err(|error| error_answer(error.http_status(), &error))?;
        let name = word_of(&sha256).ok_or_else(|| {
            let error = LifecycleError::Malformed("the path holds no SHA-256".to_owned());
            error_answer(error.http_status(), &error)
        })?;
        let read = Lifecycle::recording(&api, caller, DeploymentId(id), &name, part).await;
        read.map_err(|error| error_answer(error.http_status(), &error))
    };
    read.await.map_or_else(|answer| answer, octets)
}

async fn stop(State(api): State<Api>, Path(id): Path<u64>, request: Request) -> Response {
    match signed(&api.shared, request).await {
        Ok(caller) => answered(Lifecycle::stop(&api, caller, DeploymentId(id)).await),
        Err(answer) => answer,
    }
}

async fn update(State(api): State<Api>, Path(id): Path<u64>, request: Request) -> Response {
    match signed(&api.shared, request).await {
        Ok(caller) => answered(Lifecycle::update(&api, caller, DeploymentId(id)).await),
        Err(answer) => answer,
    }
}

/// Who makes a request with a small body.
async fn signed(shared: &Shared, request: Request) -> Result<Caller, Response> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, BODY_SIGNED_MAX).await.map_err(|_| {
        let error = LifecycleError::Malformed("its body is larger than 64 KiB".to_owned());
        error_answer(error.http_status(), &error)
    })?;
    caller(shared, &parts, &body).map_err(|error| error_answer(error.http_status(), &error))
}

/// Who signed this request, if anybody did.
pub(crate) fn caller(shared: &Shared, parts: &Parts, body: &[u8]) -> Result<Caller, SessionError> {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let (session, request) = match (text(SESSION_HEADER), text(REQUEST_HEADER)) {
        (None, None) => return Ok(Caller::Anyone),
        (session, request) => (session.unwrap_or_default(), request.unwrap_or_default()),
    };
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let mut gate = shared.gate.lock().unwrap_or_else(|e| e.into_inner());
    gate.admit(clock::now(), session, request, parts.method.as_str(), target, body)
        .map(Caller::Wallet)
}

async fn take_checkpoint(
    State(api): State<Api>,
    Path((id, root)): Path<(u64, String)>,
    request: Request,
) -> Response {
    answered(api.take_checkpoint(DeploymentId(id), &root, request).await)
}

async fn give_checkpoint(
    State(api): State<Api>,
    Path((id, root)): Path<(u64, String)>,
    parts: Parts,
) -> Response {
    match api.give_checkpoint(DeploymentId(id), &root, &parts).await {
        Ok(bytes) => octets(bytes),
        Err(error) => error_answer(error.http_status(), &error),
    }
}

async fn take_content(State(api): State<Api>, request: Request) -> Response {
    match to_bytes(request.into_body(), package::PACKAGE_BYTES_MAX).await {
        Ok(body) => answered(api.take_content(body).await),
        Err(_) => {
            let max = package::PACKAGE_BYTES_MAX;
            error_answer(413, &LifecycleError::Malformed(format!("a package has at most {max} B")))
        }
    }
}

fn sandbox(shared: &Shared) -> Sandbox {
    let report = shared.runtime.sandbox();
    Sandbox {
        level: report.level,
        level_min: shared.settings.sandbox_level_min,
        missing: report.missing().map(|wall| wall.name.to_owned()).collect(),
        system_calls: report.system_calls.len().try_into().unwrap_or(u32::MAX),
    }
}

fn octets(bytes: Vec<u8>) -> Response {
    let mut answer = Response::new(Body::from(bytes));
    let kind = header::HeaderValue::from_static("application/octet-stream");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn answered<T: serde::Serialize>(result: Result<T, LifecycleError>) -> Response {
    match result {
        Ok(value) => json_answer(200, &value),
        Err(error) => error_answer(error.http_status(), &error),
    }
}

impl Api {
    /// The deployment as the chain has it now.
    async fn fresh(&self, id: DeploymentId) -> Result<Deployment, LifecycleError> {
        let read = self.shared.chain.deployment(id).await;
        let read = read.map_err(|error| LifecycleError::Outside(error.to_string()))?;
        read.ok_or(LifecycleError::Unknown(id))
    }

    async fn owned(&self, caller: Caller, id: DeploymentId) -> Result<Deployment, LifecycleError> {
        let Caller::Wallet(wallet) = caller else { return Err(LifecycleError::SignIn) };
        let deployment = match self.shared.known(id) {
            Some(known) => known,
            None => self.fresh(id).await?,
        };
        match deployment.owner == wallet {
            true => Ok(deployment),
            false => Err(LifecycleError::NotOwner { wallet, deployment: id }),
        }
    }

    /// Refuses what another node has to answer.
    fn here(&self, deployment: &Deployment) -> Result<(), LifecycleError> {
        let live = matches!(deployment.phase, ChainPhase::Leased | ChainPhase::Closing);
        if live && deployment.lease.node != self.shared.operator {
            let node = self.shared.peers.endpoint_of(deployment.lease.node);
            return Err(LifecycleError::Elsewhere { deployment: deployment.id, node });
        }
        Ok(())
    }

    async fn status_of(&self, deployment: &Deployment) -> Status {
        let shared = &self.shared;
        let id = deployment.id;
        let agent = shared.agent(id);
        let marks = match &agent {
            Some(agent) => agent.look_soon().await.map(|standing| standing.head.marks),
            None => shared.sealed(id).map(|sealed| sealed.marks),
        };
        let face = agent.as_ref().map(|agent| agent.face());
        let live = matches!(deployment.phase, ChainPhase::Leased | ChainPhase::Closing);
        let trouble = face.as_ref().and_then(|face| face.trouble.clone());
        let reason = shared.reason(id).or(trouble);
        let exhausted = deployment.lease.exit == 3;
        let phase = match deployment.phase {
            ChainPhase::Bidding => Phase::Bidding,
            ChainPhase::Leased if agent.is_some() => Phase::Running,
            ChainPhase::Leased if reason.is_some() => Phase::Error,
            ChainPhase::Leased => Phase::Starting,
            ChainPhase::Closing if exhausted => Phase::Exhausted,
            ChainPhase::Closing => Phase::Stopping,
            ChainPhase::Closed if exhausted => Phase::Exhausted,
            ChainPhase::Closed => Phase::Stopped,
        };
        let opened = (!deployment.state_root.is_zero()).then_some(CheckpointInfo {
            seq: deployment.lease.seq,
            time: deployment.last_anchor,
            state_root: deployment.state_root,
            opened: true,
        });
        let version = face.as_ref().map_or(deployment.version.number, |face| face.version.number);
        let artifact =
            face.as_ref().map_or(deployment.version.artifact_hash, |face| face.version.artifact);
        let agent_id = face
            .as_ref()
            .map_or(deployment.agent_id.clone(), |face| face.manifest.agent_id().to_string());
        Status {
            deployment: id,
            phase,
            reason,
            version,
            artifact_hash: artifact,
            epoch: live.then_some(deployment.lease.epoch),
            node: live.then_some(deployment.lease.node),
            endpoint: live.then(|| self.endpoint(deployment)),
            turn: marks.map_or(0, |marks| marks.turn),
            state_root: marks.map_or(deployment.state_root, |marks| marks.state_root),
            last_checkpoint: opened,
            resources: deployment.terms.resources,
            fuel: marks.map_or(0, |marks| marks.fuel),
            spend: Spend {
                paid: deployment.paid,
                balance: deployment.balance,
                rate: deployment.lease.rate,
            },
            restarts: face.map_or(0, |face| face.restarts),
            agent_id,
        }
    }

    fn endpoint(&self, deployment: &Deployment) -> String {
        let name = deployment.agent_id.split('@').next().unwrap_or_default();
        let label = endpoint_label(name, deployment.id);
        format!("http://{label}.{}:{}/", self.shared.settings.zone, self.shared.port)
    }

    /// Waits until `ready` finds what it looks for, or gives up.
    async fn wait<T, F: Future<Output = Option<T>> + Send>(
        &self,
        ready: impl Fn() -> F + Send,
    ) -> Option<T> {
        let mut changed = self.shared.changed.subscribe();
        timeout(WAIT, async {
            loop {
                if let Some(found) = ready().await {
                    return found;
                }
                // Whatever changes without a word is noticed a little later.
                let _ = timeout(Duration::from_millis(250), changed.changed()).await;
            }
        })
        .await
        .ok()
    }

    /// A node that asks must be one that the registry knows.
    async fn node_of(&self, parts: &Parts, digest: &[u8]) -> Result<Caller, LifecycleError> {
        let caller = caller(&self.shared, parts, digest)
            .map_err(|error| LifecycleError::Malformed(error.to_string()))?;
        let Caller::Wallet(wallet) = caller else { return Err(LifecycleError::SignIn) };
        let known = self.shared.peers.others().iter().any(|node| node.operator == wallet);
        if known {
            return Ok(caller);
        }
        let read = self.shared.chain.node(wallet).await;
        match read.map_err(|error| LifecycleError::Outside(error.to_string()))? {
            Some(_) => Ok(caller),
            None => Err(LifecycleError::Malformed(format!("{wallet} is no registered node"))),
        }
    }

    /// Takes a checkpoint from the node that holds the lease, and from nobody else.
    async fn take_checkpoint(
        &self,
        id: DeploymentId,
        root: &str,
        request: Request,
    ) -> Result<CheckpointInfo, LifecycleError> {
        let malformed = |why: &str| LifecycleError::Malformed(why.to_owned());
        let root: StateRoot =
            root.parse().map_err(|_| malformed("the path holds no state root"))?;
        let (parts, body) = request.into_parts();
        let digest = digest_of(&parts.headers).ok_or_else(|| malformed("no digest of the body"))?;
        let Caller::Wallet(sender) = self.node_of(&parts, &digest).await? else {
            return Err(LifecycleError::SignIn);
        };
        let deployment = self.fresh(id).await?;
        if deployment.lease.node != sender || deployment.phase == ChainPhase::Bidding {
            return Err(LifecycleError::NotNow(format!(
                "{sender} does not hold the lease of {id}"
            )));
        }
        // What a state may weigh is bounded by what the tenant pays for, and by its quota.
        let max = deployment.terms.resources.memory.0.saturating_add(ByteSize::mib(384).0);
        let max = usize::try_from(max.min(CHECKPOINT_MAX.0)).unwrap_or(usize::MAX);
        let turn = self.taking.clone().acquire_owned().await;
        let turn = turn.map_err(|error| LifecycleError::Node(error.to_string()))?;
        let body = to_bytes(body, max).await.map_err(|_| malformed("it is too large"))?;
        if sha256(&body) != digest {
            return Err(malformed("the body is not what was signed"));
        }
        let (store, opened) = (self.shared.store.clone(), deployment.state_root);
        let kept = blocking_in_turn(turn, move || {
            let read = envelope::read(&body).map_err(|error| error.to_string())?;
            if read.1.state.root() != root {
                return Err("the state does not have this root".to_owned());
            }
            let kept = store.put_checkpoint(id, &root, &body);
            kept.map_err(|error| error.to_string())?;
            prune(&store, id, &opened);
            Ok(())
        })
        .await
        .map_err(LifecycleError::Node)?;
        kept.map_err(LifecycleError::Node)?;
        Ok(CheckpointInfo { seq: 0, time: clock::now(), state_root: root, opened: false })
    }

    async fn give_checkpoint(
        &self,
        id: DeploymentId,
        root: &str,
        parts: &Parts,
    ) -> Result<Vec<u8>, LifecycleError> {
        let root: StateRoot = root
            .parse()
            .map_err(|_| LifecycleError::Malformed("the path holds no state root".to_owned()))?;
        self.node_of(parts, &sha256([])).await?;
        let store = self.shared.store.clone();
        let kept = blocking(move || store.checkpoint(id, &root)).await;
        let kept = kept.map_err(LifecycleError::Node)?;
        kept.map_err(|error| LifecycleError::Node(error.to_string()))?.ok_or_else(|| {
            LifecycleError::NotNow(format!("the state {root} of {id} is not kept here"))
        })
    }

    async fn take_content(&self, body: Bytes) -> Result<ContentAnswer, LifecycleError> {
        let package = package::read(&body)
            .map_err(|error| LifecycleError::Malformed(format!("{} {error}", error.code())))?;
        let hash = daee_types::ArtifactHash::new(package.artifact_cid.digest());
        let artifact = package.artifact.verify(&hash);
        let artifact = artifact.map_err(|error| LifecycleError::Malformed(error.to_string()))?;
        let blocks = self.shared.content.blocks().clone();
        let parts = [artifact.bytes().to_vec(), package.body, package.yaml];
        let kept = blocking(move || {
            let mut roots = Vec::new();
            for part in parts {
                debug_assert!(part.len() <= BLOCK_BYTES_MAX);
                let cid = Cid::of(&part);
                let known = blocks.has(&cid).map_err(|error| error.to_string())?;
                if !known && !blocks.admit(part.len() as u64) {
                    return Err("this node takes no more content: raise `content_max`".to_owned());
                }
                if !known {
                    blocks.put(&cid, &part).map_err(|error| error.to_string())?;
                }
                roots.push(cid.to_string());
            }
            Ok(roots)
        })
        .await
        .map_err(LifecycleError::Node)?;
        let roots = kept.map_err(LifecycleError::Node)?;
        Ok(ContentAnswer { blocks: roots.len() as u32, roots })
    }
}

impl Lifecycle for Api {
    async fn node(&self) -> Result<NodeInfo, LifecycleError> {
        let shared = &self.shared;
        Ok(NodeInfo {
            account: shared.operator,
            domain: shared.chain.domain(),
            software: env!("CARGO_PKG_VERSION").to_owned(),
            runtime_version: RUNTIME_VERSION,
            zone: shared.settings.zone.clone(),
            capacity: shared.capacity,
            free: shared.free(),
            leases: shared.held().len().try_into().unwrap_or(u32::MAX),
            sandbox: sandbox(shared),
        })
    }

    async fn deployments(&self, _caller: Caller) -> Result<Vec<Status>, LifecycleError> {
        let mut all = Vec::new();
        for deployment in self.shared.held() {
            all.push(self.status_of(&deployment).await);
        }
        Ok(all)
    }

    async fn status(
        &self,
        _caller: Caller,
        deployment: DeploymentId,
    ) -> Result<Status, LifecycleError> {
        let read = self.fresh(deployment).await?;
        self.here(&read)?;
        Ok(self.status_of(&read).await)
    }

    async fn logs(
        &self,
        caller: Caller,
        deployment: DeploymentId,
        query: LogQuery,
    ) -> Result<Vec<LogLine>, LifecycleError> {
        let known = self.owned(caller, deployment).await?;
        let node = |error: String| LifecycleError::Node(error);
        let agent = self.shared.agent(deployment);
        let Some(agent) = agent else {
            self.here(&known)?;
            return self.kept_logs(&known, query).await;
        };
        let mut written = agent.written.clone();
        written.mark_unchanged();
        let limit = query.lines_max() as usize;
        let read = |logs: daee_store::LogReader| async move {
            blocking(move || logs.lines(query.after, limit)).await
        };
        let mut lines = read(agent.logs.clone()).await.map_err(node)?;
        if lines.as_ref().is_ok_and(Vec::is_empty) && query.follow {
            // Nothing within the time, or the agent's end: the caller asks again.
            let _ = timeout(FOLLOW_WAIT, written.changed()).await;
            lines = read(agent.logs).await.map_err(node)?;
        }
        let lines = lines.map_err(|error| LifecycleError::Node(error.to_string()))?;
        Ok(lines.into_iter().map(shown).collect())
    }

    async fn record(
        &self,
        caller: Caller,
        deployment: DeploymentId,
        query: RecordingQuery,
    ) -> Result<RecordingInfo, LifecycleError> {
        let known = self.owned(caller, deployment).await?;
        if self.shared.agent(deployment).is_none() {
            self.here(&known)?;
        }
        self.shared.recordings.make(&self.shared, deployment, query).await
    }

    async fn recording(
        &self,
        caller: Caller,
        deployment: DeploymentId,
        sha256: &Word,
        part: PartQuery,
    ) -> Result<Vec<u8>, LifecycleError> {
        self.owned(caller, deployment).await?;
        self.shared.recordings.part(deployment, sha256, part.offset).await
    }

    async fn stop(
        &self,
        caller: Caller,
        deployment: DeploymentId,
    ) -> Result<StopAnswer, LifecycleError> {
        self.owned(caller, deployment).await?;
        let now = self.fresh(deployment).await?;
        self.here(&now)?;
        if now.phase == ChainPhase::Leased || now.phase == ChainPhase::Bidding {
            return Err(LifecycleError::NotNow(
                "the money stops on chain: `daee-deploy stop` does that first, and then this"
                    .into(),
            ));
        }
        let epoch = now.lease.epoch;
        let over = self
            .wait(|| async {
                let now = self.fresh(deployment).await.ok()?;
                let over = now.phase == ChainPhase::Closed || now.lease.epoch != epoch;
                (over || now.lease.final_open).then_some(now)
            })
            .await;
        let checkpoint = over.as_ref().map(|now| CheckpointInfo {
            seq: now.lease.seq,
            time: now.last_anchor,
            state_root: now.state_root,
            opened: true,
        });
        let phase = match over {
            Some(_) => Phase::Stopped,
            None => Phase::Stopping,
        };
        Ok(StopAnswer { phase, checkpoint })
    }

    async fn update(
        &self,
        caller: Caller,
        deployment: DeploymentId,
    ) -> Result<UpdateAnswer, LifecycleError> {
        self.owned(caller, deployment).await?;
        let now = self.fresh(deployment).await?;
        self.here(&now)?;
        let wanted = match &now.pending {
            Some(pending) => pending.number,
            None => {
                // Taken already, perhaps before the caller could ask.
                let tried = self.shared.upgrade(deployment);
                return match tried.filter(|(number, _)| *number == now.version.number) {
                    Some((version, Ok(()))) => {
                        Ok(UpdateAnswer { switched: true, version, reason: None })
                    }
                    _ => Err(LifecycleError::NotNow(
                        "no new version is pending on chain: `daee-deploy update` proposes one"
                            .into(),
                    )),
                };
            }
        };
        let tried = self
            .wait(async || self.shared.upgrade(deployment).filter(|(number, _)| *number == wanted))
            .await;
        let old = now.version.number;
        Ok(match tried {
            Some((version, Ok(()))) => UpdateAnswer { switched: true, version, reason: None },
            Some((_, Err(reason))) => {
                UpdateAnswer { switched: false, version: old, reason: Some(reason) }
            }
            None => {
                let why = format!("version {wanted} was not tried yet: ask again");
                return Err(LifecycleError::Outside(why));
            }
        })
    }
}

impl Api {
    /// The log of a lease that this node held last.
    async fn kept_logs(
        &self,
        deployment: &Deployment,
        query: LogQuery,
    ) -> Result<Vec<LogLine>, LifecycleError> {
        let (id, store) = (deployment.id, self.shared.store.clone());
        let limit = query.lines_max() as usize;
        let lines = blocking(move || {
            let Some(dir) = store.newest_agent_dir(id)? else { return Ok(None) };
            daee_store::LogReader::open(&dir)?.lines(query.after, limit).map(Some)
        });
        let lines: Result<_, daee_store::StoreError> = lines.await.map_err(LifecycleError::Node)?;
        let lines = lines.map_err(|error| LifecycleError::Node(error.to_string()))?;
        let lines = lines.ok_or(LifecycleError::Elsewhere { deployment: id, node: None })?;
        Ok(lines.into_iter().map(shown).collect())
    }
}

/// Keeps the newest checkpoints, and always the one that is open on chain.
pub(crate) fn prune(store: &daee_store::Store, id: DeploymentId, opened: &StateRoot) {
    if let Err(error) = store.keep_checkpoints(id, CHECKPOINTS_KEPT, opened) {
        tracing::warn!(deployment = %id, %error, "old checkpoints are still there");
    }
}

fn digest_of(headers: &HeaderMap) -> Option<[u8; 32]> {
    word_of(headers.get(DIGEST_HEADER)?.to_str().ok()?)
}

/// 64 hex digits.
fn word_of(text: &str) -> Option<Word> {
    let mut digest = [0; 32];
    let pairs = text.as_bytes().chunks_exact(2);
    if text.len() != 64 {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(digest)
}

fn shown(line: daee_transcript::LogLine) -> LogLine {
    LogLine {
        seq: line.seq,
        ms: line.at,
        turn: line.turn,
        level: match line.level {
            daee_transcript::Level::Debug => Level::Debug,
            daee_transcript::Level::Info => Level::Info,
            daee_transcript::Level::Warn => Level::Warn,
            daee_transcript::Level::Error => Level::Error,
        },
        hash: line.hash(),
        text: line.text,
    }
}
