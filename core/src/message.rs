//! The messages a channel sends: `new_message` and `edit_message` of the chats API.
//!
//! [`NewMessage`] says what is meant; [`NewMessage::to_json`] checks it and writes the vendor's
//! form, [`NewMessage::from_json`] reads that form, so that a payload from the vendor's pages can
//! be pasted. Both report a broken rule with the path of the field.

mod edit;
pub(crate) mod wire;

pub use edit::EditMessage;

use crate::error::{Error, Result};
use crate::ids::{ConversationId, ConversationRefId, MessageId, MessageRefId, UserId, UserRefId};

/// The longest `source.external_id` the chats API takes, in characters.
pub const SOURCE_ID_MAX: usize = 40;

/// A message for the CRM: from a client, or one that a manager or bot wrote outside of the CRM.
///
/// ```
/// use amochats::{Content, NewMessage, Sender};
///
/// let anna = Sender::new("u-5", "Anna");
/// let message = NewMessage::incoming("c-9", "m-17", 1_704_067_200_000, anna, Content::text("hello"));
/// assert!(message.to_json()?.starts_with(br#"{"event_type":"new_message","payload":{"timestamp":1704067200,"#));
/// # Ok::<(), amochats::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct NewMessage {
    /// When it was written, in Unix milliseconds. The CRM orders by it; [`next_sent_at_msec`] keeps
    /// two messages of one chat apart.
    pub sent_at_msec: i64,
    /// The message, by the integration's id. A second message with the same id is refused.
    pub message_id: MessageId,
    /// The chat, by the integration's id; an unknown one makes a new chat.
    pub conversation_id: ConversationId,
    /// The chat, by amoCRM's id: binds the two, for the first answer to a CRM user who wrote first.
    pub conversation_ref_id: Option<ConversationRefId>,
    /// Who wrote.
    pub sender: Sender,
    /// To whom; only for messages written outside of the CRM by a manager or bot.
    pub receiver: Option<Sender>,
    /// What was written.
    pub content: Content,
    /// Import: no notification and no incoming lead.
    pub silent: bool,
    /// The integration's source it came through (`source.external_id`), up to 40 printable ASCII characters.
    pub source_external_id: Option<String>,
    /// The message it answers, of the same chat.
    pub reply_to: Option<QuotedMessage>,
    /// The message it forwards; the service takes one.
    pub forward: Option<Forward>,
    /// The post under which it is a comment.
    pub post: Option<CommentedPost>,
    /// The post that the client shared.
    pub shared_post: Option<SharedPost>,
    /// The row that the client chose in a WhatsApp list message; only for text.
    pub callback_data: Option<String>,
}

/// A participant, as the integration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// By the integration's id.
    pub user_id: UserId,
    /// By amoCRM's id. Required of a manager (the user's amojo id) or bot (the channel's bot id)
    /// who writes outside of the CRM; of a client only in the first answer to a CRM user who wrote
    /// first.
    pub user_ref_id: Option<UserRefId>,
    /// The name shown.
    pub name: String,
    /// A public address of a picture, fetched a little later.
    pub avatar: Option<String>,
    /// Goes to the contact when the lead is made.
    pub phone: Option<String>,
    /// Goes to the contact when the lead is made.
    pub email: Option<String>,
    /// The profile's page in the messenger.
    pub profile_link: Option<String>,
}

/// What is written: one of the nine types.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// Text alone. A client's press on a button is sent as text, too.
    Text {
        /// Not empty.
        text: String,
    },
    /// A contact card.
    Contact {
        /// The name on the card.
        name: String,
        /// The phone on the card.
        phone: String,
        /// A caption.
        text: Option<String>,
    },
    /// Any file.
    File(Media),
    /// A video.
    Video(Media),
    /// A picture.
    Picture(Media),
    /// A voice message.
    Voice(Media),
    /// Music and other sound.
    Audio(Media),
    /// A sticker.
    Sticker {
        /// The picture.
        media: Media,
        /// An id that is valid across accounts.
        sticker_id: Option<String>,
    },
    /// A place.
    Location {
        /// Degrees east, -180 to 180.
        lon: f64,
        /// Degrees north, -90 to 90.
        lat: f64,
        /// A caption.
        text: Option<String>,
    },
}

