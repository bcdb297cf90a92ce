use serde::de::DeserializeOwned;
use serde_json::json;

use crate::{Code, Error, Reply, call};

/// What woke the agent.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The number of the turn, from 1 in an agent's life.
    pub turn: u64,
    /// When it happened, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    pub what: What,
}

/// What can happen.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum What {
    /// The first turn of a lease.
    Start,
    /// A request at the agent's endpoint. It waits for an [`Answer`](crate::Answer); without one it gets 204.
    Http(Request),
    /// Word from another agent.
    Message {
        /// Who sent it.
        from: String,
        /// What it says.
        body: Vec<u8>,
    },
    /// A timer that was set, or `schedule` of the manifest, whose name is `schedule`.
    Timer {
        /// The timer's name.
        name: String,
    },
    /// Once an interval. Most agents let it pass.
    Tick {
        /// A recent block hash, in hexadecimal digits behind `0x`.
        block_hash: String,
    },
    /// The last turn of a lease.
    Stop {
        /// When the cell goes, in milliseconds since 1970.
        deadline_ms: u64,
    },
    /// The first turn of a new version on old state.
    Upgraded {
        /// The version before.
        from_version: String,
    },
    /// Something that this version of the crate does not know.
    Other {
        /// Its name.
        kind: String,
        /// What the event says.
        reply: Reply,
    },
}

/// A request at the agent's endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// As in `GET`.
    pub method: String,
    /// Begins with a slash.
    pub path: String,
    /// Without the question mark; empty if there was none.
    pub query: String,
    /// In the order they came.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// A `GET` of a path, as a test sends it.
    pub fn get(path: &str) -> Self {
        Self { method: "GET".into(), path: path.into(), ..Self::default() }
    }

    /// The first header of this name, in whatever case.
    pub fn header(&self, name: &str) -> Option<&str> {
        header(&self.headers, name)
    }

    /// The first value of this name in the query, as a form writes it: `+` is a space, and `%2f` a slash.
    pub fn param(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let mut named = pairs.filter(|(known, _)| decoded(known) == name);
        named.next().map(|(_, value)| decoded(value))
    }

    /// The body as text.
    pub fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.body).map_err(|error| unreadable(&error))
    }

    /// The body, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|error| unreadable(&error))
    }
}

fn unreadable(error: &dyn std::error::Error) -> Error {
    Error::new(Code::Unreadable, format!("the request's body: {error}"))
}

/// Without the escapes of a query. What is no escape stays as it is.
fn decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let escaped = (*first == b'%').then(|| behind.split_first_chunk::<2>()).flatten();
        let byte = escaped.and_then(|(digits, behind)| {
            let digit = |at: usize| char::from(digits[at]).to_digit(16);
            Some((digit(0)? * 16 + digit(1)?, behind))
        });
        match byte {
            Some((byte, behind)) => {
                out.push(byte as u8);
                rest = behind;
            }
            None => out.push(if *first == b'+' { b' ' } else { *first }),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

pub(crate) fn header<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let named = headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
    named.map(|(_, value)| value.as_str())
}

impl Event {
    /// Takes the next event. In a resident this ends the turn before and waits; in a reactor each turn has
    /// one event, and [`reactor!`](crate::reactor) takes it.
    pub fn next() -> Result<Self, Error> {
        Self::read(call("event.next", json!({}), b"")?)
    }

    pub(crate) fn read(reply: Reply) -> Result<Self, Error> {
        let text = |key: &str| reply.field::<String>(key);
        let kind = text("kind")?;
        Ok(Self {
            turn: reply.number("turn")?,
            at_ms: reply.number("ms")?,
            what: match kind.as_str() {
                "start" => What::Start,
                "http" => What::Http(Request {
                    method: text("method")?,
                    path: text("path")?,
                    query: text("query")?,
                    headers: reply.field("headers")?,
                    body: reply.body,
                }),
                "message" => What::Message { from: text("from")?, body: reply.body },
                "timer" => What::Timer { name: text("name")? },
                "tick" => What::Tick { block_hash: text("block_hash")? },
                "stop" => What::Stop { deadline_ms: reply.number("deadline_ms")? },
                "upgraded" => What::Upgraded { from_version: text("from_version")? },
                _ => What::Other { kind, reply },
            },
        })
    }

    /// The frame's head and body, as the door would give them.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn parts(&self) -> (serde_json::Map<String, serde_json::Value>, Vec<u8>) {
        let (mut head, body) = match self.what.clone() {
            What::Start => (json!({"kind": "start"}), vec![]),
            What::Http(Request { method, path, query, headers, body }) => (
                json!({"kind": "http", "method": method, "path": path, "query": query, "headers": headers}),
                body,
            ),
            What::Message { from, body } => (json!({"kind": "message", "from": from}), body),
            What::Timer { name } => (json!({"kind": "timer", "name": name}), vec![]),
            What::Tick { block_hash } => {
                (json!({"kind": "tick", "block_hash": block_hash}), vec![])
            }
            What::Stop { deadline_ms } => {
                (json!({"kind": "stop", "deadline_ms": deadline_ms}), vec![])
            }
            What::Upgraded { from_version } => {
                (json!({"kind": "upgraded", "from_version": from_version}), vec![])
            }
            What::Other { kind, reply } => {
                let mut head = serde_json::Value::Object(reply.head);
                head["kind"] = json!(kind);
                (head, reply.body)
            }
        };
        head["turn"] = json!(self.turn);
        head["ms"] = json!(self.at_ms);
        match head {
            serde_json::Value::Object(head) => (head, body),
            _ => unreachable!("each arm makes an object"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_the_query_is_read_as_a_form_writes_it() {
        let check = |query: &str, name: &str, expected: Option<&str>| {
            let request = Request { query: query.into(), ..Request::get("/") };
            assert_eq!(request.param(name).as_deref(), expected, "{query}");
        };
        check("a=1&b=2", "b", Some("2"));
        check("a=1&a=2", "a", Some("1"));
        check("a+b=c%2Fd%26+e", "a b", Some("c/d& e"));
        check("a=b=c", "a", Some("b=c"));
        check("a&b", "a", Some(""));
        check("a=%C3%A9", "a", Some("\u{e9}"));
        // What is no escape stays, and what is no text is marked.
        check("a=%&b=%g1%2", "a", Some("%"));
        check("a=%&b=%g1%2", "b", Some("%g1%2"));
        check("a=%ff", "a", Some("\u{fffd}"));
        check("aa=1", "a", None);
        check("", "a", None);
    }

    #[test]
    fn a_body_that_does_not_read_says_so() {
        let request = Request { body: b"{\"a\":".to_vec(), ..Request::get("/") };
        let error = request.json::<serde_json::Value>().unwrap_err();
        assert_eq!(error.code(), Code::Unreadable);
        assert!(error.to_string().starts_with("the request's body: "), "{error}");
        let request = Request { body: vec![0xff], ..Request::get("/") };
        assert_eq!(request.text().unwrap_err().code(), Code::Unreadable);
    }
}
