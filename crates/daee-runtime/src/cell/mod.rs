//! The inside of a cell: loads one module and runs its turns. Everything it knows came over its link or
//! in the mapped code, and everything it does goes back over the link.

mod door;

use std::sync::{Arc, Mutex};

use daee_artifact::RunStyle;

pub(crate) use door::DoorHost;

use crate::engine::{Bounds, Code, Cranelift, Engine, HostStop, Instance, Kept, Stop};
use crate::jail;
use crate::protocol::{Ended, FromCell, Link, LinkError, PAGES_BATCH, ToCell};

/// What stands around a cell beside its memory: nothing within the supervisor's own process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walls {
    None,
    Process,
}

/// Serves a supervisor until it goes.
pub(crate) fn serve(link: Link, code: &[u8], walls: Walls) {
    // Whatever went wrong, the supervisor sees the link close.
    let _ = run(link, code, walls);
}

fn run(mut link: Link, code: &[u8], walls: Walls) -> Result<(), LinkError> {
    let ToCell::Birth(birth) = link.hear_supervisor()? else { return Err(unexpected()) };
    let mut kept = Kept::new(birth.limits.memory_max.0, None).map_err(host)?;
    if let Some((page_count, globals)) = &birth.image {
        kept.begin(*page_count, globals.clone()).map_err(host)?;
    }
    loop {
        match link.hear_supervisor()? {
            ToCell::Pages(pages) => kept.take(&pages).map_err(host)?,
            ToCell::Load => break,
            _ => return Err(unexpected()),
        }
    }
    if walls == Walls::Process {
        jail::limit_memory(birth.limits.memory_max.0, code.len() as u64);
    }
    let bounds = Bounds {
        memory_bytes_max: birth.limits.memory_max.0,
        table_elements_max: birth.limits.table_elements_max,
    };
    // SAFETY: the supervisor gave this code out of its authenticated cache.
    #[allow(unsafe_code)]
    let loaded = unsafe { Cranelift.load(code, bounds) };
    if walls == Walls::Process && jail::seal_cell(jail::ALL) & jail::SECCOMP == 0 {
        // Stage one went up, so this one can; no guest runs behind half of the walls.
        return Err(LinkError::Gone);
    }
    let code = match loaded {
        Ok(code) => code,
        Err(why) => return link.tell_supervisor(&FromCell::Refused { developer: false, why }),
    };
    let style = birth.style;
    let host = Arc::new(Mutex::new(DoorHost::new(link, birth)));
    let mut cell = Cell { code, host, style, kept, instance: None };
    match style {
        RunStyle::Reactor => cell.serve_reactor(),
        RunStyle::Resident => cell.serve_program(false),
        RunStyle::PerEvent => cell.serve_program(true),
    }
}

/// The host is out of something, such as memory: the cell ends.
fn host(error: std::io::Error) -> LinkError {
    LinkError::Malformed(error.to_string())
}

fn unexpected() -> LinkError {
    LinkError::Malformed("a message that has no place here".into())
}

struct Cell {
    // The instance goes before the code it runs.
    instance: Option<Box<dyn Instance>>,
    code: Box<dyn Code>,
    host: Arc<Mutex<DoorHost>>,
    style: RunStyle,
    kept: Kept,
}

impl Cell {
    fn serve_reactor(&mut self) -> Result<(), LinkError> {
        self.instance = match self.instantiate() {
            Ok(instance) => Some(instance),
            Err(why) => return self.tell(&FromCell::Refused { developer: true, why }),
        };
        self.tell(&FromCell::Ready)?;
        loop {
            self.hear_turn()?;
            let fuel_turn = self.fuel_turn();
            let mut instance = match self.instance.take() {
                Some(instance) => instance,
                // It was made once from the same code, so it can be made again unless the host is out of memory.
                None => self.instantiate().map_err(LinkError::Malformed)?,
            };
            instance.set_fuel(fuel_turn);
            let mut result = Ok(0);
            if !self.kept.exists() && instance.exports("_initialize") {
                result = instance.call("_initialize");
            }
            if result.is_ok() {
                result = instance.call("daee_turn");
            }
            let fuel = fuel_turn.saturating_sub(instance.fuel());
            let how = self.ended(result)?;
            if how != Ended::Returned(0) {
                drop(instance);
                self.tell(&FromCell::Ended { fuel, how, machine: None })?;
                continue;
            }
            let machine = Some(self.keep(instance.as_mut())?);
            self.tell(&FromCell::Ended { fuel, how, machine })?;
            self.instance = Some(instance);
        }
    }

