//! Linking accounts: the server's side of the widget.
//!
//! Three things must come together, in whichever order they come: the CRM tells of the installation
//! with a code (`installation.rs`), a page of the CRM asks for the connection with a one-time token
//! (`caller.rs`), and the operator's own service says that whoever asks may (`authorize.rs`). Then the
//! account's own word decides which account it is, and the channel is connected (`link.rs`).

mod answer;
mod authorize;
mod caller;
mod check;
mod config;
mod crew;
mod installation;
mod limits;
mod link;
mod metrics;
mod origins;
mod seal;
mod service;
mod settings;
mod store;
mod tokens;
mod turns;
mod users;
mod wish;

pub use answer::WidgetAnswer;
pub use authorize::{Attempt, Authorizer};
pub use config::WidgetConfig;
pub(crate) use metrics::WidgetMetrics;
pub use seal::new_key;
pub(crate) use settings::needs_restart;
pub(crate) use store::Records;
pub use store::{Change, Kind, Record, WidgetStore};
pub use users::Users;

use crate::channels::Channels;
use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::Store;
use amochats::{AccountId, CrmClient, Error, ErrorKind, Result};
use answer::Refusal;
use caller::Caller;
use futures_util::future::join_all;
use limits::Attempts;
use link::Linking;
use seal::Sealer;
use secrecy::SecretString;
use serde::Deserialize;
use settings::Settings;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use turns::Turns;

/// The largest body of a call, in bytes.
pub(crate) const BODY_MAX: usize = 16 << 10;
const CONNECT: &str = "/widget/connect";
const DISCONNECT: &str = "/widget/disconnect";
const STATE: &str = "/widget/state";
/// Calls of the redirect URI that one address has in a window: anybody can make some.
const REDIRECTS: (u32, Duration) = (60, Duration::from_mins(5));
/// How long a browser may remember what it is allowed, in seconds.
const PREFLIGHT_S: &str = "600";

/// Links accounts to channels.
///
/// Its calls can be served by any HTTP server: hand [`Widget::handle`] what came, and send what it
/// gives. `amochats serve` does so beside the webhooks.
#[derive(Clone)]
pub struct Widget(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    channels: Arc<Channels>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    sealer: Arc<Sealer>,
    settings: RwLock<Arc<Settings>>,
    redirect_uri: String,
    redirect_path: String,
    disable_path: String,
    crm_timeout: Duration,
    deciding: RwLock<Deciding>,
    of_account: Mutex<Attempts<String>>,
    of_peer: Mutex<Attempts<IpAddr>>,
    redirects: Mutex<Attempts<IpAddr>>,
    turns: Turns,
    clients: Mutex<HashMap<String, CrmClient>>,
    /// There may be a code to trade.
    work: Notify,
}

/// Who decides.
struct Deciding {
    authorizer: Option<Arc<dyn Authorizer>>,
    /// A program has set it, and no configuration changes that.
    by_program: bool,
}

#[derive(Deserialize)]
struct ConnectBody {
    login: String,
    password: SecretText,
    amojo_id: String,
    account_id: Option<serde_json::Value>,
    subdomain: Option<String>,
}

#[derive(Deserialize)]
struct AccountBody {
    amojo_id: String,
}

/// A text that is wiped when dropped.
struct SecretText(SecretString);

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(from).map(|text| Self(text.into()))
    }
}

/// What is read of a call.
struct Call<'a> {
    origin: &'a str,
    token: Option<&'a str>,
    query: &'a str,
    body: &'a [u8],
    peer: IpAddr,
}

