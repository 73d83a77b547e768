//! What no webhook brought is read from the history.
use super::support::TestStore;
use super::world::*;
use amochats::{ChannelSecret, ErrorKind, sign_body};
use amochats_runtime::backfill::Progress;
use amochats_runtime::clock::Clock;
use amochats_runtime::store::{EventQuery, MemoryStore, SqliteStore, Start, Store};
use amochats_runtime::{ConsumerOptions, Origin, Runtime};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// A message of the history, as the service tells it; without our id it was written in the CRM.
fn told(id: &str, ours: Option<&str>, at_msec: i64) -> Value {
    let mut message = json!({
        "timestamp": at_msec / 1000, "msec_timestamp": at_msec,
        "sender": { "id": "manager" }, "receiver": { "id": "client", "client_id": "u-1" },
        "message": { "id": id, "type": "text", "text": format!("text of {id}") },
    });
    if let Some(ours) = ours {
        message["message"]["client_id"] = ours.into();
    }
    message
}

fn hook(message: &str) -> String {
    json!({ "account_id": ACCOUNT, "message": {
        "conversation": { "id": CHAT, "client_id": "c-1" },
        "message": { "id": message, "type": "text", "text": message } } })
    .to_string()
}

async fn ingest(world: &World, body: String) {
    let signature = sign_body(&ChannelSecret::new(SECRET).expect("clean"), body.as_bytes());
    let scope = scope();
    let ingested = world.runtime.channels().ingest(scope.as_str(), Some(&signature), body.into());
    ingested.await.expect("kept");
}

/// Waits until the backfill has nothing to do; its pace is the clock's.
async fn backfilled(world: &World) -> Progress {
    soon("end of the backfill", async {
        loop {
            let progress = world.runtime.backfill().progress().await.expect("known");
            if !progress.running {
                return progress;
            }
            world.clock.advance(SECOND);
            tokio::task::yield_now().await;
        }
    })
    .await
}

#[tokio::test]
async fn what_no_webhook_brought_is_fetched_once() {
    let mut world = World::new().await;
    let inbox = world.runtime.inbox().clone();
    ingest(&world, hook("M-1")).await;
    assert_eq!(world.runtime.backfill().run().await.expect("begun").pending, 1);
    let asked = world.service.expect("history").await;
    assert!(asked.path.contains(&format!("/chats/{CHAT}/history")), "{}", asked.path);
    let now = world.clock.now_msec();
    let history = [
        told("M-3", None, now + 2000),
        told("M-2", None, now + 1000),
        told("M-ours", Some("m-9"), now + 500),
        told("M-1", None, now),
        told("M-old", None, now - 3_600_000),
    ];
    asked.answer("200 OK", "", &json!({ "messages": history }).to_string()).await;
    let progress = backfilled(&world).await;
    assert_eq!((progress.pending, progress.read, progress.failed, progress.appended), (0, 1, 0, 2));

    inbox.create_subscription("crm", Start::Oldest).await.expect("made");
    let mut consumer = inbox.consumer("crm", ConsumerOptions::default()).await.expect("a consumer");
    let mut events = Vec::new();
    while events.len() < 3 {
        for delivery in soon("delivery", consumer.next()).await.expect("deliveries") {
            events.push(delivery.event.to_json());
            inbox.settle(&delivery.ack_id, amochats_runtime::Verdict::Ack).await.expect("committed");
        }
    }
    let seen: Vec<_> = events.iter().map(|event| (&event["message_ref_id"], &event["origin"])).collect();
    let expected = [("M-1", "webhook"), ("M-2", "backfill"), ("M-3", "backfill")]
        .map(|(id, origin)| (id.into(), origin.into()));
    assert_eq!(seen, expected.iter().map(|(id, origin): &(Value, Value)| (id, origin)).collect::<Vec<_>>());
    assert_eq!((&events[2]["text"], &events[2]["conversation_id"]), (&"text of M-3".into(), &"c-1".into()));

    // A second time nothing is new, also what was settled.
    world.runtime.backfill().run().await.expect("begun");
    let asked = world.service.expect("history").await;
    asked.answer("200 OK", "", &json!({ "messages": history }).to_string()).await;
    assert_eq!(backfilled(&world).await.appended, 2);

    let unreported = world.runtime.backfill().unreported(None, 10).await.expect("listed");
    let ids: Vec<_> = unreported.iter().map(|event| event.to_json()["message_ref_id"].clone()).collect();
    assert_eq!(ids, ["M-1", "M-2", "M-3"]);
    let report = world.enqueue(status("M-2")).await;
    world.service.expect("delivery_status").await.answer("200 OK", "", "").await;
    world.end(&report).await;
    let after = Some(unreported[0].event_id.clone());
    let left = world.runtime.backfill().unreported(after, 10).await.expect("listed");
    assert_eq!(
        left.iter().map(|event| event.to_json()["message_ref_id"].clone()).collect::<Vec<_>>(),
        ["M-3"]
    );
}

