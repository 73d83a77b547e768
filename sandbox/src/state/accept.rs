//! A message from the channel finds its chat, its people and its lead.

use super::{Attachment, Author, Client, Content, Delivery, Lead, Line, Message, Party, State};
use crate::api::Fault;
use amochats::{
    ConversationId, ConversationRefId, MessageId, MessageRefId, NewMessage, QuotedMessage, Sender, UserRefId,
};
use axum::http::StatusCode;
use serde_json::{Value, json};

/// Where a message from the channel went; all ids are amoCRM's.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) message: MessageRefId,
    pub(crate) conversation: ConversationRefId,
    pub(crate) receiver: Option<UserRefId>,
}

pub(super) fn refused(error_type: &'static str, description: impl Into<String>) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, error_type, description)
}

impl State {
    /// The message that was taken with this `msgid`, if there was one.
    pub(crate) fn taken(&self, line: &Line, own: &MessageId) -> Option<&Message> {
        self.message(self.scope(line)?.messages.get(own)?)
    }

    /// Takes a message of a connected account. Nothing is changed where it is refused.
    pub(crate) fn accept(
        &mut self,
        line: &Line,
        message: &NewMessage,
        mut details: Option<Value>,
        now_msec: i64,
    ) -> Result<Accepted, Fault> {
        let author = self.author(line, message)?;
        let known_chat =
            self.find_chat(line, &message.conversation_id, message.conversation_ref_id.as_ref())?;
        let client = message.receiver.as_ref().unwrap_or(&message.sender);
        let client_ref = self.known_client(line, client)?;
        self.fill_in(line, known_chat.as_ref(), message, &mut details)?;

        // Nothing fails from here on.
        let client_ref = client_ref.unwrap_or_else(|| self.ids.uuid().into());
        let scope = self.scope_mut(line);
        scope.participants.insert(client.user_id.clone(), client_ref.clone());
        scope.clients.entry(client_ref.clone()).or_default();
        let chat_id = known_chat.unwrap_or_else(|| {
            let contact = contact(client, &client_ref);
            self.add_chat(line, Some(message.conversation_id.clone()), contact)
        });
        self.pair(line, &chat_id, message, client, &client_ref);
        let incoming = message.receiver.is_none();
        let author = author.unwrap_or_else(|| Author {
            party: Party::Client,
            user_ref_id: client_ref.clone(),
            name: message.sender.name.clone(),
        });
        let accepted = Accepted {
            message: self.ids.uuid().into(),
            conversation: chat_id.clone(),
            receiver: (!incoming).then_some(client_ref),
        };
        self.scope_mut(line).messages.insert(message.message_id.clone(), accepted.message.clone());
        self.contact_of(&chat_id);
        if incoming {
            self.client_wrote(&chat_id, message.silent, now_msec);
        }
        self.add_message(Message {
            message_ref_id: accepted.message.clone(),
            message_id: Some(message.message_id.clone()),
            conversation_ref_id: chat_id,
            author,
            content: content_of(&message.content, details),
            sent_at_msec: message.sent_at_msec,
            delivery: Delivery::Sent,
            edited: false,
            reactions: Vec::new(),
            hook: None,
        });
        Ok(accepted)
    }

    /// Who wrote an outgoing message; none where the client wrote.
    fn author(&self, line: &Line, message: &NewMessage) -> Result<Option<Author>, Fault> {
        let Some(id) = &message.sender.user_ref_id else { return Ok(None) };
        let party = if self.channel(&line.channel_id).is_some_and(|channel| channel.bot_ref_id == *id) {
            Some(Party::Bot)
        } else if self.account(&line.account_id).is_some_and(|account| account.user(id).is_some()) {
            Some(Party::Manager)
        } else {
            None
        };
        match (party, message.receiver.is_some()) {
            (Some(party), true) => {
                Ok(Some(Author { party, user_ref_id: id.clone(), name: message.sender.name.clone() }))
            }
            (Some(_), false) => Err(refused(
                "receiver_missing",
                "payload.receiver: is required where payload.sender.ref_id is a CRM user or the channel's bot",
            )),
            (None, true) => Err(user_not_found()),
            (None, false) => Ok(None),
        }
    }

    pub(super) fn find_chat(
        &self,
        line: &Line,
        id: &ConversationId,
        ref_id: Option<&ConversationRefId>,
    ) -> Result<Option<ConversationRefId>, Fault> {
        let by_own_id = self.chat_by_own_id(line, id);
        let Some(wanted) = ref_id else { return Ok(by_own_id.cloned()) };
        if self.chat_on(line, wanted).is_none() {
            return Err(refused(
                "conversation_not_found",
                "payload.conversation_ref_id: there is no such chat; it is the conversation.id of a webhook",
            ));
        }
        if by_own_id.is_some_and(|bound| bound != wanted) {
            return Err(refused(
                "conversation_taken",
                "payload.conversation_id: belongs to another chat than payload.conversation_ref_id",
            ));
        }
        Ok(Some(wanted.clone()))
    }

    pub(super) fn chat_by_own_id(&self, line: &Line, id: &ConversationId) -> Option<&ConversationRefId> {
        self.scope(line)?.conversations.get(id)
    }

    /// The amojo id of a client who was seen before, by either id.
    fn known_client(&self, line: &Line, client: &Sender) -> Result<Option<UserRefId>, Fault> {
        let scope = self.scope(line);
        let by_own_id = scope.and_then(|scope| scope.participants.get(&client.user_id));
        let Some(wanted) = &client.user_ref_id else { return Ok(by_own_id.cloned()) };
        // An outgoing message's sender was looked at before: here it is always the client.
        let known = scope.is_some_and(|scope| scope.clients.contains_key(wanted));
        if known { Ok(Some(wanted.clone())) } else { Err(user_not_found()) }
    }

