use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::{Body, Frame, SizeHint};

/// A request's body that is read while it is sent, so that it need not fit into memory.
pub struct Upload {
    pieces: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    left: u64,
}

impl Upload {
    /// `bytes` long. Pieces that come to more or less than that break the request off: its length was
    /// announced.
    pub fn new(bytes: u64, pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Self {
        Self { pieces: Box::pin(pieces), left: bytes }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let other = || io::Error::other("what is sent has another length than was announced");
        let Some(piece) = ready!(self.pieces.as_mut().poll_next(context)) else {
            return Poll::Ready((self.left > 0).then(|| Err(other())));
        };
        let counted = piece.and_then(|piece| {
            self.left = self.left.checked_sub(piece.len() as u64).ok_or_else(other)?;
            Ok(Frame::data(piece))
        });
        Poll::Ready(Some(counted))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").field("left", &self.left).finish_non_exhaustive()
    }
}
