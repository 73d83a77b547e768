//! The contract of a store's outbox, run against each.

use amochats::{Content, DeliveryStatus, ErrorKind, NewMessage, ScopeId, Sender, VendorError};
use amochats_runtime::outbox::{
    Acknowledged, Call, Change, Draft, Ending, Enqueued, Ids, Item, ItemFilter, ItemState, OutboxStore,
    Problem, Report,
};
use amochats_runtime::store::{
    Filter, MemoryStore, Settlement, SqliteStore, Start, Store, SubscriptionId, Token,
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
    one_item_of_a_conversation_is_the_head
    scopes_do_not_wait_for_each_other
    a_key_is_one_item
    an_attempt_begins_once
    the_end_of_an_item_makes_the_next_the_head
    what_was_on_the_wire_at_a_crash_may_have_arrived
    a_second_sending_is_remembered
    only_what_waits_is_cancelled
    deadlines_end_what_waits
    an_acknowledgement_and_its_report_are_one
    both_ids_are_one_conversation
    lists_go_page_by_page
    ended_items_are_forgotten
    words_of_the_vendor_come_back
}

/// When all is handed out and settled here, in Unix milliseconds.
const AT: i64 = 5000;

const SCOPE: &str = "channel_account";

fn outbox(store: &dyn Store) -> &dyn OutboxStore {
    store.outbox()
}

fn call(conversation: &str, message: &str, text: &str) -> Call {
    let sender = Sender::new("u-1", "Anna");
    Call::SendMessage(Box::new(NewMessage::incoming(
        conversation,
        message,
        1_700_000_000_000,
        sender,
        Content::text(text),
    )))
}

fn draft(scope: &str, conversation: &str, message: &str) -> Draft {
    let Call::SendMessage(new) = call(conversation, message, "hello") else { unreachable!("a message") };
    Draft {
        item_id: format!("{scope}/{message}"),
        scope_id: scope.into(),
        key: Some(format!("message/{message}")),
        digest: [1; 20],
        call: "send_message",
        ids: Ids {
            conversation_id: Some(conversation.into()),
            message_id: Some(message.into()),
            ..Ids::default()
        },
        body: new.to_json().expect("valid").into(),
        created_at: 1000,
        expires_at: 9000,
    }
}

async fn enqueue(store: &dyn Store, conversation: &str, message: &str) -> i64 {
    let before = heads_of_all(store).await;
    match outbox(store).enqueue(draft(SCOPE, conversation, message)).await.expect("kept") {
        Enqueued::New(_) => {}
        other => panic!("{other:?} after {before:?}"),
    }
    place(store, message).await
}

/// The places of the items are in the order of the list.
async fn place(store: &dyn Store, message: &str) -> i64 {
    for seq in 1..100 {
        let found = outbox(store).at(seq).await.expect("read");
        if found.is_some_and(|item| item.ids.message_id.is_some_and(|id| id.as_str() == message)) {
            return seq;
        }
    }
    panic!("{message} is nowhere");
}

async fn heads_of_all(store: &dyn Store) -> Vec<String> {
    heads(store, SCOPE).await
}

async fn heads(store: &dyn Store, scope: &str) -> Vec<String> {
    let mut names = Vec::new();
    for seq in outbox(store).heads(&scope.into(), 100).await.expect("read") {
        let item = outbox(store).at(seq).await.expect("read").expect("a head is there");
        names.push(item.ids.message_id.map_or_else(|| item.call.clone(), |id| id.to_string()));
    }
    names
}

fn problem() -> Problem {
    let vendor = VendorError { code: Some(7), description: Some("words".into()), ..VendorError::default() };
    Problem {
        kind: ErrorKind::Rejected,
        message: "refused".into(),
        http_status: Some(400),
        vendor: Some(vendor),
    }
}

async fn end(store: &dyn Store, seq: i64, state: ItemState) {
    let ids =
        Ids { conversation_ref_id: Some("C".into()), message_ref_id: Some("M".into()), ..Ids::default() };
    let ending = Ending { state, at: 2000, ids, problem: None };
    outbox(store).change(seq, Change::End(ending)).await.expect("committed");
}

