//! Handing events out, settling them, and what was given up.

use super::feed::PORTION;
use super::transaction::Transaction;
use crate::event::{Event, Origin};
use crate::inbox::TEMPORARY;
use crate::store::{
    DeadLetter, EventQuery, Leased, Settled, Settlement, SubscriptionId, Token, event_not_found,
    subscription_not_found,
};
use amochats::{AccountId, ChannelId, Result, ScopeId};
use rusqlite::{Connection, OptionalExtension, Row, params};

// The states of a delivery; the schema names them too. To find one by its state, a query must also
// say `state <> 0`: SQLite can use an index of some rows only where the query repeats which. It must name
// the index, too: of a table that it has no statistics of SQLite takes the primary key for as good, and
// would look at all rows of a subscription, its dead letters among them.
const READY: i64 = 1;
const LEASED: i64 = 2;
const DELAYED: i64 = 3;
const DEAD: i64 = 4;

/// What is read of an event, in this order, after the columns of the query's own.
const EVENT: &str = "e.seq, s.channel_id, s.account_id, e.received_at, e.origin, e.conflicting, e.body \
                     FROM event e JOIN scope s ON s.id = e.scope";

/// Makes the first open event of a conversation ready.
const PROMOTE: &str = "UPDATE delivery SET state = 1 WHERE subscription = ?1 AND state = 0 AND place = \
     (SELECT min(place) FROM delivery INDEXED BY delivery_by_conversation \
      WHERE subscription = ?1 AND conversation = ?2 AND state <> 4)";

/// What is ready, in the order of handing out.
fn ready() -> String {
    format!(
        "SELECT d.place, d.attempt, d.epoch, d.mark, {EVENT} \
         JOIN delivery d INDEXED BY delivery_by_state ON d.seq = e.seq \
         WHERE d.subscription = ?1 AND d.state = 1 AND d.state <> 0 ORDER BY d.place LIMIT ?2"
    )
}

