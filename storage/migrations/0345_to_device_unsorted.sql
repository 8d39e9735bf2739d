-- Messages to devices that came lately, on the only site of an organization: they are moved to the inboxes of those who
-- have not got them after a few seconds, many together, and before anything else at a start.
CREATE TABLE to_device_unsorted (
    -- Log position of the request.
    position BIGINT NOT NULL,
    -- Counts its different events.
    number BIGINT NOT NULL,
    -- JSON of the whole event.
    event BYTEA NOT NULL,
    -- JSON list: user ID and device ID of each recipient, in turn.
    recipients BYTEA NOT NULL,
    PRIMARY KEY (position, number)
);
