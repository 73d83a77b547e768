//! The calls of the operator: events, their life, dead letters, replay and purge.

#[expect(dead_code, reason = "the other suite stops its server")]
mod desk;

use amochats_proto::v1;
use amochats_proto::v1::DeliveryPhase;
use amochats_proto::v1::replay_events_request::From;
use desk::{ACCOUNT, Desk, ack, dead, invalid, reason, scope_id, text};
use tonic::Code;

const OTHER: &str = "52fd2a28-d2eb-4bd8-b862-a67934927b38";

impl Desk {
    async fn list(&mut self, request: v1::ListEventsRequest) -> v1::ListEventsResponse {
        self.inbox.list_events(request).await.expect("listed").into_inner()
    }

    async fn life(&mut self, event_id: &str) -> v1::GetEventResponse {
        let request = v1::GetEventRequest { event_id: event_id.into() };
        self.inbox.get_event(request).await.expect("kept").into_inner()
    }

    async fn dead_letters(&mut self, subscription: &str) -> Vec<(String, u32)> {
        let request = v1::ListDeadLettersRequest { subscription: subscription.into(), ..Default::default() };
        let listed = self.inbox.list_dead_letters(request).await.expect("listed").into_inner();
        let one = |dead: v1::DeadLetter| (dead.event.expect("an event").event_id, dead.attempts);
        listed.dead_letters.into_iter().map(one).collect()
    }
}

fn messages(events: &[v1::EventSummary]) -> Vec<&str> {
    events.iter().map(|event| event.message_ref_id.as_deref().unwrap_or("-")).collect()
}

#[tokio::test]
async fn events_are_listed_by_page_in_both_directions_without_their_bodies() {
    let mut desk = Desk::new().await;
    let before = std::time::SystemTime::now();
    for (account, conversation, message) in
        [(ACCOUNT, "A", "1"), (ACCOUNT, "B", "2"), (OTHER, "A", "3"), (ACCOUNT, "A", "4"), (OTHER, "C", "5")]
    {
        desk.message_of(account, conversation, message).await;
    }
    desk.ingest(ACCOUNT, "{\"odd\":true}").await;
    let mut request = v1::ListEventsRequest { page_size: 4, ..Default::default() };
    let page = desk.list(request.clone()).await;
    assert_eq!(messages(&page.events), ["1", "2", "3", "4"]);
    let one = &page.events[2];
    assert_eq!((one.kind.as_str(), one.account_id.as_str()), ("message", OTHER));
    assert_eq!((one.scope_id.as_str(), one.origin()), (scope_id(OTHER).as_str(), v1::Origin::Webhook));
    assert_eq!((one.conversation_ref_id.as_deref(), one.conversation_id.as_deref()), (Some("A"), None));
    assert!(one.size > 50, "{one:?}");
    request.page_token = page.next_page_token;
    let page = desk.list(request).await;
    assert_eq!((messages(&page.events), page.next_page_token.as_str()), (vec!["5", "-"], ""));
    assert_eq!(page.events[1].kind, "unknown");

    let all = v1::ListEventsRequest::default;
    let newest = desk.list(v1::ListEventsRequest { newest_first: true, page_size: 2, ..all() }).await;
    assert_eq!(messages(&newest.events), ["-", "5"]);
    for (request, expected) in [
        (v1::ListEventsRequest { kinds: vec!["unknown".into()], ..all() }, &["-"][..]),
        (v1::ListEventsRequest { account_ids: vec![OTHER.into()], ..all() }, &["3", "5"]),
        (v1::ListEventsRequest { scope_ids: vec![scope_id(OTHER)], ..all() }, &["3", "5"]),
        (
            v1::ListEventsRequest {
                conversation_ids: vec!["A".into()],
                scope_ids: vec![scope_id(ACCOUNT)],
                ..all()
            },
            &["1", "4"],
        ),
        (v1::ListEventsRequest { until: Some(before.into()), ..all() }, &[]),
        (v1::ListEventsRequest { message_ref_id: Some("4".into()), ..all() }, &["4"]),
        (v1::ListEventsRequest { message_ref_id: Some("6".into()), ..all() }, &[]),
    ] {
        assert_eq!(messages(&desk.list(request.clone()).await.events), expected, "{request:?}");
    }
    let since = v1::ListEventsRequest { since: Some(before.into()), ..all() };
    assert_eq!(desk.list(since).await.events.len(), 6);
    for (request, field) in [
        (v1::ListEventsRequest { kinds: vec!["letter".into()], ..all() }, "kinds"),
        (v1::ListEventsRequest { page_token: "x".into(), ..all() }, "page_token"),
        (v1::ListEventsRequest { scope_ids: vec!["x".into()], ..all() }, "scope_ids"),
    ] {
        let refused = desk.inbox.list_events(request).await.expect_err("refused");
        assert_eq!(reason(&refused), invalid(field));
    }
}

