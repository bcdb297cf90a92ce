use daee_artifact::ArtifactCid;
use daee_types::ArtifactHash;

const KEY: &str = "artifact_hash";

const CID: &str = "# cid: ";

/// The manifest with this hash in its place, everything else as it was: the value of the line that
/// begins with `artifact_hash`, or a new line after `entry_point`. `None` if neither is there, or the
/// value does not end on its line. Whoever takes the result reads it as a manifest again.
pub(crate) fn filled(yaml: &[u8], hash: &ArtifactHash) -> Option<Vec<u8>> {
    let yaml = std::str::from_utf8(yaml).ok()?;
    if let Some((at, line)) = line_of(yaml, KEY) {
        let (from, to) = value_of(line)?;
        let space = if line[..from].ends_with(':') { " " } else { "" };
        // A comment needs a space before it to be one.
        let behind = if line[to..].starts_with('#') { " " } else { "" };
        let (before, after) = (&yaml[..at + from], &yaml[at + to..]);
        return Some(format!("{before}{space}\"{hash}\"{behind}{after}").into_bytes());
    }
    let (at, line) = line_of(yaml, "entry_point")?;
    value_of(line)?;
    let end = end_of(line);
    let (before, after) = yaml.split_at(at + line.len());
    let after = after.strip_prefix('\n').unwrap_or(after);
    let before = before.trim_end_matches('\r');
    Some(format!("{before}{end}{KEY}: \"{hash}\"{end}{after}").into_bytes())
}

/// The manifest with this CID in the comment below `artifact_hash`, which is a line of its own, and with
/// everything else as it was. People and tools of theirs read it; no manifest has a CID.
pub(crate) fn noted(yaml: &[u8], cid: &ArtifactCid) -> Option<Vec<u8>> {
    let yaml = std::str::from_utf8(yaml).ok()?;
    let (at, line) = line_of(yaml, KEY)?;
    let end = end_of(line);
    let (before, rest) = yaml.split_at(at + line.len());
    let before = before.trim_end_matches('\r');
    let rest = rest.strip_prefix('\n').unwrap_or(rest);
    // One that stands there is of an earlier artifact.
    let after = match rest.strip_prefix(CID) {
        Some(old) => old.split_once('\n').map_or("", |(_, after)| after),
        None => rest,
    };
    Some(format!("{before}{end}{CID}{cid}{end}{after}").into_bytes())
}

fn end_of(line: &str) -> &'static str {
    if line.ends_with('\r') { "\r\n" } else { "\n" }
}

/// Where the line of a top-level key begins, and the line without its `\n`.
fn line_of<'a>(yaml: &'a str, key: &str) -> Option<(usize, &'a str)> {
    let mut at = 0;
    for line in yaml.split('\n') {
        if key_end(line, key).is_some() {
            return Some((at, line));
        }
        at += line.len() + 1;
    }
    None
}

/// Where the colon behind the key ends, if the line begins with this key.
fn key_end(line: &str, key: &str) -> Option<usize> {
    let unquoted = ['"', '\'']
        .into_iter()
        .find_map(|quote| line.strip_prefix(quote)?.strip_prefix(key)?.strip_prefix(quote));
    let rest = unquoted.or_else(|| line.strip_prefix(key))?;
    let rest = rest.trim_start_matches([' ', '\t']).strip_prefix(':')?;
    let ends = rest.is_empty() || rest.starts_with([' ', '\t', '\r']);
    ends.then(|| line.len() - rest.len())
}

