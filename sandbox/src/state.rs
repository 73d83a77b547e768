//! The account's side of the chats: who is connected, which chats there are, what was said.

mod accept;
mod activity;
mod saved;

pub(crate) use saved::Saved;

use crate::config::SandboxConfig;
use crate::crm::Crm;
use amochats::{
    AccountId, ChannelId, ConversationId, ConversationRefId, HookVersion, MessageId, MessageRefId, ScopeId,
    UserId, UserRefId,
};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{HashMap, HashSet};

/// An account that the channel may connect to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Account {
    /// The account's amojo id.
    pub account_id: AccountId,
    /// The channel connected to it; the same before and after a connection.
    pub scope_id: ScopeId,
    /// The connection, if there is one.
    pub connection: Option<Connection>,
    /// Who can answer.
    pub managers: Vec<Manager>,
}

/// How the channel is connected to an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Connection {
    /// The channel's name in this account.
    pub title: String,
    /// The form of webhooks; v1 where the connection did not name one.
    pub hook_version: HookVersion,
    /// Whether the channel's time window is off.
    pub is_time_window_disabled: bool,
}

/// A user of the CRM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Manager {
    /// The user's amojo id.
    pub user_ref_id: UserRefId,
    /// The name shown.
    pub name: String,
}

/// A chat of an account with one contact.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chat {
    /// amoCRM's id.
    pub conversation_ref_id: ConversationRefId,
    /// The integration's id; none until the client answers a manager who wrote first.
    pub conversation_id: Option<ConversationId>,
    /// The account it belongs to.
    pub account_id: AccountId,
    /// The contact.
    pub client: Client,
    /// The lead, made by the first incoming message that was not silent.
    pub lead: Option<Lead>,
    /// The source given with a message; it pins the chat for good.
    pub source_external_id: Option<String>,
    /// Messages from the client that no manager has seen.
    pub unread: u32,
    /// What was said last.
    pub last_message: Option<Message>,
}

/// The contact of a chat.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Client {
    /// amoCRM's id.
    pub user_ref_id: UserRefId,
    /// The integration's id; none until the client answers a manager who wrote first.
    pub user_id: Option<UserId>,
    /// The name; a phone where it is not known.
    pub name: String,
    /// The phone, if known.
    pub phone: Option<String>,
    /// The e-mail address, if known.
    pub email: Option<String>,
    /// The address of a picture.
    pub avatar: Option<String>,
}

/// An incoming ("unsorted") lead.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Lead {
    /// Counts the leads of the sandbox from 1.
    pub id: u64,
    /// When it came, in Unix milliseconds.
    pub created_at_msec: i64,
}

/// A message of a chat.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Message {
    /// amoCRM's id.
    pub message_ref_id: MessageRefId,
    /// The integration's id; none for messages written in the CRM.
    pub message_id: Option<MessageId>,
    /// The chat.
    pub conversation_ref_id: ConversationRefId,
    /// Who wrote it.
    pub author: Author,
    /// What was written.
    pub content: Content,
    /// When it was written, in Unix milliseconds.
    pub sent_at_msec: i64,
    /// How far it came; of a client's message always `sent`.
    pub delivery: Delivery,
    /// Whether the channel changed it.
    pub edited: bool,
    /// The reactions to it, one of each person at most.
    pub reactions: Vec<Reaction>,
    /// What became of its webhook, as a word and a sentence; none while it is on its way, and for
    /// messages that have none.
    pub hook: Option<crate::journal::Verdict>,
}

/// A reaction to a message.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Reaction {
    /// Who reacted.
    pub author: Author,
    /// The emoji; empty where the channel named none.
    pub emoji: String,
}

/// Who wrote a message or reacted to it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct Author {
    /// Which side.
    pub party: Party,
    /// amoCRM's id.
    pub user_ref_id: UserRefId,
    /// The name shown.
    pub name: String,
}

/// The sides of a chat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The client.
    Client,
    /// A user of the CRM.
    Manager,
    /// The channel's bot.
    Bot,
}

