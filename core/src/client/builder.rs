//! How a [`Client`] is made.

use super::http::Settings;
use super::retry::Pace;
use super::{Client, DEADLINE, Inner};
use crate::error::{Error, Result};
use crate::ids::{ChannelId, ChannelSecret};
use crate::requests::segment;
use governor::Quota;
use governor::clock::MonotonicClock;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Where a client takes the time from that it signs.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// How many requests a second a client sends for each scope, unless told otherwise.
///
/// The vendor documents no limit of the chats API. This is the CRM's, 7 a second, to which public
/// clients keep here, too (chats API reference, "limits").
pub const REQUESTS_PER_SECOND: u32 = 7;

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

    /// The address of an account's own CRM, by the first label of its host.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for what is no such label.
    pub fn crm_url(self, subdomain: &str) -> Result<String> {
        let domain = match self {
            Self::Ru => "amocrm.ru",
            Self::Kommo => "kommo.com",
            Self::Com => "amocrm.com",
        };
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if subdomain.is_empty() || subdomain.len() > 63 || !subdomain.bytes().all(plain) {
            let rule = format!("must be the first label of the account's host: example in example.{domain}");
            return Err(Error::invalid("subdomain", rule));
        }
        Ok(format!("https://{subdomain}.{domain}"))
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
    http: Settings,
    clock: Clock,
    body_signature_only: bool,
    requests_per_second: u32,
    retry_delay: Duration,
    deadline: Duration,
    send_once: bool,
}

impl ClientBuilder {
    pub(super) fn new(channel_id: ChannelId, secret: ChannelSecret) -> Self {
        Self {
            channel_id,
            secret,
            http: Settings::default(),
            clock: Arc::new(SystemTime::now),
            body_signature_only: false,
            requests_per_second: REQUESTS_PER_SECOND,
            retry_delay: Duration::from_millis(200),
            deadline: DEADLINE,
            send_once: false,
        }
    }

    /// Calls the service of a region. There is no default: a channel is registered in one.
    pub fn region(self, region: Region) -> Self {
        self.base_url(region.base_url())
    }

    /// Calls another address instead of a region's: the sandbox, or a gateway. A path prefix is
    /// put before every path but not signed, since a gateway takes it off again.
    pub fn base_url(mut self, base_url: impl Into<String>) -> Self {
        self.http.base_url = Some(base_url.into());
        self
    }

    /// Limits an attempt from its start to the last byte of the answer; 10 s unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.http.timeout = timeout;
        self
    }

    /// Limits the making of a connection, TLS included; 5 s unless set.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.http.connect_timeout = timeout;
        self
    }

    /// Limits a call with all its waiting and repeats; [`DEADLINE`] unless set.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Sends as many requests a second for each scope, and as many at once; [`REQUESTS_PER_SECOND`]
    /// unless set, and 0 for as many as there are.
    pub fn requests_per_second(mut self, requests: u32) -> Self {
        self.requests_per_second = requests;
        self
    }

    /// The delay before the first repeat, before it is spread; it doubles with each further one.
    /// 200 ms unless set.
    pub fn retry_delay(mut self, delay: Duration) -> Self {
        self.retry_delay = delay;
        self
    }

    /// Sends every call once, for a caller with an own policy of repeats.
    pub fn send_once(mut self) -> Self {
        self.send_once = true;
        self
    }

    /// Adds the caller's own product to the `User-Agent`: `amochats/0.1.0 shop-bot/2`.
    pub fn user_agent_suffix(mut self, product: impl Into<String>) -> Self {
        self.http.user_agent_suffix = Some(product.into());
        self
    }

    /// Trusts the certificates in a PEM file, too: of a sandbox or a gateway with its own authority.
    pub fn add_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.http.root_certificates.push(pem.into());
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
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) that names the setting: `channel_id`, `base_url`, `timeout`,
    /// `connect_timeout`, `user_agent` or `root_certificate`.
    pub fn build(self) -> Result<Client> {
        segment("channel_id", self.channel_id.as_str())?;
        let quota = NonZeroU32::new(self.requests_per_second).map(Quota::per_second);
        let inner = Inner {
            http: self.http.build("https://amojo.amocrm.ru")?,
            channel_id: self.channel_id,
            secret: self.secret,
            clock: self.clock,
            body_signature_only: self.body_signature_only,
            pace: Pace::of_each(quota, MonotonicClock),
            retry_delay: self.retry_delay,
            send_once: self.send_once,
        };
        Ok(Client { inner: Arc::new(inner), deadline: self.deadline })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("channel_id", &self.channel_id).finish_non_exhaustive()
    }
}