async fn state(store: &dyn Store, seq: i64) -> ItemState {
    outbox(store).at(seq).await.expect("read").expect("kept").state
}

async fn one_item_of_a_conversation_is_the_head(store: &dyn Store) {
    let first = enqueue(store, "a", "a1").await;
    enqueue(store, "a", "a2").await;
    enqueue(store, "b", "b1").await;
    assert_eq!(heads_of_all(store).await, ["a1", "b1"]);
    outbox(store).begin(first).await.expect("committed").expect("the head");
    assert_eq!(heads_of_all(store).await, ["a1", "b1"], "on the wire it still goes before the next");
    assert_eq!(outbox(store).heads(&SCOPE.into(), 1).await.expect("read").len(), 1);
    let second = place(store, "a2").await;
    assert_eq!(outbox(store).begin(second).await.expect("answered"), None, "it is not its turn");
}

async fn scopes_do_not_wait_for_each_other(store: &dyn Store) {
    enqueue(store, "a", "m").await;
    let other = outbox(store).enqueue(draft("channel_other", "a", "m")).await.expect("kept");
    assert!(matches!(other, Enqueued::New(_)), "{other:?}");
    assert_eq!(heads(store, "channel_other").await, ["m"]);
    let mut scopes = outbox(store).scopes().await.expect("read");
    scopes.sort();
    assert_eq!(scopes, [ScopeId::from(SCOPE), ScopeId::from("channel_other")]);
}

async fn a_key_is_one_item(store: &dyn Store) {
    let seq = enqueue(store, "a", "m").await;
    let again = Draft { item_id: "other".into(), ..draft(SCOPE, "a", "m") };
    let Enqueued::Known(item) = outbox(store).enqueue(again.clone()).await.expect("answered") else {
        panic!("not known")
    };
    assert_eq!(item.item_id, format!("{SCOPE}/m"));
    end(store, seq, ItemState::Sent).await;
    let Enqueued::Known(item) = outbox(store).enqueue(again.clone()).await.expect("answered") else {
        panic!("not known after its end")
    };
    assert_eq!(item.state, ItemState::Sent);
    let changed = Draft { digest: [2; 20], ..again };
    assert_eq!(outbox(store).enqueue(changed).await.expect("answered"), Enqueued::Conflicting);
    let keyless = |id: &str| Draft { item_id: id.into(), key: None, ..draft(SCOPE, "a", "m") };
    for id in ["x", "y"] {
        assert!(matches!(outbox(store).enqueue(keyless(id)).await.expect("kept"), Enqueued::New(_)));
    }
}

async fn an_attempt_begins_once(store: &dyn Store) {
    let seq = enqueue(store, "a", "m").await;
    let item = outbox(store).begin(seq).await.expect("committed").expect("queued");
    assert_eq!((item.state, item.attempts, item.repeated), (ItemState::Sending, 1, false));
    assert_eq!(outbox(store).begin(seq).await.expect("answered"), None);
    let again = Change::Requeue { uncertain: false, problem: problem() };
    outbox(store).change(seq, again).await.expect("committed");
    let item = outbox(store).begin(seq).await.expect("committed").expect("queued again");
    assert_eq!((item.attempts, item.problem), (2, Some(problem())));
    end(store, seq, ItemState::Sent).await;
    assert_eq!(outbox(store).begin(seq).await.expect("answered"), None);
    assert_eq!(outbox(store).begin(12345).await.expect("answered"), None);
}

async fn subscribe(store: &dyn Store, name: &str) -> SubscriptionId {
    store.create_subscription(name, Start::Oldest, Filter::default(), 1).await.expect("made").0
}

