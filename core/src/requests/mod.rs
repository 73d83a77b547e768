//! The calls of the chats API beside messages, and the answers of all.
//!
//! [`ApiRequest`] is a call as it goes on the wire, before it is signed: what the client sends,
//! and what a program with its own HTTP stack can send itself.

mod activity;
mod chat;
mod delivery;

pub(crate) use activity::one_of;
pub use activity::{Reaction, ReactionKind, Typing};
pub use chat::{
    CreateChat, CreatedChat, HISTORY_PAGE_MAX, History, HistoryContact, HistoryLocation, HistoryMessage,
    HistoryPage,
};
pub(crate) use delivery::WireStatus;
pub use delivery::{DeliveryErrorCode, DeliveryStatus};

use crate::error::{Error, ErrorKind, Result};
use crate::ids::{
    AccountId, ChannelId, ChannelSecret, ConversationRefId, MessageId, MessageRefId, ScopeId, UserRefId,
};
use crate::message::{EditMessage, NewMessage, filled};
use crate::signing::{CONTENT_TYPE, SignedHeaders, sign_request};
use crate::strict;
use crate::webhook::HookVersion;
use serde::{Deserialize, Serialize};

/// The path under which the chats API lives.
const ROOT: &str = "/v2/origin/custom";

/// A call of the chats API: method, path and the bytes of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiRequest {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// The path with its query string, which is not signed.
    pub path: String,
    /// The body; empty for `GET`.
    pub body: Vec<u8>,
}

impl ApiRequest {
    /// Connects the channel to an account.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for ids that cannot stand in a path, and for an empty title.
    pub fn connect(channel: &ChannelId, connect: &Connect) -> Result<Self> {
        filled(connect.account_id.as_str(), "account_id")?;
        if let Some(title) = &connect.title {
            filled(title, "title")?;
        }
        Ok(Self::new("POST", [segment("channel_id", channel.as_str())?, "connect"], strict::bytes(connect)))
    }

    /// Disconnects the channel from an account. The body is required although it is a `DELETE`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for ids that cannot stand in a path.
    pub fn disconnect(channel: &ChannelId, account: &AccountId) -> Result<Self> {
        filled(account.as_str(), "account_id")?;
        let body = strict::bytes(&serde_json::json!({ "account_id": account }));
        Ok(Self::new("DELETE", [segment("channel_id", channel.as_str())?, "disconnect"], body))
    }

    /// Sends a message to the CRM.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the path of the field that breaks a rule.
    pub fn send_message(scope: &ScopeId, message: &NewMessage) -> Result<Self> {
        Ok(Self::new("POST", [segment("scope_id", scope.as_str())?], message.to_json()?))
    }

    /// Changes a message that was sent before.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the path of the field that breaks a rule.
    pub fn edit_message(scope: &ScopeId, edit: &EditMessage) -> Result<Self> {
        Ok(Self::new("POST", [segment("scope_id", scope.as_str())?], edit.to_json()?))
    }

    fn new<const N: usize>(method: &'static str, segments: [&str; N], body: Vec<u8>) -> Self {
        Self { method, path: format!("{ROOT}/{}", segments.join("/")), body }
    }

    /// The path without its query string.
    pub fn path_only(&self) -> &str {
        self.path.split_once('?').map_or(self.path.as_str(), |(path, _query)| path)
    }

    /// The four headers to send with it; `date` as [`format_date`](crate::format_date) writes it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a date with a line break.
    pub fn sign(&self, secret: &ChannelSecret, date: &str) -> Result<SignedHeaders> {
        sign_request(secret, self.method, &self.path, CONTENT_TYPE, date, &self.body)
    }
}

/// Checks a request given in the vendor's JSON and writes the body to sign and send: one door to
/// every call that has a body of more than an id, for a caller that holds JSON.
///
/// | `call` | The request as a type |
/// |---|---|
/// | `send_message` | [`NewMessage`] |
/// | `edit_message` | [`EditMessage`] |
/// | `create_chat` | [`CreateChat`] |
/// | `set_delivery_status` | [`DeliveryStatus`]; the form from before 2025 is understood |
/// | `set_delivery_status_old` | the same, in and out in the form from before 2025 |
/// | `send_typing` | [`Typing`] |
/// | `react` | [`Reaction`] |
///
/// ```
/// let body = amochats::encode_request("send_typing", br#"{"conversation_id": "c-9", "sender": {"id": "u-5"}}"#)?;
/// assert_eq!(body, br#"{"conversation_id":"c-9","sender":{"id":"u-5"}}"#);
/// # Ok::<(), amochats::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidArgument`] with the path of the field that breaks a rule, and with the field
/// `call` for a name that is not in the table.
pub fn encode_request(call: &str, json: &[u8]) -> Result<Vec<u8>> {
    match call {
        "send_message" => NewMessage::from_json(json)?.to_json(),
        "edit_message" => EditMessage::from_json(json)?.to_json(),
        "create_chat" => CreateChat::from_json(json)?.to_json(),
        "set_delivery_status" => DeliveryStatus::from_json(json)?.to_json(),
        "set_delivery_status_old" => {
            let (message, status) = DeliveryStatus::from_old_json(json)?;
            status.to_old_json(&message)
        }
        "send_typing" => Typing::from_json(json)?.to_json(),
        "react" => Reaction::from_json(json)?.to_json(),
        _ => Err(Error::invalid(
            "call",
            "must be send_message, edit_message, create_chat, set_delivery_status, set_delivery_status_old, \
             send_typing or react",
        )),
    }
}

