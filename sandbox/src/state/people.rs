//! Channels, accounts, users and connections: who there is, and how one more comes.

use super::{Line, State};
use crate::config::{path_id, web_address};
use amochats::{AccountId, ChannelId, ChannelSecret, Error, HookVersion, Result, ScopeId, UserRefId};
use serde::{Deserialize, Serialize};

/// The most channels, accounts, and users of an account.
const PEOPLE_MAX: usize = 1000;
/// The longest name or address, in bytes.
const NAME_MAX: usize = 1024;

/// A channel as it was registered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Channel {
    /// The id.
    pub channel_id: ChannelId,
    /// The secret, as text: this is a developer's tool.
    pub secret: String,
    /// The code, as in `amo.ext.12345678`.
    pub code: String,
    /// The name, which an account shows unless its connection brings a title.
    pub title: String,
    /// The channel's bot, which stands in `sender.ref_id` of messages by an unknown author.
    pub bot_ref_id: UserRefId,
    /// Where webhooks go; `:scope_id` is replaced by the scope.
    pub webhook_url: Option<String>,
    /// Where webhooks v1 go, if elsewhere.
    pub webhook_url_v1: Option<String>,
    /// What was agreed at its registration.
    pub features: Features,
}

/// What a channel declared at its registration. All is on here, so that it can be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Features {
    /// Webhooks tell of a manager who types.
    pub typing: bool,
    /// Managers can quote and forward.
    pub quoting: bool,
    /// Managers can react.
    pub reactions: bool,
    /// Managers can write first.
    pub write_first: bool,
    /// How long after the client's last message a manager may write without a template, in seconds;
    /// Kommo alone enforces it.
    pub time_window_s: Option<u64>,
}

impl Default for Features {
    fn default() -> Self {
        Self { typing: true, quoting: true, reactions: true, write_first: true, time_window_s: None }
    }
}

/// An account that channels may connect to.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// The amojo id.
    pub account_id: AccountId,
    /// The id in the CRM.
    pub id: u64,
    /// The name.
    pub name: String,
    /// The first part of its host's name.
    pub subdomain: String,
    /// Who works there, at least one.
    pub users: Vec<User>,
    /// The channels that are connected to it.
    pub connections: Vec<Connection>,
}

/// How a channel is connected to an account.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Connection {
    /// The channel.
    pub channel_id: ChannelId,
    /// Channel and account in one.
    pub scope_id: ScopeId,
    /// The channel's name in this account.
    pub title: String,
    /// The form of webhooks; v1 where the connection did not name one.
    pub hook_version: HookVersion,
    /// Whether the channel's time window is off.
    pub is_time_window_disabled: bool,
}

/// A user of the CRM.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The amojo id.
    pub user_ref_id: UserRefId,
    /// The id in the CRM.
    pub id: u64,
    /// The name shown.
    pub name: String,
    /// The e-mail address.
    pub email: String,
    /// Whether the user may do everything.
    pub is_admin: bool,
}

/// A channel to be registered; what is left out is made up.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewChannel {
    /// See [`Channel::channel_id`].
    pub channel_id: Option<ChannelId>,
    /// See [`Channel::secret`].
    pub secret: Option<String>,
    /// See [`Channel::code`].
    pub code: Option<String>,
    /// See [`Channel::title`].
    pub title: Option<String>,
    /// See [`Channel::bot_ref_id`].
    pub bot_ref_id: Option<UserRefId>,
    /// See [`Channel::webhook_url`].
    pub webhook_url: Option<String>,
    /// See [`Channel::webhook_url_v1`].
    pub webhook_url_v1: Option<String>,
    /// See [`Channel::features`].
    pub features: Features,
}

/// Everything but the secret.
impl std::fmt::Debug for NewChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewChannel")
            .field("channel_id", &self.channel_id)
            .field("code", &self.code)
            .field("webhook_url", &self.webhook_url)
            .finish_non_exhaustive()
    }
}

/// An account to be opened; what is left out is made up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewAccount {
    /// See [`Account::account_id`].
    pub account_id: Option<AccountId>,
    /// See [`Account::id`].
    pub id: Option<u64>,
    /// See [`Account::name`].
    pub name: Option<String>,
    /// See [`Account::subdomain`].
    pub subdomain: Option<String>,
    /// Who works there; one administrator if the list is empty.
    pub users: Vec<NewUser>,
}

