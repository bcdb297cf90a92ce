//! Fetches: https to the hosts that the manifest permits with `network_outbound:HOST`. They act at once,
//! and at least once: a turn that is rolled back has fetched still.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::{Code, Error, call, event};

/// A request to somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    timeout_ms: Option<u64>,
}

impl Fetch {
    /// A request with this method, as in `GET`.
    pub fn new(method: &str, url: &str) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout_ms: None,
        }
    }

    /// With one header more.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// With a body.
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits at most so many milliseconds. The door's own limit is 30 seconds.
    pub fn timeout_ms(mut self, timeout_ms: u64) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    /// Fetches. Whatever status comes back is an answer; an error is that none came.
    pub fn send(&self) -> Result<Fetched, Error> {
        let mut head = json!({"method": self.method, "url": self.url, "headers": self.headers});
        if let Some(timeout_ms) = self.timeout_ms {
            head["timeout_ms"] = Value::from(timeout_ms);
        }
        let reply = call("http.fetch", head, &self.body)?;
        Ok(Fetched {
            status: reply.field("status")?,
            headers: reply.field("headers")?,
            body: reply.body,
        })
    }
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Fetched {
    /// Whether the status is one of success.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        event::header(&self.headers, name)
    }

    /// The body, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::new(Code::Unreadable, error.to_string()))
    }
}

/// Fetches a URL with `GET`.
pub fn get(url: &str) -> Result<Fetched, Error> {
    Fetch::new("GET", url).send()
}
