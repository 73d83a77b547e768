//! What is particular to the SQLite store: the file, its owner, its rights, its restart.

use amochats::ErrorKind;
use amochats_runtime::outbox::{Draft, Ids};
use amochats_runtime::store::{
    Appended, EventQuery, Filter, Limits, OnFull, Settled, Settlement, SqliteStore, Start, Store,
};
use amochats_runtime::{NewEvent, Origin};

/// When all is handed out and settled here, in Unix milliseconds.
const AT: i64 = 5000;

fn event(message: &str) -> NewEvent {
    NewEvent {
        channel_id: "channel".into(),
        account_id: "account".into(),
        kind: "message",
        conversation_ref_id: Some("c".into()),
        conversation_id: None,
        message_ref_id: Some(message.into()),
        digest: Some([0; 20]),
        received_at: 1,
        origin: Origin::Webhook,
        signature: None,
        raw: message.as_bytes().to_vec().into(),
    }
}

#[tokio::test]
async fn what_was_kept_leased_and_settled_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let store = SqliteStore::open(&path).await.expect("new");
    let (crm, _) = store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
    for message in ["1", "2", "3"] {
        store.append(event(message)).await.expect("kept");
    }
    let first = store.lease(crm, 9, usize::MAX, AT).await.expect("leased").remove(0);
    assert_eq!(
        store.settle(vec![(first.token, Settlement::Ack)], AT).await.expect("committed"),
        [Settled::Done]
    );
    let second = store.lease(crm, 9, usize::MAX, AT).await.expect("leased").remove(0);
    store.close().await;

    let store = SqliteStore::open(&path).await.expect("again");
    let crm = store.subscription("crm").await.expect("kept");
    let again = store.lease(crm, 9, usize::MAX, AT).await.expect("leased").remove(0);
    assert_eq!(again.event, second.event, "the settled one does not come back, the leased one does");
    assert_eq!(again.attempt, 2);
    let late = store.settle(vec![(second.token, Settlement::Ack)], AT).await.expect("committed");
    assert_eq!(late, [Settled::Lost], "a token of the time before");
}

#[tokio::test]
async fn a_second_owner_is_refused_by_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let store = SqliteStore::open(&path).await.expect("new");
    let error = SqliteStore::open(&path).await.err().expect("refused");
    assert_eq!(error.kind(), ErrorKind::StoreLocked);
    assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    let link = folder.path().join("link.db");
    std::os::unix::fs::symlink(&path, &link).expect("made");
    let error = SqliteStore::open(&link).await.err().expect("the same file");
    assert_eq!(error.kind(), ErrorKind::StoreLocked);
    store.close().await;
    SqliteStore::open(&path).await.expect("free again");
}

#[tokio::test]
async fn foreign_and_broken_files_are_refused_and_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let foreign = folder.path().join("foreign.db");
    let connection = rusqlite::Connection::open(&foreign).expect("a database");
    connection.execute_batch("CREATE TABLE theirs (x)").expect("a table");
    drop(connection);
    let newer = folder.path().join("newer.db");
    SqliteStore::open(&newer).await.expect("new").close().await;
    let connection = rusqlite::Connection::open(&newer).expect("a database");
    connection.pragma_update(None, "user_version", 99).expect("set");
    drop(connection);
    let noise = folder.path().join("noise.db");
    std::fs::write(&noise, "not a database, but long enough to be one. ".repeat(100)).expect("written");
    for (path, said) in [
        (&foreign, "another program"),
        (&newer, "version 99"),
        (&noise, "not a database"),
        (&folder.path().join("none/inbox.db"), "none of the store does not exist"),
    ] {
        let before = std::fs::read(path).ok();
        let error = SqliteStore::open(path).await.err().expect("refused");
        assert_eq!(error.kind(), ErrorKind::StoreFailed);
        assert!(error.to_string().contains(said), "{error}");
        assert_eq!(std::fs::read(path).ok(), before, "{} is untouched", path.display());
    }
}

#[cfg(unix)]
#[tokio::test]
async fn nobody_else_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
    store.append(event("1")).await.expect("kept");
    let files: Vec<_> =
        std::fs::read_dir(folder.path()).expect("listed").map(|file| file.expect("a file")).collect();
    assert!(files.len() >= 3, "database, log and lock: {files:?}");
    for file in files {
        let mode = file.metadata().expect("metadata").permissions().mode();
        assert_eq!(mode & 0o077, 0, "{}", file.path().display());
    }
    store.close().await;
}

