//! `PullEvents` and `SettleEvents`: the inbox for clients without streams.

mod desk;

use amochats_proto::v1;
use amochats_proto::v1::settlement::Settlement;
use desk::{ACCOUNT, Desk, ack, dead, invalid, reason, scope_id, text};
use std::time::Duration;
use tonic::{Code, Request};

fn oldest() -> v1::CreateOptions {
    v1::CreateOptions::default()
}

fn seconds(seconds: i64) -> prost_types::Duration {
    prost_types::Duration { seconds, nanos: 0 }
}

#[tokio::test]
async fn pulled_events_are_settled_together_each_for_itself() {
    let mut desk = Desk::new().await;
    for (conversation, message) in [("A", "a1"), ("A", "a2"), ("B", "b1"), ("C", "c1"), ("D", "d1")] {
        desk.message(conversation, message).await;
    }
    let create = Some(oldest());
    let first =
        v1::PullEventsRequest { subscription: "crm".into(), max_events: 3, create, ..Default::default() };
    let pulled = desk.inbox.pull_events(first).await.expect("pulled").into_inner().deliveries;
    assert_eq!(pulled.iter().map(text).collect::<Vec<_>>(), ["a1", "b1", "c1"], "one of a conversation");
    let more = desk.pull("crm", 10).await;
    assert_eq!(more.iter().map(text).collect::<Vec<_>>(), ["d1"]);

    let extend = v1::ExtendLease { ack_id: pulled[2].ack_id.clone(), lease: Some(seconds(600)) };
    let foreign = v1::Ack { ack_id: "nonsense".into(), ..Default::default() };
    let nack =
        v1::Nack { ack_id: pulled[1].ack_id.clone(), delay: Some(seconds(3600)), ..Default::default() };
    let results = desk
        .settle(vec![
            ack(&pulled[0]),
            Settlement::Ack(foreign),
            Settlement::Nack(nack),
            Settlement::ExtendLease(extend),
            dead(&more[0]),
            ack(&pulled[0]),
        ])
        .await;
    let told: Vec<_> = results.iter().map(|one| (one.ok, one.reason.as_str())).collect();
    assert_eq!(
        told[..5],
        [(true, ""), (false, "INVALID_ARGUMENT"), (true, ""), (true, ""), (true, "")],
        "{results:?}"
    );
    assert_eq!(results[1].ack_id, "nonsense");
    assert_eq!(told[5], (false, "LEASE_LOST"), "an event is settled once");
    let next = desk.pull("crm", 10).await;
    assert_eq!(
        next.iter().map(text).collect::<Vec<_>>(),
        ["a2"],
        "its turn has come; b1 is delayed, d1 dead"
    );

    let mut listed = desk.inbox.list_subscriptions(v1::ListSubscriptionsRequest {}).await.expect("listed");
    let state = listed.get_mut().subscriptions.remove(0);
    assert_eq!((state.unsettled, state.dead, state.outstanding), (3, 1, 2));
}

#[tokio::test]
async fn a_pull_waits_and_ends_before_its_deadline() {
    let mut desk = Desk::new().await;
    desk.subscribe("crm", oldest()).await;
    let wait =
        v1::PullEventsRequest { subscription: "crm".into(), wait: Some(seconds(60)), ..Default::default() };
    let mut client = desk.inbox.clone();
    let waiting = {
        let wait = wait.clone();
        tokio::spawn(async move { client.pull_events(wait).await })
    };
    desk.message("A", "1").await;
    let pulled = waiting.await.expect("no panic").expect("pulled").into_inner().deliveries;
    assert_eq!(pulled.iter().map(text).collect::<Vec<_>>(), ["1"]);

    // The client gives it a second; an answer comes, and not the end of the time.
    let mut hurried = Request::new(wait);
    hurried.set_timeout(Duration::from_secs(1));
    let empty = desk.inbox.pull_events(hurried).await.expect("in time").into_inner();
    assert!(empty.deliveries.is_empty());
}

#[tokio::test]
async fn a_cancelled_pull_takes_nothing() {
    let mut desk = Desk::new().await;
    desk.subscribe("crm", oldest()).await;
    let wait =
        v1::PullEventsRequest { subscription: "crm".into(), wait: Some(seconds(60)), ..Default::default() };
    let mut client = desk.inbox.clone();
    let cancelled = tokio::spawn({
        let wait = wait.clone();
        async move { client.pull_events(wait).await }
    });
    // It has gone out: the next call on the same connection is answered after it was taken in.
    tokio::task::yield_now().await;
    desk.inbox.list_subscriptions(v1::ListSubscriptionsRequest {}).await.expect("listed");
    cancelled.abort();
    assert!(cancelled.await.expect_err("aborted").is_cancelled());
    desk.message("A", "1").await;
    let pulled = desk.inbox.pull_events(wait).await.expect("pulled").into_inner().deliveries;
    assert_eq!((pulled.len(), pulled[0].attempt), (1, 1), "it was not handed out before");
}

