//! The ways out, by what they lead to. Each says whether it found what it looked for, and leaves the kernel's last
//! word in `errno`.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write as _;
use std::mem::zeroed;
use std::os::fd::AsRawFd as _;
use std::ptr::{null, null_mut};

use super::{ENTER, World, enter};
use crate::jail::{LIMITS, SECCOMP};
use crate::spawn;

/// A way out.
pub(super) struct Way {
    pub(super) name: &'static str,
    pub(super) tries: fn(&World) -> bool,
    /// Walls of which each alone is in the way. Without one of them it leads out, if only to more of the kernel.
    pub(super) alone: u32,
    /// It is among the ten that the table shows.
    pub(super) worst: bool,
    /// It leads to code that nobody checked, which a compiler makes anyway.
    pub(super) code: bool,
    /// Where only namespaces stand it leads out, on any kernel.
    pub(super) open: bool,
}

const fn way(name: &'static str, tries: fn(&World) -> bool) -> Way {
    Way { name, tries, alone: 0, worst: false, code: false, open: false }
}

impl Way {
    const fn alone(self, alone: u32) -> Self {
        Self { alone, ..self }
    }
    const fn worst(self) -> Self {
        Self { worst: true, ..self }
    }
    const fn code(self) -> Self {
        Self { code: true, ..self }
    }
    const fn open(self) -> Self {
        Self { open: true, ..self }
    }
}

