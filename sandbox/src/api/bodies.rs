//! The bodies of requests, read as strictly as the service does: a number is not a string.
//!
//! A field that is not documented is refused too, since it is most often a misspelt one.

use super::{Fault, tolerance};
use crate::state::Delivery;
use amochats::{
    AccountId, CreateChat, DeliveryErrorCode, DeliveryStatus, EditMessage, Error, HookVersion, NewMessage,
};
use axum::http::StatusCode;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConnectBody {
    account_id: String,
    title: Option<String>,
    hook_api_version: Option<String>,
    #[serde(default)]
    is_time_window_disabled: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DisconnectBody {
    account_id: AccountId,
}

/// Both dialects: `status_code`, and before 2025 `delivery_status` with a repeated `msgid`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeliveryBody {
    status_code: Option<i64>,
    delivery_status: Option<i64>,
    msgid: Option<String>,
    error_code: Option<u16>,
    error: Option<String>,
}

pub(super) struct Connect {
    pub(super) account_id: AccountId,
    pub(super) title: Option<String>,
    pub(super) hook_api_version: HookVersion,
    pub(super) is_time_window_disabled: bool,
}

pub(super) fn invalid(description: impl Into<String>) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "invalid_field", description)
}

/// A request that breaks a rule which the channel's library knows too.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(super) fn refused(error: Error) -> Fault {
    invalid(error.message())
}

fn not_json(error: &serde_json::Error) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, "invalid_json", format!("the body is not JSON: {error}"))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        match error.into_inner() {
            inner if inner.is_data() && path == "." => invalid(inner.to_string()),
            inner if inner.is_data() => invalid(format!("{path}: {inner}")),
            inner => not_json(&inner),
        }
    })?;
    deserializer.end().map_err(|error| not_json(&error))?;
    Ok(value)
}

pub(super) fn connect(body: &[u8]) -> Result<Connect, Fault> {
    let body: ConnectBody = read(body)?;
    let hook_api_version = match body.hook_api_version.as_deref() {
        // Not naming one gives the old form, on live Kommo too.
        None | Some("v1") => HookVersion::V1,
        Some("v2") => HookVersion::V2,
        Some(_) => return Err(invalid("hook_api_version: must be v1 or v2")),
    };
    Ok(Connect {
        account_id: body.account_id.into(),
        title: body.title,
        hook_api_version,
        is_time_window_disabled: body.is_time_window_disabled,
    })
}

pub(super) fn disconnect(body: &[u8]) -> Result<AccountId, Fault> {
    read::<DisconnectBody>(body).map(|body| body.account_id)
}

/// A message, or the change of one.
pub(super) enum Sent {
    /// With what of it webhooks have no field for.
    New(Box<NewMessage>, Option<Value>),
    /// With what of it webhooks have no field for, and the delivery state.
    Edit(Box<EditMessage>, Option<Value>, Option<Delivery>),
}

pub(super) fn message(body: &[u8], gen1: bool, strict: bool) -> Result<Sent, Fault> {
    let mut value: Value = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    if !strict {
        tolerance::message(&mut value);
    }
    if gen1 {
        numeric_phones_to_text(&mut value);
    }
    let body = value.to_string();
    if value["event_type"] == "edit_message" {
        if gen1 {
            return Err(Fault::new(
                StatusCode::BAD_REQUEST,
                "unsupported_event_type",
                "event_type: the first generation does not edit messages, it takes new_message",
            ));
        }
        let edit = EditMessage::from_json(body.as_bytes()).map_err(refused)?;
        let status = edit.delivery_status.as_ref().map(|status| match status {
            DeliveryStatus::Delivered => Delivery::Delivered,
            DeliveryStatus::Read => Delivery::Read,
            DeliveryStatus::Failed { code, error } => {
                Delivery::Error { code: code.code(), text: error.clone() }
            }
        });
        return Ok(Sent::Edit(Box::new(edit), details(value), status));
    }
    let message = NewMessage::from_json(body.as_bytes()).map_err(refused)?;
    Ok(Sent::New(Box::new(message), details(value)))
}

/// What of a message webhooks have no field for.
fn details(mut body: Value) -> Option<Value> {
    const FIELDS: [&str; 6] = ["type", "text", "media", "file_name", "file_size", "delivery_status"];
    let mut details = body["payload"]["message"].take();
    if let Value::Object(fields) = &mut details {
        fields.retain(|name, _| !FIELDS.contains(&&**name));
        for name in ["reply_to", "forwards"] {
            if let Some(quoted) = body["payload"].get(name) {
                fields.insert(name.to_owned(), quoted.clone());
            }
        }
    }
    let empty = details.as_object().is_none_or(serde_json::Map::is_empty);
    (!empty).then_some(details)
}

/// The request for a chat, and the id of a participant who was named by amoCRM's id alone.
pub(super) fn create_chat(body: &[u8], strict: bool) -> Result<(CreateChat, Option<String>), Fault> {
    let mut value: Value = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    let known = if strict { None } else { tolerance::create_chat(&mut value) };
    let chat = CreateChat::from_json(value.to_string().as_bytes()).map_err(refused)?;
    Ok((chat, known))
}

/// The first examples of the vendor wrote phones as numbers.
fn numeric_phones_to_text(value: &mut Value) {
    for person in ["sender", "receiver"] {
        if let Some(phone) = value.pointer_mut(&format!("/payload/{person}/profile/phone"))
            && phone.is_u64()
        {
            *phone = Value::String(phone.to_string());
        }
    }
}

pub(super) fn delivery_status(body: &[u8], path_id: &str) -> Result<Delivery, Fault> {
    let body: DeliveryBody = read(body)?;
    if body.msgid.as_deref().is_some_and(|id| id != path_id) {
        return Err(invalid("msgid: must be the id in the path"));
    }
    let status = match (body.status_code, body.delivery_status) {
        (Some(status), None) | (None, Some(status)) => status,
        (Some(_), Some(_)) => return Err(invalid("status_code: goes without its old name delivery_status")),
        (None, None) => return Err(invalid("status_code: is required")),
    };
    match status {
        1 => Ok(Delivery::Delivered),
        2 => Ok(Delivery::Read),
        -1 => {
            let code =
                body.error_code.ok_or_else(|| invalid("error_code: is required where status_code is -1"))?;
            let code = DeliveryErrorCode::from_code(code).map_err(|error| invalid(error.message()))?;
            let text = body.error.ok_or_else(|| invalid("error: is required where status_code is -1"))?;
            if code == DeliveryErrorCode::Other && text.trim().is_empty() {
                return Err(invalid("error: must say what happened where error_code is 905"));
            }
            Ok(Delivery::Error { code: code.code(), text })
        }
        _ => Err(invalid("status_code: must be 1 (delivered), 2 (read) or -1 (error)")),
    }
}
