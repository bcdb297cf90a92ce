//! What hostile input costs: `cargo run --release -p daee-manifest --example cost`.

#[path = "../tests/hostile/mod.rs"]
mod hostile;

use std::time::Instant;

use daee_manifest::Manifest;

const ROUNDS: usize = 5;

fn main() {
    let mut costs: Vec<(f64, &str, usize)> = Vec::new();
    for (name, yaml) in hostile::all() {
        let mut worst = 0_f64;
        let mut problems = 0;
        for _ in 0..ROUNDS {
            #[expect(
                clippy::disallowed_methods,
                reason = "an example measures, and decides nothing"
            )]
            let begun = Instant::now();
            problems = Manifest::read(&yaml).map_or_else(|problems| problems.len(), |_| 0);
            worst = worst.max(begun.elapsed().as_secs_f64() * 1e3);
        }
        costs.push((worst, name, problems));
    }
    costs.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("{} inputs of 64 KiB, the worst of {ROUNDS} rounds each", costs.len());
    for (millis, name, problems) in costs.iter().take(10) {
        println!("{millis:8.3} ms  {problems:>4} problems  {name}");
    }
}
