//! A door in memory, for tests of agents on the host. It is a double: it keeps what it is told and gives what the test
//! put there. It takes and refuses what a node's door does, but for what needs a node: it judges no URL and no CID,
//! takes no numbers of files, and an agent's quota, fuel and time have no end.
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
use crate::tree::Tree;
use crate::{Answer, Code, Event, IntoAnswer, What, frame, reactor_turn, sha256::sha256};

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
}

/// What a turn that is rolled back does not change.
#[derive(Clone, Debug, Default)]
struct Kept {
    state: BTreeMap<String, Vec<u8>>,
    files: Tree,
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
        let needs = needs.map(str::to_owned);
        self.refused.insert(op.into(), Refusal { code: Code::Denied, message, needs });
        self
    }

    /// Refuses an operation for another reason: [`Code::Limit`], say.
    pub fn refuse(&mut self, op: &str, code: Code, message: &str) -> &mut Self {
        self.refused.insert(op.into(), Refusal::new(code, message));
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

    /// The content of a file, by its path without dots.
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        self.kept.files.content(path)
    }

    /// When a timer will strike, in milliseconds since 1970.
    pub fn timer_ms(&self, name: &str) -> Option<u64> {
        self.kept.timers.get(name).copied()
    }

    /// Lets an agent handle one event.
    pub fn turn<A: IntoAnswer, E: Display>(
        &mut self,
        what: What,
        handler: impl FnOnce(Event) -> Result<A, E>,
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
    OPEN.with_borrow_mut(|open| {
        let done = match open {
            None => refuse(Code::NotNow, "there is no door here: use daee_agent::testing::Door"),
            Some(open) => open.call(op, input),
        };
        match done {
            Ok((head, body)) => {
                let frame = frame::encode(&head, &body);
                (frame.len() as i32, frame)
            }
            Err(refusal) => {
                let number = refusal.code.said().map_or(i32::MIN, |(number, _)| number);
                (number, frame::encode(&refusal.head(open.as_ref(), op), b""))
            }
        }
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    code: Code,
    message: String,
    needs: Option<String>,
}

impl Refusal {
    fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), needs: None }
    }

    fn head(&self, open: Option<&Open>, op: &str) -> Value {
        let name = self.code.said().map_or("another", |(_, name)| name);
        let mut head = json!({"code": name, "message": self.message});
        if let Some(needs) = &self.needs {
            head["needs"] = json!(needs);
        }
        // What waits says the time after it, refused or not.
        if let (Some(open), "http.fetch" | "ipfs.read") = (open, op) {
            head["ms"] = json!(open.door.now_ms);
        }
        head
    }
}

pub(crate) fn refuse<T>(code: Code, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(code, message))
}

pub(crate) type Done = Result<(Value, Vec<u8>), Refusal>;

pub(crate) fn done(head: Value) -> Done {
    Ok((head, Vec::new()))
}

impl Open {
    fn call(&mut self, op: &str, input: &[u8]) -> Done {
        let Some((head, body)) = frame::decode(input) else {
            return refuse(Code::Malformed, "the input is no frame");
        };
        match self.door.refused.get(op) {
            Some(refusal) => Err(refusal.clone()),
            None => self.operate(op, &Head(head), body),
        }
    }

