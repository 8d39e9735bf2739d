-- What belongs to one site, with the name that it has towards the others.

-- One row: whose this database is. One-time keys and messages that are not marked as another site's are of this log. A
-- database that was copied names the site that it was copied from until it is first used. None: the organisation has
-- one site.
CREATE TABLE own_site (
    -- The site's name.
    site TEXT NOT NULL,
    -- The ID of its log.
    log TEXT NOT NULL
);

-- The logs that peer sites had; a site that was rebuilt has a new one, and lost what only the old one knew.
CREATE TABLE peer_logs (
    -- The site's name (a name).
    site BIGINT NOT NULL,
    -- The ID of the log (a name).
    log BIGINT NOT NULL,
    -- 1: the one that the site has; 0: one that it had.
    is_current SMALLINT NOT NULL,
    PRIMARY KEY (site, log)
);

-- One-time keys that other sites give out: that they are there, not what they are.
CREATE TABLE peer_one_time_keys (
    user_nid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    -- As in claimed_keys.
    digest BYTEA NOT NULL,
    algorithm BYTEA NOT NULL,
    key_id BYTEA NOT NULL,
    -- The site that gives it out (a name), and the log with which it took it (a name).
    site BIGINT NOT NULL,
    log BIGINT NOT NULL,
    PRIMARY KEY (user_nid, device, digest)
);
CREATE INDEX peer_one_time_keys_by_site ON peer_one_time_keys (site, log);

-- The key's name, `algorithm:key_id`; NULL for claims from before there was this column.
ALTER TABLE claimed_keys ADD COLUMN name BYTEA;
