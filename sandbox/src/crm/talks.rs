//! Talks, which a client's message begins (chats API reference, 7.5).

use super::answer::{Answer, Problem};
use super::book::{Book, Talk};
use super::{Caller, Context, webhooks};
use crate::sandbox::Inner;
use crate::state::{Chat, Message, Party, State};
use amochats::{ConversationRefId, MessageRefId};
use axum::http::StatusCode;
use serde_json::{Value, json};

fn shown(state: &State, book: &Book, talk: &Talk) -> Value {
    let chat = state.chat(&talk.chat_id);
    let lead = chat.and_then(|chat| chat.lead.as_ref()).map(|lead| lead.id);
    json!({
        "talk_id": talk.id, "created_at": talk.created_at, "updated_at": talk.updated_at, "rate": 0,
        "contact_id": talk.contact_id, "chat_id": talk.chat_id, "entity_id": lead,
        "entity_type": lead.map(|_| "lead"), "is_in_work": talk.is_in_work,
        "is_read": chat.is_none_or(|chat| chat.unread == 0),
        "origin": chat.and_then(|chat| state.channel(&chat.channel_id)).map(|channel| channel.code.as_str()), "missed_at": null,
        "account_id": book.id,
    })
}

fn find(book: &Book, id: i64) -> Result<&Talk, Problem> {
    book.talks.iter().find(|talk| talk.id == id).ok_or_else(|| Problem::not_found("talk"))
}

pub(super) fn get(state: &mut State, cx: &Context<'_>, caller: &Caller, id: i64) -> Result<Answer, Problem> {
    caller.admin()?;
    let book = &state.crm.books[&caller.account_id];
    let talk = find(book, id)?;
    let mut shown = shown(state, book, talk);
    let link = |kind: &str, id: &Value| json!({ "id": id, "_links": { "self": { "href": format!("{}/api/v4/{kind}/{id}", cx.origin) } } });
    let leads: Vec<Value> =
        shown.get("entity_id").filter(|id| !id.is_null()).map(|id| link("leads", id)).into_iter().collect();
    let contact = link("contacts", &json!(talk.contact_id));
    shown["_links"] = json!({ "self": { "href": format!("{}/api/v4/talks/{id}", cx.origin) } });
    shown["_embedded"] = json!({ "contacts": [contact], "leads": leads, "customers": [] });
    Ok(Answer::hal(&shown))
}

pub(super) fn close(
    state: &mut State,
    cx: &Context<'_>,
    caller: &Caller,
    id: i64,
) -> Result<Answer, Problem> {
    caller.admin()?;
    if !cx.call.body.is_empty() {
        cx.object()?;
    }
    if !find(&state.crm.books[&caller.account_id], id)?.is_in_work {
        let detail = "the talk is closed already";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "closed_already", detail));
    }
    let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
    let talk = book.talks.iter_mut().find(|talk| talk.id == id).expect("it was found above");
    talk.is_in_work = false;
    let chat = talk.chat_id.clone();
    update(state, &chat, cx.inner);
    Ok(Answer::empty(StatusCode::ACCEPTED))
}

/// Tells that the last talk of a chat changed.
fn update(state: &mut State, chat: &ConversationRefId, inner: &Inner) {
    let now_msec = inner.config.clock.now_msec();
    let Some(account_id) = state.chat(chat).map(|chat| chat.account_id.clone()) else { return };
    let Some(book) = state.crm.books.get_mut(&account_id) else { return };
    let Some(talk) = book.talks.iter_mut().rev().find(|talk| talk.chat_id == *chat) else { return };
    talk.updated_at = now_msec.div_euclid(1000);
    let talk = talk.clone();
    let told = shown(state, &state.crm.books[&account_id], &talk);
    webhooks::tell(
        &mut state.crm,
        &account_id,
        "update_talk",
        "talk",
        "update",
        &told,
        &inner.api_url(),
        now_msec,
    );
}

/// A manager has read the chat.
pub(crate) fn read(state: &mut State, chat: &ConversationRefId, inner: &Inner) {
    state.sync_crm();
    update(state, chat, inner);
    inner.crm_wake.notify_one();
}

/// A message came from the channel: the chat gets its contact and its talk, and who subscribed hears
/// of it, unless it is silent or of a manager.
pub(crate) fn message_came(state: &mut State, message: &MessageRefId, silent: bool, inner: &Inner) {
    state.sync_crm();
    let Some(message) = state.message(message).cloned() else { return };
    let Some(chat) = state.chat(&message.conversation_ref_id).cloned() else { return };
    let now_msec = inner.config.clock.now_msec();
    let now = now_msec.div_euclid(1000);
    let Some(contact_id) = state.crm.contact_of(&chat, now) else { return };
    if silent || message.author.party != Party::Client {
        return;
    }
    let chat_id = &chat.conversation_ref_id;
    let open = |talk: &&Talk| talk.chat_id == *chat_id && talk.is_in_work;
    let known = state.crm.books[&chat.account_id].talks.iter().find(open).cloned();
    let is_new = known.is_none();
    let talk = known.unwrap_or_else(|| {
        let (id, chat_id) = (state.crm.number(), chat_id.clone());
        let talk = Talk { id, chat_id, contact_id, created_at: now, updated_at: now, is_in_work: true };
        let book = state.crm.books.get_mut(&chat.account_id).expect("an account has a book");
        book.talks.push(talk.clone());
        talk
    });
    let told = incoming(state, &chat, &message, &talk);
    let origin = inner.api_url();
    webhooks::tell(
        &mut state.crm,
        &chat.account_id,
        "add_message",
        "message",
        "add",
        &told,
        &origin,
        now_msec,
    );
    if is_new {
        let told = shown(state, &state.crm.books[&chat.account_id], &talk);
        webhooks::tell(&mut state.crm, &chat.account_id, "add_talk", "talk", "add", &told, &origin, now_msec);
    } else {
        update(state, chat_id, inner);
    }
    inner.crm_wake.notify_one();
}

/// The message as the CRM's own webhooks tell it.
fn incoming(state: &State, chat: &Chat, message: &Message, talk: &Talk) -> Value {
    let lead = chat.lead.as_ref().map(|lead| i64::try_from(lead.id).unwrap_or(i64::MAX));
    let (kind, name, id) = match lead {
        Some(lead) => (2, "lead", lead),
        None => (1, "contact", talk.contact_id),
    };
    let mut told = json!({
        "id": message.message_ref_id, "chat_id": chat.conversation_ref_id, "talk_id": talk.id,
        "contact_id": talk.contact_id, "text": message.content.text,
        "created_at": message.sent_at_msec.div_euclid(1000), "element_type": kind, "entity_type": name,
        "element_id": id, "entity_id": id, "type": "incoming",
        "author": { "id": message.author.user_ref_id, "type": "external", "name": message.author.name },
        "origin": state.channel(&chat.channel_id).map(|channel| channel.code.as_str()),
    });
    if let Some(avatar) = &chat.client.avatar {
        told["author"]["avatar_url"] = json!(avatar);
    }
    if let Some(attachment) = &message.content.attachment {
        told["attachment"] = json!({
            "type": message.content.kind, "link": attachment.url, "file_name": attachment.file_name,
        });
    }
    told
}
