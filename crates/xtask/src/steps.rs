//! A run of named steps that stops at the first failure.

use std::time::{Duration, Instant};

use crate::failure::Failure;

#[derive(Default)]
pub struct Steps {
    done: Vec<(&'static str, Duration)>,
}

impl Steps {
    /// Runs one step between two lines that a reader of a long log can search for.
    #[expect(clippy::disallowed_methods, reason = "a step says how long it took")]
    pub fn step<T>(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        println!("\n==> {name}");
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        let end = if result.is_ok() { "ok" } else { "FAILED" };
        println!("<== {name}: {end} in {:.1} s", took.as_secs_f64());
        self.done.push((name, took));
        result
    }

    pub fn summary(&self) {
        println!();
        for (name, took) in &self.done {
            println!("{name:<12} {:>7.1} s", took.as_secs_f64());
        }
        let all: Duration = self.done.iter().map(|(_, took)| *took).sum();
        println!("{:<12} {:>7.1} s", "all", all.as_secs_f64());
    }
}
