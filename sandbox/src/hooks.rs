//! Webhooks to the channel: made once, signed once, sent once.
//!
//! The field order and the empty values are those of captured webhooks. The signature covers the
//! body without the line feed that goes after it on the wire.

use crate::faults::{FaultName, Side, Struck, value_of};
use crate::journal::{Direction, JournalBody, JournalEntry, JournalSummary, RawHook, Verdict, shown_headers};
use crate::sandbox::Inner;
use crate::state::{Channel, Chat, Connection, Message, Party};
use crate::switches::HookEscaping;
use amochats::{
    CONTENT_TYPE, ChannelId, ChannelSecret, HookVersion, Markup, MessageRefId, SIGNATURE_HEADER, ScopeId,
    Template, UserRefId, diagnose_signature, sign_body,
};
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

/// How much of a refusal's body the journal shows, in bytes.
const REFUSAL_MAX: usize = 4096;
const USER_AGENT: &str = concat!("amochats-sandbox/", env!("CARGO_PKG_VERSION"));

/// What became of a webhook. Each is sent once; nothing but 200 in time counts.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookOutcome {
    /// The receiver answered 200.
    Accepted,
    /// The receiver answered this status.
    Refused(u16),
    /// No answer in time.
    TimedOut,
    /// No connection, or it broke; with the reason.
    Unreachable(String),
    /// Not sent: the channel has no webhook URL.
    NoWebhookUrl,
    /// Not sent: the channel is not connected to the account.
    NotConnected,
    /// Not sent: a fault struck it.
    Dropped,
}

impl HookOutcome {
    /// Whether the receiver has it.
    pub fn is_accepted(&self) -> bool {
        *self == Self::Accepted
    }

    /// The outcome as the journal tells it.
    pub fn verdict(&self) -> Verdict {
        let (name, sentence) = match self {
            Self::Accepted => ("accepted", "the receiver answered 200".to_owned()),
            Self::Refused(401 | 403) => (
                "refused",
                "the receiver refused the signature: it must be checked over the raw body, without its final line \
                 feed, with this channel's secret; the webhook is not sent again"
                    .to_owned(),
            ),
            Self::Refused(status) => (
                "refused",
                format!("the receiver answered {status}, only 200 counts; the webhook is not sent again"),
            ),
            Self::TimedOut => (
                "timed_out",
                "no answer in time: keep the webhook, answer 200, work afterwards; it is not sent again".to_owned(),
            ),
            Self::Unreachable(reason) => ("unreachable", format!("the receiver cannot be reached: {reason}")),
            Self::NoWebhookUrl => ("no_webhook_url", "not sent: the channel has no webhook URL".to_owned()),
            Self::Dropped => ("dropped", "not sent: a fault struck it".to_owned()),
            Self::NotConnected => {
                ("not_connected", "not sent: the channel is not connected to this account".to_owned())
            }
        };
        Verdict { ok: self.is_accepted(), name: name.into(), sentence }
    }
}

/// A webhook, ready to be signed.
pub(crate) struct Hook {
    kind: &'static str,
    version: HookVersion,
    channel_id: ChannelId,
    scope_id: ScopeId,
    body: Vec<u8>,
}

/// What every webhook is about.
pub(crate) struct About<'a> {
    pub(crate) chat: &'a Chat,
    pub(crate) connection: &'a Connection,
    pub(crate) source: Option<&'a str>,
    /// Whether an unknown phone or e-mail is written as empty.
    pub(crate) empty_contacts: bool,
    pub(crate) now_msec: i64,
}

/// How late each channel's receiver was, in a row.
#[derive(Default)]
pub(crate) struct Lanes(HashMap<ChannelId, u32>);

/// How long a webhook waits for the one that is to overtake it, where the fault does not say.
const REORDER_MS: u64 = 2000;
/// From here on a receiver is slow.
const LATE_MAX: u32 = 3;

impl Lanes {
    fn is_slow(&self, channel: &ChannelId) -> bool {
        self.0.get(channel).is_some_and(|late| *late >= LATE_MAX)
    }

    fn note(&mut self, channel: &ChannelId, outcome: &HookOutcome) {
        match outcome {
            HookOutcome::TimedOut => {
                let late = self.0.entry(channel.clone()).or_default();
                *late = late.saturating_add(1);
            }
            HookOutcome::Accepted | HookOutcome::Refused(_) => {
                self.0.remove(channel);
            }
            _ => {}
        }
    }
}

