//! The one place that starts processes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;

/// A program about to run. What it prints is the reader's, unless a method says otherwise.
pub struct Run {
    command: Command,
    shown: String,
}

impl Run {
    #[expect(clippy::disallowed_methods, reason = "every process of xtask starts here")]
    pub fn new(program: impl AsRef<OsStr>) -> Run {
        let program = program.as_ref();
        let name = Path::new(program).file_name().unwrap_or(program).to_string_lossy().into_owned();
        Run { command: Command::new(program), shown: name }
    }

    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Run {
        for arg in args {
            self.shown = format!("{} {}", self.shown, arg.as_ref().to_string_lossy());
            self.command.arg(arg);
        }
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Run {
        self.command.env(name, value);
        self
    }

    /// Without these variables of our own environment.
    pub fn without(mut self, names: &[&str]) -> Run {
        for name in names {
            self.command.env_remove(name);
        }
        self
    }

    pub fn dir(mut self, folder: impl AsRef<Path>) -> Run {
        self.command.current_dir(folder);
        self
    }

    /// Runs it to its end.
    pub fn done(mut self) -> Result<(), Failure> {
        let status = self.command.status().map_err(|error| missing(&self.shown, &error))?;
        self.judged(status.success(), "")
    }

    /// Runs it to its end and returns what it printed; its errors are shown only if it failed.
    pub fn text(mut self) -> Result<String, Failure> {
        let out = self.command.output().map_err(|error| missing(&self.shown, &error))?;
        self.judged(out.status.success(), &String::from_utf8_lossy(&out.stderr))?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// Runs it to its end, shows what it prints, and hands each line of it to `read` as well. The second
    /// value says whether it succeeded: a runner that failed has closing lines too.
    pub fn watched(self, mut read: impl FnMut(&str)) -> Result<Result<(), Failure>, Failure> {
        let mut shown = std::io::stdout().lock();
        self.heard(|line| {
            // Whoever closed our output does not want to see it; the run still counts.
            let _ = writeln!(shown, "{line}");
            read(line);
        })
    }

    /// The same without showing anything.
    pub fn heard(mut self, mut read: impl FnMut(&str)) -> Result<Result<(), Failure>, Failure> {
        let mut child = self.start()?;
        for line in BufReader::new(child.stdout.take().expect("its output is a pipe")).lines() {
            let line = line.map_err(|error| missing(&self.shown, &error))?;
            read(&line);
        }
        let status = child.wait().map_err(|error| missing(&self.shown, &error))?;
        Ok(self.judged(status.success(), ""))
    }

    /// Runs it to its end, and returns the most memory in bytes that the kernel said it held.
    pub fn peak(mut self) -> Result<u64, Failure> {
        let mut child = self.start()?;
        let status = format!("/proc/{}/status", child.id());
        let mut peak = 0;
        // What it prints fits into the pipe.
        while child.try_wait().map_err(|error| missing(&self.shown, &error))?.is_none() {
            // Gone with the process; it only ever grows, so the last figure is the one.
            let said = std::fs::read_to_string(&status).unwrap_or_default();
            peak = high_water(&said).unwrap_or(peak);
            thread::sleep(Duration::from_millis(2));
        }
        let status = child.wait().map_err(|error| missing(&self.shown, &error))?;
        self.judged(status.success(), "")?;
        Ok(peak)
    }

    /// Starts it and leaves it running until the value is dropped.
    pub fn background(mut self) -> Result<Background, Failure> {
        let mut child = self.start()?;
        let lines = BufReader::new(child.stdout.take().expect("its output is a pipe"));
        Ok(Background { child, lines, shown: self.shown })
    }

    fn start(&mut self) -> Result<Child, Failure> {
        self.command.stdout(Stdio::piped()).spawn().map_err(|error| missing(&self.shown, &error))
    }

    fn judged(&self, success: bool, errors: &str) -> Result<(), Failure> {
        if success {
            return Ok(());
        }
        let what = format!("`{}` failed\n{errors}", self.shown);
        Err(Failure::new(what.trim_end(), "see its output above"))
    }
}

/// How long a process may take to end when it is asked to.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that ends with this value.
pub struct Background {
    child: Child,
    lines: BufReader<ChildStdout>,
    shown: String,
}

impl Background {
    /// The next line that it prints.
    pub fn line(&mut self) -> Result<String, Failure> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(read) if read > 0 => Ok(line),
            _ => Err(Failure::new(
                format!("`{}` ended before it was ready", self.shown),
                "see its output above",
            )),
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Asked first, so that it can stop its own children.
        let asked = Run::new("kill").args(["-TERM", &self.child.id().to_string()]).text();
        if asked.is_err() || !self.ends_within(PATIENCE) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

impl Background {
    fn ends_within(&mut self, patience: Duration) -> bool {
        const LOOK: Duration = Duration::from_millis(20);
        (0..patience.as_millis() / LOOK.as_millis()).any(|_| {
            thread::sleep(LOOK);
            matches!(self.child.try_wait(), Ok(Some(_)))
        })
    }
}

/// From `VmHWM:      9876 kB`, in bytes.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib << 10)
}

fn missing(shown: &str, error: &std::io::Error) -> Failure {
    let program = shown.split(' ').next().unwrap_or_default();
    Failure::new(format!("`{shown}`: {error}"), format!("install {program} and put it on PATH"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_what_ran() {
        check(Run::new("false").args(["--now"]).done(), "`false --now` failed");
        check(Run::new("sh").args(["-c", "echo why >&2; exit 3"]).text().map(|_| ()), "why");
    }

    #[test]
    fn a_program_that_is_not_there_is_named_with_its_fix() {
        check(Run::new("daee-is-not-here").done(), "fix: install daee-is-not-here");
    }

    #[test]
    fn whoever_watches_sees_every_line_even_of_a_run_that_failed() {
        let mut lines = Vec::new();
        let run = Run::new("sh").args(["-c", "echo one; echo two; exit 1"]);
        check(run.watched(|line| lines.push(line.to_owned())).unwrap(), "failed");
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn the_kernels_word_on_memory_is_read() {
        assert_eq!(
            high_water("VmPeak:\t 12 kB\nVmHWM:\t    3072 kB\nVmRSS:\t 1 kB\n"),
            Some(3 << 20)
        );
        assert_eq!(high_water("Name:\tsh\n"), None);
        assert!(Run::new("sleep").args(["0.1"]).peak().unwrap() > 100 << 10);
    }

    #[test]
    fn a_background_process_is_asked_to_end_and_has_ended_when_its_value_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let ended = folder.path().join("ended");
        let script = "trap 'touch \"$0\"; exit' TERM; echo ready; while :; do sleep 0.01; done";
        let mut run = Run::new("sh").args(["-c", script]).args([&ended]).background().unwrap();
        assert_eq!(run.line().unwrap(), "ready\n");
        drop(run);
        assert!(ended.is_file(), "it had time to clean up");
    }

    #[test]
    fn a_background_process_that_ends_early_is_no_endless_wait() {
        let mut run = Run::new("true").background().unwrap();
        check(run.line().map(|_| ()), "ended before it was ready");
    }

    fn check(result: Result<(), Failure>, expected: &str) {
        let message = result.unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    }
}
