#![doc = include_str!("../README.md")]

mod advisories;
mod bench;
mod contracts;
mod deny;
mod failure;
mod fmt;
mod fuzz;
mod guests;
mod lint;
mod run;
mod steps;
mod surface;
mod test;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::Failure;

/// Build, test and measure this workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that CI does, from a clean clone
    Test,
    /// Format every crate
    Fmt,
    /// Clippy over every target, rustdoc, and no foreign type in a public face; warnings are errors
    Lint,
    /// Compile the contracts and run their tests
    Contracts {
        /// Compare the committed artifacts byte for byte instead of writing them
        #[arg(long)]
        check: bool,
    },
    /// Rebuild the committed guests with what names their hashes
    Guests {
        /// Test them, and compare the committed bytes instead of writing them
        #[arg(long)]
        check: bool,
    },
    /// The watch list of advisories against the lock file: fails too when nobody has read it for 30 days
    Advisories {
        /// As of this day instead of today, such as 2026-11-24
        #[arg(long, value_name = "DAY")]
        day: Option<String>,
    },
    /// Look for inputs that break what must hold of any
    Fuzz {
        /// One target of tests/fuzz, or all of them, one after the other
        #[arg(default_value = "all")]
        target: String,
        /// How long for each
        #[arg(long, default_value_t = 600)]
        seconds: u64,
    },
    /// Measure one thing beside a peer where there is one
    Bench {
        name: bench::Name,
        /// One JSON object of figures and ratios instead of a table
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let repo = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("crates/xtask");
    match run(Arguments::parse().command, repo) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\n{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command, repo: &Path) -> Result<(), Failure> {
    match command {
        Command::Test => test::run(repo),
        Command::Fmt => fmt::write(repo),
        Command::Lint => lint::run(repo),
        Command::Contracts { check } => {
            let foundry = contracts::install(repo)?;
            foundry.artifacts(check)?;
            foundry.test().map(|_| ())
        }
        Command::Guests { check: true } => guests::check(repo),
        Command::Guests { check: false } => guests::write(repo),
        Command::Advisories { day } => advisories::run(repo, day.as_deref()),
        Command::Fuzz { target, seconds } => {
            fuzz::run(repo, Some(&*target).filter(|target| *target != "all"), seconds)
        }
        Command::Bench { name, json } => bench::run(repo, name, json),
    }
}
