//! Which accounts the channels are connected to.
//!
//! An account is *discovered* by its first webhook, *connected* and *disconnected* by our own calls,
//! and *disabled* by the hook that tells of the integration's switching off. The service cannot be
//! asked for the state, so the accounts that the configuration wants connected are connected again
//! from time to time, which changes nothing where the connection stands (chats API reference, 4.1).

mod store;

pub use store::AccountStore;

use crate::channels::{Channel, Channels};
use crate::clock::Clock;
use crate::metrics::Metrics;
use crate::store::Store;
use amochats::crm::verify_disable_hook;
use amochats::{AccountId, Connect, Connected, Error, ErrorKind, Result, ScopeId};
use futures_util::stream::{self, StreamExt as _};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The most accounts that are remembered from webhooks alone.
const DISCOVERED: usize = 10_000;
/// After a failed connect.
pub(crate) const AGAIN: Duration = Duration::from_secs(60);
/// How many configured accounts are connected at a time. How much the service takes is not documented
/// (chats API reference, 9).
const AT_ONCE: usize = 8;

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AccountState {
    /// A webhook of it came.
    Discovered,
    /// The service said so at our last connect.
    Connected,
    /// We disconnected it.
    Disconnected,
    /// The account switched the integration off, which disconnects the channel.
    Disabled,
}

impl AccountState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Discovered, Self::Connected, Self::Disconnected, Self::Disabled];

    /// The name on all surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discovered => "discovered",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::Disabled => "disabled",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What is known of an account of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The channel and the account.
    pub scope_id: ScopeId,
    /// How it stands.
    pub state: AccountState,
    /// Since when, in Unix milliseconds.
    pub since: i64,
    /// When the service was last asked to connect or disconnect it, in Unix milliseconds.
    pub checked_at: Option<i64>,
    /// Why it then refused: the name of an [`ErrorKind`].
    pub problem: Option<String>,
    /// The channel's name in this account.
    pub title: Option<String>,
    /// The form of webhooks: `v1` or `v2`.
    pub hook_version: Option<String>,
    /// When its last webhook came, in Unix milliseconds; of this process only.
    pub heard_at: Option<i64>,
}

/// The accounts of all channels.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    known: Mutex<BTreeMap<ScopeKey, Account>>,
    /// Held while a change is made and kept, so that the store gets them in order.
    changing: tokio::sync::Mutex<()>,
    /// There may be something to connect.
    wanted: Notify,
}

type ScopeKey = String;

