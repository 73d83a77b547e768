//! Channels and accounts that change while everything runs.

use crate::boundary::{boundary, required};
use crate::builder::given;
use crate::channel::{Channel, amochats_channel};
use crate::config::amochats_config;
use crate::engine::Timeout;
use crate::error::amochats_error;
use crate::handle;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::{AccountId, ChannelId, Result};
use amochats_runtime::Runtime;
use amochats_runtime::config::{AccountConfig, ChannelConfig};
use serde_json::Value;
use std::mem::MaybeUninit;

/// Has a change made to the channel at work.
fn change<T: Send + 'static>(
    channel: *const amochats_channel,
    timeout_ms: i64,
    change: impl FnOnce(&Runtime) -> Result<T> + Send + 'static,
) -> Result<T> {
    let channel = handle::get::<Channel>(channel, "channel")?;
    let work = channel.with_runtime(change);
    channel.engine().run(Timeout::of_ms(timeout_ms), work)
}

/// The channel that is meant: the only one, unless it is named.
fn named(runtime: &Runtime, channel_id: Option<String>) -> Result<ChannelId> {
    match channel_id {
        Some(id) => Ok(id.into()),
        None => Ok(runtime.channels().only()?.id().clone()),
    }
}

fn owned(slice: amochats_slice<'_>, name: &str) -> Result<Option<String>> {
    Ok(given(slice, name)?.map(str::to_owned))
}

/// Adds a channel, or replaces the one of the same id with all that belongs to it. `json` is what a [[channel]]
/// of the configuration says, as {"id": ..., "secret": ..., "region": "ru"}. It holds until the channel is closed
/// or amochats_channel_reload() sets all of them anew, as everything that is set here does.
///
/// AMOCHATS_RESULT_CONFIG_INVALID, with the key; then nothing has changed.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_set_channel(
    channel: *const amochats_channel,
    json: amochats_slice<'_>,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let set = ChannelConfig::from_json(json.bytes("json")?)?;
        change(channel, timeout_ms, |runtime| runtime.set_channel(set))
    })
}

/// Removes a channel: its webhooks are answered 404 from now on, its events are handed out as before, and what
/// is in the outbox for it waits.
///
/// AMOCHATS_RESULT_UNKNOWN_CHANNEL; AMOCHATS_RESULT_CONFIG_INVALID for the only one.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_remove_channel(
    channel: *const amochats_channel,
    channel_id: amochats_slice<'_>,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let id = ChannelId::from(channel_id.text("channel_id")?);
        change(channel, timeout_ms, move |runtime| runtime.remove_channel(&id))
    })
}

/// Signs with another secret from now on. Webhooks under the one before are accepted until `until`, a time such
/// as "2026-12-01T00:00:00Z"; where it is empty, until the next rotation names one. `channel_id` may be empty
/// where one channel is configured.
///
/// AMOCHATS_RESULT_UNKNOWN_CHANNEL; AMOCHATS_RESULT_CONFIG_INVALID for a secret or a time that cannot be one.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_rotate_secret(
    channel: *const amochats_channel,
    channel_id: amochats_slice<'_>,
    secret: amochats_slice<'_>,
    until: amochats_slice<'_>,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let id = owned(channel_id, "channel_id")?;
        let (secret, until) = (secret.text("secret")?.to_owned(), owned(until, "until")?);
        change(channel, timeout_ms, move |runtime| {
            runtime.rotate_secret(&named(runtime, id)?, &secret, until.as_deref())
        })
    })
}

/// Adds an account to a channel, or replaces what was set of it. `json` is what a [[channel.account]] of the
/// configuration says, as {"id": ..., "connect": true, "title": ..., "hook_version": "v2", "crm_account_id": 7};
/// with "connect" it is connected and kept so. `channel_id` may be empty where one channel is configured.
///
/// AMOCHATS_RESULT_UNKNOWN_CHANNEL; AMOCHATS_RESULT_CONFIG_INVALID, with the key.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_set_account(
    channel: *const amochats_channel,
    channel_id: amochats_slice<'_>,
    json: amochats_slice<'_>,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let id = owned(channel_id, "channel_id")?;
        let account = AccountConfig::from_json(json.bytes("json")?)?;
        change(channel, timeout_ms, |runtime| runtime.set_account(&named(runtime, id)?, account))
    })
}

/// Forgets what was set of an account. It stays connected, and its webhooks are kept, until it is disconnected
/// (amochats_call_disconnect()). `channel_id` may be empty where one channel is configured.
///
/// AMOCHATS_RESULT_UNKNOWN_CHANNEL; AMOCHATS_RESULT_NOT_FOUND for an account that was not set.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_remove_account(
    channel: *const amochats_channel,
    channel_id: amochats_slice<'_>,
    account_id: amochats_slice<'_>,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let id = owned(channel_id, "channel_id")?;
        let account = AccountId::from(account_id.text("account_id")?);
        change(channel, timeout_ms, move |runtime| runtime.remove_account(&named(runtime, id)?, &account))
    })
}

/// Goes on with another configuration: channels, secrets, accounts and limits change under way. Writes the keys
/// whose change needs a restart, a list of text; `restart` may be NULL.
///
/// AMOCHATS_RESULT_CONFIG_INVALID, with the key; then nothing has changed.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_reload(
    channel: *const amochats_channel,
    config: Option<&amochats_config>,
    timeout_ms: i64,
    restart: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let read = required(config, "config")?.read()?;
        let keys = change(channel, timeout_ms, move |runtime| runtime.reload(&read))?;
        if let Some(restart) = restart {
            restart.write(amochats_value::into_raw(keys.into_iter().map(Value::from).collect()));
        }
        Ok(())
    })
}