/// An attachment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Media {
    /// A public `http` or `https` address; the service fetches it later.
    pub url: String,
    /// The file's name; amoCRM's pages want it for files, videos and pictures.
    pub file_name: Option<String>,
    /// The file's size in bytes; wanted where the name is.
    pub file_size: Option<u64>,
    /// The length in seconds, for video, voice and audio.
    pub duration: Option<u64>,
    /// A caption.
    pub text: Option<String>,
}

/// A message quoted or forwarded: by either id, or described.
#[derive(Clone, Debug, PartialEq)]
pub enum QuotedMessage {
    /// By amoCRM's id; the service fills in the rest.
    ByRefId(MessageRefId),
    /// By the integration's id; the service fills in the rest.
    ById(MessageId),
    /// Described, where neither id is known to the service.
    Described(Box<DescribedMessage>),
}

/// A quoted message that the service does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct DescribedMessage {
    /// When it was written, in Unix milliseconds.
    pub sent_at_msec: i64,
    /// Who wrote it.
    pub sender: QuotedSender,
    /// What was written; an attachment's address is not sent.
    pub content: Content,
}

/// Who wrote a quoted message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QuotedSender {
    /// By the integration's id.
    ById(UserId),
    /// By amoCRM's id.
    ByRefId(UserRefId),
    /// By name, where neither is known.
    ByName(String),
}

/// A forwarded message and where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Forward {
    /// The message, of any chat of this integration.
    pub message: QuotedMessage,
    /// Its chat, by the integration's id.
    pub conversation_id: Option<ConversationId>,
    /// Its chat, by amoCRM's id.
    pub conversation_ref_id: Option<ConversationRefId>,
}

/// The post under which a message is a comment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommentedPost {
    /// The integration's id of the post.
    pub id: String,
    /// Its address.
    pub url: String,
    /// A short-lived address of its picture.
    pub preview_url: Option<String>,
    /// A lasting address of its picture.
    pub preview_permalink: Option<String>,
    /// Its author.
    pub username: Option<String>,
    /// Its text.
    pub caption: Option<String>,
}

/// A post that a client shared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SharedPost {
    /// Its address.
    pub url: String,
    /// A temporary address of its picture, which the service downloads.
    pub preview_link: Option<String>,
    /// A lasting address of its picture, which wins over the temporary one.
    pub preview_permalink: Option<String>,
    /// The caption under the post.
    pub site_name: Option<String>,
}

impl Sender {
    /// A participant with the two fields that are always required.
    pub fn new(user_id: impl Into<UserId>, name: impl Into<String>) -> Self {
        Self {
            user_id: user_id.into(),
            user_ref_id: None,
            name: name.into(),
            avatar: None,
            phone: None,
            email: None,
            profile_link: None,
        }
    }

    /// Adds amoCRM's id of the participant.
    pub fn with_ref_id(mut self, user_ref_id: impl Into<UserRefId>) -> Self {
        self.user_ref_id = Some(user_ref_id.into());
        self
    }

    /// Adds a phone.
    pub fn with_phone(mut self, phone: impl Into<String>) -> Self {
        self.phone = Some(phone.into());
        self
    }

    /// Adds an e-mail address.
    pub fn with_email(mut self, email: impl Into<String>) -> Self {
        self.email = Some(email.into());
        self
    }
}

impl Content {
    /// Text alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// The `type` on the wire.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Contact { .. } => "contact",
            Self::File(_) => "file",
            Self::Video(_) => "video",
            Self::Picture(_) => "picture",
            Self::Voice(_) => "voice",
            Self::Audio(_) => "audio",
            Self::Sticker { .. } => "sticker",
            Self::Location { .. } => "location",
        }
    }

    fn media(&self) -> Option<&Media> {
        match self {
            Self::File(media)
            | Self::Video(media)
            | Self::Picture(media)
            | Self::Voice(media)
            | Self::Audio(media)
            | Self::Sticker { media, .. } => Some(media),
            Self::Text { .. } | Self::Contact { .. } | Self::Location { .. } => None,
        }
    }
}

