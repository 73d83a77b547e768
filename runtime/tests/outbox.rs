//! The outbox against a service that lies, drops and refuses. The test answers each request itself
//! and turns the clock, so nothing here depends on how long anything takes.

use amochats::{
    ChannelSecret, Content, DeliveryStatus, ErrorKind, NewMessage, Reaction, ScopeId, Sender, sign_body,
};
use amochats_runtime::backfill::Progress;
use amochats_runtime::clock::{Clock, Sleep};
use amochats_runtime::outbox::{Call, Item, ItemFilter, ItemState, NewItem};
use amochats_runtime::store::{EventQuery, MemoryStore, SqliteStore, Start, Store};
use amochats_runtime::{Config, ConsumerOptions, Origin, Runtime};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
const CHAT: &str = "8e4d4baa-9e6c-4a88-838a-5f62be227bdc";

fn scope() -> ScopeId {
    ScopeId::of(&CHANNEL.into(), &ACCOUNT.into())
}

/// A guard against hanging for ever; no test depends on its length.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .unwrap_or_else(|_| panic!("no {what} in half a minute"))
}

/// A clock that stands still, and knows who waits for it.
struct TestClock {
    start: SystemTime,
    state: Mutex<(Duration, Vec<Duration>)>,
    changes: watch::Sender<u64>,
}

