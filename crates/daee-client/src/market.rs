use std::{sync::Arc, time::Duration};

use daee_chain::{Chain, Deployment, Lease, Phase};
use daee_http::{Client, Roots};
use daee_lifecycle::{LifecycleError, Phase as AgentPhase, Spend, Status};
use daee_types::{Address, DeploymentId, Sign, Timestamp};
use futures_util::{StreamExt as _, TryStreamExt as _, future::join_all, stream};
use serde::Serialize;
use tokio::time::{sleep, timeout};

use crate::{
    Bid, ClientError, Deployer, NetworkFile, NodeClient, NodeError, Package, Stage, WaitError,
    watch::{LOOK_EVERY, Watch},
};

/// Questions to the chain at a time.
const ASKED_MAX: usize = 8;
/// Nodes that a package is handed to when nobody says to which.
const PUBLISH_MAX: usize = 8;

/// A network to look at: its chain, and the nodes that the chain names. Cheap to clone.
#[derive(Clone)]
pub struct Market {
    file: Arc<NetworkFile>,
    chain: Chain,
    http: Client,
}

/// Who took a package, and who did not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Base URLs of nodes that keep it.
    pub nodes: Vec<String>,
    /// What the others did.
    pub refused: Vec<NodeError>,
}

/// What is known of a deployment from both sides. Where both speak, the chain's word counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The node's word where it was heard; else what follows from the chain.
    #[serde(flatten)]
    pub status: Status,
    /// Who deployed it.
    pub owner: Address,
    /// No bid is taken from then on, while bids are taken.
    pub bids_close: Option<Timestamp>,
    /// The version that waits for its node.
    pub pending_version: Option<u32>,
    /// Base URL of the node that holds the lease.
    pub node_url: Option<String>,
    /// Why that node was not heard.
    pub silent: Option<String>,
}

impl Market {
    /// Connects to the chain; nodes are dialled when they are asked.
    pub async fn connect(file: NetworkFile) -> Result<Self, ClientError> {
        // What is on this machine alone needs nobody's certificates, and may run where there are none.
        let roots = if file.is_local() { Roots::none() } else { Roots::system() };
        let http = Client::new(&roots)?;
        let chain = Chain::connect(&file.rpc, file.contracts).await?;
        Ok(Self { file: Arc::new(file), chain, http })
    }

    /// Speaks and pays with this wallet.
    pub fn deployer(&self, wallet: Arc<dyn Sign>) -> Deployer {
        Deployer::new(self.clone(), wallet)
    }

    /// The network's file.
    pub fn file(&self) -> &NetworkFile {
        &self.file
    }

    /// Its chain.
    pub fn chain(&self) -> &Chain {
        &self.chain
    }

    /// One deployment as the chain has it.
    pub async fn deployment(&self, id: DeploymentId) -> Result<Deployment, ClientError> {
        self.chain.deployment(id).await?.ok_or(ClientError::Unknown(id))
    }

    /// Every deployment, by number; of one owner, if one is named.
    pub async fn deployments(&self, of: Option<Address>) -> Result<Vec<Deployment>, ClientError> {
        let count = self.chain.deployment_count().await?;
        let all: Vec<Option<Deployment>> = stream::iter(1..=count)
            .map(|id| self.chain.deployment(DeploymentId(id)))
            .buffered(ASKED_MAX)
            .try_collect()
            .await?;
        let mine = |deployment: &Deployment| of.is_none_or(|owner| deployment.owner == owner);
        Ok(all.into_iter().flatten().filter(mine).collect())
    }

    /// Any node, by the base URL of its API.
    pub fn node(&self, base: &str) -> NodeClient {
        NodeClient::new(self.http.clone(), base)
    }

    /// The node that holds a deployment's lease, by the URL it is registered with.
    pub async fn holder(&self, deployment: &Deployment) -> Result<NodeClient, ClientError> {
        let Deployment { id, phase, lease, .. } = deployment;
        if !matches!(phase, Phase::Leased | Phase::Closing) || lease.node.is_zero() {
            return Err(ClientError::NoLease { id: *id, phase: *phase });
        }
        let record = self.chain.node(lease.node).await?;
        match record.filter(|record| !record.endpoint.is_empty()) {
            Some(record) => Ok(self.node(&record.endpoint)),
            None => Err(ClientError::NoEndpoint(lease.node)),
        }
    }

