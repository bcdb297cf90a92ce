//! The supervisor's side of the door (DESIGN 6): every operation is judged, bounded, done and recorded
//! here and nowhere else. `docs/spec/door.md` is its specification.

mod files;

use daee_policy::Policy;
use daee_state::{Draft, Effect, Expected, StateError};
use daee_transcript::{Entry, Frame, Level, Log, LogLine, Progress, Segment};
use daee_types::{Timestamp, Word, sha256};
use serde_json::{Map, Value, json};

use crate::ahead::Standing;
use crate::check::Check;

use crate::{
    Answer, CallKey, FetchRequest, Limits, Outcome, Outside, OutsideError,
    frame::{decode, encode, unhex},
};

/// Most random bytes of one call.
const RANDOM_BYTES_MAX: u64 = 4096;
/// Longest head of an input, in bytes: parsed in the supervisor, so kept small.
const HEAD_BYTES_MAX: u32 = 64 << 10;
/// Most bytes of answers that one turn may leave in the transcript.
const GIVEN_BYTES_MAX: u64 = 64 << 20;
/// Most keys of one list.
const LIST_MAX: u64 = 1000;
/// How long a fetch may take if the agent does not say, in milliseconds.
const FETCH_TIMEOUT_MILLIS: u64 = 30_000;
/// What a line costs beside its text, so that empty ones do not come for free.
pub(crate) const LINE_EXTRA_BYTES: u64 = 64;
/// Longest path of a CID or URL that is worth looking at, in bytes.
const NAME_BYTES_MAX: usize = 8192;

/// Why an operation was not done. The number is what `daee.call` returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Denied {
        message: String,
        needs: Option<String>,
    },
    Unknown(String),
    Malformed(String),
    Limit(String),
    NotFound(String),
    Outside(String),
    NotNow(String),
    /// What is said of files has a name in POSIX.
    File {
        code: i32,
        name: &'static str,
        errno: &'static str,
        message: String,
    },
}

impl Refusal {
    fn parts(&self) -> (i32, &'static str, &str) {
        match self {
            Refusal::Denied { message, .. } => (-1, "denied", message),
            Refusal::Unknown(message) => (-2, "unknown", message),
            Refusal::Malformed(message) => (-3, "malformed", message),
            Refusal::Limit(message) => (-4, "limit", message),
            Refusal::NotFound(message) => (-5, "not_found", message),
            Refusal::Outside(message) => (-6, "outside", message),
            Refusal::NotNow(message) => (-7, "not_now", message),
            Refusal::File { code, name, message, .. } => (*code, name, message),
        }
    }

    /// The code and the frame that explains it.
    fn answer(&self, now: Option<Timestamp>) -> (i32, Vec<u8>) {
        let (code, name, message) = self.parts();
        let mut head = json!({"code": name, "message": message});
        if let Some(now) = now {
            head["ms"] = json!(now.0);
        }
        if let Refusal::Denied { needs: Some(needs), .. } = self {
            head["needs"] = json!(needs);
        }
        if let Refusal::File { errno, .. } = self {
            head["errno"] = json!(errno);
        }
        (code, encode(&head, b""))
    }
}

impl From<StateError> for Refusal {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Key(_) | StateError::TimerName(_) | StateError::Topic(_) => {
                Refusal::Malformed(error.to_string())
            }
            _ => Refusal::Limit(error.to_string()),
        }
    }
}

impl From<daee_policy::Denial> for Refusal {
    fn from(denial: daee_policy::Denial) -> Self {
        Refusal::Denied { message: denial.to_string(), needs: denial.needs().map(str::to_owned) }
    }
}

impl From<OutsideError> for Refusal {
    fn from(error: OutsideError) -> Self {
        match error {
            OutsideError::Denied(message) => Refusal::Denied { message, needs: None },
            OutsideError::NotFound(message) => Refusal::NotFound(message),
            OutsideError::TooLarge(message) => Refusal::Limit(message),
            OutsideError::Failed(message) => Refusal::Outside(message),
        }
    }
}

type Done = Result<(Value, Vec<u8>), Refusal>;

/// The head and the body of an input.
pub(crate) fn read(input: &[u8]) -> Result<(Head, &[u8]), Refusal> {
    let len = input.first_chunk::<4>().map_or(0, |len| u32::from_le_bytes(*len));
    if len > HEAD_BYTES_MAX {
        return Err(Refusal::Limit(format!("a head is at most {HEAD_BYTES_MAX} bytes")));
    }
    let malformed = || Refusal::Malformed("the input is no frame with a JSON object".into());
    let (head, body) = decode(input).ok_or_else(malformed)?;
    Ok((Head(head), body))
}

