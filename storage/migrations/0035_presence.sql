-- Who is online, as it was told last.
CREATE TABLE presence (
    user_nid BIGINT PRIMARY KEY,
    -- 1 online, 2 unavailable, 3 offline.
    state SMALLINT NOT NULL,
    -- UTF-8; NULL if there is none.
    status_msg BYTEA,
    -- When the user last did something, milliseconds since 1970.
    last_active_ms BIGINT NOT NULL,
    -- 1: the user is doing something just now.
    currently_active SMALLINT NOT NULL,
    -- Log position of the newest change.
    position BIGINT NOT NULL
);
CREATE INDEX presence_by_position ON presence (position);
