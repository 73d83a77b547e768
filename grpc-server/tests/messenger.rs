//! The demo messenger against a server that is played by the test.

use amochats_proto::v1::channel_service_server::{ChannelService, ChannelServiceServer};
use amochats_proto::v1::inbox_service_server::{InboxService, InboxServiceServer};
use amochats_proto::v1::stream_events_request::Request as Asked;
use amochats_proto::v1::{self as pb, DeliveryState, create_options::Start, event::Kind};
use amochats_server::messenger::{Messenger, MessengerConfig};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_types::{ErrorDetails, StatusExt};

/// Far above what anything here takes: a test that waits for nothing ends.
const PATIENCE: Duration = Duration::from_secs(20);

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("nothing came: {what}"))
}

type Call<Q, A> = (Q, oneshot::Sender<Result<A, Status>>);

/// The services: what arrives is handed to the test, which answers.
#[derive(Clone)]
struct Played {
    streams: mpsc::UnboundedSender<Stream>,
    sends: mpsc::UnboundedSender<Call<pb::SendMessageRequest, pb::SendMessageResponse>>,
    reports: mpsc::UnboundedSender<Call<pb::SetDeliveryStatusRequest, pb::SetDeliveryStatusResponse>>,
}

/// A runtime that ends with all its tasks when dropped, without waiting for them.
struct Threads(Option<tokio::runtime::Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        self.0.take().into_iter().for_each(tokio::runtime::Runtime::shutdown_background);
    }
}

/// A stream of events that the messenger opened.
struct Stream {
    subscribe: pb::Subscribe,
    requests: Streaming<pb::StreamEventsRequest>,
    responses: mpsc::Sender<Result<pb::StreamEventsResponse, Status>>,
}

async fn ask<Q, A>(to: &mpsc::UnboundedSender<Call<Q, A>>, request: Q) -> Result<Response<A>, Status> {
    let (answer, answered) = oneshot::channel();
    let gone = || Status::unavailable("the test is over");
    to.send((request, answer)).map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?.map(Response::new)
}

#[tonic::async_trait]
impl InboxService for Played {
    type StreamEventsStream = ReceiverStream<Result<pb::StreamEventsResponse, Status>>;

