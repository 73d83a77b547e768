//! The outbox in the SQLite store: its statements run in the store's own transactions.

use super::item::{Call, Draft, Ids, Item, ItemState, NewItem, Problem, SEND_MESSAGE};
use super::store::{Acknowledged, Change, Depth, Ending, Enqueued, ItemFilter, OutboxStore, Report};
use crate::store::sqlite::{SqliteStore, Transaction, error};
use crate::store::{Settled, Settlement, Token};
use amochats::{Result, ScopeId};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

const COLUMNS: &str = "seq, item_id, scope_id, key, call, conversation_id, conversation_ref_id, message_id, \
                       message_ref_id, body, state, attempts, uncertain, repeated, created_at, expires_at, \
                       ended_at, problem";

const QUEUED: i64 = ItemState::Queued as i64;
const SENDING: i64 = ItemState::Sending as i64;
const RESOLVING: i64 = ItemState::Resolving as i64;

fn item(row: &Row<'_>) -> rusqlite::Result<Item> {
    let id = |column: usize| row.get::<_, Option<String>>(column);
    let problem: Option<String> = row.get(17)?;
    let problem = problem.and_then(|json| Problem::from_json(&serde_json::from_str(&json).ok()?));
    let state = row.get(10)?;
    Ok(Item {
        seq: row.get(0)?,
        item_id: row.get(1)?,
        scope_id: ScopeId::new(row.get::<_, String>(2)?),
        key: row.get(3)?,
        call: row.get(4)?,
        ids: Ids {
            conversation_id: id(5)?.map(Into::into),
            conversation_ref_id: id(6)?.map(Into::into),
            message_id: id(7)?.map(Into::into),
            message_ref_id: id(8)?.map(Into::into),
        },
        body: row.get::<_, Vec<u8>>(9)?.into(),
        state: ItemState::from_number(state).ok_or(rusqlite::Error::IntegralValueOutOfRange(10, state))?,
        attempts: row.get(11)?,
        uncertain: row.get(12)?,
        repeated: row.get(13)?,
        created_at: row.get(14)?,
        expires_at: row.get(15)?,
        ended_at: row.get(16)?,
        problem,
    })
}

fn text<T: AsRef<str>>(id: Option<&T>) -> Option<&str> {
    id.map(AsRef::as_ref)
}

fn json(problem: Option<&Problem>) -> Option<String> {
    problem.map(|problem| problem.to_json().to_string())
}

fn one(sql: &Connection, condition: &str, value: impl rusqlite::ToSql) -> rusqlite::Result<Option<Item>> {
    sql.prepare_cached(&format!("SELECT {COLUMNS} FROM outbox WHERE {condition}"))?
        .query_row([value], item)
        .optional()
}

fn enqueue(tx: &mut Transaction<'_>, draft: Draft) -> rusqlite::Result<Enqueued> {
    let sql = tx.sql();
    let scope = draft.scope_id.as_str();
    if let Some(key) = &draft.key {
        let select = format!("SELECT {COLUMNS}, digest = ?3 FROM outbox WHERE scope_id = ?1 AND key = ?2");
        let known: Option<(Item, bool)> = sql
            .prepare_cached(&select)?
            .query_row(params![scope, key, draft.digest], |row| Ok((item(row)?, row.get(18)?)))
            .optional()?;
        match known {
            Some((item, true)) => return Ok(Enqueued::Known(item)),
            Some((_, false)) => return Ok(Enqueued::Conflicting),
            None => {}
        }
    }
    let own: Option<String> = match (&draft.ids.conversation_ref_id, draft.scope_id.split()) {
        (Some(theirs), Ok((channel, account))) if draft.ids.conversation_id.is_none() => {
            let scope = tx.scope(&channel, &account)?;
            tx.sql()
                .prepare_cached(
                    "SELECT conversation_id FROM conversation WHERE scope = ?1 AND conversation_ref_id = ?2",
                )?
                .query_row(params![scope, theirs.as_str()], |row| row.get(0))
                .optional()?
                .flatten()
        }
        _ => None,
    };
    let order = draft.order(own.as_deref());
    let seq = tx
        .sql()
        .prepare_cached(
            "INSERT INTO outbox (item_id, scope_id, key, digest, call, ordering, conversation_id, conversation_ref_id, \
             message_id, message_ref_id, body, state, head, created_at, expires_at) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0, \
             NOT EXISTS (SELECT 1 FROM outbox WHERE scope_id = ?2 AND ordering = ?6 AND state < 3), ?12, ?13)",
        )?
        .insert(params![
            draft.item_id,
            scope,
            draft.key,
            draft.digest,
            draft.call,
            order,
            text(draft.ids.conversation_id.as_ref()),
            text(draft.ids.conversation_ref_id.as_ref()),
            text(draft.ids.message_id.as_ref()),
            text(draft.ids.message_ref_id.as_ref()),
            &draft.body[..],
            draft.created_at,
            draft.expires_at,
        ])?;
    Ok(Enqueued::New(draft.into_item(seq)))
}

