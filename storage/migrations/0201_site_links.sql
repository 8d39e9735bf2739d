-- Links between sites.

-- How far this site has taken in the log of each peer site.
CREATE TABLE site_cursors (
    -- The ID of the peer's log (a name): the peer's own name, unless it was rebuilt.
    log BIGINT PRIMARY KEY,
    -- The position in the peer's log up to which everything is on disk here.
    position BIGINT NOT NULL
);

-- Where this site's log stood when it had taken in a peer's log up to a position: what a sync token of the peer is here.
CREATE TABLE site_arrivals (
    -- The ID of the peer's log (a name).
    log BIGINT NOT NULL,
    -- A position in the peer's log.
    their_position BIGINT NOT NULL,
    -- The position in this site's log from which on all of that was here.
    position BIGINT NOT NULL,
    PRIMARY KEY (log, their_position)
);

-- What a peer knew of this site's log when its own stood at a position.
CREATE TABLE site_knowledge (
    -- The ID of the peer's log (a name).
    log BIGINT NOT NULL,
    -- A position in the peer's log.
    their_position BIGINT NOT NULL,
    -- The position in this site's log up to which the peer had everything by then.
    knew BIGINT NOT NULL,
    PRIMARY KEY (log, their_position)
);
