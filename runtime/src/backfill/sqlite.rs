//! What backfill asks of the SQLite store.

use super::{BackfillStore, Gap};
use crate::event::{Event, NewEvent, Origin};
use crate::store::Appended;
use crate::store::sqlite::{SqliteStore, Transaction, error};
use amochats::{ConversationId, Result, ScopeId};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// A conversation is read from its last webhook on; one that only we wrote to, from our first call
/// on. Webhooks v1 name no message: what they brought cannot be told from what is missing.
const KNOWN: &str = "\
    SELECT s.channel_id || '_' || s.account_id, e.conversation_ref_id, max(e.conversation_id), \
           coalesce(max(e.received_at) FILTER (WHERE e.origin <> 'outbox'), min(e.received_at)) \
    FROM event e JOIN scope s ON s.id = e.scope WHERE e.conversation_ref_id IS NOT NULL AND (?1 OR e.scope NOT IN \
    (SELECT v.scope FROM event v WHERE v.kind = 'message' AND v.origin = 'webhook' AND v.message_ref_id IS NULL)) \
    GROUP BY e.scope, e.conversation_ref_id";

/// How many conversations are marked in one transaction, so that nobody else waits long.
const PORTION: usize = 500;

fn gap(row: &Row<'_>) -> rusqlite::Result<Gap> {
    Ok(Gap {
        scope_id: ScopeId::new(row.get::<_, String>(0)?),
        conversation_ref_id: row.get::<_, String>(1)?.into(),
        conversation_id: row.get::<_, Option<String>>(2)?.map(Into::into),
        since: row.get(3)?,
    })
}

fn known(sql: &Connection, v1_hooks: bool, by: i64) -> rusqlite::Result<Vec<Gap>> {
    let by = |row: &Row<'_>| gap(row).map(|gap| Gap { since: gap.since.min(by), ..gap });
    sql.prepare(KNOWN)?.query_map([v1_hooks], by)?.collect()
}

fn mark(sql: &Connection, gap: &Gap) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "INSERT INTO gap (scope_id, conversation_ref_id, conversation_id, since) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT (scope_id, conversation_ref_id) DO UPDATE SET since = min(since, excluded.since)",
    )?
    .execute(params![
        gap.scope_id.as_str(),
        gap.conversation_ref_id.as_str(),
        gap.conversation_id.as_ref().map(AsRef::<str>::as_ref),
        gap.since,
    ])
    .map(drop)
}

fn next(sql: &Connection, after: Option<&Gap>) -> rusqlite::Result<Option<Gap>> {
    let (scope, conversation) =
        after.map_or(("", ""), |gap| (gap.scope_id.as_str(), gap.conversation_ref_id.as_str()));
    sql.prepare_cached(
        "SELECT scope_id, conversation_ref_id, conversation_id, since FROM gap \
         WHERE (scope_id, conversation_ref_id) > (?1, ?2) ORDER BY scope_id, conversation_ref_id LIMIT 1",
    )?
    .query_row([scope, conversation], gap)
    .optional()
}

fn append_missing(tx: &mut Transaction<'_>, event: &NewEvent) -> Result<bool> {
    if tx.knows(event).map_err(error)? {
        return Ok(false);
    }
    Ok(tx.append(event).map_err(error)?? != Appended::Duplicate)
}

fn unreported(sql: &Connection, after: Option<&str>, max: usize) -> rusqlite::Result<Vec<Event>> {
    let store_id: String = sql.query_row("SELECT id FROM store", [], |row| row.get(0))?;
    let after = after.and_then(|id| id.strip_prefix(&store_id)?.strip_prefix('-')?.parse::<i64>().ok());
    let read = |row: &Row<'_>| event(row, &store_id);
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    sql.prepare(&format!(
        "SELECT {EVENT} FROM event e JOIN scope s ON s.id = e.scope \
         WHERE e.seq > ?1 AND e.kind = 'message' AND e.message_ref_id IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM delivery d WHERE d.seq = e.seq) \
         AND NOT EXISTS (SELECT 1 FROM feed f WHERE e.seq BETWEEN f.next AND coalesce(f.until, e.seq)) \
         AND NOT EXISTS (SELECT 1 FROM outbox o WHERE o.call = 'set_delivery_status' \
                         AND o.message_ref_id = e.message_ref_id) \
         ORDER BY e.seq LIMIT ?2"
    ))?
    .query_map(params![after.unwrap_or(0), max], read)?
    .collect()
}

const EVENT: &str = "e.seq, s.channel_id, s.account_id, e.received_at, e.origin, e.conflicting, e.body";

fn event(row: &Row<'_>, store_id: &str) -> rusqlite::Result<Event> {
    let (channel_id, account_id) = (row.get::<_, String>(1)?.into(), row.get::<_, String>(2)?.into());
    Ok(Event {
        event_id: format!("{store_id}-{}", row.get::<_, i64>(0)?),
        scope_id: ScopeId::of(&channel_id, &account_id),
        channel_id,
        account_id,
        received_at: row.get(3)?,
        origin: Origin::from_name(&row.get::<_, String>(4)?),
        conflicting_duplicate: row.get(5)?,
        raw: row.get::<_, Vec<u8>>(6)?.into(),
    })
}

/// Events that webhooks v1 brought, by the index that has no others.
const OF_V1: &str = "FROM event e INDEXED BY event_by_v1 JOIN scope s ON s.id = e.scope WHERE e.scope = ?1 \
                     AND e.kind = 'message' AND e.origin = 'webhook' AND e.message_ref_id IS NULL";
