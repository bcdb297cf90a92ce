//! The engine alone, for whoever measures it: no door, no turns, nothing recorded. Its programs are the bench's own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use wasm_encoder::{Encode as _, RawSection};
use wasmparser::{BinaryReader, Parser};

use super::{
    Bounds, Code, Cranelift, Engine as _, Guest, Host, HostStop, Import, Instance, Kept,
    SharedHost, Stop,
};

/// A module in machine code.
pub struct Bare {
    code: Box<dyn Code>,
    kept: Option<Kept>,
    host: SharedHost,
    said: Arc<AtomicU64>,
}

/// One instance of it.
pub struct Alive(Box<dyn Instance>);

const MEMORY_BYTES_MAX: u64 = 256 << 20;

impl Bare {
    /// A module with metering, as agents run, or without. Its `_start` finds `args` as its arguments.
    pub fn new(module: &[u8], metered: bool, args: Vec<String>) -> Self {
        let compiled = match metered {
            true => Cranelift.compile(module),
            false => Cranelift.compile_as_it_is(&with_globals(module)),
        };
        let code = compiled.expect("the bench's modules compile").code;
        let bounds = Bounds { memory_bytes_max: MEMORY_BYTES_MAX, table_elements_max: 100_000 };
        // SAFETY: made a moment ago.
        #[allow(unsafe_code, reason = "machine code is run as it is")]
        let code = unsafe { Cranelift.load(&code, bounds) };
        let code = code.expect("what was compiled loads");
        let said = Arc::<AtomicU64>::default();
        let host = Arc::new(Mutex::new(Nobody { args, said: said.clone() }));
        Self { code, kept: None, host, said }
    }

    /// Makes what an instance of it holds now what the next ones begin with.
    pub fn keep(&mut self, alive: &mut Alive) {
        let mut kept = Kept::new(MEMORY_BYTES_MAX, None).expect("there is memory");
        kept.follow(alive.0.as_mut()).expect("there is memory");
        self.kept = Some(kept);
    }

    /// Another instance.
    pub fn start(&self) -> Alive {
        let instance = self.code.instantiate(self.host.clone(), self.kept.as_ref());
        let mut instance = instance.expect("it was made before");
        instance.set_fuel(i64::MAX.unsigned_abs());
        Alive(instance)
    }

    /// Starts a program and lets it run to its end; the bytes that it printed.
    pub fn run(&self) -> u64 {
        let before = self.said.load(Relaxed);
        match self.start().0.call("_start") {
            Ok(_) | Err(Stop::Host(HostStop::Exit(_))) => self.said.load(Relaxed) - before,
            Err(stop) => panic!("the program did not end: {stop:?}"),
        }
    }
}

impl Alive {
    /// Calls an export.
    pub fn call(&mut self, export: &str) -> i32 {
        self.0.call(export).expect("the bench's modules do not trap")
    }
}

/// Without metering the places that it would have added are still looked for, behind the module's own globals.
fn with_globals(module: &[u8]) -> Vec<u8> {
    const GLOBALS: u8 = 6;
    /// A mutable `i64` and two `i32`, all zero.
    const MORE: [u8; 15] = [0x7e, 1, 0x42, 0, 0x0b, 0x7f, 1, 0x41, 0, 0x0b, 0x7f, 1, 0x41, 0, 0x0b];
    let mut out = wasm_encoder::Module::new();
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.expect("the bench's modules are WebAssembly");
        let Some((id, range)) = payload.as_section() else { continue };
        let mut data = module[range.start as usize..range.end as usize].to_vec();
        if id == GLOBALS {
            let mut content = BinaryReader::new(&data, 0);
            let count =
                content.read_var_u32().expect("a section of globals begins with their number");
            let mut more = Vec::new();
            (count + 3).encode(&mut more);
            more.extend(&data[content.current_position()..]);
            more.extend(MORE);
            data = more;
        }
        out.section(&RawSection { id, data: &data });
    }
    out.finish()
}

/// A host behind which nothing is. It has as much of WASI as a JavaScript engine asks for before it runs a script
/// that it was given as an argument; the peer's bench has the same.
struct Nobody {
    args: Vec<String>,
    said: Arc<AtomicU64>,
}

impl Host for Nobody {
    fn import(
        &mut self,
        import: Import,
        args: &[i64],
        guest: &mut dyn Guest,
    ) -> Result<i32, HostStop> {
        const BADF: i32 = 8;
        let at = |n: usize| args[n] as u32;
        let word = |n: u32| n.to_le_bytes();
        match import {
            Import::daee_call => {}
            Import::args_sizes_get => {
                let bytes: usize = self.args.iter().map(String::len).sum();
                guest.write(at(0), &word(self.args.len() as u32));
                guest.write(at(1), &word(bytes as u32));
            }
            Import::args_get => {
                let (mut places, mut bytes) = (at(0), at(1));
                for arg in &self.args {
                    guest.write(places, &word(bytes));
                    guest.write(bytes, arg.as_bytes());
                    places += 4;
                    bytes += arg.len() as u32;
                }
            }
            Import::environ_sizes_get => {
                guest.write(at(0), &word(0));
                guest.write(at(1), &word(0));
            }
            Import::environ_get => {}
            Import::clock_time_get => {
                guest.write(at(2), &[0; 8]);
            }
            Import::fd_write => {
                let len = |n: u32| guest.bytes(at(1) + n * 8 + 4, 4)?.try_into().ok();
                let sum = (0..at(2)).filter_map(len).map(u32::from_le_bytes).sum::<u32>();
                self.said.fetch_add(sum.into(), Relaxed);
                guest.write(at(3), &word(sum));
            }
            Import::fd_fdstat_get => {
                let mut stat = [0; 24];
                stat[0] = 2;
                stat[8] = 1 << 6;
                guest.write(at(1), &stat);
            }
            Import::proc_exit => return Err(HostStop::Exit(args[0] as i32)),
            _ => return Ok(BADF),
        }
        Ok(0)
    }
}
