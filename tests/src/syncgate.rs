//! The test's side of `c/syncgate.c`: holds, breaks and counts the syncs of a server.

use crate::soon;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use tokio::net::UnixDatagram;
use tokio::process::Command;
use tokio::sync::watch;

/// A gate before `fsync` and `fdatasync`.
pub struct SyncGate {
    folder: PathBuf,
    library: PathBuf,
    gate: File,
    counts: watch::Receiver<Counts>,
}

/// How many syncs were begun and ended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Begun.
    pub entered: u64,
    /// Done by the system.
    pub done: u64,
    /// Refused by the gate.
    pub failed: u64,
}

impl SyncGate {
    /// Compiles the gate into this folder.
    ///
    /// # Panics
    /// Where there is no C compiler.
    pub async fn new(folder: &Path) -> Self {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("c/syncgate.c");
        let library = folder.join("syncgate.so");
        let compiled = Command::new("cc")
            .args(["-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status()
            .await;
        assert!(compiled.expect("cc runs").success());
        let gate = File::create(folder.join("gate")).expect("made");
        let events = UnixDatagram::bind(folder.join("events")).expect("bound");
        let (count, counts) = watch::channel(Counts::default());
        // Reads at once what the gate tells, since the server waits for that.
        tokio::spawn(async move {
            let mut event = [0; 8];
            while let Ok(length) = events.recv(&mut event).await {
                count.send_modify(|counts| match &event[..length] {
                    b"enter" => counts.entered += 1,
                    b"done" => counts.done += 1,
                    b"fail" => counts.failed += 1,
                    other => panic!("the gate said {other:?}"),
                });
            }
        });
        Self { folder: folder.to_owned(), library, gate, counts }
    }

    /// Puts the gate before the syncs of a command.
    pub fn install(&self, mut command: Command) -> Command {
        command.env("LD_PRELOAD", &self.library).env("SYNCGATE", &self.folder);
        command
    }

    /// Syncs wait from now on.
    ///
    /// # Panics
    /// Where the lock cannot be had.
    pub fn hold(&self) {
        self.gate.lock().expect("locked");
    }

    /// Syncs go on.
    ///
    /// # Panics
    /// Where the lock cannot be given back.
    pub fn let_go(&self) {
        self.gate.unlock().expect("unlocked");
    }

    /// Syncs fail with EIO from now on, or no longer.
    ///
    /// # Panics
    /// Where the disk does not allow it.
    pub fn fail(&self, fail: bool) {
        let path = self.folder.join("fail");
        if fail { fs::write(path, "").expect("written") } else { fs::remove_file(path).expect("removed") }
    }

    /// The next sync fails with EIO, no other.
    ///
    /// # Panics
    /// Where the disk does not allow it.
    pub fn fail_one(&self) {
        fs::write(self.folder.join("fail-one"), "").expect("written");
    }

    /// What was counted by now.
    pub fn counts(&self) -> Counts {
        *self.counts.borrow()
    }

    /// Waits until this holds.
    ///
    /// # Panics
    /// Where it never does.
    pub async fn until(&self, what: &str, holds: impl Fn(&Counts) -> bool) {
        let mut counts = self.counts.clone();
        soon(what, counts.wait_for(|counts| holds(counts))).await.expect("the gate lives");
    }
}
