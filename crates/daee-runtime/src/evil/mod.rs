//! The evil cell: native code where a guest would be, as if the engine had been broken. It tries one way out and
//! says whether it found it. None may be found, nor with any one wall left out, but for those that stand alone.
//!
//! Unsafe because every way out is a system call.
#![allow(unsafe_code)]

mod ways;

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::Duration;

use daee_types::ByteSize;
use daee_types::wire::{Reader, Writer};

use crate::compile::{self, CompileError};
use crate::jail::{
    self, ALL, EMPTY_ROOT, LANDLOCK, LIMITS, NAMESPACES, NO_CAPABILITIES, NO_NEW_CODE, SECCOMP,
};
use crate::protocol::{Link, LinkError};
use crate::runtime::Cells;
use crate::spawn::{self, Child, Role, Start};
use crate::{CompileLimits, Isolation, Runtime, RuntimeConfig};
use ways::{WAYS, Way};

/// Runs before `main` of the test program, which belongs to the test harness.
#[used]
#[unsafe(link_section = ".init_array")]
static ENTER: extern "C" fn() = enter;

extern "C" fn enter() {
    crate::child_main();
}

/// Whose walls are tried.
#[derive(Clone, Copy)]
enum Jail {
    Cell,
    Compiler,
}

/// What the evil cell does.
#[derive(Clone, Copy)]
enum Does {
    /// Tries a way.
    Try,
    /// Stays as a cell does that waits for its turn.
    Wait,
    /// Says half of a message's length and no more.
    Half,
    /// Says more than it may, for as long as somebody listens.
    Endless,
    /// Says what no cell says.
    Noise,
}

/// What the ways lead to, as the evil cell knows it.
struct World {
    supervisor: i32,
    sibling: i32,
    tcp: u16,
    udp: u16,
    /// The name of an abstract socket.
    socket: Vec<u8>,
    /// The path of a socket.
    path: CString,
    folder: CString,
    file: CString,
    /// A path where nothing is.
    beside: CString,
    host: String,
}

/// The evil cell's life.
pub(crate) fn evil(link: OwnedFd, input: OwnedFd) {
    let mut bytes = Vec::new();
    let mut input = File::from(input);
    std::io::Seek::rewind(&mut input).unwrap();
    input.read_to_end(&mut bytes).unwrap();
    // Descriptor 1 stays open: it is what the cell was given to work on.
    std::mem::forget(input);
    let mut from = Reader::new(&bytes);
    let mut number = || from.u32().unwrap();
    let (does, way, jail, walls) = (number(), number(), number(), number());
    let (supervisor, sibling) = (number().cast_signed(), number().cast_signed());
    let (tcp, udp) = (number() as u16, number() as u16);
    let mut text = || from.text().unwrap().to_owned();
    let socket = text().into_bytes();
    let mut path = || CString::new(text()).unwrap();
    let (path, folder, file, beside) = (path(), path(), path(), path());
    let host = text();
    let world = World { supervisor, sibling, tcp, udp, socket, path, folder, file, beside, host };
    let up = match jail {
        0 => jail::enter_cell(walls),
        _ => jail::enter_compiler(walls),
    };
    if walls & LIMITS != 0 {
        jail::limit_memory(1 << 20, 1 << 20);
    }
    let sealed = if jail == 0 { jail::seal_cell(walls) } else { up };
    let expected = if jail == 0 { walls } else { walls & !NO_NEW_CODE };
    // A way must never be tried because a wall that was asked for is missing: it could lead out for real.
    if (up | sealed) & expected != expected {
        return;
    }
    let mut link = UnixStream::from(link);
    match does {
        0 => {
            let out = (WAYS[way as usize].tries)(&world);
            let why = std::io::Error::last_os_error().raw_os_error().unwrap_or_default();
            link.write_all(&[u8::from(out), why as u8]).unwrap();
        }
        1 => {}
        2 => link.write_all(&[7, 0]).unwrap(),
        3 => while link.write_all(&[1; 4096]).is_ok() {},
        _ => link.write_all(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]).unwrap(),
    }
    if does != 0 {
        // Until the supervisor has enough of it.
        let _ = link.read(&mut [0]);
    }
}

