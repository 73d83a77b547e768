//! What managers do: write, write first, see, type.

use super::{Author, Chat, Client, Content, Delivery, Line, Message, Party, State, User};
use amochats::{ConversationRefId, UserRefId};

/// How many pairs of chat and user are remembered as typing.
const TYPING_MAX: usize = 10_000;
/// How often a manager's typing is told, in milliseconds.
const TYPING_EVERY: i64 = 5000;

impl User {
    pub(crate) fn author(&self) -> Author {
        Author { party: Party::Manager, user_ref_id: self.user_ref_id.clone(), name: self.name.clone() }
    }
}

impl State {
    /// A manager writes in a chat.
    pub(crate) fn answer(
        &mut self,
        chat: &ConversationRefId,
        by: Author,
        content: Content,
        now_msec: i64,
    ) -> Message {
        let message = Message {
            message_ref_id: self.ids.uuid().into(),
            message_id: None,
            conversation_ref_id: chat.clone(),
            author: by,
            content,
            sent_at_msec: now_msec,
            delivery: Delivery::Sent,
            edited: false,
            reactions: Vec::new(),
            hook: None,
        };
        self.mark_read(chat);
        self.add_message(message.clone());
        message
    }

    /// An id for what has none yet.
    pub(crate) fn new_id(&mut self) -> String {
        self.ids.uuid()
    }

    /// A manager writes first: a chat of which the integration knows nothing yet.
    pub(crate) fn open_chat(&mut self, line: &Line, phone: &str) -> ConversationRefId {
        let client = Client {
            user_ref_id: self.ids.uuid().into(),
            user_id: None,
            name: phone.to_owned(),
            phone: Some(phone.to_owned()),
            email: None,
            avatar: None,
        };
        let id = self.add_chat(line, None, client);
        self.contact_of(&id);
        id
    }

    /// A manager saw the chat; whether anything was new.
    pub(crate) fn mark_read(&mut self, id: &ConversationRefId) -> bool {
        // An unchanged chat is not copied for a snapshot that is being written.
        self.chat(id).is_some_and(|chat| chat.unread > 0)
            && self.chat_mut(id).is_some_and(|chat| std::mem::take(&mut chat.unread) > 0)
    }

    /// Whether a typing webhook is due: at most one in 5 s per chat and user.
    pub(crate) fn typing_due(&mut self, chat: &Chat, user: &UserRefId, now_msec: i64) -> bool {
        let fresh = |last: &i64| (0..TYPING_EVERY).contains(&(now_msec - last));
        let key = (chat.conversation_ref_id.clone(), user.clone());
        if self.typing_shown.get(&key).is_some_and(fresh) {
            return false;
        }
        if self.typing_shown.len() >= TYPING_MAX {
            self.typing_shown.retain(|_, last| fresh(last));
        }
        self.typing_shown.insert(key, now_msec);
        true
    }
}
