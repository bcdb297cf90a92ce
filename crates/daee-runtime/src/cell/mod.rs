//! The inside of a cell: loads one module and runs its turns. Everything it knows came over its link or
//! in the mapped code, and everything it does goes back over the link.

mod door;

use std::fs::File;
use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daee_artifact::RunStyle;
use daee_state::Page;

pub(crate) use door::DoorHost;

use crate::ahead::Standing;
use crate::door::Door;
use crate::engine::{
    Bounds, Code, Cranelift, Engine, Guest, HostStop, Image, Instance, Kept, Stop,
};
use crate::jail;
use crate::mapped::Mapped;
use crate::protocol::{Birth, Ended, FromCell, Link, LinkError, Machine, PAGES_BATCH, ToCell};
use crate::wasi::{self, Manners, Wasi};

/// What stands around a cell beside its memory: nothing within the supervisor's own process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Walls {
    None,
    Process,
}

/// How a guest comes to its door.
pub(crate) enum Way {
    Link(Link),
    Door(Lent),
}

/// A door for the time of one turn.
#[derive(Debug, Default)]
pub(crate) struct Lent(Option<NonNull<Door<'static>>>);

// SAFETY: it is empty but while `Cell::turn_at` runs, which stays on one thread.
#[allow(unsafe_code, reason = "a door is lent for one turn, which no lifetime of a cell can say")]
unsafe impl Send for Lent {}

impl Lent {
    fn get(&mut self) -> Option<&mut Door<'_>> {
        // SAFETY: `Cell::turn_at` borrows the door for as long as it is here, and uses it through this alone.
        #[allow(unsafe_code, reason = "as above")]
        self.0.map(|mut door| unsafe { std::mem::transmute(door.as_mut()) })
    }
}

/// Why a cell holds no guest.
pub(crate) struct Refused {
    pub(crate) developer: bool,
    pub(crate) why: String,
}

/// Serves a supervisor until it goes.
pub(crate) fn serve(link: Link, walls: Walls) {
    // Whatever went wrong, the supervisor sees the link close.
    let _ = run(link, walls);
}

fn run(mut link: Link, walls: Walls) -> Result<(), LinkError> {
    link.take_descriptors();
    let ToCell::Birth(birth) = link.hear_supervisor()? else { return Err(unexpected()) };
    let mut files = link.descriptors().into_iter().map(File::from);
    let host = |error: io::Error| LinkError::Malformed(error.to_string());
    let mapped = Mapped::open(&files.next().ok_or_else(unexpected)?).map_err(host)?;
    let image = birth.image.as_ref().map(|(page_count, globals)| {
        Image::from_file(files.next().ok_or_else(unexpected)?, *page_count, globals.clone())
            .map_err(host)
    });
    let image = image.transpose()?;
    let mut pages = Vec::new();
    loop {
        match link.hear_supervisor()? {
            ToCell::Pages(more) => pages.extend(more),
            ToCell::Load => break,
            _ => return Err(unexpected()),
        }
    }
    let mut cell = match Cell::load(Way::Link(link), birth, image, pages, &mapped, walls) {
        Ok(cell) => cell,
        Err(refusal) => {
            let (Way::Link(mut link), Refused { developer, why }) = *refusal else {
                return Err(unexpected());
            };
            return link.tell_supervisor(&FromCell::Refused { developer, why });
        }
    };
    cell.tell(&FromCell::Ready)?;
    loop {
        cell.hear_turn()?;
        let Over { fuel, how, changed } = cell.turn()?;
        let told = cell.lock().ahead.take();
        let machine = changed.map(|changed| cell.tell_pages(&changed)).transpose()?;
        cell.tell(&FromCell::Ended { told, fuel, how, machine })?;
        if cell.style == RunStyle::Resident {
            return Ok(());
        }
        // Not while the next event waits for it.
        if cell.instance.is_none() {
            cell.instance = Some(cell.instantiate().map_err(LinkError::Malformed)?);
        }
    }
}

fn unexpected() -> LinkError {
    LinkError::Malformed("a message that has no place here".into())
}

