//! Our reader beside `serde_yaml`, which reads YAML in another way, over manifests that were bent: whatever
//! both take must mean the same. The run is the same every time; `DAEE_MUTANTS` makes it longer.

use std::{env, fs, path::Path};

use daee_manifest::{Manifest, Problem, json_schema};
use serde_json::Value;

const MUTANTS: usize = 5_000;
const SEED: u64 = 0x0042_daee;

const REQUIRED: &str = "\
agent_id: acme.tools.echo@v1.0.0
resources: {cpu: 250m, memory: 64MiB}
entry_point: echo.wasm
artifact_hash: 93a44bbb96c751218e4c00d479e4c14358122a389acca16205b1e4d0dc5f9476
";

/// Fields that take almost any text, written in almost any way.
const FREE: &str = r#"description: >-
  A folded text, of
  three lines,

    and an indented one.
args:
  - -v
  - "double \"quoted\" \u20ac"
  - 'it''s quoted'
  - plain text with:colons inside and a#hash
  - plain text over
    two lines
  - |
    a block
      of text

env:
  A: plain
  B: "quoted"
  C: 'single'   # with a comment

  # and one above
  D: |+
    kept

  E: >2
      indented
    less
  F: "over
    lines"
  "G": x
a2a: {price: "Says a price", history: Says them all, raw: ''}
secrets: [a, "b", 'c',
  d ]
"#;

#[test]
fn whatever_two_readers_take_means_the_same_to_both() {
    let mutants = env::var("DAEE_MUTANTS").map_or(MUTANTS, |n| n.parse().expect("a number"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/good");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let good: Vec<String> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let schema = jsonschema::validator_for(&json_schema()).unwrap();
    Manifest::read(format!("{REQUIRED}{FREE}").as_bytes()).expect("what is bent is a manifest");

    let mut random = Random(SEED);
    let mut tally = [Tally::default(); BENDS.len()];
    let mut disagreements = Vec::new();
    for number in 0..mutants {
        let which = number % BENDS.len();
        // A bent name or hash is refused, and shows little: half of the bends are kept to free text.
        let (kept, mut bent) = match random.below(2) {
            0 => ("", random.one_of(&good).clone().into_bytes()),
            _ => (REQUIRED, FREE.as_bytes().to_vec()),
        };
        for _ in 0..=random.below(3) {
            if !bent.is_empty() {
                bent = BENDS[which].1(&mut random, bent);
            }
        }
        let yaml = [kept.as_bytes(), &bent].concat();
        let ours = Manifest::read(&yaml);
        let theirs = serde_yaml::from_slice::<Value>(&yaml);
        let tally = &mut tally[which];
        match (&ours, &theirs) {
            (Ok(_), Ok(_)) => tally.both += 1,
            (Ok(_), Err(_)) => tally.ours += 1,
            (Err(_), Ok(_)) => tally.theirs += 1,
            (Err(_), Err(_)) => tally.none += 1,
        }
        let ours = match ours {
            Ok(ours) => ours,
            Err(problems) => {
                let lines = yaml.split(|b| *b == b'\n').count() as u32;
                let within = |p: &Problem| {
                    let (from, to) = ((p.line, p.column), (p.end_line, p.end_column));
                    (1, 1) <= from && from <= to && p.end_line <= lines
                };
                assert!(problems.iter().all(within), "{problems:?}: {:?}", shown(&yaml));
                continue;
            }
        };
        let third = serde_saphyr::from_slice_with_options::<Value>(&yaml, strictest());
        if let Some(why) = disagree(&ours, theirs.ok().as_ref(), third.ok().as_ref(), &schema) {
            disagreements.push(format!("{why}: {:?}", shown(&yaml)));
        }
    }
    println!(
        "seed {SEED:#x}, {mutants} mutants, taken by: both | us alone | serde_yaml alone | none"
    );
    for ((name, _), Tally { both, ours, theirs, none }) in BENDS.iter().zip(tally) {
        println!("{name:<12} {both:>6} {ours:>6} {theirs:>6} {none:>6}");
        // Each kind of bend reaches both what is still a manifest and what is none.
        let enough = mutants / BENDS.len() / 50;
        assert!(both > enough && theirs + none > enough, "{name} shows nothing");
    }
    let both: usize = tally.iter().map(|tally| tally.both).sum();
    println!("{both} compared, {} disagreements", disagreements.len());
    assert!(both > mutants / 6, "{both} of {mutants} were compared");
    assert!(disagreements.is_empty(), "{:#?}", &disagreements[..disagreements.len().min(5)]);
}

fn shown(yaml: &[u8]) -> String {
    String::from_utf8_lossy(yaml).into_owned()
}

#[derive(Clone, Copy, Default)]
struct Tally {
    both: usize,
    ours: usize,
    theirs: usize,
    none: usize,
}

/// What other readers see in a manifest that we have taken and do not see in it. `theirs` is what
/// `serde_yaml` reads, if it does; `third` comes from a reader that must take it, too.
fn disagree(
    ours: &Manifest,
    theirs: Option<&Value>,
    third: Option<&Value>,
    schema: &jsonschema::Validator,
) -> Option<String> {
    let meant = |read: &Value| {
        let mut body = read.as_object()?.clone();
        let hash = body.remove("artifact_hash")?;
        let hash = hash.as_str()?.trim_start_matches("sha256:");
        (hash == ours.artifact_hash().to_string()).then_some(Value::Object(body))
    };
    let body: Value = serde_json::from_str(ours.canonical_body()).ok()?;
    if theirs.is_some_and(|theirs| meant(theirs).as_ref() != Some(&body)) {
        return Some(format!("serde_yaml reads {theirs:?}"));
    }
    if third.and_then(meant).as_ref() != Some(&body) {
        return Some(format!("serde-saphyr reads {third:?}"));
    }
    let refused = third.is_some_and(|third| !schema.is_valid(third));
    refused.then(|| "the schema refuses it".to_owned())
}

/// `serde-saphyr` in its strictest setting: what it refuses, we must refuse, too.
fn strictest() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_anchors: 0,
            max_aliases: 0,
            max_nodes: 2_000,
            max_depth: 9,
            max_documents: 1,
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        emit_comments: false,
    }
}

