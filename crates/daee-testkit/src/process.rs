//! Programs as processes: started, read line by line, and ended in every way that a machine knows.

use std::{
    env,
    ffi::{OsStr, OsString},
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use serde_json::Value;

/// Bytes of standard error that are kept, the last ones.
const STDERR_MAX: usize = 256 << 10;
/// Time between two looks at a process that should end.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long one waits for the end of a pipe whose program has ended: a child may hold it.
const PIPE_ENDS_WITHIN: Duration = Duration::from_secs(5);

/// A program of this workspace, from the same build as the test that asks.
///
/// # Panics
/// If it was not built.
pub fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows where it lies");
    // Tests lie in `deps`, doc tests in a folder of their own: the programs are further up.
    let built = test.ancestors().map(|folder| folder.join(name)).find(|path| path.is_file());
    built
        .unwrap_or_else(|| panic!("there is no {name}: run `cargo build --workspace --bins` first"))
}

/// A program and what it is started with. What the environment says of keys and networks does not
/// reach it.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    folder: Option<PathBuf>,
}

/// What a program left behind.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// What it wrote.
    pub stdout: String,
    /// What it said beside.
    pub stderr: String,
}

impl Program {
    /// The program at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { path, arguments: Vec::new(), environment: Vec::new(), folder: None }
    }

    /// A program of this workspace: [`binary`].
    pub fn ours(name: &str) -> Self {
        Self::new(binary(name))
    }

    /// And these arguments.
    pub fn args<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, arguments: I) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Started by another program, behind these arguments of that one.
    pub fn under<I: IntoIterator<Item: AsRef<OsStr>>>(mut self, path: &Path, arguments: I) -> Self {
        let own = std::mem::take(&mut self.arguments);
        self.arguments = arguments.into_iter().map(|a| a.as_ref().to_owned()).collect();
        self.arguments.push(std::mem::replace(&mut self.path, path.to_owned()).into());
        self.arguments.extend(own);
        self
    }

    /// And this variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// In this folder.
    pub fn folder(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Runs it to its end, at most for this long.
    ///
    /// # Panics
    /// If it does not start, or does not end in time.
    pub fn run(&self, within: Duration) -> Ended {
        let mut process = self.start();
        let Some(status) = process.wait(within) else {
            let said = process.stderr();
            panic!("{} did not end within {within:?}: {said}", self.path.display());
        };
        let stdout = process.rest_of_stdout();
        // What it said last may still be in the pipe.
        let _ = process.stderr_ended.recv_timeout(PIPE_ENDS_WITHIN);
        Ended { code: status.code(), stdout, stderr: process.stderr() }
    }

    /// Starts it, with its output piped here and nothing on its input.
    ///
    /// # Panics
    /// If it does not start.
    #[expect(clippy::disallowed_methods, reason = "the one place where tests start processes")]
    pub fn start(&self) -> Process {
        let mut command = Command::new(&self.path);
        command.args(&self.arguments).env_remove("DAEE_KEY").env_remove("DAEE_NETWORK");
        command
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let started = command.spawn();
        let mut child = started
            .unwrap_or_else(|error| panic!("{} does not start: {error}", self.path.display()));
        let lines = lines_of(child.stdout.take().expect("it is piped"));
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let stderr_ended = keep(child.stderr.take().expect("it is piped"), stderr.clone());
        Process { name: self.path.display().to_string(), child, lines, stderr, stderr_ended }
    }
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    lines: Receiver<String>,
    stderr: Arc<Mutex<Vec<u8>>>,
    /// Is closed when standard error is.
    stderr_ended: Receiver<()>,
}