impl Accounts {
    pub(crate) async fn open(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        let kept = store.accounts().known_accounts().await?;
        let known = kept.into_iter().map(|account| (account.scope_id.to_string(), account)).collect();
        let accounts = Self(Arc::new(Inner {
            store,
            clock,
            metrics,
            known: Mutex::new(known),
            changing: tokio::sync::Mutex::default(),
            wanted: Notify::new(),
        }));
        accounts.count();
        Ok(accounts)
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<ScopeKey, Account>> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All accounts that are known, by scope.
    pub fn list(&self) -> Vec<Account> {
        self.known().values().cloned().collect()
    }

    /// What is known of an account.
    pub fn get(&self, scope: &ScopeId) -> Option<Account> {
        self.known().get(scope.as_str()).cloned()
    }

    /// A genuine webhook of this account came.
    pub(crate) fn heard(&self, scope: &ScopeId) {
        let now = self.0.clock.now_msec();
        let mut known = self.known();
        if let Some(account) = known.get_mut(scope.as_str()) {
            account.heard_at = Some(now);
            return;
        }
        if known.len() >= DISCOVERED {
            return;
        }
        let mut account = Account::new(scope.clone(), AccountState::Discovered, now);
        account.heard_at = Some(now);
        known.insert(scope.to_string(), account);
        drop(known);
        tracing::info!(%scope, "first webhook of this account");
        self.count();
        // The webhook does not wait for this; what is lost with a crash is discovered again.
        let (accounts, scope) = (self.clone(), scope.clone());
        tokio::spawn(async move { accounts.keep(&scope, |_| {}).await });
    }

    /// Changes what is known of an account, and keeps it.
    async fn keep(&self, scope: &ScopeId, change: impl FnOnce(&mut Account)) {
        let _order = self.0.changing.lock().await;
        let now = self.0.clock.now_msec();
        let account = {
            let mut known = self.known();
            let account = known
                .entry(scope.to_string())
                .or_insert_with(|| Account::new(scope.clone(), AccountState::Discovered, now));
            change(account);
            account.clone()
        };
        self.count();
        if let Err(error) = self.0.store.accounts().put_account(account).await {
            tracing::warn!(%scope, kind = error.kind().name(), "the state of an account could not be kept: {error}");
        }
    }

    /// Knows an account from now on, so that a failure to connect it is noted.
    pub(crate) async fn remember(&self, scope: &ScopeId) {
        self.keep(scope, |_| {}).await;
    }

    async fn stands(&self, scope: &ScopeId, state: AccountState, more: impl FnOnce(&mut Account)) {
        let now = self.0.clock.now_msec();
        self.keep(scope, |account| {
            if account.state != state {
                tracing::info!(%scope, from = account.state.name(), to = state.name(), "an account's state changed");
                (account.state, account.since) = (state, now);
            }
            account.problem = None;
            more(account);
        })
        .await;
    }

    /// Connects a channel to an account, and notes how it went.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn connect(&self, channel: &Channel, connect: &Connect) -> Result<Connected> {
        let scope = ScopeId::of(channel.id(), &connect.account_id);
        let connected = channel.client().connect(connect).await;
        let now = self.0.clock.now_msec();
        match &connected {
            Ok(connected) => {
                self.stands(&scope, AccountState::Connected, |account| {
                    account.checked_at = Some(now);
                    account.title.clone_from(&connected.title);
                    account.hook_version.clone_from(&connected.hook_api_version);
                })
                .await;
            }
            Err(error) => self.failed(&scope, now, error).await,
        }
        connected
    }

    /// Disconnects a channel from an account, and notes how it went.
    ///
    /// # Errors
    /// Those of the call.
    pub async fn disconnect(&self, channel: &Channel, account: &AccountId) -> Result<()> {
        let scope = ScopeId::of(channel.id(), account);
        let done = channel.client().disconnect(account).await;
        let now = self.0.clock.now_msec();
        match &done {
            Ok(()) => {
                self.stands(&scope, AccountState::Disconnected, |account| account.checked_at = Some(now))
                    .await;
            }
            Err(error) => self.failed(&scope, now, error).await,
        }
        done
    }

    /// Only what is known already or configured gets an entry by a failure: a mistyped id does not.
    async fn failed(&self, scope: &ScopeId, now: i64, error: &Error) {
        if self.known().contains_key(scope.as_str()) {
            self.keep(scope, |account| {
                account.checked_at = Some(now);
                account.problem = Some(error.kind().name().to_owned());
            })
            .await;
        }
    }

    /// A check ended before the chat service was asked, or with what that said; the latter is noted.
    pub(crate) async fn could_not_be_checked(&self, scope: &ScopeId, kind: ErrorKind) {
        let now = self.0.clock.now_msec();
        if self.known().contains_key(scope.as_str()) {
            self.keep(scope, |account| {
                account.checked_at = Some(now);
                account.problem.get_or_insert_with(|| kind.name().to_owned());
            })
            .await;
        }
    }

    /// Forgets an account. Its next webhook makes it known again.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`]; those of the store.
    pub async fn forget(&self, scope: &ScopeId) -> Result<()> {
        let _order = self.0.changing.lock().await;
        let kept = self.0.store.accounts().forget_account(scope).await?;
        let known = self.known().remove(scope.as_str()).is_some();
        self.count();
        if kept || known { Ok(()) } else { Err(store::unknown()) }
    }

