//! Where events are kept: one trait, one contract (`tests/store_contract.rs`), several stores.
//!
//! A store keeps events and, for each subscription, which of them are open and in which state. It
//! knows no time: when a lease has ended or a delay is over, [`Inbox`](crate::Inbox) says so.
//!
//! # States of a delivery
//! ```text
//!            append, no earlier one of its conversation is open
//!  (none) ─────────────────────────────▶ ready ──lease──▶ leased ──ack──▶ (gone)
//!     │ append                            ▲  ▲              │ │ └─dead──▶ dead
//!     └──────▶ waiting ──earlier one gone─┘  └─wake─ delayed ◀┘ delay
//! ```
//! `return` is a release that was no attempt: the consumer ended on purpose.
//!
//! At most one delivery of a conversation and subscription is ready, leased or delayed at a time:
//! this is the order of G3. What was leased or delayed when the process ended is ready at the
//! next start.

pub(crate) mod disk;
mod lookup;
pub(crate) mod memory;
pub(crate) mod sqlite;

pub use disk::Disk;
pub use lookup::{DeadSummary, DeliveryState, EventDelivery, EventSummary, SummaryQuery};
pub use memory::MemoryStore;
pub use sqlite::{Limits, OnFull, SqliteStore};

use crate::accounts::AccountStore;
use crate::backfill::BackfillStore;
use crate::event::{Event, NewEvent};
use crate::media::MediaStore;
use crate::outbox::OUTBOX;
use crate::outbox::store::OutboxStore;
use crate::widget::WidgetStore;
use amochats::{AccountId, Error, ErrorKind, Result, ScopeId};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Keeps events durably and says who has dealt with them.
///
/// Every method's `Ok` means that its effect is committed as durably as the store can. A method
/// whose future is dropped may have had its effect; [`Store::append`], once polled and taken in,
/// goes on without its future. [`Store::lease`] must be run to its end, or what it leased is
/// nobody's until the store is opened again.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Keeps an event, for every subscription.
    async fn append(&self, event: NewEvent) -> Result<Appended>;

    /// Changes whenever something was committed that may have made an event ready.
    fn changes(&self) -> watch::Receiver<()>;

    /// Makes a subscription, unless one of that name exists; says which it is and whether it is new.
    async fn create_subscription(
        &self,
        name: &str,
        start: Start,
        filter: Filter,
        created_at: i64,
    ) -> Result<(SubscriptionId, bool)>;

    /// The subscription of that name.
    async fn subscription(&self, name: &str) -> Result<SubscriptionId>;

    /// Deletes a subscription and all that waits in it.
    async fn delete_subscription(&self, name: &str) -> Result<()>;

    /// All subscriptions by name, with their state.
    async fn subscriptions(&self) -> Result<Vec<SubscriptionState>>;

    /// Leases up to `max` ready events of together at most `max_bytes`, in the order of keeping. One
    /// is leased however large it is. `at` is the time, to be told of later.
    async fn lease(
        &self,
        subscription: SubscriptionId,
        max: usize,
        max_bytes: usize,
        at: i64,
    ) -> Result<Vec<Leased>>;

    /// Settles leased events; each one's result stands at its place. `at` is the time, to be told of
    /// later.
    async fn settle(&self, settlements: Vec<(Token, Settlement)>, at: i64) -> Result<Vec<Settled>>;

    /// Where the same store keeps accounts.
    fn accounts(&self) -> &dyn AccountStore;

    /// Puts events that were kept before to the end of a subscription; says how many at most, since
    /// its filter goes for them, too.
    async fn replay(&self, name: &str, replay: Replay) -> Result<u64>;

    /// What a subscription has given up, after this place, in the order of handing out.
    async fn dead_letters(&self, name: &str, after: i64, limit: usize) -> Result<Vec<DeadLetter>>;

    /// As [`Store::dead_letters`], without their bodies.
    async fn dead_summaries(&self, name: &str, after: i64, limit: usize) -> Result<Vec<DeadSummary>>;

    /// Takes dead letters away, those at these places or all: to hand them out again, at the end, or
    /// not at all. Says how many.
    async fn take_dead_letters(&self, name: &str, places: Option<Vec<i64>>, again: bool) -> Result<u64>;

    /// An event that is kept.
    async fn event(&self, event_id: &str) -> Result<Option<Event>>;

    /// Events that are kept, oldest first.
    async fn events(&self, query: EventQuery) -> Result<Vec<Event>>;

    /// Events that are kept, without their bodies.
    async fn summaries(&self, query: SummaryQuery) -> Result<Vec<EventSummary>>;

    /// One event that is kept, without its body.
    async fn summary(&self, event_id: &str) -> Result<Option<EventSummary>>;

    /// Where an event is in each subscription, by name; nowhere, if it is not kept.
    async fn deliveries(&self, event_id: &str) -> Result<Vec<EventDelivery>>;

    /// Deletes the events of a conversation, by either id, settled or not, and its items of the outbox
    /// but for those that are on their way; the links to files that were made for it end.
    async fn purge(&self, scope: &ScopeId, conversation: &str) -> Result<Purged>;

    /// Deletes what is due; returns when nothing more is.
    async fn maintain(&self, keep: Keep) -> Result<()>;

    /// Where the same store keeps what goes out, so that both can change in one transaction.
    fn outbox(&self) -> &dyn OutboxStore;

    /// Where the same store keeps what is to be fetched.
    fn backfill(&self) -> &dyn BackfillStore;

    /// Where the same store keeps what links accounts.
    fn widget(&self) -> &dyn WidgetStore;

    /// Where the same store keeps what it knows of files.
    fn media(&self) -> &dyn MediaStore;

    /// Checks that the store works, for readiness.
    async fn ping(&self) -> Result<()>;

    /// Ends the store: what was accepted is finished, then nothing is accepted any more.
    async fn close(&self);
}

