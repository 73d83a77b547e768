//! Webhooks to the channel: made once, signed once, sent once.
//!
//! The field order and the empty values are those of captured webhooks. The signature covers the
//! body without the line feed that goes after it on the wire.

use crate::journal::{Direction, JournalBody, JournalEntry, JournalSummary, Verdict, shown_headers};
use crate::sandbox::Inner;
use crate::state::{Account, Chat, Manager, Message, Party};
use amochats::{
    CONTENT_TYPE, HookVersion, MessageRefId, SIGNATURE_HEADER, ScopeId, diagnose_signature, sign_body,
};
use serde::Serialize;
use std::sync::Arc;
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
            Self::NotConnected => {
                ("not_connected", "not sent: the channel is not connected to this account".to_owned())
            }
        };
        Verdict { ok: self.is_accepted(), name, sentence }
    }
}

/// A webhook, ready to be signed.
pub(crate) struct Hook {
    kind: &'static str,
    scope_id: ScopeId,
    body: Vec<u8>,
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
    markup: (),
    tag: &'a str,
    media: &'a str,
    thumbnail: &'a str,
    file_name: &'a str,
    file_size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<ReplyTo<'a>>,
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
    markup: Option<()>,
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
    /// The webhook of a manager's message; none where the channel is not connected. "Write first"
    /// is always v2: the flat form could not name the chat.
    pub(crate) fn message(
        account: &Account,
        chat: &Chat,
        message: &Message,
        quoted: Option<&Message>,
        gen1: bool,
        now_msec: i64,
    ) -> Option<Self> {
        let version = account.connection.as_ref()?.hook_version;
        let scope_id = account.scope_id.clone();
        let content = &message.content;
        let attachment = content.attachment.clone().unwrap_or_default();
        let media = attachment.url.as_str();
        let thumbnail = if content.kind == "picture" { media } else { "" };
        if let (HookVersion::V1, Some(conversation_id), Some(user_id)) =
            (version, &chat.conversation_id, &chat.client.user_id)
        {
            let flat = FlatHook {
                receiver: user_id.as_str(),
                conversation_id: conversation_id.as_str(),
                msec_timestamp: (!gen1).then_some(message.sent_at_msec),
                kind: &content.kind,
                text: &content.text,
                markup: (!gen1).then_some(()),
                tag: (!gen1).then_some(""),
                media,
                thumbnail,
                file_name: &attachment.file_name,
                file_size: attachment.file_size,
                media_group_id: (!gen1).then_some(""),
            };
            return Some(Self { kind: "webhook v1", scope_id, body: to_json(&flat) });
        }
        let hook = MessageHook {
            account_id: account.account_id.as_str(),
            time: now_msec.div_euclid(1000),
            message: MessageAction {
                receiver: Person {
                    id: chat.client.user_ref_id.as_str(),
                    name: Some(&chat.client.name),
                    phone: chat.client.phone.as_deref(),
                    email: chat.client.email.as_deref(),
                    client_id: chat.client.user_id.as_ref().map(AsRef::as_ref),
                },
                sender: Person {
                    id: message.author.user_ref_id.as_str(),
                    name: Some(&message.author.name),
                    ..Person::default()
                },
                conversation: Conversation::of(chat),
                source: chat.source_external_id.as_deref().map(|external_id| Source { external_id }),
                timestamp: message.sent_at_msec.div_euclid(1000),
                msec_timestamp: message.sent_at_msec,
                message: Body {
                    id: message.message_ref_id.as_str(),
                    kind: &content.kind,
                    text: &content.text,
                    markup: (),
                    tag: "",
                    media,
                    thumbnail,
                    file_name: &attachment.file_name,
                    file_size: attachment.file_size,
                    reply_to: quoted.map(|quoted| ReplyTo { message: Quoted::of(chat, quoted) }),
                    post: content.post_id().map(|id| Post { id }),
                },
            },
        };
        Some(Self { kind: "webhook v2", scope_id, body: to_json(&hook) })
    }

