//! The audit log: one line for each administrative call, with who called what about which ids, and
//! how it ended. Never what a request holds beside ids. Calls that are refused have lines, too, so many
//! in a minute that nobody fills the log with them.

use super::connections::household;
use bytes::Bytes;
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage, Value,
};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tonic::Code;

/// The fields that are ids of ours, amoCRM's or the store's. What may name a person, such as `user_id`,
/// which is a phone with some messengers, is not among them.
const IDS: [&str; 14] = [
    "account_id",
    "channel_id",
    "conversation_ref_id",
    "event_id",
    "event_ids",
    "item_id",
    "item_ids",
    "media_id",
    "message_ref_id",
    "method",
    "name",
    "path",
    "scope_id",
    "subscription",
];
/// So much of an id is shown; a caller may put anything there.
const SHOWN: usize = 128;
/// So many of the ids of one call.
const MOST: usize = 16;

/// Finds the ids in requests.
#[derive(Debug)]
pub(super) struct Reader(DescriptorPool);

impl Reader {
    pub(super) fn new() -> Self {
        let pool = DescriptorPool::decode(amochats_proto::FILE_DESCRIPTOR_SET);
        Self(pool.expect("the descriptors that the build made are sound"))
    }

    /// The ids of a request that was framed for the wire, as `scope.account_id="…"`.
    pub(super) fn ids(&self, path: &str, framed: &Bytes) -> String {
        let mut found = Vec::new();
        let message = framed.get(5..).and_then(|bytes| DynamicMessage::decode(self.input(path)?, bytes).ok());
        if let Some(message) = message {
            collect(&message, "", &mut found);
        }
        found.truncate(MOST);
        found.join(" ")
    }

    /// Whether a call of this method may be of several requests.
    pub(super) fn is_stream(&self, path: &str) -> bool {
        self.method(path).is_some_and(|method| method.is_client_streaming())
    }

    fn input(&self, path: &str) -> Option<MessageDescriptor> {
        self.method(path).map(|method| method.input())
    }

    fn method(&self, path: &str) -> Option<MethodDescriptor> {
        let (service, method) = path.strip_prefix('/')?.split_once('/')?;
        let service = self.0.get_service_by_name(service)?;
        service.methods().find(|one| one.name() == method)
    }
}

fn collect(message: &DynamicMessage, prefix: &str, found: &mut Vec<String>) {
    for (field, value) in message.fields() {
        let name = format!("{prefix}{}", field.name());
        let mut id = |text: &str| {
            let shown: String = text.chars().take(SHOWN).collect();
            let mut said = String::new();
            // Quoted, so that no id can break the line or look like another field.
            write!(said, "{name}={shown:?}").expect("a string takes everything");
            found.push(said);
        };
        match value {
            Value::String(text) if IDS.contains(&field.name()) && !text.is_empty() => id(text),
            Value::List(values) if IDS.contains(&field.name()) => {
                values.iter().filter_map(Value::as_str).for_each(id);
            }
            Value::Message(inner) if inner.descriptor().package_name() == "amochats.v1" => {
                collect(inner, &format!("{name}."), found);
            }
            _ => {}
        }
    }
}

/// A call that is under way. The line is written when it ends, also where nobody waits for that.
pub(super) struct Entry {
    pub(super) who: String,
    pub(super) peer: IpAddr,
    pub(super) method: String,
    pub(super) ids: String,
    pub(super) outcome: Option<Code>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let outcome = self.outcome.map_or_else(|| "given up".to_owned(), |code| format!("{code:?}"));
        let Self { who, peer, method, ids, .. } = self;
        tracing::info!(target: "audit", who, %peer, method, ids, outcome, "an administrative call");
    }
}

/// How long a count of refused calls lasts.
const WINDOW: Duration = Duration::from_mins(1);
/// So many lines has one address in a window, and so many all of them.
const LINES_OF_PEER: u32 = 10;
const LINES: u32 = 100;

/// Writes down the calls that are refused for what the caller is.
#[derive(Debug, Default)]
pub(super) struct Refused(Mutex<Window>);

