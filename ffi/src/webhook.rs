//! Webhooks, taken apart.

use crate::boundary::{boundary, required, value};
use crate::error::amochats_error;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::{
    HookVersion, MessageEvent, Participant, ReactionEvent, TypingEvent, VerifiedBody, WebhookEvent,
    WebhookKind, parse_webhook,
};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// What a webhook is about. Later versions may add some.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum amochats_kind {
    /// A shape that this version does not know; all of it is in amochats_webhook_json().
    Unknown = 0,
    /// A CRM user, a bot or a template answered.
    Message = 1,
    /// A CRM user is typing.
    Typing = 2,
    /// A CRM user reacted to a message, or took the reaction back.
    Reaction = 3,
}

/// A parsed webhook. Made by amochats_webhook_parse(), freed by the caller with
/// amochats_webhook_free(). Never changes: any thread may read it.
///
/// The vendor writes "" where it has nothing to say: such a field is not there. A name with _id is
/// an id of the integration, one with _ref_id the id that amoCRM gave to the same thing.
pub struct amochats_webhook {
    event: WebhookEvent,
    sender: Option<amochats_participant>,
    receiver: Option<amochats_participant>,
    fields: OnceLock<amochats_value>,
}

/// Somebody in a chat. Belongs to the webhook it was asked of and ends with it.
pub struct amochats_participant(Participant);

/// Parses a webhook, v1 or v2. First verify it, see amochats_verifier_verify().
///
/// JSON of an unknown shape is no error but AMOCHATS_KIND_UNKNOWN.
/// AMOCHATS_RESULT_MALFORMED_WEBHOOK, with line and column in the message, where the body is not
/// JSON in UTF-8.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_parse(
    body: amochats_slice<'_>,
    webhook: Option<&mut MaybeUninit<*mut amochats_webhook>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let webhook = required(webhook, "webhook")?;
        let event = parse_webhook(VerifiedBody::trust(body.bytes("body")?))?;
        webhook.write(Box::into_raw(Box::new(event.into())));
        Ok(())
    })
}

impl amochats_webhook {
    fn fields(&self) -> &amochats_value {
        self.fields.get_or_init(|| self.event.to_json().into())
    }

    #[cfg(feature = "runtime")]
    pub(crate) fn kind_name(&self) -> &'static str {
        self.event.kind.name()
    }
}

impl From<WebhookEvent> for amochats_webhook {
    fn from(event: WebhookEvent) -> Self {
        let (sender, receiver) = match &event.kind {
            WebhookKind::Message(message) => (message.sender.clone(), message.receiver.clone()),
            _ => (None, None),
        };
        Self {
            event,
            sender: sender.map(amochats_participant),
            receiver: receiver.map(amochats_participant),
            fields: OnceLock::new(),
        }
    }
}

/// Frees a webhook with all that was asked of it; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_free(webhook: Option<Box<amochats_webhook>>) {
    value((), || drop(webhook));
}

/// Returns all that is in the webhook as one JSON object, with the stable field names that the
/// command line and Python show. What was not understood is under "extra".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_json(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| Some(webhook.fields().json()))
}

/// Returns the same as values, for what has no function of its own: "tag", "markup" with its buttons,
/// "template", "reply_to", "forwards", "post" and "extra", which holds what was not understood. It
/// ends with the webhook.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_value(webhook: Option<&amochats_webhook>) -> Option<&amochats_value> {
    value(None, || webhook.map(amochats_webhook::fields))
}

/// Returns what the webhook is about; AMOCHATS_KIND_UNKNOWN for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_kind(webhook: Option<&amochats_webhook>) -> amochats_kind {
    value(amochats_kind::Unknown, || match webhook.map(|webhook| &webhook.event.kind) {
        Some(WebhookKind::Message(_)) => amochats_kind::Message,
        Some(WebhookKind::Typing(_)) => amochats_kind::Typing,
        Some(WebhookKind::Reaction(_)) => amochats_kind::Reaction,
        _ => amochats_kind::Unknown,
    })
}

