//! Sources (chats API reference, 7.3).

use super::answer::{Answer, Problem, collection};
use super::book::{Book, Source};
use super::check::{Faults, Fields};
use super::{Body, Caller, Context, request_id};
use crate::state::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// How many sources one call may bring.
const BATCH_MAX: usize = 50;
/// How many sources an integration may have in an account, and a list shows.
const SOURCES_MAX: usize = 100;
/// The longest `external_id`, as the page of the chats API has it: the page of sources says 36.
const EXTERNAL_ID_MAX: usize = 40;
const ORIGIN_CODE_MAX: usize = 20;

fn shown(cx: &Context<'_>, source: &Source, request_id: Option<&str>) -> Value {
    let mut shown = json!({
        "id": source.id, "name": source.name, "pipeline_id": source.pipeline_id,
        "external_id": source.external_id, "services": source.services, "default": source.default,
        "origin_code": source.origin_code,
    });
    if let Some(request_id) = request_id {
        shown["request_id"] = json!(request_id);
    }
    shown["_links"] = json!({ "self": { "href": format!("{}/api/v4/sources/{}", cx.origin, source.id) } });
    shown
}

/// An administrator, and an integration with a widget.
fn allowed(state: &State, caller: &Caller) -> Result<(), Problem> {
    caller.admin()?;
    let external =
        state.crm.integration(&caller.client_id).is_some_and(|integration| integration.is_external);
    if external {
        let detail = "an external integration has no widget with lead_sources, so it has no sources";
        return Err(Problem::new(StatusCode::FORBIDDEN, "external_integration", detail));
    }
    Ok(())
}

fn own<'a>(book: &'a Book, caller: &Caller) -> impl Iterator<Item = &'a Source> {
    let client_id = caller.client_id.clone();
    book.sources.iter().filter(move |source| source.client_id == client_id)
}

pub(super) fn list(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    allowed(state, caller)?;
    let wanted = cx.values("filter[external_id]");
    let found: Vec<Value> = own(&state.crm.books[&caller.account_id], caller)
        .filter(|source| wanted.is_empty() || wanted.contains(&source.external_id.as_str()))
        .take(SOURCES_MAX)
        .map(|source| shown(cx, source, None))
        .collect();
    Ok(Answer::list(&format!("{}/api/v4/sources", cx.origin), "sources", &found))
}

pub(super) fn get(state: &mut State, cx: &Context<'_>, caller: &Caller, id: i64) -> Result<Answer, Problem> {
    allowed(state, caller)?;
    let found = own(&state.crm.books[&caller.account_id], caller).find(|source| source.id == id);
    Ok(found.map_or_else(
        || Answer::empty(StatusCode::NO_CONTENT),
        |source| Answer::hal(&shown(cx, source, None)),
    ))
}

/// The fields that may be written both times.
struct Written {
    name: Option<String>,
    pipeline_id: Option<i64>,
    default: Option<bool>,
    /// Null where it is to be none.
    origin_code: Option<Value>,
    services: Option<Vec<Value>>,
}

fn written(fields: &mut Fields<'_>, adding: bool) -> Written {
    let name = if adding || fields.is_given("name") { fields.text("name", true) } else { None };
    let origin_code = fields.text("origin_code", false);
    if let Some(code) = origin_code {
        let only = |these: fn(char) -> bool| code.chars().all(these);
        if only(|c| c.is_ascii_digit()) || only(|c| matches!(c, '"' | '\'' | '`')) {
            fields.fault(
                "InvalidValue",
                "origin_code",
                "must be a channel's code, not digits or quotes alone",
            );
        }
        if code.chars().count() > ORIGIN_CODE_MAX {
            fields.fault("TooLong", "origin_code", format!("must be at most {ORIGIN_CODE_MAX} characters"));
        }
    }
    let services = fields.array("services");
    for (at, service) in services.into_iter().flatten().enumerate() {
        if service.get("type").and_then(Value::as_str) != Some("whatsapp") {
            fields.fault("NotSupportedChoice", &format!("services.{at}.type"), "must be whatsapp");
        }
    }
    Written {
        name: name.map(str::to_owned),
        pipeline_id: fields.int("pipeline_id", false),
        default: fields.flag("default"),
        origin_code: fields.is_given("origin_code").then(|| json!(origin_code)),
        services: services.map(|services| services.iter().map(with_links).collect()),
    }
}

/// A page's link is a phone; it becomes the address of a chat.
fn with_links(service: &Value) -> Value {
    let mut service = service.clone();
    for page in service.get_mut("pages").and_then(Value::as_array_mut).into_iter().flatten() {
        let link = page.get("link").and_then(Value::as_str).filter(|link| !link.starts_with("https://"));
        if let Some(phone) = link.map(|link| link.trim_start_matches('+').to_owned()) {
            page["link"] = json!(format!("https://wa.me/{phone}"));
        }
    }
    service
}

