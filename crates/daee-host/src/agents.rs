//! One thread for each agent that runs here: it takes commands one after another, hands each to the
//! agent as a turn, and answers only when what the turn wrote is as durable as the manifest asks.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use daee_lifecycle::endpoint_label;
use daee_manifest::{Durability, Endpoint, Manifest};
use daee_runtime::{
    Agent, Answer, Commit, Event, Launch, Outcome, Outside, RunStyle, Runtime, Snapshot, Turned,
};
use daee_state::{Delta, Effect};
use daee_store::{AgentStore, Durable, LogReader, StoreError, Written};
use daee_types::{ByteSize, DeploymentId, EpochId, Timestamp, Word};
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    clock,
    envelope::{self, Head},
    intent,
    mailbox::{self, Mailbox, NotTaken, mailbox},
    node::{Marks, Version},
    share::CpuShare,
};

/// Requests that may wait for one agent before callers are told to come back later; and as many orders of the node.
const MAILBOX_MAX: usize = 256;
/// Turns whose answers wait for one write to the disk.
const GROUP_MAX: usize = 64;
/// Failed turns in a row after which an agent rests before it is asked again.
const FAILURES_MAX: u32 = 5;
/// How long it rests.
const REST_MILLIS: u64 = 10_000;
/// As long as this a request waits for the agent's share of the CPU before it is told to come again.
const OWING_MILLIS: u64 = 200;
/// Deltas after which a new base is written, so that a restart reads little.
const DELTAS_MAX: u32 = 512;
/// The same in bytes of what turns wrote.
const TURNS_BYTES_MAX: u64 = 64 << 20;
/// Longest sleep of a thread whose agent waits for nothing.
const SLEEP_MAX: Duration = Duration::from_secs(60);
/// How long whoever asks over HTTP waits for where an agent stands.
const LOOK_TIME: Duration = Duration::from_secs(2);
/// What the agent's `stop` turn may take.
const STOP_MILLIS: u64 = 5_000;
/// The name of the timer events that the manifest's `schedule` makes.
const SCHEDULE: &str = "schedule";

/// A turn's answer to whoever asked over HTTP.
pub(crate) enum Reply {
    /// What the agent said; 204 without a body where it said nothing.
    Answer(Answer),
    /// The turn was rolled back; why, and whose fault it is.
    Failed(Outcome),
    /// The agent rests after failing too often, for so many milliseconds more.
    Resting(u64),
    /// The agent has used more than its share of the CPU, and has it again in so many milliseconds.
    Owing(u64),
    /// The node could not keep what the turn wrote.
    NotKept(String),
}

/// A request at an agent's endpoint.
pub(crate) struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

/// A sealed state, and the bytes another node continues from.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub marks: Marks,
    pub checkpoint: Arc<Vec<u8>>,
}

/// Why a request was not even handed to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Too many wait already.
    Busy,
    /// The agent's thread has ended.
    Gone,
}

/// Everything an agent is started from on this node.
pub(crate) struct Plan {
    pub id: DeploymentId,
    pub epoch: EpochId,
    pub version: Version,
    pub manifest: Arc<Manifest>,
    pub launch: Launch,
    pub outside: Box<dyn Outside>,
    /// Where `outside` keeps what a turn has begun before anything outside is done.
    pub intent: Option<PathBuf>,
    /// How long a replay may become.
    pub replay: Replay,
    /// How long it may be without an event until its cell is ended, in milliseconds.
    pub hibernate_after_millis: u64,
}

/// What bounds a replay, which begins where a program in memory was started and needs what was recorded since.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Replay {
    /// Turns after which such a program is started anew.
    pub rebirth_turns: u64,
    /// What is kept of past turns.
    pub record_max: ByteSize,
}

/// The event that an agent's new life begins with.
pub(crate) enum Beginning {
    /// The first turn of a lease.
    Start,
    /// The same lease, after the node was away: nothing has happened for the agent.
    GoOn,
}

/// What an agent's turns are written to.
pub(crate) enum Kept {
    /// A lease that begins, in this directory.
    Fresh(PathBuf),
    /// One that goes on.
    There(Box<AgentStore>, LogReader),
}

/// What the thread tells the rest of the node.
pub(crate) enum Told {
    /// Publish these; they are durable here. They come again after a restart until they are released.
    Publish(Vec<Effect>),
    /// The thread has ended although nobody asked it to; why.
    Ended(String),
}