/// SplitMix64: the same numbers on every machine.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % n.max(1) as u64) as usize
    }
    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

type Bend = fn(&mut Random, Vec<u8>) -> Vec<u8>;

const BENDS: [(&str, Bend); 14] = [
    ("bytes", bytes),
    ("tokens", tokens),
    ("indentation", indentation),
    ("quotes", quotes),
    ("blocks", blocks),
    ("flow", flow),
    ("comments", comments),
    ("anchors", anchors),
    ("unicode", unicode),
    ("line ends", line_ends),
    ("scalars", scalars),
    ("lines", lines),
    ("keys", keys),
    ("documents", documents),
];

fn bytes(random: &mut Random, mut yaml: Vec<u8>) -> Vec<u8> {
    let at = random.below(yaml.len());
    let byte = random.below(256) as u8;
    match random.below(5) {
        0 => yaml[at] = byte,
        1 => yaml[at] = b' ' + byte % 95,
        2 => yaml.insert(at, b' ' + byte % 95),
        3 => drop(yaml.remove(at)),
        _ => yaml.insert(at, yaml[at]),
    }
    yaml
}

fn tokens(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    const TOKENS: [&str; 36] = [
        ":", ": ", " :", "- ", "-", "?", "? ", "#", " # ", "\"", "'", "''", "\\", "\\\n",
        "\\u00e4", "\\x41", "\n", "\n ", "\n\n", " ", "  ", "\t", "|", ">", "[", "]", "{", "}",
        ",", "[]", "{}", "@", "`", "%", "!", "a",
    ];
    let token = random.one_of(&TOKENS);
    insert(random, yaml, token)
}

fn indentation(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let space = *random.one_of(&[" ", "  ", "    ", "\t", " \t"]);
    let all = random.below(4) == 0;
    let less = random.below(3) == 0;
    on_lines(random, yaml, all, |line| match line.strip_prefix(space) {
        Some(rest) if less => rest.to_owned(),
        _ if all && !line.starts_with(' ') => line.to_owned(),
        _ => format!("{space}{line}"),
    })
}