pub(super) const WAYS: &[Way] = &[
    // Files.
    way("read a file of the host", |_| opens(c"/etc/passwd", libc::O_RDONLY)).worst().open(),
    way("change a file of the host", |world| opens(&world.file, libc::O_WRONLY)).worst().open(),
    way("open a file by openat2", |_| opens_with_how(c"/etc/passwd")).open(),
    way("make a file by creat", |world| {
        given(unsafe { libc::creat(world.beside.as_ptr(), 0o600) })
    })
    .open(),
    way("make a file without a name", |_| opens(c"/tmp", libc::O_TMPFILE | libc::O_WRONLY)).open(),
    way("hold a path of the host", |_| opens(c"/etc", libc::O_PATH)).open(),
    way("name a file by its handle", |_| names_a_handle()).open(),
    way("see whether a file exists", |_| done(unsafe { libc::access(c"/etc/passwd".as_ptr(), 0) }))
        .open(),
    way("read where a link leads", |_| reads_a_link(c"/proc/self/exe")).open(),
    way("list a directory", |_| lists(c"/")).open(),
    way("list the directory above", |_| lists(c"../../../..")).open(),
    way("change into a directory", |_| done(unsafe { libc::chdir(c"/etc".as_ptr()) })).open(),
    way("change the mode of a file", |world| {
        done(unsafe { libc::chmod(world.file.as_ptr(), 0o777) })
    })
    .open(),
    way("remove a file", |world| done(unsafe { libc::unlink(world.file.as_ptr()) })),
    way("rename a file", |world| {
        done(unsafe { libc::rename(world.file.as_ptr(), world.beside.as_ptr()) })
    }),
    way("link a file", |world| {
        done(unsafe { libc::link(world.file.as_ptr(), world.beside.as_ptr()) })
    }),
    way("make a directory", |world| done(unsafe { libc::mkdir(world.beside.as_ptr(), 0o700) })),
    way("cut a file", |world| done(unsafe { libc::truncate(world.file.as_ptr(), 1) })),
    way("watch a directory", |_| watches()).open(),
    way("read the program it is made from", |_| opens(c"/proc/self/exe", libc::O_RDONLY)).open(),
    way("read its own map of memory", |_| opens(c"/proc/self/maps", libc::O_RDONLY)).open(),
    way("write code through /proc/self/mem", |_| opens(c"/proc/self/mem", libc::O_RDWR)).open(),
    way("see other processes", |world| sees(world.supervisor)).open(),
    way("open a device", |_| opens(c"/dev/zero", libc::O_RDWR)).open(),
    way("make a device", |_| makes_a_device()),
    way("read what the kernel shows", |_| opens(c"/sys/kernel", libc::O_RDONLY)).open(),
    way("make a file in memory", |_| spawn::memory_file(c"evil").is_ok()).alone(SECCOMP).open(),
    // Descriptors.
    way("use a descriptor of the supervisor", |_| inherits()),
    way("send a descriptor over the link", |_| sends_a_descriptor()).alone(SECCOMP).open(),
    way("take the supervisor's process from the link", |_| takes_the_peer()),
    way("let the link signal the supervisor", |world| {
        given(unsafe { libc::fcntl(0, libc::F_SETOWN, world.supervisor) })
    }),
    way("change what was given to work on", |_| changes_the_input()),
    way("open more descriptors than it may", |_| opens_many()),
    way("fill the disk through its error stream", |_| fills()).alone(LIMITS),
    // The network and its neighbours.
    way("connect over TCP", connects_tcp).worst(),
    way("connect over TCP and IPv6", connects_tcp6),
    way("send over UDP", sends_udp),
    way("listen on a port", |_| listens()).open(),
    way("connect to an abstract socket", |world| connects_unix(&world.socket, true)).worst(),
    way("connect to a socket of the host", |world| connects_unix(world.path.to_bytes(), false))
        .open(),
    way("make a pair of sockets", |_| pairs()).alone(SECCOMP).open(),
    way("speak to the kernel's network", |_| socket(libc::AF_NETLINK, libc::SOCK_RAW))
        .alone(SECCOMP)
        .open(),
    way("listen to all packets", |_| socket(libc::AF_PACKET, libc::SOCK_RAW)).open(),
    way("send packets of its own making", |_| raw(libc::IPPROTO_ICMP)).open(),
    way("speak to the hypervisor", |_| socket(libc::AF_VSOCK, libc::SOCK_STREAM)).alone(SECCOMP),
    way("let the kernel encrypt", |_| socket(libc::AF_ALG, libc::SOCK_SEQPACKET)).alone(SECCOMP),
    way("speak Bluetooth", |_| socket(libc::AF_BLUETOOTH, libc::SOCK_RAW)).alone(SECCOMP),
    // Other processes.
    way("signal the supervisor", |world| done(unsafe { libc::kill(world.supervisor, 0) })).worst(),
    way("signal a sibling", |world| done(unsafe { libc::kill(world.sibling, 0) })),
    way("signal everybody", |_| done(unsafe { libc::kill(-1, 0) })),
    way("signal a thread of the supervisor", |world| {
        calls(libc::SYS_tgkill, [world.supervisor as usize, world.supervisor as usize, 0])
    }),
    way("queue a signal to the supervisor", |world| queues_a_signal(world.supervisor)),
    way("signal the supervisor by a descriptor", |world| signals_by_descriptor(world.supervisor)),
    way("signal a sibling by a descriptor", |world| signals_by_descriptor(world.sibling)),
    way("take a descriptor out of the supervisor", |world| takes_a_descriptor(world.supervisor)),
    way("read the supervisor's memory", |world| reads_memory(world.supervisor)).worst(),
    way("write the supervisor's memory", |world| writes_memory(world.supervisor)),
    way("read a sibling's memory", |world| reads_memory(world.sibling)),
    way("trace the supervisor", |world| traces(world.supervisor)).worst(),
    way("trace a sibling", |world| traces(world.sibling)),
    way("compare itself with the supervisor", |world| compares(world.supervisor)),
    way("read the supervisor's limits", |world| reads_limits(world.supervisor)),
    way("slow the supervisor down", |world| {
        done(unsafe { libc::setpriority(libc::PRIO_PROCESS, world.supervisor as u32, 0) })
    }),
    way("put the supervisor on one core", |world| pins(world.supervisor)),
    // Processes of its own.
    way("start a shell", starts_a_shell).worst().open(),
    way("start a file in memory", starts_a_file_in_memory).alone(SECCOMP).open(),
    way("fork", |_| forks(|| unsafe { libc::fork() })).alone(SECCOMP).open(),
    way("fork without end", |_| forks_without_end()).alone(SECCOMP).open(),
    way("fork by clone3", |_| forks(clone3)).alone(SECCOMP).open(),
    way("start a thread", |_| starts_a_thread()).alone(SECCOMP).open(),
    // Code.
    way("take memory that is code and can be written", |_| {
        map(libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, -1) != libc::MAP_FAILED
    })
    .worst()
    .code()
    .open(),
    way("make written memory code", |_| gains_code()).code().open(),
    way("make written memory code with a key", |_| gains_code_with_a_key()).code().open(),
    way("make code that runs writable", |_| changes_code()).code().open(),
    way("take shared memory as code", |_| attaches_code()).code().open(),
    way("take all memory as code", |_| reads_imply_code()).code().open(),
    way("run code from a file in memory", |_| maps_memory_file()).alone(SECCOMP).code().open(),
    way("map code twice, once to write", |_| maps_twice()).alone(SECCOMP).code().open(),
    way("take the refusal of new code back", |_| done(unsafe { libc::prctl(65, 0, 0, 0, 0) }))
        .code()
        .open(),
    // Rights.
    way("get capabilities back", |_| regains()),
    way("mount a file system", mounts).worst().open(),
    way("mount by the new calls", |_| mounts_anew()).open(),
    way("copy the tree of mounts", |_| {
        calls(libc::SYS_open_tree, [-100_isize as usize, address(c"/"), 0x8001])
    })
    .open(),
    way("move the root", |_| done(unsafe { libc::chroot(c"/proc".as_ptr()) })).open(),
    way("become another user", |_| done(unsafe { libc::setresuid(65534, 65534, 65534) })),
    way("become another group", |_| done(unsafe { libc::setresgid(65534, 65534, 65534) })),
    way("take new namespaces", |_| done(unsafe { libc::unshare(libc::CLONE_NEWUSER) }))
        .alone(SECCOMP)
        .open(),
    way("take a new network", |_| done(unsafe { libc::unshare(libc::CLONE_NEWNET) })).open(),
    way("enter the supervisor's namespaces", |world| enters_namespaces(world.supervisor)),
    way("name the host", names_the_host).open(),
    way("set the clock", |_| sets_the_clock()),
    way("raise a limit", |_| raises_a_limit()),
    way("run before all others", |_| runs_first()),
    way("make itself nicer to be run", |_| done(unsafe { libc::setpriority(0, 0, -20) })),
    // The kernel.
    way("load a program into the kernel", |_| loads_a_program()),
    way("load a module into the kernel", |_| {
        permitted(unsafe { libc::syscall(libc::SYS_init_module, null::<u8>(), 0, c"".as_ptr()) })
    }),
    way("load another kernel", |_| {
        permitted(unsafe { libc::syscall(libc::SYS_kexec_load, 0, 0, null::<u8>(), !0) })
    }),
    way("stop the machine", |_| permitted(unsafe { libc::syscall(libc::SYS_reboot, 1, 2, 3, 0) })),
    way("swap to a file", |_| {
        permitted(unsafe { libc::syscall(libc::SYS_swapon, null::<u8>(), 0) })
    }),
    way("read the kernel's log", |_| reads_the_log()),
    way("account for processes", |_| permitted(unsafe { libc::syscall(libc::SYS_acct, 1) })),
    way("count what the processor does", |_| counts()).alone(SECCOMP),
    way("open a ring of system calls", |_| calls(libc::SYS_io_uring_setup, [1, place(), 0]))
        .alone(SECCOMP),
    way("handle page faults", |_| calls(libc::SYS_userfaultfd, [1, 0, 0])).alone(SECCOMP),
    way("add a key", |_| adds_a_key()).alone(SECCOMP).open(),
    way("search the supervisor's keys", |_| calls(libc::SYS_keyctl, [0, -3_isize as usize, 0]))
        .alone(SECCOMP)
        .open(),
    way("take a queue of messages", |_| given(unsafe { libc::msgget(libc::IPC_PRIVATE, 0o600) }))
        .alone(SECCOMP)
        .open(),
    way("set a timer", |_| sets_a_timer()).alone(SECCOMP),
    way("call as a 32-bit program", |_| calls_as_32_bits()).alone(SECCOMP),
    way("call by another table", |_| calls(0x4000_0000 + 39, [0; 3])).alone(SECCOMP),
    // The walls themselves.
    way("turn the filter off", |_| unsafe {
        libc::prctl(libc::PR_SET_SECCOMP, 0, 0, 0, 0);
        done(libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0))
    })
    .alone(SECCOMP)
    .open(),
    way("live through a forbidden call", |_| survives()).alone(SECCOMP),
    way("let others look into it", |_| {
        done(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) })
    })
    .alone(SECCOMP)
    .open(),
    way("outlive the supervisor", |_| {
        done(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) })
    })
    .alone(SECCOMP)
    .open(),
    // Memory.
    way("take more memory than it may", |_| takes(libc::MAP_PRIVATE, 4 << 30)).alone(LIMITS).open(),
    way("take it piece by piece", |_| takes_pieces()).alone(LIMITS).open(),
    way("take memory that is shared", |_| takes(libc::MAP_SHARED, 4 << 30)).alone(SECCOMP).open(),
    way("take memory as a stack", |_| takes(libc::MAP_PRIVATE | libc::MAP_GROWSDOWN, 1 << 30))
        .alone(SECCOMP)
        .open(),
    way("pin memory", |_| done(unsafe { libc::mlockall(libc::MCL_FUTURE) })),
    way("let the kernel merge memory", |_| merges()).alone(SECCOMP),
];

