//! The other lives of this executable: cell, compiler, probe.
//!
//! Unsafe because a child takes the descriptors that it was started with.
#![allow(unsafe_code)]

use std::fs::File;
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use daee_types::ByteSize;
use memmap2::Mmap;

use crate::cell::{self, Walls};
use crate::jail;
use crate::protocol::{FromCell, Link};
use crate::spawn::{self, Role};
use crate::{compile, engine};

/// Call it first in `main`: in the processes that the runtime starts it does their work and never
/// returns; in every other process it returns at once.
///
/// A cell is this executable again. Without the call it would begin as a second copy of the
/// program; [`Runtime::new`](crate::Runtime::new) notices and says so.
pub fn child_main() {
    let Some(name) = std::env::args_os().next() else { return };
    let Some(role) =
        Role::ALL.iter().find(|role| name.as_encoded_bytes() == role.name().to_bytes())
    else {
        return;
    };
    // SAFETY: the name says that `spawn` made this process, and this is its first statement.
    let (link, input) = unsafe { spawn::inherited() };
    match role {
        Role::Cell => cell(link),
        Role::Compile => compiler(link, input),
        Role::Probe => probe(link),
        #[cfg(test)]
        Role::Evil => crate::evil::evil(link, input),
    }
    // SAFETY: ends the process without running what the supervisor registered to run at its own exit.
    unsafe { libc::_exit(0) }
}

fn cell(link: OwnedFd) {
    if let Err(error) = engine::warm_up() {
        // The supervisor reads it when it finds the cell gone.
        let _ = writeln!(std::io::stderr(), "no memory for what it keeps: {error}");
        return;
    }
    // Draws the seed of this thread's hash maps while the kernel may be asked for it.
    let _ = std::hash::RandomState::new();
    let walls = jail::enter_cell(jail::ALL);
    // The supervisor is trusted: it may send as much as it likes.
    let mut link = Link::new(UnixStream::from(link), ByteSize::gib(4));
    if link.tell_supervisor(&FromCell::Jailed(walls)).is_ok() {
        cell::serve(link, Walls::Process);
    }
}

fn compiler(link: OwnedFd, module: OwnedFd) {
    // SAFETY: the supervisor sealed the file before it gave it away, so it never changes.
    let Ok(module) = (unsafe { Mmap::map(&File::from(module)) }) else { return };
    let mut job = [0; 24];
    let mut link = UnixStream::from(link);
    if std::io::Read::read_exact(&mut link, &mut job).is_err() {
        return;
    }
    let (numbers, _) = job.as_chunks::<8>();
    let [memory, cpu, walls] = [0, 1, 2].map(|n| u64::from_le_bytes(numbers[n]));
    let up = u64::from(jail::enter_compiler(jail::ALL));
    jail::limit_compiler(memory, cpu);
    let fit = up & walls == walls;
    let answer = if fit { compile::answer(&module) } else { compile::FEWER_WALLS.to_vec() };
    // If it cannot be written nobody is there to read it.
    let _ = link.write_all(&answer);
}

fn probe(link: OwnedFd) {
    let walls = jail::enter_cell(jail::ALL) | jail::seal_cell(jail::ALL);
    let mut link = Link::new(UnixStream::from(link), ByteSize::kib(1));
    // A supervisor that is gone needs no answer.
    let _ = link.tell_supervisor(&FromCell::Jailed(walls));
}
