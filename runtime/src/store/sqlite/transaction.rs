//! What the operations do to the tables.

use crate::event::{Event, NewEvent, Origin};
use crate::store::{
    Appended, Leased, Settled, Settlement, Start, SubscriptionId, SubscriptionState, Token,
    subscription_not_found,
};
use amochats::Result;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

// The states of a delivery; `schema.sql` names them too.
const WAITING: i64 = 0;
const READY: i64 = 1;
const LEASED: i64 = 2;
const DELAYED: i64 = 3;
const DEAD: i64 = 4;

/// How many kept events are opened for a new subscription in one transaction.
const FILL: usize = 2000;

/// What every transaction needs to know, kept beside the tables.
pub(super) struct Cache {
    store_id: String,
    subscriptions: Vec<Subscription>,
}

struct Subscription {
    id: SubscriptionId,
    name: String,
    /// Events from here on are still to be opened; nothing is opened for it by appends until then.
    fill_next: Option<i64>,
}

impl Cache {
    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let store_id = connection.query_row("SELECT id FROM store", [], |row| row.get(0))?;
        let mut statement = connection.prepare("SELECT id, name, fill_next FROM subscription")?;
        let subscriptions = statement
            .query_map([], |row| {
                Ok(Subscription {
                    id: SubscriptionId(row.get(0)?),
                    name: row.get(1)?,
                    fill_next: row.get(2)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self { store_id, subscriptions })
    }

    pub(super) fn is_filling(&self) -> bool {
        self.subscriptions.iter().any(|subscription| subscription.fill_next.is_some())
    }
}

/// A transaction on the writer's connection; rolled back unless committed.
pub(crate) struct Transaction<'a> {
    tx: rusqlite::Transaction<'a>,
    cache: &'a mut Cache,
}

impl<'a> Transaction<'a> {
    /// Makes ready what was leased or delayed when the last process ended.
    pub(super) fn release_all(connection: &Connection) -> rusqlite::Result<()> {
        let sql = "UPDATE delivery SET state = ?1 WHERE state IN (?2, ?3)";
        connection.execute(sql, [READY, LEASED, DELAYED]).map(drop)
    }

    pub(super) fn begin(connection: &'a Connection, cache: &'a mut Cache) -> rusqlite::Result<Self> {
        let tx = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        Ok(Self { tx, cache })
    }

    /// For statements on tables of another part of this crate.
    pub(crate) fn sql(&self) -> &Connection {
        &self.tx
    }

