use std::path::Path;

use super::Report;
use crate::failure::Failure;
use crate::tools;

/// What each call of the contracts uses, from their creation to the last withdrawal: a test drives them all on the
/// development chain, and `cargo xtask test` holds the same calls on Anvil to the same gas.
pub fn run(repo: &Path) -> Result<Report, Failure> {
    let said = tools::cargo(repo)
        // The whole workspace, so that nothing is built again that its tests have built.
        .args(["test", "--quiet", "--locked", "--workspace", "--test", "gas"])
        .args(["--", "--nocapture", "each_time"])
        .text()?;
    let mut report = Report::new("gas");
    for (call, gas) in costs(&said) {
        report.figure(call, gas, "gas");
    }
    if report.is_empty() {
        return Err(Failure::new("no call was measured", "cargo test -p daee-e2e --test gas"));
    }
    Ok(report)
}

/// From lines such as `gas of bid: 158000`: each call once, where it was first made, with the most it used.
fn costs(said: &str) -> Vec<(&str, f64)> {
    let mut costs: Vec<(&str, f64)> = Vec::new();
    for line in said.lines() {
        // A test runner may have begun the line.
        let Some((call, gas)) =
            line.split_once("gas of ").and_then(|(_, cost)| cost.rsplit_once(": "))
        else {
            continue;
        };
        let Ok(gas) = gas.trim().parse() else { continue };
        match costs.iter_mut().find(|(known, _)| *known == call) {
            Some((_, most)) => *most = most.max(gas),
            None => costs.push((call, gas)),
        }
    }
    costs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_shown_once_with_the_most_it_used() {
        let said = "running 1 test\ntest x ... gas of bid: 3\ngas of open, the first: 9\n\
            gas of bid: 5\ngas of bid: 4\ngas of nothing\nok\n";
        assert_eq!(costs(said), [("bid", 5.0), ("open, the first", 9.0)]);
    }
}
