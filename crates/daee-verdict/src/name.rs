use std::{fmt, path::Path};

/// What something that was judged is called: to people, and as a URI to tools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    shown: String,
    uri: Option<String>,
}

impl Name {
    /// Standard input, which no URI names.
    pub fn stdin() -> Self {
        Self { shown: "<stdin>".to_owned(), uri: None }
    }

    /// The name that people see.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A relative URI for a relative path, `file:` for an absolute one, every byte that is not plain
    /// escaped; nothing for standard input.
    pub fn uri(&self) -> Option<&str> {
        self.uri.as_deref()
    }
}

impl From<&Path> for Name {
    fn from(path: &Path) -> Self {
        let mut uri = String::new();
        if path.is_absolute() {
            uri.push_str("file://");
        }
        for byte in path.as_os_str().as_encoded_bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'.' | b'_' | b'~' => {
                    uri.push(char::from(*byte));
                }
                _ => uri.push_str(&format!("%{byte:02X}")),
            }
        }
        Self { shown: path.display().to_string(), uri: Some(uri) }
    }
}

impl From<&str> for Name {
    fn from(path: &str) -> Self {
        Path::new(path).into()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, uri: &str) {
        assert_eq!(Name::from(path).uri(), Some(uri));
        assert_eq!(Name::from(path).shown(), path);
    }

    #[test]
    fn a_path_is_a_uri_with_nothing_in_it_that_a_reader_takes_for_syntax() {
        check("agent.yaml", "agent.yaml");
        check("../a b/agent.yaml", "../a%20b/agent.yaml");
        check("/there/agent.yaml", "file:///there/agent.yaml");
        check("c:%2f?#.yaml", "c%3A%252f%3F%23.yaml");
        check("\u{e4}\n.yaml", "%C3%A4%0A.yaml");
        assert_eq!(Name::stdin().uri(), None);
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_no_text_keeps_its_bytes() {
        use std::os::unix::ffi::OsStrExt as _;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"a\xff.yaml"));
        assert_eq!(Name::from(path).uri(), Some("a%FF.yaml"));
        assert_eq!(Name::from(path).shown(), "a\u{fffd}.yaml");
    }
}
