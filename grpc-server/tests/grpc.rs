//! The services of `amochats.v1` through a real connection, with the sandbox as the CRM.

use amochats::{ChannelSecret, ScopeId, sign_body};
use amochats_proto::v1;
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::stream_events_request::Request;
use amochats_sandbox::{Content, Delivery as Ticks, Sandbox, SandboxConfig};
use amochats_server::{GrpcConfig, Server, ServerConfig};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_types::StatusExt;

/// A CRM, a server in front of it, and clients of its services.
struct Desk {
    sandbox: Sandbox,
    server: Server,
    channels: ChannelServiceClient<Channel>,
    inbox: InboxServiceClient<Channel>,
    account: String,
    _folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("a sandbox");
        let folder = tempfile::tempdir().expect("a folder");
        let toml = format!(
            "[listener]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[grpc]\n\
             address = \"127.0.0.1:0\"\n[store]\npath = \"{}\"\n[inbox]\nmin_delay_ms = 0\n[[channel]]\nid = \"{}\"\n\
             secret = \"{}\"\nbase_url = \"http://{}\"\n",
            folder.path().join("inbox.db").display(),
            sandbox.channel_id(),
            sandbox.secret(),
            sandbox.api_addr(),
        );
        let config = ServerConfig::load(&toml, []).expect("a valid configuration");
        let server = Server::start(config).await.expect("a server");
        let webhooks = format!("http://{}/webhook/:scope_id", server.listener_address());
        sandbox.set_webhook_url(webhooks).expect("an address");
        let uri = format!("http://{}", server.grpc_address());
        let connection = Channel::from_shared(uri).expect("an address").connect().await.expect("connected");
        let account = sandbox.accounts()[0].account_id.to_string();
        let mut channels = ChannelServiceClient::new(connection.clone());
        let connect = v1::ConnectRequest { scope: Some(scope(&account)), ..Default::default() };
        channels.connect(connect).await.expect("connected");
        Self {
            sandbox,
            server,
            channels,
            inbox: InboxServiceClient::new(connection),
            account,
            _folder: folder,
        }
    }

    fn send(&self, message_id: &str) -> v1::SendMessageRequest {
        let text = v1::content::Kind::Text(v1::TextContent { text: "hello".into() });
        v1::SendMessageRequest {
            scope: Some(scope(&self.account)),
            message: Some(v1::Message {
                message_id: message_id.into(),
                conversation_id: "c-1".into(),
                sender: Some(v1::Sender {
                    user_id: "u-1".into(),
                    name: "Client".into(),
                    ..Default::default()
                }),
                content: Some(v1::Content { kind: Some(text) }),
                ..Default::default()
            }),
        }
    }

    /// The client writes, so that there is a chat to answer in.
    async fn chat(&mut self) -> amochats::ConversationRefId {
        let sent = self.channels.send_message(self.send("m-1")).await.expect("sent").into_inner();
        sent.conversation_ref_id.expect("named by the CRM").into()
    }

    /// The manager answers; the webhook was kept.
    async fn answer(&self, chat: &amochats::ConversationRefId, text: &str) -> String {
        let answered = self.sandbox.answer(chat, Content::text(text)).await.expect("answered");
        answered.message_ref_id.to_string()
    }

    /// A webhook of a made-up conversation, kept.
    async fn hook(&self, conversation: &str, message: &str) {
        let body = serde_json::json!({
            "account_id": self.account,
            "message": {
                "conversation": { "id": conversation },
                "message": { "id": message, "type": "text", "text": message },
            },
        })
        .to_string();
        self.post(body).await;
    }

    async fn post(&self, body: String) {
        let secret = ChannelSecret::new(self.sandbox.secret()).expect("clean");
        let scope = ScopeId::of(&self.sandbox.channel_id(), &self.account.as_str().into());
        let request = format!(
            "POST /webhook/{scope} HTTP/1.1\r\nHost: x\r\nX-Signature: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            sign_body(&secret, body.as_bytes()),
            body.len(),
        );
        let mut peer =
            tokio::net::TcpStream::connect(self.server.listener_address()).await.expect("connected");
        peer.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        peer.read_to_string(&mut answer).await.expect("answered");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    async fn stream(&mut self, subscribe: v1::Subscribe) -> Result<Session, Status> {
        let (requests, outgoing) = mpsc::channel(1000);
        requests.send(request(Request::Subscribe(subscribe))).await.expect("room");
        let responses = self.inbox.stream_events(ReceiverStream::new(outgoing)).await?.into_inner();
        let mut session = Session { requests: Some(requests), responses };
        let first = session.responses.message().await?.expect("a first response");
        assert!(first.subscribed.is_some() && first.deliveries.is_empty());
        Ok(session)
    }

    async fn names(&mut self) -> Vec<String> {
        let listed = self.inbox.list_subscriptions(v1::ListSubscriptionsRequest {}).await.expect("listed");
        listed.into_inner().subscriptions.into_iter().map(|subscription| subscription.name).collect()
    }
}

