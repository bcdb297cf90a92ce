//! Measurements: each a table for people, or one JSON object for scripts.

mod gas;
mod sandbox;
mod start;
mod turn;
mod verify;

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::failure::Failure;
use crate::tools;

#[derive(Clone, Copy, clap::ValueEnum)]
pub enum Name {
    /// Gas of each call of the contracts
    Gas,
    /// Agents and their cells, and the engine beside wasmtime
    Sandbox,
    /// An agent, from its verified and compiled artifact to the end of its first turn
    Start,
    /// A request to a running agent's endpoint
    Turn,
    /// `daee-verify` beside `openssl dgst -sha256`
    Verify,
}

pub fn run(repo: &Path, name: Name, json: bool) -> Result<(), Failure> {
    let report = match name {
        Name::Gas => gas::run(repo)?,
        Name::Sandbox => sandbox::run(repo)?,
        Name::Start => start::run(repo)?,
        Name::Turn => turn::run(repo)?,
        Name::Verify => verify::run(repo)?,
    };
    if json {
        println!("{}", report.json());
    } else {
        print!("{}", report.table());
    }
    Ok(())
}

/// Builds the programs, and what stands in for their parts: all at once, for another set of packages would have
/// other features, and most of the dependencies would be built again.
fn build(repo: &Path) -> Result<(), Failure> {
    let packages = ["daee-node", "daee-deploy", "daee-verify", "daee-host", "daee-http"];
    tools::cargo(repo)
        .args(["build", "--release", "--locked", "--quiet", "--bins"])
        .args(packages.iter().flat_map(|package| ["--package", package]))
        .args(["--example", "start", "--example", "answer"])
        .done()
}

/// What one bench found. Ratios compare two figures of the same run: they hold on a noisy machine.
pub struct Report {
    name: &'static str,
    figures: Vec<Figure>,
    ratios: Vec<Figure>,
}

struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
}

impl Report {
    pub fn new(name: &'static str) -> Report {
        Report { name, figures: Vec::new(), ratios: Vec::new() }
    }

    pub fn figure(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.figures.push(Figure { name: name.into(), value, unit });
    }

    pub fn ratio(&mut self, name: impl Into<String>, value: f64) {
        self.ratios.push(Figure { name: name.into(), value, unit: "" });
    }

    pub fn is_empty(&self) -> bool {
        self.figures.is_empty()
    }

    fn json(&self) -> Value {
        let object = |figures: &[Figure], with_unit: bool| -> Map<String, Value> {
            let key = |figure: &Figure| match with_unit {
                true => key(&format!("{} {}", figure.name, figure.unit)),
                false => key(&figure.name),
            };
            figures.iter().map(|figure| (key(figure), json!(figure.value))).collect()
        };
        json!({
            "bench": self.name,
            "figures": object(&self.figures, true),
            "ratios": object(&self.ratios, false),
        })
    }

    fn table(&self) -> String {
        let rows = self.figures.iter().chain(&self.ratios);
        let width = rows.clone().map(|row| row.name.len()).max().unwrap_or_default();
        // Whole numbers stand over the point.
        let value = |value: f64| match value.fract() == 0.0 {
            true => format!("{value:>8.0}    "),
            false => format!("{value:>12.3}"),
        };
        let line =
            |row: &Figure| format!("{:<width$} {} {}\n", row.name, value(row.value), row.unit);
        rows.map(|row| line(row).trim_end().to_owned() + "\n").collect()
    }
}

/// A name as scripts like it: words with one underscore between two.
fn key(name: &str) -> String {
    let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("_")
}

fn disk(error: std::io::Error) -> Failure {
    Failure::new(error.to_string(), "make room in the temporary folder")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_one_object_with_units_in_its_keys() {
        let mut report = Report::new("verify");
        report.figure("openssl", 0.5, "GB/s");
        report.figure("runs", 5.0, "");
        report.ratio("verify over openssl, here", 0.9);
        let expected = json!({
            "bench": "verify",
            "figures": {"openssl_GB_s": 0.5, "runs": 5.0},
            "ratios": {"verify_over_openssl_here": 0.9},
        });
        assert_eq!(report.json(), expected);
        let table = "openssl                          0.500 GB/s\n\
            runs                             5\n\
            verify over openssl, here        0.900\n";
        assert_eq!(report.table(), table);
    }
}
