//! What is logged.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::subscriber::{DefaultGuard, NoSubscriber, set_default};
use tracing::{Dispatch, Level};

/// Hears everything that is logged on this thread, where a test's runtime runs all tasks.
pub(crate) struct Log {
    said: Said,
    _hearing: DefaultGuard,
    /// While there is one subscriber alone, a place in the code that is first reached on a thread without
    /// one is taken for one that nobody hears, for good: another test would silence this one.
    _another: Dispatch,
}

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub(crate) fn hear() -> Self {
        let said = Said::default();
        let writer = said.clone();
        let another = Dispatch::new(NoSubscriber::new());
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        Self { said, _hearing: set_default(subscriber), _another: another }
    }

    /// All that was said by now.
    pub(crate) fn said(&self) -> String {
        let bytes = self.said.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("UTF-8")
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
