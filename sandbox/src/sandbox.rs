//! The running sandbox and what a test or a program can do with it.

use crate::config::{SandboxConfig, web_address};
use crate::crm::{self, CrmHandle};
use crate::faults::{Draws, Faults};
use crate::files::Files;
use crate::hooks::{self, HookOutcome, Lanes};
use crate::journal::{Journal, JournalEntry};
use crate::manager::{Answered, Writing};
use crate::persist::{self, StateFile};
use crate::plug::{Plug, Plugged};
use crate::state::{
    Account, Channel, Chat, Content, Line, Message, NewAccount, NewChannel, NewUser, Saved, State, User,
    snapshot_json,
};
use crate::switches::Switches;
use crate::throttle::Throttle;
use crate::tls::TlsListener;
use crate::{api, control};
use amochats::{AccountId, ChannelId, ConversationRefId, Error, ErrorKind, MessageRefId, Result, UserRefId};
use axum::serve::Listener;
use serde::Serialize;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How many changes a slow subscriber may be behind before it misses some.
const CHANGES_KEPT: usize = 1024;
/// How long [`Sandbox::shutdown`] waits for calls in progress.
const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(7);

/// A local amoCRM that listens. It stops when dropped; [`Sandbox::shutdown`] also waits for it.
#[derive(Debug)]
pub struct Sandbox {
    pub(crate) inner: Arc<Inner>,
    keeper: Option<JoinHandle<()>>,
}

/// Something that a look at the sandbox would now show otherwise.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// Everything: it was reset, or another state was put in its place.
    Reset,
    /// A channel, a switch or a fault.
    Settings,
    /// An account: a user came, a channel was connected or disconnected.
    Account {
        /// Which.
        account_id: AccountId,
    },
    /// A chat is new or was read.
    Chat {
        /// Its account.
        account_id: AccountId,
        /// Its channel.
        channel_id: ChannelId,
        /// Which.
        conversation_ref_id: ConversationRefId,
    },
    /// A client is typing. A sandbox keeps nothing of it: show it now or never.
    Typing {
        /// The chat's account.
        account_id: AccountId,
        /// The chat's channel.
        channel_id: ChannelId,
        /// The chat.
        conversation_ref_id: ConversationRefId,
        /// How long to show it, in milliseconds.
        duration_ms: u32,
    },
    /// A message is new, or changed in any way.
    Message {
        /// The chat's account.
        account_id: AccountId,
        /// The chat's channel.
        channel_id: ChannelId,
        /// The chat.
        conversation_ref_id: ConversationRefId,
        /// The message.
        message_ref_id: MessageRefId,
    },
    /// The journal has a new entry.
    Journal {
        /// Its number.
        seq: u64,
    },
}

