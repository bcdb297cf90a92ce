//! Two sides of one format say the same: contracts and Rust, error codes and the crates that own them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use daee_types::Checkpoint;

const CONTRACTS: &str = "crates/daee-chain/contracts/src";

/// Whose letter it is. Scripts match on codes, so a letter never moves. The catalogue of rules explains those of
/// all.
const LETTERS: &[(&str, &str)] = &[
    ("crates/daee-manifest", "M"),
    ("crates/daee-artifact", "A"),
    ("crates/daee-policy", "P"),
    ("crates/daee-market", "K"),
    ("crates/daee-lifecycle", "L"),
    ("crates/daee-state", "T"),
    ("crates/daee-transcript", "X"),
    ("crates/daee-runtime", "R"),
    ("crates/daee-signer", "S"),
    ("crates/daee-chain", "C"),
    ("crates/daee-ipfs", "I"),
    ("crates/daee-egress", "E"),
    ("crates/daee-http", "H"),
    ("crates/daee-store", "D"),
    ("crates/daee-host", "N"),
    ("crates/daee-client", "U"),
    ("crates/daee-devnet", "B"),
    // What an upgrade widens has a letter of its own, and what running again shows.
    ("crates/daee-verdict", "VWJ"),
    ("bins/daee-deploy", "Y"),
];

#[test]
fn the_manager_hashes_checkpoints_as_the_type_says() {
    let manager = read(&format!("{CONTRACTS}/DaeeManager.sol"));
    assert!(manager.contains(&format!("\"{}\"", Checkpoint::TYPE)), "{}", Checkpoint::TYPE);
}

#[test]
fn the_interfaces_struct_has_the_fields_of_the_type_in_its_order() {
    let interface = read(&format!("{CONTRACTS}/interfaces/IDaeeManager.sol"));
    assert_eq!(fields_of("Checkpoint", &interface), fields_of_type(Checkpoint::TYPE));
}

#[test]
fn a_reordered_struct_is_found() {
    let text = "struct A {\n  uint64 seq; // the count\n  bytes32 epoch;\n}\n";
    assert_eq!(fields_of("A", text), ["uint64 seq", "bytes32 epoch"]);
    assert_ne!(fields_of("A", text), fields_of_type("A(bytes32 epoch,uint64 seq)"));
}

#[test]
fn an_error_code_has_the_letter_of_its_crate() {
    let mut seen = BTreeSet::new();
    let mut findings = Vec::new();
    for file in daee_tests::tracked_files() {
        let path = file.display().to_string();
        let Some((_, letters)) =
            LETTERS.iter().find(|(folder, _)| path.starts_with(&format!("{folder}/src/")))
        else {
            continue;
        };
        let catalogue = path.starts_with("crates/daee-verdict/src/rules");
        if catalogue || path.ends_with("/tests.rs") || path.contains("/tests/") {
            continue;
        }
        // Tests and documentation may name what a neighbour says.
        for code in codes(shipped(&read(&path))) {
            seen.insert(code.clone());
            if !letters.contains(&code["DAEE-".len()..][..1]) {
                findings.push(format!("{path}: {code} is not of letter {letters}"));
            }
        }
    }
    assert!(seen.len() > 50, "only {} codes were found", seen.len());
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}

#[test]
fn a_code_is_read_where_it_is_said_and_nowhere_else() {
    let text =
        "match e {\n  A => \"DAEE-P001\",\n  // \"DAEE-M001\"\n}\n#[cfg(test)]\n\"DAEE-X001\"";
    assert_eq!(codes(shipped(text)), ["DAEE-P001"]);
}

/// `uint64 seq` and so on, as a Solidity struct lists them.
fn fields_of(name: &str, text: &str) -> Vec<String> {
    let start = text.find(&format!("struct {name} {{")).expect("the struct is there");
    let body = &text[start..start + text[start..].find('}').expect("it ends")];
    let fields = body.lines().skip(1).filter_map(|line| line.split(';').next());
    fields.map(str::trim).filter(|field| !field.is_empty()).map(str::to_owned).collect()
}

/// The same of an EIP-712 type.
fn fields_of_type(name: &str) -> Vec<String> {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.expect("a type has fields").split(',').map(str::to_owned).collect()
}

fn codes(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|literal| literal.starts_with("DAEE-") && literal.len() == "DAEE-X000".len())
        .map(str::to_owned)
        .collect()
}

fn shipped(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or_default()
}

fn read(file: &str) -> String {
    let path = daee_tests::root().join(Path::new(file));
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{file}: {error}"))
}
