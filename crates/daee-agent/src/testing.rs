//! A door in memory, for tests of agents on the host. It is a double: it keeps what it is told and gives what the test
//! put there. No node, no network and no limits stand behind it.
//!
//! ```
//! use daee_agent::{Error, Event, What, chain, http, testing};
//!
//! fn turn(_: Event) -> Result<(), Error> {
//!     let fetched = http::get("https://example.org/price")?;
//!     chain::publish("price", &fetched.body)
//! }
//!
//! let mut door = testing::Door::new();
//! assert!(door.turn(What::Start, turn).result.is_err(), "nobody is there");
//! door.serve("https://example.org/price", 200, "7");
//! assert_eq!(door.turn(What::Start, turn).published, [("price".into(), b"7".to_vec())]);
//! ```

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;

use serde_json::{Map, Value, json};

use crate::http::Fetched;
use crate::log::Level;
use crate::state::hex;
use crate::{Answer, Code, Event, What, frame, reactor_turn, sha256::sha256};

/// Milliseconds since 1970 at which a new door's clock stands.
pub const BEGIN_MS: u64 = 1_700_000_000_000;

/// A door, and what is behind it.
#[derive(Clone, Debug)]
pub struct Door {
    now_ms: u64,
    turn: u64,
    kept: Kept,
    sites: BTreeMap<String, Result<Fetched, String>>,
    content: BTreeMap<String, Vec<u8>>,
    refused: BTreeMap<String, Refusal>,
    random: u8,
}

/// What a turn that is rolled back does not change.
#[derive(Clone, Debug, Default)]
struct Kept {
    state: BTreeMap<String, Vec<u8>>,
    timers: BTreeMap<String, u64>,
}

/// What one turn did.
#[derive(Clone, Debug, PartialEq)]
pub struct Turn {
    /// Whether it is kept, or the error it was rolled back for.
    pub result: Result<(), String>,
    /// What it answered, if it is kept.
    pub answer: Option<Answer>,
    /// What it logged, kept or not.
    pub logs: Vec<(Level, String)>,
    /// What it published, topic and data, if it is kept.
    pub published: Vec<(String, Vec<u8>)>,
    /// The URLs it fetched.
    pub fetched: Vec<String>,
}

impl Door {
    /// A door with nothing behind it.
    pub fn new() -> Self {
        Self {
            now_ms: BEGIN_MS,
            turn: 0,
            kept: Kept::default(),
            sites: BTreeMap::new(),
            content: BTreeMap::new(),
            refused: BTreeMap::new(),
            random: 0,
        }
    }

