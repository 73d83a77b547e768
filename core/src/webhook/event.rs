//! What a webhook says, typed.
//!
//! One set of types for webhooks v1 and v2. The vendor writes `""` where it has nothing to say:
//! such a field is absent here, and so is a `file_size` of 0; only `text` stays a plain string.
//! What is not understood is in [`WebhookEvent::extra`] by value, and in the raw body to the byte.
//!
//! The JSON form (`Serialize`) is the one that the command line, C and Python show.

use crate::ids::{AccountId, ConversationId, ConversationRefId, MessageId, MessageRefId, UserId, UserRefId};
use crate::strict::{Wire, Writer, deserialize, serialize, wire};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};
use std::borrow::Cow;

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
#[derive(Clone, Debug, PartialEq)]
pub struct WebhookEvent {
    /// What happened.
    pub kind: WebhookKind,
    /// The form it came in; absent where that is unknown.
    pub api_version: Option<HookVersion>,
    /// The account; v1 webhooks do not name it.
    pub account_id: Option<AccountId>,
    /// When the webhook was made, in Unix seconds.
    pub time: Option<i64>,
    /// All that was not understood, in its place in the body; `null` where nothing is left.
    pub extra: Value,
}

impl WebhookEvent {
    /// The JSON form: what happened under `kind`, beside it the fields of the message, of the typing or of
    /// the reaction, then the rest.
    pub fn to_json(&self) -> Value {
        let mut fields = Writer::default();
        fields.field("kind", &self.kind.name().to_owned());
        self.write_fields(&mut fields);
        fields.into_value()
    }

    /// The fields of the JSON form in their order, but for `kind`.
    pub fn fields(&self) -> Vec<(Cow<'static, str>, Value)> {
        let mut fields = Writer::default();
        self.write_fields(&mut fields);
        fields.into_fields()
    }

    fn write_fields(&self, fields: &mut Writer) {
        match &self.kind {
            WebhookKind::Message(event) => event.write_fields(fields),
            WebhookKind::Typing(event) => event.write_fields(fields),
            WebhookKind::Reaction(event) => event.write_fields(fields),
            WebhookKind::Unknown => {}
        }
        fields.field("api_version", &self.api_version.map(|version| version.as_str().to_owned()));
        fields.field("account_id", &self.account_id);
        fields.field("time", &self.time);
        fields.field("extra", &self.extra);
    }

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

impl Serialize for WebhookEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_json().serialize(serializer)
    }
}

/// What a webhook is about.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq)]
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

wire! {
    /// A message from the CRM to a client (chats API, webhooks v2 and v1).
    #[derive(Clone, Debug, PartialEq)]
    pub struct MessageEvent {
        /// The chat, by the integration's id; absent when a CRM user writes first.
        pub conversation_id: Option<ConversationId>,
        /// The chat, by amoCRM's id; v1 does not name it.
        pub conversation_ref_id: Option<ConversationRefId>,
        /// The message, by the integration's id; seldom there.
        pub message_id: Option<MessageId>,
        /// The message, by amoCRM's id: what delivery status is reported for. v1 does not name it.
        pub message_ref_id: Option<MessageRefId>,
        /// When it was written, in Unix seconds.
        pub timestamp: Option<i64>,
        /// When it was written, in Unix milliseconds.
        pub msec_timestamp: Option<i64>,
        /// The CRM user or bot who wrote; v1 does not say.
        pub sender: Option<Participant>,
        /// The client.
        pub receiver: Option<Participant>,
        /// The integration's source that the chat belongs to (`source.external_id`).
        pub source_external_id: Option<String>,
        /// `text`, `file`, `video`, `picture`, `voice`, `audio`, `sticker`, or a type of the future.
        pub message_type as "type": String,
        /// The text; a caption where there is media.
        pub text: String,
        /// Where the attachment can be fetched; the link may expire.
        pub media: Option<String>,
        /// Where a small form of a picture or video can be fetched.
        pub thumbnail: Option<String>,
        /// The attachment's file name.
        pub file_name: Option<String>,
        /// The attachment's size in bytes.
        pub file_size: Option<i64>,
        /// Shared by the webhooks that were made from one message with several attachments.
        pub media_group_id: Option<String>,
        /// Always empty for integrations outside the vendor, hence absent.
        pub tag: Option<String>,
        /// Buttons or a list to choose from.
        pub markup: Option<Markup>,
        /// The template it was made from.
        pub template: Option<Template>,
        /// The message it answers.
        pub reply_to: Option<EmbeddedMessage>,
        /// The messages it forwards.
        pub forwards: Option<Forwards>,
        /// The post under which it is a comment.
        pub post: Option<Post>,
    }
}

