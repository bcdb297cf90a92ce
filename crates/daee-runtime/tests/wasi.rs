//! WASI as programs see it: each call by a guest that makes what calls it is told to make.

mod common;

use std::sync::LazyLock;

use common::{Bench, NOW, policy};
use daee_artifact::{Artifact, WASI, with_files};
use daee_runtime::{Agent, Event, Isolation, Launch, Limits, Nothing, Outcome, RunStyle, Turned};
use daee_types::ArtifactHash;
use proptest::prelude::*;

const BADF: i32 = 8;
const EXIST: i32 = 20;
const FAULT: i32 = 21;
const ILSEQ: i32 = 25;
const INVAL: i32 = 28;
const ISDIR: i32 = 31;
const MFILE: i32 = 33;
const NAMETOOLONG: i32 = 37;
const NOENT: i32 = 44;
const NOSPC: i32 = 51;
const NOTDIR: i32 = 54;
const NOTEMPTY: i32 = 55;
const NOTSOCK: i32 = 57;
const PERM: i32 = 63;
const ROFS: i32 = 69;
const SPIPE: i32 = 70;
const XDEV: i32 = 75;
const NOTCAPABLE: i32 = 76;

const STATE: i64 = 3;
const APP: i64 = 4;
const READ: i64 = 1 << 1;
const WRITE: i64 = 1 << 6;
const CREATE: i64 = 1;
const DIRECTORY: i64 = 2;
const EXCLUSIVE: i64 = 4;
const TRUNCATE: i64 = 8;

/// Each function that is about files or sockets, and the types of its parameters.
static FUNCTIONS: LazyLock<Vec<(&str, Vec<&str>)>> = LazyLock::new(|| {
    let about = ["fd_", "path_", "sock_"];
    let all = WASI.into_iter().filter(|(name, _)| about.iter().any(|word| name.starts_with(word)));
    all.map(|(name, shape)| {
        let parameters = shape[1..].split(')').next().unwrap_or_default();
        (name, parameters.split(", ").filter(|ty| !ty.is_empty()).collect())
    })
    .collect()
});

/// Where the script begins: records of a function and nine arguments, 80 bytes each.
const SCRIPT: usize = 0x10000;
/// What the calls use lies before it.
const ROOM: usize = 0x8000;

/// A guest that makes the calls of its event's body and answers with what they gave and the room they used.
fn guest() -> String {
    let imports = FUNCTIONS.iter().map(|(name, params)| {
        let params = params.join(" ");
        format!(
            "(import \"wasi_snapshot_preview1\" {name:?} (func ${name} (param {params}) (result i32)))\n"
        )
    });
    let imports: String = imports.collect();
    let targets: String = (0..FUNCTIONS.len()).map(|n| format!(" $f{n}")).collect();
    let blocks: String = (0..FUNCTIONS.len()).rev().map(|n| format!("(block $f{n} ")).collect();
    let cases = FUNCTIONS.iter().map(|(name, params)| {
        let args = params.iter().enumerate().map(|(n, ty)| {
            let at = 8 + 8 * n;
            format!("({ty}.load offset={at} (local.get $at)) ")
        });
        let args: String = args.collect();
        format!("(return (call ${name} {args}))")
    });
    let cases = cases.collect::<Vec<_>>().join(")\n");
    format!(
        r#"(module
        (import "daee" "call" (func $call (param i32 i32 i32 i32) (result i32)))
        (import "daee" "read" (func $read (param i32 i32) (result i32)))
        {imports}
        (memory (export "memory") 4)
        (data (i32.const 0x30000) "event.next")
        (data (i32.const 0x30010) "event.answer")
        (func $one (param $at i32) (result i32)
          {blocks} (br_table{targets} (i32.load (local.get $at))))
          {cases})
        (func $turn (result i32)
          (local $len i32) (local $at i32) (local $end i32) (local $out i32) (local $head i32)
          (drop (call $call (i32.const 0x30000) (i32.const 10) (i32.const 0) (i32.const 0)))
          (local.set $len (call $read (i32.const {SCRIPT}) (i32.const 0x20000)))
          (local.set $head (i32.load (i32.const {SCRIPT})))
          (local.set $at (i32.add (i32.const {at}) (local.get $head)))
          (local.set $end (i32.add (i32.const {SCRIPT}) (local.get $len)))
          ;; The room comes first.
          (memory.copy (i32.const {ROOM}) (local.get $at) (i32.const 0x4000))
          (local.set $at (i32.add (local.get $at) (i32.const 0x4000)))
          (local.set $out (i32.const {out}))
          (block $done (loop $next
            (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
            (i32.store (local.get $out) (call $one (local.get $at)))
            (local.set $out (i32.add (local.get $out) (i32.const 4)))
            (local.set $at (i32.add (local.get $at) (i32.const 80)))
            (br $next)))
          ;; An answer: a head of two bytes, the room, and what was returned.
          (i32.store (i32.const {front}) (i32.const 2))
          (i32.store16 (i32.const {braces}) (i32.const 0x7d7b))
          (drop (call $call (i32.const 0x30010) (i32.const 12) (i32.const {front})
            (i32.sub (local.get $out) (i32.const {front}))))
          (i32.const 0))
        (func (export "_start") (drop (call $turn)))
        (func (export "daee_turn") (result i32) (call $turn)))"#,
        at = SCRIPT + 4,
        out = ROOM + 0x4000,
        front = ROOM - 6,
        braces = ROOM - 2,
    )
}

