//! The account and its users (chats API reference, 7.1 and 12).

use super::answer::{Answer, Page, Problem};
use super::book::{Book, CrmUser};
use super::{Caller, Context};
use crate::state::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

/// How many users are on a page at most.
const USERS_PAGE_MAX: usize = 250;

#[expect(clippy::unnecessary_wraps, reason = "every call has this form")]
pub(super) fn account(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    let book = &state.crm.books[&caller.account_id];
    let mut account = json!({
        "id": book.id, "name": book.subdomain, "subdomain": book.subdomain, "current_user_id": caller.user.id,
        "country": if cx.kommo() { "US" } else { "RU" }, "customers_mode": "unavailable", "is_unsorted_on": true,
        "is_loss_reason_enabled": false, "is_helpbot_enabled": false, "is_technical_account": false,
        "contact_name_display_order": 1,
        "_links": { "self": { "href": format!("{}/api/v4/account", cx.origin) } },
    });
    for (part, value) in [
        ("amojo_id", json!(caller.account_id)),
        ("drive_url", json!(format!("{}/drive", cx.origin))),
        ("version", json!(if cx.kommo() { 17 } else { 16 })),
    ] {
        if cx.with(part) {
            account[part] = value;
        }
    }
    if cx.with("amojo_rights") {
        account["_embedded"] = json!({ "amojo_rights": { "can_direct": true, "can_create_groups": true } });
    }
    Ok(Answer::hal(&account))
}

pub(super) fn users(state: &mut State, cx: &Context<'_>, caller: &Caller) -> Result<Answer, Problem> {
    may_see_users(state, cx, caller)?;
    let page = Page::of(cx, USERS_PAGE_MAX)?;
    let users = state.crm.books[&caller.account_id].users.iter().map(|user| shown(cx, user)).collect();
    Ok(Answer::page(&format!("{}/api/v4/users", cx.origin), &page, "users", users))
}

pub(super) fn user(state: &mut State, cx: &Context<'_>, caller: &Caller, id: i64) -> Result<Answer, Problem> {
    may_see_users(state, cx, caller)?;
    let user = state.crm.books[&caller.account_id].user(id).ok_or_else(|| Problem::not_found("user"))?;
    Ok(Answer::hal(&shown(cx, user)))
}

fn may_see_users(state: &State, cx: &Context<'_>, caller: &Caller) -> Result<(), Problem> {
    let external =
        state.crm.integration(&caller.client_id).is_some_and(|integration| integration.is_external);
    if external && !cx.kommo() {
        let detail = "an external integration has no access to the users";
        return Err(Problem::new(StatusCode::FORBIDDEN, "external_integration", detail));
    }
    caller.admin()
}

fn shown(cx: &Context<'_>, user: &CrmUser) -> Value {
    let mut shown = json!({
        "id": user.id, "name": user.name, "email": user.login, "lang": if cx.kommo() { "en" } else { "ru" },
        "rights": { "is_admin": user.is_admin, "is_free": false, "is_active": true },
        "_links": { "self": { "href": format!("{}/api/v4/users/{}", cx.origin, user.id) } },
    });
    if cx.with("amojo_id") {
        shown["amojo_id"] = json!(user.user_ref_id);
    }
    shown
}

/// The first generation's look-up: the login and API key of a user stand in the query.
pub(super) fn legacy(state: &mut State, cx: &Context<'_>) -> Result<Answer, Problem> {
    let (login, key) = (cx.value("USER_LOGIN"), cx.value("USER_HASH"));
    let (Some(login), Some(key)) = (login, key) else {
        let detail = "USER_LOGIN and USER_HASH must stand in the query: a user's login and API key";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "no_login", detail));
    };
    let known = |book: &Book| book.users.iter().any(|user| user.login == login && user.api_key == key);
    let Some((account_id, book)) = state.crm.books.iter().find(|(_, book)| known(book)) else {
        let detail = "there is no user of this login and API key";
        return Err(Problem::new(StatusCode::UNAUTHORIZED, "unknown_login", detail));
    };
    // Numbers are texts here, as PHP wrote them then.
    let mut account = json!({
        "id": book.id.to_string(), "name": book.subdomain, "subdomain": book.subdomain,
        "currency": if cx.kommo() { "USD" } else { "RUB" },
    });
    if cx.value("amojo") == Some("Y") {
        account["amojo_id"] = json!(account_id);
    }
    Ok(Answer::json(&json!({ "response": { "account": account, "server_time": cx.now } })))
}
