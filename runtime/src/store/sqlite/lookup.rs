//! Finding events without reading their bodies, and where they are in each subscription.

use super::append::number;
use super::deliveries::{place_of, store_id};
use super::feed::first_since;
use crate::event::Origin;
use crate::store::{
    DeadSummary, DeliveryState, EventDelivery, EventSummary, Filter, SubscriptionId, SummaryQuery, Token,
    event_not_found, subscription_not_found,
};
use amochats::{AccountId, ChannelId, MessageRefId, Result, ScopeId};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// How many events one statement looks at: as long as somebody reads, the log cannot be reset.
const LOOKED_AT: i64 = 10_000;

/// What is read of an event. The length is known without reading the body.
const SUMMARY: &str = "e.seq, s.channel_id, s.account_id, e.kind, e.received_at, e.origin, e.conflicting, \
                       e.conversation_ref_id, e.conversation_id, e.message_ref_id, length(e.body), e.scope \
                       FROM event e JOIN scope s ON s.id = e.scope";

/// What of a list is still to be looked at.
pub(super) struct Search {
    query: SummaryQuery,
    /// The events of both numbers and those between.
    left: Option<(i64, i64)>,
    /// Of those only these, as a list in JSON; None: any.
    only: Option<String>,
}

impl Search {
    pub(super) fn begin(connection: &Connection, query: SummaryQuery) -> rusqlite::Result<Result<Self>> {
        let bounds = connection.query_row("SELECT min(seq), max(seq) FROM event", [], |row| {
            Ok(row.get::<_, Option<i64>>(0)?.zip(row.get::<_, Option<i64>>(1)?))
        })?;
        let mut left = bounds;
        if let Some((first, last)) = &mut left {
            let end = *last + 1;
            if let Some(since) = query.since {
                *first = first_since(connection, end, since)?;
            }
            if let Some(until) = query.until {
                *last = first_since(connection, end, until)? - 1;
            }
        }
        if let Some(event_id) = &query.after {
            let Some(seq) = place_of(&store_id(connection)?, event_id) else {
                return Ok(Err(event_not_found(event_id)));
            };
            if let Some((first, last)) = &mut left {
                if query.newest_first {
                    *last = (*last).min(seq - 1);
                } else {
                    *first = (*first).max(seq.saturating_add(1));
                }
            }
        }
        let only = match &query.message_ref_id {
            Some(message) => of_message(connection, message)?,
            None => None,
        };
        let only = only.map(|seqs| serde_json::to_string(&seqs).expect("a list of numbers"));
        Ok(Ok(Self { query, left: left.filter(|(first, last)| first <= last), only }))
    }

    /// Whether there is something to look at.
    pub(super) fn goes_on(&self) -> bool {
        self.left.is_some()
    }

