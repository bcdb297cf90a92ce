use std::os::unix::net::UnixStream;
use std::time::Duration;

use daee_artifact::RunStyle;
use daee_policy::Policy;
use daee_state::{Delta, Draft, Effect, MachineDelta, PAGE_BYTES, Page, State};
use daee_transcript::{Entry, Level, LogLine, Progress};
use daee_types::{ByteSize, Coded, Fault, LogRoot, StateRoot, Timestamp, TranscriptRoot};
use memmap2::Mmap;

use crate::cell::{self, Walls};
use crate::door::Door;
use crate::protocol::{Birth, Ended, FromCell, Link, LinkError, PAGES_BATCH, ToCell};
use crate::spawn::{self, Child, Role, Start};
use crate::{
    Answer, Event, Limits, Module, Outcome, Outside, RUNTIME_VERSION, Runtime, Snapshot, snapshot,
};

/// How long a new cell may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

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
        match &self.cell.as_ref()?.life {
            Life::Process(child) => Some(child.pid()),
            Life::Thread(_) => None,
        }
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

/// The supervisor's end of a cell.
struct Cell {
    link: Link,
    life: Life,
    /// A resident waits for its next event with this input.
    waits: Option<Vec<u8>>,
    /// What it had used of a core at the end of its last turn.
    cpu: Duration,
}

enum Life {
    Process(Child),
    /// Ends by itself when the link closes.
    Thread(std::thread::JoinHandle<()>),
}

/// How a cell's part of a turn went.
struct Run {
    outcome: Outcome,
    fuel: u64,
    machine: Option<MachineDelta>,
    cell_lives: bool,
    /// Wall time, without what was waited for outside.
    computed: Duration,
}

impl Run {
    fn killed(why: String) -> Self {
        Self {
            outcome: Outcome::Killed { why },
            fuel: 0,
            machine: None,
            cell_lives: false,
            computed: Duration::ZERO,
        }
    }
}

impl Cell {
    fn start(runtime: &Runtime, module: &Module, limits: &Limits) -> Result<Self, StartError> {
        let node = |error: std::io::Error| StartError::Cell(error.to_string());
        let (here, there) = UnixStream::pair().map_err(node)?;
        let mut link = Link::new(here, limits.door_frame_max);
        let Some(cells) = runtime.cells() else {
            let code = map(module).map_err(node)?;
            let link_in = Link::new(there, ByteSize::gib(4));
            let thread = std::thread::Builder::new()
                .name("daee-cell".into())
                .spawn(move || cell::serve(link_in, &code, Walls::None))
                .map_err(node)?;
            return Ok(Self::new(link, Life::Thread(thread)));
        };
        let mut child = spawn::start(Start {
            executable: cells.executable.try_clone().map_err(node)?,
            role: Role::Cell,
            link: there.into(),
            input: module.code().try_clone().map_err(node)?.into(),
            namespaces: cells.namespaces,
        })
        .map_err(node)?;
        match link.hear_cell(&mut READY_WITHIN.clone()) {
            Ok(FromCell::Jailed(walls)) if cells.as_good(walls) => {
                Ok(Self::new(link, Life::Process(child)))
            }
            Ok(FromCell::Jailed(_)) => {
                Err(StartError::Cell("fewer walls stand than when the node started".into()))
            }
            _ => Err(StartError::Cell(child.end())),
        }
    }

    fn new(link: Link, life: Life) -> Self {
        Self { link, life, waits: None, cpu: Duration::ZERO }
    }

    fn lives(&mut self) -> bool {
        match &mut self.life {
            Life::Process(child) => child.lives(),
            Life::Thread(thread) => !thread.is_finished(),
        }
    }

    /// What it used of a core since this was asked last; none without a process that lives.
    fn cpu_since(&mut self) -> Option<Duration> {
        let Life::Process(child) = &self.life else { return None };
        let now = child.cpu()?;
        let used = now.saturating_sub(self.cpu);
        self.cpu = now;
        Some(used)
    }

    fn load(&mut self, birth: Birth, pages: &[(u32, Page)]) -> Result<(), StartError> {
        let told = self
            .link
            .tell_cell(&ToCell::Birth(Box::new(birth)))
            .and_then(|()| {
                pages
                    .chunks(PAGES_BATCH)
                    .try_for_each(|batch| self.link.tell_cell(&ToCell::Pages(batch.to_vec())))
            })
            .and_then(|()| self.link.tell_cell(&ToCell::Load));
        let heard = told.and_then(|()| self.link.hear_cell(&mut READY_WITHIN.clone()));
        match heard {
            Ok(FromCell::Ready) => Ok(()),
            Ok(FromCell::Refused { developer: true, why }) => Err(StartError::Agent(why)),
            Ok(FromCell::Refused { developer: false, why }) => Err(StartError::Cell(why)),
            Ok(_) => Err(StartError::Cell("it spoke out of turn".into())),
            Err(error) => Err(StartError::Cell(self.why(error))),
        }
    }

