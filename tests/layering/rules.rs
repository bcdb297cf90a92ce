//! The rules of `docs/architecture.md` as functions from what is there to what is wrong with it.

use std::path::Path;

use crate::workspace::{Dependency, Member, Workspace};

/// Where each member stands. A dependency points to a lower number.
const LAYERS: &[(&str, Place)] = &[
    ("daee-types", Place::Layer(0)),
    ("daee-manifest", Place::Layer(1)),
    ("daee-artifact", Place::Layer(1)),
    ("daee-policy", Place::Layer(1)),
    ("daee-market", Place::Layer(1)),
    ("daee-lifecycle", Place::Layer(1)),
    ("daee-state", Place::Layer(1)),
    ("daee-transcript", Place::Layer(1)),
    ("daee-chain", Place::Layer(2)),
    ("daee-ipfs", Place::Layer(2)),
    ("daee-http", Place::Layer(2)),
    ("daee-egress", Place::Layer(2)),
    ("daee-store", Place::Layer(2)),
    ("daee-runtime", Place::Layer(2)),
    ("daee-signer", Place::Layer(2)),
    ("daee-devnet", Place::Layer(2)),
    ("daee-verdict", Place::Layer(2)),
    ("daee-host", Place::Layer(3)),
    ("daee-client", Place::Layer(3)),
    ("daee-testkit", Place::Layer(3)),
    ("daee-verify", Place::Layer(4)),
    ("daee-deploy", Place::Layer(4)),
    ("daee-node", Place::Layer(4)),
    ("daee-tests", Place::Layer(TESTS)),
    ("daee-e2e", Place::Layer(TESTS)),
    ("daee-fuzz", Place::Layer(TESTS)),
    ("daee-agent", Place::Outside),
    ("xtask", Place::Outside),
];

/// The packages under `tests/` stand above everything, and nothing stands on them.
const TESTS: u8 = 5;

/// Members that may know one neighbour of their own layer, and why.
const NEIGHBOURS: &[(&str, &str)] = &[
    // A manifest is read into permissions, so that a wrong one is refused with its line.
    ("daee-manifest", "daee-policy"),
    // HTTP is the floor of layer 2: who speaks it does so within the same bounds.
    ("daee-ipfs", "daee-http"),
    ("daee-egress", "daee-http"),
    ("daee-devnet", "daee-http"),
    ("daee-chain", "daee-http"),
    // Who signed a package is part of the verdict on it.
    ("daee-verdict", "daee-signer"),
];

/// Dependencies that one crate hides behind its own types, so that replacing them touches one crate.
/// A name that ends in `*` stands for a family.
const HOMES: &[(&str, &[&str])] = &[
    ("wasmer*", &["daee-runtime"]),
    // Blocks and transactions as Ethereum encodes them: the development chain makes what a client reads,
    // and writing that again would mean two encoders to keep right.
    ("alloy-consensus", &["daee-chain", "daee-devnet"]),
    ("alloy-eips", &["daee-chain", "daee-devnet"]),
    ("alloy*", &["daee-chain"]),
    ("revm*", &["daee-devnet"]),
    ("redb", &["daee-store"]),
    ("hyper*", &["daee-http"]),
    ("axum*", &["daee-http"]),
    ("rustls*", &["daee-http"]),
    ("tokio-rustls", &["daee-http"]),
    ("granit-parser", &["daee-manifest"]),
    ("serde-saphyr", &["daee-manifest"]),
    // A second opinion is no home: what fuzzing finds is compared with it, and examples for pipelines are
    // read with it.
    ("serde_yaml", &["daee-manifest", "daee-fuzz", "daee-verify"]),
    ("hickory-*", &["daee-egress"]),
    ("psl", &["daee-policy"]),
    ("k256", &["daee-signer"]),
    ("aes", &["daee-signer"]),
    ("ctr", &["daee-signer"]),
    ("pbkdf2", &["daee-signer"]),
    ("salsa20", &["daee-signer"]),
    ("rpassword", &["daee-signer"]),
    ("cid", &["daee-artifact", "daee-ipfs"]),
    ("multihash", &["daee-artifact", "daee-ipfs"]),
    ("seccompiler", &["daee-runtime"]),
    ("landlock", &["daee-runtime"]),
];

/// What the logic of layers 0 and 1 is not linked with, however deep: runtimes, sockets, engines.
const KEPT_OUT_OF_LOGIC: &[&str] =
    &["tokio", "mio", "hyper", "reqwest", "wasmer", "alloy", "revm", "redb"];

/// What others embed without the rest of us: how many crates each is linked with at most, and none of these.
const EMBEDDED: &[(&str, usize)] = &[("daee-runtime", 290)];
const KEPT_OUT_OF_EMBEDDED: &[&str] =
    &["tokio", "mio", "hyper", "rustls", "reqwest", "alloy", "revm", "redb", "libp2p"];

/// What the sources of layers 0 and 1 do not say: they decide, and waiting is for others.
const UNSAID_IN_LOGIC: &[&str] = &[
    "std::fs",
    "std::process",
    "std::thread",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "ToSocketAddrs",
    "SystemTime",
    "Instant",
    "async fn",
];

/// Who may switch the lint off, module by module: the cell, the mapped store, and the guest's two imports.
const UNSAFE_ALLOWED: &[&str] = &["daee-runtime", "daee-store", "daee-agent"];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Layer(u8),
    /// Built on its own: knows no crate of ours, and none of ours knows it.
    Outside,
}

/// Layer order, homes and reach of every member.
pub fn graph(workspace: &Workspace) -> Vec<String> {
    workspace.members.iter().flat_map(|member| member_graph(workspace, member)).collect()
}

