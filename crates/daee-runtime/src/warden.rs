//! The supervisor's end of a cell: starts it, lets it run turns, and believes nothing that it says.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use daee_artifact::RunStyle;
use daee_state::{MachineDelta, PAGE_BYTES, Page};
use daee_types::ByteSize;
use memmap2::Mmap;

use crate::cell::{self, Walls};
use crate::door::Door;
use crate::protocol::{Birth, Ended, FromCell, Link, LinkError, PAGES_BATCH, ToCell};
use crate::spawn::{self, Child, Role, Start};
use crate::{Limits, Module, Outcome, Runtime, StartError};

/// How long a new cell may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// The supervisor's end of a cell.
pub(crate) struct Cell {
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
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) fuel: u64,
    pub(crate) machine: Option<MachineDelta>,
    pub(crate) cell_lives: bool,
    /// Wall time, without what was waited for outside.
    pub(crate) computed: Duration,
}

impl Run {
    pub(crate) fn killed(why: String) -> Self {
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
    pub(crate) fn start(
        runtime: &Runtime,
        module: &Module,
        limits: &Limits,
    ) -> Result<Self, StartError> {
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

    pub(crate) fn lives(&mut self) -> bool {
        match &mut self.life {
            Life::Process(child) => child.lives(),
            Life::Thread(thread) => !thread.is_finished(),
        }
    }

    /// Its process id, if it has a process of its own.
    pub(crate) fn pid(&self) -> Option<u32> {
        match &self.life {
            Life::Process(child) => Some(child.pid()),
            Life::Thread(_) => None,
        }
    }

    /// What it used of a core since this was asked last; none without a process that lives.
    pub(crate) fn cpu_since(&mut self) -> Option<Duration> {
        let Life::Process(child) = &self.life else { return None };
        let now = child.cpu()?;
        let used = now.saturating_sub(self.cpu);
        self.cpu = now;
        Some(used)
    }

    pub(crate) fn load(&mut self, birth: Birth, pages: &[(u32, Page)]) -> Result<(), StartError> {
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

    pub(crate) fn turn(&mut self, style: RunStyle, limits: &Limits, door: &mut Door<'_>) -> Run {
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
        let Some((code, frame)) = door.call(op, input) else { return Err(LinkError::Ended) };
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
            LinkError::Ended => "it was not to go on".into(),
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

    use daee_policy::Policy;
    use daee_state::{Draft, State};
    use daee_transcript::Progress;
    use daee_types::Timestamp;

    use super::*;
    use crate::{Event, Nothing};

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
