//! The history of a chat, by the page and as a whole.

use super::Client;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::ScopeId;
use crate::requests::{ApiRequest, History, HistoryMessage, HistoryPage};
use futures_util::stream::{self, Stream};
use std::collections::{HashSet, VecDeque};

/// How many pages in a row may bring nothing new. Messages that arrive meanwhile move the others
/// on, so a page may repeat the one before it; more than that is a service that ignores the offset.
const REPEATED_PAGES_MAX: u32 = 3;

impl Client {
    /// Reads one page of the history of a chat, the newest messages first. The page is empty where
    /// there is no such chat or no more messages.
    ///
    /// # Errors
    /// See [`Client`].
    pub async fn history(&self, scope: &ScopeId, history: &History) -> Result<HistoryPage> {
        self.call_for(&ApiRequest::history(scope, history)?, HistoryPage::from_json).await
    }

    /// Reads the history of a chat to its end, the newest messages first, starting at
    /// [`History::offset`] and reading [`History::limit`] messages at a time.
    ///
    /// Every message comes once, although pages overlap when new messages arrive meanwhile; of
    /// those some come too, out of order. The stream is lazy, and ends after its first error.
    ///
    /// ```no_run
    /// use amochats::{Client, History, ScopeId};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn call(client: Client, scope: ScopeId) -> amochats::Result<()> {
    /// let history = client.history_all(&scope, History::of("6cbab3d5-c4c1-46ff-b710-ad59ad10805f"));
    /// let mut history = std::pin::pin!(history);
    /// while let Some(message) = history.try_next().await? {
    ///     println!("{:?} {}", message.message_ref_id, message.message_type);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Of the stream's items: see [`Client`]; `UnexpectedResponse` where the service gives the same
    /// page again and again.
    pub fn history_all(
        &self,
        scope: &ScopeId,
        history: History,
    ) -> impl Stream<Item = Result<HistoryMessage>> + Send + use<> {
        let reader = Reader {
            client: self.clone(),
            scope: scope.clone(),
            next: history,
            read: VecDeque::new(),
            seen: HashSet::new(),
            repeated: 0,
        };
        stream::try_unfold(reader, async |mut reader: Reader| {
            Ok(reader.message().await?.map(|message| (message, reader)))
        })
    }
}

struct Reader {
    client: Client,
    scope: ScopeId,
    next: History,
    /// What was read and not yet given out.
    read: VecDeque<HistoryMessage>,
    /// The keys of all messages so far.
    seen: HashSet<String>,
    repeated: u32,
}

impl Reader {
    async fn message(&mut self) -> Result<Option<HistoryMessage>> {
        while self.read.is_empty() {
            let page = self.client.history(&self.scope, &self.next).await?;
            // A page that is only short need not be the last one: the service may have a smaller limit.
            if page.messages.is_empty() {
                return Ok(None);
            }
            self.next.offset = self.next.offset.saturating_add(page.messages.len() as u64);
            let Self { read, seen, .. } = self;
            read.extend(page.messages.into_iter().filter(|message| seen.insert(key(message))));
            self.repeated = if read.is_empty() { self.repeated + 1 } else { 0 };
            if self.repeated > REPEATED_PAGES_MAX {
                return Err(Error::new(
                    ErrorKind::UnexpectedResponse,
                    "the service gives the same page of the history again and again",
                ));
            }
        }
        Ok(self.read.pop_front())
    }
}

/// What tells two messages apart; without amoCRM's id, all that is known of them.
fn key(message: &HistoryMessage) -> String {
    match &message.message_ref_id {
        Some(id) => id.to_string(),
        None => serde_json::to_string(message).expect("a message has text keys and finite numbers only"),
    }
}
