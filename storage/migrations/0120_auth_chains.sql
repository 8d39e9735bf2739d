-- The auth chain of each state event, as its difference to that of one of its auth events. Derived from `events`: rows
-- are written with the event, or later, when all of its auth events are here and have theirs.
CREATE TABLE auth_chains (
    -- Number of the event.
    event BIGINT PRIMARY KEY,
    -- How many bases lie below it.
    depth BIGINT NOT NULL,
    -- How many events its chain has.
    size BIGINT NOT NULL,
    -- Number of its auth event with the longest chain; NULL: it has no auth events.
    base BIGINT,
    -- Numbers of the events of its chain that are neither `base` nor in the chain of `base`. See storage/auth_chains.py.
    more BYTEA NOT NULL,
    -- As `base`, for a base further down: kept where `depth` is a multiple of 16 and the event is somebody's base.
    skip BIGINT,
    -- As `more`, for `skip`.
    skip_more BYTEA
);
