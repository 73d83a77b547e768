//! Hands kept events out until they are settled.
//!
//! The store says which events are open; this module adds time and consumers: a lease that ends,
//! a delay that is over, a consumer that goes away all hand the event out again.

mod consumer;
mod leases;
mod look;
mod pull;

pub use consumer::{Consumer, ConsumerOptions};
pub use leases::{Delivery, Redelivery, Verdict};
pub use look::{EventLife, SUMMARIES_MAX};
pub use pull::{PULL_MAX, PULL_WAIT_MAX};

pub(crate) use consumer::TEMPORARY;
pub(crate) use leases::lease_lost;

use crate::clock::Clock;
use crate::event::{Event, NewEvent};
use crate::store::{
    Appended, DeadLetter, EventQuery, Filter, Keep, Replay, Start, Store, SubscriptionId, SubscriptionState,
};
#[cfg(doc)]
use amochats::ErrorKind;
use amochats::{Error, Result, ScopeId};
use leases::Leases;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// How many live events a slow consumer may lag behind before it misses some.
const LIVE: usize = 256;

/// How long things are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Events, whoever has settled them; longer, while somebody has not.
    pub events: Duration,
    /// The knowledge of messages that were seen.
    pub messages: Duration,
    /// From so many unsettled events on, a subscription is warned of.
    pub backlog_alarm: u64,
    /// How often it is looked after.
    pub every: Duration,
}

/// The inbox: what webhooks brought, for as many subscriptions as there are.
#[derive(Clone)]
pub struct Inbox(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    redelivery: Redelivery,
    leases: Mutex<Leases>,
    /// Counts up whenever a timer was set.
    timers: watch::Sender<u64>,
    live: broadcast::Sender<Arc<Event>>,
    /// How many open items of the outbox purges took away.
    purged_items: watch::Sender<u64>,
}

