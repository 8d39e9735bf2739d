-- Media of other servers, as this site fetched them. They can be fetched again: a cache, with its files in the media
-- store under keys that begin with 'remote/'.
CREATE TABLE remote_media (
    -- The server name in the mxc:// URI, and the media ID.
    origin TEXT NOT NULL,
    media_id TEXT NOT NULL,
    fetched_ms BIGINT NOT NULL,
    -- When somebody looked at them last, as far as it was written down: see media_retention.
    used_ms BIGINT NOT NULL,
    -- As the other server said, made safe, in UTF-8.
    content_type BYTEA NOT NULL,
    -- As the other server said, in UTF-8; NULL if nothing was said.
    file_name BYTEA,
    size_bytes BIGINT NOT NULL,
    sha256 BYTEA NOT NULL,
    -- Where the media store has the bytes.
    file_key TEXT NOT NULL,
    -- 1: fetched after unauthenticated downloads were frozen.
    frozen SMALLINT NOT NULL,
    PRIMARY KEY (origin, media_id)
);
CREATE UNIQUE INDEX remote_media_by_file ON remote_media (file_key);
CREATE INDEX remote_media_by_use ON remote_media (used_ms);
