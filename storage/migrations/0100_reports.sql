-- What users reported to the administrators: messages, rooms and other users.
CREATE TABLE reports (
    -- The log position at which it was made.
    report BIGINT PRIMARY KEY,
    -- 1 an event, 2 a room, 3 a user.
    kind SMALLINT NOT NULL,
    -- Milliseconds.
    made_ms BIGINT NOT NULL,
    -- Who reported (a name).
    reporter BIGINT NOT NULL,
    -- The room of the event, or the room itself (a name); NULL for users.
    room BIGINT,
    -- The event's ID; NULL for others.
    event_id TEXT,
    -- The event's sender, or the user (a name); NULL for rooms.
    user_nid BIGINT,
    -- UTF-8; NULL: none was given.
    reason BYTEA,
    -- From -100, most offensive, to 0: what clients of old versions send along; NULL: nothing.
    score BIGINT
);
