//! Contacts, what chats they have, and incoming leads (chats API reference, 7.2 and 7.5).

use super::answer::{Answer, Page, Problem, collection};
use super::book::{Book, Contact, Link, number};
use super::check::{Faults, Fields};
use super::{Caller, Context, request_id};
use crate::state::{Chat, State};
use amochats::{AccountId, ConversationRefId};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// How many entities one call may bring.
const BATCH_MAX: usize = 250;

fn shown(cx: &Context<'_>, book: &Book, contact: &Contact) -> Value {
    let mut shown = json!({
        "id": contact.id, "name": contact.name, "first_name": contact.first_name, "last_name": contact.last_name,
        "created_at": contact.created_at, "updated_at": contact.created_at, "account_id": book.id,
        "custom_fields_values": null,
        "_links": { "self": { "href": format!("{}/api/v4/contacts/{}", cx.origin, contact.id) } },
    });
    for (name, value) in &contact.extra {
        shown[name] = value.clone();
    }
    shown
}

pub(super) fn list(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    let book = &state.crm.books[&caller.account_id];
    let page = Page::of(cx, BATCH_MAX)?;
    let words = cx.value("query").map(str::to_lowercase);
    let ids = cx.values("filter[id]");
    let fits = |contact: &&Contact| {
        let all = || {
            format!("{} {}", contact.name, contact.extra.values().map(Value::to_string).collect::<String>())
        };
        words.as_ref().is_none_or(|words| all().to_lowercase().contains(words))
            && (ids.is_empty() || ids.iter().any(|id| *id == contact.id.to_string()))
    };
    let found = book.contacts.iter().filter(fits).map(|contact| shown(cx, book, contact)).collect();
    Ok(Answer::page(&format!("{}/api/v4/contacts", cx.origin), &page, "contacts", found))
}

#[expect(clippy::unnecessary_wraps, reason = "every call has this form")]
pub(super) fn get(state: &mut State, cx: &Context<'_>, caller: &Caller, id: i64) -> Result<Answer, Problem> {
    let book = &state.crm.books[&caller.account_id];
    let contact = book.contacts.iter().find(|contact| contact.id == id);
    // The CRM answers 204 for a contact that is not there.
    Ok(contact.map_or_else(
        || Answer::empty(StatusCode::NO_CONTENT),
        |contact| Answer::hal(&shown(cx, book, contact)),
    ))
}

pub(super) fn add(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    let items = cx.items(BATCH_MAX)?;
    let mut faults = Faults::default();
    let mut fresh = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let mut fields = Fields::of(item, at);
        let [name, first_name, last_name] = ["name", "first_name", "last_name"]
            .map(|name| fields.text(name, false).unwrap_or_default().to_owned());
        fields.array("custom_fields_values");
        if !fields.finish(&mut faults) {
            continue;
        }
        let whole = format!("{first_name} {last_name}").trim().to_owned();
        let known = ["name", "first_name", "last_name", "request_id"];
        let extra =
            item.as_object().into_iter().flatten().filter(|(name, _)| !known.contains(&name.as_str()));
        let contact = Contact {
            id: 0,
            name: if name.is_empty() { whole } else { name },
            first_name,
            last_name,
            created_at: cx.now,
            extra: extra.map(|(name, value)| (name.clone(), value.clone())).collect(),
        };
        fresh.push((contact, request_id(item, at)));
    }
    let fresh = faults.into_result(fresh)?;
    let address = format!("{}/api/v4/contacts", cx.origin);
    let mut made = Vec::new();
    for (contact, request_id) in fresh {
        let id = state.crm.number();
        let href = format!("{address}/{id}");
        made.push(json!({ "id": id, "request_id": request_id, "_links": { "self": { "href": href } } }));
        let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
        book.contacts.push(Contact { id, ..contact });
    }
    Ok(Answer::hal(&json!({ "_links": { "self": { "href": address } }, "_embedded": { "contacts": made } })))
}

