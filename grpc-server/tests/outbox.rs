//! `OutboxService` through a real connection, with the sandbox as the CRM.

use amochats_proto::v1;
use amochats_proto::v1::backfill_service_client::BackfillServiceClient;
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::enqueue_request::Call;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::outbox_service_client::OutboxServiceClient;
use amochats_proto::v1::stream_events_request::Request;
use amochats_sandbox::{Content, Delivery as Ticks, Sandbox, SandboxConfig};
use amochats_server::{Server, ServerConfig};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// A guard against hanging for ever; no test depends on its length.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .unwrap_or_else(|_| panic!("no {what} in half a minute"))
}

/// A CRM, a server in front of it, and clients of its services.
struct Desk {
    sandbox: Sandbox,
    server: Server,
    outbox: OutboxServiceClient<Channel>,
    inbox: InboxServiceClient<Channel>,
    account: String,
    _folder: tempfile::TempDir,
}

impl Desk {
    async fn new() -> Self {
        let desk = Self::unconnected().await;
        let uri = format!("http://{}", desk.server.grpc_address());
        let connection = Channel::from_shared(uri).expect("an address").connect().await.expect("connected");
        let connect = v1::ConnectRequest { scope: Some(desk.scope()), ..Default::default() };
        ChannelServiceClient::new(connection).connect(connect).await.expect("connected");
        desk
    }

    /// The account is not connected: the CRM answers 403.
    async fn unconnected() -> Self {
        let sandbox = Sandbox::start(SandboxConfig::default()).await.expect("a sandbox");
        let folder = tempfile::tempdir().expect("a folder");
        let toml = format!(
            "[listener]\naddress = \"127.0.0.1:0\"\n[admin]\naddress = \"127.0.0.1:0\"\n[grpc]\n\
             address = \"127.0.0.1:0\"\n[store]\npath = \"{}\"\n[[channel]]\nid = \"{}\"\n\
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
        Self {
            sandbox,
            server,
            outbox: OutboxServiceClient::new(connection.clone()),
            inbox: InboxServiceClient::new(connection),
            account,
            _folder: folder,
        }
    }

    fn scope(&self) -> v1::Scope {
        v1::Scope { channel_id: String::new(), account_id: self.account.clone() }
    }

    fn request(&self, call: Call) -> v1::EnqueueRequest {
        v1::EnqueueRequest { scope: Some(self.scope()), call: Some(call), ..Default::default() }
    }

    async fn enqueue(&mut self, call: Call) -> Result<v1::OutboxItem, Status> {
        let request = self.request(call);
        Ok(self.outbox.enqueue(request).await?.into_inner().item.expect("an item"))
    }

    async fn get(&mut self, item_id: &str) -> v1::GetItemResponse {
        let request = v1::GetItemRequest { item_id: item_id.into() };
        self.outbox.get_item(request).await.expect("found").into_inner()
    }

    /// Waits until an item has come to its end.
    async fn end(&mut self, item_id: &str) -> v1::OutboxItem {
        soon("end of the item", async {
            loop {
                let item = self.get(item_id).await.item.expect("an item");
                if item.ended_at.is_some() {
                    return item;
                }
            }
        })
        .await
    }

    async fn list(&mut self, states: &[v1::OutboxState], page_size: u32) -> Vec<String> {
        let states = states.iter().map(|state| (*state).into()).collect();
        let mut request = v1::ListItemsRequest { states, page_size, ..Default::default() };
        let mut all = Vec::new();
        loop {
            let page = self.outbox.list_items(request.clone()).await.expect("listed").into_inner();
            assert!(page.items.len() <= page_size as usize);
            all.extend(page.items.into_iter().map(|item| item.item_id));
            request.page_token = page.next_page_token;
            if request.page_token.is_empty() {
                return all;
            }
        }
    }
}

fn message(message_id: &str) -> v1::Message {
    let text = v1::content::Kind::Text(v1::TextContent { text: "hello".into() });
    v1::Message {
        message_id: message_id.into(),
        conversation_id: "c-1".into(),
        sender: Some(v1::Sender { user_id: "u-1".into(), name: "Client".into(), ..Default::default() }),
        content: Some(v1::Content { kind: Some(text) }),
        ..Default::default()
    }
}

#[tokio::test]
async fn every_call_goes_through() {
    let mut desk = Desk::new().await;
    let user = Some(v1::Sender { user_id: "u-1".into(), name: "Client".into(), ..Default::default() });
    let new_chat = v1::NewChat { conversation_id: "c-1".into(), user, ..Default::default() };
    let edit = v1::MessageEdit {
        message_id: Some("m-1".into()),
        conversation_id: "c-1".into(),
        content: message("m-1").content,
        ..Default::default()
    };
    let reaction = v1::Reaction {
        conversation_id: Some("c-1".into()),
        message_id: Some("m-1".into()),
        user_id: Some("u-1".into()),
        kind: v1::ReactionKind::React.into(),
        emoji: Some("👍".into()),
        ..Default::default()
    };
    let vendor = v1::VendorCall {
        call: "send_message".into(),
        body: r#"{"event_type":"new_message","payload":{"timestamp":4102444800,"msgid":"m-2","conversation_id":"c-1",
                 "sender":{"id":"u-1","name":"Client"},"message":{"type":"text","text":"more"},
                 "reply_to":{"message":{"msgid":"m-1"}}}}"#
            .into(),
        ..Default::default()
    };
    let mut items = Vec::new();
    for (call, name) in [
        (Call::NewChat(new_chat), "create_chat"),
        (Call::Message(message("m-1")), "send_message"),
        (Call::Edit(edit), "edit_message"),
        (Call::Reaction(reaction), "react"),
        (Call::VendorCall(vendor), "send_message"),
    ] {
        let item = desk.enqueue(call).await.expect("kept");
        assert_eq!((item.call.as_str(), item.conversation_id.as_deref()), (name, Some("c-1")));
        items.push(item.item_id);
    }
    for item in &items {
        let ended = desk.end(item).await;
        assert_eq!(
            (ended.state(), ended.attempts, ended.problem),
            (v1::OutboxState::Sent, 1, None),
            "{item}"
        );
    }
    let chat = desk.sandbox.chats().remove(0);
    let texts: Vec<String> = desk
        .sandbox
        .messages(&chat.conversation_ref_id)
        .into_iter()
        .filter_map(|m| m.message_id)
        .map(Into::into)
        .collect();
    assert_eq!(texts, ["m-1", "m-2"], "in the order in which they were enqueued");
    let found = desk.get(&items[1]).await;
    assert_eq!(found.item.expect("an item").conversation_ref_id, Some(chat.conversation_ref_id.to_string()));
    let body: serde_json::Value = serde_json::from_slice(&found.body).expect("JSON");
    assert_eq!(body["payload"]["msgid"], "m-1");
    assert_eq!(desk.list(&[v1::OutboxState::Sent], 2).await, items);
    assert_eq!(desk.list(&[v1::OutboxState::Rejected, v1::OutboxState::Unknown], 2).await, [""; 0]);
    desk.server.shutdown(Duration::from_secs(10)).await;
}

