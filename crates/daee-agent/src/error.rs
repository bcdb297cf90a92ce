use std::fmt;

use crate::frame;

/// Why an operation was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
    needs: Option<String>,
}

/// What kind of refusal it is, and so what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Code {
    /// The manifest does not permit it.
    Denied,
    /// This node knows no such operation.
    Unknown,
    /// The input is not what the operation takes.
    Malformed,
    /// Too large, too many, or over the quota.
    Limit,
    /// There is nothing there.
    NotFound,
    /// The network or the other side failed. Trying again may help.
    Outside,
    /// Not at this point of a turn: a second answer, say.
    NotNow,
    /// What is there is in the way: a file that exists, or a folder that is not empty.
    Conflict,
    /// What came does not read as what was asked for. This crate says so, not the door.
    Unreadable,
    /// A number that this version of the crate does not know.
    Other(i32),
}

impl Error {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), needs: None }
    }

    /// What a refusal's number and frame say.
    pub(crate) fn refused(number: i32, frame: &[u8]) -> Self {
        let head = frame::decode(frame).map(|(head, _)| head).unwrap_or_default();
        let text = |key: &str| head.get(key).and_then(|text| text.as_str()).map(str::to_owned);
        let message = text("message").unwrap_or_else(|| "refused without a reason".into());
        Self { code: Code::from(number), message, needs: text("needs") }
    }

    /// What kind of refusal it is.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The line of the manifest's `permissions` that would have allowed the call, if one would.
    pub fn needs(&self) -> Option<&str> {
        self.needs.as_deref()
    }
}

/// The door's names and numbers.
const NAMES: [(Code, i32, &str); 8] = [
    (Code::Denied, -1, "denied"),
    (Code::Unknown, -2, "unknown"),
    (Code::Malformed, -3, "malformed"),
    (Code::Limit, -4, "limit"),
    (Code::NotFound, -5, "not_found"),
    (Code::Outside, -6, "outside"),
    (Code::NotNow, -7, "not_now"),
    (Code::Conflict, -8, "conflict"),
];

impl Code {
    /// The number and the name that the door says it with. What only this crate says has none.
    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn said(self) -> Option<(i32, &'static str)> {
        let said = NAMES.iter().find(|(code, ..)| *code == self);
        said.map(|(_, number, name)| (*number, *name))
    }
}

impl From<i32> for Code {
    fn from(number: i32) -> Self {
        let known = NAMES.iter().find(|(_, known, _)| *known == number);
        known.map_or(Self::Other(number), |(code, ..)| *code)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.needs {
            // The node's own words may name it already.
            Some(needs) if !self.message.contains(needs.as_str()) => {
                write!(f, " (needs the permission {needs:?})")
            }
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_denial_says_what_it_needs_once() {
        let check = |message: &str, shown: &str| {
            let head = json!({"code": "denied", "message": message, "needs": "read_ipfs"});
            let error = Error::refused(-1, &frame::encode(&head, b""));
            assert_eq!((error.code(), error.needs()), (Code::Denied, Some("read_ipfs")));
            assert_eq!(error.to_string(), shown);
        };
        check("not permitted", "not permitted (needs the permission \"read_ipfs\")");
        check("add read_ipfs to permissions", "add read_ipfs to permissions");
    }

    #[test]
    fn a_refusal_without_a_frame_is_one_still() {
        for bad in [&b""[..], b"\xff\xff\xff\xff", b"\x02\0\0\0[]"] {
            assert_eq!(Error::refused(-77, bad).code(), Code::Other(-77));
        }
    }
}