    /// Sets the clock on by so many milliseconds.
    pub fn wait_ms(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    /// Answers fetches of this URL.
    pub fn serve(&mut self, url: &str, status: u16, body: impl Into<Vec<u8>>) -> &mut Self {
        let fetched = Fetched { status, headers: Vec::new(), body: body.into() };
        self.sites.insert(url.into(), Ok(fetched));
        self
    }

    /// Lets fetches of this URL fail for this reason.
    pub fn fail(&mut self, url: &str, why: &str) -> &mut Self {
        self.sites.insert(url.into(), Err(why.into()));
        self
    }

    /// Puts content where `ipfs::read` finds it. Nobody verifies it.
    pub fn content(&mut self, cid: &str, bytes: impl Into<Vec<u8>>) -> &mut Self {
        self.content.insert(cid.into(), bytes.into());
        self
    }

    /// Denies an operation, as a node does that misses a permission in the manifest.
    pub fn deny(&mut self, op: &str, needs: Option<&str>) -> &mut Self {
        let message = format!("the manifest does not permit {op}");
        self.refused.insert(op.into(), (-1, message, needs.map(str::to_owned)));
        self
    }

    /// Refuses an operation for another reason: [`Code::Limit`], say.
    pub fn refuse(&mut self, op: &str, code: Code, message: &str) -> &mut Self {
        let number = code.number().expect("the door has a number for this code");
        self.refused.insert(op.into(), (number, message.into(), None));
        self
    }

    /// Sets a key before the agent does.
    pub fn set_state(&mut self, key: &str, value: impl Into<Vec<u8>>) -> &mut Self {
        self.kept.state.insert(key.into(), value.into());
        self
    }

    /// The value of a key.
    pub fn state(&self, key: &str) -> Option<&[u8]> {
        self.kept.state.get(key).map(Vec::as_slice)
    }

    /// When a timer will strike, in milliseconds since 1970.
    pub fn timer_ms(&self, name: &str) -> Option<u64> {
        self.kept.timers.get(name).copied()
    }

    /// Lets an agent handle one event.
    pub fn turn<E: Display>(
        &mut self,
        what: What,
        handler: impl FnOnce(Event) -> Result<(), E>,
    ) -> Turn {
        self.turn += 1;
        let before = self.kept.clone();
        if let What::Timer { name } = &what {
            self.kept.timers.remove(name);
        }
        let event = Event { turn: self.turn, at_ms: self.now_ms, what };
        let done = Turn {
            result: Ok(()),
            answer: None,
            logs: Vec::new(),
            published: Vec::new(),
            fetched: Vec::new(),
        };
        let door = std::mem::take(self);
        OPEN.set(Some(Open { door, event: Some(event), done }));
        let mut error = None;
        let code = reactor_turn(|event| {
            handler(event).map_err(|why| error.insert(why.to_string()).clone())
        });
        let open = OPEN.take().expect("no operation takes it away");
        *self = open.door;
        let mut done = open.done;
        if code != 0 {
            self.kept = before;
            done.result = Err(error.unwrap_or_default());
            done.answer = None;
            done.published.clear();
        }
        done
    }
}

impl Default for Door {
    fn default() -> Self {
        Self::new()
    }
}

thread_local! {
    static OPEN: RefCell<Option<Open>> = const { RefCell::new(None) };
}

/// A door in a turn.
struct Open {
    door: Door,
    event: Option<Event>,
    done: Turn,
}

/// What the imports do elsewhere.
pub(crate) fn call(op: &str, input: &[u8]) -> (i32, Vec<u8>) {
    let done = OPEN.with_borrow_mut(|open| match open {
        None => Err((-7, "there is no door here: use daee_agent::testing::Door".into(), None)),
        Some(open) => {
            let (head, body) = frame::decode(input).expect("the crate makes its own frames");
            open.operate(op, &head, body)
        }
    });
    match done {
        Ok((head, body)) => {
            let frame = frame::encode(&head, &body);
            (frame.len() as i32, frame)
        }
        Err((code, message, needs)) => {
            let head = json!({"message": message, "needs": needs});
            (code, frame::encode(&head, b""))
        }
    }
}

/// The number, why, and what it needs.
type Refusal = (i32, String, Option<String>);
type Done = Result<(Value, Vec<u8>), Refusal>;

impl Open {
    fn operate(&mut self, op: &str, head: &Map<String, Value>, body: &[u8]) -> Done {
        let malformed = |what: &str| (-3, what.to_owned(), None);
        let text = |key: &str| {
            let text = head.get(key).and_then(Value::as_str);
            text.ok_or_else(|| malformed(&format!("{key} is missing")))
        };
        let done = |head: Value| Ok((head, vec![]));
        let not_found = |what: &str| Err((-5, format!("there is no {what}"), None));
        if let Some(refusal) = self.door.refused.get(op) {
            return Err(refusal.clone());
        }
        match op {
            "log" => {
                let level = Level::named(text("level")?).ok_or_else(|| malformed("level"))?;
                self.done.logs.push((level, text("text")?.to_owned()));
                done(json!({}))
            }
            "now" => done(json!({"ms": self.door.now_ms})),
            "random" => {
                let count = head.get("bytes").and_then(Value::as_u64).unwrap_or_default();
                let bytes = (0..count).map(|_| self.door.next_random()).collect();
                Ok((json!({}), bytes))
            }
            "event.next" => match self.event.take() {
                Some(event) => {
                    let (head, body) = event.parts();
                    Ok((Value::Object(head), body))
                }
                None => Err((-7, "this turn's event was given".into(), None)),
            },
            "event.answer" if self.done.answer.is_some() => {
                Err((-7, "this turn's event has its answer".into(), None))
            }
            "event.answer" => {
                let status = head.get("status").and_then(Value::as_u64).unwrap_or(200);
                if !(100..=599).contains(&status) {
                    return Err(malformed("that is not a status"));
                }
                let headers = head.get("headers").cloned().unwrap_or_else(|| json!([]));
                let headers = serde_json::from_value(headers).map_err(|_| malformed("headers"))?;
                self.done.answer =
                    Some(Answer { status: status as u16, headers, body: body.to_vec() });
                done(json!({}))
            }
            "state.get" => match self.door.kept.state.get(text("key")?) {
                Some(value) => Ok((json!({}), value.clone())),
                None => not_found("such key"),
            },
            "state.set" => {
                self.door.kept.state.insert(text("key")?.to_owned(), body.to_vec());
                done(json!({}))
            }
            "state.delete" => {
                let existed = self.door.kept.state.remove(text("key")?).is_some();
                done(json!({"existed": existed}))
            }
            "state.list" => {
                let prefix = text("prefix").unwrap_or_default();
                let after = text("after").ok();
                let limit = head.get("limit").and_then(Value::as_u64).unwrap_or(1000) as usize;
                let keys = self.door.kept.state.keys();
                let keys = keys.filter(|key| key.starts_with(prefix));
                let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
                done(json!({"keys": keys.take(limit).collect::<Vec<_>>()}))
            }
            "state.cas" => {
                let now = self.door.kept.state.get(text("key")?);
                let expected = match head.get("expect") {
                    Some(Value::String(word)) if word == "absent" => None,
                    Some(expect) => expect["sha256"].as_str(),
                    None => return Err(malformed("expect is missing")),
                };
                let swapped = now.map(|value| hex(&sha256(value))).as_deref() == expected;
                if swapped {
                    self.door.kept.state.insert(text("key")?.to_owned(), body.to_vec());
                }
                done(json!({"swapped": swapped}))
            }
            "timer.set" => {
                let number = |key: &str| head.get(key).and_then(Value::as_u64);
                let at = match (number("at_ms"), number("after_ms")) {
                    (Some(at), None) => at,
                    (None, Some(after)) => self.door.now_ms + after,
                    _ => return Err(malformed("give at_ms or after_ms, and not both")),
                };
                self.door.kept.timers.insert(text("name")?.to_owned(), at);
                done(json!({}))
            }
            "timer.cancel" => {
                let existed = self.door.kept.timers.remove(text("name")?).is_some();
                done(json!({"existed": existed}))
            }
            "http.fetch" => {
                let url = text("url")?;
                self.done.fetched.push(url.to_owned());
                match self.door.sites.get(url) {
                    Some(Ok(Fetched { status, headers, body })) => {
                        Ok((json!({"status": status, "headers": headers}), body.clone()))
                    }
                    Some(Err(why)) => Err((-6, why.clone(), None)),
                    None => Err((-6, format!("nobody answers at {url}"), None)),
                }
            }
            "ipfs.read" => match self.door.content.get(text("cid")?) {
                Some(bytes) => Ok((json!({}), bytes.clone())),
                None => not_found("such content"),
            },
            "chain.publish" => {
                self.done.published.push((text("topic")?.to_owned(), body.to_vec()));
                done(json!({}))
            }
            _ => Err((-2, format!("there is no operation {op:?}"), None)),
        }
    }
}

impl Door {
    /// The same bytes in each run.
    fn next_random(&mut self) -> u8 {
        self.random = self.random.wrapping_mul(5).wrapping_add(17);
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Request, call, chain, http, ipfs, log, now_ms, random, state, timer};