/// A place for what a call writes.
fn place() -> usize {
    Box::leak(Box::new([0u64; 64])).as_mut_ptr().expose_provenance()
}

fn address(text: &'static CStr) -> usize {
    text.as_ptr().expose_provenance()
}

fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or_default()
}

fn done(result: i32) -> bool {
    result == 0
}

fn given(result: i32) -> bool {
    result >= 0
}

fn calls(number: i64, args: [usize; 3]) -> bool {
    unsafe { libc::syscall(number, args[0], args[1], args[2]) >= 0 }
}

/// Calls that would harm the machine are made wrongly: whoever may make them hears what is wrong with them.
fn permitted(result: i64) -> bool {
    result >= 0 || !matches!(errno(), libc::EPERM | libc::EACCES | libc::ENOSYS)
}

fn opens(path: &CStr, flags: i32) -> bool {
    given(unsafe { libc::open(path.as_ptr(), flags, 0o600) })
}

fn opens_with_how(path: &CStr) -> bool {
    let how = [0u64; 3];
    unsafe {
        libc::syscall(libc::SYS_openat2, libc::AT_FDCWD, path.as_ptr(), &raw const how, 24) >= 0
    }
}

fn names_a_handle() -> bool {
    let mut handle = [0u8; 136];
    handle[..4].copy_from_slice(&128u32.to_ne_bytes());
    let mut mount = 0;
    let (at, path, flags) = (libc::AT_FDCWD, c"/etc/passwd".as_ptr(), 0x200);
    let named = unsafe {
        libc::syscall(libc::SYS_name_to_handle_at, at, path, &raw mut handle, &raw mut mount, flags)
    };
    // A file system that has no handles says so of a file that is there.
    named == 0 || errno() == libc::EOPNOTSUPP
}

