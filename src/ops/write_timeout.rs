//! A TCP stream whose other end has to read.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long the other end may take to read.
#[derive(Clone, Copy, Debug)]
pub struct WriteTimeout {
    /// How long it may read nothing of what is to be written.
    pub idle: Duration,
    /// How long it may take to read all that is written between two flushes, which is one answer of HTTP/1.
    pub whole: Option<Duration>,
}

/// A stream that breaks when the other end does not read in time what is to be written.
#[derive(Debug)]
pub struct WriteTimeoutStream {
    stream: TcpStream,
    timeout: WriteTimeout,
    /// When the first write since the last flush began.
    begin: Option<Instant>,
    /// When the waiting write fails; none if no write waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl WriteTimeoutStream {
    /// Waits for the other end with this patience.
    #[must_use]
    pub fn within(timeout: WriteTimeout, stream: TcpStream) -> Self {
        Self { stream, timeout, begin: None, deadline: None }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, outcome: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let now = Instant::now();
        let begin = *self.begin.get_or_insert(now);
        let end = self.timeout.whole.map(|whole| begin + whole);
        if outcome.is_ready() {
            self.deadline = None;
            let is_late = end.is_some_and(|end| end <= now);
            return if is_late { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { outcome };
        }
        let idle = now + self.timeout.idle;
        let limit = end.map_or(idle, |end| end.min(idle));
        let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(limit)));
        ready!(deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for WriteTimeoutStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for WriteTimeoutStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, outcome)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.watch(context, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What is to be written has all been taken.
        self.begin = None;
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
