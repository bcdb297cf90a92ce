//! What tests in cells share. Their programs are started again for each cell, so they have a `main` of their own.

use daee_runtime::{Runtime, RuntimeConfig, Turned};

/// Runs tests one after another. An argument selects those whose name it is part of.
pub fn run(tests: &[(&str, fn())]) {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let mut failed = 0;
    let mut passed = 0;
    for (name, test) in tests.iter().filter(|(name, _)| chosen(name)) {
        let ok = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        *if ok { &mut passed } else { &mut failed } += 1;
    }
    let result = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {result}. {passed} passed; {failed} failed; 0 ignored");
    std::process::exit(i32::from(failed > 0));
}

/// A runtime whose cells are processes, with a cache that all tests share.
pub fn runtime() -> Runtime {
    thread_local! {
        static RUNTIME: (Runtime, tempfile::TempDir) = {
            let dir = tempfile::tempdir().expect("a folder");
            (Runtime::new(RuntimeConfig::new(dir.path(), [7; 32])).expect("a runtime"), dir)
        };
    }
    RUNTIME.with(|(runtime, _)| runtime.clone())
}

/// What a turn logged, the agent and the node.
pub fn logged(turned: &Turned) -> Vec<&str> {
    turned.commit.logs.iter().map(|line| line.text.as_str()).collect()
}
