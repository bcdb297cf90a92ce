//! `daee-node run`: one node, until it is told to end.

use std::{io::Read as _, path::Path, process::ExitCode, sync::Arc};

use daee_host::{Host, HostSettings};
use daee_signer::Key;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::oneshot,
};

use crate::{arguments::Run, failure::Failure};

pub async fn run(arguments: Run) -> Result<ExitCode, Failure> {
    let mut settings = settings(&arguments.config)?;
    if let Some(level) = arguments.sandbox_min {
        settings.sandbox_level_min = level;
    }
    let key = Key::unlock(&arguments.key, arguments.password_file.as_deref())?;
    let host = Host::start(settings, Arc::new(key)).await?;
    if arguments.json {
        let ready = serde_json::json!({
            "api": host.api_url(),
            "account": host.operator(),
            "pid": std::process::id(),
            "sandbox_level": host.sandbox().level,
            "runs_agents": host.refusal().is_none(),
        });
        println!("{ready}");
    } else {
        println!("node {} answers at {}", host.operator(), host.api_url());
        match host.refusal() {
            Some(refusal) => println!("{refusal}"),
            None => println!("sandbox level {}", host.sandbox().level),
        }
    }
    told_to_end(arguments.until_stdin_closes).await?;
    host.stop().await;
    Ok(ExitCode::SUCCESS)
}

fn settings(path: &Path) -> Result<HostSettings, Failure> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| Failure::new(&shown, error))?;
    serde_json::from_slice(&text).map_err(|error| {
        Failure::new(format!("{shown} is not a node's settings (see the README)"), error)
    })
}

/// Waits for SIGINT, SIGTERM, or the end of standard input where that is meant.
pub async fn told_to_end(until_stdin_closes: bool) -> Result<(), Failure> {
    let hear = |kind| signal(kind).map_err(|error| Failure::new("signals cannot be heard", error));
    let mut interrupt = hear(SignalKind::interrupt())?;
    let mut terminate = hear(SignalKind::terminate())?;
    let (closed, stdin) = oneshot::channel::<()>();
    if until_stdin_closes {
        // A thread of its own: a read of standard input cannot be called off.
        std::thread::spawn(move || {
            let mut ignored = [0; 64];
            // Whatever is said there says nothing; only its end does.
            while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
            drop(closed);
        });
    }
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = stdin, if until_stdin_closes => {}
    }
    Ok(())
}
