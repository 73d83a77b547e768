//! Files that go with messages.
//!
//! What a message brings to the CRM the service fetches from an address, so it must be where the
//! service can reach it: [`Media::attach`] keeps a file and gives a link to it, which the listener
//! serves until it expires. Who does not know the link cannot guess it.
//!
//! What a message brings from the CRM is behind a link of the service's, which may expire: where the
//! configuration says so, it is fetched and kept for as long as its event.
//!
//! The files are in a folder of their own, [`MediaStore`] knows what they are. A file is synced before
//! the store is told of it, and deleted before the store forgets it.

mod config;
mod fetch;
mod folder;
mod memory;
mod metrics;
mod place;
mod serve;
mod sqlite;
mod store;

pub use config::MediaConfig;
pub(crate) use memory::Files;
pub(crate) use metrics::MediaMetrics;
pub(crate) use serve::Answer;
pub(crate) use sqlite::end_links;
pub use store::{Attachment, AttachmentState, Link, MediaFile, MediaStore};

use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::store::{Store, closed};
use amochats::{Error, ErrorKind, Result, ScopeId};
use bytes::Bytes;
use config::{LIFETIME_MAX, is_token as is_type_part};
use fetch::{Fetcher, attachment_of};
use folder::Folder;
use futures_util::{Stream, StreamExt};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use place::SystemNames;
use rand::Rng;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::fs::File;
use tokio::sync::watch;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often files are deleted that nobody needs any more.
const EVERY: Duration = Duration::from_mins(1);
/// How many at once.
const PORTION: usize = 100;
/// Random bytes of a token.
const TOKEN: usize = 20;
/// What need not be escaped in a part of an address.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_').remove(b'~');

/// A file to be attached.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// The name that it is served with.
    pub file_name: String,
    /// Its media type, such as `image/png`.
    pub content_type: String,
    /// How long its link works; without it as the configuration says.
    pub expires_in: Option<Duration>,
    /// The conversation it is for, by either id: purged with it.
    pub conversation: Option<(ScopeId, String)>,
}

impl NewFile {
    /// A file with the configured life.
    pub fn new(file_name: impl Into<String>, content_type: impl Into<String>) -> Self {
        Self {
            file_name: file_name.into(),
            content_type: content_type.into(),
            expires_in: None,
            conversation: None,
        }
    }

    fn validate(&self, config: &MediaConfig) -> Result<()> {
        let name = &self.file_name;
        let plain = !name.chars().any(|c| c.is_control() || matches!(c, '/' | '\\'));
        if name.is_empty() || name.len() > 200 || !plain || matches!(name.as_str(), "." | "..") {
            return Err(Error::invalid("file_name", "must be 1 to 200 bytes, a name without a folder"));
        }
        if !is_content_type(&self.content_type) {
            return Err(Error::invalid("content_type", "must be a media type such as \"image/png\""));
        }
        if !config.takes(essence(&self.content_type)) {
            let rule = "is none that may be attached; media.content_types lists them";
            return Err(Error::invalid("content_type", rule));
        }
        let life = self.expires_in.unwrap_or(Duration::from_secs(1));
        if !(Duration::from_secs(1)..=LIFETIME_MAX).contains(&life) {
            return Err(Error::invalid("expires_in", "must be 1 s to 366 days"));
        }
        Ok(())
    }
}

/// A file that was attached.
#[derive(Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its address, to be sent as the media of a message. Who knows it can read the file.
    pub url: String,
    /// In bytes.
    pub size: u64,
    /// Its media type.
    pub content_type: String,
    /// Until when the address works, in Unix milliseconds.
    pub expires_at: i64,
}

/// The address is a secret.
impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached")
            .field("size", &self.size)
            .field("content_type", &self.content_type)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Files that go with messages.