    async fn stream_events(
        &self,
        request: Request<Streaming<pb::StreamEventsRequest>>,
    ) -> Result<Response<Self::StreamEventsStream>, Status> {
        let mut requests = request.into_inner();
        let first = requests.message().await?.and_then(|first| first.request);
        let Some(Asked::Subscribe(subscribe)) = first else {
            return Err(Status::invalid_argument("no subscribe"));
        };
        let (responses, stream) = mpsc::channel(16);
        let opened = Stream { subscribe, requests, responses };
        self.streams.send(opened).map_err(|_| Status::unavailable("the test is over"))?;
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn create_subscription(
        &self,
        _: Request<pb::CreateSubscriptionRequest>,
    ) -> Result<Response<pb::CreateSubscriptionResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn list_subscriptions(
        &self,
        _: Request<pb::ListSubscriptionsRequest>,
    ) -> Result<Response<pb::ListSubscriptionsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn delete_subscription(
        &self,
        _: Request<pb::DeleteSubscriptionRequest>,
    ) -> Result<Response<pb::DeleteSubscriptionResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn pull_events(
        &self,
        _: Request<pb::PullEventsRequest>,
    ) -> Result<Response<pb::PullEventsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn settle_events(
        &self,
        _: Request<pb::SettleEventsRequest>,
    ) -> Result<Response<pb::SettleEventsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn list_events(
        &self,
        _: Request<pb::ListEventsRequest>,
    ) -> Result<Response<pb::ListEventsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn get_event(
        &self,
        _: Request<pb::GetEventRequest>,
    ) -> Result<Response<pb::GetEventResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn replay_events(
        &self,
        _: Request<pb::ReplayEventsRequest>,
    ) -> Result<Response<pb::ReplayEventsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn list_dead_letters(
        &self,
        _: Request<pb::ListDeadLettersRequest>,
    ) -> Result<Response<pb::ListDeadLettersResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn requeue_dead_letters(
        &self,
        _: Request<pb::RequeueDeadLettersRequest>,
    ) -> Result<Response<pb::RequeueDeadLettersResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn drop_dead_letters(
        &self,
        _: Request<pb::DropDeadLettersRequest>,
    ) -> Result<Response<pb::DropDeadLettersResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn purge_conversation(
        &self,
        _: Request<pb::PurgeConversationRequest>,
    ) -> Result<Response<pb::PurgeConversationResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

#[tonic::async_trait]
impl ChannelService for Played {
    async fn list_accounts(
        &self,
        _: Request<pb::ListAccountsRequest>,
    ) -> Result<Response<pb::ListAccountsResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn forget_account(
        &self,
        _: Request<pb::ForgetAccountRequest>,
    ) -> Result<Response<pb::ForgetAccountResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn connect(&self, _: Request<pb::ConnectRequest>) -> Result<Response<pb::ConnectResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn disconnect(
        &self,
        _: Request<pb::DisconnectRequest>,
    ) -> Result<Response<pb::DisconnectResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn send_message(
        &self,
        request: Request<pb::SendMessageRequest>,
    ) -> Result<Response<pb::SendMessageResponse>, Status> {
        ask(&self.sends, request.into_inner()).await
    }

    async fn set_delivery_status(
        &self,
        request: Request<pb::SetDeliveryStatusRequest>,
    ) -> Result<Response<pb::SetDeliveryStatusResponse>, Status> {
        ask(&self.reports, request.into_inner()).await
    }

    async fn edit_message(
        &self,
        _: Request<pb::EditMessageRequest>,
    ) -> Result<Response<pb::EditMessageResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn create_chat(
        &self,
        _: Request<pb::CreateChatRequest>,
    ) -> Result<Response<pb::CreateChatResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn get_history(
        &self,
        _: Request<pb::GetHistoryRequest>,
    ) -> Result<Response<pb::GetHistoryResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn send_typing(
        &self,
        _: Request<pb::SendTypingRequest>,
    ) -> Result<Response<pb::SendTypingResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }

    async fn react(&self, _: Request<pb::ReactRequest>) -> Result<Response<pb::ReactResponse>, Status> {
        Err(Status::unimplemented("not asked for"))
    }
}

/// The messenger with the server that the test plays.
struct Stage {
    messenger: Messenger,
    http: reqwest::Client,
    played: Played,
    streams: mpsc::UnboundedReceiver<Stream>,
    sends: mpsc::UnboundedReceiver<Call<pb::SendMessageRequest, pb::SendMessageResponse>>,
    reports: mpsc::UnboundedReceiver<Call<pb::SetDeliveryStatusRequest, pb::SetDeliveryStatusResponse>>,
    server: Option<Threads>,
    grpc: SocketAddr,
}

impl Stage {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let grpc = listener.local_addr().expect("bound");
        drop(listener);
        let (streams, opened) = mpsc::unbounded_channel();
        let (sends, sent) = mpsc::unbounded_channel();
        let (reports, reported) = mpsc::unbounded_channel();
        let config = MessengerConfig {
            grpc: format!("http://{grpc}"),
            channel_id: "channel".into(),
            account_id: "account".into(),
            client: "Anna Berg".into(),
        };
        let page = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut stage = Self {
            // It starts first: the server may come later.
            messenger: Messenger::start(config, page).expect("a good configuration"),
            http: http(),
            played: Played { streams, sends, reports },
            streams: opened,
            sends: sent,
            reports: reported,
            server: None,
            grpc,
        };
        stage.server_starts().await;
        stage
    }

    async fn server_starts(&mut self) {
        // A runtime of its own, so that the server can vanish with all its connections.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a thread can be made");
        let (address, played) = (self.grpc, self.played.clone());
        let (up, is_up) = oneshot::channel();
        runtime.spawn(async move {
            let listener = loop {
                // The server before may still be closing its port.
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::task::yield_now().await,
                }
            };
            let _ = up.send(());
            tonic::transport::Server::builder()
                .add_service(InboxServiceServer::new(played.clone()))
                .add_service(ChannelServiceServer::new(played))
                .serve_with_incoming(TcpListenerStream::new(listener))
                .await
        });
        soon("the server", is_up).await.expect("it listens");
        self.server = Some(Threads(Some(runtime)));
    }

    fn server_vanishes(&mut self) {
        self.server.take().expect("it was up");
    }

    /// The next stream that the messenger opens, set up.
    async fn stream(&mut self) -> Stream {
        let stream = soon("a stream", self.streams.recv()).await.expect("the server is up");
        assert_eq!(stream.subscribe.subscription, "demo-messenger");
        assert_eq!(
            stream.subscribe.create.clone().and_then(|create| create.start),
            Some(Start::Oldest(true))
        );
        let subscribed = Some(pb::Subscribed { subscription: "demo-messenger".into() });
        stream.says(pb::StreamEventsResponse { subscribed, ..Default::default() }).await;
        stream
    }

    /// The next message that is sent, answered.
    async fn sent(&mut self, answer: Result<(), Status>) -> pb::Message {
        let (request, to) = soon("a message", self.sends.recv()).await.expect("the server is up");
        let _ = to.send(answer.map(|()| pb::SendMessageResponse::default()));
        assert_eq!(request.scope.expect("it is named").account_id, "account");
        request.message.expect("there is one")
    }

    /// The next report, answered.
    async fn reported(&mut self, answer: Result<(), Status>) -> (String, DeliveryState) {
        let (request, to) = soon("a report", self.reports.recv()).await.expect("the server is up");
        let _ = to.send(answer.map(|()| pb::SetDeliveryStatusResponse::default()));
        let state = request.status.expect("there is one").state();
        (request.message_ref_id, state)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.messenger.address())
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, String) {
        let request = self.http.post(self.url(path)).header("Content-Type", "application/json");
        let response = request.body(body.to_string()).send().await.expect("the page answers");
        (response.status().as_u16(), response.text().await.expect("UTF-8"))
    }

    async fn write(&self, id: &str, text: &str) {
        let (status, said) = self.post("/api/messages", &json!({ "message_id": id, "text": text })).await;
        assert_eq!(status, 200, "{said}");
    }

    /// A page of this client.
    async fn page(&self, query: &str) -> Page {
        let events = self.http.get(self.url(&format!("/api/events{query}"))).send().await;
        Page { events: events.expect("the page answers"), read: String::new() }
    }
}