/// Returns the kind as a word: "message", "typing", "reaction" or "unknown".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_kind_name(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| Some(webhook.event.kind.name()))
}

/// Returns the form it came in, "v1" or "v2"; nothing where that is unknown.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_api_version(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| webhook.event.api_version.map(HookVersion::as_str))
}

/// Returns the account; v1 does not name it.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_account_id(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| webhook.event.account_id.as_ref())
}

/// Writes when the webhook was made, in Unix seconds. Returns whether that is there.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_time(
    webhook: Option<&amochats_webhook>,
    seconds: Option<&mut MaybeUninit<i64>>,
) -> bool {
    integer(webhook, seconds, |webhook| webhook.event.time)
}

/// Returns the integration's id of the conversation; nothing when a CRM user writes first.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_conversation_id(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| webhook.event.conversation_id())
}

/// Returns amoCRM's id of the conversation; v1 does not name it.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_conversation_ref_id(
    webhook: Option<&amochats_webhook>,
) -> amochats_slice<'_> {
    text(webhook, |webhook| webhook.event.conversation_ref_id())
}

/// Returns the integration's id of the message that was written or reacted to; seldom there.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_message_id(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| match &webhook.event.kind {
        WebhookKind::Message(event) => event.message_id.as_ref(),
        WebhookKind::Reaction(event) => event.message_id.as_ref(),
        _ => None,
    })
}

/// Returns amoCRM's id of the message that was written or reacted to: what the delivery status is
/// reported for. v1 does not name it.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_message_ref_id(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| webhook.event.message_ref_id())
}

/// Returns the type of a message ("text", "file", "video", "picture", "voice", "audio", "sticker")
/// or of a reaction ("react", "unreact"), or a word of the future. Empty where the vendor left it
/// out, nothing for other kinds.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_type(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| match &webhook.event.kind {
        WebhookKind::Message(event) => Some(&event.message_type),
        WebhookKind::Reaction(event) => Some(&event.reaction_type),
        _ => None,
    })
}

/// Returns the text of a message, which is the caption where there is media. Empty where the
/// vendor left it out, nothing for other kinds.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_text(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| Some(&message(webhook)?.text))
}

/// Returns where the attachment can be fetched; the link may expire.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_media(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| message(webhook)?.media.as_ref())
}

/// Returns where a small form of a picture or video can be fetched.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_thumbnail(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| message(webhook)?.thumbnail.as_ref())
}

/// Returns the attachment's file name.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_file_name(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| message(webhook)?.file_name.as_ref())
}

/// Writes the attachment's size in bytes. Returns whether it is there.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_file_size(
    webhook: Option<&amochats_webhook>,
    bytes: Option<&mut MaybeUninit<i64>>,
) -> bool {
    integer(webhook, bytes, |webhook| message(webhook)?.file_size)
}

/// Returns what the webhooks share that were made from one message with several attachments.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_media_group_id(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| message(webhook)?.media_group_id.as_ref())
}

/// Writes when the message was written, in Unix seconds. Returns whether that is there.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_timestamp(
    webhook: Option<&amochats_webhook>,
    seconds: Option<&mut MaybeUninit<i64>>,
) -> bool {
    integer(webhook, seconds, |webhook| message(webhook)?.timestamp)
}

/// Writes when the message was written, in Unix milliseconds. Returns whether that is there.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_msec_timestamp(
    webhook: Option<&amochats_webhook>,
    milliseconds: Option<&mut MaybeUninit<i64>>,
) -> bool {
    integer(webhook, milliseconds, |webhook| message(webhook)?.msec_timestamp)
}

/// Returns the integration's source that the chat belongs to (source.external_id).
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_source_external_id(
    webhook: Option<&amochats_webhook>,
) -> amochats_slice<'_> {
    text(webhook, |webhook| message(webhook)?.source_external_id.as_ref())
}

/// Returns the CRM user or bot who wrote a message, or NULL; v1 does not say.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_sender(webhook: Option<&amochats_webhook>) -> *const amochats_participant {
    participant(webhook, |webhook| webhook.sender.as_ref())
}

