//! The walls of a child process. They go up inside it, before it has seen a byte of a guest.
//!
//! Unsafe because they are system calls.
#![allow(unsafe_code)]

use std::ffi::CStr;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::engine;

/// One wall, as a bit of what a child reports.
pub(crate) const NO_NEW_PRIVILEGES: u32 = 1;
pub(crate) const NAMESPACES: u32 = 1 << 1;
pub(crate) const EMPTY_ROOT: u32 = 1 << 2;
pub(crate) const NO_CAPABILITIES: u32 = 1 << 3;
pub(crate) const LANDLOCK: u32 = 1 << 4;
pub(crate) const SECCOMP: u32 = 1 << 5;
pub(crate) const NO_NEW_CODE: u32 = 1 << 6;
pub(crate) const LIMITS: u32 = 1 << 7;

/// Every wall.
pub(crate) const ALL: u32 = 0xff;

const PR_SET_MDWE: i32 = 65;
const PR_MDWE_REFUSE_EXEC_GAIN: i32 = 1;

/// Memory that a cell may have beside its guest's, in bytes: code, stacks. What is kept of a reactor is in files.
const CELL_EXTRA_BYTES: u64 = 192 << 20;
/// How much a child may write to its error stream, in bytes.
const ERRORS_BYTES_MAX: u64 = 64 << 10;

/// Stage one of a cell: everything that needs no knowledge of the guest. Says which of the walls stand.
pub(crate) fn enter_cell(walls: u32) -> u32 {
    let mut up = shed(walls);
    // No process and no thread beside it; for the user 0 of the machine the kernel counts none.
    if walls & LIMITS != 0 && !limit(libc::RLIMIT_NPROC, 1) {
        up &= !LIMITS;
    }
    if walls & SECCOMP != 0 && allow(&loading()) {
        up |= SECCOMP;
    }
    up
}

/// Stage two: the code is mapped, and no more will be. Says which of the walls stand.
pub(crate) fn seal_cell(walls: u32) -> u32 {
    let mut up = 0;
    // SAFETY: numbers only.
    let refused = || unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) } == 0;
    if walls & NO_NEW_CODE != 0 && refused() {
        up |= NO_NEW_CODE;
    }
    if walls & SECCOMP != 0 && allow(&running()) {
        up |= SECCOMP;
    }
    up
}

/// The walls of a compiling process: it may make threads and executable memory, and reaches nothing.
pub(crate) fn enter_compiler(walls: u32) -> u32 {
    let mut up = shed(walls);
    if walls & SECCOMP != 0 && refuse(HABITS) && allow(&compiling()) {
        up |= SECCOMP;
    }
    up
}

/// Bounds what a cell may hold, once the guest's memory limit is known.
pub(crate) fn limit_memory(guest_bytes: u64, code_bytes: u64) {
    // A private mapping of an image counts whole, as far as it can be written; a shared one does not, but is no
    // larger than its file.
    limit(libc::RLIMIT_DATA, guest_bytes + code_bytes * 4 + CELL_EXTRA_BYTES);
}

/// Bounds a compiling process.
pub(crate) fn limit_compiler(memory_bytes: u64, cpu_seconds: u64) {
    limit(libc::RLIMIT_DATA, memory_bytes);
    limit(libc::RLIMIT_CPU, cpu_seconds);
}

/// Gives up everything that no child needs.
fn shed(walls: u32) -> u32 {
    let mut up = 0;
    let limits = [
        (libc::RLIMIT_CORE, 0),
        (libc::RLIMIT_NOFILE, 16),
        (libc::RLIMIT_FSIZE, ERRORS_BYTES_MAX),
        (libc::RLIMIT_MEMLOCK, 0),
        (libc::RLIMIT_MSGQUEUE, 0),
        (libc::RLIMIT_SIGPENDING, 0),
        (libc::RLIMIT_RTPRIO, 0),
        (libc::RLIMIT_NICE, 0),
    ];
    if walls & LIMITS != 0 && limits.into_iter().all(|(resource, most)| limit(resource, most)) {
        up |= LIMITS;
    }
    // SAFETY: system calls with numbers, and strings that end in zero bytes.
    unsafe {
        libc::prctl(libc::PR_SET_DUMPABLE, 0);
        if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 {
            up |= NO_NEW_PRIVILEGES;
        }
        // The first process of its namespace is number 1; without namespaces it never is.
        if libc::getpid() == 1 {
            up |= NAMESPACES;
            if walls & EMPTY_ROOT != 0 && empty_root() {
                up |= EMPTY_ROOT;
            }
        }
        if walls & NO_CAPABILITIES != 0 && drop_capabilities() {
            up |= NO_CAPABILITIES;
        }
    }
    if walls & LANDLOCK != 0 && landlock() {
        up |= LANDLOCK;
    }
    up
}

