//! The accounts' side of the chats: who is connected, which chats there are, what was said.

mod accept;
mod activity;
mod lists;
mod manager;
mod people;
mod saved;

pub(crate) use lists::{ChatsWanted, PAGE_MAX};
pub use people::{Account, Channel, Connection, Features, NewAccount, NewChannel, NewUser, User};
pub(crate) use saved::{Saved, snapshot_json};

use crate::api::Fault;
use crate::config::SandboxConfig;
use crate::crm::Crm;
use crate::widget::Widgets;
use amochats::{
    AccountId, ChannelId, ConversationId, ConversationRefId, Markup, MessageId, MessageRefId, Result,
    ScopeId, Template, UserId, UserRefId,
};
use axum::http::StatusCode;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A chat of an account with one contact.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Chat {
    /// amoCRM's id.
    pub conversation_ref_id: ConversationRefId,
    /// The integration's id; none until the client answers a manager who wrote first.
    pub conversation_id: Option<ConversationId>,
    /// The account it belongs to.
    pub account_id: AccountId,
    /// The channel it goes through.
    pub channel_id: ChannelId,
    /// The contact.
    pub client: Client,
    /// The contact in the CRM: made by the first message, one for all chats of the same client.
    pub contact_id: Option<u64>,
    /// The lead, made by the first incoming message that was not silent.
    pub lead: Option<Lead>,
    /// The source given with a message; it pins the chat for good.
    pub source_external_id: Option<String>,
    /// When the client wrote last, in Unix milliseconds; a channel's time window starts there.
    pub client_wrote_at_msec: Option<i64>,
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
    /// The id in the CRM; counts the leads of the sandbox from 1.
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
    /// The buttons or the list under a manager's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub markup: Option<Markup>,
    /// The template that a manager chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// Common to the messages that one answer with several attachments became.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_group_id: Option<String>,
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

    /// A file of one of the vendor's types (`file`, `picture`, `video`, `voice`, `audio`, `sticker`).
    pub fn media(kind: impl Into<String>, attachment: Attachment) -> Self {
        Self { kind: kind.into(), attachment: Some(attachment), ..Self::default() }
    }

    /// A picture at a public address.
    pub fn picture(url: impl Into<String>) -> Self {
        Self::media("picture", Attachment { url: url.into(), ..Attachment::default() })
    }

    /// A file at a public address.
    pub fn file(url: impl Into<String>, file_name: impl Into<String>, file_size: u64) -> Self {
        Self::media("file", Attachment { url: url.into(), file_name: file_name.into(), file_size })
    }

    /// The post under which it is a comment, by the integration's id.
    pub(crate) fn post_id(&self) -> Option<&str> {
        self.details.as_ref()?.pointer("/post/id")?.as_str()
    }

    /// Makes it an answer to another message; text to a comment becomes a comment, too.
    pub(crate) fn quote(&mut self, quoted: &Message) {
        let details = self.details.get_or_insert_with(|| serde_json::json!({}));
        details["reply_to"] = serde_json::json!({ "message": { "id": quoted.message_ref_id } });
        if self.attachment.is_none()
            && let Some(id) = quoted.content.post_id()
        {
            details["post"] = serde_json::json!({ "id": id });
        }
    }

    /// Makes it carry a forwarded message.
    pub(crate) fn forward(&mut self, forwarded: &Message) {
        if self.kind.is_empty() {
            self.kind = "text".into();
        }
        let details = self.details.get_or_insert_with(|| serde_json::json!({}));
        let message = serde_json::json!({
            "id": forwarded.message_ref_id, "type": forwarded.content.kind, "text": forwarded.content.text,
            "sender": { "name": forwarded.author.name },
        });
        details["forwards"] = serde_json::json!({
            "messages": [message], "conversation_ref_id": forwarded.conversation_ref_id,
        });
    }

    /// About how much memory it takes, in bytes.
    fn weight(&self) -> usize {
        let details = self.details.as_ref().map_or(0, |details| details.to_string().len());
        let attachment = self
            .attachment
            .as_ref()
            .map_or(0, |attachment| attachment.url.len() + attachment.file_name.len());
        let template =
            self.template.as_ref().and_then(|template| template.content.as_ref()).map_or(0, String::len);
        self.kind.len() + self.text.len() + details + attachment + template
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

/// A channel's line into an account: what a scope id names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "the ids' names everywhere")]
pub(crate) struct Line {
    pub(crate) channel_id: ChannelId,
    pub(crate) account_id: AccountId,
    pub(crate) scope_id: ScopeId,
}

impl Line {
    pub(crate) fn of(channel_id: &ChannelId, account_id: &AccountId) -> Self {
        let scope_id = ScopeId::of(channel_id, account_id);
        Self { channel_id: channel_id.clone(), account_id: account_id.clone(), scope_id }
    }
}

impl Chat {
    pub(crate) fn line(&self) -> Line {
        Line::of(&self.channel_id, &self.account_id)
    }
}

/// What a channel and an account agreed on: whose ids are whose.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    /// The chats, by the integration's ids.
    conversations: BTreeMap<ConversationId, ConversationRefId>,
    /// The clients that the integration named, by its ids.
    participants: BTreeMap<UserId, UserRefId>,
    /// All clients with their contacts: the integration may have named another one by the same id before.
    clients: BTreeMap<UserRefId, Option<u64>>,
    /// The messages, by the integration's ids, former ones too: a second message of the same id is known by it.
    messages: BTreeMap<MessageId, MessageRefId>,
}

/// A chat with what was said in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Room {
    chat: Chat,
    /// In the order of their times.
    messages: Vec<Message>,
}

