-- The inbox of amochats, version 2. Times are Unix milliseconds.
-- Look at a live file with the views at the end:  sqlite3 -readonly amochats.db 'select * from backlog'
--
-- To keep an event is to insert one row into `event`, nothing else: what subscriptions make of it,
-- and what finds duplicates, is written later, in larger portions.

DROP VIEW waiting;
ALTER TABLE store RENAME TO store_1;
ALTER TABLE event RENAME TO event_1;
ALTER TABLE conversation RENAME TO conversation_1;
ALTER TABLE subscription RENAME TO subscription_1;
ALTER TABLE delivery RENAME TO delivery_1;
DROP INDEX conversation_by_ref;
DROP INDEX conversation_by_own;
DROP INDEX delivery_ready;
DROP INDEX delivery_open;
-- Of the older version only: made again from the events.
DROP TABLE dedup;

-- One row.
CREATE TABLE store (
    id       TEXT NOT NULL,                -- makes event ids of this file unlike those of any other
    last_seq INTEGER NOT NULL,             -- no event at or before it is made again, also if it is deleted
    deduped  INTEGER NOT NULL              -- events up to here are in `dedup`; those behind it are read at the start
) STRICT;

-- A channel's connection to an account.
CREATE TABLE scope (
    id         INTEGER PRIMARY KEY,
    channel_id TEXT NOT NULL,
    account_id TEXT NOT NULL,
    UNIQUE (channel_id, account_id)
) STRICT;

-- What webhooks brought, in the order of keeping. `body` is exactly as received, so that `signature`
-- can be checked again.
CREATE TABLE event (
    seq                 INTEGER PRIMARY KEY,
    scope               INTEGER NOT NULL REFERENCES scope (id),
    kind                TEXT NOT NULL,     -- message, typing, reaction, unknown
    received_at         INTEGER NOT NULL,
    origin              TEXT NOT NULL,     -- webhook, backfill
    conflicting         INTEGER NOT NULL,  -- 1: the message id was seen before with other content
    message_ref_id      TEXT,              -- amoCRM's id
    conversation_ref_id TEXT,              -- amoCRM's id
    conversation_id     TEXT,              -- the integration's id
    dedup_key           INTEGER,           -- of the account and the message id
    digest              INTEGER,           -- of the content
    signature           TEXT,
    body                BLOB NOT NULL
) STRICT;

-- Which messages were seen; for longer than the events are kept.
CREATE TABLE dedup (
    dedup_key INTEGER NOT NULL,
    digest    INTEGER NOT NULL,
    seen_at   INTEGER NOT NULL,
    PRIMARY KEY (dedup_key, digest)
) STRICT, WITHOUT ROWID;

-- Both ids of a conversation, as far as they are known: the key of the order.
CREATE TABLE conversation (
    id                  INTEGER PRIMARY KEY,
    scope               INTEGER NOT NULL REFERENCES scope (id),
    conversation_ref_id TEXT,
    conversation_id     TEXT
) STRICT;
CREATE UNIQUE INDEX conversation_by_ref ON conversation (scope, conversation_ref_id)
    WHERE conversation_ref_id IS NOT NULL;
CREATE INDEX conversation_by_own ON conversation (scope, conversation_id)
    WHERE conversation_id IS NOT NULL;

CREATE TABLE subscription (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT UNIQUE,                -- NULL: it is deleted, and its rows will be
    created_at INTEGER NOT NULL,
    filter     TEXT NOT NULL DEFAULT '{}', -- JSON: accounts, scopes, kinds, conversations; none is any
    last_place INTEGER NOT NULL DEFAULT 0  -- of its deliveries, also of those that are gone
) STRICT;

-- What is still to be opened for a subscription, in the order of `part`.
CREATE TABLE feed (
    subscription INTEGER NOT NULL REFERENCES subscription (id),
    part         INTEGER NOT NULL,
    next         INTEGER NOT NULL,         -- the first event
    until        INTEGER,                  -- the last one; NULL: whatever comes
    scope        INTEGER,                  -- only of this one
    mark         TEXT,                     -- why they come again: replayed, requeued
    PRIMARY KEY (subscription, part)
) STRICT, WITHOUT ROWID;

-- What is open, for whom, in the order of handing out. state: 0 waits for an earlier one of its
-- conversation, 1 ready, 2 leased, 3 delayed, 4 dead.
CREATE TABLE delivery (
    subscription INTEGER NOT NULL REFERENCES subscription (id),
    place        INTEGER NOT NULL,
    seq          INTEGER NOT NULL REFERENCES event (seq),
    conversation INTEGER,
    state        INTEGER NOT NULL,
    attempt      INTEGER NOT NULL DEFAULT 0,
    epoch        INTEGER NOT NULL DEFAULT 0,
    mark         TEXT,
    PRIMARY KEY (subscription, place)
) STRICT, WITHOUT ROWID;
CREATE INDEX delivery_by_state ON delivery (subscription, state, place) WHERE state <> 0;
CREATE INDEX delivery_by_conversation ON delivery (subscription, conversation, place)
    WHERE state <> 4 AND conversation IS NOT NULL;
