//! What a sandbox is told before it starts.

use crate::faults::Faults;
use crate::state::NewChannel;
use crate::switches::Switches;
use crate::tls::Identity;
use amochats::{AccountId, ChannelId, ChannelSecret, Error, Result};
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;
use url::Url;

/// The configuration of a [`Sandbox`](crate::Sandbox). What is left out is made up.
///
/// The default listens on loopback only, on free ports; another interface is used only where an
/// address names it.
#[derive(Clone)]
pub struct SandboxConfig {
    /// Where the chats API listens. Port 0 picks a free one.
    pub api_addr: SocketAddr,
    /// Where the manager's page listens. Port 0 picks a free one.
    pub page_addr: SocketAddr,
    /// The channel's id; made up if absent.
    pub channel_id: Option<ChannelId>,
    /// The channel's secret; 40 hex digits are made up if absent.
    pub secret: Option<String>,
    /// The channel's code, as in `amo.ext.12345678`; made up if absent.
    pub channel_code: Option<String>,
    /// The channel's name, which an account shows unless its connection brings a title.
    pub channel_title: String,
    /// Further channels.
    pub channels: Vec<NewChannel>,
    /// The accounts that the channels may connect to; one is made up if the list is empty.
    pub accounts: Vec<AccountId>,
    /// Where webhooks of the first channel go; `:scope_id` is replaced by the scope. Can be set later.
    pub webhook_url: Option<String>,
    /// Whose habits the service has.
    pub personality: Personality,
    /// How strict it is, and what it does where the vendor's pages are silent.
    pub switches: Switches,
    /// Faults from the start.
    pub faults: Faults,
    /// Makes all ids the same in every run. Without it, and after a state was loaded, they are drawn
    /// at random: an id never comes twice.
    pub seed: Option<u64>,
    /// The file in which accounts, chats and messages outlive the sandbox; the journal does not. It
    /// is made where it is missing, and only its owner can read it, since it holds the secret.
    /// Where it exists it says who the channel is: fields that name another channel, secret, code
    /// or other accounts are errors, a `webhook_url` takes the place of its own. Written within a
    /// second of a change, whole or not at all, and at [`shutdown`](crate::Sandbox::shutdown).
    pub state: Option<PathBuf>,
    /// How many requests and webhooks the journal keeps; older ones go.
    pub journal_capacity: usize,
    /// How many bytes the journal keeps, about; older entries go, the newest stays.
    pub journal_bytes: usize,
    /// How many bytes chats and messages may take, about; then 507 is answered. The uploaded files
    /// of managers have 64 MiB of their own.
    pub memory_max: usize,
    /// Serves the chats API with TLS under this certificate. The page stays plain.
    pub tls: Option<Identity>,
    /// The page of a messenger, shown in the page as the client's phone.
    pub companion_url: Option<String>,
    /// A widget's folder or archive: the widget of the first integration. A folder is read anew whenever
    /// the page is loaded.
    pub widget: Option<PathBuf>,
    /// The time of all checks and timestamps.
    pub clock: Clock,
}

impl Default for SandboxConfig {
    fn default() -> Self {
        let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            api_addr: loopback,
            page_addr: loopback,
            channel_id: None,
            secret: None,
            channel_code: None,
            channel_title: "Sandbox".into(),
            channels: Vec::new(),
            accounts: Vec::new(),
            webhook_url: None,
            personality: Personality::default(),
            switches: Switches::default(),
            faults: Faults::default(),
            seed: None,
            state: None,
            journal_capacity: 1000,
            journal_bytes: 64 * 1024 * 1024,
            memory_max: 1024 * 1024 * 1024,
            tls: None,
            companion_url: None,
            widget: None,
            clock: Clock::default(),
        }
    }
}

/// Everything but the secret.
impl fmt::Debug for SandboxConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SandboxConfig")
            .field("api_addr", &self.api_addr)
            .field("page_addr", &self.page_addr)
            .field("channel_id", &self.channel_id)
            .field("accounts", &self.accounts)
            .field("webhook_url", &self.webhook_url)
            .field("personality", &self.personality)
            .field("switches", &self.switches)
            .field("seed", &self.seed)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl SandboxConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        if let Some(secret) = &self.secret {
            ChannelSecret::new(secret.as_str())?;
        }
        if let Some(channel) = &self.channel_id {
            path_id("channel_id", channel.as_str())?;
        }
        for (i, account) in self.accounts.iter().enumerate() {
            path_id("accounts", account.as_str())?;
            if self.accounts[..i].contains(account) {
                return Err(Error::invalid("accounts", format!("{account} is given twice")));
            }
        }
        if let Some(url) = &self.webhook_url {
            web_address("webhook_url", url)?;
        }
        if let Some(url) = &self.companion_url {
            web_address("companion_url", url)?;
        }
        if self.journal_capacity == 0 {
            return Err(Error::invalid("journal_capacity", "must be at least 1"));
        }
        self.faults.validate()?;
        self.switches.validate()
    }
}

/// Ids stand in paths, and a scope is two of them joined by `_`.
pub(crate) fn path_id(field: &str, id: &str) -> Result<()> {
    if id.is_empty() || !id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(Error::invalid(field, "must be letters, digits and \"-\" alone, as in a UUID"));
    }
    Ok(())
}

pub(crate) fn web_address(field: &str, address: &str) -> Result<Url> {
    let rule = "must be an address that begins with http:// or https://, without user and password";
    let url = Url::parse(address).map_err(|_| Error::invalid(field, rule))?;
    let plain = url.username().is_empty() && url.password().is_none();
    if !matches!(url.scheme(), "http" | "https") || url.host().is_none() || !plain {
        return Err(Error::invalid(field, rule));
    }
    Ok(url)
}

/// Whose habits the sandbox has, where the vendor's services differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Personality {
    /// amoCRM: calls without a result answer an empty body.
    #[default]
    Ru,
    /// Kommo: they answer `{}`.
    Kommo,
    /// The first generation, 2017 to 2019: connect and `new_message` alone, short answers,
    /// webhooks of eight keys, a phone may be a number.
    Gen1,
}

impl Personality {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ru => "ru",
            Self::Kommo => "kommo",
            Self::Gen1 => "gen1",
        }
    }
}

impl std::str::FromStr for Personality {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        [Self::Ru, Self::Kommo, Self::Gen1]
            .into_iter()
            .find(|known| known.name() == name)
            .ok_or_else(|| Error::invalid("personality", "must be ru, kommo or gen1"))
    }
}

/// Where the sandbox reads the time. Tests hand in one that they turn.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// Reads the time by calling `now`.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The time.
    pub fn now(&self) -> SystemTime {
        (self.0)()
    }

    /// The time in Unix milliseconds.
    pub(crate) fn now_msec(&self) -> i64 {
        let since = self.now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}
