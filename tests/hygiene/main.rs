//! What holds for every file of the repository, whoever wrote it.

mod links;
mod text;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

#[test]
fn no_file_names_a_machine_or_a_registry_or_leaves_a_loose_end() {
    let mut read = 0;
    let mut findings = Vec::new();
    for file in daee_tests::tracked_files() {
        if let Ok(text) = fs::read_to_string(daee_tests::root().join(&file)) {
            read += 1;
            findings.extend(text::findings(&file, &text));
        }
    }
    assert!(read > 100, "the repository holds more text than {read} files");
    nothing_in(findings);
}

#[test]
fn every_link_between_documents_leads_somewhere() {
    let mut findings = Vec::new();
    for file in documents() {
        for link in links::of(&file, &read(&file)) {
            let target = daee_tests::root().join(&link.file);
            let named = |text: String| links::anchors(&text).contains(&link.anchor);
            if !target.exists() {
                findings.push(format!("{}: no {}", file.display(), link.file.display()));
            } else if !link.anchor.is_empty() && !named(read(&link.file)) {
                let (file, to, anchor) = (file.display(), link.file.display(), &link.anchor);
                findings.push(format!("{file}: no heading #{anchor} in {to}"));
            }
        }
    }
    nothing_in(findings);
}

#[test]
fn the_architecture_names_every_crate() {
    let map = read(Path::new("docs/architecture.md"));
    let crates = fs::read_dir(daee_tests::root().join("crates")).unwrap();
    let names = crates.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    nothing_in(names.filter(|name| !map.contains(&format!("`{name}`"))).collect());
}

#[test]
fn a_newcomer_finds_the_files_that_every_project_has() {
    for file in ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(read(Path::new(file)).len() > 200, "{file} says something");
    }
    let version = env!("CARGO_PKG_VERSION");
    assert!(read(Path::new("CHANGELOG.md")).contains(version), "no entry for {version}");
    let ci = fs::metadata(daee_tests::root().join(".ci/run")).expect(".ci/run is there");
    assert!(ci.permissions().mode() & 0o100 != 0, ".ci/run can be executed");
}

#[test]
fn nothing_large_is_committed() {
    const LARGEST: u64 = 2 * 1024 * 1024;
    let size = |file: &PathBuf| fs::metadata(daee_tests::root().join(file)).unwrap().len();
    let large = daee_tests::tracked_files().into_iter().filter(|file| size(file) > LARGEST);
    nothing_in(large.map(|file| file.display().to_string()).collect());
}

fn documents() -> Vec<PathBuf> {
    let files = daee_tests::tracked_files();
    files.into_iter().filter(|file| file.extension().is_some_and(|ext| ext == "md")).collect()
}

fn read(file: &Path) -> String {
    let path = daee_tests::root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn nothing_in(findings: Vec<String>) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
