//! What hostile input costs: `cargo run --release -p daee-manifest --example cost`.

#[path = "../tests/hostile/mod.rs"]
mod hostile;

use std::time::Instant;

use daee_manifest::{Manifest, Problem};
use daee_types::ArtifactHash;

const ROUNDS: usize = 5;

fn main() {
    let mut costs: Vec<(f64, &str, usize)> = Vec::new();
    for (name, yaml) in hostile::all() {
        let (mut worst, mut problems) = (0_f64, 0);
        for _ in 0..ROUNDS {
            let mut said = 0;
            let mut count = |found: Result<Manifest, Vec<Problem>>| {
                said += found.map_or_else(|problems| problems.len(), |_| 0);
            };
            worst = worst.max(millis(|| count(Manifest::read(&yaml))));
            worst = worst.max(millis(|| count(Manifest::from_body(&yaml, &ArtifactHash::of(b"")))));
            problems = said;
        }
        costs.push((worst, name, problems));
    }
    costs.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("{} inputs of 64 KiB, the worst of {ROUNDS} rounds each", costs.len());
    for (millis, name, problems) in costs.iter().take(10) {
        println!("{millis:8.3} ms  {problems:>4} problems  {name}");
    }
}

#[expect(clippy::disallowed_methods, reason = "an example measures, and decides nothing")]
fn millis(work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_secs_f64() * 1e3
}