/// A stream of events.
struct Session {
    requests: Option<mpsc::Sender<v1::StreamEventsRequest>>,
    responses: Streaming<v1::StreamEventsResponse>,
}

impl Session {
    async fn ask(&self, asked: Request) {
        self.requests.as_ref().expect("not ended").send(request(asked)).await.expect("sent");
    }

    async fn next(&mut self) -> v1::StreamEventsResponse {
        self.responses.message().await.expect("no error").expect("not the end")
    }

    /// So many deliveries, in however many messages.
    async fn deliveries(&mut self, count: usize) -> Vec<v1::Delivery> {
        let mut all = Vec::new();
        while all.len() < count {
            all.extend(self.next().await.deliveries);
        }
        assert_eq!(all.len(), count);
        all
    }

    async fn settled(&mut self) -> v1::SettleResult {
        loop {
            if let Some(settled) = self.next().await.settled.pop() {
                return settled;
            }
        }
    }

    async fn end(&mut self) -> Status {
        loop {
            match self.responses.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended without a status"),
                Err(status) => return status,
            }
        }
    }
}

fn request(request: Request) -> v1::StreamEventsRequest {
    v1::StreamEventsRequest { request: Some(request) }
}

fn scope(account: &str) -> v1::Scope {
    v1::Scope { account_id: account.into(), ..Default::default() }
}

fn subscribe(name: &str) -> v1::Subscribe {
    let create = Some(v1::CreateOptions::default());
    v1::Subscribe { subscription: name.into(), create, ..Default::default() }
}

fn ack(delivery: &v1::Delivery) -> Request {
    Request::Ack(v1::Ack { ack_id: delivery.ack_id.clone(), ..Default::default() })
}

fn text(delivery: &v1::Delivery) -> &str {
    match delivery.event.as_ref().and_then(|event| event.kind.as_ref()) {
        Some(v1::event::Kind::Message(message)) => &message.text,
        other => panic!("a message, not {other:?}"),
    }
}

fn reason(status: &Status) -> (Code, String, Option<String>) {
    let info = status.get_details_error_info().expect("every error has its info");
    assert_eq!(info.domain, "amochats");
    let field = status.get_details_bad_request().map(|bad| bad.field_violations[0].field.clone());
    (status.code(), info.reason, field)
}