#[derive(Serialize)]
struct MessageHook<'a> {
    account_id: &'a str,
    time: i64,
    message: MessageAction<'a>,
}

#[derive(Serialize)]
struct MessageAction<'a> {
    receiver: Person<'a>,
    sender: Person<'a>,
    conversation: Conversation<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source<'a>>,
    timestamp: i64,
    msec_timestamp: i64,
    message: Body<'a>,
}

#[derive(Default, Serialize)]
struct Person<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Conversation<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Source<'a> {
    external_id: &'a str,
}

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    text: &'a str,
    markup: Option<&'a Markup>,
    tag: &'a str,
    media: &'a str,
    thumbnail: &'a str,
    file_name: &'a str,
    file_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    template: Option<&'a Template>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<ReplyTo<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    forwards: Option<Forwards<'a>>,
    /// Of an answer to a comment.
    #[serde(skip_serializing_if = "Option::is_none")]
    post: Option<Post<'a>>,
}

#[derive(Serialize)]
struct ReplyTo<'a> {
    message: Quoted<'a>,
}

#[derive(Serialize)]
struct Post<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct Quoted<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    msgid: Option<&'a str>,
    #[serde(rename = "type")]
    kind: &'a str,
    text: &'a str,
    media: &'a str,
    thumbnail: &'a str,
    file_name: &'a str,
    file_size: u64,
    timestamp: i64,
    msec_timestamp: i64,
    sender: Person<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiver: Option<Person<'a>>,
}

/// The flat form, in the order of a webhook captured in 2026; the first generation had eight keys.
#[derive(Serialize)]
struct FlatHook<'a> {
    receiver: &'a str,
    conversation_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    msec_timestamp: Option<i64>,
    #[serde(rename = "type")]
    kind: &'a str,
    text: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// Absent in the first generation, `null` without buttons.
    #[expect(clippy::option_option, reason = "absent is not null")]
    markup: Option<Option<&'a Markup>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<&'a str>,
    media: &'a str,
    thumbnail: &'a str,
    file_name: &'a str,
    file_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    media_group_id: Option<&'a str>,
}

#[derive(Serialize)]
struct TypingHook<'a> {
    account_id: &'a str,
    time: i64,
    action: TypingAction<'a>,
}

#[derive(Serialize)]
struct TypingAction<'a> {
    typing: Typing<'a>,
}

#[derive(Serialize)]
struct Typing<'a> {
    user: Person<'a>,
    conversation: Conversation<'a>,
    expired_at: i64,
    /// Of the post, while an answer to a comment is typed.
    #[serde(skip_serializing_if = "Option::is_none")]
    post_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ReactionHook<'a> {
    account_id: &'a str,
    time: i64,
    action: ReactionAction<'a>,
}

#[derive(Serialize)]
struct ReactionAction<'a> {
    reaction: Reaction<'a>,
}

#[derive(Serialize)]
struct Forwards<'a> {
    messages: [Quoted<'a>; 1],
    conversation_ref_id: &'a str,
}

/// As in the vendor's example; its table of fields has `message` in place of `msgid`.
#[derive(Serialize)]
struct Reaction<'a> {
    msgid: &'a str,
    user: Person<'a>,
    conversation: Conversation<'a>,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    emoji: Option<&'a str>,
}

impl<'a> Quoted<'a> {
    fn of(chat: &'a Chat, message: &'a Message) -> Self {
        let content = &message.content;
        let (media, file_name, file_size) = match &content.attachment {
            Some(attachment) => (&*attachment.url, &*attachment.file_name, attachment.file_size),
            None => ("", "", 0),
        };
        let client = || Person {
            id: chat.client.user_ref_id.as_str(),
            name: Some(&chat.client.name),
            client_id: chat.client.user_id.as_ref().map(AsRef::as_ref),
            ..Person::default()
        };
        let user = || Person {
            id: message.author.user_ref_id.as_str(),
            name: Some(&message.author.name),
            ..Person::default()
        };
        let incoming = message.author.party == Party::Client;
        Self {
            id: message.message_ref_id.as_str(),
            msgid: message.message_id.as_ref().map(AsRef::as_ref),
            kind: &content.kind,
            text: &content.text,
            media,
            thumbnail: if content.kind == "picture" { media } else { "" },
            file_name,
            file_size,
            timestamp: message.sent_at_msec.div_euclid(1000),
            msec_timestamp: message.sent_at_msec,
            sender: if incoming { client() } else { user() },
            receiver: (!incoming).then(client),
        }
    }
}

