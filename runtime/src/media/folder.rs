//! The folder of the files: written whole or not at all, within limits.

use super::store::{MediaFile, MediaStore};
use crate::store::disk;
use amochats::{Error, ErrorKind, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;

/// How the name of a file ends that is being written.
const PART: &str = ".part";
/// How many names are compared with the store at once.
const PORTION: usize = 500;

pub(super) struct Folder {
    path: PathBuf,
    made: OnceCell<()>,
    /// Of all files, those that are being written included.
    used: AtomicU64,
    max_bytes: u64,
    max_total_bytes: u64,
    /// With less free on the disk nothing is written.
    min_free_bytes: u64,
}

impl Folder {
    /// The folder, made when it is first needed. What a process left there that was ended while it
    /// wrote is deleted.
    pub(super) async fn open(
        path: PathBuf,
        store: &dyn MediaStore,
        [max_bytes, max_total_bytes, min_free_bytes]: [u64; 3],
    ) -> Result<Self> {
        let used = AtomicU64::new(store.bytes().await?);
        let folder = Self { path, made: OnceCell::new(), used, max_bytes, max_total_bytes, min_free_bytes };
        folder.delete_remains(store).await?;
        Ok(folder)
    }

    pub(super) fn path(&self, file: &MediaFile) -> PathBuf {
        self.path.join(file.name())
    }

    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    async fn delete_remains(&self, store: &dyn MediaStore) -> Result<()> {
        let mut entries = match fs::read_dir(&self.path).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(self.failed("read", &error)),
        };
        let mut ours = Vec::new();
        loop {
            let entry = entries.next_entry().await.map_err(|error| self.failed("read", &error))?;
            let name = entry.as_ref().and_then(|entry| entry.file_name().into_string().ok());
            match name {
                Some(name) if name.ends_with(PART) => self.delete(&self.path.join(name)).await?,
                // What is not ours is left alone.
                name => ours.extend(name.as_deref().and_then(MediaFile::from_name)),
            }
            if ours.len() == PORTION || entry.is_none() {
                let known = store.known(ours.clone()).await?;
                for file in ours.drain(..).filter(|file| !known.contains(file)) {
                    self.delete(&self.path(&file)).await?;
                }
            }
            if entry.is_none() {
                return Ok(());
            }
        }
    }

    /// Deletes a file; one that is gone is no error.
    pub(super) async fn delete(&self, path: &Path) -> Result<()> {
        match fs::remove_file(path).await {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("delete from", &error)),
            _ => Ok(()),
        }
    }

    /// The store has forgotten files of this size.
    pub(super) fn freed(&self, bytes: u64) {
        let less = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Begins to write a file.
    pub(super) async fn begin(self: &Arc<Self>) -> Result<Part> {
        self.made.get_or_try_init(|| self.make()).await?;
        let path = self.path.join(format!("{}{PART}", uuid::Uuid::new_v4().simple()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&path).await.map_err(|error| self.failed("write to", &error))?;
        Ok(Part { folder: self.clone(), file, path, size: 0, kept: false })
    }

    async fn make(&self) -> Result<()> {
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        builder.mode(0o700);
        builder.recursive(true).create(&self.path).await.map_err(|error| self.failed("make", &error))
    }

    async fn room(&self) -> Result<()> {
        let (path, min_free_bytes) = (self.path.clone(), self.min_free_bytes);
        let free_bytes = tokio::task::spawn_blocking(move || disk::free_bytes(&path)).await;
        match free_bytes {
            Ok(Ok(free_bytes)) if free_bytes < min_free_bytes => Err(Error::new(
                ErrorKind::StoreFull,
                "the disk of the media folder is nearly full, and events need the rest; make room",
            )),
            _ => Ok(()),
        }
    }

    fn failed(&self, what: &str, error: &io::Error) -> Error {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::StoreFull,
            _ => ErrorKind::StoreFailed,
        };
        Error::new(kind, format!("cannot {what} the media folder {}: {error}", self.path.display()))
    }
}

/// A file that is being written. It is gone if it is dropped before it is kept.
pub(super) struct Part {
    folder: Arc<Folder>,
    file: File,
    path: PathBuf,
    size: u64,
    kept: bool,
}

impl Part {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// [`ErrorKind::BodyTooLarge`] beyond the largest file; [`ErrorKind::StoreFull`] without room.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let more = bytes.len() as u64;
        let folder = &self.folder;
        if self.size + more > folder.max_bytes {
            let rule = format!("is larger than {} bytes; media.max_bytes is the limit", folder.max_bytes);
            return Err(Error::new(ErrorKind::BodyTooLarge, format!("the file {rule}")));
        }
        self.size += more;
        if folder.used.fetch_add(more, Ordering::Relaxed) + more > folder.max_total_bytes {
            return Err(Error::new(
                ErrorKind::StoreFull,
                "the media folder is full; media.max_total_bytes is the limit",
            ));
        }
        folder.room().await?;
        self.file.write_all(bytes).await.map_err(|error| folder.failed("write to", &error))
    }

    /// Makes it a file of the folder, synced with its name. `known` then tells the store of it and says
    /// whether that wants it; else it is deleted. Must be run to its end, or the store knows a file that
    /// is not there.
    pub(super) async fn keep(
        mut self,
        file: MediaFile,
        known: impl Future<Output = Result<bool>>,
    ) -> Result<()> {
        let (folder, path) = (self.folder.clone(), self.folder.path(&file));
        let synced = async {
            self.file.flush().await?;
            self.file.sync_all().await?;
            fs::rename(&self.path, &path).await?;
            File::open(&folder.path).await?.sync_all().await
        };
        synced.await.map_err(|error| folder.failed("write to", &error))?;
        self.path = path;
        self.kept = known.await?;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // What cannot be deleted now is at the next start.
            let _ = std::fs::remove_file(&self.path);
            self.folder.freed(self.size);
        }
    }
}