#[tokio::test]
async fn the_settings_that_durability_depends_on_are_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    SqliteStore::open(&path).await.expect("new").close().await;
    let connection = rusqlite::Connection::open(&path).expect("a database");
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).expect("read");
    assert_eq!(mode, "wal");
    let vacuum: i64 = connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0)).expect("read");
    assert_eq!(vacuum, 2, "incremental");
    let waiting: i64 =
        connection.query_row("SELECT count(*) FROM waiting", [], |row| row.get(0)).expect("a view");
    assert_eq!(waiting, 0);
}

#[tokio::test]
async fn a_store_of_the_first_version_is_taken_over_with_all_that_waits_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let first = rusqlite::Connection::open(&path).expect("new");
    first.execute_batch(include_str!("fixtures/store-1.sql")).expect("the fixture is SQL");
    drop(first);

    let store = SqliteStore::open(&path).await.expect("taken over");
    let known = store.subscriptions().await.expect("listed");
    let counts: Vec<_> = known.iter().map(|s| (s.name.as_str(), s.id.0, s.unsettled, s.dead)).collect();
    assert_eq!(counts, [("crm", 2, 4, 1), ("new", 3, 2, 0)]);

    let crm = store.lease(known[0].id, 10, usize::MAX, AT).await.expect("leased");
    let seen: Vec<_> = crm
        .iter()
        .map(|one| (one.event.event_id.as_str(), one.attempt, one.event.scope_id.as_str()))
        .collect();
    assert_eq!(
        seen,
        [
            ("0123456789ab-1", 2, "channel_account"),
            ("0123456789ab-4", 3, "channel_other"),
            ("0123456789ab-5", 1, "channel_account")
        ],
        "what was leased, delayed and ready; the other one waits for its conversation"
    );
    store.settle(vec![(crm[0].token, Settlement::Ack)], AT).await.expect("committed");
    let next = store.lease(known[0].id, 10, usize::MAX, AT).await.expect("leased");
    assert_eq!(next[0].event.raw, "a, waiting");
    let dead = store.dead_letters("crm", 0, 10).await.expect("listed");
    assert_eq!((dead.len(), dead[0].attempts, &dead[0].event.raw[..]), (1, 20, &b"b, dead"[..]));

    let again = NewEvent {
        message_ref_id: Some("M1".into()),
        account_id: "account".into(),
        ..event("other content")
    };
    let again = store.append(again).await.expect("answered");
    assert!(matches!(again, Appended::Conflicting(_)), "its messages are known: {again:?}");
    let new = store.append(event("7")).await.expect("answered");
    assert_eq!(new, Appended::Kept("0123456789ab-7".into()), "numbers go on");
    let rest = store.lease(known[1].id, 10, usize::MAX, AT).await.expect("leased");
    assert_eq!(rest.len(), 3, "where the new subscription had got to, and what came since");
    let (id, _) = store.create_subscription("later", Start::Now, Filter::default(), 1).await.expect("made");
    assert_eq!(id.0, 4, "no number is used twice");
    store.close().await;

    let foreign = rusqlite::Connection::open(&path).expect("opened");
    foreign.pragma_update(None, "user_version", 99).expect("written");
    drop(foreign);
    let error = SqliteStore::open(&path).await.err().expect("refused");
    assert!(error.message().contains("newer"), "{error}");
}

/// What tables, indices and views there are, as they were made.
fn schema(path: &std::path::Path) -> Vec<(String, Option<String>)> {
    let connection = rusqlite::Connection::open(path).expect("opened");
    let mut select = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").expect("read");
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("read");
    rows.collect::<Result<_, _>>().expect("rows")
}

#[tokio::test]
async fn a_store_of_any_version_becomes_what_a_new_one_is() {
    let folder = tempfile::tempdir().expect("a folder");
    let new = folder.path().join("new.db");
    SqliteStore::open(&new).await.expect("new").close().await;
    for (version, sql) in
        [(1, include_str!("fixtures/store-1.sql")), (2, include_str!("fixtures/store-2.sql"))]
    {
        let path = folder.path().join(format!("{version}.db"));
        let old = rusqlite::Connection::open(&path).expect("new");
        old.execute_batch(sql).expect("the fixture is SQL");
        drop(old);
        SqliteStore::open(&path).await.expect("taken over").close().await;
        assert_eq!(schema(&path), schema(&new), "of version {version}");
    }
}

