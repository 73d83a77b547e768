//! The embedded store: one SQLite file, one writer thread, group commit.
//!
//! Every operation goes to the writer thread through a bounded channel. The writer takes all that
//! waits into one transaction, commits it with a sync (`synchronous=FULL`), and only then answers:
//! so each answer follows the sync that covers it, and a slow disk costs one sync per batch, not
//! one per event. Nothing is ever answered from a transaction that was not committed.

mod transaction;
mod writer;

pub(crate) use transaction::Transaction;

use super::{
    Appended, Leased, Settled, Settlement, Start, Store, SubscriptionId, SubscriptionState, Token, closed,
};
use crate::backfill::{self, BackfillStore};
use crate::event::NewEvent;
use crate::outbox;
use crate::outbox::store::OutboxStore;
use amochats::{Error, ErrorKind, Result};
use async_trait::async_trait;
use rusqlite::{Connection, OpenFlags};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use writer::{Ask, Message, Writer};

/// "amoc", so that a foreign file is noticed.
const APPLICATION_ID: i32 = 0x616d_6f63;
const SCHEMA_VERSION: i32 = 1;
const SCHEMA: &str = include_str!("schema.sql");
/// How many operations may wait for the writer; beyond it callers wait for room.
const QUEUE: usize = 1024;

/// A store in an SQLite file.
pub struct SqliteStore {
    messages: mpsc::Sender<Message>,
    writer: Mutex<Option<std::thread::JoinHandle<()>>>,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens the file, or makes it with mode 0600.
    ///
    /// # Errors
    /// - [`ErrorKind::StoreLocked`] where another process has it open, with its process id.
    /// - [`ErrorKind::StoreFailed`] where it cannot be opened, is damaged or is another program's.
    pub async fn open(path: impl AsRef<Path>) -> Result<Self> {
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
        let writer = Writer::new(path.clone(), connection, Handle::current())?;
        let writer = std::thread::Builder::new()
            .name("amochats-store".into())
            .spawn(move || {
                writer.run(queue);
                drop(lock);
            })
            .map_err(|error| failed(format!("cannot start the store's thread: {error}")))?;
        Ok(Self { messages, writer: Mutex::new(Some(writer)), path })
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

    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Transaction<'_>) -> rusqlite::Result<Result<T>> + Send + 'static,
    ) -> Result<T> {
        let (message, result) = Ask::new(work);
        self.messages.send(message).await.map_err(|_| closed())?;
        result.await.map_err(|_| closed())?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn append(&self, event: NewEvent) -> Result<Appended> {
        self.ask(move |transaction| transaction.append(&event).map(Ok)).await
    }

    async fn create_subscription(
        &self,
        name: &str,
        start: Start,
        created_at: i64,
    ) -> Result<(SubscriptionId, bool)> {
        let name = name.to_owned();
        self.ask(move |transaction| transaction.create_subscription(&name, start, created_at).map(Ok)).await
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
        self.read(|connection| transaction::subscriptions(connection).map_err(error)).await
    }

    async fn lease(&self, subscription: SubscriptionId, max: usize) -> Result<Vec<Leased>> {
        self.ask(move |transaction| transaction.lease(subscription, max)).await
    }

    async fn settle(&self, settlements: Vec<(Token, Settlement)>) -> Result<Vec<Settled>> {
        self.ask(move |transaction| {
            let settle = |(token, settlement)| transaction.settle(token, settlement);
            settlements.into_iter().map(settle).collect::<rusqlite::Result<_>>().map(Ok)
        })
        .await
    }

    fn outbox(&self) -> &dyn OutboxStore {
        self
    }

    fn backfill(&self) -> &dyn BackfillStore {
        self
    }

    async fn ping(&self) -> Result<()> {
        self.ask(|_| Ok(Ok(()))).await
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

const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Takes the file's lock, which the process's end releases whatever way it ends.
fn lock(path: &Path) -> Result<File> {
    let name = path.file_name().ok_or_else(|| failed(format!("{} is not a file name", path.display())))?;
    let mut lock_name = name.to_owned();
    lock_name.push(".lock");
    let path = path.with_file_name(lock_name);
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
        let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        Ok((application, version))
    };
    match prepare().map_err(|error| cannot(&error))? {
        (APPLICATION_ID, SCHEMA_VERSION) => {}
        (APPLICATION_ID, version) => {
            return Err(cannot(&format!(
                "its schema is version {version}, this program knows {SCHEMA_VERSION}"
            )));
        }
        (0, 0) if is_empty(&connection).map_err(|error| cannot(&error))? => {
            create(&connection).map_err(|error| cannot(&error))?;
        }
        _ => return Err(cannot(&"it is the database of another program")),
    }
    let configure = || -> rusqlite::Result<String> {
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
    };
    match configure().map_err(|error| cannot(&error))?.as_str() {
        "wal" => {}
        mode => return Err(cannot(&format!("the file system allows journal mode {mode:?} only, not WAL"))),
    }
    connection.execute_batch(backfill::SCHEMA).map_err(|error| cannot(&error))?;
    connection.execute_batch(outbox::SCHEMA).map_err(|error| cannot(&error))?;
    Ok(connection)
}

/// Moves the whole log into the database, after a failed sync.
///
/// Pages of the log may then be in memory only, although they read back fine, and what is committed
/// behind them would hang in the air. Moved, they are written and synced anew.
fn rewrite_log(connection: &Connection) -> Result<()> {
    let busy: bool =
        connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(error)?;
    if busy {
        return Err(failed(
            "another program reads the store; it must end before the store can recover".to_owned(),
        ));
    }
    Ok(())
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

fn create(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.execute_batch("BEGIN IMMEDIATE")?;
    connection.execute_batch(SCHEMA)?;
    let id = uuid::Uuid::new_v4().simple().to_string();
    connection.execute("INSERT INTO store (id) VALUES (?1)", [&id[..12]])?;
    connection.pragma_update(None, "application_id", APPLICATION_ID)?;
    connection.pragma_update(None, "user_version", SCHEMA_VERSION)?;
    connection.execute_batch("COMMIT")
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
