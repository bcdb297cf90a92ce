//! Runs a recording again, with the sandbox that a node has.

use std::{
    io::{self, IsTerminal as _, Write as _},
    ops::ControlFlow,
};

use daee_artifact::{Artifact, RunStyle, package::Reader};
use daee_manifest::{Manifest, Run as RunAs};
use daee_runtime::{
    CannotRun, Isolation, Launch, Limits, Marks, RUNTIME_VERSION, Recording, ReplayError, Replayed,
    Replaying, Runtime, RuntimeConfig, What, replay,
};
use daee_transcript::{Bounds, Entry, entries};
use daee_types::{ManifestHash, StateRoot};
use daee_verdict::{Difference, Differing, Mark, Ran, Report, Run, RunEnd, Verdict};

use crate::input::{Input, InputError};

/// Most bytes of a package that is run: it is held as a whole.
const PACKAGE_BYTES_MAX: usize = 1 << 30;
/// Most bytes of a recording, which is held as a whole, too.
const RECORDING_BYTES_MAX: usize = 4 << 30;
/// Steps at which a terminal is told how far it is.
const STEPS: u64 = 100;

const FETCH_AGAIN: &str = "fetch it again with `daee-deploy record`";

/// Judges a recording by running it again.
pub fn run(
    package: &Input,
    recording: &Input,
    isolation: Isolation,
    expected: &[StateRoot],
) -> Result<Report, InputError> {
    let car = package.read(PACKAGE_BYTES_MAX)?;
    let report = daee_verdict::package(package.name(), &car[..]);
    if report.verdict() != Verdict::Verified {
        return Ok(report);
    }
    let bytes = recording.read(RECORDING_BYTES_MAX)?;
    let mut report = Report::of_recording(report, recording.name());
    if bytes.len() > RECORDING_BYTES_MAX {
        report.fail(format_args!("{} is larger than 4 GiB", recording.name()));
        return Ok(report);
    }
    let recording = match Recording::decode(&bytes) {
        Ok(recording) => recording,
        Err(error) => {
            report.no_recording(format_args!("{error}: {FETCH_AGAIN}"));
            return Ok(report);
        }
    };
    drop(bytes);
    if !report.is_of_package(&ManifestHash::new(recording.manifest)) {
        return Ok(report);
    }
    let manifest = report.manifest.as_ref().expect("a verified package has one");
    let end = match again(manifest, &car, isolation, &recording) {
        Ok(end) => end,
        Err(Ended::Malformed(why)) => {
            report.no_recording(format_args!("{why}: {FETCH_AGAIN}"));
            return Ok(report);
        }
        Err(Ended::CannotRun { why, fix }) => RunEnd::CannotRun { why, fix },
    };
    let run = Run { deployment: recording.deployment, epoch: recording.epoch, end };
    report.judge_run(&run, expected);
    Ok(report)
}

