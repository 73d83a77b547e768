//! Channels, accounts, users, switches; reset, snapshot, restore.

use super::{Answer, Body, Path, Refused, Shared, not_found};
use crate::config::web_address;
use crate::faults::Faults;
use crate::state::{Channel, NewAccount, NewChannel, NewUser};
use amochats::{AccountId, ChannelId, Error};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub(super) async fn state(State(inner): Shared) -> Json<Value> {
    let (channels, accounts, integrations) = {
        let state = inner.state();
        (state.channels.clone(), state.accounts.clone(), state.crm.integrations().to_vec())
    };
    Json(json!({
        "api": inner.api_url(),
        "channels": channels,
        "accounts": accounts,
        "integrations": integrations,
        "companion_url": inner.config.companion_url,
        "personality": inner.config.personality.name(),
        "switches": inner.switches(),
        "faults": inner.draws().shown(),
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WebhookBody {
    url: String,
}

/// Sets the address of the first channel, for the many sandboxes that have but one.
pub(super) async fn set_webhook(State(inner): Shared, Body(body): Body<WebhookBody>) -> Answer {
    web_address("webhook_url", &body.url)?;
    let first = inner.state().channels[0].clone();
    inner.update_channel(Channel { webhook_url: Some(body.url), ..first })?;
    Ok(Json(json!({})))
}

pub(super) async fn add_channel(State(inner): Shared, Body(new): Body<NewChannel>) -> Answer {
    Ok(Json(json!({ "channel": inner.add_channel(new)? })))
}

/// A list would be read as fields in their order.
fn object(body: &Value) -> Result<(), Refused> {
    let no_object = || Refused::new(StatusCode::BAD_REQUEST, "the body must be an object");
    body.is_object().then_some(()).ok_or_else(no_object)
}

/// What is there, with what a body names put in its place; `null` takes something away.
fn changed<T: Serialize + DeserializeOwned>(known: &T, change: Value) -> Result<T, Refused> {
    fn put(place: &mut Value, change: Value) {
        match (place, change) {
            (Value::Object(place), Value::Object(change)) => {
                for (name, value) in change {
                    put(place.entry(name).or_insert(Value::Null), value);
                }
            }
            (place, value) => *place = value,
        }
    }
    object(&change)?;
    let mut whole = json!(known);
    put(&mut whole, change);
    serde_path_to_error::deserialize(whole).map_err(|error| {
        let path = error.path().to_string();
        Error::invalid(path, error.into_inner()).into()
    })
}

pub(super) async fn update_channel(
    State(inner): Shared,
    Path(id): Path<String>,
    Body(change): Body<Value>,
) -> Answer {
    let known = inner.state().channel(&ChannelId::from(id)).cloned().ok_or_else(not_found)?;
    let channel: Channel = changed(&known, change)?;
    if channel.channel_id != known.channel_id {
        return Err(Error::invalid("channel_id", "stays as it is: add another channel").into());
    }
    inner.update_channel(channel.clone())?;
    Ok(Json(json!({ "channel": channel })))
}

pub(super) async fn remove_channel(State(inner): Shared, Path(id): Path<String>) -> Answer {
    let id = ChannelId::from(id);
    inner.state().channel(&id).ok_or_else(not_found)?;
    inner.remove_channel(&id)?;
    Ok(Json(json!({})))
}

pub(super) async fn add_account(State(inner): Shared, Body(new): Body<NewAccount>) -> Answer {
    Ok(Json(json!({ "account": inner.add_account(new)? })))
}

pub(super) async fn add_user(
    State(inner): Shared,
    Path(id): Path<String>,
    Body(new): Body<NewUser>,
) -> Answer {
    let id = AccountId::from(id);
    inner.state().account(&id).ok_or_else(not_found)?;
    Ok(Json(json!({ "user": inner.add_user(&id, new)? })))
}

pub(super) async fn switches(State(inner): Shared) -> Json<Value> {
    Json(json!(inner.switches()))
}

/// Changes the switches that are named.
pub(super) async fn set_switches(State(inner): Shared, Body(change): Body<Value>) -> Answer {
    inner.set_switches(changed(&inner.switches(), change)?)?;
    Ok(Json(json!(inner.switches())))
}

pub(super) async fn faults(State(inner): Shared) -> Json<Value> {
    Json(inner.draws().shown())
}

pub(super) async fn set_faults(State(inner): Shared, Body(mut faults): Body<Value>) -> Answer {
    object(&faults)?;
    // What was shown may come back as it is.
    let rules = faults.get_mut("rules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten().filter_map(Value::as_object_mut) {
        rule.remove("struck");
    }
    let read: Result<Faults, _> = serde_path_to_error::deserialize(faults);
    let faults = read.map_err(|error| Error::invalid(error.path().to_string(), error.into_inner()))?;
    inner.set_faults(faults)?;
    Ok(Json(inner.draws().shown()))
}

pub(super) async fn reset(State(inner): Shared) -> Json<Value> {
    inner.reset();
    Json(json!({}))
}

pub(super) async fn snapshot(State(inner): Shared) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], inner.snapshot()).into_response()
}

pub(super) async fn restore(State(inner): Shared, body: Bytes) -> Answer {
    inner.restore(&body).map_err(|error| Refused {
        field: None,
        ..Refused::new(StatusCode::BAD_REQUEST, format!("the snapshot {}", error.message()))
    })?;
    Ok(Json(json!({})))
}
