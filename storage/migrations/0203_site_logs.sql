-- Logs of sites. A site that is rebuilt from a peer begins a new one; what is known of the old one stays true.

-- One row: the ID of this site's own log, in tokens and towards peers. None: it is the site's name.
CREATE TABLE site_log (
    log_id TEXT NOT NULL
);

-- How far the logs of this site and of another one are the same: this one was copied from that one, or that one from
-- this one.
CREATE TABLE site_shared_logs (
    -- The other log's ID (a name).
    log BIGINT PRIMARY KEY,
    -- The position up to which both are the same.
    position BIGINT NOT NULL
);
