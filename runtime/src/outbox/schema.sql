-- The outbox of amochats. Times are Unix milliseconds.
-- Look at a live file with:  sqlite3 -readonly inbox.db 'select * from outgoing'

-- What is to be sent, is being sent and was sent. state: 0 queued, 1 sending, 2 resolving, 3 sent,
-- 4 rejected, 5 unknown, 6 cancelled, 7 expired.
CREATE TABLE outbox (
    seq                 INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id             TEXT NOT NULL UNIQUE,
    scope_id            TEXT NOT NULL,
    key                 TEXT,              -- of a repeated enqueue
    digest              BLOB NOT NULL,     -- what items of one key share
    call                TEXT NOT NULL,     -- send_message, edit_message, ...
    ordering            TEXT NOT NULL,     -- items of one scope and ordering go out one by one
    conversation_id     TEXT,              -- the integration's ids, and amoCRM's
    conversation_ref_id TEXT,
    message_id          TEXT,
    message_ref_id      TEXT,
    body                BLOB NOT NULL,     -- of the request
    state               INTEGER NOT NULL,
    head                INTEGER NOT NULL,  -- 1: the first of its ordering that has not ended
    attempts            INTEGER NOT NULL DEFAULT 0,
    uncertain           INTEGER NOT NULL DEFAULT 0, -- 1: an attempt may have been applied
    repeated            INTEGER NOT NULL DEFAULT 0, -- 1: and it was sent once more
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL,
    ended_at            INTEGER,
    problem             TEXT               -- why not, as JSON; may quote what was sent
) STRICT;
CREATE UNIQUE INDEX outbox_by_key ON outbox (scope_id, key) WHERE key IS NOT NULL;
CREATE INDEX outbox_heads ON outbox (scope_id, seq) WHERE head = 1;
CREATE INDEX outbox_open ON outbox (scope_id, ordering, seq) WHERE state < 3;
CREATE INDEX outbox_reports ON outbox (message_ref_id) WHERE call = 'set_delivery_status';
CREATE INDEX outbox_depth ON outbox (state, created_at) WHERE state < 3;
CREATE INDEX outbox_expiry ON outbox (expires_at) WHERE state = 0;
CREATE INDEX outbox_ended ON outbox (ended_at) WHERE ended_at IS NOT NULL;

CREATE VIEW outgoing AS
    SELECT item_id, scope_id, call, conversation_id, message_id, message_ref_id,
           CASE state WHEN 0 THEN 'queued' WHEN 1 THEN 'sending' WHEN 2 THEN 'resolving' WHEN 3 THEN 'sent'
                      WHEN 4 THEN 'rejected' WHEN 5 THEN 'unknown' WHEN 6 THEN 'cancelled' ELSE 'expired' END AS state,
           attempts, datetime(created_at / 1000, 'unixepoch') AS created_at
    FROM outbox;
