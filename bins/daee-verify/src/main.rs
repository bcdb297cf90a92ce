#![doc = include_str!("../README.md")]

mod arguments;
mod input;
mod judge;
mod report;
mod show;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    arguments::{Arguments, Subject},
    report::Report,
};

fn main() -> ExitCode {
    let arguments = Arguments::parse().checked();
    let judged = match &arguments.subject {
        Subject::Manifest { file } => judge::manifest(file),
        Subject::Artifact { file, expected } => judge::artifact(file, expected),
        Subject::Package { file } => judge::package(file),
    };
    let report = judged.unwrap_or_else(Report::error);
    match show::report(&report, arguments.format) {
        Ok(()) => report.verdict().exit_code(),
        // A verdict that nobody could read is none.
        Err(_) => ExitCode::from(2),
    }
}
