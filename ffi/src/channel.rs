//! The whole channel in this process.

use crate::boundary::{boundary, required, value};
use crate::buffer::amochats_buffer;
use crate::completion::{Mailbox, amochats_callback, outside_of_callbacks};
use crate::config::amochats_config;
use crate::consumer::{amochats_consumer, dispatcher};
use crate::engine::{Engine, Timeout, amochats_token};
use crate::error::amochats_error;
use crate::handle::{self, Kind};
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::{Error, ErrorKind, Result};
use amochats_runtime::{
    Account, Backfill, Channels, Inbox, Ingested, Media, Outbox, Runtime, Widget, backfill,
};
use serde_json::{Map, Value, json};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};
use tokio::sync::RwLock;

/// The channel at work in this process: the listener for webhooks, the inbox that keeps them and hands
/// them out, the outbox that sends, and the backfill. Made by amochats_channel_open(), ended by
/// amochats_channel_close(), freed by the caller with amochats_channel_free(). Any thread may use it.
///
/// It has threads of its own, with all signals blocked, and leaves the process's signals alone. After a
/// fork() the child may not use it: every function returns AMOCHATS_RESULT_FORKED, and only
/// amochats_channel_free() may be called, which leaves it be. Where a `timeout_ms` is asked for, a
/// negative one is for ever; a call that waits is AMOCHATS_RESULT_MISUSE inside a callback.
pub struct amochats_channel {
    _opaque: [u8; 0],
}

pub(crate) struct Channel {
    engine: Arc<Engine>,
    inbox: Inbox,
    outbox: Outbox,
    backfill: Backfill,
    media: Media,
    widget: Option<Widget>,
    channels: Arc<Channels>,
    listener: Box<str>,
    admin: Box<str>,
    runtime: Arc<RwLock<Option<Runtime>>>,
}

impl Kind for Channel {
    type C = amochats_channel;
    const NAME: &'static str = "amochats_channel";
    const MARK: u64 = 0x616d_6f63_6861_6e6e;
}

impl Channel {
    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn media(&self) -> &Media {
        &self.media
    }

    pub(crate) fn widget(&self) -> Result<&Widget> {
        self.widget.as_ref().ok_or_else(|| {
            let said = "widget.redirect_uri: must be set, or no accounts are linked here";
            Error::new(ErrorKind::ConfigInvalid, said).with_field("widget.redirect_uri")
        })
    }

    pub(crate) fn channels(&self) -> &Arc<Channels> {
        &self.channels
    }

    pub(crate) fn backfill(&self) -> &Backfill {
        &self.backfill
    }

    /// Asks the runtime, unless it is closed.
    pub(crate) fn with_runtime<T, F>(&self, ask: F) -> impl Future<Output = Result<T>> + Send + use<T, F>
    where
        F: FnOnce(&Runtime) -> Result<T> + Send + 'static,
    {
        let runtime = self.runtime.clone();
        async move { ask(runtime.read().await.as_ref().ok_or_else(crate::engine::is_closed)?) }
    }

    fn close(&self, timeout: Timeout) -> Result<()> {
        // What is for ever is long enough.
        let ends = timeout.ends().unwrap_or_else(|| Instant::now() + Duration::from_hours(24 * 365));
        let runtime = self.runtime.clone();
        self.engine.close(ends, async move {
            let runtime = runtime.write().await.take();
            if let Some(runtime) = runtime {
                runtime.shutdown(ends.saturating_duration_since(Instant::now())).await;
            }
        })
    }
}

