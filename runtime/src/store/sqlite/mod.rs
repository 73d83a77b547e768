//! The embedded store: one SQLite file, one writer thread, group commit.
//!
//! Every operation goes to the writer thread through a bounded channel. The writer takes all that
//! waits into one transaction and commits it to the log; another thread syncs the log and only then
//! answers, while the writer is at the next transaction: so each answer follows the sync that covers
//! it, and a slow disk costs one sync per batch, not one per event. Nothing is ever answered from a
//! transaction that was not synced; what a connection for reading sees may not be synced yet.

mod append;
mod deliveries;
mod feed;
mod home;
mod known;
mod lookup;
mod migrate;
mod retention;
mod sync;
mod transaction;
mod writer;

pub(crate) use transaction::Transaction;

use super::{
    Appended, DeadLetter, DeadSummary, EventDelivery, EventQuery, EventSummary, Filter, Keep, Leased, Purged,
    Replay, Settled, Settlement, Start, Store, SubscriptionId, SubscriptionState, SummaryQuery, Token,
    closed,
};
use crate::accounts::AccountStore;
use crate::backfill::BackfillStore;
use crate::event::{Event, NewEvent};
use crate::media::MediaStore;
use crate::outbox::store::OutboxStore;
use crate::widget::WidgetStore;
use amochats::{Error, ErrorKind, Result, ScopeId};
use async_trait::async_trait;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use writer::{Ask, Message, Writer};

/// "amoc", so that a foreign file is noticed.
const APPLICATION_ID: i32 = 0x616d_6f63;
/// How many operations may wait for the writer; beyond it callers wait for room.
const QUEUE: usize = 1024;

/// When a store takes no more events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// With less free on its disk nothing more is kept, so that what is kept can still be settled.
    pub min_free_bytes: u64,
    /// The most unsettled events of a subscription, about; 0 is no limit.
    pub backlog: u64,
    /// What happens then.
    pub on_full: OnFull,
}

/// What happens when a subscription is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFull {
    /// Nothing more is kept, for anybody: the listener answers 503.
    #[default]
    Refuse,
    /// Its oldest events become dead letters without a body.
    ExpireOldest,
}

/// A store in an SQLite file.
pub struct SqliteStore {
    messages: mpsc::Sender<Message>,
    changes: watch::Receiver<()>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    path: PathBuf,
    /// Opened to look into: there is no writer.
    read_only: bool,
}

