use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use daee_types::ByteSize;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use crate::{HttpError, dial::Connection};

/// An answer's body, read piece by piece. Dropping it closes the connection.
#[derive(Debug)]
pub struct BodyReader {
    body: Incoming,
    left: u64,
    max: ByteSize,
    idle_time: Duration,
    // Drives the connection for as long as somebody reads.
    _connection: Connection,
}

impl BodyReader {
    pub(crate) fn new(
        body: Incoming,
        max: ByteSize,
        idle_time: Duration,
        connection: Connection,
    ) -> Result<Self, HttpError> {
        // What announces too much is not worth its first byte.
        if body.size_hint().lower() > max.0 {
            return Err(HttpError::TooLarge(max));
        }
        Ok(Self { body, left: max.0, max, idle_time, _connection: connection })
    }

    /// The next piece, or `None` at the end.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let frame = timeout(self.idle_time, self.body.frame())
                .await
                .map_err(|_| HttpError::timeout("more of the answer", self.idle_time))?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| HttpError::broken(&error))?;
            // Trailers say nothing that anybody here reads.
            let Ok(piece) = frame.into_data() else { continue };
            self.left =
                self.left.checked_sub(piece.len() as u64).ok_or(HttpError::TooLarge(self.max))?;
            return Ok(Some(piece));
        }
    }

    /// All of it.
    pub async fn whole(mut self) -> Result<Bytes, HttpError> {
        let Some(first) = self.piece().await? else { return Ok(Bytes::new()) };
        let Some(second) = self.piece().await? else { return Ok(first) };
        let mut all = BytesMut::with_capacity(first.len() + second.len());
        all.extend_from_slice(&first);
        all.extend_from_slice(&second);
        while let Some(piece) = self.piece().await? {
            all.extend_from_slice(&piece);
        }
        Ok(all.freeze())
    }

    /// Reads it as lines of JSON, each of at most `line_max` bytes.
    pub fn lines(self, line_max: ByteSize) -> Lines {
        Lines { body: self, line_max, read: BytesMut::new() }
    }
}

/// Lines of JSON, as [`ndjson_answer`](crate::ndjson_answer) writes them.
#[derive(Debug)]
pub struct Lines {
    body: BodyReader,
    line_max: ByteSize,
    read: BytesMut,
}

impl Lines {
    /// The next value, or `None` at the end.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, HttpError> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.read[searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.read.split_to(searched + at);
                self.read.advance(1);
                searched = 0;
                if line.is_empty() {
                    continue;
                }
                return value(&line).map(Some);
            }
            searched = self.read.len();
            if searched as u64 > self.line_max.0 {
                return Err(HttpError::TooLarge(self.line_max));
            }
            match self.body.piece().await? {
                Some(piece) => self.read.extend_from_slice(&piece),
                None if self.read.is_empty() => return Ok(None),
                // A last line without its end was cut, or the sender does not write lines.
                None => return Err(HttpError::Broken("the last line is not whole".to_owned())),
            }
        }
    }
}

fn value<T: DeserializeOwned>(line: &[u8]) -> Result<T, HttpError> {
    serde_json::from_slice(line)
        .map_err(|error| HttpError::Broken(format!("a line is not the JSON it should be: {error}")))
}