/// Opens the channel: the store, the listener and all that works behind them. What a process left
/// undone, also one that was killed, goes on.
///
/// AMOCHATS_RESULT_CONFIG_INVALID, with the key, for a configuration that cannot be used or an address
/// that is taken; AMOCHATS_RESULT_STORE_LOCKED where another process, or this one, has the store open;
/// AMOCHATS_RESULT_STORE_FAILED and AMOCHATS_RESULT_STORE_FULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_open(
    config: Option<&amochats_config>,
    timeout_ms: i64,
    channel: Option<&mut MaybeUninit<*mut amochats_channel>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        outside_of_callbacks()?;
        let config = required(config, "config")?;
        let channel = required(channel, "channel")?;
        let read = config.read()?;
        let engine = Engine::start(config.threads, config.log)?;
        let started = engine.run(Timeout::of_ms(timeout_ms), Runtime::start(read));
        let runtime = match started {
            Ok(runtime) => runtime,
            Err(error) => {
                // Its threads end before the caller is told.
                let _ = engine.close(Instant::now() + Duration::from_secs(5), async {});
                return Err(error);
            }
        };
        let opened = Channel {
            engine,
            inbox: runtime.inbox().clone(),
            outbox: runtime.outbox().clone(),
            backfill: runtime.backfill().clone(),
            media: runtime.media().clone(),
            widget: runtime.widget().cloned(),
            channels: runtime.channels().clone(),
            listener: runtime.listener_address().to_string().into(),
            admin: runtime.admin_address().to_string().into(),
            runtime: Arc::new(RwLock::new(Some(runtime))),
        };
        channel.write(handle::into_raw(opened));
        Ok(())
    })
}

/// Ends the channel: webhooks in flight are answered, what is on the wire is waited for, calls that do
/// not wait are called back with AMOCHATS_RESULT_CANCELLED, consumers end and give back what they hold,
/// the store is closed. Then no thread of the channel remains and no callback comes any more. Whatever
/// belongs to the channel returns AMOCHATS_RESULT_CLOSED from now on. Closed before, it is
/// AMOCHATS_RESULT_OK.
///
/// AMOCHATS_RESULT_TIMEOUT where something was cut off, perhaps a callback that does not return; what was
/// kept is kept. AMOCHATS_RESULT_MISUSE inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_close(
    channel: *const amochats_channel,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || handle::get::<Channel>(channel, "channel")?.close(Timeout::of_ms(timeout_ms)))
}

/// Closes the channel within 5 s where it is not closed, and frees it. Its consumers, deliveries and
/// clients may be freed before or after it. In a callback it does nothing, since it would wait for
/// itself. NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_free(channel: *mut amochats_channel) {
    value((), || {
        if outside_of_callbacks().is_err() {
            return;
        }
        let Ok(Some(channel)) = handle::take::<Channel>(channel, "channel") else { return };
        if channel.object().engine.same_process().is_err() {
            // Its locks may be held by threads that are not here.
            std::mem::forget(channel);
            return;
        }
        // What was cut off cannot be told here.
        let _ = channel.object().close(Timeout::of_ms(5000));
    });
}

fn text<'a>(
    channel: *const amochats_channel,
    get: impl FnOnce(&'a Channel) -> &'a str,
) -> amochats_slice<'a> {
    value(amochats_slice::ABSENT, || {
        handle::get::<Channel>(channel, "channel")
            .map_or(amochats_slice::ABSENT, |channel| get(channel).into())
    })
}

/// Returns where webhooks arrive, as "127.0.0.1:8080", with the port that was picked for port 0. It ends
/// with the channel.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_listener_address<'a>(
    channel: *const amochats_channel,
) -> amochats_slice<'a> {
    text(channel, |channel| &channel.listener)
}

/// Returns where /healthz, /readyz and /metrics are, likewise.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_admin_address<'a>(channel: *const amochats_channel) -> amochats_slice<'a> {
    text(channel, |channel| &channel.admin)
}

/// What became of a webhook.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum amochats_ingested {
    /// It is on the disk and will be handed out until it is settled. Answer 200.
    Kept = 0,
    /// The same message was kept before. Answer 200.
    Duplicate = 1,
    /// Typing: it was handed out live and is not kept. Answer 200.
    Live = 2,
}

