//! The thread that owns the connection.

use super::transaction::{Cache, Transaction};
use super::{Answer, Operation, connect, error, rewrite_log};
use crate::store::closed;
use amochats::{Error, ErrorKind, Result};
use rusqlite::Connection;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// The most operations in one transaction.
const BATCH: usize = 256;

pub(super) struct Writer {
    path: PathBuf,
    /// Gone after a failure, until it can be opened again.
    connection: Option<Connection>,
    cache: Cache,
    /// The last transaction failed: wait for work instead of trying the rest again and again.
    stalled: bool,
}

/// What to say once the transaction is committed, or was not.
type Reply = Box<dyn FnOnce(Option<&Error>)>;

impl Writer {
    pub(super) fn new(path: PathBuf, connection: Connection) -> Result<Self> {
        Transaction::release_all(&connection).map_err(error)?;
        let cache = Cache::load(&connection).map_err(error)?;
        Ok(Self { path, connection: Some(connection), cache, stalled: false })
    }

    /// Works until the store is closed or dropped. There is no timer: a batch is what waits.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Operation>) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let idle = self.stalled || !self.cache.is_filling();
            if idle {
                if queue.blocking_recv_many(&mut batch, BATCH) == 0 {
                    return;
                }
            } else {
                batch.extend(std::iter::from_fn(|| queue.try_recv().ok()).take(BATCH));
            }
            if let Some(closing) = self.work(&mut batch) {
                queue.close();
                while let Ok(operation) = queue.try_recv() {
                    operation.refuse(&closed());
                }
                // Closed before the caller learns of it, so that the file can be opened again.
                self.connection = None;
                let _ = closing.send(());
                return;
            }
        }
    }

    /// One transaction. Returns whom to tell that the store is closed, if that was asked for.
    fn work(&mut self, batch: &mut Vec<Operation>) -> Option<oneshot::Sender<()>> {
        let mut closing = None;
        let mut replies: Vec<Reply> = Vec::with_capacity(batch.len());
        let mut operations = batch.drain(..).filter_map(|operation| match operation {
            Operation::Close(answer) => {
                closing = Some(answer);
                None
            }
            operation => Some(operation),
        });
        let failure = self.reopened().and_then(|()| self.commit(&mut operations, &mut replies)).err();
        if let Some(failure) = &failure {
            tracing::warn!(kind = failure.kind().name(), error = %failure, "the store could not commit");
            operations.by_ref().for_each(|operation| operation.refuse(failure));
            self.recover(failure);
        }
        drop(operations);
        self.stalled = failure.is_some();
        for reply in replies {
            reply(failure.as_ref());
        }
        closing
    }

    fn commit(
        &mut self,
        operations: &mut dyn Iterator<Item = Operation>,
        replies: &mut Vec<Reply>,
    ) -> Result<()> {
        let connection = self.connection.as_ref().ok_or_else(closed)?;
        let mut transaction = Transaction::begin(connection, &mut self.cache).map_err(error)?;
        for operation in operations {
            apply(&mut transaction, operation, replies).map_err(error)?;
        }
        transaction.fill().map_err(error)?;
        transaction.commit().map_err(error)
    }

    /// After a failed transaction nothing of it counts, and what was cached may be wrong.
    fn recover(&mut self, failure: &Error) {
        // A full disk leaves the connection sound. After anything else it is opened anew, so that
        // a failed sync is never taken for a good one.
        let reloaded = match (&self.connection, failure.kind()) {
            (Some(connection), ErrorKind::StoreFull) => Cache::load(connection).ok(),
            _ => None,
        };
        match reloaded {
            Some(cache) => self.cache = cache,
            None => self.connection = None,
        }
    }

    fn reopened(&mut self) -> Result<()> {
        if self.connection.is_none() {
            let connection = connect(&self.path)?;
            rewrite_log(&connection)?;
            // The failed transaction may be in the log after all. What it leased is nobody's, so
            // all leases end here; a settlement under one of them is lost and says so.
            Transaction::release_all(&connection).map_err(error)?;
            self.cache = Cache::load(&connection).map_err(error)?;
            self.connection = Some(connection);
            tracing::info!("the store is open again");
        }
        Ok(())
    }
}

/// Does the work of one operation and prepares its reply. An error fails the whole transaction.
fn apply(
    transaction: &mut Transaction<'_>,
    operation: Operation,
    replies: &mut Vec<Reply>,
) -> rusqlite::Result<()> {
    match operation {
        Operation::Append(event, answer) => stage(replies, answer, transaction.append(&event).map(Ok)),
        Operation::CreateSubscription { name, start, created_at, answer } => {
            stage(replies, answer, transaction.create_subscription(&name, start, created_at).map(Ok))
        }
        Operation::Subscription(name, answer) => stage(replies, answer, Ok(transaction.subscription(&name))),
        Operation::DeleteSubscription(name, answer) => {
            stage(replies, answer, transaction.delete_subscription(&name))
        }
        Operation::Lease { subscription, max, answer } => {
            stage(replies, answer, transaction.lease(subscription, max))
        }
        Operation::Settle(settlements, answer) => {
            let settle = |(token, settlement)| transaction.settle(token, settlement);
            let settled = settlements.into_iter().map(settle).collect::<rusqlite::Result<_>>();
            stage(replies, answer, settled.map(Ok))
        }
        Operation::Ping(answer) => stage(replies, answer, Ok(Ok(()))),
        Operation::Close(_) => Ok(()),
    }
}

/// Keeps a result back until the commit.
fn stage<T: 'static>(
    replies: &mut Vec<Reply>,
    answer: Answer<T>,
    result: rusqlite::Result<Result<T>>,
) -> rusqlite::Result<()> {
    let (result, failed) = match result {
        Ok(result) => (result, Ok(())),
        // The whole transaction fails with it, and says why.
        Err(failure) => (Err(closed()), Err(failure)),
    };
    replies.push(Box::new(move |failure| {
        // An asker who went away is no error.
        let _ = answer.send(match failure {
            None => result,
            Some(failure) => Err(again(failure)),
        });
    }));
    failed
}

/// The same error for one more caller.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.message())
}

impl Operation {
    fn refuse(self, error: &Error) {
        let error = again(error);
        match self {
            Self::Append(_, answer) => drop(answer.send(Err(error))),
            Self::CreateSubscription { answer, .. } => drop(answer.send(Err(error))),
            Self::Subscription(_, answer) => drop(answer.send(Err(error))),
            Self::DeleteSubscription(_, answer) | Self::Ping(answer) => drop(answer.send(Err(error))),
            Self::Lease { answer, .. } => drop(answer.send(Err(error))),
            Self::Settle(_, answer) => drop(answer.send(Err(error))),
            Self::Close(answer) => drop(answer.send(())),
        }
    }
}
