//! WASI preview 1, as much of it as lets a libc run: arguments, environment, clock, randomness, standard
//! streams and exit. What it tells comes through the door and is recorded there; there are no files.

use serde_json::json;

use crate::cell::DoorHost;
use crate::engine::{Guest, HostStop, Import};
use crate::frame;

const SUCCESS: i32 = 0;
const BADF: i32 = 8;
const FAULT: i32 = 21;
const INVAL: i32 = 28;
const NOENT: i32 = 44;
const NOTSUP: i32 = 58;
const SPIPE: i32 = 70;

/// Most bytes of one `fd_write`; the rest is for the next call, as POSIX has it.
const WRITE_BYTES_MAX: u32 = 64 << 10;
/// Vectors of one `fd_write` that are looked at.
const VECTORS_MAX: u32 = 1024;
/// Subscriptions of one `poll_oneoff`.
const SUBSCRIPTIONS_MAX: u32 = 1024;
const SUBSCRIPTION_BYTES: u32 = 48;

pub(crate) fn call(
    host: &mut DoorHost,
    import: Import,
    args: &[i64],
    guest: &mut dyn Guest,
) -> Result<i32, HostStop> {
    let arg = |n: usize| args[n] as u32;
    let fd = args.first().map_or(0, |fd| *fd as u32);
    Ok(match import {
        Import::args_get => write_list(&argument_list(host), arg(0), arg(1), guest),
        Import::args_sizes_get => write_sizes(&argument_list(host), arg(0), arg(1), guest),
        Import::environ_get => write_list(&environment_list(host), arg(0), arg(1), guest),
        Import::environ_sizes_get => write_sizes(&environment_list(host), arg(0), arg(1), guest),
        Import::clock_res_get => write(guest, arg(1), &1_000_000u64.to_le_bytes()),
        Import::clock_time_get => match now(host, guest)? {
            Some(millis) => write(guest, arg(2), &millis.saturating_mul(1_000_000).to_le_bytes()),
            None => NOTSUP,
        },
        Import::random_get => random(host, arg(0), arg(1), guest)?,
        Import::fd_write => fd_write(host, fd, arg(1), arg(2), arg(3), guest)?,
        Import::fd_read if fd == 0 => write(guest, arg(3), &0u32.to_le_bytes()),
        Import::fd_fdstat_get if fd <= 2 => {
            let mut stat = [0; 24];
            stat[0] = 2; // a character device, so that libc buffers by lines
            // Rights: read for stdin, write for the others.
            stat[8] = if fd == 0 { 1 << 1 } else { 1 << 6 };
            write(guest, arg(1), &stat)
        }
        Import::fd_filestat_get if fd <= 2 => {
            let mut stat = [0; 64];
            stat[16] = 2;
            write(guest, arg(1), &stat)
        }
        Import::fd_close | Import::fd_fdstat_set_flags if fd <= 2 => SUCCESS,
        Import::fd_seek if fd <= 2 => SPIPE,
        Import::fd_read
        | Import::fd_close
        | Import::fd_seek
        | Import::fd_fdstat_get
        | Import::fd_fdstat_set_flags
        | Import::fd_filestat_get
        | Import::fd_prestat_get
        | Import::fd_prestat_dir_name => BADF,
        Import::path_open => NOENT,
        Import::poll_oneoff => poll(host, arg(0), arg(1), arg(2), arg(3), guest),
        Import::sched_yield => SUCCESS,
        Import::proc_exit => return Err(HostStop::Exit(args[0] as i32)),
        Import::daee_call | Import::daee_read => NOTSUP,
    })
}

fn write(guest: &mut dyn Guest, at: u32, bytes: &[u8]) -> i32 {
    if guest.write(at, bytes) { SUCCESS } else { FAULT }
}

fn argument_list(host: &DoorHost) -> Vec<Vec<u8>> {
    let program = std::iter::once("agent");
    let args = program.chain(host.args().iter().map(String::as_str));
    args.map(|arg| [arg.as_bytes(), b"\0"].concat()).collect()
}

fn environment_list(host: &DoorHost) -> Vec<Vec<u8>> {
    host.env().iter().map(|(key, value)| format!("{key}={value}\0").into_bytes()).collect()
}

