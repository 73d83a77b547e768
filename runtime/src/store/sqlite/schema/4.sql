-- The inbox of amochats, version 4: when events were handed out and settled, and which are of a message.

ALTER TABLE delivery ADD COLUMN handed_out_at INTEGER; -- the last time
ALTER TABLE delivery ADD COLUMN settled_at INTEGER;    -- of a dead one: when it was given up

-- What lasting subscriptions have dealt with, for as long as the event is kept. The newest events are
-- at its end, so that many settlements share a page.
CREATE TABLE settled (
    seq           INTEGER NOT NULL,
    subscription  INTEGER NOT NULL,        -- also one that was deleted since
    attempt       INTEGER NOT NULL,
    mark          TEXT,                    -- replayed, requeued
    handed_out_at INTEGER,                 -- the last time
    settled_at    INTEGER,                 -- acknowledged, or given up and then dropped
    PRIMARY KEY (seq, subscription)
) STRICT, WITHOUT ROWID;

-- Messages are found by `dedup`, so that to keep one goes on changing no index.
CREATE INDEX event_by_message ON event (message_ref_id) WHERE dedup_key IS NULL AND message_ref_id IS NOT NULL;

-- What was dealt with, by whom, and when? The newest first.
CREATE VIEW settlements AS
    SELECT (SELECT id FROM store) || '-' || d.seq AS event_id, s.name AS subscription, d.attempt, d.mark,
           datetime(e.received_at / 1000, 'unixepoch') AS received_at,
           datetime(d.handed_out_at / 1000, 'unixepoch') AS handed_out_at,
           datetime(d.settled_at / 1000, 'unixepoch') AS settled_at
    FROM settled d JOIN subscription s ON s.id = d.subscription JOIN event e ON e.seq = d.seq
    WHERE s.name IS NOT NULL ORDER BY d.seq DESC;
