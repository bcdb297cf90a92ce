use std::time::Duration;

use daee_artifact::RunStyle;
use daee_policy::Policy;
use daee_state::{Delta, Draft, Effect, PAGE_BYTES, State};
use daee_transcript::{Bodies, Bounds, Entry, LogLine, Progress, Segment, WHY_BYTES_MAX, entries};
use daee_types::{
    ByteSize, Coded, Fault, LogRoot, StateRoot, Timestamp, TranscriptRoot, Word,
    wire::{Reader, WireError},
};

use crate::check::Check;
use crate::door::Door;
use crate::ground::Ground;
use crate::protocol::Birth;
use crate::warden::{Cell, Run};
use crate::{
    Answer, Event, Limits, Module, Outcome, Outside, RUNTIME_VERSION, Runtime, Snapshot, snapshot,
};

/// What an agent is started from.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The module, prepared by the same runtime.
    pub module: Module,
    /// Its bounds.
    pub limits: Limits,
    /// What it may do.
    pub policy: Policy,
    /// Environment of a program.
    pub env: Vec<(String, String)>,
    /// Arguments of a program, behind its name.
    pub args: Vec<String>,
    /// Where it continues; [`Snapshot::new`] for one that never ran.
    pub snapshot: Snapshot,
    /// The most bytes of its keys, values and files.
    pub quota: ByteSize,
    /// The manifest hash of its package, for the transcript to name; zeros if there is none.
    pub manifest: Word,
}

impl Launch {
    /// A module on its own: default limits, no permissions, no state.
    pub fn new(module: Module) -> Self {
        let quota = ByteSize::mib(64);
        Self {
            module,
            limits: Limits::default(),
            policy: Policy::default(),
            env: Vec::new(),
            args: Vec::new(),
            snapshot: Snapshot::new(quota),
            quota,
            manifest: [0; 32],
        }
    }
}

/// Why an agent does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// The module does not fit its limits, or the kept memory is not of this module.
    #[error("the agent cannot be started: {0}")]
    Agent(String),
    /// This node has no cell for it.
    #[error("no cell could be started: {0}")]
    Cell(String),
}

impl Coded for StartError {
    fn code(&self) -> &'static str {
        match self {
            Self::Agent(_) => "DAEE-R020",
            Self::Cell(_) => "DAEE-R021",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Agent(_) => Fault::Developer,
            Self::Cell(_) => Fault::Node,
        }
    }
}

/// What is to be kept of a turn, all of it or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// An encoded [`Delta`].
    pub delta: Vec<u8>,
    /// Transcript entries, each behind its length: one link of its chain, or none.
    pub transcript: Vec<u8>,
    /// What the entries hold by hash only, to be kept as long as they are.
    pub bodies: Bodies,
    /// Lines of the log.
    pub logs: Vec<LogLine>,
    /// The encoded [`Progress`] after it.
    pub progress: Vec<u8>,
}

/// One turn, over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turned {
    /// How it ended.
    pub outcome: Outcome,
    /// What the agent answered; none if it did not, or if the turn is not kept.
    pub answer: Option<Answer>,
    /// What to keep. The answer may go out once it is kept.
    pub commit: Commit,
    /// Fuel it used.
    pub fuel: u64,
    /// What it wants done outside; also in the state, until [`Agent::released`].
    pub effects: Vec<Effect>,
}

/// Where an agent stands: what its next checkpoint says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// Turns handled.
    pub turn: u64,
    /// Root of its state.
    pub state_root: StateRoot,
    /// Root of its log.
    pub log_root: LogRoot,
    /// Head of its transcript.
    pub transcript_root: TranscriptRoot,
    /// Fuel used in its life.
    pub fuel: u64,
}

/// One agent: its state, and the cell that runs it.
///
/// All calls block: a turn for as long as it takes, with what it waits for outside.
pub struct Agent {
    runtime: Runtime,
    module: Module,
    limits: Limits,
    policy: Policy,
    env: Vec<(String, String)>,
    args: Vec<String>,
    manifest: Word,
    outside: Box<dyn Outside>,
    state: State,
    progress: Progress,
    cell: Option<Cell>,
    ground: Ground,
    /// The present cell's birth is not in the transcript yet.
    pub(crate) newborn: bool,
    cpu: Duration,
}

