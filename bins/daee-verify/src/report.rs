use std::process::ExitCode;

use serde::Serialize;

/// What came of judging one subject.
#[derive(Debug, Default)]
pub struct Report {
    pub findings: Vec<Finding>,
    /// What the subject is: hashes and names, for whoever writes them down.
    pub facts: Vec<(&'static str, String)>,
    /// The manifest that lines and columns are of.
    pub source: Option<Source>,
    failed: bool,
}

/// A manifest's text and the name to show for it.
#[derive(Debug)]
pub struct Source {
    pub name: String,
    pub text: String,
}

/// One thing to say about the subject. Line and column, from 1, are of the manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub rule: &'static str,
    pub level: Level,
    pub line: Option<u32>,
    pub column: Option<u32>,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Must not be deployed.
    Error,
    /// Good to know; changes no verdict.
    Info,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Verified,
    Findings,
    Error,
}

impl Verdict {
    pub fn exit_code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Verified => 0,
            Self::Findings => 1,
            Self::Error => 2,
        })
    }
}

impl Report {
    /// The subject could not be judged.
    pub fn error(why: impl std::error::Error) -> Self {
        let findings = vec![Finding::error("DAEE-V001", why.to_string())];
        Self { findings, failed: true, ..Self::default() }
    }

    pub fn verdict(&self) -> Verdict {
        if self.failed {
            Verdict::Error
        } else if self.findings.iter().any(|finding| finding.level == Level::Error) {
            Verdict::Findings
        } else {
            Verdict::Verified
        }
    }
}

impl Finding {
    pub fn error(rule: &'static str, message: impl Into<String>) -> Self {
        Self { rule, level: Level::Error, line: None, column: None, message: message.into() }
    }

    pub fn info(rule: &'static str, message: impl Into<String>) -> Self {
        Self { level: Level::Info, ..Self::error(rule, message) }
    }

    /// The same, about a place in the manifest.
    pub fn at(self, line: u32, column: u32) -> Self {
        Self { line: Some(line), column: Some(column), ..self }
    }
}
