//! What leaves the store: a portion at a time, so that no webhook waits for it.

use super::OnFull;
use super::feed::PORTION;
use super::transaction::{Subscription, Transaction};
use crate::media::end_links;
use crate::outbox::purge_items;
use crate::store::disk::free_bytes;
use crate::store::{Filter, Keep, Purged, SubscriptionState};
use amochats::{Error, ErrorKind, Result, ScopeId};
use rusqlite::{OptionalExtension, params};
use std::collections::BTreeSet;
use std::path::Path;

/// After so many events a subscription that is nearly full is looked at again.
const LOOK_AGAIN: usize = 100;

impl Transaction<'_> {
    /// One portion of what is due; says whether there may be more.
    pub(super) fn maintain(&mut self, keep: &Keep) -> rusqlite::Result<bool> {
        let more = self.delete_remains()?;
        let more = self.forget_events(keep.events_since)? || more;
        let more = self.forget_messages(keep.messages_since)? || more;
        self.tx.prepare_cached("PRAGMA incremental_vacuum(100)")?.query([])?.next()?;
        Ok(more)
    }

    /// Deletes events that are old and that nobody needs any more.
    fn forget_events(&mut self, since: i64) -> rusqlite::Result<bool> {
        let aged = self.first_since(since)?;
        // What a feed still has to open is needed; what was opened and is not settled is, too.
        let opened: Option<i64> = self.tx.query_row("SELECT min(next) FROM feed", [], |row| row.get(0))?;
        let end = opened.map_or(aged, |opened| opened.min(aged));
        let portion = i64::try_from(PORTION).unwrap_or(i64::MAX);
        // Those that are needed for long, as dead letters are, are passed once in a round.
        let sql = "SELECT seq, NOT EXISTS (SELECT 1 FROM delivery d WHERE d.seq = event.seq) \
                   FROM event WHERE seq > ?1 AND seq < ?2 ORDER BY seq LIMIT ?3";
        let looked_at: Vec<(i64, bool)> = self
            .tx
            .prepare_cached(sql)?
            .query_map([self.cache.aged_up_to, end, portion], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let more = looked_at.len() == PORTION;
        self.cache.aged_up_to = looked_at.last().filter(|_| more).map_or(0, |(seq, _)| *seq);
        let due: Vec<i64> = looked_at.iter().filter(|(_, due)| *due).map(|(seq, _)| *seq).collect();
        let Some(last) = due.last() else { return Ok(more) };
        // Their messages are known for longer than they themselves.
        self.file_up_to(*last)?;
        for seq in &due {
            self.tx.prepare_cached("DELETE FROM settled WHERE seq = ?1")?.execute([seq])?;
            self.tx.prepare_cached("DELETE FROM event WHERE seq = ?1")?.execute([seq])?;
        }
        // Not used again, also if these were the newest.
        self.tx.prepare_cached("UPDATE store SET last_seq = ?1")?.execute([self.cache.last_seq])?;
        Ok(more)
    }

    /// Deletes what was seen too long ago to come again. The table has no order of time, so each
    /// call looks at the next portion of it; says whether the one after it is worth a look at once.
    fn forget_messages(&mut self, since: i64) -> rusqlite::Result<bool> {
        let portion = i64::try_from(PORTION).unwrap_or(i64::MAX);
        let from = self.cache.seen.looked_at;
        let sql = "SELECT dedup_key FROM dedup WHERE dedup_key > ?1 ORDER BY dedup_key LIMIT 1 OFFSET ?2";
        let to: Option<i64> =
            self.tx.prepare_cached(sql)?.query_row([from, portion - 1], |row| row.get(0)).optional()?;
        let sql = "DELETE FROM dedup WHERE dedup_key > ?1 AND dedup_key <= ?2 AND seen_at < ?3";
        let gone = self.tx.prepare_cached(sql)?.execute([from, to.unwrap_or(i64::MAX), since])?;
        self.cache.seen.looked_at = to.unwrap_or(i64::MIN);
        // Where many are too old, one portion at a time would never catch up with those that come.
        Ok(gone > PORTION / 20)
    }

    /// Whether there is room for another event. Looked at once in a transaction, and the subscriptions
    /// only now and then, because to count is not free.
    pub(super) fn room(&mut self, now: i64) -> rusqlite::Result<Result<()>> {
        if self.appended > 0 {
            return Ok(Ok(()));
        }
        if let Err(full) = self.disk() {
            return Ok(Err(full));
        }
        let limits = self.cache.limits.clone();
        if limits.backlog == 0 || self.cache.last_seq < self.cache.look_again_at {
            return Ok(Ok(()));
        }
        let mut fullest = 0;
        for mut state in super::feed::estimates(&self.tx)? {
            // What a filter leaves out included: that is known only where it is looked through.
            fullest = fullest.max(state.unsettled);
            if state.unsettled >= limits.backlog && state.filter != Filter::default() {
                // Much of it may be for others.
                state.unsettled = self.looked_through(&state)?;
            }
            let over = state.unsettled.saturating_sub(limits.backlog);
            match limits.on_full {
                _ if state.unsettled < limits.backlog => {}
                OnFull::Refuse => {
                    let name = state.name;
                    return Ok(Err(Error::new(
                        ErrorKind::StoreFull,
                        format!(
                            "subscription {name:?} has reached inbox.backlog_limit; see to its consumers, or delete it"
                        ),
                    )));
                }
                OnFull::ExpireOldest => {
                    let place = self.cache.subscriptions.iter().position(|known| known.id == state.id);
                    let count = usize::try_from(over).unwrap_or(PORTION).min(PORTION) + LOOK_AGAIN;
                    let expired = place.map_or(Ok(0), |place| self.expire_oldest(place, count, now))?;
                    tracing::warn!(
                        subscription = state.name,
                        expired,
                        "a subscription is full; its oldest events are dead letters now, without their bodies"
                    );
                }
            }
        }
        // Each event adds one at most; what adds more of what is kept has it looked at anew.
        let room = limits.backlog.saturating_sub(fullest).max(LOOK_AGAIN as u64);
        let room = i64::try_from(room).unwrap_or(i64::MAX);
        self.cache.look_again_at = self.cache.last_seq.saturating_add(room);
        Ok(Ok(()))
    }

    /// Looks through a portion of what is ahead of a subscription with a filter, and opens what fits; says how much
    /// is open then. While there is more to look at it has not been found full.
    fn looked_through(&mut self, state: &SubscriptionState) -> rusqlite::Result<u64> {
        let named = |known: &Subscription| known.id == state.id;
        if let Some(place) = self.cache.subscriptions.iter().position(named) {
            self.fill(place, usize::MAX)?;
        }
        let sql = "SELECT count(*) FROM delivery WHERE subscription = ?1 AND state <> 4";
        let open: i64 = self.tx.prepare_cached(sql)?.query_row([state.id.0], |row| row.get(0))?;
        Ok(u64::try_from(open).unwrap_or(0))
    }

    /// Whether the disk has room for events.
    pub(super) fn disk(&self) -> Result<()> {
        let least = self.cache.limits.min_free_bytes;
        if let Some(path) = self.tx.path().filter(|_| least > 0)
            && let Ok(free_bytes) = free_bytes(Path::new(path))
            && free_bytes < least
        {
            let said = "the store's disk has less free than store.min_free_bytes; make room";
            return Err(Error::new(ErrorKind::StoreFull, said));
        }
        Ok(())
    }

    /// Gives up the oldest open events of a subscription, and drops their bodies.
    fn expire_oldest(&mut self, place: usize, count: usize, now: i64) -> rusqlite::Result<usize> {
        let id = self.cache.subscriptions[place].id.0;
        self.fill(place, count)?;
        let oldest: Vec<(i64, i64, Option<i64>)> = self
            .tx
            .prepare_cached(
                "SELECT place, seq, conversation FROM delivery WHERE subscription = ?1 AND state IN (0, 1) \
                 ORDER BY place LIMIT ?2",
            )?
            .query_map(params![id, i64::try_from(count).unwrap_or(i64::MAX)], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        for (place, seq, conversation) in &oldest {
            self.tx
                .prepare_cached(
                    "UPDATE delivery SET state = 4, settled_at = ?3 WHERE subscription = ?1 AND place = ?2",
                )?
                .execute([id, *place, now])?;
            // Another subscription may still need the body.
            self.tx
                .prepare_cached(
                    "UPDATE event SET body = x'' WHERE seq = ?1 AND NOT EXISTS \
                     (SELECT 1 FROM delivery WHERE seq = ?1 AND state <> 4) AND NOT EXISTS \
                     (SELECT 1 FROM feed WHERE ?1 BETWEEN next AND coalesce(until, ?1))",
                )?
                .execute([seq])?;
            if let Some(conversation) = conversation {
                self.promote(id, *conversation)?;
            }
        }
        Ok(oldest.len())
    }

    /// Deletes a conversation's events, settled or not, among a portion of all events; says how many,
    /// and where the next portion begins. The first one takes what else belongs to the conversation.
    pub(super) fn purge(
        &mut self,
        scope: &ScopeId,
        conversation: &str,
        from: i64,
    ) -> rusqlite::Result<Result<(Purged, Option<i64>)>> {
        let (channel, account) = match scope.split() {
            Ok(ids) => ids,
            Err(error) => return Ok(Err(error)),
        };
        let scope_id = scope;
        let scope = self.scope(&channel, &account)?;
        // An event may name only one of the two ids.
        let sql = "SELECT conversation_ref_id, conversation_id FROM conversation WHERE scope = ?1 \
                   AND (conversation_ref_id = ?2 OR conversation_id = ?2)";
        let known: Vec<[Option<String>; 2]> = self
            .tx
            .prepare_cached(sql)?
            .query_map(params![scope, conversation], |row| Ok([row.get(0)?, row.get(1)?]))?
            .collect::<rusqlite::Result<_>>()?;
        let mut names = vec![conversation.to_owned()];
        names.extend(known.into_iter().flatten().flatten());
        let sql = "SELECT seq, scope = ?2 AND (conversation_ref_id IN (SELECT value FROM json_each(?3)) \
                   OR conversation_id IN (SELECT value FROM json_each(?3))) \
                   FROM event WHERE seq >= ?1 ORDER BY seq LIMIT ?4";
        let names = serde_json::to_string(&names).expect("a list of texts");
        let portion = i64::try_from(10 * PORTION).unwrap_or(i64::MAX);
        let looked_at: Vec<(i64, bool)> = self
            .tx
            .prepare_cached(sql)?
            .query_map(params![from, scope, names, portion], |row| {
                Ok((row.get(0)?, row.get::<_, Option<bool>>(1)?.unwrap_or(false)))
            })?
            .collect::<rusqlite::Result<_>>()?;
        // What is deleted is overwritten.
        self.tx.pragma_update(None, "secure_delete", true)?;
        let mut purged = Purged::default();
        if from == 0 {
            purged.open_items = purge_items(&self.tx, scope_id, &names)?;
            end_links(&self.tx, scope_id, &names)?;
        }
        let mut behind = BTreeSet::new();
        for (seq, _) in looked_at.iter().filter(|(_, named)| *named) {
            purged.events += 1;
            self.file_up_to(*seq)?;
            let gone = "DELETE FROM delivery WHERE seq = ?1 RETURNING subscription, conversation";
            let mut gone = self.tx.prepare_cached(gone)?;
            for row in gone.query_map([seq], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?)))? {
                behind.insert(row?);
            }
            self.tx.prepare_cached("DELETE FROM settled WHERE seq = ?1")?.execute([seq])?;
            self.tx.prepare_cached("DELETE FROM event WHERE seq = ?1")?.execute([seq])?;
        }
        // What waited behind these may be of a later portion, which never comes where this one is the last
        // before the process ends, or go by another name.
        for (subscription, conversation) in behind {
            if let Some(conversation) = conversation {
                self.promote(subscription, conversation)?;
                self.changed = true;
            }
        }
        self.tx.pragma_update(None, "secure_delete", "FAST")?;
        self.tx.prepare_cached("UPDATE store SET last_seq = ?1")?.execute([self.cache.last_seq])?;
        Ok(Ok((purged, looked_at.last().map(|(seq, _)| seq + 1))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{NewEvent, Origin};
    use crate::store::sqlite::Limits;
    use crate::store::{Filter, Replay, Settlement, SqliteStore, Start, Store, SummaryQuery};
    use futures_util::future::join_all;

    fn event(conversation: Option<&str>, message: &str) -> NewEvent {
        NewEvent {
            channel_id: "channel".into(),
            account_id: "account".into(),
            kind: "message",
            conversation_ref_id: conversation.map(Into::into),
            conversation_id: None,
            message_ref_id: Some(message.into()),
            digest: Some([0; 20]),
            received_at: 1,
            origin: Origin::Webhook,
            signature: None,
            raw: message.as_bytes().to_vec().into(),
        }
    }

    #[tokio::test]
    async fn a_purge_that_is_broken_off_leaves_nothing_waiting_for_what_is_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
        let (crm, _) =
            store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
        store.append(event(Some("a"), "first")).await.expect("kept");
        let others = join_all((1..10 * PORTION).map(|n| store.append(event(None, &n.to_string())))).await;
        assert!(others.iter().all(Result::is_ok));
        store.append(event(Some("a"), "last")).await.expect("kept");
        let mut open = 0;
        while open < 10 * PORTION {
            open += store.lease(crm, PORTION, usize::MAX, 0).await.expect("leased").len();
        }
        assert!(store.lease(crm, 1, usize::MAX, 0).await.expect("asked").is_empty(), "the last one waits");

        let scope: ScopeId = "channel_account".into();
        let (purged, more) =
            store.ask(move |transaction| transaction.purge(&scope, "a", 0)).await.expect("a portion");
        assert_eq!((purged.events, more.is_some()), (1, true), "the last one is of the next portion");
        let leased = store.lease(crm, 1, usize::MAX, 0).await.expect("leased");
        assert_eq!(leased.first().map(|leased| &leased.event.raw[..]), Some(&b"last"[..]));
    }

    #[tokio::test]
    async fn dead_letters_are_passed_once_in_a_round() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
        let (crm, _) =
            store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
        let count = 2 * PORTION + 1;
        let all = join_all((0..count).map(|n| store.append(event(None, &n.to_string())))).await;
        assert!(all.iter().all(Result::is_ok));
        let mut settled = 0;
        while settled < count {
            let leased = store.lease(crm, PORTION, usize::MAX, 0).await.expect("leased");
            let verdicts = leased.iter().enumerate().map(|(place, leased)| {
                let is_last = settled + place + 1 == count;
                (leased.token, if is_last { Settlement::Ack } else { Settlement::Dead })
            });
            store.settle(verdicts.collect(), 1).await.expect("settled");
            settled += leased.len();
        }
        let step =
            async || store.ask(|transaction| transaction.forget_events(2).map(Ok)).await.expect("a portion");
        assert_eq!([step().await, step().await, step().await], [true, true, false], "another one each");
        let kept =
            store.summaries(SummaryQuery { newest_first: true, limit: 1, ..SummaryQuery::default() }).await;
        let newest = kept.expect("listed").remove(0).event_id;
        assert!(newest.ends_with(&format!("-{}", count - 1)), "the settled one went: {newest}");
    }

    #[tokio::test]
    async fn subscriptions_are_counted_when_one_may_be_full() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = Limits { backlog: 1000, ..Limits::default() };
        let store = SqliteStore::open_within(folder.path().join("inbox.db"), limits).await.expect("new");
        store.create_subscription("crm", Start::Oldest, Filter::default(), 1).await.expect("made");
        for message in 0..400 {
            store.append(event(None, &message.to_string())).await.expect("room");
        }
        let again = store.ask(|transaction| Ok(Ok(transaction.cache.look_again_at))).await.expect("asked");
        assert_eq!(again, 1000);
        let replay = Replay { from: Start::Oldest, scope: None };
        for _ in 0..2 {
            store.replay("crm", replay.clone()).await.expect("replayed");
        }
        let error = store.append(event(None, "one more")).await.expect_err("1200 are unsettled");
        assert_eq!(error.kind(), ErrorKind::StoreFull);
    }

    #[tokio::test]
    async fn a_dropped_dead_letter_of_a_temporary_subscription_leaves_no_trace() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
        store.append(event(None, "1")).await.expect("kept");
        let traces = async || {
            let count = |sql: &rusqlite::Connection| {
                sql.query_row("SELECT count(*) FROM settled", [], |row| row.get::<_, i64>(0))
            };
            store.read(move |sql| count(sql).map_err(super::super::error)).await.expect("read")
        };
        for (name, expected) in [("~live", 0), ("crm", 1)] {
            let (id, _) =
                store.create_subscription(name, Start::Oldest, Filter::default(), 1).await.expect("made");
            let leased = store.lease(id, 1, usize::MAX, 0).await.expect("leased").remove(0);
            store.settle(vec![(leased.token, Settlement::Dead)], 1).await.expect("settled");
            assert_eq!(store.take_dead_letters(name, None, false).await.expect("dropped"), 1);
            assert_eq!(traces().await, expected, "{name}");
        }
    }

    #[tokio::test]
    async fn messages_that_are_too_old_go_as_fast_as_they_came() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = SqliteStore::open(folder.path().join("inbox.db")).await.expect("new");
        let all = join_all((0..3000).map(|n| store.append(event(None, &n.to_string())))).await;
        assert!(all.iter().all(Result::is_ok));
        store.maintain(Keep { events_since: 2, messages_since: 0 }).await.expect("done");
        let known = async || {
            let count = |sql: &rusqlite::Connection| {
                sql.query_row("SELECT count(*) FROM dedup", [], |row| row.get::<_, i64>(0))
            };
            store.read(move |sql| count(sql).map_err(super::super::error)).await.expect("read")
        };
        assert_eq!(known().await, 3000, "longer than their events");
        // To the end of the table, and again from its beginning.
        for _ in 0..2 {
            store.maintain(Keep { events_since: 2, messages_since: 2 }).await.expect("done");
        }
        assert_eq!(known().await, 0);
    }
}
