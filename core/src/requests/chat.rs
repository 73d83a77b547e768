//! Chats: create one without a message, read its history.

use super::{ApiRequest, answer, segment};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ConversationId, ConversationRefId, MessageId, MessageRefId, ScopeId};
use crate::lenient::{self, Object, Tree};
use crate::message::wire::{Person, Source};
use crate::message::{Sender, filled, source_external_id};
use crate::strict::{self, deserialize, serialize, wire};
use crate::webhook::Participant;
use serde::Serialize;
use serde_json::{Map, Value};

/// The most messages that one page of the history holds.
pub const HISTORY_PAGE_MAX: u32 = 50;

/// A chat to be made without a message: the chat and its client, but no contact and no lead. For
/// linking the chat to a contact that exists.
///
/// ```
/// use amochats::{ApiRequest, CreateChat, Sender};
///
/// let chat = CreateChat::new("sbx-c1", Sender::new("sbx-u1", "Anna"));
/// let request = ApiRequest::create_chat(&"channel_account".into(), &chat)?;
/// assert_eq!(request.body, br#"{"conversation_id":"sbx-c1","user":{"id":"sbx-u1","name":"Anna"}}"#);
/// # Ok::<(), amochats::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateChat {
    /// The chat, by the integration's id. Of a chat that exists the answer tells amoCRM's id.
    pub conversation_id: ConversationId,
    /// The integration's source (`source.external_id`), up to 40 printable ASCII characters. It
    /// decides the pipeline of the lead that the first message makes.
    pub source_external_id: Option<String>,
    /// The client, without amoCRM's id.
    pub user: Sender,
}

wire! {
    struct WireChat {
        conversation_id: String,
        source: Option<Source>,
        user: Person,
    }
}

impl CreateChat {
    /// A chat with this client.
    pub fn new(conversation_id: impl Into<ConversationId>, user: Sender) -> Self {
        Self { conversation_id: conversation_id.into(), source_external_id: None, user }
    }

    /// The request's body in the vendor's form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the path of the field, as the vendor names it, and the
    /// rule.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate()?;
        Ok(strict::to_vec(&WireChat {
            conversation_id: self.conversation_id.to_string(),
            source: self.source_external_id.clone().map(|external_id| Source { external_id }),
            user: Person::of(&self.user),
        }))
    }

    /// Reads the vendor's form.
    ///
    /// # Errors
    /// As [`CreateChat::to_json`].
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let WireChat { conversation_id, source, user } = strict::from_slice(json)?;
        let chat = Self {
            conversation_id: conversation_id.into(),
            source_external_id: source.map(|source| source.external_id),
            user: user.into_sender(),
        };
        chat.validate()?;
        Ok(chat)
    }

    fn validate(&self) -> Result<()> {
        filled(self.conversation_id.as_str(), "conversation_id")?;
        if let Some(source) = &self.source_external_id {
            source_external_id(source, "source.external_id")?;
        }
        if self.user.user_ref_id.is_some() {
            return Err(Error::invalid("user.ref_id", "is no longer part of this call; name user.id"));
        }
        self.user.validate("user")
    }
}

/// The answer to [`CreateChat`]: a chat and a client, new or as they exist.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CreatedChat {
    /// amoCRM's id of the chat.
    pub conversation_ref_id: ConversationRefId,
    /// The client; without the integration's id where it is a CRM user.
    pub user: Participant,
    /// Fields that are not documented, in their places.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

impl CreatedChat {
    /// Reads the answer, with phone and e-mail beside the name or, as a walk-through of the vendor
    /// has it, inside `profile`.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`] for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let mut map: Object<'_> = answer(json, "create_chat")?;
        let id = lenient::text(&mut map, "id").ok_or_else(|| {
            Error::new(ErrorKind::UnexpectedResponse, "the answer to create_chat names no chat")
        })?;
        let user = lenient::object(&mut map, "user", |user| {
            let flat = lenient::participant(user);
            let (phone, email) = lenient::object(user, "profile", |profile| {
                (lenient::text(profile, "phone"), lenient::text(profile, "email"))
            })
            .unwrap_or_default();
            Participant { phone: flat.phone.or(phone), email: flat.email.or(email), ..flat }
        });
        Ok(Self { conversation_ref_id: id.into(), user: user.unwrap_or_default(), extra: map.into_map() })
    }
}

/// A page of the history of a chat to be read; the newest messages come first.
///
/// While pages are read, new messages move the others on: neighbouring pages may then overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The chat, by **amoCRM's** id.
    pub conversation_ref_id: ConversationRefId,
    /// How many of the newest messages to skip.
    pub offset: u64,
    /// How many messages to read at most: 1 to [`HISTORY_PAGE_MAX`].
    pub limit: u32,
}

