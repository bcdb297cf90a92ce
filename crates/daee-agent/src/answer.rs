use serde::Serialize;
use serde_json::json;

use crate::{Code, Error, call};

/// What a request is answered. It goes out once the turn is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 100 to 599.
    pub status: u16,
    /// In this order; those that may not pass a hop are dropped on the way.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A status, and nothing else.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Plain text.
    pub fn text(status: u16, text: impl Into<String>) -> Self {
        let body = text.into().into_bytes();
        Self { body, ..Self::status(status) }.header("content-type", "text/plain; charset=utf-8")
    }

    /// 200 with a value as JSON.
    pub fn json<T: Serialize + ?Sized>(value: &T) -> Result<Self, Error> {
        let body = serde_json::to_vec(value)
            .map_err(|error| Error::new(Code::Unreadable, error.to_string()))?;
        Ok(Self { body, ..Self::status(200) }.header("content-type", "application/json"))
    }

    /// With one header more.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With another status.
    pub fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Answers this turn's event. There is one answer to each.
    pub fn send(&self) -> Result<(), Error> {
        let head = json!({"status": self.status, "headers": self.headers});
        call("event.answer", head, &self.body).map(drop)
    }
}
