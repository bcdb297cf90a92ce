//! Links between the documents of this repository.

use std::path::{Component, Path, PathBuf};

/// A relative link of a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// Relative to the repository's root; the document itself where the link has only an anchor.
    pub file: PathBuf,
    /// The part after `#`, or empty.
    pub anchor: String,
}

/// The relative links of the Markdown document at `path`, outside of its code.
pub fn of(path: &Path, text: &str) -> Vec<Link> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut links = Vec::new();
    for line in prose(text) {
        // Code spans are every second part between backticks.
        for part in line.split('`').step_by(2) {
            for target in part.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                if target.contains("://") || target.starts_with("mailto:") || is_item(target) {
                    continue;
                }
                let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file =
                    if file.is_empty() { path.to_owned() } else { normal(&folder.join(file)) };
                links.push(Link { file, anchor: anchor.to_owned() });
            }
        }
    }
    links
}

/// The anchors that a Markdown document offers: its headings as GitHub writes them.
pub fn anchors(text: &str) -> Vec<String> {
    let headings = prose(text).filter_map(|line| line.trim_start_matches('#').strip_prefix(' '));
    let kept = |c: &char| c.is_alphanumeric() || " -_".contains(*c);
    headings
        .map(|heading| heading.trim().to_lowercase().chars().filter(kept).collect::<String>())
        .map(|heading| heading.replace(' ', "-"))
        .collect()
}

/// A crate's README may link to its own items, as `[the policy](Policy)`; rustdoc checks those.
fn is_item(target: &str) -> bool {
    target.starts_with(|c: char| c.is_ascii_uppercase() || target.contains("::"))
        && target.chars().all(|c| c.is_alphanumeric() || "_:!()".contains(c))
}

fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut code = false;
    text.lines().filter(move |line| {
        let fence = line.trim_start().starts_with("```");
        code ^= fence;
        !code && !fence
    })
}

/// `docs/../README.md` is `README.md`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if out.pop() => {}
            part => out.push(part),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_leads_from_its_document() {
        check("[a](b.md#c)", &[("docs/b.md", "c")]);
        check("[a](../README.md) and [b](./d/e.md)", &[("README.md", ""), ("docs/d/e.md", "")]);
        check("[a](#here)", &[("docs/a.md", "here")]);
    }

    #[test]
    fn what_looks_like_a_link_in_code_or_leads_outside_is_none() {
        check("`[a](b)`", &[]);
        check("```\n[a](b)\n```", &[]);
        check("[a](https://example.com/b.md)", &[]);
        check("[a](Policy), [b](crate::Policy::url)", &[]);
    }

    #[test]
    fn a_heading_is_an_anchor_as_github_writes_it() {
        assert_eq!(anchors("# One\n## 2. Two: `x`!\n```\n# no\n```"), ["one", "2-two-x"]);
    }

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(file, anchor)| Link { file: file.into(), anchor: (*anchor).to_owned() })
            .collect();
        assert_eq!(of(Path::new("docs/a.md"), text), expected);
    }
}
