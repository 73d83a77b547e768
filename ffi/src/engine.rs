//! The threads that work for a channel or a client, and the two ways to have them do something.

use crate::boundary::{Out, value};
use crate::completion::{Completion, Mailbox, amochats_callback, cancelled, outside_of_callbacks};
use crate::handle::{self, Kind};
use crate::log::Log;
use amochats_core::{Error, ErrorKind, Result};
use serde_json::Value;
use std::ffi::c_void;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

/// Cancels one call. Made by a call that does not wait, freed by the caller with
/// amochats_token_free(), before or after the callback. Any thread may use it.
pub struct amochats_token {
    _opaque: [u8; 0],
}

struct Token(CancellationToken);

impl Kind for Token {
    type C = amochats_token;
    const NAME: &'static str = "amochats_token";
    const MARK: u64 = 0x616d_6f74_6f6b_656e;
}

/// Cancels the call: its callback is still called once, with AMOCHATS_RESULT_CANCELLED unless the call
/// ended before. What was sent may have had its effect. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_token_cancel(token: *const amochats_token) {
    value((), || {
        if let Ok(token) = handle::get::<Token>(token, "token") {
            token.0.cancel();
        }
    });
}

/// Frees a token; the call goes on. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_token_free(token: *mut amochats_token) {
    value((), || drop(handle::take::<Token>(token, "token")));
}

/// How long to wait: in milliseconds, or for ever.
#[derive(Clone, Copy)]
pub(crate) struct Timeout(Option<Duration>);

impl Timeout {
    /// Negative is for ever.
    pub(crate) fn of_ms(ms: i64) -> Self {
        Self(u64::try_from(ms).ok().map(Duration::from_millis))
    }

    /// When it is over.
    pub(crate) fn ends(self) -> Option<Instant> {
        self.0.and_then(|timeout| Instant::now().checked_add(timeout))
    }
}

/// Threads of its own, which end with it.
pub(crate) struct Engine {
    /// The process that has the threads. After a fork() the child has none of them.
    pid: u32,
    handle: Handle,
    runtime: Mutex<Option<Runtime>>,
    /// Whether nothing new is begun. Held while something is.
    closed: RwLock<bool>,
    /// What is under way ends.
    stop: CancellationToken,
    tasks: TaskTracker,
    /// Where completions go in place of a thread of the library.
    mailbox: Mutex<Option<Weak<dyn Mailbox>>>,
    /// With one subscriber alone in the process, `tracing` takes a place in the code that is first reached
    /// on a thread without one, such as the caller's, for one that nobody hears, for good.
    _another: Dispatch,
}

