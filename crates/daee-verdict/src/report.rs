use daee_manifest::{Manifest, Place, Problem};
use daee_types::Coded;
use serde::Serialize;

use crate::Name;

/// What came of judging one subject.
#[derive(Debug)]
pub struct Report {
    /// What was judged.
    pub subject: Name,
    /// Everything there is to say about it, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// What the subject is: hashes and names, for whoever writes them down.
    pub facts: Vec<(&'static str, String)>,
    /// The manifest that the findings' places are in.
    pub source: Option<Source>,
    /// The manifest itself, where it is one.
    pub manifest: Option<Manifest>,
    /// From which level on a finding fails the subject.
    pub fail_on: Level,
    failed: bool,
}

/// A manifest's text and the name to show for it.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file it was read from.
    pub file: Name,
    /// What it is called inside of that file, where the file is a package.
    pub entry: Option<&'static str>,
    /// The text; what is not UTF-8 is replaced.
    pub text: String,
}

/// One thing to say about the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Stable id of the rule, `DAEE-X000`.
    pub rule: &'static str,
    /// How much it matters.
    pub level: Level,
    /// Where in the manifest, if it is about a place there.
    pub place: Option<Span>,
    /// What is wrong and what to do.
    pub message: String,
}

/// A stretch of the manifest. Lines and columns count from 1, columns in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Span {
    /// Line of the first character.
    pub line: u32,
    /// Column of the first character.
    pub column: u32,
    /// Line of the last character.
    pub end_line: u32,
    /// Column behind the last character.
    pub end_column: u32,
}

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Note,
    /// Most likely a mistake.
    Warning,
    /// Must not be deployed.
    Error,
}

/// The answer to the one question that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Everything was read to its end, and nothing is wrong.
    Verified,
    /// Something is wrong.
    Findings,
    /// It could not be judged.
    Error,
}

impl Report {
    /// Nothing said yet.
    pub fn new(subject: Name) -> Self {
        Self {
            subject,
            findings: Vec::new(),
            facts: Vec::new(),
            source: None,
            manifest: None,
            fail_on: Level::Error,
            failed: false,
        }
    }

    /// Says that the subject could not be read to its end. Whatever else was found, there is no
    /// verdict then.
    pub fn fail(&mut self, why: impl std::fmt::Display) {
        self.findings.push(Finding::error("DAEE-V001", why.to_string()));
        self.failed = true;
    }

    /// What it comes to.
    pub fn verdict(&self) -> Verdict {
        if self.failed {
            Verdict::Error
        } else if self.findings.iter().any(|finding| finding.level >= self.fail_on) {
            Verdict::Findings
        } else {
            Verdict::Verified
        }
    }
}

impl Verdict {
    /// What a process that gives this verdict exits with: 0 verified, 1 findings, 2 could not run.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::Findings => 1,
            Self::Error => 2,
        }
    }
}

impl Finding {
    /// One of level error.
    pub fn error(rule: &'static str, message: impl Into<String>) -> Self {
        Self { rule, level: Level::Error, place: None, message: message.into() }
    }

    /// One of level note.
    pub fn note(rule: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Note, ..Self::error(rule, message) }
    }

    /// What an error of another crate says.
    pub fn of(error: &(impl Coded + std::fmt::Display)) -> Self {
        Self::error(error.code(), error.to_string())
    }

    /// The same, about the text that starts at a place in the manifest.
    pub fn at(self, place: Place, source: &Source) -> Self {
        Self { place: Some(source.token(place)), ..self }
    }
}

impl Source {
    /// The text that starts at a place: a quoted one, or a plain one up to where YAML ends it.
    pub fn token(&self, Place { line, column }: Place) -> Span {
        let written = self.line(line);
        let rest = written.chars().skip(column as usize - 1).collect::<Vec<_>>();
        let end_column = column + token_chars(&rest) as u32;
        Span { line, column, end_line: line, end_column }
    }

    /// A line, from 1, without its end; empty behind the last.
    pub(crate) fn line(&self, line: u32) -> &str {
        self.text.split('\n').nth(line as usize - 1).unwrap_or_default().trim_end()
    }

    pub(crate) fn finding(&self, problem: Problem) -> Finding {
        let place = Place { line: problem.line, column: problem.column };
        Finding::error(problem.rule, problem.message).at(place, self)
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.entry {
            Some(entry) => write!(f, "{}: {entry}", self.file),
            None => self.file.fmt(f),
        }
    }
}

/// How many characters belong to what stands first; one at least.
fn token_chars(rest: &[char]) -> usize {
    let len = match rest.first() {
        Some(quote @ ('"' | '\'')) => {
            let mut escaped = false;
            let end = rest[1..].iter().position(|c| {
                let closes = c == quote && !escaped;
                escaped = *c == '\\' && *quote == '"' && !escaped;
                closes
            });
            end.map_or(rest.len(), |end| end + 2)
        }
        _ => {
            let ends = |at: &usize| {
                let spaced = rest.get(at + 1).is_none_or(|next| next.is_whitespace());
                match rest[*at] {
                    ':' => spaced,
                    '#' => *at > 0 && rest[at - 1].is_whitespace(),
                    ',' | ']' | '}' => true,
                    _ => false,
                }
            };
            let end = (0..rest.len()).find(ends).unwrap_or(rest.len());
            let token: String = rest[..end].iter().collect();
            token.trim_end().chars().count()
        }
    };
    len.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, column: u32, marked: &str) {
        let source = Source { file: Name::stdin(), entry: None, text: text.to_owned() };
        let Span { end_column, .. } = source.token(Place { line: 1, column });
        let found: String =
            text.chars().skip(column as usize - 1).take((end_column - column) as usize).collect();
        assert_eq!(found, marked, "{text}");
    }

    #[test]
    fn what_is_wrong_is_marked_and_no_more() {
        check("cpu: \"0.25\"      # a quarter", 6, "\"0.25\"");
        check("a: \"say \\\"no\\\"\" # x", 4, "\"say \\\"no\\\"\"");
        check("name: 'x'", 7, "'x'");
        check("permisions:", 1, "permisions");
        check("run: for ever # x", 6, "for ever");
        check("args: [a, b]", 8, "a");
        check("url: https://x.org", 6, "https://x.org");
        check("a: \"never closed", 4, "\"never closed");
        check("", 1, "");
        check("short", 90, "");
    }

    #[test]
    fn nothing_unread_is_verified_whatever_else_is_said() {
        let mut report = Report::new(Name::stdin());
        assert_eq!(report.verdict(), Verdict::Verified);
        report.findings.push(Finding::note("DAEE-V010", "x"));
        assert_eq!(report.verdict(), Verdict::Verified);
        report.fail_on = Level::Note;
        assert_eq!(report.verdict(), Verdict::Findings);
        report.fail("gone");
        report.findings.clear();
        assert_eq!(report.verdict(), Verdict::Error);
    }
}