#[tokio::test]
async fn a_backfill_goes_on_after_a_restart_and_a_failure() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let store = Arc::new(SqliteStore::open(&path).await.expect("a new store"));
    let world = World::over(store, Service::start().await, "").await;
    ingest(&world, hook("M-1")).await;
    world.runtime.shutdown(Duration::from_secs(30)).await;

    // It came while nobody listened.
    let service = Service::start().await;
    let mut config = config(&service, "");
    config.backfill.on_start = true;
    let clock = Arc::new(TestClock::new());
    let store = Arc::new(SqliteStore::open(&path).await.expect("an old store"));
    let runtime = Runtime::start_with(&config, store, clock.clone()).await.expect("started");
    let mut world = World { runtime, service, clock };
    let asked = world.service.expect("history").await;
    asked.answer("503 Service Unavailable", "", "").await;
    world.clock.next(SECOND).await;
    drop(world.service.expect("history").await);
    world.runtime.shutdown(Duration::from_secs(30)).await;

    let store = Arc::new(SqliteStore::open(&path).await.expect("an old store"));
    let mut world = World::over(store, Service::start().await, "").await;
    let asked = world.service.expect("history").await;
    let missed = told("M-2", None, world.clock.now_msec());
    asked.answer("200 OK", "", &json!({ "messages": [missed] }).to_string()).await;
    // The page does not reach back to the last event, so the next one is read.
    world.clock.next(SECOND).await;
    world.service.expect("history").await.history(&[]).await;
    assert_eq!(backfilled(&world).await.appended, 1);
}

#[tokio::test]
async fn a_conversation_that_cannot_be_read_now_holds_up_no_other() {
    let mut world = World::new().await;
    let other = "ffffffff-9e6c-4a88-838a-5f62be227bdc";
    ingest(&world, hook("M-1")).await;
    ingest(&world, hook("M-2").replace(CHAT, other).replace("c-1", "c-2")).await;
    world.runtime.backfill().run().await.expect("begun");
    for chat in [CHAT, other, CHAT] {
        let asked = world.service.expect("history").await;
        assert!(asked.path.contains(chat), "{}", asked.path);
        if chat == CHAT {
            asked.answer("503 Service Unavailable", "", "").await;
        } else {
            asked.history(&[]).await;
        }
        world.clock.next(SECOND).await;
    }
    world.service.expect("history").await.history(&[]).await;
    assert_eq!(backfilled(&world).await.read, 2);
}

#[tokio::test]
async fn accounts_with_webhooks_v1_are_left_alone() {
    let world = World::new().await;
    ingest(&world, hook("M-1")).await;
    ingest(
        &world,
        json!({ "receiver": "u-1", "conversation_id": "c-1", "type": "text", "text": "hi" }).to_string(),
    )
    .await;
    assert_eq!(world.runtime.backfill().run().await.expect("begun").pending, 0);
}

#[tokio::test]
async fn accounts_with_webhooks_v1_are_fetched_if_that_is_wanted() {
    for in_memory in [true, false] {
        let folder = tempfile::tempdir().expect("a folder");
        let store: Arc<dyn Store> = if in_memory {
            Arc::new(MemoryStore::default())
        } else {
            Arc::new(SqliteStore::open(folder.path().join("store.db")).await.expect("a new store"))
        };
        let service = Service::start().await;
        let mut config = config(&service, "");
        config.backfill.v1_hooks = true;
        let clock = Arc::new(TestClock::new());
        let runtime = Runtime::start_with(&config, store, clock.clone()).await.expect("started");
        let mut world = World { runtime, service, clock };
        ingest(&world, hook("M-1")).await;
        let now = world.clock.now_msec();
        let v1 = |text: &str, at: Option<i64>| json!({ "receiver": "u-1", "conversation_id": "c-1", "type": "text", "text": text, "msec_timestamp": at });
        ingest(&world, v1("text of M-2", Some(now + 999)).to_string()).await;
        ingest(&world, v1("text of M-3", Some(now + 5000)).to_string()).await;
        ingest(&world, v1("text of M-4", None).to_string()).await;
        ingest(&world, v1("other", None).to_string()).await;

        world.runtime.backfill().run().await.expect("begun");
        let asked = world.service.expect("history").await;
        let history = [
            told("M-6", None, now + 100_000),
            // The time of the webhook is near, far, and not told; the content differs; it came twice.
            told("M-2", None, now),
            told("M-3", None, now + 3999),
            told("M-4", None, now - 1000),
            told("M-5", None, now),
            json!({ "msec_timestamp": now + 10, "receiver": { "id": "client", "client_id": "u-1" },
                    "message": { "id": "M-2b", "type": "text", "text": "text of M-2" } }),
            told("M-old", None, now - 3_600_000),
        ];
        asked.answer("200 OK", "", &json!({ "messages": history }).to_string()).await;
        assert_eq!(backfilled(&world).await.appended, 4);
        let query = EventQuery { after: None, scope: None, limit: 100 };
        let events = world.runtime.inbox().events(query).await.expect("listed");
        let fetched = events.iter().filter(|event| event.origin == Origin::Backfill);
        let ids = fetched.map(|event| {
            let json = event.to_json();
            assert_eq!(
                (event.is_possible_duplicate(), json["possible_duplicate"].as_bool()),
                (true, Some(true))
            );
            json["message_ref_id"].as_str().expect("an id").to_owned()
        });
        assert_eq!(ids.collect::<Vec<_>>(), ["M-5", "M-2b", "M-3", "M-6"]);
    }
}

