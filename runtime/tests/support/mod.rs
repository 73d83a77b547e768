//! A runtime on loopback, over a store that the test holds back or breaks, and a client that says
//! exactly the bytes it is told to.

pub(crate) mod log;

use amochats::{ChannelSecret, Error, ErrorKind, Result, SIGNATURE_HEADER, ScopeId, sign_body};
use amochats_runtime::backfill::BackfillStore;
use amochats_runtime::clock::ManualClock;
use amochats_runtime::outbox::{
    Acknowledged, Change, Depth, Draft, Enqueued, Item, ItemFilter, OutboxStore, Report,
};
use amochats_runtime::store::{
    Appended, DeadLetter, DeadSummary, EventDelivery, EventQuery, EventSummary, Filter, Keep, Leased,
    MemoryStore, Purged, Replay, Settled, Settlement, Start, Store, SubscriptionId, SubscriptionState,
    SummaryQuery, Token,
};
use amochats_runtime::widget::WidgetStore;
use amochats_runtime::{
    AccountStore, Config, Consumer, ConsumerOptions, Delivery, Event, MediaStore, NewEvent, Runtime, Verdict,
};
use async_trait::async_trait;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::watch;

pub(crate) const CHANNEL: &str = "a4490ccc-5d7f-11e7-907b-a6006ad3dba0";
pub(crate) const ACCOUNT: &str = "13fa84f7-6b61-4086-98ed-0a9de19ee15c";
pub(crate) const SECRET: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";
pub(crate) const OLD_SECRET: &str = "the-secret-before";

/// Where a webhook of the one channel and account goes.
pub(crate) fn webhook_path() -> String {
    format!("/webhook/{CHANNEL}_{ACCOUNT}")
}

/// One channel, free ports.
pub(crate) fn config() -> Config {
    let toml = format!(
        "listener.address = \"127.0.0.1:0\"\nadmin.address = \"127.0.0.1:0\"\n\
         [[channel]]\nid = \"{CHANNEL}\"\nsecret = \"{SECRET}\"\nold_secrets = [\"{OLD_SECRET}\"]\nbase_url = \"http://127.0.0.1:9\"\n"
    );
    Config::load(&toml, []).expect("a valid configuration")
}

/// A guard against hanging for ever; no test depends on its length.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .unwrap_or_else(|_| panic!("no {what} in half a minute"))
}

/// A runtime with a subscription "crm" and a clock that stands still.
pub(crate) struct World {
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<TestStore>,
    pub(crate) clock: Arc<ManualClock>,
    consumer: Consumer,
    /// Handed out together with one that was asked for.
    waiting: VecDeque<Delivery>,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(config()).await
    }

    pub(crate) async fn with(config: Config) -> Self {
        let store = Arc::new(TestStore::default());
        let clock = Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_700_000_000)));
        let runtime = Runtime::start_with(&config, store.clone(), clock.clone()).await.expect("started");
        runtime.inbox().create_subscription("crm", Start::Oldest).await.expect("made");
        let consumer = runtime.inbox().consumer("crm", ConsumerOptions::default()).await.expect("a consumer");
        Self { runtime, store, clock, consumer, waiting: VecDeque::new() }
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.runtime.listener_address()).await
    }

    /// Posts a webhook with this signature over a connection of its own.
    pub(crate) async fn post(&self, body: &[u8], signature: &str) -> Answer {
        self.ask(&request(&webhook_path(), &[(SIGNATURE_HEADER, signature)], body)).await
    }

    /// Posts a webhook as the vendor would.
    pub(crate) async fn hook(&self, body: &[u8]) -> Answer {
        self.post(body, &signature(SECRET, body)).await
    }

    /// Sends these bytes over a connection of its own.
    pub(crate) async fn ask(&self, request: &[u8]) -> Answer {
        let mut wire = self.connect().await;
        wire.send(request).await;
        wire.answer().await
    }

    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let mut wire = Wire::connect(self.runtime.admin_address()).await;
        wire.send(format!("GET {path} HTTP/1.1\r\nHost: amochats\r\n\r\n").as_bytes()).await;
        wire.answer().await
    }

    /// The next event that is handed out, settled.
    pub(crate) async fn next(&mut self) -> Delivery {
        if self.waiting.is_empty() {
            self.waiting.extend(soon("delivery", self.consumer.next()).await.expect("deliveries"));
        }
        let delivery = self.waiting.pop_front().expect("at least one");
        self.runtime.inbox().settle(&delivery.ack_id, Verdict::Ack).await.expect("committed");
        delivery
    }

    /// How many events are kept and not settled.
    pub(crate) async fn unsettled(&self) -> u64 {
        self.runtime.inbox().subscriptions().await.expect("listed")[0].unsettled
    }

    /// Lets everything that can happen without further events happen: whatever the listener would
    /// answer by mistake, it answers before the last of these round trips.
    pub(crate) async fn settle_down(&self) {
        for _ in 0..5 {
            assert_eq!(self.admin("/healthz").await.status, 200);
        }
    }
}

