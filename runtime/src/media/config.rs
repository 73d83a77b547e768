//! `[media]` of the configuration.

use super::place::{Hosts, Networks};
use amochats::{Error, ErrorKind, Result};
use reqwest::Url;
use serde::Deserialize;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files that go to the CRM by a link, and attachments that came from it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MediaConfig {
    /// Where files are kept; empty: beside the store, under its name with `.media`.
    pub folder: PathBuf,
    /// How the service reaches the listener, as `https://hooks.example.org`; empty: by the
    /// listener's own address, which serves to try things out.
    pub public_url: String,
    /// The first part of the links' path.
    pub path: String,
    /// How long a link works unless its maker says otherwise, in seconds.
    pub link_lifetime_s: u64,
    /// The largest file, attached or fetched, in bytes.
    pub max_bytes: u64,
    /// The most bytes of all files together.
    pub max_total_bytes: u64,
    /// What may be attached: media types, such as `application/pdf` or `image/*`.
    pub content_types: Vec<String>,
    /// Fetches the attachments of messages, and keeps them for as long as their events.
    pub fetch: bool,
    /// From where: host names, `*.example.org` for all below one, `*` for any.
    pub fetch_hosts: Vec<String>,
    /// Fetches over plain HTTP as well.
    pub fetch_http: bool,
    /// Addresses and networks inside that may be fetched from all the same.
    pub fetch_private: Vec<String>,
    /// How long an attempt may take, in milliseconds.
    pub fetch_timeout_ms: u64,
    /// After so many attempts an attachment is given up.
    pub fetch_attempts: u32,
}

impl Default for MediaConfig {
    fn default() -> Self {
        Self {
            folder: PathBuf::new(),
            public_url: String::new(),
            path: "/media".into(),
            link_lifetime_s: 7 * 24 * 3600,
            max_bytes: 64 << 20,
            max_total_bytes: 10 << 30,
            content_types: ["image/*", "audio/*", "video/*", "text/*", "application/*"]
                .map(str::to_owned)
                .to_vec(),
            fetch: false,
            // Where the service keeps media (chats API reference, section 2).
            fetch_hosts: ["amojo.amocrm.ru", "amojo.kommo.com", "amojo.amocrm.com"]
                .map(str::to_owned)
                .to_vec(),
            fetch_http: false,
            fetch_private: Vec::new(),
            fetch_timeout_ms: 60_000,
            fetch_attempts: 10,
        }
    }
}

/// The longest life of a link.
pub(super) const LIFETIME_MAX: Duration = Duration::from_hours(24 * 366);

impl MediaConfig {
    pub(crate) fn validate(&self) -> Result<()> {
        let path = self.path.strip_prefix('/').unwrap_or_default();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/');
        if path.is_empty() || path.ends_with('/') || path.contains("//") || !path.bytes().all(plain) {
            return Err(invalid("media.path", "must begin with \"/\" and not end with it, as \"/media\""));
        }
        if !self.public_url.is_empty() {
            let url = Url::parse(&self.public_url).ok();
            let fits = url.is_some_and(|url| {
                matches!(url.scheme(), "http" | "https") && url.query().is_none() && url.fragment().is_none()
            });
            if !fits {
                return Err(invalid("media.public_url", "must be an address as https://hooks.example.org"));
            }
        }
        if !(1..=LIFETIME_MAX.as_secs()).contains(&self.link_lifetime_s) {
            return Err(invalid("media.link_lifetime_s", "must be 1 to 31622400 (366 days)"));
        }
        if self.max_bytes == 0 || self.max_bytes > self.max_total_bytes {
            return Err(invalid("media.max_bytes", "must be more than 0 and at most max_total_bytes"));
        }
        if let Some(other) = self.content_types.iter().find(|pattern| !is_pattern(pattern)) {
            let rule = format!("{other:?} is no media type; write it as \"application/pdf\" or \"image/*\"");
            return Err(invalid("media.content_types", rule));
        }
        if !(1..=3_600_000).contains(&self.fetch_timeout_ms) || self.fetch_attempts == 0 {
            return Err(invalid(
                "media.fetch_timeout_ms",
                "must be 1 to 3600000, and fetch_attempts more than 0",
            ));
        }
        Hosts::new(&self.fetch_hosts)?;
        Networks::new(&self.fetch_private)?;
        Ok(())
    }

    /// Where the files are.
    pub(super) fn folder(&self, store: &Path) -> PathBuf {
        if !self.folder.as_os_str().is_empty() {
            return self.folder.clone();
        }
        let mut beside = store.as_os_str().to_owned();
        beside.push(".media");
        beside.into()
    }

    /// Whether files of this type may be attached.
    pub(super) fn takes(&self, essence: &str) -> bool {
        self.content_types.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some("*/") => true,
            Some(family) => essence.get(..family.len()).is_some_and(|of| of.eq_ignore_ascii_case(family)),
            None => essence.eq_ignore_ascii_case(pattern),
        })
    }
}

fn is_pattern(pattern: &str) -> bool {
    let part = |part: &str| part == "*" || is_token(part);
    pattern
        .split_once('/')
        .is_some_and(|(family, kind)| part(family) && part(kind) && (family != "*" || kind == "*"))
}

/// Whether a text can be one half of a media type.
pub(super) fn is_token(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&b);
    !text.is_empty() && text.len() <= 127 && text.bytes().all(plain)
}

pub(super) fn invalid(key: &str, rule: impl Display) -> Error {
    Error::new(ErrorKind::ConfigInvalid, format!("{key}: {rule}")).with_field(key)
}