fn write_sizes(list: &[Vec<u8>], count_at: u32, bytes_at: u32, guest: &mut dyn Guest) -> i32 {
    let bytes: usize = list.iter().map(Vec::len).sum();
    let wrote = guest.write(count_at, &(list.len() as u32).to_le_bytes())
        && guest.write(bytes_at, &(bytes as u32).to_le_bytes());
    if wrote { SUCCESS } else { FAULT }
}

fn write_list(list: &[Vec<u8>], mut places: u32, mut at: u32, guest: &mut dyn Guest) -> i32 {
    for item in list {
        if !guest.write(places, &at.to_le_bytes()) || !guest.write(at, item) {
            return FAULT;
        }
        places = places.wrapping_add(4);
        at = at.wrapping_add(item.len() as u32);
    }
    SUCCESS
}

/// The event's time, in milliseconds; nothing once the turn has made all its calls.
fn now(host: &mut DoorHost, guest: &mut dyn Guest) -> Result<Option<u64>, HostStop> {
    host.operate("now", Vec::new(), guest)?;
    Ok(frame::decode(host.answer()).and_then(|(head, _)| head.get("ms")?.as_u64()))
}

fn random(
    host: &mut DoorHost,
    mut at: u32,
    mut len: u32,
    guest: &mut dyn Guest,
) -> Result<i32, HostStop> {
    while len > 0 {
        let some = len.min(4096);
        let input = frame::encode(&json!({"bytes": some}), b"");
        if host.operate("random", input, guest)? < 0 {
            return Ok(NOTSUP);
        }
        let bytes = frame::decode(host.answer()).map(|(_, body)| body.to_vec());
        if !guest.write(at, &bytes.unwrap_or_default()) {
            return Ok(FAULT);
        }
        at = at.wrapping_add(some);
        len -= some;
    }
    Ok(SUCCESS)
}

/// What a program prints are lines of its log: standard output as information, standard error as warnings.
fn fd_write(
    host: &mut DoorHost,
    fd: u32,
    vectors: u32,
    count: u32,
    written_at: u32,
    guest: &mut dyn Guest,
) -> Result<i32, HostStop> {
    let level = match fd {
        1 => "info",
        2 => "warn",
        _ => return Ok(BADF),
    };
    let mut text = Vec::new();
    for n in 0..count.min(VECTORS_MAX) {
        let left = WRITE_BYTES_MAX - text.len() as u32;
        let Some((at, len)) = vector(vectors.wrapping_add(n.wrapping_mul(8)), guest) else {
            return Ok(FAULT);
        };
        let Some(bytes) = guest.bytes(at, len.min(left)) else { return Ok(FAULT) };
        text.extend(bytes);
    }
    for line in String::from_utf8_lossy(&text).lines().filter(|line| !line.is_empty()) {
        let input = frame::encode(&json!({"level": level, "text": line}), b"");
        // A program that prints too much is cut in its log, and not told.
        host.operate("log", input, guest)?;
    }
    Ok(write(guest, written_at, &(text.len() as u32).to_le_bytes()))
}

fn vector(at: u32, guest: &dyn Guest) -> Option<(u32, u32)> {
    let (at, len) = guest.bytes(at, 8)?.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*at), u32::from_le_bytes(len.try_into().ok()?)))
}

/// Time stands still in a turn, so every clock that is waited for has struck; streams are ready as well.
fn poll(
    _host: &mut DoorHost,
    subscriptions: u32,
    events: u32,
    count: u32,
    stored_at: u32,
    guest: &mut dyn Guest,
) -> i32 {
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return INVAL;
    }
    for n in 0..count {
        let at = subscriptions.wrapping_add(n * SUBSCRIPTION_BYTES);
        let Some(subscription) = guest.bytes(at, SUBSCRIPTION_BYTES) else { return FAULT };
        let mut event = [0; 32];
        event[..8].copy_from_slice(&subscription[..8]); // the guest's own mark
        event[10] = subscription[8]; // what was waited for
        if !guest.write(events.wrapping_add(n * 32), &event) {
            return FAULT;
        }
    }
    write(guest, stored_at, &count.to_le_bytes())
}
