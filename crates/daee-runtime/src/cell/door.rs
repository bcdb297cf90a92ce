use daee_artifact::RunStyle;

use crate::engine::{Guest, Host, HostStop, Import};
use crate::protocol::{Birth, FromCell, Link, OP_BYTES_MAX, ToCell};
use crate::{frame, wasi};

/// The guest's side of the door: carries operations over the link.
pub(crate) struct DoorHost {
    pub(super) link: Link,
    pub(super) birth: Box<Birth>,
    answer: Vec<u8>,
    /// Operations of this turn.
    pub(super) calls: u32,
    /// This turn's event was given, so that a resident that asks again wants the next.
    pub(super) given: bool,
}

/// What an input that is no frame is refused with: the event is still there.
const MALFORMED: i32 = -3;

/// Fuel for moving bytes in or out: as for a bulk operation.
fn moving(bytes: usize) -> u64 {
    bytes as u64 / 16
}

impl DoorHost {
    pub(super) fn new(link: Link, birth: Box<Birth>) -> Self {
        Self { link, birth, answer: Vec::new(), calls: 0, given: false }
    }

    pub(crate) fn env(&self) -> &[(String, String)] {
        &self.birth.env
    }

    pub(crate) fn args(&self) -> &[String] {
        &self.birth.args
    }

    /// Does an operation; its answer is kept until the next. Returns its length, or the error code.
    pub(crate) fn operate(
        &mut self,
        op: &str,
        input: Vec<u8>,
        guest: &mut dyn Guest,
    ) -> Result<i32, HostStop> {
        guest.take_fuel(moving(input.len()))?;
        let fuel = self.birth.limits.fuel_turn.saturating_sub(guest.fuel());
        let next = self.birth.style == RunStyle::Resident && op == "event.next";
        let ends = next && self.given;
        // What ends the turn is the first operation of the one behind it.
        if self.calls >= self.birth.limits.door_calls_max && !ends {
            return Ok(self.refuse(-4, "limit", "too many operations in one turn"));
        }
        self.calls += 1;
        self.tell(&FromCell::Call { fuel, op: op.to_owned(), input })?;
        let (code, answer) = match self.link.hear_supervisor() {
            Ok(ToCell::Answer { code, frame }) => (code, frame),
            _ => return Err(HostStop::Gone),
        };
        if ends {
            guest.set_fuel(self.birth.limits.fuel_turn);
            self.calls = 1;
        }
        if next {
            self.given = code != MALFORMED;
        }
        guest.take_fuel(moving(answer.len()))?;
        self.answer = answer;
        Ok(code)
    }

    /// The answer kept.
    pub(crate) fn answer(&self) -> &[u8] {
        &self.answer
    }

    fn tell(&mut self, what: &FromCell) -> Result<(), HostStop> {
        self.link.tell_supervisor(what).map_err(|_| HostStop::Gone)
    }

    /// Refuses without asking the supervisor, for it would take what is too large for an attack.
    fn refuse(&mut self, code: i32, name: &str, message: &str) -> i32 {
        let head = serde_json::json!({"code": name, "message": message});
        self.answer = frame::encode(&head, b"");
        code
    }

    fn call(&mut self, args: &[i64], guest: &mut dyn Guest) -> Result<i32, HostStop> {
        let [op_at, op_len, in_at, in_len] = [0, 1, 2, 3].map(|n| args[n] as u32);
        let frame_max = self.birth.limits.door_frame_max;
        if u64::from(in_len) > frame_max.0 {
            return Ok(self.refuse(-4, "limit", &format!("an input is at most {frame_max}")));
        }
        if op_len as usize > OP_BYTES_MAX {
            return Ok(self.refuse(-2, "unknown", "there is no operation with so long a name"));
        }
        let op = guest.bytes(op_at, op_len).and_then(|op| std::str::from_utf8(op).ok());
        let (Some(op), Some(input)) = (op, guest.bytes(in_at, in_len)) else {
            let message = "operation or input lie outside the memory, or the name is not UTF-8";
            return Ok(self.refuse(-3, "malformed", message));
        };
        let (op, input) = (op.to_owned(), input.to_vec());
        self.operate(&op, input, guest)
    }

    fn read(&mut self, args: &[i64], guest: &mut dyn Guest) -> Result<i32, HostStop> {
        let (at, cap) = (args[0] as u32, args[1] as u32);
        let some = self.answer.len().min(cap as usize);
        guest.take_fuel(moving(some))?;
        if !guest.write(at, &self.answer[..some]) {
            return Ok(-3);
        }
        Ok(self.answer.len() as i32)
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