/// What is there to be reached, and must be as it was.
struct Outside {
    tcp: TcpListener,
    udp: UdpSocket,
    socket: String,
    folder: tempfile::TempDir,
    host: String,
    /// A cell beside the evil one.
    sibling: Option<(UnixStream, Child)>,
    _abstract: UnixListener,
    _path: UnixListener,
}

impl Outside {
    fn new() -> Self {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "as it was").unwrap();
        let socket = format!("daee-evil-{}", folder.path().display());
        let address = SocketAddr::from_abstract_name(&socket).unwrap();
        Self {
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp,
            sibling: None,
            _abstract: UnixListener::bind_addr(&address).unwrap(),
            _path: UnixListener::bind(folder.path().join("socket")).unwrap(),
            socket,
            folder,
            host: fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned(),
        }
    }

    fn start(&self, does: Does, way: usize, jail: Jail, walls: u32) -> (UnixStream, Child) {
        let sibling = self.sibling.as_ref().map_or(0, |(_, sibling)| sibling.pid());
        let mut told = Writer::new();
        told.u32(does as u32).u32(way as u32).u32(jail as u32).u32(walls);
        told.u32(std::process::id()).u32(sibling);
        told.u32(self.tcp.local_addr().unwrap().port().into());
        told.u32(self.udp.local_addr().unwrap().port().into());
        told.bytes(self.socket.as_bytes());
        for name in ["socket", "", "file", "beside"] {
            told.bytes(self.folder.path().join(name).as_os_str().as_encoded_bytes());
        }
        told.bytes(self.host.as_bytes());
        let mut input = spawn::memory_file(c"daee-evil").unwrap();
        input.write_all(&told.finish()).unwrap();
        spawn::seal(&input).unwrap();
        let (here, there) = UnixStream::pair().unwrap();
        let child = spawn::start(Start {
            executable: File::open("/proc/self/exe").unwrap(),
            role: Role::Evil,
            link: there.into(),
            input: Some(input.into()),
            namespaces: walls & NAMESPACES != 0,
        });
        (here, child.unwrap())
    }

    /// Lets one way be tried, and says whether it leads out and what was heard where it does not.
    fn attempt(&mut self, number: usize, jail: Jail, walls: u32) -> Result<(), String> {
        if self.sibling.is_none() {
            self.sibling = Some(self.start(Does::Wait, 0, Jail::Cell, ALL));
        }
        let (mut here, mut child) = self.start(Does::Try, number, jail, walls);
        let mut answer = Vec::new();
        // What is killed with unread words in its socket resets it.
        let _ = here.read_to_end(&mut answer);
        let heard = self.udp.recv(&mut [0; 8]).is_ok();
        let end = child.end();
        let lives = self.sibling.as_mut().is_some_and(|(_, sibling)| sibling.lives());
        assert!(lives, "{} ended a sibling", WAYS[number].name);
        match answer[..] {
            _ if heard => Ok(()),
            [1] | [.., 1, _] => Ok(()),
            [0, why] => Err(name(why.into()).to_owned()),
            _ if end.contains("system call") => Err("killed".to_owned()),
            _ if end.contains("signal") => Err(end),
            _ => panic!("{} was not tried: {end}", WAYS[number].name),
        }
    }

    fn is_as_it_was(&self) -> bool {
        let file = fs::read_to_string(self.folder.path().join("file"));
        file.is_ok_and(|text| text == "as it was")
            && self.folder.path().read_dir().unwrap().count() == 2
    }
}

