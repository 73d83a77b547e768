//! A message from the channel finds its chat, its people and its lead.

use super::{Account, Attachment, Author, Client, Content, Delivery, Lead, Message, Party, State};
use crate::api::Fault;
use amochats::{
    AccountId, ConversationId, ConversationRefId, MessageId, MessageRefId, NewMessage, Sender, UserRefId,
};
use axum::http::StatusCode;
use serde_json::Value;

/// Where a message from the channel went; all ids are amoCRM's.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) message: MessageRefId,
    pub(crate) conversation: ConversationRefId,
    pub(crate) sender: UserRefId,
    pub(crate) receiver: Option<UserRefId>,
}

pub(super) fn refused(error_type: &'static str, description: impl Into<String>) -> Fault {
    Fault::new(StatusCode::BAD_REQUEST, error_type, description)
}

impl State {
    /// The answer that the message with this `msgid` got, if there was one.
    pub(crate) fn receipt(&self, account_id: &AccountId, message: &MessageId) -> Option<&Value> {
        self.receipts.get(&(account_id.clone(), message.clone()))
    }

    pub(crate) fn keep_receipt(&mut self, account_id: &AccountId, message: &MessageId, answer: Value) {
        self.receipts.insert((account_id.clone(), message.clone()), answer);
    }

    /// Takes a message of a connected account. Nothing is changed where it is refused.
    pub(crate) fn accept(
        &mut self,
        account_id: &AccountId,
        message: &NewMessage,
        details: Option<Value>,
        now_msec: i64,
    ) -> Result<Accepted, Fault> {
        let account = self
            .account(account_id)
            .ok_or_else(|| refused("account_not_found", "account_id: the channel has no such account"))?;
        let author = self.author(account, message)?;
        let known_chat =
            self.find_chat(account_id, &message.conversation_id, message.conversation_ref_id.as_ref())?;
        let client = message.receiver.as_ref().unwrap_or(&message.sender);
        let client_ref = self.known_client(account_id, client)?;

        // Nothing fails from here on.
        let client_ref = client_ref.unwrap_or_else(|| self.ids.uuid().into());
        self.participants.insert((account_id.clone(), client.user_id.clone()), client_ref.clone());
        self.clients.insert((account_id.clone(), client_ref.clone()));
        let chat_id = known_chat.unwrap_or_else(|| {
            let contact = contact(client, &client_ref);
            self.add_chat(account_id, Some(message.conversation_id.clone()), contact)
        });
        self.pair(&chat_id, message, client, &client_ref);
        let incoming = message.receiver.is_none();
        let author = author.unwrap_or_else(|| Author {
            party: Party::Client,
            user_ref_id: client_ref.clone(),
            name: message.sender.name.clone(),
        });
        let accepted = Accepted {
            message: self.ids.uuid().into(),
            conversation: chat_id.clone(),
            sender: author.user_ref_id.clone(),
            receiver: (!incoming).then_some(client_ref),
        };
        if incoming && !message.silent {
            self.notify(&chat_id, now_msec);
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
    fn author(&self, account: &Account, message: &NewMessage) -> Result<Option<Author>, Fault> {
        let Some(id) = &message.sender.user_ref_id else { return Ok(None) };
        let party = if *id == self.channel.bot_ref_id {
            Some(Party::Bot)
        } else if account.managers.iter().any(|manager| manager.user_ref_id == *id) {
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
        account_id: &AccountId,
        id: &ConversationId,
        ref_id: Option<&ConversationRefId>,
    ) -> Result<Option<ConversationRefId>, Fault> {
        let by_own_id = self.by_conversation_id.get(&(account_id.clone(), id.clone()));
        let Some(wanted) = ref_id else { return Ok(by_own_id.cloned()) };
        if self.chat(wanted).is_none_or(|chat| chat.account_id != *account_id) {
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

    /// The amojo id of a client who was seen before, by either id.
    fn known_client(&self, account_id: &AccountId, client: &Sender) -> Result<Option<UserRefId>, Fault> {
        let by_own_id = self.participants.get(&(account_id.clone(), client.user_id.clone()));
        let Some(wanted) = &client.user_ref_id else { return Ok(by_own_id.cloned()) };
        // An outgoing message's sender was looked at before: here it is always the client.
        let known = self.clients.contains(&(account_id.clone(), wanted.clone()));
        if known { Ok(Some(wanted.clone())) } else { Err(user_not_found()) }
    }

    /// Keeps the integration's ids of chat and client, which a manager who wrote first did not know.
    fn pair(
        &mut self,
        id: &ConversationRefId,
        message: &NewMessage,
        client: &Sender,
        client_ref: &UserRefId,
    ) {
        let Some(chat) = self.chat_mut(id) else { return };
        let account_id = chat.account_id.clone();
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
        self.by_conversation_id.insert((account_id, message.conversation_id.clone()), id.clone());
    }

    /// Something new from a client: unread, and a lead if the chat has none.
    fn notify(&mut self, id: &ConversationRefId, now_msec: i64) {
        let next = self.leads + 1;
        let Some(chat) = self.chat_mut(id) else { return };
        chat.unread += 1;
        if chat.lead.is_none() {
            chat.lead = Some(Lead { id: next, created_at_msec: now_msec });
            self.leads = next;
        }
    }
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
    }
}
