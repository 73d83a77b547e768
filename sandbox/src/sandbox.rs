//! The running sandbox and what a test or a program can do with it.

use crate::config::{SandboxConfig, web_address};
use crate::crm::{self, CrmHandle};
use crate::hooks::{self, Hook, HookOutcome};
use crate::journal::{Journal, JournalEntry};
use crate::persist::{self, StateFile};
use crate::state::{Account, Author, Chat, Content, Message, Party, State};
use crate::tls::TlsListener;
use crate::{api, control};
use amochats::{
    AccountId, ChannelId, ChannelSecret, ConversationRefId, Error, ErrorKind, MessageRefId, Result, UserRefId,
};
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
    inner: Arc<Inner>,
    keeper: Option<JoinHandle<()>>,
}

/// Something that a look at the sandbox would now show otherwise.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Change {
    /// The webhook URL was set.
    Settings,
    /// An account was connected or disconnected.
    Account {
        /// Which.
        account_id: AccountId,
    },
    /// A chat is new or was read.
    Chat {
        /// Which.
        conversation_ref_id: ConversationRefId,
    },
    /// A client is typing. A sandbox keeps nothing of it: show it now or never.
    Typing {
        /// The chat.
        conversation_ref_id: ConversationRefId,
        /// How long to show it, in milliseconds.
        duration_ms: u32,
    },
    /// A message is new, or changed in any way.
    Message {
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

/// What the servers, the page and the handle share.
pub(crate) struct Inner {
    pub(crate) config: SandboxConfig,
    pub(crate) secret: ChannelSecret,
    pub(crate) http: reqwest::Client,
    pub(crate) api_addr: SocketAddr,
    pub(crate) page_addr: SocketAddr,
    pub(crate) stop: CancellationToken,
    pub(crate) changes: broadcast::Sender<Change>,
    /// Something of the CRM's waits to be sent.
    pub(crate) crm_wake: Notify,
    tasks: TaskTracker,
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
            None => (None, State::new(&config)),
        };
        let secret = ChannelSecret::new(state.channel.secret.as_str())?;
        let inner = Arc::new(Inner {
            secret,
            http: hooks::http_client()?,
            api_addr: address(&api_listener)?,
            page_addr: address(&page_listener)?,
            stop: CancellationToken::new(),
            changes: broadcast::Sender::new(CHANGES_KEPT),
            crm_wake: Notify::new(),
            tasks: TaskTracker::new(),
            state: Mutex::new(state),
            journal: Mutex::new(Journal::new(config.journal_capacity)),
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
            None => inner.serve(api_listener, api::router(inner.clone())),
            Some(identity) => {
                inner.serve(
                    TlsListener::new(api_listener, identity, inner.api_addr),
                    api::router(inner.clone()),
                );
            }
        }
        inner.serve(page_listener, control::router(inner.clone()));
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

    /// The channel's id.
    pub fn channel_id(&self) -> ChannelId {
        self.inner.state().channel.id.clone()
    }

    /// The channel's secret, as text.
    pub fn secret(&self) -> String {
        self.inner.state().channel.secret.clone()
    }

    /// The channel's code.
    pub fn channel_code(&self) -> String {
        self.inner.state().channel.code.clone()
    }

    /// The channel's bot, which stands in `sender.ref_id` of messages by an unknown author.
    pub fn bot_ref_id(&self) -> UserRefId {
        self.inner.state().channel.bot_ref_id.clone()
    }

    /// The CRM: integrations, tokens, and what a person does there.
    pub fn crm(&self) -> CrmHandle<'_> {
        CrmHandle::new(&self.inner)
    }

    /// The accounts with their connections and managers.
    pub fn accounts(&self) -> Vec<Account> {
        self.inner.state().accounts.clone()
    }

    /// Sets where webhooks go from now on; `:scope_id` is replaced by the scope.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for what is no address of the web.
    pub fn set_webhook_url(&self, url: impl Into<String>) -> Result<()> {
        self.inner.set_webhook_url(url.into())
    }

    /// The chats, the one with the latest message first.
    pub fn chats(&self) -> Vec<Chat> {
        self.inner.state().chats()
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
        self.inner.react(chat, message, emoji).await
    }

    /// A manager writes first, to a phone of which the channel knows nothing yet. Returns when the
    /// webhook was answered or given up.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown account, an empty phone or an empty content.
    pub async fn write_first(&self, account: &AccountId, phone: &str, content: Content) -> Result<Answered> {
        self.inner.write_first(account, phone, content).await
    }

    /// A manager types in a chat. `None` where no webhook is due: one was sent less than 5 s ago,
    /// or the account gets webhooks v1, which have no such form.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for an unknown chat.
    pub async fn typing(&self, chat: &ConversationRefId) -> Result<Option<HookOutcome>> {
        self.inner.typing(chat).await
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
    })
}

