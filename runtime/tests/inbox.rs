//! Leases, delays and consumers, with a clock that the test turns.

#[expect(dead_code, reason = "most of it is for the listener")]
mod support;

use amochats::ErrorKind;
use amochats_runtime::clock::{Clock, ManualClock};
use amochats_runtime::store::{MemoryStore, SqliteStore, Start, Store};
use amochats_runtime::{Consumer, ConsumerOptions, Delivery, Inbox, NewEvent, Origin, Redelivery, Verdict};
use futures_util::FutureExt;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};
use support::{TestStore, soon};
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_secs(30);

/// An inbox with a subscription "crm" and a clock that stands still.
async fn inbox(max_attempts: u32) -> (Inbox, Arc<ManualClock>) {
    inbox_over(Arc::new(MemoryStore::default()), max_attempts).await
}

async fn inbox_over(store: Arc<dyn Store>, max_attempts: u32) -> (Inbox, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH));
    let redelivery = Redelivery {
        max_attempts,
        min_delay: Duration::from_secs(10),
        max_delay: Duration::from_secs(1000),
        max_blocked: Duration::from_hours(1),
    };
    let inbox = Inbox::new(store, clock.clone(), redelivery);
    let timers = inbox.clone();
    tokio::spawn(async move { timers.run(CancellationToken::new()).await });
    assert!(inbox.create_subscription("crm", Start::Oldest).await.expect("made"));
    (inbox, clock)
}

async fn consumer(inbox: &Inbox, max_outstanding: usize) -> Consumer {
    inbox
        .consumer("crm", ConsumerOptions { max_outstanding, lease: LEASE, ..ConsumerOptions::default() })
        .await
        .expect("a consumer")
}

async fn append(inbox: &Inbox, conversation: &str, message: &str) {
    let event = NewEvent {
        channel_id: "channel".into(),
        account_id: "account".into(),
        kind: "message",
        conversation_ref_id: Some(conversation.into()),
        conversation_id: None,
        message_ref_id: Some(message.into()),
        digest: Some([0; 20]),
        received_at: 1,
        origin: Origin::Webhook,
        signature: None,
        raw: message.as_bytes().to_vec().into(),
    };
    inbox.append(event).await.expect("kept");
}

