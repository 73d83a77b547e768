//! The audit log: one line for each administrative call, with who called what about which ids, and
//! how it ended. Never what a request holds beside ids. Calls that are refused have lines, too, so many
//! in a minute that nobody fills the log with them.

use super::connections::household;
use bytes::{Bytes, BytesMut};
use http_body::{Body as HttpBody, Frame};
use prost_reflect::{
    DescriptorPool, DynamicMessage, MessageDescriptor, MethodDescriptor, ReflectMessage, Value,
};
use std::collections::HashMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tonic::body::Body;
use tonic::{Code, Status};

/// The fields that are ids of ours, amoCRM's or the store's. What may name a person, such as `user_id`,
/// which is a phone with some messengers, is not among them.
const IDS: [&str; 16] = [
    "account_id",
    "after_event_id",
    "attempt_id",
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
        let more = found.len().saturating_sub(MOST);
        found.truncate(MOST);
        if more > 0 {
            found.push(format!("and {more} more"));
        }
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
            // Of dead letters: all there are.
            Value::Bool(true) if field.name() == "all" => found.push(format!("{name}=true")),
            // A decision.
            Value::Bool(allow) if field.name() == "allow" => found.push(format!("{name}={allow}")),
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

/// A request of an administrative stream.
pub(super) struct RequestLine {
    pub(super) who: String,
    pub(super) peer: IpAddr,
    pub(super) method: String,
}

impl RequestLine {
    pub(super) fn write(&self, ids: &str) {
        let Self { who, peer, method } = self;
        tracing::info!(target: "audit", who, %peer, method, ids, "a request of an administrative stream");
    }
}

/// The requests of a stream, each shown to somebody before the service has it.
pub(super) struct Overheard<W> {
    inner: Body,
    /// What came of the next one. None: it is larger than the service takes.
    part: Option<BytesMut>,
    max: usize,
    write: W,
}

impl<W: Fn(&Bytes)> Overheard<W> {
    pub(super) fn new(inner: Body, max: usize, write: W) -> Self {
        Self { inner, part: Some(BytesMut::new()), max, write }
    }

    fn hear(&mut self, data: &[u8]) {
        let Some(part) = &mut self.part else { return };
        part.extend_from_slice(data);
        // Before a message stand five bytes: whether it is compressed, and its length.
        while let Some(&[_, a, b, c, d]) = part.first_chunk() {
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            if length > self.max {
                self.part = None;
                return;
            }
            if part.len() < 5 + length {
                return;
            }
            (self.write)(&part.split_to(5 + length).freeze());
        }
    }
}

impl<W: Fn(&Bytes) + Unpin> HttpBody for Overheard<W> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.hear(data);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
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
    fn targets_of_many_are_named_and_counted() {
        let reader = Reader::new();
        let path = "/amochats.v1.InboxService/RequeueDeadLetters";
        let all =
            v1::RequeueDeadLettersRequest { subscription: "crm".into(), all: true, ..Default::default() };
        assert_eq!(reader.ids(path, &framed(&all)), r#"subscription="crm" all=true"#);
        let event_ids = (0..20).map(|number| format!("e-{number}")).collect();
        let many = v1::RequeueDeadLettersRequest { subscription: "crm".into(), event_ids, all: false };
        let ids = reader.ids(path, &framed(&many));
        assert!(ids.contains(r#"event_ids="e-14""#) && ids.ends_with(" and 5 more"), "{ids}");
    }

    #[test]
    fn the_requests_of_a_stream_are_heard_however_they_are_cut() {
        let request = |number: u32| v1::StreamDecisionsRequest {
            attempt_id: format!("a-{number}"),
            allow: number == 2,
        };
        let framed = |number| {
            let bytes = prost::Message::encode_to_vec(&request(number));
            let length = u32::try_from(bytes.len()).expect("short");
            [&[0][..], &length.to_be_bytes(), &bytes].concat()
        };
        let sent = [framed(1), framed(2), framed(3)].concat();
        let reader = Reader::new();
        for size in 1..=sent.len() {
            let heard = std::cell::RefCell::new(Vec::new());
            let ids = |framed: &Bytes| {
                let path = "/amochats.v1.WidgetService/StreamDecisions";
                heard.borrow_mut().push(reader.ids(path, framed));
            };
            let mut stream = Overheard::new(Body::empty(), 1024, ids);
            sent.chunks(size).for_each(|part| stream.hear(part));
            let expected = [r#"attempt_id="a-1""#, r#"attempt_id="a-2" allow=true"#, r#"attempt_id="a-3""#];
            assert_eq!(*heard.borrow(), expected);
        }
        let mut large = Overheard::new(Body::empty(), 8, |_: &Bytes| panic!("it is refused"));
        large.hear(&[&[0, 0, 0, 0, 9][..], &[0; 9], &framed(1)].concat());
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
