//! The vendor's spelling of a message, field by field (chats API reference, "send, edit or import
//! messages").

use super::{
    CommentedPost, Content, DescribedMessage, Forward, Media, NewMessage, QuotedMessage, QuotedSender,
    Sender, SharedPost,
};
use crate::error::{Error, Result};
use crate::requests::WireStatus;
use crate::strict::{self, Field, Problem, wire};
use serde_json::Value;

wire! {
    struct Envelope {
        event_type: NewMessageEvent,
        payload: Payload,
        /// In examples of 2020 only, never described: ignored.
        account_id: Option<String>,
    }

    struct Payload {
        timestamp: i64,
        msec_timestamp: Option<i64>,
        msgid: String,
        conversation_id: String,
        conversation_ref_id: Option<String>,
        sender: Person,
        receiver: Option<Person>,
        message: Body,
        silent: Option<bool>,
        source: Option<Source>,
        reply_to: Option<ReplyTo>,
        forwards: Option<Forwards>,
    }

    pub(crate) struct Person {
        id: String,
        ref_id: Option<String>,
        name: String,
        avatar: Option<String>,
        profile: Option<Profile>,
        profile_link: Option<String>,
    }

    struct Profile {
        phone: Option<String>,
        email: Option<String>,
    }

    pub(super) struct Body {
        kind as "type": String,
        text: Option<String>,
        media: Option<String>,
        file_name: Option<String>,
        file_size: Option<u64>,
        media_duration: Option<u64>,
        sticker_id: Option<String>,
        location: Option<Location>,
        contact: Option<Contact>,
        pub(super) callback_data: Option<String>,
        pub(super) shared_post: Option<WireSharedPost>,
        pub(super) post: Option<WirePost>,
        /// Only in edits.
        pub(super) delivery_status: Option<WireStatus>,
    }

    struct Location {
        lon: f64,
        lat: f64,
    }

    struct Contact {
        name: String,
        phone: String,
    }

    pub(super) struct WireSharedPost {
        url: String,
        preview_link: Option<String>,
        preview_permalink: Option<String>,
        kind as "type": String,
        site_name: Option<String>,
    }

    pub(super) struct WirePost {
        id: String,
        url: String,
        preview_url: Option<String>,
        preview_permalink: Option<String>,
        username: Option<String>,
        caption: Option<String>,
    }

    pub(crate) struct Source {
        pub(crate) external_id: String,
    }

    struct ReplyTo {
        message: Embedded,
    }

    struct Forwards {
        messages: Vec<Embedded>,
        conversation_ref_id: Option<String>,
        conversation_id: Option<String>,
    }

    struct Embedded {
        id: Option<String>,
        msgid: Option<String>,
        kind as "type": Option<String>,
        text: Option<String>,
        file_name: Option<String>,
        file_size: Option<u64>,
        media_duration: Option<u64>,
        location: Option<Location>,
        contact: Option<Contact>,
        timestamp: Option<i64>,
        msec_timestamp: Option<i64>,
        sender: Option<EmbeddedSender>,
    }

    struct EmbeddedSender {
        id: Option<String>,
        ref_id: Option<String>,
        name: Option<String>,
    }
}

/// A type of its own, so that another event is refused by its name, before its payload is looked at.
#[derive(Default)]
struct NewMessageEvent;

impl Field for NewMessageEvent {
    fn read(value: Value) -> Result<Self, Problem> {
        if value == "new_message" { Ok(Self) } else { Err(Problem::new("must be `new_message`")) }
    }

    fn write(&self) -> Option<Value> {
        Some("new_message".into())
    }
}

