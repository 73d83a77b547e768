//! The contract of a store, run against each.

use amochats::ErrorKind;
use amochats_runtime::store::{
    Appended, Filter, MemoryStore, Settled, Settlement, SqliteStore, Start, Store, SubscriptionId, Token,
};
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
    events_are_leased_in_order_and_once
    a_conversation_is_handed_out_one_by_one
    a_late_settlement_is_lost
    delayed_events_block_their_conversation_alone
    dead_letters_let_the_next_through
    duplicates_are_kept_once_and_conflicts_are_flagged
    subscriptions_start_where_asked
    a_subscription_is_filled_in_order_beside_appends
    own_and_ref_id_are_one_conversation
    deleting_a_subscription_ends_its_leases
    bodies_come_back_to_the_byte
    a_closed_store_says_so
}

fn event(conversation: &str, message: &str) -> NewEvent {
    NewEvent {
        channel_id: "channel".into(),
        account_id: "account".into(),
        kind: "message",
        conversation_ref_id: (!conversation.is_empty()).then(|| conversation.into()),
        conversation_id: None,
        message_ref_id: Some(message.into()),
        digest: Some([0; 20]),
        received_at: 1000,
        origin: Origin::Webhook,
        signature: None,
        raw: message.as_bytes().to_vec().into(),
    }
}

async fn append(store: &dyn Store, conversation: &str, message: &str) {
    let appended = store.append(event(conversation, message)).await.expect("answered");
    assert!(matches!(appended, Appended::Kept(_)), "{appended:?}");
}

async fn subscribe(store: &dyn Store, name: &str) -> SubscriptionId {
    store.create_subscription(name, Start::Oldest, Filter::default(), 1).await.expect("made").0
}

/// Leases all that is ready: bodies and tokens.
async fn lease(store: &dyn Store, subscription: SubscriptionId) -> Vec<(String, Token)> {
    let leased = store.lease(subscription, 1000, usize::MAX).await.expect("leased");
    leased.into_iter().map(|one| (String::from_utf8_lossy(&one.event.raw).into_owned(), one.token)).collect()
}

fn names(leased: &[(String, Token)]) -> Vec<&str> {
    leased.iter().map(|(name, _)| name.as_str()).collect()
}

async fn settle(store: &dyn Store, token: Token, settlement: Settlement) -> Settled {
    store.settle(vec![(token, settlement)]).await.expect("committed")[0]
}

async fn events_are_leased_in_order_and_once(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    for (conversation, message) in [("a", "1"), ("b", "2"), ("", "3"), ("", "4")] {
        append(store, conversation, message).await;
    }
    let first = store.lease(crm, 2, usize::MAX).await.expect("leased");
    assert_eq!(
        first.iter().map(|one| (one.attempt, &one.event.raw[..])).collect::<Vec<_>>(),
        [(1, &b"1"[..]), (1, b"2")]
    );
    assert_eq!(names(&lease(store, crm).await), ["3", "4"]);
    assert!(lease(store, crm).await.is_empty());
    let state = store.subscriptions().await.expect("listed").remove(0);
    assert_eq!((state.name.as_str(), state.created_at, state.unsettled, state.dead), ("crm", 1, 4, 0));
    assert_eq!(state.oldest_unsettled_at, Some(1000));
}

async fn a_conversation_is_handed_out_one_by_one(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    for message in ["1", "2", "3"] {
        append(store, "a", message).await;
    }
    append(store, "b", "other").await;
    let mut leased = lease(store, crm).await;
    assert_eq!(names(&leased), ["1", "other"]);
    leased.truncate(1);
    let mut seen = Vec::new();
    while let Some((name, token)) = leased.pop() {
        seen.push(name);
        assert_eq!(settle(store, token, Settlement::Ack).await, Settled::Done);
        leased = lease(store, crm).await;
    }
    assert_eq!(seen, ["1", "2", "3"]);
}