impl Inbox {
    /// An inbox over a store. [`Inbox::run`] must run beside it.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, redelivery: Redelivery) -> Self {
        Self(Arc::new(Inner {
            store,
            clock,
            redelivery,
            leases: Mutex::default(),
            timers: watch::Sender::new(0),
            live: broadcast::Sender::new(LIVE),
            purged_items: watch::Sender::new(0),
        }))
    }

    /// Deletes what need not be kept any more, and looks after subscriptions that nobody empties,
    /// now and then until `stop`.
    pub async fn maintain(&self, retention: Retention, stop: CancellationToken) {
        loop {
            self.maintain_once(&retention).await;
            let next = self.0.clock.monotonic().saturating_add(retention.every);
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.0.clock.sleep_until(next) => {}
            }
        }
    }

    async fn maintain_once(&self, retention: &Retention) {
        let before = |age: Duration| {
            self.0.clock.now_msec().saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
        };
        let keep =
            Keep { events_since: before(retention.events), messages_since: before(retention.messages) };
        if let Err(error) = self.0.store.maintain(keep).await {
            tracing::warn!(kind = error.kind().name(), "what is too old could not be deleted: {error}");
        }
        for state in self.subscriptions().await.unwrap_or_default() {
            if state.unsettled >= retention.backlog_alarm {
                tracing::warn!(
                    subscription = state.name,
                    unsettled = state.unsettled,
                    "a subscription is not emptied; see to its consumers, or delete it"
                );
            }
        }
    }

    /// Keeps an event durably and offers it to every subscription.
    ///
    /// # Errors
    /// Those of the store: then it is not promised to be kept.
    pub async fn append(&self, event: NewEvent) -> Result<Appended> {
        self.0.store.append(event).await
    }

    /// Hands an event out to whoever listens at this moment, without keeping it.
    pub fn append_live(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.0.live.send(Arc::new(event));
    }

    /// Makes a subscription, unless there is one of that name; says whether it is new.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a name that is not 1 to 64 letters, digits, `-`, `_`, `.`;
    /// those of the store.
    pub async fn create_subscription(&self, name: &str, start: Start) -> Result<bool> {
        self.create_filtered(name, start, Filter::default()).await
    }

    /// As [`Inbox::create_subscription`], for the events that fit a filter.
    ///
    /// # Errors
    /// As for [`Inbox::create_subscription`].
    pub async fn create_filtered(&self, name: &str, start: Start, filter: Filter) -> Result<bool> {
        valid_name(name)?;
        let made = self.0.store.create_subscription(name, start, filter, self.0.clock.now_msec()).await?;
        Ok(made.1)
    }

    /// The lasting subscriptions by name, with their state.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn subscriptions(&self) -> Result<Vec<SubscriptionState>> {
        let mut all = self.0.store.subscriptions().await?;
        all.retain(|state| !state.name.starts_with(TEMPORARY));
        Ok(all)
    }

    /// How many events of each subscription are handed out and not settled.
    pub fn outstanding(&self) -> HashMap<SubscriptionId, usize> {
        let mut counts = HashMap::new();
        for token in self.leases().held.keys() {
            *counts.entry(token.subscription).or_default() += 1;
        }
        counts
    }

    /// Deletes a subscription and all that waits in it. Its consumers end with
    /// [`ErrorKind::SubscriptionNotFound`].
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`]; those of the store.
    pub async fn delete_subscription(&self, name: &str) -> Result<()> {
        let id = self.0.store.subscription(name).await?;
        self.0.store.delete_subscription(name).await?;
        self.leases().refused.retain(|(subscription, _), _| *subscription != id);
        Ok(())
    }

    /// Hands events out again that were kept before, at the end of a subscription and marked; says
    /// how many at most, since the subscription's filter goes for them, too.
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`]; [`ErrorKind::InvalidArgument`] for an event of another
    /// store; those of the store.
    pub async fn replay(&self, subscription: &str, replay: Replay) -> Result<u64> {
        self.0.store.replay(subscription, replay).await
    }

    /// What a subscription has given up, after this place, in the order of handing out.
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`]; those of the store.
    pub async fn dead_letters(
        &self,
        subscription: &str,
        after: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetter>> {
        self.0.store.dead_letters(subscription, after, limit).await
    }

    /// Hands dead letters out again, those at these places or all, at the end and marked. Says how
    /// many.
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`]; those of the store.
    pub async fn requeue(&self, subscription: &str, places: Option<Vec<i64>>) -> Result<u64> {
        self.0.store.take_dead_letters(subscription, places, true).await
    }

    /// Drops dead letters, those at these places or all. Says how many.
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`]; those of the store.
    pub async fn drop_dead_letters(&self, subscription: &str, places: Option<Vec<i64>>) -> Result<u64> {
        self.0.store.take_dead_letters(subscription, places, false).await
    }

    /// An event that is kept.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn event(&self, event_id: &str) -> Result<Option<Event>> {
        self.0.store.event(event_id).await
    }

    /// Events that are kept, oldest first.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an event of another store; those of the store.
    pub async fn events(&self, query: EventQuery) -> Result<Vec<Event>> {
        self.0.store.events(query).await
    }

    /// Deletes the events of a conversation, by either id, settled or not, in this store for good;
    /// says how many. With them go its items of the outbox, but for one that is on its way at the
    /// moment, and within a minute its files.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn purge(&self, scope: &ScopeId, conversation: &str) -> Result<u64> {
        let purged = self.0.store.purge(scope, conversation).await?;
        self.0.purged_items.send_modify(|items| *items += purged.open_items);
        Ok(purged.events)
    }

    /// How many open items of the outbox purges took away by now.
    pub(crate) fn purged_items(&self) -> watch::Receiver<u64> {
        self.0.purged_items.subscribe()
    }

    /// The events that are handed out live and not kept.
    pub fn live(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.live.subscribe()
    }
}

fn valid_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(Error::invalid("subscription", "must be 1 to 64 letters, digits, \"-\", \"_\" and \".\""))
    }
}
