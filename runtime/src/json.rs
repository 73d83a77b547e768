//! What the surfaces show and take as JSON, by the names that are the same on all of them.

use crate::config::{AccountConfig, ChannelConfig, toml_error};
use crate::inbox::EventLife;
use crate::media::{Attached, Attachment, Media};
use crate::store::{EventDelivery, EventSummary};
use crate::widget::Attempt;
use amochats::{Error, ErrorKind, Result};
use secrecy::ExposeSecret;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// An object without the fields that say nothing.
fn present(mut value: Value) -> Value {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, field| !field.is_null());
    }
    value
}

impl EventSummary {
    /// The summary in one JSON object; what is not known is left out.
    pub fn to_json(&self) -> Value {
        present(json!({
            "event_id": self.event_id,
            "channel_id": self.channel_id,
            "account_id": self.account_id,
            "scope_id": self.scope_id,
            "kind": self.kind,
            "received_at_msec": self.received_at,
            "origin": self.origin.name(),
            "conflicting_duplicate": self.conflicting_duplicate,
            "conversation_ref_id": self.conversation_ref_id,
            "conversation_id": self.conversation_id,
            "message_ref_id": self.message_ref_id,
            "size": self.size,
        }))
    }
}

impl EventDelivery {
    /// Where the event is in one subscription, as a JSON object; what is not known is left out.
    pub fn to_json(&self) -> Value {
        present(json!({
            "subscription": self.subscription,
            "state": self.state.name(),
            "attempts": self.attempts,
            "again": self.again,
            "place": self.token.map(|token| token.place),
            "handed_out_at_msec": self.handed_out_at,
            "settled_at_msec": self.settled_at,
            "until_msec": self.until,
        }))
    }
}

impl EventLife {
    /// All of it in one JSON object: `summary`, `event` and `deliveries`.
    pub fn to_json(&self) -> Value {
        let deliveries: Vec<_> = self.deliveries.iter().map(EventDelivery::to_json).collect();
        json!({ "summary": self.summary.to_json(), "event": self.event.to_json(), "deliveries": deliveries })
    }
}

impl Attached {
    /// The link in one JSON object.
    pub fn to_json(&self) -> Value {
        json!({
            "url": self.url, "size": self.size, "content_type": self.content_type,
            "expires_at_msec": self.expires_at,
        })
    }
}

impl Media {
    /// An attachment in one JSON object, with its `path` on disk once it is fetched; what is not known is
    /// left out.
    pub fn to_json(&self, attachment: &Attachment) -> Value {
        let path = self.path(attachment);
        present(json!({
            "event_id": attachment.event_id,
            "state": attachment.state.name(),
            "url": attachment.url,
            "attempts": attachment.attempts,
            "next_at_msec": attachment.next_at,
            "file_name": attachment.file_name,
            "content_type": Some(&attachment.content_type).filter(|known| !known.is_empty()),
            "size": attachment.size,
            "problem": attachment.problem,
            "path": path.map(|path| path.to_string_lossy().into_owned()),
        }))
    }
}

impl Attempt {
    /// The attempt in one JSON object, for whoever decides: with the password.
    pub fn to_json(&self) -> Value {
        json!({
            "login": self.login,
            "password": self.password.expose_secret(),
            "client_id": self.client_id,
            "crm_account_id": self.crm_account_id,
            "crm_user_id": self.crm_user_id,
            "origin": self.origin,
            "account_id": self.account_id,
            "peer": self.peer,
        })
    }
}

impl ChannelConfig {
    /// Reads what a `[[channel]]` says from a JSON object with the same keys.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with what is wrong.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        read(json)
    }
}

impl AccountConfig {
    /// Reads what a `[[channel.account]]` says from a JSON object with the same keys.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] with what is wrong.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        read(json)
    }
}

fn read<T: DeserializeOwned>(json: &[u8]) -> Result<T> {
    // Through TOML's tree, whose mistakes are told without the values.
    let table: toml::Table = serde_json::from_slice(json).map_err(|_| {
        let rule = "must be an object of text, numbers, flags, lists and objects; leave out what is null";
        Error::new(ErrorKind::ConfigInvalid, format!("the configuration {rule}"))
    })?;
    T::deserialize(table).map_err(toml_error)
}
