//! The front page tells the limits as they are.

use daee_runtime::{CompileLimits, Launch, Limits, Outcome};
use daee_types::Fault;

/// The row of a limit: its default, and the cells behind it.
fn row(name: &str, at: usize) -> (u64, String) {
    let page = include_str!("../README.md");
    let rows = page.lines().filter(|line| line.starts_with(&format!("| {name} |")));
    let row = rows.clone().nth(at).unwrap_or_else(|| panic!("{name} has no row {at}"));
    let mut cells = row.trim_matches('|').split('|').map(str::trim).skip(1);
    let number = cells.next().unwrap().replace(',', "");
    (number.parse().unwrap(), cells.collect::<Vec<_>>().join(" | "))
}

fn check(name: &str, at: usize, default: u64, says: &[&str]) {
    let (told, rest) = row(name, at);
    assert_eq!(told, default, "{name}");
    for part in says {
        assert!(rest.contains(part), "{name}: {rest}");
    }
}

#[test]
fn every_limit_is_on_the_front_page_with_its_default_and_its_end() {
    // No field is left out: a new one does not compile here.
    let Limits {
        fuel_turn,
        wall_turn_millis,
        memory_max,
        table_elements_max,
        log_turn_max,
        door_frame_max,
        door_calls_max,
    } = Limits::default();
    check("`fuel_turn`", 0, fuel_turn, &["Outcome::Fuel", "developer"]);
    check("`wall_turn_millis`", 0, wall_turn_millis, &["Outcome::Wall", "not reproducible"]);
    check("`memory_max`", 0, memory_max.0 >> 20, &["MiB", "Outcome::Memory"]);
    check("`table_elements_max`", 0, table_elements_max.into(), &["Outcome::Table"]);
    check("`log_turn_max`", 0, log_turn_max.0 >> 10, &["KiB", "goes on"]);
    check("`door_frame_max`", 0, door_frame_max.0 >> 20, &["MiB", "-4 `limit`"]);
    check("`door_calls_max`", 0, door_calls_max.into(), &["-4 `limit`"]);
    for outcome in [Outcome::Fuel, Outcome::Wall, Outcome::Memory, Outcome::Table, Outcome::Stack] {
        assert_eq!(outcome.fault(), Some(Fault::Developer));
        assert_eq!(outcome.reproducible(), outcome != Outcome::Wall);
    }

    let CompileLimits { wall_millis, cpu_seconds, memory_max, code_max } = CompileLimits::default();
    check("`wall_millis`", 0, wall_millis, &["milliseconds"]);
    check("`cpu_seconds`", 0, cpu_seconds, &["seconds"]);
    check("`memory_max`", 1, memory_max.0 >> 20, &["MiB"]);
    check("`code_max`", 0, code_max.0 >> 20, &["MiB"]);
}

#[test]
fn the_quota_is_what_a_launch_begins_with() {
    let wasm = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (export "daee_turn") (result i32) (i32.const 0)))"#,
    )
    .unwrap();
    let hash = daee_types::ArtifactHash::of(&wasm);
    let runtime = daee_runtime::Runtime::new(daee_runtime::RuntimeConfig::in_process()).unwrap();
    let artifact = daee_artifact::Artifact::fetched(wasm).verify(&hash).unwrap();
    let launch = Launch::new(runtime.prepare(&artifact, None).unwrap());
    check("[`Launch::quota`]", 0, launch.quota.0 >> 20, &["MiB", "-4 `limit`", "developer"]);
}
