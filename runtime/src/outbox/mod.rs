//! Sends what is to go to the CRM, and says what became of it.
//!
//! An item is kept before [`Outbox::enqueue`] returns. The items of a conversation go out one after
//! the other, different conversations beside each other. What fails is tried again where that is
//! safe; what may have arrived is looked for before anything else is done. Each item ends as
//! `sent`, `rejected` or `unknown`, or before it was sent as `cancelled` or `expired`, and an event
//! of the kind `outbox` tells of it.
//!
//! ```text
//!            begin                      the service took it
//!  queued ──────────▶ sending ─────────────────────────────────▶ sent
//!    ▲  ◀── again ──────┤ │ └──── it refused ──────────────────▶ rejected
//!    │                  │ └ may have arrived ▶ resolving ─ found ▶ sent
//!    │                  └──── once more ◀─────────┘    └─ not ───▶ unknown
//! ```
//! That an item is on the wire is committed before it goes there: what a crash finds so is looked
//! for first.

mod circuit;
pub(crate) mod item;
mod lane;
mod memory;
mod pace;
mod sqlite;
pub(crate) mod store;

pub(crate) use circuit::CircuitState;
pub(crate) use item::OUTBOX;
pub use item::{Call, Draft, Ids, Item, ItemState, NewItem, Problem};
pub(crate) use lane::written_at;
pub(crate) use memory::Rows;
pub(crate) use sqlite::purge_items;
pub use store::{Acknowledged, Change, Depth, Ending, Enqueued, ItemFilter, OutboxStore, Report};

use crate::channels::Channels;
use crate::clock::Clock;
use crate::inbox::Inbox;
use crate::metrics::Metrics;
use crate::store::{Store, Token};
use amochats::{DeliveryStatus, Error, ErrorKind, Result, ScopeId};
use circuit::Circuit;
use lane::Lane;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The most items that one list holds.
pub const LIST_MAX: usize = 1000;
/// How many items end in one transaction when their time comes.
const SWEEP: usize = 200;
/// So many ends are told apart by those who wait; who is further behind looks at its item in any case.
const ENDS: usize = 1024;
/// How often items are looked at that ended long ago.
const FORGET_EVERY: Duration = Duration::from_hours(1);

/// How the outbox works. [`Config::EXAMPLE`](crate::Config::EXAMPLE) says what each is for.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Calls a second and scope.
    pub rate: f64,
    /// Calls of a scope that may go out at once after a pause.
    pub burst: u32,
    /// The delay before the second attempt lies between nothing and this; it doubles with each
    /// further one.
    pub min_delay: Duration,
    /// The longest delay.
    pub max_delay: Duration,
    /// So many failures of a host in a row stop all calls to it.
    pub circuit_failures: u32,
    /// For so long.
    pub circuit_open: Duration,
    /// How long it is only looked for what may have arrived, before it is sent once more.
    pub look_for: Duration,
    /// After so long what may have arrived is `unknown`; its conversation waits no longer.
    pub resolve_for: Duration,
    /// The deadline of items that name none.
    pub expires_in: Duration,
    /// The most items that have not ended.
    pub max_items: u64,
    /// How long items are kept after their end.
    pub keep: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            rate: 7.0,
            burst: 7,
            min_delay: Duration::from_secs(1),
            max_delay: Duration::from_mins(5),
            circuit_failures: 5,
            circuit_open: Duration::from_secs(10),
            look_for: Duration::from_secs(15),
            resolve_for: Duration::from_secs(60),
            expires_in: Duration::from_hours(24),
            max_items: 1_000_000,
            keep: Duration::from_hours(24 * 14),
        }
    }
}

