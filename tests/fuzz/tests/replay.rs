//! Every seed and every input that once broke a promise, through its target again.

use std::fs;
use std::path::Path;

use daee_fuzz::{TARGETS, Target};

#[test]
fn seeds_keep_every_promise_and_lead_past_each_readers_door() {
    for target in TARGETS {
        let accepted = (target.seeds)().iter().filter(|seed| (target.run)(seed)).count();
        assert!(accepted > 0, "{}: no seed is accepted", target.name);
    }
}

#[test]
fn what_once_broke_a_promise_no_longer_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for entry in fs::read_dir(folder).expect("regressions is here") {
        let path = entry.unwrap().path();
        if !path.is_dir() {
            continue;
        }
        let target = path.file_name().unwrap().to_str().unwrap();
        for input in fs::read_dir(&path).unwrap() {
            let input = input.unwrap().path();
            // The name of the input that panics is the last line of the test's output.
            println!("{}", input.display());
            daee_fuzz::run(target, &fs::read(input).unwrap());
        }
    }
}

#[test]
fn each_target_has_a_program_of_its_name() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer");
    let programs = fs::read_dir(folder.join("targets")).unwrap();
    let name = |program: std::io::Result<fs::DirEntry>| program.unwrap().file_name().into_string();
    let mut names: Vec<_> = programs.map(|program| name(program).unwrap()).collect();
    names.sort();
    let targets: Vec<_> = TARGETS.iter().map(|target| format!("{}.rs", target.name)).collect();
    assert_eq!(names, targets);
    let listed = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    for Target { name, .. } in TARGETS {
        let program = fs::read_to_string(folder.join(format!("targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("daee_fuzz::run(\"{name}\", input)")), "{name}");
        assert!(listed.contains(&format!("path = \"targets/{name}.rs\"")), "{name} is not built");
    }
}
