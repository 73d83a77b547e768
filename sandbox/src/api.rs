//! The chats API: the vendor's paths, checks and answers.

pub(crate) mod bodies;
mod chats;
mod tolerance;
pub(crate) mod verify;

use crate::config::Personality;
use crate::crm;
use crate::faults::{FaultName, Side, Struck, value_of};
use crate::hooks::millis;
use crate::journal::{Direction, JournalBody, JournalEntry, JournalSummary, Verdict, shown_headers};
use crate::plug::Plug;
use crate::sandbox::{Change, Inner};
use crate::state::{Channel, Connection, Line, Message, Party, State as Chats};
use crate::switches::{Absent, Answers, Duplicates, Switches};
use amochats::{AccountId, CONTENT_TYPE, ChannelId, MessageRefId, NewMessage, ScopeId};
use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Extension, Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use bodies::{Reading, Sent};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use verify::{Rules, Scheme, Signed, verify};

/// The largest body that is taken, in bytes.
const BODY_MAX: usize = 1024 * 1024;
/// How much more of a refused body is read, so that the client gets to read the answer.
const DRAINED_MAX: usize = 16 * BODY_MAX;
/// How long a body may take to arrive.
const BODY_DEADLINE: Duration = Duration::from_secs(30);
const METHODS: &str = "this sandbox has POST /v2/origin/custom/{channel_id}/connect, \
     DELETE /v2/origin/custom/{channel_id}/disconnect, and under /v2/origin/custom/{scope_id}: POST to itself, \
     POST /chats, GET /chats/{chat id of amoCRM}/history, POST /{message id of amoCRM}/delivery_status, \
     POST /typing and POST /react";
const GEN1_METHODS: &str = "the first generation has POST /v2/origin/custom/{channel_id}/connect and \
     POST /v2/origin/custom/{scope_id}";

pub(crate) type Shared = State<Arc<Inner>>;

pub(crate) fn router(inner: Arc<Inner>) -> Router {
    let mut router = Router::new()
        .route("/v2/origin/custom/{id}/connect", post(connect))
        .route("/v2/origin/custom/{id}", post(message));
    // The first generation knew none of these.
    if inner.config.personality != Personality::Gen1 {
        router = router
            .route("/v2/origin/custom/{id}/disconnect", delete(disconnect))
            .route("/v2/origin/custom/{id}/{message}/delivery_status", post(delivery_status))
            .route("/v2/origin/custom/{id}/chats", post(chats::create_chat))
            .route("/v2/origin/custom/{id}/chats/{chat}/history", get(chats::history))
            .route("/v2/origin/custom/{id}/typing", post(chats::typing))
            .route("/v2/origin/custom/{id}/react", post(chats::react));
    }
    router
        .merge(crm::router(inner.config.personality))
        .fallback(async |State(inner): Shared| Reply::fault(no_such_method(&inner)))
        .method_not_allowed_fallback(async |State(inner): Shared| {
            let fault = no_such_method(&inner);
            Reply::fault(Fault {
                status: StatusCode::METHOD_NOT_ALLOWED,
                error_type: "wrong_http_method",
                ..fault
            })
        })
        .layer(middleware::from_fn_with_state(inner.clone(), record))
        .route("/attachments/{account}/{id}/{name}", get(attachment))
        .with_state(inner)
}

fn no_such_method(inner: &Inner) -> Fault {
    let methods = if inner.config.personality == Personality::Gen1 { GEN1_METHODS } else { METHODS };
    Fault::new(StatusCode::NOT_FOUND, "no_such_method", methods)
}