/// What a message says, in the fields that webhooks have.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Content {
    /// One of the vendor's types, such as `text` or `picture`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The text or caption.
    pub text: String,
    /// The attachment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attachment: Option<Attachment>,
    /// Everything else that the channel sent about it (`location`, `contact`, `post`, …).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// A file of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Attachment {
    /// Where it can be fetched.
    pub url: String,
    /// Its name, or empty.
    pub file_name: String,
    /// Its size in bytes, or 0.
    pub file_size: u64,
}

impl Content {
    /// Text alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self { kind: "text".into(), text: text.into(), ..Self::default() }
    }

    /// A picture at a public address.
    pub fn picture(url: impl Into<String>) -> Self {
        Self::attached("picture", Attachment { url: url.into(), ..Attachment::default() })
    }

    /// A file at a public address.
    pub fn file(url: impl Into<String>, file_name: impl Into<String>, file_size: u64) -> Self {
        Self::attached("file", Attachment { url: url.into(), file_name: file_name.into(), file_size })
    }

    /// The post under which it is a comment, by the integration's id.
    pub(crate) fn post_id(&self) -> Option<&str> {
        self.details.as_ref()?.pointer("/post/id")?.as_str()
    }

    /// Makes it an answer to another message; text to a comment becomes a comment, too.
    pub(crate) fn quote(&mut self, quoted: &Message) {
        let mut details = serde_json::json!({ "reply_to": { "message": { "id": quoted.message_ref_id } } });
        if self.attachment.is_none()
            && let Some(id) = quoted.content.post_id()
        {
            details["post"] = serde_json::json!({ "id": id });
        }
        self.details = Some(details);
    }

    fn attached(kind: &str, attachment: Attachment) -> Self {
        Self { kind: kind.into(), attachment: Some(attachment), ..Self::default() }
    }
}

/// How far a message from the CRM came.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Delivery {
    /// Nothing was reported yet.
    Sent,
    /// It reached the client.
    Delivered,
    /// The client read it.
    Read,
    /// It could not be delivered.
    Error {
        /// The code, 901 to 905.
        code: u16,
        /// The words for the manager.
        text: String,
    },
}

/// The channel as it was registered.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Channel {
    #[serde(rename = "channel_id")]
    pub(crate) id: ChannelId,
    pub(crate) secret: String,
    pub(crate) code: String,
    // The configuration's.
    #[serde(skip)]
    pub(crate) title: String,
    pub(crate) bot_ref_id: UserRefId,
}

/// All that the sandbox knows.
pub(crate) struct State {
    pub(crate) channel: Channel,
    pub(crate) accounts: Vec<Account>,
    pub(crate) webhook_url: Option<String>,
    chats: Vec<Chat>,
    chat_index: HashMap<ConversationRefId, usize>,
    clients: HashSet<(AccountId, UserRefId)>,
    messages: HashMap<ConversationRefId, Vec<Message>>,
    message_chats: HashMap<MessageRefId, ConversationRefId>,
    by_conversation_id: HashMap<(AccountId, ConversationId), ConversationRefId>,
    participants: HashMap<(AccountId, UserId), UserRefId>,
    receipts: HashMap<(AccountId, MessageId), Value>,
    typing_shown: HashMap<(ConversationRefId, UserRefId), i64>,
    leads: u64,
    pub(crate) crm: Crm,
    ids: Ids,
}

/// Draws ids; with a seed always the same ones.
pub(crate) struct Ids(StdRng);

impl Ids {
    /// Another row of ids than the state's own, so that the one does not move the other on.
    pub(crate) fn beside(seed: Option<u64>) -> Self {
        seed.map_or_else(Self::random, |seed| Self(StdRng::seed_from_u64(seed ^ 0xC4_31)))
    }

    pub(crate) fn random() -> Self {
        Self(StdRng::from_os_rng())
    }

    pub(crate) fn uuid(&mut self) -> String {
        let mut bytes = [0; 16];
        self.0.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }

    pub(crate) fn secret(&mut self) -> String {
        let mut half = || self.0.next_u64();
        format!("{:016x}{:016x}{:08x}", half(), half(), half() >> 32)
    }

