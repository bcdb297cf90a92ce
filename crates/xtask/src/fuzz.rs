//! Looks for inputs that break what must hold of any (`tests/fuzz`), and leaves them where `cargo test` replays them.

use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::run::Run;
use crate::tools;

const FOLDER: &str = "tests/fuzz";
/// Longest that one input may take in seconds, and most memory in MiB.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=1024"];

/// Fuzzes one target, or each of them for so long.
pub fn run(repo: &Path, wanted: Option<&str>, seconds: u64) -> Result<(), Failure> {
    let all = targets(repo)?;
    let chosen: Vec<_> = all.iter().filter(|name| wanted.is_none_or(|w| w == **name)).collect();
    if chosen.is_empty() {
        let what = format!("there is no target {}", wanted.unwrap_or_default());
        return Err(Failure::new(what, format!("take one of {}", all.join(", "))));
    }
    let fuzzers = Fuzzers::build(repo)?;
    let mut runs = Vec::new();
    for name in chosen {
        println!("\n==> {name}");
        runs.push(fuzzers.run(name, seconds)?);
    }
    print!("\n{}", table(&runs));
    match runs.into_iter().find_map(|run| run.broken) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Holds the lock file of the fuzzers' own workspace against what it is built on.
pub fn locked(repo: &Path) -> Result<(), Failure> {
    let manifest = format!("{FOLDER}/libfuzzer/Cargo.toml");
    let resolved = ["metadata", "--locked", "--format-version", "1", "--manifest-path", &manifest];
    let fix = format!("cargo update --workspace --manifest-path {manifest}");
    tools::cargo(repo).args(resolved).text().map(drop).map_err(|failure| failure.fixed_by(&fix))
}

/// The targets' names, which are those of their programs.
fn targets(repo: &Path) -> Result<Vec<String>, Failure> {
    let folder = repo.join(FOLDER).join("libfuzzer/targets");
    let found = fs::read_dir(&folder)
        .map_err(|error| Failure::new(format!("{}: {error}", folder.display()), "git status"))?;
    let mut names: Vec<_> = found
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

/// The programs, built with what lets libFuzzer see which branches an input takes.
struct Fuzzers<'a> {
    repo: &'a Path,
    programs: PathBuf,
    /// Where seeds and what was learned lie.
    work: PathBuf,
}

impl Fuzzers<'_> {
    fn build(repo: &Path) -> Result<Fuzzers<'_>, Failure> {
        let cargo_fuzz = tools::fuzz(repo)?;
        let work = tools::target(repo).join("fuzz");
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        // Sanitizers need an unstable compiler, and look for what safe code cannot do.
        Run::new(cargo_fuzz)
            .dir(repo)
            .args(["fuzz", "build", "--sanitizer", "none", "--target", &triple])
            .args(["--fuzz-dir", &format!("{FOLDER}/libfuzzer"), "--target-dir"])
            .args([&work])
            .done()?;
        let seeds = ["run", "--quiet", "--locked", "--package", "daee-fuzz", "--example", "seeds"];
        tools::cargo(repo).args(seeds).args(["--"]).args([work.join("seeds")]).done()?;
        Ok(Fuzzers { repo, programs: work.join(triple).join("release"), work })
    }

    fn run(&self, name: &str, seconds: u64) -> Result<Fuzzed, Failure> {
        let corpus = self.work.join("corpus").join(name);
        let found = self.repo.join(FOLDER).join("regressions").join(name);
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).map_err(|error| {
                Failure::new(format!("{}: {error}", folder.display()), "make it writable")
            })?;
        }
        let words = self.repo.join(FOLDER).join("libfuzzer/dictionaries").join(name);
        let words = words.is_file().then(|| format!("-dict={}", words.display()));
        let mut fuzzed = Fuzzed::new(name);
        // libFuzzer says everything on its standard error.
        let ended = Run::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 2>&1"])
            .args([self.programs.join(name)])
            .args([&corpus, &self.work.join("seeds").join(name), &found])
            .args(LIMITS)
            .args(words)
            .args([format!("-max_total_time={seconds}")])
            .args([format!("-artifact_prefix={}/", found.display())])
            .args(["-print_final_stats=1"])
            .heard(|line| {
                if fuzzed.read(line) {
                    println!("{line}");
                }
            })?;
        fuzzed.ended(ended);
        // An empty folder is nothing that git keeps.
        let _ = fs::remove_dir(&found);
        Ok(fuzzed)
    }
}

/// What one fuzzer said.
struct Fuzzed {
    name: String,
    executions: u64,
    coverage: u64,
    corpus: u64,
    input: Option<String>,
    broken: Option<Failure>,
}

