//! Accepts connections, plain or over TLS, within limits.
//!
//! Where all places are taken, the connection that has waited longest without a permitted call makes
//! room: strangers cannot keep clients out by sitting there.

use super::config::GrpcConfig;
use super::tls;
use super::watched::Watched;
use amochats::Result;
use rustls::ServerConfig;
use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::either::Either;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// How many connections may wait to be served.
const WAITING: usize = 16;

/// The way in.
#[derive(Clone)]
pub(crate) struct Connections {
    tls: Option<Arc<Watched<Arc<ServerConfig>>>>,
    handshake: Duration,
    places: Arc<Places>,
}

impl Connections {
    /// # Errors
    /// [`amochats::ErrorKind::ConfigInvalid`] for certificates that cannot be used.
    pub(crate) fn new(config: &GrpcConfig) -> Result<Self> {
        let tls = match config.tls()? {
            None => None,
            Some(files) => {
                let paths = files.paths();
                Some(Arc::new(Watched::new("the certificate for grpc", paths, move || files.load())?))
            }
        };
        let places = Places {
            most: config.max_connections,
            most_of_peer: config.max_connections_per_peer,
            state: Mutex::default(),
        };
        let handshake = Duration::from_millis(config.handshake_timeout_ms);
        Ok(Self { tls, handshake, places: Arc::new(places) })
    }

    /// Reads the certificate again.
    ///
    /// # Errors
    /// [`amochats::ErrorKind::ConfigInvalid`]; then the old one stays.
    pub(crate) fn refresh(&self) -> Result<()> {
        self.tls.as_ref().map_or(Ok(()), |tls| tls.refresh())
    }

    /// The connections of a listener, until `stop`.
    pub(crate) fn of(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> ReceiverStream<std::result::Result<Connection, Infallible>> {
        let (welcomed, connections) = mpsc::channel(WAITING);
        let door = self.clone();
        tokio::spawn(async move {
            while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
                match accepted {
                    Ok((stream, peer)) => door.admit(stream, peer.ip().to_canonical(), &welcomed, &stop),
                    Err(error) => {
                        // Out of file descriptors, or the peer is gone already: the next one may do.
                        tracing::warn!(%error, "a connection could not be accepted");
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                }
            }
        });
        ReceiverStream::new(connections)
    }

    fn admit(
        &self,
        stream: TcpStream,
        peer: IpAddr,
        welcomed: &mpsc::Sender<std::result::Result<Connection, Infallible>>,
        stop: &CancellationToken,
    ) {
        let Some(place) = self.places.take(peer) else {
            tracing::debug!(%peer, "a connection is refused: grpc.max_connections, or that of one peer");
            return;
        };
        let _ = stream.set_nodelay(true);
        let (door, welcomed, stop) = (self.clone(), welcomed.clone(), stop.clone());
        tokio::spawn(async move {
            let leave = place.seat.leave.clone();
            let welcome = async {
                let connection = door.greet(stream, peer, place).await?;
                welcomed.send(Ok(connection)).await.ok()
            };
            tokio::select! {
                _ = welcome => {}
                () = leave.cancelled() => {}
                () = stop.cancelled() => {}
            }
        });
    }

    async fn greet(&self, stream: TcpStream, address: IpAddr, place: Place) -> Option<Connection> {
        let (stream, identity) = match &self.tls {
            None => (Either::Left(stream), None),
            Some(tls) => {
                let greeting = TlsAcceptor::from((*tls.current()).clone()).accept(stream);
                let stream = match tokio::time::timeout(self.handshake, greeting).await {
                    Ok(Ok(stream)) => stream,
                    Ok(Err(error)) => {
                        tracing::debug!(peer = %address, %error, "the greeting of TLS failed");
                        return None;
                    }
                    Err(_) => return None,
                };
                let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
                let identity = certificate.map(|certificate| Arc::new(tls::Identity::of(certificate)));
                (Either::Right(stream), identity)
            }
        };
        let leave = Box::pin(place.seat.leave.clone().cancelled_owned());
        let peer = Peer { address, identity, seat: place.seat.clone() };
        Some(Connection { stream, peer, leave, _place: place })
    }
}

/// Who is at the other end of a connection.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(super) address: IpAddr,
    /// Of its certificate, where clients have one.
    pub(super) identity: Option<Arc<tls::Identity>>,
    seat: Arc<Seat>,
}

impl Peer {
    /// It has made a call that it may make.
    pub(super) fn is_known(&self) {
        self.seat.known.store(true, Ordering::Relaxed);
    }
}

struct Places {
    most: usize,
    most_of_peer: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    /// The oldest first.
    taken: BTreeMap<u64, Arc<Seat>>,
    of_peer: HashMap<IpAddr, usize>,
}

struct Seat {
    known: AtomicBool,
    leave: CancellationToken,
}

impl Places {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let peer = household(address);
        let mut state = self.state();
        if state.of_peer.get(&peer).is_some_and(|count| *count >= self.most_of_peer) {
            return None;
        }
        if state.taken.len() >= self.most {
            let stranger = |(_, seat): &(&u64, &Arc<Seat>)| !seat.known.load(Ordering::Relaxed);
            let oldest = state.taken.iter().find(stranger).map(|(number, _)| *number)?;
            state.taken.remove(&oldest)?.leave.cancel();
        }
        let seat = Arc::new(Seat { known: AtomicBool::new(false), leave: CancellationToken::new() });
        let number = state.next;
        state.next += 1;
        state.taken.insert(number, seat.clone());
        *state.of_peer.entry(peer).or_default() += 1;
        Some(Place { places: self.clone(), number, peer, seat })
    }
}

/// A connection's place, free again once it is dropped.
struct Place {
    places: Arc<Places>,
    number: u64,
    peer: IpAddr,
    seat: Arc<Seat>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state();
        state.taken.remove(&self.number);
        if let Some(count) = state.of_peer.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                state.of_peer.remove(&self.peer);
            }
        }
    }
}

/// Whom an address counts for: with IPv6 one customer has a whole /64.
pub(super) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// A connection that was let in.
pub(crate) struct Connection {
    stream: Either<TcpStream, TlsStream<TcpStream>>,
    peer: Peer,
    leave: Pin<Box<WaitForCancellationFutureOwned>>,
    _place: Place,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Must it make room, it ends here: whoever serves it always waits to read.
        if self.leave.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