impl Stream {
    async fn says(&self, response: pb::StreamEventsResponse) {
        self.responses.send(Ok(response)).await.expect("the messenger listens");
    }

    async fn delivers(&self, ack_id: &str, event: pb::Event) {
        let delivery = pb::Delivery { ack_id: ack_id.into(), attempt: 1, event: Some(event) };
        self.says(pb::StreamEventsResponse { deliveries: vec![delivery], ..Default::default() }).await;
    }

    /// The next acknowledgement.
    async fn acked(&mut self) -> String {
        let request = soon("an acknowledgement", self.requests.message()).await.expect("the stream is whole");
        match request.and_then(|request| request.request) {
            Some(Asked::Ack(ack)) => ack.ack_id,
            other => panic!("not an acknowledgement: {other:?}"),
        }
    }

    async fn confirms(&self, ack_id: String) {
        let settled = vec![pb::SettleResult { ack_id, ok: true, ..Default::default() }];
        self.says(pb::StreamEventsResponse { settled, ..Default::default() }).await;
    }
}

/// What a page of the messenger is told.
struct Page {
    events: reqwest::Response,
    read: String,
}

impl Page {
    /// The first phone from now on that is as expected.
    async fn until(&mut self, what: &str, expected: impl Fn(&Value) -> bool) -> Value {
        soon(what, async {
            loop {
                while let Some(end) = self.read.find("\n\n") {
                    let event: String = self.read.drain(..end + 2).collect();
                    let data = event.lines().find_map(|line| line.strip_prefix("data: "));
                    let Some(data) = data else { continue };
                    let view = serde_json::from_str(data).expect("JSON");
                    if expected(&view) {
                        return view;
                    }
                }
                let chunk = self.events.chunk().await.expect("it goes on").expect("it goes on");
                self.read.push_str(std::str::from_utf8(&chunk).expect("the tests write ASCII"));
            }
        })
        .await
    }

    /// The state of the last message, as soon as it is this one.
    async fn last_becomes(&mut self, status: &str) -> Value {
        let last = |view: &Value| view["messages"].as_array().and_then(|all| all.last().cloned());
        let view = self.until(status, |view| last(view).is_some_and(|last| last["status"] == status)).await;
        last(&view).expect("it was just there")
    }
}

fn http() -> reqwest::Client {
    // The provider is named, since a process-wide one may be missing.
    let tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring has them")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls).no_proxy().build().expect("valid")
}

/// A manager's message in the chat of the demo's client.
fn answer(event_id: &str, message_ref_id: &str, text: &str) -> pb::Event {
    pb::Event {
        event_id: event_id.into(),
        kind: Some(Kind::Message(pb::MessageEvent {
            conversation_id: Some("chat-anna-berg".into()),
            conversation_ref_id: Some("conversation-1".into()),
            message_ref_id: Some(message_ref_id.into()),
            sender: Some(pb::Participant { name: Some("Manager".into()), ..Default::default() }),
            r#type: "text".into(),
            text: text.into(),
            ..Default::default()
        })),
        ..Default::default()
    }
}