fn quotes(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let way = random.below(6);
    on_values(random, yaml, |value| {
        let bare = value.trim().trim_matches(['"', '\'']);
        match way {
            0 => bare.to_owned(),
            1 => format!("\"{bare}\""),
            2 => format!("'{bare}'"),
            3 => format!("\"{bare}\\\n    {bare}\""),
            4 => format!("'{bare}\n\n    {bare}'"),
            _ => format!("{bare}\n    {bare}"),
        }
    })
}

fn blocks(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let style = *random.one_of(&["|", ">"]);
    let header = *random.one_of(&["", "", "-", "+", "2", "1-", "+1", " # why", "-+", "0"]);
    let text = *random.one_of(&[
        "\n    text",
        "\n    text\n    more",
        "\n    text\n\n    more\n",
        "\n      text\n    less",
        "\n    text\n      more\n    less",
        "\n\n    text\n\n\n",
        "\n    # text",
        "\n    a: b",
        "\n  \n    text",
        " text",
        "",
    ]);
    on_values(random, yaml, |_| format!("{style}{header}{text}"))
}

fn flow(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let way = random.below(10);
    on_values(random, yaml, |value| match way {
        0 => format!("[{value}]"),
        1 => format!("[{value}, b]"),
        2 => format!("[\n  {value},\n  b,\n  ]"),
        3 => format!("{{a: {value}}}"),
        4 => format!("{{a: {value}, b: {value}}}"),
        5 => format!("[a: {value}]"),
        6 => format!("{{{value}}}"),
        7 => value.replace(", ", ","),
        8 => value.replace(", ", "\n  , ").replace('[', "[ "),
        _ => value.replace(']', ", ]").replace('}', ",}"),
    })
}

fn comments(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let comment = *random.one_of(&["#", "# why", "#why", "# a: b", "# \u{e4}", "#\t"]);
    match random.below(4) {
        0 => on_lines(random, yaml, false, |line| format!("{line} {comment}")),
        1 => on_lines(random, yaml, false, |line| format!("{line}{comment}")),
        2 => on_lines(random, yaml, false, |line| format!("{line}\n{comment}")),
        _ => on_lines(random, yaml, false, |line| format!("    {comment}\n{line}")),
    }
}

fn anchors(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let token = *random.one_of(&[
        "&a ",
        "*a ",
        "!!str ",
        "!x ",
        "! ",
        "<<: ",
        "&",
        "*",
        "!",
        "!!binary ",
        "a&b",
        "a*b",
        "a!b",
        "\"&a\" ",
        "'*a' ",
    ]);
    match random.below(2) {
        0 => insert(random, yaml, token),
        _ => on_values(random, yaml, |value| format!("{token}{value}")),
    }
}

fn unicode(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let token = *random.one_of(&[
        "\u{e4}",
        "\u{a0}",
        "\u{85}",
        "\u{2028}",
        "\u{feff}",
        "\u{202e}",
        "\u{200b}",
        "\u{301}",
        "\u{1f600}",
        "\u{ff1a} ",
        "\u{3000}",
        "\u{2003}",
        "\u{d7ff}",
        "\u{fffd}",
        "\u{10ffff}",
        "\u{b}",
        "\u{c}",
        "\u{1680}",
    ]);
    insert(random, yaml, token)
}

fn line_ends(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&yaml).into_owned();
    match random.below(6) {
        0 => text.replace('\n', "\r\n").into(),
        1 => on_lines(random, yaml, false, |line| format!("{line}\r")),
        2 => text.trim_end().into(),
        3 => on_lines(random, yaml, false, |line| format!("{line}\n")),
        4 => on_lines(random, yaml, false, |line| format!("{line}  ")),
        _ => insert(random, yaml, "\r"),
    }
}

