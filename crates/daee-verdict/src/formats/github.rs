use std::io::{self, Write};

use super::{plain, verdict_line};
use crate::{Finding, Level, Report, rule};

/// One workflow command for each finding, and the verdict.
pub(super) fn write(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for finding in &report.findings {
        writeln!(out, "{}", command(finding, report))?;
    }
    writeln!(out, "{}", verdict_line(report))
}

fn command(Finding { rule: id, level, place, message }: &Finding, report: &Report) -> String {
    let command = match level {
        Level::Note => "notice",
        Level::Warning => "warning",
        Level::Error => "error",
    };
    let mut properties = Vec::new();
    let mut message = plain(message);
    let mut file = &report.subject;
    if let (Some(place), Some(source)) = (place, &report.source) {
        match source.entry {
            // What stands in a package has no line that the page could show.
            Some(entry) => message = format!("{entry}:{}:{}: {message}", place.line, place.column),
            None => {
                file = &source.file;
                properties.push(format!("line={}", place.line));
                properties.push(format!("endLine={}", place.end_line));
                // Columns are of one line, or of none.
                if place.line == place.end_line {
                    properties.push(format!("col={}", place.column));
                    properties.push(format!("endColumn={}", place.end_column));
                }
            }
        }
    }
    if file.uri().is_some() {
        properties.insert(0, format!("file={}", property(file.shown())));
    }
    let name = rule(id).map_or(String::new(), |rule| format!(" {}", rule.name));
    properties.push(format!("title={}", property(&format!("{id}{name}"))));
    format!("::{command} {}::{}", properties.join(","), data(&message))
}

/// As the runner reads what stands behind the second `::`.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// The same for a property, which ends at a comma or a colon.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use daee_manifest::Span;

    use super::*;
    use crate::{Group, Name, Source};

    #[test]
    fn nothing_that_a_stranger_writes_becomes_a_command() {
        let name = Name::from("a,line=7::\n::set-env name=x::.yaml");
        let mut report = Report::new(Group::Manifest, name.clone());
        let text = "\n::add-mask::x".to_owned();
        report.source = Some(Source { file: name, entry: None, text });
        let place = Span { line: 2, column: 1, end_line: 2, end_column: 3 };
        let message = "100%\r\n::set-output name=x::y\u{2028}::stop-commands::";
        report.findings.push(Finding::error("DAEE-M003", message).at(Some(place)));
        let mut out = Vec::new();
        write(&report, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "::error file=a%2Cline=7%3A%3A%0A%3A%3Aset-env name=x%3A%3A.yaml,line=2,endLine=2,col=1,\
                 endColumn=3,title=DAEE-M003 unknown-key::100%25\u{fffd}\u{fffd}::set-output \
                 name=x::y\u{fffd}::stop-commands::",
                "1 finding",
            ]
        );
    }
}
