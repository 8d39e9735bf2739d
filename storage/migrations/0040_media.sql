-- Media of our own users, by the ID in their mxc:// URIs. The bytes are files in the media store.
CREATE TABLE media (
    media_id TEXT PRIMARY KEY,
    -- The log position of the newest change to this row.
    position BIGINT NOT NULL,
    -- Who uploaded it, or may upload it: a user ID (a name).
    owner BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    -- Until when content may be uploaded to an ID that was created without any; NULL if it came with content.
    expires_ms BIGINT,
    -- When the content came; NULL while it has not come. All columns below belong to the content.
    uploaded_ms BIGINT,
    -- As the uploader said, in UTF-8.
    content_type BYTEA,
    -- As the uploader said, in UTF-8; NULL if nothing was said.
    file_name BYTEA,
    size_bytes BIGINT,
    sha256 BYTEA,
    -- Where the media store has the bytes.
    file_key TEXT,
    -- 1: uploaded after unauthenticated downloads were frozen.
    frozen SMALLINT NOT NULL
);
CREATE INDEX media_by_owner ON media (owner, uploaded_ms);

-- Thumbnails that were made on this site, so that each is made once. They can be made again at any time.
CREATE TABLE thumbnails (
    media_id TEXT NOT NULL,
    -- The size, method and kind that were asked for; the picture may be larger, or smaller if the original is.
    width BIGINT NOT NULL,
    height BIGINT NOT NULL,
    -- 'scale' or 'crop'.
    method TEXT NOT NULL,
    -- 1: may be animated.
    animated SMALLINT NOT NULL,
    content_type TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    -- Where the media store has the bytes: the original's file if that is small enough to be its own thumbnail.
    file_key TEXT NOT NULL,
    PRIMARY KEY (media_id, width, height, method, animated)
);
