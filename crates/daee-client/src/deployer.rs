use std::{sync::Arc, time::Duration, vec};

use daee_chain::{Account, ChainError, Deployment, Mined, Phase};
use daee_lifecycle::{LOG_LINES_MAX, LifecycleError, LogLine, LogQuery, RecordingQuery};
use daee_types::{Address, Coded as _, DeploymentId, Fault, Sign, Timestamp, TokenAmount};
use futures_util::future::join_all;
use tokio::time::{sleep, timeout};

use crate::{
    ClientError, LogStream, Market, NodeClient, NodeError, Offer, Package, Recording, Stage,
    Stopped, Updated, WaitError,
    market::is_behind,
    watch::{LOOK_EVERY, Watch},
};

/// Looks at what could be finished before the owner finishes it himself: its node means to.
const PATIENCE_LOOKS: u32 = 8;
/// Nodes that are asked for the log of a lease that is over.
const KEEPERS_MAX: usize = 32;
/// Time between two tries to reach a node for its log.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// A wallet on a network: deploys, pays, and manages what it deployed. Cheap to clone.
#[derive(Clone)]
pub struct Deployer {
    market: Market,
    wallet: Arc<dyn Sign>,
    account: Account,
}

/// How long one looks for what became of a transaction, or waits for a chain that is away.
const FATE_WITHIN: Duration = Duration::from_secs(60);

/// A deployment that was paid for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deployed {
    /// Its number.
    pub id: DeploymentId,
    /// The transaction.
    pub mined: Mined,
}

/// A stop that is on chain.
#[derive(Clone, Debug)]
pub struct Stopping {
    /// The transaction; `None` if the deployment was ending already.
    pub mined: Option<Mined>,
    /// As it was before.
    pub before: Deployment,
}

/// A new version that is on chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// Its number.
    pub version: u32,
    /// The transaction.
    pub mined: Mined,
}

impl Deployer {
    pub(crate) fn new(market: Market, wallet: Arc<dyn Sign>) -> Self {
        let account = market.chain().account(wallet.clone());
        Self { market, wallet, account }
    }

    /// The network.
    pub fn market(&self) -> &Market {
        &self.market
    }

    /// The wallet's account.
    pub fn address(&self) -> Address {
        self.wallet.address()
    }

    /// Its account on the chain, for transactions that have no method here.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// Whether the offer reaches the minimum, and the wallet the offer.
    pub async fn afford(&self, package: &Package, offer: &Offer) -> Result<(), ClientError> {
        let payment = offer.payment;
        let minimum = self.market.chain().minimum_payment(&offer.terms(package)).await?;
        if payment < minimum {
            return Err(ClientError::PaymentBelowMinimum { payment, minimum });
        }
        self.can_pay(payment).await
    }

    /// Pays for a package that was published, so that nodes may bid. [`Deployer::afford`] is asked
    /// first, so that a mistake costs no gas.
    pub async fn deploy(&self, package: &Package, offer: &Offer) -> Result<Deployed, ClientError> {
        self.afford(package, offer).await?;
        let (terms, payment) = (offer.terms(package), offer.payment);
        let [cid, ..] = package.cids();
        let agent_id = package.manifest().agent_id().to_string();
        let (artifact, body) = (*package.artifact().hash(), package.body_hash());
        let cid = cid.to_bytes();
        let sent = surely(|| self.account.deploy(&agent_id, &cid, artifact, body, &terms, payment));
        let (id, mined) = sent.await?;
        Ok(Deployed { id, mined })
    }

    /// Adds money; anybody may.
    pub async fn top_up(
        &self,
        id: DeploymentId,
        amount: TokenAmount,
    ) -> Result<Mined, ClientError> {
        self.market.deployment(id).await?;
        self.can_pay(amount).await?;
        Ok(surely(|| self.account.top_up(id, amount)).await?)
    }

    /// Takes out what is owed to the wallet: refunds, and pay if it runs nodes. To itself unless said
    /// otherwise.
    pub async fn withdraw(&self, to: Option<Address>) -> Result<(TokenAmount, Mined), ClientError> {
        let owed = self.market.chain().claimable(self.address()).await?;
        if owed == TokenAmount::ZERO {
            return Err(ClientError::NothingOwed(self.address()));
        }
        let to = to.unwrap_or_else(|| self.address());
        let mined = surely(|| self.account.withdraw(to)).await?;
        Ok((owed, mined))
    }

