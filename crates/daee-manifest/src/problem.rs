use std::fmt;

/// Where something stands, counted from 1; columns count characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

impl Place {
    /// Where a manifest begins; stands for the whole where nothing smaller is meant.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1, in characters.
    pub column: u32,
    /// Stable rule, `DAEE-M000`.
    pub rule: &'static str,
    /// What is wrong and what to write instead.
    pub message: String,
}

impl Problem {
    pub(crate) fn at(place: Place, rule: &'static str, message: impl fmt::Display) -> Self {
        Self { line: place.line, column: place.column, rule, message: message.to_string() }
    }

    pub(crate) fn place(&self) -> Place {
        Place { line: self.line, column: self.column }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} [{}]", self.line, self.column, self.message, self.rule)
    }
}

impl std::error::Error for Problem {}
