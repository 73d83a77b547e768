//! Looking: for events and what became of them, for the end of a call, for what was not reported.

use crate::boundary::{boundary, required, value};
use crate::builder::given;
use crate::channel::{Channel, amochats_channel};
use crate::engine::Timeout;
use crate::error::amochats_error;
use crate::handle;
use crate::result::amochats_result;
use crate::slice::amochats_slice;
use crate::value::amochats_value;
use amochats_core::{Error, Result};
use amochats_runtime::outbox::Item;
use amochats_runtime::store::{EventSummary, Filter, SummaryQuery};
use amochats_runtime::{Event, Outbox};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::mem::MaybeUninit;
use std::time::Duration;

/// The most events in one list.
const MOST: usize = 1000;

/// What a query may say. Nothing else: a name that is not known is a mistake that would not be seen.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Query {
    filter: Wanted,
    newest_first: bool,
    since_msec: Option<i64>,
    until_msec: Option<i64>,
    message_ref_id: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wanted {
    accounts: Vec<String>,
    scopes: Vec<String>,
    kinds: Vec<String>,
    conversations: Vec<String>,
}

impl Query {
    fn read(json: amochats_slice<'_>) -> Result<Self> {
        let Some(json) = given(json, "query")? else { return Ok(Self::default()) };
        // By way of a map: of a list the fields would be taken by their order.
        let object = serde_json::from_str::<Map<String, Value>>(json);
        object.and_then(|object| serde_json::from_value(object.into())).map_err(|_| {
            Error::invalid("query", "must be a JSON object of what amochats_inbox_list_summaries() names")
        })
    }
}

impl From<Query> for SummaryQuery {
    fn from(query: Query) -> Self {
        let Query { filter, newest_first, since_msec, until_msec, message_ref_id, after, limit } = query;
        let Wanted { accounts, scopes, kinds, conversations } = filter;
        let accounts = accounts.into_iter().map(Into::into).collect();
        let scopes = scopes.into_iter().map(Into::into).collect();
        Self {
            after,
            newest_first,
            filter: Filter { accounts, scopes, kinds, conversations },
            since: since_msec,
            until: until_msec,
            message_ref_id: message_ref_id.map(Into::into),
            limit: limit.unwrap_or(MOST),
        }
    }
}

/// Writes events that are kept, without their bodies, a list of {"event_id", "channel_id", "account_id", "scope_id",
/// "kind", "received_at_msec", "origin", "conflicting_duplicate", "conversation_ref_id", "conversation_id",
/// "message_ref_id", "size"}.
///
/// `query` is empty, or an object in JSON: "filter" is {"accounts", "scopes", "kinds", "conversations"}, each a
/// list of text of which one must fit where it is not empty; "newest_first"; "since_msec" and "until_msec", Unix
/// milliseconds, of the times of receiving; "message_ref_id", of this message alone; "after", the event_id that the last page ended with; "limit", at most
/// 1000.
///
/// AMOCHATS_RESULT_INVALID_ARGUMENT for another query, and for an event of another store.
#[unsafe(no_mangle)]
pub extern "C" fn amochats_inbox_list_summaries(
    channel: *const amochats_channel,
    query: amochats_slice<'_>,
    timeout_ms: i64,
    summaries: Option<&mut MaybeUninit<*mut amochats_value>>,
    error: Option<&mut MaybeUninit<*mut amochats_error>>,
) -> amochats_result {
    boundary(error, || {
        let channel = handle::get::<Channel>(channel, "channel")?;
        let output = required(summaries, "summaries")?;
        let query = Query::read(query)?;
        let inbox = channel.inbox().clone();
        let work = async move { inbox.summaries(query.into()).await };
        let found = channel.engine().run(Timeout::of_ms(timeout_ms), work)?;
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
        let inbox = channel.inbox().clone();
        let found = channel.engine().run(Timeout::of_ms(timeout_ms), async move { inbox.life(&id).await })?;
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
        let work = ended(channel.outbox().clone(), id);
        let found = channel.engine().run(Timeout::of_ms(timeout_ms), work)?;
        if let Some(item) = item {
            item.write(amochats_value::into_raw(found.to_json()));
        }
        Ok(())
    })
}

/// The outbox has nobody told of the end of one item, so it is looked at, soon first and seldom later.
async fn ended(outbox: Outbox, id: String) -> Result<Item> {
    let mut pause = Duration::from_millis(10);
    loop {
        let item = outbox.get(&id).await?;
        if item.state.is_final() {
            return Ok(item);
        }
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(Duration::from_millis(500));
    }
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
        let (backfill, max) = (channel.backfill().clone(), MOST.min(limit as usize));
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