fn address(listener: &TcpListener) -> Result<SocketAddr> {
    listener.local_addr().map_err(|error| {
        Error::new(ErrorKind::ConfigInvalid, format!("the listening address cannot be read: {error}"))
    })
}

fn no_chat() -> Error {
    Error::invalid("conversation_ref_id", "there is no such chat")
}

fn message_of(state: &State, chat: &ConversationRefId, id: &MessageRefId) -> Result<Message> {
    let found = state.messages(chat).iter().find(|message| message.message_ref_id == *id);
    found.cloned().ok_or_else(|| Error::invalid("message_ref_id", "there is no such message in this chat"))
}

impl Inner {
    pub(crate) fn api_url(&self) -> String {
        format!("{}://{}", if self.config.tls.is_some() { "https" } else { "http" }, self.api_addr)
    }

    fn serve<L: Listener<Addr = SocketAddr>>(self: &Arc<Self>, listener: L, router: axum::Router) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
            if let Err(error) = served {
                tracing::error!(%error, "a listener of the sandbox ended");
            }
        });
    }

    /// Runs something on its own; a stopping sandbox waits for it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
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

    pub(crate) fn message_changed(&self, chat: &ConversationRefId, message: &MessageRefId) {
        self.changed(Change::Message { conversation_ref_id: chat.clone(), message_ref_id: message.clone() });
    }

    pub(crate) fn set_webhook_url(&self, url: String) -> Result<()> {
        web_address("webhook_url", &url)?;
        self.state().webhook_url = Some(url);
        self.changed(Change::Settings);
        Ok(())
    }

    pub(crate) fn mark_read(&self, chat: &ConversationRefId) -> Result<()> {
        let changed = {
            let mut state = self.state();
            state.chat(chat).ok_or_else(no_chat)?;
            let changed = state.mark_read(chat);
            if changed {
                crm::chat_read(&mut state, chat, self);
            }
            changed
        };
        if changed {
            self.changed(Change::Chat { conversation_ref_id: chat.clone() });
        }
        Ok(())
    }

    pub(crate) async fn answer(
        self: &Arc<Self>,
        chat: &ConversationRefId,
        mut content: Content,
        quoted: Option<&MessageRefId>,
    ) -> Result<Answered> {
        if content.text.trim().is_empty() && content.attachment.is_none() {
            return Err(Error::invalid("content", "must have a text or an attachment"));
        }
        if let Some(attachment) = &content.attachment {
            web_address("content.attachment.url", &attachment.url)?;
        }
        let now_msec = self.config.clock.now_msec();
        let (message_ref_id, hook) = {
            let mut state = self.state();
            let account_id = state.chat(chat).ok_or_else(no_chat)?.account_id.clone();
            let account = state.account(&account_id).cloned().expect("a chat belongs to an account");
            let quoted = quoted.map(|id| message_of(&state, chat, id)).transpose()?;
            if let Some(quoted) = &quoted {
                content.quote(quoted);
            }
            let message = state.answer(chat, &account.managers[0], content, now_msec);
            let mut chat = state.chat(chat).cloned().expect("it was found above");
            // A chat that was never given a source has the default one, as long as it is that.
            if chat.source_external_id.is_none() {
                chat.source_external_id = state.crm.default_source(&account_id, &state.channel.id);
            }
            let gen1 = self.config.personality == crate::Personality::Gen1;
            let hook = Hook::message(&account, &chat, &message, quoted.as_ref(), gen1, now_msec);
            (message.message_ref_id.clone(), hook)
        };
        self.message_changed(chat, &message_ref_id);

        // A task of its own: a page that goes away does not take the webhook with it.
        let (inner, chat, id) = (self.clone(), chat.clone(), message_ref_id.clone());
        let sending = self.tasks.spawn(async move {
            let outcome = match hook {
                Some(hook) => hooks::deliver(&inner, hook).await,
                None => HookOutcome::NotConnected,
            };
            inner.state().change_message(&id, |message| message.hook = Some(outcome.verdict()));
            inner.message_changed(&chat, &id);
            Answered { conversation_ref_id: chat, message_ref_id: id, hook: outcome }
        });
        sending.await.map_err(|_| Error::new(ErrorKind::Closed, "the sandbox is stopping"))
    }

    pub(crate) async fn write_first(
        self: &Arc<Self>,
        account: &AccountId,
        phone: &str,
        content: Content,
    ) -> Result<Answered> {
        if phone.trim().is_empty() {
            return Err(Error::invalid("phone", "must not be empty"));
        }
        if self.config.personality == crate::Personality::Gen1 {
            return Err(Error::invalid("personality", "in the first generation only a client starts a chat"));
        }
        let chat = {
            let mut state = self.state();
            if state.account(account).is_none() {
                return Err(Error::invalid("account_id", "there is no such account"));
            }
            state.open_chat(account, phone)
        };
        self.changed(Change::Chat { conversation_ref_id: chat.clone() });
        self.answer(&chat, content, None).await
    }

    pub(crate) async fn react(
        self: &Arc<Self>,
        chat: &ConversationRefId,
        message: &MessageRefId,
        emoji: Option<&str>,
    ) -> Result<Option<HookOutcome>> {
        if emoji.is_some_and(|emoji| emoji.trim().is_empty()) {
            return Err(Error::invalid("emoji", "must not be empty"));
        }
        let now_msec = self.config.clock.now_msec();
        let hook = {
            let mut state = self.state();
            let chat = state.chat(chat).cloned().ok_or_else(no_chat)?;
            message_of(&state, &chat.conversation_ref_id, message)?;
            let account = state.account(&chat.account_id).cloned().expect("a chat belongs to an account");
            let manager = &account.managers[0];
            let by = Author {
                party: Party::Manager,
                user_ref_id: manager.user_ref_id.clone(),
                name: manager.name.clone(),
            };
            state.change_message(message, |message| message.set_reaction(by, emoji.map(str::to_owned)));
            Hook::reaction(&account, &chat, message, manager, emoji, now_msec)
        };
        self.message_changed(chat, message);
        let Some(hook) = hook else { return Ok(None) };
        let inner = self.clone();
        let sending = self.tasks.spawn(async move { hooks::deliver(&inner, hook).await });
        sending.await.map(Some).map_err(|_| Error::new(ErrorKind::Closed, "the sandbox is stopping"))
    }

    pub(crate) async fn typing(self: &Arc<Self>, chat: &ConversationRefId) -> Result<Option<HookOutcome>> {
        let now_msec = self.config.clock.now_msec();
        let hook = {
            let mut state = self.state();
            let chat = state.chat(chat).cloned().ok_or_else(no_chat)?;
            let account = state.account(&chat.account_id).cloned().expect("a chat belongs to an account");
            let manager = &account.managers[0];
            let hook = Hook::typing(&account, &chat, manager, now_msec);
            hook.filter(|_| state.typing_due(&chat.conversation_ref_id, &manager.user_ref_id, now_msec))
        };
        let Some(hook) = hook else { return Ok(None) };
        let inner = self.clone();
        let sending = self.tasks.spawn(async move { hooks::deliver(&inner, hook).await });
        sending.await.map(Some).map_err(|_| Error::new(ErrorKind::Closed, "the sandbox is stopping"))
    }
}