impl<'a> Conversation<'a> {
    fn of(chat: &'a Chat) -> Self {
        Self {
            id: chat.conversation_ref_id.as_str(),
            client_id: chat.conversation_id.as_ref().map(AsRef::as_ref),
        }
    }
}

impl Hook {
    fn new(about: &About<'_>, kind: &'static str, version: HookVersion, body: &impl Serialize) -> Self {
        Self {
            kind,
            version,
            channel_id: about.chat.channel_id.clone(),
            scope_id: about.connection.scope_id.clone(),
            body: to_json(body),
        }
    }

    /// The webhook of a manager's message. "Write first" is always v2: the flat form could not name
    /// the chat.
    pub(crate) fn message(
        about: &About<'_>,
        message: &Message,
        quoted: Option<&Message>,
        forwarded: Option<(&Chat, &Message)>,
        gen1: bool,
    ) -> Self {
        let About { chat, connection, .. } = *about;
        let content = &message.content;
        let attachment = content.attachment.clone().unwrap_or_default();
        let media = attachment.url.as_str();
        let thumbnail = if matches!(&*content.kind, "picture" | "video") { media } else { "" };
        if let (HookVersion::V1, Some(conversation_id), Some(user_id)) =
            (connection.hook_version, &chat.conversation_id, &chat.client.user_id)
        {
            let flat = FlatHook {
                receiver: user_id.as_str(),
                conversation_id: conversation_id.as_str(),
                msec_timestamp: (!gen1).then_some(message.sent_at_msec),
                kind: &content.kind,
                text: &content.text,
                markup: (!gen1).then_some(content.markup.as_ref()),
                tag: (!gen1).then_some(""),
                media,
                thumbnail,
                file_name: &attachment.file_name,
                file_size: attachment.file_size,
                media_group_id: (!gen1).then(|| content.media_group_id.as_deref().unwrap_or_default()),
            };
            return Self::new(about, "webhook v1", HookVersion::V1, &flat);
        }
        let known = |field: &'_ Option<String>| -> Option<String> {
            field.clone().or_else(|| about.empty_contacts.then(String::new))
        };
        let (phone, email) = (known(&chat.client.phone), known(&chat.client.email));
        let hook = MessageHook {
            account_id: chat.account_id.as_str(),
            time: about.now_msec.div_euclid(1000),
            message: MessageAction {
                receiver: Person {
                    id: chat.client.user_ref_id.as_str(),
                    name: Some(&chat.client.name),
                    phone: phone.as_deref(),
                    email: email.as_deref(),
                    client_id: chat.client.user_id.as_ref().map(AsRef::as_ref),
                },
                sender: Person {
                    id: message.author.user_ref_id.as_str(),
                    name: Some(&message.author.name),
                    ..Person::default()
                },
                conversation: Conversation::of(chat),
                source: about.source.map(|external_id| Source { external_id }),
                timestamp: message.sent_at_msec.div_euclid(1000),
                msec_timestamp: message.sent_at_msec,
                message: Body {
                    id: message.message_ref_id.as_str(),
                    kind: &content.kind,
                    text: &content.text,
                    markup: content.markup.as_ref(),
                    tag: "",
                    media,
                    thumbnail,
                    file_name: &attachment.file_name,
                    file_size: attachment.file_size,
                    media_group_id: content.media_group_id.as_deref(),
                    template: content.template.as_ref(),
                    reply_to: quoted.map(|quoted| ReplyTo { message: Quoted::of(chat, quoted) }),
                    forwards: forwarded.map(|(chat, message)| Forwards {
                        messages: [Quoted::of(chat, message)],
                        conversation_ref_id: chat.conversation_ref_id.as_str(),
                    }),
                    post: content.post_id().map(|id| Post { id }),
                },
            },
        };
        Self::new(about, "webhook v2", HookVersion::V2, &hook)
    }

    /// The webhook of a manager who reacts, or takes it back where there is no emoji; none where
    /// the account gets v1, which has no such form.
    pub(crate) fn reaction(
        about: &About<'_>,
        message: &MessageRefId,
        user: &UserRefId,
        emoji: Option<&str>,
    ) -> Option<Self> {
        let hook = ReactionHook {
            account_id: about.chat.account_id.as_str(),
            time: about.now_msec.div_euclid(1000),
            action: ReactionAction {
                reaction: Reaction {
                    msgid: message.as_str(),
                    user: Person { id: user.as_str(), ..Person::default() },
                    conversation: Conversation::of(about.chat),
                    kind: if emoji.is_some() { "react" } else { "unreact" },
                    emoji,
                },
            },
        };
        let v2 = about.connection.hook_version == HookVersion::V2;
        v2.then(|| Self::new(about, "reaction", HookVersion::V2, &hook))
    }

    /// The webhook of a manager who types; none where the account gets v1, which has no such form.
    pub(crate) fn typing(about: &About<'_>, user: &UserRefId, post_id: Option<&str>) -> Option<Self> {
        let time = about.now_msec.div_euclid(1000);
        let hook = TypingHook {
            account_id: about.chat.account_id.as_str(),
            time,
            action: TypingAction {
                typing: Typing {
                    user: Person { id: user.as_str(), ..Person::default() },
                    conversation: Conversation::of(about.chat),
                    expired_at: time + 5,
                    post_id,
                },
            },
        };
        let v2 = about.connection.hook_version == HookVersion::V2;
        v2.then(|| Self::new(about, "typing", HookVersion::V2, &hook))
    }
}

