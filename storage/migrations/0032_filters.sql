-- Filters that clients have left here to name them by ID.
CREATE TABLE filters (
    user_nid BIGINT NOT NULL,
    -- Digest of the content: the same filter has the same ID everywhere.
    filter_id TEXT NOT NULL,
    -- JSON object as the client sent it.
    content BYTEA NOT NULL,
    -- Log position at which it was uploaded last.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, filter_id)
);
