//! What managers do, and the webhooks of it.

use crate::config::{Personality, web_address};
use crate::crm;
use crate::hooks::{self, Hook, HookOutcome};
use crate::sandbox::Inner;
use crate::state::{Chat, Content, Line, Message, State, User};
use amochats::{ConversationRefId, Error, ErrorKind, Markup, MessageRefId, Result, Template, UserRefId};
use std::sync::Arc;

/// The most attachments of one message.
const ATTACHMENTS_MAX: usize = 30;
/// The largest text, in bytes; the vendor's limit is not documented.
const TEXT_MAX: usize = 256 * 1024;

/// What a manager writes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Writing {
    /// Who writes; the account's first user if absent.
    pub user_ref_id: Option<UserRefId>,
    /// What is written: more than one where there are several attachments. The vendor makes a
    /// message, and a webhook, of each.
    pub contents: Vec<Content>,
    /// The message that is answered. Text to a comment becomes a comment under the same post.
    pub reply_to: Option<MessageRefId>,
    /// The message that is forwarded, of any chat of the same channel and account.
    pub forward: Option<MessageRefId>,
    /// The buttons or the list; in the last message.
    pub markup: Option<Markup>,
    /// The template it was made from; in the first message.
    pub template: Option<Template>,
}

impl Writing {
    /// Just this.
    pub fn of(content: Content) -> Self {
        Self { contents: vec![content], ..Self::default() }
    }
}

/// A manager's message that was written, and what became of its webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The chat; new where the manager wrote first.
    pub conversation_ref_id: ConversationRefId,
    /// The message.
    pub message_ref_id: MessageRefId,
    /// The webhook.
    pub hook: HookOutcome,
}

fn no_chat() -> Error {
    Error::invalid("conversation_ref_id", "there is no such chat")
}

fn message_of<'a>(
    state: &'a State,
    chat: &ConversationRefId,
    field: &str,
    id: &MessageRefId,
) -> Result<&'a Message> {
    let found = state.message(id).filter(|message| message.conversation_ref_id == *chat);
    found.ok_or_else(|| Error::invalid(field, "there is no such message in this chat"))
}

/// The user who acts: the one named, or the account's first.
fn user_of(state: &State, line: &Line, named: Option<&UserRefId>) -> Result<User> {
    let account = state.account(&line.account_id).ok_or_else(no_chat)?;
    let user = match named {
        Some(id) => account.user(id),
        None => account.users.first(),
    };
    user.cloned().ok_or_else(|| Error::invalid("user_ref_id", "there is no such user in this account"))
}

impl Inner {
    pub(crate) fn mark_read(&self, chat: &ConversationRefId) -> Result<()> {
        let changed = {
            let mut state = self.state();
            let line = state.chat(chat).ok_or_else(no_chat)?.line();
            let changed = state.mark_read(chat).then_some(line);
            if changed.is_some() {
                crm::chat_read(&mut state, chat, self);
            }
            changed
        };
        if let Some(line) = changed {
            self.chat_changed(&line, chat);
        }
        Ok(())
    }

    pub(crate) async fn answer(
        self: &Arc<Self>,
        chat: &ConversationRefId,
        content: Content,
        quoted: Option<&MessageRefId>,
    ) -> Result<Answered> {
        let writing = Writing { reply_to: quoted.cloned(), ..Writing::of(content) };
        Ok(self.write(chat, writing).await?.swap_remove(0))
    }

    pub(crate) async fn write(
        self: &Arc<Self>,
        chat: &ConversationRefId,
        writing: Writing,
    ) -> Result<Vec<Answered>> {
        self.check_writing(&writing)?;
        let (line, written) = self.put_down(chat, writing)?;
        for (message, _) in &written {
            self.message_changed(&line, chat, message);
        }
        // A task of its own: a page that goes away does not take the webhooks with it.
        let (inner, chat) = (self.clone(), chat.clone());
        let sending = self.tasks.spawn(async move {
            let mut answered = Vec::new();
            for (id, hook) in written {
                let outcome = match hook {
                    Some(hook) => hooks::deliver(&inner, hook).await,
                    None => HookOutcome::NotConnected,
                };
                inner.state().change_message(&id, |message| message.hook = Some(outcome.verdict()));
                inner.message_changed(&line, &chat, &id);
                answered.push(Answered {
                    conversation_ref_id: chat.clone(),
                    message_ref_id: id,
                    hook: outcome,
                });
            }
            answered
        });
        sending.await.map_err(|_| Error::new(ErrorKind::Closed, "the sandbox is stopping"))
    }

