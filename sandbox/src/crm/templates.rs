//! Templates of messages and their reviews (chats API reference, 7.4).

use super::answer::{Answer, Page, Problem, collection};
use super::book::{Book, Review, Template};
use super::check::{Faults, Fields};
use super::sources::ids;
use super::{Caller, Context, request_id, webhooks};
use crate::state::State;
use amochats::AccountId;
use amochats::crm::{REJECT_REASON_MAX, TEMPLATE_PAGE_MAX, WABA_HEADER_MAX};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};

/// How many templates an account may have: Kommo's support names it, amoCRM no number.
const TEMPLATES_MAX: usize = 150;
const BATCH_MAX: usize = 250;
/// What an integration may report of a review.
const OUTCOMES: [&str; 3] = ["approved", "paused", "rejected"];

fn shown(cx: &Context<'_>, book: &Book, template: &Template, request_id: Option<&str>) -> Value {
    let mut shown = plain(book, template);
    if cx.with("reviews") {
        let reviews = &template.reviews;
        shown["review_status"] = json!(template.review_status());
        shown["is_on_review"] = json!(reviews.iter().any(|review| review.status == "review"));
        shown["_embedded"] = json!({ "reviews": reviews });
    }
    if let Some(request_id) = request_id {
        shown["request_id"] = json!(request_id);
    }
    let href = format!("{}/api/v4/chats/templates/{}", cx.origin, template.id);
    shown["_links"] = json!({ "self": { "href": href } });
    shown
}

/// What answers and webhooks share.
fn plain(book: &Book, template: &Template) -> Value {
    let field = |name: &str, absent: Value| template.fields.get(name).cloned().unwrap_or(absent);
    let examples = match field("waba_examples", json!([])) {
        // PHP writes an empty map as an array.
        Value::Object(map) if map.is_empty() => json!([]),
        examples => examples,
    };
    let mut attachment = field("attachment", Value::Null);
    if let Some(attachment) = attachment.as_object_mut() {
        attachment.insert("is_external".into(), true.into());
    }
    json!({
        "id": template.id, "account_id": book.id, "name": field("name", json!("")),
        "content": field("content", json!("")), "created_at": template.created_at,
        "updated_at": template.updated_at, "buttons": field("buttons", json!([])), "attachment": attachment,
        "is_editable": field("is_editable", json!(false)), "external_id": field("external_id", Value::Null),
        "type": field("type", json!("amocrm")), "waba_footer": field("waba_footer", json!("")),
        "waba_category": field("waba_category", json!("")), "waba_language": field("waba_language", json!("")),
        "waba_examples": examples, "waba_header": field("waba_header", Value::Null),
        "waba_header_type": field("waba_header_type", Value::Null),
    })
}

impl Template {
    fn is_waba(&self) -> bool {
        self.fields.get("type").and_then(Value::as_str) == Some("waba")
    }

    /// The one word for all reviews: the worst that needs a person.
    fn review_status(&self) -> Option<&str> {
        ["rejected", "paused", "review", "approved"]
            .into_iter()
            .find(|status| self.reviews.iter().any(|review| review.status == *status))
    }
}

fn own<'a>(book: &'a Book, caller: &Caller) -> impl Iterator<Item = &'a Template> {
    let client_id = caller.client_id.clone();
    book.templates.iter().filter(move |template| template.client_id == client_id)
}

pub(super) fn list(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    caller.admin()?;
    let page = Page::of(cx, TEMPLATE_PAGE_MAX as usize)?;
    let book = &state.crm.books[&caller.account_id];
    let wanted = cx.values("filter[external_id]");
    let fits = |template: &&Template| {
        let own = template.fields.get("external_id").and_then(Value::as_str);
        wanted.is_empty() || own.is_some_and(|own| wanted.contains(&own))
    };
    let found = own(book, caller).filter(fits).map(|template| shown(cx, book, template, None)).collect();
    Ok(Answer::page(&format!("{}/api/v4/chats/templates", cx.origin), &page, "chat_templates", found))
}

pub(super) fn get(state: &mut State, cx: &Context<'_>, caller: &Caller, id: i64) -> Result<Answer, Problem> {
    caller.admin()?;
    let book = &state.crm.books[&caller.account_id];
    let template = own(book, caller).find(|template| template.id == id);
    let template = template.ok_or_else(|| Problem::not_found("template"))?;
    Ok(Answer::hal(&shown(cx, book, template, None)))
}

