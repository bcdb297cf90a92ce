use std::path::Path;

use crate::failure::Failure;
use crate::steps::Steps;
use crate::{contracts, deny, fmt, guests, lint, tools};

/// Everything that CI does, cheap and telling steps first.
pub fn run(repo: &Path) -> Result<(), Failure> {
    let mut steps = Steps::default();
    let mut tests = Tests::default();
    steps.step("format", || fmt::check(repo))?;
    steps.step("structure", || {
        tools::cargo(repo).args(["test", "--locked", "--quiet", "--package", "daee-tests"]).done()
    })?;
    steps.step("supply", || deny::run(repo))?;
    let foundry = steps.step("foundry", || contracts::install(repo))?;
    steps.step("artifacts", || foundry.artifacts(true))?;
    let forge = steps.step("contracts", || foundry.test())?;
    steps.step("guests", || guests::check(repo))?;
    steps.step("lint", || lint::run(repo))?;
    // Tests that start the real programs find them beside themselves; cargo builds those only when told.
    steps.step("build", || {
        tools::cargo(repo).args(["build", "--workspace", "--bins", "--locked"]).done()
    })?;
    steps.step("test", || {
        tools::cargo(repo)
            .args(["test", "--workspace", "--no-fail-fast", "--locked"])
            .env("DAEE_ANVIL", &foundry.anvil)
            .watched(|line| tests.read(line))?
            .map_err(|failure| {
                failure.fixed_by("cargo test -p CRATE NAME, as its output names them")
            })
    })?;
    steps.summary();
    println!("\nforge test: {forge}");
    println!("cargo test: {tests}");
    Ok(())
}

/// The sum over the closing lines of every test binary.
#[derive(Default)]
struct Tests {
    runs: u64,
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Tests {
    /// Reads `test result: ok. 13 passed; 0 failed; 0 ignored; ...`; other lines say nothing.
    fn read(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        self.runs += 1;
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else { continue };
            let number: u64 = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

impl std::fmt::Display for Tests {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tests { runs, passed, failed, ignored } = self;
        write!(f, "{passed} passed; {failed} failed; {ignored} ignored; in {runs} runs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_are_summed_and_other_lines_are_not() {
        let mut tests = Tests::default();
        tests.read("test result: ok. 13 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out");
        tests.read(
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; finished in 1 s",
        );
        tests.read("test the_result ... ok");
        assert_eq!(tests.to_string(), "15 passed; 3 failed; 1 ignored; in 2 runs");
    }
}