impl TestClock {
    fn new() -> Self {
        // The machine's date, for the signatures.
        Self { start: SystemTime::now(), state: Mutex::default(), changes: watch::Sender::new(0) }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, (Duration, Vec<Duration>)> {
        self.state.lock().expect("no panic while held")
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// How long it is since then.
    fn since(&self, began: Duration) -> Duration {
        self.monotonic().saturating_sub(began)
    }

    fn advance(&self, by: Duration) {
        self.state().0 += by;
        self.changed();
    }

    /// Waits until somebody sleeps for at most so long, and turns the clock to their time; says how
    /// long that was.
    async fn next(&self, at_most: Duration) -> Duration {
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
struct Asked {
    method: String,
    path: String,
    body: Value,
    stream: TcpStream,
}

impl Asked {
    async fn answer(mut self, status: &str, headers: &str, body: &str) {
        let answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        self.stream.write_all(answer.as_bytes()).await.expect("sent");
        let _ = self.stream.shutdown().await;
    }

    /// The service took it.
    async fn take(self) {
        let body = if self.path.ends_with("/chats") {
            json!({ "id": CHAT, "user": { "id": "U" } })
        } else {
            json!({ "new_message": { "conversation_id": CHAT, "msgid": "M-ref", "ref_id": self.message() } })
        };
        self.answer("200 OK", "", &body.to_string()).await;
    }

    async fn refuse(self) {
        let said = json!({ "error_code": 7, "error_type": "x", "error_description": "hello +1555 is bad" });
        self.answer("400 Bad Request", "", &said.to_string()).await;
    }

    /// The connection breaks: nobody learns what became of it.
    fn vanish(self) {
        drop(self.stream);
    }

    /// The history, with these messages of ours.
    async fn history(self, ours: &[&str]) {
        assert!(self.path.contains("/history"), "{}", self.path);
        if ours.is_empty() {
            return self.answer("204 No Content", "", "").await;
        }
        let message = |id: &&str| json!({ "timestamp": 1, "message": { "id": format!("{id}-ref"), "client_id": id, "type": "text" } });
        let messages: Vec<Value> = ours.iter().map(message).collect();
        self.answer("200 OK", "", &json!({ "messages": messages }).to_string()).await;
    }

    fn message(&self) -> &str {
        self.body["payload"]["msgid"].as_str().unwrap_or_default()
    }

    /// What it is, in a word.
    fn what(&self) -> &str {
        let last = self.path.split('?').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        if last.contains('_') && last != "delivery_status" { "message" } else { last }
    }
}

/// The service, played by the test.
struct Service {
    requests: mpsc::UnboundedReceiver<Asked>,
    kept: VecDeque<Asked>,
    address: std::net::SocketAddr,
}

impl Service {
    async fn start() -> Self {
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
    async fn next(&mut self) -> Asked {
        match self.kept.pop_front() {
            Some(asked) => asked,
            None => soon("request", self.requests.recv()).await.expect("the service lives"),
        }
    }

    /// The next request, which is this.
    async fn expect(&mut self, what: &str) -> Asked {
        let asked = self.next().await;
        assert_eq!(asked.what(), what, "{} {}", asked.method, asked.path);
        asked
    }

    fn nothing_came(&mut self) -> bool {
        self.kept.is_empty() && self.requests.try_recv().is_err()
    }
}

async fn read(stream: TcpStream) -> Option<Asked> {
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
struct World {
    runtime: Runtime,
    service: Service,
    clock: Arc<TestClock>,
}

fn config(service: &Service, more: &str) -> Config {
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n[backfill]\non_start = false\nrate = 100.0\n[outbox]\nrate = 1000.0\nburst = 1000\n\
         {more}\n[[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nbase_url = \"http://{}\"\n",
        service.address
    );
    Config::load(&toml, []).expect("a valid configuration")
}

impl World {
    async fn new() -> Self {
        Self::with("").await
    }

    async fn with(more: &str) -> Self {
        Self::over(Arc::new(MemoryStore::default()), Service::start().await, more).await
    }

    async fn over(store: Arc<dyn Store>, service: Service, more: &str) -> Self {
        let clock = Arc::new(TestClock::new());
        let runtime =
            Runtime::start_with(&config(&service, more), store, clock.clone()).await.expect("started");
        Self { runtime, service, clock }
    }

    async fn enqueue(&self, call: Call) -> Item {
        self.runtime.outbox().enqueue(NewItem::new(scope(), call)).await.expect("kept")
    }

    async fn send(&self, conversation: &str, message: &str) -> Item {
        self.enqueue(message_to(conversation, message)).await
    }

    /// Waits until an item has come to its end.
    async fn end(&self, item: &Item) -> Item {
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

    async fn state(&self, item: &Item) -> ItemState {
        self.runtime.outbox().get(&item.item_id).await.expect("kept").state
    }

    /// Waits until an item is in a state.
    async fn until(&self, item: &Item, state: ItemState) {
        soon(state.name(), async {
            while self.state(item).await != state {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// The metrics, as Prometheus reads them.
    async fn metrics(&self) -> String {
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

fn message_to(conversation: &str, message: &str) -> Call {
    let sender = Sender::new("u-1", "Anna");
    Call::SendMessage(Box::new(NewMessage::incoming(
        conversation,
        message,
        1_700_000_000_000,
        sender,
        Content::text("hello"),
    )))
}

fn status(message: &str) -> Call {
    Call::SetDeliveryStatus {
        message_ref_id: message.into(),
        status: DeliveryStatus::Read,
        conversation_ref_id: None,
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

#[tokio::test]
async fn what_the_service_takes_is_sent() {
    let mut world = World::new().await;
    let item = world.send("c-1", "m-1").await;
    let asked = world.service.expect("message").await;
    assert_eq!((asked.message(), world.state(&item).await), ("m-1", ItemState::Sending));
    asked.take().await;
    let ended = world.end(&item).await;
    assert_eq!((ended.state, ended.attempts, &ended.problem), (ItemState::Sent, 1, &None));
    assert_eq!(ended.ids.message_ref_id.as_ref().map(AsRef::as_ref), Some("M-ref"));
    assert_eq!(ended.ids.conversation_ref_id.as_ref().map(AsRef::as_ref), Some(CHAT));
    let metrics = world.metrics().await;
    for line in [
        "amochats_outbox_ended_total{call=\"send_message\",state=\"sent\"} 1",
        "amochats_outbox_attempts_total{call=\"send_message\",outcome=\"OK\"} 1",
        "amochats_outbox_items{state=\"queued\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
}

#[tokio::test]
async fn the_same_message_is_one_item() {
    let mut world = World::new().await;
    let first = world.send("c-1", "m-1").await;
    assert_eq!(world.send("c-1", "m-1").await.item_id, first.item_id);
    world.service.expect("message").await.take().await;
    world.end(&first).await;
    let Call::SendMessage(mut later) = message_to("c-1", "m-1") else { unreachable!("a message") };
    later.sent_at_msec += 1;
    let again = world.enqueue(Call::SendMessage(later.clone())).await;
    assert_eq!((again.item_id.as_str(), again.state), (first.item_id.as_str(), ItemState::Sent));
    later.content = Content::text("something else");
    let other = world.runtime.outbox().enqueue(NewItem::new(scope(), Call::SendMessage(later))).await;
    let error = other.expect_err("another message of the same id");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some("payload.msgid")));

    let keyed = |call| NewItem::new(scope(), call).with_key("report-1");
    let outbox = world.runtime.outbox();
    let report = outbox.enqueue(keyed(status("M"))).await.expect("kept");
    assert_eq!(outbox.enqueue(keyed(status("M"))).await.expect("known").item_id, report.item_id);
    let error = outbox.enqueue(keyed(status("N"))).await.expect_err("another call of the same key");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some("key")));
    assert!(outbox.enqueue(keyed(message_to("c", "m"))).await.is_err(), "a message has its own key");
    world.service.expect("delivery_status").await.answer("200 OK", "", "").await;
    assert_eq!(world.end(&report).await.state, ItemState::Sent);
    assert!(world.service.nothing_came());
}

#[tokio::test]
async fn what_can_never_be_sent_is_refused_at_once() {
    let world = World::new().await;
    let refused =
        async |item: NewItem| world.runtime.outbox().enqueue(item).await.expect_err("refused").kind();
    let foreign = NewItem::new("another_account", message_to("c", "m"));
    assert_eq!(refused(foreign).await, ErrorKind::UnknownChannel);
    assert_eq!(refused(NewItem::new(scope(), message_to("", "m"))).await, ErrorKind::InvalidArgument);
    assert_eq!(refused(NewItem::new(scope(), message_to("c", ""))).await, ErrorKind::InvalidArgument);
    for expires_in in [Duration::ZERO, MINUTE * 60 * 24 * 31] {
        let item = NewItem::new(scope(), status("M")).with_expires_in(expires_in);
        assert_eq!(refused(item).await, ErrorKind::InvalidArgument);
    }
    let full = World::with("max_items = 1").await;
    full.send("c", "m").await;
    let error = full.runtime.outbox().enqueue(NewItem::new(scope(), status("M"))).await.expect_err("full");
    assert_eq!(error.kind(), ErrorKind::QueueFull);
}

#[tokio::test]
async fn a_refusal_is_told_in_the_services_words_and_nowhere_else() {
    let mut world = World::new().await;
    let (first, second) = (world.send("c-1", "m-1").await, world.send("c-1", "m-2").await);
    world.service.expect("message").await.refuse().await;
    let ended = world.end(&first).await;
    let problem = ended.problem.clone().expect("why");
    assert_eq!(
        (ended.state, problem.kind, problem.http_status),
        (ItemState::Rejected, ErrorKind::Rejected, Some(400))
    );
    assert_eq!(problem.vendor.expect("words").description.as_deref(), Some("hello +1555 is bad"));
    assert!(!problem.message.contains("1555") && !format!("{ended:?}").contains("1555"));
    let asked = world.service.expect("message").await;
    assert_eq!(asked.message(), "m-2", "the next one is not held up");
    asked.answer("403 Forbidden", "", "").await;
    let problem = world.end(&second).await.problem.expect("why");
    assert_eq!((problem.kind, problem.http_status), (ErrorKind::Forbidden, Some(403)));
}

#[tokio::test]
async fn a_conversation_is_in_order_and_others_do_not_wait() {
    let mut world = World::new().await;
    let mut items = Vec::new();
    for (conversation, message) in [("a", "a1"), ("a", "a2"), ("b", "b1"), ("a", "a3")] {
        items.push(world.send(conversation, message).await);
    }
    let (one, other) = (world.service.next().await, world.service.next().await);
    let (a1, b1) = if one.message() == "a1" { (one, other) } else { (other, one) };
    assert_eq!((a1.message(), b1.message()), ("a1", "b1"));
    a1.answer("503 Service Unavailable", "", "").await;
    b1.take().await;
    world.end(&items[2]).await;
    world.clock.next(SECOND).await;
    for expected in ["a1", "a2", "a3"] {
        let asked = world.service.expect("message").await;
        assert_eq!(asked.message(), expected);
        asked.take().await;
    }
    for item in &items {
        assert_eq!(world.end(item).await.state, ItemState::Sent);
    }
}

#[tokio::test]
async fn what_was_not_taken_is_sent_again_after_a_growing_delay() {
    let mut world = World::with("circuit_failures = 100").await;
    let item = world.send("c", "m").await;
    for attempt in 0..6 {
        let asked = world.service.expect("message").await;
        assert_eq!(asked.message(), "m", "the id stays the same");
        asked.answer("503 Service Unavailable", "", "").await;
        world.until(&item, ItemState::Queued).await;
        let waited = world.clock.next(SECOND * 2u32.pow(attempt)).await;
        assert!(waited <= SECOND * 2u32.pow(attempt));
    }
    let kept = world.runtime.outbox().get(&item.item_id).await.expect("kept");
    assert_eq!(kept.problem.map(|problem| problem.kind), Some(ErrorKind::Unavailable));
    world.service.expect("message").await.take().await;
    let ended = world.end(&item).await;
    assert_eq!((ended.state, ended.attempts), (ItemState::Sent, 7));
}

#[tokio::test]
async fn whoever_is_asked_to_slow_down_waits_as_long_as_he_is_told() {
    let mut world = World::new().await;
    let item = world.send("a", "a1").await;
    let asked = world.service.expect("message").await;
    asked.answer("429 Too Many Requests", "Retry-After: 100\r\n", "").await;
    world.until(&item, ItemState::Queued).await;
    let other = world.send("b", "b1").await;
    let began = world.clock.monotonic();
    while world.clock.since(began) < SECOND * 100 {
        assert!(world.service.nothing_came(), "the whole account waits");
        world.clock.next(SECOND * 100).await;
    }
    assert_eq!(world.clock.since(began), SECOND * 100);
    for _ in 0..2 {
        world.service.expect("message").await.take().await;
    }
    for item in [item, other] {
        assert_eq!(world.end(&item).await.state, ItemState::Sent);
    }
}

#[tokio::test]
async fn no_account_is_called_more_often_than_the_rate() {
    let mut world = slow().await;
    for place in 0..5 {
        world.send(&format!("c-{place}"), &format!("m-{place}")).await;
    }
    for _ in 0..2 {
        world.service.expect("message").await.take().await;
    }
    for _ in 0..3 {
        let waited = world.clock.next(SECOND).await;
        assert!(waited > Duration::from_millis(400), "{waited:?}: two a second");
        world.service.expect("message").await.take().await;
        assert!(world.service.nothing_came());
    }
}

/// Two calls a second.
async fn slow() -> World {
    let service = Service::start().await;
    let mut config = config(&service, "");
    (config.outbox.rate, config.outbox.burst) = (2.0, 2);
    let clock = Arc::new(TestClock::new());
    let store = Arc::new(MemoryStore::default());
    let runtime = Runtime::start_with(&config, store, clock.clone()).await.expect("started");
    World { runtime, service, clock }
}

#[tokio::test]
async fn a_message_that_arrived_without_an_answer_is_found_and_not_sent_again() {
    let mut world = World::new().await;
    let (item, next) = (world.send("c", "m").await, world.send("c", "next").await);
    world.service.expect("message").await.vanish();
    let chat = world.service.expect("chats").await;
    assert_eq!(chat.body, json!({ "conversation_id": "c", "user": { "id": "u-1", "name": "Anna" } }));
    assert_eq!(world.state(&item).await, ItemState::Resolving);
    chat.take().await;
    // The service works later than it answers.
    world.service.expect("history").await.history(&[]).await;
    world.clock.next(SECOND).await;
    world.service.expect("history").await.history(&["other"]).await;
    world.clock.next(SECOND * 2).await;
    assert_eq!(world.state(&next).await, ItemState::Queued, "it waits for the one before");
    world.service.expect("history").await.history(&["other", "m"]).await;
    let ended = world.end(&item).await;
    assert_eq!((ended.state, ended.attempts), (ItemState::Sent, 1));
    assert_eq!(ended.ids.message_ref_id.as_ref().map(AsRef::as_ref), Some("m-ref"));
    assert_eq!(ended.ids.conversation_ref_id.as_ref().map(AsRef::as_ref), Some(CHAT));
    assert_eq!(world.service.expect("message").await.message(), "next");
}

/// Answers every look with nothing until something else comes.
async fn nothing_is_found(world: &mut World) -> Asked {
    loop {
        let asked = world.service.next().await;
        match asked.what() {
            "chats" => asked.take().await,
            "history" => {
                asked.history(&[]).await;
                // Then it either waits or does something.
                tokio::select! {
                    asked = world.service.next() => world.service.kept.push_back(asked),
                    _ = world.clock.next(SECOND * 8) => {}
                }
            }
            _ => return asked,
        }
    }
}

#[tokio::test]
async fn a_message_that_did_not_arrive_is_sent_once_more_with_the_same_id() {
    let mut world = World::new().await;
    let item = world.send("c", "m").await;
    let began = world.clock.monotonic();
    world.service.expect("message").await.vanish();
    let again = nothing_is_found(&mut world).await;
    assert_eq!((again.what(), again.message()), ("message", "m"));
    assert!(world.clock.since(began) >= SECOND * 15, "absence proves nothing at once");
    again.take().await;
    let ended = world.end(&item).await;
    assert_eq!((ended.state, ended.attempts, ended.repeated), (ItemState::Sent, 2, true));
}

#[tokio::test]
async fn a_duplicate_that_is_refused_is_looked_for_again() {
    let mut world = World::new().await;
    let item = world.send("c", "m").await;
    world.service.expect("message").await.vanish();
    nothing_is_found(&mut world).await.refuse().await;
    world.service.expect("history").await.history(&["m"]).await;
    let ended = world.end(&item).await;
    assert_eq!((ended.state, ended.attempts, ended.problem), (ItemState::Sent, 2, None));
}

#[tokio::test]
async fn what_cannot_be_found_out_is_unknown_within_a_minute() {
    for refused in [true, false] {
        let mut world = World::new().await;
        let (item, next) = (world.send("c", "m").await, world.send("c", "next").await);
        world.service.expect("message").await.vanish();
        let began = world.clock.monotonic();
        let again = nothing_is_found(&mut world).await;
        assert_eq!(again.message(), "m");
        if refused {
            again.refuse().await;
        } else {
            again.vanish();
        }
        let after = nothing_is_found(&mut world).await;
        assert_eq!(after.message(), "next", "there is no third time, and no later one is held up longer");
        assert!(world.clock.since(began) <= MINUTE);
        let ended = world.end(&item).await;
        assert_eq!((ended.state, ended.attempts), (ItemState::Unknown, 2));
        let kind = if refused { ErrorKind::Rejected } else { ErrorKind::Transport };
        assert_eq!(ended.problem.map(|problem| problem.kind), Some(kind));
        after.take().await;
        assert_eq!(world.end(&next).await.state, ItemState::Sent);
    }
}

#[tokio::test]
async fn a_look_that_fails_is_no_reason_to_send_again() {
    let mut world = World::with("circuit_failures = 100").await;
    let item = world.send("c", "m").await;
    world.service.expect("message").await.vanish();
    let began = world.clock.monotonic();
    while world.clock.since(began) < SECOND * 40 {
        let asked = world.service.expect("chats").await;
        asked.answer("500 Internal Server Error", "", "").await;
        world.clock.next(SECOND * 8).await;
    }
    world.service.expect("chats").await.take().await;
    world.service.expect("history").await.history(&["m"]).await;
    assert_eq!(world.end(&item).await.state, ItemState::Sent);
}

#[tokio::test]
async fn calls_that_may_be_made_twice_are() {
    let mut world = World::with("circuit_failures = 100").await;
    let react = Call::React(Reaction::react("c", "m", "u", "👍"));
    for (call, what) in [(status("M"), "delivery_status"), (react, "react")] {
        let item = world.enqueue(call).await;
        world.service.expect(what).await.vanish();
        world.until(&item, ItemState::Queued).await;
        world.clock.next(SECOND).await;
        let asked = world.service.expect(what).await;
        asked.answer("200 OK", "", "").await;
        let ended = world.end(&item).await;
        assert_eq!((ended.state, ended.attempts), (ItemState::Sent, 2));
    }
}

#[tokio::test]
async fn a_service_that_is_down_is_left_alone_and_then_tried_by_one() {
    let mut world = World::with("circuit_failures = 3\ncircuit_open_ms = 20000").await;
    let mut items = Vec::new();
    for place in 0..3 {
        items.push(world.send(&format!("c-{place}"), &format!("m-{place}")).await);
        world.service.expect("message").await.answer("503 Service Unavailable", "", "").await;
        world.until(&items[place], ItemState::Queued).await;
    }
    assert!(world.metrics().await.contains("amochats_outbox_circuit{host="), "the circuit is shown");
    items.push(world.send("c-3", "m-3").await);
    let opened = world.clock.monotonic();
    // Their delays are over long before.
    while world.clock.since(opened) < SECOND * 20 {
        assert!(world.service.nothing_came(), "nobody calls");
        world.clock.next(SECOND * 20).await;
    }
    let probe = world.service.expect("message").await;
    assert!(world.service.nothing_came(), "one alone tries");
    probe.take().await;
    for _ in 0..3 {
        world.service.expect("message").await.take().await;
    }
    for item in &items {
        assert_eq!(world.end(item).await.state, ItemState::Sent);
    }
}

#[tokio::test]
async fn what_waits_can_be_taken_back_and_what_is_on_its_way_cannot() {
    let mut world = World::new().await;
    let (first, second, third) =
        (world.send("c", "1").await, world.send("c", "2").await, world.send("c", "3").await);
    let asked = world.service.expect("message").await;
    let outbox = world.runtime.outbox().clone();
    assert_eq!(outbox.cancel(&first.item_id).await.expect_err("on its way").kind(), ErrorKind::Misuse);
    assert_eq!(outbox.cancel(&second.item_id).await.expect("waits").state, ItemState::Cancelled);
    assert_eq!(outbox.cancel(&second.item_id).await.expect("is").state, ItemState::Cancelled);
    assert_eq!(outbox.cancel("nobody").await.expect_err("not there").kind(), ErrorKind::NotFound);
    asked.take().await;
    let asked = world.service.expect("message").await;
    assert_eq!(asked.message(), "3");
    asked.take().await;
    assert_eq!(world.end(&third).await.state, ItemState::Sent);
    assert_eq!(outbox.cancel(&third.item_id).await.expect_err("ended").kind(), ErrorKind::Misuse);
    let cancelled = ItemFilter { states: vec![ItemState::Cancelled], limit: 10, ..ItemFilter::default() };
    let listed = outbox.list(cancelled).await.expect("listed");
    assert_eq!(listed.iter().map(|item| &item.item_id).collect::<Vec<_>>(), [&second.item_id]);
}

#[tokio::test]
async fn what_is_late_is_not_sent() {
    let mut world = World::with("circuit_failures = 100\nmin_delay_ms = 300000").await;
    let short = NewItem::new(scope(), message_to("c", "m")).with_expires_in(SECOND * 30);
    let item = world.runtime.outbox().enqueue(short).await.expect("kept");
    world.service.expect("message").await.answer("503 Service Unavailable", "", "").await;
    world.until(&item, ItemState::Queued).await;
    let maybe = NewItem::new(scope(), status("M")).with_expires_in(SECOND * 30);
    let maybe = world.runtime.outbox().enqueue(maybe).await.expect("kept");
    world.service.expect("delivery_status").await.vanish();
    world.until(&maybe, ItemState::Queued).await;
    world.clock.advance(SECOND * 30);
    let ended = world.end(&item).await;
    assert_eq!(ended.state, ItemState::Expired);
    assert_eq!(
        ended.problem.map(|problem| problem.kind),
        Some(ErrorKind::Unavailable),
        "it says why not before"
    );
    assert_eq!(world.end(&maybe).await.state, ItemState::Unknown, "it may have been applied");
}

#[tokio::test]
async fn a_restart_looks_for_what_was_on_the_wire() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = Arc::new(SqliteStore::open(&path).await.expect("a new store"));
    let mut world = World::over(store, Service::start().await, "").await;
    let (item, next) = (world.send("c", "m").await, world.send("c", "next").await);
    let asked = world.service.expect("message").await;
    // The service has it, but the answer does not come before the end.
    world.runtime.shutdown(Duration::from_millis(10)).await;
    drop(asked);

    let store = soon("end of the first one", async {
        loop {
            match SqliteStore::open(&path).await {
                // It was told to end, but nobody waited for that.
                Err(error) if error.kind() == ErrorKind::StoreLocked => tokio::task::yield_now().await,
                opened => return Arc::new(opened.expect("an old store")),
            }
        }
    })
    .await;
    let mut world = World::over(store, Service::start().await, "").await;
    world.service.expect("chats").await.take().await;
    assert_eq!(world.state(&item).await, ItemState::Resolving);
    world.service.expect("history").await.history(&["m"]).await;
    assert_eq!(world.end(&item).await.state, ItemState::Sent);
    let asked = world.service.expect("message").await;
    assert_eq!(asked.message(), "next");
    asked.take().await;
    assert_eq!(world.end(&next).await.state, ItemState::Sent);
}

#[tokio::test]
async fn a_message_event_is_acknowledged_with_what_became_of_it() {
    let mut world = World::new().await;
    let inbox = world.runtime.inbox().clone();
    inbox.create_subscription("crm", Start::Oldest).await.expect("made");
    let mut consumer = inbox.consumer("crm", ConsumerOptions::default()).await.expect("a consumer");
    let hook = async |body: String| {
        let secret = ChannelSecret::new(SECRET).expect("clean");
        let signature = sign_body(&secret, body.as_bytes());
        let scope = scope();
        let ingested = world.runtime.channels().ingest(scope.as_str(), Some(&signature), body.into());
        ingested.await.expect("kept");
    };
    let message = json!({ "account_id": ACCOUNT, "message": {
        "conversation": { "id": CHAT }, "message": { "id": "M-1", "type": "text", "text": "hi" } } });
    hook(message.to_string()).await;
    hook("{\"something\":\"new\"}".to_owned()).await;
    let mut deliveries = soon("delivery", consumer.next()).await.expect("deliveries");
    if deliveries.len() < 2 {
        deliveries.extend(soon("delivery", consumer.next()).await.expect("deliveries"));
    }
    let outbox = world.runtime.outbox().clone();
    let read = DeliveryStatus::Read;
    let item = outbox.acknowledge(&deliveries[0].ack_id, read.clone()).await.expect("committed");
    let again = outbox.acknowledge(&deliveries[0].ack_id, read.clone()).await;
    assert_eq!(again.expect_err("settled").kind(), ErrorKind::LeaseLost);
    let error = outbox.acknowledge(&deliveries[1].ack_id, read).await.expect_err("no message");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some("delivery_status")));
    assert_eq!(inbox.subscriptions().await.expect("listed")[0].unsettled, 1, "it is not settled");
    let asked = world.service.expect("delivery_status").await;
    assert!(asked.path.ends_with("/M-1/delivery_status") && asked.body == json!({ "status_code": 2 }));
    asked.answer("200 OK", "", "").await;
    assert_eq!(world.end(&item).await.state, ItemState::Sent);
}

#[tokio::test]
async fn a_stop_waits_for_what_is_on_the_wire() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = Arc::new(SqliteStore::open(&path).await.expect("a new store"));
    let mut world = World::over(store, Service::start().await, "").await;
    let (item, next) = (world.send("c", "m").await, world.send("c", "next").await);
    let asked = world.service.expect("message").await;
    let stopping = tokio::spawn(world.runtime.shutdown(Duration::from_secs(30)));
    asked.take().await;
    soon("stop", stopping).await.expect("no panic");
    assert!(world.service.nothing_came(), "nothing new goes out");
    let store = SqliteStore::open(&path).await.expect("an old store");
    let state =
        async |item: &Item| store.outbox().item(&item.item_id).await.expect("read").expect("kept").state;
    assert_eq!((state(&item).await, state(&next).await), (ItemState::Sent, ItemState::Queued));
}

/// A message of the history, as the service tells it; without our id it was written in the CRM.
fn told(id: &str, ours: Option<&str>, at_msec: i64) -> Value {
    let mut message = json!({
        "timestamp": at_msec / 1000, "msec_timestamp": at_msec,
        "sender": { "id": "manager" }, "receiver": { "id": "client", "client_id": "u-1" },
        "message": { "id": id, "type": "text", "text": format!("text of {id}") },
    });
    if let Some(ours) = ours {
        message["message"]["client_id"] = ours.into();
    }
    message
}

fn hook(message: &str) -> String {
    json!({ "account_id": ACCOUNT, "message": {
        "conversation": { "id": CHAT, "client_id": "c-1" },
        "message": { "id": message, "type": "text", "text": message } } })
    .to_string()
}

async fn ingest(world: &World, body: String) {
    let signature = sign_body(&ChannelSecret::new(SECRET).expect("clean"), body.as_bytes());
    let scope = scope();
    let ingested = world.runtime.channels().ingest(scope.as_str(), Some(&signature), body.into());
    ingested.await.expect("kept");
}

/// Waits until the backfill has nothing to do; its pace is the clock's.
async fn backfilled(world: &World) -> Progress {
    soon("end of the backfill", async {
        loop {
            let progress = world.runtime.backfill().progress().await.expect("known");
            if !progress.running {
                return progress;
            }
            world.clock.advance(SECOND);
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn what_no_webhook_brought_is_fetched_once() {
    let mut world = World::new().await;
    let inbox = world.runtime.inbox().clone();
    ingest(&world, hook("M-1")).await;
    assert_eq!(world.runtime.backfill().run().await.expect("begun").pending, 1);
    let asked = world.service.expect("history").await;
    assert!(asked.path.contains(&format!("/chats/{CHAT}/history")), "{}", asked.path);
    let now = world.clock.now_msec();
    let history = [
        told("M-3", None, now + 2000),
        told("M-2", None, now + 1000),
        told("M-ours", Some("m-9"), now + 500),
        told("M-1", None, now),
        told("M-old", None, now - 3_600_000),
    ];
    asked.answer("200 OK", "", &json!({ "messages": history }).to_string()).await;
    let progress = backfilled(&world).await;
    assert_eq!((progress.pending, progress.read, progress.failed, progress.appended), (0, 1, 0, 2));

    inbox.create_subscription("crm", Start::Oldest).await.expect("made");
    let mut consumer = inbox.consumer("crm", ConsumerOptions::default()).await.expect("a consumer");
    let mut events = Vec::new();
    while events.len() < 3 {
        for delivery in soon("delivery", consumer.next()).await.expect("deliveries") {
            events.push(delivery.event.to_json());
            inbox.settle(&delivery.ack_id, amochats_runtime::Verdict::Ack).await.expect("committed");
        }
    }
    let seen: Vec<_> = events.iter().map(|event| (&event["message_ref_id"], &event["origin"])).collect();
    let expected = [("M-1", "webhook"), ("M-2", "backfill"), ("M-3", "backfill")]
        .map(|(id, origin)| (id.into(), origin.into()));
    assert_eq!(seen, expected.iter().map(|(id, origin): &(Value, Value)| (id, origin)).collect::<Vec<_>>());
    assert_eq!((&events[2]["text"], &events[2]["conversation_id"]), (&"text of M-3".into(), &"c-1".into()));

    // A second time nothing is new, also what was settled.
    world.runtime.backfill().run().await.expect("begun");
    let asked = world.service.expect("history").await;
    asked.answer("200 OK", "", &json!({ "messages": history }).to_string()).await;
    assert_eq!(backfilled(&world).await.appended, 2);

    let unreported = world.runtime.backfill().unreported(None, 10).await.expect("listed");
    let ids: Vec<_> = unreported.iter().map(|event| event.to_json()["message_ref_id"].clone()).collect();
    assert_eq!(ids, ["M-1", "M-2", "M-3"]);
    let report = world.enqueue(status("M-2")).await;
    world.service.expect("delivery_status").await.answer("200 OK", "", "").await;
    world.end(&report).await;
    let after = Some(unreported[0].event_id.clone());
    let left = world.runtime.backfill().unreported(after, 10).await.expect("listed");
    assert_eq!(
        left.iter().map(|event| event.to_json()["message_ref_id"].clone()).collect::<Vec<_>>(),
        ["M-3"]
    );
}

#[tokio::test]
async fn a_backfill_goes_on_after_a_restart_and_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = Arc::new(SqliteStore::open(&path).await.expect("a new store"));
    let world = World::over(store, Service::start().await, "").await;
    ingest(&world, hook("M-1")).await;
    world.runtime.shutdown(Duration::from_secs(30)).await;

    // It came while nobody listened.
    let service = Service::start().await;
    let mut config = config(&service, "");
    config.backfill.on_start = true;
    let clock = Arc::new(TestClock::new());
    let store = Arc::new(SqliteStore::open(&path).await.expect("an old store"));
    let runtime = Runtime::start_with(&config, store, clock.clone()).await.expect("started");
    let mut world = World { runtime, service, clock };
    let asked = world.service.expect("history").await;
    asked.answer("503 Service Unavailable", "", "").await;
    world.clock.next(SECOND).await;
    drop(world.service.expect("history").await);
    world.runtime.shutdown(Duration::from_secs(30)).await;

    let store = Arc::new(SqliteStore::open(&path).await.expect("an old store"));
    let mut world = World::over(store, Service::start().await, "").await;
    let asked = world.service.expect("history").await;
    let missed = told("M-2", None, world.clock.now_msec());
    asked.answer("200 OK", "", &json!({ "messages": [missed] }).to_string()).await;
    // The page does not reach back to the last event, so the next one is read.
    world.clock.next(SECOND).await;
    world.service.expect("history").await.history(&[]).await;
    assert_eq!(backfilled(&world).await.appended, 1);
}

#[tokio::test]
async fn accounts_with_webhooks_v1_are_left_alone() {
    let world = World::new().await;
    ingest(&world, hook("M-1")).await;
    ingest(
        &world,
        json!({ "receiver": "u-1", "conversation_id": "c-1", "type": "text", "text": "hi" }).to_string(),
    )
    .await;
    assert_eq!(world.runtime.backfill().run().await.expect("begun").pending, 0);
}

#[tokio::test]
async fn accounts_with_webhooks_v1_are_fetched_if_that_is_wanted() {
    for in_memory in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> = if in_memory {
            Arc::new(MemoryStore::default())
        } else {
            Arc::new(SqliteStore::open(folder.path().join("store.db")).await.expect("a new store"))
        };
        let service = Service::start().await;
        let mut config = config(&service, "");
        config.backfill.v1_hooks = true;
        let clock = Arc::new(TestClock::new());
        let runtime = Runtime::start_with(&config, store, clock.clone()).await.expect("started");
        let mut world = World { runtime, service, clock };
        ingest(&world, hook("M-1")).await;
        let now = world.clock.now_msec();
        let v1 = |text: &str, at: Option<i64>| json!({ "receiver": "u-1", "conversation_id": "c-1", "type": "text", "text": text, "msec_timestamp": at });
        ingest(&world, v1("text of M-2", Some(now + 999)).to_string()).await;
        ingest(&world, v1("text of M-3", Some(now + 5000)).to_string()).await;
        ingest(&world, v1("text of M-4", None).to_string()).await;
        ingest(&world, v1("other", None).to_string()).await;

        world.runtime.backfill().run().await.expect("begun");
        let asked = world.service.expect("history").await;
        let history = [
            told("M-6", None, now + 100_000),
            // The time of the webhook is near, far, and not told; the content differs; it came twice.
            told("M-2", None, now),
            told("M-3", None, now + 3999),
            told("M-4", None, now - 1000),
            told("M-5", None, now),
            json!({ "msec_timestamp": now + 10, "receiver": { "id": "client", "client_id": "u-1" },
                    "message": { "id": "M-2b", "type": "text", "text": "text of M-2" } }),
            told("M-old", None, now - 3_600_000),
        ];
        asked.answer("200 OK", "", &json!({ "messages": history }).to_string()).await;
        assert_eq!(backfilled(&world).await.appended, 4);
        let query = EventQuery { after: None, scope: None, limit: 100 };
        let events = world.runtime.inbox().events(query).await.expect("listed");
        let fetched = events.iter().filter(|event| event.origin == Origin::Backfill);
        let ids = fetched.map(|event| {
            let json = event.to_json();
            assert_eq!(
                (event.is_possible_duplicate(), json["possible_duplicate"].as_bool()),
                (true, Some(true))
            );
            json["message_ref_id"].as_str().expect("an id").to_owned()
        });
        assert_eq!(ids.collect::<Vec<_>>(), ["M-5", "M-2b", "M-3", "M-6"]);
    }
}
