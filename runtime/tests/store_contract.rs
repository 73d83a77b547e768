//! The contract of a store, run against each.

use amochats::ErrorKind;
use amochats_runtime::store::{
    Appended, DeliveryState, EventQuery, EventSummary, Filter, Keep, MemoryStore, Replay, Settled,
    Settlement, SqliteStore, Start, Store, SubscriptionId, SummaryQuery, Token,
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
    an_own_id_that_was_known_by_itself_joins_the_conversation
    deleting_a_subscription_ends_its_leases
    a_filter_lets_through_what_fits
    what_is_returned_was_not_tried
    no_more_bytes_are_leased_than_asked_for
    a_replay_comes_at_the_end_and_says_so
    dead_letters_are_listed_requeued_and_dropped
    events_are_found_and_listed
    summaries_are_listed_both_ways_and_filtered
    an_event_has_a_life_in_each_subscription
    a_life_has_its_times
    a_replayed_event_is_there_again
    old_events_go_once_nobody_needs_them
    what_nobody_has_asked_for_yet_is_needed
    a_message_is_known_for_longer_than_its_event
    a_purge_takes_one_conversation
    changes_are_told_but_not_those_that_make_nothing_ready
    bodies_come_back_to_the_byte
    a_closed_store_says_so
}

/// When all is handed out and settled here, in Unix milliseconds.
const AT: i64 = 5000;

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
    let leased = store.lease(subscription, 1000, usize::MAX, AT).await.expect("leased");
    leased.into_iter().map(|one| (String::from_utf8_lossy(&one.event.raw).into_owned(), one.token)).collect()
}

fn names(leased: &[(String, Token)]) -> Vec<&str> {
    leased.iter().map(|(name, _)| name.as_str()).collect()
}

async fn settle(store: &dyn Store, token: Token, settlement: Settlement) -> Settled {
    store.settle(vec![(token, settlement)], AT).await.expect("committed")[0]
}

