//! Looking: for events and what became of them, for the end of a call, for what was not reported.

use crate::boundary::{boundary, required, value};
use crate::builder::given;
use crate::channel::{Channel, amochats_channel};
use crate::engine::Timeout;
use crate::error::amochats_error;
use crate::handle;
use crate::inbox::{amochats_filter, asked};
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::Error;
use amochats_runtime::store::{EventSummary, Start, SummaryQuery};
use amochats_runtime::{Event, SUMMARIES_MAX};
use serde_json::Value;
use std::mem::MaybeUninit;

/// Which events to list, in which order: for amochats_inbox_list_summaries(). Made by
/// amochats_summary_query_new(), freed by the caller with amochats_summary_query_free(). Not for several threads
/// at once.
pub struct amochats_summary_query(SummaryQuery);

/// Makes a query for the oldest 1000 of all events, the ends of calls included.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_summary_query_new() -> *mut amochats_summary_query {
    value(std::ptr::null_mut(), || Box::into_raw(Box::new(amochats_summary_query(everything()))))
}

fn everything() -> SummaryQuery {
    SummaryQuery { limit: SUMMARIES_MAX, ..SummaryQuery::default() }
}

/// Asks for events that this filter lets through, and for ends of calls where it names no kind. It is copied.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT where it says where to begin, which the query says itself.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_summary_query_set_filter(
    query: Option<&mut amochats_summary_query>,
    filter: Option<&amochats_filter>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let query = required(query, "query")?;
        let amochats_filter { filter, start } = required(filter, "filter")?;
        if *start != Start::Oldest {
            return Err(Error::invalid(
                "filter",
                "may not say where to begin: the query does, with since or after",
            ));
        }
        query.0.filter = filter.clone();
        Ok(())
    })
}

/// Asks for the newest first, in place of the oldest.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_summary_query_set_newest_first(
    query: Option<&mut amochats_summary_query>,
    newest_first: bool,
) {
    value((), || query.map_or((), |query| query.0.newest_first = newest_first));
}

/// Asks for events that were received at or after this time, in Unix milliseconds.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_summary_query_set_since_msec(
    query: Option<&mut amochats_summary_query>,
    since_msec: i64,
) {
    value((), || query.map_or((), |query| query.0.since = Some(since_msec)));
}

/// Asks for events that were received before this time, in Unix milliseconds.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_summary_query_set_until_msec(
    query: Option<&mut amochats_summary_query>,
    until_msec: i64,
) {
    value((), || query.map_or((), |query| query.0.until = Some(until_msec)));
}

/// Asks for the events of one message, by the id that the service gave it; of any message where it is empty.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_summary_query_set_message_ref_id(
    query: Option<&mut amochats_summary_query>,
    message_ref_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        required(query, "query")?.0.message_ref_id = given(message_ref_id, "message_ref_id")?.map(Into::into);
        Ok(())
    })
}

/// Asks for the page after the event that the last page ended with; from the first where `event_id` is empty.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_summary_query_set_after(
    query: Option<&mut amochats_summary_query>,
    event_id: amochats_slice<'_>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        required(query, "query")?.0.after = given(event_id, "event_id")?.map(str::to_owned);
        Ok(())
    })
}

/// Sets the most events of one list, at most 1000.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_summary_query_set_limit(query: Option<&mut amochats_summary_query>, limit: u32) {
    value((), || query.map_or((), |query| query.0.limit = limit as usize));
}

/// Frees a query; NULL is nothing to do.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_summary_query_free(query: Option<Box<amochats_summary_query>>) {
    value((), || drop(query));
}

/// Writes events that are kept, without their bodies; all where `query` is NULL, at most 1000. A list of
/// {"event_id", "channel_id", "account_id", "scope_id", "kind", "received_at_msec", "origin",
/// "conflicting_duplicate", "conversation_ref_id", "conversation_id", "message_ref_id", "size"}.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for a page after an event of another store.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_inbox_list_summaries(
    channel: *const amochats_channel,
    query: Option<&amochats_summary_query>,
    timeout_ms: i64,
    summaries: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(summaries, "summaries")?;
        let query = query.map_or_else(everything, |query| query.0.clone());
        let found = asked(channel, timeout_ms, |inbox| async move { inbox.summaries(query).await })?;
        output.write(amochats_value::into_raw(found.iter().map(EventSummary::to_json).collect()));
        Ok(())
    })
}

/// Writes an event that is kept, and where it is in each subscription: {"summary", "event", "deliveries":
/// [{"subscription", "state", "attempts", "again", "place", "handed_out_at_msec", "settled_at_msec", "until_msec"}]}.
/// The summary is as of amochats_inbox_list_summaries(), the event as amochats_event_json() shows it. What is not
/// known is left out: the first time is that of the last handing out, the second that of the acknowledgement, or of
/// giving it up.
///
/// AMOCHATS_RESULT_NOT_FOUND where there is none of this id, or not any more.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_inbox_event_life(
    channel: *const amochats_channel,
    event_id: amochats_slice<'_>,
    timeout_ms: i64,
    life: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(life, "life")?;
        let id = event_id.text("event_id")?.to_owned();
        let found = asked(channel, timeout_ms, |inbox| async move { inbox.life(&id).await })?;
        output.write(amochats_value::into_raw(found.to_json()));
        Ok(())
    })
}

/// Waits until an item of the outbox has ended: sent, rejected, unknown, expired or cancelled. Writes it, see
/// amochats_outbox_enqueue(); `item` may be NULL. A program that handles many has the ends as events instead:
/// amochats_filter_add_kind() with "outbox".
///
/// AMOCHATS_RESULT_NOT_FOUND; AMOCHATS_RESULT_TIMEOUT where it has not ended by then; it goes on.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_outbox_wait(
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
            channel.engine().run(Timeout::of_ms(timeout_ms), async move { outbox.wait(&id).await })?;
        if let Some(item) = item {
            item.write(amochats_value::into_raw(found.to_json()));
        }
        Ok(())
    })
}

/// Writes message events that were settled without a delivery status, for a program that reports late: a list of
/// what amochats_event_json() shows, at most `limit`, after the event `after` where that is not empty. Reports
/// that were made past the outbox are not known here.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_backfill_unreported(
    channel: *const amochats_channel,
    after: amochats_slice<'_>,
    limit: u32,
    timeout_ms: i64,
    events: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(events, "events")?;
        let after = given(after, "after")?.map(str::to_owned);
        let (backfill, max) = (channel.backfill().clone(), SUMMARIES_MAX.min(limit as usize));
        let work = async move { backfill.unreported(after, max).await };
        let found = channel.engine().run(Timeout::of_ms(timeout_ms), work)?;
        output.write(amochats_value::into_raw(found.iter().map(Event::to_json).collect::<Value>()));
        Ok(())
    })
}

/// Returns whether a path, without its query, is one that the widget calls, for a program that has its own HTTP
/// server and passes such calls to amochats_channel_widget_handle().
#[unsafe(no_mangle)]
pub extern "C" fn amochats_channel_widget_serves(
    channel: *const amochats_channel,
    path: amochats_slice<'_>,
) -> bool {
    value(false, || {
        let Ok(channel) = handle::get::<Channel>(channel, "channel") else { return false };
        let Ok(path) = path.text("path") else { return false };
        channel.widget().is_ok_and(|widget| widget.serves(path))
    })
}