#[tokio::test]
async fn a_stop_ends_a_pull_that_waits() {
    let mut desk = Desk::new().await;
    desk.subscribe("crm", oldest()).await;
    let wait =
        v1::PullEventsRequest { subscription: "crm".into(), wait: Some(seconds(300)), ..Default::default() };
    let mut client = desk.inbox.clone();
    let waiting = tokio::spawn(async move { client.pull_events(wait).await });
    tokio::task::yield_now().await;
    desk.inbox.list_subscriptions(v1::ListSubscriptionsRequest {}).await.expect("listed");
    let Desk { server, .. } = desk;
    server.shutdown(Duration::from_secs(60)).await;
    let ended = waiting.await.expect("no panic").expect_err("the server stops");
    assert_eq!(reason(&ended), (Code::Unavailable, "CLOSED".into(), None));
}

#[tokio::test]
async fn a_pull_fits_into_the_message_that_clients_take() {
    let mut desk = Desk::new().await;
    let large = "x".repeat(300_000);
    for n in 0..20 {
        desk.message(&format!("C{n}"), &format!("{n}-{large}")).await;
    }
    desk.subscribe("crm", oldest()).await;
    let mut count = 0;
    while count < 20 {
        let pulled = desk.pull("crm", 1000).await;
        assert!(!pulled.is_empty());
        count += pulled.len();
    }
    assert_eq!(count, 20);
}

#[tokio::test]
async fn a_subscription_gets_what_its_filter_lets_through() {
    let mut desk = Desk::new().await;
    let other = "52fd2a28-d2eb-4bd8-b862-a67934927b38";
    let first = desk.message("A", "1").await;
    desk.message("B", "2").await;
    desk.message_of(other, "C", "3").await;
    desk.ingest(ACCOUNT, "{\"odd\":true}").await;
    for (name, options, expected) in [
        ("accounts", v1::CreateOptions { account_ids: vec![other.into()], ..oldest() }, &["3"][..]),
        ("scopes", v1::CreateOptions { scope_ids: vec![scope_id(other)], ..oldest() }, &["3"]),
        (
            "conversations",
            v1::CreateOptions { conversation_ids: vec!["A".into(), "C".into()], ..oldest() },
            &["1", "3"],
        ),
        (
            "both",
            v1::CreateOptions {
                kinds: vec!["message".into()],
                account_ids: vec![ACCOUNT.into()],
                ..oldest()
            },
            &["1", "2"],
        ),
        (
            "after",
            v1::CreateOptions {
                start: Some(v1::create_options::Start::AfterEventId(first.clone())),
                kinds: vec!["message".into()],
                ..oldest()
            },
            &["2", "3"],
        ),
    ] {
        let made = desk.subscribe(name, options.clone()).await;
        assert_eq!(
            (made.kinds, made.account_ids, made.scope_ids, made.conversation_ids),
            (options.kinds, options.account_ids, options.scope_ids, options.conversation_ids),
            "it is listed with its filter"
        );
        let pulled = desk.pull(name, 10).await;
        assert_eq!(pulled.iter().map(text).collect::<Vec<_>>(), expected, "{name}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_its_field() {
    let mut desk = Desk::new().await;
    desk.subscribe("crm", oldest()).await;
    let pull = v1::PullEventsRequest { subscription: "crm".into(), ..Default::default() };
    for (request, field) in [
        (v1::PullEventsRequest { max_events: 1001, ..pull.clone() }, "max_events"),
        (v1::PullEventsRequest { lease: Some(seconds(0)), ..pull.clone() }, "lease"),
        (v1::PullEventsRequest { wait: Some(seconds(301)), ..pull.clone() }, "wait"),
        (v1::PullEventsRequest { wait: Some(seconds(-1)), ..pull.clone() }, "wait"),
    ] {
        let refused = desk.inbox.pull_events(request).await.expect_err("refused");
        assert_eq!(reason(&refused), invalid(field));
    }
    let nobody = v1::PullEventsRequest { subscription: "nobody".into(), ..pull };
    let refused = desk.inbox.pull_events(nobody).await.expect_err("refused");
    assert_eq!(reason(&refused), (Code::NotFound, "SUBSCRIPTION_NOT_FOUND".into(), None));

    for (settlements, field) in [
        (Vec::new(), "settlements"),
        (vec![v1::Settlement { settlement: None }], "settlements[0]"),
        (vec![v1::Settlement { settlement: None }; 1001], "settlements"),
    ] {
        let request = v1::SettleEventsRequest { settlements };
        let refused = desk.inbox.settle_events(request).await.expect_err("refused");
        assert_eq!(reason(&refused), invalid(field));
    }
    for (options, field) in [
        (v1::CreateOptions { kinds: vec!["letter".into()], ..oldest() }, "options.kinds"),
        (v1::CreateOptions { scope_ids: vec!["one".into()], ..oldest() }, "options.scope_ids"),
        (
            v1::CreateOptions { conversation_ids: vec!["c".into(); 1001], ..oldest() },
            "options.conversation_ids",
        ),
        (
            v1::CreateOptions {
                start: Some(v1::create_options::Start::AfterEventId("x".into())),
                ..oldest()
            },
            "options.after_event_id",
        ),
    ] {
        let request = v1::CreateSubscriptionRequest { name: "new".into(), options: Some(options) };
        let refused = desk.inbox.create_subscription(request).await.expect_err("refused");
        assert_eq!(reason(&refused), invalid(field));
    }
}
