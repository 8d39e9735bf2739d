-- Who is typing, by what each site told last. Organisations on one site keep that in memory only.
CREATE TABLE typing (
    -- The room (a name).
    room BIGINT NOT NULL,
    -- The log of the site that says so (a name).
    log BIGINT NOT NULL,
    -- JSON list of user IDs.
    users BYTEA NOT NULL,
    PRIMARY KEY (room, log)
);