    fn check(door: &mut Door, what: What, handler: impl FnOnce() -> Result<(), Error>) -> Turn {
        door.turn(what, |_| handler())
    }

    #[test]
    fn what_a_turn_does_is_kept() {
        let mut door = Door::new();
        door.content("bafy", "content");
        let turn = check(&mut door, What::Start, || {
            assert_eq!(now_ms()?, BEGIN_MS);
            assert_eq!(random(3)?.len(), 3);
            assert_eq!(ipfs::read("bafy", 100)?, b"content");
            state::set("b", b"2")?;
            state::set("a/1", b"1")?;
            state::set("a/2", b"1")?;
            assert_eq!(state::list("a/", None, 10)?, ["a/1", "a/2"]);
            assert_eq!(state::list("a/", Some("a/1"), 10)?, ["a/2"]);
            assert!(state::delete("a/1")? && !state::delete("a/1")?);
            timer::set_after("soon", 5)?;
            timer::set_at("gone", 5)?;
            assert!(timer::cancel("gone")? && !timer::cancel("gone")?);
            chain::publish("topic", b"data")?;
            log::info("hello");
            Answer::text(200, "yes").send()
        });
        assert_eq!(turn.result, Ok(()));
        assert_eq!(turn.answer.unwrap().body, b"yes");
        assert_eq!(turn.logs, [(Level::Info, "hello".into())]);
        assert_eq!(turn.published, [("topic".into(), b"data".to_vec())]);
        assert_eq!((door.state("b"), door.state("a/1")), (Some(&b"2"[..]), None));
        assert_eq!((door.timer_ms("soon"), door.timer_ms("gone")), (Some(BEGIN_MS + 5), None));
    }