pub(super) fn encode(message: &NewMessage) -> Vec<u8> {
    let mut body = Body::of(&message.content);
    body.callback_data.clone_from(&message.callback_data);
    body.shared_post = message.shared_post.as_ref().map(|post| WireSharedPost {
        url: post.url.clone(),
        preview_link: post.preview_link.clone(),
        preview_permalink: post.preview_permalink.clone(),
        kind: "post".into(),
        site_name: post.site_name.clone(),
    });
    body.post = message.post.as_ref().map(|post| WirePost {
        id: post.id.clone(),
        url: post.url.clone(),
        preview_url: post.preview_url.clone(),
        preview_permalink: post.preview_permalink.clone(),
        username: post.username.clone(),
        caption: post.caption.clone(),
    });
    let envelope = Envelope {
        event_type: NewMessageEvent,
        account_id: None,
        payload: Payload {
            timestamp: message.sent_at_msec / 1000,
            msec_timestamp: Some(message.sent_at_msec),
            msgid: message.message_id.to_string(),
            conversation_id: message.conversation_id.to_string(),
            conversation_ref_id: message.conversation_ref_id.as_ref().map(ToString::to_string),
            sender: Person::of(&message.sender),
            receiver: message.receiver.as_ref().map(Person::of),
            message: body,
            silent: Some(message.silent),
            source: message.source_external_id.clone().map(|external_id| Source { external_id }),
            reply_to: message.reply_to.as_ref().map(|quoted| ReplyTo { message: Embedded::of(quoted) }),
            forwards: message.forward.as_ref().map(|forward| Forwards {
                messages: vec![Embedded::of(&forward.message)],
                conversation_ref_id: forward.conversation_ref_id.as_ref().map(ToString::to_string),
                conversation_id: forward.conversation_id.as_ref().map(ToString::to_string),
            }),
        },
    };
    strict::to_vec(&envelope)
}

pub(super) fn decode(json: &[u8]) -> Result<NewMessage> {
    let Envelope { payload, .. } = strict::from_slice(json)?;
    let sent_at_msec = moment(payload.timestamp, payload.msec_timestamp, "payload")?;
    let forward = payload.forwards.map(forward).transpose()?;
    let reply_to =
        payload.reply_to.map(|reply| quoted(reply.message, "payload.reply_to.message")).transpose()?;
    let mut body = payload.message;
    if body.delivery_status.is_some() {
        return Err(Error::invalid("payload.message.delivery_status", "belongs to an edit"));
    }
    let shared_post = match body.shared_post.take() {
        Some(post) if post.kind != "post" => {
            return Err(Error::invalid("payload.message.shared_post.type", "must be \"post\""));
        }
        Some(post) => Some(SharedPost {
            url: post.url,
            preview_link: post.preview_link,
            preview_permalink: post.preview_permalink,
            site_name: post.site_name,
        }),
        None => None,
    };
    let post = body.post.take().map(|post| CommentedPost {
        id: post.id,
        url: post.url,
        preview_url: post.preview_url,
        preview_permalink: post.preview_permalink,
        username: post.username,
        caption: post.caption,
    });
    Ok(NewMessage {
        sent_at_msec,
        message_id: payload.msgid.into(),
        conversation_id: payload.conversation_id.into(),
        conversation_ref_id: payload.conversation_ref_id.map(Into::into),
        sender: payload.sender.into_sender(),
        receiver: payload.receiver.map(Person::into_sender),
        callback_data: body.callback_data.take(),
        content: body.into_content("payload.message")?,
        silent: payload.silent.unwrap_or(false),
        source_external_id: payload.source.map(|source| source.external_id),
        reply_to,
        forward,
        post,
        shared_post,
    })
}

impl Person {
    pub(crate) fn of(person: &Sender) -> Self {
        let profile = Profile { phone: person.phone.clone(), email: person.email.clone() };
        Self {
            id: person.user_id.to_string(),
            ref_id: person.user_ref_id.as_ref().map(ToString::to_string),
            name: person.name.clone(),
            avatar: person.avatar.clone(),
            profile: (profile.phone.is_some() || profile.email.is_some()).then_some(profile),
            profile_link: person.profile_link.clone(),
        }
    }