impl Process {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it writes, or `None` if it closed its output.
    ///
    /// # Panics
    /// If neither comes in time.
    pub fn line(&mut self, within: Duration) -> Option<String> {
        match self.lines.recv_timeout(within) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => {
                panic!("{} wrote no line within {within:?}: {}", self.name, self.stderr())
            }
        }
    }

    /// The next line that is JSON: what a server says when it is ready.
    ///
    /// # Panics
    /// If it ends before, or says nothing in time.
    pub fn ready(&mut self, within: Duration) -> Value {
        loop {
            let Some(line) = self.line(within) else {
                let _ = self.stderr_ended.recv_timeout(PIPE_ENDS_WITHIN);
                panic!("{} ended before it was ready: {}", self.name, self.stderr());
            };
            if let Ok(value) = serde_json::from_str(&line) {
                return value;
            }
        }
    }

    /// What it said on standard error so far, the last of it.
    pub fn stderr(&self) -> String {
        let kept = self.stderr.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&kept).into_owned()
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.status().is_none()
    }

    /// Ends it as a power cut would (SIGKILL): it runs no more code.
    pub fn kill(&mut self) {
        // It may have ended before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end as Ctrl-C does (SIGINT).
    pub fn interrupt(&self) {
        signal(self.id(), "INT");
    }

    /// Asks it to end as a service manager does (SIGTERM).
    pub fn terminate(&self) {
        signal(self.id(), "TERM");
    }

    /// Waits for its end; `None` if it does not come in time.
    pub fn wait(&mut self, within: Duration) -> Option<ExitStatus> {
        let looks = within.as_millis() / LOOK_EVERY.as_millis();
        for _ in 0..=looks {
            if let Some(status) = self.status() {
                return Some(status);
            }
            thread::sleep(LOOK_EVERY);
        }
        None
    }

    fn status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    fn rest_of_stdout(&self) -> String {
        // The pipe ends with the process, unless it left children that hold it.
        let mut all = String::new();
        while let Ok(line) = self.lines.recv_timeout(PIPE_ENDS_WITHIN) {
            all.push_str(&line);
            all.push('\n');
        }
        all
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Whether a process of this id is there and is no zombie.
pub fn is_alive(id: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    // `pid (name) state ...`, and the name may hold anything.
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Kills any process as a power cut would, by its id.
pub fn kill(id: u32) {
    signal(id, "KILL");
}

/// The standard library sends no signal but SIGKILL, and only to a child; a shell does.
fn signal(id: u32, name: &str) {
    let script = format!("kill -{name} {id} 2>/dev/null; true");
    let ended = Program::new("/bin/sh").args(["-c", &script]).run(Duration::from_secs(10));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
}

fn lines_of(from: impl Read + Send + 'static) -> Receiver<String> {
    let (send, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(from).lines() {
            // Read on when nobody listens, or the program would stand at a full pipe.
            match line {
                Ok(line) => drop(send.send(line)),
                Err(_) => break,
            }
        }
    });
    lines
}

fn keep(mut from: impl Read + Send + 'static, kept: Arc<Mutex<Vec<u8>>>) -> Receiver<()> {
    let (open, ended) = channel();
    thread::spawn(move || {
        let mut piece = [0; 4096];
        while let Ok(len @ 1..) = from.read(&mut piece) {
            let mut kept = kept.lock().expect("nobody panics with it");
            kept.extend_from_slice(&piece[..len]);
            let over = kept.len().saturating_sub(STDERR_MAX);
            kept.drain(..over);
        }
        drop(open);
    });
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Program {
        Program::new("/bin/sh").args(["-c", script])
    }

    #[test]
    fn what_a_program_leaves_behind_is_read() {
        let ended =
            shell("echo out; echo err >&2; echo \"$GIVEN\"; exit 3").env("GIVEN", "x").run(SOON);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), "out\nx\n"));
        assert_eq!(ended.stderr, "err\n");
    }

    #[test]
    fn a_ready_line_is_found_behind_others() {
        let mut process = shell("echo starting; echo '{\"port\": 7}'; sleep 60").start();
        assert_eq!(process.ready(SOON)["port"], 7);
        assert!(process.runs());
    }

    #[test]
    fn a_killed_program_runs_no_more_code() {
        let script = "trap 'echo told' INT TERM; echo '{}'; while :; do sleep 0.05; done";
        let mut process = shell(script).start();
        process.ready(SOON);
        let id = process.id();
        assert!(is_alive(id));
        process.kill();
        assert!(!is_alive(id));
        assert_eq!(process.line(SOON), None, "no trap ran");
        assert_eq!(process.wait(SOON).unwrap().code(), None, "a signal ended it");
    }

    #[test]
    fn an_asked_program_can_tidy_up() {
        for ask in [Process::interrupt, Process::terminate] {
            let script =
                "trap 'echo told; exit 5' INT TERM; echo '{}'; while :; do sleep 0.05; done";
            // Whoever runs the tests in the background may have SIGINT ignored, and a shell cannot trap what was
            // ignored when it began.
            let asked = ["--default-signal=INT", "sh", "-c", script];
            let mut process = Program::new("/usr/bin/env").args(asked).start();
            process.ready(SOON);
            ask(&process);
            assert_eq!(process.line(SOON).as_deref(), Some("told"));
            assert_eq!(process.wait(SOON).unwrap().code(), Some(5));
        }
    }

    #[test]
    fn a_dropped_program_is_gone() {
        let mut process = shell("echo '{}'; exec sleep 60").start();
        process.ready(SOON);
        let id = process.id();
        drop(process);
        assert!(!is_alive(id));
    }

    #[test]
    #[should_panic(expected = "ended before it was ready: no luck")]
    fn one_that_fails_to_start_says_why() {
        let mut process = shell("echo 'no luck' >&2; exit 1").start();
        process.ready(SOON);
    }
}
