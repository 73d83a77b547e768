//! Talks: a chat's conversations with a beginning and an end (chats API reference, 7.5).

use super::{Extra, Request, answer, lenient};
use crate::error::Result;
use crate::ids::ConversationRefId;
use serde::{Deserialize, Serialize};

impl Request {
    /// Asks for one talk; answered by [`Talk`].
    pub fn talk(id: i64) -> Self {
        Self::get(format!("/api/v4/talks/{id}"))
    }

    /// Closes a talk; answered by 202, or 422 where it is closed already. `force` is the vendor's
    /// `force_close`.
    pub fn close_talk(id: i64, force: bool) -> Self {
        let body = serde_json::json!({ "force_close": force });
        Self::with_body("POST", format!("/api/v4/talks/{id}/close"), &body)
    }
}

/// A talk, in an answer or in a webhook.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Talk {
    /// Its number.
    #[serde(deserialize_with = "lenient::id")]
    pub talk_id: i64,
    /// When it began, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub created_at: Option<i64>,
    /// When it changed last, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub updated_at: Option<i64>,
    /// The client's rating.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub rate: Option<i64>,
    /// The contact of the client.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub contact_id: Option<i64>,
    /// The chat, by amoCRM's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chat_id: Option<ConversationRefId>,
    /// The lead or customer that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub entity_id: Option<i64>,
    /// `lead` or `customer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity_type: Option<String>,
    /// Whether it is open.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub is_in_work: Option<bool>,
    /// Whether users have read it all.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::flag")]
    pub is_read: Option<bool>,
    /// The code of the channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
    /// When it counts as missed, in Unix seconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub missed_at: Option<i64>,
    /// The number of the account in the CRM.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "lenient::int")]
    pub account_id: Option<i64>,
    /// Everything else.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Talk {
    /// Reads the answer.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`](crate::ErrorKind::UnexpectedResponse) for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        answer(json, "the talk")
    }
}
