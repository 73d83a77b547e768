//! What the outbox asks of a store.

use super::item::{Draft, EXPIRY_MAX, Ids, Item, ItemState, NewItem, Problem};
use crate::store::Token;
use amochats::{DeliveryStatus, Result, ScopeId};
use async_trait::async_trait;

/// Keeps the items of the outbox durably.
///
/// As with [`Store`](crate::store::Store), `Ok` means that the effect is committed, and a store
/// knows no time.
///
/// # Heads
/// Of the items of a conversation that have not ended, the first alone is the *head*: it may be
/// sent. When it ends, the next one becomes the head in the same transaction, in which the event
/// that tells of the end is kept, too.
#[async_trait]
pub trait OutboxStore: Send + Sync {
    /// Keeps an item, unless one of its scope and key is there.
    async fn enqueue(&self, draft: Draft) -> Result<Enqueued>;

    /// Acknowledges a leased message event and enqueues the report on it, both or neither.
    async fn acknowledge(&self, token: Token, report: Report) -> Result<Acknowledged>;

    /// After a start: what was on the wire when the process ended may have arrived.
    async fn recover(&self) -> Result<()>;

    /// The scopes with items that have not ended.
    async fn scopes(&self) -> Result<Vec<ScopeId>>;

    /// The places of up to `max` heads of a scope, the oldest first.
    async fn heads(&self, scope: &ScopeId, max: usize) -> Result<Vec<i64>>;

    /// The item at this place.
    async fn at(&self, seq: i64) -> Result<Option<Item>>;

    /// An attempt begins: a queued or resolving head is on the wire from now on. `None` where it is
    /// neither any more.
    async fn begin(&self, seq: i64) -> Result<Option<Item>>;

    /// An attempt ended.
    async fn change(&self, seq: i64, change: Change) -> Result<()>;

    /// Takes a queued item back: gives the item, and whether this call ended it. `None` where there
    /// is no such item.
    async fn cancel(&self, item_id: &str, now: i64) -> Result<Option<(Item, bool)>>;

    /// Ends up to `max` queued items whose deadline has come.
    async fn expire(&self, now: i64, max: usize) -> Result<Vec<Item>>;

    /// The next deadline of a queued item, in Unix milliseconds.
    async fn next_expiry(&self) -> Result<Option<i64>>;

    /// The item of this id.
    async fn item(&self, item_id: &str) -> Result<Option<Item>>;

    /// Items in the order of their enqueueing.
    async fn list(&self, filter: ItemFilter) -> Result<Vec<Item>>;

    /// How many items there are that have not ended, and since when.
    async fn depth(&self) -> Result<Vec<Depth>>;

    /// Forgets up to `max` items that ended before a time, in Unix milliseconds; says how many.
    async fn forget(&self, before: i64, max: usize) -> Result<usize>;
}

/// What became of an enqueue.
#[derive(Clone, Debug, PartialEq)]
pub enum Enqueued {
    /// It is kept and will be sent.
    New(Item),
    /// An item of the same key and content is there; this is it.
    Known(Item),
    /// An item of the same key and other content is there.
    Conflicting,
}

/// A delivery status to be reported with an acknowledgement. Which message, the event says.
#[derive(Clone)]
pub struct Report {
    /// What became of the message.
    pub status: DeliveryStatus,
    /// The id of the item.
    pub item_id: String,
    /// In Unix milliseconds.
    pub created_at: i64,
    /// In Unix milliseconds.
    pub expires_at: i64,
}

/// What became of an acknowledgement with a report.
#[derive(Clone, Debug, PartialEq)]
pub enum Acknowledged {
    /// It is committed, with this item.
    Done(Box<Item>),
    /// As [`Settled::Lost`](crate::store::Settled::Lost).
    Lost,
    /// The event is no message with an id of amoCRM: nothing was done.
    NotReportable,
}

/// The end of an attempt.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is to be tried again.
    Requeue {
        /// The attempt may have been applied, which does no harm to this call.
        uncertain: bool,
        /// Why.
        problem: Problem,
    },
    /// It may have arrived.
    Resolve {
        /// It was sent once more already.
        repeated: bool,
        /// Why.
        problem: Problem,
    },
    /// It has ended.
    End(Ending),
}

/// The end of an item.
#[derive(Clone, Debug)]
pub struct Ending {
    /// A final state.
    pub state: ItemState,
    /// In Unix milliseconds.
    pub at: i64,
    /// The ids that the answer named.
    pub ids: Ids,
    /// Why it was not sent.
    pub problem: Option<Problem>,
}

/// Which items to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemFilter {
    /// In one of these states; any, if empty.
    pub states: Vec<ItemState>,
    /// Of this scope alone.
    pub scope_id: Option<ScopeId>,
    /// After the item of this id.
    pub after: Option<String>,
    /// At most so many.
    pub limit: usize,
}

/// How many items are in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// The state.
    pub state: ItemState,
    /// How many.
    pub items: u64,
    /// When the oldest of them was enqueued, in Unix milliseconds.
    pub oldest: i64,
}

impl Item {
    /// Puts an ending into effect.
    pub(crate) fn end(&mut self, ending: Ending) {
        let Ending { state, at, ids, problem } = ending;
        self.state = state;
        self.ended_at = Some(at);
        // What the call named stays: the answer adds what is new.
        let known = &mut self.ids;
        known.conversation_id = known.conversation_id.take().or(ids.conversation_id);
        known.conversation_ref_id = known.conversation_ref_id.take().or(ids.conversation_ref_id);
        known.message_id = known.message_id.take().or(ids.message_id);
        known.message_ref_id = known.message_ref_id.take().or(ids.message_ref_id);
        self.problem = problem;
    }

    /// How a deadline ends it: what may have been applied did not simply expire.
    pub(crate) fn expiry(&self, now: i64) -> Ending {
        let state = if self.uncertain { ItemState::Unknown } else { ItemState::Expired };
        Ending { state, at: now, ids: Ids::default(), problem: self.problem.clone() }
    }
}

impl Item {
    /// How its caller ends it, if it is not too late.
    pub(crate) fn cancellation(&self, now: i64) -> Option<Ending> {
        let may_go = self.state == ItemState::Queued && !self.uncertain;
        may_go.then_some(Ending { state: ItemState::Cancelled, at: now, ids: Ids::default(), problem: None })
    }
}

impl Report {
    /// The report as an item.
    pub(crate) fn draft(&self, item: &NewItem) -> Result<Draft> {
        let draft = Draft::new(item, self.created_at, EXPIRY_MAX)?;
        Ok(Draft { item_id: self.item_id.clone(), expires_at: self.expires_at, ..draft })
    }
}
