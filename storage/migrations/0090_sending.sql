-- Who sends to other servers: each start of a sender takes the next number.
CREATE TABLE federation_sender (
    -- Always 1.
    id BIGINT PRIMARY KEY,
    -- The number of the newest sender. Older ones may write nothing any more; transaction IDs begin with it.
    epoch BIGINT NOT NULL
);

INSERT INTO federation_sender (id, epoch) VALUES (1, 0);

-- Servers that were sent less than they should have been, because they did not answer or were too slow.
CREATE TABLE federation_lagging (
    -- The server name.
    destination TEXT NOT NULL PRIMARY KEY,
    -- Everything up to this position of the log was delivered.
    since BIGINT NOT NULL,
    -- Counted up each time that it falls behind further.
    marks BIGINT NOT NULL
);

-- In which rooms a lagging server misses events of this one.
CREATE TABLE federation_behind (
    destination TEXT NOT NULL,
    -- The room, as a number of `names`.
    room BIGINT NOT NULL,
    -- The position of the first event that it misses.
    oldest BIGINT NOT NULL,
    -- The position of the last event that it may see; NULL while it is in the room.
    newest BIGINT,
    -- The position of the event because of which the row was written last.
    marked BIGINT NOT NULL,
    PRIMARY KEY (destination, room)
);

-- Messages from devices here to devices of another server, kept until it acknowledged them.
CREATE TABLE federation_to_device (
    destination TEXT NOT NULL,
    -- The position of the log entry, and the number of the message within it.
    position BIGINT NOT NULL,
    number BIGINT NOT NULL,
    -- JSON of the EDU's content.
    content BYTEA NOT NULL,
    PRIMARY KEY (destination, position, number)
);

-- What other servers are told of the devices of this server's users.
CREATE TABLE device_list_updates (
    -- The user, as a number of `names`.
    user_nid BIGINT NOT NULL,
    -- The device ID; empty for the user's cross-signing keys.
    device BYTEA NOT NULL,
    -- The log position of the newest change, which is the update's `stream_id`.
    position BIGINT NOT NULL,
    -- The `stream_id` of the update before it, of any device of the user; NULL for the first.
    previous BIGINT,
    PRIMARY KEY (user_nid, device)
);

CREATE INDEX device_list_updates_position ON device_list_updates (position);
