//! Signed webhooks into a server, events out of it, and a record that holds both against the
//! promises: what was answered 200 is handed out, in order within its conversation, and what was
//! confirmed as settled never comes back.

use crate::secrecy::{EMAIL, PHONE, TEXT};
use crate::server::{ACCOUNT, CHANNEL, SECRET};
use crate::soon;
use amochats::{ChannelSecret, SIGNATURE_HEADER, sign_body};
use amochats_proto::v1::event::Kind;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::stream_events_request::Request;
use amochats_proto::v1::{
    Ack, CreateOptions, Delivery, ListSubscriptionsRequest, StreamEventsRequest, StreamEventsResponse,
    Subscribe, Subscription,
};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::{Mutex, MutexGuard};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

/// The subscription of the tests.
pub const SUBSCRIPTION: &str = "crm";

/// A message: its conversation, and its place in it.
pub type Message = (String, u64);

/// A keep-alive connection to the listener or to health and metrics.
pub struct Connection(BufReader<TcpStream>);

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// Where nobody listens.
    pub async fn open(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends a message's webhook, with so many bytes of text, and gives the status of the answer.
    ///
    /// # Errors
    /// Where the connection breaks: then it may have been kept or not.
    ///
    /// # Panics
    /// Where what comes back is not HTTP.
    pub async fn hook(&mut self, (conversation, place): &Message, text: usize) -> io::Result<u16> {
        let body = format!(
            "{{\"account_id\":\"{ACCOUNT}\",\"time\":1,\"message\":{{\"conversation\":{{\"id\":\"{conversation}\"}},\
             \"receiver\":{{\"id\":\"r\",\"phone\":\"{PHONE}\",\"email\":\"{EMAIL}\"}},\
             \"message\":{{\"id\":\"{conversation}/{place}\",\"type\":\"text\",\"text\":\"{TEXT}{}\"}}}}}}\n",
            "x".repeat(text)
        );
        self.post(&body).await
    }

    /// Sends a body as a webhook, signed, and gives the status of the answer.
    ///
    /// # Errors
    /// Where the connection breaks: then it may have been kept or not.
    ///
    /// # Panics
    /// Where what comes back is not HTTP.
    pub async fn post(&mut self, body: &str) -> io::Result<u16> {
        let secret = ChannelSecret::new(SECRET).expect("clean");
        self.post_signed(body, &sign_body(&secret, body.trim_end().as_bytes())).await
    }

    /// As [`Connection::post`], with this signature.
    ///
    /// # Errors
    /// Where the connection breaks.
    ///
    /// # Panics
    /// Where what comes back is not HTTP.
    pub async fn post_signed(&mut self, body: &str, signature: &str) -> io::Result<u16> {
        let head = format!(
            "POST /webhook/{CHANNEL}_{ACCOUNT} HTTP/1.1\r\nHost: amochats\r\n{SIGNATURE_HEADER}: {signature}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.0.get_mut().write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
        self.status().await
    }

    /// The status of a GET.
    ///
    /// # Errors
    /// Where the connection breaks.
    ///
    /// # Panics
    /// Where what comes back is not HTTP.
    pub async fn get(&mut self, path: &str) -> io::Result<u16> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: amochats\r\n\r\n");
        self.0.get_mut().write_all(request.as_bytes()).await?;
        self.status().await
    }

    async fn status(&mut self) -> io::Result<u16> {
        let (mut status, mut length) = (None, 0);
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(rest) = line.strip_prefix("http/1.1 ") {
                status = rest.get(..3).and_then(|code| code.parse().ok());
            } else if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().expect("a length");
            } else if line.is_empty() {
                break;
            }
        }
        self.0.read_exact(&mut vec![0; length]).await?;
        Ok(status.expect("a status line"))
    }
}

/// What was promised and what happened, over all lives of a server.
#[derive(Default)]
pub struct Record {
    seen: Mutex<Seen>,
    changes: watch::Sender<()>,
}

/// What a record holds.
#[derive(Default)]
pub struct Seen {
    /// Answered 200.
    pub promised: BTreeSet<Message>,
    /// Handed out.
    pub received: BTreeSet<Message>,
    /// Acknowledged, and confirmed.
    pub confirmed: BTreeSet<Message>,
    newest: HashMap<String, u64>,
    /// Promises that were broken.
    broken: Vec<String>,
}

impl Seen {
    /// What was answered 200 and did not come yet.
    pub fn missing(&self) -> Vec<&Message> {
        self.promised.difference(&self.received).collect()
    }
}