impl Widget {
    /// Opens what is kept. What was encrypted with a former key is encrypted with the current one.
    /// `None` where it is not configured.
    pub(crate) async fn open(
        config: &Config,
        store: Arc<dyn Store>,
        channels: Arc<Channels>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Option<Self>> {
        let disable_path = config.listener.disable_path.clone();
        let config = &config.widget;
        if !config.is_on() {
            return Ok(None);
        }
        let sealer = Arc::new(config.sealer()?);
        let window = Duration::from_secs(config.attempts_window_s);
        let authorizer = config.authorizer(&clock)?;
        if authorizer.is_none() {
            tracing::info!(
                "neither widget.users_file nor service_url is set: a program decides who may connect"
            );
        }
        let widget = Self(Arc::new(Inner {
            store,
            channels,
            clock,
            metrics,
            sealer,
            settings: RwLock::new(Arc::new(Settings::new(config))),
            redirect_uri: config.redirect_uri.clone(),
            redirect_path: config.redirect_path()?,
            disable_path,
            crm_timeout: Duration::from_millis(config.crm_timeout_ms),
            deciding: RwLock::new(Deciding { authorizer, by_program: false }),
            of_account: Mutex::new(Attempts::new(config.attempts, window)),
            of_peer: Mutex::new(Attempts::new(config.attempts_per_peer, window)),
            redirects: Mutex::new(Attempts::new(REDIRECTS.0, REDIRECTS.1)),
            turns: Turns::default(),
            clients: Mutex::default(),
            work: Notify::new(),
        }));
        widget.seal_anew().await?;
        Ok(Some(widget))
    }

    /// Trades codes, and checks linked accounts in this interval, until `stop`.
    pub(crate) fn start(self, interval: Duration, tasks: &TaskTracker, stop: CancellationToken) {
        let (widget, stopped) = (self.clone(), stop.clone());
        tasks.spawn(async move { widget.look_after(interval, stopped).await });
        tasks.spawn(async move { self.run(stop).await });
    }

    /// Waits for tokens that are being refreshed, and lets no other refresh begin: cut off between the CRM's
    /// answer and the store it would cost an account its only pair.
    pub(crate) async fn stop(&self) {
        let clients: Vec<CrmClient> = self.clients().values().cloned().collect();
        join_all(clients.iter().map(CrmClient::close)).await;
    }

    async fn seal_anew(&self) -> Result<()> {
        let (store, sealer) = (self.0.store.widget(), &self.0.sealer);
        let mut changes = Vec::new();
        for kind in [Kind::Account, Kind::Code] {
            for record in store.records(kind).await? {
                let Some(sealed) = &record.sealed else { continue };
                let place = tokens::place(kind, &record.key);
                let opened = sealer.open(&place, sealed)?;
                if opened.stale {
                    let sealed = Some(sealer.seal(&place, &opened.plain));
                    changes.push(Change::Put(Record { sealed, ..record }));
                }
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        tracing::info!(records = changes.len(), "the tokens are encrypted with the new key");
        store.change(changes).await
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<String, CrmClient>> {
        self.0.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a program decide who may connect, in place of what the configuration says.
    pub fn set_authorizer(&self, authorizer: Option<Arc<dyn Authorizer>>) {
        let mut deciding = self.0.deciding.write().unwrap_or_else(PoisonError::into_inner);
        *deciding = Deciding { authorizer, by_program: true };
    }

    /// Whether anybody decides who may connect.
    pub fn has_authorizer(&self) -> bool {
        self.authorizer().is_some()
    }

    fn authorizer(&self) -> Option<Arc<dyn Authorizer>> {
        self.0.deciding.read().unwrap_or_else(PoisonError::into_inner).authorizer.clone()
    }

    /// Whether calls of this path are answered here.
    pub fn serves(&self, path: &str) -> bool {
        [CONNECT, DISCONNECT, STATE, self.0.redirect_path.as_str()].contains(&path)
            || !self.0.disable_path.is_empty() && path == self.0.disable_path
    }

    /// Answers a call: whatever an HTTP server got, its headers as they came, its body whole, and the
    /// address of whoever asks (not of a proxy in between).
    pub async fn handle(
        &self,
        method: &str,
        path_and_query: &str,
        headers: &[(&str, &str)],
        body: &[u8],
        peer: IpAddr,
    ) -> WidgetAnswer {
        let (path, query) = path_and_query.split_once('?').unwrap_or((path_and_query, ""));
        if path == self.0.redirect_path {
            return match method {
                "GET" => self.redirected(query, peer).await,
                _ => WidgetAnswer::line(405, "the CRM calls this with GET").with("allow", "GET"),
            };
        }
        if !self.0.disable_path.is_empty() && path == self.0.disable_path {
            if method != "GET" {
                return WidgetAnswer::line(405, "the CRM calls this with GET").with("allow", "GET");
            }
            let (status, said) = crate::front::disabled(&self.0.channels, Some(self), query).await;
            return WidgetAnswer::line(status, &said);
        }
        let header = |name: &str| {
            let found = headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
            found.map(|(_, value)| *value)
        };
        let allowed = match path {
            CONNECT | DISCONNECT => "POST",
            STATE => "GET",
            _ => return WidgetAnswer::line(404, "no such address"),
        };
        // Without one it is no page that asks, and browsers send it with every call of another origin.
        let Some(origin) = header("origin").filter(|origin| self.settings().origins.allows(origin)) else {
            tracing::warn!(%peer, "a call from no page of the CRM was refused");
            return Refusal::OriginNotAllowed.answer().with("vary", "Origin");
        };
        let answer = if method == "OPTIONS" {
            WidgetAnswer::empty(204)
                .with("access-control-allow-methods", "GET, POST, OPTIONS")
                .with("access-control-allow-headers", "content-type, x-auth-token, x-requested-with")
                .with("access-control-max-age", PREFLIGHT_S)
        } else if method != allowed {
            WidgetAnswer::line(405, "this is called in another way")
                .with("allow", format!("{allowed}, OPTIONS"))
        } else if body.len() > BODY_MAX {
            Refusal::TooLarge.answer()
        } else {
            let call = Call { origin, token: header("x-auth-token"), query, body, peer };
            let done = match path {
                CONNECT => self.connect(call).await,
                DISCONNECT => self.disconnect(call).await,
                _ => self.show(call).await,
            };
            done.map_or_else(|refusal| refusal.answer(), |value| WidgetAnswer::json(200, &value))
        };
        // On refusals too, or the page would see nothing but a broken connection.
        answer
            .with("access-control-allow-origin", origin)
            .with("access-control-expose-headers", "retry-after")
            .with("vary", "Origin")
    }

    /// The answer to a body that is too large to be handed to [`Widget::handle`].
    pub(crate) fn too_large(&self, origin: Option<&str>) -> WidgetAnswer {
        let answer = Refusal::TooLarge.answer().with("vary", "Origin");
        match origin.filter(|origin| self.settings().origins.allows(origin)) {
            Some(origin) => answer.with("access-control-allow-origin", origin),
            None => answer,
        }
    }

    async fn connect(&self, call: Call<'_>) -> Result<serde_json::Value, Refusal> {
        let body: ConnectBody = serde_json::from_slice(call.body)
            .map_err(|_| Refusal::BadRequest("the body must be JSON with login, password and amojo_id"))?;
        let account_id = amojo_id(&body.amojo_id)?;
        let caller = self.caller(call.origin, call.token, call.peer).await?;
        let stranger = |value: &serde_json::Value| {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            !value.is_null() && text != caller.token.account_id.to_string()
        };
        if body.account_id.as_ref().is_some_and(stranger)
            || matches!((&body.subdomain, &caller.token.subdomain), (Some(said), Some(known)) if said != known)
        {
            return Err(Refusal::AccountMismatch);
        }
        let attempt = Attempt {
            login: body.login,
            password: body.password.0,
            client_id: caller.integration.client_id.clone(),
            crm_account_id: caller.token.account_id,
            crm_user_id: caller.token.user_id,
            origin: caller.token.iss.clone(),
            account_id: account_id.clone(),
            peer: call.peer,
        };
        self.decide(&caller.key(), &attempt).await?;
        // In a task of its own: if the page goes away, what was begun is finished and noted.
        let widget = self.clone();
        let linked = tokio::spawn(async move {
            let (key, crm_account_id) = (caller.key(), caller.token.account_id);
            let Caller { channel, integration, token, .. } = caller;
            let linking = Linking { key, channel, integration, crm_account_id, account_id };
            widget.link(&linking, &token.iss).await
        });
        linked.await.unwrap_or(Err(Refusal::ServerUnavailable))
    }

    /// Whether somebody may, with a line for the audit.
    async fn decide(&self, key: &str, attempt: &Attempt) -> Result<(), Refusal> {
        let authorizer = self.authorizer();
        let by = authorizer.as_ref().map_or("nobody", |authorizer| authorizer.name());
        let audit = |decision: &'static str| {
            self.0.metrics.widget.decided(decision);
            tracing::info!(
                target: "amochats::audit",
                decision,
                by,
                client_id = attempt.client_id,
                crm_account_id = attempt.crm_account_id,
                crm_user_id = attempt.crm_user_id,
                peer = %attempt.peer,
                "an account asks to be connected"
            );
        };
        if let Err(wait) = self.take_attempt(key, attempt.peer) {
            audit("limited");
            return Err(Refusal::TooManyAttempts(wait.as_secs() + 1));
        }
        let size = attempt.login.len() <= users::LOGIN_MAX
            && secrecy::ExposeSecret::expose_secret(&attempt.password).len() <= users::PASSWORD_MAX;
        let decided = match &authorizer {
            None => Err(Error::new(ErrorKind::Unavailable, "nobody decides who may connect")),
            // No such login can exist, and the bytes are not worth a hash.
            Some(_) if !size => Ok(false),
            Some(authorizer) => authorizer.authorize(attempt).await,
        };
        match decided {
            Ok(true) => {
                self.give_back(key, attempt.peer);
                audit("allowed");
                Ok(())
            }
            Ok(false) => {
                audit("denied");
                Err(Refusal::WrongCredentials)
            }
            Err(error) => {
                self.give_back(key, attempt.peer);
                audit("undecided");
                tracing::warn!(
                    kind = error.kind().name(),
                    by,
                    "it could not be decided who may connect: {error}"
                );
                Err(Refusal::ServerUnavailable)
            }
        }
    }

    fn take_attempt(&self, key: &str, peer: IpAddr) -> std::result::Result<(), Duration> {
        let now = self.0.clock.monotonic();
        locked(&self.0.of_peer).take(&network(peer), now)?;
        locked(&self.0.of_account).take(&key.to_owned(), now)
    }

    fn give_back(&self, key: &str, peer: IpAddr) {
        let now = self.0.clock.monotonic();
        locked(&self.0.of_peer).give_back(&network(peer), now);
        locked(&self.0.of_account).give_back(&key.to_owned(), now);
    }

    async fn disconnect(&self, call: Call<'_>) -> Result<serde_json::Value, Refusal> {
        let body: AccountBody = serde_json::from_slice(call.body)
            .map_err(|_| Refusal::BadRequest("the body must be JSON with amojo_id"))?;
        let account_id = amojo_id(&body.amojo_id)?;
        let caller = self.caller(call.origin, call.token, call.peer).await?;
        tracing::info!(
            target: "amochats::audit",
            client_id = caller.integration.client_id,
            crm_account_id = caller.token.account_id,
            crm_user_id = caller.token.user_id,
            peer = %caller.peer,
            "an account asks to be disconnected"
        );
        let widget = self.clone();
        let done = tokio::spawn(async move { widget.unlink(&caller, &account_id).await });
        done.await.unwrap_or(Err(Refusal::ServerUnavailable))
    }

    async fn show(&self, call: Call<'_>) -> Result<serde_json::Value, Refusal> {
        let mut query = form_urlencoded::parse(call.query.as_bytes());
        let claimed = query.find(|(name, _)| name == "amojo_id");
        let (_, claimed) = claimed.ok_or(Refusal::BadRequest("the query must name an amojo_id"))?;
        let account_id = amojo_id(&claimed)?;
        let caller = self.caller(call.origin, call.token, call.peer).await?;
        self.state(&caller, &account_id).await
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever has an IPv6 address has its /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

fn amojo_id(text: &str) -> Result<AccountId, Refusal> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(plain) {
        return Err(Refusal::BadRequest("amojo_id must be a UUID"));
    }
    Ok(AccountId::new(text))
}
