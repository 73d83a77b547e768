//! A runtime in front of a service that the test plays, with a clock that the test turns.

use amochats::{Content, DeliveryStatus, NewMessage, ScopeId, Sender};
use amochats_runtime::clock::{Clock, Sleep};
use amochats_runtime::outbox::{Call, Item, ItemState, NewItem};
use amochats_runtime::store::{MemoryStore, Store};
use amochats_runtime::{Config, Runtime};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

pub(crate) const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";

pub(crate) const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
pub(crate) const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
pub(crate) const CHAT: &str = "8e4d4baa-9e6c-4a88-838a-5f62be227bdc";

pub(crate) fn scope() -> ScopeId {
    ScopeId::of(&CHANNEL.into(), &ACCOUNT.into())
}

/// A guard against hanging for ever; no test depends on its length.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .unwrap_or_else(|_| panic!("no {what} in half a minute"))
}

/// A clock that stands still, and knows who waits for it.
pub(crate) struct TestClock {
    start: SystemTime,
    state: Mutex<(Duration, Vec<Duration>)>,
    changes: watch::Sender<u64>,
    /// How long the process stood still, until somebody has taken note.
    still: watch::Sender<Option<Duration>>,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        // The machine's date, for the signatures.
        Self {
            start: SystemTime::now(),
            state: Mutex::default(),
            changes: watch::Sender::new(0),
            still: watch::Sender::new(None),
        }
    }

    pub(crate) fn state(&self) -> std::sync::MutexGuard<'_, (Duration, Vec<Duration>)> {
        self.state.lock().expect("no panic while held")
    }

    pub(crate) fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// How long it is since then.
    pub(crate) fn since(&self, began: Duration) -> Duration {
        self.monotonic().saturating_sub(began)
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.state().0 += by;
        self.changed();
    }

    /// Time goes by, and nothing can happen meanwhile.
    pub(crate) fn stand_still(&self, by: Duration) {
        self.advance(by);
        self.still.send_replace(Some(by));
    }

    /// Waits until somebody sleeps for at most so long, and turns the clock to their time; says how
    /// long that was.
    pub(crate) async fn next(&self, at_most: Duration) -> Duration {
        let mut changes = self.changes.subscribe();
        soon("sleeper", async {
            loop {
                changes.mark_unchanged();
                let found = {
                    let state = self.state();
                    let first = state.1.iter().filter(|at| **at > state.0).min().copied();
                    first.map(|at| at.saturating_sub(state.0)).filter(|wait| *wait <= at_most)
                };
                if let Some(wait) = found {
                    self.advance(wait);
                    return wait;
                }
                changes.changed().await.expect("the clock lives");
            }
        })
        .await
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        self.start + self.state().0
    }

    fn monotonic(&self) -> Duration {
        self.state().0
    }

    fn sleep_until(&self, at: Duration) -> Sleep<'_> {
        Box::pin(async move {
            let mut changes = self.changes.subscribe();
            self.state().1.push(at);
            self.changed();
            let asleep = Asleep(self, at);
            while self.monotonic() < at {
                changes.changed().await.expect("the clock lives");
            }
            drop(asleep);
        })
    }

    fn stood_still(&self) -> Pin<Box<dyn Future<Output = Duration> + Send + '_>> {
        Box::pin(async {
            let mut still = self.still.subscribe();
            still.wait_for(Option::is_some).await.expect("the clock lives");
            self.still.send_replace(None).expect("nobody else takes it")
        })
    }
}

struct Asleep<'a>(&'a TestClock, Duration);

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        let place = state.1.iter().position(|at| *at == self.1).expect("noted before");
        state.1.swap_remove(place);
    }
}

/// A request that waits for its answer.
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Value,
    stream: TcpStream,
}

impl Asked {
    pub(crate) async fn answer(mut self, status: &str, headers: &str, body: &str) {
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        self.stream.write_all(answer.as_bytes()).await.expect("sent");
        let _ = self.stream.shutdown().await;
    }

    /// The service took it.
    pub(crate) async fn take(self) {
        let body = if self.path.ends_with("/chats") {
            json!({ "id": CHAT, "user": { "id": "U" } })
        } else {
            json!({ "new_message": { "conversation_id": CHAT, "msgid": "M-ref", "ref_id": self.message() } })
        };
        self.answer("200 OK", "", &body.to_string()).await;
    }

    pub(crate) async fn refuse(self) {
        let said = json!({ "error_code": 7, "error_type": "x", "error_description": "hello +1555 is bad" });
        self.answer("400 Bad Request", "", &said.to_string()).await;
    }

    /// The connection breaks: nobody learns what became of it.
    pub(crate) fn vanish(self) {
        drop(self.stream);
    }

