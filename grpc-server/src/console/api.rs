//! What the console asks for.
//!
//! | Call, below `/console/api`     | Permission | Answers |
//! |--------------------------------|------------|---------|
//! | `GET session`                  | any        | `name` and `permissions` of the token |
//! | `GET accounts`                 | `read`     | `channels`, `accounts` |
//! | `GET subscriptions`            | `read`     | `now`, `subscriptions` |
//! | `GET events?…`                 | `read`     | `events`, newest first, and `next`; see [`Search`] |
//! | `GET events/{id}`              | `read`     | `event` without its body, `deliveries` |
//! | `GET events/{id}/body`         | `admin`    | the whole event |
//! | `GET dead-letters?…`           | `read`     | `dead_letters` of a `subscription`, and `next` |
//! | `POST dead-letters/requeue`    | `admin`    | `changed`; takes `subscription` and `event_ids` |
//! | `POST dead-letters/drop`       | `admin`    | the same |
//! | `GET outbox?…`                 | `read`     | `items` without their bodies, and `next` |
//! | `POST outbox/cancel`           | `admin`    | `item`; takes `item_id` |
//!
//! Times are Unix milliseconds. `next` is the `after` of the next page. An error is
//! `{"error": {"reason", "message", "field"}}` with the name of an [`ErrorKind`].

use super::Console;
use crate::convert::inbox::{bounded, scope_id};
use crate::security::Permission;
use amochats::{ConversationId, ConversationRefId, Error, ErrorKind, MessageRefId, ScopeId};
use amochats_runtime::Account;
use amochats_runtime::outbox::{Item, ItemFilter, ItemState};
use amochats_runtime::store::{EventSummary, Filter, SummaryQuery};
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

/// The largest request, in bytes.
const MAX_BODY: usize = 64 << 10;
/// The entries of a page: usual, and at most.
const PAGE: usize = 50;
const PAGE_MAX: usize = 200;

pub(super) fn router(console: Console) -> Router {
    let api = Router::new()
        .route("/session", get(session))
        .route("/accounts", get(accounts))
        .route("/subscriptions", get(subscriptions))
        .route("/events", get(events))
        .route("/events/{id}", get(life))
        .route("/events/{id}/body", get(body))
        .route("/dead-letters", get(dead_letters))
        .route("/dead-letters/requeue", post(requeue))
        .route("/dead-letters/drop", post(drop_dead))
        .route("/outbox", get(outbox))
        .route("/outbox/cancel", post(cancel))
        .fallback(async || Refused(Error::new(ErrorKind::NotFound, "there is no such call")))
        .method_not_allowed_fallback(async || {
            let refused = Refused(Error::new(ErrorKind::InvalidArgument, "this call has another method"));
            (StatusCode::METHOD_NOT_ALLOWED, refused.json())
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(console);
    Router::new().nest("/console/api", api)
}

type Answer = Result<Private, Refused>;

/// An answer that is kept nowhere.
struct Private(Value);

impl IntoResponse for Private {
    fn into_response(self) -> Response {
        ([(header::CACHE_CONTROL, "no-store")], Json(self.0)).into_response()
    }
}

/// An error, in the one form that all have.
struct Refused(Error);

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl Refused {
    fn json(&self) -> Json<Value> {
        let Self(error) = self;
        Json(json!({
            "error": { "reason": error.kind().name(), "message": error.message(), "field": error.field() },
        }))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match self.0.kind() {
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Forbidden => StatusCode::FORBIDDEN,
            ErrorKind::InvalidArgument => StatusCode::BAD_REQUEST,
            ErrorKind::NotFound | ErrorKind::SubscriptionNotFound => StatusCode::NOT_FOUND,
            ErrorKind::Misuse => StatusCode::CONFLICT,
            ErrorKind::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            _ => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, [(header::CACHE_CONTROL, "no-store")], self.json()).into_response()
    }
}

/// Who asks.
struct Caller {
    name: String,
    permissions: Vec<Permission>,
}

impl FromRequestParts<Console> for Caller {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refused> {
        let (name, permissions) = console.gate.holder(&parts.headers)?;
        Ok(Self { name, permissions })
    }
}

/// Somebody with the permission `read`.
struct Reader;

/// Somebody with the permission `admin`, by name.
struct Chief(String);

fn permitted(caller: &Caller, needed: Permission) -> Result<(), Refused> {
    if caller.permissions.contains(&needed) {
        return Ok(());
    }
    let said = format!("the token {:?} does not permit this; it needs the permission {needed}", caller.name);
    Err(Error::new(ErrorKind::Forbidden, said).into())
}

impl FromRequestParts<Console> for Reader {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refused> {
        permitted(&Caller::from_request_parts(parts, console).await?, Permission::Read).map(|()| Self)
    }
}

impl FromRequestParts<Console> for Chief {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, console: &Console) -> Result<Self, Refused> {
        let caller = Caller::from_request_parts(parts, console).await?;
        permitted(&caller, Permission::Admin)?;
        Ok(Self(caller.name))
    }
}

fn asked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Refused> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(_) => {
            Err(Error::new(ErrorKind::InvalidArgument, "the query has a field that is unknown or no number")
                .into())
        }
    }
}

