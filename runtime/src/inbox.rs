//! Hands kept events out until they are settled.
//!
//! The store says which events are open; this module adds time and consumers: a lease that ends,
//! a delay that is over, a consumer that goes away all hand the event out again.

mod look;
mod pull;

pub use look::{EventLife, SUMMARIES_MAX};
pub use pull::{PULL_MAX, PULL_WAIT_MAX};

use crate::clock::Clock;
use crate::event::{Event, NewEvent};
use crate::outbox::Acknowledged;
use crate::store::{
    Appended, DeadLetter, EventQuery, Filter, Keep, Replay, Settled, Settlement, Start, Store,
    SubscriptionId, SubscriptionState, Token, closed,
};
use crate::trace::span;
use amochats::{Error, ErrorKind, Result, ScopeId};
use futures_util::future::join_all;
use rand::Rng;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// The most deliveries handed out at once, and the most bytes of their bodies, so that one batch
/// stays a modest message.
const BATCH: Batch = Batch { events: 100, bytes: 2 << 20 };
/// How many live events a slow consumer may lag behind before it misses some.
const LIVE: usize = 256;

/// How the names of temporary subscriptions begin; no other name can.
pub(crate) const TEMPORARY: char = '~';

/// How deliveries are repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redelivery {
    /// After this many attempts an event becomes a dead letter.
    pub max_attempts: u32,
    /// The delay after the first failed attempt; it doubles with each further one.
    pub min_delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
    /// An event that is refused again so long after it was refused first becomes a dead letter,
    /// whatever attempts it has left: its conversation waits with it.
    pub max_blocked: Duration,
}

impl Default for Redelivery {
    fn default() -> Self {
        Self {
            max_attempts: 20,
            min_delay: Duration::from_secs(1),
            max_delay: Duration::from_mins(5),
            max_blocked: Duration::from_hours(6),
        }
    }
}

impl Redelivery {
    /// The delay after `failures` failed attempts: none at first, then doubling, with up to a
    /// quarter taken off at random so that what failed together does not come back together.
    fn delay(&self, failures: u32) -> Duration {
        if failures == 0 {
            return Duration::ZERO;
        }
        let factor = 2u32.saturating_pow(failures - 1);
        let delay = self.min_delay.saturating_mul(factor).min(self.max_delay);
        delay.mul_f64(rand::rng().random_range(0.75..=1.0))
    }
}

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

#[derive(Default)]
struct Leases {
    held: HashMap<Token, Held>,
    timers: BTreeMap<(Duration, Token), Timer>,
    /// When an event was refused first, by its subscription and place.
    refused: HashMap<(SubscriptionId, i64), Duration>,
}

struct Held {
    event_id: String,
    ends: Duration,
    attempt: u32,
    /// Of the event's body.
    size: usize,
    /// Its time has come, and the store is being told: too late for an extension.
    ending: bool,
    consumer: Arc<ConsumerState>,
}

enum Timer {
    LeaseEnds,
    Wake,
}

struct ConsumerState {
    subscription: String,
    hands: Mutex<Hands>,
    /// Counts up whenever one of its deliveries is settled.
    settled: watch::Sender<u64>,
}

/// What a consumer has.
#[derive(Default)]
struct Hands {
    unsettled: HashSet<Token>,
    /// Of their bodies.
    bytes: usize,
    /// Leased for it, but not yet taken.
    waiting: Vec<Delivery>,
    closed: Option<End>,
}

/// How a consumer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// On purpose: what it had was not tried.
    Closed,
    /// It vanished, perhaps because of what it had.
    Vanished,
}

/// What is leased at once, at most.
#[derive(Clone, Copy)]
struct Batch {
    events: usize,
    bytes: usize,
}

/// A delivery: an event, handed out.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What to settle it with.
    pub ack_id: String,
    /// 1 for the first time.
    pub attempt: u32,
    /// It was replayed or requeued, so it is out of its order.
    pub again: bool,
    /// The event.
    pub event: Event,
}