async fn events_are_leased_in_order_and_once(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    for (conversation, message) in [("a", "1"), ("b", "2"), ("", "3"), ("", "4")] {
        append(store, conversation, message).await;
    }
    let first = store.lease(crm, 2, usize::MAX, AT).await.expect("leased");
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
    let again = store.lease(crm, 1, usize::MAX, AT).await.expect("leased").remove(0);
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
    let leased = store.lease(crm, 100, usize::MAX, AT).await.expect("leased");
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
        assert_eq!(
            store.create_subscription(name, Start::Oldest, Filter::default(), 2).await.expect("known"),
            (id, false)
        );
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
        store.settle(acks, AT).await.expect("committed");
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

async fn an_own_id_that_was_known_by_itself_joins_the_conversation(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    // The manager wrote first; our answer was told of before both ids were seen together.
    for (ref_id, own_id, message) in [
        (Some("R"), None, "written first"),
        (None, Some("c"), "apart"),
        (Some("R"), Some("c"), "both"),
        (None, Some("c"), "after both"),
    ] {
        let new = NewEvent {
            conversation_ref_id: ref_id.map(Into::into),
            conversation_id: own_id.map(Into::into),
            ..event("", message)
        };
        store.append(new).await.expect("kept");
    }
    let leased = lease(store, crm).await;
    assert_eq!(names(&leased), ["written first", "apart"], "nothing says yet that they are one");
    settle(store, leased[1].1, Settlement::Ack).await;
    assert_eq!(names(&lease(store, crm).await), [""; 0], "what names both is before it");
    settle(store, leased[0].1, Settlement::Ack).await;
    let leased = lease(store, crm).await;
    assert_eq!(names(&leased), ["both"]);
    settle(store, leased[0].1, Settlement::Ack).await;
    assert_eq!(names(&lease(store, crm).await), ["after both"]);
}

async fn deleting_a_subscription_ends_its_leases(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "1").await;
    let (_, token) = lease(store, crm).await.remove(0);
    store.delete_subscription("crm").await.expect("deleted");
    assert_eq!(settle(store, token, Settlement::Ack).await, Settled::Lost);
    let errors = [
        store.lease(crm, 1, usize::MAX, AT).await.map(drop),
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

async fn a_filter_lets_through_what_fits(store: &dyn Store) {
    let list = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let filters = [
        ("all", Filter::default()),
        ("account", Filter { accounts: vec!["other".into()], ..Filter::default() }),
        ("scope", Filter { scopes: vec!["channel_account".into()], ..Filter::default() }),
        ("kind", Filter { kinds: list(&["typing", "reaction"]), ..Filter::default() }),
        ("conversation", Filter { conversations: list(&["a", "own"]), ..Filter::default() }),
        ("both", Filter { kinds: list(&["message"]), conversations: list(&["a"]), ..Filter::default() }),
    ];
    append(store, "a", "before").await;
    for (name, filter) in &filters {
        store.create_subscription(name, Start::Oldest, filter.clone(), 1).await.expect("made");
    }
    for new in [
        NewEvent { account_id: "other".into(), ..event("b", "elsewhere") },
        NewEvent { kind: "reaction", message_ref_id: None, ..event("a", "reaction") },
        NewEvent { conversation_id: Some("own".into()), ..event("c", "by own id") },
        event("", "nowhere"),
    ] {
        store.append(new).await.expect("kept");
    }
    for (name, expected) in [
        ("all", &["before", "elsewhere", "by own id", "nowhere"][..]),
        ("account", &["elsewhere"]),
        ("scope", &["before", "by own id", "nowhere"]),
        ("kind", &["reaction"]),
        ("conversation", &["before", "by own id"]),
        ("both", &["before"]),
    ] {
        let id = store.subscription(name).await.expect("known");
        assert_eq!(names(&lease(store, id).await), expected, "{name}");
    }
    let known = store.subscriptions().await.expect("listed");
    assert!(known.iter().all(|state| filters.contains(&(state.name.as_str(), state.filter.clone()))));
}

async fn what_is_returned_was_not_tried(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "1").await;
    for _ in 0..2 {
        let leased = store.lease(crm, 1, usize::MAX, AT).await.expect("leased").remove(0);
        assert_eq!(leased.attempt, 1);
        assert_eq!(settle(store, leased.token, Settlement::Return).await, Settled::Done);
        assert_eq!(settle(store, leased.token, Settlement::Ack).await, Settled::Lost);
    }
}

async fn no_more_bytes_are_leased_than_asked_for(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    for name in ["1", "2", "3", "4"] {
        let raw = name.repeat(100).into_bytes().into();
        store.append(NewEvent { raw, ..event("", name) }).await.expect("kept");
    }
    let mut sizes = Vec::new();
    for max_bytes in [250, 1, 1000] {
        sizes.push(store.lease(crm, 10, max_bytes, AT).await.expect("leased").len());
    }
    assert_eq!(sizes, [2, 1, 1], "one at least, however large it is");
}

async fn a_replay_comes_at_the_end_and_says_so(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    let other = subscribe(store, "other").await;
    let mut ids = Vec::new();
    for (name, received_at) in [("1", 10), ("2", 20), ("3", 30)] {
        let Appended::Kept(id) =
            store.append(NewEvent { received_at, ..event("", name) }).await.expect("kept")
        else {
            panic!("kept");
        };
        ids.push(id);
    }
    let elsewhere = NewEvent { account_id: "other".into(), received_at: 40, ..event("", "4") };
    store.append(elsewhere).await.expect("kept");
    let replay = |from, scope: Option<&str>| Replay { from, scope: scope.map(Into::into) };
    store.replay("crm", replay(Start::Since(20), Some("channel_account"))).await.expect("replayed");
    store.replay("crm", replay(Start::After(ids[2].clone()), None)).await.expect("replayed");
    assert_eq!(store.replay("crm", replay(Start::Now, None)).await.expect("nothing"), 0);
    append(store, "", "5").await;
    let leased = store.lease(crm, 100, usize::MAX, AT).await.expect("leased");
    let seen: Vec<_> =
        leased.iter().map(|one| (String::from_utf8_lossy(&one.event.raw).into_owned(), one.again)).collect();
    let expected =
        [("1", false), ("2", false), ("3", false), ("4", false), ("2", true), ("3", true), ("4", true)];
    let expected: Vec<_> =
        expected.iter().chain(&[("5", false)]).map(|(name, again)| ((*name).to_owned(), *again)).collect();
    assert_eq!(seen, expected);
    assert_eq!(leased[1].event.event_id, leased[4].event.event_id, "it is the same event");
    assert_eq!(names(&lease(store, other).await), ["1", "2", "3", "4", "5"], "nobody else gets it");
    let foreign = store.replay("crm", replay(Start::After("foreign-1".into()), None)).await;
    assert_eq!(foreign.expect_err("refused").kind(), ErrorKind::InvalidArgument);
    let nobody = store.replay("none", replay(Start::Oldest, None)).await;
    assert_eq!(nobody.expect_err("refused").kind(), ErrorKind::SubscriptionNotFound);
}

async fn dead_letters_are_listed_requeued_and_dropped(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    for message in ["1", "2", "3", "4"] {
        append(store, "", message).await;
    }
    for (name, token) in lease(store, crm).await {
        let settlement = if name == "4" { Settlement::Ack } else { Settlement::Dead };
        settle(store, token, settlement).await;
    }
    append(store, "", "5").await;
    let dead = store.dead_letters("crm", 0, 2).await.expect("listed");
    assert_eq!(
        dead.iter().map(|one| (&one.event.raw[..], one.attempts)).collect::<Vec<_>>(),
        [(&b"1"[..], 1), (b"2", 1)]
    );
    let rest = store.dead_letters("crm", dead[1].place, 2).await.expect("listed");
    assert_eq!(rest.iter().map(|one| &one.event.raw[..]).collect::<Vec<_>>(), [b"3"]);

    assert_eq!(store.take_dead_letters("crm", Some(vec![dead[1].place]), true).await.expect("requeued"), 1);
    let again = store.lease(crm, 10, usize::MAX, AT).await.expect("leased");
    let seen: Vec<_> = again.iter().map(|one| (&one.event.raw[..], one.again, one.attempt)).collect();
    assert_eq!(seen, [(&b"5"[..], false, 1), (b"2", true, 1)], "at the end, with all its attempts");
    assert_eq!(store.take_dead_letters("crm", None, false).await.expect("dropped"), 2);
    assert!(store.dead_letters("crm", 0, 10).await.expect("listed").is_empty());
    assert!(lease(store, crm).await.is_empty());
    let nobody = store.dead_letters("none", 0, 1).await.expect_err("refused");
    assert_eq!(nobody.kind(), ErrorKind::SubscriptionNotFound);
}

async fn events_are_found_and_listed(store: &dyn Store) {
    for message in ["1", "2", "3"] {
        append(store, "a", message).await;
    }
    store.append(NewEvent { account_id: "other".into(), ..event("a", "4") }).await.expect("kept");
    let query = |after: Option<&str>, scope: Option<&str>, limit| EventQuery {
        after: after.map(ToOwned::to_owned),
        scope: scope.map(Into::into),
        limit,
    };
    let all = store.events(query(None, None, 10)).await.expect("listed");
    assert_eq!(all.iter().map(|event| &event.raw[..]).collect::<Vec<_>>(), [b"1", b"2", b"3", b"4"]);
    let after =
        store.events(query(Some(&all[0].event_id), Some("channel_account"), 1)).await.expect("listed");
    assert_eq!(after, [all[1].clone()]);
    assert_eq!(store.event(&all[3].event_id).await.expect("read"), Some(all[3].clone()));
    assert_eq!(store.event("foreign-1").await.expect("read"), None);
}

fn keep(events_since: i64, messages_since: i64) -> Keep {
    Keep { events_since, messages_since }
}

async fn kept(store: &dyn Store) -> Vec<String> {
    let events = store.events(EventQuery { after: None, scope: None, limit: 100 }).await.expect("listed");
    events.iter().map(|event| String::from_utf8_lossy(&event.raw).into_owned()).collect()
}

async fn old_events_go_once_nobody_needs_them(store: &dyn Store) {
    let (slow, quick) = (subscribe(store, "slow").await, subscribe(store, "quick").await);
    for (message, received_at) in [("1", 10), ("2", 20), ("3", 30), ("4", 40)] {
        store.append(NewEvent { received_at, ..event("", message) }).await.expect("kept");
    }
    let mut slowly = lease(store, slow).await;
    for (_, token) in lease(store, quick).await {
        settle(store, token, Settlement::Ack).await;
    }
    store.maintain(keep(35, 0)).await.expect("done");
    assert_eq!(kept(store).await, ["1", "2", "3", "4"], "somebody still needs them");
    settle(store, slowly.remove(0).1, Settlement::Ack).await;
    settle(store, slowly.remove(0).1, Settlement::Dead).await;
    settle(store, slowly.remove(1).1, Settlement::Ack).await;
    store.maintain(keep(35, 0)).await.expect("done");
    assert_eq!(kept(store).await, ["2", "3", "4"], "2 is a dead letter, 3 is leased, 4 is young");
    store.maintain(keep(99, 0)).await.expect("done");
    assert_eq!(kept(store).await, ["2", "3"]);
    let late = subscribe(store, "late").await;
    assert_eq!(names(&lease(store, late).await), ["2", "3"]);
    append(store, "", "5").await;
    assert_eq!(names(&lease(store, late).await), ["5"], "what was deleted is not taken for what is new");
}

async fn what_nobody_has_asked_for_yet_is_needed(store: &dyn Store) {
    let idle = subscribe(store, "idle").await;
    for message in ["1", "2"] {
        append(store, "", message).await;
    }
    store.maintain(keep(9999, 0)).await.expect("done");
    assert_eq!(names(&lease(store, idle).await), ["1", "2"]);
}

async fn a_message_is_known_for_longer_than_its_event(store: &dyn Store) {
    append(store, "", "1").await;
    store.maintain(keep(9999, 0)).await.expect("done");
    assert!(kept(store).await.is_empty());
    assert_eq!(store.append(event("", "1")).await.expect("answered"), Appended::Duplicate);
    store.maintain(keep(9999, 9999)).await.expect("done");
    append(store, "", "1").await;
}

async fn a_purge_takes_one_conversation(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "leased").await;
    lease(store, crm).await;
    append(store, "a", "waiting").await;
    append(store, "b", "other").await;
    let own = |message| NewEvent { conversation_id: Some("own".into()), ..event("a", message) };
    store.append(own("with both ids")).await.expect("kept");
    let elsewhere = NewEvent { account_id: "other".into(), ..event("a", "elsewhere") };
    store.append(elsewhere).await.expect("kept");
    assert_eq!(store.purge(&"channel_account".into(), "a").await.expect("purged").events, 3);
    assert_eq!(kept(store).await, ["other", "elsewhere"]);
    assert_eq!(names(&lease(store, crm).await), ["other", "elsewhere"]);
    append(store, "a", "new").await;
    assert_eq!(names(&lease(store, crm).await), ["new"], "the conversation goes on");
    assert_eq!(store.append(event("a", "leased")).await.expect("answered"), Appended::Duplicate);
}