#[tokio::test]
async fn a_store_of_the_second_version_is_taken_over_with_all_that_waits_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let second = rusqlite::Connection::open(&path).expect("new");
    second.execute_batch(include_str!("fixtures/store-2.sql")).expect("the fixture is SQL");
    drop(second);

    let store = SqliteStore::open(&path).await.expect("taken over");
    let known = store.subscriptions().await.expect("listed");
    let counts: Vec<_> = known.iter().map(|s| (s.name.as_str(), s.unsettled, s.dead)).collect();
    assert_eq!(counts, [("crm", 4, 1), ("new", 2, 0)]);
    let crm = store.lease(known[0].id, 10, usize::MAX, AT).await.expect("leased");
    let seen: Vec<_> = crm.iter().map(|one| (one.event.event_id.as_str(), one.attempt)).collect();
    assert_eq!(seen, [("0123456789ab-1", 2), ("0123456789ab-4", 3), ("0123456789ab-5", 1)]);
    assert_eq!(store.append(event("6")).await.expect("answered"), Appended::Kept("0123456789ab-6".into()));
    store.close().await;

    let shell = rusqlite::Connection::open(&path).expect("opened");
    let one = |sql: &str| -> String { shell.query_row(sql, [], |row| row.get(0)).expect(sql) };
    assert_eq!(one("SELECT item_id || state FROM outgoing"), "item-1queued");
    assert_eq!(one("SELECT scope_id || state FROM account"), "channel_accountconnected");
    assert_eq!(one("SELECT conversation_ref_id || since FROM gap"), "a10");
}

#[tokio::test]
async fn the_views_answer_in_the_shell() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let store = SqliteStore::open(&path).await.expect("new");
    let (crm, _) = store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
    for message in ["1", "2", "3"] {
        store.append(event(message)).await.expect("kept");
    }
    let first = store.lease(crm, 1, usize::MAX, AT).await.expect("leased").remove(0);
    store.settle(vec![(first.token, Settlement::Dead)], AT).await.expect("committed");
    store.lease(crm, 1, usize::MAX, AT).await.expect("leased");

    let shell = rusqlite::Connection::open_with_flags(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .expect("beside the store");
    let one = |sql: &str| -> String { shell.query_row(sql, [], |row| row.get(0)).expect(sql) };
    assert_eq!(
        one("SELECT subscription || unsettled || dead || oldest FROM backlog"),
        "crm211970-01-01 00:00:00"
    );
    assert_eq!(one("SELECT group_concat(body) FROM events"), "3,2,1");
    assert_eq!(one("SELECT group_concat(state || message_ref_id) FROM waiting"), "leased2,waiting3");
    assert_eq!(one("SELECT message_ref_id || attempt FROM dead_letters"), "11");
    assert_eq!(one("SELECT account_id || conversation_ref_id FROM conversations"), "accountc");

    // What the other parts keep, as they keep it.
    let other = rusqlite::Connection::open(&path).expect("beside the store");
    other
        .execute_batch(
            "INSERT INTO attachment VALUES (1, 'https://files.test/1', 'pending', 2, 3000, NULL, 'image/png', 7, NULL);
             INSERT INTO media_link VALUES ('guess-me', 'a.png', 'image/png', 7, 1000, 2000, 's', 'c');
             INSERT INTO widget VALUES ('account', 'i/1', 1000, '{}', x'00'), ('account', 'i/2', 1000, '{}', NULL),
                                       ('token', 'jti', 1000, '{}', NULL);",
        )
        .expect("written");
    assert_eq!(
        one("SELECT state || attempts || size || next_at FROM attachments"),
        "pending271970-01-01 00:00:03"
    );
    assert_eq!(one("SELECT file_name || expires_at FROM served_files"), "a.png1970-01-01 00:00:02");
    assert!(shell.prepare("SELECT token FROM served_files").is_err(), "whoever has it has the file");
    assert_eq!(
        one("SELECT group_concat(integration_account || switched_on) FROM installations"),
        "i/11,i/20"
    );
    assert!(shell.prepare("SELECT sealed FROM installations").is_err());
}