/// One turn at the door.
pub(crate) struct Door<'a> {
    pub(crate) draft: Draft<'a>,
    pub(crate) policy: &'a Policy,
    pub(crate) limits: &'a Limits,
    pub(crate) outside: &'a mut dyn Outside,
    pub(crate) progress: &'a mut Progress,
    pub(crate) turn: u64,
    pub(crate) at: Timestamp,
    /// The event, until it is asked for.
    pub(crate) event: Option<Vec<u8>>,
    pub(crate) answer: Option<Answer>,
    pub(crate) segment: Segment,
    /// What is recorded of the turn, if it is run again.
    pub(crate) check: Option<Check>,
    pub(crate) logs: Vec<LogLine>,
    log_bytes: u64,
    waited_millis: u64,
    /// Bytes of answers that the transcript keeps.
    given_bytes: u64,
    calls: u32,
}

impl<'a> Door<'a> {
    #[expect(clippy::too_many_arguments, reason = "each is a part of the agent that it borrows")]
    pub(crate) fn open(
        draft: Draft<'a>,
        policy: &'a Policy,
        limits: &'a Limits,
        outside: &'a mut dyn Outside,
        progress: &'a mut Progress,
        turn: u64,
        at: Timestamp,
        event: Vec<u8>,
    ) -> Self {
        Self {
            draft,
            policy,
            limits,
            outside,
            progress,
            turn,
            at,
            event: Some(event),
            answer: None,
            segment: Segment::default(),
            check: None,
            logs: Vec::new(),
            log_bytes: 0,
            waited_millis: 0,
            given_bytes: 0,
            calls: 0,
        }
    }

    /// Adds an entry to the transcript.
    pub(crate) fn record(&mut self, entry: &Entry) {
        let written = self.segment.push(entry);
        if let Some(check) = &mut self.check {
            check.see(written);
        }
    }

    /// The frame of an entry; what is large stands beside the transcript.
    pub(crate) fn given(&mut self, frame: &[u8]) -> Frame {
        Frame::of(frame, &mut self.segment.bodies)
    }

    /// A turn that is run again goes no further than what is recorded of it.
    pub(crate) fn halted(&self) -> bool {
        self.check.as_ref().is_some_and(Check::halted)
    }

    /// Adds a line to the log, the node's own or the agent's.
    pub(crate) fn line(&mut self, level: Level, text: &str) {
        self.logs.push(self.progress.log.append(self.now(), self.turn, level, text));
    }

    /// Forgets what the turn logged and waited for: who came after it knew nothing of either.
    pub(crate) fn lose(&mut self, log_before: Log) {
        self.logs.clear();
        self.progress.log = log_before;
        self.waited_millis = 0;
    }

    /// Ends the turn in log and transcript.
    pub(crate) fn end(&mut self, outcome: &Outcome, fuel: u64) {
        let turn = self.turn;
        if outcome.fault().is_some() {
            self.line(Level::Error, &format!("turn {turn} is not kept: {outcome}"));
        }
        let why = outcome.why().to_owned();
        self.record(&Entry::End { turn, outcome: outcome.number(), fuel, why });
    }

    /// What the next answers rest on.
    pub(crate) fn standing(&self) -> Standing {
        Standing {
            now: self.now(),
            log_left: self.limits.log_turn_max.0.saturating_sub(self.log_bytes),
            event_waits: self.event.is_some(),
        }
    }

    /// Operations so far.
    pub(crate) fn calls(&self) -> u32 {
        self.calls
    }