async fn one(consumer: &mut Consumer) -> Delivery {
    let mut all = consumer.next().await.expect("deliveries");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

/// Whether the consumer gets nothing while everything else has run to a standstill.
async fn nothing(consumer: &mut Consumer) -> bool {
    let mut next = std::pin::pin!(consumer.next());
    for _ in 0..200 {
        tokio::select! {
            biased;
            _ = &mut next => return false,
            () = tokio::task::yield_now() => {}
        }
    }
    true
}

#[tokio::test]
async fn no_more_bytes_are_unsettled_than_asked_for_but_one_event_always_comes() {
    let (inbox, _clock) = inbox(3).await;
    let options = ConsumerOptions { max_outstanding_bytes: 5, ..ConsumerOptions::default() };
    let mut consumer = inbox.consumer("crm", options).await.expect("a consumer");
    for (conversation, message) in [("a", "11"), ("b", "22"), ("c", "33"), ("d", "larger than that")] {
        append(&inbox, conversation, message).await;
    }
    let two = consumer.next().await.expect("deliveries");
    let bodies: Vec<_> = two.iter().map(|delivery| &delivery.event.raw[..]).collect();
    assert_eq!(bodies, [&b"11"[..], b"22"]);
    // One byte is left: the next event may exceed it, as one may always.
    let third = one(&mut consumer).await;
    assert!(nothing(&mut consumer).await, "nothing is left");
    inbox.settle(&third.ack_id, Verdict::Ack).await.expect("committed");
    inbox.settle(&two[0].ack_id, Verdict::Ack).await.expect("committed");
    let large = one(&mut consumer).await;
    assert_eq!(large.event.raw, "larger than that");
    inbox.settle(&two[1].ack_id, Verdict::Ack).await.expect("committed");
    append(&inbox, "e", "5").await;
    assert!(nothing(&mut consumer).await, "that one is more than all of it");
    inbox.settle(&large.ack_id, Verdict::Nack(Some(Duration::from_secs(60)))).await.expect("committed");
    assert_eq!(one(&mut consumer).await.event.raw, "5", "what is refused does not count");
}

#[tokio::test]
async fn a_lease_that_ends_hands_the_event_out_again_after_a_growing_delay() {
    let (inbox, clock) = inbox(3).await;
    let mut consumer = consumer(&inbox, 10).await;
    append(&inbox, "a", "1").await;
    let first = one(&mut consumer).await;
    clock.advance(LEASE);
    assert!(nothing(&mut consumer).await, "the delay runs");
    assert_eq!(consumer.outstanding(), 0);
    let late = inbox.settle(&first.ack_id, Verdict::Ack).await.expect_err("the lease ended");
    assert_eq!(late.kind(), ErrorKind::LeaseLost);
    clock.advance(Duration::from_secs(10));
    let second = one(&mut consumer).await;
    assert_eq!((second.attempt, &second.event.raw[..]), (2, &b"1"[..]));
    inbox.settle(&second.ack_id, Verdict::Nack(None)).await.expect("committed");
    clock.advance(Duration::from_secs(14));
    assert!(nothing(&mut consumer).await, "the second delay is twice the first, less a quarter at most");
    clock.advance(Duration::from_secs(6));
    let third = one(&mut consumer).await;
    inbox.settle(&third.ack_id, Verdict::Nack(None)).await.expect("committed");
    let state = inbox.subscriptions().await.expect("listed").remove(0);
    assert_eq!((state.unsettled, state.dead), (0, 1), "the last attempt makes a dead letter");
}

#[tokio::test]
async fn an_acknowledged_event_stays_away_and_lets_the_next_one_through() {
    let (inbox, clock) = inbox(3).await;
    let mut consumer = consumer(&inbox, 10).await;
    append(&inbox, "a", "1").await;
    append(&inbox, "a", "2").await;
    let first = one(&mut consumer).await;
    assert!(nothing(&mut consumer).await, "the conversation waits");
    inbox.settle(&first.ack_id, Verdict::Ack).await.expect("committed");
    assert_eq!(one(&mut consumer).await.event.raw, "2");
    let twice = inbox.settle(&first.ack_id, Verdict::Ack).await.expect_err("settled twice");
    assert_eq!(twice.kind(), ErrorKind::LeaseLost);
    clock.advance(LEASE);
    assert!(nothing(&mut consumer).await, "the delay runs");
    clock.advance(LEASE);
    assert_eq!(one(&mut consumer).await.event.raw, "2", "only the unsettled one comes back");
}

#[tokio::test]
async fn no_more_than_max_outstanding_are_handed_out() {
    let (inbox, _clock) = inbox(3).await;
    let mut consumer = consumer(&inbox, 2).await;
    for conversation in ["a", "b", "c"] {
        append(&inbox, conversation, conversation).await;
    }
    let both = consumer.next().await.expect("deliveries");
    assert_eq!(both.len(), 2);
    assert!(nothing(&mut consumer).await);
    inbox.settle(&both[0].ack_id, Verdict::Ack).await.expect("committed");
    assert_eq!(one(&mut consumer).await.event.raw, "c");
}

#[tokio::test]
async fn a_lease_can_be_extended_while_it_lasts() {
    let (inbox, clock) = inbox(3).await;
    let mut consumer = consumer(&inbox, 10).await;
    append(&inbox, "a", "1").await;
    let delivery = one(&mut consumer).await;
    for _ in 0..5 {
        clock.advance(LEASE.saturating_sub(Duration::from_secs(1)));
        assert!(nothing(&mut consumer).await);
        inbox.extend(&delivery.ack_id, LEASE).expect("still leased");
    }
    inbox.settle(&delivery.ack_id, Verdict::Ack).await.expect("committed");
    assert_eq!(inbox.extend(&delivery.ack_id, LEASE).expect_err("settled").kind(), ErrorKind::LeaseLost);
    let error = inbox.extend(&delivery.ack_id, Duration::ZERO).expect_err("no lease");
    assert_eq!(error.field(), Some("lease"));
}

/// An extension is in time until the inbox acts on the end of the lease, and never after that.
#[tokio::test]
async fn an_extension_and_the_end_of_its_lease_do_not_both_win() {
    let store = Arc::new(TestStore::default());
    let (inbox, clock) = inbox_over(store.clone(), 3).await;
    let mut consumer = consumer(&inbox, 10).await;
    append(&inbox, "a", "1").await;
    let delivery = one(&mut consumer).await;
    assert!(nothing(&mut consumer).await, "the timer runs");
    clock.advance(LEASE);
    inbox.extend(&delivery.ack_id, LEASE).expect("nobody has noticed the end");
    assert!(nothing(&mut consumer).await);
    assert_eq!(consumer.outstanding(), 1, "it is still leased");

    store.hold();
    clock.advance(LEASE);
    assert!(nothing(&mut consumer).await, "the store is being told of the end");
    let late = inbox.extend(&delivery.ack_id, LEASE).expect_err("too late");
    assert_eq!(late.kind(), ErrorKind::LeaseLost);
    store.let_go();
    assert!(nothing(&mut consumer).await);
    clock.advance(Duration::from_secs(10));
    assert_eq!(one(&mut consumer).await.attempt, 2);
}

/// Whatever the store was to be told when a time came is told when it works again.
#[tokio::test]
async fn ends_and_delays_outlast_a_store_that_fails() {
    let store = Arc::new(TestStore::default());
    let (inbox, clock) = inbox_over(store.clone(), 5).await;
    let mut consumer = consumer(&inbox, 10).await;
    append(&inbox, "a", "1").await;
    let first = one(&mut consumer).await;
    store.fail_settlements(true);
    for _ in 0..3 {
        clock.advance(LEASE);
        assert!(nothing(&mut consumer).await, "the end of the lease cannot be told");
    }
    let error = inbox.settle(&first.ack_id, Verdict::Ack).await.expect_err("not committed");
    assert_eq!(error.kind(), ErrorKind::StoreFailed);
    store.fail_settlements(false);
    clock.advance(Duration::from_secs(1));
    assert!(nothing(&mut consumer).await, "told: the delay runs");

    store.fail_settlements(true);
    clock.advance(Duration::from_secs(20));
    assert!(nothing(&mut consumer).await, "the end of the delay cannot be told");
    store.fail_settlements(false);
    clock.advance(Duration::from_secs(1));
    let second = one(&mut consumer).await;
    assert_eq!((second.attempt, &second.event.raw[..]), (2, &b"1"[..]));
}

#[tokio::test]
async fn what_a_consumer_leaves_is_handed_out_again_first_at_once_then_later() {
    let (inbox, clock) = inbox(3).await;
    append(&inbox, "a", "1").await;
    let mut first = consumer(&inbox, 10).await;
    one(&mut first).await;
    first.abandon().await;
    let mut second = consumer(&inbox, 10).await;
    assert_eq!(one(&mut second).await.attempt, 2, "at once");
    drop(second);
    let mut third = consumer(&inbox, 10).await;
    assert!(nothing(&mut third).await, "whoever takes it down twice waits");
    clock.advance(Duration::from_secs(10));
    assert_eq!(one(&mut third).await.attempt, 3);
}

#[tokio::test]
async fn a_consumer_that_is_dropped_elsewhere_leaves_nothing_leased() {
    let (inbox, _clock) = inbox(10).await;
    append(&inbox, "a", "1").await;
    let mut gone = consumer(&inbox, 10).await;
    one(&mut gone).await;
    std::thread::spawn(move || drop(gone)).join().expect("no panic");
    let mut next = consumer(&inbox, 10).await;
    assert_eq!(soon("delivery", one(&mut next)).await.attempt, 2);
}

#[tokio::test]
async fn an_event_that_is_put_off_again_and_again_blocks_its_conversation_for_so_long() {
    let (inbox, clock) = inbox(1000).await;
    append(&inbox, "a", "poison").await;
    append(&inbox, "a", "next").await;
    let mut consumer = consumer(&inbox, 10).await;
    let mut attempts = 0;
    loop {
        let delivery = one(&mut consumer).await;
        if delivery.event.raw == "next" {
            break;
        }
        attempts += 1;
        inbox
            .settle(&delivery.ack_id, Verdict::Nack(Some(Duration::from_mins(20))))
            .await
            .expect("committed");
        clock.advance(Duration::from_mins(20));
    }
    assert_eq!(attempts, 4, "at once, and after 20, 40 and 60 minutes");
    assert_eq!(inbox.dead_letters("crm", 0, 10).await.expect("listed").len(), 1);
}

#[tokio::test]
async fn what_ends_on_purpose_has_not_failed() {
    let (inbox, _clock) = inbox(1).await;
    append(&inbox, "a", "1").await;
    for _ in 0..3 {
        let mut consumer = consumer(&inbox, 10).await;
        assert_eq!(one(&mut consumer).await.attempt, 1, "the only attempt is still there");
        consumer.close().await;
    }
}

#[tokio::test]
async fn two_consumers_share_a_subscription_and_two_subscriptions_do_not() {
    let (inbox, _clock) = inbox(3).await;
    inbox.create_subscription("audit", Start::Now).await.expect("made");
    let (mut left, mut right) = (consumer(&inbox, 1).await, consumer(&inbox, 1).await);
    let mut audit = inbox.consumer("audit", ConsumerOptions::default()).await.expect("a consumer");
    append(&inbox, "a", "1").await;
    append(&inbox, "b", "2").await;
    let (first, second) = (one(&mut left).await, one(&mut right).await);
    assert_ne!(first.event.raw, second.event.raw);
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(audit.next().await.expect("deliveries").into_iter().map(|delivery| delivery.event.raw));
    }
}

