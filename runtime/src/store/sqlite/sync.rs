//! The thread that syncs the log, and answers.
//!
//! A sync takes about as long as it takes to write a batch of webhooks, so while one batch is synced the
//! writer is at the next one already. Transactions are synced in their order, and what was committed
//! behind a sync that failed fails with it.

use super::home::Home;
use super::writer::Operation;
use super::{error, failed};
use amochats::{Error, Result};
use rusqlite::Connection;
use std::fs::{File, OpenOptions};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// Up to so many answers are given by this thread itself, more by one task for them all: to wake a
/// task from outside of the asynchronous runtime costs much more than from inside.
const ANSWERED_HERE: usize = 2;

/// A transaction that is in the log, with those who wait for its sync.
pub(super) struct Committed {
    pub(super) log: Log,
    pub(super) batch: Vec<Box<dyn Operation>>,
    /// It wrote something. If not, it may still tell of what an earlier one wrote.
    pub(super) wrote: bool,
    /// Something may be ready now that was not.
    pub(super) changed: bool,
}

/// The log of a connection. A new connection gets a new number.
#[derive(Clone)]
pub(super) struct Log {
    file: Arc<File>,
    home: Home,
    number: u64,
}

impl Log {
    /// The log of a connection that has read or written.
    pub(super) fn open(connection: &Connection, number: u64) -> Result<Self> {
        // SQLite puts it beside the file itself, not beside a link to it.
        let name = connection.path().unwrap_or_default();
        let cannot = |why: std::io::Error| failed(format!("cannot open the log of the store: {why}"));
        let mut path = Path::new(name).canonicalize().map_err(cannot)?.into_os_string();
        path.push("-wal");
        let path = Path::new(&path);
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(cannot)?;
        let home = Home::of_open(path, &file)?;
        // Until here each commit was synced by itself.
        connection.pragma_update(None, "synchronous", "NORMAL").map_err(error)?;
        Ok(Self { file: Arc::new(file), home, number })
    }

    /// Whether a restart would find it.
    pub(super) fn in_place(&self) -> Result<()> {
        self.home.check()
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    fn is_broken(&self, newest: &AtomicU64) -> bool {
        newest.load(Ordering::Acquire) >= self.number
    }

    fn sync(&self, newest_broken: &AtomicU64, wrote: bool) -> Result<()> {
        if self.is_broken(newest_broken) {
            return Err(failed("an earlier sync of the log failed".to_owned()));
        }
        // What was only read was written by a transaction before, which is synced.
        if wrote && let Err(why) = self.file.sync_data() {
            newest_broken.store(self.number, Ordering::Release);
            return Err(failed(format!("the log could not be synced: {why}")));
        }
        Ok(())
    }
}

pub(super) struct Syncer {
    /// One transaction waits while another one is synced; the writer waits with a third, and what comes
    /// meanwhile makes the fourth larger.
    committed: Option<SyncSender<Committed>>,
    /// The newest log that could not be synced; they are counted from 1.
    broken: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    /// `askers`: where those live who are answered.
    pub(super) fn start(askers: Handle, changed: watch::Sender<()>) -> Result<Self> {
        let (committed, queue) = sync_channel::<Committed>(1);
        let broken = Arc::new(AtomicU64::new(0));
        let newest = broken.clone();
        let work = move || {
            while let Ok(Committed { log, batch, wrote, changed: more }) = queue.recv() {
                let failure = log.sync(&newest, wrote).err();
                if let Some(failure) = &failure {
                    tracing::warn!(kind = failure.kind().name(), error = %failure, "the store could not commit");
                } else if more {
                    changed.send_replace(());
                }
                answer(&askers, batch, failure);
            }
        };
        // It logs to where the writer does.
        let log = tracing::dispatcher::get_default(Clone::clone);
        let thread = std::thread::Builder::new()
            .name("amochats-sync".into())
            .spawn(move || tracing::dispatcher::with_default(&log, work))
            .map_err(|error| failed(format!("cannot start the thread that syncs: {error}")))?;
        Ok(Self { committed: Some(committed), broken, thread: Some(thread) })
    }

    /// Has a transaction synced, and those answered who wait for it.
    pub(super) fn sync(&self, committed: Committed) {
        // The thread ends with this only; had it panicked, nobody would be answered anything but an error.
        let _ = self.committed.as_ref().map(|thread| thread.send(committed));
    }

    /// Whether this log could not be synced, so that nothing more may be built upon it.
    pub(super) fn failed(&self, log: &Log) -> bool {
        log.is_broken(&self.broken)
    }
}

impl Drop for Syncer {
    /// What was committed is synced and answered before.
    fn drop(&mut self) {
        self.committed = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells those who asked how it went.
pub(super) fn answer(askers: &Handle, batch: Vec<Box<dyn Operation>>, failure: Option<Error>) {
    let together = batch.len() > ANSWERED_HERE;
    let answer = move || batch.into_iter().for_each(|operation| operation.answer(failure.as_ref()));
    if together {
        askers.spawn(async { answer() });
    } else {
        answer();
    }
}
