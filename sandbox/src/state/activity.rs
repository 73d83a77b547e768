//! What happens to chats and messages that exist: edits, typing, reactions.

use super::accept::{contact, content_of, refused, user_not_found};
use super::{Author, Chat, Client, Content, Delivery, Line, Message, Party, Reaction, State};
use crate::api::Fault;
use crate::switches::Transitions;
use amochats::{ConversationRefId, CreateChat, EditMessage, MessageRefId, ReactionKind, Typing, UserRefId};
use axum::http::StatusCode;
use serde_json::Value;

fn no_such_message() -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "no_such_message", "there is no message of this id in this chat")
}

impl Message {
    /// Takes a report of its delivery; only a message to the client has one.
    pub(crate) fn report(&mut self, reported: Delivery, transitions: Transitions) {
        // Calls may overtake each other: what was read stays read.
        let backwards = self.delivery == Delivery::Read && reported == Delivery::Delivered;
        if !backwards || transitions == Transitions::Any {
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
    pub(crate) fn create_chat(&mut self, line: &Line, new: &CreateChat) -> (ConversationRefId, Client) {
        let known = self.scope(line).and_then(|scope| scope.participants.get(&new.user.user_id)).cloned();
        let known_client = known.as_ref().and_then(|user| self.client_in(line, user));
        let user_ref = known.unwrap_or_else(|| self.ids.uuid().into());
        let scope = self.scope_mut(line);
        scope.participants.insert(new.user.user_id.clone(), user_ref.clone());
        scope.clients.entry(user_ref.clone()).or_default();
        let chat = scope.conversations.get(&new.conversation_id).cloned();
        let client = known_client.unwrap_or_else(|| contact(&new.user, &user_ref));
        let id =
            chat.unwrap_or_else(|| self.add_chat(line, Some(new.conversation_id.clone()), client.clone()));
        if let Some(chat) = self.chat_mut(&id)
            && chat.source_external_id.is_none()
        {
            chat.source_external_id.clone_from(&new.source_external_id);
        }
        (id, client)
    }

    /// How the client looks in a chat of this line that exists.
    fn client_in(&self, line: &Line, user: &UserRefId) -> Option<Client> {
        let chats = self.rooms.iter().map(|room| &room.chat);
        let on_line = |chat: &&Chat| chat.account_id == line.account_id && chat.channel_id == line.channel_id;
        chats.filter(on_line).find(|chat| chat.client.user_ref_id == *user).map(|chat| chat.client.clone())
    }

    /// The chat in which a client is typing.
    pub(crate) fn typing_client(&self, line: &Line, typing: &Typing) -> Result<ConversationRefId, Fault> {
        let chat = self
            .chat_by_own_id(line, &typing.conversation_id)
            .ok_or_else(|| refused("conversation_not_found", "conversation_id: there is no such chat"))?;
        if self.scope(line).is_none_or(|scope| !scope.participants.contains_key(&typing.user_id)) {
            return Err(refused("user_not_found", "sender.id: there is no such participant"));
        }
        Ok(chat.clone())
    }

    /// Changes a message. Nothing is changed where it is refused.
    pub(crate) fn edit(
        &mut self,
        line: &Line,
        edit: &EditMessage,
        details: Option<Value>,
        reported: Option<Delivery>,
        transitions: Transitions,
    ) -> Result<Message, Fault> {
        let chat =
            self.find_chat(line, &edit.conversation_id, edit.conversation_ref_id.as_ref())?.ok_or_else(
                || refused("conversation_not_found", "payload.conversation_id: there is no such chat"),
            )?;
        let by_own_id = edit.message_id.as_ref().and_then(|own| self.taken(line, own));
        let found = match &edit.message_ref_id {
            Some(id) => self.message(id),
            None => by_own_id,
        };
        // 404 is not documented for this call.
        let message = found
            .filter(|message| message.conversation_ref_id == chat)
            .ok_or_else(|| refused("message_not_found", "payload: there is no such message in this chat"))?;
        let id = message.message_ref_id.clone();
        if by_own_id.is_some_and(|other| other.message_ref_id != id) {
            return Err(refused("duplicate_msgid", "payload.msgid: belongs to another message"));
        }
        if reported.is_some() && message.author.party == Party::Client {
            return Err(refused(
                "not_outgoing",
                "payload.message.delivery_status: only a message to the client has one, this one is from the client",
            ));
        }
        if let Some(own) = &edit.message_id {
            self.scope_mut(line).messages.insert(own.clone(), id.clone());
        }
        self.change_message(&id, |message| {
            let fresh = content_of(&edit.content, details);
            let old = std::mem::take(&mut message.content);
            message.content = Content {
                attachment: match fresh.attachment {
                    Some(attachment) if attachment.url.is_empty() => old.attachment,
                    other => other,
                },
                details: with_kept(fresh.details, old.details),
                markup: old.markup,
                template: old.template,
                media_group_id: old.media_group_id,
                ..fresh
            };
            message.edited = true;
            if let Some(own) = &edit.message_id {
                message.message_id = Some(own.clone());
            }
            if let Some(reported) = reported {
                message.report(reported, transitions);
            }
        });
        Ok(self.message(&id).cloned().expect("it was found above"))
    }

    /// A reaction from the channel's side comes or goes.
    pub(crate) fn react(
        &mut self,
        line: &Line,
        reaction: &amochats::Reaction,
    ) -> Result<(ConversationRefId, MessageRefId), Fault> {
        let own = reaction.conversation_id.as_ref().map(|id| self.chat_by_own_id(line, id).cloned());
        let chat = match (&reaction.conversation_ref_id, own) {
            (Some(id), Some(own)) if own.as_ref() != Some(id) => None,
            (Some(id), _) => self.chat_on(line, id),
            (None, own) => own.flatten().and_then(|id| self.chat(&id)),
        };
        let chat = chat.ok_or_else(no_such_message)?;
        let found = match (&reaction.message_ref_id, &reaction.message_id) {
            (Some(id), _) => self.message(id),
            (None, Some(own)) => self.taken(line, own),
            (None, None) => None,
        };
        let found = found.filter(|message| {
            message.conversation_ref_id == chat.conversation_ref_id
                && reaction.message_id.as_ref().is_none_or(|id| message.message_id.as_ref() == Some(id))
        });
        let message_ref_id = found.ok_or_else(no_such_message)?.message_ref_id.clone();
        let chat_id = chat.conversation_ref_id.clone();
        let by = self.reacting(line, chat, reaction)?;
        let emoji = match reaction.kind {
            ReactionKind::React => Some(reaction.emoji.clone().unwrap_or_default()),
            ReactionKind::Unreact => None,
        };
        self.change_message(&message_ref_id, |message| message.set_reaction(by, emoji));
        Ok((chat_id, message_ref_id))
    }

    /// Who reacts: a CRM user by amoCRM's id, else the client by either id.
    fn reacting(&self, line: &Line, chat: &Chat, reaction: &amochats::Reaction) -> Result<Author, Fault> {
        let user = reaction.user_ref_id.as_ref().and_then(|id| self.account(&line.account_id)?.user(id));
        if let Some(user) = user {
            return Ok(user.author());
        }
        let scope = self.scope(line).ok_or_else(user_not_found)?;
        let user_ref_id = match &reaction.user_ref_id {
            Some(id) => Some(id).filter(|id| scope.clients.contains_key(*id)),
            None => reaction.user_id.as_ref().and_then(|id| scope.participants.get(id)),
        };
        Ok(Author {
            party: Party::Client,
            user_ref_id: user_ref_id.cloned().ok_or_else(user_not_found)?,
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
