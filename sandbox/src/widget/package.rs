//! A widget's files, from a folder or an archive.

use amochats::{Error, Result};
use axum::body::Bytes;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::io::{self, Cursor, Read as _};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use zip::ZipArchive;

/// The largest archive that is taken, in bytes.
pub(super) const ARCHIVE_MAX: usize = 16 * 1024 * 1024;
/// How many bytes an archive may have unpacked, and a file of a folder.
const UNPACKED_MAX: u64 = 64 * 1024 * 1024;
const FILES_MAX: usize = 2000;

fn unusable(says: impl Display) -> Error {
    Error::invalid("widget", says.to_string())
}

#[derive(Clone)]
pub(super) enum Package {
    /// Read at every request, so that a change is seen after the page was loaded again.
    Folder(PathBuf),
    Unpacked(Arc<BTreeMap<String, Bytes>>, Archive),
}

/// An archive as it came, in base64: made once, and not with each writing of the state.
#[derive(Clone, Deserialize, Serialize)]
#[serde(transparent)]
pub(super) struct Archive(Arc<str>);

impl Archive {
    pub(super) fn unpack(self) -> Result<Package> {
        let archive = STANDARD.decode(&*self.0).map_err(|_| unusable("the archive is not in base64"))?;
        Package::unpack(archive.into())
    }
}

impl Package {
    /// A folder or an archive.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let cannot = |error: io::Error| unusable(format!("{}: {error}", path.display())).with_source(error);
        let path = path.canonicalize().map_err(cannot)?;
        if path.is_dir() {
            return Self::Folder(path).checked();
        }
        let length = path.metadata().map_err(cannot)?.len();
        if length > ARCHIVE_MAX as u64 {
            return Err(unusable(format!("the archive has {length} bytes: {ARCHIVE_MAX} at most")));
        }
        Self::unpack(std::fs::read(&path).map_err(cannot)?.into())
    }

    /// An archive.
    pub(super) fn unpack(archive: Bytes) -> Result<Self> {
        let kept = Archive(STANDARD.encode(&archive).into());
        let damaged = |error: zip::result::ZipError| unusable(format!("the archive cannot be read: {error}"));
        let mut archive = ZipArchive::new(Cursor::new(archive)).map_err(damaged)?;
        if archive.len() > FILES_MAX {
            return Err(unusable(format!("the archive has more than {FILES_MAX} files")));
        }
        let (mut files, mut left) = (BTreeMap::new(), UNPACKED_MAX);
        for at in 0..archive.len() {
            let entry = archive.by_index(at).map_err(damaged)?;
            if entry.is_dir() {
                continue;
            }
            let name = entry.name().map_err(damaged)?.into_owned();
            let mut content = Vec::new();
            // What the archive says of its sizes is not believed.
            let read = entry.take(left + 1).read_to_end(&mut content);
            read.map_err(|error| unusable(format!("the archive cannot be read: {name}: {error}")))?;
            left = left.checked_sub(content.len() as u64).ok_or_else(|| {
                unusable(format!("the archive has more than {UNPACKED_MAX} bytes unpacked"))
            })?;
            files.insert(name, Bytes::from(content));
        }
        Self::Unpacked(Arc::new(files), kept).checked()
    }

    /// What the CRM would refuse at the upload; `widget/build.py check` knows all of the rules.
    fn checked(self) -> Result<Self> {
        let Some(manifest) = self.file("manifest.json") else {
            let nested = self.file("widget/manifest.json").is_some();
            return Err(unusable(if nested {
                "manifest.json must lie at the root, not in a folder: pack the folder's content"
            } else {
                "there is no manifest.json at the root"
            }));
        };
        let read: serde_json::Result<Value> = serde_json::from_slice(&manifest);
        match read {
            Ok(Value::Object(_)) => {}
            Ok(_) => return Err(unusable("manifest.json must be an object")),
            Err(error) => return Err(unusable(format!("manifest.json is not strict JSON: {error}"))),
        }
        if self.file("script.js").is_none() {
            return Err(unusable("there is no script.js at the root"));
        }
        Ok(self)
    }

    /// What a state's file keeps of it.
    pub(super) fn archive(&self) -> Option<Archive> {
        match self {
            Self::Unpacked(_, archive) => Some(archive.clone()),
            Self::Folder(_) => None,
        }
    }

    /// A file by its path from the root.
    pub(super) fn file(&self, path: &str) -> Option<Bytes> {
        match self {
            Self::Unpacked(files, _) => files.get(path).cloned(),
            Self::Folder(folder) => {
                let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
                // A link may lead out of the folder.
                let found = folder.join(path).canonicalize().ok()?;
                if !inside || !found.starts_with(folder) || found.metadata().ok()?.len() > UNPACKED_MAX {
                    return None;
                }
                std::fs::read(found).ok().map(Bytes::from)
            }
        }
    }
}

pub(super) fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, end)| end) {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "svg" => "image/svg+xml",
        "woff2" => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}
