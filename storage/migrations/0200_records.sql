-- What sites tell each other (organisations on one site leave `records` empty).

-- The version that this site has of each replicated record.
CREATE TABLE records (
    -- The kind of record (a name).
    kind BIGINT NOT NULL,
    -- JSON list of strings: which record of its kind.
    record_key BYTEA NOT NULL,
    -- Where in this site's log the version was written here.
    position BIGINT NOT NULL,
    -- The hybrid logical clock of the version.
    clock BIGINT NOT NULL,
    -- The site that wrote the version (a name).
    site BIGINT NOT NULL,
    PRIMARY KEY (kind, record_key)
);
CREATE INDEX records_by_position ON records (position);

-- The peer site that an entry of the log came from (a name); 0: it was made here.
ALTER TABLE log ADD COLUMN origin BIGINT NOT NULL DEFAULT 0;
