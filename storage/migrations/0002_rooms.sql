-- Rooms that this server has events of.
CREATE TABLE rooms (
    -- The room's ID (a name).
    room BIGINT PRIMARY KEY,
    -- The room version.
    version TEXT NOT NULL,
    -- Number of the event after which `heads` holds; if newer events exist, the newest is the only head.
    heads_at BIGINT NOT NULL,
    -- JSON list of event IDs: the forward extremities after `heads_at`, if there are several.
    heads BYTEA
);

-- Every event of every room, with the bytes of its PDU.
CREATE TABLE events (
    -- The event's position in the log.
    nid BIGINT PRIMARY KEY,
    event_id TEXT NOT NULL,
    room BIGINT NOT NULL,
    -- Order within the room's timeline: the log position times 2^20 for events that arrived as they happened;
    -- history fetched later is put into the gaps.
    ordering BIGINT NOT NULL,
    type BIGINT NOT NULL,
    sender BIGINT NOT NULL,
    -- A name; NULL for events that are no state.
    state_key BIGINT,
    -- The snapshot that holds the room's state after this event; NULL if unknown (an outlier).
    snapshot BIGINT,
    -- State events: the event whose place in the state this one took.
    replaces BIGINT,
    -- 1 rejected, 2 soft failed, 4 outlier (known, but not part of the timeline).
    flags SMALLINT NOT NULL,
    -- For members with the default push rules: 1 notifies, 2 highlights.
    push SMALLINT NOT NULL,
    -- The root of the thread that the event is in (its event ID, a name); NULL for the main timeline.
    thread BIGINT,
    -- The redaction that took this event's content.
    redacted_by BIGINT,
    -- Canonical JSON of the PDU without `unsigned`.
    json BYTEA NOT NULL
);
CREATE UNIQUE INDEX events_by_id ON events (event_id);
CREATE INDEX events_by_room ON events (room, ordering);

-- State of rooms: what changed against another snapshot. Named by the event after which the state is so.
CREATE TABLE snapshots (
    nid BIGINT PRIMARY KEY,
    -- How many changes lie between the room's beginning and here.
    height BIGINT NOT NULL,
    -- The snapshot that this one differs from: the one at `height` with its lowest set bit cleared.
    base BIGINT,
    -- Packed 64-bit integers in threes: type, state key, event (0: the entry is gone).
    changes BYTEA NOT NULL
);

-- Entries of the current state that changed without an event of their own: results of state resolution.
CREATE TABLE state_resets (
    room BIGINT NOT NULL,
    -- Position of the event at which the resolution had this result.
    position BIGINT NOT NULL,
    type BIGINT NOT NULL,
    state_key BIGINT NOT NULL,
    -- NULL: the entry is gone.
    event BIGINT,
    PRIMARY KEY (room, position, type, state_key)
);

-- Each user's present membership in each room.
CREATE TABLE memberships (
    room BIGINT NOT NULL,
    user_nid BIGINT NOT NULL,
    -- 1 join, 2 invite, 3 knock, 4 leave, 5 ban.
    membership SMALLINT NOT NULL,
    -- The m.room.member event.
    event BIGINT NOT NULL,
    -- Position at which it became so.
    position BIGINT NOT NULL,
    -- 1: the user wants to see nothing more of this room.
    forgotten SMALLINT NOT NULL,
    PRIMARY KEY (room, user_nid)
);
CREATE INDEX memberships_by_user ON memberships (user_nid, membership);

-- m.relates_to of events: which event each refers to.
CREATE TABLE relations (
    child BIGINT PRIMARY KEY,
    -- Event ID of the event referred to, which may be unknown here.
    parent TEXT NOT NULL,
    room BIGINT NOT NULL,
    rel_type BIGINT NOT NULL,
    type BIGINT NOT NULL,
    sender BIGINT NOT NULL,
    ordering BIGINT NOT NULL,
    -- `key` of annotations.
    annotation BYTEA
);
CREATE INDEX relations_by_parent ON relations (parent, rel_type, ordering);
CREATE INDEX relations_by_room ON relations (room, rel_type, ordering);

-- Push outcomes that differ from the default rules' (events.push), for the members concerned only.
CREATE TABLE personal_push (
    user_nid BIGINT NOT NULL,
    room BIGINT NOT NULL,
    event BIGINT NOT NULL,
    -- 1 notifies, 2 highlights.
    push SMALLINT NOT NULL,
    -- events.push of the event, so that counts need no join.
    default_push SMALLINT NOT NULL,
    thread BIGINT,
    -- JSON list of the actions, for the list of notifications.
    actions BYTEA NOT NULL,
    PRIMARY KEY (user_nid, room, event)
);

-- Requests with a transaction ID that were answered: a repeat gets the first answer.
CREATE TABLE transactions (
    -- The device that sent it: user ID and device ID.
    scope TEXT NOT NULL,
    -- Digest of the endpoint, its path variables and the transaction ID.
    request BYTEA NOT NULL,
    -- The event that was made; empty for requests that make none.
    event_id TEXT NOT NULL,
    at_ms BIGINT NOT NULL,
    PRIMARY KEY (scope, request)
);
