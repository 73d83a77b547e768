//! The contract of what a store knows for the backfill, run against each.

use amochats_runtime::backfill::Gap;
use amochats_runtime::store::{Appended, EventQuery, MemoryStore, SqliteStore, Store};
use amochats_runtime::{NewEvent, Origin};

/// Runs each test against every store.
macro_rules! contract {
    ($($name:ident)*) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&super::MemoryStore::default()).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let folder = tempfile::tempdir().expect("a folder");
                let store = super::SqliteStore::open(folder.path().join("inbox.db")).await.expect("a new store");
                super::$name(&store).await;
            })*
        }
    };
}

contract! {
    of_two_marks_the_earlier_time_counts
    gaps_come_one_after_the_other
    what_is_known_is_marked_from_its_last_event_on
    accounts_with_webhooks_v1_are_marked_if_asked_for
    a_message_that_was_seen_is_not_missing
}

fn gap(conversation: &str, since: i64) -> Gap {
    Gap {
        scope_id: "channel_account".into(),
        conversation_ref_id: conversation.into(),
        conversation_id: Some(format!("own-{conversation}").into()),
        since,
    }
}

/// A message, whose id is missing where webhooks are of v1.
fn event(conversation: &str, message: Option<&str>, received_at: i64) -> NewEvent {
    let raw = match message {
        Some(id) => format!(
            r#"{{"account_id":"account","time":1,"message":{{"conversation":{{"id":"{conversation}"}},"message":{{"id":"{id}","type":"text","text":"t"}}}}}}"#
        ),
        None => r#"{"receiver":"u","conversation_id":"c","type":"text","text":"t"}"#.to_owned(),
    };
    NewEvent {
        channel_id: "channel".into(),
        account_id: "account".into(),
        kind: "message",
        conversation_ref_id: Some(conversation.into()),
        conversation_id: Some(format!("own-{conversation}").into()),
        message_ref_id: message.map(Into::into),
        digest: message.map(|_| [0; 20]),
        received_at,
        origin: Origin::Webhook,
        signature: None,
        raw: raw.into(),
    }
}

async fn append(store: &dyn Store, event: NewEvent) {
    assert!(matches!(store.append(event).await.expect("answered"), Appended::Kept(_)));
}

async fn all(store: &dyn Store) -> Vec<Gap> {
    let (mut all, mut last) = (Vec::new(), None);
    while let Some(gap) = store.backfill().next(last).await.expect("asked") {
        all.push(gap.clone());
        last = Some(gap);
    }
    assert_eq!(store.backfill().pending().await.expect("counted"), all.len() as u64);
    all.sort_by(|one, other| one.conversation_ref_id.as_str().cmp(other.conversation_ref_id.as_str()));
    all
}

async fn of_two_marks_the_earlier_time_counts(store: &dyn Store) {
    let backfill = store.backfill();
    backfill.mark(gap("a", 50)).await.expect("marked");
    backfill.mark(gap("a", 90)).await.expect("marked");
    assert_eq!(all(store).await, [gap("a", 50)]);
    // Marked again while it was read.
    backfill.mark(gap("a", 20)).await.expect("marked");
    backfill.done(gap("a", 50)).await.expect("done");
    assert_eq!(all(store).await, [gap("a", 20)], "more is missing than what was read");
    backfill.done(gap("a", 20)).await.expect("done");
    assert_eq!(all(store).await, []);
    backfill.done(gap("a", 20)).await.expect("done, too");
}

async fn gaps_come_one_after_the_other(store: &dyn Store) {
    let backfill = store.backfill();
    let gaps = ["a", "b", "c"].map(|conversation| gap(conversation, 1));
    for gap in &gaps {
        backfill.mark(gap.clone()).await.expect("marked");
    }
    assert_eq!(all(store).await, gaps);
    // After one that is done, the others come.
    let first = backfill.next(None).await.expect("asked").expect("one");
    backfill.done(first.clone()).await.expect("done");
    let second = backfill.next(Some(first.clone())).await.expect("asked").expect("another");
    assert_ne!(first, second);
    assert_eq!(all(store).await.len(), 2);
}

async fn what_is_known_is_marked_from_its_last_event_on(store: &dyn Store) {
    for (conversation, message, at) in [("a", "1", 10), ("b", "2", 20), ("a", "3", 30)] {
        append(store, event(conversation, Some(message), at)).await;
    }
    append(store, NewEvent { conversation_ref_id: None, ..event("c", Some("4"), 40) }).await;
    store.backfill().mark_all(false, i64::MAX).await.expect("marked");
    assert_eq!(all(store).await, [gap("a", 30), gap("b", 20)]);
    // What came since nobody was there is no sign that nothing is missing before it.
    store.backfill().mark_all(false, 25).await.expect("marked");
    assert_eq!(all(store).await, [gap("a", 25), gap("b", 20)]);
}

async fn accounts_with_webhooks_v1_are_marked_if_asked_for(store: &dyn Store) {
    append(store, event("a", Some("1"), 10)).await;
    append(store, NewEvent { conversation_ref_id: None, ..event("z", None, 20) }).await;
    store.backfill().mark_all(false, i64::MAX).await.expect("marked");
    assert_eq!(all(store).await, []);
    store.backfill().mark_all(true, i64::MAX).await.expect("marked");
    assert_eq!(all(store).await, [gap("a", 10)]);
}

async fn a_message_that_was_seen_is_not_missing(store: &dyn Store) {
    let missing = async |message: &str, digest: u8| {
        let event = NewEvent {
            digest: Some([digest; 20]),
            origin: Origin::Backfill,
            ..event("a", Some(message), 50)
        };
        store.backfill().append_missing(event).await.expect("answered")
    };
    append(store, event("a", Some("1"), 10)).await;
    assert!(!missing("1", 0).await);
    assert!(!missing("1", 1).await, "the history tells it in other words");
    assert!(missing("2", 1).await);
    assert!(!missing("2", 2).await);
    let query = EventQuery { after: None, scope: None, limit: 9 };
    let origins: Vec<_> = store.events(query).await.expect("listed").iter().map(|one| one.origin).collect();
    assert_eq!(origins, [Origin::Webhook, Origin::Backfill]);
}