const OF_CONVERSATION: &str = "AND e.conversation_id IS ?2 AND e.received_at >= ?3 ORDER BY e.seq";

fn heard_by_v1(
    sql: &Connection,
    scope: &ScopeId,
    conversation: Option<&str>,
    since: i64,
) -> rusqlite::Result<Option<Vec<Event>>> {
    let Ok((channel, account)) = scope.split() else { return Ok(None) };
    let scope: Option<i64> = sql
        .prepare_cached("SELECT id FROM scope WHERE channel_id = ?1 AND account_id = ?2")?
        .query_row([channel.as_str(), account.as_str()], |row| row.get(0))
        .optional()?;
    let Some(scope) = scope else { return Ok(None) };
    if !sql.prepare_cached(&format!("SELECT 1 {OF_V1}"))?.exists([scope])? {
        return Ok(None);
    }
    let store_id: String = sql.query_row("SELECT id FROM store", [], |row| row.get(0))?;
    sql.prepare_cached(&format!("SELECT {EVENT} {OF_V1} {OF_CONVERSATION}"))?
        .query_map(params![scope, conversation, since], |row| event(row, &store_id))?
        .collect::<rusqlite::Result<_>>()
        .map(Some)
}

#[async_trait]
impl BackfillStore for SqliteStore {
    async fn mark_all(&self, v1_hooks: bool, by: i64) -> Result<()> {
        let known = self.read(move |sql| known(sql, v1_hooks, by).map_err(error)).await?;
        for portion in known.chunks(PORTION) {
            let portion = portion.to_vec();
            let mark_them = |sql: &Connection, gaps: &[Gap]| gaps.iter().try_for_each(|gap| mark(sql, gap));
            self.transact(move |tx| mark_them(tx.sql(), &portion).map_err(error)).await?;
        }
        Ok(())
    }

    async fn mark(&self, gap: Gap) -> Result<()> {
        self.transact(move |tx| mark(tx.sql(), &gap).map_err(error)).await
    }

    async fn next(&self, after: Option<Gap>) -> Result<Option<Gap>> {
        self.transact(move |tx| next(tx.sql(), after.as_ref()).map_err(error)).await
    }

    async fn done(&self, gap: Gap) -> Result<()> {
        let delete = "DELETE FROM gap WHERE scope_id = ?1 AND conversation_ref_id = ?2 AND since >= ?3";
        self.transact(move |tx| {
            let which = params![gap.scope_id.as_str(), gap.conversation_ref_id.as_str(), gap.since];
            tx.sql().execute(delete, which).map(drop).map_err(error)
        })
        .await
    }

    async fn pending(&self) -> Result<u64> {
        let count =
            |sql: &Connection| sql.query_row("SELECT count(*) FROM gap", [], |row| row.get::<_, i64>(0));
        self.read(move |sql| count(sql).map(i64::unsigned_abs).map_err(error)).await
    }

    async fn append_missing(&self, event: NewEvent) -> Result<bool> {
        self.transact(move |tx| append_missing(tx, &event)).await
    }

    async fn heard_by_v1(
        &self,
        scope: &ScopeId,
        conversation: Option<&ConversationId>,
        since: i64,
    ) -> Result<Option<Vec<Event>>> {
        let (scope, conversation) = (scope.clone(), conversation.cloned());
        self.read(move |sql| {
            let conversation = conversation.as_ref().map(ConversationId::as_str);
            heard_by_v1(sql, &scope, conversation, since).map_err(error)
        })
        .await
    }

    async fn unreported(&self, after: Option<String>, max: usize) -> Result<Vec<Event>> {
        self.read(move |sql| unreported(sql, after.as_deref(), max).map_err(error)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    fn event(message: Option<&str>) -> NewEvent {
        NewEvent {
            channel_id: "channel".into(),
            account_id: "account".into(),
            kind: "message",
            conversation_ref_id: None,
            conversation_id: Some("c".into()),
            message_ref_id: message.map(Into::into),
            digest: Some([0; 20]),
            received_at: 1,
            origin: Origin::Webhook,
            signature: None,
            raw: "{}".into(),
        }
    }

    #[tokio::test]
    async fn what_webhooks_v1_brought_is_found_by_an_index_that_costs_those_of_v2_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
        for message in [Some("1"), None, Some("2"), Some("3")] {
            store.append(event(message)).await.expect("kept");
        }
        let (plan, indexed) = store
            .read(|sql| {
                let plan = format!("EXPLAIN QUERY PLAN SELECT {EVENT} {OF_V1} {OF_CONVERSATION}");
                let plan = sql.prepare(&plan).and_then(|mut plan| {
                    plan.query_map(params![1, "c", 0], |row| row.get::<_, String>(3))?
                        .collect::<rusqlite::Result<Vec<_>>>()
                });
                let indexed = "SELECT coalesce(sum(d.ncell), 0) FROM sqlite_schema i JOIN dbstat d ON d.name = i.name \
                               WHERE i.type = 'index' AND i.tbl_name = 'event'";
                let indexed = sql.query_row(indexed, [], |row| row.get::<_, i64>(0));
                Ok((plan.map_err(error)?, indexed.map_err(error)?))
            })
            .await
            .expect("read");
        let search = "USING INDEX event_by_v1 (scope=? AND conversation_id=? AND received_at>?)";
        assert!(plan.iter().any(|line| line.ends_with(search)), "{plan:?}");
        assert_eq!(indexed, 1, "the message of the webhook v1");
        store.close().await;
    }
}