enum Ended {
    Malformed(String),
    CannotRun { why: String, fix: &'static str },
}

fn again(
    manifest: &Manifest,
    car: &[u8],
    isolation: Isolation,
    recording: &Recording,
) -> Result<RunEnd, Ended> {
    if let Some(difference) = held_to_less(recording) {
        return Ok(RunEnd::Differs(difference));
    }
    if let Some(secret) = manifest.secrets().first() {
        return Err(Ended::CannotRun {
            why: format!("its agent may use secrets ({secret})"),
            fix: "only their owner has them, and this version takes none",
        });
    }
    let mut bytes = Vec::new();
    Reader::new().update(car, |piece| bytes.extend_from_slice(piece));
    let artifact = Artifact::fetched(bytes).verify(manifest.artifact_hash());
    let artifact = artifact.map_err(|error| cannot(error, "name the package that was deployed"))?;
    const OTHERWISE: &str =
        "`--isolation thread` runs it in this process, which trusts the module more";
    let config = RuntimeConfig::in_process().isolated(isolation);
    let runtime = Runtime::new(config).map_err(|error| cannot(error, OTHERWISE))?;
    let style = match manifest.run() {
        RunAs::Reactor => None,
        RunAs::Resident => Some(RunStyle::Resident),
        RunAs::PerEvent => Some(RunStyle::PerEvent),
    };
    let module = runtime.prepare(&artifact, style).map_err(|error| cannot(error, OTHERWISE))?;
    let launch = Launch {
        limits: Limits { memory_max: manifest.resources().memory, ..Limits::default() },
        policy: manifest.policy(),
        env: manifest.env().to_vec(),
        args: manifest.args().to_vec(),
        quota: manifest.storage(),
        manifest: *manifest.manifest_hash().as_bytes(),
        ..Launch::new(module)
    };
    let mut meter = Meter { shown: io::stderr().is_terminal(), first: None, step: 0 };
    let replayed = replay(&runtime, launch, recording, |now| {
        meter.tell(&now);
        ControlFlow::Continue(())
    });
    meter.end();
    match replayed {
        Ok(replayed) => Ok(RunEnd::Same(ran(&replayed))),
        Err(ReplayError::Differs(difference)) => Ok(RunEnd::Differs(Difference {
            what: differing(difference.what),
            turn: difference.turn,
            call: difference.call,
            words: difference.to_string(),
        })),
        Err(ReplayError::CannotRun(why)) => Err(cannot(&why, fix(&why))),
        Err(ReplayError::Malformed(why)) => Err(Ended::Malformed(why)),
    }
}

/// The first limit in a recording that is lower than every node of this runtime version grants. What the manifest
/// says, memory and storage, is compared when it is run.
fn held_to_less(recording: &Recording) -> Option<Difference> {
    let at_start = (recording.runtime_version, 0, recording.limits);
    let births = entries(&recording.transcript).map_while(Result::ok);
    let births = births.filter_map(|(entry, _)| match entry {
        Entry::Birth { runtime_version, turn, bounds, .. } => {
            Some((runtime_version, turn.saturating_add(1), bounds))
        }
        _ => None,
    });
    let mut own = std::iter::once(at_start).chain(births).filter(|one| one.0 == RUNTIME_VERSION);
    own.find_map(|(_, turn, bounds)| {
        let (name, recorded, least) = less(&bounds)?;
        Some(Difference {
            what: Differing::Limits,
            turn,
            call: None,
            words: format!(
                "turn {turn}: {name} is recorded as {recorded}, and a node grants {least}"
            ),
        })
    })
}

/// Name of a limit that is too low, what it is, and what it is to be.
fn less(bounds: &Bounds) -> Option<(&'static str, u64, u64)> {
    let least = Limits::default();
    let limits = [
        ("fuel of a turn", bounds.fuel_turn, least.fuel_turn),
        ("elements of a table", bounds.table_elements_max.into(), least.table_elements_max.into()),
        ("bytes of log of a turn", bounds.log_turn_max.0, least.log_turn_max.0),
        ("bytes of an input or answer", bounds.door_frame_max.0, least.door_frame_max.0),
        ("operations of a turn", bounds.door_calls_max.into(), least.door_calls_max.into()),
    ];
    limits.into_iter().find(|(_, recorded, least)| recorded < least)
}

fn cannot(why: impl std::fmt::Display, fix: &'static str) -> Ended {
    Ended::CannotRun { why: why.to_string(), fix }
}

fn ran(replayed: &Replayed) -> Ran {
    Ran {
        from: mark(&replayed.from),
        to: mark(&replayed.to),
        turns: replayed.turns,
        calls: replayed.calls,
        observed: replayed.observed,
    }
}

fn mark(marks: &Marks) -> Mark {
    Mark {
        turn: marks.turn,
        state: marks.state_root,
        log: marks.log_root,
        transcript: marks.transcript_root,
        fuel: marks.fuel,
    }
}

fn differing(what: What) -> Differing {
    match what {
        What::Turn | What::Operation => Differing::Operation,
        What::Input => Differing::Input,
        What::Code => Differing::Result,
        What::Answer => Differing::Answer,
        What::Event => Differing::Event,
        What::Outcome => Differing::Outcome,
        What::Fuel => Differing::Fuel,
        What::Limits => Differing::Limits,
        What::Package => Differing::Package,
        What::StateRoot => Differing::State,
        What::LogRoot => Differing::Log,
        What::TranscriptRoot => Differing::Transcript,
    }
}

fn fix(why: &CannotRun) -> &'static str {
    match why {
        CannotRun::RuntimeVersion { .. } => {
            "take the release of daee-verify that has that runtime version"
        }
        CannotRun::Package => "name the package that was deployed",
        CannotRun::Upgraded { .. } => {
            "fetch each version for itself with `daee-deploy record --to` and `--from`"
        }
        CannotRun::NotAtBirth => {
            "fetch it again with `daee-deploy record`, which begins where a cell was born"
        }
        CannotRun::Missing(_) => FETCH_AGAIN,
        CannotRun::Limits(_) => "no node of this version allows it that",
        CannotRun::Start(_) => "make room for it on this machine, or try `--isolation thread`",
        CannotRun::Here { .. } => "try again on a machine that has less to do",
        CannotRun::Stopped { .. } => "let it come to its end",
    }
}

/// How far it is, on a line of a terminal that is written over.
struct Meter {
    shown: bool,
    first: Option<u64>,
    step: u64,
}

impl Meter {
    fn tell(&mut self, now: &Replaying<'_>) {
        let first = *self.first.get_or_insert(now.turn);
        let all = now.last.saturating_sub(first).max(1);
        let step = now.turn.saturating_sub(first).saturating_mul(STEPS) / all;
        if self.shown && step > self.step {
            self.step = step;
            // Nobody reads it any more: the work goes on.
            let _ = write!(io::stderr(), "\rturn {} of {}\x1b[K", now.turn, now.last);
        }
    }

    fn end(&self) {
        if self.step > 0 {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}