#[tokio::test]
async fn a_repeated_request_is_one_item() {
    let mut desk = Desk::new().await;
    let first = desk.enqueue(Call::Message(message("m-1"))).await.expect("kept");
    desk.end(&first.item_id).await;
    // It names no time, so that it is a later one.
    let again = desk.enqueue(Call::Message(message("m-1"))).await.expect("known");
    assert_eq!((again.item_id.as_str(), again.state()), (first.item_id.as_str(), v1::OutboxState::Sent));
    let other = v1::Message { silent: true, ..message("m-1") };
    let status = desk.enqueue(Call::Message(other)).await.expect_err("another message of the same id");
    assert_eq!(status.code(), Code::InvalidArgument);
    let details = status.get_details_bad_request().expect("a field");
    assert_eq!(details.field_violations[0].field, "message.message_id");
    assert_eq!(desk.list(&[], 10).await, [first.item_id]);
}

#[tokio::test]
async fn a_refusal_brings_the_services_words() {
    let mut desk = Desk::unconnected().await;
    let item = desk.enqueue(Call::Message(message("m-1"))).await.expect("kept");
    let ended = desk.end(&item.item_id).await;
    assert_eq!(ended.state(), v1::OutboxState::Rejected);
    let problem = ended.problem.expect("why");
    assert_eq!((problem.reason.as_str(), problem.http_status), ("FORBIDDEN", Some(403)));
    assert!(problem.vendor_error_description.is_some_and(|words| !words.is_empty()));
}

