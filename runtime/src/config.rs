//! The configuration: a TOML file, then the environment.

mod channel;
mod text;

pub use channel::{AccountConfig, ChannelConfig, OldSecret};
pub use text::{ENV_PREFIX, overlay, parse, section};

pub(crate) use channel::one_secret;
pub(crate) use text::{invalid, toml_error};

use crate::backfill;
use crate::channels::Channel;
use crate::inbox::{Redelivery, Retention};
use crate::media::MediaConfig;
use crate::outbox::Settings;
use crate::outbox::item::EXPIRY_MAX;
use crate::serve::{PeerLimits, Tls, Trusted};
use crate::store::{Limits, OnFull};
pub use crate::widget::WidgetConfig;
#[cfg(doc)]
use amochats::ErrorKind;
use amochats::Result;
use serde::Deserialize;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A runtime's configuration. [`Config::EXAMPLE`] shows every key with its default.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The webhook listener.
    #[serde(default)]
    pub listener: ListenerConfig,
    /// Health and metrics.
    #[serde(default)]
    pub admin: AdminConfig,
    /// Where events are kept.
    #[serde(default)]
    pub store: StoreConfig,
    /// How events are handed out.
    #[serde(default)]
    pub inbox: InboxConfig,
    /// The accounts that are kept connected.
    #[serde(default)]
    pub accounts: AccountsConfig,
    /// What goes to the CRM.
    #[serde(default)]
    pub outbox: OutboxConfig,
    /// What no webhook brought.
    #[serde(default)]
    pub backfill: BackfillConfig,
    /// The linking of accounts.
    #[serde(default)]
    pub widget: WidgetConfig,
    /// Files that go with messages.
    #[serde(default)]
    pub media: MediaConfig,
    /// The channels, at least one.
    #[serde(default, rename = "channel")]
    pub channels: Vec<ChannelConfig>,
}

/// The webhook listener.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenerConfig {
    /// Where to listen. Port 0 picks a free one.
    pub address: SocketAddr,
    /// The path of webhooks, with `:scope_id` as its last part, as it was registered with the channel.
    pub webhook_path: String,
    /// The largest body, in bytes.
    pub max_body_bytes: usize,
    /// How long a webhook may wait to be kept, in milliseconds; the vendor waits 5000.
    pub keep_deadline_ms: u64,
    /// How long the request's head may take, in milliseconds.
    pub header_timeout_ms: u64,
    /// How long a connection may stay open without a request, in milliseconds.
    pub keep_alive_timeout_ms: u64,
    /// At a stop, how long readiness fails before no webhook is accepted any more, in milliseconds:
    /// what a load balancer needs to notice.
    pub drain_delay_ms: u64,
    /// The most connections at a time.
    pub max_connections: usize,
    /// The most connections of one address at a time.
    pub max_connections_per_peer: usize,
    /// The most bytes of bodies in memory at a time.
    pub max_in_flight_bytes: usize,
    /// Further paths of webhooks, such as one that was registered before.
    pub more_webhook_paths: Vec<String>,
    /// The path of the hook that tells that an account switched the integration off; empty: none.
    pub disable_path: String,
    /// The certificate with its chain, in PEM; empty: no TLS.
    pub tls_cert: PathBuf,
    /// The certificate's key, in PEM.
    pub tls_key: PathBuf,
    /// Addresses and networks of proxies whose word about the peer counts.
    pub trusted_proxies: Vec<String>,
    /// Whether trusted proxies begin each connection with the PROXY protocol, version 1 or 2.
    pub proxy_protocol: bool,
}

impl Default for ListenerConfig {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8080)),
            webhook_path: "/webhook/:scope_id".into(),
            max_body_bytes: 1 << 20,
            keep_deadline_ms: 4000,
            header_timeout_ms: 5000,
            keep_alive_timeout_ms: 75_000,
            drain_delay_ms: 0,
            max_connections: 1024,
            max_connections_per_peer: 256,
            max_in_flight_bytes: 64 << 20,
            more_webhook_paths: Vec::new(),
            disable_path: "/disable".into(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: false,
        }
    }
}

impl ListenerConfig {
    /// The parts of the paths before the scope.
    pub(crate) fn path_prefixes(&self) -> Result<Vec<String>> {
        let prefix = |key: &str, path: &String| {
            let prefix = path.strip_suffix(":scope_id").filter(|prefix| {
                prefix.starts_with('/') && prefix.ends_with('/') && !prefix.contains([':', '?', '#', ' '])
            });
            prefix.map(str::to_owned).ok_or_else(|| {
                invalid(key, "must begin with \"/\" and end with \"/:scope_id\", as \"/webhook/:scope_id\"")
            })
        };
        let more = self.more_webhook_paths.iter().map(|path| prefix("listener.more_webhook_paths", path));
        std::iter::once(prefix("listener.webhook_path", &self.webhook_path)).chain(more).collect()
    }

