//! Edits: `edit_message` of the chats API.

use super::wire::{Body, moment};
use super::{Content, address, filled, time};
use crate::error::{Error, Result};
use crate::ids::{ConversationId, ConversationRefId, MessageId, MessageRefId};
use crate::requests::{DeliveryStatus, one_of};
use crate::strict::{self, Field, Problem, wire};
use serde_json::Value;

/// A change of a message that was sent before. It never notifies anybody.
///
/// ```
/// use amochats::{Content, EditMessage};
///
/// let edit = EditMessage::by_id("c-9", "m-17", 1_704_067_300_000, Content::text("Is it still there?"));
/// assert!(edit.to_json()?.starts_with(br#"{"event_type":"edit_message","payload":{"timestamp":1704067300,"#));
/// # Ok::<(), amochats::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct EditMessage {
    /// When it was changed, in Unix milliseconds.
    pub edited_at_msec: i64,
    /// The message, by the integration's id. Beside amoCRM's id, the service keeps it as the id of
    /// that message: so a message that was born in the CRM gets one.
    pub message_id: Option<MessageId>,
    /// The message, by amoCRM's id.
    pub message_ref_id: Option<MessageRefId>,
    /// The chat, by the integration's id.
    pub conversation_id: ConversationId,
    /// The chat, by amoCRM's id.
    pub conversation_ref_id: Option<ConversationRefId>,
    /// What it says from now on. An attachment without an address keeps its file.
    pub content: Content,
    /// What became of it, reported along.
    pub delivery_status: Option<DeliveryStatus>,
}

wire! {
    struct Envelope {
        event_type: EditMessageEvent,
        payload: Payload,
    }

    struct Payload {
        timestamp: i64,
        msec_timestamp: Option<i64>,
        id: Option<String>,
        msgid: Option<String>,
        conversation_id: String,
        conversation_ref_id: Option<String>,
        message: Body,
        /// Has no effect on an edit: ignored.
        silent: Option<bool>,
    }
}

/// A type of its own, so that another event is refused by its name, before its payload is looked at.
#[derive(Default)]
struct EditMessageEvent;

impl Field for EditMessageEvent {
    fn read(value: Value) -> Result<Self, Problem> {
        if value == "edit_message" { Ok(Self) } else { Err(Problem::new("must be `edit_message`")) }
    }

    fn write(&self) -> Option<Value> {
        Some("edit_message".into())
    }
}

impl EditMessage {
    /// An edit of a message that the integration sent.
    pub fn by_id(
        conversation_id: impl Into<ConversationId>,
        message_id: impl Into<MessageId>,
        edited_at_msec: i64,
        content: Content,
    ) -> Self {
        Self {
            edited_at_msec,
            message_id: Some(message_id.into()),
            message_ref_id: None,
            conversation_id: conversation_id.into(),
            conversation_ref_id: None,
            content,
            delivery_status: None,
        }
    }

    /// An edit of a message by amoCRM's id of it.
    pub fn by_ref_id(
        conversation_id: impl Into<ConversationId>,
        message_ref_id: impl Into<MessageRefId>,
        edited_at_msec: i64,
        content: Content,
    ) -> Self {
        Self {
            message_id: None,
            message_ref_id: Some(message_ref_id.into()),
            ..Self::by_id(conversation_id, "", edited_at_msec, content)
        }
    }