/// Calls to make, and room for what they use.
#[derive(Default)]
struct Script {
    room: Vec<u8>,
    calls: Vec<u8>,
    expected: Vec<(String, i32)>,
}

impl Script {
    fn put(&mut self, bytes: &[u8]) -> i64 {
        let at = self.room.len();
        self.room.extend(bytes);
        self.room.resize(self.room.len().next_multiple_of(8), 0);
        assert!(self.room.len() <= 0x4000);
        (ROOM + at) as i64
    }

    fn vectors(&mut self, list: &[(i64, usize)]) -> i64 {
        let bytes: Vec<u8> = list
            .iter()
            .flat_map(|(at, len)| [*at as u32, *len as u32])
            .flat_map(u32::to_le_bytes)
            .collect();
        self.put(&bytes)
    }

    fn call(&mut self, name: &str, args: &[i64], expected: i32) {
        let function = FUNCTIONS.iter().position(|(known, _)| *known == name).unwrap();
        assert_eq!(args.len(), FUNCTIONS[function].1.len(), "{name}");
        let mut record = (function as u64).to_le_bytes().to_vec();
        args.iter().for_each(|arg| record.extend(arg.to_le_bytes()));
        record.resize(80, 0);
        self.calls.extend(record);
        self.expected.push((format!("{} {name}{args:?}", self.expected.len()), expected));
    }

    /// A call whose arguments hold one path, which stands for two of them.
    fn path(&mut self, name: &str, before: &[i64], path: &str, after: &[i64], expected: i32) {
        let at = self.put(path.as_bytes());
        let args = [before, &[at, path.len() as i64], after].concat();
        self.call(name, &args, expected);
        let said = &mut self.expected.last_mut().unwrap().0;
        said.push_str(&format!(" {path:?}"));
    }

    /// Opens with these rights; says where the descriptor will stand.
    fn open(&mut self, fd: i64, path: &str, how: i64, rights: i64, expected: i32) -> i64 {
        let out = self.put(&[0xff; 4]);
        let wide = rights | 1 << 2 | 1 << 5 | 1 << 21;
        self.path("path_open", &[fd, 0], path, &[how, wide, 0, 0, out], expected);
        out
    }

    fn write(&mut self, fd: i64, text: &str, expected: i32) {
        let at = self.put(text.as_bytes());
        let vectors = self.vectors(&[(at, text.len())]);
        let out = self.put(&[0; 4]);
        self.call("fd_write", &[fd, vectors, 1, out], expected);
    }

    /// Reads that many; says where the bytes will stand, and their number.
    fn read(&mut self, fd: i64, len: usize, expected: i32) -> (i64, i64) {
        let at = self.put(&vec![0; len]);
        let vectors = self.vectors(&[(at, len)]);
        let out = self.put(&[0; 4]);
        self.call("fd_read", &[fd, vectors, 1, out], expected);
        (at, out)
    }

    fn run(&self, agent: &mut Agent) -> Room {
        let turned = self.turn(agent);
        assert_eq!(turned.outcome, Outcome::Done);
        let body = turned.answer.unwrap().body;
        let (room, returned) = body.split_at(0x4000);
        let returned = returned.as_chunks::<4>().0.iter().map(|code| i32::from_le_bytes(*code));
        let found: Vec<_> =
            self.expected.iter().map(|(call, _)| call.clone()).zip(returned).collect();
        for (found, expected) in found.iter().zip(&self.expected) {
            assert_eq!(found, expected);
        }
        assert_eq!(found.len(), self.expected.len());
        Room(room.to_vec())
    }

    fn turn(&self, agent: &mut Agent) -> Turned {
        let mut body = self.room.clone();
        body.resize(0x4000, 0);
        body.extend(&self.calls);
        agent.turn(Event::Message { from: "test".into(), body }, NOW)
    }
}