#[tokio::test]
async fn a_dropped_wait_does_not_lease_twice() {
    let (inbox, _clock) = inbox(3).await;
    let mut consumer = consumer(&inbox, 2).await;
    for conversation in ["a", "b", "c", "d"] {
        append(&inbox, conversation, conversation).await;
    }
    {
        let mut next = std::pin::pin!(consumer.next());
        tokio::select! { biased; _ = &mut next => panic!("not in one step"), () = std::future::ready(()) => {} }
    }
    assert_eq!(consumer.next().await.expect("deliveries").len(), 2);
    assert_eq!(consumer.outstanding(), 2);
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let (inbox, _clock) = inbox(3).await;
    let mut consumer = consumer(&inbox, 10).await;
    append(&inbox, "a", "1").await;
    {
        // Polled once, so that the lease is under way, and dropped.
        let mut next = std::pin::pin!(consumer.next());
        tokio::select! { biased; _ = &mut next => panic!("not in one step"), () = std::future::ready(()) => {} }
    }
    tokio::task::yield_now().await;
    assert_eq!(one(&mut consumer).await.attempt, 1);
}

#[tokio::test]
async fn a_dropped_settlement_is_carried_out() {
    // A store that does not answer at the first poll.
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
    let (inbox, clock) = inbox_over(Arc::new(store), 3).await;
    let mut consumer = consumer(&inbox, 10).await;
    append(&inbox, "a", "1").await;
    let delivery = one(&mut consumer).await;
    {
        let nack = inbox.settle(&delivery.ack_id, Verdict::Nack(Some(Duration::from_secs(5))));
        let mut nack = std::pin::pin!(nack);
        tokio::select! { biased; _ = &mut nack => panic!("not in one step"), () = std::future::ready(()) => {} }
    }
    let settled = async {
        while consumer.outstanding() > 0 {
            tokio::task::yield_now().await;
        }
    };
    let guard = Duration::from_secs(30);
    tokio::time::timeout(guard, settled).await.expect("settled although nobody waited for it");
    clock.advance(Duration::from_secs(5));
    let again = tokio::time::timeout(guard, one(&mut consumer)).await.expect("its delay is over");
    assert_eq!(again.attempt, 2);
}