    pub(crate) fn limits(&self) -> PeerLimits {
        PeerLimits {
            connections: self.max_connections,
            per_peer: self.max_connections_per_peer,
            head: Duration::from_millis(self.header_timeout_ms),
            keep_alive: Duration::from_millis(self.keep_alive_timeout_ms),
        }
    }

    /// The certificate, where one is configured.
    pub(crate) fn tls(&self) -> Result<Option<Tls>> {
        match (self.tls_cert.as_os_str().is_empty(), self.tls_key.as_os_str().is_empty()) {
            (true, true) => Ok(None),
            (false, false) => Tls::new(&self.tls_cert, &self.tls_key).map(Some),
            (true, false) => Err(invalid("listener.tls_cert", "is missing, and tls_key is of no use alone")),
            (false, true) => Err(invalid("listener.tls_key", "is missing, and tls_cert is of no use alone")),
        }
    }

    fn validate(&self) -> Result<()> {
        self.path_prefixes()?;
        self.tls()?;
        Trusted::new(&self.trusted_proxies)?;
        if !(1..=3_600_000).contains(&self.keep_alive_timeout_ms) {
            return Err(invalid("listener.keep_alive_timeout_ms", "must be 1 to 3600000"));
        }
        if self.max_connections_per_peer == 0 {
            return Err(invalid("listener.max_connections_per_peer", "must be more than 0"));
        }
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return Err(invalid("listener.proxy_protocol", "is spoken by trusted_proxies only; name them"));
        }
        if !self.disable_path.is_empty() && !self.disable_path.starts_with('/') {
            return Err(invalid("listener.disable_path", "must begin with \"/\", or be empty"));
        }
        Ok(())
    }
}

/// Health and metrics.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdminConfig {
    /// Where to listen. Port 0 picks a free one.
    pub address: SocketAddr,
}

impl Default for AdminConfig {
    fn default() -> Self {
        Self { address: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

/// Where events are kept.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// The SQLite file, on a local disk.
    #[serde(deserialize_with = "text::path")]
    pub path: PathBuf,
    /// With less free on its disk no webhook is kept, so that what is kept can still be settled.
    pub min_free_bytes: u64,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { path: "amochats.db".into(), min_free_bytes: 64 << 20 }
    }
}

/// How events are handed out.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InboxConfig {
    /// After this many attempts an event becomes a dead letter.
    pub max_attempts: u32,
    /// The delay after the first failed attempt, in milliseconds; it doubles with each further one.
    pub min_delay_ms: u64,
    /// The longest delay, in milliseconds.
    pub max_delay_ms: u64,
    /// So long after its first refusal an event that is refused again becomes a dead letter, in
    /// milliseconds: its conversation waits with it.
    pub max_blocked_ms: u64,
    /// Keeps typing events like the others instead of handing them out live only.
    pub keep_typing: bool,
    /// How many days events are kept, whoever has settled them; longer while somebody has not.
    pub retention_days: u32,
    /// How many days a message is known, so that it is not kept twice.
    pub duplicates_days: u32,
    /// From so many unsettled events on, a subscription is warned of.
    pub backlog_alarm: u64,
    /// The most unsettled events of a subscription, about; 0 is no limit.
    pub backlog_limit: u64,
    /// What happens then.
    pub on_full: OnFull,
}

impl Default for InboxConfig {
    fn default() -> Self {
        let Redelivery { max_attempts, min_delay, max_delay, max_blocked } = Redelivery::default();
        Self {
            max_attempts,
            min_delay_ms: msec(min_delay),
            max_delay_ms: msec(max_delay),
            max_blocked_ms: msec(max_blocked),
            keep_typing: false,
            retention_days: 14,
            duplicates_days: 30,
            backlog_alarm: 100_000,
            backlog_limit: 0,
            on_full: OnFull::default(),
        }
    }
}

impl InboxConfig {
    pub(crate) fn redelivery(&self) -> Redelivery {
        Redelivery {
            max_attempts: self.max_attempts,
            min_delay: Duration::from_millis(self.min_delay_ms),
            max_delay: Duration::from_millis(self.max_delay_ms),
            max_blocked: Duration::from_millis(self.max_blocked_ms),
        }
    }

    pub(crate) fn retention(&self) -> Retention {
        let days = |days: u32| Duration::from_hours(24 * u64::from(days));
        Retention {
            events: days(self.retention_days),
            messages: days(self.duplicates_days),
            backlog_alarm: self.backlog_alarm,
            every: Duration::from_mins(1),
        }
    }
}