impl Media {
    /// An attachment of which only the address is known.
    pub fn at(url: impl Into<String>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
}

impl NewMessage {
    /// A message from a client. `sent_at_msec` is Unix milliseconds.
    pub fn incoming(
        conversation_id: impl Into<ConversationId>,
        message_id: impl Into<MessageId>,
        sent_at_msec: i64,
        client: Sender,
        content: Content,
    ) -> Self {
        Self {
            sent_at_msec,
            message_id: message_id.into(),
            conversation_id: conversation_id.into(),
            conversation_ref_id: None,
            sender: client,
            receiver: None,
            content,
            silent: false,
            source_external_id: None,
            reply_to: None,
            forward: None,
            post: None,
            shared_post: None,
            callback_data: None,
        }
    }

    /// A message that a manager or the channel's bot wrote to a client outside of the CRM.
    /// `author_ref_id` is the manager's amojo id or the channel's bot id: without a known one the
    /// service refuses the message.
    pub fn outgoing(
        conversation_id: impl Into<ConversationId>,
        message_id: impl Into<MessageId>,
        sent_at_msec: i64,
        author: Sender,
        author_ref_id: impl Into<UserRefId>,
        client: Sender,
        content: Content,
    ) -> Self {
        let mut message = Self::incoming(
            conversation_id,
            message_id,
            sent_at_msec,
            author.with_ref_id(author_ref_id),
            content,
        );
        message.receiver = Some(client);
        message
    }

    /// Makes it an import: no notification, no incoming lead.
    pub fn silent(mut self) -> Self {
        self.silent = true;
        self
    }

    /// Links chat and client to amoCRM's ids of them, from the webhook of a CRM user who wrote first:
    /// to be done in the first answer, which brings the integration's ids.
    ///
    /// ```
    /// use amochats::{Content, NewMessage, Sender};
    ///
    /// let anna = Sender::new("u-5", "Anna");
    /// let answer = NewMessage::incoming("c-9", "m-17", 1_704_067_200_000, anna, Content::text("hello"))
    ///     .linked_to("8e4d4baa-9e6c-4a88-838a-5f62be227bdc", "2ed64e26-70a1-4857-8382-bb066a076219");
    /// assert!(answer.conversation_ref_id.is_some() && answer.sender.user_ref_id.is_some());
    /// ```
    pub fn linked_to(
        mut self,
        conversation_ref_id: impl Into<ConversationRefId>,
        client_ref_id: impl Into<UserRefId>,
    ) -> Self {
        self.conversation_ref_id = Some(conversation_ref_id.into());
        self.receiver.as_mut().unwrap_or(&mut self.sender).user_ref_id = Some(client_ref_id.into());
        self
    }

    /// The request's body in the vendor's form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the path of the
    /// field, as the vendor names it (`payload.sender.ref_id`), and the rule.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        self.validate()?;
        Ok(wire::encode(self))
    }

    /// Reads the vendor's form of a `new_message`. The older dialect is understood: no
    /// `msec_timestamp`, an `account_id` at the top, which is ignored.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) with the path of the
    /// field and the rule.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let message = wire::decode(json)?;
        message.validate()?;
        Ok(message)
    }

    fn validate(&self) -> Result<()> {
        time(self.sent_at_msec, "payload.msec_timestamp")?;
        filled(self.message_id.as_str(), "payload.msgid")?;
        filled(self.conversation_id.as_str(), "payload.conversation_id")?;
        if let Some(id) = &self.conversation_ref_id {
            filled(id.as_str(), "payload.conversation_ref_id")?;
        }
        self.sender.validate("payload.sender")?;
        if let Some(receiver) = &self.receiver {
            receiver.validate("payload.receiver")?;
            if self.sender.user_ref_id.is_none() {
                return Err(Error::invalid(
                    "payload.sender.ref_id",
                    "is required where there is a receiver: the manager's amojo id or the channel's bot id",
                ));
            }
        }
        self.content.validate("payload.message")?;
        if let Some(media) = self.content.media() {
            address(&media.url, "payload.message.media")?;
        }
        if let Some(source) = &self.source_external_id {
            source_external_id(source, "payload.source.external_id")?;
        }
        if let Some(reply_to) = &self.reply_to {
            reply_to.validate("payload.reply_to.message")?;
        }
        if let Some(forward) = &self.forward {
            forward.message.validate("payload.forwards.messages[0]")?;
        }
        if let Some(post) = &self.post {
            filled(&post.id, "payload.message.post.id")?;
            filled(&post.url, "payload.message.post.url")?;
        }
        if let Some(post) = &self.shared_post {
            filled(&post.url, "payload.message.shared_post.url")?;
        }
        match (&self.callback_data, &self.content) {
            (Some(_), content) if !matches!(content, Content::Text { .. }) => {
                Err(Error::invalid("payload.message.callback_data", "goes with text alone"))
            }
            _ => Ok(()),
        }
    }
}

