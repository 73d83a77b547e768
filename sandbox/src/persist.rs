//! The file that a state outlives its sandbox in.

use crate::config::SandboxConfig;
use crate::sandbox::{Change, Inner};
use crate::state::{Saved, State, snapshot_json};
use amochats::{Error, ErrorKind, Result};
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// How long a change waits for others, so that one write takes them all.
const GATHERING: Duration = Duration::from_millis(200);
/// How many times as long as a write took the next one waits, so that a large state does not keep
/// the machine busy with writing.
const REST: u32 = 10;

/// A state's file, which no other sandbox has.
#[derive(Debug)]
pub(crate) struct StateFile {
    path: PathBuf,
    _lock: File,
}

impl StateFile {
    /// The file with the state in it: loaded where it exists, made where it does not.
    pub(crate) fn open(path: &Path, config: &SandboxConfig) -> Result<(Self, State)> {
        let says = |what: String| {
            Error::new(ErrorKind::ConfigInvalid, format!("state: {} {what}", path.display()))
                .with_field("state")
        };
        let failed = |what: &str, error: io::Error| says(format!("{what}: {error}")).with_source(error);
        if path.file_name().is_none() {
            return Err(says("is not the name of a file".to_owned()));
        }
        let lock_path = beside(path, "lock");
        let lock = private()
            .truncate(false)
            .open(&lock_path)
            .map_err(|error| failed(&format!("cannot be locked by {}", lock_path.display()), error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let said = says("is in use by another sandbox: stop it, or choose another file".to_owned());
                return Err(said.with_source(io::Error::from(io::ErrorKind::WouldBlock)));
            }
            Err(TryLockError::Error(error)) => return Err(failed("cannot be locked", error)),
        }
        let file = Self { path: path.to_owned(), _lock: lock };
        let state = match fs::read(path) {
            Ok(json) => {
                let saved = Saved::from_json(&json);
                // Where the configuration contradicts the file, its own field is at fault.
                saved.and_then(|saved| saved.restore(config)).map_err(|error| match error.kind() {
                    ErrorKind::ConfigInvalid => says(error.message().to_owned()),
                    _ => error,
                })?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let state = State::new(config)?;
                file.write(&snapshot_json(&Saved::of(&state)))
                    .map_err(|error| failed("cannot be made", error))?;
                state
            }
            Err(error) => return Err(failed("cannot be read", error)),
        };
        Ok((file, state))
    }

    /// Puts the new file in the old one's place; a crash leaves one of them.
    fn write(&self, json: &[u8]) -> io::Result<()> {
        let fresh = beside(&self.path, "new");
        // One that a crash left may belong to anybody.
        match fs::remove_file(&fresh) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = private().create_new(true).open(&fresh)?;
        file.write_all(json)?;
        file.sync_all()?;
        fs::rename(&fresh, &self.path)
    }
}

/// A file that only its owner can read.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// The file of the same name with something at its end.
fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.file_name().map(OsStr::to_owned).unwrap_or_default();
    name.push(".");
    name.push(end);
    path.with_file_name(name)
}

/// Writes the state after changes until the sandbox stops, and then once more.
pub(crate) async fn keep(inner: Arc<Inner>, file: StateFile, mut changes: Receiver<Change>) {
    let mut keeper = Keeper { inner, file: Arc::new(file), failing: false, rest: GATHERING };
    while keeper.changed(&mut changes).await {
        let stopped = keeper.inner.stop.cancelled();
        // Either way it is time to write.
        let _ = tokio::time::timeout(keeper.rest, stopped).await;
        forget(&mut changes);
        keeper.write().await;
    }
    // Calls in progress may still change something.
    keeper.inner.drained().await;
    if forget(&mut changes) || keeper.failing {
        keeper.write().await;
    }
}

struct Keeper {
    inner: Arc<Inner>,
    file: Arc<StateFile>,
    failing: bool,
    rest: Duration,
}

impl Keeper {
    /// Waits for a change that the file should have; no more when the sandbox stops.
    async fn changed(&self, changes: &mut Receiver<Change>) -> bool {
        loop {
            let change = tokio::select! {
                biased;
                () = self.inner.stop.cancelled() => return false,
                change = changes.recv() => change,
            };
            match change {
                Ok(change) if is_kept(&change) => return true,
                Ok(_) => {}
                Err(RecvError::Lagged(_)) => return true,
                Err(RecvError::Closed) => return false,
            }
        }
    }

    /// A failure is told once, until a write succeeds; the next change tries again.
    async fn write(&mut self) {
        let started = Instant::now();
        let saved = Saved::of(&self.inner.state());
        let file = self.file.clone();
        let written = tokio::task::spawn_blocking(move || file.write(&snapshot_json(&saved))).await;
        let written = written.map_err(io::Error::other).flatten();
        self.rest = (started.elapsed() * REST).max(GATHERING);
        let path = self.file.path.display();
        match &written {
            Ok(()) if self.failing => tracing::info!(%path, "the sandbox's state is written again"),
            Err(error) if !self.failing => {
                tracing::warn!(%path, %error, "the sandbox's state cannot be written; it goes on in memory");
            }
            _ => {}
        }
        self.failing = written.is_err();
    }
}

/// Passes over the changes so far; whether the file should have any of them.
fn forget(changes: &mut Receiver<Change>) -> bool {
    let mut any = false;
    loop {
        match changes.try_recv() {
            Ok(change) => any |= is_kept(&change),
            Err(TryRecvError::Lagged(_)) => any = true,
            Err(TryRecvError::Empty | TryRecvError::Closed) => return any,
        }
    }
}

fn is_kept(change: &Change) -> bool {
    !matches!(change, Change::Journal { .. } | Change::Typing { .. })
}