struct Room(Vec<u8>);

impl Room {
    fn bytes(&self, at: i64, len: usize) -> &[u8] {
        &self.0[at as usize - ROOM..][..len]
    }
    fn u32(&self, at: i64) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }
    fn u64(&self, at: i64) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }
    fn read(&self, (at, len): (i64, i64)) -> &[u8] {
        self.bytes(at, self.u32(len) as usize)
    }
}

fn agent_with(style: Option<RunStyle>, files: &[(&str, &str)]) -> Agent {
    let bench = Bench::new(Isolation::InProcess);
    let files: Vec<_> =
        files.iter().map(|(path, text)| ((*path).into(), text.as_bytes().to_vec())).collect();
    let bytes = with_files(&wat::parse_str(guest()).unwrap(), &files).unwrap();
    let hash = ArtifactHash::of(&bytes);
    let artifact = Artifact::fetched(bytes).verify(&hash).unwrap();
    let module = bench.runtime.prepare(&artifact, style).unwrap();
    let launch = Launch { policy: policy(), ..Launch::new(module) };
    Agent::start(&bench.runtime, launch, Box::new(Nothing(NOW))).unwrap()
}

fn agent() -> Agent {
    agent_with(
        Some(RunStyle::PerEvent),
        &[("main.py", "print(1)"), ("lib/a.py", "a"), ("lib/b/c.py", "")],
    )
}

/// Makes `/state/d/f` with "hello" in it.
fn furnished() -> Agent {
    let mut agent = agent();
    let mut script = Script::default();
    script.path("path_create_directory", &[STATE], "d", &[], 0);
    script.path("path_create_directory", &[STATE], "e/", &[], 0);
    script.open(STATE, "d/f", CREATE | EXCLUSIVE, WRITE, 0);
    script.write(5, "hello", 0);
    script.run(&mut agent);
    agent
}

#[test]
fn what_is_written_is_there_for_the_next_event() {
    let mut agent = furnished();
    let mut script = Script::default();
    let fd = script.open(STATE, "d/f", 0, READ | WRITE, 0);
    let first = script.read(5, 3, 0);
    let rest = script.read(5, 100, 0);
    let none = script.read(5, 100, 0);
    let told = script.put(&[0; 8]);
    script.call("fd_seek", &[5, -4, 2, told], 0);
    script.write(5, "ipp", 0);
    let at = script.put(&[0; 8]);
    script.call("fd_tell", &[5, at], 0);
    let bytes = script.put(&[0; 16]);
    let vectors = script.vectors(&[(bytes, 2), (bytes + 8, 8)]);
    let count = script.put(&[0; 4]);
    script.call("fd_pread", &[5, vectors, 2, 0, count], 0);
    let stat = script.put(&[0; 64]);
    script.call("fd_filestat_get", &[5, stat], 0);
    let room = script.run(&mut agent);
    assert_eq!(room.u32(fd), 5);
    assert_eq!(
        (room.read(first), room.read(rest), room.read(none)),
        (&b"hel"[..], &b"lo"[..], &b""[..])
    );
    assert_eq!((room.u64(told), room.u64(at), room.u32(count)), (1, 4, 5));
    assert_eq!((room.bytes(bytes, 2), room.bytes(bytes + 8, 3)), (&b"hi"[..], &b"ppo"[..]));
    assert_eq!((room.bytes(stat + 16, 1), room.u64(stat + 32)), (&[4][..], 5));
    assert_eq!(room.u64(stat + 48), NOW.0 * 1_000_000);
}

