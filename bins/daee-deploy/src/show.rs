use std::{
    env,
    io::{self, IsTerminal as _, Write},
};

use chrono::DateTime;
use daee_chain::Phase;
use daee_client::{Stage, Standing, talos_per_hour};
use daee_lifecycle::{Level, LogLine};
use daee_types::{Rate, Timestamp, TokenAmount};
use daee_verdict::{
    Report,
    formats::{self, plain},
};
use serde::Serialize;
use serde_json::Value;

use crate::{failure::Failure, meter::Meter};

const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[1;32m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";

/// Where everything is written: results to standard output, progress and errors to standard error.
pub struct Out {
    json: bool,
    quiet: bool,
    colour: bool,
    colour_progress: bool,
}

impl Out {
    pub fn new(json: bool, quiet: bool) -> Self {
        let wanted = env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self {
            json,
            quiet,
            colour: wanted && !json && io::stdout().is_terminal(),
            colour_progress: wanted && io::stderr().is_terminal(),
        }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }

    /// One step of a longer way.
    pub fn progress(&self, step: &str, what: &str) {
        if !self.quiet {
            let step = painted(self.colour_progress, BLUE, &format!("{step:<10}"));
            // Nobody reads it any more: the work goes on.
            let _ = writeln!(io::stderr(), "{step} {}", plain(what));
        }
    }

    /// A stage that somebody waits in.
    pub fn stage(&self, stage: &Stage) {
        let text = stage.to_string();
        let (step, what) = text.split_once(": ").unwrap_or((text.as_str(), ""));
        match stage {
            Stage::Starting { bid, note, .. } => {
                self.progress("assigned", &format!("to {}: {note}", bid.node));
            }
            Stage::Awarding { best } => self.progress("bidding", &format!("over, best {best}")),
            Stage::Updating { note, .. } => self.progress("updating", note),
            _ => self.progress(step, what),
        }
    }

    /// The result: as one JSON object, or as `text` writes it.
    pub fn result(
        &self,
        object: &impl Serialize,
        text: impl FnOnce(&mut Text<'_>) -> io::Result<()>,
    ) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = if self.json {
            let line = serde_json::to_string(object).expect("plain values have a JSON form");
            writeln!(stdout, "{line}")
        } else {
            text(&mut Text { out: &mut stdout, colour: self.colour })
        };
        written.and_then(|()| stdout.flush()).map_err(closed)
    }

    /// A verdict, as daee-verify writes it.
    pub fn verdict(&self, report: &Report) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let written = match self.json {
            true => formats::json(report, &mut stdout),
            false => formats::text(report, self.colour, &mut stdout),
        };
        written.and_then(|()| stdout.flush()).map_err(closed)
    }

    /// Tells how far each of these places is.
    pub fn meter(&self, urls: Vec<String>) -> Meter {
        Meter::new(self.quiet, io::stderr().is_terminal(), urls)
    }

    /// Bytes as they are.
    pub fn raw(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut stdout = io::stdout().lock();
        let mut written = stdout.write_all(bytes);
        if stdout.is_terminal() && !bytes.ends_with(b"\n") {
            written = written.and_then(|()| writeln!(stdout));
        }
        written.and_then(|()| stdout.flush()).map_err(closed)
    }

    /// Why there is no result.
    pub fn failure(&self, failure: &Failure) {
        #[derive(Serialize)]
        struct Shown<'a> {
            error: &'a crate::failure::ErrorShown,
            #[serde(skip_serializing_if = "Option::is_none")]
            deployment: Option<daee_types::DeploymentId>,
            #[serde(skip_serializing_if = "Option::is_none")]
            findings: Option<Value>,
        }
        let Failure { error, deployment, report, .. } = failure;
        if self.json {
            let findings = report.as_deref().map(findings);
            let shown = Shown { error, deployment: *deployment, findings };
            let line = serde_json::to_string(&shown).expect("plain values have a JSON form");
            let _ = writeln!(io::stdout(), "{line}");
        }
        // Nobody reads any more, as when `head` has enough: there is nobody to tell.
        if error.message.is_empty() {
            return;
        }
        let mut stderr = io::stderr().lock();
        if let Some(report) = report {
            let _ = formats::text(report, self.colour_progress, &mut stderr);
            return;
        }
        let code = painted(self.colour_progress, RED, &format!("error[{}]", error.code));
        for line in error.message.lines() {
            let _ = writeln!(stderr, "{code}: {}", plain(line));
        }
        if let Some(id) = deployment {
            let note = format!(
                "deployment {id} is paid for: `daee-deploy status {id}` shows where it is, \
                 `daee-deploy stop {id}` ends it and refunds the rest"
            );
            let _ = writeln!(stderr, "{note}");
        }
    }
}

/// Text for people, on standard output.
pub struct Text<'a> {
    out: &'a mut dyn Write,
    colour: bool,
}

