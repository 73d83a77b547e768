//! What is said of an event to somebody who looks for it: where it is, not what is in it.

use super::{Facts, Filter, Token};
use crate::event::Origin;
use amochats::{AccountId, ChannelId, ConversationId, ConversationRefId, MessageRefId, ScopeId};

/// Which events to list without their bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SummaryQuery {
    /// Those after this one, in the order of the list.
    pub after: Option<String>,
    /// The newest first, instead of the oldest.
    pub newest_first: bool,
    /// Those that fit. Other than for a subscription, no kinds are all kinds, `outbox` included.
    pub filter: Filter,
    /// Those of this message, by amoCRM's id: itself, reactions to it, calls about it. Found without
    /// looking at all the others.
    pub message_ref_id: Option<MessageRefId>,
    /// Received at or after this time, in Unix milliseconds.
    pub since: Option<i64>,
    /// Received before this time, in Unix milliseconds.
    pub until: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// An event without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventSummary {
    /// Unique in this store and among stores.
    pub event_id: String,
    /// The channel it came for.
    pub channel_id: ChannelId,
    /// The account inside the chat service.
    pub account_id: AccountId,
    /// The connection of both.
    pub scope_id: ScopeId,
    /// `message`, `typing`, `reaction`, `unknown` or `outbox`.
    pub kind: String,
    /// When it was received, in Unix milliseconds.
    pub received_at: i64,
    /// How it came here.
    pub origin: Origin,
    /// The account's message id was seen before, with other content.
    pub conflicting_duplicate: bool,
    /// The conversation by amoCRM's id.
    pub conversation_ref_id: Option<ConversationRefId>,
    /// The conversation by the integration's id.
    pub conversation_id: Option<ConversationId>,
    /// The message by amoCRM's id.
    pub message_ref_id: Option<MessageRefId>,
    /// Of the body, in bytes. 0 where it was dropped for room.
    pub size: u64,
}

impl EventSummary {
    pub(crate) fn facts(&self) -> Facts {
        Facts {
            account_id: self.account_id.clone(),
            scope_id: self.scope_id.clone(),
            kind: self.kind.clone(),
            conversation_ref_id: self.conversation_ref_id.as_ref().map(ToString::to_string),
            conversation_id: self.conversation_id.as_ref().map(ToString::to_string),
        }
    }
}

/// An event that a subscription gave up, without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadSummary {
    /// Where it stands in the subscription.
    pub place: i64,
    /// How often it was handed out.
    pub attempts: u32,
    /// The event.
    pub summary: EventSummary,
}

/// An event in a subscription. One that was replayed or requeued may be there more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventDelivery {
    /// The subscription's name.
    pub subscription: String,
    /// Where it is.
    pub state: DeliveryState,
    /// How many times it was handed out. 0 where that was before the subscription, or in an
    /// older version of the store.
    pub attempts: u32,
    /// It was replayed or requeued.
    pub again: bool,
    /// Its place and the number of its last lease, while it is open or dead.
    pub token: Option<Token>,
    /// When it was handed out, the last time, in Unix milliseconds.
    pub handed_out_at: Option<i64>,
    /// When it was acknowledged or given up, in Unix milliseconds.
    pub settled_at: Option<i64>,
    /// When the lease or the delay ends, in Unix milliseconds. A store knows no time:
    /// [`Inbox::life`](crate::Inbox::life) says it.
    pub until: Option<i64>,
}

/// Where an event is in a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    /// Behind an earlier one of its conversation, or not looked at yet.
    Waiting,
    /// It goes to the next consumer with room.
    Ready,
    /// It is handed out.
    Leased,
    /// It is to be handed out again, later.
    Delayed,
    /// It was given up.
    Dead,
    /// It was dealt with, or dropped, or is older than the subscription.
    Settled,
    /// The subscription's filter leaves it out.
    LeftOut,
}

impl DeliveryState {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::Ready, Self::Leased, Self::Delayed, Self::Dead, Self::Settled, Self::LeftOut];

    /// The name on all surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Leased => "leased",
            Self::Delayed => "delayed",
            Self::Dead => "dead",
            Self::Settled => "settled",
            Self::LeftOut => "left_out",
        }
    }
}