#[tokio::test]
async fn a_delay_has_a_limit() {
    let (inbox, _clock) = inbox(3).await;
    let mut consumer = consumer(&inbox, 10).await;
    append(&inbox, "a", "1").await;
    let delivery = one(&mut consumer).await;
    for too_long in [ConsumerOptions::MAX_LEASE + Duration::from_millis(1), Duration::MAX] {
        let nack = inbox.settle(&delivery.ack_id, Verdict::Nack(Some(too_long))).await;
        assert_eq!(nack.expect_err("too long").field(), Some("delay"));
    }
    inbox.settle(&delivery.ack_id, Verdict::Ack).await.expect("still leased");
}

#[tokio::test]
async fn a_lease_that_outlives_the_wait_for_it_is_neither_forgotten_nor_doubled() {
    let store = Arc::new(TestStore::default());
    let (inbox, _clock) = inbox_over(store.clone(), 3).await;
    let mut consumer = consumer(&inbox, 1).await;
    for conversation in ["a", "b"] {
        append(&inbox, conversation, conversation).await;
    }
    store.answer_leases(false);
    assert!(nothing(&mut consumer).await, "leased, but not answered; and the wait is dropped");
    let waiting = async {
        let released = async {
            tokio::task::yield_now().await;
            store.answer_leases(true);
        };
        let (delivery, ()) = futures_util::future::join(one(&mut consumer), released).await;
        delivery
    };
    let delivery = soon("delivery", waiting).await;
    assert_eq!(delivery.event.raw, "a");
    assert_eq!(consumer.outstanding(), 1, "no second lease beside the first");
    inbox.settle(&delivery.ack_id, Verdict::Ack).await.expect("committed");
    assert_eq!(one(&mut consumer).await.event.raw, "b");
}

