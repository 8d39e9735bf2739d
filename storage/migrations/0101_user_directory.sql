-- The directory of this organisation's users, for those who search for people. A follower of the log keeps it.

-- Who can be found.
CREATE TABLE directory_users (
    -- The user (a name).
    user_nid BIGINT PRIMARY KEY,
    is_locked SMALLINT NOT NULL
);

-- The words that a user is found by: of the user ID and of the display name.
CREATE TABLE directory_words (
    -- Casefolded, UTF-8.
    word BYTEA NOT NULL,
    user_nid BIGINT NOT NULL,
    PRIMARY KEY (word, user_nid)
);
CREATE INDEX directory_words_by_user ON directory_words (user_nid);

-- Rooms whose members everybody may find: those that anybody may join or read.
CREATE TABLE directory_open_rooms (
    room BIGINT PRIMARY KEY
);

-- The log from its beginning: accounts that are there already are to be found too.
INSERT INTO followers (name, position) VALUES ('user_directory', 0);