enum Command {
    Request { request: Request, reply: oneshot::Sender<Reply> },
    Seal { tick: Word, last: bool, reply: oneshot::Sender<Result<Sealed, String>> },
    Upgrade { plan: Box<Plan>, from: String, reply: oneshot::Sender<Result<(), String>> },
    Released { upto_turn: u64 },
    Look { reply: oneshot::Sender<Standing> },
    End,
}

/// Where an agent stands between two turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    pub head: Head,
    /// Records of its store up to here.
    pub record: u64,
}

/// What is known of a running agent without asking it.
#[derive(Clone)]
pub(crate) struct Face {
    pub manifest: Arc<Manifest>,
    pub version: Version,
    pub label: String,
    pub restarts: u32,
    /// Why its last turns failed, if they did.
    pub trouble: Option<String>,
}

impl Face {
    pub fn is_private(&self) -> bool {
        self.manifest.endpoint() == Endpoint::Private
    }
}

/// How the node speaks to an agent's thread.
#[derive(Clone)]
pub(crate) struct AgentHandle {
    pub epoch: EpochId,
    pub logs: LogReader,
    /// Changes whenever log lines were written.
    pub written: watch::Receiver<u64>,
    commands: mailbox::Sender<Command>,
    face: Arc<Mutex<Face>>,
}

impl AgentHandle {
    pub fn face(&self) -> Face {
        lock(&self.face).clone()
    }

    /// Hands a request to the agent; the answer comes when it may be given.
    pub async fn request(&self, request: Request) -> Result<Reply, Refused> {
        let (reply, answer) = oneshot::channel();
        let taken = self.commands.request(Command::Request { request, reply });
        taken.map_err(|error| match error {
            NotTaken::Full(_) => Refused::Busy,
            NotTaken::Closed => Refused::Gone,
        })?;
        answer.await.map_err(|_| Refused::Gone)
    }

