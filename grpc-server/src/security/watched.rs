//! What is made of files, and made anew when they change.

use amochats::Result;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// What tells that a file is another one than before.
type Stamp = Option<(SystemTime, u64, u64)>;

/// A value made of files. They are looked at whenever it is asked for: that costs a system call each,
/// and nobody waits for a change.
pub(super) struct Watched<T> {
    what: &'static str,
    paths: Vec<PathBuf>,
    load: Box<dyn Fn() -> Result<T> + Send + Sync>,
    state: Mutex<(Vec<Stamp>, Arc<T>)>,
}

impl<T> Watched<T> {
    /// # Errors
    /// Those of `load`.
    pub(super) fn new(
        what: &'static str,
        paths: Vec<PathBuf>,
        load: impl Fn() -> Result<T> + Send + Sync + 'static,
    ) -> Result<Self> {
        // Before they are read: a change under way is then seen as one.
        let stamps = stamps(&paths);
        let value = Arc::new(load()?);
        Ok(Self { what, paths, load: Box::new(load), state: Mutex::new((stamps, value)) })
    }

    /// The value of the files as they are. Files that cannot be used leave the old value in place, and
    /// are complained about once.
    pub(super) fn current(&self) -> Arc<T> {
        let now = stamps(&self.paths);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 != now {
            state.0 = now;
            match (self.load)() {
                Ok(value) => {
                    tracing::info!("{} changed and was read again", self.what);
                    state.1 = Arc::new(value);
                }
                Err(error) => tracing::error!("{} changed, and the old one stays: {error}", self.what),
            }
        }
        state.1.clone()
    }

    /// Reads the files in any case.
    ///
    /// # Errors
    /// Those of loading; then nothing has changed.
    pub(super) fn refresh(&self) -> Result<()> {
        let now = stamps(&self.paths);
        let value = Arc::new((self.load)()?);
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = (now, value);
        Ok(())
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Stamp> {
    use std::os::unix::fs::MetadataExt;
    let stamp = |path: &PathBuf| {
        let found = std::fs::metadata(path).ok()?;
        Some((found.modified().ok()?, found.len(), found.ino()))
    };
    paths.iter().map(stamp).collect()
}
