-- What users keep on the server for their own clients, tags of rooms among it.
CREATE TABLE account_data (
    user_nid BIGINT NOT NULL,
    -- The room that it is about (a name), 0 for none.
    room BIGINT NOT NULL,
    -- The event type (a name).
    type BIGINT NOT NULL,
    -- JSON object as the client sent it.
    content BYTEA NOT NULL,
    -- Log position of the newest change.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, room, type)
);
CREATE INDEX account_data_by_position ON account_data (user_nid, position);
