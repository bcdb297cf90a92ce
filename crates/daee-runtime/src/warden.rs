//! The supervisor's end of a cell: starts it, lets it run turns, and believes nothing that it says.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use daee_artifact::RunStyle;
use daee_state::{MachineDelta, PAGE_BYTES, Page};
use daee_types::ByteSize;

use crate::ahead::Told;
use crate::cell::{self, Lent, Over, Walls, Way};
use crate::door::Door;
use crate::ground::Laid;
use crate::mapped::Mapped;
use crate::protocol::{
    Birth, Ended, FromCell, Link, LinkError, Machine, PAGES_BATCH, ToCell, timed,
};
use crate::spawn::Child;
use crate::warm::{Empty, READY_WITHIN};
use crate::{Limits, Module, Outcome, Runtime, StartError};

/// How many warm cells may turn out to be dead until it is taken for more than bad luck.
const WARM_TRIES: usize = 8;
/// Pages of ours in one of WebAssembly's.
const WASM_PAGES: u32 = 16;

/// The supervisor's end of a cell.
pub(crate) struct Cell {
    life: Life,
    /// What it had used of a core at the end of its last turn.
    cpu: Duration,
}

enum Life {
    Apart(Apart),
    /// On the thread of whoever lets it run a turn.
    Here(Box<cell::Cell>),
}

/// A cell behind a link.
struct Apart {
    link: Link,
    body: Body,
    /// A resident waits for its next event with this input.
    waits: Option<Vec<u8>>,
}

