//! An event as it is kept and handed out.

use amochats::{
    AccountId, ChannelId, ConversationId, ConversationRefId, HookVersion, MessageRefId, ScopeId,
    VerifiedBody, WebhookEvent, WebhookKind, parse_webhook,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use sha1::{Digest, Sha1};
use std::borrow::Cow;

/// How an event came here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// By a webhook.
    Webhook,
    /// Fetched from the history, because no webhook had brought it.
    Backfill,
    /// From the outbox: a call of ours came to its end.
    Outbox,
}

impl Origin {
    /// The name on all surfaces.
    pub fn name(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Backfill => "backfill",
            Self::Outbox => "outbox",
        }
    }

    pub(crate) fn from_name(name: &str) -> Self {
        match name {
            "backfill" => Self::Backfill,
            "outbox" => Self::Outbox,
            _ => Self::Webhook,
        }
    }
}

/// Where the body of an event that backfill made says so. It stands in the body, since that is made here.
pub(crate) const POSSIBLE_DUPLICATE: &str = "possible_duplicate";

/// What is said of a body that is not JSON.
const NOT_JSON: WebhookEvent = WebhookEvent {
    kind: WebhookKind::Unknown,
    api_version: None,
    account_id: None,
    time: None,
    extra: Value::Null,
};

/// An event that is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// Unique in this store and among stores.
    pub event_id: String,
    /// The channel it came for.
    pub channel_id: ChannelId,
    /// The account inside the chat service.
    pub account_id: AccountId,
    /// The connection of both.
    pub scope_id: ScopeId,
    /// When it was received, in Unix milliseconds.
    pub received_at: i64,
    /// How it came here.
    pub origin: Origin,
    /// The account's message id was seen before, with other content.
    pub conflicting_duplicate: bool,
    /// The webhook's body exactly as it was received.
    pub raw: Bytes,
}

impl Event {
    /// What the webhook says. A body that is not JSON is [`WebhookKind::Unknown`].
    pub fn parse(&self) -> WebhookEvent {
        self.parsed().unwrap_or(NOT_JSON)
    }

    /// Whether backfill made it for an account whose webhooks name no message (v1), so that one of them
    /// may have told of the same message.
    pub fn is_possible_duplicate(&self) -> bool {
        #[derive(Deserialize)]
        struct Hook {
            #[serde(default)]
            possible_duplicate: bool,
        }
        self.origin == Origin::Backfill
            && serde_json::from_slice::<Hook>(&self.raw).is_ok_and(|hook| hook.possible_duplicate)
    }

    fn parsed(&self) -> amochats::Result<WebhookEvent> {
        parse_webhook(VerifiedBody::trust(&self.raw))
    }

    /// The event in one JSON object: the parsed webhook with the fields of this type. A body that is
    /// not JSON is there as text, in `raw`, with U+FFFD for what is not UTF-8.
    pub fn to_json(&self) -> Value {
        if self.origin == Origin::Outbox {
            return self.result_json();
        }
        let parsed = self.parsed();
        let is_json = parsed.is_ok();
        let mut value = serde_json::to_value(parsed.unwrap_or(NOT_JSON)).unwrap_or_default();
        if let Some(map) = value.as_object_mut() {
            if !is_json {
                map.insert("raw".into(), String::from_utf8_lossy(&self.raw).into());
            }
            self.put_fields(map);
            if self.conflicting_duplicate {
                map.insert("conflicting_duplicate".into(), true.into());
            }
            if self.is_possible_duplicate() {
                map.insert(POSSIBLE_DUPLICATE.into(), true.into());
            }
        }
        value
    }
}

impl Event {
    /// What the outbox tells: its item under `item`.
    fn result_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("kind".into(), "outbox".into());
        map.insert("item".into(), serde_json::from_slice(&self.raw).unwrap_or_default());
        self.put_fields(&mut map);
        Value::Object(map)
    }

    fn put_fields(&self, map: &mut Map<String, Value>) {
        map.insert("event_id".into(), self.event_id.clone().into());
        map.insert("channel_id".into(), self.channel_id.as_str().into());
        map.insert("account_id".into(), self.account_id.as_str().into());
        map.insert("scope_id".into(), self.scope_id.as_str().into());
        map.insert("received_at_msec".into(), self.received_at.into());
        map.insert("origin".into(), self.origin.name().into());
    }
}

/// Ids only: what is kept is private.
impl std::fmt::Debug for Event {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Event")
            .field("event_id", &self.event_id)
            .field("scope_id", &self.scope_id)
            .field("raw_len", &self.raw.len())
            .finish_non_exhaustive()
    }
}

