use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::{Code, Error, frame};

/// What an operation gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// Its fields.
    pub head: Map<String, Value>,
    /// Its bytes.
    pub body: Vec<u8>,
}

impl Reply {
    /// A field of the head that is a number.
    pub fn number(&self, key: &str) -> Result<u64, Error> {
        self.field(key)
    }

    /// A field of the head that says yes or no.
    pub fn flag(&self, key: &str) -> Result<bool, Error> {
        self.field(key)
    }

    pub(crate) fn field<T: DeserializeOwned>(&self, key: &str) -> Result<T, Error> {
        let value = self.head.get(key).cloned().unwrap_or_default();
        serde_json::from_value(value)
            .map_err(|error| Error::new(Code::Unreadable, format!("{key}: {error}")))
    }
}

/// Does an operation by its name: for those that this crate has no function for.
pub fn call(op: &str, head: Value, body: &[u8]) -> Result<Reply, Error> {
    let (number, answer) = raw(op, &frame::encode(&head, body));
    if number < 0 {
        return Err(Error::refused(number, &answer));
    }
    match frame::decode(&answer) {
        Some((head, body)) => Ok(Reply { head, body: body.to_vec() }),
        None => Err(Error::new(Code::Unreadable, format!("the answer to {op} is no frame"))),
    }
}

#[cfg(target_family = "wasm")]
#[allow(unsafe_code, reason = "the two imports")]
fn raw(op: &str, input: &[u8]) -> (i32, Vec<u8>) {
    mod daee {
        #[link(wasm_import_module = "daee")]
        unsafe extern "C" {
            pub fn call(op: *const u8, op_len: usize, input: *const u8, input_len: usize) -> i32;
            pub fn read(out: *mut u8, cap: usize) -> i32;
        }
    }
    // SAFETY: both slices live for the call, and the host only reads them.
    let number = unsafe { daee::call(op.as_ptr(), op.len(), input.as_ptr(), input.len()) };
    // A refusal does not say how long its reason is; one read of nothing does.
    // SAFETY: nothing is written.
    let len = usize::try_from(number)
        .unwrap_or_else(|_| unsafe { daee::read(std::ptr::null_mut(), 0) }.max(0) as usize);
    let mut answer = vec![0; len];
    // SAFETY: the host writes at most `len` bytes, and there is room for them.
    unsafe { daee::read(answer.as_mut_ptr(), len) };
    (number, answer)
}

#[cfg(not(target_family = "wasm"))]
fn raw(op: &str, input: &[u8]) -> (i32, Vec<u8>) {
    crate::testing::call(op, input)
}