impl Transaction<'_> {
    /// Makes ready what was leased or delayed when the last process ended.
    pub(super) fn release_all(connection: &Connection) -> rusqlite::Result<()> {
        // By subscription, so that the index finds them.
        let sql = "UPDATE delivery SET state = ?1 WHERE state <> 0 \
                   AND subscription IN (SELECT id FROM subscription) AND state IN (?2, ?3)";
        connection.execute(sql, [READY, LEASED, DELAYED]).map(drop)
    }

    /// Leases ready events; says also whether another try may find more.
    pub(super) fn lease(
        &mut self,
        id: SubscriptionId,
        max: usize,
        max_bytes: usize,
        at: i64,
    ) -> rusqlite::Result<Result<(Vec<Leased>, bool)>> {
        let known = self.cache.subscriptions.iter().position(|known| known.id == id && known.name.is_some());
        let Some(place) = known else {
            return Ok(Err(subscription_not_found(&format!("number {}", id.0))));
        };
        let more = self.fill(place, max)?;
        let sql = ready();
        let mut leased: Vec<Leased> = Vec::new();
        let mut bytes = 0;
        {
            let mut statement = self.tx.prepare_cached(&sql)?;
            let mut rows = statement.query(params![id.0, i64::try_from(max).unwrap_or(i64::MAX)])?;
            while let Some(row) = rows.next()? {
                let event = event(row, 4, &self.cache.store_id)?;
                bytes += event.raw.len();
                // One is always handed out, however large it is.
                if bytes > max_bytes && !leased.is_empty() {
                    break;
                }
                leased.push(Leased {
                    token: Token { subscription: id, place: row.get(0)?, epoch: row.get::<_, i64>(2)? + 1 },
                    attempt: row.get::<_, u32>(1)?.saturating_add(1),
                    again: row.get::<_, Option<String>>(3)?.is_some(),
                    event,
                });
            }
        }
        let mut update = self.tx.prepare_cached(
            "UPDATE delivery SET state = ?3, attempt = ?4, epoch = ?5, handed_out_at = ?6 \
             WHERE subscription = ?1 AND place = ?2",
        )?;
        for lease in &leased {
            update.execute(params![id.0, lease.token.place, LEASED, lease.attempt, lease.token.epoch, at])?;
        }
        Ok(Ok((leased, more)))
    }

    pub(crate) fn settle(
        &mut self,
        token: Token,
        settlement: Settlement,
        at: i64,
    ) -> rusqlite::Result<Settled> {
        let Token { subscription: SubscriptionId(id), place, epoch } = token;
        let expected = if settlement == Settlement::Wake { DELAYED } else { LEASED };
        let found: Option<Option<i64>> = self
            .tx
            .prepare_cached(
                "SELECT conversation FROM delivery \
                 WHERE subscription = ?1 AND place = ?2 AND epoch = ?3 AND state = ?4",
            )?
            .query_row([id, place, epoch, expected], |row| row.get(0))
            .optional()?;
        let known = self.cache.subscriptions.iter().find(|known| known.id.0 == id);
        // None: it is deleted.
        let name = known.and_then(|known| known.name.as_deref());
        let (Some(conversation), Some(name)) = (found, name) else { return Ok(Settled::Lost) };
        self.changed = true;
        let (state, unused) = match settlement {
            Settlement::Ack => (None, 0),
            Settlement::Dead => (Some(DEAD), 0),
            Settlement::Delay => (Some(DELAYED), 0),
            Settlement::Release | Settlement::Wake => (Some(READY), 0),
            Settlement::Return => (Some(READY), 1),
        };
        match state {
            None => {
                // A temporary subscription leaves no trace.
                if !name.starts_with(TEMPORARY) {
                    self.note_settled(id, place, Some(at))?;
                }
                self.tx
                    .prepare_cached("DELETE FROM delivery WHERE subscription = ?1 AND place = ?2")?
                    .execute([id, place])?
            }
            Some(state) => self
                .tx
                .prepare_cached(
                    "UPDATE delivery SET state = ?3, attempt = attempt - ?4, settled_at = ?5 \
                     WHERE subscription = ?1 AND place = ?2",
                )?
                .execute(params![id, place, state, unused, (state == DEAD).then_some(at)])?,
        };
        if let (Settlement::Ack | Settlement::Dead, Some(conversation)) = (settlement, conversation) {
            self.promote(id, conversation)?;
        }
        Ok(Settled::Done)
    }

    /// Remembers when a delivery was dealt with; None: when it was given up.
    fn note_settled(&self, subscription: i64, place: i64, at: Option<i64>) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "INSERT OR REPLACE INTO settled (seq, subscription, attempt, mark, handed_out_at, settled_at) \
                 SELECT seq, subscription, attempt, mark, handed_out_at, coalesce(?3, settled_at) FROM delivery \
                 WHERE subscription = ?1 AND place = ?2",
            )?
            .execute(params![subscription, place, at])
            .map(drop)
    }

    /// Makes the next event of a conversation ready.
    pub(super) fn promote(&self, subscription: i64, conversation: i64) -> rusqlite::Result<()> {
        self.tx.prepare_cached(PROMOTE)?.execute([subscription, conversation]).map(drop)
    }

    /// Takes a portion of the dead letters behind a place away, to be handed out again at the end or not at all;
    /// says how many, and behind which place there may be more.
    pub(super) fn take_dead_letters(
        &mut self,
        name: &str,
        after: i64,
        hand_out_again: bool,
    ) -> rusqlite::Result<Result<(u64, Option<i64>)>> {
        let id = match self.subscription(name) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        let dead: Vec<(i64, i64)> = self
            .tx
            .prepare_cached(
                "SELECT place, seq FROM delivery INDEXED BY delivery_by_state \
                 WHERE subscription = ?1 AND state = 4 AND state <> 0 AND place > ?2 ORDER BY place LIMIT ?3",
            )?
            .query_map([id.0, after, i64::try_from(PORTION).unwrap_or(i64::MAX)], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        let next = dead.last().map(|(place, _)| *place).filter(|_| dead.len() == PORTION);
        for (place, seq) in &dead {
            self.take_dead_letter(id, name, *place, *seq, hand_out_again)?;
        }
        Ok(Ok((dead.len() as u64, next)))
    }

    /// As [`Self::take_dead_letters`], those at these places, which are not many.
    pub(super) fn take_these_dead_letters(
        &mut self,
        name: &str,
        places: &[i64],
        hand_out_again: bool,
    ) -> rusqlite::Result<Result<(u64, Option<i64>)>> {
        let id = match self.subscription(name) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        let mut count = 0;
        for place in places {
            let sql = "SELECT seq FROM delivery WHERE subscription = ?1 AND place = ?2 AND state = 4";
            let found =
                self.tx.prepare_cached(sql)?.query_row([id.0, *place], |row| row.get(0)).optional()?;
            if let Some(seq) = found {
                self.take_dead_letter(id, name, *place, seq, hand_out_again)?;
                count += 1;
            }
        }
        Ok(Ok((count, None)))
    }

    fn take_dead_letter(
        &mut self,
        id: SubscriptionId,
        name: &str,
        place: i64,
        seq: i64,
        hand_out_again: bool,
    ) -> rusqlite::Result<()> {
        // A temporary subscription leaves no trace.
        if !hand_out_again && !name.starts_with(TEMPORARY) {
            self.note_settled(id.0, place, None)?;
        }
        self.tx
            .prepare_cached("DELETE FROM delivery WHERE subscription = ?1 AND place = ?2")?
            .execute([id.0, place])?;
        if hand_out_again {
            self.feed_again(id, seq, seq, None, "requeued")?;
        }
        Ok(())
    }
}