impl MessageEvent {
    /// Whether a CRM user wrote first: the integration does not know chat and client yet, and the number
    /// to write to is [`Participant::phone`] of the receiver. The first answer links the ids of both
    /// sides: see [`NewMessage::linked_to`](crate::NewMessage::linked_to).
    pub fn writes_first(&self) -> bool {
        self.conversation_ref_id.is_some() && self.conversation_id.is_none()
    }
}

wire! {
    /// Somebody in a chat.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Participant {
        /// By the integration's id.
        pub user_id: Option<UserId>,
        /// By amoCRM's id.
        pub user_ref_id: Option<UserRefId>,
        /// The name shown.
        pub name: Option<String>,
        /// The phone; when a CRM user writes first, the number to write to.
        pub phone: Option<String>,
        /// The e-mail address.
        pub email: Option<String>,
        /// The address of a picture; in answers of the service, webhooks have none so far.
        pub avatar: Option<String>,
    }
}

wire! {
    /// Rows of buttons, or a list message (official WhatsApp on Kommo).
    #[derive(Clone, Debug, PartialEq)]
    pub struct Markup {
        /// `inline` where there are buttons.
        pub mode: Option<String>,
        /// Rows of buttons.
        pub buttons by list: Vec<Vec<Button>>,
        /// The list to choose from.
        pub list_message: Option<ListMessage>,
        /// Fields that are not documented.
        pub extra by rest: Map<String, Value>,
    }
}

wire! {
    /// A button under a message. A client's press is sent back as a plain text message with its text.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Button {
        /// The label.
        pub text: String,
        /// The address it opens; a message holds either plain or address buttons.
        pub url: Option<String>,
        /// Fields that are not documented.
        pub extra by rest: Map<String, Value>,
    }
}

wire! {
    /// A WhatsApp list message.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ListMessage {
        /// Up to 60 characters.
        pub header: Option<String>,
        /// Up to 1024 characters, Markdown.
        pub body: Option<String>,
        /// Up to 60 characters, Markdown.
        pub footer: Option<String>,
        /// The label of the main button.
        pub button: Option<String>,
        /// One to ten sections.
        pub sections by list: Vec<ListSection>,
        /// Fields that are not documented.
        pub extra by rest: Map<String, Value>,
    }
}

wire! {
    /// A section of a list message.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ListSection {
        /// Up to 24 characters.
        pub title: Option<String>,
        /// One to ten rows.
        pub rows by list: Vec<ListRow>,
        /// Fields that are not documented.
        pub extra by rest: Map<String, Value>,
    }
}

wire! {
    /// A row of a list message.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ListRow {
        /// To be sent back as `callback_data` when the client chooses this row.
        pub callback_data: Option<String>,
        /// The row's title.
        pub title: Option<String>,
        /// The row's description.
        pub description: Option<String>,
        /// Fields that are not documented.
        pub extra by rest: Map<String, Value>,
    }
}

wire! {
    /// The chat template a message was made from.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Template {
        /// The template's id in the CRM.
        pub id: Option<i64>,
        /// The integration's id of the template.
        pub external_id: Option<String>,
        /// The text with its markers.
        pub content: Option<String>,
        /// The values of the markers.
        pub params by list: Vec<TemplateParam>,
        /// Fields that are not documented.
        pub extra by rest: Map<String, Value>,
    }
}

