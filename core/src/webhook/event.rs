//! What a webhook says, typed.
//!
//! One set of types for webhooks v1 and v2. The vendor writes `""` where it has nothing to say:
//! such a field is absent here, and so is a `file_size` of 0; only `text` stays a plain string.
//! What is not understood is in [`WebhookEvent::extra`] by value, and in the raw body to the byte.
//!
//! The JSON form (`Serialize`) is the one that the command line, C and Python show.

use crate::ids::{AccountId, ConversationId, ConversationRefId, MessageId, MessageRefId, UserId, UserRefId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The form of webhooks an account receives, chosen by `connect`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HookVersion {
    /// The flat form of 2017; what an account gets whose `connect` named no version.
    V1,
    /// The nested form with the ids of both sides.
    V2,
}

impl HookVersion {
    /// `v1` or `v2`, as on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// A parsed webhook.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WebhookEvent {
    /// What happened.
    #[serde(flatten)]
    pub kind: WebhookKind,
    /// The form it came in; absent where that is unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<HookVersion>,
    /// The account; v1 webhooks do not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<AccountId>,
    /// When the webhook was made, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<i64>,
    /// All that was not understood, in its place in the body; `null` where nothing is left.
    #[serde(skip_serializing_if = "Value::is_null")]
    pub extra: Value,
}

impl WebhookEvent {
    /// amoCRM's id of the conversation, where the webhook names it.
    pub fn conversation_ref_id(&self) -> Option<&ConversationRefId> {
        match &self.kind {
            WebhookKind::Message(event) => event.conversation_ref_id.as_ref(),
            WebhookKind::Typing(event) => event.conversation_ref_id.as_ref(),
            WebhookKind::Reaction(event) => event.conversation_ref_id.as_ref(),
            WebhookKind::Unknown => None,
        }
    }

    /// The integration's id of the conversation, where the webhook names it.
    pub fn conversation_id(&self) -> Option<&ConversationId> {
        match &self.kind {
            WebhookKind::Message(event) => event.conversation_id.as_ref(),
            WebhookKind::Typing(event) => event.conversation_id.as_ref(),
            WebhookKind::Reaction(event) => event.conversation_id.as_ref(),
            WebhookKind::Unknown => None,
        }
    }

    /// amoCRM's id of the message, where the webhook names it.
    pub fn message_ref_id(&self) -> Option<&MessageRefId> {
        match &self.kind {
            WebhookKind::Message(event) => event.message_ref_id.as_ref(),
            WebhookKind::Reaction(event) => event.message_ref_id.as_ref(),
            WebhookKind::Typing(_) | WebhookKind::Unknown => None,
        }
    }
}

/// What a webhook is about.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum WebhookKind {
    /// A CRM user, a bot or a template answered.
    Message(Box<MessageEvent>),
    /// A CRM user is typing.
    Typing(TypingEvent),
    /// A CRM user reacted to a message, or took the reaction back.
    Reaction(ReactionEvent),
    /// A shape that is not documented; everything is in [`WebhookEvent::extra`].
    Unknown,
}

impl WebhookKind {
    /// `message`, `typing`, `reaction` or `unknown`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Typing(_) => "typing",
            Self::Reaction(_) => "reaction",
            Self::Unknown => "unknown",
        }
    }
}

/// A message from the CRM to a client (chats API, webhooks v2 and v1).
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(default)]
pub struct MessageEvent {
    /// The chat, by the integration's id; absent when a CRM user writes first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// The chat, by amoCRM's id; v1 does not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_ref_id: Option<ConversationRefId>,
    /// The message, by the integration's id; seldom there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// The message, by amoCRM's id: what delivery status is reported for. v1 does not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ref_id: Option<MessageRefId>,
    /// When it was written, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// When it was written, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msec_timestamp: Option<i64>,
    /// The CRM user or bot who wrote; v1 does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Participant>,
    /// The client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Participant>,
    /// The integration's source that the chat belongs to (`source.external_id`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_external_id: Option<String>,
    /// `text`, `file`, `video`, `picture`, `voice`, `audio`, `sticker`, or a type of the future.
    #[serde(rename = "type")]
    pub message_type: String,
    /// The text; a caption where there is media.
    pub text: String,
    /// Where the attachment can be fetched; the link may expire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// Where a small form of a picture or video can be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<String>,
    /// The attachment's file name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The attachment's size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size: Option<i64>,
    /// Shared by the webhooks that were made from one message with several attachments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_group_id: Option<String>,
    /// Always empty for integrations outside the vendor, hence absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Buttons or a list to choose from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub markup: Option<Markup>,
    /// The template it was made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// The message it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<EmbeddedMessage>,
    /// The messages it forwards.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forwards: Option<Forwards>,
    /// The post under which it is a comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post: Option<Post>,
}