fn given<T>(body: Result<Json<T>, JsonRejection>) -> Result<T, Refused> {
    body.map(|Json(body)| body).map_err(|rejection| {
        let error = if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
            Error::new(ErrorKind::BodyTooLarge, "the request is too large")
        } else {
            Error::new(ErrorKind::InvalidArgument, "the request must be JSON with the fields of this call")
        };
        error.into()
    })
}

fn page(limit: Option<usize>) -> Result<usize, Refused> {
    match limit.unwrap_or(PAGE) {
        size @ 1..=PAGE_MAX => Ok(size),
        _ => Err(Error::invalid("limit", format!("must be 1 to {PAGE_MAX}")).into()),
    }
}

async fn session(caller: Caller) -> Private {
    let permissions: Vec<_> = caller.permissions.iter().map(|one| one.name()).collect();
    Private(json!({ "name": caller.name, "permissions": permissions }))
}

async fn accounts(_: Reader, State(console): State<Console>) -> Private {
    let account = |account: Account| {
        let scope = account.scope_id.split().ok();
        json!({
            "scope_id": account.scope_id.as_str(),
            "channel_id": scope.as_ref().map(|(channel, _)| channel.as_str()),
            "account_id": scope.as_ref().map(|(_, account)| account.as_str()),
            "state": account.state.name(),
            "since": account.since,
            "checked_at": account.checked_at,
            "heard_at": account.heard_at,
            "problem": account.problem,
            "title": account.title,
        })
    };
    let channels: Vec<_> = console.channels.ids().iter().map(|id| id.as_str().to_owned()).collect();
    let accounts: Vec<_> = console.channels.accounts().list().into_iter().map(account).collect();
    Private(json!({ "channels": channels, "accounts": accounts }))
}

async fn subscriptions(_: Reader, State(console): State<Console>) -> Answer {
    let outstanding = console.inbox.outstanding();
    let subscriptions: Vec<_> = console
        .inbox
        .subscriptions()
        .await?
        .into_iter()
        .map(|state| {
            json!({
                "name": state.name,
                "created_at": state.created_at,
                "unsettled": state.unsettled,
                "outstanding": outstanding.get(&state.id).copied().unwrap_or_default(),
                "dead": state.dead,
                "oldest_unsettled_at": state.oldest_unsettled_at,
            })
        })
        .collect();
    Ok(Private(json!({ "now": jiff::Timestamp::now().as_millisecond(), "subscriptions": subscriptions })))
}

/// Which events to show.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Search {
    event_id: Option<String>,
    message_ref_id: Option<String>,
    /// By either id.
    conversation: Option<String>,
    scope_id: Option<String>,
    /// Received at or after this time,
    since: Option<i64>,
    /// and before this one.
    until: Option<i64>,
    after: Option<String>,
    limit: Option<usize>,
}

fn summary(event: &EventSummary) -> Value {
    json!({
        "event_id": event.event_id,
        "kind": event.kind,
        "received_at": event.received_at,
        "scope_id": event.scope_id.as_str(),
        "origin": event.origin.name(),
        "conversation_id": event.conversation_id.as_ref().map(ConversationId::as_str),
        "conversation_ref_id": event.conversation_ref_id.as_ref().map(ConversationRefId::as_str),
        "message_ref_id": event.message_ref_id.as_ref().map(MessageRefId::as_str),
        "size": event.size,
        "conflicting_duplicate": event.conflicting_duplicate,
    })
}