wire! {
    /// The value of a marker of a template.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TemplateParam {
        /// The marker, such as `{{lead.id}}`; it need not occur in the content.
        pub key: String,
        /// Its value.
        pub value: String,
        /// Fields that are not documented.
        pub extra by rest: Map<String, Value>,
    }
}

wire! {
    /// A message inside another: quoted or forwarded.
    #[derive(Clone, Debug, PartialEq)]
    pub struct EmbeddedMessage {
        /// By the integration's id.
        pub message_id: Option<MessageId>,
        /// By amoCRM's id.
        pub message_ref_id: Option<MessageRefId>,
        /// As [`MessageEvent::message_type`].
        pub message_type as "type": String,
        /// The text or caption.
        pub text: String,
        /// Where the attachment can be fetched.
        pub media: Option<String>,
        /// Where a small form can be fetched.
        pub thumbnail: Option<String>,
        /// The attachment's file name.
        pub file_name: Option<String>,
        /// The attachment's size in bytes.
        pub file_size: Option<i64>,
        /// When it was written, in Unix seconds.
        pub timestamp: Option<i64>,
        /// When it was written, in Unix milliseconds.
        pub msec_timestamp: Option<i64>,
        /// Who wrote it.
        pub sender: Option<Participant>,
        /// To whom.
        pub receiver: Option<Participant>,
        /// Fields that are not documented.
        pub extra: Map<String, Value>,
    }
}

wire! {
    /// Forwarded messages.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Forwards {
        /// The messages; at present one.
        pub messages: Vec<EmbeddedMessage>,
        /// The chat they come from, by the integration's id.
        pub conversation_id: Option<ConversationId>,
        /// The chat they come from, by amoCRM's id.
        pub conversation_ref_id: Option<ConversationRefId>,
    }
}

wire! {
    /// The post under which a message is a comment.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Post {
        /// The integration's id of the post.
        pub id: Option<String>,
        /// Its address, and whatever else the service says of it.
        pub extra by rest: Map<String, Value>,
    }
}

wire! {
    /// A CRM user is typing; sent at most every 5 s.
    #[derive(Clone, Debug, PartialEq)]
    pub struct TypingEvent {
        /// The chat, by the integration's id.
        pub conversation_id: Option<ConversationId>,
        /// The chat, by amoCRM's id.
        pub conversation_ref_id: Option<ConversationRefId>,
        /// Who types, by amoCRM's id.
        pub user_ref_id: Option<UserRefId>,
        /// When to stop showing it, in Unix seconds.
        pub expired_at: Option<i64>,
        /// The integration's id of the post that is being answered.
        pub post_id: Option<String>,
    }
}

wire! {
    /// A CRM user reacted to a message, or took the reaction back.
    #[derive(Clone, Debug, PartialEq)]
    pub struct ReactionEvent {
        /// The chat, by the integration's id.
        pub conversation_id: Option<ConversationId>,
        /// The chat, by amoCRM's id.
        pub conversation_ref_id: Option<ConversationRefId>,
        /// Who reacts, by amoCRM's id.
        pub user_ref_id: Option<UserRefId>,
        /// The message, by the integration's id.
        pub message_id: Option<MessageId>,
        /// The message, by amoCRM's id.
        pub message_ref_id: Option<MessageRefId>,
        /// `react`, `unreact`, or a word of the future.
        pub reaction_type as "type": String,
        /// The emoji; absent when a reaction is taken back.
        pub emoji: Option<String>,
    }
}

serialize! {
    MessageEvent Participant Markup Button ListMessage ListSection ListRow Template TemplateParam EmbeddedMessage
    Forwards Post TypingEvent ReactionEvent
}

deserialize! { Markup Button ListMessage ListSection ListRow Template TemplateParam Post }
