//! The one place that starts processes: this executable again, under another name, with three
//! descriptors and nothing else.
//!
//! Unsafe because a process is made by `clone` with namespaces of its own, which no library offers
//! without running code between fork and exec that may allocate.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

/// How a child ended that came to its limit.
pub(crate) const NO_MEMORY: &str = "it got no more memory";
/// How a child ended that was killed by its filter.
pub(crate) const FORBIDDEN: &str = "it made a system call that cells may not make";

/// What a child is for. It is its name too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Cell,
    Compile,
    Probe,
    /// Native code in a guest's place, to try the walls.
    #[cfg(test)]
    Evil,
}

impl Role {
    pub(crate) const ALL: &[Role] = &[
        Role::Cell,
        Role::Compile,
        Role::Probe,
        #[cfg(test)]
        Role::Evil,
    ];

    pub(crate) fn name(self) -> &'static CStr {
        match self {
            Role::Cell => c"daee:cell",
            Role::Compile => c"daee:compile",
            Role::Probe => c"daee:probe",
            #[cfg(test)]
            Role::Evil => c"daee:evil",
        }
    }
}

/// A child: killed and reaped when dropped.
#[derive(Debug)]
pub(crate) struct Child {
    pid: libc::pid_t,
    status: Option<i32>,
    /// What it had used of a core when it was ended.
    pub(crate) used: Duration,
    stderr: File,
}

/// What to start.
pub(crate) struct Start {
    pub(crate) executable: File,
    pub(crate) role: Role,
    /// Becomes descriptor 0: the link.
    pub(crate) link: OwnedFd,
    /// Becomes descriptor 1: what it works on. A cell is told later.
    pub(crate) input: Option<OwnedFd>,
    /// Whether it gets namespaces of its own.
    pub(crate) namespaces: bool,
}

/// Starts a child.
///
/// A child dies with the thread that made it (`PR_SET_PDEATHSIG` is about threads), so all are made by one
/// thread that lives as long as the process does.
pub(crate) fn start(start: Start) -> io::Result<Child> {
    type Job = (Start, mpsc::SyncSender<io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Job>>> = OnceLock::new();
    let jobs = SPAWNER.get_or_init(|| {
        let (jobs, todo) = mpsc::channel::<Job>();
        let spawner = std::thread::Builder::new().name("daee-spawn".into());
        let run = move || {
            for (start, done) in todo {
                // Nobody waits any more if this fails; the child is then dropped, and so killed.
                let _ = done.send(spawn(start));
            }
        };
        spawner.spawn(run).expect("a thread can be started when the first cell is");
        Mutex::new(jobs)
    });
    let (done, result) = mpsc::sync_channel(1);
    let gone = || io::Error::other("the thread that starts cells is gone");
    let sent = jobs.lock().expect("no thread panics while it holds this").send((start, done));
    sent.map_err(|_| gone())?;
    result.recv().map_err(|_| gone())?
}

fn spawn(start: Start) -> io::Result<Child> {
    let stderr = memory_file(c"daee-stderr")?;
    let argv = [start.role.name().as_ptr(), std::ptr::null()];
    let envp = [std::ptr::null::<libc::c_char>()];
    // SAFETY: no arguments but numbers.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let map = |id: u32| CString::new(format!("0 {id} 1")).expect("digits hold no zero byte");
    let (uid_map, gid_map) = (map(uid), map(gid));
    let mut flags = libc::SIGCHLD;
    if start.namespaces {
        flags |= libc::CLONE_NEWUSER
            | libc::CLONE_NEWNET
            | libc::CLONE_NEWNS
            | libc::CLONE_NEWPID
            | libc::CLONE_NEWIPC
            | libc::CLONE_NEWUTS;
    }
    // Above everything that a child's own descriptors can be.
    let high = |fd: RawFd| {
        // SAFETY: duplicates a descriptor that is open for as long as `start` lives.
        let fd = unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 10) };
        // SAFETY: fresh, and owned by nobody else.
        if fd < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        }
    };
    let input = start.input.as_ref().map_or(stderr.as_raw_fd(), AsRawFd::as_raw_fd);
    let fds = [high(start.link.as_raw_fd())?, high(input)?, high(stderr.as_raw_fd())?];
    let executable = high(start.executable.as_raw_fd())?;

    // SAFETY: without CLONE_VM this is a fork; what the child does until exec is system calls on memory
    // prepared above, nothing that allocates or takes a lock.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } as libc::pid_t;
    if pid < 0 {
        return Err(io::Error::last_os_error());
    }
    if pid > 0 {
        return Ok(Child { pid, status: None, used: Duration::ZERO, stderr });
    }
    // SAFETY: system calls on values that were made before the fork; `_exit` ends what cannot go on.
    unsafe {
        if start.namespaces {
            write_whole(c"/proc/self/setgroups", c"deny");
            write_whole(c"/proc/self/uid_map", &uid_map);
            write_whole(c"/proc/self/gid_map", &gid_map);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        for (at, fd) in fds.iter().enumerate() {
            if libc::dup2(fd.as_raw_fd(), at as RawFd) < 0 {
                libc::_exit(126);
            }
        }
        // Whatever else is open in the supervisor closes with the exec, marked so or not.
        if libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
            != 0
        {
            libc::_exit(126);
        }
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::syscall(
            libc::SYS_execveat,
            executable.as_raw_fd(),
            c"".as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
        libc::_exit(127)
    }
}

/// # Safety
/// Only system calls: fit for the time between fork and exec. A map that cannot be written shows later, when
/// the child reports what it could not shed.
unsafe fn write_whole(path: &CStr, text: &CStr) {
    // SAFETY: both are strings that end in a zero byte.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd >= 0 {
            libc::write(fd, text.as_ptr().cast(), text.count_bytes());
            libc::close(fd);
        }
    }
}

