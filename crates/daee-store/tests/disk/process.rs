//! This program again, as a process that may be ended at any moment.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

/// Tells a child what to do.
const JOB: &str = "DAEE_TEST_STORE_JOB";

/// What this process was started for, if it is a child.
pub fn job() -> Option<String> {
    std::env::var(JOB).ok()
}

/// A child, and what it says it has been told is on disk.
pub struct Worker {
    child: Child,
    reader: JoinHandle<()>,
    /// One more than the last number, or 0.
    acknowledged: Arc<AtomicU64>,
}

impl Worker {
    /// Runs one test of this program with a job.
    #[expect(clippy::disallowed_methods, reason = "the test needs a process of its own to end")]
    pub fn start(test: &str, job: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(JOB, job)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number =
            |line: String| line.strip_prefix("on disk: ")?.strip_suffix('.')?.parse::<u64>().ok();
        let acknowledged = Arc::new(AtomicU64::new(0));
        let told = acknowledged.clone();
        let reader = std::thread::spawn(move || {
            for number in lines.map_while(Result::ok).filter_map(number) {
                told.store(number + 1, Ordering::SeqCst);
            }
        });
        Self { child, reader, acknowledged }
    }

    /// The last number it has acknowledged.
    pub fn acknowledged(&self) -> Option<u64> {
        self.acknowledged.load(Ordering::SeqCst).checked_sub(1)
    }

    /// Kills it; the last number it acknowledged.
    pub fn kill(mut self) -> Option<u64> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let acknowledged = self.acknowledged.clone();
        self.reader.join().unwrap();
        acknowledged.load(Ordering::SeqCst).checked_sub(1)
    }
}

/// Says in a child that everything up to `n` is on disk.
pub fn acknowledge(n: u64) {
    println!("on disk: {n}.");
}

/// Runs one test of this program with a job, where `dir` is a disk of so many MiB.
pub fn on_small_disk(test: &str, job: &str, dir: &Path, mib: u32) -> Output {
    let mount = format!("mount -t tmpfs -o size={mib}m tmpfs \"$2\" || exit 99");
    apart(&["--user", "--map-root-user"], &mount, test, job, dir)
}

/// Runs one test of this program with a job, where nobody else sees what it mounts.
pub fn with_own_mounts(test: &str, job: &str, dir: &Path) -> Output {
    apart(&[], "", test, job, dir)
}

#[expect(clippy::disallowed_methods, reason = "a namespace begins with a process")]
fn apart(options: &[&str], before: &str, test: &str, job: &str, dir: &Path) -> Output {
    let script = format!("{before}\nexec \"$0\" --exact \"$1\" --nocapture");
    Command::new("unshare")
        .args(options)
        .args(["--mount", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .arg(dir)
        .env(JOB, job)
        .output()
        .unwrap_or_else(|error| panic!("unshare (util-linux) is needed: {error}"))
}

/// Runs a program to its end; what it said if it failed.
#[expect(clippy::disallowed_methods, reason = "disks are made and mounted by programs")]
pub fn run(program: &str, arguments: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
