//! One deployment's work on this node, one job after another: reading, starting, sealing, ending.
//!
//! The state machine may ask for the next before the last is done; here they wait for each other, so that an
//! agent is never started while its predecessor still writes.

use std::{sync::Arc, thread::JoinHandle};

use daee_manifest::Manifest;
use daee_runtime::{Launch, Limits, Module, Snapshot};
use daee_state::Effect;
use daee_store::AgentStore;
use daee_types::{Coded as _, DeploymentId, EpochId, StateRoot, Word};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::{
    agents::{self, AgentHandle, Beginning, Kept, Plan, Replay, Sealed, Told},
    content::Package,
    envelope,
    host::Shared,
    intent::IntentFile,
    node::{Event, From, Marks, Version},
    outside::AgentOutside,
    publish,
};

/// What a worker is asked to do.
pub(crate) enum Job {
    Read { version: Version, state_root: StateRoot },
    Start { epoch: EpochId, version: Version, from: From },
    Upgrade { epoch: EpochId, version: Version },
    Seal { epoch: EpochId, tick: Word, last: bool },
    Release,
}

/// Starts the worker of a deployment; it ends when the sender is dropped.
pub(crate) fn start(
    shared: Arc<Shared>,
    id: DeploymentId,
) -> (mpsc::UnboundedSender<Job>, tokio::task::JoinHandle<()>) {
    let (jobs, mut queue) = mpsc::unbounded_channel();
    let ended = tokio::spawn(async move {
        let mut worker = Worker { shared, id, running: None, sealed_last: None };
        while let Some(job) = queue.recv().await {
            worker.work(job).await;
        }
        worker.release().await;
    });
    (jobs, ended)
}

struct Worker {
    shared: Arc<Shared>,
    id: DeploymentId,
    running: Option<Running>,
    /// The lease whose stop turn was sealed.
    sealed_last: Option<EpochId>,
}

struct Running {
    handle: AgentHandle,
    thread: JoinHandle<()>,
}

impl Worker {
    async fn work(&mut self, job: Job) {
        let id = self.id;
        match job {
            Job::Read { version, state_root } => {
                let read = self.read(&version, &state_root).await;
                let ready = self.noted(read).is_some();
                self.shared.tell(Event::Read { id, version, ready });
            }
            Job::Start { epoch, version, from } => {
                self.release().await;
                let started = self.start(epoch, version, from).await;
                let running = self.noted(started);
                self.shared.tell(Event::Started { id, epoch, running });
            }
            Job::Upgrade { epoch, version } => {
                let upgraded = self.upgrade(epoch, version).await;
                self.shared.note_upgrade(id, version.number, upgraded.clone());
                let switched = upgraded.is_ok();
                self.shared.tell(Event::Upgraded { id, epoch, tried: version, switched });
            }
            Job::Seal { epoch, tick, last } => {
                let sealed = self.seal(epoch, tick, last).await;
                let marks = self.noted(sealed);
                self.shared.tell(Event::Sealed { id, epoch, marks });
            }
            Job::Release => self.release().await,
        }
    }

