//! What every operation works on: the writer's transaction, and what is kept in memory beside the
//! tables. The operations themselves are in the modules beside this one, by what they deal with.

use super::Limits;
use super::append::Seen;
use crate::store::{Filter, SubscriptionId};
use amochats::{AccountId, ChannelId, Result, ScopeId};
use rusqlite::{Connection, OptionalExtension, TransactionBehavior, params};
use std::collections::HashMap;

/// The most scopes that are remembered by their number.
const SCOPES: usize = 4096;

/// What every transaction needs to know, as the tables have it.
pub(super) struct Cache {
    pub(super) store_id: String,
    pub(super) last_seq: i64,
    pub(super) seen: Seen,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) limits: Limits,
    /// When the room in subscriptions is looked at again.
    pub(super) look_again_at: i64,
    /// Events up to here were looked at for whether they are still needed.
    pub(super) aged_up_to: i64,
    scopes: HashMap<ScopeId, i64>,
}

pub(super) struct Subscription {
    pub(super) id: SubscriptionId,
    /// None: it is deleted, and its rows will be.
    pub(super) name: Option<String>,
    pub(super) filter: Filter,
    pub(super) last_place: i64,
}

impl Cache {
    pub(super) fn load(connection: &Connection, limits: &Limits) -> rusqlite::Result<Self> {
        let (store_id, last_seq, deduped) =
            connection.query_row("SELECT id, last_seq, deduped FROM store", [], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?))
            })?;
        let newest: Option<i64> = connection.query_row("SELECT max(seq) FROM event", [], |row| row.get(0))?;
        let mut statement = connection.prepare("SELECT id, name, filter, last_place FROM subscription")?;
        let subscriptions = statement
            .query_map([], |row| {
                let filter: String = row.get(2)?;
                Ok(Subscription {
                    id: SubscriptionId(row.get(0)?),
                    name: row.get(1)?,
                    // Written here, so it is what it should be, or the file was edited by hand.
                    filter: serde_json::from_str(&filter).map_err(|error| {
                        let text = rusqlite::types::Type::Text;
                        rusqlite::Error::FromSqlConversionFailure(2, text, error.into())
                    })?,
                    last_place: row.get(3)?,
                })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self {
            store_id,
            last_seq: last_seq.max(newest.unwrap_or(0)),
            seen: Seen::load(connection, deduped)?,
            subscriptions,
            limits: limits.clone(),
            look_again_at: 0,
            aged_up_to: 0,
            scopes: HashMap::new(),
        })
    }

    /// Loads it again, after a transaction of which nothing counts.
    pub(super) fn reload(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut fresh = Self::load(connection, &self.limits)?;
        fresh.seen.know_as(&mut self.seen);
        *self = fresh;
        Ok(())
    }

    pub(super) fn event_id(&self, seq: i64) -> String {
        format!("{}-{seq}", self.store_id)
    }

    /// The place of an event, if the id is one of this store's.
    pub(super) fn seq(&self, event_id: &str) -> Option<i64> {
        event_id.strip_prefix(self.store_id.as_str())?.strip_prefix('-')?.parse().ok()
    }
}

/// A transaction on the writer's connection; rolled back unless committed.
pub(crate) struct Transaction<'a> {
    pub(super) tx: rusqlite::Transaction<'a>,
    pub(super) cache: &'a mut Cache,
    /// How many events were kept in it.
    pub(super) appended: usize,
    /// Something may be ready that was not.
    pub(super) changed: bool,
}

impl<'a> Transaction<'a> {
    pub(super) fn begin(connection: &'a Connection, cache: &'a mut Cache) -> rusqlite::Result<Self> {
        let tx = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        Ok(Self { tx, cache, appended: 0, changed: false })
    }

    /// Says whether something may be ready now that was not.
    pub(super) fn commit(mut self) -> rusqlite::Result<bool> {
        self.file_some()?;
        self.tx.commit()?;
        Ok(self.changed)
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
        let appended = self.appended;
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
            self.cache.scopes.clear();
            if self.appended != appended {
                self.cache.reload(&self.tx)?;
            }
        }
        self.tx.prepare_cached("RELEASE work")?.execute([])?;
        Ok(result)
    }

    /// The number of a scope, which gets one if it has none.
    pub(crate) fn scope(&mut self, channel: &ChannelId, account: &AccountId) -> rusqlite::Result<i64> {
        let scope = ScopeId::of(channel, account);
        if let Some(number) = self.cache.scopes.get(&scope) {
            return Ok(*number);
        }
        let ids = params![channel.as_str(), account.as_str()];
        let known = self
            .tx
            .prepare_cached("SELECT id FROM scope WHERE channel_id = ?1 AND account_id = ?2")?
            .query_row(ids, |row| row.get(0))
            .optional()?;
        let number = match known {
            Some(number) => number,
            None => self
                .tx
                .prepare_cached("INSERT INTO scope (channel_id, account_id) VALUES (?1, ?2)")?
                .insert(ids)?,
        };
        if self.cache.scopes.len() == SCOPES {
            self.cache.scopes.clear();
        }
        self.cache.scopes.insert(scope, number);
        Ok(number)
    }
}