    /// What fits among the next events, at most so many.
    pub(super) fn next(
        &mut self,
        connection: &Connection,
        limit: usize,
    ) -> rusqlite::Result<Vec<EventSummary>> {
        let Some((first, last)) = self.left else { return Ok(Vec::new()) };
        let (order, edge) = if self.query.newest_first { ("DESC", "min") } else { ("ASC", "max") };
        // A few that are known are one portion.
        let edge: Option<i64> = if self.only.is_some() {
            Some(if self.query.newest_first { first } else { last })
        } else {
            let portion = format!(
                "SELECT {edge}(seq) FROM \
                 (SELECT seq FROM event WHERE seq BETWEEN ?1 AND ?2 ORDER BY seq {order} LIMIT {LOOKED_AT})"
            );
            connection.query_row(&portion, [first, last], |row| row.get(0))?
        };
        let Some(edge) = edge else {
            self.left = None;
            return Ok(Vec::new());
        };
        let (from, to) = if self.query.newest_first { (edge, last) } else { (first, edge) };
        let Filter { accounts, scopes, kinds, conversations } = &self.query.filter;
        let list = |texts: Vec<&str>| serde_json::to_string(&texts).expect("a list of texts");
        let which = match self.only {
            // Each is looked up by its number, not found among all between.
            Some(_) => "e.seq IN (SELECT value FROM json_each(?9)) AND +e.seq BETWEEN ?1 AND ?2",
            None => "e.seq BETWEEN ?1 AND ?2 AND ?9 IS NULL",
        };
        let sql = format!(
            "SELECT {SUMMARY} WHERE {which} \
             AND (?3 = '[]' OR s.account_id IN (SELECT value FROM json_each(?3))) \
             AND (?4 = '[]' OR s.channel_id || '_' || s.account_id IN (SELECT value FROM json_each(?4))) \
             AND (?5 = '[]' OR e.kind IN (SELECT value FROM json_each(?5))) \
             AND (?6 = '[]' OR e.conversation_ref_id IN (SELECT value FROM json_each(?6)) \
                  OR e.conversation_id IN (SELECT value FROM json_each(?6))) \
             AND (?8 IS NULL OR e.message_ref_id = ?8) \
             ORDER BY e.seq {order} LIMIT ?7"
        );
        let store_id = store_id(connection)?;
        let found: Vec<EventSummary> = connection
            .prepare(&sql)?
            .query_map(
                params![
                    from,
                    to,
                    list(accounts.iter().map(AccountId::as_str).collect()),
                    list(scopes.iter().map(ScopeId::as_str).collect()),
                    list(kinds.iter().map(String::as_str).collect()),
                    list(conversations.iter().map(String::as_str).collect()),
                    i64::try_from(limit).unwrap_or(i64::MAX),
                    self.query.message_ref_id.as_ref().map(MessageRefId::as_str),
                    self.only,
                ],
                |row| summary(row, 0, &store_id),
            )?
            .collect::<rusqlite::Result<_>>()?;
        let rest = if self.query.newest_first { (first, edge - 1) } else { (edge + 1, last) };
        self.left = (found.len() < limit && rest.0 <= rest.1).then_some(rest);
        Ok(found)
    }
}