/// What the servers, the page and the handle share.
pub(crate) struct Inner {
    pub(crate) config: SandboxConfig,
    pub(crate) http: reqwest::Client,
    pub(crate) api_addr: SocketAddr,
    pub(crate) page_addr: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) tasks: TaskTracker,
    /// Something of the CRM's waits to be sent.
    pub(crate) crm_wake: Notify,
    pub(crate) lanes: Mutex<Lanes>,
    pub(crate) throttle: Mutex<Throttle>,
    pub(crate) files: Mutex<Files>,
    pub(crate) hook_sent: Notify,
    switches: Mutex<Switches>,
    draws: Mutex<Draws>,
    state: Mutex<State>,
    journal: Mutex<Journal>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox")
            .field("api", &self.api_addr)
            .field("page", &self.page_addr)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts a sandbox. When this returns it listens.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] with the field of the configuration that cannot be used,
    /// [`ErrorKind::ConfigInvalid`] where an address cannot be listened on, and with the field `state`
    /// where that file cannot be used; it is left as it is.
    pub async fn start(config: SandboxConfig) -> Result<Self> {
        config.validate()?;
        let api_listener = listen("api_addr", config.api_addr).await?;
        let page_listener = listen("page_addr", config.page_addr).await?;
        let (file, state) = match &config.state {
            Some(path) => StateFile::open(path, &config).map(|(file, state)| (Some(file), state))?,
            None => (None, State::new(&config)?),
        };
        let inner = Arc::new(Inner {
            http: hooks::http_client()?,
            api_addr: address(&api_listener)?,
            page_addr: address(&page_listener)?,
            stop: CancellationToken::new(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            tasks: TaskTracker::new(),
            crm_wake: Notify::new(),
            lanes: Mutex::default(),
            throttle: Mutex::default(),
            files: Mutex::default(),
            hook_sent: Notify::new(),
            switches: Mutex::new(config.switches.clone()),
            draws: Mutex::new(Draws::new(config.faults.clone())),
            state: Mutex::new(state),
            journal: Mutex::new(Journal::new(config.journal_capacity, config.journal_bytes)),
            config,
        });
        let keeper = file.map(|file| {
            let changes = inner.changes.subscribe();
            if inner.config.webhook_url.is_some() {
                inner.changed(Change::Settings);
            }
            tokio::spawn(persist::keep(inner.clone(), file, changes))
        });
        match &inner.config.tls {
            None => inner.serve_api(api_listener),
            Some(identity) => {
                let listener = TlsListener::new(api_listener, identity, inner.api_addr);
                inner.serve_api(listener);
            }
        }
        let pages = axum::serve(page_listener, control::router(inner.clone()));
        let stop = inner.stop.clone().cancelled_owned();
        inner.serve(pages.with_graceful_shutdown(stop).into_future());
        inner.tasks.spawn(crm::webhooks::run(inner.clone()));
        Ok(Self { inner, keeper })
    }

    /// Where the chats API listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.inner.api_addr
    }

    /// The address of the chats API, as a client's base URL.
    pub fn api_url(&self) -> String {
        self.inner.api_url()
    }

    /// Where the page listens.
    pub fn page_addr(&self) -> SocketAddr {
        self.inner.page_addr
    }

    /// The first channel's id.
    pub fn channel_id(&self) -> ChannelId {
        self.first(|channel| channel.channel_id.clone())
    }

    /// The first channel's secret, as text.
    pub fn secret(&self) -> String {
        self.first(|channel| channel.secret.clone())
    }

    /// The first channel's code.
    pub fn channel_code(&self) -> String {
        self.first(|channel| channel.code.clone())
    }

    /// The first channel's bot, which stands in `sender.ref_id` of messages by an unknown author.
    pub fn bot_ref_id(&self) -> UserRefId {
        self.first(|channel| channel.bot_ref_id.clone())
    }

    fn first<T>(&self, of: impl FnOnce(&Channel) -> T) -> T {
        of(&self.inner.state().channels[0])
    }

    /// The channels.
    pub fn channels(&self) -> Vec<Channel> {
        self.inner.state().channels.clone()
    }

    /// The CRM: integrations, tokens, and what a person does there.
    pub fn crm(&self) -> CrmHandle<'_> {
        CrmHandle::new(&self.inner)
    }

    /// The accounts with their connections and users.
    pub fn accounts(&self) -> Vec<Account> {
        self.inner.state().accounts.clone()
    }

    /// Registers one more channel.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a field that cannot be used, and for an id that is taken.
    pub fn add_channel(&self, new: NewChannel) -> Result<Channel> {
        self.inner.add_channel(new)
    }

    /// Changes a channel: the one of the same id.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown channel, and for a field that cannot be used.
    pub fn update_channel(&self, channel: Channel) -> Result<()> {
        self.inner.update_channel(channel)
    }

    /// Removes a channel with its connections. Its chats stay, to be read.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown channel, and for the last one.
    pub fn remove_channel(&self, channel: &ChannelId) -> Result<()> {
        self.inner.remove_channel(channel)
    }

    /// Opens one more account.
    ///
    /// # Errors
    /// As [`Sandbox::add_channel`].
    pub fn add_account(&self, new: NewAccount) -> Result<Account> {
        self.inner.add_account(new)
    }

    /// Adds a user to an account.
    ///
    /// # Errors
    /// As [`Sandbox::add_channel`], and for an unknown account.
    pub fn add_user(&self, account: &AccountId, new: NewUser) -> Result<User> {
        self.inner.add_user(account, new)
    }

    /// Sets where webhooks of the first channel go from now on; `:scope_id` is replaced by the scope.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for what is no address of the web.
    pub fn set_webhook_url(&self, url: impl Into<String>) -> Result<()> {
        let url = url.into();
        web_address("webhook_url", &url)?;
        let first = self.first(Channel::clone);
        self.inner.update_channel(Channel { webhook_url: Some(url), ..first })
    }

    /// How strict it is at present.
    pub fn switches(&self) -> Switches {
        self.inner.switches()
    }

    /// Sets how strict it is from now on.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a value that cannot be used.
    pub fn set_switches(&self, switches: Switches) -> Result<()> {
        self.inner.set_switches(switches)
    }

    /// The faults at present.
    pub fn faults(&self) -> Faults {
        self.inner.draws().faults().clone()
    }

    /// Sets the faults from now on; their draws begin anew.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a rule that cannot be.
    pub fn set_faults(&self, faults: Faults) -> Result<()> {
        self.inner.set_faults(faults)
    }

    /// Forgets chats, messages, files and the journal, and sets switches and faults as at the start. Channels,
    /// accounts, users and connections stay.
    pub fn reset(&self) {
        self.inner.reset();
    }

    /// All that a state's file has, as JSON.
    pub fn snapshot(&self) -> Vec<u8> {
        self.inner.snapshot()
    }

    /// Puts a snapshot in the place of the present state.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for what is no snapshot; then nothing is changed.
    pub fn restore(&self, snapshot: &[u8]) -> Result<()> {
        self.inner.restore(snapshot)
    }

    /// The chats, the one with the latest message first. All of them are copied.
    pub fn chats(&self) -> Vec<Chat> {
        self.inner.state().chats().cloned().collect()
    }

    /// The messages of a chat in the order of their times; none for an unknown chat.
    pub fn messages(&self, chat: &ConversationRefId) -> Vec<Message> {
        self.inner.state().messages(chat).to_vec()
    }

    /// The journal, the oldest entry first.
    pub fn journal(&self) -> Vec<JournalEntry> {
        self.inner.journal().entries().cloned().collect()
    }

    /// Changes from now on. Who falls far behind gets `Lagged` and should look anew.
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.inner.changes.subscribe()
    }

    /// A manager writes, with all that a manager can say: several attachments, a quote, buttons, a
    /// template. One message and one webhook for each attachment. Returns when the webhooks were
    /// answered or given up.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown chat, user or quoted message, for what has
    /// neither text nor attachment, and for what the channel cannot do.
    pub async fn write(&self, chat: &ConversationRefId, writing: Writing) -> Result<Vec<Answered>> {
        self.inner.write(chat, writing).await
    }

    /// A manager answers in a chat. Returns when the webhook was answered or given up.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown chat, and for a content without text and attachment.
    pub async fn answer(&self, chat: &ConversationRefId, content: Content) -> Result<Answered> {
        self.inner.answer(chat, content, None).await
    }

    /// A manager answers a message of the chat. Text to a comment becomes a comment under the same
    /// post, anything else a direct message that quotes it. Returns when the webhook was answered
    /// or given up.
    ///
    /// # Errors
    /// As [`Sandbox::answer`], and [`ErrorKind::InvalidArgument`] for a message of another chat.
    pub async fn reply(
        &self,
        chat: &ConversationRefId,
        quoted: &MessageRefId,
        content: Content,
    ) -> Result<Answered> {
        self.inner.answer(chat, content, Some(quoted)).await
    }

    /// A manager reacts to a message, or takes the reaction back where there is no emoji. `None`
    /// where no webhook is due: the account gets webhooks v1, which have no such form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown chat, a message of another one, and an empty
    /// emoji.
    pub async fn react(
        &self,
        chat: &ConversationRefId,
        message: &MessageRefId,
        emoji: Option<&str>,
    ) -> Result<Option<HookOutcome>> {
        self.inner.react(chat, message, emoji, None).await
    }

    /// A manager writes first through the first channel, to a phone of which it knows nothing yet.
    /// Returns when the webhook was answered or given up.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown account, an empty phone or an empty content.
    pub async fn write_first(&self, account: &AccountId, phone: &str, content: Content) -> Result<Answered> {
        let line = Line::of(&self.channel_id(), account);
        let mut sent = self.inner.write_first(&line, phone, Writing::of(content)).await?;
        Ok(sent.swap_remove(0))
    }

    /// A manager types in a chat. `None` where no webhook is due: one was sent less than 5 s ago,
    /// or the account gets webhooks v1, which have no such form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown chat.
    pub async fn typing(&self, chat: &ConversationRefId) -> Result<Option<HookOutcome>> {
        self.inner.typing(chat, None, None).await
    }

    /// A manager has seen a chat.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown chat.
    pub fn mark_read(&self, chat: &ConversationRefId) -> Result<()> {
        self.inner.mark_read(chat)
    }

    /// Stops listening, lets calls in progress end (at most 7 s), writes the state to its file, if
    /// it has one, and returns.
    pub async fn shutdown(mut self) {
        self.inner.stop.cancel();
        if !self.inner.drained().await {
            tracing::warn!("some calls did not end in time");
        }
        if let Some(keeper) = self.keeper.take()
            && keeper.await.is_err()
        {
            tracing::error!("the sandbox's state was not written at the end");
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.inner.stop.cancel();
    }
}

