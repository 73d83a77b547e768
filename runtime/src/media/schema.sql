-- The files of the media folder. Times are Unix milliseconds.

-- What is served to whoever knows its address; the file is link-TOKEN.
CREATE TABLE media_link (
    token        TEXT NOT NULL PRIMARY KEY,
    file_name    TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size         INTEGER NOT NULL,
    created_at   INTEGER NOT NULL,
    expires_at   INTEGER NOT NULL,
    scope_id     TEXT,                     -- of the conversation it was made for, if any
    conversation TEXT                      -- by either id
) STRICT, WITHOUT ROWID;
CREATE INDEX media_link_expiry ON media_link (expires_at);
CREATE INDEX media_link_conversation ON media_link (scope_id, conversation) WHERE scope_id IS NOT NULL;

-- What messages came with, by the event; the file is event-ID once it is fetched.
CREATE TABLE attachment (
    seq          INTEGER PRIMARY KEY,      -- of the event
    url          TEXT NOT NULL,
    state        TEXT NOT NULL,            -- pending, fetched, failed
    attempts     INTEGER NOT NULL,
    next_at      INTEGER NOT NULL,
    file_name    TEXT,
    content_type TEXT NOT NULL,
    size         INTEGER NOT NULL,
    problem      TEXT                      -- why the last attempt failed
) STRICT;
CREATE INDEX attachment_pending ON attachment (next_at) WHERE state = 'pending';

-- One row, once attachments were looked for: up to which event.
CREATE TABLE attachment_search (
    last_seq INTEGER NOT NULL
) STRICT;

-- What did messages come with?
CREATE VIEW attachments AS
    SELECT (SELECT id FROM store) || '-' || seq AS event_id, state, attempts, content_type, size, problem,
           datetime(next_at / 1000, 'unixepoch') AS next_at
    FROM attachment ORDER BY seq DESC;

-- Which files are served, until when? Not where: who knows a token has the file.
CREATE VIEW served_files AS
    SELECT file_name, content_type, size, scope_id, conversation,
           datetime(created_at / 1000, 'unixepoch') AS created_at,
           datetime(expires_at / 1000, 'unixepoch') AS expires_at
    FROM media_link ORDER BY created_at DESC;