/// Checks an item and gives the fields that are kept.
fn checked(fields: &mut Fields<'_>, item: &Value, before: Option<&Template>) -> Map<String, Value> {
    for name in ["name", "content"] {
        if before.is_none() || fields.is_given(name) {
            fields.text(name, true);
        }
    }
    for name in ["external_id", "waba_footer", "waba_language"] {
        fields.text(name, false);
    }
    fields.flag("is_editable");
    fields.choice("type", &["amocrm", "waba"]);
    fields.choice("waba_category", &["UTILITY", "AUTHENTICATION", "MARKETING"]);
    fields.choice("waba_header_type", &["text", "media"]);
    fields.short_text("waba_header", false, WABA_HEADER_MAX);
    if item.get("waba_examples").is_some_and(|examples| *examples != json!([])) {
        fields.object("waba_examples");
    }
    for (at, button) in fields.array("buttons").into_iter().flatten().enumerate() {
        let text = |name: &str| button.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let path = |name: &str| format!("buttons.{at}.{name}");
        if text("text").is_none() {
            fields.fault("NotBlank", &path("text"), "must be a string that is not empty");
        }
        match (text("type"), text("url")) {
            (Some("url"), None) => {
                fields.fault("FieldMissing", &path("url"), "is required for a button of type url");
            }
            (Some("url"), Some(_)) | (Some("inline"), None) => {}
            (Some("inline"), Some(_)) => {
                fields.fault("NotSupportedChoice", &path("url"), "is only for type url");
            }
            _ => fields.fault("NotSupportedChoice", &path("type"), "must be inline or url"),
        }
    }
    if let Some(attachment) = fields.object("attachment") {
        let text = |name: &str| attachment.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        for name in ["id", "name"] {
            if text(name).is_none() {
                fields.fault("FieldMissing", &format!("attachment.{name}"), "is required, as a string");
            }
        }
        if !text("type").is_some_and(|kind| ["picture", "file", "document", "video"].contains(&kind)) {
            let detail = "must be picture, file, document or video";
            fields.fault("NotSupportedChoice", "attachment.type", detail);
        }
    }
    let mut kept = before.map(|before| before.fields.clone()).unwrap_or_default();
    for (name, value) in item.as_object().into_iter().flatten() {
        if name != "id" && name != "request_id" {
            kept.insert(name.clone(), value.clone());
        }
    }
    let has = |name: &str, value: &str| kept.get(name).and_then(Value::as_str) == Some(value);
    if has("waba_header_type", "media") && !kept.get("attachment").is_some_and(Value::is_object) {
        fields.fault("FieldMissing", "attachment", "is required where waba_header_type is media");
    }
    kept
}

pub(super) fn add(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    caller.admin()?;
    let items = cx.items(BATCH_MAX)?;
    let mut faults = Faults::default();
    let mut fresh = Vec::new();
    for (at, item) in items.iter().enumerate() {
        let mut fields = Fields::of(item, at);
        let kept = checked(&mut fields, item, None);
        if fields.finish(&mut faults) {
            fresh.push((kept, request_id(item, at)));
        }
    }
    let fresh = faults.into_result(fresh)?;
    if state.crm.books[&caller.account_id].templates.len() + fresh.len() > TEMPLATES_MAX {
        let detail = format!("the account has no room for more than {TEMPLATES_MAX} templates");
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "too_many_templates", detail));
    }
    let mut made = Vec::new();
    for (fields, request_id) in fresh {
        let id = state.crm.number();
        let template = Template {
            id,
            client_id: caller.client_id.clone(),
            created_at: cx.now,
            updated_at: cx.now,
            fields,
            reviews: Vec::new(),
        };
        state.crm.books.get_mut(&caller.account_id).expect("the caller's").templates.push(template);
        made.push((id, request_id));
    }
    Ok(answer(state, cx, caller, &made))
}

fn answer(state: &State, cx: &Context<'_>, caller: &Caller, ids: &[(i64, String)]) -> Answer {
    let book = &state.crm.books[&caller.account_id];
    let all = ids.iter().filter_map(|(id, request_id)| {
        let template = book.templates.iter().find(|template| template.id == *id)?;
        Some(shown(cx, book, template, Some(request_id)))
    });
    let mut body = collection(
        &format!("{}/api/v4/chats/templates", cx.origin),
        "chat_templates",
        &all.collect::<Vec<_>>(),
    );
    if let Some(body) = body.as_object_mut() {
        body.remove("_links");
    }
    Answer::hal(&body)
}