/// A user to be added; what is left out is made up.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NewUser {
    /// See [`User::user_ref_id`].
    pub user_ref_id: Option<UserRefId>,
    /// See [`User::id`].
    pub id: Option<u64>,
    /// See [`User::name`].
    pub name: Option<String>,
    /// See [`User::email`].
    pub email: Option<String>,
    /// See [`User::is_admin`].
    pub is_admin: bool,
}

impl Channel {
    pub(crate) fn key(&self) -> ChannelSecret {
        ChannelSecret::new(self.secret.as_str()).expect("it was checked when the channel came")
    }

    /// The address for webhooks of this form.
    pub(crate) fn webhook_url_for(&self, version: HookVersion) -> Option<&str> {
        let v1 = self.webhook_url_v1.as_deref().filter(|_| version == HookVersion::V1);
        v1.or(self.webhook_url.as_deref())
    }

    /// What the sandbox relies on.
    pub(crate) fn check(&self) -> Result<()> {
        path_id("channel_id", self.channel_id.as_str())?;
        ChannelSecret::new(self.secret.as_str())?;
        for (field, text) in
            [("code", &self.code), ("title", &self.title), ("bot_ref_id", &self.bot_ref_id.to_string())]
        {
            named(field, text)?;
        }
        for (field, url) in [("webhook_url", &self.webhook_url), ("webhook_url_v1", &self.webhook_url_v1)] {
            if let Some(url) = url {
                web_address(field, url)?;
            }
        }
        Ok(())
    }
}

impl Account {
    /// The connection with this channel.
    pub fn connection(&self, channel: &ChannelId) -> Option<&Connection> {
        self.connections.iter().find(|connection| connection.channel_id == *channel)
    }

    /// The user of this amojo id.
    pub fn user(&self, id: &UserRefId) -> Option<&User> {
        self.users.iter().find(|user| user.user_ref_id == *id)
    }

    pub(crate) fn check(&self) -> Result<()> {
        path_id("account_id", self.account_id.as_str())?;
        path_id("subdomain", &self.subdomain)?;
        named("name", &self.name)?;
        self.users.iter().try_for_each(User::check)
    }
}

impl User {
    fn check(&self) -> Result<()> {
        path_id("user_ref_id", self.user_ref_id.as_str())?;
        named("name", &self.name)?;
        named("email", &self.email)
    }
}

fn named(field: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() || text.len() > NAME_MAX {
        return Err(Error::invalid(field, format!("must be 1 to {NAME_MAX} bytes long")));
    }
    Ok(())
}

fn few(field: &str, count: usize) -> Result<()> {
    if count < PEOPLE_MAX {
        return Ok(());
    }
    Err(Error::invalid(field, format!("there are {PEOPLE_MAX} already, which is the most")))
}

impl State {
    pub(crate) fn channel(&self, id: &ChannelId) -> Option<&Channel> {
        self.channels.iter().find(|channel| channel.channel_id == *id)
    }

    pub(crate) fn account(&self, id: &AccountId) -> Option<&Account> {
        self.accounts.iter().find(|account| account.account_id == *id)
    }

    pub(crate) fn account_mut(&mut self, id: &AccountId) -> Option<&mut Account> {
        self.accounts.iter_mut().find(|account| account.account_id == *id)
    }

    /// The connection of this line, if there is one.
    pub(crate) fn connection(&self, line: &Line) -> Option<&Connection> {
        self.account(&line.account_id)?.connection(&line.channel_id)
    }

    pub(crate) fn add_channel(&mut self, new: NewChannel) -> Result<Channel> {
        few("channel_id", self.channels.len())?;
        let ids = &mut self.ids;
        let channel = Channel {
            channel_id: new.channel_id.unwrap_or_else(|| ids.uuid().into()),
            secret: new.secret.unwrap_or_else(|| ids.secret()),
            code: new.code.unwrap_or_else(|| format!("amo.ext.{}", ids.digits())),
            title: new.title.unwrap_or_else(|| format!("Channel {}", self.channels.len() + 1)),
            bot_ref_id: new.bot_ref_id.unwrap_or_else(|| ids.uuid().into()),
            webhook_url: new.webhook_url,
            webhook_url_v1: new.webhook_url_v1,
            features: new.features,
        };
        channel.check()?;
        if self.channel(&channel.channel_id).is_some() {
            return Err(Error::invalid("channel_id", "there is a channel of this id"));
        }
        self.channels.push(channel.clone());
        Ok(channel)
    }

