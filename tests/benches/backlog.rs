//! What a large backlog costs: a million events are kept that nobody has settled, then the store is
//! opened anew, and a consumer takes them.
//!
//! `AMOCHATS_BACKLOG` is how many, a million unless it says otherwise; `AMOCHATS_BACKLOG_DIR` is
//! where the file is made, about 1 GB.

use amochats_runtime::clock::SystemClock;
use amochats_runtime::store::{SqliteStore, Start, Store, SummaryQuery};
use amochats_runtime::{ConsumerOptions, Inbox, NewEvent, Origin, Redelivery, Verdict};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

const EVENTS: u64 = 1_000_000;
/// As many as appends that share a commit under load.
const PRODUCERS: u64 = 256;
const CONVERSATIONS: u64 = 10_000;
/// A usual webhook of v2 is as long.
const BODY: usize = 633;
/// For so many events the rate of consumption is measured.
const CONSUMED: u64 = 100_000;

#[tokio::main]
async fn main() {
    // `cargo test --benches` only wants to know that it runs.
    let brief = std::env::args().any(|arg| arg == "--test");
    let asked = std::env::var("AMOCHATS_BACKLOG").ok().map(|count| count.parse().expect("a whole number"));
    let events = asked.unwrap_or(if brief { 1000 } else { EVENTS }).max(1);
    let folder = match std::env::var_os("AMOCHATS_BACKLOG_DIR") {
        Some(folder) => tempfile::tempdir_in(folder),
        None => tempfile::tempdir(),
    };
    let folder = folder.expect("a folder");
    let path = folder.path().join("backlog.db");

    let started = Instant::now();
    fill(&path, events).await;
    let bytes = path.metadata().map_or(0, |file| file.len());
    say(&format!("{events} events kept"), &rate(events, started.elapsed()));
    say("the file", &format!("{} MB", bytes >> 20));

    let before = memory();
    let started = Instant::now();
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&path).await.expect("opened"));
    say("start-up of the store", &format!("{:.0} ms", millis(started.elapsed())));
    let started = Instant::now();
    let state = store.subscriptions().await.expect("listed").remove(0);
    assert_eq!(state.unsettled, events);
    say("counting the backlog", &format!("{:.0} ms", millis(started.elapsed())));
    let started = Instant::now();
    let newest = SummaryQuery { newest_first: true, limit: 100, ..SummaryQuery::default() };
    assert_eq!(store.summaries(newest).await.expect("listed").len() as u64, events.min(100));
    say("listing the newest 100", &format!("{:.1} ms", millis(started.elapsed())));

    let inbox = Inbox::new(store.clone(), Arc::new(SystemClock::default()), Redelivery::default());
    let (timers, stop) = (inbox.clone(), CancellationToken::new());
    let ended = stop.clone();
    let running = tokio::spawn(async move { timers.run(ended).await });
    let consumed = events.min(CONSUMED);
    let started = Instant::now();
    consume(&inbox, consumed).await;
    say(&format!("{consumed} events consumed and settled"), &rate(consumed, started.elapsed()));
    say("memory that this took", &format!("{} MB", memory().saturating_sub(before) >> 10));
    stop.cancel();
    running.await.expect("no panic");
    store.close().await;
}

async fn fill(path: &Path, events: u64) {
    let store = Arc::new(SqliteStore::open(path).await.expect("made"));
    let inbox = Inbox::new(store.clone(), Arc::new(SystemClock::default()), Redelivery::default());
    inbox.create_subscription("crm", Start::Oldest).await.expect("made");
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|first| {
            let inbox = inbox.clone();
            tokio::spawn(async move {
                for number in (first..events).step_by(usize::try_from(PRODUCERS).expect("small")) {
                    inbox.append(event(number)).await.expect("kept");
                }
            })
        })
        .collect();
    for producer in producers {
        producer.await.expect("no panic");
    }
    store.close().await;
}

fn event(number: u64) -> NewEvent {
    let mut digest = [0; 20];
    digest[..8].copy_from_slice(&number.to_le_bytes());
    NewEvent {
        channel_id: "a4490ccc-5d7f-11e7-907b-a6006ad3dba0".into(),
        account_id: "13fa84f7-6b61-4086-98ed-0a9de19ee15c".into(),
        kind: "message",
        conversation_ref_id: Some(format!("conversation-{}", number % CONVERSATIONS).into()),
        conversation_id: None,
        message_ref_id: Some(format!("message-{number}").into()),
        digest: Some(digest),
        received_at: i64::try_from(number).expect("small"),
        origin: Origin::Webhook,
        signature: None,
        raw: vec![b'x'; BODY].into(),
    }
}

async fn consume(inbox: &Inbox, events: u64) {
    let options = ConsumerOptions { max_outstanding: 1000, ..ConsumerOptions::default() };
    let mut consumer = inbox.consumer("crm", options).await.expect("a consumer");
    let (mut left, mut settling) = (events, tokio::task::JoinSet::new());
    while left > 0 {
        for delivery in consumer.next().await.expect("deliveries") {
            left = left.saturating_sub(1);
            let inbox = inbox.clone();
            settling.spawn(async move { inbox.settle(&delivery.ack_id, Verdict::Ack).await });
        }
        while let Some(settled) = settling.try_join_next() {
            settled.expect("no panic").expect("settled");
        }
    }
    while let Some(settled) = settling.join_next().await {
        settled.expect("no panic").expect("settled");
    }
    consumer.close().await;
}

fn say(what: &str, figure: &str) {
    println!("{what:<40} {figure:>16}");
}

fn rate(count: u64, took: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    let rate = count as f64 / took.as_secs_f64();
    format!("{rate:.0}/s")
}

fn millis(took: Duration) -> f64 {
    took.as_secs_f64() * 1000.0
}

/// What this process has in memory, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