    /// Fills in what a quote or a forward only names, as the service does.
    fn fill_in(
        &self,
        line: &Line,
        chat: Option<&ConversationRefId>,
        message: &NewMessage,
        details: &mut Option<Value>,
    ) -> Result<(), Fault> {
        let known = |quoted: &QuotedMessage| match quoted {
            QuotedMessage::ByRefId(id) => Some(self.message_on(line, id)),
            QuotedMessage::ById(own) => Some(self.taken(line, own)),
            QuotedMessage::Described(_) => None,
        };
        // Live clients describe a message besides naming it; then an unknown one can be shown, too.
        let described = |details: &Option<Value>, at: &str| {
            details.as_ref().and_then(|details| details.pointer(at)).is_some_and(|quoted| {
                ["type", "timestamp", "sender"].iter().all(|field| !quoted[*field].is_null())
            })
        };
        if let Some(found) = message.reply_to.as_ref().and_then(known) {
            let found = found.filter(|found| Some(&found.conversation_ref_id) == chat);
            if found.is_none() && !described(details, "/reply_to/message") {
                let rule =
                    "payload.reply_to.message: there is no such message in this chat; describe it instead";
                return Err(refused("quoted_not_found", rule));
            }
            if let (Some(found), Some(Value::Object(details))) = (found, details.as_mut()) {
                details.insert("reply_to".to_owned(), json!({ "message": embedded(found) }));
            }
        }
        if let Some(found) = message.forward.as_ref().map(|forward| &forward.message).and_then(known) {
            if found.is_none() && !described(details, "/forwards/messages/0") {
                let rule = "payload.forwards.messages[0]: there is no such message; describe it instead";
                return Err(refused("forwarded_not_found", rule));
            }
            if let (Some(found), Some(Value::Object(details))) = (found, details.as_mut()) {
                let forwards = json!({
                    "messages": [embedded(found)], "conversation_ref_id": found.conversation_ref_id,
                });
                details.insert("forwards".to_owned(), forwards);
            }
        }
        Ok(())
    }

    /// Keeps the integration's ids of chat and client, which a manager who wrote first did not know.
    fn pair(
        &mut self,
        line: &Line,
        id: &ConversationRefId,
        message: &NewMessage,
        client: &Sender,
        client_ref: &UserRefId,
    ) {
        self.scope_mut(line).conversations.insert(message.conversation_id.clone(), id.clone());
        let Some(chat) = self.chat_mut(id) else { return };
        chat.conversation_id = Some(message.conversation_id.clone());
        // The first source pins the chat for good.
        if chat.source_external_id.is_none() {
            chat.source_external_id.clone_from(&message.source_external_id);
        }
        if chat.client.user_ref_id == *client_ref {
            let fresh = contact(client, client_ref);
            chat.client = Client {
                phone: fresh.phone.or(chat.client.phone.take()),
                email: fresh.email.or(chat.client.email.take()),
                avatar: fresh.avatar.or(chat.client.avatar.take()),
                ..fresh
            };
        }
    }

    /// Something new from a client: unless it is silent, unread, and a lead if the chat has none.
    fn client_wrote(&mut self, id: &ConversationRefId, silent: bool, now_msec: i64) {
        let next = self.leads + 1;
        if silent {
            return;
        }
        let Some(chat) = self.chat_mut(id) else { return };
        chat.client_wrote_at_msec = Some(now_msec);
        chat.unread += 1;
        if chat.lead.is_none() {
            chat.lead = Some(Lead { id: next, created_at_msec: now_msec });
            self.leads = next;
        }
    }
}

/// A message inside another, as the page shows it.
fn embedded(message: &Message) -> Value {
    json!({
        "id": message.message_ref_id, "msgid": message.message_id, "type": message.content.kind,
        "text": message.content.text, "sender": { "name": message.author.name },
        "msec_timestamp": message.sent_at_msec,
    })
}

/// The words that two public clients saw at the vendor.
pub(super) fn user_not_found() -> Fault {
    refused(
        "user_not_found",
        "sender: user not found (payload.sender.ref_id must be a user's amojo id, the channel's bot id, or the \
         client's id from a webhook)",
    )
}

pub(super) fn contact(client: &Sender, user_ref_id: &UserRefId) -> Client {
    Client {
        user_ref_id: user_ref_id.clone(),
        user_id: Some(client.user_id.clone()),
        name: client.name.clone(),
        phone: client.phone.clone(),
        email: client.email.clone(),
        avatar: client.avatar.clone(),
    }
}

pub(super) fn content_of(sent: &amochats::Content, details: Option<Value>) -> Content {
    use amochats::Content as Sent;
    let (text, media) = match sent {
        Sent::Text { text } => (Some(text), None),
        Sent::Contact { text, .. } | Sent::Location { text, .. } => (text.as_ref(), None),
        Sent::File(media)
        | Sent::Video(media)
        | Sent::Picture(media)
        | Sent::Voice(media)
        | Sent::Audio(media)
        | Sent::Sticker { media, .. } => (media.text.as_ref(), Some(media)),
        _ => (None, None),
    };
    Content {
        kind: sent.type_name().into(),
        text: text.cloned().unwrap_or_default(),
        attachment: media.map(|media| Attachment {
            url: media.url.clone(),
            file_name: media.file_name.clone().unwrap_or_default(),
            file_size: media.file_size.unwrap_or(0),
        }),
        details,
        ..Content::default()
    }
}
