//! Keeping events, and knowing those that came before.
//!
//! A duplicate is found by a number made of the account and the message id, and another made of the
//! content. They are written with the event's row. The table `dedup` holds them by number, so each
//! new one would change a page of its own somewhere in it, which costs more than all the rest. So
//! the newest numbers are in memory, in their order, and go into the table in that order, a few in
//! each transaction: many then share a page. What the table lacks is read from the events at the
//! start.

use super::known::Known;
use super::transaction::Transaction;
use crate::event::{NewEvent, Origin};
use crate::store::Appended;
use amochats::{AccountId, MessageRefId, Result};
use rusqlite::{Connection, params};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;

/// How many numbers are collected before they go into the table: about 3 MB of memory. Few without
/// optimisation, so that every test of crashes comes through their filing many times.
const COLLECTED: usize = if cfg!(debug_assertions) { 500 } else { 50_000 };

/// Account and message id, and content.
type Number = (i64, i64);

/// Which messages were seen and are not in the table yet, with their time.
pub(super) struct Seen {
    /// Of all that were ever seen, in the table or not.
    known: Known,
    newest: BTreeMap<Number, i64>,
    /// On their way into the table.
    filing: BTreeMap<Number, i64>,
    /// Once they are there, all up to this event are.
    filing_until: i64,
    /// All up to this event are there.
    filed: i64,
    /// Up to here the table was looked through for what is too old.
    pub(super) looked_at: i64,
}

impl Seen {
    pub(super) fn load(connection: &Connection, deduped: i64) -> rusqlite::Result<Self> {
        let mut statement = connection.prepare(
            "SELECT dedup_key, digest, received_at FROM event WHERE seq > ?1 AND dedup_key IS NOT NULL",
        )?;
        let newest = statement
            .query_map([deduped], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Self {
            known: Known::default(),
            newest,
            filing: BTreeMap::new(),
            filing_until: deduped,
            filed: deduped,
            looked_at: i64::MIN,
        })
    }

    /// Makes use of what is known; it must have been started before this was loaded.
    pub(super) fn know(&mut self, mut known: Known) {
        self.newest.keys().for_each(|(key, _)| known.add(*key));
        self.known = known;
    }

    /// Goes on with what another one knew of the same tables.
    pub(super) fn know_as(&mut self, other: &mut Self) {
        self.known = std::mem::take(&mut other.known);
    }

    /// Whether this message was seen with this content (true) or with another one (false).
    fn find(&self, (key, digest): Number) -> Option<bool> {
        let mut found = None;
        for numbers in [&self.newest, &self.filing] {
            for ((_, seen), _) in numbers.range((key, i64::MIN)..=(key, i64::MAX)) {
                found = Some(found == Some(true) || *seen == digest);
            }
        }
        found
    }
}

/// The number of a message and that of its content.
pub(super) fn number(account: &AccountId, message: &MessageRefId, digest: &[u8; 20]) -> Number {
    (leading(&Sha1::digest(format!("{account}/{message}")).into()), leading(digest))
}

fn leading(digest: &[u8; 20]) -> i64 {
    let (number, _) = digest.split_first_chunk().expect("20 bytes begin with 8");
    i64::from_be_bytes(*number)
}

