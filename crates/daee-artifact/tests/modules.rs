//! Modules that run and modules that do not, as files that other implementations can read too. The first
//! lines of each say what it is, how it is to run, and the codes of what is wrong with it.

use std::{fs, path::PathBuf};

use daee_artifact::{ModuleReader, RunStyle, check_module};
use daee_types::Coded as _;

struct Vector {
    name: String,
    module: Vec<u8>,
    run: RunStyle,
    codes: Vec<String>,
}

fn vectors(kind: &str) -> Vec<Vector> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors/modules").join(kind);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    files.iter().map(vector).collect()
}

fn vector(file: &PathBuf) -> Vector {
    let text = fs::read_to_string(file).unwrap();
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let line = |key: &str| {
        let prefix = format!(";; {key}: ");
        text.lines().find_map(|line| line.strip_prefix(&prefix)).unwrap_or_default()
    };
    let run = match line("run") {
        "reactor" => RunStyle::Reactor,
        "resident" => RunStyle::Resident,
        "per-event" => RunStyle::PerEvent,
        other => panic!("{name}: run: {other:?}"),
    };
    let module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
    let codes = line("codes").split_whitespace().map(str::to_owned).collect();
    Vector { name, module, run, codes }
}

/// In pieces as well as whole.
fn codes(vector: &Vector) -> Vec<String> {
    let judged = check_module(&vector.module, Some(vector.run));
    for piece in [1, 7, 4096] {
        let mut reader = ModuleReader::new();
        vector.module.chunks(piece).for_each(|piece| reader.update(piece));
        assert_eq!(reader.finish(Some(vector.run)), judged, "{} in pieces of {piece}", vector.name);
    }
    judged.err().unwrap_or_default().iter().map(|problem| problem.code().to_owned()).collect()
}

#[test]
fn good_modules_pass() {
    let mut good = vectors("good");
    for (file, run) in [
        ("docs/examples/oracle/oracle.wasm", RunStyle::Reactor),
        ("docs/examples/oracle/oracle-v1.3.0.wasm", RunStyle::Reactor),
        ("docs/examples/oracle-c/oracle-c.wasm", RunStyle::Resident),
        ("tests/e2e/guests/tour/tour.wasm", RunStyle::Reactor),
        ("tests/e2e/guests/tour/tour-resident.wasm", RunStyle::Resident),
    ] {
        let module = fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(file));
        let module = module.unwrap_or_else(|error| panic!("{file}: {error}"));
        good.push(Vector { name: file.to_owned(), module, run, codes: Vec::new() });
    }
    assert!(good.len() >= 50 + 5, "{} are there", good.len());
    let mut modules: Vec<_> =
        good.iter().map(|vector| (&vector.module, vector.run as u8)).collect();
    modules.sort();
    modules.dedup();
    assert_eq!(modules.len(), good.len(), "all differ");
    for vector in &good {
        assert!(
            codes(vector).is_empty(),
            "{}: {:?}",
            vector.name,
            check_module(&vector.module, Some(vector.run))
        );
    }
}

#[test]
fn bad_modules_are_refused_for_what_is_wrong_with_them() {
    let bad = vectors("bad");
    assert!(bad.len() >= 50, "{} are there", bad.len());
    for vector in &bad {
        let problems = check_module(&vector.module, Some(vector.run)).err();
        assert_eq!(codes(vector), vector.codes, "{}: {problems:?}", vector.name);
        assert!(!vector.codes.is_empty(), "{} says no code", vector.name);
    }
}

#[test]
fn what_a_module_is_like_is_said() {
    let all = vectors("good");
    let facts = |name: &str| {
        let vector = all.iter().find(|vector| vector.name == format!("{name}.wat")).unwrap();
        check_module(&vector.module, Some(vector.run)).unwrap()
    };
    assert_eq!(facts("reactor-fetch").operations, ["http.fetch", "ipfs.read", "chain.publish"]);
    assert_eq!(facts("reactor-event").operations, ["event.next", "event.answer"]);
    assert!(facts("reactor-minimal").operations.is_empty());
    assert_eq!(
        (facts("memory-maximum").memory_pages, facts("memory-maximum").memory_pages_max),
        (1, Some(16))
    );
    assert_eq!(
        (facts("memory-large").memory_pages, facts("memory-large").memory_pages_max),
        (256, None)
    );
}