async fn the_end_of_an_item_makes_the_next_the_head(store: &dyn Store) {
    let before = subscribe(store, "before").await;
    let first = enqueue(store, "a", "a1").await;
    enqueue(store, "a", "a2").await;
    outbox(store).begin(first).await.expect("committed").expect("queued");
    end(store, first, ItemState::Sent).await;
    assert_eq!(heads_of_all(store).await, ["a2"]);
    let item = outbox(store).at(first).await.expect("read").expect("kept");
    assert_eq!((item.state, item.ended_at), (ItemState::Sent, Some(2000)));
    assert_eq!(item.ids.message_id.as_ref().map(AsRef::as_ref), Some("a1"), "what the call named stays");
    assert_eq!(
        item.ids.message_ref_id.as_ref().map(AsRef::as_ref),
        Some("M"),
        "what the answer named is added"
    );
    let kinds = Filter { kinds: vec!["outbox".into()], ..Filter::default() };
    let (asked, _) = store.create_subscription("asked", Start::Oldest, kinds, 1).await.expect("made");
    let leased = store.lease(asked, 10, usize::MAX, AT).await.expect("leased");
    let told: Vec<_> = leased.iter().map(|leased| leased.event.to_json()).collect();
    assert_eq!(told.len(), 1);
    assert_eq!((told[0]["kind"].as_str(), told[0]["origin"].as_str()), (Some("outbox"), Some("outbox")));
    assert_eq!((&told[0]["item"], &told[0]["received_at_msec"]), (&item.to_json(), &2000.into()));
    for subscription in [before, subscribe(store, "after").await] {
        assert_eq!(
            store.lease(subscription, 10, usize::MAX, AT).await.expect("leased"),
            [],
            "nobody asked for results"
        );
    }
}

async fn what_was_on_the_wire_at_a_crash_may_have_arrived(store: &dyn Store) {
    let sent = enqueue(store, "a", "m").await;
    let waits = enqueue(store, "b", "n").await;
    let status = Draft {
        key: None,
        call: "set_delivery_status",
        ids: Ids { message_ref_id: Some("M".into()), ..Ids::default() },
        body: DeliveryStatus::Read.to_json().expect("valid").into(),
        item_id: "status".into(),
        ..draft(SCOPE, "c", "none")
    };
    outbox(store).enqueue(status).await.expect("kept");
    let status = *outbox(store).heads(&SCOPE.into(), 9).await.expect("read").last().expect("three");
    for seq in [sent, status] {
        outbox(store).begin(seq).await.expect("committed").expect("queued");
    }
    outbox(store).recover().await.expect("committed");
    assert_eq!(state(store, sent).await, ItemState::Resolving);
    assert_eq!(state(store, waits).await, ItemState::Queued);
    assert_eq!(state(store, status).await, ItemState::Queued, "a second time does no harm");
    let expired = outbox(store).expire(9000, 10).await.expect("committed");
    let mut states: Vec<_> = expired.iter().map(|item| (item.call.as_str(), item.state)).collect();
    states.sort();
    let [sent, status] = [("send_message", ItemState::Expired), ("set_delivery_status", ItemState::Unknown)];
    assert_eq!(states, [sent, status]);
}

async fn a_second_sending_is_remembered(store: &dyn Store) {
    let seq = enqueue(store, "a", "m").await;
    outbox(store).begin(seq).await.expect("committed").expect("queued");
    let uncertain = Change::Resolve { repeated: false, problem: problem() };
    outbox(store).change(seq, uncertain).await.expect("committed");
    assert_eq!(heads_of_all(store).await, ["m"], "who may have arrived is still the first");
    let item = outbox(store).begin(seq).await.expect("committed").expect("resolving");
    assert_eq!((item.state, item.attempts), (ItemState::Sending, 2));
    outbox(store).recover().await.expect("committed");
    let item = outbox(store).at(seq).await.expect("read").expect("kept");
    assert_eq!((item.state, item.repeated), (ItemState::Resolving, true), "no third time");
    let lost = Change::Resolve { repeated: false, problem: problem() };
    outbox(store).change(seq, lost).await.expect("committed");
    let item = outbox(store).at(seq).await.expect("read").expect("kept");
    assert!(item.uncertain && !item.repeated, "what surely did not get through does not count");
}