/// A guest that has returned: its fuel, and no memory.
struct Tank(u64);

impl Guest for Tank {
    fn bytes(&self, _: u32, _: u32) -> Option<&[u8]> {
        None
    }
    fn write(&mut self, _: u32, _: &[u8]) -> bool {
        false
    }
    fn fuel(&self) -> u64 {
        self.0
    }
    fn set_fuel(&mut self, fuel: u64) {
        self.0 = fuel;
    }
    fn take_fuel(&mut self, fuel: u64) -> Result<(), HostStop> {
        let left = self.0.checked_sub(fuel);
        self.0 = left.unwrap_or(0);
        left.map(|_| ()).ok_or(HostStop::Fuel)
    }
}

/// A turn, over.
pub(crate) struct Over {
    pub(crate) fuel: u64,
    pub(crate) how: Ended,
    /// Pages that a reactor has changed, if it returned zero.
    pub(crate) changed: Option<Vec<u32>>,
}

/// One module, loaded, with what is kept of it between turns.
pub(crate) struct Cell {
    // The instance goes before the code it runs.
    instance: Option<Box<dyn Instance>>,
    code: Box<dyn Code>,
    host: Arc<Mutex<DoorHost>>,
    style: RunStyle,
    kept: Kept,
}

impl Cell {
    /// Loads code, and makes the first instance of it.
    pub(crate) fn load(
        way: Way,
        birth: Box<Birth>,
        image: Option<Image>,
        pages: Vec<(u32, Page)>,
        mapped: &Mapped,
        walls: Walls,
    ) -> Result<Self, Box<(Way, Refused)>> {
        let kept = Kept::new(birth.limits.memory_max.0, image)
            .and_then(|mut kept| kept.take(&pages).map(|()| kept));
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                let why = error.to_string();
                return Err(Box::new((way, Refused { developer: false, why })));
            }
        };
        if walls == Walls::Process {
            jail::limit_memory(birth.limits.memory_max.0, mapped.code().len() as u64);
        }
        let bounds = Bounds {
            memory_bytes_max: birth.limits.memory_max.0,
            table_elements_max: birth.limits.table_elements_max,
        };
        // SAFETY: the supervisor gave this code out of its authenticated cache.
        #[allow(unsafe_code, reason = "machine code is run as it is")]
        let loaded = unsafe { Cranelift.load(mapped.code(), bounds) };
        if walls == Walls::Process && jail::seal_cell(jail::ALL) & jail::SECCOMP == 0 {
            // Stage one went up, so this one can; no guest runs behind half of the walls.
            let why = "its walls could not be closed".into();
            return Err(Box::new((way, Refused { developer: false, why })));
        }
        let code = match loaded {
            Ok(code) => code,
            Err(why) => return Err(Box::new((way, Refused { developer: false, why }))),
        };
        let style = birth.style;
        let manners = match style {
            RunStyle::Resident if !mapped.door() => Manners::Lines,
            RunStyle::PerEvent if !mapped.door() => Manners::Cgi,
            _ => Manners::Log,
        };
        let wasi = Wasi::new(mapped.clone(), manners);
        let host = Arc::new(Mutex::new(DoorHost::new(way, birth, wasi)));
        let mut cell = Self { code, host, style, kept, instance: None };
        match cell.instantiate() {
            Ok(instance) => {
                cell.instance = Some(instance);
                Ok(cell)
            }
            Err(why) => {
                let way = std::mem::replace(&mut cell.lock().way, Way::Door(Lent::default()));
                Err(Box::new((way, Refused { developer: true, why })))
            }
        }
    }

    /// Runs one turn of a guest whose way is a door.
    pub(crate) fn turn_at(&mut self, door: &mut Door<'_>) -> Result<Over, LinkError> {
        struct Back<'a>(&'a Mutex<DoorHost>);
        impl Drop for Back<'_> {
            fn drop(&mut self) {
                let mut host = self.0.lock().unwrap_or_else(PoisonError::into_inner);
                host.way = Way::Door(Lent::default());
            }
        }
        let host = self.host.clone();
        let door = NonNull::from(door).cast();
        let mut inside = host.lock().expect("no thread panics while it holds this");
        inside.way = Way::Door(Lent(Some(door)));
        inside.begin(Standing::default(), None);
        drop(inside);
        let _back = Back(&host);
        self.turn()
    }

    /// What the last turn waited for its door.
    pub(crate) fn waited(&self) -> Duration {
        self.host.lock().unwrap_or_else(PoisonError::into_inner).waited
    }

    /// Runs one turn: a reactor goes on, a program runs from `_start` over many events, or afresh for each.
    fn turn(&mut self) -> Result<Over, LinkError> {
        let fuel_turn = self.lock().birth.limits.fuel_turn;
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            // It was made once from the same code, so it can be made again unless the host is out of memory.
            None => self.instantiate().map_err(LinkError::Malformed)?,
        };
        instance.set_fuel(fuel_turn);
        let reactor = self.style == RunStyle::Reactor;
        let mut result = Ok(0);
        if reactor && !self.kept.exists() && instance.exports("_initialize") {
            result = instance.call("_initialize");
        }
        if result.is_ok() {
            result = instance.call(if reactor { "daee_turn" } else { "_start" });
        }
        let result = self.finish(instance.as_mut(), result);
        let fuel = fuel_turn.saturating_sub(instance.fuel());
        let how = match self.ended(result)? {
            Ended::Returned(_) if !reactor => Ended::Exited(0),
            other => other,
        };
        let mut changed = None;
        if how == Ended::Returned(0) {
            changed = Some(self.keep(instance.as_mut())?);
            self.instance = Some(instance);
        }
        Ok(Over { fuel, how, changed })
    }

    /// What a guest wrote and did not end goes out after it has returned.
    fn finish(&self, instance: &mut dyn Instance, result: Result<i32, Stop>) -> Result<i32, Stop> {
        let code = result?;
        let mut tank = Tank(instance.fuel());
        let ended = wasi::end(&mut self.lock(), code == 0, &mut tank);
        instance.set_fuel(tank.0);
        ended.map(|()| code).map_err(Stop::Host)
    }

    fn instantiate(&self) -> Result<Box<dyn Instance>, String> {
        let kept = self.kept.exists().then_some(&self.kept);
        debug_assert!(kept.is_none() || self.style == RunStyle::Reactor);
        self.code.instantiate(self.host.clone(), kept)
    }

    fn keep(&mut self, instance: &mut dyn Instance) -> Result<Vec<u32>, LinkError> {
        self.kept.follow(instance).map_err(|error| LinkError::Malformed(error.to_string()))
    }

    /// Where a reactor stands, with these of its pages.
    pub(crate) fn machine(&self, changed: &[u32]) -> Machine {
        let pages = changed.iter().map(|at| (*at, Arc::new(*self.kept.page(*at)))).collect();
        let (page_count, globals) = (self.kept.page_count(), self.kept.globals().to_vec());
        Machine { page_count, globals, pages }
    }

    /// Tells of all changed pages but the last, which go with where it stands.
    fn tell_pages(&self, changed: &[u32]) -> Result<Machine, LinkError> {
        let (mut changed, mut rest) = changed.split_at(changed.len().min(PAGES_BATCH));
        while !rest.is_empty() {
            self.tell(&FromCell::Pages(self.machine(changed).pages))?;
            (changed, rest) = rest.split_at(rest.len().min(PAGES_BATCH));
        }
        Ok(self.machine(changed))
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
        let mut host = self.lock();
        let Way::Link(link) = &mut host.way else { return Err(unexpected()) };
        let (standing, event) = match link.hear_supervisor()? {
            ToCell::Turn { standing, event } => (standing, event.map(<[u8]>::len)),
            _ => return Err(unexpected()),
        };
        host.begin(standing, event);
        Ok(())
    }

    fn tell(&self, what: &FromCell<'_>) -> Result<(), LinkError> {
        match &mut self.lock().way {
            Way::Link(link) => link.tell_supervisor(what),
            Way::Door(_) => Err(unexpected()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, DoorHost> {
        self.host.lock().expect("no thread panics while it holds this")
    }
}