    /// Keeps the reason for a failure where `status` finds it.
    fn noted<T>(&self, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => {
                self.shared.note_reason(self.id, None);
                Some(value)
            }
            Err(why) => {
                tracing::warn!(deployment = %self.id, why, "not done");
                self.shared.note_reason(self.id, Some(why));
                None
            }
        }
    }

    /// A node whose sandbox is too weak neither reads with the aim to bid, nor takes up what it holds.
    fn willing(&self) -> Result<(), String> {
        let refusal = self.shared.refusal();
        refusal.map_or(Ok(()), |refusal| Err(format!("{}: {refusal}", refusal.code())))
    }

    async fn read(&self, version: &Version, state_root: &StateRoot) -> Result<(), String> {
        self.willing()?;
        let package = self.package(version).await?;
        self.prepare(&package).await?;
        if !state_root.is_zero() {
            self.checkpoint(state_root).await?;
        }
        Ok(())
    }

    async fn package(&self, version: &Version) -> Result<Package, String> {
        let deployment = self.shared.deployment(self.id).await?;
        let resources = &deployment.terms.resources;
        self.shared.content.package(version, &deployment.agent_id, resources).await
    }

    async fn prepare(&self, package: &Package) -> Result<Module, String> {
        let runtime = self.shared.runtime.clone();
        let package = package.clone();
        blocking(move || runtime.prepare(&package.artifact, package.run()))
            .await?
            .map_err(|error| error.to_string())
    }

    /// The state that was opened on chain, from here or from whoever keeps it.
    async fn checkpoint(&self, root: &StateRoot) -> Result<Vec<u8>, String> {
        let (id, wanted, store) = (self.id, *root, self.shared.store.clone());
        let kept = blocking(move || store.checkpoint(id, &wanted)).await?;
        if let Some(bytes) = kept.map_err(|error| error.to_string())?
            && envelope::read(&bytes).is_ok_and(|(_, kept)| kept.state.root() == *root)
        {
            return Ok(bytes);
        }
        let bytes = self.shared.peers.get(self.id, root).await?;
        let (store, copy) = (self.shared.store.clone(), bytes.clone());
        blocking(move || store.put_checkpoint(id, &wanted, &copy))
            .await?
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    async fn start(
        &mut self,
        epoch: EpochId,
        version: Version,
        from: From,
    ) -> Result<Version, String> {
        self.willing()?;
        let dir = self.shared.store.agent_dir(self.id, &epoch);
        let opened = match from {
            From::Kept => {
                let dir = dir.clone();
                let opened = blocking(move || AgentStore::open(&dir)).await?;
                opened.map_err(|error| error.to_string())?
            }
            From::Nothing | From::Root(_) => None,
        };
        let (version, snapshot, kept, beginning) = match opened {
            Some(opened) => {
                let rebuilt = envelope::rebuild(&opened.snapshot, &opened.deltas);
                let (head, snapshot) = rebuilt
                    .map_err(|error| format!("what was kept of it cannot be read: {error}"))?;
                let kept = Kept::There(Box::new(opened.store), opened.reader);
                (head.version, snapshot, kept, Beginning::GoOn)
            }
            None => {
                // A lease of before a restart whose agent had not begun yet starts as any other.
                let root = match from {
                    From::Root(root) => root,
                    From::Nothing => StateRoot::ZERO,
                    From::Kept => self.shared.deployment(self.id).await?.state_root,
                };
                let snapshot = self.snapshot(&root, &version).await?;
                (version, snapshot, Kept::Fresh(dir), Beginning::Start)
            }
        };
        let package = self.package(&version).await?;
        let module = self.prepare(&package).await?;
        let plan = self.plan(epoch, version, &package.manifest, module, snapshot);
        let (runtime, told) = (self.shared.runtime.clone(), self.listen(epoch));
        let (handle, thread) =
            blocking(move || agents::start(&runtime, plan, kept, &beginning, told)).await??;
        self.shared.put_agent(self.id, handle.clone());
        self.running = Some(Running { handle, thread });
        Ok(version)
    }

    /// What a new lease begins with.
    async fn snapshot(&self, root: &StateRoot, version: &Version) -> Result<Snapshot, String> {
        if root.is_zero() {
            // The quota is the manifest's; the launch sets it.
            return Ok(Snapshot::new(daee_types::ByteSize::mib(64)));
        }
        let bytes = self.checkpoint(root).await?;
        let (made_by, snapshot) = envelope::read(&bytes).map_err(|error| error.to_string())?;
        Ok(match made_by.artifact == version.artifact {
            true => snapshot,
            false => snapshot.without_machine(),
        })
    }

    fn plan(
        &self,
        epoch: EpochId,
        version: Version,
        manifest: &Arc<Manifest>,
        module: Module,
        snapshot: Snapshot,
    ) -> Plan {
        let shared = &self.shared;
        let records = manifest.durability() != daee_manifest::Durability::Checkpoint;
        let intent = records.then(|| shared.store.agent_dir(self.id, &epoch).join("intent"));
        let outside = AgentOutside {
            id: self.id,
            egress: shared.egress.clone(),
            content: shared.content.clone(),
            runtime: tokio::runtime::Handle::current(),
            intent: intent.clone().map(IntentFile::at),
        };
        let launch = Launch {
            module,
            limits: Limits { memory_max: manifest.resources().memory, ..Limits::default() },
            policy: manifest.policy(),
            env: manifest.env().to_vec(),
            args: manifest.args().to_vec(),
            snapshot,
            quota: manifest.storage(),
            manifest: *manifest.manifest_hash().as_bytes(),
        };
        let manifest = manifest.clone();
        let settings = &shared.settings;
        let replay =
            Replay { rebirth_turns: settings.rebirth_turns, record_max: settings.record_max };
        let outside = Box::new(outside);
        let hibernate_after_millis = settings.hibernate_after_millis;
        let id = self.id;
        Plan {
            id,
            epoch,
            version,
            manifest,
            launch,
            outside,
            intent,
            replay,
            hibernate_after_millis,
        }
    }

    /// Hears the agent's thread: what to publish, and that it fell over.
    fn listen(&self, epoch: EpochId) -> mpsc::UnboundedSender<Told> {
        let (told, mut words) = mpsc::unbounded_channel();
        let (shared, id) = (self.shared.clone(), self.id);
        tokio::spawn(async move {
            let effects = publish::start(shared.clone(), id, epoch);
            while let Some(word) = words.recv().await {
                match word {
                    Told::Publish(list) => send(&effects, list),
                    Told::Ended(why) => {
                        shared.note_reason(id, Some(why));
                        shared.drop_agent(id, Some(epoch));
                        shared.tell(Event::Sealed { id, epoch, marks: None });
                    }
                }
            }
        });
        told
    }

    async fn upgrade(&mut self, epoch: EpochId, version: Version) -> Result<(), String> {
        let Some(running) = self.running.as_ref().filter(|r| r.handle.epoch == epoch) else {
            return Err("the agent does not run here now".into());
        };
        let package = self.package(&version).await?;
        let module = self.prepare(&package).await?;
        // The thread takes the snapshot itself, between two turns.
        let snapshot = Snapshot::new(package.manifest.storage());
        let plan = self.plan(epoch, version, &package.manifest, module, snapshot);
        let before = running.handle.face().manifest.agent_id().version();
        running.handle.upgrade(plan, before).await
    }

    async fn seal(&mut self, epoch: EpochId, tick: Word, last: bool) -> Result<Marks, String> {
        let handle = match &self.running {
            Some(running) if running.handle.epoch == epoch => running.handle.clone(),
            // The final leaf is made again when an anchor or its opening failed; the state is the same.
            None if last && self.sealed_last == Some(epoch) => {
                let sealed = self.shared.sealed(self.id);
                return sealed.map(|sealed| sealed.marks).ok_or_else(|| "it was not sealed".into());
            }
            _ => return Err("the agent does not run here now".into()),
        };
        let sealed: Sealed = handle.seal(tick, last).await?;
        let marks = sealed.marks;
        self.shared.put_sealed(self.id, sealed);
        if last {
            // No turn after the stop turn: what was sealed is what the final leaf says.
            self.sealed_last = Some(epoch);
            self.release().await;
        }
        Ok(marks)
    }

    async fn release(&mut self) {
        let Some(Running { handle, thread }) = self.running.take() else { return };
        self.shared.drop_agent(self.id, Some(handle.epoch));
        handle.end().await;
        if let Ok(Err(_)) = blocking(move || thread.join()).await {
            tracing::error!(deployment = %self.id, "an agent's thread panicked");
        }
    }
}

fn send(effects: &mpsc::UnboundedSender<Vec<Effect>>, list: Vec<Effect>) {
    // The publisher ends with this listener, not before.
    let _ = effects.send(list);
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| format!("a task died: {error}"))
}

/// The same in turn: whoever is next waits until the work is done, even if nobody waits for this one any more.
pub(crate) async fn blocking_in_turn<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    let work = move || {
        let done = work();
        drop(turn);
        done
    };
    blocking(work).await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn work_that_nobody_waits_for_any_more_keeps_its_turn() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = turns.clone().acquire_owned().await.unwrap();
        let (go, gone) = channel();
        let (begin, begun) = tokio::sync::oneshot::channel();
        let asked = tokio::spawn(blocking_in_turn(turn, move || {
            begin.send(()).unwrap();
            gone.recv().unwrap();
        }));
        begun.await.unwrap();
        asked.abort();
        assert!(asked.await.unwrap_err().is_cancelled());
        assert_eq!(turns.available_permits(), 0);
        go.send(()).unwrap();
        drop(turns.acquire().await.unwrap());
    }
}