/// An event on its way into a store.
#[derive(Clone)]
pub struct NewEvent {
    /// The channel it came for.
    pub channel_id: ChannelId,
    /// The account inside the chat service.
    pub account_id: AccountId,
    /// `message`, `typing`, `reaction`, `unknown` or `outbox`.
    pub kind: &'static str,
    /// The conversation by amoCRM's id: with the scope the key of the order.
    pub conversation_ref_id: Option<ConversationRefId>,
    /// The conversation by the integration's id: the key of the order until the other is known.
    pub conversation_id: Option<ConversationId>,
    /// The message by amoCRM's id: with the account the key of deduplication.
    pub message_ref_id: Option<MessageRefId>,
    /// A digest of the content, for messages that can be duplicates.
    pub digest: Option<[u8; 20]>,
    /// When it was received, in Unix milliseconds.
    pub received_at: i64,
    /// How it came here.
    pub origin: Origin,
    /// The signature it came with, so that it can be checked again.
    pub signature: Option<String>,
    /// The body exactly as it was received. It may take room in a limit for as long as it lives, so a
    /// store drops it once it is kept.
    pub raw: Bytes,
}

impl NewEvent {
    /// The connection it came over.
    pub fn scope_id(&self) -> ScopeId {
        ScopeId::of(&self.channel_id, &self.account_id)
    }

    /// What a duplicate shares with its first copy.
    pub(crate) fn dedup_key(&self) -> Option<(String, [u8; 20])> {
        let message = self.message_ref_id.as_ref()?;
        Some((format!("{}/{message}", self.account_id), self.digest?))
    }
}

/// What keeping a webhook needs to know of it.
pub(crate) struct Outline {
    pub(crate) kind: &'static str,
    pub(crate) account_id: Option<AccountId>,
    pub(crate) conversation_ref_id: Option<ConversationRefId>,
    pub(crate) conversation_id: Option<ConversationId>,
    pub(crate) message_ref_id: Option<MessageRefId>,
    /// Of what a duplicate must share. Only messages of v2 have an id to be duplicates by.
    pub(crate) digest: Option<[u8; 20]>,
}

impl Outline {
    /// Not JSON, or not of a known shape: it has an outline all the same.
    pub(crate) fn of(body: VerifiedBody<'_>) -> Self {
        Self::of_plain_message(body.as_bytes()).unwrap_or_else(|| Self::of_any(body))
    }

    fn of_any(body: VerifiedBody<'_>) -> Self {
        let webhook = parse_webhook(body).unwrap_or(NOT_JSON);
        let message =
            matches!(webhook.kind, WebhookKind::Message(_)) && webhook.api_version == Some(HookVersion::V2);
        Self {
            kind: webhook.kind.name(),
            conversation_ref_id: webhook.conversation_ref_id().cloned(),
            conversation_id: webhook.conversation_id().cloned(),
            message_ref_id: webhook.message_ref_id().cloned(),
            digest: message.then(|| digest(body.as_bytes())),
            account_id: webhook.account_id,
        }
    }

    /// The shape that nearly all webhooks have, in a fraction of the time that it takes to read all
    /// of a message. `None` is no verdict: whoever gets it must look closer.
    fn of_plain_message(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Hook<'a> {
            #[serde(borrow)]
            account_id: Cow<'a, str>,
            #[serde(borrow, default)]
            time: Option<&'a RawValue>,
            #[serde(borrow)]
            message: Message<'a>,
        }
        #[derive(Deserialize)]
        struct Message<'a> {
            #[serde(borrow)]
            conversation: Ids<'a>,
            #[serde(borrow)]
            message: Ids<'a>,
        }
        #[derive(Deserialize)]
        struct Ids<'a> {
            #[serde(borrow)]
            id: Cow<'a, str>,
            #[serde(borrow, default)]
            client_id: Option<Cow<'a, str>>,
        }

        let text = std::str::from_utf8(body).ok()?;
        let hook: Hook<'_> = serde_json::from_str(text).ok()?;
        let Message { conversation, message } = hook.message;
        if hook.account_id.is_empty() || conversation.id.is_empty() || message.id.is_empty() {
            return None;
        }
        let client_id = conversation.client_id.filter(|id| !id.is_empty());
        Some(Self {
            kind: "message",
            account_id: Some(hook.account_id.into_owned().into()),
            conversation_ref_id: Some(conversation.id.into_owned().into()),
            conversation_id: client_id.map(|id| id.into_owned().into()),
            message_ref_id: Some(message.id.into_owned().into()),
            digest: Some(digest_without(body, hook.time)),
        })
    }
}