#[tokio::test]
async fn bad_requests_name_the_field() {
    let mut desk = Desk::new().await;
    let report = |status| v1::DeliveryReport { message_ref_id: "M".into(), status, ..Default::default() };
    let delivered = v1::DeliveryStatus { state: v1::DeliveryState::Delivered.into(), ..Default::default() };
    let vendor = |call: &str| v1::VendorCall { call: call.into(), body: "{}".into(), ..Default::default() };
    for (call, field) in [
        (Call::Message(v1::Message { message_id: String::new(), ..message("") }), "message.message_id"),
        (Call::DeliveryReport(report(None)), "delivery_report.status.state"),
        (
            Call::DeliveryReport(v1::DeliveryReport {
                message_ref_id: "a/b".into(),
                ..report(Some(delivered))
            }),
            "delivery_report.message_ref_id",
        ),
        (Call::NewChat(v1::NewChat::default()), "new_chat.user"),
        (Call::Reaction(v1::Reaction::default()), "reaction.kind"),
        (Call::VendorCall(vendor("send_typing")), "vendor_call.call"),
        (Call::VendorCall(vendor("set_delivery_status")), "vendor_call.message_ref_id"),
    ] {
        let status = desk.enqueue(call).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{field}");
        let details = status.get_details_bad_request().expect("a field");
        assert_eq!(details.field_violations[0].field, field);
        assert!(status.message().starts_with(&format!("{field}: ")), "{}", status.message());
    }
    let missing = desk.outbox.enqueue(v1::EnqueueRequest { scope: Some(desk.scope()), ..Default::default() });
    assert_eq!(missing.await.expect_err("no call").code(), Code::InvalidArgument);
    let nothing = v1::GetItemRequest { item_id: "none".into() };
    assert_eq!(desk.outbox.get_item(nothing).await.expect_err("none").code(), Code::NotFound);
    let nothing = v1::CancelItemRequest { item_id: "none".into() };
    assert_eq!(desk.outbox.cancel_item(nothing).await.expect_err("none").code(), Code::NotFound);
    assert_eq!(desk.list(&[], 10).await, [""; 0], "nothing was kept");
}

#[tokio::test]
async fn what_was_sent_cannot_be_taken_back() {
    let mut desk = Desk::new().await;
    let item = desk.enqueue(Call::Message(message("m-1"))).await.expect("kept");
    desk.end(&item.item_id).await;
    let cancel = v1::CancelItemRequest { item_id: item.item_id };
    let status = desk.outbox.cancel_item(cancel).await.expect_err("too late");
    assert_eq!(
        (status.code(), status.message()),
        (Code::FailedPrecondition, "it is too late to cancel: the item is sent")
    );
}

#[tokio::test]
async fn an_acknowledgement_reports_the_delivery() {
    let mut desk = Desk::new().await;
    let item = desk.enqueue(Call::Message(message("m-1"))).await.expect("kept");
    let chat = desk.end(&item.item_id).await.conversation_ref_id.expect("named by the CRM").into();

    let (requests, outgoing) = mpsc::channel(10);
    let ask = async |request| {
        requests.send(v1::StreamEventsRequest { request: Some(request) }).await.expect("sent");
    };
    let create =
        v1::CreateOptions { start: Some(v1::create_options::Start::Oldest(true)), ..Default::default() };
    ask(Request::Subscribe(v1::Subscribe {
        subscription: "crm".into(),
        create: Some(create),
        ..Default::default()
    }))
    .await;
    let mut stream =
        desk.inbox.stream_events(ReceiverStream::new(outgoing)).await.expect("a stream").into_inner();
    let answered = desk.sandbox.answer(&chat, Content::text("hi")).await.expect("answered");
    let delivery = soon("delivery", async {
        loop {
            let response = stream.message().await.expect("no error").expect("not ended");
            if let Some(delivery) = response.deliveries.into_iter().next() {
                return delivery;
            }
        }
    })
    .await;
    let failed =
        v1::DeliveryStatus { state: v1::DeliveryState::Failed.into(), error_code: Some(905), error: None };
    let read = v1::DeliveryStatus { state: v1::DeliveryState::Read.into(), ..Default::default() };
    for status in [failed, read] {
        ask(Request::Ack(v1::Ack { ack_id: delivery.ack_id.clone(), delivery_status: Some(status) })).await;
    }
    let mut settled = Vec::new();
    while settled.len() < 2 {
        settled.extend(soon("settlement", stream.message()).await.expect("no error").expect("open").settled);
    }
    settled.sort_by_key(|settled| settled.ok);
    assert_eq!((settled[0].ok, settled[0].reason.as_str()), (false, "INVALID_ARGUMENT"), "905 needs words");
    assert!(settled[1].ok, "{}", settled[1].message);
    let ended = desk.end(&settled[1].outbox_item_id).await;
    assert_eq!((ended.state(), ended.call.as_str()), (v1::OutboxState::Sent, "set_delivery_status"));
    let messages = desk.sandbox.messages(&chat);
    let reported = messages.iter().find(|message| message.message_ref_id == answered.message_ref_id);
    assert_eq!(reported.map(|message| message.delivery.clone()), Some(Ticks::Read));
}

