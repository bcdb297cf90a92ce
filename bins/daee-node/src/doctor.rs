//! `daee-node doctor`: what this machine can do for those whose agents it runs.

use std::process::ExitCode;

use daee_runtime::{Isolation, Runtime, RuntimeConfig};

use crate::failure::Failure;

/// The level below which a node runs no agents unless its operator says so.
const LEVEL_WANTED: u8 = 2;

pub fn doctor(json: bool) -> Result<ExitCode, Failure> {
    let runtime = Runtime::new(RuntimeConfig::in_process().isolated(Isolation::Process))?;
    let report = runtime.sandbox();
    if json {
        println!("{}", serde_json::to_string(&report).expect("a report has a JSON form"));
    } else {
        println!("sandbox level {} of 3", report.level);
        for wall in &report.walls {
            let (mark, how) = if wall.stands { ("stands", "") } else { ("MISSING", wall.how) };
            println!("  {:<18}{mark:<9}{how}", wall.name);
        }
    }
    let enough = report.level >= LEVEL_WANTED;
    Ok(if enough { ExitCode::SUCCESS } else { ExitCode::from(1) })
}
