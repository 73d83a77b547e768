//! The channels of a runtime, and the one way a webhook gets in.

use crate::accounts::Accounts;
use crate::backfill::{Gap, Lost};
use crate::clock::Clock;
use crate::config::{AccountConfig, ChannelConfig, Config};
use crate::event::{Event, NewEvent, Origin, Outline};
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::store::Appended;
use crate::trace::step;
use amochats::crm::ClientSecret;
use amochats::{
    AccountId, ChannelId, ChannelSecret, Client, Error, ErrorKind, Result, ScopeId, SignedHeaders,
    VerifiedBody, verify_webhook,
};
use bytes::Bytes;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use uuid::Uuid;

/// A channel at work: its secrets and its client.
pub struct Channel {
    id: ChannelId,
    secrets: Secrets,
    client: Client,
    pub(crate) integration: Option<(String, ClientSecret)>,
    pub(crate) accounts: Vec<AccountConfig>,
}

/// A channel's secrets, those that never end first, then the one that ends last.
pub(crate) struct Secrets {
    current: ChannelSecret,
    accepted: Vec<ChannelSecret>,
    ends: Vec<i64>,
}

impl Secrets {
    /// `old` ones each with its end, in Unix milliseconds.
    pub(crate) fn new(current: ChannelSecret, old: Vec<(ChannelSecret, Option<i64>)>) -> Self {
        let mut all = vec![(current.clone(), i64::MAX)];
        all.extend(old.into_iter().map(|(secret, end)| (secret, end.unwrap_or(i64::MAX))));
        all.sort_by_key(|(_, end)| std::cmp::Reverse(*end));
        let (accepted, ends) = all.into_iter().unzip();
        Self { current, accepted, ends }
    }

    /// Those that count at this time.
    fn at(&self, now: i64) -> &[ChannelSecret] {
        &self.accepted[..self.ends.partition_point(|end| *end > now)]
    }
}

impl Channel {
    /// A channel as it is configured.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with the key and what to do.
    pub fn new(config: &ChannelConfig) -> Result<Self> {
        let id = config.channel_id()?;
        let secrets = config.secrets()?;
        let client = config.client(id.clone(), secrets.current.clone())?;
        let integration = config.integration()?;
        let mut ids = HashSet::new();
        for account in &config.accounts {
            if !ids.insert(account.request()?.account_id) {
                let rule = "channel.account.id: two accounts of a channel have the same id";
                return Err(Error::new(ErrorKind::ConfigInvalid, rule).with_field("channel.account.id"));
            }
        }
        Ok(Self { id, secrets, client, integration, accounts: config.accounts.clone() })
    }

    /// The channel's id.
    pub fn id(&self) -> &ChannelId {
        &self.id
    }

    /// Signs a request to the chats API.
    ///
    /// # Errors
    /// Those of [`amochats::sign_request`].
    pub fn sign_request(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        date: &str,
        body: &[u8],
    ) -> Result<SignedHeaders> {
        amochats::sign_request(&self.secrets.current, method, path, content_type, date, body)
    }

    /// The client of the chats API, with the channel's secret.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

/// What became of a genuine webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ingested {
    /// It is kept under this event id and will be handed out until it is settled.
    Kept(String),
    /// The same message was kept before.
    Duplicate,
    /// Typing: it was handed out live and is not kept.
    Live,
}

/// The channels, and the door for webhooks.
pub struct Channels {
    by_id: RwLock<Arc<ById>>,
    accounts: Accounts,
    inbox: Inbox,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    keep_typing: bool,
    lost: Lost,
}

type ById = HashMap<ChannelId, Arc<Channel>>;

fn by_id(config: &Config) -> Result<Arc<ById>> {
    let channel = |config| Channel::new(config).map(|channel| (channel.id.clone(), Arc::new(channel)));
    config.channels.iter().map(channel).collect::<Result<_>>().map(Arc::new)
}

impl Channels {
    pub(crate) fn new(
        config: &Config,
        inbox: Inbox,
        accounts: Accounts,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        Ok(Self {
            by_id: RwLock::new(by_id(config)?),
            accounts,
            inbox,
            clock,
            metrics,
            keep_typing: config.inbox.keep_typing,
            lost: Lost::default(),
        })
    }

    /// Works with the channels of another configuration from now on, all of them or, with an error,
    /// none.
    pub(crate) fn replace(&self, config: &Config) -> Result<()> {
        let new = by_id(config)?;
        *self.by_id.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// All channels.
    pub(crate) fn all(&self) -> Arc<ById> {
        self.by_id.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The ids of all channels that are configured, in their order.
    pub fn ids(&self) -> Vec<ChannelId> {
        let mut ids: Vec<_> = self.all().keys().cloned().collect();
        ids.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        ids
    }

    /// The accounts of all channels.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// The channel of this id.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownChannel`] where it is not configured.
    pub fn get(&self, id: &ChannelId) -> Result<Arc<Channel>> {
        self.all().get(id).cloned().ok_or_else(|| {
            Error::new(
                ErrorKind::UnknownChannel,
                "the channel is not configured here; add it as a [[channel]]",
            )
        })
    }

    /// The only channel.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] where there are several.
    pub fn only(&self) -> Result<Arc<Channel>> {
        let all = self.all();
        let mut channels = all.values();
        match (channels.next(), channels.next()) {
            (Some(channel), None) => Ok(channel.clone()),
            _ => Err(Error::invalid("channel_id", "is required: several channels are configured")),
        }
    }

    /// The channel and account of a scope, as an address names them.
    ///
    /// # Errors
    /// [`ErrorKind::UnknownChannel`] for a scope of no configured channel.
    pub fn of_scope(&self, scope: &str) -> Result<(Arc<Channel>, AccountId)> {
        let unknown =
            || Error::new(ErrorKind::UnknownChannel, "the address names no channel that is configured here");
        let (channel, account) = ScopeId::from(scope).split().map_err(|_| unknown())?;
        Ok((self.all().get(&channel).cloned().ok_or_else(unknown)?, account))
    }

    /// Checks a webhook's signature with the secrets of a channel that count now. Nothing is kept.
    ///
    /// # Errors
    /// [`ErrorKind::SignatureMissing`], [`ErrorKind::SignatureMismatch`].
    pub fn verify<'a>(
        &self,
        channel: &Channel,
        body: &'a [u8],
        signature: Option<&str>,
    ) -> Result<VerifiedBody<'a>> {
        verify_webhook(channel.secrets.at(self.clock.now_msec()), body, signature.map(str::trim))
    }

