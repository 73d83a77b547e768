//! What traces are made of: spans and their events, apart from the log. They name ids, never contents.

/// The target of all spans; a subscriber that makes traces takes this one, at the level `debug`.
pub const TRACE: &str = "amochats::trace";

/// A span of the traces.
macro_rules! span {
    ($($arguments:tt)*) => { tracing::debug_span!(target: crate::trace::TRACE, $($arguments)*) };
}

/// A step within the current span.
macro_rules! step {
    ($($arguments:tt)*) => { tracing::debug!(target: crate::trace::TRACE, $($arguments)*) };
}

pub(crate) use {span, step};