    /// Puts a channel that was looked at before in the place of the one of its id.
    pub(crate) fn replace_channel(&mut self, fresh: Channel) -> Result<()> {
        fresh.check()?;
        let known = self.channels.iter_mut().find(|channel| channel.channel_id == fresh.channel_id);
        *known.ok_or_else(|| Error::invalid("channel_id", "there is no such channel"))? = fresh;
        Ok(())
    }

    /// Removes a channel and its connections. Its chats stay, for the managers to read.
    pub(crate) fn remove_channel(&mut self, id: &ChannelId) -> Result<()> {
        let at = self.channels.iter().position(|channel| channel.channel_id == *id);
        let at = at.ok_or_else(|| Error::invalid("channel_id", "there is no such channel"))?;
        if self.channels.len() == 1 {
            return Err(Error::invalid("channel_id", "the last channel stays"));
        }
        self.channels.remove(at);
        for account in &mut self.accounts {
            account.connections.retain(|connection| connection.channel_id != *id);
        }
        Ok(())
    }

    pub(crate) fn add_account(&mut self, new: NewAccount) -> Result<Account> {
        few("account_id", self.accounts.len())?;
        let next = 31_000_001 + self.accounts.len() as u64;
        let id = new.id.unwrap_or_else(|| {
            (next..).find(|id| self.accounts.iter().all(|account| account.id != *id)).unwrap_or(next)
        });
        let mut account = Account {
            account_id: new.account_id.unwrap_or_else(|| self.ids.uuid().into()),
            id,
            name: new.name.unwrap_or_else(|| format!("Account {}", self.accounts.len() + 1)),
            subdomain: new.subdomain.unwrap_or_else(|| format!("sandbox{id}")),
            users: Vec::new(),
            connections: Vec::new(),
        };
        let admin = [NewUser { is_admin: true, name: Some("Manager".into()), ..NewUser::default() }];
        let users = if new.users.is_empty() { &admin[..] } else { &new.users };
        for user in users {
            let user = self.new_user(&account, user.clone())?;
            account.users.push(user);
        }
        account.check()?;
        let clash = |known: &Account| {
            [
                (known.account_id == account.account_id, "account_id"),
                (known.id == account.id, "id"),
                (known.subdomain.eq_ignore_ascii_case(&account.subdomain), "subdomain"),
            ]
        };
        if let Some((_, field)) = self.accounts.iter().flat_map(clash).find(|(same, _)| *same) {
            return Err(Error::invalid(field, "there is another account with it"));
        }
        self.accounts.push(account.clone());
        Ok(account)
    }

    pub(crate) fn add_user(&mut self, account: &AccountId, new: NewUser) -> Result<User> {
        let no_account = || Error::invalid("account_id", "there is no such account");
        let account = self.account(account).cloned().ok_or_else(no_account)?;
        let user = self.new_user(&account, new)?;
        let known = self.account_mut(&account.account_id).ok_or_else(no_account)?;
        known.users.push(user.clone());
        Ok(user)
    }

    fn new_user(&mut self, account: &Account, new: NewUser) -> Result<User> {
        few("user_ref_id", account.users.len())?;
        let everyone = || self.accounts.iter().flat_map(|account| &account.users).chain(&account.users);
        let last = everyone().map(|user| user.id).max().unwrap_or(7_000_000);
        let id = new.id.unwrap_or_else(|| last.saturating_add(1));
        let taken = |user: &User| user.id == id || Some(&user.user_ref_id) == new.user_ref_id.as_ref();
        if everyone().any(taken) {
            return Err(Error::invalid("user_ref_id", "there is another user of this id"));
        }
        let user = User {
            user_ref_id: new.user_ref_id.unwrap_or_else(|| self.ids.uuid().into()),
            id,
            name: new.name.unwrap_or_else(|| format!("Manager {}", account.users.len() + 1)),
            email: new.email.unwrap_or_else(|| format!("user{id}@sandbox.example")),
            is_admin: new.is_admin,
        };
        user.check()?;
        Ok(user)
    }
}