/// What a consumer says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was dealt with.
    Ack,
    /// Hand it out again: after this delay, or one that grows with each attempt. After the last
    /// attempt it becomes a dead letter.
    Nack(Option<Duration>),
    /// It becomes a dead letter at once.
    Dead,
}

impl Verdict {
    fn name(self) -> &'static str {
        match self {
            Self::Ack => "ack",
            Self::Nack(_) => "nack",
            Self::Dead => "dead",
        }
    }
}

/// How a consumer wants its deliveries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerOptions {
    /// The most deliveries that may be unsettled at a time.
    pub max_outstanding: usize,
    /// The most bytes of their bodies, from 1 on; of one delivery it may be more, or an event that is
    /// larger would never come.
    pub max_outstanding_bytes: usize,
    /// How long a delivery may stay unsettled before it is handed out again.
    pub lease: Duration,
}

impl ConsumerOptions {
    /// The longest lease.
    pub const MAX_LEASE: Duration = Duration::from_hours(12);
    /// The most that may be unsettled.
    pub const MAX_OUTSTANDING: usize = 10_000;

    fn validate(&self) -> Result<()> {
        if !(1..=Self::MAX_OUTSTANDING).contains(&self.max_outstanding) {
            let rule = format!("must be 1 to {}", Self::MAX_OUTSTANDING);
            return Err(Error::invalid("max_outstanding", rule));
        }
        if self.max_outstanding_bytes == 0 {
            return Err(Error::invalid("max_outstanding_bytes", "must be 1 or more"));
        }
        lease_in_range(self.lease)
    }
}