    fn operate(&mut self, op: &str, head: &Head, body: &[u8]) -> Done {
        let Kept { state, files, timers } = &mut self.door.kept;
        match op {
            "log" => {
                let name = head.maybe_text("level")?.unwrap_or("info");
                let level = Level::named(name).ok_or_else(|| malformed("level"))?;
                self.done.logs.push((level, head.text("text")?.to_owned()));
                done(json!({}))
            }
            "now" => done(json!({"ms": self.door.now_ms})),
            "random" => match head.number("bytes")? {
                bytes @ 0..=RANDOM_BYTES_MAX => Ok((json!({}), vec![0x2a; bytes as usize])),
                _ => refuse(Code::Limit, "too many random bytes"),
            },
            "event.next" => match self.event.take() {
                Some(event) => {
                    let (head, body) = event.parts();
                    Ok((Value::Object(head), body))
                }
                None => refuse(Code::NotNow, "this turn's event was given"),
            },
            "event.answer" if self.done.answer.is_some() => {
                refuse(Code::NotNow, "this turn's event has its answer")
            }
            "event.answer" => {
                let status = match head.maybe_number("status")? {
                    None => 200,
                    Some(status @ 100..=599) => status as u16,
                    Some(_) => return Err(malformed("status")),
                };
                let headers = head.headers()?;
                self.done.answer = Some(Answer { status, headers, body: body.to_vec() });
                done(json!({}))
            }
            "state.get" => match state.get(head.text("key")?) {
                Some(value) => Ok((json!({}), value.clone())),
                None => refuse(Code::NotFound, "there is no such key"),
            },
            "state.set" => {
                state.insert(head.name("key", KEY_BYTES_MAX)?, value(body)?);
                done(json!({}))
            }
            "state.delete" => {
                let existed = state.remove(head.text("key")?).is_some();
                done(json!({"existed": existed}))
            }
            "state.list" => {
                let prefix = head.maybe_text("prefix")?.unwrap_or_default();
                let after = head.maybe_text("after")?;
                let limit = head.maybe_number("limit")?.unwrap_or(LIST_MAX);
                if limit > LIST_MAX {
                    return refuse(Code::Limit, "too many keys");
                }
                let keys = state.keys().filter(|key| key.starts_with(prefix));
                let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
                done(json!({"keys": keys.take(limit as usize).collect::<Vec<_>>()}))
            }
            "state.cas" => {
                let key = head.name("key", KEY_BYTES_MAX)?;
                let now = state.get(&key).map(|value| hex(&sha256(value)));
                let expected = match &head.0.get("expect") {
                    Some(Value::String(word)) if word == "absent" => None,
                    Some(Value::Object(expect)) => match expect.get("sha256") {
                        Some(Value::String(hash)) if is_hash(hash) => Some(hash),
                        _ => return Err(malformed("expect")),
                    },
                    _ => return Err(malformed("expect")),
                };
                let swapped = now.as_ref() == expected;
                if swapped {
                    state.insert(key, value(body)?);
                }
                done(json!({"swapped": swapped}))
            }
            "timer.set" => {
                let at = match (head.maybe_number("at_ms")?, head.maybe_number("after_ms")?) {
                    (Some(at), None) => at,
                    (None, Some(after)) => self.door.now_ms.saturating_add(after),
                    _ => return Err(malformed("at_ms or after_ms")),
                };
                timers.insert(head.name("name", TIMER_BYTES_MAX)?, at);
                done(json!({}))
            }
            "timer.cancel" => {
                let existed = timers.remove(head.text("name")?).is_some();
                done(json!({"existed": existed}))
            }
            "http.fetch" => {
                let url = head.text("url")?;
                head.headers()?;
                self.done.fetched.push(url.to_owned());
                match self.door.sites.get(url) {
                    Some(Ok(Fetched { status, headers, body })) => {
                        let ms = self.door.now_ms;
                        let head = json!({"status": status, "headers": headers, "ms": ms});
                        Ok((head, body.clone()))
                    }
                    Some(Err(why)) => refuse(Code::Outside, why),
                    None => refuse(Code::Outside, format!("nobody answers at {url}")),
                }
            }
            "ipfs.read" => {
                let max = head.maybe_number("max_bytes")?.unwrap_or(u64::MAX);
                match self.door.content.get(head.text("cid")?) {
                    Some(bytes) if bytes.len() as u64 > max => {
                        refuse(Code::Limit, format!("larger than {max} bytes"))
                    }
                    Some(bytes) => Ok((json!({"ms": self.door.now_ms}), bytes.clone())),
                    None => refuse(Code::NotFound, "there is no such content"),
                }
            }
            "chain.publish" => {
                let topic = head.name("topic", TOPIC_BYTES_MAX)?;
                if body.len() > PUBLISHED_BYTES_MAX {
                    return refuse(Code::Limit, "too large to be published");
                }
                self.done.published.push((topic, body.to_vec()));
                done(json!({}))
            }
            op if op.starts_with("file.") => {
                files.operate(op, head, body, self.door.now_ms * 1_000_000)
            }
            _ => refuse(Code::Unknown, format!("there is no operation {op:?}")),
        }
    }
}

const RANDOM_BYTES_MAX: u64 = 4096;
const KEY_BYTES_MAX: usize = 512;
const VALUE_BYTES_MAX: usize = 1 << 20;
pub(crate) const LIST_MAX: u64 = 1000;
const TIMER_BYTES_MAX: usize = 64;
const TOPIC_BYTES_MAX: usize = 32;
const PUBLISHED_BYTES_MAX: usize = 4096;

fn value(body: &[u8]) -> Result<Vec<u8>, Refusal> {
    if body.len() > VALUE_BYTES_MAX {
        return refuse(Code::Limit, "the value is too large");
    }
    Ok(body.to_vec())
}

fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

pub(crate) fn malformed(what: &str) -> Refusal {
    Refusal::new(Code::Malformed, format!("{what} is missing or is not what it should be"))
}