/// What a member shows first: README, crate documentation, description, shared lints.
pub fn front_page(
    member: &Member,
    readme: &str,
    library: Option<&str>,
    manifest: &str,
) -> Vec<String> {
    let name = &member.name;
    let mut found = Vec::new();
    let mut require = |holds: bool, what: &str| {
        if !holds {
            found.push(format!("{name}: {what}"));
        }
    };
    let description = &member.description;
    require(!description.is_empty(), "Cargo.toml has no description");
    require(!description.ends_with('.'), "the description in Cargo.toml ends in a full stop");
    require(imperative(description), "the description does not say what to do with the crate");
    require(
        readme.starts_with(&format!("# {name}\n\n{description}.")),
        "README.md does not open with the name and the description as its first sentence",
    );
    require(
        manifest.contains("[lints]\nworkspace = true"),
        "Cargo.toml does not inherit the lints",
    );
    if let Some(library) = library {
        require(
            library.starts_with("#![doc = include_str!(\"../README.md\")]"),
            "src/lib.rs does not open with README.md as its documentation",
        );
        // A package of tests is an example from end to end.
        let tests = place(name) == Some(Place::Layer(TESTS));
        require(tests || has_doc_test(readme), "README.md has no example that is tested");
    }
    found
}

/// What the sources of a member say that its place forbids. `files` are Rust sources without their tests.
pub fn sources(name: &str, files: &[(&Path, &str)]) -> Vec<String> {
    let logic = matches!(place(name), Some(Place::Layer(0 | 1)));
    let mut found = Vec::new();
    for (path, text) in files {
        let path = path.display();
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with("//")) {
            if logic && let Some(word) = UNSAID_IN_LOGIC.iter().find(|word| says(line, word)) {
                found.push(format!("{path}: logic does not say `{word}`"));
            }
            let attribute = line.starts_with("#[") || line.starts_with("#![");
            if attribute && line.contains("unsafe_code") && !UNSAFE_ALLOWED.contains(&name) {
                found.push(format!("{path}: unsafe code has no place in {name}"));
            }
        }
    }
    let spawns = |(_, text): &&(&Path, &str)| text.contains("Command::new(");
    let spawning: Vec<_> = files.iter().filter(spawns).map(|(path, _)| path.display()).collect();
    if spawning.len() > 1 {
        let all: Vec<_> = spawning.iter().map(ToString::to_string).collect();
        found.push(format!("{name}: processes start in more than one module: {}", all.join(", ")));
    }
    found
}

/// The part of a source file that ships: everything before its tests.
pub fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

fn member_graph(workspace: &Workspace, member: &Member) -> Vec<String> {
    let name = &member.name;
    let Some(place) = place(name) else {
        return vec![format!("{name}: has no place; give it one in tests/layering/rules.rs")];
    };
    let mut found = Vec::new();
    for dependency in &member.dependencies {
        let own = workspace.members.iter().any(|other| other.name == dependency.name);
        if own && !may_know(name, place, dependency) {
            found.push(format!("{name}: must not depend on {}", dependency.name));
        }
        if let Some(homes) = homes(&dependency.name)
            && !homes.contains(&name.as_str())
        {
            found.push(format!(
                "{name}: {} lives in {} alone",
                dependency.name,
                homes.join(" and ")
            ));
        }
    }
    if let Place::Layer(0 | 1) | Place::Outside = place {
        for foreign in KEPT_OUT_OF_LOGIC.iter().filter(|foreign| member.reaches.contains(**foreign))
        {
            found.push(format!("{name}: is linked with {foreign}"));
        }
    }
    if let Some((_, most)) = EMBEDDED.iter().find(|(embedded, _)| embedded == name) {
        let reaches = |foreign: &&&str| member.reaches.contains(**foreign);
        for foreign in KEPT_OUT_OF_EMBEDDED.iter().filter(reaches) {
            found.push(format!("{name}: is linked with {foreign}"));
        }
        let count = member.reaches.len();
        if count > *most {
            found.push(format!("{name}: is linked with {count} crates, at most {most} may be"));
        }
    }
    found
}

fn may_know(name: &str, own: Place, dependency: &Dependency) -> bool {
    let (Place::Layer(from), Some(Place::Layer(to))) = (own, place(&dependency.name)) else {
        return false;
    };
    // Tests may bring a neighbour as the real other side, or the kit, which stands above what it helps to test.
    let in_tests = dependency.dev && (to == from || dependency.name == "daee-testkit");
    to < from || in_tests || NEIGHBOURS.contains(&(name, &dependency.name))
}

fn place(name: &str) -> Option<Place> {
    LAYERS.iter().find(|(member, _)| *member == name).map(|(_, place)| *place)
}

fn homes(dependency: &str) -> Option<&'static [&'static str]> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(family) => dependency.starts_with(family),
        None => dependency == pattern,
    };
    HOMES.iter().find(|(pattern, _)| fits(pattern)).map(|(_, homes)| *homes)
}

/// A sentence that tells the reader to do something starts with a verb; these are how the others start.
fn imperative(sentence: &str) -> bool {
    let first = sentence.split(' ').next().unwrap_or_default();
    !["", "A", "An", "The", "This", "It", "Our", "Library", "Crate"].contains(&first)
}

fn has_doc_test(readme: &str) -> bool {
    readme.lines().any(|line| matches!(line, "```" | "```rust" | "```rust,no_run" | "```no_run"))
}

/// Whether `word` stands in `line` as a word of its own: `Instant` is not in `Instantiate`.
fn says(line: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(joins) && !line[at + word.len()..].starts_with(joins))
}
