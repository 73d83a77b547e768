//! Accepts HTTP/1.1 connections, within limits, until told to stop.

use crate::metrics::Metrics;
use amochats::{Error, ErrorKind, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub(crate) struct Limits {
    pub(crate) connections: usize,
    pub(crate) header_timeout: Duration,
}

pub(crate) async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(ErrorKind::ConfigInvalid, format!("cannot listen on {address} for {what}: {error}"))
            .with_field(format!("{what}.address"))
    })
}

/// Serves until `stop`, then until the requests in flight are answered or `cut`.
pub(crate) async fn serve<F, R>(
    listener: TcpListener,
    limits: Limits,
    metrics: Option<Arc<Metrics>>,
    stop: CancellationToken,
    cut: CancellationToken,
    handle: F,
) where
    F: Fn(Request<Incoming>) -> R + Clone + Send + 'static,
    R: Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
    loop {
        let accepted = async {
            // Full: further connections wait in the system's backlog.
            let slot = slots.clone().acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, stream) = tokio::select! {
            () = stop.cancelled() => break,
            () = cut.cancelled() => break,
            (slot, accepted) = accepted => match accepted {
                Ok((stream, _peer)) => (slot, stream),
                Err(error) => {
                    // Out of file descriptors, or the peer is gone already: the next one may do.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let connection = http.serve_connection(TokioIo::new(stream), service_fn(handle.clone()));
        let connection = graceful.watch(connection);
        let counted = Counted::new(metrics.clone());
        connections.spawn(async move {
            // A broken connection is the peer's affair.
            let _ = connection.await;
            drop((counted, slot));
        });
        // Those that have ended.
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = cut.cancelled() => {}
    }
    connections.shutdown().await;
}

/// Counts a connection for as long as it lives.
struct Counted(Option<Arc<Metrics>>);

impl Counted {
    fn new(metrics: Option<Arc<Metrics>>) -> Self {
        if let Some(metrics) = &metrics {
            metrics.connections(1);
        }
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(metrics) = &self.0 {
            metrics.connections(-1);
        }
    }
}
