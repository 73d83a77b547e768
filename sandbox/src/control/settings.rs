//! Channels, accounts, users, switches; reset, snapshot, restore.

use super::{Answer, Body, Path, Refused, Shared, not_found};
use crate::config::web_address;
use crate::faults::Faults;
use crate::state::{Channel, Features, NewAccount, NewChannel, NewUser};
use crate::switches::Switches;
use amochats::{AccountId, ChannelId, Error, UserRefId};
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Deserializer};
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

/// `null` takes something away, absence leaves it.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(value).map(Some)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChannelChange {
    secret: Option<String>,
    code: Option<String>,
    title: Option<String>,
    bot_ref_id: Option<UserRefId>,
    #[serde(default, deserialize_with = "given")]
    webhook_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "given")]
    webhook_url_v1: Option<Option<String>>,
    features: Option<Features>,
}

pub(super) async fn update_channel(
    State(inner): Shared,
    Path(id): Path<String>,
    Body(change): Body<ChannelChange>,
) -> Answer {
    let known = inner.state().channel(&ChannelId::from(id)).cloned().ok_or_else(not_found)?;
    let channel = Channel {
        channel_id: known.channel_id,
        secret: change.secret.unwrap_or(known.secret),
        code: change.code.unwrap_or(known.code),
        title: change.title.unwrap_or(known.title),
        bot_ref_id: change.bot_ref_id.unwrap_or(known.bot_ref_id),
        webhook_url: change.webhook_url.unwrap_or(known.webhook_url),
        webhook_url_v1: change.webhook_url_v1.unwrap_or(known.webhook_url_v1),
        features: change.features.unwrap_or(known.features),
    };
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
    let Value::Object(change) = change else {
        return Err(Refused::new(StatusCode::BAD_REQUEST, "the body must be an object"));
    };
    let mut switches = json!(inner.switches());
    for (name, value) in change {
        switches[name] = value;
    }
    let read: Result<Switches, _> = serde_path_to_error::deserialize(switches);
    let switches = read.map_err(|error| {
        let path = error.path().to_string();
        Error::invalid(path, error.into_inner())
    })?;
    inner.set_switches(switches)?;
    Ok(Json(json!(inner.switches())))
}

pub(super) async fn faults(State(inner): Shared) -> Json<Value> {
    Json(inner.draws().shown())
}

pub(super) async fn set_faults(State(inner): Shared, Body(faults): Body<Faults>) -> Answer {
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