impl Transaction<'_> {
    /// Keeps an event.
    pub(crate) fn append(&mut self, event: &NewEvent) -> rusqlite::Result<Result<Appended>> {
        let message = event.digest.zip(event.message_ref_id.as_ref());
        let number = message.map(|(digest, message)| number(&event.account_id, message, &digest));
        let mut conflicting = false;
        if let Some(number) = number {
            match self.seen(number)? {
                Some(true) => return Ok(Ok(Appended::Duplicate)),
                Some(false) => conflicting = true,
                None => {}
            }
        }
        // What became of a call is told in any case, as a settlement is.
        if event.origin != Origin::Outbox
            && let Err(full) = self.room(event.received_at)?
        {
            return Ok(Err(full));
        }
        let scope = self.scope(&event.channel_id, &event.account_id)?;
        let seq = self.cache.last_seq + 1;
        self.tx
            .prepare_cached(
                "INSERT INTO event (seq, scope, kind, received_at, origin, conflicting, message_ref_id, \
                 conversation_ref_id, conversation_id, dedup_key, digest, signature, body) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                seq,
                scope,
                event.kind,
                event.received_at,
                event.origin.name(),
                conflicting,
                event.message_ref_id.as_ref().map(AsRef::<str>::as_ref),
                event.conversation_ref_id.as_ref().map(AsRef::<str>::as_ref),
                event.conversation_id.as_ref().map(AsRef::<str>::as_ref),
                number.map(|(key, _)| key),
                number.map(|(_, digest)| digest),
                event.signature,
                &event.raw[..],
            ])?;
        self.cache.last_seq = seq;
        self.appended += 1;
        self.changed = true;
        if let Some(number) = number {
            self.cache.seen.known.add(number.0);
            self.cache.seen.newest.insert(number, event.received_at);
        }
        let event_id = self.cache.event_id(seq);
        Ok(Ok(if conflicting { Appended::Conflicting(event_id) } else { Appended::Kept(event_id) }))
    }

    /// Whether the event's message was kept before, with whatever content.
    pub(crate) fn knows(&mut self, event: &NewEvent) -> rusqlite::Result<bool> {
        match event.digest.zip(event.message_ref_id.as_ref()) {
            Some((digest, message)) => {
                self.seen(number(&event.account_id, message, &digest)).map(|seen| seen.is_some())
            }
            None => Ok(false),
        }
    }

    fn seen(&mut self, number: Number) -> rusqlite::Result<Option<bool>> {
        if !self.cache.seen.known.may_have(number.0) {
            return Ok(None);
        }
        let lately = self.cache.seen.find(number);
        if lately == Some(true) {
            return Ok(lately);
        }
        let before: Option<bool> = self
            .tx
            .prepare_cached("SELECT max(digest = ?2) FROM dedup WHERE dedup_key = ?1")?
            .query_row([number.0, number.1], |row| row.get(0))?;
        Ok(before.max(lately))
    }

    /// Puts some of the numbers into the table: twice as many as came, so that it keeps up.
    pub(super) fn file_some(&mut self) -> rusqlite::Result<()> {
        if self.cache.seen.filing.is_empty() && self.cache.seen.newest.len() >= COLLECTED {
            self.start_filing();
        }
        self.file(2 * self.appended)
    }

    /// Puts all numbers up to this event into the table, before the event goes.
    pub(super) fn file_up_to(&mut self, seq: i64) -> rusqlite::Result<()> {
        while seq > self.cache.seen.filed {
            if self.cache.seen.filing.is_empty() {
                self.start_filing();
            }
            self.file(usize::MAX)?;
        }
        Ok(())
    }

    fn start_filing(&mut self) {
        let seen = &mut self.cache.seen;
        seen.filing = std::mem::take(&mut seen.newest);
        seen.filing_until = self.cache.last_seq;
    }

    fn file(&mut self, count: usize) -> rusqlite::Result<()> {
        let seen = &mut self.cache.seen;
        if seen.filed == seen.filing_until {
            return Ok(());
        }
        let sql = "INSERT OR IGNORE INTO dedup (dedup_key, digest, seen_at) VALUES (?1, ?2, ?3)";
        let mut insert = self.tx.prepare_cached(sql)?;
        for _ in 0..count.min(seen.filing.len()) {
            let Some(((key, digest), seen_at)) = seen.filing.pop_first() else { break };
            insert.execute([key, digest, seen_at])?;
        }
        if seen.filing.is_empty() {
            seen.filed = seen.filing_until;
            self.tx.prepare_cached("UPDATE store SET deduped = ?1")?.execute([seen.filed])?;
        }
        Ok(())
    }
}