/// A digest of what a duplicate must share: all but the time at which the webhook was made.
pub(crate) fn digest(body: &[u8]) -> [u8; 20] {
    #[derive(Deserialize)]
    struct Hook<'a> {
        #[serde(borrow, default)]
        time: Option<&'a RawValue>,
    }
    let hook = serde_json::from_slice::<Hook<'_>>(body).ok();
    digest_without(body, hook.and_then(|hook| hook.time))
}

/// `part` is a part of `body`.
fn digest_without(body: &[u8], part: Option<&RawValue>) -> [u8; 20] {
    let range = part.and_then(|part| {
        let start = part.get().as_ptr().addr().checked_sub(body.as_ptr().addr())?;
        Some((body.get(..start)?, body.get(start + part.get().len()..)?))
    });
    let (before, after) = range.unwrap_or((body, b""));
    // The last line end is not signed, and may come or not.
    let (before, after) =
        if after.is_empty() { (before.trim_ascii_end(), after) } else { (before, after.trim_ascii_end()) };
    Sha1::new().chain_update(before).chain_update(after).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_not_json_is_shown_all_the_same() {
        let event = |raw: &'static [u8]| Event {
            event_id: "e".into(),
            channel_id: "c".into(),
            account_id: "a".into(),
            scope_id: "c_a".into(),
            received_at: 1,
            origin: Origin::Webhook,
            conflicting_duplicate: false,
            raw: Bytes::from_static(raw),
        };
        let json = event(b"{bad \xff").to_json();
        assert_eq!((json["kind"].as_str(), json["raw"].as_str()), (Some("unknown"), Some("{bad \u{fffd}")));
        let json = event(b"{\"new\":1}").to_json();
        assert_eq!((json["extra"]["new"].as_i64(), json.get("raw")), (Some(1), None));
    }

    #[test]
    fn the_short_way_to_an_outline_says_what_the_long_one_says() {
        let message = |inner: &str| format!(r#"{{"account_id":"a","time":1,"message":{inner}}}"#);
        let plain =
            message(r#"{"conversation":{"id":"C","client_id":"c"},"message":{"id":"M","text":"\u0442"}}"#);
        let bodies = [
            plain.clone(),
            format!(" {plain}\r\n"),
            plain.replace("\"c\"", "\"\""),
            plain.replace("\"c\"", "null"),
            plain.replace("\"C\"", "\"\\u0043\""),
            plain.replace("\"C\"", "7"),
            plain.replace("\"M\"", "\"\""),
            plain.replace("\"a\"", "null"),
            plain.replace(r#""time":1,"#, ""),
            plain.replace(r#""time":1"#, r#""time":1,"time":2"#),
            plain.replace(r#""time":1"#, r#""time":1,"action":{"typing":{}}"#),
            message(r#"{"message":{"id":"M"}}"#),
            message("[]"),
            plain[..plain.len() - 1].to_owned(),
            r#"{"receiver":"u","conversation_id":"c","type":"text"}"#.to_owned(),
            r#"{"account_id":"a","action":{"reaction":{"conversation":{"id":"C"},"msgid":"M"}}}"#.to_owned(),
        ];
        let mut short_ways = 0;
        for body in &bodies {
            let long = Outline::of_any(VerifiedBody::trust(body.as_bytes()));
            let Some(short) = Outline::of_plain_message(body.as_bytes()) else { continue };
            short_ways += 1;
            let said = |o: Outline| {
                (o.kind, o.account_id, o.conversation_ref_id, o.conversation_id, o.message_ref_id, o.digest)
            };
            assert_eq!(said(short), said(long), "{body}");
        }
        assert_eq!(short_ways, 7, "and it is taken where it can be");
    }

    #[test]
    fn a_digest_covers_all_but_the_time_and_the_last_line_end() {
        let digest = |body: &str| digest(body.as_bytes());
        let body = r#"{"time":1,"message":{"text":"hi"}}"#;
        let same = [body.replace(":1", ":22"), format!("{body}\n"), format!("{body}\r\n")];
        assert!(same.iter().all(|same| digest(same) == digest(body)));
        let others = [
            body.replace("hi", "ho"),
            body.replace("}}", r#","new":1}}"#),
            body.replace(r#"{"time":1,"#, "{"),
        ];
        assert!(others.iter().all(|other| digest(other) != digest(body)));
    }
}
