//! Which system calls cells and compilers make over their lives: the lists of the jail are held to what is seen here.
//!
//! Unsafe because it traces processes.
#![allow(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt as _;
use std::ptr::null_mut;

use daee_artifact::{Artifact, RunStyle};
use daee_policy::Policy;
use daee_types::{ArtifactHash, ByteSize, Timestamp};

use crate::jail::{self, Call};
use crate::{
    Agent, Event, Isolation, Launch, Limits, Nothing, Outcome, Runtime, RuntimeConfig, Snapshot,
};

/// What is allowed and was not seen, with the reason why it stays.
const UNSEEN: &[(&str, &str)] = &[
    ("write", "the last words of a cell that panics"),
    ("madvise", "pages of a turn that is rolled back, where nothing was written"),
    ("mremap", "large vectors that grow"),
    ("fcntl", "asked before a close, in debug builds"),
    ("pread64", "where the kernel has no other way"),
];

/// The wat guests of this crate's tests and the oracles that are published.
#[test]
fn guests_of_every_style_live() {
    let dir = tempfile::tempdir().unwrap();
    let config = RuntimeConfig::new(dir.path(), [7; 32]).isolated(Isolation::Process);
    let runtime = Runtime::new(config).unwrap();
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let hostile = wat(include_str!("../tests/guests/hostile.wat"));
    let (resident, each) = (RunStyle::Resident, RunStyle::PerEvent);
    // Little of what is only more of the same: a tracer makes each call dear.
    let limits = Limits {
        memory_max: ByteSize::mib(64),
        fuel_turn: 10_000_000,
        door_calls_max: 500,
        ..Limits::default()
    };
    for evil in 0..14 {
        live(&runtime, &hostile, None, limits, &[vec![0], vec![evil], vec![0]]);
    }
    let loops = Limits { wall_turn_millis: 50, fuel_turn: u64::MAX, ..limits };
    live(&runtime, &hostile, None, loops, &[vec![0], vec![1], vec![0]]);
    for (text, style) in [
        (include_str!("../tests/guests/script.wat"), None),
        (include_str!("../tests/guests/resident.wat"), Some(resident)),
        (include_str!("../tests/guests/each.wat"), Some(each)),
    ] {
        live(&runtime, &wat(text), style, limits, &[vec![], vec![0; 100_000], vec![]]);
    }
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");
    for (file, style) in [("oracle/oracle.wasm", None), ("oracle-c/oracle-c.wasm", Some(resident))]
    {
        let bytes = std::fs::read(format!("{examples}/{file}")).unwrap();
        live(&runtime, &bytes, style, limits, &[vec![], vec![]]);
    }
}

/// Lives through these requests, moves on from a snapshot and lives through them again.
fn live(
    runtime: &Runtime,
    module: &[u8],
    style: Option<RunStyle>,
    limits: Limits,
    bodies: &[Vec<u8>],
) {
    let hash = ArtifactHash::of(module);
    let artifact = Artifact::fetched(module.to_vec()).verify(&hash).unwrap();
    let module = runtime.prepare(&artifact, style).unwrap();
    let launch = || Launch { limits, policy: Policy::default(), ..Launch::new(module.clone()) };
    let mut agent = Agent::start(runtime, launch(), Box::new(Nothing(NOW))).unwrap();
    for _ in 0..2 {
        agent.turn(Event::Start, NOW);
        for body in bodies {
            let turned = agent.turn(request(body.clone()), NOW);
            let killed = matches!(&turned.outcome, Outcome::Killed { why } if why.contains("call"));
            assert!(!killed, "{:?}", turned.outcome);
        }
        let snapshot = Snapshot::decode(&agent.snapshot()).unwrap();
        let launch = Launch { snapshot, ..launch() };
        agent = Agent::start(runtime, launch, Box::new(Nothing(NOW))).unwrap();
    }
}

const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn request(body: Vec<u8>) -> Event {
    Event::Http {
        method: "POST".into(),
        path: "/".into(),
        query: String::new(),
        headers: Vec::new(),
        body,
    }
}

#[test]
fn what_cells_call_is_what_they_may_call() {
    let seen = trace("calls::guests_of_every_style_live");
    let check = |stage: Stage, allowed: Vec<&'static Call>| {
        let seen = &seen[&stage];
        let strange: Vec<_> = seen
            .iter()
            .filter(|number| !allowed.iter().any(|call| call.number == **number))
            .collect();
        assert!(strange.is_empty(), "{stage:?}: {strange:?} were made and are not allowed");
        let unseen =
            allowed.iter().filter(|call| !seen.contains(&call.number)).map(|call| call.name);
        let unseen: Vec<_> = unseen.collect();
        println!("{stage:?}: {} of {}, not {}", seen.len(), allowed.len(), unseen.join(", "));
        unseen
    };
    let unseen = check(Stage::Running, jail::running());
    for name in unseen {
        let known = UNSEEN.iter().any(|(known, _)| *known == name);
        assert!(known, "{name} is allowed and was not called: take it away, or say why it stays");
    }
    // What is allowed while a guest runs is allowed before as well, called or not: both filters judge.
    let running = jail::running();
    for name in check(Stage::Loading, jail::loading()) {
        let known = running.iter().any(|call| call.name == name);
        assert!(known, "{name} is allowed to a cell that loads and was not called");
    }
    check(Stage::Compiling, jail::compiling());
}

