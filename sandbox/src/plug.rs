//! Connections whose plug can be pulled, for faults that no HTTP answer can express.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much more may be written to a connection.
#[derive(Clone, Debug)]
pub(crate) struct Plug(Arc<AtomicU64>);

impl Plug {
    /// Lets so many more bytes out, then breaks the connection.
    pub(crate) fn pull_after(&self, bytes: u64) {
        self.0.store(bytes, Ordering::SeqCst);
    }
}

/// A listener of such connections.
pub(crate) struct Plugged<L>(pub(crate) L);

/// Such a connection.
pub(crate) struct PluggedIo<T> {
    inner: T,
    plug: Plug,
}

impl<L: Listener> Listener for Plugged<L> {
    type Io = PluggedIo<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (inner, addr) = self.0.accept().await;
        (PluggedIo { inner, plug: Plug(Arc::new(AtomicU64::new(u64::MAX))) }, addr)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

impl<L: Listener> Connected<IncomingStream<'_, Plugged<L>>> for Plug {
    fn connect_info(stream: IncomingStream<'_, Plugged<L>>) -> Self {
        stream.io().plug.clone()
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for PluggedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for PluggedIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let left = self.plug.0.load(Ordering::SeqCst);
        if left == u64::MAX {
            return Pin::new(&mut self.inner).poll_write(cx, buf);
        }
        let fits = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        if fits == 0 {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let written = Pin::new(&mut self.inner).poll_write(cx, &buf[..fits]);
        if let Poll::Ready(Ok(written)) = written {
            self.plug.0.fetch_sub(written as u64, Ordering::SeqCst);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