CREATE INDEX delivery_by_event ON delivery (seq);

-- How much waits, for whom, since when? An event that a filter leaves out counts until it is its turn.
CREATE VIEW backlog AS
    SELECT s.name AS subscription,
           (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state <> 4)
             + (SELECT coalesce(sum(max(coalesce(f.until, (SELECT max(seq) FROM event)) - f.next + 1, 0)), 0)
                FROM feed f WHERE f.subscription = s.id) AS unsettled,
           (SELECT count(*) FROM delivery d WHERE d.subscription = s.id AND d.state = 4 AND d.state <> 0) AS dead,
           (SELECT datetime(e.received_at / 1000, 'unixepoch') FROM event e
            WHERE e.seq >= coalesce(
                (SELECT min(d.seq) FROM delivery d WHERE d.subscription = s.id AND d.state <> 4),
                (SELECT min(f.next) FROM feed f WHERE f.subscription = s.id))
            ORDER BY e.seq LIMIT 1) AS oldest
    FROM subscription s WHERE s.name IS NOT NULL ORDER BY s.name;

-- What is kept, newest first?
CREATE VIEW events AS
    SELECT (SELECT id FROM store) || '-' || e.seq AS event_id,
           datetime(e.received_at / 1000, 'unixepoch') AS received_at, e.kind, e.origin,
           s.channel_id, s.account_id, e.conversation_ref_id, e.conversation_id, e.message_ref_id,
           CAST(e.body AS TEXT) AS body
    FROM event e JOIN scope s ON s.id = e.scope ORDER BY e.seq DESC;

-- What is being handed out, or waits behind it?
CREATE VIEW waiting AS
    SELECT s.name AS subscription, d.place, (SELECT id FROM store) || '-' || d.seq AS event_id,
           CASE d.state WHEN 0 THEN 'waiting' WHEN 1 THEN 'ready' WHEN 2 THEN 'leased' ELSE 'delayed' END AS state,
           d.attempt, d.mark, e.kind, e.message_ref_id,
           datetime(e.received_at / 1000, 'unixepoch') AS received_at
    FROM delivery d JOIN subscription s ON s.id = d.subscription JOIN event e ON e.seq = d.seq
    WHERE d.state <> 4 ORDER BY s.name, d.place;

-- What was given up?
CREATE VIEW dead_letters AS
    SELECT s.name AS subscription, (SELECT id FROM store) || '-' || d.seq AS event_id, d.attempt, e.kind,
           e.conversation_ref_id, e.message_ref_id, datetime(e.received_at / 1000, 'unixepoch') AS received_at
    FROM delivery d JOIN subscription s ON s.id = d.subscription JOIN event e ON e.seq = d.seq
    WHERE d.state = 4 AND d.state <> 0 ORDER BY s.name, d.place;

-- Who writes to us?
CREATE VIEW conversations AS
    SELECT s.channel_id, s.account_id, c.conversation_ref_id, c.conversation_id
    FROM conversation c JOIN scope s ON s.id = c.scope;

-- From version 1.
INSERT INTO scope (channel_id, account_id) SELECT DISTINCT channel_id, account_id FROM event_1;
INSERT INTO conversation
    SELECT c.id, s.id, c.conversation_ref_id, c.conversation_id
    FROM conversation_1 c JOIN scope s ON s.channel_id || '_' || s.account_id = c.scope_id;
INSERT INTO event
    SELECT e.seq, s.id, e.kind, e.received_at, e.origin, e.conflicting, e.message_ref_id,
           c.conversation_ref_id, c.conversation_id, NULL, NULL, e.signature, e.body
    FROM event_1 e JOIN scope s ON s.channel_id = e.channel_id AND s.account_id = e.account_id
    LEFT JOIN conversation_1 c ON c.id = e.conversation;
INSERT INTO subscription (id, name, created_at, last_place)
    SELECT id, name, created_at, coalesce((SELECT max(seq) FROM event_1), 0) FROM subscription_1;
-- The numbers of deleted subscriptions are not used again.
UPDATE sqlite_sequence SET seq = (SELECT seq FROM sqlite_sequence WHERE name = 'subscription_1')
    WHERE name = 'subscription';
INSERT INTO feed (subscription, part, next)
    SELECT id, 1, coalesce(fill_next, (SELECT max(seq) FROM event_1) + 1, 1) FROM subscription_1;
INSERT INTO delivery
    SELECT subscription, seq, seq, conversation, state, attempt, epoch, NULL FROM delivery_1;
INSERT INTO store
    SELECT id, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'event_1'), 0), 0 FROM store_1;
DROP TABLE delivery_1;
DROP TABLE event_1;
DROP TABLE conversation_1;
DROP TABLE subscription_1;
DROP TABLE store_1;
