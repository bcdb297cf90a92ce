//! The compiler beside an interpreter, on modules that nobody wrote.

use daee_fuzz::engine;

/// Modules of one run; the environment can ask for more.
const MODULES: u64 = 300;

#[test]
fn compiled_and_interpreted_come_to_the_same() {
    let modules = std::env::var("DAEE_MODULES").ok().and_then(|modules| modules.parse().ok());
    let (mut made, mut loaded) = (0, 0);
    for seed in 1..=modules.unwrap_or(MODULES) {
        let Some((module, fuel)) = engine::module(&engine::noise(seed, 6000)) else { continue };
        made += 1;
        // The seed of a module that panics is the last line of the test's output.
        println!("seed {seed}");
        loaded += u64::from(engine::judge(&module, fuel));
    }
    println!("{loaded} of {made} modules ran on both");
    assert!(loaded * 2 > made, "{loaded} of {made}");
}
