//! The CRM in the control API, under `/api/crm`.

use super::handle::{CrmHandle, IntegrationSettings};
use crate::control::{Answer, Body, Path, Shared};
use crate::sandbox::Inner;
use amochats::{AccountId, Error};
use axum::Json;
use axum::extract::State;
use axum::routing::{MethodRouter, get, patch, post};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// The contract of the paths below, in the form of `OpenAPI`.
const OPENAPI: &str = include_str!("openapi.json");

/// The part of the control API's document that describes the paths below.
pub(crate) fn paths() -> serde_json::Map<String, Value> {
    match serde_json::from_str(OPENAPI) {
        Ok(Value::Object(mut document)) => match document.remove("paths") {
            Some(Value::Object(paths)) => paths,
            _ => serde_json::Map::new(),
        },
        _ => serde_json::Map::new(),
    }
}

/// Every route of the CRM.
pub(crate) fn routes() -> Vec<(&'static str, &'static str, MethodRouter<Arc<Inner>>)> {
    vec![
        ("get", "/api/crm", get(overview)),
        ("get", "/api/crm/integrations", get(integrations)),
        ("post", "/api/crm/integrations", post(add_integration)),
        ("patch", "/api/crm/integrations/{client_id}", patch(change_integration)),
        ("post", "/api/crm/integrations/{client_id}/code", post(code)),
        ("post", "/api/crm/integrations/{client_id}/install", post(install)),
        ("post", "/api/crm/integrations/{client_id}/disable", post(disable)),
        ("post", "/api/crm/integrations/{client_id}/token", post(token)),
        ("post", "/api/crm/integrations/{client_id}/one_time_token", post(one_time_token)),
        ("patch", "/api/crm/accounts/{account_id}", patch(change_account)),
        ("patch", "/api/crm/accounts/{account_id}/users/{user_id}", patch(change_user)),
        (
            "post",
            "/api/crm/accounts/{account_id}/templates/{template_id}/reviews/{review_id}",
            post(end_review),
        ),
    ]
}

async fn overview(State(inner): Shared) -> Json<Value> {
    Json(CrmHandle::new(&inner).overview())
}

async fn integrations(State(inner): Shared) -> Json<Value> {
    Json(json!({ "integrations": CrmHandle::new(&inner).integrations() }))
}

async fn add_integration(State(inner): Shared, Body(body): Body<IntegrationSettings>) -> Answer {
    Ok(Json(json!(CrmHandle::new(&inner).add_integration(body)?)))
}

async fn change_integration(
    State(inner): Shared,
    Path(client_id): Path<String>,
    Body(body): Body<IntegrationSettings>,
) -> Answer {
    Ok(Json(json!(CrmHandle::new(&inner).change_integration(&client_id, body)?)))
}

/// Whose account, and as which user; the first account and an administrator unless named.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Who {
    account_id: Option<AccountId>,
    user_id: Option<i64>,
    /// Of a token alone.
    days: Option<u16>,
}

impl Who {
    fn account(&self, inner: &Inner) -> Result<AccountId, Error> {
        let first = || inner.state().accounts.first().map(|account| account.account_id.clone());
        let no_account = || Error::invalid("account_id", "there is no account");
        self.account_id.clone().or_else(first).ok_or_else(no_account)
    }
}

async fn code(State(inner): Shared, Path(client_id): Path<String>, Body(body): Body<Who>) -> Answer {
    let who = body;
    let code = CrmHandle::new(&inner).issue_code(&client_id, &who.account(&inner)?, who.user_id)?;
    Ok(Json(json!({ "code": code })))
}

async fn install(State(inner): Shared, Path(client_id): Path<String>, Body(body): Body<Who>) -> Answer {
    let to = CrmHandle::new(&inner).install(&client_id, &body.account(&inner)?)?;
    Ok(Json(json!({ "redirect": to })))
}

async fn disable(State(inner): Shared, Path(client_id): Path<String>, Body(body): Body<Who>) -> Answer {
    CrmHandle::new(&inner).disable(&client_id, &body.account(&inner)?)?;
    Ok(Json(json!({})))
}

/// How long a token lives unless the call says otherwise, in days.
const TOKEN_DAYS: u16 = 365;

async fn token(State(inner): Shared, Path(client_id): Path<String>, Body(body): Body<Who>) -> Answer {
    let who = body;
    let (account, days) = (who.account(&inner)?, who.days.unwrap_or(TOKEN_DAYS));
    let token = CrmHandle::new(&inner).issue_token(&client_id, &account, who.user_id, days)?;
    Ok(Json(json!({ "token": token })))
}

async fn one_time_token(
    State(inner): Shared,
    Path(client_id): Path<String>,
    Body(body): Body<Who>,
) -> Answer {
    let who = body;
    let token = CrmHandle::new(&inner).one_time_token(&client_id, &who.account(&inner)?, who.user_id)?;
    Ok(Json(json!({ "token": token })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AccountChange {
    is_paid: bool,
}

async fn change_account(
    State(inner): Shared,
    Path(account): Path<AccountId>,
    Body(body): Body<AccountChange>,
) -> Answer {
    CrmHandle::new(&inner).set_paid(&account, body.is_paid)?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserChange {
    is_admin: bool,
}

async fn change_user(
    State(inner): Shared,
    Path((account, user)): Path<(AccountId, i64)>,
    Body(body): Body<UserChange>,
) -> Answer {
    CrmHandle::new(&inner).set_admin(&account, user, body.is_admin)?;
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outcome {
    status: String,
    #[serde(default)]
    reject_reason: String,
}

async fn end_review(
    State(inner): Shared,
    Path((account, template, review)): Path<(AccountId, i64, i64)>,
    Body(body): Body<Outcome>,
) -> Answer {
    let Outcome { status, reject_reason } = body;
    CrmHandle::new(&inner).end_review(&account, template, review, &status, &reject_reason)?;
    Ok(Json(json!({})))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_document_has_every_route_and_no_other() {
        let documented: BTreeSet<(String, String)> = paths()
            .into_iter()
            .flat_map(|(path, item)| {
                let methods: Vec<String> = item.as_object().expect("an object").keys().cloned().collect();
                methods
                    .into_iter()
                    .filter(|key| key != "parameters")
                    .map(move |method| (method, path.clone()))
            })
            .collect();
        let served =
            routes().into_iter().map(|(method, path, _)| (method.to_owned(), path.to_owned())).collect();
        assert_eq!(documented, served);
    }
}
