//! The verdict in writing.

mod github;
mod json;
mod junit;
mod sarif;
mod text;

use std::io::{self, Write};

use crate::{Finding, Report, Verdict};

/// What calls itself the author of a verdict.
const TOOL: &str = "daee-verify";

/// The rules that say why there is no verdict.
const COULD_NOT_RUN: [&str; 3] = ["DAEE-V001", "DAEE-V030", "DAEE-J020"];

/// For people: each finding under the line it is about, 80 columns wide; in colour if asked for.
pub fn text(report: &Report, colour: bool, out: &mut impl Write) -> io::Result<()> {
    text::write(report, colour, out)
}

/// For scripts: one JSON object on one line.
pub fn json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    json::write(report, out)
}

/// For code scanning: SARIF 2.1.0, with the region of the manifest.
pub fn sarif(report: &Report, out: &mut impl Write) -> io::Result<()> {
    sarif::write(report, out)
}

/// For test reports: JUnit's XML, one case for each rule.
pub fn junit(report: &Report, out: &mut impl Write) -> io::Result<()> {
    junit::write(report, out)
}

/// For GitHub's runner: workflow commands that annotate the manifest's lines.
pub fn github(report: &Report, out: &mut impl Write) -> io::Result<()> {
    github::write(report, out)
}

/// Text that does nothing to a terminal or to a reader of lines: a stranger's manifest must not move the
/// cursor, colour the verdict or turn the reading direction. One character stays one, so that columns hold.
pub fn plain(text: &str) -> String {
    let inert = |c: char| match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => '\u{fffd}',
        '\u{feff}' | '\u{61c}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(inert).collect()
}

/// The message behind its place, on one line.
fn located(finding: &Finding, report: &Report) -> String {
    let message = plain(&finding.message);
    match (finding.place, &report.source) {
        (Some(place), Some(source)) => {
            format!("{}:{}:{}: {message}", plain(&source.to_string()), place.line, place.column)
        }
        _ => message,
    }
}

fn verdict_line(report: &Report) -> String {
    match report.verdict() {
        Verdict::Verified => "verified".to_owned(),
        Verdict::Findings => {
            let counted = |finding: &&Finding| finding.level >= report.fail_on;
            let count = report.findings.iter().filter(counted).count();
            format!("{count} {}", if count == 1 { "finding" } else { "findings" })
        }
        Verdict::Error => "could not run".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_shown_reaches_the_terminal_as_a_command() {
        let shown = plain("a\x1b[31mb\u{202e}c\u{9b}d\re\u{200b}");
        assert_eq!(shown, "a\u{fffd}[31mb\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}");
    }
}