/// Ends an item, makes the next of its conversation the head, and keeps the event that tells of it.
fn end(tx: &mut Transaction<'_>, mut item: Item, ending: Ending) -> rusqlite::Result<Item> {
    let at = ending.at;
    item.end(ending);
    let sql = tx.sql();
    sql.prepare_cached(
        "UPDATE outbox SET state = ?2, head = 0, ended_at = ?3, problem = ?4, conversation_id = ?5, \
         conversation_ref_id = ?6, message_id = ?7, message_ref_id = ?8 WHERE seq = ?1",
    )?
    .execute(params![
        item.seq,
        item.state.number(),
        at,
        json(item.problem.as_ref()),
        text(item.ids.conversation_id.as_ref()),
        text(item.ids.conversation_ref_id.as_ref()),
        text(item.ids.message_id.as_ref()),
        text(item.ids.message_ref_id.as_ref()),
    ])?;
    sql.prepare_cached(
        "UPDATE outbox SET head = 1 WHERE seq = (SELECT min(next.seq) FROM outbox next \
         JOIN outbox ended ON ended.scope_id = next.scope_id AND ended.ordering = next.ordering \
         WHERE ended.seq = ?1 AND next.state < 3)",
    )?
    .execute([item.seq])?;
    // The scope was taken apart when the item was enqueued.
    if let Ok(event) = item.to_event(at) {
        // Never refused for want of room.
        let _ = tx.append(&event)?;
    }
    Ok(item)
}

fn acknowledge(tx: &mut Transaction<'_>, token: Token, report: &Report) -> Result<Acknowledged> {
    type Event = (String, String, String, Option<String>, Option<String>);
    let event = |tx: &Transaction<'_>| -> rusqlite::Result<Option<Event>> {
        tx.sql()
            .prepare_cached(
                "SELECT s.channel_id, s.account_id, e.kind, e.message_ref_id, e.conversation_ref_id FROM delivery d \
                 JOIN event e ON e.seq = d.seq JOIN scope s ON s.id = e.scope \
                 WHERE d.subscription = ?1 AND d.place = ?2 AND d.epoch = ?3",
            )?
            .query_row([token.subscription.0, token.place, token.epoch], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
            })
            .optional()
    };
    let Some((channel, account, kind, message, conversation)) = event(tx).map_err(error)? else {
        return Ok(Acknowledged::Lost);
    };
    let Some(message_ref_id) = message.filter(|_| kind == "message") else {
        return Ok(Acknowledged::NotReportable);
    };
    let call = Call::SetDeliveryStatus {
        message_ref_id: message_ref_id.into(),
        status: report.status.clone(),
        conversation_ref_id: conversation.map(Into::into),
    };
    let scope = ScopeId::of(&channel.into(), &account.into());
    let draft = report.draft(&NewItem::new(scope, call))?;
    if tx.settle(token, Settlement::Ack, report.created_at).map_err(error)? == Settled::Lost {
        return Ok(Acknowledged::Lost);
    }
    match enqueue(tx, draft).map_err(error)? {
        Enqueued::New(item) => Ok(Acknowledged::Done(Box::new(item))),
        Enqueued::Known(_) | Enqueued::Conflicting => unreachable!("a report has no key"),
    }
}

fn begin(tx: &Transaction<'_>, seq: i64) -> rusqlite::Result<Option<Item>> {
    let update = format!(
        "UPDATE outbox SET repeated = repeated OR state = {RESOLVING}, state = {SENDING}, attempts = attempts + 1 \
         WHERE seq = ?1 AND head = 1 AND state IN ({QUEUED}, {RESOLVING}) RETURNING {COLUMNS}"
    );
    tx.sql().prepare_cached(&update)?.query_row([seq], item).optional()
}

fn change(tx: &mut Transaction<'_>, seq: i64, change: Change) -> rusqlite::Result<()> {
    let sql = tx.sql();
    match change {
        Change::Requeue { uncertain, problem } => {
            sql.prepare_cached(
                "UPDATE outbox SET state = ?2, uncertain = uncertain OR ?3, problem = ?4 WHERE seq = ?1",
            )?
            .execute(params![seq, QUEUED, uncertain, json(Some(&problem))])?;
        }
        Change::Resolve { repeated, problem } => {
            sql.prepare_cached(
                "UPDATE outbox SET state = ?2, uncertain = 1, repeated = ?3, problem = ?4 WHERE seq = ?1",
            )?
            .execute(params![seq, RESOLVING, repeated, json(Some(&problem))])?;
        }
        Change::End(ending) => {
            if let Some(item) = one(sql, "seq = ?1", seq)? {
                end(tx, item, ending)?;
            }
        }
    }
    Ok(())
}