    /// Where packages go: what the network file names, or else nodes of the registry.
    pub async fn gateways(&self) -> Result<Vec<String>, ClientError> {
        if !self.file.gateways.is_empty() {
            return Ok(self.file.gateways.clone());
        }
        let nodes = self.chain.nodes().await?.into_iter().map(|node| node.endpoint);
        Ok(nodes.filter(|url| !url.is_empty()).take(PUBLISH_MAX).collect())
    }

    /// Hands a package to all of these nodes at once. One that takes it is enough: from there others
    /// fetch it by its CIDs.
    pub async fn publish(&self, package: &Package, nodes: &[String]) -> Result<Taken, ClientError> {
        publish(&self.http, package, nodes).await
    }

    /// What chain and node say of a deployment.
    pub async fn standing(&self, id: DeploymentId) -> Result<Standing, ClientError> {
        let deployment = self.deployment(id).await?;
        let (mut node_url, mut silent, mut said) = (None, None, None);
        match self.holder(&deployment).await {
            Ok(node) => {
                node_url = Some(node.base().to_owned());
                match node.status(id).await {
                    Ok(status) if status.deployment == id => said = Some(status),
                    Ok(_) => silent = Some("it speaks of another deployment".to_owned()),
                    Err(error) => silent = Some(error.to_string()),
                }
            }
            Err(ClientError::NoLease { .. }) => {}
            Err(error @ ClientError::NoEndpoint(_)) => silent = Some(error.to_string()),
            Err(error) => return Err(error),
        }
        let bidding = deployment.phase == Phase::Bidding;
        Ok(Standing {
            owner: deployment.owner,
            bids_close: bidding.then_some(deployment.bids_close),
            pending_version: deployment.pending.map(|version| version.number),
            status: self.merged(&deployment, said),
            node_url,
            silent,
        })
    }