    /// Does one operation: what `daee.call` returns, and the frame that `daee.read` gives. None means that the
    /// guest is not answered and goes no further: its cell is to be ended.
    pub(crate) fn call(&mut self, op: &str, input: &[u8]) -> Option<(i32, Vec<u8>)> {
        let call = self.calls;
        self.calls = self.calls.saturating_add(1);
        let hash = sha256(input);
        let done = if input.len() as u64 > self.limits.door_frame_max.0 {
            Err(Refusal::Limit(format!("an input is at most {}", self.limits.door_frame_max)))
        } else {
            self.operate(call, op, input, hash)
        };
        if self.halted() {
            return None;
        }
        let outside = matches!(op, "http.fetch" | "ipfs.read");
        let frame = done.and_then(|(head, body)| match op {
            // A frame since the turn began.
            "event.next" => self.bounded(body),
            _ => self.bounded(encode(&head, &body)),
        });
        let (code, frame) = match frame {
            Ok(frame) => (frame.len() as i32, frame),
            Err(refusal) => refusal.answer(outside.then(|| self.now())),
        };
        // What a replay could not make again is kept whole; the rest follows from state and time.
        let answer = (outside || op == "random").then(|| {
            self.given_bytes += frame.len() as u64;
            self.given(&frame)
        });
        let op = known(op).into();
        self.record(&Entry::Call { turn: self.turn, call, op, input: hash, code, answer });
        (!self.halted()).then_some((code, frame))
    }

    /// The frame of an answer, if it is not too large for one.
    fn bounded(&self, frame: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let max = self.limits.door_frame_max;
        match frame.len() as u64 > max.0 {
            true => Err(Refusal::Limit(format!("an answer is at most {max}"))),
            false => Ok(frame),
        }
    }

    fn operate(&mut self, call: u32, op: &str, input: &[u8], hash: Word) -> Done {
        let (head, body) = read(input)?;
        let intent = Intent { call, hash };
        match op {
            "log" => self.log(&head),
            "now" => Ok((json!({"ms": self.now().0}), vec![])),
            "random" => self.random(&head),
            "event.next" => self.event_next(),
            "event.answer" => self.event_answer(&head, body),
            "state.get" => self.state_get(&head),
            "state.set" => {
                self.draft.set(head.text("key")?, body.to_vec()).map_err(Into::into).map(done)
            }
            "state.delete" => {
                let existed = self.draft.delete(head.text("key")?);
                Ok((json!({"existed": existed}), vec![]))
            }
            "state.list" => self.state_list(&head),
            "state.cas" => self.state_cas(&head, body),
            "timer.set" => self.timer_set(&head),
            "timer.cancel" => {
                let existed = self.draft.cancel_timer(head.text("name")?);
                Ok((json!({"existed": existed}), vec![]))
            }
            "http.fetch" => {
                let fetched = self.http_fetch(intent, &head, body);
                self.log_fetch(&head, &fetched);
                fetched
            }
            "ipfs.read" => self.ipfs_read(intent, &head),
            "chain.publish" => self.chain_publish(call, &head, body),
            op if op.starts_with("file.") => self.file(op, &head, body),
            _ => Err(Refusal::Unknown(format!("there is no operation {op:?}"))),
        }
    }

    fn now(&self) -> Timestamp {
        self.at.plus_millis(self.waited_millis)
    }

    fn log(&mut self, head: &Head) -> Done {
        let (level, text) = head.line()?;
        self.bounded_line(level, text).map(done)
    }

    /// Adds a line within what one turn may log.
    fn bounded_line(&mut self, level: Level, text: &str) -> Result<(), Refusal> {
        let max = self.limits.log_turn_max;
        let bytes = self.log_bytes.saturating_add(text.len() as u64 + LINE_EXTRA_BYTES);
        if bytes > max.0 {
            if self.log_bytes <= max.0 {
                self.log_bytes = u64::MAX;
                self.line(Level::Warn, &format!("more than {max} of log in one turn: cut here"));
            }
            return Err(Refusal::Limit(format!("one turn may log {max}")));
        }
        self.log_bytes = bytes;
        self.line(level, text);
        Ok(())
    }

    fn random(&mut self, head: &Head) -> Done {
        let bytes = head.number("bytes")?;
        if bytes > RANDOM_BYTES_MAX {
            return Err(Refusal::Limit(format!("at most {RANDOM_BYTES_MAX} random bytes a call")));
        }
        self.given_left()?;
        let mut out = vec![0; bytes as usize];
        match &mut self.check {
            Some(check) => check.random(&mut out),
            None => self.outside.random(&mut out),
        }
        Ok((json!({}), out))
    }

    fn event_next(&mut self) -> Done {
        let event = self.event.take();
        let event = event.ok_or_else(|| Refusal::NotNow("this turn's event was given".into()))?;
        Ok((Value::Null, event))
    }

    fn event_answer(&mut self, head: &Head, body: &[u8]) -> Done {
        if self.answer.is_some() {
            return Err(Refusal::NotNow("this turn's event has its answer".into()));
        }
        let (status, headers) = head.answer()?;
        self.answer = Some(Answer { status, headers, body: body.to_vec() });
        Ok(done(()))
    }

