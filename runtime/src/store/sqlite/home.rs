//! Whether a file is still where it was opened: what is written to one that was removed, or that another
//! one has taken the place of, is gone with the process.

use super::failed;
use amochats::Result;
use std::fs::{File, Metadata, metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file by its name, and by what it is.
#[derive(Clone)]
pub(super) struct Home {
    path: PathBuf,
    file: (u64, u64),
}

impl Home {
    /// The file that has this name now.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let found =
            metadata(path).map_err(|why| failed(format!("cannot look at {}: {why}", path.display())))?;
        Ok(Self { path: path.to_owned(), file: identity(&found) })
    }

    /// An open file, which had this name.
    pub(super) fn of_open(path: &Path, file: &File) -> Result<Self> {
        let found =
            file.metadata().map_err(|why| failed(format!("cannot look at {}: {why}", path.display())))?;
        Ok(Self { path: path.to_owned(), file: identity(&found) })
    }

    pub(super) fn check(&self) -> Result<()> {
        match metadata(&self.path) {
            Ok(found) if identity(&found) == self.file => Ok(()),
            // Who may not look there knows nothing, and what is open can still be written.
            Err(why) if why.kind() != io::ErrorKind::NotFound => Ok(()),
            _ => Err(failed(format!(
                "{} was removed or replaced while it was in use; put it back where it was, or restart with \
                 what is there now",
                self.path.display()
            ))),
        }
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}
