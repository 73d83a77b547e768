//! What the Rust side has to say, for Python's `logging`.
//!
//! The crate `tracing` is compiled into this module, so its subscriber is seen by nobody else. It puts
//! records into a bounded queue and never waits: a thread of its own gives them to Python, so no thread
//! that logs needs the interpreter, and a slow handler costs records, which are counted, not time.

use crate::gate;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use tracing::field::{Field, Visit};
use tracing::metadata::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// How many records may wait for Python.
const QUEUE: usize = 1024;

static THREAD: Mutex<Option<JoinHandle<()>>> = Mutex::new(None);
static QUEUED: OnceLock<SyncSender<Said>> = OnceLock::new();
static DROPPED: AtomicU64 = AtomicU64::new(0);
/// The number of the lowest level that is wanted, from 1 (error) to 5 (trace).
static WANTED: AtomicU8 = AtomicU8::new(3);

enum Said {
    Line(Line),
    Stop,
}

/// A record on its way.
struct Line {
    logger: String,
    level: u8,
    file: &'static str,
    row: u32,
    message: String,
}

/// The number of a level, as Python's `logging` counts, and 5 for what it has no name for.
const PYTHON: [u8; 6] = [40, 40, 30, 20, 10, 5];

fn number(level: Level) -> u8 {
    match level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

pub(crate) fn start() -> std::io::Result<()> {
    let (queued, said) = sync_channel(QUEUE);
    let thread = std::thread::Builder::new().name("amochats-log".into()).spawn(move || speak(&said))?;
    *THREAD.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
    let _ = QUEUED.set(queued);
    // There is one only where an earlier start failed half-way.
    let _ = tracing::subscriber::set_global_default(ToPython);
    Ok(())
}

pub(crate) fn stop() {
    if let Some(queued) = QUEUED.get() {
        let _ = queued.send(Said::Stop);
    }
    if let Some(thread) = THREAD.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let _ = thread.join();
    }
}

/// Takes over the level of Python's logger `amochats`: below it nothing is even written down.
pub(crate) fn look_at_level(py: Python<'_>) -> PyResult<()> {
    let _inside = gate::enter(py);
    level_of(py)
}

fn level_of(py: Python<'_>) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", ("amochats",))?;
    let level: i64 = logger.call_method0("getEffectiveLevel")?.extract()?;
    let wanted = (1..=5u8).rev().find(|number| i64::from(PYTHON[usize::from(*number)]) >= level);
    if WANTED.swap(wanted.unwrap_or(0), Ordering::Relaxed) != wanted.unwrap_or(0) {
        tracing::callsite::rebuild_interest_cache();
    }
    Ok(())
}

struct ToPython;

impl Subscriber for ToPython {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event()
            && metadata.target().starts_with("amochats")
            && number(*metadata.level()) <= WANTED.load(Ordering::Relaxed)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match WANTED.load(Ordering::Relaxed) {
            0 => LevelFilter::OFF,
            1 => LevelFilter::ERROR,
            2 => LevelFilter::WARN,
            3 => LevelFilter::INFO,
            4 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        })
    }

    fn event(&self, event: &Event<'_>) {
        let Some(queued) = QUEUED.get() else { return };
        let metadata = event.metadata();
        let mut text = Text::default();
        event.record(&mut text);
        let line = Line {
            // amochats_runtime::inbox is the logger amochats.runtime.inbox.
            logger: metadata.target().replacen("amochats_", "amochats.", 1).replace("::", "."),
            level: PYTHON[usize::from(number(*metadata.level()))],
            file: metadata.file().unwrap_or("amochats"),
            row: metadata.line().unwrap_or_default(),
            message: text.message + &text.fields,
        };
        if queued.try_send(Said::Line(line)).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    // Spans are never enabled.
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message, and after it the fields.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing into a String does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

fn speak(said: &Receiver<Said>) {
    while let Ok(Said::Line(line)) = said.recv() {
        let dropped = DROPPED.swap(0, Ordering::Relaxed);
        // None where the interpreter is gone. What a handler raises, `logging` has reported.
        Python::try_attach(|py| {
            let _ = level_of(py);
            if dropped > 0 {
                let message = format!("{dropped} records were dropped, since a handler of logging is slow");
                let _ = log(
                    py,
                    &Line { logger: "amochats".into(), level: 30, file: "amochats", row: 0, message },
                );
            }
            let _ = log(py, &line);
        });
    }
}

fn log(py: Python<'_>, line: &Line) -> PyResult<()> {
    let logger = py.import("logging")?.call_method1("getLogger", (&line.logger,))?;
    if !logger.call_method1("isEnabledFor", (line.level,))?.is_truthy()? {
        return Ok(());
    }
    let none = py.None();
    let empty = PyDict::new(py);
    let record = logger.call_method1(
        "makeRecord",
        (&line.logger, line.level, line.file, line.row, &line.message, &none, &none, &none, empty),
    )?;
    logger.call_method1("handle", (record,))?;
    Ok(())
}