/// # Safety
/// Only in a mount namespace of its own.
unsafe fn empty_root() -> bool {
    let none = std::ptr::null();
    let at: &CStr = c"/proc";
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: strings that end in zero bytes, and null where the kernel allows it.
    unsafe {
        libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()) == 0
            && libc::mount(
                c"none".as_ptr(),
                at.as_ptr(),
                c"tmpfs".as_ptr(),
                flags | libc::MS_RDONLY,
                c"size=4k,nr_inodes=2,mode=0".as_ptr().cast(),
            ) == 0
            && libc::chdir(at.as_ptr()) == 0
            && libc::syscall(libc::SYS_pivot_root, c".".as_ptr(), c".".as_ptr()) == 0
            && libc::umount2(c".".as_ptr(), libc::MNT_DETACH) == 0
            && libc::chdir(c"/".as_ptr()) == 0
    }
}

/// # Safety
/// Always fit; unsafe for the system calls in it.
unsafe fn drop_capabilities() -> bool {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let none = [[0u32; 3]; 2];
    // SAFETY: header and data have the layout of version 3 of the call.
    unsafe {
        for capability in 0..64 {
            if libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) != 0 {
                break;
            }
        }
        libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
        libc::syscall(libc::SYS_capset, &header, none.as_ptr()) == 0
    }
}

/// No file, no port, no process outside: what else leads out finds nothing there.
fn landlock() -> bool {
    use landlock::{
        ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset,
        RulesetAttr as _, RulesetStatus, Scope,
    };
    let restricted = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|rules| rules.handle_access(AccessNet::from_all(ABI::V5)))
        .and_then(|rules| rules.scope(Scope::from_all(ABI::V6)))
        .and_then(|rules| rules.create())
        .and_then(|rules| rules.restrict_self());
    restricted.is_ok_and(|status| status.ruleset != RulesetStatus::NotEnforced)
}

fn limit(resource: libc::__rlimit_resource_t, most: u64) -> bool {
    let most = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: the pointer is to a value that lives.
    unsafe { libc::setrlimit(resource, &most) == 0 }
}

/// A system call that may be made, and with what.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    pub(crate) number: i64,
    when: &'static [When],
}

/// Holds if an argument, without its bits outside of the mask, is one of the values.
#[derive(Debug)]
struct When {
    argument: u8,
    mask: u32,
    values: &'static [u32],
}

const fn call(name: &'static str, number: i64) -> Call {
    Call { name, number, when: &[] }
}

const fn with(name: &'static str, number: i64, when: &'static [When]) -> Call {
    Call { name, number, when }
}

const fn only(argument: u8, values: &'static [u32]) -> When {
    When { argument, mask: u32::MAX, values }
}

const NO_CODE: When = When { argument: 2, mask: libc::PROT_EXEC as u32, values: &[0] };
/// Memory that counts against the limit: the kernel counts neither what is shared nor what grows as stacks do.
const OWN: When =
    When { argument: 3, mask: MAPPED, values: &[PRIVATE, PRIVATE | libc::MAP_ANONYMOUS as u32] };
/// That, or what has the size of a file.
const OWN_OR_FILE: When = When {
    argument: 3,
    mask: MAPPED,
    values: &[PRIVATE, PRIVATE | libc::MAP_ANONYMOUS as u32, libc::MAP_SHARED as u32],
};
const MAPPED: u32 =
    (libc::MAP_TYPE | libc::MAP_ANONYMOUS | libc::MAP_GROWSDOWN | libc::MAP_HUGETLB) as u32;