#[tokio::test]
async fn an_event_is_kept_acknowledged_and_reported() {
    let mut stage = Stage::start().await;
    let mut page = stage.page("").await;
    let mut stream = stage.stream().await;
    stream.delivers("ack-1", answer("e-1", "m-1", "hello")).await;
    assert_eq!(stream.acked().await, "ack-1");
    let shown = page.last_becomes("received").await;
    assert_eq!(
        (&shown["text"], &shown["author"], &shown["direction"]),
        (&json!("hello"), &json!("Manager"), &json!("in"))
    );

    stream.confirms("ack-1".into()).await;
    // What cannot be reported now is reported later.
    let delivered = ("m-1".to_owned(), DeliveryState::Delivered);
    assert_eq!(stage.reported(Err(Status::unavailable("busy"))).await, delivered);
    assert_eq!(stage.reported(Ok(())).await, delivered);
    page.last_becomes("delivered").await;

    assert_eq!(stage.post("/api/seen", &json!({})).await.0, 200);
    assert_eq!(stage.reported(Ok(())).await, ("m-1".to_owned(), DeliveryState::Read));
    page.last_becomes("read").await;

    // What is refused is not asked again: the next report is the next message's.
    stream.delivers("ack-2", answer("e-2", "m-2", "again")).await;
    let ack_id = stream.acked().await;
    stream.confirms(ack_id).await;
    assert_eq!(stage.reported(Err(Status::not_found("unknown"))).await.0, "m-2");
    page.last_becomes("refused").await;
    stream.delivers("ack-3", answer("e-3", "m-3", "and again")).await;
    let ack_id = stream.acked().await;
    stream.confirms(ack_id).await;
    assert_eq!(stage.reported(Ok(())).await.0, "m-3");
    stage.messenger.shutdown().await;
}

#[tokio::test]
async fn an_event_that_comes_again_is_shown_once() {
    let mut stage = Stage::start().await;
    let mut page = stage.page("").await;
    let mut stream = stage.stream().await;
    stream.delivers("ack-1", answer("e-1", "m-1", "hello")).await;
    stream.acked().await;
    // The acknowledgement was not confirmed.
    stream.responses.send(Err(Status::unavailable("restart"))).await.expect("the messenger listens");

    let mut stream = stage.stream().await;
    stream.delivers("ack-2", answer("e-1", "m-1", "hello")).await;
    assert_eq!(stream.acked().await, "ack-2");
    stream.confirms("ack-2".into()).await;
    assert_eq!(stage.reported(Ok(())).await.1, DeliveryState::Delivered);
    // The same id with another content is another message.
    let other = pb::Event { conflicting_duplicate: true, ..answer("e-2", "m-1", "other") };
    stream.delivers("ack-3", other).await;
    assert_eq!(stream.acked().await, "ack-3");
    let view = page.until("two", |view| view["messages"].as_array().is_some_and(|all| all.len() > 1)).await;
    let texts: Vec<_> = view["messages"].as_array().expect("a list").iter().map(|m| &m["text"]).collect();
    assert_eq!(texts, ["hello", "other"]);
}

#[tokio::test]
async fn the_server_may_vanish_and_come_back() {
    let mut stage = Stage::start().await;
    let mut page = stage.page("").await;
    let stream = stage.stream().await;
    page.until("online", |view| view["online"] == true).await;
    stage.server_vanishes();
    drop(stream);
    page.until("offline", |view| view["online"] == false).await;
    stage.write("m-1", "is anybody there?").await;
    let failed = page.last_becomes("failed").await;
    assert_eq!(failed["error"], "the amochats server does not answer");

    stage.server_starts().await;
    let mut stream = stage.stream().await;
    page.until("online", |view| view["online"] == true).await;
    stream.delivers("ack-1", answer("e-1", "r-1", "yes")).await;
    assert_eq!(stream.acked().await, "ack-1");
    stage.write("m-1", "is anybody there?").await;
    assert_eq!(stage.sent(Ok(())).await.message_id, "m-1");
}

#[tokio::test]
async fn a_refused_message_is_tried_again_under_its_id() {
    let mut stage = Stage::start().await;
    let mut page = stage.page("").await;
    stage.write("m-1", "hello").await;
    let mut details = ErrorDetails::new();
    let words = HashMap::from([("vendor_error_description".to_owned(), "call connect first".to_owned())]);
    details.set_error_info("FORBIDDEN", "amochats", words);
    let refusal = Status::with_error_details(Code::PermissionDenied, "forbidden", details);
    let first = stage.sent(Err(refusal)).await;
    let sender = first.sender.clone().expect("there is one");
    assert_eq!((first.conversation_id.as_str(), sender.name.as_str()), ("chat-anna-berg", "Anna Berg"));
    assert_eq!(page.last_becomes("failed").await["error"], "call connect first");

    stage.write("m-1", "hello").await;
    assert_eq!(stage.sent(Ok(())).await, first, "the same message, at the time it was written");
    page.last_becomes("sent").await;
    // What arrived is not sent again: the next that is sent is the next message.
    stage.write("m-1", "hello").await;
    stage.write("m-2", "and more").await;
    assert_eq!(stage.sent(Ok(())).await.message_id, "m-2");
}

