//! Deliveries for receivers that hold no connection: a lease outlives the call that asked for it.

use super::leases::Batch;
use super::{Consumer, ConsumerOptions, Delivery, Inbox};
use crate::store::closed;
use amochats::{Error, ErrorKind, Result};
use std::time::Duration;
use tokio::sync::oneshot;

/// The most deliveries of one pull.
pub const PULL_MAX: usize = 1000;
/// The longest wait of a pull.
pub const PULL_WAIT_MAX: Duration = Duration::from_mins(5);

/// A pull is one message of at most 4 MiB in the usual clients, and a message holds an event twice,
/// as it came and parsed.
const BATCH: Batch = Batch { events: PULL_MAX, bytes: 1 << 20 };

impl Inbox {
    /// Hands out what is ready in a subscription, at most [`ConsumerOptions::max_outstanding`], which
    /// may be 1 to [`PULL_MAX`] here. Where nothing is, it waits until something is, or so long;
    /// nothing may come of it.
    ///
    /// Nobody holds the deliveries but their leases: what is not settled or extended in time is
    /// handed out again. A pull whose future is dropped gives back what it would have brought.
    ///
    /// # Errors
    /// [`ErrorKind::SubscriptionNotFound`]; [`ErrorKind::InvalidArgument`] for options or a wait out
    /// of range; [`ErrorKind::QueueFull`] where too much of the subscription is handed out and not settled;
    /// those of the store.
    pub async fn pull(
        &self,
        subscription: &str,
        options: ConsumerOptions,
        wait: Duration,
    ) -> Result<Vec<Delivery>> {
        if options.max_outstanding > PULL_MAX {
            return Err(Error::invalid("max_events", format!("must be 1 to {PULL_MAX}")));
        }
        if wait > PULL_WAIT_MAX {
            return Err(Error::invalid("wait", "must be at most 5 min"));
        }
        let mut consumer = self.consumer(subscription, options).await?;
        consumer.batch = BATCH;
        let held =
            self.leases().held.keys().filter(|token| token.subscription == consumer.subscription).count();
        if held >= ConsumerOptions::MAX_OUTSTANDING {
            let full =
                "too many deliveries of the subscription are not settled; settle some before the next pull";
            return Err(Error::new(ErrorKind::QueueFull, full));
        }
        let (answer, answered) = oneshot::channel();
        // A task of its own: who asked may go away at any moment, and what was leased meanwhile is
        // given back as not tried.
        tokio::spawn(consumer.pull(wait, answer));
        answered.await.map_err(|_| closed())?
    }
}

impl Consumer {
    async fn pull(mut self, wait: Duration, mut answer: oneshot::Sender<Result<Vec<Delivery>>>) {
        let clock = self.inbox.0.clock.clone();
        let ends = clock.monotonic().saturating_add(wait);
        let pulled = match self.lease_now().await {
            Ok((deliveries, _)) if deliveries.is_empty() && !wait.is_zero() => tokio::select! {
                biased;
                () = answer.closed() => return self.close().await,
                deliveries = self.next() => deliveries,
                () = clock.sleep_until(ends) => Ok(Vec::new()),
            },
            Ok((deliveries, _)) => Ok(deliveries),
            Err(error) => Err(error),
        };
        // The leases stay without the consumer, unless nobody has heard of them. What came with the end of
        // the wait is not in `pulled` yet.
        let (held, late) = {
            let mut hands = self.state.hands();
            (std::mem::take(&mut hands.unsettled), std::mem::take(&mut hands.waiting))
        };
        let pulled = pulled.map(|mut deliveries| {
            deliveries.extend(late);
            deliveries
        });
        let failed = pulled.is_err();
        if answer.send(pulled).is_err() || failed {
            self.state.hands().unsettled = held;
        }
        self.close().await;
    }
}
