use std::time::Duration;

use daee_artifact::RunStyle;

use super::Way;
use crate::ahead::{Ahead, Answered, Standing};
use crate::engine::{Guest, Host, HostStop, Import};
use crate::frame;
use crate::protocol::{Birth, FromCell, OP_BYTES_MAX, ToCell, timed};
use crate::wasi::{self, Wasi};

/// The guest's side of the door: answers what it can, and carries the rest on.
pub(crate) struct DoorHost {
    pub(super) way: Way,
    pub(super) birth: Box<Birth>,
    /// What WASI keeps for the guest.
    pub(crate) wasi: Wasi,
    pub(super) ahead: Ahead,
    answer: Kept,
    /// The answer of the guest's own last call, while WASI asks: a runtime whose collector looks at the clock may do so
    /// between a call and the read of its answer.
    aside: Option<Vec<u8>>,
    /// Operations of this turn.
    calls: u32,
    /// This turn's event was given, so that a resident that asks again wants the next.
    given: bool,
    /// What a door that is no link took in this turn.
    pub(super) waited: Duration,
}

/// Where the last answer is.
enum Kept {
    Here(Vec<u8>),
    /// At the end of what was heard last, so many bytes.
    Heard(usize),
}

/// What goes in at the door.
enum Input<'a> {
    Here(&'a [u8]),
    /// In the guest's memory, where it was found to be.
    Guest {
        at: u32,
        len: u32,
    },
}

/// Fuel for moving bytes in or out: as for a bulk operation.
fn moving(bytes: usize) -> u64 {
    bytes as u64 / 16
}

impl DoorHost {
    pub(super) fn new(way: Way, birth: Box<Birth>, wasi: Wasi) -> Self {
        let (ahead, answer) = (Ahead::default(), Kept::Here(Vec::new()));
        let (aside, calls, given, waited) = (None, 0, false, Duration::ZERO);
        Self { way, birth, wasi, ahead, answer, aside, calls, given, waited }
    }

    pub(crate) fn env(&self) -> &[(String, String)] {
        &self.birth.env
    }

    /// Most bytes of an input or an answer.
    pub(crate) fn frame_max(&self) -> u64 {
        self.birth.limits.door_frame_max.0
    }

    pub(crate) fn args(&self) -> &[String] {
        &self.birth.args
    }

    /// Begins a turn. If the event came with it, it is the last that was heard.
    pub(super) fn begin(&mut self, standing: Standing, event: Option<usize>) {
        self.ahead.begin(standing, event, self.birth.limits.door_frame_max);
        self.answer = Kept::Here(Vec::new());
        self.aside = None;
        self.calls = 0;
        self.given = false;
        self.wasi.begin();
        self.waited = Duration::ZERO;
    }

    /// Does an operation that WASI needs; its answer is kept until the next. Returns its length, or the error code.
    pub(crate) fn operate(
        &mut self,
        op: &str,
        input: Vec<u8>,
        guest: &mut dyn Guest,
    ) -> Result<i32, HostStop> {
        if self.aside.is_none() {
            self.aside = Some(self.answer().to_vec());
        }
        self.pass(op, Input::Here(&input), guest)
    }

    fn pass(&mut self, op: &str, input: Input<'_>, guest: &mut dyn Guest) -> Result<i32, HostStop> {
        let len = match input {
            Input::Here(input) => input.len(),
            Input::Guest { len, .. } => len as usize,
        };
        guest.take_fuel(moving(len))?;
        let fuel = self.birth.limits.fuel_turn.saturating_sub(guest.fuel());
        let next = self.birth.style == RunStyle::Resident && op == "event.next";
        let ends = next && self.given;
        // What ends the turn is the first operation of the one behind it.
        if self.calls >= self.birth.limits.door_calls_max && !ends {
            return Ok(self.refuse(-4, "limit", "too many operations in one turn"));
        }
        self.calls += 1;
        let input = match input {
            Input::Here(input) => input,
            Input::Guest { at, len } => guest.bytes(at, len).unwrap_or_default(),
        };
        let answered = match self.way {
            Way::Link(_) if !ends => self.ahead.answer(op, input),
            _ => None,
        };
        let code = match answered {
            Some(answered) => {
                self.answer = match answered {
                    Answered::Event(bytes) => Kept::Heard(bytes),
                    Answered::Frame(frame) => Kept::Here(frame),
                };
                self.answer().len() as i32
            }
            None => self.carry(op, fuel, input)?,
        };
        if ends {
            guest.set_fuel(self.birth.limits.fuel_turn);
            self.calls = 1;
        }
        if next {
            self.given = !self.ahead.event_waits();
        }
        guest.take_fuel(moving(self.answer().len()))?;
        Ok(code)
    }