/// An input, read as strictly as a node does.
pub(crate) struct Head(Map<String, Value>);

impl Head {
    pub(crate) fn field(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, key: &str) -> Result<&str, Refusal> {
        self.maybe_text(key)?.ok_or_else(|| malformed(key))
    }

    pub(crate) fn maybe_text(&self, key: &str) -> Result<Option<&str>, Refusal> {
        let Some(value) = self.field(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| malformed(key))
    }

    /// A text of 1 to `max` bytes.
    fn name(&self, key: &str, max: usize) -> Result<String, Refusal> {
        let name = self.text(key)?;
        if name.is_empty() || name.len() > max {
            return Err(malformed(key));
        }
        Ok(name.to_owned())
    }

    pub(crate) fn number(&self, key: &str) -> Result<u64, Refusal> {
        self.maybe_number(key)?.ok_or_else(|| malformed(key))
    }

    pub(crate) fn maybe_number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.field(key) else { return Ok(None) };
        value.as_u64().map(Some).ok_or_else(|| malformed(key))
    }

    fn headers(&self) -> Result<Vec<(String, String)>, Refusal> {
        let Some(headers) = self.field("headers") else { return Ok(Vec::new()) };
        serde_json::from_value(headers.clone()).map_err(|_| malformed("headers"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Error, Request, call, chain, file, http, ipfs, log, now_ms, random, state, timer};

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

    /// The vectors of `docs/spec/door.md`. What needs a node stands in the turn that is left out.
    #[test]
    fn it_keeps_to_the_vectors_of_the_door() {
        let vectors = vectors();
        let mut door = Door::new();
        for content in list(&vectors, "contents", "outside") {
            door.content(content["cid"].as_str().unwrap(), bytes(content, "body"));
        }
        for turn in list(&vectors, "turns", "") {
            let name = turn["name"].as_str().unwrap();
            if name.starts_with("http.fetch") {
                continue;
            }
            let turned = door.turn(What::Start, |_| {
                list(turn, "calls", "").iter().for_each(check_call);
                Ok::<_, Error>(())
            });
            assert_eq!(turned.result, Ok(()), "{name}");
            if let Some(logs) = turn["logs"].as_array() {
                let found = turned.logs.iter().map(|(level, text)| json!([level.name(), text]));
                assert_eq!(&found.collect::<Vec<_>>(), logs, "{name}");
            }
            if turn["timers"].is_object() {
                assert_eq!(json!(door.kept.timers), turn["timers"], "{name}");
            }
            let effects = turn["effects"].as_array().map(Vec::as_slice).unwrap_or_default();
            let expected = effects
                .iter()
                .map(|one| (one["topic"].as_str().unwrap().to_owned(), bytes(one, "data")));
            assert_eq!(turned.published, expected.collect::<Vec<_>>(), "{name}");
        }
        for case in list(&vectors, "answers", "") {
            let turned = door.turn(What::Start, |_| {
                let returned = super::call("event.answer", &input(case)).0;
                assert_eq!(json!(returned.min(0)), json!(case["returns"].as_i64().unwrap_or(0)));
                Ok::<_, Error>(())
            });
            let found = turned.answer.map(|answer| (json!(answer.status), json!(answer.headers)));
            let expected = (case["status"].clone(), case["headers"].clone());
            assert_eq!(found, case["returns"].is_null().then_some(expected), "{case}");
        }
    }

    /// The calls that go by paths; the others are a libc's.
    #[test]
    fn files_keep_to_the_vectors_as_far_as_they_have_paths() {
        let vectors = vectors();
        let turn = &list(&vectors, "files", "")[0];
        let calls = list(turn, "calls", "").iter();
        let by_path = calls.filter(|call| call["head"]["at"].is_null()).cloned();
        let mut door = Door::new();
        let turned = door.turn(What::Start, |_| {
            let mut made = 0;
            for mut call in by_path {
                made += 1;
                // Numbers and what POSIX calls a refusal are for a libc.
                for name in ["file", "errno"] {
                    if let Some(answer) = call["answer"].as_object_mut() {
                        answer.remove(name);
                    }
                }
                let (returned, answer) = super::call(call["op"].as_str().unwrap(), &input(&call));
                assert_eq!(
                    json!(returned.min(0)),
                    json!(call["returns"].as_i64().unwrap_or(0)),
                    "{call}"
                );
                let (mut head, body) = frame::decode(&answer).unwrap();
                for name in ["message", "file"] {
                    head.remove(name);
                }
                // A folder is missing: it was made by its number.
                if call["op"] == "file.list" && returned > 0 {
                    continue;
                }
                let expected = (call["answer"].clone(), bytes(&call, "answer_body"));
                assert_eq!((Value::Object(head), body.to_vec()), expected, "{call}");
            }
            assert!(made > 30, "{made}");
            Ok::<_, Error>(())
        });
        assert_eq!(turned.result, Ok(()));
    }

    #[test]
    fn files_are_kept_moved_and_rolled_back() {
        let mut door = Door::new();
        let turn = check(&mut door, What::Start, || {
            file::create_dir("a")?;
            file::write("a/one", b"hello")?;
            file::append("a/one", b"!")?;
            file::write_at("a/one", 7, b"?")?;
            assert_eq!(file::read("./a//one")?, b"hello!\0?");
            assert_eq!(file::read_at("a/one", 1, 2)?, b"el");
            file::truncate("a/one", 5)?;
            file::rename("a", "b")?;
            assert_eq!(file::stat("b/one")?.size, 5);
            let entries = file::list("b", None, 10)?;
            assert_eq!(entries, [file::Entry { name: "one".into(), kind: file::Kind::File }]);
            file::touch("b/one", Some(7))?;
            assert_eq!(file::stat("b/one")?.modified_ns, 7);
            let code = |done: Result<(), Error>| done.unwrap_err().code();
            assert_eq!(code(file::remove("b")), Code::Conflict);
            assert_eq!(code(file::remove("a")), Code::NotFound);
            assert_eq!(code(file::rename("b", "b/c")), Code::Malformed);
            assert_eq!(code(file::write("../c", b"")), Code::Malformed);
            assert_eq!(code(file::create("b/one", true).map(drop)), Code::Conflict);
            Ok(())
        });
        assert_eq!(turn.result, Ok(()));
        let turn = check(&mut door, What::Start, || {
            file::remove("b/one")?;
            file::remove("b")?;
            file::read("b/one").map(drop)
        });
        assert!(turn.result.is_err());
        assert_eq!(door.file("b/one"), Some(&b"hello"[..]));
    }

    #[test]
    fn frames_and_events_read_as_the_vectors_say() {
        let vectors = vectors();
        for case in list(&vectors, "frames", "") {
            let frame = bytes(case, "frame");
            let expected = case["head"].as_object().map(|head| (head.clone(), bytes(case, "body")));
            let found = frame::decode(&frame).map(|(head, body)| (head, body.to_vec()));
            assert_eq!(found, expected, "{case}");
        }
        for case in list(&vectors, "events", "") {
            let Value::Object(head) = case["head"].clone() else { panic!("{case}") };
            let reply = crate::Reply { head: head.clone(), body: bytes(case, "body") };
            let event = Event::read(reply).unwrap();
            assert!(!matches!(event.what, What::Other { .. }), "{case}");
            assert_eq!(event.parts(), (head, bytes(case, "body")), "{case}");
        }
    }

    fn check_call(call: &Value) {
        let (returned, answer) = super::call(call["op"].as_str().unwrap(), &input(call));
        assert_eq!(json!(returned.min(0)), json!(call["returns"].as_i64().unwrap_or(0)), "{call}");
        let (mut head, body) = frame::decode(&answer).unwrap();
        if returned < 0 {
            assert!(head.remove("message").is_some_and(|message| message.is_string()), "{call}");
        }
        let expected = (call["answer"].clone(), bytes(call, "answer_body"));
        assert_eq!((Value::Object(head), body.to_vec()), expected, "{call}");
    }

    fn vectors() -> Value {
        serde_json::from_str(include_str!("../../daee-runtime/vectors/door.json")).unwrap()
    }

    fn list<'a>(value: &'a Value, name: &str, within: &str) -> &'a [Value] {
        let value = if within.is_empty() { value } else { &value[within] };
        value[name].as_array().unwrap()
    }

    fn input(call: &Value) -> Vec<u8> {
        match (&call["head"], bytes(call, "body")) {
            (Value::Null, body) if body.is_empty() => body,
            (Value::Null, body) => frame::encode(&json!({}), &body),
            (head, body) => frame::encode(head, &body),
        }
    }

    /// Text under `name`, or bytes under `name_hex`, or nothing.
    fn bytes(value: &Value, name: &str) -> Vec<u8> {
        let Some(digits) = value[format!("{name}_hex")].as_str() else {
            return value[name].as_str().unwrap_or_default().as_bytes().to_vec();
        };
        let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
    }

    #[test]
    fn without_a_door_every_call_says_so() {
        let error = state::get("key").unwrap_err();
        assert_eq!(error.code(), Code::NotNow);
        assert!(error.to_string().contains("daee_agent::testing"), "{error}");
    }
}
