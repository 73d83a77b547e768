//! Who receives the events of a subscription.

use super::Inbox;
use super::leases::{Batch, ConsumerState, Delivery, End, lease_in_range};
use crate::store::{Filter, Start, SubscriptionId, closed};
#[cfg(doc)]
use amochats::ErrorKind;
use amochats::{Error, Result};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The most deliveries handed out at once, and the most bytes of their bodies, so that one batch
/// stays a modest message.
const BATCH: Batch = Batch { events: 100, bytes: 2 << 20 };

/// How the names of temporary subscriptions begin; no other name can.
pub(crate) const TEMPORARY: char = '~';

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

impl Default for ConsumerOptions {
    fn default() -> Self {
        Self { max_outstanding: 100, max_outstanding_bytes: usize::MAX, lease: Duration::from_mins(1) }
    }
}

impl Inbox {
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
}

/// Receives the events of a subscription. What it has not settled when it is closed or dropped is
/// handed out again.
pub struct Consumer {
    pub(super) inbox: Inbox,
    name: String,
    pub(super) subscription: SubscriptionId,
    options: ConsumerOptions,
    pub(super) batch: Batch,
    pub(super) state: Arc<ConsumerState>,
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
    pub(super) async fn lease_now(&mut self) -> Result<(Vec<Delivery>, bool)> {
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
