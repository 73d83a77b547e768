//! Messages and people, built field by field.

use crate::boundary::{boundary, required, value};
use crate::buffer::amochats_buffer;
use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use amochats_core::{
    CommentedPost, Content, DescribedMessage, Error, ErrorKind, Forward, Media, NewMessage, QuotedMessage,
    QuotedSender, Result, Sender, SharedPost,
};
use std::mem::MaybeUninit;
use std::time::{SystemTime, UNIX_EPOCH};

/// Somebody in a chat, to be named in a message. Made by amochats_user_new(), freed by the caller with
/// amochats_user_free(). Not for several threads at once while it is being changed.
pub struct amochats_user(Sender);

impl amochats_user {
    #[cfg(feature = "runtime")]
    pub(crate) fn sender(&self) -> &Sender {
        &self.0
    }
}

/// A message, built field by field; what is missing or wrong is told when it is used. Made by
/// amochats_message_new(), freed by the caller with amochats_message_free(). What it is given is copied. Not
/// for several threads at once while it is being changed.
#[derive(Default)]
pub struct amochats_message {
    conversation_id: String,
    conversation_ref_id: Option<String>,
    message_id: String,
    message_ref_id: Option<String>,
    sent_at_msec: Option<i64>,
    sender: Option<Sender>,
    receiver: Option<Sender>,
    content: Option<Content>,
    silent: bool,
    source: Option<String>,
    callback_data: Option<String>,
    reply_to: Option<QuotedMessage>,
    forward: Option<Forward>,
    post: Option<CommentedPost>,
    shared_post: Option<SharedPost>,
}

/// What an attachment is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum amochats_media {
    /// Any file.
    File = 0,
    /// A video.
    Video = 1,
    /// A picture.
    Picture = 2,
    /// A voice message.
    Voice = 3,
    /// Music and other sound.
    Audio = 4,
    /// A sticker.
    Sticker = 5,
}

/// Names somebody, by the integration's id; NULL where an argument is not UTF-8.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_user_new(
    user_id: amochats_slice<'_>,
    name: amochats_slice<'_>,
) -> *mut amochats_user {
    value(std::ptr::null_mut(), || match (user_id.text("user_id"), name.text("name")) {
        (Ok(id), Ok(name)) => Box::into_raw(Box::new(amochats_user(Sender::new(id, name)))),
        _ => std::ptr::null_mut(),
    })
}

/// Sets amoCRM's id: of a manager or of the channel's bot where these write, see
/// amochats_message_set_receiver().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_user_set_ref_id(
    user: Option<&mut amochats_user>,
    user_ref_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    person(user, user_ref_id, "user_ref_id", error, |user, id| user.user_ref_id = Some(id.into()))
}

/// Sets the address of a picture of them.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_user_set_avatar(
    user: Option<&mut amochats_user>,
    url: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    person(user, url, "url", error, |user, url| user.avatar = Some(url))
}

/// Sets the phone.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_user_set_phone(
    user: Option<&mut amochats_user>,
    phone: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    person(user, phone, "phone", error, |user, phone| user.phone = Some(phone))
}

/// Sets the e-mail address.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_user_set_email(
    user: Option<&mut amochats_user>,
    email: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    person(user, email, "email", error, |user, email| user.email = Some(email))
}

/// Sets the address of their page.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_user_set_profile_link(
    user: Option<&mut amochats_user>,
    url: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    person(user, url, "url", error, |user, url| user.profile_link = Some(url))
}

fn person(
    user: Option<&mut amochats_user>,
    text: amochats_slice<'_>,
    name: &str,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
    set: impl FnOnce(&mut Sender, String),
) -> amochats_result {
    boundary(error, || {
        set(&mut required(user, "user")?.0, text.text(name)?.to_owned());
        Ok(())
    })
}

/// Frees a user; messages that name them keep their copy. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_user_free(user: Option<Box<amochats_user>>) {
    value((), || drop(user));
}

/// Begins a message with its own id in a chat of the integration's id; NULL where an argument is not UTF-8.
/// Either may be empty in a message that is only quoted.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_new(
    conversation_id: amochats_slice<'_>,
    message_id: amochats_slice<'_>,
) -> *mut amochats_message {
    value(std::ptr::null_mut(), || {
        match (conversation_id.text("conversation_id"), message_id.text("message_id")) {
            (Ok(conversation), Ok(message)) => Box::into_raw(Box::new(amochats_message {
                conversation_id: conversation.to_owned(),
                message_id: message.to_owned(),
                ..amochats_message::default()
            })),
            _ => std::ptr::null_mut(),
        }
    })
}