    /// The history, with these messages of ours.
    pub(crate) async fn history(self, ours: &[&str]) {
        assert!(self.path.contains("/history"), "{}", self.path);
        if ours.is_empty() {
            return self.answer("204 No Content", "", "").await;
        }
        let message = |id: &&str| json!({ "timestamp": 1, "message": { "id": format!("{id}-ref"), "client_id": id, "type": "text" } });
        let messages: Vec<Value> = ours.iter().map(message).collect();
        self.answer("200 OK", "", &json!({ "messages": messages }).to_string()).await;
    }

    pub(crate) fn message(&self) -> &str {
        self.body["payload"]["msgid"].as_str().unwrap_or_default()
    }

    /// What it is, in a word.
    pub(crate) fn what(&self) -> &str {
        let last = self.path.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        if last.contains('_') && last != "delivery_status" { "message" } else { last }
    }
}

/// The service, played by the test.
pub(crate) struct Service {
    requests: mpsc::UnboundedReceiver<Asked>,
    pub(crate) kept: VecDeque<Asked>,
    address: std::net::SocketAddr,
}

impl Service {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("known");
        let (asked, requests) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let asked = asked.clone();
                tokio::spawn(async move {
                    if let Some(request) = read(stream).await {
                        let _ = asked.send(request);
                    }
                });
            }
        });
        Self { requests, kept: VecDeque::new(), address }
    }

    /// The next request.
    pub(crate) async fn next(&mut self) -> Asked {
        match self.kept.pop_front() {
            Some(asked) => asked,
            None => soon("request", self.requests.recv()).await.expect("the service lives"),
        }
    }

    /// The next request, which is this.
    pub(crate) async fn expect(&mut self, what: &str) -> Asked {
        let asked = self.next().await;
        assert_eq!(asked.what(), what, "{} {}", asked.method, asked.path);
        asked
    }

    pub(crate) fn nothing_came(&mut self) -> bool {
        self.kept.is_empty() && self.requests.try_recv().is_err()
    }
}

pub(crate) async fn read(stream: TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).await.ok()?;
    let mut words = first.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).await.ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await.ok()?;
    let body = serde_json::from_slice(&body).unwrap_or_default();
    Some(Asked { method, path, body, stream: reader.into_inner() })
}

/// A runtime in front of the service.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) service: Service,
    pub(crate) clock: Arc<TestClock>,
}

pub(crate) fn config(service: &Service, more: &str) -> Config {
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n[backfill]\non_start = false\nrate = 100.0\n[outbox]\nrate = 1000.0\nburst = 1000\n\
         {more}\n[[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"http://{}\"\n",
        service.address
    );
    Config::load(&toml, []).expect("a valid configuration")
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    pub(crate) async fn with(more: &str) -> Self {
        Self::over(Arc::new(MemoryStore::default()), Service::start().await, more).await
    }

    pub(crate) async fn over(store: Arc<dyn Store>, service: Service, more: &str) -> Self {
        let clock = Arc::new(TestClock::new());
        let runtime =
            Runtime::start_with(&config(&service, more), store, clock.clone()).await.expect("started");
        Self { runtime, service, clock }
    }

    pub(crate) async fn enqueue(&self, call: Call) -> Item {
        self.runtime.outbox().enqueue(NewItem::new(scope(), call)).await.expect("kept")
    }

    pub(crate) async fn send(&self, conversation: &str, message: &str) -> Item {
        self.enqueue(message_to(conversation, message)).await
    }

    /// Waits until an item has come to its end.
    pub(crate) async fn end(&self, item: &Item) -> Item {
        soon("end of the item", async {
            loop {
                let now = self.runtime.outbox().get(&item.item_id).await.expect("kept");
                if now.state.is_final() {
                    return now;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    pub(crate) async fn state(&self, item: &Item) -> ItemState {
        self.runtime.outbox().get(&item.item_id).await.expect("kept").state
    }

    /// Waits until an item is in a state.
    pub(crate) async fn until(&self, item: &Item, state: ItemState) {
        soon(state.name(), async {
            while self.state(item).await != state {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The metrics, as Prometheus reads them.
    pub(crate) async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.runtime.admin_address()).await.expect("connected");
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            .await
            .expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("answered");
        text
    }
}

pub(crate) fn message_to(conversation: &str, message: &str) -> Call {
    let sender = Sender::new("u-1", "Anna");
    Call::SendMessage(Box::new(NewMessage::incoming(
        conversation,
        message,
        1_700_000_000_000,
        sender,
        Content::text("hello"),
    )))
}

pub(crate) fn status(message: &str) -> Call {
    Call::SetDeliveryStatus {
        message_ref_id: message.into(),
        status: DeliveryStatus::Read,
        conversation_ref_id: None,
    }
}

pub(crate) const MINUTE: Duration = Duration::from_secs(60);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