impl Engine {
    /// Starts the threads.
    pub(crate) fn start(threads: usize, log: Log) -> Result<Arc<Self>> {
        let dispatch = log.dispatch();
        let runtime = Builder::new_multi_thread()
            .worker_threads(threads)
            .thread_name("amochats")
            .enable_all()
            .on_thread_start(move || {
                leave_signals_to_the_host();
                // To the thread's end: dropped, the guard would take it back.
                std::mem::forget(tracing::dispatcher::set_default(&dispatch));
            })
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::ConfigInvalid, format!("threads could not be started: {error}"))
            })?;
        Ok(Arc::new(Self {
            pid: std::process::id(),
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
            closed: RwLock::new(false),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            mailbox: Mutex::new(None),
            _another: Dispatch::new(NoSubscriber::new()),
        }))
    }

    /// Refuses what comes from a child of the process that has the threads.
    pub(crate) fn same_process(&self) -> Result<()> {
        if std::process::id() == self.pid {
            return Ok(());
        }
        let said = "the object was made before a fork() and works in the parent alone; open a new one here";
        Err(Error::new(ErrorKind::Forked, said))
    }

    /// While the guard lives, nothing closes.
    fn open(&self) -> Result<RwLockReadGuard<'_, bool>> {
        self.same_process()?;
        let closed = self.closed.read().unwrap_or_else(PoisonError::into_inner);
        if *closed { Err(is_closed()) } else { Ok(closed) }
    }

    /// Is cancelled when the engine closes.
    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Has something done and waits for it.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        timeout: Timeout,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        outside_of_callbacks()?;
        let (answer, answered) = sync_channel(1);
        let open = self.open()?;
        let stop = self.stop.clone();
        let task = self.handle.spawn(self.tasks.track_future(async move {
            let done = stop.run_until_cancelled(work).await.unwrap_or_else(|| Err(is_closed()));
            // A caller who gave up waiting is no error.
            let _ = answer.send(done);
        }));
        drop(open);
        let answered = match timeout.0 {
            None => answered.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(timeout) => answered.recv_timeout(timeout),
        };
        match answered {
            Ok(done) => done,
            Err(RecvTimeoutError::Timeout) => {
                task.abort();
                let said = "no result within the timeout; the call may have had its effect";
                Err(Error::new(ErrorKind::Timeout, said))
            }
            Err(RecvTimeoutError::Disconnected) => {
                Err(Error::new(ErrorKind::Panic, "a bug in amochats was caught; the call had no result"))
            }
        }
    }

    /// Has something done and calls back. Who gets an error is not called.
    pub(crate) fn start_call(
        &self,
        callback: amochats_callback,
        user_data: *mut c_void,
        mailbox: Option<Arc<dyn Mailbox>>,
        token: Out<'_, *mut amochats_token>,
        work: impl Future<Output = Result<Option<Value>>> + Send + 'static,
    ) -> Result<()> {
        let open = self.open()?;
        let completion = Completion::new(callback, user_data, mailbox.or_else(|| self.mailbox()));
        let cancel = self.stop.child_token();
        // Before the call begins: the callback may look at it.
        if let Some(token) = token {
            token.write(handle::into_raw(Token(cancel.clone())));
        }
        self.handle.spawn(self.tasks.track_future(async move {
            // Moved in, so that it fires also where the task is dropped.
            let completion = completion;
            let done = cancel.run_until_cancelled(work).await.unwrap_or_else(|| Err(cancelled()));
            completion.fire(done);
        }));
        drop(open);
        Ok(())
    }

    /// Has something done that [`Engine::close`] waits for.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        let open = self.open()?;
        self.handle.spawn(self.tasks.track_future(work));
        drop(open);
        Ok(())
    }

    /// From now on completions go there, as long as it lives.
    pub(crate) fn set_mailbox(&self, mailbox: Weak<dyn Mailbox>) {
        *self.mailbox.lock().unwrap_or_else(PoisonError::into_inner) = Some(mailbox);
    }

    fn mailbox(&self) -> Option<Arc<dyn Mailbox>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).as_ref()?.upgrade()
    }

    /// Ends what is under way, then does `last`, then ends the threads, all of it until `ends`. The
    /// second time there is nothing to do.
    pub(crate) fn close(&self, ends: Instant, last: impl Future<Output = ()> + Send + 'static) -> Result<()> {
        outside_of_callbacks()?;
        self.same_process()?;
        // Held to the end: who closes beside this one returns when it is closed, too.
        let mut runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(runtime) = runtime.take() else { return Ok(()) };
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = true;
        self.stop.cancel();
        self.tasks.close();
        let (tasks, (done, finished)) = (self.tasks.clone(), sync_channel(1));
        self.handle.spawn(async move {
            let _ = tokio::time::timeout_at(ends.into(), tasks.wait()).await;
            last.await;
            let _ = done.send(());
        });
        let _ = finished.recv_timeout(left(ends));
        runtime.shutdown_timeout(left(ends));
        if Instant::now() < ends {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Timeout, "not everything ended in time; what did not was cut off"))
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let runtime = self.runtime.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        match runtime {
            // Its threads are the parent's.
            Some(runtime) if std::process::id() != self.pid => std::mem::forget(runtime),
            // Perhaps on a thread of its own, which cannot wait for itself.
            Some(runtime) => runtime.shutdown_background(),
            None => {}
        }
    }
}

fn left(ends: Instant) -> Duration {
    // Where no time is left, a moment all the same: most things end at once.
    ends.saturating_duration_since(Instant::now()).max(Duration::from_millis(50))
}

pub(crate) fn is_closed() -> Error {
    Error::new(ErrorKind::Closed, "the channel, client or consumer is closed")
}

/// The host's handlers run on the host's threads.
fn leave_signals_to_the_host() {
    let mut all = std::mem::MaybeUninit::uninit();
    // SAFETY: the set is made by the first call before the second reads it; the third argument may be NULL.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), std::ptr::null_mut());
    }
}