/// A file that a manager uploaded; whoever knows its address may have it, as at the vendor.
async fn attachment(
    State(inner): Shared,
    Path((account, id, name)): Path<(String, String, String)>,
) -> Response {
    let files = inner.files.lock().unwrap_or_else(PoisonError::into_inner);
    match files.get(&format!("{account}/{id}/{name}")) {
        Some((kind, bytes)) => {
            ([(header::CONTENT_TYPE, kind), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")], bytes)
                .into_response()
        }
        None => {
            (StatusCode::NOT_FOUND, "there is no such file, or it made room for newer ones").into_response()
        }
    }
}

/// Why a request is refused.
#[derive(Debug)]
pub(crate) struct Fault {
    status: StatusCode,
    error_type: &'static str,
    description: String,
    /// In seconds.
    retry_after: Option<u32>,
}

impl Fault {
    pub(crate) fn new(status: StatusCode, error_type: &'static str, description: impl Into<String>) -> Self {
        Self { status, error_type, description: description.into(), retry_after: None }
    }
}

/// What a call answers when all is well.
enum Answer {
    Json(Value),
    /// Nothing to say, in the way of the personality.
    Done,
    /// Nothing to say, and the status says so.
    NoContent,
}

/// The answer and what the journal notes with it.
struct Reply {
    kind: &'static str,
    status: StatusCode,
    body: Option<Value>,
    verdict: Verdict,
    retry_after: Option<u32>,
}

#[derive(Clone)]
pub(crate) struct Note {
    pub(crate) kind: &'static str,
    pub(crate) verdict: Verdict,
}

impl Reply {
    fn fault(fault: Fault) -> Self {
        Self {
            kind: "unknown",
            status: fault.status,
            // The three keys that public clients read from live answers; the number's meaning is
            // not known there, here it is the HTTP status.
            body: Some(json!({
                "error_code": fault.status.as_u16(),
                "error_type": fault.error_type,
                "error_description": fault.description,
            })),
            verdict: Verdict { ok: false, name: fault.error_type.into(), sentence: fault.description },
            retry_after: fault.retry_after,
        }
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> Response {
        let note = Note { kind: self.kind, verdict: self.verdict };
        let mut response = match self.body {
            Some(body) => {
                (self.status, [(header::CONTENT_TYPE, CONTENT_TYPE)], body.to_string()).into_response()
            }
            None => self.status.into_response(),
        };
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(note);
        response
    }
}

/// A request, whole.
pub(crate) struct Call {
    pub(crate) method: String,
    pub(crate) path_and_query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// How far a fault put the service's clock ahead.
    pub(crate) clock_ahead: Duration,
}

/// The kind of call that a path names, as the journal has it.
fn kind_of(method: &str, path: &str, body: &[u8]) -> &'static str {
    let Some(rest) = path.strip_prefix("/v2/origin/custom/") else {
        return if crm::is_crm(path) { "crm" } else { "unknown" };
    };
    let parts: Vec<&str> = rest.split('/').collect();
    match (method, &parts[..]) {
        ("POST", [_, "connect"]) => "connect",
        ("DELETE", [_, "disconnect"]) => "disconnect",
        ("POST", [_]) if is_edit(body) => "edit_message",
        ("POST", [_]) => "new_message",
        ("POST", [_, "chats"]) => "create_chat",
        ("GET", [_, "chats", _, "history"]) => "history",
        ("POST", [_, _, "delivery_status"]) => "delivery_status",
        ("POST", [_, "typing"]) => "typing",
        ("POST", [_, "react"]) => "react",
        _ => "unknown",
    }
}

/// All that [`kind_of`] can say.
pub(crate) const KINDS: &[&str] = &[
    "connect",
    "disconnect",
    "new_message",
    "edit_message",
    "create_chat",
    "history",
    "delivery_status",
    "typing",
    "react",
    "crm",
    "unknown",
];

fn is_edit(body: &[u8]) -> bool {
    serde_json::from_slice(body).is_ok_and(|body: Value| body["event_type"] == "edit_message")
}

/// Reads the whole request, lets it be answered, and writes both in the journal. Faults strike here.
async fn record(
    State(inner): Shared,
    ConnectInfo(plug): ConnectInfo<Plug>,
    request: Request,
    next: Next,
) -> Response {
    let (at_msec, started) = (inner.config.clock.now_msec(), Instant::now());
    let (mut parts, body) = request.into_parts();
    let path_and_query = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let read = read(body).await;
    let bytes = read.as_ref().ok().cloned().unwrap_or_default();
    let struck = inner.draws().draw(Side::Api, kind_of(parts.method.as_str(), parts.uri.path(), &bytes));
    let call = Arc::new(Call {
        method: parts.method.to_string(),
        path_and_query,
        headers: parts.headers.clone(),
        body: bytes,
        clock_ahead: Duration::from_secs(value_of(&struck, FaultName::Skew).unwrap_or(0)),
    });
    if let Some(ms) = value_of(&struck, FaultName::Latency) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    let response = match (read, instead(&struck)) {
        (_, Some(fault)) | (Err(fault), None) => Reply::fault(fault).into_response(),
        (Ok(_), None) => {
            parts.extensions.insert(call.clone());
            next.run(Request::from_parts(parts, Body::empty())).await
        }
    };
    // What the router itself refuses, a path that is not UTF-8, carries no note.
    let response = match response.extensions().get::<Note>() {
        Some(_) => response,
        None => Reply::fault(no_such_method(&inner)).into_response(),
    };
    let note = response.extensions().get::<Note>().cloned().expect("each reply carries one");
    let (head, body) = response.into_parts();
    let answer = axum::body::to_bytes(body, usize::MAX).await.expect("the body is in memory");
    let silent = [FaultName::Drop, FaultName::Lost].iter().any(|fault| value_of(&struck, *fault).is_some());
    if silent {
        plug.pull_after(0);
    } else if value_of(&struck, FaultName::Cut).is_some() {
        // A status line and a part of the headers.
        plug.pull_after(40);
    }
    inner.record(JournalEntry {
        summary: JournalSummary {
            seq: 0,
            at_msec,
            direction: Direction::Request,
            kind: note.kind.to_owned(),
            method: call.method.clone(),
            target: call.path_and_query.clone(),
            status: (!silent).then(|| head.status.as_u16()),
            duration_ms: millis(started.elapsed()),
            verdict: note.verdict,
            faults: struck.iter().map(Struck::label).collect(),
        },
        headers: shown_headers(call.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))),
        body: JournalBody::of(&call.body),
        answer: JournalBody::of(&answer),
        raw: None,
    });
    Response::from_parts(head, Body::from(answer))
}

