//! The evil cell: native code where a guest would be, as if the engine had been broken. It tries one way out and
//! says whether it found it. None may be found, nor with any one wall left out, but for those that stand alone.
//!
//! Unsafe because every way out is a system call.
#![allow(unsafe_code)]

use std::ffi::CStr;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::mem::zeroed;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::ptr::{null, null_mut};

use daee_types::wire::{Reader, Writer};

use crate::jail::{
    self, ALL, EMPTY_ROOT, LANDLOCK, NAMESPACES, NO_CAPABILITIES, NO_NEW_CODE, SECCOMP,
};
use crate::spawn::{self, Role, Start};
use crate::{Isolation, Runtime, RuntimeConfig};

/// Runs before `main` of the test program, which belongs to the test harness.
#[used]
#[unsafe(link_section = ".init_array")]
static ENTER: extern "C" fn() = enter;

extern "C" fn enter() {
    crate::child_main();
}

/// A way out. The last field names walls without which it is not tried: one that alone is in the way, and namespaces
/// where success outside of them would change this machine.
type Way = (&'static str, fn(&World) -> bool, u32);

const WAYS: &[Way] = &[
    ("read a file of the host", |_| opens(c"/etc/passwd", libc::O_RDONLY), 0),
    ("read a file beside the program", |_| opens(c"/proc/self/exe", libc::O_RDONLY), 0),
    ("write code through /proc/self/mem", |_| opens(c"/proc/self/mem", libc::O_RDWR), 0),
    ("list a directory", |_| lists(c"/"), 0),
    ("list the directory above", |_| lists(c"../../../.."), 0),
    ("make a file", |_| opens(c"/tmp", libc::O_TMPFILE | libc::O_WRONLY), 0),
    ("open a device", |_| opens(c"/dev/kmsg", libc::O_RDONLY), 0),
    ("use a descriptor of the supervisor", |_| inherits(), 0),
    ("start a shell", starts_a_shell, 0),
    ("connect over TCP", connects_tcp, 0),
    ("send over UDP", sends_udp, 0),
    ("connect to an abstract socket", connects_unix, 0),
    ("listen to all packets", |_| socket(libc::AF_PACKET, libc::SOCK_RAW), NAMESPACES | SECCOMP),
    ("signal the supervisor", |world| done(unsafe { libc::kill(world.pid, 0) }), 0),
    ("read the supervisor's memory", reads_memory, 0),
    ("trace the supervisor", traces, 0),
    ("take memory that is code and can be written", |_| maps_code(), 0),
    ("make written memory code", |_| gains_code(), 0),
    ("run code from a file in memory", |_| maps_memory_file(), SECCOMP),
    ("change code that runs", |_| changes_code(), 0),
    ("get capabilities back", |_| regains(), 0),
    ("mount a file system", |_| mounts(), NAMESPACES),
    ("move the root", |_| done(unsafe { libc::chroot(c"/proc".as_ptr()) }), NAMESPACES),
    ("become another user", |_| done(unsafe { libc::setresuid(65534, 65534, 65534) }), 0),
    ("take new namespaces", |_| done(unsafe { libc::unshare(libc::CLONE_NEWUSER) }), SECCOMP),
    ("fork", |_| forks(), SECCOMP),
    ("load a program into the kernel", |_| calls(libc::SYS_bpf, [0, 0, 0]), 0),
    ("count what the processor does", |_| counts(), SECCOMP),
    (
        "open a ring of system calls",
        |_| calls(libc::SYS_io_uring_setup, [1, RING.addr(), 0]),
        SECCOMP,
    ),
    ("add a key", |_| adds_key(), SECCOMP),
    ("name the host", |_| done(unsafe { libc::sethostname(c"evil".as_ptr(), 4) }), NAMESPACES),
    ("raise a limit", |_| raises_limit(), 0),
    ("fill the disk through its error stream", |_| fills(), 0),
    ("open more descriptors than it may", |_| opens_many(), 0),
    ("take more memory than it may", |_| takes_memory(), 0),
];

/// What the ways lead to.
struct World {
    pid: i32,
    tcp: u16,
    udp: u16,
    socket: String,
}

/// The evil cell's life.
pub(crate) fn evil(link: OwnedFd, input: OwnedFd) {
    let mut bytes = Vec::new();
    let mut input = File::from(input);
    std::io::Seek::rewind(&mut input).unwrap();
    input.read_to_end(&mut bytes).unwrap();
    let mut from = Reader::new(&bytes);
    let (way, walls) = (from.u32().unwrap() as usize, from.u32().unwrap());
    let world = World {
        pid: from.u32().unwrap().cast_signed(),
        tcp: from.u32().unwrap() as u16,
        udp: from.u32().unwrap() as u16,
        socket: from.text().unwrap().to_owned(),
    };
    let up = jail::enter_cell(walls);
    jail::limit_memory(1 << 20, 1 << 20);
    // A way must never be tried because a wall that was asked for is missing: it could lead out for real.
    if (up | jail::seal_cell(walls)) & walls != walls {
        return;
    }
    let out = (WAYS[way].1)(&world);
    UnixStream::from(link).write_all(&[u8::from(out)]).unwrap();
}

/// Tries every way with these walls; the names of those that lead out.
fn ways_out(walls: u32) -> Vec<&'static str> {
    let config = RuntimeConfig::in_process().isolated(Isolation::Process);
    let report = Runtime::new(config).unwrap().sandbox();
    if report.level < 3 {
        println!("not every wall stands on this kernel, so none is tried: {report:?}");
        return Vec::new();
    }
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_nonblocking(true).unwrap();
    let socket = format!("daee-evil-{}-{walls}", std::process::id());
    let address = SocketAddr::from_abstract_name(&socket).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    let executable = File::open("/proc/self/exe").unwrap();
    let mut out = Vec::new();
    for (number, (name, _, alone)) in WAYS.iter().enumerate() {
        if walls | *alone != walls {
            continue;
        }
        let mut input = spawn::memory_file(c"daee-evil").unwrap();
        let mut told = Writer::new();
        told.u32(number as u32).u32(walls).u32(std::process::id());
        told.u32(tcp.local_addr().unwrap().port().into());
        told.u32(udp.local_addr().unwrap().port().into());
        input.write_all(&told.bytes(socket.as_bytes()).clone().finish()).unwrap();
        let (mut here, there) = UnixStream::pair().unwrap();
        let mut child = spawn::start(Start {
            executable: executable.try_clone().unwrap(),
            role: Role::Evil,
            link: there.into(),
            input: input.into(),
            namespaces: walls & NAMESPACES != 0,
        })
        .unwrap();
        let mut answer = Vec::new();
        here.read_to_end(&mut answer).unwrap();
        let heard = udp.recv(&mut [0; 8]).is_ok();
        let end = child.end();
        if answer.contains(&1) || heard {
            out.push(*name);
        }
        // It was tried and refused, or ended by the kernel for trying.
        let tried = !answer.is_empty() || end.contains("system call") || end.contains("signal");
        assert!(tried, "{name} was not tried: {end}");
    }
    out
}