/// Tries all ways that are not left to a missing wall; the names of those that lead out.
fn ways_out(jail: Jail, walls: u32, tried: impl Fn(&Way) -> bool) -> Vec<&'static str> {
    if !every_wall_stands() {
        return Vec::new();
    }
    let mut outside = Outside::new();
    let mut out = Vec::new();
    for (number, way) in WAYS.iter().enumerate().filter(|(_, way)| tried(way)) {
        if outside.attempt(number, jail, walls).is_ok() {
            out.push(way.name);
        }
        if !outside.is_as_it_was() {
            outside = Outside::new();
            if !out.contains(&way.name) {
                out.push(way.name);
            }
        }
    }
    out
}

fn every_wall_stands() -> bool {
    let config = RuntimeConfig::in_process().isolated(Isolation::Process);
    let report = Runtime::new(config).unwrap().sandbox();
    if report.level < 3 {
        println!("not every wall stands on this kernel, so none is tried: {report:?}");
    }
    report.level == 3
}

/// The walls that can be left out. What is not here has no switch: the kernel takes filters and Landlock only from who
/// gave up new privileges. Without namespaces there is no root of its own either.
const LEFT_OUT: [(&str, u32); 7] = [
    ("namespaces", NAMESPACES | EMPTY_ROOT),
    ("empty root", EMPTY_ROOT),
    ("no capabilities", NO_CAPABILITIES),
    ("landlock", LANDLOCK),
    ("seccomp", SECCOMP),
    ("no new code", NO_NEW_CODE),
    ("limits", LIMITS),
];

#[test]
fn no_way_leads_out() {
    let page = include_str!("../../../../docs/security.md");
    assert!(page.contains(&format!("try {} ways out", WAYS.len())), "{}", WAYS.len());
    let alone = WAYS.iter().filter(|way| way.alone & SECCOMP != 0).count();
    assert!(page.contains(&format!("With seccomp left out, {alone} more ways")), "{alone}");
    assert_eq!(ways_out(Jail::Cell, ALL, |_| true), [""; 0]);
}

#[test]
fn no_way_leads_out_with_any_one_wall_left_out() {
    for (name, wall) in LEFT_OUT {
        let tried = |way: &Way| way.alone & wall == 0;
        assert_eq!(ways_out(Jail::Cell, ALL & !wall, tried), [""; 0], "without {name}");
    }
}

#[test]
fn the_ten_worst_stay_shut_with_any_one_wall_left_out_and_nearly_with_two() {
    let worst = || WAYS.iter().enumerate().filter(|(_, way)| way.worst);
    assert_eq!(worst().count(), 10);
    assert!(worst().all(|(_, way)| way.alone == 0));
    if !every_wall_stands() {
        return;
    }
    let mut outside = Outside::new();
    for with in [0, SECCOMP] {
        print!(
            "{:<44}{:<14}",
            if with == 0 { "without" } else { "without seccomp and" },
            "nothing"
        );
        LEFT_OUT.iter().for_each(|(name, _)| print!("{name:<16}"));
        println!();
        for (number, way) in worst() {
            print!("{:<44}", way.name);
            for wall in [0].into_iter().chain(LEFT_OUT.map(|(_, wall)| wall)) {
                let heard = outside.attempt(number, Jail::Cell, ALL & !wall & !with);
                let heard = heard.err().unwrap_or_else(|| "OUT".to_owned());
                print!("{heard:<0$}", if wall == 0 { 14 } else { 16 });
                // Without two walls there is only code to be had, which is as jailed as any.
                assert!(heard != "OUT" || with != 0 && way.code, "{}", way.name);
            }
            println!();
        }
    }
    assert!(outside.is_as_it_was());
}

#[test]
fn no_way_leads_out_of_the_compiler() {
    let tried = |way: &Way| !way.code && way.name != "start a thread";
    assert_eq!(ways_out(Jail::Compiler, ALL, tried), [""; 0]);
}

#[test]
fn no_way_leads_out_of_the_compiler_with_any_one_wall_left_out() {
    for (name, wall) in LEFT_OUT {
        let tried = |way: &Way| way.alone & wall == 0 && !way.code && way.name != "start a thread";
        assert_eq!(ways_out(Jail::Compiler, ALL & !wall, tried), [""; 0], "without {name}");
    }
}