/// What is answered in place of the call; it is not carried out.
fn instead(struck: &[Struck]) -> Option<Fault> {
    let fault =
        |status, said: &str| Fault::new(status, "fault", format!("a fault struck: {said}, nothing was done"));
    let status = value_of(struck, FaultName::Status).and_then(|code| u16::try_from(code).ok());
    if let Some(status) = status.and_then(|code| StatusCode::from_u16(code).ok()) {
        return Some(fault(status, "this status"));
    }
    if let Some(seconds) = value_of(struck, FaultName::RateLimit) {
        let limited = fault(StatusCode::TOO_MANY_REQUESTS, "too many requests");
        return Some(Fault { retry_after: u32::try_from(seconds).ok(), ..limited });
    }
    // Nobody will read this one.
    let dropped = value_of(struck, FaultName::Drop).is_some();
    dropped.then(|| fault(StatusCode::SERVICE_UNAVAILABLE, "no answer"))
}

async fn read(body: Body) -> Result<Bytes, Fault> {
    let cut = || Fault::new(StatusCode::BAD_REQUEST, "body_cut", "the connection ended inside the body");
    let reading = async {
        let (mut stream, mut kept, mut seen) = (body.into_data_stream(), BytesMut::new(), 0);
        while let Some(chunk) = stream.next().await {
            let chunk = chunk.map_err(|_| cut())?;
            seen += chunk.len();
            if seen > DRAINED_MAX {
                break;
            }
            if seen <= BODY_MAX {
                kept.extend_from_slice(&chunk);
            }
        }
        if seen > BODY_MAX {
            return Err(Fault::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the body is larger than {BODY_MAX} bytes"),
            ));
        }
        Ok(kept.freeze())
    };
    tokio::time::timeout(BODY_DEADLINE, reading).await.unwrap_or_else(|_| {
        Err(Fault::new(StatusCode::REQUEST_TIMEOUT, "body_slow", "the body did not arrive in time"))
    })
}

