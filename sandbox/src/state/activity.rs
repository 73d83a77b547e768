//! What happens to chats and messages that exist: edits, typing, reactions.

use super::accept::{contact, content_of, refused, user_not_found};
use super::{Author, Chat, Client, Content, Delivery, Message, Party, Reaction, State};
use crate::api::Fault;
use amochats::{
    AccountId, ConversationRefId, CreateChat, EditMessage, MessageId, MessageRefId, ReactionKind, Typing,
};
use axum::http::StatusCode;
use serde_json::Value;

fn no_such_message() -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "no_such_message", "there is no message of this id in this chat")
}

impl Message {
    /// Takes a report of its delivery; only a message to the client has one.
    pub(crate) fn report(&mut self, reported: Delivery) {
        // Calls may overtake each other: what was read stays read.
        if !(self.delivery == Delivery::Read && reported == Delivery::Delivered) {
            self.delivery = reported;
        }
    }

    /// Of one person at most one reaction stays; how several combine is not documented.
    pub(crate) fn set_reaction(&mut self, by: Author, emoji: Option<String>) {
        self.reactions.retain(|known| known.author.user_ref_id != by.user_ref_id);
        if let Some(emoji) = emoji {
            self.reactions.push(Reaction { author: by, emoji });
        }
    }
}

impl State {
    /// The chat and client of these ids, made where they are new; neither a contact nor a lead.
    pub(crate) fn create_chat(
        &mut self,
        account_id: &AccountId,
        new: &CreateChat,
    ) -> (ConversationRefId, Client) {
        let own = (account_id.clone(), new.user.user_id.clone());
        let user_ref = self.participants.get(&own).cloned().unwrap_or_else(|| self.ids.uuid().into());
        let known = self
            .chats
            .iter()
            .find(|chat| chat.account_id == *account_id && chat.client.user_ref_id == user_ref);
        let client = known.map_or_else(|| contact(&new.user, &user_ref), |chat| chat.client.clone());
        self.participants.insert(own, user_ref.clone());
        self.clients.insert((account_id.clone(), user_ref));
        let chat = self.by_conversation_id.get(&(account_id.clone(), new.conversation_id.clone())).cloned();
        let id = chat
            .unwrap_or_else(|| self.add_chat(account_id, Some(new.conversation_id.clone()), client.clone()));
        if let Some(chat) = self.chat_mut(&id)
            && chat.source_external_id.is_none()
        {
            chat.source_external_id.clone_from(&new.source_external_id);
        }
        (id, client)
    }

    /// The chat in which a client is typing.
    pub(crate) fn typing_client(
        &self,
        account_id: &AccountId,
        typing: &Typing,
    ) -> Result<ConversationRefId, Fault> {
        let chat = self
            .by_conversation_id
            .get(&(account_id.clone(), typing.conversation_id.clone()))
            .ok_or_else(|| refused("conversation_not_found", "conversation_id: there is no such chat"))?;
        if !self.participants.contains_key(&(account_id.clone(), typing.user_id.clone())) {
            return Err(refused("user_not_found", "sender.id: there is no such participant"));
        }
        Ok(chat.clone())
    }

    /// Changes a message. Nothing is changed where it is refused.
    pub(crate) fn edit(
        &mut self,
        account_id: &AccountId,
        edit: &EditMessage,
        details: Option<Value>,
        reported: Option<Delivery>,
    ) -> Result<Message, Fault> {
        let chat = self
            .find_chat(account_id, &edit.conversation_id, edit.conversation_ref_id.as_ref())?
            .ok_or_else(|| {
                refused("conversation_not_found", "payload.conversation_id: there is no such chat")
            })?;
        let by_own_id = |id: &MessageId| {
            self.messages(&chat).iter().find(|message| message.message_id.as_ref() == Some(id))
        };
        let found = match (&edit.message_ref_id, &edit.message_id) {
            (Some(id), _) => self.messages(&chat).iter().find(|message| message.message_ref_id == *id),
            (None, Some(id)) => by_own_id(id),
            (None, None) => None,
        };
        // 404 is not documented for this call.
        let message = found
            .ok_or_else(|| refused("message_not_found", "payload: there is no such message in this chat"))?;
        let id = message.message_ref_id.clone();
        if let Some(own) = &edit.message_id
            && (by_own_id(own).is_some_and(|other| other.message_ref_id != id)
                || (message.message_id.as_ref() != Some(own) && self.receipt(account_id, own).is_some()))
        {
            return Err(refused("duplicate_msgid", "payload.msgid: belongs to another message"));
        }
        if reported.is_some() && message.author.party == Party::Client {
            return Err(refused(
                "not_outgoing",
                "payload.message.delivery_status: only a message to the client has one, this one is from the client",
            ));
        }
        self.change_message(&id, |message| {
            let fresh = content_of(&edit.content, details);
            let kept = message.content.attachment.take();
            let old_details = message.content.details.take();
            message.content = Content {
                attachment: match fresh.attachment {
                    Some(attachment) if attachment.url.is_empty() => kept,
                    other => other,
                },
                details: with_kept(fresh.details, old_details),
                ..fresh
            };
            message.edited = true;
            if let Some(own) = &edit.message_id {
                message.message_id = Some(own.clone());
            }
            if let Some(reported) = reported {
                message.report(reported);
            }
        });
        Ok(self.message(account_id, &id).cloned().expect("it was found above"))
    }

