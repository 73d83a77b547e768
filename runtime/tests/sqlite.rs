//! What is particular to the SQLite store: the file, its owner, its rights, its restart.

use amochats::ErrorKind;
use amochats_runtime::store::{Filter, Settled, Settlement, SqliteStore, Start, Store};
use amochats_runtime::{NewEvent, Origin};

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
    let first = store.lease(crm, 9, usize::MAX).await.expect("leased").remove(0);
    assert_eq!(store.settle(vec![(first.token, Settlement::Ack)]).await.expect("committed"), [Settled::Done]);
    let second = store.lease(crm, 9, usize::MAX).await.expect("leased").remove(0);
    store.close().await;

    let store = SqliteStore::open(&path).await.expect("again");
    let crm = store.subscription("crm").await.expect("kept");
    let again = store.lease(crm, 9, usize::MAX).await.expect("leased").remove(0);
    assert_eq!(again.event, second.event, "the settled one does not come back, the leased one does");
    assert_eq!(again.attempt, 2);
    let late = store.settle(vec![(second.token, Settlement::Ack)]).await.expect("committed");
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
        (&folder.path().join("none/inbox.db"), "cannot open"),
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
