//! Subscriptions, dead letters and the events that are kept.

use crate::boundary::{Out, boundary, required, value};
use crate::builder::given;
use crate::channel::{Channel, amochats_channel, present};
use crate::engine::Timeout;
use crate::error::amochats_error;
use crate::event::amochats_event;
use crate::handle;
use crate::result::amochats_result;
use crate::slice::{amochats_slice, integers};
use crate::value::amochats_value;
use amochats_core::{Error, Result};
use amochats_runtime::Inbox;
use amochats_runtime::store::{DeadLetter, EventQuery, Filter, Replay, Start, SubscriptionState};
use serde_json::{Value, json};
use std::mem::MaybeUninit;

/// Which events, and from where on: for amochats_subscription_create(), amochats_inbox_replay() and
/// amochats_summary_query_set_filter(). Made by amochats_filter_new(), freed by the caller with
/// amochats_filter_free(). Not for several threads at once.
pub struct amochats_filter {
    pub(crate) filter: Filter,
    pub(crate) start: Start,
}

/// The kinds that a filter may name.
const KINDS: [&str; 5] = ["message", "typing", "reaction", "unknown", "outbox"];

/// Makes a filter that lets everything through but the ends of calls, from the oldest event on.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_filter_new() -> *mut amochats_filter {
    value(std::ptr::null_mut(), || {
        Box::into_raw(Box::new(amochats_filter { filter: Filter::default(), start: Start::Oldest }))
    })
}

/// Lets events of this kind through, and of other kinds only if they are added as well: "message",
/// "typing", "reaction", "unknown", "outbox".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_filter_add_kind(
    filter: Option<&mut amochats_filter>,
    kind: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let filter = required(filter, "filter")?;
        let kind = kind.text("kind")?;
        if !KINDS.contains(&kind) {
            return Err(Error::invalid("kind", format!("must be one of {}", KINDS.join(", "))));
        }
        filter.filter.kinds.push(kind.to_owned());
        Ok(())
    })
}

/// Lets events of this account through, and of others only if they are added as well.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_filter_add_account(
    filter: Option<&mut amochats_filter>,
    account_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    narrow(filter, account_id, "account_id", error, |filter, id| filter.filter.accounts.push(id.into()))
}

/// Lets events of this connection through, and of others only if they are added as well.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_filter_add_scope(
    filter: Option<&mut amochats_filter>,
    scope_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    narrow(filter, scope_id, "scope_id", error, |filter, id| filter.filter.scopes.push(id.into()))
}

/// Lets events of this conversation through, by either id, and of others only if they are added as well.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_filter_add_conversation(
    filter: Option<&mut amochats_filter>,
    conversation: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    narrow(filter, conversation, "conversation", error, |filter, id| filter.filter.conversations.push(id))
}

fn narrow(
    filter: Option<&mut amochats_filter>,
    text: amochats_slice<'_>,
    name: &str,
    error: Out<'_, *mut amochats_error>,
    narrow: impl FnOnce(&mut amochats_filter, String),
) -> amochats_result {
    boundary(error, || {
        narrow(required(filter, "filter")?, text.text(name)?.to_owned());
        Ok(())
    })
}

/// Begins after the newest event that is kept.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_filter_start_now(filter: Option<&mut amochats_filter>) {
    value((), || filter.map_or((), |filter| filter.start = Start::Now));
}

/// Begins at the first event received at or after this time, in Unix milliseconds.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_filter_start_since_msec(filter: Option<&mut amochats_filter>, since_msec: i64) {
    value((), || filter.map_or((), |filter| filter.start = Start::Since(since_msec)));
}

/// Begins after the event of this id.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_filter_start_after(
    filter: Option<&mut amochats_filter>,
    event_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    narrow(filter, event_id, "event_id", error, |filter, id| filter.start = Start::After(id))
}

/// Frees a filter; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_filter_free(filter: Option<Box<amochats_filter>>) {
    value((), || drop(filter));
}

