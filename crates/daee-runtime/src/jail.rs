//! The walls of a child process. They go up inside it, before it has seen a byte of a guest.
//!
//! Unsafe because they are system calls.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
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

/// Memory that a cell may have beside its guest's, in bytes: code, stacks. What is kept of a reactor is in files.
const CELL_EXTRA_BYTES: u64 = 192 << 20;
/// How much a child may write to its error stream, in bytes.
const ERRORS_BYTES_MAX: u64 = 64 << 10;

/// Stage one of a cell: everything that needs no knowledge of the guest. Says which of the walls stand.
pub(crate) fn enter_cell(walls: u32) -> u32 {
    let mut up = shed(walls);
    if walls & SECCOMP != 0 && filter(&loading(), SeccompAction::KillProcess) {
        up |= SECCOMP;
    }
    up
}

/// Stage two: the code is mapped, and no more will be. Says which of the walls stand.
pub(crate) fn seal_cell(walls: u32) -> u32 {
    let mut up = 0;
    // PR_SET_MDWE with PR_MDWE_REFUSE_EXEC_GAIN.
    // SAFETY: numbers only.
    if walls & NO_NEW_CODE != 0 && unsafe { libc::prctl(65, 1, 0, 0, 0) } == 0 {
        up |= NO_NEW_CODE;
    }
    if walls & SECCOMP != 0 && filter(&running(), SeccompAction::KillProcess) {
        up |= SECCOMP;
    }
    up
}

/// The walls of a compiling process: it may make threads and executable memory, and reaches nothing.
pub(crate) fn enter_compiler() -> u32 {
    let mut up = shed(ALL);
    let mut calls = loading();
    for call in [
        libc::SYS_clone3,
        libc::SYS_clone,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_sched_getaffinity,
        libc::SYS_fcntl,
    ] {
        calls.insert(call, vec![]);
    }
    // What a library tries out of habit, such as reading how many cores there are, fails and no more.
    if filter(&calls, SeccompAction::Errno(libc::EPERM as u32)) {
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
    let limited = limit(libc::RLIMIT_CORE, 0)
        && limit(libc::RLIMIT_NOFILE, 16)
        && limit(libc::RLIMIT_FSIZE, ERRORS_BYTES_MAX);
    if limited {
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

type Calls = BTreeMap<i64, Vec<SeccompRule>>;

/// What a cell calls while its guest runs.
fn running() -> Calls {
    let mut calls: Calls = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_recvfrom,
        libc::SYS_sendto,
        libc::SYS_close,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_brk,
        libc::SYS_futex,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_clock_gettime,
        libc::SYS_getrandom,
        libc::SYS_sched_yield,
        libc::SYS_gettid,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_restart_syscall,
    ]
    .map(|call| (call, vec![]))
    .into();
    let only = |argument, compare, value| {
        let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, compare, value);
        let rule = condition.and_then(|condition| SeccompRule::new(vec![condition]));
        vec![rule.expect("the condition is one that filters have")]
    };
    // Memory, but none that code could be written into.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        calls.insert(call, only(2, SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64), 0));
    }
    // Which pages a turn wrote, of this process's own.
    calls.insert(libc::SYS_ioctl, only(1, SeccompCmpOp::Eq, engine::PAGEMAP_SCAN.into()));
    if engine::reads_pagemap() {
        calls.insert(libc::SYS_pread64, vec![]);
    }
    // Whether a descriptor is open: the standard library asks before it closes one.
    calls.insert(libc::SYS_fcntl, only(1, SeccompCmpOp::Eq, libc::F_GETFD as u64));
    calls
}

/// What it calls before: the same, memory for code, and the two that close the door behind it.
fn loading() -> Calls {
    let mut calls = running();
    for call in [
        libc::SYS_mmap,
        libc::SYS_mprotect,
        libc::SYS_prctl,
        libc::SYS_seccomp,
        libc::SYS_prlimit64,
        libc::SYS_setrlimit,
        libc::SYS_fstat,
        libc::SYS_ftruncate,
        libc::SYS_lseek,
        libc::SYS_pread64,
    ] {
        calls.insert(call, vec![]);
    }
    calls
}

fn filter(calls: &Calls, otherwise: SeccompAction) -> bool {
    let arch = std::env::consts::ARCH.try_into();
    let Ok(arch) = arch else { return false };
    let filter = SeccompFilter::new(calls.clone(), otherwise, SeccompAction::Allow, arch);
    let program = filter.and_then(BpfProgram::try_from);
    program.is_ok_and(|program| seccompiler::apply_filter(&program).is_ok())
}
