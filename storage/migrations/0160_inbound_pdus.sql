-- PDUs of other servers that were answered with success and are not worked off yet: what they stand on is awaited.
CREATE TABLE inbound_pdus (
    -- The server that sent it: two servers may send one event, each with signatures of its own.
    origin TEXT NOT NULL,
    -- The room's ID (a name).
    room BIGINT NOT NULL,
    event_id TEXT NOT NULL,
    -- The PDU as it came, without `unsigned`: nothing of it was checked but its format.
    pdu BYTEA NOT NULL,
    -- When it came, in milliseconds since 1970, and its place among those of the same time.
    at_ms BIGINT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (origin, room, event_id)
);
CREATE INDEX inbound_pdus_by_time ON inbound_pdus (at_ms, place);