    /// What can be said of a manager's message without looking at the chat.
    fn check_writing(&self, writing: &Writing) -> Result<()> {
        if !(1..=ATTACHMENTS_MAX).contains(&writing.contents.len()) {
            return Err(Error::invalid("attachments", format!("must be 1 to {ATTACHMENTS_MAX}")));
        }
        for content in &writing.contents {
            let empty = content.text.trim().is_empty() && content.attachment.is_none();
            if empty && writing.forward.is_none() {
                return Err(Error::invalid("content", "must have a text or an attachment"));
            }
            if content.text.len() > TEXT_MAX {
                return Err(Error::invalid("content", format!("must be at most {TEXT_MAX} bytes")));
            }
            if let Some(attachment) = &content.attachment {
                web_address("content.attachment.url", &attachment.url)?;
            }
        }
        if let Some(markup) = &writing.markup {
            self.check_markup(markup)?;
        }
        Ok(())
    }

    fn check_markup(&self, markup: &Markup) -> Result<()> {
        let buttons: Vec<_> = markup.buttons.iter().flatten().collect();
        if buttons.iter().any(|button| button.text.trim().is_empty()) {
            return Err(Error::invalid("buttons", "each must have a text"));
        }
        if buttons.iter().any(|button| button.url.is_some()) && buttons.iter().any(|b| b.url.is_none()) {
            return Err(Error::invalid(
                "buttons",
                "a message has plain buttons or such with an address, not both",
            ));
        }
        let Some(list) = &markup.list_message else { return Ok(()) };
        if self.config.personality != Personality::Kommo {
            return Err(Error::invalid("list_message", "is known on Kommo alone"));
        }
        if !buttons.is_empty() {
            return Err(Error::invalid("list_message", "goes without buttons"));
        }
        let fits = |text: Option<&String>, most| text.is_none_or(|text| text.chars().count() <= most);
        let rows_fit = list
            .sections
            .iter()
            .all(|section| (1..=10).contains(&section.rows.len()) && fits(section.title.as_ref(), 24));
        let short = fits(list.header.as_ref(), 60)
            && fits(list.body.as_ref(), 1024)
            && fits(list.footer.as_ref(), 60);
        if !short || !rows_fit || !(1..=10).contains(&list.sections.len()) {
            return Err(Error::invalid(
                "list_message",
                "has a header and footer of up to 60 characters, a body of up to 1024, and 1 to 10 sections with a \
                 title of up to 24 and 1 to 10 rows each",
            ));
        }
        Ok(())
    }

    /// Writes the messages in the chat and makes their webhooks; none where the channel is not connected.
    fn put_down(
        &self,
        chat: &ConversationRefId,
        writing: Writing,
    ) -> Result<(Line, Vec<(MessageRefId, Option<Hook>)>)> {
        let now_msec = self.config.clock.now_msec();
        let switches = self.switches();
        let mut state = self.state();
        let seen = state.chat(chat).cloned().ok_or_else(no_chat)?;
        let line = seen.line();
        let by = user_of(&state, &line, writing.user_ref_id.as_ref())?.author();
        let quoted = match &writing.reply_to {
            Some(id) => Some(message_of(&state, chat, "reply_to", id)?.clone()),
            None => None,
        };
        let forwarded =
            match &writing.forward {
                Some(id) => {
                    let found = state.message_on(&line, id).cloned();
                    Some(found.ok_or_else(|| {
                        Error::invalid("forward", "there is no such message on this channel")
                    })?)
                }
                None => None,
            };
        if let Some(channel) = state.channel(&line.channel_id) {
            if (quoted.is_some() || forwarded.is_some()) && !channel.features.quoting {
                return Err(Error::invalid("reply_to", "the channel was registered without quoting"));
            }
            let window =
                channel.features.time_window_s.filter(|_| self.config.personality == Personality::Kommo);
            let free = state.connection(&line).is_some_and(|connection| connection.is_time_window_disabled);
            if let Some(window) = window.filter(|_| !free && writing.template.is_none()) {
                let since = now_msec.saturating_sub(seen.client_wrote_at_msec.unwrap_or(i64::MIN));
                if since.div_euclid(1000).unsigned_abs() >= window {
                    return Err(Error::invalid(
                        "template",
                        "the channel's time window is over: choose a template, or wait for the client",
                    ));
                }
            }
        }
        let weight = writing.contents.iter().map(|content| content.text.len() + 1024).sum();
        state.room_for(weight).map_err(|_| Error::invalid("content", "the sandbox is full: reset it"))?;

        let group = (writing.contents.len() > 1).then(|| state.new_id());
        let last = writing.contents.len() - 1;
        let mut written = Vec::new();
        for (i, mut content) in writing.contents.into_iter().enumerate() {
            content.media_group_id.clone_from(&group);
            if i == 0 {
                content.template.clone_from(&writing.template);
            }
            if i == last {
                content.markup.clone_from(&writing.markup);
            }
            if let Some(quoted) = &quoted {
                content.quote(quoted);
            }
            if let Some(forwarded) = &forwarded {
                content.forward(forwarded);
            }
            // One after the other, also for whoever orders by time.
            let at = now_msec + i64::try_from(i).unwrap_or(0);
            let message = state.answer(chat, by.clone(), content, at);
            let hook = self.message_hook(&state, &switches, &message, quoted.as_ref(), forwarded.as_ref());
            written.push((message.message_ref_id, hook));
        }
        Ok((line, written))
    }