/// Takes in a webhook that another HTTP server received: verifies it, keeps it durably and only then
/// returns. `scope_id` is the last part of the address, `signature` the X-Signature header (nothing
/// where there is none), `body` the bytes as they came. `ingested` may be NULL.
///
/// What is genuine is never refused for its content. AMOCHATS_RESULT_UNKNOWN_CHANNEL: answer 404;
/// AMOCHATS_RESULT_SIGNATURE_MISSING, AMOCHATS_RESULT_SIGNATURE_MISMATCH: answer 401; anything else:
/// answer 503, it is not promised to be kept. The vendor waits 5 s, so let `timeout_ms` be 4000.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_ingest(
    channel: *const amochats_channel,
    scope_id: amochats_slice<'_>,
    signature: amochats_slice<'_>,
    body: amochats_slice<'_>,
    timeout_ms: i64,
    ingested: Option<&mut MaybeUninit<amochats_ingested>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let work = channel.ingest(scope_id, signature, body)?;
        let (kind, _event_id) = channel.engine.run(Timeout::of_ms(timeout_ms), work)?;
        if let Some(ingested) = ingested {
            ingested.write(kind);
        }
        Ok(())
    })
}

/// Takes in a webhook without waiting, see amochats_channel_ingest() and amochats_client_call_async(). The
/// value is {"ingested": "kept", "event_id": ...}, or "duplicate" or "live".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_ingest_async(
    channel: *const amochats_channel,
    scope_id: amochats_slice<'_>,
    signature: amochats_slice<'_>,
    body: amochats_slice<'_>,
    callback: amochats_callback,
    user_data: *mut c_void,
    token: Option<&mut MaybeUninit<*mut amochats_token>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let work = channel.ingest(scope_id, signature, body)?;
        channel.engine.start_call(callback, user_data, None, token, async move {
            let (kind, event_id) = work.await?;
            let name = match kind {
                amochats_ingested::Kept => "kept",
                amochats_ingested::Duplicate => "duplicate",
                amochats_ingested::Live => "live",
            };
            let mut answer = json!({ "ingested": name });
            if let Some(event_id) = event_id {
                answer["event_id"] = event_id.into();
            }
            Ok(Some(answer))
        })
    })
}

impl Channel {
    fn ingest(
        &self,
        scope_id: amochats_slice<'_>,
        signature: amochats_slice<'_>,
        body: amochats_slice<'_>,
    ) -> Result<impl Future<Output = Result<(amochats_ingested, Option<String>)>> + Send + use<>> {
        // Whoever sends a webhook chooses both: what is no text names no channel and signs nothing.
        let scope = String::from_utf8_lossy(scope_id.bytes("scope_id")?).into_owned();
        let bytes = signature.bytes("signature")?;
        let signature = signature.is_present().then(|| String::from_utf8_lossy(bytes).into_owned());
        let body = body.bytes("body")?.to_vec();
        let channels = self.channels.clone();
        Ok(async move {
            Ok(match channels.ingest(&scope, signature.as_deref(), body.into()).await? {
                Ingested::Kept(event_id) => (amochats_ingested::Kept, Some(event_id)),
                Ingested::Duplicate => (amochats_ingested::Duplicate, None),
                Ingested::Live => (amochats_ingested::Live, None),
            })
        })
    }
}

/// Sends the completions of calls that do not wait, of this channel and its clients, to a consumer:
/// amochats_consumer_dispatch() runs them on the caller's thread, in place of a thread of the library.
/// Those of calls that begin after this; until the consumer is freed.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_set_dispatcher(
    channel: *const amochats_channel,
    consumer: *const amochats_consumer,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let queue: Arc<dyn Mailbox> = dispatcher(consumer)?;
        let mailbox: Weak<dyn Mailbox> = Arc::downgrade(&queue);
        channel.engine.set_mailbox(mailbox);
        Ok(())
    })
}

