//! Accepts HTTP connections, plain or over TLS, within limits, until told to stop.

mod guests;
mod proxy;
mod tls;
mod watched;

pub(crate) use guests::{Guests, PeerLimits, Progress};
pub(crate) use proxy::Trusted;
pub(crate) use tls::Tls;

use crate::clock::Clock;
use crate::metrics::Metrics;
use amochats::{Error, ErrorKind, Result};
use bytes::Bytes;
use guests::Guest;
use hyper::body::{Body, Incoming};
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use watched::Watched;

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 64 << 10;
/// Requests at once on one connection of HTTP/2.
const MAX_STREAMS: u32 = 100;
/// Between two lines of the log about refused connections.
const QUIET: Duration = Duration::from_secs(60);

/// A place to listen at.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) guests: Arc<Guests>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) trusted: Arc<Trusted>,
    /// Trusted proxies begin each connection with the PROXY protocol.
    pub(crate) proxy_protocol: bool,
    pub(crate) metrics: Option<Arc<Metrics>>,
}

pub(crate) async fn bind(address: SocketAddr, what: &str) -> Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        Error::new(ErrorKind::ConfigInvalid, format!("cannot listen on {address} for {what}: {error}"))
            .with_field(format!("{what}.address"))
    })
}

/// Serves until `stop`, then until the requests in flight are answered or `cut`. `handle` gets each
/// request with the address of the peer, or the one for which a trusted proxy speaks.
pub(crate) async fn serve<F, R, B>(
    listener: TcpListener,
    site: Site,
    stop: CancellationToken,
    cut: CancellationToken,
    handle: F,
) where
    F: Fn(Request<Incoming>, IpAddr) -> R + Clone + Send + 'static,
    R: Future<Output = std::result::Result<Response<B>, Infallible>> + Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut said = None;
    loop {
        let accepted = async {
            let (stream, peer) = listener.accept().await?;
            let (guest, crowded) = site.guests.admit().await;
            Ok::<_, std::io::Error>((stream, peer, guest, crowded))
        };
        let (stream, peer, guest, crowded) = tokio::select! {
            () = stop.cancelled() => break,
            () = cut.cancelled() => break,
            accepted = accepted => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file descriptors, or the peer is gone already: the next one may do.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                }
            },
        };
        if crowded {
            site.turned_away("crowded");
            let now = site.clock.monotonic();
            if said.is_none_or(|at| now >= at + QUIET) {
                said = Some(now);
                tracing::warn!(
                    "all connections are taken, those that are silent longest make room; \
                     listener.max_connections is the limit"
                );
            }
        }
        let _ = stream.set_nodelay(true);
        let (site, handle, watcher) = (site.clone(), handle.clone(), graceful.watcher());
        connections.spawn(async move {
            let _counted = Counted::new(site.metrics.clone());
            let must_leave = guest.must_leave();
            tokio::select! {
                // In this order: a request that has come is answered before its connection may end.
                biased;
                // A broken connection is the peer's affair.
                _ = site.welcome(stream, peer.ip(), guest, watcher, handle) => {}
                () = must_leave => {}
            }
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

impl Site {
    fn turned_away(&self, reason: &'static str) {
        if let Some(metrics) = &self.metrics {
            metrics.site.connections_ended.get_or_create(&reason.into()).inc();
        }
    }

    fn saw_off(&self, guest: &Guest) {
        if let Some(reason) = guest.end_reason() {
            self.turned_away(reason);
        }
    }

    /// One connection, from its first byte to its last.
    async fn welcome<F, R, B>(
        &self,
        mut stream: TcpStream,
        peer: IpAddr,
        mut guest: Guest,
        watcher: Watcher,
        handle: F,
    ) -> Option<()>
    where
        F: Fn(Request<Incoming>, IpAddr) -> R + Clone + Send + 'static,
        R: Future<Output = std::result::Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let mut peer = peer.to_canonical();
        let trusted = self.trusted.contains(peer);
        let mut spoken_for = false;
        if trusted && self.proxy_protocol {
            match self.in_time(&guest, proxy::read_header(&mut stream)).await? {
                Ok(Some(client)) => (peer, spoken_for) = (client.to_canonical(), true),
                Ok(None) => {}
                Err(error) => {
                    self.turned_away("proxy_header");
                    tracing::debug!(%peer, %error, "a trusted proxy did not speak the PROXY protocol");
                    return None;
                }
            }
        }
        // Behind a proxy that says nothing everybody has the proxy's address.
        if (!trusted || spoken_for) && !guest.belongs_to(peer) {
            self.turned_away("per_peer");
            tracing::debug!(%peer, "a peer has too many connections");
            return None;
        }
        let Some(tls) = &self.tls else {
            return self.http1(stream, peer, guest, watcher, handle).await;
        };
        let acceptor = TlsAcceptor::from(tls.current());
        let Ok(stream) = self.in_time(&guest, acceptor.accept(stream)).await? else {
            self.turned_away("tls");
            return None;
        };
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return self.http1(stream, peer, guest, watcher, handle).await;
        }
        let guest = Arc::new(guest);
        let host = guest.clone();
        let service = move |request| attend(Attendance::begin(host.clone()), handle(request, peer));
        let http = http2::Builder::new(TokioExecutor::new())
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX))
            .serve_connection(TokioIo::new(Watched::http2(stream, guest.clone())), service_fn(service));
        let ended = watcher.watch(http).await;
        self.saw_off(&guest);
        ended.ok()
    }

    async fn http1<S, F, R, B>(
        &self,
        stream: S,
        peer: IpAddr,
        guest: Guest,
        watcher: Watcher,
        handle: F,
    ) -> Option<()>
    where
        S: 'static,
        TokioIo<Watched<S>>: Read + Write + Unpin,
        F: Fn(Request<Incoming>, IpAddr) -> R + Clone + Send + 'static,
        R: Future<Output = std::result::Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let guest = Arc::new(guest);
        let host = guest.clone();
        let service = move |request| attend(Attendance::begin(host.clone()), handle(request, peer));
        let mut http = http1::Builder::new();
        // Times are kept by `Watched`. A peer that has said all and closes its side gets its answer.
        http.max_buf_size(MAX_HEAD).half_close(true);
        let io = TokioIo::new(Watched::http1(stream, guest.clone()));
        let ended = watcher.watch(http.serve_connection(io, service_fn(service))).await;
        self.saw_off(&guest);
        ended.ok()
    }

    /// What comes of a greeting within the time for a request's head.
    async fn in_time<T>(&self, guest: &Guest, greeting: impl Future<Output = T>) -> Option<T> {
        let deadline = guest.deadline().unwrap_or_default();
        tokio::select! {
            biased;
            done = greeting => Some(done),
            () = self.clock.sleep_until(deadline) => {
                self.turned_away("slow");
                None
            }
        }
    }
}

/// Answers, with the guest told of the end, and a long answer of the guest.
async fn attend<B, E>(
    attendance: Attendance,
    answer: impl Future<Output = std::result::Result<Response<B>, E>>,
) -> std::result::Result<Response<B>, E> {
    let mut answer = answer.await;
    if let Ok(answer) = &mut answer
        && let Some(progress) = answer.extensions_mut().remove::<Progress>()
    {
        progress.is_of(attendance.0.clone());
    }
    drop(attendance);
    answer
}

/// A request that is being answered, or was dropped before.
struct Attendance(Arc<Guest>);

impl Attendance {
    fn begin(guest: Arc<Guest>) -> Self {
        guest.begin();
        Self(guest)
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.end();
    }
}
