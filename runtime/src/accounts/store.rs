//! Where accounts are kept: a small table beside the inbox.

use super::{Account, AccountState};
use crate::store::sqlite::error;
use crate::store::{MemoryStore, SqliteStore};
use amochats::{Error, ErrorKind, Result, ScopeId};
use async_trait::async_trait;
use rusqlite::{Row, params};

/// Keeps what is known of accounts.
#[async_trait]
pub trait AccountStore: Send + Sync {
    /// All of them, by scope.
    async fn known_accounts(&self) -> Result<Vec<Account>>;
    /// Keeps an account in place of what was known of it.
    async fn put_account(&self, account: Account) -> Result<()>;
    /// Forgets an account; says whether it was known.
    async fn forget_account(&self, scope: &ScopeId) -> Result<bool>;
}

#[async_trait]
impl AccountStore for SqliteStore {
    async fn known_accounts(&self) -> Result<Vec<Account>> {
        self.read(|connection| {
            let columns = "scope_id, state, since, checked_at, problem, title, hook_version";
            let sql = format!("SELECT {columns} FROM account ORDER BY scope_id");
            let mut statement = connection.prepare(&sql).map_err(error)?;
            let rows = statement.query_map([], |row| Ok(account(row))).map_err(error)?;
            rows.map(|row| row.and_then(|account| account).map_err(error)).collect()
        })
        .await
    }

    async fn put_account(&self, account: Account) -> Result<()> {
        self.transact(move |transaction| {
            let sql = "INSERT OR REPLACE INTO account \
                       (scope_id, state, since, checked_at, problem, title, hook_version) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let values = params![
                account.scope_id.as_str(),
                account.state.name(),
                account.since,
                account.checked_at,
                account.problem,
                account.title,
                account.hook_version
            ];
            transaction.sql().execute(sql, values).map(drop).map_err(error)
        })
        .await
    }

    async fn forget_account(&self, scope: &ScopeId) -> Result<bool> {
        let scope = scope.clone();
        self.transact(move |transaction| {
            let sql = "DELETE FROM account WHERE scope_id = ?1";
            transaction.sql().execute(sql, [scope.as_str()]).map(|rows| rows > 0).map_err(error)
        })
        .await
    }
}

fn account(row: &Row<'_>) -> rusqlite::Result<Account> {
    let state: String = row.get(1)?;
    Ok(Account {
        scope_id: ScopeId::new(row.get::<_, String>(0)?),
        // Of a later version: it was heard of, at least.
        state: AccountState::from_name(&state).unwrap_or(AccountState::Discovered),
        since: row.get(2)?,
        checked_at: row.get(3)?,
        problem: row.get(4)?,
        title: row.get(5)?,
        hook_version: row.get(6)?,
        heard_at: None,
    })
}

#[async_trait]
impl AccountStore for MemoryStore {
    async fn known_accounts(&self) -> Result<Vec<Account>> {
        Ok(self.state()?.accounts.values().cloned().collect())
    }

    async fn put_account(&self, account: Account) -> Result<()> {
        self.state()?.accounts.insert(account.scope_id.to_string(), account);
        Ok(())
    }

    async fn forget_account(&self, scope: &ScopeId) -> Result<bool> {
        Ok(self.state()?.accounts.remove(scope.as_str()).is_some())
    }
}

pub(crate) fn unknown() -> Error {
    Error::new(ErrorKind::NotFound, "the account is not known here")
}