/// Where a message is.
#[derive(Clone, Copy, Debug)]
struct Place {
    room: usize,
    sent_at_msec: i64,
}

/// Where a chat stands in the list: the time of its last message, and its number.
type Standing = (i64, usize);

/// All that the sandbox knows. What is behind an `Arc` is shared with a snapshot that is being
/// written, and copied only if it changes meanwhile.
pub(crate) struct State {
    pub(crate) channels: Vec<Channel>,
    pub(crate) accounts: Vec<Account>,
    scopes: BTreeMap<ScopeId, Arc<Scope>>,
    /// In the order in which they were made.
    rooms: Vec<Arc<Room>>,
    room_of: HashMap<ConversationRefId, usize>,
    places: HashMap<MessageRefId, Place>,
    /// The chats that have messages.
    standings: BTreeSet<Standing>,
    typing_shown: HashMap<(ConversationRefId, UserRefId), i64>,
    leads: u64,
    contacts: u64,
    /// About how much memory all of it takes.
    weight: usize,
    weight_max: usize,
    pub(crate) crm: Crm,
    pub(crate) widgets: Widgets,
    ids: Ids,
}

/// What a message or a chat takes besides its text, about, in bytes.
const WEIGHT_MIN: usize = 1024;

/// Draws ids; with a seed always the same ones.
pub(crate) struct Ids(StdRng);

