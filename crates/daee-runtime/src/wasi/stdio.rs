//! Standard streams. What is written is log, by lines; a program that imports nothing from `daee` speaks
//! through them besides: per event by CGI (RFC 3875), as a resident by JSON lines.

use serde_json::{Map, Value, json};

use super::errno::{FBIG, IO, NOSPC};
use super::{Call, Done};
use crate::engine::HostStop;
use crate::frame;
use crate::protocol::OP_BYTES_MAX;

mod base64;
mod cgi;

/// Longest line of a log; a longer one is more than one.
const LINE_BYTES_MAX: usize = 16 << 10;
/// Fuel for each line, whatever it is.
const LINE_FUEL: u64 = 16;

/// What standard input and output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manners {
    /// Nothing, and log.
    Log,
    /// A request and its answer.
    Cgi,
    /// One JSON object a line: events and answers, and operations.
    Lines,
}

/// What is under way on standard streams.
pub(super) struct Streams {
    manners: Manners,
    output: Vec<u8>,
    errors: Vec<u8>,
    /// What standard input has, and how much of it was read.
    input: Vec<u8>,
    read: usize,
    /// By CGI, once the event was asked for.
    request: Option<cgi::Request>,
}

impl Streams {
    pub(super) fn new(manners: Manners) -> Self {
        Self {
            manners,
            output: Vec::new(),
            errors: Vec::new(),
            input: Vec::new(),
            read: 0,
            request: None,
        }
    }

    pub(super) fn manners(&self) -> Manners {
        self.manners
    }

    /// What an event adds to the environment.
    pub(super) fn environment(&self) -> &[(String, String)] {
        self.request.as_ref().map_or(&[], |request| &request.environment)
    }

    fn give(&mut self, bytes: Vec<u8>) {
        if self.read == self.input.len() {
            (self.input, self.read) = (bytes, 0);
            return;
        }
        // What was read is let go of now and then, however much is left.
        if self.read > self.input.len() / 2 {
            self.input.drain(..self.read);
            self.read = 0;
        }
        self.input.extend(bytes);
    }
}