#[tokio::test]
async fn results_come_to_whoever_asks_for_them() {
    let mut desk = Desk::new().await;
    let create = |kind: &str| v1::CreateOptions { kinds: vec![kind.into()], ..Default::default() };
    let odd = v1::CreateSubscriptionRequest { name: "odd".into(), options: Some(create("results")) };
    let status = desk.inbox.create_subscription(odd).await.expect_err("no such kind");
    assert_eq!(status.code(), Code::InvalidArgument);
    let all = v1::CreateSubscriptionRequest { name: "all".into(), options: None };
    desk.inbox.create_subscription(all).await.expect("made");

    let (requests, outgoing) = mpsc::channel(10);
    let subscribe = v1::Subscribe {
        subscription: "results".into(),
        create: Some(create("outbox")),
        ..Default::default()
    };
    let subscribe = v1::StreamEventsRequest { request: Some(Request::Subscribe(subscribe)) };
    requests.send(subscribe).await.expect("sent");
    let mut stream =
        desk.inbox.stream_events(ReceiverStream::new(outgoing)).await.expect("a stream").into_inner();
    let item = desk.enqueue(Call::Message(message("m-1"))).await.expect("kept");
    let event = soon("result", async {
        loop {
            let response = stream.message().await.expect("no error").expect("not ended");
            if let Some(delivery) = response.deliveries.into_iter().next() {
                return delivery.event.expect("an event");
            }
        }
    })
    .await;
    assert_eq!(event.origin(), v1::Origin::Outbox);
    let Some(v1::event::Kind::Outbox(told)) = event.kind else { panic!("{event:?}") };
    assert_eq!((told.item_id, told.message_id.as_deref()), (item.item_id, Some("m-1")));
    assert_eq!(told.state, i32::from(v1::OutboxState::Sent));
}

#[tokio::test]
async fn a_backfill_brings_what_no_webhook_did() {
    let mut desk = Desk::new().await;
    let item = desk.enqueue(Call::Message(message("m-1"))).await.expect("kept");
    let chat = desk.end(&item.item_id).await.conversation_ref_id.expect("named by the CRM").into();
    // Its webhook goes to nobody.
    desk.sandbox.set_webhook_url("http://127.0.0.1:9/webhook/:scope_id").expect("an address");
    let lost = desk.sandbox.answer(&chat, Content::text("are you there?")).await.expect("written");

    let uri = format!("http://{}", desk.server.grpc_address());
    let connection = Channel::from_shared(uri).expect("an address").connect().await.expect("connected");
    let mut backfill = BackfillServiceClient::new(connection);
    backfill.start_backfill(v1::StartBackfillRequest {}).await.expect("begun");
    let progress = soon("end of the backfill", async {
        loop {
            let got = backfill.get_backfill(v1::GetBackfillRequest {}).await.expect("known").into_inner();
            let progress = got.progress.expect("always");
            if !progress.running {
                return progress;
            }
        }
    })
    .await;
    assert_eq!((progress.pending, progress.failed, progress.appended), (0, 0, 1));
    let listed =
        backfill.list_unreported(v1::ListUnreportedRequest::default()).await.expect("listed").into_inner();
    assert_eq!(listed.events.len(), 1);
    assert_eq!(listed.events[0].origin(), v1::Origin::Backfill);
    let Some(v1::event::Kind::Message(found)) = &listed.events[0].kind else { panic!("{listed:?}") };
    assert_eq!(found.message_ref_id, Some(lost.message_ref_id.to_string()));
    assert_eq!((found.text.as_str(), found.conversation_id.as_deref()), ("are you there?", Some("c-1")));
}