    /// The request's body in the vendor's form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the path of the
    /// field, as the vendor names it, and the rule.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate()?;
        let mut message = Body::of(&self.content);
        message.delivery_status = self.delivery_status.as_ref().map(DeliveryStatus::to_wire);
        Ok(strict::to_vec(&Envelope {
            event_type: EditMessageEvent,
            payload: Payload {
                timestamp: self.edited_at_msec / 1000,
                msec_timestamp: Some(self.edited_at_msec),
                id: self.message_ref_id.as_ref().map(ToString::to_string),
                msgid: self.message_id.as_ref().map(ToString::to_string),
                conversation_id: self.conversation_id.to_string(),
                conversation_ref_id: self.conversation_ref_id.as_ref().map(ToString::to_string),
                message,
                silent: None,
            },
        }))
    }

    /// Reads the vendor's form of an `edit_message`.
    ///
    /// # Errors
    /// As [`EditMessage::to_json`].
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let Envelope { payload, .. } = strict::from_slice(json)?;
        let mut body = payload.message;
        for (given, field) in [
            (body.post.is_some(), "post"),
            (body.shared_post.is_some(), "shared_post"),
            (body.callback_data.is_some(), "callback_data"),
        ] {
            if given {
                return Err(Error::invalid(format!("payload.message.{field}"), "belongs to a new message"));
            }
        }
        let status = body.delivery_status.take();
        let edit = Self {
            edited_at_msec: moment(payload.timestamp, payload.msec_timestamp, "payload")?,
            message_id: payload.msgid.map(Into::into),
            message_ref_id: payload.id.map(Into::into),
            conversation_id: payload.conversation_id.into(),
            conversation_ref_id: payload.conversation_ref_id.map(Into::into),
            delivery_status: status
                .map(|status| DeliveryStatus::of_wire(status, DELIVERY_STATUS))
                .transpose()?,
            content: body.into_content("payload.message")?,
        };
        edit.validate()?;
        Ok(edit)
    }

    fn validate(&self) -> Result<()> {
        time(self.edited_at_msec, "payload.msec_timestamp")?;
        let ids =
            [self.message_id.as_ref().map(AsRef::as_ref), self.message_ref_id.as_ref().map(AsRef::as_ref)];
        one_of(ids, ["payload.msgid", "payload.id"])?;
        filled(self.conversation_id.as_str(), "payload.conversation_id")?;
        if let Some(id) = &self.conversation_ref_id {
            filled(id.as_str(), "payload.conversation_ref_id")?;
        }
        self.content.validate("payload.message")?;
        if let Some(media) = self.content.media().filter(|media| !media.url.is_empty()) {
            address(&media.url, "payload.message.media")?;
        }
        match &self.delivery_status {
            Some(status) => status.validate(DELIVERY_STATUS),
            None => Ok(()),
        }
    }
}

const DELIVERY_STATUS: &str = "payload.message.delivery_status.";

#[cfg(test)]
mod tests {
    use super::super::tests::content;
    use super::*;
    use crate::message::Media;
    use crate::requests::DeliveryErrorCode;
    use proptest::prelude::*;

    fn edit() -> EditMessage {
        EditMessage::by_id("c-9", "m-17", 1_704_067_300_000, Content::text("x"))
    }

    #[test]
    fn rules_name_the_field() {
        let status = DeliveryStatus::Failed { code: DeliveryErrorCode::Other, error: String::new() };
        for (edit, field) in [
            (EditMessage { edited_at_msec: 0, ..edit() }, "payload.msec_timestamp"),
            (EditMessage { message_id: None, ..edit() }, "payload.msgid"),
            (EditMessage { message_ref_id: Some("".into()), ..edit() }, "payload.id"),
            (EditMessage { conversation_id: "".into(), ..edit() }, "payload.conversation_id"),
            (EditMessage { content: Content::text(""), ..edit() }, "payload.message.text"),
            (
                EditMessage { content: Content::Voice(Media::at("file:///x")), ..edit() },
                "payload.message.media",
            ),
            (
                EditMessage { delivery_status: Some(status), ..edit() },
                "payload.message.delivery_status.error",
            ),
        ] {
            assert_eq!(edit.to_json().expect_err(field).field(), Some(field));
        }
    }

    #[test]
    fn an_attachment_may_keep_its_file() {
        let caption = Media { text: Some("caption".into()), ..Media::default() };
        let edit = EditMessage { content: Content::Picture(caption), ..edit() };
        let json = edit.to_json().expect("valid");
        assert!(!String::from_utf8_lossy(&json).contains("media"));
        assert_eq!(EditMessage::from_json(&json).expect("valid"), edit);
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(
            content in content(),
            at in 1i64..1 << 42,
            ours in prop::option::of("\\PC{1,20}"),
            theirs in "\\PC{1,20}",
            status in 0..4u8,
        ) {
            let sent = EditMessage {
                message_id: ours.map(Into::into),
                delivery_status: match status {
                    0 => None,
                    1 => Some(DeliveryStatus::Delivered),
                    2 => Some(DeliveryStatus::Read),
                    _ => Some(DeliveryStatus::Failed { code: DeliveryErrorCode::Deleted, error: "x".into() }),
                },
                ..EditMessage::by_ref_id("c", theirs, at, content)
            };
            prop_assert_eq!(EditMessage::from_json(&sent.to_json().expect("valid")).expect("valid"), sent);
        }
    }
}
