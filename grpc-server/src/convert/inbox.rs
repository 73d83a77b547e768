//! What the inbox tells of its events and subscriptions.

use super::{event, text, timestamp};
use amochats::{Error, Result, ScopeId};
use amochats_proto::v1;
use amochats_runtime::store::{
    DeliveryState, EventDelivery, EventSummary, Filter, Start, SubscriptionState, SummaryQuery,
};
use amochats_runtime::{EventLife, Origin};
use prost_types::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// The most entries of a list that a client sends.
const LIST_MAX: usize = 1000;

const KINDS: [&str; 5] = ["message", "typing", "reaction", "unknown", "outbox"];

/// A time in Unix milliseconds.
pub(crate) fn msec(time: Timestamp, field: &str) -> Result<i64> {
    let time = SystemTime::try_from(time).map_err(|_| Error::invalid(field, "is not a time"))?;
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// A page's size, where the client names one.
pub(crate) fn page_size(asked: u32, usual: usize, most: usize) -> usize {
    match usize::try_from(asked).unwrap_or(usize::MAX) {
        0 => usual,
        size => size.min(most),
    }
}

/// Refuses a list that is longer than it may be.
pub(crate) fn bounded<T>(list: &[T], field: &str) -> Result<()> {
    if list.len() <= LIST_MAX {
        return Ok(());
    }
    Err(Error::invalid(field, format!("must have at most {LIST_MAX} entries")))
}

/// A connection that a client named.
pub(crate) fn scope_id(scope: String, field: &str) -> Result<ScopeId> {
    let scope = ScopeId::new(scope);
    match scope.split() {
        Ok(_) => Ok(scope),
        Err(_) => Err(Error::invalid(field, "must be a channel id and an account id, joined by \"_\"")),
    }
}

/// Where a new subscription starts; `None` where the client leaves it open.
pub(crate) fn start(options: &v1::CreateOptions) -> Result<Option<Start>> {
    use v1::create_options::Start as Asked;
    Ok(match &options.start {
        None => None,
        Some(Asked::Oldest(_)) => Some(Start::Oldest),
        Some(Asked::Now(_)) => Some(Start::Now),
        Some(Asked::Since(time)) => Some(Start::Since(msec(*time, "since")?)),
        Some(Asked::AfterEventId(event_id)) => Some(Start::After(event_id.clone())),
    })
}

/// Which events a client asks for.
fn filter_of(
    kinds: Vec<String>,
    accounts: Vec<String>,
    scopes: Vec<String>,
    conversations: Vec<String>,
) -> Result<Filter> {
    if !kinds.iter().all(|kind| KINDS.contains(&kind.as_str())) {
        return Err(Error::invalid("kinds", format!("must be of {}", KINDS.join(", "))));
    }
    bounded(&kinds, "kinds")?;
    bounded(&accounts, "account_ids")?;
    bounded(&scopes, "scope_ids")?;
    bounded(&conversations, "conversation_ids")?;
    Ok(Filter {
        accounts: accounts.into_iter().map(Into::into).collect(),
        scopes: scopes.into_iter().map(|scope| scope_id(scope, "scope_ids")).collect::<Result<_>>()?,
        kinds,
        conversations,
    })
}

/// Which events a new subscription gets.
pub(crate) fn filter(options: v1::CreateOptions) -> Result<Filter> {
    filter_of(options.kinds, options.account_ids, options.scope_ids, options.conversation_ids)
}

/// Which events a client wants to see, a page of them.
pub(crate) fn summary_query(request: v1::ListEventsRequest, limit: usize) -> Result<SummaryQuery> {
    let v1::ListEventsRequest { kinds, account_ids, scope_ids, conversation_ids, .. } = request;
    Ok(SummaryQuery {
        after: (!request.page_token.is_empty()).then_some(request.page_token),
        newest_first: request.newest_first,
        filter: filter_of(kinds, account_ids, scope_ids, conversation_ids)?,
        message_ref_id: request.message_ref_id.map(Into::into),
        since: request.since.map(|time| msec(time, "since")).transpose()?,
        until: request.until.map(|time| msec(time, "until")).transpose()?,
        limit,
    })
}

/// A subscription's state.
pub(crate) fn subscription(state: SubscriptionState, outstanding: usize) -> v1::Subscription {
    let Filter { accounts, scopes, kinds, conversations } = state.filter;
    v1::Subscription {
        name: state.name,
        created_at: Some(timestamp(state.created_at)),
        unsettled: state.unsettled,
        dead: state.dead,
        oldest_unsettled_at: state.oldest_unsettled_at.map(timestamp),
        outstanding: outstanding as u64,
        kinds,
        account_ids: accounts.into_iter().map(text).collect(),
        scope_ids: scopes.into_iter().map(text).collect(),
        conversation_ids: conversations,
    }
}

/// An event without its body.
pub(crate) fn summary(event: EventSummary) -> v1::EventSummary {
    v1::EventSummary {
        event_id: event.event_id,
        kind: event.kind,
        received_at: Some(timestamp(event.received_at)),
        channel_id: text(event.channel_id),
        account_id: text(event.account_id),
        scope_id: text(event.scope_id),
        origin: origin(event.origin).into(),
        conversation_id: event.conversation_id.map(text),
        conversation_ref_id: event.conversation_ref_id.map(text),
        message_ref_id: event.message_ref_id.map(text),
        size: event.size,
        conflicting_duplicate: event.conflicting_duplicate,
    }
}

/// An event and what became of it.
pub(crate) fn life(life: EventLife) -> v1::GetEventResponse {
    v1::GetEventResponse {
        event: Some(event(life.event)),
        summary: Some(summary(life.summary)),
        deliveries: life.deliveries.into_iter().map(delivery).collect(),
    }
}

fn delivery(delivery: EventDelivery) -> v1::EventDelivery {
    v1::EventDelivery {
        subscription: delivery.subscription,
        phase: phase(delivery.state).into(),
        attempts: delivery.attempts,
        again: delivery.again,
        until: delivery.until.map(timestamp),
        handed_out_at: delivery.handed_out_at.map(timestamp),
        settled_at: delivery.settled_at.map(timestamp),
    }
}

fn phase(state: DeliveryState) -> v1::DeliveryPhase {
    match state {
        DeliveryState::Waiting => v1::DeliveryPhase::Waiting,
        DeliveryState::Ready => v1::DeliveryPhase::Ready,
        DeliveryState::Leased => v1::DeliveryPhase::Leased,
        DeliveryState::Delayed => v1::DeliveryPhase::Delayed,
        DeliveryState::Dead => v1::DeliveryPhase::Dead,
        DeliveryState::Settled => v1::DeliveryPhase::Settled,
        DeliveryState::LeftOut => v1::DeliveryPhase::LeftOut,
    }
}

/// How an event came here.
pub(crate) fn origin(origin: Origin) -> v1::Origin {
    match origin {
        Origin::Webhook => v1::Origin::Webhook,
        Origin::Backfill => v1::Origin::Backfill,
        Origin::Outbox => v1::Origin::Outbox,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_same_names_here_and_there() {
        for state in DeliveryState::ALL {
            let name = format!("DELIVERY_PHASE_{}", state.name().to_ascii_uppercase());
            assert_eq!(phase(state).as_str_name(), name);
        }
    }
}