#[tokio::test]
async fn a_lease_that_comes_after_the_end_of_its_consumer_is_given_back() {
    let store = Arc::new(TestStore::default());
    let (inbox, _clock) = inbox_over(store.clone(), 3).await;
    let mut gone = consumer(&inbox, 1).await;
    append(&inbox, "a", "1").await;
    store.answer_leases(false);
    assert!(nothing(&mut gone).await, "leased, but not answered");
    drop(gone);
    let mut next = consumer(&inbox, 1).await;
    store.answer_leases(true);
    let delivery = soon("delivery", one(&mut next)).await;
    assert_eq!((delivery.event.raw, delivery.attempt), ("1".into(), 2), "long before the lease ends");
}

#[tokio::test]
async fn what_comes_while_an_old_lease_is_under_way_is_not_missed() {
    let (inbox, _clock) = inbox(3).await;
    let mut consumer = consumer(&inbox, 10).await;
    {
        // Asked, found nothing, dropped before the answer was seen.
        let mut next = std::pin::pin!(consumer.next());
        tokio::select! { biased; _ = &mut next => panic!("nothing there"), () = std::future::ready(()) => {} }
    }
    tokio::task::yield_now().await;
    append(&inbox, "a", "1").await;
    assert_eq!(soon("delivery", one(&mut consumer)).await.event.raw, "1");
}

#[tokio::test]
async fn a_temporary_subscription_that_nobody_waits_for_any_more_leaves_no_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Arc::new(SqliteStore::open(folder.path().join("inbox.db")).await.expect("new"));
    let inbox = Inbox::new(store.clone(), Arc::new(ManualClock::new(UNIX_EPOCH)), Redelivery::default());
    let mut changes = store.changes();
    assert!(inbox.temporary_consumer(ConsumerOptions::default()).now_or_never().is_none(), "given up");
    soon("subscription", changes.changed()).await.expect("the store lives");
    soon("end of the subscription", async {
        while !store.subscriptions().await.expect("listed").is_empty() {
            changes.changed().await.expect("the store lives");
        }
    })
    .await;
}

#[tokio::test]
async fn a_deleted_subscription_ends_its_consumers() {
    let (inbox, _clock) = inbox(3).await;
    let mut consumer = consumer(&inbox, 10).await;
    let waiting = tokio::spawn(async move { consumer.next().await.map(drop) });
    tokio::task::yield_now().await;
    inbox.delete_subscription("crm").await.expect("deleted");
    let error = waiting.await.expect("no panic").expect_err("gone");
    assert_eq!(error.kind(), ErrorKind::SubscriptionNotFound);
    let unknown = inbox.consumer("crm", ConsumerOptions::default()).await.err().expect("gone");
    assert_eq!(unknown.kind(), ErrorKind::SubscriptionNotFound);
}

#[tokio::test]
async fn bad_names_options_and_ack_ids_are_refused() {
    let (inbox, _clock) = inbox(3).await;
    for name in ["", "a b", "ä", &"x".repeat(65)] {
        let error = inbox.create_subscription(name, Start::Now).await.expect_err(name);
        assert_eq!(error.field(), Some("subscription"));
    }
    for (options, field) in [
        (ConsumerOptions { max_outstanding: 0, ..ConsumerOptions::default() }, "max_outstanding"),
        (ConsumerOptions { max_outstanding: 10_001, ..ConsumerOptions::default() }, "max_outstanding"),
        (ConsumerOptions { max_outstanding_bytes: 0, ..ConsumerOptions::default() }, "max_outstanding_bytes"),
        (ConsumerOptions { lease: Duration::from_millis(999), ..ConsumerOptions::default() }, "lease"),
        (ConsumerOptions { lease: Duration::MAX, ..ConsumerOptions::default() }, "lease"),
    ] {
        let error = inbox.consumer("crm", options).await.err().expect(field);
        assert_eq!(error.field(), Some(field));
    }
    let error = inbox.settle("nonsense", Verdict::Ack).await.expect_err("not an ack_id");
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[tokio::test]
async fn the_manual_clock_stands_still() {
    let clock = ManualClock::new(UNIX_EPOCH + Duration::from_secs(5));
    assert_eq!(clock.now_msec(), 5000);
    clock.advance(Duration::from_millis(7));
    assert_eq!((clock.now_msec(), clock.monotonic()), (5007, Duration::from_millis(7)));
}