/// Cookies of a session make the call somebody else's.
fn without_cookies(cx: &Context<'_>) -> Result<(), Problem> {
    if cx.header("cookie").is_none() {
        return Ok(());
    }
    let detail = "the call came with cookies of a session: send it without the header Cookie";
    Err(Problem::new(StatusCode::UNAUTHORIZED, "session_cookies", detail))
}

/// The channel must name the integration, and only its chats are there.
fn own_chat<'a>(state: &'a State, caller: &Caller, chat: &ConversationRefId) -> Option<&'a Chat> {
    let channel = state.crm.integration(&caller.client_id)?.channel_id.as_ref()?;
    state.chat(chat).filter(|chat| chat.channel_id == *channel && chat.account_id == caller.account_id)
}

fn shown_link(link: &Link) -> Value {
    json!({ "chat_id": link.chat_id, "contact_id": link.contact_id, "id": link.id })
}

pub(super) fn links(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    without_cookies(cx)?;
    caller.admin()?;
    let (contacts, chats) = (cx.values("contact_id"), cx.values("chat_id"));
    let bad = |name, detail| Err(Problem::new(StatusCode::BAD_REQUEST, name, detail));
    if contacts.is_empty() && chats.is_empty() {
        return bad("no_filter", "contact_id or chat_id must stand in the query");
    }
    if cx.kommo() && !contacts.is_empty() && !chats.is_empty() {
        return bad("two_filters", "only one of contact_id and chat_id may stand in the query");
    }
    let found: Vec<Value> = state.crm.books[&caller.account_id]
        .links
        .iter()
        .filter(|link| {
            contacts.iter().any(|id| *id == link.contact_id.to_string())
                || chats.iter().any(|id| *id == link.chat_id.as_str())
        })
        .filter(|link| own_chat(state, caller, &link.chat_id).is_some())
        .map(shown_link)
        .collect();
    Ok(Answer::list(&format!("{}/api/v4/contacts/chats", cx.origin), "chats", &found))
}

pub(super) fn link(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    without_cookies(cx)?;
    caller.admin()?;
    let items = cx.items(BATCH_MAX)?;
    let mut faults = Faults::default();
    let mut wanted = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let mut fields = Fields::of(item, at);
        let (contact_id, chat_id) = (fields.int("contact_id", true), fields.text("chat_id", true));
        let book = &state.crm.books[&caller.account_id];
        if contact_id.is_some_and(|id| !book.contacts.iter().any(|contact| contact.id == id)) {
            fields.fault("EntityNotFound", "contact_id", "there is no such contact");
        }
        let chat_id = chat_id.map(ConversationRefId::from);
        if chat_id.as_ref().is_some_and(|id| own_chat(state, caller, id).is_none()) {
            let detail =
                "there is no such chat in a channel of this integration; it is amoCRM's id of the chat";
            fields.fault("EntityNotFound", "chat_id", detail);
        }
        if fields.finish(&mut faults) {
            wanted
                .extend(contact_id.zip(chat_id).map(|(contact, chat)| (contact, chat, request_id(item, at))));
        }
    }
    let wanted = faults.into_result(wanted)?;
    if cx.kommo() {
        let book = &state.crm.books[&caller.account_id];
        let taken = wanted.iter().find_map(|(contact, chat, _)| {
            book.link_of(chat).map(|link| link.contact_id).filter(|linked| linked != contact)
        });
        if let Some(entity) = taken {
            let detail = "Chat already linked to another entity";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "already_exists", detail)
                .member("code", "AlreadyExists")
                .member("entity_id", entity));
        }
    }
    let mut made = Vec::new();
    for (contact_id, chat_id, request_id) in wanted {
        let mut shown = shown_link(&state.crm.link(&caller.account_id, contact_id, &chat_id));
        state.set_contact(&chat_id, contact_id.unsigned_abs());
        shown["request_id"] = json!(request_id);
        made.push(shown);
    }
    Ok(Answer::hal(&collection(&format!("{}/api/v4/contacts/chats", cx.origin), "chats", &made)))
}