/// The accounts that are kept connected.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AccountsConfig {
    /// How often an account with `connect = true` is connected again, in seconds. The service cannot
    /// be asked, and to connect again changes nothing where the connection stands.
    pub check_interval_s: u64,
}

impl Default for AccountsConfig {
    fn default() -> Self {
        Self { check_interval_s: 6 * 3600 }
    }
}

/// What goes to the CRM.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OutboxConfig {
    /// Calls a second and scope.
    pub rate: f64,
    /// Calls of a scope that may go out at once after a pause.
    pub burst: u32,
    /// The longest delay before the second attempt, in milliseconds; it doubles with each further one.
    pub min_delay_ms: u64,
    /// The longest delay, in milliseconds.
    pub max_delay_ms: u64,
    /// So many failures of the service in a row stop all calls to it.
    pub circuit_failures: u32,
    /// For so long, in milliseconds.
    pub circuit_open_ms: u64,
    /// How long it is only looked for what may have arrived, before it is sent once more, in
    /// milliseconds.
    pub look_for_ms: u64,
    /// After so long what may have arrived is unknown, in milliseconds.
    pub resolve_for_ms: u64,
    /// The deadline of items that name none, in milliseconds.
    pub expires_in_ms: u64,
    /// The most items that wait.
    pub max_items: u64,
    /// How long items are kept after their end, in milliseconds.
    pub keep_ms: u64,
}

impl Default for OutboxConfig {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            rate: settings.rate,
            burst: settings.burst,
            min_delay_ms: msec(settings.min_delay),
            max_delay_ms: msec(settings.max_delay),
            circuit_failures: settings.circuit_failures,
            circuit_open_ms: msec(settings.circuit_open),
            look_for_ms: msec(settings.look_for),
            resolve_for_ms: msec(settings.resolve_for),
            expires_in_ms: msec(settings.expires_in),
            max_items: settings.max_items,
            keep_ms: msec(settings.keep),
        }
    }
}

impl OutboxConfig {
    pub(crate) fn settings(&self) -> Settings {
        Settings {
            rate: self.rate,
            burst: self.burst,
            min_delay: Duration::from_millis(self.min_delay_ms),
            max_delay: Duration::from_millis(self.max_delay_ms),
            circuit_failures: self.circuit_failures,
            circuit_open: Duration::from_millis(self.circuit_open_ms),
            look_for: Duration::from_millis(self.look_for_ms),
            resolve_for: Duration::from_millis(self.resolve_for_ms),
            expires_in: Duration::from_millis(self.expires_in_ms),
            max_items: self.max_items,
            keep: Duration::from_millis(self.keep_ms),
        }
    }

    fn validate(&self) -> Result<()> {
        if !((0.01..=1000.0).contains(&self.rate) && (1..=1000).contains(&self.burst)) {
            return Err(invalid("outbox.rate", "must be 0.01 to 1000, and burst 1 to 1000"));
        }
        if self.min_delay_ms == 0 || self.min_delay_ms > self.max_delay_ms {
            return Err(invalid("outbox.min_delay_ms", "must be more than 0 and at most max_delay_ms"));
        }
        if self.circuit_failures == 0 || self.circuit_open_ms == 0 {
            return Err(invalid("outbox.circuit_failures", "must be more than 0, like circuit_open_ms"));
        }
        if self.look_for_ms > self.resolve_for_ms || self.resolve_for_ms > 60_000 {
            return Err(invalid(
                "outbox.look_for_ms",
                "must be at most resolve_for_ms, and that at most 60000",
            ));
        }
        let expiry = Duration::from_millis(self.expires_in_ms);
        if !(Duration::from_secs(1)..=EXPIRY_MAX).contains(&expiry) {
            return Err(invalid("outbox.expires_in_ms", "must be 1000 (1 s) to 2592000000 (30 days)"));
        }
        Ok(())
    }
}

/// What no webhook brought.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BackfillConfig {
    /// Reads all known conversations at the start.
    pub on_start: bool,
    /// Pages a second.
    pub rate: f64,
    /// The most pages that are read of one conversation.
    pub max_pages: u32,
    /// Also where an account gets webhooks v1, which name no message.
    pub v1_hooks: bool,
}

impl Default for BackfillConfig {
    fn default() -> Self {
        let backfill::Settings { on_start, rate, max_pages, v1_hooks } = backfill::Settings::default();
        Self { on_start, rate, max_pages, v1_hooks }
    }
}

impl BackfillConfig {
    pub(crate) fn settings(&self) -> backfill::Settings {
        let Self { on_start, rate, max_pages, v1_hooks } = *self;
        backfill::Settings { on_start, rate, max_pages, v1_hooks }
    }