#[tokio::test]
async fn a_message_goes_in_and_the_answer_comes_back() {
    let mut desk = Desk::new().await;
    let chat = desk.chat().await;
    let mut session = desk.stream(subscribe("crm")).await.expect("a stream");
    let message_ref_id = desk.answer(&chat, "welcome").await;
    let delivery = session.deliveries(1).await.remove(0);
    assert_eq!((text(&delivery), delivery.attempt), ("welcome", 1));
    let event = delivery.event.clone().expect("an event");
    assert_eq!((event.origin(), event.api_version()), (v1::Origin::Webhook, v1::ApiVersion::V2));
    assert_eq!(
        (event.account_id.as_str(), event.scope_id.ends_with(&event.account_id)),
        (desk.account.as_str(), true)
    );
    assert_eq!(event.raw.last(), Some(&b'\n'), "the body as it was received");
    let Some(v1::event::Kind::Message(message)) = event.kind else { panic!("a message") };
    assert_eq!(message.conversation_id.as_deref(), Some("c-1"));
    assert_eq!(message.receiver.expect("the client").user_id.as_deref(), Some("u-1"));
    assert_eq!(message.message_ref_id.as_deref(), Some(message_ref_id.as_str()));

    session.ask(ack(&delivery)).await;
    assert!(session.settled().await.ok);
    let status = v1::DeliveryStatus { state: v1::DeliveryState::Delivered.into(), ..Default::default() };
    let request = v1::SetDeliveryStatusRequest {
        scope: Some(scope(&desk.account)),
        message_ref_id: message_ref_id.clone(),
        status: Some(status),
    };
    desk.channels.set_delivery_status(request).await.expect("reported");
    let messages = desk.sandbox.messages(&chat);
    let answered =
        messages.iter().find(|message| message.message_ref_id.as_str() == message_ref_id).expect("there");
    assert!(matches!(answered.delivery, Ticks::Delivered), "{:?}", answered.delivery);

    let disconnect = v1::DisconnectRequest { scope: Some(scope(&desk.account)) };
    desk.channels.disconnect(disconnect).await.expect("disconnected");
    let refused = desk.channels.send_message(desk.send("m-2")).await.expect_err("not connected");
    assert_eq!(reason(&refused), (Code::PermissionDenied, "FORBIDDEN".into(), None));
}

