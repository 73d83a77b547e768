//! The contract of what a store knows of files, run against each.

use amochats::{AccountId, ScopeId};
use amochats_runtime::media::{Attachment, AttachmentState, Link, MediaFile};
use amochats_runtime::outbox::{Draft, Ids, ItemFilter};
use amochats_runtime::store::{Appended, Keep, MemoryStore, Purged, SqliteStore, Store};
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
    links_are_known_until_they_are_forgotten
    attachments_are_noted_once_and_change
    attachments_go_with_their_events
    a_purge_takes_links_and_items_of_one_conversation
}

fn link(token: &str, expires_at: i64, conversation: Option<&str>) -> Link {
    Link {
        token: token.into(),
        file_name: "a.png".into(),
        content_type: "image/png".into(),
        size: 10,
        created_at: 1,
        expires_at,
        conversation: conversation.map(|id| ("channel_account".into(), id.to_owned())),
    }
}

fn pending(event_id: &str, next_at: i64) -> Attachment {
    Attachment {
        event_id: event_id.into(),
        url: "https://files.example.org/a".into(),
        state: AttachmentState::Pending,
        attempts: 0,
        next_at,
        file_name: Some("a.png".into()),
        content_type: String::new(),
        size: 0,
        problem: None,
    }
}

async fn append(store: &dyn Store, conversation: &str, message: &str, received_at: i64) -> String {
    let event = NewEvent {
        channel_id: "channel".into(),
        account_id: AccountId::new("account"),
        kind: "message",
        conversation_ref_id: Some(conversation.into()),
        conversation_id: Some(format!("own-{conversation}").into()),
        message_ref_id: Some(message.into()),
        digest: Some([0; 20]),
        received_at,
        origin: Origin::Webhook,
        signature: None,
        raw: message.as_bytes().to_vec().into(),
    };
    let Appended::Kept(event_id) = store.append(event).await.expect("answered") else { panic!("kept") };
    event_id
}

async fn links_are_known_until_they_are_forgotten(store: &dyn Store) {
    let media = store.media();
    for (token, expires_at) in [("a", 10), ("b", 20), ("c", 30)] {
        media.put_link(link(token, expires_at, Some("C"))).await.expect("kept");
    }
    assert_eq!(media.link("b").await.expect("asked"), Some(link("b", 20, Some("C"))));
    assert_eq!(media.link("d").await.expect("asked"), None);
    assert_eq!(media.bytes().await.expect("asked"), 30);
    let file = |token: &str| MediaFile::Link(token.into());
    assert_eq!(media.unneeded(20, 9).await.expect("asked"), [(file("a"), 10), (file("b"), 10)]);
    assert_eq!(media.unneeded(20, 1).await.expect("asked").len(), 1);
    media.forget(vec![file("a"), file("d")]).await.expect("forgotten");
    assert_eq!(media.known(vec![file("a"), file("b")]).await.expect("asked"), [file("b")]);
    assert_eq!((media.link("a").await.expect("asked"), media.bytes().await.expect("asked")), (None, 20));
}

async fn attachments_are_noted_once_and_change(store: &dyn Store) {
    let media = store.media();
    let (first, second) = (append(store, "a", "1", 1).await, append(store, "a", "2", 1).await);
    assert_eq!(media.looked_up_to().await.expect("asked"), None);
    media.note(vec![pending(&first, 20), pending(&second, 10)], second.clone()).await.expect("noted");
    assert_eq!(media.looked_up_to().await.expect("asked"), Some(second.clone()));
    let ids = |found: Vec<Attachment>| found.into_iter().map(|one| one.event_id).collect::<Vec<_>>();
    assert_eq!(ids(media.pending(9).await.expect("asked")), [second.clone(), first.clone()]);
    let file = MediaFile::Attachment(first.clone());
    assert!(media.known(vec![file.clone()]).await.expect("asked").is_empty(), "there is no file yet");

    let fetched = Attachment {
        state: AttachmentState::Fetched,
        attempts: 2,
        content_type: "image/png".into(),
        size: 7,
        ..pending(&first, 20)
    };
    assert!(media.change_attachment(fetched.clone()).await.expect("changed"));
    let failed =
        Attachment { state: AttachmentState::Failed, problem: Some("why".into()), ..pending(&second, 10) };
    assert!(media.change_attachment(failed.clone()).await.expect("changed"));
    // Looked for again, as after an end in between.
    media.note(vec![pending(&first, 99)], second.clone()).await.expect("noted");
    assert_eq!(media.attachment(&first).await.expect("asked"), Some(fetched));
    assert_eq!(media.attachment(&second).await.expect("asked"), Some(failed));
    assert_eq!(media.attachment("another-1").await.expect("asked"), None);
    assert!(media.pending(9).await.expect("asked").is_empty());
    assert_eq!(media.known(vec![file.clone()]).await.expect("asked"), [file]);
    assert_eq!(media.bytes().await.expect("asked"), 7);
}

