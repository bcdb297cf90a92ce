//! What judges outside of this crate need of its inside (`tests/fuzz`). No part of the library: it
//! changes without notice.
#![allow(unsafe_code)] // code is loaded that was compiled a moment before

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use daee_state::{PAGE_BYTES, Page};
use daee_types::{ByteSize, Timestamp};

use crate::ahead::{Early, Told};
use crate::engine::{
    self, Bounds, Cranelift, Engine as _, Guest, Host, HostStop, Import, Stop, instrument_with,
};
use crate::protocol::{Ended, FromCell, Link, Machine, ToCell};
use crate::warden::Cell;
use crate::{Agent, Event, Limits, Turned, frame};

/// Fuel of a call to the host.
pub const HOST_CALL_FUEL: u64 = engine::HOST_CALL_FUEL;
/// Calls that may be open in a function that calls.
pub const DEPTH_MAX: i32 = engine::DEPTH_MAX;
/// What the count of refusals says after memory, and after a table, could not grow.
pub const REFUSED: [i32; 2] = [engine::REFUSED_MEMORY, engine::REFUSED_TABLE];
/// Under these names [`metered`] shows fuel left, calls open, and what was refused.
pub const COUNTS: [&str; 3] = ["daee.fuel", "daee.depth", "daee.refused"];

/// The module that the engine compiles, with what it counts shown, for another engine to run.
pub fn metered(module: &[u8]) -> Result<Vec<u8>, String> {
    instrument_with(module, 0, &COUNTS).map(|metered| metered.wasm)
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// With this.
    Returned(i32),
    /// Of what the words say.
    Trap(String),
    /// Of fuel.
    Fuel,
    /// Of memory that could not grow.
    Memory,
    /// Of a table that could not grow.
    Table,
    /// Of calls too deep.
    Stack,
}

/// Where an instance stands after a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// How the call ended.
    pub end: End,
    /// What is left of its fuel; none if more was taken than there was.
    pub fuel: u64,
    /// Its memory.
    pub memory: Vec<u8>,
    /// Its mutable globals in their order, 16 bytes each.
    pub globals: Vec<u8>,
}

/// What a host answers that is no door: numbers that follow from what it is asked. On a memory of
/// this length, with `bytes` for what the guest points to, if it lies inside.
pub fn answer(bytes: Option<&[u8]>) -> i32 {
    let Some(bytes) = bytes else { return -3 };
    let fold = |sum: u32, byte: &u8| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    (bytes.iter().fold(0x811c_9dc5, fold) & 0xffff) as i32
}

/// What the host writes where a guest reads.
pub const READ: [u8; 16] = *b"written by a hos";

/// Compiles a module as agents are compiled and calls these exports of one instance, each with so much fuel,
/// up to the first that does not return.
pub fn calls(
    module: &[u8],
    exports: &[&str],
    fuel: u64,
    memory_bytes_max: u64,
    table_elements_max: u32,
) -> Result<Vec<Stand>, String> {
    let compiled = Cranelift.compile(module)?;
    let bounds = Bounds { memory_bytes_max, table_elements_max };
    // SAFETY: it was compiled a moment before.
    let code = unsafe { Cranelift.load(&compiled.code, bounds) }?;
    let mut instance = code.instantiate(Arc::new(Mutex::new(Answers)), None)?;
    let mut stands = Vec::new();
    for export in exports {
        instance.set_fuel(fuel);
        let end = match instance.call(export) {
            Ok(code) => End::Returned(code),
            Err(Stop::Trap(what)) => End::Trap(what),
            Err(Stop::Fuel | Stop::Host(HostStop::Fuel)) => End::Fuel,
            Err(Stop::Memory) => End::Memory,
            Err(Stop::Table) => End::Table,
            Err(Stop::Stack) => End::Stack,
            Err(Stop::Host(other)) => return Err(other.to_string()),
        };
        let over = !matches!(end, End::Returned(_));
        stands.push(Stand {
            end,
            fuel: instance.fuel(),
            memory: instance.memory().to_vec(),
            globals: instance.globals(),
        });
        if over {
            break;
        }
    }
    Ok(stands)
}

struct Answers;

impl Host for Answers {
    fn import(
        &mut self,
        import: Import,
        args: &[i64],
        guest: &mut dyn Guest,
    ) -> Result<i32, HostStop> {
        Ok(match import {
            Import::daee_call => answer(guest.bytes(args[2] as u32, args[3] as u32)),
            Import::daee_read => {
                let some = READ.len().min(args[1] as u32 as usize);
                if guest.write(args[0] as u32, &READ[..some]) { some as i32 } else { -3 }
            }
            _ => 0,
        })
    }
}

