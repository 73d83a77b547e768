//! The state as its file has it: what was said and agreed, without what follows from it.

use super::{Account, Channel, Ids, Room, Scope, State};
use crate::config::SandboxConfig;
use crate::widget::{SavedWidgets, Widgets};
use amochats::{Error, ErrorKind, Result, ScopeId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// What the file calls itself.
const FORMAT: &str = "amochats-sandbox";
/// Counts the forms of the file.
const VERSION: u32 = 2;

/// What every version has: it tells what a file is before the rest is read.
#[derive(Deserialize)]
struct Header {
    format: String,
    version: u32,
}

/// The file. All in it has one order, so that the same state makes the same file. Made in no time:
/// chats are shared with the state until one of them changes.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    format: String,
    version: u32,
    channels: Vec<Channel>,
    accounts: Vec<Account>,
    scopes: BTreeMap<ScopeId, Arc<Scope>>,
    /// In the order in which they were made.
    chats: Vec<Arc<Room>>,
    /// The CRM's own; absent in files of before there was one.
    #[serde(default)]
    crm: Option<Value>,
    /// Absent in files of before they were kept.
    #[serde(default)]
    widgets: SavedWidgets,
}

fn unusable(rule: impl Into<String>) -> Error {
    Error::new(ErrorKind::ConfigInvalid, rule).with_field("state")
}

fn damaged(place: &str) -> Error {
    unusable(format!("is damaged: {place}"))
}

/// The state as JSON.
pub(crate) fn snapshot_json(saved: &Saved) -> Vec<u8> {
    let mut json = serde_json::to_vec(saved).expect("its keys are text, its values can be written");
    json.push(b'\n');
    json
}

impl Saved {
    pub(crate) fn of(state: &State) -> Self {
        Self {
            format: FORMAT.to_owned(),
            version: VERSION,
            channels: state.channels.clone(),
            accounts: state.accounts.clone(),
            scopes: state.scopes.clone(),
            chats: state.rooms.clone(),
            crm: Some(
                serde_json::to_value(&state.crm).expect("its keys are text, its values can be written"),
            ),
            widgets: state.widgets.saved(),
        }
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
        let mut state = self.into_state(config)?;
        if let Some(url) = &config.webhook_url {
            state.channels[0].webhook_url = Some(url.clone());
        }
        for new in config.channels.iter().filter(|new| new.webhook_url.is_some()) {
            let known =
                state.channels.iter_mut().find(|known| Some(&known.channel_id) == new.channel_id.as_ref());
            if let Some(known) = known {
                known.webhook_url.clone_from(&new.webhook_url);
            }
        }
        Ok(state)
    }

    /// The state of a snapshot, whoever's it is.
    pub(crate) fn replace(self, config: &SandboxConfig) -> Result<State> {
        self.check()?;
        self.into_state(config)
    }

    fn into_state(self, config: &SandboxConfig) -> Result<State> {
        let mut state = State::empty(config, Ids::new(None));
        match self.crm {
            Some(crm) => {
                state.crm = serde_json::from_value(crm).map_err(|_| damaged("crm cannot be read"))?;
            }
            None => state.crm.register_for(&self.channels[0].channel_id),
        }
        state.widgets = Widgets::restore(self.widgets)
            .map_err(|error| damaged(&format!("widgets: {}", error.message())))?;
        state.load_widget(config.widget.as_deref())?;
        state.channels = self.channels;
        state.accounts = self.accounts;
        state.scopes = self.scopes;
        let contacts = state.scopes.values().flat_map(|scope| scope.clients.values()).flatten();
        state.contacts = contacts.copied().max().unwrap_or(0);
        for room in self.chats {
            let mut room = Arc::unwrap_or_clone(room);
            room.chat.last_message = room.messages.last().cloned();
            state.leads = state.leads.max(room.chat.lead.as_ref().map_or(0, |lead| lead.id));
            state.weight += super::WEIGHT_MIN;
            state.weight += room
                .messages
                .iter()
                .map(|message| super::WEIGHT_MIN + message.content.weight())
                .sum::<usize>();
            state.add_room(room);
        }
        Ok(state)
    }