    /// Takes a webhook in: verifies it, keeps it durably, and only then returns. This is the way
    /// for the listener and for webhooks that another HTTP server received; `scope` is the last
    /// part of the address, `body` the bytes as they came.
    ///
    /// What is genuine is never refused for its content.
    ///
    /// # Errors
    /// - [`ErrorKind::UnknownChannel`]: answer 404.
    /// - [`ErrorKind::SignatureMissing`], [`ErrorKind::SignatureMismatch`]: answer 401.
    /// - Those of the store: answer 503. It is not promised to be kept.
    pub async fn ingest(&self, scope: &str, signature: Option<&str>, body: Bytes) -> Result<Ingested> {
        let (channel, url_account) = self.of_scope(scope)?;
        let signature = signature.map(str::trim);
        let verified = self.verify(&channel, &body, signature)?;
        step!("verified");
        let outline = Outline::of(verified);
        let kind = outline.kind;
        let account_id = self.account(outline.account_id, url_account);
        let scope_id = ScopeId::of(&channel.id, &account_id);
        self.accounts.heard(&scope_id);
        let received_at = self.clock.now_msec();
        if kind == "typing" && !self.keep_typing {
            self.metrics.event(kind, "live");
            self.inbox.append_live(Event {
                event_id: Uuid::new_v4().to_string(),
                channel_id: channel.id.clone(),
                account_id,
                scope_id,
                received_at,
                origin: Origin::Webhook,
                conflicting_duplicate: false,
                // A copy: what was received takes room in the listener's limits.
                raw: body.to_vec().into(),
            });
            return Ok(Ingested::Live);
        }
        let event = NewEvent {
            channel_id: channel.id.clone(),
            account_id,
            kind,
            conversation_ref_id: outline.conversation_ref_id,
            conversation_id: outline.conversation_id,
            message_ref_id: outline.message_ref_id,
            digest: outline.digest,
            received_at,
            origin: Origin::Webhook,
            signature: signature.map(str::to_owned),
            raw: body,
        };
        // Counted also where the caller gives up waiting.
        let mut outcome = Outcome { metrics: &self.metrics, kind, name: "late" };
        let unkept = Unkept { lost: &self.lost, gap: gap(&event) };
        let begun = self.clock.monotonic();
        let appended = self.inbox.append(event).await;
        self.metrics.site.append.observe(self.clock.monotonic().saturating_sub(begun).as_secs_f64());
        if appended.is_ok() {
            unkept.forget();
        }
        outcome.name = match &appended {
            Ok(Appended::Kept(_)) => "kept",
            Ok(Appended::Conflicting(_)) => "conflicting",
            Ok(Appended::Duplicate) => "duplicate",
            Err(_) => "failed",
        };
        if let Ok(Appended::Kept(event_id) | Appended::Conflicting(event_id)) = &appended {
            step!(event_id, "kept");
        } else {
            step!("{}", outcome.name);
        }
        match appended? {
            Appended::Kept(event_id) => Ok(Ingested::Kept(event_id)),
            Appended::Conflicting(event_id) => {
                tracing::warn!(
                    %scope_id,
                    event_id,
                    "a message id came again with other content"
                );
                Ok(Ingested::Kept(event_id))
            }
            Appended::Duplicate => Ok(Ingested::Duplicate),
        }
    }

    /// The conversations that lost a webhook.
    pub(crate) fn lost(&self) -> &Lost {
        &self.lost
    }

    /// The account a webhook is for. The signature does not cover the address, so the body decides
    /// where it names one.
    fn account(&self, account: Option<AccountId>, url_account: AccountId) -> AccountId {
        match account {
            Some(account) if account != url_account => {
                self.metrics.scope_mismatch();
                tracing::warn!(%account, %url_account, "a webhook's body names another account than its address");
                account
            }
            _ => url_account,
        }
    }
}

/// What is to be read from the history if a webhook is not kept; whoever waits for it may also give up.
fn gap(event: &NewEvent) -> Option<Gap> {
    // What names no message, as in v1, cannot be told from what was kept.
    event.message_ref_id.as_ref()?;
    Some(Gap {
        scope_id: event.scope_id(),
        conversation_ref_id: event.conversation_ref_id.clone()?,
        conversation_id: event.conversation_id.clone(),
        since: event.received_at,
    })
}

/// Marks a conversation when it is dropped.
struct Unkept<'a> {
    lost: &'a Lost,
    gap: Option<Gap>,
}

impl Unkept<'_> {
    fn forget(mut self) {
        self.gap = None;
    }
}

impl Drop for Unkept<'_> {
    fn drop(&mut self) {
        if let Some(gap) = self.gap.take() {
            self.lost.mark(gap);
        }
    }
}

/// Counts what became of a webhook, at its end.
struct Outcome<'a> {
    metrics: &'a Metrics,
    kind: &'static str,
    name: &'static str,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        self.metrics.event(self.kind, self.name);
    }
}