/// Sets amoCRM's id of the chat, which is enough where the chat is known.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_conversation_ref_id(
    message: Option<&mut amochats_message>,
    conversation_ref_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    text(message, conversation_ref_id, "conversation_ref_id", error, |message, id| {
        message.conversation_ref_id = Some(id);
    })
}

/// Sets amoCRM's id of the message, for amochats_call_edit_message() alone.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_message_ref_id(
    message: Option<&mut amochats_message>,
    message_ref_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    text(message, message_ref_id, "message_ref_id", error, |message, id| message.message_ref_id = Some(id))
}

/// Sets when it was written, in Unix milliseconds; when it is used unless set. Within a chat times should
/// rise: the CRM orders by them.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_sent_at_msec(
    message: Option<&mut amochats_message>,
    sent_at_msec: i64,
) {
    value((), || message.map_or((), |message| message.sent_at_msec = Some(sent_at_msec)));
}

/// Sets who wrote it: the client, or with a receiver a manager or bot.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_sender(
    message: Option<&mut amochats_message>,
    sender: Option<&amochats_user>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        required(message, "message")?.sender = Some(required(sender, "sender")?.0.clone());
        Ok(())
    })
}

/// Sets the client it was written to, for a message that a manager or bot wrote in the messenger; the
/// sender then needs a ref id.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_receiver(
    message: Option<&mut amochats_message>,
    receiver: Option<&amochats_user>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        required(message, "message")?.receiver = Some(required(receiver, "receiver")?.0.clone());
        Ok(())
    })
}

/// Shows it without a notification.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_silent(message: Option<&mut amochats_message>, silent: bool) {
    value((), || message.map_or((), |message| message.silent = silent));
}

/// Sets the source it came by, by the source's external id.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_source(
    message: Option<&mut amochats_message>,
    external_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    text(message, external_id, "external_id", error, |message, id| message.source = Some(id))
}

/// Says which button or row of a list the client chose; goes with text.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_callback_data(
    message: Option<&mut amochats_message>,
    data: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    text(message, data, "data", error, |message, data| message.callback_data = Some(data))
}

/// Makes it a text.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_text(
    message: Option<&mut amochats_message>,
    said: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    text(message, said, "text", error, |message, said| message.content = Some(Content::text(said)))
}

/// Makes it an attachment of the kind `media`, an amochats_media, at a public address, which may be empty in
/// an edit and in a quoted message alone.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_media(
    message: Option<&mut amochats_message>,
    media: u32,
    url: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let message = required(message, "message")?;
        let file = Media::at(url.text("url")?);
        message.content = Some(match media {
            0 => Content::File(file),
            1 => Content::Video(file),
            2 => Content::Picture(file),
            3 => Content::Voice(file),
            4 => Content::Audio(file),
            5 => Content::Sticker { media: file, sticker_id: None },
            _ => return Err(Error::invalid("media", "must be an amochats_media")),
        });
        Ok(())
    })
}

/// Sets the file's name, of an attachment.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_file_name(
    message: Option<&mut amochats_message>,
    file_name: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let file_name = file_name.text("file_name")?.to_owned();
        media_of(message)?.file_name = Some(file_name);
        Ok(())
    })
}

/// Sets the file's size in bytes, of an attachment.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_file_size(
    message: Option<&mut amochats_message>,
    bytes: u64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        media_of(message)?.file_size = Some(bytes);
        Ok(())
    })
}

/// Sets how long it plays, in seconds, of an attachment.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_duration(
    message: Option<&mut amochats_message>,
    seconds: u64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        media_of(message)?.duration = Some(seconds);
        Ok(())
    })
}

/// Sets the sticker's id, of a sticker.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_sticker_id(
    message: Option<&mut amochats_message>,
    sticker_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let id = sticker_id.text("sticker_id")?.to_owned();
        match &mut required(message, "message")?.content {
            Some(Content::Sticker { sticker_id, .. }) => *sticker_id = Some(id),
            _ => return Err(Error::invalid("sticker_id", "goes with a sticker; set the media before")),
        }
        Ok(())
    })
}

/// Sets the text beside an attachment, a location or a contact.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_caption(
    message: Option<&mut amochats_message>,
    caption: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let caption = Some(caption.text("caption")?.to_owned());
        let message = required(message, "message")?;
        match &mut message.content {
            Some(Content::Location { text, .. } | Content::Contact { text, .. }) => *text = caption,
            _ => media_of(Some(message))?.text = caption,
        }
        Ok(())
    })
}