    fn state_get(&mut self, head: &Head) -> Done {
        let key = head.text("key")?;
        match self.draft.get(key) {
            Some(value) => Ok((json!({}), value.to_vec())),
            None => Err(Refusal::NotFound(format!("there is no key {key:?}"))),
        }
    }

    fn state_list(&mut self, head: &Head) -> Done {
        let limit = head.maybe_number("limit")?.unwrap_or(LIST_MAX);
        if limit > LIST_MAX {
            return Err(Refusal::Limit(format!("at most {LIST_MAX} keys a call")));
        }
        let after = head.maybe_text("after")?;
        let keys = self.draft.list(head.text_or("prefix", "")?, after, limit as usize);
        Ok((json!({"keys": keys}), vec![]))
    }

    fn state_cas(&mut self, head: &Head, body: &[u8]) -> Done {
        let expect = match head.0.get("expect") {
            Some(Value::String(word)) if word == "absent" => Expected::Absent,
            Some(Value::Object(expect)) => {
                let hash = expect.get("sha256").and_then(Value::as_str).and_then(unhex);
                Expected::Sha256(hash.ok_or_else(|| {
                    Refusal::Malformed("expect.sha256 is 64 lower-case hex digits".into())
                })?)
            }
            _ => {
                let message = "expect is \"absent\" or {\"sha256\": \"...\"}";
                return Err(Refusal::Malformed(message.into()));
            }
        };
        let swapped = self.draft.cas(head.text("key")?, expect, body.to_vec())?;
        Ok((json!({"swapped": swapped}), vec![]))
    }

    fn timer_set(&mut self, head: &Head) -> Done {
        let at = match (head.maybe_number("at_ms")?, head.maybe_number("after_ms")?) {
            (Some(at), None) => Timestamp(at),
            (None, Some(after)) => self.now().plus_millis(after),
            _ => return Err(Refusal::Malformed("give at_ms or after_ms, and not both".into())),
        };
        self.draft.set_timer(head.text("name")?, at)?;
        Ok(done(()))
    }

    fn http_fetch(&mut self, intent: Intent, head: &Head, body: &[u8]) -> Done {
        let url = head.text("url")?;
        if url.len() > NAME_BYTES_MAX {
            return Err(Refusal::Limit(format!("a URL is at most {NAME_BYTES_MAX} bytes")));
        }
        let permit = self.policy.url(url)?;
        let timeout = head.maybe_number("timeout_ms")?.unwrap_or(FETCH_TIMEOUT_MILLIS);
        let request = FetchRequest {
            method: head.text_or("method", "GET")?.to_owned(),
            headers: head.headers()?,
            body: body.to_vec(),
            timeout_millis: timeout.min(FETCH_TIMEOUT_MILLIS),
            body_max: self.given_left()?,
        };
        let key = CallKey { turn: self.turn, call: intent.call };
        let answer =
            self.outside("http.fetch", intent, |outside| outside.fetch(permit, request, key))?;
        self.waited(json!({"status": answer.status, "headers": answer.headers}), answer.body)
    }

    /// What was decided about a way out, for the tenant to read (DESIGN 7). It says nothing that the answer's
    /// frame does not hold, so that a replay writes the same line.
    fn log_fetch(&mut self, head: &Head, fetched: &Done) {
        const SHOWN_CHARS: usize = 200;
        let url: String = head.text("url").unwrap_or_default().chars().take(SHOWN_CHARS).collect();
        let (level, text) = match fetched {
            Ok((head, body)) => {
                let size = body.len();
                (Level::Debug, format!("http.fetch {url}: {}, {size} bytes", head["status"]))
            }
            Err(refusal) => {
                let needs = match refusal {
                    Refusal::Denied { needs: Some(needs), .. } => format!("; it needs {needs:?}"),
                    _ => String::new(),
                };
                let (_, name, message) = refusal.parts();
                (Level::Warn, format!("http.fetch {url}: {name}: {message}{needs}"))
            }
        };
        // A turn that has logged all it may has said so.
        let _ = self.bounded_line(level, &text);
    }

    fn ipfs_read(&mut self, intent: Intent, head: &Head) -> Done {
        self.policy.read_ipfs()?;
        let cid = head.text("cid")?;
        if cid.len() > NAME_BYTES_MAX {
            return Err(Refusal::Malformed("this is no CID".into()));
        }
        let most = self.given_left()?;
        let max = head.maybe_number("max_bytes")?.unwrap_or(most).min(most);
        let body = self.outside("ipfs.read", intent, |outside| outside.ipfs(cid, max))?;
        self.waited(json!({}), body)
    }