#[tokio::test]
async fn a_manager_who_writes_first_is_answered_in_the_same_chat() {
    let mut stage = Stage::start().await;
    let mut page = stage.page("").await;
    let mut stream = stage.stream().await;
    let mut first = answer("e-1", "m-1", "your order is ready");
    let Some(Kind::Message(message)) = &mut first.kind else { unreachable!("it is a message") };
    message.conversation_id = None;
    message.receiver = Some(pb::Participant {
        phone: Some("+15550123".into()),
        user_ref_id: Some("contact-1".into()),
        ..Default::default()
    });
    stream.delivers("ack-1", first).await;
    stream.acked().await;
    let view = page.until("a client", |view| view["clients"][0]["unread"] == 1).await;
    assert_eq!(view["clients"][0]["name"], "+15550123");
    let key = view["clients"][0]["key"].as_str().expect("text").to_owned();

    let (status, _) =
        stage.post("/api/messages", &json!({ "client": key, "message_id": "m-2", "text": "thanks" })).await;
    assert_eq!(status, 200);
    let sent = stage.sent(Ok(())).await;
    assert_eq!(sent.conversation_ref_id.as_deref(), Some("conversation-1"));
    assert_eq!(sent.sender.expect("there is one").user_ref_id.as_deref(), Some("contact-1"));
    // Now that the ids are bound, ours is enough.
    let mut theirs = stage.page(&format!("?client={key}")).await;
    theirs.last_becomes("sent").await;
    stage.post("/api/messages", &json!({ "client": key, "message_id": "m-3", "text": "bye" })).await;
    let next = stage.sent(Ok(())).await;
    assert_eq!((next.conversation_ref_id, next.conversation_id), (None, sent.conversation_id));
}

#[tokio::test]
async fn typing_is_shown_and_ends_with_the_answer() {
    let mut stage = Stage::start().await;
    let mut page = stage.page("").await;
    let stream = stage.stream().await;
    stage.write("m-1", "hello").await;
    stage.sent(Ok(())).await;
    let until = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() + 5;
    let until = i64::try_from(until).expect("fits");
    let typing = pb::TypingEvent {
        conversation_id: Some("chat-anna-berg".into()),
        expired_at: Some(until),
        ..Default::default()
    };
    stream.delivers("", pb::Event { kind: Some(Kind::Typing(typing)), ..Default::default() }).await;
    page.until("typing", |view| view["typing_until_msec"] == until * 1000).await;
    stream.delivers("ack-1", answer("e-1", "m-1", "hi")).await;
    let view =
        page.until("the answer", |view| view["messages"].as_array().is_some_and(|all| all.len() == 2)).await;
    assert_eq!(view["typing_until_msec"], 0);
}

#[tokio::test]
async fn other_pages_are_kept_out_and_bad_input_is_explained() {
    let stage = Stage::start().await;
    let page = stage.http.get(stage.url("/")).send().await.expect("the page answers");
    let policy = page.headers()["content-security-policy"].to_str().expect("ASCII").to_owned();
    assert!(
        policy.contains("default-src 'none'") && policy.contains("frame-ancestors http://127.0.0.1:*"),
        "{policy}"
    );

    let json = ("Content-Type", "application/json");
    for (headers, status) in [
        (&[json][..], 200),
        (&[("Content-Type", "text/plain")], 403),
        (&[json, ("Origin", "http://127.0.0.1:1")], 403),
        (&[json, ("Host", "rebound.example")], 403),
    ] {
        let mut request = stage.http.post(stage.url("/api/seen")).body("{}");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        assert_eq!(request.send().await.expect("an answer").status(), status, "{headers:?}");
    }
    let long = "x".repeat(65);
    for (body, said) in [
        (json!({ "message_id": "m-1", "text": "  " }), "text: must not be empty"),
        (json!({ "message_id": "", "text": "a" }), "message_id: must be"),
        (json!({ "client": long, "message_id": "m-1", "text": "a" }), "client: must be"),
        (json!({ "message_id": "m-1", "words": "a" }), "unknown field"),
    ] {
        let (status, answer) = stage.post("/api/messages", &body).await;
        assert!((400..500).contains(&status) && answer.contains(said), "{status} {answer}");
    }
}