/// Makes a subscription, unless there is one of that name, which stays as it is. `filter` may be NULL;
/// `created`, which may be NULL, tells whether it is new.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for a name that is not 1 to 64 letters, digits, "-", "_" and ".".
#[unsafe(no_mangle)]
pub extern "C" fn amochats_subscription_create(
    channel: *const amochats_channel,
    name: amochats_slice<'_>,
    filter: Option<&amochats_filter>,
    timeout_ms: i64,
    created: Option<&mut MaybeUninit<bool>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let name = name.text("name")?.to_owned();
        let (start, filter) = filter.map_or((Start::Oldest, Filter::default()), |filter| {
            (filter.start.clone(), filter.filter.clone())
        });
        let work = |inbox: Inbox| async move { inbox.create_filtered(&name, start, filter).await };
        let is_new = asked(channel, timeout_ms, work)?;
        if let Some(created) = created {
            created.write(is_new);
        }
        Ok(())
    })
}

/// Deletes a subscription and all that waits in it; its consumers end.
///
/// AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_subscription_delete(
    channel: *const amochats_channel,
    name: amochats_slice<'_>,
    timeout_ms: i64,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let name = name.text("name")?.to_owned();
        let work = |inbox: Inbox| async move { inbox.delete_subscription(&name).await };
        asked(channel, timeout_ms, work)
    })
}

/// Writes the subscriptions by name, a list of {"name", "created_at_msec", "filter", "unsettled", "dead",
/// "oldest_unsettled_at_msec"}.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_subscription_list(
    channel: *const amochats_channel,
    timeout_ms: i64,
    subscriptions: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(subscriptions, "subscriptions")?;
        let work = |inbox: Inbox| async move { inbox.subscriptions().await };
        let list = asked(channel, timeout_ms, work)?;
        output.write(amochats_value::into_raw(list.into_iter().map(subscription).collect()));
        Ok(())
    })
}

fn subscription(state: SubscriptionState) -> Value {
    let SubscriptionState { id: _, name, created_at, filter, unsettled, dead, oldest_unsettled_at } = state;
    let filter = serde_json::to_value(filter).expect("a filter is lists of text");
    present([
        ("name", Some(name.into())),
        ("created_at_msec", Some(created_at.into())),
        ("filter", Some(filter)),
        ("unsettled", Some(unsettled.into())),
        ("dead", Some(dead.into())),
        ("oldest_unsettled_at_msec", oldest_unsettled_at.map(Into::into)),
    ])
}

/// Hands events out again that were kept before, from where `filter` begins (NULL: the oldest) and of its
/// scope, if it names one, at the end of a subscription and marked. Writes how many at most, since the
/// subscription's own filter goes for them, too; `count` may be NULL.
///
/// AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND; AMOCHATS_RESULT_INVALID_ARGUMENT for a filter by anything but
/// one scope, and for an event that is not kept.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_inbox_replay(
    channel: *const amochats_channel,
    subscription: amochats_slice<'_>,
    filter: Option<&amochats_filter>,
    timeout_ms: i64,
    count: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let name = subscription.text("subscription")?.to_owned();
        let replay = match filter {
            None => Replay { from: Start::Oldest, scope: None },
            Some(amochats_filter { filter, start }) => {
                let Filter { accounts, scopes, kinds, conversations } = filter;
                if !accounts.is_empty() || !kinds.is_empty() || !conversations.is_empty() || scopes.len() > 1
                {
                    return Err(Error::invalid("filter", "may name one scope here, and nothing else"));
                }
                Replay { from: start.clone(), scope: scopes.first().cloned() }
            }
        };
        let work = |inbox: Inbox| async move { inbox.replay(&name, replay).await };
        tell(count, asked(channel, timeout_ms, work)?);
        Ok(())
    })
}

/// Asks the inbox, and waits for it.
pub(crate) fn asked<T: Send + 'static, W>(
    channel: &Channel,
    timeout_ms: i64,
    work: impl FnOnce(Inbox) -> W,
) -> Result<T>
where
    W: Future<Output = Result<T>> + Send + 'static,
{
    channel.engine().run(Timeout::of_ms(timeout_ms), work(channel.inbox().clone()))
}

fn tell(output: Option<&mut MaybeUninit<u64>>, count: u64) {
    if let Some(output) = output {
        output.write(count);
    }
}

/// Writes what a subscription has given up, at most `limit` after the place `after` (0: from the first), a
/// list of {"place", "attempts", "event"}.
///
/// AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_dead_letters_list(
    channel: *const amochats_channel,
    subscription: amochats_slice<'_>,
    after: i64,
    limit: u32,
    timeout_ms: i64,
    letters: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(letters, "letters")?;
        let name = subscription.text("subscription")?.to_owned();
        let work = |inbox: Inbox| async move { inbox.dead_letters(&name, after, limit as usize).await };
        let letters = asked(channel, timeout_ms, work)?;
        let letters = letters.into_iter().map(|DeadLetter { place, attempts, event }| {
            json!({ "place": place, "attempts": attempts, "event": event.to_json() })
        });
        output.write(amochats_value::into_raw(letters.collect()));
        Ok(())
    })
}

