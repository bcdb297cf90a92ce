use std::time::Duration;

use daee_artifact::RunStyle;
use daee_policy::Policy;
use daee_state::{Delta, Draft, Effect, PAGE_BYTES, Page, State};
use daee_transcript::{Entry, Level, LogLine, Progress};
use daee_types::{ByteSize, Coded, Fault, LogRoot, StateRoot, Timestamp, TranscriptRoot};

use crate::door::Door;
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
    /// The most bytes of its keys and values.
    pub quota: ByteSize,
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
    /// Transcript entries, each behind its length.
    pub transcript: Vec<u8>,
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
    outside: Box<dyn Outside>,
    state: State,
    progress: Progress,
    cell: Option<Cell>,
    /// The present cell's birth is not in the transcript yet.
    newborn: bool,
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
            outside,
            state,
            progress,
            cell: None,
            newborn: false,
            cpu: Duration::ZERO,
        };
        agent.bear()?;
        Ok(agent)
    }

    /// Handles one event to its end. Whatever the guest does, this returns, and the agent can handle
    /// the next event; whether it should is the host's to decide.
    pub fn turn(&mut self, event: Event, at: Timestamp) -> Turned {
        // A cell that died since its last turn had seen nothing of this event.
        let lives = self.cell.as_mut().is_some_and(Cell::lives);
        let born = if lives { Ok(()) } else { self.bear() };
        let turn = self.progress.turn + 1;
        self.progress.turn = turn;
        let frame = event.frame(turn, at);

        let mut before = Vec::new();
        if std::mem::take(&mut self.newborn) {
            let birth = Entry::Birth {
                state_root: self.state.root(),
                turn: turn - 1,
                runtime_version: RUNTIME_VERSION,
                artifact_hash: *self.module.artifact_hash(),
            };
            before = self.progress.transcript.append(&birth);
        }
        let mut draft = Draft::new(&self.state);
        if let Event::Timer { name } = &event {
            draft.cancel_timer(name);
        }
        // A timer has fired even if its turn is rolled back: it would never stop firing otherwise.
        let otherwise = || {
            let mut draft = Draft::new(&self.state);
            if let Event::Timer { name } = &event {
                draft.cancel_timer(name);
            }
            draft.finish()
        };
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
        door.transcript = before;
        door.record(&Entry::Event { turn, at, frame });
        let run = match (&mut self.cell, born) {
            (Some(cell), Ok(())) => cell.turn(self.module.style(), &self.limits, &mut door),
            (_, Err(error)) => Run::killed(error.to_string()),
            (None, Ok(())) => Run::killed("there is no cell".into()),
        };
        let Run { outcome, fuel, machine, cell_lives, computed } = run;
        self.cpu = self.cell.as_mut().and_then(Cell::cpu_since).unwrap_or(computed);
        let fuel = fuel.min(self.limits.fuel_turn);
        if outcome.fault().is_some() {
            door.line(Level::Error, &format!("turn {turn} is not kept: {outcome}"));
        }
        door.record(&Entry::End { turn, outcome: outcome.number(), fuel });
        let Door { mut draft, answer, transcript, logs, .. } = door;
        let kept = outcome.is_kept();
        let delta = if kept {
            if let Some(machine) = machine {
                draft.set_machine(machine);
            }
            draft.finish()
        } else {
            otherwise()
        };
        if !cell_lives {
            self.cell = None;
        }
        let effects = delta.effects().to_vec();
        self.progress.fuel = self.progress.fuel.saturating_add(fuel);
        let commit =
            Commit { delta: delta.encode(), transcript, logs, progress: self.progress.encode() };
        self.state.apply(delta);
        Turned { outcome, answer: answer.filter(|_| kept), commit, fuel, effects }
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
        let delta = Delta::release_to(upto_turn);
        let encoded = delta.encode();
        self.state.apply(delta);
        Commit {
            delta: encoded,
            transcript: Vec::new(),
            logs: Vec::new(),
            progress: self.progress.encode(),
        }
    }

    /// Time of a core that its last turn cost: that of its cell, with the cell's start if it is new. Where a
    /// cell has no process of its own or is gone, the time that the turn computed. Another machine says
    /// something else.
    pub fn cpu_turn(&self) -> Duration {
        self.cpu
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
        let mut cell = Cell::start(&self.runtime, &self.module, &self.limits)?;
        let pages: Vec<(u32, Page)> = machine
            .map(|machine| machine.pages().map(|(at, page)| (at, page.clone())).collect())
            .unwrap_or_default();
        cell.load(birth, &pages)?;
        self.cell = Some(cell);
        self.newborn = true;
        Ok(())
    }
}
