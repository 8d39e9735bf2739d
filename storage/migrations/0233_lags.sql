-- Which other servers are behind, for the site that sends next (organisations on one site leave this empty).
CREATE TABLE federation_lags (
    -- The server name.
    destination TEXT NOT NULL PRIMARY KEY,
    -- The lease under which the site sent that says so.
    epoch BIGINT NOT NULL,
    -- The ID of that site's log.
    log TEXT NOT NULL,
    -- Everything up to this position of that log was delivered; NULL: it is not behind any more.
    since BIGINT
);
