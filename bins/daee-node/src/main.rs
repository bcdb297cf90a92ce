#![doc = include_str!("../README.md")]

mod arguments;
mod dev;
mod doctor;
mod failure;
mod run;
mod stake;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::{
    arguments::{Arguments, Command},
    failure::Failure,
};

fn main() -> ExitCode {
    // Cells and compilers are this executable again; in their processes it does not return.
    daee_runtime::child_main();
    let arguments = Arguments::parse();
    log(arguments.command.quiet());
    match act(arguments.command) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::from(2)
        }
    }
}

fn act(command: Command) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("no threads to work with", error))?;
    let done = runtime.block_on(async {
        match command {
            Command::Dev(arguments) => dev::dev(arguments).await,
            Command::Run(arguments) => run::run(arguments).await,
            Command::Stake(arguments) => stake::stake(arguments).await,
            Command::Unstake(arguments) => stake::unstake(arguments).await,
            Command::Doctor(arguments) => doctor::doctor(&arguments),
        }
    });
    // What still blocks outside must not keep the process.
    runtime.shutdown_background();
    done
}

/// Standard error, at the level of `RUST_LOG`; without it a development network keeps quiet.
fn log(quiet: bool) {
    let filter = EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| EnvFilter::new(if quiet { "warn" } else { "info" }));
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(terminal && std::env::var_os("NO_COLOR").is_none())
        .init();
}