async fn only_what_waits_is_cancelled(store: &dyn Store) {
    let first = enqueue(store, "a", "a1").await;
    enqueue(store, "a", "a2").await;
    let id = |name: &str| format!("{SCOPE}/{name}");
    let (cancelled, now) = outbox(store).cancel(&id("a2"), 1500).await.expect("committed").expect("there");
    assert_eq!((cancelled.state, cancelled.ended_at, now), (ItemState::Cancelled, Some(1500), true));
    let again = outbox(store).cancel(&id("a2"), 1600).await.expect("answered").expect("there");
    assert_eq!(again, (cancelled, false));
    outbox(store).begin(first).await.expect("committed").expect("queued");
    let (sending, now) = outbox(store).cancel(&id("a1"), 1500).await.expect("answered").expect("there");
    assert_eq!((sending.state, now), (ItemState::Sending, false));
    let uncertain = Change::Requeue { uncertain: true, problem: problem() };
    outbox(store).change(first, uncertain).await.expect("committed");
    let (maybe, _) = outbox(store).cancel(&id("a1"), 1500).await.expect("answered").expect("there");
    assert_eq!(maybe.state, ItemState::Queued, "it may have had its effect already");
    assert_eq!(outbox(store).cancel("nobody", 1).await.expect("answered"), None);
}

async fn deadlines_end_what_waits(store: &dyn Store) {
    let first = enqueue(store, "a", "a1").await;
    enqueue(store, "a", "a2").await;
    outbox(store).begin(first).await.expect("committed").expect("queued");
    assert_eq!(outbox(store).next_expiry().await.expect("read"), Some(9000));
    assert_eq!(outbox(store).expire(8999, 10).await.expect("committed"), []);
    let expired = outbox(store).expire(9000, 10).await.expect("committed");
    let names: Vec<_> = expired.iter().map(|item| (item.item_id.as_str(), item.state)).collect();
    assert_eq!(names, [(&*format!("{SCOPE}/a2"), ItemState::Expired)], "what is on the wire is not");
    assert_eq!(outbox(store).next_expiry().await.expect("read"), None);
}

fn event(kind: &'static str, message: Option<&str>) -> NewEvent {
    let body = "{\"account_id\":\"account\",\"message\":{\"conversation\":{\"id\":\"C\"},\"message\":{\"id\":\"M\",\
                \"type\":\"text\",\"text\":\"hi\"}}}";
    NewEvent {
        channel_id: "channel".into(),
        account_id: "account".into(),
        kind,
        conversation_ref_id: Some("C".into()),
        conversation_id: None,
        message_ref_id: message.map(Into::into),
        digest: None,
        received_at: 1000,
        origin: Origin::Webhook,
        signature: None,
        raw: if message.is_some() { body.into() } else { "{}".into() },
    }
}

async fn lease(store: &dyn Store, subscription: SubscriptionId) -> Token {
    store.lease(subscription, 1, usize::MAX, AT).await.expect("leased")[0].token
}

async fn an_acknowledgement_and_its_report_are_one(store: &dyn Store) {
    let crm = subscribe(store, "crm").await;
    store.append(event("message", Some("M"))).await.expect("kept");
    let token = lease(store, crm).await;
    let report = |id: &str| Report {
        status: DeliveryStatus::Read,
        item_id: id.into(),
        created_at: 1000,
        expires_at: 9000,
    };
    let stale = Token { epoch: token.epoch + 1, ..token };
    let lost = outbox(store).acknowledge(stale, report("stale")).await.expect("answered");
    assert_eq!(lost, Acknowledged::Lost);
    assert_eq!(outbox(store).item("stale").await.expect("read"), None, "neither happens");

    let done = outbox(store).acknowledge(token, report("first")).await.expect("committed");
    let Acknowledged::Done(item) = done else { panic!("{done:?}") };
    assert_eq!((item.call.as_str(), item.expires_at), ("set_delivery_status", 9000));
    assert_eq!(item.ids.message_ref_id.as_ref().map(AsRef::as_ref), Some("M"));
    assert_eq!(item.ids.conversation_ref_id.as_ref().map(AsRef::as_ref), Some("C"));
    assert_eq!(
        outbox(store).item("first").await.expect("read").map(|item| item.state),
        Some(ItemState::Queued)
    );
    let again = outbox(store).acknowledge(token, report("second")).await.expect("answered");
    assert_eq!(again, Acknowledged::Lost, "it is settled");

    store.append(event("unknown", None)).await.expect("kept");
    let token = lease(store, crm).await;
    let refused = outbox(store).acknowledge(token, report("third")).await.expect("answered");
    assert_eq!(refused, Acknowledged::NotReportable);
    let settled = store.settle(vec![(token, Settlement::Ack)], AT).await.expect("committed");
    assert_eq!(settled, [amochats_runtime::store::Settled::Done], "it was not settled");
}