fn lease_in_range(lease: Duration) -> Result<()> {
    if (Duration::from_secs(1)..=ConsumerOptions::MAX_LEASE).contains(&lease) {
        Ok(())
    } else {
        Err(Error::invalid("lease", "must be 1 s to 12 h"))
    }
}

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self { max_outstanding: 100, max_outstanding_bytes: usize::MAX, lease: Duration::from_mins(1) }
    }
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

    /// Ends leases and delays when their time comes, until `stop`.
    pub async fn run(&self, stop: CancellationToken) {
        let mut timers = self.0.timers.subscribe();
        loop {
            timers.mark_unchanged();
            let next = self.leases().timers.keys().next().map(|(at, _)| *at);
            let due = async {
                match next {
                    Some(at) => self.0.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                _ = timers.changed() => {}
                () = due => self.end_what_is_due().await,
            }
        }
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

    async fn end_what_is_due(&self) {
        let now = self.0.clock.monotonic();
        let mut wake = Vec::new();
        let mut ended = Vec::new();
        {
            let mut leases = self.leases();
            while let Some(entry) = leases.timers.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                let ((_, token), timer) = entry.remove_entry();
                match timer {
                    Timer::Wake => wake.push(token),
                    Timer::LeaseEnds => {
                        if let Some(held) = leases.held.get_mut(&token) {
                            held.ending = true;
                        }
                        ended.push(token);
                    }
                }
            }
        }
        let wakes: Vec<_> = wake.iter().map(|token| (*token, Settlement::Wake)).collect();
        if !wakes.is_empty() {
            match self.0.store.settle(wakes, self.0.clock.now_msec()).await {
                Ok(_) => {}
                // The store is out of order: try again, or these events would wait for a restart.
                Err(_) => {
                    for token in wake {
                        self.set_timer(Duration::from_secs(1), token, Timer::Wake);
                    }
                }
            }
        }
        // Together, so that one commit serves them all.
        join_all(ended.into_iter().map(|token| async move {
            tracing::debug!(ack_id = token.ack_id(), "a lease ended");
            // An error leaves the lease with its new timer; a lost lease is none of our concern.
            if self.settle_token(token, Verdict::Nack(None)).await.is_err()
                && self.leases().held.contains_key(&token)
            {
                self.set_timer(Duration::from_secs(1), token, Timer::LeaseEnds);
            }
        }))
        .await;
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

    /// A consumer of a subscription, one of possibly several.
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`]; [`ErrorKind::InvalidArgument`] for options out of range;
    /// those of the store.
    pub async fn consumer(&self, subscription: &str, options: ConsumerOptions) -> Result<Consumer> {
        options.validate()?;
        let id = self.0.store.subscription(subscription).await?;
        let settled = watch::Sender::new(0);
        Ok(Consumer {
            ready: self.0.store.changes(),
            settled: settled.subscribe(),
            leasing: None,
            batch: BATCH,
            inbox: self.clone(),
            name: subscription.to_owned(),
            subscription: id,
            options,
            runtime: Handle::try_current().ok(),
            state: Arc::new(ConsumerState {
                subscription: subscription.to_owned(),
                hands: Mutex::default(),
                settled,
            }),
        })
    }

    /// A consumer with a subscription of its own, which starts now and leaves no trace.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for options out of range; those of the store.
    pub async fn temporary_consumer(&self, options: ConsumerOptions) -> Result<Consumer> {
        self.temporary_filtered(options, Start::Now, Filter::default()).await
    }

    /// As [`Inbox::temporary_consumer`], from another point on, for the events that fit a filter.
    ///
    /// # Errors
    /// As for [`Inbox::temporary_consumer`]; [`ErrorKind::InvalidArgument`] for an event of another
    /// store.
    pub async fn temporary_filtered(
        &self,
        options: ConsumerOptions,
        start: Start,
        filter: Filter,
    ) -> Result<Consumer> {
        options.validate()?;
        let name = format!("{TEMPORARY}{}", uuid::Uuid::new_v4().simple());
        let (inbox, now) = (self.clone(), self.0.clock.now_msec());
        // A task of its own: if this future is dropped, the consumer that comes of it is dropped with what
        // is its own, or the subscription would stay and collect events for nobody.
        let opened = tokio::spawn(async move {
            inbox.0.store.create_subscription(&name, start, filter, now).await?;
            let consumer = inbox.consumer(&name, options).await;
            if consumer.is_err() {
                // If the store fails here, too, the next start deletes it.
                let _ = inbox.0.store.delete_subscription(&name).await;
            }
            consumer
        });
        opened.await.map_err(|_| closed())?
    }

    /// Deletes the temporary subscriptions of a process that was killed.
    pub(crate) async fn delete_temporary(&self) -> Result<()> {
        for left in self.0.store.subscriptions().await? {
            if left.name.starts_with(TEMPORARY) {
                self.0.store.delete_subscription(&left.name).await?;
            }
        }
        Ok(())
    }

    /// The events that are handed out live and not kept.
    pub fn live(&self) -> broadcast::Receiver<Arc<Event>> {
        self.0.live.subscribe()
    }

    /// Settles a delivery. `Ok` means that it is committed: an acknowledged event never comes back.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] where the lease ended or it was settled before;
    /// [`ErrorKind::InvalidArgument`] for another text than a delivery's `ack_id`, or a delay of
    /// more than 12 h; those of the store, after which it may come back.
    pub async fn settle(&self, ack_id: &str, verdict: Verdict) -> Result<()> {
        let token = Token::from_ack_id(ack_id)?;
        if matches!(verdict, Verdict::Nack(Some(delay)) if delay > ConsumerOptions::MAX_LEASE) {
            return Err(Error::invalid("delay", "must be at most 12 h"));
        }
        self.settle_token(token, verdict).await
    }

    /// Settles a delivery by a transaction of the outbox, which acknowledges it and does more.
    pub(crate) async fn acknowledge(
        &self,
        token: Token,
        transaction: impl Future<Output = Result<Acknowledged>>,
    ) -> Result<Acknowledged> {
        if !self.leases().held.contains_key(&token) {
            return Ok(Acknowledged::Lost);
        }
        let span = span!("settle", ack_id = token.ack_id(), verdict = "ack with status");
        let acknowledged = transaction.instrument(span).await?;
        if acknowledged != Acknowledged::NotReportable {
            self.forget(token);
        }
        if matches!(acknowledged, Acknowledged::Done(_)) {
            self.leases().refused.remove(&(token.subscription, token.place));
        }
        Ok(acknowledged)
    }

    /// Gives a delivery more time, from now on.
    ///
    /// # Errors
    /// [`ErrorKind::LeaseLost`] where the lease ended or it was settled;
    /// [`ErrorKind::InvalidArgument`] for another text than a delivery's `ack_id` or a lease out of range.
    pub fn extend(&self, ack_id: &str, lease: Duration) -> Result<()> {
        let token = Token::from_ack_id(ack_id)?;
        lease_in_range(lease)?;
        let ends = self.0.clock.monotonic() + lease;
        let mut leases = self.leases();
        let Leases { held, timers, .. } = &mut *leases;
        let held = held.get_mut(&token).filter(|held| !held.ending).ok_or_else(lease_lost)?;
        timers.remove(&(held.ends, token));
        held.ends = ends;
        timers.insert((ends, token), Timer::LeaseEnds);
        drop(leases);
        self.timer_was_set();
        Ok(())
    }

    async fn settle_token(&self, token: Token, verdict: Verdict) -> Result<()> {
        // A task of its own: the caller may give up waiting, yet the timers must follow what was
        // committed, or a delayed event would stay delayed.
        let span = span!("settle", ack_id = token.ack_id(), verdict = verdict.name());
        let settle = tokio::spawn(self.clone().settle_held(token, verdict).instrument(span));
        settle.await.map_err(|_| closed())?
    }

    async fn settle_held(self, token: Token, verdict: Verdict) -> Result<()> {
        let held = |held: &Held| (held.attempt, held.event_id.clone(), held.consumer.clone());
        let (attempt, event_id, consumer) =
            self.leases().held.get(&token).map(held).ok_or_else(lease_lost)?;
        let now = self.0.clock.monotonic();
        let refused = self.leases().refused.get(&(token.subscription, token.place)).copied().unwrap_or(now);
        let blocked = now.saturating_sub(refused);
        let (settlement, delay) = match verdict {
            Verdict::Ack => (Settlement::Ack, Duration::ZERO),
            Verdict::Dead => (Settlement::Dead, Duration::ZERO),
            Verdict::Nack(_)
                if attempt >= self.0.redelivery.max_attempts || blocked >= self.0.redelivery.max_blocked =>
            {
                (Settlement::Dead, Duration::ZERO)
            }
            Verdict::Nack(delay) => match delay.unwrap_or_else(|| self.0.redelivery.delay(attempt)) {
                Duration::ZERO => (Settlement::Release, Duration::ZERO),
                delay => (Settlement::Delay, delay),
            },
        };
        let settled = self.0.store.settle(vec![(token, settlement)], self.0.clock.now_msec()).await?;
        self.forget(token);
        if settled != [Settled::Done] {
            return Err(lease_lost());
        }
        match settlement {
            Settlement::Ack | Settlement::Dead => {
                self.leases().refused.remove(&(token.subscription, token.place));
            }
            _ => {
                self.leases().refused.entry((token.subscription, token.place)).or_insert(now);
            }
        }
        if settlement == Settlement::Dead {
            tracing::warn!(
                event_id,
                subscription = consumer.subscription,
                attempt,
                "an event was given up and is a dead letter now"
            );
        }
        if settlement == Settlement::Delay {
            self.set_timer(delay, token, Timer::Wake);
        }
        Ok(())
    }

    /// Leases events for a consumer and puts them into its hands.
    async fn lease_for(
        self,
        subscription: SubscriptionId,
        batch: Batch,
        lease: Duration,
        to: Arc<ConsumerState>,
    ) -> Result<()> {
        let leased =
            self.0.store.lease(subscription, batch.events, batch.bytes, self.0.clock.now_msec()).await?;
        if leased.is_empty() {
            return Ok(());
        }
        let ends = self.0.clock.monotonic() + lease;
        let closed = {
            let mut leases = self.leases();
            let mut hands = to.hands();
            for one in leased {
                let (attempt, size) = (one.attempt, one.event.raw.len());
                let (event_id, consumer) = (one.event.event_id.clone(), to.clone());
                leases
                    .held
                    .insert(one.token, Held { event_id, ends, attempt, size, ending: false, consumer });
                hands.bytes = hands.bytes.saturating_add(size);
                leases.timers.insert((ends, one.token), Timer::LeaseEnds);
                hands.unsettled.insert(one.token);
                hands.waiting.push(Delivery {
                    ack_id: one.token.ack_id(),
                    attempt: one.attempt,
                    again: one.again,
                    event: one.event,
                });
            }
            hands.closed
        };
        self.timer_was_set();
        if let Some(end) = closed {
            self.give_back(to, end).await;
        }
        Ok(())
    }

    /// Hands out again what a consumer leaves behind. If it ended on purpose, that was no attempt. If
    /// it vanished it has failed its attempt: the first time that costs no delay, then it does, or an
    /// event that kills its consumers would do so without end.
    async fn give_back(self, from: Arc<ConsumerState>, end: End) {
        let tokens: Vec<Token> = {
            let mut hands = from.hands();
            hands.waiting.clear();
            hands.unsettled.iter().copied().collect()
        };
        if end == End::Closed {
            let returned = tokens.iter().map(|token| (*token, Settlement::Return)).collect();
            // If the store fails, the lease's own end hands it out again.
            if self.0.store.settle(returned, self.0.clock.now_msec()).await.is_ok() {
                for token in tokens {
                    self.forget(token);
                }
            }
            return;
        }
        // Together, so that one commit serves them all.
        join_all(tokens.into_iter().map(|token| {
            let attempt = self.leases().held.get(&token).map_or(0, |held| held.attempt);
            let delay = self.0.redelivery.delay(attempt.saturating_sub(1));
            self.settle_token(token, Verdict::Nack(Some(delay)))
        }))
        .await;
    }

    fn forget(&self, token: Token) {
        let mut leases = self.leases();
        if let Some(held) = leases.held.remove(&token) {
            leases.timers.remove(&(held.ends, token));
            let mut hands = held.consumer.hands();
            hands.unsettled.remove(&token);
            hands.bytes = hands.bytes.saturating_sub(held.size);
            drop(hands);
            held.consumer.settled.send_modify(|count| *count = count.wrapping_add(1));
        }
    }

    fn set_timer(&self, delay: Duration, token: Token, timer: Timer) {
        let at = self.0.clock.monotonic().saturating_add(delay);
        let mut leases = self.leases();
        if let (Timer::LeaseEnds, Some(held)) = (&timer, leases.held.get_mut(&token)) {
            held.ends = at;
            held.ending = false;
        }
        leases.timers.insert((at, token), timer);
        drop(leases);
        self.timer_was_set();
    }

    fn timer_was_set(&self) {
        self.0.timers.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsumerState {
    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Receives the events of a subscription. What it has not settled when it is closed or dropped is
/// handed out again.
pub struct Consumer {
    inbox: Inbox,
    name: String,
    subscription: SubscriptionId,
    options: ConsumerOptions,
    batch: Batch,
    state: Arc<ConsumerState>,
    ready: watch::Receiver<()>,
    settled: watch::Receiver<u64>,
    /// Where it was made: it may be dropped elsewhere, such as on a thread of a host.
    runtime: Option<Handle>,
    /// The lease that is under way.
    leasing: Option<JoinHandle<Result<()>>>,
}

impl Consumer {
    /// Waits for deliveries: at least one, at most as many as may still be outstanding. Dropping
    /// the future loses nothing.
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`] once the subscription is deleted; those of the store.
    pub async fn next(&mut self) -> Result<Vec<Delivery>> {
        loop {
            let (waiting, asked) = self.lease_now().await?;
            if !waiting.is_empty() {
                return Ok(waiting);
            }
            if asked {
                let _ = self.ready.changed().await;
            } else {
                let _ = self.settled.changed().await;
            }
        }
    }

    /// What is ready now; says also whether the store was asked, which it is not without room.
    async fn lease_now(&mut self) -> Result<(Vec<Delivery>, bool)> {
        if self.leasing.is_none() {
            // Seen before the question is asked, so that no change in between is missed.
            self.ready.mark_unchanged();
            self.settled.mark_unchanged();
            let room = self.options.max_outstanding.saturating_sub(self.outstanding());
            let bytes = self.options.max_outstanding_bytes.saturating_sub(self.state.hands().bytes);
            if room > 0 && bytes > 0 {
                // A task of its own: if this future is dropped, the next call waits for it, and
                // does not lease beside it.
                let batch = Batch { events: room.min(self.batch.events), bytes: bytes.min(self.batch.bytes) };
                let (inbox, to) = (self.inbox.clone(), self.state.clone());
                let lease = inbox.lease_for(self.subscription, batch, self.options.lease, to);
                self.leasing = Some(tokio::spawn(lease));
            }
        }
        let asked = self.leasing.is_some();
        if let Some(leasing) = &mut self.leasing {
            let leased = leasing.await;
            self.leasing = None;
            leased.map_err(|_| closed())??;
        }
        Ok((std::mem::take(&mut self.state.hands().waiting), asked))
    }

    /// How many deliveries are unsettled.
    pub fn outstanding(&self) -> usize {
        self.state.hands().unsettled.len()
    }

    /// The subscription's name.
    pub fn subscription(&self) -> &str {
        &self.name
    }

    /// The lease that its deliveries get.
    pub fn lease(&self) -> Duration {
        self.options.lease
    }

    /// The inbox, to settle with.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Ends the consumer and waits until what it left unsettled can be handed out again, as if it
    /// had not been.
    pub async fn close(self) {
        if let Some(end) = self.end(End::Closed) {
            end.await;
        }
    }

    /// As [`Consumer::close`] where the receiver of its deliveries vanished, perhaps because of what
    /// it had: that was a failed attempt. Dropping the consumer does the same without waiting.
    pub async fn abandon(self) {
        if let Some(end) = self.end(End::Vanished) {
            end.await;
        }
    }

    /// What remains to be done at the end; nothing the second time.
    fn end(&self, end: End) -> Option<impl Future<Output = ()> + Send + use<>> {
        let (closed, nothing_held) = {
            let mut hands = self.state.hands();
            let closed = hands.closed.is_some();
            // The first end counts: a lease still under way is given back by it after the drop, too.
            hands.closed.get_or_insert(end);
            (closed, hands.unsettled.is_empty())
        };
        let temporary = self.name.starts_with(TEMPORARY);
        if closed || (nothing_held && !temporary) {
            return None;
        }
        let (inbox, name, state) = (self.inbox.clone(), self.name.clone(), self.state.clone());
        Some(async move {
            if temporary {
                // If the store fails, the next start deletes it.
                let _ = inbox.delete_subscription(&name).await;
            }
            inbox.give_back(state, end).await;
        })
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        if let (Some(end), Some(runtime)) = (self.end(End::Vanished), &self.runtime) {
            runtime.spawn(end);
        }
    }
}

pub(crate) fn lease_lost() -> Error {
    Error::new(ErrorKind::LeaseLost, "the delivery is no longer leased: it was settled, or its lease ended")
}

fn valid_name(name: &str) -> Result<()> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        Ok(())
    } else {
        Err(Error::invalid("subscription", "must be 1 to 64 letters, digits, \"-\", \"_\" and \".\""))
    }
}
