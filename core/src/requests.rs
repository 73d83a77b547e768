//! The other calls of the chats API and the answers of all: connect, disconnect, delivery status.
//!
//! [`ApiRequest`] is a call as it goes on the wire, before it is signed: what the client sends,
//! and what a program with its own HTTP stack can send itself.

use crate::error::{Error, ErrorKind, Result};
use crate::ids::{
    AccountId, ChannelId, ChannelSecret, ConversationRefId, MessageId, MessageRefId, ScopeId, UserRefId,
};
use crate::message::{NewMessage, filled, wire};
use crate::signing::{CONTENT_TYPE, SignedHeaders, sign_request};
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
        Ok(Self::new("POST", [segment("channel_id", channel.as_str())?, "connect"], wire::to_vec(connect)))
    }

    /// Disconnects the channel from an account. The body is required although it is a `DELETE`.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for ids that cannot stand in a path.
    pub fn disconnect(channel: &ChannelId, account: &AccountId) -> Result<Self> {
        filled(account.as_str(), "account_id")?;
        let body = wire::to_vec(&serde_json::json!({ "account_id": account }));
        Ok(Self::new("DELETE", [segment("channel_id", channel.as_str())?, "disconnect"], body))
    }

    /// Sends a message to the CRM.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the path of the field that breaks a rule.
    pub fn send_message(scope: &ScopeId, message: &NewMessage) -> Result<Self> {
        Ok(Self::new("POST", [segment("scope_id", scope.as_str())?], message.to_json()?))
    }

    /// Reports what became of a message from the CRM. The message goes by **amoCRM's** id.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for ids that cannot stand in a path, and for an error
    /// without words where the code demands them.
    pub fn set_delivery_status(
        scope: &ScopeId,
        message: &MessageRefId,
        status: &DeliveryStatus,
    ) -> Result<Self> {
        let scope = segment("scope_id", scope.as_str())?;
        let message = segment("message_ref_id", message.as_str())?;
        Ok(Self::new("POST", [scope, message, "delivery_status"], status.to_json()?))
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

/// What became of a message from the CRM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It reached the client.
    Delivered,
    /// The client read it.
    Read,
    /// It could not be delivered.
    Failed {
        /// Why, as a code.
        code: DeliveryErrorCode,
        /// Why, in words; shown to the CRM user.
        error: String,
    },
}

/// Why a message could not be delivered (`error_code`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum DeliveryErrorCode {
    /// 901: the client deleted the conversation (amoCRM) or the message (Kommo).
    Deleted = 901,
    /// 902: the integration is switched off on the channel's side.
    IntegrationDisabled = 902,
    /// 903: an error inside the integration.
    InternalError = 903,
    /// 904: the conversation cannot be made, for instance without a WhatsApp account.
    CannotCreateConversation = 904,
    /// 905: anything else; the words must say what.
    Other = 905,
}

impl DeliveryErrorCode {
    /// All codes that the vendor documents.
    pub const ALL: [Self; 5] = [
        Self::Deleted,
        Self::IntegrationDisabled,
        Self::InternalError,
        Self::CannotCreateConversation,
        Self::Other,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The code of this number.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a number that is not documented.
    pub fn from_code(code: u16) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|known| known.code() == code)
            .ok_or_else(|| Error::invalid("error_code", "must be 901, 902, 903, 904 or 905"))
    }
}

impl DeliveryStatus {
    /// The number on the wire: 1 delivered, 2 read, -1 error.
    pub fn status_code(&self) -> i8 {
        match self {
            Self::Delivered => 1,
            Self::Read => 2,
            Self::Failed { .. } => -1,
        }
    }

    fn to_json(&self) -> Result<Vec<u8>> {
        #[derive(Serialize)]
        struct Body<'a> {
            status_code: i8,
            #[serde(skip_serializing_if = "Option::is_none")]
            error_code: Option<u16>,
            #[serde(skip_serializing_if = "Option::is_none")]
            error: Option<&'a str>,
        }
        let (error_code, error) = match self {
            Self::Failed { code, error } => {
                if *code == DeliveryErrorCode::Other {
                    filled(error, "error")?;
                }
                (Some(code.code()), Some(error.as_str()))
            }
            Self::Delivered | Self::Read => (None, None),
        };
        Ok(wire::to_vec(&Body { status_code: self.status_code(), error_code, error }))
    }
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
    fn a_failure_says_why() {
        let failed = |code, error: &str| {
            let status = DeliveryStatus::Failed { code, error: error.into() };
            ApiRequest::set_delivery_status(&"s".into(), &"m".into(), &status)
        };
        assert_eq!(failed(DeliveryErrorCode::Other, "").expect_err("no words").field(), Some("error"));
        assert_eq!(
            failed(DeliveryErrorCode::Other, "No route").expect("valid").body,
            br#"{"status_code":-1,"error_code":905,"error":"No route"}"#
        );
        assert!(failed(DeliveryErrorCode::Deleted, "").is_ok());
        assert_eq!(DeliveryErrorCode::from_code(900).expect_err("unknown").field(), Some("error_code"));
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