#[test]
fn no_path_leads_out_of_the_directories() {
    let mut agent = furnished();
    let long = "n".repeat(256);
    let longer = "./".repeat(2100);
    let mut script = Script::default();
    for (path, expected) in [
        ("/etc/passwd", PERM),
        ("/state/d/f", PERM),
        ("..", PERM),
        ("../app/main.py", PERM),
        ("d/../../etc/passwd", PERM),
        ("./../..", PERM),
        ("d/../../state/d/f", PERM),
        ("nothing/../../..", NOENT),
        ("d/f/../../..", NOTDIR),
        ("d/f/", NOTDIR),
        ("d/f/.", NOTDIR),
        ("d//./f", 0),
        ("d/../d/f", 0),
        ("d\\f", NOENT),
        ("%2e%2e/app", NOENT),
        ("d/f\0", ILSEQ),
        ("", NOENT),
        (&long, NAMETOOLONG),
        (&longer, NAMETOOLONG),
        ("~/f", NOENT),
    ] {
        script.open(STATE, path, 0, READ, expected);
        let stat = script.put(&[0; 8]);
        let expected = if expected == 0 { FAULT } else { expected };
        // At the end of memory a result has no room, which is found last.
        script.path("path_filestat_get", &[STATE, 0], path, &[0x3ffff], expected);
        let _ = stat;
    }
    for (path, expected) in
        [("../state/d/f", PERM), ("lib/../../state", PERM), ("/app/main.py", PERM)]
    {
        script.open(APP, path, 0, READ, expected);
    }
    script.path("path_unlink_file", &[STATE], "../d/f", &[], PERM);
    script.path("path_remove_directory", &[STATE], "..", &[], PERM);
    script.path("path_create_directory", &[STATE], "../x", &[], PERM);
    let not_utf8 = script.put(&[0xff, 0xfe]);
    script.call("path_create_directory", &[STATE, not_utf8, 2], ILSEQ);
    script.call("path_create_directory", &[STATE, 0x7fff_ffff, 2], FAULT);
    script.run(&mut agent);
}

#[test]
fn an_open_directory_is_the_end_of_the_world_of_its_paths() {
    let mut agent = furnished();
    let mut script = Script::default();
    script.path(
        "path_open",
        &[STATE, 0],
        "d",
        &[DIRECTORY, !WRITE, -1, 0, ROOM as i64 + 0x3ff8],
        0,
    );
    script.open(5, "f", 0, READ, 0);
    script.open(5, "../e", 0, READ, PERM);
    script.open(5, "../d/f", 0, READ, PERM);
    script.open(6, "f", 0, READ, NOTDIR);
    // It stays the same directory under another name.
    let (from, to) = (script.put(b"d"), script.put(b"e/moved"));
    script.call("path_rename", &[STATE, from, 1, STATE, to, 7], 0);
    script.open(5, "f", 0, READ, 0);
    script.open(STATE, "e/moved/f", 0, READ, 0);
    script.open(STATE, "d/f", 0, READ, NOENT);
    script.run(&mut agent);
}

#[test]
fn opening_asks_for_what_is_there() {
    let mut agent = furnished();
    let mut script = Script::default();
    for (path, how, rights, expected) in [
        ("d/f", CREATE | EXCLUSIVE, WRITE, EXIST),
        ("d/f", DIRECTORY, READ, NOTDIR),
        ("d", CREATE, READ, ISDIR),
        ("d", 0, WRITE, ISDIR),
        ("d", TRUNCATE, READ, ISDIR),
        ("d", CREATE | DIRECTORY, READ, INVAL),
        ("d", 16, READ, INVAL),
        ("new", 0, READ, NOENT),
        ("no/new", CREATE, READ, NOENT),
        ("d/f/new", CREATE, READ, NOTDIR),
        ("new/", CREATE, READ, ISDIR),
        ("d", DIRECTORY, 0, 0),
        ("d/f", CREATE | TRUNCATE, WRITE, 0),
    ] {
        script.open(STATE, path, how, rights, expected);
    }
    script.open(1, "d/f", 0, READ, NOTDIR);
    script.open(77, "d/f", 0, READ, BADF);
    let stat = script.put(&[0; 64]);
    script.path("path_filestat_get", &[STATE, 0], "d/f", &[stat], 0);
    let room = script.run(&mut agent);
    assert_eq!(room.u64(stat + 32), 0, "it was cut");
}

#[test]
fn what_may_be_done_with_a_descriptor_is_what_was_asked_for() {
    let mut agent = furnished();
    let mut script = Script::default();
    script.open(STATE, "d/f", 0, READ, 0);
    script.open(STATE, "d/f", 0, WRITE, 0);
    script.write(5, "x", BADF);
    script.call("fd_filestat_set_size", &[5, 0], BADF);
    script.call("fd_allocate", &[5, 0, 10], BADF);
    script.read(6, 1, BADF);
    script.call("fd_filestat_set_size", &[6, 0], NOTCAPABLE);
    script.call("fd_sync", &[5], NOTCAPABLE);
    script.call("fd_fdstat_set_rights", &[5, READ | WRITE, 0], NOTCAPABLE);
    script.call("fd_fdstat_set_rights", &[5, 0, 0], 0);
    script.read(5, 1, BADF);
    let told = script.put(&[0; 8]);
    script.call("fd_seek", &[5, 0, 0, told], NOTCAPABLE);
    // A directory that hands down less.
    script.path(
        "path_open",
        &[STATE, 0],
        "d",
        &[DIRECTORY, !WRITE, READ, 0, ROOM as i64 + 0x3ff8],
        0,
    );
    script.path("path_open", &[7, 0], "f", &[0, READ, 0, 0, ROOM as i64 + 0x3ff8], 0);
    script.path("path_open", &[7, 0], "f", &[0, WRITE, 0, 0, ROOM as i64 + 0x3ff8], NOTCAPABLE);
    script.run(&mut agent);
}