fn reads_a_link(path: &CStr) -> bool {
    let mut to = [0; 64];
    unsafe { libc::readlink(path.as_ptr(), to.as_mut_ptr(), to.len()) >= 0 }
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

fn watches() -> bool {
    unsafe {
        let fd = libc::inotify_init1(0);
        given(fd) && given(libc::inotify_add_watch(fd, c"/etc".as_ptr(), libc::IN_OPEN))
    }
}

fn sees(pid: i32) -> bool {
    let path = std::ffi::CString::new(format!("/proc/{pid}/cmdline")).unwrap();
    opens(&path, libc::O_RDONLY)
}

fn makes_a_device() -> bool {
    let kmsg = libc::makedev(1, 11);
    done(unsafe { libc::mknod(c"/kmsg".as_ptr(), libc::S_IFCHR | 0o600, kmsg) })
}

fn inherits() -> bool {
    (3..1024).any(|fd| given(unsafe { libc::fcntl(fd, libc::F_GETFD) }))
}

fn sends_a_descriptor() -> bool {
    #[repr(C)]
    struct Control {
        head: libc::cmsghdr,
        fd: i32,
    }
    let mut control: Control = unsafe { zeroed() };
    control.head.cmsg_len = size_of::<libc::cmsghdr>() + 4;
    control.head.cmsg_level = libc::SOL_SOCKET;
    control.head.cmsg_type = libc::SCM_RIGHTS;
    control.fd = 2;
    let mut piece = libc::iovec { iov_base: c"".as_ptr().cast_mut().cast(), iov_len: 1 };
    let mut message: libc::msghdr = unsafe { zeroed() };
    message.msg_iov = &raw mut piece;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut control).cast();
    message.msg_controllen = size_of::<Control>() as _;
    unsafe { libc::sendmsg(0, &message, 0) >= 0 }
}