    pub(crate) fn into_sender(self) -> Sender {
        let (phone, email) = self.profile.map(|profile| (profile.phone, profile.email)).unwrap_or_default();
        Sender {
            user_id: self.id.into(),
            user_ref_id: self.ref_id.map(Into::into),
            name: self.name,
            avatar: self.avatar,
            phone,
            email,
            profile_link: self.profile_link,
        }
    }
}

/// The types of messages that requests know.
const TYPES: [&str; 9] =
    ["text", "contact", "file", "video", "picture", "voice", "audio", "sticker", "location"];

impl Body {
    pub(super) fn of(content: &Content) -> Self {
        let mut body = Self { kind: content.type_name().into(), ..Self::default() };
        if let Some(media) = content.media() {
            // Only an edit may be without: it keeps the file.
            body.media = (!media.url.is_empty()).then(|| media.url.clone());
            body.file_name.clone_from(&media.file_name);
            body.file_size = media.file_size;
            body.media_duration = media.duration;
            body.text.clone_from(&media.text);
        }
        match content {
            Content::Text { text } => body.text = Some(text.clone()),
            Content::Contact { name, phone, text } => {
                body.contact = Some(Contact { name: name.clone(), phone: phone.clone() });
                body.text.clone_from(text);
            }
            Content::Location { lon, lat, text } => {
                body.location = Some(Location { lon: *lon, lat: *lat });
                body.text.clone_from(text);
            }
            Content::Sticker { sticker_id, .. } => body.sticker_id.clone_from(sticker_id),
            _ => {}
        }
        body
    }