#[derive(Clone)]
pub struct Media(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    config: MediaConfig,
    folder: Arc<Folder>,
    /// What a link begins with.
    base: String,
    /// An attempt to fetch ended, or files went.
    ends: watch::Sender<()>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Media {
    /// Opens the folder and begins to look after it.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        whole: &Config,
        listener: SocketAddr,
    ) -> Result<Self> {
        let config = whole.media.clone();
        // Events have the last word about the disk: media stops earlier.
        let min_free_bytes = whole.store.min_free_bytes.saturating_mul(2);
        let limits = [config.max_bytes, config.max_total_bytes, min_free_bytes];
        let folder = config.folder(&whole.store.path);
        let folder = Arc::new(Folder::open(folder, store.media(), limits).await?);
        let scheme = if whole.listener.tls_cert.as_os_str().is_empty() { "http" } else { "https" };
        let base = match config.public_url.trim_end_matches('/') {
            "" => format!("{scheme}://{listener}{}", config.path),
            public => format!("{public}{}", config.path),
        };
        let fetcher =
            config.fetch.then(|| Fetcher::new(&config, Arc::new(SystemNames))).transpose()?.map(Arc::new);
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let ends = watch::Sender::new(());
        let media = Self(Arc::new(Inner { store, clock, metrics, config, folder, base, ends, stop, tasks }));
        let keeper = media.clone();
        media.0.tasks.spawn(async move { keeper.maintain().await });
        if let Some(fetcher) = fetcher {
            let worker = media.clone();
            media.0.tasks.spawn(async move { worker.work(fetcher).await });
        }
        Ok(media)
    }

    /// Keeps a file and gives a link to it. `Ok` means that the file is on disk. Of a future that is
    /// dropped all or nothing is kept.
    ///
    /// # Errors
    /// - [`ErrorKind::InvalidArgument`] with the field that breaks a rule.
    /// - [`ErrorKind::BodyTooLarge`], [`ErrorKind::StoreFull`].
    /// - What `body` ends with; those of the store.
    pub async fn attach(
        &self,
        file: NewFile,
        body: impl Stream<Item = Result<Bytes>> + Send,
    ) -> Result<Attached> {
        file.validate(&self.0.config)?;
        let mut part = self.0.folder.begin().await?;
        let mut body = std::pin::pin!(body);
        while let Some(bytes) = body.next().await {
            part.write(&bytes?).await?;
        }
        let life = file.expires_in.unwrap_or(Duration::from_secs(self.0.config.link_lifetime_s));
        let now = self.0.clock.now_msec();
        let link = Link {
            token: new_token(),
            content_type: file.content_type,
            size: part.size(),
            created_at: now,
            expires_at: now.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX)),
            file_name: file.file_name,
            conversation: file.conversation,
        };
        let attached = Attached {
            url: format!("{}/{}/{}", self.0.base, link.token, url_part(&link.file_name)),
            size: link.size,
            content_type: link.content_type.clone(),
            expires_at: link.expires_at,
        };
        let name = MediaFile::Link(link.token.clone());
        let store = self.0.store.clone();
        let known = async move { store.media().put_link(link).await.map(|()| true) };
        tokio::spawn(part.keep(name, known)).await.map_err(|_| closed())??;
        self.0.metrics.media.used(self.0.folder.used());
        Ok(attached)
    }

    /// As [`Media::attach`], for a file in memory.
    ///
    /// # Errors
    /// As for [`Media::attach`].
    pub async fn attach_bytes(&self, file: NewFile, bytes: impl Into<Bytes> + Send) -> Result<Attached> {
        let bytes = bytes.into();
        self.attach(file, futures_util::stream::once(async { Ok(bytes) })).await
    }

    /// As [`Media::attach`], for a file on disk.
    ///
    /// # Errors
    /// As for [`Media::attach`]; [`ErrorKind::InvalidArgument`] where the file cannot be read.
    pub async fn attach_file(&self, file: NewFile, path: &Path) -> Result<Attached> {
        // Without the path, which may hold a name.
        let unread =
            |error: std::io::Error| Error::invalid("path", format!("cannot be read: {}", error.kind()));
        let opened = File::open(path).await.map_err(unread)?;
        self.attach(file, ReaderStream::new(opened).map(|part| part.map_err(unread))).await
    }

    /// What the message of this event came with.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where the event is not kept, came with nothing, or attachments are not
    /// fetched; those of the store.
    pub async fn attachment(&self, event_id: &str) -> Result<Attachment> {
        let not_found = |why: &str| Error::new(ErrorKind::NotFound, why);
        if let Some(known) = self.0.store.media().attachment(event_id).await? {
            return Ok(known);
        }
        let event = self.0.store.event(event_id).await?;
        let event = event.ok_or_else(|| not_found("there is no such event"))?;
        let found = attachment_of(&event, self.0.clock.now_msec());
        let found = found.ok_or_else(|| not_found("the event came without an attachment"))?;
        if self.0.config.fetch { Ok(found) } else { Err(not_found("media.fetch is off")) }
    }

    /// Waits until what the message of this event came with is fetched or given up, and gives it.
    ///
    /// # Errors
    /// As for [`Media::attachment`], also where the event goes meanwhile; [`ErrorKind::Closed`] where the
    /// runtime ends before.
    pub async fn wait(&self, event_id: &str) -> Result<Attachment> {
        // Before it is looked at: an end between the two is heard.
        let mut ends = self.0.ends.subscribe();
        loop {
            let attachment = self.attachment(event_id).await?;
            if attachment.state != AttachmentState::Pending {
                return Ok(attachment);
            }
            tokio::select! {
                () = self.0.stop.cancelled() => return Err(closed()),
                _ = ends.changed() => {}
            }
        }
    }

    /// Where an attachment is on disk, once it is fetched.
    pub fn path(&self, attachment: &Attachment) -> Option<PathBuf> {
        let fetched = attachment.state == AttachmentState::Fetched;
        fetched.then(|| self.0.folder.path(&MediaFile::Attachment(attachment.event_id.clone())))
    }

    /// Opens an attachment that is fetched.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it is not there (any more).
    pub async fn open(&self, attachment: &Attachment) -> Result<File> {
        let gone = || Error::new(ErrorKind::NotFound, "the attachment is not here");
        File::open(self.path(attachment).ok_or_else(gone)?).await.map_err(|_| gone())
    }

    /// Ends the work without waiting for it, once it is cancelled.
    pub(crate) fn stopping(&self) -> CancellationToken {
        self.0.stop.clone()
    }

    /// Ends the work in the background.
    pub(crate) async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Deletes what nobody needs any more, now and then.
    async fn maintain(&self) {
        loop {
            if let Err(error) = self.delete_unneeded().await {
                tracing::warn!(kind = error.kind().name(), "files could not be deleted: {error}");
            }
            self.0.metrics.media.used(self.0.folder.used());
            let next = self.0.clock.monotonic().saturating_add(EVERY);
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = self.0.clock.sleep_until(next) => {}
            }
        }
    }

    async fn delete_unneeded(&self) -> Result<()> {
        loop {
            let found = self.0.store.media().unneeded(self.0.clock.now_msec(), PORTION).await?;
            if found.is_empty() {
                return Ok(());
            }
            for (file, _) in &found {
                self.0.folder.delete(&self.0.folder.path(file)).await?;
            }
            let bytes = found.iter().map(|(_, size)| size).sum();
            self.0.store.media().forget(found.into_iter().map(|(file, _)| file).collect()).await?;
            self.0.folder.freed(bytes);
            self.0.ends.send_replace(());
        }
    }
}

fn new_token() -> String {
    let random: [u8; TOKEN] = rand::rng().random();
    random.iter().fold(String::with_capacity(2 * TOKEN), |mut token, byte| {
        write!(token, "{byte:02x}").expect("memory");
        token
    })
}

fn is_token(text: &str) -> bool {
    text.len() == 2 * TOKEN && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// A text as a part of an address.
fn url_part(text: &str) -> impl std::fmt::Display + '_ {
    utf8_percent_encode(text, PLAIN)
}

/// A media type without its parameters.
fn essence(content_type: &str) -> &str {
    content_type.split(';').next().unwrap_or_default().trim()
}

fn is_content_type(text: &str) -> bool {
    let parts = essence(text).split_once('/');
    let plain = text.len() <= 255 && text.bytes().all(|b| b == b' ' || b.is_ascii_graphic());
    plain && parts.is_some_and(|(family, kind)| is_type_part(family) && is_type_part(kind))
}