async fn a_late_settlement_is_lost(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "1").await;
    let (_, old) = lease(store, crm).await.remove(0);
    assert_eq!(settle(store, old, Settlement::Release).await, Settled::Done);
    let again = store.lease(crm, 1, usize::MAX).await.expect("leased").remove(0);
    assert_eq!(again.attempt, 2);
    for late in [Settlement::Ack, Settlement::Dead, Settlement::Delay, Settlement::Release, Settlement::Wake]
    {
        assert_eq!(settle(store, old, late).await, Settled::Lost, "{late:?}");
    }
    assert_eq!(settle(store, again.token, Settlement::Wake).await, Settled::Lost, "it is not delayed");
    assert_eq!(settle(store, again.token, Settlement::Ack).await, Settled::Done);
    assert_eq!(settle(store, again.token, Settlement::Ack).await, Settled::Lost, "settled twice");
}

async fn delayed_events_block_their_conversation_alone(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "a1").await;
    append(store, "a", "a2").await;
    let (_, token) = lease(store, crm).await.remove(0);
    settle(store, token, Settlement::Delay).await;
    append(store, "b", "b1").await;
    assert_eq!(names(&lease(store, crm).await), ["b1"]);
    assert_eq!(settle(store, token, Settlement::Ack).await, Settled::Lost, "it is nobody's now");
    assert_eq!(settle(store, token, Settlement::Wake).await, Settled::Done);
    assert_eq!(names(&lease(store, crm).await), ["a1"]);
}

async fn dead_letters_let_the_next_through(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "poison").await;
    append(store, "a", "next").await;
    let (_, token) = lease(store, crm).await.remove(0);
    assert_eq!(settle(store, token, Settlement::Dead).await, Settled::Done);
    assert_eq!(names(&lease(store, crm).await), ["next"]);
    let state = store.subscriptions().await.expect("listed").remove(0);
    assert_eq!((state.unsettled, state.dead), (1, 1));
}

async fn duplicates_are_kept_once_and_conflicts_are_flagged(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "1").await;
    assert_eq!(store.append(event("a", "1")).await.expect("answered"), Appended::Duplicate);
    let other = NewEvent { digest: Some([9; 20]), ..event("b", "1") };
    assert!(matches!(store.append(other.clone()).await.expect("answered"), Appended::Conflicting(_)));
    assert_eq!(store.append(other).await.expect("answered"), Appended::Duplicate);
    let elsewhere = NewEvent { account_id: "other".into(), ..event("a", "1") };
    assert!(matches!(store.append(elsewhere).await.expect("answered"), Appended::Kept(_)));
    for _ in 0..2 {
        let no_id = NewEvent { message_ref_id: None, ..event("", "v1") };
        assert!(matches!(store.append(no_id).await.expect("answered"), Appended::Kept(_)));
    }
    let leased = store.lease(crm, 100, usize::MAX).await.expect("leased");
    let flags: Vec<bool> = leased.iter().map(|one| one.event.conflicting_duplicate).collect();
    assert_eq!(flags, [false, true, false, false, false]);
}

async fn subscriptions_start_where_asked(store: &dyn Store) {
    for (message, received_at) in [("1", 10), ("2", 20), ("3", 30)] {
        store.append(NewEvent { received_at, ..event("", message) }).await.expect("kept");
    }
    let starts = [
        ("oldest", Start::Oldest),
        ("since", Start::Since(15)),
        ("future", Start::Since(99)),
        ("now", Start::Now),
    ];
    for (name, start) in starts {
        let (id, new) = store.create_subscription(name, start, Filter::default(), 1).await.expect("made");
        assert!(new);
        assert_eq!(store.create_subscription(name, Start::Oldest, Filter::default(), 2).await.expect("known"), (id, false));
        assert_eq!(store.subscription(name).await.expect("known"), id);
    }
    append(store, "", "4").await;
    for (name, expected) in [
        ("oldest", &["1", "2", "3", "4"][..]),
        ("since", &["2", "3", "4"]),
        ("future", &["4"]),
        ("now", &["4"]),
    ] {
        let id = store.subscription(name).await.expect("known");
        assert_eq!(names(&lease(store, id).await), expected, "{name}");
    }
    let error = store.subscription("none").await.expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::SubscriptionNotFound);
}

