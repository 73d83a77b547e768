-- The inbox of amochats, version 1. Times are Unix milliseconds.
-- Look at a live file with:  sqlite3 -readonly inbox.db 'select * from waiting'

-- One row: what makes event ids of this file unlike those of any other.
CREATE TABLE store (
    id TEXT NOT NULL
) STRICT;

CREATE TABLE conversation (
    id                  INTEGER PRIMARY KEY,
    scope_id            TEXT NOT NULL,
    conversation_ref_id TEXT,              -- amoCRM's id
    conversation_id     TEXT               -- the integration's id
) STRICT;
CREATE UNIQUE INDEX conversation_by_ref ON conversation (scope_id, conversation_ref_id)
    WHERE conversation_ref_id IS NOT NULL;
CREATE INDEX conversation_by_own ON conversation (scope_id, conversation_id)
    WHERE conversation_id IS NOT NULL;

-- What webhooks brought. `body` is exactly as received, so that `signature` can be checked again.
CREATE TABLE event (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    channel_id      TEXT NOT NULL,
    account_id      TEXT NOT NULL,
    kind            TEXT NOT NULL,         -- message, typing, reaction, unknown
    conversation    INTEGER REFERENCES conversation (id),
    message_ref_id  TEXT,
    received_at     INTEGER NOT NULL,
    origin          TEXT NOT NULL,         -- webhook, backfill
    conflicting     INTEGER NOT NULL,      -- 1: the message id was seen before with other content
    signature       TEXT,
    body            BLOB NOT NULL
) STRICT;
CREATE INDEX event_by_time ON event (received_at);

-- Which messages were seen: account and message id, with a digest of the content.
CREATE TABLE dedup (
    key     TEXT NOT NULL,
    digest  BLOB NOT NULL,
    seen_at INTEGER NOT NULL,
    PRIMARY KEY (key, digest)
) STRICT, WITHOUT ROWID;

CREATE TABLE subscription (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE,
    created_at INTEGER NOT NULL,
    fill_next  INTEGER                     -- events from here on are still to be opened for it
) STRICT;

-- What is open, for whom. state: 0 waits for an earlier one of its conversation, 1 ready,
-- 2 leased, 3 delayed, 4 dead.
CREATE TABLE delivery (
    subscription INTEGER NOT NULL REFERENCES subscription (id),
    seq          INTEGER NOT NULL REFERENCES event (seq),
    conversation INTEGER,
    state        INTEGER NOT NULL,
    attempt      INTEGER NOT NULL DEFAULT 0,
    epoch        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (subscription, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_ready ON delivery (subscription, seq) WHERE state = 1;
CREATE INDEX delivery_open ON delivery (subscription, conversation, seq) WHERE state <> 4;

CREATE VIEW waiting AS
    SELECT s.name AS subscription, d.seq, e.kind, e.account_id, e.message_ref_id,
           CASE d.state WHEN 0 THEN 'waiting' WHEN 1 THEN 'ready' WHEN 2 THEN 'leased'
                        WHEN 3 THEN 'delayed' ELSE 'dead' END AS state,
           d.attempt, datetime(e.received_at / 1000, 'unixepoch') AS received_at
    FROM delivery d JOIN subscription s ON s.id = d.subscription JOIN event e ON e.seq = d.seq;
