use serde_json::json;

use crate::{Error, Reply, call};

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
