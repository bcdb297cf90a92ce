use std::{
    fmt::Write as _,
    io::{self, Write},
};

use super::{COULD_NOT_RUN, TOOL, located};
use crate::{Finding, Group, Report, Rule, Verdict, rule, rules};

/// One test case for each rule that was looked at: passed, failed, or skipped where something that comes
/// before it kept it from being judged.
pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    let cases: Vec<Case<'_>> = cases(report);
    let count = |outcome: fn(&Case<'_>) -> bool| cases.iter().filter(|case| outcome(case)).count();
    let totals = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
        cases.len(),
        count(|case| matches!(case.outcome, Outcome::Failed)),
        count(|case| matches!(case.outcome, Outcome::Error)),
        count(|case| matches!(case.outcome, Outcome::Skipped)),
    );
    let subject = escaped(report.subject.shown());
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    _ = writeln!(xml, "<testsuites name=\"{TOOL}\" {totals}>");
    _ = writeln!(xml, "  <testsuite name=\"{subject}\" {totals}>");
    if !report.facts.is_empty() {
        xml.push_str("    <properties>\n");
        for (name, value) in &report.facts {
            let value = escaped(value);
            _ = writeln!(xml, "      <property name=\"{name}\" value=\"{value}\"/>");
        }
        xml.push_str("    </properties>\n");
    }
    for case in &cases {
        case.write(report, &mut xml);
    }
    xml.push_str("  </testsuite>\n</testsuites>\n");
    out.write_all(xml.as_bytes())
}

struct Case<'a> {
    id: &'static str,
    rule: Option<&'static Rule>,
    outcome: Outcome,
    findings: Vec<&'a Finding>,
}

enum Outcome {
    Passed,
    Skipped,
    Failed,
    Error,
}

fn cases(report: &Report) -> Vec<Case<'_>> {
    let of = |id| report.findings.iter().filter(|finding| finding.rule == id).collect::<Vec<_>>();
    let mut cases: Vec<Case<'_>> = Vec::new();
    for rule in rules() {
        let findings = of(rule.id);
        if !findings.is_empty() || looked_at(rule, report) {
            let outcome = outcome(rule.id, Some(rule), &findings, report);
            cases.push(Case { id: rule.id, rule: Some(rule), outcome, findings });
        }
    }
    // Whoever judges with rules of its own loses none of them here.
    for Finding { rule: id, .. } in &report.findings {
        if rule(id).is_none() && !cases.iter().any(|case| case.id == *id) {
            let findings = of(*id);
            let outcome = outcome(id, None, &findings, report);
            cases.push(Case { id, rule: None, outcome, findings });
        }
    }
    cases
}

/// Whether a subject of this kind can break the rule at all.
fn looked_at(rule: &Rule, report: &Report) -> bool {
    let kind = report.kind;
    match rule.group {
        Group::Manifest => kind != Group::Artifact || report.source.is_some(),
        Group::Artifact => {
            matches!(kind, Group::Artifact | Group::Package | Group::Signature | Group::Run)
        }
        Group::Package => matches!(kind, Group::Package | Group::Signature | Group::Run),
        Group::Signature => report.facts.iter().any(|(name, _)| *name == "signed_by"),
        Group::Upgrade | Group::Run => kind == rule.group,
        Group::Program => rule.id == "DAEE-V001",
    }
}

fn outcome(id: &str, rule: Option<&Rule>, findings: &[&Finding], report: &Report) -> Outcome {
    if findings.is_empty() {
        let broken = |finding: &Finding| {
            let by = crate::rule(finding.rule);
            by.is_some_and(|by| by.fixed && rule.is_none_or(|rule| rule.group != by.group))
        };
        let unread = report.verdict() == Verdict::Error || report.findings.iter().any(broken);
        if unread { Outcome::Skipped } else { Outcome::Passed }
    } else if COULD_NOT_RUN.contains(&id) {
        Outcome::Error
    } else if findings.iter().any(|finding| finding.level >= report.fail_on) {
        Outcome::Failed
    } else {
        Outcome::Passed
    }
}

impl Case<'_> {
    fn write(&self, report: &Report, xml: &mut String) {
        let (group, name) = match self.rule {
            Some(rule) => (rule.group.name(), format!("{} {}", rule.id, rule.name)),
            None => ("other", self.id.to_owned()),
        };
        _ = write!(xml, "    <testcase classname=\"{TOOL}.{group}\" name=\"{name}\"");
        let said: Vec<String> =
            self.findings.iter().map(|finding| escaped(&located(finding, report))).collect();
        let first = self.findings.first().map(|finding| escaped(&finding.message));
        let (first, said) = (first.unwrap_or_default(), said.join("\n"));
        _ = match self.outcome {
            Outcome::Passed if said.is_empty() => writeln!(xml, "/>"),
            Outcome::Passed => {
                writeln!(xml, ">\n      <system-out>{said}</system-out>\n    </testcase>")
            }
            Outcome::Skipped => {
                let why = "not judged to the end";
                writeln!(xml, ">\n      <skipped message=\"{why}\"/>\n    </testcase>")
            }
            Outcome::Failed => writeln!(
                xml,
                ">\n      <failure message=\"{first}\" type=\"{}\">{said}</failure>\n    </testcase>",
                self.id
            ),
            Outcome::Error => writeln!(
                xml,
                ">\n      <error message=\"{first}\" type=\"{}\">{said}</error>\n    </testcase>",
                self.id
            ),
        };
    }
}

/// Text for an attribute or an element. What XML 1.0 cannot hold at all is replaced.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in super::plain(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_the_place_where_it_is_written() {
        assert_eq!(
            escaped("a\"/><b>&\n\u{0}\u{ffff}'"),
            "a&quot;/&gt;&lt;b&gt;&amp;\u{fffd}\u{fffd}\u{fffd}&apos;"
        );
    }
}
