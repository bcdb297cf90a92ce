//! WASI preview 1. What it tells and does comes through the door and is recorded there; what cannot be
//! recorded, or is no part of a cell, is refused as POSIX has it.

mod app;
mod errno;
mod files;
mod stdio;
mod table;

use serde_json::{Map, Value, json};

use crate::cell::DoorHost;
use crate::engine::{Guest, HostStop, Import};
use crate::frame;
use crate::mapped::Mapped;

use app::App;
use errno::{
    BADF, FAULT, FBIG, ILSEQ, INVAL, IO, NAMETOOLONG, NOENT, NOSYS, NOTSOCK, NOTSUP, SUCCESS,
};
use files::Ahead;
pub(crate) use stdio::Manners;
use stdio::Streams;
use table::{Table, What};

/// Most bytes of one read or write; the rest is for the next call, as POSIX has it.
const IO_BYTES_MAX: u32 = 1 << 20;
/// Vectors of one read or write that are looked at.
const VECTORS_MAX: u32 = 1024;
/// Subscriptions of one `poll_oneoff`.
const SUBSCRIPTIONS_MAX: u32 = 1024;
const SUBSCRIPTION_BYTES: u32 = 48;
/// The kind of those that wait for time.
const CLOCK: u8 = 0;
/// Fuel for each operation that is done for a program, as for one that it calls.
const OPERATION_FUEL: u64 = 200;
/// Fuel for each subscription of a poll.
const SUBSCRIPTION_FUEL: u64 = 8;
/// Fuel for each byte of a path that is followed here.
const PATH_FUEL: u64 = 4;

/// What a program holds on to between calls.
pub(crate) struct Wasi {
    table: Table,
    streams: Streams,
    app: App,
    /// What was read of a file before it was asked for.
    ahead: Option<Ahead>,
}

impl Wasi {
    pub(crate) fn new(mapped: Mapped, manners: Manners) -> Self {
        Self {
            table: Table::new(),
            streams: Streams::new(manners),
            app: App::new(mapped),
            ahead: None,
        }
    }

    /// Forgets all: a program starts, or a reactor's turn.
    pub(crate) fn begin(&mut self) {
        self.table = Table::new();
        self.streams = Streams::new(self.streams.manners());
        self.ahead = None;
    }
}

pub(crate) fn call(
    host: &mut DoorHost,
    import: Import,
    args: &[i64],
    guest: &mut dyn Guest,
) -> Result<i32, HostStop> {
    match (Call { host, guest }).import(import, args) {
        Ok(()) => Ok(SUCCESS),
        Err(Fail::Errno(errno)) => Ok(errno),
        Err(Fail::Stop(stop)) => Err(stop),
    }
}

/// A program or a turn is over: what it has written goes where it belongs. `kept` says that the turn is,
/// as far as the program has a say in it.
pub(crate) fn end(host: &mut DoorHost, kept: bool, guest: &mut dyn Guest) -> Result<(), HostStop> {
    stopped((Call { host, guest }).end(kept))
}

/// Before an operation that the program calls by its name.
pub(crate) fn before(host: &mut DoorHost, op: &str, guest: &mut dyn Guest) -> Result<(), HostStop> {
    if op.starts_with("file.") {
        host.wasi.ahead = None;
    }
    // What was written before is a line of the turn that it was written in.
    if op == "event.next" { stopped((Call { host, guest }).flush()) } else { Ok(()) }
}

fn stopped(done: Done) -> Result<(), HostStop> {
    match done {
        Err(Fail::Stop(stop)) => Err(stop),
        Ok(()) | Err(Fail::Errno(_)) => Ok(()),
    }
}

/// Why a call does not succeed.
enum Fail {
    Errno(i32),
    Stop(HostStop),
}

impl From<i32> for Fail {
    fn from(errno: i32) -> Self {
        Fail::Errno(errno)
    }
}

impl From<HostStop> for Fail {
    fn from(stop: HostStop) -> Self {
        Fail::Stop(stop)
    }
}

type Done<T = ()> = Result<T, Fail>;

struct Call<'a> {
    host: &'a mut DoorHost,
    guest: &'a mut dyn Guest,
}