#[tokio::test]
async fn an_event_tells_its_life() {
    let mut desk = Desk::new().await;
    desk.subscribe("crm", v1::CreateOptions::default()).await;
    let reactions = v1::CreateOptions { kinds: vec!["reaction".into()], ..Default::default() };
    desk.subscribe("reactions", reactions).await;
    let (first, second) = (desk.message("A", "1").await, desk.message("A", "2").await);
    let pulled = desk.pull("crm", 10).await;
    let life = desk.life(&first).await;
    let phases = |life: &v1::GetEventResponse| {
        let one = |one: &v1::EventDelivery| (one.subscription.clone(), one.phase(), one.attempts);
        life.deliveries.iter().map(one).collect::<Vec<_>>()
    };
    assert_eq!(
        phases(&life),
        [("crm".to_owned(), DeliveryPhase::Leased, 1), ("reactions".to_owned(), DeliveryPhase::LeftOut, 0)]
    );
    assert!(
        life.deliveries[0].handed_out_at.is_some() && life.deliveries[0].settled_at.is_none(),
        "{life:?}"
    );
    assert!(life.deliveries[0].until.is_some_and(|until| until.seconds > 0), "{life:?}");
    assert_eq!(life.summary.expect("there").message_ref_id.as_deref(), Some("1"));
    assert_eq!(life.event.expect("there").raw, pulled[0].event.as_ref().expect("there").raw);
    assert_eq!(phases(&desk.life(&second).await)[0], ("crm".to_owned(), DeliveryPhase::Waiting, 0));
    desk.settle(vec![ack(&pulled[0])]).await;
    let life = desk.life(&first).await;
    assert_eq!(phases(&life)[0], ("crm".to_owned(), DeliveryPhase::Settled, 1));
    let received = life.summary.expect("there").received_at;
    let [handed_out, settled] = [life.deliveries[0].handed_out_at, life.deliveries[0].settled_at];
    let times = [received, handed_out, settled].map(|time| time.map(|time| (time.seconds, time.nanos)));
    assert!(times.iter().all(Option::is_some) && times.is_sorted(), "{times:?}");
    assert_eq!(phases(&desk.life(&second).await)[0], ("crm".to_owned(), DeliveryPhase::Ready, 0));

    let nothing = v1::GetEventRequest { event_id: "nobody-1".into() };
    let refused = desk.inbox.get_event(nothing).await.expect_err("no such event");
    assert_eq!((refused.code(), reason(&refused).1.as_str()), (Code::NotFound, "NOT_FOUND"));
}