    /// Work whose failure takes back its own changes only.
    pub(super) fn nested<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> rusqlite::Result<Result<T>> {
        self.tx.prepare_cached("SAVEPOINT work")?.execute([])?;
        let result = work(self);
        if self.tx.is_autocommit() {
            // SQLite has rolled everything back, as it does on a full disk: nothing must follow.
            return Err(rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_FULL),
                None,
            ));
        }
        if result.is_err() {
            self.tx.prepare_cached("ROLLBACK TO work")?.execute([])?;
        }
        self.tx.prepare_cached("RELEASE work")?.execute([])?;
        Ok(result)
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.tx.commit()
    }

    /// Keeps an event.
    pub(crate) fn append(&mut self, event: &NewEvent) -> rusqlite::Result<Appended> {
        let conversation = self.conversation(event)?;
        let mut conflicting = false;
        if let Some((key, digest)) = event.dedup_key() {
            let seen: Option<bool> = self
                .tx
                .prepare_cached("SELECT max(digest = ?2) FROM dedup WHERE key = ?1")?
                .query_row(params![key, digest], |row| row.get(0))?;
            if seen == Some(true) {
                return Ok(Appended::Duplicate);
            }
            conflicting = seen.is_some();
            self.tx
                .prepare_cached("INSERT INTO dedup (key, digest, seen_at) VALUES (?1, ?2, ?3)")?
                .execute(params![key, digest, event.received_at])?;
        }
        let seq = self
            .tx
            .prepare_cached(
                "INSERT INTO event (channel_id, account_id, kind, conversation, message_ref_id, received_at, origin, \
                 conflicting, signature, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
            )?
            .insert(params![
                event.channel_id.as_str(),
                event.account_id.as_str(),
                event.kind,
                conversation,
                event.message_ref_id.as_ref().map(AsRef::<str>::as_ref),
                event.received_at,
                event.origin.name(),
                conflicting,
                event.signature,
                &event.raw[..],
            ])?;
        for subscription in &self.cache.subscriptions {
            if subscription.fill_next.is_none() && event.origin != Origin::Outbox {
                open(&self.tx, subscription.id, seq, conversation)?;
            }
        }
        let event_id = format!("{}-{seq}", self.cache.store_id);
        Ok(if conflicting { Appended::Conflicting(event_id) } else { Appended::Kept(event_id) })
    }

    /// The row of the event's conversation. A row made when only the integration's id was known
    /// learns amoCRM's id here, so that both ids mean one conversation.
    fn conversation(&self, event: &NewEvent) -> rusqlite::Result<Option<i64>> {
        let scope = event.scope_id();
        let scope = scope.as_str();
        let ref_id = event.conversation_ref_id.as_ref().map(AsRef::<str>::as_ref);
        let own_id = event.conversation_id.as_ref().map(AsRef::<str>::as_ref);
        let found = |sql: &str, id: &str| -> rusqlite::Result<Option<i64>> {
            self.tx.prepare_cached(sql)?.query_row([scope, id], |row| row.get(0)).optional()
        };
        let row = match (ref_id, own_id) {
            (None, None) => return Ok(None),
            (Some(ref_id), own_id) => {
                let by_ref = "SELECT id FROM conversation WHERE scope_id = ?1 AND conversation_ref_id = ?2";
                let by_own = "SELECT id FROM conversation WHERE scope_id = ?1 AND conversation_id = ?2 \
                              AND conversation_ref_id IS NULL";
                match (found(by_ref, ref_id)?, own_id) {
                    (None, Some(own_id)) => found(by_own, own_id)?,
                    (row, _) => row,
                }
            }
            (None, Some(own_id)) => {
                let by_own = "SELECT id FROM conversation WHERE scope_id = ?1 AND conversation_id = ?2 \
                              ORDER BY id DESC LIMIT 1";
                found(by_own, own_id)?
            }
        };
        if let Some(row) = row {
            self.tx
                .prepare_cached(
                    "UPDATE conversation SET conversation_ref_id = coalesce(conversation_ref_id, ?2), \
                     conversation_id = coalesce(conversation_id, ?3) WHERE id = ?1 \
                     AND ((conversation_ref_id IS NULL AND ?2 IS NOT NULL) OR (conversation_id IS NULL AND ?3 IS NOT NULL))",
                )?
                .execute(params![row, ref_id, own_id])?;
            return Ok(Some(row));
        }
        self.tx
            .prepare_cached(
                "INSERT INTO conversation (scope_id, conversation_ref_id, conversation_id) VALUES (?1, ?2, ?3)",
            )?
            .insert(params![scope, ref_id, own_id])
            .map(Some)
    }

    pub(super) fn create_subscription(
        &mut self,
        name: &str,
        start: Start,
        created_at: i64,
    ) -> rusqlite::Result<(SubscriptionId, bool)> {
        if let Ok(id) = self.subscription(name) {
            return Ok((id, false));
        }
        let first = "SELECT min(seq) FROM event WHERE received_at >= ?1";
        let fill_next: Option<i64> = match start {
            Start::Now => None,
            Start::Oldest => Some(0),
            Start::Since(time) => self.tx.query_row(first, [time], |row| row.get(0))?,
        };
        let sql = "INSERT INTO subscription (name, created_at, fill_next) VALUES (?1, ?2, ?3)";
        let id = SubscriptionId(self.tx.prepare_cached(sql)?.insert(params![name, created_at, fill_next])?);
        self.cache.subscriptions.push(Subscription { id, name: name.to_owned(), fill_next });
        Ok((id, true))
    }

    pub(super) fn subscription(&self, name: &str) -> Result<SubscriptionId> {
        let found = self.cache.subscriptions.iter().find(|subscription| subscription.name == name);
        found.map(|subscription| subscription.id).ok_or_else(|| subscription_not_found(name))
    }

    pub(super) fn delete_subscription(&mut self, name: &str) -> rusqlite::Result<Result<()>> {
        let id = match self.subscription(name) {
            Ok(id) => id,
            Err(error) => return Ok(Err(error)),
        };
        self.tx.execute("DELETE FROM delivery WHERE subscription = ?1", [id.0])?;
        self.tx.execute("DELETE FROM subscription WHERE id = ?1", [id.0])?;
        self.cache.subscriptions.retain(|subscription| subscription.id != id);
        Ok(Ok(()))
    }

    pub(super) fn lease(&mut self, id: SubscriptionId, max: usize) -> rusqlite::Result<Result<Vec<Leased>>> {
        if !self.cache.subscriptions.iter().any(|subscription| subscription.id == id) {
            return Ok(Err(subscription_not_found(&format!("number {}", id.0))));
        }
        let store_id = &self.cache.store_id;
        let leased: Vec<Leased> = self
            .tx
            .prepare_cached(
                "SELECT d.seq, d.attempt, d.epoch, e.channel_id, e.account_id, e.received_at, e.origin, e.conflicting, \
                 e.body FROM delivery d JOIN event e ON e.seq = d.seq \
                 WHERE d.subscription = ?1 AND d.state = 1 ORDER BY d.seq LIMIT ?2",
            )?
            .query_map(params![id.0, i64::try_from(max).unwrap_or(i64::MAX)], |row| leased(row, id, store_id))?
            .collect::<rusqlite::Result<_>>()?;
        let mut update = self.tx.prepare_cached(
            "UPDATE delivery SET state = ?3, attempt = ?4, epoch = ?5 WHERE subscription = ?1 AND seq = ?2",
        )?;
        for lease in &leased {
            update.execute(params![id.0, lease.token.seq, LEASED, lease.attempt, lease.token.epoch])?;
        }
        Ok(Ok(leased))
    }

    pub(crate) fn settle(&mut self, token: Token, settlement: Settlement) -> rusqlite::Result<Settled> {
        let Token { subscription: SubscriptionId(id), seq, epoch } = token;
        let expected = if settlement == Settlement::Wake { DELAYED } else { LEASED };
        let found: Option<Option<i64>> = self
            .tx
            .prepare_cached(
                "SELECT conversation FROM delivery WHERE subscription = ?1 AND seq = ?2 AND epoch = ?3 AND state = ?4",
            )?
            .query_row(params![id, seq, epoch, expected], |row| row.get(0))
            .optional()?;
        let Some(conversation) = found else { return Ok(Settled::Lost) };
        let state = match settlement {
            Settlement::Ack => None,
            Settlement::Dead => Some(DEAD),
            Settlement::Delay => Some(DELAYED),
            Settlement::Release | Settlement::Wake => Some(READY),
        };
        match state {
            None => self
                .tx
                .prepare_cached("DELETE FROM delivery WHERE subscription = ?1 AND seq = ?2")?
                .execute([id, seq])?,
            Some(state) => self
                .tx
                .prepare_cached("UPDATE delivery SET state = ?3 WHERE subscription = ?1 AND seq = ?2")?
                .execute([id, seq, state])?,
        };
        if let (Settlement::Ack | Settlement::Dead, Some(conversation)) = (settlement, conversation) {
            self.promote(id, conversation)?;
        }
        Ok(Settled::Done)
    }

    /// Makes the next event of a conversation ready.
    fn promote(&self, subscription: i64, conversation: i64) -> rusqlite::Result<()> {
        self.tx
            .prepare_cached(
                "UPDATE delivery SET state = 1 WHERE subscription = ?1 AND state = 0 AND seq = \
                 (SELECT min(seq) FROM delivery WHERE subscription = ?1 AND conversation = ?2 AND state <> 4)",
            )?
            .execute([subscription, conversation])
            .map(drop)
    }

    /// Opens a portion of the kept events for each subscription that is still being filled.
    pub(super) fn fill(&mut self) -> rusqlite::Result<()> {
        for subscription in &mut self.cache.subscriptions {
            let Some(next) = subscription.fill_next else { continue };
            let portion: Vec<(i64, Option<i64>, String)> = self
                .tx
                .prepare_cached(
                    "SELECT seq, conversation, origin FROM event WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
                )?
                .query_map([next, i64::try_from(FILL).unwrap_or(i64::MAX)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?
                .collect::<rusqlite::Result<_>>()?;
            for (seq, conversation, origin) in &portion {
                if origin != Origin::Outbox.name() {
                    open(&self.tx, subscription.id, *seq, *conversation)?;
                }
            }
            subscription.fill_next = match portion.last() {
                Some((last, ..)) if portion.len() == FILL => Some(last + 1),
                _ => None,
            };
            self.tx
                .prepare_cached("UPDATE subscription SET fill_next = ?2 WHERE id = ?1")?
                .execute(params![subscription.id.0, subscription.fill_next])?;
        }
        Ok(())
    }
}

/// Opens an event for a subscription: ready, unless an earlier one of its conversation is open.
fn open(
    tx: &rusqlite::Transaction<'_>,
    subscription: SubscriptionId,
    seq: i64,
    conversation: Option<i64>,
) -> rusqlite::Result<()> {
    let blocked = match conversation {
        None => false,
        Some(conversation) => tx
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM delivery WHERE subscription = ?1 AND conversation = ?2 AND state <> 4)",
            )?
            .query_row([subscription.0, conversation], |row| row.get(0))?,
    };
    let state = if blocked { WAITING } else { READY };
    tx.prepare_cached(
        "INSERT INTO delivery (subscription, seq, conversation, state) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![subscription.0, seq, conversation.map_or(Value::Null, Value::Integer), state])
    .map(drop)
}

