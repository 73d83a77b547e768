//! Traces: what a collector on loopback gets from the command, and what it must not get.
#![cfg(feature = "otlp")]

mod traced;

use amochats_proto::v1;
use amochats_proto::v1::backfill_service_client::BackfillServiceClient;
use amochats_proto::v1::channel_service_client::ChannelServiceClient;
use amochats_proto::v1::enqueue_request::Call;
use amochats_proto::v1::inbox_service_client::InboxServiceClient;
use amochats_proto::v1::outbox_service_client::OutboxServiceClient;
use traced::{Collector, TEXT, Traced, soon};

#[tokio::test]
async fn a_webhook_its_settle_calls_and_backfill_are_traced_without_their_contents() {
    let mut collector = Collector::start().await;
    let mut server = Traced::start(&collector.endpoint()).await;
    server.hook(200).await;
    let channel = server.connect().await;
    let scope = Some(server.scope());
    let connect = v1::ConnectRequest { scope: scope.clone(), ..Default::default() };
    ChannelServiceClient::new(channel.clone()).connect(connect).await.expect("connected");

    let mut inbox = InboxServiceClient::new(channel.clone());
    // Oldest first is the default.
    let create = v1::CreateOptions::default();
    let pull =
        v1::PullEventsRequest { subscription: "crm".into(), create: Some(create), ..Default::default() };
    let mut pulled = inbox.pull_events(pull).await.expect("pulled").into_inner().deliveries;
    let delivery = pulled.pop().expect("a delivery");
    let event_id = delivery.event.expect("an event").event_id;
    let ack = v1::Ack { ack_id: delivery.ack_id.clone(), ..Default::default() };
    let ack = v1::Settlement { settlement: Some(v1::settlement::Settlement::Ack(ack)) };
    inbox.settle_events(v1::SettleEventsRequest { settlements: vec![ack] }).await.expect("settled");

    let mut outbox = OutboxServiceClient::new(channel.clone());
    let enqueue =
        v1::EnqueueRequest { scope, call: Some(Call::Message(traced::message())), ..Default::default() };
    let item = outbox.enqueue(enqueue).await.expect("kept").into_inner().item.expect("an item");
    let get = v1::GetItemRequest { item_id: item.item_id.clone() };
    soon("the end of the item", async {
        while outbox
            .get_item(get.clone())
            .await
            .expect("found")
            .into_inner()
            .item
            .expect("an item")
            .ended_at
            .is_none()
        {}
    })
    .await;
    let mut backfill = BackfillServiceClient::new(channel);
    backfill.start_backfill(v1::StartBackfillRequest::default()).await.expect("begun");
    soon("the end of the backfill", async {
        let status = v1::GetBackfillRequest::default();
        while backfill
            .get_backfill(status)
            .await
            .expect("told")
            .into_inner()
            .progress
            .expect("progress")
            .running
        {}
    })
    .await;
    // What is not sent yet is sent at the stop.
    let said = server.stop().await;
    assert!(!said.contains("traces"), "nothing to complain of: {said}");

    let spans = collector.spans();
    let named = |name: &str| {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name}: {spans:?}"))
    };
    let webhook = named("webhook");
    assert_eq!(webhook.attribute("scope_id"), server.scope_id());
    assert_eq!(webhook.attribute("status"), "200");
    assert_eq!(webhook.events, ["verified", "kept"]);
    assert_eq!(webhook.event_attribute("event_id"), event_id);
    let settle = named("settle");
    assert_eq!((settle.attribute("ack_id"), settle.attribute("verdict")), (delivery.ack_id, "ack".into()));
    let call = named("outbox");
    assert_eq!((call.attribute("item_id"), call.attribute("call")), (item.item_id, "send_message".into()));
    assert_eq!((call.attribute("attempt"), call.attribute("outcome")), ("1".into(), "ok".into()));
    assert_eq!(named("backfill").attribute("scope_id"), server.scope_id());
    let methods: Vec<_> =
        spans.iter().filter(|span| span.name == "grpc").map(|span| span.attribute("rpc.method")).collect();
    assert!(methods.contains(&"/amochats.v1.InboxService/SettleEvents".into()), "{methods:?}");

    let all = format!("{spans:?}");
    for private in [TEXT, &server.secret(), "Privatova", "+7 900"] {
        assert!(!all.contains(private), "{private:?} is in the traces");
    }
}

#[tokio::test]
async fn a_refused_webhook_is_traced_as_such() {
    let mut collector = Collector::start().await;
    let mut server = Traced::start(&collector.endpoint()).await;
    server.hook(401).await;
    server.stop().await;
    let spans = collector.spans();
    let webhook = spans.iter().find(|span| span.name == "webhook").expect("a span");
    assert_eq!((webhook.attribute("status"), webhook.events.len()), ("401".into(), 0));
}

#[tokio::test]
async fn a_collector_that_is_down_costs_a_line() {
    let mut server = Traced::start(&traced::nobody().await).await;
    server.hook(200).await;
    let said = server.stop().await;
    assert_eq!(said.matches("the collector does not take traces").count(), 1, "{said}");
    assert!(!said.contains("ERROR"), "{said}");
}