impl super::Crm {
    /// Links a chat to a contact; a link of its own each time the contact is another.
    fn link(&mut self, account_id: &AccountId, contact_id: i64, chat_id: &ConversationRefId) -> Link {
        let id = self.number();
        let book = self.books.get_mut(account_id).expect("an account has a book");
        if let Some(link) = book.link_of(chat_id).filter(|link| link.contact_id == contact_id) {
            return link.clone();
        }
        book.links.retain(|link| link.chat_id != *chat_id);
        let link = Link { id, contact_id, chat_id: chat_id.clone() };
        book.links.push(link.clone());
        for talk in book.talks.iter_mut().filter(|talk| talk.chat_id == *chat_id) {
            talk.contact_id = contact_id;
        }
        link
    }

    /// The contact of a chat in the books, with what the client told of itself where it is new there.
    /// None for a chat that nobody wrote in.
    pub(super) fn contact_of(&mut self, chat: &Chat, now: i64) -> Option<i64> {
        let id = number(chat.contact_id?);
        let book = self.books.get_mut(&chat.account_id)?;
        if !book.contacts.iter().any(|contact| contact.id == id) {
            let client = &chat.client;
            let field = |code: &str, value: &Option<String>| {
                let value = value.as_deref()?;
                Some(json!({ "field_code": code, "values": [{ "value": value }] }))
            };
            let values: Vec<Value> = [field("PHONE", &client.phone), field("EMAIL", &client.email)]
                .into_iter()
                .flatten()
                .collect();
            let mut extra = serde_json::Map::new();
            if !values.is_empty() {
                extra.insert("custom_fields_values".into(), values.into());
            }
            book.contacts.push(Contact {
                id,
                name: client.name.clone(),
                first_name: client.name.clone(),
                last_name: String::new(),
                created_at: now,
                extra,
            });
        }
        self.link(&chat.account_id, id, &chat.conversation_ref_id);
        Some(id)
    }
}

/// Incoming leads of chats, which nobody can make through this API.
pub(super) fn unsorted(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    let page = Page::of(cx, BATCH_MAX)?;
    let categories = cx.values("filter[category]");
    if !categories.is_empty() && !categories.contains(&"chats") {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    }
    let book = &state.crm.books[&caller.account_id];
    let mut items = Vec::new();
    for chat in state.chats() {
        let Some(lead) = chat.lead.as_ref().filter(|_| chat.account_id == caller.account_id) else {
            continue;
        };
        let link = book.link_of(&chat.conversation_ref_id);
        let channel = state.channel(&chat.channel_id);
        let source = chat.source_external_id.as_deref().and_then(|own| {
            book.sources.iter().find(|source| source.external_id == own).map(|source| source.name.as_str())
        });
        let created_at = lead.created_at_msec.div_euclid(1000);
        items.push(json!({
            "uid": chat.conversation_ref_id.as_str().replace('-', ""),
            "source_uid": chat.source_external_id, "source_name": source, "category": "chats",
            "pipeline_id": book.pipeline_id, "created_at": created_at, "account_id": book.id,
            "metadata": {
                "from": chat.client.name, "to": channel.map(|channel| channel.title.as_str()), "received_at": created_at,
                "service": channel.map(|channel| channel.code.as_str()),
                "client": { "name": chat.client.name, "avatar": chat.client.avatar },
                "origin": {
                    "chat_id": chat.conversation_ref_id, "ref": null, "visitor_uid": chat.client.user_ref_id,
                },
                "last_message_text": chat.last_message.as_ref().map(|message| message.content.text.as_str()),
                "source_name": source,
            },
            "_embedded": {
                "leads": [{ "id": lead.id }],
                "contacts": link.map(|link| json!({ "id": link.contact_id })).into_iter().collect::<Vec<_>>(),
                "companies": [],
            },
        }));
    }
    Ok(Answer::page(&format!("{}/api/v4/leads/unsorted", cx.origin), &page, "unsorted", items))
}