    /// Ends a deployment on chain: nothing that comes after is paid. One that is ending already is left
    /// to end.
    pub async fn stop(&self, id: DeploymentId) -> Result<Stopping, ClientError> {
        let before = self.own(id).await?;
        let mined = match before.phase {
            Phase::Bidding | Phase::Leased => Some(surely(|| self.account.stop(id)).await?),
            Phase::Closing | Phase::Closed => None,
        };
        Ok(Stopping { mined, before })
    }

    /// Waits for the final checkpoint and the refund. If nobody finishes what can be finished, this
    /// wallet does.
    pub async fn wait_stopped(
        &self,
        stopping: &Stopping,
        bound: Duration,
        on: &mut (dyn FnMut(&Stage) + Send),
    ) -> Result<Stopped, WaitError> {
        let mut watch = Watch::new(stopping.before.id, bound, on);
        let stopped = async {
            let mut seen = Seen::default();
            loop {
                let looked = self.look_stopped(stopping, &mut seen, &mut watch).await;
                if let Some(stopped) = watch.judge(looked)? {
                    return Ok(stopped);
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let ended = timeout(bound, stopped).await;
        ended.unwrap_or_else(|_| Err(watch.over()))
    }

    async fn look_stopped(
        &self,
        stopping: &Stopping,
        seen: &mut Seen,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Stopped>, WaitError> {
        let before = &stopping.before;
        let now = self.market.deployment(before.id).await?;
        match now.phase {
            Phase::Closed => {
                // Closing pays nodes first; the rest of what was there is the owner's.
                let held = before.balance.0.saturating_add(before.paid.0);
                return Ok(Some(Stopped {
                    deployment: before.id,
                    paid: now.paid,
                    refunded: TokenAmount(held.saturating_sub(now.paid.0)),
                    state_root: now.state_root,
                    final_checkpoint: seen.final_checkpoint || closed_early(stopping, &now),
                }));
            }
            Phase::Closing => {
                seen.final_checkpoint |= now.lease.final_open;
                watch.tell(Stage::Closing { final_open: now.lease.final_open, until: until(&now) });
                self.finish(&now, seen).await?;
            }
            // An endpoint that is behind does not know of the stop yet.
            Phase::Bidding | Phase::Leased => {}
        }
        Ok(None)
    }

    /// Finishes what anybody may finish, if others had the time to and did not.
    async fn finish(&self, now: &Deployment, seen: &mut Seen) -> Result<(), ClientError> {
        if !can_finish(now) {
            return Ok(());
        }
        seen.unfinished_looks += 1;
        if seen.unfinished_looks < PATIENCE_LOOKS {
            return Ok(());
        }
        seen.unfinished_looks = 0;
        match self.account.finish(now.id).await {
            // Somebody else did, or the chain says that it is too early.
            Err(error) if !error.is_revert() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Whether a package is a new version of what runs, and the wallet may move it there.
    pub async fn may_update(&self, id: DeploymentId, package: &Package) -> Result<(), ClientError> {
        let before = self.own(id).await?;
        let runs = before.agent_id.split('@').next().unwrap_or_default().to_owned();
        let name = package.manifest().agent_id().name();
        if runs != name {
            return Err(ClientError::OtherAgent { id, runs, package: name.to_owned() });
        }
        let (artifact, body) = (*package.artifact().hash(), package.body_hash());
        if before.version.artifact_hash == artifact && before.version.body_hash == body {
            return Err(ClientError::SameArtifact(id));
        }
        Ok(())
    }

    /// Puts a new version of an agent on chain, if [`Deployer::may_update`] has nothing against it. Its
    /// package was published before.
    pub async fn update(
        &self,
        id: DeploymentId,
        package: &Package,
    ) -> Result<Proposed, ClientError> {
        self.may_update(id, package).await?;
        let (artifact, body) = (*package.artifact().hash(), package.body_hash());
        let [cid, ..] = package.cids();
        let (cid, bytes) = (cid.to_bytes(), package.artifact_bytes());
        let sent = surely(|| self.account.update(id, &cid, artifact, body, bytes));
        let mined = sent.await?;
        let after = self.market.deployment(id).await?;
        let version = after.pending.unwrap_or(after.version).number;
        Ok(Proposed { version, mined })
    }

    /// Has the node act on a new version, and waits for what came of it.
    pub async fn wait_updated(
        &self,
        id: DeploymentId,
        version: u32,
        bound: Duration,
        on: &mut (dyn FnMut(&Stage) + Send),
    ) -> Result<Updated, WaitError> {
        let mut watch = Watch::new(id, bound, on);
        let updated = async {
            let mut seen = Seen::default();
            loop {
                let looked = self.look_updated(id, version, &mut seen, &mut watch).await;
                if let Some(updated) = watch.judge(looked)? {
                    return Ok(updated);
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let ended = timeout(bound, updated).await;
        ended.unwrap_or_else(|_| Err(watch.over()))
    }

    async fn look_updated(
        &self,
        id: DeploymentId,
        version: u32,
        seen: &mut Seen,
        watch: &mut Watch<'_>,
    ) -> Result<Option<Updated>, WaitError> {
        let now = self.market.deployment(id).await?;
        let runs = now.version.number;
        let left = |reason: &str| Updated::Left { version: runs, reason: reason.to_owned() };
        let note = match now.phase {
            Phase::Bidding => return Ok(Some(Updated::Relisted { version: runs })),
            Phase::Closed => return Ok(Some(left("the deployment is over"))),
            Phase::Leased if runs >= version => {
                return Ok(Some(Updated::Switched { version: runs }));
            }
            Phase::Leased if now.pending.is_none() => {
                return Ok(Some(left("the update is not on chain any more")));
            }
            Phase::Leased if now.at > now.pending_until => {
                return Ok(Some(left("its node did not take it within the start window")));
            }
            // A refusal ends the lease, and the new version is out for bids after it.
            Phase::Closing => {
                self.finish(&now, seen).await?;
                "its node refused it, and its lease ends".to_owned()
            }
            Phase::Leased => match self.holder(&now).await?.update(id).await {
                Ok(answer) if answer.switched => {
                    return Ok(Some(Updated::Switched { version: answer.version }));
                }
                Ok(answer) => {
                    let reason = answer.reason.as_deref();
                    return Ok(Some(left(reason.unwrap_or("its node does not say why"))));
                }
                Err(error) if is_early(&error, id) => "its node reads the chain".to_owned(),
                Err(error @ NodeError::Unreachable { .. }) => error.to_string(),
                Err(error) => return Err(ClientError::from(error).into()),
            },
        };
        watch.tell(Stage::Updating { version, note });
        Ok(None)
    }

    /// The node that holds a lease, signed in with the wallet. Sessions are signed for the account that
    /// the chain names, whoever answers at its URL.
    pub async fn holder(&self, deployment: &Deployment) -> Result<NodeClient, ClientError> {
        let node = self.market.holder(deployment).await?;
        Ok(self.signed_in(node, deployment.lease.node))
    }

    /// Speaks for the wallet to a node, whose operator account the caller knows.
    pub fn signed_in(&self, node: NodeClient, account: Address) -> NodeClient {
        node.signed_in(self.wallet.clone(), self.market.chain().domain(), account)
    }

    /// Log lines that are there: from the node that holds the lease, or else from those that held it.
    pub async fn logs(
        &self,
        id: DeploymentId,
        query: LogQuery,
    ) -> Result<Vec<LogLine>, ClientError> {
        let deployment = self.market.deployment(id).await?;
        match self.holder(&deployment).await {
            Ok(node) => Ok(node.logs(id, query).await?),
            Err(none @ ClientError::NoLease { .. }) => self.kept_logs(id, query, none).await,
            Err(error) => Err(error),
        }
    }

    /// Log lines of an agent as they are written, after this one, from whichever node holds the lease.
    pub fn follow(&self, id: DeploymentId, after: Option<u64>) -> Follow {
        Follow { deployer: self.clone(), id, after, stream: None, rest: None }
    }

    /// A recording of an agent's turns: from the node that holds the lease, or else from the one that held it and
    /// has the last turns. What comes is that node's word until a replay has come to the same.
    pub async fn record(
        &self,
        id: DeploymentId,
        query: RecordingQuery,
    ) -> Result<Recording, ClientError> {
        let deployment = self.market.deployment(id).await?;
        let none = match self.holder(&deployment).await {
            Ok(node) => return Ok(node.record(id, query).await?),
            Err(none @ ClientError::NoLease { .. }) => none,
            Err(error) => return Err(error),
        };
        let kept = self.of_keepers(none, |node| async move { node.record(id, query).await });
        kept.await?.into_iter().max_by_key(|one| one.info().to).ok_or(ClientError::Unknown(id))
    }

    /// The log as the node kept it that held the lease last; it has the newest lines. `none` is said if
    /// there is no such node.
    async fn kept_logs(
        &self,
        id: DeploymentId,
        query: LogQuery,
        none: ClientError,
    ) -> Result<Vec<LogLine>, ClientError> {
        let found = self.of_keepers(none, |node| async move { node.logs(id, query).await }).await?;
        let newest = |lines: &Vec<LogLine>| lines.last().map(|line| line.seq);
        Ok(found.into_iter().max_by_key(newest).unwrap_or_default())
    }

    /// What nodes answer that may have held a lease which is over: one at least. `none` is said if there is no
    /// such node.
    async fn of_keepers<T, F: Future<Output = Result<T, NodeError>> + Send>(
        &self,
        none: ClientError,
        ask: impl Fn(NodeClient) -> F + Send,
    ) -> Result<Vec<T>, ClientError> {
        let nodes = self.market.chain().nodes().await?;
        let nodes = nodes.into_iter().filter(|node| !node.endpoint.is_empty()).take(KEEPERS_MAX);
        let clients =
            nodes.map(|node| self.signed_in(self.market.node(&node.endpoint), node.operator));
        let mut found = Vec::new();
        let mut error = none;
        for answer in join_all(clients.map(ask)).await {
            match answer {
                Ok(answer) => found.push(answer),
                // One that knows of it says more than that nobody runs it.
                Err(no) if matches!(&no, NodeError::Refused { status: 401 | 403 | 409, .. }) => {
                    error = no.into();
                }
                Err(_) => {}
            }
        }
        if found.is_empty() { Err(error) } else { Ok(found) }
    }

    async fn own(&self, id: DeploymentId) -> Result<Deployment, ClientError> {
        let deployment = self.market.deployment(id).await?;
        let (owner, wallet) = (deployment.owner, self.address());
        if owner != wallet {
            return Err(ClientError::NotOwner { id, owner, wallet });
        }
        Ok(deployment)
    }

    async fn can_pay(&self, needed: TokenAmount) -> Result<(), ClientError> {
        let wallet = self.address();
        let balance = self.market.chain().balance(wallet).await?;
        if balance < needed {
            return Err(ClientError::Funds { wallet, balance, needed });
        }
        Ok(())
    }
}

/// Makes a call again while it is the network that keeps it from being done. An account does the same call
/// once, however often it is made.
async fn surely<T, F: Future<Output = Result<T, ChainError>>>(
    call: impl Fn() -> F,
) -> Result<T, ChainError> {
    let unsure = |error: &ChainError| {
        matches!(
            error,
            ChainError::Unreachable(_) | ChainError::Lost { .. } | ChainError::NotMined { .. }
        )
    };
    let mut last = match call().await {
        Err(error) if unsure(&error) => error,
        done => return done,
    };
    let again = async {
        loop {
            tracing::debug!(error = %last, "once more");
            sleep(RETRY_EVERY).await;
            match call().await {
                Err(error) if unsure(&error) => {
                    // That it was sent once counts more than that nobody answers now.
                    if !matches!(error, ChainError::Unreachable(_)) {
                        last = error;
                    }
                }
                done => return done,
            }
        }
    };
    let done = timeout(FATE_WITHIN, again).await;
    done.unwrap_or(Err(last))
}

/// A log that is followed over restarts of connections and from node to node.
pub struct Follow {
    deployer: Deployer,
    id: DeploymentId,
    after: Option<u64>,
    stream: Option<LogStream>,
    /// What was written after the last stream broke off, once the deployment is over.
    rest: Option<vec::IntoIter<LogLine>>,
}

impl Follow {
    /// The next line, or `None` once the deployment is over. Waits through a node's absence.
    pub async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        loop {
            if let Some(rest) = &mut self.rest {
                if let Some(line) = rest.next() {
                    self.after = Some(line.seq);
                    return Ok(Some(line));
                }
                let more = self.last_lines().await;
                if more.is_empty() {
                    return Ok(None);
                }
                self.rest = Some(more.into_iter());
                continue;
            }
            if let Some(stream) = &mut self.stream {
                match stream.next().await {
                    // A node that starts again may send what was sent.
                    Ok(Some(line)) if self.after.is_some_and(|after| line.seq <= after) => continue,
                    Ok(Some(line)) => {
                        self.after = Some(line.seq);
                        return Ok(Some(line));
                    }
                    Ok(None) => {}
                    Err(error) => tracing::debug!(%error, "the log broke off"),
                }
                self.stream = None;
                sleep(LOOK_EVERY).await;
            }
            match self.open().await? {
                Opened::Stream(stream) => self.stream = Some(*stream),
                Opened::Later => sleep(RETRY_EVERY).await,
                Opened::Over => self.rest = Some(Vec::new().into_iter()),
            }
        }
    }

    async fn open(&self) -> Result<Opened, ClientError> {
        match self.try_open().await {
            Ok(stream) => Ok(Opened::Stream(Box::new(stream))),
            Err(ClientError::NoLease { phase: Phase::Closed, .. }) => Ok(Opened::Over),
            Err(ClientError::NoLease { .. } | ClientError::NoEndpoint(_)) => Ok(Opened::Later),
            Err(ClientError::Node(error)) if is_behind(&error, self.id) => Ok(Opened::Later),
            Err(error) if error.fault() == Fault::Network => {
                tracing::info!(%error, "asking again");
                Ok(Opened::Later)
            }
            Err(error) => Err(error),
        }
    }

    /// What the last node wrote at the end. A node that is gone took it along; that is no error here.
    async fn last_lines(&self) -> Vec<LogLine> {
        let query = LogQuery { after: self.after, limit: LOG_LINES_MAX, follow: false };
        match self.deployer.logs(self.id, query).await {
            Ok(lines) => lines,
            Err(error) => {
                tracing::debug!(%error, "no last lines");
                Vec::new()
            }
        }
    }

    async fn try_open(&self) -> Result<LogStream, ClientError> {
        let deployment = self.deployer.market.deployment(self.id).await?;
        let node = self.deployer.holder(&deployment).await?;
        Ok(node.follow(self.id, self.after).await?)
    }
}

enum Opened {
    Stream(Box<LogStream>),
    Later,
    Over,
}

/// What was seen of a lease that ends.
#[derive(Default)]
struct Seen {
    /// Looks at which anybody could have finished it.
    unfinished_looks: u32,
    final_checkpoint: bool,
}

/// Whether anybody may finish a lease that ends: nothing is waited for any more.
fn can_finish(deployment: &Deployment) -> bool {
    let lease = &deployment.lease;
    lease.started_at.is_none() || lease.final_open || deployment.at > until(deployment)
}

/// Whether a lease that ran was closed before its window was over: only the final checkpoint does that.
fn closed_early(stopping: &Stopping, closed: &Deployment) -> bool {
    let before = &stopping.before;
    let ended = stopping.mined.map(|mined| mined.time).or(before.lease.end_time);
    let window = u64::from(closed.terms.open_window) * 1000;
    let early = ended.is_some_and(|ended| closed.at <= ended.plus_millis(window));
    early && before.lease.started_at.is_some()
}

/// Until when a lease that ends may open its final checkpoint.
fn until(deployment: &Deployment) -> Timestamp {
    let window = u64::from(deployment.terms.open_window) * 1000;
    deployment.lease.end_time.unwrap_or(deployment.at).plus_millis(window)
}

/// Whether a node did not read the update from the chain yet.
fn is_early(error: &NodeError, id: DeploymentId) -> bool {
    is_behind(error, id) || error.is(&LifecycleError::NotNow(String::new()))
}