/// Writes what is counted, in the form that Prometheus reads, as /metrics shows it.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_metrics(
    channel: *const amochats_channel,
    timeout_ms: i64,
    text: Option<&mut MaybeUninit<*mut amochats_buffer>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let text = required(text, "text")?;
        let runtime = channel.runtime.clone();
        let metrics = channel.engine.run(Timeout::of_ms(timeout_ms), async move {
            let runtime = runtime.read().await;
            runtime.as_ref().ok_or_else(crate::engine::is_closed)?.metrics_text().await
        })?;
        text.write(amochats_buffer::into_raw(metrics.into_bytes()));
        Ok(())
    })
}

/// Checks that the channel can keep webhooks: AMOCHATS_RESULT_OK, or what keeps it from that.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_health(
    channel: *const amochats_channel,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let runtime = channel.runtime.clone();
        channel.engine.run(Timeout::of_ms(timeout_ms), async move {
            let runtime = runtime.read().await;
            runtime.as_ref().ok_or_else(crate::engine::is_closed)?.ready().await
        })
    })
}

/// Writes the accounts that are known, a list of {"scope_id", "state", "since_msec", "checked_at_msec",
/// "problem", "title", "hook_version", "heard_at_msec"}. The state is "discovered" (a webhook came),
/// "connected", "disconnected" or "disabled". Waits for nothing.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_accounts(
    channel: *const amochats_channel,
    accounts: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let accounts = required(accounts, "accounts")?;
        channel.engine.same_process()?;
        let list = channel.channels.accounts().list().into_iter().map(account).collect();
        accounts.write(amochats_value::into_raw(Value::Array(list)));
        Ok(())
    })
}

fn account(account: Account) -> Value {
    let Account { scope_id, state, since, checked_at, problem, title, hook_version, heard_at } = account;
    let fields: [(&str, Option<Value>); 8] = [
        ("scope_id", Some(scope_id.as_str().into())),
        ("state", Some(state.name().into())),
        ("since_msec", Some(since.into())),
        ("checked_at_msec", checked_at.map(Into::into)),
        ("problem", problem.map(Into::into)),
        ("title", title.map(Into::into)),
        ("hook_version", hook_version.map(Into::into)),
        ("heard_at_msec", heard_at.map(Into::into)),
    ];
    present(fields)
}

/// An object of the fields that are there.
pub(crate) fn present<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let there = fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(there.collect::<Map<_, _>>())
}

/// Forgets an account. Its next webhook makes it known again.
///
/// AMOCHATS_RESULT_NOT_FOUND where it is not known.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_forget_account(
    channel: *const amochats_channel,
    scope_id: amochats_slice<'_>,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let scope = scope_id.text("scope_id")?.into();
        let channels = channel.channels.clone();
        let work = async move { channels.accounts().forget(&scope).await };
        channel.engine.run(Timeout::of_ms(timeout_ms), work)
    })
}

/// Begins to fetch from the history what no webhook brought, of every known conversation. `progress`,
/// which may be NULL, is as amochats_backfill_progress() writes it.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_backfill_start(
    channel: *const amochats_channel,
    timeout_ms: i64,
    progress: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let backfill = channel.backfill.clone();
        let done = channel.engine.run(Timeout::of_ms(timeout_ms), async move { backfill.run().await })?;
        if let Some(progress) = progress {
            progress.write(amochats_value::into_raw(progress_json(done)));
        }
        Ok(())
    })
}

/// Writes how far the backfill is: {"running", "pending", "read", "failed", "appended"}, all but the
/// first counts: of conversations, and of events that were kept.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_backfill_progress(
    channel: *const amochats_channel,
    timeout_ms: i64,
    progress: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let progress = required(progress, "progress")?;
        let backfill = channel.backfill.clone();
        let done =
            channel.engine.run(Timeout::of_ms(timeout_ms), async move { backfill.progress().await })?;
        progress.write(amochats_value::into_raw(progress_json(done)));
        Ok(())
    })
}

fn progress_json(progress: backfill::Progress) -> Value {
    let backfill::Progress { running, pending, read, failed, appended } = progress;
    json!({
        "running": running, "pending": pending, "read": read, "failed": failed, "appended": appended,
    })
}