fn to_json(hook: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(hook).expect("text and numbers can be written")
}

/// All kinds of webhooks.
pub(crate) const KINDS: &[&str] = &["webhook v1", "webhook v2", "typing", "reaction"];

/// A client for webhooks: it follows no redirect, uses no proxy and keeps no connection, so that
/// one webhook is one request.
pub(crate) fn http_client() -> amochats::Result<reqwest::Client> {
    let failed = |said: String| amochats::Error::new(amochats::ErrorKind::ConfigInvalid, said);
    let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    // The provider is named, since a process-wide one may be missing or another's.
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .pool_max_idle_per_host(0)
        .user_agent(USER_AGENT)
        .build()
        .map_err(|error| failed(format!("the HTTP client cannot be set up: {error}")))
}

/// The same JSON, with what Go's encoder escapes. These characters occur inside strings alone.
fn as_go(json: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(json.len());
    for byte in json {
        match byte {
            b'<' => escaped.extend_from_slice(b"\\u003c"),
            b'>' => escaped.extend_from_slice(b"\\u003e"),
            b'&' => escaped.extend_from_slice(b"\\u0026"),
            other => escaped.push(*other),
        }
    }
    escaped
}

/// The same webhook, made so many seconds earlier.
fn made_earlier(body: Vec<u8>, seconds: u64) -> Vec<u8> {
    let Ok(mut hook) = serde_json::from_slice::<Value>(&body) else { return body };
    // The flat form says no time but the message's.
    if let Some(time) = hook["time"].as_i64() {
        hook["time"] = Value::from(time.saturating_sub_unsigned(seconds));
    }
    to_json(&hook)
}

/// The same JSON as another encoder writes it.
fn reserialised(body: &[u8]) -> Vec<u8> {
    match serde_json::from_slice::<Value>(body) {
        Ok(hook) => serde_json::to_vec_pretty(&hook).expect("it was JSON before"),
        Err(_) => body.to_vec(),
    }
}

