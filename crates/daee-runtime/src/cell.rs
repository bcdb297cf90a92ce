//! The inside of a cell: loads one module and runs its turns. Everything it knows came over its link or
//! in the mapped code, and everything it does goes back over the link.

use std::sync::{Arc, Mutex};

use daee_artifact::RunStyle;
use daee_state::{PAGE_BYTES, Page};

use crate::engine::{
    Bounds, Code, Cranelift, Engine, Guest, Host, HostStop, Image, Import, Instance, Stop,
};
use crate::protocol::{Birth, Ended, FromCell, Link, LinkError, OP_BYTES_MAX, PAGES_BATCH, ToCell};
use crate::{frame, jail, wasi};

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
    let mut kept = Kept::default();
    if let Some((page_count, globals)) = &birth.image {
        kept.memory = vec![0; *page_count as usize * PAGE_BYTES];
        kept.globals = globals.clone();
        kept.exists = true;
    }
    loop {
        match link.hear_supervisor()? {
            ToCell::Pages(pages) => kept.take(&pages)?,
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
    let host =
        Arc::new(Mutex::new(DoorHost { link, birth, answer: Vec::new(), calls: 0, given: false }));
    let mut cell = Cell { code, host, style, kept, instance: None };
    match style {
        RunStyle::Reactor => cell.serve_reactor(),
        RunStyle::Resident => cell.serve_program(false),
        RunStyle::PerEvent => cell.serve_program(true),
    }
}

fn unexpected() -> LinkError {
    LinkError::Malformed("a message that has no place here".into())
}

/// A reactor as it stood after the last turn that was kept.
#[derive(Default)]
struct Kept {
    exists: bool,
    memory: Vec<u8>,
    globals: Vec<u8>,
}

impl Kept {
    fn take(&mut self, pages: &[(u32, Page)]) -> Result<(), LinkError> {
        for (at, page) in pages {
            let place = self.memory.get_mut(*at as usize * PAGE_BYTES..);
            let place = place.and_then(|rest| rest.get_mut(..PAGE_BYTES));
            place.ok_or_else(unexpected)?.copy_from_slice(&page[..]);
        }
        Ok(())
    }

    /// Makes `memory` the kept one, and gives the pages that differ to `changed`, in order.
    fn follow(
        &mut self,
        memory: &[u8],
        mut changed: impl FnMut(u32, &[u8; PAGE_BYTES]) -> Result<(), LinkError>,
    ) -> Result<(), LinkError> {
        self.memory.reserve_exact(memory.len().saturating_sub(self.memory.len()));
        self.memory.resize(memory.len(), 0);
        let (now, _) = memory.as_chunks::<PAGE_BYTES>();
        let (before, _) = self.memory.as_chunks_mut::<PAGE_BYTES>();
        for (at, (before, now)) in before.iter_mut().zip(now).enumerate() {
            if before != now {
                changed(at as u32, now)?;
                *before = *now;
            }
        }
        Ok(())
    }
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
            if !self.kept.exists && instance.exports("_initialize") {
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
            let machine = Some(self.keep(instance.as_ref())?);
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
            instance = self.instantiate().map_err(LinkError::Malformed)?;
        }
    }

    fn instantiate(&self) -> Result<Box<dyn Instance>, String> {
        let image = self
            .kept
            .exists
            .then(|| Image { memory: &self.kept.memory, globals: &self.kept.globals });
        debug_assert!(image.is_none() || self.style == RunStyle::Reactor);
        self.code.instantiate(self.host.clone(), image)
    }

    fn keep(&mut self, instance: &dyn Instance) -> Result<(u32, Vec<u8>), LinkError> {
        let mut batch: Vec<(u32, Page)> = Vec::new();
        let host = self.host.clone();
        let mut host = host.lock().expect("no thread panics while it holds this");
        self.kept.follow(instance.memory(), |at, page| {
            batch.push((at, Arc::new(*page)));
            if batch.len() == PAGES_BATCH {
                let pages = std::mem::take(&mut batch);
                host.link.tell_supervisor(&FromCell::Pages(pages))?;
            }
            Ok(())
        })?;
        if !batch.is_empty() {
            host.link.tell_supervisor(&FromCell::Pages(batch))?;
        }
        self.kept.globals = instance.globals();
        self.kept.exists = true;
        let page_count = (self.kept.memory.len() / PAGE_BYTES) as u32;
        Ok((page_count, self.kept.globals.clone()))
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

/// The guest's side of the door: carries operations over the link.
pub(crate) struct DoorHost {
    link: Link,
    birth: Box<Birth>,
    answer: Vec<u8>,
    /// Operations of this turn.
    calls: u32,
    /// This turn's event was given, so that a resident that asks again wants the next.
    given: bool,
}

/// What an input that is no frame is refused with: the event is still there.
const MALFORMED: i32 = -3;

/// Fuel for moving bytes in or out: as for a bulk operation.
fn moving(bytes: usize) -> u64 {
    bytes as u64 / 16
}

impl DoorHost {
    pub(crate) fn env(&self) -> &[(String, String)] {
        &self.birth.env
    }

    pub(crate) fn args(&self) -> &[String] {
        &self.birth.args
    }

    /// Does an operation; its answer is kept until the next. Returns its length, or the error code.
    pub(crate) fn operate(
        &mut self,
        op: &str,
        input: Vec<u8>,
        guest: &mut dyn Guest,
    ) -> Result<i32, HostStop> {
        guest.take_fuel(moving(input.len()))?;
        let fuel = self.birth.limits.fuel_turn.saturating_sub(guest.fuel());
        let next = self.birth.style == RunStyle::Resident && op == "event.next";
        let ends = next && self.given;
        // What ends the turn is the first operation of the one behind it.
        if self.calls >= self.birth.limits.door_calls_max && !ends {
            return Ok(self.refuse(-4, "limit", "too many operations in one turn"));
        }
        self.calls += 1;
        self.tell(&FromCell::Call { fuel, op: op.to_owned(), input })?;
        let (code, answer) = match self.link.hear_supervisor() {
            Ok(ToCell::Answer { code, frame }) => (code, frame),
            _ => return Err(HostStop::Gone),
        };
        if ends {
            guest.set_fuel(self.birth.limits.fuel_turn);
            self.calls = 1;
        }
        if next {
            self.given = code != MALFORMED;
        }
        guest.take_fuel(moving(answer.len()))?;
        self.answer = answer;
        Ok(code)
    }

    /// The answer kept.
    pub(crate) fn answer(&self) -> &[u8] {
        &self.answer
    }

    fn tell(&mut self, what: &FromCell) -> Result<(), HostStop> {
        self.link.tell_supervisor(what).map_err(|_| HostStop::Gone)
    }

    /// Refuses without asking the supervisor, for it would take what is too large for an attack.
    fn refuse(&mut self, code: i32, name: &str, message: &str) -> i32 {
        let head = serde_json::json!({"code": name, "message": message});
        self.answer = frame::encode(&head, b"");
        code
    }

    fn call(&mut self, args: &[i64], guest: &mut dyn Guest) -> Result<i32, HostStop> {
        let [op_at, op_len, in_at, in_len] = [0, 1, 2, 3].map(|n| args[n] as u32);
        let frame_max = self.birth.limits.door_frame_max;
        if u64::from(in_len) > frame_max.0 {
            return Ok(self.refuse(-4, "limit", &format!("an input is at most {frame_max}")));
        }
        if op_len as usize > OP_BYTES_MAX {
            return Ok(self.refuse(-2, "unknown", "there is no operation with so long a name"));
        }
        let op = guest.bytes(op_at, op_len).and_then(|op| std::str::from_utf8(op).ok());
        let (Some(op), Some(input)) = (op, guest.bytes(in_at, in_len)) else {
            let message = "operation or input lie outside the memory, or the name is not UTF-8";
            return Ok(self.refuse(-3, "malformed", message));
        };
        let (op, input) = (op.to_owned(), input.to_vec());
        self.operate(&op, input, guest)
    }

    fn read(&mut self, args: &[i64], guest: &mut dyn Guest) -> Result<i32, HostStop> {
        let (at, cap) = (args[0] as u32, args[1] as u32);
        let some = self.answer.len().min(cap as usize);
        guest.take_fuel(moving(some))?;
        if !guest.write(at, &self.answer[..some]) {
            return Ok(-3);
        }
        Ok(self.answer.len() as i32)
    }
}

impl Host for DoorHost {
    fn import(
        &mut self,
        import: Import,
        args: &[i64],
        guest: &mut dyn Guest,
    ) -> Result<i32, HostStop> {
        match import {
            Import::daee_call => self.call(args, guest),
            Import::daee_read => self.read(args, guest),
            other => wasi::call(self, other, args, guest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_that_changed_are_told_of() {
        let mut kept = Kept::default();
        let mut memory = vec![0; 4 * PAGE_BYTES];
        let changed = |kept: &mut Kept, memory: &[u8]| {
            let mut pages = Vec::new();
            kept.follow(memory, |at, page| {
                pages.push((at, page[0]));
                Ok(())
            })
            .unwrap();
            pages
        };
        assert_eq!(changed(&mut kept, &memory), []);
        memory[2 * PAGE_BYTES] = 7;
        assert_eq!(changed(&mut kept, &memory), [(2, 7)]);
        assert_eq!(changed(&mut kept, &memory), []);
        memory[2 * PAGE_BYTES] = 0;
        memory.resize(5 * PAGE_BYTES, 1);
        assert_eq!(changed(&mut kept, &memory), [(2, 0), (4, 1)]);
    }

    #[test]
    fn an_image_with_a_page_outside_of_the_memory_is_refused() {
        let mut kept = Kept { memory: vec![0; PAGE_BYTES], ..Kept::default() };
        assert!(kept.take(&[(1, Arc::new([1; PAGE_BYTES]))]).is_err());
        assert!(kept.take(&[(0, Arc::new([1; PAGE_BYTES]))]).is_ok());
    }
}