    fn chain_publish(&mut self, call: u32, head: &Head, body: &[u8]) -> Done {
        self.policy.publish()?;
        let topic = head.text("topic")?.to_owned();
        self.draft.add_effect(Effect { turn: self.turn, call, topic, data: body.to_vec() })?;
        Ok(done(()))
    }

    /// How large an answer may be that the transcript keeps whole, in bytes.
    fn given_left(&self) -> Result<u64, Refusal> {
        match GIVEN_BYTES_MAX.saturating_sub(self.given_bytes) {
            0 => Err(Refusal::Limit("one turn has been given all that a transcript keeps".into())),
            left => Ok(left.min(self.limits.door_frame_max.0)),
        }
    }

    /// Does something outside, after its intent is recorded, and lets the turn's time go on by what it took.
    fn outside<T>(
        &mut self,
        op: &'static str,
        intent: Intent,
        act: impl FnOnce(&mut dyn Outside) -> Result<T, OutsideError>,
    ) -> Result<T, Refusal> {
        let Intent { call, hash: input } = intent;
        self.record(&Entry::Intent { turn: self.turn, call, op: op.into(), input });
        if self.halted() {
            return Err(Refusal::Outside("what is recorded ends here".into()));
        }
        let segment = &self.segment;
        let world: &mut dyn Outside = match &mut self.check {
            Some(check) => check,
            None => self.outside,
        };
        world.before_outside(segment.bytes(), &segment.bodies);
        let began = world.now();
        let answer = act(world);
        let waited = world.now().millis_since(began);
        self.waited_millis = self.waited_millis.saturating_add(waited);
        Ok(answer?)
    }

    /// What came from outside, with the time that it moved the turn to: a replay has to know it. Too large an
    /// answer is refused here, before anything is said of it in the log.
    fn waited(&self, mut head: Value, body: Vec<u8>) -> Done {
        head["ms"] = json!(self.now().0);
        let max = self.limits.door_frame_max;
        if encode(&head, b"").len().saturating_add(body.len()) as u64 > max.0 {
            return Err(Refusal::Limit(format!("an answer is at most {max}")));
        }
        Ok((head, body))
    }
}

/// A call that may have to go outside: its place in the turn, and the SHA-256 of its input.
#[derive(Clone, Copy)]
struct Intent {
    call: u32,
    hash: Word,
}

/// Every operation there is.
pub(crate) const OPS: [&str; 25] = [
    "log",
    "now",
    "random",
    "event.next",
    "event.answer",
    "state.get",
    "state.set",
    "state.delete",
    "state.list",
    "state.cas",
    "timer.set",
    "timer.cancel",
    "http.fetch",
    "ipfs.read",
    "chain.publish",
    "file.stat",
    "file.read",
    "file.write",
    "file.truncate",
    "file.create",
    "file.list",
    "file.mkdir",
    "file.remove",
    "file.rename",
    "file.touch",
];

/// Names that are no operation are recorded as one: a guest cannot fill the transcript with them.
fn known(op: &str) -> &'static str {
    OPS.into_iter().find(|known| *known == op).unwrap_or("?")
}

fn done(_: ()) -> (Value, Vec<u8>) {
    (json!({}), vec![])
}

/// The head of an input, read strictly: a field of another type is an error, not nothing.
pub(crate) struct Head(Map<String, Value>);