pub(super) fn add(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    allowed(state, caller)?;
    let items = cx.items(BATCH_MAX)?;
    let book = &state.crm.books[&caller.account_id];
    let mut taken: Vec<String> = own(book, caller).map(|source| source.external_id.clone()).collect();
    if taken.len() + items.len() > SOURCES_MAX {
        let detail = format!("an integration may have {SOURCES_MAX} sources in an account");
        return Err(Problem::field("0", "TooManyElements", "", detail));
    }
    let pipeline_id = book.pipeline_id;
    let mut faults = Faults::default();
    let mut fresh = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let mut fields = Fields::of(item, at);
        let written = written(&mut fields, true);
        let external_id = fields.short_text("external_id", true, EXTERNAL_ID_MAX).map(str::to_owned);
        if let Some(own) = &external_id {
            if !own.bytes().all(|b| (b' '..=b'~').contains(&b)) {
                fields.fault("InvalidValue", "external_id", "must be printable ASCII characters");
            }
            if taken.contains(own) {
                fields.fault(
                    "NotUnique",
                    "external_id",
                    "another source of the integration has this external_id",
                );
            }
            taken.push(own.clone());
        }
        if fields.finish(&mut faults) {
            let external_id = external_id.unwrap_or_default();
            fresh.push((written, external_id, request_id(item, at)));
        }
    }
    let fresh = faults.into_result(fresh)?;
    let mut made = Vec::new();
    for (written, external_id, request_id) in fresh {
        let id = state.crm.number();
        let source = Source {
            id,
            client_id: caller.client_id.clone(),
            name: written.name.unwrap_or_default(),
            external_id,
            pipeline_id: written.pipeline_id.unwrap_or(pipeline_id),
            default: false,
            origin_code: written.origin_code.as_ref().and_then(Value::as_str).map(str::to_owned),
            services: written.services.unwrap_or_default(),
        };
        let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
        book.sources.push(source);
        if written.default == Some(true) {
            book.make_default(&caller.client_id, id);
        }
        made.push((id, request_id));
    }
    Ok(answer(state, cx, caller, &made))
}

/// The sources as they are now, in the order of the call.
fn answer(state: &State, cx: &Context<'_>, caller: &Caller, ids: &[(i64, String)]) -> Answer {
    let book = &state.crm.books[&caller.account_id];
    let all = ids.iter().filter_map(|(id, request_id)| {
        book.sources.iter().find(|source| source.id == *id).map(|source| shown(cx, source, Some(request_id)))
    });
    Answer::hal(&collection(&format!("{}/api/v4/sources", cx.origin), "sources", &all.collect::<Vec<_>>()))
}

pub(super) fn edit(
    state: &mut State,
    cx: &Context<'_>,
    caller: &Caller,
    one: Option<i64>,
) -> Result<Answer, Problem> {
    allowed(state, caller)?;
    let items = match one {
        None => cx.items(BATCH_MAX)?,
        Some(id) => {
            let mut item = cx.object()?;
            item.insert("id".into(), id.into());
            vec![Value::Object(item)]
        }
    };
    let book = &state.crm.books[&caller.account_id];
    let mut faults = Faults::default();
    let mut changes = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let mut fields = Fields::of(item, at);
        let id = fields.int("id", true);
        let known = id.and_then(|id| own(book, caller).find(|source| source.id == id));
        if id.is_some() && known.is_none() {
            fields.fault("EntityNotFound", "id", "there is no such source of this integration");
        }
        let external_id = fields.text("external_id", false);
        if external_id.is_some() && known.is_some_and(|known| Some(known.external_id.as_str()) != external_id)
        {
            fields.fault("NotEditable", "external_id", "cannot be changed");
        }
        let written = written(&mut fields, false);
        if fields.finish(&mut faults) {
            changes.extend(id.map(|id| (id, written, request_id(item, at))));
        }
    }
    let changes = faults.into_result(changes)?;
    let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
    let mut made = Vec::new();
    for (id, written, request_id) in changes {
        let Some(source) = book.sources.iter_mut().find(|source| source.id == id) else { continue };
        source.name = written.name.unwrap_or_else(|| source.name.clone());
        source.pipeline_id = written.pipeline_id.unwrap_or(source.pipeline_id);
        if let Some(code) = written.origin_code {
            source.origin_code = code.as_str().map(str::to_owned);
        }
        source.services = written.services.unwrap_or_else(|| source.services.clone());
        match written.default {
            Some(true) => book.make_default(&caller.client_id, id),
            Some(false) => source.default = false,
            None => {}
        }
        made.push((id, request_id));
    }
    match one {
        None => Ok(answer(state, cx, caller, &made)),
        Some(id) => get(state, cx, caller, id),
    }
}

pub(super) fn delete(
    state: &mut State,
    cx: &Context<'_>,
    caller: &Caller,
    one: Option<i64>,
) -> Result<Answer, Problem> {
    allowed(state, caller)?;
    let ids = match one {
        Some(id) => vec![(id, "0".to_owned())],
        None => ids(cx)?,
    };
    let book = &state.crm.books[&caller.account_id];
    let missing: Vec<(String, i64)> = ids
        .iter()
        .filter(|(id, _)| !own(book, caller).any(|source| source.id == *id))
        .map(|(id, request_id)| (request_id.clone(), *id))
        .collect();
    if !missing.is_empty() {
        return Err(match one {
            Some(_) => Problem::not_found("source"),
            None => Problem::items_not_found("source", &missing),
        });
    }
    let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
    book.sources.retain(|source| !ids.iter().any(|(id, _)| *id == source.id));
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// The ids of a batch that is to be deleted.
pub(super) fn ids(cx: &Context<'_>) -> Result<Vec<(i64, String)>, Problem> {
    let items = match cx.body()? {
        Body::One(_) => {
            return Err(Problem::field("0", "InvalidType", "", "must be an array of objects with an id"));
        }
        Body::Many(items) => items,
    };
    let mut faults = Faults::default();
    let mut ids = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let mut fields = Fields::of(item, at);
        let id = fields.int("id", true);
        if fields.finish(&mut faults) {
            ids.extend(id.map(|id| (id, request_id(item, at))));
        }
    }
    faults.into_result(ids)
}

impl Book {
    /// At most one source of an integration is the default.
    fn make_default(&mut self, client_id: &str, id: i64) {
        for source in self.sources.iter_mut().filter(|source| source.client_id == client_id) {
            source.default = source.id == id;
        }
    }
}