/// The attachment of a message that has one.
fn media_of(message: Option<&mut amochats_message>) -> Result<&mut Media> {
    match &mut required(message, "message")?.content {
        Some(
            Content::File(media)
            | Content::Video(media)
            | Content::Picture(media)
            | Content::Voice(media)
            | Content::Audio(media)
            | Content::Sticker { media, .. },
        ) => Ok(media),
        _ => Err(Error::invalid("message", "has no attachment; call amochats_message_set_media() before")),
    }
}

/// Makes it a place on the map, in degrees.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_location(
    message: Option<&mut amochats_message>,
    longitude: f64,
    latitude: f64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let place = Content::Location { lon: longitude, lat: latitude, text: None };
        required(message, "message")?.content = Some(place);
        Ok(())
    })
}

/// Makes it a contact: a name and a phone.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_contact(
    message: Option<&mut amochats_message>,
    name: amochats_slice<'_>,
    phone: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let (name, phone) = (name.text("name")?.to_owned(), phone.text("phone")?.to_owned());
        required(message, "message")?.content = Some(Content::Contact { name, phone, text: None });
        Ok(())
    })
}

/// Makes it a reply to a message, by the integration's id of it or, where that is empty, amoCRM's.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_reply_to(
    message: Option<&mut amochats_message>,
    message_id: amochats_slice<'_>,
    message_ref_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        required(message, "message")?.reply_to = Some(by_id(message_id, message_ref_id)?);
        Ok(())
    })
}

/// Makes it a reply to a message that the CRM does not know, which is described: its sender, its time and its
/// content count.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_reply_to_described(
    message: Option<&mut amochats_message>,
    quoted: Option<&amochats_message>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let quoted = required(quoted, "quoted")?.described()?;
        required(message, "message")?.reply_to = Some(quoted);
        Ok(())
    })
}

/// Makes it a forwarded message, by the integration's id of the original or, where that is empty, amoCRM's;
/// of the chat it is from likewise, where both may be empty.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_forward(
    message: Option<&mut amochats_message>,
    message_id: amochats_slice<'_>,
    message_ref_id: amochats_slice<'_>,
    conversation_id: amochats_slice<'_>,
    conversation_ref_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let forward = Forward {
            message: by_id(message_id, message_ref_id)?,
            conversation_id: given(conversation_id, "conversation_id")?.map(Into::into),
            conversation_ref_id: given(conversation_ref_id, "conversation_ref_id")?.map(Into::into),
        };
        required(message, "message")?.forward = Some(forward);
        Ok(())
    })
}

/// Makes it a forwarded message that the CRM does not know, which is described: its sender, its time and its
/// content count.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_forward_described(
    message: Option<&mut amochats_message>,
    quoted: Option<&amochats_message>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let message_described = required(quoted, "quoted")?.described()?;
        let forward =
            Forward { message: message_described, conversation_id: None, conversation_ref_id: None };
        required(message, "message")?.forward = Some(forward);
        Ok(())
    })
}

fn by_id(message_id: amochats_slice<'_>, message_ref_id: amochats_slice<'_>) -> Result<QuotedMessage> {
    match (given(message_id, "message_id")?, given(message_ref_id, "message_ref_id")?) {
        (Some(id), _) => Ok(QuotedMessage::ById(id.into())),
        (None, Some(id)) => Ok(QuotedMessage::ByRefId(id.into())),
        (None, None) => Err(Error::invalid("message_id", "is required, or message_ref_id instead")),
    }
}

/// Makes it a comment on a post, by the post's id and address; the others may be empty.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_post(
    message: Option<&mut amochats_message>,
    id: amochats_slice<'_>,
    url: amochats_slice<'_>,
    preview_url: amochats_slice<'_>,
    preview_permalink: amochats_slice<'_>,
    username: amochats_slice<'_>,
    caption: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let post = CommentedPost {
            id: id.text("id")?.to_owned(),
            url: url.text("url")?.to_owned(),
            preview_url: given(preview_url, "preview_url")?.map(str::to_owned),
            preview_permalink: given(preview_permalink, "preview_permalink")?.map(str::to_owned),
            username: given(username, "username")?.map(str::to_owned),
            caption: given(caption, "caption")?.map(str::to_owned),
        };
        required(message, "message")?.post = Some(post);
        Ok(())
    })
}