impl Record {
    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.seen());
        self.changes.send_replace(());
    }

    /// What is known by now.
    ///
    /// # Panics
    /// Where another user panicked.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic elsewhere")
    }

    /// Notes a webhook that was answered 200.
    pub fn promised(&self, message: Message) {
        self.change(|seen| {
            seen.promised.insert(message);
        });
    }

    fn received(&self, message: &Message) {
        self.change(|seen| {
            let (conversation, place) = message;
            let newest = seen.newest.entry(conversation.clone()).or_default();
            if *place < *newest {
                seen.broken.push(format!("{message:?} came after {newest}"));
            }
            *newest = (*newest).max(*place);
            if seen.confirmed.contains(message) {
                seen.broken.push(format!("{message:?} came back after its settlement was confirmed"));
            }
            seen.received.insert(message.clone());
        });
    }

    /// Waits until this holds.
    pub async fn until(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let mut changes = self.changes.subscribe();
        soon(what, changes.wait_for(|()| holds(&self.seen()))).await.expect("the record lives");
    }

    /// Waits until all that was answered 200 was handed out, and nothing of it is unsettled. A
    /// settlement may be committed although the server died before it could be confirmed.
    pub async fn settled(&self, grpc: &str) {
        self.until("delivery of everything", |seen| seen.missing().is_empty()).await;
        soon("settlement of everything", async { while subscription(grpc).await.unsettled > 0 {} }).await;
    }

    /// Checks that no promise was broken.
    ///
    /// # Panics
    /// Where one was.
    pub fn check(&self) {
        let seen = self.seen();
        assert!(seen.broken.is_empty(), "{:#?}", seen.broken);
        assert_eq!(seen.missing(), Vec::<&Message>::new(), "answered 200 and lost");
    }
}

/// A client of the inbox.
async fn inbox(address: &str) -> InboxServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    InboxServiceClient::new(endpoint.connect().await.expect("connected"))
}

/// The state of the subscription.
pub async fn subscription(address: &str) -> Subscription {
    let list = inbox(address).await.list_subscriptions(ListSubscriptionsRequest {}).await.expect("listed");
    list.into_inner().subscriptions.into_iter().find(|known| known.name == SUBSCRIPTION).expect("it exists")
}

/// A stream of the subscription.
pub struct Consumer {
    requests: mpsc::Sender<StreamEventsRequest>,
    responses: Streaming<StreamEventsResponse>,
    /// What is handed out and not settled, by its `ack_id`.
    held: HashMap<String, Message>,
}

impl Consumer {
    /// Opens a stream, and makes the subscription if it is not there.
    ///
    /// # Errors
    /// What the server says.
    pub async fn open(address: &str, max_outstanding: u32) -> Result<Self, Status> {
        let (requests, stream) = mpsc::channel(100);
        let subscribe = Subscribe {
            subscription: SUBSCRIPTION.into(),
            max_outstanding,
            create: Some(CreateOptions::default()),
            ..Subscribe::default()
        };
        let this = StreamEventsRequest { request: Some(Request::Subscribe(subscribe)) };
        requests.send(this).await.expect("the stream is open");
        let responses = inbox(address).await.stream_events(ReceiverStream::new(stream)).await?.into_inner();
        let mut consumer = Self { requests, responses, held: HashMap::new() };
        let first = consumer.responses.message().await?.expect("a first response");
        assert!(first.subscribed.is_some(), "the first response says that the stream is set up");
        Ok(consumer)
    }

    /// The next response, noted. Returns the deliveries.
    ///
    /// # Errors
    /// Where the stream ends.
    ///
    /// # Panics
    /// Where an event is none of the test's.
    pub async fn next(&mut self, record: &Record) -> Result<Vec<Delivery>, Status> {
        let response = self.responses.message().await?;
        let response = response.ok_or_else(|| Status::aborted("the stream ended"))?;
        for delivery in &response.deliveries {
            let message = message(delivery);
            record.received(&message);
            self.held.insert(delivery.ack_id.clone(), message);
        }
        for settled in response.settled.iter().filter(|settled| settled.ok) {
            let message = self.held.remove(&settled.ack_id).expect("a settlement that was asked for");
            record.change(|seen| {
                seen.confirmed.insert(message);
            });
        }
        Ok(response.deliveries)
    }

    /// Acknowledges a delivery; the confirmation comes with a later response.
    pub async fn ack(&self, delivery: &Delivery) {
        let ack = Request::Ack(Ack { ack_id: delivery.ack_id.clone(), ..Ack::default() });
        // A stream that has ended is noticed by the next response.
        let _ = self.requests.send(StreamEventsRequest { request: Some(ack) }).await;
    }

    /// Receives and acknowledges until the stream ends.
    pub async fn run(mut self, record: &Record) {
        while let Ok(deliveries) = self.next(record).await {
            for delivery in &deliveries {
                self.ack(delivery).await;
            }
        }
    }
}

/// Which message a delivery is.
fn message(delivery: &Delivery) -> Message {
    let Some(Kind::Message(message)) = delivery.event.as_ref().and_then(|event| event.kind.as_ref()) else {
        panic!("not a message: {delivery:?}");
    };
    let id = message.message_ref_id.as_deref().expect("an id");
    let (conversation, place) = id.split_once('/').expect("an id of the test's");
    (conversation.to_owned(), place.parse().expect("a place"))
}