    /// Refuses what the type has no place for, so that nothing is dropped in silence. What is empty
    /// says nothing: an example of a text has an empty address.
    fn only_what_fits(&self, path: &str) -> Result<()> {
        let given = |text: &Option<String>| text.as_deref().is_some_and(|text| !text.is_empty());
        let has_media = !matches!(self.kind.as_str(), "text" | "contact" | "location");
        for (field, is_given, fits) in [
            ("media", given(&self.media), has_media),
            ("file_name", given(&self.file_name), has_media),
            ("file_size", self.file_size.is_some_and(|size| size != 0), has_media),
            ("media_duration", self.media_duration.is_some_and(|seconds| seconds != 0), has_media),
            ("sticker_id", given(&self.sticker_id), self.kind == "sticker"),
            ("location", self.location.is_some(), self.kind == "location"),
            ("contact", self.contact.is_some(), self.kind == "contact"),
        ] {
            if is_given && !fits {
                return Err(Error::invalid(
                    format!("{path}.{field}"),
                    format!("does not go with the type {}", self.kind),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn into_content(self, path: &str) -> Result<Content> {
        if TYPES.contains(&self.kind.as_str()) {
            self.only_what_fits(path)?;
        }
        let media = Media {
            url: self.media.unwrap_or_default(),
            file_name: self.file_name,
            file_size: self.file_size,
            duration: self.media_duration,
            text: self.text.clone(),
        };
        let required =
            |field: &str| Error::invalid(format!("{path}.{field}"), format!("is required for {}", self.kind));
        Ok(match self.kind.as_str() {
            "text" => Content::Text { text: self.text.ok_or_else(|| required("text"))? },
            "contact" => {
                let Contact { name, phone } = self.contact.ok_or_else(|| required("contact"))?;
                Content::Contact { name, phone, text: self.text }
            }
            "location" => {
                let Location { lon, lat } = self.location.ok_or_else(|| required("location"))?;
                Content::Location { lon, lat, text: self.text }
            }
            "file" => Content::File(media),
            "video" => Content::Video(media),
            "picture" => Content::Picture(media),
            "voice" => Content::Voice(media),
            "audio" => Content::Audio(media),
            "sticker" => Content::Sticker { media, sticker_id: self.sticker_id },
            _ => {
                return Err(Error::invalid(
                    format!("{path}.type"),
                    "must be text, contact, file, video, picture, voice, audio, sticker or location",
                ));
            }
        })
    }
}

impl Embedded {
    fn of(quoted: &QuotedMessage) -> Self {
        let message = match quoted {
            QuotedMessage::ByRefId(id) => {
                return Self { id: Some(id.to_string()), ..Self::default() };
            }
            QuotedMessage::ById(id) => {
                return Self { msgid: Some(id.to_string()), ..Self::default() };
            }
            QuotedMessage::Described(message) => message,
        };
        let body = Body::of(&message.content);
        let mut sender = EmbeddedSender::default();
        match &message.sender {
            QuotedSender::ById(id) => sender.id = Some(id.to_string()),
            QuotedSender::ByRefId(id) => sender.ref_id = Some(id.to_string()),
            QuotedSender::ByName(name) => sender.name = Some(name.clone()),
        }
        Self {
            kind: Some(body.kind),
            text: body.text,
            file_name: body.file_name,
            file_size: body.file_size,
            media_duration: body.media_duration,
            location: body.location,
            contact: body.contact,
            timestamp: Some(message.sent_at_msec / 1000),
            msec_timestamp: Some(message.sent_at_msec),
            sender: Some(sender),
            ..Self::default()
        }
    }
}

fn forward(mut forwards: Forwards) -> Result<Forward> {
    let message = match (forwards.messages.pop(), forwards.messages.is_empty()) {
        (Some(message), true) => quoted(message, "payload.forwards.messages[0]")?,
        _ => {
            return Err(Error::invalid("payload.forwards.messages", "must hold exactly one message"));
        }
    };
    Ok(Forward {
        message,
        conversation_id: forwards.conversation_id.map(Into::into),
        conversation_ref_id: forwards.conversation_ref_id.map(Into::into),
    })
}

fn quoted(embedded: Embedded, path: &str) -> Result<QuotedMessage> {
    if let Some(id) = embedded.id {
        return Ok(QuotedMessage::ByRefId(id.into()));
    }
    if let Some(id) = embedded.msgid {
        return Ok(QuotedMessage::ById(id.into()));
    }
    let required =
        |field: &str| Error::invalid(format!("{path}.{field}"), "is required without id and msgid");
    let timestamp = embedded.timestamp.ok_or_else(|| required("timestamp"))?;
    let sender = embedded.sender.ok_or_else(|| required("sender"))?;
    let sender = match sender {
        EmbeddedSender { ref_id: Some(id), .. } => QuotedSender::ByRefId(id.into()),
        EmbeddedSender { id: Some(id), .. } => QuotedSender::ById(id.into()),
        EmbeddedSender { name: Some(name), .. } => QuotedSender::ByName(name),
        _ => {
            return Err(Error::invalid(
                format!("{path}.sender"),
                "must name the sender by id, ref_id or name",
            ));
        }
    };
    let body = Body {
        kind: embedded.kind.ok_or_else(|| required("type"))?,
        text: embedded.text,
        file_name: embedded.file_name,
        file_size: embedded.file_size,
        media_duration: embedded.media_duration,
        location: embedded.location,
        contact: embedded.contact,
        ..Body::default()
    };
    Ok(QuotedMessage::Described(Box::new(DescribedMessage {
        sent_at_msec: moment(timestamp, embedded.msec_timestamp, path)?,
        sender,
        content: body.into_content(path)?,
    })))
}

/// Both spellings of one moment, in milliseconds.
pub(super) fn moment(seconds: i64, msec: Option<i64>, path: &str) -> Result<i64> {
    match msec {
        Some(msec) if msec.div_euclid(1000) != seconds => {
            Err(Error::invalid(format!("{path}.timestamp"), "must be the seconds of msec_timestamp"))
        }
        Some(msec) => Ok(msec),
        None => seconds
            .checked_mul(1000)
            .ok_or_else(|| Error::invalid(format!("{path}.timestamp"), "is too large")),
    }
}
