-- The accounts of the channels, as far as they are known. Times are Unix milliseconds.
CREATE TABLE account (
    scope_id    TEXT NOT NULL PRIMARY KEY,   -- channel and account
    state       TEXT NOT NULL,               -- discovered, connected, disconnected, disabled
    since       INTEGER NOT NULL,            -- of this state
    checked_at  INTEGER,                     -- when the service was last asked
    problem     TEXT,                        -- why it then refused, as an error kind
    title       TEXT,                        -- the channel's name in this account
    hook_version TEXT                        -- v1, v2
) STRICT, WITHOUT ROWID;
