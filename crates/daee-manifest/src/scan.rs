//! What is refused for how it is written: bytes and spellings that readers, terminals and people
//! take for different things.

use crate::{
    problem::{Place, Problem},
    raw::Written,
};

/// More problems than anyone reads; a file with so many is no manifest.
const PROBLEMS_MAX: usize = 100;

/// Looks at every byte once, before any YAML reader sees them. All problems, in order.
pub(crate) fn scan(bytes: &[u8], limit: usize) -> Result<&str, Vec<Problem>> {
    if bytes.len() > limit {
        let message = format!("larger than {limit} bytes, the most a manifest may have");
        return Err(vec![Problem::at(Place::START, "DAEE-M000", message)]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
        let (line, last) = before.split('\n').enumerate().last().unwrap_or_default();
        let place = Place { line: line as u32 + 1, column: last.chars().count() as u32 + 1 };
        vec![Problem::at(place, "DAEE-M001", "not UTF-8")]
    })?;

    let mut problems = Vec::new();
    let mut begun = false;
    for (line, content) in text.split('\n').enumerate() {
        let line = line as u32 + 1;
        let content = content.strip_suffix('\r').unwrap_or(content);
        for (column, c) in content.chars().enumerate() {
            if let Some(name) = forbidden(c).filter(|_| problems.len() < PROBLEMS_MAX) {
                let place = Place { line, column: column as u32 + 1 };
                let message = format!("U+{:04X} ({name}) is not allowed", c as u32);
                problems.push(Problem::at(place, "DAEE-M001", message));
            }
        }
        let place = Place { line, column: 1 };
        if content.starts_with('%') {
            problems.push(Problem::at(place, "DAEE-M002", "directives are not allowed"));
        }
        let marker = content.starts_with("---") || content.starts_with("...");
        if marker && (begun || content.trim_end() != "---") {
            problems.push(Problem::at(place, "DAEE-M002", "a manifest is one document"));
        }
        let content = content.trim_start();
        begun |= !content.is_empty() && !content.starts_with('#');
        if problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    if problems.is_empty() { Ok(text) } else { Err(problems) }
}

/// What is wrong with how a node is written; `value` is a scalar's.
pub(crate) fn written(place: Place, written: &Written<'_>, value: Option<&str>) -> Option<Problem> {
    let wrong = |message: String| Some(Problem::at(place, "DAEE-M006", message));
    if written.tagged {
        return wrong("tags are not allowed: every value is text".to_owned());
    }
    let value = value?;
    if let Some(message) = hidden(value) {
        return Some(Problem::at(place, "DAEE-M001", message));
    }
    if written.source.is_empty() && value.is_empty() {
        return wrong("there is no value here: write \"\" for an empty text".to_owned());
    }
    // Only a block's text can end in a line break that is not there.
    if written.cut_off && value.ends_with('\n') {
        return wrong(
            "end the file with a line break: readers differ on a block without".to_owned(),
        );
    }
    let plain = !written.source.starts_with(['"', '\'', '|', '>']);
    if written.resolved || plain && ambiguous(value) {
        let shown: String = value.chars().take(80).collect();
        return wrong(format!(
            "some readers take {shown} for something else than text: write \"{shown}\""
        ));
    }
    None
}

/// What a text holds that nobody sees, by an escape or from JSON.
pub(crate) fn hidden(value: &str) -> Option<String> {
    let found = value.chars().filter(|c| *c != '\n').find_map(|c| Some((c, forbidden(c)?)));
    found.map(|(c, name)| format!("U+{:04X} ({name}) is not allowed, escaped or not", c as u32))
}

/// Plain scalars that some YAML resolves to null, a boolean, a number, a date or a merge.
fn ambiguous(value: &str) -> bool {
    let lower = value.to_ascii_lowercase();
    let word = matches!(
        lower.as_str(),
        "" | "~" | "null" | "y" | "n" | "yes" | "no" | "on" | "off" | "true" | "false" | "=" | "<<"
    );
    let unsigned = lower.trim_start_matches(['+', '-']);
    let all = |digits: &str, among: fn(char) -> bool| {
        !digits.is_empty() && digits.chars().all(|c| c == '_' || among(c))
    };
    let based = [
        ("0x", char::is_ascii_hexdigit as fn(&char) -> bool),
        ("0o", char::is_ascii_digit),
        ("0b", char::is_ascii_digit),
    ];
    let radix = based.iter().any(|(prefix, digit)| {
        unsigned
            .strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c == '_' || digit(&c)))
    });
    // Decimal, octal, float, sexagesimal, date and time, of any YAML version.
    let number = unsigned.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit())
        && all(unsigned, |c| c.is_ascii_digit() || ".,:+-etz ".contains(c));
    // Some readers see a key where `?` or `:` stands before text without a space.
    let keyed = value.starts_with(['?', ':']);
    keyed || word || radix || number || matches!(unsigned, ".nan" | ".inf")
}

fn forbidden(c: char) -> Option<&'static str> {
    match c {
        '\t' => None,
        '\u{feff}' => Some("a byte order mark"),
        '\u{85}' | '\u{2028}' | '\u{2029}' => Some("a line end to some readers only"),
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{180e}' => {
            Some("a character of no width")
        }
        '\u{200e}' | '\u{200f}' | '\u{61c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}' => {
            Some("a mark that turns the reading direction")
        }
        '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}' => Some("a mark nobody sees"),
        c if c.is_control() => Some("a control character"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_any_yaml_takes_for_something_else_is_ambiguous() {
        for value in [
            "no",
            "Off",
            "~",
            "null",
            "TRUE",
            "y",
            "0e12",
            "1_000",
            "0x1F",
            "0o17",
            "0b1_0",
            "12:30:45",
            ".5",
            "+1",
            "-1.5e-3",
            ".inf",
            "-.INF",
            ".NaN",
            "2026-11-24",
            "2026-11-24T10:00:00Z",
            "1,000",
            "",
            "=",
            "<<",
            "007",
            "?a",
            ":a",
        ] {
            assert!(ambiguous(value), "{value}");
        }
        for value in [
            "nope",
            "a",
            "1.2.0-rc",
            "oracle.wasm",
            "93a44bbb96c7512",
            "60s",
            "256MiB",
            "250m",
            "0x",
            "TIP-3",
            "*/5 * * * *",
            "-v",
            "nullable",
            "..",
        ] {
            assert!(!ambiguous(value), "{value}");
        }
    }

    #[test]
    fn the_place_of_a_byte_that_is_no_text_is_named() {
        let problems = scan(b"a: b\n\xff", 100).unwrap_err();
        assert_eq!(problems[0].place(), Place { line: 2, column: 1 });
        let problems =
            scan("a: \u{e4}".as_bytes().strip_suffix(&[0xa4]).unwrap(), 100).unwrap_err();
        assert_eq!(problems[0].place(), Place { line: 1, column: 4 });
    }
}