impl Child {
    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.pid.unsigned_abs()
    }

    /// What it used of a core in its life; none once it is gone.
    pub(crate) fn cpu(&self) -> Option<Duration> {
        if self.status.is_some() {
            return None;
        }
        let mut clock = 0;
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the child is not reaped yet, so the number is still its own; both places are ours.
        let read = unsafe {
            libc::clock_getcpuclockid(self.pid, &mut clock) == 0
                && libc::clock_gettime(clock, &mut time) == 0
        };
        let seconds = u64::try_from(time.tv_sec).ok().filter(|_| read)?;
        Some(Duration::new(seconds, u32::try_from(time.tv_nsec).ok()?))
    }

    /// Whether it still runs.
    pub(crate) fn lives(&mut self) -> bool {
        if self.status.is_none() {
            let mut status = 0;
            // SAFETY: the child is not reaped yet, so the number is still its own.
            if unsafe { libc::waitpid(self.pid, &mut status, libc::WNOHANG) } == self.pid {
                self.status = Some(status);
            }
        }
        self.status.is_none()
    }

    /// Kills it, waits for it and says how it ended.
    pub(crate) fn end(&mut self) -> String {
        if self.status.is_none() {
            let mut status = 0;
            // SAFETY: the child is not reaped yet, so the number is still its own; zeros are a usage.
            let usage = unsafe {
                let mut usage: libc::rusage = std::mem::zeroed();
                libc::kill(self.pid, libc::SIGKILL);
                while libc::wait4(self.pid, &mut status, 0, &mut usage) < 0
                    && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
                {
                }
                usage
            };
            let time = |of: libc::timeval| {
                let (seconds, micros) = (of.tv_sec.try_into(), of.tv_usec.try_into());
                let micros = Duration::from_micros(micros.unwrap_or_default());
                Duration::from_secs(seconds.unwrap_or_default()) + micros
            };
            self.used = time(usage.ru_utime) + time(usage.ru_stime);
            self.status = Some(status);
        }
        let status = self.status.unwrap_or_default();
        let how = if libc::WIFSIGNALED(status) {
            match libc::WTERMSIG(status) {
                libc::SIGSYS => FORBIDDEN.to_owned(),
                libc::SIGKILL => "it was killed".to_owned(),
                signal => format!("signal {signal}"),
            }
        } else {
            format!("it ended with code {}", libc::WEXITSTATUS(status))
        };
        match self.last_words() {
            words if words.is_empty() => how,
            // Rust then raises a signal at itself, which no cell may either.
            words if words.starts_with("memory allocation of") => NO_MEMORY.into(),
            words => format!("{how}, saying: {words}"),
        }
    }

    fn last_words(&self) -> String {
        use std::os::unix::fs::FileExt as _;
        let mut words = [0; 512];
        let read = self.stderr.read_at(&mut words, 0).unwrap_or_default();
        let words = String::from_utf8_lossy(&words[..read]).trim().to_owned();
        words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.end();
    }
}

