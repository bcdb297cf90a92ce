use std::path::Path;

use crate::failure::Failure;
use crate::run::Run;
use crate::steps::Steps;
use crate::{advisories, contracts, deny, fmt, fuzz, guests, lint, tools};

/// Everything that CI does, cheap and telling steps first.
///
/// A set of packages decides the features of what it is built on, so that each new set builds much of it again: from
/// the lints on, all steps name the whole workspace, and what `build` builds is what the tests are.
pub fn run(repo: &Path) -> Result<(), Failure> {
    let mut steps = Steps::default();
    steps.step("format", || fmt::check(repo))?;
    steps.step("structure", || {
        fuzz::locked(repo)?;
        tools::cargo(repo).args(["test", "--locked", "--quiet", "--package", "daee-tests"]).done()
    })?;
    steps.step("supply", || {
        advisories::run(repo, None)?;
        deny::run(repo)
    })?;
    let foundry = steps.step("foundry", || contracts::install(repo))?;
    steps.step("artifacts", || foundry.artifacts(true))?;
    let forge = steps.step("contracts", || foundry.test())?;
    steps.step("guests", || guests::check(repo))?;
    steps.step("lint", || lint::run(repo))?;
    // Tests that start the real programs find them beside themselves; `cargo test` builds those only when told.
    steps.step("build", || {
        let what = ["--bins", "--tests", "--examples"];
        tools::cargo(repo).args(["build", "--workspace", "--locked"]).args(what).done()
    })?;
    let here = steps.step("test", || tests(all(repo).without(&[ANVIL])))?;
    let anvil = steps.step("anvil", || on_anvil(repo, &foundry.anvil))?;
    steps.summary();
    println!("\nforge test: {forge}");
    println!("cargo test: {here}");
    println!("on Anvil: {anvil}");
    Ok(())
}

/// Where tests that can run on another chain than ours find it.
const ANVIL: &str = "DAEE_ANVIL";

fn all(repo: &Path) -> Run {
    tools::cargo(repo).args(["test", "--workspace", "--no-fail-fast", "--locked"])
}

/// What speaks to contracts, again on a chain that others wrote.
fn on_anvil(repo: &Path, anvil: &Path) -> Result<Tests, Failure> {
    if !anvil.is_file() {
        let what = format!("there is no {}", anvil.display());
        return Err(Failure::new(what, "cargo xtask contracts"));
    }
    let folder = repo.join("crates/daee-chain/tests");
    let found = std::fs::read_dir(&folder)
        .map_err(|error| Failure::new(format!("{}: {error}", folder.display()), "git status"))?;
    let mut files: Vec<_> = found
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_owned()))
        .collect();
    files.sort();
    let mut chain = all(repo).env(ANVIL, anvil);
    for file in files {
        chain = chain.args(["--test"]).args([file]);
    }
    let chain = tests(chain)?;
    // These run on both chains anyway, or compare them: the name says which tests are meant.
    let e2e = all(repo).env(ANVIL, anvil).args(["--test", "flow", "--test", "gas", "--", "anvil"]);
    Ok(chain.and(tests(e2e)?))
}

/// Runs tests, shows what they print, and sums up how they ended.
fn tests(run: Run) -> Result<Tests, Failure> {
    let mut tests = Tests::default();
    let ended = run.watched(|line| tests.read(line))?;
    if ended.is_err() {
        println!("{tests}");
    }
    tests.judged(ended)
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
    fn judged(self, ended: Result<(), Failure>) -> Result<Tests, Failure> {
        ended.map_err(|failure| {
            failure.fixed_by("cargo test -p CRATE NAME, as its output names them")
        })?;
        if self.passed == 0 {
            return Err(Failure::new("cargo ran no test", "look for what their files are called"));
        }
        Ok(self)
    }

    fn and(self, other: Tests) -> Tests {
        Tests {
            runs: self.runs + other.runs,
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            ignored: self.ignored + other.ignored,
        }
    }

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
        let twice = Tests { passed: 1, runs: 1, ..Tests::default() }.and(tests);
        assert_eq!(twice.to_string(), "16 passed; 3 failed; 1 ignored; in 3 runs");
    }

    #[test]
    fn a_run_without_tests_is_no_success() {
        let failed = || Err(Failure::new("`cargo test` failed", "see its output above"));
        assert!(Tests::default().judged(Ok(())).is_err());
        assert!(Tests { passed: 1, failed: 1, ..Tests::default() }.judged(failed()).is_err());
        assert!(Tests { passed: 1, ..Tests::default() }.judged(Ok(())).is_ok());
    }
}
