//! Where the linking of accounts keeps what must survive a restart: a small table beside the inbox.

use crate::store::sqlite::error;
use crate::store::{MemoryStore, SqliteStore};
use amochats::Result;
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::BTreeMap;

/// What a [`Record`] is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// An account that has the integration, or had it.
    Account,
    /// The code of an installation.
    Code,
    /// A connection that was authorised before the account was installed.
    Wish,
    /// A one-time token that was used.
    Token,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Code => "code",
            Self::Wish => "wish",
            Self::Token => "token",
        }
    }
}

/// Something that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What it is about.
    pub kind: Kind,
    /// Which one.
    pub key: String,
    /// Its time, in Unix milliseconds.
    pub at: i64,
    /// What is no secret, as JSON.
    pub facts: String,
    /// What is one, encrypted.
    pub sealed: Option<Vec<u8>>,
}

/// A change of what is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keeps a record in place of the one with its key.
    Put(Record),
    /// Forgets a record, if it is there.
    Forget(Kind, String),
}

/// Keeps the records of linked accounts. As with [`Store`](crate::store::Store), `Ok` means that the
/// effect is committed.
#[async_trait]
pub trait WidgetStore: Send + Sync {
    /// A record.
    async fn record(&self, kind: Kind, key: &str) -> Result<Option<Record>>;

    /// All records of a kind, oldest first.
    async fn records(&self, kind: Kind) -> Result<Vec<Record>>;

    /// Keeps a record unless one with its key is there; says whether it was kept.
    async fn claim(&self, record: Record) -> Result<bool>;

    /// Makes all of these changes, or none.
    async fn change(&self, changes: Vec<Change>) -> Result<()>;

    /// Forgets the records of a kind from before this time.
    async fn forget_before(&self, kind: Kind, at: i64) -> Result<()>;
}

const COLUMNS: &str = "key, at, facts, sealed";

fn read(kind: Kind, row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record { kind, key: row.get(0)?, at: row.get(1)?, facts: row.get(2)?, sealed: row.get(3)? })
}

/// Says whether it was written.
fn write(sql: &Connection, or: &str, record: &Record) -> rusqlite::Result<bool> {
    let statement =
        format!("INSERT OR {or} INTO widget (kind, key, at, facts, sealed) VALUES (?1, ?2, ?3, ?4, ?5)");
    let Record { kind, key, at, facts, sealed } = record;
    sql.prepare_cached(&statement)?.execute(params![kind.name(), key, at, facts, sealed]).map(|rows| rows > 0)
}

#[async_trait]
impl WidgetStore for SqliteStore {
    async fn record(&self, kind: Kind, key: &str) -> Result<Option<Record>> {
        let key = key.to_owned();
        self.read(move |sql| {
            let statement = format!("SELECT {COLUMNS} FROM widget WHERE kind = ?1 AND key = ?2");
            let found = sql.query_row(&statement, [kind.name(), key.as_str()], |row| read(kind, row));
            found.optional().map_err(error)
        })
        .await
    }

    async fn records(&self, kind: Kind) -> Result<Vec<Record>> {
        self.read(move |sql| {
            let statement = format!("SELECT {COLUMNS} FROM widget WHERE kind = ?1 ORDER BY at, key");
            let mut statement = sql.prepare(&statement).map_err(error)?;
            let rows = statement.query_map([kind.name()], |row| read(kind, row)).map_err(error)?;
            rows.collect::<rusqlite::Result<_>>().map_err(error)
        })
        .await
    }

    async fn claim(&self, record: Record) -> Result<bool> {
        self.transact(move |transaction| write(transaction.sql(), "IGNORE", &record).map_err(error)).await
    }

    async fn change(&self, changes: Vec<Change>) -> Result<()> {
        self.transact(move |transaction| {
            for change in &changes {
                match change {
                    Change::Put(record) => drop(write(transaction.sql(), "REPLACE", record).map_err(error)?),
                    Change::Forget(kind, key) => {
                        let statement = "DELETE FROM widget WHERE kind = ?1 AND key = ?2";
                        transaction.sql().execute(statement, [kind.name(), key]).map_err(error)?;
                    }
                }
            }
            Ok(())
        })
        .await
    }

    async fn forget_before(&self, kind: Kind, at: i64) -> Result<()> {
        self.transact(move |transaction| {
            let statement = "DELETE FROM widget WHERE kind = ?1 AND at < ?2";
            transaction.sql().execute(statement, params![kind.name(), at]).map(drop).map_err(error)
        })
        .await
    }
}

/// The records of a store in memory.
pub(crate) type Records = BTreeMap<(Kind, String), Record>;

#[async_trait]
impl WidgetStore for MemoryStore {
    async fn record(&self, kind: Kind, key: &str) -> Result<Option<Record>> {
        Ok(self.state()?.widget.get(&(kind, key.to_owned())).cloned())
    }

    async fn records(&self, kind: Kind) -> Result<Vec<Record>> {
        let mut records: Vec<Record> =
            self.state()?.widget.values().filter(|record| record.kind == kind).cloned().collect();
        records.sort_by_key(|record| record.at);
        Ok(records)
    }

    async fn claim(&self, record: Record) -> Result<bool> {
        use std::collections::btree_map::Entry;
        match self.state()?.widget.entry((record.kind, record.key.clone())) {
            Entry::Occupied(_) => Ok(false),
            Entry::Vacant(free) => {
                free.insert(record);
                Ok(true)
            }
        }
    }

    async fn change(&self, changes: Vec<Change>) -> Result<()> {
        let mut state = self.state()?;
        for change in changes {
            match change {
                Change::Put(record) => {
                    state.widget.insert((record.kind, record.key.clone()), record);
                }
                Change::Forget(kind, key) => drop(state.widget.remove(&(kind, key))),
            }
        }
        Ok(())
    }

    async fn forget_before(&self, kind: Kind, at: i64) -> Result<()> {
        self.state()?.widget.retain(|_, record| record.kind != kind || record.at >= at);
        Ok(())
    }
}