/// The signature of a body.
pub(crate) fn signature(secret: &str, body: &[u8]) -> String {
    sign_body(&ChannelSecret::new(secret).expect("clean"), body)
}

/// A webhook's request, with its length.
pub(crate) fn request(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("POST {path} HTTP/1.1\r\nHost: amochats\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("memory");
    }
    write!(head, "Content-Length: {}\r\n\r\n", body.len()).expect("memory");
    [head.as_bytes(), body].concat()
}

/// A signed webhook's request.
pub(crate) fn signed(body: &[u8]) -> Vec<u8> {
    request(&webhook_path(), &[(SIGNATURE_HEADER, &signature(SECRET, body))], body)
}

/// A message of webhooks v2, in conversation "C".
pub(crate) fn message(id: &str, text: &str) -> String {
    format!(
        "{{\"account_id\":\"{ACCOUNT}\",\"time\":1,\"message\":{{\"conversation\":{{\"id\":\"C\"}},\
         \"message\":{{\"id\":\"{id}\",\"type\":\"text\",\"text\":\"{text}\"}}}}}}"
    )
}

/// A connection, byte by byte.
pub(crate) struct Wire(BufReader<TcpStream>);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("connected"))
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        Self(BufReader::new(stream))
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.expect("sent");
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.0.get_mut().shutdown().await.expect("half closed");
    }

    async fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = String::new();
        if self.0.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        Ok(Some(line.trim_end().to_owned()))
    }

    async fn read_answer(&mut self) -> std::io::Result<Option<Answer>> {
        let Some(first) = self.line().await? else { return Ok(None) };
        let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).expect("a status line");
        let status = status.parse().expect("a status");
        let mut headers = Vec::new();
        while let Some(line) = self.line().await?.filter(|line| !line.is_empty()) {
            let (name, value) = line.split_once(": ").expect("a header");
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        let mut answer = Answer { status, headers, body: String::new() };
        if let Some(length) = answer.header("content-length") {
            let mut body = vec![0; length.parse().expect("a length")];
            self.0.read_exact(&mut body).await?;
            answer.body = String::from_utf8(body).expect("UTF-8");
        }
        Ok(Some(answer))
    }

    /// The next answer.
    pub(crate) async fn answer(&mut self) -> Answer {
        soon("answer", self.read_answer()).await.expect("readable").expect("an answer, not the end")
    }

    /// The next answer, unless the connection ends before.
    pub(crate) async fn last_answer(&mut self) -> Option<Answer> {
        soon("answer or end", self.read_answer()).await.ok().flatten()
    }

    /// The next answer's first line.
    pub(crate) async fn first_line(&mut self) -> String {
        soon("answer", self.line()).await.expect("readable").expect("an answer, not the end")
    }

    /// Whether the server ended the connection without a further answer.
    pub(crate) async fn has_ended(&mut self) -> bool {
        self.last_answer().await.is_none()
    }

    /// Whether not one byte of an answer is there.
    pub(crate) fn is_silent(&self) -> bool {
        let mut byte = [0];
        let nothing = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        self.0.buffer().is_empty() && self.0.get_ref().try_read(&mut byte).is_err_and(|error| nothing(&error))
    }
}

/// A store in memory whose changes the test holds back or lets fail.
pub(crate) struct TestStore {
    inner: Arc<MemoryStore>,
    open: watch::Sender<bool>,
    lease_answers: watch::Sender<bool>,
    appends: watch::Sender<usize>,
    failure: Arc<Mutex<Option<ErrorKind>>>,
    settlements_fail: AtomicBool,
    outbox_denies: AtomicBool,
}