#[test]
fn no_way_leads_out() {
    assert_eq!(ways_out(ALL), [""; 0]);
}

#[test]
fn no_way_leads_out_with_any_one_wall_left_out() {
    // Without a root of its own a cell sees the host's files, so that the two are one wall here.
    for wall in
        [EMPTY_ROOT, NAMESPACES | EMPTY_ROOT, NO_CAPABILITIES, LANDLOCK, SECCOMP, NO_NEW_CODE]
    {
        assert_eq!(ways_out(ALL & !wall), [""; 0], "without {wall:#x}");
    }
}

#[test]
fn most_ways_lead_out_of_namespaces_alone() {
    // Shows that the ways are ways: what never leads anywhere would prove nothing of the walls.
    let found = ways_out(NAMESPACES);
    if found.is_empty() {
        return; // said above
    }
    for name in [
        "read a file of the host",
        "write code through /proc/self/mem",
        "list a directory",
        "make a file",
        "start a shell",
        "take memory that is code and can be written",
        "make written memory code",
        "change code that runs",
        "mount a file system",
        "move the root",
        "name the host",
    ] {
        assert!(found.contains(&name), "{name} is not among {found:?}");
    }
}

fn done(result: i32) -> bool {
    result == 0
}

fn calls(number: i64, args: [usize; 3]) -> bool {
    unsafe { libc::syscall(number, args[0], args[1], args[2]) >= 0 }
}

fn opens(path: &CStr, flags: i32) -> bool {
    unsafe { libc::open(path.as_ptr(), flags, 0o600) >= 0 }
}

fn lists(path: &CStr) -> bool {
    unsafe {
        let dir = libc::opendir(path.as_ptr());
        if dir.is_null() {
            return false;
        }
        loop {
            let entry = libc::readdir(dir);
            if entry.is_null() {
                return false;
            }
            let name = CStr::from_ptr((*entry).d_name.as_ptr());
            if name != c"." && name != c".." {
                return true;
            }
        }
    }
}

fn inherits() -> bool {
    (3..1024).any(|fd| unsafe { libc::fcntl(fd, libc::F_GETFD) } >= 0)
}

fn starts_a_shell(_: &World) -> bool {
    let script = c"printf '\\001' >&0";
    let argv = [c"sh".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null()];
    unsafe { libc::execv(c"/bin/sh".as_ptr(), argv.as_ptr()) };
    false
}

fn socket(domain: i32, kind: i32) -> bool {
    unsafe { libc::socket(domain, kind, 0) >= 0 }
}

fn loopback(port: u16) -> libc::sockaddr_in {
    let mut address: libc::sockaddr_in = unsafe { zeroed() };
    address.sin_family = libc::AF_INET as u16;
    address.sin_port = port.to_be();
    address.sin_addr.s_addr = u32::from_ne_bytes([127, 0, 0, 1]);
    address
}

fn connects_tcp(world: &World) -> bool {
    let address = loopback(world.tcp);
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        done(libc::connect(fd, (&raw const address).cast(), size_of_val(&address) as u32))
    }
}