/// Where the value begins and ends in a line `key: value # comment`; an empty one begins where it ends.
fn value_of(line: &str) -> Option<(usize, usize)> {
    let colon = line.find(':')? + 1;
    let rest = &line[colon..];
    let value = rest.trim_start_matches([' ', '\t']);
    let from = line.len() - value.len();
    match value.chars().next() {
        Some('"') => {
            let mut escaped = false;
            let closing = value.char_indices().skip(1).find(|(_, c)| {
                let closes = *c == '"' && !escaped;
                escaped = *c == '\\' && !escaped;
                closes
            });
            closing.map(|(at, _)| (from, from + at + 1))
        }
        Some('\'') => {
            // A quote inside is written twice.
            let inner = value[1..].replace("''", "..");
            inner.find('\'').map(|at| (from, from + at + 2))
        }
        // Nothing there: the hash comes right behind the colon.
        None | Some('#' | '\r') => {
            let space = if rest.starts_with([' ', '\t']) { colon + 1 } else { colon };
            Some((space, space))
        }
        Some('|' | '>' | '&' | '*' | '!' | '[' | '{' | '%' | '@' | '`') => None,
        Some(_) => {
            let end = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
            Some((from, from + value[..end].trim_end().len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `@` stands for the hash.
    fn check(yaml: &str, expected: Option<&str>) {
        let hash = ArtifactHash::of(b"module");
        let found = filled(yaml.as_bytes(), &hash).map(|yaml| String::from_utf8(yaml).unwrap());
        let expected = expected.map(|text| text.replace('@', &format!("\"{hash}\"")));
        assert_eq!(found, expected, "{yaml}");
    }

    #[test]
    fn only_the_value_changes() {
        check(
            "a: 1\nartifact_hash: \"a1b2c3... (SHA-256 of x)\"  # of \"x\"\nb: 2\n",
            Some("a: 1\nartifact_hash: @  # of \"x\"\nb: 2\n"),
        );
        check("artifact_hash: 'it''s' # it's", Some("artifact_hash: @ # it's"));
        check("artifact_hash: abc # why\n", Some("artifact_hash: @ # why\n"));
        check("artifact_hash:   abc\r\nb: 2\r\n", Some("artifact_hash:   @\r\nb: 2\r\n"));
        check("'artifact_hash' : abc", Some("'artifact_hash' : @"));
        check("artifact_hash: \"a\\\"b\" # c", Some("artifact_hash: @ # c"));
    }

    #[test]
    fn an_empty_value_is_filled() {
        check("artifact_hash:\nb: 2\n", Some("artifact_hash: @\nb: 2\n"));
        check("artifact_hash: \r\nb: 2\r\n", Some("artifact_hash: @\r\nb: 2\r\n"));
        check("artifact_hash: # none yet\n", Some("artifact_hash: @ # none yet\n"));
        check("artifact_hash: \"\"", Some("artifact_hash: @"));
    }

    #[test]
    fn a_missing_one_comes_after_the_entry_point() {
        check(
            "entry_point: \"x.wasm\" # it\npermissions: []\n",
            Some("entry_point: \"x.wasm\" # it\nartifact_hash: @\npermissions: []\n"),
        );
        check("entry_point: x.wasm", Some("entry_point: x.wasm\nartifact_hash: @\n"));
        check(
            "entry_point: x.wasm\r\nb: 2",
            Some("entry_point: x.wasm\r\nartifact_hash: @\r\nb: 2"),
        );
    }

    #[test]
    fn the_cid_is_a_line_below_the_hash_and_never_there_twice() {
        let cid = ArtifactCid::of(b"module").unwrap();
        let check = |yaml: &str, expected: Option<&str>| {
            let note = |yaml: &[u8]| noted(yaml, &cid).map(|yaml| String::from_utf8(yaml).unwrap());
            let found = note(yaml.as_bytes());
            let expected = expected.map(|text| text.replace('@', &format!("# cid: {cid}")));
            assert_eq!(found, expected, "{yaml}");
            assert_eq!(found.as_ref().and_then(|found| note(found.as_bytes())), found, "once more");
        };
        check("artifact_hash: a # b\nrun: c\n", Some("artifact_hash: a # b\n@\nrun: c\n"));
        check("artifact_hash: a\n# cid: old\n# b\n", Some("artifact_hash: a\n@\n# b\n"));
        check("artifact_hash: a\n# cid: old", Some("artifact_hash: a\n@\n"));
        check("artifact_hash: a", Some("artifact_hash: a\n@\n"));
        check("artifact_hash: a\r\nb: c\r\n", Some("artifact_hash: a\r\n@\r\nb: c\r\n"));
        check("artifact_hash: a\r\n# cid: old\r\nb: c", Some("artifact_hash: a\r\n@\r\nb: c"));
        check("artifact_hash: a\n# a cid: b\n", Some("artifact_hash: a\n@\n# a cid: b\n"));
        check("a: b\n", None);
    }

    #[test]
    fn what_is_not_on_a_line_of_its_own_is_left_alone() {
        check("{entry_point: x.wasm, artifact_hash: abc}", None);
        check("artifact_hash: |\n  abc\n", None);
        check("artifact_hash: \"abc\n  def\"\n", None);
        check("# artifact_hash: abc\n", None);
        check("artifact_hash_old: abc\n", None);
        check("env:\n  artifact_hash: abc\n", None);
    }
}