/// Returns the client to whom a message was written, or NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_receiver(
    webhook: Option<&amochats_webhook>,
) -> *const amochats_participant {
    participant(webhook, |webhook| webhook.receiver.as_ref())
}

/// Returns amoCRM's id of the CRM user who types or reacts.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_user_ref_id(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| match &webhook.event.kind {
        WebhookKind::Typing(event) => event.user_ref_id.as_ref(),
        WebhookKind::Reaction(event) => event.user_ref_id.as_ref(),
        _ => None,
    })
}

/// Writes when to stop showing that somebody types, in Unix seconds. Returns whether that is there.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_expired_at(
    webhook: Option<&amochats_webhook>,
    seconds: Option<&mut MaybeUninit<i64>>,
) -> bool {
    integer(webhook, seconds, |webhook| typing(webhook)?.expired_at)
}

/// Returns the integration's id of the post under which somebody types or a message is a comment.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_post_id(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| match &webhook.event.kind {
        WebhookKind::Typing(typing) => typing.post_id.as_ref(),
        WebhookKind::Message(message) => message.post.as_ref()?.id.as_ref(),
        _ => None,
    })
}

/// Returns the emoji of a reaction; nothing when it was taken back.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_webhook_emoji(webhook: Option<&amochats_webhook>) -> amochats_slice<'_> {
    text(webhook, |webhook| reaction(webhook)?.emoji.as_ref())
}

/// Returns the integration's id of a participant; nothing for NULL, here and below.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_participant_user_id(person: Option<&amochats_participant>) -> amochats_slice<'_> {
    text(person, |person| person.0.user_id.as_ref())
}

/// Returns amoCRM's id of a participant.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_participant_user_ref_id(
    person: Option<&amochats_participant>,
) -> amochats_slice<'_> {
    text(person, |person| person.0.user_ref_id.as_ref())
}

/// Returns the name shown.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_participant_name(person: Option<&amochats_participant>) -> amochats_slice<'_> {
    text(person, |person| person.0.name.as_ref())
}

/// Returns the phone; when a CRM user writes first, the number to write to.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_participant_phone(person: Option<&amochats_participant>) -> amochats_slice<'_> {
    text(person, |person| person.0.phone.as_ref())
}

/// Returns the e-mail address.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_participant_email(person: Option<&amochats_participant>) -> amochats_slice<'_> {
    text(person, |person| person.0.email.as_ref())
}

fn message(webhook: &amochats_webhook) -> Option<&MessageEvent> {
    match &webhook.event.kind {
        WebhookKind::Message(event) => Some(event),
        _ => None,
    }
}

fn typing(webhook: &amochats_webhook) -> Option<&TypingEvent> {
    match &webhook.event.kind {
        WebhookKind::Typing(event) => Some(event),
        _ => None,
    }
}

fn reaction(webhook: &amochats_webhook) -> Option<&ReactionEvent> {
    match &webhook.event.kind {
        WebhookKind::Reaction(event) => Some(event),
        _ => None,
    }
}

fn text<'a, T, S: AsRef<str> + ?Sized + 'a>(
    object: Option<&'a T>,
    get: impl FnOnce(&'a T) -> Option<&'a S>,
) -> amochats_slice<'a> {
    value(amochats_slice::ABSENT, || object.and_then(get).into())
}

fn integer(
    webhook: Option<&amochats_webhook>,
    out: Option<&mut MaybeUninit<i64>>,
    get: impl FnOnce(&amochats_webhook) -> Option<i64>,
) -> bool {
    value(false, || match (webhook.and_then(get), out) {
        (Some(number), Some(out)) => {
            out.write(number);
            true
        }
        (found, _) => found.is_some(),
    })
}

fn participant(
    webhook: Option<&amochats_webhook>,
    get: impl FnOnce(&amochats_webhook) -> Option<&amochats_participant>,
) -> *const amochats_participant {
    value(std::ptr::null(), || webhook.and_then(get).map_or(std::ptr::null(), std::ptr::from_ref))
}
