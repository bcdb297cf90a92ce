//! `daee-node doctor`: what this machine can do for those whose agents it runs.

use std::process::ExitCode;

use daee_runtime::{Isolation, Runtime, RuntimeConfig, SandboxReport};

use crate::arguments::Doctor;
use crate::failure::Failure;

/// Columns of a terminal.
const WIDTH: usize = 80;

pub fn doctor(arguments: &Doctor) -> Result<ExitCode, Failure> {
    let runtime = Runtime::new(RuntimeConfig::in_process().isolated(Isolation::Process))?;
    let report = runtime.sandbox();
    let enough = report.level >= arguments.sandbox_min;
    if arguments.json {
        println!("{}", serde_json::to_string(&report).expect("a report has a JSON form"));
    } else {
        print!("{}", shown(&report, arguments.sandbox_min));
    }
    Ok(if enough { ExitCode::SUCCESS } else { ExitCode::from(1) })
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
        true => format!("\na node that asks for level {wanted} runs agents here\n"),
        false => format!("\na node that asks for level {wanted} runs NO agents here\n"),
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
