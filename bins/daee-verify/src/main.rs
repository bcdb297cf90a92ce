#![doc = include_str!("../README.md")]

mod arguments;
mod explain;
mod input;
mod run;

use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    process::ExitCode,
};

use clap::Parser as _;
use daee_manifest::MANIFEST_BYTES_MAX;
use daee_signer::publisher::{SIGNATURE_FILE_BYTES_MAX, signature_path};
use daee_verdict::{Expected, Group, POLICY_BYTES_MAX, Policy, Report, formats};

use crate::{
    arguments::{Arguments, Command, Format, Isolation},
    input::{Input, InputError},
};

fn main() -> ExitCode {
    // A cell is this program, entered again.
    daee_runtime::child_main();
    let Arguments { command, format, policy } = Arguments::parse().checked();
    let stdout = io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut out = BufWriter::new(stdout.lock());
    let written = match &command {
        Command::Rules => explain::all(format, &mut out).map(|()| 0),
        Command::Explain { rule } => explain::one(rule, format, &mut out).map(|()| 0),
        Command::Schema => writeln!(out, "{:#}", daee_manifest::json_schema()).map(|()| 0),
        _ => {
            let report = judged(&command, policy.as_ref()).unwrap_or_else(unread);
            show(&report, format, colour, &mut out).map(|()| report.verdict().exit_code())
        }
    };
    match written.and_then(|code| out.flush().map(|()| code)) {
        Ok(code) => ExitCode::from(code),
        // A verdict that nobody could read is none.
        Err(_) => ExitCode::from(2),
    }
}

fn judged(command: &Command, policy: Option<&Input>) -> Result<Report, InputError> {
    let policy = match policy {
        None => Policy::default(),
        Some(input) => match Policy::read(&input.read(POLICY_BYTES_MAX)?) {
            Ok(policy) => policy,
            Err(error) => {
                let mut report = Report::new(Group::Program, input.name());
                report.refuse_policy(&input.name(), &error);
                return Ok(report);
            }
        },
    };
    let mut report = subject(command, &policy)?;
    policy.apply(&mut report);
    Ok(report)
}

fn subject(command: &Command, policy: &Policy) -> Result<Report, InputError> {
    Ok(match command {
        Command::Manifest { file } => daee_verdict::manifest(file.name(), file.open()?),
        Command::Artifact { file, expected } => {
            let manifest = expected.manifest.as_ref().map(|manifest| {
                manifest.read(MANIFEST_BYTES_MAX).map(|yaml| (manifest.name(), yaml))
            });
            let expected = Expected {
                hash: expected.hash,
                cid: expected.cid,
                manifest: manifest.transpose()?,
                blake3: expected.blake3,
            };
            daee_verdict::artifact(file.name(), file.open()?, &expected)
        }
        Command::Package { file, signatures } => {
            let mut report = daee_verdict::package(file.name(), file.open()?);
            let signatures = match (signatures, policy.signers()) {
                (Some(signatures), _) => Some(signatures.read(SIGNATURE_FILE_BYTES_MAX)?),
                (None, Some(_)) => beside(file)?,
                (None, None) => None,
            };
            report.judge_signatures(signatures.as_deref(), policy.signers());
            report
        }
        Command::Signature { file, signatures, cid } => {
            let mut report = match cid {
                Some(cid) => {
                    let mut report = daee_verdict::manifest(file.name(), file.open()?);
                    report.artifact = Some(*cid);
                    report
                }
                None => daee_verdict::package(file.name(), file.open()?),
            };
            report.kind = Group::Signature;
            let signatures = match signatures {
                Some(signatures) => signatures.read(SIGNATURE_FILE_BYTES_MAX)?,
                None => match sidecar(file) {
                    Some(sidecar) => sidecar.read(SIGNATURE_FILE_BYTES_MAX)?,
                    None => {
                        report.fail("no signature file: name it behind the package");
                        return Ok(report);
                    }
                },
            };
            report.judge_signatures(Some(&signatures), policy.signers());
            report
        }
        Command::Diff { old, new } => {
            let old = daee_verdict::manifest_or_package(old.name(), old.open()?);
            let new = daee_verdict::manifest_or_package(new.name(), new.open()?);
            daee_verdict::upgrade(&old, new)
        }
        Command::Run { package, recording, isolation, expect_state_root } => {
            let isolation = match isolation {
                Isolation::Process => daee_runtime::Isolation::Process,
                Isolation::Thread => daee_runtime::Isolation::InProcess,
            };
            run::run(package, recording, isolation, expect_state_root)?
        }
        Command::Rules | Command::Explain { .. } | Command::Schema => unreachable!("no verdict"),
    })
}

/// The signature file beside a package, if there is one.
fn beside(package: &Input) -> Result<Option<Vec<u8>>, InputError> {
    match sidecar(package).map(|sidecar| sidecar.read(SIGNATURE_FILE_BYTES_MAX)) {
        Some(Err(InputError { error, .. })) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.transpose(),
    }
}

fn sidecar(package: &Input) -> Option<Input> {
    match package {
        Input::Stdin => None,
        Input::File(path) => Some(Input::File(signature_path(path, false))),
    }
}

fn unread(InputError { input, error }: InputError) -> Report {
    let mut report = Report::new(Group::Program, input.name());
    report.fail(format_args!("{} cannot be read: {error}", input.name()));
    report
}

fn show(report: &Report, format: Format, colour: bool, out: &mut impl Write) -> io::Result<()> {
    match format {
        Format::Text => formats::text(report, colour, out),
        Format::Json => formats::json(report, out),
        Format::Sarif => formats::sarif(report, out),
        Format::Junit => formats::junit(report, out),
        Format::Github => formats::github(report, out),
    }
}
