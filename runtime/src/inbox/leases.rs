//! Deliveries and their leases: what is handed out, until when, and what becomes of it.

use super::{ConsumerOptions, Inbox};
use crate::event::Event;
use crate::outbox::Acknowledged;
use crate::store::{Settled, Settlement, SubscriptionId, Token, closed};
use crate::trace::span;
use amochats::{Error, ErrorKind, Result};
use futures_util::future::join_all;
use rand::Rng;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

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

#[derive(Default)]
pub(super) struct Leases {
    pub(super) held: HashMap<Token, Held>,
    pub(super) timers: BTreeMap<(Duration, Token), Timer>,
    /// When an event was refused first, by its subscription and place.
    pub(super) refused: HashMap<(SubscriptionId, i64), Duration>,
}

pub(super) struct Held {
    pub(super) event_id: String,
    pub(super) ends: Duration,
    pub(super) attempt: u32,
    /// Of the event's body.
    pub(super) size: usize,
    /// Its time has come, and the store is being told: too late for an extension.
    pub(super) ending: bool,
    pub(super) consumer: Arc<ConsumerState>,
}

pub(super) enum Timer {
    LeaseEnds,
    Wake,
}

pub(super) struct ConsumerState {
    pub(super) subscription: String,
    pub(super) hands: Mutex<Hands>,
    /// Counts up whenever one of its deliveries is settled.
    pub(super) settled: watch::Sender<u64>,
}

/// What a consumer has.
#[derive(Default)]
pub(super) struct Hands {
    pub(super) unsettled: HashSet<Token>,
    /// Of their bodies.
    pub(super) bytes: usize,
    /// Leased for it, but not yet taken.
    pub(super) waiting: Vec<Delivery>,
    pub(super) closed: Option<End>,
}

/// How a consumer ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// On purpose: what it had was not tried.
    Closed,
    /// It vanished, perhaps because of what it had.
    Vanished,
}

/// What is leased at once, at most.
#[derive(Clone, Copy)]
pub(super) struct Batch {
    pub(super) events: usize,
    pub(super) bytes: usize,
}

impl Inbox {
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
    pub(super) async fn lease_for(
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
    pub(super) async fn give_back(self, from: Arc<ConsumerState>, end: End) {
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

    pub(super) fn leases(&self) -> MutexGuard<'_, Leases> {
        self.0.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConsumerState {
    pub(super) fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn lease_in_range(lease: Duration) -> Result<()> {
    if (Duration::from_secs(1)..=ConsumerOptions::MAX_LEASE).contains(&lease) {
        Ok(())
    } else {
        Err(Error::invalid("lease", "must be 1 s to 12 h"))
    }
}

pub(crate) fn lease_lost() -> Error {
    Error::new(ErrorKind::LeaseLost, "the delivery is no longer leased: it was settled, or its lease ended")
}