impl Head {
    /// A line of the log.
    pub(crate) fn line(&self) -> Result<(Level, &str), Refusal> {
        let level = match self.text_or("level", "info")? {
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" => Level::Warn,
            "error" => Level::Error,
            other => return Err(Refusal::Malformed(format!("there is no level {other:?}"))),
        };
        Ok((level, self.text("text")?))
    }
    /// Status and headers of an answer.
    pub(crate) fn answer(&self) -> Result<(u16, Vec<(String, String)>), Refusal> {
        let status = match self.maybe_number("status")? {
            None => 200,
            Some(status @ 100..=599) => status as u16,
            Some(other) => return Err(Refusal::Malformed(format!("{other} is not a status"))),
        };
        Ok((status, self.headers()?))
    }
    fn text(&self, key: &str) -> Result<&str, Refusal> {
        self.maybe_text(key)?.ok_or_else(|| Refusal::Malformed(format!("{key} is missing")))
    }
    fn text_or<'a>(&'a self, key: &str, otherwise: &'a str) -> Result<&'a str, Refusal> {
        Ok(self.maybe_text(key)?.unwrap_or(otherwise))
    }
    fn maybe_text(&self, key: &str) -> Result<Option<&str>, Refusal> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::Malformed(format!("{key} is not a string"))),
        }
    }
    fn number(&self, key: &str) -> Result<u64, Refusal> {
        self.maybe_number(key)?.ok_or_else(|| Refusal::Malformed(format!("{key} is missing")))
    }
    fn maybe_number(&self, key: &str) -> Result<Option<u64>, Refusal> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_u64().map(Some).ok_or_else(|| {
                Refusal::Malformed(format!("{key} is not a whole number from zero up"))
            }),
        }
    }
    fn flag(&self, key: &str) -> Result<bool, Refusal> {
        match self.0.get(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(Refusal::Malformed(format!("{key} is neither true nor false"))),
        }
    }
    fn headers(&self) -> Result<Vec<(String, String)>, Refusal> {
        let Some(headers) = self.0.get("headers") else { return Ok(Vec::new()) };
        serde_json::from_value(headers.clone())
            .map_err(|_| Refusal::Malformed("headers are pairs of strings".into()))
    }
}

#[cfg(test)]
mod tests {
    use daee_policy::Policy;
    use daee_state::State;
    use daee_types::ByteSize;
    use proptest::prelude::*;

    use super::*;
    use crate::Nothing;

    /// Any JSON of a kind that heads hold, and some that they do not.
    fn value() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            (0..3u64).prop_map(Value::from),
            "[a-z/:.]{0,12}|\\PC{0,4}".prop_map(Value::from),
            "[ab](/[ab.]{1,2}){0,2}".prop_map(Value::from),
            Just(json!({"sha256": "00".repeat(32)})),
            Just(json!([["a", "b"]])),
            Just(json!("https://api.coingecko.com/")),
        ]
    }

    fn head() -> impl Strategy<Value = Value> {
        let names = prop::sample::select(vec![
            "key",
            "text",
            "level",
            "bytes",
            "status",
            "headers",
            "prefix",
            "after",
            "limit",
            "expect",
            "name",
            "at_ms",
            "after_ms",
            "url",
            "method",
            "timeout_ms",
            "cid",
            "max_bytes",
            "topic",
            "at",
            "path",
            "path",
            "path",
            "offset",
            "size",
            "to",
            "to_at",
            "kind",
            "new",
            "hold",
            "modified_ns",
        ]);
        proptest::collection::btree_map(names, value(), 0..6).prop_map(|fields| {
            fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
        })
    }

    proptest! {
        #[test]
        fn whatever_is_asked_gets_an_answer_that_is_a_frame(
            calls in proptest::collection::vec(
                (
                    prop::sample::select(OPS.to_vec()),
                    head(),
                    proptest::collection::vec(any::<u8>(), 0..40),
                    any::<Option<u8>>(),
                ),
                1..20,
            )
        ) {
            let lines = ["network_outbound:api.coingecko.com", "read_ipfs", "publish_to_chain"];
            let policy =
                Policy::new(lines.iter().map(|line| (line.parse().unwrap(), 0)).collect());
            let state = State::new(ByteSize::kib(1));
            let limits = Limits { door_frame_max: ByteSize::kib(64), ..Limits::default() };
            let (mut outside, mut progress) = (Nothing::default(), Progress::default());
            let event = crate::Event::Start.frame(1, Timestamp(0));
            let mut door = Door::open(
                Draft::new(&state), &policy, &limits, &mut outside, &mut progress, 1, Timestamp(0), event,
            );
            for (op, head, body, bend) in calls {
                let mut input = encode(&head, &body);
                if let Some(bend) = bend {
                    let at = usize::from(bend) % input.len();
                    input[at] ^= bend;
                }
                let (code, frame) = door.call(op, &input).expect("a turn that is not run again goes on");
                let (head, _) = decode(&frame).expect("an answer is a frame");
                if code < 0 {
                    prop_assert!(head["code"].is_string() && head["message"].is_string());
                } else {
                    prop_assert_eq!(code as usize, frame.len());
                }
            }
            let mut after = state.clone();
            after.apply(door.draft.finish());
            prop_assert!(after.used().0 <= after.quota().0);
        }
    }
}
