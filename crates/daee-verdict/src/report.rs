use daee_artifact::ArtifactCid;
use daee_manifest::{Manifest, Problem, Span};
use daee_types::{Coded, PackageStatement};
use serde::Serialize;

use crate::{Group, Name, rule};

/// What came of judging one subject.
#[derive(Debug)]
pub struct Report {
    /// What kind of subject it is.
    pub kind: Group,
    /// What it is called.
    pub subject: Name,
    /// Everything there is to say about it, in the order in which it was found.
    pub findings: Vec<Finding>,
    /// What the subject is: hashes and names, for whoever writes them down.
    pub facts: Vec<(&'static str, String)>,
    /// The manifest that the findings' places are in.
    pub source: Option<Source>,
    /// The manifest itself, where it is one.
    pub manifest: Option<Manifest>,
    /// What the artifact is found by, where all of it was read.
    pub artifact: Option<ArtifactCid>,
    /// From which level on a finding fails the subject.
    pub fail_on: Level,
    pub(crate) failed: bool,
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
    pub fn new(kind: Group, subject: Name) -> Self {
        Self {
            kind,
            subject,
            findings: Vec::new(),
            facts: Vec::new(),
            source: None,
            manifest: None,
            artifact: None,
            fail_on: Level::Error,
            failed: false,
        }
    }

    /// Says that the subject could not be read to its end. Whatever else was found, there is no
    /// verdict then.
    pub fn fail(&mut self, why: impl std::fmt::Display) {
        self.fail_by("DAEE-V001", why.to_string());
    }

    pub(crate) fn fail_by(&mut self, rule: &'static str, why: String) {
        self.say(rule, None, why);
        self.failed = true;
    }

    /// Says something of the level that its rule has.
    pub(crate) fn say(
        &mut self,
        id: &'static str,
        place: Option<Span>,
        message: impl Into<String>,
    ) {
        let level = rule(id).map_or(Level::Error, |rule| rule.level);
        self.findings.push(Finding { rule: id, level, place, message: message.into() });
    }

    /// What a publisher signs for this subject; nothing unless manifest and artifact are both known.
    pub fn statement(&self) -> Option<PackageStatement> {
        let manifest = self.manifest.as_ref()?;
        Some(PackageStatement {
            agent_id: manifest.agent_id().to_string(),
            manifest_hash: manifest.manifest_hash(),
            cid: self.artifact.as_ref()?.to_bytes(),
        })
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
    /// One of level error, about no place in the manifest.
    pub fn error(rule: &'static str, message: impl Into<String>) -> Self {
        Self { rule, level: Level::Error, place: None, message: message.into() }
    }

    /// What an error of another crate says.
    pub fn of(error: &(impl Coded + std::fmt::Display)) -> Self {
        Self::error(error.code(), error.to_string())
    }

    /// The same, about a place in the manifest.
    pub fn at(self, place: Option<Span>) -> Self {
        Self { place, ..self }
    }
}

impl From<Problem> for Finding {
    fn from(problem: Problem) -> Self {
        let place = Some(problem.span());
        Self::error(problem.rule, problem.message).at(place)
    }
}

impl Source {
    /// A line, from 1, without its end; empty behind the last.
    pub(crate) fn line(&self, line: u32) -> &str {
        self.text.split('\n').nth(line as usize - 1).unwrap_or_default().trim_end()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_unread_is_verified_whatever_else_is_said() {
        let mut report = Report::new(Group::Manifest, Name::stdin());
        assert_eq!(report.verdict(), Verdict::Verified);
        report.findings.push(Finding { level: Level::Note, ..Finding::error("DAEE-V010", "x") });
        assert_eq!(report.verdict(), Verdict::Verified);
        report.fail_on = Level::Note;
        assert_eq!(report.verdict(), Verdict::Findings);
        report.fail("gone");
        report.findings.clear();
        assert_eq!(report.verdict(), Verdict::Error);
    }
}
