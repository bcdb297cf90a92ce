use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use crate::{Finding, Level, Report, Verdict};

#[derive(Serialize)]
struct Shown<'a> {
    subject: &'a str,
    verdict: Verdict,
    findings: Vec<ShownFinding<'a>>,
    facts: BTreeMap<&'static str, &'a str>,
}

#[derive(Serialize)]
struct ShownFinding<'a> {
    rule: &'static str,
    name: Option<&'static str>,
    level: Level,
    line: Option<u32>,
    column: Option<u32>,
    end_line: Option<u32>,
    end_column: Option<u32>,
    message: &'a str,
}

pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let facts = report.facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let findings = report.findings.iter().map(shown).collect();
    let subject = report.subject.shown();
    let shown = Shown { subject, verdict: report.verdict(), findings, facts };
    serde_json::to_writer(&mut *out, &shown)?;
    writeln!(out)
}

fn shown(Finding { rule, level, place, message }: &Finding) -> ShownFinding<'_> {
    ShownFinding {
        rule,
        name: crate::rule(rule).map(|rule| rule.name),
        level: *level,
        line: place.map(|place| place.line),
        column: place.map(|place| place.column),
        end_line: place.map(|place| place.end_line),
        end_column: place.map(|place| place.end_column),
        message,
    }
}
