//! Lists by pages: the chats from the latest down, the messages of a chat from the newest back.

use super::{Chat, Message, Standing, State};
use amochats::{AccountId, ChannelId, ConversationRefId, Error, MessageRefId, Result};
use std::ops::Bound;

/// The most entries of one page.
pub(crate) const PAGE_MAX: usize = 200;

/// Which chats a page shows.
#[derive(Debug, Default)]
pub(crate) struct ChatsWanted {
    pub(crate) account_id: Option<AccountId>,
    pub(crate) channel_id: Option<ChannelId>,
    /// Part of a name, phone, e-mail, own id or last text, in any case.
    pub(crate) q: Option<String>,
    /// Where the page before ended.
    pub(crate) before: Option<String>,
    pub(crate) limit: usize,
}

/// A page of chats, the latest first.
pub(crate) struct ChatsPage<'a> {
    pub(crate) chats: Vec<&'a Chat>,
    /// Where the next page begins; none on the last.
    pub(crate) next: Option<String>,
    /// How many there are on all pages.
    pub(crate) total: usize,
}

/// A page of messages, the oldest first.
pub(crate) struct MessagesPage<'a> {
    pub(crate) messages: Vec<&'a Message>,
    /// Where the page of older ones ends; none on the first.
    pub(crate) previous: Option<MessageRefId>,
}

/// A place in the list of chats that stays the same while chats move.
fn cursor((msec, number): Standing) -> String {
    format!("{msec}.{number}")
}

fn standing(cursor: &str) -> Result<Standing> {
    let parsed =
        cursor.split_once('.').and_then(|(msec, number)| Some((msec.parse().ok()?, number.parse().ok()?)));
    parsed.ok_or_else(|| Error::invalid("before", "must be the `next` of the page before"))
}

impl ChatsWanted {
    fn fits(&self, chat: &Chat, wanted: Option<&str>) -> bool {
        let all = self.account_id.as_ref().is_none_or(|id| chat.account_id == *id)
            && self.channel_id.as_ref().is_none_or(|id| chat.channel_id == *id);
        let Some(wanted) = wanted.filter(|_| all) else { return all };
        let client = &chat.client;
        let own = chat.conversation_id.as_ref().map(AsRef::as_ref);
        let last = chat.last_message.as_ref().map(|message| message.content.text.as_str());
        [Some(&*client.name), client.phone.as_deref(), client.email.as_deref(), own, last]
            .into_iter()
            .flatten()
            .any(|text| text.to_lowercase().contains(wanted))
    }
}

impl State {
    /// The chats, the one with the latest message first. One without messages is not shown.
    pub(crate) fn chats(&self) -> impl Iterator<Item = &Chat> {
        self.standings.iter().rev().map(|(_, number)| &self.rooms[*number].chat)
    }

    /// All unread messages of a list, over all pages.
    pub(crate) fn chats_page(&self, wanted: &ChatsWanted) -> Result<ChatsPage<'_>> {
        let q = wanted.q.as_ref().map(|q| q.trim().to_lowercase()).filter(|q| !q.is_empty());
        let narrow = q.is_some() || wanted.account_id.is_some() || wanted.channel_id.is_some();
        let fits = |standing: &&Standing| !narrow || wanted.fits(&self.rooms[standing.1].chat, q.as_deref());
        let end = match &wanted.before {
            Some(before) => Bound::Excluded(standing(before)?),
            None => Bound::Unbounded,
        };
        let mut rest = self.standings.range((Bound::Unbounded, end)).rev().filter(fits);
        let shown: Vec<Standing> = rest.by_ref().take(wanted.limit).copied().collect();
        let more = rest.next().is_some();
        Ok(ChatsPage {
            next: shown.last().filter(|_| more).map(|last| cursor(*last)),
            chats: shown.iter().map(|(_, number)| &self.rooms[*number].chat).collect(),
            total: if narrow { self.standings.iter().filter(fits).count() } else { self.standings.len() },
        })
    }

    /// The messages before one of them, or the newest; of one post's comments only, if it is named.
    pub(crate) fn messages_page(
        &self,
        chat: &ConversationRefId,
        before: Option<&MessageRefId>,
        post_id: Option<&str>,
        limit: usize,
    ) -> Result<MessagesPage<'_>> {
        let messages = self.messages(chat);
        let end = match before {
            None => messages.len(),
            Some(id) => {
                let place = self
                    .place(id)
                    .filter(|_| self.message(id).is_some_and(|m| m.conversation_ref_id == *chat));
                place.ok_or_else(|| Error::invalid("before", "must be the `previous` of the page before"))?.1
            }
        };
        let mut older = messages[..end]
            .iter()
            .rev()
            .filter(|message| post_id.is_none_or(|post| message.content.post_id() == Some(post)));
        let mut shown: Vec<&Message> = older.by_ref().take(limit).collect();
        let previous =
            shown.last().filter(|_| older.next().is_some()).map(|message| message.message_ref_id.clone());
        shown.reverse();
        Ok(MessagesPage { messages: shown, previous })
    }
}
