//! The page's own API: what the manager's page shows and does, as JSON, and changes as
//! server-sent events. Other pages are kept out, see [`own_page_only`].

use crate::crm;
use crate::guard::own_page_only;
use crate::journal::JournalEntry;
use crate::page;
use crate::sandbox::{Answered, Inner};
use crate::state::{Attachment, Content};
use amochats::{AccountId, ConversationRefId, Error, ErrorKind, MessageRefId};
use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::StatusCode;
use axum::middleware;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::{Stream, StreamExt};
use serde::Deserialize;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use tokio_stream::wrappers::BroadcastStream;

pub(crate) type Shared = State<Arc<Inner>>;
pub(crate) type Answer = Result<Json<Value>, Refused>;

/// How many journal entries a page gets at most.
const JOURNAL_PAGE: usize = 200;

pub(crate) fn router(inner: Arc<Inner>) -> Router {
    page::router(inner.config.companion_url.as_deref())
        .route("/api/state", get(state))
        .route("/api/webhook", post(set_webhook))
        .route("/api/chats", get(chats).post(write_first))
        .route("/api/chats/{id}", get(chat))
        .route("/api/chats/{id}/messages", post(answer))
        .route("/api/chats/{id}/reactions", post(react))
        .route("/api/chats/{id}/typing", post(typing))
        .route("/api/chats/{id}/read", post(mark_read))
        .route("/api/journal", get(journal))
        .route("/api/journal/{seq}", get(journal_entry))
        .route("/api/events", get(events))
        .merge(crm::control::router())
        .layer(DefaultBodyLimit::max(1024 * 1024))
        .layer(middleware::from_fn(own_page_only))
        .with_state(inner)
}

/// A request that is refused, with the reason.
pub(crate) struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        let status = match error.kind() {
            ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        Self(status, error.to_string())
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Self(rejection.status(), rejection.body_text())
    }
}

fn not_found() -> Refused {
    Refused(StatusCode::NOT_FOUND, "there is nothing of this id".to_owned())
}

async fn state(State(inner): Shared) -> Json<Value> {
    let state = inner.state();
    Json(json!({
        "api": inner.api_url(),
        "channel": {
            "channel_id": state.channel.id,
            "secret": state.channel.secret,
            "code": state.channel.code,
            "title": state.channel.title,
            "bot_ref_id": state.channel.bot_ref_id,
        },
        "accounts": state.accounts,
        "integrations": state.crm.integrations(),
        "webhook_url": state.webhook_url,
        "companion_url": inner.config.companion_url,
        "personality": inner.config.personality.name(),
        "strict": inner.config.strict,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookBody {
    url: String,
}

async fn set_webhook(State(inner): Shared, body: Result<Json<WebhookBody>, JsonRejection>) -> Answer {
    inner.set_webhook_url(body?.0.url)?;
    Ok(Json(json!({})))
}

async fn chats(State(inner): Shared) -> Json<Value> {
    Json(json!({ "chats": inner.state().chats() }))
}

async fn chat(State(inner): Shared, Path(id): Path<String>) -> Answer {
    let id = ConversationRefId::from(id);
    let state = inner.state();
    let chat = state.chat(&id).ok_or_else(not_found)?;
    Ok(Json(json!({ "chat": chat, "messages": state.messages(&id) })))
}

/// What a manager writes: a text, or an attachment by its address, perhaps with a caption.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    text: String,
    picture: Option<String>,
    file: Option<WrittenFile>,
    /// The message that is answered.
    reply_to: Option<MessageRefId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenFile {
    url: String,
    #[serde(default)]
    file_name: String,
    #[serde(default)]
    file_size: u64,
}

impl Written {
    fn into_content(self) -> Result<Content, Refused> {
        let content = match (self.picture, self.file) {
            (None, None) => Content::text(""),
            (Some(url), None) => Content::picture(url),
            (None, Some(WrittenFile { url, file_name, file_size })) => {
                let attachment = Attachment { url, file_name, file_size };
                Content { kind: "file".into(), attachment: Some(attachment), ..Content::default() }
            }
            (Some(_), Some(_)) => {
                return Err(Refused(
                    StatusCode::BAD_REQUEST,
                    "picture and file: a message has one attachment".to_owned(),
                ));
            }
        };
        Ok(Content { text: self.text, ..content })
    }
}

async fn answer(
    State(inner): Shared,
    Path(id): Path<String>,
    body: Result<Json<Written>, JsonRejection>,
) -> Answer {
    let mut written = body?.0;
    let quoted = written.reply_to.take();
    let content = written.into_content()?;
    Ok(answered(&inner.answer(&id.into(), content, quoted.as_ref()).await?))
}

/// A manager's reaction; without an emoji it is taken back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reacted {
    message_ref_id: MessageRefId,
    emoji: Option<String>,
}

async fn react(
    State(inner): Shared,
    Path(id): Path<String>,
    body: Result<Json<Reacted>, JsonRejection>,
) -> Answer {
    let Reacted { message_ref_id, emoji } = body?.0;
    let hook = inner.react(&id.into(), &message_ref_id, emoji.as_deref()).await?;
    Ok(Json(json!({ "hook": hook.map(|hook| hook.verdict()) })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WriteFirst {
    account_id: AccountId,
    phone: String,
    text: String,
}

async fn write_first(State(inner): Shared, body: Result<Json<WriteFirst>, JsonRejection>) -> Answer {
    let WriteFirst { account_id, phone, text } = body?.0;
    Ok(answered(&inner.write_first(&account_id, &phone, Content::text(text)).await?))
}

fn answered(answered: &Answered) -> Json<Value> {
    Json(json!({
        "conversation_ref_id": answered.conversation_ref_id,
        "message_ref_id": answered.message_ref_id,
        "hook": answered.hook.verdict(),
    }))
}

async fn typing(State(inner): Shared, Path(id): Path<String>) -> Answer {
    let hook = inner.typing(&id.into()).await?;
    Ok(Json(json!({ "hook": hook.map(|hook| hook.verdict()) })))
}

async fn mark_read(State(inner): Shared, Path(id): Path<String>) -> Answer {
    inner.mark_read(&id.into())?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
struct After {
    /// Only entries with a larger number.
    #[serde(default)]
    after: u64,
}

async fn journal(State(inner): Shared, Query(After { after }): Query<After>) -> Json<Value> {
    let journal = inner.journal();
    let mut entries: Vec<_> = journal
        .entries()
        .rev()
        .map(|entry| &entry.summary)
        .take_while(|summary| summary.seq > after)
        .take(JOURNAL_PAGE)
        .collect();
    entries.reverse();
    Json(json!({ "entries": entries }))
}

async fn journal_entry(State(inner): Shared, Path(seq): Path<u64>) -> Result<Json<JournalEntry>, Refused> {
    inner.journal().get(seq).cloned().map(Json).ok_or_else(not_found)
}

/// Changes as they happen. The first event, and one after a gap, is `reload`: look at everything anew.
async fn events(State(inner): Shared) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let reload = || Event::default().event("reload").data("{}");
    let changes = BroadcastStream::new(inner.changes.subscribe()).map(move |change| match change {
        Ok(change) => {
            Event::default().event("change").json_data(&change).expect("ids and numbers can be written")
        }
        Err(_lagged) => reload(),
    });
    let stopped = inner.stop.clone().cancelled_owned();
    let stream = futures_util::stream::once(async move { reload() }).chain(changes).map(Ok);
    Sse::new(stream.take_until(stopped)).keep_alive(KeepAlive::default())
}
