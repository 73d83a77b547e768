//! The thread that owns the connection.

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
/// Up to so many answers are given by the writer itself, more by one task for them all: to wake a
/// task from outside of the asynchronous runtime costs much more than from inside.
const ANSWERED_HERE: usize = 2;

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
    path: PathBuf,
    /// Gone after a failure, until it can be opened again.
    connection: Option<Connection>,
    limits: Limits,
    cache: Cache,
    /// Where the askers live.
    askers: Handle,
    /// For those who wait until something is ready.
    changed: watch::Sender<()>,
}

impl Writer {
    pub(super) fn new(
        path: PathBuf,
        limits: Limits,
        connection: Connection,
        askers: Handle,
        changed: watch::Sender<()>,
    ) -> Result<Self> {
        Transaction::release_all(&connection).map_err(error)?;
        let cache = Cache::load(&connection, &limits).map_err(error)?;
        Ok(Self { path, limits, connection: Some(connection), cache, askers, changed })
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
                // Closed before the caller learns of it, so that the file can be opened again.
                self.connection = None;
                let _ = done.send(());
                return;
            }
        }
    }

    /// One transaction, and the answers to those who asked for it.
    fn work(&mut self, mut batch: Vec<Box<dyn Operation>>) {
        let committed = self.reopened().and_then(|reopened| Ok(self.commit(&mut batch)? || reopened));
        let failure = match committed {
            Ok(false) => None,
            Ok(true) => {
                self.changed.send_replace(());
                None
            }
            Err(failure) => Some(failure),
        };
        if let Some(failure) = &failure {
            tracing::warn!(kind = failure.kind().name(), error = %failure, "the store could not commit");
            self.recover(failure);
        }
        let together = batch.len() > ANSWERED_HERE;
        let answer = move || batch.into_iter().for_each(|operation| operation.answer(failure.as_ref()));
        if together {
            self.askers.spawn(async { answer() });
        } else {
            answer();
        }
    }

    fn commit(&mut self, batch: &mut [Box<dyn Operation>]) -> Result<bool> {
        let connection = self.connection.as_ref().ok_or_else(closed)?;
        let mut transaction = Transaction::begin(connection, &mut self.cache).map_err(error)?;
        for operation in batch {
            operation.apply(&mut transaction).map_err(error)?;
        }
        transaction.commit().map_err(error)
    }

    /// After a failed transaction nothing of it counts, and what was cached may be wrong.
    fn recover(&mut self, failure: &Error) {
        // A full disk leaves the connection sound. After anything else it is opened anew, so that
        // a failed sync is never taken for a good one.
        let reloaded = match (&self.connection, failure.kind()) {
            (Some(connection), ErrorKind::StoreFull) => Cache::load(connection, &self.limits).ok(),
            _ => None,
        };
        match reloaded {
            Some(cache) => self.cache = cache,
            None => self.connection = None,
        }
    }

    /// Opens what a failure has closed; says whether it was.
    fn reopened(&mut self) -> Result<bool> {
        let closed = self.connection.is_none();
        if closed {
            let connection = connect(&self.path)?;
            rewrite_log(&connection)?;
            // The failed transaction may be in the log after all. What it leased is nobody's, so
            // all leases end here; a settlement under one of them is lost and says so.
            Transaction::release_all(&connection).map_err(error)?;
            self.cache = Cache::load(&connection, &self.limits).map_err(error)?;
            self.connection = Some(connection);
            tracing::info!("the store is open again");
        }
        Ok(closed)
    }
}
