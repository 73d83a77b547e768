//! A connection's bytes, with the peer's patience limited: a head that does not get done and a
//! connection that stays silent end it.

use super::guests::Guest;
use crate::clock::{Clock, Sleep};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(crate) struct Watched<S> {
    inner: S,
    guest: Arc<Guest>,
    /// Bytes after silence begin a head. With HTTP/2 they may be anything.
    heads: bool,
    clock: Arc<dyn Clock>,
    /// Set for this time, which may be earlier than the deadline has become since: it is cheaper to
    /// look again than to set it anew with each request.
    timer: Option<(Duration, Sleep<'static>)>,
}

impl<S> Watched<S> {
    pub(crate) fn http1(inner: S, guest: Arc<Guest>) -> Self {
        Self { clock: guest.clock(), inner, guest, heads: true, timer: None }
    }

    pub(crate) fn http2(inner: S, guest: Arc<Guest>) -> Self {
        Self { clock: guest.clock(), inner, guest, heads: false, timer: None }
    }

    /// Called whenever there is nothing to do but to wait for the peer.
    fn check(&mut self, context: &mut Context<'_>) -> Result<(), io::Error> {
        while let Some(deadline) = self.guest.deadline() {
            if self.timer.as_ref().is_none_or(|(at, _)| *at > deadline) {
                let clock = self.clock.clone();
                self.timer = Some((deadline, Box::pin(async move { clock.sleep_until(deadline).await })));
            }
            let Some((at, timer)) = &mut self.timer else { break };
            if timer.as_mut().poll(context).is_pending() {
                break;
            }
            if *at >= deadline {
                self.guest.expired();
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.timer = None;
        }
        Ok(())
    }

    fn or_late<T>(&mut self, context: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        match poll {
            Poll::Pending => match self.check(context) {
                Ok(()) => Poll::Pending,
                Err(error) => Poll::Ready(Err(error)),
            },
            ready @ Poll::Ready(_) => ready,
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(context, buffer);
        if self.heads && buffer.filled().len() > before {
            self.guest.heard();
        }
        self.or_late(context, poll)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write(context, bytes);
        self.or_late(context, poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.inner).poll_write_vectored(context, bytes);
        self.or_late(context, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_flush(context);
        self.or_late(context, poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.inner).poll_shutdown(context);
        self.or_late(context, poll)
    }
}
