//! `[grpc]`: where the services are, and who may reach them.

use super::{tls, tokens};
use amochats::{Error, ErrorKind, Result};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// The gRPC listener.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// Where to listen. Port 0 picks a free one.
    pub address: SocketAddr,
    /// Allows an address that other machines reach without TLS and tokens: whoever reaches it reads
    /// every message.
    pub allow_public: bool,
    /// The certificate with its chain, in PEM; empty: no TLS.
    pub tls_cert: PathBuf,
    /// The certificate's key, in PEM.
    pub tls_key: PathBuf,
    /// Authorities in PEM, one of which must have signed each client's certificate; empty: clients
    /// need none.
    pub client_ca: PathBuf,
    /// The tokens that clients may have, as `amochats token new` writes them; empty: none is asked for.
    pub tokens_file: PathBuf,
    /// The largest request, in bytes.
    pub max_message_bytes: usize,
    /// The largest header of a call, in bytes.
    pub max_header_bytes: u32,
    /// The most calls at a time on one connection.
    pub max_streams: u32,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The most connections of one address at a time.
    pub max_connections_per_peer: usize,
    /// How long the greeting of TLS may take, in milliseconds.
    pub handshake_timeout_ms: u64,
    /// How often a client is asked whether it is still there, in milliseconds,
    pub keepalive_interval_ms: u64,
    /// and how long it may take to answer.
    pub keepalive_timeout_ms: u64,
}

impl Default for GrpcConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 50051)),
            allow_public: false,
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            client_ca: PathBuf::new(),
            tokens_file: PathBuf::new(),
            max_message_bytes: 4 << 20,
            max_header_bytes: 16 << 10,
            max_streams: 200,
            max_connections: 1024,
            max_connections_per_peer: 256,
            handshake_timeout_ms: 10_000,
            keepalive_interval_ms: 30_000,
            keepalive_timeout_ms: 10_000,
        }
    }
}

impl GrpcConfig {
    /// The section with every default, for the example of a configuration.
    pub(crate) const EXAMPLE: &'static str = r#"
[grpc]
# The services of amochats.v1. An address that other machines reach is refused unless there are a
# certificate and tokens, or client_ca.
address = "127.0.0.1:50051"
# Allows such an address all the same, for a network that is closed.
allow_public = false
# The certificate with its chain and its key, PEM files; empty: no TLS. These files, client_ca and
# tokens_file are read again when they change.
tls_cert = ""
tls_key = ""
# Authorities, one of which must have signed the certificate of each client; empty: none is asked for.
client_ca = ""
# Who may do what, one token a line: `amochats token new --file FILE --name crm --permissions read,send`
# prints a token and adds it, `amochats token certificate` adds a line for clients' certificates, which then
# need no token. Empty: whoever reaches the address, with a certificate where one is asked for, may do everything.
tokens_file = ""
# The largest request, and the largest header of a call, in bytes.
max_message_bytes = 4194304
max_header_bytes = 16384
# The most calls at a time on one connection.
max_streams = 200
# The most connections at a time. Beyond it those that have made no permitted call make room.
max_connections = 1024
# The most connections of one address at a time; a proxy in front may need more. IPv6: of one /64.
max_connections_per_peer = 256
# How long the greeting of TLS may take, in milliseconds.
handshake_timeout_ms = 10000
# How often a client is asked whether it is still there, and how long it may take to answer, in milliseconds.
keepalive_interval_ms = 30000
keepalive_timeout_ms = 10000
"#;

    /// Whether clients speak TLS.
    pub(crate) fn has_tls(&self) -> bool {
        is_set(&self.tls_cert)
    }

    /// The files of the certificate, where there is one.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for files that do not go together.
    pub(crate) fn tls(&self) -> Result<Option<tls::Files>> {
        match (is_set(&self.tls_cert), is_set(&self.tls_key)) {
            (false, false) if is_set(&self.client_ca) => Err(invalid(
                "grpc.client_ca",
                "is of no use without tls_cert and tls_key: clients show certificates over TLS only",
            )),
            (false, false) => Ok(None),
            (false, true) => Err(invalid("grpc.tls_cert", "is missing, and tls_key is of no use alone")),
            (true, false) => Err(invalid("grpc.tls_key", "is missing, and tls_cert is of no use alone")),
            (true, true) => Ok(Some(tls::Files {
                cert: self.tls_cert.clone(),
                key: self.tls_key.clone(),
                client_ca: is_set(&self.client_ca).then(|| self.client_ca.clone()),
            })),
        }
    }

    /// The file of the tokens, where there is one.
    pub(crate) fn tokens(&self) -> Option<&Path> {
        is_set(&self.tokens_file).then_some(self.tokens_file.as_path())
    }

    /// Checks what can be checked without listening.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with the key and what to do.
    pub(crate) fn validate(&self) -> Result<()> {
        if let Some(files) = self.tls()? {
            files.load()?;
        }
        if let Some(file) = self.tokens() {
            let tokens = tokens::load(file)?;
            if tokens.name_certificates() && !is_set(&self.client_ca) {
                return Err(invalid(
                    "grpc.tokens_file",
                    "names certificates, which clients are asked for with grpc.client_ca alone; set that",
                ));
            }
        }
        let kept_out = is_set(&self.client_ca) || (self.has_tls() && self.tokens().is_some());
        if !self.address.ip().is_loopback() && !kept_out && !self.allow_public {
            return Err(invalid(
                "grpc.address",
                "other machines reach it, and nothing keeps them out; set tls_cert and tls_key with \
                 tokens_file (made by `amochats token new`) or with client_ca, choose 127.0.0.1, or set \
                 grpc.allow_public = true where the network is closed",
            ));
        }
        for (key, value, least, most) in [
            ("max_message_bytes", self.max_message_bytes as u64, 1024, 1 << 30),
            ("max_header_bytes", self.max_header_bytes.into(), 1024, 1 << 20),
            ("max_streams", self.max_streams.into(), 1, 100_000),
            ("max_connections", self.max_connections as u64, 1, 1_000_000),
            ("max_connections_per_peer", self.max_connections_per_peer as u64, 1, 1_000_000),
            ("handshake_timeout_ms", self.handshake_timeout_ms, 1, 60_000),
            ("keepalive_interval_ms", self.keepalive_interval_ms, 1, 3_600_000),
            ("keepalive_timeout_ms", self.keepalive_timeout_ms, 1, 3_600_000),
        ] {
            if !(least..=most).contains(&value) {
                return Err(invalid(&format!("grpc.{key}"), &format!("must be {least} to {most}")));
            }
        }
        Ok(())
    }
}

fn is_set(path: &Path) -> bool {
    !path.as_os_str().is_empty()
}

pub(super) fn invalid(key: &str, rule: &str) -> Error {
    Error::new(ErrorKind::ConfigInvalid, format!("{key}: {rule}")).with_field(key)
}