/// Which events a subscription gets: of each list that is not empty, one must fit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filter {
    /// Accounts inside the chat service.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accounts: Vec<AccountId>,
    /// Connections of a channel and an account.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<ScopeId>,
    /// `message`, `typing`, `reaction`, `unknown`; and `outbox`, the results of calls, which come only
    /// where this list asks for them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<String>,
    /// Conversations, by either id.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conversations: Vec<String>,
}

impl Filter {
    /// As [`Filter::fits`], but results of calls come only where they are asked for.
    pub(crate) fn matches(&self, facts: &Facts) -> bool {
        self.fits(facts) && (facts.kind != OUTBOX || !self.kinds.is_empty())
    }

    /// Whether an event that is handed out live fits, too.
    pub fn fits_live(&self, event: &Event) -> bool {
        let webhook = event.parse();
        self.fits(&Facts {
            account_id: event.account_id.clone(),
            scope_id: event.scope_id.clone(),
            kind: webhook.kind.name().to_owned(),
            conversation_ref_id: webhook.conversation_ref_id().map(ToString::to_string),
            conversation_id: webhook.conversation_id().map(ToString::to_string),
        })
    }

    /// Whether something of each list that is not empty fits.
    pub(crate) fn fits(&self, facts: &Facts) -> bool {
        let fits = |list: &[String], value: &str| list.is_empty() || list.iter().any(|one| one == value);
        let named = [&facts.conversation_ref_id, &facts.conversation_id].into_iter().flatten();
        (self.accounts.is_empty() || self.accounts.contains(&facts.account_id))
            && (self.scopes.is_empty() || self.scopes.contains(&facts.scope_id))
            && fits(&self.kinds, &facts.kind)
            && (self.conversations.is_empty() || named.into_iter().any(|id| self.conversations.contains(id)))
    }
}

/// What a filter looks at.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) account_id: AccountId,
    pub(crate) scope_id: ScopeId,
    pub(crate) kind: String,
    pub(crate) conversation_ref_id: Option<String>,
    pub(crate) conversation_id: Option<String>,
}

/// Which events come again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replay {
    /// From here to the newest.
    pub from: Start,
    /// Only of this scope.
    pub scope: Option<ScopeId>,
}

/// Which events to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventQuery {
    /// Those after this one.
    pub after: Option<String>,
    /// Only of this scope.
    pub scope: Option<ScopeId>,
    /// At most so many.
    pub limit: usize,
}

/// What a store must go on keeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Events received since then, in Unix milliseconds, whoever has settled them. Older ones are
    /// kept while somebody has not.
    pub events_since: i64,
    /// The knowledge of messages seen since then.
    pub messages_since: i64,
}

