#![doc = include_str!("../README.md")]

mod access;
mod arguments;
mod commands;
mod failure;
mod meter;
mod show;

use std::process::ExitCode;

use clap::Parser as _;
use daee_lifecycle::RecordingQuery;
use tracing_subscriber::EnvFilter;

use crate::{
    arguments::{Arguments, Command},
    failure::Failure,
    show::Out,
};

fn main() -> ExitCode {
    let Arguments { command, access, json, quiet } = Arguments::parse();
    let filter = EnvFilter::try_from_env("DAEE_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let out = Out::new(json, quiet);
    let runtime =
        match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                out.failure(&Failure::usage(&format!("the system gives no threads: {error}")));
                return ExitCode::from(2);
            }
        };
    let done = runtime.block_on(async {
        match &command {
            Command::New { path, language, name } => {
                commands::new::new(&out, path, language, name.as_deref())
            }
            Command::Pack { package, out: file, files } => {
                commands::package::pack(&out, &package.path, file.as_deref(), files.as_deref())
            }
            Command::Check { package, policy } => {
                commands::package::check(&out, &package.path, policy.as_deref())
            }
            Command::Publish { package, places } => {
                commands::publish::publish(&out, &access, &package.path, places).await
            }
            Command::Up { package, price, nodes, wait } => {
                commands::up::up(&out, &access, &package.path, price, &nodes.nodes, wait.wait).await
            }
            Command::Sign(signing) => commands::sign::sign(&out, &access, signing).await,
            Command::Key { command } => commands::key::key(&out, &access, command),
            Command::Status { id } => commands::look::status(&out, &access, *id).await,
            Command::Logs { id, after, limit, follow: false } => {
                commands::look::logs(&out, &access, *id, *after, *limit).await
            }
            Command::Logs { id, after, follow: true, .. } => {
                commands::look::follow(&out, &access, *id, *after).await
            }
            Command::Record { id, from, to, out: file } => {
                let query = RecordingQuery { from: *from, to: *to };
                commands::record::record(&out, &access, *id, query, file.as_deref()).await
            }
            Command::Call(call) => commands::call::call(&out, &access, call).await,
            Command::Stop { id, wait } => commands::end::stop(&out, &access, *id, wait.wait).await,
            Command::Update { id, package, nodes, wait } => {
                let path = &package.path;
                commands::up::update(&out, &access, *id, path, &nodes.nodes, wait.wait).await
            }
            Command::Topup { id, amount } => {
                commands::end::top_up(&out, &access, *id, *amount).await
            }
            Command::Withdraw { to } => commands::end::withdraw(&out, &access, *to).await,
            Command::List { owner, all, closed } => {
                commands::look::list(&out, &access, *owner, *all, *closed).await
            }
        }
    });
    match done {
        Ok(exit) => ExitCode::from(exit),
        Err(failure) => {
            out.failure(&failure);
            ExitCode::from(failure.exit)
        }
    }
}