    /// Waits until the agent handles events. Each new stage is told to `on`.
    pub async fn wait_running(
        &self,
        id: DeploymentId,
        bound: Duration,
        on: &mut (dyn FnMut(&Stage) + Send),
    ) -> Result<Status, WaitError> {
        let mut watch = Watch::new(id, bound, on);
        let running = async {
            loop {
                let looked = self.look_running(id).await.map(|(stage, status)| {
                    watch.tell_running(stage);
                    status
                });
                if let Some(status) = watch.judge(looked)? {
                    return Ok(status);
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let ended = timeout(bound, running).await;
        ended.unwrap_or_else(|_| Err(watch.over()))
    }

    /// How far a deployment is on its way to running, and its status once it does.
    async fn look_running(&self, id: DeploymentId) -> Result<(Stage, Option<Status>), WaitError> {
        let failed = |reason: &str| WaitError::Failed { id, reason: reason.to_owned() };
        let deployment = self.deployment(id).await?;
        let bid = bid(&deployment.lease);
        match deployment.phase {
            Phase::Bidding => {
                let closes = deployment.bids_close;
                let stage = match bid {
                    Some(best) if deployment.at >= closes => Stage::Awarding { best },
                    best => Stage::Bidding { best, closes },
                };
                return Ok((stage, None));
            }
            Phase::Closing => return Err(failed("it is ending")),
            Phase::Closed => return Err(failed("it is over: what was left is refunded")),
            Phase::Leased => {}
        }
        let Some(bid) = bid else { return Err(failed("its lease names no node")) };
        let (mut url, note) = match self.holder(&deployment).await {
            Ok(node) => match node.status(id).await {
                Ok(status) => match status.phase {
                    AgentPhase::Running => {
                        let status = self.merged(&deployment, Some(status));
                        let endpoint = status.endpoint.clone().unwrap_or_default();
                        return Ok((Stage::Running { bid, endpoint }, Some(status)));
                    }
                    AgentPhase::Error => {
                        let reason = status.reason.as_deref();
                        return Err(failed(reason.unwrap_or("its node does not say why")));
                    }
                    _ => (Some(node), status.reason.unwrap_or_else(|| "starting".to_owned())),
                },
                // It did not read that block of the chain yet.
                Err(error) if is_behind(&error, id) => (Some(node), "starting".to_owned()),
                Err(error) => (Some(node), error.to_string()),
            },
            Err(error @ ClientError::NoEndpoint(_)) => (None, error.to_string()),
            Err(error) => return Err(error.into()),
        };
        let url = url.take().map(|node| node.base().to_owned());
        Ok((Stage::Starting { bid, url, note }, None))
    }

    /// The node's word, with the chain's where the chain knows it.
    fn merged(&self, deployment: &Deployment, said: Option<Status>) -> Status {
        let Deployment { id, agent_id, lease, .. } = deployment;
        let held = matches!(deployment.phase, Phase::Leased | Phase::Closing);
        let phase = match deployment.phase {
            Phase::Bidding => AgentPhase::Bidding,
            Phase::Leased => match &said {
                Some(said) => said.phase,
                None if lease.started_at.is_some() => AgentPhase::Running,
                None => AgentPhase::Starting,
            },
            Phase::Closing => AgentPhase::Stopping,
            Phase::Closed => AgentPhase::Stopped,
        };
        let spend = Spend { paid: deployment.paid, balance: deployment.balance, rate: lease.rate };
        let endpoint = self.file.endpoint(agent_id, *id);
        match said {
            Some(said) => Status {
                phase,
                node: Some(lease.node),
                epoch: Some(lease.epoch),
                spend,
                // Requests go to the agent's own name, whatever its node says; ports differ.
                endpoint: match said.endpoint {
                    Some(said) if host_of(&said) == host_of(&endpoint) => Some(said),
                    _ => held.then_some(endpoint),
                },
                ..said
            },
            None => Status {
                deployment: *id,
                agent_id: agent_id.clone(),
                phase,
                reason: held.then(|| "its node was not heard; this is what the chain has".into()),
                version: deployment.version.number,
                artifact_hash: deployment.version.artifact_hash,
                epoch: held.then_some(lease.epoch),
                node: held.then_some(lease.node),
                endpoint: held.then_some(endpoint),
                turn: 0,
                state_root: deployment.state_root,
                last_checkpoint: None,
                resources: deployment.terms.resources,
                fuel: 0,
                spend,
                restarts: 0,
            },
        }
    }
}

/// What [`Market::publish`] does, for who knows nodes and no network.
pub async fn publish(
    http: &Client,
    package: &Package,
    nodes: &[String],
) -> Result<Taken, ClientError> {
    if nodes.is_empty() {
        return Err(ClientError::NoNodes);
    }
    let handed = nodes.iter().map(|node| async move {
        let node = NodeClient::new(http.clone(), node);
        (node.base().to_owned(), node.publish(package).await)
    });
    let mut taken = Taken::default();
    for (node, answer) in join_all(handed).await {
        match answer {
            Ok(_) => taken.nodes.push(node),
            Err(error) => taken.refused.push(error),
        }
    }
    if taken.nodes.is_empty() {
        return Err(ClientError::NotPublished(taken.refused));
    }
    Ok(taken)
}

/// The best bid, or the lease's.
pub(crate) fn bid(lease: &Lease) -> Option<Bid> {
    (!lease.node.is_zero()).then_some(Bid { node: lease.node, rate: lease.rate })
}

/// The host that a URL names, without user, port and path.
fn host_of(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    // A user part, or anything else that a reader of URLs may take for an end, is no name of ours.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    host.bytes().all(plain).then_some(host)
}

/// Whether a node that holds a lease does not know of it yet.
pub(crate) fn is_behind(error: &NodeError, id: DeploymentId) -> bool {
    error.is(&LifecycleError::Unknown(id))
        || error.is(&LifecycleError::Elsewhere { deployment: id, node: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_an_agents_name_and_nothing_else() {
        let check = |url, host| assert_eq!(host_of(url), host, "{url}");
        check("http://acme-agent-7.localhost:8080/", Some("acme-agent-7.localhost"));
        check("https://acme-agent-7.talos.network", Some("acme-agent-7.talos.network"));
        check("http://acme-agent-7.localhost@evil.example/", None);
        check("http://evil.example/?acme-agent-7.localhost", Some("evil.example"));
        check("http://evil.example\\@acme-agent-7.localhost/", Some("evil.example"));
        check("http://evil.example\t.localhost/", None);
        check("acme-agent-7.localhost", None);
    }
}
