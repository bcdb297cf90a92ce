use std::fmt::{self, Display};

use daee_types::Coded;

/// Why the program could not do what it was asked, as it is printed.
#[derive(Debug)]
pub struct Failure {
    text: String,
}

impl Failure {
    /// What was tried, and what came of it.
    pub fn new(what: impl Display, why: impl Display) -> Self {
        Self { text: format!("error: {what}: {why}") }
    }

    /// An error, and what to do about it here.
    pub fn with(error: &(impl Coded + ?Sized), fix: &str) -> Self {
        let (code, fault) = (error.code(), error.fault());
        Self { text: format!("error: {error} {fix}\n  {code}, the fault is the {fault}'s") }
    }

    /// An error that says all there is to say.
    pub fn of(error: &(impl Coded + ?Sized)) -> Self {
        Self {
            text: format!(
                "error: {error}\n  {}, the fault is the {}'s",
                error.code(),
                error.fault()
            ),
        }
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl<E: Coded> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}
