//! The calls that look for events and put them back, over an inbox of a server or of a file.

use crate::convert::inbox::{bounded, life, msec, page_size, scope_id, subscription, summary, summary_query};
use amochats::{Error, Result};
use amochats_proto::v1;
use amochats_runtime::store::{Replay, Start};
use amochats_runtime::{Inbox, SUMMARIES_MAX};

/// How many entries a page holds unless the client says otherwise.
const PAGE: usize = 100;

pub(crate) async fn list_events(
    inbox: &Inbox,
    request: v1::ListEventsRequest,
) -> Result<v1::ListEventsResponse> {
    let limit = page_size(request.page_size, PAGE, SUMMARIES_MAX);
    let query = summary_query(request, limit)?;
    let found = inbox.summaries(query).await.map_err(token_named)?;
    let last = found.last().filter(|_| found.len() == limit).map(|event| event.event_id.clone());
    Ok(v1::ListEventsResponse {
        events: found.into_iter().map(summary).collect(),
        next_page_token: last.unwrap_or_default(),
    })
}

/// A page token is an event's id, and a client sees the token alone.
fn token_named(error: Error) -> Error {
    match error.field() {
        Some("event_id") => Error::invalid("page_token", "is none that this server gave"),
        _ => error,
    }
}

pub(crate) async fn get_event(inbox: &Inbox, request: v1::GetEventRequest) -> Result<v1::GetEventResponse> {
    inbox.life(&request.event_id).await.map(life)
}

pub(crate) async fn list_subscriptions(
    inbox: &Inbox,
    _request: v1::ListSubscriptionsRequest,
) -> Result<v1::ListSubscriptionsResponse> {
    let outstanding = inbox.outstanding();
    let state = |state: amochats_runtime::store::SubscriptionState| {
        let held = outstanding.get(&state.id).copied().unwrap_or_default();
        subscription(state, held)
    };
    let subscriptions = inbox.subscriptions().await?.into_iter().map(state).collect();
    Ok(v1::ListSubscriptionsResponse { subscriptions })
}

pub(crate) async fn create_subscription(
    inbox: &Inbox,
    request: v1::CreateSubscriptionRequest,
) -> Result<v1::CreateSubscriptionResponse> {
    super::create(inbox, &request.name, request.options.unwrap_or_default()).await?;
    let all = list_subscriptions(inbox, v1::ListSubscriptionsRequest {}).await?.subscriptions;
    let made = all.into_iter().find(|state| state.name == request.name);
    Ok(v1::CreateSubscriptionResponse { subscription: made })
}

pub(crate) async fn delete_subscription(
    inbox: &Inbox,
    request: v1::DeleteSubscriptionRequest,
) -> Result<v1::DeleteSubscriptionResponse> {
    inbox.delete_subscription(&request.name).await?;
    tracing::info!(subscription = request.name, "a subscription was deleted");
    Ok(v1::DeleteSubscriptionResponse {})
}

pub(crate) async fn replay_events(
    inbox: &Inbox,
    request: v1::ReplayEventsRequest,
) -> Result<v1::ReplayEventsResponse> {
    use v1::replay_events_request::From;
    let from = match request.from {
        None => return Err(Error::invalid("from", "is required: oldest, since or after_event_id")),
        Some(From::Oldest(_)) => Start::Oldest,
        Some(From::Since(time)) => Start::Since(msec(time, "since")?),
        Some(From::AfterEventId(event_id)) => Start::After(event_id),
    };
    let scope = (!request.scope_id.is_empty()).then_some(request.scope_id);
    let scope = scope.map(|scope| scope_id(scope, "scope_id")).transpose()?;
    let events = inbox.replay(&request.subscription, Replay { from, scope }).await?;
    tracing::info!(subscription = request.subscription, events, "events were put back into a subscription");
    Ok(v1::ReplayEventsResponse { events })
}

pub(crate) async fn list_dead_letters(
    inbox: &Inbox,
    request: v1::ListDeadLettersRequest,
) -> Result<v1::ListDeadLettersResponse> {
    let after = match request.page_token.as_str() {
        "" => i64::MIN,
        token => token.parse().map_err(|_| Error::invalid("page_token", "is none that this server gave"))?,
    };
    let limit = page_size(request.page_size, PAGE, SUMMARIES_MAX);
    let found = inbox.dead_summaries(&request.subscription, after, limit).await?;
    let last = found.last().filter(|_| found.len() == limit).map(|dead| dead.place.to_string());
    let dead_letters = found
        .into_iter()
        .map(|dead| v1::DeadLetter { event: Some(summary(dead.summary)), attempts: dead.attempts })
        .collect();
    Ok(v1::ListDeadLettersResponse { dead_letters, next_page_token: last.unwrap_or_default() })
}

/// The dead letters that a client names: their places, or all.
async fn named(
    inbox: &Inbox,
    subscription: &str,
    event_ids: &[String],
    all: bool,
) -> Result<Option<Vec<i64>>> {
    bounded(event_ids, "event_ids")?;
    match (event_ids, all) {
        ([], true) => Ok(None),
        ([], false) => Err(Error::invalid("event_ids", "is required, unless all is set")),
        (_, true) => Err(Error::invalid("event_ids", "must be empty where all is set")),
        (event_ids, false) => inbox.dead_places(subscription, event_ids).await.map(Some),
    }
}

pub(crate) async fn requeue_dead_letters(
    inbox: &Inbox,
    request: v1::RequeueDeadLettersRequest,
) -> Result<v1::RequeueDeadLettersResponse> {
    let places = named(inbox, &request.subscription, &request.event_ids, request.all).await?;
    let requeued = inbox.requeue(&request.subscription, places).await?;
    tracing::info!(subscription = request.subscription, requeued, "dead letters were requeued");
    Ok(v1::RequeueDeadLettersResponse { requeued })
}

pub(crate) async fn drop_dead_letters(
    inbox: &Inbox,
    request: v1::DropDeadLettersRequest,
) -> Result<v1::DropDeadLettersResponse> {
    let places = named(inbox, &request.subscription, &request.event_ids, request.all).await?;
    let dropped = inbox.drop_dead_letters(&request.subscription, places).await?;
    tracing::info!(subscription = request.subscription, dropped, "dead letters were dropped");
    Ok(v1::DropDeadLettersResponse { dropped })
}

pub(crate) async fn purge_conversation(
    inbox: &Inbox,
    request: v1::PurgeConversationRequest,
) -> Result<v1::PurgeConversationResponse> {
    if request.conversation_id.is_empty() {
        return Err(Error::invalid("conversation_id", "is required"));
    }
    let scope = scope_id(request.scope_id, "scope_id")?;
    let events = inbox.purge(&scope, &request.conversation_id).await?;
    tracing::info!(scope_id = scope.as_str(), events, "a conversation's events were deleted");
    Ok(v1::PurgeConversationResponse { events })
}
