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
//! At most one delivery of a conversation and subscription is ready, leased or delayed at a time:
//! this is the order of G3. What was leased or delayed when the process ended is ready at the
//! next start.

pub(crate) mod memory;
pub(crate) mod sqlite;

pub use memory::MemoryStore;
pub use sqlite::SqliteStore;

use crate::backfill::BackfillStore;
use crate::event::{Event, NewEvent};
use crate::outbox::store::OutboxStore;
use amochats::{Error, ErrorKind, Result};
use async_trait::async_trait;

/// Keeps events durably and says who has dealt with them.
///
/// Every method's `Ok` means that its effect is committed as durably as the store can. A method
/// whose future is dropped may have had its effect; so [`Store::lease`] must be run to its end, or
/// what it leased is nobody's until the store is opened again.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Keeps an event and opens it for every subscription.
    async fn append(&self, event: NewEvent) -> Result<Appended>;

    /// Makes a subscription, unless one of that name exists; says which it is and whether it is new.
    async fn create_subscription(
        &self,
        name: &str,
        start: Start,
        created_at: i64,
    ) -> Result<(SubscriptionId, bool)>;

    /// The subscription of that name.
    async fn subscription(&self, name: &str) -> Result<SubscriptionId>;

    /// Deletes a subscription and all that waits in it.
    async fn delete_subscription(&self, name: &str) -> Result<()>;

    /// All subscriptions by name, with their state.
    async fn subscriptions(&self) -> Result<Vec<SubscriptionState>>;

    /// Leases up to `max` ready events, in the order of keeping.
    async fn lease(&self, subscription: SubscriptionId, max: usize) -> Result<Vec<Leased>>;

    /// Settles leased events; each one's result stands at its place.
    async fn settle(&self, settlements: Vec<(Token, Settlement)>) -> Result<Vec<Settled>>;

    /// Where the same store keeps what goes out, so that both can change in one transaction.
    fn outbox(&self) -> &dyn OutboxStore;

    /// Where the same store keeps what is to be fetched.
    fn backfill(&self) -> &dyn BackfillStore;

    /// Checks that the store works, for readiness.
    async fn ping(&self) -> Result<()>;

    /// Ends the store: what was accepted is finished, then nothing is accepted any more.
    async fn close(&self);
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At the oldest event that is kept.
    Oldest,
    /// After the newest event that is kept.
    Now,
    /// At the first event received at or after this time, in Unix milliseconds.
    Since(i64),
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
    /// Open events: waiting, ready, leased or delayed.
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
    /// The event's place in the store.
    pub seq: i64,
    /// Counts the leases of this event and subscription.
    pub epoch: i64,
}

impl Token {
    /// The form that consumers see.
    pub fn ack_id(&self) -> String {
        format!("{:x}.{:x}.{:x}", self.subscription.0, self.seq, self.epoch)
    }

    /// Reads [`Token::ack_id`] back.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for anything else.
    pub fn from_ack_id(ack_id: &str) -> Result<Self> {
        let invalid = || Error::invalid("ack_id", "is not one that a delivery had");
        let mut parts = ack_id.split('.').map(|part| i64::from_str_radix(part, 16).map_err(|_| invalid()));
        let mut next = || parts.next().unwrap_or_else(|| Err(invalid()));
        let token = Self { subscription: SubscriptionId(next()?), seq: next()?, epoch: next()? };
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

pub(crate) fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the store is closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ack_ids_are_read_back_and_nothing_else_is() {
        let token = Token { subscription: SubscriptionId(3), seq: 255, epoch: 1 };
        assert_eq!(Token::from_ack_id(&token.ack_id()).expect("own"), token);
        for other in ["", "1", "1.2", "1.2.3.4", "a.b.g", "1..2", "-1.+2.3", "01.2.3"] {
            assert!(Token::from_ack_id(other).is_err(), "{other}");
        }
    }
}