#[tokio::test]
async fn a_chat_is_lived_in_by_every_call() {
    let mut desk = Desk::new().await;
    let user = v1::Sender {
        user_id: "u-1".into(),
        name: "Client".into(),
        phone: Some("+15550100".into()),
        ..Default::default()
    };
    let create = v1::CreateChatRequest {
        scope: Some(scope(&desk.account)),
        conversation_id: "c-1".into(),
        source_external_id: Some("shop".into()),
        user: Some(user),
    };
    let created = desk.channels.create_chat(create).await.expect("created").into_inner();
    let client = created.user.expect("the client");
    assert_eq!((client.user_id.as_deref(), client.phone.as_deref()), (Some("u-1"), Some("+15550100")));
    let chat = desk.chat().await;
    assert_eq!(chat.as_str(), created.conversation_ref_id);

    let mut changes = desk.sandbox.subscribe();
    let typing = v1::SendTypingRequest {
        scope: Some(scope(&desk.account)),
        conversation_id: "c-1".into(),
        user_id: "u-1".into(),
        duration_ms: Some(7000),
    };
    desk.channels.send_typing(typing).await.expect("shown");
    loop {
        let change = changes.recv().await.expect("the sandbox runs");
        if let amochats_sandbox::Change::Typing { conversation_ref_id, duration_ms: 7000, .. } = change {
            assert_eq!(conversation_ref_id, chat);
            break;
        }
    }

    let answer = desk.answer(&chat, "yes").await;
    let text = v1::content::Kind::Text(v1::TextContent { text: "yes!".into() });
    let edit = v1::MessageEdit {
        message_id: Some("m-2".into()),
        message_ref_id: Some(answer.clone()),
        conversation_id: "c-1".into(),
        content: Some(v1::Content { kind: Some(text) }),
        delivery_status: Some(v1::DeliveryStatus {
            state: v1::DeliveryState::Read.into(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let request = v1::EditMessageRequest { scope: Some(scope(&desk.account)), edit: Some(edit) };
    let edited = desk.channels.edit_message(request).await.expect("edited").into_inner();
    assert_eq!(edited.message_ref_id.as_deref(), Some(answer.as_str()));

    let reaction = |kind: v1::ReactionKind, emoji: Option<&str>| v1::ReactRequest {
        scope: Some(scope(&desk.account)),
        reaction: Some(v1::Reaction {
            conversation_id: Some("c-1".into()),
            message_id: Some("m-2".into()),
            user_id: Some("u-1".into()),
            kind: kind.into(),
            emoji: emoji.map(Into::into),
            ..Default::default()
        }),
    };
    let (react, unreact) =
        (reaction(v1::ReactionKind::React, Some("👍")), reaction(v1::ReactionKind::Unreact, None));
    desk.channels.react(react.clone()).await.expect("reacted");
    let answered = || {
        let messages = desk.sandbox.messages(&chat);
        messages.into_iter().find(|message| message.message_ref_id.as_str() == answer).expect("there")
    };
    let message = answered();
    assert_eq!((message.content.text.as_str(), message.edited), ("yes!", true));
    assert!(matches!(message.delivery, Ticks::Read));
    assert_eq!(message.reactions[0].emoji, "👍");
    desk.channels.react(unreact).await.expect("taken back");
    assert!(answered().reactions.is_empty());

    let history = |offset, limit| v1::GetHistoryRequest {
        scope: Some(scope(&desk.account)),
        conversation_ref_id: chat.to_string(),
        offset,
        limit,
    };
    let page = desk.channels.get_history(history(0, 0)).await.expect("read").into_inner().messages;
    let ids: Vec<_> = page.iter().map(|message| message.message_id.as_deref()).collect();
    assert_eq!(ids, [Some("m-2"), Some("m-1")], "the newest first");
    assert_eq!(page[0].sender.as_ref().and_then(|sender| sender.name.as_deref()), Some("Manager"));
    assert_eq!((page[1].r#type.as_str(), page[1].text.as_str()), ("text", "hello"));
    let second = desk.channels.get_history(history(1, 1)).await.expect("read").into_inner().messages;
    assert_eq!(second, page[1..]);
    let end = desk.channels.get_history(history(2, 50)).await.expect("read").into_inner();
    assert!(end.messages.is_empty());

    let mut unknown = react;
    unknown.reaction.as_mut().expect("there").message_id = Some("m-9".into());
    let refused = desk.channels.react(unknown).await.expect_err("no such message");
    assert_eq!(reason(&refused), (Code::NotFound, "NOT_FOUND".into(), None));
}

#[tokio::test]
async fn each_call_names_the_field_at_fault() {
    let mut desk = Desk::new().await;
    let invalid =
        |field: &str| (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned(), Some(field.to_owned()));
    let too_many = v1::GetHistoryRequest {
        scope: Some(scope(&desk.account)),
        conversation_ref_id: "C".into(),
        limit: 51,
        ..Default::default()
    };
    let refused = desk.channels.get_history(too_many).await.expect_err("too many");
    assert_eq!(reason(&refused), invalid("limit"));
    for (kind, field) in [
        (v1::ReactionKind::Unspecified, "reaction.kind"),
        (v1::ReactionKind::Unreact, "reaction.conversation_id"),
    ] {
        let reaction = Some(v1::Reaction { kind: kind.into(), ..Default::default() });
        let request = v1::ReactRequest { scope: Some(scope(&desk.account)), reaction };
        let refused = desk.channels.react(request).await.expect_err("not whole");
        assert_eq!(reason(&refused), invalid(field));
    }
    let text = v1::content::Kind::Text(v1::TextContent { text: "x".into() });
    let edit = v1::MessageEdit { content: Some(v1::Content { kind: Some(text) }), ..Default::default() };
    let request = v1::EditMessageRequest { scope: Some(scope(&desk.account)), edit: Some(edit) };
    let refused = desk.channels.edit_message(request).await.expect_err("no message is named");
    assert_eq!(reason(&refused), invalid("edit.message_id"));
    let nothing = v1::EditMessageRequest { scope: Some(scope(&desk.account)), edit: None };
    assert_eq!(reason(&desk.channels.edit_message(nothing).await.expect_err("nothing")), invalid("edit"));
    let nobody = v1::CreateChatRequest {
        scope: Some(scope(&desk.account)),
        conversation_id: "c-2".into(),
        ..Default::default()
    };
    assert_eq!(reason(&desk.channels.create_chat(nobody).await.expect_err("nobody")), invalid("user"));
    let nowhere = v1::SendTypingRequest { scope: Some(scope(&desk.account)), ..Default::default() };
    let refused = desk.channels.send_typing(nowhere).await.expect_err("nowhere");
    assert_eq!(reason(&refused), invalid("conversation_id"));
}

#[tokio::test]
async fn errors_say_what_is_wrong() {
    let mut desk = Desk::new().await;
    desk.chat().await;
    let twice = desk.channels.send_message(desk.send("m-1")).await.expect_err("the id is taken");
    assert_eq!(reason(&twice), (Code::InvalidArgument, "REJECTED".into(), None));
    let metadata = twice.get_details_error_info().expect("info").metadata;
    assert_eq!(metadata["http_status"], "400");
    assert!(metadata.contains_key("vendor_error_type") && metadata.contains_key("vendor_error_description"));

    let invalid =
        |field: &str| (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned(), Some(field.to_owned()));
    let broken = |change: fn(&mut v1::SendMessageRequest)| {
        let mut request = desk.send("m-2");
        change(&mut request);
        request
    };
    for (request, expected) in [
        (broken(|request| request.message = None), invalid("message")),
        (broken(|request| request.scope = None), invalid("scope.account_id")),
        (broken(|request| request.message.as_mut().expect("there").sender = None), invalid("message.sender")),
        (
            broken(|request| request.message.as_mut().expect("there").content = None),
            invalid("message.content"),
        ),
        (
            broken(|request| request.message.as_mut().expect("there").message_id.clear()),
            invalid("message.message_id"),
        ),
        (
            broken(|request| request.scope.as_mut().expect("there").channel_id = "other".into()),
            (Code::NotFound, "UNKNOWN_CHANNEL".into(), None),
        ),
    ] {
        let status = desk.channels.send_message(request).await.expect_err("refused");
        assert_eq!(reason(&status), expected);
    }
    for (message, status, expected) in [
        ("m", None, invalid("status.state")),
        ("m", Some((v1::DeliveryState::Failed, None)), invalid("status.error_code")),
        ("m", Some((v1::DeliveryState::Failed, Some(900))), invalid("status.error_code")),
        ("../m", Some((v1::DeliveryState::Read, None)), invalid("message_ref_id")),
        ("m", Some((v1::DeliveryState::Read, None)), (Code::NotFound, "NOT_FOUND".into(), None)),
    ] {
        let status = status.map(|(state, error_code)| v1::DeliveryStatus {
            state: state.into(),
            error_code,
            error: None,
        });
        let scope = Some(scope(&desk.account));
        let request = v1::SetDeliveryStatusRequest { scope, message_ref_id: message.into(), status };
        let status = desk.channels.set_delivery_status(request).await.expect_err("refused");
        assert_eq!(reason(&status), expected);
    }

    let Desk { sandbox, mut channels, account, .. } = desk;
    sandbox.shutdown().await;
    let gone =
        channels.disconnect(v1::DisconnectRequest { scope: Some(scope(&account)) }).await.expect_err("gone");
    assert_eq!(reason(&gone), (Code::Unavailable, "TRANSPORT".into(), None));
}

#[tokio::test]
async fn a_backlog_comes_in_few_messages_and_unsettled_events_come_again() {
    let mut desk = Desk::new().await;
    for n in 0..50 {
        desk.hook(&format!("C{n}"), &format!("M{n}")).await;
    }
    let mut session = desk.stream(subscribe("crm")).await.expect("a stream");
    let first = session.next().await;
    assert_eq!(first.deliveries.len(), 50, "a backlog is not handed out one by one");
    for delivery in &first.deliveries[..49] {
        session.ask(ack(delivery)).await;
    }
    let mut confirmed = 0;
    while confirmed < 49 {
        let settled = session.next().await.settled;
        assert!(settled.iter().all(|settled| settled.ok));
        confirmed += settled.len();
    }
    drop(session);
    let mut again = desk.stream(subscribe("crm")).await.expect("a stream");
    let left = again.deliveries(1).await.remove(0);
    assert_eq!((text(&left), left.attempt), ("M49", 2));

    again.ask(Request::Nack(v1::Nack { ack_id: left.ack_id.clone(), ..Default::default() })).await;
    assert!(again.settled().await.ok);
    let third = again.deliveries(1).await.remove(0);
    assert_eq!(third.attempt, 3);
    again.ask(ack(&left)).await;
    let late = again.settled().await;
    assert_eq!((late.ok, late.reason.as_str()), (false, "LEASE_LOST"), "the old lease settles nothing");
    again.ask(Request::Nack(v1::Nack { ack_id: third.ack_id, dead: true, delay: None })).await;
    assert!(again.settled().await.ok);
    let listed = desk.inbox.list_subscriptions(v1::ListSubscriptionsRequest {}).await.expect("listed");
    let state = listed.into_inner().subscriptions.remove(0);
    assert_eq!((state.name.as_str(), state.unsettled, state.dead), ("crm", 0, 1));
}

#[tokio::test]
async fn max_outstanding_holds_and_a_conversation_waits_for_its_settlement() {
    let mut desk = Desk::new().await;
    for message in ["1", "2"] {
        desk.hook("A", message).await;
    }
    desk.hook("B", "3").await;
    desk.hook("C", "4").await;
    let mut session =
        desk.stream(v1::Subscribe { max_outstanding: 2, ..subscribe("crm") }).await.expect("a stream");
    let mut held = session.deliveries(2).await;
    assert_eq!(held.iter().map(text).collect::<Vec<_>>(), ["1", "3"]);
    let mut order = Vec::new();
    while order.len() < 4 {
        let delivery = held.remove(0);
        session.ask(ack(&delivery)).await;
        order.push(text(&delivery).to_owned());
        if order.len() < 3 {
            held.extend(session.deliveries(1).await);
        }
    }
    assert!(order.iter().position(|text| text == "1") < order.iter().position(|text| text == "2"));
}

#[tokio::test]
async fn max_outstanding_bytes_holds_but_one_event_always_comes() {
    let mut desk = Desk::new().await;
    for (conversation, message) in [("A", "1"), ("B", "2"), ("C", "3")] {
        desk.hook(conversation, message).await;
    }
    let mut session =
        desk.stream(v1::Subscribe { max_outstanding_bytes: 1, ..subscribe("crm") }).await.expect("a stream");
    for expected in ["1", "2", "3"] {
        let held = session.deliveries(1).await;
        assert_eq!(held.iter().map(text).collect::<Vec<_>>(), [expected]);
        let listed = desk.inbox.list_subscriptions(v1::ListSubscriptionsRequest {}).await.expect("listed");
        assert_eq!(listed.into_inner().subscriptions[0].outstanding, 1, "no other one is handed out");
        session.ask(ack(&held[0])).await;
    }
}

#[tokio::test]
async fn settlements_under_way_are_confirmed_after_the_clients_half_close() {
    let mut desk = Desk::new().await;
    desk.hook("A", "1").await;
    let mut session = desk.stream(subscribe("crm")).await.expect("a stream");
    let delivery = session.deliveries(1).await.remove(0);
    session.ask(ack(&delivery)).await;
    session.requests = None;
    assert!(session.settled().await.ok);
    assert!(session.responses.message().await.expect("no error").is_none(), "then the stream ends");
}

#[tokio::test]
async fn leases_can_be_extended_and_nonsense_settles_nothing() {
    let mut desk = Desk::new().await;
    desk.hook("A", "1").await;
    let mut session = desk.stream(subscribe("crm")).await.expect("a stream");
    let ack_id = session.deliveries(1).await.remove(0).ack_id;
    let minus = prost_types::Duration { seconds: -1, nanos: 0 };
    let hour = prost_types::Duration { seconds: 3600, nanos: 0 };
    for (asked, expected) in [
        (Request::ExtendLease(v1::ExtendLease { ack_id: ack_id.clone(), lease: Some(hour) }), (true, "")),
        (
            Request::ExtendLease(v1::ExtendLease { ack_id: ack_id.clone(), lease: Some(minus) }),
            (false, "INVALID_ARGUMENT"),
        ),
        (
            Request::ExtendLease(v1::ExtendLease { ack_id: "f.f.f".into(), lease: None }),
            (false, "LEASE_LOST"),
        ),
        (
            Request::Ack(v1::Ack { ack_id: "nonsense".into(), ..Default::default() }),
            (false, "INVALID_ARGUMENT"),
        ),
        (
            Request::Nack(v1::Nack { ack_id: ack_id.clone(), delay: Some(minus), dead: false }),
            (false, "INVALID_ARGUMENT"),
        ),
        (Request::Subscribe(subscribe("again")), (false, "INVALID_ARGUMENT")),
        (Request::Ack(v1::Ack { ack_id, ..Default::default() }), (true, "")),
    ] {
        session.ask(asked).await;
        let settled = session.settled().await;
        assert_eq!((settled.ok, settled.reason.as_str()), expected, "{}", settled.message);
    }
}

#[tokio::test]
async fn streams_that_cannot_be_are_refused() {
    let mut desk = Desk::new().await;
    let lease = Some(prost_types::Duration { seconds: 0, nanos: 1 });
    let named = |name: &str| v1::Subscribe { subscription: name.into(), ..Default::default() };
    let invalid =
        |field: &str| (Code::InvalidArgument, "INVALID_ARGUMENT".to_owned(), Some(field.to_owned()));
    for (asked, expected) in [
        (named("none"), (Code::NotFound, "SUBSCRIPTION_NOT_FOUND".to_owned(), None)),
        (subscribe("no spaces"), invalid("subscribe.subscription")),
        (v1::Subscribe { temporary: true, ..named("named") }, invalid("subscribe.subscription")),
        (v1::Subscribe { lease, ..subscribe("crm") }, invalid("subscribe.lease")),
        (v1::Subscribe { max_outstanding: 10_001, ..subscribe("crm") }, invalid("subscribe.max_outstanding")),
    ] {
        let status = desk.stream(asked).await.err().expect("refused");
        assert_eq!(reason(&status), expected);
    }
    let (requests, outgoing) = mpsc::channel(1);
    requests.send(request(Request::Ack(v1::Ack::default()))).await.expect("room");
    let status = desk.inbox.stream_events(ReceiverStream::new(outgoing)).await.expect_err("no subscribe");
    assert_eq!(reason(&status), invalid("subscribe"));
}

#[tokio::test]
async fn subscriptions_are_made_listed_and_deleted() {
    let mut desk = Desk::new().await;
    desk.hook("A", "before").await;
    let now = v1::CreateOptions { start: Some(v1::create_options::Start::Now(true)), ..Default::default() };
    let create = |name: &str, options| v1::CreateSubscriptionRequest { name: name.into(), options };
    let made = desk.inbox.create_subscription(create("late", Some(now))).await.expect("made").into_inner();
    assert_eq!(made.subscription.expect("there").unsettled, 0);
    let made = desk.inbox.create_subscription(create("early", None)).await.expect("made").into_inner();
    assert_eq!(made.subscription.expect("there").unsettled, 1);
    assert_eq!(desk.names().await, ["early", "late"]);
    let refused = desk.inbox.create_subscription(create("", None)).await.expect_err("no name");
    assert_eq!(reason(&refused).2.as_deref(), Some("name"));

    let mut session = desk.stream(subscribe("early")).await.expect("a stream");
    let delete = || v1::DeleteSubscriptionRequest { name: "early".into() };
    desk.inbox.delete_subscription(delete()).await.expect("deleted");
    assert_eq!(reason(&session.end().await).1, "SUBSCRIPTION_NOT_FOUND");
    let again = desk.inbox.delete_subscription(delete()).await.expect_err("gone");
    assert_eq!(again.code(), Code::NotFound);
}

#[tokio::test]
async fn a_temporary_subscription_sees_what_happens_now_and_leaves_no_trace() {
    let mut desk = Desk::new().await;
    let chat = desk.chat().await;
    desk.hook("A", "before").await;
    let temporary = v1::Subscribe { temporary: true, ..Default::default() };
    let mut session = desk.stream(temporary).await.expect("a stream");
    assert!(desk.names().await.is_empty());
    desk.sandbox.typing(&chat).await.expect("typed");
    let typing = session.deliveries(1).await.remove(0);
    assert!(typing.ack_id.is_empty(), "typing needs no settlement");
    assert!(matches!(typing.event.expect("an event").kind, Some(v1::event::Kind::Typing(_))));
    desk.hook("A", "now").await;
    assert_eq!(text(&session.deliveries(1).await[0]), "now");
}

#[tokio::test]
async fn a_client_that_never_reads_disturbs_nobody() {
    let mut desk = Desk::new().await;
    let deaf =
        desk.stream(v1::Subscribe { max_outstanding: 10_000, ..subscribe("deaf") }).await.expect("a stream");
    let mut crm = desk.stream(subscribe("crm")).await.expect("a stream");
    let large = "x".repeat(100_000);
    for n in 0..100 {
        desk.hook(&format!("C{n}"), &format!("{n}-{large}")).await;
        let delivery = crm.deliveries(1).await.remove(0);
        crm.ask(ack(&delivery)).await;
        assert!(crm.settled().await.ok);
    }
    drop(deaf);
}

#[tokio::test]
async fn a_backlog_of_large_events_fits_into_the_messages_that_clients_take() {
    let mut desk = Desk::new().await;
    let large = "x".repeat(300_000);
    for n in 0..20 {
        desk.hook(&format!("C{n}"), &format!("{n}-{large}")).await;
    }
    let mut session = desk.stream(subscribe("crm")).await.expect("a stream");
    session.deliveries(20).await;
}

#[tokio::test]
async fn health_and_reflection_answer_other_peoples_tools() {
    let desk = Desk::new().await;
    let uri = format!("http://{}", desk.server.grpc_address());
    let connection = Channel::from_shared(uri).expect("an address").connect().await.expect("connected");
    let mut health = tonic_health::pb::health_client::HealthClient::new(connection.clone());
    for service in ["", "amochats.v1.ChannelService", "amochats.v1.InboxService"] {
        let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
        let status = health.check(request).await.expect("known").into_inner().status();
        assert_eq!(status, tonic_health::pb::health_check_response::ServingStatus::Serving);
    }
    let mut reflection = ServerReflectionClient::new(connection);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let mut answers =
        reflection.server_reflection_info(tokio_stream::once(request)).await.expect("answered").into_inner();
    let answer = answers.message().await.expect("no error").expect("an answer");
    let Some(MessageResponse::ListServicesResponse(listed)) = answer.message_response else {
        panic!("a list")
    };
    let names: Vec<_> = listed.service.iter().map(|service| service.name.as_str()).collect();
    assert!(
        names.contains(&"amochats.v1.InboxService") && names.contains(&"grpc.health.v1.Health"),
        "{names:?}"
    );
}

#[tokio::test]
async fn a_stop_gives_back_what_streams_hold_and_says_goodbye() {
    let mut desk = Desk::new().await;
    desk.hook("A", "1").await;
    let mut session = desk.stream(subscribe("crm")).await.expect("a stream");
    session.deliveries(1).await;
    let ended = tokio::spawn(async move { session.end().await });
    let Desk { server, .. } = desk;
    server.shutdown(Duration::from_secs(30)).await;
    assert_eq!(reason(&ended.await.expect("no panic")), (Code::Unavailable, "CLOSED".into(), None));
}

#[test]
fn a_public_address_without_protection_is_refused() {
    let toml = |extra: &str| {
        format!(
            "[grpc]\naddress = \"0.0.0.0:1\"\n{extra}\n[[channel]]\nid = \"c\"\nsecret = \"s\"\nregion = \"ru\"\n"
        )
    };
    let error = ServerConfig::load(&toml(""), []).expect_err("anybody could read");
    assert_eq!(error.field(), Some("grpc.address"));
    let config = ServerConfig::load(&toml("allow_public = true"), []).expect("asked for");
    assert!(config.grpc.allow_public);
    let environment = [("AMOCHATS_GRPC_ADDRESS".to_owned(), "127.0.0.1:7".to_owned())];
    let config = ServerConfig::load(&toml(""), environment).expect("the environment wins");
    assert_eq!(config.grpc.address.port(), 7);
    let default = ServerConfig::load(&ServerConfig::example(), []).expect("the example is valid");
    assert_eq!(default.grpc.address, GrpcConfig::default().address);
}
