//! The state as its file has it: what was said and agreed, without what follows from it.

use super::{Account, Channel, Chat, Client, Connection, Ids, Lead, Manager, Message, State};
use crate::config::{SandboxConfig, path_id, web_address};
use crate::crm::Crm;
use amochats::{
    AccountId, ChannelSecret, ConversationId, ConversationRefId, Error, ErrorKind, MessageId, Result,
    ScopeId, UserId, UserRefId,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// What the file calls itself.
const FORMAT: &str = "amochats-sandbox";
/// Counts the forms of the file.
const VERSION: u32 = 1;

/// What every version has: it tells what a file is before the rest is read.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// The file. All in it has one order, so that the same state makes the same file.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    format: String,
    version: u32,
    channel: Channel,
    webhook_url: Option<String>,
    accounts: Vec<SavedAccount>,
    /// In the order in which they were made.
    chats: Vec<SavedChat>,
    /// Absent in files of before there was one.
    #[serde(default)]
    crm: Option<Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SavedAccount {
    account_id: AccountId,
    connection: Option<Connection>,
    managers: Vec<Manager>,
    /// The clients that the integration named, by its ids.
    participants: BTreeMap<UserId, UserRefId>,
    /// All clients: the integration may have named another one by the same id before.
    clients: BTreeSet<UserRefId>,
    /// The answers to messages, by which a second one of the same id is known.
    receipts: BTreeMap<MessageId, Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct SavedChat {
    conversation_ref_id: ConversationRefId,
    account_id: AccountId,
    conversation_id: Option<ConversationId>,
    /// All ids of the integration that lead here.
    conversation_ids: BTreeSet<ConversationId>,
    client: Client,
    lead: Option<Lead>,
    source_external_id: Option<String>,
    unread: u32,
    messages: Vec<Message>,
}

fn unusable(rule: impl Into<String>) -> Error {
    Error::new(ErrorKind::ConfigInvalid, rule).with_field("state")
}

fn damaged(place: &str) -> Error {
    unusable(format!("is damaged: {place}"))
}

impl Saved {
    pub(crate) fn of(state: &State) -> Self {
        let of_account = |account: &Account| {
            let id = &account.account_id;
            SavedAccount {
                account_id: id.clone(),
                connection: account.connection.clone(),
                managers: account.managers.clone(),
                participants: state
                    .participants
                    .iter()
                    .filter(|((of, _), _)| of == id)
                    .map(|((_, own), user)| (own.clone(), user.clone()))
                    .collect(),
                clients: state
                    .clients
                    .iter()
                    .filter(|(of, _)| of == id)
                    .map(|(_, user)| user.clone())
                    .collect(),
                receipts: state
                    .receipts
                    .iter()
                    .filter(|((of, _), _)| of == id)
                    .map(|((_, own), answer)| (own.clone(), answer.clone()))
                    .collect(),
            }
        };
        let mut names: HashMap<&ConversationRefId, BTreeSet<ConversationId>> = HashMap::new();
        for ((_, own), chat) in &state.by_conversation_id {
            names.entry(chat).or_default().insert(own.clone());
        }
        let of_chat = |chat: &Chat| SavedChat {
            conversation_ref_id: chat.conversation_ref_id.clone(),
            account_id: chat.account_id.clone(),
            conversation_id: chat.conversation_id.clone(),
            conversation_ids: names.get(&chat.conversation_ref_id).cloned().unwrap_or_default(),
            client: chat.client.clone(),
            lead: chat.lead.clone(),
            source_external_id: chat.source_external_id.clone(),
            unread: chat.unread,
            messages: state.messages(&chat.conversation_ref_id).to_vec(),
        };
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            channel: state.channel.clone(),
            webhook_url: state.webhook_url.clone(),
            accounts: state.accounts.iter().map(of_account).collect(),
            chats: state.chats.iter().map(of_chat).collect(),
            crm: Some(
                serde_json::to_value(&state.crm).expect("its keys are text, its values can be written"),
            ),
        }
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("its keys are text, its values can be written");
        json.push(b'\n');
        json
    }

    /// Reads a file. Its errors hold nothing of the content but names of fields.
    pub(crate) fn from_json(json: &[u8]) -> Result<Self> {
        let header: Header = serde_json::from_slice(json)
            .ok()
            .filter(|header: &Header| header.format == FORMAT)
            .ok_or_else(|| unusable("is not a state that a sandbox kept"))?;
        if header.version != VERSION {
            return Err(unusable(format!(
                "has the form {} and this version knows {VERSION}: use the version that wrote it",
                header.version
            )));
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let saved = serde_path_to_error::deserialize(&mut reader);
        // What serde says may quote the file.
        saved.map_err(|error| damaged(&format!("{} cannot be read", error.path())))
    }

    /// The state, where the configuration does not ask for another one. Ids are drawn at random
    /// from here on: the seed's were used before.
    pub(crate) fn restore(self, config: &SandboxConfig) -> Result<State> {
        self.check()?;
        self.agree(config)?;
        let Self { mut channel, webhook_url, accounts, chats, crm, .. } = self;
        let crm = match crm {
            None => Crm::new(Ids::random(), channel.id.clone()),
            Some(crm) => serde_json::from_value(crm).map_err(|_| damaged("crm cannot be read"))?,
        };
        channel.title.clone_from(&config.channel_title);
        let mut state = State {
            channel,
            accounts: Vec::new(),
            webhook_url: config.webhook_url.clone().or(webhook_url),
            chats: Vec::new(),
            chat_index: HashMap::new(),
            clients: HashSet::new(),
            messages: HashMap::new(),
            message_chats: HashMap::new(),
            by_conversation_id: HashMap::new(),
            participants: HashMap::new(),
            receipts: HashMap::new(),
            typing_shown: HashMap::new(),
            leads: chats.iter().filter_map(|chat| chat.lead.as_ref()).map(|lead| lead.id).max().unwrap_or(0),
            crm,
            ids: Ids::random(),
        };
        for account in accounts {
            state.restore_account(account);
        }
        for chat in chats {
            state.restore_chat(chat);
        }
        Ok(state)
    }

    /// What the sandbox relies on, in a file that somebody may have changed.
    fn check(&self) -> Result<()> {
        let channel = &self.channel;
        path_id("channel.channel_id", channel.id.as_str()).map_err(|error| damaged(error.message()))?;
        ChannelSecret::new(channel.secret.as_str())
            .map_err(|_| damaged("channel.secret cannot be a secret"))?;
        if let Some(url) = &self.webhook_url {
            web_address("webhook_url", url).map_err(|error| damaged(error.message()))?;
        }
        if self.accounts.is_empty() {
            return Err(damaged("there is no account"));
        }
        let mut accounts = HashSet::new();
        for account in &self.accounts {
            path_id("accounts.account_id", account.account_id.as_str())
                .map_err(|error| damaged(error.message()))?;
            if account.managers.is_empty() {
                return Err(damaged("an account has no manager"));
            }
            if !accounts.insert(&account.account_id) {
                return Err(damaged("an account is there twice"));
            }
        }
        let (mut chats, mut names, mut messages) = (HashSet::new(), HashSet::new(), HashSet::new());
        for chat in &self.chats {
            if !accounts.contains(&chat.account_id) {
                return Err(damaged("a chat is of no account"));
            }
            let mut new = chats.insert(&chat.conversation_ref_id);
            new &= chat.conversation_ids.iter().all(|own| names.insert((&chat.account_id, own)));
            if !new {
                return Err(damaged("two chats have the same id"));
            }
            for message in &chat.messages {
                if message.conversation_ref_id != chat.conversation_ref_id {
                    return Err(damaged("a message is in another chat than it says"));
                }
                if !messages.insert(&message.message_ref_id) {
                    return Err(damaged("two messages have the same id"));
                }
            }
            if chat.unread as usize > chat.messages.len() {
                return Err(damaged("more messages are unread than there are"));
            }
            if chat.lead.as_ref().is_some_and(|lead| lead.id > self.chats.len() as u64) {
                return Err(damaged("a lead has a number that was not given yet"));
            }
            if !chat.messages.is_sorted_by_key(|message| message.sent_at_msec) {
                return Err(damaged("the messages of a chat are not in the order of their times"));
            }
        }
        Ok(())
    }

    /// The configuration may leave out what the file has, not contradict it.
    fn agree(&self, config: &SandboxConfig) -> Result<()> {
        let other = |field: &str, what: &str| {
            Error::invalid(
                field,
                format!("the state has another {what}; leave it out, or choose another file"),
            )
        };
        if config.channel_id.as_ref().is_some_and(|id| *id != self.channel.id) {
            return Err(other("channel_id", "channel"));
        }
        if config.secret.as_ref().is_some_and(|secret| *secret != self.channel.secret) {
            return Err(other("secret", "secret"));
        }
        if config.channel_code.as_ref().is_some_and(|code| *code != self.channel.code) {
            return Err(other("channel_code", "code"));
        }
        let kept: HashSet<_> = self.accounts.iter().map(|account| &account.account_id).collect();
        if !config.accounts.is_empty() && config.accounts.iter().collect::<HashSet<_>>() != kept {
            return Err(Error::invalid(
                "accounts",
                "the state has other accounts; leave them out, or choose another file",
            ));
        }
        Ok(())
    }
}

impl State {
    fn restore_account(&mut self, saved: SavedAccount) {
        let id = saved.account_id;
        self.clients.extend(saved.clients.into_iter().map(|user| (id.clone(), user)));
        self.participants.extend(saved.participants.into_iter().map(|(own, user)| ((id.clone(), own), user)));
        self.receipts.extend(saved.receipts.into_iter().map(|(own, answer)| ((id.clone(), own), answer)));
        self.accounts.push(Account {
            scope_id: ScopeId::of(&self.channel.id, &id),
            account_id: id,
            connection: saved.connection,
            managers: saved.managers,
        });
    }

    fn restore_chat(&mut self, saved: SavedChat) {
        let id = saved.conversation_ref_id;
        for own in saved.conversation_ids {
            self.by_conversation_id.insert((saved.account_id.clone(), own), id.clone());
        }
        for message in &saved.messages {
            self.message_chats.insert(message.message_ref_id.clone(), id.clone());
        }
        self.chat_index.insert(id.clone(), self.chats.len());
        self.chats.push(Chat {
            conversation_ref_id: id.clone(),
            conversation_id: saved.conversation_id,
            account_id: saved.account_id,
            client: saved.client,
            lead: saved.lead,
            source_external_id: saved.source_external_id,
            unread: saved.unread,
            last_message: saved.messages.last().cloned(),
        });
        self.messages.insert(id, saved.messages);
    }
}
