//! Pulling: leases that outlive the call, with a clock that the test turns.

#[expect(dead_code, reason = "most of it is for the listener")]
mod support;

use amochats::ErrorKind;
use amochats_runtime::clock::{Clock, ManualClock, Sleep};
use amochats_runtime::store::{DeliveryState, MemoryStore, Start, SummaryQuery};
use amochats_runtime::{ConsumerOptions, Delivery, Inbox, NewEvent, Origin, Redelivery, Verdict};
use futures_util::FutureExt;
use std::sync::{Arc, OnceLock};
use std::task::Poll;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use support::soon;
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_secs(30);

async fn inbox() -> (Inbox, Arc<ManualClock>) {
    let clock = Arc::new(ManualClock::new(UNIX_EPOCH));
    let inbox = Inbox::new(Arc::new(MemoryStore::default()), clock.clone(), Redelivery::default());
    let timers = inbox.clone();
    tokio::spawn(async move { timers.run(CancellationToken::new()).await });
    inbox.create_subscription("crm", Start::Oldest).await.expect("made");
    (inbox, clock)
}

async fn append(inbox: &Inbox, message: &str) {
    let event = NewEvent {
        channel_id: "channel".into(),
        account_id: "account".into(),
        kind: "message",
        conversation_ref_id: None,
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

fn up_to(max_outstanding: usize) -> ConsumerOptions {
    ConsumerOptions { max_outstanding, lease: LEASE, ..ConsumerOptions::default() }
}

async fn pull(inbox: &Inbox, max: usize) -> Vec<Delivery> {
    soon("deliveries", inbox.pull("crm", up_to(max), Duration::ZERO)).await.expect("pulled")
}

#[tokio::test]
async fn a_lease_outlives_the_pull_and_is_settled_or_ends() {
    let (inbox, clock) = inbox().await;
    for message in ["1", "2", "3"] {
        append(&inbox, message).await;
    }
    let pulled = pull(&inbox, 2).await;
    assert_eq!(pulled.iter().map(|one| &one.event.raw[..]).collect::<Vec<_>>(), [b"1", b"2"]);
    assert_eq!(pull(&inbox, 10).await.len(), 1, "what is leased is not pulled twice");
    assert!(pull(&inbox, 10).await.is_empty());
    assert_eq!(inbox.outstanding().values().sum::<usize>(), 3);

    inbox.settle(&pulled[0].ack_id, Verdict::Ack).await.expect("acknowledged after the pull");
    clock.advance(Duration::from_secs(20));
    inbox.extend(&pulled[1].ack_id, LEASE).expect("extended after the pull");
    clock.advance(Duration::from_secs(20));
    // The third one's lease is over, the second one's is not.
    let again = soon("deliveries", inbox.pull("crm", up_to(10), Duration::from_mins(5)));
    let turning = async {
        loop {
            tokio::task::yield_now().await;
            if inbox.outstanding().values().sum::<usize>() == 1 {
                clock.advance(Duration::from_secs(1));
                return;
            }
        }
    };
    let (again, ()) = tokio::join!(again, turning);
    let again = again.expect("pulled");
    assert_eq!((again.len(), again[0].attempt, &again[0].event.raw[..]), (1, 2, &b"3"[..]));
    inbox.settle(&pulled[1].ack_id, Verdict::Ack).await.expect("it was extended");
    let late = inbox.settle(&pulled[1].ack_id, Verdict::Ack).await.expect_err("settled before");
    assert_eq!(late.kind(), ErrorKind::LeaseLost);
}

#[tokio::test]
async fn a_pull_waits_for_an_event_or_for_its_time() {
    let (inbox, clock) = inbox().await;
    let waiting = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.pull("crm", up_to(10), Duration::from_secs(60)).await }
    });
    append(&inbox, "1").await;
    let pulled = soon("deliveries", waiting).await.expect("ran").expect("pulled");
    assert_eq!(pulled.len(), 1);
    inbox.settle(&pulled[0].ack_id, Verdict::Ack).await.expect("acknowledged");

    let waiting = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.pull("crm", up_to(10), Duration::from_secs(60)).await }
    });
    while !waiting.is_finished() {
        clock.advance(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    assert!(waiting.await.expect("ran").expect("no error").is_empty());
}

/// A clock on which an event comes as a wait begins, and the wait is over once the event is leased.
#[derive(Default)]
struct Late(OnceLock<Inbox>);

impl Clock for Late {
    fn now(&self) -> SystemTime {
        UNIX_EPOCH
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }

    fn sleep_until(&self, _at: Duration) -> Sleep<'_> {
        let inbox = self.0.get().expect("set");
        append(inbox, "1").now_or_never().expect("kept at once");
        Box::pin(std::future::poll_fn(|_| {
            // Whoever pulls cannot look meanwhile: this is called by it.
            tokio::task::block_in_place(|| {
                while inbox.outstanding().is_empty() {
                    std::thread::yield_now();
                }
            });
            Poll::Ready(())
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_with_the_end_of_the_wait_is_pulled() {
    let clock = Arc::new(Late::default());
    let inbox = Inbox::new(Arc::new(MemoryStore::default()), clock.clone(), Redelivery::default());
    inbox.create_subscription("crm", Start::Oldest).await.expect("made");
    assert!(clock.0.set(inbox.clone()).is_ok());
    let pulled = soon("answer", inbox.pull("crm", up_to(1), LEASE)).await.expect("pulled");
    assert_eq!(pulled.iter().map(|one| &one.event.raw[..]).collect::<Vec<_>>(), [b"1"]);
    inbox.settle(&pulled[0].ack_id, Verdict::Ack).await.expect("leased");
}

#[tokio::test]
async fn a_pull_that_nobody_waits_for_any_more_takes_nothing() {
    let (inbox, _clock) = inbox().await;
    let waiting = tokio::spawn({
        let inbox = inbox.clone();
        async move { inbox.pull("crm", up_to(10), Duration::from_secs(60)).await }
    });
    // It is under way: it has looked once, and waits.
    tokio::task::yield_now().await;
    waiting.abort();
    assert!(waiting.await.expect_err("aborted").is_cancelled());
    append(&inbox, "1").await;
    let pulled =
        soon("deliveries", inbox.pull("crm", up_to(1), Duration::from_secs(60))).await.expect("pulled");
    assert_eq!((pulled.len(), pulled[0].attempt), (1, 1), "it was no attempt");
}

#[tokio::test]
async fn what_cannot_be_is_refused() {
    let (inbox, _clock) = inbox().await;
    for (options, wait, field) in [
        (up_to(0), Duration::ZERO, "max_outstanding"),
        (up_to(1001), Duration::ZERO, "max_events"),
        (ConsumerOptions { lease: Duration::ZERO, ..up_to(1) }, Duration::ZERO, "lease"),
        (up_to(1), Duration::from_secs(301), "wait"),
    ] {
        let error = inbox.pull("crm", options, wait).await.expect_err("refused");
        assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some(field)));
    }
    let error = inbox.pull("nobody", up_to(1), Duration::ZERO).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::SubscriptionNotFound);
}

#[tokio::test]
async fn a_client_that_settles_nothing_is_stopped_at_last() {
    let (inbox, _clock) = inbox().await;
    for number in 0..10_001 {
        append(&inbox, &number.to_string()).await;
    }
    for _ in 0..10 {
        assert_eq!(pull(&inbox, 1000).await.len(), 1000);
    }
    let full = inbox.pull("crm", up_to(1), Duration::ZERO).await.expect_err("too many");
    assert_eq!(full.kind(), ErrorKind::QueueFull);
}

#[tokio::test]
async fn a_life_says_when_a_lease_or_a_delay_ends() {
    let (inbox, clock) = inbox().await;
    append(&inbox, "1").await;
    clock.advance(Duration::from_secs(100));
    let pulled = pull(&inbox, 1).await.remove(0);
    let event_id = &pulled.event.event_id;
    let life = inbox.life(event_id).await.expect("kept");
    assert_eq!(life.deliveries.len(), 1);
    assert_eq!((life.deliveries[0].state, life.deliveries[0].until), (DeliveryState::Leased, Some(130_000)));
    inbox.settle(&pulled.ack_id, Verdict::Nack(Some(Duration::from_secs(5)))).await.expect("refused");
    let life = inbox.life(event_id).await.expect("kept");
    assert_eq!((life.deliveries[0].state, life.deliveries[0].until), (DeliveryState::Delayed, Some(105_000)));
    assert_eq!(&life.event.raw[..], b"1");

    let listed = inbox.summaries(SummaryQuery { limit: 5, ..SummaryQuery::default() }).await.expect("listed");
    assert_eq!(listed, [life.summary]);
    let error = inbox.life("memory-77").await.expect_err("never kept");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let error =
        inbox.dead_places("crm", std::slice::from_ref(event_id)).await.expect_err("it is delayed, not dead");
    assert_eq!((error.kind(), error.field()), (ErrorKind::NotFound, Some("event_ids")));
}