    fn turn(&mut self, style: RunStyle, limits: &Limits, door: &mut Door<'_>) -> Run {
        let wall = Duration::from_millis(limits.wall_turn_millis);
        let mut left = wall;
        let run = self.hear(style, limits, door, &mut left);
        Run { computed: wall.saturating_sub(left), ..run }
    }

    fn hear(
        &mut self,
        style: RunStyle,
        limits: &Limits,
        door: &mut Door<'_>,
        left: &mut Duration,
    ) -> Run {
        let mut pages: Vec<(u32, Page)> = Vec::new();
        let pages_max = limits.memory_max.0 / PAGE_BYTES as u64;
        let begun = match self.waits.take() {
            Some(input) => self.answer(door, "event.next", &input),
            None => self.link.tell_cell(&ToCell::Turn),
        };
        if let Err(error) = begun {
            return self.lost(error);
        }
        loop {
            match self.link.hear_cell(left) {
                Ok(FromCell::Call { fuel, op, input }) => {
                    let next = style == RunStyle::Resident && op == "event.next";
                    if next && door.event.is_none() {
                        // Asking for the next event ends the turn; the call is answered when there is one.
                        self.waits = Some(input);
                        let outcome = Outcome::Done;
                        return Run {
                            outcome,
                            fuel,
                            machine: None,
                            cell_lives: true,
                            computed: Duration::ZERO,
                        };
                    }
                    if door.calls() > limits.door_calls_max {
                        return self.liar("it makes more calls than a cell lets a guest make");
                    }
                    if let Err(error) = self.answer(door, &op, &input) {
                        return self.lost(error);
                    }
                }
                Ok(FromCell::Pages(more)) if style == RunStyle::Reactor => {
                    for (at, page) in more {
                        let ascends = pages.last().is_none_or(|(last, _)| *last < at);
                        if !ascends || u64::from(at) >= pages_max {
                            return self.liar("it tells of pages that it cannot have");
                        }
                        pages.push((at, page));
                    }
                }
                Ok(FromCell::Ended { fuel, how, machine }) => {
                    return self.ended(style, fuel, how, machine, pages, pages_max);
                }
                Ok(_) => return self.liar("it spoke out of turn"),
                Err(error) => return self.lost(error),
            }
        }
    }

    fn answer(&mut self, door: &mut Door<'_>, op: &str, input: &[u8]) -> Result<(), LinkError> {
        let (code, frame) = door.call(op, input);
        self.link.tell_cell(&ToCell::Answer { code, frame })
    }

    fn ended(
        &mut self,
        style: RunStyle,
        fuel: u64,
        how: Ended,
        machine: Option<(u32, Vec<u8>)>,
        pages: Vec<(u32, Page)>,
        pages_max: u64,
    ) -> Run {
        let machine = match (style, &how, machine) {
            (RunStyle::Reactor, Ended::Returned(0), Some((page_count, globals))) => {
                let inside = pages.last().is_none_or(|(last, _)| *last < page_count);
                if !inside || u64::from(page_count) > pages_max {
                    return self.liar("it tells of more memory than it can have");
                }
                Some(MachineDelta { page_count, pages, globals, table_digest: [0; 32] })
            }
            (RunStyle::Reactor, Ended::Returned(0), None) | (_, _, Some(_)) => {
                return self.liar("it ended a turn as no turn ends");
            }
            (_, _, None) => None,
        };
        let outcome = match how {
            Ended::Returned(0) => Outcome::Done,
            Ended::Returned(code) => Outcome::RolledBack { code },
            Ended::Trap(what) => Outcome::Trap { what },
            Ended::Fuel => Outcome::Fuel,
            Ended::Memory => Outcome::Memory,
            Ended::Table => Outcome::Table,
            Ended::Stack => Outcome::Stack,
            // Per event a program's end is the turn's end; elsewhere it is the program's own.
            Ended::Exited(0) if style == RunStyle::PerEvent => Outcome::Done,
            Ended::Exited(code) if style == RunStyle::PerEvent => Outcome::RolledBack { code },
            Ended::Exited(code) => Outcome::Exited { code },
        };
        let cell_lives = style != RunStyle::Resident;
        Run { outcome, fuel, machine, cell_lives, computed: Duration::ZERO }
    }

    fn liar(&mut self, why: &str) -> Run {
        Run::killed(why.to_owned())
    }

    fn lost(&mut self, error: LinkError) -> Run {
        match error {
            LinkError::Late => Run { outcome: Outcome::Wall, ..Run::killed(String::new()) },
            error => Run::killed(self.why(error)),
        }
    }