impl Text<'_> {
    /// `name  value`.
    pub fn fact(&mut self, name: &str, value: impl ToString) -> io::Result<()> {
        writeln!(self.out, "{name:<14} {}", plain(&value.to_string()))
    }

    /// A whole line.
    pub fn line(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{}", plain(line))
    }

    /// What it comes to.
    pub fn good(&mut self, word: &str) -> io::Result<()> {
        writeln!(self.out, "{}", painted(self.colour, GREEN, word))
    }

    pub fn standing(&mut self, standing: &Standing) -> io::Result<()> {
        let status = &standing.status;
        self.fact("deployment", status.deployment)?;
        self.fact("agent", format!("{} (version {})", status.agent_id, status.version))?;
        if let Some(version) = standing.pending_version {
            let text = match version == status.version {
                true => "runs, and is final with its first checkpoint on chain",
                false => "waits for its node",
            };
            self.fact("update", format!("version {version} {text}"))?;
        }
        self.fact("phase", phase(status))?;
        if let Some(reason) = &status.reason {
            self.fact("reason", reason)?;
        }
        if let Some(endpoint) = &status.endpoint {
            self.fact("endpoint", endpoint)?;
        }
        if let Some(node) = status.node {
            let url = standing.node_url.as_deref().unwrap_or("no URL");
            self.fact("node", format!("{node} at {url}"))?;
        }
        if let Some(silent) = &standing.silent {
            self.fact("not heard", silent)?;
        }
        let spend = &status.spend;
        self.fact("rate", talos_per_hour(spend.rate))?;
        self.fact("paid", spend.paid)?;
        self.fact("left", lasting(spend.balance, spend.rate))?;
        self.fact("turns", status.turn)?;
        self.fact("state", status.state_root)?;
        if let Some(checkpoint) = &status.last_checkpoint {
            let opened = if checkpoint.opened { "open on chain" } else { "not open on chain" };
            let text = format!("{} at {}, {opened}", checkpoint.seq, time(checkpoint.time));
            self.fact("checkpoint", text)?;
        }
        self.fact("owner", standing.owner)
    }

    pub fn log(&mut self, line: &LogLine) -> io::Result<()> {
        let (paint, level) = match line.level {
            Level::Debug => (BLUE, "debug"),
            Level::Info => (GREEN, "info "),
            Level::Warn => (YELLOW, "warn "),
            Level::Error => (RED, "error"),
        };
        let level = painted(self.colour, paint, level);
        writeln!(self.out, "{} {:>6} {level} {}", time(line.ms), line.seq, plain(&line.text))
    }
}

/// `2026-11-24T16:20:00.123Z`.
pub fn time(time: Timestamp) -> String {
    let moment = i64::try_from(time.0).ok().and_then(DateTime::from_timestamp_millis);
    match moment {
        Some(moment) => moment.format("%FT%T%.3fZ").to_string(),
        None => time.to_string(),
    }
}

/// An amount, and how long it lasts at a rate.
pub fn lasting(balance: TokenAmount, rate: Rate) -> String {
    let Some(seconds) = balance.0.checked_div(rate.0) else { return balance.to_string() };
    format!("{balance}, enough for {}", span(seconds))
}

/// In the contract's words, for lists.
pub fn market_phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Bidding => "bidding",
        Phase::Leased => "leased",
        Phase::Closing => "closing",
        Phase::Closed => "closed",
    }
}

fn phase(status: &daee_lifecycle::Status) -> String {
    format!("{:?}", status.phase).to_lowercase()
}

/// The two largest units of a time.
fn span(seconds: u128) -> String {
    let units = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let Some(at) = units.iter().position(|(_, unit)| seconds >= *unit) else {
        return "less than a second".to_owned();
    };
    let (name, unit) = units[at];
    let text = format!("{} {name}", seconds / unit);
    match units.get(at + 1) {
        Some((next, smaller)) if seconds % unit >= *smaller => {
            format!("{text} {} {next}", seconds % unit / smaller)
        }
        _ => text,
    }
}

fn painted(colour: bool, paint: &str, text: &str) -> String {
    if colour { format!("{paint}{text}\x1b[0m") } else { text.to_owned() }
}

/// The findings of a report in the JSON that it has.
fn findings(report: &Report) -> Value {
    let mut json = Vec::new();
    formats::json(report, &mut json).expect("memory takes what is written");
    let mut report: Value = serde_json::from_slice(&json).expect("a report is written as JSON");
    report["findings"].take()
}

fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::usage("");
    }
    Failure::usage(&format!("standard output cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_spans_are_readable() {
        assert_eq!(time(Timestamp(1_700_000_000_123)), "2023-11-14T22:13:20.123Z");
        let check = |seconds, text: &str| assert_eq!(span(seconds), text);
        check(0, "less than a second");
        check(59, "59 s");
        check(60, "1 min");
        check(3_600 * 5 + 61, "5 h 1 min");
        check(86_400 * 9 + 59, "9 d");
    }

    #[test]
    fn money_without_a_rate_lasts_for_no_time_at_all() {
        assert_eq!(lasting(TokenAmount::talos(2), Rate(0)), "2 TALOS");
        let rate = Rate::per_hour(TokenAmount::talos(1)).unwrap();
        assert_eq!(lasting(TokenAmount::talos(2), rate), "2 TALOS, enough for 1 h 59 min");
    }

    #[test]
    fn nothing_shown_reaches_the_terminal_as_a_command() {
        assert_eq!(plain("a\x1b[31mb\u{202e}c\rd"), "a\u{fffd}[31mb\u{fffd}c\u{fffd}d");
    }
}
