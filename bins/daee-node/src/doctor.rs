//! `daee-node doctor`: what this machine can do for those whose agents it runs.

use std::process::ExitCode;

use daee_artifact::Artifact;
use daee_runtime::{
    Agent, Event, Isolation, Launch, Nothing, Runtime, RuntimeConfig, SandboxReport,
};
use daee_types::{ArtifactHash, Timestamp};

use crate::arguments::Doctor;
use crate::failure::Failure;

/// Columns of a terminal.
const WIDTH: usize = 80;

pub fn doctor(arguments: &Doctor) -> Result<ExitCode, Failure> {
    let runtime = Runtime::new(RuntimeConfig::in_process().isolated(Isolation::Process))?;
    let report = runtime.sandbox();
    try_out(&runtime)?;
    let enough = report.level >= arguments.sandbox_min;
    if arguments.json {
        println!("{}", serde_json::to_string(&report).expect("a report has a JSON form"));
    } else {
        print!("{}", shown(&report, arguments.sandbox_min));
    }
    Ok(if enough { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// An agent that does nothing: a memory, and a turn that is kept.
const SMALLEST: &[u8] =
    b"\0asm\x01\0\0\0\x01\x05\x01\x60\0\x01\x7f\x03\x02\x01\0\x05\x03\x01\0\x01\
    \x07\x16\x02\x06memory\x02\0\x09daee_turn\0\0\x0a\x06\x01\x04\0\x41\0\x0b";

/// Walls that stand are no use if nothing can live behind them: this machine's libraries may make calls that the
/// filter does not know.
fn try_out(runtime: &Runtime) -> Result<(), Failure> {
    let hash = ArtifactHash::of(SMALLEST);
    let artifact = Artifact::fetched(SMALLEST.to_vec()).verify(&hash);
    let artifact = artifact.expect("the hash is its own");
    let module = runtime.prepare(&artifact, None).map_err(|error| Failure::of(&error))?;
    let agent = Agent::start(runtime, Launch::new(module), Box::new(Nothing::default()));
    let mut agent = agent.map_err(|error| Failure::of(&error))?;
    let outcome = agent.turn(Event::Start, Timestamp(0)).outcome;
    match outcome.is_kept() {
        true => Ok(()),
        false => Err(Failure::new("the smallest agent does not run in a cell here", outcome)),
    }
}

fn shown(report: &SandboxReport, wanted: u8) -> String {
    let (level, highest) = (report.level, SandboxReport::LEVEL_MAX);
    let mut out = format!("sandbox level {level} of {highest}\n\n");
    for wall in &report.walls {
        let (mark, how) = if wall.stands { ("stands", "") } else { ("MISSING", wall.how) };
        let head = format!("  {:<18}{mark:<9}", wall.name);
        out += &paragraph(&head, how.split(' '));
    }
    let (running, loading) = (&report.system_calls, &report.system_calls_loading);
    out += &format!("\na cell may make {} system calls while its guest runs\n", running.len());
    out += &paragraph("  ", running.iter().copied());
    out += &format!("and {} while it holds no guest yet, which are besides\n", loading.len());
    let besides = loading.iter().filter(|call| !running.contains(call)).copied();
    out += &paragraph("  ", besides);
    out += &match level >= wanted {
        true => format!("\nan agent ran; a node that asks for level {wanted} takes agents here\n"),
        false => {
            format!("\nan agent ran; a node that asks for level {wanted} takes NO agents here\n")
        }
    };
    out
}

/// Words behind a head, broken before the last column and set in as far as the head is long.
fn paragraph<'a>(head: &str, words: impl Iterator<Item = &'a str>) -> String {
    let mut lines = vec![head.to_owned()];
    for word in words {
        let line = lines.last_mut().expect("there is one from the start");
        let empty = line.len() == head.len();
        if !empty && line.len() + 1 + word.len() > WIDTH {
            lines.push(format!("{:1$}{word}", "", head.len()));
        } else {
            let space = if empty { "" } else { " " };
            *line += &format!("{space}{word}");
        }
    }
    lines.iter().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_shown_with_its_fix_in_80_columns() {
        let how = "allow user namespaces: sysctl user.max_user_namespaces and \
                   kernel.apparmor_restrict_unprivileged_userns";
        let shown = paragraph("  namespaces        MISSING  ", how.split(' '));
        assert!(shown.lines().count() > 1);
        assert!(shown.lines().all(|line| line.len() <= WIDTH), "{shown}");
        assert_eq!(shown.split_whitespace().collect::<Vec<_>>()[2..].join(" "), how);
        assert_eq!(paragraph("  seccomp  stands   ", "".split(' ')), "  seccomp  stands\n");
    }
}
