-- Conversations whose history is to be read, since a message may be missing. Times are Unix
-- milliseconds. What is here when the process ends is read after the next start.
CREATE TABLE gap (
    scope_id            TEXT NOT NULL,
    conversation_ref_id TEXT NOT NULL,
    conversation_id     TEXT,
    since               INTEGER NOT NULL,  -- nothing before this is missing
    PRIMARY KEY (scope_id, conversation_ref_id)
) STRICT, WITHOUT ROWID;