impl Sender {
    pub(crate) fn validate(&self, path: &str) -> Result<()> {
        filled(self.user_id.as_str(), &format!("{path}.id"))?;
        filled(&self.name, &format!("{path}.name"))?;
        match &self.user_ref_id {
            Some(id) => filled(id.as_str(), &format!("{path}.ref_id")),
            None => Ok(()),
        }
    }
}

impl Content {
    /// Checks all but an attachment's address, which a quoted message has not.
    fn validate(&self, path: &str) -> Result<()> {
        match self {
            Self::Text { text } => filled(text, &format!("{path}.text")),
            Self::Contact { name, phone, .. } => {
                filled(name, &format!("{path}.contact.name"))?;
                filled(phone, &format!("{path}.contact.phone"))
            }
            Self::Location { lon, lat, .. } => {
                degrees(*lon, 180, &format!("{path}.location.lon"))?;
                degrees(*lat, 90, &format!("{path}.location.lat"))
            }
            _ => Ok(()),
        }
    }
}

impl QuotedMessage {
    fn validate(&self, path: &str) -> Result<()> {
        match self {
            Self::ByRefId(id) => filled(id.as_str(), &format!("{path}.id")),
            Self::ById(id) => filled(id.as_str(), &format!("{path}.msgid")),
            Self::Described(message) => {
                time(message.sent_at_msec, &format!("{path}.msec_timestamp"))?;
                match &message.sender {
                    QuotedSender::ById(id) => filled(id.as_str(), &format!("{path}.sender.id"))?,
                    QuotedSender::ByRefId(id) => filled(id.as_str(), &format!("{path}.sender.ref_id"))?,
                    QuotedSender::ByName(name) => filled(name, &format!("{path}.sender.name"))?,
                }
                message.content.validate(path)
            }
        }
    }
}

/// The time to give to the next message of a chat, in Unix milliseconds: `now`, or as little later
/// as makes it later than `previous`, the time of the message before.
///
/// The CRM orders messages by their times, so two of the same millisecond may change places, and a
/// clock that was set back would put an answer before its question.
///
/// ```
/// use amochats::next_sent_at_msec;
///
/// assert_eq!(next_sent_at_msec(1_704_067_200_000, 1_704_067_200_250), 1_704_067_200_250);
/// assert_eq!(next_sent_at_msec(1_704_067_200_250, 1_704_067_200_250), 1_704_067_200_251);
/// assert_eq!(next_sent_at_msec(1_704_067_200_251, 1_704_067_199_000), 1_704_067_200_252);
/// ```
pub fn next_sent_at_msec(previous: i64, now: i64) -> i64 {
    now.max(previous.saturating_add(1))
}

pub(crate) fn filled(text: &str, path: &str) -> Result<()> {
    if text.is_empty() { Err(Error::invalid(path, "must not be empty")) } else { Ok(()) }
}

pub(crate) fn source_external_id(id: &str, path: &str) -> Result<()> {
    if id.is_empty() || id.len() > SOURCE_ID_MAX || !id.bytes().all(|b| (b' '..=b'~').contains(&b)) {
        return Err(Error::invalid(path, format!("must be 1 to {SOURCE_ID_MAX} printable ASCII characters")));
    }
    Ok(())
}

fn time(msec: i64, path: &str) -> Result<()> {
    if msec <= 0 { Err(Error::invalid(path, "must be Unix milliseconds after 1970")) } else { Ok(()) }
}

fn address(url: &str, path: &str) -> Result<()> {
    if url.starts_with("https://") || url.starts_with("http://") {
        Ok(())
    } else {
        Err(Error::invalid(path, "must be a public http or https address"))
    }
}