pub(super) fn edit(
    state: &mut State,
    cx: &Context<'_>,
    caller: &Caller,
    one: Option<i64>,
) -> Result<Answer, Problem> {
    caller.admin()?;
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
        let known = id.and_then(|id| own(book, caller).find(|template| template.id == id));
        if id.is_some() && known.is_none() {
            fields.fault("EntityNotFound", "id", "there is no such template of this integration");
        }
        if known.is_some_and(|known| known.is_waba() && !known.reviews.is_empty()) {
            fields.fault(
                "NotEditable",
                "id",
                "a template of WhatsApp can be changed only as a draft, before its review",
            );
        }
        if let Some(known) = known {
            let kept = checked(&mut fields, item, Some(known));
            if fields.finish(&mut faults) {
                changes.push((known.id, kept, request_id(item, at)));
            }
        } else {
            fields.finish(&mut faults);
        }
    }
    let changes = faults.into_result(changes)?;
    let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
    let mut made = Vec::new();
    for (id, kept, request_id) in changes {
        for template in book.templates.iter_mut().filter(|template| template.id == id) {
            template.fields.clone_from(&kept);
            template.updated_at = cx.now;
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
    caller.admin()?;
    let ids = match one {
        Some(id) => vec![(id, "0".to_owned())],
        None => ids(cx)?,
    };
    let book = &state.crm.books[&caller.account_id];
    let missing: Vec<(String, i64)> = ids
        .iter()
        .filter(|(id, _)| !own(book, caller).any(|template| template.id == *id))
        .map(|(id, request_id)| (request_id.clone(), *id))
        .collect();
    if !missing.is_empty() {
        return Err(Problem::items_not_found("template", &missing));
    }
    let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
    book.templates.retain(|template| !ids.iter().any(|(id, _)| *id == template.id));
    Ok(Answer::empty(StatusCode::NO_CONTENT))
}

/// One review for each source of WhatsApp; the integration hears of it by `add_chat_template_review`.
pub(super) fn submit(
    state: &mut State,
    cx: &Context<'_>,
    caller: &Caller,
    id: i64,
) -> Result<Answer, Problem> {
    caller.admin()?;
    cx.object()?;
    let book = &state.crm.books[&caller.account_id];
    let template = own(book, caller).find(|template| template.id == id);
    let template = template.ok_or_else(|| Problem::not_found("template"))?;
    if !template.is_waba() {
        return Err(Problem::field(
            "0",
            "NotSupportedChoice",
            "type",
            "only a template of type waba has a review",
        ));
    }
    let is_waba = |service: &Value| service.pointer("/params/waba").and_then(Value::as_bool) == Some(true);
    let sources: Vec<i64> = book
        .sources
        .iter()
        .filter(|source| source.client_id == caller.client_id && source.services.iter().any(is_waba))
        .map(|source| source.id)
        .collect();
    if sources.is_empty() {
        let detail = "no source of the integration has the service whatsapp with params.waba";
        return Err(Problem::field("0", "EntityNotFound", "services", detail));
    }
    let reviews: Vec<Review> = sources
        .into_iter()
        .map(|source_id| Review {
            id: state.crm.number(),
            source_id,
            status: "review".into(),
            reject_reason: String::new(),
        })
        .collect();
    let book = state.crm.books.get_mut(&caller.account_id).expect("the caller's");
    let template = book.templates.iter_mut().find(|template| template.id == id).expect("it was found above");
    template.reviews.clone_from(&reviews);
    let template = template.clone();
    let mut told = plain(book, &template);
    told["reviews"] = json!(reviews);
    told["is_on_review"] = json!(true);
    let now_msec = cx.inner.config.clock.now_msec();
    webhooks::tell(
        &mut state.crm,
        &caller.account_id,
        "add_chat_template_review",
        "",
        "add",
        &told,
        &cx.origin,
        now_msec,
    );
    Ok(Answer::hal(&json!({ "_embedded": { "reviews": reviews } })))
}

/// What became of a review, told by the integration.
pub(super) fn report(
    state: &mut State,
    cx: &Context<'_>,
    caller: &Caller,
    id: i64,
    review: i64,
) -> Result<Answer, Problem> {
    caller.admin()?;
    let item = Value::Object(cx.object()?);
    let (mut fields, mut faults) = (Fields::of(&item, 0), Faults::default());
    let status = fields.choice("status", &OUTCOMES);
    if !fields.is_given("status") {
        fields.fault("FieldMissing", "status", "is required");
    }
    let reason = fields.short_text("reject_reason", false, REJECT_REASON_MAX).unwrap_or_default();
    fields.finish(&mut faults);
    let status = faults.into_result(status)?.unwrap_or_default();
    let own = own(&state.crm.books[&caller.account_id], caller).any(|template| template.id == id);
    let review = own.then(|| state.crm.review(&caller.account_id, id, review, status, reason)).flatten();
    let review = review.ok_or_else(|| {
        Problem::field("0", "EntityNotFound", "review_id", "there is no such review of this template")
    })?;
    Ok(Answer::hal(&json!(review)))
}

impl super::Crm {
    /// Sets what became of a review; nothing where there is none.
    pub(super) fn review(
        &mut self,
        account_id: &AccountId,
        template: i64,
        review: i64,
        status: &str,
        reason: &str,
    ) -> Option<Review> {
        let book = self.books.get_mut(account_id)?;
        let template = book.templates.iter_mut().find(|known| known.id == template)?;
        let review = template.reviews.iter_mut().find(|known| known.id == review)?;
        status.clone_into(&mut review.status);
        reason.clone_into(&mut review.reject_reason);
        Some(review.clone())
    }
}

/// Whether a review can have this outcome.
pub(super) fn is_outcome(status: &str) -> bool {
    OUTCOMES.contains(&status)
}