    fn digits(&mut self) -> String {
        format!("{:08}", self.0.next_u32() % 100_000_000)
    }
}

impl State {
    pub(crate) fn new(config: &SandboxConfig) -> Self {
        let mut ids = Ids(match config.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_os_rng(),
        });
        let channel = Channel {
            id: config.channel_id.clone().unwrap_or_else(|| ids.uuid().into()),
            secret: config.secret.clone().unwrap_or_else(|| ids.secret()),
            code: config.channel_code.clone().unwrap_or_else(|| format!("amo.ext.{}", ids.digits())),
            title: config.channel_title.clone(),
            bot_ref_id: ids.uuid().into(),
        };
        let channel_id = channel.id.clone();
        let mut account_ids = config.accounts.clone();
        if account_ids.is_empty() {
            account_ids.push(ids.uuid().into());
        }
        let accounts = account_ids
            .into_iter()
            .map(|account_id| Account {
                scope_id: ScopeId::of(&channel.id, &account_id),
                account_id,
                connection: None,
                managers: vec![Manager { user_ref_id: ids.uuid().into(), name: "Manager".into() }],
            })
            .collect();
        Self {
            channel,
            accounts,
            webhook_url: config.webhook_url.clone(),
            chats: Vec::new(),
            chat_index: HashMap::new(),
            clients: HashSet::new(),
            messages: HashMap::new(),
            message_chats: HashMap::new(),
            by_conversation_id: HashMap::new(),
            participants: HashMap::new(),
            receipts: HashMap::new(),
            typing_shown: HashMap::new(),
            leads: 0,
            crm: Crm::new(Ids::beside(config.seed), channel_id),
            ids,
        }
    }

    /// Lets the CRM know of accounts and users that are new.
    pub(crate) fn sync_crm(&mut self) {
        self.crm.sync(&self.accounts);
    }

    /// The integration behind the channel was switched off.
    pub(crate) fn disconnect(&mut self, account_id: &AccountId, channel: &ChannelId) {
        if self.channel.id == *channel
            && let Some(account) = self.account_mut(account_id)
        {
            account.connection = None;
        }
    }

    pub(crate) fn set_admin(
        &mut self,
        account_id: &AccountId,
        user: i64,
        is_admin: bool,
    ) -> amochats::Result<()> {
        self.crm.set_admin(account_id, user, is_admin)
    }

    /// A message with its chat.
    pub(crate) fn chat_of(&self, message: &MessageRefId) -> Option<(Chat, Message)> {
        let chat = self.chat(self.message_chats.get(message)?)?;
        let messages = self.messages(&chat.conversation_ref_id);
        let message = messages.iter().find(|known| known.message_ref_id == *message)?;
        Some((chat.clone(), message.clone()))
    }

    pub(crate) fn account(&self, account_id: &AccountId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.account_id == *account_id)
    }

    pub(crate) fn account_mut(&mut self, account_id: &AccountId) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.account_id == *account_id)
    }

    /// The chats, the one with the latest message first. One without messages is not shown.
    pub(crate) fn chats(&self) -> Vec<Chat> {
        let mut chats: Vec<Chat> =
            self.chats.iter().filter(|chat| chat.last_message.is_some()).cloned().collect();
        chats.reverse();
        chats.sort_by_key(|chat| {
            std::cmp::Reverse(chat.last_message.as_ref().map_or(0, |message| message.sent_at_msec))
        });
        chats
    }

    pub(crate) fn chat(&self, id: &ConversationRefId) -> Option<&Chat> {
        self.chats.get(*self.chat_index.get(id)?)
    }

    fn chat_mut(&mut self, id: &ConversationRefId) -> Option<&mut Chat> {
        self.chats.get_mut(*self.chat_index.get(id)?)
    }

    /// The messages of a chat in the order of their times.
    pub(crate) fn messages(&self, id: &ConversationRefId) -> &[Message] {
        self.messages.get(id).map_or(&[], Vec::as_slice)
    }

    /// A manager saw the chat; whether anything was new.
    pub(crate) fn mark_read(&mut self, id: &ConversationRefId) -> bool {
        self.chat_mut(id).is_some_and(|chat| std::mem::take(&mut chat.unread) > 0)
    }

    fn add_message(&mut self, message: Message) {
        let id = message.conversation_ref_id.clone();
        self.message_chats.insert(message.message_ref_id.clone(), id.clone());
        let messages = self.messages.entry(id.clone()).or_default();
        let at = messages.partition_point(|known| known.sent_at_msec <= message.sent_at_msec);
        messages.insert(at, message);
        self.refresh_last(&id);
    }

    fn refresh_last(&mut self, id: &ConversationRefId) {
        let last = self.messages(id).last().cloned();
        if let Some(chat) = self.chat_mut(id) {
            chat.last_message = last;
        }
    }

    /// Changes a message and says in which chat it is; nothing where there is none of this id.
    pub(crate) fn change_message(
        &mut self,
        id: &MessageRefId,
        change: impl FnOnce(&mut Message),
    ) -> Option<ConversationRefId> {
        let chat = self.message_chats.get(id)?.clone();
        let messages = self.messages.get_mut(&chat)?;
        change(messages.iter_mut().find(|message| message.message_ref_id == *id)?);
        self.refresh_last(&chat);
        Some(chat)
    }

    /// A message of this account.
    pub(crate) fn message(&self, account_id: &AccountId, id: &MessageRefId) -> Option<&Message> {
        let chat = self.message_chats.get(id)?;
        if self.chat(chat)?.account_id != *account_id {
            return None;
        }
        self.messages(chat).iter().find(|message| message.message_ref_id == *id)
    }

    /// A manager writes in a chat.
    pub(crate) fn answer(
        &mut self,
        chat: &ConversationRefId,
        manager: &Manager,
        content: Content,
        now_msec: i64,
    ) -> Message {
        let message = Message {
            message_ref_id: self.ids.uuid().into(),
            message_id: None,
            conversation_ref_id: chat.clone(),
            author: Author {
                party: Party::Manager,
                user_ref_id: manager.user_ref_id.clone(),
                name: manager.name.clone(),
            },
            content,
            sent_at_msec: now_msec,
            delivery: Delivery::Sent,
            edited: false,
            reactions: Vec::new(),
            hook: None,
        };
        if let Some(chat) = self.chat_mut(chat) {
            chat.unread = 0;
        }
        self.add_message(message.clone());
        message
    }

    /// A manager writes first: a chat of which the integration knows nothing yet.
    pub(crate) fn open_chat(&mut self, account_id: &AccountId, phone: &str) -> ConversationRefId {
        let client = Client {
            user_ref_id: self.ids.uuid().into(),
            user_id: None,
            name: phone.to_owned(),
            phone: Some(phone.to_owned()),
            email: None,
            avatar: None,
        };
        self.add_chat(account_id, None, client)
    }

    fn add_chat(
        &mut self,
        account_id: &AccountId,
        conversation_id: Option<ConversationId>,
        client: Client,
    ) -> ConversationRefId {
        let id: ConversationRefId = self.ids.uuid().into();
        if let Some(own) = &conversation_id {
            self.by_conversation_id.insert((account_id.clone(), own.clone()), id.clone());
        }
        self.clients.insert((account_id.clone(), client.user_ref_id.clone()));
        self.chat_index.insert(id.clone(), self.chats.len());
        self.chats.push(Chat {
            conversation_ref_id: id.clone(),
            conversation_id,
            account_id: account_id.clone(),
            client,
            lead: None,
            source_external_id: None,
            unread: 0,
            last_message: None,
        });
        id
    }

    /// Whether a typing webhook is due: at most one in 5 s per chat and user.
    pub(crate) fn typing_due(&mut self, chat: &ConversationRefId, user: &UserRefId, now_msec: i64) -> bool {
        let key = (chat.clone(), user.clone());
        if self.typing_shown.get(&key).is_some_and(|last| (0..5000).contains(&(now_msec - last))) {
            return false;
        }
        self.typing_shown.insert(key, now_msec);
        true
    }
}