impl History {
    /// The newest messages, as many as a page holds.
    pub fn of(conversation_ref_id: impl Into<ConversationRefId>) -> Self {
        Self { conversation_ref_id: conversation_ref_id.into(), offset: 0, limit: HISTORY_PAGE_MAX }
    }

    /// Skips as many of the newest messages.
    pub fn with_offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Reads at most as many messages.
    pub fn with_limit(mut self, limit: u32) -> Self {
        self.limit = limit;
        self
    }
}

wire! {
    /// A page of the history of a chat.
    #[derive(Clone, Debug, PartialEq)]
    pub struct HistoryPage {
        /// The messages, the newest first; none where there is no such chat or nothing more in it.
        pub messages: Vec<HistoryMessage>,
        /// Fields that are not documented, in their places.
        pub extra: Map<String, Value>,
    }
}

wire! {
    /// A message of the history (chats API, "chat history").
    #[derive(Clone, Debug, PartialEq)]
    pub struct HistoryMessage {
        /// The message, by the integration's id.
        pub message_id: Option<MessageId>,
        /// The message, by amoCRM's id.
        pub message_ref_id: Option<MessageRefId>,
        /// When it was written, in Unix seconds. The vendor's example has a second more than was sent.
        pub timestamp: Option<i64>,
        /// When it was written, in Unix milliseconds.
        pub msec_timestamp: Option<i64>,
        /// Who wrote it. Only people outside of the CRM have an id of the integration.
        pub sender: Option<Participant>,
        /// To whom; a message from a client has none.
        pub receiver: Option<Participant>,
        /// One of the nine types, or a type of the future.
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
        /// Shared by the attachments that were sent together.
        pub media_group_id: Option<String>,
        /// The place, of the type `location`.
        pub location: Option<HistoryLocation>,
        /// The card, of the type `contact`.
        pub contact: Option<HistoryContact>,
        /// What is not documented, in its place; `null` where there is nothing.
        pub extra: Value,
    }
}

wire! {
    /// A place in the history.
    #[derive(Clone, Copy, Debug, PartialEq)]
    pub struct HistoryLocation {
        /// Degrees east.
        pub lon: f64,
        /// Degrees north.
        pub lat: f64,
    }
}

wire! {
    /// A contact card in the history.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct HistoryContact {
        /// The name on the card.
        pub name: String,
        /// The phone on the card.
        pub phone: String,
    }
}

serialize! { HistoryPage HistoryMessage HistoryLocation HistoryContact }

deserialize! { HistoryLocation HistoryContact }

impl HistoryPage {
    /// Reads the answer. No body at all is an empty page: the service answers 204 where there is
    /// no chat or no message.
    ///
    /// # Errors
    /// [`ErrorKind::UnexpectedResponse`] for another body.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        if json.is_empty() {
            return Ok(Self::default());
        }
        let unexpected = |said| Error::new(ErrorKind::UnexpectedResponse, said);
        let Tree::Object(mut map) = answer(json, "history")? else {
            return Err(unexpected("the answer to history is not an object"));
        };
        let Some(Tree::List(messages)) = map.remove("messages") else {
            return Err(unexpected("the answer to history has no messages"));
        };
        Ok(Self { messages: messages.into_iter().map(HistoryMessage::of).collect(), extra: map.into_map() })
    }
}

impl HistoryMessage {
    fn of(tree: Tree<'_>) -> Self {
        let mut map = match tree {
            Tree::Object(map) => map,
            other => return Self { extra: other.into(), ..Self::default() },
        };
        let mut message = lenient::object(&mut map, "message", |message| Self {
            message_id: lenient::text(message, "client_id").map(Into::into),
            message_ref_id: lenient::text(message, "id").map(Into::into),
            message_type: lenient::text(message, "type").unwrap_or_default(),
            text: lenient::text(message, "text").unwrap_or_default(),
            media: lenient::text(message, "media"),
            thumbnail: lenient::text(message, "thumbnail"),
            file_name: lenient::text(message, "file_name"),
            file_size: lenient::int(message, "file_size").filter(|size| *size != 0),
            media_group_id: lenient::text(message, "media_group_id"),
            location: lenient::typed(message, "location"),
            contact: lenient::typed(message, "contact"),
            ..Self::default()
        })
        .unwrap_or_default();
        message.timestamp = lenient::int(&mut map, "timestamp");
        message.msec_timestamp = lenient::int(&mut map, "msec_timestamp");
        message.sender = lenient::object(&mut map, "sender", lenient::participant);
        message.receiver = lenient::object(&mut map, "receiver", lenient::participant);
        message.extra = if map.is_empty() { Value::Null } else { Value::Object(map.into_map()) };
        message
    }
}

impl ApiRequest {
    /// Creates a chat and its client, without a message, a contact or a lead.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the path of the field that breaks a rule.
    pub fn create_chat(scope: &ScopeId, chat: &CreateChat) -> Result<Self> {
        Ok(Self::new("POST", [segment("scope_id", scope.as_str())?, "chats"], chat.to_json()?))
    }

