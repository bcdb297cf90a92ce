//! Where the state machine meets the world: events in, effects out.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use daee_chain::{Cursor, Deployment, EventKind, Phase};
use daee_types::DeploymentId;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};

use crate::{
    calls, clock,
    host::{CHAIN_RETRY, Shared},
    node::{ChainPhase, Effect, Event, LeaseView, Node, Version, View},
    worker::{self, Job, blocking},
};

/// How often the state machine is told that time passed.
const CLOCK: Duration = Duration::from_millis(100);
/// How often the chain is asked for its newest block.
const CONTACT: Duration = Duration::from_secs(1);
/// How often, in contacts, the registry is read again.
const REGISTRY_EVERY: u32 = 10;

/// Runs the state machine until it is told to stop; then every agent has ended.
pub(crate) async fn drive(
    shared: Arc<Shared>,
    node: Node,
    begin: Vec<Effect>,
    mut events: mpsc::UnboundedReceiver<Event>,
    mut stopped: watch::Receiver<bool>,
) {
    let mut driver = Driver { shared, node, workers: BTreeMap::new(), looks: Looks::default() };
    driver.perform(begin).await;
    for id in driver.shared.store.known().unwrap_or_default() {
        driver.looks.look(&driver.shared, id);
    }
    let mut clock = interval(CLOCK);
    clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        let event = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => break,
            event = events.recv() => match event {
                Some(event) => event,
                None => break,
            },
            _ = clock.tick() => Event::Clock,
        };
        let effects = driver.node.step(clock::now(), event);
        driver.shared.note_free(driver.node.free());
        driver.perform(effects).await;
    }
    driver.end().await;
}

struct Driver {
    shared: Arc<Shared>,
    node: Node,
    workers: BTreeMap<DeploymentId, Working>,
    looks: Looks,
}

struct Working {
    jobs: mpsc::UnboundedSender<Job>,
    ended: tokio::task::JoinHandle<()>,
}

impl Driver {
    async fn perform(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Look(id) => self.looks.look(&self.shared, id),
                Effect::Read { id, version, state_root } => {
                    self.job(id, Job::Read { version, state_root });
                }
                Effect::Start { id, epoch, version, from } => {
                    self.job(id, Job::Start { epoch, version, from });
                }
                Effect::Upgrade { id, epoch, version } => {
                    self.job(id, Job::Upgrade { epoch, version });
                }
                Effect::Seal { id, epoch, tick, last } => {
                    self.job(id, Job::Seal { epoch, tick, last });
                }
                Effect::Release(id) => {
                    // Nobody is answered any more, even while the thread still ends.
                    self.shared.drop_agent(id, None);
                    self.job(id, Job::Release);
                }
                Effect::Save(record) => {
                    let store = self.shared.store.clone();
                    let bytes = serde_json::to_vec(&record).expect("a record has a JSON form");
                    let saved = blocking(move || store.put_record(record.id, &bytes)).await;
                    said("a lease's record", saved.map(|saved| saved.map_err(|e| e.to_string())));
                }
                Effect::Forget(id) => {
                    let store = self.shared.store.clone();
                    let done = blocking(move || store.forget_record(id)).await;
                    said("a lease's record", done.map(|done| done.map_err(|e| e.to_string())));
                }
                Effect::Call(call) => {
                    let shared = self.shared.clone();
                    tokio::spawn(async move {
                        let outcome = calls::perform(&shared, &call).await;
                        shared.tell(Event::Called { call, outcome });
                    });
                }
            }
        }
    }

    fn job(&mut self, id: DeploymentId, job: Job) {
        let working = self.workers.entry(id).or_insert_with(|| {
            let (jobs, ended) = worker::start(self.shared.clone(), id);
            Working { jobs, ended }
        });
        // A worker ends only when its sender does.
        let _ = working.jobs.send(job);
    }

    async fn end(self) {
        for (_, working) in self.workers {
            drop(working.jobs);
            if let Err(error) = working.ended.await {
                tracing::error!(%error, "a worker ended badly");
            }
        }
    }
}

fn said(what: &str, done: Result<Result<(), String>, String>) {
    if let Err(why) | Ok(Err(why)) = done {
        tracing::error!(what, why, "could not be written");
    }
}

/// Reads deployments from the chain, each once at a time however often it is asked for.
#[derive(Clone, Default)]
struct Looks(Arc<Mutex<BTreeMap<DeploymentId, bool>>>);