impl Agent {
    /// Starts a cell on a state. No guest code has run when it returns.
    pub fn start(
        runtime: &Runtime,
        launch: Launch,
        outside: Box<dyn Outside>,
    ) -> Result<Self, StartError> {
        let Snapshot { mut state, progress } = launch.snapshot;
        state.set_quota(launch.quota);
        let mut agent = Self {
            runtime: runtime.clone(),
            module: launch.module,
            limits: launch.limits.clamped(),
            policy: launch.policy,
            env: launch.env,
            args: launch.args,
            manifest: launch.manifest,
            outside,
            state,
            progress,
            cell: None,
            ground: Ground::default(),
            newborn: false,
            cpu: Duration::ZERO,
        };
        agent.bear()?;
        Ok(agent)
    }

    /// Handles one event to its end. Whatever the guest does, this returns, and the agent can handle
    /// the next event; whether it should is the host's to decide.
    pub fn turn(&mut self, event: Event, at: Timestamp) -> Turned {
        self.run(event, at, None).0
    }

    /// Handles one event, with the answers of a recording and beside its entries if `check` has them. Says how many
    /// operations there were.
    pub(crate) fn run(
        &mut self,
        event: Event,
        at: Timestamp,
        check: Option<Check>,
    ) -> (Turned, u32, Option<Check>) {
        // A cell that died since its last turn had seen nothing of this event.
        let lives = self.cell.as_mut().is_some_and(Cell::lives);
        let born = if lives { Ok(()) } else { self.bear() };
        let turn = self.progress.turn + 1;
        self.progress.turn = turn;
        let frame = event.frame(turn, at);
        let birth = std::mem::take(&mut self.newborn).then(|| self.birth());
        let log_before = self.progress.log.clone();

        let mut draft = Draft::new(&self.state);
        if let Event::Timer { name } = &event {
            draft.cancel_timer(name);
        }
        let observed = check.as_ref().and_then(Check::observed);
        let mut door = Door::open(
            draft,
            &self.policy,
            &self.limits,
            self.outside.as_mut(),
            &mut self.progress,
            turn,
            at,
            frame.clone(),
        );
        door.check = check;
        if let Some(birth) = birth {
            door.record(&birth);
        }
        let frame = door.given(&frame);
        door.record(&Entry::Event { turn, at, frame });
        let run = match (&mut self.cell, born) {
            // Nothing is recorded of what it did, or it is not the event that is.
            _ if door.halted() => Run::killed("there is nothing to run".into()),
            (Some(cell), Ok(())) => cell.turn(self.module.style(), &self.limits, &mut door),
            (_, Err(error)) => Run::killed(error.to_string()),
            (None, Ok(())) => Run::killed("there is no cell".into()),
        };
        let Run { mut outcome, mut fuel, machine, mut cell_lives, computed } = run;
        self.cpu = self.cell.as_mut().and_then(Cell::cpu_since).unwrap_or(computed);
        if let Some((recorded, used)) = observed {
            // What it did is dropped, and its cell with it.
            (outcome, fuel, cell_lives) = (recorded, used, false);
            if outcome == Outcome::Lost {
                door.lose(log_before);
            }
        }
        if let Outcome::Killed { why } = &mut outcome {
            why.truncate(why.floor_char_boundary(WHY_BYTES_MAX));
        }
        let fuel = fuel.min(self.limits.fuel_turn);
        door.end(&outcome, fuel);
        let calls = door.calls();
        let Door { mut draft, answer, segment, logs, check, .. } = door;
        let kept = outcome.is_kept();
        let delta = if kept {
            if let Some(machine) = machine {
                self.ground.changed(&machine.pages);
                draft.set_machine(machine);
            }
            draft.finish()
        } else {
            fired(&self.state, &event)
        };
        if !cell_lives {
            self.cell = None;
        }
        let effects = delta.effects().to_vec();
        let commit = self.commit(delta, segment, logs, fuel);
        let answer = answer.filter(|_| kept);
        (Turned { outcome, answer, commit, fuel, effects }, calls, check)
    }