/// The outbox: what is to go to the CRM.
#[derive(Clone)]
pub struct Outbox(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    channels: Arc<Channels>,
    inbox: Inbox,
    clock: Arc<dyn Clock>,
    settings: Settings,
    metrics: Arc<Metrics>,
    lanes: Mutex<HashMap<ScopeId, Arc<Lane>>>,
    /// By the address of the service.
    circuits: Mutex<HashMap<String, Arc<Circuit>>>,
    /// How many items have not ended.
    open: AtomicU64,
    /// Counts up whenever a deadline may have come nearer.
    deadlines: watch::Sender<u64>,
    /// The ids of items that have ended; none where a purge took any of them.
    ends: broadcast::Sender<Option<String>>,
    /// Nothing new goes out.
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Outbox {
    /// Takes up what the last process left, and begins to send.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn start(
        store: Arc<dyn Store>,
        channels: Arc<Channels>,
        inbox: Inbox,
        clock: Arc<dyn Clock>,
        settings: Settings,
        metrics: Arc<Metrics>,
    ) -> Result<Self> {
        store.outbox().recover().await?;
        let open = store.outbox().depth().await?.iter().map(|depth| depth.items).sum();
        let scopes = store.outbox().scopes().await?;
        let outbox = Self(Arc::new(Inner {
            store,
            channels,
            inbox,
            clock,
            settings,
            metrics,
            lanes: Mutex::default(),
            circuits: Mutex::default(),
            open: AtomicU64::new(open),
            deadlines: watch::Sender::new(0),
            ends: broadcast::Sender::new(ENDS),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        for scope in scopes {
            outbox.wake(&scope);
        }
        let (sweeper, forgetter, counter) = (outbox.clone(), outbox.clone(), outbox.clone());
        let purged = outbox.0.inbox.purged_items();
        outbox.0.tasks.spawn(async move { counter.count_purged(purged).await });
        outbox.0.tasks.spawn(async move { sweeper.expire_in_time().await });
        outbox.0.tasks.spawn(async move { forgetter.forget_in_time().await });
        Ok(outbox)
    }

    /// Keeps an item durably and sends it when its turn comes. The same key with the same call is
    /// the same item: it is given back as it is, and nothing is sent again.
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidArgument`] with the field that breaks a rule; `key` where it was used
    ///   for another call.
    /// - [`ErrorKind::UnknownChannel`] for a scope of no configured channel.
    /// - [`ErrorKind::QueueFull`] where too many items wait.
    /// - Those of the store: then it is not promised to be sent.
    pub async fn enqueue(&self, item: NewItem) -> Result<Item> {
        self.0.channels.of_scope(item.scope_id.as_str())?;
        let draft = Draft::new(&item, self.0.clock.now_msec(), self.0.settings.expires_in)?;
        self.room()?;
        // A task of its own: the caller may give up waiting, yet what is kept must be sent.
        let outbox = self.clone();
        let enqueue = tokio::spawn(async move {
            let enqueued = outbox.0.store.outbox().enqueue(draft).await?;
            match &enqueued {
                Enqueued::New(item) => outbox.accepted(item),
                // Perhaps the store said no the first time, and nobody has looked at it yet.
                Enqueued::Known(item) if !item.state.is_final() => outbox.wake(&item.scope_id),
                Enqueued::Known(_) | Enqueued::Conflicting => {}
            }
            Ok(enqueued)
        });
        match enqueue.await.map_err(|_| crate::store::closed())?? {
            Enqueued::New(item) | Enqueued::Known(item) => Ok(item),
            Enqueued::Conflicting if matches!(item.call, Call::SendMessage(_)) => {
                Err(Error::invalid("payload.msgid", "was used for another message of this scope"))
            }
            Enqueued::Conflicting => Err(Error::invalid("key", "was used for another call of this scope")),
        }
    }

    /// Acknowledges a message event and reports to the CRM what became of it: both are kept, or
    /// neither. `Ok` means as for [`Inbox::settle`], and gives the report's item.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a status that breaks a rule, and for an event that is no
    /// message with an id of amoCRM, which remains unsettled; else those of [`Inbox::settle`].
    pub async fn acknowledge(&self, ack_id: &str, status: DeliveryStatus) -> Result<Item> {
        let token = Token::from_ack_id(ack_id)?;
        // What the service would refuse is refused here, while somebody is there to be told.
        status.to_json()?;
        self.room()?;
        let now = self.0.clock.now_msec();
        let lifetime = i64::try_from(self.0.settings.expires_in.as_millis()).unwrap_or(i64::MAX);
        let report = Report {
            status,
            item_id: uuid::Uuid::new_v4().to_string(),
            created_at: now,
            expires_at: now.saturating_add(lifetime),
        };
        let outbox = self.clone();
        let acknowledge = tokio::spawn(async move {
            let store = outbox.0.store.clone();
            let settled = outbox
                .0
                .inbox
                .acknowledge(token, async move { store.outbox().acknowledge(token, report).await });
            let settled = settled.await?;
            if let Acknowledged::Done(item) = &settled {
                outbox.accepted(item);
            }
            Ok::<_, Error>(settled)
        });
        match acknowledge.await.map_err(|_| crate::store::closed())?? {
            Acknowledged::Done(item) => Ok(*item),
            Acknowledged::Lost => Err(crate::inbox::lease_lost()),
            Acknowledged::NotReportable => Err(Error::invalid(
                "delivery_status",
                "can be reported for messages with an id of amoCRM alone; acknowledge without it",
            )),
        }
    }

    /// Takes an item back that was not sent yet. One that is cancelled already is given as it is.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such item; [`ErrorKind::Misuse`] where it is on its
    /// way, may have arrived or has ended otherwise; those of the store.
    pub async fn cancel(&self, item_id: &str) -> Result<Item> {
        let cancelled = self.0.store.outbox().cancel(item_id, self.0.clock.now_msec()).await?;
        let (item, now) = cancelled.ok_or_else(not_found)?;
        if now {
            self.ended(&item);
        }
        if item.state == ItemState::Cancelled {
            return Ok(item);
        }
        let state = if item.state == ItemState::Queued { "possibly sent" } else { item.state.name() };
        Err(Error::new(ErrorKind::Misuse, format!("it is too late to cancel: the item is {state}")))
    }

    /// The item of this id.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such item; those of the store.
    pub async fn get(&self, item_id: &str) -> Result<Item> {
        self.0.store.outbox().item(item_id).await?.ok_or_else(not_found)
    }

    /// Waits until nothing more will happen to an item, and gives it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where there is no such item, or no more; those of the store.
    pub async fn wait(&self, item_id: &str) -> Result<Item> {
        // Before it is looked at: an end between the two is heard.
        let mut ends = self.0.ends.subscribe();
        loop {
            let item = self.get(item_id).await?;
            if item.state.is_final() {
                return Ok(item);
            }
            while matches!(ends.recv().await, Ok(Some(other)) if other != item_id) {}
        }
    }

    /// Items in the order of their enqueueing, at most [`LIST_MAX`].
    ///
    /// # Errors
    /// Those of the store.
    pub async fn list(&self, mut filter: ItemFilter) -> Result<Vec<Item>> {
        filter.limit = filter.limit.min(LIST_MAX);
        self.0.store.outbox().list(filter).await
    }

    /// Brings the gauges up to date.
    pub(crate) async fn measure(&self) {
        let Ok(depth) = self.0.store.outbox().depth().await else { return };
        self.0.metrics.outbox_depth(&depth, self.0.clock.now_msec());
        let circuits = self.0.circuits.lock().unwrap_or_else(PoisonError::into_inner);
        for (host, circuit) in &*circuits {
            self.0.metrics.circuit(host, circuit.is());
        }
    }

    /// Ends the work without waiting for it, once it is cancelled.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Sends nothing new and waits for what is on the wire. What does not end before the future is
    /// dropped is looked for at the next start.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn room(&self) -> Result<()> {
        if self.0.open.load(Ordering::Relaxed) < self.0.settings.max_items {
            return Ok(());
        }
        Err(Error::new(ErrorKind::QueueFull, "the outbox is full: too many items wait to be sent"))
    }

    /// So many items have ended. One that the store kept although it said no was never counted.
    fn fewer_open(&self, ended: u64) {
        let less = |open: u64| Some(open.saturating_sub(ended));
        let _ = self.0.open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn accepted(&self, item: &Item) {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        self.0.deadlines.send_modify(|count| *count = count.wrapping_add(1));
        self.wake(&item.scope_id);
    }

    /// To be called after each end.
    fn ended(&self, item: &Item) {
        self.fewer_open(1);
        self.0.metrics.outbox_ended(&item.call, item.state);
        if item.state != ItemState::Sent {
            // Ids and kinds alone: the words are for the caller.
            tracing::warn!(
                item_id = item.item_id,
                call = item.call,
                state = item.state.name(),
                kind = item.problem.as_ref().map(|problem| problem.kind.name()),
                "a call was not sent"
            );
        }
        // Nobody may wait.
        let _ = self.0.ends.send(Some(item.item_id.clone()));
        self.wake(&item.scope_id);
    }

    /// The lane of this scope has something to look at.
    fn wake(&self, scope: &ScopeId) {
        let mut lanes = self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let lane = lanes.entry(scope.clone()).or_insert_with(|| {
            let lane = Arc::new(Lane::new(scope.clone(), &self.0.settings, self.0.clock.monotonic()));
            let (outbox, working) = (self.clone(), lane.clone());
            self.0.tasks.spawn(async move { outbox.work(working).await });
            lane
        });
        lane.wake();
    }

    /// The circuit of a service.
    fn circuit(&self, host: &str) -> Arc<Circuit> {
        let mut circuits = self.0.circuits.lock().unwrap_or_else(PoisonError::into_inner);
        let Settings { circuit_failures, circuit_open, .. } = self.0.settings;
        let make = || Arc::new(Circuit::new(self.0.clock.clone(), circuit_failures, circuit_open));
        circuits.entry(host.to_owned()).or_insert_with(make).clone()
    }

    /// Ends items whose deadline has come, a portion of them.
    async fn expire(&self, now: i64) -> Result<()> {
        for item in self.0.store.outbox().expire(now, SWEEP).await? {
            self.ended(&item);
        }
        Ok(())
    }

    /// Ends items when their deadline comes.
    async fn expire_in_time(&self) {
        let mut deadlines = self.0.deadlines.subscribe();
        loop {
            deadlines.mark_unchanged();
            // Both at once: what passes meanwhile must not be added to the wait.
            let (now, began) = (self.0.clock.now_msec(), self.0.clock.monotonic());
            let next = match self.expire(now).await {
                Ok(()) => self.0.store.outbox().next_expiry().await,
                Err(error) => Err(error),
            };
            let wait = match next {
                Ok(next) => next
                    .map(|next| Duration::from_millis(u64::try_from(next.saturating_sub(now)).unwrap_or(0))),
                // The store is out of order: try again.
                Err(_) => Some(Duration::from_secs(1)),
            };
            let due = async {
                match wait {
                    Some(wait) => {
                        self.0.clock.sleep_until(began.saturating_add(wait)).await;
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = due => {}
                _ = deadlines.changed() => {}
            }
        }
    }

    /// Follows the purges of conversations, which take items away.
    async fn count_purged(&self, mut purged: watch::Receiver<u64>) {
        let mut counted = 0;
        loop {
            let all = *purged.borrow_and_update();
            if all > counted {
                self.fewer_open(all - counted);
                counted = all;
                let _ = self.0.ends.send(None);
                for scope in self.0.store.outbox().scopes().await.unwrap_or_default() {
                    self.wake(&scope);
                }
            }
            if !matches!(self.0.stop.run_until_cancelled(purged.changed()).await, Some(Ok(()))) {
                return;
            }
        }
    }

    /// Deletes items that ended long ago.
    async fn forget_in_time(&self) {
        let keep = i64::try_from(self.0.settings.keep.as_millis()).unwrap_or(i64::MAX);
        loop {
            let before = self.0.clock.now_msec().saturating_sub(keep);
            // In portions, so that nobody else waits long.
            while self.0.store.outbox().forget(before, SWEEP).await.is_ok_and(|forgotten| forgotten == SWEEP)
            {
            }
            let at = self.0.clock.monotonic().saturating_add(FORGET_EVERY);
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = self.0.clock.sleep_until(at) => {}
            }
        }
    }
}

fn not_found() -> Error {
    Error::new(
        ErrorKind::NotFound,
        "there is no such item in the outbox; ended ones are forgotten after a time",
    )
}