impl Ids {
    fn new(seed: Option<u64>) -> Self {
        Self(seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64))
    }

    /// Another row of ids than the state's own, so that the one does not move the other on.
    pub(crate) fn beside(seed: Option<u64>) -> Self {
        Self::new(seed.map(|seed| seed ^ 0xC4_31))
    }

    pub(crate) fn random() -> Self {
        Self::new(None)
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
    pub(crate) fn new(config: &SandboxConfig) -> Result<Self> {
        let mut state = Self::empty(config, Ids::new(config.seed));
        let first = NewChannel {
            channel_id: config.channel_id.clone(),
            secret: config.secret.clone(),
            code: config.channel_code.clone(),
            title: Some(config.channel_title.clone()),
            webhook_url: config.webhook_url.clone(),
            ..NewChannel::default()
        };
        for channel in std::iter::once(&first).chain(&config.channels) {
            state.add_channel(channel.clone())?;
        }
        for account_id in &config.accounts {
            state
                .add_account(NewAccount { account_id: Some(account_id.clone()), ..NewAccount::default() })?;
        }
        if config.accounts.is_empty() {
            state.add_account(NewAccount::default())?;
        }
        state.crm.register_for(&state.channels[0].channel_id);
        state.load_widget(config.widget.as_deref())?;
        Ok(state)
    }

    fn empty(config: &SandboxConfig, ids: Ids) -> Self {
        Self {
            channels: Vec::new(),
            accounts: Vec::new(),
            scopes: BTreeMap::new(),
            rooms: Vec::new(),
            room_of: HashMap::new(),
            places: HashMap::new(),
            standings: BTreeSet::new(),
            typing_shown: HashMap::new(),
            leads: 0,
            contacts: 0,
            weight: 0,
            weight_max: config.memory_max,
            crm: Crm::new(Ids::beside(config.seed)),
            widgets: Widgets::default(),
            ids,
        }
    }

    /// Forgets all chats and what was said in them; channels, accounts and connections stay.
    pub(crate) fn clear(&mut self) {
        self.scopes.clear();
        self.rooms.clear();
        self.room_of.clear();
        self.places.clear();
        self.standings.clear();
        self.typing_shown.clear();
        (self.leads, self.contacts, self.weight) = (0, 0, 0);
        self.crm.clear();
    }

    /// Lets the CRM know of accounts and users that are new or changed.
    pub(crate) fn sync_crm(&mut self) {
        self.crm.sync(&self.accounts);
    }

    pub(crate) fn chat(&self, id: &ConversationRefId) -> Option<&Chat> {
        Some(&self.rooms[*self.room_of.get(id)?].chat)
    }

    /// A chat of this line.
    pub(crate) fn chat_on(&self, line: &Line, id: &ConversationRefId) -> Option<&Chat> {
        self.chat(id).filter(|chat| chat.account_id == line.account_id && chat.channel_id == line.channel_id)
    }

    fn chat_mut(&mut self, id: &ConversationRefId) -> Option<&mut Chat> {
        Some(&mut Arc::make_mut(&mut self.rooms[*self.room_of.get(id)?]).chat)
    }

    fn scope(&self, line: &Line) -> Option<&Scope> {
        self.scopes.get(&line.scope_id).map(AsRef::as_ref)
    }

    fn scope_mut(&mut self, line: &Line) -> &mut Scope {
        Arc::make_mut(self.scopes.entry(line.scope_id.clone()).or_default())
    }

    /// The messages of a chat in the order of their times.
    pub(crate) fn messages(&self, id: &ConversationRefId) -> &[Message] {
        self.room_of.get(id).map_or(&[], |&room| &self.rooms[room].messages)
    }

    /// The message of this id, of whatever chat.
    pub(crate) fn message(&self, id: &MessageRefId) -> Option<&Message> {
        let (room, at) = self.place(id)?;
        Some(&self.rooms[room].messages[at])
    }

    /// A message of this line.
    pub(crate) fn message_on(&self, line: &Line, id: &MessageRefId) -> Option<&Message> {
        self.message(id).filter(|message| self.chat_on(line, &message.conversation_ref_id).is_some())
    }

    fn place(&self, id: &MessageRefId) -> Option<(usize, usize)> {
        let place = self.places.get(id)?;
        let messages = &self.rooms[place.room].messages;
        let first = messages.partition_point(|message| message.sent_at_msec < place.sent_at_msec);
        let at = messages[first..].iter().position(|message| message.message_ref_id == *id)?;
        Some((place.room, first + at))
    }

    /// Changes a message and says in which chat it is; nothing where there is none of this id.
    pub(crate) fn change_message(
        &mut self,
        id: &MessageRefId,
        change: impl FnOnce(&mut Message),
    ) -> Option<ConversationRefId> {
        let (number, at) = self.place(id)?;
        let room = Arc::make_mut(&mut self.rooms[number]);
        let message = &mut room.messages[at];
        let before = message.content.weight();
        change(message);
        self.weight = self.weight.saturating_sub(before) + message.content.weight();
        if at + 1 == room.messages.len() {
            room.chat.last_message = room.messages.last().cloned();
        }
        Some(room.chat.conversation_ref_id.clone())
    }

    fn add_message(&mut self, message: Message) {
        let Some(&number) = self.room_of.get(&message.conversation_ref_id) else { return };
        let place = Place { room: number, sent_at_msec: message.sent_at_msec };
        self.places.insert(message.message_ref_id.clone(), place);
        self.weight += WEIGHT_MIN + message.content.weight();
        let room = Arc::make_mut(&mut self.rooms[number]);
        let before = room.standing(number);
        let at = room.messages.partition_point(|known| known.sent_at_msec <= message.sent_at_msec);
        if at == room.messages.len() {
            room.chat.last_message = Some(message.clone());
        }
        room.messages.insert(at, message);
        let after = room.standing(number);
        if before != after {
            if let Some(before) = before {
                self.standings.remove(&before);
            }
            self.standings.extend(after);
        }
    }

    fn add_chat(
        &mut self,
        line: &Line,
        conversation_id: Option<ConversationId>,
        client: Client,
    ) -> ConversationRefId {
        let id: ConversationRefId = self.ids.uuid().into();
        self.weight += WEIGHT_MIN;
        let scope = self.scope_mut(line);
        if let Some(own) = &conversation_id {
            scope.conversations.insert(own.clone(), id.clone());
        }
        let contact_id = *scope.clients.entry(client.user_ref_id.clone()).or_default();
        let chat = Chat {
            conversation_ref_id: id.clone(),
            conversation_id,
            account_id: line.account_id.clone(),
            channel_id: line.channel_id.clone(),
            client,
            contact_id,
            lead: None,
            source_external_id: None,
            client_wrote_at_msec: None,
            unread: 0,
            last_message: None,
        };
        self.add_room(Room { chat, messages: Vec::new() });
        id
    }

    /// Takes a chat that is whole into all indices.
    fn add_room(&mut self, room: Room) {
        let number = self.rooms.len();
        self.room_of.insert(room.chat.conversation_ref_id.clone(), number);
        for message in &room.messages {
            let place = Place { room: number, sent_at_msec: message.sent_at_msec };
            self.places.insert(message.message_ref_id.clone(), place);
        }
        self.standings.extend(room.standing(number));
        self.rooms.push(Arc::new(room));
    }

    /// The contact of the chat's client, made if the CRM has none yet.
    fn contact_of(&mut self, id: &ConversationRefId) -> Option<u64> {
        let chat = self.chat(id)?;
        let (line, client) = (chat.line(), chat.client.user_ref_id.clone());
        let next = self.contacts + 1;
        let contact = *self.scope_mut(&line).clients.entry(client).or_default().get_or_insert(next);
        self.contacts = self.contacts.max(contact);
        self.chat_mut(id)?.contact_id = Some(contact);
        Some(contact)
    }

    /// The source whose name webhooks of this chat carry: the one that a message named, for good;
    /// until then the channel's default source, as long as it is that.
    pub(crate) fn source_of<'a>(&'a self, chat: &'a Chat) -> Option<&'a str> {
        let default = || self.crm.default_source(&chat.account_id, &chat.channel_id);
        chat.source_external_id.as_deref().or_else(default)
    }

    /// The chat got another contact.
    pub(crate) fn set_contact(&mut self, id: &ConversationRefId, contact: u64) {
        if let Some(chat) = self.chat_mut(id) {
            chat.contact_id = Some(contact);
        }
    }

    /// Whether there is room for so many more bytes.
    pub(crate) fn room_for(&self, bytes: usize) -> Result<(), Fault> {
        if self.weight.saturating_add(bytes) <= self.weight_max {
            return Ok(());
        }
        Err(Fault::new(
            StatusCode::INSUFFICIENT_STORAGE,
            "sandbox_full",
            "the sandbox holds as much as it may: reset it, or give it more memory",
        ))
    }
}

impl Room {
    fn standing(&self, number: usize) -> Option<Standing> {
        self.chat.last_message.as_ref().map(|message| (message.sent_at_msec, number))
    }
}