enum Body {
    Process(Child),
    /// Ends by itself when the link closes.
    Thread(JoinHandle<()>),
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
    /// A cell with this module in it, ready for a turn.
    pub(crate) fn start(
        runtime: &Runtime,
        module: &Module,
        birth: Birth,
        ground: Option<Laid<'_>>,
    ) -> Result<Self, StartError> {
        let node = |error: std::io::Error| StartError::Cell(error.to_string());
        if runtime.cells().is_none() && birth.style != RunStyle::Resident {
            let mapped = Mapped::open(module.code()).map_err(node)?;
            let way = Way::Door(Lent::default());
            let image = ground.as_ref().map(Laid::image).transpose().map_err(node)?;
            let pages = ground.map(|ground| ground.pages).unwrap_or_default();
            let loaded = cell::Cell::load(way, Box::new(birth), image, pages, &mapped, Walls::None);
            return match loaded {
                Ok(cell) => Ok(Self { life: Life::Here(Box::new(cell)), cpu: Duration::ZERO }),
                Err(refusal) => Err(refused(refusal.1.developer, refusal.1.why)),
            };
        }
        let limits = birth.limits;
        let birth = ToCell::Birth(Box::new(birth));
        let mut tries = 0..WARM_TRIES;
        loop {
            let (mut apart, warm) = Apart::start(runtime)?;
            match apart.load(module, &birth, &limits, ground.as_ref()) {
                Ok(()) => return Ok(Self { life: Life::Apart(apart), cpu: Duration::ZERO }),
                // It may have died while it waited; then it is not this agent's doing. All of them do so where
                // what is loaded kills them.
                Err(StartError::Cell(_))
                    if warm && !apart.body.lives() && tries.next().is_some() => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One that says what this thread writes to the other end of the link.
    pub(crate) fn said_by(link: UnixStream, thread: JoinHandle<()>, limits: &Limits) -> Self {
        let link = Link::new(link, limits.door_frame_max);
        Self { life: Life::Apart(Apart::new(link, Body::Thread(thread))), cpu: Duration::ZERO }
    }

    pub(crate) fn lives(&mut self) -> bool {
        match &mut self.life {
            Life::Apart(apart) => apart.body.lives(),
            Life::Here(_) => true,
        }
    }

    fn child(&self) -> Option<&Child> {
        match &self.life {
            Life::Apart(Apart { body: Body::Process(child), .. }) => Some(child),
            _ => None,
        }
    }

    /// Its process id, if it has a process of its own.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child().map(Child::pid)
    }

    /// What it used of a core since this was asked last; none without a process that lives.
    pub(crate) fn cpu_since(&mut self) -> Option<Duration> {
        let now = self.child()?.cpu()?;
        let used = now.saturating_sub(self.cpu);
        self.cpu = now;
        Some(used)
    }

    pub(crate) fn turn(&mut self, style: RunStyle, limits: &Limits, door: &mut Door<'_>) -> Run {
        match &mut self.life {
            Life::Apart(apart) => {
                let wall = Duration::from_millis(limits.wall_turn_millis);
                let mut left = wall;
                let run = apart.turn(style, limits, door, &mut left);
                Run { computed: wall.saturating_sub(left), ..run }
            }
            Life::Here(cell) => {
                let (over, took) = timed(|| catch_unwind(AssertUnwindSafe(|| cell.turn_at(door))));
                let computed = took.saturating_sub(cell.waited());
                let run = match over {
                    Ok(Ok(Over { fuel, how, changed })) => {
                        let machine = changed.map(|changed| cell.machine(&changed));
                        ended(style, limits, fuel, how, machine, Vec::new())
                    }
                    Ok(Err(error)) => Run::killed(why(error)),
                    Err(_) => Run::killed("the engine failed".into()),
                };
                Run { computed, ..run }
            }
        }
    }
}

fn refused(developer: bool, why: String) -> StartError {
    if developer { StartError::Agent(why) } else { StartError::Cell(why) }
}

impl Apart {
    /// An empty cell, and whether it was one that waited.
    fn start(runtime: &Runtime) -> Result<(Self, bool), StartError> {
        let node = |error: std::io::Error| StartError::Cell(error.to_string());
        let Some(cells) = runtime.cells() else {
            let (here, there) = UnixStream::pair().map_err(node)?;
            let link_in = Link::new(there, ByteSize::gib(4));
            let thread = std::thread::Builder::new()
                .name("daee-cell".into())
                .spawn(move || cell::serve(link_in, Walls::None))
                .map_err(node)?;
            let link = Link::new(here, ByteSize(0));
            return Ok((Self::new(link, Body::Thread(thread)), false));
        };
        let (Empty { link, child }, warm) = match runtime.warm_cell() {
            Some(cell) => (cell, true),
            None => (Empty::start(cells)?, false),
        };
        Ok((Self::new(link, Body::Process(child)), warm))
    }

    fn new(link: Link, body: Body) -> Self {
        Self { link, body, waits: None }
    }

    fn load(
        &mut self,
        module: &Module,
        birth: &ToCell<'_>,
        limits: &Limits,
        ground: Option<&Laid<'_>>,
    ) -> Result<(), StartError> {
        self.link.bound(limits.door_frame_max);
        let mut descriptors = vec![module.code().as_fd()];
        descriptors.extend(ground.map(|ground| ground.file.as_fd()));
        let pages = ground.map_or(&[][..], |ground| &ground.pages);
        let told = self
            .link
            .tell_cell_with(birth, &descriptors)
            .and_then(|()| {
                pages
                    .chunks(PAGES_BATCH)
                    .try_for_each(|batch| self.link.tell_cell(&ToCell::Pages(batch.to_vec())))
            })
            .and_then(|()| self.link.tell_cell(&ToCell::Load));
        let heard = told.and_then(|()| self.link.hear_cell(&mut READY_WITHIN.clone()));
        match heard {
            Ok(FromCell::Ready) => Ok(()),
            Ok(FromCell::Refused { developer, why }) => Err(refused(developer, why)),
            Ok(_) => Err(StartError::Cell("it spoke out of turn".into())),
            Err(error) => Err(StartError::Cell(self.body.why(error))),
        }
    }

    fn turn(
        &mut self,
        style: RunStyle,
        limits: &Limits,
        door: &mut Door<'_>,
        left: &mut Duration,
    ) -> Run {
        match self.hear(style, limits, door, left) {
            Ok(run) => run,
            Err(LinkError::Late) => Run { outcome: Outcome::Wall, ..Run::killed(String::new()) },
            Err(error) => Run::killed(self.body.why(error)),
        }
    }

    fn hear(
        &mut self,
        style: RunStyle,
        limits: &Limits,
        door: &mut Door<'_>,
        left: &mut Duration,
    ) -> Result<Run, LinkError> {
        let liar = |what: &str| Ok(Run::killed(what.to_owned()));
        let mut pages: Vec<(u32, Page)> = Vec::new();
        match self.waits.take() {
            Some(input) => answer(&mut self.link, door, "event.next", &input)?,
            None => begin(&mut self.link, limits, door)?,
        }
        loop {
            match self.link.hear_cell(left)? {
                FromCell::Call { told, fuel, op, input } => {
                    if !catch_up(&told, limits, door)? {
                        return liar(TOLD_A_LIE);
                    }
                    let next = style == RunStyle::Resident && op == "event.next";
                    if next && door.event.is_none() {
                        // Asking for the next event ends the turn; the call is answered when there is one.
                        self.waits = Some(input.to_vec());
                        let outcome = Outcome::Done;
                        return Ok(Run {
                            outcome,
                            fuel,
                            machine: None,
                            cell_lives: true,
                            computed: Duration::ZERO,
                        });
                    }
                    if door.calls() >= limits.door_calls_max {
                        return liar("it makes more calls than a cell lets a guest make");
                    }
                    let (code, frame) = door.call(op, input).ok_or(LinkError::Ended)?;
                    let standing = door.standing();
                    self.link.tell_cell(&ToCell::Answer { standing, code, frame: &frame })?;
                }
                FromCell::Pages(more) if style == RunStyle::Reactor && !more.is_empty() => {
                    if !follow(&pages, &more, limits) {
                        return liar("it tells of pages that it cannot have");
                    }
                    pages.extend(more);
                }
                FromCell::Ended { told, fuel, how, machine } => {
                    if !catch_up(&told, limits, door)? {
                        return liar(TOLD_A_LIE);
                    }
                    return Ok(ended(style, limits, fuel, how, machine, pages));
                }
                _ => return liar("it spoke out of turn"),
            }
        }
    }
}

const TOLD_A_LIE: &str = "it answered its guest as the door does not";

/// Begins a turn, with the event if it is one that a guest may be given.
fn begin(link: &mut Link, limits: &Limits, door: &Door<'_>) -> Result<(), LinkError> {
    let event = door.event.as_deref();
    let event = event.filter(|event| event.len() as u64 <= limits.door_frame_max.0);
    link.tell_cell(&ToCell::Turn { standing: door.standing(), event })
}

fn answer(link: &mut Link, door: &mut Door<'_>, op: &str, input: &[u8]) -> Result<(), LinkError> {
    let (code, frame) = door.call(op, input).ok_or(LinkError::Ended)?;
    link.tell_cell(&ToCell::Answer { standing: door.standing(), code, frame: &frame })
}

/// Does what a cell has answered by itself; `false` if the door answers anything else.
fn catch_up(told: &[Told], limits: &Limits, door: &mut Door<'_>) -> Result<bool, LinkError> {
    for told in told {
        if door.calls() >= limits.door_calls_max {
            return Ok(false);
        }
        let (code, frame) = door.call(told.op.name(), &told.input).ok_or(LinkError::Ended)?;
        if !told.agrees(code, &frame) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether these pages can come behind the others.
fn follow(pages: &[(u32, Page)], more: &[(u32, Page)], limits: &Limits) -> bool {
    let pages_max = limits.memory_max.0 / PAGE_BYTES as u64;
    let first = more.first().map_or(u32::MAX, |(first, _)| *first);
    pages.last().is_none_or(|(last, _)| *last < first)
        && more.is_sorted_by(|(before, _), (at, _)| before < at)
        && more.last().is_none_or(|(last, _)| u64::from(*last) < pages_max)
}

fn ended(
    style: RunStyle,
    limits: &Limits,
    fuel: u64,
    how: Ended,
    machine: Option<Machine>,
    mut pages: Vec<(u32, Page)>,
) -> Run {
    let machine = match (style, &how, machine) {
        (RunStyle::Reactor, Ended::Returned(0), Some(machine)) => {
            let Machine { page_count, globals, pages: more } = machine;
            let follows = follow(&pages, &more, limits);
            pages.extend(more);
            let inside = pages.last().is_none_or(|(last, _)| *last < page_count);
            if !follows
                || !inside
                || !page_count.is_multiple_of(WASM_PAGES)
                || u64::from(page_count) > limits.memory_max.0 / PAGE_BYTES as u64
            {
                return Run::killed("it tells of more memory than it can have".into());
            }
            Some(MachineDelta { page_count, pages, globals, table_digest: [0; 32] })
        }
        (RunStyle::Reactor, Ended::Returned(0), None) | (_, _, Some(_)) => {
            return Run::killed("it ended a turn as no turn ends".into());
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

impl Body {
    fn lives(&mut self) -> bool {
        match self {
            Body::Process(child) => child.lives(),
            Body::Thread(thread) => !thread.is_finished(),
        }
    }

    fn why(&mut self, error: LinkError) -> String {
        match (error, self) {
            (LinkError::Gone, Body::Process(child)) => child.end(),
            (LinkError::Gone, Body::Thread(_)) => "its thread ended".into(),
            (error, _) => why(error),
        }
    }
}

fn why(error: LinkError) -> String {
    match error {
        LinkError::Late => "it did not answer in time".into(),
        LinkError::Malformed(what) => format!("it sent {what}"),
        LinkError::Ended => "it was not to go on".into(),
        LinkError::Gone => "it is gone".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;

    use daee_policy::Policy;
    use daee_state::{Draft, State};
    use daee_transcript::Progress;
    use daee_types::Timestamp;

    use super::*;
    use crate::ahead::{Early, Standing};
    use crate::{Event, Nothing};

    /// What the supervisor makes of a cell that does this in a turn.
    fn met(style: RunStyle, does: impl FnOnce(Link) + Send + 'static) -> Run {
        let limits = Limits {
            memory_max: ByteSize::mib(1),
            door_calls_max: 3,
            wall_turn_millis: 60_000,
            ..Limits::default()
        };
        let (here, there) = UnixStream::pair().unwrap();
        let evil = std::thread::spawn(move || {
            let mut link = Link::new(there, ByteSize::gib(4));
            assert!(matches!(
                link.hear_supervisor().unwrap(),
                ToCell::Turn { event: Some(_), standing: Standing { event_waits: true, .. } }
            ));
            does(link);
        });
        let link = Link::new(here, limits.door_frame_max);
        let life = Life::Apart(Apart::new(link, Body::Thread(evil)));
        let mut cell = Cell { life, cpu: Duration::ZERO };
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

    fn heard(style: RunStyle, says: Vec<FromCell<'static>>) -> Run {
        met(style, move |mut link| {
            let speaks = !says.is_empty();
            for what in says {
                // The supervisor may have had enough.
                let _ = link.tell_supervisor(&what);
            }
            if speaks {
                std::mem::forget(link); // it is what was said that ends the turn, not that nobody is there
            }
        })
    }

    fn check_liar(style: RunStyle, says: Vec<FromCell<'static>>) {
        let run = heard(style, says);
        assert!(matches!(run.outcome, Outcome::Killed { .. }), "{:?}", run.outcome);
        assert!(!run.cell_lives);
    }

    fn pages_of(at: &[u32]) -> Vec<(u32, Page)> {
        at.iter().map(|at| (*at, Arc::new([1; PAGE_BYTES]))).collect()
    }

    fn pages(at: &[u32]) -> FromCell<'static> {
        FromCell::Pages(pages_of(at))
    }

    fn ended_with(how: Ended, machine: Option<u32>, told: Vec<Told>) -> FromCell<'static> {
        let machine =
            machine.map(|page_count| Machine { page_count, globals: vec![], pages: vec![] });
        FromCell::Ended { told, fuel: u64::MAX, how, machine }
    }

    fn ended(how: Ended, machine: Option<u32>) -> FromCell<'static> {
        ended_with(how, machine, vec![])
    }

    fn told(op: Early, head: &str, answer: &str) -> Told {
        let frame = |head: &str| [&(head.len() as u32).to_le_bytes(), head.as_bytes()].concat();
        let answer = if answer.is_empty() { vec![] } else { frame(answer) };
        Told { op, input: frame(head), answer }
    }

    #[test]
    fn a_cell_that_lies_ends_its_own_turn() {
        let reactor = RunStyle::Reactor;
        check_liar(reactor, vec![]);
        check_liar(reactor, vec![FromCell::Ready]);
        check_liar(reactor, vec![FromCell::Jailed(u32::MAX)]);
        check_liar(reactor, vec![FromCell::Refused { developer: true, why: "x".into() }]);
        check_liar(reactor, vec![pages(&[]), ended(Ended::Returned(0), Some(16))]);
        check_liar(reactor, vec![pages(&[1, 0]), ended(Ended::Returned(0), Some(16))]);
        check_liar(reactor, vec![pages(&[1]), pages(&[1]), ended(Ended::Returned(0), Some(16))]);
        check_liar(reactor, vec![pages(&[256])]);
        check_liar(reactor, vec![pages(&[20]), ended(Ended::Returned(0), Some(16))]);
        for last in [&[3][..], &[2, 1], &[5, 5], &[16]] {
            let machine = Some(Machine { page_count: 16, globals: vec![], pages: pages_of(last) });
            let how = Ended::Returned(0);
            let end = FromCell::Ended { told: vec![], fuel: 0, how, machine };
            check_liar(reactor, vec![pages(&[3]), end]);
        }
        check_liar(reactor, vec![ended(Ended::Returned(0), Some(257))]);
        check_liar(reactor, vec![ended(Ended::Returned(0), None)]);
        check_liar(reactor, vec![ended(Ended::Fuel, Some(16))]);
        check_liar(RunStyle::Resident, vec![pages(&[0])]);
        check_liar(RunStyle::Resident, vec![ended(Ended::Exited(0), Some(16))]);
        let call = || FromCell::Call { told: vec![], fuel: 0, op: "now", input: &[] };
        check_liar(reactor, std::iter::repeat_with(call).take(6).collect());
    }

    #[test]
    fn a_cell_that_answers_its_guest_as_the_door_does_not_is_ended() {
        let event = || told(Early::EventNext, "{}", "");
        let log = |text: &str| told(Early::Log, &format!(r#"{{"text":"{text}"}}"#), "{}");
        let now = |answer| told(Early::Now, "{}", answer);
        let answer = || told(Early::EventAnswer, "{}", "{}");
        let check = |good: bool, told: Vec<Told>| {
            let run = heard(RunStyle::PerEvent, vec![ended_with(Ended::Exited(0), None, told)]);
            assert_eq!(run.outcome == Outcome::Done, good, "{:?}", run.outcome);
        };
        check(true, vec![event(), log("a"), answer()]);
        check(true, vec![now(r#"{"ms":0}"#)]);
        check(false, vec![now(r#"{"ms":1}"#)]);
        check(false, vec![now("{}")]);
        check(false, vec![event(), event()]);
        check(false, vec![answer(), answer()]);
        check(false, vec![log("a"), log("b"), log("c"), log("d")]); // more calls than it may make
        check(false, vec![log(&"x".repeat(64 << 10))]);
        check(false, vec![told(Early::Log, "{", "{}")]);
        check(false, vec![told(Early::Log, r#"{"text":"a","level":"loud"}"#, "{}")]);
        check(false, vec![told(Early::EventAnswer, r#"{"status":7}"#, "{}")]);
        check(false, vec![told(Early::Log, r#"{"text":"a"}"#, "")]);
    }

    #[test]
    fn a_cell_that_sends_what_is_no_message_is_ended() {
        let check = |bytes: Vec<u8>| {
            let run = met(RunStyle::Reactor, move |link| {
                let mut stream = link.into_stream();
                // The supervisor may have had enough.
                let _ = stream.write_all(&bytes);
            });
            assert!(matches!(run.outcome, Outcome::Killed { .. }), "{:?}", run.outcome);
        };
        check(vec![1, 0]);
        check(u32::MAX.to_le_bytes().to_vec());
        check([&(8u32 << 20).to_le_bytes()[..], &[4, 0]].concat());
        check([0u8; 4].to_vec());
        check(vec![0xff; 1 << 20]);
        // Pages of nothing, for ever.
        check([5u32.to_le_bytes().to_vec(), vec![5, 0, 0, 0, 0]].concat().repeat(100_000));
    }

    #[test]
    fn a_cell_that_never_reads_is_not_waited_for_for_ever() {
        let (here, there) = UnixStream::pair().unwrap();
        let mut link = Link::new(here, ByteSize::mib(8));
        link.patience = Duration::from_millis(20);
        let frame = vec![0; 4 << 20];
        let answer = ToCell::Answer { standing: Standing::default(), code: 0, frame: &frame };
        assert!(matches!(link.tell_cell(&answer), Err(LinkError::Late)));
        drop(there);
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
