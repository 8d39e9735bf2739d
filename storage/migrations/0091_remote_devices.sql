-- Users of other servers whose devices are known here, because they share rooms with users of this one.
CREATE TABLE remote_device_lists (
    -- The user, as a number of `names`.
    user_nid BIGINT PRIMARY KEY,
    -- The `stream_id` of the newest update that is part of what is known.
    stream_id BIGINT NOT NULL,
    -- 1 if something was missed: the user's server must be asked again before this is used.
    is_stale SMALLINT NOT NULL
);

CREATE TABLE remote_devices (
    user_nid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    -- JSON of the identity keys, with the display name in `unsigned`.
    json BYTEA NOT NULL,
    PRIMARY KEY (user_nid, device)
);

-- Messages to devices here that were taken from other servers: none is taken twice.
CREATE TABLE received_to_device (
    -- The server that sent it.
    origin TEXT NOT NULL,
    message_id BYTEA NOT NULL,
    -- When it was taken, in milliseconds since 1970.
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (origin, message_id)
);

CREATE INDEX received_to_device_at ON received_to_device (at_ms);
