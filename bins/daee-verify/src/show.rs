use std::{
    collections::BTreeMap,
    io::{self, BufWriter, IsTerminal as _, Write},
};

use serde::Serialize;

use crate::{
    arguments::Format,
    report::{Finding, Level, Report, Source, Verdict},
};

/// More findings than anyone reads at once; the rest is counted.
const SHOWN_MAX: usize = 100;
/// Longest piece of a line that is shown, in characters.
const LINE_CHARS_MAX: usize = 120;

/// Writes the report to standard output.
pub fn report(report: &Report, format: Format) -> io::Result<()> {
    let stdout = io::stdout();
    let colour = stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut out = BufWriter::new(stdout.lock());
    match format {
        Format::Json => json(report, &mut out)?,
        Format::Text => Text { out: &mut out, colour }.report(report)?,
    }
    out.flush()
}

fn json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    #[derive(Serialize)]
    struct Shown<'a> {
        verdict: Verdict,
        findings: &'a [Finding],
        facts: BTreeMap<&'static str, &'a str>,
    }
    let facts = report.facts.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let shown = Shown { verdict: report.verdict(), findings: &report.findings, facts };
    serde_json::to_writer(&mut *out, &shown)?;
    writeln!(out)
}

struct Text<W> {
    out: W,
    colour: bool,
}

const RED: &str = "\x1b[1;31m";
const BLUE: &str = "\x1b[1;34m";
const GREEN: &str = "\x1b[1;32m";

impl<W: Write> Text<W> {
    fn report(&mut self, report: &Report) -> io::Result<()> {
        for finding in report.findings.iter().take(SHOWN_MAX) {
            self.finding(finding, report.source.as_ref())?;
        }
        if let Some(more @ 1..) = report.findings.len().checked_sub(SHOWN_MAX) {
            writeln!(self.out, "and {more} more\n")?;
        }
        for (name, value) in &report.facts {
            writeln!(self.out, "{name:<14} {}", plain(value))?;
        }
        match report.verdict() {
            Verdict::Verified => self.coloured(GREEN, "verified")?,
            Verdict::Findings => {
                let errors = report.findings.iter().filter(|f| f.level == Level::Error).count();
                let noun = if errors == 1 { "finding" } else { "findings" };
                self.coloured(RED, &format!("{errors} {noun}"))?;
            }
            Verdict::Error => self.coloured(RED, "could not run")?,
        }
        writeln!(self.out)
    }

    fn finding(&mut self, finding: &Finding, source: Option<&Source>) -> io::Result<()> {
        let (name, paint) = match finding.level {
            Level::Error => ("error", RED),
            Level::Info => ("info", BLUE),
        };
        self.coloured(paint, &format!("{name}[{}]", finding.rule))?;
        writeln!(self.out, ": {}", plain(&finding.message))?;
        if let (Some(line), Some(column), Some(source)) = (finding.line, finding.column, source) {
            let Source { name, text } = source;
            writeln!(self.out, "  --> {}:{line}:{column}", plain(name))?;
            let gutter = line.to_string();
            let blank = " ".repeat(gutter.len());
            let written = text.split('\n').nth(line as usize - 1).unwrap_or_default();
            let Excerpt { shown, before, marked } = excerpt(written, column as usize - 1);
            writeln!(self.out, "{blank} |\n{gutter} | {shown}")?;
            write!(self.out, "{blank} | {}", " ".repeat(before))?;
            self.coloured(paint, &"^".repeat(marked))?;
            writeln!(self.out)?;
        }
        writeln!(self.out)
    }

    fn coloured(&mut self, paint: &str, text: &str) -> io::Result<()> {
        if self.colour {
            write!(self.out, "{paint}{text}\x1b[0m")
        } else {
            self.out.write_all(text.as_bytes())
        }
    }
}

/// A line, cut to what is shown, and where to underline it, in characters.
struct Excerpt {
    shown: String,
    before: usize,
    marked: usize,
}

fn excerpt(line: &str, column: usize) -> Excerpt {
    let line: Vec<char> = line.trim_end().chars().collect();
    let from = column.saturating_sub(LINE_CHARS_MAX / 2);
    let from = from.min(line.len());
    let to = line.len().min(from + LINE_CHARS_MAX);
    let shown: String = line[from..to].iter().collect();
    let before = column.min(line.len()) - from;
    let marked = token_chars(&line[column.min(line.len())..]).min((to - from - before).max(1));
    Excerpt { shown: plain(&shown), before, marked }
}

/// How many characters belong to what stands first: a quoted text, or a plain one up to where YAML
/// ends it.
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

/// Text that does nothing to a terminal: a stranger's manifest must not move the cursor, colour the
/// verdict or turn the reading direction. One character stays one, so that columns hold.
fn plain(text: &str) -> String {
    let inert = |c: char| match c {
        '\t' => ' ',
        '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' => '\u{fffd}',
        '\u{feff}' | '\u{61c}' => '\u{fffd}',
        c if c.is_control() => '\u{fffd}',
        c => c,
    };
    text.chars().map(inert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, column: usize, underlined: &str) {
        let Excerpt { shown, before, marked } = excerpt(line, column - 1);
        let found: String = shown.chars().skip(before).take(marked).collect();
        assert_eq!(found, underlined, "{line}");
    }

    #[test]
    fn what_is_wrong_is_underlined_and_no_more() {
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
    fn long_lines_are_cut_around_the_place() {
        let long = format!("{}here{}", "a".repeat(5_000), " b".repeat(5_000));
        let Excerpt { shown, before, .. } = excerpt(&long, 5_000);
        assert!(shown.chars().count() <= LINE_CHARS_MAX);
        assert!(shown.chars().skip(before).collect::<String>().starts_with("here"));
    }

    #[test]
    fn nothing_shown_reaches_the_terminal_as_a_command() {
        let shown = plain("a\x1b[31mb\u{202e}c\u{9b}d\re\u{200b}");
        assert_eq!(shown, "a\u{fffd}[31mb\u{fffd}c\u{fffd}d\u{fffd}e\u{fffd}");
    }

    #[test]
    fn more_findings_than_anyone_reads_are_counted() {
        let findings = vec![Finding::error("DAEE-M001", "x"); SHOWN_MAX + 7];
        let mut report = Report::default();
        report.findings.extend(findings);
        let mut out = Vec::new();
        Text { out: &mut out, colour: false }.report(&report).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("and 7 more\n"), "{text}");
        assert!(text.ends_with("107 findings\n"), "{text}");
    }
}