    fn validate(&self) -> Result<()> {
        if !((0.01..=100.0).contains(&self.rate) && (1..=1000).contains(&self.max_pages)) {
            return Err(invalid("backfill.rate", "must be 0.01 to 100, and max_pages 1 to 1000"));
        }
        Ok(())
    }
}

fn msec(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Config {
    /// When the store takes no more.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            min_free_bytes: self.store.min_free_bytes,
            backlog: self.inbox.backlog_limit,
            on_full: self.inbox.on_full,
        }
    }

    /// Every key with its default, as a file to start from.
    pub const EXAMPLE: &str = include_str!("config.example.toml");

    /// The sections, but for the channels.
    pub const SECTIONS: [&str; 9] =
        ["listener", "admin", "store", "inbox", "accounts", "outbox", "backfill", "media", "widget"];

    /// Reads a configuration from TOML text and the environment's variables, which win.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with the key and what to do.
    pub fn load(toml: &str, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        Self::from_table(parse(toml)?, environment)
    }

    /// Reads a configuration whose TOML is parsed already; a program takes its own sections out
    /// before.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with the key and what to do.
    pub fn from_table(
        mut table: toml::Table,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Self> {
        let mut secret = None;
        for (name, value) in environment {
            let Some(key) = name.strip_prefix(ENV_PREFIX) else { continue };
            if key == "SECRET" {
                secret = Some(value);
                continue;
            }
            overlay(&mut table, &Self::SECTIONS, key, &value)?;
        }
        let mut config: Self = serde::Deserialize::deserialize(table).map_err(toml_error)?;
        if let Some(secret) = secret {
            match &mut config.channels[..] {
                [one] => {
                    one.secret = Some(secret);
                    one.secret_file = None;
                }
                _ => return Err(invalid("AMOCHATS_SECRET", "can be used with exactly one [[channel]]")),
            }
        }
        config.validate()?;
        Ok(config)
    }

    /// Checks what can be checked without starting.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with the key and what to do.
    pub fn validate(&self) -> Result<()> {
        self.listener.validate()?;
        self.store.validate()?;
        let listener = &self.listener;
        if !(1..=4900).contains(&listener.keep_deadline_ms) {
            return Err(invalid("listener.keep_deadline_ms", "must be 1 to 4900: the vendor waits 5000"));
        }
        if listener.max_body_bytes == 0 || listener.max_body_bytes > listener.max_in_flight_bytes {
            return Err(invalid(
                "listener.max_body_bytes",
                "must be more than 0 and at most max_in_flight_bytes",
            ));
        }
        if listener.max_in_flight_bytes > 1 << 31 {
            return Err(invalid("listener.max_in_flight_bytes", "must be at most 2147483648"));
        }
        if !(1..=1_000_000).contains(&listener.max_connections) {
            return Err(invalid("listener.max_connections", "must be 1 to 1000000"));
        }
        if !(1..=60_000).contains(&listener.header_timeout_ms) {
            return Err(invalid("listener.header_timeout_ms", "must be 1 to 60000"));
        }
        if self.inbox.max_attempts == 0 || self.inbox.min_delay_ms > self.inbox.max_delay_ms {
            return Err(invalid(
                "inbox",
                "max_attempts must be more than 0, min_delay_ms at most max_delay_ms",
            ));
        }
        if !(60..=30 * 24 * 3600).contains(&self.accounts.check_interval_s) {
            return Err(invalid("accounts.check_interval_s", "must be 60 to 2592000"));
        }
        self.outbox.validate()?;
        self.backfill.validate()?;
        self.media.validate()?;
        if self.inbox.retention_days < 14 || self.inbox.duplicates_days < self.inbox.retention_days {
            return Err(invalid(
                "inbox",
                "retention_days must be at least 14, duplicates_days at least as many",
            ));
        }
        if self.channels.is_empty() {
            return Err(invalid("channel", "add a [[channel]] with the id and secret that support sent"));
        }
        let mut ids = HashSet::new();
        for channel in &self.channels {
            if !ids.insert(channel.channel_id()?) {
                return Err(invalid("channel.id", "two channels have the same id"));
            }
            Channel::new(channel)?;
        }
        self.widget.validate(&self.channels)
    }
}

impl StoreConfig {
    fn validate(&self) -> Result<()> {
        let path = self.path.to_string_lossy();
        if ["postgres://", "postgresql://"].iter().any(|scheme| path.starts_with(scheme)) {
            return Err(invalid("store.path", "must be a file: a store in PostgreSQL is not there yet"));
        }
        if self.path.file_name().is_none() {
            return Err(invalid("store.path", "must name a file, as \"/var/lib/amochats/inbox.db\""));
        }
        Ok(())
    }
}
