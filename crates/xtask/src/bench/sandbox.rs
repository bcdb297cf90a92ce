use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Report, disk};
use crate::failure::Failure;
use crate::run::Run;
use crate::tools;

/// How often either takes its turn: what else the machine does falls on both.
const ROUNDS: usize = 5;

/// Agents and their cells, and our engine beside wasmtime on the same modules.
pub fn run(repo: &Path) -> Result<Report, Failure> {
    let manifest = repo.join("tests/bench/wasmtime/Cargo.toml");
    let target = tools::target(repo).join("wasmtime");
    tools::cargo(repo)
        .args(["build", "--release", "--locked", "--quiet", "--package", "daee-runtime"])
        .args(["--example", "sandbox"])
        .done()?;
    tools::cargo(repo)
        .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
        .args([&manifest])
        .args(["--target-dir"])
        .args([&target])
        .done()?;
    let ours = tools::release(repo).join("examples/sandbox");
    let theirs = target.join("release/daee-bench-wasmtime");

    let folder = tempfile::tempdir().map_err(disk)?;
    let modules = repo.join("crates/daee-runtime/benches/modules");
    let image = fs::read_to_string(modules.join("image.wat")).map_err(disk)?;
    let mut files = Vec::new();
    for (name, mib) in [("image.wat", 4), ("big.wat", 64)] {
        let path = folder.path().join(name);
        fs::write(&path, filled(&image, mib)).map_err(disk)?;
        files.push(path);
    }
    files.extend([modules.join("work.wat"), tools::quickjs(repo)?]);

    let agents = said(&ours, "agents", &files)?;
    let mut engines = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        engines[0].push(said(&ours, "engine", &files)?);
        engines[1].push(said(&theirs, "engine", &files)?);
    }
    let [ours, theirs] = engines.map(|rounds| medians(&rounds));
    report(&agents, &ours, &theirs).map_err(|name| {
        Failure::new(format!("nothing was said of {name}"), "look at who prints it")
    })
}

type Figures = BTreeMap<String, f64>;

fn said(program: &PathBuf, part: &str, files: &[PathBuf]) -> Result<Figures, Failure> {
    let said = Run::new(program).args([part]).args(files).text()?;
    serde_json::from_str::<Value>(&said)
        .ok()
        .and_then(|said| {
            let figures = said.as_object()?.iter();
            figures.map(|(name, value)| Some((name.clone(), value.as_f64()?))).collect()
        })
        .ok_or_else(|| Failure::new(format!("no figures in {said}"), "look at who prints it"))
}

/// A module whose memory is all in use: one byte of each of its pages.
fn filled(template: &str, mib: usize) -> String {
    const PAGE_BYTES: usize = 4096;
    let pages = (0..mib << 20).step_by(PAGE_BYTES);
    let data: String =
        pages.map(|page| format!("(data (i32.const {}) \"\\01\")\n", page + 64)).collect();
    template.replace("PAGES", &(mib * 16).to_string()).replace("DATA", &data)
}

fn medians(rounds: &[Figures]) -> Figures {
    let names = rounds.first().into_iter().flat_map(Figures::keys);
    names
        .map(|name| {
            let mut values: Vec<_> = rounds.iter().filter_map(|round| round.get(name)).collect();
            values.sort_by(|one, other| one.total_cmp(other));
            (name.clone(), *values[values.len() / 2])
        })
        .collect()
}

/// Names of figures that both engines have, and how they are called here.
const BESIDE: &[(&str, &str, &str)] = &[
    ("start us", "create and first call, 4 MiB image", "us"),
    ("big start us", "create and first call, 64 MiB image", "us"),
    ("idle KiB", "private memory of an idle instance", "KiB"),
    ("call ns", "warm call", "ns"),
    ("touch ns", "warm call that writes four pages", "ns"),
    ("host call ns", "host call", "ns"),
];
const WORK: &[(&str, &str)] = &[
    ("sha256", "SHA-256"),
    ("fib", "recursive fib"),
    ("loop", "a loop"),
    ("scripts", "a JavaScript engine"),
];
/// Figures of agents, as the example names them, with the unit last.
const AGENTS: &[&str] = &[
    "sandbox level",
    "turn in process us",
    "turn us",
    "start in a warm cell ms",
    "start in a cold cell ms",
    "hibernated with 64 MiB, to its next answer ms",
    "a checkpoint of 64 MiB, to its first answer ms",
    "an endless turn over its wall time ms",
    "99 of 100 turns within us",
    "beside an agent that loops us",
    "1,000 agents alive after s",
    "private memory of an idle cell KiB",
    "10,000 hibernated, KiB each",
];
const UNITS: &[&str] = &["ns", "us", "ms", "s", "KiB"];

/// What was measured, or the name of what was not.
fn report(agents: &Figures, ours: &Figures, theirs: &Figures) -> Result<Report, String> {
    let get = |of: &Figures, name: &str| of.get(name).copied().ok_or(name.to_owned());
    if get(ours, "scripts said bytes")? != get(theirs, "scripts said bytes")? {
        return Err("the same output of the same script".to_owned());
    }
    let mut report = Report::new("sandbox");
    for name in AGENTS {
        let (shown, unit) = match name.rsplit_once(' ') {
            Some((shown, unit)) if UNITS.contains(&unit) => (shown, unit),
            _ => (*name, ""),
        };
        report.figure(shown, get(agents, name)?, unit);
    }
    for name in ["100,000 cycles, resident KiB more", "100,000 cycles, address space KiB more"] {
        report.figure(name.replace(" KiB", ""), get(ours, name)?, "KiB");
    }
    for (name, shown, unit) in BESIDE {
        let (ours, theirs) = (get(ours, name)?, get(theirs, name)?);
        report.figure(*shown, ours, unit);
        report.figure(format!("{shown}, wasmtime"), theirs, unit);
        report.ratio(*shown, ours / theirs);
    }
    for (name, shown) in WORK {
        for (whose, figures) in [("", ours), (", wasmtime", theirs)] {
            let bare = get(figures, &format!("{name} us"))?;
            let metered = get(figures, &format!("{name}, metered us"))?;
            report.figure(format!("{shown}{whose}"), bare / 1000.0, "ms");
            report.figure(format!("{shown}{whose}, metered"), metered / 1000.0, "ms");
            report.ratio(format!("{shown}{whose}, what metering costs"), metered / bare);
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_is_filled_to_its_last_page() {
        let text = filled("PAGES: DATA", 1);
        assert!(text.starts_with("16: (data (i32.const 64)"), "{text:.40}");
        assert_eq!(text.matches("data").count(), 256);
        assert!(text.contains("(i32.const 1044544)"));
    }

    #[test]
    fn what_is_missing_is_named_and_two_scripts_are_no_measure() {
        let figures = |text: &str| serde_json::from_str::<Figures>(text).unwrap();
        let said = figures(r#"{"scripts said bytes": 9}"#);
        let named = |ours, theirs| report(&Figures::new(), ours, theirs).err().unwrap();
        assert_eq!(named(&said, &said), "sandbox level");
        let other = figures(r#"{"scripts said bytes": 8}"#);
        assert_eq!(named(&said, &other), "the same output of the same script");
    }
}
