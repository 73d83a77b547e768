//! How a [`Client`] is made.

use super::{Client, Inner};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ChannelId, ChannelSecret};
use crate::requests::segment;
use reqwest::Url;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Where a client takes the time from that it signs.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The vendor's installations of the service, which share no data (chats API reference, "hosts").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Region {
    /// `amocrm.ru`.
    Ru,
    /// `kommo.com`.
    Kommo,
    /// `amocrm.com`, for accounts from before 2022; announced to be dropped in favour of Kommo.
    Com,
}

impl Region {
    /// Every region.
    pub const ALL: [Self; 3] = [Self::Ru, Self::Kommo, Self::Com];

    /// The address of the chats API.
    pub const fn base_url(self) -> &'static str {
        match self {
            Self::Ru => "https://amojo.amocrm.ru",
            Self::Kommo => "https://amojo.kommo.com",
            Self::Com => "https://amojo.amocrm.com",
        }
    }

    /// The name in configurations and on the command line: `ru`, `kommo` or `com`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ru => "ru",
            Self::Kommo => "kommo",
            Self::Com => "com",
        }
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Region {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|region| region.name() == name)
            .ok_or_else(|| Error::invalid("region", "must be ru, kommo or com"))
    }
}

/// Builds a [`Client`]; see [`Client::builder`].
///
/// A proxy is taken from the environment (`HTTPS_PROXY`, `HTTP_PROXY`, `NO_PROXY`), except for
/// addresses of this machine. Certificates are checked against Mozilla's roots, which are
/// compiled in, and those of [`add_root_certificate`](Self::add_root_certificate).
#[must_use]
pub struct ClientBuilder {
    channel_id: ChannelId,
    secret: ChannelSecret,
    base_url: Option<String>,
    timeout: Duration,
    connect_timeout: Duration,
    user_agent_suffix: Option<String>,
    root_certificates: Vec<Vec<u8>>,
    clock: Clock,
    body_signature_only: bool,
}

impl ClientBuilder {
    pub(super) fn new(channel_id: ChannelId, secret: ChannelSecret) -> Self {
        Self {
            channel_id,
            secret,
            base_url: None,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            user_agent_suffix: None,
            root_certificates: Vec::new(),
            clock: Arc::new(SystemTime::now),
            body_signature_only: false,
        }
    }

    /// Calls the service of a region. There is no default: a channel is registered in one.
    pub fn region(self, region: Region) -> Self {
        self.base_url(region.base_url())
    }

    /// Calls another address instead of a region's: the sandbox, or a gateway. A path prefix is
    /// put before every path but not signed, since a gateway takes it off again.
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// Limits a call from its start to the last byte of the answer; 10 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Limits the making of a connection, TLS included; 5 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// Adds the caller's own product to the `User-Agent`: `amochats/0.1.0 shop-bot/2`.
    pub fn user_agent_suffix(mut self, product: impl Into<String>) -> Self {
        self.user_agent_suffix = Some(product.into());
        self
    }

    /// Trusts the certificates in a PEM file, too: of a sandbox or a gateway with its own authority.
    pub fn add_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificates.push(pem.into());
        self
    }

    /// Takes the time from a clock of the caller's, instead of `SystemTime::now`.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Signs as in the first generation (2017-2019): `X-Signature` over the body alone, no `Date`
    /// and no `Content-MD5`.
    ///
    /// Only for a service of that time. Such a signature never expires, calls without a body
    /// cannot be signed, and the vendor lets it pass only for the methods that existed then
    /// (chats API, "headers and signature").
    pub fn body_signature_only(mut self) -> Self {
        self.body_signature_only = true;
        self
    }

    /// Makes the client. Nothing is sent yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] that names the setting: `channel_id`, `base_url`, `timeout`,
    /// `connect_timeout`, `user_agent` or `root_certificate`.
    pub fn build(self) -> Result<Client> {
        segment("channel_id", self.channel_id.as_str())?;
        let base_url = parse_base(self.base_url.as_deref().ok_or_else(|| {
            Error::invalid("base_url", "is missing: choose a region, or the address of a sandbox")
        })?)?;
        for (field, limit) in [("timeout", self.timeout), ("connect_timeout", self.connect_timeout)] {
            if limit.is_zero() {
                return Err(Error::invalid(field, "must be longer than nothing"));
            }
        }
        let mut http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls(&self.root_certificates)?)
            .user_agent(user_agent(self.user_agent_suffix.as_deref())?)
            .timeout(self.timeout)
            .connect_timeout(self.connect_timeout)
            // A redirect would need a signature of its own.
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never());
        if is_this_machine(&base_url) {
            http = http.no_proxy();
        }
        let http = http.build().map_err(|error| {
            Error::new(ErrorKind::ConfigInvalid, "the HTTP client cannot be made")
                .with_source(error.without_url())
        })?;
        Ok(Client(Arc::new(Inner {
            http,
            channel_id: self.channel_id,
            secret: self.secret,
            base_url: base_url.as_str().trim_end_matches('/').to_owned(),
            clock: self.clock,
            body_signature_only: self.body_signature_only,
        })))
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("channel_id", &self.channel_id).finish_non_exhaustive()
    }
}

fn parse_base(text: &str) -> Result<Url> {
    let refuse = |rule| Err(Error::invalid("base_url", rule));
    let Ok(url) = Url::parse(text) else {
        return refuse("must be an address such as https://amojo.amocrm.ru");
    };
    if !matches!(url.scheme(), "http" | "https") {
        return refuse("must begin with http:// or https://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return refuse("must not hold a user name or password");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return refuse("must not hold \"?\" or \"#\"");
    }
    Ok(url)
}

fn is_this_machine(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn user_agent(suffix: Option<&str>) -> Result<String> {
    const PRODUCT: &str = concat!("amochats/", env!("CARGO_PKG_VERSION"));
    match suffix {
        None => Ok(PRODUCT.to_owned()),
        Some(suffix) if !suffix.is_empty() && suffix.bytes().all(|b| (b' '..=b'~').contains(&b)) => {
            Ok(format!("{PRODUCT} {suffix}"))
        }
        Some(_) => Err(Error::invalid("user_agent", "must be printable ASCII characters")),
    }
}

/// A configuration of its own: the choice of a cryptography provider for the whole process
/// belongs to the program, and without one reqwest panics.
fn tls(root_certificates: &[Vec<u8>]) -> Result<rustls::ClientConfig> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    for pem in root_certificates {
        let refuse = || Error::invalid("root_certificate", "must be PEM with at least one certificate");
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.map_err(|_| refuse())?).map_err(|_| refuse())?;
        }
        if roots.len() == before {
            return Err(refuse());
        }
    }
    let mut config =
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has cipher suites for TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}
