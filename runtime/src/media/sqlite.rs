//! What media asks of the SQLite store.

use super::store::{Attachment, AttachmentState, Link, MediaFile, MediaStore};
use crate::store::event_not_found;
use crate::store::sqlite::{SqliteStore, error};
use amochats::{Result, ScopeId};
use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, Row, params};

const ATTACHMENT: &str = "(SELECT id FROM store) || '-' || seq, url, state, attempts, next_at, file_name, \
                          content_type, size, problem";

fn attachment(row: &Row<'_>) -> rusqlite::Result<Attachment> {
    Ok(Attachment {
        event_id: row.get(0)?,
        url: row.get(1)?,
        // Of a later version: it is not ours to fetch.
        state: AttachmentState::from_name(&row.get::<_, String>(2)?).unwrap_or(AttachmentState::Failed),
        attempts: row.get(3)?,
        next_at: row.get(4)?,
        file_name: row.get(5)?,
        content_type: row.get(6)?,
        size: unsigned(row.get(7)?),
        problem: row.get(8)?,
    })
}

fn link(row: &Row<'_>) -> rusqlite::Result<Link> {
    let scope: Option<String> = row.get(6)?;
    let conversation: Option<String> = row.get(7)?;
    Ok(Link {
        token: row.get(0)?,
        file_name: row.get(1)?,
        content_type: row.get(2)?,
        size: unsigned(row.get(3)?),
        created_at: row.get(4)?,
        expires_at: row.get(5)?,
        conversation: scope.map(ScopeId::new).zip(conversation),
    })
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn put_link(sql: &Connection, link: &Link) -> rusqlite::Result<()> {
    let (scope, conversation) = link.conversation.as_ref().map(|(scope, id)| (scope.as_str(), id)).unzip();
    sql.prepare_cached(
        "INSERT INTO media_link (token, file_name, content_type, size, created_at, expires_at, scope_id, \
         conversation) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?
    .execute(params![
        link.token,
        link.file_name,
        link.content_type,
        signed(link.size),
        link.created_at,
        link.expires_at,
        scope,
        conversation
    ])
    .map(drop)
}

/// The place of an event of this store.
fn seq(sql: &Connection, event_id: &str) -> Result<i64> {
    let store: String = sql.query_row("SELECT id FROM store", [], |row| row.get(0)).map_err(error)?;
    let place = event_id.strip_prefix(&store).and_then(|rest| rest.strip_prefix('-')?.parse().ok());
    place.ok_or_else(|| event_not_found(event_id))
}

fn note(sql: &Connection, found: &[Attachment], last: &str) -> Result<()> {
    let mut insert = sql
        .prepare_cached(
            "INSERT OR IGNORE INTO attachment (seq, url, state, attempts, next_at, file_name, content_type, \
             size, problem) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .map_err(error)?;
    for one in found {
        let values = params![
            seq(sql, &one.event_id)?,
            one.url,
            one.state.name(),
            one.attempts,
            one.next_at,
            one.file_name,
            one.content_type,
            signed(one.size),
            one.problem
        ];
        insert.execute(values).map_err(error)?;
    }
    let last = seq(sql, last)?;
    sql.execute("DELETE FROM attachment_search", []).map_err(error)?;
    sql.execute("INSERT INTO attachment_search (last_seq) VALUES (?1)", [last]).map(drop).map_err(error)
}

fn change(sql: &Connection, one: &Attachment) -> Result<bool> {
    let values = params![
        seq(sql, &one.event_id)?,
        one.state.name(),
        one.attempts,
        one.next_at,
        one.content_type,
        signed(one.size),
        one.problem
    ];
    sql.prepare_cached(
        "UPDATE attachment SET state = ?2, attempts = ?3, next_at = ?4, content_type = ?5, size = ?6, \
         problem = ?7 WHERE seq = ?1",
    )
    .and_then(|mut update| update.execute(values))
    .map(|rows| rows > 0)
    .map_err(error)
}

fn unneeded(sql: &Connection, now: i64, max: usize) -> rusqlite::Result<Vec<(MediaFile, u64)>> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let mut files: Vec<(MediaFile, u64)> = sql
        .prepare("SELECT token, size FROM media_link WHERE expires_at <= ?1 ORDER BY expires_at LIMIT ?2")?
        .query_map([now, max], |row| Ok((MediaFile::Link(row.get(0)?), unsigned(row.get(1)?))))?
        .collect::<rusqlite::Result<_>>()?;
    let gone = "SELECT (SELECT id FROM store) || '-' || seq, size FROM attachment a \
                WHERE NOT EXISTS (SELECT 1 FROM event e WHERE e.seq = a.seq) LIMIT ?1";
    let mut gone = sql.prepare(gone)?;
    let gone = gone.query_map([max - signed(files.len() as u64)], |row| {
        Ok((MediaFile::Attachment(row.get(0)?), unsigned(row.get(1)?)))
    })?;
    files.extend(gone.collect::<rusqlite::Result<Vec<_>>>()?);
    Ok(files)
}

fn is_known(sql: &Connection, file: &MediaFile) -> Result<bool> {
    let known = match file {
        MediaFile::Link(token) => sql
            .prepare_cached("SELECT 1 FROM media_link WHERE token = ?1")
            .and_then(|mut select| select.exists([token])),
        MediaFile::Attachment(event_id) => match seq(sql, event_id) {
            Ok(seq) => sql
                .prepare_cached("SELECT 1 FROM attachment WHERE seq = ?1 AND state = 'fetched'")
                .and_then(|mut select| select.exists([seq])),
            // Of another store.
            Err(_) => Ok(false),
        },
    };
    known.map_err(error)
}

fn forget(sql: &Connection, file: &MediaFile) -> Result<()> {
    match file {
        MediaFile::Link(token) => sql.execute("DELETE FROM media_link WHERE token = ?1", [token]),
        MediaFile::Attachment(event_id) => {
            sql.execute("DELETE FROM attachment WHERE seq = ?1", [seq(sql, event_id)?])
        }
    }
    .map(drop)
    .map_err(error)
}

/// The links of a conversation, by any of its ids, end at once.
pub(crate) fn end_links(sql: &Connection, scope: &ScopeId, ids: &str) -> rusqlite::Result<()> {
    sql.prepare_cached(
        "UPDATE media_link SET expires_at = 0 WHERE scope_id = ?1 \
         AND conversation IN (SELECT value FROM json_each(?2))",
    )?
    .execute([scope.as_str(), ids])
    .map(drop)
}

#[async_trait]
impl MediaStore for SqliteStore {
    async fn put_link(&self, link: Link) -> Result<()> {
        self.transact(move |tx| put_link(tx.sql(), &link).map_err(error)).await
    }

    async fn link(&self, token: &str) -> Result<Option<Link>> {
        let token = token.to_owned();
        self.read(move |sql| {
            sql.prepare(
                "SELECT token, file_name, content_type, size, created_at, expires_at, scope_id, conversation \
                 FROM media_link WHERE token = ?1",
            )
            .and_then(|mut select| select.query_row([token], link).optional())
            .map_err(error)
        })
        .await
    }

    async fn looked_up_to(&self) -> Result<Option<String>> {
        self.read(|sql| {
            let last = "SELECT (SELECT id FROM store) || '-' || last_seq FROM attachment_search";
            sql.query_row(last, [], |row| row.get(0)).optional().map_err(error)
        })
        .await
    }

    async fn note(&self, found: Vec<Attachment>, last: String) -> Result<()> {
        self.transact(move |tx| note(tx.sql(), &found, &last)).await
    }

    async fn attachment(&self, event_id: &str) -> Result<Option<Attachment>> {
        let event_id = event_id.to_owned();
        self.read(move |sql| {
            let Ok(seq) = seq(sql, &event_id) else { return Ok(None) };
            sql.prepare(&format!("SELECT {ATTACHMENT} FROM attachment WHERE seq = ?1"))
                .and_then(|mut select| select.query_row([seq], attachment).optional())
                .map_err(error)
        })
        .await
    }

    async fn change_attachment(&self, attachment: Attachment) -> Result<bool> {
        self.transact(move |tx| change(tx.sql(), &attachment)).await
    }

    async fn pending(&self, max: usize) -> Result<Vec<Attachment>> {
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        self.read(move |sql| {
            let first = format!(
                "SELECT {ATTACHMENT} FROM attachment WHERE state = 'pending' ORDER BY next_at, seq LIMIT ?1"
            );
            sql.prepare(&first)
                .and_then(|mut select| select.query_map([max], attachment)?.collect())
                .map_err(error)
        })
        .await
    }

    async fn unneeded(&self, now: i64, max: usize) -> Result<Vec<(MediaFile, u64)>> {
        self.read(move |sql| unneeded(sql, now, max).map_err(error)).await
    }

    async fn forget(&self, files: Vec<MediaFile>) -> Result<()> {
        self.transact(move |tx| files.iter().try_for_each(|file| forget(tx.sql(), file))).await
    }

    async fn known(&self, mut files: Vec<MediaFile>) -> Result<Vec<MediaFile>> {
        self.read(move |sql| {
            let known = files.iter().map(|file| is_known(sql, file)).collect::<Result<Vec<_>>>()?;
            let mut known = known.into_iter();
            files.retain(|_| known.next().unwrap_or_default());
            Ok(files)
        })
        .await
    }

    async fn bytes(&self) -> Result<u64> {
        self.read(|sql| {
            let sum = "SELECT (SELECT coalesce(sum(size), 0) FROM media_link) \
                       + (SELECT coalesce(sum(size), 0) FROM attachment)";
            sql.query_row(sum, [], |row| row.get(0)).map(unsigned).map_err(error)
        })
        .await
    }
}
