//! One turn beside what is recorded of it: gives the answers that came from outside, compares every entry, and stops
//! the turn at the first that differs.

use std::collections::HashMap;
use std::sync::Arc;

use daee_policy::Permit;
use daee_transcript::{Bodies, Entry, Frame};
use daee_types::{Timestamp, Word, sha256};
use serde_json::{Map, Value};

use crate::replay::Difference;
use crate::{CallKey, FetchAnswer, FetchRequest, Outcome, Outside, OutsideError, frame};

/// An entry as it is recorded.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) entry: Entry,
    pub(crate) bytes: Vec<u8>,
}

/// What stands beside a transcript, by the hash that it has. Entries may name the same bytes any number of times, so
/// they are put together when they are given and not before.
#[derive(Clone, Debug)]
pub(crate) struct Beside(Arc<HashMap<Word, Vec<u8>>>);

impl Beside {
    /// Whatever hash is said of them.
    pub(crate) fn of(bodies: &Bodies) -> Self {
        Self(Arc::new(bodies.iter().map(|(_, bytes)| (sha256(bytes), bytes.clone())).collect()))
    }

    pub(crate) fn find(&self, hash: &Word) -> Option<&[u8]> {
        self.0.get(hash).map(Vec::as_slice)
    }

    /// The whole frame; the hash of what is not there.
    pub(crate) fn whole(&self, frame: &Frame) -> Result<Vec<u8>, Word> {
        frame.join(|hash| self.find(hash))
    }
}

#[derive(Debug)]
pub(crate) struct Check {
    turn: u64,
    recorded: Vec<Recorded>,
    beside: Beside,
    /// How many of them have come.
    seen: usize,
    /// The outcome that this turn had by no doing of its own, with the fuel that it counted for.
    observed: Option<(Outcome, u64)>,
    clock: Timestamp,
    differs: Option<Box<Difference>>,
}

impl Check {
    /// `recorded` is all of a turn, from its birth or event to its end.
    pub(crate) fn new(turn: u64, at: Timestamp, recorded: Vec<Recorded>, beside: Beside) -> Self {
        let observed = match recorded.last().map(|last| &last.entry) {
            Some(Entry::End { outcome, fuel, why, .. }) => {
                Outcome::observed(*outcome, why).map(|outcome| (outcome, *fuel))
            }
            _ => None,
        };
        Self { turn, recorded, beside, seen: 0, observed, clock: at, differs: None }
    }

    /// What the turn's own run makes, in order.
    pub(crate) fn see(&mut self, written: &[u8]) {
        if self.differs.is_some() {
            return;
        }
        let recorded = self.recorded.get(self.seen);
        if recorded.is_some_and(|recorded| recorded.bytes == written) {
            self.seen += 1;
            return;
        }
        let found = Entry::decode(written).expect("the door writes what can be read");
        if let Entry::End { outcome, why, .. } = &found
            && Outcome::observed(*outcome, why).is_some()
            && self.observed.is_none()
        {
            // This machine ended it, and not the guest: nothing is said against the recording.
            return;
        }
        let recorded = recorded.map(|recorded| &recorded.entry);
        self.differs = Some(Box::new(Difference::between(self.turn, recorded, &found)));
    }

    /// The turn is to go no further: it differs, or nothing more is recorded of an observed one.
    pub(crate) fn halted(&self) -> bool {
        let ends = matches!(self.next(), Some(Entry::End { .. }));
        self.differs.is_some() || self.observed.is_some() && ends
    }

    pub(crate) fn observed(&self) -> Option<(Outcome, u64)> {
        self.observed.clone()
    }

    pub(crate) fn into_difference(self) -> Option<Box<Difference>> {
        self.differs
    }

    fn next(&self) -> Option<&Entry> {
        Some(&self.recorded.get(self.seen)?.entry)
    }

    /// Code, head and body of the answer that is recorded of the call being done.
    fn answer(&self) -> Option<(i32, Map<String, Value>, Vec<u8>)> {
        let Entry::Call { code, answer, .. } = self.next()? else { return None };
        let whole = self.beside.whole(answer.as_ref()?).ok()?;
        let (head, body) = frame::decode(&whole)?;
        Some((*code, head, body.to_vec()))
    }

    /// Takes the time that the answer says, and what it came to.
    fn given(&mut self) -> Result<(Map<String, Value>, Vec<u8>), OutsideError> {
        // Whatever is not what a node writes is given as something else, and then the entries differ.
        let none = || OutsideError::Failed("nothing is recorded that could be given".into());
        let (code, head, body) = self.answer().ok_or_else(none)?;
        if let Some(ms) = head.get("ms").and_then(Value::as_u64) {
            self.clock = self.clock.max(Timestamp(ms));
        }
        if code >= 0 {
            return Ok((head, body));
        }
        let message = head.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
        Err(match code {
            -1 => OutsideError::Denied(message),
            -4 => OutsideError::TooLarge(message),
            -5 => OutsideError::NotFound(message),
            _ => OutsideError::Failed(message),
        })
    }
}

impl Outside for Check {
    fn fetch(
        &mut self,
        _permit: Permit,
        _request: FetchRequest,
        _call: CallKey,
    ) -> Result<FetchAnswer, OutsideError> {
        let (head, body) = self.given()?;
        let status = head.get("status").and_then(Value::as_u64).unwrap_or_default();
        let headers = head.get("headers").cloned().unwrap_or_default();
        Ok(FetchAnswer {
            status: u16::try_from(status).unwrap_or_default(),
            headers: serde_json::from_value(headers).unwrap_or_default(),
            body,
        })
    }

    fn ipfs(&mut self, _cid: &str, _max: u64) -> Result<Vec<u8>, OutsideError> {
        Ok(self.given()?.1)
    }

    fn random(&mut self, out: &mut [u8]) {
        if let Some((_, _, body)) = self.answer().filter(|(_, _, body)| body.len() == out.len()) {
            out.copy_from_slice(&body);
        }
    }

    fn now(&mut self) -> Timestamp {
        self.clock
    }

    fn before_outside(&mut self, _transcript: &[u8], _bodies: &Bodies) {}
}