fn scalars(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    const PIECES: [&str; 44] = [
        "0", "1", "7", "00", "10", "_", ".", "-", "+", ":", "e", "E", "x", "o", "b", "f", "T", "Z",
        ",", "inf", "nan", "Inf", "NaN", "null", "true", "false", "yes", "No", "on", "Off", "y",
        "n", "~", "=", "<", "s", "m", "MiB", "2026", "-11-24", "10:00", "/", "*", " ",
    ];
    let pieces = random.below(5);
    let scalar: String = (0..=pieces).map(|_| *random.one_of(&PIECES)).collect();
    let seldom = random.below(3) == 0;
    on_values(random, yaml, |value| match seldom {
        true => format!("{}{scalar}", value.trim_end_matches(['"', '\''])),
        false => scalar.clone(),
    })
}

fn lines(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let text = String::from_utf8_lossy(&yaml).into_owned();
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let (one, other) = (random.below(lines.len()), random.below(lines.len()));
    match random.below(4) {
        0 => lines.insert(other, lines[one]),
        1 => drop(lines.remove(one)),
        2 => lines.swap(one, other),
        _ => lines[one..].rotate_left(1),
    }
    lines.concat().into()
}

fn keys(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let way = random.below(8);
    on_lines(random, yaml, false, |line| {
        let Some((key, value)) = line.split_once(':') else { return line.to_owned() };
        let indent = key.len() - key.trim_start().len();
        let (indent, key) = key.split_at(indent);
        match way {
            0 => format!("{indent}? {key}\n{indent}:{value}"),
            1 => format!("{indent}{key} :{value}"),
            2 => format!("{indent}{key}:{}", value.trim_start()),
            3 => format!("{indent}\"{key}\":{value}"),
            4 => format!("{indent}'{key}':{}", value.trim_start()),
            5 => format!("{indent}{key}:\n{indent}   {value}"),
            6 => format!("{indent}{key}:\t{value}"),
            _ => format!("{indent}{key}\n{indent}:{value}"),
        }
    })
}

fn documents(random: &mut Random, yaml: Vec<u8>) -> Vec<u8> {
    let line =
        *random.one_of(&["---", "...", "%YAML 1.2", "%TAG ! !", "--- ", "---\t# a", "--", "----"]);
    match random.below(3) {
        0 => [line.as_bytes(), b"\n", &yaml].concat(),
        1 => on_lines(random, yaml, false, |before| format!("{before}\n{line}")),
        _ => on_lines(random, yaml, false, |before| format!("{before}\n  {line}")),
    }
}

/// Puts a token where a character begins.
fn insert(random: &mut Random, yaml: Vec<u8>, token: &str) -> Vec<u8> {
    let mut text = String::from_utf8_lossy(&yaml).into_owned();
    let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
    let at = if places.is_empty() { 0 } else { *random.one_of(&places) };
    text.insert_str(at, token);
    text.into()
}

/// Writes one line, or all, anew.
fn on_lines(
    random: &mut Random,
    yaml: Vec<u8>,
    all: bool,
    bend: impl Fn(&str) -> String,
) -> Vec<u8> {
    let text = String::from_utf8_lossy(&yaml).into_owned();
    let at = random.below(text.lines().count());
    let bent = text.split('\n').enumerate().map(|(number, line)| match all || number == at {
        true => bend(line),
        false => line.to_owned(),
    });
    bent.collect::<Vec<_>>().join("\n").into()
}

/// Writes the value of one key, or one entry of a list, anew.
fn on_values(random: &mut Random, yaml: Vec<u8>, bend: impl Fn(&str) -> String) -> Vec<u8> {
    let text = String::from_utf8_lossy(&yaml).into_owned();
    let has_value = |line: &&str| line.contains(": ") || line.trim_start().starts_with("- ");
    let count = text.lines().filter(has_value).count();
    let at = random.below(count);
    let mut number = 0;
    let bent = text.split('\n').map(|line| {
        if !has_value(&line) {
            return line.to_owned();
        }
        number += 1;
        if number != at + 1 {
            return line.to_owned();
        }
        let (before, value) = line
            .split_once(": ")
            .unwrap_or_else(|| line.split_at(line.find("- ").unwrap_or(0) + 2));
        let colon = if line.contains(": ") { ": " } else { "" };
        format!("{before}{colon}{}", bend(value))
    });
    bent.collect::<Vec<_>>().join("\n").into()
}