#[derive(Debug, Default)]
struct Window {
    began: Option<Instant>,
    /// No more addresses than there are lines.
    of_peer: HashMap<IpAddr, u32>,
    written: u32,
    unwritten: u64,
}

impl Refused {
    /// `who` is the name of a token that does not permit the call, or `-`. The request is not read.
    pub(super) fn write(&self, who: &str, peer: IpAddr, path: &str, outcome: Code) {
        let window = self.0.lock().unwrap_or_else(PoisonError::into_inner).take(peer, Instant::now());
        let Some(unwritten) = window else { return };
        let method: String = path.chars().take(SHOWN).collect();
        tracing::info!(target: "audit", who, %peer, method, outcome = ?outcome, unwritten, "a call was refused");
    }
}

impl Window {
    /// Takes a line, with the number of calls that got none since the last one; or counts another.
    fn take(&mut self, peer: IpAddr, now: Instant) -> Option<u64> {
        if self.began.is_none_or(|began| now.duration_since(began) >= WINDOW) {
            *self = Self { began: Some(now), unwritten: self.unwritten, ..Self::default() };
        }
        let peer = household(peer);
        if self.written >= LINES || self.of_peer.get(&peer).is_some_and(|count| *count >= LINES_OF_PEER) {
            self.unwritten += 1;
            return None;
        }
        self.written += 1;
        *self.of_peer.entry(peer).or_default() += 1;
        Some(std::mem::take(&mut self.unwritten))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use amochats_proto::v1;

    fn framed(message: &impl prost::Message) -> Bytes {
        let mut bytes = vec![0; 5];
        message.encode(&mut bytes).expect("a vector takes everything");
        bytes.into()
    }

    #[test]
    fn ids_are_found_and_nothing_else() {
        let reader = Reader::new();
        let connect = v1::ConnectRequest {
            scope: Some(v1::Scope { account_id: "a\n1".into(), ..Default::default() }),
            title: Some("a title".into()),
            ..Default::default()
        };
        assert_eq!(
            reader.ids("/amochats.v1.ChannelService/Connect", &framed(&connect)),
            r#"scope.account_id="a\n1""#
        );
        let sign = v1::SignRequest {
            method: "POST".into(),
            path: "/v2/origin/custom/x".into(),
            body: "a text".into(),
            ..Default::default()
        };
        let ids = reader.ids("/amochats.v1.WebhookService/Sign", &framed(&sign));
        assert_eq!(ids, r#"method="POST" path="/v2/origin/custom/x""#);
        for (path, bytes) in [("/none/None", &b"\0\0\0\0\0"[..]), ("/amochats.v1.WebhookService/Sign", b"\0")]
        {
            assert_eq!(reader.ids(path, &Bytes::from_static(bytes)), "");
        }
        let long = v1::DeleteSubscriptionRequest { name: "x".repeat(5000) };
        let ids = reader.ids("/amochats.v1.InboxService/DeleteSubscription", &framed(&long));
        assert_eq!(ids.len(), "name=\"\"".len() + SHOWN);
    }

    #[test]
    fn refused_calls_cannot_fill_the_log() {
        let (mut window, start) = (Window::default(), Instant::now());
        let mut written = |peer: [u8; 4], count: u32, at: Duration| -> Vec<u64> {
            (0..count).filter_map(|_| window.take(peer.into(), start + at)).collect()
        };
        assert_eq!(written([192, 0, 2, 1], 1000, Duration::ZERO).len(), 10);
        assert_eq!(written([192, 0, 2, 2], 1, Duration::ZERO), [990], "another one is still written down");
        for last in 3..250 {
            written([192, 0, 2, last], 10, WINDOW / 2);
        }
        let stranger = written([198, 51, 100, 1], 1, WINDOW / 2);
        assert!(stranger.is_empty(), "all of them together have a limit, too");
        let missed = 11 + 2470 - 100 + 1;
        assert_eq!(
            written([192, 0, 2, 1], 2, WINDOW),
            [missed, 0],
            "in the next window, with what was left out"
        );
    }
}