/// A socket tells who made it, as a descriptor of that process.
fn takes_the_peer() -> bool {
    const SO_PEERPIDFD: i32 = 77;
    let (mut pidfd, mut len) = (-1i32, 4u32);
    unsafe {
        let to = (&raw mut pidfd).cast();
        given(libc::getsockopt(0, libc::SOL_SOCKET, SO_PEERPIDFD, to, &mut len))
            && (libc::syscall(libc::SYS_pidfd_send_signal, pidfd, 0, null::<u8>(), 0) >= 0
                || libc::syscall(libc::SYS_pidfd_getfd, pidfd, 0, 0) >= 0)
    }
}

fn changes_the_input() -> bool {
    unsafe {
        libc::write(1, b"evil".as_ptr().cast(), 4) >= 0
            || done(libc::ftruncate(1, 0))
            || libc::mmap(null_mut(), 4096, libc::PROT_WRITE, libc::MAP_SHARED, 1, 0)
                != libc::MAP_FAILED
    }
}

fn opens_many() -> bool {
    (0..64).all(|_| given(unsafe { libc::dup(0) }))
}

fn fills() -> bool {
    let piece = [b'x'; 4096];
    let wrote = |_| unsafe { libc::write(2, piece.as_ptr().cast(), piece.len()) }.max(0);
    (0..64).map(wrote).sum::<isize>() > 64 << 10
}

fn socket(domain: i32, kind: i32) -> bool {
    given(unsafe { libc::socket(domain, kind, 0) })
}

fn raw(protocol: i32) -> bool {
    given(unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, protocol) })
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
        given(fd)
            && done(libc::connect(fd, (&raw const address).cast(), size_of_val(&address) as u32))
    }
}

fn connects_tcp6(world: &World) -> bool {
    let mut address: libc::sockaddr_in6 = unsafe { zeroed() };
    address.sin6_family = libc::AF_INET6 as u16;
    address.sin6_port = world.tcp.to_be();
    // The address of IPv4 as one of IPv6.
    address.sin6_addr.s6_addr = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 1];
    unsafe {
        let fd = libc::socket(libc::AF_INET6, libc::SOCK_STREAM, 0);
        given(fd)
            && done(libc::connect(fd, (&raw const address).cast(), size_of_val(&address) as u32))
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

fn listens() -> bool {
    let address = loopback(0);
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
        given(fd)
            && done(libc::bind(fd, (&raw const address).cast(), size_of_val(&address) as u32))
            && done(libc::listen(fd, 1))
    }
}

fn connects_unix(name: &[u8], hidden: bool) -> bool {
    let mut address: libc::sockaddr_un = unsafe { zeroed() };
    address.sun_family = libc::AF_UNIX as u16;
    let first = usize::from(hidden);
    for (to, from) in address.sun_path[first..].iter_mut().zip(name) {
        *to = from.cast_signed();
    }
    let len = size_of::<libc::sa_family_t>() + first + name.len();
    unsafe {
        let fd = libc::socket(libc::AF_UNIX, libc::SOCK_STREAM, 0);
        given(fd) && done(libc::connect(fd, (&raw const address).cast(), len as u32))
    }
}

