//! TLS for the chats API, so that clients which insist on `https` can be pointed at the sandbox.

use amochats::{Error, Result};
use axum::serve::Listener;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How many connections may wait, greeted, to be served.
const WAITING: usize = 64;

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity(Arc<rustls::ServerConfig>);

impl Identity {
    /// Reads a certificate, with its chain, and its key, both in PEM.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](amochats::ErrorKind::InvalidArgument) that names `tls_cert`
    /// or `tls_key`.
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self> {
        let no_certificate = || Error::invalid("tls_cert", "must be PEM with at least one certificate");
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<_, _>>()
            .map_err(|_| no_certificate())?;
        if chain.is_empty() {
            return Err(no_certificate());
        }
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| Error::invalid("tls_key", "must be PEM with a private key"))?;
        // The provider is named, since a library must not install one for the whole process.
        let mut config =
            rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .expect("ring has cipher suites for TLS 1.2 and 1.3")
                .with_no_client_auth()
                .with_single_cert(chain, key)
                .map_err(|error| {
                    Error::invalid("tls_key", format!("does not belong to the certificate: {error}"))
                })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

/// Accepts connections and greets each in a task of its own, so that a slow peer holds up nobody.
pub(crate) struct TlsListener {
    greeted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
    address: SocketAddr,
}

impl TlsListener {
    pub(crate) fn new(mut listener: TcpListener, identity: &Identity, address: SocketAddr) -> Self {
        let (sender, greeted) = mpsc::channel(WAITING);
        let acceptor = TlsAcceptor::from(identity.0.clone());
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    // axum's way: it waits out a lack of file descriptors.
                    accepted = Listener::accept(&mut listener) => accepted,
                    () = sender.closed() => return,
                };
                let (stream, peer) = accepted;
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    // A failed handshake is the peer's affair; it got its alert.
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        let _ = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Self { greeted, address }
    }
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.greeted.recv().await {
            Some(connection) => connection,
            // The task above lives as long as this receiver.
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}