/// The numbers of the events of a message; None: nothing less than a look at all of them would tell.
///
/// An index of all events by message would cost each webhook a page. But each message's number is in
/// `dedup` with its time, and events are in the order of time. Events that are not deduplicated have an
/// index.
fn of_message(connection: &Connection, message: &MessageRefId) -> rusqlite::Result<Option<Vec<i64>>> {
    let numbers = |sql: &str, values: &[&dyn rusqlite::ToSql]| -> rusqlite::Result<Vec<i64>> {
        connection.prepare(sql)?.query_map(values, |row| row.get(0))?.collect()
    };
    let id = message.as_str();
    let mut found = numbers("SELECT seq FROM event WHERE dedup_key IS NULL AND message_ref_id = ?1", &[&id])?;
    let deduped: i64 = connection.query_row("SELECT deduped FROM store", [], |row| row.get(0))?;
    // What `dedup` lacks are the newest.
    let sql = "SELECT seq FROM event WHERE seq > ?1 AND dedup_key IS NOT NULL AND message_ref_id = ?2";
    found.extend(numbers(sql, &[&deduped, &id])?);
    let end: i64 =
        connection.query_row("SELECT coalesce(max(seq), 0) + 1 FROM event", [], |row| row.get(0))?;
    let mut accounts = connection.prepare("SELECT DISTINCT account_id FROM scope")?;
    let mut rows = accounts.query([])?;
    while let Some(row) = rows.next()? {
        let (key, _) = number(&AccountId::new(row.get::<_, String>(0)?), message, &[0; 20]);
        let mut times = numbers("SELECT seen_at FROM dedup WHERE dedup_key = ?1 ORDER BY seen_at", &[&key])?;
        times.dedup();
        for time in times {
            let before = found.len();
            let first = first_since(connection, end, time)?;
            let mut at = connection.prepare_cached(
                "SELECT seq, received_at, message_ref_id = ?2 FROM event WHERE seq >= ?1 ORDER BY seq",
            )?;
            let mut rows = at.query(params![first, id])?;
            while let Some(row) = rows.next()? {
                if row.get::<_, i64>(1)? > time {
                    break;
                }
                if row.get::<_, Option<bool>>(2)? == Some(true) {
                    found.push(row.get(0)?);
                }
            }
            // It is gone, or the clock was set back since.
            if found.len() == before {
                return Ok(None);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(Some(found))
}

/// An event of a row that has the columns of [`SUMMARY`] from `first` on.
fn summary(row: &Row<'_>, first: usize, store_id: &str) -> rusqlite::Result<EventSummary> {
    let channel_id = ChannelId::new(row.get::<_, String>(first + 1)?);
    let account_id = AccountId::new(row.get::<_, String>(first + 2)?);
    let text = |column| row.get::<_, Option<String>>(first + column);
    Ok(EventSummary {
        event_id: format!("{store_id}-{}", row.get::<_, i64>(first)?),
        scope_id: ScopeId::of(&channel_id, &account_id),
        channel_id,
        account_id,
        kind: row.get(first + 3)?,
        received_at: row.get(first + 4)?,
        origin: Origin::from_name(&row.get::<_, String>(first + 5)?),
        conflicting_duplicate: row.get(first + 6)?,
        conversation_ref_id: text(7)?.map(Into::into),
        conversation_id: text(8)?.map(Into::into),
        message_ref_id: text(9)?.map(Into::into),
        size: u64::try_from(row.get::<_, i64>(first + 10)?).unwrap_or(0),
    })
}

/// One event that is kept.
pub(super) fn one(connection: &Connection, event_id: &str) -> rusqlite::Result<Option<EventSummary>> {
    Ok(found(connection, event_id)?.map(|(_, event, _)| event))
}

/// An event with its own number and its scope's.
fn found(connection: &Connection, event_id: &str) -> rusqlite::Result<Option<(i64, EventSummary, i64)>> {
    let store_id = store_id(connection)?;
    let Some(seq) = place_of(&store_id, event_id) else { return Ok(None) };
    let sql = format!("SELECT {SUMMARY} WHERE e.seq = ?1");
    connection.query_row(&sql, [seq], |row| Ok((seq, summary(row, 0, &store_id)?, row.get(11)?))).optional()
}

/// Where an event is in each subscription; nowhere, if it is not kept.
pub(super) fn deliveries(connection: &Connection, event_id: &str) -> rusqlite::Result<Vec<EventDelivery>> {
    let Some((seq, event, scope)) = found(connection, event_id)? else { return Ok(Vec::new()) };
    let facts = event.facts();
    let mut subscriptions = connection
        .prepare("SELECT id, name, filter FROM subscription WHERE name IS NOT NULL ORDER BY name")?;
    let mut opened = connection.prepare(
        "SELECT state, attempt, mark, handed_out_at, settled_at, place, epoch FROM delivery \
         WHERE seq = ?1 AND subscription = ?2 ORDER BY place",
    )?;
    let mut ahead = connection.prepare(
        "SELECT mark FROM feed WHERE subscription = ?2 AND ?1 BETWEEN next AND coalesce(until, ?1) \
         AND (scope IS NULL OR scope = ?3) ORDER BY part",
    )?;
    let mut settled = connection.prepare(
        "SELECT 5, attempt, mark, handed_out_at, settled_at FROM settled WHERE seq = ?1 AND subscription = ?2",
    )?;
    let mut all = Vec::new();
    let mut rows = subscriptions.query([])?;
    while let Some(row) = rows.next()? {
        let (id, name): (i64, String) = (row.get(0)?, row.get(1)?);
        let filter: Filter = serde_json::from_str(&row.get::<_, String>(2)?).unwrap_or_default();
        let before = all.len();
        let of = |state, attempts, mark: Option<String>, token| EventDelivery {
            subscription: name.clone(),
            state,
            attempts,
            again: mark.is_some(),
            token,
            handed_out_at: None,
            settled_at: None,
            until: None,
        };
        let noted = |row: &Row<'_>, token| -> rusqlite::Result<_> {
            let (handed_out_at, settled_at) = (row.get(3)?, row.get(4)?);
            let delivery = of(state(row.get(0)?), row.get(1)?, row.get(2)?, token);
            Ok(EventDelivery { handed_out_at, settled_at, ..delivery })
        };
        let open = opened.query_map([seq, id], |row| {
            let token = Token { subscription: SubscriptionId(id), place: row.get(5)?, epoch: row.get(6)? };
            noted(row, Some(token))
        })?;
        for delivery in open {
            all.push(delivery?);
        }
        if !filter.matches(&facts) {
            if all.len() == before {
                all.push(of(DeliveryState::LeftOut, 0, None, None));
            }
            continue;
        }
        for mark in ahead.query_map([seq, id, scope], |row| row.get(0))? {
            all.push(of(DeliveryState::Waiting, 0, mark?, None));
        }
        if all.len() == before {
            let known = settled.query_row([seq, id], |row| noted(row, None)).optional()?;
            all.push(known.unwrap_or_else(|| of(DeliveryState::Settled, 0, None, None)));
        }
    }
    Ok(all)
}

/// What a subscription has given up, in the order of handing out.
pub(super) fn dead(
    connection: &Connection,
    name: &str,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Result<Vec<DeadSummary>>> {
    let store_id = store_id(connection)?;
    let id: Option<i64> = connection
        .query_row("SELECT id FROM subscription WHERE name = ?1", [name], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(Err(subscription_not_found(name))) };
    // The index by state is used only where the query repeats which rows it has.
    let sql = format!(
        "SELECT d.place, d.attempt, {SUMMARY} JOIN delivery d INDEXED BY delivery_by_state ON d.seq = e.seq \
         WHERE d.subscription = ?1 AND d.state = 4 AND d.state <> 0 AND d.place > ?2 ORDER BY d.place LIMIT ?3"
    );
    connection
        .prepare(&sql)?
        .query_map(params![id, after, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok(DeadSummary {
                place: row.get(0)?,
                attempts: row.get(1)?,
                summary: summary(row, 2, &store_id)?,
            })
        })?
        .collect::<rusqlite::Result<_>>()
        .map(Ok)
}

/// The schema names the numbers, too, but for the last one.
fn state(number: i64) -> DeliveryState {
    match number {
        0 => DeliveryState::Waiting,
        1 => DeliveryState::Ready,
        2 => DeliveryState::Leased,
        3 => DeliveryState::Delayed,
        4 => DeliveryState::Dead,
        _ => DeliveryState::Settled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NewEvent;
    use crate::store::{Appended, SqliteStore, Store};

    /// More than are filed at once without optimisation, in four accounts; the message of each third one
    /// has the same id in the next account.
    const EVENTS: i64 = 1800;

    fn event(number: i64) -> NewEvent {
        NewEvent {
            channel_id: "channel".into(),
            account_id: format!("account-{}", number % 4).into(),
            kind: if number % 10 == 9 { "reaction" } else { "message" },
            conversation_ref_id: Some("c".into()),
            conversation_id: None,
            message_ref_id: Some(format!("m-{}", number - number % 3 / 2).into()),
            digest: (number % 10 != 9).then_some([1; 20]),
            received_at: 1000 + number / 7,
            origin: Origin::Webhook,
            signature: None,
            raw: "{}".into(),
        }
    }

    #[tokio::test]
    async fn the_events_of_a_message_are_found_among_many_without_a_look_at_all() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
        for number in 0..EVENTS {
            let kept = store.append(event(number)).await.expect("answered");
            assert!(matches!(kept, Appended::Kept(_)), "{number}: {kept:?}");
        }
        let deduped = store.read(|connection| {
            connection
                .query_row("SELECT deduped FROM store", [], |row| row.get::<_, i64>(0))
                .map_err(crate::store::sqlite::error)
        });
        let deduped = deduped.await.expect("read");
        assert!((500..EVENTS).contains(&deduped), "some are filed, some are not: {deduped}");
        for number in (0..EVENTS).step_by(97).chain([EVENTS - 1]) {
            let message: MessageRefId = format!("m-{number}").into();
            let expected: Vec<i64> = (0..EVENTS)
                .filter(|other| event(*other).message_ref_id.as_ref() == Some(&message))
                .map(|other| other + 1)
                .collect();
            let found = store.read({
                let message = message.clone();
                move |connection| of_message(connection, &message).map_err(crate::store::sqlite::error)
            });
            assert_eq!(found.await.expect("read").as_ref(), Some(&expected), "{message}");
            let query = SummaryQuery { message_ref_id: Some(message), limit: 9, ..SummaryQuery::default() };
            let listed = store.summaries(query).await.expect("listed");
            let seqs: Vec<_> = listed
                .iter()
                .map(|one| one.event_id.rsplit('-').next().expect("a number").to_owned())
                .collect();
            assert_eq!(seqs, expected.iter().map(i64::to_string).collect::<Vec<_>>());
        }
        store.close().await;
    }
}