impl Default for TestStore {
    fn default() -> Self {
        Self {
            inner: Arc::default(),
            open: watch::Sender::new(true),
            lease_answers: watch::Sender::new(true),
            appends: watch::Sender::new(0),
            failure: Arc::default(),
            settlements_fail: AtomicBool::new(false),
            outbox_denies: AtomicBool::new(false),
        }
    }
}

impl TestStore {
    /// Appends and settlements wait from now on.
    pub(crate) fn hold(&self) {
        self.open.send_replace(false);
    }

    /// They are committed again, those that waited too.
    pub(crate) fn let_go(&self) {
        self.open.send_replace(true);
    }

    /// Whether whoever leases events learns of it, or waits.
    pub(crate) fn answer_leases(&self, answer: bool) {
        self.lease_answers.send_replace(answer);
    }

    /// Appends and pings fail with this from now on.
    pub(crate) fn fail(&self, with: Option<ErrorKind>) {
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = with;
    }

    /// Whether settlements fail from now on.
    pub(crate) fn fail_settlements(&self, fail: bool) {
        self.settlements_fail.store(fail, Ordering::Relaxed);
    }

    /// The next item that is enqueued or begins is, and yet the answer is that the store failed: so it
    /// is where the sync of what was written fails.
    pub(crate) fn deny_once(&self) {
        self.outbox_denies.store(true, Ordering::Relaxed);
    }

    /// Whether the answer that was to be denied was.
    pub(crate) fn has_denied(&self) -> bool {
        !self.outbox_denies.load(Ordering::Relaxed)
    }

    fn denied<T>(&self, done: Result<T>) -> Result<T> {
        let denies = self.outbox_denies.swap(false, Ordering::Relaxed);
        if denies { Err(Error::new(ErrorKind::StoreFailed, "as the test wants it")) } else { done }
    }

    /// How many appends have reached the store.
    pub(crate) fn appends(&self) -> usize {
        *self.appends.borrow()
    }

    /// Waits until so many appends have reached the store.
    pub(crate) async fn reached(&self, count: usize) {
        let mut appends = self.appends.subscribe();
        soon("append", appends.wait_for(|appends| *appends >= count)).await.expect("the store lives");
    }

    fn check(&self) -> Result<()> {
        check(&self.failure)
    }
}

fn check(failure: &Mutex<Option<ErrorKind>>) -> Result<()> {
    match *failure.lock().unwrap_or_else(PoisonError::into_inner) {
        Some(kind) => Err(Error::new(kind, "as the test wants it")),
        None => Ok(()),
    }
}

#[async_trait]
impl Store for TestStore {
    async fn append(&self, event: NewEvent) -> Result<Appended> {
        self.appends.send_modify(|appends| *appends += 1);
        // What was taken in is kept, also where nobody waits for it.
        let (mut open, inner, failure) = (self.open.subscribe(), self.inner.clone(), self.failure.clone());
        let append = tokio::spawn(async move {
            open.wait_for(|open| *open).await.expect("the store lives");
            check(&failure)?;
            inner.append(event).await
        });
        append.await.expect("no panic")
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.inner.changes()
    }

    async fn create_subscription(
        &self,
        name: &str,
        start: Start,
        filter: Filter,
        created_at: i64,
    ) -> Result<(SubscriptionId, bool)> {
        self.inner.create_subscription(name, start, filter, created_at).await
    }

    async fn subscription(&self, name: &str) -> Result<SubscriptionId> {
        self.inner.subscription(name).await
    }

    async fn delete_subscription(&self, name: &str) -> Result<()> {
        self.inner.delete_subscription(name).await
    }

    async fn subscriptions(&self) -> Result<Vec<SubscriptionState>> {
        self.inner.subscriptions().await
    }

    async fn lease(
        &self,
        subscription: SubscriptionId,
        max: usize,
        max_bytes: usize,
        at: i64,
    ) -> Result<Vec<Leased>> {
        let answer = self.lease_answers.subscribe();
        let leased = self.inner.lease(subscription, max, max_bytes, at).await;
        if matches!(&leased, Ok(leased) if !leased.is_empty()) {
            let mut answer = answer;
            answer.wait_for(|answer| *answer).await.expect("the store lives");
        }
        leased
    }