/// Most descriptors of one message.
const SENT_MAX: usize = 2;

/// Room for a control message with descriptors, aligned as the kernel wants it.
type Control = [u64; 8];

/// Sends bytes, of which the first carry descriptors. Says how many bytes went.
pub(crate) fn send_with(
    stream: &UnixStream,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<usize> {
    assert!((1..=SENT_MAX).contains(&descriptors.len()), "as many as there is room for");
    let mut control: Control = [0; 8];
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all addresses are of values that live, and the control message fits its room.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        let size = size_of_val(descriptors) as libc::c_uint;
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let header = libc::CMSG_FIRSTHDR(&message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size) as _;
        let place = libc::CMSG_DATA(header).cast::<RawFd>();
        for (n, descriptor) in descriptors.iter().enumerate() {
            place.add(n).write_unaligned(descriptor.as_raw_fd());
        }
        let sent = libc::sendmsg(stream.as_raw_fd(), &message, libc::MSG_NOSIGNAL);
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

/// Reads bytes, and the descriptors that came with them. Says how many bytes there were.
pub(crate) fn receive_with(
    stream: &UnixStream,
    room: &mut [u8],
    descriptors: &mut Vec<OwnedFd>,
) -> io::Result<usize> {
    let mut control: Control = [0; 8];
    let mut part = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
    // SAFETY: all addresses are of values that live; descriptors in a control message are fresh.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.as_mut_ptr().cast();
        let size = (SENT_MAX * size_of::<RawFd>()) as libc::c_uint;
        message.msg_controllen = libc::CMSG_SPACE(size) as _;
        let read = libc::recvmsg(stream.as_raw_fd(), &mut message, libc::MSG_CMSG_CLOEXEC);
        let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
        let header = libc::CMSG_FIRSTHDR(&message);
        if !header.is_null() && (*header).cmsg_type == libc::SCM_RIGHTS {
            let bytes = (*header).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
            let place = libc::CMSG_DATA(header).cast::<RawFd>();
            for n in 0..bytes / size_of::<RawFd>() {
                descriptors.push(OwnedFd::from_raw_fd(place.add(n).read_unaligned()));
            }
        }
        Ok(read)
    }
}

/// A file in memory, without a name in any directory.
pub(crate) fn memory_file(name: &CStr) -> io::Result<File> {
    // SAFETY: the name ends in a zero byte; the descriptor is fresh.
    unsafe {
        let fd = libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(File::from_raw_fd(fd)) }
    }
}

/// Makes a file in memory unchangeable, by anybody and for good.
pub(crate) fn seal(file: &File) -> io::Result<()> {
    let seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: no pointers.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The descriptors of a child, taken once.
///
/// # Safety
/// Only in a process that [`start`] made, and only once.
pub(crate) unsafe fn inherited() -> (OwnedFd, OwnedFd) {
    // SAFETY: `start` put them there, and nothing else took them.
    unsafe { (OwnedFd::from_raw_fd(0), OwnedFd::from_raw_fd(1)) }
}