/// An event that a subscription gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it stands in the subscription.
    pub place: i64,
    /// How often it was handed out.
    pub attempts: u32,
    /// The event. Its body is empty if it was dropped for room.
    pub event: Event,
}

/// What a purge deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Events.
    pub events: u64,
    /// Items of the outbox that had not ended.
    pub open_items: u64,
}

/// What became of an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is kept under this event id.
    Kept(String),
    /// The same message with the same content is kept already.
    Duplicate,
    /// The same message with other content is kept already; this one is kept too, and flagged.
    Conflicting(String),
}

/// Where a new subscription starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event that is kept.
    Oldest,
    /// After the newest event that is kept.
    Now,
    /// At the first event received at or after this time, in Unix milliseconds.
    Since(i64),
    /// After the event of this id.
    After(String),
}

/// A subscription, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionId(pub i64);

/// The state of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionState {
    /// Its number.
    pub id: SubscriptionId,
    /// Its name.
    pub name: String,
    /// When it was made, in Unix milliseconds.
    pub created_at: i64,
    /// Which events it gets.
    pub filter: Filter,
    /// Open events. With more than 10,000 that were never handed out, those count as well that the filter
    /// leaves out.
    pub unsettled: u64,
    /// Events that were given up.
    pub dead: u64,
    /// When the oldest open event was received, in Unix milliseconds.
    pub oldest_unsettled_at: Option<i64>,
}

/// A lease: which event, for whom, and the how-manyeth. A later lease of the same event has
/// another epoch, so that a late settlement cannot hit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// The delivery's place in the subscription.
    pub place: i64,
    /// Counts the leases of this event and subscription.
    pub epoch: i64,
}

impl Token {
    /// The form that consumers see.
    pub fn ack_id(&self) -> String {
        format!("{:x}.{:x}.{:x}", self.subscription.0, self.place, self.epoch)
    }

    /// Reads [`Token::ack_id`] back.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for anything else.
    pub fn from_ack_id(ack_id: &str) -> Result<Self> {
        let invalid = || Error::invalid("ack_id", "is not one that a delivery had");
        let mut parts = ack_id.split('.').map(|part| i64::from_str_radix(part, 16).map_err(|_| invalid()));
        let mut next = || parts.next().unwrap_or_else(|| Err(invalid()));
        let token = Self { subscription: SubscriptionId(next()?), place: next()?, epoch: next()? };
        if token.ack_id() == ack_id { Ok(token) } else { Err(invalid()) }
    }
}

/// An event, leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// The lease.
    pub token: Token,
    /// How many times it was handed out, this time included.
    pub attempt: u32,
    /// It was replayed or requeued: its place in the conversation is not its own.
    pub again: bool,
    /// The event.
    pub event: Event,
}

/// What to do with a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Leased: it was dealt with and is never handed out again.
    Ack,
    /// Leased: it is given up and kept as a dead letter.
    Dead,
    /// Leased: it is held back until [`Settlement::Wake`]. Its conversation waits with it.
    Delay,
    /// Leased: it is ready again.
    Release,
    /// Leased: it is ready again, and was not tried.
    Return,
    /// Delayed: it is ready again.
    Wake,
}

/// What became of a settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is committed.
    Done,
    /// The event is not in that state under that epoch: the lease ended, or it was settled before.
    Lost,
}

pub(crate) fn subscription_not_found(name: &str) -> Error {
    Error::new(ErrorKind::SubscriptionNotFound, format!("there is no subscription {name:?}; create it first"))
}

pub(crate) fn event_not_found(event_id: &str) -> Error {
    Error::invalid("event_id", format!("{event_id:?} is no event of this store"))
}

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ack_ids_are_read_back_and_nothing_else_is() {
        let token = Token { subscription: SubscriptionId(3), place: 255, epoch: 1 };
        assert_eq!(Token::from_ack_id(&token.ack_id()).expect("own"), token);
        for other in ["", "1", "1.2", "1.2.3.4", "a.b.g", "1..2", "-1.+2.3", "01.2.3"] {
            assert!(Token::from_ack_id(other).is_err(), "{other}");
        }
    }
}