fn pairs() -> bool {
    let mut pair = [0; 2];
    done(unsafe { libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0, pair.as_mut_ptr()) })
}

fn queues_a_signal(pid: i32) -> bool {
    let mut info = [0u32; 32];
    info[2] = -1_i32 as u32; // SI_QUEUE
    unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid, 0, info.as_ptr()) >= 0 }
}

fn pidfd(pid: i32) -> i64 {
    unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) }
}

fn signals_by_descriptor(pid: i32) -> bool {
    let fd = pidfd(pid);
    fd >= 0 && unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, 0, null::<u8>(), 0) >= 0 }
}

fn takes_a_descriptor(pid: i32) -> bool {
    let fd = pidfd(pid);
    fd >= 0 && unsafe { libc::syscall(libc::SYS_pidfd_getfd, fd, 0, 0) >= 0 }
}

fn reads_memory(pid: i32) -> bool {
    let mut byte = 0u8;
    let here = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // The same program: what is at this address here is there too, or the call says that it is not.
    let there = libc::iovec { iov_base: (&raw const ENTER).cast_mut().cast(), iov_len: 1 };
    let read = unsafe { libc::process_vm_readv(pid, &here, 1, &there, 1, 0) };
    read == 1 || (read < 0 && errno() == libc::EFAULT)
}

fn writes_memory(pid: i32) -> bool {
    let byte = 0u8;
    let here = libc::iovec { iov_base: (&raw const byte).cast_mut().cast(), iov_len: 1 };
    // No page of it can be written, which only those hear who might have.
    let there = libc::iovec { iov_base: null_mut(), iov_len: 1 };
    let wrote = unsafe { libc::process_vm_writev(pid, &here, 1, &there, 1, 0) };
    wrote == 1 || (wrote < 0 && errno() == libc::EFAULT)
}

fn traces(pid: i32) -> bool {
    const PTRACE_SEIZE: libc::c_uint = 0x4206;
    given(unsafe { libc::ptrace(PTRACE_SEIZE, pid, 0, 0) } as i32)
}

fn compares(pid: i32) -> bool {
    let own = unsafe { libc::getpid() };
    unsafe { libc::syscall(libc::SYS_kcmp, own, pid, 0, 0, 0) >= 0 }
}

fn reads_limits(pid: i32) -> bool {
    let mut limit: libc::rlimit64 = unsafe { zeroed() };
    done(unsafe { libc::prlimit64(pid, libc::RLIMIT_NOFILE, null(), &mut limit) })
}

/// On none, which only those hear to be wrong who might have named one.
fn pins(pid: i32) -> bool {
    let none = 0u64;
    let pinned = unsafe { libc::syscall(libc::SYS_sched_setaffinity, pid, 8, &raw const none) };
    pinned >= 0 || errno() == libc::EINVAL
}

fn starts_a_shell(_: &World) -> bool {
    let script = c"printf '\\001' >&0";
    let argv = [c"sh".as_ptr(), c"-c".as_ptr(), script.as_ptr(), null()];
    unsafe { libc::execv(c"/bin/sh".as_ptr(), argv.as_ptr()) };
    false
}

/// A program whose file is nothing but a line that names its interpreter would need one: what the kernel says
/// of a file without any format is only heard by who may start one.
fn starts_a_file_in_memory(_: &World) -> bool {
    let Ok(file) = spawn::memory_file(c"evil") else { return false };
    if (&file).write_all(b"evil").is_err() {
        return false;
    }
    starts(&file)
}

fn starts(file: &File) -> bool {
    let none = [null::<libc::c_char>()];
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            none.as_ptr(),
            none.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    errno() == libc::ENOEXEC
}

fn forks(fork: fn() -> libc::pid_t) -> bool {
    match fork() {
        0 => unsafe { libc::_exit(0) },
        pid => pid > 0,
    }
}

fn clone3() -> libc::pid_t {
    let mut args = [0u64; 11];
    args[4] = libc::SIGCHLD as u64;
    unsafe { libc::syscall(libc::SYS_clone3, args.as_ptr(), 88) as libc::pid_t }
}

