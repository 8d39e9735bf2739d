-- Aliases of this server's domain.
CREATE TABLE room_aliases (
    -- The whole alias, `#name:domain`, as bytes: a name may hold any character.
    alias BYTEA NOT NULL,
    -- The room (a name).
    room BIGINT NOT NULL,
    -- Who made it (a name).
    creator BIGINT NOT NULL,
    PRIMARY KEY (alias)
);
CREATE INDEX room_aliases_by_room ON room_aliases (room);

-- Rooms that the public directory lists.
CREATE TABLE published_rooms (
    room BIGINT PRIMARY KEY
);
