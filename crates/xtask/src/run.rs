//! The one place that starts processes.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

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
    pub fn watched(mut self, mut read: impl FnMut(&str)) -> Result<Result<(), Failure>, Failure> {
        let mut child = self.start()?;
        let mut shown = std::io::stdout().lock();
        for line in BufReader::new(child.stdout.take().expect("its output is a pipe")).lines() {
            let line = line.map_err(|error| missing(&self.shown, &error))?;
            // Whoever closed our output does not want to see it; the run still counts.
            let _ = writeln!(shown, "{line}");
            read(&line);
        }
        let status = child.wait().map_err(|error| missing(&self.shown, &error))?;
        Ok(self.judged(status.success(), ""))
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
        // Asked first, so that it can stop its own children. `kill` is a program everywhere we run.
        let asked = Run::new("kill").args(["-INT", &self.child.id().to_string()]).done();
        if asked.is_err() {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn missing(shown: &str, error: &std::io::Error) -> Failure {
    let program = shown.split(' ').next().unwrap_or_default();
    Failure::new(format!("`{shown}`: {error}"), format!("install {program} and put it on PATH"))
}