    /// A reaction from the channel's side comes or goes.
    pub(crate) fn react(
        &mut self,
        account_id: &AccountId,
        reaction: &amochats::Reaction,
    ) -> Result<(ConversationRefId, MessageRefId), Fault> {
        let own = reaction
            .conversation_id
            .clone()
            .and_then(|id| self.by_conversation_id.get(&(account_id.clone(), id)).cloned());
        let chat = match (&reaction.conversation_ref_id, own, &reaction.conversation_id) {
            (Some(id), Some(own), _) if *id != own => None,
            (Some(_), None, Some(_)) => None,
            (Some(id), ..) => self.chat(id).filter(|chat| chat.account_id == *account_id),
            (None, own, _) => own.and_then(|id| self.chat(&id)),
        };
        let chat = chat.ok_or_else(no_such_message)?;
        let message = self.messages(&chat.conversation_ref_id).iter().find(|message| {
            reaction.message_ref_id.as_ref().is_none_or(|id| message.message_ref_id == *id)
                && reaction.message_id.as_ref().is_none_or(|id| message.message_id.as_ref() == Some(id))
        });
        let message_ref_id = message.ok_or_else(no_such_message)?.message_ref_id.clone();
        let chat_id = chat.conversation_ref_id.clone();
        let by = self.reacting(account_id, chat, reaction)?;
        let emoji = match reaction.kind {
            ReactionKind::React => Some(reaction.emoji.clone().unwrap_or_default()),
            ReactionKind::Unreact => None,
        };
        self.change_message(&message_ref_id, |message| message.set_reaction(by, emoji));
        Ok((chat_id, message_ref_id))
    }

    /// Who reacts: a CRM user by amoCRM's id, else the client by either id.
    fn reacting(
        &self,
        account_id: &AccountId,
        chat: &Chat,
        reaction: &amochats::Reaction,
    ) -> Result<Author, Fault> {
        let managers = self.account(account_id).map_or(&[][..], |account| &account.managers);
        if let Some(manager) =
            managers.iter().find(|manager| Some(&manager.user_ref_id) == reaction.user_ref_id.as_ref())
        {
            return Ok(Author {
                party: Party::Manager,
                user_ref_id: manager.user_ref_id.clone(),
                name: manager.name.clone(),
            });
        }
        let by_own_id =
            reaction.user_id.clone().and_then(|id| self.participants.get(&(account_id.clone(), id)).cloned());
        let user_ref_id = match &reaction.user_ref_id {
            Some(id) if self.clients.contains(&(account_id.clone(), id.clone())) => Some(id.clone()),
            Some(_) => None,
            None => by_own_id,
        };
        Ok(Author {
            party: Party::Client,
            user_ref_id: user_ref_id.ok_or_else(user_not_found)?,
            name: chat.client.name.clone(),
        })
    }
}

/// What an edit does not speak of stays: the quote, the forward, the post.
fn with_kept(fresh: Option<Value>, old: Option<Value>) -> Option<Value> {
    let mut details = match fresh {
        Some(Value::Object(details)) => details,
        _ => serde_json::Map::new(),
    };
    if let Some(Value::Object(old)) = old {
        details.extend(
            old.into_iter()
                .filter(|(name, _)| matches!(&**name, "reply_to" | "forwards" | "post" | "shared_post")),
        );
    }
    (!details.is_empty()).then_some(Value::Object(details))
}
