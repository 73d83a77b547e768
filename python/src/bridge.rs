//! The module's own tokio runtime, and the way back into Python.
//!
//! No thread of the runtime ever waits for the interpreter: what a call came to goes over a channel to
//! one thread, the speaker, which hands it to the event loop that waits for it. So webhooks are
//! answered in time whatever Python does, and at the exit of the process all that could still touch the
//! interpreter is stopped before it goes away.

use crate::channel::NativeChannel;
use crate::client::{NativeClient, NativeCrmClient, NativeStream};
use crate::consumer::NativeConsumer;
use crate::errors;
use crate::gate;
use crate::logs;
#[cfg(feature = "sandbox")]
use crate::sandbox::NativeSandbox;
use amochats::{Error, ErrorKind, Result};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What a call does: its answer is JSON, or nothing.
pub(crate) type Work = BoxFuture<'static, Result<Vec<u8>>>;

/// How often a thread that waits looks for signals such as Ctrl-C.
const SIGNALS: Duration = Duration::from_millis(50);
/// How long the end of the process waits for channels that were not closed, and for threads that are
/// still in a call.
const FAREWELL: Duration = Duration::from_secs(3);
/// The most answers that are handed over at once.
const BATCH: usize = 1000;

static BRIDGE: OnceLock<Bridge> = OnceLock::new();

pub(crate) struct Bridge {
    process: u32,
    runtime: Mutex<Option<Runtime>>,
    handle: Handle,
    speaker: Mutex<Option<JoinHandle<()>>>,
    answers: Sender<Said>,
    /// The process ends: whoever has something to finish does so.
    ending: CancellationToken,
    finishing: TaskTracker,
}

enum Said {
    Answer { event_loop: Py<PyAny>, future: Py<PyAny>, answer: Result<Vec<u8>> },
    Stop,
}

/// The bridge of this process; it is built by the first call.
pub(crate) fn bridge() -> Result<&'static Bridge> {
    let bridge = if let Some(bridge) = BRIDGE.get() {
        bridge
    } else {
        // Two threads do not build at once: whoever does holds the interpreter's lock.
        let built = Bridge::build()?;
        BRIDGE.get_or_init(|| built)
    };
    if bridge.process != std::process::id() {
        let said = "amochats was in use before this process was forked; start processes with \"spawn\", \
                    or make the first Client or Channel after the fork";
        return Err(Error::new(ErrorKind::Forked, said));
    }
    if gate::is_closed() { Err(ended()) } else { Ok(bridge) }
}