impl Looks {
    fn look(&self, shared: &Arc<Shared>, id: DeploymentId) {
        {
            let mut running = self.0.lock().unwrap_or_else(|e| e.into_inner());
            if let Some(again) = running.get_mut(&id) {
                *again = true;
                return;
            }
            running.insert(id, false);
        }
        let (looks, shared) = (self.clone(), shared.clone());
        tokio::spawn(async move {
            loop {
                match shared.chain.deployment(id).await {
                    Ok(Some(deployment)) => seen(&shared, deployment),
                    Ok(None) => tracing::warn!(deployment = %id, "the chain does not know it"),
                    Err(error) => {
                        tracing::warn!(deployment = %id, %error, "not read; again in a moment");
                        sleep(CHAIN_RETRY).await;
                        continue;
                    }
                }
                let mut running = looks.0.lock().unwrap_or_else(|e| e.into_inner());
                match running.get_mut(&id) {
                    Some(again) if *again => *again = false,
                    _ => {
                        running.remove(&id);
                        return;
                    }
                }
            }
        });
    }
}

fn seen(shared: &Shared, deployment: Deployment) {
    let view = view(&deployment);
    shared.put_deployment(deployment);
    shared.tell(Event::Seen(view));
}

fn view(deployment: &Deployment) -> View {
    let terms = &deployment.terms;
    let lease = &deployment.lease;
    let version = |version: &daee_chain::Version| Version {
        number: version.number,
        artifact: version.artifact_hash,
        body: version.body_hash,
    };
    // What the lessee did not take in time cannot be taken any more.
    let pending = deployment.pending.filter(|_| deployment.at <= deployment.pending_until);
    View {
        id: deployment.id,
        phase: match deployment.phase {
            Phase::Bidding => ChainPhase::Bidding,
            Phase::Leased => ChainPhase::Leased,
            Phase::Closing => ChainPhase::Closing,
            Phase::Closed => ChainPhase::Closed,
        },
        resources: terms.resources,
        rate_max: terms.rate_max,
        interval_millis: u64::from(terms.interval) * 1000,
        grace_millis: u64::from(terms.grace) * 1000,
        start_window_millis: u64::from(terms.start_window) * 1000,
        open_window_millis: u64::from(terms.open_window) * 1000,
        bids_close: deployment.bids_close,
        version: version(&deployment.version),
        pending: pending.as_ref().map(version),
        state_root: deployment.state_root,
        lease: LeaseView {
            node: lease.node,
            epoch: lease.epoch,
            rate: lease.rate,
            assigned_at: lease.assigned_at,
            started_at: lease.started_at,
            end_time: lease.end_time,
            seq: lease.seq,
            last_anchor: deployment.last_anchor,
            covered: lease.covered_seconds,
        },
        at: deployment.at,
    }
}

/// Follows the chain's events. The cursor moves in one transaction with the list of deployments that are
/// open, so each is noticed once; what it means is read from the chain anew.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    cursor: Option<Cursor>,
    mut stopped: watch::Receiver<bool>,
) {
    let looks = Looks::default();
    let mut follower = shared.chain.follow(cursor);
    // Kept until they are written: a cursor that passed them unwritten would never come back to them.
    let (mut opened, mut closed) = (Vec::new(), Vec::new());
    loop {
        let step = tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            step = follower.next() => step,
        };
        let step = match step {
            Ok(step) => step,
            Err(error) => {
                tracing::warn!(%error, "the chain's events cannot be read; again in a moment");
                sleep(CHAIN_RETRY).await;
                continue;
            }
        };
        let mut touched = BTreeSet::new();
        for event in &step.events {
            touched.extend(event.deployment());
            match &event.kind {
                EventKind::Deployed { id, .. } => opened.push(*id),
                EventKind::Closed { id, .. } => closed.push(*id),
                _ => {}
            }
        }
        let (cursor, store) = (step.cursor.to_bytes(), shared.store.clone());
        let noted = (opened.clone(), closed.clone());
        let moved = blocking(move || store.advance(&cursor, &noted.0, &noted.1)).await;
        if let Ok(Ok(())) = moved {
            opened.clear();
            closed.clear();
        }
        said("the chain's cursor", moved.map(|moved| moved.map_err(|e| e.to_string())));
        if step.reorged {
            tracing::info!(block = step.head.number, "the chain took another branch");
            touched.extend(shared.store.known().unwrap_or_default());
        }
        shared.tell(Event::Contact { chain: step.head.time });
        for id in touched {
            looks.look(&shared, id);
        }
    }
}

/// Knows whether the chain can be seen, and who else is there.
pub(crate) async fn keep_contact(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let mut contacts = 0;
    let mut every = interval(CONTACT);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => return,
            _ = every.tick() => {}
        }
        match shared.chain.head().await {
            Ok(head) => {
                shared.note_contact(true);
                shared.tell(Event::Contact { chain: head.time });
            }
            Err(error) => {
                shared.note_contact(false);
                tracing::warn!(%error, "no contact with the chain");
                continue;
            }
        }
        contacts += 1;
        if contacts % REGISTRY_EVERY == 0 {
            match shared.peers.refresh(&shared.chain).await {
                Ok(()) => shared.use_sources(),
                Err(error) => tracing::warn!(%error, "the registry cannot be read"),
            }
        }
    }
}