impl Call<'_> {
    /// Asks for the event that the program is started for, if it comes by CGI.
    pub(super) fn hear_request(&mut self) -> Done {
        let streams = &self.host.wasi.streams;
        if streams.manners != Manners::Cgi || streams.request.is_some() {
            return Ok(());
        }
        let (head, body) = self.ask("event.next", &json!({}), b"")?;
        let request = cgi::Request::new(&head, body.len());
        let streams = &mut self.host.wasi.streams;
        streams.request = Some(request);
        streams.give(body);
        Ok(())
    }

    pub(super) fn read_input(&mut self, wanted: u32) -> Done<Vec<u8>> {
        self.hear_request()?;
        let streams = &self.host.wasi.streams;
        if streams.manners == Manners::Lines && streams.read == streams.input.len() && wanted > 0 {
            // Nothing is left to be read but the next event.
            self.flush()?;
            let line = self.line("event.next", &Map::new(), b"")?;
            self.host.wasi.streams.give(line);
        }
        let streams = &mut self.host.wasi.streams;
        let rest = &streams.input[streams.read..];
        let bytes = rest[..rest.len().min(wanted as usize)].to_vec();
        streams.read += bytes.len();
        self.guest.take_fuel(bytes.len() as u64 / 16)?;
        Ok(bytes)
    }

    pub(super) fn write_output(&mut self, bytes: &[u8]) -> Done {
        self.hear_request()?;
        self.guest.take_fuel(bytes.len() as u64 / 16)?;
        let most = self.host.frame_max() as usize;
        let streams = &mut self.host.wasi.streams;
        let answers = streams.request.as_ref().is_some_and(|request| request.is_answered);
        if answers {
            if streams.output.len() + bytes.len() > most {
                return Err(FBIG.into());
            }
            streams.output.extend(bytes);
            return Ok(());
        }
        self.lines(false, bytes)
    }

    pub(super) fn write_errors(&mut self, bytes: &[u8]) -> Done {
        self.lines(true, bytes)
    }

    /// Takes what is written to a stream that is log, line by line.
    fn lines(&mut self, errors: bool, bytes: &[u8]) -> Done {
        let streams = &mut self.host.wasi.streams;
        let lines = streams.manners == Manners::Lines && !errors;
        let stream = if errors { &mut streams.errors } else { &mut streams.output };
        let mut text = std::mem::take(stream);
        let (mut seen, mut done) = (text.len(), 0);
        text.extend(bytes);
        let result = loop {
            let rest = &text[done..];
            // An operation is read whole; its body may be half as long again in base64.
            let object = lines && rest.first() == Some(&b'{');
            let most = self.host.frame_max() as usize / 2 * 3;
            let longest = if object { most + LINE_BYTES_MAX } else { LINE_BYTES_MAX };
            let Some(end) = end_of_line(rest, seen, longest) else { break Ok(()) };
            (seen, done) = (0, done + end);
            let taken = self.take_line(object, errors, &rest[..end]);
            if taken.is_err() {
                break taken;
            }
        };
        text.drain(..done);
        let streams = &mut self.host.wasi.streams;
        *(if errors { &mut streams.errors } else { &mut streams.output }) = text;
        result
    }

    fn take_line(&mut self, object: bool, errors: bool, line: &[u8]) -> Done {
        self.guest.take_fuel(LINE_FUEL)?;
        if object && self.operation(line)? {
            return Ok(());
        }
        self.log(if errors { "warn" } else { "info" }, line)
    }

    /// Logs what stands on lines that have not ended.
    pub(super) fn flush(&mut self) -> Done {
        let streams = &mut self.host.wasi.streams;
        if !streams.request.as_ref().is_some_and(|request| request.is_answered) {
            let output = std::mem::take(&mut streams.output);
            self.log("info", &output)?;
        }
        let errors = std::mem::take(&mut self.host.wasi.streams.errors);
        self.log("warn", &errors)
    }

    /// The program is over.
    pub(super) fn end(&mut self, kept: bool) -> Done {
        self.flush()?;
        let output = std::mem::take(&mut self.host.wasi.streams.output);
        if !kept || output.is_empty() {
            return Ok(());
        }
        let (head, body) = cgi::answer(&output);
        match self.ask("event.answer", &head, body) {
            Err(super::Fail::Errno(_)) => {
                let text = "the answer on standard output is not one that can be given";
                self.log("warn", text.as_bytes())?;
                match self.ask("event.answer", &json!({"status": 500}), b"") {
                    // Whoever asked would hear that all is well.
                    Err(super::Fail::Errno(_)) => Err(HostStop::Exit(1).into()),
                    done => done.map(|_| ()),
                }
            }
            done => done.map(|_| ()),
        }
    }

    /// What a program prints too much is cut in its log, and it is not told.
    fn log(&mut self, level: &str, text: &[u8]) -> Done {
        let text = String::from_utf8_lossy(text);
        let text = text.trim_end_matches(['\n', '\r']);
        if text.is_empty() {
            return Ok(());
        }
        match self.ask("log", &json!({"level": level, "text": text}), b"") {
            Err(super::Fail::Stop(stop)) => Err(stop.into()),
            _ => Ok(()),
        }
    }

    /// Does the operation that a line is, if it is one.
    fn operation(&mut self, line: &[u8]) -> Done<bool> {
        // Reading JSON takes longer than moving bytes.
        self.guest.take_fuel(line.len() as u64)?;
        let Ok(Value::Object(mut head)) = serde_json::from_slice(line) else { return Ok(false) };
        let Some(Value::String(op)) = head.remove("op") else { return Ok(false) };
        let streams = &self.host.wasi.streams;
        if (streams.input.len() - streams.read) as u64 > self.host.frame_max() {
            // It asks and asks, and does not read its answers.
            return Err(NOSPC.into());
        }
        let body = match (head.remove("body"), head.remove("body_base64")) {
            (None, None) => Some(Vec::new()),
            (Some(Value::String(text)), None) => Some(text.into_bytes()),
            (None, Some(Value::String(text))) => base64::decode(&text),
            _ => None,
        };
        let answer = match body {
            None => refusal("malformed", "give body, a text, or body_base64, and not both"),
            Some(_) if op.len() > OP_BYTES_MAX => {
                refusal("unknown", "there is no operation with so long a name")
            }
            Some(body) => {
                super::before(self.host, &op, self.guest)?;
                self.line(&op, &head, &body)?
            }
        };
        self.host.wasi.streams.give(answer);
        Ok(true)
    }

    /// Does an operation; its answer, or its refusal, as a line.
    fn line(&mut self, op: &str, head: &Map<String, Value>, body: &[u8]) -> Done<Vec<u8>> {
        let input = frame::encode(&Value::Object(head.clone()), body);
        let most = self.host.frame_max();
        if input.len() as u64 > most {
            return Ok(refusal("limit", &format!("an input is at most {most} bytes")));
        }
        self.guest.take_fuel(super::OPERATION_FUEL)?;
        self.host.operate(op, input, self.guest)?;
        let (mut head, body) = frame::decode(self.host.answer()).ok_or(IO)?;
        if !body.is_empty() {
            let (name, body) = match std::str::from_utf8(body) {
                Ok(text) => ("body", text.to_owned()),
                Err(_) => ("body_base64", base64::encode(body)),
            };
            head.insert(name.to_owned(), Value::String(body));
        }
        let line = line_of(&head);
        self.guest.take_fuel(line.len() as u64)?;
        Ok(line)
    }
}

fn refusal(code: &str, message: &str) -> Vec<u8> {
    let head = [("code", code), ("message", message)];
    line_of(&head.map(|(name, text)| (name.to_owned(), text.into())).into_iter().collect())
}

/// A head as every node spells it. A body may be large and grow sixfold, so it is written once and in one place.
fn line_of(head: &Map<String, Value>) -> Vec<u8> {
    let grown =
        |text: &str| text.bytes().map(|byte| if byte < b' ' { 6 } else { 2 }).sum::<usize>();
    let texts = head.values().filter_map(Value::as_str);
    let mut fields: Vec<_> = head.iter().collect();
    fields.sort_unstable_by_key(|(name, _)| *name);
    let mut line = Vec::with_capacity(1024 + texts.map(grown).sum::<usize>());
    line.push(b'{');
    for (n, (name, value)) in fields.into_iter().enumerate() {
        if n > 0 {
            line.push(b',');
        }
        line.extend(Value::from(name.as_str()).to_string().bytes());
        line.push(b':');
        match value {
            Value::String(text) => serde_json::to_writer(&mut line, text).expect("a text is JSON"),
            other => line.extend(frame::spelled(other).bytes()),
        }
    }
    line.extend(b"}\n");
    line
}

/// Behind the end of the first line, or where one that is too long is cut. No line ends in the bytes before
/// `from`: a long line that comes in small pieces is not looked through again for each.
fn end_of_line(bytes: &[u8], from: usize, longest: usize) -> Option<usize> {
    let within = &bytes[..bytes.len().min(longest)];
    let rest = within.get(from..).unwrap_or_default();
    let end = rest.iter().position(|byte| *byte == b'\n').map(|end| from + end + 1);
    end.or_else(|| (bytes.len() >= longest).then_some(longest))
}