    /// Reads a page of the history of a chat, which goes by **amoCRM's** id.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for ids that cannot stand in a path, and for a limit out of
    /// range.
    pub fn history(scope: &ScopeId, history: &History) -> Result<Self> {
        let History { conversation_ref_id, offset, limit } = history;
        if !(1..=HISTORY_PAGE_MAX).contains(limit) {
            return Err(Error::invalid("limit", format!("must be 1 to {HISTORY_PAGE_MAX}")));
        }
        let chat = segment("conversation_ref_id", conversation_ref_id.as_str())?;
        let segments = [segment("scope_id", scope.as_str())?, "chats", chat, "history"];
        let mut request = Self::new("GET", segments, Vec::new());
        request.path = format!("{}?limit={limit}&offset={offset}", request.path);
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn rules_name_the_field() {
        let anna = || Sender::new("u-5", "Anna");
        let source = CreateChat { source_external_id: Some("я".into()), ..CreateChat::new("c", anna()) };
        for (chat, field) in [
            (CreateChat::new("", anna()), "conversation_id"),
            (CreateChat::new("c", Sender::new("", "Anna")), "user.id"),
            (CreateChat::new("c", Sender::new("u", "")), "user.name"),
            (CreateChat::new("c", anna().with_ref_id("U")), "user.ref_id"),
            (source, "source.external_id"),
        ] {
            assert_eq!(chat.to_json().expect_err(field).field(), Some(field));
        }
        for (history, field) in [
            (History::of("C").with_limit(0), "limit"),
            (History::of("C").with_limit(51), "limit"),
            (History::of("../x"), "conversation_ref_id"),
        ] {
            assert_eq!(ApiRequest::history(&"s".into(), &history).expect_err(field).field(), Some(field));
        }
    }

    #[test]
    fn the_answer_is_read_flat_and_nested() {
        let flat = json!({"id": "C", "user": {"id": "U", "client_id": "u", "name": "Anna", "phone": "1"}});
        let nested = json!({"id": "C", "user": {"id": "U", "client_id": "u", "name": "Anna", "profile": {"phone": "1"}}});
        let read = |json: &Value| CreatedChat::from_json(json.to_string().as_bytes()).expect("documented");
        assert_eq!(read(&flat), read(&nested));
        assert_eq!(read(&flat).user.phone.as_deref(), Some("1"));
        let odd = read(&json!({"id": "C", "user": {"id": "U", "mood": "good"}, "more": 1}));
        assert_eq!(Value::Object(odd.extra), json!({"user": {"mood": "good"}, "more": 1}));
        assert!(CreatedChat::from_json(br#"{"user":{"id":"U"}}"#).is_err());
    }

    #[test]
    fn nothing_of_the_history_is_lost() {
        let page = json!({"messages": [
            {"timestamp": 5, "message": {"id": "M", "type": "text", "text": "t", "media": "", "file_size": "12", "new": 1}},
            {"sender": {"id": "U", "avatar": "a", "mood": "good"}, "message": {"type": "location", "location": {"lon": 1, "lat": 2}}},
            "odd",
        ], "total": 3});
        let page = HistoryPage::from_json(page.to_string().as_bytes()).expect("documented");
        let extras: Vec<&Value> = page.messages.iter().map(|message| &message.extra).collect();
        assert_eq!(
            extras,
            [&json!({"message": {"new": 1}}), &json!({"sender": {"mood": "good"}}), &json!("odd")]
        );
        assert_eq!(page.messages[0].file_size, Some(12));
        assert_eq!(page.messages[1].location, Some(HistoryLocation { lon: 1.0, lat: 2.0 }));
        assert_eq!(Value::Object(page.extra), json!({"total": 3}));
    }

    #[test]
    fn no_body_is_an_empty_page_and_another_form_is_none() {
        assert_eq!(HistoryPage::from_json(b"").expect("204"), HistoryPage::default());
        for odd in ["{}", "[]", r#"{"messages":null}"#, "<html>"] {
            let error = HistoryPage::from_json(odd.as_bytes()).expect_err(odd);
            assert_eq!(error.kind(), ErrorKind::UnexpectedResponse);
        }
    }

    proptest! {
        #[test]
        fn decoding_gives_back_what_was_encoded(
            id in "\\PC{1,20}",
            name in "\\PC{1,20}",
            source in prop::option::of("[ -~]{1,40}"),
            phone in prop::option::of("[0-9]{1,12}"),
            email in prop::option::of("[a-z]{1,12}"),
            avatar in prop::option::of("[a-z]{1,12}"),
        ) {
            let user = Sender { avatar, phone, email, ..Sender::new("u-5", name) };
            let sent = CreateChat { source_external_id: source, ..CreateChat::new(id, user) };
            prop_assert_eq!(CreateChat::from_json(&sent.to_json().expect("valid")).expect("valid"), sent);
        }
    }
}