    /// Ends a turn in which the process of the node ended: takes what [`Outside::before_outside`] was told last, before
    /// anything else is done with the agent. Nothing if the turn has its end.
    pub fn interrupted(
        &mut self,
        transcript: &[u8],
        bodies: &Bodies,
    ) -> Result<Option<Commit>, WireError> {
        let wrong = |what| Reader::new(transcript).wrong(what);
        let turn = self.progress.turn + 1;
        let mut segment = Segment::default();
        segment.bodies.clone_from(bodies);
        let mut begun = None;
        for entry in entries(transcript) {
            let (entry, _) = entry?;
            match &entry {
                Entry::Birth { .. } if begun.is_none() => {}
                Entry::Event { turn: own, .. } if begun.is_none() && *own < turn => {
                    return Ok(None);
                }
                Entry::Event { turn: own, at, frame } if begun.is_none() && *own == turn => {
                    let find = |wanted: &Word| {
                        let found = bodies.iter().find(|(hash, _)| hash == wanted);
                        found.map(|(_, bytes)| bytes.as_slice())
                    };
                    let frame =
                        frame.join(find).map_err(|_| wrong("its event is not beside it"))?;
                    let (event, ..) =
                        Event::of_frame(&frame).ok_or_else(|| wrong("its event is none"))?;
                    begun = Some((event, *at));
                }
                Entry::Intent { .. } | Entry::Call { .. } if begun.is_some() => {}
                _ => return Err(wrong("it is no beginning of the next turn")),
            }
            segment.push(&entry);
        }
        let Some((event, at)) = begun else { return Ok(None) };
        self.progress.turn = turn;
        let draft = Draft::new(&self.state);
        let mut door = Door::open(
            draft,
            &self.policy,
            &self.limits,
            self.outside.as_mut(),
            &mut self.progress,
            turn,
            at,
            Vec::new(),
        );
        door.segment = segment;
        door.end(&Outcome::Lost, 0);
        let Door { segment, logs, .. } = door;
        let delta = fired(&self.state, &event);
        Ok(Some(self.commit(delta, segment, logs, 0)))
    }

    /// Where it stands.
    pub fn marks(&mut self) -> Marks {
        Marks {
            turn: self.progress.turn,
            state_root: self.state.root(),
            log_root: self.progress.log.root(),
            transcript_root: self.progress.transcript.root(),
            fuel: self.progress.fuel,
        }
    }

    /// An encoded [`Snapshot`].
    pub fn snapshot(&mut self) -> Vec<u8> {
        snapshot::encode(&self.state, &self.progress)
    }

    /// Its state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Forgets the effects of turns up to this one: they have been done.
    pub fn released(&mut self, upto_turn: u64) -> Commit {
        let mut segment = Segment::default();
        segment.push(&Entry::Released { upto_turn });
        self.commit(Delta::release_to(upto_turn), segment, Vec::new(), 0)
    }

    /// What it is held to.
    pub fn bounds(&self) -> Bounds {
        self.limits.bounds(self.state.quota())
    }

    /// The manifest hash that it was launched with.
    pub fn manifest(&self) -> &Word {
        &self.manifest
    }

    /// Time of a core that its last turn cost: that of its cell, with the cell's start if it is new. Where a
    /// cell has no process of its own or is gone, the time that the turn computed. Another machine says
    /// something else.
    pub fn cpu_turn(&self) -> Duration {
        self.cpu
    }

    /// Gives it another cell, whatever that is (`fuzz`).
    pub(crate) fn put(&mut self, cell: Cell) {
        self.cell = Some(cell);
    }

    /// Process id of its cell, if it has one of its own.
    pub fn cell_pid(&self) -> Option<u32> {
        self.cell.as_ref()?.pid()
    }