/// Whether a message is one that supervisor or cell reads.
///
/// # Panics
/// When what was read is written as something that reads in another way.
pub fn message(bytes: &[u8]) -> bool {
    let whole = |(head, frame): (daee_types::wire::Writer, &[u8])| {
        let mut bytes = head.finish();
        bytes.extend(frame);
        bytes.split_off(4)
    };
    let from = FromCell::decode(bytes).inspect(|told| {
        let again = whole(told.encode());
        assert_eq!(FromCell::decode(&again).as_ref(), Ok(told));
    });
    let to = ToCell::decode(bytes).inspect(|told| {
        let again = whole(told.encode());
        assert_eq!(ToCell::decode(&again).as_ref(), Ok(told));
    });
    from.is_ok() || to.is_ok()
}

/// Lets an agent handle an event in a cell that says what `script` makes it say, and nothing more.
pub fn turn(agent: &mut Agent, limits: &Limits, event: Event, script: Vec<u8>) -> Turned {
    let (here, there) = UnixStream::pair().expect("sockets can be had");
    let thread = std::thread::spawn(move || {
        let (mut link, mut stream) =
            (Link::new(there.try_clone().unwrap(), ByteSize::gib(4)), there);
        let mut script = Script(&script);
        // It is over when the supervisor has heard enough.
        while script.say(&mut link, &mut stream).is_some() {}
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    agent.put(Cell::said_by(here, thread, limits));
    agent.turn(event, Timestamp(1_700_000_000_000))
}

/// Bytes that say what a cell is to say.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn some(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte().unwrap_or_default()).min(self.0.len());
        let (some, rest) = self.0.split_at(len);
        self.0 = rest;
        some
    }

    fn number(&mut self) -> u64 {
        let mut number = [0; 8];
        let some = self.some();
        let len = some.len().min(8);
        number[..len].copy_from_slice(&some[..len]);
        u64::from_le_bytes(number)
    }

    /// The next message; nothing at the end, or once nobody listens.
    fn say(&mut self, link: &mut Link, stream: &mut UnixStream) -> Option<()> {
        let told = match self.byte()? {
            0 => {
                // Any bytes behind any length.
                let (len, bytes) = (self.number() as u32, self.some());
                return stream.write_all(&[&len.to_le_bytes()[..], bytes].concat()).ok();
            }
            1 => return stream.write_all(self.some()).ok(),
            // An answer may be waited for, but not for ever: there may be none.
            2 => {
                stream.set_read_timeout(Some(Duration::from_millis(2))).ok()?;
                let _ = stream.read(&mut [0; 4096]);
                return stream.set_read_timeout(None).ok();
            }
            3 => FromCell::Ready,
            4 => FromCell::Jailed(self.number() as u32),
            5 => FromCell::Refused {
                developer: self.byte()? & 1 == 1,
                why: String::from_utf8_lossy(self.some()).into_owned(),
            },
            6 => FromCell::Pages(self.pages()),
            7..32 => FromCell::Ended {
                told: self.told(),
                fuel: self.number(),
                how: match self.byte()? {
                    0..128 => Ended::Returned(self.number() as i32 / 2),
                    128 => Ended::Trap(String::from_utf8_lossy(self.some()).into_owned()),
                    129 => Ended::Memory,
                    130 => Ended::Table,
                    131 => Ended::Stack,
                    132..160 => Ended::Exited(self.number() as i32),
                    _ => Ended::Fuel,
                },
                machine: (self.byte()? & 1 == 1).then(|| Machine {
                    page_count: self.number() as u32,
                    globals: self.some().to_vec(),
                    pages: self.pages(),
                }),
            },
            op => {
                let told = self.told();
                let fuel = self.number();
                let op = crate::door::OPS[usize::from(op) % crate::door::OPS.len()];
                let input = self.input();
                return link
                    .tell_supervisor(&FromCell::Call { told, fuel, op, input: &input })
                    .ok();
            }
        };
        link.tell_supervisor(&told).ok()
    }

    fn input(&mut self) -> Vec<u8> {
        let head = self.some();
        let body = self.some();
        [&(head.len() as u32).to_le_bytes()[..], head, body].concat()
    }

    fn told(&mut self) -> Vec<Told> {
        let count = self.byte().unwrap_or_default() % 8;
        (0..count)
            .map(|_| {
                let op = Early::ALL[usize::from(self.byte().unwrap_or_default() & 3)];
                let input = self.input();
                let answer = match self.byte().unwrap_or_default() {
                    0..128 => frame::encode(&serde_json::json!({}), b""),
                    _ => self.some().to_vec(),
                };
                Told { op, input, answer }
            })
            .collect()
    }

    fn pages(&mut self) -> Vec<(u32, Page)> {
        let count = self.byte().unwrap_or_default() % 5;
        let page = |script: &mut Self| {
            let at = script.number() as u32;
            (at, Arc::new([script.byte().unwrap_or_default(); PAGE_BYTES]))
        };
        (0..count).map(|_| page(self)).collect()
    }
}
