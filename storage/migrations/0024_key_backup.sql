-- Versions of users' key backups.
CREATE TABLE key_backups (
    user_nid BIGINT NOT NULL,
    -- 1, 2, ... for each user; never used again.
    version BIGINT NOT NULL,
    algorithm BYTEA NOT NULL,
    -- JSON object.
    auth_data BYTEA NOT NULL,
    -- Counts the changes of the version's keys.
    etag BIGINT NOT NULL,
    -- How many keys the version holds.
    key_count BIGINT NOT NULL,
    -- 1: the user deleted it; the row stays so that deleting again succeeds.
    deleted SMALLINT NOT NULL,
    -- Log position of the newest change.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, version)
);

-- Encrypted keys of message sessions.
CREATE TABLE key_backup_sessions (
    user_nid BIGINT NOT NULL,
    version BIGINT NOT NULL,
    -- Room and session as the client names them, in UTF-8.
    room BYTEA NOT NULL,
    session BYTEA NOT NULL,
    first_message_index BIGINT NOT NULL,
    forwarded_count BIGINT NOT NULL,
    is_verified SMALLINT NOT NULL,
    -- JSON object that the server cannot read.
    session_data BYTEA NOT NULL,
    PRIMARY KEY (user_nid, version, room, session)
);