#[test]
fn nothing_is_compiled_behind_fewer_walls_than_were_asked_for() {
    let cells = Cells {
        executable: File::open("/proc/self/exe").unwrap(),
        namespaces: false,
        walls: NAMESPACES,
    };
    let compiled = compile::bounded(&cells, b"\0asm\x01\0\0\0", &CompileLimits::default());
    let Err(CompileError::Node(why)) = compiled else { panic!("it was compiled, or judged") };
    assert!(why.contains("fewer walls"), "{why}");
}

#[test]
fn a_compiler_that_gets_no_more_memory_says_so() {
    let cells =
        Cells { executable: File::open("/proc/self/exe").unwrap(), namespaces: true, walls: 0 };
    let limits = CompileLimits { memory_max: ByteSize::mib(16), ..CompileLimits::default() };
    let many = "(func (param i32) (result i32) local.get 0 i32.const 7 i32.mul)".repeat(6_000);
    let module = wat::parse_str(format!("(module {many})")).unwrap();
    let compiled = compile::bounded(&cells, &module, &limits);
    let why = match compiled {
        Err(CompileError::Module(why) | CompileError::Node(why)) => why,
        Ok(_) => panic!("it was compiled"),
    };
    assert!(why.ends_with("it got no more memory"), "{why}");
}

#[test]
fn what_is_sent_along_with_a_message_does_not_reach_the_supervisor() {
    let (mut here, there) = UnixStream::pair().unwrap();
    let (mut held, sent) = UnixStream::pair().unwrap();
    spawn::send_with(&there, &[4, 0, 0, 0], &[sent.as_fd()]).unwrap();
    drop(sent);
    let mut link = Link::new(here.try_clone().unwrap(), ByteSize::kib(1));
    assert!(matches!(link.hear_cell(&mut Duration::from_millis(10)), Err(LinkError::Late)));
    // The supervisor read it, and nobody holds the other end any more.
    here.set_nonblocking(true).unwrap();
    assert!(here.read(&mut [0]).is_err());
    assert_eq!(held.read(&mut [0]).unwrap(), 0);
}

#[test]
fn ways_lead_out_where_only_namespaces_stand() {
    // Shows that the ways are ways: what never leads anywhere would prove nothing of the walls.
    let found = ways_out(Jail::Cell, NAMESPACES, |_| true);
    if found.is_empty() {
        return; // said above
    }
    let open = WAYS.iter().filter(|way| way.open);
    let shut: Vec<_> = open.map(|way| way.name).filter(|name| !found.contains(name)).collect();
    assert_eq!(shut, [""; 0], "{found:?}");
}

#[test]
fn a_flood_at_the_link_ends_the_cell_and_holds_nobody() {
    let outside = Outside::new();
    let check = |does: Does, expected: fn(&LinkError) -> bool| {
        let (here, mut child) = outside.start(does, 0, Jail::Cell, ALL);
        let mut link = Link::new(here, ByteSize::kib(1));
        let heard = link.hear_cell(&mut Duration::from_millis(500));
        let error = heard.expect_err("it said nothing that a cell says");
        assert!(expected(&error), "{error:?}");
        child.end();
        assert!(!child.lives());
    };
    check(Does::Half, |error| matches!(error, LinkError::Late));
    check(Does::Endless, |error| matches!(error, LinkError::Malformed(_)));
    check(Does::Noise, |error| matches!(error, LinkError::Malformed(_)));
}

/// The kernel's last word as it is written elsewhere.
fn name(errno: i32) -> &'static str {
    match errno {
        libc::EPERM => "EPERM",
        libc::ENOENT => "ENOENT",
        libc::ESRCH => "ESRCH",
        libc::EBADF => "EBADF",
        libc::ENOMEM => "ENOMEM",
        libc::EACCES => "EACCES",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENOSYS => "ENOSYS",
        libc::ENETUNREACH => "ENETUNREACH",
        libc::ECONNREFUSED => "ECONNREFUSED",
        _ => "refused",
    }
}