/// Shows a post that was shared, by its address; the others may be empty.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_set_shared_post(
    message: Option<&mut amochats_message>,
    url: amochats_slice<'_>,
    preview_link: amochats_slice<'_>,
    preview_permalink: amochats_slice<'_>,
    site_name: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let post = SharedPost {
            url: url.text("url")?.to_owned(),
            preview_link: given(preview_link, "preview_link")?.map(str::to_owned),
            preview_permalink: given(preview_permalink, "preview_permalink")?.map(str::to_owned),
            site_name: given(site_name, "site_name")?.map(str::to_owned),
        };
        required(message, "message")?.shared_post = Some(post);
        Ok(())
    })
}

/// Checks the message by all rules that the vendor documents, and writes the body to sign and send.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT, with the path of the field, where it breaks a rule.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_json(
    message: Option<&amochats_message>,
    body: Option<&mut MaybeUninit<*mut amochats_buffer>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let body = required(body, "body")?;
        let encoded = required(message, "message")?.new_message()?.to_json()?;
        body.write(amochats_buffer::into_raw(encoded));
        Ok(())
    })
}

/// Frees a message; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_message_free(message: Option<Box<amochats_message>>) {
    value((), || drop(message));
}

impl amochats_message {
    /// As it is sent, checked.
    pub(crate) fn new_message(&self) -> Result<NewMessage> {
        let sender = self.sender.clone().ok_or_else(|| {
            Error::invalid("payload.sender", "is required; call amochats_message_set_sender()")
        })?;
        let mut message = NewMessage::incoming(
            self.conversation_id.as_str(),
            self.message_id.as_str(),
            self.time()?,
            sender,
            self.content()?,
        );
        message.conversation_ref_id = self.conversation_ref_id.clone().map(Into::into);
        message.receiver.clone_from(&self.receiver);
        message.silent = self.silent;
        message.source_external_id.clone_from(&self.source);
        message.reply_to.clone_from(&self.reply_to);
        message.forward.clone_from(&self.forward);
        message.post.clone_from(&self.post);
        message.shared_post.clone_from(&self.shared_post);
        message.callback_data.clone_from(&self.callback_data);
        message.to_json()?;
        Ok(message)
    }

    /// As a change of what was sent, checked.
    #[cfg(feature = "runtime")]
    pub(crate) fn edit(&self) -> Result<amochats_core::EditMessage> {
        let edit = amochats_core::EditMessage {
            edited_at_msec: self.time()?,
            message_id: Some(self.message_id.as_str()).filter(|id| !id.is_empty()).map(Into::into),
            message_ref_id: self.message_ref_id.clone().map(Into::into),
            conversation_id: self.conversation_id.as_str().into(),
            conversation_ref_id: self.conversation_ref_id.clone().map(Into::into),
            content: self.content()?,
            delivery_status: None,
        };
        edit.to_json()?;
        Ok(edit)
    }

    fn described(&self) -> Result<QuotedMessage> {
        let sender = self.sender.as_ref().ok_or_else(|| Error::invalid("quoted", "needs a sender"))?;
        let sender = match &sender.user_ref_id {
            Some(id) => QuotedSender::ByRefId(id.clone()),
            None if sender.user_id.as_str().is_empty() => QuotedSender::ByName(sender.name.clone()),
            None => QuotedSender::ById(sender.user_id.clone()),
        };
        let sent_at_msec = self.time()?;
        Ok(QuotedMessage::Described(Box::new(DescribedMessage {
            sent_at_msec,
            sender,
            content: self.content()?,
        })))
    }

    fn content(&self) -> Result<Content> {
        self.content.clone().ok_or_else(|| {
            Error::invalid("payload.message", "is required; call amochats_message_set_text() or another")
        })
    }

    /// When it was written; now, unless it was said.
    fn time(&self) -> Result<i64> {
        if let Some(time) = self.sent_at_msec {
            return Ok(time);
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let msec = since.ok().and_then(|since| i64::try_from(since.as_millis()).ok());
        msec.ok_or_else(|| Error::new(ErrorKind::InvalidArgument, "this machine's clock is before 1970"))
    }
}

fn text(
    message: Option<&mut amochats_message>,
    text: amochats_slice<'_>,
    name: &str,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
    set: impl FnOnce(&mut amochats_message, String),
) -> amochats_result {
    boundary(error, || {
        set(required(message, "message")?, text.text(name)?.to_owned());
        Ok(())
    })
}

/// An argument that may be left out: nothing, or empty.
pub(crate) fn given<'a>(slice: amochats_slice<'a>, name: &str) -> Result<Option<&'a str>> {
    Ok(Some(slice.text(name)?).filter(|text| !text.is_empty()))
}