fn leased(row: &Row<'_>, subscription: SubscriptionId, store_id: &str) -> rusqlite::Result<Leased> {
    let seq: i64 = row.get(0)?;
    let channel_id = amochats::ChannelId::new(row.get::<_, String>(3)?);
    let account_id = amochats::AccountId::new(row.get::<_, String>(4)?);
    Ok(Leased {
        token: Token { subscription, seq, epoch: row.get::<_, i64>(2)? + 1 },
        attempt: row.get::<_, u32>(1)?.saturating_add(1),
        event: Event {
            event_id: format!("{store_id}-{seq}"),
            scope_id: amochats::ScopeId::of(&channel_id, &account_id),
            channel_id,
            account_id,
            received_at: row.get(5)?,
            origin: Origin::from_name(&row.get::<_, String>(6)?),
            conflicting_duplicate: row.get(7)?,
            raw: row.get::<_, Vec<u8>>(8)?.into(),
        },
    })
}

pub(super) fn subscriptions(connection: &Connection) -> rusqlite::Result<Vec<SubscriptionState>> {
    // Events that are still to be opened for a new subscription are unsettled, too.
    let sql = "SELECT s.id, s.name, s.created_at, \
               (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state <> 4) \
                 + (SELECT count(*) FROM event e WHERE e.seq >= s.fill_next), \
               (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state = 4), \
               (SELECT received_at FROM event WHERE seq = coalesce( \
                  (SELECT min(d.seq) FROM delivery d WHERE d.subscription = s.id AND d.state <> 4), \
                  (SELECT min(e.seq) FROM event e WHERE e.seq >= s.fill_next))) \
               FROM subscription s ORDER BY s.name";
    let count =
        |row: &Row<'_>, column| row.get::<_, i64>(column).map(|count| u64::try_from(count).unwrap_or(0));
    connection
        .prepare(sql)?
        .query_map([], |row| {
            Ok(SubscriptionState {
                id: SubscriptionId(row.get(0)?),
                name: row.get(1)?,
                created_at: row.get(2)?,
                unsettled: count(row, 3)?,
                dead: count(row, 4)?,
                oldest_unsettled_at: row.get(5)?,
            })
        })?
        .collect()
}