/// The common way of all calls: the channel, the signature, then the call itself.
fn serve(
    inner: &Inner,
    call: &Call,
    kind: &'static str,
    channel: &str,
    act: impl FnOnce(&mut Reading<'_>) -> Result<Answer, Fault>,
) -> Reply {
    let switches = inner.switches();
    let personality = inner.config.personality;
    let mut reading = Reading { switches: &switches, personality, notes: Vec::new() };
    let secret = inner.state().channel(&channel.into()).map(Channel::key);
    let secret = secret.ok_or_else(|| {
        Fault::new(
            status_of(switches.unknown_channel),
            "no_such_channel",
            "there is no channel of this id; a scope id is {channel_id}_{account_id}",
        )
    });
    let request = Signed {
        method: &call.method,
        path_and_query: &call.path_and_query,
        headers: &call.headers,
        body: &call.body,
    };
    let outcome = secret.and_then(|secret| {
        let old_method = matches!(kind, "connect" | "new_message");
        let rules = Rules {
            secret: &secret,
            switches: &switches,
            old_method,
            now: inner.config.clock.now() + call.clock_ahead,
        };
        let scheme = verify(&rules, &request)?;
        Ok((scheme, act(&mut reading)?))
    });
    let (scheme, answer) = match outcome {
        Ok(done) => done,
        Err(fault) => return Reply { kind, ..Reply::fault(fault) },
    };
    let (status, body) = match (answer, personality) {
        (Answer::Json(body), _) => (StatusCode::OK, Some(body)),
        (Answer::Done, Personality::Kommo) => (StatusCode::OK, Some(json!({}))),
        (Answer::Done, Personality::Ru | Personality::Gen1) => (StatusCode::OK, None),
        (Answer::NoContent, _) => (StatusCode::NO_CONTENT, None),
    };
    let (name, sentence) = match scheme {
        Scheme::Canonical => ("canonical", "the signature is genuine, in the canonical form"),
        Scheme::BodyOnly => (
            "body_only",
            "the signature is genuine, over the body alone: the form of the first generation, which newer methods \
             do not promise to take",
        ),
    };
    let sentence = reading.notes.iter().fold(sentence.to_owned(), |said, note| said + "; " + note);
    let verdict = Verdict { ok: true, name: name.into(), sentence };
    Reply { kind, status, body, verdict, retry_after: None }
}

fn status_of(absent: Absent) -> StatusCode {
    match absent {
        Absent::Forbidden => StatusCode::FORBIDDEN,
        Absent::NotFound => StatusCode::NOT_FOUND,
    }
}

/// Like [`serve`], for the calls whose path names a scope; it must be connected.
fn serve_scope(
    inner: &Inner,
    call: &Call,
    kind: &'static str,
    scope: &str,
    act: impl FnOnce(&mut Chats, &Line, &mut Reading<'_>) -> Result<Answer, Fault>,
) -> Reply {
    let scope_id = ScopeId::from(scope);
    // What is no scope cannot name a channel either.
    let (channel_id, account_id) = scope_id.split().unwrap_or_else(|_| (scope.into(), AccountId::from("")));
    let line = Line { channel_id, account_id, scope_id };
    serve(inner, call, kind, line.channel_id.as_str(), |reading| {
        let mut state = inner.state();
        if state.connection(&line).is_none() {
            // Kommo's pages have a 404 for creating a chat, and nothing else could be it.
            let kommo = kind == "create_chat" && inner.config.personality == Personality::Kommo;
            let absent = if kommo { Absent::NotFound } else { reading.switches.not_connected };
            return Err(Fault::new(
                status_of(absent),
                "not_connected",
                "the channel is not connected to this account: call connect first",
            ));
        }
        if let Some(limit) = reading.switches.requests_per_second {
            let now_msec = inner.config.clock.now_msec();
            let mut throttle = inner.throttle.lock().unwrap_or_else(PoisonError::into_inner);
            if !throttle.admit(&line.scope_id, limit, now_msec) {
                let said = format!("more than {limit} calls in a second: wait as Retry-After says");
                let fault = Fault::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", said);
                return Err(Fault { retry_after: Some(1), ..fault });
            }
        }
        act(&mut state, &line, reading)
    })
}

/// The accounts that a private channel may connect to are listed when it is registered.
fn no_such_account() -> Fault {
    Fault::new(
        StatusCode::BAD_REQUEST,
        "account_not_found",
        "account_id: the channel may not connect to this account; it must be an account's amojo_id",
    )
}

async fn connect(
    State(inner): Shared,
    Path(id): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Reply {
    serve(&inner, &call, "connect", &id, |reading| {
        let body = reading.connect(&call.body)?;
        let channel_id = ChannelId::from(id.as_str());
        let mut state = inner.state();
        let title = body.title.or_else(|| state.channel(&channel_id).map(|channel| channel.title.clone()));
        let account = state.account_mut(&body.account_id).ok_or_else(no_such_account)?;
        let connection = Connection {
            scope_id: ScopeId::of(&channel_id, &body.account_id),
            channel_id,
            title: title.unwrap_or_default(),
            hook_version: body.hook_api_version,
            is_time_window_disabled: body.is_time_window_disabled,
        };
        let answer = if inner.config.personality == Personality::Gen1 {
            json!({ "account_id": account.account_id, "scope_id": connection.scope_id })
        } else {
            json!({
                "account_id": account.account_id,
                "scope_id": connection.scope_id,
                "title": connection.title,
                "hook_api_version": connection.hook_version,
                "is_time_window_disabled": connection.is_time_window_disabled,
            })
        };
        // Connecting again is the way to change the title or the form of webhooks.
        account.connections.retain(|known| known.channel_id != connection.channel_id);
        account.connections.push(connection);
        inner.changed(Change::Account { account_id: body.account_id });
        Ok(Answer::Json(answer))
    })
}

async fn disconnect(
    State(inner): Shared,
    Path(id): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Reply {
    serve(&inner, &call, "disconnect", &id, |reading| {
        let account_id = reading.disconnect(&call.body)?;
        let mut state = inner.state();
        // For an account that is not connected no code is documented; twice is as good as once.
        let account = state.account_mut(&account_id).ok_or_else(no_such_account)?;
        account.connections.retain(|connection| connection.channel_id.as_str() != id);
        inner.changed(Change::Account { account_id });
        Ok(Answer::Done)
    })
}

async fn message(
    State(inner): Shared,
    Path(id): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Reply {
    let edit =
        serde_json::from_slice(&call.body).is_ok_and(|body: Value| body["event_type"] == "edit_message");
    let kind = if edit { "edit_message" } else { "new_message" };
    serve_scope(&inner, &call, kind, &id, |state, line, reading| {
        let sent = reading.message(&call.body)?;
        state.room_for(call.body.len())?;
        match sent {
            Sent::New(message, details) => {
                new_message(&inner, state, line, reading.switches, &message, details)
            }
            Sent::Edit(edit, details, delivery) => {
                let message = state.edit(line, &edit, details, delivery, reading.switches.transitions)?;
                inner.message_changed(line, &message.conversation_ref_id, &message.message_ref_id);
                // What an edit answers is not documented; the same as a message.
                Ok(Answer::Json(receipt(state, reading.switches, &message)))
            }
        }
    })
}

fn new_message(
    inner: &Inner,
    state: &mut Chats,
    line: &Line,
    switches: &Switches,
    message: &NewMessage,
    details: Option<Value>,
) -> Result<Answer, Fault> {
    if let Some(first) = state.taken(line, &message.message_id) {
        return match switches.duplicates {
            Duplicates::Replay => Ok(Answer::Json(receipt_of(inner, state, switches, first))),
            Duplicates::Reject => Err(Fault::new(
                StatusCode::BAD_REQUEST,
                "duplicate_msgid",
                "payload.msgid: a message with this id was taken before",
            )),
        };
    }
    let accepted = state.accept(line, message, details, inner.config.clock.now_msec())?;
    inner.message_changed(line, &accepted.conversation, &accepted.message);
    crm::message_came(state, &accepted.message, message.silent, inner);
    let message = state.message(&accepted.message).expect("it was taken just now");
    let mut answer = receipt_of(inner, state, switches, message);
    // In a chat of several clients the receiver need not be the chat's own.
    if let (Some(receiver), Some(shown)) = (accepted.receiver, answer.pointer_mut("/new_message/receiver_id"))
    {
        *shown = json!(receiver);
    }
    Ok(Answer::Json(answer))
}

fn receipt_of(inner: &Inner, state: &Chats, switches: &Switches, message: &Message) -> Value {
    if inner.config.personality == Personality::Gen1 {
        return json!({ "new_message": { "msgid": message.message_ref_id } });
    }
    receipt(state, switches, message)
}

/// The answer to a message; the receiver is absent in live answers to a client's message.
fn receipt(state: &Chats, switches: &Switches, message: &Message) -> Value {
    let id = &message.message_ref_id;
    let mut answer = match switches.answers {
        Answers::Since2020 => return json!({ "new_message": { "msgid": id } }),
        Answers::Since2021 => json!({ "msgid": id }),
        Answers::Current => json!({
            "conversation_id": message.conversation_ref_id, "sender_id": message.author.user_ref_id, "msgid": id,
        }),
    };
    if let Some(own) = &message.message_id {
        answer["ref_id"] = json!(own);
    }
    let outgoing = message.author.party != Party::Client && switches.answers == Answers::Current;
    if let Some(chat) = state.chat(&message.conversation_ref_id).filter(|_| outgoing) {
        answer["receiver_id"] = json!(chat.client.user_ref_id);
    }
    json!({ "new_message": answer })
}

async fn delivery_status(
    State(inner): Shared,
    Path((id, message)): Path<(String, String)>,
    Extension(call): Extension<Arc<Call>>,
) -> Reply {
    serve_scope(&inner, &call, "delivery_status", &id, |state, line, reading| {
        let reported = reading.delivery_status(&call.body, &message)?;
        let message_ref_id = MessageRefId::from(message.as_str());
        let known = state.message_on(line, &message_ref_id).ok_or_else(|| {
            Fault::new(
                StatusCode::NOT_FOUND,
                "no_such_message",
                "there is no message of this id: the path takes amoCRM's id, message.message.id of the webhook",
            )
        })?;
        if known.author.party == Party::Client {
            return Err(Fault::new(
                StatusCode::BAD_REQUEST,
                "not_outgoing",
                "only a message to the client has a delivery status, this one is from the client",
            ));
        }
        let transitions = reading.switches.transitions;
        let changed = state.change_message(&message_ref_id, |message| message.report(reported, transitions));
        if let Some(chat) = changed {
            inner.message_changed(line, &chat, &message_ref_id);
        }
        Ok(Answer::Done)
    })
}
