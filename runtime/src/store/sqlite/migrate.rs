//! The tables' versions: what a file lacks is done when it is opened, all of it or nothing.

use super::APPLICATION_ID;
use super::append::number;
use crate::event::digest;
use amochats::{AccountId, MessageRefId};
use rusqlite::{Connection, TransactionBehavior};

/// `schema/N.sql` leads from version N-1 to N; the first one starts with nothing.
/// A module that has tables of its own keeps their first form beside its code.
const STEPS: [&str; 5] = [
    include_str!("schema/1.sql"),
    concat!(
        include_str!("schema/2.sql"),
        include_str!("../../accounts/schema.sql"),
        include_str!("../../outbox/schema.sql"),
        include_str!("../../backfill/schema.sql"),
    ),
    concat!(include_str!("../../media/schema.sql"), include_str!("../../widget/schema.sql")),
    include_str!("schema/4.sql"),
    include_str!("schema/5.sql"),
];
pub(super) const VERSION: i32 = 5;

pub(super) fn migrate(connection: &Connection, from: i32) -> rusqlite::Result<()> {
    if from == VERSION {
        return Ok(());
    }
    let tx = rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    for (version, step) in (1..).zip(STEPS) {
        if version <= from {
            continue;
        }
        tx.execute_batch(step)?;
        if version == 1 {
            let id = uuid::Uuid::new_v4().simple().to_string();
            tx.execute("INSERT INTO store (id) VALUES (?1)", [&id[..12]])?;
            tx.pragma_update(None, "application_id", APPLICATION_ID)?;
        } else if version == 2 {
            know_messages_again(&tx)?;
        }
    }
    tx.pragma_update(None, "user_version", VERSION)?;
    tx.commit()
}

/// Version 1 had other digests.
fn know_messages_again(connection: &Connection) -> rusqlite::Result<()> {
    let mut events = connection.prepare(
        "SELECT e.received_at, s.account_id, e.message_ref_id, e.body FROM event e JOIN scope s ON s.id = e.scope \
         WHERE e.message_ref_id IS NOT NULL AND e.kind = 'message'",
    )?;
    let mut insert =
        connection.prepare("INSERT OR IGNORE INTO dedup (dedup_key, digest, seen_at) VALUES (?1, ?2, ?3)")?;
    let mut rows = events.query([])?;
    while let Some(row) = rows.next()? {
        let received_at: i64 = row.get(0)?;
        let (account, message) =
            (AccountId::new(row.get::<_, String>(1)?), MessageRefId::new(row.get::<_, String>(2)?));
        let (key, digest) = number(&account, &message, &digest(&row.get::<_, Vec<u8>>(3)?));
        insert.execute([key, digest, received_at])?;
    }
    connection.execute("UPDATE store SET deduped = last_seq", []).map(drop)
}
