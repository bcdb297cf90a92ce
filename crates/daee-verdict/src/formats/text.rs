use std::io::{self, Write};

use daee_manifest::Span;

use super::{plain, verdict_line};
use crate::{Finding, Level, Report, Source, Verdict};

/// More findings than anyone reads at once; the rest is counted.
const SHOWN_MAX: usize = 100;
/// Columns of a terminal that nobody made wider.
const COLUMNS: usize = 80;

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const GREEN: &str = "\x1b[1;32m";

pub(super) fn write(report: &Report, colour: bool, out: &mut impl Write) -> io::Result<()> {
    Text { out, colour }.report(report)
}

struct Text<W> {
    out: W,
    colour: bool,
}

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
        let paint = if report.verdict() == Verdict::Verified { GREEN } else { RED };
        self.coloured(paint, &verdict_line(report))?;
        writeln!(self.out)
    }

    fn finding(&mut self, finding: &Finding, source: Option<&Source>) -> io::Result<()> {
        let (name, paint) = match finding.level {
            Level::Error => ("error", RED),
            Level::Warning => ("warning", YELLOW),
            Level::Note => ("note", BLUE),
        };
        let head = format!("{name}[{}]", finding.rule);
        self.coloured(paint, &head)?;
        let message = wrapped(&plain(&finding.message), head.len() + 2, COLUMNS);
        writeln!(self.out, ": {}", message.join("\n  "))?;
        if let (Some(place), Some(source)) = (finding.place, source) {
            let Span { line, column, .. } = place;
            writeln!(self.out, "  --> {}:{line}:{column}", plain(&source.to_string()))?;
            let gutter = line.to_string();
            let blank = " ".repeat(gutter.len());
            let written = source.line(line);
            // What goes on in further lines is marked to the end of the first.
            let end = match place.end_line > line {
                true => written.chars().count() + 1,
                false => place.end_column as usize,
            };
            let width = COLUMNS - gutter.len() - 3;
            let Excerpt { shown, before, marked } =
                excerpt(written, column as usize - 1, end.saturating_sub(1), width);
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

/// Characters `from..to` of a line in `width` columns, with as much before them as fits.
fn excerpt(line: &str, from: usize, to: usize, width: usize) -> Excerpt {
    let line: Vec<char> = line.chars().collect();
    let from = from.min(line.len());
    let to = to.clamp(from, line.len().max(from)).max(from + 1);
    let start = match to <= width {
        true => 0,
        false => from.saturating_sub(width / 2).max(to - width).min(from),
    };
    let end = line.len().min(start + width);
    let mut shown: Vec<char> = line[start.min(end)..end].to_vec();
    let before = from - start;
    if start > 0 && before > 0 {
        shown[0] = '\u{2026}';
    }
    if end < line.len() {
        shown[end - start - 1] = '\u{2026}';
    }
    let marked = (to - from).min((end.max(start) - start).saturating_sub(before)).max(1);
    Excerpt { shown: plain(&shown.iter().collect::<String>()), before, marked }
}

/// Breaks a text between words into lines of `width` columns, of which the first starts at `at` and
/// the others are set in by two. What has no space is not broken: somebody wants to copy it.
fn wrapped(text: &str, at: usize, width: usize) -> Vec<String> {
    let (mut lines, mut used) = (vec![String::new()], at);
    for word in text.split(' ') {
        let len = word.chars().count();
        let line = lines.last_mut().expect("there is a first line");
        if !line.is_empty() && used + 1 + len > width {
            lines.push(word.to_owned());
            used = 2 + len;
        } else {
            let space = if line.is_empty() { "" } else { " " };
            line.push_str(space);
            line.push_str(word);
            used += space.len() + len;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Group, Name};

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let long = format!("{}here{}", "a".repeat(5_000), " b".repeat(5_000));
        let Excerpt { shown, before, marked } = excerpt(&long, 5_000, 5_004, 76);
        assert!(shown.chars().count() <= 76);
        assert_eq!(shown.chars().skip(before).take(marked).collect::<String>(), "here");
        assert!(shown.starts_with('\u{2026}') && shown.ends_with('\u{2026}'));
    }

    #[test]
    fn any_place_of_any_line_can_be_shown() {
        for len in [0, 1, 2, 75, 76, 77, 200] {
            for from in [0, 1, 37, 75, 76, 77, 150, 199, 200, 900] {
                for to in [0, 1, from, from + 1, from + 40, from + 400] {
                    let line = "x".repeat(len);
                    let Excerpt { shown, before, marked } = excerpt(&line, from, to, 76);
                    let width = shown.chars().count();
                    assert!(width <= 76 && before <= width && marked >= 1, "{len} {from} {to}");
                    assert!(before + marked <= width.max(before + 1), "{len} {from} {to}");
                }
            }
        }
    }

    #[test]
    fn a_message_is_broken_between_words() {
        assert_eq!(wrapped("one two three", 0, 8), ["one two", "three"]);
        assert_eq!(wrapped("one two three", 5, 8), ["one", "two", "three"]);
        assert_eq!(wrapped("unbreakable", 5, 8), ["unbreakable"]);
        assert_eq!(wrapped("", 5, 8), [""]);
    }

    #[test]
    fn colour_adds_nothing_but_colour() {
        let mut report = Report::new(Group::Manifest, Name::from("a.yaml"));
        for level in [Level::Note, Level::Warning, Level::Error] {
            report.findings.push(Finding { level, ..Finding::error("DAEE-M001", "x") });
        }
        let written = |colour| {
            let mut out = Vec::new();
            write(&report, colour, &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        let coloured = written(true);
        let bare = [RED, YELLOW, BLUE, GREEN, "\x1b[0m"]
            .iter()
            .fold(coloured.clone(), |text, colour| text.replace(colour, ""));
        assert_eq!(bare, written(false));
        assert!(coloured.contains(YELLOW) && !bare.contains('\x1b'));
    }

    #[test]
    fn more_findings_than_anyone_reads_are_counted() {
        let mut report = Report::new(Group::Manifest, Name::stdin());
        report.findings = vec![Finding::error("DAEE-M001", "x"); SHOWN_MAX + 7];
        let mut out = Vec::new();
        write(&report, false, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(text.contains("and 7 more\n"), "{text}");
        assert!(text.ends_with("107 findings\n"), "{text}");
    }
}