/// Signs and sends a webhook and writes it in the journal.
pub(crate) async fn deliver(inner: &Inner, hook: Hook) -> HookOutcome {
    let switches = inner.switches();
    let Some((url, secret)) = inner.state().channel(&hook.channel_id).and_then(|channel| {
        let url = channel.webhook_url_for(hook.version)?;
        Some((url.replace(":scope_id", hook.scope_id.as_str()), channel.key()))
    }) else {
        return HookOutcome::NoWebhookUrl;
    };
    let struck = inner.draws().draw(Side::Hook, hook.kind);
    let body = match value_of(&struck, FaultName::StaleClock) {
        Some(seconds) => made_earlier(hook.body, seconds),
        None => hook.body,
    };
    let mut wire = match switches.hook_escaping {
        HookEscaping::Plain => body,
        HookEscaping::Go => as_go(&body),
    };
    let mut signature = sign_body(&secret, &wire);
    if switches.hook_newline {
        wire.push(b'\n');
    }
    if value_of(&struck, FaultName::BadSignature).is_some() {
        let other = if signature.starts_with('0') { "1" } else { "0" };
        signature.replace_range(..1, other);
    }
    if value_of(&struck, FaultName::Reserialised).is_some() {
        wire = reserialised(&wire);
    }
    if value_of(&struck, FaultName::Truncated).is_some() {
        wire.truncate(wire.len() / 2);
    }
    let slow = inner.lanes.lock().unwrap_or_else(PoisonError::into_inner).is_slow(&hook.channel_id);
    let lane = switches.slow_lane_ms.filter(|_| slow);
    if let Some(delay) = lane {
        tokio::time::sleep(Duration::from_millis(delay)).await;
    }
    let note = lane.map(|delay| {
        format!("it waited {delay} ms in the slow lane, since the receiver was late {LATE_MAX} times")
    });
    let sending = Sending {
        kind: hook.kind.to_owned(),
        channel_id: hook.channel_id.clone(),
        url,
        signature,
        wire: wire.into(),
        note,
        faults: struck.iter().map(Struck::label).collect(),
    };
    if value_of(&struck, FaultName::Drop).is_some() {
        record(
            inner,
            sending,
            inner.config.clock.now_msec(),
            0,
            &HookOutcome::Dropped,
            None,
            &[],
            Some(&secret),
        );
        return HookOutcome::Dropped;
    }
    if let Some(ms) = value_of(&struck, FaultName::Reorder) {
        let most = Duration::from_millis(if ms == 0 { REORDER_MS } else { ms });
        // Either way it goes now.
        let _ = tokio::time::timeout(most, inner.hook_sent.notified()).await;
    }
    if let Some(ms) = value_of(&struck, FaultName::Latency) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
    if value_of(&struck, FaultName::Duplicate).is_some() {
        send(inner, sending.clone(), Some(&secret), switches.hook_timeout()).await;
    }
    let outcome = send(inner, sending, Some(&secret), switches.hook_timeout()).await;
    inner.hook_sent.notify_waiters();
    inner.lanes.lock().unwrap_or_else(PoisonError::into_inner).note(&hook.channel_id, &outcome);
    outcome
}

/// Sends a webhook of the journal once more, as it was.
pub(crate) async fn send_again(inner: &Inner, entry: &JournalEntry) -> HookOutcome {
    let Some(raw) = &entry.raw else { return HookOutcome::NotConnected };
    let secret = inner.state().channel(&raw.channel_id).map(Channel::key);
    let sending = Sending {
        kind: entry.summary.kind.clone(),
        channel_id: raw.channel_id.clone(),
        url: entry.summary.target.clone(),
        signature: raw.signature.clone(),
        wire: raw.wire.clone(),
        note: Some(format!("number {} once more", entry.summary.seq)),
        faults: Vec::new(),
    };
    send(inner, sending, secret.as_ref(), inner.switches().hook_timeout()).await
}

/// What goes over the wire.
#[derive(Clone)]
struct Sending {
    kind: String,
    channel_id: ChannelId,
    url: String,
    signature: String,
    wire: Bytes,
    /// What the journal says besides.
    note: Option<String>,
    faults: Vec<String>,
}

/// Sends and writes it in the journal.
async fn send(
    inner: &Inner,
    sending: Sending,
    secret: Option<&ChannelSecret>,
    timeout: Duration,
) -> HookOutcome {
    let (at_msec, started) = (inner.config.clock.now_msec(), Instant::now());
    let (outcome, status, answer) =
        post(inner, &sending.url, sending.wire.clone(), &sending.signature, timeout).await;
    record(inner, sending, at_msec, millis(started.elapsed()), &outcome, status, &answer, secret);
    outcome
}