impl Call<'_> {
    fn import(&mut self, import: Import, args: &[i64]) -> Done {
        let arg = |n: usize| args[n] as u32;
        let long = |n: usize| args[n].cast_unsigned();
        let fd = args.first().map_or(0, |fd| *fd as u32);
        match import {
            Import::args_get => self.put_list(&self.argument_list(), arg(0), arg(1)),
            Import::args_sizes_get => self.put_sizes(&self.argument_list(), arg(0), arg(1)),
            Import::environ_get => {
                let list = self.environment_list()?;
                self.put_list(&list, arg(0), arg(1))
            }
            Import::environ_sizes_get => {
                let list = self.environment_list()?;
                self.put_sizes(&list, arg(0), arg(1))
            }
            Import::clock_res_get if arg(0) <= 3 => self.put(arg(1), &1_000_000u64.to_le_bytes()),
            Import::clock_time_get if arg(0) <= 3 => {
                let nanos = self.now_nanos()?;
                self.put(arg(2), &nanos.to_le_bytes())
            }
            Import::clock_res_get | Import::clock_time_get => Err(INVAL.into()),
            Import::random_get => self.random(arg(0), arg(1)),
            Import::poll_oneoff => self.poll(arg(0), arg(1), arg(2), arg(3)),
            Import::sched_yield => Ok(()),
            Import::proc_exit => {
                stopped(self.end(args[0] == 0))?;
                Err(HostStop::Exit(args[0] as i32).into())
            }
            Import::proc_raise => Err(NOSYS.into()),
            Import::sock_accept | Import::sock_recv | Import::sock_send | Import::sock_shutdown => {
                self.host.wasi.table.get(fd)?;
                Err(NOTSOCK.into())
            }
            Import::fd_prestat_get => self.prestat(fd, arg(1)),
            Import::fd_prestat_dir_name => self.prestat_name(fd, arg(1), arg(2)),
            Import::fd_close => self.close(fd),
            Import::fd_renumber => Ok(self.host.wasi.table.renumber(fd, arg(1))?),
            Import::fd_fdstat_get => self.fdstat(fd, arg(1)),
            Import::fd_fdstat_set_flags => self.set_flags(fd, arg(1)),
            Import::fd_fdstat_set_rights => self.set_rights(fd, long(1), long(2)),
            Import::fd_filestat_get => self.filestat(fd, arg(1)),
            Import::fd_filestat_set_size => self.set_size(fd, long(1)),
            Import::fd_filestat_set_times => self.set_times(fd, long(2), arg(3)),
            Import::fd_advise => self.advise(fd, arg(3)),
            Import::fd_allocate => self.allocate(fd, long(1), long(2)),
            Import::fd_datasync => {
                Ok(self.host.wasi.table.with(fd, table::DATASYNC).map(|_| ())?)
            }
            Import::fd_sync => Ok(self.host.wasi.table.with(fd, table::SYNC).map(|_| ())?),
            Import::fd_read => self.read(fd, arg(1), arg(2), None, arg(3)),
            Import::fd_pread => self.read(fd, arg(1), arg(2), Some(long(3)), arg(4)),
            Import::fd_write => self.write(fd, arg(1), arg(2), None, arg(3)),
            Import::fd_pwrite => self.write(fd, arg(1), arg(2), Some(long(3)), arg(4)),
            Import::fd_seek => self.seek(fd, args[1], arg(2), arg(3)),
            Import::fd_tell => self.tell(fd, arg(1)),
            Import::fd_readdir => self.readdir(fd, arg(1), arg(2), long(3), arg(4)),
            Import::path_open => self.open(args),
            Import::path_create_directory => self.create_directory(fd, arg(1), arg(2)),
            Import::path_filestat_get => self.path_filestat(fd, arg(2), arg(3), arg(4)),
            Import::path_filestat_set_times => {
                self.path_set_times(fd, arg(2), arg(3), long(5), arg(6))
            }
            Import::path_remove_directory => self.remove(fd, arg(1), arg(2), true),
            Import::path_unlink_file => self.remove(fd, arg(1), arg(2), false),
            Import::path_rename => self.rename(fd, arg(1), arg(2), arg(3), arg(4), arg(5)),
            Import::path_link => self.link(fd, arg(2), arg(3), arg(4), arg(5), arg(6)),
            Import::path_symlink => self.symlink(arg(0), arg(1), arg(2), arg(3), arg(4)),
            Import::path_readlink => self.readlink(fd, arg(1), arg(2)),
            Import::daee_call | Import::daee_read => Err(NOTSUP.into()),
        }
    }

    fn put(&mut self, at: u32, bytes: &[u8]) -> Done {
        if self.guest.write(at, bytes) { Ok(()) } else { Err(FAULT.into()) }
    }

    /// A path as the guest has it; what it leads to is another's to judge.
    fn path(&mut self, at: u32, len: u32) -> Done<String> {
        if len as usize > daee_state::PATH_BYTES_MAX {
            return Err(NAMETOOLONG.into());
        }
        self.guest.take_fuel(u64::from(len) * PATH_FUEL)?;
        let bytes = self.guest.bytes(at, len).ok_or(FAULT)?;
        let path = std::str::from_utf8(bytes).map_err(|_| ILSEQ)?;
        match path {
            "" => Err(NOENT.into()),
            path if path.contains('\0') => Err(ILSEQ.into()),
            path => Ok(path.to_owned()),
        }
    }

    /// Does an operation at the door. Its refusal is the error it is said to be there.
    fn ask(&mut self, op: &str, head: &Value, body: &[u8]) -> Done<(Map<String, Value>, Vec<u8>)> {
        let input = frame::encode(head, body);
        if input.len() as u64 > self.host.frame_max() {
            return Err(FBIG.into());
        }
        self.guest.take_fuel(OPERATION_FUEL)?;
        let code = self.host.operate(op, input, self.guest)?;
        let (head, body) = frame::decode(self.host.answer()).ok_or(IO)?;
        if code < 0 {
            let posix = head.get("errno").and_then(Value::as_str);
            return Err(posix.and_then(errno::named).unwrap_or(IO).into());
        }
        Ok((head, body.to_vec()))
    }

    fn argument_list(&self) -> Vec<Vec<u8>> {
        let program = std::iter::once("agent");
        let args = program.chain(self.host.args().iter().map(String::as_str));
        args.map(|arg| [arg.as_bytes(), b"\0"].concat()).collect()
    }

    /// The manifest's, and over them those of the event where it comes by CGI.
    fn environment_list(&mut self) -> Done<Vec<Vec<u8>>> {
        self.hear_request()?;
        let own = self.host.wasi.streams.environment();
        let manifest = self.host.env().iter();
        let manifest = manifest.filter(|(key, _)| !own.iter().any(|(name, _)| name == key));
        let all = manifest.chain(own);
        Ok(all.map(|(key, value)| format!("{key}={value}\0").into_bytes()).collect())
    }

    fn put_sizes(&mut self, list: &[Vec<u8>], count_at: u32, bytes_at: u32) -> Done {
        let bytes: usize = list.iter().map(Vec::len).sum();
        self.put(count_at, &(list.len() as u32).to_le_bytes())?;
        self.put(bytes_at, &(bytes as u32).to_le_bytes())
    }

    fn put_list(&mut self, list: &[Vec<u8>], mut places: u32, mut at: u32) -> Done {
        for item in list {
            self.put(places, &at.to_le_bytes())?;
            self.put(at, item)?;
            places = places.wrapping_add(4);
            at = at.wrapping_add(item.len() as u32);
        }
        Ok(())
    }

    /// The event's time.
    fn now_nanos(&mut self) -> Done<u64> {
        let (head, _) = self.ask("now", &json!({}), b"")?;
        let ms = head.get("ms").and_then(Value::as_u64).unwrap_or_default();
        Ok(ms.saturating_mul(1_000_000))
    }

    fn random(&mut self, mut at: u32, mut len: u32) -> Done {
        while len > 0 {
            let some = len.min(4096);
            let (_, bytes) = self.ask("random", &json!({"bytes": some}), b"")?;
            self.put(at, &bytes)?;
            at = at.wrapping_add(some);
            len -= some;
        }
        Ok(())
    }

    /// Streams and files are ready at once. Where clocks alone are waited for they have all struck, for time
    /// stands still in a turn.
    fn poll(&mut self, subscriptions: u32, events: u32, count: u32, stored_at: u32) -> Done {
        if count == 0 || count > SUBSCRIPTIONS_MAX {
            return Err(INVAL.into());
        }
        self.guest.take_fuel(u64::from(count) * SUBSCRIPTION_FUEL)?;
        let mut all: Vec<[u8; SUBSCRIPTION_BYTES as usize]> = Vec::new();
        for n in 0..count {
            let at = subscriptions.wrapping_add(n * SUBSCRIPTION_BYTES);
            let subscription = self.guest.bytes(at, SUBSCRIPTION_BYTES).ok_or(FAULT)?;
            all.push(subscription.try_into().expect("as many bytes were asked for"));
        }
        let ready = all.iter().any(|subscription| subscription[8] != CLOCK);
        let mut stored = 0_u32;
        for subscription in &all {
            let number = u32::from_le_bytes(subscription[16..20].try_into().expect("four bytes"));
            let (error, bytes) = match subscription[8] {
                CLOCK if number > 3 => (INVAL, 0),
                CLOCK if ready && subscription[24..32] != [0; 8] => continue,
                CLOCK => (SUCCESS, 0),
                // Some bytes can be read or written, at the least.
                1 | 2 => self.host.wasi.table.get(number).map_or((BADF, 0), |_| (SUCCESS, 1)),
                _ => return Err(INVAL.into()),
            };
            let mut event = [0; 32];
            event[..8].copy_from_slice(&subscription[..8]); // the guest's own mark
            event[8..10].copy_from_slice(&(error as u16).to_le_bytes());
            event[10] = subscription[8]; // what was waited for
            event[16] = bytes;
            self.put(events.wrapping_add(stored * 32), &event)?;
            stored += 1;
        }
        self.put(stored_at, &stored.to_le_bytes())
    }

    /// Places in the guest's memory, up to what one call may move.
    fn vectors(&mut self, at: u32, count: u32) -> Done<Vec<(u32, u32)>> {
        let mut left = u64::from(IO_BYTES_MAX).min(self.host.frame_max() / 2) as u32;
        let mut vectors = Vec::new();
        for n in 0..count.min(VECTORS_MAX) {
            let bytes = self.guest.bytes(at.wrapping_add(n.wrapping_mul(8)), 8).ok_or(FAULT)?;
            let (place, len) = bytes.split_at(4);
            let number = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
            let len = number(len);
            // All of it must be there, however much of it is taken.
            self.guest.bytes(number(place), len).ok_or(FAULT)?;
            vectors.push((number(place), len.min(left)));
            left -= len.min(left);
        }
        Ok(vectors)
    }

    fn read(&mut self, fd: u32, at: u32, count: u32, offset: Option<u64>, read_at: u32) -> Done {
        let what = self.host.wasi.table.get(fd)?.what;
        let vectors = self.vectors(at, count)?;
        let wanted = vectors.iter().map(|(_, len)| len).sum();
        let bytes = match what {
            What::Input if offset.is_some() => return Err(errno::SPIPE.into()),
            What::Input => self.read_input(wanted)?,
            What::Output | What::Errors => return Err(BADF.into()),
            What::Directory(..) => return Err(errno::ISDIR.into()),
            What::File(root, number) => self.read_file(fd, root, number, offset, wanted)?,
        };
        let mut rest = &bytes[..];
        for (at, len) in vectors {
            let (some, left) = rest.split_at(rest.len().min(len as usize));
            self.put(at, some)?;
            rest = left;
        }
        self.put(read_at, &(bytes.len() as u32).to_le_bytes())
    }

    fn write(
        &mut self,
        fd: u32,
        at: u32,
        count: u32,
        offset: Option<u64>,
        written_at: u32,
    ) -> Done {
        let what = self.host.wasi.table.get(fd)?.what;
        let mut bytes = Vec::new();
        for (at, len) in self.vectors(at, count)? {
            bytes.extend(self.guest.bytes(at, len).ok_or(FAULT)?);
        }
        match what {
            What::Output | What::Errors if offset.is_some() => return Err(errno::SPIPE.into()),
            What::Output => self.write_output(&bytes)?,
            What::Errors => self.write_errors(&bytes)?,
            What::Input => return Err(BADF.into()),
            What::Directory(..) => return Err(errno::ISDIR.into()),
            What::File(_, number) => self.write_file(fd, number, offset, &bytes)?,
        }
        self.put(written_at, &(bytes.len() as u32).to_le_bytes())
    }
}