    /// Lets the door do it.
    fn carry(&mut self, op: &str, fuel: u64, input: &[u8]) -> Result<i32, HostStop> {
        let heard = match &mut self.way {
            Way::Link(link) => {
                let told = self.ahead.take();
                let call = FromCell::Call { told, fuel, op, input };
                link.tell_supervisor(&call).map_err(|_| HostStop::Gone)?;
                match link.hear_supervisor() {
                    Ok(ToCell::Answer { standing, code, frame }) => {
                        (standing, code, Kept::Heard(frame.len()))
                    }
                    _ => return Err(HostStop::Gone),
                }
            }
            Way::Door(door) => {
                let door = door.get().ok_or(HostStop::Gone)?;
                let (done, took) = timed(|| door.call(op, input));
                self.waited += took;
                let (code, frame) = done.ok_or(HostStop::Gone)?;
                (door.standing(), code, Kept::Here(frame))
            }
        };
        let (standing, code, answer) = heard;
        self.ahead.heard(op, code, standing);
        self.answer = answer;
        Ok(code)
    }

    /// The answer kept.
    pub(crate) fn answer(&self) -> &[u8] {
        match (&self.answer, &self.way) {
            (Kept::Here(answer), _) => answer,
            (Kept::Heard(bytes), Way::Link(link)) => link.last(*bytes),
            (Kept::Heard(_), Way::Door(_)) => &[],
        }
    }

    /// Refuses without asking the supervisor, for it would take what is too large for an attack.
    fn refuse(&mut self, code: i32, name: &str, message: &str) -> i32 {
        let head = serde_json::json!({"code": name, "message": message});
        self.answer = Kept::Here(frame::encode(&head, b""));
        code
    }

    fn call(&mut self, args: &[i64], guest: &mut dyn Guest) -> Result<i32, HostStop> {
        self.aside = None;
        let [op_at, op_len, in_at, in_len] = [0, 1, 2, 3].map(|n| args[n] as u32);
        let frame_max = self.birth.limits.door_frame_max;
        if u64::from(in_len) > frame_max.0 {
            return Ok(self.refuse(-4, "limit", &format!("an input is at most {frame_max}")));
        }
        if op_len as usize > OP_BYTES_MAX {
            return Ok(self.refuse(-2, "unknown", "there is no operation with so long a name"));
        }
        let op = guest.bytes(op_at, op_len).and_then(|op| std::str::from_utf8(op).ok());
        let (Some(op), Some(_)) = (op, guest.bytes(in_at, in_len)) else {
            let message = "operation or input lie outside the memory, or the name is not UTF-8";
            return Ok(self.refuse(-3, "malformed", message));
        };
        let op = op.to_owned();
        wasi::before(self, &op, guest)?;
        self.pass(&op, Input::Guest { at: in_at, len: in_len }, guest)
    }

    fn read(&mut self, args: &[i64], guest: &mut dyn Guest) -> Result<i32, HostStop> {
        let (at, cap) = (args[0] as u32, args[1] as u32);
        let answer = self.aside.as_deref().unwrap_or_else(|| self.answer());
        let some = answer.len().min(cap as usize);
        guest.take_fuel(moving(some))?;
        if !guest.write(at, &answer[..some]) {
            return Ok(-3);
        }
        Ok(answer.len() as i32)
    }
}

impl Host for DoorHost {
    fn import(
        &mut self,
        import: Import,
        args: &[i64],
        guest: &mut dyn Guest,
    ) -> Result<i32, HostStop> {
        match import {
            Import::daee_call => self.call(args, guest),
            Import::daee_read => self.read(args, guest),
            other => wasi::call(self, other, args, guest),
        }
    }
}