async fn attachments_go_with_their_events(store: &dyn Store) {
    let media = store.media();
    let (old, new) = (append(store, "a", "1", 1).await, append(store, "a", "2", 100).await);
    media.note(vec![pending(&old, 1), pending(&new, 1)], new.clone()).await.expect("noted");
    assert!(media.unneeded(50, 9).await.expect("asked").is_empty());
    store.maintain(Keep { events_since: 50, messages_since: 0 }).await.expect("done");
    let gone = MediaFile::Attachment(old.clone());
    assert_eq!(media.unneeded(50, 9).await.expect("asked"), [(gone.clone(), 0)]);
    media.forget(vec![gone]).await.expect("forgotten");
    assert!(!media.change_attachment(pending(&old, 1)).await.expect("answered"), "it is not known any more");
    assert!(media.attachment(&new).await.expect("asked").is_some());
}

async fn a_purge_takes_links_and_items_of_one_conversation(store: &dyn Store) {
    let scope = ScopeId::new("channel_account");
    // A subscription opens the events, by which both ids of a conversation become known.
    let all = amochats_runtime::store::Filter::default();
    let start = amochats_runtime::store::Start::Oldest;
    let crm = store.create_subscription("crm", start, all, 1).await.expect("made").0;
    for conversation in ["a", "b"] {
        append(store, conversation, conversation, 1).await;
    }
    store.lease(crm, 9, usize::MAX, 1).await.expect("leased");
    let media = store.media();
    for (token, conversation) in [("ref", "a"), ("own", "own-a"), ("other", "b")] {
        media.put_link(link(token, 10, Some(conversation))).await.expect("kept");
    }
    media.put_link(link("nobody's", 10, None)).await.expect("kept");
    let draft = |item_id: &str, conversation: &str| Draft {
        item_id: item_id.into(),
        scope_id: scope.clone(),
        key: None,
        digest: [0; 20],
        call: "create_chat",
        ids: Ids { conversation_id: Some(conversation.into()), ..Ids::default() },
        body: "{}".into(),
        created_at: 1,
        expires_at: 1000,
    };
    for (item_id, conversation) in [("1", "own-a"), ("2", "own-a"), ("3", "own-b"), ("4", "own-a")] {
        store.outbox().enqueue(draft(item_id, conversation)).await.expect("kept");
    }
    let first = store.outbox().heads(&scope, 9).await.expect("listed")[0];
    store.outbox().begin(first).await.expect("begun").expect("the head");

    let purged = store.purge(&scope, "a").await.expect("purged");
    assert_eq!(purged, Purged { events: 1, open_items: 2 });
    let left = store.outbox().list(ItemFilter { limit: 9, ..ItemFilter::default() }).await.expect("listed");
    let left: Vec<&str> = left.iter().map(|item| item.item_id.as_str()).collect();
    assert_eq!(left, ["1", "3"], "what is on its way stays until its end");
    let mut ended = media.unneeded(1, 9).await.expect("asked");
    ended.sort_by_key(|(file, _)| format!("{}", matches!(file, MediaFile::Link(token) if token == "ref")));
    assert_eq!(ended, [(MediaFile::Link("own".into()), 10), (MediaFile::Link("ref".into()), 10)]);
}
