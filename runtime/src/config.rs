//! The configuration: a TOML file, then the environment.

use crate::backfill;
use crate::channels::{Channel, Secrets};
use crate::inbox::{Redelivery, Retention};
use crate::media::MediaConfig;
use crate::outbox::Settings;
use crate::outbox::item::EXPIRY_MAX;
use crate::serve::{PeerLimits, Tls, Trusted};
use crate::store::{Limits, OnFull};
pub use crate::widget::WidgetConfig;
use amochats::crm::ClientSecret;
use amochats::{ChannelId, ChannelSecret, Client, Connect, Error, ErrorKind, HookVersion, Region, Result};
use serde::Deserialize;
use std::collections::HashSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The environment's prefix: `AMOCHATS_LISTENER_ADDRESS` is `address` in `[listener]`.
pub const ENV_PREFIX: &str = "AMOCHATS_";

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
    #[serde(deserialize_with = "path")]
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

/// An account of a channel.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// The account's id inside the chat service: `amojo_id`.
    pub id: String,
    /// Connects the account at the start, and keeps it connected.
    #[serde(default)]
    pub connect: bool,
    /// The channel's name in this account; Kommo wants one.
    #[serde(default)]
    pub title: Option<String>,
    /// The form of webhooks: `v2`, or `v1`.
    #[serde(default)]
    pub hook_version: Option<String>,
    /// The account's number in the CRM, by which the disable hook names it.
    #[serde(default)]
    pub crm_account_id: Option<u64>,
}

impl AccountConfig {
    pub(crate) fn request(&self) -> Result<Connect> {
        if self.id.is_empty() || !self.id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(invalid("channel.account.id", "must be the account's amojo_id, a UUID"));
        }
        let mut connect = Connect::new(self.id.as_str());
        connect.title.clone_from(&self.title);
        connect.hook_api_version = match self.hook_version.as_deref() {
            None | Some("v2") => HookVersion::V2,
            Some("v1") => HookVersion::V1,
            Some(_) => return Err(invalid("channel.account.hook_version", "must be \"v2\" or \"v1\"")),
        };
        Ok(connect)
    }
}

/// A secret that is being replaced: its text, or a table that says where it is and until when it
/// counts.
#[derive(Clone, Default)]
pub struct OldSecret {
    /// The secret.
    pub value: Option<String>,
    /// A file that holds it.
    pub file: Option<PathBuf>,
    /// Until when it is accepted, as `2026-12-01T00:00:00Z`. Without it: as long as it stands here.
    pub until: Option<String>,
}

impl From<String> for OldSecret {
    fn from(value: String) -> Self {
        Self { value: Some(value), ..Self::default() }
    }
}

impl OldSecret {
    /// The secret, and its end in Unix milliseconds.
    fn read(&self) -> Result<(ChannelSecret, Option<i64>)> {
        let key = "channel.old_secrets";
        let secret = one_secret(key, self.value.as_ref(), self.file.as_deref())?
            .ok_or_else(|| invalid(key, "needs value or file"))?;
        let secret = ChannelSecret::new(secret).map_err(|error| misfit(key, &error))?;
        let until = self.until.as_ref().map(|until| {
            let time = until.parse::<jiff::Timestamp>();
            time.map(jiff::Timestamp::as_millisecond)
                .map_err(|_| invalid(key, "until must be a time such as \"2026-12-01T00:00:00Z\""))
        });
        Ok((secret, until.transpose()?))
    }
}

