use std::{
    future::Future as _,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// What an HTTP/2 connection opens with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection that may neither take its time to say which HTTP it speaks nor to take what it asked
/// for. hyper bounds neither.
pub(crate) struct Guarded<S> {
    inner: S,
    opening: Option<Opening>,
    stall: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
}

struct Opening {
    deadline: Pin<Box<Sleep>>,
    matched: usize,
}

impl<S> Guarded<S> {
    /// `opening` bounds the time to tell the version, `stall` each time without progress of a write.
    pub(crate) fn new(inner: S, opening: Duration, stall: Duration) -> Self {
        let opening = Opening { deadline: Box::pin(sleep(opening)), matched: 0 };
        Self { inner, opening: Some(opening), stall, stalled: None }
    }

    /// The caller's side, who speaks first.
    pub(crate) fn calling(inner: S, stall: Duration) -> Self {
        Self { inner, opening: None, stall, stalled: None }
    }

    fn written<T>(
        &mut self,
        context: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.stalled = None;
            return progress;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.stall)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let progress = Pin::new(&mut self.inner).poll_read(context, buffer);
        let Some(opening) = &mut self.opening else { return progress };
        if progress.is_pending() {
            ready!(opening.deadline.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let told = buffer.filled()[before..].iter().any(|byte| {
            let same = PREFACE[opening.matched] == *byte;
            opening.matched += 1;
            !same || opening.matched == PREFACE.len()
        });
        if told {
            self.opening = None;
        }
        progress
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.written(context, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.written(context, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.inner).poll_flush(context);
        self.written(context, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.inner).poll_shutdown(context);
        self.written(context, progress)
    }
}