#[test]
fn streams_and_directories_are_no_files() {
    let mut agent = furnished();
    let mut script = Script::default();
    let told = script.put(&[0; 8]);
    script.call("fd_seek", &[1, 0, 0, told], SPIPE);
    script.call("fd_tell", &[0, told], SPIPE);
    script.call("fd_seek", &[STATE, 0, 0, told], BADF);
    script.read(STATE, 1, ISDIR);
    script.write(STATE, "x", ISDIR);
    script.read(1, 1, BADF);
    script.write(0, "x", BADF);
    script.call("fd_advise", &[1, 0, 0, 0], SPIPE);
    script.call("sock_shutdown", &[1, 0], NOTSOCK);
    script.call("sock_shutdown", &[99, 0], BADF);
    let none = script.read(0, 10, 0);
    script.call("fd_prestat_get", &[5, told], BADF);
    script.call("fd_prestat_get", &[3, told], 0);
    let name = script.put(&[0; 8]);
    script.call("fd_prestat_dir_name", &[3, name, 5], NAMETOOLONG);
    script.call("fd_prestat_dir_name", &[3, name, 6], 0);
    let room = script.run(&mut agent);
    assert_eq!(room.read(none), b"");
    assert_eq!(
        (room.bytes(told, 8), room.bytes(name, 6)),
        (&[0, 0, 0, 0, 6, 0, 0, 0][..], &b"/state"[..])
    );
}

#[test]
fn descriptors_are_the_lowest_that_are_free_and_not_without_end() {
    let mut agent = furnished();
    let mut script = Script::default();
    let (a, b) = (script.open(STATE, "d/f", 0, READ, 0), script.open(STATE, "d/f", 0, READ, 0));
    script.call("fd_close", &[5], 0);
    script.call("fd_close", &[5], BADF);
    let c = script.open(STATE, "d/f", 0, READ, 0);
    script.call("fd_renumber", &[5, 6], 0);
    script.read(5, 1, BADF);
    script.call("fd_renumber", &[5, 6], BADF);
    script.call("fd_renumber", &[6, 99], BADF);
    script.call("fd_close", &[3], 0);
    script.open(STATE, "d/f", 0, READ, BADF);
    let room = script.run(&mut agent);
    assert_eq!((room.u32(a), room.u32(b), room.u32(c)), (5, 6, 5));

    let mut script = Script::default();
    let path = script.put(b"d/f");
    let out = script.put(&[0; 8]);
    for n in 0..1024 {
        let expected = if n < 1024 - 5 { 0 } else { MFILE };
        script.call("path_open", &[STATE, 0, path, 3, 0, READ, 0, 0, out], expected);
    }
    script.run(&mut agent);
}

#[test]
fn names_are_removed_and_moved_as_posix_has_it() {
    let mut agent = furnished();
    let mut script = Script::default();
    script.path("path_unlink_file", &[STATE], "d", &[], ISDIR);
    script.path("path_unlink_file", &[STATE], "d/f/", &[], NOTDIR);
    script.path("path_unlink_file", &[STATE], "x", &[], NOENT);
    script.path("path_remove_directory", &[STATE], "d/f", &[], NOTDIR);
    script.path("path_remove_directory", &[STATE], "d", &[], NOTEMPTY);
    script.path("path_remove_directory", &[STATE], ".", &[], NOTEMPTY);
    script.path("path_create_directory", &[STATE], "d", &[], EXIST);
    script.path("path_create_directory", &[STATE], "d/f/x", &[], NOTDIR);
    let mut rename = |from: (i64, &str), to: (i64, &str), expected| {
        let (old, new) = (script.put(from.1.as_bytes()), script.put(to.1.as_bytes()));
        let (old_len, new_len) = (from.1.len() as i64, to.1.len() as i64);
        script.call("path_rename", &[from.0, old, old_len, to.0, new, new_len], expected);
    };
    rename((STATE, "d"), (STATE, "d/in"), INVAL);
    rename((STATE, "d/f"), (STATE, "e"), ISDIR);
    rename((STATE, "e"), (STATE, "d/f"), NOTDIR);
    rename((STATE, "e"), (STATE, "d"), NOTEMPTY);
    rename((STATE, "d/f"), (APP, "f"), XDEV);
    rename((APP, "main.py"), (APP, "f"), ROFS);
    rename((STATE, "d"), (STATE, "e"), 0);
    rename((STATE, "e/f"), (STATE, "g"), 0);
    let (old, new) = (script.put(b"g"), script.put(b"h"));
    script.call("path_link", &[STATE, 0, old, 1, STATE, new, 1], PERM);
    script.call("path_symlink", &[old, 1, STATE, new, 1], PERM);
    script.call("path_readlink", &[STATE, old, 1, new, 1, new], INVAL);
    script.call("path_readlink", &[STATE, new, 1, new, 1, new], NOENT);
    script.path("path_unlink_file", &[STATE], "g", &[], 0);
    script.path("path_remove_directory", &[STATE], "e/", &[], 0);
    script.run(&mut agent);
    assert_eq!(agent.state().used().0, 0, "nothing is left");
}