impl<'de> Deserialize<'de> for OldSecret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            value: Option<String>,
            file: Option<PathBuf>,
            until: Option<String>,
        }

        struct Either;

        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = OldSecret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a secret, or a table with value or file, and until")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<OldSecret, E> {
                Ok(text.to_owned().into())
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                map: A,
            ) -> std::result::Result<OldSecret, A::Error> {
                let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(OldSecret { value: table.value, file: table.file, until: table.until })
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A secret from the file itself or from another one; `None` where there is neither.
pub(crate) fn one_secret(key: &str, text: Option<&String>, file: Option<&Path>) -> Result<Option<String>> {
    match (text, file) {
        (Some(text), None) => Ok(Some(text.clone())),
        (None, Some(path)) => {
            let read = std::fs::read_to_string(path);
            let text = read.map_err(|error| {
                invalid(format!("{key}_file"), format!("cannot read {}: {error}", path.display()))
            })?;
            Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
        }
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(invalid(key, "is given twice: as text and as a file")),
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

/// A channel, as support registered it.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelConfig {
    /// The channel's id (a UUID).
    pub id: String,
    /// The channel's secret. Prefer `secret_file`, or `AMOCHATS_SECRET` where there is one channel.
    #[serde(default)]
    pub secret: Option<String>,
    /// Further secrets under which webhooks are accepted, while the secret is being changed.
    #[serde(default)]
    pub old_secrets: Vec<OldSecret>,
    /// A file that holds the secret.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// Where the chats API is: `ru`, `kommo` or `com`.
    #[serde(default)]
    pub region: Option<String>,
    /// The chats API's address in place of a region, such as a sandbox's.
    #[serde(default)]
    pub base_url: Option<String>,
    /// The integration's id, for the hook that tells of its switching off.
    #[serde(default)]
    pub client_id: Option<String>,
    /// The integration's secret, with which that hook is signed.
    #[serde(default)]
    pub client_secret: Option<String>,
    /// A file that holds the integration's secret.
    #[serde(default)]
    pub client_secret_file: Option<PathBuf>,
    /// Accounts that this channel is for. Others are served as well once they are connected.
    #[serde(default, rename = "account")]
    pub accounts: Vec<AccountConfig>,
}

impl fmt::Debug for ChannelConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelConfig")
            .field("id", &self.id)
            .field("region", &self.region)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl ChannelConfig {
    /// A channel with its secret.
    pub fn new(id: impl Into<String>, secret: impl Into<String>) -> Self {
        Self {
            id: id.into(),
            secret: Some(secret.into()),
            old_secrets: Vec::new(),
            secret_file: None,
            region: None,
            base_url: None,
            client_id: None,
            client_secret: None,
            client_secret_file: None,
            accounts: Vec::new(),
        }
    }

    pub(crate) fn channel_id(&self) -> Result<ChannelId> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        if self.id.is_empty() || !self.id.bytes().all(plain) {
            return Err(invalid("channel.id", "must be the channel's UUID"));
        }
        Ok(ChannelId::new(&self.id))
    }

    /// The current secret first, then the old ones.
    pub(crate) fn secrets(&self) -> Result<Secrets> {
        let given = one_secret("channel.secret", self.secret.as_ref(), self.secret_file.as_deref())?;
        let current = given.ok_or_else(|| {
            let rule = format!("give it as secret_file, or in the environment as {ENV_PREFIX}SECRET");
            invalid("channel.secret", rule)
        })?;
        let current = ChannelSecret::new(current).map_err(|error| misfit("channel.secret", &error))?;
        let old = self.old_secrets.iter().map(OldSecret::read).collect::<Result<_>>()?;
        Ok(Secrets::new(current, old))
    }

    /// The id and secret that the disable hook is checked with, where they are configured.
    pub(crate) fn integration(&self) -> Result<Option<(String, ClientSecret)>> {
        let (text, file) = (self.client_secret.as_ref(), self.client_secret_file.as_deref());
        match (&self.client_id, one_secret("channel.client_secret", text, file)?) {
            (None, None) => Ok(None),
            (Some(id), Some(secret)) => {
                let secret =
                    ClientSecret::new(secret).map_err(|error| misfit("channel.client_secret", &error))?;
                Ok(Some((id.clone(), secret)))
            }
            (Some(_), None) => Err(invalid("channel.client_secret", "belongs to client_id and is missing")),
            (None, Some(_)) => Err(invalid("channel.client_id", "belongs to client_secret and is missing")),
        }
    }

    /// The client of the chats API.
    pub(crate) fn client(&self, id: ChannelId, secret: ChannelSecret) -> Result<Client> {
        // Who asked for the call is told what came of it, and repeats it if that is safe. The outbox and
        // the backfill have rates of their own, which a second one here would only narrow.
        let client = Client::builder(id, secret).base_url(self.api_address()?).send_once();
        let client = client.requests_per_second(0).build();
        client.map_err(|error| misfit("channel.base_url", &error))
    }

    /// The address of the chats API. There is no default region: a channel is registered in one.
    fn api_address(&self) -> Result<String> {
        match (&self.region, &self.base_url) {
            (Some(region), None) => {
                let region: Region = region.parse().map_err(|error| misfit("channel.region", &error))?;
                Ok(region.base_url().to_owned())
            }
            (None, Some(base_url)) => Ok(base_url.clone()),
            _ => Err(invalid("channel.region", "give either region (ru, kommo or com) or base_url")),
        }
    }
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

/// Parses TOML. The error names line and rule; the line itself is not quoted, it may hold a secret.
///
/// # Errors
/// [`ErrorKind::ConfigInvalid`].
pub fn parse(toml: &str) -> Result<toml::Table> {
    toml.parse::<toml::Table>().map_err(|error| {
        let before = error.span().map_or(0, |span| span.start.min(toml.len()));
        let line = 1 + toml.bytes().take(before).filter(|byte| *byte == b'\n').count();
        Error::new(
            ErrorKind::ConfigInvalid,
            format!("line {line} is not TOML: {}", first_line(error.message())),
        )
    })
}

/// Reads one section.
///
/// # Errors
/// [`ErrorKind::ConfigInvalid`] with the key and what to do.
pub fn section<'de, T: Deserialize<'de>>(name: &str, section: toml::Value) -> Result<T> {
    T::deserialize(section).map_err(|error| {
        let error = toml_error(error);
        let field = error.field().map_or_else(|| name.to_owned(), |key| format!("{name}.{key}"));
        Error::new(ErrorKind::ConfigInvalid, format!("[{name}] {error}")).with_field(field)
    })
}

/// Sets a key of a section from the environment: `LISTENER_ADDRESS` is `address` in `[listener]`.
///
/// # Errors
/// [`ErrorKind::ConfigInvalid`] for a variable that belongs to no section.
pub fn overlay(table: &mut toml::Table, sections: &[&str], key: &str, value: &str) -> Result<()> {
    let lower = key.to_ascii_lowercase();
    let found = sections.iter().find_map(|section| {
        lower.strip_prefix(section).and_then(|rest| rest.strip_prefix('_')).map(|rest| (*section, rest))
    });
    let Some((section, field)) = found else {
        let rule = if lower.starts_with("channel") {
            format!(
                "is not known; channels are set in the file, and {ENV_PREFIX}SECRET is the secret of a single one"
            )
        } else {
            let known = sections.join(", ").to_ascii_uppercase();
            format!("is not known; a variable is {ENV_PREFIX}, one of {known}, \"_\" and the key")
        };
        return Err(invalid(format!("{ENV_PREFIX}{key}"), rule));
    };
    // Only what is written as a number is one: `007` may be a name.
    let number = value.parse::<i64>().ok().filter(|number| number.to_string() == value);
    let decimal = value.parse::<f64>().ok().filter(|_| value.contains('.'));
    let list = value.starts_with('[').then(|| value.parse::<toml::Value>().ok()).flatten();
    let value = match (number, decimal, list, value.parse::<bool>()) {
        (Some(number), ..) => toml::Value::Integer(number),
        (_, Some(decimal), ..) => toml::Value::Float(decimal),
        (_, _, Some(list), _) => list,
        (.., Ok(flag)) => toml::Value::Boolean(flag),
        _ => toml::Value::String(value.to_owned()),
    };
    let entry = table.entry(section).or_insert_with(|| toml::Table::new().into());
    let section = entry.as_table_mut().ok_or_else(|| invalid(section, "must be a section"))?;
    section.insert(field.to_owned(), value);
    Ok(())
}

/// An error of the configuration's shape, without the value that was found.
#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
pub(crate) fn toml_error(error: toml::de::Error) -> Error {
    let said = first_line(error.message());
    // The value that was found comes first, and may hold anything.
    let said = match said.rsplit_once(", expected ") {
        Some((_found, expected)) if said.starts_with("invalid ") => format!("must be {}", plain(expected)),
        _ if said.ends_with("socket address syntax") => format!("must be {}", plain("socket address")),
        _ => said.to_owned(),
    };
    let key = error
        .to_string()
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("in `").map(|key| key.trim_end_matches('`').to_owned()));
    match key {
        Some(key) => invalid(key, said),
        None => Error::new(ErrorKind::ConfigInvalid, said),
    }
}

/// What a value must be, in words for people who do not write Rust.
fn plain(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more, not too large",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "path string" => "text in quotes",
        "a sequence" => "a list, such as [\"a\", \"b\"]",
        "f32" | "f64" => "a number",
        "a map" => "a section",
        "socket address" => "an address with a port, such as 127.0.0.1:8080",
        other if other.starts_with("struct ") => "a section",
        other => other,
    }
}

/// A path. The environment may give one that looks like a number or a flag.
fn path<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<PathBuf, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "must be text in quotes")]
    enum Written {
        Text(PathBuf),
        Number(i64),
        Flag(bool),
    }
    Ok(match Written::deserialize(from)? {
        Written::Text(path) => path,
        Written::Number(number) => number.to_string().into(),
        Written::Flag(flag) => flag.to_string().into(),
    })
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// An error about one value, under the key it stands at.
fn misfit(key: &str, error: &Error) -> Error {
    let named = error.field().and_then(|field| error.message().strip_prefix(field)?.strip_prefix(": "));
    invalid(key, named.unwrap_or(error.message()))
}

pub(crate) fn invalid(key: impl Into<String>, rule: impl fmt::Display) -> Error {
    let key = key.into();
    Error::new(ErrorKind::ConfigInvalid, format!("{key}: {rule}")).with_field(key)
}
