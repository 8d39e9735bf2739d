-- What a peer site sent and this one could not make use of: kept until it can. Nothing else waits for it.

-- Records of kinds that this version does not know, or whose values it does not understand: a newer one sent them.
CREATE TABLE held_records (
    -- The kind of record (a name).
    kind BIGINT NOT NULL,
    -- JSON list of strings: which record of its kind.
    record_key BYTEA NOT NULL,
    -- The site that wrote the version (a name).
    site BIGINT NOT NULL,
    -- The hybrid logical clock of the version: the latest of each site is kept.
    clock BIGINT NOT NULL,
    -- The incarnation of the account at the sender, of kinds about one user.
    owner TEXT,
    -- JSON.
    value BYTEA NOT NULL,
    -- For the operator.
    reason TEXT NOT NULL,
    PRIMARY KEY (kind, record_key, site)
);

-- Events that could not become part of their rooms.
CREATE TABLE held_events (
    -- SHA-256 of the event's JSON.
    digest BYTEA PRIMARY KEY,
    -- The peer site that sent it (a name).
    site BIGINT NOT NULL,
    room_id TEXT NOT NULL,
    -- Perhaps one that this version does not know.
    room_version TEXT NOT NULL,
    -- Whether the peer soft failed it.
    soft_failed BIGINT NOT NULL,
    -- Canonical JSON.
    pdu BYTEA NOT NULL,
    -- Why it was not taken the last time, for the operator.
    reason TEXT NOT NULL,
    -- Unix time of when it came.
    since_ms BIGINT NOT NULL,
    -- How often it was tried again.
    tries BIGINT NOT NULL,
    -- Unix time before which it is not tried again, unless something comes into its room.
    retry_ms BIGINT NOT NULL
);
CREATE INDEX held_events_by_time ON held_events (retry_ms);
