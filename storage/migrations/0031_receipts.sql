-- How far users have read: one row per room, user, type of receipt and thread.
CREATE TABLE receipts (
    user_nid BIGINT NOT NULL,
    room BIGINT NOT NULL,
    -- 1 m.read, 2 m.read.private.
    type SMALLINT NOT NULL,
    -- A name: "main" or the thread's root; 0 for a receipt without a thread.
    thread BIGINT NOT NULL,
    -- The newest event that was read.
    event_id TEXT NOT NULL,
    -- events.ordering of that event; receipts only move forward.
    ordering BIGINT NOT NULL,
    -- When it was read, milliseconds since 1970.
    ts BIGINT NOT NULL,
    -- Log position of the newest change.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, room, type, thread)
);
CREATE INDEX receipts_by_room ON receipts (room, position);
