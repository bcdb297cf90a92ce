use daee_types::Timestamp;
use serde_json::{Map, Value, json};

use crate::frame;

/// What wakes an agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The first turn of a lease.
    Start,
    /// A request at its endpoint.
    Http {
        /// As in `GET`.
        method: String,
        /// Begins with a slash.
        path: String,
        /// Without the question mark; empty if there was none.
        query: String,
        /// In the order they came.
        headers: Vec<(String, String)>,
        /// The request's body.
        body: Vec<u8>,
    },
    /// Word from another agent.
    Message {
        /// Who sent it.
        from: String,
        /// What it says.
        body: Vec<u8>,
    },
    /// A timer it set, or `schedule` of its manifest.
    Timer {
        /// The timer's name.
        name: String,
    },
    /// Once an interval, with the block hash that makes the interval's work unpredictable.
    Tick {
        /// The block hash.
        block_hash: [u8; 32],
    },
    /// The last turn of a lease.
    Stop {
        /// When the cell goes, whatever it does.
        deadline: Timestamp,
    },
    /// The first turn of a new version on old state.
    Upgraded {
        /// The version before.
        from_version: String,
    },
}

impl Event {
    /// The event, number of the turn and time that make exactly this frame.
    pub(crate) fn of_frame(frame: &[u8]) -> Option<(Self, u64, Timestamp)> {
        let (head, body) = frame::decode(frame)?;
        let text = |key: &str| Some(head.get(key)?.as_str()?.to_owned());
        let number = |key: &str| head.get(key)?.as_u64();
        let event = match head.get("kind")?.as_str()? {
            "start" => Event::Start,
            "http" => Event::Http {
                method: text("method")?,
                path: text("path")?,
                query: text("query")?,
                headers: serde_json::from_value(head.get("headers")?.clone()).ok()?,
                body: body.to_vec(),
            },
            "message" => Event::Message { from: text("from")?, body: body.to_vec() },
            "timer" => Event::Timer { name: text("name")? },
            "tick" => {
                Event::Tick { block_hash: frame::unhex(text("block_hash")?.strip_prefix("0x")?)? }
            }
            "stop" => Event::Stop { deadline: Timestamp(number("deadline_ms")?) },
            "upgraded" => Event::Upgraded { from_version: text("from_version")? },
            _ => return None,
        };
        let (turn, at) = (number("turn")?, Timestamp(number("ms")?));
        (event.frame(turn, at) == frame).then_some((event, turn, at))
    }

    /// The frame that the guest reads.
    pub fn frame(&self, turn: u64, at: Timestamp) -> Vec<u8> {
        let mut head = Map::new();
        let mut put = |key: &str, value: Value| {
            head.insert(key.to_owned(), value);
        };
        let mut body: &[u8] = &[];
        match self {
            Event::Start => put("kind", json!("start")),
            Event::Http { method, path, query, headers, body: request } => {
                put("kind", json!("http"));
                put("method", json!(method));
                put("path", json!(path));
                put("query", json!(query));
                put("headers", json!(headers));
                body = request;
            }
            Event::Message { from, body: message } => {
                put("kind", json!("message"));
                put("from", json!(from));
                body = message;
            }
            Event::Timer { name } => {
                put("kind", json!("timer"));
                put("name", json!(name));
            }
            Event::Tick { block_hash } => {
                put("kind", json!("tick"));
                put("block_hash", json!(format!("0x{}", frame::hex(block_hash))));
            }
            Event::Stop { deadline } => {
                put("kind", json!("stop"));
                put("deadline_ms", json!(deadline.0));
            }
            Event::Upgraded { from_version } => {
                put("kind", json!("upgraded"));
                put("from_version", json!(from_version));
            }
        }
        put("turn", json!(turn));
        put("ms", json!(at.0));
        frame::encode(&Value::Object(head), body)
    }
}

/// What an agent answers to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 100 to 599; 204 where the agent gave no answer.
    pub status: u16,
    /// In the agent's order. The endpoint drops what may not pass a hop.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}