const PRIVATE: u32 = libc::MAP_PRIVATE as u32;

/// What a cell may call while its guest runs. What a turn cannot do without has no conditions: the kernel lets
/// it pass without running the filter.
const RUNNING: &[Call] = &[
    call("recvfrom", libc::SYS_recvfrom),
    call("sendto", libc::SYS_sendto),
    with("mmap", libc::SYS_mmap, &[NO_CODE, OWN]),
    with("mprotect", libc::SYS_mprotect, &[NO_CODE]),
    with("mremap", libc::SYS_mremap, &[only(3, &[libc::MREMAP_MAYMOVE as u32])]),
    call("munmap", libc::SYS_munmap),
    with("madvise", libc::SYS_madvise, &[only(2, &[libc::MADV_DONTNEED as u32])]),
    call("brk", libc::SYS_brk),
    // Which pages a turn wrote, of this process's own.
    with("ioctl", libc::SYS_ioctl, &[only(1, &[engine::PAGEMAP_SCAN])]),
    // Waits and wakes within the process: the other operations are where the kernel's bugs were.
    with("futex", libc::SYS_futex, &[only(1, FUTEX_OWN)]),
    call("sigaltstack", libc::SYS_sigaltstack),
    call("rt_sigreturn", libc::SYS_rt_sigreturn),
    call("close", libc::SYS_close),
    // Whether a descriptor is open: a debug build of the standard library asks before it closes one.
    with("fcntl", libc::SYS_fcntl, &[only(1, &[libc::F_GETFD as u32])]),
    // Last words, to the error stream.
    with("write", libc::SYS_write, &[only(0, &[2])]),
    call("exit_group", libc::SYS_exit_group),
];

const FUTEX_OWN: &[u32] = &[
    (libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG) as u32,
    (libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG) as u32,
    (libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG) as u32,
];

/// What it may call where the kernel has no `PAGEMAP_SCAN`.
const RUNNING_OLD: &[Call] = &[call("pread64", libc::SYS_pread64)];

/// What it may call before besides: memory for code, a file of the size of its memory, its last limit, and the two that close the door behind it.
const LOADING: &[Call] = &[
    with("mmap", libc::SYS_mmap, &[OWN_OR_FILE]),
    call("ftruncate", libc::SYS_ftruncate),
    // Code and memory come as descriptors, and what of the memory holds anything.
    call("recvmsg", libc::SYS_recvmsg),
    call("lseek", libc::SYS_lseek),
    call("mprotect", libc::SYS_mprotect),
    with("prlimit64", libc::SYS_prlimit64, &[only(0, &[0])]),
    with(
        "prctl",
        libc::SYS_prctl,
        &[only(0, &[libc::PR_SET_NO_NEW_PRIVS as u32, PR_SET_MDWE as u32])],
    ),
    with("seccomp", libc::SYS_seccomp, &[only(0, &[libc::SECCOMP_SET_MODE_FILTER])]),
];

/// What a compiling process may call: memory for code, and threads, but no processes.
const COMPILING: &[Call] = &[
    call("sendto", libc::SYS_sendto),
    with("mmap", libc::SYS_mmap, &[OWN]),
    call("mprotect", libc::SYS_mprotect),
    with("mremap", libc::SYS_mremap, &[only(3, &[libc::MREMAP_MAYMOVE as u32])]),
    call("munmap", libc::SYS_munmap),
    with("madvise", libc::SYS_madvise, &[only(2, STACKS)]),
    call("brk", libc::SYS_brk),
    with("clone", libc::SYS_clone, &[THREAD]),
    call("set_robust_list", libc::SYS_set_robust_list),
    call("rseq", libc::SYS_rseq),
    call("futex", libc::SYS_futex),
    call("gettid", libc::SYS_gettid),
    call("sched_getaffinity", libc::SYS_sched_getaffinity),
    call("sched_yield", libc::SYS_sched_yield),
    call("getrandom", libc::SYS_getrandom),
    call("rt_sigaction", libc::SYS_rt_sigaction),
    call("rt_sigprocmask", libc::SYS_rt_sigprocmask),
    call("rt_sigreturn", libc::SYS_rt_sigreturn),
    call("sigaltstack", libc::SYS_sigaltstack),
    with("prlimit64", libc::SYS_prlimit64, &[only(0, &[0])]),
    call("close", libc::SYS_close),
    with("fcntl", libc::SYS_fcntl, &[only(1, &[libc::F_GETFD as u32])]),
    with("write", libc::SYS_write, &[only(0, &[2])]),
    call("exit", libc::SYS_exit),
    call("exit_group", libc::SYS_exit_group),
];