async fn listen(field: &str, addr: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        Error::new(ErrorKind::ConfigInvalid, format!("{field}: cannot listen on {addr}: {error}"))
            .with_field(field)
            .with_source(error)
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|error| {
        Error::new(ErrorKind::ConfigInvalid, format!("the listening address cannot be read: {error}"))
    })
}

impl Inner {
    pub(crate) fn api_url(&self) -> String {
        format!("{}://{}", if self.config.tls.is_some() { "https" } else { "http" }, self.api_addr)
    }

    fn serve_api<L: Listener<Addr = SocketAddr>>(self: &Arc<Self>, listener: L) {
        let service = api::router(self.clone()).into_make_service_with_connect_info::<Plug>();
        let stop = self.stop.clone().cancelled_owned();
        self.serve(axum::serve(Plugged(listener), service).with_graceful_shutdown(stop).into_future());
    }

    fn serve(&self, serving: impl Future<Output = std::io::Result<()>> + Send + 'static) {
        self.tasks.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "a listener of the sandbox ended");
            }
        });
    }

    /// Whether all calls in progress ended in time.
    pub(crate) async fn drained(&self) -> bool {
        self.tasks.close();
        tokio::time::timeout(SHUTDOWN_DEADLINE, self.tasks.wait()).await.is_ok()
    }

    // A panic while the lock was held is a bug that was reported; the state itself is whole.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn journal(&self) -> MutexGuard<'_, Journal> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self, entry: JournalEntry) {
        let seq = self.journal().push(entry);
        self.changed(Change::Journal { seq });
    }

    pub(crate) fn changed(&self, change: Change) {
        // Nobody may be listening.
        let _ = self.changes.send(change);
    }

    pub(crate) fn switches(&self) -> Switches {
        self.switches.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_switches(&self, switches: Switches) -> Result<()> {
        switches.validate()?;
        *self.switches.lock().unwrap_or_else(PoisonError::into_inner) = switches;
        self.changed(Change::Settings);
        Ok(())
    }

    pub(crate) fn draws(&self) -> MutexGuard<'_, Draws> {
        self.draws.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_faults(&self, faults: Faults) -> Result<()> {
        faults.validate()?;
        *self.draws() = Draws::new(faults);
        self.changed(Change::Settings);
        Ok(())
    }

    pub(crate) fn message_changed(&self, line: &Line, chat: &ConversationRefId, message: &MessageRefId) {
        self.changed(Change::Message {
            account_id: line.account_id.clone(),
            channel_id: line.channel_id.clone(),
            conversation_ref_id: chat.clone(),
            message_ref_id: message.clone(),
        });
    }

    pub(crate) fn chat_changed(&self, line: &Line, chat: &ConversationRefId) {
        self.changed(Change::Chat {
            account_id: line.account_id.clone(),
            channel_id: line.channel_id.clone(),
            conversation_ref_id: chat.clone(),
        });
    }

    pub(crate) fn add_channel(&self, new: NewChannel) -> Result<Channel> {
        let channel = self.state().add_channel(new)?;
        self.changed(Change::Settings);
        Ok(channel)
    }

    pub(crate) fn update_channel(&self, channel: Channel) -> Result<()> {
        self.state().replace_channel(channel)?;
        self.changed(Change::Settings);
        Ok(())
    }

    pub(crate) fn remove_channel(&self, channel: &ChannelId) -> Result<()> {
        self.state().remove_channel(channel)?;
        self.changed(Change::Settings);
        Ok(())
    }

    pub(crate) fn add_account(&self, new: NewAccount) -> Result<Account> {
        let account = self.state().add_account(new)?;
        self.changed(Change::Account { account_id: account.account_id.clone() });
        Ok(account)
    }

    pub(crate) fn add_user(&self, account: &AccountId, new: NewUser) -> Result<User> {
        let user = self.state().add_user(account, new)?;
        self.changed(Change::Account { account_id: account.clone() });
        Ok(user)
    }

    pub(crate) fn reset(&self) {
        self.state().clear();
        self.journal().clear();
        *self.lanes.lock().unwrap_or_else(PoisonError::into_inner) = Lanes::default();
        *self.throttle.lock().unwrap_or_else(PoisonError::into_inner) = Throttle::default();
        *self.files.lock().unwrap_or_else(PoisonError::into_inner) = Files::default();
        *self.switches.lock().unwrap_or_else(PoisonError::into_inner) = self.config.switches.clone();
        *self.draws() = Draws::new(self.config.faults.clone());
        self.changed(Change::Reset);
    }

    pub(crate) fn snapshot(&self) -> Vec<u8> {
        // The lock is held for the copy alone, not for the writing.
        let saved = Saved::of(&self.state());
        snapshot_json(&saved)
    }

    pub(crate) fn restore(&self, snapshot: &[u8]) -> Result<()> {
        let state = Saved::from_json(snapshot)?.replace(&self.config)?;
        *self.state() = state;
        self.changed(Change::Reset);
        Ok(())
    }
}