fn cancel(tx: &mut Transaction<'_>, item_id: &str, now: i64) -> rusqlite::Result<Option<(Item, bool)>> {
    let Some(item) = one(tx.sql(), "item_id = ?1", item_id)? else { return Ok(None) };
    match item.cancellation(now) {
        Some(ending) => end(tx, item, ending).map(|item| Some((item, true))),
        None => Ok(Some((item, false))),
    }
}

/// Queued items whose deadline has come, in the order of the index: in that of the items SQLite would look at
/// all that there are, whatever their state.
fn overdue() -> String {
    format!(
        "SELECT {COLUMNS} FROM outbox WHERE state = {QUEUED} AND expires_at <= ?1 ORDER BY expires_at, seq LIMIT ?2"
    )
}

fn expire(tx: &mut Transaction<'_>, now: i64, max: usize) -> rusqlite::Result<Vec<Item>> {
    let mut due: Vec<Item> = tx
        .sql()
        .prepare_cached(&overdue())?
        .query_map(params![now, limit(max)], item)?
        .collect::<rusqlite::Result<_>>()?;
    due.sort_by_key(|item| item.seq);
    due.into_iter()
        .map(|item| {
            let ending = item.expiry(now);
            end(tx, item, ending)
        })
        .collect()
}

fn list(sql: &Connection, filter: &ItemFilter) -> rusqlite::Result<Vec<Item>> {
    let states: Vec<String> = filter.states.iter().map(|state| state.number().to_string()).collect();
    let of_states =
        if states.is_empty() { String::new() } else { format!(" AND state IN ({})", states.join(", ")) };
    let of_scope = if filter.scope_id.is_some() { " AND scope_id = ?3" } else { "" };
    let select = format!(
        "SELECT {COLUMNS} FROM outbox WHERE seq > coalesce((SELECT seq FROM outbox WHERE item_id = ?1), 0)\
         {of_states}{of_scope} ORDER BY seq LIMIT ?2"
    );
    let mut values: Vec<rusqlite::types::Value> =
        vec![filter.after.clone().unwrap_or_default().into(), limit(filter.limit).into()];
    values.extend(filter.scope_id.as_ref().map(|scope| scope.as_str().to_owned().into()));
    sql.prepare(&select)?.query_map(params_from_iter(values), item)?.collect()
}

fn depth(sql: &Connection) -> rusqlite::Result<Vec<Depth>> {
    let counted = "SELECT state, count(*), min(created_at) FROM outbox WHERE state < 3 GROUP BY state";
    sql.prepare(counted)?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get(2)?)))?
        .filter_map(|row| match row {
            Ok((state, items, oldest)) => ItemState::from_number(state)
                .map(|state| Ok(Depth { state, items: items.unsigned_abs(), oldest })),
            Err(error) => Some(Err(error)),
        })
        .collect()
}

fn scopes(sql: &Connection) -> rusqlite::Result<Vec<ScopeId>> {
    sql.prepare("SELECT DISTINCT scope_id FROM outbox WHERE head = 1")?
        .query_map([], |row| row.get::<_, String>(0).map(ScopeId::new))?
        .collect()
}

fn heads(sql: &Connection, scope: &ScopeId, max: usize) -> rusqlite::Result<Vec<i64>> {
    sql.prepare_cached("SELECT seq FROM outbox WHERE scope_id = ?1 AND head = 1 ORDER BY seq LIMIT ?2")?
        .query_map(params![scope.as_str(), limit(max)], |row| row.get(0))?
        .collect()
}

fn next_expiry(sql: &Connection) -> rusqlite::Result<Option<i64>> {
    sql.prepare_cached("SELECT min(expires_at) FROM outbox WHERE state = 0")?.query_row([], |row| row.get(0))
}

/// Deletes the items of a conversation, by any of its ids, but for those that may be on the wire; says
/// how many had not ended.
pub(crate) fn purge_items(sql: &Connection, scope: &ScopeId, ids: &str) -> rusqlite::Result<u64> {
    let purge = format!(
        "DELETE FROM outbox WHERE scope_id = ?1 AND state NOT IN ({SENDING}, {RESOLVING}) \
         AND (conversation_id IN (SELECT value FROM json_each(?2)) \
              OR conversation_ref_id IN (SELECT value FROM json_each(?2))) RETURNING state"
    );
    let mut open = 0;
    for state in sql.prepare(&purge)?.query_map([scope.as_str(), ids], |row| row.get::<_, i64>(0))? {
        open += u64::from(state? == QUEUED);
    }
    // An item that is known by another id may have waited behind these.
    sql.execute(
        "UPDATE outbox SET head = 1 WHERE scope_id = ?1 AND state < 3 AND NOT EXISTS (SELECT 1 FROM outbox earlier \
         WHERE earlier.scope_id = ?1 AND earlier.ordering = outbox.ordering AND earlier.state < 3 \
         AND earlier.seq < outbox.seq)",
        [scope.as_str()],
    )?;
    Ok(open)
}