#[tokio::test]
async fn duplicates_are_known_before_and_after_they_are_filed_and_across_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    // More than are collected in memory, so that some are in the table and some on their way.
    let count = 25_000;
    let store = SqliteStore::open(&path).await.expect("new");
    for first in (0..count).step_by(500) {
        let appends = (first..first + 500).map(|number| store.append(event(&number.to_string())));
        for appended in futures_util::future::join_all(appends).await {
            assert!(matches!(appended, Ok(Appended::Kept(_))), "{appended:?}");
        }
    }
    let known = async |store: &SqliteStore| {
        for number in (0..count).step_by(97) {
            let again = store.append(event(&number.to_string())).await.expect("answered");
            assert_eq!(again, Appended::Duplicate, "{number}");
        }
    };
    known(&store).await;
    store.close().await;
    let store = SqliteStore::open(&path).await.expect("again");
    known(&store).await;
    let other = NewEvent { digest: Some([9; 20]), ..event("0") };
    assert!(matches!(store.append(other).await.expect("answered"), Appended::Conflicting(_)));
}

#[tokio::test]
async fn a_full_subscription_refuses_or_loses_its_oldest() {
    let folder = tempfile::tempdir().expect("a folder");
    for on_full in [OnFull::Refuse, OnFull::ExpireOldest] {
        let limits = Limits { backlog: 150, on_full, ..Limits::default() };
        let path = folder.path().join(format!("{on_full:?}.db"));
        let store = SqliteStore::open_within(path, limits).await.expect("new");
        store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
        let mut refused = 0;
        for number in 0..1000 {
            match store.append(NewEvent { conversation_ref_id: None, ..event(&number.to_string()) }).await {
                Ok(appended) => assert!(matches!(appended, Appended::Kept(_))),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::StoreFull);
                    assert!(error.message().contains("backlog_limit"), "{error}");
                    refused += 1;
                }
            }
        }
        let state = store.subscriptions().await.expect("listed").remove(0);
        assert!((100..300).contains(&state.unsettled), "{on_full:?}: {state:?}");
        assert_eq!(state.unsettled + state.dead + refused, 1000, "nothing disappears");
        assert_eq!(refused > 0, on_full == OnFull::Refuse);
        if on_full == OnFull::ExpireOldest {
            let dead = store.dead_letters("crm", 0, 1).await.expect("listed").remove(0);
            assert!(dead.event.raw.is_empty() && dead.attempts == 0, "the oldest, without its body");
            let next = store.lease(state.id, 1, usize::MAX, AT).await.expect("leased").remove(0);
            assert_eq!(next.event.raw, state.dead.to_string(), "the first that is left");
        }
    }
}

#[tokio::test]
async fn many_dead_letters_are_taken_in_portions() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
    let (crm, _) = store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
    let append =
        |number: u64| store.append(NewEvent { conversation_ref_id: None, ..event(&number.to_string()) });
    let kept = futures_util::future::join_all((0..2500).map(append)).await;
    assert!(kept.iter().all(Result::is_ok));
    let give_up = async || {
        let mut dead = 0;
        while dead < 2500 {
            let leased = store.lease(crm, 1000, usize::MAX, AT).await.expect("leased");
            dead += leased.len();
            let all = leased.into_iter().map(|one| (one.token, Settlement::Dead)).collect();
            store.settle(all, AT).await.expect("committed");
        }
    };
    give_up().await;
    assert_eq!(store.take_dead_letters("crm", None, true).await.expect("requeued"), 2500);
    give_up().await;
    let places = store.dead_letters("crm", 0, 2).await.expect("listed").iter().map(|one| one.place).collect();
    assert_eq!(store.take_dead_letters("crm", Some(places), false).await.expect("dropped"), 2);
    assert_eq!(store.take_dead_letters("crm", None, false).await.expect("dropped"), 2498);
    let state = store.subscriptions().await.expect("listed").remove(0);
    assert_eq!((state.unsettled, state.dead), (0, 0));
}