    /// Ends the cell; the next turn begins with the birth of another. A resident's memory is lost with it.
    pub fn rebirth(&mut self) {
        self.cell = None;
    }

    /// Ends the cell and hands back what the agent is.
    pub fn stop(self) -> Snapshot {
        Snapshot { state: self.state, progress: self.progress }
    }

    /// Is born again as a recording says: with these bounds, and of a resident with nothing in memory.
    pub(crate) fn born_again(&mut self, bounds: &Bounds) -> Result<(), StartError> {
        // One that has just been born has done nothing yet.
        let empty = self.newborn || self.module.style() != RunStyle::Resident;
        if !empty || self.bounds() != *bounds {
            self.limits = Limits::of_bounds(bounds, self.limits.wall_turn_millis);
            self.state.set_quota(bounds.quota);
            self.cell = None;
        }
        if self.cell.is_none() {
            self.bear()?;
        }
        self.newborn = true;
        Ok(())
    }

    /// Takes in what a turn did, as it is to be kept.
    fn commit(&mut self, delta: Delta, segment: Segment, logs: Vec<LogLine>, fuel: u64) -> Commit {
        let (transcript, bodies) = segment.finish();
        self.progress.fuel = self.progress.fuel.saturating_add(fuel);
        self.progress.transcript.link(&transcript);
        let progress = self.progress.encode();
        let commit = Commit { delta: delta.encode(), transcript, bodies, logs, progress };
        self.state.apply(delta);
        commit
    }

    fn birth(&self) -> Entry {
        Entry::Birth {
            state_root: self.state.root(),
            turn: self.progress.turn - 1,
            runtime_version: RUNTIME_VERSION,
            artifact_hash: *self.module.artifact_hash(),
            manifest: self.manifest,
            bounds: self.bounds(),
        }
    }

    fn bear(&mut self) -> Result<(), StartError> {
        let machine = self.state.machine().filter(|_| self.module.style() == RunStyle::Reactor);
        let kept = machine.map_or(0, |machine| u64::from(machine.page_count()) * PAGE_BYTES as u64);
        if kept > self.limits.memory_max.0 {
            let (kept, most) = (ByteSize(kept), self.limits.memory_max);
            return Err(StartError::Agent(format!("its memory is {kept}, and {most} are allowed")));
        }
        let birth = Birth {
            style: self.module.style(),
            limits: self.limits,
            env: self.env.clone(),
            args: self.args.clone(),
            image: machine.map(|machine| (machine.page_count(), machine.globals().to_vec())),
        };
        let ground = machine.map(|machine| self.ground.lay(machine)).transpose();
        let ground = ground.map_err(|error| StartError::Cell(error.to_string()))?;
        let cell = Cell::start(&self.runtime, &self.module, birth, ground)?;
        self.cell = Some(cell);
        self.newborn = true;
        Ok(())
    }
}

/// What stays of a turn that is not kept: a timer has fired all the same, for it would never stop firing otherwise.
fn fired(state: &State, event: &Event) -> Delta {
    let mut draft = Draft::new(state);
    if let Event::Timer { name } = event {
        draft.cancel_timer(name);
    }
    draft.finish()
}

impl Limits {
    /// With a quota, what of these decides how turns end on every machine.
    pub(crate) fn bounds(&self, quota: ByteSize) -> Bounds {
        Bounds {
            fuel_turn: self.fuel_turn,
            memory_max: self.memory_max,
            table_elements_max: self.table_elements_max,
            log_turn_max: self.log_turn_max,
            door_frame_max: self.door_frame_max,
            door_calls_max: self.door_calls_max,
            quota,
        }
    }

    /// The same back.
    pub(crate) fn of_bounds(bounds: &Bounds, wall_turn_millis: u64) -> Self {
        Self {
            fuel_turn: bounds.fuel_turn,
            wall_turn_millis,
            memory_max: bounds.memory_max,
            table_elements_max: bounds.table_elements_max,
            log_turn_max: bounds.log_turn_max,
            door_frame_max: bounds.door_frame_max,
            door_calls_max: bounds.door_calls_max,
        }
    }
}