fn forget(sql: &Connection, before: i64, max: usize) -> rusqlite::Result<usize> {
    let old = "SELECT seq FROM outbox WHERE ended_at < ?1 ORDER BY ended_at LIMIT ?2";
    sql.prepare_cached(&format!("DELETE FROM outbox WHERE seq IN ({old})"))?
        .execute(params![before, limit(max)])
}

fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

#[async_trait]
impl OutboxStore for SqliteStore {
    async fn enqueue(&self, draft: Draft) -> Result<Enqueued> {
        self.transact(|tx| enqueue(tx, draft).map_err(error)).await
    }

    async fn acknowledge(&self, token: Token, report: Report) -> Result<Acknowledged> {
        self.transact(move |tx| acknowledge(tx, token, &report)).await
    }

    async fn recover(&self) -> Result<()> {
        self.transact(|tx| {
            let sql = tx.sql();
            sql.execute(
                    "UPDATE outbox SET state = CASE call WHEN ?1 THEN ?2 ELSE ?3 END, uncertain = 1 WHERE state = ?4",
                    params![SEND_MESSAGE, RESOLVING, QUEUED, SENDING],
                )
                .map(drop)
                .map_err(error)
        })
        .await
    }

    async fn scopes(&self) -> Result<Vec<ScopeId>> {
        self.read(|sql| scopes(sql).map_err(error)).await
    }

    async fn heads(&self, scope: &ScopeId, max: usize) -> Result<Vec<i64>> {
        let scope = scope.clone();
        self.transact(move |tx| heads(tx.sql(), &scope, max).map_err(error)).await
    }

    async fn at(&self, seq: i64) -> Result<Option<Item>> {
        self.transact(move |tx| one(tx.sql(), "seq = ?1", seq).map_err(error)).await
    }

    async fn begin(&self, seq: i64) -> Result<Option<Item>> {
        self.transact(move |tx| begin(tx, seq).map_err(error)).await
    }

    async fn change(&self, seq: i64, asked: Change) -> Result<()> {
        self.transact(move |tx| change(tx, seq, asked).map_err(error)).await
    }

    async fn cancel(&self, item_id: &str, now: i64) -> Result<Option<(Item, bool)>> {
        let item_id = item_id.to_owned();
        self.transact(move |tx| cancel(tx, &item_id, now).map_err(error)).await
    }

    async fn expire(&self, now: i64, max: usize) -> Result<Vec<Item>> {
        self.transact(move |tx| expire(tx, now, max).map_err(error)).await
    }

    async fn next_expiry(&self) -> Result<Option<i64>> {
        self.transact(|tx| next_expiry(tx.sql()).map_err(error)).await
    }

    async fn item(&self, item_id: &str) -> Result<Option<Item>> {
        let item_id = item_id.to_owned();
        self.read(move |sql| one(sql, "item_id = ?1", item_id).map_err(error)).await
    }

    async fn list(&self, filter: ItemFilter) -> Result<Vec<Item>> {
        self.read(move |sql| list(sql, &filter).map_err(error)).await
    }

    async fn depth(&self) -> Result<Vec<Depth>> {
        self.read(|sql| depth(sql).map_err(error)).await
    }

    async fn forget(&self, before: i64, max: usize) -> Result<usize> {
        self.transact(move |tx| forget(tx.sql(), before, max).map_err(error)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::StatementStatus;

    #[tokio::test]
    async fn what_has_ended_costs_a_deadline_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
        let steps = store.transact(|tx| {
            let steps = || -> rusqlite::Result<i32> {
                tx.sql().execute(
                    "WITH RECURSIVE ended (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM ended WHERE n < 10000) \
                     INSERT INTO outbox (item_id, scope_id, digest, call, ordering, body, state, head, created_at, \
                     expires_at, ended_at) SELECT n, 'c_a', x'', 'react', n, x'', 3, 0, 1, 1, 1 FROM ended",
                    [],
                )?;
                let mut statement = tx.sql().prepare(&overdue())?;
                statement.query([2, 1])?.next()?;
                Ok(statement.get_status(StatementStatus::VmStep))
            };
            steps().map_err(error)
        });
        let steps = steps.await.expect("asked");
        assert!(steps < 100, "few rows were looked at: {steps}");
    }
}
