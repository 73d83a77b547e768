//! The outbox against a service that lies, drops and refuses. The test answers each request itself
//! and turns the clock, so nothing here depends on how long anything takes.

mod backfill;
#[expect(dead_code, reason = "most of it is for webhooks")]
#[path = "../support/mod.rs"]
mod support;
mod world;
use amochats::{ChannelSecret, Content, DeliveryStatus, ErrorKind, Reaction, sign_body};
use amochats_runtime::clock::Clock;
use amochats_runtime::outbox::{Call, Item, ItemFilter, ItemState, NewItem};
use amochats_runtime::store::{MemoryStore, SqliteStore, Start, Store};
use amochats_runtime::{ConsumerOptions, Runtime};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use world::*;

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
async fn a_service_that_is_not_there_says_when_it_will_be() {
    let mut world = World::with("circuit_failures = 100\nmin_delay_ms = 1").await;
    let item = world.send("a", "a1").await;
    let asked = world.service.expect("message").await;
    let began = world.clock.monotonic();
    asked.answer("503 Service Unavailable", "Retry-After: 100\r\n", "").await;
    world.until(&item, ItemState::Queued).await;
    while world.clock.since(began) < SECOND * 100 {
        for _ in 0..10 {
            // Round trips, in which a call would have been made.
            world.metrics().await;
        }
        assert!(world.service.nothing_came(), "not before the time that was named");
        world.clock.next(SECOND * 100).await;
    }
    world.service.expect("message").await.take().await;
    assert_eq!(world.end(&item).await.state, ItemState::Sent);
}

#[tokio::test]
async fn the_whole_account_waits_for_as_long_as_nobody_named() {
    // The service names no time: the first delay is the pause.
    let mut world = World::with("min_delay_ms = 300000").await;
    let item = world.send("a", "a1").await;
    world.service.expect("message").await.answer("429 Too Many Requests", "", "").await;
    world.until(&item, ItemState::Queued).await;
    let other = world.send("b", "b1").await;
    let began = world.clock.monotonic();
    while world.clock.since(began) < SECOND * 300 {
        assert!(world.service.nothing_came(), "the other conversation waits, too");
        world.clock.next(SECOND * 300).await;
    }
    for _ in 0..2 {
        world.service.expect("message").await.take().await;
    }
    for item in [item, other] {
        assert_eq!(world.end(&item).await.state, ItemState::Sent);
    }
}

#[tokio::test]
async fn a_refusal_after_an_attempt_that_may_have_been_taken_is_unknown() {
    let mut world = World::with("min_delay_ms = 1").await;
    let item = world.enqueue(status("M")).await;
    world.service.expect("delivery_status").await.vanish();
    world.until(&item, ItemState::Queued).await;
    world.clock.advance(SECOND);
    world.service.expect("delivery_status").await.refuse().await;
    let ended = world.end(&item).await;
    assert_eq!(ended.state, ItemState::Unknown, "the first attempt may be why the second was refused");
    assert_eq!(ended.problem.map(|problem| problem.kind), Some(ErrorKind::Rejected));
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
    let mut world = World::over(store.clone(), Service::start().await, "").await;
    let (item, next) = (world.send("c", "m").await, world.send("c", "next").await);
    let asked = world.service.expect("message").await;
    let stopping = tokio::spawn(world.runtime.shutdown(Duration::from_secs(30)));
    for _ in 0..100 {
        store.ping().await.expect("open until the answer is kept");
    }
    asked.take().await;
    soon("stop", stopping).await.expect("no panic");
    assert!(world.service.nothing_came(), "nothing new goes out");
    drop(store);
    let store = SqliteStore::open(&path).await.expect("an old store");
    let state =
        async |item: &Item| store.outbox().item(&item.item_id).await.expect("read").expect("kept").state;
    assert_eq!((state(&item).await, state(&next).await), (ItemState::Sent, ItemState::Queued));
}

#[tokio::test]
async fn what_a_store_kept_while_it_said_no_is_counted_right_and_sent() {
    let store = Arc::new(support::TestStore::default());
    let mut world = World::over(store.clone(), Service::start().await, "").await;
    store.deny_once();
    let denied = world
        .runtime
        .outbox()
        .enqueue(NewItem::new(scope(), message_to("c-1", "m-1")))
        .await
        .expect_err("no");
    assert_eq!(denied.kind(), ErrorKind::StoreFailed);
    // Whoever is told so tries again.
    let item = world.send("c-1", "m-1").await;
    world.service.expect("message").await.take().await;
    assert_eq!(world.end(&item).await.state, ItemState::Sent);
    let next = world.send("c-1", "m-2").await;
    world.service.expect("message").await.take().await;
    assert_eq!(world.end(&next).await.state, ItemState::Sent, "there is room");
}

#[tokio::test]
async fn a_beginning_that_the_store_denied_is_begun_again() {
    let store = Arc::new(support::TestStore::default());
    let mut world = World::over(store.clone(), Service::start().await, "").await;
    let held = world.send("c-1", "m-1").await;
    let asked = world.service.expect("message").await;
    let item = world.send("c-1", "m-2").await;
    store.deny_once();
    asked.take().await;
    world.end(&held).await;
    soon("denial", async {
        while !store.has_denied() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.clock.next(SECOND).await;
    world.service.expect("message").await.take().await;
    assert_eq!(world.end(&item).await.state, ItemState::Sent);

    // The same where it was looked for, and is sent once more.
    let lost = world.send("c-2", "m-3").await;
    let asked = world.service.expect("message").await;
    store.deny_once();
    asked.vanish();
    let again = nothing_is_found(&mut world).await;
    assert!(store.has_denied());
    assert_eq!((again.what(), again.message()), ("message", "m-3"));
    again.take().await;
    let ended = world.end(&lost).await;
    assert_eq!((ended.state, ended.repeated), (ItemState::Sent, true));
}

#[tokio::test]
async fn however_many_wait_for_another_attempt_hold_up_no_other() {
    let service = Service::start().await;
    let mut config = config(&service, "");
    config.outbox.circuit_failures = 1000;
    let (clock, store) = (Arc::new(TestClock::new()), Arc::new(MemoryStore::default()));
    let runtime = Runtime::start_with(&config, store, clock.clone()).await.expect("started");
    let mut world = World { runtime, service, clock };
    for number in 0..40 {
        world.enqueue(status(&format!("M-{number}"))).await;
    }
    for _ in 0..40 {
        let asked = world.service.expect("delivery_status").await;
        asked.answer("500 Internal Server Error", "", "").await;
    }
    let item = world.enqueue(status("M-last")).await;
    world.service.expect("delivery_status").await.answer("200 OK", "", "").await;
    assert_eq!(world.end(&item).await.state, ItemState::Sent);
}