impl MessageEvent {
    /// Whether a CRM user wrote first: the integration does not know chat and client yet, and the number
    /// to write to is [`Participant::phone`] of the receiver. The first answer links the ids of both
    /// sides: see [`NewMessage::linked_to`](crate::NewMessage::linked_to).
    pub fn writes_first(&self) -> bool {
        self.conversation_ref_id.is_some() && self.conversation_id.is_none()
    }
}

/// Somebody in a chat.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Participant {
    /// By the integration's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// By amoCRM's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_ref_id: Option<UserRefId>,
    /// The name shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The phone; when a CRM user writes first, the number to write to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    /// The e-mail address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The address of a picture; in answers of the service, webhooks have none so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub avatar: Option<String>,
}

/// Rows of buttons, or a list message (official WhatsApp on Kommo).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Markup {
    /// `inline` where there are buttons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
    /// Rows of buttons.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Vec<Button>>,
    /// The list to choose from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub list_message: Option<ListMessage>,
    /// Fields that are not documented.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A button under a message. A client's press is sent back as a plain text message with its text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Button {
    /// The label.
    pub text: String,
    /// The address it opens; a message holds either plain or address buttons.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Fields that are not documented.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A WhatsApp list message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListMessage {
    /// Up to 60 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// Up to 1024 characters, Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Up to 60 characters, Markdown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub footer: Option<String>,
    /// The label of the main button.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub button: Option<String>,
    /// One to ten sections.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sections: Vec<ListSection>,
    /// Fields that are not documented.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A section of a list message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListSection {
    /// Up to 24 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// One to ten rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<ListRow>,
    /// Fields that are not documented.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A row of a list message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ListRow {
    /// To be sent back as `callback_data` when the client chooses this row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub callback_data: Option<String>,
    /// The row's title.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The row's description.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Fields that are not documented.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The chat template a message was made from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Template {
    /// The template's id in the CRM.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<i64>,
    /// The integration's id of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The text with its markers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// The values of the markers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<TemplateParam>,
    /// Fields that are not documented.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The value of a marker of a template.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TemplateParam {
    /// The marker, such as `{{lead.id}}`; it need not occur in the content.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Fields that are not documented.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A message inside another: quoted or forwarded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EmbeddedMessage {
    /// By the integration's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// By amoCRM's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ref_id: Option<MessageRefId>,
    /// As [`MessageEvent::message_type`].
    #[serde(rename = "type")]
    pub message_type: String,
    /// The text or caption.
    pub text: String,
    /// Where the attachment can be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<String>,
    /// Where a small form can be fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<String>,
    /// The attachment's file name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_name: Option<String>,
    /// The attachment's size in bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_size: Option<i64>,
    /// When it was written, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    /// When it was written, in Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub msec_timestamp: Option<i64>,
    /// Who wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sender: Option<Participant>,
    /// To whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receiver: Option<Participant>,
    /// Fields that are not documented.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// Forwarded messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Forwards {
    /// The messages; at present one.
    pub messages: Vec<EmbeddedMessage>,
    /// The chat they come from, by the integration's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// The chat they come from, by amoCRM's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_ref_id: Option<ConversationRefId>,
}

/// The post under which a message is a comment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Post {
    /// The integration's id of the post.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its address, and whatever else the service says of it.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// A CRM user is typing; sent at most every 5 s.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TypingEvent {
    /// The chat, by the integration's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// The chat, by amoCRM's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_ref_id: Option<ConversationRefId>,
    /// Who types, by amoCRM's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_ref_id: Option<UserRefId>,
    /// When to stop showing it, in Unix seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expired_at: Option<i64>,
    /// The integration's id of the post that is being answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub post_id: Option<String>,
}

/// A CRM user reacted to a message, or took the reaction back.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReactionEvent {
    /// The chat, by the integration's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_id: Option<ConversationId>,
    /// The chat, by amoCRM's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conversation_ref_id: Option<ConversationRefId>,
    /// Who reacts, by amoCRM's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_ref_id: Option<UserRefId>,
    /// The message, by the integration's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<MessageId>,
    /// The message, by amoCRM's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_ref_id: Option<MessageRefId>,
    /// `react`, `unreact`, or a word of the future.
    #[serde(rename = "type")]
    pub reaction_type: String,
    /// The emoji; absent when a reaction is taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emoji: Option<String>,
}