#[tokio::test]
async fn what_a_filter_leaves_out_fills_no_subscription() {
    for on_full in [OnFull::Refuse, OnFull::ExpireOldest] {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = Limits { backlog: 150, on_full, ..Limits::default() };
        let store = SqliteStore::open_within(folder.path().join("inbox.db"), limits).await.expect("new");
        let only = |kind: &str| Filter { kinds: vec![kind.into()], ..Filter::default() };
        for (name, kind) in [("reactions", "reaction"), ("messages", "message")] {
            store.create_subscription(name, Start::Oldest, only(kind), 1).await.expect("made");
        }
        let messages = store.subscription("messages").await.expect("there");
        let append = async |number: u64| {
            store.append(NewEvent { conversation_ref_id: None, ..event(&number.to_string()) }).await
        };
        for number in 0..1000 {
            append(number).await.expect("kept");
            let leased = store.lease(messages, 1, usize::MAX, AT).await.expect("leased").remove(0);
            store.settle(vec![(leased.token, Settlement::Ack)], AT).await.expect("committed");
        }
        let states = store.subscriptions().await.expect("listed");
        assert!(states.iter().all(|state| (state.unsettled, state.dead) == (0, 0)), "{states:?}");
        assert_eq!(states[1].oldest_unsettled_at, None);
        // What it does get fills it all the same.
        let refused = futures_util::future::join_all((1000..2000).map(append)).await;
        let refused = refused.into_iter().filter(Result::is_err).count();
        let state = store.subscriptions().await.expect("listed").remove(0);
        assert_eq!((state.name.as_str(), refused > 0), ("messages", on_full == OnFull::Refuse));
        assert_eq!(state.dead > 0, on_full == OnFull::ExpireOldest, "{state:?}");
        assert!(state.unsettled < 1000, "{state:?}");
    }
}

#[tokio::test]
async fn what_one_subscription_loses_another_one_keeps() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = Limits { backlog: 150, on_full: OnFull::ExpireOldest, ..Limits::default() };
    let store = SqliteStore::open_within(folder.path().join("inbox.db"), limits).await.expect("new");
    let subscribe = async |name| {
        store.create_subscription(name, Start::Oldest, Filter::default(), 1).await.expect("made").0
    };
    let (stalled, slow) = (subscribe("stalled").await, subscribe("slow").await);
    // One conversation, so that each event waits for the one before.
    for number in 0..140 {
        store.append(event(&number.to_string())).await.expect("kept");
    }
    for _ in 0..60 {
        let leased = store.lease(slow, 1, usize::MAX, AT).await.expect("leased").remove(0);
        store.settle(vec![(leased.token, Settlement::Ack)], AT).await.expect("committed");
    }
    for number in 140..210 {
        store.append(event(&number.to_string())).await.expect("kept");
    }
    let dead = store.subscriptions().await.expect("listed").into_iter().find(|one| one.id == stalled);
    let dead = dead.expect("there").dead;
    assert!(dead > 60, "some that the other one still needs: {dead}");
    let next = store.lease(stalled, 10, usize::MAX, AT).await.expect("leased");
    assert_eq!(next.len(), 1, "the conversation goes on");
    assert_eq!(next[0].event.raw, dead.to_string());
    for number in 60..210 {
        let leased = store.lease(slow, 1, usize::MAX, AT).await.expect("leased").remove(0);
        assert_eq!(leased.event.raw, number.to_string(), "with its body");
        store.settle(vec![(leased.token, Settlement::Ack)], AT).await.expect("committed");
    }
}

#[tokio::test]
async fn a_purged_text_is_not_in_the_file_any_more() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let store = SqliteStore::open(&path).await.expect("new");
    let text = "a text that was purged";
    // So many that pages were split.
    for number in 0..50 {
        store.append(event(&format!("{text} {number}"))).await.expect("kept");
    }
    store.close().await;
    let holds = |end: &str| {
        let bytes = std::fs::read(folder.path().join(format!("inbox.db{end}"))).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    assert!(holds(""));
    let store = SqliteStore::open(&path).await.expect("again");
    store.append(event(&format!("{text} in the log"))).await.expect("kept");
    assert!(holds("-wal"));
    assert_eq!(store.purge(&"channel_account".into(), "c").await.expect("purged").events, 51);
    assert!(!holds("") && !holds("-wal"), "nor in its log, while it works");
    store.append(event("another text")).await.expect("kept");
    store.close().await;
    assert!(!holds(""), "what is deleted is overwritten");
    let store = SqliteStore::open(&path).await.expect("again");
    let left = store.events(EventQuery { after: None, scope: None, limit: 9 }).await.expect("listed");
    assert_eq!(left.len(), 1, "what came after the log was emptied is kept");
}

