//! Subscriptions, and opening events for them: only when a consumer asks, a portion at a time.

use super::transaction::{Subscription, Transaction};
use crate::store::{
    Facts, Filter, Replay, Start, SubscriptionId, SubscriptionState, event_not_found, subscription_not_found,
};
use amochats::{AccountId, ChannelId, Result, ScopeId};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// How many kept events are looked at in one transaction.
pub(super) const PORTION: usize = 1000;

/// Whether an event of a conversation is open.
pub(super) const BLOCKED: &str = "SELECT EXISTS (SELECT 1 FROM delivery INDEXED BY delivery_by_conversation \
                                  WHERE subscription = ?1 AND conversation = ?2 AND state <> 4)";

/// A kept event, as far as is needed to open it.
struct Kept {
    seq: i64,
    scope: i64,
    facts: Facts,
}

impl Transaction<'_> {
    pub(super) fn create_subscription(
        &mut self,
        name: &str,
        start: &Start,
        filter: Filter,
        created_at: i64,
    ) -> rusqlite::Result<Result<(SubscriptionId, bool)>> {
        if let Ok(known) = self.subscription(name) {
            return Ok(Ok((known, false)));
        }
        let next = match start {
            Start::Now => self.cache.last_seq + 1,
            Start::Oldest => 1,
            Start::Since(time) => self.first_since(*time)?,
            Start::After(event_id) => match self.cache.seq(event_id) {
                Some(seq) if seq <= self.cache.last_seq => seq + 1,
                _ => return Ok(Err(event_not_found(event_id))),
            },
        };
        let json = serde_json::to_string(&filter).expect("a filter is lists of texts");
        let sql = "INSERT INTO subscription (name, created_at, filter) VALUES (?1, ?2, ?3)";
        let id = SubscriptionId(self.tx.prepare_cached(sql)?.insert(params![name, created_at, json])?);
        self.tx.execute("INSERT INTO feed (subscription, part, next) VALUES (?1, 1, ?2)", [id.0, next])?;
        self.cache.look_again_at = 0;
        self.changed = true;
        self.cache.subscriptions.push(Subscription {
            id,
            name: Some(name.to_owned()),
            filter,
            last_place: 0,
        });
        Ok(Ok((id, true)))
    }

    pub(super) fn subscription(&self, name: &str) -> Result<SubscriptionId> {
        let named = |known: &&Subscription| known.name.as_deref() == Some(name);
        let found = self.cache.subscriptions.iter().find(named);
        found.map(|subscription| subscription.id).ok_or_else(|| subscription_not_found(name))
    }

    /// The subscription goes at once, its rows a portion at a time.
    pub(super) fn delete_subscription(&mut self, name: &str) -> rusqlite::Result<Result<()>> {
        let id = match self.subscription(name) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        self.tx.execute("UPDATE subscription SET name = NULL WHERE id = ?1", [id.0])?;
        self.tx.execute("DELETE FROM feed WHERE subscription = ?1", [id.0])?;
        // Its consumers must learn of it.
        self.changed = true;
        for known in &mut self.cache.subscriptions {
            if known.id == id {
                known.name = None;
            }
        }
        Ok(Ok(()))
    }

    /// Deletes a portion of what deleted subscriptions have left; says whether there may be more.
    pub(super) fn delete_remains(&mut self) -> rusqlite::Result<bool> {
        let Some(gone) = self.cache.subscriptions.iter().position(|known| known.name.is_none()) else {
            return Ok(false);
        };
        let id = self.cache.subscriptions[gone].id.0;
        let sql = "DELETE FROM delivery WHERE subscription = ?1 AND place IN \
                   (SELECT place FROM delivery WHERE subscription = ?1 LIMIT ?2)";
        let portion = i64::try_from(PORTION).unwrap_or(i64::MAX);
        if self.tx.prepare_cached(sql)?.execute([id, portion])? < PORTION {
            self.tx.execute("DELETE FROM subscription WHERE id = ?1", [id])?;
            self.cache.subscriptions.swap_remove(gone);
        }
        Ok(true)
    }

    /// Adds events that were kept before to the end of a subscription; says how many at most.
    pub(super) fn replay(&mut self, name: &str, replay: &Replay) -> rusqlite::Result<Result<u64>> {
        let id = match self.subscription(name) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        let first = match &replay.from {
            Start::Now => self.cache.last_seq + 1,
            Start::Oldest => self.first_since(i64::MIN)?,
            Start::Since(time) => self.first_since(*time)?,
            Start::After(event_id) => match self.cache.seq(event_id) {
                Some(seq) if seq <= self.cache.last_seq => seq + 1,
                _ => return Ok(Err(event_not_found(event_id))),
            },
        };
        let scope = match replay.scope.as_ref().map(ScopeId::split) {
            None => None,
            Some(Ok((channel, account))) => Some(self.scope(&channel, &account)?),
            Some(Err(error)) => return Ok(Err(error)),
        };
        let last = self.cache.last_seq;
        self.feed_again(id, first, last, scope, "replayed")?;
        Ok(Ok(u64::try_from(last + 1 - first).unwrap_or(0)))
    }

    /// Puts a range of events behind all that is kept by now.
    pub(super) fn feed_again(
        &mut self,
        id: SubscriptionId,
        first: i64,
        last: i64,
        scope: Option<i64>,
        mark: &str,
    ) -> rusqlite::Result<()> {
        if first > last {
            return Ok(());
        }
        self.changed = true;
        self.cache.look_again_at = 0;
        // The part that waits for new events ends here, and goes on behind the others.
        let (open, next): (i64, i64) = self.tx.query_row(
            "SELECT part, next FROM feed WHERE subscription = ?1 AND until IS NULL",
            [id.0],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        let newest = self.cache.last_seq;
        if next > newest {
            self.tx.execute("DELETE FROM feed WHERE subscription = ?1 AND part = ?2", [id.0, open])?;
        } else {
            self.tx.execute(
                "UPDATE feed SET until = ?3 WHERE subscription = ?1 AND part = ?2",
                [id.0, open, newest],
            )?;
        }
        let sql =
            "INSERT INTO feed (subscription, part, next, until, scope, mark) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let mut insert = self.tx.prepare_cached(sql)?;
        insert.execute(params![id.0, open + 1, first, last, scope, mark])?;
        insert.execute(params![
            id.0,
            open + 2,
            newest.max(next - 1) + 1,
            None::<i64>,
            None::<i64>,
            None::<&str>
        ])?;
        Ok(())
    }

    /// The first event received at or after this time; see [`first_since`].
    pub(super) fn first_since(&self, time: i64) -> rusqlite::Result<i64> {
        first_since(&self.tx, self.cache.last_seq + 1, time)
    }

    /// Opens events until so many are ready, or a portion was looked at; says whether there is more
    /// to look at.
    pub(super) fn fill(&mut self, place: usize, wanted: usize) -> rusqlite::Result<bool> {
        let id = self.cache.subscriptions[place].id;
        let limit = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let sql = "SELECT count(*) FROM (SELECT 1 FROM delivery WHERE subscription = ?1 AND state = 1 AND state <> 0 LIMIT ?2)";
        let ready: i64 = self.tx.prepare_cached(sql)?.query_row([id.0, limit(wanted)], |row| row.get(0))?;
        let mut missing = limit(wanted) - ready;
        let mut room = PORTION;
        while missing > 0 && room > 0 {
            let sql = "SELECT part, next, until, scope, mark FROM feed WHERE subscription = ?1 ORDER BY part LIMIT 1";
            let part = self.tx.prepare_cached(sql)?.query_row([id.0], part).optional()?;
            let Some(part) = part else { return Ok(false) };
            // As many as are missing, or a few more: what is opened and not leased costs a row.
            let count = room.min(usize::try_from(missing).unwrap_or(room).max(16));
            let portion: Vec<Kept> = self
                .tx
                .prepare_cached(
                    "SELECT e.seq, e.scope, e.kind, e.conversation_ref_id, e.conversation_id, s.channel_id, s.account_id \
                     FROM event e JOIN scope s ON s.id = e.scope WHERE e.seq BETWEEN ?1 AND ?2 ORDER BY e.seq LIMIT ?3",
                )?
                .query_map([part.next, part.until.unwrap_or(i64::MAX), limit(count)], kept)?
                .collect::<rusqlite::Result<_>>()?;
            room -= portion.len();
            for event in &portion {
                let subscription = &self.cache.subscriptions[place];
                if part.scope.is_some_and(|scope| scope != event.scope)
                    || !subscription.filter.matches(&event.facts)
                {
                    continue;
                }
                missing -= i64::from(self.open(place, event, part.mark.as_deref())?);
            }
            let ended = portion.len() < count;
            if ended && part.until.is_some() {
                let sql = "DELETE FROM feed WHERE subscription = ?1 AND part = ?2";
                self.tx.prepare_cached(sql)?.execute([id.0, part.number])?;
            } else if let Some(last) = portion.last() {
                let sql = "UPDATE feed SET next = ?3 WHERE subscription = ?1 AND part = ?2";
                self.tx.prepare_cached(sql)?.execute([id.0, part.number, last.seq + 1])?;
            }
            if ended && part.until.is_none() {
                self.place_reached(place)?;
                return Ok(false);
            }
        }
        self.place_reached(place)?;
        Ok(missing > 0)
    }

    fn place_reached(&self, place: usize) -> rusqlite::Result<()> {
        let Subscription { id, last_place, .. } = &self.cache.subscriptions[place];
        let sql = "UPDATE subscription SET last_place = ?2 WHERE id = ?1 AND last_place <> ?2";
        self.tx.prepare_cached(sql)?.execute([id.0, *last_place]).map(drop)
    }

    /// Opens an event: ready, unless an earlier one of its conversation is open. Says whether it is.
    fn open(&mut self, place: usize, event: &Kept, mark: Option<&str>) -> rusqlite::Result<bool> {
        let conversation = self.conversation(event)?;
        let subscription = &mut self.cache.subscriptions[place];
        let blocked = match conversation {
            None => false,
            Some(conversation) => self
                .tx
                .prepare_cached(BLOCKED)?
                .query_row([subscription.id.0, conversation], |row| row.get(0))?,
        };
        subscription.last_place += 1;
        self.tx
            .prepare_cached(
                "INSERT INTO delivery (subscription, place, seq, conversation, state, mark) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                subscription.id.0,
                subscription.last_place,
                event.seq,
                conversation.map_or(Value::Null, Value::Integer),
                i64::from(!blocked),
                mark,
            ])?;
        Ok(!blocked)
    }

    /// The row of the event's conversation. A row made when only the integration's id was known
    /// learns amoCRM's id here, so that both ids mean one conversation.
    fn conversation(&self, event: &Kept) -> rusqlite::Result<Option<i64>> {
        let Facts { conversation_ref_id, conversation_id, .. } = &event.facts;
        let (ref_id, own_id) = (conversation_ref_id.as_deref(), conversation_id.as_deref());
        let found = |sql: &str, id: &str| -> rusqlite::Result<Option<i64>> {
            self.tx.prepare_cached(sql)?.query_row(params![event.scope, id], |row| row.get(0)).optional()
        };
        let row = match (ref_id, own_id) {
            (None, None) => return Ok(None),
            (Some(ref_id), own_id) => {
                let by_ref = "SELECT id FROM conversation WHERE scope = ?1 AND conversation_ref_id = ?2";
                let by_own = "SELECT id FROM conversation WHERE scope = ?1 AND conversation_id = ?2 \
                              AND conversation_ref_id IS NULL";
                match (found(by_ref, ref_id)?, own_id) {
                    (None, Some(own_id)) => found(by_own, own_id)?,
                    (row, _) => row,
                }
            }
            (None, Some(own_id)) => {
                // One that has both ids first: where amoCRM's was known before the integration's, a row of
                // the latter alone may stand beside it, to which nothing that names both belongs.
                let by_own = "SELECT id FROM conversation WHERE scope = ?1 AND conversation_id = ?2 \
                              ORDER BY conversation_ref_id IS NULL, id DESC LIMIT 1";
                found(by_own, own_id)?
            }
        };
        if let Some(row) = row {
            self.tx
                .prepare_cached(
                    "UPDATE conversation SET conversation_ref_id = coalesce(conversation_ref_id, ?2), \
                     conversation_id = coalesce(conversation_id, ?3) WHERE id = ?1 \
                     AND ((conversation_ref_id IS NULL AND ?2 IS NOT NULL) \
                       OR (conversation_id IS NULL AND ?3 IS NOT NULL))",
                )?
                .execute(params![row, ref_id, own_id])?;
            return Ok(Some(row));
        }
        self.tx
            .prepare_cached(
                "INSERT INTO conversation (scope, conversation_ref_id, conversation_id) VALUES (?1, ?2, ?3)",
            )?
            .insert(params![event.scope, ref_id, own_id])
            .map(Some)
    }
}