#[test]
fn a_file_outlives_its_name_while_it_is_open() {
    let mut agent = furnished();
    let mut script = Script::default();
    script.open(STATE, "d/f", 0, READ | WRITE, 0);
    script.path("path_unlink_file", &[STATE], "d/f", &[], 0);
    script.open(STATE, "d/f", CREATE | EXCLUSIVE, WRITE, 0);
    script.write(6, "other", 0);
    let told = script.put(&[0; 8]);
    script.call("fd_seek", &[5, 0, 2, told], 0);
    script.write(5, "!", 0);
    script.call("fd_seek", &[5, 0, 0, told], 0);
    let old = script.read(5, 20, 0);
    let room = script.run(&mut agent);
    assert_eq!(room.read(old), b"hello!");
    assert_eq!(
        agent.state().used().0,
        8,
        "two names, a file's and its directory's, and `other`; and `e`"
    );
}

#[test]
fn times_and_sizes_are_set() {
    let mut agent = furnished();
    let mut script = Script::default();
    let stat = script.put(&[0; 64]);
    let later = script.put(&[0; 64]);
    script.path("path_filestat_set_times", &[STATE, 0], "d/f", &[5, 7, 4], 0);
    script.path("path_filestat_get", &[STATE, 0], "d/f", &[stat], 0);
    script.path("path_filestat_set_times", &[STATE, 0], "d/f", &[5, 7, 12], INVAL);
    script.path("path_filestat_set_times", &[STATE, 0], "d/f", &[5, 7, 16], INVAL);
    script.path("path_filestat_set_times", &[STATE, 0], "x", &[5, 7, 1], NOENT);
    script.path("path_open", &[STATE, 0], "d/f", &[0, -1, 0, 0, ROOM as i64 + 0x3ff8], 0);
    script.call("fd_filestat_set_size", &[5, 3], 0);
    script.call("fd_allocate", &[5, 0, 9], 0);
    script.call("fd_allocate", &[5, 0, 0], INVAL);
    script.call("fd_allocate", &[5, 0, 1 << 40], NOSPC);
    script.call("fd_filestat_set_times", &[5, 0, 8, 8], 0);
    script.call("fd_filestat_get", &[5, later], 0);
    let bytes = script.read(5, 20, 0);
    let room = script.run(&mut agent);
    assert_eq!((room.u64(stat + 48), room.u64(stat + 40)), (7, 0));
    assert_eq!((room.u64(later + 32), room.u64(later + 48)), (9, NOW.0 * 1_000_000));
    assert_eq!(room.read(bytes), b"hel\0\0\0\0\0\0");
}

#[test]
fn appending_goes_to_the_end_whoever_wrote_there() {
    let mut agent = furnished();
    let mut script = Script::default();
    script.open(STATE, "d/f", 0, READ | WRITE, 0);
    let out = script.put(&[0; 4]);
    script.path("path_open", &[STATE, 0], "d/f", &[0, WRITE, 0, 1, out], 0);
    script.write(6, "+", 0);
    script.write(5, "HELLO??", 0);
    script.write(6, "!", 0);
    let told = script.put(&[0; 8]);
    script.call("fd_seek", &[5, 0, 0, told], 0);
    let all = script.read(5, 20, 0);
    let room = script.run(&mut agent);
    assert_eq!(room.read(all), b"HELLO??!");
}