/// They end with the first of their namespace.
fn forks_without_end() -> bool {
    (0..64).all(|_| match unsafe { libc::fork() } {
        0 => loop {
            unsafe { libc::pause() };
        },
        pid => pid > 0,
    })
}

fn starts_a_thread() -> bool {
    std::thread::Builder::new().spawn(|| {}).is_ok_and(|thread| thread.join().is_ok())
}

fn map(protection: i32, fd: i32) -> *mut libc::c_void {
    let flags = libc::MAP_PRIVATE | if fd < 0 { libc::MAP_ANONYMOUS } else { 0 };
    unsafe { libc::mmap(null_mut(), 4096, protection, flags, fd, 0) }
}

fn gains_code() -> bool {
    let at = map(libc::PROT_READ | libc::PROT_WRITE, -1);
    unsafe { done(libc::mprotect(at, 4096, libc::PROT_READ | libc::PROT_EXEC)) }
}

fn gains_code_with_a_key() -> bool {
    let at = map(libc::PROT_READ | libc::PROT_WRITE, -1);
    let code = libc::PROT_READ | libc::PROT_EXEC;
    unsafe { libc::syscall(libc::SYS_pkey_mprotect, at, 4096, code, -1) >= 0 }
}

fn changes_code() -> bool {
    let page = (enter as *const ()).addr() & !4095;
    let page = std::ptr::with_exposed_provenance_mut(page);
    let both = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    unsafe { done(libc::mprotect(page, 4096, both)) }
}

fn attaches_code() -> bool {
    const SHM_EXEC: i32 = 0o100_000;
    unsafe {
        let id = libc::shmget(libc::IPC_PRIVATE, 4096, libc::IPC_CREAT | 0o700);
        let at = libc::shmat(id, null(), SHM_EXEC);
        libc::shmctl(id, libc::IPC_RMID, null_mut());
        given(id) && at.addr() != usize::MAX
    }
}

fn reads_imply_code() -> bool {
    unsafe {
        given(libc::personality(libc::READ_IMPLIES_EXEC as _))
            && map(libc::PROT_READ | libc::PROT_WRITE, -1) != libc::MAP_FAILED
    }
}

fn maps_memory_file() -> bool {
    let Ok(file) = spawn::memory_file(c"evil") else { return false };
    if (&file).write_all(&[0xcc; 4096]).is_err() {
        return false;
    }
    map(libc::PROT_READ | libc::PROT_EXEC, file.as_raw_fd()) != libc::MAP_FAILED
}

fn maps_twice() -> bool {
    let Ok(file) = spawn::memory_file(c"evil") else { return false };
    let fd = file.as_raw_fd();
    let shared = |access| unsafe { libc::mmap(null_mut(), 4096, access, libc::MAP_SHARED, fd, 0) };
    file.set_len(4096).is_ok()
        && shared(libc::PROT_READ | libc::PROT_WRITE) != libc::MAP_FAILED
        && shared(libc::PROT_READ | libc::PROT_EXEC) != libc::MAP_FAILED
}

fn regains() -> bool {
    let header = [0x2008_0522_u32, 0];
    let all = [u32::MAX; 6];
    unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), all.as_ptr()) == 0 }
}

/// Over its own root where that is its own, else over a folder that nobody needs.
fn mounts(world: &World) -> bool {
    let own = unsafe { libc::getpid() } == 1;
    let at = if own { c"/" } else { &*world.folder };
    let tmpfs = c"tmpfs".as_ptr();
    unsafe { done(libc::mount(tmpfs, at.as_ptr(), tmpfs, 0, null())) }
}

fn mounts_anew() -> bool {
    unsafe {
        let fs = libc::syscall(libc::SYS_fsopen, c"tmpfs".as_ptr(), 0);
        fs >= 0
            && libc::syscall(libc::SYS_fsconfig, fs, 6, null::<u8>(), null::<u8>(), 0) >= 0
            && libc::syscall(libc::SYS_fsmount, fs, 0, 0) >= 0
    }
}