async fn a_subscription_is_filled_in_order_beside_appends(store: &dyn Store) {
    // More than one portion of what a store opens at a time.
    let (kept, more, conversations) = (2500, 20, 100);
    let append =
        |i: usize| async move { append(store, &format!("c{}", i % conversations), &i.to_string()).await };
    futures_util::future::join_all((0..kept).map(append)).await;
    let beside = async {
        for i in kept..kept + more {
            append(i).await;
        }
    };
    let (late, ()) = futures_util::future::join(subscribe(store, "late"), beside).await;
    let mut seen: Vec<Vec<i64>> = vec![Vec::new(); conversations];
    while seen.iter().map(Vec::len).sum::<usize>() < kept + more {
        let mut acks = Vec::new();
        for (name, token) in lease(store, late).await {
            seen[name.parse::<usize>().expect("a number") % conversations].push(token.place);
            acks.push((token, Settlement::Ack));
        }
        store.settle(acks).await.expect("committed");
    }
    assert!(lease(store, late).await.is_empty());
    assert!(seen.iter().all(|conversation| conversation.is_sorted()), "in the order of keeping");
}

async fn own_and_ref_id_are_one_conversation(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    let ids = |ref_id: Option<&str>, own_id: Option<&str>, message: &str| NewEvent {
        conversation_ref_id: ref_id.map(Into::into),
        conversation_id: own_id.map(Into::into),
        ..event("", message)
    };
    for new in [
        ids(None, Some("c"), "v1 before"),
        ids(Some("R"), Some("c"), "v2"),
        ids(None, Some("c"), "v1 after"),
        ids(Some("R"), None, "without own id"),
    ] {
        store.append(new).await.expect("kept");
    }
    let elsewhere = NewEvent { account_id: "other".into(), ..ids(None, Some("c"), "elsewhere") };
    store.append(elsewhere).await.expect("kept");
    let mut leased = lease(store, crm).await;
    assert_eq!(names(&leased), ["v1 before", "elsewhere"], "the same id in another account is another chat");
    let mut seen = Vec::new();
    while let Some((name, token)) = leased.first().cloned() {
        settle(store, token, Settlement::Ack).await;
        seen.push(name);
        leased = lease(store, crm).await;
    }
    assert_eq!(seen, ["v1 before", "v2", "v1 after", "without own id"]);
}

async fn deleting_a_subscription_ends_its_leases(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "1").await;
    let (_, token) = lease(store, crm).await.remove(0);
    store.delete_subscription("crm").await.expect("deleted");
    assert_eq!(settle(store, token, Settlement::Ack).await, Settled::Lost);
    let errors = [
        store.lease(crm, 1, usize::MAX).await.map(drop),
        store.delete_subscription("crm").await,
        store.subscription("crm").await.map(drop),
    ];
    for error in errors {
        assert_eq!(error.expect_err("gone").kind(), ErrorKind::SubscriptionNotFound);
    }
    let again = subscribe(store, "crm").await;
    assert_ne!(again, crm, "a number is not used twice, so that old tokens stay dead");
    assert_eq!(names(&lease(store, again).await), ["1"], "events outlive subscriptions");
}

async fn bodies_come_back_to_the_byte(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    let raw: Vec<u8> = (0..=255).collect();
    let new = NewEvent { raw: raw.clone().into(), ..event("a", "1") };
    let Appended::Kept(event_id) = store.append(new).await.expect("answered") else { panic!("kept") };
    let leased = store.lease(crm, 1, usize::MAX).await.expect("leased").remove(0);
    assert_eq!(leased.event.raw, raw);
    assert_eq!(leased.event.event_id, event_id);
    assert_eq!(leased.event.scope_id.as_str(), "channel_account");
    assert_eq!((leased.event.received_at, leased.event.origin), (1000, Origin::Webhook));
}

async fn a_closed_store_says_so(store: &dyn Store) {
    store.ping().await.expect("open");
    store.close().await;
    store.close().await;
    assert_eq!(store.ping().await.expect_err("closed").kind(), ErrorKind::Closed);
    assert_eq!(store.append(event("a", "1")).await.expect_err("closed").kind(), ErrorKind::Closed);
}