impl SqliteStore {
    /// Opens the file, or makes it with mode 0600.
    ///
    /// # Errors
    /// - [`ErrorKind::StoreLocked`] where another process has it open, with its process id.
    /// - [`ErrorKind::StoreFailed`] where it cannot be opened, is damaged or is another program's.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_within(path, Limits::default()).await
    }

    /// As [`SqliteStore::open`], with limits.
    ///
    /// # Errors
    /// As for [`SqliteStore::open`].
    pub async fn open_within(path: impl AsRef<Path>, limits: Limits) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let opened = path.clone();
        let (lock, connection) = tokio::task::spawn_blocking(move || {
            let lock = lock(&opened)?;
            let connection = connect(&opened)?;
            Ok::<_, Error>((lock, connection))
        })
        .await
        .map_err(|_| closed())??;
        let (messages, queue) = mpsc::channel(QUEUE);
        let (changed, changes) = watch::channel(());
        let writer = Writer::new(path.clone(), &limits, connection, Handle::current(), changed)?;
        // It logs to where its runtime does, which need not be the process's own place.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let writer = std::thread::Builder::new()
            .name("amochats-store".into())
            .spawn(move || {
                tracing::dispatcher::with_default(&log, || writer.run(queue));
                drop(lock);
            })
            .map_err(|error| failed(format!("cannot start the store's thread: {error}")))?;
        Ok(Self { messages, changes, writer: Mutex::new(Some(writer)), path, read_only: false })
    }

    /// Opens a file that exists for looking into it, also while a server works on it. Whatever would
    /// change it fails.
    ///
    /// # Errors
    /// [`ErrorKind::StoreFailed`] where it cannot be opened, is another program's, or has tables of
    /// another version.
    pub async fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        let (messages, _) = mpsc::channel(1);
        let (_, changes) = watch::channel(());
        let path = path.as_ref().to_owned();
        let store = Self { messages, changes, writer: Mutex::new(None), path, read_only: true };
        let name = store.path.clone();
        store
            .read(move |connection| {
                let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
                let cannot = |why: &str| failed(format!("cannot read the store {}: {why}", name.display()));
                if number("application_id").map_err(|error| cannot(&error.to_string()))? != APPLICATION_ID {
                    return Err(cannot("it is not one of amochats"));
                }
                match number("user_version").map_err(error)? {
                    migrate::VERSION => Ok(()),
                    old if old < migrate::VERSION => Err(cannot(
                        "its tables are of an older version; a server's start brings them up to date",
                    )),
                    _ => Err(cannot("it is of a newer amochats; use that")),
                }
            })
            .await?;
        Ok(store)
    }

    /// Runs statements of another part of this crate in the next transaction, together with
    /// whatever else waits for it; returns once that is committed with its sync.
    ///
    /// An error takes back what this work did, and nothing of the others'.
    pub(crate) async fn transact<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.ask(move |transaction| transaction.nested(work)).await
    }

    /// Reads on a connection of its own, so that a long answer does not hold up the writer.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let path = self.path.clone();
        let read = move || {
            let connection =
                Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(error)?;
            connection.busy_timeout(BUSY_TIMEOUT).map_err(error)?;
            work(&connection)
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| closed())?
    }

    /// Empties the log, which still has what was deleted.
    async fn forget_log(&self) {
        let path = self.path.clone();
        let forget = move || {
            let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            empty_log(&connection)
        };
        let kept = "what was purged may be in the store's log until that comes round";
        match tokio::task::spawn_blocking(forget).await {
            Ok(Ok(false)) => tracing::warn!("{kept}: another program reads the store"),
            Ok(Err(error)) => tracing::warn!(%error, "{kept}"),
            // Cancelled with the runtime: closing empties the log.
            Ok(Ok(true)) | Err(_) => {}
        }
    }

    /// Writes a copy of all that is committed into a new file, while the store works on.
    ///
    /// # Errors
    /// [`ErrorKind::StoreFailed`] where the file exists or cannot be written.
    pub async fn backup(&self, to: impl AsRef<Path>) -> Result<()> {
        let to = to.as_ref().to_owned();
        let cannot = |error: std::io::Error| failed(format!("cannot write the backup: {error}"));
        self.read(move |connection| {
            let file = private().create_new(true).open(&to).map_err(cannot)?;
            let path = to.to_str().ok_or_else(|| failed("the backup's name is not UTF-8".to_owned()))?;
            connection.execute("VACUUM INTO ?1", [path]).map_err(error)?;
            file.sync_all().map_err(cannot)
        })
        .await
    }

    /// Reads the whole file and says what is wrong with it; nothing, if all is well.
    ///
    /// # Errors
    /// [`ErrorKind::StoreFailed`] where it cannot be read at all.
    pub async fn check(&self) -> Result<Vec<String>> {
        self.read(|connection| {
            let mut statement = connection.prepare("PRAGMA integrity_check").map_err(error)?;
            let found = statement.query_map([], |row| row.get(0)).map_err(error)?;
            let mut found: Vec<String> = found.collect::<rusqlite::Result<_>>().map_err(error)?;
            found.retain(|line| line != "ok");
            Ok(found)
        })
        .await
    }

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<Result<T>> + Send + 'static,
    ) -> Result<T> {
        if self.read_only {
            return Err(failed("the store was opened for reading alone".to_owned()));
        }
        let (message, result) = Ask::message(work);
        self.messages.send(message).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, event: NewEvent) -> Result<Appended> {
        self.ask(move |transaction| transaction.append(&event)).await
    }

    fn changes(&self) -> watch::Receiver<()> {
        self.changes.clone()
    }

    async fn create_subscription(
        &self,
        name: &str,
        start: Start,
        filter: Filter,
        created_at: i64,
    ) -> Result<(SubscriptionId, bool)> {
        let name = name.to_owned();
        self.ask(move |transaction| transaction.create_subscription(&name, &start, filter, created_at)).await
    }

    async fn subscription(&self, name: &str) -> Result<SubscriptionId> {
        let name = name.to_owned();
        self.ask(move |transaction| Ok(transaction.subscription(&name))).await
    }

    async fn delete_subscription(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.ask(move |transaction| transaction.delete_subscription(&name)).await
    }

    async fn subscriptions(&self) -> Result<Vec<SubscriptionState>> {
        self.read(|connection| feed::subscriptions(connection).map_err(error)).await
    }

    async fn lease(
        &self,
        subscription: SubscriptionId,
        max: usize,
        max_bytes: usize,
        at: i64,
    ) -> Result<Vec<Leased>> {
        loop {
            let lease =
                move |transaction: &mut Transaction<'_>| transaction.lease(subscription, max, max_bytes, at);
            let (leased, more) = self.ask(lease).await?;
            if !leased.is_empty() || !more {
                return Ok(leased);
            }
        }
    }

    async fn settle(&self, settlements: Vec<(Token, Settlement)>, at: i64) -> Result<Vec<Settled>> {
        self.ask(move |transaction| {
            let settle = |(token, settlement)| transaction.settle(token, settlement, at);
            settlements.into_iter().map(settle).collect::<rusqlite::Result<_>>().map(Ok)
        })
        .await
    }

    fn accounts(&self) -> &dyn AccountStore {
        self
    }

    async fn replay(&self, name: &str, replay: Replay) -> Result<u64> {
        let name = name.to_owned();
        self.ask(move |transaction| transaction.replay(&name, &replay)).await
    }

    async fn dead_letters(&self, name: &str, after: i64, limit: usize) -> Result<Vec<DeadLetter>> {
        let name = name.to_owned();
        self.read(move |connection| {
            deliveries::dead_letters(connection, &name, after, limit).map_err(error)?
        })
        .await
    }

    async fn dead_summaries(&self, name: &str, after: i64, limit: usize) -> Result<Vec<DeadSummary>> {
        let name = name.to_owned();
        self.read(move |connection| lookup::dead(connection, &name, after, limit).map_err(error)?).await
    }

    async fn take_dead_letters(&self, name: &str, places: Option<Vec<i64>>, again: bool) -> Result<u64> {
        let (mut after, mut taken) = (0, 0);
        loop {
            let (name, places) = (name.to_owned(), places.clone());
            let (portion, next) = self
                .ask(move |transaction| match &places {
                    Some(places) => transaction.take_these_dead_letters(&name, places, again),
                    None => transaction.take_dead_letters(&name, after, again),
                })
                .await?;
            taken += portion;
            match next {
                Some(next) => after = next,
                None => return Ok(taken),
            }
        }
    }

    async fn event(&self, event_id: &str) -> Result<Option<Event>> {
        let event_id = event_id.to_owned();
        self.read(move |connection| deliveries::one_event(connection, &event_id).map_err(error)).await
    }

    async fn events(&self, query: EventQuery) -> Result<Vec<Event>> {
        self.read(move |connection| deliveries::events(connection, &query).map_err(error)?).await
    }

    async fn summaries(&self, query: SummaryQuery) -> Result<Vec<EventSummary>> {
        let limit = query.limit;
        let mut search =
            self.read(|connection| lookup::Search::begin(connection, query).map_err(error)?).await?;
        let mut found = Vec::new();
        while found.len() < limit && search.goes_on() {
            let missing = limit - found.len();
            let looked = self.read(move |connection| {
                let more = search.next(connection, missing).map_err(error)?;
                Ok((search, more))
            });
            let (rest, more) = looked.await?;
            found.extend(more);
            search = rest;
        }
        Ok(found)
    }

    async fn summary(&self, event_id: &str) -> Result<Option<EventSummary>> {
        let event_id = event_id.to_owned();
        self.read(move |connection| lookup::one(connection, &event_id).map_err(error)).await
    }

    async fn deliveries(&self, event_id: &str) -> Result<Vec<EventDelivery>> {
        let event_id = event_id.to_owned();
        self.read(move |connection| lookup::deliveries(connection, &event_id).map_err(error)).await
    }

    async fn purge(&self, scope: &ScopeId, conversation: &str) -> Result<Purged> {
        let (mut from, mut purged) = (0, Purged::default());
        loop {
            let (scope, conversation) = (scope.clone(), conversation.to_owned());
            let (portion, next) =
                self.ask(move |transaction| transaction.purge(&scope, &conversation, from)).await?;
            purged.events += portion.events;
            purged.open_items += portion.open_items;
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        if purged.events > 0 {
            self.forget_log().await;
        }
        Ok(purged)
    }

    async fn maintain(&self, keep: Keep) -> Result<()> {
        while self.ask(move |transaction| transaction.maintain(&keep).map(Ok)).await? {}
        Ok(())
    }

    fn outbox(&self) -> &dyn OutboxStore {
        self
    }

    fn backfill(&self) -> &dyn BackfillStore {
        self
    }

    fn widget(&self) -> &dyn WidgetStore {
        self
    }

    fn media(&self) -> &dyn MediaStore {
        self
    }

    async fn ping(&self) -> Result<()> {
        self.ask(|transaction| Ok(transaction.disk())).await
    }

    async fn close(&self) {
        let (done, closed) = oneshot::channel();
        if self.messages.send(Message::Close(done)).await.is_ok() {
            let _ = closed.await;
        }
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = tokio::task::spawn_blocking(move || writer.join()).await;
        }
    }
}

