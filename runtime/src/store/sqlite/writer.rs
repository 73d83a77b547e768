//! The thread that owns the connection.

use super::home::Home;
use super::known::Known;
use super::sync::{Committed, Log, Syncer, answer};
use super::transaction::{Cache, Transaction};
use super::{Limits, connect, error, rewrite_log};
use crate::store::closed;
use amochats::{Error, ErrorKind, Result};
use rusqlite::Connection;
use std::path::PathBuf;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};

/// The most operations in one transaction.
const BATCH: usize = 256;
/// How often at most the processor is left to others before a batch that is smaller than usual.
const GATHERING: usize = 4;

/// A part of a transaction that somebody waits for.
pub(super) trait Operation: Send {
    /// Does the work. An error fails the whole transaction.
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()>;
    /// Says how it went, once the transaction is committed or has failed.
    fn answer(self: Box<Self>, failure: Option<&Error>);
}

/// What goes to the writer.
pub(super) enum Message {
    Work(Box<dyn Operation>),
    Close(oneshot::Sender<()>),
}

/// An operation made of a closure.
pub(super) struct Ask<T, F> {
    work: Option<F>,
    result: Option<Result<T>>,
    answer: oneshot::Sender<Result<T>>,
}

impl<T, F> Ask<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut Transaction<'_>) -> rusqlite::Result<Result<T>> + Send + 'static,
{
    pub(super) fn message(work: F) -> (Message, oneshot::Receiver<Result<T>>) {
        let (answer, result) = oneshot::channel();
        (Message::Work(Box::new(Self { work: Some(work), result: None, answer })), result)
    }
}

impl<T, F> Operation for Ask<T, F>
where
    T: Send,
    F: FnOnce(&mut Transaction<'_>) -> rusqlite::Result<Result<T>> + Send,
{
    fn apply(&mut self, transaction: &mut Transaction<'_>) -> rusqlite::Result<()> {
        if let Some(work) = self.work.take() {
            self.result = Some(work(transaction)?);
        }
        Ok(())
    }

    fn answer(self: Box<Self>, failure: Option<&Error>) {
        let result = match failure {
            None => self.result.unwrap_or_else(|| Err(closed())),
            // The same error for one more caller.
            Some(error) => Err(Error::new(error.kind(), error.message())),
        };
        // An asker who went away is no error.
        let _ = self.answer.send(result);
    }
}

pub(super) struct Writer {
    /// Before the connection, so that it ends first.
    syncer: Syncer,
    path: PathBuf,
    home: Home,
    /// Gone after a failure, until it can be opened again.
    connection: Option<Connection>,
    log: Log,
    cache: Cache,
    /// Where the askers live.
    askers: Handle,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        limits: &Limits,
        connection: Connection,
        askers: Handle,
        changed: watch::Sender<()>,
    ) -> Result<Self> {
        Transaction::release_all(&connection).map_err(error)?;
        let known = Known::start(&path)?;
        let mut cache = Cache::load(&connection, limits).map_err(error)?;
        cache.seen.know(known);
        let log = Log::open(&connection, 1)?;
        let home = Home::of(&path)?;
        let syncer = Syncer::start(askers.clone(), changed)?;
        Ok(Self { syncer, path, home, connection: Some(connection), log, cache, askers })
    }

    /// Works until the store is closed or dropped. There is no timer: a batch is what waits.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Message>) {
        let mut messages = Vec::with_capacity(BATCH);
        let mut usual = 0;
        loop {
            if queue.blocking_recv_many(&mut messages, BATCH) == 0 {
                return;
            }
            // Those who were just answered are about to ask again: a commit for each of the first few
            // would keep the others waiting.
            for _ in 0..GATHERING {
                if 2 * messages.len() >= usual {
                    break;
                }
                std::thread::yield_now();
                let room = BATCH - messages.len();
                messages.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(room));
            }
            usual = (usual + messages.len()).div_ceil(2);
            let (mut batch, mut closing) = (Vec::with_capacity(messages.len()), None);
            for message in messages.drain(..) {
                match message {
                    Message::Work(operation) => batch.push(operation),
                    Message::Close(done) => closing = Some(done),
                }
            }
            self.work(batch);
            if let Some(done) = closing {
                queue.close();
                while let Ok(message) = queue.try_recv() {
                    match message {
                        Message::Work(operation) => operation.answer(Some(&closed())),
                        Message::Close(done) => drop(done.send(())),
                    }
                }
                // Synced, answered and closed before the caller learns of it, so that the file can be
                // opened again.
                drop(self);
                let _ = done.send(());
                return;
            }
        }
    }

    /// One transaction, whose askers are answered once it is synced, or has failed.
    fn work(&mut self, mut batch: Vec<Box<dyn Operation>>) {
        if let Err(gone) = self.in_place() {
            tracing::error!(error = %gone, "the store's file is not in its place; nothing is kept");
            // The connection stays: with it the last that has the file would go.
            return answer(&self.askers, batch, Some(gone));
        }
        match self.reopened().and_then(|reopened| Ok((reopened, self.commit(&mut batch)?))) {
            Ok((reopened, (wrote, changed))) => {
                let (log, changed) = (self.log.clone(), changed || reopened);
                self.syncer.sync(Committed { log, batch, wrote, changed });
            }
            Err(failure) => {
                tracing::warn!(kind = failure.kind().name(), error = %failure, "the store could not commit");
                self.recover(&failure);
                answer(&self.askers, batch, Some(failure));
            }
        }
    }

    /// Whether a restart would find what is written now.
    fn in_place(&self) -> Result<()> {
        self.home.check()?;
        // Without a connection there may be no log.
        self.connection.as_ref().map_or(Ok(()), |_| self.log.in_place())
    }

    /// Says whether anything was written, and whether something may be ready now that was not.
    fn commit(&mut self, batch: &mut [Box<dyn Operation>]) -> Result<(bool, bool)> {
        let connection = self.connection.as_ref().ok_or_else(closed)?;
        let before = connection.total_changes();
        let mut transaction = Transaction::begin(connection, &mut self.cache).map_err(error)?;
        for operation in batch {
            operation.apply(&mut transaction).map_err(error)?;
        }
        let changed = transaction.commit().map_err(error)?;
        Ok((connection.total_changes() != before, changed))
    }

    /// After a failed transaction nothing of it counts, and what was cached may be wrong.
    fn recover(&mut self, failure: &Error) {
        // A full disk leaves the connection sound. After anything else it is opened anew.
        let sound = failure.kind() == ErrorKind::StoreFull;
        let kept = self.connection.take().filter(|connection| sound && self.cache.reload(connection).is_ok());
        self.connection = kept;
    }

    /// Opens what a failure has closed; says whether it was.
    fn reopened(&mut self) -> Result<bool> {
        if self.syncer.failed(&self.log) {
            self.connection = None;
        }
        let closed = self.connection.is_none();
        if closed {
            let connection = connect(&self.path)?;
            rewrite_log(&connection)?;
            // The failed transaction may be in the log after all. What it leased is nobody's, so
            // all leases end here; a settlement under one of them is lost and says so.
            Transaction::release_all(&connection).map_err(error)?;
            self.cache.reload(&connection).map_err(error)?;
            self.log = Log::open(&connection, self.log.number() + 1)?;
            self.connection = Some(connection);
            tracing::info!("the store is open again");
        }
        Ok(closed)
    }
}
