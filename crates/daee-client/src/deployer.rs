use std::{sync::Arc, time::Duration};

use daee_chain::{Account, Deployment, Mined, Phase};
use daee_lifecycle::{LifecycleError, LogLine};
use daee_types::{Address, DeploymentId, Sign, Timestamp, TokenAmount};
use tokio::time::{sleep, timeout};

use crate::{
    ClientError, LogStream, Market, NodeClient, NodeError, Offer, Package, Stage, Stopped, Updated,
    WaitError,
    market::{LOOK_EVERY, is_behind, tell},
};

/// Looks after the last node did nothing before the owner finishes a stopped lease himself.
const PATIENCE_LOOKS: u32 = 8;
/// Time between two tries to reach a node for its log.
const RETRY_EVERY: Duration = Duration::from_secs(1);

/// A wallet on a network: deploys, pays, and manages what it deployed. Cheap to clone.
#[derive(Clone)]
pub struct Deployer {
    market: Market,
    wallet: Arc<dyn Sign>,
    account: Account,
}

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
        let (id, mined) = self
            .account
            .deploy(&agent_id, &cid.to_bytes(), artifact, body, &terms, payment)
            .await?;
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
        Ok(self.account.top_up(id, amount).await?)
    }

    /// Takes out what is owed to the wallet: refunds, and pay if it runs nodes. To itself unless said
    /// otherwise.
    pub async fn withdraw(&self, to: Option<Address>) -> Result<(TokenAmount, Mined), ClientError> {
        let owed = self.market.chain().claimable(self.address()).await?;
        if owed == TokenAmount::ZERO {
            return Err(ClientError::NothingOwed(self.address()));
        }
        let mined = self.account.withdraw(to.unwrap_or_else(|| self.address())).await?;
        Ok((owed, mined))
    }

    /// Ends a deployment on chain: nothing that comes after is paid. One that is ending already is left
    /// to end.
    pub async fn stop(&self, id: DeploymentId) -> Result<Stopping, ClientError> {
        let before = self.own(id).await?;
        let mined = match before.phase {
            Phase::Bidding | Phase::Leased => Some(self.account.stop(id).await?),
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
        let before = &stopping.before;
        let id = before.id;
        let mut last = None;
        let stopped = async {
            let (mut looks, mut final_checkpoint) = (0, false);
            loop {
                let now = self.market.deployment(id).await?;
                let lease = &now.lease;
                match now.phase {
                    Phase::Closed => {
                        // Closing pays nodes first; the rest of what was there is the owner's.
                        let held = before.balance.0.saturating_add(before.paid.0);
                        return Ok(Stopped {
                            deployment: id,
                            paid: now.paid,
                            refunded: TokenAmount(held.saturating_sub(now.paid.0)),
                            state_root: now.state_root,
                            final_checkpoint,
                        });
                    }
                    Phase::Closing => {
                        final_checkpoint |= lease.final_open;
                        let window = u64::from(now.terms.open_window) * 1000;
                        let until = lease.end_time.unwrap_or(now.at).plus_millis(window);
                        let stage = Stage::Closing { final_open: lease.final_open, until };
                        tell(&mut last, stage, on);
                        if can_finish(&now, until) {
                            looks += 1;
                        }
                    }
                    // A node that read an older block may not know of the stop yet.
                    Phase::Bidding | Phase::Leased => {}
                }
                if looks >= PATIENCE_LOOKS {
                    looks = 0;
                    match self.account.finish(id).await {
                        Ok(_) => continue,
                        // Somebody else did, or the chain says that it is too early.
                        Err(error) if error.is_revert() => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                sleep(LOOK_EVERY).await;
            }
        };
        match timeout(bound, stopped).await {
            Ok(ended) => ended,
            Err(_) => {
                Err(WaitError::Stuck { id, seconds: bound.as_secs(), stage: last.map(Box::new) })
            }
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
        let mined = self
            .account
            .update(id, &cid.to_bytes(), artifact, body, package.artifact_bytes())
            .await?;
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
        let mut last = None;
        let updated = async {
            loop {
                let now = self.market.deployment(id).await?;
                let runs = now.version.number;
                let left =
                    |reason: &str| Updated::Left { version: runs, reason: reason.to_owned() };
                match now.phase {
                    Phase::Bidding => return Ok(Updated::Relisted { version: runs }),
                    Phase::Closed => return Ok(left("the deployment is over")),
                    Phase::Leased if runs >= version => {
                        return Ok(Updated::Switched { version: runs });
                    }
                    Phase::Leased if now.pending.is_none() => {
                        return Ok(left("the update is not on chain any more"));
                    }
                    Phase::Leased if now.at > now.pending_until => {
                        return Ok(left("its node did not take it within the start window"));
                    }
                    // A refusal ends the lease, and the new version is out for bids after it.
                    Phase::Closing => {
                        let note = "its node refused the update".to_owned();
                        tell(&mut last, Stage::Updating { version, note }, on);
                    }
                    Phase::Leased => {
                        let node = self.holder(&now).await?;
                        let note = match node.update(id).await {
                            Ok(answer) if answer.switched => {
                                return Ok(Updated::Switched { version: answer.version });
                            }
                            Ok(answer) => {
                                let reason = answer.reason.unwrap_or_default();
                                return Ok(left(&reason));
                            }
                            Err(error) if is_early(&error, id) => "its node reads the chain".into(),
                            Err(error @ NodeError::Unreachable { .. }) => error.to_string(),
                            Err(error) => return Err(ClientError::from(error).into()),
                        };
                        tell(&mut last, Stage::Updating { version, note }, on);
                    }
                }
                sleep(LOOK_EVERY).await;
            }
        };
        match timeout(bound, updated).await {
            Ok(ended) => ended,
            Err(_) => {
                Err(WaitError::Stuck { id, seconds: bound.as_secs(), stage: last.map(Box::new) })
            }
        }
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

    /// Log lines of an agent as they are written, after this one, from whichever node holds the lease.
    pub fn follow(&self, id: DeploymentId, after: Option<u64>) -> Follow {
        Follow { deployer: self.clone(), id, after, stream: None }
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

/// A log that is followed over restarts of connections and from node to node.
pub struct Follow {
    deployer: Deployer,
    id: DeploymentId,
    after: Option<u64>,
    stream: Option<LogStream>,
}

impl Follow {
    /// The next line, or `None` once the deployment is over. Waits through a node's absence.
    pub async fn next(&mut self) -> Result<Option<LogLine>, ClientError> {
        loop {
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
                Opened::Over => return Ok(None),
            }
        }
    }

    async fn open(&self) -> Result<Opened, ClientError> {
        let deployment = self.deployer.market.deployment(self.id).await?;
        let node = match self.deployer.holder(&deployment).await {
            Ok(node) => node,
            Err(ClientError::NoLease { phase: Phase::Closed, .. }) => return Ok(Opened::Over),
            Err(ClientError::NoLease { .. } | ClientError::NoEndpoint(_)) => {
                return Ok(Opened::Later);
            }
            Err(error) => return Err(error),
        };
        match node.follow(self.id, self.after).await {
            Ok(stream) => Ok(Opened::Stream(Box::new(stream))),
            Err(error @ NodeError::Unreachable { .. }) => {
                tracing::info!(%error, "asking again");
                Ok(Opened::Later)
            }
            Err(error) if is_behind(&error, self.id) => Ok(Opened::Later),
            Err(error) => Err(error.into()),
        }
    }
}

enum Opened {
    Stream(Box<LogStream>),
    Later,
    Over,
}

/// Whether anybody may finish a lease that ends: nothing is waited for any more.
fn can_finish(deployment: &Deployment, until: Timestamp) -> bool {
    let lease = &deployment.lease;
    lease.started_at.is_none() || lease.final_open || deployment.at > until
}

/// Whether a node did not read the update from the chain yet.
fn is_early(error: &NodeError, id: DeploymentId) -> bool {
    is_behind(error, id) || error.is(&LifecycleError::NotNow(String::new()))
}