/// An event of a row that has the columns of [`EVENT`] from `first` on.
fn event(row: &Row<'_>, first: usize, store_id: &str) -> rusqlite::Result<Event> {
    let channel_id = ChannelId::new(row.get::<_, String>(first + 1)?);
    let account_id = AccountId::new(row.get::<_, String>(first + 2)?);
    Ok(Event {
        event_id: format!("{store_id}-{}", row.get::<_, i64>(first)?),
        scope_id: ScopeId::of(&channel_id, &account_id),
        channel_id,
        account_id,
        received_at: row.get(first + 3)?,
        origin: Origin::from_name(&row.get::<_, String>(first + 4)?),
        conflicting_duplicate: row.get(first + 5)?,
        raw: row.get::<_, Vec<u8>>(first + 6)?.into(),
    })
}

pub(super) fn store_id(connection: &Connection) -> rusqlite::Result<String> {
    connection.query_row("SELECT id FROM store", [], |row| row.get(0))
}

pub(super) fn place_of(store_id: &str, event_id: &str) -> Option<i64> {
    event_id.strip_prefix(store_id)?.strip_prefix('-')?.parse().ok()
}

/// One event that is kept.
pub(super) fn one_event(connection: &Connection, event_id: &str) -> rusqlite::Result<Option<Event>> {
    let store_id = store_id(connection)?;
    let Some(seq) = place_of(&store_id, event_id) else { return Ok(None) };
    let sql = format!("SELECT {EVENT} WHERE e.seq = ?1");
    connection.query_row(&sql, [seq], |row| event(row, 0, &store_id)).optional()
}

/// Events that are kept, oldest first.
pub(super) fn events(connection: &Connection, query: &EventQuery) -> rusqlite::Result<Result<Vec<Event>>> {
    let store_id = store_id(connection)?;
    let after = match &query.after {
        None => 0,
        Some(event_id) => match place_of(&store_id, event_id) {
            Some(seq) => seq,
            None => return Ok(Err(event_not_found(event_id))),
        },
    };
    let sql = format!(
        "SELECT {EVENT} WHERE e.seq > ?1 AND (?3 IS NULL OR s.channel_id || '_' || s.account_id = ?3) \
         ORDER BY e.seq LIMIT ?2"
    );
    let limit = i64::try_from(query.limit).unwrap_or(i64::MAX);
    connection
        .prepare(&sql)?
        .query_map(params![after, limit, query.scope.as_ref().map(ScopeId::as_str)], |row| {
            event(row, 0, &store_id)
        })?
        .collect::<rusqlite::Result<_>>()
        .map(Ok)
}

/// What a subscription has given up, in the order of handing out.
pub(super) fn dead_letters(
    connection: &Connection,
    name: &str,
    after: i64,
    limit: usize,
) -> rusqlite::Result<Result<Vec<DeadLetter>>> {
    let store_id = store_id(connection)?;
    let id: Option<i64> = connection
        .query_row("SELECT id FROM subscription WHERE name = ?1", [name], |row| row.get(0))
        .optional()?;
    let Some(id) = id else { return Ok(Err(subscription_not_found(name))) };
    let sql = format!(
        "SELECT d.place, d.attempt, {EVENT} JOIN delivery d INDEXED BY delivery_by_state ON d.seq = e.seq \
         WHERE d.subscription = ?1 AND d.state = {DEAD} AND d.state <> 0 AND d.place > ?2 ORDER BY d.place LIMIT ?3"
    );
    connection
        .prepare(&sql)?
        .query_map(params![id, after, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok(DeadLetter { place: row.get(0)?, attempts: row.get(1)?, event: event(row, 2, &store_id)? })
        })?
        .collect::<rusqlite::Result<_>>()
        .map(Ok)
}

#[cfg(test)]
mod tests {
    use super::super::feed::BLOCKED;
    use super::*;
    use crate::store::{Filter, SqliteStore, Start, Store};
    use rusqlite::StatementStatus;

    #[tokio::test]
    async fn what_was_given_up_costs_those_that_come_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
        let (crm, _) =
            store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
        let steps = store.ask(move |transaction| {
            transaction.tx.execute(
                "WITH RECURSIVE dead (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM dead WHERE n < 10000) \
                 INSERT INTO delivery (subscription, place, seq, conversation, state) SELECT ?1, n, n, n, 4 FROM dead",
                [crm.0],
            )?;
            let mut steps = Vec::new();
            for sql in [BLOCKED, PROMOTE, &ready()] {
                let mut statement = transaction.tx.prepare(sql)?;
                statement.query([crm.0, 1])?.next()?;
                steps.push(statement.get_status(StatementStatus::VmStep));
            }
            Ok(Ok(steps))
        });
        let steps = steps.await.expect("asked");
        assert!(steps.iter().all(|steps| *steps < 100), "each looked at few rows: {steps:?}");
    }
}
