//! The calls about chats beside messages: create one, its history, typing, reactions.

use super::{Answer, Call, Fault, Reply, Shared, bodies, serve_scope};
use crate::config::Personality;
use crate::sandbox::Change;
use crate::state::{Author, Chat, Message, Party};
use amochats::{ConversationRefId, CreateChat, HISTORY_PAGE_MAX, Reaction, ReactionKind, Typing};
use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// How long typing is shown where the call does not say, in milliseconds.
const TYPING_MS: u32 = 5000;

pub(super) async fn create_chat(
    State(inner): Shared,
    Path(id): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Reply {
    serve_scope(&inner, &call, "create_chat", &id, |state, line, reading| {
        let chat = reading.read(&call.body, CreateChat::from_json)?;
        state.room_for(call.body.len())?;
        let (conversation, client) = state.create_chat(line, &chat);
        inner.chat_changed(line, &conversation);
        let mut user = Map::new();
        user.insert("id".into(), json!(client.user_ref_id));
        user.insert("client_id".into(), json!(client.user_id));
        user.insert("name".into(), json!(client.name));
        user.insert("avatar".into(), json!(client.avatar.unwrap_or_default()));
        for (name, value) in [("phone", client.phone), ("email", client.email)] {
            if let Some(value) = value {
                user.insert(name.into(), json!(value));
            }
        }
        Ok(Answer::Json(json!({ "id": conversation, "user": user })))
    })
}

pub(super) async fn history(
    State(inner): Shared,
    Path((id, chat)): Path<(String, String)>,
    Extension(call): Extension<Arc<Call>>,
) -> Reply {
    serve_scope(&inner, &call, "history", &id, |state, line, _| {
        let (offset, limit) = page(&call.path_and_query)?;
        let chat = state.chat_on(line, &ConversationRefId::from(chat));
        let messages: Vec<Value> = chat.map_or_else(Vec::new, |chat| {
            let messages = state.messages(&chat.conversation_ref_id);
            messages.iter().rev().skip(offset).take(limit).map(|message| entry(chat, message)).collect()
        });
        Ok(if messages.is_empty() {
            Answer::NoContent
        } else {
            Answer::Json(json!({ "messages": messages }))
        })
    })
}

/// `offset` and `limit` of the query. The default of the limit is not documented: a whole page.
fn page(path_and_query: &str) -> Result<(usize, usize), Fault> {
    let query = path_and_query.split_once('?').map_or("", |(_path, query)| query);
    let (mut offset, mut limit) = (0, HISTORY_PAGE_MAX as usize);
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        let number = || {
            value.parse().map_err(|_| bodies::invalid(format!("{name}: must be a whole number, 0 or more")))
        };
        match &*name {
            "offset" => offset = number()?,
            "limit" => limit = number()?,
            _ => {}
        }
    }
    if !(1..=HISTORY_PAGE_MAX as usize).contains(&limit) {
        return Err(bodies::invalid(format!("limit: must be 1 to {HISTORY_PAGE_MAX}")));
    }
    Ok((offset, limit))
}

/// A message as the history shows it: empty values of a text as in the vendor's example.
fn entry(chat: &Chat, message: &Message) -> Value {
    let content = &message.content;
    let attachment = content.attachment.clone().unwrap_or_default();
    let thumbnail = if content.kind == "picture" { attachment.url.as_str() } else { "" };
    let mut body = json!({
        "id": message.message_ref_id, "type": content.kind, "text": content.text, "media": attachment.url,
        "thumbnail": thumbnail, "file_name": attachment.file_name, "file_size": attachment.file_size,
    });
    if let Some(id) = &message.message_id {
        body["client_id"] = json!(id);
    }
    for name in ["location", "contact"] {
        if let Some(value) = content.details.as_ref().and_then(|details| details.get(name)) {
            body[name] = value.clone();
        }
    }
    if let Some(group) = &content.media_group_id {
        body["media_group_id"] = json!(group);
    }
    let mut entry = json!({
        "timestamp": message.sent_at_msec.div_euclid(1000),
        "msec_timestamp": message.sent_at_msec,
        "sender": if message.author.party == Party::Client { client(chat) } else { user(&message.author) },
        "message": body,
    });
    if message.author.party != Party::Client {
        entry["receiver"] = client(chat);
    }
    entry
}

fn user(author: &Author) -> Value {
    json!({ "id": author.user_ref_id, "name": author.name })
}

fn client(chat: &Chat) -> Value {
    let client = &chat.client;
    let mut person = json!({ "id": client.user_ref_id, "name": client.name });
    let own = client.user_id.as_ref().map(ToString::to_string);
    for (name, value) in [
        ("client_id", own.as_ref()),
        ("avatar", client.avatar.as_ref()),
        ("phone", client.phone.as_ref()),
        ("email", client.email.as_ref()),
    ] {
        if let Some(value) = value {
            person[name] = json!(value);
        }
    }
    person
}

pub(super) async fn typing(
    State(inner): Shared,
    Path(id): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Reply {
    serve_scope(&inner, &call, "typing", &id, |state, line, reading| {
        let typing = reading.read(&call.body, Typing::from_json);
        let seen = typing.and_then(|typing| {
            let chat = state.typing_client(line, &typing)?;
            Ok((chat, typing.duration_ms.unwrap_or(TYPING_MS)))
        });
        // Kommo has no 400 here.
        let (conversation_ref_id, duration_ms) = seen.map_err(|fault| match inner.config.personality {
            Personality::Kommo => Fault { status: StatusCode::NOT_FOUND, ..fault },
            Personality::Ru | Personality::Gen1 => fault,
        })?;
        inner.changed(Change::Typing {
            account_id: line.account_id.clone(),
            channel_id: line.channel_id.clone(),
            conversation_ref_id,
            duration_ms,
        });
        Ok(Answer::NoContent)
    })
}

pub(super) async fn react(
    State(inner): Shared,
    Path(id): Path<String>,
    Extension(call): Extension<Arc<Call>>,
) -> Reply {
    serve_scope(&inner, &call, "react", &id, |state, line, reading| {
        let reaction = reading.read(&call.body, Reaction::from_json)?;
        let kommo = inner.config.personality == Personality::Kommo;
        if kommo && reaction.kind == ReactionKind::React && reaction.emoji.is_none() {
            return Err(bodies::invalid("emoji: is required where type is react"));
        }
        let (chat, message) = state.react(line, &reaction)?;
        inner.message_changed(line, &chat, &message);
        Ok(Answer::Done)
    })
}