/// An id that is to stand in a path. The vendor's are UUIDs; what could change the path is refused.
pub(crate) fn segment<'a>(field: &str, id: &'a str) -> Result<&'a str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if id.is_empty() || !id.bytes().all(plain) {
        return Err(Error::invalid(field, "must be letters, digits, \"-\" and \"_\" alone"));
    }
    Ok(id)
}

/// The body of `connect`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Connect {
    /// The account to connect.
    pub account_id: AccountId,
    /// The channel's name in this account; Kommo wants it, amoCRM takes the channel's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The form of webhooks. It is always sent: without it the account would get v1.
    pub hook_api_version: HookVersion,
    /// Switches the channel's time window off in this account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub is_time_window_disabled: Option<bool>,
}

impl Connect {
    /// A connection with webhooks v2.
    pub fn new(account_id: impl Into<AccountId>) -> Self {
        Self {
            account_id: account_id.into(),
            title: None,
            hook_api_version: HookVersion::V2,
            is_time_window_disabled: None,
        }
    }

    /// Names the channel in this account.
    pub fn with_title(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }
}

/// The answer to `connect`. Before 2023 it had four keys, in the first generation two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// The account.
    pub account_id: AccountId,
    /// The connection: part of every other path, and of the webhook address.
    pub scope_id: ScopeId,
    /// The channel's name in this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The form of webhooks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook_api_version: Option<String>,
    /// Whether the channel's time window is off in this account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_time_window_disabled: Option<bool>,
}

impl Connected {
    /// Reads the answer.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`] for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        answer(json, "connect")
    }
}

/// The answer to a message: the message was taken and appears a little later.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MessageReceipt {
    /// amoCRM's id of the message.
    pub message_ref_id: Option<MessageRefId>,
    /// The integration's id of the message, as sent; absent before 2021.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// amoCRM's id of the chat; absent before 2024. One page of the vendor prints the
    /// integration's id here, live answers hold amoCRM's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_ref_id: Option<ConversationRefId>,
    /// amoCRM's id of the sender; absent before 2024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender_ref_id: Option<UserRefId>,
    /// amoCRM's id of the receiver; absent for a message from a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver_ref_id: Option<UserRefId>,
}

impl MessageReceipt {
    /// Reads the answer in each of its forms since 2020.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`] for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Answer {
            new_message: Fields,
        }
        #[derive(Deserialize)]
        struct Fields {
            msgid: Option<MessageRefId>,
            ref_id: Option<MessageId>,
            conversation_id: Option<ConversationRefId>,
            sender_id: Option<UserRefId>,
            receiver_id: Option<UserRefId>,
        }
        let Answer { new_message: fields } = answer(json, "send_message")?;
        Ok(Self {
            message_ref_id: fields.msgid,
            message_id: fields.ref_id,
            conversation_ref_id: fields.conversation_id,
            sender_ref_id: fields.sender_id,
            receiver_ref_id: fields.receiver_id,
        })
    }

    /// Reads the answer to an edit. The vendor does not document it; whatever is not the answer to
    /// a message becomes a receipt without ids.
    pub fn from_edit_json(json: &[u8]) -> Self {
        Self::from_json(json).unwrap_or_default()
    }
}

fn answer<'a, T: Deserialize<'a>>(json: &'a [u8], call: &str) -> Result<T> {
    // The cause is not kept: it could quote the answer.
    serde_json::from_slice(json).map_err(|_| {
        Error::new(
            ErrorKind::UnexpectedResponse,
            format!("the answer to {call} is not of the documented form"),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_cannot_change_the_path() {
        for id in ["", "a/b", "../x", "a?b", "a%2f", "a b", "я"] {
            let error = ApiRequest::set_delivery_status(&"s".into(), &id.into(), &DeliveryStatus::Read)
                .expect_err(id);
            assert_eq!(error.field(), Some("message_ref_id"));
        }
    }

    #[test]
    fn receipts_of_every_year_are_read() {
        let of = |json: &str| MessageReceipt::from_json(json.as_bytes()).expect(json);
        assert_eq!(of(r#"{"new_message":{"msgid":"M"}}"#).message_ref_id, Some("M".into()));
        assert_eq!(of(r#"{"new_message":{"msgid":"M","ref_id":"m"}}"#).message_id, Some("m".into()));
        assert_eq!(of(r#"{"new_message":{"msgid":"M","receiver_id":null}}"#).receiver_ref_id, None);
        assert!(MessageReceipt::from_json(b"{}").is_err());
    }
}