fn degrees(value: f64, limit: u8, path: &str) -> Result<()> {
    if value.abs() <= f64::from(limit) {
        Ok(())
    } else {
        Err(Error::invalid(path, format!("must be -{limit} to {limit} degrees")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn anna() -> Sender {
        Sender::new("u-5", "Anna")
    }

    fn message(content: Content) -> NewMessage {
        NewMessage::incoming("c-9", "m-17", 1_704_067_200_123, anna(), content)
    }

    #[test]
    fn rules_name_the_field() {
        let mut no_ref = message(Content::text("x"));
        no_ref.receiver = Some(anna());
        let mut callback = message(Content::Picture(Media::at("https://e.org/p.png")));
        callback.callback_data = Some("row".into());
        let mut source = message(Content::text("x"));
        source.source_external_id = Some("я".into());
        let mut described = message(Content::text("x"));
        described.reply_to = Some(QuotedMessage::Described(Box::new(DescribedMessage {
            sent_at_msec: 1,
            sender: QuotedSender::ByName(String::new()),
            content: Content::text("q"),
        })));
        for (message, field) in [
            (message(Content::text("")), "payload.message.text"),
            (message(Content::Voice(Media::default())), "payload.message.media"),
            (message(Content::Voice(Media::at("file:///etc/passwd"))), "payload.message.media"),
            (message(Content::Location { lon: 181.0, lat: 0.0, text: None }), "payload.message.location.lon"),
            (
                message(Content::Location { lon: 1.0, lat: f64::NAN, text: None }),
                "payload.message.location.lat",
            ),
            (
                message(Content::Contact { name: "B".into(), phone: String::new(), text: None }),
                "payload.message.contact.phone",
            ),
            (no_ref, "payload.sender.ref_id"),
            (callback, "payload.message.callback_data"),
            (source, "payload.source.external_id"),
            (described, "payload.reply_to.message.sender.name"),
            (NewMessage::incoming("", "m", 1, anna(), Content::text("x")), "payload.conversation_id"),
            (NewMessage::incoming("c", "m", 0, anna(), Content::text("x")), "payload.msec_timestamp"),
            (
                NewMessage::incoming("c", "m", 1, Sender::new("u", ""), Content::text("x")),
                "payload.sender.name",
            ),
        ] {
            assert_eq!(message.to_json().expect_err(field).field(), Some(field));
        }
    }

    #[test]
    fn what_a_type_has_no_place_for_is_refused_rather_than_dropped() {
        let read = |message: &str| {
            let json = format!(
                r#"{{"event_type":"new_message","payload":{{"timestamp":1,"msgid":"m","conversation_id":"c","sender":{{"id":"u","name":"A"}},"message":{message}}}}}"#
            );
            NewMessage::from_json(json.as_bytes())
        };
        for (message, field) in [
            (r#"{"type":"text","text":"x","media":"https://e.org/f"}"#, "media"),
            (r#"{"type":"text","text":"x","file_name":"f"}"#, "file_name"),
            (r#"{"type":"text","text":"x","file_size":1}"#, "file_size"),
            (r#"{"type":"text","text":"x","media_duration":1}"#, "media_duration"),
            (r#"{"type":"picture","media":"https://e.org/f","sticker_id":"s"}"#, "sticker_id"),
            (r#"{"type":"picture","media":"https://e.org/f","location":{"lon":1,"lat":2}}"#, "location"),
            (
                r#"{"type":"location","location":{"lon":1,"lat":2},"contact":{"name":"B","phone":"1"}}"#,
                "contact",
            ),
            (r#"{"type":"contact","contact":{"name":"B","phone":"1"},"media":"https://e.org/f"}"#, "media"),
        ] {
            let error = read(message).expect_err(message);
            assert_eq!(error.field(), Some(&*format!("payload.message.{field}")), "{message}");
        }
        let empty = r#"{"type":"text","text":"x","media":"","file_name":"","file_size":0,"sticker_id":""}"#;
        assert_eq!(read(empty).expect("as an example has it").content, Content::text("x"));
    }

    #[test]
    fn both_sides_ids_are_linked_for_the_client_alone() {
        let incoming = message(Content::text("x")).linked_to("C", "U");
        assert_eq!(
            (incoming.conversation_ref_id, incoming.sender.user_ref_id),
            (Some("C".into()), Some("U".into()))
        );
        let manager = Sender::new("m", "Manager");
        let outgoing =
            NewMessage::outgoing("c", "m", 1, manager, "M", anna(), Content::text("x")).linked_to("C", "U");
        let receiver = outgoing.receiver.expect("the client");
        assert_eq!((outgoing.sender.user_ref_id, receiver.user_ref_id), (Some("M".into()), Some("U".into())));
    }

    #[test]
    fn another_event_is_refused_by_its_name() {
        let json = br#"{"event_type":"edit_message","payload":{"msgid":"m"}}"#;
        let error = NewMessage::from_json(json).expect_err("an edit");
        assert_eq!(error.to_string(), "event_type: must be `new_message`");
        assert_eq!(error.field(), Some("event_type"));
    }

    #[test]
    fn errors_of_reading_do_not_quote_what_was_sent() {
        let json = br#"{"event_type":"new_message","payload":{"timestamp":"call +1555","msgid":"m"}}"#;
        let error = NewMessage::from_json(json).expect_err("a string for a number");
        assert_eq!(error.field(), Some("payload.timestamp"));
        assert!(!error.to_string().contains("1555"), "{error}");
    }

    fn media() -> impl Strategy<Value = Media> {
        let option = || prop::option::of("[a-zА-я ]{0,8}");
        (option(), prop::option::of(0u64..1 << 40), prop::option::of(0u64..1000), option()).prop_map(
            |(file_name, file_size, duration, text)| Media {
                url: "https://e.org/f".into(),
                file_name,
                file_size,
                duration,
                text,
            },
        )
    }

    pub(super) fn content() -> impl Strategy<Value = Content> {
        prop_oneof![
            "\\PC{1,20}".prop_map(Content::text),
            media().prop_map(Content::File),
            media().prop_map(Content::Video),
            media().prop_map(Content::Picture),
            media().prop_map(Content::Voice),
            media().prop_map(Content::Audio),
            (media(), prop::option::of("[a-z]{1,5}"))
                .prop_map(|(media, sticker_id)| Content::Sticker { media, sticker_id }),
            (-180.0..180.0, -90.0..90.0).prop_map(|(lon, lat)| Content::Location { lon, lat, text: None }),
            ("[a-z]{1,5}", "[0-9]{1,9}").prop_map(|(name, phone)| Content::Contact {
                name,
                phone,
                text: None
            }),
        ]
    }

    fn quoted() -> impl Strategy<Value = QuotedMessage> {
        prop_oneof![
            "[a-z]{1,9}".prop_map(|id| QuotedMessage::ById(id.into())),
            "[a-z]{1,9}".prop_map(|id| QuotedMessage::ByRefId(id.into())),
            (1i64..1 << 42, "[a-z]{1,9}", "[а-я]{1,9}").prop_map(|(sent_at_msec, name, text)| {
                QuotedMessage::Described(Box::new(DescribedMessage {
                    sent_at_msec,
                    sender: QuotedSender::ByName(name),
                    content: Content::text(text),
                }))
            }),
        ]
    }

    proptest! {
        #[test]
        fn times_within_a_chat_rise(clock in prop::collection::vec(0i64..1 << 42, 1..20)) {
            let mut previous = 0;
            for now in clock {
                let next = next_sent_at_msec(previous, now);
                prop_assert!(next > previous && next >= now);
                prop_assert!(next == now || next == previous + 1);
                previous = next;
            }
        }

        #[test]
        fn decoding_gives_back_what_was_encoded(
            content in content(),
            at in 1i64..1 << 42,
            silent: bool,
            source in prop::option::of("[ -~]{1,40}"),
            reply_to in prop::option::of(quoted()),
            forward in prop::option::of(quoted()),
            phone in prop::option::of("[0-9]{1,12}"),
            outgoing: bool,
        ) {
            let mut sent = NewMessage::incoming("c", "m", at, Sender { phone, ..anna() }, content);
            if outgoing {
                sent.sender.user_ref_id = Some("bot".into());
                sent.receiver = Some(anna());
            }
            sent.silent = silent;
            sent.source_external_id = source;
            sent.reply_to = reply_to;
            sent.forward = forward.map(|message| Forward { message, conversation_id: None, conversation_ref_id: None });
            let json = sent.to_json().expect("valid");
            prop_assert_eq!(NewMessage::from_json(&json).expect("valid"), sent);
        }
    }
}