fn sends_udp(world: &World) -> bool {
    let address = loopback(world.udp);
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let to = (&raw const address).cast();
        libc::sendto(fd, b"evil".as_ptr().cast(), 4, 0, to, size_of_val(&address) as u32);
    }
    false // the other side says whether it came through
}

fn connects_unix(world: &World) -> bool {
    let mut address: libc::sockaddr_un = unsafe { zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    for (to, from) in address.sun_path[1..].iter_mut().zip(world.socket.bytes()) {
        *to = from.cast_signed();
    }
    let len = size_of::<libc::sa_family_t>() + 1 + world.socket.len();
    unsafe {
        let fd = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
        done(libc::connect(fd, (&raw const address).cast(), len as u32))
    }
}

fn reads_memory(world: &World) -> bool {
    let mut byte = 0u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // The same program: what is at this address here is there too, or the call says that it is not.
    let there = libc::iovec { iov_base: (&raw const ENTER).cast_mut().cast(), iov_len: 1 };
    let read = unsafe { libc::process_vm_readv(world.pid, &here, 1, &there, 1, 0) };
    read == 1 || (read < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT))
}

fn traces(world: &World) -> bool {
    const PTRACE_SEIZE: libc::c_uint = 0x4206;
    unsafe { libc::ptrace(PTRACE_SEIZE, world.pid, 0, 0) >= 0 }
}

fn map(protection: i32, fd: i32) -> *mut libc::c_void {
    let flags = libc::MAP_PRIVATE | if fd < 0 { libc::MAP_ANONYMOUS } else { 0 };
    unsafe { libc::mmap(null_mut(), 4096, protection, flags, fd, 0) }
}

fn maps_code() -> bool {
    map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, -1) != libc::MAP_FAILED
}

fn gains_code() -> bool {
    let at = map(libc::PROT_READ | libc::PROT_WRITE, -1);
    unsafe { done(libc::mprotect(at, 4096, libc::PROT_READ | libc::PROT_EXEC)) }
}

fn maps_memory_file() -> bool {
    let file = spawn::memory_file(c"evil").unwrap();
    (&file).write_all(&[0xcc; 4096]).unwrap();
    map(libc::PROT_READ | libc::PROT_EXEC, file.as_raw_fd()) != libc::MAP_FAILED
}

fn changes_code() -> bool {
    let page = (enter as *const ()).addr() & !4095;
    let page = std::ptr::with_exposed_provenance_mut(page);
    let both = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    unsafe { done(libc::mprotect(page, 4096, both)) }
}

fn regains() -> bool {
    let header = [0x2008_0522_u32, 0];
    let all = [u32::MAX; 6];
    unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), all.as_ptr()) == 0 }
}

fn mounts() -> bool {
    let tmpfs = c"tmpfs".as_ptr();
    unsafe { done(libc::mount(tmpfs, c"/".as_ptr(), tmpfs, 0, null())) }
}

fn forks() -> bool {
    match unsafe { libc::fork() } {
        0 => unsafe { libc::_exit(0) },
        pid => pid > 0,
    }
}

fn counts() -> bool {
    // A software clock of the process itself, the least that there is to count.
    let mut event = [0u8; 128];
    event[..4].copy_from_slice(&1u32.to_le_bytes());
    event[4..8].copy_from_slice(&128u32.to_le_bytes());
    event[40] = 0b110_0000; // neither kernel nor hypervisor
    unsafe { libc::syscall(libc::SYS_perf_event_open, event.as_ptr(), 0, -1, -1, 0) >= 0 }
}

static RING: Ring = Ring([0; 15]);
struct Ring([u64; 15]);
impl Ring {
    fn addr(&self) -> usize {
        Box::leak(Box::new(self.0)).as_mut_ptr().expose_provenance()
    }
}

fn adds_key() -> bool {
    const PROCESS_KEYRING: i32 = -2;
    let (kind, name, value) = (c"user".as_ptr(), c"evil".as_ptr(), c"x".as_ptr());
    unsafe { libc::syscall(libc::SYS_add_key, kind, name, value, 1, PROCESS_KEYRING) >= 0 }
}

fn raises_limit() -> bool {
    let limit = libc::rlimit { rlim_cur: 4096, rlim_max: 4096 };
    unsafe { done(libc::setrlimit(libc::RLIMIT_NOFILE, &limit)) }
}

fn fills() -> bool {
    let piece = [b'x'; 4096];
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let wrote = |_| unsafe { libc::write(2, piece.as_ptr().cast(), piece.len()) }.max(0);
    (0..64).map(wrote).sum::<isize>() > 64 << 10
}

fn opens_many() -> bool {
    (0..64).all(|_| unsafe { libc::dup(0) } >= 0)
}

fn takes_memory() -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let both = libc::PROT_READ | libc::PROT_WRITE;
    unsafe { libc::mmap(null_mut(), 4 << 30, both, flags, -1, 0) != libc::MAP_FAILED }
}
