//! The outbox: calls that are kept and made for the caller.

use crate::boundary::{Out, boundary, required};
use crate::builder::given;
use crate::call::amochats_call;
use crate::channel::{Channel, amochats_channel};
use crate::completion::amochats_callback;
use crate::engine::{Timeout, amochats_token};
use crate::error::amochats_error;
use crate::handle;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::Result;
use amochats_runtime::outbox::{Item, ItemFilter, NewItem};
use serde_json::Value;
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::time::Duration;

/// Keeps a call durably, to be made when its turn comes, in order within its conversation. `item`, which
/// may be NULL, is {"item_id", "scope_id", "key", "call", "state", "attempts", the ids of both sides,
/// "created_at_msec", "expires_at_msec", "ended_at_msec", "problem"}. Of its end an event of the kind
/// "outbox" tells.
///
/// The state is "queued", "sending", "resolving" (it may have arrived, and is looked for), "sent",
/// "rejected", "unknown", "cancelled" or "expired".
///
/// The same `key` with the same call is the same item, which is given back as it is; a message has its
/// message id as the key and takes no other. `expires_in_ms` of 0 is the configured time. connect,
/// disconnect, history and send_typing are not kept. AMOCHATS_RESULT_QUEUE_FULL where too many wait.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_outbox_enqueue(
    channel: *const amochats_channel,
    call: Option<&amochats_call>,
    key: amochats_slice<'_>,
    expires_in_ms: u64,
    timeout_ms: i64,
    item: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let new = new_item(call, key, expires_in_ms)?;
        let outbox = channel.outbox().clone();
        let kept =
            channel.engine().run(Timeout::of_ms(timeout_ms), async move { outbox.enqueue(new).await })?;
        tell(item, &kept);
        Ok(())
    })
}

/// Keeps a call without waiting, see amochats_outbox_enqueue() and amochats_client_call_async(). The value
/// is the item.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_outbox_enqueue_async(
    channel: *const amochats_channel,
    call: Option<&amochats_call>,
    key: amochats_slice<'_>,
    expires_in_ms: u64,
    callback: amochats_callback,
    user_data: *mut c_void,
    token: Option<&mut MaybeUninit<*mut amochats_token>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let new = new_item(call, key, expires_in_ms)?;
        let outbox = channel.outbox().clone();
        let work = async move { outbox.enqueue(new).await.map(|item| Some(item.to_json())) };
        channel.engine().start_call(callback, user_data, None, token, work)
    })
}

fn new_item(call: Option<&amochats_call>, key: amochats_slice<'_>, expires_in_ms: u64) -> Result<NewItem> {
    let mut item = required(call, "call")?.to_item()?;
    item.key = given(key, "key")?.map(str::to_owned);
    item.expires_in = (expires_in_ms > 0).then(|| Duration::from_millis(expires_in_ms));
    Ok(item)
}

fn tell(output: Out<'_, *mut amochats_value>, item: &Item) {
    if let Some(output) = output {
        output.write(amochats_value::into_raw(item.to_json()));
    }
}

/// Writes the item of this id, see amochats_outbox_enqueue().
///
/// AMOCHATS_RESULT_NOT_FOUND where there is none, or none any more.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_outbox_get(
    channel: *const amochats_channel,
    item_id: amochats_slice<'_>,
    timeout_ms: i64,
    item: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let item = required(item, "item")?;
        let id = item_id.text("item_id")?.to_owned();
        let outbox = channel.outbox().clone();
        let found = channel.engine().run(Timeout::of_ms(timeout_ms), async move { outbox.get(&id).await })?;
        tell(Some(item), &found);
        Ok(())
    })
}

/// Takes an item back that was not sent yet. `item`, which may be NULL, is as it is then.
///
/// AMOCHATS_RESULT_NOT_FOUND; AMOCHATS_RESULT_MISUSE where it is on its way, may have arrived or has ended
/// otherwise.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_outbox_cancel(
    channel: *const amochats_channel,
    item_id: amochats_slice<'_>,
    timeout_ms: i64,
    item: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let id = item_id.text("item_id")?.to_owned();
        let outbox = channel.outbox().clone();
        let found =
            channel.engine().run(Timeout::of_ms(timeout_ms), async move { outbox.cancel(&id).await })?;
        tell(item, &found);
        Ok(())
    })
}

/// Writes items in the order of their enqueueing, a list: at most `limit`, which counts up to 1000, in one
/// of these `states` (by comma, as "queued,sending"), of `scope_id`, after the item `after`, where these are
/// not empty.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_outbox_list(
    channel: *const amochats_channel,
    states: amochats_slice<'_>,
    scope_id: amochats_slice<'_>,
    after: amochats_slice<'_>,
    limit: u32,
    timeout_ms: i64,
    items: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(items, "items")?;
        let states = given(states, "states")?.map_or(Ok(Vec::new()), |states| {
            states.split(',').map(|state| state.trim().parse()).collect::<Result<Vec<_>>>()
        })?;
        let filter = ItemFilter {
            states,
            scope_id: given(scope_id, "scope_id")?.map(Into::into),
            after: given(after, "after")?.map(str::to_owned),
            limit: limit as usize,
        };
        let outbox = channel.outbox().clone();
        let items =
            channel.engine().run(Timeout::of_ms(timeout_ms), async move { outbox.list(filter).await })?;
        output.write(amochats_value::into_raw(items.iter().map(Item::to_json).collect::<Value>()));
        Ok(())
    })
}