#[tokio::test]
async fn dead_letters_are_listed_requeued_and_dropped() {
    let mut desk = Desk::new().await;
    desk.subscribe("crm", v1::CreateOptions::default()).await;
    let mut ids = Vec::new();
    for message in ["1", "2", "3"] {
        ids.push(desk.message(message, message).await);
    }
    let pulled = desk.pull("crm", 10).await;
    desk.settle(pulled.iter().map(dead).collect()).await;
    let all: Vec<_> = ids.iter().map(|id| (id.clone(), 1)).collect();
    assert_eq!(desk.dead_letters("crm").await, all);
    let mut page =
        v1::ListDeadLettersRequest { subscription: "crm".into(), page_size: 2, ..Default::default() };
    let first = desk.inbox.list_dead_letters(page.clone()).await.expect("listed").into_inner();
    page.page_token = first.next_page_token;
    let second = desk.inbox.list_dead_letters(page).await.expect("listed").into_inner();
    assert_eq!((first.dead_letters.len(), second.dead_letters.len()), (2, 1));
    assert_eq!(second.next_page_token, "");

    let requeue = |event_ids: &[String], all| v1::RequeueDeadLettersRequest {
        subscription: "crm".into(),
        event_ids: event_ids.to_vec(),
        all,
    };
    let refused = desk.inbox.requeue_dead_letters(requeue(&[], false)).await.expect_err("which?");
    assert_eq!(reason(&refused), invalid("event_ids"));
    let refused = desk.inbox.requeue_dead_letters(requeue(&ids, true)).await.expect_err("which?");
    assert_eq!(reason(&refused), invalid("event_ids"));
    let requeued = desk.inbox.requeue_dead_letters(requeue(&ids[1..2], false)).await.expect("requeued");
    assert_eq!(requeued.into_inner().requeued, 1);
    assert_eq!(desk.dead_letters("crm").await, [all[0].clone(), all[2].clone()]);
    let again = desk.pull("crm", 10).await;
    assert_eq!(again.iter().map(text).collect::<Vec<_>>(), ["2"]);
    let life = desk.life(&ids[1]).await;
    assert!(life.deliveries[0].again, "{life:?}");
    let refused = desk.inbox.requeue_dead_letters(requeue(&ids[1..2], false)).await.expect_err("alive");
    assert_eq!(refused.code(), Code::NotFound);

    let drop = |event_ids: &[String], all| v1::DropDeadLettersRequest {
        subscription: "crm".into(),
        event_ids: event_ids.to_vec(),
        all,
    };
    let dropped = desk.inbox.drop_dead_letters(drop(&ids[..1], false)).await.expect("dropped");
    assert_eq!((dropped.into_inner().dropped, desk.dead_letters("crm").await), (1, vec![all[2].clone()]));
    let dropped = desk.inbox.drop_dead_letters(drop(&[], true)).await.expect("dropped");
    assert_eq!((dropped.into_inner().dropped, desk.dead_letters("crm").await), (1, Vec::new()));
    assert_eq!(desk.life(&ids[0]).await.deliveries[0].phase(), DeliveryPhase::Settled);
    let nobody = v1::ListDeadLettersRequest { subscription: "nobody".into(), ..Default::default() };
    let refused = desk.inbox.list_dead_letters(nobody).await.expect_err("no such subscription");
    assert_eq!(reason(&refused), (Code::NotFound, "SUBSCRIPTION_NOT_FOUND".into(), None));
}

#[tokio::test]
async fn a_replay_hands_out_again_and_a_purge_never() {
    let mut desk = Desk::new().await;
    desk.subscribe("crm", v1::CreateOptions::default()).await;
    let first = desk.message("A", "1").await;
    desk.message("B", "2").await;
    desk.message_of(OTHER, "C", "3").await;
    let pulled = desk.pull("crm", 10).await;
    desk.settle(pulled.iter().map(ack).collect()).await;
    assert!(desk.pull("crm", 10).await.is_empty());

    for (from, scope, expected) in [
        (From::Oldest(true), String::new(), &["1", "2", "3"][..]),
        (From::AfterEventId(first.clone()), String::new(), &["2", "3"]),
        (From::AfterEventId(first.clone()), scope_id(OTHER), &["3"]),
        (From::Since(prost_types::Timestamp { seconds: 1, nanos: 0 }), scope_id(ACCOUNT), &["1", "2"]),
    ] {
        let request =
            v1::ReplayEventsRequest { subscription: "crm".into(), from: Some(from), scope_id: scope };
        let count = desk.inbox.replay_events(request).await.expect("replayed").into_inner().events;
        assert!(count >= expected.len() as u64, "{count}");
        let pulled = desk.pull("crm", 10).await;
        assert_eq!(pulled.iter().map(text).collect::<Vec<_>>(), expected);
        desk.settle(pulled.iter().map(ack).collect()).await;
    }
    let nowhere = v1::ReplayEventsRequest { subscription: "crm".into(), ..Default::default() };
    let refused = desk.inbox.replay_events(nowhere).await.expect_err("from where?");
    assert_eq!(reason(&refused), invalid("from"));

    let purge = |scope: String, conversation: &str| v1::PurgeConversationRequest {
        scope_id: scope,
        conversation_id: conversation.into(),
    };
    let purged = desk.inbox.purge_conversation(purge(scope_id(ACCOUNT), "A")).await.expect("purged");
    assert_eq!(purged.into_inner().events, 1);
    let left = desk.list(v1::ListEventsRequest::default()).await.events;
    assert_eq!(messages(&left), ["2", "3"]);
    for (request, field) in
        [(purge(scope_id(ACCOUNT), ""), "conversation_id"), (purge("x".into(), "A"), "scope_id")]
    {
        let refused = desk.inbox.purge_conversation(request).await.expect_err("refused");
        assert_eq!(reason(&refused), invalid(field));
    }
}