#[test]
fn a_directory_is_listed_from_any_place() {
    let mut agent = furnished();
    let mut script = Script::default();
    let (all, used) = (script.put(&[0; 200]), script.put(&[0; 4]));
    script.call("fd_readdir", &[STATE, all, 200, 0, used], 0);
    let (rest, rest_used) = (script.put(&[0; 200]), script.put(&[0; 4]));
    script.call("fd_readdir", &[STATE, rest, 200, 3, rest_used], 0);
    let (cut, cut_used) = (script.put(&[0; 40]), script.put(&[0; 4]));
    script.call("fd_readdir", &[STATE, cut, 30, 2, cut_used], 0);
    script.call("fd_readdir", &[STATE, cut, 40, -1, used + 4], 0);
    script.call("fd_readdir", &[1, cut, 40, 0, used], NOTDIR);
    let (app, app_used) = (script.put(&[0; 200]), script.put(&[0; 4]));
    script.call("fd_readdir", &[APP, app, 200, 0, app_used], 0);
    let room = script.run(&mut agent);
    let names = |at, used| {
        let mut rest = room.bytes(at, room.u32(used) as usize);
        let mut found = Vec::new();
        while rest.len() >= 24 {
            let len = u32::from_le_bytes(rest[16..20].try_into().unwrap()) as usize;
            let Some(name) = rest.get(24..24 + len) else { break };
            found.push(format!("{} {}", String::from_utf8_lossy(name), rest[20]));
            rest = &rest[24 + len..];
        }
        found
    };
    assert_eq!(names(all, used), [". 3", ".. 3", "d 3", "e 3"]);
    assert_eq!(names(rest, rest_used), ["e 3"]);
    assert_eq!((names(cut, cut_used), room.u32(cut_used)), (vec!["d 3".to_owned()], 30));
    assert_eq!(names(app, app_used), [". 3", ".. 3", "lib 3", "main.py 4"]);
}

#[test]
fn what_a_module_brings_can_be_read_and_not_changed() {
    let mut agent = agent();
    let mut script = Script::default();
    script.open(APP, "main.py", 0, READ, 0);
    let text = script.read(5, 50, 0);
    let end = script.read(5, 50, 0);
    let stat = script.put(&[0; 64]);
    script.call("fd_filestat_get", &[5, stat], 0);
    script.write(5, "x", BADF);
    script.call("fd_filestat_set_size", &[5, 0], ROFS);
    script.open(APP, "lib/b/../a.py", 0, READ, 0);
    script.open(APP, "lib", DIRECTORY, 0, 0);
    script.open(APP, "main.py", 0, WRITE, ROFS);
    script.open(APP, "main.py", TRUNCATE, READ, ROFS);
    script.open(APP, "main.py", CREATE | EXCLUSIVE, READ, EXIST);
    script.open(APP, "new.py", CREATE, READ, ROFS);
    script.open(APP, "new.py", 0, READ, NOENT);
    script.open(APP, "lib", 0, WRITE, ISDIR);
    script.path("path_create_directory", &[APP], "new", &[], ROFS);
    script.path("path_create_directory", &[APP], "lib", &[], EXIST);
    script.path("path_unlink_file", &[APP], "main.py", &[], ROFS);
    script.path("path_remove_directory", &[APP], "lib", &[], ROFS);
    script.path("path_unlink_file", &[APP], "x", &[], NOENT);
    script.path("path_filestat_set_times", &[APP, 0], "main.py", &[0, 0, 4], ROFS);
    let turned = script.turn(&mut agent);
    assert_eq!(turned.outcome, Outcome::Done);
    let entries = common::entries(&turned.commit.transcript);
    assert!(!format!("{entries:?}").contains("file."), "{entries:?}");
    let room = script.run(&mut agent);
    assert_eq!((room.read(text), room.read(end)), (&b"print(1)"[..], &b""[..]));
    assert_eq!(room.u64(stat + 32), 8);
}

#[test]
fn addresses_outside_of_the_memory_are_faults() {
    let mut agent = furnished();
    let mut script = Script::default();
    let far = 0xffff_fff0_u32.into();
    script.open(STATE, "d/f", 0, READ | WRITE, 0);
    let out = script.put(&[0; 4]);
    let vectors = script.vectors(&[(far, 4)]);
    let huge = script.vectors(&[(ROOM as i64, 0xffff_ffff)]);
    script.call("fd_read", &[5, far, 1, out], FAULT);
    script.call("fd_read", &[5, vectors, 1, out], FAULT);
    script.call("fd_read", &[5, huge, 1, out], FAULT);
    script.call("fd_write", &[5, vectors, 1, out], FAULT);
    script.call("fd_write", &[1, far, 1, out], FAULT);
    script.call("fd_write", &[5, vectors, 0, far], FAULT);
    script.call("fd_filestat_get", &[5, far], FAULT);
    script.call("fd_fdstat_get", &[5, far], FAULT);
    script.call("fd_readdir", &[STATE, far, 100, 0, out], FAULT);
    script.call("fd_readdir", &[STATE, ROOM as i64, 0x7fff_ffff, 0, out], FAULT);
    script.call("path_open", &[STATE, 0, far, 4, 0, 0, 0, 0, out], FAULT);
    script.run(&mut agent);
}

