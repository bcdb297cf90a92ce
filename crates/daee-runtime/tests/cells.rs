//! Agents in jailed processes, from outside. This program is started again for each cell, so it has a `main`
//! of its own that calls `child_main` first.

mod common;

use common::{Bench, check_script, script};
use daee_runtime::{Isolation, Outcome};

fn main() {
    daee_runtime::child_main();
    common::run(&[("a_reactor_keeps_what_it_was_told", a_reactor_keeps_what_it_was_told)]);
}

fn a_reactor_keeps_what_it_was_told() {
    let bench = Bench::new(Isolation::Process);
    let mut agent = bench.start(include_str!("guests/script.wat"));
    assert!(agent.cell_pid().is_some());
    check_script(&mut agent, &[("state.set", r#"{"key":"a"}"#, b"1")], &[(6, "{}", b"")]);
    check_script(&mut agent, &[("state.get", r#"{"key":"a"}"#, b"")], &[(7, "{}", b"1")]);
    let turned = script(&mut agent, &[]);
    assert_eq!(turned.outcome, Outcome::Done);
}