async fn changes_are_told_but_not_those_that_make_nothing_ready(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    let mut changes = store.changes();
    changes.mark_unchanged();
    append(store, "a", "1").await;
    assert!(changes.has_changed().expect("open"), "an event came");
    changes.mark_unchanged();
    let (_, token) = lease(store, crm).await.remove(0);
    lease(store, crm).await;
    assert!(!changes.has_changed().expect("open"), "or consumers would wake each other for ever");
    settle(store, token, Settlement::Release).await;
    assert!(changes.has_changed().expect("open"), "it is ready again");
}

async fn bodies_come_back_to_the_byte(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    let raw: Vec<u8> = (0..=255).collect();
    let new = NewEvent { raw: raw.clone().into(), ..event("a", "1") };
    let Appended::Kept(event_id) = store.append(new).await.expect("answered") else { panic!("kept") };
    let leased = store.lease(crm, 1, usize::MAX, AT).await.expect("leased").remove(0);
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

async fn summaries(store: &dyn Store, query: SummaryQuery) -> Vec<EventSummary> {
    store.summaries(query).await.expect("listed")
}

fn messages(found: &[EventSummary]) -> Vec<&str> {
    found.iter().map(|event| event.message_ref_id.as_ref().expect("named").as_str()).collect()
}

async fn summaries_are_listed_both_ways_and_filtered(store: &dyn Store) {
    for (number, conversation) in ["a", "b", "a", "c", "b"].into_iter().enumerate() {
        let number = i64::try_from(number).expect("small");
        let mut new = event(conversation, &format!("m{number}"));
        new.received_at = 1000 + number;
        if number == 3 {
            new.kind = "outbox";
            new.origin = Origin::Outbox;
            new.account_id = "other".into();
            new.conversation_id = Some("own-c".into());
        }
        store.append(new).await.expect("kept");
    }
    let all = || SummaryQuery { limit: 100, ..SummaryQuery::default() };
    let found = summaries(store, all()).await;
    assert_eq!(messages(&found), ["m0", "m1", "m2", "m3", "m4"], "outbox, too, where no kinds are named");
    let one = &found[3];
    assert_eq!((one.kind.as_str(), one.origin, one.size), ("outbox", Origin::Outbox, 2));
    assert_eq!((one.scope_id.as_str(), one.account_id.as_str()), ("channel_other", "other"));
    assert_eq!(one.conversation_ref_id.as_ref().map(AsRef::as_ref), Some("c"));
    assert_eq!(one.conversation_id.as_ref().map(AsRef::as_ref), Some("own-c"));
    assert_eq!(store.summary(&one.event_id).await.expect("read").as_ref(), Some(one));
    assert_eq!(store.summary("nobody-7").await.expect("read"), None);

    let page = SummaryQuery { newest_first: true, limit: 2, ..all() };
    let newest = summaries(store, page.clone()).await;
    assert_eq!(messages(&newest), ["m4", "m3"]);
    let next = SummaryQuery { after: Some(newest[1].event_id.clone()), ..page };
    let newest = summaries(store, next.clone()).await;
    assert_eq!(messages(&newest), ["m2", "m1"]);
    let next = SummaryQuery { after: Some(newest[1].event_id.clone()), ..next };
    assert_eq!(messages(&summaries(store, next).await), ["m0"]);
    let later = SummaryQuery { after: Some(found[2].event_id.clone()), ..all() };
    assert_eq!(messages(&summaries(store, later).await), ["m3", "m4"]);
    let past = SummaryQuery { after: Some(found[4].event_id.clone()), ..all() };
    assert!(summaries(store, past).await.is_empty());

    let times = SummaryQuery { since: Some(1001), until: Some(1003), ..all() };
    assert_eq!(messages(&summaries(store, times.clone()).await), ["m1", "m2"]);
    let backwards = SummaryQuery { newest_first: true, ..times };
    assert_eq!(messages(&summaries(store, backwards).await), ["m2", "m1"]);
    let of = |message: &str| SummaryQuery { message_ref_id: Some(message.into()), ..all() };
    for (query, expected) in [
        (of("m3"), &["m3"][..]),
        (of("none"), &[]),
        (SummaryQuery { until: Some(1002), ..of("m3") }, &[]),
        (SummaryQuery { after: Some(found[0].event_id.clone()), ..of("m3") }, &["m3"]),
        (SummaryQuery { after: Some(found[3].event_id.clone()), ..of("m3") }, &[]),
        (SummaryQuery { newest_first: true, limit: 1, ..of("m3") }, &["m3"]),
    ] {
        let listed = store.summaries(query).await.expect("listed");
        let names: Vec<_> =
            listed.iter().filter_map(|one| Some(one.message_ref_id.as_ref()?.as_str())).collect();
        assert_eq!(names, expected);
    }
    let future = SummaryQuery { since: Some(5000), ..all() };
    assert!(summaries(store, future).await.is_empty());

    for (filter, fit) in [
        (Filter { conversations: vec!["b".into()], ..Filter::default() }, &["m1", "m4"][..]),
        (
            Filter { conversations: vec!["own-c".into(), "a".into()], ..Filter::default() },
            &["m0", "m2", "m3"],
        ),
        (Filter { kinds: vec!["outbox".into()], ..Filter::default() }, &["m3"]),
        (Filter { accounts: vec!["account".into()], ..Filter::default() }, &["m0", "m1", "m2", "m4"]),
        (Filter { scopes: vec!["channel_other".into()], ..Filter::default() }, &["m3"]),
        (
            Filter {
                scopes: vec!["channel_other".into()],
                conversations: vec!["a".into()],
                ..Filter::default()
            },
            &[],
        ),
    ] {
        let query = SummaryQuery { filter, ..all() };
        assert_eq!(messages(&summaries(store, query.clone()).await), fit, "{query:?}");
        let first = SummaryQuery { limit: 1, ..query };
        assert_eq!(messages(&summaries(store, first).await), &fit[..fit.len().min(1)]);
    }
    let foreign = SummaryQuery { after: Some("nobody-7".into()), ..all() };
    let error = store.summaries(foreign).await.expect_err("no event of it");
    assert_eq!((error.kind(), error.field()), (ErrorKind::InvalidArgument, Some("event_id")));
}

/// Where an event is: subscription, state, attempts, and whether it is there again.
async fn life(store: &dyn Store, event_id: &str) -> Vec<(String, DeliveryState, u32, bool)> {
    let deliveries = store.deliveries(event_id).await.expect("read");
    deliveries.into_iter().map(|one| (one.subscription, one.state, one.attempts, one.again)).collect()
}

async fn an_event_has_a_life_in_each_subscription(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    let reactions = Filter { kinds: vec!["reaction".into()], ..Filter::default() };
    store.create_subscription("reactions", Start::Oldest, reactions, 1).await.expect("made");
    append(store, "a", "1").await;
    append(store, "a", "2").await;
    append(store, "b", "3").await;
    let ids: Vec<String> = summaries(store, SummaryQuery { limit: 9, ..SummaryQuery::default() })
        .await
        .into_iter()
        .map(|event| event.event_id)
        .collect();
    let leased = store.lease(crm, 1, usize::MAX, AT).await.expect("leased").remove(0);
    assert_eq!(leased.event.event_id, ids[0]);
    let mut seen = Vec::new();
    for event_id in &ids {
        let life = life(store, event_id).await;
        assert_eq!(life[1], ("reactions".into(), DeliveryState::LeftOut, 0, false));
        assert_eq!((life.len(), life[0].0.as_str()), (2, "crm"));
        seen.push((life[0].1, life[0].2));
    }
    assert_eq!(seen, [(DeliveryState::Leased, 1), (DeliveryState::Waiting, 0), (DeliveryState::Ready, 0)]);
    let delivery = store.deliveries(&ids[0]).await.expect("read").remove(0);
    assert_eq!((delivery.token, delivery.until), (Some(leased.token), None));

    let crm_state = async |event_id: &str| life(store, event_id).await.remove(0).1;
    settle(store, leased.token, Settlement::Delay).await;
    assert_eq!(crm_state(&ids[0]).await, DeliveryState::Delayed);
    settle(store, leased.token, Settlement::Wake).await;
    let (_, again) = lease(store, crm).await.remove(0);
    settle(store, again, Settlement::Dead).await;
    assert_eq!(life(store, &ids[0]).await[0], ("crm".into(), DeliveryState::Dead, 2, false));
    assert_eq!(crm_state(&ids[1]).await, DeliveryState::Ready, "the one before is dead");
    let (_, second) = lease(store, crm).await.remove(0);
    settle(store, second, Settlement::Ack).await;
    assert_eq!(life(store, &ids[1]).await[0], ("crm".into(), DeliveryState::Settled, 1, false));

    let dead = store.dead_summaries("crm", i64::MIN, 10).await.expect("listed");
    assert_eq!((dead.len(), dead[0].place, dead[0].attempts), (1, again.place, 2));
    assert_eq!(dead[0].summary.event_id, ids[0]);
    assert!(store.dead_summaries("crm", dead[0].place, 10).await.expect("listed").is_empty());
    let error = store.dead_summaries("nobody", 0, 10).await.expect_err("no such subscription");
    assert_eq!(error.kind(), ErrorKind::SubscriptionNotFound);
    assert!(life(store, "nobody-7").await.is_empty());
}

/// When an event was handed out and settled in the first subscription.
async fn times(store: &dyn Store, event_id: &str) -> (Option<i64>, Option<i64>) {
    let first = store.deliveries(event_id).await.expect("read").remove(0);
    (first.handed_out_at, first.settled_at)
}

async fn a_life_has_its_times(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "1").await;
    append(store, "b", "2").await;
    let all = SummaryQuery { limit: 9, ..SummaryQuery::default() };
    let ids: Vec<String> = summaries(store, all).await.into_iter().map(|event| event.event_id).collect();
    assert_eq!(times(store, &ids[0]).await, (None, None), "only received");

    let leased = store.lease(crm, 9, usize::MAX, 10).await.expect("leased");
    assert_eq!(times(store, &ids[0]).await, (Some(10), None));
    store.settle(vec![(leased[0].token, Settlement::Delay)], 20).await.expect("committed");
    assert_eq!(times(store, &ids[0]).await, (Some(10), None), "a refusal settles nothing");
    store.settle(vec![(leased[0].token, Settlement::Wake)], 30).await.expect("committed");
    let again = store.lease(crm, 9, usize::MAX, 40).await.expect("leased").remove(0);
    assert_eq!(times(store, &ids[0]).await, (Some(40), None), "the last time");
    store.settle(vec![(again.token, Settlement::Ack)], 50).await.expect("committed");
    assert_eq!(times(store, &ids[0]).await, (Some(40), Some(50)));
    assert_eq!(life(store, &ids[0]).await, [("crm".into(), DeliveryState::Settled, 2, false)]);

    store.settle(vec![(leased[1].token, Settlement::Dead)], 60).await.expect("committed");
    assert_eq!(times(store, &ids[1]).await, (Some(10), Some(60)), "given up");
    store.take_dead_letters("crm", None, false).await.expect("dropped");
    assert_eq!(life(store, &ids[1]).await, [("crm".into(), DeliveryState::Settled, 1, false)]);
    assert_eq!(times(store, &ids[1]).await, (Some(10), Some(60)), "still, after it was dropped");

    store.replay("crm", Replay { from: Start::Oldest, scope: None }).await.expect("replayed");
    assert_eq!(times(store, &ids[0]).await, (None, None), "it begins anew");
    let replayed = store.lease(crm, 1, usize::MAX, 70).await.expect("leased").remove(0);
    store.settle(vec![(replayed.token, Settlement::Ack)], 80).await.expect("committed");
    assert_eq!(times(store, &ids[0]).await, (Some(70), Some(80)));
    assert_eq!(life(store, &ids[0]).await, [("crm".into(), DeliveryState::Settled, 1, true)]);

    store.create_subscription("later", Start::Now, Filter::default(), 1).await.expect("made");
    let before = store.deliveries(&ids[0]).await.expect("read").remove(1);
    let known = (before.state, before.attempts, before.handed_out_at, before.settled_at);
    assert_eq!(known, (DeliveryState::Settled, 0, None, None), "it is older than that subscription");
}

async fn a_replayed_event_is_there_again(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    append(store, "a", "1").await;
    let (_, token) = lease(store, crm).await.remove(0);
    settle(store, token, Settlement::Ack).await;
    let all = SummaryQuery { limit: 9, ..SummaryQuery::default() };
    let event_id = summaries(store, all).await.remove(0).event_id;
    store.replay("crm", Replay { from: Start::Oldest, scope: None }).await.expect("replayed");
    let replayed = life(store, &event_id).await;
    assert_eq!(replayed.len(), 1);
    assert!(replayed[0].3, "{replayed:?}");
    let elsewhere = Replay { from: Start::Oldest, scope: Some("other_account".into()) };
    store.replay("crm", elsewhere).await.expect("replayed");
    assert_eq!(life(store, &event_id).await.len(), 1, "of another connection");
    let leased = store.lease(crm, 9, usize::MAX, AT).await.expect("leased");
    assert_eq!((leased.len(), leased[0].again), (1, true));
    assert_eq!(life(store, &event_id).await, [("crm".into(), DeliveryState::Leased, 1, true)]);
}