/// The first event received at or after this time, before `end`, or `end`. Events are in the order of
/// receipt, so it is found by halving; a clock that was set back makes it one of the right ones.
pub(super) fn first_since(connection: &Connection, end: i64, time: i64) -> rusqlite::Result<i64> {
    let oldest: Option<i64> = connection.query_row("SELECT min(seq) FROM event", [], |row| row.get(0))?;
    let mut at =
        connection.prepare_cached("SELECT received_at FROM event WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    let (mut low, mut high) = (oldest.unwrap_or(end), end);
    while low < high {
        let middle = low + (high - low) / 2;
        let received: Option<i64> = at.query_row([middle], |row| row.get(0)).optional()?;
        if received.is_some_and(|received| received < time) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

struct Part {
    number: i64,
    next: i64,
    until: Option<i64>,
    scope: Option<i64>,
    mark: Option<String>,
}

fn part(row: &Row<'_>) -> rusqlite::Result<Part> {
    Ok(Part {
        number: row.get(0)?,
        next: row.get(1)?,
        until: row.get(2)?,
        scope: row.get(3)?,
        mark: row.get(4)?,
    })
}

fn kept(row: &Row<'_>) -> rusqlite::Result<Kept> {
    let channel = ChannelId::new(row.get::<_, String>(5)?);
    let account = AccountId::new(row.get::<_, String>(6)?);
    Ok(Kept {
        seq: row.get(0)?,
        scope: row.get(1)?,
        facts: Facts {
            scope_id: ScopeId::of(&channel, &account),
            account_id: account,
            kind: row.get(2)?,
            conversation_ref_id: row.get(3)?,
            conversation_id: row.get(4)?,
        },
    })
}

/// How many events ahead are looked at one by one, so that those are not counted which a filter leaves out.
const COUNTED: u64 = 10_000;

/// As [`estimates`], but what is ahead of a subscription counts as far as its filter lets it through, unless
/// that is very much.
pub(super) fn subscriptions(connection: &Connection) -> rusqlite::Result<Vec<SubscriptionState>> {
    // All of it as of one moment.
    let connection = &connection.unchecked_transaction()?;
    let mut states = estimates(connection)?;
    for state in &mut states {
        let ahead = ahead(connection, state.id)?;
        if !(1..=COUNTED).contains(&ahead) {
            continue;
        }
        let (fits, oldest) = fitting(connection, state.id, &state.filter)?;
        let open = state.unsettled.saturating_sub(ahead);
        state.unsettled = open + fits;
        // What is open is older than what is ahead.
        if open == 0 {
            state.oldest_unsettled_at = oldest;
        }
    }
    Ok(states)
}

/// How many events are still to be looked at for a subscription.
fn ahead(connection: &Connection, id: SubscriptionId) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(sum(max(coalesce(until, (SELECT max(seq) FROM event)) - next + 1, 0)), 0) \
               FROM feed WHERE subscription = ?1";
    let count: i64 = connection.prepare_cached(sql)?.query_row([id.0], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// How many of the events ahead a filter lets through, and when the first of them was received.
fn fitting(
    connection: &Connection,
    id: SubscriptionId,
    filter: &Filter,
) -> rusqlite::Result<(u64, Option<i64>)> {
    let mut events = connection.prepare_cached(
        "SELECT e.seq, e.scope, e.kind, e.conversation_ref_id, e.conversation_id, s.channel_id, s.account_id, \
         e.received_at FROM feed f JOIN event e ON e.seq BETWEEN f.next AND coalesce(f.until, e.seq) \
         AND (f.scope IS NULL OR f.scope = e.scope) JOIN scope s ON s.id = e.scope WHERE f.subscription = ?1",
    )?;
    let (mut count, mut oldest) = (0, None);
    let mut rows = events.query([id.0])?;
    while let Some(row) = rows.next()? {
        if filter.matches(&kept(row)?.facts) {
            let received_at: i64 = row.get(7)?;
            count += 1;
            oldest = Some(oldest.map_or(received_at, |known: i64| known.min(received_at)));
        }
    }
    Ok((count, oldest))
}

/// The subscriptions, with all that is still to be looked at counted as unsettled.
pub(super) fn estimates(connection: &Connection) -> rusqlite::Result<Vec<SubscriptionState>> {
    let sql = "SELECT s.id, s.name, s.created_at, s.filter, \
               (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state <> 4) \
                 + (SELECT coalesce(sum(max(coalesce(f.until, (SELECT max(seq) FROM event)) - f.next + 1, 0)), 0) \
                    FROM feed f WHERE f.subscription = s.id), \
               (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state = 4 AND d.state <> 0), \
               (SELECT e.received_at FROM event e WHERE e.seq >= coalesce( \
                  (SELECT min(d.seq) FROM delivery d WHERE d.subscription = s.id AND d.state <> 4), \
                  (SELECT min(f.next) FROM feed f WHERE f.subscription = s.id)) ORDER BY e.seq LIMIT 1) \
               FROM subscription s WHERE s.name IS NOT NULL ORDER BY s.name";
    let count =
        |row: &Row<'_>, column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    connection
        .prepare(sql)?
        .query_map([], |row| {
            Ok(SubscriptionState {
                id: SubscriptionId(row.get(0)?),
                name: row.get(1)?,
                created_at: row.get(2)?,
                filter: serde_json::from_str(&row.get::<_, String>(3)?).unwrap_or_default(),
                unsettled: count(row, 4)?,
                dead: count(row, 5)?,
                oldest_unsettled_at: row.get(6)?,
            })
        })?
        .collect()
}
