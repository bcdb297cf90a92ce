//! What a cell answers by itself, and tells the door of with whatever it says next: a turn that needs
//! nothing else takes one message each way. The door then does the same operations in the same order, and
//! records what it answers; a cell whose guest was answered otherwise is ended.

use daee_types::{ByteSize, Timestamp};
use serde_json::json;

use crate::door::{self, LINE_EXTRA_BYTES};
use crate::frame;

/// Most operations that are told of at once.
pub(crate) const TOLD_MAX: usize = 64;
/// Most bytes of their inputs.
pub(crate) const TOLD_BYTES_MAX: usize = 64 << 10;

/// An operation whose answer follows from what a cell knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Early {
    EventNext,
    EventAnswer,
    Log,
    Now,
}

impl Early {
    pub(crate) const ALL: [Early; 4] =
        [Early::EventNext, Early::EventAnswer, Early::Log, Early::Now];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Early::EventNext => "event.next",
            Early::EventAnswer => "event.answer",
            Early::Log => "log",
            Early::Now => "now",
        }
    }
}

/// An operation that a cell has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) op: Early,
    pub(crate) input: Vec<u8>,
    /// Nothing for the event: the door knows what it gave.
    pub(crate) answer: Vec<u8>,
}

impl Told {
    /// Whether the door answers as the cell did.
    pub(crate) fn agrees(&self, code: i32, frame: &[u8]) -> bool {
        usize::try_from(code) == Ok(frame.len())
            && (self.op == Early::EventNext || self.answer == frame)
    }
}

/// Where a turn stands at the door. A cell hears it with each answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) now: Timestamp,
    /// Bytes that the turn may still log.
    pub(crate) log_left: u64,
    /// The event was not given yet.
    pub(crate) event_waits: bool,
}

/// What a cell knows of a turn.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    standing: Standing,
    /// Length of the event, if the cell has it.
    event: Option<usize>,
    answered: bool,
    told: Vec<Told>,
    told_bytes: usize,
    frame_max: u64,
}

impl Ahead {
    /// Begins a turn; the event is there to be given.
    pub(crate) fn begin(&mut self, standing: Standing, event: Option<usize>, frame_max: ByteSize) {
        *self = Self { standing, event, frame_max: frame_max.0, ..Self::default() };
    }

    /// What an operation that the door did has changed. The event is no longer at hand.
    pub(crate) fn heard(&mut self, op: &str, code: i32, standing: Standing) {
        self.standing = standing;
        self.event = None;
        self.answered |= op == Early::EventAnswer.name() && code >= 0;
    }

    /// The answer, where there can be no doubt about it; for the event, that it is to be given.
    pub(crate) fn answer(&mut self, op: &str, input: &[u8]) -> Option<Answered> {
        let op = Early::ALL.into_iter().find(|early| early.name() == op)?;
        let told_bytes = self.told_bytes + input.len();
        if self.told.len() == TOLD_MAX || told_bytes > TOLD_BYTES_MAX {
            return None;
        }
        let answer = match op {
            Early::EventNext => Vec::new(),
            Early::EventAnswer | Early::Log => frame::encode(&json!({}), b""),
            Early::Now => frame::encode(&json!({"ms": self.standing.now.0}), b""),
        };
        if input.len().max(answer.len()) as u64 > self.frame_max {
            return None;
        }
        let (head, _) = door::read(input).ok()?;
        let mut answered = Answered::Frame(answer.clone());
        match op {
            Early::EventNext => {
                answered = Answered::Event(self.event.take()?);
                self.standing.event_waits = false;
            }
            Early::EventAnswer => {
                head.answer().ok().filter(|_| !self.answered)?;
                self.answered = true;
            }
            Early::Log => {
                let (_, text) = head.line().ok()?;
                let bytes = text.len() as u64 + LINE_EXTRA_BYTES;
                self.standing.log_left = self.standing.log_left.checked_sub(bytes)?;
            }
            Early::Now => {}
        }
        self.told_bytes = told_bytes;
        self.told.push(Told { op, input: input.to_vec(), answer });
        Some(answered)
    }

    /// What the door has to be told of.
    pub(crate) fn take(&mut self) -> Vec<Told> {
        self.told_bytes = 0;
        std::mem::take(&mut self.told)
    }

    pub(crate) fn event_waits(&self) -> bool {
        self.standing.event_waits
    }
}

/// How a cell answers by itself.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// With the event, of this length.
    Event(usize),
    Frame(Vec<u8>),
}

#[cfg(test)]
mod tests {
    use daee_policy::Policy;
    use daee_state::{Draft, State};
    use daee_transcript::Progress;
    use proptest::prelude::*;

    use super::*;
    use crate::door::Door;
    use crate::{Event, Limits, Nothing};