#[tokio::test]
async fn what_could_not_be_kept_is_fetched_back() {
    let store = Arc::new(TestStore::default());
    let mut world = World::over(store.clone(), Service::start().await, "").await;
    let refused = async |body: String| {
        let signature = sign_body(&ChannelSecret::new(SECRET).expect("clean"), body.as_bytes());
        let scope = scope();
        let ingested = world.runtime.channels().ingest(scope.as_str(), Some(&signature), body.into());
        ingested.await.expect_err("not kept").kind()
    };
    store.fail(Some(ErrorKind::StoreFull));
    // Webhooks v1 name nothing that could be found.
    for body in [hook("M-1"), json!({ "receiver": "u-1", "conversation_id": "c-2" }).to_string()] {
        assert_eq!(refused(body).await, ErrorKind::StoreFull);
    }
    store.fail(None);
    let asked = world.service.expect("history").await;
    assert!(asked.path.contains(&format!("/chats/{CHAT}/history")), "{}", asked.path);
    let now = world.clock.now_msec();
    let history = [told("M-2", None, now), told("M-1", None, now - 10), told("M-old", None, now - 3_600_000)];
    asked.answer("200 OK", "", &json!({ "messages": history }).to_string()).await;
    let progress = backfilled(&world).await;
    assert_eq!((progress.pending, progress.read, progress.appended), (0, 1, 2));
    assert!(world.service.nothing_came());
}

/// As when the machine slept: the process goes on as if nothing had been, and nobody restarts it.
#[tokio::test]
async fn what_came_while_the_process_stood_still_is_fetched() {
    let service = Service::start().await;
    let mut config = config(&service, "");
    config.backfill.on_start = true;
    let clock = Arc::new(TestClock::new());
    let store = Arc::new(MemoryStore::default());
    let runtime = Runtime::start_with(&config, store, clock.clone()).await.expect("started");
    let mut world = World { runtime, service, clock };
    ingest(&world, hook("M-1")).await;
    for missed in ["M-2", "M-3"] {
        world.clock.stand_still(Duration::from_secs(600));
        let asked = world.service.expect("history").await;
        assert!(asked.path.contains(&format!("/chats/{CHAT}/history")), "{}", asked.path);
        let now = world.clock.now_msec();
        let history = [told(missed, None, now - 300_000), told("M-old", None, now - 3_600_000)];
        asked.answer("200 OK", "", &json!({ "messages": history }).to_string()).await;
        let progress = backfilled(&world).await;
        assert_eq!((progress.pending, progress.failed), (0, 0));
    }
    assert_eq!(backfilled(&world).await.appended, 2);
    assert!(world.service.nothing_came());
}

#[tokio::test]
async fn a_long_history_is_read_page_by_page_and_no_further_than_allowed() {
    let service = Service::start().await;
    let mut config = config(&service, "");
    config.backfill.max_pages = 2;
    let clock = Arc::new(TestClock::new());
    let runtime = Runtime::start_with(&config, Arc::new(MemoryStore::default()), clock.clone()).await;
    let mut world = World { runtime: runtime.expect("started"), service, clock };
    ingest(&world, hook("M-0")).await;
    world.runtime.backfill().run().await.expect("begun");
    let now = world.clock.now_msec();
    for page in 0..2 {
        let asked = world.service.expect("history").await;
        // What is deleted meanwhile moves the others to the page before: five come again.
        let offset = asked.path.contains("offset=5");
        assert_eq!(offset, page == 1, "{}", asked.path);
        let messages: Vec<_> =
            (0..10).map(|place| told(&format!("M-{}", 100 - page * 5 - place), None, now + 1000)).collect();
        asked.answer("200 OK", "", &json!({ "messages": messages }).to_string()).await;
        if page == 0 {
            world.clock.next(SECOND).await;
        }
    }
    let progress = backfilled(&world).await;
    assert_eq!((progress.pending, progress.read, progress.appended), (0, 1, 15));
    assert!(world.service.nothing_came(), "there are more, but no more is read");
}