impl Fuzzed {
    fn new(name: &str) -> Fuzzed {
        let name = name.to_owned();
        Fuzzed { name, executions: 0, coverage: 0, corpus: 0, input: None, broken: None }
    }

    /// Reads a line; whether it is one to show, for most say that an input was kept.
    fn read(&mut self, line: &str) -> bool {
        if let Some(executed) = line.strip_prefix("stat::number_of_executed_units:") {
            self.executions = executed.trim().parse().unwrap_or_default();
            return false;
        }
        if let Some((_, input)) = line.split_once("Test unit written to ") {
            self.input = Some(input.trim().to_owned());
        }
        let Some((_, status)) = line.strip_prefix('#').and_then(|rest| rest.split_once('\t'))
        else {
            return self.input.is_some() || line.contains("panicked at");
        };
        let words: Vec<_> = status.split_whitespace().collect();
        for pair in words.windows(2) {
            let number = || pair[1].split('/').next().and_then(|number| number.parse().ok());
            match pair[0] {
                "cov:" => self.coverage = number().unwrap_or(self.coverage),
                "corp:" => self.corpus = number().unwrap_or(self.corpus),
                _ => {}
            }
        }
        matches!(words.first(), Some(&("INITED" | "pulse" | "DONE")))
    }

    fn ended(&mut self, ended: Result<(), Failure>) {
        let Err(failure) = ended else { return };
        self.broken = Some(match &self.input {
            None => failure,
            Some(input) => Failure::new(
                format!("{} does not hold for {input}", self.name),
                "`cargo test -p daee-fuzz` shows it again; mend it, and commit the input",
            ),
        });
    }
}

fn table(runs: &[Fuzzed]) -> String {
    let head = ["target", "executions", "coverage", "corpus", "outcome"].map(str::to_owned);
    let row = |run: &Fuzzed| {
        let outcome = if run.broken.is_some() { "BROKEN" } else { "holds" };
        let numbers = [run.executions, run.coverage, run.corpus].map(|number| number.to_string());
        let [executions, coverage, corpus] = numbers;
        [run.name.clone(), executions, coverage, corpus, outcome.to_owned()]
    };
    let line = |[name, executions, coverage, corpus, outcome]: [String; 5]| {
        format!("{name:<12} {executions:>12} {coverage:>9} {corpus:>7}  {outcome}\n")
    };
    std::iter::once(head).chain(runs.iter().map(row)).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_figures_are_the_ones_told() {
        let said = [
            ("INFO: seed corpus: files: 3 min: 1b max: 9b total: 12b rss: 40Mb", false),
            ("#4\tINITED cov: 11 ft: 12 corp: 2/9b exec/s: 0 rss: 40Mb", true),
            (
                "#9\tNEW    cov: 20 ft: 31 corp: 3/19b lim: 4 exec/s: 0 rss: 40Mb L: 4/4 MS: 1 A-",
                false,
            ),
            ("#900\tDONE   cov: 21 ft: 33 corp: 4/20Kb lim: 4 exec/s: 90 rss: 40Mb", true),
            ("stat::number_of_executed_units: 900", false),
        ];
        let mut fuzzed = Fuzzed::new("car");
        for (line, shown) in said {
            assert_eq!(fuzzed.read(line), shown, "{line}");
        }
        fuzzed.ended(Ok(()));
        let table = "target         executions  coverage  corpus  outcome\n\
            car                   900        21       4  holds\n";
        assert_eq!(self::table(&[fuzzed]), table);
    }

    #[test]
    fn the_input_that_breaks_a_target_is_named() {
        let mut fuzzed = Fuzzed::new("car");
        assert!(fuzzed.read("thread '<unnamed>' panicked at tests/fuzz/src/car.rs:3:5:"));
        fuzzed.read("artifact_prefix='r/'; Test unit written to r/crash-0a");
        fuzzed.ended(Err(Failure::new("`sh` failed", "see its output")));
        assert!(table(std::slice::from_ref(&fuzzed)).contains("BROKEN"));
        let said = fuzzed.broken.unwrap().to_string();
        assert!(said.contains("car does not hold for r/crash-0a"), "{said}");
    }

    #[test]
    fn a_fuzzer_that_does_not_start_breaks_too() {
        let mut fuzzed = Fuzzed::new("car");
        fuzzed.ended(Err(Failure::new("`sh` failed", "see its output")));
        assert!(fuzzed.broken.unwrap().to_string().contains("`sh` failed"));
    }
}