fn enters_namespaces(pid: i32) -> bool {
    let fd = pidfd(pid);
    fd >= 0 && done(unsafe { libc::setns(fd as i32, libc::CLONE_NEWUSER | libc::CLONE_NEWNS) })
}

/// As it is named already, where that is not its own name.
fn names_the_host(world: &World) -> bool {
    let name = world.host.as_bytes();
    done(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) })
}

fn sets_the_clock() -> bool {
    let wrong = libc::timespec { tv_sec: -1, tv_nsec: -1 };
    permitted(unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &wrong) }.into())
        && errno() != libc::EINVAL
}

fn raises_a_limit() -> bool {
    unsafe {
        let mut limit: libc::rlimit = zeroed();
        libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit);
        limit.rlim_max += 1;
        done(libc::setrlimit(libc::RLIMIT_NOFILE, &limit))
    }
}

fn runs_first() -> bool {
    let first = libc::sched_param { sched_priority: 1 };
    done(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &first) })
}

/// The smallest socket filter: return 0.
fn loads_a_program() -> bool {
    let code: [u64; 2] = [0xb7, 0x95];
    let licence = c"";
    let mut about = [0u64; 16];
    about[0] = 1 | 2 << 32;
    about[1] = code.as_ptr() as u64;
    about[2] = licence.as_ptr() as u64;
    unsafe { libc::syscall(libc::SYS_bpf, 5, about.as_ptr(), 48) >= 0 }
}

fn reads_the_log() -> bool {
    let mut text = [0u8; 64];
    unsafe { libc::klogctl(3, text.as_mut_ptr().cast(), 64) >= 0 }
}

fn counts() -> bool {
    // A software clock of the process itself, the least that there is to count.
    let mut event = [0u8; 128];
    event[..4].copy_from_slice(&1u32.to_le_bytes());
    event[4..8].copy_from_slice(&128u32.to_le_bytes());
    event[40] = 0b110_0000; // neither kernel nor hypervisor
    unsafe { libc::syscall(libc::SYS_perf_event_open, event.as_ptr(), 0, -1, -1, 0) >= 0 }
}

fn adds_a_key() -> bool {
    const PROCESS_KEYRING: i32 = -2;
    let (kind, name, value) = (c"user".as_ptr(), c"evil".as_ptr(), c"x".as_ptr());
    unsafe { libc::syscall(libc::SYS_add_key, kind, name, value, 1, PROCESS_KEYRING) >= 0 }
}

fn sets_a_timer() -> bool {
    let mut timer = null_mut();
    let mut quiet: libc::sigevent = unsafe { zeroed() };
    quiet.sigev_notify = libc::SIGEV_NONE;
    done(unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &mut quiet, &mut timer) })
}

#[cfg(target_arch = "x86_64")]
fn calls_as_32_bits() -> bool {
    let mut result: i32 = 20; // getpid
    // SAFETY: the call has no arguments.
    unsafe {
        std::arch::asm!("int 0x80", inout("eax") result, out("r8") _, out("r9") _, out("r10") _, out("r11") _)
    };
    result > 0
}

#[cfg(not(target_arch = "x86_64"))]
fn calls_as_32_bits() -> bool {
    false
}

extern "C" fn ignore(_: i32) {}

/// With a handler for the signal that ends who makes such a call.
fn survives() -> bool {
    unsafe {
        libc::signal(libc::SIGSYS, ignore as *const () as libc::sighandler_t);
        libc::syscall(libc::SYS_getppid);
    }
    true
}

fn takes(flags: i32, bytes: usize) -> bool {
    let both = libc::PROT_READ | libc::PROT_WRITE;
    let flags = flags | libc::MAP_ANONYMOUS;
    unsafe { libc::mmap(null_mut(), bytes, both, flags, -1, 0) != libc::MAP_FAILED }
}

fn takes_pieces() -> bool {
    (0..64).all(|_| takes(libc::MAP_PRIVATE, 16 << 20))
}

fn merges() -> bool {
    const MADV_MERGEABLE: i32 = 12;
    let at = map(libc::PROT_READ | libc::PROT_WRITE, -1);
    done(unsafe { libc::madvise(at, 4096, MADV_MERGEABLE) })
}