/// What is left of the log after a checkpoint.
const LOG_BYTES: i64 = 16 << 20;
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the file's lock, which the process's end releases whatever way it ends.
fn lock(path: &Path) -> Result<File> {
    // Of the file itself: by two names it is the same store.
    let path = &path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let name = path.file_name().ok_or_else(|| failed(format!("{} is not a file name", path.display())))?;
    let mut lock_name = name.to_owned();
    lock_name.push(".lock");
    let path = path.with_file_name(lock_name);
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder.filter(|folder| !folder.exists()) {
        return Err(failed(format!(
            "the folder {} of the store does not exist: make it, or name another in store.path",
            folder.display()
        )));
    }
    let cannot = |error| failed(format!("cannot open {}: {error}", path.display()));
    let mut file = private().read(true).open(&path).map_err(cannot)?;
    match file.try_lock() {
        Ok(()) => {
            // For whoever finds it locked; not needed for the lock, so a full disk does not matter.
            let _ = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| write!(file, "{}", std::process::id()));
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            Err(Error::new(
                ErrorKind::StoreLocked,
                format!(
                    "the store is in use by process {owner}; stop it, or give this one a file of its own"
                ),
            ))
        }
        Err(TryLockError::Error(error)) => Err(cannot(error)),
    }
}

/// Opens the database, makes or checks its schema, and sets what durability depends on.
fn connect(path: &Path) -> Result<Connection> {
    let cannot =
        |error: &dyn std::fmt::Display| failed(format!("cannot open the store {}: {error}", path.display()));
    // Made here for its mode, but not touched if it is there: closing any descriptor of a file ends
    // the locks that this process's other connections hold on it.
    if !path.exists() {
        private().open(path).map_err(|error| cannot(&error))?;
    }
    let connection = Connection::open(path).map_err(|error| cannot(&error))?;
    let prepare = || -> rusqlite::Result<(i32, i32)> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(64);
        // Plans do not depend on the values that are bound, or SQLite would make a new one for each value.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((application, version))
    };
    let (application, version) = prepare().map_err(|error| cannot(&error))?;
    match application {
        APPLICATION_ID if version > migrate::VERSION => {
            let known = migrate::VERSION;
            return Err(cannot(&format!(
                "it is of a newer amochats (version {version} of the tables; this one knows {known}); use that"
            )));
        }
        APPLICATION_ID => {}
        0 if version == 0 && is_empty(&connection).map_err(|error| cannot(&error))? => {
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL").map_err(|error| cannot(&error))?;
        }
        _ => return Err(cannot(&"it is the database of another program; give amochats a file of its own")),
    }
    let configure = || -> rusqlite::Result<String> {
        connection.pragma_update(None, "synchronous", "FULL")?;
        // In KiB: so that the look-up of a million messages seen finds its upper pages in memory.
        connection.pragma_update(None, "cache_size", -8000)?;
        // A log that a long reader made grow is cut when it is done.
        connection.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES, |_| Ok(()))?;
        // What a page no longer holds is overwritten with it, or a split would leave copies that no purge finds.
        connection.pragma_update(None, "secure_delete", "FAST")?;
        // That an event has a scope is seen to by the code; to look it up again for each one is not free.
        connection.pragma_update(None, "foreign_keys", false)?;
        let mode = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
        migrate::migrate(&connection, version)?;
        Ok(mode)
    };
    match configure().map_err(|error| cannot(&error))?.as_str() {
        "wal" => {}
        mode => return Err(cannot(&format!("the file system allows journal mode {mode:?} only, not WAL"))),
    }
    Ok(connection)
}

/// Moves the whole log into the database, after a failed sync.
///
/// Pages of the log may then be in memory only, although they read back fine, and what is committed
/// behind them would hang in the air. Moved, they are written and synced anew.
fn rewrite_log(connection: &Connection) -> Result<()> {
    if !empty_log(connection).map_err(error)? {
        return Err(failed(
            "another program reads the store; it must end before the store can recover".to_owned(),
        ));
    }
    Ok(())
}

/// Moves the whole log into the database and empties it; false: somebody reads it for too long.
fn empty_log(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)).map(|busy| !busy)
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// Files that only the owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn failed(message: String) -> Error {
    Error::new(ErrorKind::StoreFailed, message)
}

/// An error of SQLite. Its text names tables and files, never contents.
pub(crate) fn error(error: rusqlite::Error) -> Error {
    let kind = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => ErrorKind::StoreFull,
        _ => ErrorKind::StoreFailed,
    };
    let message = match kind {
        ErrorKind::StoreFull => "the store's disk is full".to_owned(),
        _ => format!("the store failed: {error}"),
    };
    Error::new(kind, message).with_source(Arc::new(error))
}