async fn both_ids_are_one_conversation(store: &dyn Store) {
    let seen = NewEvent { conversation_id: Some("a".into()), ..event("message", Some("M")) };
    store.append(seen).await.expect("kept");
    // Both ids are known to belong together once the event was handed out.
    let crm = subscribe(store, "crm").await;
    lease(store, crm).await;
    enqueue(store, "a", "a1").await;
    let by_ref = |id: &str, conversation: &str| Draft {
        item_id: id.into(),
        key: None,
        ids: Ids {
            conversation_ref_id: Some(conversation.into()),
            message_id: Some(id.into()),
            ..Ids::default()
        },
        ..draft(SCOPE, "a", id)
    };
    outbox(store).enqueue(by_ref("known", "C")).await.expect("kept");
    outbox(store).enqueue(by_ref("unknown", "D")).await.expect("kept");
    assert_eq!(heads_of_all(store).await, ["a1", "unknown"]);
}

async fn lists_go_page_by_page(store: &dyn Store) {
    for name in ["m1", "m2", "m3"] {
        enqueue(store, name, name).await;
    }
    outbox(store).enqueue(draft("channel_other", "a", "m4")).await.expect("kept");
    end(store, place(store, "m2").await, ItemState::Rejected).await;
    let list = async |filter: ItemFilter| -> Vec<String> {
        let all: Vec<Item> = outbox(store).list(filter).await.expect("read");
        all.into_iter().map(|item| item.ids.message_id.expect("messages").to_string()).collect()
    };
    let all = ItemFilter { limit: 10, ..ItemFilter::default() };
    assert_eq!(list(all.clone()).await, ["m1", "m2", "m3", "m4"]);
    let queued = ItemFilter { states: vec![ItemState::Queued], scope_id: Some(SCOPE.into()), ..all.clone() };
    assert_eq!(list(queued.clone()).await, ["m1", "m3"]);
    assert_eq!(list(ItemFilter { limit: 1, ..queued.clone() }).await, ["m1"]);
    let after = Some(format!("{SCOPE}/m1"));
    assert_eq!(list(ItemFilter { after, ..queued }).await, ["m3"]);
    let depth = outbox(store).depth().await.expect("read");
    assert_eq!(
        (depth.len(), depth[0].state, depth[0].items, depth[0].oldest),
        (1, ItemState::Queued, 3, 1000)
    );
}

async fn ended_items_are_forgotten(store: &dyn Store) {
    let seq = enqueue(store, "a", "m").await;
    enqueue(store, "b", "n").await;
    end(store, seq, ItemState::Sent).await;
    assert_eq!(outbox(store).forget(2000, 10).await.expect("committed"), 0);
    assert_eq!(outbox(store).forget(2001, 10).await.expect("committed"), 1);
    assert_eq!(outbox(store).at(seq).await.expect("read"), None);
    enqueue(store, "a", "m").await;
}

async fn words_of_the_vendor_come_back(store: &dyn Store) {
    let seq = enqueue(store, "a", "m").await;
    let ending =
        Ending { state: ItemState::Rejected, at: 2000, ids: Ids::default(), problem: Some(problem()) };
    outbox(store).change(seq, Change::End(ending)).await.expect("committed");
    let item = outbox(store).at(seq).await.expect("read").expect("kept");
    assert_eq!(item.problem, Some(problem()));
    assert_eq!(item.call().expect("readable"), call("a", "m", "hello"));
    assert!(!format!("{item:?}").contains("words"), "they are for the caller alone");
}