    /// What the sandbox relies on, in a file that somebody may have changed.
    fn check(&self) -> Result<()> {
        let part = |what: &str, error: &Error| damaged(&format!("{what}: {}", error.message()));
        let mut channels = HashSet::new();
        for channel in &self.channels {
            channel.check().map_err(|error| part("channels", &error))?;
            if !channels.insert(&channel.channel_id) {
                return Err(damaged("a channel is there twice"));
            }
        }
        if self.channels.is_empty() {
            return Err(damaged("there is no channel"));
        }
        if self.accounts.is_empty() {
            return Err(damaged("there is no account"));
        }
        let mut accounts = HashSet::new();
        for account in &self.accounts {
            account.check().map_err(|error| part("accounts", &error))?;
            if account.users.is_empty() {
                return Err(damaged("an account has no user"));
            }
            if !accounts.insert(&account.account_id) {
                return Err(damaged("an account is there twice"));
            }
            let known = |connection: &super::Connection| {
                channels.contains(&connection.channel_id)
                    && connection.scope_id == ScopeId::of(&connection.channel_id, &account.account_id)
            };
            if !account.connections.iter().all(known) {
                return Err(damaged("a connection is of no channel"));
            }
        }
        let (mut chats, mut messages) = (HashMap::new(), HashMap::new());
        for Room { chat, messages: said } in self.chats.iter().map(AsRef::as_ref) {
            if !accounts.contains(&chat.account_id) {
                return Err(damaged("a chat is of no account"));
            }
            if chats.insert(&chat.conversation_ref_id, chat.line().scope_id).is_some() {
                return Err(damaged("two chats have the same id"));
            }
            for message in said {
                if message.conversation_ref_id != chat.conversation_ref_id {
                    return Err(damaged("a message is in another chat than it says"));
                }
                if messages.insert(&message.message_ref_id, &chat.conversation_ref_id).is_some() {
                    return Err(damaged("two messages have the same id"));
                }
            }
            if chat.unread as usize > said.len() {
                return Err(damaged("more messages are unread than there are"));
            }
            if chat.lead.as_ref().is_some_and(|lead| lead.id > self.chats.len() as u64) {
                return Err(damaged("a lead has a number that was not given yet"));
            }
            if !said.is_sorted_by_key(|message| message.sent_at_msec) {
                return Err(damaged("the messages of a chat are not in the order of their times"));
            }
        }
        for (id, scope) in &self.scopes {
            let own_chats = scope.conversations.values().all(|chat| chats.get(chat) == Some(id));
            if !own_chats || !scope.messages.values().all(|message| messages.contains_key(message)) {
                return Err(damaged("an id of the integration leads nowhere"));
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
        let first = &self.channels[0];
        if config.channel_id.as_ref().is_some_and(|id| *id != first.channel_id) {
            return Err(other("channel_id", "channel"));
        }
        if config.secret.as_ref().is_some_and(|secret| *secret != first.secret) {
            return Err(other("secret", "secret"));
        }
        if config.channel_code.as_ref().is_some_and(|code| *code != first.code) {
            return Err(other("channel_code", "code"));
        }
        // One that was to be made up is among those that were.
        let known = |new: &super::NewChannel| {
            new.channel_id.as_ref().is_none_or(|id| {
                let known = self.channels.iter().find(|channel| channel.channel_id == *id);
                known.is_some_and(|known| new.secret.as_ref().is_none_or(|secret| *secret == known.secret))
            })
        };
        if !config.channels.iter().all(known) {
            return Err(other("channels", "channel"));
        }
        let kept: HashSet<_> = self.accounts.iter().map(|account| &account.account_id).collect();
        if !config.accounts.iter().all(|account| kept.contains(account)) {
            return Err(Error::invalid(
                "accounts",
                "the state has other accounts; leave them out, or choose another file",
            ));
        }
        Ok(())
    }
}