fn ended() -> Error {
    Error::new(ErrorKind::Closed, "the process is ending")
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Bridge {
    fn build() -> Result<Self> {
        let cannot = |error: std::io::Error| {
            Error::new(ErrorKind::Closed, format!("no thread can be started: {error}"))
        };
        let workers = std::thread::available_parallelism().map_or(2, |count| count.get().clamp(2, 4));
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("amochats")
            .enable_all()
            .build()
            .map_err(cannot)?;
        let (answers, said) = channel();
        let speaker = std::thread::Builder::new()
            .name("amochats-python".into())
            .spawn(move || speak(&said))
            .map_err(cannot)?;
        logs::start().map_err(cannot)?;
        Ok(Self {
            process: std::process::id(),
            handle: runtime.handle().clone(),
            runtime: Mutex::new(Some(runtime)),
            speaker: Mutex::new(Some(speaker)),
            answers,
            ending: CancellationToken::new(),
            finishing: TaskTracker::new(),
        })
    }

    /// Ends when the process does. What a task of [`Bridge::finish`] does then is waited for.
    pub(crate) fn ending(&self) -> CancellationToken {
        self.ending.clone()
    }

    /// Channels that were left open are closed, and everything else is dropped.
    fn end(&self) {
        self.ending.cancel();
        self.finishing.close();
        let Some(runtime) = locked(&self.runtime).take() else { return };
        let _ = runtime.block_on(async { tokio::time::timeout(FAREWELL, self.finishing.wait()).await });
        runtime.shutdown_timeout(FAREWELL);
    }

    /// Runs what the end of the process waits for.
    pub(crate) fn finish(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(self.finishing.track_future(work));
    }
}

/// Who waits for an answer, in an event loop. They get exactly one, also when the work is dropped, unless
/// the process ends.
struct Asker {
    answers: Sender<Said>,
    to: Option<(Py<PyAny>, Py<PyAny>)>,
}

impl Asker {
    fn answer(mut self, answer: Result<Vec<u8>>) {
        self.tell(answer);
    }

    fn tell(&mut self, answer: Result<Vec<u8>>) {
        if let Some((event_loop, future)) = self.to.take() {
            // Without a speaker the process is at its end, and no loop runs any more.
            let _ = self.answers.send(Said::Answer { event_loop, future, answer });
        }
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.tell(Err(ended()));
    }
}

/// A call that was started.
#[pyclass(frozen, module = "amochats._amochats")]
pub(crate) struct Call(AbortHandle);

#[pymethods]
impl Call {
    /// Gives the call up. What it has done by then is done.
    fn cancel(&self) {
        self.0.abort();
    }
}

/// A bug becomes an error, and a call that takes too long, too.
async fn guarded(work: Work, timeout: Option<Duration>) -> Result<Vec<u8>> {
    let work = AssertUnwindSafe(work).catch_unwind();
    let done = match timeout {
        None => work.await,
        Some(timeout) => tokio::time::timeout(timeout, work)
            .await
            .unwrap_or_else(|_| Ok(Err(Error::new(ErrorKind::Timeout, "not done within the given time")))),
    };
    done.unwrap_or_else(|_| Err(Error::new(ErrorKind::Panic, "amochats stopped at a bug of its own")))
}

fn seconds(timeout: Option<f64>) -> Result<Option<Duration>> {
    let read = |seconds| Duration::try_from_secs_f64(seconds);
    let rule = "must be a number of seconds that is not negative";
    timeout.map(read).transpose().map_err(|_| Error::invalid("timeout", rule))
}

/// The call of this name of whatever has calls.
fn work(target: &Bound<'_, PyAny>, name: String, arguments: Vec<u8>, body: Vec<u8>) -> PyResult<Work> {
    if let Ok(consumer) = target.cast::<NativeConsumer>() {
        return Ok(consumer.get().work(&name));
    }
    if let Ok(channel) = target.cast::<NativeChannel>() {
        return Ok(channel.get().work(name, arguments, body));
    }
    if let Ok(client) = target.cast::<NativeClient>() {
        return Ok(client.get().work(name, arguments, body));
    }
    if let Ok(stream) = target.cast::<NativeStream>() {
        return Ok(stream.get().work());
    }
    #[cfg(feature = "sandbox")]
    if let Ok(sandbox) = target.cast::<NativeSandbox>() {
        return Ok(sandbox.get().work(&name));
    }
    Ok(target.cast::<NativeCrmClient>()?.get().work(name, arguments, body))
}

/// Starts a call for a future of an event loop.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "those of a call, and the two of asyncio")]
pub(crate) fn start(
    py: Python<'_>,
    target: &Bound<'_, PyAny>,
    name: String,
    arguments: Vec<u8>,
    body: Vec<u8>,
    timeout: Option<f64>,
    event_loop: &Bound<'_, PyAny>,
    future: &Bound<'_, PyAny>,
) -> PyResult<Call> {
    let fail = |error| errors::to_python(py, &error);
    let bridge = bridge().map_err(fail)?;
    let work = work(target, name, arguments, body)?;
    let timeout = seconds(timeout).map_err(fail)?;
    let to = Some((event_loop.clone().unbind(), future.clone().unbind()));
    let asker = Asker { answers: bridge.answers.clone(), to };
    let task = bridge.handle.spawn(async move { asker.answer(guarded(work, timeout).await) });
    Ok(Call(task.abort_handle()))
}

/// Aborts a task that nobody waits for any more.
struct Abort(AbortHandle);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes a call and waits for its end with the interpreter's lock released. Signals are heard.
#[pyfunction]
pub(crate) fn block(
    py: Python<'_>,
    target: &Bound<'_, PyAny>,
    name: String,
    arguments: Vec<u8>,
    body: Vec<u8>,
    timeout: Option<f64>,
) -> PyResult<Py<PyBytes>> {
    let inside = gate::enter(py);
    let fail = |error| errors::exception(py, &error);
    let bridge = bridge().map_err(fail)?;
    let work = work(target, name, arguments, body)?;
    let timeout = seconds(timeout).map_err(fail)?;
    let (answer, mut answered) = sync_channel(1);
    let task = bridge.handle.spawn(async move {
        // Nobody waits where the caller was interrupted.
        let _ = answer.send(guarded(work, timeout).await);
    });
    let _abort = Abort(task.abort_handle());
    let answer = loop {
        let answered = &mut answered;
        match py.detach(move || answered.recv_timeout(SIGNALS)) {
            Ok(Ok(json)) => break Ok(PyBytes::new(py, &json).unbind()),
            Ok(Err(error)) => break Err(fail(error)),
            Err(RecvTimeoutError::Timeout) => py.check_signals()?,
            Err(RecvTimeoutError::Disconnected) => break Err(fail(ended())),
        }
    };
    drop(inside);
    if gate::is_closed() {
        // A daemon thread would go on into an interpreter that is going away, and print a traceback there.
        drop(gate::enter(py));
    }
    answer
}

/// The thread that hands answers to event loops.
fn speak(said: &Receiver<Said>) {
    let mut stop = false;
    while !stop {
        let Ok(first) = said.recv() else { return };
        let mut answers = Vec::new();
        for said in std::iter::once(first).chain(said.try_iter().take(BATCH)) {
            match said {
                Said::Answer { event_loop, future, answer } => answers.push((event_loop, future, answer)),
                Said::Stop => stop = true,
            }
        }
        // At the end of the process only loops of daemon threads are left, which must not go on.
        if !gate::is_closed() {
            // None where the interpreter is gone.
            Python::try_attach(|py| hand_over(py, answers));
        }
    }
}

type Answer = (Py<PyAny>, Py<PyAny>, Result<Vec<u8>>);

fn hand_over(py: Python<'_>, answers: Vec<Answer>) {
    let mut by_loop: Vec<(Py<PyAny>, Bound<'_, PyList>)> = Vec::new();
    for (event_loop, future, answer) in answers {
        let (value, error) = match answer {
            Ok(json) => (PyBytes::new(py, &json).into_any(), None),
            Err(error) => (py.None().into_bound(py), Some(errors::exception(py, &error).into_value(py))),
        };
        let at = by_loop.iter().position(|(known, _)| known.is(&event_loop)).unwrap_or_else(|| {
            by_loop.push((event_loop, PyList::empty(py)));
            by_loop.len() - 1
        });
        by_loop[at].1.append((future, value, error)).expect("a list takes anything");
    }
    let deliver = pyo3::wrap_pyfunction!(deliver, py).expect("it is a function of this module");
    for (event_loop, answers) in by_loop {
        // A loop that is closed waits for nothing.
        let _ = event_loop.call_method1(py, "call_soon_threadsafe", (&deliver, answers));
    }
}

/// Runs in an event loop: ends its futures, but for those that were cancelled meanwhile.
#[pyfunction]
fn deliver(answers: &Bound<'_, PyList>) -> PyResult<()> {
    for answer in answers {
        let (future, value, error): (Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyAny>) =
            answer.extract()?;
        if future.call_method0("done")?.is_truthy()? {
            continue;
        }
        if error.is_none() {
            future.call_method1("set_result", (value,))?;
        } else {
            future.call_method1("set_exception", (error,))?;
        }
    }
    Ok(())
}

/// Stops everything that could touch the interpreter; `atexit` calls it.
#[pyfunction]
pub(crate) fn _shutdown(py: Python<'_>) {
    let bridge = BRIDGE.get();
    if bridge.is_some_and(|bridge| bridge.process != std::process::id()) || !gate::close() {
        return;
    }
    py.detach(|| {
        if let Some(bridge) = bridge {
            bridge.end();
        }
        gate::wait_for_all(FAREWELL);
        if let Some(bridge) = bridge {
            let _ = bridge.answers.send(Said::Stop);
            if let Some(speaker) = locked(&bridge.speaker).take() {
                let _ = speaker.join();
            }
            logs::stop();
        }
    });
}

/// Something that lives in the process that made it. A forked child leaves it alone: its locks may be
/// held by threads that are not there.
pub(crate) struct Home<T> {
    process: u32,
    value: Option<T>,
}

impl<T> Home<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { process: std::process::id(), value: Some(value) }
    }
}

impl<T> Deref for Home<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value.as_ref().expect("it is taken by drop alone")
    }
}

impl<T> Drop for Home<T> {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            std::mem::forget(self.value.take());
        }
    }
}