    fn message_hook(
        &self,
        state: &State,
        switches: &crate::switches::Switches,
        message: &Message,
        quoted: Option<&Message>,
        forwarded: Option<&Message>,
    ) -> Option<Hook> {
        let chat = state.chat(&message.conversation_ref_id)?;
        let connection = state.connection(&chat.line())?;
        let forwarded =
            forwarded.and_then(|message| Some((state.chat(&message.conversation_ref_id)?, message)));
        let gen1 = self.config.personality == Personality::Gen1;
        let about = hooks::About {
            chat,
            connection,
            source: state.source_of(chat),
            empty_contacts: switches.hook_contacts == crate::switches::HookContacts::Empty,
            now_msec: self.config.clock.now_msec(),
        };
        Some(Hook::message(&about, message, quoted, forwarded, gen1))
    }

    pub(crate) async fn write_first(
        self: &Arc<Self>,
        line: &Line,
        phone: &str,
        writing: Writing,
    ) -> Result<Vec<Answered>> {
        if phone.trim().is_empty() || phone.len() > 100 {
            return Err(Error::invalid("phone", "must be 1 to 100 characters"));
        }
        if self.config.personality == Personality::Gen1 {
            return Err(Error::invalid("personality", "in the first generation only a client starts a chat"));
        }
        self.check_writing(&writing)?;
        let chat = {
            let mut state = self.state();
            let channel = state.channel(&line.channel_id);
            let channel = channel.ok_or_else(|| Error::invalid("channel_id", "there is no such channel"))?;
            if !channel.features.write_first {
                return Err(Error::invalid(
                    "channel_id",
                    "the channel was registered without \"write first\"",
                ));
            }
            if state.account(&line.account_id).is_none() {
                return Err(Error::invalid("account_id", "there is no such account"));
            }
            user_of(&state, line, writing.user_ref_id.as_ref())?;
            state.room_for(2048).map_err(|_| Error::invalid("content", "the sandbox is full: reset it"))?;
            state.open_chat(line, phone)
        };
        self.chat_changed(line, &chat);
        self.write(&chat, writing).await
    }

    pub(crate) async fn react(
        self: &Arc<Self>,
        chat: &ConversationRefId,
        message: &MessageRefId,
        emoji: Option<&str>,
        user: Option<&UserRefId>,
    ) -> Result<Option<HookOutcome>> {
        if emoji.is_some_and(|emoji| emoji.trim().is_empty() || emoji.len() > 100) {
            return Err(Error::invalid("emoji", "must not be empty, and at most 100 bytes"));
        }
        let (line, hook) = {
            let mut state = self.state();
            let seen = state.chat(chat).cloned().ok_or_else(no_chat)?;
            let line = seen.line();
            message_of(&state, chat, "message_ref_id", message)?;
            let user = user_of(&state, &line, user)?;
            if state.channel(&line.channel_id).is_some_and(|channel| !channel.features.reactions) {
                return Err(Error::invalid("emoji", "the channel was registered without reactions"));
            }
            state.change_message(message, |message| {
                message.set_reaction(user.author(), emoji.map(str::to_owned))
            });
            let hook = self
                .about(&state, &seen)
                .and_then(|about| Hook::reaction(&about, message, &user.user_ref_id, emoji));
            (line, hook)
        };
        self.message_changed(&line, chat, message);
        self.send(hook).await
    }

    pub(crate) async fn typing(
        self: &Arc<Self>,
        chat: &ConversationRefId,
        user: Option<&UserRefId>,
        post_id: Option<&str>,
    ) -> Result<Option<HookOutcome>> {
        let hook = {
            let mut state = self.state();
            let seen = state.chat(chat).cloned().ok_or_else(no_chat)?;
            let user = user_of(&state, &seen.line(), user)?;
            let wanted = state.channel(&seen.channel_id).is_some_and(|channel| channel.features.typing);
            let hook = self
                .about(&state, &seen)
                .filter(|_| wanted)
                .and_then(|about| Hook::typing(&about, &user.user_ref_id, post_id));
            let now_msec = self.config.clock.now_msec();
            hook.filter(|_| state.typing_due(&seen, &user.user_ref_id, now_msec))
        };
        self.send(hook).await
    }

    fn about<'a>(&self, state: &'a State, chat: &'a Chat) -> Option<hooks::About<'a>> {
        Some(hooks::About {
            chat,
            connection: state.connection(&chat.line())?,
            source: state.source_of(chat),
            empty_contacts: false,
            now_msec: self.config.clock.now_msec(),
        })
    }

    async fn send(self: &Arc<Self>, hook: Option<Hook>) -> Result<Option<HookOutcome>> {
        let Some(hook) = hook else { return Ok(None) };
        let inner = self.clone();
        let sending = self.tasks.spawn(async move { hooks::deliver(&inner, hook).await });
        sending.await.map(Some).map_err(|_| Error::new(ErrorKind::Closed, "the sandbox is stopping"))
    }
}
