-- What the linking of accounts keeps. Times are Unix milliseconds.
-- kind  key                     at           facts (JSON, nothing secret)        sealed (encrypted)
-- account  integration/account  installed    where the account is, its amojo_id  the CRM's tokens; none: switched off
-- code     digest               received     whose, and what became of it        the code, then the tokens; none: ended
-- wish     integration/account  authorised   the account to connect once it is installed
-- token    jti                  its expiry   a one-time token that was used
CREATE TABLE widget (
    kind    TEXT NOT NULL,
    key     TEXT NOT NULL,
    at      INTEGER NOT NULL,
    facts   TEXT NOT NULL,
    sealed  BLOB,
    PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX widget_by_age ON widget (kind, at);

-- Which accounts have installed the integration, and are they switched on?
CREATE VIEW installations AS
    SELECT key AS integration_account, sealed IS NOT NULL AS switched_on, facts,
           datetime(at / 1000, 'unixepoch') AS installed_at
    FROM widget WHERE kind = 'account' ORDER BY key;