    fn why(&mut self, error: LinkError) -> String {
        match error {
            LinkError::Late => "it did not answer in time".into(),
            LinkError::Malformed(what) => format!("it sent {what}"),
            LinkError::Gone => match &mut self.life {
                Life::Process(child) => child.end(),
                Life::Thread(_) => "its thread ended".into(),
            },
        }
    }
}

#[allow(unsafe_code)] // a mapping is unsafe for what others could do to the file
fn map(module: &Module) -> std::io::Result<Mmap> {
    // SAFETY: the file is in memory and sealed, so it never changes.
    unsafe { Mmap::map(module.code()) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Nothing;

    /// What the supervisor makes of a cell that says this in a turn.
    fn heard(style: RunStyle, says: Vec<FromCell>) -> Run {
        let limits = Limits {
            memory_max: ByteSize::mib(1),
            door_calls_max: 3,
            wall_turn_millis: 60_000,
            ..Limits::default()
        };
        let (here, there) = UnixStream::pair().unwrap();
        let evil = std::thread::spawn(move || {
            let mut link = Link::new(there, ByteSize::gib(4));
            assert_eq!(link.hear_supervisor().unwrap(), ToCell::Turn);
            let speaks = !says.is_empty();
            for what in says {
                // The supervisor may have had enough.
                let _ = link.tell_supervisor(&what);
            }
            if speaks {
                std::mem::forget(link); // it is what was said that ends the turn, not that nobody is there
            }
        });
        let link = Link::new(here, limits.door_frame_max);
        let mut cell = Cell::new(link, Life::Thread(evil));
        let (state, mut progress) = (State::new(ByteSize::mib(1)), Progress::default());
        let (policy, mut outside) = (Policy::default(), Nothing::default());
        let mut door = Door::open(
            Draft::new(&state),
            &policy,
            &limits,
            &mut outside,
            &mut progress,
            1,
            Timestamp(0),
            Event::Start.frame(1, Timestamp(0)),
        );
        cell.turn(style, &limits, &mut door)
    }

    fn check_liar(style: RunStyle, says: Vec<FromCell>) {
        let run = heard(style, says);
        assert!(matches!(run.outcome, Outcome::Killed { .. }), "{:?}", run.outcome);
        assert!(!run.cell_lives);
    }

    fn pages(at: &[u32]) -> FromCell {
        FromCell::Pages(at.iter().map(|at| (*at, Arc::new([1; PAGE_BYTES]))).collect())
    }

    fn ended(how: Ended, machine: Option<u32>) -> FromCell {
        let machine = machine.map(|page_count| (page_count, vec![]));
        FromCell::Ended { fuel: u64::MAX, how, machine }
    }

    #[test]
    fn a_cell_that_lies_ends_its_own_turn() {
        let reactor = RunStyle::Reactor;
        check_liar(reactor, vec![]);
        check_liar(reactor, vec![FromCell::Ready]);
        check_liar(reactor, vec![FromCell::Jailed(u32::MAX)]);
        check_liar(reactor, vec![FromCell::Refused { developer: true, why: "x".into() }]);
        check_liar(reactor, vec![pages(&[1, 0]), ended(Ended::Returned(0), Some(16))]);
        check_liar(reactor, vec![pages(&[1]), pages(&[1]), ended(Ended::Returned(0), Some(16))]);
        check_liar(reactor, vec![pages(&[256])]);
        check_liar(reactor, vec![pages(&[20]), ended(Ended::Returned(0), Some(16))]);
        check_liar(reactor, vec![ended(Ended::Returned(0), Some(257))]);
        check_liar(reactor, vec![ended(Ended::Returned(0), None)]);
        check_liar(reactor, vec![ended(Ended::Fuel, Some(16))]);
        check_liar(RunStyle::Resident, vec![pages(&[0])]);
        check_liar(RunStyle::Resident, vec![ended(Ended::Exited(0), Some(16))]);
        let call = || FromCell::Call { fuel: 0, op: "now".into(), input: vec![] };
        check_liar(reactor, std::iter::repeat_with(call).take(6).collect());
    }

    #[test]
    fn a_cell_that_is_honest_ends_as_it_says() {
        let run = heard(
            RunStyle::Reactor,
            vec![pages(&[0, 3]), pages(&[15]), ended(Ended::Returned(0), Some(16))],
        );
        assert_eq!(run.outcome, Outcome::Done);
        assert_eq!(run.machine.unwrap().pages.len(), 3);
        let run = heard(RunStyle::PerEvent, vec![ended(Ended::Exited(0), None)]);
        assert_eq!((run.outcome, run.cell_lives), (Outcome::Done, true));
    }
}
