//! What the page of integrations sees and does, as JSON: widgets, installations, one-time tokens.

use crate::control::{Answer, Body, Path, Query, Shared};
use crate::crm::{CrmHandle, Flaw};
use crate::sandbox::Inner;
use amochats::{AccountId, Error};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, header};
use axum::routing::{MethodRouter, get, post, put};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;

/// The contract of the paths below, in the form of `OpenAPI`.
const OPENAPI: &str = include_str!("openapi.json");
/// How long the server of a widget may take when it is called by the CRM's proxy; the vendor's limit is not known.
const PROXY_TIMEOUT: Duration = Duration::from_secs(10);

/// The part of the control API's document that describes the paths below.
pub(crate) fn paths() -> Map<String, Value> {
    match serde_json::from_str(OPENAPI) {
        Ok(Value::Object(mut document)) => match document.remove("paths") {
            Some(Value::Object(paths)) => paths,
            _ => Map::new(),
        },
        _ => Map::new(),
    }
}

/// Every route of the page of integrations.
pub(crate) fn routes() -> Vec<(&'static str, &'static str, MethodRouter<Arc<Inner>>)> {
    let archives = DefaultBodyLimit::max(super::package::ARCHIVE_MAX);
    vec![
        ("get", "/api/widgets", get(list)),
        ("put", "/api/widgets/{client_id}", put(load).layer(archives)),
        ("post", "/api/widgets/{client_id}/accounts/{account_id}/install", post(install)),
        ("post", "/api/widgets/{client_id}/accounts/{account_id}/settings", post(save)),
        ("post", "/api/widgets/{client_id}/accounts/{account_id}/disable", post(disable)),
        ("post", "/api/widgets/{client_id}/accounts/{account_id}/proxy", post(proxy)),
        ("get", "/ajax/v2/integrations/{client_id}/disposable_token", get(token)),
    ]
}

async fn list(State(inner): Shared) -> Json<Value> {
    let state = inner.state();
    let widgets = &state.widgets;
    let integrations = state.crm.integrations().iter();
    let shown: Vec<Value> = integrations
        .filter(|integration| widgets.packages.contains_key(&integration.client_id))
        .map(|integration| {
            let fields =
                widgets.fields.iter().filter(|((client_id, _), _)| *client_id == integration.client_id);
            let saved: Vec<Value> = fields
                .map(|((_, account_id), fields)| json!({ "account_id": account_id, "fields": fields }))
                .collect();
            json!({ "client_id": integration.client_id, "code": integration.code, "saved": saved })
        })
        .collect();
    Json(json!({ "widgets": shown }))
}

async fn load(State(inner): Shared, Path(client_id): Path<String>, archive: Bytes) -> Answer {
    inner.load_widget(&client_id, archive)?;
    Ok(Json(json!({})))
}

type Installation = Path<(String, AccountId)>;

/// Switches on: the code goes to the redirect URI. Nothing is saved yet.
async fn install(State(inner): Shared, Path((client_id, account)): Installation) -> Answer {
    let to = CrmHandle::new(&inner).install(&client_id, &account)?;
    Ok(Json(json!({ "redirect": to })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    fields: Map<String, Value>,
}

/// Keeps what the form has, as the CRM does.
async fn save(
    State(inner): Shared,
    Path((client_id, account)): Installation,
    Body(body): Body<Fields>,
) -> Answer {
    CrmHandle::new(&inner).users(&account)?;
    inner.state().widgets.fields.insert((client_id, account), body.fields);
    inner.changed(crate::Change::Settings);
    Ok(Json(json!({})))
}

/// Switches off: tokens are revoked, the channel is disconnected, the hook goes out, and the fields are gone.
async fn disable(State(inner): Shared, Path((client_id, account)): Installation) -> Answer {
    CrmHandle::new(&inner).disable(&client_id, &account)?;
    inner.state().widgets.fields.remove(&(client_id, account));
    inner.changed(crate::Change::Settings);
    Ok(Json(json!({})))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    account_id: AccountId,
    flaw: Option<Flaw>,
}

async fn token(
    State(inner): Shared,
    Path(client_id): Path<String>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Answer {
    if headers.get("x-requested-with").is_none_or(|value| value != "XMLHttpRequest") {
        return Err(Error::invalid("X-Requested-With", "must be XMLHttpRequest").into());
    }
    // The account's address, as the browser knows it: its `Origin` is the same.
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let origin = format!("http://{host}");
    // As in the CRM, a page gets tokens of its own account alone.
    if let Some((label, _)) = host.split_once(".localhost") {
        let state = inner.state();
        let known = state.accounts.iter().find(|known| known.account_id == wanted.account_id);
        if known.is_none_or(|known| !known.subdomain.eq_ignore_ascii_case(label)) {
            return Err(Error::invalid("account_id", "must be the account of this address").into());
        }
    }
    let token = CrmHandle::new(&inner).page_token(&client_id, &wanted.account_id, &origin, wanted.flaw)?;
    Ok(Json(json!({ "token": token })))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Proxied {
    url: String,
    #[serde(default)]
    data: Map<String, Value>,
}

/// `crm_post`: the CRM calls the widget's server, with a form, and hands the answer back as it is.
async fn proxy(State(inner): Shared, Path(_installation): Installation, Body(body): Body<Proxied>) -> Answer {
    let url = crate::config::web_address("url", &body.url)?;
    let form = body.data.iter().fold(
        url::form_urlencoded::Serializer::new(String::new()),
        |mut form, (name, value)| {
            form.append_pair(name, value.as_str().map_or_else(|| value.to_string(), str::to_owned).as_str());
            form
        },
    );
    let request = inner.http.post(url).timeout(PROXY_TIMEOUT);
    let request =
        request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body({ form }.finish());
    let failed = |_| Error::invalid("url", "the widget's server did not answer");
    let response = request.send().await.map_err(failed)?;
    let status = response.status().as_u16();
    Ok(Json(json!({ "status": status, "body": response.text().await.map_err(failed)? })))
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