/// `docs/security.md` tells the lists as they are.
#[test]
fn the_lists_are_the_published_ones() {
    let page = include_str!("../../../docs/security.md");
    let check = |row: &str, calls: Vec<&'static Call>, besides: &[&'static Call]| {
        let start = format!("| {row} | ");
        let line = page.lines().find_map(|line| line.strip_prefix(&start)).expect("there is a row");
        let (count, which) = line.split_once('|').unwrap();
        // What an older kernel needs is told beside the table.
        let calls: Vec<_> =
            calls.iter().map(|call| call.name).filter(|c| *c != "pread64").collect();
        assert_eq!(count.trim(), calls.len().to_string(), "{row}");
        let mut told: Vec<_> = which.split('`').skip(1).step_by(2).collect();
        told.extend(besides.iter().map(|call| call.name).filter(|c| *c != "pread64"));
        assert_eq!(BTreeSet::from_iter(told), BTreeSet::from_iter(calls), "{row}");
    };
    check("a guest runs", jail::running(), &[]);
    check("before there is one", jail::loading(), &jail::running());
    check("compiling", jail::compiling(), &[]);
    let config = RuntimeConfig::in_process().isolated(Isolation::Process);
    let report = Runtime::new(config).unwrap().sandbox();
    let counts = (report.system_calls.len(), report.system_calls_loading.len());
    assert_eq!(counts, (jail::running().len(), jail::loading().len()));
}

/// Where in its life a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Loading,
    Running,
    Compiling,
}

/// A thread that is traced.
#[derive(Clone, Copy, Default)]
struct Traced {
    compiler: bool,
    /// Whether it is one of the runtime's processes, and how many filters it has put on.
    filters: Option<u32>,
    /// It is about to put on one more.
    filtering: bool,
}

impl Traced {
    fn stage(&self) -> Option<Stage> {
        match (self.compiler, self.filters) {
            (true, Some(2..)) => Some(Stage::Compiling),
            (false, Some(1)) => Some(Stage::Loading),
            (false, Some(2..)) => Some(Stage::Running),
            _ => None,
        }
    }
}

/// Runs a test of this program under a tracer that looks at cells and compilers.
#[expect(clippy::disallowed_methods, reason = "a tracer sees what its child's children do")]
fn trace(test: &str) -> BTreeMap<Stage, BTreeSet<i64>> {
    const OPTIONS: i32 = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEEXEC
        | libc::PTRACE_O_EXITKILL;
    let mut program = std::process::Command::new(std::env::current_exe().unwrap());
    program.args([test, "--exact", "--test-threads", "1"]);
    // SAFETY: one system call between fork and exec.
    let program = unsafe {
        program.pre_exec(|| {
            libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0);
            Ok(())
        })
    };
    let main = program.spawn().unwrap().id().cast_signed();
    let mut seen = BTreeMap::new();
    let mut threads: BTreeMap<i32, Traced> = BTreeMap::new();
    loop {
        let mut status = 0;
        // Of this thread alone: other tests have children too.
        // SAFETY: a place of ours.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::__WALL | libc::__WNOTHREAD) };
        if pid < 0 {
            break;
        }
        if !libc::WIFSTOPPED(status) {
            threads.remove(&pid);
            if pid == main {
                assert_eq!(status, 0, "the traced test failed");
            }
            continue;
        }
        let (signal, event) = (libc::WSTOPSIG(status), status >> 16);
        let new = !threads.contains_key(&pid);
        let thread = threads.entry(pid).or_default();
        let mut pass = 0;
        if signal == libc::SIGTRAP | 0x80 {
            call(pid, thread, &mut seen);
        } else if event == libc::PTRACE_EVENT_EXEC {
            *thread = role(pid);
        } else if event != 0 {
            let child = message(pid);
            let inherited = *thread;
            threads.insert(child, inherited);
        } else if pid == main && new {
            // SAFETY: numbers.
            unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, pid, 0, OPTIONS) };
        } else if signal != libc::SIGSTOP && signal != libc::SIGTRAP {
            pass = signal;
        }
        let looked_at = threads.get(&pid).is_some_and(|thread| thread.filters.is_some());
        let go_on = if looked_at { libc::PTRACE_SYSCALL } else { libc::PTRACE_CONT };
        // SAFETY: numbers. A process that was killed meanwhile is heard of by the next wait.
        unsafe { libc::ptrace(go_on, pid, null_mut::<u8>(), pass as usize) };
    }
    seen
}

/// What the program that begins here is.
fn role(pid: i32) -> Traced {
    let name = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let is = |role: &[u8]| name.starts_with(role);
    let ours = is(b"daee:cell\0") || is(b"daee:compile\0");
    Traced { compiler: is(b"daee:compile"), filters: ours.then_some(0), filtering: false }
}

fn message(pid: i32) -> i32 {
    let mut message = 0u64;
    // SAFETY: a place of ours.
    unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, pid, 0, &raw mut message) };
    message as i32
}

/// A thread begins a system call, or ends it.
fn call(pid: i32, thread: &mut Traced, seen: &mut BTreeMap<Stage, BTreeSet<i64>>) {
    /// `struct ptrace_syscall_info` as far as it is read here.
    #[repr(C)]
    #[derive(Default)]
    struct Info {
        op: u8,
        rest: [u8; 23],
        /// The number where it begins, the result where it ends.
        value: i64,
        args: [u64; 8],
    }
    const PTRACE_GET_SYSCALL_INFO: libc::c_uint = 0x420e;
    let mut info = Info::default();
    // SAFETY: a place of ours with its length.
    unsafe { libc::ptrace(PTRACE_GET_SYSCALL_INFO, pid, size_of::<Info>(), &raw mut info) };
    match info.op {
        1 => {
            thread.filtering = info.value == libc::SYS_seccomp;
            if let Some(stage) = thread.stage() {
                seen.entry(stage).or_default().insert(info.value);
            }
        }
        2 if thread.filtering && info.value == 0 => {
            thread.filters = thread.filters.map(|filters| filters + 1);
        }
        _ => {}
    }
}
