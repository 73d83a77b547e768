//! Events: webhooks with what the inbox knows of them.

use crate::boundary::value;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use crate::webhook::amochats_webhook;
use amochats_runtime::{Event, Origin};
use std::sync::OnceLock;

/// An event that is kept: a webhook, a message that was fetched from the history, or the end of a call
/// of the outbox. Never changes: any thread may read it. What its functions return ends with it.
pub struct amochats_event {
    event: Event,
    webhook: OnceLock<amochats_webhook>,
    item: OnceLock<amochats_value>,
    json: OnceLock<String>,
}

impl From<Event> for amochats_event {
    fn from(event: Event) -> Self {
        Self { event, webhook: OnceLock::new(), item: OnceLock::new(), json: OnceLock::new() }
    }
}

impl amochats_event {
    fn webhook(&self) -> &amochats_webhook {
        self.webhook.get_or_init(|| self.event.parse().into())
    }

    fn is_outbox(&self) -> bool {
        self.event.origin == Origin::Outbox
    }
}

fn text<'a>(event: Option<&'a amochats_event>, get: impl FnOnce(&'a Event) -> &'a str) -> amochats_slice<'a> {
    value(amochats_slice::ABSENT, || event.map(|event| get(&event.event)).into())
}

/// Returns the event's id, unique among stores.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_id(event: Option<&amochats_event>) -> amochats_slice<'_> {
    text(event, |event| &event.event_id)
}

/// Returns the kind as a word: "message", "typing", "reaction", "unknown", or "outbox" for the end of
/// a call.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_kind_name(event: Option<&amochats_event>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || match event {
        Some(event) if event.is_outbox() => "outbox".into(),
        Some(event) => event.webhook().kind_name().into(),
        None => amochats_slice::ABSENT,
    })
}

/// Returns the channel it came for.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_channel_id(event: Option<&amochats_event>) -> amochats_slice<'_> {
    text(event, |event| event.channel_id.as_str())
}

/// Returns the account inside the chat service.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_account_id(event: Option<&amochats_event>) -> amochats_slice<'_> {
    text(event, |event| event.account_id.as_str())
}

/// Returns the connection of channel and account, which calls name.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_scope_id(event: Option<&amochats_event>) -> amochats_slice<'_> {
    text(event, |event| event.scope_id.as_str())
}

/// Returns how it came: "webhook", "backfill" or "outbox".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_origin(event: Option<&amochats_event>) -> amochats_slice<'_> {
    text(event, |event| event.origin.name())
}

/// Returns when it was received, in Unix milliseconds; 0 for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_received_at_msec(event: Option<&amochats_event>) -> i64 {
    value(0, || event.map_or(0, |event| event.event.received_at))
}

/// Returns whether the account's message id was seen before, with other content.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_is_conflicting_duplicate(event: Option<&amochats_event>) -> bool {
    value(false, || event.is_some_and(|event| event.event.conflicting_duplicate))
}

/// Returns the body exactly as it was received, which need not be JSON.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_raw(event: Option<&amochats_event>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || {
        event.map_or(amochats_slice::ABSENT, |event| event.event.raw.as_ref().into())
    })
}

/// Returns the webhook, taken apart: ids of both sides, texts, attachments, people. Of the end of a
/// call, NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_webhook(event: Option<&amochats_event>) -> Option<&amochats_webhook> {
    value(None, || event.filter(|event| !event.is_outbox()).map(amochats_event::webhook))
}

/// Returns the item of the outbox whose end it tells, see amochats_outbox_get(); else NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_item(event: Option<&amochats_event>) -> Option<&amochats_value> {
    value(None, || {
        let event = event.filter(|event| event.is_outbox())?;
        Some(event.item.get_or_init(|| {
            serde_json::from_slice::<serde_json::Value>(&event.event.raw).unwrap_or_default().into()
        }))
    })
}

/// Returns all of it as one JSON object, with the stable names that the command line and Python show.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_json(event: Option<&amochats_event>) -> amochats_slice<'_> {
    value(amochats_slice::ABSENT, || {
        event.map(|event| event.json.get_or_init(|| event.event.to_json().to_string())).into()
    })
}

/// Frees an event that belongs to the caller, see amochats_inbox_get_event(); never one that belongs to
/// a delivery. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_event_free(event: Option<Box<amochats_event>>) {
    value((), || drop(event));
}
