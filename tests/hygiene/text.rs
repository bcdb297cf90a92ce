//! What a tracked file must not say.

use std::path::Path;

/// What is wrong with one text file: another machine's paths, a registry's address, loose ends.
pub fn findings(path: &Path, text: &str) -> Vec<String> {
    let lock = path.file_name().is_some_and(|name| name == "package-lock.json");
    let mut found = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let mut say = |what: &str| found.push(format!("{}:{}: {what}", path.display(), at + 1));
        if names_a_machine(line) {
            say("names a path of somebody's machine");
        }
        // npm writes its public address into the lock file and reads it as "the registry that is configured".
        if words(REGISTRIES).any(|host| line.contains(&host))
            && !(lock && line.contains(&joined(&["registry.", "npmjs.org"])))
        {
            say("names a registry's address; a client knows its own");
        }
        if words(LOOSE_ENDS).any(|word| line.contains(&word)) {
            say("is not finished");
        }
    }
    found
}

// In two parts each, so that this file may be read by its own rule.
const HOMES: &[&[&str]] = &[&["/", "root/"], &["/", "home/"], &["/", "Users/"], &["/", "work/"]];
const REGISTRIES: &[&[&str]] = &[
    &["registry.", "npmjs.org"],
    &["static.", "crates.io"],
    &["index.", "crates.io"],
    &["deb.", "debian.org"],
    &["files.", "pythonhosted.org"],
    &["pypi.", "org"],
];
const LOOSE_ENDS: &[&[&str]] =
    &[&["TO", "DO"], &["FIX", "ME"], &["XX", "X"], &["#[", "ignore"], &["unimplemented", "!("]];

/// A home stands at the start of a path: `~/work/` and `https://host/home/` do not count.
fn names_a_machine(line: &str) -> bool {
    words(HOMES).any(|home| {
        line.match_indices(&home).any(|(at, _)| {
            let inside = |c: char| c.is_alphanumeric() || "._~-/$}*".contains(c);
            let named = line[at + home.len()..].starts_with(|c: char| c.is_ascii_alphanumeric());
            named && !line[..at].ends_with(inside)
        })
    })
}

fn words(list: &'static [&[&str]]) -> impl Iterator<Item = String> {
    list.iter().map(|parts| joined(parts))
}

fn joined(parts: &[&str]) -> String {
    parts.concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machines_path_is_found_and_a_url_is_not() {
        check(&["dir = \"/", "home/ann/x\""], 1);
        check(&["(/", "root/x)"], 1);
        check(&["https://host/", "home/ann"], 0);
        check(&["`/state` and `/app` are the guest's"], 0);
    }

    #[test]
    fn a_registrys_address_is_found() {
        check(&["curl https://static.", "crates.io/x"], 1);
        check(&["the crate is on crates.io"], 0);
        let line = ["\"resolved\": \"https://registry.", "npmjs.org/x\""].concat();
        assert_eq!(findings(Path::new("a/package-lock.json"), &line).len(), 0);
        assert_eq!(findings(Path::new("a/package.json"), &line).len(), 1);
    }

    #[test]
    fn a_loose_end_is_found() {
        check(&["// TO", "DO: later"], 1);
        check(&["#[", "ignore]"], 1);
        check(&["todo lists are a fine agent"], 0);
    }

    fn check(parts: &[&str], expected: usize) {
        let found = findings(Path::new("a.rs"), &parts.concat());
        assert_eq!(found.len(), expected, "{found:#?}");
    }
}