    /// A program runs from `_start` over many events, or afresh for each.
    fn serve_program(&mut self, afresh: bool) -> Result<(), LinkError> {
        let mut instance = match self.instantiate() {
            Ok(instance) => instance,
            Err(why) => return self.tell(&FromCell::Refused { developer: true, why }),
        };
        self.tell(&FromCell::Ready)?;
        loop {
            self.hear_turn()?;
            let fuel_turn = self.fuel_turn();
            instance.set_fuel(fuel_turn);
            let result = instance.call("_start").map(|_| 0);
            let fuel = fuel_turn.saturating_sub(instance.fuel());
            let how = match self.ended(result)? {
                Ended::Returned(code) => Ended::Exited(code),
                other => other,
            };
            self.tell(&FromCell::Ended { fuel, how, machine: None })?;
            if !afresh {
                return Ok(());
            }
            drop(instance); // two memories are more than a cell may have
            instance = self.instantiate().map_err(LinkError::Malformed)?;
        }
    }

    fn instantiate(&self) -> Result<Box<dyn Instance>, String> {
        let kept = self.kept.exists().then_some(&self.kept);
        debug_assert!(kept.is_none() || self.style == RunStyle::Reactor);
        self.code.instantiate(self.host.clone(), kept)
    }

    fn keep(&mut self, instance: &mut dyn Instance) -> Result<(u32, Vec<u8>), LinkError> {
        let changed = self.kept.follow(instance).map_err(host)?;
        let mut host = self.host.lock().expect("no thread panics while it holds this");
        for batch in changed.chunks(PAGES_BATCH) {
            let pages = batch.iter().map(|at| (*at, Arc::new(*self.kept.page(*at)))).collect();
            host.link.tell_supervisor(&FromCell::Pages(pages))?;
        }
        Ok((self.kept.page_count(), self.kept.globals().to_vec()))
    }

    fn ended(&self, result: Result<i32, Stop>) -> Result<Ended, LinkError> {
        Ok(match result {
            Ok(code) => Ended::Returned(code),
            Err(Stop::Trap(what)) => Ended::Trap(what),
            Err(Stop::Fuel) => Ended::Fuel,
            Err(Stop::Memory) => Ended::Memory,
            Err(Stop::Table) => Ended::Table,
            Err(Stop::Stack) => Ended::Stack,
            Err(Stop::Host(HostStop::Exit(code))) => Ended::Exited(code),
            Err(Stop::Host(HostStop::Fuel)) => Ended::Fuel,
            Err(Stop::Host(HostStop::Gone)) => return Err(LinkError::Gone),
        })
    }

    fn hear_turn(&self) -> Result<(), LinkError> {
        let mut host = self.host.lock().expect("no thread panics while it holds this");
        match host.link.hear_supervisor()? {
            ToCell::Turn => {
                host.calls = 0;
                host.given = false;
                Ok(())
            }
            _ => Err(unexpected()),
        }
    }

    fn tell(&self, what: &FromCell) -> Result<(), LinkError> {
        let mut host = self.host.lock().expect("no thread panics while it holds this");
        host.link.tell_supervisor(what)
    }

    fn fuel_turn(&self) -> u64 {
        let host = self.host.lock().expect("no thread panics while it holds this");
        host.birth.limits.fuel_turn
    }
}
