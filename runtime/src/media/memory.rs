//! What media asks of the store in memory.

use super::store::{Attachment, AttachmentState, Link, MediaFile, MediaStore};
use crate::store::memory::{MemoryStore, State};
use amochats::{Result, ScopeId};
use async_trait::async_trait;
use std::collections::BTreeMap;

/// The files that are known.
#[derive(Default)]
pub(crate) struct Files {
    links: BTreeMap<String, Link>,
    attachments: BTreeMap<String, Attachment>,
    looked_up_to: Option<String>,
}

impl Files {
    /// The links of a conversation, by any of its ids, end at once.
    pub(crate) fn end_links(&mut self, scope: &ScopeId, ids: &[&str]) {
        for link in self.links.values_mut() {
            let is_of = |(of, id): &(ScopeId, String)| of == scope && ids.contains(&id.as_str());
            if link.conversation.as_ref().is_some_and(is_of) {
                link.expires_at = 0;
            }
        }
    }

    fn knows(&self, file: &MediaFile) -> bool {
        match file {
            MediaFile::Link(token) => self.links.contains_key(token),
            MediaFile::Attachment(id) => {
                self.attachments.get(id).is_some_and(|known| known.state == AttachmentState::Fetched)
            }
        }
    }
}

impl State {
    fn unneeded(&self, now: i64) -> Vec<(MediaFile, u64)> {
        let expired = self.files.links.values().filter(|link| link.expires_at <= now);
        let expired = expired.map(|link| (MediaFile::Link(link.token.clone()), link.size));
        let gone = self.files.attachments.values().filter(|known| !self.has_event(&known.event_id));
        let gone = gone.map(|known| (MediaFile::Attachment(known.event_id.clone()), known.size));
        expired.chain(gone).collect()
    }
}

#[async_trait]
impl MediaStore for MemoryStore {
    async fn put_link(&self, link: Link) -> Result<()> {
        self.state()?.files.links.insert(link.token.clone(), link);
        Ok(())
    }

    async fn link(&self, token: &str) -> Result<Option<Link>> {
        Ok(self.state()?.files.links.get(token).cloned())
    }

    async fn looked_up_to(&self) -> Result<Option<String>> {
        Ok(self.state()?.files.looked_up_to.clone())
    }

    async fn note(&self, found: Vec<Attachment>, last: String) -> Result<()> {
        let mut state = self.state()?;
        for one in found {
            state.files.attachments.entry(one.event_id.clone()).or_insert(one);
        }
        state.files.looked_up_to = Some(last);
        Ok(())
    }

    async fn attachment(&self, event_id: &str) -> Result<Option<Attachment>> {
        Ok(self.state()?.files.attachments.get(event_id).cloned())
    }

    async fn change_attachment(&self, attachment: Attachment) -> Result<bool> {
        let mut state = self.state()?;
        let known = state.files.attachments.get_mut(&attachment.event_id);
        Ok(known.map(|known| *known = attachment).is_some())
    }

    async fn pending(&self, max: usize) -> Result<Vec<Attachment>> {
        let state = self.state()?;
        let pending = state.files.attachments.values().filter(|one| one.state == AttachmentState::Pending);
        let mut pending: Vec<_> = pending.cloned().collect();
        pending.sort_by_key(|one| one.next_at);
        pending.truncate(max);
        Ok(pending)
    }

    async fn unneeded(&self, now: i64, max: usize) -> Result<Vec<(MediaFile, u64)>> {
        let mut files = self.state()?.unneeded(now);
        files.truncate(max);
        Ok(files)
    }

    async fn forget(&self, files: Vec<MediaFile>) -> Result<()> {
        let mut state = self.state()?;
        for file in files {
            match file {
                MediaFile::Link(token) => drop(state.files.links.remove(&token)),
                MediaFile::Attachment(id) => drop(state.files.attachments.remove(&id)),
            }
        }
        Ok(())
    }

    async fn known(&self, mut files: Vec<MediaFile>) -> Result<Vec<MediaFile>> {
        let state = self.state()?;
        files.retain(|file| state.files.knows(file));
        Ok(files)
    }

    async fn bytes(&self) -> Result<u64> {
        let state = self.state()?;
        let links = state.files.links.values().map(|link| link.size);
        Ok(links.chain(state.files.attachments.values().map(|one| one.size)).sum())
    }
}
