//! The whole channel in this process: listener, inbox, outbox, accounts and backfill.

use crate::bridge::{self, Home, Work};
use crate::client::{NativeClient, connect, json, read, seconds, unknown_call};
use crate::consumer::{NativeConsumer, Receiving};
use crate::errors;
use crate::logs;
use crate::widget::PythonAuthorizer;
use crate::{admin, media, widget};
use amochats::{
    ConversationRefId, DeliveryStatus, Error, ErrorKind, HookVersion, MessageRefId, Result, ScopeId,
};
use amochats_runtime::backfill::Progress;
use amochats_runtime::outbox::{Call, Item, ItemFilter, ItemState, LIST_MAX, NewItem};
use amochats_runtime::store::{
    EventQuery, EventSummary, Filter, Replay, Start, SubscriptionState, SummaryQuery,
};
use amochats_runtime::{
    Account, Backfill, Channels, Config, ConsumerOptions, Event, Inbox, Ingested, Media, Outbox, Runtime,
    SUMMARIES_MAX, Verdict, Widget, config,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use futures_util::future::join_all;
use pyo3::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long a channel that is closed finishes what it does.
const CLOSE: Duration = Duration::from_secs(10);
/// The sections of the server's file that mean nothing here.
const OF_THE_SERVER: [&str; 2] = ["grpc", "log"];

/// A channel at work.
struct Running {
    runtime: tokio::sync::Mutex<Option<Runtime>>,
    inbox: Inbox,
    outbox: Outbox,
    backfill: Backfill,
    media: Media,
    widget: Option<Widget>,
    channels: Arc<Channels>,
    listener: String,
    admin: String,
    /// Nothing more is handed out.
    closing: CancellationToken,
    consumers: Mutex<Vec<Weak<Receiving>>>,
}

impl Running {
    async fn start(config: Config) -> Result<Arc<Self>> {
        let runtime = Runtime::start(config).await?;
        let scheme = if runtime.has_tls() { "https" } else { "http" };
        let running = Arc::new(Self {
            inbox: runtime.inbox().clone(),
            outbox: runtime.outbox().clone(),
            backfill: runtime.backfill().clone(),
            media: runtime.media().clone(),
            widget: runtime.widget().cloned(),
            channels: runtime.channels().clone(),
            listener: format!("{scheme}://{}", runtime.listener_address()),
            admin: format!("http://{}", runtime.admin_address()),
            runtime: tokio::sync::Mutex::new(Some(runtime)),
            closing: CancellationToken::new(),
            consumers: Mutex::default(),
        });
        let bridge = bridge::bridge()?;
        let (ending, left_open) = (bridge.ending(), running.clone());
        bridge.finish(async move {
            tokio::select! {
                () = left_open.closing.cancelled() => {}
                () = ending.cancelled() => left_open.close().await,
            }
        });
        Ok(running)
    }

    /// What is unsettled is given back, webhooks in flight are answered, the store is closed.
    async fn close(&self) {
        let mut runtime = self.runtime.lock().await;
        self.closing.cancel();
        let consumers = std::mem::take(&mut *self.consumers());
        for consumer in consumers.iter().filter_map(Weak::upgrade) {
            consumer.end(false).await;
        }
        if let Some(runtime) = runtime.take() {
            runtime.drain().await;
            runtime.shutdown(CLOSE).await;
        }
    }

    fn consumers(&self) -> MutexGuard<'_, Vec<Weak<Receiving>>> {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A consumer that gives back what it has when this is closed.
    fn consumer(&self, subscription: Option<String>, options: ConsumerOptions) -> Arc<Receiving> {
        let ended = self.closing.child_token();
        let receiving = Arc::new(Receiving::new(self.inbox.clone(), subscription, options, ended));
        let mut consumers = self.consumers();
        consumers.retain(|consumer| consumer.strong_count() > 0);
        consumers.push(Arc::downgrade(&receiving));
        receiving
    }
}

/// Where a configuration comes from.
fn load(form: &str, text: &str, environment: Vec<(String, String)>) -> Result<Config> {
    let mut table = match form {
        "json" => serde_json::from_str::<toml::Table>(text).map_err(|_| {
            let rule = "must hold text, numbers, flags, lists and dicts alone; leave out what is None";
            Error::new(ErrorKind::ConfigInvalid, format!("the configuration {rule}"))
        })?,
        _ => config::parse(text)?,
    };
    for section in OF_THE_SERVER {
        table.remove(section);
    }
    Config::from_table(table, environment)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Arguments {
    name: String,
    scope_id: Option<String>,
    start: Option<Starting>,
    filter: Filter,
    ack_id: String,
    ack_ids: Vec<String>,
    delay: Option<f64>,
    after: Option<String>,
    place: i64,
    places: Option<Vec<i64>>,
    limit: Option<usize>,
    newest_first: bool,
    /// In Unix milliseconds.
    since: Option<i64>,
    /// In Unix milliseconds.
    until: Option<i64>,
    event_id: String,
    conversation: String,
    signature: Option<String>,
    call: String,
    key: Option<String>,
    expires_in: Option<f64>,
    message_ref_id: Option<MessageRefId>,
    conversation_ref_id: Option<ConversationRefId>,
    item_id: String,
    states: Vec<String>,
    channel_id: Option<String>,
    account_id: String,
    title: Option<String>,
    hook_version: Option<HookVersion>,
    is_time_window_disabled: Option<bool>,
    max_outstanding: Option<usize>,
    max_outstanding_bytes: Option<usize>,
    lease: Option<f64>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Starting {
    Oldest,
    Now,
    /// In Unix milliseconds.
    Since(i64),
    After(String),
}

impl From<Starting> for Start {
    fn from(start: Starting) -> Self {
        match start {
            Starting::Oldest => Self::Oldest,
            Starting::Now => Self::Now,
            Starting::Since(time) => Self::Since(time),
            Starting::After(event) => Self::After(event),
        }
    }
}

impl Arguments {
    fn start(&self) -> Start {
        self.start.clone().unwrap_or(Starting::Oldest).into()
    }

    fn scope(&self) -> Result<ScopeId> {
        let scope = self.scope_id.as_deref().ok_or_else(|| Error::invalid("scope_id", "is required"))?;
        Ok(scope.into())
    }

    fn limit(&self, max: usize) -> usize {
        self.limit.unwrap_or(max).min(max)
    }

    fn delay(&self) -> Result<Option<Duration>> {
        self.delay.map(|delay| seconds("delay", delay)).transpose()
    }
}

fn kept(event: &Event) -> Value {
    json!({ "event": event.to_json(), "raw": BASE64.encode(&event.raw) })
}

fn subscription(state: &SubscriptionState) -> Value {
    json!({
        "name": state.name, "created_at_msec": state.created_at, "filter": state.filter,
        "unsettled": state.unsettled, "dead": state.dead,
        "oldest_unsettled_at_msec": state.oldest_unsettled_at,
    })
}

fn account(account: &Account) -> Value {
    json!({
        "scope_id": account.scope_id, "state": account.state.name(), "since_msec": account.since,
        "checked_at_msec": account.checked_at, "problem": account.problem, "title": account.title,
        "hook_version": account.hook_version, "heard_at_msec": account.heard_at,
    })
}

fn progress(progress: Progress) -> Result<Vec<u8>> {
    let Progress { running, pending, read, failed, appended } = progress;
    json(&json!({
        "running": running, "pending": pending, "read": read, "failed": failed, "appended": appended,
    }))
}

fn item(item: &Item) -> Result<Vec<u8>> {
    json(&item.to_json())
}

pub(crate) const NOTHING: Vec<u8> = Vec::new();

impl Running {
    async fn call(&self, name: &str, with: Arguments, body: Vec<u8>) -> Result<Vec<u8>> {
        match name {
            "metrics" => match &*self.runtime.lock().await {
                Some(runtime) => json(&runtime.metrics_text().await?),
                None => Err(closed()),
            },
            "ingest" => {
                let scope = with.scope()?;
                let ingested = self.channels.ingest(scope.as_str(), with.signature.as_deref(), body.into());
                json(&match ingested.await? {
                    Ingested::Kept(event_id) => json!({ "outcome": "kept", "event_id": event_id }),
                    Ingested::Duplicate => json!({ "outcome": "duplicate" }),
                    Ingested::Live => json!({ "outcome": "live" }),
                })
            }
            "ack" if body.is_empty() => self.inbox.settle(&with.ack_id, Verdict::Ack).await.map(|()| NOTHING),
            "ack" => item(&self.outbox.acknowledge(&with.ack_id, DeliveryStatus::from_json(&body)?).await?),
            "ack_all" => {
                // All are on their way before the first is answered, so that one commit takes them.
                let settled = with.ack_ids.iter().map(|ack_id| self.inbox.settle(ack_id, Verdict::Ack));
                let mut lost = Vec::new();
                for (place, settled) in join_all(settled).await.into_iter().enumerate() {
                    match settled {
                        Err(error) if error.kind() == ErrorKind::LeaseLost => lost.push(place),
                        other => other?,
                    }
                }
                json(&lost)
            }
            "nack" => {
                let verdict = Verdict::Nack(with.delay()?);
                self.inbox.settle(&with.ack_id, verdict).await.map(|()| NOTHING)
            }
            "dead" => self.inbox.settle(&with.ack_id, Verdict::Dead).await.map(|()| NOTHING),
            "enqueue" | "outbox_get" | "outbox_list" | "outbox_cancel" | "outbox_wait" => {
                self.send(name, with, body).await
            }
            "accounts" | "connect" | "disconnect" | "forget_account" => self.account(name, with).await,
            "backfill" => progress(self.backfill.run().await?),
            "backfill_progress" => progress(self.backfill.progress().await?),
            _ => self.look(name, with).await,
        }
    }

    /// Subscriptions, and what is kept.
    async fn look(&self, name: &str, with: Arguments) -> Result<Vec<u8>> {
        match name {
            "create_subscription" => {
                json(&self.inbox.create_filtered(&with.name, with.start(), with.filter.clone()).await?)
            }
            "delete_subscription" => self.inbox.delete_subscription(&with.name).await.map(|()| NOTHING),
            "subscriptions" => {
                json(&self.inbox.subscriptions().await?.iter().map(subscription).collect::<Vec<_>>())
            }
            "replay" => {
                let replay = Replay { from: with.start(), scope: with.scope_id.clone().map(Into::into) };
                json(&self.inbox.replay(&with.name, replay).await?)
            }
            "dead_letters" => {
                let letters = self.inbox.dead_letters(&with.name, with.place, with.limit(1000)).await?;
                let letter = |letter: &amochats_runtime::store::DeadLetter| {
                    let mut json = kept(&letter.event);
                    json["place"] = letter.place.into();
                    json["attempts"] = letter.attempts.into();
                    json
                };
                json(&letters.iter().map(letter).collect::<Vec<_>>())
            }
            "requeue" => json(&self.inbox.requeue(&with.name, with.places).await?),
            "drop_dead_letters" => json(&self.inbox.drop_dead_letters(&with.name, with.places).await?),
            "event" => {
                let event = self.inbox.event(&with.event_id).await?;
                event.map_or(Ok(NOTHING), |event| json(&kept(&event)))
            }
            "list_events" => {
                let limit = with.limit(1000);
                let scope = with.scope_id.map(Into::into);
                let found = self.inbox.events(EventQuery { after: with.after, scope, limit }).await?;
                json(&found.iter().map(kept).collect::<Vec<_>>())
            }
            "list_summaries" => {
                let limit = with.limit(SUMMARIES_MAX);
                let Arguments { after, newest_first, filter, message_ref_id, since, until, .. } = with;
                let query = SummaryQuery { after, newest_first, filter, message_ref_id, since, until, limit };
                let found = self.inbox.summaries(query).await?;
                json(&found.iter().map(EventSummary::to_json).collect::<Vec<_>>())
            }
            "life" => {
                let life = self.inbox.life(&with.event_id).await?;
                let mut json_of = kept(&life.event);
                let told = life.to_json();
                json_of["summary"] = told["summary"].clone();
                json_of["deliveries"] = told["deliveries"].clone();
                json(&json_of)
            }
            "purge" => json(&self.inbox.purge(&with.scope()?, &with.conversation).await?),
            _ => Err(unknown_call(name)),
        }
    }

    async fn send(&self, name: &str, with: Arguments, body: Vec<u8>) -> Result<Vec<u8>> {
        match name {
            "enqueue" => {
                let mut call = Call::from_json(&with.call, &body, with.message_ref_id.clone())?;
                if let Call::SetDeliveryStatus { conversation_ref_id, .. } = &mut call {
                    conversation_ref_id.clone_from(&with.conversation_ref_id);
                }
                let mut new = NewItem::new(with.scope()?, call);
                new.key.clone_from(&with.key);
                new.expires_in =
                    with.expires_in.map(|expires_in| seconds("expires_in", expires_in)).transpose()?;
                item(&self.outbox.enqueue(new).await?)
            }
            "outbox_get" => item(&self.outbox.get(&with.item_id).await?),
            "outbox_cancel" => item(&self.outbox.cancel(&with.item_id).await?),
            "outbox_list" => {
                let states = with.states.iter().map(|state| state.parse::<ItemState>());
                let filter = ItemFilter {
                    states: states.collect::<Result<_>>()?,
                    scope_id: with.scope_id.clone().map(Into::into),
                    after: with.after.clone(),
                    limit: with.limit(LIST_MAX),
                };
                let found = self.outbox.list(filter).await?;
                json(&found.iter().map(Item::to_json).collect::<Vec<_>>())
            }
            _ => tokio::select! {
                () = self.closing.cancelled() => Err(closed()),
                found = self.outbox.wait(&with.item_id) => item(&found?),
            },
        }
    }

    async fn account(&self, name: &str, with: Arguments) -> Result<Vec<u8>> {
        let accounts = self.channels.accounts();
        if name == "accounts" {
            return json(&accounts.list().iter().map(account).collect::<Vec<_>>());
        }
        if name == "forget_account" {
            return accounts.forget(&with.scope()?).await.map(|()| NOTHING);
        }
        let channel = match &with.channel_id {
            Some(id) => self.channels.get(&id.as_str().into())?,
            None => self.channels.only()?,
        };
        if name == "disconnect" {
            return accounts.disconnect(&channel, &with.account_id.into()).await.map(|()| NOTHING);
        }
        let Arguments { account_id, title, hook_version, is_time_window_disabled, .. } = with;
        let connect = connect(&account_id, title, hook_version, is_time_window_disabled);
        json(&accounts.connect(&channel, &connect).await?)
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the channel is closed")
}

/// Whether a channel works yet, or still.
enum State {
    New(Box<Config>),
    Opening,
    Open(Arc<Running>),
    Closed,
}

type Shared = Arc<Mutex<State>>;

fn state(shared: &Mutex<State>) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

fn running(shared: &Mutex<State>) -> Result<Arc<Running>> {
    match &*state(shared) {
        State::Open(running) => Ok(running.clone()),
        State::Closed => Err(closed()),
        State::New(_) | State::Opening => {
            let said = "the channel is not open yet: use it inside `with` or `async with`";
            Err(Error::new(ErrorKind::Misuse, said))
        }
    }
}

async fn open(shared: Shared) -> Result<Vec<u8>> {
    /// Puts things right where the caller gives up waiting.
    struct Opening(Shared);

    impl Drop for Opening {
        fn drop(&mut self) {
            let mut state = state(&self.0);
            if matches!(*state, State::Opening) {
                *state = State::Closed;
            }
        }
    }

    let config = {
        let mut state = state(&shared);
        match std::mem::replace(&mut *state, State::Opening) {
            State::New(config) => config,
            other => {
                *state = other;
                let said = "a channel is opened once; make another one";
                return Err(Error::new(ErrorKind::Misuse, said));
            }
        }
    };
    let opening = Opening(shared);
    let started = Running::start(*config).await?;
    *state(&opening.0) = State::Open(started);
    Ok(NOTHING)
}

async fn close(shared: Shared) -> Result<Vec<u8>> {
    // It stays open until the last consumer has given back what it had.
    let running = running(&shared);
    if let Ok(running) = running {
        running.close().await;
    }
    *state(&shared) = State::Closed;
    Ok(NOTHING)
}

/// The channel, for Python.
#[pyclass(frozen, module = "amochats._amochats", name = "Channel")]
pub(crate) struct NativeChannel(Home<Shared>);

impl NativeChannel {
    pub(crate) fn work(&self, name: String, arguments: Vec<u8>, body: Vec<u8>) -> Work {
        let shared = Arc::clone(&self.0);
        match name.as_str() {
            "open" => Box::pin(open(shared)),
            "close" => Box::pin(close(shared)),
            _ => Box::pin(async move {
                let running = running(&shared)?;
                match name.split_once('.') {
                    Some(("media", verb)) => media::call(&running.media, verb, &arguments, body).await,
                    Some(("widget", verb)) => {
                        let widget = widget::configured(running.widget.as_ref())?;
                        widget::call(widget, verb, &arguments, body).await
                    }
                    Some(("admin", verb)) => match &*running.runtime.lock().await {
                        Some(runtime) => admin::call(runtime, verb, &arguments, &body),
                        None => Err(closed()),
                    },
                    _ => running.call(&name, read(&arguments)?, body).await,
                }
            }),
        }
    }
}

#[pymethods]
impl NativeChannel {
    #[new]
    fn new(py: Python<'_>, form: &str, text: &str, environment: Vec<(String, String)>) -> PyResult<Self> {
        logs::look_at_level(py)?;
        let make = || {
            bridge::bridge()?;
            load(form, text, environment)
        };
        let config = py.detach(make).map_err(|error| errors::to_python(py, &error))?;
        Ok(Self(Home::new(Arc::new(Mutex::new(State::New(Box::new(config)))))))
    }

    /// Where webhooks arrive, and where health and metrics are.
    fn addresses(&self, py: Python<'_>) -> PyResult<(String, String)> {
        let running = self.running(py)?;
        Ok((running.listener.clone(), running.admin.clone()))
    }

    /// Goes on with another configuration; gives the keys whose change needs a restart.
    fn reload(
        &self,
        py: Python<'_>,
        form: &str,
        text: &str,
        environment: Vec<(String, String)>,
    ) -> PyResult<Vec<&'static str>> {
        let running = self.running(py)?;
        let reload = || {
            let config = load(form, text, environment)?;
            running.runtime.blocking_lock().as_ref().ok_or_else(closed)?.reload(&config)
        };
        py.detach(reload).map_err(|error| errors::to_python(py, &error))
    }

    /// The client of one of the channels.
    fn client(&self, py: Python<'_>, channel_id: Option<&str>) -> PyResult<NativeClient> {
        let running = self.running(py)?;
        let channel = match channel_id {
            Some(id) => running.channels.get(&id.into()),
            None => running.channels.only(),
        };
        let channel = channel.map_err(|error| errors::to_python(py, &error))?;
        Ok(NativeClient::of(channel.client().clone()))
    }

    /// Has a function decide who may connect an account.
    fn set_authorizer(&self, py: Python<'_>, decide: Py<PyAny>) -> PyResult<()> {
        let running = self.running(py)?;
        let widget =
            widget::configured(running.widget.as_ref()).map_err(|error| errors::to_python(py, &error))?;
        widget.set_authorizer(Some(Arc::new(PythonAuthorizer::new(decide))));
        Ok(())
    }

    /// Gives a delivery more time; touches no disk.
    fn extend(&self, py: Python<'_>, ack_id: &str, lease: f64) -> PyResult<()> {
        let running = self.running(py)?;
        let extended = seconds("lease", lease).and_then(|lease| running.inbox.extend(ack_id, lease));
        extended.map_err(|error| errors::to_python(py, &error))
    }

    /// A consumer, which is opened by its first call.
    fn consumer(&self, py: Python<'_>, arguments: &[u8]) -> PyResult<NativeConsumer> {
        let running = self.running(py)?;
        let make = || {
            let Arguments { name, max_outstanding, max_outstanding_bytes, lease, .. } = read(arguments)?;
            let mut options = ConsumerOptions::default();
            options.max_outstanding = max_outstanding.unwrap_or(options.max_outstanding);
            options.max_outstanding_bytes = max_outstanding_bytes.unwrap_or(options.max_outstanding_bytes);
            if let Some(lease) = lease {
                options.lease = seconds("lease", lease)?;
            }
            let name = (!name.is_empty()).then_some(name);
            Ok(NativeConsumer::of(running.consumer(name, options)))
        };
        make().map_err(|error: Error| errors::to_python(py, &error))
    }
}

impl NativeChannel {
    fn running(&self, py: Python<'_>) -> PyResult<Arc<Running>> {
        let running = bridge::bridge().and_then(|_| running(&self.0));
        running.map_err(|error| errors::to_python(py, &error))
    }
}

impl Drop for NativeChannel {
    fn drop(&mut self) {
        if let (Ok(bridge), Ok(running)) = (bridge::bridge(), running(&self.0)) {
            bridge.finish(async move { running.close().await });
        }
    }
}
