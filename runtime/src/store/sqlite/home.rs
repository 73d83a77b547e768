//! Whether a file is still where it was opened: what is written to one that was removed, or that another
//! one has taken the place of, is gone with the process.

use super::failed;
use amochats::Result;
use rustix::fs::{Stat, fstat, stat};
use std::os::fd::AsFd;
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
        let found = stat(path).map_err(|why| failed(format!("cannot look at {}: {why}", path.display())))?;
        Ok(Self { path: path.to_owned(), file: identity(&found) })
    }

    /// An open file, which had this name.
    pub(super) fn of_open(path: &Path, file: impl AsFd) -> Result<Self> {
        let found = fstat(file).map_err(|why| failed(format!("cannot look at {}: {why}", path.display())))?;
        Ok(Self { path: path.to_owned(), file: identity(&found) })
    }

    pub(super) fn check(&self) -> Result<()> {
        match stat(&self.path) {
            Ok(found) if identity(&found) == self.file => Ok(()),
            // Who may not look there knows nothing, and what is open can still be written.
            Err(why) if why != rustix::io::Errno::NOENT => Ok(()),
            _ => Err(failed(format!(
                "{} was removed or replaced while it was in use; put it back where it was, or restart with \
                 what is there now",
                self.path.display()
            ))),
        }
    }
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}
