#![doc = include_str!("../README.md")]

mod arguments;
mod input;

use std::{
    io::{self, BufWriter, IsTerminal as _, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use daee_manifest::MANIFEST_BYTES_MAX;
use daee_verdict::{Expected, Report, formats};

use crate::{
    arguments::{Arguments, Format, Subject},
    input::InputError,
};

fn main() -> ExitCode {
    let arguments = Arguments::parse().checked();
    let report = judged(&arguments.subject).unwrap_or_else(|InputError { input, error }| {
        let mut report = Report::new(input.name());
        report.fail(format_args!("{input} cannot be read: {error}"));
        report
    });
    match show(&report, arguments.format) {
        Ok(()) => ExitCode::from(report.verdict().exit_code()),
        // A verdict that nobody could read is none.
        Err(_) => ExitCode::from(2),
    }
}

fn judged(subject: &Subject) -> Result<Report, InputError> {
    Ok(match subject {
        Subject::Manifest { file } => daee_verdict::manifest(file.name(), file.open()?),
        Subject::Package { file } => daee_verdict::package(file.name(), file.open()?),
        Subject::Artifact { file, expected } => {
            let expected = match (&expected.manifest, &expected.hash, &expected.cid) {
                (Some(manifest), ..) => Expected::Manifest {
                    name: manifest.name(),
                    yaml: manifest.read(MANIFEST_BYTES_MAX)?,
                },
                (_, Some(hash), _) => Expected::Hash(*hash),
                (.., Some(cid)) => Expected::Cid(*cid),
                _ => Expected::Nothing,
            };
            daee_verdict::artifact(file.name(), file.open()?, &expected)
        }
    })
}

fn show(report: &Report, format: Format) -> io::Result<()> {
    let stdout = io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut out = BufWriter::new(stdout.lock());
    match format {
        Format::Json => formats::json(report, &mut out)?,
        Format::Text => formats::text(report, colour, &mut out)?,
    }
    out.flush()
}
