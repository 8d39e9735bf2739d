-- Everything that repeats as text (rooms, users, event types, state keys, kinds of log entries), once, by number.
CREATE TABLE names (
    -- The number that other tables use; numbers are taken from log_head.names.
    nid BIGINT PRIMARY KEY,
    -- The name in UTF-8.
    name BYTEA NOT NULL
);
CREATE UNIQUE INDEX names_by_name ON names (name);

-- One row. Its lock orders all writers of the organisation on this site.
CREATE TABLE log_head (
    -- The newest position in the log.
    position BIGINT NOT NULL,
    -- The newest number given to a name.
    names BIGINT NOT NULL
);
INSERT INTO log_head (position, names) VALUES (0, 0);

-- The log: one row per committed change, without gaps, in commit order.
CREATE TABLE log (
    position BIGINT PRIMARY KEY,
    -- What kind of change (a name).
    kind BIGINT NOT NULL,
    -- When it was committed, by this site's clock.
    at_ms BIGINT NOT NULL,
    -- JSON list of strings: what changed; the value is read from the tables.
    entry_key BYTEA NOT NULL
);