    /// Operations, whole and bent, of all kinds that are answered early and some that are not.
    fn call() -> impl Strategy<Value = (&'static str, Vec<u8>)> {
        let ops = vec!["event.next", "event.answer", "log", "log", "now", "state.set", "none"];
        let heads = vec![
            "{}",
            r#"{"text":"a"}"#,
            r#"{"text":"a long line that takes of what a turn may log","level":"warn"}"#,
            r#"{"text":"a","level":"loud"}"#,
            r#"{"text":7}"#,
            r#"{"text":"a","text":"b"}"#,
            r#"{"status":404,"headers":[["a","b"]]}"#,
            r#"{"status":1}"#,
            r#"{"headers":["a"]}"#,
            r#"{"status":null,"key":"k"}"#,
            "{",
            "[]",
        ];
        let body = proptest::collection::vec(any::<u8>(), 0..30);
        (prop::sample::select(ops), prop::sample::select(heads), body, 0..20u8).prop_map(
            |(op, head, body, bend)| {
                let mut input = (head.len() as u32).to_le_bytes().to_vec();
                input.extend(head.as_bytes());
                input.extend(body);
                match bend {
                    0 => input.clear(),
                    1 => input[0] ^= 1,
                    2 => input[2] = 2,
                    _ => {}
                }
                (op, input)
            },
        )
    }

    type Seen = (Vec<(i32, Vec<u8>)>, Vec<u8>, usize, bool);

    /// What a guest sees and what is recorded, with and without answering early.
    fn turn(calls: &[(&'static str, Vec<u8>)], limits: &Limits, early: bool) -> Seen {
        let (state, mut progress) = (State::new(ByteSize::kib(1)), Progress::default());
        let (policy, mut outside) = (Policy::default(), Nothing::default());
        let event = Event::Start.frame(1, Timestamp(5));
        let mut door = Door::open(
            Draft::new(&state),
            &policy,
            limits,
            &mut outside,
            &mut progress,
            1,
            Timestamp(5),
            event.clone(),
        );
        let mut ahead = Ahead::default();
        let frame_max = limits.door_frame_max;
        let here = Some(event.len()).filter(|len| *len as u64 <= frame_max.0);
        ahead.begin(door.standing(), here, frame_max);
        let catch_up = |ahead: &mut Ahead, door: &mut Door<'_>| {
            for told in ahead.take() {
                let (code, frame) = door.call(told.op.name(), &told.input).unwrap();
                assert!(told.agrees(code, &frame), "{told:?}: {code} {frame:?}");
            }
        };
        let mut seen = Vec::new();
        for (op, input) in calls {
            let answered = if early { ahead.answer(op, input) } else { None };
            seen.push(match answered {
                Some(Answered::Event(len)) => (len as i32, event[..len].to_vec()),
                Some(Answered::Frame(frame)) => (frame.len() as i32, frame),
                None => {
                    catch_up(&mut ahead, &mut door);
                    let (code, frame) = door.call(op, input).unwrap();
                    ahead.heard(op, code, door.standing());
                    (code, frame)
                }
            });
        }
        catch_up(&mut ahead, &mut door);
        assert_eq!(ahead.event_waits(), door.event.is_some());
        let answered = door.answer.is_some();
        (seen, door.segment.bytes().to_vec(), door.logs.len(), answered)
    }

    proptest! {
        #[test]
        fn a_guest_and_its_transcript_cannot_tell_who_answered(
            calls in proptest::collection::vec(call(), 0..90),
            log_turn_max in prop::sample::select(vec![0, 64, 65, 400, 1000, 64 << 10]),
            door_frame_max in prop::sample::select(vec![5, 6, 20, 40, 1000]),
        ) {
            let limits = Limits {
                log_turn_max: ByteSize(log_turn_max),
                door_frame_max: ByteSize(door_frame_max),
                ..Limits::default()
            };
            prop_assert_eq!(turn(&calls, &limits, true), turn(&calls, &limits, false));
        }
    }

    #[test]
    fn no_more_is_told_at_once_than_may_be() {
        let mut ahead = Ahead::default();
        let standing = Standing { log_left: u64::MAX, ..Standing::default() };
        let input = |bytes: usize| frame::encode(&json!({"text": "a"}), &vec![0; bytes]);
        ahead.begin(standing, None, ByteSize::mib(1));
        for _ in 0..TOLD_MAX {
            assert!(ahead.answer("log", &input(0)).is_some());
        }
        assert_eq!(ahead.answer("log", &input(0)), None);
        assert_eq!(ahead.take().len(), TOLD_MAX);
        assert!(ahead.answer("log", &input(TOLD_BYTES_MAX / 2)).is_some());
        assert_eq!(ahead.answer("log", &input(TOLD_BYTES_MAX / 2)), None);
    }
}
