-- Media on several sites. The record of an upload travels ahead of its file.

-- Files of our own media that this site knows of and has not got yet: they are fetched from the other sites.
CREATE TABLE missing_media (
    -- As in media, and the same on every site.
    file_key TEXT PRIMARY KEY,
    size_bytes BIGINT NOT NULL,
    -- The log position at which this site heard of it: the newest are fetched first.
    position BIGINT NOT NULL,
    -- How often no site that answered had it.
    tries BIGINT NOT NULL,
    -- Not to be tried before (Unix time).
    retry_ms BIGINT NOT NULL
);
CREATE INDEX missing_media_by_position ON missing_media (position);

-- Media that were deleted because nobody looked at them. Whoever did on another site meanwhile brings them back.
CREATE TABLE deleted_media (
    -- As in media.
    media_id TEXT PRIMARY KEY,
    -- Nobody had looked at them since (Unix time).
    before_ms BIGINT NOT NULL
);

-- Files that lost their record because of what another site said, and are to be deleted.
CREATE TABLE dropped_media_files (
    file_key TEXT PRIMARY KEY
);