/// What may be asked of memory where there are threads: their stacks come and go, with guards or without.
const STACKS: &[u32] = &[
    libc::MADV_DONTNEED as u32,
    libc::MADV_HUGEPAGE as u32,
    libc::MADV_NOHUGEPAGE as u32,
    MADV_GUARD_INSTALL,
    MADV_GUARD_REMOVE,
];
const MADV_GUARD_INSTALL: u32 = 102;
const MADV_GUARD_REMOVE: u32 = 103;

const THREAD: When =
    When { argument: 0, mask: libc::CLONE_THREAD as u32, values: &[libc::CLONE_THREAD as u32] };

/// What libraries try and can do without: counting processors, and a call whose arguments no filter can read, for
/// which there is an older one. These fail as if the kernel did not know them; what else is not allowed kills.
const HABITS: &[Call] = &[call("openat", libc::SYS_openat), call("clone3", libc::SYS_clone3)];

/// The calls of a cell while its guest runs.
pub(crate) fn running() -> Vec<&'static Call> {
    let old = if engine::reads_pagemap() { RUNNING_OLD } else { &[] };
    RUNNING.iter().chain(old).collect()
}

/// The calls of a cell before that.
pub(crate) fn loading() -> Vec<&'static Call> {
    let known = |call: &&Call| !LOADING.iter().any(|other| other.number == call.number);
    running().into_iter().filter(known).chain(LOADING).collect()
}

/// The calls of a compiling process.
pub(crate) fn compiling() -> Vec<&'static Call> {
    COMPILING.iter().chain(HABITS).collect()
}

fn allow(calls: &[&Call]) -> bool {
    filter(calls.iter().copied(), SeccompAction::KillProcess, SeccompAction::Allow)
}

fn refuse(calls: &'static [Call]) -> bool {
    filter(calls.iter(), SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS as u32))
}

/// For all threads of the process.
fn filter<'a>(
    calls: impl Iterator<Item = &'a Call>,
    otherwise: SeccompAction,
    action: SeccompAction,
) -> bool {
    let Ok(arch) = std::env::consts::ARCH.try_into() else { return false };
    let rules = calls.map(|call| (call.number, rules(call.when))).collect();
    let filter = SeccompFilter::new(rules, otherwise, action, arch);
    let program = filter.and_then(BpfProgram::try_from);
    program.is_ok_and(|program| seccompiler::apply_filter_all_threads(&program).is_ok())
}

/// One rule for each way in which all conditions hold; a call without conditions has none.
fn rules(when: &[When]) -> Vec<SeccompRule> {
    if when.is_empty() {
        return Vec::new();
    }
    let mut ways = vec![Vec::new()];
    for When { argument, mask, values } in when {
        let compare = SeccompCmpOp::MaskedEq(u64::from(*mask));
        let holds = |value: &u32| {
            let value = u64::from(*value);
            SeccompCondition::new(*argument, SeccompCmpArgLen::Dword, compare.clone(), value)
                .expect("there is such an argument")
        };
        ways = ways
            .into_iter()
            .flat_map(|way: Vec<SeccompCondition>| {
                values.iter().map(move |value| [way.clone(), vec![holds(value)]].concat())
            })
            .collect();
    }
    let rule = |way| SeccompRule::new(way).expect("there is at least one condition");
    ways.into_iter().map(rule).collect()
}
