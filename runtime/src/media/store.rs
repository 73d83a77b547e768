//! What media asks of a store.

use amochats::{Result, ScopeId};
use async_trait::async_trait;
use std::fmt;

/// Knows the files that are kept in the media folder.
///
/// As with [`Store`](crate::store::Store), `Ok` means that the effect is committed, and a store
/// knows no time. A file is written before the store is told of it, and deleted before the store
/// forgets it: so no file is left behind that nobody knows, but for one that was being written when
/// the process ended.
#[async_trait]
pub trait MediaStore: Send + Sync {
    /// Keeps a link.
    async fn put_link(&self, link: Link) -> Result<()>;

    /// The link of this token, expired or not.
    async fn link(&self, token: &str) -> Result<Option<Link>>;

    /// Up to which event attachments were looked for.
    async fn looked_up_to(&self) -> Result<Option<String>>;

    /// Notes attachments that are to be fetched, unless they are known, and up to which event it was
    /// looked for them.
    async fn note(&self, found: Vec<Attachment>, last: String) -> Result<()>;

    /// The attachment of an event.
    async fn attachment(&self, event_id: &str) -> Result<Option<Attachment>>;

    /// Changes what is known of an attachment; says whether it is still known.
    async fn change_attachment(&self, attachment: Attachment) -> Result<bool>;

    /// Up to `max` attachments that are to be fetched, the one whose time comes first first.
    async fn pending(&self, max: usize) -> Result<Vec<Attachment>>;

    /// Up to `max` files, each with its size, that nobody needs any more: of links that have expired,
    /// and of events that are gone.
    async fn unneeded(&self, now: i64, max: usize) -> Result<Vec<(MediaFile, u64)>>;

    /// Forgets what belongs to these files.
    async fn forget(&self, files: Vec<MediaFile>) -> Result<()>;

    /// Those of these files that are known.
    async fn known(&self, files: Vec<MediaFile>) -> Result<Vec<MediaFile>>;

    /// The bytes of all files.
    async fn bytes(&self) -> Result<u64>;
}

/// A file of the folder.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum MediaFile {
    /// Of a link, by its token.
    Link(String),
    /// Of an event's attachment, by the event's id.
    Attachment(String),
}

impl MediaFile {
    /// Its name in the folder.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Link(token) => format!("link-{token}"),
            Self::Attachment(event_id) => format!("event-{event_id}"),
        }
    }

    /// Reads [`MediaFile::name`] back.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let link = name.strip_prefix("link-").map(|token| Self::Link(token.to_owned()));
        link.or_else(|| name.strip_prefix("event-").map(|id| Self::Attachment(id.to_owned())))
    }
}

/// A token is a secret.
impl fmt::Debug for MediaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(_) => f.write_str("Link(..)"),
            Self::Attachment(event_id) => f.debug_tuple("Attachment").field(event_id).finish(),
        }
    }
}

/// A file that is served to whoever knows its address.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// What cannot be guessed of the address.
    pub token: String,
    /// The name that the file is served with.
    pub file_name: String,
    /// Its media type.
    pub content_type: String,
    /// In bytes.
    pub size: u64,
    /// In Unix milliseconds.
    pub created_at: i64,
    /// Until when it is served, in Unix milliseconds.
    pub expires_at: i64,
    /// The conversation it was made for, by either id: purged with it.
    pub conversation: Option<(ScopeId, String)>,
}

/// A token is a secret.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("content_type", &self.content_type)
            .field("size", &self.size)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// How far the fetching of an attachment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AttachmentState {
    /// It is to be fetched, perhaps again.
    Pending,
    /// It is kept here.
    Fetched,
    /// It was given up.
    Failed,
}

impl AttachmentState {
    /// Every state.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Fetched, Self::Failed];

    /// The name on all surfaces.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Fetched => "fetched",
            Self::Failed => "failed",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// What a message came with.
#[derive(Clone, PartialEq, Eq)]
pub struct Attachment {
    /// The message's event.
    pub event_id: String,
    /// Where the message says it is.
    pub url: String,
    /// How far its fetching is.
    pub state: AttachmentState,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next, in Unix milliseconds.
    pub next_at: i64,
    /// The name that the message gave it.
    pub file_name: Option<String>,
    /// Its media type, as the server it was fetched from has it; empty before.
    pub content_type: String,
    /// In bytes; 0 before it is fetched.
    pub size: u64,
    /// Why the last attempt failed.
    pub problem: Option<String>,
}

/// Ids only: what is kept is private.
impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attachment")
            .field("event_id", &self.event_id)
            .field("state", &self.state)
            .field("attempts", &self.attempts)
            .field("size", &self.size)
            .field("problem", &self.problem)
            .finish_non_exhaustive()
    }
}
