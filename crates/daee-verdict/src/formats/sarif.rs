use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use daee_manifest::Span;
use daee_types::sha256;
use serde_json::{Value, json};

use super::{COULD_NOT_RUN, TOOL, plain};
use crate::{Finding, Level, Report, Rule, Verdict, rules};

const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let (failures, findings): (Vec<&Finding>, Vec<&Finding>) =
        report.findings.iter().partition(|finding| COULD_NOT_RUN.contains(&finding.rule));
    let places = Places::of(report);
    let mut fingerprints = Fingerprints::default();
    let results: Vec<Value> = findings
        .iter()
        .map(|finding| result(finding, report, &places, &mut fingerprints))
        .collect();
    let notifications: Vec<Value> = failures.into_iter().map(notification).collect();
    let facts: BTreeMap<_, _> = report.facts.iter().map(|(name, value)| (*name, value)).collect();
    let verdict = report.verdict();
    let log = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": TOOL,
                "version": env!("CARGO_PKG_VERSION"),
                "semanticVersion": env!("CARGO_PKG_VERSION"),
                "informationUri": env!("CARGO_PKG_REPOSITORY"),
                "rules": rules().map(descriptor).collect::<Vec<_>>(),
            } },
            "invocations": [{
                "executionSuccessful": verdict != Verdict::Error,
                "exitCode": verdict.exit_code(),
                "toolExecutionNotifications": notifications,
            }],
            "artifacts": places.artifacts,
            "columnKind": "unicodeCodePoints",
            "results": results,
            "properties": { "verdict": verdict, "facts": facts },
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &log)?;
    writeln!(out)
}

fn descriptor(rule: &'static Rule) -> Value {
    json!({
        "id": rule.id,
        "name": rule.name,
        "shortDescription": { "text": rule.says },
        "fullDescription": { "text": format!("{}. To put it right: {}.", rule.says, rule.fix) },
        "help": { "text": rule.fix },
        "helpUri": rule.url(),
        "defaultConfiguration": { "level": rule.level },
        "properties": { "tags": [rule.group.name()], "fixed": rule.fixed },
    })
}

fn result(
    finding: &Finding,
    report: &Report,
    places: &Places,
    fingerprints: &mut Fingerprints,
) -> Value {
    let Finding { rule, level, place, message } = finding;
    let mut location = json!({ "artifactLocation": places.whole });
    if let (Some(place), Some(source)) = (place, &places.source) {
        location["artifactLocation"] = source.clone();
        location["region"] = region(place);
    }
    let mut result = json!({
        "ruleId": rule,
        "level": level,
        "message": { "text": plain(message) },
        "locations": [{ "physicalLocation": location }],
        "partialFingerprints": { "finding/v1": fingerprints.of(finding, report) },
    });
    if let Some(index) = rules().position(|known| known.id == *rule) {
        result["ruleIndex"] = index.into();
    }
    result
}

fn region(place: &Span) -> Value {
    let Span { line, column, end_line, end_column } = *place;
    let mut region = json!({ "startLine": line, "startColumn": column });
    // One that ends where it begins is a place between two characters.
    if (end_line, end_column) != (line, column) {
        region["endLine"] = end_line.into();
        region["endColumn"] = end_column.into();
    }
    region
}

fn notification(finding: &Finding) -> Value {
    json!({
        "descriptor": { "id": finding.rule },
        "level": Level::Error,
        "message": { "text": plain(&finding.message) },
    })
}

/// The files that the run looked at, and how a location names them.
struct Places {
    artifacts: Vec<Value>,
    whole: Value,
    source: Option<Value>,
}

impl Places {
    fn of(report: &Report) -> Self {
        let location = |uri: Option<&str>, at: usize| match uri {
            Some(uri) => json!({ "uri": uri, "index": at }),
            None => json!({ "index": at }),
        };
        let file = |uri: Option<&str>, shown: &str| match uri {
            Some(uri) => json!({ "location": { "uri": uri }, "roles": ["analysisTarget"] }),
            None => json!({ "description": { "text": plain(shown) }, "roles": ["analysisTarget"] }),
        };
        let subject = &report.subject;
        let mut artifacts = vec![file(subject.uri(), subject.shown())];
        let whole = location(subject.uri(), 0);
        let source = report.source.as_ref().map(|source| match source.entry {
            Some(entry) => {
                artifacts.push(json!({ "location": { "uri": entry }, "parentIndex": 0 }));
                location(Some(entry), 1)
            }
            None if source.file == *subject => whole.clone(),
            None => {
                artifacts.push(file(source.file.uri(), source.file.shown()));
                location(source.file.uri(), 1)
            }
        });
        Self { artifacts, whole, source }
    }
}

/// What stays the same of a finding while lines come and go around it.
#[derive(Default)]
struct Fingerprints(BTreeMap<String, u32>);

impl Fingerprints {
    fn of(&mut self, finding: &Finding, report: &Report) -> String {
        let line = match (&finding.place, &report.source) {
            (Some(place), Some(source)) => source.line(place.line).trim(),
            _ => "",
        };
        let digest = sha256(format!("{}\0{line}\0{}", finding.rule, finding.message));
        let digits: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let count = self.0.entry(digits.clone()).or_default();
        *count += 1;
        format!("{digits}:{count}")
    }
}