/// Hands dead letters out again, those at `places` or, where that is NULL, all, at the end of the
/// subscription and marked. Writes how many; `done` may be NULL.
///
/// AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND.
///
/// # Safety
/// `places` must be NULL or point to `count` places.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amochats_dead_letters_requeue(
    channel: *const amochats_channel,
    subscription: amochats_slice<'_>,
    places: *const i64,
    count: usize,
    timeout_ms: i64,
    done: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let name = subscription.text("subscription")?.to_owned();
        // SAFETY: the caller upholds this function's contract.
        let places = unsafe { list_of(places, count) }?;
        let work = |inbox: Inbox| async move { inbox.requeue(&name, places).await };
        tell(done, asked(channel, timeout_ms, work)?);
        Ok(())
    })
}

/// Drops dead letters for good, those at `places` or, where that is NULL, all. Writes how many; `done` may
/// be NULL.
///
/// AMOCHATS_RESULT_SUBSCRIPTION_NOT_FOUND.
///
/// # Safety
/// `places` must be NULL or point to `count` places.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn amochats_dead_letters_drop(
    channel: *const amochats_channel,
    subscription: amochats_slice<'_>,
    places: *const i64,
    count: usize,
    timeout_ms: i64,
    done: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let name = subscription.text("subscription")?.to_owned();
        // SAFETY: the caller upholds this function's contract.
        let places = unsafe { list_of(places, count) }?;
        let work = |inbox: Inbox| async move { inbox.drop_dead_letters(&name, places).await };
        tell(done, asked(channel, timeout_ms, work)?);
        Ok(())
    })
}

/// # Safety
/// `places` must be NULL or point to `count` places.
unsafe fn list_of(places: *const i64, count: usize) -> Result<Option<Vec<i64>>> {
    // SAFETY: the caller upholds this function's contract.
    (!places.is_null()).then(|| unsafe { integers(places, count, "places") }).transpose()
}

/// Writes an event that is kept, to be freed with amochats_event_free(); NULL where there is none of this
/// id any more.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_inbox_get_event(
    channel: *const amochats_channel,
    event_id: amochats_slice<'_>,
    timeout_ms: i64,
    event: Option<&mut MaybeUninit<*mut amochats_event>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(event, "event")?;
        let id = event_id.text("event_id")?.to_owned();
        let work = |inbox: Inbox| async move { inbox.event(&id).await };
        let found = asked(channel, timeout_ms, work)?;
        output.write(found.map_or(std::ptr::null_mut(), |event| Box::into_raw(Box::new(event.into()))));
        Ok(())
    })
}

/// Writes the events that are kept, oldest first, a list of what amochats_event_json() shows: at most
/// `limit`, after the event `after` and of `scope_id`, where these are not empty.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for an event that is not kept.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_inbox_list_events(
    channel: *const amochats_channel,
    after: amochats_slice<'_>,
    scope_id: amochats_slice<'_>,
    limit: u32,
    timeout_ms: i64,
    events: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(events, "events")?;
        let query = EventQuery {
            after: given(after, "after")?.map(str::to_owned),
            scope: given(scope_id, "scope_id")?.map(Into::into),
            limit: limit as usize,
        };
        let work = |inbox: Inbox| async move { inbox.events(query).await };
        let events = asked(channel, timeout_ms, work)?;
        output.write(amochats_value::into_raw(events.iter().map(amochats_runtime::Event::to_json).collect()));
        Ok(())
    })
}

/// Deletes the events of a conversation, by either id, settled or not, for good. Writes how many; `count`
/// may be NULL.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_inbox_purge(
    channel: *const amochats_channel,
    scope_id: amochats_slice<'_>,
    conversation: amochats_slice<'_>,
    timeout_ms: i64,
    count: Option<&mut MaybeUninit<u64>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let scope = scope_id.text("scope_id")?.into();
        let conversation = conversation.text("conversation")?.to_owned();
        let work = |inbox: Inbox| async move { inbox.purge(&scope, &conversation).await };
        tell(count, asked(channel, timeout_ms, work)?);
        Ok(())
    })
}
