//! What is refused for how it is written: bytes and spellings that readers, terminals and people
//! take for different things.

use crate::problem::{Place, Problem, Span};

/// More problems than anyone reads; a file with so many is no manifest.
const PROBLEMS_MAX: usize = 100;

/// Looks at every byte once, before any YAML reader sees them. All problems, in order.
pub(crate) fn scan(bytes: &[u8], limit: usize) -> Result<&str, Vec<Problem>> {
    if bytes.len() > limit {
        let message = format!("larger than {limit} bytes, the most a manifest may have");
        return Err(vec![Problem::at(Span::START, "DAEE-M000", message)]);
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
        let (line, last) = before.split('\n').enumerate().last().unwrap_or_default();
        let span = on_line(line as u32 + 1, last.chars().count(), 1);
        vec![Problem::at(span, "DAEE-M001", "not UTF-8")]
    })?;

    let mut problems = Vec::new();
    let mut begun = false;
    for (line, content) in text.split_inclusive('\n').enumerate() {
        let line = line as u32 + 1;
        // A return alone ends a line to YAML and to nobody else, at the end of the file too.
        let ended = ["\r\n", "\n"].iter().find_map(|end| content.strip_suffix(*end));
        let content = ended.unwrap_or(content);
        for (column, c) in content.chars().enumerate() {
            if let Some(name) = forbidden(c).filter(|_| problems.len() < PROBLEMS_MAX) {
                let message = format!("U+{:04X} ({name}) is not allowed", c as u32);
                problems.push(Problem::at(on_line(line, column, 1), "DAEE-M001", message));
            }
        }
        let mut whole = |message| {
            let span = on_line(line, 0, content.trim_end().chars().count());
            problems.push(Problem::at(span, "DAEE-M002", message));
        };
        if content.starts_with('%') {
            whole("directives are not allowed");
        }
        let marker = content.starts_with("---") || content.starts_with("...");
        if marker && (begun || content.trim_end() != "---") {
            whole("a manifest is one document");
        }
        let nothing = content.starts_with('%') || content.trim_start().starts_with('#');
        begun |= !nothing && !content.trim_start().is_empty();
        if problems.len() >= PROBLEMS_MAX {
            break;
        }
    }
    if problems.is_empty() { Ok(text) } else { Err(problems) }
}

/// So many characters of a line, behind so many others.
fn on_line(line: u32, before: usize, characters: usize) -> Span {
    let column = before as u32 + 1;
    let end = Place { line, column: column + characters as u32 };
    Span::between(Place { line, column }, end)
}

/// A scalar and how it is written, as far as its meaning depends on it.
pub(crate) struct Written<'a> {
    pub value: &'a str,
    /// Without quotes, and no block.
    pub plain: bool,
    /// Nothing is written at all.
    pub missing: bool,
    /// It ends with the file, and the file with no line break.
    pub cut_off: bool,
}

/// What is wrong with how a scalar is written.
pub(crate) fn written(span: Span, written: &Written<'_>) -> Option<Problem> {
    let Written { value, plain, missing, cut_off } = *written;
    let wrong = |message: String| Some(Problem::at(span, "DAEE-M006", message));
    if let Some(message) = hidden(value) {
        return Some(Problem::at(span, "DAEE-M001", message));
    }
    if missing {
        return wrong("there is no value here: write \"\" for an empty text".to_owned());
    }
    // Only a block's text can end in a line break that is not there.
    if cut_off && value.ends_with('\n') {
        return wrong(
            "end the file with a line break: readers differ on a block without".to_owned(),
        );
    }
    if plain && ambiguous(value) {
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
        assert_eq!(problems[0].span().place(), Place { line: 2, column: 1 });
        let problems =
            scan("a: \u{e4}".as_bytes().strip_suffix(&[0xa4]).unwrap(), 100).unwrap_err();
        assert_eq!(problems[0].span().place(), Place { line: 1, column: 4 });
    }
}