async fn events(
    _: Reader,
    State(console): State<Console>,
    query: Result<Query<Search>, QueryRejection>,
) -> Answer {
    let search = asked(query)?;
    let limit = page(search.limit)?;
    if let Some(event_id) = search.event_id {
        let found = match console.inbox.life(&event_id).await {
            Ok(life) => vec![summary(&life.summary)],
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        return Ok(Private(json!({ "events": found, "next": null })));
    }
    let scopes = search.scope_id.map(|scope| scope_id(scope, "scope_id")).transpose()?;
    let query = SummaryQuery {
        after: search.after,
        newest_first: true,
        filter: Filter {
            scopes: scopes.into_iter().collect(),
            conversations: search.conversation.into_iter().collect(),
            ..Filter::default()
        },
        message_ref_id: search.message_ref_id.map(Into::into),
        since: search.since,
        until: search.until,
        limit,
    };
    let found = console.inbox.summaries(query).await.map_err(after_named)?;
    let next = found.last().filter(|_| found.len() == limit).map(|event| event.event_id.clone());
    let events: Vec<_> = found.iter().map(summary).collect();
    Ok(Private(json!({ "events": events, "next": next })))
}

/// The event after which a page begins is `after` here.
fn after_named(error: Error) -> Error {
    match error.field() {
        Some("event_id") => Error::invalid("after", "is none that this server gave"),
        _ => error,
    }
}

async fn life(_: Reader, State(console): State<Console>, Path(event_id): Path<String>) -> Answer {
    let life = console.inbox.life(&event_id).await?;
    let deliveries: Vec<_> = life
        .deliveries
        .iter()
        .map(|delivery| {
            json!({
                "subscription": delivery.subscription,
                "state": delivery.state.name(),
                "attempts": delivery.attempts,
                "again": delivery.again,
                "handed_out_at": delivery.handed_out_at,
                "settled_at": delivery.settled_at,
                "until": delivery.until,
            })
        })
        .collect();
    Ok(Private(json!({ "event": summary(&life.summary), "deliveries": deliveries })))
}

async fn body(Chief(who): Chief, State(console): State<Console>, Path(event_id): Path<String>) -> Answer {
    let life = console.inbox.life(&event_id).await?;
    // Who reads what people wrote is written down.
    tracing::info!(target: "audit", who, method = "console/body", event_id, "a message was opened");
    Ok(Private(life.event.to_json()))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeadOf {
    subscription: String,
    after: Option<i64>,
    limit: Option<usize>,
}

async fn dead_letters(
    _: Reader,
    State(console): State<Console>,
    query: Result<Query<DeadOf>, QueryRejection>,
) -> Answer {
    let DeadOf { subscription, after, limit } = asked(query)?;
    let limit = page(limit)?;
    let found = console.inbox.dead_summaries(&subscription, after.unwrap_or(i64::MIN), limit).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|dead| dead.place);
    let dead: Vec<_> = found
        .iter()
        .map(|dead| json!({ "attempts": dead.attempts, "event": summary(&dead.summary) }))
        .collect();
    Ok(Private(json!({ "dead_letters": dead, "next": next })))
}

/// Dead letters of a subscription.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    subscription: String,
    event_ids: Vec<String>,
}

impl Named {
    async fn places(&self, console: &Console) -> Result<Vec<i64>, Refused> {
        bounded(&self.event_ids, "event_ids")?;
        if self.event_ids.is_empty() {
            return Err(Error::invalid("event_ids", "is required").into());
        }
        Ok(console.inbox.dead_places(&self.subscription, &self.event_ids).await?)
    }
}

async fn requeue(
    Chief(who): Chief,
    State(console): State<Console>,
    named: Result<Json<Named>, JsonRejection>,
) -> Answer {
    let named = given(named)?;
    let places = named.places(&console).await?;
    let changed = console.inbox.requeue(&named.subscription, Some(places)).await?;
    let (subscription, ids) = (named.subscription, named.event_ids);
    tracing::info!(target: "audit", who, method = "console/requeue", subscription, ?ids, "dead letters were requeued");
    Ok(Private(json!({ "changed": changed })))
}

async fn drop_dead(
    Chief(who): Chief,
    State(console): State<Console>,
    named: Result<Json<Named>, JsonRejection>,
) -> Answer {
    let named = given(named)?;
    let places = named.places(&console).await?;
    let changed = console.inbox.drop_dead_letters(&named.subscription, Some(places)).await?;
    let (subscription, ids) = (named.subscription, named.event_ids);
    tracing::info!(target: "audit", who, method = "console/drop", subscription, ?ids, "dead letters were dropped");
    Ok(Private(json!({ "changed": changed })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Items {
    state: Option<String>,
    scope_id: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// An item as it may be shown. The vendor's words about it may quote what was sent.
fn item(item: &Item) -> Value {
    let mut shown = item.to_json();
    shown["problem"] = item.problem.as_ref().map(|problem| problem.kind.name()).into();
    shown
}

async fn outbox(
    _: Reader,
    State(console): State<Console>,
    query: Result<Query<Items>, QueryRejection>,
) -> Answer {
    let Items { state, scope_id, after, limit } = asked(query)?;
    let limit = page(limit)?;
    let states = state
        .map(|name| {
            let known = ItemState::ALL.into_iter().find(|state| state.name() == name);
            known.ok_or_else(|| Error::invalid("state", "is none of an item"))
        })
        .transpose()?;
    let filter = ItemFilter {
        states: states.into_iter().collect(),
        scope_id: scope_id.map(ScopeId::new),
        after,
        limit,
    };
    let found = console.outbox.list(filter).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|item| item.item_id.clone());
    let items: Vec<_> = found.iter().map(item).collect();
    Ok(Private(json!({ "items": items, "next": next })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OneItem {
    item_id: String,
}

async fn cancel(
    Chief(who): Chief,
    State(console): State<Console>,
    one: Result<Json<OneItem>, JsonRejection>,
) -> Answer {
    let item_id = given(one)?.item_id;
    let cancelled = console.outbox.cancel(&item_id).await?;
    tracing::info!(target: "audit", who, method = "console/cancel", item_id, "an item of the outbox was cancelled");
    Ok(Private(json!({ "item": item(&cancelled) })))
}