#[tokio::test]
async fn a_log_that_a_reader_made_grow_is_cut() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let store = SqliteStore::open(&path).await.expect("new");
    let log = || std::fs::metadata(folder.path().join("inbox.db-wal")).expect("a log").len() >> 20;
    let append = async |number: u32| {
        let large = NewEvent { raw: vec![b'x'; 1 << 20].into(), ..event(&number.to_string()) };
        store.append(large).await.expect("kept");
    };
    let reader = rusqlite::Connection::open(&path).expect("opened");
    reader.execute_batch("BEGIN; SELECT count(*) FROM event;").expect("read");
    for number in 0..40 {
        append(number).await;
    }
    assert!(log() >= 40, "what the reader may still read cannot go: {} MB", log());
    drop(reader);
    for number in 40..43 {
        append(number).await;
    }
    assert!(log() <= 16, "{} MB", log());
}

#[tokio::test]
async fn too_little_free_disk_keeps_nothing_more_but_settles() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let store = SqliteStore::open(&path).await.expect("new");
    let (crm, _) = store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
    store.append(event("1")).await.expect("kept");
    store.close().await;
    let limits = Limits { min_free_bytes: u64::MAX, ..Limits::default() };
    let store = SqliteStore::open_within(&path, limits).await.expect("again");
    let error = store.append(event("2")).await.expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::StoreFull);
    assert_eq!(store.append(event("1")).await.expect("answered"), Appended::Duplicate, "takes no room");
    let draft = Draft {
        item_id: "item".into(),
        scope_id: "channel_account".into(),
        key: None,
        digest: [0; 20],
        call: "create_chat",
        ids: Ids::default(),
        body: "{}".into(),
        created_at: 1,
        expires_at: 1000,
    };
    store.outbox().enqueue(draft).await.expect("kept");
    store.outbox().cancel("item", 2).await.expect("answered").expect("known");
    let query = EventQuery { after: None, scope: None, limit: 9 };
    let events = store.events(query).await.expect("listed");
    assert_eq!(events.last().expect("one").origin, Origin::Outbox, "a result is told in any case");
    let leased = store.lease(crm, 1, usize::MAX, AT).await.expect("leased").remove(0);
    let settled = store.settle(vec![(leased.token, Settlement::Ack)], AT).await.expect("committed");
    assert_eq!(settled, [Settled::Done]);
}

#[tokio::test]
async fn a_backup_of_a_working_store_is_a_store() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
    store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
    store.append(event("1")).await.expect("kept");
    let copy = folder.path().join("copy.db");
    store.backup(&copy).await.expect("written");
    store.append(event("2")).await.expect("kept");
    let again = store.backup(&copy).await.expect_err("refused");
    assert_eq!(again.kind(), ErrorKind::StoreFailed, "a file that is there is left alone");

    let copy = SqliteStore::open(&copy).await.expect("a store");
    assert_eq!(copy.subscriptions().await.expect("listed")[0].unsettled, 1);
    assert!(copy.check().await.expect("read").is_empty());
    assert_eq!(copy.append(event("1")).await.expect("answered"), Appended::Duplicate);
}

#[tokio::test]
async fn a_check_finds_damage() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("inbox.db");
    let store = SqliteStore::open(&path).await.expect("new");
    for number in 0..200 {
        store.append(event(&number.to_string())).await.expect("kept");
    }
    store.close().await;
    let damage = rusqlite::Connection::open(&path).expect("opened");
    // An index that lacks a row of its table.
    damage
        .execute_batch(
            "CREATE INDEX damaged ON event (kind); PRAGMA writable_schema = ON; \
             UPDATE sqlite_schema SET sql = 'CREATE INDEX damaged ON event (received_at)' WHERE name = 'damaged';",
        )
        .expect("damaged");
    drop(damage);
    let store = SqliteStore::open(&path).await.expect("opened all the same");
    assert!(!store.check().await.expect("read").is_empty());
}
