/// What went wrong, and what to type next.
#[derive(Debug, thiserror::Error)]
#[error("error: {what}\n  fix: {fix}")]
pub struct Failure {
    what: String,
    fix: String,
}

impl Failure {
    pub fn new(what: impl Into<String>, fix: impl Into<String>) -> Failure {
        Failure { what: what.into(), fix: fix.into() }
    }

    /// The same failure with the fix that the caller knows better.
    pub fn fixed_by(self, fix: &str) -> Failure {
        Failure { fix: fix.to_owned(), ..self }
    }
}