    async fn settle(&self, settlements: Vec<(Token, Settlement)>, at: i64) -> Result<Vec<Settled>> {
        let mut open = self.open.subscribe();
        open.wait_for(|open| *open).await.expect("the store lives");
        if self.settlements_fail.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::StoreFailed, "as the test wants it"));
        }
        self.inner.settle(settlements, at).await
    }

    fn accounts(&self) -> &dyn AccountStore {
        self.inner.accounts()
    }

    async fn replay(&self, name: &str, replay: Replay) -> Result<u64> {
        self.inner.replay(name, replay).await
    }

    async fn dead_letters(&self, name: &str, after: i64, limit: usize) -> Result<Vec<DeadLetter>> {
        self.inner.dead_letters(name, after, limit).await
    }

    async fn dead_summaries(&self, name: &str, after: i64, limit: usize) -> Result<Vec<DeadSummary>> {
        self.inner.dead_summaries(name, after, limit).await
    }

    async fn take_dead_letters(&self, name: &str, places: Option<Vec<i64>>, again: bool) -> Result<u64> {
        self.inner.take_dead_letters(name, places, again).await
    }

    async fn event(&self, event_id: &str) -> Result<Option<Event>> {
        self.inner.event(event_id).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>> {
        self.inner.events(query).await
    }

    async fn summaries(&self, query: SummaryQuery) -> Result<Vec<EventSummary>> {
        self.inner.summaries(query).await
    }

    async fn summary(&self, event_id: &str) -> Result<Option<EventSummary>> {
        self.inner.summary(event_id).await
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<EventDelivery>> {
        self.inner.deliveries(event_id).await
    }

    async fn purge(&self, scope: &ScopeId, conversation: &str) -> Result<Purged> {
        self.inner.purge(scope, conversation).await
    }

    async fn maintain(&self, keep: Keep) -> Result<()> {
        self.inner.maintain(keep).await
    }

    fn outbox(&self) -> &dyn OutboxStore {
        self
    }

    fn backfill(&self) -> &dyn BackfillStore {
        self.inner.backfill()
    }

    fn widget(&self) -> &dyn WidgetStore {
        self.inner.widget()
    }

    fn media(&self) -> &dyn MediaStore {
        self.inner.media()
    }

    async fn ping(&self) -> Result<()> {
        self.check()?;
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

#[async_trait]
impl OutboxStore for TestStore {
    async fn enqueue(&self, draft: Draft) -> Result<Enqueued> {
        self.denied(self.inner.outbox().enqueue(draft).await)
    }

    async fn acknowledge(&self, token: Token, report: Report) -> Result<Acknowledged> {
        self.inner.outbox().acknowledge(token, report).await
    }

    async fn recover(&self) -> Result<()> {
        self.inner.outbox().recover().await
    }

    async fn scopes(&self) -> Result<Vec<ScopeId>> {
        self.inner.outbox().scopes().await
    }

    async fn heads(&self, scope: &ScopeId, max: usize) -> Result<Vec<i64>> {
        self.inner.outbox().heads(scope, max).await
    }

    async fn at(&self, seq: i64) -> Result<Option<Item>> {
        self.inner.outbox().at(seq).await
    }

    async fn begin(&self, seq: i64) -> Result<Option<Item>> {
        self.denied(self.inner.outbox().begin(seq).await)
    }

    async fn change(&self, seq: i64, change: Change) -> Result<()> {
        self.inner.outbox().change(seq, change).await
    }

    async fn cancel(&self, item_id: &str, now: i64) -> Result<Option<(Item, bool)>> {
        self.inner.outbox().cancel(item_id, now).await
    }

    async fn expire(&self, now: i64, max: usize) -> Result<Vec<Item>> {
        self.inner.outbox().expire(now, max).await
    }

    async fn next_expiry(&self) -> Result<Option<i64>> {
        self.inner.outbox().next_expiry().await
    }

    async fn item(&self, item_id: &str) -> Result<Option<Item>> {
        self.inner.outbox().item(item_id).await
    }

    async fn list(&self, filter: ItemFilter) -> Result<Vec<Item>> {
        self.inner.outbox().list(filter).await
    }

    async fn depth(&self) -> Result<Vec<Depth>> {
        self.inner.outbox().depth().await
    }

    async fn forget(&self, before: i64, max: usize) -> Result<usize> {
        self.inner.outbox().forget(before, max).await
    }
}