    /// Checks the hook that tells that an account switched the integration off. It names the account by
    /// its number in the CRM; gives the scopes that the configuration has for that.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownChannel`] where no channel has this integration;
    /// [`ErrorKind::SignatureMissing`], [`ErrorKind::SignatureMismatch`].
    pub(crate) fn verify_disabled(
        channels: &Channels,
        client: &str,
        crm_account: &str,
        signature: Option<&str>,
    ) -> Result<Vec<ScopeId>> {
        let all = channels.all();
        let mut disabled = Vec::new();
        let mut is_ours = false;
        for channel in all.values() {
            let Some((id, secret)) = &channel.integration else { continue };
            if id != client {
                continue;
            }
            is_ours = true;
            verify_disable_hook(secret, id, crm_account, signature)?;
            for account in &channel.accounts {
                if account.crm_account_id.is_some_and(|number| number.to_string() == crm_account) {
                    disabled.push(ScopeId::of(channel.id(), &account.id.as_str().into()));
                }
            }
        }
        if !is_ours {
            let said = "no channel here has this client_id; add it to its [[channel]]";
            return Err(Error::new(ErrorKind::UnknownChannel, said));
        }
        Ok(disabled)
    }

    /// A genuine disable hook came for these scopes.
    pub(crate) async fn disable(&self, crm_account: &str, scopes: Vec<ScopeId>) {
        if scopes.is_empty() {
            tracing::warn!(
                crm_account,
                "an account switched the integration off; it was not linked here, and no [[channel.account]] has it \
                 as crm_account_id"
            );
        }
        for scope in scopes {
            self.stands(&scope, AccountState::Disabled, |_| {}).await;
        }
    }

    /// The configuration has changed.
    pub(crate) fn look_again(&self) {
        self.0.wanted.notify_one();
    }

    /// Keeps connected what the configuration wants connected, until `stop`.
    pub(crate) async fn run(&self, channels: Arc<Channels>, interval: Duration, stop: CancellationToken) {
        // At the start each one is connected, however lately it was: the secret, or what it is connected
        // with over there, may have changed meanwhile.
        let mut age = Duration::ZERO;
        loop {
            let work = async {
                let pause = if self.connect_wanted(&channels, age).await { interval } else { AGAIN };
                age = interval;
                let wake = self.0.clock.monotonic() + pause.min(interval);
                tokio::select! {
                    () = self.0.clock.sleep_until(wake) => {}
                    () = self.0.wanted.notified() => {}
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = work => {}
            }
        }
    }

    /// Connects what was not checked for so long, several at a time; says whether all of it worked.
    async fn connect_wanted(&self, channels: &Channels, interval: Duration) -> bool {
        let interval = i64::try_from(interval.as_millis()).unwrap_or(i64::MAX);
        let mut wanted = Vec::new();
        for channel in channels.all().values() {
            let accounts = channel.accounts.iter().filter(|account| account.connect);
            // Checked with the configuration.
            let requests = accounts.filter_map(|account| account.request().ok());
            wanted.extend(requests.map(|connect| (channel.clone(), connect)));
        }
        stream::iter(wanted)
            .map(async |(channel, connect)| self.connect_due(&channel, &connect, interval).await)
            .buffer_unordered(AT_ONCE)
            .fold(true, async |all_well, is_well| all_well & is_well)
            .await
    }

    /// Connects an account if it was not checked for so long; says whether that worked.
    async fn connect_due(&self, channel: &Channel, connect: &Connect, interval: i64) -> bool {
        let scope = ScopeId::of(channel.id(), &connect.account_id);
        let now = self.0.clock.now_msec();
        let due = self.known().get(scope.as_str()).is_none_or(|account| match account.state {
            // Somebody wanted it so, there or here.
            AccountState::Disabled | AccountState::Disconnected => false,
            AccountState::Discovered => true,
            AccountState::Connected => {
                account.problem.is_some()
                    || account.title != connect.title && connect.title.is_some()
                    || account.checked_at.is_none_or(|at| now.saturating_sub(at) >= interval)
            }
        });
        if !due {
            return true;
        }
        self.remember(&scope).await;
        let connected = self.connect(channel, connect).await;
        if let Err(error) = &connected {
            tracing::warn!(%scope, kind = error.kind().name(), "an account could not be connected: {error}");
        }
        connected.is_ok()
    }

    fn count(&self) {
        let known = self.known();
        for state in AccountState::ALL {
            let count = known.values().filter(|account| account.state == state).count();
            self.0.metrics.site.accounts(state.name(), count);
        }
    }
}

impl Account {
    fn new(scope_id: ScopeId, state: AccountState, since: i64) -> Self {
        Self {
            scope_id,
            state,
            since,
            checked_at: None,
            problem: None,
            title: None,
            hook_version: None,
            heard_at: None,
        }
    }
}
