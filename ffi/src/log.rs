//! Logs, forwarded to C. Nothing is global: each channel and client has its own way for them.

use crate::completion::in_callback;
use crate::slice::amochats_slice;
use std::ffi::c_void;
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Metadata, Subscriber};

/// How much a line of the log matters.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum amochats_level {
    /// Somebody has to do something.
    Error = 1,
    /// Something is not as it should be, and was dealt with.
    Warn = 2,
    /// What happened, in few lines.
    Info = 3,
    /// What a developer wants to know.
    Debug = 4,
    /// Everything.
    Trace = 5,
}

/// Receives lines of the log, on threads of the library and of the callers, several at once. The
/// target is the part of the library that speaks. The texts end with the call. No line holds a secret,
/// a message text, a phone or an e-mail. It must return soon, and may call nothing that blocks.
pub type amochats_log_callback = Option<
    unsafe extern "C" fn(
        user_data: *mut c_void,
        level: amochats_level,
        target: amochats_slice<'_>,
        message: amochats_slice<'_>,
    ),
>;

#[derive(Clone, Copy)]
pub(crate) struct Log {
    pub(crate) level: u32,
    pub(crate) callback: amochats_log_callback,
    pub(crate) user_data: *mut c_void,
}

// SAFETY: C promises that the callback may be called from any thread with its user data.
unsafe impl Send for Log {}
// SAFETY: as above, by several at once.
unsafe impl Sync for Log {}

impl Log {
    pub(crate) const NONE: Self = Self { level: 0, callback: None, user_data: std::ptr::null_mut() };

    /// Where the library's threads send what they have to say.
    pub(crate) fn dispatch(self) -> Dispatch {
        if self.callback.is_some() { Dispatch::new(Forward(self)) } else { Dispatch::none() }
    }
}

struct Forward(Log);

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What other libraries say may hold what ours would not.
        metadata.is_event()
            && metadata.target().starts_with("amochats")
            && level(*metadata.level()) as u32 <= self.0.level
    }

    fn event(&self, event: &Event<'_>) {
        let Some(callback) = self.0.callback else { return };
        let mut line = Line::default();
        event.record(&mut line);
        let (level, target) = (level(*event.metadata().level()), event.metadata().target());
        let text = line.message + &line.fields;
        // SAFETY: the texts live during the call; the rest is C's promise.
        in_callback(|| unsafe { callback(self.0.user_data, level, target.into(), text.as_str().into()) });
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _span: &Id, _values: &Record<'_>) {}
    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}
    fn enter(&self, _span: &Id) {}
    fn exit(&self, _span: &Id) {}
}

fn level(level: Level) -> amochats_level {
    match level {
        Level::ERROR => amochats_level::Error,
        Level::WARN => amochats_level::Warn,
        Level::INFO => amochats_level::Info,
        Level::DEBUG => amochats_level::Debug,
        Level::TRACE => amochats_level::Trace,
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}
