//! The verdict in writing.

mod json;
mod text;

use std::io::{self, Write};

pub use text::plain;

use crate::Report;

/// For people: each finding under the line it is about, 80 columns wide; in colour if asked for.
pub fn text(report: &Report, colour: bool, out: &mut impl Write) -> io::Result<()> {
    text::write(report, colour, out)
}

/// For scripts: one JSON object on one line.
pub fn json(report: &Report, out: &mut impl Write) -> io::Result<()> {
    json::write(report, out)
}
