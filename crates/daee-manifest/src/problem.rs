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

/// From where to where something stands, counted from 1; columns count characters. It is empty where
/// there is nothing to point at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// Line of the first character.
    pub line: u32,
    /// Column of the first character.
    pub column: u32,
    /// Line behind the last character.
    pub end_line: u32,
    /// Column behind the last character.
    pub end_column: u32,
}

impl Span {
    /// Where a manifest begins; stands for the whole where nothing smaller is meant.
    pub const START: Self = Self::between(Place::START, Place::START);

    pub(crate) const fn between(from: Place, to: Place) -> Self {
        Self { line: from.line, column: from.column, end_line: to.line, end_column: to.column }
    }

    /// Where it begins.
    pub const fn place(self) -> Place {
        Place { line: self.line, column: self.column }
    }

    pub(crate) const fn end(self) -> Place {
        Place { line: self.end_line, column: self.end_column }
    }
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
    /// Line behind the text that is meant.
    pub end_line: u32,
    /// Column behind the text that is meant; that of its beginning where there is none.
    pub end_column: u32,
}

impl Problem {
    pub(crate) fn at(span: Span, rule: &'static str, message: impl fmt::Display) -> Self {
        let Span { line, column, end_line, end_column } = span;
        Self { line, column, rule, message: message.to_string(), end_line, end_column }
    }

    /// From where to where the text stands that is meant.
    pub fn span(&self) -> Span {
        let Self { line, column, end_line, end_column, .. } = *self;
        Span { line, column, end_line, end_column }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} [{}]", self.line, self.column, self.message, self.rule)
    }
}

impl std::error::Error for Problem {}