#[expect(clippy::too_many_arguments, reason = "the parts of one journal entry")]
fn record(
    inner: &Inner,
    sending: Sending,
    at_msec: i64,
    duration_ms: u64,
    outcome: &HookOutcome,
    status: Option<u16>,
    answer: &[u8],
    secret: Option<&ChannelSecret>,
) {
    let Sending { kind, channel_id, url, signature, wire, note, faults } = sending;
    let mut verdict = outcome.verdict();
    if let Some(secret) = secret {
        let signed = diagnose_signature(std::slice::from_ref(secret), &[], &wire, Some(&signature));
        verdict.sentence = format!("{}; signature {}: {signed}", verdict.sentence, signed.name());
    }
    if let Some(note) = note {
        verdict.sentence = format!("{}; {note}", verdict.sentence);
    }
    let headers = [("content-type", CONTENT_TYPE), ("user-agent", USER_AGENT), ("x-signature", &signature)];
    inner.record(JournalEntry {
        summary: JournalSummary {
            seq: 0,
            at_msec,
            direction: Direction::Webhook,
            kind,
            method: "POST".to_owned(),
            target: url,
            status,
            duration_ms,
            verdict,
            faults,
        },
        headers: shown_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes()))),
        body: JournalBody::of(&wire),
        answer: JournalBody::of(answer),
        raw: Some(RawHook { channel_id, signature: signature.clone(), wire }),
    });
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn post(
    inner: &Inner,
    url: &str,
    body: Bytes,
    signature: &str,
    timeout: Duration,
) -> (HookOutcome, Option<u16>, Vec<u8>) {
    let deadline = tokio::time::Instant::now() + timeout;
    let request = inner
        .http
        .post(url)
        .header("Content-Type", CONTENT_TYPE)
        .header(SIGNATURE_HEADER, signature)
        .body(body)
        .send();
    let mut response = match tokio::time::timeout_at(deadline, request).await {
        Err(_elapsed) => return (HookOutcome::TimedOut, None, Vec::new()),
        Ok(Err(error)) => return (HookOutcome::Unreachable(root_cause(&error)), None, Vec::new()),
        Ok(Ok(response)) => response,
    };
    let status = response.status().as_u16();
    if status == 200 {
        return (HookOutcome::Accepted, Some(status), Vec::new());
    }
    let mut answer = Vec::new();
    while let Ok(Ok(Some(chunk))) = tokio::time::timeout_at(deadline, response.chunk()).await {
        answer.extend_from_slice(&chunk);
        if answer.len() >= REFUSAL_MAX {
            answer.truncate(REFUSAL_MAX);
            break;
        }
    }
    (HookOutcome::Refused(status), Some(status), answer)
}

/// The innermost words: the outer ones repeat the address.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vector W1 of the reference: known bytes, known signature.
    #[test]
    fn the_nested_form_is_written_as_documented() {
        let hook = MessageHook {
            account_id: "13fa84f7-6b61-4086-98ed-0a9de19ee15c",
            time: 1_704_067_201,
            message: MessageAction {
                receiver: Person {
                    id: "2ed64e26-70a1-4857-8382-bb066a076219",
                    name: None,
                    phone: Some(""),
                    email: Some(""),
                    client_id: Some("sbx-u1"),
                },
                sender: Person { id: "76fc2bea-902f-425c-9a3d-dcdac4766090", ..Person::default() },
                conversation: Conversation {
                    id: "8e4d4baa-9e6c-4a88-838a-5f62be227bdc",
                    client_id: Some("sbx-c1"),
                },
                source: None,
                timestamp: 1_704_067_200,
                msec_timestamp: 1_704_067_200_980,
                message: Body {
                    id: "0371a0ff-b78a-4c7b-8538-a7d547e10692",
                    kind: "text",
                    text: "Ответ",
                    markup: None,
                    tag: "",
                    media: "",
                    thumbnail: "",
                    file_name: "",
                    file_size: 0,
                    media_group_id: None,
                    template: None,
                    reply_to: None,
                    forwards: None,
                    post: None,
                },
            },
        };
        let secret = ChannelSecret::new("da39a3ee5e6b4b0d3255bfef95601890afd80709").expect("clean");
        assert_eq!(sign_body(&secret, &to_json(&hook)), "ba52b4e954bd35b82c7f76c10f454fb839a4ddf8");
    }

    /// Vector B4: the eight keys of the first generation.
    #[test]
    fn the_flat_form_is_written_as_documented() {
        let hook = FlatHook {
            receiver: "U1",
            conversation_id: "c59678affa1db6",
            msec_timestamp: None,
            kind: "text",
            text: "Yes, of course. This is just what I was looking for",
            markup: None,
            tag: None,
            media: "",
            thumbnail: "",
            file_name: "",
            file_size: 0,
            media_group_id: None,
        };
        let secret = ChannelSecret::new("da39a3ee5e6b4b0d3255bfef95601890afd80709").expect("clean");
        assert_eq!(sign_body(&secret, &to_json(&hook)), "ef2d1762bee0caef369991e584279e37383cc29f");
    }
}