#[test]
fn small_reads_are_few_operations_and_never_stale() {
    let mut agent = furnished();
    let mut script = Script::default();
    script.open(STATE, "d/big", CREATE, READ | WRITE, 0);
    script.call("fd_filestat_set_size", &[5, 10_000], NOTCAPABLE);
    script.path("path_open", &[STATE, 0], "d/big", &[0, -1, 0, 0, ROOM as i64 + 0x3ff8], 0);
    script.call("fd_filestat_set_size", &[6, 10_000], 0);
    let at = script.put(&[0; 8]);
    let vectors = script.vectors(&[(at, 4)]);
    let out = script.put(&[0; 4]);
    for _ in 0..500 {
        script.call("fd_read", &[5, vectors, 1, out], 0);
    }
    let turned = script.turn(&mut agent);
    assert_eq!(turned.outcome, Outcome::Done);
    let entries = format!("{:?}", common::entries(&turned.commit.transcript));
    assert_eq!(entries.matches("file.read").count(), 2, "{entries}");

    // What is written meanwhile is seen.
    let mut script = Script::default();
    script.open(STATE, "d/big", 0, READ | WRITE, 0);
    script.open(STATE, "d/big", 0, READ | WRITE, 0);
    let at = [script.read(5, 4, 0), script.read(5, 4, 0)];
    let text = script.put(b"news");
    let vectors = script.vectors(&[(text, 4)]);
    let out = script.put(&[0; 4]);
    script.call("fd_pwrite", &[6, vectors, 1, 8, out], 0);
    let news = script.read(5, 4, 0);
    let room = script.run(&mut agent);
    assert_eq!((room.read(at[1]), room.read(news)), (&[0; 4][..], &b"news"[..]));
}

#[test]
fn a_reactors_descriptors_end_with_its_turn() {
    let mut agent = agent_with(None, &[]);
    for _ in 0..2 {
        let mut script = Script::default();
        let fd = script.open(STATE, "f", CREATE, WRITE, 0);
        script.write(5, "x", 0);
        let room = script.run(&mut agent);
        assert_eq!(room.u32(fd), 5);
    }
}

#[test]
fn files_of_a_turn_that_is_not_kept_are_as_they_were() {
    let bench = Bench::new(Isolation::InProcess);
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (data (i32.const 0) "d")
        (func (export "_start") (call $exit (i32.add (call $mkdir (i32.const 3) (i32.const 0) (i32.const 1)) (i32.const 1)))))"#;
    let mut agent = bench.start_with(wat, Some(RunStyle::PerEvent), Limits::default());
    let root = agent.marks().state_root;
    for _ in 0..2 {
        let turned = agent.turn(Event::Start, NOW);
        assert_eq!(turned.outcome, Outcome::RolledBack { code: 1 }, "it could be made each time");
    }
    assert_eq!(agent.marks().state_root, root);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever a program asks, it is answered: the turn ends as the program has it, and nothing breaks.
    #[test]
    fn whatever_is_asked_is_answered(
        calls in proptest::collection::vec(
            (0..FUNCTIONS.len(), proptest::collection::vec(argument(), 9)),
            1..60,
        ),
        room in proptest::collection::vec(any::<u8>(), 256),
    ) {
        let mut script = Script::default();
        script.put(b"d/f\0../..//e");
        script.put(&room);
        for (function, args) in calls {
            let (name, params) = &FUNCTIONS[function];
            script.call(name, &args[..params.len()], 0);
        }
        let turned = script.turn(&mut furnished());
        prop_assert_eq!(turned.outcome, Outcome::Done);
        // A call may have written over what the guest answers by.
        let returned = turned.answer.map_or(vec![0; 0x4000], |answer| answer.body);
        let returned = returned[0x4000..].as_chunks::<4>().0;
        prop_assert!(returned.iter().all(|code| (0..=76).contains(&i32::from_le_bytes(*code))));
    }
}

/// Descriptors, places, lengths, flags and what is none of them.
fn argument() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0i64..9,
        3 => Just(ROOM as i64),
        1 => Just(ROOM as i64 + 2),
        1 => Just(ROOM as i64 + 16),
        1 => Just(-1i64),
        1 => Just(1i64 << 40),
        1 => any::<u32>().prop_map(i64::from),
        1 => any::<i64>(),
    ]
}