    /// Runs the tick turn, or the stop turn if it is the last, and seals what is then.
    pub async fn seal(&self, tick: Word, last: bool) -> Result<Sealed, String> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Seal { tick, last, reply }).await?;
        answer.await.map_err(|_| "its thread ended".to_owned())?
    }

    /// Starts a new version beside the old one on a copy of its state, and switches if its first turn is kept.
    pub async fn upgrade(&self, plan: Plan, from: String) -> Result<(), String> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Upgrade { plan: Box::new(plan), from, reply }).await?;
        answer.await.map_err(|_| "its thread ended".to_owned())?
    }

    /// Says that effects up to this turn were done.
    pub async fn released(&self, upto_turn: u64) -> Result<(), String> {
        self.send(Command::Released { upto_turn }).await
    }

    /// Where the agent stands; none if it is too busy to say or gone.
    pub async fn look(&self) -> Option<Standing> {
        let (reply, answer) = oneshot::channel();
        self.commands.order(Command::Look { reply }).ok()?;
        answer.await.ok()
    }

    /// The same; none as well if it does not say so soon.
    pub async fn look_soon(&self) -> Option<Standing> {
        tokio::time::timeout(LOOK_TIME, self.look()).await.ok().flatten()
    }

    /// Lets the thread finish what it has begun, and end.
    pub async fn end(&self) {
        // An error means that it has ended already.
        let _ = self.send(Command::End).await;
    }

    /// The node's own commands wait for their place, and for no request.
    async fn send(&self, command: Command) -> Result<(), String> {
        let mut command = command;
        loop {
            match self.commands.order(command) {
                Ok(()) => return Ok(()),
                Err(NotTaken::Closed) => return Err("its thread ended".to_owned()),
                Err(NotTaken::Full(back)) => command = back,
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Starts an agent's thread. Blocks until the agent stands and has handled what its life begins with.
pub(crate) fn start(
    runtime: &Runtime,
    plan: Plan,
    kept: Kept,
    beginning: &Beginning,
    words: mpsc::UnboundedSender<Told>,
) -> Result<(AgentHandle, JoinHandle<()>), String> {
    let resident = plan.launch.module.style() == RunStyle::Resident;
    let mut agent = Agent::start(runtime, plan.launch, plan.outside).map_err(|e| e.to_string())?;
    let (mut store, logs) = match kept {
        Kept::Fresh(dir) => {
            let base = base_of(&mut agent, plan.version);
            AgentStore::create(&dir, &base).map_err(|error| error.to_string())?
        }
        Kept::There(store, logs) => (*store, logs),
    };
    store.set_record_bytes_max(plan.replay.record_max);
    let face = Arc::new(Mutex::new(Face {
        label: endpoint_label(plan.manifest.agent_id().name(), plan.id),
        manifest: plan.manifest.clone(),
        version: plan.version,
        restarts: 0,
        trouble: None,
    }));
    let (commands, mailbox) = mailbox(MAILBOX_MAX);
    let (written, reader) = watch::channel(0);
    let now = clock::now();
    let mut served = Served {
        runtime: runtime.clone(),
        id: plan.id,
        cell: agent.cell_pid(),
        agent,
        version: plan.version,
        durability: plan.manifest.durability(),
        scheduled: next_schedule(&plan.manifest, now),
        share: CpuShare::new(plan.manifest.resources().cpu, now),
        manifest: plan.manifest,
        resident,
        replay: plan.replay,
        turns_since_birth: 0,
        hibernate_after_millis: plan.hibernate_after_millis,
        awake: true,
        last_turn: now,
        face: face.clone(),
        store,
        mailbox,
        words,
        written,
        waiting: Vec::new(),
        effects: Vec::new(),
        failures: 0,
        resting_until: Timestamp(0),
    };
    let pending = served.agent.state().effects().to_vec();
    served.effects.extend(pending);
    match beginning {
        Beginning::Start => drop(served.turn(Event::Start)?),
        Beginning::GoOn => {
            if let Some(path) = &plan.intent {
                served.interrupted(path)?;
            }
            // Its cell is new, and a recording may begin with that.
            if resident {
                served.rebase(true)?;
            }
        }
    }
    served.settle()?;
    let thread = std::thread::Builder::new()
        .name(format!("agent-{}", plan.id))
        .spawn(move || served.serve())
        .map_err(|error| format!("no thread for it: {error}"))?;
    Ok((AgentHandle { epoch: plan.epoch, logs, written: reader, commands, face }, thread))
}

fn next_schedule(manifest: &Manifest, after: Timestamp) -> Option<Timestamp> {
    manifest.schedule().and_then(|schedule| schedule.next_after(after))
}

/// An agent and what its thread keeps for it.
struct Served {
    runtime: Runtime,
    id: DeploymentId,
    agent: Agent,
    version: Version,
    cell: Option<u32>,
    manifest: Arc<Manifest>,
    durability: Durability,
    scheduled: Option<Timestamp>,
    share: CpuShare,
    /// Its memory is lost with its cell, so that only where one is born a recording may begin.
    resident: bool,
    replay: Replay,
    turns_since_birth: u64,
    hibernate_after_millis: u64,
    /// Whether it has a cell, as far as is known here.
    awake: bool,
    last_turn: Timestamp,
    face: Arc<Mutex<Face>>,
    store: AgentStore,
    mailbox: Mailbox<Command>,
    words: mpsc::UnboundedSender<Told>,
    written: watch::Sender<u64>,
    /// Answers that may be given once the disk has what their turns wrote.
    waiting: Vec<(oneshot::Sender<Reply>, Reply)>,
    /// Effects whose turns the disk does not surely have yet.
    effects: Vec<Effect>,
    failures: u32,
    resting_until: Timestamp,
}

/// Why a new version did not take over.
enum NotSwitched {
    /// Nothing has happened to the old one.
    Before(String),
    /// The disk has what the old one does not know of: it can only be read again.
    HalfWay(String),
}

impl From<String> for NotSwitched {
    fn from(why: String) -> Self {
        Self::Before(why)
    }
}

/// What wakes the thread.
enum Wake {
    Command(Command),
    Timer(String),
    Nothing,
    End,
}

impl Served {
    fn serve(mut self) {
        let ended = self.run();
        if let Err(why) = ended {
            tracing::error!(deployment = %self.id, %why, "an agent had to be put down");
            lock(&self.face).trouble = Some(why.clone());
            // The node may be going down itself; then nobody listens.
            let _ = self.words.send(Told::Ended(why));
        }
    }

    /// Until it is told to end, or the disk takes no more.
    fn run(&mut self) -> Result<(), String> {
        loop {
            match self.wait() {
                Wake::End => return self.settle(),
                Wake::Nothing => self.hibernate(),
                Wake::Timer(name) => self.timer(name)?,
                Wake::Command(command) => {
                    if !self.command(command)? {
                        return self.settle();
                    }
                }
            }
            // What waits already is handled before the disk is asked once for all of it.
            while self.waiting.len() < GROUP_MAX && !self.waiting.is_empty() {
                match self.mailbox.try_take() {
                    Ok(command) => {
                        if !self.command(command)? {
                            return self.settle();
                        }
                    }
                    Err(mailbox::Nothing::Yet) => break,
                    Err(mailbox::Nothing::More) => return self.settle(),
                }
            }
            self.settle()?;
        }
    }

    fn wait(&mut self) -> Wake {
        let now = clock::now();
        let free_at = self.resting_until.max(self.share.paid_at());
        if now >= free_at
            && let Some(name) = self.due(now)
        {
            return Wake::Timer(name);
        }
        let next = self
            .agent
            .state()
            .timers()
            .values()
            .copied()
            .chain(self.scheduled)
            .min()
            .map(|at| at.max(free_at));
        let next = next.into_iter().chain(self.hibernates_at()).min();
        let sleep = next.map_or(SLEEP_MAX, |at| {
            Duration::from_millis(at.millis_since(now).max(1)).min(SLEEP_MAX)
        });
        match self.mailbox.take(sleep) {
            Ok(command) => Wake::Command(command),
            Err(mailbox::Nothing::Yet) => Wake::Nothing,
            Err(mailbox::Nothing::More) => Wake::End,
        }
    }

    /// When its cell is ended if nothing happens; never that of a program, whose memory would be lost.
    fn hibernates_at(&self) -> Option<Timestamp> {
        let sleeps = self.awake && !self.resident;
        sleeps.then(|| self.last_turn.plus_millis(self.hibernate_after_millis))
    }

    /// Ends the cell if nothing happened for long enough. The state is all there is of an agent between two turns.
    fn hibernate(&mut self) {
        if self.hibernates_at().is_some_and(|at| at <= clock::now()) {
            self.agent.rebirth();
            (self.awake, self.cell) = (false, None);
        }
    }

    /// The timer that is due first, if any is.
    fn due(&self, now: Timestamp) -> Option<String> {
        let timers = self.agent.state().timers().iter().map(|(name, at)| (*at, name.as_str()));
        let scheduled = self.scheduled.map(|at| (at, SCHEDULE));
        let (at, name) = timers.chain(scheduled).min()?;
        (at <= now).then(|| name.to_owned())
    }

    fn timer(&mut self, name: String) -> Result<(), String> {
        if name == SCHEDULE {
            // Times that were missed are not made up for.
            self.scheduled = next_schedule(&self.manifest, clock::now());
        }
        self.turn(Event::Timer { name }).map(|_| ())
    }

    /// False when it was told to end.
    fn command(&mut self, command: Command) -> Result<bool, String> {
        match command {
            Command::Request { request, reply } => self.request(request, reply)?,
            Command::Seal { tick, last, reply } => {
                let sealed = self.seal(tick, last);
                // Whoever asked is gone when the lease is.
                let _ = reply.send(sealed.clone());
                sealed?;
            }
            Command::Upgrade { plan, from, reply } => {
                let (tried, fatal) = match self.upgrade(*plan, from) {
                    Ok(()) => (Ok(()), false),
                    Err(NotSwitched::Before(why)) => (Err(why), false),
                    Err(NotSwitched::HalfWay(why)) => (Err(why), true),
                };
                let _ = reply.send(tried.clone());
                if fatal {
                    tried?;
                }
            }
            Command::Released { upto_turn } => {
                let commit = self.agent.released(upto_turn);
                self.keep(&commit, Durable::Later)?;
            }
            Command::Look { reply } => {
                let head = head_of(&mut self.agent, self.version);
                let standing = Standing { head, record: self.store.last() };
                let _ = reply.send(standing);
            }
            Command::End => return Ok(false),
        }
        Ok(true)
    }

    fn request(&mut self, request: Request, reply: oneshot::Sender<Reply>) -> Result<(), String> {
        let now = clock::now();
        if now < self.resting_until {
            // An answer that nobody waits for any more is no loss.
            let _ = reply.send(Reply::Resting(self.resting_until.millis_since(now)));
            return Ok(());
        }
        let owing = self.share.paid_at().millis_since(now);
        if owing > OWING_MILLIS {
            let _ = reply.send(Reply::Owing(owing));
            return Ok(());
        }
        if owing > 0 {
            // Nobody else's answer waits for what this agent owes.
            self.settle()?;
            std::thread::sleep(Duration::from_millis(owing));
        }
        let Request { method, path, query, headers, body } = request;
        let turned = self.turn(Event::Http { method, path, query, headers, body });
        let turned = match turned {
            Ok(turned) => turned,
            Err(why) => {
                let _ = reply.send(Reply::NotKept(why.clone()));
                return Err(why);
            }
        };
        let answer = match turned.outcome.is_kept() {
            true => Reply::Answer(turned.answer.unwrap_or(Answer {
                status: 204,
                headers: Vec::new(),
                body: Vec::new(),
            })),
            false => Reply::Failed(turned.outcome),
        };
        match self.durability {
            Durability::Checkpoint => drop(reply.send(answer)),
            Durability::Local | Durability::Turn => self.waiting.push((reply, answer)),
        }
        Ok(())
    }

    /// One turn, written down.
    fn turn(&mut self, event: Event) -> Result<Turned, String> {
        let turned = self.agent.turn(event, clock::now());
        let now = clock::now();
        (self.awake, self.last_turn) = (true, now);
        self.share.charge(self.agent.cpu_turn(), now);
        self.turns_since_birth += 1;
        self.keep(&turned.commit, Durable::Later)?;
        self.effects.extend(turned.effects.iter().cloned());
        let cell = self.agent.cell_pid();
        let mut face = lock(&self.face);
        if cell != self.cell && self.cell.is_some() && cell.is_some() {
            face.restarts += 1;
        }
        self.cell = cell.or(self.cell);
        if turned.outcome.is_kept() {
            self.failures = 0;
            face.trouble = None;
        } else {
            self.failures += 1;
            face.trouble = Some(turned.outcome.to_string());
            if self.failures.is_multiple_of(FAILURES_MAX) {
                self.resting_until = clock::now().plus_millis(REST_MILLIS);
            }
        }
        Ok(turned)
    }

    fn keep(&mut self, commit: &Commit, durable: Durable) -> Result<(), String> {
        let written = Written {
            delta: &commit.delta,
            transcript: &commit.transcript,
            bodies: &commit.bodies,
            logs: &commit.logs,
            progress: &commit.progress,
        };
        self.store.append(written, durable).map_err(|error| error.to_string())?;
        if !commit.logs.is_empty() {
            self.written.send_modify(|count| *count += 1);
        }
        Ok(())
    }

    /// Makes all that was written durable, and lets go what waited for it.
    fn settle(&mut self) -> Result<(), String> {
        if !self.waiting.is_empty() || !self.effects.is_empty() {
            self.release()?;
        }
        let Replay { rebirth_turns, record_max } = self.replay;
        if self.resident
            && (self.turns_since_birth >= rebirth_turns.max(1)
                || self.store.bytes_since_start() > record_max.0 / 2)
        {
            return self.rebirth();
        }
        // Where no answer waits for the disk, turns come to it all the same.
        if self.store.deltas() > DELTAS_MAX || self.store.bytes() > TURNS_BYTES_MAX {
            self.rebase(!self.resident)?;
        }
        Ok(())
    }

    /// Writes down where the agent stands, for a restart to go on from, and for a recording if one may begin here.
    fn rebase(&mut self, start: bool) -> Result<(), String> {
        let base = base_of(&mut self.agent, self.version);
        let done = match start {
            true => self.store.rebase_start(&base),
            false => self.store.rebase(&base),
        };
        done.map_err(|error| error.to_string())
    }

    /// Ends the cell of a program in memory; the next turn starts another from the state.
    fn rebirth(&mut self) -> Result<(), String> {
        self.rebase(true)?;
        self.agent.rebirth();
        self.turns_since_birth = 0;
        // It is no restart that anybody has to know of.
        self.cell = None;
        Ok(())
    }

    fn release(&mut self) -> Result<(), String> {
        if let Err(error) = self.store.sync() {
            let why = error.to_string();
            for (reply, _) in self.waiting.drain(..) {
                let _ = reply.send(Reply::NotKept(why.clone()));
            }
            return Err(why);
        }
        for (reply, answer) in self.waiting.drain(..) {
            let _ = reply.send(answer);
        }
        if !self.effects.is_empty() {
            let _ = self.words.send(Told::Publish(std::mem::take(&mut self.effects)));
        }
        Ok(())
    }

    fn seal(&mut self, tick: Word, last: bool) -> Result<Sealed, String> {
        let event = match last {
            true => Event::Stop { deadline: clock::now().plus_millis(STOP_MILLIS) },
            false => Event::Tick { block_hash: tick },
        };
        // Whatever becomes of the turn, the state after it is what it is.
        self.turn(event)?;
        self.settle()?;
        self.store.sync().map_err(|error| error.to_string())?;
        if last {
            // Nothing runs behind the state that the final leaf says.
            self.mailbox.close_requests();
        }
        let marks = self.marks();
        let checkpoint = envelope::write(&self.version, &self.agent.snapshot());
        Ok(Sealed { marks, checkpoint: Arc::new(checkpoint) })
    }

    fn marks(&mut self) -> Marks {
        head_of(&mut self.agent, self.version).marks
    }

    /// Ends the turn in which the node ended before, if it had begun something outside.
    fn interrupted(&mut self, path: &Path) -> Result<(), String> {
        let Some((transcript, bodies)) = intent::read(path) else { return Ok(()) };
        match self.agent.interrupted(&transcript, &bodies) {
            Ok(Some(commit)) => self.keep(&commit, Durable::Now),
            Ok(None) => Ok(()),
            Err(error) => {
                tracing::warn!(deployment = %self.id, %error, "an intent is of no turn");
                Ok(())
            }
        }
    }

    /// The new version runs beside the old one until its first turn is kept; nothing of the old one is
    /// touched before.
    fn upgrade(&mut self, plan: Plan, from_version: String) -> Result<(), NotSwitched> {
        let text = |error: daee_types::wire::WireError| error.to_string();
        let copy = Snapshot::decode(&self.agent.snapshot()).map_err(text)?.without_machine();
        let (marks, begins) = (self.marks(), copy.encode());
        let resident = plan.launch.module.style() == RunStyle::Resident;
        let launch = Launch { snapshot: copy, ..plan.launch };
        let mut next =
            Agent::start(&self.runtime, launch, plan.outside).map_err(|e| e.to_string())?;
        let turned = next.turn(Event::Upgraded { from_version }, clock::now());
        if !turned.outcome.is_kept() {
            let why = format!("its first turn was not kept: {}", turned.outcome);
            return Err(NotSwitched::Before(why));
        }
        // The record of the turn first, without what it did: a crash before the new base is written leaves
        // the old version as it was, and a transcript that says what was tried.
        let nothing = Delta::default().encode();
        let commit = Commit { delta: nothing, ..turned.commit };
        let before = self.store.last();
        self.keep(&commit, Durable::Now)?;
        let half_way = |error: StoreError| NotSwitched::HalfWay(error.to_string());
        let begin = Head { marks, ..head_of(&mut next, plan.version) };
        let begin = envelope::write_base(&begin, &begins);
        self.store.start(before, &begin).map_err(half_way)?;
        let base = base_of(&mut next, plan.version);
        let rebased = match resident {
            true => self.store.rebase(&base),
            false => self.store.rebase_start(&base),
        };
        rebased.map_err(half_way)?;
        self.version = plan.version;
        self.agent = next;
        (self.resident, self.turns_since_birth) = (resident, 1);
        self.cell = self.agent.cell_pid();
        self.awake = true;
        self.durability = plan.manifest.durability();
        let now = clock::now();
        self.scheduled = next_schedule(&plan.manifest, now);
        self.share.change(plan.manifest.resources().cpu, now);
        self.share.charge(self.agent.cpu_turn(), now);
        self.manifest = plan.manifest.clone();
        self.effects.extend(turned.effects);
        self.failures = 0;
        self.resting_until = Timestamp(0);
        let mut face = lock(&self.face);
        face.manifest = plan.manifest;
        face.version = plan.version;
        face.trouble = None;
        Ok(())
    }
}

fn head_of(agent: &mut Agent, version: Version) -> Head {
    let marks = agent.marks();
    let marks = Marks {
        turn: marks.turn,
        state_root: marks.state_root,
        log_root: marks.log_root,
        transcript_root: marks.transcript_root,
        fuel: marks.fuel,
        artifact: version.artifact,
    };
    Head { marks, bounds: agent.bounds(), version }
}

fn base_of(agent: &mut Agent, version: Version) -> Vec<u8> {
    envelope::write_base(&head_of(agent, version), &agent.snapshot())
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