    /// The webhook of a manager who reacts, or takes it back where there is no emoji; none where
    /// the account gets v1, which has no such form.
    pub(crate) fn reaction(
        account: &Account,
        chat: &Chat,
        message: &MessageRefId,
        manager: &Manager,
        emoji: Option<&str>,
        now_msec: i64,
    ) -> Option<Self> {
        if account.connection.as_ref()?.hook_version == HookVersion::V1 {
            return None;
        }
        let hook = ReactionHook {
            account_id: account.account_id.as_str(),
            time: now_msec.div_euclid(1000),
            action: ReactionAction {
                reaction: Reaction {
                    msgid: message.as_str(),
                    user: Person { id: manager.user_ref_id.as_str(), ..Person::default() },
                    conversation: Conversation::of(chat),
                    kind: if emoji.is_some() { "react" } else { "unreact" },
                    emoji,
                },
            },
        };
        Some(Self { kind: "reaction", scope_id: account.scope_id.clone(), body: to_json(&hook) })
    }

    /// The webhook of a manager who types; none where the account gets v1, which has no such form.
    pub(crate) fn typing(account: &Account, chat: &Chat, manager: &Manager, now_msec: i64) -> Option<Self> {
        if account.connection.as_ref()?.hook_version == HookVersion::V1 {
            return None;
        }
        let time = now_msec.div_euclid(1000);
        let hook = TypingHook {
            account_id: account.account_id.as_str(),
            time,
            action: TypingAction {
                typing: Typing {
                    user: Person { id: manager.user_ref_id.as_str(), ..Person::default() },
                    conversation: Conversation::of(chat),
                    expired_at: time + 5,
                },
            },
        };
        Some(Self { kind: "typing", scope_id: account.scope_id.clone(), body: to_json(&hook) })
    }
}

fn to_json(hook: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(hook).expect("text and numbers can be written")
}

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

/// Signs and sends a webhook and writes it in the journal.
pub(crate) async fn deliver(inner: &Inner, hook: Hook) -> HookOutcome {
    let Some(url) = inner.state().webhook_url.clone() else { return HookOutcome::NoWebhookUrl };
    let url = url.replace(":scope_id", hook.scope_id.as_str());
    let signature = sign_body(&inner.secret, &hook.body);
    let mut wire = hook.body;
    if inner.config.hook_newline {
        wire.push(b'\n');
    }
    let (at_msec, started) = (inner.config.clock.now_msec(), Instant::now());
    let (outcome, status, answer) = post(inner, &url, wire.clone(), &signature).await;
    let mut verdict = outcome.verdict();
    let signed = diagnose_signature(std::slice::from_ref(&inner.secret), &[], &wire, Some(&signature));
    verdict.sentence = format!("{}; signature {}: {signed}", verdict.sentence, signed.name());
    let headers = [("content-type", CONTENT_TYPE), ("user-agent", USER_AGENT), ("x-signature", &signature)];
    inner.record(JournalEntry {
        summary: JournalSummary {
            seq: 0,
            at_msec,
            direction: Direction::Webhook,
            kind: hook.kind.to_owned(),
            method: "POST".to_owned(),
            target: url,
            status,
            duration_ms: millis(started.elapsed()),
            verdict,
        },
        headers: shown_headers(headers.iter().map(|(name, value)| (*name, value.as_bytes()))),
        body: JournalBody::of(&wire),
        answer: JournalBody::of(&answer),
    });
    outcome
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

async fn post(
    inner: &Inner,
    url: &str,
    body: Vec<u8>,
    signature: &str,
) -> (HookOutcome, Option<u16>, Vec<u8>) {
    let deadline = tokio::time::Instant::now() + inner.config.hook_timeout;
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
    use amochats::ChannelSecret;

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
                    markup: (),
                    tag: "",
                    media: "",
                    thumbnail: "",
                    file_name: "",
                    file_size: 0,
                    reply_to: None,
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
