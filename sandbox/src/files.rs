//! The files that managers upload, served as the vendor serves its own.

use bytes::Bytes;
use std::collections::VecDeque;

/// How many bytes all of them may take; the oldest go.
pub(crate) const FILES_MAX: usize = 64 * 1024 * 1024;
/// The longest file name, in bytes.
const NAME_MAX: usize = 200;

struct File {
    path: String,
    kind: &'static str,
    bytes: Bytes,
}

/// The latest uploads, in memory.
#[derive(Default)]
pub(crate) struct Files {
    files: VecDeque<File>,
    total: usize,
}

impl Files {
    /// Keeps a file of at most [`FILES_MAX`] bytes at this path.
    pub(crate) fn keep(&mut self, path: String, name: &str, bytes: Bytes) {
        self.total += bytes.len();
        self.files.push_back(File { path, kind: media_type(name), bytes });
        while self.total > FILES_MAX
            && let Some(oldest) = self.files.pop_front()
        {
            self.total -= oldest.bytes.len();
        }
    }

    /// The type and content of the file at this path.
    pub(crate) fn get(&self, path: &str) -> Option<(&'static str, Bytes)> {
        let file = self.files.iter().find(|file| file.path == path)?;
        Some((file.kind, file.bytes.clone()))
    }
}

/// A name that is safe in a path and on a disk: the last part of what was given.
pub(crate) fn file_name(given: &str) -> String {
    let last = given.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut name: String = last.chars().filter(|c| !c.is_control()).collect();
    while name.len() > NAME_MAX {
        name.remove(0);
    }
    if matches!(name.trim(), "" | "." | "..") { "file".to_owned() } else { name }
}

/// By the end of the name, as far as a browser needs it. Nothing that a browser would run.
fn media_type(name: &str) -> &'static str {
    let end = name.rsplit_once('.').map_or("", |(_, end)| end).to_ascii_lowercase();
    match end.as_str() {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "mp4" => "video/mp4",
        "webm" => "video/webm",
        "ogg" | "oga" | "opus" => "audio/ogg",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "wav" => "audio/wav",
        "pdf" => "application/pdf",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