    #[test]
    fn an_error_rolls_the_turn_back_and_stays_in_the_log() {
        let mut door = Door::new();
        let turn = check(&mut door, What::Http(Request::get("/")), || {
            state::set("key", b"value")?;
            timer::set_after("timer", 1)?;
            chain::publish("topic", b"")?;
            Answer::status(200).send()?;
            http::get("https://nobody.example/").map(drop)
        });
        let why = "nobody answers at https://nobody.example/";
        assert_eq!(turn.result, Err(why.into()));
        assert_eq!(turn.logs, [(Level::Error, why.into())]);
        assert_eq!((turn.answer, turn.published), (None, vec![]));
        assert_eq!((door.state("key"), door.timer_ms("timer")), (None, None));
        assert_eq!(turn.fetched, ["https://nobody.example/"]);
    }

    #[test]
    fn refusals_have_a_code_and_say_what_they_need() {
        let mut door = Door::new();
        door.deny("chain.publish", Some("publish_to_chain"));
        let turn = check(&mut door, What::Start, || {
            assert_eq!(call("no.such", json!({}), b"").unwrap_err().code(), Code::Unknown);
            assert_eq!(ipfs::read("bafy", 1).unwrap_err().code(), Code::NotFound);
            assert_eq!(Answer::status(99).send().unwrap_err().code(), Code::Malformed);
            assert_eq!(Event::next().unwrap_err().code(), Code::NotNow);
            Answer::status(200).send()?;
            assert_eq!(Answer::status(200).send().unwrap_err().code(), Code::NotNow);
            let denied = chain::publish("topic", b"").unwrap_err();
            assert_eq!((denied.code(), denied.needs()), (Code::Denied, Some("publish_to_chain")));
            Ok(())
        });
        assert_eq!(turn.result, Ok(()));
    }

    #[test]
    fn a_key_is_swapped_only_from_what_it_was() {
        let mut door = Door::new();
        check(&mut door, What::Start, || {
            assert!(!state::swap("key", Some(b"old"), b"new")?);
            assert!(state::swap("key", None, b"old")?);
            assert!(!state::swap("key", None, b"new")?);
            assert!(!state::swap("key", Some(b"other"), b"new")?);
            assert!(state::swap("key", Some(b"old"), b"new")?);
            Ok(())
        })
        .result
        .unwrap();
        assert_eq!(door.state("key"), Some(&b"new"[..]));
    }

    #[test]
    fn what_does_not_read_as_asked_is_an_error_and_not_a_panic() {
        let mut door = Door::new();
        door.set_state("number", "seven").serve("https://example.org/", 200, "<html>");
        check(&mut door, What::Start, || {
            assert_eq!(state::get_json::<u64>("number").unwrap_err().code(), Code::Unreadable);
            let fetched = http::get("https://example.org/")?;
            assert_eq!(fetched.json::<Value>().unwrap_err().code(), Code::Unreadable);
            Ok(())
        })
        .result
        .unwrap();
    }

    #[test]
    fn every_event_arrives_as_it_was_sent() {
        let other = crate::Reply { head: Map::new(), body: b"new".to_vec() };
        let request = Request {
            method: "POST".into(),
            path: "/p".into(),
            query: "a=b".into(),
            headers: vec![("Host".into(), "here".into())],
            body: b"\0\xff".to_vec(),
        };
        assert_eq!(request.header("host"), Some("here"));
        for what in [
            What::Start,
            What::Http(request),
            What::Message { from: "a.b".into(), body: b"hi".to_vec() },
            What::Timer { name: "schedule".into() },
            What::Tick { block_hash: "0x00".into() },
            What::Stop { deadline_ms: 1 },
            What::Upgraded { from_version: "1.0.0".into() },
        ] {
            let turn = Door::new().turn(what.clone(), |event| {
                assert_eq!(event, Event { turn: 1, at_ms: BEGIN_MS, what });
                Ok::<_, Error>(())
            });
            assert_eq!(turn.result, Ok(()));
        }
        let unknown = What::Other { kind: "new".into(), reply: other };
        Door::new().turn(unknown, |event| {
            let What::Other { kind, reply } = event.what else { panic!("it is known") };
            assert_eq!((kind.as_str(), reply.body), ("new", b"new".to_vec()));
            Ok::<_, Error>(())
        });
    }

    #[test]
    fn a_timer_that_struck_is_not_set_any_more() {
        let mut door = Door::new();
        check(&mut door, What::Start, || timer::set_after("once", 1));
        check(&mut door, What::Timer { name: "once".into() }, || Ok(()));
        assert_eq!(door.timer_ms("once"), None);
    }

    #[test]
    fn without_a_door_every_call_says_so() {
        let error = state::get("key").unwrap_err();
        assert_eq!(error.code(), Code::NotNow);
        assert!(error.to_string().contains("daee_agent::testing"), "{error}");
    }
}
